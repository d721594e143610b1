/*
 * What executes the engine's storage operations outside the wasm module: the interface of all storage drivers.
 *
 * A driver keeps two files, DATA and LOG, and does one operation of delta/storage.h at a time, to the letter. The
 * engine's state machine decides what is written when and what a failure means; a driver decides nothing. An absent
 * file has size 0 and is made by the first write.
 */

import type { VeltaError } from '../errors.js';

/** The kinds of operations, as delta/storage.h numbers them. */
export const OPERATION_SIZE = 1;
export const OPERATION_READ = 2;
export const OPERATION_WRITE = 3;
export const OPERATION_SYNC = 4;
export const OPERATION_TRUNCATE = 5;

/** The two files. */
export const FILE_DATA = 0;
export const FILE_LOG = 1;

/** What execute answers when the medium failed, and when it is full: the negative status codes IO and FULL. */
export const FAILED_IO = -15;
export const FAILED_FULL = -16;

export interface StorageDriver {
    readonly kind: 'indexeddb' | 'opfs' | 'file';
    /**
     * The first failure of a writing operation, or null. The engine makes checkpoints by itself after a change that
     * succeeded; should that fail, the next call is POISONED, and this is the reason that the program is told.
     */
    readonly failure: VeltaError | null;
    /**
     * One operation, done when it returns; on IndexedDB a write or sync is then only queued (see durable).
     *
     * @param kind one of the OPERATION constants.
     * @param file FILE_DATA or FILE_LOG.
     * @param offset first byte; for TRUNCATE the new size.
     * @param size bytes to read or write.
     * @param bytes the window of wasm memory to fill or to write, `size` long; used during the call only.
     * @returns SIZE: the size; READ and WRITE: bytes done; SYNC and TRUNCATE: 0. A failure: FAILED_IO or FAILED_FULL.
     */
    execute(kind: number, file: number, offset: number, size: number, bytes: Uint8Array): number;
    /**
     * Resolves when all that was executed before is durable. Synchronous drivers: at once, because their SYNC was.
     *
     * @throws {VeltaError} FULL, IO: it is not and never will be; the database has to be opened again.
     */
    durable(): Promise<void>;
    /**
     * Makes the files readable by execute where that needs waiting: on IndexedDB they are read into memory, until
     * release. To be called before abi_open and before abi_verify; a no-op elsewhere.
     *
     * @throws {VeltaError} IO, CORRUPT, CANCELLED.
     */
    prepare(options?: PrepareOptions): Promise<void>;
    /** Drops what prepare read. A READ that needs it afterwards fails with FAILED_IO. */
    release(): void;
    /** Called when the database has closed (import close_storage): releases handles and locks once all is durable. */
    close(): void;
    /**
     * Resolves when handles and locks are released. Rejects, after that, when what was written last did not become
     * durable. Never reported as unhandled.
     */
    readonly closed: Promise<void>;
}

export interface PrepareOptions {
    readonly signal?: AbortSignal | undefined;
    /** Bytes read so far and in all. */
    readonly onProgress?: ((done: number, total: number) => void) | undefined;
}
