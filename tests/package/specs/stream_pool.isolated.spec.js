/*
 * SharedDeltaPool over shared memory: two threads at once, either of them writing.
 */
import { expect } from 'chai';
import { DeltaVectorDB, init, SharedDeltaPool } from 'velta';
import { create, f32, offset } from '../support/deltas.js';
import { isNode } from '../support/harness.js';
import { poolThread } from '../support/pool_thread.js';
import { rejected, thrown } from '../support/thrown.js';

describe('a pool in shared memory', () => {
    before(() => init());

    it('brings all to the other thread, waiting while it is full', async () => {
        const thread = await poolThread();
        const pool = new SharedDeltaPool(4096);
        expect(pool.shared).to.equal(true);
        const { end, transfer } = pool.otherEnd();
        const given = { end, dimensions: 4, vectors: 3, batchSize: 50, pause: 100 };
        const answer = thread.ask('consume', given, transfer);
        for (let i = 0; i < 20_000; i++) await pool.write(offset(`v${i % 3}`, 1));
        pool.end();
        const { count, states, position, shared } = await answer;
        expect({ count, position, shared }).to.deep.equal({ count: 20_000, position: 20_000, shared: true });
        expect(states.map(([value]) => value)).to.deep.equal([6667, 6667, 6666]);
        expect(pool.acknowledged).to.equal(20_000);
        await thread.end();
    }).timeout(60_000);

    it('takes what a blocking thread writes', async () => {
        const thread = await poolThread();
        const db = new DeltaVectorDB({ dimensions: 2, autoIndex: false });
        for (const id of ['v0', 'v1']) db.applyDelta(create(id, f32(0, 0)));
        const pool = new SharedDeltaPool(4096);
        const answer = thread.ask('produce', { ...pool.otherEnd(), count: 20_000, vectors: 2 });
        expect(await pool.drain(db)).to.equal(20_000);
        expect((await answer).written).to.equal(20_000);
        expect([db.getVector('v0')[0], db.getVector('v1')[0]]).to.deep.equal([10_000, 10_000]);
        await thread.end();
    }).timeout(60_000);

    it('ends for the producer when the consumer goes', async () => {
        const thread = await poolThread();
        const pool = new SharedDeltaPool(4096);
        await thread.ask('stop', pool.otherEnd());
        thrown('CLOSED', /takes no more/, () => pool.writeDelta(offset('a', 1)));
        await rejected('CLOSED', /takes no more/, pool.write(offset('a', 1)));
        await thread.end();
    });

    it('blocks only where a thread may', () => {
        const pool = new SharedDeltaPool(4096);
        while (pool.getBufferLen() < 4080) pool.writeDelta(offset('a', 1));
        const code = isNode ? 'BUSY' : 'UNSUPPORTED';
        thrown(code, undefined, () => pool.writeDelta(offset('a', 1), { wait: 30 }));
        thrown('INVALID', /memory of a pool/, () => {
            SharedDeltaPool.from({ velta: 'pool', memory: new SharedArrayBuffer(8192) });
        });
    });
});
