/*
 * importParquet and LateMaterializationExecutor: the rows that a filter leaves, against the same filter over all rows,
 * and what was fetched for them.
 */
import { expect } from 'chai';
import { VeltaError, createDatabase, gt, init, key, vector } from 'velta';
import { LateMaterializationExecutor, MemoryBudget, StreamingParquetReader, importParquet } from 'velta/parquet';
import { origin } from '../support/harness.js';
import { COLUMNS, DIMENSIONS, ROWS, expectedColumn, plain } from '../support/parquet_rows.js';
import { errorOf } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';
import { askWorker, startWorker } from '../support/workers.js';

const address = (name, query = '') => `${origin}/ranges/${name}?id=${Math.random()}&${query}`;
const SCHEMA = {
    id: key('int'),
    small: 'int',
    sorted: 'int',
    name: 'string',
    text: 'string',
    price: 'float',
    flag: 'bool',
    at: 'timestamp',
    blob: 'bytes',
    embedding: vector(DIMENSIONS),
};
const open = () => createDatabase({ autoIndex: false }).table('rows', SCHEMA);

/** A row of the table as the file's rows say. */
function expectedRow(i) {
    const row = Object.fromEntries(Object.keys(SCHEMA).map((name) => [name, COLUMNS[name][1](i)]));
    const number = (value) => (value === null || value > 2n ** 53n ? value : Number(value));
    return { ...row, small: number(row.small), sorted: number(row.sorted), at: new Date(Number(row.at)) };
}

const FILTERS = {
    '': () => true,
    'small = 7': (i) => i % 100 === 7,
    "name = 'name 3' AND price BETWEEN 100 AND 300": (i) => i % 11 !== 0 && i % 50 === 3 && i >= 400 && i <= 1200,
    'sorted IS NULL OR sorted > 2400': (i) => i % 13 === 0 || i > 4900,
    'flag AND NOT small < 95': (i) => i % 3 === 0 && i % 100 >= 95,
    "text STARTS WITH 'row 42'": (i) => String(i).startsWith('42'),
    '"id" = 9007199254745991': (i) => i === 4998,
    'small > 100': () => false,
};

