/*
 * Deltas as records: written, read, applied in the page and in a worker; damaged ones are refused with their place.
 */
import { expect } from 'chai';
import {
    createDatabase,
    decodeRecords,
    DeltaVectorDB,
    encodeRecords,
    init,
    key,
    open,
    openDeltaVectorWorker,
    openWorker,
    vector,
} from 'velta';
import { create, dense, f32, offset, scale, sparse } from '../support/deltas.js';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';
import { place } from '../support/workers.js';

const LIFE = [
    { ...create('a', f32(1, 2, 3, 4)), metadata: { why: 'ä' }, timestamp: new Date(1.7e12) },
    sparse('a', [0, 3], [0.5, -1]),
    sparse('a', [1], [9], 'set'),
    dense('a', f32(1, 1, 1, 1)),
    dense('a', f32(0, 1, 2, 3), 'set'),
    scale('a', 0.5),
    offset('a', -0),
    create('bä', f32(0, 0, 0, 1)),
    { vectorId: 'bä', operation: { type: 'delete' } },
];
const vectors = () => new DeltaVectorDB({ dimensions: 4, autoIndex: false, now: () => 1.8e12 });

describe('records of deltas', () => {
    before(() => init());

    it('come out as they went in', () => {
        const read = decodeRecords(encodeRecords(LIFE, { first: 7 }));
        expect(read.map(({ sequence }) => sequence)).to.deep.equal([7, 8, 9, 10, 11, 12, 13, 14, 15]);
        expect(read.map(({ key }) => key)).to.deep.equal(LIFE.map(({ vectorId }) => vectorId));
        expect(read[0]).to.deep.include({ metadata: { why: 'ä' }, timestamp: 1.7e12 });
        expect(read[2].operation).to.deep.equal(LIFE[2].operation);
        expect(read[6].operation).to.deep.equal({ type: 'offset', amount: -0 });
        const keys = [0, -1, 2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 32, 1n << 62n, -(1n << 63n)];
        const numbered = keys.map((id) => ({ key: id, operation: { type: 'delete' } }));
        expect(decodeRecords(encodeRecords(numbered)).map((delta) => delta.key)).to.deep.equal(keys);
        const long = [{ key: 'ß'.repeat(999), operation: { type: 'delete' }, timestamp: -5, sequence: 2 ** 40 + 3 }];
        expect(decodeRecords(encodeRecords(long))[0]).to.deep.equal(long[0]);
    });

    it('are the bytes that the format says', () => {
        const bytes = encodeRecords([sparse('a', [3], [0.5]), { key: 7, operation: { type: 'delete' } }]);
        const words = (first, count) => [...new Uint32Array(bytes.buffer, first, count)];
        expect(bytes.length).to.equal(0x60);
        expect(words(0, 6)).to.deep.equal([0x34, 0x202, 1, 0, 0, 0]);
        expect(words(0x18, 8)).to.deep.equal([1, 0, 1, 0, 3, 0x3f000000, 0x61, 0]);
        expect(words(0x38, 10)).to.deep.equal([0x24, 6, 2, 0, 0, 0, 7, 0, 0, 0]);
    });

    it('do what deltas do', () => {
        const [one, other] = [vectors(), vectors()];
        one.applyDeltas(LIFE);
        const records = encodeRecords(LIFE);
        const done = other.applyRecords(records);
        expect(done).to.deep.equal({ applied: 9, skipped: 0, sequence: 9, strict: true });
        expect(other.export()).to.deep.equal(one.export());
        expect(other.applyRecords(new Uint8Array(0))).to.deep.include({ applied: 0, sequence: 0 });
        expect(other.getDeltaChain('a')[0].metadata).to.deep.equal({ why: 'ä' });
    });

    it('are heard by listeners with their ids', () => {
        const db = vectors();
        const heard = [];
        db.onDelta((delta, id) => heard.push([delta.vectorId, delta.operation.type, id]));
        db.applyRecords(encodeRecords(LIFE), { batchSize: 4 });
        expect(heard.map(([, type]) => type)).to.deep.equal(LIFE.map(({ operation }) => operation.type));
        const chain = db.getDeltaChain('a').map(({ id }) => id);
        const ids = heard.filter(([name]) => name === 'a').map(([, , id]) => id);
        expect(ids).to.deep.equal(chain);
    });

    it('obey maxVectors', () => {
        const db = new DeltaVectorDB({ dimensions: 1, maxVectors: 2, autoIndex: false });
        const three = encodeRecords(['a', 'b', 'c'].map((id) => create(id, f32(1))));
        expect(thrown('LIMIT', /maxVectors/, () => db.applyRecords(three)).offset).to.equal(2);
        expect(db.size).to.equal(0);
        db.applyRecords(three.subarray(0, (three.length / 3) * 2), { stream: 's' });
        expect(thrown('LIMIT', /maxVectors/, () => db.applyRecords(three, { stream: 's' })).offset).to.equal(2);
        expect(db.size).to.equal(2);
    });

    it('go to tables by any kind of key', () => {
        const database = createDatabase({ autoIndex: false });
        const numbered = database.table('numbered', { id: key('int'), v: vector(2), w: vector(2) });
        const rows = database.table('rows', { v: vector(2, { index: false }) });
        const id = 2n ** 60n;
        const operation = { type: 'create', vector: f32(1, 2) };
        expect(thrown('INVALID', /several/, () => numbered.applyRecords(encodeRecords([{ key: id, operation }]))));
        numbered.applyRecords(encodeRecords([{ key: id, operation }]), { column: 'v' });
        expect(numbered.vector(id, { column: 'v' })).to.deep.equal(f32(1, 2));
        rows.applyRecords(
            encodeRecords([
                { key: 0, operation },
                { key: 0, operation: { type: 'scale', factor: 2 } },
            ]),
        );
        expect(rows.getRows(Uint32Array.of(0))[0].v).to.deep.equal(f32(2, 4));
        const text = encodeRecords([{ key: 'a', operation }]);
        expect(thrown('TYPE', /by a number/, () => rows.applyRecords(text)).offset).to.equal(0);
    });

    it('are refused whole, with their place', () => {
        const db = vectors();
        db.applyRecords(encodeRecords(LIFE));
        const more = (ids) =>
            encodeRecords(
                ids.map((id) => scale(id, 2)),
                { first: 20 },
            );
        const error = thrown('NOT_FOUND', /record 22.*'x' is not there/, () => db.applyRecords(more(['a', 'a', 'x'])));
        expect(error.offset).to.equal(2);
        const before = db.getVector('a');
        const later = thrown('NOT_FOUND', /record 23/, () =>
            db.applyRecords(more(['a', 'a', 'a', 'x']), { batchSize: 2 }),
        );
        expect(later.offset).to.equal(3);
        expect(db.getVector('a')).to.deep.equal(before.map((value) => value * 4));
        const cut = encodeRecords(LIFE).subarray(0, -8);
        expect(thrown('CORRUPT', /cut off/, () => db.applyRecords(cut)).offset).to.be.above(0);
        class Liar extends Uint8Array {
            get length() {
                return 40;
            }
            get byteOffset() {
                return 8;
            }
            subarray() {
                throw new Error('a subclass was asked');
            }
        }
        const whole = encodeRecords(LIFE);
        expect(vectors().applyRecords(new Liar(whole), { batchSize: 2 }).applied).to.equal(LIFE.length);
        expect(whole.length).to.be.above(40);
    });

    it('are read or refused, whatever their bytes', () => {
        const random = randomFrom(5);
        const sound = encodeRecords(LIFE);
        let refused = 0;
        for (let round = 0; round < 3000; round++) {
            const bytes = sound.slice(0, random.chance(0.1) ? random.below(sound.length) : sound.length);
            for (let i = 0; i <= random.below(3); i++)
                if (bytes.length) bytes[random.below(bytes.length)] = random.below(256);
            try {
                decodeRecords(bytes);
            } catch (error) {
                refused++;
                expect(error.code, String(error.stack)).to.equal('CORRUPT');
                expect(error.offset).to.be.below(sound.length);
            }
        }
        expect(refused).to.be.within(500, 2999);
    });

    it('what is no delta is refused before it is one', () => {
        const bad = (delta, code, message) => {
            const deltas = [scale('a', 1), delta];
            expect(thrown(code, message, () => encodeRecords(deltas)).offset).to.equal(1);
        };
        bad(null, 'INVALID', /expected a delta/);
        bad({ vectorId: 1.5, operation: { type: 'delete' } }, 'TYPE', /key/);
        bad({ key: 1n << 63n, operation: { type: 'delete' } }, 'TYPE', /64 bits/);
        bad({ key: '\ud800', operation: { type: 'delete' } }, 'INVALID', /surrogate|key/);
        bad({ key: 'a' }, 'INVALID', /operation/);
        bad({ key: 'a', operation: { type: 'remove' } }, 'INVALID', /no operation/);
        bad({ key: 'a', operation: { type: 'scale', factor: 1e39 } }, 'NOT_FINITE', /factor/);
        bad({ key: 'a', operation: { type: 'dense', vector: [1] } }, 'TYPE', /Float32Array/);
        bad({ key: 'a', operation: { type: 'dense', vector: f32(1), mode: 'put' } }, 'INVALID', /mode/);
        bad({ key: 'a', operation: { type: 'sparse', indices: [1], values: f32(1) } }, 'TYPE', /Uint32Array/);
        bad(sparse('a', [1, 2], [1]), 'INVALID', /2 indices but 1 values/);
        bad({ ...scale('a', 1), metadata: 5 }, 'INVALID', /metadata/);
        bad({ ...scale('a', 1), metadata: { a: 1n } }, 'INVALID', /JSON/);
        bad({ ...scale('a', 1), timestamp: 1.5 }, 'TYPE', /timestamp/);
        bad({ ...scale('a', 1), sequence: 0 }, 'INVALID', /sequence/);
        bad({ ...scale('a', 1), sequence: 1 }, 'INVALID', /ascend/);
        thrown('TYPE', /Uint8Array/, () => decodeRecords([1]));
        thrown('TYPE', /Uint8Array/, () => vectors().applyRecords([1]));
        thrown('INVALID', /batchSize/, () => vectors().applyRecords(new Uint8Array(0), { batchSize: 0 }));
        thrown('INVALID', /stream/, () => vectors().applyRecords(encodeRecords(LIFE), { stream: '' }));
        thrown('INVALID', /column/, () => vectors().applyRecords(encodeRecords(LIFE), { column: 'v' }));
    });
});

