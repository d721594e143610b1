/*
 * Opening, restoring, deleting and listing stored databases.
 *
 * Opening goes: the module, the lock, the driver, what the driver has to read ahead, the engine, which reads the store
 * and replays its log. Whatever fails, or when the signal is aborted, everything taken before is given back: no lock or
 * handle stays, and what this opening had made is removed.
 */
import { Database, engineOptions, importDatabase, type MemoryOptions, type StorageKind } from '../database.js';
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import { currentInstance, type Instance, type Progress } from '../instance.js';
import { init } from '../module.js';
import { isDetached } from '../values.js';
import type { StorageDriver } from './driver.js';
import { type IndexedDbDriver, databaseError } from './indexeddb.js';
import { hasIndexedDb, listIndexedDb, openIndexedDb, removeIndexedDb, restoreIndexedDb } from './indexeddb_open.js';
import { acquireLock, DEFAULT_LOCK_TIMEOUT, isNode, type Lock, type LockOptions, throwIfAborted } from './locks.js';
import { checkName } from './names.js';
import { deleteFiles, listFiles, openFiles, restoreFiles } from './node_file.js';
import { deleteOpfs, isOpfsSupported, listOpfs, openOpfs, opfsLockName, restoreOpfs } from './opfs.js';

export { isOpfsSupported };

/** Where a stored database is, and how long to wait for it. */
export interface StorageOptions {
    /** Default: `file` in Node; in a dedicated worker `opfs` where the browser has it; else `indexeddb`. */
    readonly storage?: StorageKind;
    /** Node: the folder, default `.`. OPFS: a folder below the origin's root, default `velta`. */
    readonly directory?: string;
    /** Milliseconds to wait for another holder before LOCKED. Default 3000. */
    readonly lockTimeout?: number;
}

/** How a database is opened. */
export interface OpenOptions extends MemoryOptions, StorageOptions {
    /**
     * `strict` (default): a change is synced before it is acknowledged; `relaxed`: changes are written in groups, and
     * synced by `flush`, checkpoints and `close`. On IndexedDB, whose writes end later than the call that made them, a
     * strict change is durable when a `flush` after it has resolved; the worker's client awaits that by itself.
     */
    readonly durability?: 'strict' | 'relaxed';
    /** Any number of readers may share a database that nobody writes. Default false. */
    readonly readOnly?: boolean;
    /** NOT_FOUND instead of a new database. Default false. */
    readonly mustExist?: boolean;
    /** Size in bytes of the log that starts a checkpoint; default 32 MiB; Infinity: never by size. */
    readonly checkpointBytes?: number;
    /** Age in seconds of the oldest change in the log that starts one; default 15; Infinity: never by time. */
    readonly checkpointSeconds?: number;
    /** Gives up waiting, loading and replay: CANCELLED. */
    readonly signal?: AbortSignal;
    /** Of loading and replay, in units of no meaning but their share of the total. Returning false cancels. */
    readonly onProgress?: Progress;
}

/** @internal */
export const STORAGE_OPTIONS = ['storage', 'directory', 'lockTimeout'];
const OPEN_OPTIONS = [
    ...STORAGE_OPTIONS,
    'durability',
    'readOnly',
    'mustExist',
    'memoryBudget',
    'checkpointBytes',
    'checkpointSeconds',
    'chainInterval',
    'autoIndex',
    'now',
    'signal',
    'onProgress',
];
const STORAGES: readonly unknown[] = ['memory', 'opfs', 'indexeddb', 'file'];

type StoredKind = Exclude<StorageKind, 'memory'>;

/* ---- options */

function checkStorageOptions({ storage, directory, lockTimeout }: StorageOptions): void {
    if (storage !== undefined && !STORAGES.includes(storage)) {
        throw invalid(`storage is 'memory', 'opfs', 'indexeddb' or 'file', not ${describe(storage)}`);
    }
    if (directory !== undefined && typeof directory !== 'string') {
        throw invalid(`directory is a string, not ${describe(directory)}`);
    }
    if (lockTimeout !== undefined && !(typeof lockTimeout === 'number' && lockTimeout >= 0)) {
        throw invalid(`lockTimeout is a number of milliseconds, not ${describe(lockTimeout)}`);
    }
}

