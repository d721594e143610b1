/*
 * Deltas as records, the binary form in which they travel: docs/FORMAT.md, section 8. Written and read here; applied by
 * the engine, which reads them where they lie.
 *
 * A record is a multiple of 8 bytes and begins at one, so every number in it is at its natural place.
 */
import type { DeltaOperation, TableDelta } from '../delta.js';
import type { VectorDelta } from '../delta_vector_db.js';
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import { utf8Bytes } from '../instance.js';
import { copyFloats, copyWords, elementCount, isDetached, millisecondsOf } from '../values.js';

/** A delta on its way: of a table, named by `key`, or of a {@link DeltaVectorDB}, named by `vectorId`. */
export type StreamDelta = (TableDelta | VectorDelta) & {
    /** Its number in its stream, greater than that of the one before. Default: one more. */
    readonly sequence?: number;
};

/** A delta read from a record. */
export interface RecordDelta extends TableDelta {
    readonly sequence: number;
}

/** Bytes of a record before its parts. @internal */
export const HEAD_BYTES = 40;
const TWO_32 = 4_294_967_296;
const FLAG_SET = 1;
const FLAG_TEXT = 2;
const KEY_LOOP = 48; // up to here a loop is faster than an encoder
const LARGEST_TIME = 8.64e15;
const OPERATIONS = ['create', 'sparse', 'dense', 'scale', 'offset', 'delete'] as const;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

/** Views of memory that records lie in. @internal */
export class RecordViews {
    readonly u8: Uint8Array;
    readonly u32: Uint32Array;
    readonly f32: Float32Array;

    /** `bytes`: a multiple of 8. */
    constructor(buffer: ArrayBufferLike, offset: number, bytes: number) {
        this.u8 = new Uint8Array(buffer, offset, bytes);
        this.u32 = new Uint32Array(buffer, offset, bytes >>> 2);
        this.f32 = new Float32Array(buffer, offset, bytes >>> 2);
    }
}

function typeError(what: string, expected: string, value: unknown): VeltaError {
    return new VeltaError('TYPE', `${what}: expected ${expected}, not ${describe(value)}`);
}

function floats(value: unknown, what: string): Float32Array {
    if (!(value instanceof Float32Array)) throw typeError(what, 'a Float32Array', value);
    if (elementCount(value) === 0 && isDetached(value)) throw invalid(`${what}: the ArrayBuffer is detached`);
    return value;
}

function finite(value: unknown, what: string): number {
    if (typeof value !== 'number') throw typeError(what, 'a number', value);
    if (!Number.isFinite(Math.fround(value))) throw new VeltaError('NOT_FINITE', `${what} is ${value}`);
    return value;
}

function isSet(mode: unknown): boolean {
    if (mode === undefined || mode === 'add') return false;
    if (mode !== 'set') throw invalid(`delta: mode is 'add' or 'set', not ${describe(mode)}`);
    return true;
}

function writeNumber(u32: Uint32Array, place: number, value: number): void {
    u32[place] = value;
    u32[place + 1] = Math.floor(value / TWO_32);
}

/**
 * Makes a record of a delta: `measure`, then `write` where there is room. It keeps what it has read of the delta in
 * between, so that a getter cannot give another value the second time.
 * @internal
 */
export class RecordEncoder {
    #operation = 0;
    #flags = 0;
    #time = 0;
    #key: string | number | bigint = 0;
    #keyBytes = 0;
    #indices: Uint32Array | null = null;
    #values: Float32Array | null = null;
    #count = 0;
    #amount: number | null = null;
    #metadata: Uint8Array | null = null;
    #bytes = 0;

    /** The sequence number that the delta brings; 0: none. */
    sequence = 0;

