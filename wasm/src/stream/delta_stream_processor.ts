/*
 * DeltaStreamProcessor: deltas of any source into a database, in batches.
 *
 * Deltas gather in a pool of this thread; a batch is applied when it is full, and, so that a source that pauses keeps
 * nothing waiting, soon after its first delta. Where the database is in a worker the batch goes there as one message
 * and the next one gathers meanwhile.
 */
import { DeltaVectorDB } from '../delta_vector_db.js';
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import type { AppliedRecords } from './apply_records.js';
import { AbortableWait, checkIsSignal, checkSignal, leave } from './chunks.js';
import { type StreamDelta, checkSequence, corruptRecord, recordBytes } from './records.js';
import { SharedDeltaPool } from './shared_delta_pool.js';
import { type DeltaTarget, checkTarget, isLocal } from './target.js';

/** Options of {@link DeltaStreamProcessor}. */
export interface DeltaStreamOptions {
    /** The vector column of a table; needed where it has several. */
    readonly column?: string;
    /**
     * The name under which the database keeps the stream's position. With it a delta is never applied twice: those at
     * or before the position are passed over, and a stream that died goes on behind it, or simply begins anew.
     */
    readonly stream?: string;
}

/** Options of {@link DeltaStreamProcessor.streamDeltas}. */
export interface StreamDeltasOptions {
    /** Deltas in one batch, all or none. Default 100. */
    readonly batchSize?: number;
    /** Ends the stream; the promise rejects with `CANCELLED`, and batches that were applied stay. */
    readonly signal?: AbortSignal;
    /** Called after each batch with the deltas done so far. */
    readonly onProgress?: (count: number) => void;
    /** Milliseconds that a delta may wait for its batch to fill. Default 50. */
    readonly maxDelay?: number;
    /** The sequence number of the first delta that brings none. Default 1. */
    readonly first?: number;
}

/** What deltas can be streamed from: single ones, or whole records as {@link readRecords} and `encodeRecords` give. */
export type DeltaSource = AsyncIterable<StreamDelta | Uint8Array> | Iterable<StreamDelta | Uint8Array>;

const DELAY_MS = 50;
/** A source that never waits leaves the thread to others so often. */
const TURN_MS = 20;

/**
 * Streams deltas into a {@link DeltaVectorDB} or a {@link Table}, here or in a worker.
 *
 * @example
 * ```ts
 * const processor = new DeltaStreamProcessor(db, 1 << 20, { stream: 'prices' });
 * const after = await processor.position();
 * await processor.streamDeltas(readNdjson((await fetch(`/deltas?after=${after}`)).body));
 * ```
 */
export class DeltaStreamProcessor {
    readonly #target: DeltaTarget;
    readonly #poolSize: number;
    readonly #options: DeltaStreamOptions;
    #acknowledged = 0;
    #isStreaming = false;

    /**
     * @param poolSize - bytes that may gather; a batch is applied early when they are full
     * @throws {VeltaError} `TYPE`, `INVALID`
     */
    constructor(db: DeltaTarget, poolSize = 1 << 20, options: DeltaStreamOptions = {}) {
        checkOptions('DeltaStreamProcessor', options, ['column', 'stream']);
        this.#target = checkTarget(db);
        this.#poolSize = poolSize;
        this.#options = options;
        new SharedDeltaPool(poolSize, { shared: false }).close();
    }

    /** The last sequence number known to be durable, of what this object has streamed; 0: none. */
    get acknowledged(): number {
        return this.#acknowledged;
    }

