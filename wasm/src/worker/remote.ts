/*
 * The types of objects that live in a worker: those of the page, with every answer a promise.
 *
 * What there is no remote form of: `withVector` and the addresses of memory (a worker's memory cannot be seen from the
 * page), bitmaps of rows (give the whole filter instead), `Symbol.dispose` (closing
 * waits for the worker: use `await using`), and a clock of one's own (`now`).
 */
import type { ColumnFamily, FamilyIterator, FamilyKeyKind, FamilyKeyOf, FamilyOptions } from '../column_family.js';
import type { ColumnStore } from '../column_store.js';
import type { Database } from '../database.js';
import type { DeltaVectorDB } from '../delta_vector_db.js';
import type { Filter } from '../filter.js';
import type { RangeOptions, RowIterator } from '../iterator.js';
import type { LiveSearchCallback, LiveSearchOptions } from '../live_search.js';
import type { Aggregates, AggregateValues, Query } from '../query.js';
import type { SearchResult } from '../result.js';
import type { ColumnName, ColumnOfType, KeyOf, RowOf, Schema } from '../schema.js';
import type { SearchOptions } from '../search.js';
import type { ReadOptions, Table } from '../table.js';
import type { Change } from '../watch.js';
import type { METHODS, PROPERTIES } from './protocol.js';

/** What a method of an object in a worker resolves to, by what it returns in the page. */
export type RemoteResult<R> =
    R extends Table<infer S>
        ? RemoteTable<S>
        : R extends RowIterator<Schema, infer Row>
          ? RemoteIterator<Row>
          : R extends ColumnFamily<infer T>
            ? RemoteColumnFamily<T>
            : R extends FamilyIterator<infer T>
              ? RemoteFamilyIterator<T>
              : R extends Database
                ? RemoteDatabase
                : R;

/** Some members of a class, as they are remotely: methods give promises, and so do properties. */
export type Remote<T, K extends keyof T> = {
    readonly [P in K]: T[P] extends (...args: infer A) => infer R
        ? (...args: A) => Promise<RemoteResult<Awaited<R>>>
        : Promise<RemoteResult<T[P]>>;
};

type Listed<Kind extends keyof typeof METHODS, T> = Extract<
    (typeof METHODS)[Kind][number] | (typeof PROPERTIES)[Kind][number],
    keyof T
>;

/** Of Database: members whose types follow from the class. */
type DatabaseMember = Exclude<
    Listed<'Database', Database>,
    'table' | 'createColumnFamily' | 'columnFamily' | 'columnFamilyOrCreate' | 'close'
>;

/** A {@link Database} in a worker. */
export interface RemoteDatabase extends Remote<Database, DatabaseMember>, AsyncDisposable {
    readonly name: string;
    readonly storage: Database['storage'];
    readonly closed: boolean;
    readonly log: Remote<Database['log'], 'sync' | 'checkpoint' | 'status'>;
    /** As {@link Database.table}. */
    table<const S extends Schema>(name: string, schema: S): Promise<RemoteTable<S>>;
    table(name: string): Promise<RemoteTable<Schema>>;
    /** As {@link Database.createColumnFamily}, and so are its siblings. */
    createColumnFamily<T extends FamilyKeyKind = 'string'>(
        name: string,
        options?: FamilyOptions<T>,
    ): Promise<RemoteColumnFamily<T>>;
    columnFamily<T extends FamilyKeyKind = 'string'>(
        name: string,
        options?: FamilyOptions<T>,
    ): Promise<RemoteColumnFamily<T>>;
    columnFamilyOrCreate<T extends FamilyKeyKind = 'string'>(
        name: string,
        options?: FamilyOptions<T>,
    ): Promise<RemoteColumnFamily<T>>;
    /** Closes the database, and ends the worker if it was started for it. Further calls reject with CLOSED. */
    close(): Promise<void>;
}

/** Members with type parameters of their own, which a mapped type would lose. */
type GenericOfTable = 'get' | 'getMany' | 'getRows' | 'search' | 'searchMany' | 'iterate' | 'watch';

/** A {@link Table} in a worker. */
export interface RemoteTable<S extends Schema = Schema> extends Remote<
    Table<S>,
    Exclude<Listed<'Table', Table<S>>, GenericOfTable>
