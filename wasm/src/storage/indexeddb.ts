/*
 * Storage in IndexedDB: for pages, and where OPFS is missing.
 *
 * Each database is an IndexedDB database of its own, `velta:<name>`: transactions of different databases then never
 * wait for each other, deleting one gives its room back at once, and the browser's own list is the list of databases.
 * The object store `chunks` holds the two files in chunks of CHUNK_BYTES under the keys [file, number]; a missing chunk
 * or the missing end of one is zeros. `meta` holds one record: sizes, and the epoch.
 *
 * The engine's calls are synchronous and IndexedDB is not, so writes are queued in order and a transaction takes all
 * that is queued, as one: it is there whole or not at all, which is more than the engine asks of a medium. A batch
 * with a SYNC starts when the synchronous calls of the moment are done (several share it: group commit) and asks for
 * strict durability; one without waits up to RELAXED_MS and asks for relaxed. The next batch starts when the one before
 * is complete, so that none can be there without its predecessor.
 *
 * So on IndexedDB a synchronous call is durable when `flush()` (here durable()) has resolved after it, not when it
 * returns. The worker's client awaits that before it answers for a strict store.
 *
 * READs are served from memory: prepare reads the files, and each chunk of DATA is given up when a READ has taken all
 * of it, because the engine reads every segment once. So while opening there is about one copy of the store in all, in
 * JavaScript or already in the engine, and afterwards none here.
 *
 * A failed transaction poisons the driver: later operations fail, and the database must be opened again. So does a
 * connection that the browser closes, or that must give way to another page's version change. The epoch, raised by each
 * opening for writing, is checked in every transaction: a writer that lost its lock cannot write over its successor.
 */
import { VeltaError } from '../errors.js';
import {
    FAILED_FULL,
    FAILED_IO,
    FILE_DATA,
    FILE_LOG,
    OPERATION_READ,
    OPERATION_SIZE,
    OPERATION_SYNC,
    OPERATION_TRUNCATE,
    OPERATION_WRITE,
    type PrepareOptions,
    type StorageDriver,
} from './driver.js';
import { type Lock, throwIfAborted } from './locks.js';

/** The object stores, the key of the one record of META, the size of a chunk. @internal */
export const CHUNKS = 'chunks';
export const META = 'meta';
export const META_KEY = 'store';
export const CHUNK_BYTES = 65_536;
const READ_CHUNKS = 64; /* per request: 4 MiB */
const RELAXED_MS = 50;
const FORGET_MS = 1000; /* what prepare read after opening, unless it is released sooner */
const RELAXED_BYTES = 4 << 20; /* queued bytes that do not wait for RELAXED_MS */

/** The record of META. @internal */
export interface Meta {
    readonly chunkBytes: number;
    readonly epoch: number;
    readonly sizes: readonly [number, number];
}

type ReadFiles = [(Uint8Array | null | undefined)[], (Uint8Array | null | undefined)[]];

/** A stretch of new bytes within a chunk. */
interface Piece {
    readonly at: number;
    readonly bytes: Uint8Array;
}

/** What becomes of a chunk: the first `keep` stored bytes, zeros behind them, then the pieces in order. */
interface Patch {
    keep: number;
    pieces: Piece[];
}

/** Changes of one file that belong to one transaction. */
interface FileChanges {
    /** Stored chunks from this number on are deleted first. */
    deleteFrom: number;
    readonly patches: Map<number, Patch>;
}

/** Operations that belong to one transaction. */
class Batch {
    readonly files: readonly [FileChanges, FileChanges] = [
        { deleteFrom: Infinity, patches: new Map() },
        { deleteFrom: Infinity, patches: new Map() },
    ];
    bytes = 0;
    isEmpty = true;
    strict = false;
    readonly done: Promise<void>;
    resolve!: () => void;
    reject!: (error: VeltaError) => void;

    constructor() {
        this.done = new Promise((resolve, reject) => {
            this.resolve = resolve;
            this.reject = reject;
        });
        this.done.catch(() => undefined); /* whoever waits is told; nobody has to wait */
    }

