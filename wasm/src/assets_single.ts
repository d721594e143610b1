/*
 * assets.ts of the single-file build: the simd128 module and the worker are texts within the file.
 *
 * The worker starts from a blob: address, which a page's Content-Security-Policy must allow (`worker-src blob:`). It
 * holds no module of its own: the page hands it the one that it has.
 */
import { VeltaError } from './errors.js';
import type { WasmBuild } from './assets.js';
import moduleText from 'velta:simd128';
import workerText from 'velta:worker';

/** As in assets.ts; this one file holds one build. */
export const wasmBuilds: readonly WasmBuild[] = ['simd128'];

/** The module's bytes. */
export function wasmSource(build: WasmBuild): URL | Uint8Array<ArrayBuffer> {
    if (build !== 'simd128' || moduleText === '') {
        throw new VeltaError('UNSUPPORTED', `the single-file package holds no ${build} module; give one as 'wasm'`);
    }
    const text = atob(moduleText);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
}

/** Starts the worker from its text, a classic script: a page opened from the disk may start no other kind so. */
export function startWorker(): Worker {
    const address = URL.createObjectURL(new Blob([workerText], { type: 'text/javascript' }));
    try {
        return new Worker(address);
    } finally {
        // The worker has fetched it, or fails: the address may be given back once it has had the time.
        setTimeout(() => URL.revokeObjectURL(address), 60_000);
    }
}

/** The worker's text as an address. */
export function workerFile(): URL {
    return new URL(`data:text/javascript,${encodeURIComponent(workerText)}`);
}

/** There are no threads here. */
export function startThread(): Worker {
    throw new VeltaError('UNSUPPORTED', 'the single-file package has one thread');
}

/** There are no threads here. */
export function threadFile(): URL {
    throw new VeltaError('UNSUPPORTED', 'the single-file package has one thread');
}
