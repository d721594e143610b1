/*
 * DeltaVectorDB: vectors by id that change by differences and are found by nearness, now or at a time of the past.
 *
 * It is one table of a database, `id` (a string, the key) and `vector`, seen through the names that delta vector
 * stores use. The engine does the work: chains, time travel, the index and its repair, the log, compaction.
 */
import { createDatabase, importDatabase, type CompactStats, type Database, type DatabaseStats } from './database.js';
import type { ChainItem, DeltaOperation } from './delta.js';
import { checkOptions, describe, invalid, VeltaError } from './errors.js';
import { asyncDispose, dispose } from './iterator.js';
import { key, type Schema } from './schema.js';
import { type OpenOptions, open, restore } from './storage/open.js';
import {
    type AppliedRecords,
    type ApplyRecordsOptions,
    type BatchTold,
    type RecordsTarget,
    applyRecords,
    readPosition,
} from './stream/apply_records.js';
import { HEAD_BYTES, decodeRecords, recordLength, recordLife, recordSequence } from './stream/records.js';
import type { Table } from './table.js';
import { applyDelta, applyDeltas, copyVector, useVector } from './table_vectors.js';
import { bytesOfBuffer } from './values.js';

/** A change of one vector. */
export interface VectorDelta {
    readonly vectorId: string;
    readonly operation: DeltaOperation;
    /** Kept with the vector's chain, as JSON. */
    readonly metadata?: Record<string, unknown>;
    /** When it happened; default now. A time before the last change's counts as that. */
    readonly timestamp?: Date;
}

/** One delta of a chain. */
export interface DeltaChainItem extends VectorDelta {
    /** The id that {@link DeltaVectorDB.applyDelta} gave; 0 for a vector that stands for deltas that were merged. */
    readonly id: number;
    /** When it was; absent where deltas were merged. */
    readonly timestamp?: Date;
}

/** A vector that was found. */
export interface VectorMatch {
    readonly id: string;
    /**
     * Larger is better. cosine: the cosine of the angle, 1 - `distance`; dot: the dot product, -`distance`; l2:
     * 1 / (1 + `distance`).
     */
    readonly score: number;
    /** Smaller is nearer. cosine: 1 - cos(a, b); dot: -(a · b); l2: the squared Euclidean distance. */
    readonly distance: number;
}

/** Options of {@link DeltaVectorDB}. */
export interface DeltaVectorDBOptions {
    /** Length of every vector, 1 to 8192. Default 384; for a stored database, what it has. */
    readonly dimensions?: number;
    /** Vectors that may live at one time; a `create` beyond it fails with `LIMIT`. Default 100,000. */
    readonly maxVectors?: number;
    /**
     * Whether the log of a stored database is compressed. The engine does it block by block, where it makes a block
     * smaller; vectors in memory never are, so it costs reads nothing. It cannot be switched off: `false` fails with
     * `UNSUPPORTED`. Default true.
     */
    readonly compression?: boolean;
    /** Deltas that a chain may hold before a full vector is kept with it. Default 100. */
    readonly checkpointInterval?: number;
    /** Links of a vector in the index, 4 to 64. Default 16. */
    readonly hnswM?: number;
    /** Candidates kept while a vector is linked. Default 100. */
    readonly hnswEfConstruction?: number;
    /** Candidates kept by a search: more finds more and takes longer. Default 50. */
    readonly hnswEfSearch?: number;
    /** What nearness means. Default `'cosine'`; for a stored database, what it has. */
    readonly metric?: 'cosine' | 'l2' | 'dot';
    /** Bytes of memory the engine may use; see {@link OpenOptions.memoryBudget}. */
    readonly memoryBudget?: number;
    /** Links new vectors in idle slices; see {@link OpenOptions.autoIndex}. */
    readonly autoIndex?: boolean;
    /** The clock, in milliseconds since 1970. */
    readonly now?: () => number;
}

