/*
 * Bytes as they come: the chunks of streams and iterables, and the signals that end them.
 */
import { VeltaError, describe, invalid } from '../errors.js';

/** Bytes as they come: a body of `fetch`, a stream of Node, an array of chunks. */
export type ByteSource =
    ReadableStream<Uint8Array> | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** @throws {VeltaError} INVALID @internal */
export function checkIsSignal(signal: unknown): void {
    if (signal === undefined || (typeof AbortSignal === 'function' && signal instanceof AbortSignal)) return;
    throw invalid(`signal is an AbortSignal, not ${describe(signal)}`);
}

/** @throws {VeltaError} CANCELLED @internal */
export function checkSignal(signal: AbortSignal | undefined): void {
    if (signal?.aborted === true) throw cancelled(signal);
}

function cancelled(signal: AbortSignal): VeltaError {
    return new VeltaError('CANCELLED', 'the stream was cancelled by its signal', { cause: signal.reason });
}

/** Waits for one promise after the other, for none of them longer than until an abort. @internal */
export class AbortableWait {
    readonly #signal: AbortSignal | undefined;
    #stop: (() => void) | undefined;
    readonly #onAbort = (): void => this.#stop?.();

    constructor(signal: AbortSignal | undefined) {
        this.#signal = signal;
        signal?.addEventListener('abort', this.#onAbort);
    }

    /** @throws {VeltaError} CANCELLED, and what is waited for */
    for<T>(pending: PromiseLike<T> | T): Promise<T> {
        const signal = this.#signal;
        if (signal === undefined) return Promise.resolve(pending);
        // A race with one promise of the abort would keep all answers for as long as that promise lives.
        return new Promise((resolve, reject) => {
            this.#stop = () => reject(cancelled(signal));
            if (signal.aborted) this.#stop();
            Promise.resolve(pending).then(resolve, reject);
        });
    }

    end(): void {
        this.#signal?.removeEventListener('abort', this.#onAbort);
    }
}

/** Ends an iterator early; its failure then is nobody's. @internal */
export async function leave(iterator: AsyncIterator<unknown>): Promise<void> {
    try {
        await iterator.return?.();
    } catch {
        // Who leaves has what was wanted, or an error of its own.
    }
}

/** The items of a source; an abort ends the wait for it. */
async function* itemsOf(source: AsyncIterable<unknown>, signal: AbortSignal | undefined): AsyncGenerator {
    const iterator = source[Symbol.asyncIterator]();
    const wait = new AbortableWait(signal);
    let isOver = false;
    try {
        for (;;) {
            checkSignal(signal);
            const step = await wait.for(iterator.next());
            isOver = step.done === true;
            if (isOver) return;
            yield step.value;
        }
    } finally {
        wait.end();
        const left = isOver ? undefined : leave(iterator);
        // A generator that is waiting for its source answers when that does: it is not waited for.
        if (signal?.aborted !== true) await left;
    }
}

/** The chunks of a source; leaving early ends the source. @internal */
export async function* chunksOf(source: ByteSource, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    if (typeof ReadableStream === 'function' && source instanceof ReadableStream) {
        yield* chunksOfStream(source, signal);
        return;
    }
    const encoder = new TextEncoder();
    const isThere = typeof source === 'object' && source !== null;
    if (!isThere || !(Symbol.asyncIterator in source || Symbol.iterator in source)) {
        throw new VeltaError('TYPE', `expected a ReadableStream or an iterable of chunks, not ${describe(source)}`);
    }
    const isAsync = Symbol.asyncIterator in source;
    for await (const chunk of isAsync ? itemsOf(source, signal) : (source as Iterable<unknown>)) {
        checkSignal(signal);
        if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) {
            throw new VeltaError('TYPE', `a chunk is a Uint8Array or a string, not ${describe(chunk)}`);
        }
        yield typeof chunk === 'string' ? encoder.encode(chunk) : chunk;
    }
}

async function* chunksOfStream(
    stream: ReadableStream<Uint8Array>,
    signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
    const reader = stream.getReader();
    const stop = (): void => void reader.cancel(signal?.reason).catch(() => undefined);
    signal?.addEventListener('abort', stop);
    let isOver = false;
    try {
        for (;;) {
            checkSignal(signal);
            const { done, value } = await reader.read();
            checkSignal(signal);
            isOver = done;
            if (done) return;
            if (!(value instanceof Uint8Array)) {
                throw new VeltaError('TYPE', `a chunk is a Uint8Array, not ${describe(value)}`);
            }
            yield value;
        }
    } finally {
        signal?.removeEventListener('abort', stop);
        if (!isOver) reader.cancel().catch(() => undefined);
        reader.releaseLock();
    }
}
