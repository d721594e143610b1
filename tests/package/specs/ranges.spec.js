/*
 * RangeClient against servers as they are: sound ones, and those that ignore ranges, cut connections, refuse, change
 * the file midway, send other parts than were asked for, or say nothing. Each gives the right bytes or a coded error,
 * and the server's own record says how often it was asked.
 */
import { expect } from 'chai';
import { MemoryBudget, RangeClient, detectCapabilities } from 'velta/parquet';
import { only, origin } from '../support/harness.js';
import { errorOf } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';

const SIZE = 10_000;
const byteAt = (i) => (i * 7 + (i >> 8)) & 255;
const expected = (start, end) => Uint8Array.from({ length: end - start }, (_, i) => byteAt(start + i));
const runId = () => Math.random().toString(36).slice(2);
const dateIn = (ms) => new Date(Date.now() + ms).toUTCString();

/** What a sound server answers; `body` instead of the bytes. */
function ok(start, end, body = expected(start, end)) {
    return new Response(body, { status: 206, headers: { 'Content-Range': `bytes ${start}-${end - 1}/${SIZE}` } });
}

/** Half of the first 100 bytes, and then nothing more. */
function half(signal) {
    return new ReadableStream({
        start(controller) {
            controller.enqueue(expected(0, 50));
            signal.addEventListener('abort', () => controller.error(signal.reason));
        },
    });
}

function client(query = '', options = {}, name = `bytes-${SIZE}`) {
    const id = runId();
    const made = new RangeClient(`${origin}/ranges/${name}?id=${id}&${query}`, options);
    const log = async () => (await fetch(`${origin}/ranges/log?id=${id}`)).json();
    return { client: made, log };
}

