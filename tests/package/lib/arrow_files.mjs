/*
 * Arrow IPC for the specs, written by others than velta: arrowFile(name) gives the bytes, made when they are first
 * asked for; null for another name. readByArrow(bytes) reads what velta wrote.
 *
 *   arrow-js-file, arrow-js-stream   apache-arrow: the rows of support/parquet_rows.js in three batches, a dictionary
 *   arrow-rs-stream                  arrow-rs (parquet-wasm), from DuckDB's Parquet file
 *   packed-lz4, packed-zstd          the same by flechette, packed by support/arrow_packing.js
 *   packed-as-…                      one number over and over in frames of zstd, right or damaged (zstd_frames.js)
 *   arrow-types                      a few rows of every type that velta takes, by apache-arrow
 *   arrow-dictionaries               a dictionary that grows, and one that is replaced
 *   arrow-nulls                      a column of the type Null
 *   arrow-same                       one number over and over
 *   arrow-refused                    those that it does not
 */
import { COLUMNS, DIMENSIONS, ROWS } from '../support/parquet_rows.js';
import { packLz4, packZstd } from '../support/arrow_packing.js';
import { ZSTD_FRAMES } from '../support/zstd_frames.js';
import { parquetFile } from './parquet_files.mjs';
import { developmentPackage } from './tools.mjs';

const library = () => developmentPackage('apache-arrow');

/** Columns by name as [type, values], as one record batch. */
function batchOf(arrow, schema, columns) {
    const data = Object.values(columns).map(([type, values]) => {
        if (Array.isArray(values)) return arrow.vectorFromArray(values, type).data[0];
        return arrow.makeData({ type, data: values, nullCount: 0, length: values.length });
    });
    const [{ length }] = data;
    const struct = arrow.makeData({ type: new arrow.Struct(schema.fields), nullCount: 0, length, children: data });
    return new arrow.RecordBatch(schema, struct);
}

function tableOf(arrow, batches) {
    const fields = Object.entries(batches[0]).map(([name, [type]]) => new arrow.Field(name, type, true));
    const schema = new arrow.Schema(fields);
    return new arrow.Table(
        schema,
        batches.map((columns) => batchOf(arrow, schema, columns)),
    );
}

async function rows(format) {
    const arrow = await library();
    const word = new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32());
    const list = new arrow.FixedSizeList(DIMENSIONS, new arrow.Field('item', new arrow.Float32(), true));
    const types = {
        id: new arrow.Int64(),
        small: new arrow.Int64(),
        sorted: new arrow.Int64(),
        name: word,
        text: new arrow.Utf8(),
        price: new arrow.Float64(),
        ratio: new arrow.Float32(),
        flag: new arrow.Bool(),
        at: new arrow.TimestampMillisecond('UTC'),
        blob: new arrow.Binary(),
        embedding: list,
    };
    // One dictionary for all batches: apache-arrow replaces it in a stream where they differ.
    const all = arrow.vectorFromArray(
        Array.from({ length: ROWS }, (_, i) => COLUMNS.name[1](i)),
        word,
    );
    const starts = [0, 2000, 4000];
    const batches = starts.map((start) => {
        const numbers = Array.from({ length: Math.min(2000, ROWS - start) }, (_, i) => start + i);
        return Object.fromEntries(
            Object.entries(types).map(([name, type]) => {
                const value = (i) => (name === 'at' ? Number(COLUMNS.at[1](i)) : COLUMNS[name][1](i));
                return [name, [type, numbers.map(value)]];
            }),
        );
    });
    const fields = Object.entries(types).map(([name, type]) => new arrow.Field(name, type, true));
    const schema = new arrow.Schema(fields);
    const made = batches.map((columns, b) => {
        const children = Object.entries(columns).map(([name, [type, values]]) => {
            if (name === 'name') return all.slice(starts[b], starts[b] + values.length).data[0];
            return arrow.vectorFromArray(values, type).data[0];
        });
        const type = new arrow.Struct(fields);
        return new arrow.RecordBatch(
            schema,
            arrow.makeData({ type, nullCount: 0, length: children[0].length, children }),
        );
    });
    return arrow.tableToIPC(new arrow.Table(schema, made), format);
}

