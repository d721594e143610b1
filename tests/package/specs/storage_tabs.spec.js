/*
 * Tabs of one origin: one writes, the others are told LOCKED; when it is killed under load, the next has the store
 * within the time that opening waits, with everything that was acknowledged.
 */
import { expect } from 'chai';
import { deleteDatabase, init, open, openWorker } from 'velta';
import { only, openRealm, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';

only('browser', 'tabs are of browsers; storage_file.spec.js has processes').describe('several tabs', () => {
    before(() => init());

    for (const storage of ['indexeddb', 'opfs']) {
        it(`share a store in ${storage} one after the other, whatever becomes of its owner`, async () => {
            const name = temporaryName();
            const useWorker = storage === 'opfs';
            const openHere = useWorker ? openWorker : open;
            const options = { storage, checkpointBytes: 20_000 };
            const ledger = [];
            for (let life = 0; life < 3; life++) {
                const tab = await openRealm(new URL('./realms/writer.js', import.meta.url), { separate: true });
                const found = await tab.call('begin', name, { ...options, useWorker });
                expect(ledger.filter((id) => !found.includes(id))).to.deep.equal([]);
                for (let i = 0; i < 5; i++) ledger.push(...(await tab.call('write', 10)));
                const refused = await errorOf(() => openHere(name, { ...options, lockTimeout: 50 }));
                expect(refused.code).to.equal('LOCKED');
                void tab.call('write', 1000).catch(() => undefined);
                await tab.kill();
            }
            const db = await openHere(name, options);
            await db.verify();
            const keys = await (await (await db.table('rows')).all()).keys();
            expect(ledger.filter((id) => !keys.includes(id))).to.deep.equal([]);
            expect(keys).to.deep.equal(Array.from({ length: keys.length }, (_, i) => i + 1));
            await db.close();
            if (storage === 'indexeddb') expect(await deleteDatabase(name, { storage })).to.equal(true);
        }).timeout(90_000);
    }
});
