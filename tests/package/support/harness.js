/*
 * What specs may use besides mocha, chai and velta. Specs run in Node 20, Node 24, Chromium and Firefox alike, each
 * file in a process or page of its own (so init() can be called with other options in each file); a file named
 * *.isolated.spec.js has, in browsers, a cross-origin isolated page.
 *
 *   engine            'node20' | 'node24' | 'chromium' | 'firefox'
 *   isNode            whether it is Node
 *   only(where, why)  { it, describe } for what makes sense only there
 *   figure(name, n)   adds to a figure of the tests' table (tests/figures.py)
 *   testData(path)    a file of the repository (demo/data, tests/corpus, tests/package/data), as a Response
 *   packageFile(path) a file of the installed package, as a Response
 *   origin            where the test server is; it also has the routes of routes.mjs
 *   streamOrigin      where the server of messages is (stream_server.mjs)
 *   temporaryName()   a name for a stored database that no other test has; what it stores goes with the browser
 *   temporaryFolder() Node: a new folder (deleted at the end)
 *   openRealm(url)    another page or thread in which a module runs, and which can be killed (below)
 */
export const isNode = typeof process === 'object' && typeof process.versions?.node === 'string';
const settings = JSON.parse(
    isNode ? process.env.VELTA_HARNESS : new URLSearchParams(globalThis.location.search).get('harness'),
);

export const engine = settings.engine;
export const origin = isNode ? settings.origin : globalThis.location.origin;
export const streamOrigin = settings.streams;

/** Whether this engine is among those named: engines, 'node', 'browser', 'isolated'. */
function isHere(where) {
    const here = [engine, isNode ? 'node' : 'browser'];
    if (isNode || globalThis.crossOriginIsolated) here.push('isolated');
    return [where].flat().some((name) => here.includes(name));
}

/**
 * Tests for one place: `only('chromium', 'Firefox has no …').it('…', …)`. Elsewhere they are listed as absent with the
 * reason, which says why it makes no sense there.
 */
export function only(where, reason) {
    if (typeof reason !== 'string' || !reason) throw new TypeError('only() takes a reason');
    if (isHere(where)) return { it: globalThis.it, describe: globalThis.describe };
    const note = (title) => {
        (globalThis.veltaAbsent ??= []).push({ title, reason });
    };
    return { it: note, describe: note };
}

export function figure(name, count) {
    (globalThis.veltaFigures ??= []).push({ name, count });
}

async function fetched(path) {
    const response = await fetch(new URL(path, origin));
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
}

export const testData = (path) => fetched(`/repository/${path}`);
export const packageFile = (path) => fetched(`/node_modules/velta/${path}`);

let names = 0;
export function temporaryName() {
    return `test-${settings.run}-${Math.random().toString(36).slice(2, 10)}-${++names}`;
}

export async function temporaryFolder() {
    const { mkdtemp } = await import('node:fs/promises');
    return mkdtemp(`${settings.scratch}/folder-`);
}

/**
 * Loads a module in another realm: `const realm = await openRealm(new URL('./realms/writer.js', import.meta.url))`. It
 * imports velta anew. `realm.call('name', ...arguments)` calls an exported function there; arguments and results are
 * structured clones, and an error keeps its name, message and code. `realm.kill()` ends it on the spot, without any
 * handler of its own being run.
 *
 * In browsers a realm is a frame of this page, in Node a thread; with { separate: true } a tab of its own (killed by
 * closing it, in Chromium by crashing its process) or a process (killed by SIGKILL).
 */
export async function openRealm(url, { separate = false } = {}) {
    const { connect } = await import(isNode ? './realm_node.js' : './realm_browser.js');
    const { port, kill } = await connect(String(url), { separate, settings });
    const waiting = new Map();
    let calls = 0;
    port.onmessage = ({ data: { id, result, error } }) => {
        const { done, failed } = waiting.get(id);
        waiting.delete(id);
        if (error) failed(Object.assign(new Error(error.message), error));
        else done(result);
    };
    const call = (name, ...parameters) =>
        new Promise((done, failed) => {
            waiting.set(++calls, { done, failed });
            port.postMessage({ id: calls, name, parameters });
        });
    await call('');
    return { call, kill };
}
