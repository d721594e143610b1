/**
 * Live searches: a search that is asked again whenever a change may have given it another answer.
 *
 * The engine tells each change while it is made, when nothing may be asked of it. So a change is only noted: that a row
 * of the answer changed, or which other rows might now belong to it. When the synchronous calls of the moment are done,
 * a microtask looks at the notes. Where the answer is full, the noted rows' own distances are compared with that of its
 * last row, by a margin for rounding: if none is near enough, the answer stands and nothing is searched. A row of the
 * answer that expires changes it with no change of the table; a timer waits for the earliest.
 *
 * With `exact` the answers told are those that asking after every change would give, less repetitions. Without it they
 * are those of the same search at the moments when something near changed; linking of the index alone tells nothing.
 */
import type { Database } from './database.js';
import { VeltaError, checkOptions, describe, invalid } from './errors.js';
import { type Filter, filterText } from './filter.js';
import type { Hit, SearchResult } from './result.js';
import type { ColumnName, Metric, Schema } from './schema.js';
import { DEFAULT_K, type SearchOptions } from './search.js';
import type { Table } from './table.js';
import type { ColumnInfo } from './values.js';
import type { Change } from './watch.js';

/** Options of a live search. */
export interface LiveSearchOptions<S extends Schema = Schema, C extends ColumnName<S> = ColumnName<S>> extends Omit<
    SearchOptions<S, C>,
    'at' | 'onProgress'
> {
    /** Another name for `where`. */
    readonly filter?: string | Filter<ColumnName<S>>;
    /** Milliseconds that pass at least between two searches; 16 is about a frame. Default 0: once for each task. */
    readonly interval?: number;
}

/**
 * Gets each new answer. Where a search failed, `error` says why, and the answer is the last one there was; the next
 * change of the table tries again.
 */
export type LiveSearchCallback<S extends Schema = Schema, C extends ColumnName<S> = never> = (
    answer: SearchResult<S, C>,
    error?: VeltaError,
) => void;

type Answer = SearchResult<Schema, string>;

const OPTIONS = ['k', 'ef', 'column', 'where', 'filter', 'select', 'exact', 'interval'];
const LONGEST_MS = 0x7fffffff;
/** Elements of noted vectors that are looked at; where there are more, searching is as cheap. */
const MOST_ELEMENTS = 2 ** 18;
/** A clock that stands still must not keep a timer busy. */
const LEAST_WAIT_MS = 10;

function optionsOf(options: LiveSearchOptions | undefined): [SearchOptions, number] {
    checkOptions('watch', options, OPTIONS);
    const { filter, interval = 0, where, ...others } = options ?? {};
    if (filter !== undefined && where !== undefined) {
        throw invalid('watch: filter and where are two names of one option; give one');
    }
    if (typeof interval !== 'number' || !(interval >= 0 && interval <= LONGEST_MS)) {
        throw invalid(`watch: interval is a number of milliseconds, not ${describe(interval)}`);
    }
    const text = where ?? filter;
    return [text === undefined ? others : { ...others, where: filterText(text) }, interval];
}

/** Whether a filter may depend on a column. A name in quotes may be spelt otherwise than it is. */
function mentions(filter: string, column: string): boolean {
    return filter !== '' && (!/^\w+$/.test(column) || filter.includes(column));
}

