/*
 * The page of private.mjs: a store in each storage, as far as a private window, a sandboxed frame or cleared data let
 * it. Everything comes back as codes and counts.
 */
import { init, open, openWorker } from '/node_modules/velta/dist/velta.js';

const SCHEMA = { id: { type: 'int', key: true, required: true } };
const opened = {};

async function told(call) {
    try {
        return { code: 'none', value: await call() };
    } catch (error) {
        return { code: error.code ?? String(error), message: error.message };
    }
}

async function openStore(storage, more = {}) {
    await init();
    return (storage === 'opfs' ? openWorker : open)('private', { storage, ...more });
}

/** Writes, closes, opens again and reads: how many rows are there. */
export function live(storage) {
    return told(async () => {
        let db = await openStore(storage);
        await (await db.table('rows', SCHEMA)).insert([{ id: 1 }, { id: 2 }]);
        await db.close();
        db = await openStore(storage, { mustExist: true });
        await db.verify();
        const keys = await (await (await db.table('rows')).all()).keys();
        await db.close();
        return keys.length;
    });
}

/** What there is of a store that must exist. */
export function find(storage) {
    return told(async () => (await openStore(storage, { mustExist: true })).close());
}

/** Opens a store and writes to it, for `go`. */
export function hold(storage) {
    return told(async () => {
        const db = await openStore(storage);
        const table = await db.table('rows', SCHEMA);
        await table.insert({ id: 10 });
        await db.flush();
        opened[storage] = { db, table };
    });
}

/** The held store is written on; closed. */
export async function go(storage) {
    const { db, table } = opened[storage];
    const write = await told(async () => {
        await table.insert({ id: 11 });
        await db.flush();
    });
    const read = await told(async () => (await table.get(10)).id);
    const close = await told(() => db.close());
    return { write, read, close };
}

globalThis.page = { live, find, hold, go };
