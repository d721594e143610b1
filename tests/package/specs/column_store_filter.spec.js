/*
 * ColumnStore: filters against plain JavaScript, what they refuse, and bitmaps of rows.
 */
import { expect } from 'chai';
import { ColumnStore, RowBitmap, VeltaError, eq, gt, init, isNull, lt } from 'velta';
import { errorOf, randomFrom } from '../support/random.js';

const SCHEMA = [
    { name: 'id', type: 'int' },
    { name: 'name', type: 'string' },
    { name: 'ratio', type: 'float' },
    { name: 'open', type: 'bool' },
    { name: 'made', type: 'timestamp' },
    { name: 'place', type: 'vector(2)' },
];
const indices = (...values) => Uint32Array.from(values);
const codeOf = async (call) => (await errorOf(call)).code;

describe('ColumnStore: rows by value', () => {
    const opened = [];
    const keep = (store) => {
        opened.push(store);
        return store;
    };
    const keyed = (schema = SCHEMA, column = 'id', options = {}) =>
        keep(ColumnStore.withPrimaryKey(schema, column, options));
    before(() => init());
    afterEach(async () => {
        for (const store of opened.splice(0)) await store.close();
    });

    describe('filters', () => {
        it('agree with plain JavaScript over random rows', () => {
            filtersAgainstPlain(keep);
        });

        it('refuse unknown columns and values of the wrong type', async () => {
            const store = keyed();
            store.insertRow({
                id: 1,
                name: 'a',
                ratio: 1,
                open: true,
                made: 1,
                place: [1, 2],
            });
            const calls = (column, value) => [
                () => store.filterEq(column, value),
                () => store.filterGt(column, value),
                () => store.filterLt(column, value),
                () => store.filterRange(column, value, value),
                () => store.filterIn(column, [value]),
                () => store.countEq(column, value),
                () => store.countGt(column, value),
                () => store.countLt(column, value),
                () => store.countRange(column, value, value),
                () => store.countIn(column, [value]),
            ];
            for (const call of calls('colour', 1)) expect(await codeOf(call), String(call)).to.equal('UNKNOWN_COLUMN');
            const wrong = [
                ['id', ['1', true, null, undefined, new Date(), new Uint8Array(1), {}, NaN]],
                ['ratio', ['1', true, null, new Date(), NaN]],
                ['name', [1, 1n, true, null, new Date(), new Uint8Array(1)]],
                ['open', [1, 'true', null, new Date()]],
                ['made', [true, 'yesterday', null, new Date(NaN)]],
                ['place', [1, 'x', [1, 2], new Float32Array(2)]],
            ];
            for (const [column, values] of wrong) {
                for (const value of values) {
                    for (const call of calls(column, value)) {
                        const error = await errorOf(call);
                        expect(error, `${column} ${String(value)}`).to.be.instanceOf(VeltaError);
                        expect(error.code, `${column} ${String(value)} ${call}`).to.be.oneOf(['TYPE', 'INVALID']);
                    }
                }
            }
            expect(await codeOf(() => store.filterRange('id', 1, 2, { inclsive: true }))).to.equal('INVALID');
            const error = await errorOf(() => store.filter('id = 1 AND colour = 2'));
            expect([error.code, error.offset]).to.deep.equal(['UNKNOWN_COLUMN', 11]);
            expect(await codeOf(() => store.filter('id ='))).to.equal('SYNTAX');
        });

        it('are exclusive unless asked, take text, builders, and nothing for all', () => {
            const store = keyed([
                { name: 'id', type: 'int' },
                { name: 'kind', type: 'string' },
            ]);
            store.insertRows(
                Array.from({ length: 10 }, (_, id) => ({
                    id,
                    kind: id % 2 ? 'odd' : 'even',
                })),
            );
            store.deleteRow(4);
            expect(store.filterRange('id', 2, 6)).to.deep.equal(indices(3, 5));
            expect(store.filterRange('id', 2, 6, { inclusive: true })).to.deep.equal(indices(2, 3, 5, 6));
            expect(store.filterRange('id', 6, 2, { inclusive: true })).to.deep.equal(indices());
            expect(store.filterIn('id', [])).to.deep.equal(indices());
            expect(store.filterIn('id', [9, 4, 1, 1])).to.deep.equal(indices(1, 9));
            expect(store.filter("kind = 'even' AND id < 7")).to.deep.equal(indices(0, 2, 6));
            expect(store.filter(eq('kind', 'even').and(lt('id', 7)))).to.deep.equal(indices(0, 2, 6));
            expect(store.count("kind = 'even'")).to.equal(4);
            expect([store.count(), store.filter('').length]).to.deep.equal([9, 9]);
        });
    });

    describe('bitmaps', () => {
        const filled = () => {
            const store = keyed([
                { name: 'id', type: 'int' },
                { name: 'n', type: 'int' },
                { name: 's', type: 'string' },
            ]);
            const random = randomFrom(8);
            store.insertRows(
                Array.from({ length: 500 }, (_, id) => ({
                    id,
                    n: random.chance(0.2) ? null : random.below(10),
                    s: random.chance(0.2) ? null : random.pick(['a', 'b', 'c']),
                })),
            );
            for (let i = 0; i < 50; i++) store.deleteRow(random.below(500));
            return [store, random];
        };

        it('combine as sets do, rows with NULL included', () => {
            const [store, random] = filled();
            const rows = [...store.filter('')].map((index) => [index, store.getRowsByIndices(indices(index))[0]]);
            const leaf = () => {
                const n = random.below(10);
                return random.pick([
                    [store.bitmap(eq('n', n)), (row) => row.n === n],
                    [store.bitmap(`n > ${n} OR s = 'a'`), (row) => (row.n !== null && row.n > n) || row.s === 'a'],
                    [store.bitmap("s STARTS WITH 'b'"), (row) => row.s === 'b'],
                    [store.bitmap(isNull('n')), (row) => row.n === null],
                    [store.bitmap(), () => true],
                ]);
            };
            const tree = (depth) => {
                const kind = depth === 0 ? 'leaf' : random.pick(['leaf', 'and', 'or', 'not']);
                if (kind === 'leaf') return leaf();
                const [one, oneMatches] = tree(depth - 1);
                if (kind === 'not') return [one.not(), (row) => !oneMatches(row)];
                const [other, otherMatches] = tree(depth - 1);
                return kind === 'and'
                    ? [one.and(other), (row) => oneMatches(row) && otherMatches(row)]
                    : [one.or(other), (row) => oneMatches(row) || otherMatches(row)];
            };
            for (let i = 0; i < 200; i++) {
                const [bitmap, matches] = tree(4);
                expect(bitmap).to.be.instanceOf(RowBitmap);
                const expected = rows.filter(([, row]) => matches(row)).map(([index]) => index);
                expect([...bitmap.toIndices()]).to.deep.equal(expected);
                expect(bitmap.count()).to.equal(expected.length);
            }
        });

        it('take filters and text, and many at once', () => {
            const [store] = filled();
            const all = store.bitmap(gt('n', 2)).and("s = 'a'", lt('n', 8), store.bitmap('id < 400'));
            expect(all.toIndices()).to.deep.equal(store.filter("n > 2 AND s = 'a' AND n < 8 AND id < 400"));
            const any = store.bitmap("s = 'a'").or("s = 'b'", 'n = 1');
            expect(any.toIndices()).to.deep.equal(store.filter("s = 'a' OR s = 'b' OR n = 1"));
            expect([...any]).to.deep.equal([...any.toIndices()]);
            expect(any.and().count()).to.equal(any.count());
            expect(any.not().not().toIndices()).to.deep.equal(any.toIndices());
        });

        it('see later changes', () => {
            const [store] = filled();
            const bitmap = store.bitmap('n = 3').not();
            const before = bitmap.count();
            store.insertRows([{ id: 1000, n: 3 }, { id: 1001, n: 4 }, { id: 1002 }]);
            expect(bitmap.count()).to.equal(before + 2);
        });

        it('refuse what is no condition, and parts that are none', async () => {
            const [store] = filled();
            const [other] = filled();
            expect(await codeOf(() => store.bitmap('colour = 1').count())).to.equal('UNKNOWN_COLUMN');
            expect(await codeOf(() => store.bitmap('n = 1').and('n =').toIndices())).to.equal('SYNTAX');
            expect(await codeOf(() => store.bitmap('n = 1) OR (n = 2').and('id < 5').count())).to.equal('SYNTAX');
            expect(await codeOf(() => store.bitmap('n = 1').and(other.bitmap('n = 2')))).to.equal('INVALID');
        });

        it('are of a store without columns empty', () => {
            const store = keep(new ColumnStore());
            expect([store.bitmap().count(), store.bitmap().not().count()]).to.deep.equal([0, 0]);
            expect(store.bitmap().toIndices()).to.deep.equal(indices());
        });
    });
});

