/*
 * DeltaVectorDB: what each operation does in each state, batches, listeners, export, storage.
 */
import { expect } from 'chai';
import { ColumnStore, DeltaVectorDB, VeltaError, init } from 'velta';
import { create, del, dense, f32, offset, scale, sparse } from '../support/deltas.js';
import { only, temporaryFolder, temporaryName } from '../support/harness.js';
import { errorOf } from '../support/random.js';

const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
const asyncDispose = Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose');

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

    describe('import', () => {
        it('that is refused in the middle of a call leaves what is there', async () => {
            const db = make({ dimensions: 2 });
            db.applyDelta(create('a', f32(1, 2)));
            const bytes = db.export();
            let importing;
            db.withVector('a', () => (importing = errorOf(() => db.import(bytes))));
            expect((await importing).code).to.equal('BUSY');
            expect(db.getVector('a')).to.deep.equal(f32(1, 2));
        });

        it('is over before close is', async () => {
            const name = temporaryName();
            const db = await DeltaVectorDB.open(name, { dimensions: 2 });
            db.applyDelta(create('a', f32(1, 2)));
            const importing = db.import(db.export());
            await db.close();
            await importing;
            expect(db.database.closed).to.equal(true);
        });
    });

    describe('options', () => {
        it('has the defaults of the contract', () => {
            const db = make();
            expect(db.getDimensions()).to.equal(384);
            expect(db.maxVectors).to.equal(100_000);
            expect(db.efSearch).to.equal(50);
            expect(db.database.table('vectors').schema.vector).to.include({
                m: 16,
                efConstruction: 100,
                metric: 'cosine',
            });
            expect(db.stats()).to.include({
                vectors: 0,
                maxVectors: 100_000,
                dimensions: 384,
                metric: 'cosine',
            });
        });

        it('takes others', () => {
            const options = {
                dimensions: 5,
                hnswM: 8,
                hnswEfConstruction: 60,
                hnswEfSearch: 70,
                metric: 'l2',
            };
            const db = make({
                ...options,
                maxVectors: 7,
                compression: true,
                checkpointInterval: 3,
            });
            expect(db.database.table('vectors').schema.vector).to.include({
                m: 8,
                efConstruction: 60,
                metric: 'l2',
            });
            expect([db.getDimensions(), db.efSearch, db.maxVectors]).to.deep.equal([5, 70, 7]);
        });

        it('refuses what cannot be', async () => {
            const codeOf = async (options) => (await errorOf(() => make(options))).code;
            expect(await codeOf({ compression: false })).to.equal('UNSUPPORTED');
            expect(await codeOf({ dimension: 3 })).to.equal('INVALID');
            for (const name of ['dimensions', 'maxVectors', 'checkpointInterval', 'hnswM', 'hnswEfSearch']) {
                for (const value of [0, -1, 1.5, NaN, '3'])
                    expect(await codeOf({ [name]: value }), name).to.equal('INVALID');
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

        it('are copied into an array that is given', async () => {
            const db = make({ dimensions: 3 });
            db.applyDelta(create('a', f32(1, 2, 3)));
            const into = new Float32Array(3);
            expect(db.getVector('a', into)).to.equal(into);
            expect([...into]).to.deep.equal([1, 2, 3]);
            expect(db.getVector('b', into)).to.equal(null);
            for (const wrong of [new Float32Array(4), new Float64Array(3), null]) {
                expect((await errorOf(() => db.getVector('a', wrong))).code).to.equal('DIMENSIONS');
            }
        });

        it('have the length that they have, whatever a subclass tells', async () => {
            const db = make({ dimensions: 30 });
            class Liar extends Float32Array {
                get length() {
                    return 30;
                }
            }
            const code = async (delta) => (await errorOf(() => db.applyDelta(delta))).code;
            expect(await code(create('a', new Liar(1_000_000)))).to.equal('DIMENSIONS');
            db.applyDelta(create('a', new Float32Array(30)));
            expect(await code(dense('a', new Liar(1_000_000)))).to.equal('DIMENSIONS');
            const indices = Uint32Array.from({ length: 30 }, (_, i) => i);
            const operation = { type: 'sparse', indices, values: new Liar(1_000_000) };
            expect(await code({ vectorId: 'a', operation })).to.equal('INVALID');
            expect([...db.getVector('a')]).to.deep.equal(Array(30).fill(0));
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
                [
                    {
                        vectorId: 'a',
                        operation: { type: 'sparse', indices: [0], values: f32(1) },
                    },
                    'TYPE',
                ],
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
            for (const bad of [null, 5, undefined]) {
                expect(() => db.applyDelta(bad))
                    .to.throw(VeltaError)
                    .with.property('code', 'INVALID');
                expect(() => db.applyDeltas([scale('a', 1), bad]))
                    .to.throw(VeltaError)
                    .with.property('offset', 1);
            }
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
            for (let at = 0; at < before.length; at += 97) {
                const flipped = before.slice();
                flipped[at] ^= 16;
                const error = await db.import(flipped).catch((thrown) => thrown);
                // A flipped bit is found, or lies in a gap that holds nothing.
                if (error !== undefined) expect(error.code, `byte ${at}`).to.be.oneOf(['CORRUPT', 'VERSION']);
                expect(db.export()).to.deep.equal(before);
            }
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
            expect(db.withVector('b', (view) => [view instanceof Float32Array, ...view])).to.deep.equal([
                true,
                4,
                5,
                6,
            ]);
            expect(db.withVector('b', (view) => view.buffer === db.getMemory().buffer)).to.equal(true);
            const pointer = db.getVectorPtr('b');
            const view = new Float32Array(db.getMemory().buffer, pointer, db.getDimensions());
            expect([...view]).to.deep.equal([4, 5, 6]);
            const copy = db.getVector('b');
            db.applyDelta(scale('b', 2));
            expect(copy).to.deep.equal(f32(4, 5, 6));
            expect(db.withVector('b', (now) => now[2])).to.equal(12);
            expect(() =>
                db.withVector('b', () => {
                    throw new Error('mine');
                }),
            ).to.throw('mine');
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
            expect((await errorOf(() => DeltaVectorDB.open(name, { compression: false }))).code).to.equal(
                'UNSUPPORTED',
            );
            await (await DeltaVectorDB.open(name, { dimensions: 2, metric: 'cosine' })).close();
        });

        only('node', 'browsers keep files where a test cannot read them').it(
            'leaves no byte of a deleted vector in its files once it is compacted',
            async () => {
                const { readFile, readdir } = await import('node:fs/promises');
                const directory = await temporaryFolder();
                const db = await DeltaVectorDB.open('secrets', { dimensions: 16, directory, storage: 'file' });
                opened.push(db);
                const vector = Float32Array.from({ length: 16 }, (_, i) => Math.fround(Math.sqrt(i + 2)));
                const traces = ['the-secret-id', 'the-secret-note'].map((text) => new TextEncoder().encode(text));
                traces.push(new Uint8Array(vector.buffer.slice(0, 12)));
                const found = async () => {
                    await db.flush();
                    const names = await readdir(directory);
                    const files = await Promise.all(names.map((name) => readFile(`${directory}/${name}`)));
                    return traces.map((trace) => files.some((bytes) => bytes.includes(trace)));
                };
                db.applyDelta({ ...create('the-secret-id', vector), metadata: { note: 'the-secret-note' } });
                db.applyDelta(
                    create(
                        'kept',
                        vector.map((x) => -x),
                    ),
                );
                db.database.checkpoint();
                expect(await found()).to.deep.equal([true, true, true]);
                db.applyDelta(del('the-secret-id'));
                db.compact();
                expect(await found()).to.deep.equal([false, false, false]);
                await db.close();
                const again = await DeltaVectorDB.open('secrets', { directory, storage: 'file' });
                opened.push(again);
                expect(again.getVector('kept')).to.deep.equal(vector.map((x) => -x));
                expect(again.has('the-secret-id')).to.equal(false);
            },
        );

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
            one[dispose]();
            expect(one.database.closed).to.equal(true);
            const other = make({ dimensions: 1 });
            await other[asyncDispose]();
            expect(other.database.closed).to.equal(true);
        });
    });
});
