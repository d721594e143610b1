/*
 * The entry `velta/single`: everything that `velta` has, in one file without others beside it. For pages that are one
 * file, for places where no second file can be fetched, and for trying things out. It is a third larger to transfer
 * than `velta` with the one module it holds, knows the simd128 build only, and has no threads.
 */
export * from './index.js';
