/**
 * How Arrow's types become the engine's, and the engine's Arrow's.
 *
 *   Int8 … Int64, UInt8 … UInt64              int; an unsigned value beyond 63 bits is LIMIT when it is met
 *   Float16, Float32, Float64                 float
 *   Bool                                      bool
 *   Utf8, LargeUtf8, Utf8View                 string
 *   Binary, LargeBinary, BinaryView, FixedSizeBinary   bytes
 *   Date32, Date64, Timestamp (s, ms, µs, ns) timestamp, rounded down to the millisecond; without a time zone it is UTC
 *   List, LargeList, FixedSizeList of floats  vector
 *   Dictionary of any of these but lists      as its values
 *   Null                                      NULL in a column of any type
 * Decimal, Time, Duration, Interval, Struct, Map, Union, RunEndEncoded, list views and other lists are refused.
 */
import {
    bool,
    binary,
    field,
    fixedSizeList,
    float32,
    float64,
    int64,
    timestamp,
    utf8,
} from '@uwdata/flechette/src/data-types.js';
import type { ArrowField, ArrowType } from '@uwdata/flechette/src/decode/message.js';
import type { ColumnType, FullColumn } from '../schema.js';

/** Numbers of Arrow's types. @internal */
export const Type = {
    Dictionary: -1,
    Null: 1,
    Int: 2,
    Float: 3,
    Binary: 4,
    Utf8: 5,
    Bool: 6,
    Decimal: 7,
    Date: 8,
    Time: 9,
    Timestamp: 10,
    Interval: 11,
    List: 12,
    Struct: 13,
    Union: 14,
    FixedSizeBinary: 15,
    FixedSizeList: 16,
    Map: 17,
    Duration: 18,
    LargeBinary: 19,
    LargeUtf8: 20,
    LargeList: 21,
    RunEndEncoded: 22,
    BinaryView: 23,
    Utf8View: 24,
    ListView: 25,
    LargeListView: 26,
} as const;

const NAMES = new Map(Object.entries(Type).map(([name, number]) => [number as number, name]));
const MILLISECOND = 1;

/** A type in words, for messages. @internal */
export function typeName(type: ArrowType): string {
    const name = NAMES.get(type.typeId) ?? `type ${type.typeId}`;
    const inner = type.dictionary ?? type.children?.[0]?.type;
    const of =
        inner === undefined || type.typeId === Type.Struct || type.typeId === Type.Union
            ? ''
            : ` of ${typeName(inner)}`;
    return `${name}${of}`;
}

/**
 * The engine's type of a field; undefined: it is refused; null: it holds nothing but NULL.
 * @internal
 */
export function columnTypeOf(type: ArrowType): ColumnType | null | undefined {
    switch (type.typeId) {
        case Type.Null:
            return null;
        case Type.Int:
            return 'int';
        case Type.Float:
            return 'float';
        case Type.Bool:
            return 'bool';
        case Type.Utf8:
        case Type.LargeUtf8:
        case Type.Utf8View:
            return 'string';
        case Type.Binary:
        case Type.LargeBinary:
        case Type.BinaryView:
            return 'bytes';
        case Type.FixedSizeBinary:
            return (type.stride ?? 0) > 0 ? 'bytes' : undefined;
        case Type.Date:
        case Type.Timestamp:
            return 'timestamp';
        case Type.List:
        case Type.LargeList:
        case Type.FixedSizeList:
            return type.children?.[0]?.type.typeId === Type.Float ? 'vector' : undefined;
        case Type.Dictionary: {
            const inner = type.dictionary === undefined ? undefined : columnTypeOf(type.dictionary);
            return inner === 'vector' || inner === null ? undefined : inner;
        }
        default:
            return undefined;
    }
}

/** The field that a column is written as. @internal */
export function fieldOf(name: string, full: FullColumn): ArrowField {
    const types: Record<ColumnType, () => ArrowType> = {
        int: int64,
        float: float64,
        bool,
        string: utf8,
        bytes: binary,
        timestamp: () => timestamp(MILLISECOND, 'UTC'),
        vector: () => fixedSizeList(field('item', float32(), false), full.type === 'vector' ? full.dimensions : 0),
    };
    return field(name, types[full.type](), !full.required);
}
