/*
 * Packs bytes as frames that Arrow's buffers may be in, for tests of what unpacks them: LZ4 with real copies, which
 * reach into earlier blocks, and zstd's frame around bytes as they are, or one byte for a block of its like.
 */
const BLOCK = 1 << 16;

/** One block of LZ4: the last copy of each four bytes, found by a table. */
function block(bytes, start, end, places) {
    const out = [];
    const length = (most, count) => {
        if (count < most) return;
        let rest = count - most;
        for (; rest >= 255; rest -= 255) out.push(255);
        out.push(rest);
    };
    const put = (literals, from, distance, count) => {
        const copy = distance === 0 ? 0 : count - 4;
        out.push((Math.min(literals, 15) << 4) | Math.min(copy, 15));
        length(15, literals);
        for (let i = 0; i < literals; i++) out.push(bytes[from + i]);
        if (distance === 0) return;
        out.push(distance & 255, distance >> 8);
        length(15, copy);
    };
    let anchor = start;
    // The format: the last five bytes are literals, and no copy begins in the last twelve.
    for (let at = start; at < end - 12;) {
        const word = (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
        const before = places.get(word);
        places.set(word, at);
        if (before === undefined || at - before > 65535) {
            at++;
            continue;
        }
        let count = 4;
        while (at + count < end - 5 && bytes[before + count] === bytes[at + count]) count++;
        put(at - anchor, anchor, at - before, count);
        at += count;
        anchor = at;
    }
    put(end - anchor, anchor, 0, 0);
    return out;
}

/** A frame of LZ4 whose blocks depend on each other; every third block is left as it is. */
export function packLz4(bytes) {
    const out = [4, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0];
    const places = new Map();
    for (let start = 0, number = 0; start < bytes.length; start += BLOCK, number++) {
        const end = Math.min(start + BLOCK, bytes.length);
        const packed = number % 3 === 2 ? [...bytes.subarray(start, end)] : block(bytes, start, end, places);
        const size = packed.length;
        out.push(size & 255, (size >> 8) & 255, (size >> 16) & 255, number % 3 === 2 ? 128 : 0);
        for (const byte of packed) out.push(byte);
    }
    out.push(0, 0, 0, 0);
    return Uint8Array.from(out);
}

/** A frame of zstd of blocks that are as they are, or that say one byte and how often it comes. */
export function packZstd(bytes) {
    const size = new Uint8Array(4);
    new DataView(size.buffer).setUint32(0, bytes.length, true);
    const out = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, ...size];
    for (let start = 0; start < bytes.length; start += BLOCK) {
        const end = Math.min(start + BLOCK, bytes.length);
        const block = bytes.subarray(start, end);
        const isRun = block.every((byte) => byte === block[0]);
        const header = (block.length << 3) | (isRun ? 2 : 0) | (end === bytes.length ? 1 : 0);
        out.push(header & 255, (header >> 8) & 255, header >> 16);
        for (const byte of isRun ? block.subarray(0, 1) : block) out.push(byte);
    }
    return Uint8Array.from(out);
}
