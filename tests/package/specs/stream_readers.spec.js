/*
 * Readers of deltas: NDJSON, records, WebSocket messages, server-sent events; cut anywhere, damaged, too fast.
 */
import { expect } from 'chai';
import {
    decodeRecords,
    DeltaStreamProcessor,
    DeltaVectorDB,
    encodeRecords,
    init,
    readEvents,
    readNdjson,
    readRecords,
    readWebSocket,
} from 'velta';
import { create, f32, offset, scale, sparse } from '../support/deltas.js';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';

const LIFE = [
    { ...create('ä', f32(1, 2)), metadata: { why: '\n' }, timestamp: 1.7e12 },
    sparse('ä', [1], [0.5], 'set'),
    scale('ä', 0.5),
    { ...offset('ä', -3), sequence: 9 },
    { key: 7, operation: { type: 'dense', vector: f32(1, 1), mode: 'add' } },
    { key: 'x', operation: { type: 'delete' } },
];
const plain = (_, value) => (ArrayBuffer.isView(value) ? [...value] : value);
const lines = (deltas) => deltas.map((delta) => `${JSON.stringify(delta, plain)}\n`).join('');
const encode = (text) => new TextEncoder().encode(text);

/** Bytes as a ReadableStream of chunks at random. */
function streamOf(bytes, random, { cut = bytes.length, error } = {}) {
    let at = 0;
    return new ReadableStream({
        pull(controller) {
            if (at >= cut) return error ? controller.error(error) : controller.close();
            const end = Math.min(cut, at + 1 + random.below(40));
            controller.enqueue(bytes.slice(at, end));
            at = end;
        },
    });
}
async function all(iterable) {
    const items = [];
    for await (const item of iterable) items.push(item);
    return items;
}
/** What came, and the error that ended it. */
async function until(iterable) {
    const items = [];
    try {
        for await (const item of iterable) items.push(item);
    } catch (error) {
        return { items, error };
    }
    return { items };
}

describe('NDJSON', () => {
    before(() => init());

    it('gives the deltas, cut into chunks anywhere', async () => {
        const random = randomFrom(1);
        const bytes = encode(`\n${lines(LIFE)}  \r\n`);
        for (let round = 0; round < 50; round++) {
            const read = await all(readNdjson(streamOf(bytes, random)));
            expect(read).to.deep.equal(LIFE);
        }
        expect(await all(readNdjson([lines(LIFE).trimEnd()]))).to.deep.equal(LIFE);
        expect(await all(readNdjson([]))).to.deep.equal([]);
        const dated = '{"key":"a","timestamp":"2026-01-02T00:00:00Z","operation":{"type":"delete"},"more":1}';
        expect((await all(readNdjson([dated])))[0]).to.deep.equal({
            key: 'a',
            timestamp: Date.UTC(2026, 0, 2),
            operation: { type: 'delete' },
        });
    });

    it('hears of an abort while an iterable is silent', async () => {
        const controller = new AbortController();
        const silent = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) };
        const reading = all(readNdjson(silent, { signal: controller.signal }));
        setTimeout(() => controller.abort(), 5);
        await rejected('CANCELLED', /signal/, reading);
    });

    it('is refused at the line that is none, behind the lines before', async () => {
        const bad = [
            ['{', /line 3 is no JSON/],
            ['5', /is no delta/],
            ['{"operation":{"type":"delete"}}', /vectorId or key/],
            ['{"key":"a"}', /no operation/],
            ['{"key":"a","operation":{"type":"remove"}}', /unknown operation/],
            ['{"key":"a","operation":{"type":"dense","vector":"1"}}', /array of numbers as vector/],
            ['{"key":"a","operation":{"type":"dense","vector":[1,null]}}', /array of numbers/],
            ['{"key":"a","operation":{"type":"sparse","indices":[-1],"values":[1]}}', /indices/],
            ['{"key":"a","operation":{"type":"delete"},"metadata":1}', /metadata/],
            ['{"key":"a","operation":{"type":"delete"},"timestamp":"soon"}', /timestamp/],
        ];
        for (const [line, message] of bad) {
            const { items, error } = await until(readNdjson([`${lines(LIFE.slice(0, 2))}${line}\n`]));
            expect(items.length).to.equal(2);
            expect([error.code, error.offset], error.message).to.deep.equal(['CORRUPT', 3]);
            expect(error.message).to.match(message);
        }
        const utf8 = await until(readNdjson([Uint8Array.of(0x7b, 0xff, 10)]));
        expect(utf8.error.message).to.match(/line 1 is not UTF-8/);
        const long = await until(readNdjson(['x'.repeat(50), 'x'.repeat(51)], { largest: 100 }));
        expect(long.error.message).to.match(/line 1 is longer than 100/);
        const cut = encode(lines(LIFE));
        expect((await until(readNdjson([cut.subarray(0, -20)]))).error.offset).to.equal(LIFE.length);
        await rejected('TYPE', /chunk/, all(readNdjson([5])));
        await rejected('TYPE', /ReadableStream/, all(readNdjson(5)));
        await rejected('INVALID', /largest/, all(readNdjson([], { largest: 0 })));
    });

    it('goes on where it died', async () => {
        const random = randomFrom(3);
        const db = new DeltaVectorDB({ dimensions: 2, autoIndex: false });
        const list = [create('a', f32(0, 0)), ...Array.from({ length: 999 }, () => offset('a', 1))];
        const bytes = encode(lines(list.map((delta, i) => ({ ...delta, sequence: i + 1 }))));
        const processor = new DeltaStreamProcessor(db, 1 << 20, { stream: 's' });
        const died = new TypeError('network error');
        let deaths = 0;
        for (;;) {
            const cut = random.chance(0.2) ? bytes.length : random.below(bytes.length);
            const error = cut < bytes.length ? died : undefined;
            const source = readNdjson(streamOf(bytes, random, { cut, error }));
            const failure = await processor.streamDeltas(source, { batchSize: 10 }).catch((thrown) => thrown);
            if (failure === 1000) break;
            expect(failure).to.equal(died);
            deaths++;
        }
        expect(deaths).to.be.above(0);
        expect(db.getVector('a')[0]).to.equal(999);
    });

    it('ends its stream when it is left, or cancelled', async () => {
        let cancelled = 0;
        const endless = () =>
            new ReadableStream({
                pull: (controller) => controller.enqueue(encode(lines(LIFE))),
                cancel: () => void cancelled++,
            });
        for await (const delta of readNdjson(endless())) {
            expect(delta).to.deep.equal(LIFE[0]);
            break;
        }
        expect(cancelled).to.equal(1);
        const controller = new AbortController();
        const silent = new ReadableStream({ cancel: () => void cancelled++ });
        const waiting = all(readNdjson(silent, { signal: controller.signal }));
        setTimeout(() => controller.abort(), 5);
        await rejected('CANCELLED', /signal/, waiting);
        expect(cancelled).to.equal(2);
    });
});

