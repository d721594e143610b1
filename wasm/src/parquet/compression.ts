/**
 * Unpacks pages. Snappy is here, because the pure JavaScript of hyparquet can be made to run without end by a damaged
 * page; gzip and LZ4 are hyparquet-compressors'; zstd (imports/zstd.ts) has to be loaded first, so a reader adds it to
 * the caller's decompressors. Whatever they throw, or give too little or too much of, is CORRUPT.
 */
import { gunzip } from 'hyparquet-compressors/src/gzip.js';
import { decompressLz4, decompressLz4Raw } from 'hyparquet-compressors/src/lz4.js';
import { VeltaError } from '../errors.js';
import { Cursor, corrupt } from './encodings.js';

/** Unpacks bytes into exactly so many. */
export type Decompressor = (packed: Uint8Array, length: number) => Uint8Array;

/** Snappy's raw format: literals and copies of what was written before. */
function unpackSnappy(packed: Uint8Array, length: number): Uint8Array {
    const cursor = new Cursor(packed);
    if (cursor.varint() !== length) throw corrupt('a page unpacks to another length than it says');
    const out = new Uint8Array(length);
    let at = 0;
    while (cursor.left > 0) {
        const tag = cursor.byte();
        if ((tag & 3) === 0) {
            let count = tag >> 2;
            if (count >= 60) {
                const bytes = count - 59;
                count = 0;
                for (let i = 0; i < bytes; i++) count += cursor.byte() * 2 ** (8 * i);
            }
            const literal = cursor.take(count + 1);
            if (at + literal.length > length) throw corrupt('a page unpacks to more than it says');
            out.set(literal, at);
            at += literal.length;
            continue;
        }
        const isShort = (tag & 3) === 1;
        const count = isShort ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
        let distance = cursor.byte();
        if (isShort) distance += (tag >> 5) * 256;
        else distance += cursor.byte() * 256;
        if ((tag & 3) === 3) distance += cursor.byte() * 65536 + cursor.byte() * 16777216;
        if (distance === 0 || distance > at || at + count > length) throw corrupt('a page copies from nowhere');
        if (distance >= count) out.copyWithin(at, at - distance, at - distance + count);
        else for (let i = 0; i < count; i++) out[at + i] = out[at + i - distance] as number;
        at += count;
    }
    if (at !== length) throw corrupt('a page unpacks to less than it says');
    return out;
}

const KNOWN: Readonly<Record<string, Decompressor>> = {
    SNAPPY: unpackSnappy,
    GZIP: (packed, length) => gunzip(packed, new Uint8Array(length)),
    LZ4: decompressLz4,
    LZ4_RAW: decompressLz4Raw,
};

/**
 * Unpacks a page's bytes.
 * @throws {VeltaError} CORRUPT, UNSUPPORTED for a codec that is not known
 * @internal
 */
export function unpack(
    codec: string,
    packed: Uint8Array,
    length: number,
    more: Readonly<Record<string, Decompressor>>,
): Uint8Array {
    if (codec === 'UNCOMPRESSED') {
        if (packed.length !== length) throw corrupt('a page has another length than it says');
        return packed;
    }
    const unpacker = Object.hasOwn(more, codec) ? more[codec] : Object.hasOwn(KNOWN, codec) ? KNOWN[codec] : undefined;
    if (unpacker === undefined) {
        throw new VeltaError(
            'UNSUPPORTED',
            `the Parquet file is packed by ${codec}, for which there is no decompressor; ` +
                'the option decompressors takes one',
        );
    }
    let bytes: Uint8Array;
    try {
        bytes = length === 0 ? new Uint8Array(0) : unpacker(packed, length);
    } catch (error) {
        throw error instanceof VeltaError ? error : corrupt(`a page cannot be unpacked (${codec}: ${String(error)})`);
    }
    if (bytes.length !== length) throw corrupt('a page unpacks to another length than it says');
    return bytes;
}
