/*
 * StreamingParquetReader over files that DuckDB, Arrow and hyparquet-writer made: every column of every file, rows by
 * number, what is fetched for them, and files that are damaged at random.
 */
import { expect } from 'chai';
import { VeltaError } from 'velta';
import { MemoryBudget, RangeClient, StreamingParquetReader } from 'velta/parquet';
import { figure, origin } from '../support/harness.js';
import { COLUMNS, ROWS, expectedColumn, plain } from '../support/parquet_rows.js';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';
import { ZSTD_REFUSALS } from '../support/zstd_frames.js';

const FILES = [
    ...['snappy', 'zstd', 'gzip', 'lz4', 'none', 'v2'].map((name) => `duckdb-${name}`),
    ...['snappy', 'zstd', 'none', 'plain'].map((name) => `arrow-${name}`),
    ...['snappy', 'none'].map((name) => `hyparquet-${name}`),
];
const address = (name, query = '') => `${origin}/ranges/${name}?id=${Math.random()}&${query}`;
const bytesOf = async (name) => new Uint8Array(await (await fetch(address(name))).arrayBuffer());
const someRows = Uint32Array.from({ length: 60 }, (_, i) => (i * 977 + 4999) % ROWS);

describe('Parquet files as they are written', function () {
    this.timeout(60_000);
    for (const name of FILES) {
        it(`${name}: every column, over ranges, and rows by number`, async () => {
            const budget = new MemoryBudget();
            const reader = new StreamingParquetReader(address(name), { budget });
            const { rows, columns, rowGroups } = await reader.readMetadata();
            expect(reader.stats().requests).to.equal(1);
            expect(rows).to.equal(ROWS);
            expect(rowGroups.length).to.be.at.least(3);
            expect(columns.map((column) => column.name)).to.deep.equal(
                Object.keys(COLUMNS).filter((each) => each !== 'embedding' || !name.startsWith('hyparquet')),
            );
            for (const column of columns) {
                const [type] = COLUMNS[column.name];
                expect(column.type, column.name).to.equal(type);
                const values = plain(await reader.readColumn(column.name), type);
                expect(values, column.name).to.deep.equal(expectedColumn(column.name));
            }
            const names = columns.map((column) => column.name);
            const picked = await reader.selectByIndices(names, someRows);
            for (const column of names) {
                expect(plain(picked[column], COLUMNS[column][0])).to.deep.equal(expectedColumn(column, someRows));
            }
            const { usedBytes, peakBytes, held } = budget.memoryStats();
            expect([usedBytes, held]).to.deep.equal([0, 0]);
            expect(peakBytes).to.be.above(100_000);
        });
    }

    it('a row group by its number, from bytes and from a Blob', async () => {
        const bytes = await bytesOf('arrow-zstd');
        for (const source of [bytes, bytes.buffer, new Blob([bytes])]) {
            const group = await new StreamingParquetReader(source).readRowGroup(2, { columns: ['id', 'name'] });
            const rows = Array.from({ length: 1000 }, (_, i) => 4000 + i);
            expect(Object.keys(group)).to.deep.equal(['id', 'name']);
            expect(group.id).to.be.instanceOf(BigInt64Array);
            expect(plain(group.id, 'int')).to.deep.equal(expectedColumn('id', rows));
            expect(group.name).to.deep.equal(expectedColumn('name', rows));
        }
        const reader = new StreamingParquetReader(bytes);
        expect(Object.keys(await reader.readRowGroup(0))).to.deep.equal(Object.keys(COLUMNS));
        await rejected('NOT_FOUND', /there are 3/, reader.readRowGroup(3));
        await rejected('NOT_FOUND', undefined, reader.readRowGroup('0'));
    });

    it('vectors as fixed bytes, where they are asked for', async () => {
        const reader = new StreamingParquetReader(address('fixed'));
        expect((await reader.readMetadata()).columns[0]).to.include({ type: 'bytes', byteLength: 32 });
        const values = await reader.readColumn('embedding', { vectors: ['embedding'] });
        expect(plain(values, 'vector')).to.deep.equal(expectedColumn('embedding'));
        const [first] = await reader.readColumn('embedding');
        expect(new Float32Array(first.slice().buffer)).to.deep.equal(COLUMNS.embedding[1](0));
    });

    it('types by their rules; what has none is refused in a sentence', async () => {
        const reader = new StreamingParquetReader(address('nested'));
        expect([...(await reader.readColumn('tiny'))]).to.deep.equal([0n, 1n, 2n]);
        expect((await reader.readColumn('word'))[0]).to.equal(4294967295n);
        expect([...(await reader.readColumn('day'))]).to.deep.equal([-86_400_000n, 0n, 86_400_000n]);
        expect([...(await reader.readColumn('nanos'))]).to.deep.equal([-1n, -1n, -1n]);
        expect(plain(await reader.readColumn('doubles'))).to.deep.equal([1.5, 0, 1.5, 1, 1.5, 2]);
        expect(await reader.readColumn('maybe')).to.deep.equal([Float32Array.of(0), null, Float32Array.of(2)]);
        await rejected('LIMIT', /'huge'/, reader.readColumn('huge'));
        const refusals = { price: /DECIMAL/, clock: /TIME/, pair: /struct/, words: /list/, deep: /nested/ };
        for (const [name, message] of Object.entries(refusals)) {
            await rejected('UNSUPPORTED', message, reader.readColumn(name));
        }
        await rejected('NOT_NULL', /NULL/, reader.readColumn('holes'));
        await rejected('DIMENSIONS', /0 elements/, reader.readColumn('empty'));
        await rejected('DIMENSIONS', /2 elements, not 1/, reader.readColumn('uneven'));
        await rejected('TYPE', /no vector/, reader.readColumn('tiny', { vectors: ['tiny'] }));
        await rejected('NOT_FOUND', /there are tiny, huge/, reader.readColumn('absent'));
    });

    it('structs and maps as the first columns and behind lists: the others are read', async () => {
        const reader = new StreamingParquetReader(address('structs'));
        const { columns } = await reader.readMetadata();
        expect(columns.map(({ name, type }) => [name, type])).to.deep.equal([
            ['first', null],
            ['pairs', null],
            ['list', 'vector'],
            ['pair', null],
            ['id', 'int'],
        ]);
        const stored = Object.fromEntries(columns.map(({ name, storedBytes }) => [name, storedBytes]));
        expect(Math.min(stored.first, stored.pairs, stored.pair)).to.be.above(stored.id);
        expect(Array.from(await reader.readColumn('id'))).to.deep.equal([0n, 1n, 2n, 3n, 4n]);
        expect((await reader.readColumn('list')).slice(0, 4)).to.deep.equal(Float32Array.of(0, 1, 1, 1));
        await rejected('UNSUPPORTED', /struct or a map/, reader.readColumn('pairs'));
    });

    it('a codec that is not built in: refused, or by the caller’s decompressor', async () => {
        await rejected('UNSUPPORTED', /BROTLI/, new StreamingParquetReader(address('brotli')).readColumn('i'));
        let asked = 0;
        const decompressors = {
            BROTLI: (packed, length) => {
                asked += packed.length;
                return new Uint8Array(length - 1);
            },
        };
        const reader = new StreamingParquetReader(address('brotli'), { decompressors });
        await rejected('CORRUPT', /unpacks to another length/, reader.readColumn('i'));
        expect(asked).to.be.above(0);
    });

    it('refuses what is no file, no option, no row', async () => {
        for (const source of [null, undefined, 7, {}, [], { read: 1 }]) {
            thrown('INVALID', undefined, () => new StreamingParquetReader(source));
        }
        thrown('INVALID', /no option/, () => new StreamingParquetReader(new Uint8Array(0), { cache: 1 }));
        thrown('INVALID', /footerBytes/, () => new StreamingParquetReader(new Uint8Array(0), { footerBytes: 1 }));
        const reader = new StreamingParquetReader(address('arrow-none'));
        const error = await rejected('LIMIT', /row 5000/, reader.selectByIndices(['id'], Uint32Array.of(1, 5000)));
        expect(error.offset).to.equal(1);
        await rejected('INVALID', /Uint32Array/, reader.selectByIndices(['id'], [1]));
        expect(await reader.selectByIndices(['id'], new Uint32Array(0))).to.deep.equal({ id: [] });
        for (const bytes of [[], [80, 65, 82, 49], new Array(100).fill(0)]) {
            await rejected('CORRUPT', undefined, new StreamingParquetReader(Uint8Array.from(bytes)).readMetadata());
        }
    });
});

