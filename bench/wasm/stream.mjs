/*
 * Streams of sparse deltas (5 % of 384 dimensions) into a logged store, in Node in one thread: records made ahead,
 * deltas through a pool, and batches of applyAll beside them.
 *
 * 20,000 linked rows, keys of type int, relaxed durability. The clock on the wall, from the first delta until all are
 * durable; medians of turns that alternate.
 *
 * usage: stream.mjs [RESULT.json]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, Report } from './lib/report.mjs';
import { link, loadVelta } from './lib/velta.mjs';

const ROWS = Number(process.env.VELTA_BENCH_ROWS || 20_000);
const DELTAS = 200_000;
const TURNS = 5;
const BATCH = 4096;

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
                    try {
                        pool.writeDelta(delta);
                    } catch (error) {
                        if (error.code !== 'BUSY') throw error;
                        pool.flush(table, { batchSize: BATCH });
                        pool.writeDelta(delta);
                    }
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

const report = new Report('in WebAssembly: streams of deltas, 384-d, 19 values each');
await inNode(report);
