/**
 * Rows and columns of JavaScript to batches of the engine, and results back to rows and columns.
 *
 * A batch is column-wise (struct velta_values). Rows are taken column by column: one loop per column with the writer of
 * its type, straight into the module's memory. Whatever has the wrong type is refused here, with the column, the row
 * and what came; what only the engine can know (keys that exist, NULL in a required column) is refused there.
 */
import type { Address } from './abi.js';
import { VeltaError, describe, invalid, quoted } from './errors.js';
import {
    VALUES_COLUMN,
    VALUES_DATA,
    VALUES_ELEMENT,
    VALUES_OFFSETS,
    VALUES_SIZE,
    VALUES_VALID,
} from './generated/layout.js';
import { type Instance, utf8Bytes } from './instance.js';
import type { ColumnType, FullColumn } from './schema.js';

const TWO_32 = 4_294_967_296;
const MAX_TIME = 8.64e15;
const ELEMENT_F16 = 1;

/** A column of an open table; `address` is its name as a C string that stays. @internal */
export interface ColumnInfo {
    readonly name: string;
    readonly address: Address;
    readonly type: ColumnType;
    readonly dimensions: number;
    readonly full: FullColumn;
    /** Whether it is a vector that the engine keeps as f32, so that it can be seen in place. */
    readonly inPlace: boolean;
    /** Whether an object has something of this name without having such a column. */
    readonly inherited: boolean;
}

/** A batch in argument space. @internal */
export interface Batch {
    readonly values: Address;
    readonly count: number;
    readonly rows: number;
}

/** One column's values, from wherever they come: row i's is `at(i)`; undefined and null are NULL. */
interface Source {
    readonly rows: number;
    at(row: number): unknown;
}

function typeError(column: ColumnInfo, row: number, value: unknown, expected: string): VeltaError {
    const text = `column '${column.name}', row ${row}: expected ${expected}, not ${describe(value)}`;
    return new VeltaError('TYPE', text, { offset: row });
}

// ---- one value

/** Writes a whole number as an int64. @throws {VeltaError} TYPE naming the column and row @internal */
export function writeInt(instance: Instance, at: Address, value: unknown, column: ColumnInfo, row: number): void {
    if (typeof value === 'number') {
        const { i32 } = instance;
        const place = at >>> 2;
        if (value === (value | 0)) {
            i32[place] = value;
            i32[place + 1] = value >> 31;
            return;
        }
        if (Number.isSafeInteger(value)) {
            const high = Math.floor(value / TWO_32);
            i32[place] = value - high * TWO_32;
            i32[place + 1] = high;
            return;
        }
        throw typeError(
            column,
            row,
            value,
            Number.isInteger(value) ? 'a bigint (beyond 2^53 numbers are not exact)' : 'a whole number or a bigint',
        );
    }
    if (typeof value !== 'bigint') throw typeError(column, row, value, 'a whole number or a bigint');
    if (BigInt.asIntN(64, value) !== value) throw typeError(column, row, value, 'an integer of 64 bits');
    instance.i64[at >>> 3] = value;
}

/** Milliseconds of a Date or a number; NaN where it is neither, or not a time. @internal */
export function millisecondsOf(value: unknown): number {
    const time = value instanceof Date ? value.getTime() : value;
    return typeof time === 'number' && Number.isInteger(time) && Math.abs(time) <= MAX_TIME ? time : NaN;
}

function writeTime(instance: Instance, at: Address, value: unknown, column: ColumnInfo, row: number): void {
    const time = millisecondsOf(value);
    if (Number.isNaN(time)) throw typeError(column, row, value, 'a Date or whole milliseconds since 1970');
    writeInt(instance, at, time, column, row);
}

function vectorLength(column: ColumnInfo, row: number, value: ArrayLike<number>): void {
    if (value.length === column.dimensions) return;
    const detached = value.length === 0 && ArrayBuffer.isView(value) && isDetached(value);
    throw new VeltaError(
        'DIMENSIONS',
        detached
            ? `column '${column.name}', row ${row}: the vector's ArrayBuffer is detached (it was transferred away)`
            : `column '${column.name}', row ${row}: a vector of ${value.length} elements; the column has ` +
                  `${column.dimensions}`,
        { offset: row },
    );
}