describe('importParquet', function () {
    this.timeout(60_000);
    before(() => init());

    for (const file of ['duckdb-zstd', 'duckdb-v2', 'arrow-snappy', 'arrow-plain']) {
        it(`${file}: the rows that each filter leaves`, async () => {
            for (const [where, matches] of Object.entries(FILTERS)) {
                const table = open();
                const budget = new MemoryBudget();
                const result = await importParquet(address(file), { table, where, budget });
                const rows = Array.from({ length: ROWS }, (_, i) => i).filter(matches);
                expect(result.rows, where).to.equal(rows.length);
                expect(result.selectivity).to.equal(rows.length / ROWS);
                expect(result.bytesFetched + result.bytesSaved).to.be.at.least(result.fileBytes);
                expect(table.all().toArray(), where).to.deep.equal(rows.map(expectedRow));
                expect(budget.memoryStats().usedBytes).to.equal(0);
                await table.database.close();
            }
        });
    }

    it('columns by other names, a vector, a filter that was built, progress', async () => {
        const db = createDatabase();
        const table = db.table('few', { number: 'int', label: 'string', meaning: vector(DIMENSIONS) });
        const told = [];
        const result = await importParquet(address('arrow-none'), {
            table,
            columns: { number: 'small', label: 'name' },
            vector: 'embedding',
            where: gt('price', 1240),
            onProgress: (progress) => told.push(progress),
        });
        expect(result.rows).to.equal(39);
        const [first] = table.all().toArray();
        expect(first).to.deep.equal({ number: 61, label: null, meaning: COLUMNS.embedding[1](4961) });
        expect(told.map(({ rowsRead }) => rowsRead)).to.deep.equal([5000]); // statistics rule out the other groups
        expect(told.at(-1)).to.include({ rowsWritten: 39, rows: ROWS });
        expect(table.search(COLUMNS.embedding[1](4970), { k: 1 })[0].distance).to.be.below(1e-6);
        await db.close();
    });

    it('vectors of fixed bytes', async () => {
        const table = createDatabase({ autoIndex: false }).table('v', { embedding: vector(DIMENSIONS) });
        expect((await importParquet(address('fixed'), { table })).rows).to.equal(ROWS);
        expect(table.vector(4321)).to.deep.equal(COLUMNS.embedding[1](4321));
    });

    it('a selective filter fetches few of the other columns’ bytes', async () => {
        const options = { gapBytes: 256, where: 'id = 9007199254742000' };
        const table = open();
        const result = await importParquet(address('arrow-plain'), { ...options, table });
        expect(result.rows).to.equal(1);
        const { columns } = await new StreamingParquetReader(address('arrow-plain')).readMetadata();
        const { storedBytes } = columns.find(({ name }) => name === 'id');
        // Beside the filter's column: the end of the file, a few indexes and a page of each column of one group.
        expect(result.bytesFetched - storedBytes - 65_536).to.be.below((result.fileBytes - storedBytes) / 4);
        expect(result.bytesSaved).to.equal(result.fileBytes - result.bytesFetched);
    });

    it('upsert changes rows that are there; insert refuses them', async () => {
        const table = open();
        await importParquet(address('duckdb-snappy'), { table, where: 'small = 1' });
        await rejected('EXISTS', undefined, importParquet(address('duckdb-snappy'), { table, where: 'small < 2' }));
        const all = await importParquet(address('duckdb-snappy'), { table, where: 'small < 2', upsert: true });
        expect([all.rows, table.liveCount]).to.deep.equal([100, 100]);
    });

    it('errors of the filter have their position; of types and names a sentence', async () => {
        const run = (more) => importParquet(address('arrow-none'), { table: open(), ...more });
        const unknown = await rejected('UNKNOWN_COLUMN', /nope/, run({ where: 'small = 1 AND nope = 2' }));
        expect(unknown.offset).to.equal(14);
        await rejected('SYNTAX', undefined, run({ where: 'small = ' }));
        await rejected('TYPE', undefined, run({ where: "small = 'x'" }));
        await rejected('TYPE', /vector/, run({ where: 'embedding IS NULL' }));
        await rejected('UNKNOWN_COLUMN', /no column 'other'/, run({ columns: ['other'] }));
        await rejected('NOT_FOUND', /no column 'other'/, run({ columns: { small: 'other' } }));
        await rejected('TYPE', /is string, column 'small' of the table int/, run({ columns: { small: 'name' } }));
        await rejected('INVALID', /no option/, run({ filter: '' }));
        await rejected('INVALID', /filter/, run({ where: 7 }));
        await rejected('INVALID', /table/, importParquet(address('arrow-none'), {}));
        const narrow = createDatabase().table('t', { embedding: vector(DIMENSIONS / 2) });
        await rejected('DIMENSIONS', /of 8 elements.*of 4/, run({ table: narrow }));
        expect(narrow.rowCount).to.equal(0);
    });

    it('is cancelled; a server that fails or changes the file; a budget that is too small', async () => {
        const stop = new AbortController();
        const table = open();
        const run = importParquet(address('arrow-none'), {
            table,
            signal: stop.signal,
            onProgress: () => stop.abort(),
        });
        await rejected('CANCELLED', undefined, run);
        expect(table.liveCount).to.equal(2000); // the first group, whole
        const where = 'small = 5';
        await rejected(
            'CHANGED',
            undefined,
            importParquet(address('arrow-none', 'changed=3'), { table: open(), where }),
        );
        const lossy = address('arrow-none', 'cut=500&times=2');
        expect((await importParquet(lossy, { table: open(), where })).rows).to.equal(50);
        const budget = new MemoryBudget(90_000);
        await rejected('OVER_BUDGET', undefined, importParquet(address('arrow-none'), { table: open(), budget }));
        expect(budget.memoryStats().usedBytes).to.equal(0);
        const own = new Error('own');
        const throws = () => {
            throw own;
        };
        const thrownError = await errorOf(() =>
            importParquet(address('arrow-none'), { table: open(), where, onProgress: throws }),
        );
        expect(thrownError).to.equal(own);
        expect(thrownError).to.not.be.instanceOf(VeltaError);
    });
});

