/*
 * Makes the component: a core module with the functions of wasm/component, what wasm/velta.wit says put into it, and
 * both checked against each other; then prints what it weighs. The error codes of the wit must be those of
 * core/types.h in its order, which the C counts on, and its version the package's.
 *
 * usage: node wasm/tools/component.mjs CORE_MODULE COMPONENT VERSION
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { componentEmbed, componentNew } from '@bytecodealliance/jco-transpile/wasm-tools';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const [coreModule, component, version] = process.argv.slice(2);

/** The cases of the wit's enum of error codes. */
function errorCodes(wit) {
    const body = /enum error-code \{(.*?)\n {4}\}/s.exec(wit)?.[1] ?? '';
    return [...body.matchAll(/^ *%?([a-z-]+),$/gm)].map(([, name]) => name);
}

function checkWit(wit, types) {
    const list = /#define VELTA_STATUS_LIST\(X\)(.*?\n)\n/s.exec(types)?.[1] ?? '';
    const names = [...list.matchAll(/X\((\w+), \d+,/g)].map(([, name]) => name.toLowerCase().replaceAll('_', '-'));
    const codes = errorCodes(wit);
    if (codes.length === 0 || names.join() !== ['ok', ...codes].join()) {
        throw new Error(`velta.wit has the error codes\n${codes.join()}\nand core/types.h\n${names.slice(1).join()}`);
    }
    if (!wit.includes(`package velta:store@${version};`)) throw new Error(`velta.wit is not of version ${version}`);
}

const witSource = await readFile(join(root, 'wasm/velta.wit'), 'utf8');
checkWit(witSource, await readFile(join(root, 'core/types.h'), 'utf8'));
const binary = await readFile(coreModule);
const embedded = await componentEmbed({ binary, witSource, worldName: 'velta', stringEncoding: 'utf8' });
const bytes = await componentNew(embedded, []);
await writeFile(`${component}.${process.pid}`, bytes);
await rename(`${component}.${process.pid}`, component);
console.log(`  ${component}: ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} compressed`);