/** Writes one vector as f32. */
function writeVector(instance: Instance, at: Address, value: unknown, column: ColumnInfo, row: number): void {
    if (value instanceof Float32Array) {
        if (elementCount(value) !== column.dimensions) vectorLength(column, row, value);
        instance.f32.set(value, at >>> 2);
        return;
    }
    if (!Array.isArray(value)) throw typeError(column, row, value, 'a Float32Array or an array of numbers');
    vectorLength(column, row, value);
    const start = at >>> 2;
    for (let i = 0; i < column.dimensions; i++) {
        const element: unknown = value[i];
        if (typeof element !== 'number') {
            throw typeError(column, row, element, `a number as element ${i} of the vector`);
        }
        if (!Number.isFinite(element)) {
            const text = `column '${column.name}', row ${row}: element ${i} of the vector is ${element}`;
            throw new VeltaError('NOT_FINITE', text, { offset: row });
        }
        instance.f32[start + i] = element;
    }
}

/** A copy of the vector at an address, in a new array or in the one given. @internal */
export function readVector(
    instance: Instance,
    address: Address,
    column: ColumnInfo,
    into: Float32Array | undefined,
): Float32Array {
    const place = address >>> 2;
    const { dimensions, name } = column;
    if (into === undefined) return instance.f32.slice(place, place + dimensions);
    if (!(into instanceof Float32Array) || into.length !== dimensions) {
        const text = `into must be a Float32Array of the ${dimensions} elements of column '${name}'`;
        throw new VeltaError('DIMENSIONS', `${text}, not ${describe(into)}`);
    }
    into.set(new Float32Array(instance.f32.buffer, address, dimensions));
    return into;
}

function getterOf<T>(property: 'buffer' | 'byteOffset' | 'length'): (this: ArrayLike<unknown>) => T {
    const prototype = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
    return Object.getOwnPropertyDescriptor(prototype, property)?.get as (this: ArrayLike<unknown>) => T;
}
const lengthGetter = getterOf<number>('length');
const bufferGetter = getterOf<ArrayBufferLike>('buffer');
const offsetGetter = getterOf<number>('byteOffset');

/** How many elements a typed array has, whatever a subclass says. @internal */
export function elementCount(array: ArrayLike<unknown>): number {
    return lengthGetter.call(array);
}

/** The bytes of an array as a view of no subclass; of a detached one, none. @internal */
export function plainBytes(array: Uint8Array): Uint8Array {
    const length = elementCount(array);
    if (length === 0) return new Uint8Array(0);
    return new Uint8Array(bufferGetter.call(array), offsetGetter.call(array), length);
}

const LOOP = 24; // up to here a loop is faster than set()

/** Copies `count` elements to `place`. Apart from copyFloats, so that each loop sees one type only. @internal */
export function copyWords(to: Uint32Array, place: number, from: Uint32Array, count: number): void {
    if (count <= LOOP) for (let i = 0; i < count; i++) to[place + i] = from[i] as number;
    else to.set(from, place);
}

/** Copies `count` elements to `place`. @internal */
export function copyFloats(to: Float32Array, place: number, from: Float32Array, count: number): void {
    if (count <= LOOP) for (let i = 0; i < count; i++) to[place + i] = from[i] as number;
    else to.set(from, place);
}

/** Whether the memory behind a view was transferred away. @internal */
export function isDetached(view: ArrayBufferView): boolean {
    try {
        // Throws also for a view that a shrunk buffer no longer holds.
        Uint8Array.prototype.at.call(view, 0);
        return false;
    } catch {
        return true;
    }
}

/** Writes one query or delta vector of a column as f32 into argument space. @internal */
export function vectorArgument(instance: Instance, column: ColumnInfo, value: unknown): Address {
    const at = instance.space(column.dimensions * 4);
    writeVector(instance, at, value, column, 0);
    return at;
}

// ---- one column from a source

const WIDTHS: Readonly<Record<string, number>> = { int: 8, timestamp: 8, float: 8, bool: 1 };

/** Where the parts of a column's values went; 0: it has no such part. */
interface Written {
    data: Address;
    offsets: Address;
    nulls: number;
}

