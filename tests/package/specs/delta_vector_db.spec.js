/*
 * DeltaVectorDB: what each operation does in each state, batches, time travel, compaction, search.
 */
import { expect } from 'chai';
import { ColumnStore, DeltaVectorDB, VeltaError, init } from 'velta';
import { temporaryName } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';

const f32 = (...values) => new Float32Array(values);
const create = (vectorId, vector) => ({ vectorId, operation: { type: 'create', vector } });
const del = (vectorId) => ({ vectorId, operation: { type: 'delete' } });
const scale = (vectorId, factor) => ({ vectorId, operation: { type: 'scale', factor } });
const offset = (vectorId, amount) => ({ vectorId, operation: { type: 'offset', amount } });
const dense = (vectorId, vector, mode) => ({ vectorId, operation: { type: 'dense', vector, ...(mode && { mode }) } });
const sparse = (vectorId, indices, values, mode) => ({
    vectorId,
    operation: { type: 'sparse', indices: Uint32Array.from(indices), values: f32(...values), ...(mode && { mode }) },
});

/** A clock that tests move. */
function clockAt(time) {
    const clock = { time, now: () => clock.time };
    return clock;
}

describe('DeltaVectorDB', () => {
    const opened = [];
    const make = (options) => {
        const db = new DeltaVectorDB(options);
        opened.push(db);
        return db;
    };
    before(() => init());
    afterEach(async () => {
        for (const db of opened.splice(0)) await db.close();
    });

    describe('options', () => {
        it('has the defaults of the contract', () => {
            const db = make();
            expect(db.getDimensions()).to.equal(384);
            expect(db.maxVectors).to.equal(100_000);
            expect(db.efSearch).to.equal(50);
            expect(db.database.table('vectors').schema.vector).to.include({ m: 16, efConstruction: 100, metric: 'cosine' });
            expect(db.stats()).to.include({ vectors: 0, maxVectors: 100_000, dimensions: 384, metric: 'cosine' });
        });

        it('takes others', () => {
            const options = { dimensions: 5, hnswM: 8, hnswEfConstruction: 60, hnswEfSearch: 70, metric: 'l2' };
            const db = make({ ...options, maxVectors: 7, compression: true, checkpointInterval: 3 });
            expect(db.database.table('vectors').schema.vector).to.include({ m: 8, efConstruction: 60, metric: 'l2' });
            expect([db.getDimensions(), db.efSearch, db.maxVectors]).to.deep.equal([5, 70, 7]);
        });

        it('refuses what cannot be', async () => {
            const codeOf = async (options) => (await errorOf(() => make(options))).code;
            expect(await codeOf({ compression: false })).to.equal('UNSUPPORTED');
            expect(await codeOf({ dimension: 3 })).to.equal('INVALID');
            for (const name of ['dimensions', 'maxVectors', 'checkpointInterval', 'hnswM', 'hnswEfSearch']) {
                for (const value of [0, -1, 1.5, NaN, '3']) expect(await codeOf({ [name]: value }), name).to.equal('INVALID');
            }
            expect(await codeOf({ dimensions: 8193 })).to.be.oneOf(['INVALID', 'LIMIT']);
            expect(await codeOf({ metric: 'manhattan' })).to.equal('INVALID');
        });
    });

    describe('operations', () => {
        it('are differences unless they set', () => {
            const db = make({ dimensions: 4 });
            const steps = [
                [create('a', f32(1, 2, 3, 4)), [1, 2, 3, 4]],
                [sparse('a', [0, 3], [10, 20]), [11, 2, 3, 24]],
                [sparse('a', [1], [5], 'add'), [11, 7, 3, 24]],
                [sparse('a', [2], [9], 'set'), [11, 7, 9, 24]],
                [dense('a', f32(1, 1, 1, 1)), [12, 8, 10, 25]],
                [dense('a', f32(-2, 0, 0, 0), 'add'), [10, 8, 10, 25]],
                [scale('a', 0.5), [5, 4, 5, 12.5]],
                [offset('a', -4), [1, 0, 1, 8.5]],
                [dense('a', f32(4, 3, 2, 1), 'set'), [4, 3, 2, 1]],
                [sparse('a', [], []), [4, 3, 2, 1]],
                [scale('a', 0), [0, 0, 0, 0]],
            ];
            for (const [delta, expected] of steps) {
                db.applyDelta(delta);
                expect([...db.getVector('a')], JSON.stringify(delta)).to.deep.equal(expected);
            }
            db.applyDelta(del('a'));
            expect(db.getVector('a')).to.equal(null);
        });

        it('give ids that grow', () => {
            const db = make({ dimensions: 2 });
            const ids = [db.applyDelta(create('a', f32(1, 0))), ...db.applyDeltas([scale('a', 2), offset('a', 1)])];
            expect(ids).to.have.length(3);
            for (let i = 1; i < 3; i++) expect(ids[i]).to.be.above(ids[i - 1]);
            expect(db.getDeltaChain('a').map((item) => item.id)).to.deep.equal(ids);
        });

        it('need a living vector, and create one that does not live', async () => {
            const db = make({ dimensions: 2 });
            const others = [
                sparse('a', [0], [1]),
                dense('a', f32(1, 1)),
                dense('a', f32(1, 1), 'set'),
                scale('a', 2),
                offset('a', 1),
                del('a'),
            ];
            const allFail = async (state) => {
                for (const delta of others) {
                    const error = await errorOf(() => db.applyDelta(delta));
                    expect(error, state).to.be.instanceOf(VeltaError);
                    expect(error.code, `${state}, ${delta.operation.type}`).to.equal('NOT_FOUND');
                }
                expect(db.getVector('a')).to.equal(null);
                expect(db.has('a')).to.equal(false);
                expect(db.getDeltaChain('a')).to.deep.equal([]);
                expect(db.withVector('a', () => 1)).to.equal(null);
                expect(db.getVectorPtr('a')).to.equal(null);
            };
            await allFail('never created');
            db.applyDelta(create('a', f32(1, 2)));
            expect((await errorOf(() => db.applyDelta(create('a', f32(3, 4))))).code).to.equal('EXISTS');
            expect([...db.getVector('a')]).to.deep.equal([1, 2]);
            db.applyDelta(del('a'));
            await allFail('deleted');
            db.applyDelta(create('a', f32(5, 6)));
            expect([...db.getVector('a')]).to.deep.equal([5, 6]);
            expect(db.getDeltaChain('a')).to.have.length(1);
        });

        it('are refused when malformed, and change nothing', async () => {
            const db = make({ dimensions: 3 });
            db.applyDelta(create('a', f32(1, 2, 3)));
            const cases = [
                [create('b', f32(1, 2)), 'DIMENSIONS'],
                [dense('a', f32(1, 2, 3, 4)), 'DIMENSIONS'],
                [create('b', f32(1, NaN, 2)), 'NOT_FINITE'],
                [dense('a', f32(1, Infinity, 2)), 'NOT_FINITE'],
                [sparse('a', [0], [NaN]), 'NOT_FINITE'],
                [scale('a', NaN), 'NOT_FINITE'],
                [offset('a', Infinity), 'NOT_FINITE'],
                [scale('a', '2'), 'TYPE'],
                [create('b', [1, 2, 3]), 'TYPE'],
                [{ vectorId: 'a', operation: { type: 'sparse', indices: [0], values: f32(1) } }, 'TYPE'],
                [sparse('a', [0, 1], [1]), 'INVALID'],
                [sparse('a', [1, 0], [1, 1]), 'INVALID'],
                [sparse('a', [1, 1], [1, 1]), 'INVALID'],
                [sparse('a', [3], [1]), ['INVALID', 'DIMENSIONS']],
                [sparse('a', [0], [1], 'multiply'), 'INVALID'],
                [{ vectorId: 'a', operation: { type: 'rotate' } }, 'INVALID'],
                [{ vectorId: 'a' }, 'INVALID'],
                [create(7, f32(1, 2, 3)), 'TYPE'],
                [create(undefined, f32(1, 2, 3)), ['TYPE', 'NOT_NULL', 'INVALID']],
            ];
            for (const [delta, codes] of cases) {
                const error = await errorOf(() => db.applyDelta(delta));
                expect(error, JSON.stringify(delta)).to.be.instanceOf(VeltaError);
                expect([codes].flat(), `${JSON.stringify(delta)}: ${error.message}`).to.include(error.code);
            }
            expect(db.size).to.equal(1);
            expect([...db.getVector('a')]).to.deep.equal([1, 2, 3]);
            expect(db.getDeltaChain('a')).to.have.length(1);
        });
    });

    describe('batches', () => {
        it('are applied in order, also to one vector', () => {
            const db = make({ dimensions: 2 });
            db.applyDeltas([create('a', f32(1, 1)), scale('a', 3), offset('a', 1), create('b', f32(0, 1)), del('b')]);
            db.applyDeltas([del('a'), create('a', f32(7, 7)), offset('a', 1), create('b', f32(2, 3))]);
            expect([...db.getVector('a')]).to.deep.equal([8, 8]);
            expect([...db.getVector('b')]).to.deep.equal([2, 3]);
            expect(db.applyDeltas([])).to.deep.equal([]);
        });

        it('are applied whole or not at all, wherever the fault is, and the error names it', async () => {
            const faults = [
                [create('a', f32(9, 9)), 'EXISTS'],
                [scale('nobody', 2), 'NOT_FOUND'],
                [dense('a', f32(1)), 'DIMENSIONS'],
                [offset('a', NaN), 'NOT_FINITE'],
                [{ vectorId: 'a', operation: { type: 'nothing' } }, 'INVALID'],
            ];
            for (const [fault, code] of faults) {
                for (let place = 0; place <= 4; place++) {
                    const db = make({ dimensions: 2 });
                    db.applyDelta(create('a', f32(1, 2)));
                    const heard = [];
                    db.onDelta((delta) => heard.push(delta));
                    const before = db.export();
                    const good = [scale('a', 2), create('b', f32(1, 1)), offset('b', 1), del('b')];
                    const error = await errorOf(() => db.applyDeltas(good.toSpliced(place, 0, fault)));
                    expect(error.code).to.equal(code);
                    expect(error.offset, `${code} at ${place}`).to.equal(place);
                    expect(db.export()).to.deep.equal(before);
                    expect(heard).to.deep.equal([]);
                    await db.close();
                }
            }
        });

        it('never hold more than maxVectors at any moment', async () => {
            const db = make({ dimensions: 2, maxVectors: 2 });
            db.applyDeltas([create('a', f32(1, 0)), create('b', f32(0, 1))]);
            expect((await errorOf(() => db.applyDelta(create('c', f32(1, 1))))).code).to.equal('LIMIT');
            const error = await errorOf(() => db.applyDeltas([scale('a', 2), create('c', f32(1, 1)), del('a')]));
            expect([error.code, error.offset]).to.deep.equal(['LIMIT', 1]);
            db.applyDeltas([scale('a', 2), del('a'), create('c', f32(1, 1))]);
            expect([db.size, db.has('a'), db.has('c')]).to.deep.equal([2, false, true]);
        });
    });

    describe('onDelta', () => {
        it('tells of each delta once it is applied, in order, until it is ended', () => {
            const db = make({ dimensions: 1 });
            const heard = [];
            const end = db.onDelta((delta, id) => heard.push([delta, id, db.getVector('a')?.[0]]));
            const first = create('a', f32(1));
            const id = db.applyDelta(first);
            expect(heard).to.deep.equal([[first, id, 1]]);
            const batch = [scale('a', 3), offset('a', 1)];
            const ids = db.applyDeltas(batch);
            expect(heard.slice(1)).to.deep.equal([
                [batch[0], ids[0], 4],
                [batch[1], ids[1], 4],
            ]);
            end();
            end();
            db.applyDelta(scale('a', 2));
            expect(heard).to.have.length(3);
        });

        it('takes deltas and endings from within', () => {
            const db = make({ dimensions: 1 });
            const heard = [];
            db.onDelta(({ operation: { type } }) => {
                heard.push(`first ${type}`);
                if (type === 'create') db.applyDelta(scale('a', 2));
            });
            const end = db.onDelta(({ operation: { type } }) => {
                heard.push(`second ${type}`);
                end();
            });
            db.applyDelta(create('a', f32(1)));
            expect(heard).to.deep.equal(['first create', 'second create', 'first scale']);
            expect(db.getVector('a')[0]).to.equal(2);
        });

        it('survives a callback that throws, and reports what it threw', () => {
            const db = make({ dimensions: 1 });
            const later = [];
            const { queueMicrotask } = globalThis;
            globalThis.queueMicrotask = (task) => later.push(task);
            const heard = [];
            try {
                db.onDelta(() => {
                    throw new Error('mine');
                });
                db.onDelta(({ operation }) => heard.push(operation.type));
                db.applyDelta(create('a', f32(1)));
                db.applyDelta(scale('a', 2));
            } finally {
                globalThis.queueMicrotask = queueMicrotask;
            }
            expect(heard).to.deep.equal(['create', 'scale']);
            expect(later).to.have.length(2);
            for (const task of later) expect(task).to.throw('mine');
        });
    });

    describe('chains', () => {
        it('keep each operation, its time, its metadata', () => {
            const clock = clockAt(1_700_000_000_000);
            const db = make({ dimensions: 3, now: clock.now });
            const metadata = { source: 'caf\u00e9 \u{1F600}', n: 1.5, deep: { list: [1, null, 'x'] } };
            const deltas = [
                { ...create('a', f32(1, 2, 3)), metadata },
                sparse('a', [0, 2], [4, 5]),
                { ...sparse('a', [1], [6], 'set'), timestamp: new Date(1_700_000_005_000) },
                { ...dense('a', f32(1, 0, 1)), metadata: {} },
                dense('a', f32(1, 1, 1), 'set'),
                scale('a', 2),
                offset('a', -1),
            ];
            const ids = deltas.map((delta) => {
                clock.time += 1000;
                return db.applyDelta(delta);
            });
            const chain = db.getDeltaChain('a');
            expect(chain.map((item) => item.id)).to.deep.equal(ids);
            expect(chain.map((item) => item.vectorId)).to.deep.equal(deltas.map(() => 'a'));
            expect(chain.map((item) => item.operation.type)).to.deep.equal(deltas.map(({ operation }) => operation.type));
            expect(chain.map((item) => item.timestamp.getTime() - 1_700_000_000_000)).to.deep.equal([
                ...[1000, 2000, 5000, 5000, 5000, 6000, 7000],
            ]);
            expect(chain[0].metadata).to.deep.equal(metadata);
            expect(chain[3].metadata).to.deep.equal({});
            for (const i of [1, 2, 4, 5, 6]) expect(chain[i]).to.not.have.property('metadata');
            for (const [i, { operation }] of deltas.entries()) {
                const expected = { ...operation };
                if (operation.type === 'sparse' || operation.type === 'dense') expected.mode ??= 'add';
                expect(chain[i].operation, String(i)).to.deep.equal(expected);
            }
        });

        for (const checkpointInterval of [1, 3, 100]) {
            it(`compose as a naive model does, now and at every time before (interval ${checkpointInterval})`, () => {
                composeAgainstModel(make, checkpointInterval);
            });
        }
    });

    describe('compact', () => {
        const start = 1_600_000_000_000;
        /** A vector that is i at second i, from 1 to 10. */
        function history() {
            const clock = clockAt(start);
            const db = make({ dimensions: 1, now: clock.now });
            for (let i = 1; i <= 10; i++) {
                clock.time = start + i * 1000;
                db.applyDelta(i === 1 ? create('a', f32(1)) : offset('a', 1));
                if (i === 3 || i === 5) db.tag(`moment ${i}`);
            }
            clock.time = start + 11_000;
            const at = (second) => db.getVectorAt('a', new Date(start + second * 1000))?.[0] ?? null;
            const codeAt = async (second) => (await errorOf(() => at(second))).code;
            return { db, at, codeAt };
        }

        it('keeps everything by default until it is called, then nothing but now', async () => {
            const { db, at, codeAt } = history();
            expect([1, 2, 3, 7, 10].map(at)).to.deep.equal([1, 2, 3, 7, 10]);
            expect(at(0)).to.equal(null);
            const stats = db.compact();
            expect(stats).to.have.keys('rowsDropped', 'bytesBefore', 'bytesAfter');
            expect(db.getVector('a')[0]).to.equal(10);
            for (const second of [1, 3, 5, 9]) expect(await codeAt(second)).to.equal('HISTORY_GONE');
            expect((await errorOf(() => db.searchAt(f32(1), 1, start + 3000))).code).to.equal('HISTORY_GONE');
            expect(db.getDeltaChain('a')).to.have.length(1);
            db.applyDelta(scale('a', 2));
            expect(db.getVector('a')[0]).to.equal(20);
        });

        it('keeps what is since a time', async () => {
            const { db, at, codeAt } = history();
            db.compact({ keepSince: new Date(start + 6000) });
            expect([6, 7, 8, 9, 10].map(at)).to.deep.equal([6, 7, 8, 9, 10]);
            for (const second of [1, 3, 5]) expect(await codeAt(second)).to.equal('HISTORY_GONE');
            expect(db.searchAt(f32(1), 1, new Date(start + 8000))).to.have.length(1);
        });

        it('keeps tagged moments', async () => {
            const { db, at, codeAt } = history();
            expect(db.database.tagTime('moment 3').getTime()).to.equal(start + 3000);
            db.compact({ keepTags: ['moment 3', 'moment 5'] });
            expect([3, 5].map(at)).to.deep.equal([3, 5]);
            expect(db.getVector('a')[0]).to.equal(10);
            for (const second of [1, 2, 4, 6, 9]) expect(await codeAt(second), String(second)).to.equal('HISTORY_GONE');
            expect((await errorOf(() => db.compact({ keepTags: ['none such'] }))).code).to.equal('NOT_FOUND');
        });

        it('keeps all when asked', () => {
            const { db, at } = history();
            db.compact({ keepSince: 'all' });
            expect([1, 2, 5, 10].map(at)).to.deep.equal([1, 2, 5, 10]);
        });

        it('leaves no byte of a deleted vector', () => {
            const db = make({ dimensions: 16 });
            const secret = Float32Array.from({ length: 16 }, (_, i) => Math.fround(Math.sqrt(i + 2)));
            db.applyDeltas([create('kept', secret.map((x) => -x)), create('the-secret-id', secret)]);
            db.applyDelta({ ...offset('the-secret-id', 0), metadata: { note: 'the-secret-note' } });
            const traces = [
                new TextEncoder().encode('the-secret-id'),
                new TextEncoder().encode('the-secret-note'),
                new Uint8Array(secret.buffer.slice(0, 12)),
            ];
            const found = () => traces.map((trace) => contains(db.export(), trace));
            expect(found()).to.deep.equal([true, true, true]);
            db.applyDelta(del('the-secret-id'));
            db.compact();
            expect(found()).to.deep.equal([false, false, false]);
            expect(db.getVector('kept')).to.deep.equal(secret.map((x) => -x));
        });
    });

    describe('search', () => {
        it('names distance and score of each metric', () => {
            const cases = {
                cosine: { a: [0, 1], b: [1 - Math.SQRT1_2, Math.SQRT1_2], c: [1, 0] },
                l2: { a: [0, 1], b: [10, 1 / 11], c: [8, 1 / 9] },
                dot: { a: [-4, 4], b: [-6, 6], c: [0, 0] },
            };
            for (const [metric, expected] of Object.entries(cases)) {
                const db = make({ dimensions: 2, metric });
                db.applyDeltas([create('a', f32(2, 0)), create('b', f32(3, 3)), create('c', f32(0, 2))]);
                const found = db.search(f32(2, 0), 3);
                const order = Object.keys(expected).sort((x, y) => distanceOf(expected[x]) - distanceOf(expected[y]));
                expect(found.map(({ id }) => id), metric).to.deep.equal(order);
                for (const { id, distance, score } of found) {
                    expect(distance, `${metric} ${id}`).to.be.closeTo(expected[id][0], 1e-6);
                    expect(score, `${metric} ${id}`).to.be.closeTo(expected[id][1], 1e-6);
                }
            }
        });

        it('finds what a plain double loop finds', () => {
            const random = randomFrom(5);
            for (const metric of ['cosine', 'l2', 'dot']) {
                const db = make({ dimensions: 12, metric });
                const vectors = Array.from({ length: 300 }, () => random.vector(12));
                db.applyDeltas(vectors.map((vector, i) => create(`v${i}`, vector)));
                for (let q = 0; q < 10; q++) {
                    const query = random.vector(12);
                    const expected = nearest(vectors, query, metric, 10);
                    const found = db.search(query, 10, { exact: true });
                    expect(found.map(({ id }) => id), metric).to.deep.equal(expected.map((i) => `v${i}`));
                }
            }
        });

        it('sees the composed vector at once, and never a deleted one', () => {
            const db = make({ dimensions: 3 });
            db.applyDeltas([create('a', f32(1, 0, 0)), create('b', f32(0, 1, 0)), create('c', f32(0, 0, 1))]);
            expect(db.search(f32(1, 0.1, 0), 1)[0].id).to.equal('a');
            db.applyDelta(dense('a', f32(-1, 0, 5)));
            expect(db.search(f32(1, 0.1, 0), 1)[0].id).to.equal('b');
            db.applyDelta(del('b'));
            expect(db.search(f32(1, 0.1, 0), 9).map(({ id }) => id)).to.have.members(['a', 'c']);
            db.applyDeltas([del('a'), del('c')]);
            expect(db.search(f32(1, 0.1, 0), 9)).to.deep.equal([]);
        });

        it('finds ten unless told otherwise, and takes an array', () => {
            const db = make({ dimensions: 2 });
            db.applyDeltas(Array.from({ length: 12 }, (_, i) => create(`v${i}`, f32(1, i))));
            expect(db.search([1, 0])).to.have.length(10);
            expect(db.search([1, 0], 12, { ef: 100 })).to.have.length(12);
        });

        it('refuses what is no query', async () => {
            const db = make({ dimensions: 2 });
            const codeOf = async (...parameters) => (await errorOf(() => db.search(...parameters))).code;
            expect(await codeOf(f32(1), 1)).to.equal('DIMENSIONS');
            expect(await codeOf(f32(1, NaN), 1)).to.equal('NOT_FINITE');
            expect(await codeOf(f32(1, 2), 0)).to.equal('INVALID');
            expect(await codeOf(f32(1, 2), 1.5)).to.equal('INVALID');
            expect(await codeOf(f32(1, 2), 16_385)).to.be.oneOf(['LIMIT', 'INVALID']);
            expect(await codeOf(f32(1, 2), 1, { effort: 3 })).to.equal('INVALID');
        });

        it('searches the past', () => {
            const clock = clockAt(1_000_000);
            const db = make({ dimensions: 2, now: clock.now });
            db.applyDeltas([create('a', f32(1, 0)), create('b', f32(0, 1))]);
            clock.time = 2_000_000;
            db.applyDeltas([dense('a', f32(0, 1), 'set'), del('b'), create('c', f32(1, 0))]);
            clock.time = 3_000_000;
            const names = (found) => found.map(({ id }) => id);
            expect(names(db.search(f32(1, 0), 5))).to.deep.equal(['c', 'a']);
            expect(names(db.searchAt(f32(1, 0), 5, new Date(1_500_000)))).to.deep.equal(['a', 'b']);
            expect(names(db.searchAt(f32(0, 1), 1, 2_000_000))).to.deep.equal(['a']);
            expect(db.searchAt(f32(1, 0), 5, new Date(999_000))).to.deep.equal([]);
        });

        it('loses no recall as deltas arrive', function () {
            this.timeout(60_000);
            recallUnderDrift(make);
        });
    });

    describe('export and import', () => {
        const filled = (options = {}) => {
            const db = make({ dimensions: 3, ...options });
            db.applyDeltas([create('a', f32(1, 2, 3)), { ...scale('a', 2), metadata: { why: 'test' } }]);
            db.applyDeltas([create('b', f32(4, 5, 6))]);
            return db;
        };

        it('carry vectors, chains and metadata', async () => {
            const db = filled();
            const bytes = db.export();
            expect(bytes).to.be.instanceOf(Uint8Array);
            const other = make({ dimensions: 3 });
            other.applyDelta(create('gone', f32(1, 1, 1)));
            const done = other.import(bytes);
            expect(other.has('gone'), 'in memory it is done when the call returns').to.equal(false);
            await done;
            expect(other.size).to.equal(2);
            expect(other.getVector('a')).to.deep.equal(f32(2, 4, 6));
            expect(other.getDeltaChain('a')).to.deep.equal(db.getDeltaChain('a'));
            expect(other.export()).to.deep.equal(bytes);
            expect(other.search(f32(4, 5, 6), 1)[0].id).to.equal('b');
            other.applyDelta(offset('b', 1));
            expect(other.getVector('b')).to.deep.equal(f32(5, 6, 7));
            await other.import(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
            expect(other.getVector('b')).to.deep.equal(f32(4, 5, 6));
        });

        it('refuses other bytes and stays as it was', async () => {
            const db = filled({ maxVectors: 2 });
            const before = db.export();
            const codeOf = async (bytes) => (await errorOf(() => db.import(bytes))).code;
            expect(await codeOf(new Uint8Array(0))).to.equal('CORRUPT');
            expect(await codeOf(new Uint8Array(4096).fill(7))).to.equal('CORRUPT');
            const flipped = before.slice();
            flipped[flipped.length >> 1] ^= 1;
            expect(await codeOf(flipped)).to.equal('CORRUPT');
            expect(await codeOf(before.subarray(0, before.length - 1))).to.equal('CORRUPT');
            expect(await codeOf(make({ dimensions: 4 }).export())).to.equal('DIMENSIONS');
            expect(await codeOf(make({ dimensions: 3, metric: 'dot' }).export())).to.equal('INVALID');
            const store = ColumnStore.withSchema([{ name: 'x', type: 'int' }]);
            expect(await codeOf(store.export())).to.equal('INVALID');
            await store.close();
            const larger = filled();
            larger.applyDelta(create('c', f32(1, 1, 1)));
            expect(await codeOf(larger.export())).to.equal('LIMIT');
            expect(db.export()).to.deep.equal(before);
        });

        it('keeps its listeners', async () => {
            const db = filled();
            const heard = [];
            db.onDelta(({ vectorId }) => heard.push(vectorId));
            await db.import(filled().export());
            db.applyDelta(scale('a', 2));
            expect(heard).to.deep.equal(['a']);
        });
    });

    describe('views', () => {
        it('show the vector in the module\u2019s memory', () => {
            const db = make({ dimensions: 3 });
            db.applyDeltas([create('a', f32(1, 2, 3)), create('b', f32(4, 5, 6))]);
            expect(db.withVector('b', (view) => [view instanceof Float32Array, ...view])).to.deep.equal([true, 4, 5, 6]);
            expect(db.withVector('b', (view) => view.buffer === db.getMemory().buffer)).to.equal(true);
            const pointer = db.getVectorPtr('b');
            const view = new Float32Array(db.getMemory().buffer, pointer, db.getDimensions());
            expect([...view]).to.deep.equal([4, 5, 6]);
            const copy = db.getVector('b');
            db.applyDelta(scale('b', 2));
            expect(copy).to.deep.equal(f32(4, 5, 6));
            expect(db.withVector('b', (now) => now[2])).to.equal(12);
            expect(() => db.withVector('b', () => { throw new Error('mine'); })).to.throw('mine');
        });
    });

    describe('a stored one', () => {
        it('is there again, with what was acknowledged', async () => {
            const name = temporaryName();
            const options = { dimensions: 2, metric: 'l2', hnswM: 8 };
            const db = await DeltaVectorDB.open(name, options);
            db.applyDeltas([create('a', f32(1, 2)), { ...scale('a', 2), metadata: { n: 1 } }, create('b', f32(0, 0))]);
            db.applyDelta(del('b'));
            await db.flush();
            await db.close();
            const again = await DeltaVectorDB.open(name);
            opened.push(again);
            expect(again.getDimensions()).to.equal(2);
            expect(again.stats().metric).to.equal('l2');
            expect(again.getVector('a')).to.deep.equal(f32(2, 4));
            expect(again.has('b')).to.equal(false);
            expect(again.getDeltaChain('a').map((item) => item.metadata)).to.deep.equal([undefined, { n: 1 }]);
        });

        it('is not opened as something else', async () => {
            const name = temporaryName();
            await (await DeltaVectorDB.open(name, { dimensions: 2 })).close();
            expect((await errorOf(() => DeltaVectorDB.open(name, { dimensions: 3 }))).code).to.equal('DIMENSIONS');
            expect((await errorOf(() => DeltaVectorDB.open(name, { metric: 'dot' }))).code).to.equal('INVALID');
            expect((await errorOf(() => DeltaVectorDB.open(name, { compression: false }))).code).to.equal('UNSUPPORTED');
            await (await DeltaVectorDB.open(name, { dimensions: 2, metric: 'cosine' })).close();
        });

        it('imports whole or not at all, and stays stored', async () => {
            const name = temporaryName();
            const source = make({ dimensions: 2 });
            source.applyDeltas([create('x', f32(7, 8)), scale('x', 2)]);
            const bytes = source.export();
            const db = await DeltaVectorDB.open(name, { dimensions: 2 });
            opened.push(db);
            db.applyDelta(create('a', f32(1, 2)));
            const heard = [];
            db.onDelta(({ vectorId }) => heard.push(vectorId));
            expect((await errorOf(() => db.import(bytes.subarray(0, 100)))).code).to.equal('CORRUPT');
            expect(db.has('a')).to.equal(true);
            const done = db.import(bytes);
            expect((await errorOf(() => db.has('a'))).code).to.equal('BUSY');
            await done;
            expect([db.has('a'), db.size]).to.deep.equal([false, 1]);
            expect(db.getVector('x')).to.deep.equal(f32(14, 16));
            expect(db.getDeltaChain('x')).to.have.length(2);
            db.applyDelta(offset('x', 1));
            expect(heard).to.deep.equal(['x']);
            await db.close();
            const again = await DeltaVectorDB.open(name);
            opened.push(again);
            expect(again.getVector('x')).to.deep.equal(f32(15, 17));
        });
    });

    describe('close', () => {
        it('ends it; twice is once', async () => {
            const db = make({ dimensions: 1 });
            db.applyDelta(create('a', f32(1)));
            await db.close();
            await db.close();
            const calls = [
                () => db.getVector('a'),
                () => db.applyDelta(scale('a', 2)),
                () => db.search(f32(1), 1),
                () => db.export(),
                () => db.compact(),
                () => db.getDeltaChain('a'),
                () => db.withVector('a', () => 1),
                () => db.tag('x'),
                () => db.flush(),
            ];
            for (const call of calls) expect((await errorOf(call)).code, String(call)).to.equal('CLOSED');
        });

        it('happens by Symbol.dispose and Symbol.asyncDispose', async () => {
            const one = make({ dimensions: 1 });
            one[Symbol.dispose]();
            expect(one.database.closed).to.equal(true);
            const other = make({ dimensions: 1 });
            await other[Symbol.asyncDispose]();
            expect(other.database.closed).to.equal(true);
        });
    });
});

const distanceOf = ([distance]) => distance;

function contains(bytes, trace) {
    for (let at = bytes.indexOf(trace[0]); at >= 0; at = bytes.indexOf(trace[0], at + 1)) {
        if (trace.every((byte, i) => bytes[at + i] === byte)) return true;
    }
    return false;
}

function distance(a, b, metric) {
    let [dot, aa, bb, square] = [0, 0, 0, 0];
    for (let i = 0; i < a.length; i++) {
        dot += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        square += (a[i] - b[i]) ** 2;
    }
    return { cosine: 1 - dot / Math.sqrt(aa * bb), l2: square, dot: -dot }[metric];
}

function nearest(vectors, query, metric, k) {
    const all = vectors.map((vector, i) => [distance(vector, query, metric), i]);
    return all.sort(([a], [b]) => a - b).slice(0, k).map(([, i]) => i);
}

/** A random operation on a living vector, and what it does to a plain array. */
function randomOperation(random, dimensions) {
    const mode = random.pick(['add', 'set', undefined]);
    const more = mode && { mode };
    switch (random.below(5)) {
        case 0: {
            const indices = Array.from({ length: dimensions }, (_, i) => i).filter(() => random.chance(0.3));
            const values = random.vector(indices.length);
            const apply = (vector) =>
                indices.forEach((at, i) => (vector[at] = mode === 'set' ? values[i] : vector[at] + values[i]));
            return [{ type: 'sparse', indices: Uint32Array.from(indices), values, ...more }, apply];
        }
        case 1: {
            const vector = random.vector(dimensions);
            const apply = (to) => vector.forEach((x, i) => (to[i] = mode === 'set' ? x : to[i] + x));
            return [{ type: 'dense', vector, ...more }, apply];
        }
        case 2: {
            const factor = random.pick([0.5, 2, -1, 0.75]);
            return [{ type: 'scale', factor }, (vector) => vector.forEach((x, i) => (vector[i] = x * factor))];
        }
        case 3: {
            const amount = random.below(9) / 4 - 1;
            return [{ type: 'offset', amount }, (vector) => vector.forEach((x, i) => (vector[i] = x + amount))];
        }
        default:
            return [{ type: 'delete' }, null];
    }
}

function composeAgainstModel(make, checkpointInterval) {
    const random = randomFrom(checkpointInterval);
    const clock = clockAt(1_500_000_000_000);
    const dimensions = 9;
    const db = make({ dimensions, checkpointInterval, now: clock.now });
    const model = new Map();
    const moments = [];
    const expectSame = (id, found, wanted, where) => {
        if (!wanted) return expect(found, `${id} ${where}`).to.equal(null);
        expect(found, `${id} ${where}`).to.not.equal(null);
        wanted.forEach((x, i) => expect(found[i], `${id}[${i}] ${where}`).to.be.closeTo(x, 1e-4 * (1 + Math.abs(x))));
    };
    const ids = Array.from({ length: 8 }, (_, i) => `v${i}`);
    for (let step = 0; step < 250; step++) {
        clock.time += 10;
        const id = random.pick(ids);
        if (model.has(id)) {
            const [operation, apply] = randomOperation(random, dimensions);
            db.applyDelta({ vectorId: id, operation });
            if (apply) apply(model.get(id));
            else model.delete(id);
        } else {
            const vector = random.vector(dimensions);
            db.applyDelta(create(id, vector));
            model.set(id, Float64Array.from(vector));
        }
        moments.push([clock.time, new Map([...model].map(([key, vector]) => [key, vector.slice()]))]);
    }
    const checkAll = (from, where) => {
        for (const id of ids) expectSame(id, db.getVector(id), model.get(id), where);
        for (let i = from; i < moments.length; i += 7) {
            for (const id of ids) expectSame(id, db.getVectorAt(id, moments[i][0]), moments[i][1].get(id), `${where} ${i}`);
        }
    };
    checkAll(0, 'before');
    db.compact({ keepSince: 'all' });
    checkAll(0, 'all kept');
    db.compact({ keepSince: moments[120][0] });
    checkAll(120, 'half kept');
    expect(() => db.getVectorAt('v0', moments[60][0])).to.throw(VeltaError).with.property('code', 'HISTORY_GONE');
    db.compact();
    for (const id of ids) expectSame(id, db.getVector(id), model.get(id), 'nothing kept');
}

/** Every vector moves by 10 %, then 5 % of them by 50 %: recall must be that of an index made afresh. */
function recallUnderDrift(make) {
    const random = randomFrom(11);
    const [count, dimensions, k] = [1500, 24, 10];
    const centres = Array.from({ length: 30 }, () => random.vector(dimensions));
    const vectors = Array.from({ length: count }, () => {
        const centre = random.pick(centres);
        return random.vector(dimensions).map((x, i) => centre[i] + 0.6 * x);
    });
    const queries = Array.from({ length: 100 }, () => {
        const centre = random.pick(centres);
        return random.vector(dimensions).map((x, i) => centre[i] + 0.6 * x);
    });
    const db = make({ dimensions });
    db.applyDeltas(vectors.map((vector, i) => create(`v${i}`, vector)));
    db.database.linkPending();
    const move = (i, share) => {
        const length = Math.hypot(...vectors[i]);
        const step = random.vector(dimensions);
        const factor = (share * length) / Math.hypot(...step);
        const delta = step.map((x) => x * factor);
        vectors[i] = vectors[i].map((x, d) => x + delta[d]);
        return dense(`v${i}`, delta);
    };
    for (let i = 0; i < count; i++) db.applyDelta(move(i, 0.1));
    for (let i = 0; i < count; i += 20) db.applyDelta(move(i, 0.5));
    const recall = (of) => {
        let found = 0;
        for (const query of queries) {
            const exact = new Set(of.search(query, k, { exact: true }).map(({ id }) => id));
            found += of.search(query, k).filter(({ id }) => exact.has(id)).length;
        }
        return found / (queries.length * k);
    };
    const fresh = make({ dimensions });
    fresh.applyDeltas(vectors.map((_, i) => create(`v${i}`, db.getVector(`v${i}`))));
    fresh.database.linkPending();
    const beforeLinking = recall(db);
    db.database.linkPending();
    const goal = recall(fresh);
    expect(goal).to.be.above(0.9);
    expect(beforeLinking, 'with vectors that wait to be linked').to.be.at.least(goal - 0.005);
    expect(recall(db), 'all linked').to.be.at.least(goal - 0.005);
}
