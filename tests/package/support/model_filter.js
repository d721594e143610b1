/*
 * Random filters for the model: the text, and what it means, with NULL as the third truth value (null).
 */
const not = (value) => (value === null ? null : !value);
const and = (a, b) => (a === false || b === false ? false : a === null || b === null ? null : true);
const or = (a, b) => not(and(not(a), not(b)));

const quote = (text) => `'${text.replaceAll("'", "''")}'`;

const hex = (bytes) => `x'${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}'`;

function literal(value) {
    if (typeof value === 'string') return quote(value);
    if (typeof value === 'boolean') return value ? 'TRUE' : 'FALSE';
    if (value instanceof Date) return String(value.getTime());
    if (value instanceof Uint8Array) return hex(value);
    if (typeof value === 'bigint') return String(value);
    if (!Number.isFinite(value)) return value < 0 ? '-1e999' : '1e999';
    return Number.isInteger(value) && Math.abs(value) < 1e15 && !Object.is(value, -0) ? `${value}.0` : String(value);
}

/** JavaScript's order of strings is UTF-8's as long as nothing from U+E000 to U+FFFF is among them: nothing is. */
const ordered = (value) => {
    if (value instanceof Date) return value.getTime();
    return value instanceof Uint8Array ? String.fromCharCode(...value) : value;
};

const SIGNS = {
    '=': (a, b) => a == b, // an int's bigint and a float are equal when their values are
    '!=': (a, b) => a != b,
    '<': (a, b) => a < b,
    '<=': (a, b) => a <= b,
    '>': (a, b) => a > b,
    '>=': (a, b) => a >= b,
};

function compare(name, sign, right) {
    return {
        text: `${name} ${sign} ${literal(right)}`,
        value: (values) => {
            const left = values[name] ?? null;
            return left === null ? null : SIGNS[sign](ordered(left), ordered(right));
        },
    };
}

function simple(random, columns, valueOf) {
    const [name, column] = random.pick([...columns]);
    const isNull = { text: `${name} IS NULL`, value: (values) => (values[name] ?? null) === null };
    const right = column.type === 'vector' ? null : valueOf(column);
    if (right === null || Number.isNaN(right) || random.chance(0.1)) return isNull;
    if (column.type === 'string' && random.chance(0.3)) {
        const text = right.slice(0, 2);
        const starts = (values) => ((values[name] ?? null) === null ? null : values[name].startsWith(text));
        return { text: `${name} STARTS WITH ${quote(text)}`, value: starts };
    }
    if (random.chance(0.2)) {
        const others = [right, valueOf(column)].filter((one) => one !== null && !Number.isNaN(one));
        const tests = others.map((one) => compare(name, '=', one));
        const isIn = (values) => tests.map(({ value }) => value(values)).reduce(or);
        return { text: `${name} IN (${others.map(literal).join(', ')})`, value: isIn };
    }
    return compare(name, random.pick(Object.keys(SIGNS)), right);
}

function tree(random, columns, valueOf, depth) {
    if (random.chance(0.15)) {
        const inner = tree(random, columns, valueOf, depth);
        return { text: `NOT (${inner.text})`, value: (values) => not(inner.value(values)) };
    }
    if (depth === 0 || random.chance(0.4)) return simple(random, columns, valueOf);
    const [a, b] = [0, 1].map(() => tree(random, columns, valueOf, depth - 1));
    const [word, join] = random.pick([
        ['AND', and],
        ['OR', or],
    ]);
    return { text: `(${a.text}) ${word} (${b.text})`, value: (values) => join(a.value(values), b.value(values)) };
}

/** A filter's text, and a test of a row's values. */
export function predicate(random, columns, valueOf) {
    const { text, value } = tree(random, columns, valueOf, 2);
    return { text, test: (values) => value(values) === true };
}
