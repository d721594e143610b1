/**
 * Which rows of a file match a filter, row group by row group.
 *
 * The engine runs the filter, three times over with less each time: over the bounds of the row groups that the footer
 * has; over those of pages, where a group has page indexes; and over the values of the rows that are left, in a table
 * made for it. There is no second parser: which columns a filter names is learned by compiling it against a table
 * without them, and the engine says which it misses, and where.
 *
 * Pages of different columns end at different rows. The blocks that bounds are looked at for are the pieces between all
 * ends of pages of all columns of the filter; a piece has of each column the bounds of the page that it lies in.
 */
import { type Database, createDatabase } from '../database.js';
import { VeltaError, describe, invalid } from '../errors.js';
import { Filter } from '../filter.js';
import type { Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import type { ScalarType, Schema } from '../schema.js';
import type { Table } from '../table.js';
import type { Chunk, Column, Group } from './footer.js';
import type { PagePlace } from './page_index.js';
import type { ParquetValues } from './pages.js';
import { columnData } from './parquet_values.js';
import { type Bounds, boundsOf } from './statistics.js';

/** Pages of a chunk with what is known of their values. @internal */
export interface KnownPages {
    readonly places: readonly PagePlace[];
    readonly bounds: readonly Bounds[];
}

/** Rows of a group, ascending; null: all. @internal */
export type RowList = Uint32Array | null;

const NULLS = 1;
const VALUES = 2;

/** A filter as text. @throws {VeltaError} INVALID @internal */
export function filterText(where: string | Filter): string {
    if (typeof where === 'string' || where instanceof Filter) return where.toString();
    throw invalid(`a filter is a text or made by eq() and its kin, not ${describe(where)}`);
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

/** A table for a moment. */
async function withTable<T>(schema: Schema, use: (table: Table) => T): Promise<T> {
    let scratch: Database | null = null;
    try {
        scratch = createDatabase({ autoIndex: false });
        return use(scratch.table('rows', schema));
    } finally {
        await scratch?.close();
    }
}

/** A name that no column of the file has. */
function unusedName(file: readonly Column[]): string {
    let unused = 'unused';
    while (file.some(({ name }) => name === unused)) unused += '_';
    return unused;
}

/** The columns that a filter names. @throws {VeltaError} SYNTAX, UNKNOWN_COLUMN, TYPE as the engine does */
function columnsOfFilter(
    where: string,
    table: Table,
    file: readonly Column[],
    find: (name: string) => Column,
): Column[] {
    const bytes = new TextEncoder().encode(where);
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
}

/** A filter over the columns of a file. @internal */
export class RowFilter {
    readonly columns: readonly Column[];
    readonly #where: string;
    /** The schema of the tables that it runs over; they need a column, whatever the filter. */
    readonly #schema: Record<string, ScalarType>;

    private constructor(where: string, columns: readonly Column[], unused: string) {
        this.#where = where;
        this.columns = columns;
        const definitions = columns.map(({ name, type }) => [name, type as ScalarType] as const);
        this.#schema = Object.fromEntries(definitions.length > 0 ? definitions : [[unused, 'bool'] as const]);
    }

    /** @throws {VeltaError} SYNTAX, UNKNOWN_COLUMN, TYPE as the engine does, and what `find` throws */
    static async compile(where: string, file: readonly Column[], find: (name: string) => Column): Promise<RowFilter> {
        const unused = unusedName(file);
        if (where.trim() === '') return new RowFilter('', [], unused);
        const columns = await withTable({ [unused]: 'bool' }, (table) => columnsOfFilter(where, table, file, find));
        return new RowFilter(where, columns, unused);
    }

    /** Whether every row matches. */
    get isEmpty(): boolean {
        return this.#where === '';
    }

    /** Which blocks may hold a match, by the bounds of the filter's columns in each. */
    async #mayMatch(blocks: readonly (readonly Bounds[])[]): Promise<Uint32Array> {
        const names = Object.keys(this.#schema);
        const holds = new Uint8Array(blocks.length * names.length).fill(NULLS | VALUES);
        const data = this.columns.map(({ name, type }, c) => {
            const bounds = blocks.flatMap((block, i) => {
                const { low, high, nulls, values } = block[c] as Bounds;
                holds[i * names.length + c] = (nulls ? NULLS : 0) | (values ? VALUES : 0);
                return [low, high];
            });
            return [name, columnData(bounds as ParquetValues, type as ScalarType)] as const;
        });
        return withTable(this.#schema, (table) => {
            table.insertColumns(Object.fromEntries(data), 2 * blocks.length);
            return table.zones(this.#where, holds);
        });
    }

    /** The groups that may hold a match, by the bounds in the footer. */
    async groups(groups: readonly Group[]): Promise<Group[]> {
        const some = groups.filter(({ rows }) => rows > 0);
        if (this.isEmpty || some.length === 0) return some;
        const blocks = some.map(({ chunks, rows }) => {
            return this.columns.map((column) => boundsOf(column, (chunks[column.leaf] as Chunk).statistics, rows));
        });
        return Array.from(await this.#mayMatch(blocks), (i) => some[i] as Group);
    }

    /**
     * The rows of a group that may match, by the bounds of pages.
     * @param known - for each column of the filter; null where the group has no page indexes of it
     * @returns the rows, and what they are charged with, which the caller lets go
     */
    async candidates(
        group: Group,
        known: readonly (KnownPages | null)[],
        budget: MemoryBudget,
    ): Promise<{ rows: RowList; held: Allocation | null }> {
        const ofGroup = this.columns.map((column) => {
            return boundsOf(column, (group.chunks[column.leaf] as Chunk).statistics, group.rows);
        });
        const starts = new Set<number>([0]);
        for (const pages of known) for (const { row } of pages?.places ?? []) starts.add(row);
        if (starts.size === 1) return { rows: null, held: null };
        const begins = Uint32Array.from(starts).sort();
        const at = known.map(() => 0);
        const blocks = Array.from(begins, (begin) =>
            known.map((pages, c) => {
                if (pages === null) return ofGroup[c] as Bounds;
                while (pages.places[(at[c] as number) + 1]?.row === begin) at[c] = (at[c] as number) + 1;
                return pages.bounds[at[c] as number] as Bounds;
            }),
        );
        const left = await this.#mayMatch(blocks);
        if (left.length === blocks.length) return { rows: null, held: null };
        const endOf = (i: number): number => begins[i + 1] ?? group.rows;
        const count = left.reduce((total, i) => total + endOf(i) - (begins[i] as number), 0);
        const held = budget.allocate(count * 4, 'a list of rows');
        const rows = new Uint32Array(count);
        let filled = 0;
        for (const i of left) for (let row = begins[i] as number; row < endOf(i); row++) rows[filled++] = row;
        return { rows, held };
    }

    /** Of so many rows, the places of those that match; null: all. */
    async matching(values: readonly ParquetValues[], rows: number): Promise<RowList> {
        if (this.isEmpty) return null;
        const data = this.columns.map(({ name, type }, i) => {
            return [name, columnData(values[i] as ParquetValues, type as ScalarType)] as const;
        });
        const found = await withTable(this.#schema, (table) => {
            table.insertColumns(Object.fromEntries(data), rows);
            return table.where(this.#where).rows();
        });
        return found.length === rows ? null : found;
    }
}
