/*
 * The page of quota.mjs: writes to a store until the origin's quota is used up.
 */
import { deleteDatabase, init, open, openWorker } from '/node_modules/velta/dist/velta.js';

const SCHEMA = { id: { type: 'int', key: true, required: true }, noise: 'bytes' };
const OPTIONS = { checkpointSeconds: Infinity, checkpointBytes: 4_000_000 };
const ROW_BYTES = 100_000;
const MOST_ROWS = 400;

const openStore = async (storage) => {
    await init();
    return (storage === 'opfs' ? openWorker : open)('quota', { ...OPTIONS, storage });
};

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

/** Rows until one is refused: what was acknowledged, the codes from the first refusal on, what can still be read. */
export async function fill(storage) {
    const db = await openStore(storage);
    const table = await db.table('rows', SCHEMA);
    const acknowledged = [];
    const codes = [];
    for (let id = 0; id < MOST_ROWS && codes.length < 3; id++) {
        const code = await codeOf(async () => {
            await table.insert({ id, noise: noise(id) });
            await db.flush();
        });
        if (code === 'none') acknowledged.push(id);
        else codes.push(code);
    }
    const read = (await table.get(acknowledged.at(-1))).noise[0] === acknowledged.at(-1) % 251;
    await codeOf(() => db.close());
    return { acknowledged, codes, read };
}

/** What is there, verified; whether there is room again. */
export async function judge(storage) {
    const db = await openStore(storage);
    await db.verify();
    const table = await db.table('rows', SCHEMA);
    const ids = await (await table.all()).keys();
    const writes = await codeOf(async () => {
        await table.insert({ id: 1_000_000, noise: noise(0) });
        await db.flush();
    });
    await db.close();
    return { ids, writes };
}

export function remove(storage) {
    return deleteDatabase('quota', { storage });
}
