/**
 * Keys of rows on their way to the engine: as struct velta_keys for many, as scalars for one, and the row that has one.
 *
 * A table names its rows by a text, by a whole number, or, without a key column, by their row number. All of it is
 * written to argument space, between enter and leave.
 */
import { NO_ROW, type Address } from './abi.js';
import { VeltaError, describe, invalid } from './errors.js';
import { KEYS_INTS, KEYS_OFFSETS, KEYS_ROWS, KEYS_SIZE, KEYS_TEXT } from './generated/layout.js';
import { type Instance, utf8Bytes } from './instance.js';
import { type ColumnInfo, writeInt } from './values.js';

/** What of a table its keys need. @internal */
export interface Keyed {
    readonly name: string;
    readonly handle: Address;
    readonly keyInfo: ColumnInfo | null;
}

/** Writes keys as struct velta_keys. @throws {VeltaError} TYPE; offset is the key's index @internal */
export function writeKeys(instance: Instance, table: Keyed, keys: readonly unknown[]): Address {
    if (!Array.isArray(keys)) throw invalid(`keys must be an array, not ${describe(keys)}`);
    const count = keys.length;
    const at = instance.space(KEYS_SIZE);
    instance.u8.fill(0, at, at + KEYS_SIZE);
    const key = table.keyInfo;
    if (key === null) {
        const rows = instance.space(count * 4);
        for (let i = 0; i < count; i++) instance.u32[(rows >>> 2) + i] = rowNumber(table, keys[i], i);
        instance.u32[(at + KEYS_ROWS) >>> 2] = rows;
    } else if (key.type === 'int') {
        const ints = instance.space(count * 8);
        for (let i = 0; i < count; i++) writeInt(instance, ints + 8 * i, keys[i], key, i);
        instance.u32[(at + KEYS_INTS) >>> 2] = ints;
    } else {
        writeTextKeys(instance, table, keys, at, key);
    }
    return at;
}

function writeTextKeys(
    instance: Instance,
    table: Keyed,
    keys: readonly unknown[],
    at: Address,
    column: ColumnInfo,
): void {
    // Read once: what is measured must be what is written.
    const texts = Array.from({ length: keys.length }, (_, i) => keyText(table, keys[i], column, i));
    const offsets = instance.space((texts.length + 1) * 8);
    let total = 0;
    for (let i = 0; i <= texts.length; i++) {
        instance.u32[(offsets >>> 2) + 2 * i] = total;
        instance.u32[(offsets >>> 2) + 2 * i + 1] = 0;
        if (i < texts.length) total += utf8Bytes(texts[i] as string, `key ${i}`);
    }
    const text = instance.space(total);
    for (let i = 0; i < texts.length; i++) {
        const start = instance.u32[(offsets >>> 2) + 2 * i] as number;
        const end = instance.u32[(offsets >>> 2) + 2 * i + 2] as number;
        instance.encode(texts[i] as string, text + start, end - start);
    }
    instance.u32[(at + KEYS_TEXT) >>> 2] = text;
    instance.u32[(at + KEYS_OFFSETS) >>> 2] = offsets;
}

/** A key that is a text. @throws {VeltaError} TYPE @internal */
export function keyText(table: Keyed, key: unknown, column: ColumnInfo, index: number): string {
    if (typeof key === 'string') return key;
    const text = `table '${table.name}': a key (column '${column.name}') is a string, not ${describe(key)}`;
    throw new VeltaError('TYPE', text, { offset: index });
}

/** A row's number, where the table has no key. @throws {VeltaError} TYPE @internal */
export function rowNumber(table: Keyed, row: unknown, index: number): number {
    if (typeof row === 'number' && Number.isInteger(row) && row >= 0 && row < NO_ROW) return row;
    const text = `table '${table.name}' has no key, so rows are named by their number, not by ${describe(row)}`;
    throw new VeltaError('TYPE', text, { offset: index });
}

/** The row of one key (at that time), or NO_ROW. @internal */
export function findRow(instance: Instance, table: Keyed, key: unknown, at: number): number {
    const column = table.keyInfo;
    const out = instance.space(8);
    let status;
    if (column !== null && column.type === 'string') {
        const text = instance.string(keyText(table, key, column, 0), 'the key');
        status = instance.exports.abi_find_text(table.handle, text, instance.stringBytes, at, out);
    } else {
        const keys = instance.space(KEYS_SIZE + 8);
        const place = keys >>> 2;
        const { u32 } = instance;
        u32[place + (KEYS_ROWS >>> 2)] = column === null ? keys + KEYS_SIZE : 0;
        u32[place + (KEYS_INTS >>> 2)] = column === null ? 0 : keys + KEYS_SIZE;
        u32[place + (KEYS_TEXT >>> 2)] = 0;
        u32[place + (KEYS_OFFSETS >>> 2)] = 0;
        if (column === null) u32[(keys + KEYS_SIZE) >>> 2] = rowNumber(table, key, 0);
        else writeInt(instance, keys + KEYS_SIZE, key, column, 0);
        status = instance.exports.abi_find(table.handle, keys, 1, at, out);
    }
    instance.check(status);
    return instance.u32[out >>> 2] as number;
}
