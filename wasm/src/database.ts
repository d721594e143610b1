/**
 * A database: tables by name over one handle of the engine, and what concerns them all: durability, history, export,
 * pending work of the indexes, subscriptions.
 *
 * Every call enters and leaves: entering refuses a closed database, a failed module and a call from within another
 * one's callback (BUSY), and notes the argument stack's top, which leaving restores.
 */
import {
    type ColumnFamily,
    FAMILY_PREFIX,
    type FamilyKeyKind,
    type FamilyOptions,
    type FamilyTables,
    createFamily,
    familyNames,
    findFamily,
    findFamilyTable,
} from './column_family.js';
import { NO_ROW, OPEN_LOG_TAIL, OPEN_MUST_EXIST, OPEN_READ_ONLY, OPEN_RELAXED, type Address } from './abi.js';
import { VeltaError, checkOptions, describe, invalid, quoted } from './errors.js';
import { COLUMN_SIZE } from './generated/layout.js';
import { STATUS_NUMBERS } from './generated/status.js';
import { type Instance, type Progress, currentInstance } from './instance.js';
import { asyncDispose, dispose, endIterator } from './iterator.js';
import { Maintenance, Pace } from './maintenance.js';
import { type Schema, difference, fullSchema, writeColumn } from './schema.js';
import type { StorageDriver } from './storage/driver.js';
import { STREAMS_TABLE } from './stream/apply_records.js';
import { Table } from './table.js';
import { bytesOfBuffer, isDetached, millisecondsOf } from './values.js';
import { type Change, readChange } from './watch.js';

/** Where a database is kept. */
export type StorageKind = 'memory' | 'opfs' | 'indexeddb' | 'file';

/** Options of a database in memory. */
export interface MemoryOptions {
    /** Bytes its data may take; default 1.5 GiB or three quarters of the module's memory, whichever is less. */
    readonly memoryBudget?: number;
    /** Vector deltas between full vectors kept in history. Default 100. */
    readonly chainInterval?: number;
    /** The clock of changes and expiry, in milliseconds since 1970. Default `Date.now`. */
    readonly now?: () => number;
    /** Whether new rows are linked into the indexes in idle slices of at most 8 ms. Default true. */
    readonly autoIndex?: boolean;
}

/** What a compaction did. */
export interface CompactStats {
    readonly rowsDropped: number;
    /** Of the stored database. */
    readonly bytesBefore: number;
    readonly bytesAfter: number;
}

/** What a compaction keeps. */
export interface CompactOptions {
    /** History from then on stays; `'all'`: all of it; default none. */
    readonly keepSince?: Date | number | 'all';
    /** The moments with these tags stay too. */
    readonly keepTags?: readonly string[];
    readonly onProgress?: Progress;
}

/** Figures of a database; sizes in bytes. */
export interface DatabaseStats {
    /** Number of the last change; 0: none. */
    readonly sequence: number;
    /** When the last change was. */
    readonly time: Date | null;
    readonly tableCount: number;
    readonly memoryBudgetBytes: number;
    readonly memoryUsedBytes: number;
    readonly memoryPeakBytes: number;
    readonly columnBytes: number;
    readonly vectorBytes: number;
    readonly dictionaryBytes: number;
    readonly indexBytes: number;
    readonly historyBytes: number;
    readonly dataFileBytes: number;
    readonly logBytes: number;
    /** The log before compression. */
    readonly logRawBytes: number;
    /** Counts the checkpoints. */
    readonly generation: number;
    /** Of a torn tail of the log, found and cut at open. */
    readonly cutBytes: number;
    /** Rows that wait to be linked into an index. */
    readonly indexPending: number;
    /** The kernels in use. */
    readonly simd: string;
    /** Memory of the whole module, which all databases share. */
    readonly wasmMemoryBytes: number;
    /** Why linking or checkpoints in idle moments have stopped; null: they have not. */
    readonly maintenanceError: string | null;
}

/** The state of a log. */
export interface LogStatus {
    readonly bytes: number;
    /** Before compression. */
    readonly rawBytes: number;
    /** Counts the checkpoints. */
    readonly generation: number;
    readonly dataBytes: number;
    /** Of a torn tail, found and cut at open. */
    readonly cutBytes: number;
    /** When this handle last made a checkpoint; null: not yet. */
    readonly lastCheckpoint: Date | null;
    /** Number of the last change. */
    readonly sequence: number;
}

