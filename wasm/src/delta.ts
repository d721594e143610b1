/**
 * Vector deltas: operations of JavaScript to and from struct velta_delta.
 *
 * A delta is a difference on one vector: sparse and dense add unless their mode is 'set'. Metadata travels as JSON in
 * UTF-8.
 */
import type { Address } from './abi.js';
import { VeltaError, describe, invalid } from './errors.js';
import {
    CHAIN_ITEM_DELTA,
    CHAIN_ITEM_SEQUENCE,
    CHAIN_ITEM_SIZE,
    CHAIN_ITEM_TIME_MS,
    DELTA_AMOUNT,
    DELTA_COUNT,
    DELTA_INDICES,
    DELTA_KEY_INT,
    DELTA_METADATA,
    DELTA_METADATA_BYTES,
    DELTA_OPERATION,
    DELTA_ROW,
    DELTA_SET,
    DELTA_TIME_MS,
    DELTA_USE_ROW,
    DELTA_VALUES,
} from './generated/layout.js';
import type { Instance } from './instance.js';
import { copyFloats, copyWords, elementCount, isDetached, millisecondsOf, readInt } from './values.js';

/** One change of one vector. */
export type DeltaOperation =
    /** A new row with this vector; EXISTS if the key lives. */
    | { readonly type: 'create'; readonly vector: Float32Array }
    /** Adds to (or sets) single elements. `indices`: distinct and ascending. */
    | {
          readonly type: 'sparse';
          readonly indices: Uint32Array;
          readonly values: Float32Array;
          readonly mode?: 'add' | 'set';
      }
    /** Adds to (or sets) every element. */
    | { readonly type: 'dense'; readonly vector: Float32Array; readonly mode?: 'add' | 'set' }
    /** Every element times `factor`. */
    | { readonly type: 'scale'; readonly factor: number }
    /** `amount` added to every element. */
    | { readonly type: 'offset'; readonly amount: number }
    /** The row is deleted; NOT_FOUND if it does not live. */
    | { readonly type: 'delete' };

/** A delta with what it changes. */
export interface TableDelta<K = string | number | bigint> {
    /** The row's key, or its number where the table has none. */
    readonly key: K;
    readonly operation: DeltaOperation;
    /** Kept with the vector's chain, as JSON. */
    readonly metadata?: Readonly<Record<string, unknown>>;
    /** When; default now. A time before the last change's counts as that. */
    readonly timestamp?: Date | number;
}

/** One delta of a vector's chain. */
export interface ChainItem {
    /** The delta's id: its sequence number. */
    readonly id: number;
    readonly time: Date;
    readonly operation: DeltaOperation;
    readonly metadata?: Record<string, unknown>;
}

const NUMBERS = { create: 1, sparse: 2, dense: 3, scale: 4, offset: 5, delete: 6 } as const;

/** How many elements an array of f32 has. @throws {VeltaError} TYPE, INVALID */
function floatCount(values: unknown, what: string): number {
    if (!(values instanceof Float32Array)) throw deltaType(what, 'a Float32Array', values);
    const count = elementCount(values);
    if (count === 0 && isDetached(values)) throw invalid(`${what}: the ArrayBuffer is detached`);
    return count;
}

function deltaType(what: string, expected: string, value: unknown): VeltaError {
    return new VeltaError('TYPE', `${what}: expected ${expected}, not ${describe(value)}`);
}

function amount(value: unknown, what: string): number {
    if (typeof value !== 'number') throw deltaType(what, 'a number', value);
    if (!Number.isFinite(value)) throw new VeltaError('NOT_FINITE', `${what} is ${value}`);
    return value;
}

function isSet(mode: unknown): number {
    if (mode === undefined || mode === 'add') return 0;
    if (mode !== 'set') throw invalid(`delta: mode is 'add' or 'set', not ${describe(mode)}`);
    return 1;
}

function writeSparse(
    instance: Instance,
    at: Address,
    operation: { readonly indices: Uint32Array; readonly values: Float32Array; readonly mode?: 'add' | 'set' },
): void {
    const { indices, values, mode } = operation;
    if (!(indices instanceof Uint32Array)) throw deltaType('delta: indices', 'a Uint32Array', indices);
    const count = elementCount(indices);
    const valueCount = floatCount(values, 'delta: values');
    if (count !== valueCount) throw invalid(`delta: ${count} indices but ${valueCount} values`);
    const set = isSet(mode);
    const list = instance.space(count * 8);
    const { u32, f32, u8 } = instance;
    copyWords(u32, list >>> 2, indices, count);
    copyFloats(f32, (list >>> 2) + count, values, count);
    u8[at + DELTA_SET] = set;
    u32[(at + DELTA_COUNT) >>> 2] = count;
    u32[(at + DELTA_INDICES) >>> 2] = list;
    u32[(at + DELTA_VALUES) >>> 2] = list + count * 4;
}

/**
 * Writes an operation into a struct of zeros. What it points to goes to argument space; so the caller must take the
 * struct's place before and read the views after.
 * @throws {VeltaError} INVALID, TYPE, NOT_FINITE
 * @internal
 */
