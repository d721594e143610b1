/*
 * Pages in Chromium: a server of folders and texts, and a browser with a profile of its own.
 */
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import playwright from '../../../wasm/node_modules/playwright-core/index.js';
import { chromium, chromiumOptions } from './chromium_options.mjs';

const TYPES = { js: 'text/javascript', wasm: 'application/wasm' };

/** An empty page at /, `folders` ({ name: folder }) under their names, `scripts` ({ 'a.js': text }); isolated. */
function serve(folders, scripts) {
    const server = createServer((request, response) => {
        const path = normalize(new URL(request.url, 'http://localhost').pathname);
        const [, root, ...rest] = path.split('/');
        const file = rest.length > 0 && folders[root] && join(folders[root], ...rest);
        const isFile = file && existsSync(file);
        const text = path === '/' ? '<!doctype html><title>bench</title>' : scripts[root];
        response.writeHead(isFile || text !== undefined ? 200 : 404, {
            'Content-Type': TYPES[path.split('.').pop()] ?? (file ? 'application/octet-stream' : 'text/html'),
            'Cross-Origin-Opener-Policy': 'same-origin',
            'Cross-Origin-Embedder-Policy': 'require-corp',
        });
        if (isFile) createReadStream(file).pipe(response);
        else response.end(text);
    });
    return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** { newPage(), close() }: pages of an origin that serves what is given, in a Chromium that has stored nothing. */
export async function startChromium(folders, scripts = {}) {
    const server = await serve(folders, scripts);
    const profile = mkdtempSync(join(tmpdir(), 'velta-bench-'));
    const clean = () => {
        server.close();
        rmSync(profile, { recursive: true, force: true });
    };
    const options = { executablePath: chromium, headless: true, args: chromiumOptions };
    const context = await playwright.chromium.launchPersistentContext(profile, options).catch((error) => {
        clean();
        throw error;
    });
    return {
        async newPage() {
            const page = await context.newPage();
            await page.goto(`http://127.0.0.1:${server.address().port}/`);
            return page;
        },
        async close() {
            await context.close();
            clean();
        },
    };
}
