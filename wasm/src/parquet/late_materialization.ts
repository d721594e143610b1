/**
 * Late materialisation by hand: one column decides which rows are wanted, and only those are read of the others.
 *
 * `importParquet` does this with a filter of the engine; this class is for predicates that are functions, with
 * `StreamingParquetReader.selectByIndices` for what comes after.
 */
import { checkOptions, describe, invalid } from '../errors.js';
import { type Allocation, type BudgetStats, MemoryBudget } from '../ranges/memory_budget.js';

/** Finds the rows that are wanted, column after column, and knows how selective that was. */
export class LateMaterializationExecutor {
    readonly #budget: MemoryBudget;
    readonly #held: Allocation[] = [];
    #looked = 0;
    #found = 0;

    /** @param budget - what the lists of rows are charged to; default one of 1.5 GiB */
    constructor(budget: MemoryBudget = new MemoryBudget()) {
        if (!(budget instanceof MemoryBudget)) throw invalid(`expected a MemoryBudget, not ${describe(budget)}`);
        this.#budget = budget;
    }

    /**
     * Rows whose value the predicate takes, ascending. The list is charged to the budget until `release`.
     * @param column - a value for each row: what `readColumn` gives, vectors aside
     * @param options - `among`: only these rows are looked at, in their order
     * @throws {VeltaError} INVALID, OVER_BUDGET
     */
    filterIndices<T>(
        column: ArrayLike<T>,
        predicate: (value: T, row: number) => boolean,
        options: { readonly among?: Uint32Array } = {},
    ): Uint32Array {
        checkOptions('filterIndices', options, ['among']);
        const { among } = options;
        const isColumn = Array.isArray(column) || (ArrayBuffer.isView(column) && !(column instanceof DataView));
        if (!isColumn) throw invalid(`a column is an array of values, not ${describe(column)}`);
        if (typeof predicate !== 'function') throw invalid(`a predicate is a function, not ${describe(predicate)}`);
        if (among !== undefined && !(among instanceof Uint32Array)) {
            throw invalid(`among must be a Uint32Array, not ${describe(among)}`);
        }
        const count = among?.length ?? column.length;
        const room = this.#budget.allocate(count * 4, 'a list of rows');
        try {
            const rows = new Uint32Array(count);
            let found = 0;
            for (let i = 0; i < count; i++) {
                const row = among === undefined ? i : (among[i] as number);
                if (row >= column.length) throw invalid(`among: the column has no row ${row}`, i);
                if (predicate(column[row] as T, row)) rows[found++] = row;
            }
            const list = rows.slice(0, found);
            room.release();
            this.#held.push(this.#budget.allocate(list.byteLength, 'a list of rows'));
            if (among === undefined) this.#looked = count;
            this.#found = found;
            return list;
        } finally {
            room.release();
        }
    }

    /** Of the rows that the first predicate looked at, the share that the last one left; 1 before any. */
    get selectivity(): number {
        return this.#looked === 0 ? 1 : this.#found / this.#looked;
    }

    /** Figures of the budget. */
    memoryStats(): BudgetStats {
        return this.#budget.memoryStats();
    }

    /** Gives back what the lists are charged with. */
    release(): void {
        for (const each of this.#held.splice(0)) each.release();
    }
}
