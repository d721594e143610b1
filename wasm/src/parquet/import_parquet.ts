/**
 * `importParquet`: the rows of a Parquet file that match a filter, into a table.
 *
 * Row group by row group: those that statistics rule out are passed over; of the others the columns that the filter
 * names are fetched first, the engine's own filter is run over them, and of the other columns only the pages with
 * matching rows are fetched (row_filter.ts). While a group's rows are fetched and written, the filter columns of the
 * next one are on their way.
 *
 * A table that is to be made is made when its first rows have come, because a file says nowhere how long its lists are:
 * whatever fails before, or refuses these rows, leaves no empty table behind.
 */
import { Database } from '../database.js';
import { checkOptions, describe, invalid, quoted } from '../errors.js';
import type { Filter } from '../filter.js';
import {
    type IncomingColumns,
    type Pair,
    checkDimensions,
    makeTable,
    pairsForNew,
    pairsForTable,
    pick,
    whereText,
} from '../imports/incoming.js';
import type { MemoryBudget } from '../ranges/memory_budget.js';
import type { RangeClientOptions } from '../ranges/range_client.js';
import { cancelled } from '../ranges/source.js';
import type { FullColumn, Schema } from '../schema.js';
import { Table } from '../table.js';
import type { ColumnData } from '../values.js';
import type { Decompressor } from './compression.js';
import { type Chunk, type Column, type Footer, type ParquetIncoming, SOURCE, incomingColumns } from './footer.js';
import { columnData } from './parquet_values.js';
import { RowFilter } from './row_filter.js';
import {
    type FilteredGroup,
    type HeldValues,
    type ParquetSource,
    StreamingParquetReader,
} from './streaming_parquet_reader.js';

/** How far an import is. */
export interface ImportProgress {
    /** Rows of the row groups that are done, those that statistics ruled out included. */
    readonly rowsRead: number;
    readonly rowsWritten: number;
    /** Of the file. */
    readonly rows: number;
    readonly bytesFetched: number;
    readonly fileBytes: number;
}

/** Options of {@link importParquet}. */
export interface ImportParquetOptions<S extends Schema = Schema> {
    /**
     * The table that gets the rows; or its name in `database`, where it is made with the file's columns and types if it
     * is not there.
     */
    readonly table: Table<S> | string;
    /** Where a table that is given by name is, or is to be. */
    readonly database?: Database;
    /** The primary key of a table that is given by name: an int or string column of it. Default none. */
    readonly key?: string;
    /**
     * Columns by one name in both, or the file's by the table's; default those of the table that the file has, and of a
     * table that is made all that velta has types for.
     */
    readonly columns?: readonly string[] | Readonly<Record<string, string>>;
    /**
     * The file's column that goes to the table's only vector column, where it has another name. Of a table that is
     * made: a column of fixed bytes that is to be one of vectors (lists of floats are without it).
     */
    readonly vector?: string;
    /** Which rows: a filter (docs/FILTER.md) on the file's columns; default all. */
    readonly where?: string | Filter;
    /** Whether rows whose key is there change that row instead of failing with EXISTS. Default false. */
    readonly upsert?: boolean;
    readonly budget?: MemoryBudget;
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: ImportProgress) => void;
    readonly gapBytes?: number;
    readonly decompressors?: Readonly<Record<string, Decompressor>>;
    readonly client?: RangeClientOptions;
}

/** What an import did. */
export interface ImportResult<S extends Schema = Schema> {
    /**
     * The table with the rows; null where it was to be made and no row matched, so that the length of its vectors is
     * not known.
     */
    readonly table: Table<S> | null;
    /** Rows written. */
    readonly rows: number;
    /** Rows that statistics of row groups and pages ruled out: nothing of them was looked at. */
    readonly rowsPruned: number;
    readonly bytesFetched: number;
    /** Bytes of the file that were not fetched. */
    readonly bytesSaved: number;
    readonly fileBytes: number;
    readonly requests: number;
    /** The share of the file's rows that were written; 0 of none. */
    readonly selectivity: number;
}

const OPTIONS = [
    'table',
    'database',
    'key',
    'columns',
    'vector',
    'where',
    'upsert',
    'budget',
    'signal',
    'onProgress',
    'gapBytes',
    'decompressors',
    'client',
];

