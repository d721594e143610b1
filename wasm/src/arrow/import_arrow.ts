/**
 * `importArrow`: the rows of Arrow IPC that match a filter, into a table.
 *
 * Record batch by record batch: the columns that the filter names are decoded first, the engine's own filter is run
 * over them, and of the other columns only batches with matching rows are decoded. A stream is never held whole.
 */
import type { ArrowField } from '@uwdata/flechette/src/decode/message.js';
import { Database } from '../database.js';
import { VeltaError, checkOptions, describe, invalid, quoted } from '../errors.js';
import type { Filter } from '../filter.js';
import {
    type Incoming,
    type IncomingColumns,
    type Pair,
    checkDimensions,
    filterColumns,
    makeTable,
    matching,
    pairsForNew,
    pairsForTable,
    pick,
    whereText,
} from '../imports/incoming.js';
import { MemoryBudget } from '../ranges/memory_budget.js';
import { checkIsSignal, checkSignal, chunksOf } from '../stream/chunks.js';
import type { Table } from '../table.js';
import type { ColumnData } from '../values.js';
import { ArrowDecoder, type Batch, type Decoded, refusalOf } from './decode.js';
import { type Message, messagesOfBytes, messagesOfChunks } from './messages.js';
import { Type, columnTypeOf } from './types.js';

/**
 * Where Arrow IPC comes from: bytes of a file or a stream, told apart by how they begin; a Blob or a Response; or
 * chunks of bytes as they come.
 */
export type ArrowSource =
    Uint8Array | ArrayBuffer | Blob | Response | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/** How far an import is. */
export interface ArrowImportProgress {
    readonly rowsRead: number;
    readonly rowsWritten: number;
    /** Of the source, up to the end of the batch. */
    readonly bytesRead: number;
}

/** Options of {@link importArrow}. */
export interface ImportArrowOptions {
    /** The table that gets the rows; made of the source's schema where there is none of this name. */
    readonly table: string;
    /**
     * Columns by one name in both, or the source's by the table's. Default: those of the table that the source has; for
     * a table that is made, all of the source's.
     */
    readonly columns?: readonly string[] | Readonly<Record<string, string>>;
    /** The source's column that goes to the table's only vector column, where it has another name. */
    readonly vector?: string;
    /** The primary key: of a table that is made, and to be that of a table that is there. */
    readonly key?: string;
    /** Which rows: a filter (docs/FILTER.md) on the source's columns; default all. */
    readonly where?: string | Filter;
    /** Whether rows whose key is there change that row instead of failing with EXISTS. Default false. */
    readonly upsert?: boolean;
    /** The most rows that are decoded and written at a time; default: a record batch's. */
    readonly batchSize?: number;
    /** For what is held of the source: default 1.5 GiB. */
    readonly budget?: MemoryBudget;
    readonly signal?: AbortSignal;
    readonly onProgress?: (progress: ArrowImportProgress) => void;
}

/** What an import of Arrow did. */
export interface ArrowImportResult {
    /** Rows written. */
    readonly rows: number;
    /** Rows of the source. */
    readonly rowsRead: number;
    /** Record batches of the source. */
    readonly batches: number;
    readonly bytesRead: number;
    /** Whether the table was made. */
    readonly created: boolean;
}

const OPTIONS = ['table', 'columns', 'vector', 'key', 'where', 'upsert', 'batchSize', 'budget', 'signal', 'onProgress'];
const SOURCE = 'the Arrow data';

/** A column of the source, and its place among the fields. */
interface ArrowColumn extends Incoming {
    readonly field: number;
}

function columnsOf(fields: readonly ArrowField[]): IncomingColumns<ArrowColumn> {
    const named = new Map<string, number>();
    const twice = new Set<string>();
    fields.forEach(({ name }, i) => {
        if (named.has(name ?? '')) twice.add(name ?? '');
        named.set(name ?? '', i);
    });
    const find = (name: string): ArrowColumn => {
        const number = named.get(name);
        if (number === undefined) {
            const there = [...named.keys()].slice(0, 12).join(', ');
            throw new VeltaError('NOT_FOUND', `${SOURCE} has no column ${quoted(name)}; there are ${there}`);
        }
        if (twice.has(name)) throw new VeltaError('UNSUPPORTED', `${SOURCE} has two columns ${quoted(name)}`);
        const field = fields[number] as ArrowField;
        const type = columnTypeOf(field.type);
        if (type === undefined) throw refusalOf(field);
        const dimensions = field.type.typeId === Type.FixedSizeList ? (field.type.stride ?? 0) : 0;
        return { name, type, dimensions, required: !field.nullable && type !== null, field: number };
    };
    return { source: SOURCE, names: [...named.keys()], find };
}

