/*
 * Records into a table of this thread: batch by batch copied into the module's memory and applied there.
 */
import type { Address } from '../abi.js';
import { VeltaError, checkOptions, describe, invalid } from '../errors.js';
import type { Instance } from '../instance.js';
import type { Schema } from '../schema.js';
import type { Table } from '../table.js';
import { plainBytes } from '../values.js';
import { HEAD_BYTES, recordLength } from './records.js';

/** Options of {@link Table.applyRecords}. */
export interface ApplyRecordsOptions {
    /** The vector column; needed where there are several. */
    readonly column?: string;
    /**
     * The stream that the records come from: its position moves in the same batch, and records at or before it are
     * passed over. The first time makes the stream known (position 0) by a change of its own, which stays also when the
     * records are refused. Default: none; all are applied.
     */
    readonly stream?: string;
    /** Records in one batch, all or none; more are applied batch by batch. Default 4,294,967,295: all in one. */
    readonly batchSize?: number;
}

/** What became of records. */
export interface AppliedRecords {
    readonly applied: number;
    /** Those that the position of their stream had passed. */
    readonly skipped: number;
    /** The sequence number of the last of them; 0: there was none. */
    readonly sequence: number;
    /**
     * Whether the store is one that makes each change durable before it acknowledges it (or keeps it in memory alone):
     * in the page once `flush` has resolved where its driver is asynchronous, in a worker when the answer is there.
     */
    readonly strict: boolean;
}

/** Called after each batch; it may hear of the records, which are still in the module's memory. @internal */
export interface BatchTold {
    readonly instance: Instance;
    /** Where the batch's records lie, and their bytes. */
    readonly at: Address;
    readonly bytes: number;
    readonly applied: number;
    readonly skipped: number;
    readonly sequence: number;
    /** The ids of those applied, where they were asked for. */
    readonly ids: Address;
}

const ALL = 0xffffffff;
const STREAMS = '$streams';
const STREAM_SCHEMA: Schema = { name: { type: 'string', key: true, required: true }, position: 'int' };

/** The table of positions, which no other way leads to. @internal */
export const STREAMS_TABLE = STREAMS;

/** What a database lends for it. @internal */
export interface StreamTables {
    find(name: string): Table | null;
    make(name: string, schema: Schema): Table;
}

function checkStream(stream: unknown): string {
    if (typeof stream !== 'string' || stream === '') {
        throw invalid(`the name of a stream is a string that is not empty, not ${describe(stream)}`);
    }
    return stream;
}

/** The position of a stream; 0: nothing of it was applied. @internal */
export function readPosition(tables: StreamTables, stream: unknown): number {
    const name = checkStream(stream);
    const row = tables.find(STREAMS)?.get(name) as { position: number | null } | null | undefined;
    return row?.position ?? 0;
}

/** The table of positions, with a row for the stream. */
function positions(tables: StreamTables, stream: unknown): Table {
    const name = checkStream(stream);
    const table = tables.find(STREAMS) ?? tables.make(STREAMS, STREAM_SCHEMA);
    if (!table.has(name as never)) table.insert({ name, position: 0 } as never);
    return table;
}

/** @internal */
export interface RecordsTarget {
    readonly table: Table;
    readonly tables: StreamTables;
    /** Asks for ids of the deltas. */
    readonly wantsIds: boolean;
    /** Before a batch of records that lie at `at`: refuses it by throwing. */
    check?(instance: Instance, at: Address, bytes: number, limit: number): void;
    /** After a batch was applied. */
    told?(batch: BatchTold): void;
}

function checkedOptions(options: ApplyRecordsOptions): { column: string | undefined; batchSize: number } {
    checkOptions('applyRecords', options, ['column', 'stream', 'batchSize']);
    const { column, batchSize = ALL } = options;
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
        throw invalid(`batchSize is a whole number from 1, not ${describe(batchSize)}`);
    }
    return { column, batchSize: Math.min(batchSize, ALL) };
}

