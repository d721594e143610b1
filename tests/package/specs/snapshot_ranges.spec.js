/*
 * Exports opened where they lie: exact answers before the graphs, the whole import's after them, whatever the server,
 * the bytes, the memory and the program do meanwhile.
 */
import { expect } from 'chai';
import {
    MemoryBudget,
    RangeClient,
    VeltaError,
    createDatabase,
    importDatabase,
    init,
    key,
    openSnapshot,
    vector,
} from 'velta';
import { RangeClient as OfParquet } from 'velta/parquet';
import { origin } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';
import { rejected } from '../support/thrown.js';

const ROWS = {
    id: key('int'),
    word: 'string',
    size: 'int',
    at: vector(6, { m: 4 }),
    code: vector(6, { element: 'codes' }),
};
const POINTS = { name: key('string'), p: vector(3, { metric: 'l2', m: 4 }) };
const QUIET = { autoIndex: false, now: () => 5e12 };
const runId = () => Math.random().toString(36).slice(2);

/** Some life in a database: links, rows that are gone, rows not linked yet, two tables, a past. */
function makeExport(seed, most = 400) {
    const random = randomFrom(seed);
    const database = createDatabase(QUIET);
    const rows = database.table('rows', ROWS);
    const points = database.table('points', POINTS);
    database.table('empty', POINTS);
    const count = 40 + random.below(most);
    const row = (id) => ({
        id,
        word: `w${random.below(30)}`,
        size: random.below(1000),
        at: random.chance(0.1) ? null : random.vector(6),
        code: random.vector(6),
    });
    rows.insert(Array.from({ length: count }, (_, id) => row(id)));
    points.insert(Array.from({ length: 50 + random.below(100) }, (_, i) => ({ name: `n${i}`, p: random.vector(3) })));
    if (random.chance(0.8)) database.linkPending();
    for (let i = 0; i < count / 10; i++) rows.delete(random.below(count));
    rows.insert(Array.from({ length: random.below(20) }, (_, i) => row(10_000 + i)));
    database.tag('then');
    const bytes = database.export();
    database.close();
    return bytes;
}

async function serve(bytes, query = '') {
    const id = runId();
    const response = await fetch(`${origin}/ranges/put-${id}`, { method: 'PUT', body: bytes });
    expect(response.status).to.equal(204);
    const log = async () => (await fetch(`${origin}/ranges/log?id=${id}`)).json();
    return { url: `${origin}/ranges/put-${id}?id=${id}&${query}`, log };
}

/** Tables, columns and queries that are asked everywhere. */
function answers(database, options = {}) {
    const random = randomFrom(9);
    const asked = [];
    for (const [name, column, dimensions] of [
        ['rows', 'at', 6],
        ['rows', 'code', 6],
        ['points', 'p', 3],
        ['empty', 'p', 3],
    ]) {
        for (const where of [undefined, name === 'rows' ? 'size < 500' : "name != 'n3'"]) {
            const { rows, distances } = database
                .table(name)
                .searchArrays(random.vector(dimensions), { column, k: 8, where, ...options });
            asked.push([name, column, where, Array.from(rows), Array.from(distances)]);
        }
    }
    return asked;
}

const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** The segments of an export, as docs/FORMAT.md has them. */
function segmentsOf(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const number = (at) => Number(view.getBigUint64(at, true));
    const begin = number(32);
    return Array.from({ length: number(40) / 40 }, (_, i) => ({
        kind: view.getUint32(begin + i * 40, true),
        offset: number(begin + i * 40 + 16),
        bytes: number(begin + i * 40 + 24),
    }));
}

/** The outcome of opening and of the graphs: what failed, or the database. */
async function outcome(where, options) {
    try {
        const database = await openSnapshot(where, { ...QUIET, ...options });
        try {
            const graphs = await database.graphsReady;
            return { database, graphs };
        } catch (error) {
            return { database, error };
        }
    } catch (error) {
        return { error };
    }
}

