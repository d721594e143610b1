/**
 * Makes the TypeScript that repeats what C defines, so that the two cannot differ:
 *   layout.ts   sizes and offsets of the records that cross, from ABI_LAYOUT in wasm/exports.h
 *   status.ts   codes, their numbers and sentences, from VELTA_STATUS_LIST in core/types.h
 *   version.ts  the version, from store/velta.h
 * usage: node wasm/tools/generate.mjs [FOLDER]     FOLDER: where they go, wasm/src/generated
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folder = process.argv[2] ?? join(root, 'wasm/src/generated');

function macro(file, name) {
    const text = readFileSync(join(root, file), 'utf8').replaceAll('\\\n', ' ');
    const found = new RegExp(`^#define ${name}\\(.*?\\)(.*)$`, 'm').exec(text);
    if (found === null) throw new Error(`${file} has no ${name}`);
    return found[1];
}

/** velta_chain_item, time_ms -> CHAIN_ITEM_TIME_MS */
function constant(record, member) {
    return `${record.replace(/^velta_/, '')}_${member}`.toUpperCase();
}

function layout() {
    const lines = [];
    const list = macro('wasm/exports.h', 'ABI_LAYOUT');
    for (const [, kind, args] of list.matchAll(/\b(SIZE|FIELD)\(([^)]*)\)/g)) {
        const words = args.split(',').map((word) => word.trim());
        const number = words.pop();
        if (!/^\d+$/.test(number)) throw new Error(`not a number: ${kind}(${args})`);
        lines.push(`export const ${constant(words[0], words[1] ?? 'size')} = ${number};`);
    }
    if (lines.length === 0) throw new Error('ABI_LAYOUT is empty');
    const head = '/** Sizes and offsets in bytes of the records that cross; generated from wasm/exports.h. */';
    return `${head}\n${lines.join('\n')}\n`;
}

function status() {
    const list = macro('core/types.h', 'VELTA_STATUS_LIST');
    const rows = [...list.matchAll(/X\((\w+), (\d+), "([^"]*)"\)/g)].map(([, name, number, sentence]) => {
        return { name, number: Number(number), sentence };
    });
    if (rows.length < 2 || rows.some(({ number }, i) => number !== i)) throw new Error('statuses are not 0, 1, 2 …');
    const failures = rows.slice(1);
    const table = (value) => failures.map((row) => `    ${row.name}: ${value(row)},\n`).join('');
    return (
        '/** The status codes of the engine; generated from core/types.h. */\n' +
        `export type StatusCode =\n${failures.map(({ name }) => `    | '${name}'`).join('\n')};\n\n` +
        '/** The name of each status by its number; 0 is success. */\n' +
        `export const STATUS_NAMES = [\n${rows.map(({ name }) => `    '${name}',\n`).join('')}] as const;\n\n` +
        `export const STATUS_NUMBERS: Readonly<Record<StatusCode, number>> = {\n${table((row) => row.number)}};\n\n` +
        '/** What each code means, in a few words. */\n' +
        `export const STATUS_SENTENCES: Readonly<Record<StatusCode, string>> = {\n${table(({ sentence }) =>
            sentence.includes("'") ? JSON.stringify(sentence) : `'${sentence}'`,
        )}};\n`
    );
}

function version() {
    const found = /^#define VELTA_VERSION_TEXT "([^"]+)"/m.exec(readFileSync(join(root, 'store/velta.h'), 'utf8'));
    if (found === null) throw new Error('store/velta.h has no VELTA_VERSION_TEXT');
    const head = '/** The version of the package and of the module that fits it; generated from store/velta.h. */';
    return `${head}\nexport const VERSION = '${found[1]}';\n`;
}

mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'layout.ts'), layout());
writeFileSync(join(folder, 'status.ts'), status());
writeFileSync(join(folder, 'version.ts'), version());
