/*
 * OPFS in a worker: handles that fail at each call, restoring that fails at each write.
 */
import { expect } from 'chai';
import { createDatabase, deleteDatabase, init, listDatabases, openWorker, restore } from 'velta';
import { only, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';
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
        ['write', 'none', 'FULL'],
        ['write', 'unknown', 'IO'],
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

only('browser', 'Node has no OPFS').describe('OPFS from a page', () => {
    const place = { storage: 'opfs', directory: 'test/page' };
    let snapshot;

    before(async () => {
        await init();
        const database = createDatabase();
        database.table('rows', { id: 'int' }).insert([{ id: 1 }, { id: 2 }]);
        snapshot = database.export();
        await database.close();
    });

    const rowsOf = async (name) => {
        const database = await openWorker(name, { ...place, mustExist: true });
        const count = await (await database.table('rows')).rowCount;
        await database.close();
        return count;
    };

    it('restores, lists and deletes', async () => {
        const name = temporaryName();
        expect(await listDatabases(place)).to.not.include(name);
        const bytes = new Uint8Array(snapshot.length + 20);
        bytes.set(snapshot, 10);
        const view = bytes.subarray(10, 10 + snapshot.length);
        const restored = restore(name, view, place);
        bytes.fill(0);
        await restored;
        expect(bytes.length).to.equal(snapshot.length + 20);
        expect(await listDatabases(place)).to.include(name);
        expect(await rowsOf(name)).to.equal(2);
        expect(await deleteDatabase(name, place)).to.equal(true);
        expect(await deleteDatabase(name, place)).to.equal(false);
        expect(await listDatabases(place)).to.not.include(name);
        expect((await errorOf(() => rowsOf(name))).code).to.equal('NOT_FOUND');
    }).timeout(30_000);

    it('tells what was wrong with the code that a worker gives, and touches nothing', async () => {
        const name = temporaryName();
        await restore(name, snapshot, place);
        const torn = await errorOf(() => restore(name, snapshot.slice(0, -1), place));
        expect([torn.name, torn.code]).to.deep.equal(['VeltaError', 'CORRUPT']);
        expect((await errorOf(() => restore(name, 'bytes', place))).code).to.equal('INVALID');
        expect((await errorOf(() => restore('', snapshot, place))).code).to.equal('INVALID');
        expect((await errorOf(() => restore(name, snapshot, { ...place, nonsense: 1 }))).code).to.equal('INVALID');
        const gone = await errorOf(() => restore(name, snapshot, { ...place, worker: '/none.js' }));
        expect(gone.code).to.equal('WORKER');
        expect(await rowsOf(name)).to.equal(2);
        const open = await openWorker(name, place);
        for (const use of [restore.bind(null, name, snapshot), deleteDatabase.bind(null, name)]) {
            expect((await errorOf(() => use({ ...place, lockTimeout: 50 }))).code).to.equal('LOCKED');
        }
        await open.close();
        await deleteDatabase(name, place);
    }).timeout(30_000);

    it('ends the worker that it started, and leaves a given one running', async () => {
        const name = temporaryName();
        const { Worker: Original } = globalThis;
        const started = [];
        globalThis.Worker = class extends Original {
            ended = 0;
            constructor(...parameters) {
                super(...parameters);
                started.push(this);
            }
            terminate() {
                this.ended++;
                super.terminate();
            }
        };
        try {
            await restore(name, snapshot, place);
            await errorOf(() => restore(name, new Uint8Array(9), place));
            expect(started.map(({ ended }) => ended)).to.deep.equal([1, 1]);
            const worker = new Worker('/node_modules/velta/dist/worker.js', { type: 'module' });
            for (let i = 0; i < 2; i++) await restore(name, snapshot, { ...place, worker });
            expect(started.map(({ ended }) => ended)).to.deep.equal([1, 1, 0]);
            worker.terminate();
        } finally {
            globalThis.Worker = Original;
        }
        await deleteDatabase(name, place);
    }).timeout(30_000);
});