describe('the position of a stream', () => {
    before(() => init());

    it('moves with its records, and survives', async () => {
        const [name, options] = await place({ storage: 'indexeddb' });
        const kept = typeof indexedDB === 'undefined' ? { ...options, storage: 'file' } : options;
        const records = encodeRecords(LIFE);
        const first = await DeltaVectorDB.open(name, { ...kept, dimensions: 4 });
        expect(first.streamPosition('s')).to.equal(0);
        first.applyRecords(encodeRecords(LIFE.slice(0, 4)), { stream: 's' });
        expect(first.streamPosition('s')).to.equal(4);
        const once = first.getVector('a');
        await first.close();
        const second = await DeltaVectorDB.open(name, kept);
        expect(second.streamPosition('s')).to.equal(4);
        expect(second.getVector('a')).to.deep.equal(once);
        expect(second.applyRecords(records, { stream: 's' })).to.deep.include({ applied: 5, skipped: 4, sequence: 9 });
        expect(second.applyRecords(records, { stream: 's' })).to.deep.include({ applied: 0, skipped: 9 });
        expect(second.streamPosition('other')).to.equal(0);
        second.compact();
        expect(second.streamPosition('s')).to.equal(9);
        await second.close();
    });

    it('is no table that anyone sees', async () => {
        const database = createDatabase({ autoIndex: false });
        const table = database.table('t', { id: key('string'), v: vector(4) });
        table.applyRecords(encodeRecords(LIFE), { stream: 's' });
        expect(table.streamPosition('s')).to.equal(9);
        expect(database.tableNames()).to.deep.equal(['t']);
        thrown('INVALID', /kept for the positions/, () => database.table('$streams'));
        thrown('INVALID', /kept for the positions/, () => database.hasTable('$streams'));
        thrown('INVALID', /kept for the positions/, () => database.dropTable('$streams'));
    });

    it('is told whether a store is strict', async () => {
        for (const durability of ['strict', 'relaxed']) {
            const [name, options] = await place({ storage: 'memory', durability });
            const memory = await open(name, options);
            const table = memory.table('t', { id: key('string'), v: vector(4) });
            expect(table.applyRecords(encodeRecords(LIFE)).strict).to.equal(true);
            await memory.close();
        }
        const [name, options] = await place({ durability: 'relaxed' });
        const stored = await open(name, {
            ...options,
            storage: typeof indexedDB === 'undefined' ? 'file' : 'indexeddb',
        });
        expect(
            stored.table('t', { id: key('string'), v: vector(4) }).applyRecords(encodeRecords(LIFE)).strict,
        ).to.equal(false);
        await stored.close();
    });

    it('is the same in a worker', async () => {
        const [name, options] = await place({ storage: 'memory' });
        const db = await openDeltaVectorWorker(name, { ...options, dimensions: 4 });
        const records = encodeRecords(LIFE);
        expect(await db.applyRecords(records, { stream: 's' })).to.deep.include({ applied: 9, sequence: 9 });
        expect(await db.streamPosition('s')).to.equal(9);
        expect(await db.getVector('a')).to.deep.equal(f32(0, 0.5, 1, 1.5));
        await rejected('CORRUPT', /record at byte 0/, db.applyRecords(records.subarray(8)));
        await db.close();
        const database = await openWorker(`${name}-2`, options);
        const table = await database.table('t', { id: key('string'), v: vector(4) });
        expect(await table.applyRecords(records, { stream: 's' })).to.deep.include({ applied: 9 });
        expect(await table.streamPosition('s')).to.equal(9);
        await database.close();
    });
});
