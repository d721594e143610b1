/**
 * Rows of the engine as Arrow IPC. What the engine gives of a column is nearly what Arrow has: bits that say which
 * values are there, offsets, values. It is copied out of the module's memory buffer by buffer; flechette writes the
 * metadata around it.
 */
import type { ArrowSchema } from '@uwdata/flechette/src/decode/message.js';
import { Builder } from '@uwdata/flechette/src/encode/builder.js';
import { writeFooter } from '@uwdata/flechette/src/encode/footer.js';
import { type Block, writeMessage } from '@uwdata/flechette/src/encode/message.js';
import { encodeRecordBatch } from '@uwdata/flechette/src/encode/record-batch.js';
import { encodeSchema } from '@uwdata/flechette/src/encode/schema.js';
import type { Address } from '../abi.js';
import { VeltaError } from '../errors.js';
import { VALUES_DATA, VALUES_OFFSETS, VALUES_SIZE, VALUES_VALID } from '../generated/layout.js';
import type { Instance } from '../instance.js';
import type { ColumnData, ColumnInfo } from '../values.js';
import { RECORDS, SCHEMA } from './verify.js';
import { fieldOf } from './types.js';

const MAGIC = Uint8Array.of(0x41, 0x52, 0x52, 0x4f, 0x57, 0x31, 0, 0); // ARROW1
const END = Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0);
const MOST_BYTES = 0x7fffffff;

/** One column of a batch: its rows, its values' bits (empty: all are there), and its other buffers. @internal */
export interface EncodedColumn {
    readonly column: ColumnInfo;
    readonly rows: number;
    readonly nullCount: number;
    readonly valid: Uint8Array;
    /** Of text and bytes; else null. */
    readonly offsets: Int32Array | null;
    /** Int64, float64 and so on as they lie in memory; of a bool one byte each. */
    readonly data: Uint8Array;
}

function bitCount(bits: Uint8Array): number {
    let count = 0;
    for (let byte of bits) for (; byte !== 0; byte &= byte - 1) count++;
    return count;
}

/** Copies the columns of a result out of the module's memory. @throws {VeltaError} LIMIT @internal */
export function encodeResult(
    instance: Instance,
    result: Address,
    columns: readonly ColumnInfo[],
    rows: number,
): EncodedColumn[] {
    const mark = instance.top;
    const at = instance.space(VALUES_SIZE + 8);
    instance.refresh();
    const encoded = columns.map((column, i) => {
        instance.check(instance.exports.abi_result_column(result, i, at));
        const { u8, u32 } = instance;
        const [data, offsets, valid] = [VALUES_DATA, VALUES_OFFSETS, VALUES_VALID].map(
            (field) => u32[(at + field) >>> 2] as number,
        ) as [number, number, number];
        const bits = valid === 0 ? new Uint8Array(0) : u8.slice(valid, valid + ((rows + 7) >>> 3));
        if (valid !== 0 && (rows & 7) !== 0) {
            bits[bits.length - 1] = (bits[bits.length - 1] as number) & ((1 << (rows & 7)) - 1);
        }
        const nullCount = valid === 0 ? 0 : rows - bitCount(bits);
        const shared = { column, rows, nullCount, valid: nullCount === 0 ? new Uint8Array(0) : bits };
        if (column.type === 'string' || column.type === 'bytes') {
            const starts = new Int32Array(rows + 1);
            for (let row = 0; row <= rows; row++) {
                const start = u32[(offsets >>> 2) + 2 * row] as number;
                if (start > MOST_BYTES) throw tooLong(column);
                starts[row] = start;
            }
            return { ...shared, offsets: starts, data: u8.slice(data, data + (starts[rows] as number)) };
        }
        const width = column.type === 'vector' ? column.dimensions * 4 : column.type === 'bool' ? 1 : 8;
        return { ...shared, offsets: null, data: u8.slice(data, data + rows * width) };
    });
    instance.leave(mark);
    return encoded;
}

function tooLong(column: ColumnInfo): VeltaError {
    return new VeltaError(
        'LIMIT',
        `column '${column.name}' has more than 2 GiB in one batch: give a smaller batchSize`,
    );
}

