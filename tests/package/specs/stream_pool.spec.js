/*
 * SharedDeltaPool: in one thread, and between threads by messages, which works everywhere. Over shared memory:
 * stream_pool.isolated.spec.js.
 */
import { expect } from 'chai';
import { DeltaVectorDB, encodeRecords, init, key, open, openDeltaVectorWorker, SharedDeltaPool, vector } from 'velta';
import { create, f32, offset, scale } from '../support/deltas.js';
import { isNode, only } from '../support/harness.js';
import { poolThread } from '../support/pool_thread.js';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';
import { place } from '../support/workers.js';

const vectors = (...ids) => {
    const db = new DeltaVectorDB({ dimensions: 4, autoIndex: false });
    for (const id of ids) db.applyDelta(create(id, f32(0, 0, 0, 0)));
    return db;
};
const RECORD = 48; // bytes of a record of 'offset' with a short key

describe('a pool in one thread', () => {
    before(() => init());

    it('keeps deltas until they are applied', () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool();
        expect(pool.capacity).to.equal(1 << 20);
        expect(pool.getBufferLen()).to.equal(0);
        expect(pool.writeDelta(offset('a', 1))).to.equal(1);
        expect(pool.writeDelta({ ...offset('a', 2), sequence: 10 })).to.equal(10);
        expect(pool.writeDelta(offset('a', 3))).to.equal(11);
        expect(pool.getBufferLen()).to.equal(3 * RECORD);
        const lies = new Uint8Array(pool.buffer, pool.getBufferPtr(), pool.getBufferLen());
        expect([...lies]).to.deep.equal([
            ...encodeRecords([offset('a', 1), { ...offset('a', 2), sequence: 10 }, offset('a', 3)]),
        ]);
        expect([pool.written, pool.applied, pool.acknowledged]).to.deep.equal([11, 0, 0]);
        expect(pool.flush(db)).to.equal(3);
        expect([pool.written, pool.applied, pool.acknowledged]).to.deep.equal([11, 11, 11]);
        expect(db.getVector('a')).to.deep.equal(f32(6, 6, 6, 6));
        expect(pool.flush(db)).to.equal(0);
        pool.close();
        thrown('CLOSED', /closed/, () => pool.writeDelta(offset('a', 1)));
        thrown('CLOSED', /closed/, () => pool.flush(db));
    });

    for (const shared of [false, undefined]) {
        it(`goes round and round${shared === false ? ', in memory of its own' : ''}`, () => {
            const random = randomFrom(9);
            const ids = ['a', 'bb', 'a longer name than the others have', 'ü'];
            const [db, model] = [vectors(...ids), vectors(...ids)];
            const pool = new SharedDeltaPool(4096, shared === false ? { shared } : {});
            let written = 0;
            let flushed = 0;
            for (let round = 0; round < 4000; round++) {
                const delta = random.chance(0.5)
                    ? offset(random.pick(ids), random.below(9) - 4)
                    : { ...offset(random.pick(ids), 1), metadata: { text: 'x'.repeat(random.below(1500)) } };
                try {
                    pool.writeDelta(delta);
                    model.applyDelta(delta);
                    written++;
                } catch (error) {
                    expect(error.code, error.message).to.equal('BUSY');
                    expect(pool.getBufferLen()).to.be.above(0);
                    flushed += pool.flush(db, { batchSize: 1 + random.below(9) });
                }
                if (random.chance(0.05)) flushed += pool.flush(db);
            }
            flushed += pool.flush(db);
            expect(flushed).to.equal(written);
            expect(written).to.be.above(2000);
            for (const id of ids) expect(db.getVector(id)).to.deep.equal(model.getVector(id));
        });
    }

    it('is full, and says so', async () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool(1000, { shared: false });
        expect(pool.capacity).to.equal(4096);
        for (let i = 0; i < Math.floor(4096 / RECORD); i++) pool.writeDelta(offset('a', 1));
        thrown('BUSY', /full/, () => pool.writeDelta(offset('a', 1)));
        thrown('UNSUPPORTED', /shared memory/, () => pool.writeDelta(offset('a', 1), { wait: 5 }));
        thrown('INVALID', /wait/, () => pool.writeDelta(offset('a', 1), { wait: -1 }));
        const big = { ...offset('a', 1), metadata: { text: 'x'.repeat(2100) } };
        thrown('LIMIT', /up to 2048/, () => pool.writeDelta(big));
        const controller = new AbortController();
        const cancelled = pool.write(offset('a', 1), { signal: controller.signal });
        const written = pool.write(offset('a', 1));
        controller.abort();
        await rejected('CANCELLED', /signal/, cancelled);
        setTimeout(() => pool.flush(db), 5);
        expect(await written).to.equal(86);
        expect(pool.flush(db)).to.equal(1);
        await pool.waitForRoom(2048);
        await rejected('LIMIT', /2048/, pool.waitForRoom(2049));
        expect(db.getVector('a')[0]).to.equal(86);
    });

    it('is written to in the order of the calls, also where these wait', async () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool(4096, { shared: false });
        for (let i = 0; i < 84; i++) pool.writeDelta(offset('a', 1));
        const big = { ...offset('a', 1), metadata: { text: 'x'.repeat(100) } };
        const controller = new AbortController();
        const { signal } = controller;
        const writing = [pool.write(big), pool.write(offset('a', 1), { signal }), pool.write(offset('a', 1))];
        controller.abort();
        await rejected('CANCELLED', /signal/, writing[1]);
        pool.flush(db);
        expect(await Promise.all([writing[0], writing[2]])).to.deep.equal([85, 86]);
        // Both were called when there was room for one.
        pool.flush(db);
        for (let i = 0; i < 84; i++) pool.writeDelta(offset('a', 1));
        const two = [pool.write(offset('a', 1)), pool.write(offset('a', 1))];
        expect(await two[0]).to.equal(171);
        pool.flush(db);
        expect(await two[1]).to.equal(172);
        const waiting = [1, 2, 3].map(() => pool.waitForRoom(2048).then(() => pool.flush(db)));
        await Promise.all(waiting);
        expect(db.getVector('a')[0]).to.equal(172);
    });

    it('has no number behind the last', () => {
        const pool = new SharedDeltaPool(4096, { shared: false });
        const last = Number.MAX_SAFE_INTEGER;
        expect(pool.writeDelta({ ...offset('a', 1), sequence: last })).to.equal(last);
        thrown('INVALID', /no sequence number/, () => pool.writeDelta(offset('a', 1)));
        expect(pool.flush(vectors('a'))).to.equal(1);
    });

    it('keeps a batch that is refused, whole', () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool();
        for (const id of ['a', 'a', 'a', 'x', 'a']) pool.writeDelta(offset(id, 1));
        const error = thrown('NOT_FOUND', /record 4/, () => pool.flush(db, { batchSize: 2 }));
        expect(error.offset).to.equal(3);
        expect([pool.applied, db.getVector('a')[0]]).to.deep.equal([2, 2]);
        thrown('NOT_FOUND', /record 4/, () => pool.flush(db));
        expect(db.getVector('a')[0]).to.equal(2);
    });

    it('passes over what cannot be applied', () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool();
        for (const id of ['x', 'a', 'x']) pool.writeDelta(offset(id, 1));
        thrown('NOT_FOUND', /record 1/, () => pool.flush(db));
        expect(pool.discard()).to.equal(1);
        expect(thrown('NOT_FOUND', /record 3/, () => pool.flush(db, { batchSize: 1 })).offset).to.equal(1);
        expect(pool.discard(5)).to.equal(1);
        expect(pool.flush(db)).to.equal(0);
        expect(db.getVector('a')[0]).to.equal(1);
    });

    it('takes records', () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool(4096);
        const records = encodeRecords(Array.from({ length: 200 }, () => offset('a', 1)));
        let at = 0;
        while (at < records.length) {
            at += pool.writeRecords(records.subarray(at));
            pool.flush(db);
        }
        expect(db.getVector('a')[0]).to.equal(200);
        expect(thrown('CORRUPT', /does not follow 200/, () => pool.writeRecords(records)).offset).to.equal(0);
        const more = encodeRecords([offset('a', 1), offset('a', 1)], { first: 300 });
        expect(thrown('CORRUPT', /cut off/, () => pool.writeRecords(more.subarray(0, -8))).offset).to.equal(RECORD);
        expect(pool.getBufferLen()).to.equal(0);
        thrown('TYPE', /Uint8Array/, () => pool.writeRecords([]));
    });

    it('ends', async () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool();
        const counts = [];
        pool.writeDelta(offset('a', 1));
        const drained = pool.drain(db, { onProgress: (count) => counts.push(count) });
        await pool.write(offset('a', 1));
        pool.end();
        thrown('CLOSED', /ended/, () => pool.writeDelta(offset('a', 1)));
        expect(await drained).to.equal(2);
        expect(counts.at(-1)).to.equal(2);
        const controller = new AbortController();
        const waiting = new SharedDeltaPool().drain(db, { signal: controller.signal });
        controller.abort();
        await rejected('CANCELLED', /signal/, waiting);
    });

    it('acknowledges what a relaxed store has made durable, and no more', async () => {
        const [name, options] = await place({ storage: isNode ? 'file' : 'indexeddb', durability: 'relaxed' });
        const database = await open(name, options);
        const table = database.table('t', { id: key('string'), v: vector(4) });
        const pool = new SharedDeltaPool();
        pool.writeDelta(create('a', f32(0, 0, 0, 0)));
        pool.writeDelta(offset('a', 1));
        expect(pool.flush(table)).to.equal(2);
        expect([pool.applied, pool.acknowledged]).to.deep.equal([2, 0]);
        await pool.sync(table);
        expect(pool.acknowledged).to.equal(2);
        await database.close();
    });

    it('goes into a database in a worker', async () => {
        const db = await openDeltaVectorWorker('pool', { storage: 'memory', dimensions: 4 });
        const pool = new SharedDeltaPool();
        thrown('INVALID', /drain/, () => pool.flush(db));
        pool.writeDelta(create('a', f32(0, 0, 0, 0)));
        for (let i = 0; i < 99; i++) pool.writeDelta(offset('a', 1));
        pool.end();
        expect(await pool.drain(db, { batchSize: 7 })).to.equal(100);
        expect(pool.acknowledged).to.equal(100);
        expect(await db.getVector('a')).to.deep.equal(f32(99, 99, 99, 99));
        await db.close();
    });

    it('refuses what is no pool', () => {
        thrown('INVALID', /capacity/, () => new SharedDeltaPool(0));
        thrown('INVALID', /capacity/, () => new SharedDeltaPool(2 ** 31));
        thrown('INVALID', /no option/, () => new SharedDeltaPool(4096, { size: 1 }));
        thrown('INVALID', /otherEnd/, () => SharedDeltaPool.from({}));
        thrown('INVALID', /otherEnd/, () => SharedDeltaPool.from(null));
        thrown('TYPE', /DeltaVectorDB or a Table/, () => new SharedDeltaPool().flush({}));
        const pool = new SharedDeltaPool(4096);
        pool.writeDelta(scale('a', 2));
        thrown('INVALID', /batchSize/, () => pool.flush(vectors('a'), { batchSize: 0 }));
        new Uint8Array(pool.buffer, pool.getBufferPtr(), 1)[0] = 3;
        thrown('CORRUPT', /length/, () => pool.flush(vectors('a')));
        new Int32Array(pool.buffer)[2] = 5;
        thrown('CORRUPT', /someone else/, () => pool.flush(vectors('a')));
    });
});

