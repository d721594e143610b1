/*
 * Shared stores of which tabs have copies: what a copy answers and when, and what becomes of it when messages are
 * lost or wrong, the store is compacted, changes hands, or its tab closes. tabs_shared.mjs has tabs of their own.
 */
import { expect } from 'chai';
import { deleteDatabase, encodeRecords, init, key, openShared, vector } from 'velta';
import { soon, watchChannels } from '../support/channels.js';
import { isNode, only, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';

const SCHEMA = { id: key('int'), n: 'int', v: vector(2), b: 'bytes' };
const workerScript = '/node_modules/velta/dist/worker.js';
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(isDone, what) {
    for (let i = 0; i < 1000 && !(await isDone()); i++) await wait(10);
    expect(await isDone(), what).to.equal(true);
}

/** Whether two databases are the same, byte by byte. */
async function areEqual(a, b) {
    const [one, other] = await Promise.all([a.export(), b.export()]);
    return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/** Bytes that do not become smaller. */
function noise(size) {
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i += 65_536) crypto.getRandomValues(bytes.subarray(i, Math.min(size, i + 65_536)));
    return bytes;
}

/**
 * The workers that this page starts and ends. `isHeld(message)`: whether one does not reach its worker; a promise: when
 * it does.
 */
function watchWorkers(isHeld = () => false) {
    const { Worker: Real } = globalThis;
    const living = new Set();
    globalThis.Worker = class extends Real {
        constructor(...given) {
            super(...given);
            living.add(this);
        }
        postMessage(message, ...rest) {
            const held = isHeld(message);
            if (held instanceof Promise) void held.then(() => super.postMessage(message, ...rest));
            else if (!held) super.postMessage(message, ...rest);
        }
        terminate() {
            living.delete(this);
            super.terminate();
        }
    };
    return { living, restore: () => (globalThis.Worker = Real) };
}

/** Sessions of tabs with a worker of another one. */
async function sessions() {
    return (await navigator.locks.query()).held.filter((lock) => lock.name.startsWith('velta-tab-')).length;
}

for (const storage of ['opfs', 'indexeddb']) {
    only('browser', 'tabs are of browsers').describe(`copies of shared stores in ${storage}`, () => {
        let name;
        let place;
        const members = [];
        before(() => isNode || init());
        beforeEach(() => {
            name = temporaryName();
            place = `velta-shared:${storage}:${storage === 'opfs' ? 'velta' : ''}:${name}`;
        });
        afterEach(async () => {
            for (const member of members.splice(0)) await member.close();
            await deleteDatabase(name, { storage });
        });

        async function member(options = {}) {
            const opened = await openShared(name, { storage, autoIndex: false, ...options });
            members.push(opened);
            return opened;
        }

        async function follower(options = {}) {
            const db = await member({ replica: true, ...options });
            expect(db.isReplica).to.equal(true);
            return db;
        }

        it('have what was there, what comes, and what their tab writes', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            await a.insert([1, 2, 3].map((id) => ({ id, n: id, v: [id, 1] })));
            const second = await follower();
            const third = await follower({ durability: 'relaxed' });
            expect([first.isReplica, first.isLeader, second.isLeader]).to.deep.equal([false, true, false]);
            const [b, c] = [await second.table('t'), await third.table('t')];
            expect(await b.get(2, { columns: ['n'] })).to.deep.equal({ n: 2 });
            for (let i = 0; i < 20; i++) {
                const id = 10 + i;
                await b.insert({ id, n: i, v: [i, 1] });
                expect(await b.get(id, { columns: ['n'] })).to.deep.equal({ n: i });
                expect(await b.where(`id = ${id}`).count()).to.equal(1);
                void c.insert({ id: 100 + i, n: i, v: [1, i] });
                expect(await c.get(100 + i, { columns: ['n'] })).to.deep.equal({ n: i });
            }
            await a.apply(1, { type: 'offset', amount: 1 });
            await a.delete(2);
            await second.tag('here');
            expect((await second.tagTime('here')).getTime()).to.be.greaterThan(0);
            for (const db of [second, third]) await until(() => areEqual(first, db), 'equal');
            expect((await b.search([2, 2], { k: 1 }))[0].key).to.equal(1);
            expect(await b.has(2)).to.equal(false);
            expect((await errorOf(() => b.insert({ id: 1 }))).code).to.equal('EXISTS');
            expect((await (await b.iterate()).collectAll()).length).to.equal(42);
            await second.verify();
        });

        it('follow tables, columns and families that come and go', async () => {
            const first = await member();
            const second = await follower();
            const a = await first.table('t', SCHEMA);
            const b = await second.table('t');
            await a.insert([1, 2, 3, 4].map((id) => ({ id, n: id })));
            await a.addColumn('more', 'string');
            await a.update(1, { more: 'x' });
            await until(() => areEqual(first, second), 'equal');
            expect(await b.get(1, { columns: ['n', 'more'] })).to.deep.equal({ n: 1, more: 'x' });
            const family = await second.columnFamilyOrCreate('f');
            await family.write('x', new Uint8Array([7]));
            expect(Array.from(await family.read('x'))).to.deep.equal([7]);
            const rows = await b.iterate();
            expect(await rows.nextBatch(1)).to.have.length(1);
            await first.dropTable('t');
            await until(async () => !(await second.hasTable('t')), 'the drop');
            expect(['CLOSED', 'NOT_FOUND']).to.include((await errorOf(() => rows.collectAll())).code);
            expect((await errorOf(() => b.get(1))).code).to.equal('NOT_FOUND');
            const again = await second.table('t', { id: key('string'), w: 'float' });
            await again.insert({ id: 'y', w: 0.5 });
            expect(await again.get('y', { columns: ['w'] })).to.deep.equal({ w: 0.5 });
            expect(await second.tableNames()).to.deep.equal(await first.tableNames());
            await until(() => areEqual(first, second), 'equal at the end');
        });

        it('begin anew after a compaction, and after more than the log keeps in memory', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            const second = await follower();
            const b = await second.table('t');
            await a.insert([1, 2, 3].map((id) => ({ id, n: id })));
            await a.delete(1);
            await second.compact();
            expect(await b.rowOf(2)).to.equal(0);
            await a.insert({ id: 4, n: 4, b: noise(9 << 20) });
            await until(() => b.has(4), 'the large row');
            await a.insert({ id: 5, n: 5 });
            await until(() => b.has(5), 'the row after it');
            await until(() => second.isReplica, 'a new copy');
            await until(() => areEqual(first, second), 'equal');
        });

        it('are read once they have what their tab was told while they came', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            await a.insert({ id: 0, n: 0 });
            const isOfCopy = ({ snapshot, kind, method }) =>
                snapshot !== undefined || ['Log.follow', 'Database.table'].includes(`${kind}.${method}`);
            const { restore } = watchWorkers((message) => isOfCopy(message) && wait(100));
            try {
                const second = await follower();
                const b = await second.table('t');
                await first.compact();
                let id = 1;
                await until(async () => (await b.insert({ id: ++id, n: id }), !second.isReplica), 'no copy');
                const writeAndRead = async () => {
                    await b.insert({ id: ++id, n: id });
                    expect(await b.get(id, { columns: ['n'] })).to.deep.equal({ n: id });
                };
                await until(async () => (await writeAndRead(), second.isReplica), 'a new copy');
                await writeAndRead();
            } finally {
                restore();
            }
        });

        it('have what an error told, and what a call did before it failed', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            const { restore } = watchWorkers(({ kind, method }) => kind === 'Log' && method === 'follow' && wait(100));
            try {
                const second = await follower();
                const b = await second.table('t');
                await a.insert({ id: 1, n: 1, v: [0, 0] });
                expect((await errorOf(() => b.insert({ id: 1, n: 2 }))).code).to.equal('EXISTS');
                expect(await b.get(1, { columns: ['n'] })).to.deep.equal({ n: 1 });
                const operation = { type: 'offset', amount: 1 };
                const records = encodeRecords([1, 2].map((id) => ({ key: id, operation })));
                const moved = async (amount) => (await b.get(1, { columns: ['v'] })).v[0] === amount;
                expect((await errorOf(() => b.applyRecords(records, { batchSize: 1 }))).code).to.equal('NOT_FOUND');
                expect(await moved(1)).to.equal(true);
                expect((await errorOf(() => a.applyRecords(records, { batchSize: 1 }))).code).to.equal('NOT_FOUND');
                await until(() => moved(2), 'what another tab did before it failed');
            } finally {
                restore();
            }
        });

        it('are left at once when the store comes to their tab', async () => {
            const worker = new Worker(workerScript, { type: 'module' });
            const first = await member({ worker });
            const a = await first.table('t', SCHEMA);
            let letGo;
            const later = new Promise((done) => (letGo = done));
            const { restore } = watchWorkers(({ kind, method }) => kind === 'Log' && method === 'follow' && later);
            try {
                const second = await follower();
                const b = await second.table('t');
                await a.insert({ id: 1, n: 1 });
                worker.terminate();
                await until(() => second.isLeader, 'the store in the other tab');
                for (let id = 2; id < 5; id++) {
                    await b.insert({ id, n: id });
                    expect(await b.get(id, { columns: ['n'] })).to.deep.equal({ n: id });
                }
                expect(second.isReplica).to.equal(false);
                letGo();
                expect(await b.all().count()).to.equal(4);
            } finally {
                restore();
            }
        });

        it('give what the leader before has told when it is gone', async () => {
            const worker = new Worker(workerScript, { type: 'module' });
            const first = await member({ worker });
            const a = await first.table('t', SCHEMA);
            let letGo;
            const later = new Promise((done) => (letGo = done));
            let held;
            const isOfCopy = ({ kind, method }) => ['Log.follow', 'Database.table'].includes(`${kind}.${method}`);
            const { restore } = watchWorkers((message) => held !== undefined && isOfCopy(message) && (++held, later));
            try {
                const second = await follower();
                const b = await second.table('t');
                held = 0;
                await first.compact();
                let id = 0;
                await until(async () => (await b.insert({ id: ++id, n: id }), !second.isReplica), 'no copy');
                await until(() => held > 0, 'a copy on its way');
                await a.insert({ id: ++id, n: id });
                const told = [];
                const stop = b.watch(({ kind }) => told.push(kind));
                const table = second.table('t');
                await wait(100);
                worker.terminate();
                await until(() => second.isLeader, 'the store in the other tab');
                letGo();
                const c = await table;
                const stopped = await stop;
                await c.insert({ id: ++id, n: id });
                expect(await b.all().count()).to.equal(id);
                await until(() => told.length > 0, 'the change');
                expect(told).to.deep.equal(['insert']);
                stopped();
            } finally {
                letGo();
                restore();
            }
        });

        it('hear only who has the store', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            const given = [];
            const { restore } = watchWorkers((message) => void given.push(message));
            const channel = new BroadcastChannel(`${place}:log`);
            let heard;
            channel.onmessage = ({ data }) => (heard = data);
            try {
                const second = await follower();
                const b = await second.table('t');
                await a.insert({ id: 1, n: 1 });
                await until(async () => heard !== undefined && (await b.has(1)), 'the first row');
                const to = heard.to.slice();
                to[0] += 1;
                const isFollow = ({ kind, method }) => kind === 'Log' && method === 'follow';
                const before = given.filter(isFollow).length;
                channel.postMessage({ ...heard, term: 'another', from: heard.to, to });
                await a.insert({ id: 2, n: 2 });
                await until(() => b.has(2), 'the second row');
                expect(given.filter(isFollow).length).to.equal(before + 1);
            } finally {
                channel.close();
                restore();
            }
        });

        it('tell changes and live searches', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            const b = await (await follower()).table('t');
            const changes = [];
            const answers = [];
            const stop = await b.watch(({ kind, rows }) => changes.push([kind, ...rows]));
            await b.watch([1, 0], { k: 1 }, (found) => answers.push(found[0]?.key ?? null));
            await a.insert({ id: 1, v: [0, 1] });
            await b.insert({ id: 2, v: [1, 0] });
            await until(() => answers.at(-1) === 2, 'answers');
            expect(changes).to.deep.equal([['insert', 0], ['insert', 1]]); // prettier-ignore
            await stop();
            await a.insert({ id: 3, v: [1, 0] });
            await wait(50);
            expect(changes).to.have.length(2);
        });

        it('have what watches of the leader tell', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            const { restore } = watchWorkers(({ kind, method }) => kind === 'Log' && method === 'follow' && wait(100));
            try {
                const second = await follower();
                const b = await second.table('t');
                await first.compact();
                let id = 0;
                await until(async () => (await b.insert({ id: ++id, n: id }), !second.isReplica), 'no copy');
                const found = [];
                const read = async ({ kind }) => found.push([kind, await b.get(id, { columns: ['n'] })]);
                await b.watch((change) => void read(change));
                await until(() => second.isReplica, 'a new copy');
                await a.insert({ id: ++id, n: id });
                await until(() => found.length === 1, 'the change');
                expect(found).to.deep.equal([['insert', { n: id }]]);
            } finally {
                restore();
            }
        });

        it('follow the leader after one that died while it was asked', async () => {
            const workers = [0, 1].map(() => new Worker(workerScript, { type: 'module' }));
            for (const worker of workers) await member({ worker });
            const third = await member();
            let asked;
            let letGo;
            const later = new Promise((done) => (letGo = done));
            const isHeld = ({ type, method }) => asked !== undefined && type === 'call' && method === 'table';
            const restore = watchChannels((message) => isHeld(message) && (++asked, later));
            try {
                const b = await (await follower()).table('t', SCHEMA);
                await b.insert({ id: 1, n: 1 });
                asked = 0;
                workers[0].terminate();
                await until(() => asked > 0, 'the second is asked for the table');
                asked = undefined;
                workers[1].terminate();
                await until(() => third.isLeader, 'the third');
                await soon(b.insert({ id: 2, n: 2 }), 'the write');
                expect(await b.all().count()).to.equal(2);
            } finally {
                letGo();
                restore();
            }
        });

        it('are opened while the leader closes', async () => {
            const first = await member();
            await first.table('t', SCHEMA);
            let asked = 0;
            let byes = 0;
            let letGo;
            const later = new Promise((done) => (letGo = done));
            const restore = watchChannels(
                ({ type, method }) => type === 'call' && method === 'snapshot' && ++asked === 1 && later,
                ({ type }) => type === 'bye' && ++byes < 0,
            );
            try {
                const opening = member({ replica: true });
                await until(() => asked > 0, 'the copy is asked for');
                const closing = first.close();
                await until(() => byes > 0, 'the first closes');
                letGo();
                const second = await soon(opening, 'opening');
                await closing;
                expect(await second.tableNames()).to.deep.equal(['t']);
            } finally {
                letGo();
                restore();
            }
        });

        it('have what the next leader tells before it is followed', async () => {
            const worker = new Worker(workerScript, { type: 'module' });
            const first = await member({ worker });
            const second = await member();
            let watches;
            let letGo;
            const later = new Promise((done) => (letGo = done));
            const isHeld = ({ type, method }) => watches !== undefined && type === 'call' && method === 'watch';
            const restore = watchChannels((message) => isHeld(message) && ++watches === 2 && later);
            try {
                const third = await follower();
                const c = await third.table('t', SCHEMA);
                const b = await second.table('t');
                await first.compact();
                let id = 0;
                await until(async () => (await c.insert({ id: ++id, n: id }), !third.isReplica), 'no copy');
                const found = [];
                const read = async ({ kind }) => found.push([kind, await c.get(id, { columns: ['n'] })]);
                await Promise.all([c.watch((change) => void read(change)), c.watch(() => undefined)]);
                await until(() => third.isReplica, 'a new copy');
                watches = 0;
                worker.terminate();
                await until(() => watches === 2, 'the second watch is asked for');
                await b.insert({ id: ++id, n: id });
                await wait(100);
                letGo();
                await until(() => found.length > 0, 'the change');
                expect(found).to.deep.equal([['insert', { n: id }]]);
            } finally {
                letGo();
                restore();
            }
        });

        it('read a module that can be read once', async () => {
            const names = performance.getEntriesByType('resource').map((entry) => entry.name);
            const wasm = fetch(names.find((url) => url.endsWith('.wasm')));
            const first = await member({ replica: true, init: { wasm } });
            expect(first.isLeader).to.equal(true);
        });

        it('notice messages that are wrong, old, or missing', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            const second = await follower();
            const channel = new BroadcastChannel(`${place}:log`);
            const heard = [];
            channel.onmessage = ({ data }) => heard.push(data);
            for (let id = 1; id <= 5; id++) await a.insert({ id, n: id });
            await until(() => heard.length >= 5, 'what the leader tells');
            const { term, to, frames } = heard.at(-1);
            const next = to.slice();
            next[0] += 1;
            const flipped = frames.slice();
            flipped[frames.length - 3] ^= 4;
            const wrong = [null, 5, {}, { type: 'log' }, { type: 'log', term, from: to, to: next, frames: 'x' }];
            wrong.push({ type: 'log', term, from: to, to: next, frames: flipped });
            wrong.push({ type: 'log', term, from: to, to: next, frames });
            wrong.push({ type: 'log', term, from: to, to: next, frames: new Uint8Array() });
            wrong.push({ type: 'log', term, from: next, to: new Uint8Array(16).fill(255), frames });
            for (const message of [...wrong, ...heard, ...heard.reverse()]) channel.postMessage(message);
            await a.insert({ id: 6, n: 6 });
            const b = await second.table('t');
            await until(() => b.has(6), 'the last change');
            await until(async () => second.isReplica && (await areEqual(first, second)), 'a copy that is equal');
            channel.close();
        });

        it('are read while nobody has the store, and follow the next one who has', async () => {
            const worker = new Worker(workerScript, { type: 'module' });
            const first = await member({ worker });
            const a = await first.table('t', SCHEMA);
            await a.insert([1, 2].map((id) => ({ id, n: id })));
            let letGo;
            const held = new Promise((resolve) => {
                void navigator.locks.request(place, () => {
                    resolve();
                    return new Promise((done) => (letGo = done));
                });
            });
            const second = await follower();
            const third = await follower();
            const [b, c] = [await second.table('t'), await third.table('t')];
            worker.terminate();
            await held;
            const write = b.insert({ id: 3, n: 3 }).then(() => b.get(3, { columns: ['n'] }));
            expect(await c.get(2, { columns: ['n'] })).to.deep.equal({ n: 2 });
            expect(await c.where('n > 0').count()).to.equal(2);
            expect([second.isReplica, third.isReplica]).to.deep.equal([true, true]);
            letGo();
            expect(await write).to.deep.equal({ n: 3 });
            const leader = [first, second, third].find(({ isLeader }) => isLeader);
            expect([second, third]).to.include(leader);
            await until(() => !leader.isReplica, 'the store itself in the leader');
            const other = leader === second ? third : second;
            await until(async () => other.isReplica && (await areEqual(leader, other)), 'a copy that is equal');
            await (await leader.table('t')).insert({ id: 4, n: 4 });
            const [t] = [other === second ? b : c];
            await until(() => t.has(4), 'the new leader');
        });

        it('go on when the one that has the store closes; the last has the store itself', async () => {
            const first = await member();
            const second = await follower();
            const third = await follower();
            const [b, c] = [await second.table('t', SCHEMA), await third.table('t', SCHEMA)];
            const calls = [];
            for (let i = 0; i < 60; i++) {
                if (i === 20) calls.push(first.close());
                calls.push(b.insert({ id: i, n: i }), c.insert({ id: 1000 + i, n: i }));
                if (i % 10 === 0) await wait(1);
            }
            await Promise.all(calls);
            expect(await c.all().count()).to.equal(120);
            await until(() => second.isLeader || third.isLeader, 'a leader');
            await until(() => areEqual(second, third), 'equal');
            await (second.isLeader ? second : third).close();
            const last = second.isLeader || second.closed ? third : second;
            await until(() => last.isLeader && !last.isReplica, 'the store itself in the last one');
            expect(await (await last.table('t')).all().count()).to.equal(120);
        });

        it('tell what opening refuses, and keep their budget', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            await a.insert({ id: 1, n: 1, b: noise(2 << 20) });
            expect((await errorOf(() => openShared(name, { storage, replica: 5 }))).code).to.equal('INVALID');
            const signal = AbortSignal.abort();
            expect((await errorOf(() => member({ replica: true, signal }))).code).to.equal('CANCELLED');
            const small = { replica: true, memoryBudget: 1 << 20 };
            expect((await errorOf(() => member(small))).code).to.equal('OVER_BUDGET');
            const second = await follower({ memoryBudget: 6 << 20 });
            const b = await second.table('t');
            await a.insert({ id: 2, n: 2, b: noise(4 << 20) });
            await until(() => !second.isReplica, 'a copy without memory ends');
            expect(await b.get(2, { columns: ['n'] })).to.deep.equal({ n: 2 });
            await second.close();
            expect((await errorOf(() => b.get(1))).code).to.equal('CLOSED');
            expect((await errorOf(() => second.stats())).code).to.equal('CLOSED');
            await until(async () => (await sessions()) === 0, 'sessions that have ended');
        });

        it('are left at once when opening is cancelled while they come', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            await a.insert({ id: 1, n: 1, b: noise(6 << 20) });
            await until(async () => (await sessions()) === 0, 'no sessions of others');
            let onCopy;
            const { living, restore } = watchWorkers(({ snapshot }) => snapshot !== undefined && onCopy());
            /** Whether opening was cancelled; else it had ended before. */
            const cancel = async (moment) => {
                const stop = new AbortController();
                const opened = member({ replica: true, signal: stop.signal });
                const outcome = opened.then(
                    (db) => db.close(),
                    (error) => error,
                );
                await moment;
                const begin = performance.now();
                stop.abort('enough');
                const error = await outcome;
                if (error === undefined) return false;
                expect([error.code, error.cause]).to.deep.equal(['CANCELLED', 'enough']);
                expect(performance.now() - begin).to.be.below(1000);
                return true;
            };
            try {
                for (const isHeld of [true, false]) {
                    const copying = new Promise((done) => (onCopy = () => (done(), isHeld)));
                    expect(await cancel(copying)).to.equal(true);
                    await until(() => living.size === 0, 'the workers of copies');
                }
                const seen = new Set();
                for (let ms = 0; ms < 2000 && seen.size < 2; ms += 1 + (ms >> 1)) seen.add(await cancel(wait(ms)));
                expect(seen.size).to.equal(2);
                await until(() => living.size === 0, 'the workers of copies, at any time');
                await until(async () => (await sessions()) === 0, 'sessions that have ended');
            } finally {
                restore();
            }
            expect(first.isLeader).to.equal(true);
            const second = await follower();
            expect(await (await second.table('t')).get(1, { columns: ['n'] })).to.deep.equal({ n: 1 });
        });

        it('are closed while they come', async () => {
            const first = await member();
            const a = await first.table('t', SCHEMA);
            await a.insert({ id: 1, n: 1 });
            let isHolding = false;
            let onCopy;
            const copying = new Promise((done) => (onCopy = done));
            const isHeld = ({ snapshot }) => isHolding && snapshot !== undefined && (onCopy(), true);
            const { living, restore } = watchWorkers(isHeld);
            try {
                const second = await follower();
                isHolding = true;
                /* After it the copy begins anew, in a worker that never answers. */
                await first.compact();
                await a.insert({ id: 2, n: 2 });
                await copying;
                await second.close();
                await until(() => living.size === 0, 'the workers of copies');
            } finally {
                restore();
            }
        });
    });
}
