/*
 * Parquet files for the specs, written by those that people write them with: DuckDB, Arrow (parquet-wasm) and
 * hyparquet-writer. parquetFile(name) gives the bytes, made when they are first asked for; null for another name. All
 * hold the rows of support/parquet_rows.js.
 *
 *   duckdb-snappy, -zstd, -gzip, -none   version 1 pages, groups of 2048 rows, dictionaries
 *   duckdb-lz4                           LZ4_RAW
 *   duckdb-v2                            the encodings of version 2: differences, split bytes
 *   arrow-snappy, -zstd, -none           parquet-rs: small pages with page indexes; groups of 2000 rows
 *   arrow-plain                          version 2 pages, no dictionaries
 *   hyparquet-snappy, -none              page indexes, no lists
 *   nested                               what velta has no column for, and dates and unsigned numbers
 *   fixed                                vectors as bytes of a fixed length
 *   frames-…                             a column of numbers in frames of zstd, right or damaged (zstd_frames.js)
 *   random-…, altered-…                  see parquet_random.mjs
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COLUMNS, DIMENSIONS, ROWS } from '../support/parquet_rows.js';
import { ZSTD_FRAMES } from '../support/zstd_frames.js';
import { alteredFile, randomFile } from './parquet_random.mjs';
import { developmentPackage, temporaryFolder } from './tools.mjs';

const SELECT = `SELECT (9007199254740993 + i)::BIGINT AS id, (i % 100)::INTEGER AS small,
    CASE WHEN i % 13 = 0 THEN NULL ELSE i - 2500 END::BIGINT AS sorted,
    CASE WHEN i % 11 = 0 THEN NULL ELSE 'name ' || (i % 50) END AS name, 'row ' || i || ' ü ''€''' AS text,
    i / 4.0::DOUBLE AS price, CASE WHEN i % 5 = 0 THEN NULL ELSE i / 8.0 END::FLOAT AS ratio, i % 3 = 0 AS flag,
    make_timestamp((1600000000000 + i::BIGINT * 60001) * 1000) AS at,
    CASE WHEN i % 17 = 0 THEN NULL ELSE from_hex(printf('%02x', i & 255) || '00ff') END AS blob,
    list_transform(range(${DIMENSIONS}), j -> ((i * 7 + j * 3) % 64) / 8.0 - 4)::FLOAT[] AS embedding
    FROM range(${ROWS}) AS t(i)`;
const NESTED = `SELECT i::UTINYINT AS tiny, (18446744073709551615 - i::UBIGINT)::UBIGINT AS huge,
    4294967295::UINTEGER AS word, DATE '1969-12-31' + i::INTEGER AS day, (i / 100)::DECIMAL(9, 2) AS price,
    TIME '12:34:56' AS clock, {'a': i, 'b': 'x'} AS pair, ['x', 'y'] AS words, [[1.5], [2.5]]::DOUBLE[][] AS deep,
    make_timestamp_ns(-1 - i) AS nanos, [i / 2, NULL]::FLOAT[] AS holes, [1.5, i]::DOUBLE[] AS doubles,
    CASE WHEN i = 1 THEN [] ELSE [1] END::FLOAT[] AS empty, CASE WHEN i = 1 THEN NULL ELSE [i] END::FLOAT[] AS maybe,
    range(i + 1)::FLOAT[] AS uneven FROM range(3) AS t(i)`;

const STRUCTS = `SELECT {'a': [i], 'b': 2 * i} AS first, MAP {i: 2} AS pairs, [i, 1]::FLOAT[] AS list,
    {'a': i, 'b': 'x'} AS pair, i::BIGINT AS id FROM range(5) AS t(i)`;

async function duckdb(select, options) {
    const { DuckDBInstance } = await developmentPackage('@duckdb/node-api');
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const file = join(await temporaryFolder(), 'file.parquet');
    try {
        await connection.run('SET threads = 1');
        await connection.run(`COPY (${select}) TO '${file}' (FORMAT parquet, ROW_GROUP_SIZE 2048, ${options})`);
    } finally {
        connection.closeSync();
        instance.closeSync();
    }
    return readFile(file);
}

async function arrow(compression, more = (builder) => builder, bytes = null, groupRows = 2000) {
    const arrowWriter = await developmentPackage('parquet-wasm');
    const { Compression, WriterPropertiesBuilder, readParquet, writeParquet } = arrowWriter.default ?? arrowWriter;
    const table = readParquet(new Uint8Array(bytes ?? (await parquetFile('duckdb-none'))));
    const builder = new WriterPropertiesBuilder()
        .setCompression(Compression[compression])
        .setMaxRowGroupSize(groupRows)
        .setWriteBatchSize(100)
        .setDataPageSizeLimit(2000);
    return Buffer.from(writeParquet(table, more(builder, arrowWriter.default ?? arrowWriter).build()));
}

async function hyparquet(codec) {
    const { parquetWriteBuffer } = await developmentPackage('hyparquet-writer');
    const types = { int: 'INT64', float: 'DOUBLE', bool: 'BOOLEAN', string: 'STRING', bytes: 'BYTE_ARRAY' };
    const columnData = Object.entries(COLUMNS)
        .filter(([, [type]]) => type !== 'vector')
        .map(([name, [type, value]]) => {
            const data = Array.from({ length: ROWS }, (_, i) => value(i));
            const isTime = type === 'timestamp';
            return {
                name,
                type: isTime ? 'TIMESTAMP' : types[type],
                data: isTime ? data.map((time) => new Date(Number(time))) : data,
                columnIndex: true,
                offsetIndex: true,
            };
        });
    return Buffer.from(parquetWriteBuffer({ columnData, codec, rowGroupSize: 1500, pageSize: 2000 }));
}

/** Vectors as FIXED_LEN_BYTE_ARRAY, which is what some writers make of arrays of a fixed size. */
async function fixed() {
    const { parquetWriteBuffer } = await developmentPackage('hyparquet-writer');
    const vector = COLUMNS.embedding[1];
    const bytes = Array.from({ length: ROWS }, (_, i) => new Uint8Array(vector(i).buffer));
    const element = { type: 'FIXED_LEN_BYTE_ARRAY', type_length: DIMENSIONS * 4, repetition_type: 'REQUIRED' };
    return Buffer.from(
        parquetWriteBuffer({
            columnData: [{ name: 'embedding', data: bytes }],
            schema: [
                { name: 'root', num_children: 1 },
                { name: 'embedding', ...element },
            ],
            rowGroupSize: 2000,
        }),
    );
}

