/**
 * What stands between the engine's storage protocol and a place that keeps bytes.
 *
 * The engine hands out operations one at a time and takes each result at once (delta/storage.h). A driver executes
 * them to the letter; where its place is asynchronous it queues writes in order and says by `durable` when they are kept.
 */

/** One open database's files: 0 is DATA, 1 is LOG. */
export interface StorageDriver {
    readonly kind: 'indexeddb' | 'opfs' | 'file';
    /**
     * One operation, synchronously: 1 SIZE, 2 READ, 3 WRITE, 4 SYNC, 5 TRUNCATE. Gives the size or the bytes done, 0
     * for SYNC and TRUNCATE, or minus a status (-15 IO, -16 FULL). `bytes` is the window of the module's memory to fill
     * or to write; it must not be kept.
     */
    execute(kind: number, file: number, offset: number, size: number, bytes: Uint8Array): number;
    /** Resolves when all that was executed before is durable; rejects with a VeltaError. */
    durable(): Promise<void>;
    /** Makes the files readable by `execute` where that needs waiting; elsewhere does nothing. */
    prepare(): Promise<void>;
    /** Called by the engine when the database has closed: releases handles and locks once all is durable. */
    close(): void;
    /** Resolves when `close` has released everything. */
    readonly closed: Promise<void>;
}
