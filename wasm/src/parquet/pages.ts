/**
 * Pages of a column chunk to the values of the rows that are wanted.
 *
 * A ColumnDecoder is given the pages of one chunk in order. A page without a wanted row is not unpacked. What a page
 * says about itself is compared with what the footer says about the group before anything is reserved, and everything
 * reserved is charged to the budget.
 */
import { parquetHeader } from 'hyparquet/src/column.js';
import type { PageHeader } from 'hyparquet';
import { VeltaError } from '../errors.js';
import type { Allocation, MemoryBudget } from '../ranges/memory_budget.js';
import type { ColumnType } from '../schema.js';
import { type Decompressor, unpack } from './compression.js';
import {
    CHARGED_BYTES,
    Cursor,
    type PageValues,
    corrupt,
    readByteStreamSplit,
    readDelta,
    readDeltaBytes,
    readDeltaLength,
    readHybrid,
    readPlain,
} from './encodings.js';
import { type Chunk, type Column, checkThrift } from './footer.js';

/**
 * Values of one column, in the form that `Table.insertColumns` takes: a typed array where no value is NULL (int:
 * BigInt64Array; timestamp: BigInt64Array of milliseconds; float: Float64Array; bool: Uint8Array; vector: one
 * Float32Array, rows × dimensions), else an array with null.
 */
export type ParquetValues =
    | BigInt64Array
    | Float64Array
    | Float32Array
    | Uint8Array
    | (string | null)[]
    | (bigint | null)[]
    | (number | null)[]
    | (boolean | null)[]
    | (Uint8Array | null)[]
    | (Float32Array | null)[];

/** What a decoder needs to know. @internal */
export interface DecodeOptions {
    readonly column: Column;
    readonly chunk: Chunk;
    readonly groupRows: number;
    /** Rows of the group, ascending; null: all. */
    readonly wanted: Uint32Array | null;
    /** The type to decode to: the column's, or vector for fixed bytes. */
    readonly type: ColumnType;
    /** Of vectors; 0: the first one says. */
    readonly dimensions: number;
    readonly budget: MemoryBudget;
    readonly decompressors: Readonly<Record<string, Decompressor>>;
}

/** A page as it lies in the chunk. @internal */
export interface RawPage {
    readonly header: PageHeader;
    readonly body: Uint8Array;
    /** Offset of what follows it. */
    readonly next: number;
}

/** The page at an offset. @throws {VeltaError} CORRUPT @internal */
export function readPageAt(bytes: Uint8Array, offset: number): RawPage {
    const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset };
    let header: PageHeader;
    checkThrift(bytes, offset, 'a page has no header');
    try {
        header = parquetHeader(reader);
    } catch (error) {
        throw corrupt(`a page has no header (${String(error)})`);
    }
    const size = header.compressed_page_size;
    if (!Number.isInteger(size) || size < 0 || size > bytes.length - reader.offset) {
        throw corrupt(`a page says that it has ${String(size)} bytes`);
    }
    const next = reader.offset + size;
    return { header, body: bytes.subarray(reader.offset, next), next };
}

type Targets = BigInt64Array | Float64Array | Float32Array | Uint8Array | Uint8Array[] | string[];

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string {
    try {
        return text.decode(bytes);
    } catch {
        throw corrupt('a text is no UTF-8');
    }
}

function floorDivide(value: bigint, by: bigint): bigint {
    const quotient = value / by;
    return value % by < 0n ? quotient - 1n : quotient;
}

/** Integers of any kind as 64 bits in the engine's unit. @throws {VeltaError} LIMIT @internal */
export function integers(values: Int32Array | BigInt64Array, { rule, name }: Column): BigInt64Array {
    if (values instanceof Int32Array) {
        const out = new BigInt64Array(values.length);
        const words = new Int32Array(out.buffer);
        for (let i = 0; i < values.length; i++) {
            const value = values[i] as number;
            words[2 * i] = value;
            words[2 * i + 1] = rule === 'unsigned' ? 0 : value >> 31;
        }
        return rule === 'days' ? out.map((days) => days * 86_400_000n) : out;
    }
    switch (rule) {
        case 'unsigned':
            if (values.some((value) => value < 0n)) {
                throw new VeltaError('LIMIT', `column '${name}' holds a number beyond 9223372036854775807`);
            }
            return values;
        case 'micros':
            return values.map((value) => floorDivide(value, 1000n));
        case 'nanos':
            return values.map((value) => floorDivide(value, 1_000_000n));
        default:
            return values;
    }
}

