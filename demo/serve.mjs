#!/usr/bin/env node
/*
 * Serves the demo page: demo/page at /, the encoder at /encoder, what was built at /velta (the package) and /data (the
 * Parquet file). Needs no more than Node. One range of a file is answered as RFC 9110 has it. The headers are those of
 * a careful site: nothing but the page's own files may run or be reached, and the page is isolated from others, which
 * is what lets threads share memory.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const demo = dirname(fileURLToPath(import.meta.url));
const usage = `usage: serve.mjs [--package BUILD/package/dist] [--data BUILD/demo/data] [--port N] [--log] [--check]
  --port   8420, or the next free one; 0: any
  --log    a line for each file sent: the status, the bytes that were read of it, the path, the range asked for
  --check  start, fetch the page and what it needs first, and stop: exit code 0 when all is there`;

/** What the command line asks for; ends the program where it cannot be understood, or asks for help. */
function readOptions() {
    const settings = {
        package: { type: 'string', default: join(demo, '..', 'build', 'package', 'dist') },
        data: { type: 'string', default: join(demo, '..', 'build', 'demo', 'data') },
        port: { type: 'string', default: '8420' },
        log: { type: 'boolean', default: false },
        check: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
    };
    try {
        const { values } = parseArgs({ options: settings });
        if (!/^\d+$/.test(values.port) || Number(values.port) > 65_535) throw new Error(`no port: ${values.port}`);
        if (!values.help) return values;
        console.log(usage);
    } catch ({ message }) {
        console.error(`serve.mjs: ${message}\n${usage}`);
        process.exit(2);
    }
    return process.exit(0);
}

const options = readOptions();

const folders = [
    ['/velta/', resolve(options.package)],
    ['/data/', resolve(options.data)],
    ['/encoder/', join(demo, 'encoder')],
    ['/', join(demo, 'page')],
];

const types = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.json': 'application/json',
    '.jsonl': 'application/jsonl; charset=utf-8',
    '.txt': 'text/plain; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.wasm': 'application/wasm',
    '.npy': 'application/octet-stream',
    '.parquet': 'application/vnd.apache.parquet',
};

