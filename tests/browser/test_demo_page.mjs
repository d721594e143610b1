/*
 * The demo page as a visitor uses it, in Chromium, against the built package. The last line is "N passed, N failed".
 *
 * usage: node tests/browser/test_demo_page.mjs [--keep] [PART OF A TEST'S NAME]
 *   --keep  the screenshots, which go to BUILD/demo, replace those of docs/images as well
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { modules, root, temporaryFolder } from '../package/lib/tools.mjs';
import { namelessControls, smallTargets, tooWide, weakContrast } from './audits.mjs';
import './cases_loading.mjs';
import './cases_stream.mjs';
import { Visitor } from './driver.mjs';
import { DIMENSIONS, cosine, countBy, dependsClass, nearest, sizeClass } from './expected.mjs';
import { checkQuiet, dist, expected, notes, ranking, runTests, screenshot, test, vote } from './suite.mjs';

const DEPENDS = ['nothing', '1\u20132', '3\u20135', '6\u201310', '11 or more'];

// ---- the page

test('the modules are sound to the type checker', null, async () => {
    const folder = await temporaryFolder();
    const config = JSON.parse(await readFile(join(root, 'demo/tsconfig.json'), 'utf8'));
    config.compilerOptions.paths = {
        velta: [join(dist, 'types/index.d.ts')],
        'velta/parquet': [join(dist, 'types/parquet/index.d.ts')],
    };
    config.include = [join(root, 'demo/page/*.js'), join(root, 'demo/velta.d.ts')];
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const done = spawnSync(process.execPath, [join(modules, 'typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' });
    assert.equal(done.stdout + done.stderr, '');
    assert.equal(done.status, 0);
});

// ---- searching

test('the page encodes as the whole encoder does', {}, async (visitor) => {
    await visitor.open();
    const vectors = await visitor.page.evaluate(async (texts) => {
        const { fetchEncoder } = await import('./files.js');
        const encoder = await fetchEncoder();
        return texts.map((text) => [...(encoder.encode(text).vector ?? [])]);
    }, expected.typed);
    const near = vectors.map((vector, i) => cosine(vector, expected.queries, 0, i * DIMENSIONS));
    assert.ok(Math.min(...near) > 0.999, `cosines ${near}`);
    notes.push(
        `encoder in the page beside the whole one, ${near.length} queries: cosine ${Math.min(...near).toFixed(5)} ` +
            'at least',
    );
    const odd = await visitor.page.evaluate(async () => {
        const { fetchEncoder } = await import('./files.js');
        const encoder = await fetchEncoder();
        return ['', 'the of and', 'qzxv qzxv', 'c++', 'ches', 'ches ', 'chess chess'].map((text) => {
            const { vector, terms, unknown, completed } = encoder.encode(text);
            return { length: vector && Math.hypot(...vector), terms, unknown, completed };
        });
    });
    const none = { length: null, terms: [], unknown: [], completed: null };
    assert.deepEqual(odd.slice(0, 2), [none, none]);
    assert.deepEqual(odd[2], { ...none, unknown: ['qzxv', 'qzxv'] });
    assert.match(odd[3].terms[0], /^c\+\+/);
    assert.deepEqual([odd[4].terms, odd[4].completed], [['chess'], { typed: 'ches', read: 'chess' }]);
    assert.deepEqual(odd[5], { ...none, unknown: ['ches'] });
    assert.ok(Math.abs(odd[6].length - 1) < 1e-5);
});

test('as one types, the nearest packages come', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open();
    await visitor.type('ches');
    assert.match(await visitor.text('#understood'), /^Read as chess · “ches…” completed$/);
    const early = (await visitor.list()).map((found) => found.name);
    await visitor.type('chess');
    const list = await visitor.list();
    assert.deepEqual(
        list.map((found) => found.name),
        early,
    );
    const about = list.slice(0, 10).filter((found) => /chess/i.test(found.name + found.summary));
    assert.ok(about.length >= 7, `${about.length} of the first ten are about chess`);
    assert.equal(await visitor.text('#count'), '9,538 packages by nearness');
    for (const [i, text] of expected.typed.entries()) {
        await visitor.type(text);
        const shown = (await visitor.list()).slice(0, 10).map((found) => found.name);
        const exact = nearest(expected, expected.queries.subarray(i * DIMENSIONS, (i + 1) * DIMENSIONS), 40);
        // Packages with the same description are equally near: what counts is the similarity.
        const least = exact[9][1] - 0.002;
        const good = new Set(exact.filter(([, similarity]) => similarity >= least).map(([name]) => name));
        const right = shown.filter((name) => good.has(name)).length;
        assert.ok(right >= 9, `${text}: ${right} of the ten nearest`);
    }
    await visitor.type('qzxv');
    assert.match(await visitor.text('#understood'), /not known: qzxv/);
    await page.press('#query', 'Escape');
    await visitor.settled();
    assert.equal(await visitor.text('#count'), '9,538 packages by name');
    assert.equal((await visitor.list())[0].name, expected.rows[0].name);
    await page.click('#understood button:text("spell checker")');
    await visitor.settled();
    assert.equal(await page.inputValue('#query'), 'spell checker');
    await page.click('#more');
    await visitor.settled();
    assert.equal((await visitor.list()).length, 60);
    assert.notEqual(await visitor.fact('Nodes visited'), '\u2013');
    assert.match(await visitor.text('#strategy'), /graph|exact/);
    assert.match(await visitor.text('#latency-median'), /\d\sms$/);
    assert.match(await visitor.text('#latency-engine'), /\d\sms$/);
    // Keys that come faster than answers share a query, so how many there were is the machine's; the plot keeps 100.
    const plotted = () => page.locator('#latency-plot circle').count();
    for (let i = 0; i < 100 && (await plotted()) < 200; i++) await visitor.type(expected.typed[i % 2]);
    await visitor.type('spell checker');
    assert.equal(await plotted(), 200);
    const sums = await checkQuiet(visitor);
    notes.push(
        `layout shift of a session of typing: ${sums.unasked.toFixed(4)} unasked, ${sums.all.toFixed(4)} in all; ` +
            `median of the last 100 queries ` +
            `${await visitor.text('#latency-engine')} in the engine, ${await visitor.text('#latency-median')} in all`,
    );
});

/** Every count beside every choice, by the rows that the other filters leave. */
async function checkCounts(visitor, filters) {
    const passing = (except) =>
        expected.rows.filter((row) =>
            Object.entries(filters).every(([facet, passes]) => facet === except || passes(row)),
        );
    assert.match(await visitor.text('#count'), new RegExp(`^${passing().length.toLocaleString('en')} package`));
    const bySection = countBy(passing('section'), (row) => row.section);
    for (const [name, [count]] of await visitor.choices('section')) assert.equal(count, bySection.get(name) ?? 0, name);
    const byLanguage = countBy(passing('language'), (row) => row.language ?? 'not known');
    for (const [name, [count]] of await visitor.choices('language'))
        assert.equal(count, byLanguage.get(name) ?? 0, name);
    const byDepends = countBy(passing('depends'), (row) => DEPENDS[dependsClass(row)]);
    for (const [name, [count]] of await visitor.choices('depends')) assert.equal(count, byDepends.get(name) ?? 0, name);
    const bySize = countBy(passing('size'), sizeClass);
    const bars = await visitor.page.evaluate(() =>
        [...document.querySelectorAll('#size-bars rect')].map((bar) => Number(bar.dataset.packages)),
    );
    bars.forEach((count, i) => assert.equal(count, bySize.get(i + 1) ?? 0, `size class ${i + 1}`));
}

