/*
 * DeltaVectorDB: chains against a naive model, times of the past, compaction, search and its recall.
 */
import { expect } from 'chai';
import { DeltaVectorDB, VeltaError, init } from 'velta';
import { clockAt, create, del, dense, f32, offset, scale, sparse } from '../support/deltas.js';
import { errorOf, randomFrom } from '../support/random.js';

describe('DeltaVectorDB: the past, and search', () => {
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

    describe('chains', () => {
        it('keep each operation, its time, its metadata', () => {
            const clock = clockAt(1_700_000_000_000);
            const db = make({ dimensions: 3, now: clock.now });
            const metadata = {
                source: 'caf\u00e9 \u{1F600}',
                n: 1.5,
                deep: { list: [1, null, 'x'] },
            };
            const deltas = [
                { ...create('a', f32(1, 2, 3)), metadata },
                sparse('a', [0, 2], [4, 5]),
                {
                    ...sparse('a', [1], [6], 'set'),
                    timestamp: new Date(1_700_000_005_000),
                },
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
            expect(chain.map((item) => item.operation.type)).to.deep.equal(
                deltas.map(({ operation }) => operation.type),
            );
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
            const base = {
                id: 0,
                vectorId: 'a',
                operation: { type: 'create', vector: f32(10) },
            };
            expect(db.getDeltaChain('a')).to.deep.equal([base]);
            const id = db.applyDelta(scale('a', 2));
            expect(db.getVector('a')[0]).to.equal(20);
            expect(db.getDeltaChain('a').map((item) => item.id)).to.deep.equal([0, id]);
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
            db.applyDeltas([
                create(
                    'kept',
                    secret.map((x) => -x),
                ),
                create('the-secret-id', secret),
            ]);
            db.applyDelta({
                ...offset('the-secret-id', 0),
                metadata: { note: 'the-secret-note' },
            });
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
                expect(
                    found.map(({ id }) => id),
                    metric,
                ).to.deep.equal(order);
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
                    expect(
                        found.map(({ id }) => id),
                        metric,
                    ).to.deep.equal(expected.map((i) => `v${i}`));
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
    return all
        .sort(([a], [b]) => a - b)
        .slice(0, k)
        .map(([, i]) => i);
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
            for (const id of ids)
                expectSame(id, db.getVectorAt(id, moments[i][0]), moments[i][1].get(id), `${where} ${i}`);
        }
    };
    checkAll(0, 'before');
    db.compact({ keepSince: 'all' });
    checkAll(0, 'all kept');
    db.compact({ keepSince: moments[120][0] });
    checkAll(120, 'half kept');
    expect(() => db.getVectorAt('v0', moments[60][0]))
        .to.throw(VeltaError)
        .with.property('code', 'HISTORY_GONE');
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
