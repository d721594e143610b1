/* The texts that tools/bundle.mjs puts into the single-file build. */
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
