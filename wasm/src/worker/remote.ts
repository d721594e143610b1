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
import type { RowIterator } from '../iterator.js';
import type { Query } from '../query.js';
import type { RowOf, Schema } from '../schema.js';
import type { Table } from '../table.js';
import type { METHODS, PROPERTIES } from './protocol.js';

/** What a method of an object in a worker resolves to, by what it returns in the page. */
export type RemoteResult<R> =
    R extends Table<infer S>
        ? RemoteTable<S>
        : R extends RowIterator<infer S>
          ? RemoteRowIterator<S>
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

/** Of Table: members whose types follow from the class. */
type TableMember<S extends Schema> = Listed<'Table', Table<S>>;

/** A {@link Table} in a worker. */
export interface RemoteTable<S extends Schema = Schema> extends Remote<Table<S>, TableMember<S>> {
    readonly name: string;
    readonly keyColumn: string | null;
    readonly database: RemoteDatabase;
    /** A query over the rows that match; made here, and sent with the method that asks for its answer. */
    where(filter: string | Filter): RemoteQuery<S>;
    /** A query over all rows. */
    all(): RemoteQuery<S>;
}

/** A {@link Query} over a table in a worker. */
export interface RemoteQuery<S extends Schema = Schema>
    extends Remote<Query<S>, Listed<'Query', Query<S>>>, AsyncIterable<RowOf<S>> {
    and(filter: string | Filter): RemoteQuery<S>;
    or(filter: string | Filter): RemoteQuery<S>;
    not(): RemoteQuery<S>;
    select(...columns: (keyof S & string)[]): RemoteQuery<S>;
    orderBy(column: keyof S & string, direction?: 'asc' | 'desc'): RemoteQuery<S>;
    limit(count: number): RemoteQuery<S>;
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

/** A {@link RowIterator} in a worker. */
export type RemoteRowIterator<S extends Schema = Schema> = RemoteIterator<RowOf<S>>;
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
