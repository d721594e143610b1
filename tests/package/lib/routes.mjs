/*
 * Routes of the test server that specs fetch from: modules that are none.
 *
 *   /bad/page.wasm       a web page with status 200, as a single-page application's fallback answers for any address
 *   /bad/missing.wasm    404
 *   /bad/half.wasm       the first half of the simd128 module
 *   /bad/empty.wasm      nothing
 *   /bad/other.wasm      a sound module of someone else
 *   /bad/untyped.wasm    the simd128 module without its MIME type, as many servers send it: this one must work
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export function badModules(project) {
    const module = () => readFile(join(project, 'node_modules/velta/dist/wasm/velta.simd128.wasm'));
    const type = 'application/wasm';
    const page = '<!doctype html><html><head><title>An application</title></head><body></body></html>';
    return {
        '/bad/page.wasm': () => ({ type: 'text/html; charset=utf-8', body: page }),
        '/bad/missing.wasm': () => ({ status: 404, body: 'not found' }),
        '/bad/half.wasm': async () => {
            const bytes = await module();
            return { type, body: bytes.subarray(0, bytes.length >> 1) };
        },
        '/bad/empty.wasm': () => ({ type }),
        '/bad/other.wasm': () => ({ type, body: Buffer.from('0061736d01000000', 'hex') }),
        '/bad/untyped.wasm': async () => ({ type: 'application/octet-stream', body: await module() }),
    };
}