/** Random rows of every type, NULLs among them; every filter against a loop over plain objects. */
function filtersAgainstPlain(keep) {
    const random = randomFrom(99);
    const types = ['int', 'float', 'string', 'bool', 'timestamp'];
    const store = keep(ColumnStore.withSchema(types.map((type) => ({ name: `${type} column`, type }))));
    const values = {
        int: [0, 1, -1, 2, 3, 2 ** 53 - 1, 2n ** 60n, -(2n ** 60n), 7, 8],
        float: [0, -0, 1.5, -1.5, 2, Infinity, -Infinity, 1e-300, 3, NaN],
        string: ['', 'a', 'A', 'b', 'ab', "it's", '\u00e9', '\uffee', '\u{10000}', '%_'],
        bool: [true, false],
        timestamp: [0, 1, -1, 1_700_000_000_000, 1_700_000_000_001, -62_135_596_800_000],
    };
    const plain = Array.from({ length: 700 }, () =>
        Object.fromEntries(
            types.map((type) => [`${type} column`, random.chance(0.15) ? null : random.pick(values[type])]),
        ),
    );
    store.insertRows(plain);
    const dead = new Set();
    for (let i = 0; i < 80; i++) {
        const row = random.below(plain.length);
        expect(store.deleteRow(row)).to.equal(!dead.has(row));
        dead.add(row);
    }
    const encoder = new TextEncoder();
    const compare = (a, b) => {
        if (typeof a !== 'string') return a < b ? -1 : a > b ? 1 : a == b ? 0 : NaN;
        const [x, y] = [encoder.encode(a), encoder.encode(b)];
        for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i] - y[i];
        return x.length - y.length;
    };
    const expectRows = (found, count, column, matches, what) => {
        const expected = [];
        plain.forEach((row, i) => !dead.has(i) && row[column] !== null && matches(row[column]) && expected.push(i));
        expect([...found], what).to.deep.equal(expected);
        expect(count, what).to.equal(expected.length);
    };
    for (let i = 0; i < 150; i++) {
        const type = random.pick(types);
        const column = `${type} column`;
        const usable = values[type].filter((value) => !Number.isNaN(value));
        const given = () => {
            const value = random.pick(usable);
            return type === 'timestamp' && random.chance(0.5) ? new Date(value) : value;
        };
        const raw = (value) => (value instanceof Date ? value.getTime() : value);
        const [a, b] = [given(), given()];
        const list = Array.from({ length: random.below(12) }, given);
        const order = (value, other) => compare(value, raw(other));
        const what = `${column} ${String(a)} ${String(b)} ${list.map(String)}`;
        expectRows(store.filterEq(column, a), store.countEq(column, a), column, (x) => order(x, a) === 0, what);
        expectRows(store.filterGt(column, a), store.countGt(column, a), column, (x) => order(x, a) > 0, what);
        expectRows(store.filterLt(column, a), store.countLt(column, a), column, (x) => order(x, a) < 0, what);
        const open = (x) => order(x, a) > 0 && order(x, b) < 0;
        expectRows(store.filterRange(column, a, b), store.countRange(column, a, b), column, open, what);
        const closed = (x) => order(x, a) >= 0 && order(x, b) <= 0;
        const options = { inclusive: true };
        const found = store.filterRange(column, a, b, options);
        expectRows(found, store.countRange(column, a, b, options), column, closed, what);
        const among = (x) => list.some((value) => order(x, value) === 0);
        expectRows(store.filterIn(column, list), store.countIn(column, list), column, among, what);
    }
}
