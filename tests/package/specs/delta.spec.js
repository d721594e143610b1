/*
 * Deltas: each operation against the same in JavaScript, batches that are all or nothing, chains with their metadata
 * and times.
 */
import { expect } from 'chai';
import { createDatabase, init, key, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { thrown } from '../support/thrown.js';

const D = 24;

function applied(v, operation) {
    const set = operation.mode === 'set';
    switch (operation.type) {
        case 'create':
            return Float32Array.from(operation.vector);
        case 'dense':
            return operation.vector.map((value, i) => (set ? value : Math.fround(v[i] + value)));
        case 'scale':
            return v.map((value) => Math.fround(value * Math.fround(operation.factor)));
        case 'offset':
            return v.map((value) => Math.fround(value + Math.fround(operation.amount)));
        default: {
            const out = Float32Array.from(v);
            operation.indices.forEach((index, i) => {
                out[index] = set ? operation.values[i] : Math.fround(out[index] + operation.values[i]);
            });
            return out;
        }
    }
}

describe('deltas', () => {
    let db;
    let table;
    let now;
    before(() => init());
    beforeEach(() => {
        now = 1_700_000_000_000;
        db = createDatabase({ autoIndex: false, now: () => now });
        table = db.table('t', { k: key('string'), v: vector(D), n: 'int' });
    });
    afterEach(() => db.close());

    function randomOperation(random) {
        const mode = random.pick(['add', 'set', undefined]);
        const some = Uint32Array.from({ length: D }, (_, i) => i).filter(() => random.chance(0.3));
        return random.pick([
            {
                type: 'sparse',
                indices: some,
                values: random.vector(some.length),
                ...(mode && { mode }),
            },
            { type: 'dense', vector: random.vector(D), ...(mode && { mode }) },
            { type: 'scale', factor: random.next() * 2 },
            { type: 'offset', amount: random.normal() },
        ]);
    }

    it('change vectors as JavaScript would', () => {
        const random = randomFrom(61);
        const model = new Map();
        for (let i = 0; i < 10; i++) {
            const start = random.vector(D);
            const id = table.apply(`k${i}`, { type: 'create', vector: start });
            expect(id).to.equal(db.stats().sequence);
            model.set(`k${i}`, start);
        }
        for (let step = 0; step < 600; step++) {
            const k = `k${random.below(10)}`;
            const operation = randomOperation(random);
            if (operation.type === 'sparse' && operation.indices.length === 0) continue;
            table.apply(k, operation);
            model.set(k, applied(model.get(k), operation));
        }
        for (const [k, v] of model) {
            const read = table.vector(k);
            v.forEach((value, i) => expect(read[i]).to.be.closeTo(value, 1e-4 * Math.max(1, Math.abs(value))));
        }
        expect(table.apply('k1', { type: 'delete' })).to.be.a('number');
        expect(table.has('k1')).to.equal(false);
        db.compact();
        expect(table.liveCount).to.equal(9);
    });

    it('of one batch are all or nothing', () => {
        const one = { type: 'create', vector: new Float32Array(D).fill(1) };
        const ids = table.applyAll([
            { key: 'a', operation: one },
            { key: 'a', operation: { type: 'scale', factor: 3 } },
            { key: 'b', operation: one },
        ]);
        expect(ids).to.have.length(3);
        expect(ids[1]).to.equal(ids[0] + 1);
        expect(ids[2]).to.equal(db.stats().sequence);
        expect(table.vector('a')[5]).to.equal(3);
        expect(table.applyAll([])).to.deep.equal([]);
        const failing = (operation, k = 'b') => [
            { key: 'a', operation: { type: 'offset', amount: 1 } },
            { key: k, operation },
        ];
        const cases = [
            ['EXISTS', failing(one)],
            ['NOT_FOUND', failing({ type: 'scale', factor: 1 }, 'zz')],
            ['NOT_FOUND', failing({ type: 'delete' }, 'zz')],
            ['NOT_FINITE', failing({ type: 'scale', factor: NaN })],
            ['NOT_FINITE', failing({ type: 'dense', vector: new Float32Array(D).fill(NaN) })],
            ['DIMENSIONS', failing({ type: 'dense', vector: new Float32Array(D - 1) })],
            ['TYPE', failing({ type: 'dense', vector: new Array(D).fill(1) })],
            ['INVALID', failing({ type: 'turn' })],
            [
                'INVALID',
                failing({
                    type: 'sparse',
                    indices: new Uint32Array([1, 2]),
                    values: new Float32Array(1),
                }),
            ],
            [
                'INVALID',
                failing({
                    type: 'sparse',
                    indices: new Uint32Array([2, 1]),
                    values: new Float32Array(2),
                }),
            ],
            [
                'DIMENSIONS',
                failing({
                    type: 'sparse',
                    indices: new Uint32Array([D]),
                    values: new Float32Array(1),
                }),
            ],
            [
                'INVALID',
                failing({
                    type: 'dense',
                    vector: new Float32Array(D),
                    mode: 'replace',
                }),
            ],
            ['INVALID', failing(null)],
            ['INVALID', [failing(one)[0], null]],
        ];
        const before = db.stats().sequence;
        for (const [code, batch] of cases) {
            const error = thrown(code, undefined, () => table.applyAll(batch));
            expect(error.offset, error.message).to.equal(1);
        }
        expect(db.stats().sequence).to.equal(before);
        expect(table.vector('a')[5]).to.equal(3);
        thrown('INVALID', /must be an array/, () => table.applyAll({}));
    });

    it('that are none say why', () => {
        table.apply('a', { type: 'create', vector: new Float32Array(D) });
        thrown('INVALID', /mode is 'add' or 'set', not the string "replace"/, () =>
            table.apply('a', {
                type: 'dense',
                vector: new Float32Array(D),
                mode: 'replace',
            }),
        );
        thrown('INVALID', /no operation the string "turn"; there are create, sparse/, () =>
            table.apply('a', { type: 'turn' }),
        );
        thrown('TYPE', /indices: expected a Uint32Array, not an array of 1/, () =>
            table.apply('a', {
                type: 'sparse',
                indices: [1],
                values: new Float32Array(1),
            }),
        );
        thrown('INVALID', /an operation is an object/, () => table.apply('a'));
    });

    it('leave a chain with metadata and times', () => {
        const start = new Float32Array(D).fill(2);
        table.apply('a', { type: 'create', vector: start });
        now += 1000;
        const metadata = { who: 'é', list: [1, { deep: null }] };
        const indices = new Uint32Array([1, 5]);
        const values = new Float32Array([0.5, -0.5]);
        const id = table.apply('a', { type: 'sparse', indices, values }, { metadata });
        now += 1000;
        table.apply('a', { type: 'dense', vector: start, mode: 'set' }, { timestamp: now - 500 });
        table.apply('a', { type: 'scale', factor: 0.5 }, { timestamp: new Date(now + 5000) });
        now += 10_000;
        table.apply('a', { type: 'offset', amount: -1 });
        const chain = table.chain('a');
        expect(chain.map(({ operation }) => operation)).to.deep.equal([
            { type: 'create', vector: start },
            { type: 'sparse', indices, values, mode: 'add' },
            { type: 'dense', vector: start, mode: 'set' },
            { type: 'scale', factor: 0.5 },
            { type: 'offset', amount: -1 },
        ]);
        expect(chain[1]).to.deep.include({
            id,
            metadata,
            time: new Date(1_700_000_001_000),
        });
        expect(chain[2].time).to.deep.equal(new Date(1_700_000_001_500));
        expect(chain[3].time).to.deep.equal(new Date(1_700_000_007_000));
        expect('metadata' in chain[2]).to.equal(false);
        expect(table.vector('a', { at: 1_700_000_001_000 })[1]).to.equal(2.5);
        expect(table.vector('a')[1]).to.equal(0);
        thrown('NOT_FOUND', /no row with the string "zz" as key/, () => table.chain('zz'));
        thrown('INVALID', /cannot be written as JSON/, () =>
            table.apply('a', { type: 'scale', factor: 1 }, { metadata: { n: 1n } }),
        );
        thrown('INVALID', /metadata is an object/, () =>
            table.apply('a', { type: 'scale', factor: 1 }, { metadata: 'x' }),
        );
        thrown('TYPE', /timestamp/, () => table.apply('a', { type: 'scale', factor: 1 }, { timestamp: 'x' }));
    });

    it('name rows by integer keys or by number', () => {
        const ints = db.table('ints', { id: key('int'), v: vector(2) });
        ints.apply(2n ** 60n, { type: 'create', vector: new Float32Array([1, 2]) });
        ints.apply(-7, { type: 'create', vector: new Float32Array([3, 4]) });
        ints.apply(2n ** 60n, { type: 'scale', factor: 2 });
        expect(ints.vector(2n ** 60n)).to.deep.equal(new Float32Array([2, 4]));
        expect(ints.vector(-7)).to.deep.equal(new Float32Array([3, 4]));
        const plain = db.table('plain', { v: vector(2), w: vector(2) });
        plain.insert({ v: [1, 1], w: [2, 2] });
        plain.apply(0, { type: 'offset', amount: 1 }, { column: 'w' });
        expect(plain.get(0)).to.deep.equal({
            v: new Float32Array([1, 1]),
            w: new Float32Array([3, 3]),
        });
        expect(
            plain.applyAll([{ key: 0, operation: { type: 'scale', factor: 2 } }], {
                column: 'v',
            }),
        ).to.have.length(1);
        expect(plain.vector(0, { column: 'v' })[0]).to.equal(2);
        expect(plain.chain(0, 'w')).to.have.length(2);
        thrown('INVALID', /several vector columns/, () => plain.apply(0, { type: 'scale', factor: 1 }));
        thrown('TYPE', /has no key, so rows are named by their number, not by the string "a"/, () =>
            plain.apply('a', { type: 'scale', factor: 1 }, { column: 'v' }),
        );
    });

    it('are found by the next search', () => {
        table.insert(
            Array.from({ length: 50 }, (_, i) => ({
                k: `k${i}`,
                v: randomFrom(i + 100).vector(D),
            })),
        );
        db.linkPending();
        const target = randomFrom(7).vector(D);
        table.apply('k33', { type: 'dense', vector: target, mode: 'set' });
        expect(table.search(target, { k: 1 })[0].key).to.equal('k33');
        db.linkPending();
        expect(table.search(target, { k: 1 })[0].key).to.equal('k33');
    });
});
