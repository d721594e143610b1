/*
 * IndexedDB databases as a whole: opening, restoring, deleting, listing them. What is in one is told in indexeddb.ts.
 *
 * Whoever calls these holds the lock of the name; the driver takes it over from a successful opening on. Absent and
 * damaged are different answers: browsers evict all of an origin's storage at once, so a store that is gone has no
 * trace here and is NOT_FOUND (where it must exist), while chunks without their record are CORRUPT.
 */
import { VeltaError } from '../errors.js';
import {
    CHUNKS,
    CHUNK_BYTES,
    IndexedDbDriver,
    META,
    META_KEY,
    type Meta,
    databaseError,
    requested,
} from './indexeddb.js';
import type { Lock } from './locks.js';

const PREFIX = 'velta:';
const VERSION = 1;
const BLOCKED_MS = 3000; /* another connection stands in the way */
const ANSWER_MS = 15_000; /* nothing comes at all, a known fault of browsers: an error is better than no end */
const INSTEAD = 'a database of createDatabase() needs no storage, and the bytes of its export() can be kept elsewhere';

function nameOf(error: unknown): unknown {
    return (error as { name?: unknown } | null)?.name;
}

function unsupported(reason: string, cause?: unknown): VeltaError {
    return new VeltaError('UNSUPPORTED', `${reason}; ${INSTEAD}`, { cause });
}

/** What `ask` gets from the browser's IndexedDB. @throws {VeltaError} UNSUPPORTED where the page may not use it. */
function fromFactory<T>(what: string, ask: (found: IDBFactory) => T): T {
    let found: IDBFactory | undefined;
    try {
        found = (globalThis as { indexedDB?: IDBFactory }).indexedDB;
        if (found) return ask(found);
    } catch (error) {
        if (nameOf(error) !== 'SecurityError') throw databaseError(what, error);
        throw unsupported('this page may not use IndexedDB (a sandboxed frame, or storage that was blocked)', error);
    }
    throw unsupported("storage 'indexeddb' needs IndexedDB, which is not here");
}

/** Somebody who waits for a request that opens or deletes a database. */
interface Waiting {
    /** What is told when another connection stands in the way. */
    readonly blocked: string;
    readonly signal?: AbortSignal | undefined;
    /** Gives back what came too late. */
    readonly late?: () => void;
    /** Nobody waits any more. */
    isOver: boolean;
}

/** @throws what the request failed with; {VeltaError} LOCKED, CANCELLED, IO when there is no answer. */
function answered(request: IDBOpenDBRequest, waiting: Waiting): Promise<void> {
    const { signal } = waiting;
    return new Promise((resolve, reject) => {
        const end = (finish: () => void): void => {
            clearTimeout(timer);
            signal?.removeEventListener('abort', abort);
            if (!waiting.isOver) finish();
            waiting.isOver = true;
        };
        const fail = (error: unknown): void => end(() => reject(error as Error));
        const abort = (): void =>
            fail(new VeltaError('CANCELLED', 'the signal was aborted', { cause: signal?.reason }));
        const unanswered = "the browser's IndexedDB does not answer; reload the page, or start the browser again";
        let timer = setTimeout(() => fail(new VeltaError('IO', unanswered)), ANSWER_MS);
        signal?.addEventListener('abort', abort, { once: true });
        request.onblocked = () => {
            clearTimeout(timer);
            timer = setTimeout(() => fail(new VeltaError('LOCKED', waiting.blocked)), BLOCKED_MS);
        };
        request.onsuccess = () => {
            if (waiting.isOver) waiting.late?.();
            end(resolve);
        };
        request.onerror = (event) => {
            event.preventDefault();
            fail(request.error);
        };
    });
}

interface Connected {
    readonly connection: IDBDatabase;
    /** Whether this call made the database. */
    readonly created: boolean;
}

async function connect(name: string, mustExist: boolean, signal?: AbortSignal): Promise<Connected> {
    const what = `cannot open the database '${name}'`;
    const request = fromFactory(what, (found) => found.open(PREFIX + name, VERSION));
    let created = false;
    let absent = false;
    const waiting: Waiting = {
        blocked: `another page is deleting the database '${name}'`,
        signal,
        late: () => request.result.close(),
        isOver: false,
    };
    request.onupgradeneeded = () => {
        absent = mustExist;
        if (mustExist || waiting.isOver) {
            abort(request.transaction); /* so that none is made */
            return;
        }
        created = true;
        request.result.createObjectStore(CHUNKS);
        request.result.createObjectStore(META);
    };
    try {
        await answered(request, waiting);
    } catch (error) {
        if (created) abort(request.transaction); /* given up while it was being made */
        if (absent) throw new VeltaError('NOT_FOUND', `there is no database '${name}' in IndexedDB`);
        if (nameOf(error) === 'VersionError') {
            throw new VeltaError('VERSION', `the database '${name}' needs a newer velta`, { cause: error });
        }
        throw databaseError(what, error);
    }
    return { connection: request.result, created };
}

/** Reads the record of a store, checked. Without one the store is empty. */
async function readMeta(name: string, transaction: IDBTransaction): Promise<Meta> {
    const meta = await requested(transaction.objectStore(META).get(META_KEY) as IDBRequest<Meta | undefined>);
    if (meta) {
        if (meta.chunkBytes !== CHUNK_BYTES) {
            throw new VeltaError('VERSION', `the database '${name}' was stored by another version of velta`);
        }
        return meta;
    }
    if ((await requested(transaction.objectStore(CHUNKS).count())) > 0) {
        throw new VeltaError('CORRUPT', `the database '${name}' has lost the record of its sizes`);
    }
    return { chunkBytes: CHUNK_BYTES, epoch: 0, sizes: [0, 0] };
}

