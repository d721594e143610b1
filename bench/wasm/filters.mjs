/*
 * Filters over 10 M rows through the package's API, beside the speed at which WebAssembly reads memory, plain loops
 * over typed arrays, and duckdb-wasm (its blocking build for Node, in the same process). Everything alternates; medians
 * of the time of the processor.
 *
 * usage: filters.mjs [RESULT.json [ROWS]]
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import binaryen from '../../wasm/node_modules/binaryen/index.js';
import { interleave, Report, timeCpu } from './lib/report.mjs';
import { loadVelta } from './lib/velta.mjs';

const ROWS = Number(process.argv[3] ?? 10_000_000);
const ROUNDS = 9;
const BATCH = 500_000;
const SECTIONS = 58;

const report = new Report(`in WebAssembly: filters over ${ROWS} rows, Node, SIMD128`);

/** A value for every row, the same in every run. */
function mixed(row) {
    let x = Math.imul(row ^ 0x9e3779b9, 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return (x ^ (x >>> 16)) >>> 0;
}

const size = Int32Array.from({ length: ROWS }, (_, row) => mixed(row) & 0xfffff);
const section = Uint8Array.from({ length: ROWS }, (_, row) => mixed(row + ROWS) % SECTIONS);
const names = Array.from({ length: SECTIONS }, (_, i) => `section${i}`);

/** A module that reads `bytes` (a multiple of 128) of its memory from 0 and gives their sum. */
async function reader(bytes) {
    const loads = Array.from(
        { length: 8 },
        (_, i) => `(local.set $s${i} (i64x2.add (local.get $s${i}) (v128.load offset=${16 * i} (local.get $at))))`,
    );
    const sums = Array.from({ length: 8 }, (_, i) => `(local $s${i} v128)`).join(' ');
    const all = Array.from({ length: 8 }, (_, i) => `(local.get $s${i})`).reduce((a, b) => `(i64x2.add ${a} ${b})`);
    const text = `(module (import "env" "memory" (memory 1 65536))
        (func (export "read") (param $end i32) (result i64) (local $at i32) ${sums}
            (loop $next ${loads.join('\n')}
                (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 128))) (local.get $end))))
            (i64x2.extract_lane 0 ${all})))`;
    const module = binaryen.parseText(text);
    module.setFeatures(binaryen.Features.SIMD128);
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536), maximum: 65536 });
    new Uint8Array(memory.buffer).fill(1);
    const { instance } = await WebAssembly.instantiate(module.emitBinary(), { env: { memory } });
    module.dispose();
    return () => instance.exports.read(bytes);
}

async function duckdb() {
    const require = createRequire(import.meta.url);
    const library = require('@duckdb/duckdb-wasm/dist/duckdb-node-blocking.cjs');
    const folder = dirname(require.resolve('@duckdb/duckdb-wasm/dist/duckdb-node-blocking.cjs'));
    const bundle = (kind) => ({ mainModule: join(folder, `duckdb-${kind}.wasm`), mainWorker: '' });
    const bundles = { mvp: bundle('mvp'), eh: bundle('eh') };
    const database = await library.createDuckDB(bundles, new library.VoidLogger(), library.NODE_RUNTIME);
    await database.instantiate();
    const connection = database.connect();
    connection.query(`CREATE TABLE rows AS SELECT i::INTEGER AS row, (hash(i) % 1048576)::INTEGER AS size,
        'section' || (hash(i + ${ROWS}) % ${SECTIONS}) AS section FROM range(${ROWS}) AS r(i)`);
    return (text) => connection.query(text);
}

function fill(velta) {
    const database = velta.createDatabase();
    const table = database.table('rows', { size: 'int', section: 'string' });
    for (let first = 0; first < ROWS; first += BATCH) {
        const end = Math.min(first + BATCH, ROWS);
        table.insertColumns({
            size: Float64Array.from(size.subarray(first, end)),
            section: Array.from(section.subarray(first, end), (code) => names[code]),
        });
    }
    return { database, table };
}

/* The fastest forms of these loops that were found: without a branch where half of the rows go either way. */
const plain = {
    between(low, high) {
        let count = 0;
        for (let row = 0; row < size.length; row++) count += (~(size[row] - low) & ~(high - size[row])) >>> 31;
        return count;
    },
    rowsBelow(limit) {
        const rows = new Uint32Array(ROWS);
        let count = 0;
        for (let row = 0; row < ROWS; row++) if (size[row] < limit) rows[count++] = row;
        return rows.slice(0, count);
    },
    equal(code) {
        let count = 0;
        for (let row = 0; row < ROWS; row++) if (section[row] === code) count++;
        return count;
    },
};

const velta = await loadVelta();
const { database, table } = fill(velta);
const query = await duckdb();
const readInts = await reader(Math.floor((ROWS * 4) / 128) * 128);
const readCodes = await reader(Math.floor(ROWS / 128) * 128);

const cases = [
    {
        what: 'count between',
        velta: () => table.where('size BETWEEN 100000 AND 300000').count(),
        plain: () => plain.between(100000, 300000),
        duckdb: () => query('SELECT count(*) FROM rows WHERE size BETWEEN 100000 AND 300000'),
        read: readInts,
        share: 0.9,
    },
    {
        what: 'row numbers at 1 %',
        velta: () => table.where('size < 10486').rows().length,
        plain: () => plain.rowsBelow(10486).length,
        duckdb: () => query('SELECT row FROM rows WHERE size < 10486'),
        read: readInts,
        least: 4000,
    },
    {
        what: 'count of a string',
        velta: () => table.where("section = 'section7'").count(),
        plain: () => plain.equal(7),
        duckdb: () => query("SELECT count(*) FROM rows WHERE section = 'section7'"),
        read: readCodes,
    },
];
for (const { what, share, least, ...sides } of cases) {
    if (sides.velta() !== sides.plain()) throw new Error(`${what}: velta and the loop disagree`);
    const timed = Object.fromEntries(Object.entries(sides).map(([name, run]) => [name, () => timeCpu(run)]));
    const seconds = interleave(ROUNDS, timed);
    const rate = (name) => ROWS / seconds[name] / 1e6;
    report.compare(what, 'M rows/s', rate('velta'), { 'duckdb-wasm': rate('duckdb'), JavaScript: rate('plain') });
    const targets = share ? { reading: share } : {};
    report.compare(what, 'M rows/s', rate('velta'), { reading: rate('read') }, targets);
    if (least) report.figure(what, 'M rows/s', rate('velta'), least, { least: true });
}
await database.close();
