/*
 * Signals and predicates that end reading over ranges in the middle: at once, with nothing left charged, and the same
 * objects go on afterwards.
 */
import { expect } from 'chai';
import { createDatabase, init, key, vector } from 'velta';
import {
    LateMaterializationExecutor,
    MemoryBudget,
    RangeClient,
    StreamingParquetReader,
    importParquet,
} from 'velta/parquet';
import { origin } from '../support/harness.js';
import { DIMENSIONS, ROWS, expectedColumn } from '../support/parquet_rows.js';
import { errorOf } from '../support/random.js';
import { rejected } from '../support/thrown.js';

const SLOW_MS = 5000;
const SOON_MS = 2500;
const url = `${origin}/ranges/arrow-snappy`;
const rows = Uint32Array.of(3, 4000);

/** A fetch that is quick for so many requests, and slow then; `slow` resolves when the first slow one is asked for. */
function slowFrom(first) {
    let asked = 0;
    let isSlow;
    const slow = new Promise((done) => (isSlow = done));
    const send = async (address, options) => {
        if (asked++ < first) return fetch(address, options);
        isSlow();
        return fetch(`${address}?slow=${SLOW_MS}`, options);
    };
    return { fetch: send, slow };
}

/** What a reader can be asked for, with the request at which it is to be ended. */
const READS = {
    readMetadata: [0, (reader, options) => reader.readMetadata(options)],
    readColumn: [1, (reader, options) => reader.readColumn('text', options)],
    'readColumn, at a later group': [2, (reader, options) => reader.readColumn('text', options)],
    readRowGroup: [1, (reader, options) => reader.readRowGroup(1, options)],
    selectByIndices: [1, (reader, options) => reader.selectByIndices(['text', 'embedding'], rows, options)],
    matchingRows: [1, (reader, options) => reader.matchingRows("text CONTAINS '7'", options)],
};