    /**
     * The position of the stream in the database: a stream that died goes on with the sequence number after it.
     * @throws {VeltaError} `INVALID` without the option `stream`
     */
    async position(): Promise<number> {
        const { stream } = this.#options;
        if (stream === undefined) throw invalid('a position is kept for a stream that has a name: the option stream');
        return (this.#target as { streamPosition(stream: string): number | Promise<number> }).streamPosition(stream);
    }

    /**
     * Applies the deltas of a source until it ends; then makes all durable. When the source fails, what came before is
     * applied first.
     * @returns the deltas done, those that the stream's position had passed included
     * @throws {VeltaError} of a delta that is refused, with the number of deltas before it as `offset`: its batch is
     * not applied, those before it are. `CORRUPT` for a damaged record, `offset` being the byte where it begins in its
     * batch. `CANCELLED`; `BUSY` while another stream runs; and what the source throws.
     */
    async streamDeltas(source: DeltaSource, options: StreamDeltasOptions = {}): Promise<number> {
        checkOptions('streamDeltas', options, ['batchSize', 'signal', 'onProgress', 'maxDelay', 'first']);
        if (this.#isStreaming) throw new VeltaError('BUSY', 'this processor is streaming; it does so once at a time');
        const batchSize = whole('batchSize', options.batchSize, 100);
        const delay = options.maxDelay ?? DELAY_MS;
        if (typeof delay !== 'number' || !(delay >= 0)) {
            throw invalid(`maxDelay is milliseconds from 0, not ${describe(delay)}`);
        }
        checkIsSignal(options.signal);
        const first = options.first === undefined ? 1 : checkSequence(options.first);
        const run = new StreamRun(this.#target, this.#poolSize, this.#options, { ...options, batchSize, delay, first });
        this.#isStreaming = true;
        try {
            return await run.read(source);
        } finally {
            this.#isStreaming = false;
            this.#acknowledged = Math.max(this.#acknowledged, run.acknowledged);
            run.close();
        }
    }

    /**
     * A view of a vector in the module's memory, without copying where it is kept as f32; null when it does not live.
     * It must not be written to, and holds until the next call of the database only.
     * @throws {VeltaError} `UNSUPPORTED` for a database in a worker, whose memory cannot be seen
     */
    getVectorView(id: string | number | bigint): Float32Array | null {
        const target = this.#target;
        if (!isLocal(target)) {
            throw new VeltaError('UNSUPPORTED', 'the memory of a worker cannot be seen from here; use getVector');
        }
        const keep = (view: Float32Array): Float32Array => view;
        if (target instanceof DeltaVectorDB) return target.withVector(id as string, keep);
        return target.withVector(id, keep, this.#options.column);
    }
}

function noSource(source: unknown): VeltaError {
    return new VeltaError('TYPE', `streamDeltas takes an iterable of deltas, not ${describe(source)}`);
}

function whole(name: string, value: number | undefined, otherwise: number): number {
    if (value === undefined) return otherwise;
    if (!Number.isSafeInteger(value) || value < 1) {
        throw invalid(`${name} is a whole number from 1, not ${describe(value)}`);
    }
    return value;
}

interface RunOptions extends StreamDeltasOptions {
    readonly batchSize: number;
    readonly delay: number;
    readonly first: number;
}

/** One call of streamDeltas. */
class StreamRun {
    readonly #target: DeltaTarget;
    readonly #stream: DeltaStreamOptions;
    readonly #options: RunOptions;
    readonly #pool: SharedDeltaPool;
    /** Deltas that wait, and those done. */
    #waiting = 0;
    #count = 0;
    /** Deltas taken from the source. */
    #total = 0;
    #next: number;
    /** When the thread was left to others last. */
    #turned = performance.now();
    #timer: ReturnType<typeof setTimeout> | undefined;
    /** The batch that is under way. */
    #sending: Promise<void> | undefined;
    #failure: { readonly error: unknown } | undefined;

    constructor(target: DeltaTarget, poolSize: number, stream: DeltaStreamOptions, options: RunOptions) {
        this.#target = target;
        this.#stream = stream;
        this.#options = options;
        this.#pool = new SharedDeltaPool(poolSize, { shared: false });
        this.#next = options.first;
    }

    get acknowledged(): number {
        return this.#pool.acknowledged;
    }

    close(): void {
        clearTimeout(this.#timer);
        this.#pool.close();
    }

    async read(source: DeltaSource): Promise<number> {
        const { signal } = this.#options;
        try {
            if (typeof source !== 'object' || source === null) throw noSource(source);
            if (Symbol.asyncIterator in source) await this.#readAsync(source);
            else if (Symbol.iterator in source) await this.#readSync(source);
            else throw noSource(source);
        } catch (error) {
            if (this.#failure === undefined && signal?.aborted !== true) await this.#flushAll().catch(() => undefined);
            await this.#sending?.catch(() => undefined);
            throw this.#failure?.error ?? error;
        }
        await this.#flushAll();
        await this.#pool.sync(this.#target);
        return this.#count;
    }

    async #readSync(source: Iterable<StreamDelta | Uint8Array>): Promise<void> {
        checkSignal(this.#options.signal);
        for (const item of source) {
            const waiting = this.#take(item);
            if (waiting === undefined) continue;
            await waiting;
            await this.#turn();
            checkSignal(this.#options.signal);
        }
    }

    /** Leaves the thread to others when it is time; undefined: it is not. */
    #turn(): Promise<void> | undefined {
        if (performance.now() - this.#turned <= TURN_MS) return undefined;
        return new Promise((resolve) => {
            setTimeout(() => {
                this.#turned = performance.now();
                resolve();
            });
        });
    }

    /** An abort ends the wait for the source, too. */
    async #readAsync(source: AsyncIterable<StreamDelta | Uint8Array>): Promise<void> {
        const { signal } = this.#options;
        const iterator = source[Symbol.asyncIterator]();
        const wait = new AbortableWait(signal);
        let isEnded = false;
        try {
            for (;;) {
                checkSignal(signal);
                const step = await wait.for(iterator.next());
                isEnded = step.done === true;
                if (isEnded) return;
                const waiting = this.#take(step.value) ?? this.#turn();
                if (waiting !== undefined) await waiting;
                this.#rethrow();
            }
        } catch (error) {
            isEnded ||= !this.#isOwn(error);
            throw error;
        } finally {
            wait.end();
            // A generator that is waiting for its source answers when that does: it is not waited for.
            if (!isEnded) void leave(iterator);
        }
    }

    #isOwn(error: unknown): boolean {
        return error === this.#failure?.error || this.#options.signal?.aborted === true || error instanceof VeltaError;
    }

    #rethrow(): void {
        if (this.#failure !== undefined) throw this.#failure.error;
    }

    /** Puts an item into the pool; a promise where that has to wait. */
    #take(item: StreamDelta | Uint8Array): Promise<void> | undefined {
        this.#rethrow();
        if (item instanceof Uint8Array) return this.#takeRecords(item);
        try {
            this.#write(item);
        } catch (error) {
            if (error instanceof VeltaError && error.code === 'BUSY') {
                return this.#flush().then(() => this.#take(item));
            }
            throw this.#placed(error);
        }
        this.#wrote(1);
        return this.#waiting >= this.#options.batchSize ? this.#begin() : undefined;
    }

    /** Sends off what waits; a promise where the batch before is still under way. */
    #begin(): Promise<void> | undefined {
        if (this.#sending !== undefined) return this.#flush();
        this.#flush().catch(() => undefined); // kept as the failure
        return undefined;
    }

    #write(delta: StreamDelta): void {
        this.#next = this.#pool.writeNumbered(delta, this.#next) + 1;
    }

    async #takeRecords(records: Uint8Array): Promise<void> {
        let left = records;
        while (left.length > 0) {
            this.#rethrow();
            let written: number;
            try {
                written = this.#pool.writeRecords(left);
            } catch (error) {
                throw this.#placed(error);
            }
            this.#wrote(countRecords(left.subarray(0, written)));
            left = left.subarray(written);
            if (left.length > 0 || this.#waiting >= this.#options.batchSize) await this.#flush();
        }
        if (records.length > 0) this.#next = this.#pool.written + 1;
    }

    /** An error about one delta, as one about a place in the stream. */
    #placed(error: unknown): unknown {
        if (!(error instanceof VeltaError)) return error;
        const offset = error.code === 'CORRUPT' ? error.offset : this.#total;
        return new VeltaError(error.code, error.message, { offset, cause: error });
    }

    #wrote(count: number): void {
        if (this.#waiting === 0 && count > 0) this.#timer = setTimeout(() => this.#late(), this.#options.delay);
        this.#waiting += count;
        this.#total += count;
    }

    /** The source pauses: what has gathered is applied. */
    #late(): void {
        this.#flush().catch((error: unknown) => {
            this.#failure ??= { error };
        });
    }

    async #flushAll(): Promise<void> {
        await this.#flush();
        await this.#sending;
        this.#rethrow();
    }

    /** Applies what waits, batch by batch; resolves when the pool is empty. */
    #flush(): Promise<void> {
        if (this.#sending !== undefined) return this.#sending.then(() => this.#flush());
        clearTimeout(this.#timer);
        if (this.#waiting === 0) return Promise.resolve();
        const { batchSize, onProgress } = this.#options;
        this.#waiting = 0;
        this.#sending = this.#pool
            .take(this.#target, { ...this.#stream, batchSize }, this.#count, (taken: AppliedRecords) => {
                this.#count += taken.applied + taken.skipped;
                onProgress?.(this.#count);
            })
            .catch((error: unknown) => {
                this.#failure ??= { error };
                throw error;
            })
            .finally(() => {
                this.#sending = undefined;
            });
        return this.#sending;
    }
}

function countRecords(records: Uint8Array): number {
    let count = 0;
    for (let at = 0; at < records.length; count++) {
        const bytes = recordBytes(records, at, records.length, Infinity, at);
        if (bytes === 0) throw corruptRecord(at, 'is cut off');
        at += bytes;
    }
    return count;
}
