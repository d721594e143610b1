/*
 * Stored databases through the package: the same lives in files (Node), in IndexedDB (pages), in OPFS (workers).
 */
import { expect } from 'chai';
import { init, isOpfsSupported, open, requestPersistence } from 'velta';
import { isNode, only, temporaryFolder, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';
import { places } from './realms/places.js';

for (const place of places) {
    describe(`a database in ${place.storage}`, () => {
        before(async () => {
            await init();
            await place.begin();
        });
        after(() => place.end());

        it('lives: written, closed, opened, verified, compacted, deleted', async () => {
            const life = await place.run('stores', 'wholeLife');
            expect(life.storage).to.equal(place.storage);
            expect([life.before, life.during, life.after]).to.deep.equal([false, true, false]);
            expect([life.row, life.gone]).to.deep.equal(['changed', null]);
            expect(life.deleted).to.deep.equal([true, false]);
            expect(life.states[1]).to.equal(life.states[0]);
            expect(life.states[3]).to.equal(life.states[2]);
        });

        it('has one writer, or readers; what is given back is free at once', async () => {
            const found = await place.run('stores', 'locks');
            expect(found.whileWritten).to.deep.equal(['LOCKED', 'LOCKED', 'LOCKED', 'LOCKED']);
            expect(found.count).to.equal(10);
            expect(found.written).to.equal('READ_ONLY');
            expect(found.whileRead).to.equal('LOCKED');
            expect(found.otherReader).to.equal(place.readersShare ? 'none' : 'LOCKED');
            expect(found.read).to.equal('row 7');
        });

        it('is not made by what only looks, and keeps nothing of an opening that fails', async () => {
            const found = await place.run('stores', 'absences');
            expect(found.codes).to.deep.equal(['NOT_FOUND', 'NOT_FOUND', 'CANCELLED', 'OVER_BUDGET']);
            expect(found.made).to.equal(false);
            expect(found.whileWaiting).to.equal('CANCELLED');
            expect(found.whileLoading).to.equal('CANCELLED');
            expect(found.same).to.equal(true);
            expect(found.reports.length).to.be.greaterThan(1);
            expect(found.reports.at(-1)).to.equal(1);
            expect([...found.reports].sort((a, b) => a - b)).to.deep.equal(found.reports);
        });

        it('becomes a snapshot whole, or stays as it was', async () => {
            const found = await place.run('stores', 'restoring');
            expect(found.refused).to.deep.equal(['CORRUPT', 'CORRUPT', 'CORRUPT']);
            const { untouched, replaced, back, grew, overLog } = found;
            expect({ untouched, replaced, back, grew, overLog }).to.deep.equal({
                untouched: true,
                replaced: true,
                back: true,
                grew: true,
                overLog: true,
            });
        });

        it('may have any name', async () => {
            const { listed, wanted, texts, refused } = await place.run('stores', 'names');
            expect(listed).to.deep.equal(wanted);
            expect(texts).to.deep.equal(wanted.map((name) => `${name} 0`));
            expect(refused).to.deep.equal(['INVALID', 'INVALID', 'INVALID', 'INVALID', 'INVALID']);
        });

        it('grows through checkpoints', async () => {
            for (const { durability, same, generation } of await place.run('stores', 'growth')) {
                expect([durability, same]).to.deep.equal([durability, true]);
                expect(generation).to.be.greaterThan(3);
            }
        }).timeout(60_000);
    });
}

describe('what is asked of storage', () => {
    it('is checked', async () => {
        const name = temporaryName();
        for (const options of [
            { storage: 'disk' },
            { directory: 7 },
            { lockTimeout: -1 },
            { lockTimeout: NaN },
            { durability: 'loose' },
            { checkpointBytes: 0 },
            { checkpointSeconds: '5' },
            { readOnly: 1 },
            { signal: {} },
            { onProgress: 1 },
            { storag: 'file' },
            { storage: 'memory', readOnly: true },
        ]) {
            expect((await errorOf(() => open(name, options))).code, JSON.stringify(options)).to.equal('INVALID');
        }
    });

    it('opens in memory under a name, new each time', async () => {
        const db = await open('brief', { storage: 'memory' });
        expect([db.name, db.storage]).to.deep.equal(['brief', 'memory']);
        db.table('t', { a: 'int' });
        await db.close();
        const again = await open('brief', { storage: 'memory' });
        expect(again.tableNames()).to.deep.equal([]);
        await again.close();
        expect((await errorOf(() => open('brief', { storage: 'memory', mustExist: true }))).code).to.equal('NOT_FOUND');
    });

    it('is UNSUPPORTED where it is not to be had', async () => {
        const elsewhere = isNode ? ['opfs', 'indexeddb'] : ['opfs', 'file'];
        for (const storage of elsewhere) {
            const error = await errorOf(() => open(temporaryName(), { storage }));
            expect(error.code, storage).to.equal('UNSUPPORTED');
        }
    });

    it('tells of persistence and of OPFS', async () => {
        const granted = await requestPersistence();
        expect(granted.persisted).to.be.a('boolean');
        expect(await isOpfsSupported()).to.equal(!isNode);
        if (!isNode) expect(granted.quota).to.be.greaterThan(granted.usage);
    });

    only('node', 'files are a default there').it('is in files of the working folder by default', async () => {
        const { existsSync } = await import('node:fs');
        const folder = await temporaryFolder();
        const before = process.cwd();
        process.chdir(folder);
        try {
            const db = await open('here');
            expect(db.storage).to.equal('file');
            await db.close();
        } finally {
            process.chdir(before);
        }
        expect(existsSync(`${folder}/here.velta`)).to.equal(true);
    });

    only('browser', 'IndexedDB is the default in pages').it('is in IndexedDB by default in a page', async () => {
        const db = await open(temporaryName());
        expect(db.storage).to.equal('indexeddb');
        await db.close();
    });
});