describe('what is fetched', () => {
    it('a footer larger than the first request takes a second one', async () => {
        const reader = new StreamingParquetReader(address('arrow-none'), { footerBytes: 64 });
        expect((await reader.readMetadata()).rows).to.equal(ROWS);
        expect(reader.stats().requests).to.equal(2);
        await reader.readMetadata();
        expect(reader.stats().requests).to.equal(2);
    });

    it('the pages of wanted rows alone, by the offset index', async () => {
        const options = { gapBytes: 100, footerBytes: 16_384 };
        const all = new StreamingParquetReader(address('arrow-none'), options);
        await all.readMetadata();
        const before = all.stats().bytesFetched;
        await all.readColumn('embedding');
        const whole = all.stats().bytesFetched - before;
        const reader = new StreamingParquetReader(address('arrow-none'), options);
        await reader.readMetadata();
        const rows = Uint32Array.of(17, 2500, 2501);
        const { embedding } = await reader.selectByIndices(['embedding'], rows);
        expect(plain(embedding, 'vector')).to.deep.equal(expectedColumn('embedding', rows));
        expect(reader.stats().bytesFetched - before).to.be.below(whole / 4);
    });

    it('columns that lie together come in one request', async () => {
        const reader = new StreamingParquetReader(address('duckdb-zstd'));
        await reader.readMetadata();
        await reader.readRowGroup(0);
        expect(reader.stats().requests).to.equal(2);
    });

    it('nothing beyond the budget', async () => {
        const budget = new MemoryBudget(20_000);
        const reader = new StreamingParquetReader(address('arrow-none'), { budget, footerBytes: 8192 });
        await reader.readMetadata();
        const error = await rejected('OVER_BUDGET', /needs/, reader.readColumn('embedding'));
        expect(error.message).to.include('20000');
        expect(budget.memoryStats().usedBytes).to.equal(0);
        expect(budget.memoryStats().peakBytes).to.be.at.most(20_000);
    });

    it('copies of one value of a dictionary are charged before they are made', async () => {
        const budget = new MemoryBudget(20_000_000);
        const reader = new StreamingParquetReader(address('repeated'), { budget });
        await rejected('OVER_BUDGET', /needs 1000000 bytes/, reader.readColumn('blob'));
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
    });

    it('servers that change the file, ignore ranges or fail', async () => {
        const changing = new StreamingParquetReader(address('arrow-none', 'changed=2'));
        await changing.readMetadata();
        await rejected('CHANGED', undefined, changing.readColumn('id'));
        const ignoring = new StreamingParquetReader(address('arrow-none', 'ignore'));
        await rejected('UNSUPPORTED', /allowWhole/, ignoring.readMetadata());
        const client = new RangeClient(address('arrow-none', 'ignore'), { allowWhole: true });
        const ids = await new StreamingParquetReader(client).readColumn('id');
        expect(plain(ids, 'int')).to.deep.equal(expectedColumn('id'));
        expect(client.stats().requests).to.equal(1);
        const failing = new StreamingParquetReader(address('arrow-none', 'status=503&times=2'));
        expect((await failing.readMetadata()).rows).to.equal(ROWS);
        const stop = new AbortController();
        const slow = new StreamingParquetReader(address('arrow-none', 'slow=500'), { signal: stop.signal });
        setTimeout(() => stop.abort(), 30);
        await rejected('CANCELLED', undefined, slow.readMetadata());
    });
});

