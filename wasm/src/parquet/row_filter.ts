/**
 * Which rows of a file match a filter, row group by row group.
 *
 * The engine runs the filter, three times over with less each time: over the bounds of the row groups that the footer
 * has; over those of pages, where a group has page indexes; and over the values of the rows that are left, in a table
 * made for it. Which columns a filter names is asked of the engine too (imports/incoming.ts).
 *
 * Pages of different columns end at different rows. The blocks that bounds are looked at for are the pieces between all
 * ends of pages of all columns of the filter; a piece has of each column the bounds of the page that it lies in.
 */
import { filterColumns, matching, scratchSchema, withScratch } from '../imports/incoming.js';
import type { Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import type { ColumnType } from '../schema.js';
import { type Chunk, type Column, type Footer, type Group, incomingColumns } from './footer.js';
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

/** A filter over the columns of a file. @internal */
export class RowFilter {
    readonly columns: readonly Column[];
    readonly #where: string;

    /** @throws {VeltaError} SYNTAX, UNKNOWN_COLUMN, TYPE as the engine does; UNSUPPORTED */
    constructor(where: string, footer: Footer) {
        this.#where = where.trim();
        this.columns = filterColumns(where, incomingColumns(footer)).map(({ of }) => of);
    }

    /** Whether every row matches. */
    get isEmpty(): boolean {
        return this.#where === '';
    }

    /** Which blocks may hold a match, by the bounds of the filter's columns in each. */
    #mayMatch(blocks: readonly (readonly Bounds[])[]): Uint32Array {
        const schema = scratchSchema(this.columns);
        const names = Object.keys(schema);
        const holds = new Uint8Array(blocks.length * names.length).fill(NULLS | VALUES);
        const data = this.columns.map(({ name, type }, c) => {
            const bounds = blocks.flatMap((block, i) => {
                const { low, high, nulls, values } = block[c] as Bounds;
                holds[i * names.length + c] = (nulls ? NULLS : 0) | (values ? VALUES : 0);
                return [low, high];
            });
            return [name, columnData(bounds as ParquetValues, type as ColumnType)] as const;
        });
        return withScratch(schema, (table) => {
            table.insertColumns(Object.fromEntries(data), 2 * blocks.length);
            return table.zones(this.#where, holds);
        });
    }

    /** The groups that may hold a match, by the bounds in the footer. */
    groups(groups: readonly Group[]): Group[] {
        const some = groups.filter(({ rows }) => rows > 0);
        if (this.isEmpty || some.length === 0) return some;
        const blocks = some.map(({ chunks, rows }) => {
            return this.columns.map((column) => boundsOf(column, (chunks[column.leaf] as Chunk).statistics, rows));
        });
        return Array.from(this.#mayMatch(blocks), (i) => some[i] as Group);
    }

    /**
     * The rows of a group that may match, by the bounds of pages.
     * @param known - for each column of the filter; null where the group has no page indexes of it
     * @returns the rows, and what they are charged with, which the caller lets go
     */
    candidates(
        group: Group,
        known: readonly (KnownPages | null)[],
        budget: MemoryBudget,
    ): { rows: RowList; held: Allocation | null } {
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
        const left = this.#mayMatch(blocks);
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
    matching(values: readonly ParquetValues[], rows: number): RowList {
        const data = this.columns.map(({ type }, i) => {
            return columnData(values[i] as ParquetValues, type as ColumnType);
        });
        return matching(this.#where, this.columns, data, rows);
    }
}
