/*
 * Column families and their iterators, and the log of a database.
 */
import { expect } from 'chai';
import { ColumnFamily, VeltaError, createDatabase, init, open } from 'velta';
import { temporaryName } from '../support/harness.js';
import { errorOf, randomFrom } from '../support/random.js';

const dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');
const bytes = (...values) => Uint8Array.from(values);
const text = (value) => new TextEncoder().encode(value);
const keysOf = (iterator) => iterator.collectAll().map(([key]) => key);

describe('column families', () => {
    let db;
    before(() => init());
    beforeEach(() => {
        db = createDatabase();
    });
    afterEach(() => db.close());

    describe('by name', () => {
        it('takes what a generator gives from one buffer', async () => {
            const database = createDatabase({ autoIndex: false });
            const family = database.createColumnFamily('reused');
            const pairs = function* () {
                const bytes = new Uint8Array(1);
                for (bytes[0] = 0; bytes[0] < 3; bytes[0]++) yield [`k${bytes[0]}`, bytes];
            };
            expect(family.writeBatch(pairs())).to.equal(3);
            expect(family.iter().collectAll()).to.deep.equal([0, 1, 2].map((n) => [`k${n}`, new Uint8Array([n])]));
            await database.close();
        });

        it('are created, found, listed, dropped', async () => {
            expect(db.listColumnFamilies()).to.deep.equal([]);
            const made = db.createColumnFamily('settings');
            expect(made).to.be.instanceOf(ColumnFamily);
            expect([made.name, made.keys, made.size]).to.deep.equal(['settings', 'string', 0]);
            made.write('a', bytes(1));
            expect(db.columnFamily('settings').read('a')).to.deep.equal(bytes(1));
            expect(db.columnFamilyOrCreate('settings').read('a')).to.deep.equal(bytes(1));
            db.columnFamilyOrCreate('cache').write('b', bytes(2));
            expect(db.listColumnFamilies()).to.deep.equal(['cache', 'settings']);
            expect((await errorOf(() => db.createColumnFamily('settings'))).code).to.equal('EXISTS');
            db.dropColumnFamily('settings');
            expect(db.listColumnFamilies()).to.deep.equal(['cache']);
            expect((await errorOf(() => db.columnFamily('settings'))).code).to.equal('NOT_FOUND');
            expect((await errorOf(() => db.dropColumnFamily('settings'))).code).to.equal('NOT_FOUND');
            expect(db.createColumnFamily('settings').size).to.equal(0);
            expect((await errorOf(() => made.read('a'))).code).to.equal('NOT_FOUND');
        });

        it('do not meet tables of the same name', async () => {
            const table = db.table('both', { id: 'int' });
            const family = db.createColumnFamily('both');
            family.write('k', bytes(1));
            table.insert({ id: 5 });
            expect([table.liveCount, family.size]).to.deep.equal([1, 1]);
            expect(db.tableNames()).to.deep.equal(['both']);
            expect(db.listColumnFamilies()).to.deep.equal(['both']);
            db.dropTable('both');
            expect(db.hasTable('both')).to.equal(false);
            expect(family.read('k')).to.deep.equal(bytes(1));
            expect((await errorOf(() => db.table('$family/both'))).code).to.equal('INVALID');
            expect((await errorOf(() => db.table('$family/other', { id: 'int' }))).code).to.equal('INVALID');
        });

        it('have any name that is text', async () => {
            for (const name of ['with space', '\u00fcber/\u{1F600}', '$family/', "it's"]) {
                db.createColumnFamily(name).write('k', name);
                expect(db.columnFamily(name).readText('k')).to.equal(name);
            }
            expect(db.listColumnFamilies()).to.have.length(4);
            for (const name of ['', undefined, 5, 'x'.repeat(256)]) {
                expect((await errorOf(() => db.createColumnFamily(name))).code, String(name)).to.equal('INVALID');
            }
        });
    });

    describe('write, read, delete', () => {
        it('keep bytes and text as they are', () => {
            const family = db.createColumnFamily('f');
            const big = Uint8Array.from({ length: 300_000 }, (_, i) => i * 31);
            const values = [bytes(), bytes(0), bytes(0, 255, 128), big];
            values.forEach((value, i) => family.write(`k${i}`, value));
            values.forEach((value, i) => expect(family.read(`k${i}`)).to.deep.equal(value));
            family.write('text', 'caf\u00e9 \u{1F600}');
            expect(family.read('text')).to.deep.equal(text('caf\u00e9 \u{1F600}'));
            expect(family.readText('text')).to.equal('caf\u00e9 \u{1F600}');
            family.write('buffer', bytes(1, 2, 3).buffer);
            expect(family.read('buffer')).to.deep.equal(bytes(1, 2, 3));
            family.write('part', bytes(1, 2, 3, 4).subarray(1, 3));
            expect(family.read('part')).to.deep.equal(bytes(2, 3));
        });

        it('replace, delete, and say null of what is not there', () => {
            const family = db.createColumnFamily('f');
            expect(family.read('k')).to.equal(null);
            expect(family.readText('k')).to.equal(null);
            expect(family.has('k')).to.equal(false);
            expect(family.delete('k')).to.equal(false);
            family.write('k', bytes(1));
            family.write('k', bytes(2, 2));
            expect(family.read('k')).to.deep.equal(bytes(2, 2));
            expect([family.has('k'), family.size]).to.deep.equal([true, 1]);
            expect(family.delete('k')).to.equal(true);
            expect(family.delete('k')).to.equal(false);
            expect(family.read('k')).to.equal(null);
            family.write('k', bytes(3));
            expect(family.read('k')).to.deep.equal(bytes(3));
        });

        it('give copies and take copies', () => {
            const family = db.createColumnFamily('f');
            const value = bytes(1, 2);
            family.write('k', value);
            value[0] = 9;
            const read = family.read('k');
            expect(read).to.deep.equal(bytes(1, 2));
            read[0] = 9;
            expect(family.read('k')).to.deep.equal(bytes(1, 2));
        });

        it('take any text as a key', () => {
            const family = db.createColumnFamily('f');
            const keys = ['', ' ', 'a\0b', '\u00e9', '\u{1F600}', 'x'.repeat(5000)];
            keys.forEach((key, i) => family.write(key, bytes(i)));
            keys.forEach((key, i) => expect(family.read(key), key).to.deep.equal(bytes(i)));
            expect(family.size).to.equal(keys.length);
            expect(keysOf(family.iter())).to.have.members(keys);
        });

        it('work in batches, all or none', async () => {
            const family = db.createColumnFamily('f');
            family.write('b', bytes(0));
            const entries = [
                ['a', bytes(1)],
                ['b', bytes(2)],
                ['a', bytes(3)],
            ];
            expect(family.writeBatch(entries)).to.equal(1);
            expect(family.writeBatch(new Map([['c', 'text']]))).to.equal(1);
            expect(family.writeBatch([])).to.equal(0);
            expect([...family.iter()].map(([key, value]) => [key, ...value])).to.deep.equal([
                ['a', 3],
                ['b', 2],
                ['c', ...text('text')],
            ]);
            const bad = [
                ['d', bytes(1)],
                ['e', 5],
            ];
            expect((await errorOf(() => family.writeBatch(bad))).code).to.equal('TYPE');
            const worse = await errorOf(() =>
                family.writeBatch([
                    ['d', bytes(1)],
                    [bytes(1), bytes(1)],
                ]),
            );
            expect([worse.code, worse.offset]).to.deep.equal(['TYPE', 1]);
            expect(family.has('d')).to.equal(false);
            expect(family.deleteBatch(['a', 'nobody', 'c'])).to.equal(2);
            expect(family.deleteBatch([])).to.equal(0);
            expect(keysOf(family.iter())).to.deep.equal(['b']);
        });

        it('refuse keys and values of other types', async () => {
            const family = db.createColumnFamily('f');
            const calls = [
                () => family.write(5, bytes(1)),
                () => family.write(null, bytes(1)),
                () => family.write(bytes(1), bytes(1)),
                () => family.write('k', 5),
                () => family.write('k', null),
                () => family.write('k', { a: 1 }),
                () => family.read(bytes(1)),
                () => family.read(undefined),
                () => family.has(5),
                () => family.delete(5),
                () => family.iterRange(5),
                () => family.iterRange('a', 5),
            ];
            for (const call of calls) {
                const error = await errorOf(call);
                expect(error, String(call)).to.be.instanceOf(VeltaError);
                expect(error.code, String(call)).to.equal('TYPE');
            }
            expect((await errorOf(() => family.write('\ud800', bytes(1)))).code).to.be.oneOf(['INVALID', 'TYPE']);
            expect(family.size).to.equal(0);
        });
    });

    describe('with bytes as keys', () => {
        it('order them as bytes', async () => {
            const family = db.createColumnFamily('f', { keys: 'bytes' });
            expect(family.keys).to.equal('bytes');
            const keys = [bytes(), bytes(0), bytes(0, 0), bytes(0, 1), bytes(1), bytes(127), bytes(128), bytes(255, 0)];
            const random = randomFrom(1);
            for (const key of keys.toSorted(() => random.next() - 0.5)) family.write(key, key);
            for (const key of keys) expect(family.read(key)).to.deep.equal(key);
            expect(family.iter().collectAll()).to.deep.equal(keys.map((key) => [key, key]));
            const range = family.iterRange(bytes(0, 1), bytes(128));
            expect(keysOf(range)).to.deep.equal([bytes(0, 1), bytes(1), bytes(127)]);
            expect(family.delete(bytes(0))).to.equal(true);
            expect((await errorOf(() => family.read('text'))).code).to.equal('TYPE');
            const long = Uint8Array.from({ length: 20_000 }, (_, i) => i);
            family.write(long, bytes(1));
            expect(family.has(long)).to.equal(true);
            expect(keysOf(family.iterRange(long.subarray(0, 19_999)))[0]).to.deep.equal(long);
        });

        it('are found only as what they are', async () => {
            db.createColumnFamily('f', { keys: 'bytes' });
            expect(db.columnFamily('f', { keys: 'bytes' }).keys).to.equal('bytes');
            expect(db.columnFamilyOrCreate('f', { keys: 'bytes' }).keys).to.equal('bytes');
            expect((await errorOf(() => db.columnFamily('f'))).code).to.equal('TYPE');
            expect((await errorOf(() => db.columnFamilyOrCreate('f'))).code).to.equal('TYPE');
            expect((await errorOf(() => db.createColumnFamily('g', { keys: 'numbers' }))).code).to.equal('INVALID');
            expect((await errorOf(() => db.createColumnFamily('g', { key: 'bytes' }))).code).to.equal('INVALID');
        });
    });

    describe('iterators', () => {
        const fill = (family, count) =>
            family.writeBatch(Array.from({ length: count }, (_, i) => [`k${String(i).padStart(4, '0')}`, bytes(i)]));

        it('go in the order of code points, start included, end not', () => {
            const family = db.createColumnFamily('f');
            const keys = ['', 'A', 'B', 'a', 'aa', 'b', '\u00e9', '\uffee', '\u{10000}'];
            for (const key of keys.toReversed()) family.write(key, key);
            expect(keysOf(family.iter())).to.deep.equal(keys);
            for (const start of [undefined, ...keys, 'Aa', 'zz']) {
                for (const end of [undefined, ...keys, 'Aa', 'zz']) {
                    const order = (a, b) => compareBytes(text(a), text(b));
                    const expected = keys.filter(
                        (key) =>
                            (start === undefined || order(key, start) >= 0) &&
                            (end === undefined || order(key, end) < 0),
                    );
                    expect(keysOf(family.iterRange(start, end)), `${start} to ${end}`).to.deep.equal(expected);
                }
            }
        });

        it('read by batches, by ones, by loops, and what is left', async () => {
            const family = db.createColumnFamily('f');
            fill(family, 250);
            const batches = family.iter();
            expect(
                [batches.nextBatch(), batches.nextBatch(), batches.nextBatch(), batches.nextBatch()].map(
                    (b) => b.length,
                ),
            ).to.deep.equal([100, 100, 50, 0]);
            expect(batches.nextBatch()).to.deep.equal([]);
            const mixed = family.iter();
            expect(mixed.next()).to.deep.equal({
                done: false,
                value: ['k0000', bytes(0)],
            });
            expect(mixed.nextBatch(2).map(([key]) => key)).to.deep.equal(['k0001', 'k0002']);
            expect(mixed.collectAll()).to.have.length(247);
            expect(mixed.next().done).to.equal(true);
            expect(mixed.collectAll()).to.deep.equal([]);
            const seen = [];
            for (const [key] of family.iter()) seen.push(key);
            for await (const [key] of family.iter()) seen.push(key);
            expect(seen).to.have.length(500);
            expect(seen[250]).to.equal('k0000');
            expect(family.iterRange('k0249').nextBatch(10)).to.deep.equal([['k0249', bytes(249)]]);
        });

        it('see one moment, whatever is written after', () => {
            const family = db.createColumnFamily('f');
            fill(family, 30);
            const iterator = family.iter();
            const first = iterator.nextBatch(5);
            family.write('k0003', bytes(99));
            family.write('k0020', bytes(99));
            family.write('k0020a', bytes(99));
            family.delete('k0021');
            family.deleteBatch(Array.from({ length: 9 }, (_, i) => `k000${i}`));
            const all = [...first, ...iterator.collectAll()];
            expect(all).to.deep.equal(
                Array.from({ length: 30 }, (_, i) => [`k${String(i).padStart(4, '0')}`, bytes(i)]),
            );
            expect(family.size).to.equal(21);
            expect(keysOf(family.iterRange('k0020', 'k0022'))).to.deep.equal(['k0020', 'k0020a']);
        });

        it('are closed by hand, by using, by leaving a loop, and at the end', async () => {
            const family = db.createColumnFamily('f');
            fill(family, 250);
            const busy = async () => {
                try {
                    db.compact();
                    return false;
                } catch (error) {
                    expect(error.code).to.equal('BUSY');
                    return true;
                }
            };
            const iterator = family.iter();
            iterator.nextBatch(3);
            expect(await busy()).to.equal(true);
            iterator.close();
            iterator.close();
            expect(await busy()).to.equal(false);
            const disposed = family.iter();
            disposed[dispose]();
            expect(await busy()).to.equal(false);
            for (const [key] of family.iter()) if (key === 'k0100') break;
            expect(await busy()).to.equal(false);
            for await (const [key] of family.iter()) if (key === 'k0100') break;
            expect(await busy()).to.equal(false);
            family.iter().collectAll();
            expect(await busy()).to.equal(false);
        });

        it('give nothing of an empty family', () => {
            const family = db.createColumnFamily('f');
            expect(family.iter().nextBatch()).to.deep.equal([]);
            expect(family.iter().next().done).to.equal(true);
            expect(family.iter().collectAll()).to.deep.equal([]);
            fill(family, 3);
            expect(family.iterRange('x').collectAll()).to.deep.equal([]);
            expect(family.iterRange('k0002', 'k0001').collectAll()).to.deep.equal([]);
        });
    });

    it('agree with a sorted map over random changes', () => {
        const random = randomFrom(77);
        const family = db.createColumnFamily('f');
        const model = new Map();
        const open = [];
        for (let step = 0; step < 1500; step++) {
            const key = `k${random.below(120)}`;
            if (random.chance(0.6)) {
                const value = Uint8Array.from({ length: random.below(40) }, () => random.below(256));
                family.write(key, value);
                model.set(key, value);
            } else {
                expect(family.delete(key)).to.equal(model.delete(key));
            }
            const probe = `k${random.below(120)}`;
            expect(family.read(probe)).to.deep.equal(model.get(probe) ?? null);
            if (random.chance(0.01)) {
                open.push([family.iter(), [...model].sort(([a], [b]) => (a < b ? -1 : 1))]);
            }
        }
        expect(family.size).to.equal(model.size);
        for (const [iterator, expected] of open) expect(iterator.collectAll()).to.deep.equal(expected);
    });
});