function checkOpenOptions(options: OpenOptions): void {
    checkOptions('open', options, OPEN_OPTIONS);
    checkStorageOptions(options);
    const { durability, checkpointBytes, checkpointSeconds, signal, onProgress } = options;
    if (durability !== undefined && durability !== 'strict' && durability !== 'relaxed') {
        throw invalid(`durability is 'strict' or 'relaxed', not ${describe(durability)}`);
    }
    for (const [name, value] of Object.entries({ checkpointBytes, checkpointSeconds })) {
        if (value !== undefined && !(typeof value === 'number' && value > 0)) {
            throw invalid(`${name} is a number above 0, or Infinity for never, not ${describe(value)}`);
        }
    }
    for (const name of ['readOnly', 'mustExist'] as const) {
        if (options[name] !== undefined && typeof options[name] !== 'boolean') {
            throw invalid(`${name} is true or false, not ${describe(options[name])}`);
        }
    }
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
        throw invalid(`signal is an AbortSignal, not ${describe(signal)}`);
    }
    if (onProgress !== undefined && typeof onProgress !== 'function') {
        throw invalid(`onProgress is a function, not ${describe(onProgress)}`);
    }
}

async function defaultStorage(): Promise<StoredKind> {
    if (isNode()) return 'file';
    const isPage = typeof (globalThis as { document?: unknown }).document !== 'undefined';
    return !isPage && (await isOpfsSupported()) ? 'opfs' : 'indexeddb';
}

const DEFAULT_DIRECTORIES = { file: '.', opfs: 'velta', indexeddb: '' } as const;

function directoryOf(storage: StoredKind, directory: string | undefined): string {
    return directory ?? DEFAULT_DIRECTORIES[storage];
}

/* ---- opening */

/** A driver, with what has to be undone when opening fails after it. */
interface Opened {
    readonly driver: StorageDriver;
    /** Opening has succeeded: closing the driver lets go of everything from now on. */
    keep(): void;
    /** Gives everything back, and removes what this opening made. */
    discard(): Promise<void>;
}

async function openFileDriver(name: string, options: OpenOptions, locking: LockOptions): Promise<Opened> {
    const directory = directoryOf('file', options.directory);
    const driver = await openFiles(name, { ...locking, directory, mustExist: options.mustExist === true });
    return { driver, keep: () => undefined, discard: () => Promise.resolve(driver.abandon()) };
}

async function openBrowserDriver(
    storage: 'opfs' | 'indexeddb',
    name: string,
    options: OpenOptions,
    locking: LockOptions,
): Promise<Opened> {
    const directory = directoryOf(storage, options.directory);
    const mustExist = options.mustExist === true;
    let writer: IndexedDbDriver | undefined;
    const onLost = (): void => writer?.poison('another page took its lock away');
    const lock = await lockOf(storage, name, directory, { ...locking, onLost });
    let isKept = false;
    /* The driver's, which gives back the lock only once opening has succeeded. */
    const lent: Lock = {
        release: () => {
            if (isKept) lock.release();
        },
    };
    try {
        const opened =
            storage === 'opfs'
                ? await openOpfs(name, lent, { ...locking, directory, mustExist })
                : await openIndexedDb(name, lent, { readOnly: locking.shared, mustExist, signal: locking.signal });
        const { driver, created } = opened;
        if (driver.kind === 'indexeddb') writer = driver;
        const discard = async (): Promise<void> => {
            driver.close();
            await driver.closed.catch(() => undefined);
            try {
                if (created && storage === 'opfs') await deleteOpfs(name, { ...locking, directory });
                if (created && storage === 'indexeddb') await removeIndexedDb(name);
            } finally {
                lock.release();
            }
        };
        return {
            driver,
            keep: () => {
                isKept = true;
            },
            discard,
        };
    } catch (error) {
        lock.release();
        throw error;
    }
}

function lockOf(storage: StoredKind, name: string, directory: string, options: LockOptions): Promise<Lock> {
    return acquireLock(storage, storage === 'opfs' ? opfsLockName(name, directory) : name, options);
}

/**
 * Opens a stored database, or makes it. Calls `init()` where that was not done.
 *
 * @param name - any text of 1 to 200 bytes; in Node the files are `<directory>/<name>.velta` and the same with `-log`,
 * which the `velta` command reads and writes too
 * @throws {VeltaError} LOCKED when others have it open, NOT_FOUND with `mustExist` or `readOnly`, CORRUPT with the
 * offset, VERSION, FULL, IO, CANCELLED, INVALID, UNSUPPORTED when the storage is not to be had here, and what `init`
 * throws
 */
export function open(name: string, options: OpenOptions = {}): Promise<Database> {
    return openAny(name, options, false);
}

/** The same with the newest of the log kept in memory for copies. @internal */
export function openShareable(name: string, options: OpenOptions): Promise<Database> {
    return openAny(name, options, true);
}

