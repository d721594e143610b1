/*
 * Queries: filtered rows counted, read, ordered, limited, aggregated, grouped, searched and deleted, against the same
 * done in JavaScript.
 */
import { expect } from 'chai';
import { count, createDatabase, eq, gt, init, key, max, mean, min, sum, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { thrown } from '../support/thrown.js';

describe('Query', () => {
    let db;
    let table;
    let rows;
    before(() => init());
    beforeEach(() => {
        const random = randomFrom(41);
        db = createDatabase({ autoIndex: false });
        table = db.table('t', {
            k: key('string'),
            group: 'string',
            n: 'int',
            x: 'float',
            at: 'timestamp',
            ok: 'bool',
            v: vector(4, { metric: 'l2' }),
        });
        rows = Array.from({ length: 300 }, (_, i) => ({
            k: `k${i}`,
            group: random.chance(0.1) ? null : `g${random.below(5)}`,
            n: random.chance(0.1) ? null : random.below(50) - 25,
            x: random.chance(0.1) ? null : random.chance(0.1) ? NaN : random.normal(),
            at: random.chance(0.1) ? null : new Date(1e12 + random.below(1000)),
            ok: random.chance(0.1) ? null : random.chance(0.5),
            v: random.vector(4),
        }));
        table.insert(rows);
    });
    afterEach(() => db.close());

    it('counts, numbers, keys and reads the rows in their order', () => {
        const query = table.where(gt('n', 0));
        const wanted = rows.filter(({ n }) => n !== null && n > 0);
        expect(query.count()).to.equal(wanted.length);
        expect(query.keys()).to.deep.equal(wanted.map(({ k }) => k));
        expect(query.toArray()).to.deep.equal(wanted);
        expect([...query]).to.deep.equal(wanted);
        expect(Array.from(query.rows())).to.deep.equal(wanted.map((row) => rows.indexOf(row)));
        expect(query.first()).to.deep.equal(wanted[0]);
        expect(table.where('n > 1000').first()).to.equal(null);
        expect(query.filter).to.equal('n > 0');
        expect(table.all().filter).to.equal('');
        expect(table.all().count()).to.equal(300);
    });

    it('is combined without being changed', () => {
        const base = table.where("n > 0 OR group = 'g1'");
        const text = base.filter;
        expect(base.and("group = 'g2'").filter).to.equal("(n > 0 OR group = 'g1') AND (group = 'g2')");
        const either = base.and(eq('group', 'g2')).count() + base.and(eq('group', 'g2')).not().count();
        expect(either).to.be.at.most(300);
        expect(table.where(eq('group', 'g1')).or('n > 20').count()).to.equal(
            rows.filter(({ group, n }) => group === 'g1' || (n !== null && n > 20)).length,
        );
        expect(table.all().and('n > 0').filter).to.equal('n > 0');
        expect(table.all().or('n > 0').count()).to.equal(300);
        expect(table.all().not().count()).to.equal(0);
        expect(table.where('n > 0').not().count()).to.equal(rows.filter(({ n }) => n !== null && n <= 0).length);
        expect(base.filter).to.equal(text);
    });

    it('selects columns', () => {
        expect(table.all().select('n', 'k').limit(1).toArray()).to.deep.equal([{ n: rows[0].n, k: 'k0' }]);
        thrown('UNKNOWN_COLUMN', /no column 'nn'/, () => table.all().select('nn'));
    });

    it('orders by numbers and times, ties by row, NULL and NaN last', () => {
        for (const column of ['n', 'x', 'at']) {
            for (const direction of ['asc', 'desc']) {
                const none = (row) => row[column] === null || Number.isNaN(row[column]);
                const sign = direction === 'asc' ? 1 : -1;
                const wanted = rows
                    .map((row, i) => [row, i])
                    .sort(([a, i], [b, j]) =>
                        none(a) || none(b) ? none(a) - none(b) || i - j : sign * (a[column] - b[column]) || i - j,
                    )
                    .map(([row]) => row.k);
                const query = table.all().orderBy(column, direction);
                expect(query.keys(), `${column} ${direction}`).to.deep.equal(wanted);
                expect(query.limit(7).keys()).to.deep.equal(wanted.slice(0, 7));
                expect(query.limit(299).keys()).to.deep.equal(wanted.slice(0, 299));
            }
        }
        expect(table.where('n = 3').orderBy('x').limit(0).toArray()).to.deep.equal([]);
        expect(table.where('n = 3').orderBy('n').first().n).to.equal(3);
        thrown('TYPE', /ordered by int, float or timestamp/, () => table.all().orderBy('group'));
        thrown('INVALID', /'asc' or 'desc'/, () => table.all().orderBy('n', 'up'));
        thrown('INVALID', /whole number from 0/, () => table.all().limit(-1));
        thrown('UNKNOWN_COLUMN', undefined, () => table.all().orderBy('zz'));
    });

    it('aggregates', () => {
        const wanted = rows.filter(({ group }) => group === 'g1');
        const n = wanted.map((row) => row.n).filter((value) => value !== null);
        const times = wanted
            .map(({ at }) => at)
            .filter((value) => value !== null)
            .map(Number);
        const found = table.where(eq('group', 'g1')).aggregate({
            rows: count(),
            total: sum('n'),
            least: min('n'),
            most: max('n'),
            middle: mean('n'),
            first: min('at'),
            last: max('at'),
        });
        expect(found).to.deep.equal({
            rows: wanted.length,
            total: n.reduce((a, b) => a + b, 0),
            least: Math.min(...n),
            most: Math.max(...n),
            middle: n.reduce((a, b) => a + b, 0) / n.length,
            first: new Date(Math.min(...times)),
            last: new Date(Math.max(...times)),
        });
        const none = table.where('n > 100').aggregate({ rows: count(), least: min('n'), middle: mean('x') });
        expect(none).to.deep.equal({ rows: 0, least: null, middle: null });
        table.insert([
            { k: 'big', n: 2n ** 62n },
            { k: 'bigger', n: 2n ** 61n },
        ]);
        expect(table.where('n > 100').aggregate({ total: sum('n') })).to.deep.equal({ total: 2n ** 62n + 2n ** 61n });
        table.insert({ k: 'biggest', n: 2n ** 62n });
        thrown('LIMIT', undefined, () => table.where('n > 100').aggregate({ total: sum('n') }));
        thrown('INVALID', /aggregate 'a' must be/, () => table.all().aggregate({ a: 5 }));
        thrown('UNKNOWN_COLUMN', undefined, () => table.all().aggregate({ a: sum('zz') }));
        thrown('TYPE', undefined, () => table.all().aggregate({ a: sum('group') }));
    });

    it('combines what is a filter by itself, and nothing that leaves its parentheses', () => {
        const all = table.all().count();
        const escaping = 'n > 1000) OR (n IS NOT NULL';
        const none = table.where('n > 1000');
        const steps = [
            () => none.and(escaping),
            () => none.or(escaping),
            () => table.all().and(escaping),
            () => table.all().or(escaping),
            () => table.where(escaping).and('n > 0'),
            () => table.where(escaping).or('n > 0'),
            () => table.where(escaping).not(),
            () => table.where(escaping).select('n').orderBy('n').limit(5).and('n > 0'),
        ];
        for (const step of steps) expect(thrown('SYNTAX', undefined, step).offset, String(step)).to.equal(8);
        expect(thrown('UNKNOWN_COLUMN', undefined, () => none.and('n = 1 OR zz = 1')).offset).to.equal(9);
        const joined = table.where("group = 'g1' OR group = 'g2'").and('n > 0 OR n <= 0').or('n IS NULL').not();
        const wanted = rows.filter(({ group, n }) => n !== null && n !== undefined && !['g1', 'g2'].includes(group));
        expect(joined.and('group IS NOT NULL').keys()).to.have.members(
            wanted.filter(({ group }) => group !== null && group !== undefined).map(({ k }) => k),
        );
        expect(table.all().and('').or(' ').count()).to.equal(all);
    });

    it('groups', () => {
        const counts = new Map();
        for (const { group } of rows) counts.set(group, (counts.get(group) ?? 0) + 1);
        const found = table.all().groupBy('group', { n: count(), total: sum('n') });
        expect(new Map(found.map(({ group, n }) => [group, n]))).to.deep.equal(counts);
        const top = table.all().groupBy('group', { total: sum('n'), n: count() }, { top: 2, orderBy: 'n' });
        expect(top.map(({ n }) => n)).to.deep.equal([...counts.values()].sort((a, b) => b - a).slice(0, 2));
        const byBool = table.all().groupBy('ok', { n: count() });
        expect(byBool.map(({ group }) => group)).to.have.members([null, true, false]);
        const byInt = table.where('n > 20').groupBy('n', { n: count(), first: min('at') });
        expect(byInt.map(({ group }) => group)).to.deep.equal(
            [...new Set(rows.map(({ n }) => n).filter((n) => n > 20))].sort((a, b) => a - b),
        );
        thrown('INVALID', /orderBy must be one of n/, () =>
            table.all().groupBy('ok', { n: count() }, { top: 1, orderBy: 'm' }),
        );
        thrown('INVALID', /orderBy needs top/, () => table.all().groupBy('ok', { n: count() }, { orderBy: 'n' }));
        thrown('INVALID', /'group' is the name/, () => table.all().groupBy('ok', { group: count() }));
        thrown('INVALID', /top must be/, () => table.all().groupBy('ok', { n: count() }, { top: 0 }));
    });

    it('groups, however many are asked for', () => {
        const all = table.all().groupBy('n', { rows: count() }, { top: 1000 });
        expect(all.length).to.be.above(1);
        for (const top of [2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) {
            expect(table.all().groupBy('n', { rows: count() }, { top }), String(top)).to.deep.equal(all);
        }
    });

    it('searches among its rows', () => {
        const query = table.where("group = 'g1'").select('group', 'n');
        const target = rows[7].v;
        const distance = (v) => v.reduce((total, value, i) => total + (value - target[i]) ** 2, 0);
        const wanted = rows
            .filter(({ group }) => group === 'g1')
            .sort((a, b) => distance(a.v) - distance(b.v))
            .slice(0, 5);
        const hits = query.search(target, { k: 5 });
        expect(hits.map((hit) => hit.key)).to.deep.equal(wanted.map(({ k }) => k));
        expect(hits[0].values).to.deep.equal({ group: 'g1', n: wanted[0].n });
        expect(table.all().search(target, { k: 1 })[0].key).to.equal('k7');
        thrown('INVALID', /no option 'where'/, () => query.search(target, { where: 'n > 1' }));
    });

    it('deletes its rows, the limited ones only', () => {
        const least = table.where('n IS NOT NULL').orderBy('n').limit(3).keys();
        expect(table.where('n IS NOT NULL').orderBy('n').limit(3).delete()).to.equal(3);
        expect(least.some((k) => table.has(k))).to.equal(false);
        const positive = table.where('n > 0').count();
        expect(table.where('n > 0').delete()).to.equal(positive);
        expect(table.where('n > 0').delete()).to.equal(0);
        expect(table.liveCount).to.equal(297 - positive);
    });
});
