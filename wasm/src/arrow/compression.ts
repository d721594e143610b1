/**
 * Packed buffers of Arrow IPC: eight bytes of length, then a frame of LZ4 (ours) or zstd (imports/zstd.ts); a length of
 * -1: they are not packed. Whatever gives too little or too much is CORRUPT.
 */
import { VeltaError } from '../errors.js';
import type { ZstdUnpacker } from '../imports/zstd.js';
import { corrupt } from './verify.js';

const LZ4 = 0;
/** The number of zstd among codecs. @internal */
export const ZSTD = 1;
const LZ4_MAGIC = 0x184d2204;
const UNPACKED_BLOCK = 0x80000000;

const exceeds = (): VeltaError => corrupt('a buffer unpacks to more than it says, or ends early');

/** How many bytes a packed buffer says it holds; null: they follow the prefix as they are. @internal */
export function unpackedLength(packed: Uint8Array): number | null {
    if (packed.length < 8) throw corrupt('a packed buffer has no length');
    const length = new DataView(packed.buffer, packed.byteOffset, 8).getBigInt64(0, true);
    if (length === -1n) return null;
    if (length < 0n || length > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(`a buffer unpacks to ${length} bytes`);
    return Number(length);
}

/** One block: literals, and copies of what was written before, also in earlier blocks. Gives where it ended. */
function unpackBlock(block: Uint8Array, out: Uint8Array, start: number): number {
    let from = 0;
    let to = start;
    const byte = (): number => {
        if (from >= block.length) throw exceeds();
        return block[from++] as number;
    };
    const more = (nibble: number): number => {
        let length = nibble;
        if (nibble !== 15) return length;
        for (;;) {
            const next = byte();
            length += next;
            if (next !== 255) return length;
        }
    };
    for (;;) {
        const token = byte();
        const literals = more(token >> 4);
        if (from + literals > block.length || to + literals > out.length) throw exceeds();
        out.set(block.subarray(from, from + literals), to);
        from += literals;
        to += literals;
        if (from === block.length) return to;
        const distance = byte() + byte() * 256;
        const length = more(token & 15) + 4;
        if (distance === 0 || distance > to) throw corrupt('a packed buffer copies from nowhere');
        if (to + length > out.length) throw exceeds();
        if (distance >= length) out.copyWithin(to, to - distance, to - distance + length);
        else for (let i = 0; i < length; i++) out[to + i] = out[to + i - distance] as number;
        to += length;
    }
}

/** A frame of LZ4; its checksums, which Arrow's writers leave out, are not looked at. */
function unpackLz4(packed: Uint8Array, out: Uint8Array): void {
    const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
    if (packed.length < 7 || view.getUint32(0, true) !== LZ4_MAGIC) throw corrupt('a buffer is no frame of LZ4');
    const flags = packed[4] as number;
    if (flags >> 6 !== 1 || (flags & 1) !== 0) throw corrupt('a frame of LZ4 is of another version');
    const checks = (flags & 16) !== 0 ? 4 : 0;
    let at = 7 + ((flags & 8) !== 0 ? 8 : 0);
    let to = 0;
    for (;;) {
        if (at + 4 > packed.length) throw exceeds();
        const word = view.getUint32(at, true);
        if (word === 0) break;
        const bytes = word % UNPACKED_BLOCK;
        at += 4;
        if (at + bytes + checks > packed.length) throw exceeds();
        const block = packed.subarray(at, at + bytes);
        if (word < UNPACKED_BLOCK) {
            to = unpackBlock(block, out, to);
        } else {
            if (to + bytes > out.length) throw exceeds();
            out.set(block, to);
            to += bytes;
        }
        at += bytes + checks;
    }
    if (to !== out.length) throw exceeds();
}

/**
 * Unpacks a buffer into as many bytes as its prefix says.
 * @param zstd - loaded beforehand where the codec is zstd
 * @throws {VeltaError} CORRUPT, UNSUPPORTED
 * @internal
 */
export function unpack(codec: number, packed: Uint8Array, length: number, zstd: ZstdUnpacker | null): Uint8Array {
    if (length === 0) return new Uint8Array(0);
    const data = packed.subarray(8);
    if (codec === LZ4) {
        const out = new Uint8Array(length);
        unpackLz4(data, out);
        return out;
    }
    if (codec !== ZSTD || zstd === null) {
        throw new VeltaError('UNSUPPORTED', `the Arrow data is packed by a codec of number ${codec}`);
    }
    return zstd(data, length);
}
