/*
 * Pruning by the statistics of row groups and pages: never a row that matches, whatever the file says of its values,
 * and bytes that are really not fetched.
 */
import { expect } from 'chai';
import { createDatabase, init } from 'velta';
import { StreamingParquetReader, importParquet } from 'velta/parquet';
import { figure, origin } from '../support/harness.js';
import { COLUMNS, ROWS, expectedColumn, plain } from '../support/parquet_rows.js';
import { randomFrom } from '../support/random.js';
import { rejected } from '../support/thrown.js';

const address = (name, id = Math.random()) => `${origin}/ranges/${name}?id=${id}`;
/** Asked for twice: the server, busy with making a file, may have let the connection go. */
const bytesOf = async (name) => {
    const response = await fetch(address(name)).catch(() => fetch(address(name)));
    return new Uint8Array(await response.arrayBuffer());
};
const rowsWhere = (matches) => Array.from({ length: ROWS }, (_, i) => i).filter(matches);

// ---- random filters

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const hex = (bytes) => `x'${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}'`;

/** A value as the language writes it: one of the column's, or one beside it. */
function literal(random, type, values) {
    const value = random.pick(values);
    switch (type) {
        case 'bool':
            return value ? 'TRUE' : 'FALSE';
        case 'string':
            return quote(random.chance(0.3) ? value.slice(0, random.below(value.length + 1)) : value);
        case 'bytes':
            return hex(random.chance(0.3) ? value.subarray(0, random.below(value.length + 1)) : value);
        case 'float': {
            const near = value + random.pick([0, 0, 0.01, -0.01]);
            return Number.isFinite(near) ? String(near) : near > 0 ? '1e999' : '-1e999';
        }
        default: {
            const near = BigInt.asIntN(64, BigInt(value) + random.pick([0n, 0n, 1n, -1n]));
            return String(near);
        }
    }
}

const isText = (type) => type === 'string' || type === 'bytes';

function predicate(random, [name, type, values]) {
    if (values.length === 0 || random.chance(0.1)) return `${name} IS ${random.pick(['', 'NOT '])}NULL`;
    const value = () => literal(random, type, values);
    const kind = random.next();
    if (kind < 0.15) return `${name} ${random.pick(['', 'NOT '])}BETWEEN ${value()} AND ${value()}`;
    if (kind < 0.3) return `${name} ${random.pick(['', 'NOT '])}IN (${value()}, ${value()}, ${value()})`;
    if (kind < 0.45 && isText(type)) {
        const how = random.pick(['STARTS WITH', 'ENDS WITH', 'CONTAINS']);
        return `${name} ${random.pick(['', 'NOT '])}${how} ${value()}`;
    }
    return `${name} ${random.pick(['=', '!=', '<', '<=', '>', '>='])} ${value()}`;
}

function expression(random, columns, depth = 0) {
    if (depth < 2 && random.chance(0.5)) {
        const parts = [expression(random, columns, depth + 1), expression(random, columns, depth + 1)];
        return `${random.chance(0.2) ? 'NOT ' : ''}(${parts.join(random.pick([' AND ', ' AND ', ' OR ']))})`;
    }
    return predicate(random, random.pick(columns));
}

/** All rows of a file in a table, and what its columns hold. */
async function readWhole(reader) {
    const { columns } = await reader.readMetadata();
    const schema = Object.fromEntries(columns.map(({ name, type }) => [name, type]));
    const database = createDatabase({ autoIndex: false });
    const table = database.table('all', schema);
    const data = {};
    for (const { name, type } of columns) {
        const values = await reader.readColumn(name);
        // Tables take times beside NULLs as numbers.
        const isMixed = type === 'timestamp' && Array.isArray(values);
        data[name] = isMixed ? values.map((time) => (time === null ? null : Number(time))) : values;
    }
    const rows = Object.values(data)[0].length;
    table.insertColumns(data, rows);
    const present = columns.map(({ name, type }) => {
        const values = plain(data[name], type).filter((value) => value !== null && !Number.isNaN(value));
        return [name, type, values];
    });
    return { database, table, rows, present };
}