const MAKERS = {
    'duckdb-snappy': () => duckdb(SELECT, "CODEC 'snappy'"),
    'duckdb-zstd': () => duckdb(SELECT, "CODEC 'zstd'"),
    'duckdb-gzip': () => duckdb(SELECT, "CODEC 'gzip'"),
    'duckdb-lz4': () => duckdb(SELECT, "CODEC 'lz4_raw'"),
    'duckdb-none': () => duckdb(SELECT, "CODEC 'uncompressed'"),
    'duckdb-v2': () => duckdb(SELECT, "CODEC 'zstd', PARQUET_VERSION 'V2', DICTIONARY_SIZE_LIMIT 1"),
    'arrow-snappy': () => arrow('SNAPPY'),
    'arrow-zstd': () => arrow('ZSTD'),
    'arrow-none': () => arrow('UNCOMPRESSED'),
    'arrow-plain': () =>
        arrow('SNAPPY', (builder, { WriterVersion }) =>
            builder.setDictionaryEnabled(false).setWriterVersion(WriterVersion.V2),
        ),
    'hyparquet-snappy': () => hyparquet('SNAPPY'),
    'hyparquet-none': () => hyparquet('UNCOMPRESSED'),
    nested: () => duckdb(NESTED, "CODEC 'snappy'"),
    /** A thousand times one value of a million bytes, which a dictionary holds once. */
    repeated: () => duckdb("SELECT encode(repeat('x', 1000000)) AS blob FROM range(1000)", "CODEC 'snappy'"),
    structs: () => duckdb(STRUCTS, "CODEC 'snappy'"),
    brotli: () => duckdb('SELECT i FROM range(1000) AS t(i)', "CODEC 'brotli'"),
    fixed,
};

/** One page of 100 numbers in a frame of a kind. */
async function frames(kind) {
    const { parquetWriteBuffer } = await developmentPackage('hyparquet-writer');
    const data = Array.from({ length: 100 }, (_, i) => BigInt(i));
    const columnData = [{ name: 'id', type: 'INT64', data, encoding: 'PLAIN' }];
    return Buffer.from(parquetWriteBuffer({ columnData, codec: 'ZSTD', compressors: { ZSTD: ZSTD_FRAMES[kind] } }));
}

const made = new Map();

async function make(name) {
    const [kind, first, second] = name.split(/-(.*?)(?:-(\d+))?$/);
    if (kind === 'random' && second !== undefined) {
        const tools = { duckdb, arrow: (bytes, rows) => arrow('SNAPPY', undefined, bytes, rows) };
        return randomFile(first, Number(second), tools);
    }
    if (kind === 'frames') return frames(first);
    if (kind === 'altered') return alteredFile(await parquetFile('arrow-snappy'), first);
    return Object.hasOwn(MAKERS, name) ? MAKERS[name]() : null;
}

export async function parquetFile(name) {
    if (!made.has(name)) made.set(name, make(name));
    return made.get(name);
}
