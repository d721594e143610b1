/*
 * The client of a store in a worker: the same answers as in the page, in order, and what happens when things go wrong.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { isNode, only, packageFile } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';
import { place, startWorker, until } from '../support/workers.js';

const { VeltaError, eq, key, openWorker, required, vector } = velta;

const SCHEMA = {
    name: key('string'),
    section: required('string'),
    size: 'int',
    embedding: vector(16),
};

function makeRows(count, seed = 1) {
    const random = randomFrom(seed);
    return Array.from({ length: count }, (_, i) => ({
        name: `row ${String(i).padStart(6, '0')}`,
        section: random.pick(['games', 'science', 'text']),
        size: random.below(1000),
        embedding: random.vector(16),
    }));
}

const memory = { storage: 'memory', autoIndex: false };
const QUERY = randomFrom(5).vector(16);

/** Runs `use` with a remote database and the same in this thread, both with the same rows. */
async function withBoth(count, use) {
    await velta.init();
    const remote = await openWorker('both', memory);
    const local = velta.createDatabase({ autoIndex: false });
    const rows = makeRows(count);
    try {
        const tables = [await remote.table('packages', SCHEMA), local.table('packages', SCHEMA)];
        await tables[0].insert(rows);
        tables[1].insert(rows);
        await use(...tables, remote, local);
    } finally {
        await remote.close();
        await local.close();
    }
}

const withoutTimes = ({ explain, ...rest }) => ({
    ...rest,
    explain: { ...explain, filterMs: 0, searchMs: 0 },
});

