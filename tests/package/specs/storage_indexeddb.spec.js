/*
 * IndexedDB: what becomes of a store when transactions fail, when the connection is taken away, when records are
 * damaged; group commit; that no copy of the store stays in memory.
 */
import { expect } from 'chai';
import { createDatabase, deleteDatabase, init, listDatabases, open, restore } from 'velta';
import { only, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';

const SCHEMA = { id: { type: 'int', key: true, required: true }, text: 'string' };
const row = (id) => ({ id, text: `text of ${id}` });
const STORED = { storage: 'indexeddb' };
const { describe: inBrowser } = only('browser', 'Node has no IndexedDB');

const codeOf = async (call) => (await errorOf(call)).code;
const turn = () => new Promise((resolve) => setTimeout(resolve));

/** A promise of a request's result. */
const asked = (request) =>
    new Promise((done, failed) => {
        request.onsuccess = () => done(request.result);
        request.onerror = () => failed(request.error);
    });

/** Replaces a method while `work` runs. */
async function replacing(prototype, method, other, work) {
    const real = prototype[method];
    prototype[method] = other(real);
    try {
        return await work();
    } finally {
        prototype[method] = real;
    }
}

async function keysIn(name) {
    const db = await open(name, { ...STORED, mustExist: true });
    await db.verify();
    const keys = db.hasTable('rows') ? db.table('rows').all().keys() : [];
    await db.close();
    return keys;
}

inBrowser('IndexedDB underneath', () => {
    let name;
    let db;
    before(() => init());
    beforeEach(async () => {
        name = temporaryName();
        db = await open(name, { ...STORED, autoIndex: false, checkpointSeconds: Infinity });
        db.table('rows', SCHEMA).insert([1, 2].map(row));
        await db.flush();
    });
    afterEach(async () => {
        await db.close().catch(() => undefined);
        await deleteDatabase(name, STORED);
    });

    const FAULTS = {
        'a quota that is used up': ['FULL', () => new DOMException('no room', 'QuotaExceededError')],
        'an unknown failure': ['IO', () => new DOMException('the disk is gone', 'UnknownError')],
    };
    for (const [what, [code, fault]] of Object.entries(FAULTS)) {
        it(`tells ${what} to whoever waits, and is POISONED until it is opened again`, async () => {
            const failing = () => () => {
                throw fault();
            };
            await replacing(IDBObjectStore.prototype, 'put', failing, async () => {
                db.table('rows').insert(row(3));
                expect(await codeOf(() => db.flush())).to.equal(code);
            });
            /* It works again underneath, but nobody knows what is there. */
            expect(await codeOf(() => db.table('rows').insert(row(4)))).to.be.oneOf([code, 'POISONED']);
            expect(await codeOf(() => db.table('rows').insert(row(5)))).to.equal('POISONED');
            expect(db.table('rows').get(1).text).to.equal('text of 1');
            expect(await codeOf(() => db.close())).to.equal(code);
            expect(await keysIn(name)).to.deep.equal([1, 2]);
        });
    }

    it('keeps a batch whole when its transaction is aborted in the middle', async () => {
        let puts = 0;
        const aborting = (real) =>
            function put(...parameters) {
                const request = real.apply(this, parameters);
                puts += 1;
                if (puts === 4) this.transaction.abort();
                return request;
            };
        await replacing(IDBObjectStore.prototype, 'put', aborting, async () => {
            const texts = Array.from({ length: 3000 }, (_, i) => ({ id: 10 + i, text: `${Math.random()}`.repeat(9) }));
            db.table('rows').insert(texts);
            db.checkpoint();
            expect(await codeOf(() => db.flush())).to.equal('IO');
        });
        expect(puts).to.be.greaterThan(3);
        await db.close().catch(() => undefined);
        expect(await keysIn(name)).to.deep.equal([1, 2]);
    });

    it('shares one transaction among the changes of a moment', async () => {
        let count = 0;
        const counting = (real) =>
            function transaction(...parameters) {
                if (parameters[1] === 'readwrite') count += 1;
                return real.apply(this, parameters);
            };
        await replacing(IDBDatabase.prototype, 'transaction', counting, async () => {
            for (let id = 10; id < 60; id++) db.table('rows').insert(row(id));
            await db.flush();
        });
        expect(count).to.be.within(1, 2);
        await db.close();
        expect((await keysIn(name)).length).to.equal(52);
    });

    it('asks for the durability of the store', async () => {
        const seen = [];
        const noting = (real) =>
            function transaction(...parameters) {
                if (parameters[1] === 'readwrite') seen.push(parameters[2]?.durability);
                return real.apply(this, parameters);
            };
        await db.close();
        db = await open(name, { ...STORED, durability: 'relaxed', autoIndex: false, checkpointSeconds: Infinity });
        await replacing(IDBDatabase.prototype, 'transaction', noting, async () => {
            const texts = Array.from({ length: 9000 }, (_, i) => ({ id: 10 + i, text: `${Math.random()}`.repeat(3) }));
            db.table('rows').insert(texts);
            await new Promise((resolve) => setTimeout(resolve, 200));
            expect(seen).to.deep.equal(['relaxed']);
            await db.flush();
            expect(seen.at(-1)).to.equal('strict');
        });
    });

    it('gives way to a page that deletes or upgrades it, and says so', async () => {
        const deleted = asked(indexedDB.deleteDatabase(`velta:${name}`));
        await deleted;
        const error = await errorOf(async () => {
            db.table('rows').insert(row(3));
            await db.flush();
        });
        expect(error.code).to.be.oneOf(['IO', 'POISONED']);
        await db.close().catch(() => undefined);
        expect(await codeOf(() => open(name, { ...STORED, mustExist: true }))).to.equal('NOT_FOUND');
        expect(await listDatabases(STORED)).not.to.include(name);
    });

    it('does not write over another writer, should its lock be stolen', async () => {
        await new Promise((stolen) => {
            void navigator.locks.request(`velta:indexeddb:${name}`, { steal: true }, async () => stolen());
        });
        await turn();
        const other = await open(name, STORED);
        const error = await errorOf(async () => {
            db.table('rows').insert(row(3));
            await db.flush();
        });
        expect(error.code).to.be.oneOf(['IO', 'POISONED']);
        other.table('rows').insert(row(4));
        await other.close();
        await db.close().catch(() => undefined);
        expect(await keysIn(name)).to.deep.equal([1, 2, 4]);
    });

    it('tells damage from absence', async () => {
        db.checkpoint();
        await db.close();
        const damage = async (work) => {
            const connection = await asked(indexedDB.open(`velta:${name}`));
            const transaction = connection.transaction(['chunks', 'meta'], 'readwrite');
            const end = new Promise((resolve) => (transaction.oncomplete = resolve));
            await work(transaction.objectStore('chunks'), transaction.objectStore('meta'));
            await end;
            connection.close();
        };
        await damage(async (chunks) => {
            const chunk = await asked(chunks.get([0, 0]));
            chunk[8192 + 70] ^= 1;
            chunk[chunk.length - 20] ^= 1;
            chunks.put(chunk, [0, 0]);
        });
        expect(await codeOf(() => open(name, STORED))).to.equal('CORRUPT');
        await damage((_, meta) => meta.delete('store'));
        expect(await codeOf(() => open(name, { ...STORED, mustExist: true }))).to.equal('CORRUPT');
        expect(await listDatabases(STORED)).to.include(name);
        await deleteDatabase(name, STORED);
        expect(await codeOf(() => open(name, { ...STORED, mustExist: true }))).to.equal('NOT_FOUND');
    });

    it('restores all or nothing when the transaction fails', async () => {
        await db.close();
        const other = createDatabase();
        other
            .table('rows', SCHEMA)
            .insert(Array.from({ length: 4000 }, (_, i) => ({ id: i, text: `${i}`.repeat(40) })));
        const snapshot = other.export();
        await other.close();
        for (const nth of [1, 2, 3]) {
            let puts = 0;
            const failing = (real) =>
                function put(...parameters) {
                    puts += 1;
                    if (puts === nth) throw new DOMException('no room', 'QuotaExceededError');
                    return real.apply(this, parameters);
                };
            await replacing(IDBObjectStore.prototype, 'put', failing, async () => {
                expect(await codeOf(() => restore(name, snapshot, STORED))).to.equal('FULL');
            });
            expect(await keysIn(name)).to.deep.equal([1, 2]);
        }
        await restore(name, snapshot, STORED);
        expect((await keysIn(name)).length).to.equal(4000);
    });

    it('verifies while it is written', async () => {
        const work = db.verify();
        for (let id = 10; id < 400; id++) {
            db.table('rows').insert(row(id));
            if (id % 50 === 0) {
                db.checkpoint();
                await turn();
            }
        }
        await work;
        await db.verify();
    });
});
