/*
 * The builds of the engine: each gives the same bytes and the same answers, whatever the number of threads.
 */
import { expect } from 'chai';
import { engine, only, openRealm } from '../support/harness.js';

const ROWS = 1500;

/** A life in a realm of its own. */
async function live(options) {
    const realm = await openRealm(new URL('./realms/life.js', import.meta.url));
    try {
        return await realm.call('live', options, ROWS);
    } finally {
        await realm.kill();
    }
}

describe('the builds', () => {
    let scalar;
    before(async () => {
        scalar = await live({ build: 'scalar' });
        expect(scalar).to.include({ build: 'scalar', threads: 1 });
        expect(scalar.found).to.have.length(20);
    });

    it('simd128 lives as scalar does', async () => {
        expect(await live({ build: 'simd128' })).to.deep.equal({ ...scalar, build: 'simd128' });
    });

    it('auto takes the best that runs here, which lives as scalar does', async () => {
        const best = engine === 'node20' ? 'simd128' : 'relaxed';
        expect(await live({})).to.deep.equal({ ...scalar, build: best });
    });

    only('isolated', 'threads need shared memory').it('threads live as scalar does, two or three', async () => {
        for (const threads of [2, 3]) {
            expect(await live({ threads })).to.deep.equal({ ...scalar, build: 'threads', threads });
        }
    });

    it('refuses threads for the builds that have one', async () => {
        const error = await live({ build: 'scalar', threads: 2 }).catch((thrown) => thrown);
        expect(error.code).to.equal('INVALID');
        expect(error.message).to.contain('threads');
    });
});
