/*
 * Deltas and single vectors from JavaScript, 384 dimensions, in a stored database (files, relaxed durability:
 * the log is written, not waited for), keys of type int, every row linked; and how fast the log's compression
 * runs.
 *
 * Processor time, medians of turns that alternate. The native figures' kinds: the first delta of each row, which keeps
 * the row's earlier vector in its history, and rows that had deltas before.
 *
 * usage: deltas.mjs [RESULT.json]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, Report, timeCpu } from './lib/report.mjs';
import { graph, link, loadVelta } from './lib/velta.mjs';

const ROWS = 20_000;
const DIMENSIONS = 384;
const SPARSE = 19; // 5 %
const PART = Math.floor(DIMENSIONS / SPARSE);
const TURNS = 7;
const CALLS = 1_000;
const BATCH = 100;

let state = 1;
function random() {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
}
const floats = (count, scale = 1) => Float32Array.from({ length: count }, () => (random() - 0.5) * scale);

/** Operations made before they are timed. */
const sparse = Array.from({ length: 256 }, () => ({
    type: 'sparse',
    indices: Uint32Array.from({ length: SPARSE }, (_, i) => i * PART + Math.floor(random() * PART)),
    values: floats(SPARSE, 0.01),
}));
const dense = Array.from({ length: 256 }, () => ({ type: 'dense', vector: floats(DIMENSIONS, 0.001) }));

const report = new Report('in WebAssembly: deltas and vectors, 384-d, Node, SIMD128');
const velta = await loadVelta();
const folder = mkdtempSync(join(tmpdir(), 'velta-bench-'));
try {
    const database = await velta.open('deltas', {
        storage: 'file',
        directory: folder,
        durability: 'relaxed',
        checkpointBytes: Infinity,
        checkpointSeconds: Infinity,
        autoIndex: false,
    });
    const table = database.table('rows', { id: velta.key('int'), vector: velta.vector(DIMENSIONS, graph) });
    table.insertColumns({ id: Float64Array.from({ length: ROWS }, (_, i) => i), vector: floats(ROWS * DIMENSIONS) });
    link(database);
    database.checkpoint();
    deltas(table);
    vectors(table);
    await logRate(database, table);
    await insertRate(database);
    await database.close();
} finally {
    rmSync(folder, { recursive: true });
}

function deltas(table) {
    const kinds = { 'first delta of each row': (i) => i % ROWS, 'rows with earlier deltas': (i) => (i * 7919) % 2000 };
    for (const [note, rowOf] of Object.entries(kinds)) {
        const times = { sparse: [], dense: [], batch: [] };
        let at = 0;
        for (let turn = 0; turn <= TURNS; turn++) {
            const one = (operations) =>
                timeCpu(() => {
                    for (let i = 0; i < CALLS; i++) table.apply(rowOf(at++), operations[i & 255]);
                }) / CALLS;
            const spent = { sparse: one(sparse), dense: one(dense) };
            const batches = Array.from({ length: 5 }, () =>
                Array.from({ length: BATCH }, (_, i) => ({ key: rowOf(at++), operation: sparse[i] })),
            );
            spent.batch = timeCpu(() => batches.forEach((deltas) => table.applyAll(deltas))) / batches.length;
            if (turn) for (const name of Object.keys(times)) times[name].push(spent[name] * 1e6);
        }
        report.figure('apply, one sparse delta of 19 a call', 'us', median(times.sparse), 1.5, { note });
        report.figure('apply, one dense delta a call', 'us', median(times.dense), 2, { note });
        report.figure('apply, 100 sparse deltas a call', 'us', median(times.batch), 60, { note });
    }
}

function vectors(table) {
    const times = { copy: [], fresh: [], view: [] };
    const into = new Float32Array(DIMENSIONS);
    const count = 10_000;
    let sink = 0;
    for (let turn = 0; turn <= TURNS; turn++) {
        const each = (read) =>
            timeCpu(() => {
                for (let i = 0; i < count; i++) sink += read((i * 31) & 255);
            }) / count;
        const copy = each((key) => table.vector(key, { into })[0]);
        const fresh = each((key) => table.vector(key)[0]);
        const view = each((key) => table.withVector(key, (vector) => vector[0]));
        if (turn) {
            times.copy.push(copy * 1e6);
            times.fresh.push(fresh * 1e6);
            times.view.push(view * 1e6);
        }
    }
    if (Number.isNaN(sink)) throw new Error('a vector holds NaN');
    const note = '256 rows, in cache';
    report.figure('vector, copied into an array', 'us', median(times.copy), 0.15, { note });
    report.figure('vector, a new array', 'us', median(times.fresh), undefined, { note });
    report.figure('vector, in place', 'us', median(times.view), 0.05, { note });
}

/**
 * What the log weighs beside what the deltas are, an index and a value each and 16 bytes a delta; how fast it is
 * made.
 */
async function logRate(database, table) {
    const many = Array.from({ length: 20_000 }, (_, i) => ({ key: (i * 13) % ROWS, operation: sparse[i & 255] }));
    const rates = [];
    const before = database.log.status().bytes;
    for (let turn = 0; turn <= 3; turn++) {
        const seconds = timeCpu(() => table.applyAll(many));
        if (turn) rates.push(many.length / seconds / 1e6);
    }
    await database.flush();
    const grown = database.log.status().bytes - before;
    report.figure('sparse deltas, 20,000 a call', 'M/s', median(rates), 1, { least: true });
    report.figure('log bytes / raw, sparse deltas in batches', 'x', grown / (4 * many.length * (SPARSE * 8 + 16)), 0.5);
}

/** Inserts of 4,096 rows a call: encoding for the index, the log's compression and writing, everything. */
async function insertRate(database) {
    const rows = 4096;
    const table = database.table('inserted', { vector: velta.vector(DIMENSIONS, graph) });
    const rates = [];
    for (let turn = 0; turn <= 4; turn++) {
        const vector = floats(rows * DIMENSIONS);
        const before = database.log.status().rawBytes;
        const seconds = timeCpu(() => table.insertColumns({ vector }));
        const raw = database.log.status().rawBytes - before;
        if (turn) rates.push(raw / seconds / 1e9);
    }
    report.figure('insert, raw bytes through the log', 'GB/s', median(rates), 0.5, {
        least: true,
        note: 'whole calls; the target is that of compressing alone',
    });
}