const FLOATS = 4;
const MOST_DIMENSIONS = 8192;

/** Decodes the pages of one chunk. @internal */
export class ColumnDecoder {
    readonly #options: DecodeOptions;
    /** Charged until the page is done. */
    readonly #ofPage: Allocation[] = [];
    /** Charged until the end. */
    readonly #lasting: Allocation[] = [];
    readonly #count: number;
    #out: Targets | null = null;
    #valid: Uint8Array | null = null;
    #dictionary: Targets | null = null;
    /** The dictionary's values as texts, each made when a row wants it. */
    #texts: (string | undefined)[] = [];
    #filled = 0;
    /** The row after those that were seen. */
    #row = 0;
    #valuesSeen = 0;
    #dimensions: number;
    /** Elements of a wanted list, which may go on in the next page. */
    readonly #pending: number[] = [];
    #isReading = false;

    /** @throws {VeltaError} OVER_BUDGET */
    constructor(options: DecodeOptions) {
        this.#options = options;
        this.#count = options.wanted === null ? options.groupRows : options.wanted.length;
        this.#dimensions = options.dimensions;
    }

    #charge(bytes: number, what: string, to: Allocation[] = this.#ofPage): void {
        to.push(this.#options.budget.allocate(bytes, `column '${this.#options.column.name}', ${what},`));
    }

    /** Gives back what is charged. */
    release(): void {
        for (const each of [...this.#ofPage.splice(0), ...this.#lasting.splice(0)]) each.release();
    }

    get isDone(): boolean {
        return this.#filled === this.#count && !this.#isReading;
    }

    // ---- pages

    /**
     * Takes the next page.
     * @param firstRow - of the page in its group, where an index says it
     * @throws {VeltaError} CORRUPT, UNSUPPORTED, OVER_BUDGET, LIMIT, DIMENSIONS, NOT_NULL
     */
    take(page: RawPage, firstRow: number | null): void {
        if (firstRow !== null) {
            this.#endList();
            this.#row = firstRow;
        }
        const { header } = page;
        switch (header.type) {
            case 'DICTIONARY_PAGE':
                return this.#takeDictionary(page);
            case 'DATA_PAGE':
            case 'DATA_PAGE_V2':
                return this.#takeData(page);
            case 'INDEX_PAGE':
                return undefined;
            default:
                throw corrupt('a page is of no known kind');
        }
    }

    #unpacked(body: Uint8Array, length: number): Uint8Array {
        const { chunk, decompressors } = this.#options;
        if (!Number.isInteger(length) || length < 0 || length > chunk.uncompressedBytes) {
            throw corrupt(`a page says that it unpacks to ${String(length)} bytes`);
        }
        this.#charge(length, 'a page');
        // Both lie in the memory of zstd's module while it runs.
        const { budget, column } = this.#options;
        const inside = chunk.codec === 'ZSTD' ? body.length + length : 0;
        const room = budget.allocate(inside, `column '${column.name}', unpacking a page,`);
        try {
            return unpack(chunk.codec, body, length, decompressors);
        } finally {
            room.release();
        }
    }

    #takeDictionary({ header, body }: RawPage): void {
        const head = header.dictionary_page_header;
        const count = head?.num_values ?? -1;
        if (this.#dictionary !== null || !(count >= 0 && count <= this.#options.chunk.valueCount)) {
            throw corrupt('a dictionary is not what its chunk says');
        }
        const { column, type } = this.#options;
        const bytes = this.#unpacked(body, header.uncompressed_page_size);
        this.#charge(bytes.length * 2 + count * (type === 'string' ? 16 : 8), 'its dictionary');
        this.#dictionary = this.#targets(readPlain(new Cursor(bytes), column.physical, column.typeLength, count));
        if (type === 'string') this.#texts = new Array<string | undefined>(count);
        this.#lasting.push(...this.#ofPage.splice(0));
    }

