/**
 * Vectors of single rows: copied out, seen in place, changed by deltas. These are the calls that programs make most
 * often, so they take the shortest way: one call of the module each, no closures, no objects made on the way.
 *
 * What the caller hands over may have getters, which may do anything, a call into another database included: each
 * property is read once, and the views of the memory are taken anew after that.
 */
import { NO_ROW, type Address } from './abi.js';
import type { Database } from './database.js';
import { type DeltaOperation, writeIntKey, writeMetadata, writeOperation, writeRow, writeTimestamp } from './delta.js';
import { VeltaError, describe, invalid } from './errors.js';
import { DELTA_KEY, DELTA_KEY_BYTES, DELTA_SIZE } from './generated/layout.js';
import { STATUS_NUMBERS } from './generated/status.js';
import type { Instance } from './instance.js';
import { type Keyed, findRow, keyText, rowNumber } from './row_keys.js';
import { type ColumnInfo, readVector, writeInt } from './values.js';

const TWO_32 = 4_294_967_296;

/** What of a table its vectors need. @internal */
export interface VectorTable extends Keyed {
    readonly database: Database;
    enter(): number;
    vectorColumn(name: string | undefined): ColumnInfo;
}

/** Metadata and time of a delta. @internal */
export interface DeltaDetails {
    readonly metadata?: Readonly<Record<string, unknown>> | undefined;
    readonly timestamp?: Date | number | undefined;
}

/** A delta of a batch, by the names of two interfaces. */
interface BatchDelta extends DeltaDetails {
    readonly key?: unknown;
    readonly vectorId?: unknown;
    readonly operation: DeltaOperation;
}

// ---- reading

/** Where the vector of a key's row is, in place or copied to argument space; 0: there is none. */
function vectorAt(instance: Instance, table: VectorTable, key: unknown, column: ColumnInfo, at: number): Address {
    const keyColumn = table.keyInfo;
    if (at === 0 && keyColumn !== null && keyColumn.type === 'string') {
        const text = instance.string(keyText(table, key, keyColumn, 0), 'the key');
        const bytes = instance.stringBytes;
        const copy = column.inPlace ? 0 : instance.space(column.dimensions * 4);
        const out = instance.space(8);
        const status = instance.exports.abi_vector_of_text(table.handle, column.address, text, bytes, copy, out);
        instance.check(status);
        instance.refresh();
        return instance.u32[out >>> 2] as number;
    }
    const row = findRow(instance, table, key, at);
    if (row === NO_ROW) return 0;
    const address = at === 0 ? instance.exports.abi_vector_view(table.handle, column.address, row) >>> 0 : 0;
    if (address !== 0) return address;
    const out = instance.space(column.dimensions * 4);
    const status = instance.exports.abi_get_vector(table.handle, column.address, row, at, out);
    instance.refresh();
    if (status === STATUS_NUMBERS.NOT_FOUND) return 0;
    instance.check(status);
    return out;
}

/** A copy of a vector, in a new array or in `into`; null: there is none. @internal */
export function copyVector(
    table: VectorTable,
    key: unknown,
    name: string | undefined,
    at: number,
    into: Float32Array | undefined,
): Float32Array | null {
    const { database } = table;
    const { instance } = database;
    const mark = table.enter();
    try {
        const column = table.vectorColumn(name);
        const address = vectorAt(instance, table, key, column, at);
        return address === 0 ? null : readVector(instance, address, column, into);
    } catch (error) {
        throw instance.caught(error);
    } finally {
        database.leave(mark);
    }
}

/** Calls `use` with the vector in place, or with a copy where it is not kept as f32. @internal */
export function useVector<T>(
    table: VectorTable,
    key: unknown,
    use: (view: Float32Array) => T,
    name: string | undefined,
): T | null {
    if (typeof use !== 'function') throw invalid(`withVector takes a function, not ${describe(use)}`);
    const { database } = table;
    const { instance } = database;
    const mark = table.enter();
    let isOwn = true;
    try {
        const column = table.vectorColumn(name);
        const address = vectorAt(instance, table, key, column, 0);
        if (address === 0) return null;
        const view = new Float32Array(instance.f32.buffer, address, column.dimensions);
        isOwn = false;
        return use(view);
    } catch (error) {
        throw isOwn ? instance.caught(error) : error;
    } finally {
        database.leave(mark);
    }
}

