/*
 * Streams of sparse deltas (5 % of 384 dimensions, 19 values) into a logged store of 20,000 linked rows, keys of type
 * int, relaxed durability.
 *
 *   in Node      one thread, into a file: records made ahead, deltas through a pool, and batches of applyAll beside
 *   in Chromium  a worker that makes deltas, a ring of shared memory, a worker that drains it into a store in OPFS, and
 *                into one in memory alone; and the second worker by itself, with records made ahead
 *
 * The clock on the wall, from the first delta until all are durable; medians of turns that alternate, and in Chromium
 * the fastest turn, which a busy machine disturbs less.
 *
 * usage: stream.mjs [RESULT.json]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChromium } from './lib/chromium.mjs';
import { median, Report } from './lib/report.mjs';
import { loadVelta, packageFolder } from './lib/velta.mjs';

const ROWS = Number(process.env.VELTA_BENCH_ROWS || 20_000);
const DELTAS = Number(process.env.VELTA_BENCH_DELTAS || 200_000);
const TURNS = Number(process.env.VELTA_BENCH_TURNS || 11);

/** What each thread makes for itself; its text is sent to the workers. */
function tools() {
    const DIMENSIONS = 384;
    const SPARSE = 19;
    let state = 1;
    const random = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 4294967296;
    };
    const floats = (count, scale) => Float32Array.from({ length: count }, () => (random() - 0.5) * scale);
    const part = Math.floor(DIMENSIONS / SPARSE);
    const operation = () => ({
        type: 'sparse',
        indices: Uint32Array.from({ length: SPARSE }, (_, i) => i * part + Math.floor(random() * part)),
        values: floats(SPARSE, 0.01),
    });
    return {
        /** `count` deltas of all rows in turn, in no order. */
        deltas(count, rows) {
            const operations = Array.from({ length: 256 }, operation);
            return Array.from({ length: count }, (_, i) => ({
                key: (i * 7919) % rows,
                operation: operations[i & 255],
            }));
        },
        /** A store with a checkpoint behind it, which makes no other by itself. */
        async store(velta, options, rows) {
            const database = await velta.open('stream', {
                ...{ durability: 'relaxed', checkpointBytes: Infinity, checkpointSeconds: Infinity, autoIndex: false },
                ...options,
            });
            const vector = velta.vector(DIMENSIONS, { m: 16, efConstruction: 100 });
            const table = database.table('rows', { id: velta.key('int'), vector });
            const id = Float64Array.from({ length: rows }, (_, i) => i);
            table.insertColumns({ id, vector: floats(rows * DIMENSIONS, 1) });
            while (database.linkPending() > 0);
            database.checkpoint();
            await database.flush();
            return { database, table };
        },
    };
}

/** Millions a second of each way, in turns that alternate, after one to warm up: [way, median, fastest turn]. */
async function rates(ways) {
    const found = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
    for (let turn = 0; turn <= TURNS; turn++) {
        for (const [name, run] of Object.entries(ways)) {
            const seconds = await run();
            if (turn) found[name].push(DELTAS / seconds / 1e6);
        }
    }
    return Object.entries(found).map(([name, list]) => [name, median(list), Math.max(...list)]);
}

async function inNode(report) {
    const velta = await loadVelta();
    const folder = mkdtempSync(join(tmpdir(), 'velta-bench-'));
    const { deltas: make, store } = tools();
    const { database, table } = await store(velta, { storage: 'file', directory: folder }, ROWS);
    try {
        const deltas = make(DELTAS, ROWS);
        const records = velta.encodeRecords(deltas);
        const before = database.log.status().bytes;
        let logged = 0;
        const timed = (run) => async () => {
            const start = performance.now();
            run();
            await database.flush();
            logged += DELTAS;
            return (performance.now() - start) / 1000;
        };
        const pooled = () => {
            const pool = new velta.SharedDeltaPool();
            for (const delta of deltas) {
                try {
                    pool.writeDelta(delta);
                } catch (error) {
                    if (error.code !== 'BUSY') throw error;
                    pool.flush(table);
                    pool.writeDelta(delta);
                }
            }
            pool.flush(table);
        };
        const found = await rates({
            'records made ahead, one thread': timed(() => table.applyRecords(records, { batchSize: 4096 })),
            'deltas through a pool, one thread': timed(pooled),
            'applyAll, batches of 100': timed(() => {
                for (let i = 0; i < deltas.length; i += 100) table.applyAll(deltas.slice(i, i + 100));
            }),
        });
        const bytes = (database.log.status().bytes - before) / logged;
        for (const [note, rate] of found) {
            report.figure('sparse deltas into a logged store, Node', 'M/s', rate, undefined, { note });
        }
        report.figure('a delta as a record', 'bytes', records.length / DELTAS);
        report.figure('a delta in the log', 'bytes', bytes);
    } finally {
        await database.close();
        rmSync(folder, { recursive: true });
    }
}