describe('importParquet into a table that it makes', function () {
    this.timeout(60_000);
    before(() => init());
    const make = (source, options) => {
        const database = createDatabase({ autoIndex: false });
        return importParquet(source, { database, table: 'made', ...options }).then((result) => ({
            database,
            ...result,
        }));
    };

    it('all columns, with the types of the file', async () => {
        const { database, table, rows } = await make(address('duckdb-zstd'), { key: 'id' });
        expect(rows).to.equal(ROWS);
        expect(database.tableNames()).to.deep.equal(['made']);
        const types = Object.fromEntries(Object.entries(table.schema).map(([name, { type }]) => [name, type]));
        expect(types).to.deep.equal(Object.fromEntries(Object.entries(COLUMNS).map(([name, [type]]) => [name, type])));
        expect([table.keyColumn, table.schema.embedding.dimensions]).to.deep.equal(['id', DIMENSIONS]);
        const row = table.get(COLUMNS.id[1](4321));
        expect([row.text, row.embedding]).to.deep.equal([COLUMNS.text[1](4321), COLUMNS.embedding[1](4321)]);
        await database.close();
    });

    it('columns by other names, fixed bytes as vectors, a key of text; then again, where it is there', async () => {
        const { database, table, rows } = await make(address('fixed'), {
            columns: { meaning: 'embedding' },
            vector: 'embedding',
        });
        expect([rows, table.schema.meaning.dimensions]).to.deep.equal([ROWS, DIMENSIONS]);
        expect(table.vector(4321)).to.deep.equal(COLUMNS.embedding[1](4321));
        const options = { database, table: 'texts', key: 'label', columns: { label: 'text', n: 'small' } };
        await importParquet(address('arrow-none'), { ...options, where: 'small < 2' });
        const more = await importParquet(address('arrow-none'), { ...options, where: 'small < 3', upsert: true });
        expect([more.table.keyColumn, more.rows, more.table.liveCount]).to.deep.equal(['label', 150, 150]);
        await rejected('INVALID', /key/, importParquet(address('arrow-none'), { ...options, key: 'n' }));
        const wrong = { ...options, key: 'label', columns: { n: 'text' } };
        await rejected('TYPE', /is string, column 'n' of the table int/, importParquet(address('arrow-none'), wrong));
        await database.close();
    });

    it('without a row that matches, where the length of lists follows from their number', async () => {
        const { database, table, rows } = await make(address('arrow-none'), { where: 'small > 100' });
        expect([rows, table.schema.embedding.dimensions, table.rowCount]).to.deep.equal([0, DIMENSIONS, 0]);
        await database.close();
        const columns = ['tiny', 'holes'];
        const unknown = await make(address('nested'), { columns, where: 'tiny > 100' });
        expect([unknown.table === null, unknown.database.tableNames()]).to.deep.equal([true, []]);
        const even = await make(address('nested'), { columns: ['tiny', 'word'], where: 'tiny > 100' });
        expect(even.database.tableNames()).to.deep.equal(['made']);
    });

    it('what is refused leaves no table', async () => {
        const database = createDatabase();
        const run = (more) => importParquet(address('arrow-none'), { database, table: 'made', ...more });
        await rejected('INVALID', /key/, run({ key: 'price' }));
        await rejected('UNKNOWN_COLUMN', /key/, run({ key: 'absent' }));
        await rejected('NOT_FOUND', /absent/, run({ columns: ['absent'] }));
        await rejected('SYNTAX', undefined, run({ where: 'small =' }));
        await rejected('TYPE', /no vector/, run({ vector: 'small' }));
        await rejected('INVALID', /database/, run({ database: undefined }));
        await rejected('INVALID', /given by name/, run({ table: open() }));
        await rejected('INVALID', /table name|name/, run({ table: '' }));
        await rejected('OVER_BUDGET', undefined, run({ budget: new MemoryBudget(90_000) }));
        await rejected('EXISTS', undefined, run({ key: 'small' })); // the table was there, for its first rows
        await rejected('NOT_NULL', undefined, run({ key: 'name' }));
        await rejected(
            'DIMENSIONS',
            undefined,
            importParquet(address('nested'), { database, table: 'made', columns: ['uneven'] }),
        );
        expect(database.tableNames()).to.deep.equal([]);
        await database.close();
    });
});

describe('in a worker', () => {
    it('the reader, importParquet and the search over what came', async () => {
        const worker = await startWorker(new URL('realms/parquet_worker.js', import.meta.url).href);
        const query = COLUMNS.embedding[1](4970);
        const asked = { url: address('arrow-snappy'), where: 'price > 1240', query };
        const { rows, nearest, isMain, names, bytesFetched, progress } = await askWorker(worker, asked);
        expect([rows, nearest < 1e-6, isMain]).to.deep.equal([39, true, false]);
        expect(names).to.deep.equal(expectedColumn('name', [4961, 4962]));
        expect(bytesFetched).to.be.above(0);
        expect(progress.at(-1)).to.include({ rowsWritten: 39, rows: ROWS, bytesFetched });
    });
});

describe('LateMaterializationExecutor', () => {
    it('finds rows column by column, and what is read of them is right', async () => {
        const budget = new MemoryBudget();
        const reader = new StreamingParquetReader(address('arrow-zstd'), { budget });
        const executor = new LateMaterializationExecutor(budget);
        expect(executor.selectivity).to.equal(1);
        const small = executor.filterIndices(await reader.readColumn('small'), (value) => value < 10n);
        expect(executor.selectivity).to.equal(0.1);
        const names = await reader.readColumn('name');
        const rows = executor.filterIndices(names, (value) => value === 'name 3', { among: small });
        expect(executor.selectivity).to.be.closeTo(0.0092, 0.001);
        expect(executor.memoryStats().usedBytes).to.equal(small.byteLength + rows.byteLength);
        const { embedding, name } = await reader.selectByIndices(['embedding', 'name'], rows);
        expect(plain(embedding, 'vector')).to.deep.equal(expectedColumn('embedding', rows));
        expect(new Set(name)).to.deep.equal(new Set(['name 3']));
        executor.release();
        expect(budget.memoryStats().usedBytes).to.equal(0);
    });

    it('refuses what is no column, no predicate, no budget left', () => {
        const executor = new LateMaterializationExecutor(new MemoryBudget(100));
        const all = () => true;
        thrown('INVALID', /column/, () => executor.filterIndices({ length: 2 }, all));
        thrown('INVALID', /predicate/, () => executor.filterIndices([1], 'x'));
        thrown('INVALID', /among/, () => executor.filterIndices([1], all, { among: [0] }));
        thrown('INVALID', /no row 1/, () => executor.filterIndices([1], all, { among: Uint32Array.of(1) }));
        thrown('OVER_BUDGET', undefined, () => executor.filterIndices(new Float64Array(26), all));
        thrown('INVALID', /MemoryBudget/, () => new LateMaterializationExecutor({}));
        expect(executor.memoryStats().usedBytes).to.equal(0);
    });
});
