/*
 * DeltaStreamProcessor: any iterable of deltas into a database of this thread or of a worker.
 */
import { expect } from 'chai';
import {
    createDatabase,
    DeltaStreamProcessor,
    DeltaVectorDB,
    encodeRecords,
    init,
    key,
    open,
    openDeltaVectorWorker,
    openWorker,
    vector,
} from 'velta';
import { create, f32, offset } from '../support/deltas.js';
import { isNode, only } from '../support/harness.js';
import { rejected, thrown } from '../support/thrown.js';
import { place } from '../support/workers.js';

const zeros = () => f32(0, 0, 0, 0);
const deltas = (count) => [create('a', zeros()), ...Array.from({ length: count - 1 }, () => offset('a', 1))];
async function* slowly(items, failure) {
    for (const item of items) {
        await null;
        yield item;
    }
    if (failure) throw failure;
}
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const stored = isNode ? 'file' : 'indexeddb';

/** Every kind of target, with how its vector is read. */
const TARGETS = {
    'a DeltaVectorDB': () => {
        const db = new DeltaVectorDB({ dimensions: 4, autoIndex: false });
        return { db, read: () => db.getVector('a'), close: () => db.close() };
    },
    'a Table': () => {
        const database = createDatabase({ autoIndex: false });
        const db = database.table('t', { id: key('string'), v: vector(4) });
        return { db, read: () => db.vector('a'), close: () => database.close() };
    },
    'a DeltaVectorDB in a worker': async () => {
        const [name, options] = await place({ storage: stored, dimensions: 4 });
        const db = await openDeltaVectorWorker(name, options);
        return { db, read: () => db.getVector('a'), close: () => db.close() };
    },
    'a Table in a worker': async () => {
        const [name, options] = await place({ storage: stored, durability: 'relaxed' });
        const database = await openWorker(name, options);
        const db = await database.table('t', { id: key('string'), v: vector(4) });
        return { db, read: () => db.vector('a'), close: () => database.close() };
    },
};

