/*
 * Four tabs of one profile that share a store by openShared() and work on it at once, each a stated number of
 * operations, while tabs are crashed, closed and reloaded at random, the one that has the store among them. A ledger of
 * what was sent and what was acknowledged says whether anything was lost, or made twice: rows have keys, which would
 * refuse a second insert, and counters count. Every second tab has a copy of the store, and at the end all tabs must
 * have the same, byte by byte. Then the same with pages that make some changes twice, which the
 * ledger must notice, or it proves nothing.
 *
 * usage: node tabs_shared.mjs [--engine chromium|firefox] [--operations N] [--seed N]
 * --operations: of each tab's place; 10,000 with VELTA_SOAK. The seed decides which tab ends when, and how.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer } from './lib/server.mjs';
import { makeProject, root } from './lib/tools.mjs';
import { randomFrom } from './support/random.js';

const TABS = 4;
const OPERATIONS = process.env.VELTA_SOAK ? 10_000 : 1_000;
const QUIET_SECONDS = 60; /* without an answer something is wrong */
const LEAST_KILLS = { chromium: 16, firefox: 6 };

class Ledger {
    /** By life: the numbers sent, acknowledged, uncertain. */
    lives = new Map();
    done = new Array(TABS).fill(0);
    uncertain = 0;
    failures = [];
    /** Lives that had the store, and the place of the last. */
    leaders = new Set();
    leader = 0;
    kills = 0;
    #wanted;
    #leastKills;

    constructor(wanted, leastKills) {
        this.#wanted = wanted;
        this.#leastKills = leastKills;
    }

    begin() {
        const life = this.lives.size + 1;
        this.lives.set(life, { sent: new Set(), acknowledged: new Set() });
        return { life };
    }

    send({ life, numbers }) {
        for (const number of numbers) this.lives.get(life).sent.add(number);
        return {};
    }

    acknowledge({ place, life, acknowledged, uncertain, isLeader }) {
        for (const number of acknowledged) this.lives.get(life).acknowledged.add(number);
        this.done[place] += acknowledged.length;
        this.uncertain += uncertain.length;
        if (isLeader) {
            this.leaders.add(life);
            this.leader = place;
        }
        return { isEnough: this.#isStormy && this.done[place] >= this.#wanted };
    }

    get isEnough() {
        return this.#isStormy && this.done.every((count) => count >= this.#wanted);
    }

    /** Tabs enough have ended, and the store was taken over. */
    get #isStormy() {
        return this.kills >= this.#leastKills && this.leaders.size > 1;
    }

    /** What is in the store, against what was told. */
    judge({ rows, counters }) {
        const problems = { lost: 0, doubled: 0 };
        const there = new Set(rows);
        for (const [life, { sent, acknowledged }] of this.lives) {
            const counting = (numbers) => [...numbers].filter((number) => number % 3 === 1).length;
            const count = counters[life] ?? 0;
            if (count < counting(acknowledged)) problems.lost += counting(acknowledged) - count;
            if (count > counting(sent)) problems.doubled += count - counting(sent);
            for (const number of sent) {
                if (number % 3 !== 0) continue;
                if (acknowledged.has(number) && !there.has(life * 1_000_000 + number)) problems.lost += 1;
                there.delete(life * 1_000_000 + number);
            }
        }
        problems.doubled += there.size + rows.length - new Set(rows).size;
        return problems;
    }
}

function routesOf(ledger) {
    const route = (answer) => async (request) => {
        const told = JSON.parse(Buffer.concat(await request.toArray()).toString());
        return { type: 'application/json', body: JSON.stringify(answer(told) ?? {}) };
    };
    return {
        '/begin': route(() => ledger.begin()),
        '/sending': route((told) => ledger.send(told)),
        '/acknowledged': route((told) => ledger.acknowledge(told)),
        '/failed': route(({ error }) => void ledger.failures.push(error)),
    };
}

/** All that is in the store, read in a tab after the others have ended. */
async function readStore(browser, url, storage) {
    const tab = await browser.open(url);
    return tab.evaluate(async (kind) => {
        const { openShared } = await import('/node_modules/velta/dist/velta.js');
        const db = await openShared('shared', { storage: kind });
        await db.verify();
        const rows = await (await db.table('rows')).all().keys();
        const lives = await (await db.table('counters')).all().toArray();
        await db.close();
        return { rows, counters: Object.fromEntries(lives.map(({ life, n }) => [life, n[0]])) };
    }, storage);
}