    #patch(file: number, number: number): Patch {
        const changes = this.files[file] as FileChanges;
        let patch = changes.patches.get(number);
        if (!patch) {
            patch = { keep: number >= changes.deleteFrom ? 0 : CHUNK_BYTES, pieces: [] };
            changes.patches.set(number, patch);
        }
        return patch;
    }

    write(file: number, offset: number, bytes: Uint8Array): void {
        this.isEmpty = false;
        this.bytes += bytes.length;
        for (let done = 0; done < bytes.length;) {
            const at = (offset + done) % CHUNK_BYTES;
            const length = Math.min(CHUNK_BYTES - at, bytes.length - done);
            const patch = this.#patch(file, (offset + done - at) / CHUNK_BYTES);
            /* slice copies, and into memory of its own even where the engine's is shared. */
            const piece = { at, bytes: bytes.slice(done, done + length) };
            if (length === CHUNK_BYTES) patch.pieces = [piece];
            else patch.pieces.push(piece);
            done += length;
        }
    }

    truncate(file: number, size: number): void {
        this.isEmpty = false;
        const changes = this.files[file] as FileChanges;
        const rest = size % CHUNK_BYTES;
        const number = (size - rest) / CHUNK_BYTES;
        const first = rest > 0 ? number + 1 : number;
        changes.deleteFrom = Math.min(changes.deleteFrom, first);
        for (const key of [...changes.patches.keys()]) {
            if (key >= first) changes.patches.delete(key);
        }
        if (rest === 0) return;
        const patch = this.#patch(file, number);
        patch.keep = Math.min(patch.keep, rest);
        patch.pieces = patch.pieces
            .filter((piece) => piece.at < rest)
            .map((piece) => ({ at: piece.at, bytes: piece.bytes.subarray(0, rest - piece.at) }));
    }
}

/** A chunk made of what was stored and a patch. */
function patched(stored: Uint8Array | undefined, patch: Patch): Uint8Array {
    const [only] = patch.pieces;
    if (patch.pieces.length === 1 && only && only.bytes.length === CHUNK_BYTES) return only.bytes;
    const kept = stored?.subarray(0, patch.keep) ?? new Uint8Array(0);
    const length = patch.pieces.reduce((most, piece) => Math.max(most, piece.at + piece.bytes.length), kept.length);
    const chunk = new Uint8Array(length);
    chunk.set(kept);
    for (const piece of patch.pieces) chunk.set(piece.bytes, piece.at);
    return chunk;
}

/** The pieces lie one behind the other and cover everything that was stored: it need not be fetched. */
function replacesAll(patch: Patch): boolean {
    return patch.keep === 0 || (patch.pieces.length === 1 && patch.pieces[0]?.bytes.length === CHUNK_BYTES);
}

function sentence(error: unknown): string {
    return error instanceof Error || error instanceof DOMException ? `${error.name}: ${error.message}` : String(error);
}

/** A failure of IndexedDB as an error of the package. @internal */
export function databaseError(what: string, error: unknown): VeltaError {
    if (error instanceof VeltaError) return error;
    const name = (error as { name?: unknown } | null)?.name;
    if (name === 'QuotaExceededError') {
        return new VeltaError('FULL', `${what}: the browser's storage quota is used up`, { cause: error });
    }
    const code = name === 'SecurityError' ? 'UNSUPPORTED' : 'IO';
    return new VeltaError(code, `${what}: ${sentence(error)}`, { cause: error });
}

/** @internal */
export function requested<T>(request: IDBRequest<T>): Promise<T> {
    return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error as DOMException);
    });
}

function range(file: number, first: number, last = Infinity): IDBKeyRange {
    return IDBKeyRange.bound([file, first], [file, last]);
}

/** Chunks that are read by one request. */
interface Part {
    readonly file: 0 | 1;
    readonly first: number;
    readonly bytes: number;
}

function partsOf(sizes: readonly [number, number]): Part[] {
    const parts: Part[] = [];
    for (const file of [FILE_DATA, FILE_LOG] as const) {
        for (let at = 0; at < sizes[file]; at += READ_CHUNKS * CHUNK_BYTES) {
            const bytes = Math.min(READ_CHUNKS * CHUNK_BYTES, sizes[file] - at);
            parts.push({ file, first: at / CHUNK_BYTES, bytes });
        }
    }
    return parts;
}