    #takeData({ header, body }: RawPage): void {
        const { column, chunk, groupRows } = this.#options;
        const v2 = header.data_page_header_v2;
        const head = header.type === 'DATA_PAGE' ? header.data_page_header : v2;
        if (head === undefined) throw corrupt('a page has no header of its kind');
        const count = head.num_values;
        this.#valuesSeen += count;
        if (!(Number.isInteger(count) && count >= 0) || this.#valuesSeen > chunk.valueCount) {
            throw corrupt('a chunk has more values than it says');
        }
        if (column.maxRepetition === 0) {
            if (this.#row + count > groupRows) throw corrupt('a chunk has more rows than its group');
            if (!this.#wants(this.#row, this.#row + count)) {
                this.#row += count;
                return;
            }
        }
        this.#charge(count * (FLOATS + 2), 'levels');
        const { levels, cursor } =
            v2 === undefined || header.type === 'DATA_PAGE'
                ? this.#levelsV1(header, body, count)
                : this.#levelsV2(header, body, count);
        const present = levels.definitions === null ? count : countPresent(levels.definitions, column.maxDefinition);
        const values = this.#values(cursor, String(head.encoding), present);
        const definitions = present === count ? null : levels.definitions;
        if (column.maxRepetition === 0) this.#fill(values, definitions, count);
        else this.#fillLists(values, definitions, levels.repetitions as Uint8Array);
        for (const each of this.#ofPage.splice(0)) each.release();
    }

    /** Whether a row from `start` to before `end` is wanted that is not there yet. */
    #wants(start: number, end: number): boolean {
        const { wanted } = this.#options;
        if (wanted === null) return end > start;
        const next = wanted[this.#filled];
        return next !== undefined && next < end;
    }

    #levelsV1(header: PageHeader, body: Uint8Array, count: number): { levels: Levels; cursor: Cursor } {
        const { column } = this.#options;
        const bytes = this.#unpacked(body, header.uncompressed_page_size);
        const cursor = new Cursor(bytes);
        const read = (most: number): Uint8Array | null => {
            if (most === 0) return null;
            const levels = new Uint8Array(count);
            readHybrid(new Cursor(cursor.take(cursor.u32())), 32 - Math.clz32(most), levels);
            return levels;
        };
        const repetitions = read(column.maxRepetition);
        return { levels: { repetitions, definitions: read(column.maxDefinition) }, cursor };
    }

    #levelsV2(header: PageHeader, body: Uint8Array, count: number): { levels: Levels; cursor: Cursor } {
        const { column } = this.#options;
        const head = header.data_page_header_v2 as NonNullable<PageHeader['data_page_header_v2']>;
        const raw = new Cursor(body);
        const read = (most: number, length: number): Uint8Array | null => {
            const bytes = raw.take(length ?? 0);
            if (most === 0) return null;
            const levels = new Uint8Array(count);
            readHybrid(new Cursor(bytes), 32 - Math.clz32(most), levels);
            return levels;
        };
        const repetitions = read(column.maxRepetition, head.repetition_levels_byte_length);
        const definitions = read(column.maxDefinition, head.definition_levels_byte_length);
        const rest = raw.take(raw.left);
        const length = header.uncompressed_page_size - (body.length - rest.length);
        if (head.is_compressed === false) {
            if (rest.length !== length) throw corrupt('a page has another length than it says');
            return { levels: { repetitions, definitions }, cursor: new Cursor(rest) };
        }
        return { levels: { repetitions, definitions }, cursor: new Cursor(this.#unpacked(rest, length)) };
    }

    // ---- values

    /** Values in the form that the result has; texts stay bytes until they are wanted. */
    #targets(values: PageValues): Targets {
        const { type, column } = this.#options;
        switch (type) {
            case 'int':
            case 'timestamp':
                return integers(values as Int32Array | BigInt64Array, column);
            case 'float':
                return values instanceof Float32Array ? new Float64Array(values) : (values as Float64Array);
            case 'vector':
                return values instanceof Float64Array ? new Float32Array(values) : (values as Float32Array);
            default:
                return values as Targets;
        }
    }

