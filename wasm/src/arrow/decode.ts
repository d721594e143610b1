/**
 * Values of record batches, as the engine takes them column by column.
 *
 * flechette reads the metadata, which was verified; that the buffers are as long as it says, that offsets ascend and
 * lie within their bytes, that indices lie in their dictionary and that as many values are NULL as it says is checked
 * here, before anything is reserved by it.
 */
import {
    type ArrowBatch,
    type ArrowDictionary,
    type ArrowField,
    type ArrowSchema,
    type ArrowType,
    decodeMessage,
} from '@uwdata/flechette/src/decode/message.js';
import { decodeSchema } from '@uwdata/flechette/src/decode/schema.js';
import { VeltaError, quoted } from '../errors.js';
import type { Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import type { ColumnData } from '../values.js';
import { type ZstdUnpacker, zstdUnpacker } from '../imports/zstd.js';
import { ZSTD, unpack, unpackedLength } from './compression.js';
import type { Message } from './messages.js';
import { Type, columnTypeOf, typeName } from './types.js';
import { DICTIONARY, RECORDS, SCHEMA, corrupt } from './verify.js';

const MOST_ROWS = 0xffffffff;
const MOST_MILLISECONDS = 8.64e15;
const V5 = 4;
/** Milliseconds of a unit, or units of a millisecond. */
const UNITS = [
    { times: 1000n, by: 1n },
    { times: 1n, by: 1n },
    { times: 1n, by: 1000n },
    { times: 1n, by: 1_000_000n },
] as const;
const DAY = 86_400_000;
/** What copies of values come to before they are charged. */
const CHARGED_BYTES = 65_536;

/** A field of a batch: how many values, which are NULL, and what it is made of. */
interface Part {
    readonly type: ArrowType;
    readonly length: number;
    readonly nullCount: number;
    /** Places of its buffers. */
    readonly buffers: readonly number[];
    readonly children: readonly Part[];
}

/** Values of some rows of a column. @internal */
export interface Decoded {
    readonly values: ColumnData;
    /** Elements of each vector; 0 where no row has one. */
    readonly dimensions: number;
}

/** A record batch whose structure was checked. @internal */
export interface Batch {
    readonly rows: number;
    /** Values of a field's rows from `start` to before `end`. @throws {VeltaError} naming the column */
    decode(field: number, start: number, end: number): Decoded;
    /** Gives what was unpacked back to the budget. */
    release(): void;
}

const BUFFERS: Readonly<Record<number, number>> = {
    [Type.Dictionary]: 2,
    [Type.Null]: 0,
    [Type.Int]: 2,
    [Type.Float]: 2,
    [Type.Binary]: 3,
    [Type.Utf8]: 3,
    [Type.Bool]: 2,
    [Type.Decimal]: 2,
    [Type.Date]: 2,
    [Type.Time]: 2,
    [Type.Timestamp]: 2,
    [Type.Interval]: 2,
    [Type.List]: 2,
    [Type.Struct]: 1,
    [Type.FixedSizeBinary]: 2,
    [Type.FixedSizeList]: 1,
    [Type.Map]: 2,
    [Type.Duration]: 2,
    [Type.LargeBinary]: 3,
    [Type.LargeUtf8]: 3,
    [Type.LargeList]: 2,
    [Type.RunEndEncoded]: 0,
    [Type.BinaryView]: 2,
    [Type.Utf8View]: 2,
    [Type.ListView]: 3,
    [Type.LargeListView]: 3,
};

/** Splits a batch's nodes and buffers among the fields, as the schema says; none may be left. */
function partsOf(batch: Omit<ArrowBatch, 'body'>, fields: readonly ArrowField[], version: number): Part[] {
    let node = 0;
    let buffer = 0;
    let variadic = 0;
    const visit = (type: ArrowType): Part => {
        const { length, nullCount } = batch.nodes[node++] ?? { length: -1, nullCount: 0 };
        if (length < 0 || length > MOST_ROWS || nullCount < 0 || nullCount > length) {
            throw corrupt('a column is missing, or has no length that can be');
        }
        let count = BUFFERS[type.typeId];
        if (type.typeId === Type.Union) count = 1 + (type.mode === 1 ? 1 : 0) + (version < V5 ? 1 : 0);
        if (type.typeId === Type.BinaryView || type.typeId === Type.Utf8View) {
            const more = batch.variadic[variadic++] ?? -1;
            if (more < 0 || more > batch.regions.length) throw corrupt('a column of views does not say its buffers');
            count = 2 + more;
        }
        if (count === undefined || buffer + count > batch.regions.length) throw corrupt('a column lacks buffers');
        const buffers = Array.from({ length: count }, () => buffer++);
        return { type, length, nullCount, buffers, children: (type.children ?? []).map((child) => visit(child.type)) };
    };
    const parts = fields.map(({ type }) => visit(type));
    if (node !== batch.nodes.length || buffer !== batch.regions.length) {
        throw corrupt('a batch has more columns or buffers than its schema');
    }
    return parts;
}

/** The buffers of a batch, unpacked when they are first asked for. */
class Buffers {
    readonly #batch: Omit<ArrowBatch, 'body'>;
    readonly #body: Uint8Array;
    readonly #budget: MemoryBudget;
    readonly #unpacked = new Map<number, Uint8Array>();
    readonly #held: Allocation[] = [];
    readonly #zstd: ZstdUnpacker | null;

    constructor(batch: Omit<ArrowBatch, 'body'>, body: Uint8Array, budget: MemoryBudget, zstd: ZstdUnpacker | null) {
        this.#zstd = zstd;
        this.#batch = batch;
        this.#body = body;
        this.#budget = budget;
        const { compression } = batch;
        if (compression && compression.method !== 0) {
            throw new VeltaError('UNSUPPORTED', 'the Arrow data is packed in a way that is not known');
        }
        for (const { offset, length } of batch.regions) {
            if (offset < 0 || length < 0 || offset + length > body.length) throw corrupt('a buffer exceeds its batch');
        }
    }

    get(index: number): Uint8Array {
        const { offset, length } = this.#batch.regions[index] as { offset: number; length: number };
        const bytes = this.#body.subarray(offset, offset + length);
        const { compression } = this.#batch;
        if (!compression || length === 0) return bytes;
        const known = this.#unpacked.get(index);
        if (known !== undefined) return known;
        const wanted = unpackedLength(bytes);
        if (wanted === null) return bytes.subarray(8);
        this.#held.push(this.#budget.allocate(wanted, 'an unpacked buffer of Arrow'));
        // Both lie in the memory of zstd's module while it runs.
        const inside = compression.codec === ZSTD ? length + wanted : 0;
        const room = this.#budget.allocate(inside, 'unpacking a buffer of Arrow');
        try {
            const unpacked = unpack(compression.codec, bytes, wanted, this.#zstd);
            this.#unpacked.set(index, unpacked);
            return unpacked;
        } finally {
            room.release();
        }
    }

    /** Charges copies of what buffers hold, until the batch is let go. @throws {VeltaError} OVER_BUDGET */
    charge(bytes: number): void {
        this.#held.push(this.#budget.allocate(bytes, 'values of Arrow'));
    }

    release(): void {
        for (const each of this.#held.splice(0)) each.release();
        this.#unpacked.clear();
    }
}

interface TypedArrayMaker<T> {
    readonly BYTES_PER_ELEMENT: number;
    new (buffer: ArrayBufferLike, offset: number, length: number): T;
}

/** At least so many elements of a buffer as an array; a copy where they do not lie as the array needs it. */
function view<T>(bytes: Uint8Array, Maker: TypedArrayMaker<T>, count: number): T {
    const size = count * Maker.BYTES_PER_ELEMENT;
    if (bytes.length < size) throw corrupt('a buffer is shorter than its column');
    if (bytes.byteOffset % Maker.BYTES_PER_ELEMENT === 0) return new Maker(bytes.buffer, bytes.byteOffset, count);
    return new Maker(bytes.slice(0, size).buffer, 0, count);
}

const INTEGERS = {
    8: [Uint8Array, Int8Array],
    16: [Uint16Array, Int16Array],
    32: [Uint32Array, Int32Array],
} as const;

/** Half precision: a sign, five bits of exponent, ten of fraction. */
function halfToNumber(bits: number): number {
    const sign = (bits & 0x8000) === 0 ? 1 : -1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const textDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads the values of one column of a batch. */
class ColumnReader {
    readonly #name: string;
    readonly #buffers: Buffers;

    constructor(name: string, buffers: Buffers) {
        this.#name = name;
        this.#buffers = buffers;
    }

    /** An error that names the column. */
    error(code: 'CORRUPT' | 'LIMIT' | 'DIMENSIONS' | 'NOT_NULL', message: string): VeltaError {
        const text = `column ${quoted(this.#name)} of the Arrow data ${message}`;
        return new VeltaError(code, text);
    }

    #buffer(part: Part, index: number): Uint8Array {
        return this.#buffers.get(part.buffers[index] as number);
    }

    /** Which values are there; null: all. The bits must say as many NULLs as the batch does. */
    valid(part: Part): Uint8Array | null {
        if (part.type.typeId === Type.Null) return new Uint8Array(Math.ceil(part.length / 8));
        const bits = this.#buffer(part, 0);
        if (bits.length === 0 && part.nullCount === 0) return null;
        const bytes = part.length >>> 3;
        const rest = part.length & 7;
        if (bits.length < bytes + (rest > 0 ? 1 : 0)) throw this.error('CORRUPT', 'has too few bits of validity');
        let count = 0;
        for (let i = 0; i < bytes; i++) count += POPULATION[bits[i] as number] as number;
        if (rest > 0) count += POPULATION[(bits[bytes] as number) & ((1 << rest) - 1)] as number;
        if (part.length - count !== part.nullCount)
            throw this.error('CORRUPT', 'has another number of NULLs than it says');
        return part.nullCount === 0 ? null : bits;
    }

    /** Values of any type but lists, from `start` to before `end`. */
    scalars(part: Part, start: number, end: number, dictionary: readonly unknown[] | undefined): ColumnData {
        const { type } = part;
        const valid = this.valid(part);
        switch (type.typeId) {
            case Type.Null:
                return new Array<null>(end - start).fill(null);
            case Type.Int:
                return masked(this.#integers(part, start, end), valid, start);
            case Type.Float:
                return masked(this.#floats(part, start, end), valid, start);
            case Type.Bool:
                return this.#bools(part, valid, start, end);
            case Type.Date:
            case Type.Timestamp:
                return this.#times(part, valid, start, end);
            case Type.Dictionary:
                return this.#indexed(part, valid, start, end, dictionary);
            case Type.FixedSizeBinary: {
                const stride = type.stride as number;
                const bytes = this.#buffer(part, 1);
                if (bytes.length < part.length * stride) throw this.error('CORRUPT', 'is shorter than it says');
                return Array.from({ length: end - start }, (_, i) =>
                    isValid(valid, start + i) ? bytes.slice((start + i) * stride, (start + i + 1) * stride) : null,
                );
            }
            case Type.BinaryView:
            case Type.Utf8View:
                return this.#views(part, valid, start, end);
            default:
                return this.#texts(part, valid, start, end);
        }
    }

    #integers(part: Part, start: number, end: number): BigInt64Array | Int32Array | Uint32Array {
        const { bitWidth, signed } = part.type;
        const bytes = this.#buffer(part, 1);
        if (bitWidth === 64) {
            const values = view(bytes, BigInt64Array, part.length).subarray(start, end);
            if (signed !== true && values.some((value) => value < 0n)) {
                const valid = this.valid(part);
                const wrong = values.findIndex((value, i) => value < 0n && isValid(valid, start + i));
                if (wrong >= 0) throw this.error('LIMIT', 'holds a number beyond 9223372036854775807');
            }
            return values;
        }
        const Maker = INTEGERS[bitWidth as 8 | 16 | 32][signed === true ? 1 : 0];
        return view(bytes, Maker as TypedArrayMaker<Int32Array>, part.length).subarray(start, end);
    }

    #floats(part: Part, start: number, end: number): Float64Array | Float32Array {
        const bytes = this.#buffer(part, 1);
        const { precision } = part.type;
        if (precision === 2) return view(bytes, Float64Array, part.length).subarray(start, end);
        if (precision === 1) return view(bytes, Float32Array, part.length).subarray(start, end);
        return Float32Array.from(view(bytes, Uint16Array, part.length).subarray(start, end), halfToNumber);
    }

    #bools(part: Part, valid: Uint8Array | null, start: number, end: number): ColumnData {
        const bits = this.#buffer(part, 1);
        if (bits.length * 8 < part.length) throw this.error('CORRUPT', 'is shorter than it says');
        const bit = (row: number): number => ((bits[row >>> 3] as number) >> (row & 7)) & 1;
        if (valid === null) return Uint8Array.from({ length: end - start }, (_, i) => bit(start + i));
        return Array.from({ length: end - start }, (_, i) => (isValid(valid, start + i) ? bit(start + i) === 1 : null));
    }

    #times(part: Part, valid: Uint8Array | null, start: number, end: number): ColumnData {
        const { type, length } = part;
        const bytes = this.#buffer(part, 1);
        const isDays = type.typeId === Type.Date && type.unit === 0;
        const { times, by } = (type.typeId === Type.Date ? UNITS[1] : UNITS[type.unit ?? 0]) ?? UNITS[0];
        const days = isDays ? view(bytes, Int32Array, length) : null;
        const words = isDays ? null : view(bytes, BigInt64Array, length);
        const out = new Float64Array(end - start);
        for (let i = 0; i < out.length; i++) {
            if (!isValid(valid, start + i)) continue;
            if (days !== null) {
                out[i] = (days[start + i] as number) * DAY;
            } else {
                const value = (words as BigInt64Array)[start + i] as bigint;
                const whole = (value * times) / by;
                out[i] = Number(value < 0n && whole * by !== value * times ? whole - 1n : whole);
            }
            if (Math.abs(out[i] as number) > MOST_MILLISECONDS) {
                throw this.error('LIMIT', 'holds a time beyond the year 275760');
            }
        }
        return masked(out, valid, start);
    }

    #indexed(
        part: Part,
        valid: Uint8Array | null,
        start: number,
        end: number,
        dictionary: readonly unknown[] | undefined,
    ): ColumnData {
        const indices = this.#integers({ ...part, type: part.type.indices as ArrowType }, start, end);
        const out = new Array<unknown>(end - start);
        for (let i = 0; i < out.length; i++) {
            out[i] = null;
            if (!isValid(valid, start + i)) continue;
            const index = Number(indices[i]);
            if (dictionary === undefined || index < 0 || index >= dictionary.length) {
                throw this.error('CORRUPT', `has an index that its dictionary of ${dictionary?.length ?? 0} lacks`);
            }
            out[i] = dictionary[index];
        }
        return out;
    }

    /** Where the values of rows lie, checked to ascend and to end within `size`. */
    #offsets(part: Part, isLarge: boolean, start: number, end: number, size: number): Float64Array {
        const out = new Float64Array(end - start + 1);
        const bytes = this.#buffer(part, 1);
        if (part.length === 0) return out;
        const source = isLarge ? view(bytes, BigInt64Array, part.length + 1) : view(bytes, Int32Array, part.length + 1);
        let before = 0;
        for (let i = 0; i < out.length; i++) {
            const offset = Number(source[start + i]);
            if (offset < before || offset > size) throw this.error('CORRUPT', 'has offsets outside of its values');
            before = out[i] = offset;
        }
        return out;
    }

    #texts(part: Part, valid: Uint8Array | null, start: number, end: number): ColumnData {
        const { typeId } = part.type;
        const isLarge = typeId === Type.LargeUtf8 || typeId === Type.LargeBinary;
        const isText = typeId === Type.LargeUtf8 || typeId === Type.Utf8;
        const bytes = this.#buffer(part, 2);
        const offsets = this.#offsets(part, isLarge, start, end, bytes.length);
        const first = offsets[0] as number;
        const all = isText ? asciiText(bytes.subarray(first, offsets[offsets.length - 1])) : null;
        const out = new Array<string | Uint8Array | null>(end - start);
        for (let i = 0; i < out.length; i++) {
            const from = offsets[i] as number;
            const to = offsets[i + 1] as number;
            if (!isValid(valid, start + i)) out[i] = null;
            else if (all !== null) out[i] = all.substring(from - first, to - first);
            else out[i] = isText ? this.#text(bytes.subarray(from, to)) : bytes.slice(from, to);
        }
        return out;
    }

    #text(bytes: Uint8Array): string {
        try {
            return textDecoder.decode(bytes);
        } catch {
            throw this.error('CORRUPT', 'holds text that is not UTF-8');
        }
    }

    /** Sixteen bytes each: a length, then up to twelve bytes, or the first four, a buffer and a place in it. */
    #views(part: Part, valid: Uint8Array | null, start: number, end: number): ColumnData {
        const bytes = this.#buffer(part, 1);
        if (bytes.length < part.length * 16) throw this.error('CORRUPT', 'is shorter than it says');
        const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        const out = new Array<string | Uint8Array | null>(end - start).fill(null);
        let owed = 0;
        for (let i = 0; i < out.length; i++) {
            if (!isValid(valid, start + i)) continue;
            const at = (start + i) * 16;
            const length = words.getUint32(at, true);
            let value = bytes.subarray(at + 4, at + 4 + length);
            if (length > 12) {
                const index = words.getUint32(at + 8, true);
                const from = words.getUint32(at + 12, true);
                const data = index + 2 < part.buffers.length ? this.#buffer(part, index + 2) : new Uint8Array(0);
                if (from + length > data.length) throw this.error('CORRUPT', 'has views outside of its values');
                value = data.subarray(from, from + length);
                // Any number of views may be of the same bytes.
                owed += length;
                if (owed >= CHARGED_BYTES) {
                    this.#buffers.charge(owed);
                    owed = 0;
                }
            }
            out[i] = part.type.typeId === Type.Utf8View ? this.#text(value) : value.slice();
        }
        return out;
    }

    /** Vectors: all of one length, and no element NULL. */
    vectors(part: Part, start: number, end: number): Decoded {
        const valid = this.valid(part);
        const child = part.children[0] as Part;
        const offsets = this.#listOffsets(part, child, start, end);
        let dimensions = 0;
        for (let i = 0; i < end - start; i++) {
            if (!isValid(valid, start + i)) continue;
            const length = (offsets[i + 1] as number) - (offsets[i] as number);
            if (dimensions !== 0 && length !== dimensions) {
                throw this.error('DIMENSIONS', `holds vectors of ${dimensions} and of ${length} elements`);
            }
            if (length === 0) throw this.error('DIMENSIONS', 'holds a vector of no elements');
            dimensions = length;
        }
        const first = offsets[0] as number;
        const last = offsets[offsets.length - 1] as number;
        const elements = this.#floats(child, first, last);
        const present = this.valid(child);
        const floats = elements instanceof Float32Array ? elements : new Float32Array(elements);
        const check = (from: number, to: number): void => {
            if (present === null) return;
            for (let at = from; at < to; at++) {
                if (!isValid(present, at)) throw this.error('NOT_NULL', 'holds a vector with a NULL in it');
            }
        };
        if (valid === null) {
            check(first, last);
            return { values: floats, dimensions };
        }
        const values = Array.from({ length: end - start }, (_, i) => {
            if (!isValid(valid, start + i)) return null;
            const [from, to] = [offsets[i] as number, offsets[i + 1] as number];
            check(from, to);
            return floats.subarray(from - first, to - first);
        });
        return { values, dimensions };
    }

    #listOffsets(part: Part, child: Part, start: number, end: number): Float64Array {
        if (part.type.typeId !== Type.FixedSizeList) {
            return this.#offsets(part, part.type.typeId === Type.LargeList, start, end, child.length);
        }
        const stride = part.type.stride ?? 0;
        if (stride < 1 || part.length * stride > child.length) throw this.error('CORRUPT', 'has too few elements');
        return Float64Array.from({ length: end - start + 1 }, (_, i) => (start + i) * stride);
    }
}

