/**
 * The encodings of Parquet's data pages, from bytes that may be hostile (Encodings.md of the Parquet format).
 *
 * Each decoder is told how many values there are to be, gives exactly so many, and reads no byte past its end; a run
 * that is longer than what is left is refused. So what a page costs is bounded by its header, which is checked before
 * (pages.ts), and not by what its bytes say. hyparquet's decoders believe the bytes, and make an array per value;
 * these give typed arrays.
 */
import { VeltaError } from '../errors.js';

/** Bytes that are no Parquet. @internal */
export function corrupt(what: string): VeltaError {
    return new VeltaError('CORRUPT', `the Parquet file is damaged: ${what}`);
}

/** Reads on through bytes. @internal */
export class Cursor {
    readonly bytes: Uint8Array;
    readonly view: DataView;
    at = 0;

    constructor(bytes: Uint8Array) {
        this.bytes = bytes;
        this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }

    get left(): number {
        return this.bytes.length - this.at;
    }

    /** The next bytes as a view. @throws {VeltaError} CORRUPT where they are not there */
    take(length: number): Uint8Array {
        if (!(length >= 0 && length <= this.left)) throw corrupt('a value goes past the end of its page');
        return this.bytes.subarray(this.at, (this.at += length));
    }

    byte(): number {
        if (this.at >= this.bytes.length) throw corrupt('a page ends too early');
        return this.bytes[this.at++] as number;
    }

    u32(): number {
        if (this.left < 4) throw corrupt('a page ends too early');
        this.at += 4;
        return this.view.getUint32(this.at - 4, true);
    }

    /** An unsigned LEB128 of at most 32 bits. */
    varint(): number {
        let value = this.byte();
        if (value < 0x80) return value;
        value &= 0x7f;
        for (let shift = 7; shift < 35; shift += 7) {
            const byte = this.byte();
            value += (byte & 0x7f) * 2 ** shift;
            if (byte < 0x80) return value;
        }
        throw corrupt('a number has too many bytes');
    }

    /** A zigzag LEB128 of at most 64 bits. */
    zigzag(): bigint {
        let value = 0n;
        for (let shift = 0n; shift < 70n; shift += 7n) {
            const byte = this.byte();
            value |= BigInt(byte & 0x7f) << shift;
            if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
        }
        throw corrupt('a number has too many bytes');
    }
}

type Numbers = Uint8Array | Uint32Array;

/** Unpacks `count` numbers of `width` bits, lowest bits first. */
function unpackBits(bytes: Uint8Array, width: number, out: Numbers, from: number, count: number): void {
    let buffer = 0;
    let bits = 0;
    let at = 0;
    if (width === 1) {
        for (let i = 0; i < count; i++) out[from + i] = ((bytes[i >> 3] as number) >> (i & 7)) & 1;
        return;
    }
    if (width <= 24) {
        const mask = (1 << width) - 1;
        for (let i = 0; i < count; i++) {
            for (; bits < width; bits += 8) buffer |= (bytes[at++] as number) << bits;
            out[from + i] = buffer & mask;
            buffer >>>= width;
            bits -= width;
        }
        return;
    }
    for (let i = 0; i < count; i++) {
        // Beyond 24 bits a 32-bit buffer would overflow: a float holds 53.
        while (bits < width) {
            buffer += (bytes[at++] as number) * 2 ** bits;
            bits += 8;
        }
        const scale = 2 ** width;
        const high = Math.floor(buffer / scale);
        out[from + i] = buffer - high * scale;
        buffer = high;
        bits -= width;
    }
}

/** A loop fills runs up to this length sooner than a call does: levels of short lists are nothing else. */
const SHORT_RUN = 16;

/**
 * Runs of one value, and groups of eight packed ones: exactly as many numbers as `out` holds.
 * @throws {VeltaError} CORRUPT
 * @internal
 */
