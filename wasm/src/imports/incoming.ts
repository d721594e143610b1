/**
 * What importing rows from a file is, whatever the file: which of its columns go to which of the table, a table made
 * for them where there is none, and the rows that a filter leaves, by the engine's own filter.
 *
 * Which columns a filter names is asked of the engine too: compiled against a table without them it says which it
 * misses, and where. There is no second parser.
 */
import { type Database, createDatabase } from '../database.js';
import { VeltaError, describe, invalid, quoted } from '../errors.js';
import { Filter } from '../filter.js';
import type { ColumnDefinition, ColumnType, FullColumn, ScalarType, Schema } from '../schema.js';
import type { Table } from '../table.js';
import type { ColumnData } from '../values.js';

/** A column of a file. @internal */
export interface Incoming {
    readonly name: string;
    /** The engine's type; null: nothing but NULL, which goes to a column of any type. */
    readonly type: ColumnType | null;
    /** Elements of each vector, where the file says so beforehand; else 0. */
    readonly dimensions: number;
    /** Whether the file says that no value is NULL. */
    readonly required: boolean;
}

/** A file's columns by name. @internal */
export interface IncomingColumns<C extends Incoming> {
    /** What the file is, for messages: "the Arrow data". */
    readonly source: string;
    readonly names: readonly string[];
    /**
     * @param as - the type that is wanted, for files that leave a choice
     * @throws {VeltaError} NOT_FOUND, UNSUPPORTED, TYPE naming the column
     */
    find(name: string, as?: ColumnType): C;
}

/** Which columns go where. @internal */
export interface ColumnChoice {
    readonly columns?: readonly string[] | Readonly<Record<string, string>> | undefined;
    readonly vector?: string | undefined;
    readonly key?: string | undefined;
}

/** A column of the file and the one of the table that it goes to. @internal */
export interface Pair<C extends Incoming> {
    readonly target: string;
    readonly column: C;
}

function chosen(choice: ColumnChoice, otherwise: readonly string[]): Map<string, string> {
    const { columns } = choice;
    if (columns === undefined) return new Map(otherwise.map((name) => [name, name]));
    if (Array.isArray(columns)) return new Map((columns as readonly string[]).map((name) => [name, name]));
    if (typeof columns === 'object' && columns !== null) return new Map(Object.entries(columns));
    throw invalid(`columns is an array or an object of names, not ${describe(columns)}`);
}

/**
 * The columns for a table that is there: by default those of the table that the file has.
 * @throws {VeltaError} INVALID, UNKNOWN_COLUMN, TYPE, DIMENSIONS, and as `find`
 * @internal
 */
export function pairsForTable<C extends Incoming>(
    table: Table,
    file: IncomingColumns<C>,
    choice: ColumnChoice,
): Pair<C>[] {
    const { schema } = table;
    const names = chosen(
        choice,
        Object.keys(schema).filter((name) => file.names.includes(name)),
    );
    if (choice.vector !== undefined) {
        const targets = Object.keys(schema).filter((name) => schema[name]?.type === 'vector');
        if (targets.length !== 1) throw invalid('the option vector needs a table with one vector column');
        names.set(targets[0] as string, choice.vector);
    }
    if (names.size === 0) throw invalid(`${file.source} has none of the columns of the table`);
    return Array.from(names, ([target, name]) => {
        const full = Object.hasOwn(schema, target) ? schema[target] : undefined;
        if (full === undefined) {
            throw new VeltaError('UNKNOWN_COLUMN', `table '${table.name}' has no column ${quoted(target)}`);
        }
        const column = file.find(name, full.type);
        if (column.type !== null && column.type !== full.type) {
            const is = `column ${quoted(name)} of ${file.source} is ${column.type}`;
            throw new VeltaError('TYPE', `${is}, column '${target}' of the table ${full.type}`);
        }
        checkDimensions(file.source, { target, column }, full, column.dimensions);
        return { target, column };
    });
}

/**
 * The columns for a table that is not there yet: by default all that the file has.
 * @throws {VeltaError} INVALID, TYPE, UNKNOWN_COLUMN (the key), and as `find`
 * @internal
 */
export function pairsForNew<C extends Incoming>(file: IncomingColumns<C>, choice: ColumnChoice): Pair<C>[] {
    const names = chosen(choice, file.names);
    if (choice.vector !== undefined && ![...names.values()].includes(choice.vector)) {
        names.set(choice.vector, choice.vector);
    }
    if (names.size === 0) throw invalid(`${file.source} has no columns`);
    const { key } = choice;
    if (key !== undefined && !names.has(key)) {
        throw new VeltaError('UNKNOWN_COLUMN', `there is no column ${quoted(key)} to be the key`);
    }
    return Array.from(names, ([target, name]) => {
        const column = file.find(name, name === choice.vector ? 'vector' : undefined);
        if (column.type === null) {
            throw new VeltaError('TYPE', `column ${quoted(name)} of ${file.source} has no type: make the table first`);
        }
        if (name === choice.vector && column.type !== 'vector') {
            throw new VeltaError('TYPE', `column ${quoted(name)} of ${file.source} is ${column.type}, and no vector`);
        }
        if (target === key && column.type !== 'int' && column.type !== 'string') {
            const is = column.type === 'vector' ? 'a vector' : column.type;
            throw invalid(`column ${quoted(target)} cannot be the key: it is ${is}`);
        }
        return { target, column };
    });
}