/** Options of {@link DeltaVectorDB.open}: a delta chain's interval is `checkpointInterval`. */
export type DeltaVectorDBOpenOptions = DeltaVectorDBOptions & Omit<OpenOptions, 'chainInterval'>;

/** Options of a search. */
export interface VectorSearchOptions {
    /** Candidates kept, instead of `hnswEfSearch`. */
    readonly ef?: number;
    /** Compares with every vector: exact, and slower. */
    readonly exact?: boolean;
}

/** What {@link DeltaVectorDB.compact} keeps of the past. */
export interface VectorCompactOptions {
    /** History from this time on stays; `'all'`: all of it. Absent: none. */
    readonly keepSince?: Date | number | 'all';
    /** These moments, named by {@link DeltaVectorDB.tag}, stay too. */
    readonly keepTags?: readonly string[];
    readonly onProgress?: (done: number, total: number) => void;
}

/** Numbers of a {@link DeltaVectorDB}. */
export interface VectorStats {
    /** Vectors that live. */
    readonly vectors: number;
    readonly maxVectors: number;
    readonly dimensions: number;
    readonly metric: 'cosine' | 'l2' | 'dot';
    readonly database: DatabaseStats;
}

/** Hears of a delta after it was acknowledged, with its id. The delta is the caller's own object: do not change it. */
export type DeltaListener = (delta: VectorDelta, id: number) => void;

const TABLE = 'vectors';
const DEFAULTS = { dimensions: 384, maxVectors: 100_000, checkpointInterval: 100, m: 16, efConstruction: 100, ef: 50 };
const DATABASE_OPTIONS = ['memoryBudget', 'autoIndex', 'now'] as const;
const OWN_OPTIONS = [
    ...['dimensions', 'maxVectors', 'compression', 'checkpointInterval', 'metric'],
    ...['hnswM', 'hnswEfConstruction', 'hnswEfSearch'],
];

type VectorSchema = {
    readonly id: { readonly type: 'string'; readonly key: true; readonly required: true };
    readonly vector: {
        readonly type: 'vector';
        readonly dimensions: number;
        readonly metric: 'cosine' | 'l2' | 'dot';
        readonly required: true;
    };
};

function positive(name: string, value: number | undefined, otherwise: number): number {
    if (value === undefined) {
        return otherwise;
    }
    if (!Number.isSafeInteger(value) || value < 1) {
        throw invalid(`${name} must be a whole number above 0, not ${String(value)}`);
    }
    return value;
}

function checkCompression(options: DeltaVectorDBOptions): void {
    if (options.compression !== undefined && options.compression !== true) {
        throw new VeltaError('UNSUPPORTED', 'compression cannot be switched off: leave the option out, or give true');
    }
}

function pick<T extends object>(options: T, names: readonly string[]): Partial<T> {
    return Object.fromEntries(Object.entries(options).filter(([name]) => names.includes(name))) as Partial<T>;
}

/** The options without this class's own. */
function forDatabase(options: DeltaVectorDBOpenOptions): OpenOptions {
    const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !OWN_OPTIONS.includes(name)));
    return { ...rest, chainInterval: interval(options) };
}

function interval(options: DeltaVectorDBOptions): number {
    return positive('checkpointInterval', options.checkpointInterval, DEFAULTS.checkpointInterval);
}

/** What the table is told of a delta besides its operation. */
function chainItem(vectorId: string, { id, time, operation, metadata }: ChainItem): DeltaChainItem {
    const more = { ...(id === 0 ? {} : { timestamp: time }), ...(metadata === undefined ? {} : { metadata }) };
    return { id, vectorId, operation, ...more };
}

