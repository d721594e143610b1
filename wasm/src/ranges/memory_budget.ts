/**
 * One budget for the buffers of reading over ranges: what was fetched, unpacked and decoded, as long as it is held.
 *
 * A buffer is charged before it is made, and refused before the budget would be exceeded, so that a file cannot make
 * a tab fail by what its footer promises. The engine's own tables have a budget of their own (`memoryBudget`).
 */
import { VeltaError, describe, invalid } from '../errors.js';

/** A part of a budget that is in use. */
export interface Allocation {
    readonly bytes: number;
    /** Gives the bytes back; calling it again does nothing. */
    release(): void;
}

/** Figures of a budget, in bytes. */
export interface BudgetStats {
    readonly budgetBytes: number;
    readonly usedBytes: number;
    /** The most that was ever in use at once. */
    readonly peakBytes: number;
    /** How many buffers are held. */
    readonly held: number;
    /** How often bytes were refused. */
    readonly refused: number;
}

const DEFAULT_BYTES = 1.5 * 2 ** 30;

/** Counts bytes in use and refuses those beyond its size. */
export class MemoryBudget {
    readonly #budget: number;
    #used = 0;
    #peak = 0;
    #held = 0;
    #refused = 0;

    /**
     * @param bytes - its size; default 1.5 GiB
     * @throws {VeltaError} INVALID
     */
    constructor(bytes: number = DEFAULT_BYTES) {
        if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) {
            throw invalid(`a budget is a whole number of bytes, not ${describe(bytes)}`);
        }
        this.#budget = bytes;
    }

    /**
     * Takes bytes out of the budget; null, and nothing is taken, where they are not there.
     * @throws {VeltaError} INVALID for what is no number of bytes
     */
    tryAllocate(bytes: number): Allocation | null {
        if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) {
            throw invalid(`an allocation is a whole number of bytes, not ${describe(bytes)}`);
        }
        if (this.#used + bytes > this.#budget) {
            this.#refused++;
            return null;
        }
        this.#used += bytes;
        this.#held++;
        if (this.#used > this.#peak) this.#peak = this.#used;
        let isHeld = true;
        const release = (): void => {
            if (!isHeld) return;
            isHeld = false;
            this.#used -= bytes;
            this.#held--;
        };
        return { bytes, release };
    }

    /**
     * Takes bytes out of the budget.
     * @param what - what they are for, in the error
     * @throws {VeltaError} OVER_BUDGET; nothing is taken then
     */
    allocate(bytes: number, what: string): Allocation {
        const allocation = this.tryAllocate(bytes);
        if (allocation !== null) return allocation;
        const free = this.#budget - this.#used;
        throw new VeltaError(
            'OVER_BUDGET',
            `${what} needs ${bytes} bytes; the budget has ${free} of ${this.#budget} left`,
        );
    }

    /** What is in use, and what was at most. */
    memoryStats(): BudgetStats {
        return {
            budgetBytes: this.#budget,
            usedBytes: this.#used,
            peakBytes: this.#peak,
            held: this.#held,
            refused: this.#refused,
        };
    }
}
