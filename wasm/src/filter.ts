/**
 * Filters from JavaScript: a builder and a template tag that write the filter language (docs/FILTER.md).
 *
 * Both give text, the same that a person would write, so there is one language, one parser and one plan. What is put in
 * is quoted here: a value can never end a string or become a keyword.
 */
import { VeltaError, checkOptions, describe, invalid } from './errors.js';

/** What a filter compares with. A Date becomes its milliseconds; numbers may be infinite but not NaN. */
export type FilterValue = string | number | bigint | boolean | Date | Uint8Array;

const RESERVED = new Set(['AND', 'OR', 'NOT', 'TRUE', 'FALSE', 'NULL', 'IN', 'LIKE', 'BETWEEN', 'IS']);
const BARE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** A column's name as the language writes it. @internal */
export function quoteColumn(name: string): string {
    if (typeof name !== 'string' || name === '') throw invalid(`a column name is a string, not ${describe(name)}`);
    return BARE.test(name) && !RESERVED.has(name.toUpperCase()) ? name : `"${name.replaceAll('"', '""')}"`;
}

function quoteString(text: string): string {
    return `'${text.replaceAll("'", "''")}'`;
}

function quoteNumber(value: number): string {
    if (Number.isNaN(value)) throw invalid('a filter cannot compare with NaN');
    if (value === Infinity) return '1e999';
    if (value === -Infinity) return '-1e999';
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 63) return BigInt(value).toString();
    return String(value);
}

/** A value as the language writes it. @internal */
export function quoteValue(value: unknown): string {
    switch (typeof value) {
        case 'string':
            return quoteString(value);
        case 'number':
            return quoteNumber(value);
        case 'bigint':
            if (BigInt.asIntN(64, value) !== value) throw invalid(`${value}n has more than 64 bits`);
            return value.toString();
        case 'boolean':
            return value ? 'TRUE' : 'FALSE';
        default:
    }
    if (value instanceof Date) {
        if (Number.isNaN(value.getTime())) throw invalid('a filter cannot compare with an invalid Date');
        return String(value.getTime());
    }
    if (value instanceof Uint8Array) {
        return `x'${Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('')}'`;
    }
    if (value === null || value === undefined) {
        throw invalid('a comparison with NULL matches nothing: use isNull() or notNull()');
    }
    throw new VeltaError('TYPE', `a filter compares with a value, not with ${describe(value)}`);
}

/**
 * A condition on the columns of one table. Made by {@link eq} and its kin or by {@link filter}; immutable.
 * `C` are the names of the columns it uses, so that a table can refuse names it does not have.
 */
export abstract class Filter<out C extends string = string> {
    /** For the compiler alone. */
    declare protected readonly columns: C;

    /** Rows that match this and all others. */
    and<D extends string>(...others: readonly Filter<D>[]): Filter<C | D> {
        return and<C | D>(this, ...others);
    }

    /** Rows that match this or one of the others. */
    or<D extends string>(...others: readonly Filter<D>[]): Filter<C | D> {
        return or<C | D>(this, ...others);
    }

    /** Rows for which this is false; those for which it is unknown (NULL) match neither. */
    not(): Filter<C> {
        return not(this);
    }

    /** The filter's text. */
    abstract toString(): string;
}

/** How tightly a filter's text binds: what is looser than its surroundings gets parentheses. */
const EITHER = 0;
const ALL = 1;
const TERM = 2;

class TextFilter<C extends string> extends Filter<C> {
    readonly #text: string;
    readonly #binding: number;

    constructor(text: string, binding: number) {
        super();
        this.#text = text;
        this.#binding = binding;
    }

    override toString(): string {
        return this.#text;
    }

    /** The text for a place that needs at least this binding. */
    static within(filter: Filter, binding: number): string {
        if (!(filter instanceof TextFilter)) throw invalid(`expected a filter, not ${describe(filter)}`);
        return filter.#binding < binding ? `(${filter.#text})` : filter.#text;
    }
}

function predicate<C extends string>(column: C, rest: string): Filter<C> {
    return new TextFilter<C>(`${quoteColumn(column)} ${rest}`, TERM);
}

/** Rows whose column equals the value. */
export function eq<const C extends string>(column: C, value: FilterValue): Filter<C> {
    return predicate(column, `= ${quoteValue(value)}`);
}

