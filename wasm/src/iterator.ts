/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Iterators: the rows of a table in key order as of one moment, in batches.
 */
import type { Address } from './abi.js';
import { VeltaError, checkOptions, describe, invalid } from './errors.js';
import type { Instance } from './instance.js';
import type { ColumnName, KeyOf, RowOf, Schema } from './schema.js';
import { type Table, timeOf } from './table.js';
import { type ColumnInfo, columnList, writeInt } from './values.js';

const HAS_START = 1;
const HAS_END = 2;
const AHEAD = 100;

/** Which rows an iterator gives. */
export interface RangeOptions<S extends Schema = Schema, C extends ColumnName<S> = ColumnName<S>> {
    /** The first key, itself included. Not for tables without a key. */
    readonly start?: KeyOf<S>;
    /** Where to end, itself not included. */
    readonly end?: KeyOf<S>;
    /** The columns wanted; default all, vectors included. */
    readonly columns?: readonly C[];
    /** The state at that time; default now. */
    readonly at?: Date | number;
}

/** `Symbol.dispose`, also where the environment does not have it yet. */
export const dispose: typeof Symbol.dispose = (Symbol.dispose ?? Symbol.for('Symbol.dispose')) as typeof Symbol.dispose;
/** `Symbol.asyncDispose`, likewise. */
export const asyncDispose: typeof Symbol.asyncDispose = (Symbol.asyncDispose ??
    Symbol.for('Symbol.asyncDispose')) as typeof Symbol.asyncDispose;

interface Held {
    readonly table: Table<Schema>;
    handle: Address;
}

/** A backstop: an iterator that was dropped without being closed would keep compaction from running. */
const forgotten = new FinalizationRegistry<Held>((held) => end(held));

function end(held: Held): void {
    const { handle, table } = held;
    held.handle = 0;
    if (handle === 0) return;
    table.database.iterators.delete(held);
    table.database.instance.exports.abi_iterator_close(handle);
}

/** Closes an iterator whose database is about to close. @internal */
export function endIterator(held: unknown): void {
    end(held as Held);
}

/**
 * Rows in key order as they were when it was made. To be closed: at its end, by `break` and by `using` that happens by
 * itself.
 */
export class RowIterator<S extends Schema = Schema, R = RowOf<S>> implements Iterable<R>, AsyncIterable<R> {
    readonly #held: Held;
    readonly #columns: readonly ColumnInfo[];
    #ahead: R[] = [];
    #place = 0;
    #done = false;

