/*
 * Ends the writers of three stores over and over, at random moments while they insert, change, delete, apply deltas,
 * checkpoint and compact, all over one profile, and compares what is found afterwards with a ledger of what was
 * acknowledged as durable: every opening must find exactly the rows that some number of changes leaves, and at least
 * those that were acknowledged.
 *
 * How they end: the browser's process group is killed, the page is reloaded, its process is made to crash, its tab is
 * closed, its workers are ended.
 *
 * usage: node crash.mjs [--engine chromium|firefox] [--kills N] [--ends N] [--seed N]
 * --kills: of the browser; --ends: of each other kind. With VELTA_SOAK=1 many more. The seed decides the order of the
 * ends, the moments and the changes. Last of all comes a run whose page tells changes before they are durable: it must
 * be found out, or the ledger proves nothing.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer } from './lib/server.mjs';
import { makeProject, root, temporaryFolder } from './lib/tools.mjs';
import { MOST_UNTOLD, changeRows, nextChange, rowsOf, textOf } from './pages/changes.js';
import { randomFrom } from './support/random.js';

const PLACES = ['page', 'worker', 'opfs'];
const WORKERS = PLACES.slice(1);
const START_SECONDS = 60;
const MOST_OPEN_MS = 3000;
const MOST_WAIT_MS = 400;
const ANSWER_MS = 20_000;
const MOST_STARTS = 4;
const MOST_WRONG = 5; /* after so many failures the rest tells nothing new */
/** How often the browser is killed, and how often each other end comes. Firefox takes long to start. */
const TIMES = process.env.VELTA_SOAK
    ? { chromium: [1000, 500], firefox: [100, 200] }
    : { chromium: [20, 10], firefox: [4, 8] };
const HASTY_TRIES = 6;

/** What one store is known to hold. */
class Ledger {
    /** The number of changes, at the beginning of each life and acknowledged since the last. */
    found = [0];
    acknowledged = 0;
    /** The rows that the life began with. */
    text = textOf(new Map());
    lost = 0;

    constructor(seed) {
        this.seed = seed;
    }

    get life() {
        return this.found.length - 1;
    }

    acknowledge(life, count) {
        /* Told by a page that has ended since: what it says was durable before the next opening. */
        if (life < this.life) this.lost += Math.max(0, count - this.found[life + 1]);
        else this.acknowledged = Math.max(this.acknowledged, count);
    }

    /** The numbers of changes, of this life, that leave these rows. */
    #matches(text) {
        const rows = rowsOf(this.text);
        const matches = [];
        for (let count = this.found.at(-1); ; count++) {
            if (textOf(rows) === text) matches.push(count);
            if (count === this.acknowledged + MOST_UNTOLD) return matches;
            changeRows(rows, nextChange(this.seed, count, rows));
        }
    }

    /** What is wrong with the rows that were found. */
    judge(text) {
        const problems = this.lost ? [`${this.lost} changes are lost that were told later`] : [];
        const count = this.#matches(text).at(-1);
        if (count === undefined) {
            problems.push('these rows are those of no number of changes');
            this.lost += 1;
        } else if (count < this.acknowledged) {
            problems.push(`${this.acknowledged - count} acknowledged changes are lost`);
            this.lost += this.acknowledged - count;
        }
        this.acknowledged = count ?? this.acknowledged;
        this.found.push(this.acknowledged);
        this.text = text;
        return problems;
    }
}

/** The far side of the page: the ledgers, and whoever waits for stores to be opened. */
class Witness {
    ledgers = new Map();
    #outcomes;
    #label = 'first opening';
    #expected = new Set();
    #opened = () => undefined;
    #failed = () => undefined;

    constructor(seed, outcomes) {
        this.#outcomes = outcomes;
        PLACES.forEach((place, i) => this.ledgers.set(place, new Ledger(seed + i)));
    }