/** Rows whose column has another value; NULL is none. */
export function ne<const C extends string>(column: C, value: FilterValue): Filter<C> {
    return predicate(column, `!= ${quoteValue(value)}`);
}

/** Rows whose column is less than the value. */
export function lt<const C extends string>(column: C, value: FilterValue): Filter<C> {
    return predicate(column, `< ${quoteValue(value)}`);
}

/** Rows whose column is at most the value. */
export function lte<const C extends string>(column: C, value: FilterValue): Filter<C> {
    return predicate(column, `<= ${quoteValue(value)}`);
}

/** Rows whose column is greater than the value. */
export function gt<const C extends string>(column: C, value: FilterValue): Filter<C> {
    return predicate(column, `> ${quoteValue(value)}`);
}

/** Rows whose column is at least the value. */
export function gte<const C extends string>(column: C, value: FilterValue): Filter<C> {
    return predicate(column, `>= ${quoteValue(value)}`);
}

/** Rows whose column lies between two values, which belong to it unless `inclusive` is false. */
export function between<const C extends string>(
    column: C,
    low: FilterValue,
    high: FilterValue,
    options: { readonly inclusive?: boolean } = {},
): Filter<C> {
    checkOptions('between', options, ['inclusive']);
    if (options.inclusive === false) return and(gt(column, low), lt(column, high));
    return predicate(column, `BETWEEN ${quoteValue(low)} AND ${quoteValue(high)}`);
}

function list(values: readonly FilterValue[]): string {
    if (!Array.isArray(values)) throw invalid(`a list of values is an array, not ${describe(values)}`);
    return `(${values.map(quoteValue).join(', ')})`;
}

/** Rows whose column has one of the values; of none, no row. */
export function inList<const C extends string>(column: C, values: readonly FilterValue[]): Filter<C> {
    return predicate(column, `IN ${list(values)}`);
}

/** Rows whose column has none of the values; NULL is none, unless the list is empty. */
export function notIn<const C extends string>(column: C, values: readonly FilterValue[]): Filter<C> {
    return predicate(column, `NOT IN ${list(values)}`);
}

function text(value: string): string {
    if (typeof value !== 'string') throw new VeltaError('TYPE', `expected a string, not ${describe(value)}`);
    return quoteString(value);
}

/**
 * Rows whose string matches a pattern: `%` stands for any characters, `_` for one.
 * @param options - `escape`: a character after which `%`, `_` and itself stand for themselves
 */
export function like<const C extends string>(
    column: C,
    pattern: string,
    options: { readonly escape?: string } = {},
): Filter<C> {
    const escape = options.escape === undefined ? '' : ` ESCAPE ${text(options.escape)}`;
    return predicate(column, `LIKE ${text(pattern)}${escape}`);
}

/** Rows whose string (or bytes) starts with the text as it is. */
export function startsWith<const C extends string>(column: C, start: string | Uint8Array): Filter<C> {
    return predicate(column, `STARTS WITH ${quoteValue(start)}`);
}

/** Rows whose string (or bytes) ends with the text as it is. */
export function endsWith<const C extends string>(column: C, end: string | Uint8Array): Filter<C> {
    return predicate(column, `ENDS WITH ${quoteValue(end)}`);
}

/** Rows whose string (or bytes) contains the text as it is. */
export function contains<const C extends string>(column: C, part: string | Uint8Array): Filter<C> {
    return predicate(column, `CONTAINS ${quoteValue(part)}`);
}

/** Rows whose column is NULL. */
export function isNull<const C extends string>(column: C): Filter<C> {
    return predicate(column, 'IS NULL');
}

/** Rows whose column is not NULL. */
export function notNull<const C extends string>(column: C): Filter<C> {
    return predicate(column, 'IS NOT NULL');
}

/** Rows that match all; of none, every row. */
export function and<const C extends string>(...filters: readonly Filter<C>[]): Filter<C> {
    if (filters.length === 1) return filters[0] as Filter<C>;
    const parts = filters.map((one) => TextFilter.within(one, ALL));
    return new TextFilter<C>(parts.length === 0 ? 'TRUE' : parts.join(' AND '), ALL);
}

