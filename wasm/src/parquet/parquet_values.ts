/**
 * Values of several groups as one, and in another order.
 */
import { VeltaError } from '../errors.js';
import { pick } from '../imports/incoming.js';
import type { MemoryBudget } from '../ranges/memory_budget.js';
import type { ColumnType } from '../schema.js';
import type { ColumnData } from '../values.js';
import type { ParquetValues } from './pages.js';

interface Part {
    readonly values: ParquetValues;
    readonly dimensions: number;
}

type Typed = BigInt64Array | Float64Array | Float32Array | Uint8Array;

/** How many rows values are. @internal */
export function rowsOf({ values, dimensions }: Part): number {
    return values instanceof Float32Array ? values.length / Math.max(1, dimensions) : values.length;
}

/** A value of each row, whatever they are kept in. @internal */
export function valueAt({ values, dimensions }: Part, type: ColumnType, row: number): unknown {
    if (values instanceof Float32Array) return values.subarray(row * dimensions, (row + 1) * dimensions);
    return type === 'bool' && values instanceof Uint8Array ? values[row] === 1 : values[row];
}

/**
 * The values of parts, one after the other.
 * @throws {VeltaError} DIMENSIONS where vectors differ, OVER_BUDGET
 * @internal
 */
export function concatenate(parts: readonly Part[], type: ColumnType, budget: MemoryBudget): ParquetValues {
    if (parts.length === 1) return (parts[0] as Part).values;
    const lengths = new Set(parts.filter((part) => part.dimensions > 0).map((part) => part.dimensions));
    if (lengths.size > 1) {
        throw new VeltaError('DIMENSIONS', `the column holds vectors of ${[...lengths].join(' and ')} elements`);
    }
    const rows = parts.reduce((total, part) => total + rowsOf(part), 0);
    const elements = parts.reduce((total, { values }) => total + values.length, 0);
    const held = budget.allocate(elements * (type === 'bool' ? 1 : type === 'vector' ? 4 : 8), 'a whole column');
    try {
        if (parts.length > 0 && parts.every(({ values }) => !Array.isArray(values))) {
            const [{ values: first }] = parts as readonly [Part];
            const out = new (first.constructor as new (length: number) => Float64Array)(elements);
            let at = 0;
            for (const { values } of parts as readonly { values: Typed }[]) {
                out.set(values as Float64Array, at);
                at += values.length;
            }
            return out;
        }
        const out = new Array<unknown>(rows);
        let at = 0;
        for (const part of parts) {
            const { length } = { length: rowsOf(part) };
            for (let row = 0; row < length; row++) out[at++] = valueAt(part, type, row);
        }
        return out as ParquetValues;
    } finally {
        held.release();
    }
}

/** A time as tables take it. @throws {VeltaError} LIMIT beyond 2^53 milliseconds */
function timeOf(time: bigint | null): number | null {
    if (time !== null && BigInt.asIntN(54, time) !== time) {
        throw new VeltaError('LIMIT', `the Parquet file holds the time ${time}, which is beyond 2^53 milliseconds`);
    }
    return time === null ? null : Number(time);
}

/** Values in the form that tables take: times beside NULLs are numbers there. @throws {VeltaError} LIMIT @internal */
export function columnData(values: ParquetValues, type: ColumnType): ColumnData {
    if (type !== 'timestamp' || !Array.isArray(values)) return values as ColumnData;
    return (values as (bigint | null)[]).map(timeOf);
}

/** Values of ascending rows in the order that was asked for. @internal */
export function permute(values: ParquetValues, sorted: Uint32Array, wanted: Uint32Array, width: number): ParquetValues {
    if (sorted.length === wanted.length && sorted.every((row, i) => row === wanted[i])) return values;
    const places = new Map(Array.from(sorted, (row, i) => [row, i]));
    return pick(
        values,
        wanted.map((row) => places.get(row) as number),
        width,
    );
}
