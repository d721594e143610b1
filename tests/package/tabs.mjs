/*
 * Four tabs of one profile that all want the same two stores, one in IndexedDB and one in OPFS, while tabs are crashed,
 * closed and reloaded at random. Whoever has a store writes to it; the others must be told LOCKED and try again. A
 * ledger of what was acknowledged says whether two tabs ever wrote at once, and whether anything was lost.
 *
 * Then the same with Web Locks that grant everyone: the epoch in IndexedDB and the exclusive handles of OPFS must keep
 * the writers apart. And last with the epoch hidden as well, which the ledger must notice, or it proves nothing.
 *
 * usage: node tabs.mjs [--engine chromium|firefox] [--kills N] [--seed N]
 * --kills: of tabs, with locks and again without. The seed decides which tab ends when, and how.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer } from './lib/server.mjs';
import { makeProject, root } from './lib/tools.mjs';
import { randomFrom } from './support/random.js';

const TABS = 4;
const STORAGES = ['indexeddb', 'opfs'];
const TIMES = process.env.VELTA_SOAK ? { chromium: 200, firefox: 60 } : { chromium: 24, firefox: 8 };
const QUIET_SECONDS = 60; /* without a write something is wrong */
const MOST_KILLS = 10 * TABS + 10 * Math.max(...Object.values(TIMES));
const LEAST = { writes: 300, openings: 6, refusals: 4 };

/** What the tabs acknowledged in one store, in the order of its arrival. */
class Ledger {
    writes = [];
    refusals = 0;
    doubles = 0;
    lost = 0;
    openings = 0;
    #owners = new Map();
    #epochs = new Map();

    acknowledge({ epoch, tab, ids }) {
        if ((this.#epochs.get(epoch) ?? tab) !== tab) this.doubles += 1;
        this.#epochs.set(epoch, tab);
        for (const id of ids) {
            if (this.#owners.has(id)) this.doubles += 1;
            this.#owners.set(id, tab);
            this.writes.push([id, tab]);
        }
    }

    /** What a tab found, against what had been acknowledged when it began to open. */
    judge({ known, rows }) {
        this.openings += 1;
        const there = new Map(rows.map(([id, , tab]) => [id, tab]));
        for (const [id, tab] of this.writes.slice(0, known)) {
            if (there.get(id) !== tab || there.get(id + 1) !== tab) this.lost += 1;
        }
        rows.sort((a, b) => a[0] - b[0]);
        rows.forEach(([id, epoch, tab], i) => {
            /* A half write, a row between others of a later writer. */
            if (id !== i + 1 || (id % 2 === 0 && rows[i - 1][2] !== tab)) this.lost += 1;
            if (i > 0 && rows[i - 1][1] > epoch) this.doubles += 1;
        });
        if (rows.length % 2) this.lost += 1;
    }
}

function routesOf(ledgers, fail) {
    const route = (answer) => async (request) => {
        const told = JSON.parse(Buffer.concat(await request.toArray()).toString());
        const answered = answer(ledgers[told.storage], told) ?? {};
        return { type: 'application/json', body: JSON.stringify(answered) };
    };
    return {
        '/begin': route((ledger) => ({ known: ledger.writes.length })),
        '/found': route((ledger, told) => ledger.judge(told)),
        '/acknowledged': route((ledger, told) => ledger.acknowledge(told)),
        '/refused': route((ledger) => void (ledger.refusals += 1)),
        '/failed': route((_, { error }) => fail(error)),
    };
}

/** Tabs that end and are followed by others, at least `kills` times, and until `enough` is there. */
async function storm({ engine, project, random, mode, kills, enough }) {
    const ledgers = { indexeddb: new Ledger(), opfs: new Ledger() };
    const failures = [];
    const site = await startServer({ root: project, routes: routesOf(ledgers, (error) => void failures.push(error)) });
    const url = `${site.origin}/pages/tabs.html${mode && `?mode=${mode}`}`;
    const browser = await launch(engine);
    try {
        const tabs = [];
        for (let i = 0; i < TABS; i++) tabs.push(await browser.open(url));
        let [before, since] = ['', Date.now()];
        let killed = 0;
        while (failures.length === 0 && killed < MOST_KILLS && (killed < kills || !enough(ledgers))) {
            await new Promise((done) => setTimeout(done, 100 + random.below(500)));
            const now = STORAGES.map((storage) => ledgers[storage].writes.length).join();
            if (now !== before) [before, since] = [now, Date.now()];
            else if (Date.now() - since > QUIET_SECONDS * 1000) failures.push(`nothing was written: ${now}`);
            const i = random.below(TABS);
            const how = random.pick(['reload', 'close', 'crash']);
            if (how === 'reload')
                await tabs[i].evaluate(() => void setTimeout(() => location.reload())).catch(() => undefined);
            else {
                await tabs[i][how]();
                tabs[i] = await browser.open(url);
            }
            killed += 1;
        }
        return { ledgers, failures, killed };
    } finally {
        await browser.kill().catch(() => undefined);
        await site.close();
    }
}

/** What every storm must have seen. */
function isEnough(ledgers) {
    return STORAGES.every((storage) => {
        const { writes, openings, refusals } = ledgers[storage];
        return writes.length >= LEAST.writes && openings >= LEAST.openings && refusals >= LEAST.refusals;
    });
}

function tellStorm(outcomes, what, { ledgers, failures, killed }) {
    for (const storage of STORAGES) {
        const { writes, refusals, doubles, lost, openings } = ledgers[storage];
        const problems = [...failures];
        if (doubles) problems.push(`${doubles} double commits`);
        if (lost) problems.push(`${lost} writes lost or halved`);
        if (!isEnough(ledgers)) problems.push('too little happened');
        const told = `${writes.length} writes, ${openings} openings, ${refusals} refusals, ${killed} tabs ended`;
        outcomes.tell(`${what}: ${storage}: ${told}`, problems);
        outcomes.count('tab_writes', writes.length);
        outcomes.count('tab_double_commits', doubles);
        outcomes.count('browser_lost', lost);
    }
    outcomes.count('tab_kills', killed);
}

await conclude(async (outcomes) => {
    const text = (value) => ({ type: 'string', default: String(value) });
    const options = { engine: text('chromium'), kills: text(''), seed: text(Date.now() % 2 ** 31) };
    const { values } = parseArgs({ options });
    const { engine } = values;
    const kills = Number(values.kills || TIMES[engine]);
    console.log(`seed ${values.seed}`);
    const random = randomFrom(Number(values.seed));
    const copy = { pages: join(root, 'tests/package/pages') };
    const project = await makeProject({ copy });
    const scene = { engine, project, random, kills, mode: '', enough: isEnough };
    tellStorm(outcomes, 'with locks', await storm(scene));
    tellStorm(outcomes, 'without locks', await storm({ ...scene, mode: 'lockless' }));
    if (engine !== 'chromium') return; /* the ledger is the same */
    const isNoticed = ({ indexeddb }) => indexeddb.doubles + indexeddb.lost > 0;
    const { ledgers, failures } = await storm({ ...scene, mode: 'blind', kills: 0, enough: isNoticed });
    /* Two writers may also leave what no tab can open. */
    const isTold = isNoticed(ledgers) || failures.some((error) => error.startsWith('indexeddb: CORRUPT'));
    outcomes.tell('without locks and epochs, noticed', isTold ? [] : ['it was never noticed', ...failures]);
});
