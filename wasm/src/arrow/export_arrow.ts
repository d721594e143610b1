/**
 * `exportArrow` and `exportArrowStream`: rows of a table or a query as Arrow IPC, batch by batch.
 *
 * A table's rows are read through an iterator, so that they are those of one moment (now, or `at`) also where a
 * stream is read slowly; a filter on the past is run over the rows of each batch, as the engine's filters are of now.
 * A query's rows are listed at the start and read by their numbers, in the query's order.
 */
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import type { Filter } from '../filter.js';
import { filterColumns, matching, whereText } from '../imports/incoming.js';
import { Query } from '../query.js';
import type { ColumnName, Schema } from '../schema.js';
import { checkIsSignal, checkSignal } from '../stream/chunks.js';
import { Table } from '../table.js';
import type { ColumnInfo } from '../values.js';
import { ArrowWriter, type EncodedColumn, columnData, encodeResult, pickRows } from './encode.js';

/** Options of {@link exportArrowStream}. */
export interface ExportArrowStreamOptions<S extends Schema = Schema> {
    /** The columns, in this order. Default: all; of a query, those of its `select`. */
    readonly columns?: readonly ColumnName<S>[];
    /** Which rows of a table: a filter (docs/FILTER.md); default all. A query has its own. */
    readonly where?: string | Filter<ColumnName<S>>;
    /** The state of a table at that time; default now. */
    readonly at?: Date | number;
    /** Rows of a record batch, at most. Default 16,384. */
    readonly batchSize?: number;
    /** Ends a stream with CANCELLED. */
    readonly signal?: AbortSignal;
}

/** Options of {@link exportArrow}. */
export interface ExportArrowOptions<S extends Schema = Schema> extends Omit<ExportArrowStreamOptions<S>, 'signal'> {
    /** `file` (the default) has a footer by which readers find each batch; `stream` is for reading from its start. */
    readonly format?: 'file' | 'stream';
}

const ROWS = 16_384;
const OPTIONS = ['columns', 'where', 'at', 'batchSize'];

/** What is exported, whatever it was given as. */
interface Plan {
    readonly columns: readonly ColumnInfo[];
    readonly batches: Iterable<readonly EncodedColumn[]>;
}

function* batchesOfTable(
    table: Table,
    columns: readonly ColumnInfo[],
    options: ExportArrowStreamOptions,
    size: number,
): Generator<readonly EncodedColumn[], void> {
    const where = whereText(options.where);
    const { at } = options;
    // What the filter names is read too, and not written.
    const named = where.trim() === '' ? [] : namedColumns(table, where);
    const read = [...new Set([...columns, ...named])];
    const rows = table.iterate({ columns: read.map(({ name }) => name), ...(at === undefined ? {} : { at }) });
    try {
        for (;;) {
            const batch = rows.nextResult(size, (instance, result, count) =>
                encodeResult(instance, result, read, count),
            );
            if (batch === null) return;
            const values = named.map((column) => columnData(batch[read.indexOf(column)] as EncodedColumn));
            const found = matching(where, named, values, (batch[0] as EncodedColumn).rows);
            const wanted = batch.slice(0, columns.length);
            if (found === null) yield wanted;
            else if (found.length > 0) yield pickRows(wanted, found);
        }
    } finally {
        rows.close();
    }
}

/** The columns of a table that a filter names; the engine checks it. @throws {VeltaError} */
function namedColumns(table: Table, where: string): ColumnInfo[] {
    table.where(where).count();
    const names = [...table.columns.keys()];
    const find = (name: string): ColumnInfo & { required: boolean } => ({ ...table.column(name), required: false });
    const found = filterColumns(where, { source: `table '${table.name}'`, names, find });
    return found.map(({ name }) => table.column(name));
}

function* batchesOfQuery(
    query: Query,
    columns: readonly ColumnInfo[],
    size: number,
): Generator<readonly EncodedColumn[], void> {
    const { table } = query.source;
    const rows = query.rows();
    for (let start = 0; start < rows.length; start += size) {
        const part = rows.subarray(start, start + size);
        table.open();
        yield table.database.run((instance) => {
            const at = instance.space(part.length * 4);
            instance.u32.set(part, at >>> 2);
            return table.result(
                instance,
                (out) => table.fetch([at, part.length], columns, 0, out),
                (result) => encodeResult(instance, result, columns, part.length),
            ) as EncodedColumn[];
        });
    }
}