    /** The bytes that the record takes. @throws {VeltaError} TYPE, INVALID, NOT_FINITE, LIMIT */
    measure(delta: StreamDelta): number {
        if (typeof delta !== 'object' || delta === null) throw invalid(`expected a delta, not ${describe(delta)}`);
        const { operation, metadata, timestamp, sequence } = delta;
        const { vectorId, key } = delta as { readonly vectorId?: unknown; readonly key?: unknown };
        this.#flags = 0;
        this.#readKey(vectorId === undefined ? key : vectorId);
        this.#readOperation(operation);
        this.#metadata = metadata === undefined ? null : metadataBytes(metadata);
        this.#time = timestamp === undefined ? 0 : timeOf(timestamp);
        this.sequence = sequence === undefined ? 0 : checkSequence(sequence);
        const parts = this.#count * (this.#indices === null ? 4 : 8) + (this.#metadata?.length ?? 0);
        this.#bytes = (HEAD_BYTES + parts + this.#keyBytes + 7) & ~7;
        if (!(this.#bytes > 0 && this.#bytes < 1 << 30)) throw new VeltaError('LIMIT', 'the delta is too large');
        return this.#bytes;
    }

    #readKey(key: unknown): void {
        if (typeof key === 'string') {
            this.#keyBytes = utf8Bytes(key, 'the key');
            this.#flags = FLAG_TEXT;
        } else if (typeof key === 'number' ? Number.isSafeInteger(key) : typeof key === 'bigint') {
            this.#keyBytes = 0;
            if (typeof key === 'bigint' && BigInt.asIntN(64, key) !== key)
                throw new VeltaError('TYPE', `delta: the key ${key} does not fit into 64 bits`);
        } else {
            throw typeError('delta: the key', 'a string, a whole number or a bigint', key);
        }
        this.#key = key as string | number | bigint;
    }

    #readOperation(operation: DeltaOperation): void {
        if (typeof operation !== 'object' || operation === null) {
            throw invalid(`delta: an operation is an object with a type, not ${describe(operation)}`);
        }
        const { type } = operation;
        this.#indices = null;
        this.#values = null;
        this.#count = 0;
        this.#amount = null;
        switch (type) {
            case 'sparse': {
                const { indices, values, mode } = operation;
                if (!(indices instanceof Uint32Array)) throw typeError('delta: indices', 'a Uint32Array', indices);
                this.#indices = indices;
                this.#setValues(values, 'delta: values', mode);
                if (elementCount(indices) !== this.#count)
                    throw invalid(`delta: ${elementCount(indices)} indices but ${this.#count} values`);
                break;
            }
            case 'dense':
                this.#setValues(operation.vector, 'delta: vector', operation.mode);
                break;
            case 'create':
                this.#setValues(operation.vector, 'delta: vector', undefined);
                break;
            case 'scale':
                this.#amount = finite(operation.factor, 'delta: factor');
                break;
            case 'offset':
                this.#amount = finite(operation.amount, 'delta: amount');
                break;
            case 'delete':
                break;
            default:
                throw invalid(`delta: there is no operation ${describe(type)}; there are ${OPERATIONS.join(', ')}`);
        }
        this.#operation = 1 + OPERATIONS.indexOf(type);
    }

    #setValues(values: unknown, what: string, mode: unknown): void {
        this.#values = floats(values, what);
        this.#count = elementCount(this.#values);
        if (isSet(mode)) this.#flags |= FLAG_SET;
    }

