/*
 * Storage in the origin private file system (OPFS), for dedicated workers: only there browsers give the synchronous
 * access handles that the engine's synchronous calls need. A page uses openWorker.
 *
 * A database is a folder, `<directory>/<encoded name>`, with the files `data` and `log`. A handle locks its file; it
 * can outlive its owner for about a second, so taking one is tried again until the timeout. Readers ask for handles of
 * mode 'read-only', which browsers without that mode make exclusive: readers then exclude each other.
 *
 * Only a count equal to what was asked is success: at quota some browsers return a smaller one instead of throwing, so
 * a write that is short is FULL.
 *
 * Restoring. The snapshot is written to `restore`, flushed, then followed by a trailer that says that it is whole,
 * flushed. From then on the restore counts: LOG is cut to nothing, DATA is overwritten, `restore` is cut to nothing and
 * removed. Each of these can be done again, and opening does them when it finds a `restore` with its trailer; one
 * without is removed. Deleting: a file `deleting` makes it count; then the others are removed, `deleting` last.
 */
import { VeltaError } from '../errors.js';
import {
    FAILED_FULL,
    FAILED_IO,
    OPERATION_READ,
    OPERATION_SIZE,
    OPERATION_SYNC,
    OPERATION_TRUNCATE,
    OPERATION_WRITE,
    type StorageDriver,
} from './driver.js';
import { type Lock, type LockOptions, pollUntil } from './locks.js';
import { decodeName, encodeName } from './names.js';

const DATA = 'data';
const LOG = 'log';
const RESTORE = 'restore';
const DELETING = 'deleting';
const SCRATCH_BYTES = 1 << 20;
const INSTEAD = "where it is missing, storage 'indexeddb' does the same, slower";
const TRAILER_BYTES = 24;
const TRAILER_MAGIC = 0x5453522d41544c56n; /* "VLTA-RST" */

/** What a worker's file handles offer (the type library of pages does not have it). */
interface SyncAccessHandle {
    read(bytes: Uint8Array, options: { at: number }): number;
    write(bytes: Uint8Array, options: { at: number }): number;
    truncate(size: number): void;
    getSize(): number;
    flush(): void;
    close(): void;
}

interface WorkerFileHandle {
    createSyncAccessHandle?: (options?: { mode: string }) => Promise<SyncAccessHandle>;
}

const FULL_NAMES = ['QuotaExceededError', 'NS_ERROR_FILE_NO_DEVICE_SPACE', 'NS_ERROR_DOM_QUOTA_EXCEEDED_ERR'];

function nameOf(error: unknown): string {
    const name = (error as { name?: unknown } | null)?.name;
    return typeof name === 'string' ? name : '';
}

function opfsError(what: string, error: unknown): VeltaError {
    if (error instanceof VeltaError) return error;
    const name = nameOf(error);
    const reason =
        error instanceof Error || error instanceof DOMException ? `${name}: ${error.message}` : String(error);
    if (name === 'SecurityError') {
        return new VeltaError('UNSUPPORTED', `${what}: ${reason}; ${INSTEAD}`, { cause: error });
    }
    return new VeltaError(FULL_NAMES.includes(name) ? 'FULL' : 'IO', `${what}: ${reason}`, { cause: error });
}

/** Moves `bytes` by `call`; what is shared with other threads goes through memory that is not, as browsers demand. */
function transfer(bytes: Uint8Array, at: number, isRead: boolean, call: (part: Uint8Array, at: number) => number) {
    if (bytes.buffer instanceof ArrayBuffer) return call(bytes, at);
    const scratch = new Uint8Array(Math.min(bytes.length, SCRATCH_BYTES));
    let done = 0;
    while (done < bytes.length) {
        const part = scratch.subarray(0, Math.min(scratch.length, bytes.length - done));
        if (!isRead) part.set(bytes.subarray(done, done + part.length));
        const count = call(part, at + done);
        if (isRead) bytes.set(part.subarray(0, Math.min(count, part.length)), done);
        done += count;
        if (count !== part.length) break;
    }
    return done;
}