function sameValue(a: unknown, b: unknown): boolean {
    if (Object.is(a, b)) return true;
    if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.byteLength !== b.byteLength) return false;
    const [left, right] = [a, b].map((view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    return (left as Uint8Array).every((byte, i) => byte === (right as Uint8Array)[i]);
}

/** Whether two answers have the same rows in the same order, with the same distances and values. @internal */
export function sameAnswer(a: readonly Hit<Schema, string>[], b: readonly Hit<Schema, string>[]): boolean {
    if (a.length !== b.length) return false;
    return a.every((hit, i) => {
        const other = b[i] as Hit<Schema, string>;
        if (hit.row !== other.row || hit.key !== other.key || !Object.is(hit.distance, other.distance)) return false;
        return Object.keys(hit.values).every((name) => sameValue(hit.values[name], other.values[name]));
    });
}

/** The distance of vector `at` of `vectors`, less what rounding may make of it; NaN for a vector that is NULL. */
function leastDistance(metric: Metric, query: ArrayLike<number>, vectors: Float32Array, at: number): number {
    const size = query.length;
    let [dot, sizes, own, squares] = [0, 0, 0, 0];
    for (let i = 0, j = at * size; i < size; i++, j++) {
        const a = query[i] as number;
        const b = vectors[j] as number;
        dot += a * b;
        sizes += Math.abs(a * b);
        own += a * a;
        squares += b * b;
    }
    if (metric === 'dot') return -dot - 1e-4 * sizes;
    if (metric === 'l2') return own + squares - 2 * dot - 1e-4 * (own + squares);
    /* No direction: near enough to be asked for. */
    if (own === 0 || squares === 0) return -Infinity;
    return 1 - dot / Math.sqrt(own * squares) - 1e-4;
}

class LiveSearch {
    readonly #table: Table<Schema>;
    readonly #database: Database;
    readonly #query: Float32Array | readonly number[];
    readonly #options: SearchOptions;
    readonly #interval: number;
    readonly #callback: LiveSearchCallback<Schema, string>;
    readonly #column: ColumnInfo;
    readonly #filter: string;
    readonly #selected: ReadonlySet<string>;
    readonly #k: number;
    /** The last answer, and the rows in it. */
    #answer: Answer;
    #hits = new Set<number>();
    #isTold = false;
    /** Rows outside the answer that may belong to it now. */
    readonly #noted = new Set<number>();
    /** The answer may be another, whatever is noted. */
    #isStale = false;
    #isPlanned = false;
    #searchedAt = -Infinity;
    #timer: ReturnType<typeof setTimeout> | undefined;
    #expiry: ReturnType<typeof setTimeout> | undefined;
    #unwatch: (() => void) | undefined;

    constructor(
        table: Table<Schema>,
        query: Float32Array | readonly number[],
        options: LiveSearchOptions | undefined,
        callback: LiveSearchCallback<Schema, string>,
    ) {
        const [search, interval] = optionsOf(options);
        this.#table = table;
        this.#database = table.database;
        this.#options = { ...search, ...(search.select === undefined ? {} : { select: [...search.select] }) };
        this.#interval = interval;
        this.#callback = callback;
        this.#answer = table.search(query, this.#options) as Answer;
        this.#query = query.slice();
        this.#column = table.vectorColumn(search.column as string | undefined);
        this.#filter = search.where === undefined ? '' : filterText(search.where);
        this.#selected = new Set(search.select);
        this.#k = search.k ?? DEFAULT_K;
        this.#unwatch = this.#database.watch((change) => this.#note(change));
        this.#database.endings.add(this.stop);
        this.#keep(this.#answer);
        this.#plan();
    }

    readonly stop = (): void => {
        clearTimeout(this.#timer);
        clearTimeout(this.#expiry);
        this.#database.endings.delete(this.stop);
        this.#unwatch?.();
        this.#unwatch = undefined;
    };

    /** Called in the middle of a call of the database. */
    #note({ kind, table, column, rows }: Change): void {
        if (table !== this.#table.name) return;
        switch (kind) {
            case 'renumbered':
            case 'table':
                this.#spoil();
                break;
            case 'insert':
                this.#noteRows(rows);
                break;
            case 'delete':
                for (const row of rows) {
                    this.#noted.delete(row);
                    if (this.#hits.has(row)) this.#spoil();
                }
                break;
            default:
                /* Without a column: when the rows expire. */
                if (column === undefined || column === this.#column.name || mentions(this.#filter, column)) {
                    this.#noteRows(rows);
                } else if (this.#selected.has(column) && rows.some((row) => this.#hits.has(row))) {
                    this.#spoil();
                }
        }
        if (this.#isStale || this.#noted.size > 0) this.#plan();
    }

    #noteRows(rows: Uint32Array): void {
        if (this.#isStale) return;
        const most = MOST_ELEMENTS / this.#column.dimensions;
        if (rows.length > most || this.#hits.size < this.#k || this.#column.full.type !== 'vector') {
            this.#spoil();
            return;
        }
        for (const row of rows) {
            if (this.#hits.has(row)) this.#spoil();
            this.#noted.add(row);
        }
        if (this.#noted.size > most) this.#spoil();
    }

    #spoil(): void {
        this.#isStale = true;
        this.#noted.clear();
    }

    #plan(): void {
        if (this.#isPlanned) return;
        this.#isPlanned = true;
        const wait = this.#searchedAt + this.#interval - performance.now();
        if (wait <= 0) queueMicrotask(() => this.#look());
        else this.#timer = later(() => this.#look(), wait);
    }

    #look(): void {
        this.#isPlanned = false;
        if (this.#unwatch === undefined) return;
        let failure: VeltaError | undefined;
        try {
            if (this.#isAffected()) this.#search();
            this.#isStale = false;
        } catch (error) {
            this.#isStale = true;
            failure = failureOf(error);
        }
        this.#noted.clear();
        if (this.#isTold && failure === undefined) return;
        this.#isTold = true;
        if (failure === undefined) this.#callback(this.#answer);
        else this.#callback(this.#answer, failure);
    }

    #isAffected(): boolean {
        if (this.#isStale || this.#noted.size === 0) return this.#isStale;
        const { full, name } = this.#column;
        /* The engine compares what it keeps of the others by other arithmetic. */
        if (full.type !== 'vector' || full.element !== 'f32') return true;
        const rows = Uint32Array.from(this.#noted);
        const farthest = (this.#answer.at(-1) as Hit<Schema, string>).distance;
        let vectors: Float32Array;
        try {
            vectors = this.#table.getColumns(rows, [name])[name] as Float32Array;
        } catch (error) {
            /* A row that has expired meanwhile cannot be read. */
            if (error instanceof VeltaError && error.code === 'NOT_FOUND') return true;
            throw error;
        }
        return rows.some((_, i) => leastDistance(full.metric, this.#query, vectors, i) <= farthest + margin(farthest));
    }

    #search(): void {
        this.#searchedAt = performance.now();
        let answer: Answer;
        if (this.#table.dropped) {
            const { explain } = this.#answer;
            const nothing = { strategy: 'none', selectivity: 0, matchingRows: 0, nodesVisited: 0, rowsScanned: 0 };
            answer = Object.assign([], { explain: { ...explain, ...nothing, rowsReranked: 0 } }) as unknown as Answer;
            this.stop();
        } else {
            answer = this.#table.search(this.#query, this.#options) as Answer;
        }
        this.#isTold &&= sameAnswer(answer, this.#answer);
        this.#keep(answer);
    }

    #keep(answer: Answer): void {
        this.#answer = answer;
        this.#hits = new Set(answer.map(({ row }) => row));
        clearTimeout(this.#expiry);
        if (this.#unwatch !== undefined) this.#awaitExpiry();
    }

    #awaitExpiry(): void {
        const next = this.#table.nextExpiry(Uint32Array.from(this.#hits));
        if (next === Infinity) return;
        const wait = Math.min(LONGEST_MS, Math.max(LEAST_WAIT_MS, next - this.#database.now()));
        this.#expiry = later(() => {
            try {
                if (this.#database.now() < next) {
                    this.#awaitExpiry();
                    return;
                }
            } catch {
                // What fails here, as the caller's clock may, is told when it fails the search.
            }
            this.#spoil();
            this.#plan();
        }, wait);
    }
}

/** A failing search's error; what the caller's clock throws is not the package's. */
function failureOf(error: unknown): VeltaError {
    if (error instanceof VeltaError) return error;
    const text = error instanceof Error ? error.message : String(error);
    return new VeltaError('INVALID', `the live search failed: ${text}`, { cause: error });
}

/** What rounding may make of the distance that others are compared with. */
function margin(distance: number): number {
    return 1e-4 * Math.abs(distance);
}

/** A timer that does not keep the process alive. */
function later(run: () => void, milliseconds: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(run, milliseconds);
    (timer as { unref?: () => void }).unref?.();
    return timer;
}

/** Begins a live search; gives the function that ends it. @internal */
export function startLiveSearch(table: Table<Schema>, query: unknown, options: unknown, callback: unknown): () => void {
    if (typeof callback !== 'function') throw invalid(`watch takes a function, not ${describe(callback)}`);
    const search = query as Float32Array;
    return new LiveSearch(table, search, options as LiveSearchOptions, callback as LiveSearchCallback<Schema, string>)
        .stop;
}