/** How long the lists of a column are, as far as their numbers tell where all are equally long; else 0. */
function listLength({ groups }: Footer, { leaf }: Column): number {
    let lists = 0;
    let elements = 0;
    for (const { rows, chunks } of groups) {
        const { valueCount, statistics } = chunks[leaf] as Chunk;
        lists += rows - (statistics.nullCount ?? 0); // a list that is NULL counts as one value
        elements += valueCount - (statistics.nullCount ?? 0);
    }
    const length = elements / lists;
    return Number.isInteger(length) && length > 0 ? length : 0;
}

class Importer {
    readonly reader: StreamingParquetReader;
    readonly #options: ImportParquetOptions;
    readonly #where: string;
    #table: Table | null;
    /** The table was made here. */
    #isMade = false;
    #file: IncomingColumns<ParquetIncoming> | null = null;
    #pairs: readonly Pair<ParquetIncoming>[] = [];
    #written = 0;

    constructor(source: ParquetSource, options: ImportParquetOptions) {
        this.#options = options;
        const { table, where, budget, signal, gapBytes, decompressors, client } = options;
        this.#table = typeof table === 'string' ? presentTable(table, options) : table;
        this.#where = whereText(where);
        const given = { budget, signal, gapBytes, decompressors, client };
        const set = Object.entries(given).filter(([, value]) => value !== undefined);
        this.reader = new StreamingParquetReader(source, Object.fromEntries(set));
    }

    async run(): Promise<ImportResult> {
        try {
            return await this.#import();
        } catch (error) {
            const { table, database } = this.#options;
            /* A table that got no row goes again: nothing changed. */
            if (this.#isMade && this.#written === 0 && !database?.closed) database?.dropTable(table as string);
            throw error;
        } finally {
            this.reader.release();
        }
    }

    async #import(): Promise<ImportResult> {
        const { footer, fileBytes } = await this.reader.load();
        this.#plan(footer);
        const filter = new RowFilter(this.#where, footer);
        let looked = 0;
        const report = (rowsRead: number): void => this.#report(rowsRead, footer.rows, fileBytes);
        for await (const filtered of this.reader.filterGroups(footer, filter, undefined)) {
            const { group, candidates, release } = filtered;
            try {
                await this.#group(filtered, filter);
            } finally {
                release();
            }
            looked += candidates;
            report(group.startRow + group.rows);
        }
        report(footer.rows);
        this.#makeEmpty(footer);
        const { requests, bytesFetched } = this.reader.stats();
        return {
            table: this.#table,
            rows: this.#written,
            rowsPruned: footer.rows - looked,
            bytesFetched,
            bytesSaved: Math.max(0, fileBytes - bytesFetched),
            fileBytes,
            requests,
            selectivity: footer.rows === 0 ? 0 : this.#written / footer.rows,
        };
    }

    /** Which columns go where: of a table that is made, by default those that there are types for. */
    #plan(footer: Footer): void {
        const file = incomingColumns(footer);
        const names = footer.columns.filter(({ type }) => type !== null).map(({ name }) => name);
        const table = this.#table;
        this.#pairs =
            table === null ? pairsForNew({ ...file, names }, this.#options) : pairsForTable(table, file, this.#options);
        this.#file = file;
    }

    #lastReport = -1;

    #report(rowsRead: number, rows: number, fileBytes: number): void {
        if (rowsRead !== this.#lastReport) {
            this.#lastReport = rowsRead;
            const { bytesFetched } = this.reader.stats();
            this.#options.onProgress?.({ rowsRead, rowsWritten: this.#written, rows, bytesFetched, fileBytes });
        }
        const { signal } = this.#options;
        if (signal?.aborted) throw cancelled(signal);
    }

