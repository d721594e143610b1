/*
 * Upserts of many rows of which some may be refused: batches as long as they go well, parted where they do not.
 *
 * Rows are written in runs that name the same columns, since an upsert sets exactly the named ones. A batch that is
 * refused names one row at fault; the rows before it are written, it is set aside, and the batches behind it begin as
 * short as those good rows were and double with each that goes well. So what is converted in vain is never more than a
 * few times what went well: the work is linear in the rows, whether few of them are bad or all. Order is kept.
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

/** A row that is to blame, by its place among all. */
interface Fault {
    readonly place: number;
    readonly error: VeltaError;
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
    return (
        names.length === columnsOf(b).length && names.every((name) => Object.hasOwn(b, name) && b[name] !== undefined)
    );
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
        let size = end - start;
        let known: Fault | null = null as Fault | null;
        while (start < end) {
            if (known?.place === start) {
                this.#setAside(start++, known.error);
                continue;
            }
            const stop = Math.min(end, start + size);
            const error = this.#try(start, stop);
            if (error === null) {
                start = stop;
                size *= 2;
                continue;
            }
            const { offset } = error;
            const tried: number = stop - start;
            const bad: number | undefined =
                tried === 1 ? 0 : offset !== undefined && offset < tried ? offset : undefined;
            known = bad === undefined ? null : { place: start + bad, error };
            size = Math.max(1, bad ?? tried >>> 1);
        }
    }

    /** Writes rows; gives the error for which one of them is to blame. */
    #try(start: number, end: number): VeltaError | null {
        try {
            const inserted = this.#write(this.#rows.slice(start, end));
            this.inserted += inserted;
            this.updated += end - start - inserted; // a key that comes twice is inserted, then updated
            return null;
        } catch (error) {
            if (!(error instanceof VeltaError) || !FAULTS_OF_ROWS.has(error.code)) throw error;
            return error;
        }
    }

    #setAside(index: number, error: VeltaError): void {
        this.failed.push({ index, code: error.code, reason: reasonOf(error, index) });
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
