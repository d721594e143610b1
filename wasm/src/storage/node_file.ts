/*
 * Storage in files, for Node: the very files of the native library, `<directory>/<name>.velta` and the same with
 * `-log`, under the same lock (node_lock.ts). `velta inspect name.velta` reads what is written here, and the other way
 * round.
 *
 * Operations are synchronous system calls at positions. Only a count equal to what was asked is success, which the
 * engine judges: execute tells what was done. Where there is no room it says FULL. After a failed fdatasync nobody
 * knows what is on the disk, so the engine then refuses everything until the database is opened again.
 *
 * Restoring. The snapshot is written to `<name>.velta-restore` and synced; then
 *   1. DATA is cut to RESTORING_BYTES, synced: from here on the restore counts; no root is left, so that the native
 *      library calls the files corrupt in each state until the last;
 *   2. LOG is cut to nothing, synced;
 *   3. the snapshot is renamed over DATA, the folder synced.
 * Opening looks for `-restore`: with a DATA of exactly RESTORING_BYTES steps 2 and 3 are done again; with any other
 * DATA the restore had not begun to count, and the file is removed.
 *
 * Deleting is restoring nothing: an empty `-restore`, DATA cut to RESTORING_BYTES, then LOG, DATA and `-restore` are
 * removed in this order.
 */
import { VeltaError } from '../errors.js';
import {
    FAILED_FULL,
    FAILED_IO,
    FILE_DATA,
    OPERATION_READ,
    OPERATION_SIZE,
    OPERATION_SYNC,
    OPERATION_TRUNCATE,
    OPERATION_WRITE,
    type StorageDriver,
} from './driver.js';
import type { LockOptions } from './locks.js';
import { decodeName, encodeName } from './names.js';
import { type LockedFile, openLocked } from './node_lock.js';
import { type NodeSystem, errorCode, fileError, nodeSystem } from './node_system.js';

const MAX_TRANSFER_BYTES = 1 << 30;
const RESTORING_BYTES = 512;
const ENDING = '.velta';
const LOG_ENDING = '-log';
const RESTORE_ENDING = '-restore';

interface OpenFile {
    readonly path: string;
    /** -1: not open. */
    descriptor: number;
    /** Made here, and its entry in the folder is not yet durable. */
    created: boolean;
}

function syncFolder(system: NodeSystem, path: string): void {
    if (system.process.platform === 'win32') return; /* folders cannot be opened there, and need not be synced */
    const descriptor = system.fs.openSync(system.path.dirname(path), 'r');
    try {
        system.fs.fsyncSync(descriptor);
    } catch (error) {
        /* Some file systems cannot sync a folder and say EINVAL: nothing more can be done there. */
        if (errorCode(error) !== 'EINVAL') throw error;
    } finally {
        system.fs.closeSync(descriptor);
    }
}

/** All of `bytes` at `position`, or what was done; a call that does nothing ends it. */
function transfer(bytes: Uint8Array, position: number, call: (at: number, length: number, position: number) => number) {
    let done = 0;
    while (done < bytes.length) {
        let count: number;
        try {
            count = call(done, Math.min(bytes.length - done, MAX_TRANSFER_BYTES), position + done);
        } catch (error) {
            if (errorCode(error) === 'EINTR') continue;
            throw error;
        }
        if (!(count > 0)) return done;
        done += count;
    }
    return done;
}

/** Two files as a storage. @internal */
export class NodeFileDriver implements StorageDriver {
    readonly kind = 'file';
    failure: VeltaError | null = null;
    readonly closed: Promise<void>;
    readonly #system: NodeSystem;
    readonly #readOnly: boolean;
    readonly #files: readonly [OpenFile, OpenFile];
    readonly #locked: LockedFile;
    #end!: () => void;
    #isClosed = false;

