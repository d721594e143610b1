/*
 * Every public class of the package: how an object of it is made, and good arguments of its methods that take some.
 */
import * as velta from 'velta';
import { temporaryName } from './harness.js';

const { key, required, vector } = velta;

export const SCHEMA = {
    name: key('string'),
    size: 'int',
    weight: 'float',
    free: 'bool',
    made: 'timestamp',
    raw: 'bytes',
    text: required('string'),
    embedding: vector(4),
};
export const ROW = {
    name: 'a',
    size: 1,
    weight: 0.5,
    free: true,
    made: new Date(1e12),
    raw: Uint8Array.of(1, 2),
    text: 'first',
    embedding: Float32Array.of(1, 2, 3, 4),
};
const COLUMNS = { name: ['y', 'z'], text: ['y', 'z'], embedding: new Float32Array(8).fill(0.5) };

/** The clock of all of them; `step` is what it goes on by at each look. */
export const clock = { now: 1.7e12, step: 1 };
const now = () => (clock.now += clock.step);

export function makeDatabase() {
    const database = velta.createDatabase({ autoIndex: false, now });
    const table = database.table('packages', SCHEMA);
    table.insert([ROW, { ...ROW, name: 'b', text: 'second', size: null, raw: null }]);
    table.apply('a', { type: 'scale', factor: 2 });
    return { database, table };
}

const onDatabase = () => {
    const { database } = makeDatabase();
    database.createColumnFamily('family').write('k', 'v');
    return { target: database, database };
};
const onTable = () => {
    const { database, table } = makeDatabase();
    return { target: table, database };
};
const onKeylessTable = () => {
    const { database } = makeDatabase();
    const table = database.table('points', { size: 'int', at: vector(4, { metric: 'l2', index: false }) });
    table.insert([{ size: 1, at: Float32Array.of(0, 0, 0, 1) }, { size: 2 }]);
    return { target: table, database };
};
const onNumberedTable = () => {
    const { database } = makeDatabase();
    const table = database.table('numbered', { id: key('int'), size: 'int', at: vector(4, { element: 'f16' }) });
    table.insert([
        { id: 1, size: 1, at: Float32Array.of(0, 0, 0, 1) },
        { id: -(2n ** 62n), size: 2 },
    ]);
    return { target: table, database };
};
const onQuery = () => {
    const { database, table } = makeDatabase();
    return { target: table.where("text = 'first'"), database };
};
const onIterator = () => {
    const { database, table } = makeDatabase();
    return { target: table.iterate(), database };
};
const onFamily = () => {
    const { database } = makeDatabase();
    const family = database.createColumnFamily('family');
    family.write('k', 'v');
    return { target: family, database };
};
const onFamilyIterator = () => {
    const { target, database } = onFamily();
    return { target: target.iter(), database };
};
const onByteFamily = () => {
    const { database } = makeDatabase();
    const family = database.createColumnFamily('family', { keys: 'bytes' });
    family.write(Uint8Array.of(1), 'v');
    return { target: family, database };
};
const onVectors = () => {
    const store = new velta.DeltaVectorDB({ dimensions: 4, autoIndex: false, now });
    store.applyDelta({ vectorId: 'a', operation: { type: 'create', vector: Float32Array.of(1, 2, 3, 4) } });
    return { target: store, database: store.database };
};
const onStore = () => {
    const store = velta.ColumnStore.withPrimaryKey(
        [
            { name: 'name', type: 'string' },
            { name: 'size', type: 'int' },
        ],
        'name',
        { now },
    );
    store.insertRow({ name: 'a', size: 1 });
    return { target: store, database: store.database };
};
const onBitmap = () => {
    const { target, database } = onStore();
    return { target: target.bitmap('size = 1'), database };
};
const onModule = () => ({ target: velta });

export const QUERY = Float32Array.of(1, 0, 0, 0);
export const OPERATION = { type: 'dense', vector: Float32Array.of(1, 1, 1, 1) };
const RECORDS = velta.encodeRecords([{ key: 'a', operation: OPERATION }]);
const DELTA = { vectorId: 'a', operation: OPERATION };
const ROWS = Uint32Array.of(0);

