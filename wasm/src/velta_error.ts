/**
 * The one error class of the package, and its codes.
 *
 * Codes of the engine come from its status list (generated); six more belong to JavaScript's side. A code never
 * changes its meaning; messages may. It is a file of its own so that entries beside `velta` take the class from there.
 */
import type { StatusCode } from './generated/status.js';

/**
 * What went wrong, for programs.
 *
 * - the engine's codes (`INVALID`, `NOT_FOUND`, `TYPE`, …)
 * - `NOT_READY`: `init()` has not finished
 * - `CLOSED`: the object was closed
 * - `UNSUPPORTED`: this environment lacks what was asked for
 * - `BAD_MODULE`: the .wasm could not be loaded
 * - `WORKER`: the worker could not start, or died
 * - `CHANGED`: a file on a server became another one while it was read
 * - `UNCERTAIN`: a change may have been made or not, because the tab that was to make it ended (`openShared`)
 */
export type VeltaCode =
    StatusCode | 'NOT_READY' | 'CLOSED' | 'UNSUPPORTED' | 'BAD_MODULE' | 'WORKER' | 'CHANGED' | 'UNCERTAIN';

/** What an error becomes where only plain data can pass, as between threads. */
export interface VeltaErrorData {
    readonly code: VeltaCode;
    readonly message: string;
    readonly offset?: number;
}

/** Every error that the package throws or rejects with. */
export class VeltaError extends Error {
    override readonly name = 'VeltaError';
    /** What went wrong, for programs. */
    readonly code: VeltaCode;
    /** Where: a byte of a filter text, an index in a batch, a byte of a file; absent where there is no such place. */
    declare readonly offset?: number;

    /**
     * @param code - what went wrong, for programs
     * @param message - one sentence: what was wrong and, where it helps, what to do
     */
    constructor(code: VeltaCode, message: string, details: { offset?: number | undefined; cause?: unknown } = {}) {
        super(message, details.cause === undefined ? undefined : { cause: details.cause });
        this.code = code;
        if (details.offset !== undefined) this.offset = details.offset;
    }

    /** Plain data that structured cloning and JSON keep. */
    toJSON(): VeltaErrorData {
        const { code, message, offset } = this;
        return offset === undefined ? { code, message } : { code, message, offset };
    }

    /** The error that {@link VeltaError.toJSON} was called on. */
    static fromJSON(data: VeltaErrorData): VeltaError {
        return new VeltaError(data.code, data.message, { offset: data.offset });
    }
}
