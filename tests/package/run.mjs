/*
 * Runs the specs against the packed package, installed as a user installs it, in one engine.
 *
 * usage: node run.mjs --engine node20|node24|chromium|firefox [--grep PATTERN] [--jobs N] [SPEC...]
 * SPEC is a part of a spec file's name; all of tests/package/specs otherwise. VELTA_BUILD is where the tarball is.
 * Each file runs in a process or page of its own (support/harness.js). Failures are shown whole; the last line is
 * "N passed, N failed".
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { arrowFile, readByArrow } from './lib/arrow_files.mjs';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { parquetFile } from './lib/parquet_files.mjs';
import { countedBytes, rangeHandler } from './lib/range_server.mjs';
import { badModules } from './lib/routes.mjs';
import { startServer, strictPolicy } from './lib/server.mjs';
import { build, follow, makeProject, nodeOf, root, temporaryFolder } from './lib/tools.mjs';
import { startStreamServer } from './support/stream_server.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const FILE_SECONDS = 240;
/** The same server by its address is another origin than by its name (ranges.spec.js), and that of streams is one. */
const OTHER_ORIGIN = "connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*";
const MARK = '\u001Fvelta ';

/** The import map that serves what an installed package's exports promise. */
async function importMap(project) {
    const imports = { chai: '/node_modules/chai/index.js' };
    const { exports } = JSON.parse(await readFile(join(project, 'node_modules/velta/package.json'), 'utf8'));
    for (const [name, entry] of Object.entries(exports)) {
        const target = entry.browser?.default ?? entry.default ?? entry;
        const [from, to] = [name, target].map((path) => path.replace(/\*$/, ''));
        imports[from.replace(/^\./, 'velta')] = to.replace(/^\./, '/node_modules/velta');
    }
    return JSON.stringify({ imports });
}

function page(map, scripts) {
    return `<!doctype html><html><head><meta charset="utf-8"><title>velta</title><link rel="icon" href="/none.ico">
<script type="importmap">${map}</script>${scripts}</head><body></body></html>`;
}

/** Files that specs read, by name. */
async function fileByName(name) {
    return countedBytes(name) ?? (await parquetFile(name)) ?? arrowFile(name);
}

async function startSite(project, isolated, driver) {
    const map = await importMap(project);
    const html = (body) => () => ({ type: 'text/html; charset=utf-8', body });
    const mocha = '<script src="/node_modules/mocha/mocha.js"></script>';
    return startServer({
        root: project,
        isolated,
        policy: `${strictPolicy([createHash('sha256').update(map).digest('base64')])}; ${OTHER_ORIGIN}`,
        mounts: Object.fromEntries(
            ['demo/data', 'tests/corpus', 'tests/package/data'].map((path) => [
                `/repository/${path}/`,
                join(root, path),
            ]),
        ),
        handlers: { '/ranges/': rangeHandler(fileByName) },
        routes: {
            '/run.html': html(page(map, `${mocha}<script type="module" src="/support/page.js"></script>`)),
            '/realm.html': html(page(map, '<script type="module" src="/support/realm_page.js"></script>')),
            '/none.ico': () => ({ type: 'image/x-icon' }),
            '/arrow/read': async (request) => ({
                type: 'application/json',
                body: JSON.stringify(await readByArrow(Buffer.concat(await request.toArray()))),
            }),
            ...badModules(project),
            ...driver,
        },
    });
}

/** What realm_browser.js orders: a tab of its own, and its end. */
function driverRoutes(browser) {
    const tabs = new Map();
    const body = async (request) => Buffer.concat(await request.toArray()).toString();
    return {
        '/driver/open': async (request) => {
            const number = String(tabs.size + 1);
            tabs.set(number, await browser.open(await body(request)));
            return { body: number };
        },
        '/driver/kill': async (request) => {
            await tabs.get(await body(request)).crash();
            return {};
        },
    };
}

async function runInNode(engine, project, site, spec, settings, grep) {
    const records = [];
    const output = [];
    const code = await follow(
        nodeOf(engine),
        ['--expose-gc', 'support/node_main.js', `./${spec}`, grep].filter(Boolean),
        {
            cwd: project,
            env: {
                VELTA_COMMAND: join(build, 'velta'),
                ...process.env,
                NODE_OPTIONS: '',
                VELTA_HARNESS: JSON.stringify(settings),
            },
            signal: AbortSignal.timeout(FILE_SECONDS * 1000),
        },
        (line) => (line.startsWith(MARK) ? records.push(JSON.parse(line.slice(MARK.length))) : output.push(line)),
    );
    if (code !== 0 && !records.some((record) => record.kind === 'fail')) {
        records.push({
            kind: 'fail',
            title: spec,
            error: `the process ended with ${code}, after at most ${FILE_SECONDS} s`,
        });
    }
    return { records, output: output.filter(Boolean) };
}