describe('the log', () => {
    before(() => init());

    it('is replayed at open: families and iterators of the stored database', async () => {
        const name = temporaryName();
        const db = await open(name);
        const family = db.createColumnFamily('f');
        family.writeBatch([
            ['a', bytes(1)],
            ['b', bytes(2)],
            ['c', bytes(3)],
        ]);
        family.delete('b');
        await db.log.sync();
        await db.close();
        const again = await open(name);
        expect(again.listColumnFamilies()).to.deep.equal(['f']);
        expect(again.columnFamily('f').iter().collectAll()).to.deep.equal([
            ['a', bytes(1)],
            ['c', bytes(3)],
        ]);
        await again.close();
    });

    it('tells its status, and a checkpoint makes it short', async () => {
        const db = await open(temporaryName());
        const family = db.createColumnFamily('f');
        const before = db.log.status();
        for (let i = 0; i < 50; i++) family.write(`k${i}`, bytes(i, i, i));
        const after = db.log.status();
        expect(after.bytes).to.be.above(before.bytes);
        expect(after.sequence).to.be.at.least(before.sequence + 50);
        await db.log.sync();
        db.log.checkpoint();
        await db.flush();
        const last = db.log.status();
        expect(last.bytes).to.be.below(after.bytes);
        expect(last.generation).to.be.above(after.generation);
        expect(last.lastCheckpoint).to.be.instanceOf(Date);
        expect(family.size).to.equal(50);
        await db.close();
    });

    it('is checkpointed by size', async () => {
        const db = await open(temporaryName(), {
            checkpointBytes: 65_536,
            checkpointSeconds: Infinity,
        });
        const family = db.createColumnFamily('f');
        const random = randomFrom(3);
        const { generation } = db.log.status();
        for (let i = 0; i < 40; i++) {
            family.write(
                `k${i}`,
                Uint8Array.from({ length: 8192 }, () => random.below(256)),
            );
        }
        await db.flush();
        expect(db.log.status().generation).to.be.above(generation);
        expect(db.log.status().bytes).to.be.below(200_000);
        await db.close();
    });

    it('is checkpointed by time', async () => {
        const db = await open(temporaryName(), { checkpointSeconds: 0.05 });
        db.createColumnFamily('f').write('k', bytes(1));
        const { generation } = db.log.status();
        const end = performance.now() + 5000;
        while (db.log.status().generation === generation && performance.now() < end) {
            await new Promise((done) => setTimeout(done, 20));
        }
        expect(db.log.status().generation).to.be.above(generation);
        await db.close();
    });
});

function compareBytes(a, b) {
    for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i] - b[i];
    return a.length - b.length;
}
