/**
 * The footer of a Parquet file: its columns, row groups and where their chunks lie, checked before anything is fetched
 * or reserved by what it says. hyparquet reads the Thrift; what it gives is as hostile as the bytes were.
 *
 * How Parquet's types become the engine's:
 *   BOOLEAN                                    bool
 *   INT32, INT64, of any width and sign        int; an unsigned value beyond 63 bits is LIMIT when it is met
 *   DATE, TIMESTAMP (ms, µs, ns)               timestamp, rounded down to the millisecond; a DATE is midnight in UTC
 *   FLOAT, DOUBLE                              float
 *   BYTE_ARRAY of text (STRING, ENUM, JSON)    string
 *   other BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY     bytes; fixed ones of 4 n bytes may be asked for as vectors of n float32
 *   a list of FLOAT or DOUBLE                  vector
 * DECIMAL, TIME, INTERVAL, INT96, FLOAT16, structs, maps and other lists are refused when they are asked for.
 */
import type { ColumnChunk, FileMetaData, SchemaElement } from 'hyparquet';
import { parquetMetadata } from 'hyparquet/src/metadata.js';
import { deserializeTCompactProtocol } from 'hyparquet/src/thrift.js';
import { VeltaError, quoted } from '../errors.js';
import type { Incoming, IncomingColumns } from '../imports/incoming.js';
import type { ColumnType } from '../schema.js';
import { corrupt } from './encodings.js';

/** Which rule makes the engine's value. @internal */
export type Rule = 'as is' | 'unsigned' | 'days' | 'millis' | 'micros' | 'nanos';

/** A column of the file. @internal */
export interface Column {
    readonly name: string;
    /** The engine's type; null where it is refused. */
    readonly type: ColumnType | null;
    /** Why it is refused. */
    readonly refusal: string;
    readonly rule: Rule;
    /**
     * Whether the file says that bounds of this column are in the order of its type. Without that only bounds of signed
     * numbers and bools mean anything.
     */
    readonly isOrdered: boolean;
    /** Place among the chunks of a group; of a struct or a map: of the first of its chunks. */
    readonly leaf: number;
    /** How many chunks it has in a group. */
    readonly leaves: number;
    readonly physical: string;
    readonly typeLength: number;
    readonly maxDefinition: number;
    /** 1 for lists. */
    readonly maxRepetition: number;
    /** Definition level from which on a list has an element. */
    readonly listDefinition: number;
}

/** Bytes of a file. @internal */
export interface Span {
    readonly start: number;
    readonly end: number;
}

/** What a writer said of the values of a chunk or page; null where it did not. @internal */
export interface RawStatistics {
    readonly nullCount: number | null;
    /** A least and a greatest value as plain bytes; those of text may be cut off, which makes them bounds still. */
    readonly min: Uint8Array | null;
    readonly max: Uint8Array | null;
}

/** A column's part of a row group. @internal */
export interface Chunk extends Span {
    readonly codec: string;
    readonly valueCount: number;
    readonly uncompressedBytes: number;
    readonly statistics: RawStatistics;
    readonly offsetIndex: Span | null;
    readonly columnIndex: Span | null;
}

/** A row group. @internal */
export interface Group {
    /** Number of its first row in the file. */
    readonly startRow: number;
    readonly rows: number;
    readonly chunks: readonly Chunk[];
}

/** What a footer says. @internal */
export interface Footer {
    readonly rows: number;
    readonly createdBy: string;
    readonly footerBytes: number;
    readonly columns: readonly Column[];
    readonly groups: readonly Group[];
}

const MAGIC = 0x31524150; // PAR1
const ENCRYPTED = 0x45524150; // PARE
const MOST_ROWS = 0xffffffff;
const TAIL_BYTES = 8;

/**
 * Bytes of the footer with its tail, by the last bytes of the file.
 * @throws {VeltaError} CORRUPT, UNSUPPORTED
 * @internal
 */
