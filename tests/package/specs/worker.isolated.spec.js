/*
 * The worker of a page that shares memory with it: an abort is seen within synchronous work.
 */
import { expect } from 'chai';
import { openWorker, required, vector } from 'velta';
import { errorOf, randomFrom } from '../support/random.js';

describe('aborting in a worker that shares memory', () => {
    it('work that never looks at its messages is cancelled', async () => {
        const database = await openWorker('cancel', { storage: 'memory', autoIndex: false });
        const table = await database.table('packages', { section: required('string'), embedding: vector(16) });
        await table.insertColumns({
            section: new Array(20_000).fill('x'),
            embedding: randomFrom(2).vector(16 * 20_000),
        });
        const queries = randomFrom(3).vector(16 * 4000);
        let reports = 0;
        const cancelled = table.searchArrays(queries, { k: 10, exact: true, onProgress: () => ++reports < 2 });
        const error = await errorOf(() => cancelled);
        expect(error.code, error.message).to.equal('CANCELLED');
        expect(reports).to.equal(2);
        expect(await table.liveCount).to.equal(20_000);
        await database.close();
    }).timeout(20_000);
});
