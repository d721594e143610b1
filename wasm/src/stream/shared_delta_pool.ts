/*
 * SharedDeltaPool: deltas as records on their way from one producer to one consumer, through a ring of bounded size.
 *
 * In one thread it is a buffer that gathers deltas for a batch; between threads it is a ring in shared memory (ring.ts)
 * where there is any, else two rings that are kept equal by messages (mirror.ts). What it holds was not yet applied:
 * the ring gives up a batch's records only after the batch is in the database, so a batch that is refused is still
 * there, whole.
 */
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import { dispose } from '../iterator.js';
import type { ApplyRecordsOptions, AppliedRecords } from './apply_records.js';
import { AbortableWait, checkIsSignal, checkSignal } from './chunks.js';
import { Mirror } from './mirror.js';
import {
    HEAD_BYTES,
    RecordEncoder,
    RecordViews,
    type StreamDelta,
    checkRecordBytes,
    corruptRecord,
    nextSequence,
    recordBytes,
    recordSequence,
    withMemory,
} from './records.js';
import { RING_HEAD_BYTES, Ring, type Run, sharesMemory } from './ring.js';
import {
    type DeltaTarget,
    type LocalDeltaTarget,
    applyTo,
    checkTarget,
    durable,
    flushTarget,
    isLocal,
} from './target.js';

/** The other end of a pool, to be sent to another thread with `postMessage`. */
export type PoolEnd =
    | { readonly velta: 'pool'; readonly memory: SharedArrayBuffer }
    | { readonly velta: 'pool'; readonly port: MessagePort; readonly capacity: number };

/** Options of {@link SharedDeltaPool}. */
export interface PoolOptions {
    /** `false`: not in shared memory, also where there is any. Default: shared where memory can be shared. */
    readonly shared?: boolean;
}

/** Options of writing into a pool. */
export interface PoolWriteOptions {
    /**
     * What to do while the pool is full. 0 (the default): fail with `BUSY`. More: block this thread so many
     * milliseconds before it fails; only where the other end takes the records in another thread over shared memory,
     * and never on a page's main thread.
     */
    readonly wait?: number;
}

/** Options of taking records out of a pool. */
export interface PoolFlushOptions {
    /** The vector column of a table; needed where it has several. */
    readonly column?: string;
    /** The name under which the database keeps the stream's position, see {@link Table.applyRecords}. */
    readonly stream?: string;
    /** Records in one batch, all or none. Default 4096. */
    readonly batchSize?: number;
}

/** Options of {@link SharedDeltaPool.drain}. */
export interface PoolDrainOptions extends PoolFlushOptions {
    readonly signal?: AbortSignal;
    /** Called after each batch with the records applied so far. */
    readonly onProgress?: (count: number) => void;
}

const BATCH = 4096;
/** Records. */
const AHEAD = 12;
const FLUSH_OPTIONS = ['column', 'stream', 'batchSize'];

/**
 * A bounded pool of deltas between one producer and one consumer.
 *
 * @example
 * ```ts
 * const pool = new SharedDeltaPool();
 * const { end, transfer } = pool.otherEnd();
 * worker.postMessage({ pool: end }, transfer); // there: SharedDeltaPool.from(end).drain(db)
 * await pool.write({ vectorId: 'a', operation: { type: 'scale', factor: 0.5 } });
 * ```
 */
export class SharedDeltaPool {
    readonly #ring: Ring;
    readonly #views: RecordViews;
    readonly #encoder = new RecordEncoder();
    #mirror: Mirror | null = null;
    #last: number;
    #isClosed = false;
    #isFlushing = false;
    /** Those who write as soon as there is room, in their order; each is called when it is the first. */
    readonly #writers: (() => void)[] = [];
    /** Of no meaning: it keeps the loads ahead from being left out. */
    #asked = 0;

    /**
     * @param capacity - bytes; rounded up to a power of two, at least 4096. A delta may take half of it.
     * @throws {VeltaError} `INVALID`, `NO_MEMORY`; `UNSUPPORTED` for shared memory where there is none
     */
    constructor(capacity?: number, options?: PoolOptions);
    /** @internal */
    constructor(ring: Ring);
    constructor(capacity: number | Ring = 1 << 20, options: PoolOptions = {}) {
        checkOptions('SharedDeltaPool', options, ['shared']);
        const { shared = sharesMemory() } = options;
        if (shared && !sharesMemory()) {
            throw new VeltaError('UNSUPPORTED', 'memory can be shared only in a page that is cross-origin isolated');
        }
        this.#ring = capacity instanceof Ring ? capacity : Ring.create(capacity, shared);
        this.#views = new RecordViews(this.#ring.buffer, RING_HEAD_BYTES, this.#ring.capacity);
        this.#last = this.#ring.written;
    }