async function runInBrowser(browser, site, spec, settings, grep) {
    const query = new URLSearchParams({ spec: `/${spec}`, grep: grep ?? '', harness: JSON.stringify(settings) });
    const tab = await browser.open(`${site.origin}/run.html?${query}`);
    let timer;
    const late = new Promise((done) => (timer = setTimeout(done, FILE_SECONDS * 1000, 'late')));
    const records = () => tab.evaluate(() => globalThis.veltaRecords);
    const died = { kind: 'fail', title: spec, error: `the page did not end its run in ${FILE_SECONDS} s` };
    try {
        const outcome = await Promise.race([tab.evaluate(async () => void (await globalThis.veltaDone)), late]);
        if (outcome === 'late') {
            const soFar = await Promise.race([records(), new Promise((done) => setTimeout(done, 2000, []))]);
            return { records: [...soFar, died], output: tab.errors };
        }
        return { records: await records(), output: tab.errors };
    } catch (error) {
        return {
            records: [{ kind: 'fail', title: spec, error: `the page died: ${error.message}` }],
            output: tab.errors,
        };
    } finally {
        clearTimeout(timer);
        await tab.close().catch(() => undefined);
    }
}

/** Prints one file's outcome and counts it. */
function show(outcomes, spec, { records, output }, seconds) {
    const of = (kind) => records.filter((record) => record.kind === kind);
    const [passed, failed, absent] = ['pass', 'fail', 'absent'].map(of);
    console.log(
        `${failed.length ? 'FAIL' : 'ok  '} ${seconds.toFixed(1).padStart(6)} s  ${spec} (${passed.length} passed)`,
    );
    for (const { title, reason } of absent) console.log(`       not here: ${title}: ${reason}`);
    for (const { title, error } of failed) console.log(`  FAIL ${title}\n${error.replace(/^/gm, '       ')}`);
    if (failed.length) output.forEach((line) => console.log(`       | ${line}`));
    for (const { name, count } of of('figure')) outcomes.count(name, count);
    outcomes.add(passed.length, failed.length);
    return absent.length;
}

/** Runs `work` on each item, `jobs` at a time. */
async function spread(items, jobs, work) {
    const queue = [...items];
    const lane = async () => {
        while (queue.length) await work(queue.shift());
    };
    await Promise.all(Array.from({ length: jobs }, lane));
}

/** { run(spec), close() } of an engine; `sites` are the plain and the isolated one. */
async function startEngine(engine, project, grep) {
    const inBrowser = !engine.startsWith('node');
    const browser = inBrowser ? await launch(engine) : null;
    const driver = inBrowser ? driverRoutes(browser) : {};
    const sites = [await startSite(project, false, driver), await startSite(project, true, driver)];
    const streams = await startStreamServer();
    const scratch = await temporaryFolder();
    const run = (spec) => {
        const site = sites[spec.endsWith('.isolated.spec.js') ? 1 : 0];
        const settings = { engine, origin: site.origin, streams: streams.origin, scratch, run: process.pid };
        return inBrowser
            ? runInBrowser(browser, site, spec, settings, grep)
            : runInNode(engine, project, site, spec, settings, grep);
    };
    const close = () => Promise.all([browser?.close(), ...[...sites, streams].map((site) => site.close())]);
    return { run, close, jobs: inBrowser ? 1 : 2 };
}

await conclude(async (outcomes) => {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: { engine: { type: 'string' }, grep: { type: 'string' }, jobs: { type: 'string' } },
    });
    const { engine, grep } = values;
    if (!['node20', 'node24', 'chromium', 'firefox'].includes(engine)) throw new Error('--engine names no engine');
    const project = await makeProject({
        copy: { specs: join(here, 'specs'), support: join(here, 'support') },
        packages: ['chai', 'mocha', 'fake-indexeddb'],
    });
    const specs = (await readdir(join(project, 'specs'), { recursive: true }))
        .filter((name) => name.endsWith('.spec.js'))
        .filter((name) => positionals.length === 0 || positionals.some((part) => name.includes(part)))
        .map((name) => `specs/${name}`)
        .sort();
    if (specs.length === 0) throw new Error(`no spec in ${relative(root, here)}/specs is so named`);
    const started = await startEngine(engine, project, grep);
    let absent = 0;
    await spread(specs, Number(values.jobs ?? started.jobs), async (spec) => {
        const begin = performance.now();
        const outcome = await started.run(spec);
        absent += show(outcomes, spec, outcome, (performance.now() - begin) / 1000);
    });
    await started.close();
    console.log(`${specs.length} files in ${engine}; ${absent} tests that do not apply there are listed above`);
});
