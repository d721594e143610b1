/*
 * Databases in memory: tables by name, export and import, history, tags and compaction, linking in idle moments and by
 * hand, figures, and the end.
 */
import { expect } from 'chai';
import { Database, createDatabase, importDatabase, init, key, moduleInfo, required, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
async function until(condition) {
    for (let i = 0; i < 500 && !condition(); i++) await wait(10);
    expect(condition()).to.equal(true);
}

describe('Database', () => {
    let db;
    before(() => init());
    beforeEach(() => (db = createDatabase({ autoIndex: false })));
    afterEach(() => db.close());

    function fill(table, count = 2000) {
        const random = randomFrom(81);
        table.insert(Array.from({ length: count }, (_, i) => ({ k: i, v: random.vector(8) })));
    }

    describe('tables', () => {
        it('are made, found, listed and dropped', () => {
            expect(db.tableNames()).to.deep.equal([]);
            const first = db.table('first', { a: 'int' });
            db.table('sécond "2"', { a: 'int' });
            expect(db.tableNames()).to.deep.equal(['first', 'sécond "2"']);
            expect(db.table('first')).to.equal(first);
            expect(db.table('first', { a: 'int' })).to.equal(first);
            expect([db.hasTable('first'), db.hasTable('third')]).to.deep.equal([true, false]);
            first.insert({ a: 1 });
            const query = first.where('a = 1');
            expect(query.count()).to.equal(1);
            db.dropTable('first');
            expect(db.tableNames()).to.deep.equal(['sécond "2"']);
            thrown('NOT_FOUND', /'first' was dropped/, () => first.insert({ a: 2 }));
            thrown('NOT_FOUND', /'first' was dropped/, () => query.count());
            thrown('NOT_FOUND', /'first' was dropped/, () => first.rowCount);
            thrown('NOT_FOUND', /no table 'first'/, () => db.table('first'));
            thrown('NOT_FOUND', undefined, () => db.dropTable('first'));
            const again = db.table('first', { b: 'string' });
            expect([again.rowCount, Object.keys(again.schema)]).to.deep.equal([0, ['b']]);
        });

        it('are not dropped while iterated, and go on working', () => {
            const table = db.table('t', { k: key('string') });
            table.insert([{ k: 'a' }, { k: 'b' }]);
            table.where("k = 'a'").count();
            const rows = table.iterate();
            thrown('BUSY', /iterator/, () => db.dropTable('t'));
            expect(table.where("k = 'a'").count()).to.equal(1);
            expect(table.get('b')).to.deep.equal({ k: 'b' });
            rows.close();
            db.dropTable('t');
        });

        it('have the columns that were asked for, every option filled in', () => {
            const table = db.table('t', {
                id: key('int'),
                name: required('string'),
                n: 'int',
                flag: { type: 'bool', required: true },
                v: vector(3),
                w: vector(2, {
                    metric: 'l2',
                    element: 'f16',
                    index: false,
                    required: true,
                }),
                x: {
                    type: 'vector',
                    dimensions: 4,
                    m: 8,
                    efConstruction: 50,
                    seed: 7n,
                    metric: 'dot',
                },
            });
            const scalar = (type, isKey, isRequired) => ({
                type,
                key: isKey,
                required: isRequired,
            });
            const full = {
                type: 'vector',
                metric: 'cosine',
                element: 'f32',
                index: true,
                m: 16,
                efConstruction: 100,
                seed: 0n,
                required: false,
            };
            expect(table.schema).to.deep.equal({
                id: scalar('int', true, true),
                name: scalar('string', false, true),
                n: scalar('int', false, false),
                flag: scalar('bool', false, true),
                v: { ...full, dimensions: 3 },
                w: {
                    ...full,
                    dimensions: 2,
                    metric: 'l2',
                    element: 'f16',
                    index: false,
                    required: true,
                },
                x: {
                    ...full,
                    dimensions: 4,
                    m: 8,
                    efConstruction: 50,
                    seed: 7n,
                    metric: 'dot',
                },
            });
            expect([table.name, table.keyColumn, table.database]).to.deep.equal(['t', 'id', db]);
            expect(Object.isFrozen(table.schema)).to.equal(true);
        });

        it('get the columns that a schema has beyond them', () => {
            const table = db.table('t', { id: key('int'), n: 'int' });
            table.insert({ id: 1, n: 1 });
            const same = db.table('t', { n: 'int', extra: 'string', v: vector(2) });
            expect(same).to.equal(table);
            expect(same.get(1)).to.deep.equal({ id: 1, n: 1, extra: null, v: null });
        });

        it('are refused with another definition of a column', () => {
            db.table('t', { id: key('int'), n: 'int', v: vector(2, { m: 8 }) });
            const cases = [
                [{ n: 'float' }, /'t' has the column 'n', but its type is int, not float/],
                [{ n: required('int') }, /column 'n', but its required is false, not true/],
                [{ id: 'int' }, /column 'id', but its key is true, not false/],
                [{ v: vector(3) }, /column 'v', but its dimensions is 2, not 3/],
                [{ v: vector(2, { metric: 'l2' }) }, /its metric is cosine, not l2/],
                [{ v: vector(2, { m: 16 }) }, /its m is 8, not 16/],
                [{ more: 'int', v: 'int' }, /its type is vector, not int/],
            ];
            for (const [schema, message] of cases) thrown('INVALID', message, () => db.table('t', schema));
            expect(Object.keys(db.table('t', { v: vector(2) }).schema)).to.deep.equal(['id', 'n', 'v']);
        });

        it('are refused with definitions that make no sense', () => {
            const cases = [
                [{}, /at least one column/],
                [[], /a schema is an object/],
                [{ a: 'integer' }, /column 'a': type must be one of int, float/],
                [{ a: 5 }, /a definition is a type's name or an object with a type, not the number 5/],
                [{ a: null }, /not null/],
                [
                    { a: { type: 'int', nullable: true } },
                    /column 'a': there is no option 'nullable'; there are type, key/,
                ],
                [{ a: { type: 'float', key: true } }, /a key is int or string, not float/],
                [{ a: { type: 'int', key: true, required: false } }, /a key is always required/],
                [{ a: key('int'), b: key('string') }, /one column can be the key, not a and b/],
                [{ a: vector(0) }, /dimensions must be a whole number from 1 to 8192/],
                [{ a: { type: 'vector' } }, /dimensions must be .* not undefined/],
                [
                    { a: vector(2, { metric: 'euclid' }) },
                    /metric must be one of cosine, l2, dot, not the string "euclid"/,
                ],
                [{ a: vector(2, { m: 3 }) }, /m must be a whole number from 4 to 64/],
                [{ a: vector(2, { seed: 5 }) }, /seed must be a bigint/],
                [{ a: vector(2, { dims: 5 }) }, /no option 'dims'/],
                [{ a: { type: 'int', required: 1 } }, /required must be true or false/],
                [{ 'a\0b': 'int' }, /U\+0000/],
            ];
            for (const [schema, message] of cases) thrown('INVALID', message, () => db.table('t', schema));
            thrown('INVALID', undefined, () => db.table('', { a: 'int' }));
            thrown('INVALID', /U\+0000/, () => db.table('a\0b', { a: 'int' }));
            thrown('INVALID', /must be a string/, () => db.table(5));
            expect(db.tableNames()).to.deep.equal([]);
        });
    });

    describe('export', () => {
        it('is imported again: the same rows, the same bytes', () => {
            const table = db.table('t', { k: key('int'), v: vector(8) });
            fill(table);
            table.delete([3, 4]);
            db.linkPending();
            const bytes = db.export();
            expect(bytes).to.be.instanceOf(Uint8Array);
            expect(bytes.buffer.byteLength).to.equal(bytes.length);
            for (const given of [bytes, bytes.buffer]) {
                const copy = importDatabase(given);
                expect(copy.tableNames()).to.deep.equal(['t']);
                expect(copy.table('t').all().toArray()).to.deep.equal(table.all().toArray());
                expect(copy.stats().indexPending).to.equal(0);
                expect(copy.export()).to.deep.equal(bytes);
                copy.close();
            }
        });

        it('reports and is cancelled', () => {
            fill(db.table('t', { k: key('int'), v: vector(8) }), 20_000);
            let reports = 0;
            const bytes = db.export({ onProgress: () => void reports++ });
            if (reports > 0) thrown('CANCELLED', undefined, () => db.export({ onProgress: () => false }));
            expect(db.export()).to.deep.equal(bytes);
        });

        it('that is damaged is refused, saying where', () => {
            fill(db.table('t', { k: key('int'), v: vector(8) }), 100);
            const bytes = db.export();
            const damaged = Uint8Array.from(bytes);
            damaged[bytes.length - 100] ^= 1;
            const error = thrown('CORRUPT', undefined, () => importDatabase(damaged).verify());
            expect(error.offset).to.be.a('number');
            thrown('CORRUPT', undefined, () => importDatabase(bytes.subarray(0, bytes.length / 2)));
            thrown('CORRUPT', undefined, () => importDatabase(new Uint8Array(0)));
            thrown('CORRUPT', undefined, () => importDatabase(new Uint8Array(10_000).fill(7)));
            thrown('INVALID', /an export is a Uint8Array/, () => importDatabase('abc'));
            thrown('INVALID', /no option 'name'/, () => importDatabase(bytes, { name: 'x' }));
            const moved = structuredClone(bytes);
            structuredClone(moved.buffer, { transfer: [moved.buffer] });
            thrown('INVALID', /detached/, () => importDatabase(moved));
        });
    });

    describe('history', () => {
        it('has tags, and is kept by compaction as far as asked', () => {
            let now = 1000;
            const own = createDatabase({ now: () => now, autoIndex: false });
            const table = own.table('t', { k: key('string'), n: 'int' });
            table.insert({ k: 'a', n: 1 });
            own.tag('first');
            now = 2000;
            table.update('a', { n: 2 });
            now = 3000;
            table.update('a', { n: 3 });
            table.insert({ k: 'b', n: 1 });
            table.delete('b');
            expect(own.tagTime('first')).to.deep.equal(new Date(1000));
            const at = (time) => table.get('a', { at: time }).n;
            expect([at(1000), at(2500), at(3000)]).to.deep.equal([1, 2, 3]);
            expect(own.compact({ keepSince: 'all' })).to.include({ rowsDropped: 0 });
            expect(at(2500)).to.equal(2);
            own.compact({ keepSince: new Date(3000), keepTags: ['first'] });
            expect(at(own.tagTime('first'))).to.equal(1);
            thrown('HISTORY_GONE', undefined, () => at(2500));
            const stats = own.compact();
            expect(stats).to.have.all.keys('rowsDropped', 'bytesBefore', 'bytesAfter');
            thrown('HISTORY_GONE', undefined, () => at(1000));
            expect([table.get('a').n, table.rowCount]).to.deep.equal([3, 1]);
            thrown('NOT_FOUND', /no tag 'second'/, () => own.tagTime('second'));
            thrown('INVALID', /keepSince/, () => own.compact({ keepSince: 'some' }));
            thrown('INVALID', /keepTags is an array/, () => own.compact({ keepTags: 'first' }));
            thrown('INVALID', /no option 'since'/, () => own.compact({ since: 1 }));
            thrown('INVALID', /cannot be 1970/, () => at(0));
            own.close();
        });

        it('is kept since 1970 where that is asked', () => {
            for (const keepSince of [0, -0, new Date(0), 1, -1]) {
                let now = 1000;
                const own = createDatabase({ now: () => now, autoIndex: false });
                const table = own.table('t', { k: key('string'), n: 'int' });
                table.insert({ k: 'a', n: 1 });
                now = 2000;
                table.update('a', { n: 2 });
                own.compact({ keepSince });
                expect(table.get('a', { at: 1500 }), String(keepSince)).to.deep.equal({ k: 'a', n: 1 });
                own.close();
            }
        });

        it('drops deleted rows at compaction', () => {
            const table = db.table('t', { k: key('int'), v: vector(8) });
            fill(table, 500);
            table.delete(Array.from({ length: 200 }, (_, i) => i));
            expect(db.compact().rowsDropped).to.equal(200);
            expect([table.rowCount, table.liveCount, table.rowOf(200)]).to.deep.equal([300, 300, 0]);
        });
    });

    describe('indexes', () => {
        it('are linked by hand, a few nodes or all', () => {
            fill(db.table('t', { k: key('int'), v: vector(8) }), 300);
            expect(db.stats().indexPending).to.equal(300);
            expect(db.linkPending(100)).to.equal(200);
            expect(db.linkPending()).to.equal(0);
            expect(db.linkPending()).to.equal(0);
            thrown('INVALID', /whole number from 1/, () => db.linkPending(0));
        });

        it('are linked in slices that leave the page responsive', async () => {
            fill(db.table('t', { k: key('int'), v: vector(8) }), 3000);
            let ticks = 0;
            const timer = setInterval(() => ticks++, 1);
            const reports = [];
            await db.index({
                onProgress: (done, total) => void reports.push([done, total]),
            });
            clearInterval(timer);
            expect(db.stats().indexPending).to.equal(0);
            expect(ticks).to.be.above(3);
            expect(reports.at(-1)).to.deep.equal([3000, 3000]);
            expect(reports.every(([done], i) => i === 0 || done > reports[i - 1][0])).to.equal(true);
            await db.index();
        });

        it('stop being linked when that is cancelled', async () => {
            fill(db.table('t', { k: key('int'), v: vector(8) }), 3000);
            const controller = new AbortController();
            const working = db.index({
                signal: controller.signal,
                onProgress: (done) => {
                    if (done > 100) controller.abort();
                },
            });
            await rejected('CANCELLED', /signal/, working);
            expect(db.stats().indexPending).to.be.within(1, 2900);
            await rejected('CANCELLED', /progress/, db.index({ onProgress: () => false }));
            await rejected('CANCELLED', undefined, db.index({ signal: AbortSignal.abort() }));
            await rejected('INVALID', /no option 'abort'/, db.index({ abort: true }));
        });

        it('are linked in idle moments', async () => {
            const own = createDatabase();
            const table = own.table('t', { k: key('int'), v: vector(8) });
            fill(table, 1000);
            expect(own.stats().indexPending).to.equal(1000);
            await until(() => own.stats().indexPending === 0);
            fill(own.table('u', { k: key('int'), v: vector(8) }), 100);
            await until(() => own.stats().indexPending === 0);
            expect(own.stats().maintenanceError).to.equal(null);
            fill(own.table('w', { k: key('int'), v: vector(8) }), 1000);
            await own.close();
            await wait(60);
        });

        it('are not, where that is not wanted', async () => {
            fill(db.table('t', { k: key('int'), v: vector(8) }), 50);
            await wait(100);
            expect(db.stats().indexPending).to.equal(50);
        });
    });

    it('has figures', () => {
        const empty = db.stats();
        expect(empty).to.include({
            sequence: 0,
            time: null,
            tableCount: 0,
            indexPending: 0,
            maintenanceError: null,
        });
        fill(db.table('t', { k: key('int'), v: vector(8) }), 10);
        const stats = db.stats();
        expect(Object.keys(stats)).to.have.members([
            'sequence',
            'time',
            'tableCount',
            'memoryBudgetBytes',
            'memoryUsedBytes',
            'memoryPeakBytes',
            'columnBytes',
            'vectorBytes',
            'dictionaryBytes',
            'indexBytes',
            'historyBytes',
            'dataFileBytes',
            'logBytes',
            'logRawBytes',
            'generation',
            'cutBytes',
            'indexPending',
            'simd',
            'wasmMemoryBytes',
            'maintenanceError',
        ]);
        expect(stats.sequence).to.equal(2);
        expect(Math.abs(stats.time - Date.now())).to.be.below(60_000);
        expect(stats.vectorBytes).to.be.at.least(10 * 8 * 4);
        expect(stats.memoryUsedBytes).to.be.within(stats.vectorBytes, stats.memoryPeakBytes);
        expect(stats.memoryBudgetBytes).to.equal(Math.min(1.5 * 2 ** 30, (moduleInfo().maxMemory * 3) / 4));
        expect(stats.wasmMemoryBytes).to.be.at.least(stats.memoryUsedBytes);
    });

    it('verifies, flushes and checkpoints in memory', async () => {
        fill(db.table('t', { k: key('int'), v: vector(8) }), 100);
        await db.flush();
        await db.log.sync();
        const reports = [];
        await db.verify({ onProgress: (done) => void reports.push(done) });
        db.checkpoint();
        db.log.checkpoint();
        const status = db.log.status();
        expect(status).to.include({ bytes: 0, cutBytes: 0, sequence: 2 });
        expect(status.lastCheckpoint).to.be.instanceOf(Date);
        await rejected('INVALID', /no option/, db.verify({ fast: true }));
    });

    it('keeps to its budget, unchanged when that is met', () => {
        const small = createDatabase({ memoryBudget: 8 << 20, autoIndex: false });
        const table = small.table('t', { k: key('int'), v: vector(256) });
        let failure;
        for (let i = 0; i < 100 && failure === undefined; i++) {
            try {
                table.insertColumns({
                    k: Array.from({ length: 500 }, (_, n) => i * 500 + n),
                    v: new Float32Array(500 * 256).fill(1),
                });
            } catch (error) {
                failure = error;
            }
        }
        expect(failure.code).to.equal('OVER_BUDGET');
        expect(table.liveCount % 500).to.equal(0);
        expect(table.get(table.liveCount - 1).v[0]).to.equal(1);
        expect(table.get(table.liveCount)).to.equal(null);
        small.close();
    });

    it('refuses options that it does not have', () => {
        thrown('INVALID', /createDatabase: there is no option 'budget'; there are memoryBudget, chainInterval/, () =>
            createDatabase({ budget: 5 }),
        );
        thrown('INVALID', /memoryBudget must be a whole number/, () => createDatabase({ memoryBudget: -1 }));
        thrown('INVALID', /chainInterval must be/, () => createDatabase({ chainInterval: 0.5 }));
        thrown('INVALID', /now must be a function/, () => createDatabase({ now: 5 }));
        thrown('INVALID', /autoIndex must be true or false/, () => createDatabase({ autoIndex: 'yes' }));
    });

    it('passes on what its clock throws', () => {
        let failing = false;
        const own = createDatabase({
            now: () => {
                if (failing) throw new RangeError('mine');
                return 1000;
            },
            autoIndex: false,
        });
        const table = own.table('t', { a: 'int' });
        failing = true;
        expect(() => table.insert({ a: 1 })).to.throw(RangeError, 'mine');
        failing = false;
        expect(table.liveCount).to.be.at.most(1);
        own.close();
    });

    it('closes once, with all that belongs to it', async () => {
        const own = createDatabase();
        const table = own.table('t', { k: key('string'), v: vector(2) });
        table.insert({ k: 'a', v: [1, 2] });
        const query = table.where("k = 'a'");
        query.count();
        own.watch(() => undefined);
        expect([own.closed, own.name, own.storage]).to.deep.equal([false, '', 'memory']);
        const closing = own.close();
        expect(own.closed).to.equal(true);
        expect(own.close()).to.equal(closing);
        await closing;
        const calls = [
            () => own.table('t'),
            () => own.tableNames(),
            () => own.export(),
            () => own.compact(),
            () => own.stats(),
            () => own.tag('x'),
            () => own.linkPending(),
            () => own.watch(() => undefined),
            () => own.checkpoint(),
            () => table.insert({ k: 'b' }),
            () => table.get('a'),
            () => table.vector('a'),
            () => table.rowCount,
            () => table.search([1, 2]),
            () => table.apply('a', { type: 'delete' }),
            () => table.iterate(),
            () => table.withVector('a', () => 1),
            () => table.addColumn('x', 'int'),
            () => query.count(),
            () => query.toArray(),
            () => table.has('a'),
            () => own.log.status(),
            () => own.hasTable('t'),
            () => own.dropTable('t'),
        ];
        for (const call of calls) thrown('CLOSED', /was closed/, call);
        await rejected('CLOSED', undefined, own.flush());
        await rejected('CLOSED', undefined, own.verify());
        await rejected('CLOSED', undefined, own.index());
    });

    it('is disposed of', async () => {
        const first = createDatabase();
        first[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
        expect(first.closed).to.equal(true);
        const second = createDatabase();
        await second[Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]();
        expect(second.closed).to.equal(true);
        expect(second).to.be.instanceOf(Database);
    });

    it('does not close from within its own callback', async () => {
        const own = createDatabase();
        const table = own.table('t', { a: 'int' });
        let closing;
        own.watch(() => (closing ??= own.close()));
        table.insert({ a: 1 });
        await rejected('BUSY', /callback/, closing);
        expect(own.closed).to.equal(false);
        expect(table.liveCount).to.equal(1);
        await own.close();
    });

    it('gives its memory back', async () => {
        const once = async () => {
            const own = createDatabase();
            const table = own.table('t', { k: key('int'), v: vector(64) });
            table.insertColumns({
                k: Array.from({ length: 5000 }, (_, i) => i),
                v: new Float32Array(5000 * 64).fill(1),
            });
            table.where('k > 5').count();
            await own.close();
            return moduleInfo().memoryBytes;
        };
        for (let i = 0; i < 3; i++) await once();
        const before = moduleInfo().memoryBytes;
        for (let i = 0; i < 20; i++) await once();
        expect(moduleInfo().memoryBytes).to.equal(before);
    });
});
