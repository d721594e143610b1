/*
 * Searches: hits, scores and explanations of every metric, against a scan in JavaScript; filters, the past, many
 * queries, progress, and what is refused.
 */
import { expect } from 'chai';
import { createDatabase, eq, init, key, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { thrown } from '../support/thrown.js';

const D = 16;
const ROWS = 400;

const dot = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0);
const DISTANCES = {
    cosine: (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
    l2: (a, b) => a.reduce((total, value, i) => total + (value - b[i]) ** 2, 0),
    dot: (a, b) => -dot(a, b),
};
const SCORES = { cosine: (d) => 1 - d, l2: (d) => 1 / (1 + d), dot: (d) => -d };

describe('search', () => {
    let db;
    let rows;
    let random;
    before(() => init());
    beforeEach(() => {
        db = createDatabase({ autoIndex: false });
        random = randomFrom(51);
        rows = Array.from({ length: ROWS }, (_, i) => ({
            k: `k${i}`,
            part: i % 10,
            v: random.vector(D),
        }));
    });
    afterEach(() => db.close());

    function tableOf(options) {
        const table = db.table('t', {
            k: key('string'),
            part: 'int',
            v: vector(D, options),
        });
        table.insert(rows);
        return table;
    }
    function nearest(query, metric, k, chosen = rows) {
        return chosen
            .map((row) => ({ key: row.k, distance: DISTANCES[metric](row.v, query) }))
            .sort((a, b) => a.distance - b.distance)
            .slice(0, k);
    }

    for (const metric of ['cosine', 'l2', 'dot']) {
        it(`finds the nearest by ${metric}, and scores them`, () => {
            const table = tableOf({ metric });
            db.linkPending();
            for (let round = 0; round < 20; round++) {
                const query = random.vector(D);
                const wanted = nearest(query, metric, 7);
                const hits = table.search(query, { k: 7, ef: 200 });
                expect(hits.map((hit) => hit.key)).to.deep.equal(wanted.map((hit) => hit.key));
                hits.forEach((hit, i) => {
                    expect(hit.distance).to.be.closeTo(wanted[i].distance, 1e-4);
                    expect(hit.score).to.be.closeTo(SCORES[metric](wanted[i].distance), 1e-4);
                    expect(hit.values).to.deep.equal({});
                    expect(table.rowOf(hit.key)).to.equal(hit.row);
                });
            }
        });
    }

    it('explains itself', () => {
        const table = tableOf({});
        const { explain } = table.search(rows[0].v, { k: 3, where: 'part = 3' });
        expect(explain).to.have.all.keys(
            'strategy',
            'selectivity',
            'matchingRows',
            'nodesVisited',
            'rowsScanned',
            'rowsReranked',
            'filterMs',
            'searchMs',
        );
        expect(explain).to.include({
            selectivity: 0.1,
            matchingRows: 40,
            rowsScanned: 40,
        });
        expect(explain.strategy).to.match(/scan/);
        expect(explain.searchMs).to.be.within(0, 10_000);
        const many = db.table('many', { v: vector(D) });
        const vectors = new Float32Array(6000 * D).map(random.normal);
        many.insertColumns({ v: vectors });
        db.linkPending();
        const graph = many.search(rows[0].v, { k: 3, ef: 20 }).explain;
        expect(graph.strategy).to.equal('graph');
        expect(graph.nodesVisited).to.be.within(1, 5999);
        expect(table.search(rows[0].v, { k: 3, exact: true }).explain.strategy).to.match(/scan/);
    });

    it('gives the columns that are selected', () => {
        const table = tableOf({});
        const [hit] = table.search(rows[5].v, { k: 1, select: ['part', 'v', 'k'] });
        expect(hit.values).to.deep.equal({ part: 5, v: rows[5].v, k: 'k5' });
        expect(hit.key).to.equal('k5');
        expect(table.search(rows[5].v, { k: 1, select: [] })[0].values).to.deep.equal({});
    });

    it('keeps to a filter', () => {
        const table = tableOf({});
        db.linkPending();
        const query = random.vector(D);
        for (const where of [eq('part', 4), 'part = 4']) {
            const wanted = nearest(
                query,
                'cosine',
                10,
                rows.filter(({ part }) => part === 4),
            );
            expect(table.search(query, { where }).map((hit) => hit.key)).to.deep.equal(wanted.map((hit) => hit.key));
        }
        expect(table.search(query, { where: 'part = 40' })).to.have.length(0);
        expect(table.search(query, { where: '' })).to.have.length(10);
        expect(thrown('SYNTAX', undefined, () => table.search(query, { where: 'part =' })).offset).to.equal(6);
    });

    it('answers many queries at once', () => {
        const table = tableOf({});
        const queries = new Float32Array(3 * D);
        [7, 8, 9].forEach((row, i) => queries.set(rows[row].v, i * D));
        const found = table.searchMany(queries, { k: 2, select: ['part'] });
        expect(found.map((hits) => hits[0].key)).to.deep.equal(['k7', 'k8', 'k9']);
        expect(found.map((hits) => hits[0].values.part)).to.deep.equal([7, 8, 9]);
        expect(found[2].explain.matchingRows).to.equal(ROWS);
        const arrays = table.searchArrays(queries, { k: 2 });
        expect(arrays.k).to.equal(2);
        expect([arrays.rows.length, arrays.distances.length]).to.deep.equal([6, 6]);
        expect(Array.from(arrays.rows)).to.deep.equal(found.flat().map(({ row }) => row));
        expect(Array.from(arrays.distances)).to.deep.equal(found.flat().map(({ distance }) => distance));
        expect(table.searchMany(new Float32Array(0))).to.deep.equal([]);
        expect(table.searchArrays(new Float32Array(0)).rows).to.have.length(0);
    });

    it('has empty slots where there is less than k', () => {
        const table = db.table('few', { v: vector(2) });
        table.insert([{ v: [1, 0] }, { v: null }]);
        expect(table.search([1, 0], { k: 5 })).to.have.length(1);
        expect(table.search([1, 0], { k: 5 })[0]).to.include({ row: 0, key: 0 });
        const { rows: found, distances } = table.searchArrays(new Float32Array([1, 0]), { k: 3 });
        expect(Array.from(found.subarray(1))).to.deep.equal([4294967295, 4294967295]);
        expect(Array.from(distances.subarray(1))).to.deep.equal([Infinity, Infinity]);
    });

    it('takes integer keys, and the column where there are several', () => {
        const table = db.table('two', {
            id: key('int'),
            a: vector(2),
            b: vector(3, { metric: 'l2' }),
        });
        table.insert([
            { id: 2n ** 60n, a: [1, 0], b: [0, 0, 0] },
            { id: -4, a: [0, 1], b: [1, 1, 1] },
        ]);
        expect(table.search([1, 0], { column: 'a' }).map((hit) => hit.key)).to.deep.equal([2n ** 60n, -4]);
        const [hit] = table.search([1, 1, 1], { column: 'b' });
        expect(hit).to.include({ key: -4, distance: 0, score: 1 });
        thrown('INVALID', /several vector columns/, () => table.search([1, 0]));
        thrown('INVALID', /has no vector column/, () => db.table('none', { a: 'int' }).search([1]));
    });

    it('reports and is cancelled', () => {
        const table = tableOf({});
        const queries = new Float32Array(200 * D).fill(1);
        const reports = [];
        table.searchArrays(queries, {
            exact: true,
            onProgress: (done, total) => reports.push([done, total]),
        });
        if (reports.length > 0) {
            thrown('CANCELLED', undefined, () => table.searchArrays(queries, { exact: true, onProgress: () => false }));
            const mine = () => {
                throw new RangeError('mine');
            };
            expect(() => table.searchArrays(queries, { exact: true, onProgress: mine })).to.throw(RangeError, 'mine');
        }
        expect(table.search(rows[1].v)[0].key).to.equal('k1');
    });

    it('refuses what it cannot understand', () => {
        const table = tableOf({});
        const query = rows[0].v;
        thrown('INVALID', /search: k must be a whole number from 1 to 16384, not the number 0/, () =>
            table.search(query, { k: 0 }),
        );
        thrown('INVALID', /k must be/, () => table.search(query, { k: 1.5 }));
        thrown('INVALID', /k must be/, () => table.search(query, { k: 20_000 }));
        thrown('INVALID', /ef must be/, () => table.search(query, { ef: -1 }));
        thrown('INVALID', /no option 'limit'; there are k, ef/, () => table.search(query, { limit: 5 }));
        thrown('INVALID', /options must be an object/, () => table.search(query, 5));
        thrown('DIMENSIONS', /2 elements; the column has 16/, () => table.search([1, 2]));
        thrown('DIMENSIONS', /not a whole number of queries/, () => table.searchMany(new Float32Array(D + 1)));
        thrown('TYPE', /expected a Float32Array or an array of numbers/, () => table.search('abc'));
        thrown('INVALID', /queries must be a Float32Array/, () => table.searchMany([rows[0].v]));
        thrown('NOT_FINITE', /element 1 of the vector is NaN/, () =>
            table.search(Array.from(query, (v, i) => (i === 1 ? NaN : v))),
        );
        thrown('NOT_FINITE', undefined, () => table.search(new Float32Array(D).fill(Infinity)));
        thrown('UNKNOWN_COLUMN', undefined, () => table.search(query, { select: ['zz'] }));
        thrown('UNKNOWN_COLUMN', undefined, () => table.search(query, { column: 'zz' }));
        thrown('TYPE', /'part' is int, not a vector/, () => table.search(query, { column: 'part' }));
        thrown('INVALID', /at must be a Date/, () => table.search(query, { at: 'yesterday' }));
        thrown('INVALID', /select|columns must be an array/, () => table.search(query, { select: 'part' }));
    });
});
