/**
 * Queries: the rows that match a filter, counted, read, ordered, aggregated, searched or deleted.
 *
 * A query is immutable and holds no rows: each method asks the engine anew. Its filter is text; the table keeps a few
 * compiled ones.
 */
import type { Address } from './abi.js';
import { VeltaError, checkOptions, describe, invalid } from './errors.js';
import { type Filter, and, filterOf, filterText, not, or } from './filter.js';
import { AGGREGATE_COLUMN, AGGREGATE_KIND, AGGREGATE_SIZE, KEYS_ROWS, KEYS_SIZE } from './generated/layout.js';
import type { Instance } from './instance.js';
import type { SearchResult } from './result.js';
import { type ColumnName, type ColumnOfType, type KeyOf, type RowOf, type Schema, TYPE_NAMES } from './schema.js';
import { type SearchOptions, searchHits } from './search.js';
import type { Table } from './table.js';
import { type ColumnInfo, columnList, readers } from './values.js';

/** One figure over the rows of a query or of a group. Made by {@link count} and its kin. */
export interface Aggregate<T = unknown> {
    readonly kind: 'count' | 'sum' | 'min' | 'max' | 'mean';
    readonly column: string | null;
    /** For the compiler alone: what comes out. */
    readonly result?: T;
}

/** How many rows there are. */
export function count(): Aggregate<number> {
    return { kind: 'count', column: null };
}

/** The sum of a column; 0 of nothing. LIMIT where it exceeds 64 bits. */
export function sum(column: string): Aggregate<number | bigint | null> {
    return { kind: 'sum', column };
}

/** The least value of a column; null of nothing. */
export function min(column: string): Aggregate<number | bigint | Date | null> {
    return { kind: 'min', column };
}

/** The greatest value of a column; null of nothing. */
export function max(column: string): Aggregate<number | bigint | Date | null> {
    return { kind: 'max', column };
}

/** The mean of a column; null of nothing. */
export function mean(column: string): Aggregate<number | null> {
    return { kind: 'mean', column };
}

/** Figures by the names they get. */
export type Aggregates = Readonly<Record<string, Aggregate>>;
/** The figures that were asked for. */
export type AggregateValues<A extends Aggregates> = {
    -readonly [N in keyof A]: A[N] extends Aggregate<infer T> ? T : never;
};

/** Row numbers that there is room for at first, whatever the table. */
const LEAST_ROOM = 4096;

const AGGREGATE_KINDS = ['count', 'sum', 'min', 'max', 'mean'] as const;

interface State {
    readonly select: readonly string[] | undefined;
    readonly order: { readonly column: string; readonly smallest: boolean } | undefined;
    readonly limit: number | undefined;
}

/** The rows of a table that match a filter. Made by `Table.where` and `Table.all`. */
export class Query<S extends Schema = Schema, C extends ColumnName<S> = ColumnName<S>> {
    readonly #table: Table<S>;
    readonly #state: State;
    /** Whether the filter was compiled by itself, or made of such. */
    readonly #isWhole: boolean;
    /** The filter's text; '' matches every row. */
    readonly filter: string;

    /** @internal */
    constructor(
        table: Table<S>,
        filter: string,
        state: State = { select: undefined, order: undefined, limit: undefined },
        isWhole = false,
    ) {
        this.#table = table;
        this.filter = filter;
        this.#state = state;
        this.#isWhole = isWhole;
    }

    #with(change: Partial<State>): Query<S, C> {
        return new Query<S, C>(this.#table, this.filter, { ...this.#state, ...change }, this.#isWhole);
    }

    /**
     * The query's filter as a part of another. Each text is compiled by itself first, so that only what is whole is put
     * in parentheses: `a) OR (b` is no filter.
     */
    #part(): Filter {
        if (!this.#isWhole) this.#check(this.filter);
        return filterOf(this.filter);
    }