describe('a database in a worker', () => {
    it('gives the answers of one in the page', () =>
        withBoth(500, async (remote, local) => {
            const filter = eq('section', 'games').and(velta.lt('size', 500));
            const calls = [
                (table) => table.get('row 000007'),
                (table) => table.getMany(['row 000007', 'none'], { columns: ['size'] }),
                (table) => table.getRows(Uint32Array.of(3, 1)),
                (table) => table.getColumns(Uint32Array.of(3, 1), ['size', 'embedding']),
                (table) => table.has('row 000007'),
                (table) => table.rowOf('row 000007'),
                (table) => table.vector('row 000007'),
                (table) => table.rowCount,
                (table) => table.liveCount,
                (table) => table.schema,
                (table) => table.keyColumn,
                (table) => table.name,
                (table) => table.searchArrays(QUERY, { k: 20 }),
                (table) => table.where(filter).count(),
                (table) => table.where(filter.toString()).toArray(),
                (table) => table.where(filter).orderBy('size', 'desc').limit(3).select('name', 'size').toArray(),
                (table) => table.where(filter).or("section = 'text'").rows(),
                (table) => table.all().and(filter).not().keys(),
                (table) => table.where("name = 'row 000001'").first(),
                (table) =>
                    table.all().aggregate({
                        n: velta.count(),
                        total: velta.sum('size'),
                        mean: velta.mean('size'),
                    }),
                (table) => table.all().groupBy('section', { n: velta.count() }),
                (table) => table.update('row 000001', { size: 5000 }) && 1,
                (table) => table.setTtl('row 000002', 1e6),
                (table) => table.delete(['row 000003', 'none']),
                async (table) => (await table.chain('row 000001')).map(({ id, operation }) => [id, operation]),
                (table) => table.where('size = 5000').delete(),
                (table) => table.liveCount,
            ];
            for (const call of calls) {
                expect(await call(remote), String(call)).to.deep.equal(await call(local));
            }
        }));

    it('searches as one in the page does, explanation included', () =>
        withBoth(500, async (remote, local) => {
            for (const options of [{}, { k: 3, select: ['size'] }, { where: eq('section', 'text'), exact: true }]) {
                const there = await remote.search(QUERY, options);
                expect(there).to.be.an('array');
                expect([...there]).to.deep.equal([...local.search(QUERY, options)]);
                expect(withoutTimes(there).explain).to.deep.equal(withoutTimes(local.search(QUERY, options)).explain);
                const many = await remote.searchMany(Float32Array.of(...QUERY, ...QUERY), options);
                expect(many.map((hits) => [...hits])).to.deep.equal([[...there], [...there]]);
            }
            const found = await remote.where(eq('section', 'text')).search(QUERY, { k: 5 });
            expect(found).to.have.length(5);
        }));

    it('keeps the same bytes', () =>
        withBoth(50, async (table, _, database) => {
            const bytes = await database.export();
            const copy = velta.importDatabase(bytes, { autoIndex: false });
            expect(copy.table('packages').liveCount).to.equal(50);
            expect(copy.export()).to.deep.equal(bytes);
            expect(await table.name).to.equal('packages');
            await copy.close();
        }));

    it('has the rest of a database: names, tags, statistics, the log', () =>
        withBoth(20, async (table, _, database) => {
            expect(database.name).to.equal('both');
            expect(database.storage).to.equal('memory');
            expect(await database.tableNames()).to.deep.equal(['packages']);
            expect(await database.hasTable('none')).to.equal(false);
            await database.tag('now');
            expect(await database.tagTime('now')).to.be.instanceOf(Date);
            await database.index();
            expect(await database.linkPending()).to.equal(0);
            expect((await database.stats()).tableCount).to.equal(1);
            expect(await database.log.status())
                .to.have.property('sequence')
                .above(0);
            await database.verify();
            await database.flush();
            await database.log.sync();
            await database.compact();
            expect(await table.liveCount).to.equal(20);
            await database.dropTable('packages');
            expect((await errorOf(() => table.get('row 000001'))).code).to.equal('NOT_FOUND');
        }));

    it('has column families', async () => {
        const database = await openWorker('families', memory);
        const family = await database.createColumnFamily('settings');
        await family.write('b', Uint8Array.of(2));
        await family.writeBatch([
            ['a', 'one'],
            ['c', 'three'],
        ]);
        expect(await family.read('b')).to.deep.equal(Uint8Array.of(2));
        expect(await family.readText('a')).to.equal('one');
        expect(await family.size).to.equal(3);
        expect(await database.listColumnFamilies()).to.deep.equal(['settings']);
        const keys = [];
        for await (const [name] of await family.iterRange('b')) keys.push(name);
        expect(keys).to.deep.equal(['b', 'c']);
        const bytes = await database.columnFamilyOrCreate('bytes', {
            keys: 'bytes',
        });
        await bytes.write(Uint8Array.of(255), 'last');
        expect(await (await bytes.iter()).collectAll()).to.deep.equal([
            [Uint8Array.of(255), new TextEncoder().encode('last')],
        ]);
        await database.close();
    });

    it('iterates over one moment, whatever is written meanwhile', () =>
        withBoth(1000, async (table, local, database) => {
            const rows = await table.iterate({ columns: ['name'] });
            const names = [];
            for await (const { name } of rows) {
                names.push(name);
                if (names.length === 10) await table.delete('row 000900');
            }
            expect(names).to.deep.equal(local.all().keys().sort());
            const range = await table.iterate({
                start: 'row 000010',
                end: 'row 000020',
                columns: ['name'],
            });
            expect(await range.nextBatch(3)).to.have.length(3);
            const [four, rest] = await Promise.all([range.next(), range.collectAll()]);
            expect(four.value.name).to.equal('row 000013');
            expect(rest.map(({ name }) => name.slice(-2))).to.deep.equal(['14', '15', '16', '17', '18', '19']);
            expect(await range.nextBatch()).to.deep.equal([]);
            expect((await range.next()).done).to.equal(true);
            for await (const _ of await table.iterate()) break;
            // An iterator that was still open would keep this from running.
            await database.compact();
        }));

    it('tells watchers of changes before the writer has its answer', () =>
        withBoth(5, async (table, _, database) => {
            const seen = [];
            const stop = await table.watch((change) => seen.push(change));
            const all = [];
            const stopAll = await database.watch(({ kind }) => all.push(kind));
            await table.insert(makeRows(3, 9).map((row) => ({ ...row, name: `new ${row.name}` })));
            expect(seen).to.have.length(1);
            expect(seen[0]).to.include({ kind: 'insert', table: 'packages' });
            expect(seen[0].rows).to.deep.equal(Uint32Array.of(5, 6, 7));
            expect(seen[0].time).to.be.instanceOf(Date);
            stop();
            stop();
            await table.delete('row 000001');
            expect(seen).to.have.length(1);
            expect(all).to.include.members(['insert', 'delete']);
            stopAll();
        }));

    it('runs calls in the order in which they were made, without waiting for answers', async () => {
        const database = await openWorker('order', memory);
        const table = await database.table('packages', SCHEMA);
        const rows = makeRows(200);
        const writes = rows.map((row) => table.insert(row));
        const count = table.liveCount;
        const deleted = table.delete(rows.map(({ name }) => name));
        const left = table.liveCount;
        expect(await count).to.equal(200);
        expect(await deleted).to.equal(200);
        expect(await left).to.equal(0);
        const sequences = (await Promise.all(writes)).map(({ sequence }) => sequence);
        expect(sequences).to.deep.equal(sequences.slice().sort((a, b) => a - b));
        await database.close();
    });

    it('leaves the arrays of the caller alone', async () => {
        const database = await openWorker('arrays', memory);
        const table = await database.table('packages', SCHEMA);
        const large = new Float32Array(1 << 20);
        large.set(QUERY, 1000);
        const part = large.subarray(1000, 1016);
        const names = ['a'];
        await table.insertColumns({ name: names, section: ['x'], embedding: part });
        const written = table.insert({ name: 'b', section: 'x', embedding: part });
        part.fill(0);
        await written;
        expect(large.length).to.equal(1 << 20);
        part.set(QUERY);
        const hits = await table.search(part, { k: 2 });
        expect(hits.map(({ key: name, distance }) => [name, distance < 1e-6])).to.deep.equal([
            ['a', true],
            ['b', true],
        ]);
        expect(await table.search([...QUERY], { k: 1 })).to.have.length(1);
        await database.close();
    });
});

