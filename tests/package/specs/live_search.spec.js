/*
 * Live searches: the callback gets every answer that is new, and none that is not. The reference is asking again after
 * each change, over random lives of tables of every metric, element and kind of key.
 */
import { expect } from 'chai';
import { createDatabase, eq, init, key, openWorker, vector } from 'velta';
import { randomFrom } from '../support/random.js';
import { thrown } from '../support/thrown.js';

const SEED = 20_251;
const STEPS = 400;
const tick = () => Promise.resolve();
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const told = (answer) =>
    answer.map(({ row, key: id, distance, score, values }) => ({ row, id, distance, score, values }));

async function until(isDone) {
    for (let i = 0; i < 500 && !isDone(); i++) await wait(10);
    expect(isDone()).to.equal(true);
}

describe('live search', () => {
    let db;
    let table;
    before(() => init());
    beforeEach(() => {
        db = createDatabase({ autoIndex: false });
        table = db.table('t', { id: key('int'), kind: 'string', n: 'int', v: vector(2, { metric: 'l2' }) });
        for (let id = 1; id <= 9; id++) table.insert({ id, kind: id % 2 ? 'odd' : 'even', n: 0, v: [id, 0] });
    });
    afterEach(() => db.close());

    /** What was told, as keys; `searches` counts what was asked of the table. */
    function follow(query, options) {
        const seen = { answers: [], searches: 0, stop: null };
        const { search } = table;
        table.search = (...args) => {
            seen.searches += 1;
            return search.apply(table, args);
        };
        seen.stop = table.watch(query, options, (answer, error) => {
            seen.answers.push(error === undefined ? answer.map((hit) => hit.key) : error.code);
        });
        return seen;
    }

    it('tells the first answer, then each other one', async () => {
        const seen = follow([0, 0], { k: 2 });
        expect(seen.answers).to.deep.equal([]);
        await tick();
        expect(seen.answers).to.deep.equal([[1, 2]]);
        table.insert({ id: 10, v: [0.5, 0] });
        table.delete(1);
        await tick();
        expect(seen.answers).to.deep.equal([
            [1, 2],
            [10, 2],
        ]);
        table.apply(9, { type: 'scale', factor: 0 });
        await tick();
        expect(seen.answers.at(-1)).to.deep.equal([9, 10]);
        seen.stop();
        seen.stop();
        table.delete(9);
        await tick();
        expect(seen.answers).to.have.length(3);
    });

    it('searches only when a change is near, or concerns the answer', async () => {
        const seen = follow([0, 0], { k: 2, filter: "kind = 'odd'", select: ['n'] });
        await tick();
        expect([seen.answers, seen.searches]).to.deep.equal([[[1, 3]], 1]);
        table.insert({ id: 10, kind: 'odd', v: [20, 0] });
        table.insert({ id: 11, kind: 'odd' });
        table.update(5, { n: 7 });
        table.update(9, { kind: 'even' });
        table.apply(7, { type: 'offset', amount: 1 });
        table.delete([5, 7]);
        table.addColumn('extra', 'int');
        await tick();
        expect(seen.searches).to.equal(2); /* for the column */
        table.update(1, { extra: 5 });
        table.insert({ id: 12, kind: 'odd', v: [40, 0] });
        db.table('other', { v: vector(2) }).insert({ v: [0, 0] });
        await tick();
        expect(seen.searches).to.equal(2);
        table.insert({ id: 13, kind: 'even', v: [0, 0] }); /* near, but of the other kind */
        await tick();
        expect([seen.answers.length, seen.searches]).to.deep.equal([1, 3]);
        table.update(2, { kind: 'odd' });
        await tick();
        expect([seen.answers.at(-1), seen.searches]).to.deep.equal([[1, 2], 4]);
        table.update(1, { n: 5 }); /* a value that is shown */
        await tick();
        expect([seen.answers.length, seen.searches]).to.deep.equal([3, 5]);
        table.update(1, { n: 5 });
        await tick();
        expect([seen.answers.length, seen.searches]).to.deep.equal([3, 6]);
    });

    it('tells once for all changes of a task, and nothing for those undone in it', async () => {
        const seen = follow(new Float32Array([0, 0]), { k: 3 });
        await tick();
        for (let i = 0; i < 50; i++) table.update(1, { v: [i, 0] });
        table.update(1, { v: [1, 0] });
        await tick();
        expect([seen.answers.length, seen.searches]).to.deep.equal([1, 2]);
    });

    it('keeps an interval between searches', async () => {
        const seen = follow([0, 0], { k: 1, interval: 60 });
        await tick();
        const begin = performance.now();
        for (let i = 0; i < 10; i++) {
            table.update(1, { v: [0, i / 100] });
            await wait(2);
        }
        /* The first, the last, and one for each interval that the changes took: a busy machine is slow. */
        const most = 3 + Math.floor((performance.now() - begin) / 60);
        await until(() => seen.answers.length > 1);
        await wait(150);
        expect(seen.searches).to.be.within(2, most);
    });

    it('changes when rows of the answer expire', async () => {
        const seen = follow([0, 0], { k: 2 });
        await tick();
        table.setTtl(1, 0.05);
        table.setTtl(9, 0.01);
        await tick();
        expect(seen.answers).to.deep.equal([[1, 2]]);
        await until(() => seen.answers.length === 2);
        expect(seen.answers[1]).to.deep.equal([2, 3]);
        table.expire();
        await tick();
        expect(seen.answers).to.have.length(2);
    });

    it('waits as long as the clock does', async () => {
        let now = 1_000;
        const other = createDatabase({ autoIndex: false, now: () => now });
        const rows = other.table('t', { id: key('int'), v: vector(1) });
        rows.insert([
            { id: 1, v: [1] },
            { id: 2, v: [2] },
        ]);
        rows.expireAt([1], [1_020]);
        const seen = [];
        rows.watch([1], { k: 1 }, ([hit]) => seen.push(hit.key));
        await wait(60);
        expect(seen).to.deep.equal([1]);
        now = 1_020;
        await until(() => seen.length === 2);
        expect(seen).to.deep.equal([1, 2]);
        await other.close();
    });

    it('passes on that the clock fails when a row might expire', async () => {
        let isBroken = false;
        const now = () => {
            if (isBroken) throw new Error('no clock');
            return 1_000;
        };
        const other = createDatabase({ autoIndex: false, now });
        const rows = other.table('t', { id: key('int'), v: vector(1) });
        rows.insert([{ id: 1, v: [1] }]);
        rows.expireAt([1], [1_020]);
        const seen = [];
        rows.watch([1], { k: 1 }, (_, error) => seen.push(error?.message));
        await tick();
        isBroken = true;
        await until(() => seen.length === 2);
        expect(seen[1]).to.match(/no clock/);
        isBroken = false;
        await other.close();
    });

    it('follows rows that compaction renumbers', async () => {
        const rows = [];
        table.watch([9, 0], { k: 1 }, ([{ row }]) => rows.push(row));
        await tick();
        table.delete([1, 2]);
        await tick();
        db.compact();
        await tick();
        expect(rows).to.deep.equal([8, 6]);
        table.insert({ id: 20, v: [9, 0.001] });
        table.delete(9);
        await tick();
        expect(rows).to.deep.equal([8, 6, 7]);
    });

    it('ends with the table, with nothing in the last answer', async () => {
        const seen = follow([0, 0], { k: 1 });
        await tick();
        db.dropTable('t');
        await tick();
        expect(seen.answers).to.deep.equal([[1], []]);
        db.table('t', { id: key('int'), v: vector(2) }).insert({ id: 1, v: [0, 0] });
        await tick();
        expect(seen.answers).to.have.length(2);
    });

    it('ends with the database', async () => {
        const seen = follow([0, 0], { k: 1, interval: 5 });
        await tick();
        table.delete(1);
        await db.close();
        await wait(30);
        expect(seen.answers).to.deep.equal([[1]]);
        expect(db.endings.size).to.equal(0);
    });

    it('may call the database, and be ended, from the callback', async () => {
        const seen = [];
        const stop = table.watch([0, 0], { k: 1 }, ([hit]) => {
            seen.push(hit.key);
            if (hit.key < 4) table.delete(hit.key);
            else stop();
        });
        await until(() => seen.length === 4);
        table.delete(4);
        await wait(5);
        expect(seen).to.deep.equal([1, 2, 3, 4]);
    });

    it('passes on that a search failed, and tries again', async () => {
        let isBroken = false;
        const other = createDatabase({
            autoIndex: false,
            now: () => {
                if (isBroken) throw new TypeError('no clock');
                return 5_000;
            },
        });
        const rows = other.table('t', { id: key('int'), v: vector(1) });
        const seen = [];
        rows.watch([1], { k: 2 }, (answer, error) => seen.push([answer.length, error?.code ?? null]));
        await tick();
        rows.insert({ id: 1, v: [1] });
        rows.expireAt([1], [1e15]); /* so that a search looks at the clock */
        isBroken = true;
        await tick();
        isBroken = false;
        rows.update(1, { v: [2] });
        await tick();
        expect(seen).to.deep.equal([
            [0, null],
            [0, 'INVALID'],
            [1, null],
        ]);
        await other.close();
    });

    it('refuses what a search refuses', () => {
        const nothing = () => undefined;
        thrown('DIMENSIONS', /./, () => table.watch([1], {}, nothing));
        thrown('INVALID', /watch takes a function/, () => table.watch([1, 2], {}));
        thrown('INVALID', /no option 'at'/, () => table.watch([1, 2], { at: 5 }, nothing));
        thrown('INVALID', /two names/, () => table.watch([1, 2], { where: 'n = 1', filter: 'n = 1' }, nothing));
        thrown('INVALID', /interval/, () => table.watch([1, 2], { interval: -1 }, nothing));
        thrown('SYNTAX', /./, () => table.watch([1, 2], { filter: 'n =' }, nothing));
        thrown('TYPE', /Float32Array/, () => table.watch('no', {}, nothing));
        expect(db.endings.size).to.equal(0);
    });

    const LIVES = [
        { metric: 'l2', element: 'f32', keyed: true, options: { k: 5 } },
        { metric: 'cosine', element: 'f32', keyed: false, options: { k: 3, where: 'n < 5' } },
        { metric: 'dot', element: 'f32', keyed: true, options: { k: 8, where: '"odd one" IS NULL AND n >= 3' } },
        { metric: 'l2', element: 'f16', keyed: false, options: { k: 4, select: ['n'] } },
        { metric: 'cosine', element: 'codes', keyed: true, options: { k: 4, select: ['n', 'v'] } },
        { metric: 'l2', element: 'f32', keyed: true, options: { k: 200, where: eq('n', 4), select: ['odd one'] } },
    ];
    for (const life of LIVES) {
        const { metric, element, keyed, options } = life;
        it(`is what asking after every change gives: ${metric}, ${element}, k ${options.k}`, async () => {
            const random = randomFrom(SEED + LIVES.indexOf(life));
            const rows = db.table('life', {
                ...(keyed ? { id: key('int') } : {}),
                n: 'int',
                'odd one': 'string',
                v: vector(3, { metric, element }),
            });
            const query = [1, 0.5, -0.25];
            const search = { ...options, exact: true };
            const seen = [];
            rows.watch(query, search, (answer, error) => seen.push(error ?? told(answer)));
            const expected = [];
            let calls = 0;
            for (let step = 0; step < STEPS; step++) {
                for (let i = random.below(4); i >= 0; i--) change(db, rows, keyed, random);
                await tick();
                calls += 1;
                const answer = told(rows.search(query, search));
                if (JSON.stringify(answer) !== JSON.stringify(expected.at(-1))) expected.push(answer);
                expect(seen.length, `step ${step}`).to.equal(expected.length);
                expect(seen.at(-1)).to.deep.equal(expected.at(-1));
            }
            expect(expected.length).to.be.within(STEPS / 20, calls - 1);
        });
    }

    it('works through a worker', async () => {
        const remote = await openWorker('live', { storage: 'memory' });
        const rows = await remote.table('t', { id: key('int'), n: 'int', v: vector(2) });
        await rows.insert({ id: 1, n: 1, v: [1, 0] });
        const seen = [];
        const stop = await rows.watch([1, 0], { k: 2, filter: eq('n', 1), select: ['n'] }, (answer) =>
            seen.push(answer.map((hit) => [hit.key, hit.values.n])),
        );
        await until(() => seen.length === 1);
        await rows.insert({ id: 2, n: 2, v: [1, 0] });
        await rows.insert({ id: 3, n: 1, v: [0, 1] });
        await until(() => seen.length === 2);
        stop();
        await rows.delete(1);
        await rows.get(1);
        await wait(20);
        expect(seen).to.deep.equal([
            [[1, 1]],
            [
                [1, 1],
                [3, 1],
            ],
        ]);
        let code = '';
        await rows.watch([1], {}, () => undefined).catch((error) => (code = error.code));
        expect(code).to.equal('DIMENSIONS');
        const failures = [];
        await rows.watch([1, 0], { k: 1 }, (answer, error) => failures.push([answer.length, error?.code ?? null]));
        await until(() => failures.length === 1);
        await remote.dropTable('t');
        await until(() => failures.length === 2);
        expect(failures).to.deep.equal([
            [1, null],
            [0, null],
        ]);
        await remote.close();
    });
});