async function types() {
    const arrow = await library();
    const list = (type) => new arrow.List(new arrow.Field('item', type, true));
    const dictionary = (type, index) => new arrow.Dictionary(type, index);
    return arrow.tableToIPC(
        tableOf(arrow, [
            {
                i8: [new arrow.Int8(), [-128, null, 127]],
                i16: [new arrow.Int16(), [-32768, null, 32767]],
                i32: [new arrow.Int32(), [-2147483648, null, 2147483647]],
                i64: [new arrow.Int64(), [9007199254740993n, null, -9223372036854775807n]],
                u8: [new arrow.Uint8(), [0, null, 255]],
                u16: [new arrow.Uint16(), [0, null, 65535]],
                u32: [new arrow.Uint32(), [0, null, 4294967295]],
                u64: [new arrow.Uint64(), [0n, null, 9223372036854775807n]],
                f16: [new arrow.Float16(), [1.5, null, -65504]],
                f32: [new arrow.Float32(), [1.5, null, Infinity]],
                f64: [new arrow.Float64(), [-0, null, 1e300]],
                bool: [new arrow.Bool(), [true, null, false]],
                text: [new arrow.Utf8(), ['', null, 'ü€😀']],
                large: [new arrow.LargeUtf8(), ['', null, 'ascii']],
                bytes: [new arrow.Binary(), [new Uint8Array(0), null, Uint8Array.of(0, 255)]],
                fixed: [new arrow.FixedSizeBinary(2), [Uint8Array.of(1, 2), null, Uint8Array.of(3, 4)]],
                day: [new arrow.DateDay(), [new Date('1969-12-31'), null, new Date('2024-02-29')]],
                date: [new arrow.DateMillisecond(), [new Date('1969-12-31'), null, new Date('2024-02-29')]],
                second: [new arrow.TimestampSecond(), [-1000, null, 1000]],
                milli: [new arrow.TimestampMillisecond(), [-1, null, 1]],
                micro: [new arrow.TimestampMicrosecond(), BigInt64Array.of(-1n, -1000n, 1999n)],
                nano: [new arrow.TimestampNanosecond(), BigInt64Array.of(-1n, -1_000_000n, 1_999_999n)],
                utf8View: [new arrow.Utf8View(), ['', null, 'longer than twelve bytes €']],
                bytesView: [new arrow.BinaryView(), [Uint8Array.of(1), null, new Uint8Array(40).fill(9)]],
                word: [dictionary(new arrow.Utf8(), new arrow.Int8()), ['b', null, 'b']],
                list32: [list(new arrow.Float32()), [[1, 2], null, [3, 4]]],
                list64: [list(new arrow.Float64()), [[1, 2], null, [3, 4]]],
                vector: [
                    new arrow.FixedSizeList(2, new arrow.Field('item', new arrow.Float32(), true)),
                    [[1, 2], null, [3, 4]],
                ],
            },
        ]),
        'file',
    );
}

/** A dictionary that grows from batch to batch, and one that is replaced. */
async function dictionaries() {
    const arrow = await library();
    const word = (id) => new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32(), id);
    const first = arrow.vectorFromArray(['a', 'b'], new arrow.Utf8());
    const more = first.concat(arrow.vectorFromArray(['c'], new arrow.Utf8()));
    const other = arrow.vectorFromArray(['x', 'y'], new arrow.Utf8());
    const types = { grown: word(1), replaced: word(2) };
    const fields = Object.entries(types).map(([name, type]) => new arrow.Field(name, type, true));
    const schema = new arrow.Schema(fields);
    const column = (type, dictionary, indices) =>
        arrow.makeData({ type, dictionary, data: Int32Array.from(indices), nullCount: 0, length: indices.length });
    const batch = (...children) => {
        const type = new arrow.Struct(fields);
        return new arrow.RecordBatch(schema, arrow.makeData({ type, nullCount: 0, length: 2, children }));
    };
    const writer = new arrow.RecordBatchStreamWriter();
    writer.write(batch(column(types.grown, first, [0, 1]), column(types.replaced, first, [0, 1])));
    writer.write(batch(column(types.grown, more, [2, 0]), column(types.replaced, other, [0, 1])));
    writer.finish();
    return writer.toUint8Array();
}

/** A thousand views of one value of a million bytes. */
async function views() {
    const arrow = await library();
    const others = Array.from({ length: 999 }, () => new Uint8Array(13).fill(9));
    const column = arrow.vectorFromArray([new Uint8Array(1_000_000).fill(122), ...others], new arrow.BinaryView());
    const bytes = Buffer.from(arrow.tableToIPC(new arrow.Table({ blob: column }), 'stream'));
    const first = bytes.indexOf(Uint8Array.of(0x40, 0x42, 0x0f, 0, 122, 122, 122, 122));
    for (let i = 1; i < 1000; i++) bytes.copy(bytes, first + 16 * i, first, first + 16);
    return bytes;
}

