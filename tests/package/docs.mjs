/*
 * Runs the package's documents: each is one program, made of its ```js blocks in order, against the installed package;
 * what it prints must be its ```text blocks, in order. Other blocks (ts, sh, html) are not run. docs/API.md must be
 * what the types say.
 *
 * usage: node docs.mjs [DOCUMENT...]   The last line is "N passed, N failed".
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { conclude } from './lib/outcomes.mjs';
import { execute, makeProject, root } from './lib/tools.mjs';

const DOCUMENTS = ['docs/JAVASCRIPT.md', 'docs/EMBEDDINGS.md', 'wasm/README.md'];

/** The blocks of one kind, joined; a program keeps the document's line numbers, so that its errors name them. */
function blocks(text, kind, keepLines) {
    const lines = text.split('\n');
    const out = [];
    let inside = null;
    for (const line of lines) {
        const fence = /^```(\w*)$/.exec(line);
        if (fence) inside = inside === null ? fence[1] : null;
        else if (inside === kind) out.push(line);
        if (keepLines && (fence || inside !== kind)) out.push('');
    }
    return out.join('\n');
}

async function check(project, name) {
    const text = await readFile(join(root, name), 'utf8');
    const program = blocks(text, 'js', true);
    if (program.trim() === '') throw new Error('no js block');
    const file = join(project, `${name.replaceAll(/\W/g, '_')}.js`);
    await writeFile(file, program);
    const { stdout } = await execute(process.execPath, [file], { cwd: project, timeout: 60_000 });
    const wanted = blocks(text, 'text', false);
    if (stdout.trimEnd() !== wanted.trimEnd()) throw new Error(`it prints\n${stdout}\nand says it prints\n${wanted}`);
}

/** docs/API.md is what the types say. */
async function checkReference() {
    await execute(process.execPath, [join(root, 'wasm/tools/reference.mjs'), '--check'], { cwd: root });
}

await conclude(async (outcomes) => {
    const project = await makeProject({});
    const chosen = process.argv.slice(2);
    const checks = (chosen.length > 0 ? chosen : DOCUMENTS).map((name) => [name, () => check(project, name)]);
    if (chosen.length === 0) checks.push(['docs/API.md', checkReference]);
    for (const [name, run] of checks) {
        const failure = await run().catch((error) => error);
        outcomes.tell(name, failure ? [failure.message] : []);
    }
});
