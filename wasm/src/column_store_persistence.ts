/*
 * ColumnStorePersistence: whole column stores saved under names in IndexedDB, for when a log of every change is more
 * than is wanted ({@link ColumnStore.open} is that).
 *
 * A saved store is the array of its export, cut into chunks of 256 KiB, and a manifest that names every chunk's hash.
 * A save compares hashes with the manifest that is there and writes only the chunks that changed, then takes away
 * those beyond the end, and puts the manifest last; all in one transaction, so a save that fails or is cut short leaves
 * what was saved before, and two pages that save the same name do not mix. A load checks every chunk against its hash.
 *
 * The hash is of 64 bits: two lanes that take every word by a step which can be undone (multiply, add, rotate), so one
 * changed word always changes it. It finds damage and changes; it does not resist someone who makes collisions.
 */
import { ColumnStore, type ColumnStoreOptions, type StoreColumn } from './column_store.js';
import { checkOptions, describe, invalid, VeltaError } from './errors.js';
import { asyncDispose, dispose } from './iterator.js';

/** Options of {@link ColumnStorePersistence}. */
export interface ColumnStorePersistenceOptions {
    /** The name of the IndexedDB database. Default `'velta-column-stores'`. */
    readonly databaseName?: string;
    /** Where it is; default the environment's `indexedDB`. Node has none: give one. */
    readonly indexedDB?: IDBFactory;
}

/** Options of work that waits. */
export interface SaveOptions {
    /** Ends it; what was saved before stays. The promise rejects with `CANCELLED`. */
    readonly signal?: AbortSignal;
    /** Hears of chunks done. */
    readonly onProgress?: (done: number, total: number) => void;
}

/** Options of {@link ColumnStorePersistence.load}: also those of the store in memory. */
export type LoadOptions = SaveOptions & ColumnStoreOptions;

/** What is known of a saved store without loading it. */
export interface StoreMetadata {
    readonly name: string;
    readonly savedAt: Date;
    /** Bytes of the whole, and of each chunk but the last. */
    readonly bytes: number;
    readonly chunkBytes: number;
    readonly chunkCount: number;
    readonly columns: readonly StoreColumn[];
    readonly primaryKey: string | null;
    /** Deleted rows included. */
    readonly rowCount: number;
    readonly activeRowCount: number;
}

/** What {@link ColumnStorePersistence.save} did. */
export interface SaveStats {
    readonly bytes: number;
    readonly chunkCount: number;
    /** Chunks that differed from what was there and were written. */
    readonly chunksWritten: number;
}

interface Manifest extends Omit<StoreMetadata, 'savedAt'> {
    readonly version: 1;
    readonly savedAt: number;
    /** Two words per chunk. */
    readonly hashes: Uint32Array;
}

const CHUNK_BYTES = 256 * 1024;
const DATABASE_NAME = 'velta-column-stores';
const MANIFESTS = 'manifests'; // by name
const CHUNKS = 'chunks'; // by [name, index]

/* ---- hashes */

const A = 0x9e3779b1;
const B = 0x85ebca77;
const C = 0xc2b2ae3d;

function finish(word: number): number {
    word = Math.imul(word ^ (word >>> 16), B);
    word = Math.imul(word ^ (word >>> 13), C);
    return (word ^ (word >>> 16)) >>> 0;
}

/** The two words of a chunk's hash into `out` at `at`. */
function hashChunk(bytes: Uint8Array, out: Uint32Array, at: number): void {
    const whole = bytes.byteLength >>> 2;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let first = bytes.byteLength;
    let second = ~bytes.byteLength;
    for (let i = 0; i < whole; i++) {
        const word = view.getInt32(i * 4, true);
        first = (first + Math.imul(word, B)) | 0;
        first = Math.imul((first << 13) | (first >>> 19), A);
        second = (second ^ Math.imul(word, C)) | 0;
        second = (Math.imul((second << 17) | (second >>> 15), B) + A) | 0;
    }
    for (let i = whole * 4; i < bytes.byteLength; i++) {
        first = Math.imul(first ^ (bytes[i] as number), A);
        second = Math.imul(second ^ (bytes[i] as number), C);
    }
    out[at] = finish(first);
    out[at + 1] = finish(second);
}

