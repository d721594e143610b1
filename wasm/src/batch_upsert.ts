/*
 * Upserts of many rows of which some may be refused: batches as long as they go well, parted where they do not.
 *
 * Rows are written in runs that name the same columns, since an upsert sets exactly the named ones. A batch that is
 * refused tells one row that is at fault; that row is set aside and what is before and behind it is tried again in
 * halves. So a few bad rows among n cost a few batches, and all rows bad cost n log n, not n². Order is kept.
 */
import { VeltaError, type VeltaCode } from './errors.js';

/** A row that was refused. */
export interface FailedRow {
    /** Its place among the rows given. */
    readonly index: number;
    readonly code: VeltaCode;
    /** One sentence. */
    readonly reason: string;
}

type Row = Readonly<Record<string, unknown>>;

/** Codes that are a row's fault; all others end the whole. */
const FAULTS_OF_ROWS: ReadonlySet<VeltaCode> = new Set<VeltaCode>([
    ...(['INVALID', 'TYPE', 'NOT_NULL', 'DIMENSIONS', 'NOT_FINITE', 'UNKNOWN_COLUMN', 'LIMIT', 'EXISTS'] as const),
]);

/** The columns that a row names; what is undefined is not given. */
function columnsOf(row: Row): string[] {
    return Object.keys(row).filter((name) => row[name] !== undefined);
}

function sameColumns(a: Row, b: Row): boolean {
    const names = columnsOf(a);
    return names.length === columnsOf(b).length && names.every((name) => b[name] !== undefined);
}

/** The error's sentence, which names the row by its place in the batch, with its place among all rows. */
function reasonOf({ message, offset }: VeltaError, index: number): string {
    return message.replace(/\b(row|value) (\d+)\b/g, (text, what: string, place: string) =>
        Number(place) === offset ? `${what} ${index}` : text,
    );
}

class Upsert {
    readonly #rows: readonly Row[];
    readonly #write: (rows: readonly Row[]) => number;
    readonly failed: FailedRow[] = [];
    inserted = 0;
    updated = 0;

    constructor(rows: readonly Row[], write: (rows: readonly Row[]) => number) {
        this.#rows = rows;
        this.#write = write;
    }

    /** Rows from `start` to before `end`, which name the same columns. */
    range(start: number, end: number): void {
        if (start >= end) {
            return;
        }
        const rows = this.#rows.slice(start, end);
        try {
            const inserted = this.#write(rows);
            this.inserted += inserted;
            this.updated += rows.length - inserted; // a key that comes twice is inserted, then updated
        } catch (error) {
            if (!(error instanceof VeltaError) || !FAULTS_OF_ROWS.has(error.code)) {
                throw error;
            }
            this.#part(start, end, error);
        }
    }

    #part(start: number, end: number, error: VeltaError): void {
        const named = error.offset !== undefined && error.offset < end - start;
        const bad = end - start === 1 ? start : named ? start + (error.offset as number) : -1;
        if (bad < 0) {
            this.#halves(start, end);
            return;
        }
        this.#halves(start, bad);
        this.failed.push({ index: bad, code: error.code, reason: reasonOf(error, bad) });
        this.#halves(bad + 1, end);
    }

    #halves(start: number, end: number): void {
        const middle = (start + end) >>> 1;
        this.range(start, middle);
        this.range(middle, end);
    }
}

/**
 * Writes rows by `write` (all or none of those it is given; it tells how many were new) and sets aside those at fault.
 * @internal
 */
export function upsertRows(
    rows: readonly Row[],
    write: (rows: readonly Row[]) => number,
): { inserted: number; updated: number; failed: FailedRow[] } {
    const upsert = new Upsert(rows, write);
    for (let start = 0; start < rows.length;) {
        let end = start + 1;
        const first = rows[start];
        while (end < rows.length && isRow(first) && isRow(rows[end]) && sameColumns(first, rows[end] as Row)) {
            end++;
        }
        upsert.range(start, end);
        start = end;
    }
    const { inserted, updated, failed } = upsert;
    return { inserted, updated, failed };
}

function isRow(row: unknown): row is Row {
    return typeof row === 'object' && row !== null;
}
