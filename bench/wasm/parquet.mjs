/*
 * A million rows in a Parquet file on a local server, of which 1 % are wanted: importParquet beside reading all of it
 * with hyparquet and with parquet-wasm. Time on the clock, medians of turns; bytes as the server counts them.
 *
 * The file is DuckDB's (zstd, row groups of 61,440, which it writes without page indexes), made once and kept in the
 * build folder. Two filters: rows that lie together, as those of a day do, and rows that are scattered over all pages.
 *
 * usage: parquet.mjs [RESULT.json]
 */
import { existsSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { benchFolder } from './lib/peer.mjs';
import { median, Report } from './lib/report.mjs';
import { loadVelta, packageFolder } from './lib/velta.mjs';

const ROWS = Number(process.env.VELTA_BENCH_ROWS || 1_000_000);
const TURNS = Number(process.env.VELTA_BENCH_TURNS || 3);
const BUDGET = 64 << 20;
const DIMENSIONS = 8;
const FILTERS = {
    'rows that lie together': {
        where: `id >= ${ROWS / 2} AND id < ${ROWS / 2 + ROWS / 100}`,
        matches: ({ id }) => id >= ROWS / 2 && id < ROWS / 2 + ROWS / 100,
    },
    'scattered rows': { where: 'category = 7', matches: ({ category }) => category === 7 },
};

const fromWasm = createRequire(new URL('../../wasm/package.json', import.meta.url));
const packageOf = (name) => import(pathToFileURL(fromWasm.resolve(name)).href);

async function makeFile() {
    const file = join(benchFolder, `rows-${ROWS}.parquet`);
    if (existsSync(file)) return file;
    mkdirSync(benchFolder, { recursive: true });
    const { DuckDBInstance } = await packageOf('@duckdb/node-api');
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const made = `${file}.${process.pid}`;
    await connection.run(`COPY (SELECT i AS id, (hash(i) % 100)::INTEGER AS category,
        'name ' || (hash(i) % 50000) AS name, (hash(i + 1) % 1000000) / 100.0::DOUBLE AS price,
        list_transform(range(${DIMENSIONS}), j -> (hash(i * 8 + j) % 1000) / 1000.0)::FLOAT[] AS embedding
        FROM range(${ROWS}) AS t(i)) TO '${made}' (FORMAT parquet, CODEC 'zstd', ROW_GROUP_SIZE 61440)`);
    connection.closeSync();
    instance.closeSync();
    renameSync(made, file);
    return file;
}

/** A server of one file that answers ranges and counts what it sends. */
async function serve(path) {
    const file = openSync(path);
    const { size } = statSync(path);
    const sent = { bytes: 0 };
    const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
        const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
        const isPart = request.headers.range !== undefined;
        const start = from === '' ? (isPart ? Math.max(0, size - Number(to)) : 0) : Number(from);
        const end = from === '' || to === '' ? size : Math.min(size, Number(to) + 1);
        const headers = { 'Content-Length': end - start, 'Accept-Ranges': 'bytes', ETag: '"rows"' };
        if (isPart) headers['Content-Range'] = `bytes ${start}-${end - 1}/${size}`;
        response.writeHead(isPart ? 206 : 200, headers);
        if (request.method === 'HEAD') return response.end();
        const body = Buffer.alloc(end - start);
        readSync(file, body, 0, body.length, start);
        sent.bytes += body.length;
        return response.end(body);
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return { url: `http://127.0.0.1:${server.address().port}/rows.parquet`, sent, size, server };
}

const path = await makeFile();
const velta = await loadVelta();
const { MemoryBudget, importParquet } = await import(pathToFileURL(join(packageFolder, 'dist/parquet.js')).href);
const hyparquet = await packageOf('hyparquet');
const { compressors } = await packageOf('hyparquet-compressors');
const parquetWasm = await packageOf('parquet-wasm');
const { readParquet } = parquetWasm.default ?? parquetWasm;
const { url, sent, size, server } = await serve(path);
const peaks = [];

/** Each gives how many rows it found. */
const ways = {
    velta: async ({ where }) => {
        const database = velta.createDatabase({ autoIndex: false });
        const budget = new MemoryBudget(BUDGET);
        const { rows } = await importParquet(url, { database, table: 'rows', where, budget });
        peaks.push(budget.memoryStats().peakBytes);
        await database.close();
        return rows;
    },
    hyparquet: async ({ matches }) => {
        const file = await hyparquet.asyncBufferFromUrl({ url });
        let rows = 0;
        const found = await hyparquet.parquetReadObjects({ file, compressors });
        for (const row of found) if (matches({ id: Number(row.id), category: row.category })) rows++;
        return rows;
    },
    /** To Arrow's bytes, which are what leaves its memory; nothing is filtered. */
    'parquet-wasm': async () => {
        const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
        if (readParquet(bytes).intoIPCStream().length === 0) throw new Error('parquet-wasm gave nothing');
        return null;
    },
};

const report = new Report(
    `in WebAssembly: 1 % of ${ROWS} rows of a Parquet file of ${(size / 1e6).toFixed(1)} MB, Node`,
);
for (const [kind, filter] of Object.entries(FILTERS)) {
    const seconds = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
    const bytes = {};
    let wanted;
    for (let turn = 0; turn < TURNS; turn++) {
        for (const [name, run] of Object.entries(ways)) {
            sent.bytes = 0;
            const start = performance.now();
            const rows = await run(filter);
            seconds[name].push((performance.now() - start) / 1000);
            bytes[name] = sent.bytes;
            wanted ??= rows;
            if (rows !== null && rows !== wanted) throw new Error(`${name} found ${rows} rows, not ${wanted}`);
        }
    }
    const rates = Object.fromEntries(Object.entries(seconds).map(([name, list]) => [name, 1 / median(list)]));
    const saved = Object.fromEntries(Object.entries(bytes).map(([name, count]) => [name, size / count]));
    const split = ({ velta: own, ...peers }) => [own, peers];
    report.compare(`imports/s, 1 % of the rows, ${kind}`, '/s', ...split(rates));
    report.compare(`size of the file over bytes sent, ${kind}`, 'x', ...split(saved));
}
report.figure('peak of the buffers, with a budget of 64 MiB', 'MB', Math.max(...peaks) / 1e6, BUDGET / 1e6);
server.close();
