/*
 * Column families: named maps from keys to bytes, in key order, within a database.
 *
 * A family is a table of two columns, the key and the value, under a name that ordinary tables cannot have, so a family
 * and a table of one name do not meet. Everything else (the log, snapshots, compaction, iterators that see one moment)
 * is the table's. Keys are strings, in the order of their code points, or bytes in their own order; bytes are kept as
 * strings whose code points are the bytes, which keeps the order. The name of the key column tells which.
 *
 * What it does not do: write and delete in one step; each of the two is all or nothing on its own.
 */
import type { Database } from './database.js';
import { checkOptions, describe, invalid, quoted, VeltaError } from './errors.js';
import { dispose, type RowIterator } from './iterator.js';
import { key, required, type Schema } from './schema.js';
import type { Table } from './table.js';
import { bytesOfBuffer } from './values.js';

/** How a family's keys are given: strings, or bytes. */
export type FamilyKeyKind = 'string' | 'bytes';

/** A key of a family. */
export type FamilyKey = string | Uint8Array;

/** What can be written: bytes as they are, text as UTF-8. */
export type FamilyValue = Uint8Array | ArrayBuffer | string;

/** Options of a family. */
export interface FamilyOptions<T extends FamilyKeyKind = FamilyKeyKind> {
    /** What its keys are; fixed when the family is created. Default `'string'`. */
    readonly keys?: T;
}

/** The type of the keys of a family of a kind. */
export type FamilyKeyOf<T extends FamilyKeyKind> = T extends 'bytes' ? Uint8Array : string;

/** Tables of this prefix are column families. */
export const FAMILY_PREFIX = '$family/';

const STRING_KEYS = { key: key('string'), value: required('bytes') } as const;
const BYTE_KEYS = { bytes: key('string'), value: required('bytes') } as const;
/** Of either kind: the name of the key column is the only difference. */
type FamilyTable = Table<typeof STRING_KEYS>;
type FamilyRow = { key?: string; bytes?: string; value: Uint8Array };

const CODE_POINTS = 4096; // at a time: arguments of one call are limited

function textOfBytes(bytes: Uint8Array): string {
    let text = '';
    for (let at = 0; at < bytes.length; at += CODE_POINTS) {
        text += String.fromCharCode(...bytes.subarray(at, at + CODE_POINTS));
    }
    return text;
}

function bytesOfText(text: string): Uint8Array {
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) {
        bytes[i] = text.charCodeAt(i);
    }
    return bytes;
}

function bytesOfValue(value: FamilyValue): Uint8Array {
    if (typeof value === 'string') {
        return new TextEncoder().encode(value);
    }
    if (value instanceof Uint8Array) {
        return value;
    }
    if (value instanceof ArrayBuffer) {
        return bytesOfBuffer('a value of a column family', value);
    }
    throw new VeltaError('TYPE', 'a value of a column family is a Uint8Array, an ArrayBuffer or a string');
}

/** What an iterable gives, where it is one of keys or pairs: strings and typed arrays are iterable, too. */
function listed<T>(what: string, values: Iterable<T>): Iterable<T> {
    const is = typeof values === 'object' && values !== null && !ArrayBuffer.isView(values);
    if (!is || typeof values[Symbol.iterator] !== 'function') {
        throw invalid(`${what}: expected an array or another iterable, not ${describe(values)}`);
    }
    return values;
}

/** A named map from keys to bytes. Made by {@link Database.createColumnFamily} and its siblings. */
export class ColumnFamily<T extends FamilyKeyKind = 'string'> {
    readonly #table: FamilyTable;
    readonly #column: 'key' | 'bytes';
    /** Its name, without the prefix of its table. */
    readonly name: string;
    /** What its keys are. */
    readonly keys: T;

    /** @internal */
    constructor(name: string, keys: T, table: FamilyTable) {
        this.name = name;
        this.keys = keys;
        this.#table = table;
        this.#column = keys === 'bytes' ? 'bytes' : 'key';
    }

    /** The number of keys. */
    get size(): number {
        return this.#table.liveCount;
    }

    /** The database it belongs to. */
    get database(): Database {
        return this.#table.database;
    }

    /**
     * Sets the value of a key, which need not exist.
     * @throws {VeltaError} `TYPE` for a key or a value of the wrong type, `LIMIT` beyond 16 MiB, `READ_ONLY`, `FULL`,
     * `IO`, `OVER_BUDGET`.
     */
    write(key: FamilyKeyOf<T>, value: FamilyValue): void {
        this.writeBatch([[key, value]]);
    }