/** The keys and values of a part's stored chunks. */
function requestPart(chunks: IDBObjectStore, part: Part | undefined): Promise<[IDBValidKey[], Uint8Array[]]> {
    if (!part) return Promise.resolve([[], []]);
    const keys = range(part.file, part.first, part.first + READ_CHUNKS - 1);
    const both = Promise.all([
        requested(chunks.getAllKeys(keys)),
        requested(chunks.getAll(keys) as IDBRequest<Uint8Array[]>),
    ]);
    both.catch(() => undefined); /* it is awaited, but perhaps not when reading is given up before */
    return both;
}

/** A database's files in IndexedDB. @internal */
export class IndexedDbDriver implements StorageDriver {
    readonly kind = 'indexeddb';
    readonly closed: Promise<void>;
    readonly #name: string;
    readonly #connection: IDBDatabase;
    readonly #lock: Lock;
    readonly #readOnly: boolean;
    readonly #sizes: [number, number];
    readonly #epoch: number;
    /** What prepare read, by file; a chunk is undefined where none is stored, null when it was taken. */
    #read: ReadFiles | null = null;
    #forgetting: ReturnType<typeof setTimeout> | undefined;
    /** How often DATA was changed. */
    #dataChanges = 0;
    #pending = new Batch();
    #running: Batch | null = null;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #isScheduled = false;
    /** Complete transactions of relaxed durability wait for a strict one. */
    #isUnsynced = false;
    #failure: VeltaError | null = null;
    #isOpening = true;
    #isClosing = false;
    #closed!: () => void;
    #closedBadly!: (error: unknown) => void;

    constructor(name: string, connection: IDBDatabase, lock: Lock, readOnly: boolean, meta: Meta) {
        this.#name = name;
        this.#connection = connection;
        this.#lock = lock;
        this.#readOnly = readOnly;
        this.#sizes = [...meta.sizes];
        this.#epoch = meta.epoch;
        this.closed = new Promise((resolve, reject) => {
            this.#closed = resolve;
            this.#closedBadly = reject;
        });
        this.closed.catch(() => undefined);
        connection.onclose = () => this.poison('the browser closed it (its data may have been cleared)');
        connection.onversionchange = () => {
            this.poison('another page deletes or upgrades it');
            connection.close();
        };
    }

    get failure(): VeltaError | null {
        return this.#failure;
    }