describe('records of a stream', () => {
    it('come in whole ones, cut into chunks anywhere', async () => {
        const random = randomFrom(2);
        const bytes = encodeRecords(LIFE);
        for (let round = 0; round < 50; round++) {
            const blocks = await all(readRecords(streamOf(bytes, random)));
            expect(blocks.flatMap((block) => decodeRecords(block)).length).to.equal(LIFE.length);
            expect([...blocks.flatMap((block) => [...block])]).to.deep.equal([...bytes]);
        }
    });

    it('are refused where they are damaged, behind those before', async () => {
        const bytes = encodeRecords(LIFE);
        const first = encodeRecords(LIFE.slice(0, 1)).length;
        const cut = await until(readRecords([bytes.subarray(0, -1)]));
        expect(cut.error.message).to.match(/cut off/);
        expect(decodeRecords(cut.items[0]).length).to.equal(LIFE.length - 1);
        expect(cut.error.offset).to.equal(cut.items[0].length);
        const odd = bytes.slice();
        odd[first] ^= 1;
        const damaged = await until(readRecords([odd.subarray(0, 10), odd.subarray(10)]));
        expect([damaged.error.code, damaged.error.offset]).to.deep.equal(['CORRUPT', first]);
        expect(damaged.items[0].length).to.equal(first);
        const large = await until(readRecords([bytes], { largest: 40 }));
        expect(large.error.message).to.match(/at most 40/);
    });
});

/** A socket that a test moves. */
class FakeSocket extends EventTarget {
    binaryType = 'blob';
    readyState = 1;
    closed = [];
    close(code) {
        this.closed.push(code);
        this.readyState = 3;
        setTimeout(() => this.end(code));
    }
    say(data) {
        this.dispatchEvent(Object.assign(new Event('message'), { data }));
    }
    end(code, wasClean) {
        this.readyState = 3;
        this.dispatchEvent(Object.assign(new Event('close'), { code, wasClean }));
    }
}