    /**
     * Sets the values of many keys, all or none. Of a key that comes twice the last value counts.
     * @returns The number of keys that are new.
     * @throws {VeltaError} As {@link write}; `offset` is the index of the pair.
     */
    writeBatch(entries: Iterable<readonly [FamilyKeyOf<T>, FamilyValue]>): number {
        const keys: string[] = [];
        const values: Uint8Array[] = [];
        // A generator may give the same buffer, changed, again.
        const mayReuse = !Array.isArray(entries);
        for (const entry of listed('writeBatch', entries)) {
            if (!Array.isArray(entry)) {
                throw invalid(`writeBatch: expected a pair of key and value, not ${describe(entry)}`, keys.length);
            }
            const [key, value] = entry as readonly [FamilyKeyOf<T>, FamilyValue];
            keys.push(this.#textOf(key, keys.length));
            const bytes = bytesOfValue(value);
            values.push(mayReuse ? bytes.slice() : bytes);
        }
        if (keys.length === 0) {
            return 0;
        }
        return this.#table.upsertColumns({ [this.#column]: keys, value: values }, keys.length).inserted;
    }

    /**
     * A copy of the value of a key; null when it is absent.
     * @throws {VeltaError} `TYPE` for a key of the wrong type.
     */
    read(key: FamilyKeyOf<T>): Uint8Array | null {
        const row = this.#table.get(this.#textOf(key, 0), { columns: ['value'] });
        return row === null ? null : row.value;
    }

    /** The value of a key read as UTF-8; null when it is absent. */
    readText(key: FamilyKeyOf<T>): string | null {
        const bytes = this.read(key);
        return bytes === null ? null : new TextDecoder().decode(bytes);
    }

    /** Whether a key has a value. */
    has(key: FamilyKeyOf<T>): boolean {
        return this.#table.has(this.#textOf(key, 0));
    }

    /** Deletes a key; tells whether it was there. */
    delete(key: FamilyKeyOf<T>): boolean {
        return this.#table.delete(this.#textOf(key, 0)) > 0;
    }

    /** Deletes keys in one step; absent ones are not an error. Gives the number of those that were there. */
    deleteBatch(keys: Iterable<FamilyKeyOf<T>>): number {
        const texts = Array.from(listed('deleteBatch', keys), (key, i) => this.#textOf(key, i));
        return texts.length === 0 ? 0 : this.#table.delete(texts);
    }

    /** All pairs in key order, as they are at this moment. */
    iter(): FamilyIterator<T> {
        return this.iterRange();
    }

    /**
     * The pairs from `start` (included) to `end` (not included) in key order, as they are at this moment: what is
     * written or deleted later does not show. A bound left out is none.
     * @throws {VeltaError} `TYPE` for a bound of the wrong type.
     */
    iterRange(start?: FamilyKeyOf<T>, end?: FamilyKeyOf<T>): FamilyIterator<T> {
        const rows = this.#table.iterate({
            ...(start === undefined ? {} : { start: this.#textOf(start, 0) }),
            ...(end === undefined ? {} : { end: this.#textOf(end, 0) }),
        });
        return new FamilyIterator(rows, this.keys);
    }

    #textOf(key: FamilyKey, offset: number): string {
        if (this.keys === 'bytes' && key instanceof Uint8Array) {
            return textOfBytes(key);
        }
        if (this.keys === 'string' && typeof key === 'string') {
            return key;
        }
        const wanted = this.keys === 'bytes' ? 'Uint8Arrays' : 'strings';
        throw new VeltaError('TYPE', `the keys of column family '${this.name}' are ${wanted}`, { offset });
    }
}

/**
 * Pairs of a family in key order over one moment's state. It holds that state until it is closed or read to its end:
 * use `using`, `for…of`, `for await`, or {@link close}.
 */
export class FamilyIterator<T extends FamilyKeyKind = 'string'>
    implements Iterable<[FamilyKeyOf<T>, Uint8Array]>, AsyncIterable<[FamilyKeyOf<T>, Uint8Array]>
{
    readonly #rows: RowIterator<typeof STRING_KEYS>;
    readonly #keys: T;

    /** @internal */
    constructor(rows: RowIterator<typeof STRING_KEYS>, keys: T) {
        this.#rows = rows;
        this.#keys = keys;
    }

    /** Up to `count` next pairs; none at the end. */
    nextBatch(count = 100): [FamilyKeyOf<T>, Uint8Array][] {
        return this.#rows.nextBatch(count).map((row) => this.#pair(row));
    }

    /** The next pair. */
    next(): IteratorResult<[FamilyKeyOf<T>, Uint8Array], undefined> {
        const step = this.#rows.next();
        return step.done ? { done: true, value: undefined } : { done: false, value: this.#pair(step.value) };
    }

    /** All pairs that are left; the iterator is closed after it. */
    collectAll(): [FamilyKeyOf<T>, Uint8Array][] {
        return this.#rows.collectAll().map((row) => this.#pair(row));
    }

    /** Gives up the moment it holds. Calling it again does nothing. */
    close(): void {
        this.#rows.close();
    }

    /** Ends a loop that was left early. */
    return(): IteratorResult<[FamilyKeyOf<T>, Uint8Array], undefined> {
        this.close();
        return { done: true, value: undefined };
    }

    [Symbol.iterator](): this {
        return this;
    }

    async *[Symbol.asyncIterator](): AsyncGenerator<[FamilyKeyOf<T>, Uint8Array], void, undefined> {
        try {
            for (let step = this.next(); !step.done; step = this.next()) {
                yield step.value;
            }
        } finally {
            this.close();
        }
    }

    [dispose](): void {
        this.close();
    }

    #pair(row: FamilyRow): [FamilyKeyOf<T>, Uint8Array] {
        const key = this.#keys === 'bytes' ? bytesOfText(row.bytes ?? '') : row.key;
        return [key as FamilyKeyOf<T>, row.value];
    }
}

/** The names of a database's families, sorted. @internal */
export function familyNames(tableNames: readonly string[]): string[] {
    const names = tableNames.filter((name) => name.startsWith(FAMILY_PREFIX));
    return names.map((name) => name.slice(FAMILY_PREFIX.length)).sort();
}

/** What the database does for a family's table: names here are those of tables, prefix included. @internal */
export interface FamilyTables {
    find(name: string): Table<Schema> | null;
    make(name: string, schema: Schema): Table<Schema>;
}

function tableName(name: unknown): string {
    if (typeof name !== 'string' || name === '') {
        throw invalid(`a column family is named by a string that is not empty, not by ${describe(name)}`);
    }
    return FAMILY_PREFIX + name;
}

function keyKind<T extends FamilyKeyKind>(options: FamilyOptions<T> | undefined): T {
    checkOptions('column family', options, ['keys']);
    const keys: string = options?.keys ?? 'string';
    if (keys !== 'string' && keys !== 'bytes') {
        throw invalid(`the keys of a column family are 'string' or 'bytes', not ${describe(keys)}`);
    }
    return keys as T;
}

/** @internal */
export function createFamily<T extends FamilyKeyKind>(
    tables: FamilyTables,
    name: string,
    options: FamilyOptions<T> | undefined,
): ColumnFamily<T> {
    const keys = keyKind(options);
    const table = tableName(name);
    if (tables.find(table) !== null) {
        throw new VeltaError('EXISTS', `there is a column family ${quoted(name)} already`);
    }
    const schema = keys === 'bytes' ? BYTE_KEYS : STRING_KEYS;
    return new ColumnFamily(name, keys, tables.make(table, schema) as unknown as FamilyTable);
}

/** The table of a family. @throws {VeltaError} NOT_FOUND @internal */
export function findFamilyTable(tables: FamilyTables, name: string): Table<Schema> {
    const table = tables.find(tableName(name));
    if (table === null) {
        throw new VeltaError('NOT_FOUND', `there is no column family ${quoted(name)}; createColumnFamily makes one`);
    }
    return table;
}

/** @internal */
export function findFamily<T extends FamilyKeyKind>(
    tables: FamilyTables,
    name: string,
    options: FamilyOptions<T> | undefined,
): ColumnFamily<T> {
    const keys = keyKind(options);
    const table = findFamilyTable(tables, name);
    const kept = table.keyColumn === 'bytes' ? 'bytes' : 'string';
    if (kept !== keys) {
        throw new VeltaError('TYPE', `column family '${name}' has keys of kind '${kept}', not '${keys}'`);
    }
    return new ColumnFamily(name, keys, table as unknown as FamilyTable);
}
