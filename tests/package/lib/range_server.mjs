/*
 * A file server that answers ranges, and fails in the ways that servers do: rangeHandler(files) → a handler of requests
 * to /ranges/NAME?…; files(name) gives the bytes. /ranges/log?id=… gives what was asked with that id, as JSON.
 * A file that is PUT there is served from then on.
 *
 * The query says what is wrong; `id` names a run, so that counts are its own:
 *   ignore               ranges are ignored: 200 and the whole file
 *   status=500&times=2   the first two requests fail so; after=1: with Retry-After
 *   cut=100&times=2      the first two bodies end after so many bytes, with the connection
 *   silent&times=2       the first two requests are never answered
 *   changed=3            from the third request on the file is another one; says=etag, date, none: by which header;
 *                        deaf: If-Range is not looked at
 *   wrong=…              range, size, long, norange, badrange, packed, weak, nobody
 *   slow=20              so many milliseconds before each answer
 *   cors=plain, exposed  pages of other origins may read: without more, or Content-Range and the validators too; what
 *                        asks first (OPTIONS) is refused
 *   nohead               HEAD is refused, as by addresses that are signed for GET
 */
import { createHash } from 'node:crypto';

const runs = new Map();
const kept = new Map();

function runOf(id) {
    if (!runs.has(id)) runs.set(id, { requests: [], most: 0, now: 0 });
    return runs.get(id);
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** [start, end) of a Range header; null where there is none. */
function parse(header, size) {
    const found = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
    if (!found) return null;
    if (found[1] === '') return [Math.max(0, size - Number(found[2])), size];
    return [Number(found[1]), found[2] === '' ? size : Math.min(size, Number(found[2]) + 1)];
}

function validators(bytes, query) {
    const says = query.get('says') ?? 'etag';
    const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    const date = new Date(1.6e12 + (parseInt(tag.slice(0, 6), 16) % 1e6) * 1000).toUTCString();
    if (says === 'none') return {};
    if (says === 'date') return { 'Last-Modified': date };
    return { ETag: query.get('wrong') === 'weak' ? `W/"${tag}"` : `"${tag}"`, 'Last-Modified': date };
}

/** Headers and body of a part, as the query spoils them. */
function spoil(headers, body, [start, end], size, wrong) {
    const range = (from, to, total) => ({ ...headers, 'Content-Range': `bytes ${from}-${to - 1}/${total}` });
    switch (wrong) {
        case 'range':
            return [range(start + 1, end + 1, size + 2), body];
        case 'size':
            return [range(start, end, start === 0 ? size : size + 5), body];
        case 'long':
            return [range(start, end, size), Buffer.concat([body, Buffer.from('more')])];
        case 'norange':
            return [headers, body];
        case 'badrange':
            return [{ ...headers, 'Content-Range': 'bytes some' }, body];
        case 'packed':
            return [{ ...range(start, end, size), 'Content-Encoding': 'x-own' }, body];
        default:
            return [range(start, end, size), body];
    }
}

/** What lets pages of other origins read. */
function shared(query) {
    const cors = query.get('cors');
    if (cors === null) return {};
    const exposed = { 'Access-Control-Expose-Headers': 'Content-Range, Accept-Ranges, ETag, Content-Encoding' };
    return { 'Access-Control-Allow-Origin': '*', ...(cors === 'exposed' ? exposed : {}) };
}

/** Whether a request is to fail, and does. */
function fails(request, response, query, count, headers) {
    if (request.method === 'OPTIONS' || (request.method === 'HEAD' && query.has('nohead'))) {
        response.writeHead(403, headers);
        response.end();
        return true;
    }
    if (count > Number(query.get('times') ?? 1)) return false;
    if (query.has('silent')) return true;
    if (!query.has('status')) return false;
    const after = query.has('after') ? { 'Retry-After': query.get('after') } : {};
    response.writeHead(Number(query.get('status')), { ...headers, ...after });
    response.end('no');
    return true;
}

function sendPart(request, response, { bytes, query, count, headers }) {
    const size = bytes.length;
    const validator = validators(bytes, query);
    const all = { ...headers, ...validator, 'Accept-Ranges': query.has('ignore') ? 'none' : 'bytes' };
    if (request.method === 'HEAD') {
        response.writeHead(200, { ...all, 'Content-Length': size });
        return response.end();
    }
    const range = query.has('ignore') ? null : parse(request.headers.range, size);
    const condition = request.headers['if-range'];
    const isStale = condition !== undefined && !query.has('deaf') && !Object.values(validator).includes(condition);
    if (range === null || isStale) {
        response.writeHead(200, { ...all, 'Content-Length': size });
        return response.end(bytes);
    }
    const [start, end] = range;
    if (start >= end) {
        response.writeHead(416, { ...all, 'Content-Range': `bytes */${size}` });
        return response.end();
    }
    const [spoilt, body] = spoil(all, bytes.subarray(start, end), range, size, query.get('wrong'));
    const cut = query.has('cut') && count <= Number(query.get('times') ?? 1);
    response.writeHead(206, { ...spoilt, 'Content-Length': body.length });
    if (!cut) return response.end(body);
    response.write(body.subarray(0, Math.min(body.length - 1, Number(query.get('cut')))));
    return setTimeout(() => response.destroy(), 20);
}

export function rangeHandler(files) {
    return async (request, response, usual) => {
        const address = new URL(request.url, 'http://localhost');
        const query = address.searchParams;
        const headers = { ...usual, ...shared(query) };
        const run = runOf(query.get('id') ?? '');
        const name = address.pathname.slice('/ranges/'.length);
        if (name === 'log') {
            response.writeHead(200, { ...headers, 'Content-Type': 'application/json' });
            return response.end(JSON.stringify(run));
        }
        if (request.method === 'PUT') {
            const parts = [];
            for await (const part of request) parts.push(part);
            kept.set(name, Buffer.concat(parts));
            response.writeHead(204, headers);
            return response.end();
        }
        const { range = null, 'if-range': ifRange = null } = request.headers;
        run.requests.push({ method: request.method, range, ifRange });
        const count = run.requests.length;
        run.most = Math.max(run.most, ++run.now);
        try {
            if (query.has('slow')) await pause(Number(query.get('slow')));
            if (fails(request, response, query, count, headers)) return undefined;
            let bytes = kept.get(name) ?? (await files(name));
            if (bytes === null) {
                response.writeHead(404, headers);
                return response.end('not here');
            }
            if (query.has('changed') && count >= Number(query.get('changed'))) {
                bytes = Buffer.from(bytes);
                bytes[bytes.length >> 1] ^= 1;
            }
            return sendPart(request, response, { bytes, query, count, headers });
        } finally {
            run.now--;
        }
    };
}

/** Files named bytes-N: N bytes that are a function of their place. */
export function countedBytes(name) {
    const found = /^bytes-(\d+)$/.exec(name);
    return found
        ? Buffer.from(Uint8Array.from({ length: Number(found[1]) }, (_, i) => (i * 7 + (i >> 8)) & 255))
        : null;
}
