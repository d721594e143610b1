/*
 * Parquet files of random rows for the property test of pruning (specs/parquet_prune.spec.js), and files whose
 * statistics were altered after they were written.
 *
 *   random-hyparquet-N, random-duckdb-N, random-arrow-N   every type that a filter may name, by the seed N: clustered
 *       and scattered values, runs of NULL, NaN, infinities, both zeros, texts longer than what writers cut off,
 *       unsigned numbers above 2^31, times before 1970, DATE, microseconds and nanoseconds
 *   altered-CHANGE   the rows of arrow-snappy with the statistics of row groups and pages changed: see CHANGES
 */
import { randomFrom } from '../support/random.js';
import { developmentPackage } from './tools.mjs';

const ROWS = 4500;

// ---- random rows

const LONG = 'ä€😀 the beginning of a text that is longer than what a writer keeps in its statistics, and then ';

/** Values of one column: clustered or scattered, with runs of NULL. */
function column(random, make) {
    const isClustered = random.chance(0.6);
    const nullShare = random.pick([0, 0, 0.1, 0.5]);
    const nullsFrom = random.chance(0.4) ? random.below(ROWS) : ROWS;
    return Array.from({ length: ROWS }, (_, i) => {
        if ((i >= nullsFrom && i < nullsFrom + 700) || random.chance(nullShare)) return null;
        return make(isClustered ? Math.floor(i / 40) + random.below(20) : random.below(200), i);
    });
}

const MAKERS = {
    whole: ['INT64', () => (n) => BigInt(n) * 3n - 150n],
    small: ['INT32', () => (n) => n - 60],
    real: [
        'DOUBLE',
        (random) => (n) => {
            return random.chance(0.05) ? random.pick([NaN, NaN, Infinity, -Infinity, 0, -0]) : n / 4 - 20;
        },
    ],
    single: ['FLOAT', (random) => (n) => (random.chance(0.02) ? NaN : n / 8 - 5)],
    flag: ['BOOLEAN', () => (n) => n > 60],
    text: ['STRING', (random) => (n) => `${n > 100 ? LONG : random.pick(['', 'é', 'z'])}${n}`],
    raw: ['BYTE_ARRAY', () => (n) => Uint8Array.from({ length: n % 40 }, (_, j) => (n * 5 + j * 31) & 255)],
    at: ['TIMESTAMP', () => (n, i) => new Date((n - 60) * 86_400_000 + i)],
    constant: ['INT64', () => () => 7n],
};

async function randomHyparquet(random) {
    const { parquetWriteBuffer } = await developmentPackage('hyparquet-writer');
    const columnData = Object.entries(MAKERS).map(([name, [type, maker]]) => ({
        name,
        type,
        data: column(random, maker(random)),
        nullable: true,
        columnIndex: random.chance(0.8),
        offsetIndex: true,
    }));
    const rowGroupSize = 500 + random.below(3000);
    return Buffer.from(parquetWriteBuffer({ columnData, codec: 'SNAPPY', rowGroupSize, pageSize: 1500 }));
}

/** The same shapes in SQL; `h` is random, `n` what MAKERS are given. */
function randomSelect(random) {
    const seed = random.below(1e6);
    const value = (make) => {
        const [clustered, share, from] = [random.chance(0.6), random.pick([0, 0, 10, 50]), random.below(2 * ROWS)];
        const h = (salt) => `(hash(i + ${seed + random.below(1e6)}::BIGINT * ${salt}) >> 8)`;
        const n = clustered ? `(i // 40 + ${h(3)} % 20)::BIGINT` : `(${h(5)} % 200)::BIGINT`;
        const isNull = `(i BETWEEN ${from} AND ${from + 700}) OR ${h(7)} % 100 < ${share}`;
        return `CASE WHEN ${isNull} THEN NULL ELSE ${make(n, h(11))} END`;
    };
    const odd = `CASE h % 6 WHEN 0 THEN 'nan' WHEN 1 THEN 'inf' WHEN 2 THEN '-inf' WHEN 3 THEN '0' ELSE '-0' END`;
    const columns = {
        whole: (n) => `${n} * 3 - 150`,
        small: (n) => `(${n} - 60)::INTEGER`,
        tiny: (n) => `(${n} % 250)::UTINYINT`,
        word: (n) => `(4294967295 - ${n} * 16000000)::UINTEGER`,
        large: (n) => `(9223372036854775807 - ${n} * 40000000000000000)::UBIGINT`,
        real: (n, h) =>
            `CASE WHEN ${h} % 20 = 0 THEN (${odd.replaceAll('h', h)})::DOUBLE ELSE ${n} / 4 - 20 END::DOUBLE`,
        single: (n) => `(${n} / 8 - 5)::FLOAT`,
        flag: (n) => `${n} > 60`,
        text: (n, h) => `CASE WHEN ${n} > 100 THEN '${LONG}' WHEN ${h} % 2 = 0 THEN '' ELSE 'é' END || ${n}`,
        raw: (n) => `from_hex(repeat(printf('%02x', ${n} % 256), (${n} % 30)::INTEGER))`,
        at: (n) => `make_timestamp((${n} - 60) * 86400000001)`,
        nanos: (n) => `make_timestamp_ns((${n} - 60) * 86400000000001)`,
        day: (n) => `DATE '1970-01-01' + (${n} - 60)::INTEGER`,
    };
    const list = Object.entries(columns).map(([name, make]) => `${value(make)} AS ${name}`);
    return `SELECT ${list.join(', ')} FROM range(${ROWS}) AS t(i)`;
}

