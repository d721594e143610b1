/*
 * Every method that the contract names for delta streams and for analytics over ranges is there and is called, once at
 * least, by the lives below, in one program: lines that come over the network into a database in a worker and through
 * a pool, and a Parquet file into rows, a bitmap of them and a search. contract.spec.js has the other lists.
 */
import { expect } from 'chai';
import * as core from 'velta';
import * as parquet from 'velta/parquet';
import { watchCalls } from '../support/calls.js';
import { create, f32, offset } from '../support/deltas.js';
import { origin, temporaryName } from '../support/harness.js';
import { COLUMNS, DIMENSIONS, ROWS } from '../support/parquet_rows.js';

const velta = { ...core, ...parquet };
const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');

const CONTRACT = {
    SharedDeltaPool: {
        statics: ['from'],
        methods: [
            ...['writeDelta', 'write', 'writeRecords', 'waitForRoom', 'flush', 'drain', 'sync', 'discard', 'end'],
            ...['otherEnd', 'getBufferPtr', 'getBufferLen', 'capacity', 'shared', 'buffer', 'written', 'applied'],
            ...['acknowledged', 'ended', 'close', dispose],
        ],
    },
    DeltaStreamProcessor: { methods: ['streamDeltas', 'getVectorView', 'position', 'acknowledged'] },
    RangeClient: { methods: ['probe', 'read', 'readTail', 'size', 'stats', 'release'] },
    StreamingParquetReader: {
        methods: ['readMetadata', 'readColumn', 'readRowGroup', 'selectByIndices', 'matchingRows', 'stats', 'release'],
    },
    LateMaterializationExecutor: { methods: ['filterIndices', 'selectivity', 'memoryStats', 'release'] },
    MemoryBudget: { methods: ['tryAllocate', 'allocate', 'memoryStats'] },
};
const FUNCTIONS = [
    ...['encodeRecords', 'decodeRecords', 'readNdjson', 'readRecords', 'readWebSocket', 'readEvents'],
    ...['openSnapshot', 'openShared', 'importParquet', 'detectCapabilities'],
];
/** What a class's own methods are besides: for the package itself. */
const INTERNAL = {
    SharedDeltaPool: ['writeNumbered', 'take'],
    StreamingParquetReader: ['load', 'filterGroups', 'readChunks'],
};

const labels = Object.entries(CONTRACT).flatMap(([type, { statics = [], methods }]) => [
    ...statics.map((name) => [`${type}.${name}`, velta[type], name]),
    ...methods.map((name) => [`${type}#${String(name)}`, velta[type]?.prototype, name]),
]);

async function put(bytes) {
    const url = `${origin}/ranges/put-contract-${Math.random()}`;
    expect((await fetch(url, { method: 'PUT', body: bytes })).status).to.equal(204);
    return url;
}

async function streamLife() {
    const line = (delta) => JSON.stringify(delta, (_, value) => (ArrayBuffer.isView(value) ? [...value] : value));
    const lines = [create('a', f32(1, 0)), offset('a', 1)].map((delta) => `${line(delta)}\n`).join('');
    const url = await put(lines);
    const remote = await velta.openDeltaVectorWorker(temporaryName(), { storage: 'memory', dimensions: 2 });
    const far = new velta.DeltaStreamProcessor(remote, 1 << 16, { stream: 's' });
    expect(await far.streamDeltas(velta.readNdjson((await fetch(url)).body))).to.equal(2);
    expect([await far.position(), far.acknowledged]).to.deep.equal([2, 2]);
    expect([...(await remote.getVector('a'))]).to.deep.equal([2, 1]);
    await remote.close();

    const db = new velta.DeltaVectorDB({ dimensions: 2, autoIndex: false });
    const near = new velta.DeltaStreamProcessor(db);
    const records = velta.encodeRecords([create('a', f32(1, 0)), offset('a', 1)]);
    expect(velta.decodeRecords(records)).to.have.length(2);
    expect(await near.streamDeltas(velta.readRecords((await fetch(await put(records))).body))).to.equal(2);
    expect([...near.getVectorView('a')]).to.deep.equal([2, 1]);

    const pool = new velta.SharedDeltaPool(4096, { shared: false });
    expect([pool.capacity, pool.shared, pool.buffer.byteLength >= 4096]).to.deep.equal([4096, false, true]);
    expect([pool.writeDelta(offset('a', 1)), await pool.write(offset('x', 1))]).to.deep.equal([1, 2]);
    expect(pool.getBufferPtr() + pool.getBufferLen()).to.be.at.most(pool.buffer.byteLength);
    expect(pool.writeRecords(velta.encodeRecords([offset('a', 1)], { first: 3 }))).to.be.above(0);
    await pool.waitForRoom(100);
    expect(() => pool.flush(db, { batchSize: 1 })).to.throw(velta.VeltaError);
    expect(pool.discard()).to.equal(1);
    expect([pool.flush(db), pool.written, pool.applied]).to.deep.equal([1, 3, 3]);
    await pool.sync(db);
    expect(pool.acknowledged).to.equal(3);
    const { end, transfer } = pool.otherEnd();
    expect(transfer).to.have.length(1);
    const taker = velta.SharedDeltaPool.from(end);
    const drained = taker.drain(db);
    await pool.write(offset('a', 1));
    pool.end();
    expect([await drained, taker.ended, [...db.getVector('a')]]).to.deep.equal([1, true, [5, 4]]);
    taker.close();
    pool[dispose]();
    await db.close();
}

