/**
 * A table: typed rows, written in batches, read by key, by row number, by filter or by nearness.
 *
 * A Table is a name for what the engine keeps; it holds the columns' names as C strings and a few compiled filters,
 * nothing of the data. Every method enters its database, uses argument space, and leaves, also when it throws.
 */
import { NO_ROW, type Address } from './abi.js';
import type { Database } from './database.js';
import { type ChainItem, type DeltaOperation, type TableDelta, readChain } from './delta.js';
import { VeltaError, checkOptions, describe, invalid } from './errors.js';
import { type Filter, filterText } from './filter.js';
import { COLUMN_SIZE } from './generated/layout.js';
import { STATUS_NUMBERS } from './generated/status.js';
import { type Instance, type Progress, utf8Bytes } from './instance.js';
import { type RangeOptions, RowIterator } from './iterator.js';
import { type LiveSearchCallback, type LiveSearchOptions, startLiveSearch } from './live_search.js';
import { Query } from './query.js';
import type { SearchResult } from './result.js';
import { findRow, writeKeys } from './row_keys.js';
import {
    type ColumnDefinition,
    type ColumnName,
    type ColumnOfType,
    type FullColumn,
    type InsertOf,
    type KeyOf,
    type RowOf,
    type Schema,
    TYPE_NAMES,
    fullColumn,
    readColumn,
    writeColumn,
} from './schema.js';
import { type SearchArrays, type SearchOptions, searchArrays, searchHits } from './search.js';
import { type AppliedRecords, type ApplyRecordsOptions, applyRecords, readPosition } from './stream/apply_records.js';
import { applyDelta, applyDeltas, copyVector, useVector } from './table_vectors.js';
import {
    type Batch,
    type ColumnArray,
    type ColumnBatch,
    type ColumnInfo,
    arrayOfReader,
    batchOfColumns,
    batchOfRows,
    columnList,
    millisecondsOf,
    readers,
    rowOfReaders,
    unknownColumn,
} from './values.js';
import type { Change } from './watch.js';

const CACHED_FILTERS = 16;
const NEVER_MS = 9_223_372_036_854_775_807n;
/** The same, as the engine gives it. */
const NEVER = Number(NEVER_MS);

/** What a write did. */
export interface WriteStats {
    /** Row number of the first inserted row (the others follow it), or null if none was. */
    readonly firstRow: number | null;
    readonly inserted: number;
    readonly updated: number;
    /** Number of the last change. */
    readonly sequence: number;
}

/** Options of reading rows. */
export interface ReadOptions<S extends Schema, C extends ColumnName<S> = ColumnName<S>> {
    /** The state at that time, to the millisecond; default now. */
    readonly at?: Date | number;
    /** The columns wanted; default all, vectors included. */
    readonly columns?: readonly C[];
}

/** The state asked for, as the engine takes it. @throws {VeltaError} INVALID @internal */
export function timeOf(at: Date | number | undefined, what = 'at'): number {
    if (at === undefined) return 0;
    const time = millisecondsOf(at);
    if (Number.isNaN(time))
        throw invalid(`${what} must be a Date or whole milliseconds since 1970, not ${describe(at)}`);
    if (time === 0) throw invalid(`${what} cannot be 1970-01-01T00:00:00.000Z, which stands for now`);
    return time;
}

/** A table of a database. Made by `Database.table`. */
export class Table<S extends Schema = Schema> {
    readonly name: string;
    readonly database: Database;
    /** @internal */
    readonly handle: Address;
    /** @internal */
    readonly columns = new Map<string, ColumnInfo>();
    /** @internal */
    keyInfo: ColumnInfo | null = null;
    /** Whether `dropTable` was called for it. @internal */
    dropped = false;
    #onlyVector: ColumnInfo | null = null;
    readonly #instance: Instance;
    readonly #filters = new Map<string, Address>();
    #schema: Readonly<Record<string, FullColumn>> | null = null;

    /** @internal */
    constructor(database: Database, name: string, handle: Address) {
        this.database = database;
        this.name = name;
        this.handle = handle;
        this.#instance = database.instance;
        this.readColumns();
    }

    // ---- what it is

