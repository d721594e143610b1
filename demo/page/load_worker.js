/*
 * Fills an empty store from the Parquet file, over ranges. This is done beside the page because the file is unpacked,
 * filtered and written in the thread that asks for it.
 *
 * In: { step: 'look' }, then { step: 'load', name, storage, init, section }, and { step: 'stop' } at any time. Out:
 * { progress } and, for each of the first two, { answer }, or { error } as VeltaError.toJSON gives it. A load that
 * fails or is stopped leaves no store.
 */
import { VeltaError, deleteDatabase, eq, init, open } from './velta/velta.js';
import { RangeClient, StreamingParquetReader, importParquet } from './velta/parquet.js';
import { CHANGES, PACKAGES, SOURCE } from './schema.js';

/** @typedef {import('velta/parquet').RangeSource} RangeSource */

/**
 * @typedef {object} Progress
 * @property {number} share of the file's rows that were looked at
 * @property {number} rows written
 * @property {number} bytes fetched
 * @property {number} fileBytes
 */

/**
 * @typedef {object} Looked
 * @property {[string, number][]} sections and their packages
 * @property {number} rows
 * @property {number} bytes fetched
 * @property {number} fileBytes
 */

const stop = new AbortController();
/** @type {Progress} */
const progress = { share: 0, rows: 0, bytes: 0, fileBytes: 0 };
const tell = () => postMessage({ progress });

const client = new RangeClient(new URL('data/packages.parquet', import.meta.url), {
    signal: stop.signal,
    onProgress: ({ bytesFetched, fileBytes }) => {
        Object.assign(progress, { bytes: bytesFetched, fileBytes: fileBytes ?? 0 });
        tell();
    },
});
/** @type {ReturnType<RangeSource['readTail']> | null} */
let tail = null;
/** The client; the end of the file, which both steps read, is fetched once. @type {RangeSource} */
const source = {
    read: (start, end, options) => client.read(start, end, options),
    readTail: (bytes, options) => (tail ??= client.readTail(bytes, options)),
    stats: () => client.stats(),
};

/** @returns {Promise<Looked>} */
async function look() {
    const reader = new StreamingParquetReader(source);
    const { fileBytes, rows } = await reader.readMetadata();
    /** @type {Map<string, number>} */
    const sections = new Map();
    for (const section of /** @type {string[]} */ (await reader.readColumn('section'))) {
        sections.set(section, (sections.get(section) ?? 0) + 1);
    }
    const { bytesFetched } = source.stats();
    return { sections: [...sections].sort((a, b) => b[1] - a[1]), rows, bytes: bytesFetched, fileBytes };
}

/**
 * @typedef {object} Load
 * @property {string} name of the store
 * @property {import('velta').OpenOptions} storage
 * @property {import('velta').InitOptions} init
 * @property {string | null} section null: all
 */

/** @param {Load} load */
async function load({ name, storage, init: options, section }) {
    await init(options);
    let fileRows = 0;
    // Linking waits until the page has the store.
    const database = await open(name, { ...storage, autoIndex: false });
    try {
        const result = await importParquet(source, {
            table: database.table('packages', PACKAGES),
            where: section === null ? '' : eq('section', section),
            signal: stop.signal,
            onProgress: ({ rowsRead, rowsWritten, rows }) => {
                fileRows = rows;
                Object.assign(progress, { share: rowsRead / rows, rows: rowsWritten });
                tell();
            },
        });
        database.table('source', SOURCE).insert({
            id: 0,
            section,
            rows: result.rows,
            file_rows: fileRows,
            bytes_fetched: result.bytesFetched,
            file_bytes: result.fileBytes,
            requests: result.requests,
        });
        const time = database.stats().time ?? new Date();
        database.table('changes', CHANGES).insert({ id: 0, time, kind: 'load', package: null, query: null });
        database.tag('0');
        // The log begins anew, so that it shows what is done from now on.
        database.checkpoint();
        await database.close();
        return null;
    } catch (error) {
        await database.close().catch(() => undefined);
        await deleteDatabase(name, storage);
        throw error;
    }
}

addEventListener('message', async ({ data }) => {
    if (data.step === 'stop') return stop.abort();
    try {
        postMessage({ answer: data.step === 'look' ? await look() : await load(data) });
    } catch (error) {
        postMessage({
            error: error instanceof VeltaError ? error.toJSON() : { code: 'WORKER', message: String(error) },
        });
    }
});
