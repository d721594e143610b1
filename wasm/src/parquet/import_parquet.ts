/**
 * `importParquet`: the rows of a Parquet file that match a filter, into a table.
 *
 * Row group by row group: the columns that the filter names are fetched first, the engine's own filter is run over them
 * in a table made for it, and of the other columns only the pages with matching rows are fetched. While a group's rows
 * are fetched and written, the filter columns of the next one are on their way.
 *
 * Which columns a filter names is asked of the engine too: compiled against a table without them it says which it
 * misses, and where. There is no second parser.
 */
import { type Database, createDatabase } from '../database.js';
import { VeltaError, checkOptions, describe, invalid, quoted } from '../errors.js';
import { Filter } from '../filter.js';
import type { MemoryBudget } from '../ranges/memory_budget.js';
import type { RangeClientOptions } from '../ranges/range_client.js';
import { cancelled } from '../ranges/source.js';
import type { FullColumn, ScalarType, Schema } from '../schema.js';
import { Table } from '../table.js';
import type { ColumnData } from '../values.js';
import type { Decompressor } from './compression.js';
import type { Column, Group } from './footer.js';
import { pick, rowsOf } from './parquet_values.js';
import {
    type HeldValues,
    type ParquetSource,
    StreamingParquetReader,
    columnOf,
    typeFor,
} from './streaming_parquet_reader.js';

/** How far an import is. */
export interface ImportProgress {
    readonly rowsRead: number;
    readonly rowsWritten: number;
    /** Of the file. */
    readonly rows: number;
    readonly bytesFetched: number;
    readonly fileBytes: number;
}

