/**
 * What a file's statistics say of the values of a column in a row group or a page, as bounds in the engine's types.
 *
 * A bound must hold for every value, or rows that match would be lost. So a bound is left out (null) where its bytes
 * are not of its type; where it is NaN; where the file does not say in which order it was found and there is more than
 * one; where the two contradict each other; and where a cut-off text cannot be brought to a whole one on the safe side.
 * The older fields `min` and `max` of the format, which no order was agreed on for, are never looked at.
 */

import type { Column, RawStatistics } from './footer.js';
import { integers } from './pages.js';

/** A bound in the form that the engine's tables take. @internal */
export type Bound = bigint | number | boolean | string | Uint8Array;

/** What is known of a column in a block of rows. @internal */
export interface Bounds {
    /** No value is less; null: not known. */
    readonly low: Bound | null;
    readonly high: Bound | null;
    /** Whether there may be NULLs, and values. */
    readonly nulls: boolean;
    readonly values: boolean;
}

/** Longer bounds of texts are cut off (least) or left out (greatest). */
const LONGEST = 1024;

/** The order of Parquet's texts and bytes, which is the engine's too. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
    const length = Math.min(a.length, b.length);
    for (let i = 0; i < length; i++) {
        if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number);
    }
    return a.length - b.length;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOrNull(bytes: Uint8Array): string | null {
    try {
        return utf8.decode(bytes);
    } catch {
        return null;
    }
}

/** The bytes up to the last character that is whole: what is cut off of a least value leaves one that is less. */
function wholeText(bytes: Uint8Array): string | null {
    for (let end = bytes.length; end >= 0 && end > bytes.length - 4; end--) {
        const text = textOrNull(bytes.subarray(0, end));
        if (text !== null) return text;
    }
    return null;
}

function numberOf(column: Column, bytes: Uint8Array): bigint | number | boolean | null {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    switch (column.physical) {
        case 'BOOLEAN':
            return bytes.length === 1 ? bytes[0] !== 0 : null;
        case 'FLOAT':
        case 'DOUBLE': {
            const isFloat = column.physical === 'FLOAT';
            if (bytes.length !== (isFloat ? 4 : 8)) return null;
            const value = isFloat ? view.getFloat32(0, true) : view.getFloat64(0, true);
            return Number.isNaN(value) ? null : value;
        }
        case 'INT32':
        case 'INT64': {
            const isShort = column.physical === 'INT32';
            if (bytes.length !== (isShort ? 4 : 8)) return null;
            if (column.rule === 'unsigned' && !isShort && view.getBigInt64(0, true) < 0n) return null; // beyond 63 bits
            const values = isShort
                ? Int32Array.of(view.getInt32(0, true))
                : BigInt64Array.of(view.getBigInt64(0, true));
            const value = integers(values, column)[0] as bigint;
            return column.type === 'timestamp' && BigInt.asIntN(54, value) !== value ? null : value;
        }
        default:
            return null;
    }
}

function textBounds(column: Column, min: Uint8Array | null, max: Uint8Array | null): [Bound | null, Bound | null] {
    const isText = column.type === 'string';
    const low = min === null ? null : min.subarray(0, LONGEST);
    // Some write no bytes where they do not know.
    const high = max === null || max.length === 0 || max.length > LONGEST ? null : max;
    if (isText) return [low === null ? null : wholeText(low), high === null ? null : textOrNull(high)];
    return [low, high];
}

/**
 * The bounds that statistics give.
 * @param rows - of the block; the column is not a list, so that each has a value or NULL
 * @internal
 */
export function boundsOf(column: Column, { nullCount, min, max }: RawStatistics, rows: number): Bounds {
    const nulls = column.maxDefinition > 0 && nullCount !== 0;
    const values = column.maxDefinition === 0 || nullCount !== rows;
    const none = { low: null, high: null, nulls, values };
    const isText = column.type === 'string' || column.type === 'bytes';
    if (!column.isOrdered && (isText || column.rule === 'unsigned')) return none;
    if (isText) {
        if (min !== null && max !== null && max.length > 0 && compareBytes(min, max) > 0) return none;
        const [low, high] = textBounds(column, min, max);
        return { low, high, nulls, values };
    }
    const low = min === null ? null : numberOf(column, min);
    const high = max === null ? null : numberOf(column, max);
    return low !== null && high !== null && low > high ? none : { low, high, nulls, values };
}