function writeFixed(instance: Instance, column: ColumnInfo, source: Source, valid: Address): Written {
    const { rows } = source;
    const width = column.type === 'vector' ? column.dimensions * 4 : (WIDTHS[column.type] as number);
    const data = instance.space(rows * width);
    let nulls = 0;
    for (let row = 0; row < rows; row++) {
        const value = source.at(row);
        const { u8, f64 } = instance; // a getter of the caller may have made the memory grow
        const at = data + row * width;
        if (value === null || value === undefined) {
            u8[valid + (row >>> 3)] = (u8[valid + (row >>> 3)] as number) & ~(1 << (row & 7));
            u8.fill(0, at, at + width);
            nulls++;
            continue;
        }
        switch (column.type) {
            case 'int':
                writeInt(instance, at, value, column, row);
                break;
            case 'timestamp':
                writeTime(instance, at, value, column, row);
                break;
            case 'float':
                if (typeof value !== 'number') throw typeError(column, row, value, 'a number');
                f64[at >>> 3] = value;
                break;
            case 'bool':
                if (typeof value !== 'boolean') throw typeError(column, row, value, 'true or false');
                u8[at] = value ? 1 : 0;
                break;
            default:
                writeVector(instance, at, value, column, row);
        }
    }
    return { data, offsets: 0, nulls };
}

/** The bytes of an ArrayBuffer. @throws {VeltaError} INVALID where it is detached @internal */
export function bytesOfBuffer(what: string, buffer: ArrayBuffer): Uint8Array {
    try {
        return new Uint8Array(buffer);
    } catch (error) {
        throw new VeltaError('INVALID', `${what}: the ArrayBuffer is detached (it was transferred away)`, {
            cause: error,
        });
    }
}

/** The bytes that a string or bytes value will take. */
function measure(column: ColumnInfo, row: number, value: unknown): number {
    if (column.type === 'string') {
        if (typeof value !== 'string') throw typeError(column, row, value, 'a string');
        return utf8Bytes(value, `column '${column.name}', row ${row}: the string`);
    }
    if (!(value instanceof Uint8Array)) throw typeError(column, row, value, 'a Uint8Array');
    const bytes = elementCount(value);
    if (bytes === 0 && isDetached(value)) {
        throw invalid(
            `column '${column.name}', row ${row}: the ArrayBuffer is detached (it was transferred away)`,
            row,
        );
    }
    return bytes;
}

function writeVariable(instance: Instance, column: ColumnInfo, source: Source, valid: Address): Written {
    const { rows } = source;
    const offsets = instance.space((rows + 1) * 8);
    let total = 0;
    let nulls = 0;
    const place = offsets >>> 2;
    // Read once: what is measured must be what is written.
    const values = new Array<unknown>(rows);
    for (let row = 0; row < rows; row++) values[row] = source.at(row);
    const { u8, u32 } = instance; // a getter of the caller may have made the memory grow
    for (let row = 0; row < rows; row++) {
        u32[place + 2 * row] = total;
        u32[place + 2 * row + 1] = 0;
        const value = values[row];
        if (value === null || value === undefined) {
            u8[valid + (row >>> 3)] = (u8[valid + (row >>> 3)] as number) & ~(1 << (row & 7));
            nulls++;
        } else {
            total += measure(column, row, value);
        }
    }
    u32[place + 2 * rows] = total;
    u32[place + 2 * rows + 1] = 0;
    const data = instance.space(total);
    const words = instance.u32; // the memory may have grown
    for (let row = 0; row < rows; row++) {
        const start = words[place + 2 * row] as number;
        const bytes = (words[place + 2 * row + 2] as number) - start;
        if (bytes === 0) continue;
        const value = values[row];
        if (typeof value === 'string') instance.encode(value, data + start, bytes);
        else instance.u8.set(value as Uint8Array, data + start);
    }
    return { data, offsets, nulls };
}

/** Fills one struct velta_values. Gives how many values are NULL; with all of them, space is given back. */
function writeColumnValues(instance: Instance, at: Address, column: ColumnInfo, source: Source): number {
    const bitmapBytes = ((source.rows + 63) >> 6) * 8;
    const valid = instance.space(bitmapBytes);
    instance.u8.fill(0xff, valid, valid + bitmapBytes);
    const variable = column.type === 'string' || column.type === 'bytes';
    const written = (variable ? writeVariable : writeFixed)(instance, column, source, valid);
    setValues(instance, at, column, written.data, written.offsets, written.nulls > 0 ? valid : 0, 0);
    return written.nulls;
}

