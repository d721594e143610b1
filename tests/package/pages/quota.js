/*
 * The page of quota.mjs: works on a store until the origin's quota is used up.
 */
import { init, open, openWorker } from '/node_modules/velta/dist/velta.js';

const SCHEMA = { id: { type: 'int', key: true, required: true }, noise: 'bytes' };
const ROW_BYTES = 100_000;
const MOST_ROWS = 400;
const MOST_CODES = 3;
/** Bytes of log that start a checkpoint: in the life `insert` one comes now and then, elsewhere only when called. */
const CHECKPOINT_BYTES = { insert: 2_000_000, checkpoint: Infinity, compact: Infinity };

async function openStore(place, life, more = {}) {
    await init();
    const { storage, inWorker } = place;
    const options = { storage, checkpointSeconds: Infinity, checkpointBytes: CHECKPOINT_BYTES[life], ...more };
    return (inWorker ? openWorker : open)('quota', options);
}

async function codeOf(call) {
    try {
        await call();
        return 'none';
    } catch (error) {
        return error.code ?? String(error);
    }
}

function noise(id) {
    const bytes = new Uint8Array(ROW_BYTES);
    for (let at = 0; at < ROW_BYTES; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    bytes[0] = id % 251;
    return bytes;
}

/** The calls of a life, one after the other: rows, and from `startAt` rows on the checkpoint or compaction. */
function* callsOf(life, startAt, db, table) {
    for (let id = 0; id < MOST_ROWS; id++) {
        yield { id, call: () => table.insert({ id, noise: noise(id) }) };
        if (life !== 'insert' && id >= startAt) yield { id: null, call: () => db[life]() };
    }
}

/** Works until it is refused: what was acknowledged, the codes from the first refusal on, what can still be read. */
export async function fill(place, life, startAt) {
    const db = await openStore(place, life);
    const table = await db.table('rows', SCHEMA);
    const acknowledged = [];
    const refusals = [];
    for (const { id, call } of callsOf(life, startAt, db, table)) {
        const code = await codeOf(async () => {
            await call();
            await db.flush();
        });
        if (code !== 'none') refusals.push({ code, what: id === null ? life : 'insert' });
        else if (id !== null) acknowledged.push(id);
        if (refusals.length === MOST_CODES) break;
    }
    let unread = 0;
    for (const id of acknowledged) unread += (await table.get(id)).noise[0] !== id % 251;
    await codeOf(() => db.close());
    return { acknowledged, refusals, unread };
}

/** What a reader finds while the quota is used up, verified; what a writer is told, who may need room to open. */
export async function look(place, life) {
    const db = await openStore(place, life, { readOnly: true });
    await db.verify();
    const ids = await (await (await db.table('rows')).all()).keys();
    await db.close();
    const code = await codeOf(async () => (await openStore(place, life)).close());
    return { ids, code };
}

/** What is there, verified; whether there is room again. */
export async function judge(place, life) {
    const db = await openStore(place, life);
    await db.verify();
    const table = await db.table('rows', SCHEMA);
    const ids = await (await table.all()).keys();
    const writes = await codeOf(async () => {
        await table.insert({ id: 1_000_000, noise: noise(0) });
        await db.checkpoint();
        await db.flush();
    });
    await db.close();
    return { ids, writes };
}