    /** Writes the matching rows of a group. */
    async #group({ group, rows, places, values, known }: FilteredGroup, filter: RowFilter): Promise<void> {
        if (rows?.length === 0) return;
        const here = this.#pairs.map(({ column }) => {
            return column.type === 'vector' ? -1 : filter.columns.findIndex(({ leaf }) => leaf === column.of.leaf);
        });
        const others = this.#pairs.filter((_, i) => here[i] === -1).map(({ column }) => column);
        const vectors = others.filter(({ type }) => type === 'vector').map(({ name }) => name);
        const columns = others.map(({ of }) => of);
        const fetched = await this.reader.readChunks(group, columns, rows, { vectors, known });
        try {
            let at = 0;
            const held = here.map((place) => (place < 0 ? (fetched[at++] as HeldValues) : null));
            const table = this.#tableFor(held.map((each) => each?.dimensions ?? 0));
            const { schema } = table;
            const batch = this.#pairs.map((pair, i): [string, ColumnData] => {
                const { target, column } = pair;
                const own = held[i];
                if (own) {
                    checkDimensions(SOURCE, pair, schema[target] as FullColumn, own.dimensions);
                    return [target, columnData(own.values, column.type)];
                }
                const { values: all } = values[here[i] as number] as HeldValues;
                return [target, columnData(places === null ? all : pick(all, places, 1), column.type)];
            });
            this.#write(table, Object.fromEntries(batch), rows?.length ?? group.rows);
        } finally {
            for (const each of fetched) each.release();
        }
    }

    /** The table; made where there is none yet, with vectors of these lengths. */
    #tableFor(dimensions: readonly number[]): Table {
        if (this.#table === null) {
            const { table, database, key } = this.#options;
            const file = this.#file as IncomingColumns<ParquetIncoming>;
            const isNew = !(database as Database).tableNames().includes(table as string);
            this.#table = makeTable(database as Database, table as string, file, this.#pairs, dimensions, key);
            this.#isMade = isNew;
        }
        return this.#table;
    }

    /** Makes a table that gets no rows, if the file says enough. */
    #makeEmpty(footer: Footer): void {
        const lengths = this.#pairs.map(({ column }) => column.dimensions || listLength(footer, column.of));
        const isKnown = this.#pairs.every(({ column }, i) => column.type !== 'vector' || lengths[i] !== 0);
        if (isKnown) this.#tableFor(lengths);
    }

    #write(table: Table, batch: Record<string, ColumnData>, rows: number): void {
        if (this.#options.upsert === true) table.upsertColumns(batch, rows);
        else table.insertColumns(batch, rows);
        this.#written += rows;
    }
}

/** A table by name; null where there is none. @throws {VeltaError} INVALID */
function presentTable(name: string, { database, key }: ImportParquetOptions): Table | null {
    if (!(database instanceof Database)) {
        throw invalid(`importParquet: database must be an open database, not ${describe(database)}`);
    }
    if (!database.tableNames().includes(name)) return null;
    const table = database.table(name);
    if (key !== undefined && table.keyColumn !== key) {
        throw invalid(`importParquet: the key of table '${name}' is ${quoted(table.keyColumn ?? 'none')}`);
    }
    return table;
}

/**
 * Writes the rows of a Parquet file that match a filter into a table.
 *
 * Each row group is written whole or not at all; where a later one fails or is cancelled, the rows of those before it
 * stay. The thread that calls does the unpacking and the filtering, group by group.
 *
 * @throws {VeltaError} of the file: CORRUPT, UNSUPPORTED, DIMENSIONS, TYPE, NOT_FOUND, LIMIT; of the way to it: IO,
 *     CHANGED, NOT_FOUND; of `where`: SYNTAX, UNKNOWN_COLUMN, TYPE with the position; of the table: as
 *     `Table.insertColumns`; OVER_BUDGET, CANCELLED
 */
export async function importParquet<S extends Schema>(
    source: ParquetSource,
    options: ImportParquetOptions<S>,
): Promise<ImportResult<S>> {
    checkOptions('importParquet', options, OPTIONS);
    const { table, database, key } = options ?? {};
    if (typeof table !== 'string' && !(table instanceof Table)) {
        throw invalid(`importParquet: table must be a table of an open database or a name, not ${describe(table)}`);
    }
    if (table instanceof Table && (database !== undefined || key !== undefined)) {
        throw invalid('importParquet: database and key go with a table given by name');
    }
    const importer = new Importer(source, options as unknown as ImportParquetOptions);
    return importer.run() as unknown as Promise<ImportResult<S>>;
}
