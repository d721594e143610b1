/*
 * velta/arrow: files of apache-arrow and arrow-rs into tables, tables out and back, what apache-arrow reads of them,
 * and files that are damaged at random.
 */
import { expect } from 'chai';
import { VeltaError, createDatabase, deleteDatabase, gt, init, key, open as openStored, required, vector } from 'velta';
import { MemoryBudget, exportArrow, exportArrowStream, importArrow } from 'velta/arrow';
import { figure, isNode, origin } from '../support/harness.js';
import { COLUMNS, ROWS } from '../support/parquet_rows.js';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';
import { askWorker, place, startWorker } from '../support/workers.js';
import { ZSTD_REFUSALS } from '../support/zstd_frames.js';

const fetched = async (name) => fetch(`${origin}/ranges/${name}?id=${Math.random()}`);
const bytesOf = async (name) => new Uint8Array(await (await fetched(name)).arrayBuffer());
const open = () => createDatabase({ autoIndex: false });

/** Row i as the rows of parquet_rows.js say. */
function expectedRow(i) {
    const safe = (value) => (typeof value === 'bigint' && value < 2n ** 53n ? Number(value) : value);
    const row = Object.fromEntries(Object.entries(COLUMNS).map(([name, [, value]]) => [name, safe(value(i))]));
    return { ...row, at: new Date(Number(COLUMNS.at[1](i))) };
}
const expected = Array.from({ length: ROWS }, (_, i) => expectedRow(i));

/** Bytes in chunks of odd lengths, as a network gives them. */
async function* chunks(bytes, size) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

const ALL = {
    id: key('int'),
    number: 'int',
    real: 'float',
    flag: 'bool',
    text: 'string',
    at: 'timestamp',
    blob: 'bytes',
    must: required('string'),
    meaning: vector(3),
};
const VALUES = [
    {
        id: 9007199254740993n,
        number: -9223372036854775808n,
        real: -0,
        flag: true,
        text: '',
        at: new Date(-1),
        blob: new Uint8Array(0),
        must: '',
        meaning: Float32Array.of(1, -0, 3e-39),
    },
    { id: -5, number: null, real: null, flag: null, text: null, at: null, blob: null, must: 'ü€😀\0', meaning: null },
    {
        id: 7,
        number: 9223372036854775807n,
        real: NaN,
        flag: false,
        text: '\uFEFFbyte order',
        at: new Date(8.64e15),
        blob: Uint8Array.of(0, 255),
        must: 'x',
        meaning: Float32Array.of(0, 0, 1),
    },
    { id: 8, number: 0, real: -Infinity, flag: true, text: 'x', at: new Date(0), blob: null, must: 'y', meaning: null },
];
const inKeyOrder = [VALUES[1], VALUES[2], VALUES[3], VALUES[0]];

function filled(rows = VALUES) {
    const table = open().table('all', ALL);
    if (rows.length > 0) table.insert(rows);
    return table;
}

