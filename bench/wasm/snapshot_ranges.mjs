/*
 * An export on a server at 100 Mbit/s, 100,000 x 384 with its index: bytes and time to the first answer and to the
 * whole, by openSnapshot and by a download and importDatabase; and the memory of the module. Each way in a process of
 * its own, the server in another; the clock on the wall; medians of turns that alternate.
 *
 * usage: snapshot_ranges.mjs [RESULT.json]      VELTA_BENCH_ROWS: other than 100,000 rows
 */
import { execFileSync, fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, Report } from './lib/report.mjs';
import { fill, link, loadVelta } from './lib/velta.mjs';

const ROWS = Number(process.env.VELTA_BENCH_ROWS || 100_000);
const DIMENSIONS = 384;
const CENTRES = 500;
const BYTES_PER_MS = 12_500;
const CHUNK = 65_536;
const TURNS = 3;
const self = fileURLToPath(import.meta.url);

const [role, ...rest] = process.argv.slice(2);
if (role === 'serve') serve(...rest);
else if (role === 'parts' || role === 'whole' || role === 'here')
    console.log(JSON.stringify(await client(role, ...rest)));
else await measure();

/** Vectors around centres, and a query: the same in every process. */
function vectors() {
    let state = 7;
    const random = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32 - 0.5;
    };
    const centres = Float32Array.from({ length: CENTRES * DIMENSIONS }, random);
    const base = new Float32Array(ROWS * DIMENSIONS);
    for (let row = 0; row < ROWS; row++) {
        const centre = (row % CENTRES) * DIMENSIONS;
        for (let i = 0; i < DIMENSIONS; i++) base[row * DIMENSIONS + i] = centres[centre + i] + 0.6 * random();
    }
    return { base, rows: ROWS, dimensions: DIMENSIONS };
}
function query() {
    return Float32Array.from({ length: DIMENSIONS }, (_, i) => Math.sin(i * i));
}

/** One line of 100 Mbit/s for all answers. */
function serve(path) {
    const bytes = readFileSync(path);
    let free = 0;
    const turn = (count) => {
        free = Math.max(free, performance.now()) + count / BYTES_PER_MS;
        return new Promise((done) => setTimeout(done, free - performance.now()));
    };
    const server = createServer(async (request, response) => {
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
        const [start, end] = range
            ? [Number(range[1]), Math.min(Number(range[2]) + 1, bytes.length)]
            : [0, bytes.length];
        response.writeHead(range ? 206 : 200, {
            'Content-Length': end - start,
            ETag: '"1"',
            ...(range ? { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` } : {}),
        });
        for (let at = start; at < end && !response.destroyed; at += CHUNK) {
            const part = bytes.subarray(at, Math.min(end, at + CHUNK));
            await turn(part.length);
            response.write(part);
        }
        response.end();
    });
    server.listen(0, '127.0.0.1', () => process.send(server.address().port));
}

async function client(way, where) {
    const velta = await loadVelta({ build: 'simd128', maxMemory: 2 ** 31 });
    const bytes = way === 'here' ? new Uint8Array(readFileSync(where)) : null;
    const started = performance.now();
    const since = () => performance.now() - started;
    let database;
    if (way === 'whole') {
        const file = await (await fetch(where)).arrayBuffer();
        database = velta.importDatabase(file, { autoIndex: false });
    } else {
        database = await velta.openSnapshot(bytes ?? where, { autoIndex: false });
    }
    const { rows } = database.table('rows').searchArrays(query(), { k: 10 });
    const answerMs = since();
    const answerBytes = way === 'parts' ? database.transferred().bytesFetched : 0;
    if (way !== 'whole') await database.graphsReady;
    const allMs = since();
    const { wasmMemoryBytes } = database.stats();
    await database.close();
    return { answerMs, allMs, answerBytes, wasmMemoryBytes, rows: [...rows] };
}

async function measure() {
    const report = new Report(`in WebAssembly: an export on a server at 100 Mbit/s, ${ROWS} x ${DIMENSIONS}`);
    const velta = await loadVelta({ build: 'simd128', maxMemory: 2 ** 31 });
    const folder = mkdtempSync(join(tmpdir(), 'velta-bench-'));
    const path = join(folder, 'export.velta');
    try {
        const { database } = fill(velta, vectors());
        link(database);
        const wanted = [...database.table('rows').searchArrays(query(), { k: 10, exact: true }).rows];
        const bytes = database.export();
        await database.close();
        writeFileSync(path, bytes);
        const server = fork(self, ['serve', path]);
        try {
            const port = await new Promise((done) => server.once('message', done));
            const address = `http://127.0.0.1:${port}/`;
            const ways = { parts: address, whole: address, here: path };
            const seen = { parts: [], whole: [], here: [] };
            for (let turn = 0; turn < TURNS; turn++) {
                for (const [way, where] of Object.entries(ways)) {
                    const said = execFileSync(process.execPath, [self, way, where], { encoding: 'utf8' });
                    const found = JSON.parse(said.trim().split('\n').at(-1));
                    if (way !== 'whole' && found.rows.join() !== wanted.join()) throw new Error(`${way}: not exact`);
                    seen[way].push(found);
                }
            }
            const middle = (way, figure) => median(seen[way].map((each) => each[figure]));
            const mega = 1 / 2 ** 20;
            report.figure('the export', 'MiB', bytes.length * mega);
            report.figure('openSnapshot: bytes to the first answer', 'MiB', middle('parts', 'answerBytes') * mega);
            report.figure('openSnapshot: first answer', 'ms', middle('parts', 'answerMs'));
            report.figure('download, importDatabase: first answer', 'ms', middle('whole', 'answerMs'));
            report.figure('openSnapshot: graphs attached', 'ms', middle('parts', 'allMs'));
            report.figure('openSnapshot of bytes here: first answer', 'ms', middle('here', 'answerMs'));
            report.figure('openSnapshot of bytes here: graphs attached', 'ms', middle('here', 'allMs'));
            report.figure("openSnapshot: the module's memory", 'MiB', middle('parts', 'wasmMemoryBytes') * mega);
            report.figure("importDatabase: the module's memory", 'MiB', middle('whole', 'wasmMemoryBytes') * mega);
        } finally {
            server.kill();
        }
    } finally {
        rmSync(folder, { recursive: true });
    }
}