/** Rows that match at least one; of none, no row. */
export function or<const C extends string>(...filters: readonly Filter<C>[]): Filter<C> {
    if (filters.length === 1) return filters[0] as Filter<C>;
    const parts = filters.map((one) => TextFilter.within(one, EITHER));
    return new TextFilter<C>(parts.length === 0 ? 'FALSE' : parts.join(' OR '), EITHER);
}

/** Rows for which the filter is false. */
export function not<const C extends string>(one: Filter<C>): Filter<C> {
    return new TextFilter<C>(`NOT ${TextFilter.within(one, TERM)}`, TERM);
}

/**
 * A filter as text, with values put in safely: `` filter`section = ${s} AND depends < ${n}` ``. What is put in may be
 * a value, an array of values (for `IN ${list}`), or a filter, which gets parentheses.
 *
 * @throws {VeltaError} SYNTAX with the offset where parentheses or quotes do not match, INVALID for a value within
 * quotes (`'${s}'`: they are put around it here) and for what is no value
 */
export function filter(strings: TemplateStringsArray, ...values: readonly unknown[]): Filter<never> {
    if (!Array.isArray(strings) || strings.length !== values.length + 1 || !strings.every(isText)) {
        throw invalid('filter is a tag of template literals: filter`depends < ${n}`');
    }
    const scan = new Scan();
    let whole = strings[0] as string;
    scan.read(whole, 0);
    for (let i = 0; i < values.length; i++) {
        const value = values[i];
        if (scan.quote !== '') {
            throw invalid(`value ${i + 1} stands within quotes: leave those out, they are put around it`);
        }
        if (value instanceof Filter) whole += `(${blankIsTrue(value.toString())})`;
        else if (Array.isArray(value)) whole += list(value as FilterValue[]);
        else whole += value === null ? 'NULL' : quoteValue(value);
        const start = whole.length;
        whole += strings[i + 1] as string;
        scan.read(whole, start);
    }
    scan.end(whole);
    return new TextFilter<never>(whole, EITHER);
}

function isText(part: unknown): boolean {
    return typeof part === 'string';
}

/**
 * Follows the parentheses and quotes of a text. Where they match, the text in parentheses of its own is what it is
 * alone: `a) OR (b` would not be. A quote inside a string is doubled, so that it ends and begins one at once.
 */
class Scan {
    /** The quote that is open; '' outside. */
    quote = '';
    #opened: number[] = [];
    #quotedAt = 0;

    /** Goes on from `start` to the end of the text. @throws {VeltaError} SYNTAX for what was not opened */
    read(text: string, start: number): void {
        for (let i = start; i < text.length; i++) {
            const c = text[i] as string;
            if (this.quote !== '') {
                if (c === this.quote) this.quote = '';
            } else if (c === "'" || c === '"') {
                this.quote = c;
                this.#quotedAt = i;
            } else if (c === '(') {
                this.#opened.push(i);
            } else if (c === ')' && this.#opened.pop() === undefined) {
                throw unmatched('the parenthesis is closed, but not opened', text, i);
            }
        }
    }

    /** @throws {VeltaError} SYNTAX for what is still open */
    end(text: string): void {
        if (this.quote !== '') throw unmatched('the quote is not closed', text, this.#quotedAt);
        const open = this.#opened.pop();
        if (open !== undefined) throw unmatched('the parenthesis is not closed', text, open);
    }
}

/** The offset is in bytes, as the engine's are. */
function unmatched(what: string, text: string, at: number): VeltaError {
    const offset = new TextEncoder().encode(text.slice(0, at)).length;
    return new VeltaError('SYNTAX', `filter, offset ${offset}: ${what}`, { offset });
}

function blankIsTrue(part: string): string {
    return part.trim() === '' ? 'TRUE' : part;
}

/** The text of a filter given either way. @throws {VeltaError} INVALID @internal */
export function filterText(where: string | Filter): string {
    if (typeof where === 'string') return where;
    if (where instanceof Filter) return where.toString();
    throw invalid(`a filter is a text or made by eq() and its kin, not ${describe(where)}`);
}

/** A filter of a text that may bind loosely. @internal */
export function filterOf<C extends string>(where: string | Filter<C>): Filter<C> {
    return typeof where === 'string' ? new TextFilter<C>(blankIsTrue(where), EITHER) : where;
}
