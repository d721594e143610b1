/*
 * A worker that imports a Parquet file into a table of its own, searches it, and tells what it found (parquet_import.
 * spec.js).
 */
import { answer, entry, isMain } from './asked.js';

const { createDatabase, init } = await entry('velta');
const { StreamingParquetReader, importParquet } = await entry('parquet');

answer(async ({ url, where, query }) => {
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
    return { rows, nearest: nearest.distance, isMain, names: name, bytesFetched, progress };
});
