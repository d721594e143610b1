/*
 * Kills Chromium while a page and a worker of it write, again and again over the same profile, and compares what is
 * found afterwards with a ledger of what was acknowledged as durable.
 *
 * usage: node crash.mjs [--kills N]
 * Only the process group that was started here is killed. The last line is "N passed, N failed".
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startServer } from './lib/server.mjs';
import { chromium, chromiumOptions, clean, makeProject, root, temporaryFolder } from './lib/tools.mjs';

const OPTIONS = [...chromiumOptions, '--headless', '--remote-debugging-port=0'];
const STORES = ['indexeddb', 'opfs'];
const START_SECONDS = 60;
const MOST_OPEN_MS = 3000;

/** What the page tells, and a promise of the next thing of a kind. */
function listening() {
    const ledger = { indexeddb: new Set(), opfs: new Set() };
    const waiting = new Map();
    const settle = (kind, value) => {
        for (const done of waiting.get(kind) ?? []) done(value);
        waiting.delete(kind);
    };
    const next = (kind) => new Promise((done) => waiting.set(kind, [...(waiting.get(kind) ?? []), done]));
    const body = async (request) => JSON.parse(Buffer.concat(await request.toArray()).toString());
    const found = {};
    const routes = {
        '/found': async (request) => {
            const told = await body(request);
            found[told.storage] = told;
            return {};
        },
        '/acknowledged': async (request) => {
            const { storage, ids } = await body(request);
            ids.forEach((id) => ledger[storage].add(id));
            return {};
        },
        '/writing': async () => {
            settle('ready', null);
            return {};
        },
        '/failed': async (request) => {
            settle('ready', (await body(request)).error);
            return {};
        },
    };
    return { ledger, found, routes, next };
}

function start(profile, url) {
    const child = spawn(chromium, [...OPTIONS, `--user-data-dir=${profile}`, url], { detached: true, stdio: 'ignore' });
    const ended = once(child, 'exit');
    const kill = async () => {
        process.kill(-child.pid, 'SIGKILL');
        await ended;
    };
    return { kill };
}

function compare(kill, storage, { ids, openMs, isHalf, texts }, acknowledged) {
    const there = new Set(ids);
    const lost = [...acknowledged].filter((id) => !there.has(id));
    const problems = [];
    if (lost.length) problems.push(`${lost.length} acknowledged rows are lost, the first ${lost[0]}`);
    if (ids.length !== there.size) problems.push('a key is there twice');
    if (ids.some((id, i) => id !== i + 1)) problems.push('rows are missing in the middle');
    if (isHalf) problems.push('half of a batch is there');
    if (texts.some((text, i) => !text.startsWith(`row ${97 * (i + 1)}`))) problems.push('a row has other text');
    if (openMs > MOST_OPEN_MS) problems.push(`opening took ${Math.round(openMs)} ms`);
    const what = `after kill ${kill}: ${storage}: ${ids.length} rows, opened in ${Math.round(openMs)} ms`;
    console.log(`${problems.length ? 'FAIL' : 'ok  '} ${what} ${problems.join('; ')}`);
    return problems.length === 0;
}

async function main() {
    const { values } = parseArgs({ options: { kills: { type: 'string', default: '20' } } });
    const kills = Number(values.kills);
    if (!existsSync(chromium)) throw new Error(`${chromium} is not installed, and its tests cannot be left out`);
    const project = await makeProject({ copy: { pages: join(root, 'tests/package/pages') } });
    const { ledger, found, routes, next } = listening();
    const site = await startServer({ root: project, routes });
    const profile = await temporaryFolder();
    const total = [0, 0];
    for (let kill = 0; kill <= kills; kill++) {
        const ready = next('ready');
        const browser = start(profile, `${site.origin}/pages/crash.html`);
        let timer;
        const late = new Promise(
            (done) => (timer = setTimeout(done, START_SECONDS * 1000, 'nothing was told in time')),
        );
        const failure = await Promise.race([ready, late]);
        clearTimeout(timer);
        if (failure) {
            console.log(`FAIL after kill ${kill}: ${failure}`);
            total[1] += 1;
            await browser.kill();
            break;
        }
        /* The page has not begun to write: the ledger is that of the lives before. */
        for (const storage of STORES) total[compare(kill, storage, found[storage], ledger[storage]) ? 0 : 1] += 1;
        await new Promise((done) => setTimeout(done, 100 + Math.random() * 900));
        await browser.kill();
    }
    await site.close();
    return total;
}

let total;
try {
    total = await main();
} catch (error) {
    console.log(error.stack);
    total = [0, 1];
}
await clean();
console.log(`${total[0]} passed, ${total[1]} failed`);
process.exit(total[1] ? 1 : 0);