/** The log of a database. */
export interface DatabaseLog {
    /** Resolves when all acknowledged changes are durable. */
    sync(): Promise<void>;
    /** Writes what changed since the last checkpoint and starts the log anew. */
    checkpoint(): void;
    status(): LogStatus;
}

/** What the opener of a database tells it about itself. @internal */
export interface DatabaseDetails {
    readonly name: string;
    readonly storage: StorageKind;
    readonly driver?: StorageDriver | undefined;
    readonly options?:
        | {
              readonly autoIndex?: boolean | undefined;
              readonly checkpointSeconds?: number | undefined;
              readonly readOnly?: boolean | undefined;
              readonly now?: (() => number) | undefined;
              readonly durability?: 'strict' | 'relaxed' | undefined;
          }
        | undefined;
    /** The id of the clock among the instance's, given back at close. */
    readonly clock?: number | undefined;
}

const STATS = 17;
const POSITION_BYTES = 16;
const ALL_HISTORY = -1e19;
const EXPORT_MOST = 0x7fffffff;
const forgottenAt = 'the database was closed';

/** Tables that are reached in other ways alone. @throws {VeltaError} INVALID */
function checkTableName(name: unknown): void {
    if (typeof name === 'string' && name.startsWith(FAMILY_PREFIX)) {
        throw invalid(`a table's name does not begin with '${FAMILY_PREFIX}', which is kept for column families`);
    }
    if (name === STREAMS_TABLE) {
        throw invalid(`a table is not named '${STREAMS_TABLE}', which is kept for the positions of streams`);
    }
}

/** A time as the engine takes it, for which 0 stands for none: a millisecond more of history stays. */
function sinceOf(time: Date | number): number {
    const milliseconds = millisecondsOf(time);
    return milliseconds === 0 ? -1 : milliseconds;
}

/** A position in memory, which the engine moves on. */
function placePosition(instance: Instance, position: unknown): Address {
    if (!(position instanceof Uint8Array) || position.length !== POSITION_BYTES)
        throw invalid('a position has 16 bytes');
    const at = instance.space(POSITION_BYTES);
    instance.u8.set(position, at);
    return at;
}

function busy(): VeltaError {
    return new VeltaError(
        'BUSY',
        'the database is in the middle of a call: a callback of it (watch, progress, withVector) must not call it; ' +
            'note what is to be done and do it afterwards',
    );
}

/** An open database. Made by `open`, `createDatabase` and `importDatabase`. */
export class Database {
    /** The name it was opened under; '' in memory. */
    readonly name: string;
    readonly storage: StorageKind;
    /** The log: automatic; here to be watched and hurried. */
    readonly log: DatabaseLog;
    /** @internal */
    readonly instance: Instance;
    /** @internal */
    readonly iterators = new Set<unknown>();
    /** To be called when the database closes. @internal */
    readonly endings = new Set<() => void>();
    /** Whether a change is durable, where it is stored, before it is acknowledged. @internal */
    readonly isStrict: boolean;
    #handle: Address;
    #busy = false;
    readonly #driver: StorageDriver | undefined;
    readonly #clockId: number;
    readonly #now: () => number;
    readonly #tables = new Map<string, Table<Schema>>();
    readonly #names = new Map<Address, string>();
    readonly #maintenance: Maintenance;
    readonly #watchers = new Map<object, { readonly id: number; readonly subscription: number }>();
    #lastCheckpoint: Date | null = null;
    #isFailureTold = false;
    #closing: Promise<void> | null = null;

