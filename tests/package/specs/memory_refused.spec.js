/*
 * Memory refused at every point of every public method: the module may not grow at the n-th time that it wants to, once
 * or from then on, with more or less room left before; and JavaScript refuses the n-th array that the package makes.
 * What comes out is NO_MEMORY, the database is as it was to the byte, and the same call then does what it does
 * undisturbed.
 */
import { expect } from 'chai';
import * as velta from 'velta';
import { figure } from '../support/harness.js';
import { end } from '../support/hostile.js';
import { METHODS, ROW, clock, makeDatabase } from '../support/methods.js';
import { randomFrom } from '../support/random.js';

const PAGE_BYTES = 65_536;

// ---- growth

/** What happens to growing: let through; refused always; or counted, the `failAt`-th refused, or all from it. */
const growth = { mode: 'free', count: 0, refused: 0, failAt: 0, always: false, generous: false };
const grow = WebAssembly.Memory.prototype.grow;
WebAssembly.Memory.prototype.grow = function (pages) {
    if (growth.mode === 'free') return grow.call(this, pages);
    // The package asks for more than it needs first: refused, so that it grows by what it needs and so more often.
    growth.generous = !growth.generous;
    if (growth.mode === 'never' || growth.generous) throw new RangeError('growth refused');
    growth.count++;
    if (growth.count === growth.failAt || (growth.always && growth.count > growth.failAt)) {
        growth.refused++;
        throw new RangeError('growth refused');
    }
    return grow.call(this, pages);
};

function arm(mode, failAt = 0, always = false) {
    Object.assign(growth, { mode, count: 0, refused: 0, failAt, always, generous: false });
}

/** Takes all memory that the module has free but `room` bytes in one piece; gives what gives it back. */
function fillUp({ exports }, room) {
    const blocks = [];
    const hole = room > 0 ? exports.abi_allocate(room) >>> 0 : 0;
    arm('never');
    for (let bytes = 1 << 24; bytes >= 16; bytes >>>= 1) {
        for (;;) {
            const address = exports.abi_allocate(bytes) >>> 0;
            if (address === 0) break;
            blocks.push([address, bytes]);
        }
    }
    if (hole !== 0) exports.abi_release(hole, room);
    arm('free');
    return () => blocks.forEach(([address, bytes]) => exports.abi_release(address, bytes));
}

// ---- arrays

const arrays = { count: 0, failAt: 0, refused: 0 };
const KINDS = [
    'Float32Array',
    'Float64Array',
    'Uint8Array',
    'Uint16Array',
    'Uint32Array',
    'Int32Array',
    'BigInt64Array',
];
const USUAL = KINDS.map((name) => globalThis[name]);

const slices = Object.getPrototypeOf(Uint8Array).prototype;
const { slice } = slices;

function countArray() {
    if (++arrays.count !== arrays.failAt) return;
    arrays.refused++;
    throw new RangeError('Array buffer allocation failed');
}

/** From now the `failAt`-th array that is no view is refused. */
function refuseArrays(failAt) {
    Object.assign(arrays, { count: 0, failAt, refused: 0 });
    slices.slice = function (...parameters) {
        countArray();
        return slice.apply(this, parameters);
    };
    KINDS.forEach((name, i) => {
        globalThis[name] = new Proxy(USUAL[i], {
            construct(target, parameters, made) {
                if (!(parameters[0] instanceof ArrayBuffer)) countArray();
                return Reflect.construct(target, parameters, made === globalThis[name] ? target : made);
            },
        });
    });
}

function allowArrays() {
    slices.slice = slice;
    KINDS.forEach((name, i) => (globalThis[name] = USUAL[i]));
}

// ---- one attempt

const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Methods that make links: those made before a refusal stay, and change what an export has. */
const LINKING = new Set(['linkPending', 'index', 'compact', 'vacuum']);

/** Ends what a call gave; undefined, or the code of the error that it threw. */
async function codeOf(call) {
    try {
        await end(call());
    } catch (error) {
        return error instanceof velta.VeltaError ? error.code : `${error?.name}: ${error?.message}`;
    }
    return undefined;
}

/** What a call does when nothing is refused. */
async function undisturbed(make, name, parameters) {
    const { target, database } = await make();
    const code = await codeOf(() => target[name](...parameters));
    const bytes = database?.closed === false ? database.export() : undefined;
    await database?.close();
    return { code, bytes };
}

/**
 * One call with `refuse` in force, which gives a function that ends it and says how much was refused. Then the state,
 * and a second call. Gives how much was refused and what is wrong.
 */
async function attempt(make, name, parameters, usual, refuse) {
    const { target, database } = await make();
    const before = database?.export();
    const wrong = [];
    const allow = refuse();
    const code = await codeOf(() => target[name](...parameters));
    const refused = allow();
    const expected = refused > 0 ? ['NO_MEMORY', usual.code] : [usual.code];
    if (!expected.includes(code)) wrong.push(`it ended with ${code}`);
    if (database !== undefined && code !== undefined && code !== usual.code) {
        if (database.closed) wrong.push('it is closed');
        else {
            const links = LINKING.has(name);
            if (!links && !equal(database.export(), before)) wrong.push('the database is not as it was');
            const again = await codeOf(() => target[name](...parameters));
            if (again !== usual.code) wrong.push(`the second time it ended with ${again}`);
            else if (!links && !equal(database.export(), usual.bytes)) wrong.push('the second time did something else');
            database.verify();
        }
    }
    await database?.close();
    return { refused, wrong };
}

// ---- all methods

