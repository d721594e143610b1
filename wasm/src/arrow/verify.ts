/**
 * Checks the metadata of Arrow IPC (FlatBuffers) before flechette reads it, which believes what it says: a length of
 * two billion, a field that is its own child, a table outside of the bytes.
 *
 * A description of each table says what its fields are; the walk over them follows the same references that the reader
 * will follow. Every table, vector and string lies within the bytes, tables nest no deeper than 64, and all that is
 * visited together is not more than a few times the bytes that are there, so that reading it takes time and memory in
 * proportion to its size.
 */
import { VeltaError } from '../errors.js';

/** An error of the bytes. @internal */
export function corrupt(message: string, cause?: unknown): VeltaError {
    return new VeltaError('CORRUPT', `the Arrow data is damaged: ${message}`, { cause });
}

/** What a field of a table is: so many bytes in it, or a reference to a string, a table, or a vector of them. */
type Kind =
    | { readonly is: 'bytes'; readonly size: number }
    | { readonly is: 'string' }
    | { readonly is: 'table'; readonly table: Description }
    | { readonly is: 'structs'; readonly size: number }
    | { readonly is: 'tables'; readonly table: Description }
    /** A table of a kind that the field before it says. */
    | { readonly is: 'union'; readonly tables: Readonly<Record<number, Description>> };
/** The fields of a table in order; a function, as tables may contain their own kind. */
type Description = () => readonly Kind[];

const bytes = (size: number): Kind => ({ is: 'bytes', size });
const structs = (size: number): Kind => ({ is: 'structs', size });
const table = (description: Description): Kind => ({ is: 'table', table: description });
const tables = (description: Description): Kind => ({ is: 'tables', table: description });
const string: Kind = { is: 'string' };

const none: Description = () => [];
const short: Description = () => [bytes(2)];
const word: Description = () => [bytes(4)];
const integer: Description = () => [bytes(4), bytes(1)];
const keyValue: Description = () => [string, string];
/** Tables of types by their number; those that are not here are unknown. */
const TYPES: Readonly<Record<number, Description>> = {
    1: none, // Null
    2: integer,
    3: short, // Float
    4: none, // Binary
    5: none, // Utf8
    6: none, // Bool
    7: () => [bytes(4), bytes(4), bytes(4)], // Decimal
    8: short, // Date
    9: () => [bytes(2), bytes(4)], // Time
    10: () => [bytes(2), string], // Timestamp
    11: short, // Interval
    12: none, // List
    13: none, // Struct
    14: () => [bytes(2), structs(4)], // Union
    15: word, // FixedSizeBinary
    16: word, // FixedSizeList
    17: () => [bytes(1)], // Map
    18: short, // Duration
    19: none, // LargeBinary
    20: none, // LargeUtf8
    21: none, // LargeList
    22: none, // RunEndEncoded
    23: none, // BinaryView
    24: none, // Utf8View
    25: none, // ListView
    26: none, // LargeListView
};
const dictionaryEncoding: Description = () => [bytes(8), table(integer), bytes(1), bytes(2)];
const field: Description = () => [
    string,
    bytes(1),
    bytes(1),
    { is: 'union', tables: TYPES },
    table(dictionaryEncoding),
    tables(field),
    tables(keyValue),
];
const schema: Description = () => [bytes(2), tables(field), tables(keyValue), structs(8)];
const compression: Description = () => [bytes(1), bytes(1)];
const recordBatch: Description = () => [bytes(8), structs(16), structs(16), table(compression), structs(8)];
const dictionaryBatch: Description = () => [bytes(8), table(recordBatch), bytes(1)];
const HEADERS: Readonly<Record<number, Description>> = { 1: schema, 2: dictionaryBatch, 3: recordBatch };
const message: Description = () => [bytes(2), bytes(1), { is: 'union', tables: HEADERS }, bytes(8), tables(keyValue)];
const footer: Description = () => [bytes(2), table(schema), structs(24), structs(24), tables(keyValue)];

const DEEPEST = 64;
/** Names and key-value pairs may be shared by many tables, so that more is visited than there are bytes. */
const VISITS = 8;
const V4 = 3;
const V5 = 4;

