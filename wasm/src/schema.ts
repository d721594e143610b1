/**
 * Column definitions: what users write, the types that rows get from them, and the engine's struct velta_column.
 */
import type { Address } from './abi.js';
import { checkOptions, describe, invalid, quoted } from './errors.js';
import {
    COLUMN_DIMENSIONS,
    COLUMN_EF_CONSTRUCTION,
    COLUMN_ELEMENT,
    COLUMN_M,
    COLUMN_METRIC,
    COLUMN_NAME,
    COLUMN_NO_INDEX,
    COLUMN_PRIMARY_KEY,
    COLUMN_REQUIRED,
    COLUMN_SEED,
    COLUMN_SIZE,
    COLUMN_TYPE,
} from './generated/layout.js';
import type { Instance } from './instance.js';

/** The types of columns that hold one value: `int` is 64-bit, `timestamp` has milliseconds, `string` is UTF-8. */
export type ScalarType = 'int' | 'float' | 'bool' | 'string' | 'timestamp' | 'bytes';
/** Every type of a column. */
export type ColumnType = ScalarType | 'vector';
/** How near two vectors are: `cosine` 1 - cos(a, b), `l2` the squared Euclidean distance, `dot` -(a · b). */
export type Metric = 'cosine' | 'l2' | 'dot';
/** What is kept of a vector: all of it, half precision, or only the index's 7-bit codes (reads are approximate). */
export type VectorElement = 'f32' | 'f16' | 'codes';

/** A column of one value per row. */
export interface ScalarColumn<T extends ScalarType = ScalarType> {
    readonly type: T;
    /** The table's primary key: unique and required; at most one column, `int` or `string`. Default false. */
    readonly key?: boolean;
    /** Whether NULL is refused. Default false. */
    readonly required?: boolean;
}

/** A column of one vector per row. */
export interface VectorColumn {
    readonly type: 'vector';
    /** Elements of each vector, 1 to 8192. */
    readonly dimensions: number;
    /** Default `cosine`. */
    readonly metric?: Metric;
    /** Default `f32`. */
    readonly element?: VectorElement;
    /** Whether a graph is kept for fast search; `false`: every search scans. Default true. */
    readonly index?: boolean;
    /** Links per node of the graph and level, 4 to 64. Default 16. */
    readonly m?: number;
    /** Candidates kept while a node is linked. Default 100. */
    readonly efConstruction?: number;
    /** Seed of the graph's levels. Default: the engine's. */
    readonly seed?: bigint;
    /** Whether NULL is refused. Default false. */
    readonly required?: boolean;
}

/** What stands for a column in a schema; the name of a scalar type is short for a column of it that may be NULL. */
export type ColumnDefinition = ScalarType | ScalarColumn | VectorColumn;
/** Column definitions by name, in the order of the columns. */
export type Schema = Readonly<Record<string, ColumnDefinition>>;

/** A scalar column with every option filled in. */
export interface FullScalarColumn {
    readonly type: ScalarType;
    readonly key: boolean;
    readonly required: boolean;
}
/** A vector column with every option filled in. */
export interface FullVectorColumn {
    readonly type: 'vector';
    readonly dimensions: number;
    readonly metric: Metric;
    readonly element: VectorElement;
    readonly index: boolean;
    readonly m: number;
    readonly efConstruction: number;
    readonly seed: bigint;
    readonly required: boolean;
}
/** A column as a table has it. */
export type FullColumn = FullScalarColumn | FullVectorColumn;

/** The primary key column of a table. */
export function key<const T extends 'int' | 'string'>(
    type: T,
): { readonly type: T; readonly key: true; readonly required: true } {
    return { type, key: true, required: true };
}

/** A scalar column that refuses NULL. */
export function required<const T extends ScalarType>(type: T): { readonly type: T; readonly required: true } {
    return { type, required: true };
}

/**
 * A vector column.
 * @param dimensions - elements of each vector, 1 to 8192
 */
export function vector<const O extends Omit<VectorColumn, 'type' | 'dimensions'> = Record<never, never>>(
    dimensions: number,
    options?: O,
): { readonly type: 'vector'; readonly dimensions: number } & O {
    return { ...options, type: 'vector', dimensions } as { readonly type: 'vector'; readonly dimensions: number } & O;
}

// ---- types of values

interface OutputTypes {
    int: number | bigint;
    float: number;
    bool: boolean;
    string: string;
    timestamp: Date;
    bytes: Uint8Array;
    vector: Float32Array;
}
interface InputTypes {
    int: number | bigint;
    float: number;
    bool: boolean;
    string: string;
    timestamp: Date | number;
    bytes: Uint8Array;
    vector: Float32Array | readonly number[];
}