/** The import map is the one script inside the page, so the policy names it by its hash. */
async function policy() {
    const html = await readFile(join(demo, 'page', 'index.html'), 'utf8');
    const inside = [...html.matchAll(/<script[^>]*type="importmap"[^>]*>([^]*?)<\/script>/g)];
    const hashes = inside.map(([, text]) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`);
    return [
        `default-src 'none'`,
        `script-src 'self' 'wasm-unsafe-eval' ${hashes.join(' ')}`,
        `style-src 'self'`,
        `img-src 'self'`,
        `connect-src 'self'`,
        `worker-src 'self'`,
        `base-uri 'none'`,
        `form-action 'none'`,
        `frame-ancestors 'none'`,
    ].join('; ');
}

/** The file that an address names, or null: nothing outside the folders, and nothing hidden. */
function fileOf(address) {
    let path;
    try {
        path = decodeURIComponent(new URL(address, 'http://demo').pathname);
    } catch {
        return null;
    }
    if (path.includes('\0') || path.split('/').some((part) => part.startsWith('.'))) return null;
    const [prefix, folder] = folders.find(([start]) => path.startsWith(start));
    const file = normalize(join(folder, path.slice(prefix.length) || 'index.html'));
    return file.startsWith(folder + sep) ? file : null;
}

/**
 * The part of a file that a Range header asks for: { start, end }, end excluded. 'all' where there is none, or one that
 * is not a single range of bytes, which may be passed over; 'none' where no byte of it is in the file.
 */
function rangeOf(header, size) {
    const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
    if (first === undefined || (first === '' && last === '') || (first && last && Number(last) < Number(first))) {
        return 'all';
    }
    const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
    const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
    return start < end ? { start, end } : 'none';
}

async function answer(request, response) {
    const refuse = (code, text) => {
        response.writeHead(code, { 'Content-Type': 'text/plain; charset=utf-8' });
        response.end(text + '\n');
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'only GET and HEAD');
    const file = fileOf(request.url);
    const found = file && (await stat(file).catch(() => null));
    if (!found?.isFile()) return refuse(404, 'there is no such file');
    const tag = `"${found.size.toString(36)}-${found.mtimeMs.toString(36)}"`;
    const headers = {
        'Content-Type': types[extname(file)] ?? 'application/octet-stream',
        'Cache-Control': 'no-cache',
        ETag: tag,
        'Accept-Ranges': 'bytes',
        'Content-Security-Policy': await policy(),
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Embedder-Policy': 'require-corp',
        'Cross-Origin-Resource-Policy': 'same-origin',
        'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer',
    };
    if (request.headers['if-none-match'] === tag) {
        response.writeHead(304, headers);
        return response.end();
    }
    // If-Range: a part only of the file that the client has parts of. Dates are not told, so none can be right.
    const isSame = (request.headers['if-range'] ?? tag) === tag;
    const range = request.method === 'GET' && isSame ? rangeOf(request.headers.range, found.size) : 'all';
    if (range === 'none') {
        response.writeHead(416, { ...headers, 'Content-Range': `bytes */${found.size}`, 'Content-Length': 0 });
        return response.end();
    }
    const { start, end } = range === 'all' ? { start: 0, end: found.size } : range;
    if (range !== 'all') headers['Content-Range'] = `bytes ${start}-${end - 1}/${found.size}`;
    response.writeHead(range === 'all' ? 200 : 206, { ...headers, 'Content-Length': end - start });
    if (request.method === 'HEAD' || start === end) return response.end();
    const stream = createReadStream(file, { start, end: end - 1 });
    stream.on('error', () => response.destroy());
    stream.pipe(response);
    response.on('close', () => stream.destroy());
    if (options.log) {
        let sent = 0;
        stream.on('data', (part) => (sent += part.length));
        response.on('close', () => console.log(response.statusCode, sent, request.url, request.headers.range ?? ''));
    }
}

/** Listens on the port, or on one of the next twenty. */
function listen(server, port) {
    return new Promise((done, fail) => {
        let next = port;
        server.on('error', (error) => {
            if (error.code === 'EADDRINUSE' && port !== 0 && next < port + 20) server.listen((next += 1), '127.0.0.1');
            else fail(error);
        });
        server.on('listening', () => done(server.address().port));
        server.listen(port, '127.0.0.1');
    });
}

/** Fetches what the page needs before it can show anything; throws where one is missing. */
async function check(address) {
    for (const path of [
        '',
        'main.js',
        'style.css',
        'velta/velta.js',
        'velta/worker.js',
        'velta/parquet.js',
        'data/packages.parquet',
        'encoder/terms.txt',
        'encoder/projection.npy',
    ]) {
        const got = await fetch(address + path);
        const size = (await got.arrayBuffer()).byteLength;
        if (!got.ok || size === 0) throw new Error(`${path || 'the page'}: ${got.status}`);
        if (path.endsWith('.js') && !got.headers.get('content-type').startsWith('text/javascript')) {
            throw new Error(`${path} comes as ${got.headers.get('content-type')}`);
        }
    }
}

const server = createServer((request, response) => {
    answer(request, response).catch((error) => {
        console.error(error);
        response.destroy();
    });
});
const port = await listen(server, options.check ? 0 : Number(options.port));
const address = `http://localhost:${port}/`;
if (options.check) {
    let code = 0;
    try {
        await check(address);
        console.log(`The demo page answers (at ${address} just now). To see it: make demo at a terminal.`);
    } catch (error) {
        console.error(`demo: ${error.message}`);
        code = 1;
    }
    server.closeAllConnections();
    server.close(() => process.exit(code));
} else {
    console.log(`The demo page: ${address}\nCtrl-C ends it.`);
    for (const signal of ['SIGINT', 'SIGTERM']) {
        process.on(signal, () => {
            server.closeAllConnections();
            server.close(() => process.exit(0));
        });
    }
}