export function writeOperation(instance: Instance, at: Address, operation: DeltaOperation): void {
    if (typeof operation !== 'object' || operation === null) {
        throw invalid(`delta: an operation is an object with a type, not ${describe(operation)}`);
    }
    // Each property is read once: a getter may give another value the next time.
    const { type } = operation;
    switch (type) {
        case 'sparse':
            writeSparse(instance, at, operation);
            break;
        case 'create':
        case 'dense': {
            const { vector } = operation;
            const set = type === 'dense' ? isSet(operation.mode) : 0;
            const count = floatCount(vector, 'delta: vector');
            const values = instance.space(count * 4);
            instance.f32.set(vector, values >>> 2);
            instance.u32[(at + DELTA_COUNT) >>> 2] = count;
            instance.u32[(at + DELTA_VALUES) >>> 2] = values;
            instance.u8[at + DELTA_SET] = set;
            break;
        }
        case 'scale':
            instance.f32[(at + DELTA_AMOUNT) >>> 2] = amount(operation.factor, 'delta: factor');
            break;
        case 'offset':
            instance.f32[(at + DELTA_AMOUNT) >>> 2] = amount(operation.amount, 'delta: amount');
            break;
        case 'delete':
            break;
        default:
            throw invalid(
                `delta: there is no operation ${describe(type)}; there are ` + Object.keys(NUMBERS).join(', '),
            );
    }
    instance.u32[(at + DELTA_OPERATION) >>> 2] = NUMBERS[type];
}

/** Writes metadata as JSON. @internal */
export function writeMetadata(instance: Instance, at: Address, metadata: Readonly<Record<string, unknown>>): void {
    let text: string | undefined;
    try {
        text = JSON.stringify(metadata);
    } catch (cause) {
        throw new VeltaError('INVALID', `delta: the metadata cannot be written as JSON: ${String(cause)}`, { cause });
    }
    if (typeof metadata !== 'object' || metadata === null || text === undefined) {
        throw invalid(`delta: metadata is an object, not ${describe(metadata)}`);
    }
    const address = instance.string(text, 'delta: the metadata');
    instance.u32[(at + DELTA_METADATA) >>> 2] = address;
    instance.u32[(at + DELTA_METADATA_BYTES) >>> 2] = instance.stringBytes;
}

/** Writes when a delta happened. @internal */
export function writeTimestamp(instance: Instance, at: Address, timestamp: Date | number): void {
    const time = millisecondsOf(timestamp);
    if (Number.isNaN(time)) throw deltaType('delta: timestamp', 'a Date or whole milliseconds', timestamp);
    instance.i64[(at + DELTA_TIME_MS) >>> 3] = BigInt(time);
}

/** Names the row by its number. @internal */
export function writeRow(instance: Instance, at: Address, row: number): void {
    instance.u32[(at + DELTA_ROW) >>> 2] = row;
    instance.u8[at + DELTA_USE_ROW] = 1;
}

/** @internal */
export function writeIntKey(instance: Instance, at: Address, key: bigint): void {
    instance.i64[(at + DELTA_KEY_INT) >>> 3] = key;
}

function readOperation(instance: Instance, at: Address): DeltaOperation {
    const { u32, f32, u8 } = instance;
    const word = (offset: number): number => u32[(at + offset) >>> 2] as number;
    const count = word(DELTA_COUNT);
    const place = word(DELTA_VALUES) >>> 2;
    const values = (): Float32Array => f32.slice(place, place + count);
    const mode = u8[at + DELTA_SET] === 1 ? 'set' : 'add';
    const number = f32[(at + DELTA_AMOUNT) >>> 2] as number;
    switch (word(DELTA_OPERATION)) {
        case NUMBERS.create:
            return { type: 'create', vector: values() };
        case NUMBERS.sparse: {
            const list = word(DELTA_INDICES) >>> 2;
            return { type: 'sparse', indices: u32.slice(list, list + count), values: values(), mode };
        }
        case NUMBERS.dense:
            return { type: 'dense', vector: values(), mode };
        case NUMBERS.scale:
            return { type: 'scale', factor: number };
        case NUMBERS.offset:
            return { type: 'offset', amount: number };
        default:
            return { type: 'delete' };
    }
}

/** Metadata as it was given; undefined where there is none, or where other programs kept what is no JSON object. */
function readMetadata(instance: Instance, at: Address): Record<string, unknown> | undefined {
    const bytes = instance.u32[(at + DELTA_METADATA_BYTES) >>> 2] as number;
    if (bytes === 0) return undefined;
    try {
        const value: unknown = JSON.parse(instance.text(instance.u32[(at + DELTA_METADATA) >>> 2] as number, bytes));
        return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
    } catch {
        return undefined;
    }
}

/** Reads `count` structs velta_chain_item. @internal */
export function readChain(instance: Instance, first: Address, count: number): ChainItem[] {
    const items: ChainItem[] = [];
    for (let i = 0; i < count; i++) {
        const at = first + i * CHAIN_ITEM_SIZE;
        const metadata = readMetadata(instance, at + CHAIN_ITEM_DELTA);
        items.push({
            id: Number(readInt(instance, at + CHAIN_ITEM_SEQUENCE)),
            time: new Date(Number(readInt(instance, at + CHAIN_ITEM_TIME_MS))),
            operation: readOperation(instance, at + CHAIN_ITEM_DELTA),
            ...(metadata === undefined ? {} : { metadata }),
        });
    }
    return items;
}
