/**
 * Subscriptions: what a change tells, read from the engine's record while it is told.
 */
import { NO_ROW, type Address } from './abi.js';
import {
    CHANGE_COLUMN,
    CHANGE_FIRST_ROW,
    CHANGE_KIND,
    CHANGE_ROWS,
    CHANGE_ROW_COUNT,
    CHANGE_SEQUENCE,
    CHANGE_TABLE,
    CHANGE_TIME_MS,
} from './generated/layout.js';
import type { Instance } from './instance.js';
import { readInt } from './values.js';

/**
 * What kind of change: `table` (created, dropped, a column added), `insert`, `update` (values, or times of expiry),
 * `delete`, `vectors` (deltas), `renumbered` (compact moved rows, so row numbers kept from before mean others).
 */
export type ChangeKind = 'table' | 'insert' | 'update' | 'delete' | 'vectors' | 'renumbered';

/** One acknowledged change, as subscribers see it. */
export interface Change {
    readonly kind: ChangeKind;
    /** The name of the table. */
    readonly table: string;
    /** The column, for `vectors` and most of `update`. */
    readonly column?: string;
    /** The rows changed; none for `table` and `renumbered`. */
    readonly rows: Uint32Array;
    /** Number of the change. */
    readonly sequence: number;
    readonly time: Date;
}

const KINDS: readonly ChangeKind[] = ['table', 'table', 'insert', 'update', 'delete', 'vectors', 'renumbered'];

/** Reads one struct velta_change; `nameOf` gives the name of a table's handle. @internal */
export function readChange(instance: Instance, at: Address, nameOf: (table: Address) => string): Change {
    const word = (offset: number): number => instance.u32[(at + offset) >>> 2] as number;
    const kind = KINDS[word(CHANGE_KIND)] ?? 'table';
    const count = word(CHANGE_ROW_COUNT);
    const list = word(CHANGE_ROWS);
    const first = word(CHANGE_FIRST_ROW);
    const rows =
        list === 0
            ? new Uint32Array(kind === 'insert' ? count : 0)
            : instance.u32.slice(list >>> 2, (list >>> 2) + count);
    if (list === 0 && first !== NO_ROW) for (let i = 0; i < rows.length; i++) rows[i] = first + i;
    const column = word(CHANGE_COLUMN);
    return {
        kind,
        table: nameOf(word(CHANGE_TABLE)),
        ...(column === 0 ? {} : { column: instance.cText(column) }),
        rows,
        sequence: Number(readInt(instance, at + CHANGE_SEQUENCE)),
        time: new Date(Number(readInt(instance, at + CHANGE_TIME_MS))),
    };
}
