/**
 * Reads a Parquet file by parts: the footer first, then the chunks and pages that are wanted.
 *
 * The last 64 KiB come in one request, which hold most footers; a second one fetches what is missing of a larger. For
 * rows by number, the offset indexes of the chunks say which pages hold them, where the writer wrote such; spans that
 * lie near each other are fetched together. For rows by a filter, the statistics of row groups and pages say which can
 * hold a match (row_filter.ts), and nothing is fetched of the others. All that is fetched or decoded is charged to one
 * budget while it is held.
 *
 * The bytes are hostile: footer.ts, pages.ts and encodings.ts check what they say before anything is done by it.
 */
import { VeltaError, checkOptions, describe, invalid, quoted } from '../errors.js';
import type { Filter } from '../filter.js';
import { type Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import { RangeClient, type RangeClientOptions } from '../ranges/range_client.js';
import {
    LocalSource,
    type RangeSource,
    type RangeStats,
    type Tail,
    underSignals,
    unlessAborted,
} from '../ranges/source.js';
import type { ColumnType } from '../schema.js';
import { whereText } from '../imports/incoming.js';
import { zstdUnpacker } from '../imports/zstd.js';
import type { Decompressor } from './compression.js';
import { corrupt } from './encodings.js';
import {
    type Chunk,
    type Column,
    type Footer,
    type Group,
    type Span,
    columnNamed,
    footerLength,
    parseFooter,
    typeFor,
} from './footer.js';
import { type PagePlace, readPageStatistics, readPlaces, spansOf } from './page_index.js';
import { ColumnDecoder, type ParquetValues, readPageAt } from './pages.js';
import { concatenate, permute } from './parquet_values.js';
import { type KnownPages, RowFilter, type RowList } from './row_filter.js';
import { boundsOf } from './statistics.js';

/** Where a Parquet file is: an address, a range client, or its bytes. */
export type ParquetSource = string | URL | RangeSource | Uint8Array | ArrayBuffer | Blob;

/** Options of a {@link StreamingParquetReader}. */
export interface ParquetReaderOptions {
    /** What everything held is charged to; default a budget of 1.5 GiB of its own. */
    readonly budget?: MemoryBudget;
    /** Ends everything the reader does. */
    readonly signal?: AbortSignal;
    /** Bytes of the end of the file that come first; default 65,536. */
    readonly footerBytes?: number;
    /** Spans no further apart than this are fetched in one request; default 32,768. */
    readonly gapBytes?: number;
    /** For codecs that are not built in (as BROTLI), or instead of those that are. */
    readonly decompressors?: Readonly<Record<string, Decompressor>>;
    /** Of the range client, where the source is an address. */
    readonly client?: RangeClientOptions;
}

/** A column of a Parquet file. */
export interface ParquetColumn {
    readonly name: string;
    /** What it is for velta; null where it cannot be read. */
    readonly type: ColumnType | null;
    /** Parquet's physical type. */
    readonly physicalType: string;
    /** Of values of a fixed length, in bytes; else 0. */
    readonly byteLength: number;
    readonly nullable: boolean;
    /** Bytes of all its chunks as they are stored. */
    readonly storedBytes: number;
}

/** What the footer says. */
export interface ParquetMetadata {
    readonly fileBytes: number;
    readonly footerBytes: number;
    readonly rows: number;
    readonly createdBy: string;
    readonly columns: readonly ParquetColumn[];
    readonly rowGroups: readonly { readonly startRow: number; readonly rows: number; readonly storedBytes: number }[];
}

/** Options of reading values. */
export interface ReadValuesOptions {
    readonly signal?: AbortSignal | undefined;
    /** Columns of fixed bytes that are float32 vectors. */
    readonly vectors?: readonly string[] | undefined;
}

/** Values that are charged until they are let go. @internal */
export interface HeldValues {
    readonly values: ParquetValues;
    readonly dimensions: number;
    readonly release: () => void;
}

/** Offset indexes that are known already. @internal */
export type KnownPlaces = ReadonlyMap<Chunk, readonly PagePlace[]>;

/** A row group with the rows that match a filter. @internal */
export interface FilteredGroup {
    readonly group: Group;
    /** Rows that bounds did not rule out. */
    readonly candidates: number;
    /** Rows of the group; null: all. */
    readonly rows: RowList;
    /** Their places among the candidates; null: all. */
    readonly places: RowList;
    /** Of the filter's columns, for the candidates. */
    readonly values: readonly HeldValues[];
    readonly known: KnownPlaces;
    release(): void;
}

const OPTIONS = ['budget', 'signal', 'footerBytes', 'gapBytes', 'decompressors', 'client'];
/** A merged request grows no further than this, so that requests can run side by side. */
const LONGEST_SPAN = 8 << 20;
/** What page indexes take when they are read, against their bytes in the file, at most. */
const PARSED_INDEX = 16;

function sourceOf(source: ParquetSource, options: ParquetReaderOptions): RangeSource {
    if (typeof source === 'string' || source instanceof URL) {
        const { signal, budget } = options;
        return new RangeClient(source, {
            ...(signal === undefined ? {} : { signal }),
            ...(budget === undefined ? {} : { budget }),
            ...options.client,
        });
    }
    if (source instanceof Uint8Array) return new LocalSource(source);
    if (source instanceof ArrayBuffer) return new LocalSource(new Uint8Array(source));
    if (typeof Blob === 'function' && source instanceof Blob) return new LocalSource(source);
    const given = source as Partial<RangeSource> | null | undefined;
    const methods = [given?.read, given?.readTail, given?.stats];
    if (methods.every((each) => typeof each === 'function')) return given as RangeSource;
    throw invalid(`a Parquet file is an address, bytes, a Blob or a RangeClient, not ${describe(source)}`);
}

function count(
    options: ParquetReaderOptions,
    name: 'footerBytes' | 'gapBytes',
    least: number,
    otherwise: number,
): number {
    const value = options[name] ?? otherwise;
    if (!Number.isInteger(value) || value < least || value > 1 << 30) {
        throw invalid(`StreamingParquetReader: ${name} must be a whole number from ${least}, not ${describe(value)}`);
    }
    return value;
}

/** Reads a Parquet file by parts. */
export class StreamingParquetReader {
    /** What is held is charged to it. */
    readonly budget: MemoryBudget;
    readonly #source: RangeSource;
    readonly #ownsSource: boolean;
    readonly #options: ParquetReaderOptions;
    readonly #footerBytes: number;
    readonly #gap: number;
    #footer: Promise<{ footer: Footer; fileBytes: number }> | null = null;

    /** @throws {VeltaError} INVALID */
    constructor(source: ParquetSource, options: ParquetReaderOptions = {}) {
        checkOptions('StreamingParquetReader', options, OPTIONS);
        this.#source = sourceOf(source, options);
        this.#ownsSource = this.#source !== source && this.#source instanceof RangeClient;
        this.#options = options;
        this.budget = options.budget ?? new MemoryBudget();
        this.#footerBytes = count(options, 'footerBytes', 8, 65_536);
        this.#gap = count(options, 'gapBytes', 0, 32_768);
    }

    /** What was transferred. */
    stats(): RangeStats {
        return this.#source.stats();
    }

    /**
     * What the file holds: one request, or two where the footer is larger than `footerBytes`. Asked for once.
     * @throws {VeltaError} CORRUPT, UNSUPPORTED, LIMIT, OVER_BUDGET, CANCELLED, and what the source throws
     */
    async readMetadata(options: { readonly signal?: AbortSignal } = {}): Promise<ParquetMetadata> {
        checkOptions('readMetadata', options, ['signal']);
        const { footer, fileBytes } = await this.load(options.signal);
        const stored = (chunks: readonly Chunk[]): number =>
            chunks.reduce((total, { start, end }) => total + end - start, 0);
        return {
            fileBytes,
            footerBytes: footer.footerBytes,
            rows: footer.rows,
            createdBy: footer.createdBy,
            columns: footer.columns.map((column) => ({
                name: column.name,
                type: column.type,
                physicalType: column.physical,
                byteLength: column.physical === 'FIXED_LEN_BYTE_ARRAY' ? column.typeLength : 0,
                nullable: column.maxDefinition > column.maxRepetition,
                storedBytes: stored(
                    footer.groups.flatMap(({ chunks }) => chunks.slice(column.leaf, column.leaf + column.leaves)),
                ),
            })),
            rowGroups: footer.groups.map(({ startRow, rows, chunks }) => {
                return { startRow, rows, storedBytes: stored(chunks) };
            }),
        };
    }

    /** Lets go of a file that was fetched whole from an address, and gives its bytes back to the budget. */
    release(): void {
        if (this.#ownsSource) (this.#source as RangeClient).release();
    }

    /** @internal */
    async load(own?: AbortSignal): Promise<{ footer: Footer; fileBytes: number }> {
        return underSignals([own, this.#options.signal], async ({ signal }) => {
            while (this.#footer !== null) {
                try {
                    return await unlessAborted(this.#footer, signal);
                } catch (error) {
                    // Cancelled by whoever asked first: that is not the end of this one.
                    const isOthers = error instanceof VeltaError && error.code === 'CANCELLED' && !signal.aborted;
                    if (!isOthers) throw error;
                }
            }
            // One that failed is asked for again.
            this.#footer = this.#load(signal).catch((error: unknown) => {
                this.#footer = null;
                throw error;
            });
            return this.#footer;
        });
    }

    /** Reads a range; an abort ends the wait also where the source does not listen to it. */
    #read(start: number, end: number, signal: AbortSignal): Promise<Uint8Array> {
        return unlessAborted(this.#source.read(start, end, { signal }), signal);
    }

    async #load(signal: AbortSignal): Promise<{ footer: Footer; fileBytes: number }> {
        const held = [this.budget.allocate(this.#footerBytes, 'the end of the file')];
        try {
            const tail = this.#source.readTail(this.#footerBytes, { signal });
            const end = await unlessAborted(tail, signal);
            const { bytes, size } = checkTail(end, this.#footerBytes);
            const length = footerLength(bytes, size);
            if (length <= bytes.length) {
                return { footer: parseFooter(bytes.subarray(bytes.length - length), size), fileBytes: size };
            }
            held.push(this.budget.allocate(2 * length, 'the footer'));
            const more = await this.#read(size - length, size - bytes.length, signal);
            const whole = new Uint8Array(length);
            whole.set(more.subarray(0, length - bytes.length));
            whole.set(bytes, length - bytes.length);
            return { footer: parseFooter(whole, size), fileBytes: size };
        } finally {
            for (const each of held) each.release();
        }
    }

    // ---- values

    /**
     * All values of a column.
     * @throws {VeltaError} NOT_FOUND (no such column), UNSUPPORTED, CORRUPT, OVER_BUDGET, DIMENSIONS, LIMIT, CANCELLED,
     *     and what the source throws
     */
    async readColumn(name: string, options: ReadValuesOptions = {}): Promise<ParquetValues> {
        checkOptions('readColumn', options, ['signal', 'vectors']);
        const { footer } = await this.load(options.signal);
        const column = columnNamed(footer, name);
        const parts: HeldValues[] = [];
        try {
            for (const group of footer.groups) {
                const [part] = await this.readChunks(group, [column], null, options);
                parts.push(part as HeldValues);
            }
            return concatenate(parts, typeFor(column, options), this.budget);
        } finally {
            for (const part of parts) part.release();
        }
    }

    /**
     * Columns of a row group by name; all that velta has types for, where none are named.
     * @param index - of the group, from 0
     * @throws {VeltaError} as {@link StreamingParquetReader.readColumn}; NOT_FOUND for the group too
     */
    async readRowGroup(
        index: number,
        options: ReadValuesOptions & { readonly columns?: readonly string[] } = {},
    ): Promise<Record<string, ParquetValues>> {
        checkOptions('readRowGroup', options, ['signal', 'vectors', 'columns']);
        const { footer } = await this.load(options.signal);
        const group = Number.isInteger(index) ? footer.groups[index] : undefined;
        if (group === undefined) {
            throw new VeltaError(
                'NOT_FOUND',
                `there is no row group ${describe(index)}; there are ${footer.groups.length}`,
            );
        }
        const columns = columnsOf(footer, options.columns);
        const parts = await this.readChunks(group, columns, null, options);
        for (const part of parts) part.release();
        return Object.fromEntries(columns.map(({ name }, i) => [name, (parts[i] as HeldValues).values]));
    }

    /**
     * Values of rows by their numbers in the file, in the order given.
     * @throws {VeltaError} as {@link StreamingParquetReader.readColumn}; LIMIT for a row beyond the last
     */
    async selectByIndices(
        columns: readonly string[],
        indices: Uint32Array,
        options: ReadValuesOptions = {},
    ): Promise<Record<string, ParquetValues>> {
        checkOptions('selectByIndices', options, ['signal', 'vectors']);
        if (!(indices instanceof Uint32Array)) throw invalid(`indices must be a Uint32Array, not ${describe(indices)}`);
        const { footer } = await this.load(options.signal);
        const list = columnsOf(footer, columns);
        const wrong = indices.findIndex((row) => row >= footer.rows);
        if (wrong >= 0) {
            const message = `there is no row ${String(indices[wrong])}; there are ${footer.rows}`;
            throw new VeltaError('LIMIT', message, { offset: wrong });
        }
        const sorted = Uint32Array.from(new Set(indices)).sort();
        const found: HeldValues[][] = [];
        try {
            for (const group of footer.groups) {
                const rows = sorted
                    .filter((row) => row >= group.startRow && row < group.startRow + group.rows)
                    .map((row) => row - group.startRow);
                if (rows.length > 0) found.push(await this.readChunks(group, list, rows, options));
            }
            return Object.fromEntries(
                list.map((column, i) => {
                    const parts = found.map((group) => group[i] as HeldValues);
                    const type = typeFor(column, options);
                    const dimensions = parts.find((part) => part.dimensions > 0)?.dimensions ?? 0;
                    const values = concatenate(parts, type, this.budget);
                    return [column.name, permute(values, sorted, indices, type === 'vector' ? dimensions : 1)];
                }),
            );
        } finally {
            for (const part of found.flat()) part.release();
        }
    }

    /**
     * The numbers of the rows that match a filter, ascending; `selectByIndices` reads their values. Row groups and
     * pages whose statistics rule out a match are not fetched, and of the others only the filter's columns.
     * @param where - a filter (docs/FILTER.md) on the file's columns, vectors aside
     * @throws {VeltaError} as {@link StreamingParquetReader.readColumn}; SYNTAX, UNKNOWN_COLUMN, TYPE of the filter,
     *     with the position
     */
    async matchingRows(where: string | Filter, options: { readonly signal?: AbortSignal } = {}): Promise<Uint32Array> {
        checkOptions('matchingRows', options, ['signal']);
        const text = whereText(where);
        const { footer } = await this.load(options.signal);
        const filter = new RowFilter(text, footer);
        const held: Allocation[] = [];
        const found: Uint32Array[] = [];
        try {
            for await (const { group, rows, release } of this.filterGroups(footer, filter, options.signal)) {
                try {
                    const count = rows?.length ?? group.rows;
                    held.push(this.budget.allocate(count * 8, 'a list of rows'));
                    found.push(Uint32Array.from({ length: count }, (_, i) => group.startRow + (rows?.[i] ?? i)));
                } finally {
                    release();
                }
            }
            const all = new Uint32Array(found.reduce((total, { length }) => total + length, 0));
            let filled = 0;
            for (const rows of found) {
                all.set(rows, filled);
                filled += rows.length;
            }
            return all;
        } finally {
            for (const each of held) each.release();
        }
    }

    /**
     * The groups that statistics do not rule out, one after the other, with their rows that match. While one is looked
     * at, what the filter needs of the next one is fetched. Each is let go by its `release`.
     * @internal
     */
    async *filterGroups(
        footer: Footer,
        filter: RowFilter,
        signal: AbortSignal | undefined,
    ): AsyncGenerator<FilteredGroup, void, undefined> {
        const groups = filter.groups(footer.groups);
        const begin = (group: Group | undefined): Promise<FilteredGroup> | null => {
            const filtered = group === undefined ? null : this.#filterGroup(group, filter, signal);
            filtered?.catch(() => undefined); // a failure waits for whoever awaits it
            return filtered;
        };
        let next = begin(groups[0]);
        try {
            for (let i = 0; i < groups.length; i++) {
                const filtered = await (next as Promise<FilteredGroup>);
                next = begin(groups[i + 1]);
                yield filtered;
            }
        } finally {
            await next?.then(({ release }) => release()).catch(() => undefined);
        }
    }

    async #filterGroup(group: Group, filter: RowFilter, signal: AbortSignal | undefined): Promise<FilteredGroup> {
        const held: { release(): void }[] = [];
        const release = (): void => held.splice(0).forEach((each) => each.release());
        try {
            const known = await this.#knownPages(group, filter.columns, signal, held);
            const { rows: candidates, held: list } = filter.candidates(group, known, this.budget);
            if (list !== null) held.push(list);
            const places = new Map<Chunk, readonly PagePlace[]>();
            filter.columns.forEach(({ leaf }, i) => {
                const pages = known[i];
                if (pages) places.set(group.chunks[leaf] as Chunk, pages.places);
            });
            const count = candidates?.length ?? group.rows;
            const values =
                count === 0 ? [] : await this.readChunks(group, filter.columns, candidates, { signal, known: places });
            held.push(...values);
            const found = count === 0 ? new Uint32Array(0) : this.#matching(filter, values, count, held);
            let rows = found;
            if (found === null) rows = candidates;
            else if (candidates !== null) rows = found.map((place) => candidates[place] as number);
            return { group, candidates: count, rows, places: found, values, known: places, release };
        } catch (error) {
            release();
            throw error;
        }
    }

    #matching(filter: RowFilter, values: readonly HeldValues[], rows: number, held: { release(): void }[]): RowList {
        if (filter.isEmpty) return null;
        held.push(this.budget.allocate(rows * 8, 'a list of rows'));
        return filter.matching(
            values.map((each) => each.values),
            rows,
        );
    }

    /** Pages of columns with their bounds, where indexes are there and save more than they cost. */
    async #knownPages(
        group: Group,
        columns: readonly Column[],
        signal: AbortSignal | undefined,
        held: { release(): void }[],
    ): Promise<(KnownPages | null)[]> {
        const indexes = columns.map(({ leaf }) => {
            const chunk = group.chunks[leaf] as Chunk;
            const { offsetIndex, columnIndex } = chunk;
            const isWorth = chunk.end - chunk.start > 2 * this.#gap;
            return isWorth && offsetIndex !== null && columnIndex !== null ? { chunk, offsetIndex, columnIndex } : null;
        });
        const spans = indexes.flatMap((index) => (index === null ? [] : [index.offsetIndex, index.columnIndex]));
        if (spans.length === 0) return indexes.map(() => null);
        const bytes = spans.reduce((total, { start, end }) => total + end - start, 0);
        held.push(this.budget.allocate(bytes * PARSED_INDEX, 'page indexes'));
        const fetched = await this.#fetch(spans, signal);
        try {
            return indexes.map((index, i) => {
                if (index === null) return null;
                const { chunk, offsetIndex, columnIndex } = index;
                const places = readPlaces(fetched.bytesOf(offsetIndex), chunk, group.rows);
                const statistics = readPageStatistics(fetched.bytesOf(columnIndex), places);
                const column = columns[i] as Column;
                const bounds = statistics.map((each, page) => {
                    return boundsOf(column, each, (places[page] as PagePlace).rows);
                });
                return { places, bounds };
            });
        } finally {
            fetched.release();
        }
    }

    /**
     * Values of columns of a group.
     * @param wanted - rows of the group, ascending; null: all
     * @internal
     */
    async readChunks(
        group: Group,
        columns: readonly Column[],
        wanted: Uint32Array | null,
        options: ReadValuesOptions & { readonly known?: KnownPlaces },
    ): Promise<HeldValues[]> {
        const { vectors, signal } = options;
        const plans = await this.#plan(group, columns, wanted, signal, options.known ?? new Map());
        const decompressors = await this.#decompressors(plans);
        const fetched = await this.#fetch(
            plans.flatMap(({ spans }) => spans),
            signal,
        );
        const done: HeldValues[] = [];
        try {
            for (const { column, chunk, spans, pageRows } of plans) {
                const decoder = new ColumnDecoder({
                    column,
                    chunk,
                    groupRows: group.rows,
                    wanted,
                    type: typeFor(column, { vectors }),
                    dimensions: 0,
                    budget: this.budget,
                    decompressors,
                });
                const release = (): void => decoder.release();
                try {
                    spans.forEach((span, i) => {
                        decodeSpan(decoder, fetched.bytesOf(span), pageRows === null ? null : (pageRows[i] as number));
                    });
                    done.push({ ...decoder.finish(), release });
                } catch (error) {
                    release();
                    throw error;
                }
            }
            return done;
        } catch (error) {
            for (const each of done) each.release();
            throw error instanceof RangeError ? corrupt(`a page says what cannot be (${error.message})`) : error;
        } finally {
            fetched.release();
        }
    }

    /** The caller's decompressors, and that of zstd where a chunk needs it. */
    async #decompressors(plans: readonly Plan[]): Promise<Readonly<Record<string, Decompressor>>> {
        const own = this.#options.decompressors ?? {};
        if (Object.hasOwn(own, 'ZSTD') || plans.every(({ chunk }) => chunk.codec !== 'ZSTD')) return own;
        return { ...own, ZSTD: await zstdUnpacker(corrupt) };
    }

    /** Which spans of each chunk are needed: all of it, or the pages that hold wanted rows. */
    async #plan(
        group: Group,
        columns: readonly Column[],
        wanted: Uint32Array | null,
        signal: AbortSignal | undefined,
        known: KnownPlaces,
    ): Promise<Plan[]> {
        const chunks = columns.map(({ leaf }) => group.chunks[leaf] as Chunk);
        // An index costs a request: it is asked for where a chunk is much larger than what one fetches for nothing.
        const asked = chunks.flatMap((chunk) => {
            const { offsetIndex } = chunk;
            const isWorth = wanted !== null && chunk.end - chunk.start > 2 * this.#gap && !known.has(chunk);
            return isWorth && offsetIndex !== null ? [{ chunk, offsetIndex }] : [];
        });
        const fetched = await this.#fetch(
            asked.map(({ offsetIndex }) => offsetIndex),
            signal,
        );
        try {
            const places = new Map(known);
            for (const { chunk, offsetIndex } of asked) {
                places.set(chunk, readPlaces(fetched.bytesOf(offsetIndex), chunk, group.rows));
            }
            return columns.map((column, i) => {
                const chunk = chunks[i] as Chunk;
                const pages = places.get(chunk);
                if (wanted !== null && pages !== undefined) return { column, chunk, ...spansOf(pages, chunk, wanted) };
                const isNone = wanted?.length === 0 || group.rows === 0;
                return { column, chunk, spans: isNone ? [] : [chunk], pageRows: null };
            });
        } finally {
            fetched.release();
        }
    }

    /** Fetches spans, near ones together. What is fetched is charged until `release`. */
    async #fetch(spans: readonly Span[], signal: AbortSignal | undefined): Promise<Fetched> {
        const merged: { start: number; end: number }[] = [];
        for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
            const last = merged.at(-1);
            const isNear = last !== undefined && start - last.end <= this.#gap;
            if (isNear && (end <= last.end || end - last.start <= LONGEST_SPAN)) last.end = Math.max(last.end, end);
            else merged.push({ start, end });
        }
        const held: Allocation[] = [];
        const release = (): void => {
            for (const each of held) each.release();
        };
        try {
            for (const { start, end } of merged) held.push(this.budget.allocate(end - start, 'a part of the file'));
            const bytes = await underSignals([signal, this.#options.signal], async (stop) => {
                const parts = merged.map(async ({ start, end }) => {
                    const part = await this.#read(start, end, stop.signal);
                    if (part.length !== end - start) throw new VeltaError('IO', 'the source gave another part');
                    return part;
                });
                // All are waited for, so that none goes on with bytes that are no longer charged.
                const all = Promise.all(parts);
                all.catch(() => stop.abort());
                await Promise.allSettled(parts);
                return all;
            });
            const bytesOf = ({ start, end }: Span): Uint8Array => {
                const i = merged.findIndex((part) => part.start <= start && end <= part.end);
                const from = start - (merged[i] as Span).start;
                return (bytes[i] as Uint8Array).subarray(from, from + end - start);
            };
            return { bytesOf, release };
        } catch (error) {
            release();
            throw error;
        }
    }
}