    /** A filter that joins the query's. */
    #joining(filter: string | Filter): Filter {
        const text = filterText(filter);
        this.#check(text);
        return filterOf(text);
    }

    #check(text: string): void {
        if (text.trim() === '') return;
        this.#table.open();
        this.#table.database.run(() => this.#table.compiled(text));
    }

    #joined(filter: Filter): Query<S, C> {
        return new Query<S, C>(this.#table, filter.toString(), this.#state, true);
    }

    /**
     * Those that match this filter as well.
     * @throws {VeltaError} SYNTAX, UNKNOWN_COLUMN, TYPE for either filter; `offset` is the position in its own text
     */
    and(filter: string | Filter<ColumnName<S>>): Query<S, C> {
        const other = this.#joining(filter);
        if (this.filter.trim() === '') return this.#joined(other);
        return this.#joined(and(this.#part(), other));
    }

    /**
     * Those that match, and those that match this filter.
     * @throws {VeltaError} As {@link Query.and}
     */
    or(filter: string | Filter<ColumnName<S>>): Query<S, C> {
        const other = this.#joining(filter);
        if (this.filter.trim() === '') return this;
        return this.#joined(or(this.#part(), other));
    }

    /**
     * Those for which the filter is false; those for which it is unknown (NULL) match neither.
     * @throws {VeltaError} As {@link Query.and}
     */
    not(): Query<S, C> {
        return this.#joined(not(this.#part()));
    }

    /** Only these columns in the rows. */
    select<const D extends ColumnName<S>>(...columns: readonly D[]): Query<S, D> {
        this.#table.columnsOf(columns);
        return new Query<S, D>(this.#table, this.filter, { ...this.#state, select: columns }, this.#isWhole);
    }

    /**
     * Rows in the order of an int, float or timestamp column, ties by row number; rows with NULL or NaN in it last.
     * Without it rows come by their number.
     */
    orderBy(column: ColumnOfType<S, 'int' | 'float' | 'timestamp'>, direction: 'asc' | 'desc' = 'asc'): Query<S, C> {
        const { type } = this.#table.column(column);
        if (type !== 'int' && type !== 'float' && type !== 'timestamp') {
            throw new VeltaError('TYPE', `column '${column}' is ${type}: rows are ordered by int, float or timestamp`);
        }
        if (direction !== 'asc' && direction !== 'desc') {
            throw invalid(`orderBy: the direction is 'asc' or 'desc', not ${describe(direction)}`);
        }
        return this.#with({ order: { column, smallest: direction === 'asc' } });
    }

    /** At most so many rows, of those that `rows`, `keys`, `toArray` and iterating give. */
    limit(n: number): Query<S, C> {
        if (!Number.isInteger(n) || n < 0) throw invalid(`limit: a whole number from 0, not ${describe(n)}`);
        return this.#with({ limit: n });
    }

    /** How many rows match; `limit` does not change it. */
    count(): number {
        this.#table.open();
        return this.#table.database.run((instance) => this.#count(instance, this.filter));
    }

    #count(instance: Instance, text: string): number {
        const filter = this.#table.compiled(text);
        const out = instance.space(8);
        instance.check(instance.exports.abi_filter_count(filter, out));
        return instance.f64[out >>> 3] as number;
    }

    /**
     * Matching rows by number, ascending, in argument space. There is room for one row in 32 at first, so that a
     * selective filter runs once; where more match, it runs again with room for all.
     */
    #matching(instance: Instance, text: string, most: number): [Address, number] {
        const filter = this.#table.compiled(text);
        const out = instance.space(8);
        const { rowCount } = this.#table;
        const mark = instance.top;
        let capacity = Math.min(most, Math.max(LEAST_ROOM, rowCount >>> 5));
        for (;;) {
            const rows = instance.space(capacity * 4);
            instance.check(instance.exports.abi_filter_rows(filter, rows, capacity, out));
            const wanted = Math.min(instance.f64[out >>> 3] as number, most);
            if (wanted <= capacity) return [rows, wanted];
            instance.leave(mark);
            capacity = wanted;
        }
    }

    /** The rows in order, in argument space. */
    #ordered(instance: Instance): [Address, number] {
        const { order, limit = Infinity } = this.#state;
        if (order === undefined) return this.#matching(instance, this.filter, limit);
        const most = Math.min(this.#count(instance, this.filter), limit);
        if (most === 0) return [0, 0];
        const table = this.#table;
        const where = instance.cString(this.filter, 'the filter');
        const column = table.column(order.column);
        const list = columnList(instance, [column]);
        const rows = instance.space(most * 4);
        const smallest = order.smallest ? 1 : 0;
        let found = table.result(
            instance,
            (out) => instance.exports.abi_top(table.handle, where, column.address, smallest, most, list, 1, out),
            (result) => {
                const top = instance.exports.abi_result_count(result) >>> 0;
                const from = (instance.exports.abi_result_rows(result) >>> 0) >>> 2;
                instance.u32.copyWithin(rows >>> 2, from, from + top);
                return top;
            },
        ) as number;
        if (found < most) {
            // what has no place in the order: NULL and NaN
            const placed = new Set(instance.u32.subarray(rows >>> 2, (rows >>> 2) + found));
            const [all, total] = this.#matching(instance, this.filter, Infinity);
            for (let i = 0; i < total && found < most; i++) {
                const row = instance.u32[(all >>> 2) + i] as number;
                if (!placed.has(row)) instance.u32[(rows >>> 2) + found++] = row;
            }
        }
        return [rows, found];
    }

    /** The row numbers: ascending, or as ordered. */
    rows(): Uint32Array {
        this.#table.open();
        return this.#table.database.run((instance) => {
            const [rows, found] = this.#ordered(instance);
            return instance.u32.slice(rows >>> 2, (rows >>> 2) + found);
        });
    }

    /** What it reads of which table. @internal */
    get source(): { readonly table: Table<S>; readonly columns: readonly ColumnInfo[] } {
        return { table: this.#table, columns: this.#table.columnsOf(this.#state.select) };
    }

    #read(columns: readonly ColumnInfo[]): Record<string, unknown>[] {
        const table = this.#table;
        table.open();
        return table.database.run((instance) => {
            const rows = this.#ordered(instance);
            return table.read(instance, rows, columns, 0) ?? [];
        });
    }

    /** The keys of the rows; their numbers, where the table has no key. */
    keys(): KeyOf<S>[] {
        const key = this.#table.keyInfo;
        if (key === null) return Array.from(this.rows()) as KeyOf<S>[];
        return this.#read([key]).map((row) => row[key.name] as KeyOf<S>);
    }

    /** The rows as objects. */
    toArray(): Pick<RowOf<S>, C>[] {
        return this.#read(this.#table.columnsOf(this.#state.select)) as Pick<RowOf<S>, C>[];
    }

    /** The first of the rows, or null. */
    first(): Pick<RowOf<S>, C> | null {
        return this.limit(Math.min(1, this.#state.limit ?? 1)).toArray()[0] ?? null;
    }

    /** The rows, one by one; they are read at the start. */
    [Symbol.iterator](): Iterator<Pick<RowOf<S>, C>> {
        return this.toArray()[Symbol.iterator]();
    }

    /** The nearest of the matching rows; `select` is the query's unless the options have their own. */
    search<const D extends ColumnName<S> = never>(
        query: Float32Array | readonly number[],
        options: Omit<SearchOptions<S, D>, 'where'> = {},
    ): SearchResult<S, D> {
        checkOptions('search', options, ['k', 'ef', 'column', 'select', 'at', 'exact', 'onProgress']);
        const select = options.select ?? (this.#state.select as readonly D[] | undefined);
        const all = { ...options, where: this.filter, ...(select === undefined ? {} : { select }) };
        return searchHits<S, D>(this.#table, query, false, all)[0] as SearchResult<S, D>;
    }

    /** Figures over all matching rows: `aggregate({ n: count(), total: sum('size') })`. */
    aggregate<const A extends Aggregates>(aggregates: A): AggregateValues<A> {
        return this.#aggregate(aggregates, undefined, 0, 0)[0] as AggregateValues<A>;
    }

    /**
     * Figures over the matching rows of each value of a string, bool or int column of at most 65,536 distinct values;
     * NULL is a group. In order of the value or, with `top`, largest first.
     * @param options - `top`: how many groups, those with the largest value of the figure `orderBy` (default the first)
     */
    groupBy<const A extends Aggregates, const G extends ColumnOfType<S, 'string' | 'bool' | 'int'>>(
        column: G,
        aggregates: A,
        options: { readonly top?: number; readonly orderBy?: keyof A & string } = {},
    ): ({ group: RowOf<S>[G] | null } & AggregateValues<A>)[] {
        checkOptions('groupBy', options, ['top', 'orderBy']);
        const { top = 0, orderBy } = options;
        if (!Number.isInteger(top) || top < 0 || (options.top !== undefined && top === 0)) {
            throw invalid(`groupBy: top must be a whole number from 1, not ${describe(options.top)}`);
        }
        if (typeof aggregates !== 'object' || aggregates === null) {
            throw invalid(`aggregates are an object of count(), sum() … by name, not ${describe(aggregates)}`);
        }
        const names = Object.keys(aggregates);
        const order = orderBy === undefined ? 0 : names.indexOf(orderBy);
        if (order < 0) throw invalid(`groupBy: orderBy must be one of ${names.join(', ')}, not ${describe(orderBy)}`);
        if (orderBy !== undefined && options.top === undefined) throw invalid('groupBy: orderBy needs top');
        if (names.includes('group')) throw invalid("groupBy: 'group' is the name of the group's value");
        return this.#aggregate(aggregates, this.#table.column(column), top, order) as ({
            group: RowOf<S>[G] | null;
        } & AggregateValues<A>)[];
    }

    #aggregate(
        aggregates: Aggregates,
        group: ColumnInfo | undefined,
        top: number,
        order: number,
    ): Record<string, unknown>[] {
        if (typeof aggregates !== 'object' || aggregates === null) {
            throw invalid(`aggregates are an object of count(), sum() … by name, not ${describe(aggregates)}`);
        }
        const entries = Object.entries(aggregates);
        const table = this.#table;
        table.open();
        return table.database.run((instance) => {
            const list = this.#writeAggregates(instance, entries);
            const where = instance.cString(this.filter, 'the filter');
            const by = group?.address ?? 0;
            const most = Math.min(top, 0xffffffff);
            return table.result(
                instance,
                (out) =>
                    instance.exports.abi_aggregate(table.handle, where, list, entries.length, by, most, order, out),
                (result) => this.#readAggregates(instance, result, entries, group),
            ) as Record<string, unknown>[];
        });
    }

    #writeAggregates(instance: Instance, entries: readonly [string, Aggregate][]): Address {
        const at = instance.space(entries.length * AGGREGATE_SIZE);
        entries.forEach(([name, aggregate], i) => {
            const kind = AGGREGATE_KINDS.indexOf(aggregate?.kind);
            if (kind < 0) throw invalid(`aggregate '${name}' must be count(), sum(), min(), max() or mean()`);
            const column = aggregate.column === null ? 0 : this.#table.column(aggregate.column).address;
            instance.u32[(at + i * AGGREGATE_SIZE + AGGREGATE_KIND) >>> 2] = kind + 1;
            instance.u32[(at + i * AGGREGATE_SIZE + AGGREGATE_COLUMN) >>> 2] = column;
        });
        return at;
    }

    #readAggregates(
        instance: Instance,
        result: Address,
        entries: readonly [string, Aggregate][],
        group: ColumnInfo | undefined,
    ): Record<string, unknown>[] {
        const named = entries.map(([name]) => ({ name, dimensions: 0 }));
        if (group !== undefined) named.unshift({ name: 'group', dimensions: 0 });
        const found = readers(instance, result, named, TYPE_NAMES);
        const isTime = entries.map(
            ([, { kind, column }]) =>
                (kind === 'min' || kind === 'max') &&
                column !== null &&
                this.#table.column(column).type === 'timestamp',
        );
        const rows: Record<string, unknown>[] = [];
        const total = instance.exports.abi_result_count(result) >>> 0;
        for (let row = 0; row < total; row++) {
            const values = found.map((reader, i) => {
                const value = reader.at(row);
                const time = isTime[group === undefined ? i : i - 1] === true;
                return [reader.name, time && typeof value === 'number' ? new Date(value) : value] as const;
            });
            rows.push(Object.fromEntries(values));
        }
        return rows;
    }

    /**
     * Deletes the matching rows: those of `limit` and `orderBy`, where given.
     * @returns how many
     */
    delete(): number {
        const table = this.#table;
        table.open();
        const deleted = table.database.run((instance) => {
            const [rows, found] = this.#ordered(instance);
            const keys = instance.space(KEYS_SIZE);
            instance.u8.fill(0, keys, keys + KEYS_SIZE);
            instance.u32[(keys + KEYS_ROWS) >>> 2] = rows;
            return table.deleteBy(instance, keys, found);
        });
        table.database.wrote();
        return deleted;
    }
}