describe('errors of a worker', () => {
    it('have their code, sentence and place', () =>
        withBoth(5, async (remote, local) => {
            const calls = [
                (table) => table.insert([...makeRows(1, 3).map((row) => ({ ...row, name: 'n' })), { name: 'm' }]),
                (table) => table.insert({ name: 1, section: 'x' }),
                (table) => table.search(new Float32Array(3)),
                (table) => table.search(QUERY, { k: -1 }),
                (table) => table.where('size = ').count(),
                (table) => table.where('nonsense = 1').toArray(),
                (table) => table.where('size = 1').and('size > 1) OR (size > 0').count(),
                (table) => table.update('none', { size: 1 }),
                (table) => table.apply('none', { type: 'scale', factor: 2 }),
                (table) => table.get('row 000001', { nonsense: 1 }),
            ];
            for (const call of calls) {
                const [there, here] = [await errorOf(() => call(remote)), await errorOf(() => call(local))];
                expect(there, String(call)).to.be.instanceOf(VeltaError);
                expect(there.toJSON(), String(call)).to.deep.equal(here.toJSON());
            }
        }));

    it('that cannot be sent are INVALID before anything is sent', async () => {
        const database = await openWorker('unsent', memory);
        const table = await database.table('packages', SCHEMA);
        const throws = Object.defineProperty({}, 'name', {
            enumerable: true,
            get: () => {
                throw new Error('mine');
            },
        });
        for (const row of [
            { name: () => 1 },
            { name: Symbol('s') },
            throws,
            new Proxy({}, {}),
            { name: new WeakMap() },
        ]) {
            const error = await errorOf(() => table.insert(row));
            expect(error).to.be.instanceOf(VeltaError);
            expect(error.code, error.message).to.equal('INVALID');
        }
        expect(await table.liveCount).to.equal(0);
        expect((await errorOf(() => table.watch(5))).code).to.equal('INVALID');
        expect((await errorOf(() => openWorker('clock', { ...memory, now: () => 5 }))).code).to.equal('UNSUPPORTED');
        expect((await errorOf(() => openWorker(5))).code).to.equal('INVALID');
        expect((await errorOf(() => openWorker('x', null))).code).to.equal('INVALID');
        expect((await errorOf(() => openWorker('x', { nonsense: 1 }))).code).to.equal('INVALID');
        await database.close();
    });

    it('CLOSED follows close, which may be called twice', async () => {
        const database = await openWorker('closing', memory);
        const table = await database.table('packages', SCHEMA);
        const pending = table.insert(makeRows(10));
        const closing = database.close();
        expect(database.close()).to.equal(closing);
        expect(database.closed).to.equal(true);
        expect((await pending).inserted).to.equal(10);
        await closing;
        for (const call of [() => table.liveCount, () => table.where('size = 1').count(), () => database.stats()]) {
            expect((await errorOf(call)).code).to.equal('CLOSED');
        }
    });
});