/** The table of vectors; one that is there gives what the options leave out. */
function openTable(database: Database, options: DeltaVectorDBOptions): Table<VectorSchema> {
    const there = database.hasTable(TABLE) ? database.table(TABLE).schema['vector'] : undefined;
    const kept = there?.type === 'vector' ? there : undefined;
    const dimensions = positive('dimensions', options.dimensions, kept?.dimensions ?? DEFAULTS.dimensions);
    if (kept && dimensions !== kept.dimensions) {
        const text = `the stored vectors have ${kept.dimensions} dimensions, not ${dimensions}`;
        throw new VeltaError('DIMENSIONS', text);
    }
    const schema: Schema = {
        id: key('string'),
        vector: {
            type: 'vector',
            dimensions,
            metric: options.metric ?? kept?.metric ?? 'cosine',
            m: positive('hnswM', options.hnswM, kept?.m ?? DEFAULTS.m),
            efConstruction: positive(
                'hnswEfConstruction',
                options.hnswEfConstruction,
                kept?.efConstruction ?? DEFAULTS.efConstruction,
            ),
            required: true,
        },
    };
    return database.table(TABLE, schema) as unknown as Table<VectorSchema>;
}

/** LIMIT at the record whose create would be one too many. What is damaged is left to the engine. */
function checkLives(u8: Uint8Array, at: number, bytes: number, limit: number, passed: number, room: number): void {
    const end = at + bytes;
    let count = 0;
    for (let i = 0; i < limit && end - at >= HEAD_BYTES; i++) {
        const size = recordLength(u8, at);
        if (recordSequence(u8, at) > passed) {
            const life = recordLife(u8, at);
            count += life;
            if (life > 0 && count > room) {
                throw new VeltaError('LIMIT', 'there may be no more vectors (maxVectors)', { offset: i });
            }
        }
        at += size;
    }
}

/** The deltas that a batch of records applied, with their ids. */
function newsOf({ instance, at, bytes, applied, skipped, ids }: BatchTold): { delta: VectorDelta; id: number }[] {
    const deltas = decodeRecords(instance.u8.slice(at, at + bytes)).slice(skipped, skipped + applied);
    return deltas.map(({ key: vectorId, operation, metadata, timestamp }, i) => ({
        delta: {
            vectorId: String(vectorId),
            operation,
            ...(metadata === undefined ? {} : { metadata }),
            ...(timestamp === undefined ? {} : { timestamp: new Date(timestamp) }),
        },
        id: Number(instance.i64[(ids >>> 3) + i]),
    }));
}

/**
 * Vectors by id that change by deltas.
 *
 * A delta is a difference: `sparse` and `dense` add, unless `mode: 'set'` asks to replace. Search and reads see the
 * composed vector. The past stays readable until {@link compact} drops it.
 *
 * @example
 * ```ts
 * await init();
 * const db = new DeltaVectorDB({ dimensions: 3 });
 * db.applyDelta({ vectorId: 'a', operation: { type: 'create', vector: new Float32Array([1, 0, 0]) } });
 * db.applyDelta({ vectorId: 'a', operation: { type: 'scale', factor: 2 } });
 * db.search(new Float32Array([1, 0, 0]), 1); // [{ id: 'a', score: 1, distance: 0 }]
 * ```
 */
export class DeltaVectorDB {
    #database: Database;
    #table: Table<VectorSchema>;
    #busy = false;
    /** The import of a stored database that is under way. */
    #importing: Promise<void> | null = null;
    readonly #options: DeltaVectorDBOpenOptions;
    readonly #listeners = new Set<{ readonly call: DeltaListener }>();
    readonly #news: { delta: VectorDelta; id: number }[] = [];
    #telling = false;
    /** Vectors that may live at one time. */
    readonly maxVectors: number;
    /** Candidates that a search keeps unless it says otherwise. */
    readonly efSearch: number;

