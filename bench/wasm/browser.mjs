/*
 * Searching in Chromium, with the relaxed and the SIMD128 build in one page, beside native hnswlib in its own
 * process, on debpkg, in blocks that alternate. A page has no clock of the processor's time, so the clock on the
 * wall counts, for the peer as well: the ratios hold on a machine that has nothing else to do.
 *
 * usage: browser.mjs [RESULT.json]
 */
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import playwright from '../../wasm/node_modules/playwright-core/index.js';
import { NativePeer, neighbours } from './lib/peer.mjs';
import { rateAt, Report } from './lib/report.mjs';
import { sweep } from './lib/sweep.mjs';
import { packageFolder } from './lib/velta.mjs';

const CHROMIUM = process.env.VELTA_CHROMIUM || '/usr/bin/chromium';
const EFS = [20, 28, 40, 56, 80, 112];
const ROUNDS = 3;
const BUILDS = ['relaxed', 'simd128'];
const FLAGS = [
    '--no-sandbox',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
];

/** The package under /package/, the data under /data/, an empty page at /. */
function serve(dataFolder) {
    const types = { js: 'text/javascript', wasm: 'application/wasm' };
    const server = createServer((request, response) => {
        const path = normalize(new URL(request.url, 'http://localhost').pathname);
        const [, root, ...rest] = path.split('/');
        const folder = { package: packageFolder, data: dataFolder }[root];
        const file = folder && join(folder, ...rest);
        response.setHeader(
            'Content-Type',
            types[path.split('.').pop()] ?? (file ? 'application/octet-stream' : 'text/html'),
        );
        if (file && existsSync(file)) createReadStream(file).pipe(response);
        else response.writeHead(path === '/' ? 200 : 404).end('<!doctype html><title>bench</title>');
    });
    return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** In the page: loads one build and everything to search; later calls search. */
async function prepare({ build, rows, dimensions }) {
    const read = async (name) => new Float32Array(await (await fetch(`/data/${name}`)).arrayBuffer());
    const velta = await import('/package/dist/velta.js');
    const info = await velta.init({ build });
    const database = velta.createDatabase({ autoIndex: false });
    const vector = velta.vector(dimensions, { m: 16, efConstruction: 100 });
    const table = database.table('rows', { vector });
    const base = await read('base.f32');
    const batch = 8192;
    for (let first = 0; first < rows; first += batch) {
        const end = Math.min(first + batch, rows);
        table.insertColumns({ vector: base.subarray(first * dimensions, end * dimensions) });
    }
    const start = performance.now();
    while (database.linkPending() > 0);
    const linking = (performance.now() - start) / 1000;
    globalThis.bench = { table, query: await read('query.f32'), dimensions };
    return { build: info.build, linking };
}

function search({ ef, first, end, k }) {
    const { table, query, dimensions } = globalThis.bench;
    const found = [];
    const start = performance.now();
    for (let q = first; q < end; q++)
        found.push(table.searchArrays(query.subarray(q * dimensions, (q + 1) * dimensions), { k, ef }).rows);
    const seconds = (performance.now() - start) / 1000;
    return { seconds, found: found.flatMap((rows) => [...rows]) };
}

const report = new Report('in WebAssembly: search in Chromium, relaxed SIMD and SIMD128');
const native = new NativePeer('debpkg');
const data = await native.data();
await native.ask('load');
const server = await serve(native.folder('data'));
const profile = mkdtempSync(join(tmpdir(), 'velta-bench-'));
const context = await playwright.chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
});
try {
    const pages = {};
    for (const build of BUILDS) {
        const page = await context.newPage();
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        const ready = await page.evaluate(prepare, { build, rows: data.rows, dimensions: data.dimensions });
        if (ready.build !== build) throw new Error(`${ready.build} runs instead of ${build}`);
        report.compare(`linking, ${build}`, 'rows/s', data.rows / ready.linking, {});
        pages[build] = page;
    }
    const engines = { native: (ef, first, end) => native.search(ef, first, end) };
    for (const [build, page] of Object.entries(pages))
        engines[build] = (ef, first, end) => page.evaluate(search, { ef, first, end, k: neighbours });
    const points = await sweep(data, engines, EFS, ROUNDS);
    for (const recall of [0.95, 0.985]) {
        const peers = { 'native hnswlib': rateAt(points.native, recall) };
        for (const [build, target] of [
            ['relaxed', 2.2],
            ['simd128', 2],
        ])
            report.compare(`${build} at recall ${recall}`, 'queries/s', rateAt(points[build], recall), peers, {
                'native hnswlib': target,
            });
    }
} finally {
    await context.close();
    server.close();
    native.close();
    rmSync(profile, { recursive: true, force: true });
}
