/*
 * A ring of records between one producer and one consumer, in memory that two threads may share.
 *
 * Layout: a head of 64 bytes, then `capacity` bytes (a power of two) of records. HEAD counts the bytes written, TAIL
 * those taken, both modulo 2^32; the place of a position is its remainder by the capacity. A record is never cut by the
 * end: one that does not fit before it begins anew at 0, and WRAP says where the records of that lap end. One word is
 * enough, because the producer cannot reach the end again before the consumer has left the lap that WRAP tells of.
 *
 * The producer writes the record, then HEAD; the consumer reads HEAD, then the record: both through Atomics, which
 * order the plain accesses. Who waits says so first, looks again, and only then sleeps, so no wake-up is missed and
 * none is sent to nobody. Where the memory is not shared the same words serve one thread, and sleepers are woken by
 * callbacks.
 *
 * Nothing in shared memory is trusted: positions are checked at each look, and records are copied before they are read.
 */
import { VeltaError, invalid } from '../errors.js';

/** Bytes of the head. @internal */
export const RING_HEAD_BYTES = 64;
const MAGIC = 0x31505456;
const SMALLEST = 4096;
const LARGEST = 2 ** 30;

/** Words of 4 bytes of the head. */
const WORD = { magic: 0, capacity: 1, head: 2, tail: 3, wrap: 4, state: 5, headWaits: 6, tailWaits: 7 } as const;
/** Words of 8 bytes: sequence numbers. */
const NUMBER = { written: 4, applied: 5, acknowledged: 6 } as const; // the first is its writer's own: an f64
/** Bits of the state. */
const ENDED = 1; // no more will be written
const STOPPED = 2; // no more will be taken

type Wait = (typeof Atomics & { waitAsync?: AsyncWait })['waitAsync'];
type AsyncWait = (
    words: Int32Array,
    index: number,
    value: number,
    timeout?: number,
) => { readonly async: boolean; readonly value: Promise<string> | string };

/** The bytes of some of the records that wait. @internal */
export interface Run {
    /** Where they begin in the ring's bytes. */
    readonly at: number;
    readonly bytes: number;
}

/** Whether memory can be shared with other threads here. @internal */
export function sharesMemory(): boolean {
    return typeof SharedArrayBuffer === 'function' && globalThis.crossOriginIsolated !== false;
}

/** @internal */
export class Ring {
    readonly buffer: ArrayBufferLike;
    readonly capacity: number;
    readonly shared: boolean;
    /** The records' bytes. */
    readonly u8: Uint8Array;
    readonly #words: Int32Array;
    readonly #numbers: BigInt64Array;
    readonly #floats: Float64Array;
    readonly #mask: number;
    /** Those of this thread who sleep where memory is not shared. */
    readonly #sleepers = new Set<() => void>();
    /** Called after this side has changed something; a mirror passes it on. */
    onChange: (() => void) | null = null;