    /** @internal */
    constructor(instance: Instance, handle: Address, details: DatabaseDetails) {
        const { options = {}, driver } = details;
        this.instance = instance;
        this.#handle = handle;
        this.name = details.name;
        this.storage = details.storage;
        this.isStrict = driver === undefined || options.durability !== 'relaxed';
        this.#driver = driver;
        this.#clockId = details.clock ?? 0;
        this.#now = options.now ?? Date.now;
        const readOnly = options.readOnly === true;
        const seconds = driver === undefined || readOnly ? Infinity : (options.checkpointSeconds ?? 15);
        this.#maintenance = new Maintenance(
            {
                link: (nodes) => this.#link(nodes),
                checkpoint: () => {
                    if (this.stats().logBytes > 0) this.checkpoint();
                },
                idle: () => !this.#busy && this.#handle !== 0 && this.instance.poisoned === null,
            },
            options.autoIndex !== false && !readOnly,
            seconds,
        );
        this.log = {
            sync: () => this.flush(),
            checkpoint: () => this.checkpoint(),
            status: () => this.#logStatus(),
        };
        const { indexPending, logBytes } = this.stats();
        if (indexPending > 0 || logBytes > 0) this.#maintenance.wrote();
    }

    /** Whether `close` was called. */
    get closed(): boolean {
        return this.#handle === 0;
    }

    // ---- entering and leaving

    /** @throws {VeltaError} CLOSED, POISONED @internal */
    check(): void {
        if (this.#handle === 0) throw new VeltaError('CLOSED', forgottenAt);
        if (this.instance.poisoned !== null) throw this.instance.poisoned;
    }

    /** Begins a call; gives the mark to leave with. @throws {VeltaError} CLOSED, POISONED, BUSY @internal */
    enter(): number {
        const { instance } = this;
        if (this.#handle === 0 || instance.poisoned !== null) this.check();
        if (this.#busy) throw busy();
        this.#busy = true;
        return instance.top;
    }

    /** @internal */
    leave(mark: number): void {
        this.#busy = false;
        this.instance.leave(mark);
    }

    /** A call from entering to leaving. @internal */
    run<T>(call: (instance: Instance) => T): T {
        const { instance } = this;
        const mark = this.enter();
        try {
            return call(instance);
        } catch (error) {
            throw this.explained(error);
        } finally {
            this.leave(mark);
        }
    }

    /**
     * What to throw for an exception of a call. A handle that a failing checkpoint poisoned, after a call that
     * succeeded, tells that failure (FULL, IO) first, and POISONED from then on.
     * @internal
     */
    explained(error: unknown): unknown {
        const caught = this.instance.caught(error);
        const failure = this.#driver?.failure ?? null;
        if (failure === null || this.instance.poisoned !== null || !(caught instanceof VeltaError)) return caught;
        const isTold = this.#isFailureTold;
        this.#isFailureTold ||= caught.code === 'POISONED' || caught.code === failure.code;
        return caught.code === 'POISONED' && !isTold ? failure : caught;
    }

    /** To be called after what may have changed something. @internal */
    wrote(): void {
        this.#maintenance.wrote();
    }

    /** The clock's time. @internal */
    now(): number {
        return Math.floor(this.#now());
    }

    // ---- tables

    /**
     * Opens a table, or creates it. Columns of the schema that the table lacks are added; columns that the schema does
     * not name stay.
     * @throws {VeltaError} INVALID naming a column that is there with another definition
     */
    table<const S extends Schema>(name: string, schema: S): Table<S>;
    /**
     * Opens a table.
     * @throws {VeltaError} NOT_FOUND
     */
    table(name: string): Table<Schema>;
    table(name: string, schema?: Schema): Table<Schema> {
        this.check();
        checkTableName(name);
        return this.#table(name, schema);
    }

    #table(name: string, schema?: Schema): Table<Schema> {
        const wanted = schema === undefined ? undefined : fullSchema(name, schema);
        const found = this.#find(name);
        if (wanted === undefined || schema === undefined) {
            if (found !== null) return found;
            throw new VeltaError('NOT_FOUND', `there is no table ${quoted(name)}; give a schema to create it`);
        }
        if (found === null) {
            const handle = this.run((instance) => {
                const address = instance.cString(name, 'a table name');
                const columns = instance.space(wanted.size * COLUMN_SIZE);
                const out = instance.space(8);
                let at = columns;
                for (const [column, full] of wanted) {
                    writeColumn(instance, at, column, full);
                    at += COLUMN_SIZE;
                }
                const db = this.#handle;
                instance.check(instance.exports.abi_table_create(db, address, columns, wanted.size, out));
                return instance.u32[out >>> 2] as number;
            });
            this.wrote();
            return this.#keep(name, handle);
        }
        for (const [column, full] of wanted) {
            const present = found.columns.get(column);
            const differs = present === undefined ? null : difference(schema[column] ?? full, full, present.full);
            if (differs !== null) throw invalid(`table '${name}' has the column '${column}', but ${differs}`);
        }
        for (const [column, full] of wanted) {
            if (!found.columns.has(column)) found.addColumn(column, full);
        }
        return found;
    }

    #keep(name: string, handle: Address): Table<Schema> {
        const table = new Table<Schema>(this, name, handle);
        this.#tables.set(name, table);
        this.#names.set(handle, name);
        return table;
    }

    /** The table of a name, or null. */
    #find(name: string): Table<Schema> | null {
        const known = this.#tables.get(name);
        if (known !== undefined) return known;
        const handle = this.run((instance) => {
            const address = instance.cString(name, 'a table name');
            const out = instance.space(8);
            const status = instance.exports.abi_table_find(this.#handle, address, out);
            if (status === STATUS_NUMBERS.NOT_FOUND) return 0;
            instance.check(status);
            return instance.u32[out >>> 2] as number;
        });
        return handle === 0 ? null : this.#keep(name, handle);
    }

    /** The names of the tables, in order of creation; column families are not among them. */
    tableNames(): string[] {
        return this.#allNames().filter((name) => !name.startsWith(FAMILY_PREFIX) && name !== STREAMS_TABLE);
    }

    #allNames(): string[] {
        this.check();
        return this.run((instance) => {
            const names: string[] = [];
            for (let i = 0; ; i++) {
                const table = instance.exports.abi_table_at(this.#handle, i);
                if (table === 0) return names;
                names.push(instance.cText(instance.exports.abi_table_name(table)));
            }
        });
    }

    /** Whether there is a table of that name. */
    hasTable(name: string): boolean {
        this.check();
        checkTableName(name);
        return this.#find(name) !== null;
    }

    /**
     * Drops a table with all its rows.
     * @throws {VeltaError} NOT_FOUND, BUSY while iterators are open
     */
    dropTable(name: string): void {
        this.#drop(this.table(name));
    }

    #drop(table: Table<Schema>): void {
        this.run((instance) => {
            table.release();
            try {
                instance.check(instance.exports.abi_table_drop(table.handle));
            } catch (error) {
                table.columns.clear();
                table.readColumns();
                throw error;
            }
            table.dropped = true;
            table.columns.clear();
            this.#tables.delete(table.name);
        });
        this.wrote();
    }

    // ---- column families: maps from keys to bytes, apart from the tables

    /** The names of the column families, sorted. */
    listColumnFamilies(): string[] {
        return familyNames(this.#allNames());
    }

    /**
     * Creates a column family.
     * @param options - `keys`: what its keys are, `'string'` (the default) or `'bytes'`
     * @throws {VeltaError} EXISTS; INVALID for a name that is empty or too long
     */
    createColumnFamily<T extends FamilyKeyKind = 'string'>(name: string, options?: FamilyOptions<T>): ColumnFamily<T> {
        return createFamily(this.#families(), name, options);
    }

    /**
     * Opens a column family.
     * @throws {VeltaError} NOT_FOUND; TYPE when its keys are of another kind than the options say
     */
    columnFamily<T extends FamilyKeyKind = 'string'>(name: string, options?: FamilyOptions<T>): ColumnFamily<T> {
        return findFamily(this.#families(), name, options);
    }

    /** Opens a column family, or creates it. @throws {VeltaError} as both of these */
    columnFamilyOrCreate<T extends FamilyKeyKind = 'string'>(
        name: string,
        options?: FamilyOptions<T>,
    ): ColumnFamily<T> {
        const there = this.listColumnFamilies().includes(name);
        return there ? this.columnFamily(name, options) : this.createColumnFamily(name, options);
    }

    /**
     * Drops a column family with all that is in it.
     * @throws {VeltaError} NOT_FOUND, BUSY while iterators are open
     */
    dropColumnFamily(name: string): void {
        this.#drop(findFamilyTable(this.#families(), name));
    }

    #families(): FamilyTables {
        this.check();
        return { find: (name) => this.#find(name), make: (name, schema) => this.#table(name, schema) };
    }

    /** The tables behind the positions of streams. @internal */
    streamTables(): FamilyTables {
        return this.#families();
    }

    // ---- the whole

    /**
     * The whole database as bytes that {@link importDatabase} reads; the same state gives the same bytes.
     * @throws {VeltaError} NO_MEMORY, OVER_BUDGET
     */
    export(options: { readonly onProgress?: Progress } = {}): Uint8Array {
        checkOptions('export', options, ['onProgress']);
        return this.run((instance) => {
            const out = instance.space(8);
            instance.withProgress(options.onProgress, (id) => {
                instance.check(instance.exports.abi_export(this.#handle, id, out));
            });
            instance.refresh();
            const [address = 0, size = 0] = instance.u32.subarray(out >>> 2, (out >>> 2) + 2);
            try {
                return new Uint8Array(instance.u8.subarray(address, address + size));
            } finally {
                instance.exports.abi_export_free(this.#handle, address, size);
            }
        });
    }

    /** Writes what changed since the last checkpoint and starts the log anew. */
    checkpoint(options: { readonly onProgress?: Progress } = {}): void {
        checkOptions('checkpoint', options, ['onProgress']);
        this.run((instance) =>
            instance.withProgress(options.onProgress, (id) => {
                instance.check(instance.exports.abi_checkpoint(this.#handle, id));
            }),
        );
        this.#checkpointed();
    }

    #checkpointed(): void {
        this.#maintenance.checkpointed();
        this.#lastCheckpoint = new Date(this.now());
    }

    /**
     * Drops history and deleted rows (their bytes are gone from storage), renumbers rows, links what waits.
     * @throws {VeltaError} BUSY while iterators are open; NOT_FOUND for a tag
     */
    compact(options: CompactOptions = {}): CompactStats {
        checkOptions('compact', options, ['keepSince', 'keepTags', 'onProgress']);
        const { keepSince, keepTags = [] } = options;
        const since = keepSince === undefined ? 0 : keepSince === 'all' ? ALL_HISTORY : sinceOf(keepSince);
        if (Number.isNaN(since)) throw invalid(`compact: keepSince is a Date, milliseconds or 'all'`);
        if (!Array.isArray(keepTags)) throw invalid(`compact: keepTags is an array, not ${describe(keepTags)}`);
        const stats = this.run((instance) => {
            const tags = instance.space(keepTags.length * 4);
            // Array.from also sees the holes of a sparse array.
            Array.from(keepTags as string[]).forEach((tag, i) => {
                const text = instance.cString(tag, 'a tag');
                instance.u32[(tags >>> 2) + i] = text;
            });
            const out = instance.space(24);
            instance.withProgress(options.onProgress, (id) => {
                instance.check(instance.exports.abi_compact(this.#handle, since, tags, keepTags.length, id, out));
            });
            const [rowsDropped = 0, bytesBefore = 0, bytesAfter = 0] = instance.f64.subarray(
                out >>> 3,
                (out >>> 3) + 3,
            );
            return { rowsDropped, bytesBefore, bytesAfter };
        });
        this.#checkpointed();
        return stats;
    }

    /** Names this moment, for `at` and `keepTags`. A name that exists moves. */
    tag(name: string): void {
        this.run((instance) => instance.check(instance.exports.abi_tag(this.#handle, instance.cString(name, 'a tag'))));
        this.wrote();
    }

    /** When a tag was set. @throws {VeltaError} NOT_FOUND */
    tagTime(name: string): Date {
        return this.run((instance) => {
            const text = instance.cString(name, 'a tag');
            const out = instance.space(8);
            instance.check(instance.exports.abi_tag_time(this.#handle, text, out));
            return new Date(instance.f64[out >>> 3] as number);
        });
    }

    // ---- indexes

    /**
     * Links rows that wait into the indexes: up to so many, default all. Never needed for right answers, only for fast
     * ones.
     * @returns how many still wait
     */
    linkPending(maxNodes?: number): number {
        if (maxNodes !== undefined && !(Number.isInteger(maxNodes) && maxNodes > 0)) {
            throw invalid(`linkPending: a whole number from 1, not ${describe(maxNodes)}`);
        }
        this.check();
        this.#maintenance.rethrow();
        return this.#link(Math.min(maxNodes ?? 0, 0xffffffff));
    }

    #link(maxNodes: number, progress?: Progress): number {
        return this.run((instance) => {
            const out = instance.space(8);
            instance.withProgress(progress, (id) => {
                instance.check(instance.exports.abi_index(this.#handle, maxNodes, id, out));
            });
            return instance.f64[out >>> 3] as number;
        });
    }

    /**
     * Links all rows that wait, in slices of a few milliseconds that leave the page responsive.
     * @param options - `onProgress` gets the nodes done and their total; giving `false` or aborting ends it, CANCELLED,
     *     and keeps what was linked
     */
    async index(options: { readonly signal?: AbortSignal; readonly onProgress?: Progress } = {}): Promise<void> {
        checkOptions('index', options, ['signal', 'onProgress']);
        this.check();
        this.#maintenance.rethrow();
        const { signal, onProgress } = options;
        const pace = new Pace();
        let done = 0;
        let before = this.stats().indexPending;
        while (before > 0) {
            if (signal?.aborted === true) {
                throw new VeltaError('CANCELLED', 'linking was cancelled by its signal', { cause: signal.reason });
            }
            const started = performance.now();
            const left = this.#link(pace.nodes);
            done += Math.max(0, before - left);
            pace.learn(pace.nodes, performance.now() - started);
            if (onProgress?.(done, done + left) === false) {
                throw new VeltaError('CANCELLED', 'linking was cancelled by its progress function');
            }
            before = left;
            if (left > 0) await new Promise<void>((resolve) => setTimeout(resolve));
        }
    }

    // ---- durability

    /** Resolves when all acknowledged changes are durable. */
    async flush(): Promise<void> {
        this.check();
        this.#maintenance.rethrow();
        this.run((instance) => instance.check(instance.exports.abi_flush(this.#handle)));
        await this.#driver?.durable();
    }

    /** Resolves when what was written so far is durable; at once where writing is synchronous. @internal */
    durable(): Promise<void> | undefined {
        return this.#driver?.durable();
    }

    /**
     * Checks everything: stored bytes, columns, keys, history, every invariant of every index.
     * @throws {VeltaError} CORRUPT with the offset
     */
    async verify(options: { readonly onProgress?: Progress } = {}): Promise<void> {
        checkOptions('verify', options, ['onProgress']);
        this.check();
        await this.#driver?.durable();
        await this.#driver?.prepare();
        try {
            this.run((instance) =>
                instance.withProgress(options.onProgress, (id) => {
                    instance.check(instance.exports.abi_verify(this.#handle, id));
                }),
            );
        } finally {
            this.#driver?.release();
        }
    }

    #logStatus(): LogStatus {
        const { logBytes, logRawBytes, generation, dataFileBytes, cutBytes, sequence } = this.stats();
        return {
            bytes: logBytes,
            rawBytes: logRawBytes,
            generation,
            dataBytes: dataFileBytes,
            cutBytes,
            lastCheckpoint: this.#lastCheckpoint,
            sequence,
        };
    }

    // ---- copies: store/velta.h, "Following"

    /** Where the database stands: 16 bytes. @internal */
    logPosition(): Uint8Array {
        return this.run((instance) => {
            const out = instance.space(POSITION_BYTES);
            instance.check(instance.exports.abi_log_position(this.#handle, out));
            return instance.u8.slice(out, out + POSITION_BYTES);
        });
    }

    /** Frames of what came after a position, and the one after them; null: nothing came. @internal */
    logSince(position: Uint8Array, maxBytes: number): { frames: Uint8Array; position: Uint8Array } | null {
        return this.run((instance) => {
            const at = placePosition(instance, position);
            const out = instance.space(8);
            instance.check(instance.exports.abi_log_since(this.#handle, at, maxBytes, out));
            instance.refresh();
            const [address = 0, size = 0] = instance.u32.subarray(out >>> 2, (out >>> 2) + 2);
            if (address === 0) return null;
            try {
                const frames = new Uint8Array(instance.u8.subarray(address, address + size));
                return { frames, position: instance.u8.slice(at, at + POSITION_BYTES) };
            } finally {
                instance.exports.abi_export_free(this.#handle, address, size);
            }
        });
    }

    /**
     * Applies frames that begin at this position. Iterators end where a table is dropped under them.
     * @returns the position after them
     * @internal
     */
    follow(position: Uint8Array, frames: Uint8Array): Uint8Array {
        const after = this.run((instance) => {
            const at = placePosition(instance, position);
            if (!((frames as unknown) instanceof Uint8Array)) throw invalid('frames are a Uint8Array');
            const bytes = instance.space(frames.length);
            instance.u8.set(frames, bytes);
            const take = (): number => instance.exports.abi_follow(this.#handle, at, bytes, frames.length);
            let status = take();
            if (status === STATUS_NUMBERS.BUSY && this.iterators.size > 0) {
                for (const iterator of [...this.iterators]) endIterator(iterator);
                status = take();
            }
            instance.check(status);
            return instance.u8.slice(at, at + POSITION_BYTES);
        });
        this.#readSchema();
        this.wrote();
        return after;
    }

    /** Tables may have been dropped, and columns added, by frames. */
    #readSchema(): void {
        const { exports } = this.instance;
        for (const [name, table] of this.#tables) {
            if (exports.abi_column_count(table.handle) === table.columns.size) continue;
            this.run(() => {
                if (exports.abi_column_count(table.handle) > 0) {
                    table.readColumns();
                    return;
                }
                table.release();
                table.dropped = true;
                table.columns.clear();
                this.#tables.delete(name);
            });
        }
    }

    /** Figures: sizes, counts, what waits. */
    stats(): DatabaseStats {
        this.check();
        const { instance } = this;
        const mark = instance.top;
        const out = instance.space(STATS * 8);
        const simd = instance.cText(instance.exports.abi_stats(this.#handle, out));
        const figures = Array.from(instance.f64.subarray(out >>> 3, (out >>> 3) + STATS));
        instance.leave(mark);
        const figure = (i: number): number => figures[i] as number;
        const { error } = this.#maintenance;
        return {
            sequence: figure(0),
            time: figure(0) === 0 ? null : new Date(figure(1)),
            tableCount: figure(2),
            memoryBudgetBytes: figure(3),
            memoryUsedBytes: figure(4),
            memoryPeakBytes: figure(5),
            columnBytes: figure(6),
            vectorBytes: figure(7),
            dictionaryBytes: figure(8),
            indexBytes: figure(9),
            historyBytes: figure(10),
            dataFileBytes: figure(11),
            logBytes: figure(12),
            logRawBytes: figure(13),
            generation: figure(14),
            cutBytes: figure(15),
            indexPending: figure(16),
            simd,
            wasmMemoryBytes: instance.memory.buffer.byteLength,
            maintenanceError: error === null ? null : error instanceof Error ? error.message : String(error),
        };
    }

    /** Number of the last change. @internal */
    lastSequence(): number {
        const { instance } = this;
        const out = instance.space(STATS * 8);
        instance.exports.abi_stats(this.#handle, out);
        return instance.f64[out >>> 3] as number;
    }

    /**
     * Calls back after each acknowledged change, in order, before the call that made it returns. The callback must not
     * call the database (BUSY). What it throws is thrown by that call; the change stays made.
     * @returns a function that ends it
     */
    watch(callback: (change: Change) => void): () => void {
        this.check();
        if (typeof callback !== 'function') throw invalid(`watch takes a function, not ${describe(callback)}`);
        const { instance } = this;
        const id = instance.watchers.add((at) => callback(readChange(instance, at, (table) => this.#nameOf(table))));
        const subscription = instance.exports.abi_watch(this.#handle, id);
        if (subscription === 0) {
            instance.watchers.remove(id);
            if (this.#busy) throw busy();
            throw new VeltaError('NO_MEMORY', 'there is no memory for another subscription');
        }
        const token = {};
        this.#watchers.set(token, { id, subscription });
        return () => {
            if (!this.#watchers.delete(token)) return;
            instance.watchers.remove(id);
            if (instance.poisoned === null) instance.exports.abi_unwatch(this.#handle, subscription);
        };
    }

    #nameOf(table: Address): string {
        const known = this.#names.get(table);
        if (known !== undefined) return known;
        const name = this.instance.cText(this.instance.exports.abi_table_name(table));
        if (name !== '') this.#names.set(table, name);
        return name;
    }

    // ---- the end

    /**
     * Makes everything durable and lets go of storage and memory. Tables, queries and iterators of it are closed with
     * it. More than once gives the same promise.
     * @throws {VeltaError} BUSY from within a callback; IO, FULL: the database is closed nevertheless
     */
    close(): Promise<void> {
        if (this.#busy && this.#handle !== 0) return Promise.reject(busy());
        this.#closing ??= this.#close();
        return this.#closing;
    }

    async #close(): Promise<void> {
        let failure: { readonly error: unknown } | null = null;
        try {
            this.#end();
        } catch (error) {
            failure = { error };
        }
        await this.#driver?.closed;
        if (failure !== null) throw failure.error;
    }

    /** The engine's part of closing, which is synchronous. */
    #end(): void {
        const { instance } = this;
        if (this.#handle === 0) return;
        this.#maintenance.stop();
        for (const end of [...this.endings]) end();
        if (instance.poisoned !== null) {
            this.#handle = 0;
            this.#driver?.close();
            return;
        }
        const mark = this.enter();
        const handle = this.#handle;
        this.#handle = 0;
        try {
            for (const iterator of [...this.iterators]) endIterator(iterator);
            for (const { id } of this.#watchers.values()) instance.watchers.remove(id);
            this.#watchers.clear();
            for (const table of this.#tables.values()) table.release();
            instance.check(instance.exports.abi_close(handle));
        } catch (error) {
            throw instance.caught(error);
        } finally {
            this.leave(mark);
            if (this.#clockId !== 0) instance.clocks.remove(this.#clockId);
        }
    }

    /** Closes without waiting; failures of storage are lost: `close` tells them. */
    [dispose](): void {
        this.close().catch(() => undefined);
    }

    [asyncDispose](): Promise<void> {
        return this.close();
    }
}

const MEMORY_OPTIONS = ['memoryBudget', 'chainInterval', 'now', 'autoIndex'];
const GIB = 2 ** 30;

/** Options of the engine from those of JavaScript, checked. @internal */
export interface EngineOptions {
    readonly flags: number;
    readonly budget: number;
    readonly chainInterval: number;
    readonly clock: number;
}

function positive(name: string, value: number | undefined, otherwise: number, most: number): number {
    if (value === undefined) return otherwise;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > most) {
        throw invalid(`${name} must be a whole number from 1 to ${most}, not ${describe(value)}`);
    }
    return value;
}

/**
 * Checks options and registers the clock, whose id the caller gives to the Database or back.
 * @internal
 */
export function engineOptions(
    instance: Instance,
    options: MemoryOptions & {
        readonly durability?: 'strict' | 'relaxed';
        readonly readOnly?: boolean;
        readonly mustExist?: boolean;
        readonly isFollowed?: boolean;
    },
): EngineOptions {
    const budget = positive('memoryBudget', options.memoryBudget, defaultBudget(instance), instance.maxMemory);
    const chainInterval = positive('chainInterval', options.chainInterval, 100, 0xffffffff);
    const { now, autoIndex } = options;
    if (now !== undefined && typeof now !== 'function') throw invalid(`now must be a function, not ${describe(now)}`);
    if (autoIndex !== undefined && typeof autoIndex !== 'boolean') {
        throw invalid(`autoIndex must be true or false, not ${describe(autoIndex)}`);
    }
    let flags = options.durability === 'relaxed' ? OPEN_RELAXED : 0;
    if (options.readOnly === true) flags |= OPEN_READ_ONLY;
    if (options.mustExist === true) flags |= OPEN_MUST_EXIST;
    if (options.isFollowed === true) flags |= OPEN_LOG_TAIL;
    return { flags, budget, chainInterval, clock: now === undefined ? 0 : instance.clocks.add(now) };
}

function defaultBudget(instance: Instance): number {
    return Math.floor(Math.min(1.5 * GIB, (instance.maxMemory * 3) / 4));
}

function inMemory(
    options: MemoryOptions,
    open: (instance: Instance, engine: EngineOptions, out: Address) => number,
): Database {
    const instance = currentInstance();
    const engine = engineOptions(instance, options);
    const mark = instance.top;
    try {
        const out = instance.space(8);
        instance.check(open(instance, engine, out));
        const handle = instance.u32[out >>> 2] as number;
        return new Database(instance, handle, { name: '', storage: 'memory', options, clock: engine.clock });
    } catch (error) {
        if (engine.clock !== 0) instance.clocks.remove(engine.clock);
        throw instance.caught(error);
    } finally {
        instance.leave(mark);
    }
}

/**
 * A new database in memory: gone when it is closed, unless exported.
 * @throws {VeltaError} NOT_READY before `init()`, INVALID, NO_MEMORY
 */
export function createDatabase(options: MemoryOptions = {}): Database {
    checkOptions('createDatabase', options, MEMORY_OPTIONS);
    return inMemory(options, (instance, { flags, budget, chainInterval, clock }, out) =>
        instance.exports.abi_open(0, flags, budget, 0, chainInterval, instance.threads, clock, 0, out),
    );
}

/**
 * A database in memory from the bytes of an export, which are not kept.
 * @throws {VeltaError} NOT_READY before `init()`, CORRUPT with the offset, VERSION, NO_MEMORY
 */
export function importDatabase(bytes: Uint8Array | ArrayBuffer, options: MemoryOptions = {}): Database {
    checkOptions('importDatabase', options, MEMORY_OPTIONS);
    const array = bytes instanceof ArrayBuffer ? bytesOfBuffer('an export', bytes) : bytes;
    if (!(array instanceof Uint8Array)) throw invalid(`an export is a Uint8Array, not ${describe(bytes)}`);
    if (array.length === 0 && isDetached(array)) throw invalid('the ArrayBuffer of the export is detached');
    if (array.length > EXPORT_MOST * 2) throw new VeltaError('NO_MEMORY', `${array.length} bytes are too many`);
    return inMemory(options, (instance, { flags, budget, chainInterval, clock }, out) => {
        const at = instance.space(array.length);
        instance.u8.set(array, at);
        const { length } = array;
        const { threads } = instance;
        return instance.exports.abi_import(at, length, flags, budget, chainInterval, threads, clock, 0, out);
    });
}

/** A row number that stands for none, as in {@link SearchArrays}. */
export const NO_ROW_FOUND = NO_ROW;
