/*
 * What crash.mjs and its page agree on: which change comes next in a store, and what it makes of the rows.
 *
 * The change after `count` changes is a function of a seed, of `count` and of the rows that are there, so a page can go
 * on from whatever it finds, and the other side can say what every number of changes must have left. Rows are a Map of
 * key → { text, number, v }; the elements of v are small integers, which 32-bit floats hold exactly.
 */
import { randomFrom } from '../support/random.js';

export const DIMENSIONS = 8;
/** So many changes may be under way, or durable and not yet told, when a page ends. */
export const MOST_UNTOLD = 4;
const MOST_ROWS = 500;
const MOST_BATCH = 40;

const sorted = (rows) => [...rows.keys()].sort((a, b) => a - b);

function newRow(id, random) {
    const v = Array.from({ length: DIMENSIONS }, () => random.below(200) - 100);
    return { id, text: `row ${id} `.repeat(1 + random.below(30)), number: random.below(1000), v };
}

function someKeys(keys, most, random) {
    const wanted = 1 + random.below(most);
    return [...new Set(Array.from({ length: wanted }, () => random.pick(keys)))];
}

function delta(random) {
    const kind = random.pick(['sparse', 'dense', 'scale', 'offset', 'set']);
    if (kind === 'scale') return { type: 'scale', factor: -1 };
    if (kind === 'offset') return { type: 'offset', amount: random.below(9) - 4 };
    if (kind === 'sparse') return { type: 'sparse', indices: [1, 5], values: [random.below(9), 3] };
    const vector = Array.from({ length: DIMENSIONS }, () => random.below(9) - 4);
    return { type: 'dense', mode: kind === 'set' ? 'set' : 'add', vector };
}

const KINDS = {
    insert: (random, keys, count) => {
        const length = 1 + random.below(MOST_BATCH);
        return { rows: Array.from({ length }, (_, i) => newRow(count * MOST_BATCH + i + 1, random)) };
    },
    upsert: (random, keys, count) => {
        const old = someKeys(keys, 10, random).map((id) => newRow(id, random));
        return { rows: [...old, newRow(count * MOST_BATCH + 1, random)] };
    },
    update: (random, keys) => ({ key: random.pick(keys), values: { text: `text ${random.below(1e6)}` } }),
    updateMany: (random, keys) => {
        const chosen = someKeys(keys, 30, random);
        return { keys: chosen, numbers: chosen.map(() => random.below(1000)) };
    },
    delete: (random, keys) => ({ keys: someKeys(keys, keys.length > MOST_ROWS ? 400 : 12, random) }),
    apply: (random, keys) => ({ deltas: [{ key: random.pick(keys), operation: delta(random) }] }),
    applyAll: (random, keys) => ({
        deltas: Array.from({ length: 2 + random.below(12) }, () => ({
            key: random.pick(keys),
            operation: delta(random),
        })),
    }),
    checkpoint: () => ({}),
    compact: (random) => ({ keepSince: random.chance(1 / 2) ? 'all' : undefined }),
};
const OFTEN = [
    'insert',
    'insert',
    'upsert',
    'update',
    'updateMany',
    'delete',
    'delete',
    'apply',
    'applyAll',
    'applyAll',
];
const SELDOM = ['checkpoint', 'compact'];

/** The change that follows `count` changes. */
export function nextChange(seed, count, rows) {
    const random = randomFrom(seed ^ Math.imul(count + 1, 0x9e3779b1));
    const keys = sorted(rows);
    let kind = random.pick(random.chance(1 / 10) ? SELDOM : OFTEN);
    if (keys.length > MOST_ROWS) kind = 'delete';
    else if (keys.length === 0) kind = 'insert';
    return { kind, ...KINDS[kind](random, keys, count) };
}

function changeVector(v, { type, factor, amount, indices, values, mode, vector }) {
    if (type === 'scale') return v.map((x) => x * factor + 0);
    if (type === 'offset') return v.map((x) => x + amount);
    if (type === 'sparse') return v.map((x, i) => x + (indices.includes(i) ? values[indices.indexOf(i)] : 0));
    return v.map((x, i) => (mode === 'set' ? vector[i] : x + vector[i]));
}

/** Does a change to the rows. */
export function changeRows(rows, change) {
    for (const { id, ...row } of change.rows ?? []) rows.set(id, row);
    if (change.kind === 'delete') change.keys.forEach((key) => rows.delete(key));
    if (change.kind === 'update') Object.assign(rows.get(change.key), change.values);
    if (change.kind === 'updateMany') change.keys.forEach((key, i) => (rows.get(key).number = change.numbers[i]));
    for (const { key, operation } of change.deltas ?? []) {
        rows.get(key).v = changeVector(rows.get(key).v, operation);
    }
}

/** The rows as one text, equal where the rows are. */
export function textOf(rows) {
    return JSON.stringify(sorted(rows).map((id) => [id, rows.get(id).text, rows.get(id).number, rows.get(id).v]));
}

/** The rows of such a text. */
export function rowsOf(text) {
    return new Map(JSON.parse(text).map(([id, row, number, v]) => [id, { text: row, number, v }]));
}
