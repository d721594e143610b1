/*
 * Programs as users build them (fixtures/), each from the tarball installed in a project of its own, with the bundler's
 * own command and no configuration about velta, then run in Chromium or Node. All do the same job (fixtures/job.js) and
 * must find the same rows.
 *
 * usage: node fixtures.mjs [PART_OF_NAME...]; the last line is "N passed, N failed".
 */
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer, strictPolicy } from './lib/server.mjs';
import { execute, follow, makeProject, modules, nodeOf } from './lib/tools.mjs';
import { typeFixtures } from './lib/types.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), 'fixtures');
const tool = {
    vite: join(modules, 'vite/bin/vite.js'),
    webpack: join(modules, 'webpack-cli/bin/cli.js'),
};

/** A project with the job, the program of browsers, and the files of one fixture. */
async function projectOf(name, packages = []) {
    const copy = { 'job.js': join(folder, 'job.js'), 'page.js': join(folder, 'page.js'), '.': join(folder, name) };
    return makeProject({ copy, packages });
}

const node = (cwd, ...parameters) => execute(process.execPath, parameters, { cwd });

function same(a, b, what) {
    if (JSON.stringify(a) !== JSON.stringify(b))
        throw new Error(`${what}: ${JSON.stringify(a)}, not ${JSON.stringify(b)}`);
}

/** The job in a page at `url`, then the rest of it in another page. What was found. */
async function runPage(browser, url, { storages = ['opfs', 'indexeddb'], hasFiles = true } = {}) {
    const name = `job-${Math.random().toString(36).slice(2)}`;
    const steps = async (list) => {
        const tab = await browser.open(url);
        try {
            const results = [];
            for (const step of list) {
                results.push(await tab.evaluate((parameters) => globalThis.veltaStep(...parameters), step));
            }
            return results;
        } catch (error) {
            throw new Error([error.message, ...tab.errors].join('\n| '));
        } finally {
            await tab.close();
        }
    };
    const kept = { storage: 'indexeddb' };
    const inWorker = { storage: storages[0] };
    const before = await steps([
        ['first', name, kept],
        ['remote', `${name}-worker`, inWorker],
        ...(hasFiles ? [['files']] : []),
    ]);
    const after = await steps([['second', name, kept]]);
    const [found] = before.map((result) => result.found);
    for (const result of [...before, ...after]) same(result.found, found, 'what was found differs between steps');
    return found;
}

async function served(browser, options, path = '/', more = {}) {
    const site = await startServer(options);
    try {
        return await runPage(browser, site.origin + path, more);
    } finally {
        await site.close();
    }
}

/** A step of the job that must fail, and what its error must say. */
async function refused(browser, root, step, pattern) {
    const site = await startServer({ root });
    const tab = await browser.open(`${site.origin}/`);
    const said = await tab.evaluate(
        (name) =>
            globalThis.veltaStep(name, 'refused', { storage: 'memory' }).then(
                () => 'nothing',
                (error) => `${error.code} ${error.message}`,
            ),
        step,
    );
    await tab.close();
    await site.close();
    if (!pattern.test(said)) throw new Error(`it said: ${said}`);
}

/** Vite as a server of its own, `parameters` its command; the address is what it prints. */
async function viteServer(project, browser, parameters) {
    const stop = new AbortController();
    const output = [];
    let ended;
    try {
        const address = await new Promise((done, failed) => {
            const options = { cwd: project, signal: stop.signal, env: { ...process.env, NO_COLOR: '1' } };
            ended = follow(process.execPath, [tool.vite, ...parameters], options, (line) => {
                output.push(line);
                const found = /Local:\s+(\S+)/.exec(line);
                if (found) done(found[1]);
            });
            ended.then(() => failed(new Error(`vite ended\n${output.join('\n')}`)), failed);
        });
        return await runPage(browser, address);
    } catch (error) {
        throw new Error(`${error.message}\nvite said:\n${output.join('\n')}`);
    } finally {
        stop.abort();
        await ended?.catch(() => undefined);
    }
}

