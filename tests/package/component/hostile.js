/*
 * What the component makes of arguments, bytes, clocks and callers that mean harm: a coded refusal, or the host's own
 * for what has no form in the wit; nothing has changed then, and no memory is lost.
 */
import { randomFrom } from '../support/random.js';
import { equal, must, refusal, show } from './tell.js';

const DIMENSIONS = 8;
const create = (vectorId, vector = new Float32Array(DIMENSIONS).fill(1)) => ({
    vectorId,
    operation: { tag: 'create', val: vector },
});
const scale = (vectorId, val) => ({ vectorId, operation: { tag: 'scale', val } });

/** A database with a few vectors. */
function make({ Database }, options = {}) {
    const db = new Database({ dimensions: DIMENSIONS, ...options });
    const random = randomFrom(7);
    db.applyDeltas(Array.from({ length: 20 }, (_, i) => create(`v${i}`, random.vector(DIMENSIONS))));
    return db;
}

/** `call` is refused, by the component with a code of `codes` or by the host (null), and changes nothing. */
function refused(db, what, call, codes) {
    const before = db.export();
    let code = 'none';
    try {
        call();
    } catch (error) {
        code = error.payload === undefined ? null : error.payload.code;
    }
    must(codes.includes(code), () => `${what}: ${code}`);
    equal(what, db.export(), before);
}

export function options({ Database }) {
    const wrong = [
        [{ dimensions: 0 }, 'invalid'],
        [{ dimensions: 8193 }, 'limit'],
        [{ maxVectors: 0 }, 'invalid'],
        [{ checkpointInterval: 0 }, 'invalid'],
        [{ hnswM: 0 }, 'invalid'],
        [{ hnswM: 3 }, 'invalid'],
        [{ hnswM: 65 }, 'invalid'],
        [{ hnswEfConstruction: 0 }, 'invalid'],
        [{ hnswEfSearch: 0 }, 'invalid'],
        [{ memoryBudget: 0n }, 'invalid'],
        [{ memoryBudget: 1n }, 'over-budget'],
    ];
    for (const [given, code] of wrong) {
        const told = refusal(() => new Database(given));
        must(told.code === code && told.message !== '', () => `${show(given)}: ${show(told)}`);
    }
    for (const metric of ['cosine', 'l2', 'dot']) new Database({ metric })[Symbol.dispose]();
}

export function deltas(component) {
    const db = make(component, { maxVectors: 25 });
    const vector = new Float32Array(DIMENSIONS);
    const sparse = (indices, values, mode = 'add') => ({
        vectorId: 'v1',
        operation: {
            tag: 'sparse',
            val: { indices: Uint32Array.from(indices), values: new Float32Array(values), mode },
        },
    });
    const cases = [
        ['an id that lives', create('v1'), 'exists'],
        ['an id that does not', scale('nobody', 2), 'not-found'],
        ['too long', create('n', new Float32Array(DIMENSIONS + 1)), 'dimensions'],
        ['empty', create('n', new Float32Array(0)), 'dimensions'],
        [
            'no number',
            create(
                'n',
                vector.map(() => NaN),
            ),
            'not-finite',
        ],
        ['an infinite factor', scale('v1', Infinity), 'not-finite'],
        ['an index beyond', sparse([DIMENSIONS], [1]), 'dimensions'],
        ['the largest index', sparse([0xffffffff], [1]), 'dimensions'],
        ['an index twice', sparse([1, 1], [1, 1]), 'invalid'],
        ['descending', sparse([2, 1], [1, 1]), 'invalid'],
        ['fewer values', sparse([1, 2], [1]), 'invalid'],
        ['a delete with metadata', { vectorId: 'v1', operation: { tag: 'delete' }, metadata: '{}' }, 'invalid'],
        ['a time beyond', { ...scale('v1', 2), timestamp: 8_640_000_000_000_001n }, 'invalid'],
        ['the first time', { ...scale('v1', 2), timestamp: -(2n ** 63n) }, 'invalid'],
        ['large metadata', { ...scale('v1', 2), metadata: ' '.repeat((16 << 20) + 1) }, 'limit'],
        ['no such operation', { vectorId: 'v1', operation: { tag: 'nothing' } }, null],
        ['no such mode', sparse([1], [1], 'up'), null],
        ['no operation', { vectorId: 'v1' }, null],
        ['no id', { operation: { tag: 'delete' } }, null],
        ['null', null, null],
    ];
    for (const [what, delta, code] of cases) {
        refused(db, what, () => db.applyDelta(delta), [code]);
        refused(db, `${what}, in a batch`, () => db.applyDeltas([scale('v2', 2), delta]), [code]);
        if (code === null) continue;
        const { offset } = refusal(() => db.applyDeltas([scale('v2', 2), delta]));
        must(offset === 1n, () => `${what}: the offset is ${offset}`);
    }
    const many = Array.from({ length: 6 }, (_, i) => create(`n${i}`));
    refused(db, 'too many', () => db.applyDeltas(many), ['limit']);
    must(refusal(() => db.applyDeltas(many)).offset === 5n, 'the sixth is one too many');
    db[Symbol.dispose]();
}

