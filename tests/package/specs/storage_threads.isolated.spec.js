/*
 * Storage over memory that threads share: browsers and Node are choosy about views of it.
 */
import { expect } from 'chai';
import { init, moduleInfo } from 'velta';
import { places } from './realms/places.js';

for (const place of places) {
    describe(`with threads, a database in ${place.storage}`, () => {
        before(async () => {
            await place.begin();
            await init({ threads: 2 });
            if (place.storage === 'opfs') expect(await place.run('stores', 'startThreads')).to.equal('threads');
        });
        after(() => place.end());

        it('lives and grows', async () => {
            expect(moduleInfo().build).to.equal('threads');
            const life = await place.run('stores', 'wholeLife');
            expect(life.states[1]).to.equal(life.states[0]);
            expect(life.states[3]).to.equal(life.states[2]);
            for (const { durability, same } of await place.run('stores', 'growth')) {
                expect([durability, same]).to.deep.equal([durability, true]);
            }
        }).timeout(60_000);

        it('becomes a snapshot', async () => {
            const { refused, ...kept } = await place.run('stores', 'restoring');
            expect(refused).to.deep.equal(['CORRUPT', 'CORRUPT', 'CORRUPT']);
            expect(Object.values(kept)).to.deep.equal([true, true, true, true, true]);
        });
    });
}
