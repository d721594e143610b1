/*
 * The module that unpacks zstd (wasm/zstd), in base64: a file of the package of its own, which is loaded when the first
 * bytes are met that are packed so.
 */
export { default as moduleText } from 'velta:zstd';