describe('importArrow', function () {
    this.timeout(60_000);
    before(() => init());

    for (const name of ['arrow-js-file', 'arrow-js-stream', 'arrow-rs-stream', 'packed-lz4', 'packed-zstd']) {
        it(`${name}: every value, from bytes, a response, a Blob and chunks`, async () => {
            const bytes = await bytesOf(name);
            const sources = [bytes, bytes.buffer, await fetched(name), new Blob([bytes]), chunks(bytes, 9973)];
            for (const source of sources) {
                const db = open();
                const result = await importArrow(db, source, { table: 'rows' });
                expect(result).to.include({ rows: ROWS, rowsRead: ROWS, created: true });
                expect(result.batches).to.be.above(1);
                expect(db.table('rows').all().toArray()).to.deep.equal(expected);
                await db.close();
            }
        });
    }

    it('a value of each type, and NULL', async () => {
        const db = open();
        await importArrow(db, await bytesOf('arrow-types'), { table: 'types' });
        const table = db.table('types');
        const of = (name) =>
            table
                .all()
                .toArray()
                .map((row) => row[name]);
        const wanted = {
            i8: ['int', -128, 127],
            i16: ['int', -32768, 32767],
            i32: ['int', -2147483648, 2147483647],
            i64: ['int', 9007199254740993n, -9223372036854775807n],
            u8: ['int', 0, 255],
            u16: ['int', 0, 65535],
            u32: ['int', 0, 4294967295],
            u64: ['int', 0, 9223372036854775807n],
            f16: ['float', 1.5, -65504],
            f32: ['float', 1.5, Infinity],
            f64: ['float', -0, 1e300],
            bool: ['bool', true, false],
            text: ['string', '', 'ü€😀'],
            large: ['string', '', 'ascii'],
            bytes: ['bytes', new Uint8Array(0), Uint8Array.of(0, 255)],
            fixed: ['bytes', Uint8Array.of(1, 2), Uint8Array.of(3, 4)],
            day: ['timestamp', new Date('1969-12-31'), new Date('2024-02-29')],
            date: ['timestamp', new Date('1969-12-31'), new Date('2024-02-29')],
            second: ['timestamp', new Date(-1000), new Date(1000)],
            milli: ['timestamp', new Date(-1), new Date(1)],
            micro: ['timestamp', new Date(-1), new Date(1), new Date(-1)],
            nano: ['timestamp', new Date(-1), new Date(1), new Date(-1)],
            utf8View: ['string', '', 'longer than twelve bytes €'],
            bytesView: ['bytes', Uint8Array.of(1), new Uint8Array(40).fill(9)],
            word: ['string', 'b', 'b'],
            list32: ['vector', Float32Array.of(1, 2), Float32Array.of(3, 4)],
            list64: ['vector', Float32Array.of(1, 2), Float32Array.of(3, 4)],
            vector: ['vector', Float32Array.of(1, 2), Float32Array.of(3, 4)],
        };
        expect(Object.keys(table.schema)).to.deep.equal(Object.keys(wanted));
        for (const [name, [type, first, last, second = null]] of Object.entries(wanted)) {
            expect(table.schema[name].type, name).to.equal(type);
            expect(of(name), name).to.deep.equal([first, second, last]);
        }
        expect(Object.is(of('f64')[0], -0)).to.equal(true);
    });

    it('dictionaries that grow and that are replaced', async () => {
        const db = open();
        const result = await importArrow(db, await bytesOf('arrow-dictionaries'), { table: 'words' });
        expect(result).to.include({ rows: 4, batches: 2 });
        expect(db.table('words').all().toArray()).to.deep.equal([
            { grown: 'a', replaced: 'a' },
            { grown: 'b', replaced: 'b' },
            { grown: 'c', replaced: 'x' },
            { grown: 'a', replaced: 'y' },
        ]);
    });

    it('a column of nothing but NULL goes to a column of any type, and to no new one', async () => {
        const bytes = await bytesOf('arrow-nulls');
        const table = open().table('t', { number: 'int', nothing: vector(2) });
        await importArrow(table.database, bytes, { table: 't' });
        expect(table.all().toArray().at(-1)).to.deep.equal({ number: 3, nothing: null });
        await rejected('TYPE', /'nothing'.*no type/, importArrow(open(), bytes, { table: 't' }));
        // As many rows as one likes, of no bytes.
        const wide = bytes.slice();
        const view = new DataView(wide.buffer);
        let changed = 0;
        for (let at = 0; at + 8 <= wide.length; at += 4) {
            if (view.getBigInt64(at, true) !== 3n) continue;
            view.setBigInt64(at, 4_000_000_000n, true);
            changed++;
        }
        expect(changed).to.be.at.least(4);
        const few = { table: 't', columns: ['nothing'] };
        await rejected('CORRUPT', /not as many bits/, importArrow(table.database, wide, few));
        expect(table.rowCount).to.equal(3);
    });

    it('what there is no type for is refused by its column, and leaves no table', async () => {
        const db = open();
        const bytes = await bytesOf('arrow-refused');
        const refusals = {
            huge: ['LIMIT', /'huge'.*beyond 9223372036854775807/],
            decimal: ['UNSUPPORTED', /'decimal'.*Decimal/],
            clock: ['UNSUPPORTED', /'clock'.*Time/],
            span: ['UNSUPPORTED', /'span'.*Duration/],
            pair: ['UNSUPPORTED', /'pair'.*Struct/],
            ints: ['UNSUPPORTED', /'ints'.*List of Int/],
            uneven: ['DIMENSIONS', /'uneven'.*1 and of 2/],
            holes: ['NOT_NULL', /'holes'/],
        };
        for (const [name, [code, message]] of Object.entries(refusals)) {
            await rejected(code, message, importArrow(db, bytes, { table: 'none', columns: ['plain', name] }));
            expect(db.tableNames()).to.deep.equal([]);
        }
        await rejected('UNSUPPORTED', /'decimal'/, importArrow(db, bytes, { table: 'none' }));
        await importArrow(db, bytes, { table: 'some', columns: ['plain'] });
        expect(db.table('some').all().toArray()).to.deep.equal([{ plain: 1 }, { plain: 2 }]);
    });

    it('a filter, columns by other names, a key, a vector, batches of a size, progress', async () => {
        const db = open();
        const told = [];
        const result = await importArrow(db, await bytesOf('arrow-js-stream'), {
            table: 'few',
            columns: { number: 'id', label: 'name', meaning: 'embedding' },
            key: 'number',
            where: gt('price', 1240),
            batchSize: 1500,
            onProgress: (progress) => told.push(progress),
        });
        expect(result).to.include({ rows: 39, rowsRead: ROWS, batches: 3, created: true });
        expect(told.map(({ rowsRead }) => rowsRead)).to.deep.equal([1500, 2000, 3500, 4000, 5000]);
        expect(told.at(-1).rowsWritten).to.equal(39);
        const table = db.table('few');
        expect(table.keyColumn).to.equal('number');
        expect(table.get(9007199254740993n + 4961n)).to.deep.equal({
            number: 9007199254740993n + 4961n,
            label: null,
            meaning: COLUMNS.embedding[1](4961),
        });
        const again = { table: 'few', columns: { number: 'id' }, where: "name = 'name 3' AND flag" };
        const matches = expected.filter(({ name, flag }) => name === 'name 3' && flag);
        const more = await importArrow(db, await bytesOf('arrow-rs-stream'), { ...again, upsert: true });
        expect(more.rows).to.equal(matches.length);
        await rejected('EXISTS', undefined, importArrow(db, await bytesOf('arrow-rs-stream'), again));
    });

    it('into a table that is there: its columns, checked', async () => {
        const bytes = await bytesOf('arrow-js-file');
        const table = open().table('rows', { id: key('int'), text: 'string', meaning: vector(8), other: 'bool' });
        const run = (more) => importArrow(table.database, bytes, { table: 'rows', ...more });
        expect(await run({ vector: 'embedding' })).to.include({ rows: ROWS, created: false });
        expect(table.get(9007199254740993n)).to.deep.equal({
            id: 9007199254740993n,
            text: expected[0].text,
            meaning: expected[0].embedding,
            other: null,
        });
        const { rowCount } = table;
        await rejected('TYPE', /'name'.*is string.*'other'.*bool/, run({ columns: { id: 'id', other: 'name' } }));
        await rejected('UNKNOWN_COLUMN', /'nope'/, run({ columns: ['nope'] }));
        await rejected('UNKNOWN_COLUMN', /'constructor'/, run({ columns: { constructor: 'id' } }));
        await rejected('NOT_FOUND', /'nope'/, run({ columns: { id: 'nope' } }));
        await rejected('INVALID', /key 'id', not 'text'/, run({ key: 'text' }));
        const unknown = await rejected('UNKNOWN_COLUMN', /nope/, run({ where: 'small = 1 AND nope = 2' }));
        expect(unknown.offset).to.equal(14);
        await rejected('SYNTAX', undefined, run({ where: 'small = ' }));
        await rejected('TYPE', /vector/, run({ where: 'embedding IS NULL' }));
        expect(table.rowCount).to.equal(rowCount);
        const narrow = open().table('rows', { embedding: vector(4) });
        await rejected('DIMENSIONS', /of 8 .*of 4/, importArrow(narrow.database, bytes, { table: 'rows' }));
        expect(narrow.rowCount).to.equal(0);
    });

    it('arguments that are none', async () => {
        const db = open();
        const bytes = await bytesOf('arrow-types');
        await rejected('INVALID', /Database/, importArrow({}, bytes, { table: 'x' }));
        await rejected('INVALID', /table is the name/, importArrow(db, bytes, {}));
        await rejected('INVALID', /table is the name/, importArrow(db, bytes));
        await rejected('INVALID', /no option 'tabel'/, importArrow(db, bytes, { tabel: 'x' }));
        await rejected('INVALID', /batchSize/, importArrow(db, bytes, { table: 'x', batchSize: 0 }));
        await rejected('INVALID', /budget/, importArrow(db, bytes, { table: 'x', budget: {} }));
        await rejected('INVALID', /signal/, importArrow(db, bytes, { table: 'x', signal: {} }));
        await rejected('INVALID', /where/, importArrow(db, bytes, { table: 'x', where: 7 }));
        await rejected('UNKNOWN_COLUMN', /'no'.*key/, importArrow(db, bytes, { table: 'x', key: 'no' }));
        await rejected('INVALID', /vector/, importArrow(db, bytes, { table: 'x', key: 'vector' }));
        for (const source of [7, null, undefined, {}, 'text']) {
            await rejected('TYPE', undefined, importArrow(db, source, { table: 'x' }));
        }
        const missing = await fetch(`${origin}/nothing-here`);
        await rejected('IO', /404/, importArrow(db, missing, { table: 'x' }));
        expect(db.tableNames()).to.deep.equal([]);
    });

    it('views of the same bytes are charged before they are copied', async () => {
        const budget = new MemoryBudget(20_000_000);
        const db = open();
        const importing = importArrow(db, await bytesOf('arrow-views'), { table: 'rows', budget });
        await rejected('OVER_BUDGET', /needs 1000000 bytes/, importing);
        expect(budget.memoryStats()).to.include({ usedBytes: 0, held: 0 });
        expect(db.tableNames()).to.deep.equal([]);
        await db.close();
    });

    it('is cancelled between batches; a source that fails; a budget that is too small', async () => {
        const stop = new AbortController();
        const db = open();
        const options = { table: 'rows', signal: stop.signal, onProgress: () => stop.abort() };
        await rejected('CANCELLED', undefined, importArrow(db, await bytesOf('arrow-js-stream'), options));
        expect(db.table('rows').liveCount).to.equal(2000); // the first batch, whole
        await rejected('CANCELLED', undefined, importArrow(db, await fetched('arrow-js-stream'), options));
        const bytes = await bytesOf('arrow-js-stream');
        let isClosed = false;
        async function* failing() {
            try {
                yield* chunks(bytes.slice(0, 300_000), 5000);
                throw new RangeError('the line is cut');
            } finally {
                isClosed = true;
            }
        }
        const error = await importArrow(db, failing(), { table: 'half' }).catch((reason) => reason);
        expect(error).to.be.instanceOf(RangeError);
        expect([db.table('half').liveCount, isClosed]).to.deep.equal([2000, true]);
        for (const source of [() => bytes, () => chunks(bytes, 5000)]) {
            const budget = new MemoryBudget(90_000);
            await rejected('OVER_BUDGET', undefined, importArrow(db, source(), { table: 'none', budget }));
            expect(budget.memoryStats().usedBytes).to.equal(0);
        }
        expect(db.tableNames()).to.deep.equal(['rows', 'half']);
    });
});