test('filters narrow the list, and every count is right', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open();
    await checkCounts(visitor, {});
    assert.equal((await visitor.choices('section')).size, 15);
    await visitor.choose('section', 'games');
    await visitor.type('chess engine');
    await checkCounts(visitor, { section: (row) => row.section === 'games' });
    await visitor.choose('section', 'science');
    const sections = (row) => ['games', 'science'].includes(row.section);
    await visitor.choose('language', 'c\\+\\+');
    await visitor.choose('language', 'c');
    const languages = (row) => ['c', 'c++'].includes(row.language);
    await checkCounts(visitor, { section: sections, language: languages });
    await visitor.choose('depends', '3\u20135');
    await visitor.choose('depends', 'nothing');
    const depends = (row) => row.depends === 0 || (row.depends >= 3 && row.depends <= 5);
    await checkCounts(visitor, { section: sections, language: languages, depends });
    await page.focus('#size-from');
    for (let i = 0; i < 6; i++) await page.keyboard.press('ArrowRight');
    await page.focus('#size-to');
    for (let i = 0; i < 8; i++) await page.keyboard.press('ArrowLeft');
    await visitor.settled();
    const size = (row) => sizeClass(row) >= 7 && sizeClass(row) <= 13;
    const all = { section: sections, language: languages, depends, size };
    await checkCounts(visitor, all);
    assert.equal(await visitor.text('#size-from-text'), 'from 128 kB');
    const shown = await visitor.list();
    const rows = new Map(expected.rows.map((row) => [row.name, row]));
    for (const { name } of shown)
        assert.ok(
            Object.values(all).every((passes) => passes(rows.get(name))),
            name,
        );
    assert.equal(await page.locator('.chip').count(), 7);
    assert.deepEqual(await tooWide(page), []);
    const [listEnd, panelStart] = await page.evaluate(() =>
        [document.querySelector('.package'), document.getElementById('store-place')].map(
            (element, i) => element.getBoundingClientRect()[i ? 'left' : 'right'],
        ),
    );
    assert.ok(listEnd <= panelStart, 'the list is under the panel');
    await screenshot(page, 'demo-filters');
    await page.click('.chip:has-text("science")');
    await visitor.settled();
    await checkCounts(visitor, { ...all, section: (row) => row.section === 'games' });
    await page.click('#clear-filters');
    await visitor.settled();
    await checkCounts(visitor, {});
    await page.click('#more-languages');
    await visitor.choose('language', 'not known');
    await checkCounts(visitor, { language: (row) => row.language === null });
    await visitor.choose('section', 'education');
    await visitor.choose('language', 'not known');
    await visitor.choose('language', 'fortran');
    assert.equal(await visitor.text('#count'), '0 packages by nearness');
    await page.click('#nothing-clear');
    await visitor.settled();
    await checkCounts(visitor, {});
    await checkQuiet(visitor);
});