/** Methods that take nothing. */
const PLAIN = {
    'a database': ['tableNames', 'listColumnFamilies', 'stats', 'export', 'checkpoint', 'compact', 'flush', 'verify'],
    'a table': ['all'],
    'a query': ['not', 'count', 'rows', 'keys', 'toArray', 'first', 'delete'],
    'an iterator': ['next', 'collectAll'],
    'an iterator of a family': ['next', 'collectAll'],
    'a column family': ['iter'],
    'a delta vector database': ['export', 'stats', 'compact', 'flush'],
    'a column store': ['vacuum', 'clear', 'memoryUsage', 'export', 'flush'],
    'a bitmap of rows': ['not', 'count', 'toIndices'],
};

const random = randomFrom(11);
const MANY = 500;
const large = {
    name: Array.from({ length: MANY }, (_, i) => `row ${i}`),
    text: Array.from({ length: MANY }, (_, i) => `text ${i % 50} ${'x'.repeat(i % 9)}`),
    size: Int32Array.from({ length: MANY }, () => random.below(1000)),
    embedding: random.vector(MANY * 4),
};
const onEmpty = () => {
    const { database, table } = makeDatabase();
    return { target: table, database };
};
const onFilled = () => {
    const { database, table } = makeDatabase();
    table.insertColumns(large);
    return { target: table, database };
};
const onFilledDatabase = () => {
    const { database } = onFilled();
    return { target: database, database };
};

/** Calls that need more than a few pages. */
const LARGE = [
    [onEmpty, 'insertColumns', [large]],
    [onFilled, 'insert', [large.name.map((name) => ({ ...ROW, name: `again ${name}` }))]],
    [onFilled, 'upsertColumns', [{ ...large, size: large.size.map((size) => size + 1) }]],
    [onFilled, 'updateMany', [large.name, { text: large.name, embedding: large.embedding }]],
    [onFilled, 'delete', [large.name.slice(0, 300)]],
    [onFilled, 'applyAll', [large.name.map((key) => ({ key, operation: { type: 'scale', factor: 2 } }))]],
    [onFilled, 'getMany', [large.name]],
    [onFilled, 'searchMany', [large.embedding.slice(0, 400), { k: 30, select: ['text'] }]],
    [onFilledDatabase, 'export', []],
    [onFilledDatabase, 'compact', []],
    [onFilledDatabase, 'linkPending', []],
];

/** Every call: [what, how it is made, method, arguments]. */
function* everyCall() {
    for (const [what, [make, methods]] of Object.entries(METHODS)) {
        for (const [name, parameters] of Object.entries(methods)) yield [`${what}, ${name}`, make, name, parameters];
        for (const name of PLAIN[what] ?? []) yield [`${what}, ${name}()`, make, name, []];
    }
    for (const [make, name, parameters] of LARGE) yield [`many rows, ${name}`, make, name, parameters];
}

/** Runs a sweep over all calls; `sweep` gives what is wrong with one. */
async function everywhere(sweep) {
    const wrong = [];
    for (const [what, make, name, parameters] of everyCall()) {
        const usual = await undisturbed(make, name, parameters);
        for (const complaint of await sweep(make, name, parameters, usual)) wrong.push(`${what}: ${complaint}`);
    }
    return wrong;
}

describe('memory refused at every point', () => {
    let instance;
    before(async () => {
        await velta.init({ maxMemory: 2 ** 28 });
        clock.step = 0;
        const { database } = makeDatabase();
        ({ instance } = database);
        await database.close();
    });
    afterEach(() => {
        arm('free');
        allowArrays();
    });

    it('the module has no room at all', () => {
        const giveBack = fillUp(instance, 0);
        arm('counted', 1, true);
        expect(() => makeDatabase())
            .to.throw(velta.VeltaError)
            .with.property('code', 'NO_MEMORY');
        expect(growth.refused).to.be.above(0);
        arm('free');
        giveBack();
        expect(instance.memory.buffer.byteLength).to.be.below(600 * PAGE_BYTES);
    });

    it('by the growth of the module', async () => {
        let total = 0;
        const counts = instance.counts();
        const wrong = await everywhere(async (make, name, parameters, usual) => {
            const found = new Set();
            for (const room of [0, 400, 6000]) {
                for (const always of [false, true]) {
                    for (let failAt = 1; ; failAt++) {
                        const refuse = () => {
                            const giveBack = fillUp(instance, room);
                            arm('counted', failAt, always);
                            return () => {
                                const { refused } = growth;
                                arm('free');
                                giveBack();
                                return refused;
                            };
                        };
                        const outcome = await attempt(make, name, parameters, usual, refuse);
                        outcome.wrong.forEach((line) => found.add(line));
                        total += outcome.refused > 0;
                        if (outcome.refused === 0) break;
                    }
                }
            }
            return found;
        });
        expect(instance.counts()).to.deep.equal(counts);
        figure('growths_refused', total);
        figure('growth_differences', wrong.length);
        expect(wrong.join('\n')).to.equal('');
        expect(total).to.be.above(500);
    }).timeout(180_000);

    it('by JavaScript, for its own arrays', async () => {
        let total = 0;
        const wrong = await everywhere(async (make, name, parameters, usual) => {
            const found = new Set();
            for (let failAt = 1; ; failAt++) {
                const refuse = () => {
                    refuseArrays(failAt);
                    return () => {
                        allowArrays();
                        return arrays.refused;
                    };
                };
                const outcome = await attempt(make, name, parameters, usual, refuse);
                outcome.wrong.forEach((line) => found.add(line));
                total += outcome.refused;
                if (outcome.refused === 0) break;
            }
            return found;
        });
        figure('arrays_refused', total);
        expect(wrong.join('\n')).to.equal('');
        expect(total).to.be.above(100);
    }).timeout(180_000);
});
