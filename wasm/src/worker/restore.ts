/*
 * restore(), wherever it is called: in the thread itself where that can reach the storage, and in a worker for pages,
 * which have no synchronous handles of OPFS. It stands apart from storage/open.ts so that the worker's own script does
 * not hold what starts workers.
 */
import { checkOptions } from '../errors.js';
import { sameModule } from '../module.js';
import { checkName } from '../storage/names.js';
import { ownExport, restoreOwn, STORAGE_OPTIONS, storedKind, type StorageOptions } from '../storage/open.js';
import { needsWorker } from '../storage/opfs.js';
import type { WorkerSource } from './channel.js';
import { Connection, portable } from './client.js';

/** Where a database is restored. */
export interface RestoreOptions extends StorageOptions {
    /**
     * For `opfs` in a page, whose work a worker does: a running worker, which goes on, or the script to start one from.
     * @defaultValue the package's own worker.js, which ends with the restoring
     */
    readonly worker?: WorkerSource;
}

/**
 * Makes the stored database `name` what an export holds, whole or not at all, even when it is interrupted. The bytes
 * are checked before anything is touched; they are copied at once, and stay the caller's. In a page a worker does it
 * for `opfs`.
 *
 * @throws {VeltaError} CORRUPT or VERSION when the bytes are no whole export; LOCKED while it is open; FULL, IO,
 * UNSUPPORTED, INVALID, WORKER when the worker cannot start, and what `init` throws
 */
export async function restore(name: string, bytes: Uint8Array, options: RestoreOptions = {}): Promise<void> {
    checkOptions('restore', options, [...STORAGE_OPTIONS, 'worker']);
    const { worker, ...where } = options;
    const own = ownExport(bytes);
    if (where.storage !== 'opfs' || !needsWorker()) return restoreOwn(name, own, where);
    await storedKind('restore', where);
    checkName(name);
    await new Connection().restore(worker, name, own, where, (await sameModule()) ?? (await portable(undefined)));
}