describe('exportArrow', function () {
    this.timeout(60_000);
    before(() => init());

    it('a file and a stream come back as they were', async () => {
        const table = filled();
        for (const size of [1, 3, 100]) {
            const sources = [
                exportArrow(table, { batchSize: size }),
                exportArrow(table, { format: 'stream', batchSize: size }),
                exportArrowStream(table, { batchSize: size }),
                chunks(exportArrow(table, { format: 'stream', batchSize: size }), 11),
            ];
            for (const source of sources) {
                const db = open();
                const result = await importArrow(db, source, { table: 'back', key: 'id' });
                expect(result).to.include({ rows: 4, batches: Math.ceil(4 / size) });
                const back = db.table('back');
                expect([...back.iterate()]).to.deep.equal(inKeyOrder);
                expect(Object.is(back.get(9007199254740993n).real, -0)).to.equal(true);
                expect(back.schema.must.required).to.equal(true);
                expect(back.schema.meaning.dimensions).to.equal(3);
            }
        }
    });

    it('many rows at random, with NULLs at random', async () => {
        const seed = Math.floor(Math.random() * 2 ** 32);
        const random = randomFrom(seed);
        const maybe = (value) => (random.chance(0.2) ? null : value);
        const rows = Array.from({ length: 3000 }, (_, i) => ({
            id: i,
            number: maybe(BigInt.asIntN(64, BigInt(Math.floor(random.next() * 2 ** 53)) << BigInt(random.below(12)))),
            real: maybe(random.normal() * 10 ** random.below(300)),
            flag: maybe(random.chance(0.5)),
            text: maybe('aü€😀'.slice(random.below(3)).repeat(random.below(4))),
            at: maybe(new Date(Math.floor((random.next() - 0.5) * 1.7e16))),
            blob: maybe(Uint8Array.from({ length: random.below(9) }, () => random.below(256))),
            must: String(i),
            meaning: maybe(random.vector(3)),
        }));
        const table = filled(rows);
        const db = open();
        await importArrow(db, exportArrowStream(table, { batchSize: 1 + random.below(999) }), { table: 'back' });
        expect(db.table('back').all().toArray(), `seed ${seed}`).to.deep.equal(table.all().toArray());
    });

    it('an empty table has its columns', async () => {
        for (const source of [exportArrow(filled([])), exportArrowStream(filled([]))]) {
            const db = open();
            expect(await importArrow(db, source, { table: 'back', key: 'id' })).to.include({ rows: 0, batches: 0 });
            const types = (table) => Object.entries(table.schema).map(([name, { type }]) => [name, type]);
            expect(types(db.table('back'))).to.deep.equal(types(filled([])));
        }
    });

    it('is what apache-arrow reads', async () => {
        for (const format of ['file', 'stream']) {
            const body = exportArrow(filled(), { format, batchSize: 3 });
            const read = await (await fetch(`${origin}/arrow/read`, { method: 'POST', body })).json();
            expect(read.types).to.deep.equal({
                id: 'Int64 required',
                number: 'Int64',
                real: 'Float64',
                flag: 'Bool',
                text: 'Utf8',
                at: 'Timestamp<MILLISECOND, UTC>',
                blob: 'Binary',
                must: 'Utf8 required',
                meaning: 'FixedSizeList[3]<Float32>',
            });
            expect([read.rows, read.batches]).to.deep.equal([4, 2]);
            expect(read.columns).to.deep.equal({
                id: ['-5n', '7n', '8n', '9007199254740993n'],
                number: [null, '9223372036854775807n', '0n', '-9223372036854775808n'],
                real: [null, 'NaN', '-Infinity', '-0'],
                flag: [null, false, true, true],
                text: [null, 'byte order', 'x', ''], // it drops the mark when it decodes
                at: [null, 8.64e15, 0, -1],
                blob: [null, 'bytes 0,255', null, 'bytes '],
                must: ['ü€😀\0', 'x', 'y', ''],
                meaning: [null, [0, 0, 1], null, [1, 0, Math.fround(3e-39)]],
            });
        }
    });

    it('columns, a filter, the past; a query in its order', async () => {
        let now = Date.UTC(2024, 0, 1);
        const db = createDatabase({ autoIndex: false, now: () => now });
        const table = db.table('all', ALL);
        table.insert(VALUES);
        const before = now;
        now += 1000;
        table.update(7, { text: 'now', flag: true });
        table.delete(8);
        const rowsOf = async (source, options) => {
            const back = open();
            await importArrow(back, exportArrow(source, options), { table: 'back' });
            return back.table('back').all().toArray();
        };
        expect(await rowsOf(table, { columns: ['text', 'id'] })).to.deep.equal([
            { text: null, id: -5 },
            { text: 'now', id: 7 },
            { text: '', id: 9007199254740993n },
        ]);
        expect(await rowsOf(table, { columns: ['id'], where: 'flag' })).to.deep.equal([
            { id: 7 },
            { id: 9007199254740993n },
        ]);
        expect(await rowsOf(table, { at: before })).to.deep.equal(inKeyOrder);
        expect(
            await rowsOf(table, { at: before, columns: ['id', 'meaning'], where: 'flag AND id < 100' }),
        ).to.deep.equal([{ id: 8, meaning: null }]);
        expect(await rowsOf(table, { at: before, where: "text = 'now'" })).to.deep.equal([]);
        const query = table.where('id > 0').orderBy('id', 'desc').limit(1).select('id', 'must');
        expect(await rowsOf(query)).to.deep.equal([{ id: 9007199254740993n, must: '' }]);
        expect(await rowsOf(query, { columns: ['flag'] })).to.deep.equal([{ flag: true }]);
        const error = thrown('UNKNOWN_COLUMN', /nope/, () => exportArrow(table, { where: 'flag OR nope' }));
        expect(error.offset).to.equal(8);
        thrown('UNKNOWN_COLUMN', /nope/, () => exportArrow(table, { columns: ['nope'] }));
        thrown('INVALID', /at least one/, () => exportArrow(table, { columns: [] }));
        thrown('INVALID', /twice/, () => exportArrow(table, { columns: ['id', 'id'] }));
        thrown('INVALID', /format/, () => exportArrow(table, { format: 'csv' }));
        thrown('INVALID', /batchSize/, () => exportArrow(table, { batchSize: 1.5 }));
        thrown('INVALID', /where and at are for tables/, () => exportArrow(query, { at: before }));
        thrown('INVALID', /a table or a query/, () => exportArrow(db));
        thrown('INVALID', /no option/, () => exportArrow(table, { signal: undefined, into: 1 }));
        await db.close();
        thrown('CLOSED', undefined, () => exportArrow(table));
    });

    it('a stream is of one moment, and lets go of it when it is cancelled', async () => {
        const table = filled();
        const reader = exportArrowStream(table, { batchSize: 1 }).getReader();
        const parts = [(await reader.read()).value, (await reader.read()).value];
        table.delete(7);
        table.insert({ id: 9, must: 'late' });
        thrown('BUSY', undefined, () => table.database.compact());
        for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value);
        const db = open();
        await importArrow(db, new Blob(parts), { table: 'back', key: 'id' });
        expect([...db.table('back').iterate()]).to.deep.equal(inKeyOrder);
        table.database.compact();
        const other = exportArrowStream(table, { batchSize: 1 }).getReader();
        await other.read();
        await other.read();
        await other.cancel();
        table.database.compact();
        const stop = new AbortController();
        const ended = exportArrowStream(table, { batchSize: 1, signal: stop.signal }).getReader();
        await ended.read();
        await ended.read();
        stop.abort();
        await rejected('CANCELLED', undefined, ended.read());
        table.database.compact();
        const query = exportArrowStream(table.where('id > 0'), { batchSize: 1 }).getReader();
        await query.read();
        await query.read();
        table.delete(9);
        const left = async () => {
            for (let part = await query.read(); !part.done; part = await query.read());
        };
        await rejected('NOT_FOUND', undefined, left());
    });
});