/* ---- Chromium: the two workers. Each answers every message by one. */

async function consumer() {
    const velta = await import('/package/dist/velta.js');
    const made = {};
    const actions = {
        async open({ storage, rows, deltas }) {
            const { build } = await velta.init();
            const { deltas: make, store } = tools();
            Object.assign(made, await store(velta, { storage, memoryBudget: 2 ** 31 }, rows));
            made.records = velta.encodeRecords(make(deltas, rows));
            return { build };
        },
        async drain({ end }) {
            const { database, table } = made;
            const count = await velta.SharedDeltaPool.from(end).drain(table);
            await database.flush();
            return { count, now: performance.timeOrigin + performance.now() };
        },
        async ahead() {
            const start = performance.now();
            made.table.applyRecords(made.records, { batchSize: 4096 });
            await made.database.flush();
            return { seconds: (performance.now() - start) / 1000 };
        },
        async close() {
            await made.database.close();
            return {};
        },
    };
    onmessage = async ({ data }) => {
        try {
            postMessage(await actions[data.action](data));
        } catch (error) {
            postMessage({ error: String(error.stack ?? error) });
        }
    };
    postMessage({});
}

async function producer() {
    const velta = await import('/package/dist/velta.js');
    const { deltas: make } = tools();
    let deltas = [];
    onmessage = ({ data }) => {
        try {
            if (data.action === 'make') deltas = make(data.deltas, data.rows);
            const now = performance.timeOrigin + performance.now();
            if (data.action === 'write') {
                const pool = velta.SharedDeltaPool.from(data.end);
                for (const delta of deltas) pool.writeDelta(delta, { wait: 60_000 });
                pool.end();
            }
            postMessage({ now });
        } catch (error) {
            postMessage({ error: String(error.stack ?? error) });
        }
    };
    postMessage({});
}

/** In the page: starts a worker, and gives what asks it. */
async function connect(name) {
    const worker = new Worker(`/${name}.js`, { type: 'module' });
    const answer = () =>
        new Promise((resolve, reject) => {
            worker.onerror = ({ message }) => reject(new Error(`${name}: ${message}`));
            worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
        });
    const ready = answer();
    globalThis.bench ??= {};
    globalThis.bench[name] = (message) => {
        const answered = answer();
        worker.postMessage(message);
        return answered;
    };
    await ready;
}

/** In the page: one stream through a ring, seconds from its first delta to the last one's being durable. */
async function streamOnce({ deltas }) {
    const { SharedDeltaPool } = await import('/package/dist/velta.js');
    const { end } = new SharedDeltaPool(1 << 22).otherEnd();
    const drained = globalThis.bench.consumer({ action: 'drain', end });
    const written = globalThis.bench.producer({ action: 'write', end });
    const [{ count, now }, { now: began }] = await Promise.all([drained, written]);
    if (count !== deltas) throw new Error(`${count} of ${deltas} deltas arrived`);
    return (now - began) / 1000;
}

async function inChromium(report) {
    const script = (main) => `${tools}\n${main}\n${main.name}();`;
    const chromium = await startChromium(
        { package: packageFolder },
        { 'consumer.js': script(consumer), 'producer.js': script(producer) },
    );
    try {
        const opened = { opfs: null, memory: null };
        const ask = (page, name, message) => page.evaluate(([to, what]) => globalThis.bench[to](what), [name, message]);
        for (const storage of Object.keys(opened)) {
            const page = await chromium.newPage();
            for (const name of ['consumer', 'producer']) await page.evaluate(connect, name);
            await ask(page, 'producer', { action: 'make', deltas: DELTAS, rows: ROWS });
            const { build } = await ask(page, 'consumer', { action: 'open', storage, deltas: DELTAS, rows: ROWS });
            opened[storage] = { page, build };
        }
        const through = (storage) => () => opened[storage].page.evaluate(streamOnce, { deltas: DELTAS });
        const ahead = async () => (await ask(opened.opfs.page, 'consumer', { action: 'ahead' })).seconds;
        const found = await rates({
            'between workers, through a ring into OPFS': through('opfs'),
            'between workers, through a ring into memory': through('memory'),
            'records made ahead, one worker into OPFS': ahead,
        });
        for (const [way, rate, fastest] of found) {
            const note = `${way}, ${opened.opfs.build}`;
            report.figure('sparse deltas into a store, Chromium', 'M/s', rate, 1, { least: true, note });
            report.figure('the fastest turn of these', 'M/s', fastest, undefined, { note });
        }
        for (const { page } of Object.values(opened)) await ask(page, 'consumer', { action: 'close' });
    } finally {
        await chromium.close();
    }
}

const report = new Report('in WebAssembly: streams of deltas, 384-d, 19 values each');
await inNode(report);
await inChromium(report);