function chunkOf(bytes: Uint8Array, index: number): Uint8Array {
    return bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
}

/* ---- IndexedDB as promises */

/** A failure of IndexedDB, which tells by DOMExceptions, as a VeltaError; what callbacks throw stays as it is. */
function failure(error: unknown): unknown {
    if (error !== null && !(error instanceof DOMException)) {
        return error;
    }
    const name = (error as { name?: string } | null)?.name;
    const code = name === 'QuotaExceededError' ? 'FULL' : 'IO';
    const text = (error as { message?: string } | null)?.message;
    return new VeltaError(code, `IndexedDB failed: ${text ? text : (name ?? 'no reason given')}`, { cause: error });
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(failure(request.error));
    });
}

function cancelled(signal: AbortSignal): VeltaError {
    return new VeltaError('CANCELLED', 'the caller cancelled', { cause: signal.reason });
}

/** Runs `work` in a transaction; resolves when that is complete. What `work` throws undoes it. */
async function transact<T>(
    database: IDBDatabase,
    mode: IDBTransactionMode,
    signal: AbortSignal | undefined,
    work: (manifests: IDBObjectStore, chunks: IDBObjectStore) => Promise<T>,
): Promise<T> {
    if (signal?.aborted) {
        throw cancelled(signal);
    }
    let transaction: IDBTransaction;
    try {
        transaction = database.transaction([MANIFESTS, CHUNKS], mode);
    } catch (error) {
        throw failure(error);
    }
    const complete = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(failure(transaction.error));
    });
    complete.catch(() => undefined); // where work fails first, its error is the one to tell
    const abort = (): void => {
        try {
            transaction.abort();
        } catch {
            // it has ended already
        }
    };
    signal?.addEventListener('abort', abort);
    try {
        const result = await work(transaction.objectStore(MANIFESTS), transaction.objectStore(CHUNKS));
        await complete;
        return result;
    } catch (error) {
        abort();
        throw signal?.aborted ? cancelled(signal) : failure(error);
    } finally {
        signal?.removeEventListener('abort', abort);
    }
}

function metadataOf(manifest: Manifest): StoreMetadata {
    const { version: _version, hashes: _hashes, savedAt, ...rest } = manifest;
    return { ...rest, savedAt: new Date(savedAt) };
}

/* ---- saving and loading within a transaction */

async function putChanged(
    manifests: IDBObjectStore,
    chunks: IDBObjectStore,
    manifest: Manifest,
    bytes: Uint8Array,
    onProgress: SaveOptions['onProgress'],
): Promise<number> {
    const { name, hashes, chunkCount } = manifest;
    const before = (await answer(manifests.get(name))) as Manifest | undefined;
    const kept = before?.version === 1 && before.chunkBytes === CHUNK_BYTES ? before : undefined;
    let written = 0;
    for (let i = 0; i < chunkCount; i++) {
        const same = kept && i < kept.chunkCount && kept.hashes[2 * i] === hashes[2 * i];
        if (!same || kept.hashes[2 * i + 1] !== hashes[2 * i + 1]) {
            // a copy: a view would bring its whole buffer
            await answer(chunks.put(chunkOf(bytes, i).slice(), [name, i]));
            written++;
        }
        onProgress?.(i + 1, chunkCount);
    }
    for (let i = chunkCount; i < (before?.chunkCount ?? 0); i++) {
        await answer(chunks.delete([name, i]));
    }
    await answer(manifests.put(manifest, name));
    return written;
}

