/*
 * Streams that die for real: the connection is cut, the thread that applies is ended, the worker with the store is.
 * They go on behind the last sequence number acknowledged, or behind the store's position; nothing is lost, nothing
 * applied twice.
 */
import { expect } from 'chai';
import {
    DeltaStreamProcessor,
    DeltaVectorDB,
    SharedDeltaPool,
    encodeRecords,
    init,
    openDeltaVectorWorker,
    readEvents,
    readNdjson,
    readRecords,
    readWebSocket,
} from 'velta';
import { create, f32, offset } from '../support/deltas.js';
import { isNode, only, origin, streamOrigin } from '../support/harness.js';
import { poolThread } from '../support/pool_thread.js';
import { errorOf, randomFrom } from '../support/random.js';
import { rejected } from '../support/thrown.js';
import { place, startWorker } from '../support/workers.js';

const COUNT = 3000;
const STREAM = 's';
const DELTAS = Array.from({ length: COUNT }, (_, i) => ({
    ...(i === 0 ? create('a', f32(0, 0)) : offset('a', 1)),
    sequence: i + 1,
}));
const stored = isNode ? 'file' : 'indexeddb';
const later = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** A delta as JSON. */
function textOf(delta) {
    return JSON.stringify(delta, (_, value) => (ArrayBuffer.isView(value) ? [...value] : value));
}

/** The stream as lines and as records: how one delta is written, and how all are read. */
const FORMS = {
    NDJSON: {
        write: (delta) => new TextEncoder().encode(`${textOf(delta)}\n`),
        read: readNdjson,
    },
    records: { write: (delta) => encodeRecords([delta]), read: readRecords },
};

/** Puts the stream on the server: its address, and where each delta begins. */
async function serve(write) {
    const parts = DELTAS.map(write);
    const begins = [0];
    for (const part of parts) begins.push(begins.at(-1) + part.length);
    const url = `${origin}/ranges/put-stream-${Math.random()}`;
    expect((await fetch(url, { method: 'PUT', body: new Blob(parts) })).status).to.equal(204);
    return { url, begins };
}

