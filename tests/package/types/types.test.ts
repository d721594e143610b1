/*
 * The types that programs get from a schema. Compiled, never run: a line after `@ts-expect-error` must be an error, and
 * `same` needs two types to be the same.
 */
import {
    type Filter,
    type InsertOf,
    type KeyOf,
    type RowOf,
    type Schema,
    type Table,
    and,
    count,
    createDatabase,
    eq,
    filter,
    isNull,
    key,
    like,
    max,
    mean,
    required,
    sum,
    vector,
} from 'velta';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

const db = createDatabase();
const table = db.table('packages', {
    name: key('string'),
    section: required('string'),
    size: 'int',
    ratio: 'float',
    essential: 'bool',
    made: 'timestamp',
    raw: 'bytes',
    v: vector(256),
    w: vector(3, { metric: 'l2', required: true }),
});
type S = typeof table extends Table<infer T> ? T : never;

// ---- rows that are read

const row = table.get('a');
if (row !== null) {
    same<typeof row.name, string>(true);
    same<typeof row.section, string>(true);
    same<typeof row.size, number | bigint | null>(true);
    same<typeof row.ratio, number | null>(true);
    same<typeof row.essential, boolean | null>(true);
    same<typeof row.made, Date | null>(true);
    same<typeof row.raw, Uint8Array | null>(true);
    same<typeof row.v, Float32Array | null>(true);
    same<typeof row.w, Float32Array>(true);
    // @ts-expect-error: there is no such column
    row.sise;
}
const some = table.get('a', { columns: ['size', 'name'] });
if (some !== null) {
    same<typeof some, Pick<RowOf<S>, 'size' | 'name'>>(true);
    // @ts-expect-error: it was not asked for
    some.section;
}
same<KeyOf<S>, string>(true);
same<ReturnType<typeof table.getMany>[number], Pick<RowOf<S>, keyof RowOf<S>> | null>(true);
// @ts-expect-error: keys are strings
table.get(5);
// @ts-expect-error: there is no such column
table.get('a', { columns: ['sise'] });
// @ts-expect-error: there is no such option
table.get('a', { column: ['size'] });

// ---- rows that are written

const w = new Float32Array(3);
table.insert({ name: 'a', section: 'games', w });
table.insert([
    {
        name: 'a',
        section: 'games',
        w: [1, 2, 3],
        size: 5n,
        made: 12,
        v: null,
        raw: undefined,
    },
]);
const given: InsertOf<S> = { name: 'a', section: 'b', w };
given.size = 7;
// @ts-expect-error: the key is missing
table.insert({ section: 'games', w });
// @ts-expect-error: a required column is missing
table.insert({ name: 'a', w });
// @ts-expect-error: a required vector is missing
table.insert({ name: 'a', section: 'games' });
// @ts-expect-error: a required column is not null
table.insert({ name: 'a', section: null, w });
// @ts-expect-error: not a number
table.insert({ name: 'a', section: 'games', w, size: '5' });
// @ts-expect-error: there is no such column
table.insert({ name: 'a', section: 'games', w, sise: 5 });
table.update('a', { size: 4, v: null });
// @ts-expect-error: there is no such column
table.update('a', { sise: 4 });
table.insertColumns({
    name: ['a'],
    size: new BigInt64Array(1),
    w: new Float32Array(3),
});
table.setTtl('a', 5);
// @ts-expect-error: a time to live is a number or null
table.setTtl('a', '5');

// ---- names of columns

table.all().orderBy('size').orderBy('made', 'desc');
// @ts-expect-error: not ordered by strings
table.all().orderBy('section');
// @ts-expect-error: there is no such column
table.all().orderBy('sise');
// @ts-expect-error: there is no such direction
table.all().orderBy('size', 'up');
const selected = table.all().select('size', 'v').toArray();
same<(typeof selected)[number], Pick<RowOf<S>, 'size' | 'v'>>(true);
// @ts-expect-error: there is no such column
table.all().select('sise');
table.where(eq('section', 'games').and(like('name', 'a%'), isNull('size')));
table.where(filter`section = ${'games'}`);
table.where("section = 'games'");
// @ts-expect-error: there is no such column
table.where(eq('sise', 5));
// @ts-expect-error: there is no such column
table.where(and(eq('size', 5), eq('sise', 5)));
// @ts-expect-error: a filter compares with a value
eq('size', {});
const columns: Filter<'size' | 'name'> = eq('size', 5).or(eq('name', 'a'));
table.where(columns);

