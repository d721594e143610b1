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
    if (signal?.aborted === true) {
        throw new VeltaError('CANCELLED', 'the stream was cancelled by its signal', { cause: signal.reason });
    }
}

/** The chunks of a source; leaving early ends the source. @internal */
export async function* chunksOf(source: ByteSource, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    if (typeof ReadableStream === 'function' && source instanceof ReadableStream) {
        yield* chunksOfStream(source, signal);
        return;
    }
    const encoder = new TextEncoder();
    const chunks = source as AsyncIterable<unknown>;
    const isThere = typeof source === 'object' && source !== null;
    if (!isThere || !(Symbol.asyncIterator in source || Symbol.iterator in source)) {
        throw new VeltaError('TYPE', `expected a ReadableStream or an iterable of chunks, not ${describe(source)}`);
    }
    for await (const chunk of chunks) {
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