function completed(transaction: IDBTransaction): Promise<void> {
    return new Promise((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error('the transaction was aborted'));
    });
}

/** The record, with the epoch raised by one where this is a writer. */
async function enter(name: string, connection: IDBDatabase, readOnly: boolean): Promise<Meta> {
    if (readOnly) return readMeta(name, connection.transaction([CHUNKS, META], 'readonly'));
    const transaction = connection.transaction([CHUNKS, META], 'readwrite');
    const end = completed(transaction);
    end.catch(() => undefined);
    const meta = await readMeta(name, transaction);
    const next = { ...meta, epoch: meta.epoch + 1 };
    transaction.objectStore(META).put(next, META_KEY);
    await end;
    return next;
}

function hasStores(connection: IDBDatabase): boolean {
    return connection.objectStoreNames.contains(CHUNKS) && connection.objectStoreNames.contains(META);
}

/** An open database and whether this opening made it. @internal */
export interface OpenedIndexedDb {
    readonly driver: IndexedDbDriver;
    readonly created: boolean;
}

/**
 * Opens the IndexedDB database of `name`; its lock is held, and belongs to the driver when this succeeds.
 *
 * @throws {VeltaError} NOT_FOUND, LOCKED, CORRUPT, VERSION, FULL, IO, CANCELLED, UNSUPPORTED.
 */
export async function openIndexedDb(
    name: string,
    lock: Lock,
    options: { readonly readOnly: boolean; readonly mustExist: boolean; readonly signal?: AbortSignal | undefined },
): Promise<OpenedIndexedDb> {
    const { connection, created } = await connect(name, options.mustExist || options.readOnly, options.signal);
    try {
        if (!hasStores(connection)) {
            throw new VeltaError('CORRUPT', `the IndexedDB database '${PREFIX}${name}' is not one of velta's`);
        }
        const meta = await enter(name, connection, options.readOnly);
        return { driver: new IndexedDbDriver(name, connection, lock, options.readOnly, meta), created };
    } catch (error) {
        connection.close();
        if (created) await removeIndexedDb(name);
        throw databaseError(`cannot open the database '${name}'`, error);
    }
}

/**
 * Makes the store `name` the snapshot `bytes`, in one transaction. The caller holds its lock.
 *
 * @throws {VeltaError} FULL, IO, LOCKED, VERSION, UNSUPPORTED.
 */
export async function restoreIndexedDb(name: string, bytes: Uint8Array): Promise<void> {
    const { connection, created } = await connect(name, false);
    try {
        const transaction = connection.transaction([CHUNKS, META], 'readwrite', { durability: 'strict' });
        const end = completed(transaction);
        end.catch(() => undefined);
        try {
            await putSnapshot(transaction, bytes);
        } catch (error) {
            abort(transaction); /* or it would commit what it has */
            throw error;
        }
        await end;
        connection.close();
    } catch (error) {
        connection.close();
        if (created) await removeIndexedDb(name);
        throw databaseError(`cannot restore the database '${name}'`, error);
    }
}

async function putSnapshot(transaction: IDBTransaction, bytes: Uint8Array): Promise<void> {
    const chunks = transaction.objectStore(CHUNKS);
    const meta = transaction.objectStore(META);
    const old = await requested(meta.get(META_KEY) as IDBRequest<Meta | undefined>);
    chunks.clear();
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
        chunks.put(bytes.slice(at, at + CHUNK_BYTES), [0, at / CHUNK_BYTES]);
    }
    const next: Meta = { chunkBytes: CHUNK_BYTES, epoch: (old?.epoch ?? 0) + 1, sizes: [bytes.length, 0] };
    meta.put(next, META_KEY);
}

function abort(transaction: IDBTransaction | null): void {
    try {
        transaction?.abort();
    } catch {
        return; /* it has ended */
    }
}

/** Whether there is an IndexedDB database of `name`. @throws {VeltaError} IO, LOCKED, UNSUPPORTED. */
export async function hasIndexedDb(name: string): Promise<boolean> {
    try {
        (await connect(name, true)).connection.close();
        return true;
    } catch (error) {
        if (error instanceof VeltaError && error.code === 'NOT_FOUND') return false;
        if (error instanceof VeltaError && error.code === 'VERSION') return true;
        throw error;
    }
}

/**
 * Deletes the IndexedDB database of `name`. A deletion that another connection stands in the way of is LOCKED, and may
 * yet happen when that one closes: the browser has no way to take it back.
 *
 * @throws {VeltaError} IO, LOCKED, UNSUPPORTED.
 */
export async function removeIndexedDb(name: string): Promise<void> {
    const what = `cannot delete the database '${name}'`;
    const request = fromFactory(what, (found) => found.deleteDatabase(PREFIX + name));
    try {
        await answered(request, { blocked: `another page has the database '${name}' open`, isOver: false });
    } catch (error) {
        throw databaseError(what, error);
    }
}

/** The names of all databases here. @throws {VeltaError} IO, UNSUPPORTED. */
export async function listIndexedDb(): Promise<string[]> {
    const what = 'cannot list the databases';
    const asked = fromFactory(what, (found) => {
        if (typeof found.databases === 'function') return found.databases();
        throw new VeltaError('UNSUPPORTED', 'this browser does not list IndexedDB databases');
    });
    try {
        const names = (await asked).map((entry) => entry.name ?? '');
        return names.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
    } catch (error) {
        throw databaseError(what, error);
    }
}