export function questions(component) {
    const db = make(component);
    const query = new Float32Array(DIMENSIONS).fill(1);
    const exact = false;
    const cases = [
        ['no k', () => db.search(query, 0, undefined), 'invalid'],
        ['a large k', () => db.search(query, 16_385, undefined), 'limit'],
        ['the largest k', () => db.search(query, 0xffffffff, undefined), 'limit'],
        ['no query', () => db.search(new Float32Array(0), 1, undefined), 'dimensions'],
        ['a short query', () => db.search(query.subarray(1), 1, undefined), 'dimensions'],
        [
            'no number',
            () =>
                db.search(
                    query.map(() => NaN),
                    1,
                    undefined,
                ),
            'not-finite',
        ],
        ['no ef', () => db.search(query, 1, { exact, ef: 0 }), 'invalid'],
        ['the time 0', () => db.search(query, 1, { exact, at: 0n }), 'invalid'],
        ['no time', () => db.search(query, 1, { exact, at: 2n ** 63n - 1n }), 'invalid'],
        ['a vector at 0', () => db.getVectorAt('v1', 0n), 'invalid'],
        ['a vector never', () => db.getVectorAt('v1', -(2n ** 63n)), 'invalid'],
        ['no vectors to link', () => db.index(0), 'invalid'],
        ['no time to keep', () => db.compact(2n ** 63n - 1n), 'invalid'],
        ['an id of another type', () => db.getVector(7), null],
        ['a query of another type', () => db.search(null, 1, undefined), null],
    ];
    for (const [what, call, code] of cases) refused(db, what, call, [code]);
    must(db.search(query, 16_384, { exact, ef: 0xffffffff }).length === 20, 'the most that may be asked for');
    db[Symbol.dispose]();
}

/** Bytes that are damaged or of something else; each is refused whole. */
export function bytes(component) {
    const db = make(component);
    const sound = make(component, { hnswM: 8 }).export();
    const random = randomFrom(11);
    const damaged = ['corrupt', 'version', 'invalid', 'limit', 'over-budget'];
    for (let round = 0; round < 300; round++) {
        const copy = round % 3 ? sound.slice() : sound.slice(0, random.below(sound.length));
        // Ten bytes: some fall where nothing is told, between the parts.
        for (let i = 0; i < 10 && copy.length; i++) copy[random.below(copy.length)] ^= 1 + random.below(255);
        refused(db, `damage ${round}`, () => db.import(copy), damaged);
    }
    refused(db, 'no bytes', () => db.import(new Uint8Array(0)), ['corrupt', 'invalid']);
    refused(db, 'noise', () => db.import(Uint8Array.from({ length: 9999 }, () => random.below(256))), damaged);
    const { Database } = component;
    refused(db, 'other dimensions', () => db.import(new Database({ dimensions: 9 }).export()), ['dimensions']);
    refused(db, 'another metric', () => db.import(make(component, { metric: 'l2' }).export()), ['invalid']);
    const small = make(component, { maxVectors: 21 });
    const full = make(component);
    full.applyDeltas([create('x'), create('y')]);
    refused(small, 'too many', () => small.import(full.export()), ['limit']);
    db.import(sound);
    equal('after all', db.export(), sound);
}

/** A budget is kept to, and refuses without a change. */
export function budget(component) {
    const db = make(component, { memoryBudget: 8n << 20n });
    const random = randomFrom(5);
    const batch = (round) =>
        Array.from({ length: 2000 }, (_, i) => create(`r${round}-${i}`, random.vector(DIMENSIONS)));
    let code = '';
    for (let round = 0; round < 100 && !code; round++) {
        try {
            db.applyDeltas(batch(round));
        } catch (error) {
            ({ code } = error.payload);
            must(db.size() === 20 + round * 2000, () => `${db.size()} vectors after ${round} batches`);
        }
    }
    must(code === 'over-budget', () => `it ended with ${code}`);
    db[Symbol.dispose]();
}

