/*
 * Tables: what is written is what is read, for every type, by rows and by columns; batches are all or nothing; keys,
 * expiry, columns that are added.
 */
import { expect } from 'chai';
import { NULL_INT, createDatabase, init, key, required, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { thrown } from '../support/thrown.js';

const SCHEMA = {
    name: key('string'),
    size: 'int',
    ratio: 'float',
    ok: 'bool',
    text: 'string',
    made: 'timestamp',
    raw: 'bytes',
    v: vector(3),
};
const FULL = {
    name: 'a',
    size: 3,
    ratio: 0.5,
    ok: true,
    text: 'héllo',
    made: new Date('2024-05-01T10:00:00.123Z'),
    raw: new Uint8Array([0, 255, 1]),
    v: new Float32Array([1, 2, 3]),
};
const EMPTY = {
    size: null,
    ratio: null,
    ok: null,
    text: null,
    made: null,
    raw: null,
    v: null,
};

describe('Table', () => {
    let db;
    before(() => init());
    beforeEach(() => (db = createDatabase({ autoIndex: false })));
    afterEach(() => db.close());

    describe('rows', () => {
        it('come back as they went in, every type', () => {
            const table = db.table('t', SCHEMA);
            expect(table.insert(FULL)).to.deep.equal({
                firstRow: 0,
                inserted: 1,
                updated: 0,
                sequence: 2,
            });
            expect(table.get('a')).to.deep.equal(FULL);
            expect(table.get('a').made).to.be.instanceOf(Date);
            expect(Object.keys(table.get('a'))).to.deep.equal(Object.keys(SCHEMA));
        });

        it('are NULL where nothing is given, by absence, undefined or null', () => {
            const table = db.table('t', SCHEMA);
            table.insert([
                { name: 'a' },
                { name: 'b', size: undefined, v: null },
                { ...FULL, name: 'c' },
                { name: 'd', ok: null },
            ]);
            expect(table.get('a')).to.deep.equal({ name: 'a', ...EMPTY });
            expect(table.get('b')).to.deep.equal({ name: 'b', ...EMPTY });
            expect(table.get('c')).to.deep.equal({ ...FULL, name: 'c' });
            expect(table.get('d')).to.deep.equal({ name: 'd', ...EMPTY });
        });

        it('keep integers of 64 bits: numbers where they are exact, else bigints', () => {
            const table = db.table('t', { id: key('int'), n: 'int' });
            const values = [
                0,
                -1,
                1,
                2 ** 31 - 1,
                2 ** 31,
                -(2 ** 31) - 1,
                2 ** 32,
                -(2 ** 32),
                2 ** 53 - 1,
                -(2 ** 53) + 1,
                2n ** 53n,
                -(2n ** 53n),
                2n ** 63n - 1n,
                -(2n ** 63n),
                2n ** 62n + 1n,
                -4294967297,
                4294967295,
            ];
            table.insert(values.map((n, id) => ({ id, n })));
            expect(table.getMany(values.map((_, id) => id)).map(({ n }) => n)).to.deep.equal(values);
            table.insert({ id: 2n ** 60n, n: 7n });
            expect(table.get(2n ** 60n)).to.deep.equal({ id: 2n ** 60n, n: 7 });
            expect(table.get(3n)).to.deep.equal({ id: 3, n: values[3] });
        });

        it('keep floats to the bit, NaN and infinities among them', () => {
            const table = db.table('t', { x: 'float' });
            const values = [0, -0, 1.1, Number.MIN_VALUE, Number.MAX_VALUE, Infinity, -Infinity, NaN];
            table.insert(values.map((x) => ({ x })));
            const read = table.getRows(Uint32Array.from(values.keys())).map(({ x }) => x);
            read.forEach((x, i) => expect(Object.is(x, values[i]), `${values[i]}`).to.equal(true));
        });

        it('keep texts of any length and script', () => {
            const table = db.table('t', { s: 'string' });
            const values = [
                '',
                'a',
                'é',
                '€',
                '😀',
                '\u{feff}bom',
                '\0',
                'x\0y',
                'a'.repeat(47) + 'é',
                'b'.repeat(48),
                'c'.repeat(49),
                'd'.repeat(100_000),
                '𝄞'.repeat(30_000),
                '\uffff',
                'it\'s "quoted" 100%_\\',
            ];
            table.insert(values.map((s) => ({ s })));
            expect(table.getRows(Uint32Array.from(values.keys())).map(({ s }) => s)).to.deep.equal(values);
        });

        it('keep times from numbers and Dates, before 1970 too', () => {
            const table = db.table('t', { at: 'timestamp' });
            const values = [0, -1, 8.64e15, -8.64e15, new Date(1e12)];
            table.insert(values.map((at) => ({ at })));
            const read = table.getRows(Uint32Array.from(values.keys())).map(({ at }) => at.getTime());
            expect(read).to.deep.equal(values.map(Number));
        });

        it('keep columns whose names objects have already', () => {
            const schema = {
                ['__proto__']: 'int',
                constructor: 'string',
                toString: 'int',
                'a "b" c': 'int',
                '💡': 'bool',
            };
            const table = db.table('t', schema);
            const row = {
                ['__proto__']: 5,
                constructor: 'c',
                toString: 6,
                'a "b" c': 7,
                '💡': true,
            };
            table.insert([row, {}]);
            const [read, empty] = table.getRows(new Uint32Array([0, 1]));
            expect(Object.entries(read)).to.deep.equal(Object.entries(row));
            expect(Object.getPrototypeOf(read)).to.equal(Object.prototype);
            expect(Object.values(empty)).to.deep.equal([null, null, null, null, null]);
        });

        it('are read with some columns only, in the order asked for', () => {
            const table = db.table('t', SCHEMA);
            table.insert([FULL, { ...FULL, name: 'b' }]);
            expect(Object.keys(table.get('a', { columns: ['ok', 'name'] }))).to.deep.equal(['ok', 'name']);
            expect(table.getMany(['b', 'x', 'a'], { columns: ['name'] })).to.deep.equal([
                { name: 'b' },
                null,
                { name: 'a' },
            ]);
            expect(table.get('a', { columns: [] })).to.deep.equal({});
            expect(table.getMany([])).to.deep.equal([]);
            expect(table.getRows(new Uint32Array(0))).to.deep.equal([]);
        });

        it('are named by number where there is no key', () => {
            const table = db.table('t', { n: 'int' });
            table.insert([{ n: 5 }, { n: 6 }]);
            expect(table.keyColumn).to.equal(null);
            expect(table.get(1)).to.deep.equal({ n: 6 });
            expect(table.get(2)).to.equal(null);
            expect(table.has(0)).to.equal(true);
            table.update(0, { n: 50 });
            expect(table.delete([1, 7])).to.equal(1);
            expect(table.getMany([0, 1])).to.deep.equal([{ n: 50 }, null]);
        });

        it('give what insert and upsert did', () => {
            const table = db.table('t', { k: key('int'), n: 'int' });
            expect(table.insert([])).to.deep.equal({
                firstRow: null,
                inserted: 0,
                updated: 0,
                sequence: 1,
            });
            expect(
                table.insert([
                    { k: 1, n: 1 },
                    { k: 2, n: 2 },
                ]).firstRow,
            ).to.equal(0);
            const { sequence, ...mixed } = table.upsert([
                { k: 2, n: 20 },
                { k: 3, n: 30 },
            ]);
            expect(mixed).to.deep.equal({ firstRow: 2, inserted: 1, updated: 1 });
            expect(sequence).to.equal(db.stats().sequence);
            expect(table.upsert({ k: 1, n: 10 }).firstRow).to.equal(null);
            expect(table.getMany([1, 2, 3]).map(({ n }) => n)).to.deep.equal([10, 20, 30]);
            expect([table.rowCount, table.liveCount]).to.deep.equal([3, 3]);
        });

        it('leave what an upsert does not name', () => {
            const table = db.table('t', { k: key('int'), a: 'int', b: 'int' });
            table.insert({ k: 1, a: 1, b: 1 });
            table.upsert({ k: 1, b: 2 });
            expect(table.get(1)).to.deep.equal({ k: 1, a: 1, b: 2 });
            const error = thrown('INVALID', /row 1 lacks the column 'a'/, () =>
                table.upsert([
                    { k: 1, a: 5 },
                    { k: 2, b: 5 },
                ]),
            );
            expect(error.offset).to.equal(1);
            expect(table.get(1).a).to.equal(1);
        });

        it('survive a batch larger than the argument space, many times', () => {
            const table = db.table('t', {
                k: key('int'),
                text: 'string',
                v: vector(100),
            });
            const before = db.stats().wasmMemoryBytes;
            for (let round = 0; round < 5; round++) {
                const rows = Array.from({ length: 5000 }, (_, i) => ({
                    k: i,
                    text: `text ${i} é`.repeat(20),
                    v: new Float32Array(100).fill(i + 1),
                }));
                table.upsert(rows);
            }
            expect(table.get(4999)).to.deep.equal({
                k: 4999,
                text: 'text 4999 é'.repeat(20),
                v: new Float32Array(100).fill(5000),
            });
            expect(table.liveCount).to.equal(5000);
            expect(db.stats().wasmMemoryBytes - before).to.be.below(64 << 20);
        });

        it('are as if held in a Map, whatever is done to them', () => {
            const random = randomFrom(20);
            const table = db.table('t', { k: key('string'), n: 'int', s: 'string' });
            const model = new Map();
            for (let step = 0; step < 1500; step++) {
                const k = `k${random.below(60)}`;
                const row = {
                    k,
                    n: random.chance(0.2) ? null : random.below(1e9) - 5e8,
                    s: random.chance(0.3) ? null : 'é'.repeat(random.below(70)),
                };
                const action = random.below(5);
                if (action === 0 && !model.has(k)) (table.insert(row), model.set(k, row));
                else if (action <= 1) (table.upsert(row), model.set(k, row));
                else if (action === 2) expect(table.delete(k)).to.equal(model.delete(k) ? 1 : 0);
                else if (action === 3 && model.has(k)) (table.update(k, { n: step }), (model.get(k).n = step));
                else expect(table.get(k)).to.deep.equal(model.get(k) ?? null);
            }
            const rows = table.all().toArray();
            expect(new Map(rows.map((row) => [row.k, row]))).to.deep.equal(model);
        });
    });

    describe('columns', () => {
        it('of the engine’s form go in and come out whole', () => {
            const table = db.table('t', SCHEMA);
            const made = new BigInt64Array([5n, -5n]);
            const stats = table.insertColumns({
                name: ['a', 'b'],
                size: new BigInt64Array([1n, 2n ** 62n]),
                ratio: new Float64Array([0.25, NaN]),
                ok: new Uint8Array([1, 0]),
                text: ['x', null],
                made,
                raw: [new Uint8Array([9]), null],
                v: new Float32Array([1, 2, 3, 4, 5, 6]),
            });
            expect(stats.inserted).to.equal(2);
            const columns = table.getColumns(new Uint32Array([1, 0]));
            expect(columns.size).to.deep.equal(new BigInt64Array([2n ** 62n, 1n]));
            expect(columns.ratio).to.deep.equal(new Float64Array([NaN, 0.25]));
            expect(columns.ok).to.deep.equal(new Uint8Array([0, 1]));
            expect(columns.made).to.deep.equal(new Float64Array([-5, 5]));
            expect(columns.v).to.deep.equal(new Float32Array([4, 5, 6, 1, 2, 3]));
            expect(columns.name).to.deep.equal(['b', 'a']);
            expect(columns.text).to.deep.equal([null, 'x']);
            expect(columns.raw).to.deep.equal([null, new Uint8Array([9])]);
        });

        it('of other forms are converted', () => {
            const table = db.table('t', {
                n: 'int',
                x: 'float',
                b: 'bool',
                t: 'timestamp',
                v: vector(2),
            });
            table.insertColumns({
                n: new Int32Array([-1, 2]),
                x: new Float32Array([0.5, 1]),
                b: [true, null],
                t: [new Date(7), 8],
                v: [[1, 2], null],
            });
            table.insertColumns({
                n: [1, 2n ** 60n],
                x: [1, null],
                t: new Float64Array([1, 2]),
                v: [new Float32Array(2), [3, 4]],
            });
            expect(table.all().toArray()).to.deep.equal([
                { n: -1, x: 0.5, b: true, t: new Date(7), v: new Float32Array([1, 2]) },
                { n: 2, x: 1, b: null, t: new Date(8), v: null },
                { n: 1, x: 1, b: null, t: new Date(1), v: new Float32Array(2) },
                {
                    n: 2n ** 60n,
                    x: null,
                    b: null,
                    t: new Date(2),
                    v: new Float32Array([3, 4]),
                },
            ]);
        });

        it('take half-precision bits as vectors', () => {
            const table = db.table('t', {
                v: vector(2, { element: 'f16' }),
                w: vector(2),
            });
            table.insertColumns({
                v: new Uint16Array([0x3c00, 0xc000]),
                w: new Uint16Array([0x3800, 0x4248]),
            });
            expect(table.get(0)).to.deep.equal({
                v: new Float32Array([1, -2]),
                w: new Float32Array([0.5, 3.140625]),
            });
        });

        it('have marks for NULL when they come out', () => {
            const table = db.table('t', {
                n: 'int',
                x: 'float',
                b: 'bool',
                t: 'timestamp',
                v: vector(2),
            });
            table.insert([{}, { n: 1, x: 1, b: false, t: 1, v: [1, 2] }]);
            const columns = table.getColumns(new Uint32Array([0, 1]));
            expect(columns.n).to.deep.equal(new BigInt64Array([NULL_INT, 1n]));
            expect(columns.x).to.deep.equal(new Float64Array([NaN, 1]));
            expect(columns.b).to.deep.equal(new Uint8Array([255, 0]));
            expect(columns.t).to.deep.equal(new Float64Array([NaN, 1]));
            expect(columns.v).to.deep.equal(new Float32Array([NaN, NaN, 1, 2]));
            expect(Object.keys(table.getColumns(new Uint32Array([1]), ['x']))).to.deep.equal(['x']);
        });

        it('have the length that they have, whatever a subclass tells', () => {
            class Liar extends Float64Array {
                get length() {
                    return 3;
                }
            }
            const table = db.table('lies', { n: 'float' });
            expect(table.insertColumns({ n: new Liar(2) }).inserted).to.equal(2);
            thrown('INVALID', /column 'n' has 2 rows/, () => table.insertColumns({ n: new Liar(2) }, 3));
        });

        it('may say how many rows there are', () => {
            const table = db.table('t', { n: 'int' });
            expect(table.insertColumns({}, 3).inserted).to.equal(3);
            expect(table.insertColumns({ n: null }, 2).inserted).to.equal(2);
            thrown('INVALID', /column 'n' has 2 rows, but rowCount says 3/, () =>
                table.insertColumns({ n: [1, 2] }, 3),
            );
            thrown('INVALID', /has no columns/, () => table.insertColumns({}));
            expect(table.liveCount).to.equal(5);
        });

        it('update and upsert many at once', () => {
            const table = db.table('t', { k: key('int'), n: 'int', s: 'string' });
            table.insertColumns({ k: [1, 2, 3], n: [1, 2, 3], s: ['a', 'b', 'c'] });
            const sequence = table.updateMany([3, 1], { n: [30, 10] });
            expect(sequence).to.equal(db.stats().sequence);
            const { updated, inserted } = table.upsertColumns({
                k: [2, 4],
                s: ['B', 'D'],
            });
            expect([updated, inserted]).to.deep.equal([1, 1]);
            expect(table.all().toArray()).to.deep.equal([
                { k: 1, n: 10, s: 'a' },
                { k: 2, n: 2, s: 'B' },
                { k: 3, n: 30, s: 'c' },
                { k: 4, n: null, s: 'D' },
            ]);
            const error = thrown('NOT_FOUND', undefined, () => table.updateMany([1, 9], { n: [0, 0] }));
            expect(error.offset).to.equal(1);
            expect(table.get(1).n).to.equal(10);
        });

        it('can be added later', () => {
            const table = db.table('t', { k: key('int') });
            table.insert({ k: 1 });
            table.addColumn('n', 'int');
            table.addColumn('v', vector(2, { metric: 'l2' }));
            expect(table.get(1)).to.deep.equal({ k: 1, n: null, v: null });
            expect(table.schema.v.metric).to.equal('l2');
            table.update(1, { v: [1, 2] });
            expect(table.search([1, 2])[0].distance).to.equal(0);
            thrown('EXISTS', undefined, () => table.addColumn('n', 'int'));
            thrown('INVALID', /column 'x': type must be one of/, () => table.addColumn('x', 'number'));
            expect(Object.keys(table.schema)).to.deep.equal(['k', 'n', 'v']);
        });
    });

    describe('changes', () => {
        it('to one row set what is named', () => {
            const table = db.table('t', SCHEMA);
            table.insert(FULL);
            table.update('a', {
                size: null,
                text: 'neu',
                v: [4, 5, 6],
                ok: undefined,
            });
            expect(table.get('a')).to.deep.equal({
                ...FULL,
                size: null,
                text: 'neu',
                v: new Float32Array([4, 5, 6]),
            });
            const { sequence } = db.stats();
            expect(table.update('a', {})).to.equal(sequence);
            thrown('NOT_FOUND', undefined, () => table.update('b', { size: 1 }));
        });

        it('delete rows that exist', () => {
            const table = db.table('t', { k: key('int') });
            table.insert([{ k: 1 }, { k: 2 }, { k: 3 }]);
            expect(table.delete(1)).to.equal(1);
            expect(table.delete([1, 2, 9])).to.equal(1);
            expect(table.delete([])).to.equal(0);
            expect([table.rowCount, table.liveCount, table.has(3), table.has(1)]).to.deep.equal([3, 1, true, false]);
            expect(table.rowOf(3)).to.equal(2);
            expect(table.rowOf(1)).to.equal(null);
        });

        it('are all or nothing', () => {
            const table = db.table('t', { k: key('int'), n: required('int') });
            table.insert({ k: 1, n: 1 });
            expect(
                thrown('EXISTS', undefined, () =>
                    table.insert([
                        { k: 2, n: 2 },
                        { k: 1, n: 3 },
                    ]),
                ).offset,
            ).to.equal(1);
            expect(
                thrown('EXISTS', undefined, () =>
                    table.insert([
                        { k: 5, n: 2 },
                        { k: 5, n: 3 },
                    ]),
                ).offset,
            ).to.equal(1);
            expect(
                thrown('NOT_NULL', undefined, () =>
                    table.insert([
                        { k: 2, n: 2 },
                        { k: 3, n: null },
                    ]),
                ).offset,
            ).to.equal(1);
            expect(table.liveCount).to.equal(1);
        });
    });

    describe('time', () => {
        let now;
        let clocked;
        beforeEach(() => {
            now = 1_000_000;
            clocked = createDatabase({ now: () => now, autoIndex: false });
        });
        afterEach(() => clocked.close());

        it('makes rows expire', () => {
            const table = clocked.table('t', { k: key('string') });
            table.insert([{ k: 'a' }, { k: 'b' }, { k: 'c' }]);
            table.setTtl('a', 10);
            table.expireAt(['b', 'c'], [now + 20_000, new Date(now + 30_000)]);
            now += 10_000;
            expect([table.get('a'), table.has('b'), table.liveCount]).to.deep.equal([null, true, 3]);
            expect(table.all().count()).to.equal(2);
            expect(table.expire()).to.equal(1);
            expect(table.liveCount).to.equal(2);
            table.setTtl('b', null);
            expect(table.expire(now + 25_000)).to.equal(1);
            expect(table.all().keys()).to.deep.equal(['b']);
            expect(table.expire(new Date(now * 1000))).to.equal(0);
        });

        it('can be gone back to', () => {
            const table = clocked.table('t', {
                k: key('string'),
                n: 'int',
                v: vector(2),
            });
            table.insert({ k: 'a', n: 1, v: [1, 0] });
            const first = now;
            now += 1000;
            table.update('a', { n: 2, v: [0, 1] });
            table.insert({ k: 'b', n: 3 });
            now += 1000;
            table.delete('a');
            expect(table.get('a')).to.equal(null);
            expect(table.get('a', { at: first })).to.deep.equal({
                k: 'a',
                n: 1,
                v: new Float32Array([1, 0]),
            });
            expect(table.get('a', { at: new Date(first + 1000), columns: ['n'] })).to.deep.equal({ n: 2 });
            expect(table.get('b', { at: first })).to.equal(null);
            expect(table.getMany(['a', 'b'], { at: first + 999, columns: ['n'] })).to.deep.equal([{ n: 1 }, null]);
            expect(table.rowOf('a', first)).to.equal(0);
            expect(table.vector('a', { at: first })).to.deep.equal(new Float32Array([1, 0]));
            expect(table.search([1, 0], { at: first, select: ['n'] })[0]).to.deep.include({
                key: 'a',
                values: { n: 1 },
            });
            expect(table.getColumns(new Uint32Array([0]), ['n'], { at: first }).n).to.deep.equal(
                new BigInt64Array([1n]),
            );
        });
    });

    describe('vectors', () => {
        it('are copied, or seen in place', () => {
            const table = db.table('t', { k: key('string'), v: vector(3) });
            table.insert([{ k: 'a', v: [1, 2, 3] }, { k: 'b' }]);
            const copy = table.vector('a');
            expect(copy).to.deep.equal(new Float32Array([1, 2, 3]));
            const into = new Float32Array(3);
            expect(table.vector('a', { into })).to.equal(into);
            expect(into).to.deep.equal(copy);
            thrown('DIMENSIONS', /into must be a Float32Array of the 3 elements of column 'v'/, () =>
                table.vector('a', { into: new Float32Array(4) }),
            );
            thrown('DIMENSIONS', /not an array of 3/, () => table.vector('a', { into: [1, 2, 3] }));
            copy[0] = 9;
            expect(table.vector('a')[0]).to.equal(1);
            expect([table.vector('b'), table.vector('c'), table.withVector('b', () => 1)]).to.deep.equal([
                null,
                null,
                null,
            ]);
            const sum = table.withVector('a', (view) => view.reduce((a, b) => a + b));
            expect(sum).to.equal(6);
            table.withVector('a', () => {
                thrown('BUSY', /callback/, () => table.vector('a'));
            });
            expect(() =>
                table.withVector('a', () => {
                    throw new TypeError('mine');
                }),
            ).to.throw(TypeError, 'mine');
            expect(table.vector('a')[2]).to.equal(3);
        });

        it('kept in half precision or as codes are given as f32', () => {
            const table = db.table('t', {
                k: key('string'),
                half: vector(2, { element: 'f16', metric: 'l2' }),
                codes: vector(2, { element: 'codes' }),
            });
            table.insert({ k: 'a', half: [0.5, 2], codes: [0.6, 0.8] });
            expect(table.vector('a', { column: 'half' })).to.deep.equal(new Float32Array([0.5, 2]));
            expect(table.withVector('a', (view) => Array.from(view), 'half')).to.deep.equal([0.5, 2]);
            const codes = table.vector('a', { column: 'codes' });
            expect(codes[0]).to.be.closeTo(0.6, 0.02);
            expect(codes[1]).to.be.closeTo(0.8, 0.02);
            thrown('INVALID', /several vector columns.*half, codes/, () => table.vector('a'));
            thrown('TYPE', /'k' is string, not a vector/, () => table.vector('a', { column: 'k' }));
        });
    });
});