describe('a WebSocket', () => {
    it('gives texts and records', async () => {
        const socket = new FakeSocket();
        const read = all(readWebSocket(socket));
        expect(socket.binaryType).to.equal('arraybuffer');
        socket.say(lines(LIFE.slice(0, 2)));
        socket.say(encodeRecords(LIFE.slice(2, 4)).buffer);
        socket.say(JSON.stringify(LIFE[4], plain));
        socket.end(1000);
        const items = await read;
        expect(items.filter((item) => !(item instanceof Uint8Array))).to.deep.equal([LIFE[0], LIFE[1], LIFE[4]]);
        expect(decodeRecords(items[2]).length).to.equal(2);
    });

    it('is closed when it is faster than its reader', async () => {
        const socket = new FakeSocket();
        const reading = readWebSocket(socket, { maxWaiting: 1000 });
        const text = lines(LIFE.slice(2, 3));
        for (let i = 0; i < 20; i++) socket.say(text);
        expect(socket.closed).to.deep.equal([4009]);
        const { items, error } = await until(reading);
        expect([error.code, items.length]).to.deep.equal(['LIMIT', Math.floor(1000 / (2 * text.length))]);
    });

    it('is refused at the message that is none', async () => {
        for (const [data, message] of [
            ['{"key":1}\n', /message 2 has no operation/],
            [`${lines(LIFE.slice(0, 1))}{`, /message 2 is no JSON/],
            [encodeRecords(LIFE).slice(0, -4).buffer, /message 2 is damaged/],
            [new ArrayBuffer(8), /message 2 is damaged/],
        ]) {
            const socket = new FakeSocket();
            const reading = readWebSocket(socket);
            socket.say(lines(LIFE.slice(0, 1)));
            socket.say(data);
            const { items, error } = await until(reading);
            expect([items.length, error.code, error.offset]).to.deep.equal([1, 'CORRUPT', 2]);
            expect(error.message).to.match(message);
            expect(socket.closed).to.deep.equal([1000]);
        }
    });

    it('fails when it ends badly, is left, or cancelled', async () => {
        for (const [code, wasClean, message] of [
            [1006, undefined, /code 1006/],
            [1006, false, /was cut/],
            [1000, false, /was cut/],
            [4000, true, /code 4000/],
        ]) {
            const broken = new FakeSocket();
            const reading = readWebSocket(broken);
            broken.say(lines(LIFE));
            broken.end(code, wasClean);
            const { items, error } = await until(reading);
            expect([items.length, error.code]).to.deep.equal([LIFE.length, 'IO']);
            expect(error.message).to.match(message);
        }
        const left = new FakeSocket();
        const some = readWebSocket(left);
        left.say(lines(LIFE));
        for await (const delta of some) {
            expect(delta).to.deep.equal(LIFE[0]);
            break;
        }
        expect(left.closed).to.deep.equal([1000]);
        const controller = new AbortController();
        const socket = new FakeSocket();
        const waiting = all(readWebSocket(socket, { signal: controller.signal }));
        controller.abort();
        await rejected('CANCELLED', /signal/, waiting);
        const gone = new FakeSocket();
        gone.readyState = 3;
        await rejected('IO', /closed before/, all(readWebSocket(gone)));
        thrown('INVALID', /no option/, () => readWebSocket(new FakeSocket(), { most: 1 }));
    });

    it('is closed when it is left before its first message, or between two', async () => {
        const unread = new FakeSocket();
        await readWebSocket(unread).return();
        expect(unread.closed).to.deep.equal([1000]);
        const db = new DeltaVectorDB({ dimensions: 2, autoIndex: false });
        const processor = new DeltaStreamProcessor(db);
        const late = new FakeSocket();
        const aborted = processor.streamDeltas(readWebSocket(late), { signal: AbortSignal.abort() });
        await rejected('CANCELLED', /signal/, aborted);
        expect(late.closed).to.deep.equal([1000]);
        const quiet = new FakeSocket();
        const controller = new AbortController();
        const streaming = processor.streamDeltas(readWebSocket(quiet), { signal: controller.signal });
        setTimeout(() => controller.abort(), 5);
        await rejected('CANCELLED', /signal/, streaming);
        expect(quiet.closed).to.deep.equal([1000]);
    });

    it('may not send messages without end that say nothing', async () => {
        const socket = new FakeSocket();
        const reading = readWebSocket(socket, { maxWaiting: 1000 });
        for (let i = 0; i < 20; i++) socket.say('');
        expect(socket.closed).to.deep.equal([4009]);
        expect((await until(reading)).error.code).to.equal('LIMIT');
    });
});

/** A server of events: answers the requests one after the other, and notes what they asked. */
function eventServer(...answers) {
    const asked = [];
    const server = async (_, { headers }) => {
        asked.push(headers['Last-Event-ID']);
        const answer = answers.shift() ?? { status: 204 };
        if (answer instanceof Error) throw answer;
        const { status = 200, body = null, type = 'text/event-stream; charset=utf-8' } = answer;
        return new Response(status === 204 ? null : body, { status, headers: { 'Content-Type': type } });
    };
    return { fetch: server, asked };
}
const event = (id, delta) => `id: ${id}\ndata: ${JSON.stringify(delta, plain)}\n\n`;

