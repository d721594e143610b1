/*
 * OPFS in a worker: handles that fail at each call, restoring that fails at each write.
 */
import { expect } from 'chai';
import { only, temporaryName } from '../support/harness.js';
import { startOpfsWorker } from './realms/places.js';

const OPTIONS = { storage: 'opfs', directory: 'test/faults' };

only('browser', 'Node has no OPFS').describe('OPFS underneath', () => {
    let worker;
    before(() => {
        worker = startOpfsWorker();
    });
    after(() => worker.end());

    for (const [method, fault, code] of [
        ['write', 'quota', 'FULL'],
        ['write', 'failure', 'IO'],
        ['write', 'short', 'FULL'],
        ['write', 'long', 'IO'],
        ['flush', 'failure', 'IO'],
        ['truncate', 'failure', 'IO'],
        ['read', 'failure', 'IO'],
    ]) {
        it(`${method} with ${fault}, each in turn: nothing acknowledged is lost`, async () => {
            let told = 0;
            /* Every call for the first, every third for the others: each is an opening and a reopening. */
            for (let nth = 1; ; nth += fault === 'quota' ? 1 : 3) {
                const found = await worker.run('faults', 'failingCall', OPTIONS, temporaryName(), method, fault, nth);
                const what = `call ${nth}: ${JSON.stringify(found)}`;
                expect(found.lost, what).to.deep.equal([]);
                expect(found.found - found.acknowledged, what).to.be.within(0, 1);
                if (!found.met) break;
                for (const each of found.codes) expect(each, what).to.be.oneOf(['none', code, 'POISONED']);
                told += found.codes.includes(code);
            }
            expect(told).to.be.greaterThan(0);
        }).timeout(60_000);
    }

    it('a restore that fails at each write leaves the old store or makes the new one', async () => {
        const seen = new Set();
        for (let nth = 1; ; nth++) {
            const { code, keys, calls } = await worker.run('faults', 'failingRestore', OPTIONS, temporaryName(), nth);
            seen.add(`${code} ${keys}`);
            if (calls < nth) break;
            expect(code).to.equal('FULL');
        }
        expect([...seen].sort()).to.deep.equal(['FULL 1,2', 'FULL 100,101', 'none 100,101']);
    }).timeout(60_000);
});