const POPULATION = Uint8Array.from({ length: 256 }, (_, byte) => {
    let count = 0;
    for (let bits = byte; bits !== 0; bits >>= 1) count += bits & 1;
    return count;
});

function isValid(valid: Uint8Array | null, row: number): boolean {
    return valid === null || (((valid[row >>> 3] as number) >> (row & 7)) & 1) === 1;
}

/** Values as they are, or with null where there is none. */
function masked(values: Exclude<ColumnData, readonly unknown[]>, valid: Uint8Array | null, start: number): ColumnData {
    if (valid === null) return values;
    return Array.from({ length: values.length }, (_, i) => (isValid(valid, start + i) ? values[i] : null));
}

/** Text of nothing but ASCII, whose places are those of its bytes; null: it is none. */
function asciiText(bytes: Uint8Array): string | null {
    for (let i = 0; i < bytes.length; i++) if ((bytes[i] as number) > 127) return null;
    return textDecoder.decode(bytes);
}

/** Reads the messages of one source, in order. @internal */
export class ArrowDecoder {
    readonly #budget: MemoryBudget;
    readonly #held: Allocation[] = [];
    /** Of the fields that are wanted, by their number. */
    readonly #dictionaries = new Map<number, unknown[]>();
    #wanted: ReadonlySet<number> = new Set();
    /** Loaded when the first message comes that is packed so. */
    #zstd: ZstdUnpacker | null = null;
    #schema: ArrowSchema | null = null;

