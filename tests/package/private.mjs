/*
 * Windows in which storage is private, forbidden or taken away: a private window's store works or is refused with a
 * code and a sentence, and is gone with it; a sandboxed page is refused; data that is cleared under an open store makes
 * the store absent, never damaged.
 *
 * usage: node private.mjs [--engine chromium|firefox]
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer } from './lib/server.mjs';
import { makeProject, root } from './lib/tools.mjs';

const STORAGES = ['indexeddb', 'opfs'];

const call = (tab, name, storage) => tab.evaluate((method, given) => globalThis.page[method](given), name, storage);
const show = ({ code, message }) => (message ? `${code} (${message})` : code);

/** A coded refusal that says what else to do, where an error is one at all. */
function refusalProblems({ code, message = '' }) {
    if (code !== 'UNSUPPORTED') return [`it gave ${code}`];
    return /indexeddb|createDatabase\(\)/.test(message) ? [] : ['it does not say what else to do'];
}

async function livePrivately(engine, url, outcomes) {
    for (const round of [1, 2]) {
        const browser = await launch(engine, { isPrivate: true });
        const tab = await browser.open(url);
        for (const storage of STORAGES) {
            const before = await call(tab, 'find', storage);
            const lived = await call(tab, 'live', storage);
            const problems = [];
            if (lived.code === 'none') {
                if (before.code !== 'NOT_FOUND') problems.push(`before it was there: ${show(before)}`);
                if (lived.value !== 2) problems.push(`${lived.value} rows are there`);
            } else problems.push(...refusalProblems(lived));
            outcomes.tell(`private window ${round}: ${storage}: ${show(lived)}`, problems);
        }
        await browser.close();
    }
    outcomes.count('storage_absences', 1);
}

async function liveInSandbox(engine, origin, outcomes) {
    const browser = await launch(engine);
    const tab = await browser.open(`${origin}/sandbox.html`);
    for (const storage of STORAGES) {
        const lived = await call(tab, 'live', storage);
        const what = `sandboxed page: ${storage}: ${show(lived)}`;
        /* A page without an origin may not even start a worker. */
        const isWorker = storage === 'opfs' && lived.code === 'WORKER';
        outcomes.tell(what, isWorker ? [] : refusalProblems(lived));
    }
    outcomes.count('storage_absences', 1);
    await browser.close();
}

/**
 * The user clears the site's data while a store is open; Chromium's protocol can do that. In IndexedDB only: Chromium
 * 156 itself ends when OPFS is cleared while a synchronous handle is open, which is the killed browser of crash.mjs.
 */
async function clearUnderneath(origin, outcomes) {
    const browser = await launch('chromium');
    const tab = await browser.open(`${origin}/pages/private.html`);
    const session = await tab.page.createCDPSession();
    const held = await call(tab, 'hold', 'indexeddb');
    await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'indexeddb' });
    const { write, read, close } = await call(tab, 'go', 'indexeddb');
    const found = await call(tab, 'find', 'indexeddb');
    const problems = [];
    if (held.code !== 'none') problems.push(`holding gave ${show(held)}`);
    if (!['IO', 'POISONED'].includes(write.code)) problems.push(`writing gave ${show(write)}`);
    if (read.code !== 'none') problems.push(`reading gave ${show(read)}`);
    if (found.code !== 'NOT_FOUND') problems.push(`afterwards it is ${show(found)}`);
    const what = `cleared under an open store: written ${write.code}, closed ${close.code}, afterwards ${found.code}`;
    outcomes.tell(what, problems);
    outcomes.count('storage_absences', 1);
    await browser.close();
}

await conclude(async (outcomes) => {
    const { values } = parseArgs({ options: { engine: { type: 'string', default: 'chromium' } } });
    const { engine } = values;
    const project = await makeProject({ copy: { pages: join(root, 'tests/package/pages') } });
    const site = await startServer({ root: project });
    const script = '<script type="module" src="/pages/private.js"></script>';
    const sandboxed = await startServer({
        root: project,
        policy: 'sandbox allow-scripts',
        anyOrigin: true,
        routes: { '/sandbox.html': () => ({ type: 'text/html; charset=utf-8', body: script }) },
    });
    await livePrivately(engine, `${site.origin}/pages/private.html`, outcomes);
    await liveInSandbox(engine, sandboxed.origin, outcomes);
    if (engine === 'chromium') await clearUnderneath(site.origin, outcomes);
    await site.close();
    await sandboxed.close();
});