function setValues(
    instance: Instance,
    at: Address,
    column: ColumnInfo,
    data: Address,
    offsets: Address,
    valid: Address,
    element: number,
): void {
    const { u32 } = instance;
    u32[(at + VALUES_COLUMN) >>> 2] = column.address;
    u32[(at + VALUES_DATA) >>> 2] = data;
    u32[(at + VALUES_OFFSETS) >>> 2] = offsets;
    u32[(at + VALUES_VALID) >>> 2] = valid;
    u32[(at + VALUES_ELEMENT) >>> 2] = element;
}

// ---- rows

/** Refuses names that the table does not have. */
function checkNames(columns: ReadonlyMap<string, ColumnInfo>, row: object, index: number): void {
    for (const name in row) {
        if (!columns.has(name) && Object.hasOwn(row, name) && (row as Record<string, unknown>)[name] !== undefined) {
            throw unknownColumn(columns, name, `row ${index}`, index);
        }
    }
}

/** The error for a name that a table does not have. @internal */
export function unknownColumn(
    columns: ReadonlyMap<string, unknown>,
    name: unknown,
    where: string,
    offset?: number,
): VeltaError {
    const names = [...columns.keys()];
    const listed = names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
    return new VeltaError('UNKNOWN_COLUMN', `${where}: there is no column ${quoted(name)}; there are ${listed}`, {
        offset,
    });
}

/**
 * A batch from rows in argument space. A column that no row has is left out.
 * @param strict - refuse a column that only some rows have, as for an upsert, where absent means unchanged
 * @internal
 */
export function batchOfRows(
    instance: Instance,
    columns: ReadonlyMap<string, ColumnInfo>,
    given: readonly unknown[],
    strict: boolean,
): Batch {
    const rows = given.slice(); // a getter of a row may change the caller's
    for (let i = 0; i < rows.length; i++) {
        const row = rows[i];
        if (typeof row !== 'object' || row === null || Array.isArray(row) || ArrayBuffer.isView(row)) {
            throw invalid(`row ${i}: a row is an object of values by column name, not ${describe(row)}`, i);
        }
        checkNames(columns, row, i);
    }
    const values = instance.space(columns.size * VALUES_SIZE);
    let count = 0;
    for (const column of columns.values()) {
        const { name, inherited } = column;
        const at = (row: number): unknown => {
            const object = rows[row] as Record<string, unknown>;
            return inherited && !Object.hasOwn(object, name) ? undefined : object[name];
        };
        let present = 0;
        for (let row = 0; row < rows.length; row++) if (at(row) !== undefined) present++;
        if (present === 0) continue;
        if (strict && present < rows.length) {
            const missing = rows.findIndex((_, row) => at(row) === undefined);
            throw invalid(
                `row ${missing} lacks the column '${name}', which others have: rows of one call set the same columns ` +
                    '(null for none)',
                missing,
            );
        }
        writeColumnValues(instance, values + count++ * VALUES_SIZE, column, { rows: rows.length, at });
    }
    return { values, count, rows: rows.length };
}

// ---- columns

/** Values of one column for many rows. */
export type ColumnData =
    | readonly unknown[]
    | BigInt64Array
    | Float64Array
    | Float32Array
    | Int8Array
    | Int16Array
    | Int32Array
    | Uint8Array
    | Uint16Array
    | Uint32Array;

/**
 * Values by column: an array (null for NULL) or a typed array for each. `int`: BigInt64Array (copied as it is), another
 * typed array or numbers and bigints; `timestamp`: the same in milliseconds, or Dates; `float`: Float64Array (as it
 * is); `bool`: Uint8Array of 0 and 1, or booleans; `string`: strings; `bytes`: Uint8Arrays; `vector`: a Float32Array or
 * a Uint16Array of half-precision bits with rows × dimensions elements (as they are), or one vector per row.
 */
export type ColumnBatch = Readonly<Record<string, ColumnData | null | undefined>>;

type TypedColumn = Exclude<ColumnData, readonly unknown[]>;

function isTyped(data: ColumnData): data is TypedColumn {
    return ArrayBuffer.isView(data) && !(data instanceof DataView);
}

/** How many rows a column's data has. */
function rowsOfData(column: ColumnInfo, data: ColumnData): number {
    if (!Array.isArray(data) && !isTyped(data)) {
        throw invalid(`column '${column.name}': values are an array or a typed array, not ${describe(data)}`);
    }
    if (!isTyped(data)) return data.length;
    const count = elementCount(data);
    if (count === 0 && isDetached(data)) {
        throw invalid(`column '${column.name}': the ArrayBuffer is detached (it was transferred away)`);
    }
    if (column.type !== 'vector') return count;
    if (count % column.dimensions !== 0) {
        throw new VeltaError(
            'DIMENSIONS',
            `column '${column.name}': ${count} elements are not a whole number of vectors of ${column.dimensions}`,
        );
    }
    return count / column.dimensions;
}