for (const [what, make] of Object.entries(TARGETS)) {
    describe(`streams into ${what}`, () => {
        let target;
        before(() => init());
        beforeEach(async () => (target = await make()));
        afterEach(() => target.close());

        it('all of a source, batch by batch', async () => {
            const processor = new DeltaStreamProcessor(target.db);
            const counts = [];
            const count = await processor.streamDeltas(slowly(deltas(1050)), { onProgress: (n) => counts.push(n) });
            expect(count).to.equal(1050);
            expect(counts.at(-1)).to.equal(1050);
            expect(counts.every((n, i) => n - (counts[i - 1] ?? 0) <= 100)).to.equal(true);
            expect(await target.read()).to.deep.equal(f32(1049, 1049, 1049, 1049));
            expect(processor.acknowledged).to.equal(1050);
        });

        it('arrays, records, and both in one', async () => {
            const processor = new DeltaStreamProcessor(target.db, 4096);
            expect(await processor.streamDeltas(deltas(500), { batchSize: 30 })).to.equal(500);
            const blocks = [
                encodeRecords(Array.from({ length: 300 }, () => offset('a', 1))),
                { ...offset('a', 1), sequence: 400 },
                offset('a', 1),
                encodeRecords([offset('a', 1), offset('a', 1)], { first: 402 }),
            ];
            expect(await processor.streamDeltas(slowly(blocks))).to.equal(304);
            expect(await processor.streamDeltas([])).to.equal(0);
            expect((await target.read())[0]).to.equal(499 + 304);
        });

        it('never twice, when the stream has a name', async () => {
            const processor = new DeltaStreamProcessor(target.db, 1 << 16, { stream: 'numbers' });
            expect(await processor.position()).to.equal(0);
            const failure = new Error('the source died');
            const error = await processor.streamDeltas(slowly(deltas(250), failure)).catch((thrown) => thrown);
            expect(error).to.equal(failure);
            expect(await processor.position()).to.equal(250);
            expect((await target.read())[0]).to.equal(249);
            // From its start, and from behind the position.
            expect(await processor.streamDeltas(slowly(deltas(400)))).to.equal(400);
            const rest = Array.from({ length: 100 }, () => offset('a', 1));
            const first = (await processor.position()) + 1;
            expect(await processor.streamDeltas(rest, { first })).to.equal(100);
            expect(await processor.position()).to.equal(500);
            expect((await target.read())[0]).to.equal(499);
        });

        it('until a delta is refused', async () => {
            const processor = new DeltaStreamProcessor(target.db);
            const list = deltas(500);
            list[333] = offset('x', 1);
            const error = await rejected('NOT_FOUND', /'x' is not there/, processor.streamDeltas(slowly(list)));
            expect(error.offset).to.equal(333);
            expect((await target.read())[0]).to.equal(299);
            list[333] = { vectorId: 'a', operation: { type: 'scale', factor: 'x' } };
            list[0] = offset('a', 0);
            const early = await rejected('TYPE', /factor/, processor.streamDeltas(list));
            expect(early.offset).to.equal(333);
            expect((await target.read())[0]).to.equal(299 + 332);
        });

        it('without keeping a delta waiting when the source pauses', async () => {
            const processor = new DeltaStreamProcessor(target.db);
            let go;
            const gate = new Promise((done) => (go = done));
            async function* source() {
                yield* deltas(3);
                await gate;
                yield offset('a', 1);
            }
            const counts = [];
            const done = processor.streamDeltas(source(), { maxDelay: 10, onProgress: (n) => counts.push(n) });
            const started = Date.now();
            while (counts.length === 0 && Date.now() - started < 5000) await later(5);
            expect(counts).to.deep.equal([3]);
            expect((await target.read())[0]).to.equal(2);
            await rejected('BUSY', /once at a time/, processor.streamDeltas([]));
            go();
            expect(await done).to.equal(4);
        });

        it('until it is cancelled', async () => {
            const processor = new DeltaStreamProcessor(target.db);
            const controller = new AbortController();
            let isClosed = false;
            async function* endless() {
                try {
                    yield* deltas(100);
                    for (;;) {
                        await later(1);
                        yield offset('a', 1);
                    }
                } finally {
                    isClosed = true;
                }
            }
            const streaming = processor.streamDeltas(endless(), {
                signal: controller.signal,
                onProgress: () => controller.abort(),
            });
            await rejected('CANCELLED', /signal/, streaming);
            await later(20);
            expect(isClosed).to.equal(true);
            expect((await target.read())[0]).to.be.at.least(99);
            const { signal } = controller;
            await rejected('CANCELLED', /signal/, processor.streamDeltas([], { signal }));
            const forever = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) };
            const second = new AbortController();
            const stuck = processor.streamDeltas(forever, { signal: second.signal });
            second.abort();
            await rejected('CANCELLED', /signal/, stuck);
        });
    });
}