> {
    readonly name: string;
    readonly keyColumn: string | null;
    readonly database: RemoteDatabase;
    get<const C extends ColumnName<S> = ColumnName<S>>(
        key: KeyOf<S>,
        options?: ReadOptions<S, C>,
    ): Promise<Pick<RowOf<S>, C> | null>;
    getMany<const C extends ColumnName<S> = ColumnName<S>>(
        keys: readonly KeyOf<S>[],
        options?: ReadOptions<S, C>,
    ): Promise<(Pick<RowOf<S>, C> | null)[]>;
    getRows<const C extends ColumnName<S> = ColumnName<S>>(
        rows: Uint32Array,
        options?: ReadOptions<S, C>,
    ): Promise<Pick<RowOf<S>, C>[]>;
    search<const C extends ColumnName<S> = never>(
        query: Float32Array | readonly number[],
        options?: SearchOptions<S, C>,
    ): Promise<SearchResult<S, C>>;
    searchMany<const C extends ColumnName<S> = never>(
        queries: Float32Array,
        options?: SearchOptions<S, C>,
    ): Promise<SearchResult<S, C>[]>;
    iterate<const C extends ColumnName<S> = ColumnName<S>>(
        options?: RangeOptions<S, C>,
    ): Promise<RemoteIterator<Pick<RowOf<S>, C>>>;
    watch(callback: (change: Change) => void): Promise<() => void>;
    /** A live search; see {@link Table.watch}. */
    watch<const C extends ColumnName<S> = never>(
        query: Float32Array | readonly number[],
        options: LiveSearchOptions<S, C>,
        callback: LiveSearchCallback<S, C>,
    ): Promise<() => void>;
    /** A query over the rows that match; made here, and sent with the method that asks for its answer. */
    where(filter: string | Filter<ColumnName<S>>): RemoteQuery<S>;
    /** A query over all rows. */
    all(): RemoteQuery<S>;
}

/** A {@link Query} over a table in a worker. Its steps are checked when an answer is asked for. */
export interface RemoteQuery<S extends Schema = Schema, C extends ColumnName<S> = ColumnName<S>>
    extends
        Remote<Query<S, C>, 'count' | 'rows' | 'keys' | 'toArray' | 'first' | 'delete'>,
        AsyncIterable<Pick<RowOf<S>, C>> {
    and(filter: string | Filter<ColumnName<S>>): RemoteQuery<S, C>;
    or(filter: string | Filter<ColumnName<S>>): RemoteQuery<S, C>;
    not(): RemoteQuery<S, C>;
    select<const D extends ColumnName<S>>(...columns: readonly D[]): RemoteQuery<S, D>;
    orderBy(column: ColumnOfType<S, 'int' | 'float' | 'timestamp'>, direction?: 'asc' | 'desc'): RemoteQuery<S, C>;
    limit(n: number): RemoteQuery<S, C>;
    search<const D extends ColumnName<S> = never>(
        query: Float32Array | readonly number[],
        options?: Omit<SearchOptions<S, D>, 'where'>,
    ): Promise<SearchResult<S, D>>;
    aggregate<const A extends Aggregates>(aggregates: A): Promise<AggregateValues<A>>;
    groupBy<const A extends Aggregates, const G extends ColumnOfType<S, 'string' | 'bool' | 'int'>>(
        column: G,
        aggregates: A,
        options?: { readonly top?: number; readonly orderBy?: keyof A & string },
    ): Promise<({ group: RowOf<S>[G] | null } & AggregateValues<A>)[]>;
}

/** An iterator in a worker. Batches are asked for ahead of their use. */
export interface RemoteIterator<T> extends AsyncIterableIterator<T, undefined>, AsyncDisposable {
    /** Up to `count` next ones (default 100); none at the end. */
    nextBatch(count?: number): Promise<T[]>;
    next(): Promise<IteratorResult<T, undefined>>;
    /** All that are left; the iterator is closed after it. */
    collectAll(): Promise<T[]>;
    close(): Promise<void>;
    return(): Promise<IteratorResult<T, undefined>>;
    [Symbol.asyncIterator](): this;
}

/** A {@link FamilyIterator} in a worker. */
export type RemoteFamilyIterator<T extends FamilyKeyKind = 'string'> = RemoteIterator<[FamilyKeyOf<T>, Uint8Array]>;

/** A {@link ColumnFamily} in a worker. */
export interface RemoteColumnFamily<T extends FamilyKeyKind = 'string'> extends Remote<
    ColumnFamily<T>,
    Listed<'ColumnFamily', ColumnFamily<T>>
> {
    readonly name: string;
    readonly keys: T;
    readonly database: RemoteDatabase;
}

/** A {@link DeltaVectorDB} in a worker. */
export interface RemoteDeltaVectorDB
    extends Remote<DeltaVectorDB, Exclude<Listed<'DeltaVectorDB', DeltaVectorDB>, 'close'>>, AsyncDisposable {
    readonly closed: boolean;
    /** Closes the store, and ends the worker if it was started for it. */
    close(): Promise<void>;
}

/** A {@link ColumnStore} in a worker. */
export interface RemoteColumnStore
    extends Remote<ColumnStore, Exclude<Listed<'ColumnStore', ColumnStore>, 'close'>>, AsyncDisposable {
    readonly closed: boolean;
    /** Closes the store, and ends the worker if it was started for it. */
    close(): Promise<void>;
}
