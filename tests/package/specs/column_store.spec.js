/*
 * ColumnStore: rows in and out, filters against plain JavaScript, bitmaps, expiry, vacuum, and its stored form.
 */
import { expect } from 'chai';
import { ColumnStore, RowBitmap, VeltaError, eq, gt, init, isNull, lt, vector } from 'velta';
import { temporaryName } from '../support/harness.js';
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

describe('ColumnStore', () => {
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

    describe('schema', () => {
        it('may be empty at first and grow', async () => {
            const store = keep(new ColumnStore());
            expect(store.columnNames).to.deep.equal([]);
            expect(store.primaryKeyColumn).to.equal(null);
            expect([store.rowCount, store.activeRowCount, store.deletedRowCount, store.count()]).to.deep.equal([0, 0, 0, 0]);
            expect(await codeOf(() => store.insertRow({}))).to.equal('INVALID');
            expect(await codeOf(() => store.filterEq('a', 1))).to.equal('UNKNOWN_COLUMN');
            expect(store.getRow(0)).to.equal(null);
            expect([store.expireRows(), store.shouldVacuum(), store.deleteRow(0)]).to.deep.equal([0, false, false]);
            store.vacuum();
            store.clear();
            store.addColumn({ name: 'a', type: 'int' });
            expect(store.insertRow({ a: 1 })).to.equal(0);
            store.addColumn({ name: 'b', type: 'string' });
            expect(store.columnNames).to.deep.equal(['a', 'b']);
            expect(store.getRow(0)).to.deep.equal({ a: 1, b: null });
            expect(store.insertRow({ a: 2, b: 'x' })).to.equal(1);
            expect(store.filterEq('b', 'x')).to.deep.equal(indices(1));
            expect(await codeOf(() => store.addColumn({ name: 'b', type: 'int' }))).to.equal('EXISTS');
            expect(await codeOf(() => store.addColumn({ name: 'c', type: 'text' }))).to.equal('INVALID');
            expect(await codeOf(() => store.addColumn({ name: '', type: 'int' }))).to.equal('INVALID');
        });

        it('has columns of every type, in their order', () => {
            const store = keyed();
            expect(store.columnNames).to.deep.equal(SCHEMA.map(({ name }) => name));
            expect(store.primaryKeyColumn).to.equal('id');
            expect(store.schema.map(({ name, type }) => [name, type])).to.deep.equal([
                ...SCHEMA.slice(0, 5).map(({ name, type }) => [name, type]),
                ['place', 'vector'],
            ]);
            const other = keep(ColumnStore.withSchema([{ name: 'v', ...vector(3, { metric: 'l2' }) }]));
            expect(other.schema[0]).to.include({ name: 'v', type: 'vector', dimensions: 3, metric: 'l2' });
            expect(keep(ColumnStore.withSchema([])).columnNames).to.deep.equal([]);
            expect(keep(ColumnStore.withSchema(store.schema)).columnNames).to.deep.equal(store.columnNames);
        });

        it('refuses what cannot be', async () => {
            const make = (schema, column) => () =>
                column === undefined ? ColumnStore.withSchema(schema) : ColumnStore.withPrimaryKey(schema, column);
            expect(await codeOf(make([{ name: 'a', type: 'decimal' }]))).to.equal('INVALID');
            expect(await codeOf(make([{ name: 'a', type: 'vector(0)' }]))).to.be.oneOf(['INVALID', 'LIMIT']);
            expect(await codeOf(make([{ name: 'a', type: 'vector()' }]))).to.equal('INVALID');
            expect(await codeOf(make([{ name: 'a', type: 'int' }, { name: 'a', type: 'int' }]))).to.equal('EXISTS');
            expect(await codeOf(make([{ name: 'a', type: 'int' }], 'b'))).to.equal('UNKNOWN_COLUMN');
            expect(await codeOf(make([{ name: 'a', type: 'float' }], 'a'))).to.be.oneOf(['INVALID', 'TYPE']);
            expect(await codeOf(make([{ name: 'a', type: 'vector(2)' }], 'a'))).to.be.oneOf(['INVALID', 'TYPE']);
            expect(await codeOf(() => new ColumnStore({ memory: 1 }))).to.equal('INVALID');
        });
    });

    describe('rows', () => {
        const row = {
            id: 7,
            name: 'caf\u00e9',
            ratio: -0.5,
            open: true,
            made: new Date(1_700_000_000_123),
            place: new Float32Array([1, 2]),
        };

        it('come back as they went in', () => {
            const store = keyed();
            expect(store.insertRow(row)).to.equal(0);
            expect(store.getRow(7)).to.deep.equal(row);
            expect(store.insertRow({ id: 8 })).to.equal(1);
            const empty = { id: 8, name: null, ratio: null, open: null, made: null, place: null };
            expect(store.getRow(8)).to.deep.equal(empty);
            store.insertRow({ id: 9, made: 5, place: [3, 4], name: null, ratio: undefined });
            expect(store.getRow(9)).to.deep.equal({ ...empty, id: 9, made: new Date(5), place: new Float32Array([3, 4]) });
            expect(store.getRow(10)).to.equal(null);
            expect(store.getRowsByIndices(indices(2, 0, 0)).map(({ id }) => id)).to.deep.equal([9, 7, 7]);
            expect(store.getRowsByIndices(indices())).to.deep.equal([]);
        });

        it('keep floats that are odd, and strings of every kind', () => {
            const store = keyed([{ name: 'id', type: 'int' }, { name: 'x', type: 'float' }, { name: 's', type: 'string' }]);
            [NaN, Infinity, -Infinity, -0, 5e-324, 1.7976931348623157e308].forEach((x, id) => {
                store.insertRow({ id, x });
                expect(Object.is(store.getRow(id).x, x), String(x)).to.equal(true);
            });
            ['', 'a\0b', '\u{1F600}', 'x'.repeat(100_000), "it's"].forEach((s, i) => {
                store.insertRow({ id: 100 + i, s });
                expect(store.getRow(100 + i).s).to.equal(s);
                if (!s.includes('x')) expect([...store.filterEq('s', s)], s).to.deep.equal([store.rowCount - 1]);
            });
        });

        it('keep integers of 64 bits without loss', async () => {
            const store = keyed([{ name: 'id', type: 'int' }, { name: 'n', type: 'int' }]);
            const values = [2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n), -(2n ** 53n) - 1n];
            values.forEach((n) => store.insertRow({ id: n, n }));
            for (const [i, n] of values.entries()) {
                expect(store.getRow(n)).to.deep.equal({ id: n, n });
                expect(store.filterEq('n', n)).to.deep.equal(indices(i));
            }
            expect(store.filterEq('n', 2n ** 53n)).to.deep.equal(indices());
            expect(store.filterGt('n', 2n ** 53n)).to.deep.equal(indices(0, 1));
            expect(store.filterIn('n', [2n ** 63n - 1n, -(2n ** 63n)])).to.deep.equal(indices(1, 2));
            expect(store.filterRange('n', -(2n ** 63n), 2n ** 53n + 1n)).to.deep.equal(indices(3));
            store.insertRow({ id: 5n, n: 7n });
            expect(store.getRow(5)).to.deep.equal({ id: 5, n: 7 });
            expect(store.getRow(5n)).to.deep.equal({ id: 5, n: 7 });
            expect(store.deleteRow(2n ** 63n - 1n)).to.equal(true);
            expect(await codeOf(() => store.insertRow({ id: 6, n: 2n ** 63n }))).to.be.oneOf(['TYPE', 'INVALID', 'LIMIT']);
            expect(await codeOf(() => store.insertRow({ id: 6, n: 2 ** 53 }))).to.be.oneOf(['TYPE', 'INVALID']);
        });

        it('are refused when something is wrong, and nothing is added', async () => {
            const store = keyed();
            store.insertRow(row);
            const cases = [
                [{ ...row }, 'EXISTS'],
                [{ name: 'no key' }, 'NOT_NULL'],
                [{ id: null }, 'NOT_NULL'],
                [{ id: '8' }, 'TYPE'],
                [{ id: 1.5 }, 'TYPE'],
                [{ id: 8, name: 5 }, 'TYPE'],
                [{ id: 8, ratio: '5' }, 'TYPE'],
                [{ id: 8, open: 1 }, 'TYPE'],
                [{ id: 8, made: 'yesterday' }, 'TYPE'],
                [{ id: 8, place: [1, 2, 3] }, 'DIMENSIONS'],
                [{ id: 8, place: [1, NaN] }, 'NOT_FINITE'],
                [{ id: 8, colour: 'red' }, 'UNKNOWN_COLUMN'],
            ];
            for (const [bad, code] of cases) {
                expect(await codeOf(() => store.insertRow(bad)), JSON.stringify(bad)).to.equal(code);
                if (code !== 'EXISTS') expect(await codeOf(() => store.upsertRow(bad)), JSON.stringify(bad)).to.equal(code);
            }
            for (const bad of [null, undefined, 5, 'row']) expect(await codeOf(() => store.insertRow(bad))).to.be.oneOf(['INVALID', 'TYPE']);
            expect(store.rowCount).to.equal(1);
            const error = await errorOf(() => store.insertRows([{ id: 20 }, { id: 21 }, { id: 7 }]));
            expect([error.code, error.offset, store.rowCount]).to.deep.equal(['EXISTS', 2, 1]);
            expect(store.insertRows([{ id: 20 }, { id: 21 }])).to.equal(1);
        });

        it('are upserted: inserted, or the named columns set', () => {
            const store = keyed();
            expect(store.upsertRow({ id: 1, name: 'a', ratio: 2 })).to.equal('inserted');
            expect(store.upsertRow({ id: 1, name: 'b' })).to.equal('updated');
            expect(store.getRow(1)).to.include({ name: 'b', ratio: 2 });
            expect(store.upsertRow({ id: 1, ratio: null })).to.equal('updated');
            expect(store.getRow(1)).to.include({ name: 'b', ratio: null });
            expect(store.upsertRow({ id: 1 })).to.equal('updated');
            store.deleteRow(1);
            expect(store.upsertRow({ id: 1, ratio: 5 })).to.equal('inserted');
            expect(store.getRow(1)).to.include({ name: null, ratio: 5 });
        });

        it('are updated by key and column', async () => {
            const store = keyed();
            store.insertRow(row);
            store.updateRow(7, 'name', 'tea');
            store.updateRow(7, 'open', null);
            store.updateRow(7, 'place', [9, 9]);
            expect(store.getRow(7)).to.deep.equal({ ...row, name: 'tea', open: null, place: new Float32Array([9, 9]) });
            expect(await codeOf(() => store.updateRow(8, 'name', 'x'))).to.equal('NOT_FOUND');
            expect(await codeOf(() => store.updateRow(7, 'colour', 'x'))).to.equal('UNKNOWN_COLUMN');
            expect(await codeOf(() => store.updateRow(7, 'name', 5))).to.equal('TYPE');
            expect(await codeOf(() => store.updateRow(7, 'id', 8))).to.equal('INVALID');
            expect(await codeOf(() => store.updateRow('7', 'name', 'x'))).to.equal('TYPE');
            store.deleteRow(7);
            expect(await codeOf(() => store.updateRow(7, 'name', 'x'))).to.equal('NOT_FOUND');
        });

        it('are deleted once, and counted', async () => {
            const store = keyed();
            store.insertRows([{ id: 1 }, { id: 2 }, { id: 3 }]);
            expect(store.deleteRow(2)).to.equal(true);
            expect(store.deleteRow(2)).to.equal(false);
            expect(store.deleteRow(99)).to.equal(false);
            expect([store.rowCount, store.activeRowCount, store.deletedRowCount]).to.deep.equal([3, 2, 1]);
            expect(store.getRow(2)).to.equal(null);
            const error = await errorOf(() => store.getRowsByIndices(indices(0, 1)));
            expect([error.code, error.offset]).to.deep.equal(['NOT_FOUND', 1]);
            expect(await codeOf(() => store.getRowsByIndices(indices(3)))).to.equal('NOT_FOUND');
            expect(store.insertRow({ id: 2 })).to.equal(3);
        });

        it('go by their index where there is no primary key', async () => {
            const store = keep(ColumnStore.withSchema([{ name: 'a', type: 'int' }, { name: 'b', type: 'string' }]));
            expect(store.primaryKeyColumn).to.equal(null);
            expect([store.insertRow({ a: 1 }), store.insertRow({ a: 1 }), store.insertRow({ b: 'x' })]).to.deep.equal([0, 1, 2]);
            store.updateRow(1, 'b', 'y');
            expect(store.getRow(1)).to.deep.equal({ a: 1, b: 'y' });
            expect(store.deleteRow(0)).to.equal(true);
            expect(store.getRow(0)).to.equal(null);
            expect(store.getRow(3)).to.equal(null);
            expect(store.filterEq('a', 1)).to.deep.equal(indices(1));
            expect(await codeOf(() => store.upsertRow({ a: 1 }))).to.equal('INVALID');
            expect(await codeOf(() => store.batchUpsert([{ a: 1 }]))).to.equal('INVALID');
            store.setRowTtl(2, 1);
            expect(store.expireRows(Date.now() + 5000)).to.equal(1);
            expect(store.vacuum().rowsRemoved).to.equal(2);
            expect(store.getRow(0)).to.deep.equal({ a: 1, b: 'y' });
        });
    });

    describe('batchUpsert', () => {
        it('counts, and names each row that failed with the reason', () => {
            const store = keyed();
            store.insertRow({ id: 1, name: 'old' });
            const result = store.batchUpsert([
                { id: 1, name: 'new' },
                { id: 2, name: 'two' },
                { id: 'three' },
                { id: 4, ratio: 1 },
                { name: 'no key' },
                { id: 5, colour: 'red' },
                { id: 2, ratio: 3 },
                null,
                { id: 6, place: [1] },
                { id: 7 },
            ]);
            expect([result.inserted, result.updated]).to.deep.equal([3, 2]);
            expect(result.failed.map(({ index, code }) => [index, code])).to.deep.equal([
                [2, 'TYPE'],
                [4, 'NOT_NULL'],
                [5, 'UNKNOWN_COLUMN'],
                [7, result.failed[3].code],
                [8, 'DIMENSIONS'],
            ]);
            for (const { reason } of result.failed) expect(reason).to.be.a('string').that.is.not.equal('');
            expect(store.getRow(2)).to.include({ name: 'two', ratio: 3 });
            expect(store.getRow(1).name).to.equal('new');
            expect(store.count()).to.equal(4);
            expect(store.batchUpsert([])).to.deep.equal({ inserted: 0, updated: 0, failed: [] });
        });

        it('does what upserting one after the other does', () => {
            const random = randomFrom(21);
            for (const share of [0, 0.01, 0.3, 1]) {
                const [one, other] = [keyed(), keyed()];
                const rows = Array.from({ length: 400 }, () => {
                    const row = { id: random.below(150) };
                    if (random.chance(0.8)) row.name = random.pick(['a', 'b', null]);
                    if (random.chance(0.1)) row.ratio = random.next();
                    if (random.chance(share)) Object.assign(row, random.pick([{ name: 5 }, { id: null }, { ratio: 'x' }]));
                    return row;
                });
                const expected = { inserted: 0, updated: 0, failed: [] };
                rows.forEach((row, index) => {
                    try {
                        expected[one.upsertRow(row)]++;
                    } catch (error) {
                        expected.failed.push({ index, code: error.code });
                    }
                });
                const result = other.batchUpsert(rows);
                const failed = result.failed.map(({ index, code }) => ({ index, code }));
                expect({ ...result, failed }, String(share)).to.deep.equal(expected);
                for (let id = 0; id < 150; id++) expect(other.getRow(id)).to.deep.equal(one.getRow(id));
            }
        });

        it('is no slower than it must be when every row fails', () => {
            const store = keyed();
            const rows = Array.from({ length: 3000 }, (_, id) => ({ id, name: id }));
            expect(store.batchUpsert(rows).failed).to.have.length(3000);
            expect(store.rowCount).to.equal(0);
        });
    });

    describe('filters', () => {
        it('agree with plain JavaScript over random rows', () => {
            filtersAgainstPlain(keep);
        });

        it('refuse unknown columns and values of the wrong type', async () => {
            const store = keyed();
            store.insertRow({ id: 1, name: 'a', ratio: 1, open: true, made: 1, place: [1, 2] });
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
            const store = keyed([{ name: 'id', type: 'int' }, { name: 'kind', type: 'string' }]);
            store.insertRows(Array.from({ length: 10 }, (_, id) => ({ id, kind: id % 2 ? 'odd' : 'even' })));
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
            const store = keyed([{ name: 'id', type: 'int' }, { name: 'n', type: 'int' }, { name: 's', type: 'string' }]);
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

    describe('expiry', () => {
        const at = (time) => {
            const clock = { time };
            const store = keyed(SCHEMA, 'id', { now: () => clock.time });
            store.insertRows([{ id: 1 }, { id: 2 }, { id: 3 }]);
            return [store, clock];
        };

        it('hides rows at their time and deletes them when asked', () => {
            const [store, clock] = at(1_000_000);
            store.setRowTtl(1, 10);
            store.setRowTtl(2, 20);
            clock.time += 9_999;
            expect(store.count()).to.equal(3);
            clock.time += 1;
            expect(store.getRow(1)).to.equal(null);
            expect(store.filterLt('id', 9)).to.deep.equal(indices(1, 2));
            expect(store.bitmap().not().count()).to.equal(0);
            expect([store.count(), store.activeRowCount, store.deletedRowCount]).to.deep.equal([2, 3, 0]);
            expect(store.expireRows()).to.equal(1);
            expect(store.expireRows()).to.equal(0);
            expect([store.activeRowCount, store.deletedRowCount]).to.deep.equal([2, 1]);
            expect(store.expireRows(clock.time + 10_000)).to.equal(1);
            expect(store.expireRows(new Date(clock.time + 1e9))).to.equal(0);
            expect(store.filter('')).to.deep.equal(indices(2));
        });

        it('can be moved and taken back', async () => {
            const [store, clock] = at(1_000_000);
            store.setRowTtl(1, 10);
            store.setRowTtl(1, 100);
            store.setRowTtl(2, 10);
            store.setRowTtl(2, null);
            store.setRowTtl(3, 0.5);
            clock.time += 50_000;
            expect(store.filter('')).to.deep.equal(indices(0, 1));
            expect(store.insertRow({ id: 3, name: 'again' })).to.equal(3);
            expect(store.getRow(3).name).to.equal('again');
            expect(await codeOf(() => store.setRowTtl(99, 5))).to.equal('NOT_FOUND');
            for (const bad of [NaN, 'soon', -Infinity]) {
                expect(await codeOf(() => store.setRowTtl(1, bad)), String(bad)).to.be.oneOf(['INVALID', 'TYPE']);
            }
        });
    });

    describe('vacuum and clear', () => {
        it('drops what is deleted and numbers the rows anew', () => {
            const clock = { time: 1_000 };
            const store = keyed(SCHEMA, 'id', { now: () => clock.time });
            store.insertRows(Array.from({ length: 1000 }, (_, id) => ({ id, name: `n${id}`, place: [id, 1] })));
            expect(store.shouldVacuum()).to.equal(false);
            for (let id = 0; id < 400; id++) store.deleteRow(id);
            store.setRowTtl(400, 1);
            clock.time = 10_000;
            expect([store.shouldVacuum(), store.shouldVacuum(0.5)]).to.deep.equal([true, false]);
            const stats = store.vacuum();
            expect(stats.rowsRemoved).to.equal(401);
            expect(stats.bytesAfter).to.be.below(stats.bytesBefore);
            expect([store.rowCount, store.activeRowCount, store.deletedRowCount]).to.deep.equal([599, 599, 0]);
            expect(store.filterEq('id', 401)).to.deep.equal(indices(0));
            expect(store.getRow(999)).to.include({ name: 'n999' });
            expect(store.shouldVacuum()).to.equal(false);
            expect(store.vacuum().rowsRemoved).to.equal(0);
        });

        it('waits for iterators', async () => {
            const store = keyed();
            store.insertRows([{ id: 1 }, { id: 2 }]);
            store.deleteRow(1);
            const iterator = store.table.iterate();
            expect(await codeOf(() => store.vacuum())).to.equal('BUSY');
            iterator.close();
            expect(store.vacuum().rowsRemoved).to.equal(1);
        });

        it('clears all rows and keeps the columns', () => {
            const store = keyed();
            store.insertRows(Array.from({ length: 100 }, (_, id) => ({ id, name: 'x' })));
            store.clear();
            expect([store.rowCount, store.count(), store.deletedRowCount]).to.deep.equal([0, 0, 0]);
            expect(store.columnNames).to.have.length(6);
            expect(store.getRow(5)).to.equal(null);
            expect(store.insertRow({ id: 5 })).to.equal(0);
        });

        it('tells how much memory it takes', () => {
            const store = keyed([{ name: 'id', type: 'int' }, { name: 's', type: 'string' }, { name: 'v', type: 'vector(32)' }]);
            const before = store.memoryUsage();
            store.insertRows(Array.from({ length: 2000 }, (_, id) => ({ id, s: `s${id % 7}`, v: new Float32Array(32).fill(id) })));
            const after = store.memoryUsage();
            for (const name of ['total', 'columns', 'vectors', 'strings']) expect(after[name], name).to.be.above(before[name]);
            expect(after.vectors).to.be.at.least(2000 * 32 * 4);
            expect(after.total).to.be.at.least(after.columns + after.vectors);
            expect(after.strings, 'each string once').to.be.below(100_000);
        });
    });

    describe('as bytes, and stored', () => {
        it('is exported and imported', async () => {
            const store = keyed();
            store.insertRows([{ id: 1, name: 'a' }, { id: 2, name: 'b' }]);
            store.deleteRow(1);
            const bytes = store.export();
            const again = keep(ColumnStore.import(bytes));
            expect(again.primaryKeyColumn).to.equal('id');
            expect(again.getRow(2)).to.deep.equal(store.getRow(2));
            expect([again.rowCount, again.deletedRowCount]).to.deep.equal([2, 1]);
            expect(again.export()).to.deep.equal(bytes);
            expect(keep(ColumnStore.import(keep(new ColumnStore()).export())).columnNames).to.deep.equal([]);
            expect(await codeOf(() => ColumnStore.import(bytes.subarray(1)))).to.equal('CORRUPT');
        });

        it('is logged as it changes, and opened with or without its schema', async () => {
            const name = temporaryName();
            const store = await ColumnStore.open(name, { schema: SCHEMA, primaryKey: 'id' });
            store.insertRows([{ id: 1, name: 'a', place: [1, 2] }, { id: 2 }]);
            store.updateRow(1, 'name', 'b');
            store.deleteRow(2);
            await store.flush();
            await store.close();
            const again = await ColumnStore.open(name);
            expect(again.columnNames).to.deep.equal(SCHEMA.map((column) => column.name));
            expect(again.getRow(1)).to.include({ name: 'b' });
            expect(again.activeRowCount).to.equal(1);
            again.clear();
            again.insertRow({ id: 9 });
            await again.close();
            const more = [...SCHEMA, { name: 'extra', type: 'string' }];
            const third = keep(await ColumnStore.open(name, { schema: more, primaryKey: 'id' }));
            expect(third.columnNames).to.include('extra');
            expect([third.rowCount, third.getRow(9).extra]).to.deep.equal([1, null]);
        });

        it('is not opened as something else', async () => {
            const name = temporaryName();
            await (await ColumnStore.open(name, { schema: [{ name: 'a', type: 'int' }] })).close();
            const code = await codeOf(() => ColumnStore.open(name, { schema: [{ name: 'a', type: 'string' }] }));
            expect(code).to.equal('INVALID');
            expect(await codeOf(() => ColumnStore.open(name, { columns: [] }))).to.equal('INVALID');
            expect((await ColumnStore.open(name).then(keep)).columnNames).to.deep.equal(['a']);
        });

        it('is ended by close and dispose', async () => {
            const store = keyed();
            await store.close();
            await store.close();
            for (const call of [() => store.insertRow({ id: 1 }), () => store.count(), () => store.export(), () => store.getRow(1)]) {
                expect(await codeOf(call)).to.equal('CLOSED');
            }
            const other = keyed();
            other[Symbol.dispose]();
            expect(other.database.closed).to.equal(true);
            const third = keyed();
            await third[Symbol.asyncDispose]();
            expect(third.database.closed).to.equal(true);
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
        Object.fromEntries(types.map((type) => [`${type} column`, random.chance(0.15) ? null : random.pick(values[type])])),
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