/** The type of a definition: `TypeOf<'int'>` and `TypeOf<{ type: 'int' }>` are `'int'`. */
export type TypeOf<D> = D extends ColumnType ? D : D extends { readonly type: infer T extends ColumnType } ? T : never;
/** What reading a column of this definition gives when it is not NULL. */
export type ValueOut<D> = OutputTypes[TypeOf<D>];
/** What may be written to a column of this definition, NULL aside. */
export type ValueIn<D> = InputTypes[TypeOf<D>];
/** Names of the columns that always have a value. */
export type RequiredColumn<S> = {
    [C in keyof S]: S[C] extends { readonly key: true } | { readonly required: true } ? C : never;
}[keyof S];
/** Names of the columns of a schema. */
export type ColumnName<S> = keyof S & string;
/** Names of the columns of a schema that have one of these types. */
export type ColumnOfType<S, T extends ColumnType> = {
    [C in keyof S & string]: TypeOf<S[C]> & T extends never ? never : C;
}[keyof S & string];

type Flat<T> = { [K in keyof T]: T[K] };

/** A row as it is read: int is a number, or a bigint beyond 2^53; key and required columns are never null. */
export type RowOf<S extends Schema> = {
    [C in keyof S]: C extends RequiredColumn<S> ? ValueOut<S[C]> : ValueOut<S[C]> | null;
};
/** A row as it is written: key and required columns must be there, others may be missing, undefined or null. */
export type InsertOf<S extends Schema> = Flat<
    { -readonly [C in keyof S as C extends RequiredColumn<S> ? C : never]: ValueIn<S[C]> } & {
        -readonly [C in keyof S as C extends RequiredColumn<S> ? never : C]?: ValueIn<S[C]> | null | undefined;
    }
>;
type KeyTypes<S> = { [C in keyof S]: S[C] extends { readonly key: true } ? ValueIn<S[C]> : never }[keyof S];
/** What names a row: a value of the key column, or the row number where the table has none. */
export type KeyOf<S extends Schema> = string extends keyof S
    ? string | number | bigint
    : [KeyTypes<S>] extends [never]
      ? number
      : KeyTypes<S>;

// ---- checking, to and from the engine

const TYPES: readonly ColumnType[] = ['int', 'float', 'bool', 'string', 'timestamp', 'bytes', 'vector'];
const METRICS: readonly Metric[] = ['cosine', 'l2', 'dot'];
const ELEMENTS: readonly VectorElement[] = ['f32', 'f16', 'codes'];
const SCALAR_OPTIONS = ['type', 'key', 'required'];
const VECTOR_OPTIONS = ['type', 'dimensions', 'metric', 'element', 'index', 'm', 'efConstruction', 'seed', 'required'];
const MAX_DIMENSIONS = 8192;

/** The engine's number of a type is its place here. @internal */
export const TYPE_NAMES: readonly (ColumnType | undefined)[] = [undefined, ...TYPES];

function oneOf<T extends string>(where: string, option: string, value: unknown, known: readonly T[]): T {
    if (known.includes(value as T)) return value as T;
    throw invalid(`${where}: ${option} must be one of ${known.join(', ')}, not ${describe(value)}`);
}

function flag(where: string, option: string, value: unknown, otherwise: boolean): boolean {
    if (value === undefined) return otherwise;
    if (typeof value !== 'boolean') throw invalid(`${where}: ${option} must be true or false, not ${describe(value)}`);
    return value;
}

function whole(where: string, option: string, value: unknown, least: number, most: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
        throw invalid(`${where}: ${option} must be a whole number from ${least} to ${most}, not ${describe(value)}`);
    }
    return value;
}

function fullVector(where: string, given: VectorColumn): FullVectorColumn {
    checkOptions(where, given, VECTOR_OPTIONS);
    const { seed = 0n, m = 16, efConstruction = 100 } = given;
    if (typeof seed !== 'bigint' || seed < 0n || seed >= 1n << 64n) {
        throw invalid(`${where}: seed must be a bigint of 64 bits, not ${describe(seed)}`);
    }
    return {
        type: 'vector',
        dimensions: whole(where, 'dimensions', given.dimensions, 1, MAX_DIMENSIONS),
        metric: oneOf(where, 'metric', given.metric ?? 'cosine', METRICS),
        element: oneOf(where, 'element', given.element ?? 'f32', ELEMENTS),
        index: flag(where, 'index', given.index, true),
        m: whole(where, 'm', m, 4, 64),
        efConstruction: whole(where, 'efConstruction', efConstruction, 1, 0xffffffff),
        seed,
        required: flag(where, 'required', given.required, false),
    };
}

/** A definition with every option filled in. @throws {VeltaError} INVALID naming the column @internal */
export function fullColumn(name: string, definition: unknown): FullColumn {
    if (typeof name !== 'string') throw invalid(`a column name is a string, not ${describe(name)}`);
    const where = `column ${quoted(name)}`;
    const given = typeof definition === 'string' ? { type: definition } : definition;
    if (typeof given !== 'object' || given === null) {
        throw invalid(`${where}: a definition is a type's name or an object with a type, not ${describe(definition)}`);
    }
    const type = oneOf(where, 'type', (given as { type?: unknown }).type, TYPES);
    if (type === 'vector') return fullVector(where, given as VectorColumn);
    checkOptions(where, given, SCALAR_OPTIONS);
    const options = given as ScalarColumn;
    const isKey = flag(where, 'key', options.key, false);
    if (isKey && type !== 'int' && type !== 'string') {
        throw invalid(`${where}: a key is int or string, not ${type}`);
    }
    if (isKey && options.required === false) throw invalid(`${where}: a key is always required`);
    return { type, key: isKey, required: isKey || flag(where, 'required', options.required, false) };
}

