/*
 * Streams of sparse deltas (5 % of 384 dimensions) into a logged store: in Chromium from a page through a pool in shared
 * memory into a store in OPFS in a worker; in Node in one thread, records made ahead and deltas given one by one.
 *
 * 20,000 linked rows, keys of type int, relaxed durability. The clock on the wall, from the first delta written until
 * all are durable; medians of turns.
 *
 * usage: stream.mjs [RESULT.json]
 */
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import playwright from '../../wasm/node_modules/playwright-core/index.js';
import { median, Report } from './lib/report.mjs';
import { link, loadVelta, packageFolder } from './lib/velta.mjs';

const CHROMIUM = process.env.VELTA_CHROMIUM || '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking'];
const ROWS = Number(process.env.VELTA_BENCH_ROWS || 20_000);
const DELTAS = 200_000;
const TURNS = 5;
const BATCH = 4096;

/** What both places do; as text it goes into the page and its worker, so it refers to nothing outside. */
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
    return {
        operations: () =>
            Array.from({ length: 256 }, () => ({
                type: 'sparse',
                indices: Uint32Array.from({ length: SPARSE }, (_, i) => i * part + Math.floor(random() * part)),
                values: floats(SPARSE, 0.01),
            })),
        fill(velta, database, rows) {
            const vector = velta.vector(DIMENSIONS, { m: 16, efConstruction: 100 });
            const table = database.table('rows', { id: velta.key('int'), vector });
            const id = Float64Array.from({ length: rows }, (_, i) => i);
            table.insertColumns({ id, vector: floats(rows * DIMENSIONS, 1) });
            return table;
        },
    };
}

const storeOptions = {
    durability: 'relaxed',
    checkpointBytes: Infinity,
    checkpointSeconds: Infinity,
    autoIndex: false,
};

// ---- Node

async function inNode(report) {
    const velta = await loadVelta();
    const folder = mkdtempSync(join(tmpdir(), 'velta-bench-'));
    const { operations, fill } = tools();
    const database = await velta.open('stream', { ...storeOptions, storage: 'file', directory: folder });
    try {
        const table = fill(velta, database, ROWS);
        link(database);
        database.checkpoint();
        const list = operations();
        const deltas = Array.from({ length: DELTAS }, (_, i) => ({ key: (i * 7919) % ROWS, operation: list[i & 255] }));
        const records = velta.encodeRecords(deltas);
        const before = database.log.status().bytes;
        const ways = {
            'records made ahead, one thread': () => table.applyRecords(records, { batchSize: BATCH }),
            'deltas through a pool, one thread': () => {
                const pool = new velta.SharedDeltaPool();
                for (const delta of deltas) {
                    if (pool.getBufferLen() > 900_000) pool.flush(table, { batchSize: BATCH });
                    pool.writeDelta(delta);
                }
                pool.flush(table, { batchSize: BATCH });
            },
            'applyAll, batches of 100': () => {
                for (let i = 0; i < deltas.length; i += 100) table.applyAll(deltas.slice(i, i + 100));
            },
        };
        const rates = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
        for (let turn = 0; turn <= TURNS; turn++) {
            for (const [name, run] of Object.entries(ways)) {
                const start = performance.now();
                run();
                await database.flush();
                if (turn) rates[name].push(DELTAS / (performance.now() - start) / 1000);
            }
        }
        const logged = (database.log.status().bytes - before) / (DELTAS * 3 * (TURNS + 1));
        for (const [note, found] of Object.entries(rates)) {
            report.figure('sparse deltas into a logged store, Node', 'M/s', median(found), 1, { least: true, note });
        }
        report.figure('a delta as a record', 'bytes', records.length / DELTAS, undefined, {});
        report.figure('a delta in the log', 'bytes', logged, undefined, {});
    } finally {
        await database.close();
        rmSync(folder, { recursive: true });
    }
}

// ---- Chromium

/** In the worker: a linked store in OPFS, which takes what the pools bring. */
async function consumer(tools, rows, batchSize, options) {
    const velta = await import('/package/dist/velta.js');
    await velta.init();
    const database = await velta.open('stream', { ...options, storage: 'opfs' });
    const table = tools().fill(velta, database, rows);
    while (database.linkPending() > 0);
    database.checkpoint();
    addEventListener('message', async ({ data }) => {
        postMessage(await velta.SharedDeltaPool.from(data).drain(table, { batchSize }));
    });
    postMessage('ready');
}

/** In the page: writes deltas as fast as the pool takes them; the rate in millions a second. */
async function produce({ rows, deltas }) {
    const { velta, worker, list } = globalThis.bench;
    const pool = new velta.SharedDeltaPool(8 << 20);
    const { end } = pool.otherEnd();
    const done = new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
    const start = performance.now();
    worker.postMessage(end);
    for (let i = 0; i < deltas; i++) {
        const delta = { key: (i * 7919) % rows, operation: list[i & 255] };
        try {
            pool.writeDelta(delta);
        } catch (error) {
            if (error.code !== 'BUSY') throw error;
            await pool.write(delta);
        }
    }
    pool.end();
    const count = await done;
    if (count !== deltas || !pool.shared || pool.acknowledged !== deltas) throw new Error(`only ${count} arrived`);
    return deltas / (performance.now() - start) / 1000;
}

async function prepare({ toolsText }) {
    const velta = await import('/package/dist/velta.js');
    await velta.init();
    const list = new Function(`return (${toolsText})()`)().operations();
    const worker = new Worker('/worker.js', { type: 'module' });
    await new Promise((resolve, reject) => {
        worker.onmessage = resolve;
        worker.onerror = reject;
    });
    globalThis.bench = { velta, worker, list };
    return velta.moduleInfo().build;
}

function serve() {
    const types = { js: 'text/javascript', wasm: 'application/wasm' };
    const options = JSON.stringify({ ...storeOptions, checkpointBytes: 2 ** 40, checkpointSeconds: 1e6 });
    const script = `const tools = ${tools};\n(${consumer})(tools, ${ROWS}, ${BATCH}, ${options});`;
    const server = createServer((request, response) => {
        const path = normalize(new URL(request.url, 'http://localhost').pathname);
        response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
        response.setHeader('Content-Type', types[path.split('.').pop()] ?? 'text/html');
        const file = path.startsWith('/package/') ? join(packageFolder, path.slice('/package/'.length)) : null;
        if (path === '/worker.js') response.end(script);
        else if (file && existsSync(file)) createReadStream(file).pipe(response);
        else response.writeHead(path === '/' ? 200 : 404).end('<!doctype html><title>bench</title>');
    });
    return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

async function inChromium(report) {
    const server = await serve();
    const profile = mkdtempSync(join(tmpdir(), 'velta-bench-'));
    const options = { executablePath: CHROMIUM, headless: true, args: FLAGS };
    const context = await playwright.chromium.launchPersistentContext(profile, options);
    try {
        const page = await context.newPage();
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        const build = await page.evaluate(prepare, { toolsText: String(tools) });
        const rates = [];
        for (let turn = 0; turn <= TURNS; turn++) {
            const rate = await page.evaluate(produce, { rows: ROWS, deltas: DELTAS });
            if (turn) rates.push(rate);
        }
        const note = `page to worker through a pool, OPFS, ${build}`;
        const name = 'sparse deltas into a logged store, Chromium';
        report.figure(name, 'M/s', median(rates), 1, { least: true, note });
    } finally {
        await context.close();
        server.close();
        rmSync(profile, { recursive: true, force: true });
    }
}

const report = new Report('in WebAssembly: streams of deltas, 384-d, 19 values each');
await inNode(report);
await inChromium(report);