interface Fetched {
    bytesOf(span: Span): Uint8Array;
    release(): void;
}

interface Plan {
    readonly column: Column;
    readonly chunk: Chunk;
    readonly spans: readonly Span[];
    /** First row of each span, -1 for one without rows; null: one span with all pages. */
    readonly pageRows: readonly number[] | null;
}

function checkTail({ bytes, start, size }: Tail, most: number): Tail {
    const isRight =
        bytes instanceof Uint8Array && bytes.length === Math.min(most, size) && start === size - bytes.length;
    if (!isRight) throw new VeltaError('IO', 'the source gave another part than the end of the file');
    return { bytes, start, size };
}

/** Gives a decoder the pages of a span. */
function decodeSpan(decoder: ColumnDecoder, bytes: Uint8Array, firstRow: number | null): void {
    let row = firstRow === null || firstRow < 0 ? null : firstRow;
    for (let at = 0; at < bytes.length;) {
        if (decoder.isDone) return;
        const page = readPageAt(bytes, at);
        decoder.take(page, row);
        row = null;
        at = page.next;
    }
}

function columnsOf(footer: Footer, names: readonly string[] | undefined): Column[] {
    if (names === undefined) return footer.columns.filter(({ type }) => type !== null);
    if (!Array.isArray(names)) throw invalid(`columns must be an array of names, not ${describe(names)}`);
    return Array.from(new Set(names as readonly string[]), (name) => columnNamed(footer, name));
}