async function readChunks(
    chunks: IDBObjectStore,
    manifest: Manifest,
    onProgress: SaveOptions['onProgress'],
): Promise<Uint8Array> {
    const { name, bytes: size, chunkCount, hashes } = manifest;
    const bytes = new Uint8Array(size);
    const hash = new Uint32Array(2);
    for (let i = 0; i < chunkCount; i++) {
        const chunk = (await answer(chunks.get([name, i]))) as unknown;
        const offset = i * CHUNK_BYTES;
        const wanted = Math.min(CHUNK_BYTES, size - offset);
        const sound = chunk instanceof Uint8Array && chunk.byteLength === wanted;
        if (sound) {
            hashChunk(chunk, hash, 0);
        }
        if (!sound || hash[0] !== hashes[2 * i] || hash[1] !== hashes[2 * i + 1]) {
            const what = chunk === undefined ? 'is missing' : 'is damaged';
            throw new VeltaError('CORRUPT', `chunk ${i} of the saved store '${name}' ${what}`, { offset });
        }
        bytes.set(chunk, offset);
        onProgress?.(i + 1, chunkCount);
    }
    return bytes;
}

function checkManifest(manifest: Manifest | undefined, name: string): Manifest {
    if (manifest === undefined) {
        throw new VeltaError('NOT_FOUND', `there is no saved store '${name}'`);
    }
    if (manifest.version !== 1) {
        throw new VeltaError('VERSION', `the saved store '${name}' needs a newer velta`);
    }
    const { bytes, chunkBytes, chunkCount, hashes } = manifest;
    const sound =
        chunkBytes === CHUNK_BYTES && Number.isSafeInteger(bytes) && chunkCount === Math.ceil(bytes / chunkBytes);
    if (!sound || !(hashes instanceof Uint32Array) || hashes.length !== 2 * chunkCount) {
        throw new VeltaError('CORRUPT', `the manifest of the saved store '${name}' is damaged`);
    }
    return manifest;
}

function checkName(name: string): string {
    if (typeof name !== 'string' || name === '') {
        throw invalid(`a saved store is named by a string that is not empty, not by ${describe(name)}`);
    }
    return name;
}

/**
 * Column stores saved by name in IndexedDB.
 *
 * @example
 * ```ts
 * const persistence = new ColumnStorePersistence();
 * await persistence.save('packages', store);
 * const again = await persistence.load('packages');
 * ```
 */
export class ColumnStorePersistence {
    readonly #name: string;
    readonly #factory: IDBFactory | undefined;
    #database: Promise<IDBDatabase> | null = null;

    /** @throws {VeltaError} `INVALID` for an option that is not known. */
    constructor(options: ColumnStorePersistenceOptions = {}) {
        checkOptions('ColumnStorePersistence', options, ['databaseName', 'indexedDB']);
        this.#name = options.databaseName ?? DATABASE_NAME;
        this.#factory = options.indexedDB;
    }

    /**
     * Opens the IndexedDB database, made if need be. The other methods call it themselves; calling it again is free.
     * @throws {VeltaError} `UNSUPPORTED` where there is no IndexedDB, `LOCKED` when a page with another version of
     * it does not let go, `IO`.
     */
    async init(): Promise<void> {
        await this.#open();
    }

    /**
     * Saves a store under a name; what was saved there before is replaced, whole or not at all. Only chunks that
     * changed are written.
     * @throws {VeltaError} `FULL`, `IO`, `CANCELLED`, and what `export` throws.
     */
    async save(name: string, store: ColumnStore, options: SaveOptions = {}): Promise<SaveStats> {
        checkName(name);
        checkOptions('save', options, ['signal', 'onProgress']);
        if (!(store instanceof ColumnStore)) {
            throw invalid(`save takes a ColumnStore, not ${describe(store)}`);
        }
        const bytes = store.export();
        const chunkCount = Math.ceil(bytes.byteLength / CHUNK_BYTES);
        const hashes = new Uint32Array(2 * chunkCount);
        for (let i = 0; i < chunkCount; i++) {
            hashChunk(chunkOf(bytes, i), hashes, 2 * i);
        }
        const manifest: Manifest = {
            version: 1,
            name,
            savedAt: Date.now(),
            bytes: bytes.byteLength,
            chunkBytes: CHUNK_BYTES,
            chunkCount,
            columns: store.schema,
            primaryKey: store.primaryKeyColumn,
            rowCount: store.rowCount,
            activeRowCount: store.activeRowCount,
            hashes,
        };
        const chunksWritten = await transact(await this.#open(), 'readwrite', options.signal, (manifests, chunks) =>
            putChanged(manifests, chunks, manifest, bytes, options.onProgress),
        );
        return { bytes: bytes.byteLength, chunkCount, chunksWritten };
    }