describe('RangeClient', () => {
    it('reads ranges, the tail and nothing', async () => {
        const { client: file, log } = client();
        expect(file.size).to.equal(null);
        expect(await file.read(10, 300)).to.deep.equal(expected(10, 300));
        expect(file.size).to.equal(SIZE);
        const tail = await file.readTail(100);
        expect([tail.start, tail.size]).to.deep.equal([SIZE - 100, SIZE]);
        expect(tail.bytes).to.deep.equal(expected(SIZE - 100, SIZE));
        expect((await file.readTail(SIZE * 2)).bytes).to.deep.equal(expected(0, SIZE));
        expect(await file.read(5, 5)).to.deep.equal(new Uint8Array(0));
        const { requests } = await log();
        expect(requests.map(({ range }) => range)).to.deep.equal(['bytes=10-299', 'bytes=9900-9999', 'bytes=0-9999']);
        expect(requests[0].ifRange).to.equal(null);
        expect(requests[1].ifRange).to.match(/^"[0-9a-f]{16}"$/);
        expect(file.stats()).to.deep.equal({ requests: 3, retries: 0, bytesFetched: 290 + 100 + SIZE });
    });

    it('finds the end of a file of unknown size in one request', async () => {
        const { client: file, log } = client();
        const tail = await file.readTail(64);
        expect([tail.start, tail.size, tail.bytes.length]).to.deep.equal([SIZE - 64, SIZE, 64]);
        expect((await log()).requests).to.have.length(1);
        const { client: empty } = client('', {}, 'bytes-0');
        expect(await empty.readTail(64)).to.deep.equal({ bytes: new Uint8Array(0), start: 0, size: 0 });
    });

    it('probes by the first byte and by HEAD', async () => {
        for (const method of ['range', 'HEAD']) {
            const { client: file } = client();
            const { etag, lastModified, ...probe } = await file.probe(method);
            expect(probe).to.deep.equal({ size: SIZE, acceptsRanges: true });
            expect(etag).to.match(/^"/);
            expect(new Date(lastModified).getTime()).to.be.above(0);
            const { client: whole } = client('ignore');
            expect((await whole.probe(method)).acceptsRanges).to.equal(false);
            expect(whole.stats().bytesFetched).to.equal(0);
        }
        await rejected('INVALID', /HEAD/, client().client.probe('GET'));
    });

    it('probes an empty file, by its first byte too', async () => {
        for (const method of ['range', 'HEAD']) {
            const probe = await client('', {}, 'bytes-0').client.probe(method);
            expect([probe.size, probe.acceptsRanges]).to.deep.equal([0, true]);
        }
    });

    it('a packed answer to HEAD says nothing of the file', async () => {
        const send = async (_, { method }) => {
            const packed = { 'Content-Encoding': 'gzip', ETag: 'W/"a"' };
            if (method === 'HEAD') return new Response(null, { headers: packed });
            const headers = { 'Content-Range': `bytes 0-9/${SIZE}`, ETag: '"a"' };
            return new Response(expected(0, 10), { status: 206, headers });
        };
        const file = new RangeClient(`${origin}/file`, { fetch: send });
        expect(await file.probe('HEAD')).to.include({ size: null, etag: null });
        expect(await file.read(0, 10)).to.deep.equal(expected(0, 10));
    });

    it('refuses what is no range, no address, no option', async () => {
        const { client: file } = client();
        for (const [start, end] of [
            [-1, 5],
            [5, 4],
            [0.5, 3],
            [NaN, 3],
            ['0', 3],
            [0, 2 ** 60],
        ]) {
            await rejected('INVALID', /range/, file.read(start, end));
        }
        await rejected('INVALID', /readTail/, file.readTail(0));
        await file.read(0, 1);
        await rejected('LIMIT', /beyond the end/, file.read(0, SIZE + 1));
        for (const url of ['', 'ftp://host/x', 'nonsense:x', 7]) {
            // In a page a relative address is one.
            if (url === '' || url === 7) continue;
            thrown('INVALID', /address/, () => new RangeClient(url));
        }
        thrown('INVALID', /no option/, () => new RangeClient(origin, { retries: 3 }));
        thrown('INVALID', /maxParallel/, () => new RangeClient(origin, { maxParallel: 0 }));
    });

    it('tells a range beyond the end of a file of unknown size', async () => {
        await rejected('LIMIT', /beyond/, client().client.read(SIZE, SIZE + 10));
        await rejected('LIMIT', /beyond/, client().client.read(SIZE - 5, SIZE + 10));
    });
});

describe('servers that fail', () => {
    for (const status of [429, 500, 502, 503, 504]) {
        it(`${status} three times is asked again, four times is an error`, async () => {
            const { client: file, log } = client(`status=${status}&times=3`);
            const begin = Date.now();
            expect(await file.read(0, 50)).to.deep.equal(expected(0, 50));
            expect(Date.now() - begin).to.be.at.least(690); // 100 + 200 + 400, clocks are coarse
            expect((await log()).requests).to.have.length(4);
            expect(file.stats().retries).to.equal(3);
            const { client: dead, log: asked } = client(`status=${status}&times=9`);
            await rejected('IO', new RegExp(`answered ${status}, 4 times`), dead.read(0, 50));
            expect((await asked()).requests).to.have.length(4);
        });
    }

    it('400, 401, 403, 404, 410 are not asked again', async () => {
        for (const status of [400, 401, 403, 404, 410]) {
            const { client: file, log } = client(`status=${status}&times=9`);
            await rejected(status === 404 || status === 410 ? 'NOT_FOUND' : 'IO', undefined, file.read(0, 50));
            expect((await log()).requests).to.have.length(1);
        }
        await rejected('NOT_FOUND', /404/, client('', {}, 'absent').client.read(0, 5));
    });

    it('Retry-After is waited for, within bounds', async () => {
        const { client: file } = client('status=429&after=1');
        const begin = Date.now();
        expect(await file.read(3, 5)).to.deep.equal(expected(3, 5));
        expect(Date.now() - begin).to.be.at.least(990);
        const { client: busy, log } = client('status=503&after=3600');
        await rejected('IO', /wait 3600 s/, busy.read(3, 5));
        expect((await log()).requests).to.have.length(1);
    });

    it('Retry-After may be a date', async () => {
        const { client: file, log } = client('times=1&status=429&after=' + encodeURIComponent(dateIn(2000)));
        const begin = Date.now();
        expect(await file.read(3, 5)).to.deep.equal(expected(3, 5));
        expect(Date.now() - begin).to.be.at.least(900); // a date has whole seconds
        expect((await log()).requests).to.have.length(2);
        const { client: busy } = client('status=503&after=' + encodeURIComponent(dateIn(3_600_000)));
        await rejected('IO', /wait 3(600|599) s/, busy.read(3, 5));
    });

    it('416 for a range that is there is no end of the file', async () => {
        await rejected('LIMIT', /byte 50 .*server/, client('status=416').client.read(0, 50));
        await rejected('IO', /416/, client('status=416').client.readTail(50));
        const answers = [ok(0, 10), new Response(null, { status: 416 })];
        const { client: file } = client('', { fetch: async () => answers.shift() });
        await file.read(0, 10);
        await rejected('IO', /416/, file.read(10, 20));
        expect(answers).to.deep.equal([]);
    });

    it('a body that stops is given up after the timeout, and asked for again', async () => {
        const asked = [];
        const stopping = async (_, { signal }) => {
            asked.push(signal);
            return asked.length < 3 ? ok(0, 100, half(signal)) : ok(0, 100);
        };
        const { client: file } = client('', { fetch: stopping, timeoutMs: 50 });
        expect(await file.read(0, 100)).to.deep.equal(expected(0, 100));
        expect(file.stats()).to.deep.equal({ requests: 3, retries: 2, bytesFetched: 200 });
        expect(asked.every(({ aborted }) => aborted)).to.equal(true); // what is left of each is let go
    });

    it('a connection that is cut is asked again', async () => {
        const { client: file, log } = client('cut=100&times=2');
        expect(await file.read(50, 5000)).to.deep.equal(expected(50, 5000));
        expect((await log()).requests).to.have.length.of.at.least(3);
        const { client: dead } = client('cut=10&times=99');
        await rejected('IO', /connection was lost/, dead.read(50, 5000));
    });

    it('a server that says nothing is asked again after the timeout', async () => {
        const { client: file } = client('silent&times=1', { timeoutMs: 150 });
        expect(await file.read(0, 9)).to.deep.equal(expected(0, 9));
        await rejected(
            'IO',
            /nothing came for 100 ms/,
            client('silent&times=99', { timeoutMs: 100 }).client.read(0, 9),
        );
    });

    it('a server that ignores ranges is detected, and its file not downloaded', async () => {
        const { client: file } = client('ignore', {}, 'bytes-2000000');
        await rejected('UNSUPPORTED', /ignores ranges.*2000000 bytes/, file.read(0, 10));
        await rejected('UNSUPPORTED', /ignores ranges/, file.readTail(10));
        expect(file.stats().bytesFetched).to.equal(0);
    });

    it('a file is fetched whole where that is allowed, once, and charged', async () => {
        const budget = new MemoryBudget(SIZE);
        const { client: file, log } = client('ignore', { allowWhole: true, budget });
        expect((await file.readTail(10)).bytes).to.deep.equal(expected(SIZE - 10, SIZE));
        expect(await file.read(7, 77)).to.deep.equal(expected(7, 77));
        expect((await log()).requests).to.have.length(1);
        expect(budget.memoryStats().usedBytes).to.equal(SIZE);
        const small = new MemoryBudget(SIZE - 1);
        const { client: large } = client('ignore', { allowWhole: true, budget: small });
        await rejected('OVER_BUDGET', /whole/, large.read(0, 10));
        expect(small.memoryStats().peakBytes).to.equal(0);
    });

    it('reads side by side fetch it once, and give it back when it is released', async () => {
        const budget = new MemoryBudget(SIZE);
        const { client: file, log } = client('ignore&slow=20', { allowWhole: true, budget });
        const reads = [0, 1, 2, 3].map((i) => file.read(i * 10, i * 10 + 10));
        expect(await Promise.all(reads)).to.deep.equal([0, 1, 2, 3].map((i) => expected(i * 10, i * 10 + 10)));
        expect(file.stats().bytesFetched).to.equal(SIZE);
        expect(budget.memoryStats()).to.include({ usedBytes: SIZE, held: 1, refused: 0 });
        expect((await file.probe()).acceptsRanges).to.equal(false);
        file.release();
        file.release();
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
        const before = (await log()).requests.length;
        expect(await file.read(90, 99)).to.deep.equal(expected(90, 99));
        expect((await log()).requests).to.have.length(before + 1);
        expect(budget.memoryStats().usedBytes).to.equal(SIZE);
    });

    it('one that fetches it and is cancelled leaves it to the others', async () => {
        const budget = new MemoryBudget(SIZE);
        const stop = new AbortController();
        const whole = (body) => new Response(body, { headers: { 'Content-Length': SIZE } });
        let asked = 0;
        const fetchOnce = async (_, { signal }) => whole(++asked === 1 ? half(signal) : expected(0, SIZE));
        const { client: file } = client('', { allowWhole: true, budget, fetch: fetchOnce });
        const first = file.read(0, 10, { signal: stop.signal });
        const others = [file.read(10, 20), file.read(20, 30)];
        setTimeout(() => stop.abort(), 30);
        await rejected('CANCELLED', undefined, first);
        expect(await Promise.all(others)).to.deep.equal([expected(10, 20), expected(20, 30)]);
        expect(budget.memoryStats()).to.include({ usedBytes: SIZE, peakBytes: SIZE, refused: 0 });
    });

    it('a file that changes midway is an error, whoever notices', async () => {
        for (const query of ['', 'deaf', 'says=date', 'says=date&deaf', 'wrong=weak']) {
            const { client: file } = client(`changed=3&${query}`);
            expect(await file.read(0, 10)).to.deep.equal(expected(0, 10));
            await file.read(10, 20);
            const error = await rejected('CHANGED', /begin anew/, file.read(20, 30));
            expect(error.message).to.include('bytes-10000');
        }
    });

    it('other parts than were asked for are refused', async () => {
        await rejected('IO', /another part/, client('wrong=range').client.read(5, 10));
        await rejected('IO', /without Content-Range/, client('wrong=norange').client.read(5, 10));
        await rejected('IO', /cannot be read/, client('wrong=badrange').client.read(5, 10));
        await rejected('UNSUPPORTED', /packs what it sends/, client('wrong=packed').client.read(5, 10));
        const { client: file } = client('wrong=size');
        await file.read(0, 5);
        await rejected('CHANGED', undefined, file.read(5, 10));
        const error = await errorOf(() => client('wrong=long').client.read(5, 10));
        expect(error.code).to.equal('IO');
    });
});

only('browser', 'Node has no origins').describe('servers of other origins', () => {
    const foreign = (query, options) => {
        const id = runId();
        const other = origin.replace('//localhost', '//127.0.0.1');
        const made = new RangeClient(`${other}/ranges/bytes-${SIZE}?id=${id}&${query}`, options);
        const log = async () => (await (await fetch(`${origin}/ranges/log?id=${id}`)).json()).requests;
        return { client: made, log };
    };

    for (const cors of ['plain', 'exposed']) {
        it(`${cors}: ranges and the tail, without a preflight`, async () => {
            const { client: file, log } = foreign(`cors=${cors}`);
            const tail = await file.readTail(100);
            expect([tail.start, tail.size]).to.deep.equal([SIZE - 100, SIZE]);
            expect(tail.bytes).to.deep.equal(expected(SIZE - 100, SIZE));
            expect(await file.read(10, 300)).to.deep.equal(expected(10, 300));
            await rejected('LIMIT', /beyond/, file.read(SIZE, SIZE + 1));
            expect((await log()).map(({ method }) => method)).to.deep.equal(['HEAD', 'GET', 'GET']);
            await rejected('UNSUPPORTED', /ignores ranges/, foreign(`cors=${cors}&ignore`).client.read(0, 10));
            await rejected('IO', undefined, foreign(`cors=${cors}&wrong=long`).client.read(5, 10));
            const { client: changing } = foreign(`cors=${cors}&changed=3`);
            await changing.read(0, 10);
            await changing.read(10, 20);
            await rejected('CHANGED', undefined, changing.read(20, 30));
        });
    }

    it('where HEAD is refused, the size comes with a byte, if the server exposes it', async () => {
        const { client: file, log } = foreign('cors=exposed&nohead');
        expect((await file.readTail(64)).bytes).to.deep.equal(expected(SIZE - 64, SIZE));
        expect((await log()).map(({ range }) => range)).to.deep.equal([null, 'bytes=0-0', 'bytes=9936-9999']);
    });

    it('one that lets nobody read is told, with what may be wrong', async () => {
        await rejected('IO', /CORS/, foreign('').client.read(0, 10));
    });
});

describe('requests side by side', () => {
    it('run at most so many at a time', async () => {
        const { client: file, log } = client('slow=30', { maxParallel: 3 });
        const parts = await Promise.all(Array.from({ length: 12 }, (_, i) => file.read(i * 10, i * 10 + 10)));
        expect(parts[7]).to.deep.equal(expected(70, 80));
        const { most, requests } = await log();
        expect(requests).to.have.length(12);
        expect(most).to.equal(3);
    });

    it('are cancelled by their own signal or the client’s, at once', async () => {
        const stop = new AbortController();
        const { client: file, log } = client('slow=2000', { maxParallel: 1 });
        const begin = Date.now();
        const reads = [file.read(0, 5, { signal: stop.signal }), file.read(5, 9, { signal: stop.signal })];
        setTimeout(() => stop.abort(), 50);
        for (const read of reads) await rejected('CANCELLED', undefined, read);
        expect(Date.now() - begin).to.be.below(1500);
        expect((await log()).requests).to.have.length(1);
        await rejected('CANCELLED', undefined, file.read(0, 5, { signal: AbortSignal.abort() }));
        const { client: other } = client('', { signal: AbortSignal.abort() });
        await rejected('CANCELLED', undefined, other.read(0, 5));
    });

    it('that wait for their turn go on when one of them is cancelled', async () => {
        for (const leaver of [0, 1, 2]) {
            const { client: file } = client('slow=60', { maxParallel: 1 });
            const stops = [0, 1, 2].map(() => new AbortController());
            const first = file.read(90, 99);
            const reads = stops.map(({ signal }, i) => file.read(i * 10, i * 10 + 10, { signal }));
            setTimeout(() => stops[leaver].abort(), 20);
            for (const [i, read] of reads.entries()) {
                if (i === leaver) await rejected('CANCELLED', undefined, read);
                else expect(await read).to.deep.equal(expected(i * 10, i * 10 + 10));
            }
            expect(await first).to.deep.equal(expected(90, 99));
        }
    });

    it('are cancelled in the middle of a body, before they are sent, and whatever they ask', async () => {
        for (const ask of [
            (file, options) => file.read(0, 100, options),
            (file, options) => file.readTail(100, options),
            (file, options) => file.probe('range', options),
            (file, options) => file.probe('HEAD', options),
        ]) {
            const atOnce = new AbortController();
            const { client: unasked, log } = client();
            const unsent = ask(unasked, { signal: atOnce.signal });
            atOnce.abort();
            await rejected('CANCELLED', undefined, unsent);
            expect((await log()).requests).to.deep.equal([]);
            let signal;
            const never = (_, options) =>
                new Promise((_done, failed) => {
                    ({ signal } = options);
                    signal.addEventListener('abort', () => failed(signal.reason));
                });
            const stop = new AbortController();
            const { client: file } = client('', { fetch: never });
            const asked = ask(file, { signal: stop.signal });
            setTimeout(() => stop.abort('enough'), 5);
            expect((await rejected('CANCELLED', undefined, asked)).cause).to.equal('enough');
            expect(signal.aborted).to.equal(true);
        }
        const stop = new AbortController();
        const { client: file } = client('', { fetch: async (_, { signal }) => ok(0, 100, half(signal)) });
        setTimeout(() => stop.abort(), 20);
        await rejected('CANCELLED', undefined, file.read(0, 100, { signal: stop.signal }));
        expect(file.stats()).to.deep.equal({ requests: 1, retries: 0, bytesFetched: 50 });
    });

    it('are cancelled while they wait for another attempt', async () => {
        const stop = new AbortController();
        const { client: file } = client('status=503&after=5&times=9');
        setTimeout(() => stop.abort(), 50);
        const begin = Date.now();
        await rejected('CANCELLED', undefined, file.read(0, 5, { signal: stop.signal }));
        expect(Date.now() - begin).to.be.below(2000);
    });

    it('tell progress in bytes; what the callback throws comes out', async () => {
        const told = [];
        const { client: file } = client('', { onProgress: (progress) => told.push(progress) });
        await file.read(0, 4000);
        await file.read(4000, 5000);
        expect(told.at(-1)).to.deep.equal({ bytesFetched: 5000, requests: 2, fileBytes: SIZE });
        const own = new Error('own');
        const { client: other, log } = client('', {
            onProgress: () => {
                throw own;
            },
        });
        expect(await errorOf(() => other.read(0, 10))).to.equal(own);
        expect((await log()).requests).to.have.length(1);
    });
});

describe('MemoryBudget', () => {
    it('refuses before it is exceeded', () => {
        const budget = new MemoryBudget(100);
        const first = budget.tryAllocate(60);
        expect(budget.tryAllocate(41)).to.equal(null);
        const second = budget.tryAllocate(40);
        expect(budget.memoryStats()).to.deep.equal({
            budgetBytes: 100,
            usedBytes: 100,
            peakBytes: 100,
            held: 2,
            refused: 1,
        });
        first.release();
        first.release();
        expect(budget.memoryStats().usedBytes).to.equal(40);
        thrown('OVER_BUDGET', /a page needs 61 bytes; the budget has 60 of 100 left/, () =>
            budget.allocate(61, 'a page'),
        );
        second.release();
        expect(budget.memoryStats().usedBytes).to.equal(0);
        expect(new MemoryBudget().memoryStats().budgetBytes).to.equal(1.5 * 2 ** 30);
        for (const wrong of [-1, NaN, 0.5, '1', 2 ** 60]) {
            thrown('INVALID', undefined, () => budget.tryAllocate(wrong));
            thrown('INVALID', undefined, () => new MemoryBudget(wrong));
        }
    });
});

describe('detectCapabilities', () => {
    it('tells what is here', async () => {
        const found = await detectCapabilities();
        expect(Object.keys(found)).to.have.members(['webgpu', 'simd128', 'relaxedSimd', 'threads', 'memory64', 'tier']);
        expect(found.simd128).to.equal(true);
        expect(found.tier).to.equal(found.relaxedSimd ? 'relaxed' : 'simd128');
    });

    only('node20', 'other engines have more').it('Node 20 has no relaxed SIMD and no 64-bit memory', async () => {
        const { relaxedSimd, memory64, threads, webgpu } = await detectCapabilities();
        expect([relaxedSimd, memory64, threads, webgpu]).to.deep.equal([false, false, true, false]);
    });

    only(['chromium', 'firefox'], 'pages only').it('a page that is not isolated has no threads', async () => {
        const { threads, memory64 } = await detectCapabilities();
        expect([threads, memory64]).to.deep.equal([false, true]);
    });
});
