/*
 * Subscriptions: every kind of change is told once, in order, with its rows; callbacks cannot call the database; what
 * they throw reaches the caller and harms nothing.
 */
import { expect } from 'chai';
import { createDatabase, init, key, vector } from 'velta';
import { thrown } from '../support/thrown.js';

describe('watch', () => {
    let db;
    let table;
    before(() => init());
    beforeEach(() => {
        db = createDatabase({ autoIndex: false, now: () => 5_000 });
        table = db.table('t', { k: key('string'), n: 'int', v: vector(2) });
    });
    afterEach(() => db.close());

    it('tells every kind of change', () => {
        const seen = [];
        const stop = db.watch((change) => seen.push(change));
        table.insert([{ k: 'a' }, { k: 'b', v: [1, 2] }]);
        table.update('a', { n: 1 });
        table.apply('b', { type: 'scale', factor: 2 });
        table.setTtl('a', 100);
        table.delete(['a', 'b']);
        db.table('other', { x: 'int' });
        table.addColumn('extra', 'int');
        db.dropTable('other');
        db.compact();
        expect(seen.map(({ kind, table: name }) => `${kind} ${name}`)).to.deep.equal([
            'insert t',
            'update t',
            'vectors t',
            'update t',
            'delete t',
            'table other',
            'table t',
            'table other',
            'renumbered t',
        ]);
        expect(seen.map(({ column }) => column).slice(0, 4)).to.deep.equal([undefined, 'n', 'v', undefined]);
        expect(seen.map(({ rows }) => Array.from(rows))).to.deep.equal([[0, 1], [0], [1], [0], [0, 1], [], [], [], []]);
        expect(seen[0].time).to.deep.equal(new Date(5_000));
        const sequences = seen.map(({ sequence }) => sequence);
        expect(sequences).to.deep.equal([...sequences].sort((a, b) => a - b));
        stop();
        stop();
        table.insert({ k: 'c' });
        expect(seen).to.have.length(9);
    });

    it('tells one table’s changes only', () => {
        const other = db.table('other', { x: 'int' });
        const seen = [];
        const stop = table.watch(({ kind }) => seen.push(kind));
        other.insert({ x: 1 });
        table.insert({ k: 'a' });
        expect(seen).to.deep.equal(['insert']);
        stop();
        table.insert({ k: 'b' });
        expect(seen).to.have.length(1);
    });

    it('tells several, and each until it ends', () => {
        const seen = [];
        const stops = [1, 2, 3].map((id) => db.watch(() => seen.push(id)));
        table.insert({ k: 'a' });
        stops[1]();
        table.insert({ k: 'b' });
        expect(seen).to.deep.equal([1, 2, 3, 1, 3]);
        let once = 0;
        const end = db.watch(() => {
            once++;
            end();
        });
        table.insert({ k: 'c' });
        table.insert({ k: 'd' });
        expect(once).to.equal(1);
    });

    it('refuses calls from within', () => {
        const codes = [];
        db.watch(() => {
            for (const call of [
                () => table.get('a'),
                () => table.insert({ k: 'x' }),
                () => db.compact(),
                () => table.all().count(),
            ]) {
                codes.push(thrown('BUSY', /callback/, call).code);
            }
        });
        table.insert({ k: 'a' });
        expect(codes).to.have.length(4);
        expect(table.get('a').k).to.equal('a');
    });

    it('refuses another subscription from within', () => {
        const codes = [];
        db.watch(() => {
            try {
                db.watch(() => undefined);
            } catch (error) {
                codes.push(error.code);
            }
        });
        table.insert({ k: 'a' });
        expect(codes).to.deep.equal(['BUSY']);
    });

    it('may call another database', () => {
        const mirror = createDatabase({ autoIndex: false });
        const copy = mirror.table('copy', { k: key('string'), text: 'string' });
        db.watch(({ rows }) => {
            copy.insert(
                Array.from(rows, (row) => ({
                    k: `row ${row}`,
                    text: 'x'.repeat(1000),
                })),
            );
        });
        for (let i = 0; i < 200; i++) table.insert({ k: `a${i}`, n: i });
        expect(copy.liveCount).to.equal(200);
        expect(table.get('a150')).to.deep.include({ k: 'a150', n: 150 });
        mirror.close();
    });

    it('passes on what a callback throws; the change stays', () => {
        const seen = [];
        db.watch(() => {
            throw new TypeError('mine');
        });
        db.watch(({ kind }) => seen.push(kind));
        expect(() => table.insert({ k: 'a' })).to.throw(TypeError, 'mine');
        expect(table.has('a')).to.equal(true);
        expect(() => table.apply('b', { type: 'create', vector: new Float32Array(2) })).to.throw(TypeError, 'mine');
        expect(table.has('b')).to.equal(true);
        expect(seen).to.deep.equal(['insert', 'insert']);
    });

    it('keeps what a callback throws from another’s calls of another database', () => {
        const mirror = createDatabase({ autoIndex: false });
        const copy = mirror.table('copy', { k: key('string') });
        db.watch(() => {
            throw new TypeError('mine');
        });
        const failures = [];
        db.watch(() => {
            try {
                copy.insert({ k: 'a' });
            } catch (error) {
                failures.push(error);
            }
        });
        expect(() => table.insert({ k: 'a' })).to.throw(TypeError, 'mine');
        expect(failures).to.deep.equal([]);
        expect(copy.has('a')).to.equal(true);
        mirror.close();
    });

    it('takes functions only', () => {
        thrown('INVALID', /watch takes a function/, () => db.watch());
        thrown('INVALID', /watch takes a function/, () => table.watch({}));
    });
});