describe('Arrow in a worker', () => {
    it('into a stored database and out of it', async () => {
        const worker = await startWorker(new URL('realms/arrow_worker.js', import.meta.url).href);
        const [name, options] = await place({ storage: isNode ? 'file' : 'indexeddb' });
        const url = `${origin}/ranges/arrow-js-stream?id=${Math.random()}`;
        const { bytes, ...told } = await askWorker(worker, { url, name, options, where: 'price >= 1240' });
        const matches = expected.filter(({ price }) => price >= 1240);
        const flagged = matches.filter(({ flag }) => flag);
        expect(told).to.deep.equal({ rows: 40, rowsRead: ROWS, again: flagged.length, isMain: false });
        const here = open();
        await importArrow(here, bytes, { table: 'sent' });
        expect(here.table('sent').all().toArray()).to.deep.equal(flagged);
        const stored = await openStored(name, { ...options, mustExist: true });
        expect(stored.table('rows').all().toArray()).to.deep.equal(matches);
        expect(stored.table('again').all().toArray()).to.deep.equal(flagged);
        await stored.close();
        await deleteDatabase(name, options);
    }).timeout(60_000);
});

describe('hostile bytes of Arrow', function () {
    this.timeout(120_000);
    before(() => init());

    const outcome = async (source) => {
        const db = open();
        try {
            const result = await importArrow(db, source, { table: 'rows', budget: new MemoryBudget(2 ** 26) });
            expect(db.table('rows').liveCount).to.equal(result.rows);
            return 'rows';
        } catch (error) {
            if (!(error instanceof VeltaError)) throw error;
            if (db.hasTable('rows')) expect(db.table('rows').liveCount).to.be.above(0); // whole batches before it
            return error.code;
        } finally {
            await db.close();
        }
    };

    it('lengths and places that cannot be', async () => {
        const stream = exportArrow(filled(), { format: 'stream' });
        const file = exportArrow(filled());
        const changed = (bytes, at, value) => {
            const copy = bytes.slice();
            new DataView(copy.buffer).setInt32(at < 0 ? copy.length + at : at, value, true);
            return copy;
        };
        for (const value of [-1, -2, 1, 3, 0x7fffffff, 0x7ffffff0, -0x80000000]) {
            expect(await outcome(changed(stream, 4, value)), `length ${value}`).to.equal('CORRUPT');
            expect(await outcome(chunks(changed(stream, 4, value), 100))).to.be.oneOf(['CORRUPT', 'OVER_BUDGET']);
            expect(await outcome(changed(stream, 8, value)), `root ${value}`).to.equal('CORRUPT');
            expect(await outcome(changed(file, -10, value)), `footer ${value}`).to.equal('CORRUPT');
        }
        for (const bytes of [new Uint8Array(0), file.slice(0, 6), file.slice(0, 20), file.slice(0, -1)]) {
            expect(await outcome(bytes)).to.equal('CORRUPT');
        }
        expect(await outcome(new TextEncoder().encode('ARROW1\0\0 and nothing of it ARROW1'))).to.equal('CORRUPT');
        // A stream that ends after a whole message has the rows up to there.
        expect(await outcome(stream.slice(0, -8))).to.equal('rows');
        expect(await outcome(stream.slice(0, -16))).to.equal('CORRUPT');
    });

    it('frames of zstd that say what is not so, or say it in another way', async () => {
        const take = async (kind) => {
            const db = open();
            const budget = new MemoryBudget();
            try {
                await importArrow(db, await bytesOf(`packed-as-${kind}`), { table: 'rows', budget });
                return db.table('rows').where(`number = ${0x0101010101010101n}`).count() === 20_000;
            } finally {
                expect(budget.memoryStats().usedBytes, kind).to.equal(0);
                expect(budget.memoryStats().peakBytes, kind).to.be.below(1 << 20);
                await db.close();
            }
        };
        for (const [kind, message] of Object.entries(ZSTD_REFUSALS)) {
            if (kind === 'empty') continue; // a buffer of no bytes is one of no values
            await rejected('CORRUPT', message, take(kind));
            expect(await take('two'), `after ${kind}`).to.equal(true);
        }
        expect(await take('window')).to.equal(true);
    });

    for (const name of ['own-file', 'own-stream', 'arrow-types', 'arrow-dictionaries', 'packed-lz4', 'packed-zstd']) {
        it(`${name}, damaged at random: rows or a coded error`, async () => {
            const seed = Math.floor(Math.random() * 2 ** 32);
            const random = randomFrom(seed);
            const own = { 'own-file': 'file', 'own-stream': 'stream' }[name];
            const bytes = own ? exportArrow(filled(), { format: own, batchSize: 2 }) : await bytesOf(name);
            const codes = new Map();
            const isLarge = bytes.length > 100_000;
            const count = isLarge ? 30 : 300;
            for (let round = 0; round < count; round++) {
                const damaged = random.chance(0.1) ? bytes.slice(0, random.below(bytes.length)) : bytes.slice();
                const view = new DataView(damaged.buffer);
                for (let i = random.below(4); i >= 0 && damaged.length > 8; i--) {
                    // Mostly in the metadata, which is at the start, and in a file at the end.
                    const near = Math.min(damaged.length - 8, 2500);
                    let at = random.chance(0.2) ? random.below(damaged.length - 8) : random.below(near);
                    if (random.chance(0.4)) at = damaged.length - 9 - at;
                    at = Math.max(0, at);
                    const kind = random.below(3);
                    if (kind === 0) damaged[at] ^= 1 << random.below(8);
                    else if (kind === 1) damaged[at] = random.below(256);
                    else view.setInt32(at, random.pick([-1, 0, 1, 0x7fffffff, -0x80000000, 65536, bytes.length]), true);
                }
                const source = random.chance(0.3) ? chunks(damaged, 1 + random.below(damaged.length + 1)) : damaged;
                const start = Date.now();
                let code;
                try {
                    code = await outcome(source);
                } catch (error) {
                    throw new Error(`seed ${seed}, round ${round}: ${error.stack}`, { cause: error });
                }
                expect(Date.now() - start, `seed ${seed}, round ${round} took`).to.be.below(20_000);
                codes.set(code, (codes.get(code) ?? 0) + 1);
            }
            expect(codes.get('CORRUPT'), `seed ${seed}: ${JSON.stringify([...codes])}`).to.be.above(count / 10);
            figure('arrow_damaged', count);
        });
    }
});