/** One change at random. */
function change(db, rows, keyed, random) {
    const some = () => Float32Array.from({ length: 3 }, () => random.below(200) / 50 - 2);
    const count = rows.rowCount;
    const row = () => ({
        n: random.below(8),
        'odd one': random.below(3) ? null : 'x',
        v: random.below(9) ? some() : null,
    });
    const living = rows.all().keys();
    const one = () => random.pick(living);
    const what = living.length < 5 ? 0 : random.below(12);
    if (what < 3) {
        const size = 1 + random.below(3);
        rows.insert(Array.from({ length: size }, () => ({ ...(keyed ? { id: nextId++ } : {}), ...row() })));
    } else if (what === 3) rows.delete(one());
    else if (what === 4) rows.update(one(), { n: random.below(8) });
    else if (what === 5) rows.update(one(), { 'odd one': random.below(2) ? 'y' : null });
    else if (what === 6) rows.update(one(), { v: some() });
    else if (what === 7) rows.update(one(), row());
    else if (what === 8) rows.setTtl(one(), 10_000);
    else if (what === 9 && random.below(8) === 0) db.compact();
    else if (what === 10 && count > 40) rows.where(`n = ${random.below(8)}`).delete();
    else {
        const place = one();
        if (rows.vector(place) !== null) {
            const amount = random.below(30) / 10 - 1.5;
            rows.apply(
                place,
                random.pick([
                    { type: 'offset', amount },
                    { type: 'dense', vector: some() },
                ]),
            );
        }
    }
}

let nextId = 1;