export function footerLength(tail: Uint8Array, fileBytes: number): number {
    if (tail.length < TAIL_BYTES || fileBytes < 12) throw corrupt('it is too short');
    const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
    const magic = view.getUint32(tail.length - 4, true);
    if (magic === ENCRYPTED) throw new VeltaError('UNSUPPORTED', 'the Parquet file is encrypted');
    if (magic !== MAGIC) throw corrupt('it does not end with PAR1');
    const length = view.getUint32(tail.length - TAIL_BYTES, true);
    if (length > fileBytes - 12) throw corrupt('its footer is longer than the file');
    return length + TAIL_BYTES;
}

function whole(value: unknown, what: string, most: number = Number.MAX_SAFE_INTEGER): number {
    const number = typeof value === 'bigint' || typeof value === 'number' ? Number(value) : NaN;
    if (!Number.isSafeInteger(number) || number < 0 || number > most) throw corrupt(`${what} is ${String(value)}`);
    return number;
}

/**
 * hyparquet makes values of the statistics, which are not looked at: they are read once more, as the bytes they are,
 * with the orders of the columns, which it leaves out.
 */
const UNREAD = {
    timestampFromMilliseconds: () => undefined,
    timestampFromMicroseconds: () => undefined,
    timestampFromNanoseconds: () => undefined,
    dateFromDays: () => undefined,
    stringFromBytes: () => undefined,
    jsonFromBytes: () => undefined,
    geometryFromBytes: () => undefined,
    geographyFromBytes: () => undefined,
    uuidFromBytes: () => undefined,
};

/** A Thrift struct by its fields' numbers. @internal */
export type Thrift = Readonly<Record<`field_${number}`, unknown>>;

const STRUCT = 12;

/**
 * Walks over a struct of Thrift before hyparquet reads it: that makes room for as many items as a list says it has, be
 * they there or not, and puts together numbers of any length.
 * @param what - says that it is damaged
 * @throws {VeltaError} CORRUPT
 * @internal
 */
export function checkThrift(bytes: Uint8Array, offset: number, what: string): void {
    const fail = (why: string): VeltaError => corrupt(`${what} (${why})`);
    let at = offset;
    const byte = (): number => {
        if (at >= bytes.length) throw fail('it ends too early');
        return bytes[at++] as number;
    };
    const varint = (): number => {
        let value = 0;
        for (let i = 0; i < 10; i++) {
            const next = byte();
            value += (next & 0x7f) * 2 ** (7 * i);
            if (next < 0x80) return value;
        }
        throw fail('a number has too many bytes');
    };
    const skip = (count: number): void => {
        at += count;
    };
    const list = (depth: number): void => {
        const head = byte();
        const type = head & 15;
        const count = head >> 4 === 15 ? varint() : head >> 4;
        // A bool takes a byte here, so that every item takes one at least.
        for (let i = 0; i < count; i++) walk(type === 1 || type === 2 ? 3 : type, depth);
    };
    const walk = (type: number, depth: number): void => {
        if (depth > DEEPEST) throw fail('it nests too deeply');
        if (type === 3) byte();
        else if (type >= 4 && type <= 6) varint();
        else if (type === 7) skip(8);
        else if (type === 8) skip(varint());
        else if (type === 9) list(depth + 1);
        else if (type === STRUCT) {
            for (let head = byte(); (head & 15) !== 0; head = byte()) {
                if (head >> 4 === 0) varint();
                walk(head & 15, depth + 1);
            }
        } else if (type !== 1 && type !== 2) throw fail(`it has a field of type ${type}`);
    };
    walk(STRUCT, 0);
}

