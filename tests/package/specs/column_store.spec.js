/*
 * ColumnStore: rows in and out, expiry, vacuum, and its stored form.
 */
import { expect } from 'chai';
import { ColumnStore, init, vector } from 'velta';
import { temporaryName } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';

const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');
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
        it('takes names that objects have already', () => {
            const names = ['__proto__', 'constructor', 'id'];
            const store = keyed(names.map((name) => ({ name, type: 'int' })));
            expect(store.columnNames).to.deep.equal(names);
            expect(
                store.batchUpsert([
                    { id: 1, constructor: 1 },
                    { id: 2, ['__proto__']: 2 },
                ]),
            ).to.deep.equal({
                inserted: 2,
                updated: 0,
                failed: [],
            });
        });

        it('that is refused leaves no database behind', async () => {
            const { instance } = keep(new ColumnStore()).database;
            const { clocks } = instance.counts();
            const wrong = [{ name: 'a', type: 'none' }];
            expect(await codeOf(() => ColumnStore.withSchema(wrong, { now: Date.now }))).to.equal('INVALID');
            expect(await codeOf(() => ColumnStore.withPrimaryKey(wrong, 'a', { now: Date.now }))).to.equal('INVALID');
            expect(instance.counts().clocks).to.equal(clocks);
        });

        it('may be empty at first and grow', async () => {
            const store = keep(new ColumnStore());
            expect(store.columnNames).to.deep.equal([]);
            expect(store.primaryKeyColumn).to.equal(null);
            expect([store.rowCount, store.activeRowCount, store.deletedRowCount, store.count()]).to.deep.equal([
                0, 0, 0, 0,
            ]);
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
            expect(other.schema[0]).to.include({
                name: 'v',
                type: 'vector',
                dimensions: 3,
                metric: 'l2',
            });
            expect(keep(ColumnStore.withSchema([])).columnNames).to.deep.equal([]);
            expect(keep(ColumnStore.withSchema(store.schema)).columnNames).to.deep.equal(store.columnNames);
        });

        it('refuses what cannot be', async () => {
            const make = (schema, column) => () =>
                column === undefined ? ColumnStore.withSchema(schema) : ColumnStore.withPrimaryKey(schema, column);
            expect(await codeOf(make([{ name: 'a', type: 'decimal' }]))).to.equal('INVALID');
            expect(await codeOf(make([{ name: 'a', type: 'vector(0)' }]))).to.be.oneOf(['INVALID', 'LIMIT']);
            expect(await codeOf(make([{ name: 'a', type: 'vector()' }]))).to.equal('INVALID');
            expect(
                await codeOf(
                    make([
                        { name: 'a', type: 'int' },
                        { name: 'a', type: 'int' },
                    ]),
                ),
            ).to.equal('EXISTS');
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
            const empty = {
                id: 8,
                name: null,
                ratio: null,
                open: null,
                made: null,
                place: null,
            };
            expect(store.getRow(8)).to.deep.equal(empty);
            store.insertRow({
                id: 9,
                made: 5,
                place: [3, 4],
                name: null,
                ratio: undefined,
            });
            expect(store.getRow(9)).to.deep.equal({
                ...empty,
                id: 9,
                made: new Date(5),
                place: new Float32Array([3, 4]),
            });
            expect(store.getRow(10)).to.equal(null);
            expect(store.getRowsByIndices(indices(2, 0, 0)).map(({ id }) => id)).to.deep.equal([9, 7, 7]);
            expect(store.getRowsByIndices(indices())).to.deep.equal([]);
        });

        it('keep floats that are odd, and strings of every kind', async () => {
            const store = keyed([
                { name: 'id', type: 'int' },
                { name: 'x', type: 'float' },
                { name: 's', type: 'string' },
            ]);
            [NaN, Infinity, -Infinity, -0, 5e-324, 1.7976931348623157e308].forEach((x, id) => {
                store.insertRow({ id, x });
                expect(Object.is(store.getRow(id).x, x), String(x)).to.equal(true);
            });
            ['', 'a\0b', '\u{1F600}', 'x'.repeat(100_000), "it's"].forEach((s, i) => {
                store.insertRow({ id: 100 + i, s });
                expect(store.getRow(100 + i).s).to.equal(s);
            });
            for (const [s, ...rows] of [
                ['', 6],
                ['\u{1F600}', 8],
                ["it's", 10],
            ]) {
                expect([...store.filterEq('s', s)], s).to.deep.equal(rows);
            }
            expect(await codeOf(() => store.filterEq('s', 'a\0b')), 'no filter has this character').to.equal('INVALID');
        });

        it('keep integers of 64 bits without loss', async () => {
            const store = keyed([
                { name: 'id', type: 'int' },
                { name: 'n', type: 'int' },
            ]);
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
            expect(await codeOf(() => store.insertRow({ id: 6, n: 2n ** 63n }))).to.be.oneOf([
                'TYPE',
                'INVALID',
                'LIMIT',
            ]);
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
                if (code !== 'EXISTS')
                    expect(await codeOf(() => store.upsertRow(bad)), JSON.stringify(bad)).to.equal(code);
            }
            for (const bad of [null, undefined, 5, 'row'])
                expect(await codeOf(() => store.insertRow(bad))).to.be.oneOf(['INVALID', 'TYPE']);
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
            expect(store.getRow(7)).to.deep.equal({
                ...row,
                name: 'tea',
                open: null,
                place: new Float32Array([9, 9]),
            });
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
            const store = keep(
                ColumnStore.withSchema([
                    { name: 'a', type: 'int' },
                    { name: 'b', type: 'string' },
                ]),
            );
            expect(store.primaryKeyColumn).to.equal(null);
            expect([store.insertRow({ a: 1 }), store.insertRow({ a: 1 }), store.insertRow({ b: 'x' })]).to.deep.equal([
                0, 1, 2,
            ]);
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
            expect(result.failed[0].reason).to.contain('row 2').and.to.contain('three');
            expect(result.failed[4].reason).to.contain('row 8');
            expect(store.getRow(2)).to.include({ name: 'two', ratio: 3 });
            expect(store.getRow(1).name).to.equal('new');
            expect(store.count()).to.equal(4);
            expect(store.batchUpsert([])).to.deep.equal({
                inserted: 0,
                updated: 0,
                failed: [],
            });
        });

        it('does what upserting one after the other does', () => {
            const random = randomFrom(21);
            for (const share of [0, 0.01, 0.3, 1]) {
                const [one, other] = [keyed(), keyed()];
                const rows = Array.from({ length: 400 }, () => {
                    const row = { id: random.below(150) };
                    if (random.chance(0.8)) row.name = random.pick(['a', 'b', null]);
                    if (random.chance(0.1)) row.ratio = random.next();
                    if (random.chance(share))
                        Object.assign(row, random.pick([{ name: 5 }, { id: null }, { ratio: 'x' }]));
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
                const failed = result.failed.map(({ index, code }) => ({
                    index,
                    code,
                }));
                expect({ ...result, failed }, String(share)).to.deep.equal(expected);
                for (let id = 0; id < 150; id++) expect(other.getRow(id)).to.deep.equal(one.getRow(id));
            }
        });

        it('does work in proportion to the rows, however many of them fail', () => {
            const total = 20_000;
            const wrongs = { 'by type': { name: 5 }, 'for the engine': { id: null } };
            for (const [what, wrong] of Object.entries(wrongs)) {
                for (const every of [1, 2, 3, 50, 7000]) {
                    const store = keyed();
                    const { table } = store;
                    const upsert = table.upsert.bind(table);
                    let [calls, passed] = [0, 0];
                    table.upsert = (batch) => {
                        calls++;
                        passed += batch.length;
                        return upsert(batch);
                    };
                    const rows = Array.from({ length: total }, (_, id) => ({ id, name: 'x' }));
                    for (let i = every - 1; i < total; i += every) Object.assign(rows[i], wrong);
                    const bad = Math.floor(total / every);
                    const { failed, inserted } = store.batchUpsert(rows);
                    const label = `${what}, each ${every}th: ${calls} calls, ${passed} rows`;
                    expect([failed.length, inserted], label).to.deep.equal([bad, total - bad]);
                    expect(failed.map(({ index }) => index)).to.deep.equal(
                        Array.from({ length: bad }, (_, i) => (i + 1) * every - 1),
                    );
                    expect(calls, label).to.be.at.most(4 * bad + 2);
                    expect(passed, label).to.be.at.most(5 * total);
                    expect(store.rowCount).to.equal(total - bad);
                }
            }
        }).timeout(60_000);
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
            store.insertRows(
                Array.from({ length: 1000 }, (_, id) => ({
                    id,
                    name: `n${id}`,
                    place: [id, 1],
                })),
            );
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
            const store = keyed([
                { name: 'id', type: 'int' },
                { name: 's', type: 'string' },
                { name: 'v', type: 'vector(32)' },
            ]);
            const before = store.memoryUsage();
            store.insertRows(
                Array.from({ length: 2000 }, (_, id) => ({
                    id,
                    s: `s${id % 7}`,
                    v: new Float32Array(32).fill(id),
                })),
            );
            const after = store.memoryUsage();
            for (const name of ['total', 'columns', 'vectors', 'strings'])
                expect(after[name], name).to.be.above(before[name]);
            expect(after.vectors).to.be.at.least(2000 * 32 * 4);
            expect(after.total).to.be.at.least(after.columns + after.vectors);
            expect(after.strings, 'each string once').to.be.below(100_000);
        });
    });

    describe('as bytes, and stored', () => {
        it('is exported and imported', async () => {
            const store = keyed();
            store.insertRows([
                { id: 1, name: 'a' },
                { id: 2, name: 'b' },
            ]);
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
            const store = await ColumnStore.open(name, {
                schema: SCHEMA,
                primaryKey: 'id',
            });
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
            for (const call of [
                () => store.insertRow({ id: 1 }),
                () => store.count(),
                () => store.export(),
                () => store.getRow(1),
            ]) {
                expect(await codeOf(call)).to.equal('CLOSED');
            }
            const other = keyed();
            other[dispose]();
            expect(other.database.closed).to.equal(true);
            const third = keyed();
            await third[asyncDispose]();
            expect(third.database.closed).to.equal(true);
        });
    });
});