test('more like this, and back', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open();
    await visitor.type('midi sequencer');
    const before = await visitor.list();
    const { name } = before[2];
    await page.click('.package:nth-child(3) .like');
    await visitor.settled();
    assert.match(await visitor.text('#pivot'), new RegExp(`^like ${name.replaceAll('+', '\\+')}`));
    const like = await visitor.list();
    assert.ok(!like.some((found) => found.name === name), 'a package is not like itself');
    const row = expected.rows.findIndex((one) => one.name === name);
    const exact = nearest(expected, expected.vectors.subarray(row * DIMENSIONS, (row + 1) * DIMENSIONS), 60);
    const good = new Set(exact.filter(([, near]) => near >= exact[10][1] - 0.002).map(([found]) => found));
    assert.ok(like.slice(0, 10).filter((found) => good.has(found.name)).length >= 9);
    await page.goBack();
    await visitor.settled();
    assert.equal(await page.inputValue('#query'), 'midi sequencer');
    assert.deepEqual(await visitor.list(), before);
    await page.goForward();
    await visitor.settled();
    assert.deepEqual(await visitor.list(), like);
    await page.click('#clear-query');
    await visitor.settled();
    assert.equal(await visitor.text('#count'), '9,538 packages by name');
    await checkQuiet(visitor);
});

// ---- changing, the past, keeping