export function readHybrid(cursor: Cursor, width: number, out: Numbers): void {
    if (width > 32) throw corrupt(`numbers of ${width} bits`);
    const bytesOfValue = (width + 7) >> 3;
    for (let filled = 0; filled < out.length;) {
        const header = cursor.varint();
        const wanted = out.length - filled;
        if (header % 2 === 1) {
            const groups = (header - 1) / 2;
            const bytes = cursor.take(Math.min(groups * width, cursor.left));
            // Writers may leave out what is padding at the end of the last group.
            const there = width === 0 ? groups * 8 : Math.floor((bytes.length * 8) / width);
            const count = Math.min(groups * 8, wanted);
            if (count === 0 || there < count) throw corrupt('packed numbers end too early');
            if (width === 0) out.fill(0, filled, filled + count);
            else unpackBits(bytes, width, out, filled, count);
            filled += count;
        } else {
            const count = header / 2;
            if (count > wanted) throw corrupt('a run is longer than its page');
            // A run of nothing is written by some at the end only; in between it would cost time for nothing.
            let value = 0;
            for (let i = 0; i < bytesOfValue; i++) value += cursor.byte() * 2 ** (8 * i);
            if (count > SHORT_RUN) out.fill(value, filled, filled + count);
            else for (let i = 0; i < count; i++) out[filled + i] = value;
            filled += count;
        }
    }
}

// ---- plain values

/** Bytes of one value of a fixed type. @internal */
export const WIDTHS: Readonly<Record<string, number>> = { INT32: 4, INT64: 8, INT96: 12, FLOAT: 4, DOUBLE: 8 };

/** Values of one page: fixed ones as an array of their type, others as views of the page. @internal */
export type PageValues = Int32Array | BigInt64Array | Float32Array | Float64Array | Uint8Array | Uint8Array[];

function ofType(type: string, bytes: Uint8Array): PageValues {
    // A copy, because typed arrays begin at multiples of their size.
    const { buffer } = bytes.slice() as Uint8Array<ArrayBuffer>;
    switch (type) {
        case 'INT32':
            return new Int32Array(buffer);
        case 'INT64':
            return new BigInt64Array(buffer);
        case 'FLOAT':
            return new Float32Array(buffer);
        default:
            return new Float64Array(buffer);
    }
}

function fixedBytes(bytes: Uint8Array, width: number, count: number): Uint8Array[] {
    const values = new Array<Uint8Array>(count);
    for (let i = 0; i < count; i++) values[i] = bytes.subarray(i * width, i * width + width);
    return values;
}

/** The width of a fixed value. @throws {VeltaError} CORRUPT where there is none */
function widthOf(type: string, typeLength: number): number {
    const width = type === 'FIXED_LEN_BYTE_ARRAY' ? typeLength : WIDTHS[type];
    if (width === undefined || !(width > 0 && width <= 1 << 24))
        throw corrupt(`a value of type ${type} without a length`);
    return width;
}

/** @throws {VeltaError} CORRUPT @internal */
export function readPlain(cursor: Cursor, type: string, typeLength: number, count: number): PageValues {
    if (type === 'BOOLEAN') {
        const values = new Uint8Array(count);
        unpackBits(cursor.take((count + 7) >> 3), 1, values, 0, count);
        return values;
    }
    if (type === 'BYTE_ARRAY') {
        if (count > cursor.left / 4) throw corrupt('a page has fewer values than it says');
        const values = new Array<Uint8Array>(count);
        for (let i = 0; i < count; i++) values[i] = cursor.take(cursor.u32());
        return values;
    }
    const width = widthOf(type, typeLength);
    const bytes = cursor.take(count * width);
    if (type === 'FIXED_LEN_BYTE_ARRAY' || type === 'INT96') return fixedBytes(bytes, width, count);
    return ofType(type, bytes);
}

/** Bytes 0 of all values, then bytes 1, and so on. @throws {VeltaError} CORRUPT @internal */
export function readByteStreamSplit(cursor: Cursor, type: string, typeLength: number, count: number): PageValues {
    const width = widthOf(type, typeLength);
    const split = cursor.take(count * width);
    const bytes = new Uint8Array(count * width);
    for (let b = 0; b < width; b++) {
        for (let i = 0; i < count; i++) bytes[i * width + b] = split[b * count + i] as number;
    }
    return type === 'FIXED_LEN_BYTE_ARRAY' ? fixedBytes(bytes, width, count) : ofType(type, bytes);
}