// ---- deltas

/** Writes a delta into a struct of zeros. */
function writeDelta(
    instance: Instance,
    at: Address,
    table: Keyed,
    key: unknown,
    operation: DeltaOperation,
    metadata: DeltaDetails['metadata'],
    timestamp: DeltaDetails['timestamp'],
): void {
    const column = table.keyInfo;
    if (column !== null && column.type === 'string') {
        const text = instance.string(keyText(table, key, column, 0), 'the key');
        const { u32, stringBytes } = instance;
        u32[(at + DELTA_KEY) >>> 2] = text;
        u32[(at + DELTA_KEY_BYTES) >>> 2] = stringBytes;
    } else if (column !== null) {
        const place = instance.space(8);
        writeInt(instance, place, key, column, 0);
        writeIntKey(instance, at, instance.i64[place >>> 3] as bigint);
    } else {
        writeRow(instance, at, rowNumber(table, key, 0));
    }
    writeOperation(instance, at, operation);
    if (metadata !== undefined) writeMetadata(instance, at, metadata);
    if (timestamp !== undefined) writeTimestamp(instance, at, timestamp);
}

/** The sequence number at a place. */
function readId(u32: Uint32Array, place: number): number {
    const low = u32[place] as number;
    const high = u32[place + 1] as number;
    return high === 0 ? low : low + high * TWO_32;
}

/** Applies one delta; gives its id. @internal */
export function applyDelta(
    table: VectorTable,
    key: unknown,
    operation: DeltaOperation,
    name: string | undefined,
    metadata: DeltaDetails['metadata'],
    timestamp: DeltaDetails['timestamp'],
): number {
    const { database } = table;
    const { instance } = database;
    const mark = table.enter();
    let id: number;
    try {
        const column = table.vectorColumn(name);
        const at = instance.space(DELTA_SIZE + 8);
        const out = at + DELTA_SIZE;
        const { f64 } = instance;
        for (let place = at >>> 3; place < out >>> 3; place++) f64[place] = 0;
        writeDelta(instance, at, table, key, operation, metadata, timestamp);
        instance.check(instance.exports.abi_apply(table.handle, column.address, at, 1, 0, out));
        id = readId(instance.u32, out >>> 2);
    } catch (error) {
        throw database.explained(error);
    } finally {
        database.leave(mark);
    }
    database.wrote();
    return id;
}

/**
 * Applies deltas, all or none; gives their ids.
 * @param byVectorId - what names the row is `vectorId` of a delta, else its `key`
 * @internal
 */
export function applyDeltas(
    table: VectorTable,
    deltas: readonly unknown[],
    name: string | undefined,
    byVectorId: boolean,
): number[] {
    const { database } = table;
    const { instance } = database;
    const count = deltas.length;
    const mark = table.enter();
    let ids: number[];
    try {
        const column = table.vectorColumn(name);
        const at = instance.space(count * DELTA_SIZE);
        const out = instance.space(count * 8);
        instance.u32.fill(0, at >>> 2, (at + count * DELTA_SIZE) >>> 2);
        writeDeltas(instance, at, table, deltas, count, byVectorId);
        instance.check(instance.exports.abi_apply(table.handle, column.address, at, count, 0, out));
        const { u32 } = instance;
        ids = new Array<number>(count);
        for (let i = 0, place = out >>> 2; i < count; i++, place += 2) ids[i] = readId(u32, place);
    } catch (error) {
        throw database.explained(error);
    } finally {
        database.leave(mark);
    }
    database.wrote();
    return ids;
}

function writeDeltas(
    instance: Instance,
    at: Address,
    table: Keyed,
    deltas: readonly unknown[],
    count: number,
    byVectorId: boolean,
): void {
    let i = 0;
    try {
        for (; i < count; i++) {
            const delta = deltas[i] as BatchDelta | null | undefined;
            if (typeof delta !== 'object' || delta === null)
                throw invalid(`expected an object, not ${describe(delta)}`);
            const key = byVectorId ? delta.vectorId : delta.key;
            const { operation, metadata, timestamp } = delta;
            writeDelta(instance, at + i * DELTA_SIZE, table, key, operation, metadata, timestamp);
        }
    } catch (error) {
        if (!(error instanceof VeltaError)) throw error;
        throw new VeltaError(error.code, `delta ${i}: ${error.message}`, { offset: i, cause: error });
    }
}
