/*
 * ColumnStorePersistence: saving, loading, what is written, damage. Browsers have IndexedDB; Node gets one that is made
 * of JavaScript.
 */
import { expect } from 'chai';
import { ColumnStore, ColumnStorePersistence, DeltaVectorDB, eq, init } from 'velta';
import { isNode, only, temporaryName } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';

const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');
const CHUNK = 256 * 1024;
const codeOf = async (call) => (await errorOf(call)).code;

/** The environment's IDBFactory with a count of what is put, and with a way to fail. */
async function factory() {
    const real = isNode ? new (await import('fake-indexeddb')).IDBFactory() : indexedDB;
    const seen = { puts: [], order: [], failAfter: Infinity };
    const wrapStore = (store) =>
        new Proxy(store, {
            get(target, name) {
                const value = Reflect.get(target, name, target);
                if (name !== 'put' && name !== 'delete')
                    return typeof value === 'function' ? value.bind(target) : value;
                return (...parameters) => {
                    if (name === 'put' && seen.order.length >= seen.failAfter) {
                        throw new DOMException('no room', 'QuotaExceededError');
                    }
                    seen.order.push(`${name} ${target.name}`);
                    if (name === 'put') seen.puts.push(parameters);
                    return value.apply(target, parameters);
                };
            },
        });
    const wrapDatabase = (database) => {
        const transaction = database.transaction.bind(database);
        database.transaction = (...parameters) => {
            const made = transaction(...parameters);
            const objectStore = made.objectStore.bind(made);
            made.objectStore = (name) => wrapStore(objectStore(name));
            return made;
        };
    };
    const counted = {
        open(...parameters) {
            const request = real.open(...parameters);
            request.addEventListener('success', () => wrapDatabase(request.result));
            return request;
        },
    };
    return { real, counted, seen };
}

/** One request on a saved database, from outside. */
async function raw(real, databaseName, mode, work) {
    const database = await new Promise((done, failed) => {
        const request = real.open(databaseName, 1);
        request.onsuccess = () => done(request.result);
        request.onerror = () => failed(request.error);
    });
    const result = await new Promise((done, failed) => {
        const transaction = database.transaction(['manifests', 'chunks'], mode);
        const request = work(transaction.objectStore('chunks'), transaction.objectStore('manifests'));
        transaction.oncomplete = () => done(request.result);
        transaction.onabort = () => failed(transaction.error);
    });
    database.close();
    return result;
}

function makeStore(rows = 10, options = {}) {
    const schema = [
        { name: 'id', type: 'int' },
        { name: 'name', type: 'string' },
        { name: 'place', type: 'vector(16)', index: false },
    ];
    const store = ColumnStore.withPrimaryKey(schema, 'id', options);
    const random = randomFrom(rows);
    store.insertRows(
        Array.from({ length: rows }, (_, id) => ({
            id,
            name: `name ${id}`,
            place: random.vector(16),
        })),
    );
    return store;
}