describe('aborting and progress', () => {
    it('index stops, and what is left goes on later', async () => {
        const database = await openWorker('abort', memory);
        const table = await database.table('packages', SCHEMA);
        await table.insert(makeRows(5000));
        const controller = new AbortController();
        const reports = [];
        const indexing = database.index({
            signal: controller.signal,
            onProgress: (done, total) => {
                reports.push([done, total]);
                controller.abort();
            },
        });
        // The worker answers others meanwhile.
        const during = table.liveCount;
        expect((await errorOf(() => indexing)).code).to.equal('CANCELLED');
        expect(await during).to.equal(5000);
        expect(reports).to.have.length.above(0);
        expect((await database.stats()).indexPending).to.be.above(0);
        expect((await errorOf(() => database.index({ signal: AbortSignal.abort() }))).code).to.equal('CANCELLED');
        await database.index();
        expect((await database.stats()).indexPending).to.equal(0);
        await database.close();
    });

    it('a progress function that throws ends its call with what it threw', async () => {
        const database = await openWorker('progress', memory);
        const table = await database.table('packages', SCHEMA);
        await table.insert(makeRows(2000));
        const mine = new Error('mine');
        const error = await errorOf(() =>
            database.export({
                onProgress: () => {
                    throw mine;
                },
            }),
        );
        expect(error).to.equal(mine);
        const reports = [];
        await database.export({
            onProgress: (done, total) => {
                reports.push(done / total);
            },
        });
        expect(reports.at(-1)).to.equal(1);
        expect(await table.liveCount).to.equal(2000);
        await database.close();
    });

    it('opening can be given up', async () => {
        const controller = new AbortController();
        const opening = openWorker('given up', {
            ...memory,
            signal: controller.signal,
        });
        controller.abort();
        expect((await errorOf(() => opening)).code).to.equal('CANCELLED');
        expect((await errorOf(() => openWorker('x', { signal: AbortSignal.abort() }))).code).to.equal('CANCELLED');
    });
});