/** Rows of columns by their places. @internal */
export function pickRows(columns: readonly EncodedColumn[], places: Uint32Array): EncodedColumn[] {
    return columns.map((from) => {
        const rows = places.length;
        const valid = new Uint8Array(from.nullCount === 0 ? 0 : (rows + 7) >>> 3);
        let nullCount = 0;
        if (from.nullCount > 0) {
            places.forEach((place, i) => {
                if ((((from.valid[place >>> 3] as number) >> (place & 7)) & 1) === 0) nullCount++;
                else valid[i >>> 3] = (valid[i >>> 3] as number) | (1 << (i & 7));
            });
        }
        const shared = { column: from.column, rows, nullCount, valid: nullCount === 0 ? new Uint8Array(0) : valid };
        const source = from.offsets;
        if (source === null) {
            const width = from.data.length / from.rows;
            const data = new Uint8Array(rows * width);
            places.forEach((place, i) => data.set(from.data.subarray(place * width, (place + 1) * width), i * width));
            return { ...shared, offsets: null, data };
        }
        const offsets = new Int32Array(rows + 1);
        places.forEach((place, i) => {
            offsets[i + 1] = (offsets[i] as number) + (source[place + 1] as number) - (source[place] as number);
        });
        const data = new Uint8Array(offsets[rows] as number);
        places.forEach((place, i) => data.set(from.data.subarray(source[place], source[place + 1]), offsets[i]));
        return { ...shared, offsets, data };
    });
}

const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** A column's values in the form that a table takes. @internal */
export function columnData({ column, rows, nullCount, valid, offsets, data }: EncodedColumn): ColumnData {
    const isThere = (row: number): boolean =>
        nullCount === 0 || (((valid[row >>> 3] as number) >> (row & 7)) & 1) === 1;
    if (offsets !== null) {
        return Array.from({ length: rows }, (_, row) => {
            if (!isThere(row)) return null;
            const bytes = data.subarray(offsets[row], offsets[row + 1]);
            return column.type === 'string' ? textDecoder.decode(bytes) : bytes;
        });
    }
    if (column.type === 'bool') {
        return nullCount === 0 ? data : Array.from(data, (bit, row) => (isThere(row) ? bit === 1 : null));
    }
    const values = column.type === 'float' ? new Float64Array(data.buffer) : new BigInt64Array(data.buffer);
    if (nullCount === 0) return values;
    const isTime = column.type === 'timestamp';
    return Array.from({ length: rows }, (_, row) => {
        if (!isThere(row)) return null;
        return isTime ? Number(values[row]) : values[row];
    });
}

/** Bools as Arrow has them: a bit each. */
function bitsOf(bytes: Uint8Array): Uint8Array {
    const bits = new Uint8Array((bytes.length + 7) >>> 3);
    bytes.forEach((byte, i) => {
        if (byte !== 0) bits[i >>> 3] = (bits[i >>> 3] as number) | (1 << (i & 7));
    });
    return bits;
}

function asBytes(array: Int32Array): Uint8Array {
    return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Writes a file or a stream: `start`, batches, `end` each give the bytes to write next. @internal */
export class ArrowWriter {
    readonly #isFile: boolean;
    readonly #schema: ArrowSchema;
    readonly #parts: Uint8Array[] = [];
    readonly #blocks: Block[] = [];
    readonly #builder = new Builder({ write: (bytes) => void this.#parts.push(bytes) });

    constructor(columns: readonly ColumnInfo[], isFile: boolean) {
        this.#isFile = isFile;
        this.#schema = { endianness: 0, fields: columns.map(({ name, full }) => fieldOf(name, full)) };
    }

    #take(): Uint8Array<ArrayBuffer> {
        const out = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
        let at = 0;
        for (const part of this.#parts.splice(0)) {
            out.set(part, at);
            at += part.length;
        }
        return out;
    }

    start(): Uint8Array<ArrayBuffer> {
        if (this.#isFile) this.#builder.addBuffer(MAGIC);
        writeMessage(this.#builder, SCHEMA, encodeSchema(this.#builder, this.#schema), 0);
        return this.#take();
    }

    /** @throws {VeltaError} LIMIT */
    batch(columns: readonly EncodedColumn[]): Uint8Array<ArrayBuffer> {
        const nodes: { length: number; nullCount: number }[] = [];
        const buffers: Uint8Array[] = [];
        for (const { column, rows, nullCount, valid, offsets, data } of columns) {
            nodes.push({ length: rows, nullCount });
            buffers.push(valid);
            if (offsets !== null) buffers.push(asBytes(offsets), data);
            else if (column.type === 'bool') buffers.push(bitsOf(data));
            else if (column.type !== 'vector') buffers.push(data);
            else {
                nodes.push({ length: rows * column.dimensions, nullCount: 0 });
                buffers.push(new Uint8Array(0), data);
            }
        }
        let end = 0;
        const regions = buffers.map(({ length }) => {
            const region = { offset: end, length };
            end += Math.ceil(length / 8) * 8;
            return region;
        });
        const header = encodeRecordBatch(this.#builder, { nodes, regions });
        writeMessage(this.#builder, RECORDS, header, end, this.#blocks);
        for (const buffer of buffers) this.#builder.addBuffer(buffer);
        return this.#take();
    }

    end(): Uint8Array<ArrayBuffer> {
        this.#builder.addBuffer(END);
        if (this.#isFile) writeFooter(this.#builder, this.#schema, [], this.#blocks);
        return this.#take();
    }
}