function planOf(name: string, source: unknown, options: ExportArrowStreamOptions): Plan {
    const { batchSize = ROWS, columns } = options;
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
        throw invalid(`${name}: batchSize is a whole number from 1, not ${describe(batchSize)}`);
    }
    if (source instanceof Table) {
        const list = checkedColumns(name, source.columnsOf(columns));
        source.open();
        return { columns: list, batches: batchesOfTable(source, list, options, batchSize) };
    }
    if (source instanceof Query) {
        if (options.where !== undefined || options.at !== undefined) {
            throw invalid(`${name}: where and at are for tables; a query has its own filter, and is of now`);
        }
        const { table, columns: selected } = (source as Query).source;
        const list = checkedColumns(name, columns === undefined ? selected : table.columnsOf(columns));
        return { columns: list, batches: batchesOfQuery(source, list, batchSize) };
    }
    throw invalid(`${name}: expected a table or a query, not ${describe(source)}`);
}

function checkedColumns(name: string, columns: readonly ColumnInfo[]): readonly ColumnInfo[] {
    if (columns.length === 0) throw invalid(`${name}: columns must name at least one column`);
    if (new Set(columns).size < columns.length) throw invalid(`${name}: columns names a column twice`);
    return columns;
}

/** The bytes, piece by piece: the schema, each batch, the end. */
function* piecesOf({ columns, batches }: Plan, isFile: boolean): Generator<Uint8Array<ArrayBuffer>, void> {
    const writer = new ArrowWriter(columns, isFile);
    yield writer.start();
    for (const batch of batches) yield writer.batch(batch);
    yield writer.end();
}

/**
 * Rows as the bytes of Arrow IPC, which importArrow, pandas, Polars, DuckDB and others read.
 *
 * `int` becomes Int64, `float` Float64, `bool` Bool, `string` Utf8, `bytes` Binary, `timestamp` Timestamp of
 * milliseconds in UTC, `vector` FixedSizeList of Float32. A table's rows come in the order of their keys (of their
 * numbers, without a key), a query's in its own.
 *
 * @throws {VeltaError} INVALID, UNKNOWN_COLUMN, HISTORY_GONE, LIMIT for a batch of more than 2 GiB of text, CLOSED; of
 *     `where` SYNTAX, UNKNOWN_COLUMN, TYPE with the position in the text
 */
export function exportArrow<S extends Schema>(
    source: Table<S> | Query<S, ColumnName<S>>,
    options: ExportArrowOptions<S> = {},
): Uint8Array<ArrayBuffer> {
    checkOptions('exportArrow', options, [...OPTIONS, 'format']);
    const { format = 'file' } = options;
    if (format !== 'file' && format !== 'stream') {
        throw invalid(`exportArrow: format is 'file' or 'stream', not ${describe(format)}`);
    }
    const pieces = [...piecesOf(planOf('exportArrow', source, options as ExportArrowStreamOptions), format === 'file')];
    const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
        out.set(piece, at);
        at += piece.length;
    }
    return out;
}

/**
 * {@link exportArrow} in the form of a stream of chunks, one record batch each, made as they are read: a body for
 * `fetch` or a `Response`, and a source of importArrow.
 *
 * A table's rows are those of the moment when the first chunk is read; compaction waits until the stream ends or is
 * cancelled. A query's rows are listed then, and read batch by batch: one that was deleted meanwhile ends the stream
 * with NOT_FOUND.
 */
export function exportArrowStream<S extends Schema>(
    source: Table<S> | Query<S, ColumnName<S>>,
    options: ExportArrowStreamOptions<S> = {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
    checkOptions('exportArrowStream', options, [...OPTIONS, 'signal']);
    if (typeof ReadableStream !== 'function') throw new VeltaError('UNSUPPORTED', 'there is no ReadableStream here');
    const { signal } = options;
    checkIsSignal(signal);
    const pieces = piecesOf(planOf('exportArrowStream', source, options as ExportArrowStreamOptions), false);
    return new ReadableStream<Uint8Array<ArrayBuffer>>(
        {
            pull: (controller) => {
                try {
                    checkSignal(signal);
                    const { done, value } = pieces.next();
                    if (done === true) controller.close();
                    else controller.enqueue(value);
                } catch (error) {
                    pieces.return(undefined);
                    throw error;
                }
            },
            cancel: () => void pieces.return(undefined),
        },
        { highWaterMark: 0 },
    );
}
