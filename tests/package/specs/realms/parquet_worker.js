/*
 * A worker that imports a Parquet file into a table of its own, searches it, and tells what it found (parquet_import.
 * spec.js). A worker of a browser knows no import map.
 */
const isNode = typeof process === 'object';
const folder = '/node_modules/velta/dist';
const { createDatabase, init } = await import(isNode ? 'velta' : `${folder}/velta.js`);
const { StreamingParquetReader, importParquet } = await import(isNode ? 'velta/parquet' : `${folder}/parquet.js`);
const threads = isNode ? await import('node:worker_threads') : null;
const port = threads?.parentPort ?? globalThis;

async function work({ url, where, query }) {
    await init();
    const database = createDatabase();
    const progress = [];
    const { table, rows, bytesFetched } = await importParquet(url, {
        database,
        table: 'rows',
        where,
        onProgress: (told) => progress.push(told),
    });
    const [nearest] = table.search(query, { k: 1 });
    const { name } = await new StreamingParquetReader(url).selectByIndices(['name'], Uint32Array.of(4961, 4962));
    const isMain = threads?.isMainThread ?? typeof document === 'object';
    return { rows, nearest: nearest.distance, isMain, names: name, bytesFetched, progress };
}

async function receive(asked) {
    try {
        port.postMessage(await work(asked));
    } catch (error) {
        port.postMessage({ error: String(error.stack) });
    }
}
if (isNode) port.on('message', receive);
else port.onmessage = ({ data }) => receive(data);
port.postMessage({ isReady: true });