/** Whether a typed array's bytes are what the engine takes. */
function isDirect(type: ColumnType, data: TypedColumn): boolean {
    switch (type) {
        case 'int':
        case 'timestamp':
            return data instanceof BigInt64Array;
        case 'float':
            return data instanceof Float64Array;
        case 'vector':
            return data instanceof Float32Array || data instanceof Uint16Array;
        case 'bool':
            return data instanceof Uint8Array;
        default:
            return false;
    }
}

function writeDirect(instance: Instance, at: Address, column: ColumnInfo, data: TypedColumn): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (column.type === 'bool') {
        const wrong = bytes.findIndex((value) => value > 1);
        if (wrong >= 0) throw typeError(column, wrong, bytes[wrong], '0 or 1');
    }
    const address = instance.space(bytes.length);
    instance.u8.set(bytes, address);
    setValues(instance, at, column, address, 0, 0, data instanceof Uint16Array ? ELEMENT_F16 : 0);
}

/**
 * A batch from columns in argument space.
 * @param rowCount - how many rows there are; without it the columns say
 * @internal
 */
export function batchOfColumns(
    instance: Instance,
    columns: ReadonlyMap<string, ColumnInfo>,
    batch: ColumnBatch,
    rowCount: number | undefined,
): Batch {
    if (typeof batch !== 'object' || batch === null || Array.isArray(batch)) {
        throw invalid(`a batch is an object of arrays by column name, not ${describe(batch)}`);
    }
    if (rowCount !== undefined && !(Number.isInteger(rowCount) && rowCount >= 0 && rowCount < TWO_32)) {
        throw invalid(`rowCount must be a whole number, not ${describe(rowCount)}`);
    }
    let rows = rowCount;
    let first = 'rowCount';
    const values = instance.space(columns.size * VALUES_SIZE);
    let count = 0;
    for (const name of Object.keys(batch)) {
        const column = columns.get(name);
        if (column === undefined) throw unknownColumn(columns, name, 'batch');
        const data = batch[name];
        if (data === undefined || data === null) continue;
        const here = rowsOfData(column, data);
        if (rows === undefined) {
            rows = here;
            first = `'${name}'`;
        }
        if (here !== rows) throw invalid(`column '${name}' has ${here} rows, but ${first} says ${rows}`);
        const at = values + count++ * VALUES_SIZE;
        if (isTyped(data) && isDirect(column.type, data)) {
            writeDirect(instance, at, column, data);
        } else if (isTyped(data) && (column.type === 'vector' || column.type === 'string' || column.type === 'bytes')) {
            throw typeError(column, 0, data, `an array of ${column.type} values`);
        } else {
            writeColumnValues(instance, at, column, { rows, at: (row) => data[row] });
        }
    }
    if (rows === undefined) throw invalid('the batch has no columns; give rowCount for rows of NULLs');
    return { values, count, rows };
}

// ---- results

/** Reads one column of a result. */
interface Reader {
    readonly name: string;
    readonly type: ColumnType;
    at(row: number): unknown;
}

/** An int64 in memory as a number, or as a bigint beyond 2^53. @internal */
export function readInt(instance: Instance, at: Address): number | bigint {
    const high = instance.i32[(at >>> 2) + 1] as number;
    if (high <= -0x200000 || high >= 0x200000) return safeOrBig(instance.i64[at >>> 3] as bigint);
    return high * TWO_32 + (instance.u32[at >>> 2] as number);
}

function safeOrBig(value: bigint): number | bigint {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
}

function readerOf(instance: Instance, type: ColumnType, at: Address, dimensions: number): (row: number) => unknown {
    const { u32, f64, u8, f32 } = instance;
    const data = u32[(at + VALUES_DATA) >>> 2] as number;
    const offsets = (u32[(at + VALUES_OFFSETS) >>> 2] as number) >>> 2;
    switch (type) {
        case 'int':
            return (row) => readInt(instance, data + row * 8);
        case 'timestamp':
            return (row) => new Date(Number(readInt(instance, data + row * 8)));
        case 'float':
            return (row) => f64[(data >>> 3) + row];
        case 'bool':
            return (row) => u8[data + row] === 1;
        case 'string':
            return (row) => {
                const start = u32[offsets + 2 * row] as number;
                return instance.text(data + start, (u32[offsets + 2 * row + 2] as number) - start);
            };
        case 'bytes':
            return (row) => {
                const start = u32[offsets + 2 * row] as number;
                return u8.slice(data + start, data + (u32[offsets + 2 * row + 2] as number));
            };
        case 'vector':
            return (row) => {
                const start = (data >>> 2) + row * dimensions;
                return f32.slice(start, start + dimensions);
            };
    }
}