describe('server-sent events', () => {
    it('have ends of lines that are cut anywhere, by nothing too', async () => {
        const data = `data: ${JSON.stringify(scale('a', 2))}`;
        const body = new ReadableStream({
            start(controller) {
                for (const text of ['id: 5\r', '', `\n${data}\r`, '\n\r\n']) controller.enqueue(encode(text));
                controller.close();
            },
        });
        const { fetch } = eventServer({ body });
        const [delta] = await all(readEvents('https://example.test/', { fetch }));
        expect(delta).to.deep.equal({ ...scale('a', 2), sequence: 5 });
    });

    it('may have ids of any characters', async () => {
        const { fetch, asked } = eventServer({ body: event('ä€', scale('a', 2)) });
        await all(readEvents('https://example.test/', { fetch }));
        const bytes = Uint8Array.from(new Headers({ id: asked[1] }).get('id'), (byte) => byte.charCodeAt(0));
        expect(new TextDecoder().decode(bytes)).to.equal('ä€');
    });

    it('are of so many lines at most', async () => {
        const { fetch } = eventServer({ body: 'data:\n'.repeat(200) });
        await rejected('CORRUPT', /longer than 100/, all(readEvents('https://example.test/', { fetch, largest: 100 })));
    });

    it('go on behind the last event when the connection ends', async () => {
        const random = randomFrom(4);
        const body = (text) => streamOf(encode(text), random);
        const { fetch, asked } = eventServer(
            {
                body: body(
                    `: hello\nretry: 1\n\n${event(5, scale('a', 2))}${event(6, offset('a', 1))}id: 7\ndata: {"ke`,
                ),
            },
            new TypeError('no network'),
            { status: 503, type: 'text/html', body: 'later' },
            { body: body(event(7, scale('a', 3)).replaceAll('\n', '\r\n')) },
            {
                body: body(
                    `data: ${JSON.stringify(scale('a', 1))}\rdata: ${JSON.stringify(scale('b', 1))}\r\rid: x\n\n`,
                ),
            },
        );
        const read = await all(readEvents('/events', { fetch, lastEventId: 4 }));
        expect(asked).to.deep.equal(['4', '6', '6', '6', '7', 'x']);
        expect(read).to.deep.equal([
            { ...scale('a', 2), sequence: 5 },
            { ...offset('a', 1), sequence: 6 },
            { ...scale('a', 3), sequence: 7 },
            scale('a', 1),
            scale('b', 1),
        ]);
    });

    it('keep what the connection brought before it broke', async () => {
        const random = randomFrom(6);
        const text = encode(event(1, scale('a', 2)) + event(2, scale('a', 2)));
        const broken = streamOf(text, random, { cut: text.length - 3, error: new TypeError('broken') });
        const { fetch, asked } = eventServer({ body: broken }, { body: event(2, scale('a', 2)) });
        expect((await all(readEvents('/events', { fetch }))).map(({ sequence }) => sequence)).to.deep.equal([1, 2]);
        expect(asked).to.deep.equal([undefined, '1', '2']);
    });

    it('fail where another attempt cannot help, or too many did not', async () => {
        const one = eventServer({ status: 404, type: 'text/html' });
        await rejected('IO', /answered 404/, all(readEvents('/events', { fetch: one.fetch })));
        expect(one.asked.length).to.equal(1);
        const html = eventServer({ type: 'text/html', body: '<p>' });
        await rejected('IO', /not with events/, all(readEvents('/events', { fetch: html.fetch })));
        const down = () => new TypeError('down');
        const many = eventServer(down(), down(), down());
        await rejected('IO', /cannot be reached/, all(readEvents('/events', { fetch: many.fetch, attempts: 2 })));
        expect(many.asked.length).to.equal(2);
        const empty = eventServer({ body: '' }, { body: '' });
        await rejected('IO', /end again and again/, all(readEvents('/events', { fetch: empty.fetch, attempts: 2 })));
        const bad = eventServer({ body: `${event(1, scale('a', 1))}data: {}\n\n` });
        const { items, error } = await until(readEvents('/events', { fetch: bad.fetch }));
        expect([items.length, error.code, error.offset]).to.deep.equal([1, 'CORRUPT', 2]);
        const long = eventServer({ body: `data: ${'x'.repeat(200)}\n\n` });
        await rejected('CORRUPT', /longer than 100/, all(readEvents('/events', { fetch: long.fetch, largest: 100 })));
        await rejected('INVALID', /event id/, all(readEvents('/events', { lastEventId: 'a\nb' })));
        await rejected('INVALID', /no option/, all(readEvents('/events', { id: 1 })));
    });

    it('end when they are cancelled', async () => {
        const controller = new AbortController();
        const { fetch } = eventServer({ body: new ReadableStream({}) });
        const waiting = all(readEvents('/events', { fetch, signal: controller.signal }));
        setTimeout(() => controller.abort(), 5);
        await rejected('CANCELLED', /signal/, waiting);
    });
});