/** A file of nothing but a footer. */
function fileWith(footer) {
    const magic = [80, 65, 82, 49];
    const length = new Uint8Array(Uint32Array.of(footer.length).buffer);
    return Uint8Array.from([...magic, ...footer, ...length, ...magic]);
}

describe('footers and pages that promise what is not there', () => {
    /** Lists of 16,777,216 lists each, one in the other: room for each at once would be gigabytes. */
    const lists = [0x19, ...Array.from({ length: 60 }, () => [0xf9, 0x80, 0x80, 0x80, 0x08]).flat()];
    /** A number of 2,100,000 bits, which is put together in a time of its square. */
    const number = [0x16, ...new Array(300_000).fill(0xff), 0x01, 0x00];

    it('lists of lists, and a number without end, in a footer', async () => {
        for (const footer of [lists, number, [0x1c, ...new Array(5000).fill(0x1c)]]) {
            const begin = performance.now();
            const reader = new StreamingParquetReader(fileWith(footer));
            await rejected('CORRUPT', /footer cannot be read/, reader.readMetadata());
            expect(performance.now() - begin).to.be.below(2000);
        }
    });

    it('the same before a page', async () => {
        const bytes = await bytesOf('hyparquet-none');
        bytes.set(lists, 4); // the first page begins there
        await rejected('CORRUPT', /no header/, new StreamingParquetReader(bytes).readColumn('id'));
    });
});

