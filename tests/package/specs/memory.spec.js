/*
 * Memory: nothing stays behind when databases come and go; a database that is over its budget, or refused memory by its
 * host, says so and goes on; 64 MiB are enough for ten thousand rows.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { errorOf, randomFrom } from '../support/random.js';

const { key, openWorker, required, vector } = velta;
const MIB = 1 << 20;
const SCHEMA = {
    name: key('string'),
    section: required('string'),
    size: 'int',
    embedding: vector(32),
};

function columnsOf(count, dimensions, seed, prefix = '') {
    const random = randomFrom(seed);
    return {
        name: Array.from({ length: count }, (_, i) => `${prefix}row ${String(i).padStart(6, '0')}`),
        section: Array.from({ length: count }, () => random.pick(['games', 'science', 'text'])),
        size: Int32Array.from({ length: count }, () => random.below(1000)),
        embedding: random.vector(count * dimensions),
    };
}

/** A life with everything that may hold something: results, filters, iterators, subscriptions, families, history. */
async function live(columns, query) {
    const database = velta.createDatabase({
        now: () => 1.7e12,
        autoIndex: false,
    });
    const table = database.table('packages', SCHEMA);
    const stop = table.watch(() => undefined);
    table.watch(() => undefined);
    table.insertColumns(columns);
    table.apply('row 000001', { type: 'scale', factor: 2 }, { metadata: { why: 'a test' } });
    await database.index();
    expect(table.search(query, { k: 5, where: "section = 'games'", select: ['size'] })).to.have.length(5);
    expect(table.where('size < 500').orderBy('size').limit(3).toArray()).to.have.length(3);
    table.all().groupBy('section', { n: velta.count() });
    for (let i = 0; i < 20; i++) table.where(`size = ${i}`).count();
    for (const { name } of table.iterate({ columns: ['name'] })) if (name === 'row 000010') break;
    table.iterate().nextBatch(5);
    expect(table.get('row 000002').name).to.equal('row 000002');
    expect(table.chain('row 000001')).to.have.length(2);
    database.createColumnFamily('family').write('k', 'v');
    expect(await errorOf(() => table.insert({ name: 5 }))).to.be.instanceOf(velta.VeltaError);
    expect(await errorOf(() => table.insert({ name: 'x'.repeat(400_000), section: null }))).to.be.instanceOf(
        velta.VeltaError,
    );
    expect(await errorOf(() => table.where('size = ').count())).to.be.instanceOf(velta.VeltaError);
    const copy = velta.importDatabase(database.export({ onProgress: () => true }), {
        now: () => 1.7e12,
        autoIndex: false,
    });
    expect(copy.table('packages').liveCount).to.equal(columns.name.length);
    await copy.close();
    table.delete('row 000003');
    stop();
    const { instance } = database;
    await database.close();
    return instance;
}

describe('memory that comes and goes', () => {
    before(() => velta.init());

    it('a thousand databases leave nothing behind', async () => {
        const columns = columnsOf(60, 32, 1);
        const query = randomFrom(2).vector(32);
        let instance;
        for (let round = 0; round < 50; round++) instance = await live(columns, query);
        const before = instance.memory.buffer.byteLength;
        const counts = instance.counts();
        expect(counts).to.include({
            clocks: 0,
            storages: 0,
            watchers: 0,
            progress: 0,
            apart: 0,
        });
        for (let round = 0; round < 1000; round++) await live(columns, query);
        expect(instance.memory.buffer.byteLength).to.equal(before);
        expect(instance.counts()).to.deep.equal(counts);
    }).timeout(120_000);

    it('refused openings leave nothing behind', async () => {
        const database = velta.createDatabase();
        const { instance } = database;
        const counts = instance.counts();
        const bytes = database.export();
        const before = instance.memory.buffer.byteLength;
        for (let round = 0; round < 1000; round++) {
            const damaged = bytes.slice();
            damaged[round % bytes.length] ^= 0xff;
            try {
                await velta.importDatabase(damaged, { now: () => 1 }).close();
            } catch (error) {
                expect(error.code).to.be.oneOf(['CORRUPT', 'VERSION']);
            }
            expect((await errorOf(() => velta.createDatabase({ now: () => 1, memoryBudget: 1 }))).code).to.equal(
                'OVER_BUDGET',
            );
        }
        expect(instance.counts()).to.deep.equal(counts);
        expect(instance.memory.buffer.byteLength - before).to.be.below(MIB);
        await database.close();
    }).timeout(60_000);

    it('rows that are written over and over take no more', async () => {
        const database = velta.createDatabase({ autoIndex: false });
        const table = database.table('packages', SCHEMA);
        const columns = columnsOf(500, 32, 3);
        table.insertColumns(columns);
        const cycle = () => {
            table.upsertColumns(columns);
            table.delete(columns.name);
            table.insertColumns(columns);
            database.compact();
        };
        for (let round = 0; round < 5; round++) cycle();
        const { memoryUsedBytes, wasmMemoryBytes } = database.stats();
        for (let round = 0; round < 40; round++) cycle();
        expect(database.stats().memoryUsedBytes - memoryUsedBytes).to.be.below(MIB);
        expect(database.stats().wasmMemoryBytes - wasmMemoryBytes).to.be.below(4 * MIB);
        await database.close();
    }).timeout(60_000);
});

/** Room that is given back when the rest is full: deleting and compacting need some. */
async function addBallast(database, rows) {
    const table = await database.table('ballast', {
        at: vector(256, { index: false }),
    });
    const at = new Float32Array(1000 * 256).fill(0.5);
    for (let count = 0; count < rows; count += 1000) await table.insertColumns({ at });
}

