#!/usr/bin/env node
/*
 * Serves the demo page: demo/page at /, its data at /data and /encoder, the built package at /velta. Needs no more
 * than Node. The headers are those of a careful site: nothing but the page's own files may run or be reached, and the
 * page is isolated from others, which is what lets WebAssembly share memory between threads.
 *
 * usage: demo/serve.mjs [--package BUILD/package/dist] [--port N] [--check]
 *   --port   8420, or the next free one; 0: any
 *   --check  start, fetch the page and what it needs first, and stop: exit code 0 when all is there
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const demo = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
    options: {
        package: { type: 'string', default: join(demo, '..', 'build', 'package', 'dist') },
        port: { type: 'string', default: '8420' },
        check: { type: 'boolean', default: false },
    },
});

const folders = [
    ['/velta/', resolve(options.package)],
    ['/data/', join(demo, 'data')],
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
    response.writeHead(200, { ...headers, 'Content-Length': found.size });
    if (request.method === 'HEAD') return response.end();
    const stream = createReadStream(file);
    stream.on('error', () => response.destroy());
    stream.pipe(response);
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
        'data/rows.jsonl',
        'data/vectors.npy',
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
