/*
 * Where the package's other files are: the modules, the worker, the threads.
 *
 * The addresses are written out, `new URL('./name', import.meta.url)` with a literal name, because that is the form by
 * which Vite, webpack, Rollup and Parcel find a file, emit it beside the bundle and put its final address here. esbuild
 * leaves the form as it is: its users copy the files beside the bundle or give `wasm` and `worker` themselves.
 *
 * The single-file build has assets_single.ts in the place of this file (tools/bundle.mjs).
 */

/** The builds of the engine; `index.ts` has what each of them needs. */
export type WasmBuild = 'scalar' | 'simd128' | 'relaxed' | 'threads';

/** Where the module of a build is, or its bytes. */
export function wasmSource(build: WasmBuild): URL | Uint8Array<ArrayBuffer> {
    switch (build) {
        case 'scalar':
            return new URL('./wasm/velta.scalar.wasm', import.meta.url);
        case 'simd128':
            return new URL('./wasm/velta.simd128.wasm', import.meta.url);
        case 'relaxed':
            return new URL('./wasm/velta.relaxed.wasm', import.meta.url);
        case 'threads':
            return new URL('./wasm/velta.threads.wasm', import.meta.url);
    }
}

/** Those that wasmSource has. */
export const wasmBuilds: readonly WasmBuild[] = ['scalar', 'simd128', 'relaxed', 'threads'];

/** Starts the worker that serves databases, in a browser. */
export function startWorker(): Worker {
    return new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
}

/** The worker's file for Node's worker_threads. Not written as above, lest bundlers emit the file a second time. */
export function workerFile(): URL {
    const here = import.meta.url;
    return new URL('worker.js', here);
}

/** Starts a thread that links indexes, in a browser. */
export function startThread(): Worker {
    return new Worker(new URL('./thread.js', import.meta.url), { type: 'module' });
}

/** The thread's file for Node's worker_threads. */
export function threadFile(): URL {
    const here = import.meta.url;
    return new URL('thread.js', here);
}