    /**
     * The pool whose other end this is.
     * @throws {VeltaError} `INVALID` for what {@link otherEnd} has not given
     */
    static from(end: PoolEnd): SharedDeltaPool {
        const given = (typeof end === 'object' && end !== null ? end : {}) as Partial<Record<string, unknown>>;
        const { memory, port, capacity } = given;
        if (typeof SharedArrayBuffer === 'function' && memory instanceof SharedArrayBuffer) {
            return new SharedDeltaPool(new Ring(memory));
        }
        if (typeof MessagePort !== 'function' || !(port instanceof MessagePort) || typeof capacity !== 'number') {
            throw invalid(`SharedDeltaPool.from takes what otherEnd() gave, not ${describe(end)}`);
        }
        const pool = new SharedDeltaPool(capacity, { shared: false });
        pool.#mirror = new Mirror(pool.#ring, port);
        return pool;
    }

    /**
     * What stands for this pool in another thread, and what is to be transferred with it. One of the two ends writes,
     * the other takes. Records that are in a pool of shared memory already are there for the other end as well; a pool
     * without shared memory gives it away once only.
     * @throws {VeltaError} `INVALID` for the second time, without shared memory
     */
    otherEnd(): { readonly end: PoolEnd; readonly transfer: Transferable[] } {
        this.#check();
        const { buffer, capacity, shared } = this.#ring;
        if (shared) return { end: { velta: 'pool', memory: buffer as SharedArrayBuffer }, transfer: [] };
        if (this.#mirror !== null) throw invalid('the other end of this pool was given away already');
        const { port1, port2 } = new MessageChannel();
        this.#mirror = new Mirror(this.#ring, port1);
        return { end: { velta: 'pool', port: port2, capacity }, transfer: [port2] };
    }

    // ---- what it holds

    /** Bytes for records. */
    get capacity(): number {
        return this.#ring.capacity;
    }

    /** Whether it lies in memory that threads share. */
    get shared(): boolean {
        return this.#ring.shared;
    }

    /** The memory that the records are in; {@link getBufferPtr} and {@link getBufferLen} tell where. */
    get buffer(): ArrayBufferLike {
        return this.#ring.buffer;
    }

    /** Where in {@link buffer} the records that wait begin. */
    getBufferPtr(): number {
        const run = this.#ring.peek();
        return RING_HEAD_BYTES + (run?.at ?? 0);
    }

    /** Bytes of the records that wait and lie one behind the other from there; 0: none waits. */
    getBufferLen(): number {
        return this.#ring.peek()?.bytes ?? 0;
    }

    /** The sequence number written last by this end; 0: none. */
    get written(): number {
        return this.#last;
    }

    /** The sequence number applied last, by whichever end; 0: none. */
    get applied(): number {
        return this.#ring.applied;
    }

    /**
     * The last sequence number known to be durable: from the next one on a stream that died goes on. On a store of
     * relaxed durability it moves with {@link sync} and at the end of {@link drain}.
     */
    get acknowledged(): number {
        return this.#ring.acknowledged;
    }

    /** Whether the producer has ended it. What waits is still there. */
    get ended(): boolean {
        return this.#ring.ended;
    }

    // ---- the producer

    /**
     * Writes one delta.
     * @returns its sequence number: its own, or one more than the one before
     * @throws {VeltaError} `BUSY` when the pool is full (and `wait` did not help); `LIMIT` for a delta larger than half
     * the pool; `CLOSED`; `TYPE`, `INVALID`, `NOT_FINITE` for what is no delta; `UNSUPPORTED` where `wait` cannot be
     */
    writeDelta(delta: StreamDelta, options?: PoolWriteOptions): number {
        return this.writeNumbered(delta, this.#last + 1, waitOf(options));
    }

    /** Writes a delta under the number given, unless it brings its own. @internal */
    writeNumbered(delta: StreamDelta, otherwise: number, wait = 0): number {
        this.#checkWriting();
        const bytes = this.#measure(delta);
        const sequence = nextSequence(this.#last, this.#encoder.sequence || otherwise);
        let place = this.#ring.reserve(bytes);
        if (place < 0 && wait > 0) {
            this.#mirror?.send();
            this.#ring.block('tail', () => this.#ring.stopped || this.#ring.reserve(bytes) >= 0, wait);
            this.#checkWriting();
            place = this.#ring.reserve(bytes);
        }
        if (place < 0) throw full();
        this.#put(place, bytes, sequence);
        return sequence;
    }

    /**
     * Writes one delta as soon as there is room, behind those that wait already.
     * @returns its sequence number
     * @throws {VeltaError} As {@link writeDelta}, but never `BUSY`; `CANCELLED`
     */
    async write(delta: StreamDelta, options: { readonly signal?: AbortSignal } = {}): Promise<number> {
        checkOptions('write', options, ['signal']);
        this.#checkWriting();
        // What is written is the delta as it is now: it is made a record before anything is waited for.
        const record = new RecordEncoder();
        const bytes = this.#checkSize(record.measure(delta));
        const memory = withMemory(() => new ArrayBuffer(bytes));
        const copy = new RecordViews(memory, 0, bytes);
        const brought = record.sequence;
        record.write(copy, 0, brought);
        return this.#inRoom(bytes, options.signal, () => {
            const sequence = nextSequence(this.#last, brought);
            copy.u32[2] = sequence;
            copy.u32[3] = Math.floor(sequence / 4_294_967_296);
            this.#copy(copy.u8, 0, bytes, sequence);
            return sequence;
        });
    }

    /**
     * Writes whole records, as {@link encodeRecords} makes them, as many of them as there is room for.
     * @returns the bytes of those written
     * @throws {VeltaError} `CORRUPT` with the offset of a record that is cut off, or does not follow the one before;
     * nothing of `records` is written then. `LIMIT`, `CLOSED`
     */
    writeRecords(records: Uint8Array): number {
        this.#checkWriting();
        const starts = this.#checkRecords(records);
        let at = 0;
        for (const next of starts) {
            if (this.#ring.reserve(next - at) < 0) break;
            this.#copy(records, at, next, recordSequence(records, at));
            at = next;
        }
        return at;
    }

    /** Where each record ends. */
    #checkRecords(records: Uint8Array): number[] {
        if (!(records instanceof Uint8Array)) {
            throw new VeltaError('TYPE', `writeRecords: expected a Uint8Array, not ${describe(records)}`);
        }
        const ends: number[] = [];
        let last = this.#last;
        for (let at = 0; at < records.length;) {
            const bytes = recordBytes(records, at, records.length, Infinity, at);
            if (bytes === 0 || bytes > records.length - at) throw corruptRecord(at, 'is cut off');
            this.#checkSize(bytes);
            const sequence = recordSequence(records, at);
            if (!(sequence > last && sequence <= Number.MAX_SAFE_INTEGER)) {
                throw corruptRecord(at, `has the sequence number ${sequence}, which does not follow ${last}`);
            }
            last = sequence;
            at += bytes;
            ends.push(at);
        }
        return ends;
    }

    /** Does something in the moment when there is room for a record of so many bytes; at once where there is. */
    async #inRoom<T>(bytes: number, signal: AbortSignal | undefined, act: () => T): Promise<T> {
        checkIsSignal(signal);
        const ready = (): boolean => this.#ring.stopped || this.#ring.reserve(bytes) >= 0;
        const writers = this.#writers;
        const wait = new AbortableWait(signal);
        let begin: () => void = () => undefined;
        const begun = new Promise<void>((resolve) => (begin = resolve));
        writers.push(begin);
        try {
            if (writers[0] !== begin) await wait.for(begun);
            while (!ready()) {
                checkSignal(signal);
                await this.#ring.sleep('tail', ready, signal);
                this.#checkWriting();
            }
            checkSignal(signal);
            this.#checkWriting();
            return act();
        } finally {
            wait.end();
            writers.splice(writers.indexOf(begin), 1);
            writers[0]?.();
        }
    }

    /**
     * Resolves when there is room for so many bytes.
     * @throws {VeltaError} `CLOSED`, `CANCELLED`, `LIMIT` for more than half the pool
     */
    async waitForRoom(bytes: number, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
        checkOptions('waitForRoom', options, ['signal']);
        if (!Number.isSafeInteger(bytes) || bytes < 0) {
            throw invalid(`waitForRoom: expected a number of bytes, not ${describe(bytes)}`);
        }
        await this.#inRoom(this.#checkSize(bytes), options.signal, () => undefined);
    }

    #measure(delta: StreamDelta): number {
        return this.#checkSize(this.#encoder.measure(delta));
    }