async function openAny(name: string, options: OpenOptions, isFollowed: boolean): Promise<Database> {
    checkOpenOptions(options);
    checkName(name);
    const { storage = await defaultStorage(), signal } = options;
    throwIfAborted(signal);
    await init();
    const instance = currentInstance();
    if (storage === 'memory') return openInMemory(instance, name, options);
    const locking = {
        shared: options.readOnly === true,
        timeout: options.lockTimeout ?? DEFAULT_LOCK_TIMEOUT,
        signal,
    };
    const opened =
        storage === 'file'
            ? await openFileDriver(name, options, locking)
            : await openBrowserDriver(storage, name, options, locking);
    const progress = new OpeningProgress(options);
    let database: Database;
    try {
        await opened.driver.prepare({ signal, onProgress: (done, total) => progress.readAhead(done, total) });
        throwIfAborted(signal);
        database = start(instance, name, storage, { ...options, isFollowed }, opened.driver, progress);
        opened.keep();
    } catch (error) {
        await opened.discard().catch(() => undefined); /* the first failure is the one to tell */
        throw error;
    } finally {
        opened.driver.release();
    }
    try {
        progress.end();
    } catch (error) {
        await database.close();
        throw error;
    }
    return database;
}

/** One scale for what the driver reads ahead and what the engine loads: half each, where both report. */
class OpeningProgress {
    readonly #options: OpenOptions;
    #total = 0;
    #last: readonly [done: number, total: number] = [0, 0];

    constructor(options: OpenOptions) {
        this.#options = options;
    }

    readAhead(done: number, total: number): void {
        this.#total = total;
        if (!this.#report(done, 2 * total)) {
            throw new VeltaError('CANCELLED', 'opening was cancelled');
        }
    }

    engine(done: number, total: number): boolean {
        const before = this.#total;
        const share = before === 0 ? done : before + (total > 0 ? (before * done) / total : 0);
        const goOn = this.#report(share, before === 0 ? total : 2 * before);
        return goOn && this.#options.signal?.aborted !== true;
    }

    /** The end is told, even where the engine found less to do than it had announced. */
    end(): void {
        const [done, total] = this.#last;
        if (done < total) this.#report(total, total);
    }

    /** What turns out to be more work than was announced stands still for a while, but never goes back. */
    #report(done: number, total: number): boolean {
        const [before, of] = this.#last;
        const isBehind = of > 0 && done * of < before * total;
        if (!isBehind) this.#last = [done, total];
        return this.#options.onProgress?.(...this.#last) !== false;
    }
}

/** The engine's part: synchronous. */
function start(
    instance: Instance,
    name: string,
    storage: StorageKind,
    options: OpenOptions & { readonly isFollowed?: boolean },
    driver: StorageDriver | undefined,
    progress: OpeningProgress,
): Database {
    if (instance.poisoned !== null) throw instance.poisoned;
    const engine = engineOptions(instance, options);
    const { flags, budget, chainInterval, clock } = engine;
    const id = driver ? instance.storages.add(driver) : 0;
    const { checkpointBytes = 0 } = options;
    const limit = checkpointBytes === Infinity ? -1 : checkpointBytes;
    const wanted = options.onProgress !== undefined || options.signal !== undefined;
    const report = wanted ? (done: number, total: number) => progress.engine(done, total) : undefined;
    const mark = instance.top;
    try {
        const out = instance.space(8);
        const { threads } = instance;
        instance.withProgress(report, (reports) => {
            const { abi_open } = instance.exports;
            instance.check(abi_open(id, flags, budget, limit, chainInterval, threads, clock, reports, out));
        });
        const handle = instance.u32[out >>> 2] as number;
        return new Database(instance, handle, { name, storage, driver, options, clock });
    } catch (error) {
        if (clock !== 0) instance.clocks.remove(clock);
        if (id !== 0) instance.storages.remove(id);
        throw instance.caught(error);
    } finally {
        instance.leave(mark);
    }
}

function openInMemory(instance: Instance, name: string, options: OpenOptions): Database {
    if (options.readOnly === true)
        throw invalid('a new database in memory cannot be readOnly; there is nothing to read');
    if (options.mustExist === true) {
        throw new VeltaError('NOT_FOUND', `there is no database '${name}' in memory: those are new each time`);
    }
    return start(instance, name, 'memory', options, undefined, new OpeningProgress(options));
}

/* ---- databases as a whole */

/** Checks the arguments of what concerns a whole database; gives its storage. @internal */
export async function storedKind(where: string, options: StorageOptions): Promise<StoredKind> {
    checkOptions(where, options, STORAGE_OPTIONS);
    checkStorageOptions(options);
    const { storage = await defaultStorage() } = options;
    if (storage === 'memory') throw invalid(`${where}: databases in memory are not stored`);
    return storage;
}