/** The messages of a source, whatever it is. */
async function* messagesOf(
    source: ArrowSource,
    budget: MemoryBudget,
    signal: AbortSignal | undefined,
): AsyncGenerator<Message, void> {
    if (source instanceof Uint8Array || source instanceof ArrayBuffer) {
        yield* messagesOfBytes(source instanceof Uint8Array ? source : new Uint8Array(source));
        return;
    }
    let stream: ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;
    if (typeof Blob === 'function' && source instanceof Blob) {
        stream = source.stream();
    } else if (typeof Response === 'function' && source instanceof Response) {
        if (!source.ok) throw new VeltaError('IO', `the server answered ${source.status} ${source.statusText}`);
        if (source.body === null) throw new VeltaError('IO', 'the response has no body, or it was read already');
        stream = source.body;
    } else {
        stream = source as ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;
    }
    const chunks = chunksOf(stream, signal);
    try {
        yield* messagesOfChunks(chunks, budget);
    } finally {
        await chunks.return(undefined);
    }
}

class ArrowImporter {
    readonly #db: Database;
    readonly #options: ImportArrowOptions;
    readonly #where: string;
    readonly #budget: MemoryBudget;
    readonly #decoder: ArrowDecoder;
    #table: Table | null;
    #created = false;
    #file: IncomingColumns<ArrowColumn> | null = null;
    #pairs: readonly Pair<ArrowColumn>[] = [];
    #filter: readonly ArrowColumn[] = [];
    #written = 0;
    #read = 0;
    #batches = 0;
    #bytes = 0;

    constructor(db: Database, options: ImportArrowOptions) {
        this.#db = db;
        this.#options = options;
        this.#where = whereText(options.where);
        this.#budget = options.budget ?? new MemoryBudget();
        this.#decoder = new ArrowDecoder(this.#budget);
        this.#table = db.hasTable(options.table) ? db.table(options.table) : null;
    }