test('a thumbs-up moves the ranking at once, the slider shows the one before, and all is kept', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open();
    assert.equal(await page.isDisabled('#time'), true);
    await visitor.type('chess engine');
    const lists = [ranking(await visitor.list())];
    const log = await visitor.fact('Changes');
    const first = await vote(visitor, 6);
    lists.push(ranking(await visitor.list()));
    const place = lists[1].findIndex((line) => line.startsWith(`${first} `));
    assert.ok(place < 5, `${first} went from 6 to ${place + 1}`);
    assert.equal((await visitor.list())[place].voted, true);
    assert.match(await visitor.text('#toast-text'), new RegExp(`^${first}: 6 → ${place + 1}$`));
    assert.ok(Number((await visitor.fact('Changes')).replace(',', '')) > Number(log.replace(',', '')));
    await vote(visitor, (await visitor.list()).findIndex((found) => found.name === 'gnuchess') + 1);
    lists.push(ranking(await visitor.list()));
    await screenshot(page, 'demo-desktop-light');
    await page.focus('#time');
    await page.keyboard.press('ArrowLeft');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), lists[1]);
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), lists[0]);
    assert.match(await visitor.text('.as-of'), /^As of .*, as loaded.*2 later changes left out/);
    assert.equal(await page.isVisible('#toast'), false, 'the past offers no undo');
    assert.match(await page.getAttribute('#time', 'aria-valuetext'), /as loaded$/);
    assert.ok((await visitor.list()).every((found) => !found.canVote && !found.voted));
    await page.click('.package:nth-child(2) .up', { force: true });
    await page.focus('.package:nth-child(2) .like');
    await page.keyboard.press('+');
    await visitor.settled();
    assert.equal(await page.getAttribute('#time', 'max'), '2');
    await screenshot(page, 'demo-past');
    await page.click('#to-now');
    await visitor.settled();
    const now = await visitor.list();
    assert.deepEqual(ranking(now), lists[2]);
    await visitor.reload();
    assert.deepEqual(await visitor.list(), now);
    assert.ok(!visitor.requests.some((path) => path.startsWith('/data/')), 'the rows were fetched again');
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), lists[0]);
    await checkQuiet(visitor);
    await visitor.leave();
    const later = await Visitor.arrive({ address: visitor.address, profile: visitor.profile });
    try {
        await later.open('#q=chess+engine');
        assert.deepEqual(await later.list(), now);
        assert.ok(!later.requests.some((path) => path.startsWith('/data/')), 'the rows were fetched again');
        const undo = now.findIndex((found) => found.voted) + 1;
        await vote(later, undo);
        assert.equal((await later.list()).filter((found) => found.voted).length, 1);
        await checkQuiet(later);
    } finally {
        await later.leave();
    }
});

test('a thumbs-up can be undone from the note, and taken for a package found by another', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#like=gimp');
    const before = await visitor.list();
    const name = await vote(visitor, 7);
    assert.ok((await visitor.list()).find((found) => found.name === name).voted);
    await page.click('#toast-button:text("Undo")');
    await page.waitForFunction(() => document.getElementById('time').max === '2');
    await visitor.settled();
    const after = await visitor.list();
    assert.deepEqual(
        after.map((found) => found.name),
        before.map((found) => found.name),
    );
    assert.ok(!after.some((found) => found.voted));
    await checkQuiet(visitor);
});

async function importFile(visitor, buffer) {
    await visitor.page.setInputFiles('#import-file', {
        name: 'file.velta',
        mimeType: 'application/octet-stream',
        buffer,
    });
}

test('a snapshot goes out, and comes in again after a reset; damaged and foreign ones do not', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=mail+reader');
    await vote(visitor, 8);
    const voted = await visitor.list();
    const download = page.waitForEvent('download');
    await page.click('#export');
    const file = await download;
    assert.match(file.suggestedFilename(), /^debian-packages-\d{4}-\d\d-\d\d\.velta$/);
    const snapshot = await readFile(await file.path());
    assert.match(await visitor.text('#snapshot-text'), /MB, saved as/);
    notes.push(`snapshot with one thumbs-up: ${snapshot.length} bytes`);

    await page.click('#reset');
    await page.click('#message-other');
    assert.deepEqual(await visitor.list(), voted);
    await page.click('#reset');
    await page.evaluate(() => document.documentElement.classList.remove('is-ready'));
    await page.click('#message-ok');
    await visitor.load();
    const fresh = await visitor.list();
    assert.notDeepEqual(fresh, voted);
    assert.equal(await page.isDisabled('#time'), true);

    const middle = Buffer.from(snapshot);
    middle[snapshot.length >> 1] ^= 0x10;
    const { createDatabase, init } = await import(pathToFileURL(join(dist, 'velta.js')));
    await init();
    const foreign = Buffer.from(createDatabase().export());
    for (const [what, bytes, message] of [
        ['noise', Buffer.alloc(5000, 'noise'), /./],
        ['nothing', Buffer.alloc(0), /./],
        ['half', snapshot.subarray(0, snapshot.length >> 1), /./],
        ['a flipped bit', middle, /./],
        ['another store', foreign, /not one of this demo/],
    ]) {
        await importFile(visitor, bytes);
        await page.waitForSelector('#message[open]');
        assert.equal(await visitor.text('#message-title'), 'This file cannot be used', what);
        assert.match(await visitor.text('#message-text'), message, what);
        await page.click('#message-ok');
        await visitor.settled();
        assert.deepEqual(await visitor.list(), fresh, what);
    }
    await importFile(visitor, snapshot);
    await page.waitForFunction(() => document.getElementById('snapshot-text').textContent.includes('is in'));
    await page.waitForFunction(() => document.getElementById('time').max === '1');
    await visitor.settled();
    assert.deepEqual(await visitor.list(), voted);
    await visitor.reload();
    assert.deepEqual(await visitor.list(), voted);
    await checkQuiet(visitor);
});