describe('reading Parquet that is cancelled', function () {
    this.timeout(60_000);
    before(async () => {
        await init();
        await fetch(url, { headers: { Range: 'bytes=0-0' } }); // the file is made when it is first asked for
    });

    for (const [what, [first, read]] of Object.entries(READS)) {
        it(`${what}: by its own signal, by the reader's`, async () => {
            for (const whose of ['call', 'reader']) {
                const budget = new MemoryBudget();
                const stop = new AbortController();
                const { signal } = stop;
                const { fetch: send, slow } = slowFrom(first);
                const given = { budget, client: { fetch: send }, ...(whose === 'reader' ? { signal } : {}) };
                const reader = new StreamingParquetReader(url, given);
                const reading = read(reader, whose === 'call' ? { signal } : {});
                reading.catch(() => undefined);
                await slow;
                const begin = performance.now();
                stop.abort('enough');
                expect((await rejected('CANCELLED', undefined, reading)).cause).to.equal('enough');
                expect(performance.now() - begin).to.be.below(SOON_MS);
                expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
                await rejected('CANCELLED', undefined, read(reader, { signal: AbortSignal.abort() }));
            }
        });
    }

    it('goes on afterwards with the same reader', async () => {
        const reader = new StreamingParquetReader(url);
        for (const [, read] of Object.values(READS)) {
            const stop = new AbortController();
            const reading = read(reader, { signal: stop.signal });
            stop.abort();
            await rejected('CANCELLED', undefined, reading);
        }
        expect(await reader.readColumn('name')).to.deep.equal(expectedColumn('name'));
        expect(reader.budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
    });

    it('one who waits for the footer behind another that is cancelled gets it', async () => {
        const { fetch: send, slow } = slowFrom(0);
        const reader = new StreamingParquetReader(url, { client: { fetch: (...given) => soon(...given) } });
        let soon = send;
        const [first, third] = [new AbortController(), new AbortController()];
        const cut = reader.readMetadata({ signal: first.signal });
        const second = reader.readMetadata();
        const ends = reader.readMetadata({ signal: third.signal });
        for (const each of [cut, second, ends]) each.catch(() => undefined);
        await slow;
        third.abort('third');
        expect((await rejected('CANCELLED', undefined, ends)).cause).to.equal('third');
        soon = fetch;
        first.abort('first');
        expect((await rejected('CANCELLED', undefined, cut)).cause).to.equal('first');
        expect((await second).rows).to.equal(ROWS);
        expect(reader.budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
    });

    it('importParquet: from a source that does not listen, and of a file that comes whole', async () => {
        const table = createDatabase({ autoIndex: false }).table('rows', { id: key('int') });
        const file = new RangeClient(url);
        for (const reads of [0, 1]) {
            let left = reads;
            let isDeaf;
            const deaf = new Promise((done) => (isDeaf = done));
            const never = (ask) => {
                if (left-- > 0) return ask();
                isDeaf();
                return new Promise(() => undefined);
            };
            const source = {
                readTail: (bytes) => never(() => file.readTail(bytes)),
                read: (start, end) => never(() => file.read(start, end)),
                stats: () => file.stats(),
            };
            const stop = new AbortController();
            const budget = new MemoryBudget();
            const importing = importParquet(source, { table, budget, signal: stop.signal });
            importing.catch(() => undefined);
            await deaf;
            stop.abort();
            await rejected('CANCELLED', undefined, importing);
            expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
        }
        expect(table.liveCount).to.equal(0);
        const budget = new MemoryBudget();
        const whole = { table, budget, client: { allowWhole: true } };
        expect((await importParquet(`${url}?ignore`, whole)).rows).to.equal(ROWS);
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
        await table.database.close();
    });

    it("at any request, of a source that does not listen, by the call's signal and the reader's", async () => {
        const file = new RangeClient(url);
        const where = "text CONTAINS '7'";
        const table = createDatabase({ autoIndex: false }).table('rows', { id: key('int') });
        for (let reads = 0; reads < 4; reads++) {
            for (const whose of ['call', 'reader', 'reader of both', 'import']) {
                let left = reads;
                let isDeaf;
                const deaf = new Promise((done) => (isDeaf = done));
                const never = (ask) => {
                    if (left-- > 0) return ask();
                    isDeaf();
                    return new Promise(() => undefined);
                };
                const source = {
                    readTail: (bytes) => never(() => file.readTail(bytes)),
                    read: (start, end) => never(() => file.read(start, end)),
                    stats: () => file.stats(),
                };
                const stop = new AbortController();
                const { signal } = stop;
                const given = { budget: new MemoryBudget(), gapBytes: 0 };
                const reader = new StreamingParquetReader(source, whose === 'call' ? given : { ...given, signal });
                const other = whose === 'call' ? signal : new AbortController().signal;
                const reading =
                    whose === 'import'
                        ? importParquet(source, { table, where, ...given, signal })
                        : reader.matchingRows(where, whose === 'reader' ? {} : { signal: other });
                reading.catch(() => undefined);
                await deaf;
                stop.abort('enough');
                expect((await rejected('CANCELLED', undefined, reading)).cause).to.equal('enough');
                expect(given.budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
            }
        }
        expect(table.liveCount).to.equal(0);
        await table.database.close();
    });

    it('importParquet: at each of its requests, and the table has whole groups', async () => {
        const schema = { id: key('int'), text: 'string', embedding: vector(DIMENSIONS) };
        const seen = new Set();
        for (let first = 0; ; first++) {
            expect(first).to.be.below(50);
            const table = createDatabase({ autoIndex: false }).table('rows', schema);
            const budget = new MemoryBudget();
            const stop = new AbortController();
            const { fetch: send, slow } = slowFrom(first);
            const where = 'small < 50';
            const given = { table, where, budget, client: { fetch: send }, signal: stop.signal };
            const importing = importParquet(url, given).then(
                () => null,
                (error) => error,
            );
            const ended = await Promise.race([importing.then(() => true), slow]);
            if (ended === true) {
                expect(table.liveCount).to.equal(ROWS / 2);
                await table.database.close();
                break;
            }
            stop.abort();
            expect((await importing).code).to.equal('CANCELLED');
            expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
            seen.add(table.liveCount);
            await table.database.close();
        }
        expect([0, 1000, 2000, 2500]).to.include.members([...seen]);
        expect(seen.size).to.be.above(1);
    });
});

describe('LateMaterializationExecutor in the middle', () => {
    it('a predicate that throws leaves nothing charged', async () => {
        const budget = new MemoryBudget();
        const executor = new LateMaterializationExecutor(budget);
        const own = new Error('own');
        const throws = (_, row) => {
            if (row === 2) throw own;
            return true;
        };
        expect(await errorOf(() => executor.filterIndices([1, 2, 3], throws))).to.equal(own);
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
        expect([...executor.filterIndices([1, 2, 3, 4], (value) => value % 2 === 0)]).to.deep.equal([1, 3]);
        const none = executor.filterIndices([], () => true);
        expect([none.length, executor.memoryStats().usedBytes]).to.deep.equal([0, 8]);
        executor.release();
        executor.release();
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
    });
});