    /** A ring in new memory. @throws {VeltaError} INVALID */
    static create(capacity: number, shared: boolean): Ring {
        if (!Number.isSafeInteger(capacity) || capacity < 1 || capacity > LARGEST) {
            throw invalid(`the capacity of a pool is 1 to ${LARGEST} bytes, not ${String(capacity)}`);
        }
        const bytes = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(capacity)));
        let buffer: ArrayBufferLike;
        try {
            const size = RING_HEAD_BYTES + bytes;
            buffer = shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size);
        } catch (cause) {
            throw new VeltaError('NO_MEMORY', `a pool of ${bytes} bytes was refused`, { cause });
        }
        const words = new Int32Array(buffer, 0, 16);
        words[WORD.magic] = MAGIC;
        words[WORD.capacity] = bytes;
        words[WORD.wrap] = bytes;
        return new Ring(buffer);
    }

    /** A ring in memory that another thread has made. @throws {VeltaError} INVALID */
    constructor(buffer: ArrayBufferLike) {
        const size = buffer.byteLength - RING_HEAD_BYTES;
        const words = size >= SMALLEST ? new Int32Array(buffer, 0, 16) : null;
        if (words?.[WORD.magic] !== MAGIC || words[WORD.capacity] !== size || (size & (size - 1)) !== 0) {
            throw invalid('this is not the memory of a pool');
        }
        this.buffer = buffer;
        this.capacity = size;
        this.shared = !(buffer instanceof ArrayBuffer);
        this.#words = words;
        this.#numbers = new BigInt64Array(buffer, 0, 8);
        this.#floats = new Float64Array(buffer, 0, 8);
        this.#mask = size - 1;
        this.u8 = new Uint8Array(buffer, RING_HEAD_BYTES, size);
    }

    // ---- numbers

    #number(index: number): number {
        return Number(Atomics.load(this.#numbers, index));
    }

    #setNumber(index: number, value: number): void {
        Atomics.store(this.#numbers, index, BigInt(value));
    }

    /** The sequence number written last. */
    get written(): number {
        return this.#floats[NUMBER.written] as number;
    }

    /** The sequence number applied last. */
    get applied(): number {
        return this.#number(NUMBER.applied);
    }

    set applied(sequence: number) {
        this.#setNumber(NUMBER.applied, sequence);
    }

    /** The last sequence number known to be durable. */
    get acknowledged(): number {
        return this.#number(NUMBER.acknowledged);
    }

    acknowledge(sequence: number): void {
        if (sequence <= this.acknowledged) return;
        this.#setNumber(NUMBER.acknowledged, sequence);
        this.changed();
    }

    /** Bytes that wait, the rest of a lap included. @throws {VeltaError} CORRUPT */
    get waiting(): number {
        return this.#waiting(Atomics.load(this.#words, WORD.head));
    }

    #waiting(head: number, tail = Atomics.load(this.#words, WORD.tail)): number {
        const waiting = (head - tail) >>> 0;
        if (waiting > this.capacity || waiting % 8 !== 0) {
            throw new VeltaError('CORRUPT', 'the memory of the pool was written to by someone else');
        }
        return waiting;
    }

    get ended(): boolean {
        return (Atomics.load(this.#words, WORD.state) & ENDED) !== 0;
    }

    get stopped(): boolean {
        return (Atomics.load(this.#words, WORD.state) & STOPPED) !== 0;
    }

    /** No more will be written. */
    end(): void {
        Atomics.or(this.#words, WORD.state, ENDED);
        this.#wake(WORD.head);
    }

    /** No more will be taken. */
    stop(): void {
        Atomics.or(this.#words, WORD.state, STOPPED);
        this.#wake(WORD.tail);
    }

    // ---- the producer

    /** Whether either side has ended its part. */
    get closed(): boolean {
        return Atomics.load(this.#words, WORD.state) !== 0;
    }

    /** The place for a record, or -1 where there is no room now. */
    reserve(bytes: number): number {
        const head = this.#words[WORD.head] as number; // this side's own word
        const place = head & this.#mask;
        const free = this.capacity - this.#waiting(head);
        const left = this.capacity - place;
        if (bytes <= left) return bytes <= free ? place : -1;
        return left + bytes <= free ? 0 : -1;
    }

    /** The largest record there may be: one that fits whatever the position. */
    get largest(): number {
        return this.capacity / 2;
    }

    /** Hands over `bytes` written at the place that `reserve` gave. */
    commit(place: number, bytes: number, sequence: number): void {
        const head = this.#words[WORD.head] as number;
        const before = head & this.#mask;
        const skipped = place === before ? 0 : this.capacity - before;
        if (skipped > 0) Atomics.store(this.#words, WORD.wrap, before);
        else if (place + bytes === this.capacity) Atomics.store(this.#words, WORD.wrap, this.capacity);
        this.#floats[NUMBER.written] = sequence;
        Atomics.store(this.#words, WORD.head, (head + skipped + bytes) | 0);
        this.#wake(WORD.head);
    }

    // ---- the consumer

    /** The records that wait, up to where the ring begins anew; null: none. @throws {VeltaError} CORRUPT */
    run(): Run | null {
        for (;;) {
            const run = this.#look();
            if (run === null || run.bytes > 0) return run;
            this.#advance(this.capacity - run.at);
        }
    }

    /** As `run`, for either side: nothing is given back. @throws {VeltaError} CORRUPT */
    peek(): Run | null {
        const run = this.#look();
        if (run === null || run.bytes > 0) return run;
        return run.behind > 0 ? { at: 0, bytes: run.behind } : null;
    }

    /** A run of no bytes: what is left of the lap holds none. `behind` it are so many bytes of the next lap. */
    #look(): (Run & { readonly behind: number }) | null {
        const tail = Atomics.load(this.#words, WORD.tail);
        const waiting = this.#waiting(Atomics.load(this.#words, WORD.head), tail);
        if (waiting === 0) return null;
        const at = tail & this.#mask;
        if (at + waiting < this.capacity) return { at, bytes: waiting, behind: 0 };
        const end = Atomics.load(this.#words, WORD.wrap);
        if (end < at || end > this.capacity || end % 8 !== 0) {
            throw new VeltaError('CORRUPT', 'the memory of the pool was written to by someone else');
        }
        return { at, bytes: end - at, behind: at + waiting - this.capacity };
    }

    /** Gives back the first `bytes` of the run. */
    take(run: Run, bytes: number): void {
        const end = Atomics.load(this.#words, WORD.wrap);
        const isLapEnd = run.at + bytes === end && run.at + this.waiting >= this.capacity;
        this.#advance(isLapEnd ? this.capacity - run.at : bytes);
    }

    #advance(bytes: number): void {
        Atomics.store(this.#words, WORD.tail, (Atomics.load(this.#words, WORD.tail) + bytes) | 0);
        this.#wake(WORD.tail);
    }

    // ---- what a mirror in another thread copies

    /** The producer's words. */
    get head(): number {
        return Atomics.load(this.#words, WORD.head);
    }

    get tail(): number {
        return Atomics.load(this.#words, WORD.tail);
    }

    get wrap(): number {
        return Atomics.load(this.#words, WORD.wrap);
    }

    /** Bytes of the ring from one position to another. */
    copyOut(from: number, to: number): Uint8Array<ArrayBuffer> {
        const copy = new Uint8Array((to - from) >>> 0);
        const at = from & this.#mask;
        const first = Math.min(copy.length, this.capacity - at);
        copy.set(this.u8.subarray(at, at + first));
        copy.set(this.u8.subarray(0, copy.length - first), first);
        return copy;
    }

    /** What the producer has written elsewhere. @throws {VeltaError} CORRUPT */
    copyIn(bytes: Uint8Array, wrap: number, written: number): void {
        const { length } = bytes;
        if (length % 8 !== 0 || length > this.capacity - this.waiting || !(wrap >= 0 && wrap <= this.capacity)) {
            throw new VeltaError('CORRUPT', 'the other end of the pool sent what it cannot have');
        }
        const head = this.head;
        const at = head & this.#mask;
        const first = Math.min(length, this.capacity - at);
        this.u8.set(bytes.subarray(0, first), at);
        this.u8.set(bytes.subarray(first), 0);
        Atomics.store(this.#words, WORD.wrap, wrap);
        this.#floats[NUMBER.written] = written;
        Atomics.store(this.#words, WORD.head, (head + length) | 0);
        this.#rouse();
    }

    /** How far the consumer has come elsewhere. @throws {VeltaError} CORRUPT */
    follow(tail: number, applied: number, acknowledged: number): void {
        if ((tail - this.tail) >>> 0 > this.waiting) {
            throw new VeltaError('CORRUPT', 'the other end of the pool took what it cannot have');
        }
        this.#setNumber(NUMBER.applied, applied);
        this.#setNumber(NUMBER.acknowledged, acknowledged);
        Atomics.store(this.#words, WORD.tail, tail | 0);
        this.#rouse();
    }

    // ---- waiting

    #wake(word: typeof WORD.head | typeof WORD.tail): void {
        const flag = word === WORD.head ? WORD.headWaits : WORD.tailWaits;
        if (this.shared && Atomics.load(this.#words, flag) !== 0) {
            Atomics.store(this.#words, flag, 0);
            Atomics.notify(this.#words, word);
        }
        this.changed();
    }

    /** Tells the mirror, and wakes who sleeps in this thread. */
    changed(): void {
        this.onChange?.();
        this.#rouse();
    }

    #rouse(): void {
        if (this.#sleepers.size === 0) return;
        for (const rouse of [...this.#sleepers]) rouse();
    }

    /**
     * Blocks this thread until records wait (`word` head) or were taken (tail), or the other side has ended.
     * @returns false when the time has passed before
     * @throws {VeltaError} UNSUPPORTED where a thread must not block
     */
    block(side: 'head' | 'tail', ready: () => boolean, timeout: number): boolean {
        if (!this.shared) {
            throw new VeltaError('UNSUPPORTED', 'a thread can wait for another only over shared memory; use promises');
        }
        const [word, flag] = side === 'head' ? [WORD.head, WORD.headWaits] : [WORD.tail, WORD.tailWaits];
        const until = performance.now() + timeout;
        for (;;) {
            const seen = Atomics.load(this.#words, word);
            Atomics.store(this.#words, flag, 1);
            if (ready()) return true;
            const left = until - performance.now();
            if (left <= 0) return false;
            try {
                Atomics.wait(this.#words, word, seen, Math.min(left, BLINK_MS));
            } catch (cause) {
                throw new VeltaError('UNSUPPORTED', 'this thread must not block; use promises', { cause });
            }
        }
    }

    /** Resolves when `ready` may hold; it is to be asked again. */
    async sleep(side: 'head' | 'tail', ready: () => boolean, signal: AbortSignal | undefined): Promise<void> {
        const [word, flag] = side === 'head' ? [WORD.head, WORD.headWaits] : [WORD.tail, WORD.tailWaits];
        const seen = Atomics.load(this.#words, word);
        Atomics.store(this.#words, flag, 1);
        if (ready()) return;
        await new Promise<void>((resolve) => {
            // The timer is also what keeps Node running, and what notices an end that changes no position.
            const timer = setTimeout(done, this.shared && waitAsync === undefined ? 1 : BLINK_MS);
            const sleepers = this.#sleepers;
            function done(): void {
                clearTimeout(timer);
                sleepers.delete(done);
                signal?.removeEventListener('abort', done);
                resolve();
            }
            sleepers.add(done);
            signal?.addEventListener('abort', done);
            if (!this.shared || waitAsync === undefined) return;
            const wait = waitAsync.call(Atomics, this.#words, word, seen, BLINK_MS);
            if (wait.async) void (wait.value as Promise<string>).then(done);
            else done();
        });
    }
}

/** Nobody sleeps longer without looking: an end changes no position. */
const BLINK_MS = 20;
const waitAsync: Wait = (Atomics as typeof Atomics & { waitAsync?: AsyncWait }).waitAsync;