/** @internal */
export class OpfsDriver implements StorageDriver {
    readonly kind = 'opfs';
    failure: VeltaError | null = null;
    readonly closed: Promise<void>;
    readonly #files: readonly [SyncAccessHandle | null, SyncAccessHandle | null];
    readonly #readOnly: boolean;
    readonly #lock: Lock;
    #end!: () => void;
    #isClosed = false;

    constructor(files: readonly [SyncAccessHandle | null, SyncAccessHandle | null], lock: Lock, readOnly: boolean) {
        this.#files = files;
        this.#lock = lock;
        this.#readOnly = readOnly;
        this.closed = new Promise((resolve) => {
            this.#end = resolve;
        });
    }

    execute(kind: number, file: number, offset: number, size: number, bytes: Uint8Array): number {
        const handle = this.#files[file as 0 | 1];
        const writes = kind !== OPERATION_SIZE && kind !== OPERATION_READ;
        if (this.#isClosed || (writes && this.#readOnly)) return FAILED_IO;
        if (!handle) return writes ? FAILED_IO : 0; /* absent, which only a reader meets */
        try {
            const done = run(handle, kind, offset, bytes.subarray(0, size));
            if (done === FAILED_FULL)
                this.failure ??= new VeltaError('FULL', 'the browser wrote less than it was given');
            return done;
        } catch (error) {
            const failed = opfsError('writing the database failed', error);
            if (writes) this.failure ??= failed;
            return failed.code === 'FULL' ? FAILED_FULL : FAILED_IO;
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
        closeAll(this.#files);
        this.#lock.release();
        this.#end();
    }
}

function run(handle: SyncAccessHandle, kind: number, offset: number, bytes: Uint8Array): number {
    switch (kind) {
        case OPERATION_SIZE:
            return handle.getSize();
        case OPERATION_READ:
            return transfer(bytes, offset, true, (part, at) => handle.read(part, { at }));
        case OPERATION_WRITE: {
            const count = transfer(bytes, offset, false, (part, at) => handle.write(part, { at }));
            return count < bytes.length ? FAILED_FULL : count;
        }
        case OPERATION_SYNC:
            handle.flush();
            return 0;
        case OPERATION_TRUNCATE:
            handle.truncate(offset);
            return 0;
        default:
            return FAILED_IO;
    }
}

function closeAll(handles: readonly (SyncAccessHandle | null | undefined)[]): void {
    for (const handle of handles) {
        try {
            handle?.close();
        } catch {
            continue; /* what close reports is nothing that flush did not */
        }
    }
}

/* ---- folders */

export interface OpfsOptions extends LockOptions {
    readonly directory: string;
}

/** The folders of a path like 'a/b'. @throws {VeltaError} INVALID */
export function directoryParts(directory: string): string[] {
    const parts = directory.split('/').filter((part) => part !== '');
    for (const part of parts) {
        if (part === '.' || part === '..' || encodeName(part) !== part) {
            throw new VeltaError('INVALID', `directory: '${part}' cannot be a folder's name here`);
        }
    }
    return parts;
}

async function root(): Promise<FileSystemDirectoryHandle> {
    const storage = (globalThis.navigator as Navigator | undefined)?.storage;
    if (typeof storage?.getDirectory !== 'function') {
        throw new VeltaError('UNSUPPORTED', `the origin private file system is not here; ${INSTEAD}`);
    }
    try {
        return await storage.getDirectory();
    } catch (error) {
        const reason = 'the browser refuses the origin private file system (a private window, or a sandboxed frame)';
        throw new VeltaError('UNSUPPORTED', `${reason}; ${INSTEAD}`, { cause: error });
    }
}

/** A handle, or null where it is absent. */
async function ifThere<T>(handle: Promise<T>): Promise<T | null> {
    try {
        return await handle;
    } catch (error) {
        if (nameOf(error) === 'NotFoundError') return null;
        throw error;
    }
}

async function folderOf(parts: readonly string[], create: boolean): Promise<FileSystemDirectoryHandle | null> {
    let folder = await root();
    for (const part of parts) {
        const next = await ifThere(folder.getDirectoryHandle(part, { create }));
        if (!next) return null;
        folder = next;
    }
    return folder;
}

/** A file whose owner has just died can be locked for a moment yet. */
async function removeIfThere(folder: FileSystemDirectoryHandle, file: string, options: LockOptions): Promise<void> {
    const attempt = async (): Promise<boolean> => {
        try {
            await ifThere(folder.removeEntry(file));
            return true;
        } catch (error) {
            if (nameOf(error) === 'NoModificationAllowedError') return false;
            throw error;
        }
    };
    await pollUntil(attempt, file, options);
}

/** Whether this thread is one that gets synchronous handles: a dedicated worker. */
function hasHandles(): boolean {
    const { FileSystemFileHandle } = globalThis as { FileSystemFileHandle?: { prototype: object } };
    return FileSystemFileHandle !== undefined && 'createSyncAccessHandle' in FileSystemFileHandle.prototype;
}

/** Whether OPFS is here, but for workers only, and workers can be started. @internal */
export function needsWorker(): boolean {
    const { FileSystemFileHandle } = globalThis as { FileSystemFileHandle?: unknown };
    return FileSystemFileHandle !== undefined && !hasHandles() && typeof Worker === 'function';
}

/** @throws {VeltaError} UNSUPPORTED where there are no synchronous handles. */
function checkWorker(): void {
    if (!hasHandles()) {
        throw new VeltaError(
            'UNSUPPORTED',
            `storage 'opfs' works in dedicated workers of browsers that have it: in a page use openWorker; ${INSTEAD}`,
        );
    }
}

/**
 * A synchronous handle of a file, or null where it is absent and not to be made.
 *
 * @throws {VeltaError} LOCKED, CANCELLED.
 */
async function take(
    folder: FileSystemDirectoryHandle,
    file: string,
    create: boolean,
    name: string,
    options: LockOptions,
): Promise<SyncAccessHandle | null> {
    const found = await ifThere(folder.getFileHandle(file, { create }));
    if (!found) return null;
    const handle = found as FileSystemFileHandle & WorkerFileHandle;
    let taken: SyncAccessHandle | undefined;
    const attempt = async (): Promise<boolean> => {
        try {
            taken = await handle.createSyncAccessHandle?.({ mode: options.shared ? 'read-only' : 'readwrite' });
            return true;
        } catch (error) {
            if (nameOf(error) === 'NoModificationAllowedError') return false;
            throw error;
        }
    };
    await pollUntil(attempt, name, options);
    return taken ?? null;
}

/* ---- a database */

/** What a database's lock is called: its folder. */
export function opfsLockName(name: string, directory: string): string {
    return [...directoryParts(directory), encodeName(name)].join('/');
}

/**
 * Opens the files of a database; its lock is held, and belongs to the driver when this succeeds.
 *
 * @throws {VeltaError} NOT_FOUND, LOCKED, CANCELLED, FULL, IO, UNSUPPORTED.
 * @internal
 */
export async function openOpfs(
    name: string,
    lock: Lock,
    options: OpfsOptions & { readonly mustExist: boolean },
): Promise<{ driver: OpfsDriver; created: boolean }> {
    checkWorker();
    const readOnly = options.shared;
    const create = !options.mustExist && !readOnly;
    const parts = [...directoryParts(options.directory), encodeName(name)];
    const files: (SyncAccessHandle | null)[] = [];
    let created = false;
    try {
        let folder = await folderOf(parts, false);
        if (folder && (await settle(folder, name, options))) folder = null;
        created = folder === null;
        if (!folder && create) folder = await folderOf(parts, true);
        if (folder) {
            files.push(await take(folder, DATA, create, name, options));
            if (files[0]) files.push(await take(folder, LOG, !readOnly, name, options));
        }
        if (!files[0]) throw new VeltaError('NOT_FOUND', `there is no database '${name}' in '${options.directory}'`);
        /* Another may have come between, should the lock fail: what has bytes is not taken for one's own. */
        created &&= files.every((file) => !file || file.getSize() === 0);
        return { driver: new OpfsDriver([files[0], files[1] ?? null], lock, readOnly), created };
    } catch (error) {
        closeAll(files);
        if (created && create) await removeEmpty(name, options).catch(() => undefined);
        throw opfsError(`cannot open the database '${name}'`, error);
    }
}

/* ---- restoring and deleting */

function trailer(length: number): Uint8Array {
    const bytes = new Uint8Array(TRAILER_BYTES);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, TRAILER_MAGIC, true);
    view.setBigUint64(8, BigInt(length), true);
    view.setBigUint64(16, ~(TRAILER_MAGIC ^ BigInt(length)) & 0xffffffffffffffffn, true);
    return bytes;
}

/** The bytes of a snapshot whose trailer is there, or -1. */
function completeLength(side: SyncAccessHandle): number {
    const length = side.getSize() - TRAILER_BYTES;
    if (length < 0) return -1;
    const found = new Uint8Array(TRAILER_BYTES);
    if (side.read(found, { at: length }) !== TRAILER_BYTES) return -1;
    return trailer(length).every((byte, i) => byte === found[i]) ? length : -1;
}

function writeAll(handle: SyncAccessHandle, bytes: Uint8Array, at: number): void {
    const count = transfer(bytes, at, false, (part, place) => handle.write(part, { at: place }));
    if (count !== bytes.length) {
        throw new VeltaError('FULL', `${count} of ${bytes.length} bytes were written; the quota may be used up`);
    }
}

/** Makes DATA and LOG what `side` holds, then removes it. */
async function finishRestore(
    folder: FileSystemDirectoryHandle,
    side: SyncAccessHandle,
    length: number,
    name: string,
    options: LockOptions,
): Promise<void> {
    const files: (SyncAccessHandle | null)[] = [];
    try {
        const data = await take(folder, DATA, true, name, options);
        files.push(data);
        const log = await take(folder, LOG, true, name, options);
        files.push(log);
        if (!data || !log) throw new VeltaError('IO', 'the browser gave no handle');
        log.truncate(0);
        log.flush();
        data.truncate(length);
        const part = new Uint8Array(Math.min(length, SCRATCH_BYTES));
        for (let at = 0; at < length; at += part.length) {
            const bytes = part.subarray(0, Math.min(part.length, length - at));
            if (side.read(bytes, { at }) !== bytes.length) throw new VeltaError('IO', 'the snapshot cannot be read');
            writeAll(data, bytes, at);
        }
        data.flush();
        side.truncate(0);
        side.flush();
    } finally {
        closeAll(files);
    }
}

async function finishDelete(folder: FileSystemDirectoryHandle, options: LockOptions): Promise<void> {
    for (const file of [RESTORE, DATA, LOG, DELETING]) await removeIfThere(folder, file, options);
}

/** Finishes or undoes what was interrupted. Says whether the database is gone. */
async function settle(folder: FileSystemDirectoryHandle, name: string, options: LockOptions): Promise<boolean> {
    const writer = { ...options, shared: false };
    if (await ifThere(folder.getFileHandle(DELETING))) {
        await finishDelete(folder, options);
        return true;
    }
    const side = await take(folder, RESTORE, false, name, writer);
    if (!side) return false;
    try {
        const length = completeLength(side);
        if (length >= 0) await finishRestore(folder, side, length, name, writer);
    } finally {
        closeAll([side]);
    }
    await removeIfThere(folder, RESTORE, options);
    return false;
}

/**
 * Makes the database `name` the snapshot `bytes`, whole or not at all. The caller holds its lock.
 *
 * @throws {VeltaError} LOCKED, CANCELLED, FULL, IO, UNSUPPORTED.
 */
export async function restoreOpfs(name: string, bytes: Uint8Array, options: OpfsOptions): Promise<void> {
    checkWorker();
    const parts = [...directoryParts(options.directory), encodeName(name)];
    try {
        const existing = await folderOf(parts, false);
        if (existing) await settle(existing, name, options);
        const folder = await folderOf(parts, true);
        if (!folder) throw new VeltaError('IO', 'the browser made no folder');
        const side = await take(folder, RESTORE, true, name, options);
        if (!side) throw new VeltaError('IO', 'the browser gave no handle');
        try {
            writeSide(side, bytes);
            await finishRestore(folder, side, bytes.length, name, options);
        } finally {
            closeAll([side]);
        }
        await removeIfThere(folder, RESTORE, options);
    } catch (error) {
        throw opfsError(`cannot restore the database '${name}'`, error);
    }
}

function writeSide(side: SyncAccessHandle, bytes: Uint8Array): void {
    try {
        side.truncate(0);
        writeAll(side, bytes, 0);
        side.flush();
        writeAll(side, trailer(bytes.length), bytes.length);
        side.flush();
    } catch (error) {
        side.truncate(0); /* gives its room back; opening removes it */
        throw error;
    }
}

/** Whether there was one. The caller holds its lock. @throws {VeltaError} IO, UNSUPPORTED. */
export async function deleteOpfs(name: string, options: OpfsOptions): Promise<boolean> {
    const parts = directoryParts(options.directory);
    try {
        const parent = await folderOf(parts, false);
        const folder = parent && (await ifThere(parent.getDirectoryHandle(encodeName(name))));
        if (!parent || !folder) return false;
        const existed = await isDatabase(folder);
        await folder.getFileHandle(DELETING, { create: true });
        await finishDelete(folder, options);
        await ifThere(parent.removeEntry(encodeName(name)));
        return existed;
    } catch (error) {
        throw opfsError(`cannot delete the database '${name}'`, error);
    }
}

/** Takes back what an opening that failed had made: nothing in which a byte stands, as that may be another's. */
async function removeEmpty(name: string, options: OpfsOptions): Promise<void> {
    const parent = await folderOf(directoryParts(options.directory), false);
    const folder = parent && (await ifThere(parent.getDirectoryHandle(encodeName(name))));
    for (const file of folder ? [LOG, DATA] : []) {
        const found = await ifThere(folder!.getFileHandle(file));
        if (found && (await found.getFile()).size > 0) return;
        if (found) await folder!.removeEntry(file); /* refused while another has it */
    }
    await parent?.removeEntry(encodeName(name)); /* refused unless it is empty */
}

async function isDatabase(folder: FileSystemDirectoryHandle): Promise<boolean> {
    if (await ifThere(folder.getFileHandle(DELETING))) return false;
    return (await ifThere(folder.getFileHandle(DATA))) !== null;
}

/** @throws {VeltaError} IO, UNSUPPORTED. */
export async function listOpfs(directory: string): Promise<string[]> {
    const folder = await folderOf(directoryParts(directory), false);
    const names: string[] = [];
    try {
        for await (const [entry, handle] of folder?.entries() ?? []) {
            const name = decodeName(entry);
            if (name === null || handle.kind !== 'directory') continue;
            if (await isDatabase(handle as FileSystemDirectoryHandle)) names.push(name);
        }
    } catch (error) {
        throw opfsError('cannot list the databases', error);
    }
    return names;
}

/**
 * Whether storage 'opfs' works in this browser: here when this is a dedicated worker, and through openWorker when this
 * is a page.
 */
export async function isOpfsSupported(): Promise<boolean> {
    const handles = (globalThis as { FileSystemFileHandle?: { prototype: WorkerFileHandle } }).FileSystemFileHandle;
    const isPage = typeof (globalThis as { document?: unknown }).document !== 'undefined';
    if (!handles || (!isPage && !('createSyncAccessHandle' in handles.prototype))) return false;
    try {
        await root();
        return true;
    } catch {
        return false;
    }
}
