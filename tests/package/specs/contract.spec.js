/*
 * Every method that the contract names for the delta vector database, the column store, its persistence, column
 * families, iterators and the log is there and is called, once at least, by the lives below. What the methods mean is
 * tested beside each class; this file is the list, and fails when a name is missing or nobody calls it. The list of
 * streams and of ranges is in contract_streams.spec.js.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { watchCalls } from '../support/calls.js';
import { isNode, temporaryName } from '../support/harness.js';

const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

/** Names by class; `static`, getters and symbols included. */
const CONTRACT = {
    DeltaVectorDB: {
        statics: ['open'],
        methods: [
            ...[
                'applyDelta',
                'applyDeltas',
                'getVector',
                'getVectorAt',
                'getDeltaChain',
                'onDelta',
                'search',
                'searchAt',
            ],
            ...[
                'compact',
                'export',
                'import',
                'withVector',
                'getVectorPtr',
                'getDimensions',
                'getMemory',
                'tag',
                'stats',
            ],
            ...['flush', 'close', dispose, asyncDispose],
        ],
    },
    ColumnStore: {
        statics: ['withSchema', 'withPrimaryKey', 'open'],
        methods: [
            ...['addColumn', 'columnNames', 'primaryKeyColumn', 'insertRow', 'upsertRow', 'batchUpsert', 'updateRow'],
            ...[
                'getRow',
                'deleteRow',
                'rowCount',
                'activeRowCount',
                'deletedRowCount',
                'filterEq',
                'filterGt',
                'filterLt',
            ],
            ...[
                'filterRange',
                'filterIn',
                'filter',
                'getRowsByIndices',
                'bitmap',
                'count',
                'countEq',
                'countGt',
                'countLt',
            ],
            ...['countRange', 'countIn', 'setRowTtl', 'expireRows', 'vacuum', 'shouldVacuum', 'clear', 'memoryUsage'],
            ...['flush', 'close', dispose, asyncDispose],
        ],
    },
    RowBitmap: { methods: ['and', 'or', 'not', 'count', 'toIndices'] },
    ColumnStorePersistence: {
        methods: ['init', 'save', 'load', 'listStores', 'deleteStore', 'getMetadata', 'close'],
    },
    Database: {
        methods: [
            ...['listColumnFamilies', 'createColumnFamily', 'columnFamily', 'columnFamilyOrCreate', 'flush', 'close'],
            ...[dispose, asyncDispose],
        ],
    },
    ColumnFamily: { methods: ['write', 'read', 'delete', 'iter', 'iterRange'] },
    FamilyIterator: {
        methods: ['nextBatch', 'next', 'collectAll', 'close', Symbol.asyncIterator, Symbol.iterator, dispose],
    },
};
/** Functions of the package, and those of a database's log. */
const FUNCTIONS = ['init', 'open', 'requestPersistence', 'isOpfsSupported'];
const LOG = ['sync', 'checkpoint', 'status'];

const labels = Object.entries(CONTRACT).flatMap(([type, { statics = [], methods }]) => [
    ...statics.map((name) => [`${type}.${name}`, type, name, true]),
    ...methods.map((name) => [`${type}#${String(name)}`, type, name, false]),
]);

let called;
let restore;

async function vectorLife() {
    const { DeltaVectorDB } = velta;
    const db = await DeltaVectorDB.open(temporaryName(), { dimensions: 2 });
    const heard = [];
    const end = db.onDelta(({ operation }) => heard.push(operation.type));
    const id = db.applyDelta({
        vectorId: 'a',
        operation: { type: 'create', vector: new Float32Array([1, 0]) },
    });
    expect(id).to.be.a('number');
    db.tag('first');
    const operations = [
        {
            type: 'sparse',
            indices: new Uint32Array([1]),
            values: new Float32Array([1]),
        },
        { type: 'dense', vector: new Float32Array([1, 1]) },
        { type: 'scale', factor: 2 },
        { type: 'offset', amount: -1 },
    ];
    expect(db.applyDeltas(operations.map((operation) => ({ vectorId: 'a', operation })))).to.have.length(4);
    end();
    expect(heard).to.deep.equal(['create', 'sparse', 'dense', 'scale', 'offset']);
    expect([...db.getVector('a')]).to.deep.equal([3, 3]);
    expect([...db.getVectorAt('a', new Date(Date.now() + 1000))]).to.deep.equal([3, 3]);
    expect(db.getDeltaChain('a')).to.have.length(5);
    expect(db.search(new Float32Array([1, 1]), 1)[0].id).to.equal('a');
    expect(db.searchAt(new Float32Array([1, 1]), 1, new Date(Date.now() + 1000))[0].id).to.equal('a');
    expect(db.withVector('a', (view) => view.length)).to.equal(db.getDimensions());
    expect(new Float32Array(db.getMemory().buffer, db.getVectorPtr('a'), 2)[0]).to.equal(3);
    db.compact({ keepTags: ['first'] });
    const bytes = db.export();
    expect(db.stats().vectors).to.equal(1);
    await db.flush();
    await db.close();
    const copy = new DeltaVectorDB({ dimensions: 2 });
    await copy.import(bytes);
    expect([...copy.getVector('a')]).to.deep.equal([3, 3]);
    await copy[asyncDispose]();
    new DeltaVectorDB()[dispose]();
}

