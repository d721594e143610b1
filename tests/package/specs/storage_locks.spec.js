/*
 * Locks that outlive their owner: whoever opens waits up to three seconds and has the store then; a lock that stays is
 * LOCKED after that, and is never stolen. The owner is played by a lock, or a handle, that nobody gives back.
 */
import { expect } from 'chai';
import { deleteDatabase, init, open, openWorker } from 'velta';
import { only, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';
import { startOpfsWorker } from './realms/places.js';

const SCHEMA = { id: { type: 'int', key: true, required: true } };
const AFTER_MS = 1000;
const DIRECTORY = 'test/locks';

/** Holds a Web Lock; `stolen` when other code takes it. Resolves when it is held. */
async function holdLock(name) {
    const owner = { stolen: false };
    await new Promise((held, failed) => {
        const hold = () =>
            new Promise((end) => {
                owner.release = end;
                held();
            });
        navigator.locks.request(name, hold).catch((error) => {
            owner.stolen = true;
            failed(error);
        });
    });
    return owner;
}

/** Holds the handle of a database's file `data` without any lock. */
async function holdHandle(name) {
    const worker = startOpfsWorker();
    await worker.run('faults', 'holdData', DIRECTORY, name);
    return { stolen: false, release: () => worker.end() };
}

const PLACES = {
    'a Web Lock of IndexedDB': {
        storage: { storage: 'indexeddb' },
        openHere: open,
        hold: (name) => holdLock(`velta:indexeddb:${name}`),
    },
    'a Web Lock of OPFS': {
        storage: { storage: 'opfs', directory: DIRECTORY },
        openHere: openWorker,
        hold: (name) => holdLock(`velta:opfs:${DIRECTORY}/${name}`),
    },
    'a handle of OPFS': {
        storage: { storage: 'opfs', directory: DIRECTORY },
        openHere: openWorker,
        hold: holdHandle,
    },
};

only('browser', 'storage_file.spec.js has the locks of files').describe('a lock that outlives its owner', () => {
    before(() => init());

    for (const [what, { storage, openHere, hold }] of Object.entries(PLACES)) {
        it(`is waited for, and never stolen: ${what}`, async () => {
            const name = temporaryName();
            let db = await openHere(name, storage);
            await (await db.table('rows', SCHEMA)).insert({ id: 1 });
            await db.close();
            let owner = await hold(name);
            let begin = performance.now();
            expect((await errorOf(() => openHere(name, storage))).code).to.equal('LOCKED');
            expect(performance.now() - begin).to.be.within(2900, 6000);
            expect(owner.stolen).to.equal(false);
            owner.release();
            owner = await hold(name);
            setTimeout(() => owner.release(), AFTER_MS);
            begin = performance.now();
            db = await openHere(name, { ...storage, mustExist: true });
            expect(performance.now() - begin).to.be.within(AFTER_MS - 100, 4000);
            expect(owner.stolen).to.equal(false);
            expect(await (await (await db.table('rows')).all()).keys()).to.deep.equal([1]);
            await db.close();
            await deleteDatabase(name, storage);
        }).timeout(30_000);
    }

    it('is waited for without end when so told', async () => {
        const name = temporaryName();
        const owner = await holdLock(`velta:indexeddb:${name}`);
        const opening = open(name, { storage: 'indexeddb', lockTimeout: Infinity });
        setTimeout(() => owner.release(), 100);
        await (await opening).close();
        await deleteDatabase(name, { storage: 'indexeddb' });
    });
});