describe('ColumnStorePersistence', () => {
    let persistence;
    let parts;
    let databaseName;
    const stores = [];
    const keep = (store) => {
        stores.push(store);
        return store;
    };
    before(() => init());
    beforeEach(async () => {
        parts = await factory();
        databaseName = temporaryName();
        persistence = new ColumnStorePersistence({
            databaseName,
            indexedDB: parts.counted,
        });
    });
    afterEach(async () => {
        for (const store of stores.splice(0)) await store.close();
        await persistence.close();
        await new Promise((done) => (parts.real.deleteDatabase(databaseName).onsuccess = done));
    });

    it('saves and loads: rows, deleted ones, schema, key', async () => {
        await persistence.init();
        await persistence.init();
        const store = keep(makeStore(100));
        store.deleteRow(5);
        const stats = await persistence.save('one', store);
        expect(stats.bytes).to.equal(store.export().byteLength);
        expect(stats.chunkCount).to.equal(Math.ceil(stats.bytes / CHUNK));
        const loaded = keep(await persistence.load('one'));
        expect(loaded).to.be.instanceOf(ColumnStore);
        expect(loaded.export()).to.deep.equal(store.export());
        expect(loaded.primaryKeyColumn).to.equal('id');
        expect([loaded.getRow(5), loaded.rowCount, loaded.activeRowCount]).to.deep.equal([null, 100, 99]);
        expect(loaded.filter(eq('name', 'name 7'))).to.deep.equal(Uint32Array.of(7));
        loaded.insertRow({ id: 1000 });
        expect(store.getRow(1000)).to.equal(null);
    });

    it('says what is wrong by coded errors', async () => {
        const open = () => {
            throw new DOMException('not here', 'SecurityError');
        };
        const refused = new ColumnStorePersistence({ indexedDB: { open } });
        expect((await errorOf(() => refused.init())).code).to.equal('IO');
        expect((await errorOf(() => persistence.load('any', null))).code).to.equal('INVALID');
    });

    it('lists, describes and deletes', async () => {
        expect(await persistence.listStores()).to.deep.equal([]);
        expect(await persistence.getMetadata('one')).to.equal(null);
        expect(await persistence.deleteStore('one')).to.equal(false);
        const began = Date.now();
        const store = keep(makeStore(20));
        store.deleteRow(3);
        for (const name of ['two', 'one', '\u00fc/\u{1F600}']) await persistence.save(name, store);
        expect(await persistence.listStores()).to.deep.equal(['one', 'two', '\u00fc/\u{1F600}']);
        const metadata = await persistence.getMetadata('one');
        expect(metadata).to.include({
            name: 'one',
            primaryKey: 'id',
            rowCount: 20,
            activeRowCount: 19,
            chunkBytes: CHUNK,
        });
        expect(metadata.bytes).to.equal(store.export().byteLength);
        expect(metadata.chunkCount).to.equal(Math.ceil(metadata.bytes / CHUNK));
        expect(metadata.columns.map(({ name, type }) => `${name} ${type}`)).to.deep.equal([
            'id int',
            'name string',
            'place vector',
        ]);
        expect(metadata.savedAt).to.be.instanceOf(Date);
        expect(metadata.savedAt.getTime()).to.be.within(began, Date.now());
        expect(await persistence.deleteStore('one')).to.equal(true);
        expect(await persistence.listStores()).to.deep.equal(['two', '\u00fc/\u{1F600}']);
        expect(await codeOf(() => persistence.load('one'))).to.equal('NOT_FOUND');
        await persistence.deleteStore('two');
        await persistence.deleteStore('\u00fc/\u{1F600}');
        expect(await raw(parts.real, databaseName, 'readonly', (chunks) => chunks.count())).to.equal(0);
    });

    it('takes stores that are empty, without columns, and logged', async () => {
        for (const store of [new ColumnStore(), ColumnStore.withSchema([{ name: 'a', type: 'int' }])].map(keep)) {
            await persistence.save('empty', store);
            const loaded = keep(await persistence.load('empty'));
            expect([loaded.columnNames, loaded.rowCount]).to.deep.equal([store.columnNames, 0]);
        }
        const logged = keep(
            await ColumnStore.open(temporaryName(), {
                schema: [{ name: 'a', type: 'int' }],
            }),
        );
        logged.insertRow({ a: 5 });
        await persistence.save('logged', logged);
        expect(keep(await persistence.load('logged')).getRow(0)).to.deep.equal({
            a: 5,
        });
    });

    it('writes only the chunks that changed, and the manifest last', async () => {
        const store = keep(makeStore(15_000));
        const first = await persistence.save('one', store);
        expect(first.chunkCount).to.be.above(4);
        expect(first.chunksWritten).to.equal(first.chunkCount);
        const { seen } = parts;
        expect(seen.order).to.have.length(first.chunkCount + 1);
        expect(seen.order.at(-1)).to.equal('put manifests');
        for (const [chunk, [name, index]] of seen.puts.slice(0, -1)) {
            expect(name).to.equal('one');
            expect(chunk.byteLength).to.equal(Math.min(CHUNK, first.bytes - index * CHUNK));
            expect(chunk.buffer.byteLength, 'not a view of something larger').to.equal(chunk.byteLength);
        }
        seen.order.length = 0;
        expect((await persistence.save('one', store)).chunksWritten).to.equal(0);
        expect(seen.order).to.deep.equal(['put manifests']);
        store.updateRow(7_500, 'place', new Float32Array(16).fill(3));
        const third = await persistence.save('one', store);
        expect(third.chunksWritten).to.be.within(1, third.chunkCount - 2);
        expect(keep(await persistence.load('one')).export()).to.deep.equal(store.export());
    });

    it('takes away the chunks of a longer one before', async () => {
        const store = keep(makeStore(15_000));
        const long = await persistence.save('one', store);
        const small = await persistence.save('one', keep(makeStore(3)));
        expect(small.chunkCount).to.be.below(long.chunkCount);
        const count = await raw(parts.real, databaseName, 'readonly', (chunks) => chunks.count());
        expect(count).to.equal(small.chunkCount);
        expect(keep(await persistence.load('one')).rowCount).to.equal(3);
    });

    it('leaves what was there when a save fails, wherever', async () => {
        const before = keep(makeStore(5));
        await persistence.save('one', before);
        const next = keep(makeStore(15_000));
        const { seen } = parts;
        for (const failAfter of [0, 1, 5, 1000]) {
            seen.order.length = 0;
            seen.failAfter = failAfter;
            if (failAfter < 1000) expect(await codeOf(() => persistence.save('one', next))).to.equal('FULL');
            seen.failAfter = Infinity;
            const loaded = keep(await persistence.load('one'));
            expect(loaded.export()).to.deep.equal(before.export());
        }
        await persistence.save('one', next);
        expect(keep(await persistence.load('one')).rowCount).to.equal(15_000);
    });

    it('finds damage: a bit, a length, a missing chunk, chunks of others', async () => {
        const store = keep(makeStore(12_000));
        const { chunkCount } = await persistence.save('one', store);
        const chunk = (index) => raw(parts.real, databaseName, 'readonly', (chunks) => chunks.get(['one', index]));
        const put = (value, index) =>
            raw(parts.real, databaseName, 'readwrite', (chunks) => chunks.put(value, ['one', index]));
        const sound = await Promise.all([chunk(1), chunk(2)]);
        const flipped = (at) => {
            const copy = sound[0].slice();
            copy[at] ^= 16;
            return copy;
        };
        const damages = [
            flipped(0),
            flipped(100_001),
            flipped(CHUNK - 1),
            sound[0].subarray(1).slice(),
            sound[1],
            'text',
            null,
        ];
        for (const damage of damages) {
            await put(damage, 1);
            const error = await errorOf(() => persistence.load('one'));
            expect([error.code, error.offset]).to.deep.equal(['CORRUPT', CHUNK]);
        }
        await put(sound[0], 1);
        keep(await persistence.load('one'));
        await raw(parts.real, databaseName, 'readwrite', (chunks) => chunks.delete(['one', chunkCount - 1]));
        const error = await errorOf(() => persistence.load('one'));
        expect([error.code, error.offset]).to.deep.equal(['CORRUPT', (chunkCount - 1) * CHUNK]);
        const manifest = await raw(parts.real, databaseName, 'readonly', (_, manifests) => manifests.get('one'));
        const spoil = (change) =>
            raw(parts.real, databaseName, 'readwrite', (_, manifests) =>
                manifests.put({ ...manifest, ...change }, 'one'),
            );
        for (const change of [{ bytes: 5 }, { chunkCount: 1 }, { hashes: new Uint32Array(1) }, { hashes: null }]) {
            await spoil(change);
            expect(await codeOf(() => persistence.load('one')), JSON.stringify(change)).to.equal('CORRUPT');
        }
        await spoil({ version: 2 });
        expect(await codeOf(() => persistence.load('one'))).to.equal('VERSION');
    });

    it('reports progress, and is cancelled', async () => {
        const store = keep(makeStore(12_000));
        const reports = [];
        const { chunkCount } = await persistence.save('one', store, {
            onProgress: (...report) => reports.push(report),
        });
        expect(reports).to.deep.equal(Array.from({ length: chunkCount }, (_, i) => [i + 1, chunkCount]));
        reports.length = 0;
        keep(
            await persistence.load('one', {
                onProgress: (...report) => reports.push(report),
            }),
        );
        expect(reports).to.have.length(chunkCount);
        const other = keep(makeStore(12_001));
        for (const method of ['save', 'load']) {
            const controller = new AbortController();
            const onProgress = (done) => done === 2 && controller.abort();
            const options = { signal: controller.signal, onProgress };
            const call = () =>
                method === 'save' ? persistence.save('one', other, options) : persistence.load('one', options);
            expect(await codeOf(call), method).to.equal('CANCELLED');
            expect(await codeOf(call), method).to.equal('CANCELLED');
        }
        expect(keep(await persistence.load('one')).rowCount).to.equal(12_000);
        const thrown = () =>
            persistence.save('one', other, {
                onProgress: () => {
                    throw new TypeError('mine');
                },
            });
        expect((await errorOf(thrown)).message).to.equal('mine');
        expect(keep(await persistence.load('one')).rowCount).to.equal(12_000);
    });

    it('is shared: another of the same name sees it, at the same time too', async () => {
        const other = new ColumnStorePersistence({
            databaseName,
            indexedDB: parts.counted,
        });
        const [small, large] = [keep(makeStore(10)), keep(makeStore(12_000))];
        await Promise.all([persistence.save('one', large), other.save('one', small), persistence.save('two', small)]);
        const loaded = keep(await other.load('one'));
        expect([small.rowCount, large.rowCount]).to.include(loaded.rowCount);
        expect(await other.listStores()).to.deep.equal(['one', 'two']);
        await other[asyncDispose]();
        persistence[dispose]();
        expect(await persistence.listStores()).to.deep.equal(['one', 'two']);
    });

    it('refuses what cannot be', async () => {
        const store = keep(makeStore(1));
        for (const name of ['', undefined, 5]) {
            expect(await codeOf(() => persistence.save(name, store))).to.equal('INVALID');
            expect(await codeOf(() => persistence.load(name))).to.equal('INVALID');
            expect(await codeOf(() => persistence.deleteStore(name))).to.equal('INVALID');
            expect(await codeOf(() => persistence.getMetadata(name))).to.equal('INVALID');
        }
        expect(await codeOf(() => persistence.save('one', store, { progress: () => 0 }))).to.equal('INVALID');
        expect(await codeOf(() => persistence.save('one', {}))).to.equal('INVALID');
        const vectors = new DeltaVectorDB({ dimensions: 1 });
        expect(await codeOf(() => persistence.save('one', vectors))).to.equal('INVALID');
        await vectors.close();
        expect(await codeOf(() => new ColumnStorePersistence({ name: 'x' }))).to.equal('INVALID');
    });

    only('node', 'browsers have IndexedDB').it('says that there is no IndexedDB', async () => {
        const none = new ColumnStorePersistence();
        for (const call of [() => none.init(), () => none.listStores(), () => none.load('one')]) {
            expect(await codeOf(call)).to.equal('UNSUPPORTED');
        }
    });

    only('browser', 'Node has no IndexedDB of its own').it('uses the environment\u2019s IndexedDB', async () => {
        const name = temporaryName();
        const own = new ColumnStorePersistence({ databaseName: name });
        await own.save('one', keep(makeStore(5)));
        await own.close();
        const again = new ColumnStorePersistence({ databaseName: name });
        expect(keep(await again.load('one')).rowCount).to.equal(5);
        await again.close();
        await new Promise((done) => (indexedDB.deleteDatabase(name).onsuccess = done));
    });
});
