/* The simulated stream: rate, the list that follows, stopping, undoing, pages that go away, history that is let go. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { checkQuiet, notes, ranking, shotsFolder, test, vote } from './suite.mjs';

const deltas = async (visitor) => Number((await visitor.fact('Deltas in all')).replaceAll(',', ''));

/** Moves the slider of the rate by the keyboard, as a visitor would, to a place from 0 to 51. */
async function setRate(visitor, place) {
    const { page } = visitor;
    await page.focus('#stream-rate');
    await page.keyboard.press(place > 25 ? 'End' : 'Home');
    for (let at = place > 25 ? 51 : 0; at !== place; at += place > 25 ? -1 : 1) {
        await page.keyboard.press(place > 25 ? 'ArrowLeft' : 'ArrowRight');
    }
}

async function stopStream(visitor) {
    await visitor.page.click('#stream-button:text("Stop")');
    await visitor.page.waitForSelector('#stream-button:text("Start")');
    await visitor.settled();
}

/** @param {number} step of the slider, where the undoing is shown */
async function undoStream(visitor, step) {
    await visitor.page.click('#stream-undo');
    const answer = await visitor.page.waitForFunction((expected) => {
        const refusal = document.querySelector('dialog[open]')?.textContent;
        return refusal ?? (Number(document.getElementById('time').max) === expected && 'undone');
    }, step);
    assert.equal(await answer.jsonValue(), 'undone');
    await visitor.settled();
}

/** Deltas applied a second, over some seconds of the page's own clock. */
async function rateOver(visitor, seconds) {
    const look = () =>
        visitor.page.evaluate(() => {
            const facts = [...document.querySelectorAll('#stream-facts dd')];
            return { time: performance.now(), count: Number(facts[1].textContent.replaceAll(',', '')) };
        });
    const from = await look();
    await visitor.page.waitForTimeout(seconds * 1000);
    const to = await look();
    return ((to.count - from.count) / (to.time - from.time)) * 1000;
}

test('a stream moves the ranking, at the rate asked for, and the past stays', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=chess+engine');
    const before = ranking(await visitor.list());
    assert.equal(await deltas(visitor), 0);
    assert.equal(await page.isDisabled('#stream-undo'), true);
    await setRate(visitor, 10);
    assert.equal(await visitor.text('#stream-rate-text'), '10 a second');
    assert.equal(await page.getAttribute('#stream-rate', 'aria-valuetext'), '10 a second');
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(() => /\d\/s$/.test(document.querySelector('#stream-facts dd').textContent));
    const slow = await rateOver(visitor, 6);
    assert.ok(slow > 4 && slow < 16, `${slow} a second instead of 10`);
    assert.ok(
        (await visitor.list()).every((found) => !found.canVote),
        'no votes beside the stream',
    );
    await setRate(visitor, 30);
    assert.equal(await visitor.text('#stream-rate-text'), '1,000 a second');
    await page.waitForTimeout(2500);
    const fast = await rateOver(visitor, 6);
    assert.ok(fast > slow * 5 && fast < 1300, `${fast} a second instead of 1,000`);
    await setRate(visitor, 51);
    assert.equal(await visitor.text('#stream-rate-text'), 'as fast as the store takes them');
    // Nothing is typed or pressed: the list follows by itself.
    const live = ranking(await visitor.list());
    await page.waitForFunction((was) => {
        const lines = [...document.querySelectorAll('.package')].map(
            (place) => `${place.querySelector('.name').textContent} ${place.querySelector('.score').textContent}`,
        );
        return lines.filter((line, i) => line !== was[i]).length > 5;
    }, live);
    const most = await rateOver(visitor, 3);
    notes.push(
        `stream, deltas/s: ${slow.toFixed(1)} where 10 were asked for, ${Math.round(fast)} where 1,000, ` +
            `${Math.round(most)} at its fastest`,
    );
    // The present moves; the past is searched beside it, and does not.
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), before);
    await page.click('#to-now');
    await page.mouse.move(5, 5);
    await page.screenshot({ path: join(await shotsFolder(), 'demo-stream.png') });
    await stopStream(visitor);
    assert.notDeepEqual(ranking(await visitor.list()), before);
    await checkQuiet(visitor);
});

test('a stream that was stopped stands still, is kept, and can be undone', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=chess+engine');
    const before = ranking(await visitor.list());
    await setRate(visitor, 51);
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(() => document.querySelectorAll('#stream-facts dd')[1].textContent.length >= 6);
    await stopStream(visitor);
    const count = await deltas(visitor);
    const after = ranking(await visitor.list());
    assert.notDeepEqual(after, before);
    assert.ok(Number((await visitor.fact('Changes')).replaceAll(',', '')) > count, 'each delta is a change');
    await page.waitForTimeout(1500);
    assert.deepEqual(ranking(await visitor.list()), after, 'it goes on');
    await visitor.reload();
    assert.equal(await deltas(visitor), count);
    assert.deepEqual(ranking(await visitor.list()), after);
    assert.equal(await page.getAttribute('#time', 'max'), '1');
    await undoStream(visitor, 2);
    assert.deepEqual(ranking(await visitor.list()), before);
    assert.equal(await page.isDisabled('#stream-undo'), true);
    await page.focus('#time');
    await page.keyboard.press('ArrowLeft');
    await visitor.settled();
    assert.match(await visitor.text('.as-of'), /^As of .*, after a stream of deltas/);
    assert.deepEqual(
        (await visitor.list()).slice(0, 20).map(({ name }) => name),
        after.slice(0, 20).map((line) => line.split(' ')[0]),
    );
    await page.click('#to-now');
    await visitor.settled();
    await vote(visitor, 6);
    assert.notDeepEqual(ranking(await visitor.list()), before);
    await checkQuiet(visitor);
});