    get routes() {
        const route = (answer) => async (request) => {
            const told = JSON.parse(Buffer.concat(await request.toArray()).toString());
            return { type: 'application/json', body: JSON.stringify(answer(told) ?? {}) };
        };
        return {
            '/found': route((told) => this.#find(told)),
            '/acknowledged': route(({ place, life, count }) => this.ledgers.get(place).acknowledge(life, count)),
            '/failed': route(({ error }) => this.#failed(new Error(`${this.#label}: ${error}`))),
        };
    }

    #find({ place, text, openMs }) {
        const ledger = this.ledgers.get(place);
        const problems = ledger.judge(text);
        if (openMs > MOST_OPEN_MS) problems.push(`opening took more than ${MOST_OPEN_MS} ms`);
        const changes = `${ledger.acknowledged} changes, opened in ${Math.round(openMs)} ms`;
        this.#outcomes.tell(`${this.#label}: ${place}: ${changes}`, problems);
        this.#expected.delete(place);
        if (this.#expected.size === 0) this.#opened();
        return { life: ledger.life, seed: ledger.seed, count: ledger.acknowledged };
    }

    /** Does what makes these stores be opened again, and waits until they are. */
    async reopening(label, places, action) {
        this.#label = label;
        this.#expected = new Set(places);
        let timer;
        const opened = new Promise((done, failed) => {
            this.#opened = done;
            this.#failed = failed;
            const late = () => failed(new Error(`${label}: not opened in ${START_SECONDS} s: ${[...this.#expected]}`));
            timer = setTimeout(late, START_SECONDS * 1000);
        });
        opened.catch(() => undefined);
        await action();
        await opened.finally(() => clearTimeout(timer));
    }

    get lost() {
        return [...this.ledgers.values()].reduce((sum, { lost }) => sum + lost, 0);
    }
}

/** The browser over its one profile, and the ends that it and its tab may come to. */
class Visit {
    #engine;
    #profile;
    #url;
    #browser;
    #tab;

    constructor(engine, profile, url) {
        this.#engine = engine;
        this.#profile = profile;
        this.#url = url;
    }

    async begin() {
        /* Firefox now and then ends itself when it starts over what a killed one left. */
        for (let start = 1; !this.#browser; start++) {
            const started = launch(this.#engine, { profile: this.#profile, answerMs: ANSWER_MS });
            this.#browser = await started.catch((error) => {
                if (start === MOST_STARTS) throw error;
            });
        }
        await this.#arrive();
    }

    async #arrive() {
        this.#tab = await this.#browser.open(this.#url);
    }

    async kill() {
        await this.#browser.kill();
        this.#browser = undefined;
        await this.begin();
    }

    /** The page begins anew; that its `load` is waited for would only hold this up. */
    async reload() {
        await this.#tab.page.evaluate(() => void setTimeout(() => location.reload())).catch(() => undefined);
    }

    async close() {
        await this.#tab.close();
        await this.#arrive();
    }

    async crash() {
        await this.#tab.crash();
        await this.#arrive();
    }

    async endWorkers() {
        await this.#tab.evaluate(() => globalThis.endWorkers());
    }

    end() {
        return this.#browser?.kill();
    }
}

/** The ends in an order at random: [method, which stores are opened again]. */
function orderOf(engine, kills, ends, random) {
    const order = Array.from({ length: kills }, () => ['kill', PLACES]);
    const others = ['reload', 'close', 'endWorkers'];
    if (engine === 'chromium') others.push('crash'); /* the other's protocol has no command for it */
    for (const name of others) {
        for (let i = 0; i < ends; i++) order.push([name, name === 'endWorkers' ? WORKERS : PLACES]);
    }
    for (let i = order.length - 1; i > 0; i--) {
        const j = random.below(i + 1);
        [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
}

async function endOverAndOver(engine, project, order, random, witness, outcomes, query) {
    const site = await startServer({ root: project, routes: witness.routes });
    const visit = new Visit(engine, await temporaryFolder(), `${site.origin}/pages/crash.html${query}`);
    const made = { kill: 0, other: 0 };
    try {
        await witness.reopening('first opening', PLACES, () => visit.begin());
        for (const [i, [name, places]] of order.entries()) {
            await new Promise((done) => setTimeout(done, 20 + random.below(MOST_WAIT_MS)));
            await witness.reopening(`${i + 1}. ${name}`, places, () => visit[name]());
            made[name === 'kill' ? 'kill' : 'other'] += 1;
            if (outcomes.failed >= MOST_WRONG) break;
        }
    } finally {
        await visit.end()?.catch(() => undefined);
        await site.close();
    }
    return made;
}

/** The page that tells too early: reloads alone must show it. */
async function findOutHaste(engine, project, seed, outcomes) {
    const order = Array.from({ length: HASTY_TRIES }, () => ['reload', PLACES]);
    const found = { failed: 0, tell: (what, problems) => (found.failed += problems.length) };
    const witness = new Witness(seed, found);
    await endOverAndOver(engine, project, order, randomFrom(seed), witness, found, '?hasty');
    outcomes.tell(`told too early, which was found ${found.failed} times`, found.failed ? [] : ['it was never found']);
}

await conclude(async (outcomes) => {
    const text = (value) => ({ type: 'string', default: String(value) });
    const options = { engine: text('chromium'), kills: text(''), ends: text(''), seed: text(Date.now() % 2 ** 31) };
    const { values } = parseArgs({ options });
    const { engine } = values;
    const [kills, ends] = [values.kills, values.ends].map((given, i) => Number(given || TIMES[engine][i]));
    const seed = Number(values.seed);
    console.log(`seed ${seed}`);
    const copy = { pages: join(root, 'tests/package/pages'), support: join(root, 'tests/package/support') };
    const project = await makeProject({ copy });
    const random = randomFrom(seed);
    const witness = new Witness(seed, outcomes);
    const order = orderOf(engine, kills, ends, random);
    const made = await endOverAndOver(engine, project, order, random, witness, outcomes, '');
    outcomes.count('browser_kills', made.kill);
    outcomes.count('browser_reloads', made.other);
    outcomes.count('browser_lost', witness.lost);
    if (outcomes.failed === 0) await findOutHaste(engine, project, seed, outcomes);
});