describe('a DeltaStreamProcessor', () => {
    before(() => init());

    it('shows vectors where they are', async () => {
        const { db } = TARGETS['a DeltaVectorDB']();
        const processor = new DeltaStreamProcessor(db);
        await processor.streamDeltas(deltas(3));
        expect(processor.getVectorView('a')).to.deep.equal(f32(2, 2, 2, 2));
        expect(processor.getVectorView('a').buffer).to.equal(db.getMemory().buffer);
        expect(processor.getVectorView('x')).to.equal(null);
        const { db: table } = TARGETS['a Table']();
        const ofTable = new DeltaStreamProcessor(table, 4096, { column: 'v' });
        await ofTable.streamDeltas(deltas(2));
        expect(ofTable.getVectorView('a')[0]).to.equal(1);
        const remote = await TARGETS['a DeltaVectorDB in a worker']();
        thrown('UNSUPPORTED', /worker/, () => new DeltaStreamProcessor(remote.db).getVectorView('a'));
        await remote.close();
    });

    it('acknowledges what a relaxed store has made durable', async () => {
        const [name, options] = await place({ storage: stored, durability: 'relaxed' });
        const database = await open(name, options);
        const table = database.table('t', { id: key('string'), v: vector(4) });
        const processor = new DeltaStreamProcessor(table, 4096, { stream: 's' });
        expect(await processor.streamDeltas(deltas(300))).to.equal(300);
        expect(processor.acknowledged).to.equal(300);
        await database.close();
        const again = await open(name, options);
        expect(again.table('t').streamPosition('s')).to.equal(300);
        expect(again.table('t').vector('a')[0]).to.equal(299);
        await again.close();
    });

    it('hears of an abort also from a source that never waits', async () => {
        const { db } = TARGETS['a DeltaVectorDB']();
        db.applyDelta(create('a', zeros()));
        const processor = new DeltaStreamProcessor(db);
        const until = Date.now() + 5000;
        async function* endless() {
            while (Date.now() < until) yield offset('a', 1);
        }
        await rejected('CANCELLED', /signal/, processor.streamDeltas(endless(), { signal: AbortSignal.timeout(30) }));
        expect(Date.now()).to.be.below(until);
        const controller = new AbortController();
        let left = 5000;
        const next = () => Promise.resolve({ done: left-- === 0, value: offset('a', 1) });
        const ready = { [Symbol.asyncIterator]: () => ({ next }) };
        const options = { signal: controller.signal, onProgress: () => controller.abort() };
        await rejected('CANCELLED', /signal/, processor.streamDeltas(ready, options));
        expect(left).to.be.above(4000);
    });

    const node = only('node', 'garbage is collected on demand in Node');
    node.it('keeps no delta that was applied', async () => {
        const { setFlagsFromString } = await import('node:v8');
        const { runInNewContext } = await import('node:vm');
        setFlagsFromString('--expose-gc');
        const collect = runInNewContext('gc');
        const { db } = TARGETS['a DeltaVectorDB']();
        let kept = 0;
        async function* source() {
            const seen = [];
            for (const delta of deltas(300)) {
                const own = { ...delta };
                seen.push(new WeakRef(own));
                yield own;
            }
            await later(20);
            collect();
            kept = seen.filter((delta) => delta.deref() !== undefined).length;
        }
        const { signal } = new AbortController();
        await new DeltaStreamProcessor(db).streamDeltas(source(), { signal });
        expect(kept).to.be.below(10);
    });

    it('goes on with its numbers behind a block of no records', async () => {
        const { db } = TARGETS['a DeltaVectorDB']();
        const processor = new DeltaStreamProcessor(db, 4096, { stream: 's' });
        await processor.streamDeltas(deltas(3));
        await processor.streamDeltas([new Uint8Array(0), offset('a', 1)], { first: 4 });
        expect([await processor.position(), db.getVector('a')[0]]).to.deep.equal([4, 3]);
    });

    it('refuses what it cannot use', async () => {
        const { db } = TARGETS['a DeltaVectorDB']();
        thrown('TYPE', /DeltaVectorDB or a Table/, () => new DeltaStreamProcessor({}));
        thrown('TYPE', /DeltaVectorDB or a Table/, () => new DeltaStreamProcessor(null));
        thrown('INVALID', /capacity/, () => new DeltaStreamProcessor(db, -1));
        thrown('INVALID', /no option/, () => new DeltaStreamProcessor(db, 4096, { name: 'x' }));
        const processor = new DeltaStreamProcessor(db);
        await rejected('INVALID', /has a name/, processor.position());
        for (const source of [{}, null, undefined, 'abc', 5]) {
            await rejected('TYPE', /iterable/, processor.streamDeltas(source));
        }
        await rejected('INVALID', /batchSize/, processor.streamDeltas([], { batchSize: 0 }));
        await rejected('INVALID', /maxDelay/, processor.streamDeltas([], { maxDelay: -1 }));
        await rejected('INVALID', /first|sequence/, processor.streamDeltas([], { first: 0 }));
        await rejected('INVALID', /no option/, processor.streamDeltas([], { size: 1 }));
        await rejected('INVALID', /expected a delta/, processor.streamDeltas([5]));
        await rejected('CORRUPT', /cut off/, processor.streamDeltas([new Uint8Array(8)]));
    });
});