async function storeLife() {
    const { ColumnStore, ColumnStorePersistence } = velta;
    const schema = ['int', 'float', 'string', 'bool', 'timestamp'].map((type) => ({ name: type, type }));
    const store = ColumnStore.withPrimaryKey(schema, 'int');
    store.addColumn({ name: 'v', type: 'vector(2)' });
    expect(store.columnNames).to.have.length(6);
    expect(store.primaryKeyColumn).to.equal('int');
    expect(
        store.insertRow({
            int: 1,
            float: 0.5,
            string: 'a',
            bool: true,
            timestamp: new Date(5),
            v: [1, 2],
        }),
    ).to.equal(0);
    expect(store.upsertRow({ int: 2, float: 1.5, string: 'b' })).to.equal('inserted');
    expect(store.batchUpsert([{ int: 2, string: 'c' }, { int: 3, float: 9 }, { int: 'x' }])).to.include({
        inserted: 1,
        updated: 1,
    });
    store.updateRow(3, 'string', 'd');
    expect(store.getRow(3).string).to.equal('d');
    expect(
        [store.filterEq('string', 'c'), store.filterGt('float', 1), store.filterLt('float', 1)].map((rows) => [
            ...rows,
        ]),
    ).to.deep.equal([[1], [1, 2], [0]]);
    expect([...store.filterRange('float', 0, 2), ...store.filterIn('int', [3]), ...store.filter('bool')]).to.deep.equal(
        [0, 1, 2, 0],
    );
    const counts = [store.count(), store.countEq('int', 1), store.countGt('int', 1), store.countLt('int', 1)];
    expect([...counts, store.countRange('int', 0, 9), store.countIn('int', [1, 2])]).to.deep.equal([3, 1, 2, 0, 3, 2]);
    const bitmap = store.bitmap('int > 1').and('float < 5').or('int = 1').not();
    expect([bitmap.count(), ...bitmap.toIndices()]).to.deep.equal([1, 2]);
    expect(store.getRowsByIndices(new Uint32Array([2]))[0].int).to.equal(3);
    expect(store.deleteRow(1)).to.equal(true);
    store.setRowTtl(2, 1);
    expect(store.expireRows(Date.now() + 5000)).to.equal(1);
    expect([store.rowCount, store.activeRowCount, store.deletedRowCount]).to.deep.equal([3, 1, 2]);
    expect(store.shouldVacuum()).to.equal(true);
    expect(store.vacuum().rowsRemoved).to.equal(2);
    expect(store.memoryUsage().total).to.be.above(0);

    const indexedDB = isNode ? new (await import('fake-indexeddb')).IDBFactory() : globalThis.indexedDB;
    const persistence = new ColumnStorePersistence({
        indexedDB,
        databaseName: temporaryName(),
    });
    await persistence.init();
    await persistence.save('one', store);
    expect((await persistence.getMetadata('one')).rowCount).to.equal(1);
    const loaded = await persistence.load('one');
    expect(loaded.getRow(3).string).to.equal('d');
    loaded[dispose]();
    expect(await persistence.listStores()).to.deep.equal(['one']);
    expect(await persistence.deleteStore('one')).to.equal(true);
    await persistence.close();

    store.clear();
    expect(store.rowCount).to.equal(0);
    await store[asyncDispose]();
    const logged = await ColumnStore.open(temporaryName(), { schema });
    logged.insertRow({ int: 1 });
    await logged.flush();
    await logged.close();
    ColumnStore.withSchema(schema)[dispose]();
}

async function familyLife() {
    const db = await velta.open(temporaryName());
    const family = db.createColumnFamily('f');
    family.write('a', new Uint8Array([1]));
    family.write('b', new Uint8Array([2]));
    expect(family.read('a')).to.deep.equal(new Uint8Array([1]));
    expect(db.listColumnFamilies()).to.deep.equal(['f']);
    expect(db.columnFamily('f').iterRange('b').collectAll()).to.have.length(1);
    expect(db.columnFamilyOrCreate('g').delete('a')).to.equal(false);
    const iterator = family.iter();
    expect(iterator.next().value[0]).to.equal('a');
    expect(iterator.nextBatch()).to.have.length(1);
    iterator.close();
    family.iter()[dispose]();
    const seen = [];
    for await (const [key] of family.iter()) seen.push(key);
    for (const [key] of family.iter()) seen.push(key);
    expect(seen).to.deep.equal(['a', 'b', 'a', 'b']);
    const { log } = db;
    for (const name of LOG) {
        expect(log[name], `log.${name}`).to.be.a('function');
        called.add(`log.${name}`);
    }
    await log.sync();
    log.checkpoint();
    expect(log.status().sequence).to.be.above(0);
    await db.flush();
    await db.close();
    velta.createDatabase()[dispose]();
    await velta.createDatabase()[asyncDispose]();
}

describe('the contract', () => {
    before(async () => {
        const owners = labels.map(([label, type, name, isStatic]) => {
            return [label, isStatic ? velta[type] : velta[type]?.prototype, name];
        });
        ({ called, restore } = watchCalls(owners));
        await velta.init();
    });
    after(() => restore());

    it('names nothing that is missing', () => {
        const missing = labels.filter(([, type, name, isStatic]) => {
            const owner = isStatic ? velta[type] : velta[type]?.prototype;
            return !owner || !(name in owner);
        });
        expect(missing.map(([label]) => label)).to.deep.equal([]);
        for (const name of FUNCTIONS) expect(velta[name], name).to.be.a('function');
    });

    it('lives: vectors', vectorLife);
    it('lives: rows', storeLife);
    it('lives: families and the log', familyLife);

    it('lives: what an environment can tell', async () => {
        expect(await velta.isOpfsSupported()).to.be.a('boolean');
        expect((await velta.requestPersistence()).persisted).to.be.a('boolean');
    });

    it('left no method uncalled', () => {
        expect(labels.map(([label]) => label).filter((label) => !called.has(label))).to.deep.equal([]);
    });
});
