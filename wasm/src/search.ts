/**
 * Searches: options to one call of the engine, its result to hits or to arrays.
 */
import { NO_ROW, type Address } from './abi.js';
import { VeltaError, checkOptions, describe, invalid } from './errors.js';
import { type Filter, filterText } from './filter.js';
import type { Instance, Progress } from './instance.js';
import { type Hit, type SearchResult, readExplain, scoreOf } from './result.js';
import {
    type ColumnName,
    type ColumnOfType,
    type FullVectorColumn,
    type KeyOf,
    type RowOf,
    type Schema,
    TYPE_NAMES,
} from './schema.js';
import { type Table, timeOf } from './table.js';
import { type ColumnInfo, columnList, isDetached, readers, rowOfReaders, vectorArgument } from './values.js';

/** How many rows, unless asked. @internal */
export const DEFAULT_K = 10;
const MAX_K = 16_384;
const OPTIONS = ['k', 'ef', 'column', 'where', 'select', 'at', 'exact', 'onProgress'];

/** Options of a search. */
export interface SearchOptions<S extends Schema = Schema, C extends ColumnName<S> = ColumnName<S>> {
    /** How many rows; default 10, at most 16,384. */
    readonly k?: number;
    /** Candidates kept by the graph search: more finds more and takes longer. Default 160. */
    readonly ef?: number;
    /** The vector column; needed where there are several. */
    readonly column?: ColumnOfType<S, 'vector'>;
    /** Only rows that match. */
    readonly where?: string | Filter<ColumnName<S>>;
    /** Columns whose values the hits carry; default none. */
    readonly select?: readonly C[];
    /** The state at that time. */
    readonly at?: Date | number;
    /** No approximation. Default false. */
    readonly exact?: boolean;
    /** Reports while it runs; returning `false` cancels. */
    readonly onProgress?: Progress;
}

/** Rows and distances of queries: k slots for each, query after query. */
export interface SearchArrays {
    /** Row numbers; 4294967295 in slots past what was found. */
    readonly rows: Uint32Array;
    /** Distances; Infinity in slots past what was found. */
    readonly distances: Float32Array;
    readonly k: number;
}

function whole(name: string, value: unknown, most: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > most) {
        throw invalid(`search: ${name} must be a whole number from 1 to ${most}, not ${describe(value)}`);
    }
    return value;
}

interface Prepared {
    readonly column: ColumnInfo;
    readonly queries: Address;
    readonly count: number;
    readonly k: number;
}

/** Writes queries and gives how many there are. */
function writeQueries(instance: Instance, column: ColumnInfo, queries: unknown, many: boolean): [Address, number] {
    if (!many) return [vectorArgument(instance, column, queries), 1];
    if (!(queries instanceof Float32Array)) throw invalid(`queries must be a Float32Array, not ${describe(queries)}`);
    const { length } = queries;
    if (length === 0 && isDetached(queries)) throw invalid('the ArrayBuffer of the queries is detached');
    if (length % column.dimensions !== 0) {
        throw new VeltaError(
            'DIMENSIONS',
            `${length} elements are not a whole number of queries; column '${column.name}' has ${column.dimensions}`,
        );
    }
    const at = instance.space(length * 4);
    instance.f32.set(queries, at >>> 2);
    return [at, length / column.dimensions];
}

/** Calls the engine; `use` gets the result. Between enter and leave. */
function run<T>(
    table: Table<Schema>,
    queries: unknown,
    many: boolean,
    options: SearchOptions,
    select: readonly ColumnInfo[],
    use: (result: Address, prepared: Prepared) => T,
): T {
    const { instance } = table.database;
    const column = table.vectorColumn(options.column as string | undefined);
    const k = options.k === undefined ? DEFAULT_K : whole('k', options.k, MAX_K);
    const ef = options.ef === undefined ? 0 : whole('ef', options.ef, 0xffffffff);
    const at = timeOf(options.at);
    const where = options.where === undefined ? '' : filterText(options.where);
    const filter = where === '' ? 0 : table.compiled(where);
    const list = select.length === 0 ? 0 : columnList(instance, select);
    const [address, count] = writeQueries(instance, column, queries, many);
    const exact = options.exact === true ? 1 : 0;
    if (count === 0) return use(0, { column, queries: address, count, k });
    const call = (progress: number): T =>
        table.result(
            instance,
            (out) =>
                instance.exports.abi_search(
                    table.handle,
                    column.address,
                    address,
                    count,
                    k,
                    ef,
                    0,
                    filter,
                    list,
                    select.length,
                    at,
                    exact,
                    progress,
                    out,
                ),
            (result) => use(result, { column, queries: address, count, k }),
        ) as T;
    return options.onProgress === undefined ? call(0) : instance.withProgress(options.onProgress, call);
}

/** @internal */
export function searchArrays<S extends Schema>(
    given: Table<S>,
    queries: Float32Array,
    options: SearchOptions<S, never>,
): SearchArrays {
    const table = given as unknown as Table<Schema>;
    checkOptions(
        'searchArrays',
        options,
        OPTIONS.filter((name) => name !== 'select'),
    );
    table.open();
    return table.database.run((instance) =>
        run(table, queries, true, options as unknown as SearchOptions, [], (result, { count, k }) => {
            if (result === 0) return { rows: new Uint32Array(0), distances: new Float32Array(0), k };
            const rows = (instance.exports.abi_result_rows(result) >>> 0) >>> 2;
            const distances = (instance.exports.abi_result_distances(result) >>> 0) >>> 2;
            return {
                rows: instance.u32.slice(rows, rows + count * k),
                distances: instance.f32.slice(distances, distances + count * k),
                k,
            };
        }),
    );
}

/** @internal */
export function searchHits<S extends Schema, C extends ColumnName<S>>(
    given: Table<S>,
    queries: unknown,
    many: boolean,
    options: SearchOptions<S, C>,
): SearchResult<S, C>[] {
    const table = given as unknown as Table<Schema>;
    checkOptions('search', options, OPTIONS);
    table.open();
    const key = table.keyInfo;
    const selected = options.select === undefined ? [] : table.columnsOf(options.select);
    const select = key === null ? selected : [key, ...selected];
    return table.database.run((instance) =>
        run(table, queries, many, options as unknown as SearchOptions, select, (result, { column, count, k }) => {
            const found: SearchResult<S, C>[] = [];
            if (result === 0) return found;
            const rows = (instance.exports.abi_result_rows(result) >>> 0) >>> 2;
            const distances = (instance.exports.abi_result_distances(result) >>> 0) >>> 2;
            const columns = readers(instance, result, select, TYPE_NAMES);
            const keys = key === null ? undefined : columns.shift();
            const { metric } = column.full as FullVectorColumn;
            const { u32, f32 } = instance;
            for (let query = 0; query < count; query++) {
                const hits: Hit<S, C>[] = [];
                for (let slot = query * k; slot < (query + 1) * k; slot++) {
                    const row = u32[rows + slot] as number;
                    if (row === NO_ROW) break;
                    const distance = f32[distances + slot] as number;
                    hits.push({
                        row,
                        key: (keys === undefined ? row : keys.at(slot)) as KeyOf<S>,
                        distance,
                        score: scoreOf(metric, distance),
                        values: rowOfReaders(columns, slot) as Pick<RowOf<S>, C>,
                    });
                }
                const answer = hits as SearchResult<S, C>;
                answer.explain = readExplain(instance, result, query);
                found.push(answer);
            }
            return found;
        }),
    );
}