/** All columns of a schema in order. @throws {VeltaError} INVALID naming what is wrong @internal */
export function fullSchema(table: string, schema: unknown): Map<string, FullColumn> {
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
        throw invalid(`table '${table}': a schema is an object of columns by name, not ${describe(schema)}`);
    }
    const columns = new Map<string, FullColumn>();
    for (const [name, definition] of Object.entries(schema)) columns.set(name, fullColumn(name, definition));
    if (columns.size === 0) throw invalid(`table '${table}': a schema needs at least one column`);
    const keys = [...columns].filter(([, column]) => isKey(column)).map(([name]) => name);
    if (keys.length > 1) throw invalid(`table '${table}': one column can be the key, not ${keys.join(' and ')}`);
    return columns;
}

/** Whether a column is the primary key. @internal */
export function isKey(column: FullColumn): boolean {
    return column.type !== 'vector' && column.key;
}

/** Writes one struct velta_column. @internal */
export function writeColumn(instance: Instance, address: Address, name: string, column: FullColumn): void {
    const text = instance.cString(name, `the column name ${quoted(name.replaceAll('\0', '\\0'))}`);
    instance.u8.fill(0, address, address + COLUMN_SIZE);
    const { u8, u32, i64 } = instance;
    u32[(address + COLUMN_NAME) >>> 2] = text;
    u32[(address + COLUMN_TYPE) >>> 2] = TYPE_NAMES.indexOf(column.type);
    u8[address + COLUMN_REQUIRED] = column.required ? 1 : 0;
    if (column.type !== 'vector') {
        u8[address + COLUMN_PRIMARY_KEY] = column.key ? 1 : 0;
        return;
    }
    u32[(address + COLUMN_DIMENSIONS) >>> 2] = column.dimensions;
    u32[(address + COLUMN_ELEMENT) >>> 2] = ELEMENTS.indexOf(column.element);
    u32[(address + COLUMN_METRIC) >>> 2] = METRICS.indexOf(column.metric);
    u8[address + COLUMN_NO_INDEX] = column.index ? 0 : 1;
    u32[(address + COLUMN_M) >>> 2] = column.m;
    u32[(address + COLUMN_EF_CONSTRUCTION) >>> 2] = column.efConstruction;
    i64[(address + COLUMN_SEED) >>> 3] = BigInt.asIntN(64, column.seed);
}

/** Reads one struct velta_column. @internal */
export function readColumn(instance: Instance, address: Address): { name: string; column: FullColumn } {
    const { u8, u32, i64 } = instance;
    const word = (offset: number): number => u32[(address + offset) >>> 2] as number;
    const name = instance.cText(word(COLUMN_NAME));
    const type = TYPE_NAMES[word(COLUMN_TYPE)] as ColumnType;
    const required = u8[address + COLUMN_REQUIRED] === 1;
    if (type !== 'vector') {
        const isPrimary = u8[address + COLUMN_PRIMARY_KEY] === 1;
        return { name, column: Object.freeze({ type, key: isPrimary, required: required || isPrimary }) };
    }
    const column: FullVectorColumn = {
        type,
        dimensions: word(COLUMN_DIMENSIONS),
        metric: METRICS[word(COLUMN_METRIC)] as Metric,
        element: ELEMENTS[word(COLUMN_ELEMENT)] as VectorElement,
        index: u8[address + COLUMN_NO_INDEX] === 0,
        m: word(COLUMN_M),
        efConstruction: word(COLUMN_EF_CONSTRUCTION),
        seed: BigInt.asUintN(64, i64[(address + COLUMN_SEED) >>> 3] as bigint),
        required,
    };
    return { name, column: Object.freeze(column) };
}

/**
 * What differs between a definition that is asked for and the column that is there, in words; null if nothing does.
 * Options of the graph that the definition leaves out are not compared.
 * @internal
 */
export function difference(definition: ColumnDefinition, wanted: FullColumn, present: FullColumn): string | null {
    const given = new Set(typeof definition === 'string' ? ['type'] : Object.keys(definition));
    for (const option of Object.keys(wanted)) {
        if ((option === 'm' || option === 'efConstruction' || option === 'seed') && !given.has(option)) continue;
        const has = (present as unknown as Record<string, unknown>)[option];
        const asked = (wanted as unknown as Record<string, unknown>)[option];
        if (has !== asked) return `its ${option} is ${String(has)}, not ${String(asked)}`;
    }
    return null;
}