// ---- differences

/** Exactly `count` numbers as differences in packed blocks. @throws {VeltaError} CORRUPT @internal */
export function readDelta(cursor: Cursor, count: number): BigInt64Array {
    const blockSize = cursor.varint();
    const miniBlocks = cursor.varint();
    const total = cursor.varint();
    const perMini = blockSize / miniBlocks;
    if (total !== count || !Number.isInteger(perMini) || perMini % 8 !== 0 || blockSize === 0 || blockSize > 1 << 20) {
        throw corrupt('a page of differences has a wrong head');
    }
    const out = new BigInt64Array(count);
    let value = cursor.zigzag();
    if (count > 0) out[0] = value;
    for (let filled = 1; filled < count;) {
        const least = cursor.zigzag();
        const widths = cursor.take(miniBlocks);
        for (let m = 0; m < miniBlocks && filled < count; m++) {
            const width = widths[m] as number;
            if (width > 64) throw corrupt(`differences of ${width} bits`);
            const bytes = cursor.take((perMini * width) / 8);
            const here = Math.min(perMini, count - filled);
            value = addPacked(bytes, width, least, value, out, filled, here);
            filled += here;
        }
    }
    return out;
}

function addPacked(
    bytes: Uint8Array,
    width: number,
    least: bigint,
    start: bigint,
    out: BigInt64Array,
    from: number,
    count: number,
): bigint {
    let value = start;
    let buffer = 0n;
    let bits = 0;
    let at = 0;
    const mask = (1n << BigInt(width)) - 1n;
    for (let i = 0; i < count; i++) {
        for (; bits < width; bits += 8) buffer |= BigInt(bytes[at++] as number) << BigInt(bits);
        value = BigInt.asIntN(64, value + least + (buffer & mask));
        buffer >>= BigInt(width);
        bits -= width;
        out[from + i] = value;
    }
    return value;
}

/** What values that are made one by one may come to before they are charged. @internal */
export const CHARGED_BYTES = 65_536;

function readLengths(cursor: Cursor, count: number): number[] {
    return Array.from(readDelta(cursor, count), (length) => {
        if (length < 0n || length > 0x7fffffffn) throw corrupt('a value has an impossible length');
        return Number(length);
    });
}

/** @throws {VeltaError} CORRUPT @internal */
export function readDeltaLength(cursor: Cursor, count: number): Uint8Array[] {
    return readLengths(cursor, count).map((length) => cursor.take(length));
}

/**
 * Values as the length of what they share with the one before, and the rest.
 * @param most - bytes that all values may have together: shared beginnings can multiply what a page holds
 * @param charge - is told how many bytes are about to be made
 * @throws {VeltaError} CORRUPT, LIMIT, and what `charge` throws
 * @internal
 */
export function readDeltaBytes(
    cursor: Cursor,
    count: number,
    most: number,
    charge: (bytes: number) => void,
): Uint8Array[] {
    const shared = readLengths(cursor, count);
    const rests = readDeltaLength(cursor, count);
    let previous: Uint8Array = new Uint8Array(0);
    let total = 0;
    let charged = 0;
    return rests.map((rest, i) => {
        const length = shared[i] as number;
        if (length > previous.length) throw corrupt('a value shares more than there is');
        if (length > 0) {
            total += length + rest.length;
            if (total > charged) {
                const more = Math.max(total - charged, Math.min(charged, CHARGED_BYTES));
                charge(more);
                charged += more;
            }
            if (total > most) throw new VeltaError('LIMIT', `a page of the Parquet file holds more than ${most} bytes`);
            const whole = new Uint8Array(length + rest.length);
            whole.set(previous.subarray(0, length));
            whole.set(rest, length);
            previous = whole;
        } else {
            previous = rest;
        }
        return previous;
    });
}
