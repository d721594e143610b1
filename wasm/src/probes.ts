/**
 * What the engine of WebAssembly at hand can do, by small modules.
 *
 * `WebAssembly.validate` says what can be decoded; the relaxed dot product must also give the known answer.
 */

/** (module (func (param v128) (result v128) local.get 0 i8x16.popcnt)) */
const SIMD128_PROBE = 'AGFzbQEAAAABBgFgAXsBewMCAQAKCAEGACAA/WIL';
/**
 * Exports `d`: with q its first argument in every lane plus the bytes 0…15, and c its second xor the same, the relaxed
 * dot product of q and c added to (1, 20, 300, 4000), the lanes of that times (1, 3, 5, 7), summed.
 */
const RELAXED_PROBE =
    'AGFzbQEAAAABBwFgAn9/AX8DAgEABwUBAWQAAAp5AXcBAXsgAP0R/QwAAQIDBAUGBwgJCgsMDQ4P/W4gAf0R/QwAAQIDBAUGBwgJCgsMDQ4P' +
    '/VH9DAEAAAAUAAAALAEAAKAPAAD9kwL9DAEAAAADAAAABQAAAAcAAAD9tQEhAiAC/RsAIAL9GwFqIAL9GwIgAv0bA2pqCw==';
/** Arguments of `d` and its answer; signs and the full range of codes are in them. */
const RELAXED_ANSWERS = [
    [-0x7e0f80fb, 0x7f017040, -401103],
    [-1, 0x7f7f7f7f, 95993],
    [-0x7f7f7f80, 0x7f7f7f7f, -854983],
] as const;

/** Bytes of a text in base64. @internal */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Whether relaxed SIMD is there and right: one engine's baseline compiler gets the dot product wrong. @internal */
export function computesRelaxed(): boolean {
    const probe = bytesOf(RELAXED_PROBE);
    if (!WebAssembly.validate(probe)) return false;
    try {
        const { d } = new WebAssembly.Instance(new WebAssembly.Module(probe)).exports as {
            d: (query: number, codes: number) => number;
        };
        return RELAXED_ANSWERS.every(([query, codes, answer]) => d(query, codes) === answer);
    } catch {
        return false; // a policy forbids it: loading the module will say so
    }
}

/** Whether SIMD of 128 bits can be decoded. @internal */
export function decodesSimd(): boolean {
    return WebAssembly.validate(bytesOf(SIMD128_PROBE));
}
