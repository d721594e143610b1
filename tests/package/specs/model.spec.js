/*
 * Random lives against a naive model (support/model.js), in every engine: in memory, exported and imported in between,
 * and in the storage of the place, closed and opened in between. Long lives are those of tests/package/model.mjs.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { figure, isNode, temporaryFolder, temporaryName } from '../support/harness.js';
import { inMemory, liveOnce } from '../support/model_life.js';

const LIVES = 6;
const STEPS = 400;

describe('random lives against a naive model', function () {
    this.timeout(120_000);
    before(() => velta.init());

    const live = async (seed, reopen) => {
        try {
            const { steps } = await liveOnce(velta, { seed, steps: STEPS, reopen });
            expect(steps).to.equal(STEPS);
            figure('model_operations', steps);
        } catch (error) {
            figure('model_differences', 1);
            throw error;
        }
    };

    for (let seed = 1; seed <= LIVES; seed++) {
        it(`in memory, seed ${seed}`, () => live(seed, inMemory(velta)));
    }

    it(`in the storage of the place, seed ${LIVES + 1}`, async () => {
        const name = temporaryName();
        const place = isNode
            ? { storage: 'file', directory: await temporaryFolder() }
            : { storage: 'indexeddb', durability: 'relaxed' };
        const reopen = async (db, options) => {
            await db?.close();
            return velta.open(name, { ...options, ...place });
        };
        await live(LIVES + 1, reopen);
    });
});
