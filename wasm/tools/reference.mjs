/*
 * docs/API.md: the reference of the package, made of its types and their comments by TypeDoc.
 *
 * usage: node reference.mjs [--check]   --check: fails where the file is not what would be made
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const wasm = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = join(wasm, '../docs/API.md');
const folder = mkdtempSync(join(tmpdir(), 'velta-reference-'));
const head = `<!-- Made by "make reference" from the types of wasm/src; edit the comments there. -->

`;
/** The entries, one part of the file each. */
const entries = {
    velta: 'src/index.ts',
    'velta/arrow': 'src/arrow/index.ts',
    'velta/parquet': 'src/parquet/index.ts',
};
const typedoc = join(wasm, 'node_modules/typedoc/bin/typedoc');

function partOf([name, source]) {
    const parameters = ['--name', name, '--entryPoints', source, '--out', folder];
    execFileSync(process.execPath, [typedoc, ...parameters], { cwd: wasm, stdio: 'inherit' });
    return readFileSync(join(folder, 'README.md'), 'utf8');
}

let made;
try {
    made = head + Object.entries(entries).map(partOf).join('\n');
} finally {
    rmSync(folder, { recursive: true, force: true });
}
if (!process.argv.includes('--check')) {
    writeFileSync(target, made);
} else if (readFileSync(target, 'utf8') !== made) {
    console.error('docs/API.md is not what the types say: run make reference');
    process.exit(1);
}