    /**
     * A store in memory with what was saved under a name.
     * @throws {VeltaError} `NOT_FOUND`; `CORRUPT`, with the byte at which the damaged chunk begins; `VERSION`, `IO`.
     */
    async load(name: string, options: LoadOptions = {}): Promise<ColumnStore> {
        checkName(name);
        if ((options as unknown) === null) throw invalid('load: options must be an object, not null');
        const { signal, onProgress, ...memory } = options;
        const bytes = await transact(await this.#open(), 'readonly', signal, async (manifests, chunks) => {
            const manifest = checkManifest((await answer(manifests.get(name))) as Manifest | undefined, name);
            return readChunks(chunks, manifest, onProgress);
        });
        return ColumnStore.import(bytes, memory);
    }

    /** The names of the saved stores, sorted. */
    async listStores(): Promise<string[]> {
        const names = await transact(await this.#open(), 'readonly', undefined, (manifests) =>
            answer(manifests.getAllKeys()),
        );
        return (names as string[]).sort();
    }

    /** Deletes a saved store; tells whether there was one. */
    async deleteStore(name: string): Promise<boolean> {
        checkName(name);
        return transact(await this.#open(), 'readwrite', undefined, async (manifests, chunks) => {
            const manifest = (await answer(manifests.get(name))) as Manifest | undefined;
            for (let i = 0; i < (manifest?.chunkCount ?? 0); i++) {
                await answer(chunks.delete([name, i]));
            }
            await answer(manifests.delete(name));
            return manifest !== undefined;
        });
    }

    /** What is known of a saved store without loading it; null when there is none. */
    async getMetadata(name: string): Promise<StoreMetadata | null> {
        checkName(name);
        const manifest = await transact(
            await this.#open(),
            'readonly',
            undefined,
            (manifests) => answer(manifests.get(name)) as Promise<Manifest | undefined>,
        );
        return manifest === undefined ? null : metadataOf(manifest);
    }

    /** Lets go of the IndexedDB database; the next call opens it again. */
    async close(): Promise<void> {
        const opened = this.#database;
        this.#database = null;
        if (opened !== null) {
            (await opened.catch(() => null))?.close();
        }
    }

    /** Closes without waiting. */
    [dispose](): void {
        void this.close();
    }

    /** Closes. */
    async [asyncDispose](): Promise<void> {
        await this.close();
    }

    #open(): Promise<IDBDatabase> {
        this.#database ??= this.#openAnew();
        return this.#database;
    }

    async #openAnew(): Promise<IDBDatabase> {
        try {
            return await this.#request();
        } catch (error) {
            this.#database = null; // the next call tries again
            throw error;
        }
    }

    #request(): Promise<IDBDatabase> {
        const factory = this.#factory ?? (globalThis as { indexedDB?: IDBFactory }).indexedDB;
        if (!factory) {
            const text = 'there is no IndexedDB here; give one as the option indexedDB, or use ColumnStore.open';
            throw new VeltaError('UNSUPPORTED', text);
        }
        return new Promise((resolve, reject) => {
            let request: IDBOpenDBRequest;
            try {
                request = factory.open(this.#name, 1);
            } catch (error) {
                reject(failure(error));
                return;
            }
            request.onupgradeneeded = () => {
                request.result.createObjectStore(MANIFESTS);
                request.result.createObjectStore(CHUNKS);
            };
            request.onblocked = () => reject(new VeltaError('LOCKED', 'another page holds an older version open'));
            request.onerror = () => reject(failure(request.error));
            request.onsuccess = () => {
                const database = request.result;
                const forget = (): void => {
                    database.close();
                    this.#database = null;
                };
                database.onversionchange = forget;
                database.onclose = forget;
                resolve(database);
            };
        });
    }
}