/** @throws {VeltaError} CORRUPT @internal */
export function readThrift(bytes: Uint8Array, what: string): Thrift {
    checkThrift(bytes, 0, `${what} cannot be read`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    try {
        return deserializeTCompactProtocol({ view, offset: 0 }) as Thrift;
    } catch (error) {
        throw corrupt(`${what} cannot be read (${String(error)})`);
    }
}

/** The field of a struct that should be one; undefined where it is not there. */
function field(value: unknown, number: number): unknown {
    return typeof value === 'object' && value !== null ? (value as Thrift)[`field_${number}`] : undefined;
}

/** An item of a list that should be one. */
function item(value: unknown, index: number): unknown {
    return Array.isArray(value) ? (value as readonly unknown[])[index] : undefined;
}

/** A count of NULLs among so many values. @throws {VeltaError} CORRUPT @internal */
export function nullCountOf(value: unknown, most: number): number | null {
    return value === undefined ? null : whole(value, 'a count of NULLs', most);
}

/** @throws {VeltaError} CORRUPT, UNSUPPORTED, LIMIT @internal */
export function parseFooter(bytes: Uint8Array, fileBytes: number): Footer {
    const raw = readThrift(bytes, 'its footer');
    let found: FileMetaData;
    try {
        found = parquetMetadata(bytes, { parsers: UNREAD, geoparquet: false });
    } catch (error) {
        throw corrupt(`its footer cannot be read (${String(error)})`);
    }
    const leaves: SchemaElement[] = [];
    const columns = readSchema(found.schema, leaves, raw.field_7);
    const dataEnd = fileBytes - bytes.length;
    let startRow = 0;
    const groups = found.row_groups.map((group, i) => {
        const rows = whole(group.num_rows, `the number of rows of group ${i}`, MOST_ROWS);
        if (group.columns.length !== leaves.length) throw corrupt(`group ${i} has another number of columns`);
        const rawChunks = field(item(raw.field_4, i), 1);
        const chunks = group.columns.map((chunk, leaf) => {
            const statistics = field(field(item(rawChunks, leaf), 3), 12);
            return readChunk(chunk, leaves[leaf] as SchemaElement, statistics, fileBytes, dataEnd);
        });
        for (const { leaf, type, maxRepetition, name } of columns) {
            const { valueCount } = chunks[leaf] as Chunk;
            if (type !== null && maxRepetition === 0 && valueCount !== rows) {
                throw corrupt(`column '${name}' has ${valueCount} values for ${rows} rows`);
            }
        }
        startRow += rows;
        return { startRow: startRow - rows, rows, chunks };
    });
    if (startRow > MOST_ROWS) throw new VeltaError('LIMIT', `the Parquet file has ${startRow} rows`);
    if (whole(found.num_rows, 'the number of rows') !== startRow) throw corrupt('its groups have other rows than it');
    const createdBy = typeof found.created_by === 'string' ? found.created_by : '';
    return { rows: startRow, createdBy, footerBytes: bytes.length, columns, groups };
}

function readChunk(
    chunk: ColumnChunk,
    leaf: SchemaElement,
    statistics: unknown,
    fileBytes: number,
    dataEnd: number,
): Chunk {
    const meta = chunk.meta_data;
    if (chunk.file_path) throw new VeltaError('UNSUPPORTED', 'the Parquet file keeps columns in other files');
    if (chunk.crypto_metadata !== undefined) throw new VeltaError('UNSUPPORTED', 'a column of the file is encrypted');
    if (meta === undefined || meta.type !== leaf.type) throw corrupt('a chunk is of another type than its column');
    const data = whole(meta.data_page_offset, 'the offset of a page');
    const dictionary = whole(meta.dictionary_page_offset ?? 0, 'the offset of a dictionary');
    const start = dictionary > 0 && dictionary < data ? dictionary : data;
    const end = start + whole(meta.total_compressed_size, 'the size of a chunk');
    if (start < 4 || end > dataEnd) throw corrupt('a chunk lies outside of the file');
    const span = (from: unknown, length: unknown): Span | null => {
        if (from === undefined || length === undefined || length === 0) return null;
        const first = whole(from, 'the offset of an index');
        const last = first + whole(length, 'the length of an index');
        if (first < 4 || last > fileBytes) throw corrupt('an index lies outside of the file');
        return { start: first, end: last };
    };
    const valueCount = whole(meta.num_values, 'the number of values of a chunk');
    return {
        start,
        end,
        codec: String(meta.codec),
        valueCount,
        uncompressedBytes: whole(meta.total_uncompressed_size, 'the size of a chunk'),
        // Fields 1 and 2 are older bounds, of an order that nobody wrote down.
        statistics: {
            nullCount: nullCountOf(field(statistics, 3), valueCount),
            min: bytesOrNull(field(statistics, 6)),
            max: bytesOrNull(field(statistics, 5)),
        },
        offsetIndex: span(chunk.offset_index_offset, chunk.offset_index_length),
        columnIndex: span(chunk.column_index_offset, chunk.column_index_length),
    };
}

function bytesOrNull(value: unknown): Uint8Array | null {
    return value instanceof Uint8Array ? value.slice() : null; // a copy, so that the footer is not kept for it
}

// ---- the schema: a tree, written node by node, each with the number of its children

interface Node {
    readonly element: SchemaElement;
    readonly children: Node[];
    /** Number of its first leaf, and how many it has. */
    readonly leaf: number;
    readonly leaves: number;
}

const DEEPEST = 100;

function readSchema(schema: readonly SchemaElement[], leaves: SchemaElement[], orders: unknown): Column[] {
    let next = 0;
    const read = (depth: number): Node => {
        const node = schema[next++];
        if (node === undefined || depth > DEEPEST) throw corrupt('its schema is no tree');
        const count = whole(node.num_children ?? 0, 'a number of columns', schema.length);
        const isLeaf = count === 0 && depth > 0;
        if (isLeaf && node.type === undefined) throw corrupt('a column has no type');
        if (typeof node.name !== 'string') throw corrupt('a column has no name');
        const leaf = leaves.length;
        if (isLeaf) leaves.push(node);
        const children: Node[] = [];
        for (let i = 0; i < count; i++) children.push(read(depth + 1));
        return { element: node, children, leaf, leaves: leaves.length - leaf };
    };
    const root = read(0);
    // hyparquet pairs chunks with the elements that have a type: a group with one would shift them.
    if (next !== schema.length || schema.filter((each) => each.type !== undefined).length !== leaves.length) {
        throw corrupt('its schema is no tree');
    }
    const columns = root.children.map((child) => {
        const column = columnOf(child);
        // The union's first member is the order of the type; what newer members mean is not known here.
        return { ...column, isOrdered: field(item(orders, column.leaf), 1) !== undefined };
    });
    if (new Set(columns.map(({ name }) => name)).size !== columns.length) throw corrupt('two columns have one name');
    return columns;
}

function columnOf(top: Node): Omit<Column, 'isOrdered'> {
    const path: SchemaElement[] = [];
    let node: Node = top;
    for (; ; node = node.children[0] as Node) {
        path.push(node.element);
        if (node.children.length !== 1) break;
    }
    const { element, leaf, leaves } = node;
    const repeated = path.findIndex((each) => each.repetition_type === 'REPEATED');
    const definitions = path.map((_, i) => path.slice(0, i + 1).filter((p) => p.repetition_type !== 'REQUIRED').length);
    const common = {
        name: top.element.name,
        leaf,
        leaves,
        physical: String(element.type),
        typeLength: whole(element.type_length ?? 0, 'the length of a type', 1 << 24),
        maxDefinition: definitions.at(-1) as number,
        maxRepetition: path.filter((each) => each.repetition_type === 'REPEATED').length,
        listDefinition: repeated < 0 ? 0 : (definitions[repeated] as number),
    };
    const refused = (refusal: string): Omit<Column, 'isOrdered'> => ({ ...common, type: null, refusal, rule: 'as is' });
    if (node.children.length > 0) return refused('is a struct or a map');
    if (path.length === 1 && repeated < 0) return { ...common, ...typeOf(element) };
    if (common.maxRepetition !== 1 || path.length > 3) return refused('is nested');
    if (element.type !== 'FLOAT' && element.type !== 'DOUBLE') return refused('is a list, and not of float or double');
    return { ...common, type: 'vector', refusal: '', rule: 'as is' };
}

interface TypeFound {
    readonly type: ColumnType | null;
    readonly rule: Rule;
    readonly refusal: string;
}

function typeOf(element: SchemaElement): TypeFound {
    const { type, converted_type: converted, logical_type: logical } = element;
    const is = (found: ColumnType, rule: Rule = 'as is'): TypeFound => ({ type: found, rule, refusal: '' });
    const refused = (what: string): TypeFound => ({ type: null, rule: 'as is', refusal: `is ${what}` });
    const name = logical?.type ?? converted ?? '';
    if (name === 'DECIMAL')
        return refused('a DECIMAL, which no column of velta holds without loss: cast it on writing');
    if (name.startsWith('TIME') && !name.startsWith('TIMESTAMP')) return refused('a TIME of day');
    if (['INTERVAL', 'FLOAT16', 'VARIANT', 'GEOMETRY', 'GEOGRAPHY'].includes(name)) return refused(`of type ${name}`);
    switch (type) {
        case 'BOOLEAN':
            return is('bool');
        case 'FLOAT':
        case 'DOUBLE':
            return is('float');
        case 'INT32':
        case 'INT64':
            return numberType(element, name, is);
        case 'BYTE_ARRAY':
            return is(['STRING', 'UTF8', 'ENUM', 'JSON'].includes(name) ? 'string' : 'bytes');
        case 'FIXED_LEN_BYTE_ARRAY':
            return is('bytes');
        default:
            return refused(`of the type ${String(type)}`);
    }
}

function numberType(
    element: SchemaElement,
    name: string,
    is: (found: ColumnType, rule?: Rule) => TypeFound,
): TypeFound {
    const { logical_type: logical, converted_type: converted } = element;
    if (name === 'DATE') return is('timestamp', 'days');
    if (name.startsWith('TIMESTAMP')) {
        const unit =
            logical?.type === 'TIMESTAMP' ? logical.unit : converted === 'TIMESTAMP_MICROS' ? 'MICROS' : 'MILLIS';
        return is('timestamp', unit === 'NANOS' ? 'nanos' : unit === 'MICROS' ? 'micros' : 'millis');
    }
    const isUnsigned = logical?.type === 'INTEGER' ? !logical.isSigned : (converted ?? '').startsWith('UINT');
    return is('int', isUnsigned ? 'unsigned' : 'as is');
}

// ---- columns by name

/** A column by name. @throws {VeltaError} NOT_FOUND, UNSUPPORTED @internal */
export function columnNamed(footer: Footer, name: string): Column {
    const column = footer.columns.find((each) => each.name === name);
    if (column === undefined) {
        const names = footer.columns.map((each) => each.name);
        const listed = names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
        throw new VeltaError('NOT_FOUND', `the Parquet file has no column ${quoted(name)}; there are ${listed}`);
    }
    if (column.type === null) {
        throw new VeltaError('UNSUPPORTED', `column ${quoted(name)} of the Parquet file ${column.refusal}`);
    }
    return column;
}

/** The type that a column is decoded to. @throws {VeltaError} TYPE @internal */
export function typeFor(column: Column, { vectors }: { readonly vectors?: readonly string[] | undefined }): ColumnType {
    const type = column.type as ColumnType;
    if (vectors === undefined || !vectors.includes(column.name) || type === 'vector') return type;
    if (column.physical !== 'FIXED_LEN_BYTE_ARRAY' || column.typeLength % 4 !== 0) {
        throw new VeltaError('TYPE', `column ${quoted(column.name)} of the Parquet file is ${type}, and no vector`);
    }
    return 'vector';
}

/** What it is in messages. @internal */
export const SOURCE = 'the Parquet file';

/** A column of the file as what is to be imported. @internal */
export interface ParquetIncoming extends Incoming {
    readonly type: ColumnType;
    readonly of: Column;
}

/** The file's columns, those that are refused included. @internal */
export function incomingColumns(footer: Footer): IncomingColumns<ParquetIncoming> {
    const find = (name: string, as?: ColumnType): ParquetIncoming => {
        const of = columnNamed(footer, name);
        const type = typeFor(of, { vectors: as === 'vector' ? [name] : [] });
        const dimensions = type === 'vector' && of.type !== 'vector' ? of.typeLength / 4 : 0;
        return { name, type, dimensions, required: false, of };
    };
    return { source: SOURCE, names: footer.columns.map(({ name }) => name), find };
}
