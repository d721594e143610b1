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
const BLOCKED_MS = 3000;

function factory(): IDBFactory {
    let found: IDBFactory | undefined;
    try {
        found = (globalThis as { indexedDB?: IDBFactory }).indexedDB;
    } catch (error) {
        throw new VeltaError('UNSUPPORTED', 'this page may not use IndexedDB', { cause: error });
    }
    if (!found) throw new VeltaError('UNSUPPORTED', "storage 'indexeddb' needs IndexedDB, which is not here");
    return found;
}

interface Connected {
    readonly connection: IDBDatabase;
    /** Whether this call made the database. */
    readonly created: boolean;
}

function connect(name: string, mustExist: boolean): Promise<Connected> {
    const request = factory().open(PREFIX + name, VERSION);
    return new Promise((resolve, reject) => {
        let created = false;
        let absent = false;
        let isOver = false;
        let timer: ReturnType<typeof setTimeout> | undefined;
        const end = (finish: () => void): void => {
            clearTimeout(timer);
            isOver = true;
            finish();
        };
        request.onupgradeneeded = () => {
            if (mustExist) {
                absent = true;
                request.transaction?.abort(); /* so that none is made */
                return;
            }
            created = true;
            request.result.createObjectStore(CHUNKS);
            request.result.createObjectStore(META);
        };
        request.onblocked = () => {
            timer = setTimeout(
                () => end(() => reject(new VeltaError('LOCKED', `another page is deleting the database '${name}'`))),
                BLOCKED_MS,
            );
        };
        request.onsuccess = () => {
            if (isOver) request.result.close(); /* it came too late */
            else end(() => resolve({ connection: request.result, created }));
        };
        request.onerror = (event) => {
            event.preventDefault();
            const error = request.error;
            end(() => {
                if (absent) reject(new VeltaError('NOT_FOUND', `there is no database '${name}' in IndexedDB`));
                else if (error?.name === 'VersionError') {
                    reject(new VeltaError('VERSION', `the database '${name}' needs a newer velta`, { cause: error }));
                } else reject(databaseError(`cannot open the database '${name}'`, error));
            });
        };
    });
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
 * @throws {VeltaError} NOT_FOUND, LOCKED, CORRUPT, VERSION, FULL, IO, UNSUPPORTED.
 */
export async function openIndexedDb(
    name: string,
    lock: Lock,
    options: { readonly readOnly: boolean; readonly mustExist: boolean },
): Promise<OpenedIndexedDb> {
    const { connection, created } = await connect(name, options.mustExist || options.readOnly);
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

function abort(transaction: IDBTransaction): void {
    try {
        transaction.abort();
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

/** Deletes the IndexedDB database of `name`. @throws {VeltaError} IO, LOCKED, UNSUPPORTED. */
export function removeIndexedDb(name: string): Promise<void> {
    const request = factory().deleteDatabase(PREFIX + name);
    return new Promise((resolve, reject) => {
        let timer: ReturnType<typeof setTimeout> | undefined;
        request.onblocked = () => {
            timer = setTimeout(
                () => reject(new VeltaError('LOCKED', `another page has the database '${name}' open`)),
                BLOCKED_MS,
            );
        };
        request.onsuccess = () => {
            clearTimeout(timer);
            resolve();
        };
        request.onerror = () => {
            clearTimeout(timer);
            reject(databaseError(`cannot delete the database '${name}'`, request.error));
        };
    });
}

/** The names of all databases here. @throws {VeltaError} IO, UNSUPPORTED. */
export async function listIndexedDb(): Promise<string[]> {
    const found = factory();
    if (typeof found.databases !== 'function') {
        throw new VeltaError('UNSUPPORTED', 'this browser does not list IndexedDB databases');
    }
    try {
        const names = (await found.databases()).map((entry) => entry.name ?? '');
        return names.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length));
    } catch (error) {
        throw databaseError('cannot list the databases', error);
    }
}