    /**
     * A database in memory; {@link DeltaVectorDB.open} gives one that is kept.
     * @throws {VeltaError} `NOT_READY` before `init()`, `INVALID`, `UNSUPPORTED`, `NO_MEMORY`.
     */
    constructor(options?: DeltaVectorDBOptions);
    /** Over a database that is open. @internal */
    constructor(options: DeltaVectorDBOpenOptions, opened: Database);
    constructor(options: DeltaVectorDBOpenOptions = {}, opened?: Database) {
        if (opened === undefined) {
            checkOptions('DeltaVectorDB', options, [...OWN_OPTIONS, ...DATABASE_OPTIONS]);
        }
        checkCompression(options);
        this.#options = { ...options };
        this.maxVectors = positive('maxVectors', options.maxVectors, DEFAULTS.maxVectors);
        this.efSearch = positive('hnswEfSearch', options.hnswEfSearch, DEFAULTS.ef);
        this.#database =
            opened ?? createDatabase({ ...pick(options, DATABASE_OPTIONS), chainInterval: interval(options) });
        try {
            this.#table = openTable(this.#database, options);
        } catch (error) {
            if (opened === undefined) {
                void this.#database.close();
            }
            throw error;
        }
    }

    /**
     * Opens or creates the stored database `name`. Everything acknowledged is logged; {@link flush} tells when it is
     * durable.
     * @throws {VeltaError} What `open` throws; `DIMENSIONS` or `INVALID` when what is stored differs from the options.
     */
    static async open(name: string, options: DeltaVectorDBOpenOptions = {}): Promise<DeltaVectorDB> {
        if ((options as unknown) === null) throw invalid('DeltaVectorDB.open: options must be an object, not null');
        checkCompression(options);
        const database = await open(name, forDatabase(options));
        try {
            return new DeltaVectorDB(options, database);
        } catch (error) {
            await database.close();
            throw error;
        }
    }

    /** The database behind it. Another one after {@link import}. */
    get database(): Database {
        return this.#database;
    }

    /** Vectors that live. */
    get size(): number {
        return this.#live().liveCount;
    }

    /** Length of the vectors. */
    getDimensions(): number {
        return this.#definition().dimensions;
    }

    /**
     * Applies one delta and gives its id, a number that grows with every change.
     * @throws {VeltaError} `EXISTS` to create a vector that lives, `NOT_FOUND` for any other operation on one that does
     * not, `DIMENSIONS`, `NOT_FINITE`, `INVALID`, `LIMIT` beyond `maxVectors`; and what a write to storage can meet.
     */
    applyDelta(delta: VectorDelta): number {
        const table = this.#live();
        if (typeof delta !== 'object' || delta === null) {
            throw invalid(`a delta is an object with a vectorId and an operation, not ${describe(delta)}`);
        }
        const { vectorId, operation, metadata, timestamp } = delta;
        if (operation?.type === 'create') {
            this.#checkRoom([delta], table.liveCount);
        }
        const id = applyDelta(table, vectorId, operation, 'vector', metadata, timestamp);
        if (this.#listeners.size > 0) {
            this.#news.push({ delta, id });
            this.#tell();
        }
        return id;
    }