    constructor(budget: MemoryBudget) {
        this.#budget = budget;
    }

    /** The fields. @throws {VeltaError} CORRUPT before the schema */
    get fields(): readonly ArrowField[] {
        if (this.#schema === null) throw corrupt('it does not begin with a schema');
        return this.#schema.fields;
    }

    /** Says which fields will be asked for: the dictionaries of others are passed over. */
    want(fields: Iterable<number>): void {
        this.#wanted = new Set(fields);
    }

    /** Gives back what dictionaries were charged. */
    release(): void {
        for (const each of this.#held.splice(0)) each.release();
    }

    /** Takes a message: a record batch is given, a schema or a dictionary kept. @throws {VeltaError} */
    async take(message: Message): Promise<Batch | null> {
        const content = contentOf(message);
        if (this.#zstd === null && isPackedByZstd(content)) this.#zstd = await zstdUnpacker(corrupt);
        if (message.kind === SCHEMA) {
            if (this.#schema !== null) throw corrupt('it has two schemas');
            this.#schema = schemaOf(content as ArrowSchema);
            return null;
        }
        if (message.kind === DICTIONARY) {
            this.#keep(content as ArrowDictionary, message);
            return null;
        }
        if (message.kind !== RECORDS) throw corrupt(`a message is of kind ${message.kind}`);
        return this.#batch(content as ArrowBatch, message.version);
    }

    #keep({ id, data, isDelta, body }: ArrowDictionary, message: Message): void {
        const { fields } = this;
        const numbers = [...this.#wanted].filter((number) => {
            const type = (fields[number] as ArrowField).type;
            return type.typeId === Type.Dictionary && type.id === id;
        });
        if (numbers.length === 0) return;
        this.#held.push(this.#budget.allocate(message.bytes.length, 'a dictionary of Arrow'));
        const buffers = new Buffers(data, body, this.#budget, this.#zstd);
        try {
            for (const number of numbers) {
                const { name, type } = fields[number] as ArrowField;
                const inner = type.dictionary as ArrowType;
                const [part] = partsOf(data, [{ name, type: inner, nullable: true }], message.version) as [Part];
                const reader = new ColumnReader(name ?? '', buffers);
                checkBacked(data, [part], buffers, [0]);
                const values = reader.scalars(part, 0, part.length, undefined);
                const known = isDelta ? (this.#dictionaries.get(number) ?? []) : [];
                const isBool = inner.typeId === Type.Bool;
                for (const value of values as readonly unknown[])
                    known.push(isBool && value !== null ? !!value : value);
                this.#dictionaries.set(number, known);
            }
        } finally {
            buffers.release();
        }
    }

    #batch(batch: ArrowBatch, version: number): Batch {
        const { fields } = this;
        const parts = partsOf(batch, fields, version);
        const { length: rows } = batch;
        if (rows < 0 || rows > MOST_ROWS || parts.some((part) => part.length !== rows)) {
            throw corrupt('a column of a batch has another length than the batch');
        }
        const buffers = new Buffers(batch, batch.body, this.#budget, this.#zstd);
        try {
            checkBacked(batch, parts, buffers, this.#wanted);
        } catch (error) {
            buffers.release();
            throw error;
        }
        const decode = (number: number, start: number, end: number): Decoded => {
            const part = parts[number] as Part;
            const { name, type } = fields[number] as ArrowField;
            const reader = new ColumnReader(name ?? '', buffers);
            if (columnTypeOf(type) === 'vector') return reader.vectors(part, start, end);
            return { values: reader.scalars(part, start, end, this.#dictionaries.get(number)), dimensions: 0 };
        };
        return { rows, decode, release: () => buffers.release() };
    }
}

/**
 * Refuses more rows than there are bits: a column that is nothing but NULL needs no bytes. A column of any other type
 * that is too short is found when its buffers are looked at, which is before anything is made of its length.
 */
function checkBacked(
    batch: Pick<ArrowBatch, 'length' | 'regions'>,
    parts: readonly Part[],
    buffers: Buffers,
    wanted: Iterable<number>,
): void {
    const numbers = [...wanted];
    if (numbers.length === 0) return;
    const most = numbers.reduce((sum, number) => {
        const part = parts[number] as Part;
        return sum + part.buffers.reduce((bytes, index) => bytes + buffers.get(index).length, 0);
    }, 0);
    const bits = batch.regions.reduce((sum, { length }) => sum + length, most) * 8;
    if (numbers.some((number) => (parts[number] as Part).length > bits)) {
        throw corrupt(`a batch has ${batch.length} rows, and not as many bits`);
    }
}

function contentOf(message: Message): ArrowSchema | ArrowBatch | ArrowDictionary {
    let content;
    try {
        content =
            message.schemaAt === undefined
                ? decodeMessage(message.bytes, 0)?.content
                : decodeSchema(message.bytes, message.schemaAt, message.version);
    } catch (error) {
        throw corrupt(`its metadata cannot be read (${String(error)})`, error);
    }
    if (content === undefined) throw corrupt('a message is empty');
    return content;
}

function isPackedByZstd(content: ArrowSchema | ArrowBatch | ArrowDictionary): boolean {
    const { compression } = 'data' in content ? content.data : (content as Partial<ArrowBatch>);
    return compression?.codec === ZSTD;
}

function schemaOf(schema: ArrowSchema): ArrowSchema {
    if (schema.endianness !== 0) throw new VeltaError('UNSUPPORTED', 'the Arrow data has its highest bytes first');
    return schema;
}

/** Why a field cannot be taken. @internal */
export function refusalOf(field: ArrowField): VeltaError {
    const is = `column ${quoted(field.name ?? '')} of the Arrow data is ${typeName(field.type)}`;
    return new VeltaError('UNSUPPORTED', `${is}, for which there is no type`);
}