    async run(source: ArrowSource): Promise<ArrowImportResult> {
        try {
            for await (const message of messagesOf(source, this.#budget, this.#options.signal)) {
                try {
                    await this.#message(message);
                } finally {
                    message.release();
                }
            }
            if (this.#file === null) this.#plan(); // says that there is no schema
            this.#tableFor([]);
        } catch (error) {
            // A table that got no row goes again: nothing changed.
            if (this.#created && this.#written === 0 && !this.#db.closed) this.#db.dropTable(this.#options.table);
            throw error;
        } finally {
            this.#decoder.release();
        }
        return {
            rows: this.#written,
            rowsRead: this.#read,
            batches: this.#batches,
            bytesRead: this.#bytes,
            created: this.#created,
        };
    }

    async #message(message: Message): Promise<void> {
        checkSignal(this.#options.signal);
        const batch = await this.#decoder.take(message);
        this.#bytes = Math.max(this.#bytes, message.end);
        if (this.#file === null) this.#plan();
        if (batch === null) return;
        try {
            const size = this.#options.batchSize ?? Math.max(1, batch.rows);
            for (let start = 0; start < batch.rows; start += size) {
                this.#rows(batch, start, Math.min(start + size, batch.rows));
                this.#read = this.#read + Math.min(size, batch.rows - start);
                const { signal, onProgress } = this.#options;
                onProgress?.({ rowsRead: this.#read, rowsWritten: this.#written, bytesRead: this.#bytes });
                checkSignal(signal);
            }
            this.#batches++;
        } finally {
            batch.release();
        }
    }

    /** When the schema is known: which columns go where. */
    #plan(): void {
        const file = columnsOf(this.#decoder.fields);
        const { key } = this.#options;
        if (this.#table === null) {
            this.#pairs = pairsForNew(file, this.#options);
        } else {
            const has = this.#table.keyColumn;
            if (key !== undefined && key !== has) {
                const other = has === null ? 'no key' : `the key '${has}'`;
                throw invalid(`table '${this.#table.name}' has ${other}, not ${quoted(key)}`);
            }
            this.#pairs = pairsForTable(this.#table, file, this.#options);
        }
        this.#filter = filterColumns(this.#where, file);
        this.#decoder.want([
            ...this.#pairs.map(({ column }) => column.field),
            ...this.#filter.map(({ field }) => field),
        ]);
        this.#file = file;
    }

    /** The table; made where there is none yet. */
    #tableFor(decoded: readonly Decoded[]): Table {
        if (this.#table === null) {
            const dimensions = decoded.map((each) => each.dimensions);
            const file = this.#file as IncomingColumns<ArrowColumn>;
            const { table, key } = this.#options;
            if (this.#db.hasTable(table)) throw invalid(`table '${table}' was made by another while it was imported`);
            this.#table = makeTable(this.#db, table, file, this.#pairs, dimensions, key);
            this.#created = true;
        }
        return this.#table;
    }

    /** Writes the matching ones of some rows of a batch. */
    #rows(batch: Batch, start: number, end: number): void {
        const rows = end - start;
        // Of each value eight bytes or a reference, and the copy that the engine makes.
        const columns = new Set([
            ...this.#pairs.map(({ column }) => column.field),
            ...this.#filter.map(({ field }) => field),
        ]);
        const held = this.#budget.allocate(rows * columns.size * 16, 'rows of Arrow data');
        try {
            const known = new Map<number, Decoded>();
            const decode = (column: ArrowColumn): Decoded => {
                const found = known.get(column.field) ?? batch.decode(column.field, start, end);
                known.set(column.field, found);
                return found;
            };
            const filter = this.#filter.map((column) => decode(column).values);
            const wanted = matching(this.#where, this.#filter, filter, rows);
            if (wanted?.length === 0) return;
            const decoded = this.#pairs.map(({ column }) => decode(column));
            const table = this.#tableFor(decoded);
            const { schema } = table;
            const data = this.#pairs.map((pair, i): [string, ColumnData] => {
                const { values, dimensions } = decoded[i] as Decoded;
                const full = schema[pair.target];
                if (full !== undefined) checkDimensions(SOURCE, pair, full, dimensions);
                const width = pair.column.type === 'vector' ? Math.max(1, dimensions) : 1;
                return [pair.target, wanted === null ? values : pick(values, wanted, width)];
            });
            const count = wanted?.length ?? rows;
            if (this.#options.upsert === true) table.upsertColumns(Object.fromEntries(data), count);
            else table.insertColumns(Object.fromEntries(data), count);
            this.#written += count;
        } finally {
            held.release();
        }
    }
}

/**
 * Writes the rows of Arrow IPC that match a filter into a table: of a file or a stream, packed by LZ4, zstd or nothing.
 *
 * Each record batch, or `batchSize` rows of it, is written whole or not at all; where a later one fails or is
 * cancelled, the rows of those before it stay. The thread that calls does the work, batch by batch.
 *
 * @throws {VeltaError} of the source: CORRUPT, UNSUPPORTED, DIMENSIONS, TYPE, NOT_FOUND, NOT_NULL, LIMIT; of the way to
 *     it: IO; of `where`: SYNTAX, UNKNOWN_COLUMN, TYPE with the position; of the table: as `Table.insertColumns`;
 *     OVER_BUDGET, CANCELLED, INVALID
 */
export async function importArrow(
    db: Database,
    source: ArrowSource,
    options: ImportArrowOptions,
): Promise<ArrowImportResult> {
    if (!(db instanceof Database)) throw invalid(`importArrow: the first argument is a Database, not ${describe(db)}`);
    checkOptions('importArrow', options, OPTIONS);
    if (typeof options?.table !== 'string') {
        throw invalid(`importArrow: table is the name of a table, not ${describe(options?.table)}`);
    }
    const { batchSize, budget, key, vector, signal, onProgress } = options;
    if (batchSize !== undefined && (!Number.isSafeInteger(batchSize) || batchSize < 1)) {
        throw invalid(`importArrow: batchSize is a whole number from 1, not ${describe(batchSize)}`);
    }
    // One of velta/parquet is another class, and does as well.
    if (budget !== undefined && typeof budget?.allocate !== 'function') {
        throw invalid(`importArrow: budget is a MemoryBudget, not ${describe(budget)}`);
    }
    for (const [name, value] of Object.entries({ key, vector })) {
        if (value !== undefined && typeof value !== 'string') {
            throw invalid(`importArrow: ${name} is the name of a column, not ${describe(value)}`);
        }
    }
    if (onProgress !== undefined && typeof onProgress !== 'function') {
        throw invalid(`importArrow: onProgress is a function, not ${describe(onProgress)}`);
    }
    checkIsSignal(signal);
    checkSignal(signal);
    return new ArrowImporter(db, options).run(source);
}