test('a second tab waits for the first', {}, async (visitor) => {
    await visitor.open();
    const second = await visitor.context.newPage();
    visitor.watch(second);
    await second.goto(visitor.address);
    await second.waitForSelector('#message[open]');
    assert.equal(await second.textContent('#message-title'), 'Open in another tab');
    await visitor.page.close();
    visitor.page = second;
    await second.click('#message-ok');
    await visitor.ready();
    assert.equal(await visitor.text('#count'), '9,538 packages by name');
    await checkQuiet(visitor);
});

// ---- where memory is short, and where there is no OPFS

test('64 MB of memory are enough', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('?memory=64');
    await page.waitForFunction(
        () =>
            [...document.querySelectorAll('#log-facts div')].some((fact) =>
                /^\s*To be linked\s*0\s*$/.test(fact.textContent),
            ),
        null,
        { timeout: 120_000 },
    );
    await visitor.type('chess engine');
    const before = ranking(await visitor.list());
    for (const place of [5, 9, 12]) await vote(visitor, place);
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), before);
    await page.click('#to-now');
    await visitor.choose('section', 'games');
    const now = await visitor.list();
    const memory = await visitor.text('.memory-text');
    const [used, budget] = memory
        .replaceAll('\u00a0', ' ')
        .match(/[\d.]+ MB/g)
        .map(parseFloat);
    assert.ok(budget <= 64 * 1.048576 && used <= budget, memory);
    notes.push(`64 MiB of module memory: ${memory.replaceAll('\u00a0', ' ')}`);
    const download = page.waitForEvent('download');
    await page.click('#export');
    assert.ok((await readFile(await (await download).path())).length > 1e6);
    await visitor.reload();
    assert.deepEqual(await visitor.list(), now);
    await checkQuiet(visitor);
});

test('IndexedDB keeps it all as well', {}, async (visitor) => {
    await visitor.open('?storage=indexeddb#q=chess+engine');
    assert.match(await visitor.fact('Kept in'), /^IndexedDB/);
    await vote(visitor, 6);
    const now = await visitor.list();
    await visitor.reload();
    assert.deepEqual(await visitor.list(), now);
    assert.ok(!visitor.requests.some((path) => path.startsWith('/data/')), 'the rows were fetched again');
    await checkQuiet(visitor);
});

// ---- for everyone

const focused = (page) =>
    page.evaluate(() => {
        const at = document.activeElement;
        return at.id || at.getAttribute('aria-label') || at.textContent;
    });

test('everything can be done by keyboard, and the focus is seen', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open();
    assert.equal(await focused(page), 'query');
    await page.keyboard.press('Tab');
    await page.keyboard.press('/');
    assert.equal(await focused(page), 'query');
    await page.keyboard.type('burn a cd', { delay: 15 });
    await visitor.settled();
    const list = await visitor.list();
    await page.keyboard.press('ArrowDown');
    assert.equal(await focused(page), `More like ${list[0].name}`);
    for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowDown');
    assert.equal(await focused(page), `More like ${list[4].name}`);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, 'solid');
    await page.keyboard.press('+');
    await page.waitForFunction(() => document.getElementById('time').max === '1');
    await visitor.settled();
    assert.equal(await focused(page), `More like ${list[4].name}`, 'the focus goes with the package');
    await page.keyboard.press('End');
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowUp');
    assert.equal(await focused(page), 'query');
    await page.keyboard.press('ArrowDown');
    const name = (await visitor.list())[0].name;
    await page.keyboard.press('Enter');
    await visitor.settled();
    assert.match(await visitor.text('#pivot'), new RegExp(`like ${name}`));
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Escape');
    assert.equal(await focused(page), 'query');
    await page.keyboard.press('Escape');
    await visitor.settled();
    assert.equal(await visitor.text('#count'), '9,538 packages by name');
    // Every control of the page is reached by Tab, in the order in which they are seen.
    const reached = new Set();
    await page.evaluate(() => document.activeElement.blur());
    for (let i = 0; i < 400; i++) {
        await page.keyboard.press('Tab');
        reached.add(await focused(page));
    }
    for (const control of [
        'query',
        'theme',
        'size-from',
        'size-to',
        'more-languages',
        'more',
        'stream-rate',
        'stream-button',
        'export',
        'import',
        'reset',
        'time',
    ]) {
        assert.ok(reached.has(control), `${control} is not reached`);
    }
    await page.focus('#section-choices li:nth-child(3) input');
    await page.keyboard.press('Space');
    await visitor.settled();
    assert.equal(await page.locator('.chip').count(), 1);
    await checkQuiet(visitor);
});

