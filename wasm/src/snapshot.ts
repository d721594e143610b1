/**
 * Opens an export where it lies, on a server that answers ranges, before all of it is here.
 *
 * The head names the segments with their places and checksums. They are fetched in the order of the file, those that
 * lie side by side in one request, a few requests ahead; each is checked and taken over as it comes, so no more than
 * these requests is held twice. When all but the graphs are in, the database answers, by scans that miss nothing, and
 * is given out; the graphs follow. What the rows' changes do to a graph that is on its way is told in store/velta.h.
 */
import type { Address } from './abi.js';
import { Database, type MemoryOptions, engineOptions } from './database.js';
import { VeltaError, checkOptions, describe, invalid } from './errors.js';
import { SEGMENT_OFFSET, SEGMENT_SIZE, SEGMENT_SIZE_BYTES } from './generated/layout.js';
import { type Instance, currentInstance } from './instance.js';
import { type Allocation, MemoryBudget } from './ranges/memory_budget.js';
import { CLIENT_OPTIONS, RangeClient, type RangeClientOptions } from './ranges/range_client.js';
import { LocalSource, type RangeSource, type RangeStats, cancelled, unlessAborted } from './ranges/source.js';
import { bytesOfBuffer, isDetached } from './values.js';

/** Where a snapshot lies: an address, bytes or a file that are here, or whatever reads ranges of it. */
export type SnapshotSource = string | URL | Uint8Array | ArrayBuffer | Blob | RangeSource;

/** How far opening a snapshot is. */
export interface SnapshotProgress {
    /** `head`: the list of segments; `rows`: all that answers need; `graphs`: what makes them fast. */
    readonly phase: 'head' | 'rows' | 'graphs';
    /** Bytes of this phase that were taken over, and all of them. */
    readonly doneBytes: number;
    readonly totalBytes: number;
    /** Of the whole file. */
    readonly fileBytes: number;
}

/**
 * Options of {@link openSnapshot}. `signal` and `budget` are for every source, the others of
 * {@link RangeClientOptions} for addresses only.
 */
export interface SnapshotOptions extends MemoryOptions, Omit<RangeClientOptions, 'onProgress' | 'signal' | 'budget'> {
    /** Ends opening, and after it the transfer of the graphs. */
    readonly signal?: AbortSignal;
    /** What is held of the file on its way is charged to it; default 1.5 GiB. */
    readonly budget?: MemoryBudget;
    readonly onProgress?: (progress: SnapshotProgress) => void;
    /** About how many bytes one request asks for; default 4 MiB. */
    readonly requestBytes?: number;
    /** Whether the graphs are fetched; default true. Without them rows are linked here, in idle moments. */
    readonly graphs?: boolean;
}

/** What became of the graphs of a snapshot. */
export interface SnapshotGraphs {
    /** Indexes that have theirs. */
    readonly attached: number;
    /** Indexes whose rows had changed before theirs came; they are linked as new rows are. */
    readonly dropped: number;
}

/** What a database from a snapshot has besides. */
export interface SnapshotState {
    /**
     * Resolves when the graphs are there. Rejects where they could not be had: IO, CHANGED, CORRUPT with the offset,
     * CANCELLED, CLOSED, NO_MEMORY; the database is as good without them, and links its rows itself. The rejection
     * need not be handled.
     */
    readonly graphsReady: Promise<SnapshotGraphs>;
    /** What was transferred so far. */
    transferred(): RangeStats;
}

/** A database from a snapshot, in memory. */
export type SnapshotDatabase = Database & SnapshotState;

const MEMORY_NAMES = ['memoryBudget', 'chainInterval', 'now', 'autoIndex'];
const OWN_NAMES = ['onProgress', 'requestBytes', 'graphs'];
/** Two roots; an export is never shorter. */
const ROOTS_BYTES = 8192;
/** Asked for at first: the head of an export of some 100 MB. */
const HEAD_GUESS = 65_536;
const REQUEST_BYTES = 4 << 20;
/** Requests on their way while one is taken over. */
const AHEAD = 3;
/** Zeros between segments that are fetched along. */
const GAP_BYTES = 4096;