describe('a pool between threads, by messages', () => {
    before(() => init());

    it('brings all to the other thread, waiting while it is full', async () => {
        const thread = await poolThread();
        const pool = new SharedDeltaPool(8192, { shared: false });
        pool.writeDelta(offset('v0', 1)); // what is in it already goes, too
        const { end, transfer } = pool.otherEnd();
        thrown('INVALID', /already/, () => pool.otherEnd());
        const answer = thread.ask('consume', { end, dimensions: 4, vectors: 3, batchSize: 50 }, transfer);
        for (let i = 1; i < 5000; i++) await pool.write(offset(`v${i % 3}`, 1));
        pool.end();
        const { count, states, position, shared, acknowledged } = await answer;
        expect({ count, position, shared, acknowledged }).to.deep.equal({
            ...{ count: 5000, position: 5000, shared: false, acknowledged: 5000 },
        });
        expect(states.map(([value]) => value)).to.deep.equal([1667, 1667, 1666]);
        while (pool.acknowledged < 5000) await new Promise((done) => setTimeout(done, 5));
        pool.close();
        await thread.end();
    });

    it('takes what another thread writes', async () => {
        const thread = await poolThread();
        const db = vectors('v0', 'v1');
        const pool = new SharedDeltaPool(4096, { shared: false });
        const { end, transfer } = pool.otherEnd();
        const answer = thread.ask('produce', { end, count: 5000, vectors: 2 }, transfer);
        expect(await pool.drain(db, { batchSize: 50, stream: 's' })).to.equal(5000);
        expect((await answer).written).to.equal(5000);
        expect([db.getVector('v0')[0], db.getVector('v1')[0]]).to.deep.equal([2500, 2500]);
        expect([pool.acknowledged, db.streamPosition('s')]).to.deep.equal([5000, 5000]);
        await thread.end();
    });

    only(['chromium', 'firefox'], 'Node shares memory').it('is what a page has that is not isolated', () => {
        expect(new SharedDeltaPool().shared).to.equal(false);
        thrown('UNSUPPORTED', /cross-origin isolated/, () => new SharedDeltaPool(4096, { shared: true }));
    });

    it('ends for the producer when the consumer goes', async () => {
        const thread = await poolThread();
        const pool = new SharedDeltaPool(4096, { shared: false });
        const { end, transfer } = pool.otherEnd();
        await thread.ask('stop', { end }, transfer);
        const write = async () => {
            for (let i = 0; i < 1000; i++) await pool.write(offset('a', 1));
        };
        await rejected('CLOSED', /takes no more|ended/, write());
        await thread.end();
    });

    it('gives the consumer what was written before the end', async () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool(4096, { shared: false });
        const draining = SharedDeltaPool.from(pool.otherEnd().end).drain(db);
        const written = pool.write(offset('a', 1));
        pool.end();
        expect([await written, await draining, db.getVector('a')[0]]).to.deep.equal([1, 1, 1]);
    });

    it('is looked at by the producer without taking anything', async () => {
        const db = vectors('a');
        const pool = new SharedDeltaPool(4096, { shared: false });
        const consumer = SharedDeltaPool.from(pool.otherEnd().end);
        const draining = consumer.drain(db);
        for (let i = 0; i < Math.floor(4096 / RECORD); i++) pool.writeDelta(offset('a', 1));
        while (pool.applied < Math.floor(4096 / RECORD)) await new Promise((done) => setTimeout(done, 5));
        pool.writeDelta(offset('a', 1)); // the ring begins anew
        expect(pool.getBufferLen()).to.equal(RECORD);
        expect(pool.getBufferPtr()).to.equal(64);
        pool.end();
        expect(await draining).to.equal(Math.floor(4096 / RECORD) + 1);
        await new Promise((done) => setTimeout(done, 30));
        expect(consumer.flush(db)).to.equal(0);
        pool.close();
        consumer.close();
    });

    it('does not trust the other end', async () => {
        const messages = [{}, { kind: 'taken', tail: 99, applied: 0, acknowledged: 0 }, { kind: 'written', bytes: 5 }];
        messages.push({ kind: 'written', bytes: new Uint8Array(5), wrap: 0, written: 1, ended: false });
        messages.push({ kind: 'written', bytes: new Uint8Array(8192), wrap: 0, written: 1, ended: false });
        messages.push({ kind: 'taken', tail: 0.5, applied: 0, acknowledged: 0 });
        for (const message of messages) {
            const pool = new SharedDeltaPool(4096, { shared: false });
            const { end } = pool.otherEnd();
            end.port.postMessage(message);
            await new Promise((done) => setTimeout(done, 30));
            thrown('CORRUPT', /other end/, () => pool.flush(vectors('a')));
            pool.close();
            end.port.close();
        }
    });
});
