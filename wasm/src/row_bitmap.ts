/*
 * Sets of rows as conditions that combine: and, or, not. Nothing is evaluated until it is asked for.
 *
 * `and` and `or` of conditions are conditions again, so the engine evaluates them in one pass and counts without
 * listing rows. `not` is the complement among the rows that live: unlike NOT in a filter it contains the rows for which
 * the condition is unknown because a value is NULL. The filter language cannot say that, so a set with a `not` in it
 * is evaluated in parts, as words of 32 rows, except where counts alone suffice.
 */
import { invalid } from './errors.js';
import { type Filter, filterText } from './filter.js';

type Node =
    | { readonly kind: 'condition'; readonly text: string }
    | { readonly kind: 'and' | 'or'; readonly parts: readonly Node[] }
    | { readonly kind: 'not'; readonly part: Node };

/** What a store does for its bitmaps. @internal */
export interface RowSource {
    readonly rowCount: number;
    /** Compiles a filter, for its errors. */
    check(filter: string): void;
    count(filter: string): number;
    filter(filter: string): Uint32Array;
}

/** What combines with a bitmap: another of the same store, a filter, or its text. */
export type BitmapOperand = RowBitmap | Filter | string;

const EVERY_ROW: Node = { kind: 'condition', text: '' };

/** The node as one filter, unless there is a `not` in it. */
function textOf(node: Node): string | null {
    if (node.kind === 'condition') {
        return node.text;
    }
    if (node.kind === 'not') {
        return null;
    }
    const texts = node.parts.map(textOf);
    if (texts.includes(null)) {
        return null;
    }
    // A blank text is every row: no part of a conjunction, all of a disjunction.
    if (node.kind === 'or' && texts.includes('')) {
        return '';
    }
    const parts = texts.filter((text) => text !== '');
    return parts.length < 2
        ? (parts[0] ?? '')
        : parts.map((text) => `(${text})`).join(node.kind === 'or' ? ' OR ' : ' AND ');
}

function popcount(words: Uint32Array): number {
    let count = 0;
    for (let word of words) {
        word -= (word >>> 1) & 0x55555555;
        word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
        count += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
    }
    return count;
}

/** A set of rows of a {@link ColumnStore}, evaluated anew by each call that asks for it. */
export class RowBitmap {
    readonly #store: RowSource;
    readonly #node: Node;

    /** @internal */
    constructor(store: RowSource, node: Node) {
        this.#store = store;
        this.#node = node;
    }

    /**
     * The set of the rows that match. The condition is compiled here once, so that only what is whole by itself is ever
     * put in parentheses: `a) OR (b` is no condition.
     * @internal
     */
    static of(store: RowSource, filter: Filter | string): RowBitmap {
        const text = filterText(filter).trim();
        store.check(text);
        return new RowBitmap(store, { kind: 'condition', text });
    }

    /** Rows in this set and in all the others. */
    and(...others: BitmapOperand[]): RowBitmap {
        return this.#combine('and', others);
    }

    /** Rows in this set or in any of the others. */
    or(...others: BitmapOperand[]): RowBitmap {
        return this.#combine('or', others);
    }

    /** Live rows that are not in this set, those with NULL in its columns included. */
    not(): RowBitmap {
        const node: Node = this.#node.kind === 'not' ? this.#node.part : { kind: 'not', part: this.#node };
        return new RowBitmap(this.#store, node);
    }

    /**
     * The number of rows.
     * @throws {VeltaError} `SYNTAX`, `UNKNOWN_COLUMN`, `TYPE` for a condition that cannot be read.
     */
    count(): number {
        const text = textOf(this.#node);
        if (text !== null) {
            return this.#store.count(text);
        }
        const inner = this.#node.kind === 'not' ? textOf(this.#node.part) : null;
        return inner === null ? popcount(this.#words(this.#node)) : this.#store.count('') - this.#store.count(inner);
    }

    /**
     * The row indices, ascending.
     * @throws {VeltaError} As {@link count}.
     */
    toIndices(): Uint32Array {
        const text = textOf(this.#node);
        if (text !== null) {
            return this.#store.filter(text);
        }
        const words = this.#words(this.#node);
        const rows = new Uint32Array(popcount(words));
        let found = 0;
        for (let i = 0; i < words.length; i++) {
            for (let word = words[i] as number; word !== 0; word &= word - 1) {
                rows[found++] = i * 32 + 31 - Math.clz32(word & -word);
            }
        }
        return rows;
    }

    /** The row indices, ascending, one by one. */
    [Symbol.iterator](): IterableIterator<number> {
        return this.toIndices()[Symbol.iterator]();
    }

    #combine(kind: 'and' | 'or', others: readonly BitmapOperand[]): RowBitmap {
        const parts = others.map((other) => {
            if (!(other instanceof RowBitmap)) {
                return RowBitmap.of(this.#store, other).#node;
            }
            if (other.#store !== this.#store) {
                throw invalid('bitmaps of different stores do not combine');
            }
            return other.#node;
        });
        return new RowBitmap(this.#store, { kind, parts: [this.#node, ...parts] });
    }

    #words(node: Node): Uint32Array {
        const text = textOf(node);
        if (text !== null) {
            const words = new Uint32Array(Math.ceil(this.#store.rowCount / 32));
            for (const row of this.#store.filter(text)) {
                words[row >>> 5] = (words[row >>> 5] as number) | (1 << (row & 31));
            }
            return words;
        }
        if (node.kind === 'not') {
            const every = this.#words(EVERY_ROW);
            const part = this.#words(node.part);
            return every.map((word, i) => word & ~(part[i] as number));
        }
        const { kind, parts } = node as { kind: 'and' | 'or'; parts: readonly Node[] };
        const [first, ...rest] = parts.map((part) => this.#words(part)) as [Uint32Array, ...Uint32Array[]];
        for (const other of rest) {
            for (let i = 0; i < first.length; i++) {
                const word = other[i] as number;
                first[i] = kind === 'and' ? (first[i] as number) & word : (first[i] as number) | word;
            }
        }
        return first;
    }
}
