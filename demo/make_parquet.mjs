#!/usr/bin/env node
/*
 * Makes the demo page's data file, Parquet, from demo/data: the packages with their vectors.
 *
 * Its rows lie by section, then by name, a row group for each section: what is asked of one section is then in one
 * place. `place` is the place in the order of all names. Vectors are lists of float32 whose values are those of the
 * float16 that the data set has; their bytes are written plane by plane (BYTE_STREAM_SPLIT), so that the zeros of the
 * halves that are missing pack into nothing. All is packed by gzip.
 *
 * usage: demo/make_parquet.mjs FILE
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

const DIMENSIONS = 256;
/** Uncompressed bytes of a page: a request for few rows fetches little more than these. */
const PAGE_BYTES = 1 << 16;

const demo = dirname(fileURLToPath(import.meta.url));

/** The numbers of a float16 NumPy file. */
function readHalves(file) {
    const start = 10 + file.readUInt16LE(8);
    if (!file.toString('latin1', 10, start).includes("'<f2'")) throw new Error('vectors.npy is not float16');
    return Float32Array.from({ length: (file.length - start) / 2 }, (_, i) => {
        const half = file.readUInt16LE(start + 2 * i);
        const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
        const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
        return half >> 15 ? -size : size;
    });
}

/** Languages are written small; a tag in capitals is Debian's way to say that no one has looked yet. */
function languageOf(tag) {
    return tag === null || tag !== tag.toLowerCase() || tag === 'not known' ? null : tag;
}

/** The bytes of the file. */
async function make() {
    const { parquetWriteBuffer } = await import(
        pathToFileURL(createRequire(join(demo, '../wasm/package.json')).resolve('hyparquet-writer'))
    );
    const text = await readFile(join(demo, 'data/rows.jsonl'), 'utf8');
    const all = text.split('\n').filter((line) => line !== '');
    const rows = all.map((line, place) => ({ place, ...JSON.parse(line) }));
    const vectors = readHalves(await readFile(join(demo, 'data/vectors.npy')));
    if (vectors.length !== rows.length * DIMENSIONS) throw new Error('rows.jsonl and vectors.npy do not go together');

    const names = [...new Set(rows.map((row) => row.section))].sort();
    const sections = names.map((name) => rows.filter((row) => row.section === name));
    const ordered = sections.flat();
    const vectorOf = ({ place }) => Array.from(vectors.subarray(place * DIMENSIONS, (place + 1) * DIMENSIONS));
    const integers = (name, valueOf) => [name, { type: 'INT32' }, valueOf];
    const texts = (name, valueOf) => [name, { type: 'BYTE_ARRAY', converted_type: 'UTF8' }, valueOf];
    const columns = [
        texts('section', (row) => row.section),
        texts('name', (row) => row.name),
        integers('place', (row) => row.place),
        texts('language', (row) => languageOf(row.language)),
        integers('size', (row) => row.size),
        integers('installed_kb', (row) => row.installed_kb),
        integers('size_class', (row) => Math.floor(Math.log2(Math.max(1, row.installed_kb)))),
        integers('depends', (row) => row.depends),
        texts('summary', (row) => row.summary),
    ];
    const schema = [{ name: 'packages', num_children: columns.length + 1 }];
    for (const [name, element] of columns) {
        schema.push({ name, ...element, repetition_type: name === 'language' ? 'OPTIONAL' : 'REQUIRED' });
    }
    schema.push(
        { name: 'embedding', repetition_type: 'REQUIRED', num_children: 1, converted_type: 'LIST' },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', repetition_type: 'REQUIRED', type: 'FLOAT' },
    );
    const columnData = columns.map(([name, , valueOf]) => ({ name, data: ordered.map(valueOf), columnIndex: true }));
    columnData.push({ name: 'embedding', data: ordered.map(vectorOf), encoding: 'BYTE_STREAM_SPLIT' });
    return Buffer.from(
        parquetWriteBuffer({
            columnData,
            schema,
            codec: 'GZIP',
            compressors: { GZIP: (bytes) => gzipSync(bytes, { level: 9 }) },
            rowGroupSize: sections.map((each) => each.length),
            pageSize: PAGE_BYTES,
        }),
    );
}

const file = process.argv[2];
if (!file) throw new Error('usage: demo/make_parquet.mjs FILE');
await mkdir(dirname(file), { recursive: true });
// Whole or not at all: an interrupted run leaves nothing that looks done.
await writeFile(`${file}.part`, await make());
await rename(`${file}.part`, file);
