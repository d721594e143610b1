/**
 * The page indexes of a chunk: where its pages lie (offset index) and what is known of their values (column index).
 */
import { corrupt } from './encodings.js';
import { type Chunk, type RawStatistics, type Span, nullCountOf, readThrift } from './footer.js';

/** A page by the offset index. @internal */
export interface PagePlace extends Span {
    /** Its first row, counted within the group. */
    readonly row: number;
    readonly rows: number;
}

/** The list that a Thrift field should be. @throws {VeltaError} CORRUPT */
function listOf(value: unknown, length: number | null): readonly unknown[] {
    if (!Array.isArray(value) || (length !== null && value.length !== length)) {
        throw corrupt('the index of a chunk has another number of pages');
    }
    return value as readonly unknown[];
}

/**
 * The pages of a chunk.
 * @throws {VeltaError} CORRUPT where they are not in order, or lie outside of the chunk
 * @internal
 */
export function readPlaces(bytes: Uint8Array, chunk: Chunk, groupRows: number): PagePlace[] {
    const { field_1: list } = readThrift(bytes, 'the index of a chunk');
    const found = listOf(list, null).map((place) => {
        const { field_1: offset, field_2: size, field_3: row } = place as Record<string, unknown>;
        const start = Number(offset);
        return { start, end: start + Number(size), row: Number(row) };
    });
    let before = { end: chunk.start, row: -1 };
    for (const page of found) {
        const isInside = page.start >= before.end && page.end > page.start && page.end <= chunk.end;
        const isNext = page.row > before.row && page.row < groupRows;
        if (!isInside || !isNext) throw corrupt('the index of a chunk is not in order');
        before = page;
    }
    if (found[0]?.row !== 0) throw corrupt('the index of a chunk does not begin with its first row');
    return found.map((page, i) => ({ ...page, rows: (found[i + 1]?.row ?? groupRows) - page.row }));
}

/**
 * What is known of the values of each page, of a column that is no list.
 * @throws {VeltaError} CORRUPT where it is of other pages
 * @internal
 */
export function readPageStatistics(bytes: Uint8Array, pages: readonly PagePlace[]): RawStatistics[] {
    const index = readThrift(bytes, 'the index of a chunk');
    const areNull = listOf(index.field_1, pages.length);
    const mins = listOf(index.field_2, pages.length);
    const maxs = listOf(index.field_3, pages.length);
    const nullCounts = index.field_5 === undefined ? null : listOf(index.field_5, pages.length);
    return pages.map(({ rows }, i) => {
        const [min, max] = [mins[i], maxs[i]];
        const nullCount = nullCounts === null ? null : nullCountOf(nullCounts[i], rows);
        if (areNull[i] === true) return { nullCount: rows, min: null, max: null };
        return {
            nullCount,
            min: min instanceof Uint8Array ? min : null,
            max: max instanceof Uint8Array ? max : null,
        };
    });
}

/**
 * The spans of a chunk that hold the wanted rows, with the dictionary before them, and the first row of each (-1: it
 * has none).
 * @internal
 */
export function spansOf(
    pages: readonly PagePlace[],
    chunk: Chunk,
    wanted: Uint32Array,
): { spans: Span[]; pageRows: number[] } {
    const spans: Span[] = [];
    const pageRows: number[] = [];
    let next = 0;
    for (const page of pages) {
        const end = page.row + page.rows;
        if (next < wanted.length && (wanted[next] as number) < end) {
            spans.push(page);
            pageRows.push(page.row);
        }
        while (next < wanted.length && (wanted[next] as number) < end) next++;
    }
    const [first] = pages;
    if (spans.length > 0 && first !== undefined && first.start > chunk.start) {
        spans.unshift({ start: chunk.start, end: first.start });
        pageRows.unshift(-1);
    }
    return { spans, pageRows };
}
