/*
 * Servers that fail at one request: `faultyFetch(name, at)` gives a fetch whose request number `at` (from 0) goes wrong
 * as FAULTS says, or all from there on where the fault lasts; `asked()` tells how many there were.
 */

/** A body that gives the first half of the bytes and then ends as `end` has it. */
async function halfOf(response, end) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    const body = new ReadableStream({
        start(controller) {
            controller.enqueue(bytes.subarray(0, bytes.length >> 1));
            end(controller);
        },
    });
    const { status, headers } = response;
    return new Response(body, { status, headers });
}

function answer(status, headers = {}) {
    return () => new Response('no', { status, headers });
}

/** An answer with some headers changed. */
async function altered(response, change) {
    const headers = new Headers(response.headers);
    change(headers);
    return new Response(await response.arrayBuffer(), { status: response.status, headers });
}

/**
 * Each: what the failing request is answered by, given the sound request; `codes` that it may end in. Without codes
 * another attempt helps. `lasts`: all requests from then on fail so. `isSoundFromStart`: it is no failure for the first
 * one. `timeoutMs`: how long the client is to wait.
 */
export const FAULTS = {
    'a lost connection': { spoil: () => Promise.reject(new TypeError('lost')) },
    'a body that breaks off': {
        spoil: async (send) => halfOf(await send(), (controller) => controller.error(new TypeError('broken'))),
    },
    'a body that is short': { spoil: async (send) => halfOf(await send(), (controller) => controller.close()) },
    'a body that stops': {
        timeoutMs: 2000,
        spoil: async (send, signal) =>
            halfOf(await send(), (controller) => {
                signal.addEventListener('abort', () => controller.error(signal.reason));
            }),
    },
    'no answer': {
        timeoutMs: 2000,
        spoil: (_, signal) =>
            new Promise((_done, failed) => {
                signal.addEventListener('abort', () => failed(signal.reason));
            }),
    },
    429: { spoil: answer(429, { 'Retry-After': '0' }) },
    500: { spoil: answer(500) },
    '500 without end': { spoil: answer(500), lasts: true, codes: ['IO'] },
    '429 for an hour': { spoil: answer(429, { 'Retry-After': '3600' }), codes: ['IO'] },
    403: { spoil: answer(403), codes: ['IO'] },
    404: { spoil: answer(404), codes: ['NOT_FOUND'] },
    412: { spoil: answer(412), codes: ['CHANGED'] },
    416: { spoil: answer(416), codes: ['IO', 'LIMIT'] },
    'ranges ignored': { spoil: (_, signal, whole) => whole(signal), codes: ['UNSUPPORTED'] },
    'a page in its place': {
        spoil: () => new Response('<p>', { headers: { 'Content-Type': 'text/html', 'Content-Length': '3' } }),
        codes: ['UNSUPPORTED', 'CHANGED'],
    },
    'another file': {
        spoil: async (send) => altered(await send({ 'If-Range': '' }), (headers) => headers.set('ETag', '"another"')),
        lasts: true,
        codes: ['CHANGED'],
        isSoundFromStart: true,
    },
    'another part': {
        spoil: async (send) =>
            altered(await send(), (headers) => {
                const [, start, last, size] = /(\d+)-(\d+)\/(\d+)/.exec(headers.get('Content-Range'));
                headers.set('Content-Range', `bytes ${Number(start) + 1}-${Number(last) + 1}/${Number(size) + 1}`);
            }),
        codes: ['IO', 'CHANGED'],
    },
};

/** Without those that are empty. */
function given(headers) {
    return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''));
}

export function faultyFetch(name, at) {
    const { spoil, lasts = false } = FAULTS[name];
    let asked = 0;
    const send = (url, options, headers) => fetch(url, { ...options, headers });
    const faulty = (url, options) => {
        const number = asked++;
        const sound = (more = {}) => send(url, options, given({ ...options.headers, ...more }));
        if (number !== at && !(lasts && number > at)) return sound();
        return spoil(sound, options.signal, (signal) => send(url, { signal }, {}));
    };
    return { fetch: async (url, options) => faulty(url, options), asked: () => asked };
}
