/*
 * hnswlib-wasm as its users have it. It is made for pages and asks for a window; the file system that its loader
 * prepares would want IndexedDB, and is not used here, so the module is taken as it stands behind the loader.
 */
import { readdirSync } from 'node:fs';

export async function loadHnswlibWasm(data, { m, efConstruction }) {
    const folder = new URL('../node_modules/hnswlib-wasm/dist/', import.meta.url);
    const inner = readdirSync(folder).find((name) => /^hnswlib-.*\.js$/.test(name));
    globalThis.window ??= globalThis;
    const factory = (await import(new URL(inner, folder).href)).default;
    const library = await factory();
    delete globalThis.window;
    const index = new library.HierarchicalNSW('ip', data.dimensions, '');
    index.initIndex(data.rows, m, efConstruction, 100);
    return {
        /** Rows first..end-1, in one call as its manual advises. */
        add(first, end) {
            const vectors = [];
            for (let row = first; row < end; row++)
                vectors.push(data.base.subarray(row * data.dimensions, (row + 1) * data.dimensions));
            index.addPoints(
                vectors,
                Array.from(vectors, (_, i) => first + i),
                false,
            );
        },
        setEf: (ef) => index.setEfSearch(ef),
        search: (query, k) => index.searchKnn(query, k, undefined).neighbors,
    };
}