/** Reading asks the clock when what was imported may expire, and not before. */
export async function expiry(component, velta) {
    const { clock } = component;
    const theirs = new velta.DeltaVectorDB({ dimensions: DIMENSIONS, now: () => 1000 });
    theirs.applyDelta({ vectorId: 'v', operation: { type: 'create', vector: new Float32Array(DIMENSIONS).fill(1) } });
    theirs.database.table('vectors').expireAt(['v'], [2000]);
    const ours = make(component);
    let asked = 0;
    clock.now = () => (asked++, 1000n);
    const query = new Float32Array(DIMENSIONS).fill(1);
    for (const call of [() => ours.getVector('v1'), () => ours.search(query, 1, undefined), () => ours.export()])
        call();
    must(asked === 0, () => `the clock was asked ${asked} times for nothing`);
    ours.import(theirs.export());
    must(ours.getVector('v')?.length === DIMENSIONS, 'it lives before its time');
    clock.now = () => 2000n;
    must(ours.getVector('v') === undefined, 'it is gone at its time');
    must(ours.search(query, 1, undefined).length === 0, 'and is not found');
    await theirs.close();
}

/** A clock that calls the component, drops what is in use, or fails. */
export async function clocks(load) {
    const component = await load();
    const { clock } = component;
    const db = make(component);
    const other = make(component);
    const then = clock.now;
    const once = (act) => (clock.now = () => ((clock.now = then), act(), then()));
    const doubled = db.getVector('v3').map((value) => value * 2);
    let code;
    once(() => (code = refusal(() => db.getVector('v3')).code));
    const id = db.applyDelta(scale('v3', 2));
    equal('the call that asked', db.getVector('v3'), doubled);
    must(code === 'busy', () => `a call from the clock gave ${code}`);
    once(() => other[Symbol.dispose]());
    must(other.applyDelta(scale('v3', 2)) === id, 'a database dropped while it asks lives to the end of its call');
    clock.now = () => 2n ** 63n - 1n;
    db.applyDelta(scale('v4', 2));
    clock.now = () => -(2n ** 63n);
    db.applyDelta(scale('v4', 0.5));
    once(() => {
        throw new Error('no time');
    });
    let thrown;
    try {
        db.applyDelta(scale('v3', 2));
    } catch (error) {
        thrown = error;
    }
    must(thrown?.message === 'no time', () => `the clock's error came back as ${thrown}`);
    must(refusal(() => db.getVector('v3')).code === 'busy', 'a component whose clock failed is entered no more');
}

/** What comes and goes leaves no memory behind: answers, refusals, batches that the host gave up half way. */
export async function memory(load) {
    const component = await load();
    const db = make(component);
    const query = new Float32Array(DIMENSIONS).fill(1);
    const poisoned = Array.from({ length: 500 }, (_, i) => create(`n${i}`));
    poisoned.push({ vectorId: 'n', operation: { tag: 'no such' } });
    const cycle = () => {
        for (let i = 0; i < 40; i++) {
            const another = make(component);
            another.import(db.export());
            another.search(query, 20, undefined);
            refusal(() => db.applyDelta(create('v1')));
            try {
                db.applyDeltas(poisoned);
            } catch (error) {
                must(error.payload === undefined, 'the host refuses what the wit does not have');
            }
            another[Symbol.dispose]();
        }
        return component.memoryBytes();
    };
    const first = cycle();
    for (let i = 0; i < 4; i++) {
        const now = cycle();
        must(now === first, () => `memory grew from ${first} to ${now} bytes`);
    }
}

/** A module that may have no more than 16 MiB: the engine says so, and what cannot even be lowered is a trap. */
export async function scarce(load) {
    const component = await load({ maxPages: 256 });
    const db = make(component, { dimensions: DIMENSIONS });
    let code = '';
    for (let round = 0; round < 1000 && !code; round++) {
        const batch = Array.from({ length: 500 }, (_, i) => create(`r${round}-${i}`));
        const before = db.size();
        try {
            db.applyDeltas(batch);
        } catch (error) {
            must(error.payload !== undefined, () => `a small batch was no refusal but ${error}`);
            ({ code } = error.payload);
            must(db.size() === before, 'a refused batch left something');
        }
    }
    must(code === 'no-memory', () => `it ended with ${code}`);
    must(db.getVector('v1').length === DIMENSIONS, 'reading goes on');
    let trap;
    try {
        db.import(new Uint8Array(32 << 20));
    } catch (error) {
        trap = error;
    }
    must(trap instanceof WebAssembly.RuntimeError, () => `an argument beyond the memory gave ${trap}`);
}