describe('the death of a worker', () => {
    it('a script that is absent, refused or broken is WORKER', async () => {
        const scripts = isNode
            ? [
                  'file:///nowhere/worker.js',
                  'data:text/javascript,throw new Error("broken")',
                  'data:text/javascript,process.exit(3)',
              ]
            : [new URL('/nowhere/worker.js', location.href), '/bad/page.wasm'];
        for (const worker of scripts) {
            const error = await errorOf(() =>
                openWorker('never', {
                    ...memory,
                    worker: isNode ? new URL(worker) : worker,
                }),
            );
            expect(error, String(worker)).to.be.instanceOf(VeltaError);
            expect(error.code, error.message).to.equal('WORKER');
            expect(error.message).to.match(/worker/);
        }
    });

    it('a worker that someone ends tells every pending and every later call', async () => {
        const worker = await startWorker();
        const [name, options] = await place();
        const database = await openWorker(name, { ...options, worker });
        const table = await database.table('packages', SCHEMA);
        await table.insert(makeRows(500));
        const rows = await table.iterate();
        const queries = randomFrom(1).vector(16 * 2000);
        const pending = [
            table.searchArrays(queries, { exact: true }),
            table.where('size > 1').toArray(),
            table.liveCount,
        ];
        worker.terminate();
        for (const call of [
            ...pending,
            table.get('row 000001'),
            rows.nextBatch(),
            database.flush(),
            database.index(),
        ]) {
            const error = await errorOf(() => call);
            expect(error).to.be.instanceOf(VeltaError);
            expect(error.code).to.equal('WORKER');
            expect(error.message).to.match(/^the worker .*; open the store again$/);
        }
        await database.close();
        expect((await errorOf(() => table.liveCount)).code).to.equal('WORKER');

        // What was acknowledged is there.
        const again = await openWorker(name, options);
        expect(await (await again.table('packages')).liveCount).to.equal(500);
        await again.close();
    }).timeout(20_000);

    only('node', 'a script of its own would break the policy of the page').it(
        'an error within it ends it',
        async () => {
            const script = `import ${JSON.stringify(import.meta.resolve('velta/worker'))};
            import { parentPort } from 'node:worker_threads';
            parentPort.on('message', (data) => {
                if (data.method === 'stats') setTimeout(() => { throw new Error('inside'); }); });`;
            const worker = new URL(`data:text/javascript,${encodeURIComponent(script)}`);
            const database = await openWorker('inside', { ...memory, worker });
            await database.stats().catch(() => undefined);
            await until(async () => (await errorOf(() => database.tableNames()).catch(() => ({}))).code === 'WORKER');
            expect((await errorOf(() => database.tableNames())).message).to.include('inside');
            await database.close();
        },
    );
});

