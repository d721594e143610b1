/* The texts that tools/bundle.mjs puts into files. */
declare module 'velta:simd128' {
    /** The module in base64; empty within the worker. */
    const text: string;
    export default text;
}
declare module 'velta:worker' {
    /** The worker's JavaScript. */
    const text: string;
    export default text;
}
declare module 'velta:zstd' {
    /** The module of wasm/zstd in base64. */
    const text: string;
    export default text;
}