/** A walk over one FlatBuffer. */
class Walk {
    readonly view: DataView;
    #left: number;

    constructor(data: Uint8Array) {
        this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
        this.#left = VISITS * data.byteLength;
    }

    /** Refuses a place outside of the bytes; counts what is visited. */
    #visit(at: number, size: number): void {
        if (at < 0 || at + size > this.view.byteLength) throw corrupt('its metadata points outside of itself');
        this.#left -= size;
        if (this.#left < 0) throw corrupt('its metadata repeats itself');
    }

    /** Where a reference points: forward. */
    follow(at: number): number {
        this.#visit(at, 4);
        const distance = this.view.getUint32(at, true);
        if (distance === 0) throw corrupt('its metadata points at itself');
        return at + distance;
    }

    /** Where a field of a table is; 0: it has none. */
    fieldAt(at: number, index: number): number {
        const vtable = at - this.view.getInt32(at, true);
        const place = 4 + 2 * index;
        if (place + 2 > this.view.getUint16(vtable, true)) return 0;
        const offset = this.view.getUint16(vtable + place, true);
        return offset === 0 ? 0 : at + offset;
    }

    table(at: number, description: Description, depth: number): void {
        if (depth > DEEPEST) throw corrupt(`its metadata nests deeper than ${DEEPEST}`);
        this.#visit(at, 4);
        const vtable = at - this.view.getInt32(at, true);
        this.#visit(vtable, 4);
        const vtableSize = this.view.getUint16(vtable, true);
        const size = this.view.getUint16(vtable + 2, true);
        // The reader takes both for signed.
        if (vtableSize < 4 || vtableSize % 2 !== 0 || vtableSize > 0x7fff || size < 4 || size > 0x7fff) {
            throw corrupt('a table of its metadata has no size that can be');
        }
        this.#visit(vtable, vtableSize);
        this.#visit(at, size);
        description().forEach((kind, index) => {
            const place = this.fieldAt(at, index);
            const width = kind.is === 'bytes' ? kind.size : 4;
            if (place === 0) return;
            if (place < at + 4 || place + width > at + size) throw corrupt('a table of its metadata exceeds itself');
            this.#field(at, index, place, kind, depth);
        });
    }

    #field(at: number, index: number, place: number, kind: Kind, depth: number): void {
        if (kind.is === 'bytes') return;
        if (kind.is === 'union') {
            const number = this.fieldAt(at, index - 1);
            const description = number === 0 ? undefined : kind.tables[this.view.getUint8(number)];
            // What no description is known of is not followed: the reader refuses its number.
            if (description !== undefined) this.table(this.follow(place), description, depth + 1);
            return;
        }
        const target = this.follow(place);
        if (kind.is === 'table') {
            this.table(target, kind.table, depth + 1);
            return;
        }
        this.#visit(target, 4);
        const count = this.view.getUint32(target, true);
        const stride = kind.is === 'string' ? 1 : kind.is === 'structs' ? kind.size : 4;
        this.#visit(target + 4, count * stride);
        if (kind.is !== 'tables') return;
        for (let i = 0; i < count; i++) this.table(this.follow(target + 4 + 4 * i), kind.table, depth + 1);
    }
}

/** An unsigned number of 64 bits. @internal */
export function readLength(view: DataView, at: number, what: string): number {
    const value = view.getBigInt64(at, true);
    if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(`${what} is ${value}`);
    return Number(value);
}

function versionOf(walk: Walk, root: number): number {
    const at = walk.fieldAt(root, 0);
    const version = at === 0 ? 0 : walk.view.getInt16(at, true);
    if (version === V4 || version === V5) return version;
    if (version < V4) throw new VeltaError('UNSUPPORTED', 'the Arrow data is of a format before version 0.8');
    throw corrupt(`its metadata is of version ${version}`);
}

/** What kinds of messages there are, by their numbers. @internal */
export const SCHEMA = 1;
export const DICTIONARY = 2;
export const RECORDS = 3;

/** What a message is, and how long its body. @internal */
export interface Header {
    /** Of the format: 3 is V4, 4 is V5. */
    readonly version: number;
    readonly kind: number;
    readonly bodyBytes: number;
}

