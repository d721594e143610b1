/*
 * ColumnStore: rows of typed columns, found by value.
 *
 * One table of a database under the names that column stores use. `new ColumnStore` and its siblings live in memory;
 * {@link ColumnStore.open} gives one whose every change is logged. A row's index is its place in order of insertion:
 * it stays until {@link ColumnStore.vacuum} or {@link ColumnStore.clear} numbers the rows anew.
 */
import { upsertRows, type FailedRow } from './batch_upsert.js';
import { createDatabase, importDatabase, type Database } from './database.js';
import { checkOptions, describe, invalid, quoted, VeltaError } from './errors.js';
import { type Filter, type FilterValue, between, eq, filterText, gt, inList, lt } from './filter.js';
import { asyncDispose, dispose } from './iterator.js';
import type { Query } from './query.js';
import { RowBitmap, type RowSource } from './row_bitmap.js';
import type { ColumnDefinition, ScalarColumn, ScalarType, Schema, VectorColumn } from './schema.js';
import { open, type OpenOptions } from './storage/open.js';
import type { Table } from './table.js';

/** A type by name: `int` is of 64 bits, `float` a double, `timestamp` milliseconds since 1970, `vector(n)` n floats. */
export type StoreColumnType = ScalarType | `vector(${number})`;

/** A column of a store: a name and a scalar type; or a name and a vector, as `vector(n)` or as `vector()` gives it. */
export type StoreColumn = { readonly name: string } & (
    | { readonly type: ScalarType; readonly required?: boolean }
    | ({ readonly type: `vector(${number})` } & Omit<VectorColumn, 'type' | 'dimensions'>)
    | VectorColumn
);

/** A value of a row: `int` may be a bigint, `timestamp` a Date or milliseconds, a vector an array of numbers. */
export type StoreValue =
    number | bigint | string | boolean | Date | Uint8Array | Float32Array | readonly number[] | null | undefined;

/** A row by column names. What is left out is NULL, or stays as it is where the row exists. */
export type StoreRow = Readonly<Record<string, StoreValue>>;

/** A row as it is read: an int beyond 2^53 is a bigint, a timestamp a Date, a vector a Float32Array, NULL null. */
export type StoredRow = Record<string, number | bigint | string | boolean | Date | Uint8Array | Float32Array | null>;

/** A primary key; of a store without one, the row's index. */
export type StoreKey = string | number | bigint;

/** What a filter compares with. */
export type StoreFilterValue = number | bigint | string | boolean | Date | Uint8Array;

/** Options of a store in memory. */
export interface ColumnStoreOptions {
    /** Bytes of memory the engine may use; see {@link OpenOptions.memoryBudget}. */
    readonly memoryBudget?: number;
    /** The clock, in milliseconds since 1970; rows expire by it. */
    readonly now?: () => number;
}

/** Options of {@link ColumnStore.open}. */
export interface ColumnStoreOpenOptions extends OpenOptions {
    /** The columns; those that the stored one lacks are added. Absent: what is stored, or none. */
    readonly schema?: readonly StoreColumn[];
    /** Which column is the primary key, an int or a string. */
    readonly primaryKey?: string;
}

/** What {@link ColumnStore.batchUpsert} did: `inserted + updated + failed.length` is the number of rows given. */
export interface BatchUpsertResult {
    readonly inserted: number;
    readonly updated: number;
    readonly failed: readonly FailedRow[];
}

/** What {@link ColumnStore.vacuum} did. */
export interface VacuumStats {
    readonly rowsRemoved: number;
    readonly bytesBefore: number;
    readonly bytesAfter: number;
}

/** Bytes of memory. */
export interface StoreMemory {
    /** All that the engine holds for this store. */
    readonly total: number;
    readonly columns: number;
    readonly vectors: number;
    /** Distinct strings, each kept once. */
    readonly strings: number;
    readonly indexes: number;
    /** Values of the past; {@link ColumnStore.vacuum} drops them. */
    readonly history: number;
}

const TABLE = 'rows';
const MEMORY_OPTIONS = ['memoryBudget', 'now'];
const VECTOR_TYPE = /^vector\(\s*([0-9]+)\s*\)$/;

function definitionOf(column: StoreColumn, isKey: boolean): ColumnDefinition {
    if (typeof column !== 'object' || column === null || typeof column.name !== 'string') {
        throw invalid(`a column is an object with a name and a type, not ${describe(column)}`);
    }
    const { name: _name, ...definition } = column;
    const match = VECTOR_TYPE.exec(String(definition.type));
    if (isKey && definition.type !== 'int' && definition.type !== 'string') {
        throw invalid(`the primary key is an int or a string, '${column.name}' is ${describe(definition.type)}`);
    }
    if (match !== null) {
        return { ...definition, type: 'vector', dimensions: Number(match[1]) };
    }
    return isKey ? { ...(definition as ScalarColumn), key: true, required: true } : (definition as ColumnDefinition);
}