    /** Writes what was measured last. */
    write({ u8, u32, f32 }: RecordViews, at: number, sequence: number): void {
        const place = at >>> 2;
        const end = at + this.#bytes;
        u32[(end >>> 2) - 2] = 0;
        u32[(end >>> 2) - 1] = 0;
        u32[place] = this.#bytes - 4;
        u32[place + 1] = this.#operation | (this.#flags << 8);
        writeNumber(u32, place + 2, sequence);
        writeNumber(u32, place + 4, this.#time);
        if (this.#amount === null) u32[place + 8] = this.#count;
        else f32[place + 8] = this.#amount;
        u32[place + 9] = this.#metadata?.length ?? 0;
        let next = place + (HEAD_BYTES >>> 2);
        if (this.#indices !== null) {
            copyWords(u32, next, this.#indices, this.#count);
            next += this.#count;
        }
        if (this.#values !== null) {
            copyFloats(f32, next, this.#values, this.#count);
            next += this.#count;
        }
        this.#writeKey(u8, u32, place, next << 2);
        if (this.#metadata !== null) u8.set(this.#metadata, (next << 2) + this.#keyBytes);
    }

    #writeKey(u8: Uint8Array, u32: Uint32Array, place: number, at: number): void {
        const key = this.#key;
        if (typeof key === 'number') {
            writeNumber(u32, place + 6, key);
        } else if (typeof key === 'bigint') {
            u32[place + 6] = Number(key & 0xffffffffn);
            u32[place + 7] = Number((key >> 32n) & 0xffffffffn);
        } else {
            writeNumber(u32, place + 6, this.#keyBytes);
            if (this.#keyBytes === key.length && key.length <= KEY_LOOP) {
                for (let i = 0; i < key.length; i++) u8[at + i] = key.charCodeAt(i);
            } else {
                u8.set(encoder.encode(key), at);
            }
        }
    }
}

function metadataBytes(metadata: unknown): Uint8Array {
    let text: string | undefined;
    try {
        text = JSON.stringify(metadata);
    } catch (cause) {
        throw new VeltaError('INVALID', `delta: the metadata cannot be written as JSON: ${String(cause)}`, { cause });
    }
    if (typeof metadata !== 'object' || metadata === null || text === undefined) {
        throw invalid(`delta: metadata is an object, not ${describe(metadata)}`);
    }
    return encoder.encode(text);
}

function timeOf(timestamp: Date | number): number {
    const time = millisecondsOf(timestamp);
    if (!(Math.abs(time) <= LARGEST_TIME)) {
        throw typeError('delta: timestamp', 'a Date or whole milliseconds', timestamp);
    }
    return time;
}

/** A sequence number that someone gives. @throws {VeltaError} INVALID @internal */
export function checkSequence(sequence: unknown): number {
    if (!Number.isSafeInteger(sequence) || (sequence as number) < 1) {
        throw invalid(`a sequence number is a whole number from 1, not ${describe(sequence)}`);
    }
    return sequence as number;
}

function newViews(bytes: number): RecordViews {
    return new RecordViews(
        withMemory(() => new ArrayBuffer(bytes)),
        0,
        bytes,
    );
}

/**
 * Deltas as bytes: what {@link SharedDeltaPool.writeRecords}, `applyRecords` and {@link readRecords} take.
 * @param options - `first`: the sequence number of the first delta that brings none; default 1
 * @throws {VeltaError} `TYPE`, `INVALID`, `NOT_FINITE`; `offset` is the index of the delta
 */
export function encodeRecords(
    deltas: Iterable<StreamDelta>,
    options: { readonly first?: number } = {},
): Uint8Array<ArrayBuffer> {
    checkOptions('encodeRecords', options, ['first']);
    const isList = typeof deltas === 'object' && deltas !== null && Symbol.iterator in deltas;
    if (!isList || ArrayBuffer.isView(deltas)) {
        throw typeError('encodeRecords', 'an iterable of deltas', deltas);
    }
    const encoder = new RecordEncoder();
    let views = newViews(4096);
    let sequence = options.first === undefined ? 0 : checkSequence(options.first) - 1;
    let at = 0;
    let index = 0;
    for (const delta of deltas) {
        try {
            const bytes = encoder.measure(delta);
            if (at + bytes > views.u8.length) {
                const larger = newViews((at + bytes) * 2);
                larger.u8.set(views.u8.subarray(0, at));
                views = larger;
            }
            sequence = nextSequence(sequence, encoder.sequence);
            encoder.write(views, at, sequence);
            at += bytes;
        } catch (error) {
            if (!(error instanceof VeltaError)) throw error;
            throw new VeltaError(error.code, `delta ${index}: ${error.message}`, { offset: index, cause: error });
        }
        index++;
    }
    return withMemory(() => views.u8.slice(0, at) as Uint8Array<ArrayBuffer>);
}

/** What `make` gives; NO_MEMORY where the engine of JavaScript refuses it memory. @internal */
export function withMemory<T>(make: () => T): T {
    try {
        return make();
    } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw new VeltaError('NO_MEMORY', `JavaScript refused memory: ${cause.message}`, { cause });
    }
}

/** The number of a delta after the one numbered `last`. @throws {VeltaError} INVALID @internal */
export function nextSequence(last: number, brought: number): number {
    if (last === Number.MAX_SAFE_INTEGER) throw invalid(`no sequence number follows ${last}`);
    if (brought === 0) return last + 1;
    if (brought <= last) throw invalid(`the sequence number ${brought} follows ${last}; they must ascend`);
    return brought;
}

/** An error about the record at a byte. @internal */
export function corruptRecord(offset: number, what: string): VeltaError {
    return new VeltaError('CORRUPT', `the record at byte ${offset} ${what}`, { offset });
}

/**
 * The bytes of the record that begins at `at`, as its length says; 0 when not even its head is there before `end`.
 * @throws {VeltaError} CORRUPT for a length that no record has, or above `largest`
 * @internal
 */
export function recordBytes(u8: Uint8Array, at: number, end: number, largest: number, offset: number): number {
    return end - at < HEAD_BYTES ? 0 : checkRecordBytes(readU32(u8, at) + 4, largest, offset);
}

/** The bytes of a record, if there may be one of so many. @throws {VeltaError} CORRUPT @internal */
export function checkRecordBytes(bytes: number, largest: number, offset: number): number {
    if (bytes < HEAD_BYTES || bytes % 8 !== 0) throw corruptRecord(offset, 'has a length that no record has');
    if (bytes > largest) throw corruptRecord(offset, `is of ${bytes} bytes; at most ${largest} are taken`);
    return bytes;
}

function readU32(u8: Uint8Array, at: number): number {
    const byte = (i: number): number => u8[at + i] as number;
    return byte(0) + byte(1) * 256 + byte(2) * 65_536 + byte(3) * 16_777_216;
}

function readNumber(u8: Uint8Array, at: number): number {
    return readU32(u8, at) + readU32(u8, at + 4) * TWO_32;
}

/** The bytes of the record at `at`, whatever its length says. @internal */
export function recordLength(u8: Uint8Array, at: number): number {
    return readU32(u8, at) + 4;
}

/** The sequence number of the record at `at`. @internal */
export function recordSequence(u8: Uint8Array, at: number): number {
    return readNumber(u8, at + 8);
}

/** 1 for the record of a create, -1 of a delete, else 0. @internal */
export function recordLife(u8: Uint8Array, at: number): number {
    const operation = u8[at + 4];
    return operation === 1 ? 1 : operation === 6 ? -1 : 0;
}

/**
 * The deltas of whole records. Copies: nothing refers to `bytes`.
 * @throws {VeltaError} `CORRUPT`; `offset` is the byte where the damaged record begins
 */
export function decodeRecords(bytes: Uint8Array): RecordDelta[] {
    if (!(bytes instanceof Uint8Array)) throw typeError('decodeRecords', 'a Uint8Array', bytes);
    const deltas: RecordDelta[] = [];
    const { length } = bytes;
    for (let at = 0; at < length;) {
        const size = recordBytes(bytes, at, length, Infinity, at);
        if (size === 0 || size > length - at) throw corruptRecord(at, 'is cut off');
        // A copy of its own, so that shared memory cannot change under the checks.
        const start = at;
        deltas.push(withMemory(() => decodeRecord(bytes.slice(start, start + size), start)));
        at += size;
    }
    return deltas;
}

function decodeRecord(u8: Uint8Array, offset: number): RecordDelta {
    const { u32, f32 } = new RecordViews(u8.buffer, 0, u8.length);
    const word = (place: number): number => u32[place] as number;
    const type = OPERATIONS[(u8[4] as number) - 1];
    const flags = u8[5] as number;
    const isText = (flags & FLAG_TEXT) !== 0;
    const replaces = (flags & FLAG_SET) !== 0;
    const hasAmount = type === 'scale' || type === 'offset';
    const count = hasAmount ? 0 : word(8);
    const valuesAt = (HEAD_BYTES >>> 2) + (type === 'sparse' ? count : 0);
    const keyAt = (valuesAt + count) * 4;
    const keyBytes = isText ? readNumber(u8, 24) : 0;
    const end = keyAt + keyBytes + word(9);
    const sequence = readNumber(u8, 8);
    const time = word(4) + (word(5) | 0) * TWO_32;
    const isWhole =
        type !== undefined &&
        flags <= (FLAG_SET | FLAG_TEXT) &&
        !(replaces && type !== 'sparse' && type !== 'dense') &&
        word(1) >>> 16 === 0 &&
        !(type === 'delete' && count > 0) &&
        Math.ceil(end / 8) * 8 === u8.length &&
        u8.subarray(end).every((byte) => byte === 0) &&
        sequence > 0 &&
        sequence <= Number.MAX_SAFE_INTEGER &&
        Math.abs(time) <= LARGEST_TIME;
    if (!isWhole) throw corruptRecord(offset, 'is damaged');
    const values = f32.slice(valuesAt, valuesAt + count);
    const amount = f32[8] as number;
    const mode = replaces ? 'set' : 'add';
    const metadata = metadataOf(u8.subarray(keyAt + keyBytes, end), offset);
    return {
        key: isText ? textOf(u8.subarray(keyAt, keyAt + keyBytes), offset) : keyOf(word(6), word(7) | 0),
        operation: operationOf(type, u32.slice(HEAD_BYTES >>> 2, valuesAt), values, mode, amount),
        sequence,
        ...(time === 0 ? {} : { timestamp: time }),
        ...(metadata === undefined ? {} : { metadata }),
    };
}

function operationOf(
    type: DeltaOperation['type'],
    indices: Uint32Array,
    values: Float32Array,
    mode: 'add' | 'set',
    amount: number,
): DeltaOperation {
    switch (type) {
        case 'create':
            return { type, vector: values };
        case 'sparse':
            return { type, indices, values, mode };
        case 'dense':
            return { type, vector: values, mode };
        case 'scale':
            return { type, factor: amount };
        case 'offset':
            return { type, amount };
        case 'delete':
            return { type };
    }
}

function keyOf(low: number, high: number): number | bigint {
    const key = low + high * TWO_32;
    return Number.isSafeInteger(key) ? key : (BigInt(high) << 32n) + BigInt(low);
}

function textOf(bytes: Uint8Array, offset: number): string {
    try {
        return decoder.decode(bytes);
    } catch {
        throw corruptRecord(offset, 'has a key that is not UTF-8');
    }
}

function metadataOf(bytes: Uint8Array, offset: number): Record<string, unknown> | undefined {
    if (bytes.length === 0) return undefined;
    try {
        const value: unknown = JSON.parse(decoder.decode(bytes));
        if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
    } catch {
        // What is no JSON is refused as what is no object.
    }
    throw corruptRecord(offset, 'has metadata that is no object in JSON');
}