    /**
     * Applies deltas in order, all or none, and gives their ids.
     * @throws {VeltaError} As {@link applyDelta}; `offset` is the index of the delta that is refused.
     */
    applyDeltas(deltas: readonly VectorDelta[]): number[] {
        const table = this.#live();
        if (!Array.isArray(deltas)) {
            throw invalid(`applyDeltas: expected an array of deltas, not ${describe(deltas)}`);
        }
        if (deltas.length === 0) {
            return [];
        }
        this.#checkRoom(deltas, table.liveCount);
        const ids = applyDeltas(table, deltas, 'vector', true);
        if (this.#listeners.size > 0) {
            deltas.forEach((delta, i) => this.#news.push({ delta, id: ids[i] as number }));
            this.#tell();
        }
        return ids;
    }

    /**
     * Applies deltas in their binary form, as `encodeRecords` makes it: see {@link Table.applyRecords}.
     * @throws {VeltaError} As {@link Table.applyRecords}, and `LIMIT` beyond `maxVectors`.
     */
    applyRecords(records: Uint8Array, options: Omit<ApplyRecordsOptions, 'column'> = {}): AppliedRecords {
        const table = this.#live();
        checkOptions('applyRecords', options, ['stream', 'batchSize']);
        const wantsIds = this.#listeners.size > 0;
        const tables = this.#database.streamTables();
        const passed = options.stream === undefined ? 0 : readPosition(tables, options.stream);
        const target: RecordsTarget = {
            table: table as unknown as Table,
            tables,
            wantsIds,
            check: (instance, at, bytes, limit) => {
                checkLives(instance.u8, at, bytes, limit, passed, this.maxVectors - table.liveCountInside);
            },
            ...(wantsIds ? { told: (batch) => this.#news.push(...newsOf(batch)) } : {}),
        };
        try {
            return applyRecords(target, records, { ...options, column: 'vector' });
        } finally {
            this.#tell();
        }
    }

    /** As {@link Table.streamPosition}. */
    streamPosition(stream: string): number {
        return this.#live().streamPosition(stream);
    }

    /**
     * A copy of a vector; null when it does not live.
     * @param into - an array that gets the elements and is given back: much faster than a new one each time
     * @throws {VeltaError} `DIMENSIONS` when `into` has another length.
     */
    getVector(id: string, into?: Float32Array): Float32Array | null {
        return copyVector(this.#live(), id, 'vector', 0, into);
    }

    /**
     * A copy of a vector as it was at a time; null when it did not live then.
     * @throws {VeltaError} `HISTORY_GONE` when that time is no longer kept.
     */
    getVectorAt(id: string, date: Date | number): Float32Array | null {
        return this.#live().vector(id, { column: 'vector', at: date });
    }

    /** Whether a vector lives. */
    has(id: string): boolean {
        return this.#live().has(id);
    }

    /**
     * The deltas kept of a vector, oldest first. The first is a `create`: the one it began with, or, after
     * {@link compact}, the vector that stands for what was merged (its id is 0). Empty when it does not live.
     */
    getDeltaChain(id: string): DeltaChainItem[] {
        const table = this.#live();
        if (!table.has(id)) {
            return [];
        }
        const [base, ...rest] = table.chain(id, 'vector');
        if (base === undefined) {
            return [];
        }
        // The engine keeps a creation's metadata as a delta of its own behind it, which adds nothing.
        const [note] = rest;
        const isNote =
            note?.operation.type === 'sparse' && note.operation.indices.length === 0 && note.id === base.id + 1;
        const first = isNote && note.metadata ? { ...base, metadata: note.metadata } : base;
        return [first, ...rest.slice(first === base ? 0 : 1)].map((item) => chainItem(id, item));
    }

    /**
     * Calls back after each delta applied through this object is acknowledged, in order. What the callback throws is
     * reported and stops nothing; deltas that it applies are told of after those that went before.
     * @returns Ends it.
     */
    onDelta(callback: DeltaListener): () => void {
        this.#live();
        if (typeof callback !== 'function') {
            throw invalid(`onDelta takes a function, not ${describe(callback)}`);
        }
        const listener = { call: callback };
        this.#listeners.add(listener);
        return () => void this.#listeners.delete(listener);
    }

    /**
     * The `k` vectors nearest to `query`, nearest first.
     * @throws {VeltaError} `DIMENSIONS`, `NOT_FINITE`, `INVALID`, `LIMIT` for k beyond 16,384.
     */
    search(query: Float32Array | readonly number[], k = 10, options: VectorSearchOptions = {}): VectorMatch[] {
        return this.#search(query, k, options);
    }

    /**
     * The same among the vectors as they were at a time.
     * @throws {VeltaError} As {@link search}; `HISTORY_GONE` when that time is no longer kept.
     */
    searchAt(
        query: Float32Array | readonly number[],
        k: number,
        date: Date | number,
        options: VectorSearchOptions = {},
    ): VectorMatch[] {
        return this.#search(query, k, options, date);
    }

    /**
     * Merges chains, drops deleted vectors (their bytes are gone from snapshot and log) and the history that is not
     * asked for, and links the index. A time that is dropped answers `HISTORY_GONE` from then on.
     * @throws {VeltaError} `NOT_FOUND` for a tag that is not there, `BUSY` while an iterator is open, `OVER_BUDGET`.
     */
    compact(options: VectorCompactOptions = {}): CompactStats {
        checkOptions('compact', options, ['keepSince', 'keepTags', 'onProgress']);
        this.#live();
        const { keepTags, ...rest } = options;
        return this.#database.compact({ ...rest, ...(keepTags === undefined ? {} : { keepTags: [...keepTags] }) });
    }

    /** Names this moment, for `keepTags` and, through the database's `tagTime`, for reading it. */
    tag(name: string): void {
        this.#live();
        this.#database.tag(name);
    }

    /** The whole with its index and history as one array: the same state gives the same bytes. */
    export(): Uint8Array {
        this.#live();
        return this.#database.export();
    }

    /**
     * Replaces the content by that of exported bytes, whole or not at all: vectors, history, tags, and the index with
     * the parameters it was built with. In memory the content is replaced when the call returns; a stored database is
     * closed, replaced and opened again, and cannot be used until the promise resolves. Listeners stay.
     * @throws {VeltaError} `CORRUPT`, `VERSION`; `DIMENSIONS` or `INVALID` when the bytes hold vectors of another kind;
     * `LIMIT` for more than `maxVectors`. (The promise rejects.)
     */
    async import(bytes: Uint8Array | ArrayBuffer): Promise<void> {
        const definition = this.#definition();
        const array = bytes instanceof ArrayBuffer ? bytesOfBuffer('an export', bytes) : bytes;
        const { now, autoIndex, memoryBudget } = this.#options;
        const database = importDatabase(array, {
            ...(memoryBudget === undefined ? {} : { memoryBudget }),
            ...(now === undefined ? {} : { now }),
            ...(autoIndex === undefined ? {} : { autoIndex }),
            chainInterval: interval(this.#options),
        });
        try {
            const table = this.#check(database, definition);
            if (this.#database.storage === 'memory') {
                const before = this.#database;
                const closing = before.close();
                if (!before.closed) await closing; // refused, from within a callback of it
                this.#database = database;
                this.#table = table;
                await closing;
                return;
            }
        } catch (error) {
            await database.close();
            throw error;
        }
        this.#busy = true;
        this.#importing = database.close().then(() => this.#replaceStored(array));
        try {
            await this.#importing;
        } finally {
            this.#busy = false;
            this.#importing = null;
        }
    }

    /**
     * Calls `use` with the vector in place, in the module's memory, and gives what that returns; null when the vector
     * does not live. The view must not be written to, nor kept: the next call may move the memory.
     */
    withVector<R>(id: string, use: (view: Float32Array) => R): R | null {
        return useVector(this.#live(), id, use, 'vector');
    }

    /** The address of a vector's f32 values in {@link getMemory}, until the next call; null when it does not live. */
    getVectorPtr(id: string): number | null {
        return this.#live().withVector(id, (view) => view.byteOffset, 'vector');
    }

    /** The module's memory. Growing it detaches its `buffer`: read that anew after every call. */
    getMemory(): WebAssembly.Memory {
        this.#live();
        return this.#database.instance.memory;
    }

    /** Sizes and counts. */
    stats(): VectorStats {
        const { dimensions, metric } = this.#definition();
        const { maxVectors } = this;
        return { vectors: this.size, maxVectors, dimensions, metric, database: this.#database.stats() };
    }

    /** Resolves when everything acknowledged is durable. */
    async flush(): Promise<void> {
        this.#live();
        await this.#database.flush();
    }

    /** Flushes and ends it; resolves when its storage is free. Calling it again does nothing. */
    async close(): Promise<void> {
        this.#listeners.clear();
        if (this.#importing !== null) await this.#importing.catch(() => undefined); // which opens it again
        await this.#database.close();
    }

    /** Closes without waiting. */
    [dispose](): void {
        void this.close();
    }

    /** Closes. */
    async [asyncDispose](): Promise<void> {
        await this.close();
    }

    /** The table, unless an import is under way. */
    #live(): Table<VectorSchema> {
        if (this.#busy) {
            throw new VeltaError('BUSY', 'an import is under way; wait for its promise');
        }
        this.#database.check();
        return this.#table;
    }

    #definition(): { dimensions: number; metric: 'cosine' | 'l2' | 'dot' } {
        return this.#live().schema['vector'] as { dimensions: number; metric: 'cosine' | 'l2' | 'dot' };
    }

    #search(
        query: Float32Array | readonly number[],
        k: number,
        options: VectorSearchOptions,
        at?: Date | number,
    ): VectorMatch[] {
        checkOptions('search', options, ['ef', 'exact']);
        const table = this.#live();
        const hits = table.search(query, {
            k,
            ef: options.ef ?? this.efSearch,
            column: 'vector',
            ...(options.exact === undefined ? {} : { exact: options.exact }),
            ...(at === undefined ? {} : { at }),
        });
        return hits.map(({ key, score, distance }) => ({ id: key, score, distance }));
    }

    /** LIMIT at the delta that would make one too many; INVALID at one that is none. */
    #checkRoom(deltas: readonly VectorDelta[], live: number): void {
        let count = live;
        for (let i = 0; i < deltas.length; i++) {
            const delta = deltas[i];
            if (typeof delta !== 'object' || delta === null) {
                throw invalid(`delta ${i}: expected an object, not ${describe(delta)}`, i);
            }
            const type = delta.operation?.type;
            if (type !== 'create' && type !== 'delete') {
                continue;
            }
            count += type === 'create' ? 1 : type === 'delete' ? -1 : 0;
            if (type === 'create' && count > this.maxVectors) {
                throw new VeltaError('LIMIT', `there may be ${this.maxVectors} vectors (maxVectors)`, { offset: i });
            }
        }
    }

    #tell(): void {
        if (this.#telling) {
            return;
        }
        this.#telling = true;
        for (let news = this.#news.shift(); news !== undefined; news = this.#news.shift()) {
            for (const listener of [...this.#listeners]) {
                try {
                    if (this.#listeners.has(listener)) {
                        listener.call(news.delta, news.id);
                    }
                } catch (error) {
                    queueMicrotask(() => {
                        throw error;
                    });
                }
            }
        }
        this.#telling = false;
    }

    /** The table of imported bytes, if they can take this one's place. */
    #check(database: Database, wanted: { dimensions: number; metric: string }): Table<VectorSchema> {
        const found = database.hasTable(TABLE) ? database.table(TABLE).schema['vector'] : undefined;
        if (found?.type !== 'vector') {
            throw invalid('the bytes are not those of a DeltaVectorDB');
        }
        if (found.dimensions !== wanted.dimensions) {
            const text = `the bytes hold vectors of ${found.dimensions} dimensions, these have ${wanted.dimensions}`;
            throw new VeltaError('DIMENSIONS', text);
        }
        if (found.metric !== wanted.metric) {
            throw invalid(`the bytes hold vectors compared by ${String(found.metric)}, these are by ${wanted.metric}`);
        }
        const table = database.table(TABLE) as unknown as Table<VectorSchema>;
        if (table.liveCount > this.maxVectors) {
            throw new VeltaError(
                'LIMIT',
                `the bytes hold ${table.liveCount} vectors, maxVectors is ${this.maxVectors}`,
            );
        }
        return table;
    }

    async #replaceStored(bytes: Uint8Array): Promise<void> {
        const { name, storage } = this.#database;
        const place = pick(this.#options, ['directory', 'lockTimeout']);
        await this.#database.close();
        try {
            await restore(name, bytes, { ...place, storage });
        } finally {
            const { hnswM: _m, hnswEfConstruction: _ef, ...options } = this.#options;
            this.#database = await open(name, forDatabase({ ...options, storage }));
            this.#table = openTable(this.#database, options);
        }
    }
}