/** What reading everything gives: 'right', 'other' values, or a code. */
async function outcome(bytes, budget, names) {
    try {
        const reader = new StreamingParquetReader(bytes, { budget });
        const { columns } = await reader.readMetadata();
        for (const { name, type } of columns) if (type !== null && names.includes(name)) await reader.readColumn(name);
        await reader.selectByIndices(
            names.filter((name) => columns.some((column) => column.name === name && column.type !== null)),
            Uint32Array.of(3, 900),
        );
        return 'read';
    } catch (error) {
        if (!(error instanceof VeltaError)) throw error;
        return error.code;
    }
}

describe('damaged files', function () {
    this.timeout(120_000);
    const CODES = ['read', 'CORRUPT', 'UNSUPPORTED', 'LIMIT', 'OVER_BUDGET', 'DIMENSIONS', 'NOT_NULL', 'NOT_FOUND'];

    it('frames of zstd that say what is not so, or say it in another way', async () => {
        const read = async (kind) => {
            const budget = new MemoryBudget();
            try {
                return await new StreamingParquetReader(address(`frames-${kind}`), { budget }).readColumn('id');
            } finally {
                expect(budget.memoryStats().usedBytes, kind).to.equal(0);
                expect(budget.memoryStats().peakBytes, kind).to.be.below(1 << 20);
            }
        };
        const ids = BigInt64Array.from({ length: 100 }, (_, i) => BigInt(i));
        for (const [kind, message] of Object.entries(ZSTD_REFUSALS)) {
            await rejected('CORRUPT', message, read(kind));
            expect(await read('two'), `after ${kind}`).to.deep.equal(ids);
        }
        expect(await read('window')).to.deep.equal(ids);
    });

    for (const name of ['duckdb-snappy', 'duckdb-zstd', 'duckdb-gzip', 'duckdb-v2', 'duckdb-lz4', 'arrow-none']) {
        it(`${name}: each is read or refused with a code, within the budget and soon`, async () => {
            const bytes = await bytesOf(name);
            const random = randomFrom(name.length * 7919 + name.charCodeAt(7));
            const counts = {};
            let longest = 0;
            for (let round = 0; round < 60; round++) {
                const damaged = bytes.slice(0, random.chance(0.1) ? random.below(bytes.length) : bytes.length);
                const inFooter = random.chance(0.5);
                for (let i = random.below(4); i >= 0 && damaged.length > 0; i--) {
                    const at = inFooter ? damaged.length - 1 - random.below(Math.min(3000, damaged.length)) : 0;
                    const place = inFooter ? at : random.below(damaged.length);
                    damaged[place] = random.chance(0.5) ? random.below(256) : damaged[place] ^ (1 << random.below(8));
                }
                const budget = new MemoryBudget(64 << 20);
                const begin = performance.now();
                const names = ['id', 'name', 'text', 'ratio', 'flag', 'embedding'];
                const code = await outcome(damaged, budget, names);
                longest = Math.max(longest, performance.now() - begin);
                expect(CODES, `round ${round}`).to.include(code);
                expect(budget.memoryStats().usedBytes, `round ${round}`).to.equal(0);
                counts[code] = (counts[code] ?? 0) + 1;
            }
            expect(counts.CORRUPT).to.be.above(10);
            expect(longest).to.be.below(5000);
            figure('parquet_damaged', 60);
        });
    }
});
