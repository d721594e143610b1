/**
 * The one error class of the package, and its codes.
 *
 * Codes of the engine come from its status list (generated); five more belong to JavaScript's side. A code never
 * changes its meaning; messages may.
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
 */
export type VeltaCode = StatusCode | 'NOT_READY' | 'CLOSED' | 'UNSUPPORTED' | 'BAD_MODULE' | 'WORKER';

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

/** An INVALID error. @internal */
export function invalid(message: string, offset?: number): VeltaError {
    return new VeltaError('INVALID', message, { offset });
}

/** A short description of a value for messages: its type and, where short, itself. @internal */
export function describe(value: unknown): string {
    if (value === null || value === undefined) return String(value);
    switch (typeof value) {
        case 'string': {
            const shown = value.length > 24 ? `${value.slice(0, 24)}…` : value;
            return `the string ${JSON.stringify(shown)}`;
        }
        case 'number':
            return `the number ${value}`;
        case 'bigint':
            return `the bigint ${value}n`;
        case 'boolean':
            return `${value}`;
        case 'function':
            return 'a function';
        case 'symbol':
            return 'a symbol';
        default: {
            if (Array.isArray(value)) return `an array of ${value.length}`;
            const maker = (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor
                ?.name;
            if (ArrayBuffer.isView(value)) return `a ${maker} of ${value.byteLength} bytes`;
            return maker === undefined || maker === 'Object' ? 'an object' : `a ${maker}`;
        }
    }
}

/** A name for messages: in quotes and not too long; whatever is no name is described. @internal */
export function quoted(name: unknown): string {
    if (typeof name !== 'string') return describe(name);
    return `'${name.length > 64 ? `${name.slice(0, 64)}…` : name}'`;
}

/**
 * Refuses what is not an object, and names that are not in the list: a misspelt option must not be ignored.
 * @internal
 */
export function checkOptions(where: string, options: unknown, known: readonly string[]): void {
    if (options === undefined) return;
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
        throw invalid(`${where}: options must be an object, not ${describe(options)}`);
    }
    for (const name of Object.keys(options)) {
        if (!known.includes(name)) {
            throw invalid(`${where}: there is no option ${quoted(name)}; there are ${known.join(', ')}`);
        }
    }
}