/** What differs from tab to tab after all have done their work; copies may have a moment to hear of the last change. */
async function differences(tabs) {
    let seen = [];
    for (let i = 0; i < 100; i++) {
        seen = await Promise.all(
            tabs.map((tab) => tab.evaluate(() => globalThis.whatIsThere?.()).catch(() => undefined)),
        );
        const isWhole = seen.every((one, place) => one && (place % 2 === 0 || one.isLeader || one.isReplica));
        if (isWhole && new Set(seen.map(({ digest }) => digest)).size === 1) return [];
        await new Promise((done) => setTimeout(done, 100));
    }
    return [`the tabs do not have the same: ${JSON.stringify(seen)}`];
}

async function endTab(tabs, i, how, open) {
    if (how === 'reload') await tabs[i].evaluate(() => void setTimeout(() => location.reload())).catch(() => undefined);
    else {
        await tabs[i][how]();
        tabs[i] = await open(i);
    }
}

async function storm({ engine, project, random, storage, operations, mode = '' }) {
    const ledger = new Ledger(operations, LEAST_KILLS[engine]);
    const site = await startServer({ root: project, routes: routesOf(ledger) });
    const browser = await launch(engine);
    const page = `${site.origin}/pages/tabs_shared.html`;
    const open = (place) => browser.open(`${page}?storage=${storage}&place=${place}&mode=${mode}`);
    try {
        const tabs = [];
        for (let i = 0; i < TABS; i++) tabs.push(await open(i));
        let [before, since] = ['', Date.now()];
        while (ledger.failures.length === 0 && !ledger.isEnough) {
            await new Promise((done) => setTimeout(done, 100 + random.below(700)));
            const now = ledger.done.join();
            if (now !== before) [before, since] = [now, Date.now()];
            else if (Date.now() - since > QUIET_SECONDS * 1000) ledger.failures.push(`nothing was answered: ${now}`);
            const place = random.below(2) ? ledger.leader : random.below(TABS);
            await endTab(tabs, place, random.pick(['reload', 'close', 'crash']), open);
            ledger.kills += 1;
        }
        if (ledger.failures.length === 0) ledger.failures.push(...(await differences(tabs)));
        if (ledger.failures.length > 0) tabs.forEach(({ errors }) => ledger.failures.push(...errors));
        for (const tab of tabs) await tab.close().catch(() => undefined);
        if (ledger.failures.length > 0) return { ledger, problems: { lost: 0, doubled: 0 } };
        const found = await readStore(browser, page, storage);
        return { ledger, problems: ledger.judge(found) };
    } finally {
        await browser.kill().catch(() => undefined);
        await site.close();
    }
}

function tellStorm(outcomes, storage, { ledger, problems: { lost, doubled } }) {
    const problems = [...ledger.failures];
    if (lost) problems.push(`${lost} operations lost`);
    if (doubled) problems.push(`${doubled} made twice`);
    const total = ledger.done.reduce((sum, count) => sum + count, 0);
    const told = `${total} operations, ${ledger.kills} tabs ended, ${ledger.leaders.size} had the store`;
    outcomes.tell(`shared in ${storage}: ${told}, ${ledger.uncertain} changes uncertain`, problems);
    outcomes.count('tab_shared_operations', total);
    outcomes.count('tab_kills', ledger.kills);
    outcomes.count('tab_double_commits', doubled);
    outcomes.count('browser_lost', lost);
}

await conclude(async (outcomes) => {
    const text = (value) => ({ type: 'string', default: String(value) });
    const options = { engine: text('chromium'), operations: text(OPERATIONS), seed: text(Date.now() % 2 ** 31) };
    const { values } = parseArgs({ options });
    console.log(`seed ${values.seed}`);
    const random = randomFrom(Number(values.seed));
    const project = await makeProject({ copy: { pages: join(root, 'tests/package/pages') } });
    for (const storage of ['opfs', 'indexeddb']) {
        const scene = { engine: values.engine, project, random, storage, operations: Number(values.operations) };
        tellStorm(outcomes, storage, await storm(scene));
    }
    if (values.engine !== 'chromium') return; /* the ledger is the same */
    const scene = { engine: values.engine, project, random, storage: 'indexeddb', operations: 100, mode: 'careless' };
    const isNoticed = (await storm(scene)).problems.doubled > 0;
    outcomes.tell('changes made twice, noticed', isNoticed ? [] : ['it was never noticed']);
});