test('a stream whose page goes away is kept, has its moment, and goes on after it', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=midi+sequencer');
    const before = ranking(await visitor.list());
    await setRate(visitor, 40);
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(() => document.querySelectorAll('#stream-facts dd')[1].textContent.length > 5);
    const seen = await deltas(visitor);
    await visitor.reload();
    const count = await deltas(visitor);
    assert.ok(count >= seen, `${count} of ${seen} deltas`);
    assert.equal(await visitor.text('#stream-button'), 'Start');
    const cut = ranking(await visitor.list());
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(
        (n) => Number(document.querySelectorAll('#stream-facts dd')[1].textContent.replaceAll(',', '')) > n + 5000,
        count,
    );
    await stopStream(visitor);
    assert.equal(await page.getAttribute('#time', 'max'), '2');
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), before);
    await page.keyboard.press('ArrowRight');
    await visitor.settled();
    const then = (await visitor.list()).map(({ name }) => name);
    assert.ok(cut.filter((line, i) => line.startsWith(`${then[i]} `)).length >= 25, 'the moment of the cut');
    await page.click('#to-now');
    await undoStream(visitor, 3);
    assert.deepEqual(ranking(await visitor.list()), before, 'both parts are undone');
    await checkQuiet(visitor);
});

test('a long stream lets its history go, and keeps the moments of the slider', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('?memory=128#q=spell+checker');
    const lists = [ranking(await visitor.list())];
    await vote(visitor, 9);
    lists.push(ranking(await visitor.list()));
    await setRate(visitor, 51);
    await page.evaluate(() => {
        window.histories = [];
        const history = document.querySelector('#memory-legend .is-history');
        setInterval(() => {
            const [, size, unit] = /([\d.]+)\s(kB|MB)/.exec(history.textContent) ?? [];
            window.histories.push(Number(size) * (unit === 'MB' ? 1e6 : 1e3));
        }, 100);
    });
    await page.click('#stream-button:text("Start")');
    const sizes = () => page.evaluate(() => window.histories);
    const hasShrunk = (list) => list.some((size, i) => size < (list[i - 1] ?? 0) - 2e6);
    for (let i = 0; i < 120 && !hasShrunk(await sizes()); i++) await page.waitForTimeout(1000);
    const most = Math.max(...(await sizes()));
    assert.ok(hasShrunk(await sizes()), `no history was let go: ${most} bytes`);
    assert.equal(await visitor.text('#stream-button'), 'Stop', await visitor.text('#toast-text'));
    // The undoing has to let go what is there when the stream ends.
    await page.waitForFunction(() => window.histories.at(-1) > 19e6);
    await stopStream(visitor);
    lists.push(ranking(await visitor.list()));
    notes.push(
        `history in 128 MiB of module memory: ${(most / 1e6).toFixed(1)} MB at most, ` +
            `${await deltas(visitor)} deltas`,
    );
    await page.focus('#time');
    for (const list of lists.slice(0, 2).reverse()) {
        await page.keyboard.press('ArrowLeft');
        await visitor.settled();
        assert.deepEqual(ranking(await visitor.list()), list);
    }
    await visitor.reload();
    assert.deepEqual(ranking(await visitor.list()), lists[2]);
    await undoStream(visitor, 3);
    assert.deepEqual(ranking(await visitor.list()), lists[1]);
    await checkQuiet(visitor);
});

test('where memory does not suffice, the stream stops and says so, and nothing is lost', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('?memory=64#q=spell+checker');
    const before = ranking(await visitor.list());
    await setRate(visitor, 51);
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(() =>
        /^The stream has stopped: /.test(document.getElementById('toast-text').textContent),
    );
    assert.match(await visitor.text('#toast-text'), /refused|budget/);
    await page.waitForSelector('#stream-button:text("Start")');
    await visitor.settled();
    const count = await deltas(visitor);
    const after = ranking(await visitor.list());
    assert.ok(count > 0);
    await visitor.reload();
    assert.equal(await deltas(visitor), count);
    assert.deepEqual(ranking(await visitor.list()), after);
    await page.focus('#time');
    await page.keyboard.press('Home');
    await visitor.settled();
    assert.deepEqual(ranking(await visitor.list()), before);
    await checkQuiet(visitor);
});

test('a simulation that fails is told of, and another can begin', {}, async (visitor) => {
    const { page } = visitor;
    await visitor.open('#q=chess+engine');
    await visitor.context.route('**/stream_worker.js', (route) =>
        route.fulfill({
            contentType: 'text/javascript',
            headers: { 'Cross-Origin-Embedder-Policy': 'require-corp' },
            body: "addEventListener('message', () => { throw new Error('broken'); });",
        }),
    );
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(() => /simulation failed$/.test(document.getElementById('toast-text').textContent));
    await page.waitForSelector('#stream-button:text("Start")');
    await visitor.context.unroute('**/stream_worker.js');
    await page.click('#stream-button:text("Start")');
    await page.waitForFunction(() => document.querySelectorAll('#stream-facts dd')[1].textContent !== '0');
    await stopStream(visitor);
    assert.ok((await deltas(visitor)) > 0);
    await checkQuiet(visitor);
});