async function rangeLife() {
    const url = `${origin}/ranges/arrow-zstd?id=${Math.random()}`;
    const budget = new velta.MemoryBudget(64 << 20);
    const client = new velta.RangeClient(url, { budget });
    expect((await client.probe()).acceptsRanges).to.equal(true);
    expect((await client.readTail(4)).bytes).to.deep.equal(new TextEncoder().encode('PAR1'));
    expect(await client.read(0, 4)).to.deep.equal(new TextEncoder().encode('PAR1'));
    expect([client.stats().bytesFetched, client.size > 10_000]).to.deep.equal([9, true]);

    const reader = new velta.StreamingParquetReader(client, { budget });
    expect((await reader.readMetadata()).rows).to.equal(ROWS);
    expect((await reader.readRowGroup(0, { columns: ['id'] })).id[0]).to.equal(COLUMNS.id[1](0));
    expect(await reader.matchingRows('small = 7')).to.have.length(ROWS / 100);
    const executor = new velta.LateMaterializationExecutor(budget);
    const rows = executor.filterIndices(await reader.readColumn('small'), (value) => value === 7n);
    expect([executor.selectivity, executor.memoryStats().usedBytes]).to.deep.equal([0.01, rows.byteLength]);
    expect((await reader.selectByIndices(['text'], rows)).text[1]).to.equal(COLUMNS.text[1](107));
    expect(reader.stats().requests).to.be.above(3);
    executor.release();
    reader.release(); // nothing: the client is not its own
    client.release();
    budget.allocate(10, 'a buffer').release();
    budget.tryAllocate(10).release();
    expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });

    // From the file to a filter, a bitmap of local rows and a search, with what it cost.
    const database = velta.createDatabase({ autoIndex: false });
    const embedding = velta.vector(DIMENSIONS);
    const table = database.table('rows', { id: velta.key('int'), small: 'int', embedding });
    const where = 'small BETWEEN 7 AND 8';
    const told = await velta.importParquet(url, { table, where, budget });
    expect([told.rows, told.selectivity]).to.deep.equal([ROWS / 50, 0.02]);
    expect(told.bytesFetched).to.be.within(1, told.fileBytes + 65_536);
    const [nearest] = table.where('small = 7').search(COLUMNS.embedding[1](107), { k: 1 });
    expect(nearest.distance).to.be.below(1e-6);
    const copy = await velta.openSnapshot(await put(database.export()));
    expect((await copy.graphsReady).dropped).to.equal(0);
    expect(copy.table('rows').liveCount).to.equal(ROWS / 50);
    await copy.close();
    await database.close();
    expect((await velta.detectCapabilities()).simd128).to.equal(true);
}

describe('the contract of streams and ranges', () => {
    let calls;
    before(async () => {
        calls = watchCalls(labels);
        await velta.init();
    });
    after(() => calls.restore());

    it('names nothing that is missing', () => {
        const missing = labels.filter(([, owner, name]) => !owner || !(name in owner));
        expect(missing.map(([label]) => label)).to.deep.equal([]);
        for (const name of FUNCTIONS) expect(velta[name], name).to.be.a('function');
    });

    it('misses nothing that is there', () => {
        for (const [type, { methods }] of Object.entries(CONTRACT)) {
            const known = new Set(['constructor', ...methods, ...(INTERNAL[type] ?? [])]);
            const others = Reflect.ownKeys(velta[type].prototype).filter((name) => !known.has(name));
            expect(others, type).to.deep.equal([]);
        }
    });

    it('lives: streams', streamLife);
    it('lives: ranges', rangeLife).timeout(60_000);

    it('left no method uncalled', () => {
        expect(labels.map(([label]) => label).filter((label) => !calls.called.has(label))).to.deep.equal([]);
    });
});
