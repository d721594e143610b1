/*
 * Iterators: key order, ranges, batches, one moment whatever is written meanwhile, and their end in every way.
 */
import { expect } from 'chai';
import { createDatabase, init, key, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { rejected, thrown } from '../support/thrown.js';

describe('RowIterator', () => {
    let db;
    let table;
    let sorted;
    before(() => init());
    beforeEach(() => {
        const random = randomFrom(71);
        db = createDatabase({ autoIndex: false });
        table = db.table('t', { k: key('string'), n: 'int', v: vector(2) });
        const names = new Set();
        while (names.size < 1234) names.add(`${random.pick(['a', 'é', 'z', '😀', '\uffff'])}${random.below(1e6)}`);
        table.insert([...names].map((k, n) => ({ k, n, v: [n, 1] })));
        const bytes = (text) => Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join('');
        sorted = [...names].sort((a, b) => (bytes(a) < bytes(b) ? -1 : 1));
    });
    afterEach(() => db.close());
    const keys = (rows) => rows.map(({ k }) => k);

    it('gives all rows in key order, by any way of asking', async () => {
        expect(keys(table.iterate().collectAll())).to.deep.equal(sorted);
        expect(keys([...table.iterate()])).to.deep.equal(sorted);
        const waited = [];
        for await (const row of table.iterate()) waited.push(row);
        expect(keys(waited)).to.deep.equal(sorted);
        const batches = table.iterate();
        const read = [];
        for (let batch = batches.nextBatch(); batch.length > 0; batch = batches.nextBatch()) {
            expect(batch.length).to.be.at.most(100);
            read.push(...batch);
        }
        expect(keys(read)).to.deep.equal(sorted);
        expect(batches.closed).to.equal(true);
        expect(batches.nextBatch()).to.deep.equal([]);
        const one = table.iterate();
        expect(one.next().value.k).to.equal(sorted[0]);
        expect(keys(one.nextBatch(3))).to.deep.equal(sorted.slice(1, 4));
        expect(keys(one.collectAll())).to.deep.equal(sorted.slice(4));
        expect(one.next()).to.deep.equal({ done: true, value: undefined });
    });

    it('keeps to a range, start included and end not', () => {
        const [start, end] = [sorted[100], sorted[900]];
        expect(keys(table.iterate({ start, end }).collectAll())).to.deep.equal(sorted.slice(100, 900));
        expect(keys(table.iterate({ start }).collectAll())).to.deep.equal(sorted.slice(100));
        expect(keys(table.iterate({ end }).collectAll())).to.deep.equal(sorted.slice(0, 900));
        expect(table.iterate({ start: end, end: start }).collectAll()).to.deep.equal([]);
        expect(keys(table.iterate({ start: '' }).collectAll())).to.deep.equal(sorted);
        const ints = db.table('ints', { id: key('int') });
        ints.insert([5, -3, 2n ** 60n, 0].map((id) => ({ id })));
        expect(ints.iterate({ start: -3, end: 2n ** 60n }).collectAll()).to.deep.equal([
            { id: -3 },
            { id: 0 },
            { id: 5 },
        ]);
    });

    it('gives the columns asked for', () => {
        const { n, v } = table.get(sorted[0]);
        expect(table.iterate({ columns: ['v', 'n'] }).next().value).to.deep.equal({
            v,
            n,
        });
        expect(table.iterate().next().value).to.deep.equal({ k: sorted[0], n, v });
    });

    it('sees one moment', () => {
        const rows = table.iterate({ columns: ['k', 'n'] });
        rows.nextBatch(10);
        const last = table.get(sorted.at(-1));
        table.update(sorted.at(-1), { n: -1 });
        table.delete(sorted.slice(20, 30));
        table.insert({ k: 'aaaa new', n: 0 });
        const rest = rows.collectAll();
        expect(keys(rest)).to.deep.equal(sorted.slice(10));
        expect(rest.at(-1).n).to.equal(last.n);
        expect(table.iterate().collectAll()).to.have.length(sorted.length - 10 + 1);
    });

    it('can be of the past, and of a table without a key', () => {
        let now = 1000;
        const old = createDatabase({ now: () => now, autoIndex: false });
        const plain = old.table('p', { n: 'int' });
        plain.insert([{ n: 1 }, { n: 2 }]);
        now = 2000;
        plain.delete(0);
        expect(plain.iterate().collectAll()).to.deep.equal([{ n: 2 }]);
        expect(plain.iterate({ at: 1500 }).collectAll()).to.deep.equal([{ n: 1 }, { n: 2 }]);
        expect(plain.iterate({ at: new Date(1500) }).collectAll()).to.have.length(2);
        thrown('INVALID', /has no key/, () => plain.iterate({ start: 1 }));
        old.close();
    });

    it('keeps compaction waiting until it is closed', async () => {
        const held = table.iterate();
        thrown('BUSY', /iterator/, () => db.compact());
        held.close();
        held.close();
        expect(held.closed).to.equal(true);
        db.compact();
        for (const _ of table.iterate()) break;
        db.compact();
        for await (const _ of table.iterate()) break;
        db.compact();
        const disposed = table.iterate();
        disposed[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
        db.compact();
        const failing = async () => {
            for await (const _ of table.iterate()) throw new RangeError('mine');
        };
        expect(await failing().catch((error) => error)).to.be.instanceOf(RangeError);
        db.compact();
    });

    it('is closed with its database', async () => {
        const own = createDatabase();
        own.table('t', { k: key('string') }).insert([{ k: 'a' }, { k: 'b' }]);
        const rows = own.table('t').iterate();
        const reading = own.table('t').iterate();
        await own.close();
        expect(rows.closed).to.equal(true);
        thrown('CLOSED', undefined, () => rows.nextBatch());
        rows.close();
        await rejected(
            'CLOSED',
            undefined,
            (async () => {
                for await (const _ of reading);
            })(),
        );
    });

    it('refuses what makes no sense', () => {
        thrown('INVALID', /no option 'from'/, () => table.iterate({ from: 'a' }));
        thrown('TYPE', /start must be a string/, () => table.iterate({ start: 5 }));
        thrown('UNKNOWN_COLUMN', undefined, () => table.iterate({ columns: ['zz'] }));
        thrown('INVALID', /at least one column/, () => table.iterate({ columns: [] }));
        thrown('INVALID', /n must be a whole number from 1/, () => table.iterate().nextBatch(0));
    });
});