/** Runs `action` as the only user of a database in a browser. */
async function locked<T>(
    storage: StoredKind,
    name: string,
    directory: string,
    locking: LockOptions,
    action: () => Promise<T>,
): Promise<T> {
    const lock = await lockOf(storage, name, directory, locking);
    try {
        return await action();
    } finally {
        lock.release();
    }
}

/** A copy of an export to be restored: the caller's may change while that waits. @internal */
export function ownExport(bytes: unknown): Uint8Array<ArrayBuffer> {
    if (!(bytes instanceof Uint8Array)) throw invalid(`an export is a Uint8Array, not ${describe(bytes)}`);
    if (bytes.length === 0 && isDetached(bytes)) throw invalid('the ArrayBuffer of the export is detached');
    try {
        return new Uint8Array(bytes);
    } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw new VeltaError('NO_MEMORY', `JavaScript refused memory: ${cause.message}`, { cause });
    }
}

/** `restore` of worker/restore.ts, in this very thread. @internal */
export async function restore(name: string, bytes: Uint8Array, options: StorageOptions = {}): Promise<void> {
    return restoreOwn(name, ownExport(bytes), options);
}

/** The same of bytes that nobody else has. @internal */
export async function restoreOwn(name: string, own: Uint8Array, options: StorageOptions): Promise<void> {
    const storage = await storedKind('restore', options);
    checkName(name);
    await init();
    await importDatabase(own).close();
    const directory = directoryOf(storage, options.directory);
    const locking = { shared: false, timeout: options.lockTimeout ?? DEFAULT_LOCK_TIMEOUT };
    if (storage === 'file') return restoreFiles(name, own, { ...locking, directory });
    return locked(storage, name, directory, locking, () =>
        storage === 'opfs' ? restoreOpfs(name, own, { ...locking, directory }) : restoreIndexedDb(name, own),
    );
}

/**
 * Deletes a stored database. Whether there was one.
 *
 * @throws {VeltaError} LOCKED while it is open; IO, UNSUPPORTED, INVALID
 */
export async function deleteDatabase(name: string, options: StorageOptions = {}): Promise<boolean> {
    const storage = await storedKind('deleteDatabase', options);
    checkName(name);
    const directory = directoryOf(storage, options.directory);
    const locking = { shared: false, timeout: options.lockTimeout ?? DEFAULT_LOCK_TIMEOUT };
    if (storage === 'file') return deleteFiles(name, { ...locking, directory });
    return locked(storage, name, directory, locking, async () => {
        if (storage === 'opfs') return deleteOpfs(name, { ...locking, directory });
        if (!(await hasIndexedDb(name))) return false;
        await removeIndexedDb(name);
        return true;
    });
}

/**
 * The names of the databases stored here, in order of their characters.
 *
 * @throws {VeltaError} IO, UNSUPPORTED, INVALID
 */
export async function listDatabases(options: Pick<StorageOptions, 'storage' | 'directory'> = {}): Promise<string[]> {
    const storage = await storedKind('listDatabases', options);
    const directory = directoryOf(storage, options.directory);
    const names = storage === 'file' ? listFiles(directory) : await listed(storage, directory);
    return names.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function listed(storage: 'opfs' | 'indexeddb', directory: string): Promise<string[]> {
    return storage === 'opfs' ? listOpfs(directory) : listIndexedDb();
}

/** What the browser grants an origin. */
export interface Persistence {
    /** Whether storage is kept until the user deletes it; otherwise the browser may evict it when room is short. */
    readonly persisted: boolean;
    /** Bytes used by the origin, as the browser estimates. */
    readonly usage?: number;
    /** Bytes that it may use. */
    readonly quota?: number;
}

/**
 * Asks the browser to keep the origin's storage, and tells what it granted. In a worker, where asking is not possible,
 * it tells what was granted before. Files of Node are kept.
 *
 * @throws {VeltaError} IO
 */
export async function requestPersistence(): Promise<Persistence> {
    const storage = (globalThis.navigator as Navigator | undefined)?.storage;
    if (!storage) return { persisted: isNode() };
    try {
        const ask = (storage.persist ?? storage.persisted) as (() => Promise<boolean>) | undefined;
        const persisted = (await ask?.call(storage)) ?? false;
        const { usage, quota } = (await storage.estimate?.()) ?? {};
        return {
            persisted,
            ...(usage === undefined ? {} : { usage }),
            ...(quota === undefined ? {} : { quota }),
        };
    } catch (error) {
        throw databaseError('the browser refused to tell about its storage', error);
    }
}