interface Segment {
    readonly offset: number;
    readonly bytes: number;
}

/** Segments that one request brings, in the order in which they are fed. */
interface Run {
    readonly start: number;
    readonly end: number;
    readonly segments: readonly Segment[];
}

function runsOf(segments: readonly Segment[], requestBytes: number): Run[] {
    const runs: { start: number; end: number; segments: Segment[] }[] = [];
    for (const segment of segments) {
        const end = segment.offset + segment.bytes;
        const last = runs[runs.length - 1];
        const gap = last === undefined ? Infinity : segment.offset - last.end;
        if (last !== undefined && gap >= 0 && gap <= GAP_BYTES && end - last.start <= requestBytes) {
            last.segments.push(segment);
            last.end = end;
        } else {
            runs.push({ start: segment.offset, end, segments: [segment] });
        }
    }
    return runs;
}

const bytesOf = (segments: readonly Segment[]): number => segments.reduce((sum, { bytes }) => sum + bytes, 0);

function isSource(value: unknown): value is RangeSource {
    const source = value as Partial<RangeSource> | null;
    return (
        typeof source === 'object' &&
        source !== null &&
        typeof source.read === 'function' &&
        typeof source.readTail === 'function' &&
        typeof source.stats === 'function'
    );
}

function sourceOf(where: SnapshotSource, options: SnapshotOptions, budget: MemoryBudget): RangeSource {
    if (typeof where === 'string' || where instanceof URL) {
        const client: Record<string, unknown> = {};
        for (const name of CLIENT_OPTIONS) {
            if (options[name] !== undefined && name !== 'signal') client[name] = options[name];
        }
        return new RangeClient(where, { ...client, budget });
    }
    const given = CLIENT_OPTIONS.find((name) => options[name] !== undefined && !['signal', 'budget'].includes(name));
    if (given !== undefined) throw invalid(`openSnapshot: ${given} is for addresses; give it to what reads the ranges`);
    const bytes = where instanceof ArrayBuffer ? bytesOfBuffer('a snapshot', where) : where;
    if (bytes instanceof Uint8Array) {
        if (bytes.length === 0 && isDetached(bytes)) throw invalid('the ArrayBuffer of the snapshot is detached');
        return new LocalSource(bytes);
    }
    if (typeof Blob !== 'undefined' && bytes instanceof Blob) return new LocalSource(bytes);
    if (isSource(bytes)) return bytes;
    throw invalid(`a snapshot is an address, bytes, a Blob or what reads ranges, not ${describe(where)}`);
}

/** Reads a range; an abort ends the wait also where the source does not listen to it. */
async function read({ source, stop: { signal } }: Opening, start: number, end: number): Promise<Uint8Array> {
    return unlessAborted(source.read(start, end, { signal }), signal);
}

async function readSize({ source, stop: { signal } }: Opening): Promise<number> {
    return (await unlessAborted(source.readTail(1, { signal }), signal)).size;
}

/** The beginning of the file, whatever its size, and that size. */
async function readStart(opening: Opening): Promise<{ bytes: Uint8Array; size: number }> {
    const { source } = opening;
    if (!(source instanceof RangeClient)) {
        const size = await readSize(opening);
        return { bytes: await read(opening, 0, Math.min(HEAD_GUESS, size)), size };
    }
    let bytes: Uint8Array | null = null;
    try {
        bytes = await read(opening, 0, HEAD_GUESS);
    } catch (error) {
        if (!(error instanceof VeltaError) || error.code !== 'LIMIT' || source.size === null) throw error;
    }
    // Pages of other origins may not see the size in an answer to a range.
    const size = source.size ?? (await readSize(opening));
    return { bytes: bytes ?? (await read(opening, 0, Math.min(HEAD_GUESS, size))), size };
}

/** The engine's side of a snapshot: a handle, and what it is asked. */
class Parts {
    readonly segments: readonly Segment[];
    readonly beforeGraphs: number;
    readonly #instance: Instance;
    #handle: Address;