/** The job in three processes of one Node. */
async function runNode(engine, name, main) {
    const project = await projectOf(name);
    const step = async (...parameters) => {
        const options = JSON.stringify({ storage: 'file', directory: join(project, 'stores') });
        const { stdout } = await execute(nodeOf(engine), [main, ...parameters, options], {
            cwd: project,
            timeout: 60_000,
        });
        return JSON.parse(stdout).found;
    };
    const found = await step('first', 'job');
    same(await step('second', 'job'), found, 'what a second process found');
    same(await step('remote', 'job-worker'), found, 'what a worker found');
    same(await step('files', 'job'), found, 'what came by way of files');
    return found;
}

/** name: what makes and runs it, given the browser; each gives what it found. */
const FIXTURES = {
    'vite, built': async (browser) => {
        const project = await projectOf('vite');
        await node(project, tool.vite, 'build');
        return viteServer(project, browser, ['preview', '--port', '0']);
    },
    'vite, its development server': async (browser) => {
        return viteServer(await projectOf('vite'), browser, ['--port', '0']);
    },
    'vite, built, under a strict Content-Security-Policy': async (browser) => {
        const project = await projectOf('vite');
        await node(project, tool.vite, 'build');
        return served(browser, { root: join(project, 'dist'), policy: strictPolicy() });
    },
    'webpack 5': async (browser) => {
        const project = await projectOf('webpack');
        await node(project, tool.webpack);
        await node(project, '-e', "fs.copyFileSync('index.html', 'dist/index.html')");
        return served(browser, { root: join(project, 'dist') });
    },
    esbuild: async (browser) => {
        const project = await projectOf('esbuild', ['esbuild']);
        await node(project, 'build.mjs');
        return served(browser, { root: join(project, 'dist'), policy: strictPolicy() });
    },
    'esbuild, the files not copied': async (browser) => {
        const project = await projectOf('esbuild', ['esbuild']);
        await node(project, 'build.mjs');
        await node(project, '-e', "for (const f of ['wasm', 'worker.js']) fs.rmSync('dist/' + f, { recursive: true })");
        await refused(browser, join(project, 'dist'), 'first', /BAD_MODULE .*\/wasm\/velta\.\w+\.wasm.* option wasm/);
        await refused(browser, join(project, 'dist'), 'remote', /WORKER the worker could not start.*absent/);
        return null;
    },
    'no bundler': async (browser) => served(browser, { root: await projectOf('none') }),
    'no bundler, cross-origin isolated': async (browser) => {
        return served(browser, { root: await projectOf('none'), isolated: true });
    },
    'a single file, served': async (browser) => {
        const project = await projectOf('single', ['esbuild']);
        await node(project, 'build.mjs');
        return served(browser, { root: project }, '/page.html', { hasFiles: false });
    },
    'a single file, opened from the disk': async (browser) => {
        const project = await projectOf('single', ['esbuild']);
        await node(project, 'build.mjs');
        return runPage(browser, pathToFileURL(join(project, 'page.html')).href, {
            storages: ['indexeddb'],
            hasFiles: false,
        });
    },
    'import in Node 20': () => runNode('node20', 'node-esm', 'main.js'),
    'import in Node 24': () => runNode('node24', 'node-esm', 'main.js'),
    'require in Node 20': () => runNode('node20', 'node-cjs', 'main.cjs'),
    'require in Node 24': () => runNode('node24', 'node-cjs', 'main.cjs'),
};

await conclude(async (outcomes) => {
    const parts = process.argv.slice(2);
    const chosen = (name) => parts.length === 0 || parts.some((part) => name.includes(part));
    const attempt = async (name, work) => {
        const begin = performance.now();
        const error = await work().then(
            () => null,
            (reason) => reason,
        );
        const seconds = ((performance.now() - begin) / 1000).toFixed(1).padStart(5);
        outcomes.tell(`${seconds} s  ${name}`, error ? [String(error.stack ?? error)] : []);
    };
    const browser = await launch('chromium');
    let found = null;
    const queue = Object.entries(FIXTURES).filter(([name]) => chosen(name));
    const lane = async () => {
        while (queue.length) {
            const [name, work] = queue.shift();
            await attempt(name, async () => {
                const own = await work(browser);
                if (own) same(own, (found ??= own), 'what the other fixtures found differs');
            });
        }
    };
    await Promise.all([lane(), lane()]);
    await browser.close();
    for (const [name, work] of Object.entries(typeFixtures(folder))) if (chosen(name)) await attempt(name, work);
});