describe('openSnapshot', () => {
    let bytes;
    let instance;
    before(async () => {
        await init({ maxMemory: 2 ** 28 });
        bytes = makeExport(1);
        const database = createDatabase();
        ({ instance } = database);
        await database.close();
    });

    it('answers exactly before the graphs, and as a whole import does after them', async () => {
        for (let seed = 1; seed <= 8; seed++) {
            const exported = makeExport(seed);
            const { url } = await serve(exported);
            const whole = importDatabase(exported, QUIET);
            const database = await openSnapshot(url, { ...QUIET, requestBytes: 1 << (9 + seed) });
            expect(database.stats().indexPending).to.equal(0);
            expect(answers(database)).to.deep.equal(answers(database, { exact: true }));
            expect(answers(database, { exact: true })).to.deep.equal(answers(whole, { exact: true }));
            database.verify();
            expect(database.table('rows').all().count()).to.equal(whole.table('rows').all().count());
            expect(await database.graphsReady).to.deep.equal({ attached: 4, dropped: 0 });
            expect(same(database.export(), exported)).to.equal(true);
            expect(answers(database)).to.deep.equal(answers(whole));
            expect(database.stats().indexPending).to.equal(whole.stats().indexPending);
            database.verify();
            await database.close();
            await whole.close();
        }
    });

    it('takes bytes, a Blob, clients and other sources', async () => {
        const { url } = await serve(bytes);
        const padded = new Uint8Array(bytes.length + 7);
        padded.set(bytes, 7);
        const plain = new RangeClient(url);
        const own = {
            read: (start, end) => plain.read(start, end),
            readTail: (count) => plain.readTail(count),
            stats: () => plain.stats(),
        };
        const sources = [
            bytes,
            padded.subarray(7),
            bytes.slice().buffer,
            new Blob([bytes]),
            new URL(url),
            new RangeClient(url),
            new OfParquet(url),
            own,
        ];
        expect(OfParquet).to.equal(RangeClient);
        for (const source of sources) {
            const database = await openSnapshot(source, QUIET);
            expect((await database.graphsReady).attached).to.equal(4);
            expect(same(database.export(), bytes)).to.equal(true);
            expect(database.transferred().bytesFetched).to.be.at.least(bytes.length - 8192 - 4096);
            await database.close();
        }
    });

    it('asks for what lies side by side at once, and tells how far it is', async () => {
        const { url, log } = await serve(bytes);
        const seen = [];
        const database = await openSnapshot(url, { ...QUIET, onProgress: (progress) => seen.push(progress) });
        await database.graphsReady;
        const segments = segmentsOf(bytes);
        const { requests } = await log();
        expect(requests.length).to.be.at.most(4); // one refused as longer than the file, the head, rows, graphs
        expect(seen.map(({ phase }) => phase)).to.deep.equal(['head', 'rows', 'rows', 'graphs', 'graphs']);
        for (const { fileBytes } of seen) expect(fileBytes).to.equal(bytes.length);
        const sum = (kinds) => segments.filter(({ kind }) => kinds(kind)).reduce((all, each) => all + each.bytes, 0);
        expect(seen[2]).to.include({ doneBytes: sum((kind) => kind < 8), totalBytes: seen[1].totalBytes });
        expect(seen[4]).to.include({ doneBytes: sum((kind) => kind === 8), totalBytes: seen[3].totalBytes });
        await database.close();
    });

    it('an index whose rows change meanwhile does without its graph; the others get theirs', async () => {
        const { url } = await serve(bytes, 'slow=20');
        const database = await openSnapshot(url, { ...QUIET, requestBytes: 2048 });
        const points = database.table('points');
        points.insert({ name: 'new', p: Float32Array.of(9, 9, 9) });
        await rejected('BUSY', /snapshot/, (async () => database.compact())());
        expect(points.search(Float32Array.of(9, 9, 9), { k: 1 })[0].key).to.equal('new');
        expect(await database.graphsReady).to.deep.equal({ attached: 3, dropped: 1 });
        expect(points.search(Float32Array.of(9, 9, 9), { k: 1 })[0].key).to.equal('new');
        expect(database.stats().indexPending).to.be.above(0);
        database.verify();
        database.linkPending();
        expect(database.stats().indexPending).to.equal(0);
        database.verify();
        database.compact();
        await database.close();
    });

    it('without its graphs the rows are linked here, in idle moments', async () => {
        const { url, log } = await serve(bytes);
        const database = await openSnapshot(url, { graphs: false });
        expect(await database.graphsReady).to.deep.equal({ attached: 0, dropped: 0 });
        expect(database.stats().indexPending).to.be.above(0);
        const { requests } = await log();
        const graphs = Math.min(...segmentsOf(bytes).flatMap(({ kind, offset }) => (kind === 8 ? [offset] : [])));
        const ends = requests.map(({ range }) => Number(/-(\d+)$/.exec(range)[1]));
        expect(ends.filter((end, i) => i > 1 && end >= graphs)).to.deep.equal([]);
        for (let i = 0; i < 200 && database.stats().indexPending > 0; i++)
            await new Promise((go) => setTimeout(go, 20));
        expect(database.stats().indexPending).to.equal(0);
        database.verify();
        await database.close();
    });

    it('servers that fail for a moment are asked again', async () => {
        for (const query of ['cut=100&times=2', 'status=503&times=2', 'wrong=weak', 'says=date', 'says=none']) {
            const { url } = await serve(bytes, query);
            const database = await openSnapshot(url, { ...QUIET, requestBytes: 8192 });
            expect(await database.graphsReady, query).to.deep.equal({ attached: 4, dropped: 0 });
            expect(same(database.export(), bytes), query).to.equal(true);
            await database.close();
        }
    });

    it('servers that ignore ranges are told of, or send the file whole', async () => {
        const { url } = await serve(bytes, 'ignore');
        await rejected('UNSUPPORTED', /allowWhole/, openSnapshot(url, QUIET));
        const { url: again, log } = await serve(bytes, 'ignore');
        const database = await openSnapshot(again, { ...QUIET, allowWhole: true });
        expect(await database.graphsReady).to.deep.equal({ attached: 4, dropped: 0 });
        expect(same(database.export(), bytes)).to.equal(true);
        expect((await log()).requests.length).to.be.at.most(2);
        await database.close();
        await rejected(
            'OVER_BUDGET',
            /whole/,
            outcome(again, { allowWhole: true, budget: new MemoryBudget(65_536 + 5) }).then(thrown),
        );
    });

    /** A promise of what an outcome failed with. */
    async function thrown({ error }) {
        throw error ?? new Error('it succeeded');
    }

    it('other failures of servers have their codes', async () => {
        const cases = [
            ['wrong=range', 'IO'],
            ['wrong=long', 'IO'],
            ['wrong=norange', 'IO'],
            ['wrong=badrange', 'IO'],
            ['wrong=packed', 'UNSUPPORTED'],
            ['wrong=size', 'CHANGED'],
            ['status=500&times=99', 'IO'],
            ['status=403&times=99', 'IO'],
            ['status=404&times=99', 'NOT_FOUND'],
        ];
        for (const [query, code] of cases) {
            const { url } = await serve(bytes, query);
            const { error, database } = await outcome(url, { requestBytes: 4096 });
            expect(error, query).to.be.instanceOf(VeltaError);
            expect(error.code, query).to.equal(code);
            await database?.close();
        }
        const { url } = await serve(bytes, 'silent&times=99');
        await rejected('IO', /nothing came/, openSnapshot(url, { ...QUIET, timeoutMs: 20 }));
        await rejected('NOT_FOUND', undefined, openSnapshot(`${origin}/ranges/nothing`, QUIET));
    }).timeout(30_000);

    it('a file that changes midway is noticed at every request', async () => {
        let asked = 99;
        let late = 0;
        for (let changed = 2; changed <= asked; changed++) {
            const { url, log } = await serve(bytes, `changed=${changed}`);
            const { error, database } = await outcome(url, { requestBytes: 4096 });
            if (error === undefined) {
                asked = (await log()).requests.length; // it changed after the last one
            } else {
                expect(error.code, `at request ${changed}`).to.equal('CHANGED');
                late += database !== undefined;
                database?.verify();
            }
            await database?.close();
        }
        expect(asked).to.be.within(5, 98);
        expect(late).to.be.above(0);
        // Where the server says nothing of it the checksums do.
        const { url } = await serve(bytes, 'changed=2&says=none&deaf');
        const { error, database } = await outcome(url, { requestBytes: 4096 });
        expect(error.code).to.equal('CORRUPT');
        await database?.close();
    }).timeout(60_000);

    it('damage to any segment is told with its place', async () => {
        const segments = segmentsOf(bytes);
        const random = randomFrom(3);
        for (const { kind, offset, bytes: size } of segments) {
            if (size === 0) continue;
            const damaged = bytes.slice();
            damaged[offset + random.below(size)] ^= 1 << random.below(8);
            const { error, database } = await outcome(damaged);
            expect(error.code).to.equal('CORRUPT');
            expect(error.offset).to.equal(offset);
            expect(database !== undefined, 'only graphs come after the database').to.equal(kind === 8);
            if (database === undefined) continue;
            expect(answers(database)).to.deep.equal(answers(database, { exact: true }));
            database.verify();
            database.linkPending();
            expect(database.stats().indexPending).to.equal(0);
            database.verify();
            await database.close();
        }
        for (let i = 0; i < 60; i++) {
            const damaged = bytes.slice();
            damaged[random.below(64)] ^= 1 << random.below(8);
            expect((await outcome(damaged)).error.code).to.be.oneOf(['CORRUPT', 'VERSION']);
        }
    });

    it('files cut short and other files are refused', async () => {
        const lengths = [0, 1, 100, 4096, 8191, 8192, 8200, bytes.length - 65, bytes.length >> 1];
        for (const length of lengths) {
            const cut = bytes.slice(0, length);
            expect((await outcome(cut)).error.code, `${length} bytes`).to.equal('CORRUPT');
            const { url } = await serve(cut);
            const { error } = await outcome(url);
            expect(error, `${length} bytes served`).to.be.instanceOf(VeltaError);
            expect(error.code, `${length} bytes served`).to.be.oneOf(
                length === 0 ? ['CORRUPT', 'IO', 'LIMIT'] : ['CORRUPT'],
            );
        }
        expect((await outcome(new TextEncoder().encode('<!doctype html>'.repeat(2000)))).error.code).to.equal(
            'CORRUPT',
        );
    });

    it('can be cancelled at any time; closing the database ends it, too', async () => {
        const counts = instance.counts();
        const gone = new AbortController();
        gone.abort();
        await rejected('CANCELLED', undefined, openSnapshot(bytes, { signal: gone.signal }));
        let phases = 0;
        for (const phase of ['head', 'rows', 'graphs']) {
            const { url } = await serve(bytes);
            const stop = new AbortController();
            const onProgress = (progress) => {
                if (progress.phase === phase) stop.abort('enough');
            };
            const { error, database } = await outcome(url, { signal: stop.signal, onProgress, requestBytes: 4096 });
            expect(error.code, phase).to.equal('CANCELLED');
            expect(error.cause, phase).to.equal('enough');
            expect(database !== undefined).to.equal(phase === 'graphs');
            database?.verify();
            await database?.close();
            phases++;
        }
        expect(phases).to.equal(3);
        const { url } = await serve(bytes, 'slow=30');
        const database = await openSnapshot(url, QUIET);
        const { graphsReady } = database;
        await database.close();
        await rejected('CLOSED', /closed/, graphsReady);
        const thrownAway = new Error('of the callback');
        for (const phase of ['head', 'rows', 'graphs']) {
            const onProgress = (progress) => {
                if (progress.phase === phase) throw thrownAway;
            };
            const { error, database: opened } = await outcome(bytes, { onProgress });
            expect(error).to.equal(thrownAway);
            await opened?.close();
        }
        expect(instance.counts()).to.deep.equal(counts);
    });

    /** Bytes that are here, from the n-th call on never: `asked` resolves when that call comes. */
    function deafFrom(first) {
        let calls = 0;
        let come;
        const asked = new Promise((done) => (come = done));
        const answer = (result) => {
            if (++calls < first) return Promise.resolve(result());
            come();
            return new Promise(() => undefined);
        };
        const source = {
            read: (start, end) => answer(() => bytes.subarray(start, end)),
            readTail: (count) =>
                answer(() => ({ bytes: bytes.slice(-count), start: bytes.length - count, size: bytes.length })),
            stats: () => ({ requests: calls, retries: 0, bytesFetched: 0 }),
        };
        return { source, asked };
    }

    it('does not wait for a source that neither answers nor listens', async () => {
        const counts = instance.counts();
        const seen = { before: 0, after: 0 };
        for (let first = 1; seen.after === 0; first++) {
            expect(first).to.be.below(100);
            for (const way of ['signal', 'close']) {
                const budget = new MemoryBudget();
                const { source, asked } = deafFrom(first);
                const stop = new AbortController();
                const options = { ...QUIET, requestBytes: 4096, budget, signal: stop.signal };
                const opening = openSnapshot(source, options);
                const opened = await Promise.race([opening, asked.then(() => null)]);
                seen[opened === null ? 'before' : 'after']++;
                if (opened === null) {
                    stop.abort('enough');
                    const error = await rejected('CANCELLED', undefined, opening);
                    expect(error.cause).to.equal('enough');
                } else {
                    await asked;
                    if (way === 'signal') stop.abort();
                    else await opened.close();
                    await rejected(way === 'signal' ? 'CANCELLED' : 'CLOSED', undefined, opened.graphsReady);
                    if (way === 'signal') opened.verify();
                    await opened.close();
                }
                expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
            }
        }
        expect(seen.before).to.be.above(6);
        expect(instance.counts()).to.deep.equal(counts);
    });

    it('a source that throws leaves nothing charged', async () => {
        const bytes = makeExport(1);
        const budget = new MemoryBudget();
        let asked = 0;
        const source = {
            readTail: async () => ({ bytes: bytes.slice(-1), start: bytes.length - 1, size: bytes.length }),
            read: (start, end) => {
                if (asked++ > 0) throw new VeltaError('IO', 'at once');
                return Promise.resolve(bytes.slice(start, end));
            },
            stats: () => ({ requests: asked, retries: 0, bytesFetched: 0 }),
        };
        await rejected('IO', /at once/, openSnapshot(source, { ...QUIET, budget }));
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
    });

    it('a small one of another origin that shows no Content-Range', async () => {
        const database = createDatabase(QUIET);
        database.table('points', POINTS).insert([{ name: 'one', p: [1, 2, 3] }]);
        const bytes = database.export();
        await database.close();
        expect(bytes.length).to.be.below(65_536);
        const send = async (_, { method, headers: { Range: range } }) => {
            const [start, last] = (range ?? '=0-65535').split('=')[1].split('-').map(Number);
            const part = bytes.slice(start, last + 1);
            const headers = { 'Content-Length': String(part.length) };
            return new Response(method === 'HEAD' ? null : part, { status: range === undefined ? 200 : 206, headers });
        };
        const isPage = globalThis.location !== undefined;
        if (!isPage) globalThis.location = { origin: 'https://page.example', href: 'https://page.example/' };
        try {
            const opened = await openSnapshot('https://elsewhere.example/file', { ...QUIET, fetch: send });
            expect(opened.table('points').liveCount).to.equal(1);
            expect(opened.transferred().retries).to.equal(0);
            await opened.close();
        } finally {
            if (!isPage) delete globalThis.location;
        }
    });

    it('what is on its way is charged, and given back', async () => {
        const large = makeExport(2, 9000);
        const { url } = await serve(large);
        const opened = async (size) => {
            const budget = new MemoryBudget(size);
            const { error, database } = await outcome(url, { budget, requestBytes: 65_536 });
            expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
            if (error === undefined) expect(same(database.export(), large)).to.equal(true);
            await database?.close();
            return { code: error?.code, peak: budget.memoryStats().peakBytes };
        };
        const least = Math.max(65_536, ...segmentsOf(large).map((segment) => segment.bytes));
        const ample = await opened(1 << 30);
        expect(ample.code).to.equal(undefined);
        expect(ample.peak).to.be.above(2 * least); // several requests at a time, and where there is no room one
        expect(await opened(least)).to.deep.equal({ code: undefined, peak: least });
        for (const small of [least - 1, 65_535, 0]) expect((await opened(small)).code).to.equal('OVER_BUDGET');
        const whole = await serve(bytes, 'ignore');
        const budget = new MemoryBudget();
        const database = await openSnapshot(whole.url, { ...QUIET, allowWhole: true, budget });
        expect(budget.memoryStats().usedBytes).to.be.at.least(bytes.length);
        await database.graphsReady;
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
        await database.close();
    });

    it('budgets and refused memory leave nothing behind, or a database without graphs', async () => {
        const counts = instance.counts();
        const seen = { OVER_BUDGET: 0, NO_MEMORY: 0 };
        const judge = async ({ error, database }, isTight = false) => {
            if (error !== undefined) {
                expect(error).to.be.instanceOf(VeltaError);
                expect(seen).to.have.property(error.code);
                seen[error.code]++;
            }
            if (database === undefined) return false;
            try {
                database.verify();
                expect(answers(database, { exact: true })).to.have.length(8);
                if (error === undefined) expect(same(database.export(), bytes)).to.equal(true);
            } catch (refused) {
                // With a budget that just sufficed nothing more can be asked.
                if (!isTight || !(refused instanceof VeltaError) || refused.code !== 'OVER_BUDGET') throw refused;
            }
            await database.close();
            return error === undefined;
        };
        let opened = false;
        for (let budget = 1000; !opened; budget += 1 + (budget >> 3)) {
            opened = await judge(await outcome(bytes, { memoryBudget: budget, requestBytes: 4096 }), true);
            expect(budget).to.be.below(2 ** 27);
        }
        // The module's memory may not grow at the n-th time.
        const { grow } = WebAssembly.Memory.prototype;
        const fill = [];
        try {
            for (let failAt = 1, done = false; !done && failAt < 200; failAt++) {
                for (let size = 1 << 22; size >= 1024; size >>>= 1) {
                    for (;;) {
                        WebAssembly.Memory.prototype.grow = () => {
                            throw new RangeError('growth refused');
                        };
                        const address = instance.exports.abi_allocate(size) >>> 0;
                        if (address === 0) break;
                        fill.push([address, size]);
                    }
                }
                let asked = 0;
                let refused = 0;
                WebAssembly.Memory.prototype.grow = function (pages) {
                    asked++;
                    if (asked >= failAt && asked < failAt + 2) {
                        refused++;
                        throw new RangeError('growth refused');
                    }
                    return grow.call(this, pages);
                };
                const result = await outcome(bytes, { requestBytes: 4096 });
                WebAssembly.Memory.prototype.grow = grow;
                await judge(result);
                done = refused === 0;
                for (const [address, size] of fill.splice(0)) instance.exports.abi_release(address, size);
            }
        } finally {
            WebAssembly.Memory.prototype.grow = grow;
            for (const [address, size] of fill) instance.exports.abi_release(address, size);
        }
        expect(seen.OVER_BUDGET).to.be.above(5);
        expect(seen.NO_MEMORY).to.be.above(0);
        expect(instance.counts()).to.deep.equal(counts);
    }).timeout(120_000);

    it('says what is wrong with its arguments', async () => {
        for (const where of [undefined, null, 5, {}, [], 'ftp://a/b', new Float32Array(4), { read: 1 }]) {
            await rejected('INVALID', undefined, openSnapshot(where));
        }
        for (const options of [
            { retries: 3 },
            { requestBytes: 0 },
            { requestBytes: '4' },
            { graphs: 'no' },
            { onProgress: 5 },
            { signal: {} },
            { memoryBudget: -1 },
            { allowWhole: true }, // of bytes
            { budget: 5 },
        ]) {
            await rejected('INVALID', undefined, openSnapshot(bytes, options));
        }
        expect((await errorOf(() => openSnapshot(bytes, 7))).code).to.equal('INVALID');
    });
});