    /** @throws {VeltaError} CORRUPT, VERSION, NO_MEMORY, OVER_BUDGET */
    constructor(instance: Instance, head: Uint8Array, size: number, engine: ReturnType<typeof engineOptions>) {
        this.#instance = instance;
        this.#handle = 0;
        const { flags, budget, chainInterval, clock } = engine;
        const { exports, threads } = instance;
        const listed = this.#call(() => {
            const at = instance.space(head.length);
            instance.u8.set(head, at);
            const out = instance.space(16);
            instance.check(
                exports.abi_snapshot_begin(at, head.length, size, flags, budget, chainInterval, threads, clock, out),
            );
            this.#handle = instance.u32[out >>> 2] as number;
            exports.abi_snapshot_segments(this.#handle, out);
            const [first = 0, count = 0, graphs = 0] = instance.u32.subarray(out >>> 2, (out >>> 2) + 3);
            const number = (address: number): number => Number(instance.i64[address >>> 3]);
            const segments = Array.from({ length: count }, (_, i) => ({
                offset: number(first + i * SEGMENT_SIZE + SEGMENT_OFFSET),
                bytes: number(first + i * SEGMENT_SIZE + SEGMENT_SIZE_BYTES),
            }));
            return { segments, graphs };
        });
        this.segments = listed.segments;
        this.beforeGraphs = listed.graphs;
    }

    /** A call outside of a database's; gives back what it took of the argument space. */
    #call<T>(call: () => T): T {
        const mark = this.#instance.top;
        try {
            return call();
        } catch (error) {
            throw this.#instance.caught(error);
        } finally {
            this.#instance.leave(mark);
        }
    }

    /** Takes over what a request brought. */
    feed(run: Run, bytes: Uint8Array): void {
        const instance = this.#instance;
        this.#call(() => {
            const at = instance.space(bytes.length);
            instance.u8.set(bytes, at);
            for (const { offset, bytes: size } of run.segments) {
                instance.check(instance.exports.abi_snapshot_feed(this.#handle, at + (offset - run.start), size));
            }
        });
    }

    /** The handle of the database, which answers from now on. */
    open(): Address {
        const instance = this.#instance;
        return this.#call(() => {
            const out = instance.space(8);
            instance.check(instance.exports.abi_snapshot_open(this.#handle, out));
            return instance.u32[out >>> 2] as number;
        });
    }

    attach(): SnapshotGraphs {
        const instance = this.#instance;
        return this.#call(() => {
            const out = instance.space(8);
            instance.check(instance.exports.abi_snapshot_attach(this.#handle, out));
            const [attached = 0, dropped = 0] = instance.u32.subarray(out >>> 2, (out >>> 2) + 2);
            return { attached, dropped };
        });
    }

    close(): void {
        if (this.#handle !== 0 && this.#instance.poisoned === null) {
            this.#instance.exports.abi_snapshot_close(this.#handle);
        }
        this.#handle = 0;
    }
}

class FromSnapshot extends Database implements SnapshotState {
    graphsReady!: Promise<SnapshotGraphs>;
    transferred!: () => RangeStats;
}

/** Everything that opening needs to know from beginning to end. */
interface Opening {
    readonly source: RangeSource;
    readonly options: SnapshotOptions;
    readonly requestBytes: number;
    readonly stop: AbortController;
    readonly budget: MemoryBudget;
    /** Whether the source is a client made here. */
    readonly isOwn: boolean;
    fileBytes: number;
}

function report(opening: Opening, phase: SnapshotProgress['phase'], doneBytes: number, totalBytes: number): void {
    opening.options.onProgress?.({ phase, doneBytes, totalBytes, fileBytes: opening.fileBytes });
}