    #values(cursor: Cursor, encoding: string, count: number): Values {
        const isIndexed = encoding === 'RLE_DICTIONARY' || encoding === 'PLAIN_DICTIONARY';
        return isIndexed ? this.#indexed(cursor, count) : { of: this.#own(cursor, encoding, count), places: null };
    }

    /** Values that the page holds itself. */
    #own(cursor: Cursor, encoding: string, count: number): Targets {
        const { column, chunk, type } = this.#options;
        const { physical, typeLength } = column;
        this.#charge(count * 8, 'values');
        switch (encoding) {
            case 'PLAIN':
                return this.#targets(readPlain(cursor, physical, typeLength, count));
            case 'RLE': {
                if (physical !== 'BOOLEAN') break;
                const bits = new Uint8Array(count);
                readHybrid(new Cursor(cursor.take(cursor.u32())), 1, bits);
                return bits;
            }
            case 'BYTE_STREAM_SPLIT':
                if (physical === 'BYTE_ARRAY' || physical === 'BOOLEAN') break;
                return this.#targets(readByteStreamSplit(cursor, physical, typeLength, count));
            case 'DELTA_BINARY_PACKED': {
                if (physical !== 'INT32' && physical !== 'INT64') break;
                const values = readDelta(cursor, count);
                return this.#targets(
                    physical === 'INT32' ? Int32Array.from(values, (v) => Number(BigInt.asIntN(32, v))) : values,
                );
            }
            case 'DELTA_LENGTH_BYTE_ARRAY':
                if (type !== 'string' && type !== 'bytes') break;
                return readDeltaLength(cursor, count);
            case 'DELTA_BYTE_ARRAY': {
                if (physical !== 'BYTE_ARRAY' && physical !== 'FIXED_LEN_BYTE_ARRAY') break;
                const most = Math.max(1 << 20, chunk.uncompressedBytes * 16);
                return readDeltaBytes(cursor, count, most, (bytes) => this.#charge(bytes, 'values'));
            }
            default:
        }
        throw new VeltaError('UNSUPPORTED', `column '${column.name}' is encoded as ${encoding}`);
    }

    /** Values by their places in the dictionary. */
    #indexed(cursor: Cursor, count: number): Values {
        const dictionary = this.#dictionary;
        if (dictionary === null) throw corrupt('a page needs a dictionary that is not there');
        this.#charge(count * 8, 'values');
        const places = new Uint32Array(count);
        if (count > 0) readHybrid(cursor, cursor.byte(), places);
        let most = -1;
        for (let i = 0; i < count; i++) if ((places[i] as number) > most) most = places[i] as number;
        if (most >= dictionary.length) throw corrupt('a value is not in the dictionary');
        return { of: dictionary, places };
    }

    #textAt(place: number): string {
        return (this.#texts[place] ??= textOf((this.#dictionary as Uint8Array[])[place] as Uint8Array));
    }

    // ---- filling

    /** The array that all wanted rows go to; made when the first page comes. */
    #output(values: Targets): Targets {
        if (this.#out !== null) return this.#out;
        const { type } = this.#options;
        const isList = Array.isArray(values) && type !== 'vector';
        this.#charge(this.#count * (isList ? 16 : 9), 'its values', this.#lasting);
        this.#out = isList ? new Array<string>(this.#count) : emptyLike(values, this.#count);
        return this.#out;
    }

    #markNull(row: number): void {
        if (this.#valid === null) {
            this.#charge(this.#count, 'its NULLs', this.#lasting);
            this.#valid = new Uint8Array(this.#count).fill(1);
        }
        this.#valid[row] = 0;
    }

    #fill(values: Values, definitions: Uint8Array | null, count: number): void {
        const { wanted, type } = this.#options;
        if (type === 'vector') return this.#fillFixed(values, definitions, count);
        const { of, places } = values;
        const out = this.#output(of);
        if (wanted === null && definitions === null && !Array.isArray(of) && !Array.isArray(out)) {
            copyInto(out, this.#filled, of, places, count);
            this.#filled += count;
            this.#row += count;
            return;
        }
        const isText = type === 'string';
        let bytes = 0;
        const charge = (length: number): 0 => {
            if (length > 0) this.#charge(length * (isText ? 2 : 1), 'its values', this.#lasting);
            return 0;
        };
        this.#each(definitions, count, (place, value) => {
            if (value < 0) return this.#markNull(place);
            if (isText && places !== null) {
                (out as string[])[place] = this.#textAt(places[value] as number);
                return;
            }
            const found = of[places === null ? value : (places[value] as number)];
            if (found instanceof Uint8Array) bytes += found.length;
            // One value of a dictionary may be copied any number of times.
            if (bytes >= CHARGED_BYTES) bytes = charge(bytes);
            if (isText) (out as string[])[place] = textOf(found as Uint8Array);
            // A copy, so that the page is not kept for it.
            else (out as unknown[])[place] = found instanceof Uint8Array ? found.slice() : found;
        });
        charge(bytes);
    }

    /** Calls for each wanted row of a page with its place in the result and its value's; -1: NULL. */
    #each(definitions: Uint8Array | null, count: number, use: (place: number, value: number) => void): void {
        const { wanted, column } = this.#options;
        if (definitions === null && wanted !== null) {
            const end = this.#row + count;
            for (let row = wanted[this.#filled]; row !== undefined && row < end; row = wanted[this.#filled]) {
                use(this.#filled++, row - this.#row);
            }
            this.#row = end;
            return;
        }
        let value = 0;
        for (let i = 0; i < count; i++) {
            const isThere = definitions === null || definitions[i] === column.maxDefinition;
            if (wanted === null || wanted[this.#filled] === this.#row) use(this.#filled++, isThere ? value : -1);
            if (isThere) value++;
            this.#row++;
        }
    }

    /** Makes room for vectors once their length is known. */
    #vectors(dimensions: number): Float32Array {
        const { column } = this.#options;
        if (this.#dimensions === 0) this.#dimensions = dimensions;
        if (dimensions !== this.#dimensions) {
            throw new VeltaError(
                'DIMENSIONS',
                `column '${column.name}' holds a vector of ${dimensions} elements, not ${this.#dimensions}`,
            );
        }
        if (this.#out === null) {
            if (dimensions < 1 || dimensions > MOST_DIMENSIONS) {
                throw new VeltaError('DIMENSIONS', `column '${column.name}' holds a vector of ${dimensions} elements`);
            }
            this.#charge(this.#count * dimensions * FLOATS, 'its vectors', this.#lasting);
            this.#out = new Float32Array(this.#count * dimensions);
        }
        return this.#out as Float32Array;
    }

    /** Vectors as bytes of a fixed length, which are float32. */
    #fillFixed({ of, places }: Values, definitions: Uint8Array | null, count: number): void {
        this.#each(definitions, count, (place, value) => {
            if (value < 0) return this.#markNull(place);
            const bytes = (of as Uint8Array[])[places === null ? value : (places[value] as number)] as Uint8Array;
            const out = this.#vectors(bytes.length / FLOATS);
            new Uint8Array(out.buffer).set(bytes, place * bytes.length);
        });
    }

    /**
     * Vectors as lists: level by level, because a list may go on from one page to the next.
     * @param definitions - null: every list has elements, and none is NULL
     */
    #fillLists(values: Values, definitions: Uint8Array | null, repetitions: Uint8Array): void {
        const { maxDefinition } = this.#options.column;
        let value = 0;
        for (let i = 0; i < repetitions.length; i++) {
            const level = definitions === null ? maxDefinition : (definitions[i] as number);
            if (repetitions[i] === 0) {
                let end = i + 1;
                while (end < repetitions.length && repetitions[end] !== 0) end++;
                this.#nextList();
                if (definitions === null && end < repetitions.length) {
                    if (this.#isWanted()) this.#takeList(values, value, end - i);
                    this.#row++;
                    value += end - i;
                    i = end - 1;
                    continue;
                }
                if (this.#isWanted()) this.#beginList(level);
                this.#row++;
            } else if (repetitions[i] !== 1 || this.#row === 0) {
                throw corrupt('a list goes on that was not begun');
            }
            this.#takeElement(level, elementAt(values, value));
            if (level === maxDefinition) value++;
        }
    }

    #isWanted(): boolean {
        const { wanted } = this.#options;
        return wanted === null || wanted[this.#filled] === this.#row;
    }

    #nextList(): void {
        this.#endList();
        if (this.#row >= this.#options.groupRows) throw corrupt('a chunk has more rows than its group');
    }

    /** A list that lies in one page. */
    #takeList(values: Values, start: number, length: number): void {
        const out = this.#vectors(length);
        const to = this.#filled++ * length;
        for (let i = 0; i < length; i++) out[to + i] = elementAt(values, start + i);
    }

    /** An element of the list that is being read, or none: a NULL, or a list without any. */
    #takeElement(level: number, element: number): void {
        const { name, maxDefinition, listDefinition } = this.#options.column;
        if (!this.#isReading || level < listDefinition) return;
        if (level < maxDefinition) throw new VeltaError('NOT_NULL', `column '${name}': a vector holds NULL`);
        if (this.#pending.length >= MOST_DIMENSIONS) {
            throw new VeltaError('DIMENSIONS', `column '${name}' holds a list of over ${MOST_DIMENSIONS} elements`);
        }
        this.#pending.push(element);
    }

    #beginList(level: number): void {
        const { listDefinition } = this.#options.column;
        if (level < listDefinition) {
            // One level below is a list without elements, which is no vector.
            if (level === listDefinition - 1) this.#vectors(0);
            this.#markNull(this.#filled++);
            return;
        }
        this.#pending.length = 0;
        this.#isReading = true;
    }

    /** Puts the list that was read in its place. */
    #endList(): void {
        if (!this.#isReading) return;
        const { length } = this.#pending;
        this.#vectors(length).set(this.#pending, this.#filled++ * length);
        this.#isReading = false;
    }

    // ---- the end

    /**
     * The values of all wanted rows.
     * @throws {VeltaError} CORRUPT where pages were missing
     */
    finish(): { values: ParquetValues; dimensions: number } {
        this.#endList();
        if (this.#filled !== this.#count) {
            throw corrupt(`column '${this.#options.column.name}' has ${this.#filled} of ${this.#count} rows`);
        }
        const { type } = this.#options;
        const dimensions = type === 'vector' ? this.#dimensions : 0;
        const out = this.#out ?? emptyOf(type);
        const valid = this.#valid;
        if (valid === null) return { values: out as ParquetValues, dimensions };
        this.#charge(this.#count * 8, 'its values', this.#lasting);
        const values = new Array<unknown>(this.#count);
        for (let i = 0; i < values.length; i++) {
            if (valid[i] === 0) values[i] = null;
            else if (type === 'vector')
                values[i] = (out as Float32Array).subarray(i * dimensions, (i + 1) * dimensions);
            else values[i] = type === 'bool' ? out[i] === 1 : out[i];
        }
        return { values: values as ParquetValues, dimensions };
    }
}