describe('a worker of many', () => {
    it('serves several stores, and is not ended with them', async () => {
        const worker = await startWorker();
        const names = ['one', 'two', 'three'];
        const databases = await Promise.all(names.map((name) => openWorker(name, { ...memory, worker })));
        const tables = await Promise.all(databases.map((database) => database.table('packages', SCHEMA)));
        await Promise.all(tables.map((table, i) => table.insert(makeRows(10 * (i + 1)))));
        expect(await Promise.all(tables.map((table) => table.liveCount))).to.deep.equal([10, 20, 30]);
        await databases[0].close();
        expect(await tables[1].liveCount).to.equal(20);
        const store = await velta.openColumnStoreWorker('store', {
            ...memory,
            worker,
        });
        await store.close();
        await databases[1].close();
        await databases[2].close();
        const last = await openWorker('last', { ...memory, worker });
        expect(await last.tableNames()).to.deep.equal([]);
        await last.close();
        worker.terminate();
    });

    only('browser', 'locks are of browsers').it('has no store and no lock of an opening that failed', async () => {
        const [name, options] = await place({ storage: 'indexeddb' });
        const worker = await startWorker();
        const locks = async () => (await navigator.locks.query()).held.filter(({ name: held }) => /session/.test(held));
        const before = (await locks()).length;
        await errorOf(() => openWorker(name, { ...options, worker, mustExist: true }));
        const real = worker.postMessage.bind(worker);
        worker.postMessage = (message, ...rest) => message.type === 'abort' || real(message, ...rest);
        const stop = new AbortController();
        const opening = openWorker(name, { ...options, worker, signal: stop.signal });
        await new Promise((done) => setTimeout(done, 2));
        stop.abort();
        expect((await errorOf(() => opening)).code).to.equal('CANCELLED');
        await (await openWorker(name, { ...options, worker })).close();
        await until(async () => (await locks()).length === before);
        worker.terminate();
        await velta.deleteDatabase(name, options);
    });

    it('does not obey messages that are not in order', async () => {
        const worker = await startWorker();
        const sent = [];
        const real = worker.postMessage.bind(worker);
        worker.postMessage = (message, ...rest) => {
            sent.push(message);
            real(message, ...rest);
        };
        const database = await openWorker('strict', { ...memory, worker });
        const table = await database.table('packages', SCHEMA);
        await table.insert(makeRows(3));
        const call = sent.findLast(({ type }) => type === 'call');
        const answers = [];
        const listen = (data) => answers.push(data);
        if (isNode) worker.on('message', listen);
        else worker.addEventListener('message', ({ data }) => listen(data));
        const methods = [
            'constructor',
            '__proto__',
            'toString',
            'release',
            'run',
            'enter',
            'get handle',
            'get instance',
            '',
            'get ',
            'log.__proto__',
            'database.close',
            'withVector',
            'hasOwnProperty',
            'then',
        ];
        for (const method of methods) real({ ...call, id: 1000 + answers.length, method, args: [] });
        for (const kind of ['Database', 'RowIterator', 'Query', 'constructor', '__proto__', 'toString', 'Nonsense']) {
            real({ ...call, id: 2000, kind, method: 'close', args: [] });
        }
        real({ ...call, id: 2001, handle: 999, method: 'liveCount', args: [] });
        const refused = methods.length + 8;
        const dropped = [
            null,
            5,
            'text',
            [],
            {},
            { velta: 1 },
            { velta: -1, type: 'call' },
            { ...call, id: 'x' },
            { ...call, args: 5 },
            { ...call, steps: [['constructor']] },
            { ...call, steps: [['select', 'x']] },
            { ...call, steps: [] },
            { ...call, extras: { progress: -1 } },
            { ...call, extras: { flag: new Float32Array(1) } },
            { ...call, type: 'eval' },
            { ...call, velta: 12345 },
            { velta: call.velta, type: 'open', id: 5 },
            { velta: call.velta, type: 'release', handle: {} },
        ];
        for (const message of dropped) real(message);
        expect(await table.liveCount).to.equal(3);
        // The client's listener comes first: this one has the answer a moment later.
        await until(() => answers.length > refused);
        const errors = answers.filter(({ type }) => type === 'error');
        expect(errors).to.have.length(refused);
        for (const { error } of errors) expect(error.code).to.be.oneOf(['INVALID', 'CLOSED']);
        expect(answers.filter(({ type }) => type !== 'error')).to.have.length(1);
        await database.close();
        worker.terminate();
    });

    only('node', 'a garbage collection can be asked for only there').it('gives back what was forgotten', async () => {
        const { setFlagsFromString } = await import('node:v8');
        const { runInNewContext } = await import('node:vm');
        setFlagsFromString('--expose-gc');
        const collect = runInNewContext('gc');
        const database = await openWorker('forgotten', memory);
        const table = await database.table('packages', SCHEMA);
        await table.insert(makeRows(300));
        await (async () => {
            for (let i = 0; i < 20; i++) await (await table.iterate()).nextBatch(1);
        })();
        expect((await errorOf(() => database.compact())).code).to.equal('BUSY');
        await until(async () => {
            collect();
            await new Promise((done) => setTimeout(done, 5));
            return database.compact().then(
                () => true,
                () => false,
            );
        });
        await database.close();
    });
});