test('controls have names, texts have contrast, by day and by night, now and then', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=image+viewer&section=graphics');
    await vote(visitor, 5);
    const check = async (state) => {
        const { count, nameless } = await namelessControls(page);
        assert.deepEqual(nameless, [], state);
        assert.ok(count > 80, `${count} controls`);
        assert.deepEqual(await weakContrast(page), [], state);
    };
    await check('by day');
    await page.click('#theme');
    assert.equal(await page.getAttribute('#theme', 'aria-pressed'), 'true');
    const night = await page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor);
    await check('by night');
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    await check('the past by night');
    await page.click('#theme');
    await check('the past by day');
    await page.click('#theme');
    await visitor.reload();
    assert.equal(await page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor), night);
    await checkQuiet(visitor);
});

const dark = { context: { colorScheme: 'dark' } };
test('the dark of the system is followed', dark, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=molecular+dynamics+simulation&section=science');
    await vote(visitor, 4);
    assert.equal(await page.getAttribute('#theme', 'aria-pressed'), 'true');
    const [r, g, b] = await page.evaluate(() =>
        getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number),
    );
    assert.ok(r + g + b < 120, `${r} ${g} ${b}`);
    assert.deepEqual(await weakContrast(page), []);
    await screenshot(page, 'demo-desktop-dark');
    await checkQuiet(visitor);
});

const calm = { context: { reducedMotion: 'reduce' } };
test('where movement is not wanted, nothing moves', calm, async (visitor) => {
    await visitor.open('#q=chess+engine');
    await visitor.page.evaluate(() => {
        window.moved = 0;
        const watch = () => {
            window.moved += document.getAnimations().length;
            requestAnimationFrame(watch);
        };
        watch();
    });
    await vote(visitor, 6);
    assert.equal(await visitor.page.evaluate(() => window.moved), 0);
});

const phone = {
    context: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
};

async function usePhone(visitor, shade) {
    const { page } = visitor;
    await visitor.open();
    assert.notEqual(await focused(page), 'query');
    await visitor.type('chess engine');
    await vote(visitor, 3);
    assert.deepEqual(await tooWide(page), []);
    assert.deepEqual(await smallTargets(page, 28), []);
    assert.deepEqual((await namelessControls(page)).nameless, []);
    await screenshot(page, `demo-phone-${shade}`);
    await page.tap('#open-filters');
    await page.waitForSelector('#sheet[open]');
    await page.tap('#section-choices li:nth-child(3) label');
    await visitor.settled();
    assert.deepEqual((await namelessControls(page)).nameless, []);
    assert.deepEqual(await weakContrast(page), []);
    assert.deepEqual(await tooWide(page), []);
    await screenshot(page, `demo-phone-filters-${shade}`);
    await page.tap('#sheet-close');
    await visitor.settled();
    assert.equal(await visitor.text('#count'), '1,079 packages by nearness');
    assert.equal(await visitor.text('#filter-badge'), '1');
    await page.tap('#open-store');
    await page.waitForSelector('#store h2 >> visible=true');
    assert.deepEqual(await tooWide(page), []);
    await screenshot(page, `demo-phone-store-${shade}`);
    await page.keyboard.press('Escape');
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.match(await visitor.text('.as-of'), /^As of .*, as loaded/);
    assert.deepEqual(await tooWide(page), []);
    await checkQuiet(visitor);
}

test('a phone by day', phone, (visitor) => usePhone(visitor, 'light'));
test('a phone by night', { context: { ...phone.context, colorScheme: 'dark' } }, (visitor) =>
    usePhone(visitor, 'dark'),
);

await runTests();