/**
 * Checks the metadata of a message.
 * @throws {VeltaError} CORRUPT, UNSUPPORTED
 * @internal
 */
export function verifyMessage(metadata: Uint8Array): Header {
    const walk = new Walk(metadata);
    const root = walk.follow(0);
    walk.table(root, message, 0);
    const version = versionOf(walk, root);
    const kindAt = walk.fieldAt(root, 1);
    const headerAt = walk.fieldAt(root, 2);
    const bodyAt = walk.fieldAt(root, 3);
    const kind = kindAt === 0 ? 0 : walk.view.getUint8(kindAt);
    if (kind === 4 || kind === 5) throw new VeltaError('UNSUPPORTED', 'the Arrow data has a tensor, which is no table');
    if (HEADERS[kind] === undefined || headerAt === 0) throw corrupt(`a message is of kind ${kind}`);
    if (kind === SCHEMA) verifyTypes(walk, walk.follow(headerAt));
    if (kind === DICTIONARY && walk.fieldAt(walk.follow(headerAt), 1) === 0)
        throw corrupt('a dictionary has no values');
    const bodyBytes = bodyAt === 0 ? 0 : readLength(walk.view, bodyAt, "the length of a message's body");
    return { version, kind, bodyBytes };
}

/** Each field has a name, a type that is known, the table of that type, and the children that it needs. */
function verifyTypes(walk: Walk, schemaAt: number): void {
    const vector = (at: number, index: number): number[] => {
        const place = walk.fieldAt(at, index);
        if (place === 0) return [];
        const target = walk.follow(place);
        const count = walk.view.getUint32(target, true);
        return Array.from({ length: count }, (_, i) => walk.follow(target + 4 + 4 * i));
    };
    const visit = (at: number): void => {
        const typeAt = walk.fieldAt(at, 2);
        const type = typeAt === 0 ? 0 : walk.view.getUint8(typeAt);
        if (TYPES[type] === undefined || walk.fieldAt(at, 3) === 0) throw corrupt(`a field is of type ${type}`);
        const children = vector(at, 5);
        const isList = type === 12 || type === 16 || type === 17 || type === 21 || type === 25 || type === 26;
        const wanted = isList ? 1 : type === 22 ? 2 : type === 13 || type === 14 ? children.length : 0;
        if (children.length !== wanted) throw corrupt(`a field of type ${type} has ${children.length} children`);
        children.forEach(visit);
    };
    vector(schemaAt, 1).forEach(visit);
}

/** Where a message of a file lies. @internal */
export interface FileBlock {
    readonly offset: number;
    readonly metadataBytes: number;
    readonly bodyBytes: number;
}

/** What a footer says. @internal */
export interface FileFooter {
    readonly version: number;
    /** Where the reference to the schema is. */
    readonly schemaAt: number;
    readonly dictionaries: readonly FileBlock[];
    readonly records: readonly FileBlock[];
}

/**
 * Checks the footer of a file; gives where its schema, its dictionaries and its record batches lie.
 * @throws {VeltaError} CORRUPT, UNSUPPORTED
 * @internal
 */
export function verifyFooter(data: Uint8Array): FileFooter {
    const walk = new Walk(data);
    const root = walk.follow(0);
    walk.table(root, footer, 0);
    const version = versionOf(walk, root);
    const schemaAt = walk.fieldAt(root, 1);
    if (schemaAt === 0) throw corrupt('its footer has no schema');
    verifyTypes(walk, walk.follow(schemaAt));
    const { view } = walk;
    const blocks = (index: number): FileBlock[] => {
        const place = walk.fieldAt(root, index);
        if (place === 0) return [];
        const target = walk.follow(place);
        return Array.from({ length: view.getUint32(target, true) }, (_, i) => {
            const at = target + 4 + 24 * i;
            return {
                offset: readLength(view, at, "a message's place"),
                metadataBytes: view.getUint32(at + 8, true),
                bodyBytes: readLength(view, at + 16, 'the length of a body'),
            };
        });
    };
    return { version, schemaAt, dictionaries: blocks(2), records: blocks(3) };
}