/**
 * Readers of a result's columns, good until the next call that may make the memory grow.
 * @param info - the columns in the result's order, as far as they are the table's: for the length of vectors
 * @internal
 */
export function readers(
    instance: Instance,
    result: Address,
    columns: readonly { readonly name: string; readonly dimensions: number }[],
    typeNames: readonly (ColumnType | undefined)[],
): Reader[] {
    const mark = instance.top;
    const at = instance.space(VALUES_SIZE + 8);
    const found: Reader[] = [];
    instance.refresh();
    for (let i = 0; i < columns.length; i++) {
        instance.check(instance.exports.abi_result_column(result, i, at));
        const { u32, u8 } = instance;
        const { name, dimensions } = columns[i] as { name: string; dimensions: number };
        const type = typeNames[u32[(at + VALUES_SIZE) >>> 2] as number] as ColumnType;
        const valid = u32[(at + VALUES_VALID) >>> 2] as number;
        const value = readerOf(instance, type, at, dimensions);
        found.push({
            name,
            type,
            at:
                valid === 0
                    ? value
                    : (row) => (((u8[valid + (row >>> 3)] as number) >> (row & 7)) & 1 ? value(row) : null),
        });
    }
    instance.leave(mark);
    return found;
}

/** One row as an object. @internal */
export function rowOfReaders(columns: readonly Reader[], row: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    for (let i = 0; i < columns.length; i++) {
        const column = columns[i] as Reader;
        if (column.name === '__proto__') {
            const value = column.at(row);
            Object.defineProperty(object, column.name, { value, enumerable: true, configurable: true, writable: true });
        } else {
            object[column.name] = column.at(row);
        }
    }
    return object;
}

/** The address of a copy of the column names' addresses, for calls that take a list of columns. @internal */
export function columnList(instance: Instance, columns: readonly ColumnInfo[]): Address {
    const at = instance.space(columns.length * 4);
    const { u32 } = instance;
    for (let i = 0; i < columns.length; i++) u32[(at >>> 2) + i] = (columns[i] as ColumnInfo).address;
    return at;
}

/** Values of one column for the rows asked for; see `Table.getColumns`. */
export type ColumnArray =
    BigInt64Array | Float64Array | Uint8Array | Float32Array | (string | null)[] | (Uint8Array | null)[];

/** One column of a result as a typed array (or a plain one, for strings and bytes). @internal */
export function arrayOfReader(reader: Reader, rows: number, dimensions: number): ColumnArray {
    const fill = <T extends { [i: number]: unknown }>(out: T, of: (value: unknown) => unknown): T => {
        for (let row = 0; row < rows; row++) (out as Record<number, unknown>)[row] = of(reader.at(row));
        return out;
    };
    switch (reader.type) {
        case 'int':
            return fill(new BigInt64Array(rows), (v) => (v === null ? NULL_INT : BigInt(v as number | bigint)));
        case 'timestamp':
            return fill(new Float64Array(rows), (v) => (v === null ? NaN : (v as Date).getTime()));
        case 'float':
            return fill(new Float64Array(rows), (v) => (v === null ? NaN : v));
        case 'bool':
            return fill(new Uint8Array(rows), (v) => (v === null ? 255 : v === true ? 1 : 0));
        case 'vector': {
            const out = new Float32Array(rows * dimensions);
            for (let row = 0; row < rows; row++) {
                const value = reader.at(row) as Float32Array | null;
                if (value === null) out.fill(NaN, row * dimensions, (row + 1) * dimensions);
                else out.set(value, row * dimensions);
            }
            return out;
        }
        default:
            return fill(new Array<unknown>(rows), (v) => v) as (string | null)[];
    }
}

/** What stands for NULL in the BigInt64Array of an int column: the smallest int64. */
export const NULL_INT = -9_223_372_036_854_775_808n;