/** Refuses vectors of another length than the column's; 0: there are none. @throws {VeltaError} DIMENSIONS @internal */
export function checkDimensions<C extends Incoming>(
    source: string,
    { target, column }: Pair<C>,
    full: FullColumn,
    dimensions: number,
): void {
    if (full.type !== 'vector' || dimensions === 0 || dimensions === full.dimensions) return;
    const has = `column ${quoted(column.name)} of ${source} has vectors of ${dimensions} elements`;
    throw new VeltaError('DIMENSIONS', `${has}, column '${target}' of the table of ${full.dimensions}`);
}

/**
 * Makes a table for columns.
 * @param dimensions - of the vectors of each pair, as far as they are known by now; else 0
 * @throws {VeltaError} DIMENSIONS where they are not known, INVALID, OVER_BUDGET, READ_ONLY
 * @internal
 */
export function makeTable<C extends Incoming>(
    db: Database,
    name: string,
    file: IncomingColumns<C>,
    pairs: readonly Pair<C>[],
    dimensions: readonly number[],
    key: string | undefined,
): Table {
    const definitions = pairs.map(({ target, column }, i): [string, ColumnDefinition] => {
        const { required } = column;
        if (column.type !== 'vector') {
            return [
                target,
                { type: column.type as ScalarType, required: required || target === key, key: target === key },
            ];
        }
        const length = column.dimensions || dimensions[i] || 0;
        if (length === 0) {
            const text = `column ${quoted(column.name)} of ${file.source} has no vector to take the length from`;
            throw new VeltaError('DIMENSIONS', `${text}: make the table first`);
        }
        return [target, { type: 'vector', dimensions: length, required }];
    });
    return db.table(name, Object.fromEntries(definitions));
}

/** The text of a filter. @throws {VeltaError} INVALID @internal */
export function whereText(where: unknown): string {
    if (where === undefined) return '';
    if (typeof where !== 'string' && !(where instanceof Filter)) {
        throw invalid(`where is a filter, not ${describe(where)}`);
    }
    return where.toString();
}

/** The name of a column at the beginning of a text, as the filter language writes it: the longest that fits. */
function nameAt(rest: string, names: readonly string[]): string | undefined {
    const written = (name: string): boolean =>
        rest.startsWith(name) || rest.startsWith(`"${name.replaceAll('"', '""')}"`);
    return names.filter(written).sort((a, b) => b.length - a.length)[0];
}

/** The schema of a scratch table of columns: it needs one, whether or not a filter names any. @internal */
export function scratchSchema(columns: readonly Pick<Incoming, 'name' | 'type'>[]): Record<string, ScalarType> {
    const definitions = columns.map(({ name, type }) => [name, type as ScalarType] as const);
    return Object.fromEntries(definitions.length > 0 ? definitions : [['unused', 'bool'] as const]);
}

/** A table for a moment. @internal */
export function withScratch<T>(schema: Schema, use: (table: Table) => T): T {
    const scratch = createDatabase({ autoIndex: false });
    try {
        return use(scratch.table('rows', schema));
    } finally {
        // What is in memory alone is let go at once; only the promise comes later.
        scratch.close().catch(() => undefined);
    }
}

/** The columns that a filter names. @throws {VeltaError} SYNTAX, UNKNOWN_COLUMN, TYPE as the engine does @internal */
export function filterColumns<C extends Incoming>(where: string, file: IncomingColumns<C>): C[] {
    if (where.trim() === '') return [];
    const bytes = new TextEncoder().encode(where);
    // A table needs a column: one whose name the file does not have.
    let unused = 'unused';
    while (file.names.includes(unused)) unused += '_';
    return withScratch({ [unused]: 'bool' }, (table) => {
        const found: C[] = [];
        for (;;) {
            try {
                table.where(where).count();
                return found;
            } catch (error) {
                const isMissing = error instanceof VeltaError && error.code === 'UNKNOWN_COLUMN';
                if (!isMissing || error.offset === undefined) throw error;
                const name = nameAt(new TextDecoder().decode(bytes.subarray(error.offset)), file.names);
                if (name === undefined || found.some((each) => each.name === name)) throw error;
                const column = file.find(name);
                if (column.type === 'vector' || column.type === null) {
                    const is = column.type === null ? 'has no type' : 'is a vector';
                    throw new VeltaError('TYPE', `a filter of ${file.source} cannot use '${name}', which ${is}`);
                }
                table.addColumn(name, column.type);
                found.push(column);
            }
        }
    });
}

/** Rows that match, by the engine's filter over the columns that it names; null: all. @internal */
export function matching(
    where: string,
    columns: readonly Pick<Incoming, 'name' | 'type'>[],
    values: readonly ColumnData[],
    rows: number,
): Uint32Array | null {
    if (where.trim() === '') return null;
    return withScratch(scratchSchema(columns), (table) => {
        const data = columns.map(({ name }, i) => [name, values[i] as ColumnData] as const);
        table.insertColumns(Object.fromEntries(data), rows);
        const found = table.where(where).rows();
        return found.length === rows ? null : found;
    });
}

/** Rows of values by their places, ascending or not. @internal */
export function pick<Values extends ColumnData>(values: Values, places: Uint32Array, width: number): Values {
    if (Array.isArray(values)) {
        return Array.from(places, (place) => (values as readonly unknown[])[place]) as unknown as Values;
    }
    const out = new (values.constructor as new (length: number) => Float64Array)(places.length * width);
    const from = values as Float64Array;
    if (width === 1) {
        for (let i = 0; i < places.length; i++) out[i] = from[places[i] as number] as number;
    } else {
        places.forEach((place, i) => out.set(from.subarray(place * width, (place + 1) * width), i * width));
    }
    return out as Values;
}