function schemaOf(columns: readonly StoreColumn[], primaryKey?: string): Schema {
    if (!Array.isArray(columns)) throw invalid(`expected an array of columns, not ${describe(columns)}`);
    const schema = new Map<string, ColumnDefinition>(); // an object would lose a column '__proto__'
    for (const column of columns as readonly StoreColumn[]) {
        const definition = definitionOf(column, primaryKey !== undefined && column?.name === primaryKey);
        if (schema.has(column.name)) {
            throw new VeltaError('EXISTS', `column ${quoted(column.name)} is named twice`);
        }
        schema.set(column.name, definition);
    }
    if (primaryKey !== undefined && typeof primaryKey !== 'string') {
        throw invalid(`the primary key is a column's name, not ${describe(primaryKey)}`);
    }
    if (primaryKey !== undefined && !schema.has(primaryKey)) {
        throw new VeltaError('UNKNOWN_COLUMN', `the primary key ${quoted(primaryKey)} is not among the columns`);
    }
    return Object.fromEntries(schema);
}

/**
 * Rows of typed columns.
 *
 * Row indices come as `Uint32Array`; deleted and expired rows are never among them. An unknown column is
 * `UNKNOWN_COLUMN`, a value of another type than the column's `TYPE`.
 *
 * @example
 * ```ts
 * const store = ColumnStore.withPrimaryKey([{ name: 'id', type: 'int' }, { name: 'section', type: 'string' }], 'id');
 * store.insertRow({ id: 1, section: 'games' });
 * store.getRowsByIndices(store.filterEq('section', 'games')); // [{ id: 1, section: 'games' }]
 * ```
 */
export class ColumnStore {
    readonly #database: Database;
    #table: Table<Schema> | null;
    readonly #rows: RowSource;