/** The head, exactly as long as it is, charged to `held`; what the engine then refuses is its matter. */
async function readHead(opening: Opening, instance: Instance, held: Allocation[]): Promise<Uint8Array> {
    held.push(opening.budget.allocate(HEAD_GUESS, 'the beginning of the snapshot'));
    const start = await readStart(opening);
    opening.fileBytes = start.size;
    const mark = instance.top;
    let needed: number;
    try {
        const roots = start.bytes.subarray(0, ROOTS_BYTES);
        const at = instance.space(ROOTS_BYTES);
        instance.u8.set(roots, at);
        needed = Math.min(instance.exports.abi_snapshot_head_bytes(at, roots.length), start.size);
    } finally {
        instance.leave(mark);
    }
    if (needed <= start.bytes.length) return start.bytes.subarray(0, needed);
    held.push(opening.budget.allocate(2 * needed, 'the head of the snapshot'));
    return join(start.bytes, await read(opening, start.bytes.length, needed));
}

/** @throws {VeltaError} NO_MEMORY */
function join(first: Uint8Array, second: Uint8Array): Uint8Array {
    try {
        const all = new Uint8Array(first.length + second.length);
        all.set(first);
        all.set(second, first.length);
        return all;
    } catch (cause) {
        throw new VeltaError('NO_MEMORY', `${first.length + second.length} bytes were refused`, { cause });
    }
}

/** A request under way, and what it is charged with. */
interface Coming {
    readonly run: Run;
    readonly bytes: Promise<Uint8Array>;
    readonly room: Allocation;
}

/** Begins the next requests: some ahead, as far as the budget reaches, but one at least. */
function begin(opening: Opening, left: Run[], coming: Coming[]): void {
    while (left.length > 0 && coming.length <= AHEAD) {
        const [run] = left as [Run];
        const size = run.end - run.start;
        const room =
            coming.length === 0
                ? opening.budget.allocate(size, 'a part of the snapshot')
                : opening.budget.tryAllocate(size);
        if (room === null) return;
        left.shift();
        const bytes = read(opening, run.start, run.end);
        bytes.catch(() => undefined); // told where it is awaited, which may never come to it
        coming.push({ run, bytes, room });
    }
}

/** Fetches segments and hands them over in their order, some requests ahead. */
async function transfer(
    opening: Opening,
    phase: SnapshotProgress['phase'],
    segments: readonly Segment[],
    feed: (run: Run, bytes: Uint8Array) => void,
): Promise<void> {
    const { signal } = opening.stop;
    const left = runsOf(segments, opening.requestBytes);
    const total = bytesOf(segments);
    const coming: Coming[] = [];
    let done = 0;
    report(opening, phase, 0, total);
    try {
        for (begin(opening, left, coming); coming.length > 0; begin(opening, left, coming)) {
            const [{ run, bytes: awaited, room }] = coming as [Coming];
            const bytes = await awaited;
            if (signal.aborted) throw cancelled(signal);
            if (bytes.length !== run.end - run.start) {
                throw new VeltaError('IO', `${run.end - run.start} bytes were asked for and ${bytes.length} came`);
            }
            feed(run, bytes);
            coming.shift();
            room.release();
            done += bytesOf(run.segments);
            report(opening, phase, done, total);
        }
    } finally {
        for (const { room } of coming) room.release();
    }
}

/** Nothing more is read: ends what is on its way, and lets go of a file that was fetched whole. */
function leave({ stop, source, isOwn }: Opening): void {
    stop.abort();
    if (isOwn) (source as RangeClient).release();
}

/** The graphs into an open database, which ends the snapshot in any case. */
async function bringGraphs(opening: Opening, parts: Parts, database: Database): Promise<SnapshotGraphs> {
    let closed = false;
    const end = (): void => {
        closed = true;
        parts.close();
        leave(opening);
    };
    database.endings.add(end);
    try {
        const graphs = parts.segments.slice(parts.beforeGraphs);
        if (opening.options.graphs === false) return { attached: 0, dropped: 0 };
        await new Promise((go) => setTimeout(go, 0)); // the caller first: it has a database to ask
        if (closed) throw cancelled(opening.stop.signal);
        await transfer(opening, 'graphs', graphs, (run, bytes) => database.run(() => parts.feed(run, bytes)));
        return database.run(() => parts.attach());
    } catch (error) {
        if (closed) throw new VeltaError('CLOSED', 'the database was closed before its graphs came', { cause: error });
        throw error;
    } finally {
        database.endings.delete(end);
        if (!closed) {
            parts.close();
            leave(opening);
            database.wrote(); // rows without a graph are linked in idle moments
        }
    }
}

