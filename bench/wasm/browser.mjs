/*
 * Searching in Chromium, with the relaxed and the SIMD128 build in one page, beside native hnswlib in its own
 * process, on debpkg, in blocks that alternate. A page has no clock of the processor's time, so the clock on the
 * wall counts, for the peer as well: the ratios hold on a machine that has nothing else to do.
 *
 * usage: browser.mjs [RESULT.json]
 */
import { startChromium } from './lib/chromium.mjs';
import { NativePeer, neighbours } from './lib/peer.mjs';
import { rateAt, Report } from './lib/report.mjs';
import { sweep } from './lib/sweep.mjs';
import { packageFolder } from './lib/velta.mjs';

const EFS = [20, 28, 40, 56, 80, 112];
const ROUNDS = 3;
const BUILDS = ['relaxed', 'simd128'];

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
const chromium = await startChromium({ package: packageFolder, data: native.folder('data') });
try {
    const pages = {};
    for (const build of BUILDS) {
        const page = await chromium.newPage();
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
    await chromium.close();
    native.close();
}
