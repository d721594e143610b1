/* The demo's server, and the first visit: ranges, bytes counted on both sides, stopping, failing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { root, temporaryFolder } from '../package/lib/tools.mjs';
import { countBy } from './expected.mjs';
import { checkQuiet, data, dist, expected, notes, server, shotsFolder, test } from './suite.mjs';

// ---- the server

test('the server keeps to its folders and sends a strict policy', null, async () => {
    const get = (path, method = 'GET') =>
        new Promise((done, fail) => {
            // Node's own request leaves the path as it is; fetch would tidy it.
            const { hostname, port } = new URL(server.address);
            request({ hostname, port, path, method }, (response) => {
                response.resume();
                response.on('end', () => done(response));
            })
                .on('error', fail)
                .end();
        });
    for (const path of [
        '/../serve.mjs',
        '/%2e%2e/serve.mjs',
        '/data/..%2f..%2fMakefile',
        '/.git',
        '/nothing.js',
        '/%',
        '/data/%00',
        '//etc/passwd',
        '/data/',
    ]) {
        assert.equal((await get(path)).statusCode, 404, path);
    }
    assert.equal((await get('/', 'POST')).statusCode, 405);
    const page = await get('/');
    const policy = page.headers['content-security-policy'];
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /script-src 'self' 'wasm-unsafe-eval' 'sha256-[^']+';/);
    assert.doesNotMatch(policy, /'unsafe-(inline|eval)'/);
    assert.equal((await get('/velta/velta.js')).headers['content-type'], 'text/javascript; charset=utf-8');
    assert.equal((await get('/velta/wasm/velta.simd128.wasm')).headers['content-type'], 'application/wasm');
});

test('the server answers one range, and says what of the file it is', null, async () => {
    const file = await readFile(join(data, 'packages.parquet'));
    const size = file.length;
    const get = async (headers, method = 'GET') => {
        const answer = await fetch(`${server.address}data/packages.parquet`, { headers, method });
        return { answer, bytes: Buffer.from(await answer.arrayBuffer()), of: answer.headers.get('content-range') };
    };
    const whole = await get({});
    const etag = whole.answer.headers.get('etag');
    assert.equal(whole.answer.status, 200);
    assert.equal(whole.answer.headers.get('accept-ranges'), 'bytes');
    assert.equal(whole.answer.headers.get('content-type'), 'application/vnd.apache.parquet');
    assert.match(etag, /^"[^"]+"$/);
    assert.ok(whole.bytes.equals(file));
    for (const [range, start, end] of [
        ['bytes=0-0', 0, 1],
        ['bytes=100-299', 100, 300],
        [`bytes=${size - 1}-`, size - 1, size],
        [`bytes=${size - 5}-${size + 5}`, size - 5, size],
        ['bytes=-12', size - 12, size],
        [`bytes=-${size + 1}`, 0, size],
    ]) {
        for (const more of [{}, { 'If-Range': etag }]) {
            const { answer, bytes, of } = await get({ Range: range, ...more });
            assert.equal(answer.status, 206, range);
            assert.equal(of, `bytes ${start}-${end - 1}/${size}`);
            assert.ok(bytes.equals(file.subarray(start, end)), range);
        }
    }
    for (const range of [`bytes=${size}-`, `bytes=${size}-${size}`, 'bytes=-0']) {
        const { answer, of, bytes } = await get({ Range: range });
        assert.deepEqual([answer.status, of, bytes.length], [416, `bytes */${size}`, 0], range);
    }
    // What is no single range of bytes, or of another file, or no request for the file, is passed over.
    for (const range of ['bytes=5-3', 'bytes=-', 'bytes=a-b', 'bytes=0-1,4-5', 'lines=0-5', 'bytes=1e3-2e3', '0-5']) {
        assert.equal((await get({ Range: range })).answer.status, 200, range);
    }
    for (const other of ['"another"', `W/${etag}`, 'Sat, 21 Nov 2026 07:00:00 GMT']) {
        assert.equal((await get({ Range: 'bytes=0-9', 'If-Range': other })).answer.status, 200, other);
    }
    const head = await get({ Range: 'bytes=0-9' }, 'HEAD');
    assert.deepEqual([head.answer.status, head.answer.headers.get('content-length')], [200, String(size)]);
    assert.equal((await get({ Range: 'bytes=0-9', 'If-None-Match': etag })).answer.status, 304);
});

test('--check says whether the page is there, --help how to ask; what is not understood is told', null, async () => {
    const serve = (...given) =>
        spawnSync(process.execPath, [join(root, 'demo/serve.mjs'), ...given], { encoding: 'utf8', timeout: 30_000 });
    const check = (folder, data) => serve('--check', ...['--package', folder], ...['--data', data]);
    const good = check(dist, data);
    assert.equal(good.status, 0);
    assert.match(good.stdout, /http:\/\/localhost:\d+\//);
    assert.equal(check(await temporaryFolder(), data).status, 1);
    assert.equal(check(dist, await temporaryFolder()).status, 1);
    const help = serve('--help');
    assert.deepEqual([help.status, help.stderr], [0, '']);
    assert.match(help.stdout, /^usage: [^]*--port/);
    for (const wrong of [['--ports'], ['--port', 'x'], ['--port', '65536'], ['more']]) {
        const { status, stdout, stderr } = serve(...wrong);
        assert.deepEqual([status, stdout], [2, ''], wrong.join(' '));
        assert.match(stderr, /^serve\.mjs: .*\nusage: /, wrong.join(' '));
    }
});

// ---- the first visit

/** What the server sent of the Parquet file from a place of its list on. */
const sentOfFile = (from) => server.sent.slice(from).filter(({ path }) => path === '/data/packages.parquet');
const total = (answers) => answers.reduce((sum, { bytes }) => sum + bytes, 0);

/** How the page writes a number of bytes. */
function written(bytes) {
    const [size, unit] = bytes < 999.5 ? [bytes, 'B'] : bytes < 999.5e3 ? [bytes / 1e3, 'kB'] : [bytes / 1e6, 'MB'];
    return `${Number(size.toPrecision(3))} ${unit}`;
}

test('the first visit loads with a bar that moves, and can be stopped and started again', {}, async (visitor) => {
    const { page } = visitor;
    const from = server.sent.length;
    await page.addInitScript(() => {
        window.bars = [];
        setInterval(() => {
            const bar = document.getElementById('loading-bar');
            if (bar?.checkVisibility()) window.bars.push(bar.value);
        }, 5);
    });
    await page.goto(visitor.address);
    await page.waitForSelector('#loading-button:enabled');
    const offered = () => page.locator('#store button:enabled').evaluateAll((all) => all.map(({ id }) => id));
    assert.deepEqual(await offered(), []); // nothing can be done with the packages yet
    assert.match(await visitor.text('#loading-step'), /^The list took [\d.]+ kB of the file’s 5\.\d+ MB\.$/);
    const choices = await page.locator('#loading-section option').allTextContents();
    const bySection = [...countBy(expected.rows, (row) => row.section)].sort((a, b) => b[1] - a[1]);
    assert.deepEqual(choices, [
        'all sections: 9,538 packages',
        ...bySection.map(([name, count]) => `${name}: ${count.toLocaleString('en')}`),
    ]);
    await page.screenshot({ path: join(await shotsFolder(), 'demo-first-visit.png') });
    // Slow enough to be stopped in the middle of it.
    let answers = 0;
    await visitor.context.route('**/data/packages.parquet', async (route) => {
        answers += 1;
        if (answers > 2) await new Promise((done) => setTimeout(done, 500));
        await route.continue().catch(() => undefined);
    });
    await page.click('#loading-button');
    await page.waitForFunction(() => document.getElementById('loading-bar').value > 0);
    await page.click('#loading-button:text("Cancel")');
    await page.waitForSelector('#loading-button:enabled:text("Load the packages")');
    assert.match(await visitor.text('#loading-step'), /nothing is kept/);
    assert.equal(await page.evaluate(() => document.documentElement.classList.contains('is-ready')), false);
    await visitor.context.unroute('**/data/packages.parquet');
    await visitor.load();
    assert.deepEqual(await offered(), ['stream-button', 'export', 'import', 'reset']);
    const bars = await page.evaluate(() => window.bars);
    assert.ok(new Set(bars).size >= 5, `the bar was seen at ${[...new Set(bars)]}`);
    assert.equal(await visitor.text('#count'), '9,538 packages by name');
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    assert.match(await visitor.fact('Kept in'), /^OPFS/);
    assert.ok(sentOfFile(from).every(({ status, range }) => status === 206 && range.startsWith('bytes=')));
    notes.push(`layout shift of the first visit: ${(await checkQuiet(visitor)).unasked.toFixed(4)}`);
});

test(
    'a section takes a part of the file only; bytes and requests are those that the server counts',
    {},
    async (visitor) => {
        const { page } = visitor;
        const size = (await stat(join(data, 'packages.parquet'))).size;
        const seen = [];
        for (const section of ['games', '']) {
            const from = server.sent.length;
            if (section) await page.goto(visitor.address);
            else {
                await page.click('#reset');
                await page.evaluate(() => document.documentElement.classList.remove('is-ready'));
                await page.click('#message-ok');
            }
            await visitor.load(section);
            const answers = sentOfFile(from);
            const rows = section ? expected.rows.filter((row) => row.section === section) : expected.rows;
            const count = rows.length.toLocaleString('en');
            assert.equal(await visitor.text('#count'), `${count} packages by name`);
            assert.deepEqual(
                (await visitor.list()).map(({ name }) => name),
                rows.slice(0, 30).map(({ name }) => name),
            );
            assert.equal(await visitor.fact('Fetched'), written(total(answers)));
            assert.equal(await visitor.fact('File size'), written(size));
            assert.equal(await visitor.fact('Requests'), String(answers.length));
            assert.equal(await visitor.fact('Section'), section || 'all');
            assert.equal(await visitor.fact('Packages taken'), `${count} of 9,538`);
            assert.equal(
                await visitor.fact('Share of rows'),
                `${Number(((rows.length / 9538) * 100).toPrecision(3))} %`,
            );
            assert.ok(answers.every(({ status }) => status === 206));
            seen.push(total(answers));
            notes.push(
                `${section || 'all sections'}: ${total(answers)} of ${size} bytes in ${answers.length} requests, ` +
                    `${rows.length} packages`,
            );
            await visitor.reload();
            assert.equal(await visitor.fact('Fetched'), written(total(answers)), 'what it took is kept');
            assert.equal(sentOfFile(from).length, answers.length, 'the rows were fetched again');
        }
        // The section has 11.3 % of the rows.
        assert.ok(seen[0] < size / 6, `${seen[0]} bytes for a section`);
        assert.ok(seen[1] > size * 0.98 && seen[1] < size * 1.05, `${seen[1]} bytes for all`);
        await checkQuiet(visitor);
    },
);

test('a server that fails midway is told of, and leaves nothing', {}, async (visitor) => {
    const { page } = visitor;
    await page.goto(visitor.address);
    await page.waitForSelector('#loading-button:enabled');
    let answers = 0;
    await visitor.context.route('**/data/packages.parquet', (route) => {
        answers += 1;
        return answers > 4 ? route.fulfill({ status: 403, body: 'no' }) : route.continue();
    });
    await page.click('#loading-button');
    await page.waitForSelector('#message[open]');
    assert.equal(await visitor.text('#message-title'), 'The packages could not be loaded');
    assert.match(await visitor.text('#message-text'), /403/);
    await visitor.context.unroute('**/data/packages.parquet');
    await page.click('#message-ok');
    await visitor.load('math');
    const rows = expected.rows.filter((row) => row.section === 'math');
    assert.equal(await visitor.text('#count'), `${rows.length} packages by name`);
    visitor.complaints = visitor.complaints.filter((text) => !/status of 403/.test(text));
    await checkQuiet(visitor);
});
