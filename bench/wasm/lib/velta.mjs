/*
 * The package as it is packed, started with one of its builds.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildFolder } from './peer.mjs';

export const packageFolder = join(buildFolder, 'package');

export async function loadVelta(options = { build: 'simd128' }) {
    const entry = join(packageFolder, 'dist', 'velta.js');
    if (!existsSync(entry)) throw new Error(`${entry} is missing: make package makes it`);
    const velta = await import(pathToFileURL(entry).href);
    await velta.init(options);
    return velta;
}

/** The bytes of one build of the module. */
export function moduleBytes(build) {
    return readFileSync(join(packageFolder, 'dist', 'wasm', `velta.${build}.wasm`));
}

export const graph = { m: 16, efConstruction: 100 };

/** A table with the data's vectors, not linked yet. */
export function fill(velta, data, { name = 'rows', columns = {}, values = () => ({}) } = {}) {
    const database = velta.createDatabase({ autoIndex: false });
    const table = database.table(name, { ...columns, vector: velta.vector(data.dimensions, graph) });
    const batch = 8192;
    for (let first = 0; first < data.rows; first += batch) {
        const end = Math.min(first + batch, data.rows);
        const vector = data.base.subarray(first * data.dimensions, end * data.dimensions);
        table.insertColumns({ ...values(first, end), vector }, end - first);
    }
    return { database, table };
}

/** Links everything that waits. */
export function link(database) {
    while (database.linkPending() > 0);
}
