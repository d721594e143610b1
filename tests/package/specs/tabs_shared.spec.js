/*
 * Stores that tabs share, opened several times in one page: each opening is a member of its own, as a tab's is. What
 * becomes of calls, handles, watches and iterators when the one that has the store closes, freezes, or dies.
 * tabs_shared.mjs has tabs of their own.
 */
import { expect } from 'chai';
import { deleteDatabase, init, key, openShared, openWorker, vector } from 'velta';
import { soon, watchChannels } from '../support/channels.js';
import { isNode, only, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';

const SCHEMA = { id: key('int'), n: 'int', v: vector(2) };
const workerScript = '/node_modules/velta/dist/worker.js';
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(isDone, what) {
    for (let i = 0; i < 1000 && !isDone(); i++) await wait(10);
    expect(isDone(), what).to.equal(true);
}

only('node', 'browsers have tabs').it('shared stores are refused where there are no tabs', async () => {
    expect((await errorOf(() => openShared('x'))).code).to.equal('UNSUPPORTED');
});

for (const storage of ['opfs', 'indexeddb']) {
    only('browser', 'tabs are of browsers').describe(`shared stores in ${storage}`, () => {
        let name;
        const members = [];
        before(() => isNode || init());
        beforeEach(() => {
            name = temporaryName();
        });
        afterEach(async () => {
            for (const member of members.splice(0)) await member.close();
        });

        async function member(options = {}) {
            const opened = await openShared(name, { storage, ...options });
            members.push(opened);
            return opened;
        }

        /** A member whose worker can be killed from here. */
        async function mortal() {
            const worker = new Worker(workerScript, { type: 'module' });
            return { db: await member({ worker }), worker };
        }

        it('are one store for all', async () => {
            const first = await member();
            const second = await member();
            const third = await member();
            expect([first.isLeader, second.isLeader, third.isLeader]).to.deep.equal([true, false, false]);
            expect([first.name, second.name, second.storage]).to.deep.equal([name, name, storage]);
            const [a, b, c] = await Promise.all([first, second, third].map((db) => db.table('t', SCHEMA)));
            await b.insert({ id: 1, n: 5, v: [1, 0] });
            await a.insert({ id: 2, n: 6, v: [0, 1] });
            expect(await c.get(1, { columns: ['n'] })).to.deep.equal({ n: 5 });
            expect(await b.where('n > 5').keys()).to.deep.equal([2]);
            expect((await c.search([0, 1], { k: 1 }))[0].key).to.equal(2);
            const family = await second.columnFamilyOrCreate('f');
            await family.write('x', new Uint8Array([7]));
            expect(Array.from(await (await third.columnFamily('f')).read('x'))).to.deep.equal([7]);
            expect((await (await b.iterate()).collectAll()).map(({ id }) => id)).to.deep.equal([1, 2]);
            expect((await errorOf(() => b.insert({ id: 1 }))).code).to.equal('EXISTS');
            expect((await errorOf(() => openWorker(name, { storage, lockTimeout: 20 }))).code).to.equal('LOCKED');
            const progress = [];
            await second.compact({ onProgress: (done, total) => void progress.push([done, total]) });
            expect(Array.from(await first.export())).to.deep.equal(Array.from(await third.export()));
        });

        it('tell changes and live searches to all', async () => {
            const tables = [];
            for (let i = 0; i < 3; i++) tables.push(await (await member()).table('t', SCHEMA));
            const changes = tables.map(() => []);
            const answers = tables.map(() => []);
            const stops = [];
            for (const [i, table] of tables.entries()) {
                stops.push(await table.watch(({ kind, rows }) => changes[i].push([kind, ...rows])));
                stops.push(await table.watch([1, 0], { k: 1 }, (found) => answers[i].push(found[0]?.key ?? null)));
            }
            await tables[1].insert({ id: 1, v: [0, 1] });
            await tables[2].insert({ id: 2, v: [1, 0] });
            await until(() => answers.every((list) => list.at(-1) === 2), 'answers');
            expect(changes).to.deep.equal(changes.map(() => [['insert', 0], ['insert', 1]])); // prettier-ignore
            for (const stop of stops) stop();
            await tables[0].insert({ id: 3, v: [1, 0] });
            await tables[0].delete(2);
            await wait(30);
            expect(changes.map((list) => list.length)).to.deep.equal([2, 2, 2]);
        });

        it('go on in the next tab when the one that has the store closes: no call is lost or uncertain', async () => {
            const first = await member();
            const second = await member();
            const third = await member();
            const told = [];
            second.onLeaderChange((isLeader) => told.push(isLeader));
            const b = await second.table('t', SCHEMA);
            const c = await third.table('t', SCHEMA);
            const calls = [];
            for (let i = 0; i < 200; i++) {
                if (i === 50) members.splice(0, 1);
                if (i === 50) calls.push(first.close());
                calls.push(b.insert({ id: i, n: i, v: [i, 1] }), c.insert({ id: 1000 + i, n: i, v: [i, 1] }));
                if (i % 20 === 0) await wait(1);
            }
            await Promise.all(calls);
            expect(await c.all().count()).to.equal(400);
            expect([second.isLeader, third.isLeader]).to.deep.equal([true, false]);
            expect(told).to.deep.equal([true]);
            expect(first.closed).to.equal(true);
            expect((await errorOf(() => first.stats())).code).to.equal('CLOSED');
        });

        it('survive the death of the worker: changes under way are uncertain, reading goes on', async () => {
            const { db: first, worker } = await mortal();
            const second = await member();
            const a = await first.table('t', SCHEMA);
            const b = await second.table('t', SCHEMA);
            await b.insert([1, 2, 3].map((id) => ({ id, n: id, v: [id, 1] })));
            const iterator = await b.iterate();
            const answers = [];
            await b.watch([3, 1], { k: 1, select: ['n'] }, ([hit]) => answers.push(hit.values.n));
            await until(() => answers.length === 1, 'first answer');
            const writes = Array.from({ length: 50 }, (_, i) => [a, b][i % 2].insert({ id: 100 + i, n: 0 }));
            const reads = [a, b].map((table) => table.get(2, { columns: ['n'] }));
            worker.terminate();
            const outcomes = await Promise.allSettled(writes);
            const codes = new Set(outcomes.map(({ reason }) => reason?.code ?? 'made'));
            codes.delete('made');
            expect([...codes].filter((code) => code !== 'UNCERTAIN')).to.deep.equal([]);
            expect(await Promise.all(reads)).to.deep.equal([{ n: 2 }, { n: 2 }]);
            const keys = await b.where('id >= 100').keys();
            outcomes.forEach(({ status }, i) => status === 'fulfilled' && expect(keys).to.include(100 + i));
            expect((await errorOf(() => iterator.nextBatch())).code).to.equal('CLOSED');
            await b.update(3, { n: 33 });
            await until(() => answers.length === 2, 'second answer');
            expect(answers).to.deep.equal([3, 33]);
            expect([first.isLeader, second.isLeader].filter(Boolean)).to.have.length(1);
        });

        it('are given up by a page that freezes, and had again when it resumes', async () => {
            const db = await member();
            const table = await db.table('t', SCHEMA);
            await table.insert({ id: 1, n: 1 });
            document.dispatchEvent(new Event('freeze'));
            expect(db.isLeader).to.equal(false);
            const read = table.get(1, { columns: ['n'] });
            const controller = new AbortController();
            const given = db.index({ signal: controller.signal });
            controller.abort();
            expect((await errorOf(() => given)).code).to.equal('CANCELLED');
            const row = { id: 2, n: 2 };
            const write = table.insert(row);
            row.n = 9;
            await wait(50);
            document.dispatchEvent(new Event('resume'));
            expect(await read).to.deep.equal({ n: 1 });
            await write;
            expect(await table.get(2, { columns: ['n'] })).to.deep.equal({ n: 2 });
            expect(db.isLeader).to.equal(true);
        });

        it('have their objects asked for again while the one asked closes: no call is lost', async () => {
            const { worker } = await mortal();
            const second = await member();
            await member();
            let asked;
            let byes = 0;
            let letGo;
            const later = new Promise((done) => (letGo = done));
            const isHeld = ({ type, method }) => asked !== undefined && type === 'call' && method === 'table';
            const restore = watchChannels(
                (message) => isHeld(message) && (++asked, later),
                ({ type }) => type === 'bye' && ++byes < 0,
            );
            try {
                const table = await (await member()).table('t', SCHEMA);
                asked = 0;
                worker.terminate();
                await until(() => asked > 0, 'the second is asked for the table');
                const write = table.insert({ id: 1, n: 1 });
                const begin = performance.now();
                const closing = second.close();
                await until(() => byes > 0, 'the second closes');
                asked = undefined;
                letGo();
                await closing;
                expect(performance.now() - begin).to.be.below(1500);
                await soon(write, 'the write');
            } finally {
                letGo();
                restore();
            }
        });

        it('make calls that moved with the values that they were given', async () => {
            const first = await member();
            await first.table('t', SCHEMA);
            await member();
            let letGo;
            const later = new Promise((done) => (letGo = done));
            const restore = watchChannels(
                () => false,
                ({ type }) => type === 'bye' && later,
            );
            try {
                const table = await (await member()).table('t');
                const closing = first.close();
                await wait(100);
                const row = { id: 1, n: 1 };
                const write = table.insert(row);
                row.n = 9;
                await wait(50);
                letGo();
                await Promise.all([write, closing]);
                expect(await table.get(1, { columns: ['n'] })).to.deep.equal({ n: 1 });
            } finally {
                letGo();
                restore();
            }
        });

        it('do not mind what onLeaderChange calls throw', async () => {
            const first = await member();
            await member();
            const third = await member();
            const table = await third.table('t', SCHEMA);
            const told = [];
            const thrown = [];
            const { onerror } = globalThis;
            globalThis.onerror = (message) => thrown.push(message) > 0;
            try {
                third.onLeaderChange(() => {
                    throw new Error('of the program');
                });
                third.onLeaderChange((isLeader) => told.push(isLeader));
                await first.close();
                await until(() => told.length > 0 && thrown.length > 0, 'both callbacks');
                await table.insert({ id: 1, n: 1 });
                expect([told, thrown.length]).to.deep.equal([[false], 1]);
            } finally {
                globalThis.onerror = onerror;
            }
        });

        it('are given up in a worker of the program, too', async () => {
            const { db, worker } = await mortal();
            const table = await db.table('t', SCHEMA);
            await table.insert({ id: 1, n: 1 });
            document.dispatchEvent(new Event('freeze'));
            const given = soon(
                errorOf(() => db.index({ signal: AbortSignal.abort() })),
                'what was cancelled before',
            );
            expect((await given).code).to.equal('CANCELLED');
            await wait(50);
            document.dispatchEvent(new Event('resume'));
            expect(await soon(table.get(1, { columns: ['n'] }), 'a read')).to.deep.equal({ n: 1 });
            worker.terminate();
        });

        it('go to the next tab when one cannot start its worker', async () => {
            const first = await member();
            await member({ worker: 'http://[' });
            const third = await member();
            const table = await third.table('t', SCHEMA);
            await first.close();
            await soon(table.insert({ id: 1, n: 1 }), 'the write');
            expect(third.isLeader).to.equal(true);
        });

        it('are queued for once by each tab, and by none that has closed', async () => {
            const { db, worker } = await mortal();
            const place = `velta-shared:${storage}:${storage === 'opfs' ? 'velta' : ''}:${name}`;
            let letGo;
            const held = new Promise((resolve) => {
                void navigator.locks.request(place, () => {
                    resolve();
                    return new Promise((done) => (letGo = done));
                });
            });
            const queued = async () => (await navigator.locks.query()).pending.filter((lock) => lock.name === place);
            worker.terminate();
            await held;
            document.dispatchEvent(new Event('freeze'));
            document.dispatchEvent(new Event('resume'));
            await wait(400);
            expect(await queued()).to.have.length(1);
            await db.close();
            expect(await queued()).to.have.length(0);
            letGo();
        });

        it('stay with all when an iterator is closed in the one that has the store', async () => {
            const first = await member();
            const table = await first.table('t', SCHEMA);
            const other = await (await member()).table('t');
            await table.insert({ id: 1, n: 1 });
            const rows = await table.iterate();
            await rows.nextBatch(1);
            await rows.close();
            await soon(other.insert({ id: 2, n: 2 }), 'the write of the other');
            expect(await (await table.iterate()).collectAll()).to.have.length(2);
            expect(await soon(other.all().count(), 'the read of the other')).to.equal(2);
        });

        it('forget iterators that were closed, and hear an abort at once', async () => {
            const db = await member();
            const second = await member({ replica: true });
            const table = await db.table('t', SCHEMA);
            await table.insert({ id: 1, n: 1 });
            const counts = () => db.connection.counts().held;
            const before = counts();
            for (let i = 0; i < 5; i++) await (await table.iterate()).collectAll();
            expect(counts()).to.equal(before);
            expect(await (await (await second.table('t')).iterate()).collectAll()).to.have.length(1);
            const stop = new AbortController();
            const opening = member({ signal: stop.signal });
            stop.abort();
            expect((await errorOf(() => opening)).code).to.equal('CANCELLED');
        });

        it('tell what opening refuses, and leave nothing behind', async () => {
            expect((await errorOf(() => member({ mustExist: true }))).code).to.equal('NOT_FOUND');
            expect((await errorOf(() => openShared(name, { storage: 'memory' }))).code).to.equal('INVALID');
            expect((await errorOf(() => openShared(name, { readOnly: true }))).code).to.equal('INVALID');
            expect((await errorOf(() => openShared('', { storage }))).code).to.equal('INVALID');
            const aborted = AbortSignal.abort();
            expect((await errorOf(() => member({ signal: aborted }))).code).to.equal('CANCELLED');
            const db = await member();
            expect((await errorOf(() => db.onLeaderChange(5))).code).to.equal('INVALID');
            await (await db.table('t', SCHEMA)).insert({ id: 1 });
            await db.close();
            await db.close();
            /* Those of the worker go with it, which takes the browser a moment. */
            let held = [name];
            for (let i = 0; i < 500 && held.length > 0; i++) {
                await wait(10);
                held = (await navigator.locks.query()).held.filter((lock) => lock.name.includes(name));
            }
            expect(held).to.deep.equal([]);
            expect(await deleteDatabase(name, { storage })).to.equal(true);
        });

        it('ignore strange messages, and tell tabs of another version', async () => {
            const db = await member();
            const place = `velta-shared:${storage}:${storage === 'opfs' ? 'velta' : ''}:${name}`;
            const channel = new BroadcastChannel(place);
            const heard = [];
            channel.onmessage = ({ data }) => heard.push(data);
            for (const message of [null, 5, {}, { type: 'attach' }, { type: 'leader' }, { type: 'who', velta: 'x' }]) {
                channel.postMessage(message);
            }
            await until(() => heard.length > 0, 'an answer to who');
            const own = new BroadcastChannel(`${place}:77`);
            const answers = [];
            own.onmessage = ({ data }) => answers.push(data);
            await navigator.locks.request('velta-tab-77', async () => {
                const join = { velta: 77, type: 'attach', id: 1, version: 999, term: heard[0].term };
                channel.postMessage({ ...join, term: 'another' });
                channel.postMessage(join);
                channel.postMessage(join);
                await until(() => answers.length > 0, 'an answer to the join');
                const call = { type: 'call', handle: 1, kind: 'Database', args: [], extras: {} };
                own.postMessage({ ...call, velta: 77, id: 2, method: 'close' });
                own.postMessage({ ...call, velta: 78, id: 3, method: 'stats' });
                own.postMessage('x');
                await until(() => answers.length > 1, 'an answer to the call');
            });
            expect(answers.map(({ type, error }) => [type, error.code])).to.deep.equal([
                ['error', 'WORKER'],
                ['error', 'CLOSED'],
            ]);
            channel.close();
            own.close();
            expect((await db.stats()).sequence).to.equal(0);
        });
    });
}