    /** The columns as the table has them, in order, every option filled in. */
    get schema(): Readonly<Record<string, FullColumn>> {
        this.#schema ??= Object.freeze(
            Object.fromEntries(Array.from(this.columns.values(), ({ name, full }) => [name, full])),
        );
        return this.#schema;
    }

    /** The primary key's column; null if rows are named by their number. */
    get keyColumn(): string | null {
        return this.keyInfo?.name ?? null;
    }

    /** Rows ever inserted since the last compaction, deleted ones included: row numbers lie below it. */
    get rowCount(): number {
        this.open();
        return this.#instance.exports.abi_row_count(this.handle) >>> 0;
    }

    /** Rows that are not deleted; expired ones count until `expire` deletes them. */
    get liveCount(): number {
        this.open();
        return this.#instance.exports.abi_live_count(this.handle) >>> 0;
    }

    /** {@link Table.liveCount} in the middle of a call. @internal */
    get liveCountInside(): number {
        return this.#instance.exports.abi_live_count(this.handle) >>> 0;
    }

    /** @throws {VeltaError} CLOSED, NOT_FOUND after dropTable @internal */
    open(): void {
        this.database.check();
        if (this.dropped) throw new VeltaError('NOT_FOUND', `table '${this.name}' was dropped`);
    }

    /** Enters the database for a call: gives the mark to leave with. @internal */
    enter(): number {
        if (this.dropped) this.open();
        return this.database.enter();
    }

    /** @internal */
    readColumns(): void {
        const instance = this.#instance;
        const count = instance.exports.abi_column_count(this.handle);
        for (let i = this.columns.size; i < count; i++) {
            const { name, column } = readColumn(instance, instance.exports.abi_column_at(this.handle, i) >>> 0);
            const bytes = utf8Bytes(name, 'a column name');
            const address = instance.allocate(bytes + 1);
            instance.encode(name, address, bytes);
            instance.u8[address + bytes] = 0;
            const info: ColumnInfo = {
                name,
                address,
                type: column.type,
                dimensions: column.type === 'vector' ? column.dimensions : 0,
                full: column,
                inPlace: column.type === 'vector' && column.element === 'f32',
                inherited: name in Object.prototype,
            };
            this.columns.set(name, info);
            if (column.type !== 'vector' && column.key) this.keyInfo = info;
        }
        const vectors = [...this.columns.values()].filter(({ type }) => type === 'vector');
        this.#onlyVector = vectors.length === 1 ? (vectors[0] as ColumnInfo) : null;
        this.#schema = null;
    }

    /** Frees what the engine's side holds for it; before the database closes. @internal */
    release(): void {
        for (const filter of this.#filters.values()) this.#instance.exports.abi_filter_free(filter);
        this.#filters.clear();
        for (const { address, name } of this.columns.values()) {
            this.#instance.release(address, utf8Bytes(name, 'a column name') + 1);
        }
    }

    /**
     * Adds a column; rows that are there have NULL in it.
     * @throws {VeltaError} EXISTS, INVALID, NOT_NULL for a required column when there are rows
     */
    addColumn(name: string, definition: ColumnDefinition): void {
        this.open();
        const full = fullColumn(name, definition);
        this.database.run((instance) => {
            const at = instance.space(COLUMN_SIZE);
            writeColumn(instance, at, name, full);
            instance.check(instance.exports.abi_column_add(this.handle, at));
            this.readColumns();
        });
        this.database.wrote();
    }

    /** A column by name. @throws {VeltaError} UNKNOWN_COLUMN @internal */
    column(name: string): ColumnInfo {
        const column = this.columns.get(name);
        if (column === undefined && this.dropped) this.open();
        if (column === undefined) throw unknownColumn(this.columns, name, `table '${this.name}'`);
        return column;
    }

    /** The vector column asked for; without a name the only one. @throws {VeltaError} @internal */
    vectorColumn(name: string | undefined): ColumnInfo {
        const only = this.#onlyVector;
        if (only !== null && (name === undefined || name === only.name) && !this.dropped) return only;
        if (name === undefined) {
            const names = [...this.columns.values()].filter(({ type }) => type === 'vector').map((c) => c.name);
            throw invalid(
                names.length === 0
                    ? `table '${this.name}' has no vector column`
                    : `table '${this.name}' has several vector columns: say which by the option column ` +
                          `(${names.join(', ')})`,
            );
        }
        const column = this.column(name);
        if (column.type !== 'vector') {
            throw new VeltaError('TYPE', `column '${name}' is ${column.type}, not a vector`);
        }
        return column;
    }

    /** Columns by name; all without a list. @internal */
    columnsOf(names: readonly string[] | undefined): ColumnInfo[] {
        if (names === undefined) return [...this.columns.values()];
        if (!Array.isArray(names)) throw invalid(`columns must be an array of names, not ${describe(names)}`);
        // Array.from also sees the holes of a sparse array.
        return Array.from(names as string[], (name) => this.column(name));
    }

    // ---- writing

    /**
     * Adds rows, all or none. Columns that are missing are NULL.
     * @throws {VeltaError} EXISTS (a key lives, or comes twice), TYPE, NOT_NULL, DIMENSIONS, NOT_FINITE,
     *     UNKNOWN_COLUMN, OVER_BUDGET, READ_ONLY; offset is the row's index in the call
     */
    insert(rows: InsertOf<S> | readonly InsertOf<S>[], options?: { readonly onProgress?: Progress }): WriteStats {
        return this.#writeRows(rows, 0, options);
    }

    /**
     * Adds rows, or sets the given columns of the row that has the key. All or none. All rows of one call have the same
     * columns.
     * @throws {VeltaError} as {@link Table.insert}, and INVALID where the table has no key
     */
    upsert(rows: InsertOf<S> | readonly InsertOf<S>[], options?: { readonly onProgress?: Progress }): WriteStats {
        return this.#writeRows(rows, 1, options);
    }

    /**
     * Adds rows given column by column: the fast way. Typed arrays of the engine's form are copied whole.
     * @param rowCount - needed only where no column says it
     * @throws {VeltaError} as {@link Table.insert}
     */
    insertColumns(columns: ColumnBatch, rowCount?: number): WriteStats {
        return this.#write(0, undefined, (instance) => batchOfColumns(instance, this.columns, columns, rowCount));
    }

    /** Like {@link Table.upsert}, column by column. */
    upsertColumns(columns: ColumnBatch, rowCount?: number): WriteStats {
        return this.#write(1, undefined, (instance) => batchOfColumns(instance, this.columns, columns, rowCount));
    }

    #writeRows(rows: unknown, upsert: number, options: { readonly onProgress?: Progress } | undefined): WriteStats {
        checkOptions(upsert === 1 ? 'upsert' : 'insert', options, ['onProgress']);
        const list: readonly unknown[] = Array.isArray(rows) ? rows : [rows];
        return this.#write(upsert, options?.onProgress, (instance) =>
            batchOfRows(instance, this.columns, list, upsert === 1),
        );
    }

    #write(upsert: number, progress: Progress | undefined, make: (instance: Instance) => Batch): WriteStats {
        this.open();
        const stats = this.database.run((instance) => {
            const batch = make(instance);
            const out = instance.space(32);
            if (batch.rows === 0) {
                return { firstRow: null, inserted: 0, updated: 0, sequence: this.database.lastSequence() };
            }
            const { handle } = this;
            const { values, count, rows } = batch;
            instance.withProgress(progress, (id) => {
                instance.check(instance.exports.abi_insert(handle, values, count, rows, upsert, id, out));
            });
            const { f64 } = instance;
            const first = f64[out >>> 3] as number;
            return {
                firstRow: first === NO_ROW ? null : first,
                inserted: f64[(out >>> 3) + 1] as number,
                updated: f64[(out >>> 3) + 2] as number,
                sequence: f64[(out >>> 3) + 3] as number,
            };
        });
        this.database.wrote();
        return stats;
    }

    /**
     * Sets columns of the row with a key. `undefined` leaves a column as it is, `null` makes it NULL.
     * @returns the number of the change
     * @throws {VeltaError} NOT_FOUND, and as {@link Table.insert}
     */
    update(key: KeyOf<S>, values: Partial<InsertOf<S>>): number {
        return this.#update([key], (instance) => batchOfRows(instance, this.columns, [values], false));
    }

    /**
     * Sets columns of many rows, all or none: value i of each column is for key i.
     * @returns the number of the change
     * @throws {VeltaError} NOT_FOUND with the key's index as offset, and as {@link Table.insert}
     */
    updateMany(keys: readonly KeyOf<S>[], columns: ColumnBatch): number {
        if (!Array.isArray(keys)) throw invalid(`updateMany: keys must be an array, not ${describe(keys)}`);
        return this.#update(keys, (instance) => batchOfColumns(instance, this.columns, columns, keys.length));
    }

    #update(keys: readonly unknown[], make: (instance: Instance) => Batch): number {
        this.open();
        const sequence = this.database.run((instance) => {
            const batch = make(instance);
            if (batch.count === 0 || keys.length === 0) return this.database.lastSequence();
            const list = writeKeys(this.#instance, this, keys);
            const out = instance.space(8);
            const { values, count } = batch;
            instance.check(instance.exports.abi_update(this.handle, list, keys.length, values, count, out));
            return instance.f64[out >>> 3] as number;
        });
        this.database.wrote();
        return sequence;
    }

    /**
     * Deletes the row with a key, or those with several; keys that are not there are passed over.
     * @returns how many rows were deleted
     */
    delete(keys: KeyOf<S> | readonly KeyOf<S>[]): number {
        const list: readonly unknown[] = Array.isArray(keys) ? keys : [keys];
        this.open();
        const count = this.database.run((instance) =>
            this.deleteBy(instance, writeKeys(instance, this, list), list.length),
        );
        this.database.wrote();
        return count;
    }

    /** @internal */
    deleteBy(instance: Instance, keys: Address, count: number): number {
        if (count === 0) return 0;
        const out = instance.space(8);
        instance.check(instance.exports.abi_delete(this.handle, keys, count, out));
        return instance.u32[out >>> 2] as number;
    }

    /**
     * Lets the row with a key expire so many seconds from now; null: never.
     * @throws {VeltaError} NOT_FOUND, INVALID
     */
    setTtl(key: KeyOf<S>, seconds: number | null): void {
        if (seconds !== null && !(typeof seconds === 'number' && seconds >= 0 && seconds <= 8.64e12)) {
            throw invalid(`a time to live is a number of seconds or null, not ${describe(seconds)}`);
        }
        this.expireAt([key], [seconds === null ? null : this.database.now() + Math.round(seconds * 1000)]);
    }

    /**
     * Sets when rows expire: from then on they are invisible, and {@link Table.expire} deletes them.
     * @param times - one for each key; null: never
     * @throws {VeltaError} NOT_FOUND with the key's index as offset
     */
    expireAt(keys: readonly KeyOf<S>[], times: readonly (Date | number | null)[]): void {
        if (!Array.isArray(keys) || !Array.isArray(times) || keys.length !== times.length) {
            throw invalid('expireAt takes an array of keys and an array of as many times');
        }
        this.open();
        if (keys.length === 0) return;
        this.database.run((instance) => {
            const list = writeKeys(this.#instance, this, keys);
            const at = instance.space(keys.length * 8);
            // Array.from also sees the holes of a sparse array.
            Array.from(times as (Date | number | null)[]).forEach((time, i) => {
                const ms = time === null ? 0 : millisecondsOf(time);
                if (Number.isNaN(ms))
                    throw invalid(`time ${i} must be a Date or milliseconds, not ${describe(time)}`, i);
                instance.i64[(at >>> 3) + i] = time === null ? NEVER_MS : BigInt(ms);
            });
            instance.check(instance.exports.abi_expire_at(this.handle, list, keys.length, at));
        });
        this.database.wrote();
    }

    /**
     * Deletes the rows whose time has come.
     * @param now - as if it were then; default the clock's time
     * @returns how many
     */
    expire(now?: Date | number): number {
        const time = timeOf(now, 'now');
        this.open();
        const count = this.database.run((instance) => {
            const out = instance.space(8);
            instance.check(instance.exports.abi_expire(this.handle, time, out));
            return instance.u32[out >>> 2] as number;
        });
        this.database.wrote();
        return count;
    }

    // ---- keys

    /** Whether a row with this key lives. */
    has(key: KeyOf<S>): boolean {
        return this.rowOf(key) !== null;
    }

    /** The number of the row with a key, or null if none lives (at that time). */
    rowOf(key: KeyOf<S>, at?: Date | number): number | null {
        const time = timeOf(at);
        const mark = this.enter();
        try {
            const row = findRow(this.#instance, this, key, time);
            return row === NO_ROW ? null : row;
        } catch (error) {
            throw this.#instance.caught(error);
        } finally {
            this.database.leave(mark);
        }
    }

    // ---- reading

    /** The row with a key, or null if none lives (at that time). */
    get<const C extends ColumnName<S> = ColumnName<S>>(
        key: KeyOf<S>,
        options: ReadOptions<S, C> = {},
    ): Pick<RowOf<S>, C> | null {
        checkOptions('get', options, ['at', 'columns']);
        const at = timeOf(options.at);
        const columns = this.columnsOf(options.columns);
        this.open();
        return this.database.run((instance) => {
            const row = findRow(this.#instance, this, key, at);
            if (row === NO_ROW) return null;
            const rows = instance.space(8);
            instance.u32[rows >>> 2] = row;
            return (this.read(instance, [rows, 1], columns, at, STATUS_NUMBERS.NOT_FOUND)?.[0] ?? null) as Pick<
                RowOf<S>,
                C
            > | null;
        });
    }

    /** The rows with these keys, in their order; null where none lives (at that time). */
    getMany<const C extends ColumnName<S> = ColumnName<S>>(
        keys: readonly KeyOf<S>[],
        options: ReadOptions<S, C> = {},
    ): (Pick<RowOf<S>, C> | null)[] {
        checkOptions('getMany', options, ['at', 'columns']);
        const at = timeOf(options.at);
        const columns = this.columnsOf(options.columns);
        this.open();
        return this.database.run((instance) => {
            const rows = this.findMany(instance, keys, at);
            const { u32 } = instance;
            const places: number[] = [];
            for (let i = 0; i < keys.length; i++) {
                const row = u32[(rows >>> 2) + i] as number;
                if (row === NO_ROW) continue;
                u32[(rows >>> 2) + places.length] = row;
                places.push(i);
            }
            const found = new Array<Pick<RowOf<S>, C> | null>(keys.length).fill(null);
            const read = this.read(instance, [rows, places.length], columns, at) ?? [];
            places.forEach((place, i) => (found[place] = read[i] as Pick<RowOf<S>, C>));
            return found;
        });
    }

    /** @internal */
    findMany(instance: Instance, keys: readonly unknown[], at: number): Address {
        const list = writeKeys(this.#instance, this, keys);
        const rows = instance.space(keys.length * 4);
        if (keys.length > 0) instance.check(instance.exports.abi_find(this.handle, list, keys.length, at, rows));
        return rows;
    }

    /**
     * Rows by their numbers, in the order given.
     * @throws {VeltaError} NOT_FOUND where one does not live (at that time); offset is its index
     */
    getRows<const C extends ColumnName<S> = ColumnName<S>>(
        rows: Uint32Array,
        options: ReadOptions<S, C> = {},
    ): Pick<RowOf<S>, C>[] {
        checkOptions('getRows', options, ['at', 'columns']);
        const at = timeOf(options.at);
        const columns = this.columnsOf(options.columns);
        this.open();
        return this.database.run((instance) => {
            const list = rowList(instance, rows);
            return this.read(instance, [list, rows.length], columns, at) as Pick<RowOf<S>, C>[];
        });
    }

    /**
     * Columns of rows, column by column. `int`: BigInt64Array (NULL is {@link NULL_INT}); `timestamp`: Float64Array of
     * milliseconds (NaN); `float`: Float64Array (NaN); `bool`: Uint8Array of 0 and 1 (255); `string`, `bytes`: arrays
     * (null); `vector`: one Float32Array, rows × dimensions (NaN).
     * @throws {VeltaError} NOT_FOUND where a row does not live; offset is its index
     */
    getColumns<const C extends ColumnName<S> = ColumnName<S>>(
        rows: Uint32Array,
        columns?: readonly C[],
        options: { readonly at?: Date | number } = {},
    ): Record<C, ColumnArray> {
        checkOptions('getColumns', options, ['at']);
        const at = timeOf(options.at);
        const list = this.columnsOf(columns);
        this.open();
        return this.database.run((instance) => {
            const place = rowList(instance, rows);
            return this.result(
                instance,
                (out) => this.fetch([place, rows.length], list, at, out),
                (result) => {
                    const found = readers(instance, result, list, TYPE_NAMES);
                    return Object.fromEntries(
                        found.map((reader, i) => [
                            reader.name,
                            arrayOfReader(reader, rows.length, (list[i] as ColumnInfo).dimensions),
                        ]),
                    ) as Record<C, ColumnArray>;
                },
            ) as Record<C, ColumnArray>;
        });
    }

    /** Asks for columns of rows. @internal */
    fetch(rows: readonly [Address, number], columns: readonly ColumnInfo[], at: number, out: Address): number {
        const instance = this.#instance;
        const list = columnList(instance, columns);
        return instance.exports.abi_get(this.handle, rows[0], rows[1], list, columns.length, at, out);
    }

    /** Rows of a fetch as objects; null where it failed with the status that is allowed to. @internal */
    read(
        instance: Instance,
        rows: readonly [Address, number],
        columns: readonly ColumnInfo[],
        at: number,
        allowed = -1,
    ): Record<string, unknown>[] | null {
        if (rows[1] === 0) return [];
        if (columns.length === 0) return Array.from({ length: rows[1] }, () => ({}));
        return this.result(
            instance,
            (out) => this.fetch(rows, columns, at, out),
            (result) => this.rowsOf(instance, result, columns, rows[1]),
            allowed,
        );
    }

    /** All rows of a result. @internal */
    rowsOf(
        instance: Instance,
        result: Address,
        columns: readonly ColumnInfo[],
        count: number,
    ): Record<string, unknown>[] {
        const found = readers(instance, result, columns, TYPE_NAMES);
        const rows = new Array<Record<string, unknown>>(count);
        for (let i = 0; i < count; i++) rows[i] = rowOfReaders(found, i);
        return rows;
    }

    /**
     * Makes a result, uses it, frees it. `make` writes the handle to the address it gets.
     * @param allowed - a status for which null is given instead of an error
     * @internal
     */
    result<T>(instance: Instance, make: (out: Address) => number, use: (result: Address) => T, allowed = -1): T | null {
        const out = instance.space(8);
        const status = make(out);
        instance.refresh();
        if (status === allowed) return null;
        if (status !== 0) throw instance.failure(status);
        const result = instance.u32[out >>> 2] as number;
        try {
            instance.rethrow();
            return use(result);
        } finally {
            instance.exports.abi_result_free(result);
        }
    }

    /**
     * A copy of the vector of the row with a key; null if the row does not live or its vector is NULL.
     * @param options - `column`: needed where there are several vector columns; `at`: the state at that time; `into`:
     *     an array that gets the elements and is given back, which is faster than a new one
     * @throws {VeltaError} HISTORY_GONE, DIMENSIONS
     */
    vector(
        key: KeyOf<S>,
        options?: {
            readonly column?: ColumnOfType<S, 'vector'>;
            readonly at?: Date | number;
            readonly into?: Float32Array;
        },
    ): Float32Array | null {
        if (options !== undefined) checkOptions('vector', options, ['column', 'at', 'into']);
        return copyVector(this, key, options?.column, options === undefined ? 0 : timeOf(options.at), options?.into);
    }

    /**
     * Calls `use` with the vector in place, without copying where it is kept as f32: the view must neither be written
     * to nor kept. The database refuses calls (BUSY) until `use` has returned.
     * @returns what `use` gives; null if the row does not live or its vector is NULL
     */
    withVector<T>(key: KeyOf<S>, use: (view: Float32Array) => T, column?: ColumnOfType<S, 'vector'>): T | null {
        return useVector(this, key, use, column);
    }

    // ---- deltas

    /**
     * Applies one delta to a vector.
     * @returns the delta's id, which is its sequence number
     * @throws {VeltaError} EXISTS (create), NOT_FOUND (the others), DIMENSIONS, NOT_FINITE, INVALID
     */
    apply(
        key: KeyOf<S>,
        operation: DeltaOperation,
        options?: {
            readonly column?: ColumnOfType<S, 'vector'>;
            readonly metadata?: Readonly<Record<string, unknown>>;
            readonly timestamp?: Date | number;
        },
    ): number {
        return applyDelta(this, key, operation, options?.column, options?.metadata, options?.timestamp);
    }

    /**
     * Applies deltas to vectors of one column in order, all or none.
     * @returns their ids, which are their sequence numbers
     * @throws {VeltaError} as {@link Table.apply}; offset is the index of the offending one
     */
    applyAll(
        deltas: readonly TableDelta<KeyOf<S>>[],
        options?: { readonly column?: ColumnOfType<S, 'vector'> },
    ): number[] {
        checkOptions('applyAll', options, ['column']);
        if (!Array.isArray(deltas)) throw invalid(`deltas must be an array, not ${describe(deltas)}`);
        this.open();
        if (deltas.length === 0) return [];
        return applyDeltas(this, deltas, options?.column, false);
    }

    /**
     * Applies deltas in their binary form (docs/FORMAT.md, section 8), as `encodeRecords` makes it, without objects in
     * between. The records of a batch are applied all or none; those of the batches before a refused one stay.
     * @throws {VeltaError} `CORRUPT` for a damaged record, `offset` being the byte where it begins; else as
     *     {@link Table.apply}, `offset` being the number of records before the refused one
     */
    applyRecords(records: Uint8Array, options?: ApplyRecordsOptions): AppliedRecords {
        const target = { table: this as unknown as Table, tables: this.database.streamTables(), wantsIds: false };
        return applyRecords(target, records, options);
    }

    /** The sequence number of the last record that was applied of a stream of this database; 0: none was. */
    streamPosition(stream: string): number {
        return readPosition(this.database.streamTables(), stream);
    }

    /**
     * The deltas kept of one vector, oldest first; the first is its base (`create`).
     * @throws {VeltaError} NOT_FOUND
     */
    chain(key: KeyOf<S>, column?: ColumnOfType<S, 'vector'>): ChainItem[] {
        this.open();
        return this.database.run((instance) => {
            const info = this.vectorColumn(column);
            const row = findRow(this.#instance, this, key, 0);
            if (row === NO_ROW) {
                throw new VeltaError('NOT_FOUND', `table '${this.name}' has no row with ${describe(key)} as key`);
            }
            const make = (out: Address): number => instance.exports.abi_get_chain(this.handle, info.address, row, out);
            return this.result(instance, make, (result) => {
                const count = instance.space(8);
                const first = instance.exports.abi_result_chain(result, count) >>> 0;
                return readChain(instance, first, instance.u32[count >>> 2] as number);
            }) as ChainItem[];
        });
    }

    // ---- searching

    /**
     * The nearest rows to a query vector.
     * @throws {VeltaError} INVALID, DIMENSIONS, NOT_FINITE, LIMIT, HISTORY_GONE; of `where` SYNTAX,
     *     UNKNOWN_COLUMN, TYPE with the position in the text
     */
    search<const C extends ColumnName<S> = never>(
        query: Float32Array | readonly number[],
        options: SearchOptions<S, C> = {},
    ): SearchResult<S, C> {
        return searchHits<S, C>(this, query, false, options)[0] as SearchResult<S, C>;
    }

    /**
     * The nearest rows to each of several query vectors, which lie one after the other.
     * @param queries - queries × dimensions
     */
    searchMany<const C extends ColumnName<S> = never>(
        queries: Float32Array,
        options: SearchOptions<S, C> = {},
    ): SearchResult<S, C>[] {
        return searchHits<S, C>(this, queries, true, options);
    }

    /**
     * Row numbers and distances alone: the fastest form. k slots for each query, query after query; slots past what was
     * found hold row 4294967295 and distance Infinity.
     * @param queries - queries × dimensions
     */
    searchArrays(queries: Float32Array, options: SearchOptions<S, never> = {}): SearchArrays {
        return searchArrays<S>(this, queries, options);
    }

    /** The rows that match a filter: a text of docs/FILTER.md, or one made by `eq` and its kin. */
    where(filter: string | Filter<ColumnName<S>>): Query<S> {
        return new Query<S>(this, filterText(filter));
    }

    /** All rows. */
    all(): Query<S> {
        return new Query<S>(this, '');
    }

    /** A compiled filter; the last few are kept. Between enter and leave. @internal */
    compiled(text: string): Address {
        const known = this.#filters.get(text);
        if (known !== undefined) {
            this.#filters.delete(text);
            this.#filters.set(text, known);
            return known;
        }
        const instance = this.#instance;
        const place = instance.cString(text, 'the filter');
        const out = instance.space(8);
        instance.check(instance.exports.abi_filter_compile(this.handle, place, out));
        const filter = instance.u32[out >>> 2] as number;
        if (this.#filters.size >= CACHED_FILTERS) {
            const [oldest] = this.#filters as unknown as Iterable<[string, Address]>;
            if (oldest !== undefined) {
                instance.exports.abi_filter_free(oldest[1]);
                this.#filters.delete(oldest[0]);
            }
        }
        this.#filters.set(text, filter);
        return filter;
    }

    /**
     * Rows 2 i and 2 i + 1 are the least and greatest values of block i of rows elsewhere; gives the blocks that may
     * hold a match (velta_filter_zones).
     * @param holds - for each block and column: 1 where it may have NULLs, 2 where it may have values
     * @internal
     */
    zones(text: string, holds: Uint8Array): Uint32Array {
        this.open();
        return this.database.run((instance) => {
            const filter = this.compiled(text);
            const capacity = this.rowCount >>> 1;
            const out = instance.space(8);
            const zones = instance.space(capacity * 4);
            const place = instance.space(holds.length);
            instance.u8.set(holds, place);
            instance.check(instance.exports.abi_filter_zones(filter, place, zones, capacity, out));
            const count = instance.f64[out >>> 3] as number;
            return instance.u32.slice(zones >>> 2, (zones >>> 2) + count);
        });
    }

    /**
     * The rows in the order of their keys (of their numbers, without a key), as they are now or were: what is written
     * while iterating is not seen. Compaction waits for it to be closed, which its end, `break` and `close` do.
     */
    iterate<const C extends ColumnName<S> = ColumnName<S>>(
        options: RangeOptions<S, C> = {},
    ): RowIterator<S, Pick<RowOf<S>, C>> {
        return new RowIterator<S, Pick<RowOf<S>, C>>(this, options);
    }

    /** When the first of these rows expires; Infinity: none will. @internal */
    nextExpiry(rows: Uint32Array): number {
        this.open();
        return this.database.run((instance) => {
            const next = instance.exports.abi_next_expiry(this.handle, rowList(instance, rows), rows.length);
            return next >= NEVER ? Infinity : next;
        });
    }

    /**
     * Calls back after each change of this table.
     * @returns a function that ends it
     */
    watch(callback: (change: Change) => void): () => void;
    /**
     * A live search: calls back with the nearest rows to a query vector, first with those of now, and again whenever
     * changes of the table, or the expiry of rows, have made them others: other rows, another order, other distances,
     * other values of selected columns. The callback runs when the calls that made the changes are done, once for all
     * of them, and may call the database. After `dropTable` it gets an empty answer, the last.
     * @returns a function that ends it; closing the database does, too
     * @throws {VeltaError} as {@link Table.search}
     */
    watch<const C extends ColumnName<S> = never>(
        query: Float32Array | readonly number[],
        options: LiveSearchOptions<S, C>,
        callback: LiveSearchCallback<S, C>,
    ): () => void;
    watch(first: unknown, options?: unknown, answered?: unknown): () => void {
        this.open();
        if (options !== undefined || answered !== undefined) {
            return startLiveSearch(this as unknown as Table<Schema>, first, options, answered);
        }
        const callback = first as (change: Change) => void;
        if (typeof callback !== 'function') throw invalid(`watch takes a function, not ${describe(callback)}`);
        return this.database.watch((change) => {
            if (change.table === this.name) callback(change);
        });
    }
}

function rowList(instance: Instance, rows: Uint32Array): Address {
    if (!(rows instanceof Uint32Array)) throw invalid(`rows must be a Uint32Array, not ${describe(rows)}`);
    const at = instance.space(rows.length * 4);
    instance.u32.set(rows, at >>> 2);
    return at;
}
