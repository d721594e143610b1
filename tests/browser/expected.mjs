/*
 * What the demo page must show, worked out from its data files without the store: rows that pass filters, counts, and
 * the nearest packages by comparing with all of them.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../package/lib/tools.mjs';

export const DIMENSIONS = 256;
const data = join(root, 'demo/data');

/** The numbers of a float16 NumPy file. */
async function readHalves(name) {
    const file = await readFile(join(data, name));
    const start = 10 + file.readUInt16LE(8);
    const halves = new Uint16Array(file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length));
    return Float32Array.from(halves, (half) => {
        const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
        return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
    });
}

export async function readExpected() {
    const lines = (await readFile(join(data, 'rows.jsonl'), 'utf8')).trim().split('\n');
    const rows = lines.map((line) => JSON.parse(line));
    // The page takes a tag in capitals for "not known" (demo/page/files.js says why).
    for (const row of rows) if (row.language && /^[A-Z]+$/.test(row.language)) row.language = null;
    const typed = (await readFile(join(data, 'queries.txt'), 'utf8')).trim().split('\n');
    return { rows, vectors: await readHalves('vectors.npy'), typed, queries: await readHalves('queries.npy') };
}

export function countBy(rows, valueOf) {
    const counts = new Map();
    for (const row of rows) counts.set(valueOf(row), (counts.get(valueOf(row)) ?? 0) + 1);
    return counts;
}

/** What the page writes beside each choice, when these are the rows that the other filters leave. */
export function sizeClass(row) {
    return Math.floor(Math.log2(Math.max(1, row.installed_kb)));
}
export function dependsClass(row) {
    return [0, 2, 5, 10, Infinity].findIndex((most) => row.depends <= most);
}

export function cosine(a, b, fromA = 0, fromB = 0) {
    let [product, lengthA, lengthB] = [0, 0, 0];
    for (let i = 0; i < DIMENSIONS; i++) {
        product += a[fromA + i] * b[fromB + i];
        lengthA += a[fromA + i] ** 2;
        lengthB += b[fromB + i] ** 2;
    }
    return product / Math.sqrt(lengthA * lengthB);
}

/** The nearest rows among some, best first: [name, similarity]. */
export function nearest({ rows, vectors }, query, k, passes = () => true) {
    const all = [];
    rows.forEach((row, i) => {
        if (passes(row)) all.push([row.name, cosine(query, vectors, 0, i * DIMENSIONS)]);
    });
    return all.sort((a, b) => b[1] - a[1]).slice(0, k);
}