/** Options of {@link importParquet}. */
export interface ImportParquetOptions<S extends Schema = Schema> {
    /** The table that gets the rows. */
    readonly table: Table<S>;
    /** Columns by one name in both, or the file's by the table's; default those of the table that the file has. */
    readonly columns?: readonly string[] | Readonly<Record<string, string>>;
    /** The file's column that goes to the table's only vector column, where it has another name. */
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
export interface ImportResult {
    /** Rows written. */
    readonly rows: number;
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

/** A column of the file and the one of the table that it goes to. */
interface Pair {
    readonly target: string;
    readonly full: FullColumn;
    readonly column: Column;
}

function pairsOf(options: ImportParquetOptions, file: readonly Column[], find: (name: string) => Column): Pair[] {
    const { table, columns, vector } = options;
    const { schema } = table;
    const names = new Map<string, string>();
    if (columns === undefined) {
        for (const name of Object.keys(schema)) if (file.some((each) => each.name === name)) names.set(name, name);
    } else if (Array.isArray(columns)) {
        for (const name of columns as readonly string[]) names.set(name, name);
    } else if (typeof columns === 'object' && columns !== null) {
        for (const [target, name] of Object.entries(columns)) names.set(target, name);
    } else {
        throw invalid(`importParquet: columns is an array or an object of names, not ${describe(columns)}`);
    }
    if (vector !== undefined) {
        const targets = Object.keys(schema).filter((name) => schema[name]?.type === 'vector');
        if (targets.length !== 1) throw invalid('importParquet: vector needs a table with one vector column');
        names.set(targets[0] as string, vector);
    }
    if (names.size === 0) throw invalid('importParquet: the file has none of the columns of the table');
    return Array.from(names, ([target, name]) => {
        const full = schema[target];
        if (full === undefined) {
            throw new VeltaError('UNKNOWN_COLUMN', `table '${table.name}' has no column ${quoted(target)}`);
        }
        const column = find(name);
        const type = typeFor(column, { vectors: full.type === 'vector' ? [name] : [] });
        if (type !== full.type) {
            const is = `column ${quoted(name)} of the Parquet file is ${type}`;
            throw new VeltaError('TYPE', `${is}, column '${target}' of the table ${full.type}`);
        }
        return { target, full, column };
    });
}

/** The name of a column at the beginning of a text, as the filter language writes it: the longest that fits. */
function nameAt(rest: string, columns: readonly Column[]): string | undefined {
    const written = (name: string): boolean =>
        rest.startsWith(name) || rest.startsWith(`"${name.replaceAll('"', '""')}"`);
    return columns
        .map(({ name }) => name)
        .filter(written)
        .sort((a, b) => b.length - a.length)[0];
}

/** The columns that a filter names. @throws {VeltaError} SYNTAX, UNKNOWN_COLUMN, TYPE as the engine does */
async function filterColumns(
    where: string,
    file: readonly Column[],
    find: (name: string) => Column,
): Promise<Column[]> {
    if (where.trim() === '') return [];
    const bytes = new TextEncoder().encode(where);
    const scratch = createDatabase({ autoIndex: false });
    try {
        // A table needs a column: one whose name the file does not have.
        let unused = 'unused';
        while (file.some(({ name }) => name === unused)) unused += '_';
        const table = scratch.table('rows', { [unused]: 'bool' });
        const found: Column[] = [];
        for (;;) {
            try {
                table.where(where).count();
                return found;
            } catch (error) {
                const isMissing = error instanceof VeltaError && error.code === 'UNKNOWN_COLUMN';
                if (!isMissing || error.offset === undefined) throw error;
                const name = nameAt(new TextDecoder().decode(bytes.subarray(error.offset)), file);
                if (name === undefined || found.some((each) => each.name === name)) throw error;
                const column = find(name);
                if (column.type === 'vector') {
                    throw new VeltaError('TYPE', `a filter of a Parquet file cannot use '${name}', which is a vector`);
                }
                table.addColumn(name, column.type as ScalarType);
                found.push(column);
            }
        }
    } finally {
        await scratch.close();
    }
}

/** Rows of a group that match, by the engine's filter; null: all. */
async function matching(
    where: string,
    columns: readonly Column[],
    values: readonly HeldValues[],
    rows: number,
): Promise<Uint32Array | null> {
    if (where.trim() === '') return null;
    let scratch: Database | null = null;
    try {
        scratch = createDatabase({ autoIndex: false });
        const definitions = columns.map(({ name, type }) => [name, type as ScalarType] as const);
        const table = scratch.table(
            'rows',
            Object.fromEntries(definitions.length ? definitions : [['unused', 'bool']]),
        );
        const data = columns.map(({ name }, i) => [name, (values[i] as HeldValues).values as ColumnData] as const);
        table.insertColumns(Object.fromEntries(data), rows);
        const found = table.where(where).rows();
        return found.length === rows ? null : found;
    } finally {
        await scratch?.close();
    }
}

class Importer {
    readonly reader: StreamingParquetReader;
    readonly #options: ImportParquetOptions;
    readonly #where: string;
    #pairs: readonly Pair[] = [];
    #filter: readonly Column[] = [];
    #written = 0;

    constructor(source: ParquetSource, options: ImportParquetOptions) {
        this.#options = options;
        const { where = '', budget, signal, gapBytes, decompressors, client } = options;
        if (typeof where !== 'string' && !(where instanceof Filter)) {
            throw invalid(`importParquet: where is a filter, not ${describe(where)}`);
        }
        this.#where = where.toString();
        const given = { budget, signal, gapBytes, decompressors, client };
        const set = Object.entries(given).filter(([, value]) => value !== undefined);
        this.reader = new StreamingParquetReader(source, Object.fromEntries(set));
    }

    async run(): Promise<ImportResult> {
        const { footer, fileBytes } = await this.reader.load();
        const find = (name: string): Column => columnOf(footer, name);
        this.#pairs = pairsOf(this.#options, footer.columns, find);
        this.#filter = await filterColumns(this.#where, footer.columns, find);
        const groups = footer.groups.filter(({ rows }) => rows > 0);
        let next = this.#first(groups[0]);
        try {
            for (let i = 0; i < groups.length; i++) {
                const group = groups[i] as Group;
                const held = await next;
                next = this.#first(groups[i + 1]);
                await this.#group(group, held);
                this.#report(group.startRow + group.rows, footer.rows, fileBytes);
            }
        } finally {
            await next.then((held) => held.forEach((each) => each.release())).catch(() => undefined);
        }
        const { requests, bytesFetched } = this.reader.stats();
        return {
            rows: this.#written,
            bytesFetched,
            bytesSaved: Math.max(0, fileBytes - bytesFetched),
            fileBytes,
            requests,
            selectivity: footer.rows === 0 ? 0 : this.#written / footer.rows,
        };
    }

