/*
 * The static server behind the tests in browsers: startServer(options) → { origin, close() }.
 *
 * It serves a folder on a free port of localhost, with the MIME types that browsers ask for (module scripts and
 * WebAssembly.instantiateStreaming are strict), nothing cached, and, on demand, cross-origin isolation and a
 * Content-Security-Policy. Extra routes are functions. What is not there is 404.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, resolve, sep } from 'node:path';

const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.mjs': 'text/javascript; charset=utf-8',
    '.cjs': 'text/javascript; charset=utf-8',
    '.json': 'application/json',
    '.jsonl': 'application/x-ndjson',
    '.wasm': 'application/wasm',
    '.css': 'text/css; charset=utf-8',
    '.txt': 'text/plain; charset=utf-8',
};

/** A page may do this and no more; `hashes` allow its import map. */
export function strictPolicy(hashes = []) {
    const scripts = ["'self'", "'wasm-unsafe-eval'", ...hashes.map((hash) => `'sha256-${hash}'`)];
    return `default-src 'self'; script-src ${scripts.join(' ')}`;
}

async function sendFile(response, headers, file) {
    const information = await stat(file).catch(() => null);
    if (!information?.isFile())
        return send(response, headers, 404, 'text/plain', `there is no ${file.split(sep).pop()}`);
    response.writeHead(200, {
        ...headers,
        'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
        'Content-Length': information.size,
    });
    createReadStream(file).pipe(response);
}

function send(response, headers, status, type, body) {
    response.writeHead(status, { ...headers, 'Content-Type': type });
    response.end(body);
}

/**
 * options: root (a folder), mounts ({ '/prefix/': folder }), routes ({ '/path': async (request) => { status, type,
 * body } }), handlers ({ '/prefix/': async (request, response, headers) => … }, which answer themselves), isolated
 * (COOP and COEP), policy (the Content-Security-Policy), anyOrigin (pages of others may fetch).
 */
export async function startServer(options) {
    const { root, mounts = {}, routes = {}, handlers = {}, isolated = false, policy, anyOrigin = false } = options;
    const headers = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' };
    if (isolated) {
        headers['Cross-Origin-Opener-Policy'] = 'same-origin';
        headers['Cross-Origin-Embedder-Policy'] = 'require-corp';
        headers['Cross-Origin-Resource-Policy'] = 'same-origin';
    }
    if (policy) headers['Content-Security-Policy'] = policy;
    if (anyOrigin) headers['Access-Control-Allow-Origin'] = '*';
    const folders = Object.entries({ ...mounts, '/': root });
    const answer = async (request, response) => {
        const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname).replace(
            /\/$/,
            '/index.html',
        );
        if (routes[path]) {
            const { status = 200, type = 'text/plain', body = '' } = await routes[path](request);
            return send(response, headers, status, type, body);
        }
        const handler = Object.keys(handlers).find((start) => path.startsWith(start));
        if (handler) return handlers[handler](request, response, headers);
        const [prefix, folder] = folders.find(([start]) => path.startsWith(start));
        const file = normalize(join(folder, path.slice(prefix.length)));
        if (!file.startsWith(resolve(folder) + sep)) return send(response, headers, 403, 'text/plain', 'not here');
        return sendFile(response, headers, file);
    };
    // A test may compute for longer than a connection is kept by default, and finds it closed then.
    const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
        answer(request, response).catch((error) => send(response, headers, 500, 'text/plain', String(error)));
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return {
        origin: `http://localhost:${server.address().port}`,
        close: () => {
            server.closeAllConnections();
            return new Promise((done) => server.close(done));
        },
    };
}
