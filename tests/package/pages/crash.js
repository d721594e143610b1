/*
 * The page of crash.mjs. It opens three stores: one in IndexedDB here, one in IndexedDB and one in OPFS in workers;
 * tells what is in each, then changes it (changes.js) until the page, its worker or the browser ends, telling how many
 * changes were acknowledged as durable.
 */
import { init, open, openWorker } from '/node_modules/velta/dist/velta.js';
import { DIMENSIONS, MOST_UNTOLD, changeRows, nextChange, rowsOf, textOf } from './changes.js';
import { tell } from './tell.js';

const SCHEMA = {
    id: { type: 'int', key: true, required: true },
    text: 'string',
    number: 'int',
    v: { type: 'vector', dimensions: DIMENSIONS },
};
const OPTIONS = { checkpointBytes: 30_000, checkpointSeconds: 0.3 };
const PLACES = {
    page: { storage: 'indexeddb', inWorker: false },
    worker: { storage: 'indexeddb', inWorker: true },
    opfs: { storage: 'opfs', inWorker: true },
};
/** A fault on purpose, for the test of the test: what is written in groups is told as durable at once. */
const isHasty = new URLSearchParams(location.search).has('hasty');
const workers = new Map();

function openStore(place) {
    const { storage, inWorker } = PLACES[place];
    const options = { ...OPTIONS, storage, ...(isHasty ? { durability: 'relaxed' } : {}) };
    if (!inWorker) return open(`crash ${place}`, options);
    const worker = new Worker('/node_modules/velta/dist/worker.js', { type: 'module' });
    workers.set(place, worker);
    return openWorker(`crash ${place}`, { ...options, worker });
}

async function textOfTable(table) {
    const found = await (await table.all()).toArray();
    const rows = new Map(found.map(({ id, text, number, v }) => [id, { text, number, v: Array.from(v) }]));
    return rows.size === found.length ? textOf(rows) : 'a key is there twice';
}

function floats({ vector, values, indices, ...operation }) {
    if (vector) return { ...operation, vector: Float32Array.from(vector) };
    if (values) return { ...operation, indices: Uint32Array.from(indices), values: Float32Array.from(values) };
    return operation;
}

function perform(db, table, change) {
    const deltas = () => change.deltas.map(({ key, operation }) => ({ key, operation: floats(operation) }));
    switch (change.kind) {
        case 'insert':
        case 'upsert':
            return table[change.kind](change.rows);
        case 'update':
            return table.update(change.key, change.values);
        case 'updateMany':
            return table.updateMany(change.keys, { number: change.numbers });
        case 'delete':
            return table.delete(change.keys);
        case 'apply':
            return table.apply(change.deltas[0].key, deltas()[0].operation);
        case 'applyAll':
            return table.applyAll(deltas());
        case 'checkpoint':
            return db.checkpoint();
        default:
            return db.compact(change.keepSince ? { keepSince: change.keepSince } : {});
    }
}

/** One opening of a store, its rows, and changes to them for ever: a few at a time, then the flush, then the word. */
async function live(place) {
    const begin = performance.now();
    const db = await openStore(place);
    const openMs = performance.now() - begin;
    await db.verify();
    const table = await db.table('rows', SCHEMA);
    const text = await textOfTable(table);
    const { life, seed, count: from } = await tell('/found', { place, text, openMs });
    const rows = rowsOf(text);
    for (let count = from; ;) {
        const done = [];
        const many = 1 + Math.floor(Math.random() * MOST_UNTOLD);
        for (let i = 0; i < many; i++) {
            const change = nextChange(seed, count++, rows);
            changeRows(rows, change);
            done.push(perform(db, table, change));
        }
        if (!isHasty) {
            await Promise.all(done);
            await db.flush();
        }
        await tell('/acknowledged', { place, life, count });
    }
}

/** Lives one after the other: a worker that was ended is followed by another. */
async function liveOn(place) {
    for (;;) {
        try {
            await live(place);
        } catch (error) {
            if (error.code === 'WORKER' && !workers.has(place)) continue;
            return tell('/failed', { error: `${place}: ${error.code ?? ''} ${error} ${error.stack ?? ''}` });
        }
    }
}

/** Ends the workers on the spot. */
globalThis.endWorkers = () => {
    for (const [place, worker] of workers) {
        workers.delete(place);
        worker.terminate();
    }
};

await init();
Object.keys(PLACES).forEach(liveOn);