/** Inserts batches until one is refused; gives the error and how many went in. */
async function fill(table, columns) {
    for (let rounds = 0; rounds < 1000; rounds++) {
        const before = await table.liveCount;
        try {
            await table.insertColumns({
                ...columns,
                name: columns.name.map((name) => `${rounds} ${name}`),
            });
        } catch (error) {
            expect(await table.liveCount).to.equal(before);
            return { error, rounds };
        }
    }
    throw new Error('nothing was refused');
}

/** What a database that refused a batch must still do: read at once, and write when there is room again. */
async function goesOn(database, table, columns, rounds) {
    const query = columns.embedding.slice(0, 32);
    const batch = columns.name.length;
    expect(await table.liveCount).to.equal(rounds * batch);
    expect(await table.search(query, { k: 3 })).to.have.length(3);
    expect(await table.where('size < 500').count()).to.be.above(0);
    expect((await table.get('0 row 000001')).name).to.equal('0 row 000001');
    await database.dropTable('ballast');
    for (let round = 1; round < rounds; round += 2) {
        expect(await table.delete(columns.name.map((name) => `${round} ${name}`))).to.equal(batch);
    }
    await database.compact();
    await table.insertColumns({
        ...columns,
        name: columns.name.map((name) => `again ${name}`),
    });
    expect(await table.liveCount).to.equal((1 + Math.ceil(rounds / 2)) * batch);
    expect((await table.search(query, { k: 1 }))[0].distance).to.be.below(1e-3);
    await database.verify();
}

describe('memory that is refused', () => {
    it('over its budget a database says so, and goes on', async () => {
        await velta.init();
        const database = velta.createDatabase({
            memoryBudget: 32 * MIB,
            autoIndex: false,
        });
        const table = database.table('packages', SCHEMA);
        await addBallast(database, 16_000);
        const columns = columnsOf(500, 32, 4);
        const { error, rounds } = await fill(table, columns);
        expect(error).to.be.instanceOf(velta.VeltaError);
        expect(error.code, error.message).to.equal('OVER_BUDGET');
        const { memoryUsedBytes, memoryBudgetBytes } = database.stats();
        expect(memoryBudgetBytes).to.equal(32 * MIB);
        expect(memoryUsedBytes).to.be.at.most(32 * MIB);
        await goesOn(database, table, columns, rounds);
        await database.close();
    }).timeout(30_000);

    // A worker has a module, and a memory, of its own.
    for (const [maxMemory, ballast] of [
        [16 * MIB, 8000],
        [64 * MIB, 32_000],
    ]) {
        it(`a module of ${maxMemory / MIB} MiB says NO_MEMORY, and goes on`, async () => {
            const database = await openWorker('small', {
                storage: 'memory',
                autoIndex: false,
                memoryBudget: maxMemory,
                init: { maxMemory },
            });
            const table = await database.table('packages', SCHEMA);
            await addBallast(database, ballast);
            const columns = columnsOf(500, 32, 5);
            const { error, rounds } = await fill(table, columns);
            expect(error.code, error.message).to.equal('NO_MEMORY');
            expect((await database.stats()).wasmMemoryBytes).to.be.at.most(maxMemory);
            const large = await errorOf(() => table.insert({ name: 'x'.repeat(2 * maxMemory), section: 'x' }));
            expect(large.code, large.message).to.be.oneOf(['NO_MEMORY', 'LIMIT']);
            await goesOn(database, table, columns, rounds);
            await database.close();
        }).timeout(60_000);
    }

    it('most of a module can be filled', async () => {
        const maxMemory = 64 * MIB;
        const options = { storage: 'memory', memoryBudget: maxMemory, init: { maxMemory } };
        const database = await openWorker('full', options);
        const table = await database.table('rows', { v: vector(256, { index: false }) });
        const v = new Float32Array(500 * 256).fill(1);
        let error;
        while (!error) await table.insertColumns({ v }).catch((cause) => (error = cause));
        expect(error.code, error.message).to.equal('NO_MEMORY');
        expect((await database.stats()).memoryUsedBytes).to.be.above(0.85 * maxMemory);
        await database.close();
    }).timeout(60_000);

    it('64 MiB hold ten thousand rows with vectors of 256, linked, searched, changed and exported', async () => {
        const dimensions = 256;
        const database = await openWorker('phone', {
            storage: 'memory',
            autoIndex: false,
            init: { maxMemory: 64 * MIB },
        });
        const table = await database.table('packages', {
            ...SCHEMA,
            embedding: vector(dimensions),
        });
        const columns = columnsOf(10_000, dimensions, 6);
        for (let start = 0; start < 10_000; start += 1000) {
            const part = Object.fromEntries(
                Object.entries(columns).map(([name, values]) => {
                    const width = name === 'embedding' ? dimensions : 1;
                    return [name, values.slice(start * width, (start + 1000) * width)];
                }),
            );
            await table.insertColumns(part);
        }
        await database.index();
        expect((await database.stats()).indexPending).to.equal(0);
        const query = columns.embedding.slice(77 * dimensions, 78 * dimensions);
        const [hit] = await table.search(query, { k: 10 });
        expect(hit.key).to.equal('row 000077');
        for (let i = 0; i < 100; i++) {
            await table.apply(columns.name[i], {
                type: 'sparse',
                indices: Uint32Array.of(i),
                values: Float32Array.of(0.5),
            });
        }
        expect(await table.where("section = 'games'").count()).to.be.above(3000);
        const stats = await database.stats();
        expect(stats.wasmMemoryBytes).to.be.at.most(64 * MIB);
        const bytes = await database.export();
        expect(bytes.length).to.be.above(10_000 * dimensions * 2);
        await database.close();
    }).timeout(120_000);
});
