/*
 * One of the tabs of tabs.mjs: tries to open a store in IndexedDB and one in OPFS, again and again; while it has one it
 * writes to it, tells what was acknowledged as durable, and gives it back after a while.
 *
 * The address says how: ?mode=lockless, everyone is granted the lock; ?mode=blind, as well nobody sees the epoch of
 * another in IndexedDB, a fault on purpose.
 */
import { tell } from './tell.js';

const mode = new URLSearchParams(location.search).get('mode');
if (mode) await import('./lockless.js');
const { init, open, openWorker } = await import('/node_modules/velta/dist/velta.js');

const SCHEMA = { id: { type: 'int', key: true, required: true }, epoch: 'int', tab: 'string' };
const WRITES = 5; /* of two rows each, before a flush */
const CODES = mode ? ['LOCKED', 'IO', 'POISONED'] : ['LOCKED'];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
let epochOfMine;

/** Every record of a store shows the epoch that this tab put last. */
function blind() {
    const { put } = IDBObjectStore.prototype;
    const { get } = Object.getOwnPropertyDescriptor(IDBRequest.prototype, 'result');
    IDBObjectStore.prototype.put = function noted(record, ...rest) {
        if (record?.epoch !== undefined) epochOfMine = record.epoch;
        return put.call(this, record, ...rest);
    };
    Object.defineProperty(IDBRequest.prototype, 'result', {
        get() {
            const found = get.call(this);
            if (epochOfMine === undefined || found?.epoch === undefined) return found;
            return { ...found, epoch: epochOfMine };
        },
    });
}

function openStore(storage) {
    const options = { storage, lockTimeout: Math.random() * 300, checkpointBytes: 20_000, checkpointSeconds: 0.3 };
    epochOfMine = undefined;
    if (storage === 'indexeddb') return open('tabs', options);
    return openWorker('tabs', mode ? { ...options, worker: '/pages/lockless_worker.js' } : options);
}

/** Ids ascend by two; a write is two rows, there together or not at all. */
async function write(storage, db, known) {
    const tab = Math.random().toString(36).slice(2);
    const table = await db.table('rows', SCHEMA);
    const rows = await (await table.all()).toArray();
    const most = (column) => rows.reduce((found, row) => Math.max(found, row[column]), 0);
    const epoch = most('epoch') + 1;
    let id = most('id') + 1;
    await tell('/found', { storage, known, rows: rows.map((row) => [row.id, row.epoch, row.tab]) });
    for (let group = 2 + Math.random() * 12; group > 0; group--) {
        const ids = [];
        for (let i = 0; i < WRITES; i++, id += 2) {
            await table.insert([id, id + 1].map((each) => ({ id: each, epoch, tab })));
            ids.push(id);
        }
        await db.flush();
        await tell('/acknowledged', { storage, epoch, tab, ids });
    }
}

async function contend(storage) {
    for (;;) {
        let db;
        try {
            const { known } = await tell('/begin', { storage });
            db = await openStore(storage);
            await write(storage, db, known);
            await db.close();
        } catch (error) {
            await db?.close().catch(() => undefined);
            if (!CODES.includes(error.code)) {
                return tell('/failed', { error: `${storage}: ${error.code ?? ''} ${error} ${error.stack ?? ''}` });
            }
            await tell('/refused', { storage, code: error.code });
        }
        await pause(Math.random() * 40);
    }
}

if (mode === 'blind') blind();
await init();
void contend('indexeddb');
void contend('opfs');
