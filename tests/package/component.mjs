/*
 * The component of wasm/velta.wit (make component), made into JavaScript by jco and called beside the installed
 * package: in Node 20, in a page of Chromium under a strict Content-Security-Policy, by its declarations in TypeScript,
 * and in the program of docs/COMPONENT.md. component/checks.js says what is checked.
 *
 * usage: node component.mjs [types|document|node20|chromium...]   all of them without an argument
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { launch } from './lib/browsers.mjs';
import { conclude } from './lib/outcomes.mjs';
import { startServer, strictPolicy } from './lib/server.mjs';
import { build, developmentPackage, execute, makeProject, modules, nodeOf, root } from './lib/tools.mjs';

const SECONDS = 240;
const file = join(build, 'wasm/velta.component.wasm');

async function transpile(folder) {
    const { transpileBytes } = await developmentPackage('@bytecodealliance/jco-transpile');
    const options = { name: 'velta', instantiation: 'async', noComponentErrorWrapping: false };
    const { files, imports, exports } = await transpileBytes(await readFile(file), options);
    for (const [name, bytes] of Object.entries(files)) {
        await mkdir(dirname(join(folder, name)), { recursive: true });
        await writeFile(join(folder, name), bytes);
    }
    return { imports, exports: exports.map(([name]) => name) };
}

function tell(outcomes, engine, told) {
    for (const { name, problem } of told) outcomes.tell(`${engine}: ${name}`, problem === null ? [] : [problem]);
}

async function inNode(project, outcomes) {
    const options = { cwd: project, timeout: SECONDS * 1000, env: { ...process.env, NODE_OPTIONS: '' } };
    const { stdout } = await execute(nodeOf('node20'), ['component/node_main.js'], options);
    tell(outcomes, 'node20', JSON.parse(stdout));
}

async function inChromium(project, outcomes) {
    const map = JSON.stringify({ imports: { velta: '/node_modules/velta/dist/velta.js' } });
    const head = '<meta charset="utf-8"><link rel="icon" href="/none.ico">';
    const body = `<!doctype html>${head}<script type="importmap">${map}</script>
<script type="module" src="/component/page.js"></script>`;
    const site = await startServer({
        root: project,
        policy: strictPolicy([createHash('sha256').update(map).digest('base64')]),
        routes: {
            '/component.html': () => ({ type: 'text/html; charset=utf-8', body }),
            '/none.ico': () => ({ type: 'image/x-icon' }),
        },
    });
    const browser = await launch('chromium', { answerMs: SECONDS * 1000 });
    try {
        const tab = await browser.open(`${site.origin}/component.html`);
        tell(outcomes, 'chromium', await tab.evaluate(() => globalThis.told));
        outcomes.tell('chromium: the page says nothing', tab.errors);
    } finally {
        await browser.close();
        await site.close();
    }
}

async function inTypeScript(project, outcomes) {
    const compilerOptions = {
        target: 'es2022',
        module: 'nodenext',
        lib: ['es2022', 'dom'],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        noEmit: true,
    };
    await writeFile(
        join(project, 'tsconfig.json'),
        JSON.stringify({ compilerOptions, files: ['component/program.ts'] }),
    );
    const tsc = join(modules, 'typescript/bin/tsc');
    const failure = await execute(process.execPath, [tsc, '-p', project]).catch((error) => error);
    outcomes.tell('types: a program compiles', failure instanceof Error ? [failure.message] : []);
}

/** The program of docs/COMPONENT.md prints what it says. */
async function inDocument(project, outcomes) {
    const text = await readFile(join(root, 'docs/COMPONENT.md'), 'utf8');
    const block = (kind) => new RegExp(`^\`\`\`${kind}\\n(.*?)^\`\`\``, 'ms').exec(text)[1];
    await writeFile(join(project, 'document.js'), block('js'));
    await copyFile(file, join(project, 'velta.component.wasm'));
    const { stdout } = await execute(nodeOf('node20'), ['document.js'], { cwd: project, timeout: SECONDS * 1000 });
    outcomes.tell('docs/COMPONENT.md', stdout === block('text') ? [] : [`it prints\n${stdout}`]);
}

/** The codes of the wit are the library's, in its order: they cross as numbers. */
async function compareCodes(outcomes) {
    const [wit, types] = await Promise.all(
        ['wasm/velta.wit', 'core/types.h'].map((name) => readFile(join(root, name), 'utf8')),
    );
    const [, body] = /enum error-code \{([^}]*)\}/.exec(wit);
    const codes = Array.from(body.matchAll(/^\s+%?([a-z-]+),$/gm), ([, code]) => code.replaceAll('-', '_'));
    const [, list] = /define VELTA_STATUS_LIST\(X\)(.*?)\n\n/s.exec(types);
    const statuses = Array.from(list.matchAll(/X\((\w+), (\d+),/g), ([, name, number]) => [Number(number), name]);
    const wanted = statuses.filter(([number]) => number > 0).map(([, name]) => name.toLowerCase());
    const isSame = wanted.length > 20 && codes.join() === wanted.join();
    outcomes.tell('its codes are those of the library', isSame ? [] : [`${codes}\n${wanted}`]);
}

await conclude(async (outcomes) => {
    const parts = { types: inTypeScript, document: inDocument, node20: inNode, chromium: inChromium };
    const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(parts);
    const project = await makeProject({
        copy: {
            component: join(root, 'tests/package/component'),
            'support/random.js': join(root, 'tests/package/support/random.js'),
        },
        packages: ['@bytecodealliance/jco-transpile'],
    });
    const { imports, exports } = await transpile(join(project, 'component/transpiled'));
    await compareCodes(outcomes);
    const isClosed = imports.join() === 'velta:store/clock' && exports.includes('velta:store/vectors@0.1.0');
    outcomes.tell('it imports the clock alone', isClosed ? [] : [`imports ${imports}, exports ${exports}`]);
    console.log(`the component is of ${(await stat(file)).size} bytes`);
    for (const part of chosen) {
        if (!parts[part]) throw new Error(`${part} is none of ${Object.keys(parts)}`);
        await parts[part](project, outcomes);
    }
});