    #report(rowsRead: number, rows: number, fileBytes: number): void {
        const { bytesFetched } = this.reader.stats();
        this.#options.onProgress?.({ rowsRead, rowsWritten: this.#written, rows, bytesFetched, fileBytes });
        const { signal } = this.#options;
        if (signal?.aborted) throw cancelled(signal);
    }

    /** Fetches what the filter needs of a group. A failure waits for whoever awaits it. */
    #first(group: Group | undefined): Promise<HeldValues[]> {
        if (group === undefined || this.#filter.length === 0) return Promise.resolve([]);
        const held = this.reader.readChunks(group, this.#filter, null, {});
        held.catch(() => undefined);
        return held;
    }

    /** Writes the matching rows of a group; lets go of the filter columns. */
    async #group(group: Group, filter: readonly HeldValues[]): Promise<void> {
        const held: HeldValues[] = [...filter];
        try {
            const wanted = await matching(this.#where, this.#filter, filter, group.rows);
            if (wanted?.length === 0) return;
            const here = this.#pairs.map(({ column }) => this.#filter.indexOf(column));
            const others = this.#pairs.filter((_, i) => here[i] === -1);
            const fetched = await this.reader.readChunks(
                group,
                others.map(({ column }) => column),
                wanted,
                { vectors: others.filter(({ full }) => full.type === 'vector').map(({ column }) => column.name) },
            );
            held.push(...fetched);
            let at = 0;
            const batch = this.#pairs.map((pair, i): [string, ColumnData] => {
                const place = here[i] as number;
                if (place < 0) return [pair.target, this.#checked(pair, fetched[at++] as HeldValues)];
                const { values } = filter[place] as HeldValues;
                return [pair.target, (wanted === null ? values : pick(values, wanted, 1)) as ColumnData];
            });
            this.#write(Object.fromEntries(batch), wanted?.length ?? group.rows);
        } finally {
            for (const each of held) each.release();
        }
    }

    #checked({ target, full, column }: Pair, held: HeldValues): ColumnData {
        if (full.type === 'vector' && held.dimensions > 0 && held.dimensions !== full.dimensions && rowsOf(held) > 0) {
            const has = `column '${column.name}' of the Parquet file has vectors of ${held.dimensions} elements`;
            throw new VeltaError('DIMENSIONS', `${has}, column '${target}' of the table of ${full.dimensions}`);
        }
        return held.values as ColumnData;
    }

    #write(batch: Record<string, ColumnData>, rows: number): void {
        const { table, upsert } = this.#options;
        if (upsert === true) table.upsertColumns(batch, rows);
        else table.insertColumns(batch, rows);
        this.#written += rows;
    }
}

/**
 * Writes the rows of a Parquet file that match a filter into a table.
 *
 * Each row group is written whole or not at all; where a later one fails or is cancelled, the rows of those before it
 * stay. The page's own thread does the unpacking and the filtering, group by group.
 *
 * @throws {VeltaError} of the file: CORRUPT, UNSUPPORTED, DIMENSIONS, TYPE, NOT_FOUND, LIMIT; of the way to it: IO,
 *     CHANGED, NOT_FOUND; of `where`: SYNTAX, UNKNOWN_COLUMN, TYPE with the position; of the table: as
 *     `Table.insertColumns`; OVER_BUDGET, CANCELLED
 */
export async function importParquet<S extends Schema>(
    source: ParquetSource,
    options: ImportParquetOptions<S>,
): Promise<ImportResult> {
    checkOptions('importParquet', options, OPTIONS);
    if (!(options?.table instanceof Table)) {
        throw invalid(`importParquet: table must be a table of an open database, not ${describe(options?.table)}`);
    }
    return new Importer(source, options as unknown as ImportParquetOptions).run();
}
