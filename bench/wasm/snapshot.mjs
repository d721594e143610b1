/*
 * Snapshots with an index, 100,000 x 384: export, import, and the first answer after an import begins; what the package
 * weighs; and how long a fresh process takes from importing the package to the first answer over a hundred rows.
 *
 * usage: snapshot.mjs [RESULT.json]
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { NativePeer, queryOf } from './lib/peer.mjs';
import { median, Report, timeCpu } from './lib/report.mjs';
import { fill, link, loadVelta, packageFolder } from './lib/velta.mjs';

const TURNS = 3;

const report = new Report('in WebAssembly: snapshots, sizes, start');
await images();
weights();
start();

async function images() {
    const velta = await loadVelta({ build: 'simd128', maxMemory: 2 ** 31 });
    const peer = new NativePeer('clustered');
    const data = await peer.data();
    peer.close();
    const { database, table } = fill(velta, data);
    const linked = timeCpu(() => link(database));
    report.compare('linking, clustered 100,000 x 384', 'rows/s', data.rows / linked, {});
    const wanted = [...table.searchArrays(queryOf(data, 0)).rows];
    const { memoryUsedBytes } = database.stats();
    const times = { export: [], import: [], answer: [] };
    let bytes = null;
    for (let turn = 0; turn <= TURNS; turn++) {
        bytes = null;
        const exporting = timeCpu(() => (bytes = database.export()));
        let copy = null;
        let found = null;
        const importing = timeCpu(() => (copy = velta.importDatabase(bytes, { autoIndex: false })));
        const answering = timeCpu(() => (found = copy.table('rows').searchArrays(queryOf(data, 0)).rows));
        if ([...found].join() !== wanted.join()) throw new Error('an imported copy answers otherwise');
        await copy.close();
        if (!turn) continue;
        times.export.push(exporting * 1000);
        times.import.push(importing * 1000);
        times.answer.push((importing + answering) * 1000);
    }
    await database.close();
    const raw = data.base.byteLength;
    report.figure('export, clustered 100,000 x 384', 'ms', median(times.export), 150);
    report.figure('import', 'ms', median(times.import), 150);
    report.figure('first answer after an import begins', 'ms', median(times.answer), 50);
    report.figure('export bytes / raw f32', 'x', bytes.length / raw);
    report.figure('memory / raw f32, f32 kept', 'x', memoryUsedBytes / raw, 1.35);
}

function files(folder) {
    return readdirSync(folder).flatMap((name) => {
        const path = join(folder, name);
        return statSync(path).isDirectory() ? files(path) : [path];
    });
}

/** As a page loads it: one module and the JavaScript that needs it. */
function weights() {
    const weigh = (path) => gzipSync(readFileSync(path), { level: 9 }).length / 1024;
    const dist = join(packageFolder, 'dist');
    const code = weigh(join(dist, 'velta.js'));
    for (const path of files(join(dist, 'wasm'))) {
        const build = path.match(/velta\.(\w+)\.wasm$/)[1];
        report.figure(`velta.js and the ${build} module, gzip`, 'KiB', code + weigh(path), 64);
    }
    const page = files(dist).filter((path) => /\.(js|wasm)$/.test(path));
    for (const path of page) report.figure(`  ${path.slice(dist.length + 1)}, gzip`, 'KiB', weigh(path));
}

/** In fresh processes: import, init, a hundred rows, the first answer. */
function start() {
    const entry = pathToFileURL(join(packageFolder, 'dist', 'velta.js')).href;
    const program = `
        const vectors = Float32Array.from({ length: 100 * 384 }, (_, i) => Math.sin(i * i));
        const begin = performance.now();
        const velta = await import(${JSON.stringify(entry)});
        await velta.init();
        const database = velta.createDatabase();
        const table = database.table('rows', { id: velta.key('int'), vector: velta.vector(384) });
        table.insertColumns({ id: Float64Array.from({ length: 100 }, (_, i) => i), vector: vectors });
        const hits = table.search(vectors.subarray(0, 384));
        const took = performance.now() - begin;
        if (hits[0].key !== 0) throw new Error('the first row was not found');
        console.log(took);
        await database.close();`;
    const times = [];
    for (let turn = 0; turn < 9; turn++)
        times.push(
            Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })),
        );
    report.figure('import to first answer, 100 rows', 'ms', median(times), 10);
}