/** @param tools - duckdb(select, options) and arrow(bytes, rows of a group) of parquet_files.mjs */
export async function randomFile(writer, seed, { duckdb, arrow }) {
    const random = randomFrom(seed * 7919 + writer.length);
    if (writer === 'hyparquet') return randomHyparquet(random);
    const options = `CODEC '${random.pick(['zstd', 'snappy'])}'`;
    const bytes = await duckdb(randomSelect(random), options);
    return writer === 'duckdb' ? bytes : arrow(bytes, 500 + random.below(3000));
}

// ---- altered statistics

/** Changes each pair of bounds, { min, max, type }, of every chunk and page. */
function eachBounds(metadata, indexes, change) {
    for (const { field_1: columns } of metadata.field_4) {
        columns.forEach(({ field_3: meta }) => {
            const stats = meta.field_12;
            const { min, max } = change({ min: stats.field_6, max: stats.field_5, type: meta.field_1 });
            Object.assign(stats, { field_6: min, field_5: max });
        });
    }
    for (const { index, type } of indexes) {
        index.field_2.forEach((min, i) => {
            if (index.field_1[i]) return;
            const changed = change({ min, max: index.field_3[i], type });
            index.field_2[i] = changed.min ?? new Uint8Array(0);
            index.field_3[i] = changed.max ?? new Uint8Array(0);
        });
    }
}

const [FLOAT, DOUBLE, BYTE_ARRAY] = [4, 5, 6];
const NAN = { [FLOAT]: Uint8Array.of(0, 0, 192, 127), [DOUBLE]: Uint8Array.of(0, 0, 0, 0, 0, 0, 248, 127) };

const dropIndex = (chunk) => Object.assign(chunk, { field_6: undefined, field_7: undefined });

const CHANGES = {
    /** Nothing: the statistics still prune. */
    same: () => undefined,
    'no-orders': ({ metadata }) => delete metadata.field_7,
    'unknown-order': ({ metadata }) => (metadata.field_7 = metadata.field_7.map(() => ({ field_9: {} }))),
    /** Bounds in the fields that have no order, wrong ones in them. */
    'old-only': ({ metadata, indexes }) => {
        for (const { field_1: columns } of metadata.field_4) {
            for (const { field_3: meta } of columns) {
                const { field_3: nulls, field_6: min } = meta.field_12;
                const wrong = min && new Uint8Array(min.length);
                meta.field_12 = { field_1: wrong, field_2: wrong, field_3: nulls };
            }
        }
        for (const { chunk } of indexes) dropIndex(chunk);
    },
    none: ({ metadata, indexes }) => {
        for (const { field_1: columns } of metadata.field_4)
            for (const { field_3: meta } of columns) delete meta.field_12;
        for (const { chunk } of indexes) dropIndex(chunk);
    },
    'no-null-counts': ({ metadata, indexes }) => {
        for (const { field_1: columns } of metadata.field_4) {
            for (const { field_3: meta } of columns) delete meta.field_12.field_3;
        }
        for (const { index } of indexes) delete index.field_5;
    },
    nan: ({ metadata, indexes }) =>
        eachBounds(metadata, indexes, ({ min, max, type }) => ({ min: NAN[type] ?? min, max: NAN[type] ?? max })),
    crossed: ({ metadata, indexes }) => eachBounds(metadata, indexes, ({ min, max }) => ({ min: max, max: min })),
    /** Of pages; in the footer they are damage. */
    short: ({ indexes }) => {
        for (const { index } of indexes) {
            for (const list of [index.field_2, index.field_3]) list.forEach((b, i) => (list[i] = b.subarray(0, 3)));
        }
    },
    /** Greatest texts that end within a character; least ones cut off within one. */
    'broken-text': ({ metadata, indexes }) =>
        eachBounds(metadata, indexes, ({ min, max, type }) => {
            if (type !== BYTE_ARRAY || !max) return { min, max };
            return { min: Buffer.concat([min.subarray(0, 2), Buffer.of(0xc3)]).subarray(0, 2), max: Buffer.of(0xc3) };
        }),
    'empty-max': ({ metadata, indexes }) =>
        eachBounds(metadata, indexes, ({ min, max, type }) => {
            return type === BYTE_ARRAY ? { min: new Uint8Array(0), max: new Uint8Array(0) } : { min, max };
        }),
};

/** A file with its footer and column indexes written anew, after the change; the pages stay where they are. */
export async function alteredFile(bytes, name) {
    const change = CHANGES[name];
    if (change === undefined) return null;
    const { ByteWriter } = await developmentPackage('hyparquet-writer');
    const { deserializeTCompactProtocol } = await developmentPackage('hyparquet/src/thrift.js');
    const { serializeTCompactProtocol } = await developmentPackage('hyparquet-writer/src/thrift.js');
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const thriftAt = (offset) => deserializeTCompactProtocol({ view, offset });
    const footerBytes = bytes.readUInt32LE(bytes.length - 8);
    const footerStart = bytes.length - 8 - footerBytes;
    const metadata = thriftAt(footerStart);
    const chunks = metadata.field_4.flatMap(({ field_1: columns }) => columns);
    const indexes = chunks.map((chunk) => {
        return { chunk, type: chunk.field_3.field_1, index: thriftAt(Number(chunk.field_6)) };
    });
    change({ metadata, indexes });
    const writer = new ByteWriter();
    writer.appendBytes(bytes.subarray(0, footerStart));
    for (const { chunk, index } of indexes) {
        if (chunk.field_6 === undefined) continue;
        chunk.field_6 = BigInt(writer.offset);
        serializeTCompactProtocol(writer, index);
        chunk.field_7 = writer.offset - Number(chunk.field_6);
    }
    const start = writer.offset;
    serializeTCompactProtocol(writer, metadata);
    const length = writer.offset - start;
    writer.appendUint32(length);
    writer.appendUint32(0x31524150);
    return Buffer.from(writer.getBuffer());
}
