/*
 * Values that no program should pass, and a driver that passes each of them to every method.
 *
 * What must hold: a call ends, and what comes out of it is a VeltaError with a code and a sentence, or the very error
 * that a getter of the value threw; after a call that failed the database is as it was, to the byte.
 */
import { VeltaError } from 'velta';

/** What the values' own getters throw. */
export const OWN_ERROR = new Error('thrown by the value itself');

const refuse = () => {
    throw OWN_ERROR;
};

function detached() {
    const vector = new Float32Array(4);
    structuredClone(vector.buffer, { transfer: [vector.buffer] });
    return vector;
}

/** A view that reached beyond the end of its buffer when that shrank. */
function shrunk() {
    const buffer = new ArrayBuffer(64, { maxByteLength: 128 });
    const vector = new Float32Array(buffer, 32, 8);
    buffer.resize(16);
    return vector;
}

function revoked() {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
}

function cycle() {
    const value = {};
    value.self = value;
    return value;
}

const numbers = [
    NaN,
    Infinity,
    -Infinity,
    -0,
    -1,
    0.5,
    1e-320,
    2 ** 31,
    2 ** 32,
    2 ** 32 - 1,
    2 ** 53,
    -(2 ** 63),
    1e308,
];
const texts = [
    '',
    'x',
    '\ud800',
    'a\udfff',
    'a\0b',
    '__proto__',
    'constructor',
    "'; DROP",
    '€'.repeat(70),
    'n'.repeat(1e5),
];

/** Name and value; some are made by what this engine has. */
export function badValues() {
    const everything = new Proxy(
        {},
        { get: refuse, has: refuse, ownKeys: refuse, getPrototypeOf: refuse, getOwnPropertyDescriptor: refuse },
    );
    const values = [
        ...numbers.map((number) => [`the number ${number}`, number]),
        ...texts.map((text) => [`the text ${JSON.stringify(text.slice(0, 12))}`, text]),
        ...[undefined, null, true, false].map((value) => [String(value), value]),
        ...[1n, -1n, 2n ** 63n, 2n ** 200n].map((value) => [`the bigint ${value}`, value]),
        ['a symbol', Symbol('s')],
        ['a function', () => 1],
        ['an object', {}],
        ['an object without prototype', Object.create(null)],
        ['an array', []],
        ['an array of null', [null]],
        ['an array of undefined', [undefined]],
        ['an array of a symbol', [Symbol('s')]],
        ['an array of arrays', [[]]],
        ['a long sparse array', Object.assign([], { length: 20_000 })],
        ['an array-like of no end', { length: 2 ** 53 - 1 }],
        ['an array-like of negative length', { length: -1 }],
        ['an invalid Date', new Date(NaN)],
        ['the last Date', new Date(8.64e15)],
        ['the first Date', new Date(-8.64e15)],
        ['the Date of 1970', new Date(0)],
        ['a Map', new Map([['name', 1]])],
        ['a regular expression', /x/],
        ['a boxed string', new String('x')],
        ['a boxed number', new Number(1)],
        ['an empty Float32Array', new Float32Array(0)],
        ['a short Float32Array', new Float32Array(3)],
        ['a Float32Array with NaN', Float32Array.of(NaN, 0, 0, 0)],
        ['a Float32Array with an infinity', Float32Array.of(0, Infinity, 0, 0)],
        ['a Float64Array', new Float64Array(4)],
        ['an Int8Array', Int8Array.of(-1, -2, -3, -4)],
        ['a Uint32Array of large numbers', Uint32Array.of(0, 2 ** 32 - 1)],
        ['a BigInt64Array', new BigInt64Array(4)],
        ['a DataView', new DataView(new ArrayBuffer(16))],
        ['an ArrayBuffer', new ArrayBuffer(16)],
        ['a detached Float32Array', detached()],
        ['a revoked proxy', revoked()],
        ['a proxy that throws', everything],
        ['an array proxy that throws', new Proxy([1], { get: refuse })],
        ['an object whose conversions throw', { toString: refuse, valueOf: refuse, toJSON: refuse }],
        ['an object whose getters throw', Object.defineProperty({}, 'name', { get: refuse, enumerable: true })],
        ['an iterable that throws', { [Symbol.iterator]: refuse, length: 1 }],
        ['an object that contains itself', cycle()],
        ['an object with unknown names', { nonsense: 1, toString: 2, '': 3 }],
        ['an object of symbols', { name: Symbol('s'), k: Symbol('s'), type: Symbol('s'), keys: Symbol('s') }],
        ['an object of nulls', { name: null, k: null, type: null, at: null, columns: null, key: null, where: null }],
        ['an object of wrong numbers', { k: -1, ef: NaN, at: NaN, start: 1.5, column: 7, dimensions: 1e9, top: -1 }],
        ['an object of objects', { name: {}, k: {}, type: {}, at: {}, columns: {}, key: {}, where: {}, start: {} }],
    ];
    if ('resize' in ArrayBuffer.prototype) values.push(['a view out of bounds', shrunk()]);
    if (typeof SharedArrayBuffer === 'function') {
        values.push(['a view of shared memory', new Float32Array(new SharedArrayBuffer(16))]);
    }
    return values;
}

function same(a, b) {
    if (a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
    return true;
}

/** What is wrong with what came out of a call; undefined when nothing is. */
export function complaintAbout(error) {
    // A revoked proxy throws by itself whatever is asked of it.
    if (error === OWN_ERROR || (error instanceof TypeError && /revoked/.test(error.message))) return undefined;
    if (!(error instanceof VeltaError)) return `${error?.name ?? typeof error}: ${error?.message ?? String(error)}`;
    if (!/^[A-Z_]+$/.test(error.code)) return `the code ${error.code}`;
    if (error.message.length < 10 || error.message.length > 600) return `a message of ${error.message.length}`;
    if (/undefined is not|\[object |is not a function|Cannot read/.test(error.message)) return error.message;
    return undefined;
}

/** Lets go of what a call that went well gave. */
export async function end(result) {
    const value = result instanceof Promise ? await result : result;
    if (typeof value === 'function') value();
    else if (typeof value?.close === 'function') await value.close();
    else if (typeof value?.unsubscribe === 'function') value.unsubscribe();
}

/**
 * Calls `method` of what `make` gives, with each bad value in each place of `good`, one place at a time.
 * `make` gives { target, database }; `close` ends it. Gives what went wrong, one line each.
 */
export async function passEverything(make, name, good) {
    const wrong = [];
    let made = await make();
    let before = made.database?.export();
    for (let place = 0; place < good.length; place++) {
        for (const [label, value] of badValues()) {
            const args = good.slice();
            args[place] = value;
            const what = `${name}, argument ${place + 1}: ${label}`;
            let failed = false;
            try {
                await end(made.target[name](...args));
            } catch (error) {
                failed = true;
                const complaint = complaintAbout(error);
                if (complaint) wrong.push(`${what}: ${complaint}`);
            }
            if (made.database === undefined) continue;
            if (made.database.closed) {
                made = await make();
                before = made.database.export();
            } else if (!failed) {
                before = made.database.export();
            } else {
                const after = made.database.export();
                if (!same(after, before)) wrong.push(`${what}: the database is not as it was`);
            }
        }
    }
    await made.database?.close();
    return wrong;
}