/** Values of a page: `of` itself, or those of a dictionary at places. */
interface Values {
    readonly of: Targets;
    readonly places: Uint32Array | null;
}

/** How many levels say that there is a value. @throws {VeltaError} CORRUPT */
function countPresent(definitions: Uint8Array, most: number): number {
    let present = 0;
    for (let i = 0; i < definitions.length; i++) {
        if (definitions[i] === most) present++;
        else if ((definitions[i] as number) > most) throw corrupt('a level is too high');
    }
    return present;
}

type Plain = Float32Array | Float64Array | Uint8Array;

function gather(out: Plain, at: number, from: Plain, places: Uint32Array): void {
    for (let i = 0; i < places.length; i++) out[at + i] = from[places[i] as number] as number;
}

/** Copies `count` values to a place in an array of their kind. */
function copyInto(
    out: Exclude<Targets, readonly unknown[]>,
    at: number,
    from: Exclude<Targets, readonly unknown[]>,
    places: Uint32Array | null,
    count: number,
): void {
    if (places === null) {
        (out as Float64Array).set(from as Float64Array, at);
    } else if (from instanceof BigInt64Array) {
        // By halves: a BigInt for each would be made and thrown away.
        const halves = new Int32Array(from.buffer, from.byteOffset, from.length * 2);
        const into = new Int32Array(out.buffer, out.byteOffset + at * 8, count * 2);
        for (let i = 0; i < count; i++) {
            const place = (places[i] as number) * 2;
            into[2 * i] = halves[place] as number;
            into[2 * i + 1] = halves[place + 1] as number;
        }
    } else {
        gather(out as Plain, at, from, places);
    }
}

/** An element of a list. */
function elementAt({ of, places }: Values, value: number): number {
    return (of as Float32Array)[places === null ? value : (places[value] as number)] as number;
}

interface Levels {
    readonly repetitions: Uint8Array | null;
    readonly definitions: Uint8Array | null;
}

function emptyLike(values: Targets, count: number): Targets {
    if (Array.isArray(values)) return new Array<string>(count);
    return new (values.constructor as new (length: number) => Float64Array)(count);
}

/** The values of no row. */
function emptyOf(type: ColumnType): Targets {
    switch (type) {
        case 'int':
        case 'timestamp':
            return new BigInt64Array(0);
        case 'float':
            return new Float64Array(0);
        case 'bool':
            return new Uint8Array(0);
        case 'vector':
            return new Float32Array(0);
        default:
            return [];
    }
}