/** How each object is made, and good arguments of its methods. */
export const METHODS = {
    'a database': [
        onDatabase,
        {
            table: ['more', { name: key('string'), at: vector(4) }],
            hasTable: ['packages'],
            dropTable: ['packages'],
            createColumnFamily: ['new', { keys: 'bytes' }],
            columnFamily: ['family', {}],
            columnFamilyOrCreate: ['family', {}],
            dropColumnFamily: ['family'],
            export: [{}],
            checkpoint: [{}],
            compact: [{ keepSince: 'all' }],
            tag: ['release'],
            tagTime: ['release'],
            linkPending: [1],
            index: [{}],
            verify: [{}],
            watch: [() => undefined],
        },
    ],
    'a table': [
        onTable,
        {
            addColumn: ['more', 'int'],
            insert: [{ ...ROW, name: 'c' }, {}],
            upsert: [{ name: 'a', size: 4 }, {}],
            insertColumns: [COLUMNS, 2],
            upsertColumns: [COLUMNS, 2],
            update: ['a', { size: 3 }],
            updateMany: [['a', 'b'], { size: [1, 2] }],
            delete: ['a'],
            get: ['a', {}],
            getMany: [['a', 'b'], {}],
            getRows: [ROWS, {}],
            getColumns: [ROWS, ['size']],
            has: ['a'],
            rowOf: ['a', 1.8e12],
            vector: ['a', {}],
            withVector: ['a', () => 1, 'embedding'],
            apply: ['a', OPERATION, {}],
            applyAll: [[{ key: 'a', operation: OPERATION }], {}],
            applyRecords: [RECORDS, {}],
            streamPosition: ['s'],
            chain: ['a', 'embedding'],
            search: [QUERY, {}],
            searchMany: [QUERY, {}],
            searchArrays: [QUERY, {}],
            where: ['size = 1'],
            setTtl: ['a', 60],
            expireAt: [['a'], [1.9e12]],
            expire: [1.8e12],
            iterate: [{}],
            watch: [() => undefined],
        },
    ],
    'a table without a key': [
        onKeylessTable,
        {
            insert: [{ size: 1 }, {}],
            upsert: [{ size: 1 }, {}],
            insertColumns: [{ size: [1, 2] }, 2],
            update: [0, { size: 3 }],
            updateMany: [[0, 1], { size: [1, 2] }],
            delete: [0],
            get: [0, {}],
            has: [0],
            apply: [0, OPERATION, {}],
            setTtl: [0, 60],
            iterate: [{}],
        },
    ],
    'a table with a number as key': [
        onNumberedTable,
        {
            insert: [{ id: 5 }, {}],
            upsert: [{ id: 5 }, {}],
            insertColumns: [{ id: BigInt64Array.of(5n) }, 1],
            update: [1, { size: 3 }],
            updateMany: [[1], { size: [1] }],
            delete: [1],
            get: [1, {}],
            has: [1],
            apply: [1, OPERATION, {}],
            setTtl: [1, 60],
            iterate: [{ start: 1 }],
        },
    ],
    'a query': [
        onQuery,
        {
            and: ['size = 1'],
            or: ['size = 1'],
            select: ['size', 'text'],
            orderBy: ['size', 'asc'],
            limit: [1],
            search: [QUERY, {}],
            aggregate: [{ n: velta.count() }],
            groupBy: ['text', { n: velta.count() }, {}],
        },
    ],
    'an iterator': [onIterator, { nextBatch: [1] }],
    'an iterator of a family': [onFamilyIterator, { nextBatch: [1] }],
    'a filter': [() => ({ target: velta.eq('size', 1) }), { and: [velta.eq('size', 2)], or: [velta.eq('size', 2)] }],
    'a column family': [
        onFamily,
        {
            write: ['k', 'v'],
            writeBatch: [[['k', 'v']]],
            read: ['k'],
            readText: ['k'],
            has: ['k'],
            delete: ['k'],
            deleteBatch: [['k']],
            iterRange: ['a', 'z'],
        },
    ],
    'a column family with bytes as keys': [
        onByteFamily,
        {
            write: [Uint8Array.of(1), 'v'],
            read: [Uint8Array.of(1)],
            delete: [Uint8Array.of(1)],
            iterRange: [Uint8Array.of(1), Uint8Array.of(2)],
        },
    ],
    'a delta vector database': [
        onVectors,
        {
            applyDelta: [DELTA],
            applyDeltas: [[DELTA]],
            applyRecords: [RECORDS, {}],
            streamPosition: ['s'],
            getVector: ['a'],
            getVectorAt: ['a', 1.8e12],
            has: ['a'],
            getDeltaChain: ['a'],
            onDelta: [() => undefined],
            search: [QUERY, 1, {}],
            searchAt: [QUERY, 1, 1.8e12],
            compact: [{}],
            tag: ['release'],
            import: [new Uint8Array(16)],
            withVector: ['a', () => 1],
            getVectorPtr: ['a'],
        },
    ],
    'a column store': [
        onStore,
        {
            addColumn: [{ name: 'more', type: 'int' }],
            insertRow: [{ name: 'b' }],
            insertRows: [[{ name: 'b' }]],
            upsertRow: [{ name: 'b' }],
            batchUpsert: [[{ name: 'b' }]],
            updateRow: ['a', 'size', 3],
            getRow: ['a'],
            deleteRow: ['a'],
            filterEq: ['size', 1],
            filterGt: ['size', 1],
            filterLt: ['size', 1],
            filterRange: ['size', 1, 2, {}],
            filterIn: ['size', [1]],
            filter: ['size = 1'],
            countEq: ['size', 1],
            countGt: ['size', 1],
            countLt: ['size', 1],
            countRange: ['size', 1, 2, {}],
            countIn: ['size', [1]],
            count: ['size = 1'],
            bitmap: ['size = 1'],
            getRowsByIndices: [ROWS],
            setRowTtl: ['a', 60],
            expireRows: [1.8e12],
            shouldVacuum: [0.5],
        },
    ],
    'a bitmap of rows': [onBitmap, { and: ['size = 1', 'size = 2'], or: ['size = 1'] }],
    'a pool of deltas': [
        () => ({ target: new velta.SharedDeltaPool(4096) }),
        {
            writeDelta: [{ key: 'a', operation: OPERATION, sequence: 1 }, {}],
            write: [{ key: 'a', operation: OPERATION, sequence: 1 }, {}],
            writeRecords: [RECORDS],
            waitForRoom: [64, {}],
            discard: [1],
        },
    ],
    'the class ColumnStore': [
        () => ({ target: velta.ColumnStore }),
        {
            withSchema: [[{ name: 'size', type: 'int' }], {}],
            withPrimaryKey: [[{ name: 'name', type: 'string' }], 'name', {}],
            import: [new Uint8Array(16), {}],
            open: [temporaryName(), { storage: 'memory' }],
        },
    ],
    'the class DeltaVectorDB': [
        () => ({ target: { open: (name) => velta.DeltaVectorDB.open(name, { storage: 'memory', dimensions: 4 }) } }),
        { open: [temporaryName()] },
    ],
    'the module': [
        onModule,
        {
            init: [{}],
            open: [temporaryName(), { storage: 'memory' }],
            restore: [temporaryName(), new Uint8Array(16), {}],
            deleteDatabase: [temporaryName(), {}],
            listDatabases: [{}],
            createDatabase: [{}],
            encodeRecords: [[{ key: 'a', operation: OPERATION }], {}],
            decodeRecords: [RECORDS],
            importDatabase: [new Uint8Array(16), {}],
            openSnapshot: [new Uint8Array(16), {}],
            eq: ['size', 1],
            ne: ['size', 1],
            lt: ['size', 1],
            lte: ['size', 1],
            gt: ['size', 1],
            gte: ['size', 1],
            between: ['size', 1, 2, {}],
            inList: ['size', [1]],
            notIn: ['size', [1]],
            like: ['text', 'a%'],
            startsWith: ['text', 'a'],
            endsWith: ['text', 'a'],
            contains: ['text', 'a'],
            filter: [['size = ', ''], 1],
            isNull: ['size'],
            notNull: ['size'],
            and: [velta.eq('size', 1), velta.eq('size', 2)],
            or: [velta.eq('size', 1), velta.eq('size', 2)],
            not: [velta.eq('size', 1)],
            key: ['int'],
            required: ['int'],
            vector: [4, {}],
            sum: ['size'],
            min: ['size'],
            max: ['size'],
            mean: ['size'],
        },
    ],
};