    /** @internal */
    constructor(given: Table<S>, options: RangeOptions<S, never> | RangeOptions<S, ColumnName<S>>) {
        checkOptions('iterate', options, ['start', 'end', 'columns', 'at']);
        const table = given as unknown as Table<Schema>;
        const at = timeOf(options.at);
        this.#columns = table.columnsOf(options.columns);
        if (this.#columns.length === 0) throw invalid('iterate: columns must name at least one column');
        table.open();
        const { database } = table;
        const handle = database.run((instance) => {
            const { has, ends, start, startBytes, stop, stopBytes } = this.#range(table, options);
            const list = columnList(instance, this.#columns);
            const out = instance.space(8);
            const count = this.#columns.length;
            instance.check(
                instance.exports.abi_iterate(
                    table.handle,
                    has,
                    ends,
                    start,
                    startBytes,
                    stop,
                    stopBytes,
                    list,
                    count,
                    at,
                    out,
                ),
            );
            return instance.u32[out >>> 2] as number;
        });
        this.#held = { table, handle };
        database.iterators.add(this.#held);
        forgotten.register(this, this.#held, this);
    }

    #range(
        table: Table<Schema>,
        options: { readonly start?: unknown; readonly end?: unknown },
    ): { has: number; ends: Address; start: Address; startBytes: number; stop: Address; stopBytes: number } {
        const { instance } = table.database;
        const range = { has: 0, ends: 0, start: 0, startBytes: 0, stop: 0, stopBytes: 0 };
        const bounds = [options.start, options.end];
        const key = table.keyInfo;
        if (key === null && bounds.some((bound) => bound !== undefined)) {
            throw invalid(`table '${table.name}' has no key, so it has no range of keys: leave out start and end`);
        }
        if (key?.type === 'int') range.ends = instance.space(16);
        bounds.forEach((bound, i) => {
            if (bound === undefined || key === null) return;
            range.has |= i === 0 ? HAS_START : HAS_END;
            if (key.type === 'int') {
                writeInt(instance, range.ends + 8 * i, bound, key, 0);
                return;
            }
            if (typeof bound !== 'string') {
                const name = i === 0 ? 'start' : 'end';
                throw new VeltaError('TYPE', `iterate: ${name} must be a string, as the key, not ${describe(bound)}`);
            }
            const text = instance.string(bound, 'a bound');
            if (i === 0) [range.start, range.startBytes] = [text, instance.stringBytes];
            else [range.stop, range.stopBytes] = [text, instance.stringBytes];
        });
        return range;
    }

    /** Whether it was closed, by its end or by `close`. */
    get closed(): boolean {
        return this.#held.handle === 0;
    }

    /**
     * Up to n next rows; an empty array is the end.
     * @throws {VeltaError} CLOSED after `close` or when the database has closed
     */
    nextBatch(n = AHEAD): R[] {
        if (!Number.isInteger(n) || n < 1)
            throw invalid(`nextBatch: n must be a whole number from 1, not ${describe(n)}`);
        const left = this.#ahead.length - this.#place;
        if (left > 0) {
            const rows = this.#ahead.slice(this.#place, this.#place + n);
            this.#place += rows.length;
            return rows;
        }
        return this.#fetch(n);
    }

    /** Up to n next rows as the engine gives them; null at the end. @internal */
    nextResult<T>(n: number, use: (instance: Instance, result: Address, rows: number) => T): T | null {
        if (this.#done) return null;
        const { table, handle } = this.#held;
        if (handle === 0) throw new VeltaError('CLOSED', 'the iterator was closed');
        const made = table.database.run((instance) =>
            table.result(
                instance,
                (out) => instance.exports.abi_iterator_next(handle, Math.min(n, 0xffffffff), out),
                (result) => {
                    const rows = instance.exports.abi_result_count(result) >>> 0;
                    return rows === 0 ? null : { value: use(instance, result, rows) };
                },
            ),
        );
        if (made === null) this.close();
        return made === null ? null : made.value;
    }

    #fetch(n: number): R[] {
        const { table } = this.#held;
        return (this.nextResult(n, (instance, result, rows) => table.rowsOf(instance, result, this.#columns, rows)) ??
            []) as R[];
    }

    /** The next row. */
    next(): IteratorResult<R, undefined> {
        if (this.#place >= this.#ahead.length) {
            this.#ahead = this.#fetch(AHEAD);
            this.#place = 0;
            if (this.#ahead.length === 0) return { done: true, value: undefined };
        }
        return { done: false, value: this.#ahead[this.#place++] as R };
    }

    /** Ends a loop early: closes. */
    return(): IteratorResult<R, undefined> {
        this.close();
        return { done: true, value: undefined };
    }

    /** All rows that are left. */
    collectAll(): R[] {
        const rows: R[] = [];
        for (let batch = this.nextBatch(1000); batch.length > 0; batch = this.nextBatch(1000)) {
            for (const row of batch) rows.push(row);
        }
        return rows;
    }

    /** Lets go of the moment it saw. More than once does nothing. */
    close(): void {
        this.#done = true;
        this.#ahead = [];
        this.#place = 0;
        forgotten.unregister(this);
        if (this.#held.handle !== 0 && this.#held.table.database.instance.poisoned === null) end(this.#held);
    }

    [Symbol.iterator](): this {
        return this;
    }

    /** The same rows for `for await`, leaving the page responsive between batches. */
    async *[Symbol.asyncIterator](): AsyncGenerator<R, void, undefined> {
        try {
            for (let batch = this.nextBatch(); batch.length > 0; batch = this.nextBatch()) {
                yield* batch;
                await new Promise<void>((resolve) => setTimeout(resolve));
            }
        } finally {
            this.close();
        }
    }

    [dispose](): void {
        this.close();
    }
}