describe('streams that die', function () {
    this.timeout(120_000);
    before(() => init());

    for (const [form, { write, read }] of Object.entries(FORMS)) {
        it(`${form}: a connection that is cut, again and again`, async () => {
            const random = randomFrom(form.length);
            const { url, begins } = await serve(write);
            const [name, options] = await place({ storage: stored, dimensions: 2 });
            const db = await DeltaVectorDB.open(name, { ...options, autoIndex: false });
            const processor = new DeltaStreamProcessor(db, 1 << 16, { stream: STREAM });
            let deaths = 0;
            for (let count = 0; count < COUNT;) {
                const behind = processor.acknowledged;
                expect(await processor.position()).to.be.at.least(behind);
                const cut = 20_000 + random.below(60_000);
                const body = async function* () {
                    const headers = { Range: `bytes=${begins[behind]}-` };
                    const response = await fetch(`${url}?id=${Math.random()}&cut=${cut}`, { headers });
                    yield* read(response.body);
                };
                const died = await processor.streamDeltas(body(), { batchSize: 64 }).then(
                    () => null,
                    (error) => error,
                );
                count = await processor.position();
                expect(count === COUNT, String(died)).to.equal(died === null);
                deaths += died !== null;
                if (deaths > 100) throw died;
                if (begins[COUNT] - begins[count] < 20_000) break;
            }
            expect(deaths).to.be.above(1);
            const rest = DELTAS.slice(await processor.position());
            await processor.streamDeltas(rest);
            expect([await processor.position(), db.getVector('a')[0]]).to.deep.equal([COUNT, COUNT - 1]);
            await db.close();
        });
    }

    /** Puts messages on the server of streams; gives their address there. */
    async function putMessages(kind, messages) {
        const id = String(Math.random());
        const url = `${streamOrigin}/messages?id=${id}`;
        expect((await fetch(url, { method: 'PUT', body: JSON.stringify(messages) })).status).to.equal(204);
        return `${streamOrigin.replace('http', kind === 'socket' ? 'ws' : 'http')}/${kind}?id=${id}`;
    }

    it('server-sent events whose connection is cut', async () => {
        const url = await putMessages(
            'events',
            DELTAS.map(({ sequence: _, ...delta }) => textOf(delta)),
        );
        const db = new DeltaVectorDB({ dimensions: 2, autoIndex: false });
        const processor = new DeltaStreamProcessor(db, 1 << 16, { stream: STREAM });
        const stop = new AbortController();
        const half = readEvents(`${url}&die=400`, { signal: stop.signal });
        const onProgress = (count) => count >= 1500 && stop.abort();
        const error = await errorOf(() => processor.streamDeltas(half, { onProgress, maxDelay: 5 }));
        expect(error.code).to.equal('CANCELLED');
        const position = await processor.position();
        expect(position).to.be.within(1500, COUNT - 1);
        expect(db.getVector('a')[0]).to.equal(position - 1);
        // Behind the position the server has the rest; from the start, what was applied is passed over.
        const rest = readEvents(`${url}&die=400`, { lastEventId: position });
        expect(await processor.streamDeltas(rest)).to.equal(COUNT - position);
        expect(await processor.streamDeltas(readEvents(url))).to.equal(COUNT);
        expect([await processor.position(), db.getVector('a')[0]]).to.deep.equal([COUNT, COUNT - 1]);
    });

    const sound = ['node24', 'chromium', 'firefox'];
    const reason = 'Node 20 has no WebSocket';
    for (const form of ['texts', 'records']) {
        only(sound, reason).it(`a WebSocket of ${form} that is cut`, async () => {
            const block = (i) => DELTAS.slice(i * 10, i * 10 + 10);
            const base64 = (deltas) => btoa(String.fromCharCode(...encodeRecords(deltas)));
            const texts = (deltas) => deltas.map(textOf).join('\n');
            const write = form === 'texts' ? texts : (deltas) => ({ base64: base64(deltas) });
            const url = await putMessages(
                'socket',
                Array.from({ length: COUNT / 10 }, (_, i) => write(block(i))),
            );
            const db = new DeltaVectorDB({ dimensions: 2, autoIndex: false });
            const processor = new DeltaStreamProcessor(db, 1 << 16, { stream: STREAM });
            let deaths = 0;
            for (;;) {
                const after = Math.floor(processor.acknowledged / 10);
                const socket = new WebSocket(`${url}&after=${after}&die=130`);
                const died = await processor.streamDeltas(readWebSocket(socket)).then(
                    () => null,
                    (error) => error,
                );
                expect(db.getVector('a')[0]).to.equal((await processor.position()) - 1);
                if (died === null) break;
                expect(died.code, String(died)).to.equal('IO');
                deaths++;
                expect(await processor.position()).to.equal(deaths * 1300); // all that came before it died
            }
            expect([deaths, await processor.position()]).to.deep.equal([2, COUNT]);
            const refused = new WebSocket(url.replace(/:\d+/, ':1'));
            await rejected('IO', /socket/, processor.streamDeltas(readWebSocket(refused)));
        });
    }

    only(sound, reason).it('a WebSocket whose server is gone as soon as it has closed: all of it, or IO', async () => {
        const url = `${await putMessages('socket', DELTAS.slice(0, 50).map(textOf))}&hasty`;
        for (let round = 0; round < 30; round++) {
            const db = new DeltaVectorDB({ dimensions: 2, autoIndex: false });
            const processor = new DeltaStreamProcessor(db, 1 << 16, { stream: STREAM });
            const died = await processor.streamDeltas(readWebSocket(new WebSocket(url))).then(
                () => null,
                (error) => error,
            );
            if (died) expect(died.code, String(died)).to.equal('IO');
            else expect(await processor.position()).to.equal(50);
        }
    });

    it('a worker that is ended in the middle', async () => {
        const [name, options] = await place({ storage: stored });
        let acknowledged = 0;
        let deaths = 0;
        for (let isOver = false; !isOver;) {
            const worker = await startWorker();
            const db = await openDeltaVectorWorker(name, { ...options, dimensions: 2, worker, lockTimeout: 10_000 });
            const processor = new DeltaStreamProcessor(db, 1 << 16, { stream: STREAM });
            expect(await processor.position()).to.be.at.least(acknowledged);
            const rest = DELTAS.slice(acknowledged);
            let told = 0;
            const streaming = processor.streamDeltas(rest, {
                batchSize: 20,
                onProgress: (count) => {
                    told = count;
                    if (count >= 600 && acknowledged < 2000) void worker.terminate();
                },
            });
            const error = await streaming.then(
                () => null,
                (reason) => reason,
            );
            if (error === null) {
                expect([await processor.position(), processor.acknowledged]).to.deep.equal([COUNT, COUNT]);
                expect((await db.getVector('a'))[0]).to.equal(COUNT - 1);
                isOver = true;
            } else {
                expect(error.code, String(error)).to.equal('WORKER');
                expect(told).to.be.at.least(600);
                deaths++;
                // A strict store has what it has answered for.
                expect(processor.acknowledged).to.be.at.least(acknowledged + 500);
                ({ acknowledged } = processor);
            }
            await db.close();
            if (!isNode) worker.terminate();
            else await worker.terminate();
        }
        expect(deaths).to.be.above(1);
    });

    for (const shared of isNode ? [true, false] : [false]) {
        it(`a thread that takes, ended in the middle: ${shared ? 'shared memory' : 'messages'}`, async () => {
            const [name, options] = await place({ storage: stored, dimensions: 2, lockTimeout: 10_000 });
            let acknowledged = 0;
            let deaths = 0;
            for (;;) {
                const thread = await poolThread();
                const pool = new SharedDeltaPool(4096, { shared });
                const { end, transfer } = pool.otherEnd();
                const given = { end, store: [name, options], dimensions: 2, batchSize: 10 };
                const answer = thread.ask('consume', given, transfer);
                const stop = new AbortController();
                const isLast = acknowledged > 1000;
                let ended;
                const isEnded = new Promise((done) => (ended = done));
                const write = async () => {
                    for (const delta of DELTAS.slice(acknowledged)) {
                        await pool.write(delta, { signal: stop.signal });
                        if (!isLast && pool.acknowledged > acknowledged + 400) ended(await thread.end());
                    }
                    pool.end();
                };
                const writing = write().then(
                    () => null,
                    (error) => error,
                );
                if (isLast) {
                    expect(await writing).to.equal(null);
                    const { position, states } = await answer;
                    expect([position, states[0][0]]).to.deep.equal([COUNT, COUNT - 1]);
                    await thread.end();
                    break;
                }
                await isEnded;
                await later(300); // nobody takes any more: the pool is full, and writing waits
                stop.abort();
                expect((await writing).code).to.equal('CANCELLED');
                expect(pool.acknowledged).to.be.above(acknowledged + 400);
                acknowledged = pool.acknowledged;
                deaths++;
                pool.close();
            }
            expect(deaths).to.be.above(1);
        });
    }
});
