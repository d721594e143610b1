/*
 * A storage quota that is used up, in Chromium, where the DevTools protocol can set one: by rows, by a checkpoint and
 * by a compaction. FULL is told, what was acknowledged stays, can be read, and is there when the store is opened again,
 * still without room; with room again the store is written again.
 *
 * usage: node quota.mjs
 */
import { join } from 'node:path';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer } from './lib/server.mjs';
import { makeProject, root } from './lib/tools.mjs';

const QUOTA_BYTES = 6_000_000;
const PLACES = {
    'IndexedDB in the page': { storage: 'indexeddb', inWorker: false },
    'IndexedDB in a worker': { storage: 'indexeddb', inWorker: true },
    OPFS: { storage: 'opfs', inWorker: true },
};
/**
 * The call that is to be refused, and the row of 100 KB after which it comes: there is room for a log of so many, but
 * not for what a checkpoint or a compaction writes beside it.
 */
const LIVES = { insert: 0, checkpoint: 32, compact: 32 };

async function run(tab, name, ...parameters) {
    return tab.evaluate(
        async ([called, given]) => {
            const page = await import('/pages/quota.js');
            return page[called](...given);
        },
        [name, parameters],
    );
}

/** How many acknowledged rows are not among those that were found. */
function lossesOf({ acknowledged }, ids) {
    const there = new Set(ids);
    return acknowledged.filter((id) => !there.has(id)).length;
}

function problemsOf(life, filled, looked, { ids, writes }) {
    const { acknowledged, refusals, unread } = filled;
    const problems = [];
    const codes = refusals.map(({ code }) => code);
    if (acknowledged.length < 3) problems.push(`only ${acknowledged.length} rows were written`);
    if (codes[0] !== 'FULL') problems.push(`the first refusal was ${codes[0]}`);
    if (refusals[0]?.what !== life) problems.push(`the first that was refused was ${refusals[0]?.what}`);
    if (codes.slice(1).some((code) => code !== 'POISONED' && code !== 'FULL')) problems.push(`then ${codes.slice(1)}`);
    if (unread) problems.push(`${unread} rows could not be read when it was full`);
    if (lossesOf(filled, looked.ids)) problems.push('a reader misses acknowledged rows');
    if (!['none', 'FULL'].includes(looked.code)) problems.push(`without room a writer was told ${looked.code}`);
    if (lossesOf(filled, ids)) problems.push('acknowledged rows are lost');
    if (ids.length > acknowledged.length + 1) problems.push(`${ids.length - acknowledged.length} rows too many`);
    if (writes !== 'none') problems.push(`with room again a write gave ${writes}`);
    return problems;
}

/** One store of an origin of its own: for half a minute the browser goes by the room that an origin had before. */
async function fillUp(browser, project, place, life) {
    const site = await startServer({ root: project });
    const tab = await browser.open(`${site.origin}/pages/quota.html`);
    try {
        const session = await tab.page.createCDPSession();
        const allow = (quota) => session.send('Storage.overrideQuotaForOrigin', { origin: site.origin, ...quota });
        await allow({ quotaSize: QUOTA_BYTES });
        const filled = await run(tab, 'fill', place, life, LIVES[life]);
        const looked = await run(tab, 'look', place, life);
        await allow({});
        return { filled, looked, judged: await run(tab, 'judge', place, life) };
    } finally {
        await tab.close();
        await site.close();
    }
}

await conclude(async (outcomes) => {
    const project = await makeProject({ copy: { pages: join(root, 'tests/package/pages') } });
    const browser = await launch('chromium');
    for (const [name, place] of Object.entries(PLACES)) {
        for (const life of Object.keys(LIVES)) {
            const { filled, looked, judged } = await fillUp(browser, project, place, life);
            const told = filled.refusals.map(({ code, what }) => `${what} ${code}`);
            const what = `${name}, ${life}: ${filled.acknowledged.length} rows, then ${told}; a writer: ${looked.code}`;
            outcomes.tell(what, problemsOf(life, filled, looked, judged));
            outcomes.count('quota_refusals', filled.refusals.filter(({ code }) => code === 'FULL').length);
            outcomes.count('quota_losses', lossesOf(filled, judged.ids));
        }
    }
    await browser.close();
});