function checkSnapshotOptions(options: SnapshotOptions): number {
    checkOptions('openSnapshot', options, [...MEMORY_NAMES, ...CLIENT_OPTIONS, ...OWN_NAMES]);
    const { requestBytes = REQUEST_BYTES, graphs, onProgress, signal, budget } = options;
    if (!Number.isSafeInteger(requestBytes) || requestBytes < 1) {
        throw invalid(`openSnapshot: requestBytes must be a whole number from 1, not ${describe(requestBytes)}`);
    }
    if (graphs !== undefined && typeof graphs !== 'boolean') {
        throw invalid(`openSnapshot: graphs must be true or false, not ${describe(graphs)}`);
    }
    if (onProgress !== undefined && typeof onProgress !== 'function') {
        throw invalid(`openSnapshot: onProgress must be a function, not ${describe(onProgress)}`);
    }
    if (budget !== undefined && !(budget instanceof MemoryBudget)) {
        throw invalid(`openSnapshot: budget must be a MemoryBudget, not ${describe(budget)}`);
    }
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
        throw invalid(`openSnapshot: signal must be an AbortSignal, not ${describe(signal)}`);
    }
    return requestBytes;
}

/** Up to the database; what was begun is ended where that fails. */
async function openRows(opening: Opening, instance: Instance): Promise<FromSnapshot> {
    const { options, source } = opening;
    const engine = engineOptions(instance, options);
    const held: Allocation[] = [];
    let parts: Parts | null = null;
    try {
        const head = await readHead(opening, instance, held);
        report(opening, 'head', head.length, head.length);
        const begun = (parts = new Parts(instance, head, opening.fileBytes, engine));
        for (const each of held.splice(0)) each.release();
        const rows = begun.segments.slice(0, begun.beforeGraphs);
        await transfer(opening, 'rows', rows, (run, bytes) => begun.feed(run, bytes));
        const details = { name: '', storage: 'memory', options, clock: engine.clock } as const;
        const database = new FromSnapshot(instance, begun.open(), details);
        database.transferred = () => source.stats();
        database.graphsReady = bringGraphs(opening, begun, database);
        database.graphsReady.catch(() => undefined);
        return database;
    } catch (error) {
        parts?.close();
        if (engine.clock !== 0) instance.clocks.remove(engine.clock);
        throw error;
    } finally {
        for (const each of held) each.release();
    }
}

/**
 * Opens an export where it lies, into memory. Resolves when all but the graphs is here: from then on every search is
 * answered, by scans; {@link SnapshotState.graphsReady} tells when the indexes are whole. Changes are allowed
 * meanwhile: an index whose rows change gives up its graph and links them itself. `compact` is BUSY until then.
 * @throws {VeltaError} NOT_READY before `init()`, INVALID, NOT_FOUND, IO, UNSUPPORTED (the server ignores ranges and
 *     `allowWhole` is not given), CHANGED (the file became another one midway), CORRUPT with the offset, VERSION,
 *     NO_MEMORY, OVER_BUDGET, CANCELLED
 */
export async function openSnapshot(where: SnapshotSource, options: SnapshotOptions = {}): Promise<SnapshotDatabase> {
    const requestBytes = checkSnapshotOptions(options);
    const instance = currentInstance();
    const { signal, budget = new MemoryBudget() } = options;
    const source = sourceOf(where, options, budget);
    const stop = new AbortController();
    const abort = (): void => stop.abort(signal?.reason);
    const isOwn = source !== where && source instanceof RangeClient;
    const opening = { source, options, requestBytes, stop, budget, isOwn, fileBytes: 0 };
    const forget = (): void => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) throw cancelled(signal);
    signal?.addEventListener('abort', abort);
    try {
        const database = await openRows(opening, instance);
        void database.graphsReady.then(forget, forget);
        return database;
    } catch (error) {
        forget();
        leave(opening);
        throw error;
    }
}