describe('stores in a worker', () => {
    it('DeltaVectorDB', async () => {
        const store = await velta.openDeltaVectorWorker('vectors', {
            ...memory,
            dimensions: 16,
        });
        const heard = [];
        const stop = await store.onDelta((delta, id) => heard.push([delta.vectorId, delta.operation.type, id]));
        const id = await store.applyDelta({
            vectorId: 'a',
            operation: { type: 'create', vector: QUERY },
        });
        const ids = await store.applyDeltas([
            {
                vectorId: 'a',
                operation: { type: 'scale', factor: 2 },
                metadata: { by: 'me' },
            },
        ]);
        expect(heard).to.deep.equal([
            ['a', 'create', id],
            ['a', 'scale', ids[0]],
        ]);
        stop();
        expect(await store.getVector('a')).to.deep.equal(QUERY.map((value) => value * 2));
        expect(await store.getVector('none')).to.equal(null);
        expect(await store.getDimensions()).to.equal(16);
        expect(await store.size).to.equal(1);
        const [hit] = await store.search(QUERY, 1);
        expect(hit.id).to.equal('a');
        expect((await store.getDeltaChain('a')).at(-1).metadata).to.deep.equal({
            by: 'me',
        });
        const bytes = await store.export();
        await store.applyDelta({ vectorId: 'a', operation: { type: 'delete' } });
        await store.import(bytes);
        expect(await store.has('a')).to.equal(true);
        expect(await (await store.database).tableNames()).to.have.length(1);
        const error = await errorOf(() =>
            store.applyDelta({
                vectorId: 'a',
                operation: { type: 'create', vector: QUERY },
            }),
        );
        expect(error.code).to.equal('EXISTS');
        await store.close();
        expect((await errorOf(() => store.size)).code).to.equal('CLOSED');
    });

    it('ColumnStore', async () => {
        const store = await velta.openColumnStoreWorker('columns', {
            ...memory,
            schema: [
                { name: 'name', type: 'string' },
                { name: 'size', type: 'int' },
            ],
            primaryKey: 'name',
        });
        expect(await store.columnNames).to.deep.equal(['name', 'size']);
        await store.insertRow({ name: 'a', size: 2n ** 60n });
        expect(
            await store.batchUpsert([
                { name: 'a', size: 5 },
                { name: 'b', size: 'x' },
            ]),
        ).to.deep.include({ inserted: 0, updated: 1 });
        expect(await store.filterEq('size', 5)).to.deep.equal(Uint32Array.of(0));
        expect(await store.getRow('a')).to.deep.equal({ name: 'a', size: 5 });
        expect(await store.count(eq('size', 5))).to.equal(1);
        expect(await store.activeRowCount).to.equal(1);
        expect(await store.deleteRow('a')).to.equal(true);
        await store.flush();
        await store.close();
    });
});

describe('the module of a worker', () => {
    it('is loaded as init is told', async () => {
        const whole = async () => (await packageFile('dist/wasm/velta.simd128.wasm')).arrayBuffer();
        const sources = [
            await whole(),
            new Uint8Array(await whole()),
            await WebAssembly.compile(await whole()),
            whole(),
        ];
        sources.push(packageFile('dist/wasm/velta.simd128.wasm'));
        if (!isNode) sources.push('/node_modules/velta/dist/wasm/velta.simd128.wasm');
        for (const wasm of sources) {
            const database = await openWorker('init', {
                ...memory,
                init: { wasm, build: 'simd128', maxMemory: 64 << 20 },
            });
            expect((await database.stats()).simd).to.equal('wasm128');
            await database.close();
        }
        for (const init of [
            { wasm: new Uint8Array(5) },
            { wasm: { then: (_, fail) => fail(new Error('no network')) } },
            { maxMemory: -1 },
            { build: 'x' },
        ]) {
            const error = await errorOf(() => openWorker('init', { ...memory, init }));
            expect(error.code, error.message).to.be.oneOf(['BAD_MODULE', 'INVALID']);
        }
    });
});

describe('a store that a worker keeps', () => {
    const kinds = isNode ? ['file'] : ['opfs', 'indexeddb'];
    for (const storage of kinds) {
        it(`${storage}: what was acknowledged survives the worker`, async () => {
            const [name, options] = await place({ storage });
            for (let life = 0; life < 5; life++) {
                const worker = await startWorker();
                const database = await openWorker(name, { ...options, worker });
                const table = await database.table('packages', SCHEMA);
                expect(await table.liveCount).to.equal(10 * life);
                const rows = makeRows(10, life).map((row, i) => ({
                    ...row,
                    name: `${life} ${i}`,
                }));
                // Under way together: they share commits.
                await Promise.all(rows.map((row) => table.insert(row)));
                worker.terminate();
                await database.close();
            }
            const last = await openWorker(name, options);
            const table = await last.table('packages');
            expect(await table.liveCount).to.equal(50);
            await last.verify();
            await last.close();
            expect(await velta.deleteDatabase(name, options)).to.equal(true);
        }).timeout(60_000);
    }

    it('the choice is made where the worker is', async () => {
        const [name, options] = await place();
        const database = await openWorker(name, options);
        expect(database.storage).to.equal(isNode ? 'file' : 'opfs');
        expect(database.name).to.equal(name);
        await database.close();
        await velta.deleteDatabase(name, options);
    });
});
