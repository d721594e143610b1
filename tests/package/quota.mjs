/*
 * A storage quota that is used up, in Chromium, where the DevTools protocol can set one: FULL is told, what was
 * acknowledged stays and can be read, and with room again the store is written again.
 *
 * usage: node quota.mjs
 * The last line is "N passed, N failed".
 */
import { join } from 'node:path';
import { launch } from './lib/browsers.mjs';
import { startServer } from './lib/server.mjs';
import { clean, makeProject, root } from './lib/tools.mjs';

const QUOTA_BYTES = 12_000_000;

async function run(tab, name, storage) {
    return tab.evaluate(
        async ([called, kind]) => {
            const page = await import('/pages/quota.js');
            return page[called](kind);
        },
        [name, storage],
    );
}

function problemsOf({ acknowledged, codes, read }, { ids, writes }) {
    const there = new Set(ids);
    const problems = [];
    if (acknowledged.length < 3) problems.push(`only ${acknowledged.length} rows were written`);
    if (codes[0] !== 'FULL') problems.push(`the first refusal was ${codes[0]}`);
    if (codes.slice(1).some((code) => code !== 'POISONED' && code !== 'FULL')) problems.push(`then ${codes.slice(1)}`);
    if (!read) problems.push('the store could not be read when it was full');
    if (acknowledged.some((id) => !there.has(id))) problems.push('acknowledged rows are lost');
    if (ids.length > acknowledged.length + 1) problems.push(`${ids.length - acknowledged.length} rows too many`);
    if (writes !== 'none') problems.push(`with room again a write gave ${writes}`);
    return problems;
}

async function main() {
    const project = await makeProject({ copy: { pages: join(root, 'tests/package/pages') } });
    const site = await startServer({ root: project });
    const browser = await launch('chromium');
    const tab = await browser.open(`${site.origin}/pages/quota.html`);
    const session = await tab.page.context().newCDPSession(tab.page);
    const allow = (quota) => session.send('Storage.overrideQuotaForOrigin', { origin: site.origin, ...quota });
    const total = [0, 0];
    for (const storage of ['indexeddb', 'opfs']) {
        await allow({ quotaSize: QUOTA_BYTES });
        const filled = await run(tab, 'fill', storage);
        await allow({});
        const judged = await run(tab, 'judge', storage);
        const problems = problemsOf(filled, judged);
        const what = `${storage}: ${filled.acknowledged.length} rows, then ${filled.codes}`;
        console.log(`${problems.length ? 'FAIL' : 'ok  '} ${what} ${problems.join('; ')}`);
        total[problems.length ? 1 : 0] += 1;
        if (storage === 'indexeddb') await run(tab, 'remove', storage);
    }
    await browser.close();
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