describe('rows by random filters', function () {
    this.timeout(200_000);
    before(() => init());
    const FILTERS_OF_FILE = 40;

    for (const writer of ['hyparquet', 'duckdb', 'arrow']) {
        it(`${writer}: those that the engine finds among all, with fewer bytes`, async () => {
            let fetched = 0;
            let stored = 0;
            for (const seed of [1, 2, 3]) {
                const bytes = await bytesOf(`random-${writer}-${seed}`);
                const { database, table, rows, present } = await readWhole(new StreamingParquetReader(bytes));
                const random = randomFrom(seed);
                const { columns } = await new StreamingParquetReader(bytes).readMetadata();
                for (let i = 0; i < FILTERS_OF_FILE; i++) {
                    const where = expression(random, present);
                    const reader = new StreamingParquetReader(bytes, { gapBytes: 0 });
                    await reader.readMetadata();
                    const before = reader.stats().bytesFetched;
                    const found = await reader.matchingRows(where);
                    const wanted = table.where(where).rows();
                    if (found.join() !== wanted.join()) {
                        throw new Error(`${writer} ${seed}: ${found.length} rows, not ${wanted.length}: ${where}`);
                    }
                    expect(reader.budget.memoryStats().usedBytes).to.equal(0);
                    fetched += reader.stats().bytesFetched - before;
                    for (const { name, storedBytes } of columns) {
                        if (new RegExp(`\\b${name}\\b`).test(where.replace(/'[^']*'/g, ''))) stored += storedBytes;
                    }
                }
                expect(rows).to.equal(4500);
                figure('parquet_filters', FILTERS_OF_FILE);
                await database.close();
            }
            // The pages have 2 kB, so that their indexes weigh, and few filters are selective.
            expect(fetched).to.be.below(stored * 0.95);
        });
    }
});

describe('altered statistics', function () {
    this.timeout(60_000);
    before(() => init());
    /** Filters, the rows that match, and what rules rows out. */
    const CASES = [
        ['sorted > 2400', (i) => i % 13 !== 0 && i > 4900, 'number'],
        ['price BETWEEN 100 AND 101', (i) => i >= 400 && i <= 404, 'float'],
        ["text = 'row 42 ü ''€'''", (i) => i === 42, 'text'],
        ["blob = x'07ff00ff'", () => false, 'bytes'],
        ['at < 1600000600010', (i) => i < 10, 'number'],
        ['price IS NULL', () => false, 'nulls'],
        ['small = 7', (i) => i % 100 === 7, 'nothing'],
    ];
    /** What still rules rows out after each change. */
    const LEFT = {
        same: ['number', 'float', 'text', 'bytes', 'nulls'],
        'no-orders': ['number', 'float', 'nulls'],
        'unknown-order': ['number', 'float', 'nulls'],
        'old-only': ['nulls'],
        none: [],
        'no-null-counts': ['number', 'float', 'text', 'bytes'],
        nan: ['number', 'text', 'bytes', 'nulls'],
        crossed: ['nulls'],
        short: ['number', 'float', 'text', 'bytes', 'nulls'],
        'broken-text': ['number', 'float', 'bytes', 'nulls'],
        'empty-max': ['number', 'float', 'nulls'],
    };

    for (const [change, left] of Object.entries(LEFT)) {
        it(`${change}: every row that matches is there`, async () => {
            for (const [where, matches, by] of CASES) {
                const database = createDatabase({ autoIndex: false });
                const { rows, rowsPruned } = await importParquet(address(`altered-${change}`), {
                    database,
                    table: 'found',
                    columns: ['id'],
                    where,
                    gapBytes: 0,
                });
                const wanted = rowsWhere(matches);
                expect(rows, where).to.equal(wanted.length);
                const ids = database.table('found').all().toArray();
                expect(
                    ids.map(({ id }) => id),
                    where,
                ).to.deep.equal(expectedColumn('id', wanted));
                if (by === 'nothing') expect(rowsPruned, where).to.equal(0);
                else expect(rowsPruned > 0, `${where}: ${rowsPruned}`).to.equal(left.includes(by));
                await database.close();
            }
        });
    }
});

describe('bytes that pruning saves', function () {
    this.timeout(60_000);
    before(() => init());

    it('of row groups that the footer rules out nothing is asked for', async () => {
        const id = Math.random();
        const reader = new StreamingParquetReader(address('duckdb-none'));
        const { rowGroups, fileBytes } = await reader.readMetadata();
        expect(rowGroups.length).to.equal(3);
        const file = address('duckdb-none', id);
        const database = createDatabase({ autoIndex: false });
        const where = 'sorted >= 2300';
        const result = await importParquet(file, { database, table: 'late', columns: ['small', 'text'], where });
        expect(result.rows).to.equal(rowsWhere((i) => i >= 4800 && i % 13 !== 0).length);
        expect(result.rowsPruned).to.equal(4096);
        const { requests } = await (await fetch(`${origin}/ranges/log?id=${id}`)).json();
        const lastGroup = fileBytes - 65_536 - rowGroups[2].storedBytes;
        expect(requests.length).to.be.within(2, 4);
        for (const { range } of requests) {
            const [start] = range.slice('bytes='.length).split('-').map(Number);
            if (start !== 0 || range !== 'bytes=-65536') expect(start, range).to.be.above(lastGroup);
        }
        await database.close();
    });

    it('a filter that no group can match fetches the footer alone', async () => {
        for (const where of ['small > 100', "name > 'zebra' OR price < 0", 'FALSE', 'price IS NULL']) {
            const database = createDatabase({ autoIndex: false });
            const result = await importParquet(address('arrow-zstd'), { database, table: 'none', where });
            expect([result.rows, result.rowsPruned, result.requests], where).to.deep.equal([0, ROWS, 1]);
            await database.close();
        }
    });

    it('of pages that their indexes rule out nothing is fetched, of the filter’s own columns too', async () => {
        const where = 'price BETWEEN 300 AND 301 AND id > 0';
        const fetchedFor = async (name) => {
            const reader = new StreamingParquetReader(address(name), { gapBytes: 64, footerBytes: 16_384 });
            const { columns } = await reader.readMetadata();
            const before = reader.stats().bytesFetched;
            expect([...(await reader.matchingRows(where))]).to.deep.equal([1200, 1201, 1202, 1203, 1204]);
            const own = columns.filter((column) => ['price', 'id'].includes(column.name));
            const stored = own.reduce((total, { storedBytes }) => total + storedBytes, 0);
            return (reader.stats().bytesFetched - before) / stored;
        };
        expect(await fetchedFor('arrow-plain')).to.be.below(0.2); // page indexes: a few pages and the indexes
        expect(await fetchedFor('duckdb-none')).to.be.within(0.3, 0.6); // one group of three, whole
    });

    it('rows by a filter, and then their values: late materialisation in two calls', async () => {
        const reader = new StreamingParquetReader(address('arrow-snappy'), { gapBytes: 0 });
        const rows = await reader.matchingRows("name = 'name 7' AND sorted < 0");
        expect([...rows]).to.deep.equal(rowsWhere((i) => i % 50 === 7 && i % 11 !== 0 && i % 13 !== 0 && i < 2500));
        const { embedding } = await reader.selectByIndices(['embedding'], rows);
        expect(plain(embedding, 'vector')).to.deep.equal(expectedColumn('embedding', rows));
        const late = await reader.matchingRows('sorted > 2490');
        expect(late.every((row) => row > 4990)).to.equal(true);
        expect([...(await reader.matchingRows(''))]).to.deep.equal(rowsWhere(() => true));
        await rejected('SYNTAX', undefined, reader.matchingRows('small ='));
        await rejected('INVALID', /filter/, reader.matchingRows(7));
        await rejected(
            'UNSUPPORTED',
            /DECIMAL/,
            new StreamingParquetReader(address('nested')).matchingRows('price > 1'),
        );
        await rejected('CANCELLED', undefined, reader.matchingRows('small = 1', { signal: AbortSignal.abort() }));
        expect(reader.budget.memoryStats().usedBytes).to.equal(0);
        expect(Object.keys(COLUMNS)).to.include('sorted');
    });
});