    /**
     * A store in memory without columns; {@link addColumn} adds them, {@link ColumnStore.withSchema} begins with some.
     * @throws {VeltaError} `NOT_READY` before `init()`, `NO_MEMORY`.
     */
    constructor(options?: ColumnStoreOptions);
    /** Over a database that is open. @internal */
    constructor(options: ColumnStoreOptions, opened: Database);
    constructor(options: ColumnStoreOptions = {}, opened?: Database) {
        checkOptions('ColumnStore', options, MEMORY_OPTIONS);
        this.#database = opened ?? createDatabase(options);
        this.#table = this.#database.hasTable(TABLE) ? this.#database.table(TABLE) : null;
        const rowCount = (): number => this.rowCount;
        this.#rows = {
            get rowCount() {
                return rowCount();
            },
            check: (filter) => {
                const table = this.#where(filter) === null ? null : this.#table;
                table?.database.run(() => table.compiled(filter));
            },
            count: (filter) => this.count(filter),
            filter: (filter) => this.filter(filter),
        };
    }

    /**
     * A store in memory with these columns and no primary key: its rows are named by their indices.
     * @throws {VeltaError} `INVALID` for a type that is not known, `EXISTS` for a column named twice.
     */
    static withSchema(schema: readonly StoreColumn[], options: ColumnStoreOptions = {}): ColumnStore {
        return new ColumnStore(options).#beginNew(schema);
    }

    /**
     * A store in memory with these columns, one of which (int or string) is the primary key.
     * @throws {VeltaError} As {@link withSchema}; `UNKNOWN_COLUMN` when the key is not among the columns.
     */
    static withPrimaryKey(
        schema: readonly StoreColumn[],
        column: string,
        options: ColumnStoreOptions = {},
    ): ColumnStore {
        return new ColumnStore(options).#beginNew(schema, column);
    }

    /**
     * Opens or creates the stored store `name`: every change is logged as it happens.
     * @throws {VeltaError} What `open` throws; `INVALID` when a stored column differs from the schema.
     */
    static async open(name: string, options: ColumnStoreOpenOptions = {}): Promise<ColumnStore> {
        if ((options as unknown) === null) throw invalid('ColumnStore.open: options must be an object, not null');
        const { schema, primaryKey, ...rest } = options;
        const database = await open(name, rest);
        try {
            const store = new ColumnStore({}, database);
            return schema === undefined ? store : store.#begin(schema, primaryKey);
        } catch (error) {
            await database.close();
            throw error;
        }
    }

    /**
     * A store in memory from the bytes of {@link export}.
     * @throws {VeltaError} `CORRUPT`, `VERSION`.
     */
    static import(bytes: Uint8Array | ArrayBuffer, options: ColumnStoreOptions = {}): ColumnStore {
        checkOptions('ColumnStore.import', options, MEMORY_OPTIONS);
        return new ColumnStore({}, importDatabase(bytes, options));
    }

    /** The database behind it. */
    get database(): Database {
        return this.#database;
    }

    /** The table behind it, with searches, iterators and the rest; null while there are no columns. */
    get table(): Table<Schema> | null {
        return this.#table;
    }

    /** The columns' names, in their order. */
    get columnNames(): string[] {
        return this.#table === null ? [] : Object.keys(this.#table.schema);
    }

    /** The columns, in their order. */
    get schema(): StoreColumn[] {
        const columns = this.#table === null ? [] : Object.entries(this.#table.schema);
        return columns.map(([name, definition]) => ({ name, ...definition }));
    }

    /** The primary key's name; null without one. */
    get primaryKeyColumn(): string | null {
        return this.#table?.keyColumn ?? null;
    }

    /** All rows, deleted ones included: row indices are below it. */
    get rowCount(): number {
        return this.#table?.rowCount ?? 0;
    }

    /** Rows that are not deleted. Expired rows are among them until {@link expireRows}. */
    get activeRowCount(): number {
        return this.#table?.liveCount ?? 0;
    }

    /** Rows that are deleted and still take room: `rowCount - activeRowCount`. */
    get deletedRowCount(): number {
        return this.rowCount - this.activeRowCount;
    }

    /**
     * Adds a column, NULL in all rows.
     * @throws {VeltaError} `EXISTS`; `INVALID` for a type that is not known, or `required` where rows exist.
     */
    addColumn(column: StoreColumn): void {
        const definition = definitionOf(column, false);
        if (this.#table === null) {
            this.#table = this.#database.table(TABLE, { [column.name]: definition });
        } else {
            this.#table.addColumn(column.name, definition);
        }
    }

    /**
     * Adds a row and gives its index.
     * @throws {VeltaError} `EXISTS` for a key that is there, `TYPE`, `NOT_NULL`, `UNKNOWN_COLUMN`, `DIMENSIONS`.
     */
    insertRow(row: StoreRow): number {
        return this.insertRows([row]);
    }

    /**
     * Adds rows, all or none, and gives the first one's index; the others follow it.
     * @throws {VeltaError} As {@link insertRow}; `offset` is the row's place among those given.
     */
    insertRows(rows: readonly StoreRow[]): number {
        const table = this.#withColumns();
        if (!Array.isArray(rows)) throw invalid(`insertRows: expected an array of rows, not ${describe(rows)}`);
        return rows.length === 0 ? table.rowCount : (table.insert(rows as never).firstRow as number);
    }

    /**
     * Adds a row, or sets the named columns of the row that has its key.
     * @throws {VeltaError} `INVALID` without a primary key; else as {@link insertRow}.
     */
    upsertRow(row: StoreRow): 'inserted' | 'updated' {
        return this.#withColumns().upsert(row as never).inserted > 0 ? 'inserted' : 'updated';
    }

    /**
     * Upserts rows in order. A row that fails stops none of the others; it is named with the reason.
     * @throws {VeltaError} `INVALID` without a primary key; what is not a row's fault (`FULL`, `IO`, `OVER_BUDGET`, …),
     * the rows before it being in.
     */
    batchUpsert(rows: readonly StoreRow[]): BatchUpsertResult {
        const table = this.#withColumns();
        if (!Array.isArray(rows)) throw invalid(`batchUpsert: expected an array of rows, not ${describe(rows)}`);
        if (table.keyColumn === null) {
            throw invalid('the store has no primary key, so nothing can be upserted: use insertRows');
        }
        return upsertRows(rows, (batch) => table.upsert(batch as never).inserted);
    }

    /**
     * Sets one value of the row with a key.
     * @throws {VeltaError} `NOT_FOUND`, `UNKNOWN_COLUMN`, `TYPE`, `NOT_NULL`; `INVALID` for the primary key itself.
     */
    updateRow(key: StoreKey, column: string, value: StoreValue): void {
        const table = this.#withColumns();
        table.column(column);
        table.update(key as never, { [column]: value } as never);
    }

    /** The row with a key, all columns; null when there is none. */
    getRow(key: StoreKey): StoredRow | null {
        return (this.#table?.get(key as never, { columns: this.columnNames }) ?? null) as StoredRow | null;
    }

    /** Deletes the row with a key; tells whether there was one. */
    deleteRow(key: StoreKey): boolean {
        return (this.#table?.delete(key as never) ?? 0) > 0;
    }

    /** Rows whose value equals `value`. @throws {VeltaError} `UNKNOWN_COLUMN`, `TYPE`. */
    filterEq(column: string, value: StoreFilterValue): Uint32Array {
        return this.filter(this.#eq(column, value));
    }

    /** Rows whose value is greater than `value`. @throws {VeltaError} `UNKNOWN_COLUMN`, `TYPE`. */
    filterGt(column: string, value: StoreFilterValue): Uint32Array {
        return this.filter(this.#gt(column, value));
    }

    /** Rows whose value is less than `value`. @throws {VeltaError} `UNKNOWN_COLUMN`, `TYPE`. */
    filterLt(column: string, value: StoreFilterValue): Uint32Array {
        return this.filter(this.#lt(column, value));
    }

    /**
     * Rows whose value is between `low` and `high`, both excluded unless `inclusive`.
     * @throws {VeltaError} `UNKNOWN_COLUMN`, `TYPE`.
     */
    filterRange(
        column: string,
        low: StoreFilterValue,
        high: StoreFilterValue,
        options: { readonly inclusive?: boolean } = {},
    ): Uint32Array {
        return this.filter(this.#range(column, low, high, options));
    }

    /** Rows whose value is one of `values`. @throws {VeltaError} `UNKNOWN_COLUMN`, `TYPE`. */
    filterIn(column: string, values: readonly StoreFilterValue[]): Uint32Array {
        return this.filter(this.#in(column, values));
    }

    /**
     * Rows that match a filter, as text or built.
     * @throws {VeltaError} `SYNTAX`, `UNKNOWN_COLUMN`, `TYPE`; `offset` is the position in the text.
     */
    filter(filter: Filter | string): Uint32Array {
        return this.#where(filter)?.rows() ?? new Uint32Array(0);
    }

    /** Counts what {@link filterEq} lists, without listing it. */
    countEq(column: string, value: StoreFilterValue): number {
        return this.count(this.#eq(column, value));
    }

    /** Counts what {@link filterGt} lists, without listing it. */
    countGt(column: string, value: StoreFilterValue): number {
        return this.count(this.#gt(column, value));
    }

    /** Counts what {@link filterLt} lists, without listing it. */
    countLt(column: string, value: StoreFilterValue): number {
        return this.count(this.#lt(column, value));
    }

    /** Counts what {@link filterRange} lists, without listing it. */
    countRange(
        column: string,
        low: StoreFilterValue,
        high: StoreFilterValue,
        options: { readonly inclusive?: boolean } = {},
    ): number {
        return this.count(this.#range(column, low, high, options));
    }

    /** Counts what {@link filterIn} lists, without listing it. */
    countIn(column: string, values: readonly StoreFilterValue[]): number {
        return this.count(this.#in(column, values));
    }

    /**
     * Counts the rows that match a filter; without one, all that can be read (not deleted, not expired).
     * @throws {VeltaError} As {@link filter}.
     */
    count(filter: Filter | string = ''): number {
        return this.#where(filter)?.count() ?? 0;
    }

    /** The set of the rows that match, to be combined by and, or, not; without a filter, every row. */
    bitmap(filter: Filter | string = ''): RowBitmap {
        return RowBitmap.of(this.#rows, filter);
    }

    /**
     * The rows of these indices, all columns, in the order given.
     * @throws {VeltaError} `NOT_FOUND` for a row that is deleted or expired, or beyond the last; `offset` is its place.
     */
    getRowsByIndices(indices: Uint32Array): StoredRow[] {
        if (!(indices instanceof Uint32Array)) {
            throw invalid(`getRowsByIndices: expected a Uint32Array, not ${describe(indices)}`);
        }
        if (indices.length === 0) {
            return [];
        }
        return this.#withColumns().getRows(indices, { columns: this.columnNames }) as StoredRow[];
    }

    /**
     * Lets a row expire `seconds` from now; null: never. An expired row is not found any more.
     * @throws {VeltaError} `NOT_FOUND`, `INVALID`.
     */
    setRowTtl(key: StoreKey, seconds: number | null): void {
        this.#withColumns().setTtl(key as never, seconds);
    }

    /** Deletes the rows that have expired at `now` (default: the clock's) and gives their number. */
    expireRows(now?: Date | number): number {
        return this.#table?.expire(now) ?? 0;
    }

    /**
     * Drops deleted and expired rows and the values of the past, and numbers the rows anew.
     * @throws {VeltaError} `BUSY` while an iterator is open, `OVER_BUDGET` (it needs memory for both states at once).
     */
    vacuum(): VacuumStats {
        const expired = this.expireRows();
        const before = this.rowCount;
        const { bytesBefore, bytesAfter } = this.#database.compact();
        return { rowsRemoved: Math.max(before - this.rowCount, expired), bytesBefore, bytesAfter };
    }

    /** Whether more than `share` (default a quarter) of the rows are deleted, so that a vacuum pays. */
    shouldVacuum(share = 0.25): boolean {
        if (typeof share !== 'number') throw invalid(`shouldVacuum: expected a number, not ${describe(share)}`);
        return this.deletedRowCount > share * this.rowCount;
    }

    /**
     * Deletes all rows, in one step, and then vacuums; the columns stay.
     * @throws {VeltaError} As {@link vacuum}; the rows are deleted then, but still take room.
     */
    clear(): void {
        this.#table?.all().delete();
        this.vacuum();
    }

    /** Bytes of memory that it takes. */
    memoryUsage(): StoreMemory {
        const stats = this.#database.stats();
        return {
            total: stats.memoryUsedBytes,
            columns: stats.columnBytes,
            vectors: stats.vectorBytes,
            strings: stats.dictionaryBytes,
            indexes: stats.indexBytes,
            history: stats.historyBytes,
        };
    }

    /** The whole store as one array: the same state gives the same bytes. {@link ColumnStore.import} reads it. */
    export(): Uint8Array {
        return this.#database.export();
    }

    /** Resolves when everything acknowledged is durable. */
    async flush(): Promise<void> {
        await this.#database.flush();
    }

    /** Flushes and ends it; resolves when its storage is free. Calling it again does nothing. */
    async close(): Promise<void> {
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

    /** {@link #begin} of a store in memory, which is given back when that fails. */
    #beginNew(columns: readonly StoreColumn[], primaryKey?: string): this {
        try {
            return this.#begin(columns, primaryKey);
        } catch (error) {
            void this.close();
            throw error;
        }
    }

    /** Makes the table, or brings a stored one up to the schema. */
    #begin(columns: readonly StoreColumn[], primaryKey?: string): this {
        const schema = schemaOf(columns, primaryKey);
        if (columns.length > 0) {
            this.#table = this.#database.table(TABLE, schema);
        }
        return this;
    }

    #withColumns(): Table<Schema> {
        if (this.#table === null) {
            throw invalid('the store has no columns yet: use withSchema or addColumn');
        }
        return this.#table;
    }

    /** The rows that match; null while there are no columns, and so no rows. */
    #where(filter: Filter | string): Query<Schema> | null {
        const text = filterText(filter);
        if (this.#table === null && text.trim() !== '') {
            throw new VeltaError('UNKNOWN_COLUMN', 'the store has no columns yet');
        }
        return this.#table?.where(text) ?? null;
    }

    #eq(column: string, value: StoreFilterValue): Filter {
        return eq(column, this.#comparable(column, value));
    }

    #gt(column: string, value: StoreFilterValue): Filter {
        return gt(column, this.#comparable(column, value));
    }

    #lt(column: string, value: StoreFilterValue): Filter {
        return lt(column, this.#comparable(column, value));
    }

    #range(
        column: string,
        low: StoreFilterValue,
        high: StoreFilterValue,
        options: { readonly inclusive?: boolean },
    ): Filter {
        checkOptions('filterRange', options, ['inclusive']);
        const ends = [this.#comparable(column, low), this.#comparable(column, high)] as const;
        return between(column, ...ends, { inclusive: options.inclusive ?? false });
    }

    #in(column: string, values: readonly StoreFilterValue[]): Filter {
        if (!Array.isArray(values)) {
            throw new VeltaError('TYPE', `filterIn takes an array of values, not ${describe(values)}`);
        }
        return inList(
            column,
            values.map((value: StoreFilterValue) => this.#comparable(column, value)),
        );
    }

    /** A value to compare with: NULL has conditions of its own, and a Date would pass for the number in it. */
    #comparable(column: string, value: StoreFilterValue | null | undefined): FilterValue {
        if (typeof column !== 'string') throw invalid(`a column name is a string, not ${describe(column)}`);
        const type = this.#table?.schema[column]?.type;
        if (value === null || value === undefined) {
            const text = `column '${column}' cannot be compared with NULL; use filter(isNull('${column}'))`;
            throw new VeltaError('TYPE', text);
        }
        if (value instanceof Date && type !== undefined && type !== 'timestamp') {
            throw new VeltaError('TYPE', `column '${column}' is ${type}, and is not compared with a Date`);
        }
        return value;
    }
}
