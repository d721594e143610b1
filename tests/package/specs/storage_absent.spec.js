/*
 * Browsers that have no storage, or refuse it, or do not answer: a coded error with a sentence that says what else can
 * be done, never a hang and never a store that is called damaged. Evicted storage is absent.
 */
import { expect } from 'chai';
import { deleteDatabase, init, isOpfsSupported, listDatabases, open, openWorker, restore } from 'velta';
import { figure, only, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';
import { lack } from './realms/lacking.js';

const SCHEMA = { id: { type: 'int', key: true, required: true } };
const INSTEAD = /indexeddb|createDatabase\(\)|https/;
const IN_PAGE = { storage: 'indexeddb' };
const IN_WORKER = { storage: 'opfs', directory: 'test/absent' };
const { describe: inBrowser } = only('browser', 'Node has neither OPFS nor IndexedDB');

const workerLacking = (what) => `/specs/realms/absent_worker.js?lacks=${encodeURIComponent(what)}`;

/** A promise of a request's result. */
const asked = (request) =>
    new Promise((done, failed) => {
        request.onsuccess = () => done(request.result);
        request.onerror = () => failed(request.error);
    });

/** Runs `work` in this page without `what`. */
async function lacking(what, work) {
    const giveBack = lack(what);
    try {
        return await work();
    } finally {
        giveBack();
    }
}

async function refused(code, work) {
    const error = await errorOf(work);
    expect([error.name, error.code], String(error)).to.deep.equal(['VeltaError', code]);
    return error.message;
}

async function unsupported(work) {
    expect(await refused('UNSUPPORTED', work)).to.match(INSTEAD);
}

/** Runs `work` in which waiting for so long takes a moment only. */
async function impatient(ms, work) {
    const real = globalThis.setTimeout;
    globalThis.setTimeout = (call, time, ...rest) => real(call, time === ms ? 100 : time, ...rest);
    try {
        return await work();
    } finally {
        globalThis.setTimeout = real;
    }
}

let absences = 0;
function absence(what, test) {
    return it(what, async () => {
        await test();
        absences += 1;
    }).timeout(20_000);
}

let snapshot;

async function makeSnapshot() {
    await init();
    const db = await open(temporaryName(), { storage: 'memory' });
    db.table('rows', SCHEMA).insert([{ id: 1 }]);
    snapshot = db.export();
    await db.close();
}

inBrowser('IndexedDB that is not there', () => {
    before(makeSnapshot);

    for (const what of ['indexedDB', 'indexedDB, refused', 'indexedDB.open, refused']) {
        absence(`IndexedDB: ${what}`, async () => {
            const name = temporaryName();
            await lacking(what, async () => {
                await unsupported(() => open(name, IN_PAGE));
                await unsupported(() => open(name, { ...IN_PAGE, mustExist: true }));
                await unsupported(() => restore(name, snapshot, IN_PAGE));
                await unsupported(() => deleteDatabase(name, IN_PAGE));
            });
            /* And no lock stayed; the browser takes it back a moment later. */
            await (await open(name, { ...IN_PAGE, lockTimeout: 300 })).close();
            await lacking('indexedDB.deleteDatabase, refused', () => unsupported(() => deleteDatabase(name, IN_PAGE)));
            expect(await deleteDatabase(name, IN_PAGE)).to.equal(true);
        });
    }

    for (const what of ['indexedDB', 'indexedDB, refused', 'indexedDB.databases', 'indexedDB.databases, refused']) {
        absence(`listing without ${what}`, () =>
            lacking(what, () => refused('UNSUPPORTED', () => listDatabases(IN_PAGE))),
        );
    }

    for (const what of ['navigator.locks', 'navigator.locks, refused']) {
        absence(`Web Locks: ${what}`, () =>
            lacking(what, async () => {
                await unsupported(() => open(temporaryName(), IN_PAGE));
                await unsupported(() => restore(temporaryName(), snapshot, IN_PAGE));
                await unsupported(() => deleteDatabase(temporaryName(), IN_PAGE));
            }),
        );
    }
});

inBrowser('OPFS that is not there', () => {
    before(makeSnapshot);
    after(() => figure('storage_absences', absences));

    for (const what of [
        'navigator.storage',
        'getDirectory',
        'getDirectory, refused',
        'getDirectoryHandle, refused',
        'createSyncAccessHandle',
        'createSyncAccessHandle, refused',
    ]) {
        absence(`OPFS in a worker: ${what}`, async () => {
            const name = temporaryName();
            const worker = workerLacking(what);
            await unsupported(() => openWorker(name, { ...IN_WORKER, worker }));
            await unsupported(() => restore(name, snapshot, { ...IN_WORKER, worker }));
            expect(await listDatabases(IN_WORKER)).not.to.include(name);
            /* And no lock stayed; the browser takes it back a moment later. */
            await (await openWorker(name, { ...IN_WORKER, lockTimeout: 300 })).close();
            await deleteDatabase(name, IN_WORKER);
        });
    }

    for (const what of ['navigator.storage', 'getDirectory', 'getDirectory, refused', 'createSyncAccessHandle']) {
        absence(`a worker without ${what} stores in IndexedDB unless told otherwise`, async () => {
            const name = temporaryName();
            const db = await openWorker(name, { worker: workerLacking(what) });
            await (await db.table('rows', SCHEMA)).insert([{ id: 7 }]);
            await db.close();
            const again = await open(name, { ...IN_PAGE, mustExist: true });
            expect(again.table('rows').all().keys()).to.deep.equal([7]);
            await again.close();
            await deleteDatabase(name, IN_PAGE);
        });
    }

    for (const what of ['navigator.storage', 'getDirectory', 'getDirectory, refused']) {
        absence(`OPFS asked for in a page: ${what}`, () =>
            lacking(what, async () => {
                expect(await isOpfsSupported()).to.equal(false);
                await unsupported(() => deleteDatabase(temporaryName(), IN_WORKER));
                await unsupported(() => listDatabases(IN_WORKER));
            }),
        );
    }
});

inBrowser('OPFS that was not there a moment ago', () => {
    before(() => init());

    it('is left alone by an opening that finds it in use', async () => {
        const name = temporaryName();
        const owner = await openWorker(name, IN_WORKER);
        await (await owner.table('rows', SCHEMA)).insert([{ id: 1 }]);
        const late = { ...IN_WORKER, lockTimeout: 0, worker: workerLacking('locks and sight') };
        await refused('LOCKED', () => openWorker(name, late));
        await owner.close();
        const db = await openWorker(name, { ...IN_WORKER, mustExist: true });
        expect(await (await db.table('rows')).all().keys()).to.deep.equal([1]);
        await db.close();
        await deleteDatabase(name, IN_WORKER);
    }).timeout(20_000);
});

inBrowser('IndexedDB that does not answer', () => {
    before(() => init());

    /** Requests that wait, as behind another page's deletion; then those that were made are let through. */
    async function unanswering(method, work) {
        const real = IDBFactory.prototype[method];
        const made = [];
        IDBFactory.prototype[method] = function silent(...parameters) {
            const request = new EventTarget();
            made.push(() => real.apply(this, parameters));
            return request;
        };
        try {
            return await work();
        } finally {
            IDBFactory.prototype[method] = real;
        }
    }

    it('is told after a while', () =>
        unanswering('open', () =>
            impatient(15_000, async () => {
                expect(await refused('IO', () => open(temporaryName(), IN_PAGE))).to.match(/does not answer/);
            }),
        ));

    it('is given up when the signal is aborted', () =>
        unanswering('open', async () => {
            const gone = new AbortController();
            setTimeout(() => gone.abort(), 50);
            await refused('CANCELLED', () => open(temporaryName(), { ...IN_PAGE, signal: gone.signal }));
        }));

    it('makes nothing when the answer comes too late', async () => {
        const name = temporaryName();
        const real = IDBFactory.prototype.open;
        const gone = new AbortController();
        IDBFactory.prototype.open = function abandoned(...parameters) {
            queueMicrotask(() => gone.abort()); // before any answer can come
            return real.apply(this, parameters);
        };
        try {
            const error = await errorOf(() => open(name, { ...IN_PAGE, signal: gone.signal }));
            expect(error.code).to.equal('CANCELLED');
        } finally {
            IDBFactory.prototype.open = real;
        }
        await new Promise((done) => setTimeout(done, 100));
        expect(await listDatabases(IN_PAGE)).not.to.include(name);
        await (await open(name, { ...IN_PAGE, lockTimeout: 300 })).close();
        await deleteDatabase(name, IN_PAGE);
    });

    it('is LOCKED by a connection of someone else that stands in the way', async () => {
        const name = temporaryName();
        await (await open(name, IN_PAGE)).close();
        const foreign = await asked(indexedDB.open(`velta:${name}`));
        await refused('LOCKED', () => deleteDatabase(name, IN_PAGE));
        /* The deletion waits in the browser, and whoever opens waits behind it. */
        await impatient(15_000, async () => {
            const error = await errorOf(() => open(name, { ...IN_PAGE, mustExist: true }));
            expect(error.code).to.be.oneOf(['IO', 'LOCKED']);
        });
        foreign.close();
        const error = await errorOf(() => open(name, { ...IN_PAGE, mustExist: true }));
        expect(error.code).to.equal('NOT_FOUND');
    }).timeout(30_000);
});

inBrowser('storage that was evicted', () => {
    before(() => init());

    it('is absent, not damaged: IndexedDB', async () => {
        const name = temporaryName();
        let db = await open(name, IN_PAGE);
        db.table('rows', SCHEMA).insert([{ id: 1 }]);
        await db.close();
        await asked(indexedDB.deleteDatabase(`velta:${name}`));
        await refused('NOT_FOUND', () => open(name, { ...IN_PAGE, mustExist: true }));
        await refused('NOT_FOUND', () => open(name, { ...IN_PAGE, readOnly: true }));
        db = await open(name, IN_PAGE);
        expect(db.tableNames()).to.deep.equal([]);
        await db.close();
        await deleteDatabase(name, IN_PAGE);
    });

    it('is absent, not damaged: OPFS', async () => {
        const place = { storage: 'opfs', directory: `evicted-${Math.random()}` };
        const db = await openWorker('store', place);
        await (await db.table('rows', SCHEMA)).insert([{ id: 1 }]);
        await db.close();
        await (await navigator.storage.getDirectory()).removeEntry(place.directory, { recursive: true });
        expect(await listDatabases(place)).to.deep.equal([]);
        await refused('NOT_FOUND', () => openWorker('store', { ...place, mustExist: true }));
        await refused('NOT_FOUND', () => openWorker('store', { ...place, readOnly: true }));
        const again = await openWorker('store', place);
        expect(await again.tableNames()).to.deep.equal([]);
        await again.close();
        await (await navigator.storage.getDirectory()).removeEntry(place.directory, { recursive: true });
    }).timeout(20_000);
});