/** A column of nothing but NULL, which needs no bytes, and one of a few numbers. */
async function nulls() {
    const arrow = await library();
    const nothing = arrow.makeData({ type: new arrow.Null(), length: 3, nullCount: 3 });
    const number = arrow.vectorFromArray([1, 2, 3], new arrow.Int32()).data[0];
    const fields = [new arrow.Field('nothing', nothing.type, true), new arrow.Field('number', number.type, true)];
    const schema = new arrow.Schema(fields);
    const type = new arrow.Struct(fields);
    const struct = arrow.makeData({ type, nullCount: 0, length: 3, children: [nothing, number] });
    return arrow.tableToIPC(new arrow.Table(schema, [new arrow.RecordBatch(schema, struct)]), 'stream');
}

/** A number whose bytes are all the same, 20,000 times. */
async function same() {
    const arrow = await library();
    const number = new BigInt64Array(20_000).fill(0x0101010101010101n);
    return arrow.tableToIPC(tableOf(arrow, [{ number: [new arrow.Int64(), number] }]), 'stream');
}

async function refused() {
    const arrow = await library();
    const pair = new arrow.Struct([new arrow.Field('a', new arrow.Int32(), true)]);
    return arrow.tableToIPC(
        tableOf(arrow, [
            {
                plain: [new arrow.Int32(), [1, 2]],
                huge: [new arrow.Uint64(), [18446744073709551615n, 1n]],
                decimal: [new arrow.Decimal(2, 10, 128), [new Uint32Array([1, 0, 0, 0]), null]],
                clock: [new arrow.TimeMillisecond(), [1, 2]],
                span: [new arrow.DurationSecond(), [1n, 2n]],
                pair: [pair, [{ a: 1 }, { a: 2 }]],
                ints: [new arrow.List(new arrow.Field('item', new arrow.Int32(), true)), [[1], [2]]],
                uneven: [new arrow.List(new arrow.Field('item', new arrow.Float32(), true)), [[1], [2, 3]]],
                holes: [
                    new arrow.List(new arrow.Field('item', new arrow.Float32(), true)),
                    [
                        [1, null],
                        [2, 3],
                    ],
                ],
            },
        ]),
        'stream',
    );
}

/**
 * Arrow packed by flechette, because apache-arrow 21.2.0 writes the packed length where the unpacked one belongs.
 * flechette leaves a buffer as it is where packing does not make it shorter.
 */
async function packed(format, codec, encode, name = 'arrow-js-stream') {
    const module = await developmentPackage('@uwdata/flechette');
    const { CompressionType, setCompressionCodec, tableFromIPC, tableToIPC } = module.default ?? module;
    const table = tableFromIPC(new Uint8Array(await arrowFile(name)));
    setCompressionCodec(CompressionType[codec], { encode });
    return tableToIPC(table, { format, codec: CompressionType[codec] });
}

async function rust() {
    const writer = await developmentPackage('parquet-wasm');
    const { readParquet } = writer.default ?? writer;
    return readParquet(new Uint8Array(await parquetFile('duckdb-none'))).intoIPCStream();
}

const MAKERS = {
    'arrow-js-file': () => rows('file'),
    'arrow-js-stream': () => rows('stream'),
    'packed-lz4': () => packed('file', 'LZ4_FRAME', packLz4),
    'packed-zstd': () => packed('stream', 'ZSTD', packZstd),
    'arrow-rs-stream': rust,
    'arrow-types': types,
    'arrow-dictionaries': dictionaries,
    'arrow-nulls': nulls,
    'arrow-views': views,
    'arrow-same': same,
    'arrow-refused': refused,
};
for (const [kind, encode] of Object.entries(ZSTD_FRAMES)) {
    MAKERS[`packed-as-${kind}`] = () => packed('stream', 'ZSTD', encode, 'arrow-same');
}
const made = new Map();

export async function arrowFile(name) {
    if (!Object.hasOwn(MAKERS, name)) return null;
    if (!made.has(name)) made.set(name, MAKERS[name]());
    return Buffer.from(await made.get(name));
}

/** What apache-arrow reads of bytes: types, and values as texts that tell them apart. */
export async function readByArrow(bytes) {
    const arrow = await library();
    const table = arrow.tableFromIPC(new Uint8Array(bytes));
    const plain = (value) => {
        if (typeof value === 'bigint') return `${value}n`;
        if (Object.is(value, -0)) return '-0';
        if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
        if (value instanceof Uint8Array) return `bytes ${[...value]}`;
        if (value instanceof arrow.Vector) return [...value];
        return value;
    };
    return {
        rows: table.numRows,
        batches: table.batches.length,
        types: Object.fromEntries(
            table.schema.fields.map(({ name, type, nullable }) => [name, `${type}${nullable ? '' : ' required'}`]),
        ),
        columns: Object.fromEntries(
            table.schema.fields.map(({ name }, i) => [name, [...table.getChildAt(i)].map(plain)]),
        ),
    };
}