    constructor(system: NodeSystem, path: string, readOnly: boolean, locked: LockedFile) {
        this.#system = system;
        this.#readOnly = readOnly;
        this.#locked = locked;
        this.#files = [
            { path, descriptor: locked.descriptor, created: locked.created },
            { path: path + LOG_ENDING, descriptor: -1, created: false },
        ];
        this.closed = new Promise((resolve) => {
            this.#end = resolve;
        });
    }

    execute(kind: number, file: number, offset: number, size: number, bytes: Uint8Array): number {
        const opened = file === FILE_DATA ? this.#files[0] : this.#files[1];
        const writes = kind !== OPERATION_SIZE && kind !== OPERATION_READ;
        if (this.#isClosed || (writes && this.#readOnly)) return FAILED_IO;
        try {
            this.#open(opened, writes);
            const done = this.#run(kind, opened, offset, bytes.subarray(0, size));
            if (kind === OPERATION_WRITE && done !== size) this.#note(opened, `${done} of ${size} bytes were written`);
            return done;
        } catch (error) {
            const failed = fileError('cannot use', opened.path, error);
            if (writes) this.#note(opened, failed);
            return failed.code === 'FULL' ? FAILED_FULL : FAILED_IO;
        }
    }

    #note(file: OpenFile, reason: VeltaError | string): void {
        this.failure ??= reason instanceof VeltaError ? reason : new VeltaError('IO', `'${file.path}': ${reason}`);
    }

    /** Opens, and for writing makes, the file; an absent one stays -1 for reading. */
    #open(file: OpenFile, make: boolean): void {
        if (file.descriptor >= 0) return;
        const { fs } = this.#system;
        try {
            file.descriptor = fs.openSync(file.path, this.#readOnly ? 'r' : 'r+');
        } catch (error) {
            if (errorCode(error) !== 'ENOENT') throw error;
            if (!make) return;
            file.descriptor = fs.openSync(file.path, 'wx+', 0o666);
            file.created = true;
        }
    }

    #run(kind: number, file: OpenFile, offset: number, bytes: Uint8Array): number {
        const { fs } = this.#system;
        const { descriptor } = file;
        switch (kind) {
            case OPERATION_SIZE:
                return descriptor < 0 ? 0 : fs.fstatSync(descriptor).size;
            case OPERATION_READ:
                if (descriptor < 0) return 0;
                return transfer(bytes, offset, (at, length, position) =>
                    fs.readSync(descriptor, bytes, at, length, position),
                );
            case OPERATION_WRITE:
                return transfer(bytes, offset, (at, length, position) =>
                    fs.writeSync(descriptor, bytes, at, length, position),
                );
            case OPERATION_SYNC:
                fs.fdatasyncSync(descriptor); /* writes the size too */
                if (file.created) {
                    syncFolder(this.#system, file.path);
                    file.created = false;
                }
                return 0;
            case OPERATION_TRUNCATE:
                fs.ftruncateSync(descriptor, offset);
                return 0;
            default:
                return FAILED_IO;
        }
    }

    durable(): Promise<void> {
        return Promise.resolve();
    }

    prepare(): Promise<void> {
        return Promise.resolve();
    }

    release(): void {
        /* Nothing is read ahead. */
    }

    close(): void {
        if (this.#isClosed) return;
        this.#isClosed = true;
        /* What close reports is nothing that fdatasync did not. The lock goes last, with the data file. */
        for (const { descriptor } of [this.#files[1], this.#files[0]]) {
            try {
                if (descriptor >= 0) this.#system.fs.closeSync(descriptor);
            } catch {
                continue;
            }
        }
        this.#locked.lock.release();
        this.#end();
    }

    /** Closes, and removes the files if this opening made them: nothing was acknowledged in them. */
    abandon(): void {
        if (!this.#locked.created || this.#readOnly) return this.close();
        try {
            removeFiles(this.#system, this.#files[0].path);
        } finally {
            this.close();
        }
    }
}

/* ---- a database as files */

export interface FileOptions extends LockOptions {
    readonly directory: string;
}

function pathOf(system: NodeSystem, name: string, directory: string): string {
    return system.path.join(system.path.resolve(directory), encodeName(name) + ENDING);
}

function removeIfThere(system: NodeSystem, path: string): boolean {
    try {
        system.fs.unlinkSync(path);
        return true;
    } catch (error) {
        if (errorCode(error) === 'ENOENT') return false;
        throw fileError('cannot remove', path, error);
    }
}

function removeFiles(system: NodeSystem, path: string): void {
    removeIfThere(system, path + LOG_ENDING);
    removeIfThere(system, path);
    removeIfThere(system, path + RESTORE_ENDING);
}

function cut(system: NodeSystem, path: string, size: number): void {
    let descriptor: number;
    try {
        descriptor = system.fs.openSync(path, 'r+');
    } catch (error) {
        if (errorCode(error) === 'ENOENT') return;
        throw error;
    }
    try {
        system.fs.ftruncateSync(descriptor, size);
        system.fs.fsyncSync(descriptor);
    } finally {
        system.fs.closeSync(descriptor);
    }
}

/** What follows once DATA is cut. */
function finishRestore(system: NodeSystem, path: string): void {
    if (system.fs.statSync(path + RESTORE_ENDING, { throwIfNoEntry: false })?.size === 0) {
        removeFiles(system, path);
    } else {
        cut(system, path + LOG_ENDING, 0);
        system.fs.renameSync(path + RESTORE_ENDING, path);
    }
    syncFolder(system, path);
}

/** Finishes or undoes a restore that was interrupted. The writer's lock is held. Says whether DATA is another file. */
function settleRestore(system: NodeSystem, path: string): boolean {
    try {
        if (!system.fs.statSync(path + RESTORE_ENDING, { throwIfNoEntry: false })) return false;
        if (system.fs.statSync(path, { throwIfNoEntry: false })?.size !== RESTORING_BYTES) {
            removeIfThere(system, path + RESTORE_ENDING);
            return false;
        }
        finishRestore(system, path);
        return true;
    } catch (error) {
        throw error instanceof VeltaError ? error : fileError('cannot finish restoring', path, error);
    }
}

function unlock(system: NodeSystem, locked: LockedFile): void {
    system.fs.closeSync(locked.descriptor);
    locked.lock.release();
}

/**
 * Opens the files of a database, locked.
 *
 * @throws {VeltaError} LOCKED, NOT_FOUND, CANCELLED, IO, FULL, UNSUPPORTED.
 */
export async function openFiles(
    name: string,
    options: FileOptions & { readonly mustExist: boolean },
): Promise<NodeFileDriver> {
    const system = nodeSystem();
    const path = pathOf(system, name, options.directory);
    const readOnly = options.shared;
    const make = !readOnly && !options.mustExist;
    if (make) makeFolder(system, path);
    for (;;) {
        const locked = await openLocked(system, path, name, { ...options, flags: readOnly ? 'r' : 'r+', make });
        if (!isInterrupted(system, path, locked, readOnly)) return new NodeFileDriver(system, path, readOnly, locked);
        unlock(system, locked);
        if (readOnly) await settleAsWriter(system, path, name, options);
    }
}

/** Looks for a restore to settle, and where this may write, settles it. True: DATA has to be opened again. */
function isInterrupted(system: NodeSystem, path: string, locked: LockedFile, readOnly: boolean): boolean {
    try {
        if (!readOnly) return settleRestore(system, path);
        const found = system.fs.statSync(path + RESTORE_ENDING, { throwIfNoEntry: false }) !== undefined;
        return found && system.fs.fstatSync(locked.descriptor).size === RESTORING_BYTES;
    } catch (error) {
        unlock(system, locked);
        throw error instanceof VeltaError ? error : fileError('cannot read', path, error);
    }
}

async function settleAsWriter(system: NodeSystem, path: string, name: string, options: FileOptions): Promise<void> {
    const locked = await openLocked(system, path, name, { ...options, shared: false, flags: 'r+', make: false });
    try {
        settleRestore(system, path);
    } finally {
        unlock(system, locked);
    }
}

function makeFolder(system: NodeSystem, path: string): void {
    const folder = system.path.dirname(path);
    try {
        system.fs.mkdirSync(folder, { recursive: true });
    } catch (error) {
        throw fileError('cannot make the folder', folder, error);
    }
}

/**
 * Makes the database `name` the snapshot `bytes`, whole or not at all.
 *
 * @throws {VeltaError} LOCKED, CANCELLED, IO, FULL, UNSUPPORTED.
 */
export async function restoreFiles(name: string, bytes: Uint8Array, options: FileOptions): Promise<void> {
    const system = nodeSystem();
    const path = pathOf(system, name, options.directory);
    makeFolder(system, path);
    const locked = await openLocked(system, path, name, { ...options, shared: false, flags: 'r+', make: true });
    let counts = false;
    let settled: boolean;
    try {
        settled = settleRestore(system, path);
        if (!settled) {
            writeSide(system, path, bytes);
            counts = true;
            cut(system, path, RESTORING_BYTES);
            finishRestore(system, path);
        }
    } catch (error) {
        if (counts) throw fileError('opening will finish the restore that failed of', path, error);
        removeIfThere(system, path + RESTORE_ENDING);
        if (locked.created) removeIfThere(system, path);
        throw error instanceof VeltaError ? error : fileError('cannot restore', path, error);
    } finally {
        unlock(system, locked);
    }
    if (settled) await restoreFiles(name, bytes, options); /* DATA is another file now, or none */
}

/** The file beside DATA, whole and durable. */
function writeSide(system: NodeSystem, path: string, bytes: Uint8Array): void {
    const { fs } = system;
    const side = fs.openSync(path + RESTORE_ENDING, 'w', 0o666);
    try {
        const written = transfer(bytes, 0, (at, length, position) => fs.writeSync(side, bytes, at, length, position));
        if (written !== bytes.length) {
            throw new VeltaError('IO', `${written} of ${bytes.length} bytes were written to '${path}'`);
        }
        fs.fsyncSync(side);
    } finally {
        fs.closeSync(side);
    }
    syncFolder(system, path);
}

/** @throws {VeltaError} LOCKED, CANCELLED, IO, UNSUPPORTED. */
export async function deleteFiles(name: string, options: FileOptions): Promise<boolean> {
    const system = nodeSystem();
    const path = pathOf(system, name, options.directory);
    let locked: LockedFile;
    try {
        locked = await openLocked(system, path, name, { ...options, shared: false, flags: 'r+', make: false });
    } catch (error) {
        if (error instanceof VeltaError && error.code === 'NOT_FOUND') return false;
        throw error;
    }
    try {
        if (!settleRestore(system, path)) {
            writeSide(system, path, new Uint8Array(0));
            cut(system, path, RESTORING_BYTES);
            finishRestore(system, path);
            return true;
        }
    } catch (error) {
        throw error instanceof VeltaError ? error : fileError('cannot delete', path, error);
    } finally {
        unlock(system, locked);
    }
    return deleteFiles(name, options);
}

/** @throws {VeltaError} IO, UNSUPPORTED. */
export function listFiles(directory: string): string[] {
    const system = nodeSystem();
    const folder = system.path.resolve(directory);
    let entries: string[];
    try {
        entries = system.fs.readdirSync(folder);
    } catch (error) {
        if (errorCode(error) === 'ENOENT') return [];
        throw fileError('cannot read the folder', folder, error);
    }
    const names = entries.filter((entry) => entry.endsWith(ENDING)).map((entry) => entry.slice(0, -ENDING.length));
    return names.map(decodeName).filter((name) => name !== null);
}
