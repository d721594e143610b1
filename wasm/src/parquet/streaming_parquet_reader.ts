/**
 * Reads a Parquet file by parts: the footer first, then the chunks and pages that are wanted.
 *
 * The last 64 KiB come in one request, which hold most footers; a second one fetches what is missing of a larger. For
 * rows by number, the offset indexes of the chunks say which pages hold them, where the writer wrote such; spans that
 * lie near each other are fetched together. All that is fetched or decoded is charged to one budget while it is held.
 *
 * The bytes are hostile: footer.ts, pages.ts and encodings.ts check what they say before anything is done by it.
 */
import { readOffsetIndex } from 'hyparquet/src/indexes.js';
import { VeltaError, checkOptions, describe, invalid, quoted } from '../errors.js';
import { type Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import { RangeClient, type RangeClientOptions } from '../ranges/range_client.js';
import { LocalSource, type RangeSource, type RangeStats, type Tail } from '../ranges/source.js';
import type { ColumnType } from '../schema.js';
import type { Decompressor } from './compression.js';
import { corrupt } from './encodings.js';
import { type Chunk, type Column, type Footer, type Group, type Span, footerLength, parseFooter } from './footer.js';
import { ColumnDecoder, type ParquetValues, readPageAt } from './pages.js';
import { concatenate, permute } from './parquet_values.js';

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

const OPTIONS = ['budget', 'signal', 'footerBytes', 'gapBytes', 'decompressors', 'client'];
/** A merged request grows no further than this, so that requests can run side by side. */
const LONGEST_SPAN = 8 << 20;

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
    readonly #options: ParquetReaderOptions;
    readonly #footerBytes: number;
    readonly #gap: number;
    #footer: Promise<{ footer: Footer; fileBytes: number }> | null = null;

    /** @throws {VeltaError} INVALID */
    constructor(source: ParquetSource, options: ParquetReaderOptions = {}) {
        checkOptions('StreamingParquetReader', options, OPTIONS);
        this.#source = sourceOf(source, options);
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
        const stored = (chunks: readonly (Chunk | undefined)[]): number =>
            chunks.reduce((total, chunk) => total + (chunk === undefined ? 0 : chunk.end - chunk.start), 0);
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
                storedBytes: stored(footer.groups.map(({ chunks }) => chunks[column.leaf])),
            })),
            rowGroups: footer.groups.map(({ startRow, rows, chunks }) => {
                return { startRow, rows, storedBytes: stored(chunks) };
            }),
        };
    }

    /** @internal */
    load(signal?: AbortSignal): Promise<{ footer: Footer; fileBytes: number }> {
        // One that failed is asked for again.
        this.#footer ??= this.#load(signal).catch((error: unknown) => {
            this.#footer = null;
            throw error;
        });
        return this.#footer;
    }

    async #load(signal: AbortSignal | undefined): Promise<{ footer: Footer; fileBytes: number }> {
        const stop = { signal: signal ?? this.#options.signal };
        const held = [this.budget.allocate(this.#footerBytes, 'the end of the file')];
        try {
            const tail = await this.#source.readTail(this.#footerBytes, stop);
            const { bytes, size } = checkTail(tail, this.#footerBytes);
            const length = footerLength(bytes, size);
            if (length <= bytes.length) {
                return { footer: parseFooter(bytes.subarray(bytes.length - length), size), fileBytes: size };
            }
            held.push(this.budget.allocate(2 * length, 'the footer'));
            const more = await this.#source.read(size - length, size - bytes.length, stop);
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
        const column = columnOf(footer, name);
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
     * Values of columns of a group.
     * @param wanted - rows of the group, ascending; null: all
     * @internal
     */
    async readChunks(
        group: Group,
        columns: readonly Column[],
        wanted: Uint32Array | null,
        options: ReadValuesOptions,
    ): Promise<HeldValues[]> {
        const { vectors } = options;
        const signal = options.signal ?? this.#options.signal;
        const plans = await this.#plan(group, columns, wanted, signal);
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
                    decompressors: this.#options.decompressors ?? {},
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

    /** Which spans of each chunk are needed: all of it, or the pages that hold wanted rows. */
    async #plan(
        group: Group,
        columns: readonly Column[],
        wanted: Uint32Array | null,
        signal: AbortSignal | undefined,
    ): Promise<Plan[]> {
        const chunks = columns.map(({ leaf }) => group.chunks[leaf] as Chunk);
        // An index costs a request: it is asked for where a chunk is much larger than what one fetches for nothing.
        const indexed = chunks.map((chunk) => {
            return wanted !== null && chunk.offsetIndex !== null && chunk.end - chunk.start > 2 * this.#gap;
        });
        const spans = chunks.flatMap(({ offsetIndex }, i) => (indexed[i] === true ? [offsetIndex as Span] : []));
        const fetched = await this.#fetch(spans, signal);
        try {
            return columns.map((column, i) => {
                const chunk = chunks[i] as Chunk;
                if (indexed[i] !== true) {
                    const spansOfAll = wanted?.length === 0 || group.rows === 0 ? [] : [chunk];
                    return { column, chunk, spans: spansOfAll, pageRows: null };
                }
                const bytes = fetched.bytesOf(chunk.offsetIndex as Span);
                return { column, chunk, ...pagesOf(bytes, chunk, group.rows, wanted as Uint32Array) };
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
        const stop = new AbortController();
        const abort = (): void => stop.abort(signal?.reason);
        signal?.addEventListener('abort', abort);
        if (signal?.aborted) abort();
        try {
            for (const { start, end } of merged) held.push(this.budget.allocate(end - start, 'a part of the file'));
            const parts = merged.map(async ({ start, end }) => {
                const bytes = await this.#source.read(start, end, { signal: stop.signal });
                if (bytes.length !== end - start) throw new VeltaError('IO', 'the source gave another part');
                return bytes;
            });
            // All are waited for, so that none goes on with bytes that are no longer charged.
            const all = Promise.all(parts);
            all.catch(() => stop.abort());
            await Promise.allSettled(parts);
            const bytes = await all;
            const bytesOf = ({ start, end }: Span): Uint8Array => {
                const i = merged.findIndex((part) => part.start <= start && end <= part.end);
                const from = start - (merged[i] as Span).start;
                return (bytes[i] as Uint8Array).subarray(from, from + end - start);
            };
            return { bytesOf, release };
        } catch (error) {
            release();
            throw error;
        } finally {
            signal?.removeEventListener('abort', abort);
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

/** The spans of a chunk that hold the wanted rows, with the dictionary before them. */
function pagesOf(
    index: Uint8Array,
    chunk: Chunk,
    groupRows: number,
    wanted: Uint32Array,
): { spans: Span[]; pageRows: number[] } {
    let pages: { start: number; end: number; row: number }[];
    try {
        const reader = { view: new DataView(index.buffer, index.byteOffset, index.byteLength), offset: 0 };
        pages = readOffsetIndex(reader).page_locations.map(({ offset, compressed_page_size, first_row_index }) => {
            const start = Number(offset);
            return { start, end: start + Number(compressed_page_size), row: Number(first_row_index) };
        });
    } catch (error) {
        throw corrupt(`the index of a chunk cannot be read (${String(error)})`);
    }
    let before = { end: chunk.start, row: -1 };
    for (const page of pages) {
        const isInside = page.start >= before.end && page.end > page.start && page.end <= chunk.end;
        const isNext = page.row > before.row && page.row < groupRows;
        if (!isInside || !isNext) throw corrupt('the index of a chunk is not in order');
        before = page;
    }
    if (pages[0]?.row !== 0) throw corrupt('the index of a chunk does not begin with its first row');
    const spans: Span[] = [];
    const pageRows: number[] = [];
    const [first] = pages;
    if (first !== undefined && first.start > chunk.start) {
        spans.push({ start: chunk.start, end: first.start });
        pageRows.push(-1);
    }
    let next = 0;
    pages.forEach((page, i) => {
        const end = pages[i + 1]?.row ?? groupRows;
        if (next < wanted.length && (wanted[next] as number) < end) {
            spans.push(page);
            pageRows.push(page.row);
        }
        while (next < wanted.length && (wanted[next] as number) < end) next++;
    });
    return { spans, pageRows };
}

/** A column by name. @throws {VeltaError} NOT_FOUND, UNSUPPORTED @internal */
export function columnOf(footer: Footer, name: string): Column {
    const column = footer.columns.find((each) => each.name === name);
    if (column === undefined) {
        const names = footer.columns.map((each) => each.name);
        const listed = names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
        throw new VeltaError('NOT_FOUND', `the Parquet file has no column ${quoted(name)}; there are ${listed}`);
    }
    if (column.type === null) {
        throw new VeltaError('UNSUPPORTED', `column ${quoted(name)} of the Parquet file ${column.refusal}`);
    }
    return column;
}

function columnsOf(footer: Footer, names: readonly string[] | undefined): Column[] {
    if (names === undefined) return footer.columns.filter(({ type }) => type !== null);
    if (!Array.isArray(names)) throw invalid(`columns must be an array of names, not ${describe(names)}`);
    return Array.from(new Set(names as readonly string[]), (name) => columnOf(footer, name));
}

/** The type that a column is decoded to. @throws {VeltaError} TYPE @internal */
export function typeFor(column: Column, { vectors }: { readonly vectors?: readonly string[] | undefined }): ColumnType {
    const type = column.type as ColumnType;
    if (vectors === undefined || !vectors.includes(column.name) || type === 'vector') return type;
    if (column.physical !== 'FIXED_LEN_BYTE_ARRAY' || column.typeLength % 4 !== 0) {
        throw new VeltaError('TYPE', `column ${quoted(column.name)} of the Parquet file is ${type}, and no vector`);
    }
    return 'vector';
}