    /** Everything from now on fails with this reason. */
    poison(reason: string | VeltaError): void {
        this.#failure ??=
            reason instanceof VeltaError
                ? reason
                : new VeltaError('IO', `the stored database '${this.#name}' can no longer be used: ${reason}`);
        clearTimeout(this.#timer);
        this.#running?.reject(this.#failure);
        this.#pending.reject(this.#failure);
    }

    execute(kind: number, file: number, offset: number, size: number, bytes: Uint8Array): number {
        if (kind === OPERATION_SIZE) return this.#sizes[file] as number;
        if (kind === OPERATION_READ) return this.#readInto(file, offset, bytes.subarray(0, size));
        if (this.#failure) return this.#failure.code === 'FULL' ? FAILED_FULL : FAILED_IO;
        if (this.#readOnly || this.#isClosing) return FAILED_IO;
        if (file === FILE_DATA && kind !== OPERATION_SYNC) this.#dataChanges++;
        switch (kind) {
            case OPERATION_WRITE:
                this.#pending.write(file, offset, bytes.subarray(0, size));
                this.#sizes[file] = Math.max(this.#sizes[file] as number, offset + size);
                this.#patchRead(file, offset, bytes.subarray(0, size));
                this.#schedule();
                return size;
            case OPERATION_SYNC:
                this.#pending.strict ||= !this.#pending.isEmpty || this.#isUnsynced || this.#running?.strict === false;
                this.#schedule();
                return 0;
            case OPERATION_TRUNCATE:
                this.#pending.truncate(file, offset);
                this.#sizes[file] = offset;
                this.#cutRead(file, offset);
                this.#schedule();
                return 0;
            default:
                return FAILED_IO;
        }
    }

    /* ---- reading */

    async prepare(options: PrepareOptions = {}): Promise<void> {
        let before: number;
        do {
            before = this.#dataChanges;
            await this.durable();
            this.#read = await this.#readFiles(options);
        } while (before !== this.#dataChanges); /* a checkpoint came in between */
        clearTimeout(this.#forgetting);
        if (!this.#isOpening) this.#forgetting = setTimeout(() => this.release(), FORGET_MS);
    }

    async #readFiles(options: PrepareOptions): Promise<ReadFiles> {
        const sizes = [...this.#sizes] as const;
        const total = sizes[FILE_DATA] + sizes[FILE_LOG];
        const read: ReadFiles = [[], []];
        let done = 0;
        try {
            const chunks = this.#connection.transaction(CHUNKS, 'readonly').objectStore(CHUNKS);
            const parts = partsOf(sizes);
            let next = requestPart(chunks, parts[0]);
            for (const [i, part] of parts.entries()) {
                throwIfAborted(options.signal);
                const [numbers, values] = await next;
                next = requestPart(chunks, parts[i + 1]); /* so that the browser is never idle */
                numbers.forEach((key, at) => {
                    read[part.file][(key as [number, number])[1]] = values[at];
                });
                done += part.bytes;
                options.onProgress?.(done, total);
            }
            for (const file of [FILE_DATA, FILE_LOG] as const) {
                read[file].length = Math.ceil(sizes[file] / CHUNK_BYTES);
            }
        } catch (error) {
            if (!(error instanceof DOMException)) throw error; /* the caller's own, from onProgress */
            throw databaseError(`cannot read the database '${this.#name}'`, this.#failure ?? error);
        }
        return read;
    }

    release(): void {
        clearTimeout(this.#forgetting);
        this.#read = null;
        this.#isOpening = false;
    }

    #readInto(file: number, offset: number, out: Uint8Array): number {
        const read = this.#read?.[file as 0 | 1];
        if (!read) return FAILED_IO;
        const length = Math.min(out.length, Math.max(0, (this.#sizes[file] as number) - offset));
        for (let done = 0; done < length;) {
            const at = (offset + done) % CHUNK_BYTES;
            const number = (offset + done - at) / CHUNK_BYTES;
            const count = Math.min(CHUNK_BYTES - at, length - done);
            const chunk = read[number];
            if (chunk === null) return FAILED_IO;
            const there = chunk?.subarray(at, at + count) ?? new Uint8Array(0);
            out.set(there, done);
            out.fill(0, done + there.length, done + count);
            if (file === FILE_DATA && count === CHUNK_BYTES) read[number] = null;
            done += count;
        }
        return length;
    }

    /** Keeps what was read true while it is there, as when opening cuts the log. */
    #patchRead(file: number, offset: number, bytes: Uint8Array): void {
        const read = this.#read?.[file as 0 | 1];
        for (let done = 0; read && done < bytes.length;) {
            const at = (offset + done) % CHUNK_BYTES;
            const number = (offset + done - at) / CHUNK_BYTES;
            const count = Math.min(CHUNK_BYTES - at, bytes.length - done);
            const stored = read[number];
            if (stored !== null || count === CHUNK_BYTES) {
                const pieces = [{ at, bytes: bytes.slice(done, done + count) }];
                read[number] = patched(stored ?? undefined, { keep: CHUNK_BYTES, pieces });
            }
            done += count;
        }
    }

    #cutRead(file: number, size: number): void {
        const read = this.#read?.[file as 0 | 1];
        if (!read) return;
        const rest = size % CHUNK_BYTES;
        const number = (size - rest) / CHUNK_BYTES;
        read.length = Math.min(read.length, rest > 0 ? number + 1 : number);
        const last = read[number];
        if (rest > 0 && last) read[number] = last.slice(0, rest);
    }

    /* ---- writing */

    #isDue(): boolean {
        return this.#pending.strict || this.#pending.bytes >= RELAXED_BYTES;
    }

    /** Sees to it that the pending batch starts in time. */
    #schedule(): void {
        if (this.#isScheduled || this.#running || this.#failure) return;
        if (this.#isDue()) {
            this.#isScheduled = true;
            clearTimeout(this.#timer);
            this.#timer = undefined;
            queueMicrotask(() => {
                this.#isScheduled = false;
                this.#start();
            });
        } else if (!this.#pending.isEmpty) {
            this.#timer ??= setTimeout(() => {
                this.#timer = undefined;
                this.#start();
            }, RELAXED_MS);
        }
    }

    #start(): void {
        if (this.#running || this.#failure) return;
        const batch = this.#pending;
        if (batch.isEmpty && !batch.strict) return;
        this.#pending = new Batch();
        this.#running = batch;
        const durability = batch.strict ? 'strict' : 'relaxed';
        try {
            const transaction = this.#connection.transaction([CHUNKS, META], 'readwrite', { durability });
            let reason: VeltaError | null = null;
            transaction.oncomplete = () => this.#complete(batch);
            transaction.onabort = () => {
                const error = reason ?? transaction.error ?? new Error('the transaction was aborted');
                this.poison(databaseError(`writing the database '${this.#name}' failed`, error));
            };
            this.#fill(transaction, batch, (error) => {
                reason = databaseError(`writing the database '${this.#name}' failed`, error);
                try {
                    transaction.abort();
                } catch {
                    this.poison(reason); /* it had ended already */
                }
            });
        } catch (error) {
            this.poison(databaseError(`writing the database '${this.#name}' failed`, error));
        }
    }

    /** Issues the requests of a batch: the epoch's check first, then deletions, then fetched and whole chunks. */
    #fill(transaction: IDBTransaction, batch: Batch, fail: (error: unknown) => void): void {
        const chunks = transaction.objectStore(CHUNKS);
        const meta = transaction.objectStore(META);
        const next: Meta = { chunkBytes: CHUNK_BYTES, epoch: this.#epoch, sizes: [...this.#sizes] };
        const asked = meta.get(META_KEY) as IDBRequest<Meta | undefined>;
        asked.onsuccess = () => {
            try {
                if (asked.result?.epoch !== this.#epoch) {
                    throw new VeltaError('IO', `the database '${this.#name}' was opened for writing elsewhere`);
                }
                meta.put(next, META_KEY);
                batch.files.forEach((changes, file) => writeChanges(chunks, file, changes, fail));
            } catch (error) {
                fail(error);
            }
        };
    }

    #complete(batch: Batch): void {
        this.#isUnsynced = !batch.strict;
        this.#running = null;
        batch.resolve();
        this.#schedule();
    }

    durable(): Promise<void> {
        if (this.#failure) return Promise.reject(this.#failure);
        const pending = this.#pending;
        if (!pending.isEmpty || this.#isUnsynced || this.#running?.strict === false) {
            pending.strict = true;
        }
        if (pending.strict) {
            this.#schedule();
            return pending.done;
        }
        return this.#running?.done ?? Promise.resolve();
    }

    /* ---- the end */

    close(): void {
        if (this.#isClosing) return;
        const last = this.durable();
        this.#isClosing = true;
        this.release();
        void last.then(
            () => {
                this.#disconnect();
                this.#closed();
            },
            (error: unknown) => {
                this.#disconnect();
                this.#closedBadly(error);
            },
        );
    }

    #disconnect(): void {
        this.#connection.onclose = null;
        this.#connection.close();
        this.#lock.release();
    }
}

/** The requests that bring one file's changes into the store of chunks. */
function writeChanges(
    chunks: IDBObjectStore,
    file: number,
    changes: FileChanges,
    fail: (error: unknown) => void,
): void {
    if (changes.deleteFrom !== Infinity) chunks.delete(range(file, changes.deleteFrom));
    for (const [number, patch] of changes.patches) {
        const key = [file, number];
        if (replacesAll(patch)) {
            chunks.put(patched(undefined, patch), key);
            continue;
        }
        const stored = chunks.get(key) as IDBRequest<Uint8Array | undefined>;
        stored.onsuccess = () => {
            try {
                chunks.put(patched(stored.result, patch), key);
            } catch (error) {
                fail(error);
            }
        };
    }
}
