/*
 * Writes to a database until it is killed. Ids ascend; those that `write` gave back were acknowledged as durable.
 */
import { init, open, openWorker } from 'velta';

let db;
let table;
let next = 0;

/** Opens; the ids that are there, after everything was checked. */
export async function begin(name, { useWorker, ...options }) {
    const schema = { id: { type: 'int', key: true, required: true }, text: 'string' };
    if (!useWorker) await init();
    db = await (useWorker ? openWorker : open)(name, { ...options, checkpointSeconds: 0.2 });
    table = await db.table('rows', schema);
    await db.verify();
    const found = await (await table.all()).keys();
    next = found.reduce((most, id) => Math.max(most, id), 0) + 1;
    return found;
}

/** Some more rows, one by one; their ids when all are durable. */
export async function write(count) {
    const ids = [];
    for (let i = 0; i < count; i++) {
        const id = next++;
        await table.insert({ id, text: `row ${id}`.repeat(id % 50) });
        ids.push(id);
    }
    await db.flush();
    return ids;
}