    #checkSize(bytes: number): number {
        if (bytes <= this.#ring.largest) return bytes;
        const { capacity, largest } = this.#ring;
        throw new VeltaError('LIMIT', `the delta takes ${bytes} bytes; a pool of ${capacity} takes up to ${largest}`);
    }

    #put(place: number, bytes: number, sequence: number): void {
        this.#encoder.write(this.#views, place, sequence);
        this.#last = sequence;
        this.#ring.commit(place, bytes, sequence);
    }

    #copy(records: Uint8Array, from: number, to: number, sequence: number): void {
        const place = this.#ring.reserve(to - from);
        this.#ring.u8.set(records.subarray(from, to), place);
        this.#last = sequence;
        this.#ring.commit(place, to - from, sequence);
    }

    /** The producer has no more: the consumer's {@link drain} ends when it has taken all. */
    end(): void {
        this.#ring.end();
        this.#mirror?.send();
    }

    // ---- the consumer

    /**
     * Applies the records that wait, batch by batch, and gives their number. What a refused batch holds stays in the
     * pool; {@link discard} passes over what cannot be applied.
     * @param target - of this thread; for one in a worker see {@link drain}
     * @throws {VeltaError} As {@link Table.applyRecords}, `offset` being the number of records of this call before the
     * one refused (those that were applied included)
     */
    flush(target: LocalDeltaTarget, options: PoolFlushOptions = {}): number {
        checkOptions('flush', options, FLUSH_OPTIONS);
        checkTarget(target);
        if (!isLocal(target)) throw invalid('flush() takes what lives in this thread; use drain()');
        this.#check();
        let count = 0;
        this.#exclusive(() => {
            for (let run = this.#ring.run(); run !== null; run = this.#ring.run()) {
                count += this.#flushRun(target, run, options, count);
            }
        });
        return count;
    }

    /** Applies one run in batches; gives the records taken. */
    #flushRun(target: LocalDeltaTarget, run: Run, options: PoolFlushOptions, before: number): number {
        const { batchSize = BATCH } = options;
        const records = this.#ring.u8.subarray(run.at, run.at + run.bytes);
        let taken = 0;
        for (let at = 0; at < run.bytes;) {
            const end = this.#batchEnd(run, at, batchSize);
            let done: AppliedRecords;
            try {
                done = applyTo(target, records.subarray(at, end), applyOptions(options)) as AppliedRecords;
            } catch (error) {
                throw later(error, before + taken);
            }
            this.#take({ at: run.at + at, bytes: run.bytes - at }, end - at, done, target);
            taken += done.applied + done.skipped;
            at = end;
        }
        return taken;
    }

    /**
     * Where, within a run, the batch that begins at `from` ends. What the other end wrote is not trusted. Each record
     * says where the next one is, so every look would wait for memory that the other thread has just written: what will
     * be looked at, if records go on as long as this one, is asked for ahead.
     */
    #batchEnd(run: Run, from: number, batchSize: number): number {
        if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
            throw invalid(`batchSize is a whole number from 1, not ${describe(batchSize)}`);
        }
        const { u32 } = this.#views;
        let end = from;
        let ahead = 0;
        for (let i = 0; i < batchSize && end < run.bytes; i++) {
            const left = run.bytes - end;
            if (left < HEAD_BYTES) throw corruptRecord(end, 'is cut off');
            const bytes = checkRecordBytes((u32[(run.at + end) >>> 2] as number) + 4, left, end);
            if (AHEAD * bytes < left) ahead |= u32[(run.at + end + AHEAD * bytes) >>> 2] as number;
            end += bytes;
        }
        this.#asked = ahead;
        return end;
    }

    #take(run: Run, bytes: number, done: AppliedRecords, target: DeltaTarget): void {
        this.#ring.applied = Math.max(done.sequence, this.#ring.applied);
        this.#ring.take(run, bytes);
        if (!done.strict) return;
        const pending = durable(target);
        if (pending === undefined) this.#ring.acknowledge(done.sequence);
        else pending.then(() => this.#ring.acknowledge(done.sequence)).catch(() => undefined);
    }

    /**
     * Applies records as they come, until the producer has ended the pool and none is left; then makes all durable.
     * @param target - of this thread or of a worker
     * @returns the number of records taken
     * @throws {VeltaError} As {@link flush}, and `CANCELLED`, with all taken so far applied
     */
    async drain(target: DeltaTarget, options: PoolDrainOptions = {}): Promise<number> {
        checkOptions('drain', options, [...FLUSH_OPTIONS, 'signal', 'onProgress']);
        checkTarget(target);
        const { signal, onProgress, ...flush } = options;
        checkIsSignal(signal);
        let count = 0;
        for (;;) {
            checkSignal(signal);
            this.#check();
            const taken = await this.#step(target, flush, count);
            count += taken;
            if (taken > 0) {
                onProgress?.(count);
            } else if (this.#ring.ended && this.#ring.run() === null) {
                break;
            } else {
                await this.#ring.sleep('head', () => this.#ring.ended || this.#ring.run() !== null, signal);
            }
        }
        await this.sync(target);
        return count;
    }

    /** Applies all that waits, batch by batch. @internal */
    async take(
        target: DeltaTarget,
        options: PoolFlushOptions,
        before: number,
        told: (done: AppliedRecords) => void,
    ): Promise<void> {
        let count = before;
        const tell = (done: AppliedRecords): void => {
            count += done.applied + done.skipped;
            told(done);
        };
        while ((await this.#step(target, options, count, tell)) > 0);
    }

    /** Applies at most one batch; gives its records. */
    async #step(
        target: DeltaTarget,
        options: PoolFlushOptions,
        before: number,
        told?: (done: AppliedRecords) => void,
    ): Promise<number> {
        if (this.#isFlushing) throw busy();
        this.#isFlushing = true;
        try {
            const run = this.#ring.run();
            if (run === null) return 0;
            const all = this.#ring.u8.subarray(run.at, run.at + run.bytes);
            // The engine checks a copy of its own, which the producer cannot reach; a worker is sent one.
            const end = this.#batchEnd(run, 0, options.batchSize ?? BATCH);
            const records = isLocal(target) ? all.subarray(0, end) : withMemory(() => all.slice(0, end));
            const applied = applyTo(target, records, applyOptions(options));
            const done = applied instanceof Promise ? await applied : applied;
            this.#take(run, records.length, done, target);
            told?.(done);
            return done.applied + done.skipped;
        } catch (error) {
            throw later(error, before);
        } finally {
            this.#isFlushing = false;
        }
    }

    /** Makes what was applied durable; then {@link acknowledged} says so. */
    async sync(target: DeltaTarget): Promise<void> {
        checkTarget(target);
        const { applied } = this.#ring;
        await flushTarget(target);
        this.#ring.acknowledge(applied);
    }

    /** Passes over the first records that wait; gives how many these were. */
    discard(count = 1): number {
        this.#check();
        if (!Number.isSafeInteger(count) || count < 0) {
            throw invalid(`discard: expected a whole number from 0, not ${describe(count)}`);
        }
        let left = count;
        this.#exclusive(() => {
            for (let run = this.#ring.run(); run !== null && left > 0; run = this.#ring.run()) {
                this.#ring.take(run, this.#batchEnd(run, 0, 1));
                left--;
            }
        });
        return count - left;
    }

    #exclusive(work: () => void): void {
        if (this.#isFlushing) throw busy();
        this.#isFlushing = true;
        try {
            work();
        } finally {
            this.#isFlushing = false;
        }
    }

    // ---- its end

    /** Ends its part: a producer waiting in the other thread fails with `CLOSED`, a consumer takes what waits. */
    close(): void {
        if (this.#isClosed) return;
        this.#ring.stop();
        this.#ring.end();
        this.#mirror?.close();
        this.#isClosed = true;
    }

    /** Closes. */
    [dispose](): void {
        this.close();
    }

    #check(): void {
        if (this.#isClosed) throw new VeltaError('CLOSED', 'the pool was closed');
        if (this.#mirror?.failure) throw this.#mirror.failure;
    }

    #checkWriting(): void {
        this.#check();
        if (!this.#ring.closed) return;
        if (this.#ring.stopped) throw new VeltaError('CLOSED', 'the other end of the pool takes no more');
        if (this.#ring.ended) throw new VeltaError('CLOSED', 'the pool was ended');
    }
}

function waitOf(options: PoolWriteOptions | undefined): number {
    if (options === undefined) return 0;
    checkOptions('writeDelta', options, ['wait']);
    const { wait = 0 } = options;
    if (typeof wait !== 'number' || !(wait >= 0)) throw invalid(`wait is milliseconds from 0, not ${describe(wait)}`);
    return wait;
}

function applyOptions({ column, stream }: PoolFlushOptions): ApplyRecordsOptions {
    return { ...(column === undefined ? {} : { column }), ...(stream === undefined ? {} : { stream }) };
}

function later(error: unknown, before: number): unknown {
    if (!(error instanceof VeltaError) || error.offset === undefined || before === 0) return error;
    if (error.code === 'CORRUPT') return error;
    return new VeltaError(error.code, error.message, { offset: error.offset + before, cause: error });
}

function full(): VeltaError {
    return new VeltaError('BUSY', 'the pool is full: flush it, wait, or use write()');
}

function busy(): VeltaError {
    return new VeltaError('BUSY', 'records of this pool are being applied already: a pool has one consumer');
}
