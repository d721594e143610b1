/*
 * The page of crash.mjs: opens a store in IndexedDB here and one in OPFS in a worker, tells what is in them, then
 * writes to both until the browser is killed, telling what was acknowledged as durable.
 */
import { init, open, openWorker } from '/node_modules/velta/dist/velta.js';

const SCHEMA = {
    id: { type: 'int', key: true, required: true },
    text: 'string',
    batchEnd: 'int',
    v: { type: 'vector', dimensions: 8 },
};
const OPTIONS = { checkpointBytes: 30_000, checkpointSeconds: 0.3 };

const tell = (route, value) => fetch(route, { method: 'POST', body: JSON.stringify(value) });

function rowsFrom(first, count) {
    return Array.from({ length: count }, (_, i) => {
        const id = first + i;
        const v = Array.from({ length: 8 }, (_, d) => Math.sin(id * d));
        return { id, text: `row ${id}`.repeat(1 + (id % 30)), batchEnd: first + count - 1, v };
    });
}

async function start(storage) {
    const begin = performance.now();
    const db = await (storage === 'opfs' ? openWorker : open)('crash', { ...OPTIONS, storage });
    const openMs = performance.now() - begin;
    await db.verify();
    const table = await db.table('rows', SCHEMA);
    const ids = await (await table.all()).keys();
    const whole = [];
    for (const id of ids.filter((each) => each % 97 === 0)) whole.push((await table.get(id)).text);
    const last = ids.reduce((most, id) => Math.max(most, id), 0);
    const isHalf = last > 0 && (await table.get(last)).batchEnd !== last;
    await tell('/found', { storage, ids, openMs, isHalf, texts: whole });
    return { storage, db, table, next: last + 1 };
}

/** Batches of 1 to 40 rows; a batch is there whole or not at all. */
async function write(store) {
    for (let batch = 0; ; batch++) {
        const rows = rowsFrom(store.next, 1 + ((batch * 7) % 40));
        store.next += rows.length;
        await store.table.insert(rows);
        await store.db.flush();
        await tell('/acknowledged', { storage: store.storage, ids: rows.map(({ id }) => id) });
    }
}

try {
    await init();
    const stores = [await start('indexeddb'), await start('opfs')];
    await tell('/writing', {});
    await Promise.all(stores.map(write));
} catch (error) {
    await tell('/failed', { error: `${error.code ?? ''} ${error.stack ?? error}` });
}
