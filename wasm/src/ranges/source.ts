/**
 * Where bytes come from: a server that answers ranges, or bytes that are here already. One interface for both.
 */
import { VeltaError, describe, invalid } from '../errors.js';

/** Options of reading a range. */
export interface ReadRangeOptions {
    readonly signal?: AbortSignal | undefined;
}

/** The end of a file, and where it lies. */
export interface Tail {
    readonly bytes: Uint8Array;
    /** Offset of its first byte. */
    readonly start: number;
    /** Of the whole file. */
    readonly size: number;
}

/** What has been asked for and transferred so far. */
export interface RangeStats {
    readonly requests: number;
    /** Requests that were made again. */
    readonly retries: number;
    /** Bytes of bodies that arrived, those of attempts that failed included. */
    readonly bytesFetched: number;
}

/** A file that is read by ranges. {@link RangeClient} is one. */
export interface RangeSource {
    /** The bytes from `start` to before `end`, in a buffer of their own or a view that must not be written to. */
    read(start: number, end: number, options?: ReadRangeOptions): Promise<Uint8Array>;
    /** The last bytes, or all of them where there are fewer. */
    readTail(bytes: number, options?: ReadRangeOptions): Promise<Tail>;
    /** What was transferred. */
    stats(): RangeStats;
}

/** The error of a call whose signal was aborted. @internal */
export function cancelled(signal: AbortSignal): VeltaError {
    return new VeltaError('CANCELLED', 'reading was cancelled', { cause: signal.reason });
}

/**
 * What a promise gives; CANCELLED as soon as the signal is aborted, whatever becomes of the promise.
 * @throws {VeltaError} CANCELLED
 * @internal
 */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
    let stop = (): void => undefined;
    const aborted = new Promise<never>((_, failed) => {
        stop = () => failed(cancelled(signal));
        if (signal.aborted) stop();
        else signal.addEventListener('abort', stop);
    });
    try {
        return await Promise.race([promise, aborted]);
    } finally {
        signal.removeEventListener('abort', stop);
    }
}

/**
 * Runs under several signals as one: the controller's, which the first one aborts.
 * @internal
 */
export async function underSignals<T>(
    signals: readonly (AbortSignal | undefined)[],
    run: (stop: AbortController) => Promise<T>,
): Promise<T> {
    const stop = new AbortController();
    const abort = (): void => stop.abort(signals.find((each) => each?.aborted)?.reason);
    for (const each of signals) each?.addEventListener('abort', abort);
    if (signals.some((each) => each?.aborted)) abort();
    try {
        return await run(stop);
    } finally {
        for (const each of signals) each?.removeEventListener('abort', abort);
    }
}

/** Refuses what is no range. @throws {VeltaError} INVALID @internal */
export function checkRange(start: unknown, end: unknown): void {
    if (
        !Number.isSafeInteger(start) ||
        !Number.isSafeInteger(end) ||
        Number(start) < 0 ||
        Number(end) < Number(start)
    ) {
        throw invalid(`a range is two whole numbers, start and end, not ${describe(start)} and ${describe(end)}`);
    }
}

/** Bytes that are here: an array in memory, or a Blob or File, which is read in slices. @internal */
export class LocalSource implements RangeSource {
    readonly #bytes: Uint8Array | Blob;
    readonly #size: number;
    #requests = 0;
    #fetched = 0;

    constructor(bytes: Uint8Array | Blob) {
        this.#bytes = bytes;
        this.#size = bytes instanceof Uint8Array ? bytes.byteLength : bytes.size;
    }

    /** @throws {VeltaError} INVALID, LIMIT beyond the end, CANCELLED, IO */
    async read(start: number, end: number, options: ReadRangeOptions = {}): Promise<Uint8Array> {
        checkRange(start, end);
        if (options.signal?.aborted) throw cancelled(options.signal);
        if (end > this.#size) throw new VeltaError('LIMIT', `byte ${end} lies beyond the end, ${this.#size}`);
        this.#requests++;
        this.#fetched += end - start;
        if (this.#bytes instanceof Uint8Array) return this.#bytes.subarray(start, end);
        let bytes: ArrayBuffer;
        try {
            bytes = await this.#bytes.slice(start, end).arrayBuffer();
        } catch (cause) {
            throw new VeltaError('IO', `the file could not be read: ${String(cause)}`, { cause });
        }
        if (options.signal?.aborted) throw cancelled(options.signal);
        return new Uint8Array(bytes);
    }

    async readTail(bytes: number, options: ReadRangeOptions = {}): Promise<Tail> {
        const start = Math.max(0, this.#size - bytes);
        return { bytes: await this.read(start, this.#size, options), start, size: this.#size };
    }

    stats(): RangeStats {
        return { requests: this.#requests, retries: 0, bytesFetched: this.#fetched };
    }
}