/**
 * Applies whole records, batch by batch. Records before a refused batch stay applied.
 * @throws {VeltaError} of a refused batch; offset counts from the first of `given`
 * @internal
 */
export function applyRecords(target: RecordsTarget, given: unknown, options: ApplyRecordsOptions = {}): AppliedRecords {
    if (!(given instanceof Uint8Array)) {
        throw new VeltaError('TYPE', `applyRecords: expected a Uint8Array, not ${describe(given)}`);
    }
    const records = plainBytes(given);
    const { column, batchSize } = checkedOptions(options);
    const { table } = target;
    table.open();
    const streams = options.stream === undefined ? null : positions(target.tables, options.stream);
    const name = options.stream ?? '';
    const done = { applied: 0, skipped: 0, sequence: 0, strict: table.database.isStrict };
    if (records.length === 0) return done;
    const { database } = table;
    try {
        database.run((instance) => {
            const info = table.vectorColumn(column);
            const text = instance.string(name, 'the name of a stream');
            const counts = instance.space(32);
            const call = {
                ...{ table: table.handle, column: info.address, streams: streams?.handle ?? 0 },
                ...{ text, bytes: instance.stringBytes, counts, batchSize, wantsIds: target.wantsIds },
            };
            for (let from = 0; from < records.length;) {
                const batch = records.subarray(from, batchEnd(records, from, batchSize));
                from += applyBatch(target, instance, call, batch, done, from);
            }
        });
    } finally {
        if (done.applied > 0) database.wrote();
    }
    return done;
}

/** Where a batch ends; at the end where a record in it has no length that can be: the engine says what is wrong. */
function batchEnd(records: Uint8Array, from: number, batchSize: number): number {
    const { length } = records;
    if (batchSize >= (length - from) / HEAD_BYTES) return length;
    let end = from;
    for (let i = 0; i < batchSize && end < length; i++) {
        const bytes = length - end < HEAD_BYTES ? 0 : recordLength(records, end);
        if (bytes < HEAD_BYTES || bytes > length - end) return length;
        end += bytes;
    }
    return end;
}

interface Call {
    readonly table: Address;
    readonly column: Address;
    readonly streams: Address;
    readonly text: Address;
    readonly bytes: number;
    readonly counts: Address;
    readonly batchSize: number;
    readonly wantsIds: boolean;
}

/** Applies one batch and counts it; gives its bytes. */
function applyBatch(
    target: RecordsTarget,
    instance: Instance,
    call: Call,
    records: Uint8Array,
    done: { applied: number; skipped: number; sequence: number },
    offset: number,
): number {
    const mark = instance.top;
    const { table, column, streams, text, counts, batchSize } = call;
    const left = records.length;
    const at = instance.space(left);
    instance.u8.set(records, at);
    // Fewer records are in the bytes than there are heads.
    const limit = Math.min(batchSize, Math.ceil(left / HEAD_BYTES));
    const ids = call.wantsIds ? instance.space(limit * 8) : 0;
    target.check?.(instance, at, left, limit);
    const { exports } = instance;
    const status = exports.abi_apply_records(table, column, at, left, limit, streams, text, call.bytes, ids, counts);
    try {
        instance.check(status);
    } catch (error) {
        throw moved(error, done.applied + done.skipped, offset);
    }
    instance.refresh();
    const [applied, skipped, bytes, sequence] = instance.f64.subarray(counts >>> 3, (counts >>> 3) + 4) as unknown as [
        number,
        number,
        number,
        number,
    ];
    done.applied += applied;
    done.skipped += skipped;
    done.sequence = sequence;
    target.told?.({ instance, at, bytes, applied, skipped, sequence, ids });
    instance.leave(mark);
    return bytes;
}

/** The refusal of a later batch: its place is told from the first record given. */
function moved(error: unknown, records: number, bytes: number): unknown {
    if (!(error instanceof VeltaError) || error.offset === undefined || (records === 0 && bytes === 0)) return error;
    const offset = error.offset + (error.code === 'CORRUPT' ? bytes : records);
    return new VeltaError(error.code, error.message, { offset, cause: error });
}