// ---- searches

const hits = table.search(w, {
    column: 'w',
    k: 3,
    select: ['size', 'name'],
    where: eq('section', 'games'),
});
for (const hit of hits) {
    same<typeof hit.key, string>(true);
    same<typeof hit.values, Pick<RowOf<S>, 'size' | 'name'>>(true);
    same<typeof hit.distance, number>(true);
    // @ts-expect-error: it was not selected
    hit.values.section;
}
same<typeof hits.explain.strategy, string>(true);
const plain = table.search(w, { column: 'w' });
// @ts-expect-error: nothing was selected
plain[0]?.values.size;
// @ts-expect-error: not a vector column
table.search(w, { column: 'size' });
// @ts-expect-error: there is no such column
table.search(w, { select: ['sise'] });
// @ts-expect-error: there is no such option
table.search(w, { limit: 5 });
// @ts-expect-error: the fastest form has no values
table.searchArrays(w, { select: ['size'] });
same<ReturnType<typeof table.vector>, Float32Array | null>(true);
same<ReturnType<typeof table.withVector<string>>, string | null>(true);
// @ts-expect-error: not a vector column
table.vector('a', { column: 'size' });

// ---- figures

const figures = table.all().aggregate({
    n: count(),
    total: sum('size'),
    middle: mean('ratio'),
    last: max('made'),
});
same<typeof figures.n, number>(true);
same<typeof figures.total, number | bigint | null>(true);
same<typeof figures.middle, number | null>(true);
const [group] = table.all().groupBy('section', { n: count() }, { top: 3, orderBy: 'n' });
if (group !== undefined) {
    same<typeof group.group, string | null>(true);
    same<typeof group.n, number>(true);
}
// @ts-expect-error: not grouped by floats
table.all().groupBy('ratio', { n: count() });
// @ts-expect-error: there is no such figure
table.all().groupBy('section', { n: count() }, { top: 3, orderBy: 'm' });

// ---- deltas

table.apply(
    'a',
    {
        type: 'sparse',
        indices: new Uint32Array(1),
        values: new Float32Array(1),
        mode: 'set',
    },
    { column: 'w' },
);
table.applyAll([{ key: 'a', operation: { type: 'scale', factor: 2 } }]);
// @ts-expect-error: there is no such operation
table.apply('a', { type: 'turn' });
// @ts-expect-error: scaling needs a factor
table.apply('a', { type: 'scale' });
// @ts-expect-error: keys are strings
table.applyAll([{ key: 5, operation: { type: 'scale', factor: 2 } }]);

// ---- iterators

for (const one of table.iterate({ start: 'a', end: 'b', columns: ['size'] })) {
    same<typeof one, Pick<RowOf<S>, 'size'>>(true);
}
// @ts-expect-error: keys are strings
table.iterate({ start: 5 });

// ---- other keys

const ints = db.table('ints', {
    id: key('int'),
    n: { type: 'int', required: true },
    o: { type: 'int' },
});
ints.get(5);
ints.get(5n);
ints.insert({ id: 5, n: 6 });
const int = ints.get(1);
if (int !== null) {
    same<typeof int.n, number | bigint>(true);
    same<typeof int.o, number | bigint | null>(true);
}
// @ts-expect-error: keys are integers
ints.get('a');
const numbered = db.table('numbered', { n: 'int' });
numbered.get(5);
numbered.insert({});
// @ts-expect-error: rows are named by number
numbered.get('a');
// @ts-expect-error: rows are named by number
numbered.get(5n);

// ---- tables whose schema is not known

const any = db.table('packages');
same<typeof any, Table<Schema>>(true);
any.get('a');
any.get(5);
any.insert({ whatever: 5, other: 'x' });
any.where(eq('whatever', 5)).orderBy('whatever').select('other').toArray();
any.search(w, { column: 'v', select: ['whatever'] })[0]?.values['whatever'];
const schema: Schema = { a: 'int' };
same<typeof made, Table<Schema>>(true);
const made = db.table('made', schema);

// ---- definitions

// @ts-expect-error: there is no such type
db.table('x', { a: 'integer' });
// @ts-expect-error: a key is int or string
key('float');
// @ts-expect-error: there is no such metric
vector(3, { metric: 'euclid' });
// @ts-expect-error: there is no such option
createDatabase({ budget: 5 });
// @ts-expect-error: databases are opened, not constructed
table.database = db;
