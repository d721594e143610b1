/*
 * Frames of zstd that say what is not so, by what is wrong with them; each takes the bytes that it stands for.
 */
import { packZstd } from './arrow_packing.js';

/** Magic, then a header that gives the size in four bytes and no window. */
const HEAD = [0x28, 0xb5, 0x2f, 0xfd];
const SIZED = 0xa0;

/** A frame with other bytes in its header, and more at its end. */
function framed(bytes, header, end = []) {
    return Uint8Array.of(...HEAD, ...header, ...packZstd(bytes).subarray(9), ...end);
}

const four = (value) => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];

/** Blocks of one byte each that stand for 128 KB: half a gigabyte in all. */
function bomb() {
    const block = ((131_071 << 3) | 2) >>> 0;
    const blocks = Array.from({ length: 4000 }, () => [block & 255, (block >> 8) & 255, block >> 16, 0]);
    blocks.push([1, 0, 0]);
    return Uint8Array.of(...HEAD, 0x80, 0x58, ...four(4000 * 131_071), ...blocks.flat());
}

export const ZSTD_FRAMES = {
    /** Right, and with a window of a gigabyte, which nothing needs. */
    window: (bytes) => framed(bytes, [0x80, 0xa0, ...four(bytes.length)]),
    /** Two frames, one after the other: right as well. */
    two: (bytes) => Uint8Array.of(...packZstd(bytes.subarray(0, 9)), ...packZstd(bytes.subarray(9))),
    truncated: (bytes) => packZstd(bytes).slice(0, -2),
    empty: () => new Uint8Array(0),
    magic: (bytes) => packZstd(bytes).fill(0, 0, 1),
    longer: (bytes) => framed(bytes, [SIZED, ...four(bytes.length + 1)]),
    shorter: (bytes) => packZstd(bytes.slice(0, -1)),
    more: (bytes) => Uint8Array.of(...packZstd(bytes), ...packZstd(bytes)),
    dictionary: (bytes) => framed(bytes, [SIZED | 1, 7, ...four(bytes.length)]),
    checksum: (bytes) => framed(bytes, [SIZED | 4, ...four(bytes.length)], [1, 2, 3, 4]),
    bomb,
};

/** How those that are wrong are refused. */
export const ZSTD_REFUSALS = {
    truncated: /ends early/,
    empty: /ends early|less than it says/,
    magic: /no frame of zstd/,
    longer: /damaged/,
    shorter: /less than it says/,
    more: /more than it says/,
    dictionary: /needs a dictionary/,
    checksum: /checksum differs/,
    bomb: /more than it says/,
};
