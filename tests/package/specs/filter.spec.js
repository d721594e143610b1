/*
 * Filters: the builder and the template tag write the language as a person would, and what is put in never becomes part
 * of it; rows are those that JavaScript itself would choose.
 */
import { expect } from 'chai';
import {
    Filter,
    and,
    between,
    contains,
    count,
    createDatabase,
    endsWith,
    eq,
    filter,
    gt,
    gte,
    inList,
    init,
    isNull,
    key,
    like,
    lt,
    lte,
    ne,
    not,
    notIn,
    notNull,
    or,
    startsWith,
    vector,
} from 'velta';
import { randomFrom } from '../support/random.js';
import { thrown } from '../support/thrown.js';

const PIECES = [
    "'",
    "''",
    '"',
    '%',
    '_',
    '\\',
    '!',
    'é',
    '😀',
    'a',
    'B',
    ' ',
    ' OR ',
    "' OR '1'='1",
    '--',
    ')',
    '\n',
    '€',
    '0',
];

describe('Filter', () => {
    let db;
    let table;
    before(() => init());
    beforeEach(() => {
        db = createDatabase({ autoIndex: false });
        table = db.table('t', {
            name: key('string'),
            section: 'string',
            depends: 'int',
            ratio: 'float',
            ok: 'bool',
            made: 'timestamp',
            raw: 'bytes',
            v: vector(2),
        });
        table.insert([
            {
                name: 'chess',
                section: 'games',
                depends: 3,
                ratio: 0.5,
                ok: false,
                made: 1e12,
                raw: new Uint8Array([1, 2]),
            },
            {
                name: 'tetris',
                section: 'games',
                depends: 12,
                ratio: NaN,
                ok: false,
                made: 2e12,
                raw: new Uint8Array([255]),
            },
            {
                name: 'libc',
                section: 'libs',
                depends: 0,
                ratio: 2.25,
                ok: true,
                made: 3e12,
                v: [1, 2],
            },
            { name: 'café_50%', depends: 4, ratio: -0, made: -1 },
            { name: 'editor', section: 'Editors', ok: false },
        ]);
    });
    afterEach(() => db.close());
    const names = (where) => table.where(where).keys();

    it('is text as in docs/FILTER.md', () => {
        expect(eq('section', 'games').and(lt('depends', 5)).toString()).to.equal("section = 'games' AND depends < 5");
        expect(or(eq('a', 1), and(eq('b', 2), eq('c', 3))).toString()).to.equal('a = 1 OR b = 2 AND c = 3');
        expect(and(or(eq('a', 1), eq('b', 2)), eq('c', 3)).toString()).to.equal('(a = 1 OR b = 2) AND c = 3');
        expect(not(and(eq('a', 1), eq('b', 2))).toString()).to.equal('NOT (a = 1 AND b = 2)');
        expect(not(not(eq('a', 1))).toString()).to.equal('NOT NOT a = 1');
        expect(eq('a', 1).or(eq('b', 2)).not().and(eq('c', 3)).toString()).to.equal('NOT (a = 1 OR b = 2) AND c = 3');
        expect(eq('in', 1).toString()).to.equal('"in" = 1');
        expect(eq('a "b"', 1).toString()).to.equal('"a ""b""" = 1');
        expect(eq('s', "it's").toString()).to.equal("s = 'it''s'");
        expect(between('d', 1, 2).toString()).to.equal('d BETWEEN 1 AND 2');
        expect(between('d', 1, 2, { inclusive: false }).toString()).to.equal('d > 1 AND d < 2');
        expect(inList('d', [1, 2n]).toString()).to.equal('d IN (1, 2)');
        expect(notIn('d', []).toString()).to.equal('d NOT IN ()');
        expect(like('s', 'a!%%', { escape: '!' }).toString()).to.equal("s LIKE 'a!%%' ESCAPE '!'");
        expect(startsWith('s', 'a').toString()).to.equal("s STARTS WITH 'a'");
        expect(endsWith('s', 'a').toString()).to.equal("s ENDS WITH 'a'");
        expect(contains('s', 'a').toString()).to.equal("s CONTAINS 'a'");
        expect(isNull('s').toString()).to.equal('s IS NULL');
        expect(notNull('s').toString()).to.equal('s IS NOT NULL');
        expect(ne('b', true).toString()).to.equal('b != TRUE');
        expect(eq('t', new Date(12)).toString()).to.equal('t = 12');
        expect(eq('r', new Uint8Array([0, 255])).toString()).to.equal("r = x'00ff'");
        expect(gte('d', -0).toString()).to.equal('d >= 0');
        expect(lte('d', 2 ** 60).toString()).to.equal('d <= 1152921504606846976');
        expect(gt('d', Infinity).toString()).to.equal('d > 1e999');
        expect(and().toString()).to.equal('TRUE');
        expect(or().toString()).to.equal('FALSE');
        expect(eq('a', 1)).to.be.instanceOf(Filter);
    });

    it('finds the rows that it says', () => {
        expect(names(eq('section', 'games').and(lt('depends', 5)))).to.deep.equal(['chess']);
        expect(names(between('depends', 3, 12))).to.deep.equal(['chess', 'tetris', 'café_50%']);
        expect(names(between('depends', 3, 12, { inclusive: false }))).to.deep.equal(['café_50%']);
        expect(names(inList('section', ['libs', 'Editors']))).to.deep.equal(['libc', 'editor']);
        expect(names(notIn('section', ['libs', 'Editors']))).to.deep.equal(['chess', 'tetris']);
        expect(names(inList('section', []))).to.deep.equal([]);
        expect(names(eq('ok', true).or(startsWith('name', 'caf')))).to.deep.equal(['libc', 'café_50%']);
        expect(names(like('name', 'caf__50_'))).to.deep.equal(['café_50%']);
        expect(names(like('name', '%50!%', { escape: '!' }))).to.deep.equal(['café_50%']);
        expect(names(contains('name', '_50%'))).to.deep.equal(['café_50%']);
        expect(names(endsWith('section', 's'))).to.deep.equal(['chess', 'tetris', 'libc', 'editor']);
        expect(names(isNull('section'))).to.deep.equal(['café_50%']);
        expect(names(notNull('v'))).to.deep.equal(['libc']);
        expect(names(eq('ratio', 0))).to.deep.equal(['café_50%']);
        expect(names(ne('ratio', 0.5))).to.deep.equal(['tetris', 'libc', 'café_50%']);
        expect(names(not(between('ratio', -Infinity, Infinity)))).to.deep.equal(['tetris']);
        expect(names(gte('made', new Date(2e12)))).to.deep.equal(['tetris', 'libc']);
        expect(names(startsWith('raw', new Uint8Array([1])))).to.deep.equal(['chess']);
        expect(names(eq('raw', new Uint8Array([255])))).to.deep.equal(['tetris']);
        expect(names(and())).to.have.length(5);
        expect(names(or())).to.deep.equal([]);
    });

    it('is written by the template tag with its values quoted', () => {
        const section = "ga'mes";
        expect(filter`section = ${section} AND depends < ${5n}`.toString()).to.equal(
            "section = 'ga''mes' AND depends < 5",
        );
        expect(filter`depends IN ${[1, 2]}`.toString()).to.equal('depends IN (1, 2)');
        expect(filter`${eq('a', 1).or(eq('b', 2))} AND ${true} = ok`.toString()).to.equal(
            '(a = 1 OR b = 2) AND TRUE = ok',
        );
        expect(names(filter`section = ${'games'} AND depends < ${5}`)).to.deep.equal(['chess']);
        expect(names(filter`made = ${new Date(1e12)}`)).to.deep.equal(['chess']);
        expect(names(filter`NOT ${eq('section', 'games').or(eq('ok', true))}`)).to.deep.equal(['editor']);
        expect(filter`depends = ${null}`.toString()).to.equal('depends = NULL');
        thrown('INVALID', /isNull/, () => filter`a = ${undefined}`);
        expect(names(filter`depends > ${1}`.and(lt('depends', 10)))).to.deep.equal(['chess', 'café_50%']);
        expect(filter`a = 1 OR b = 2`.and(eq('c', 3)).toString()).to.equal('(a = 1 OR b = 2) AND c = 3');
    });

    it('makes the plan that the text makes: the same rows, and one compiled filter', () => {
        for (const [built, text] of [
            [eq('section', 'games').and(lt('depends', 5)), "section='games'   and depends<5"],
            [not(inList('depends', [0, 4])), 'depends NOT IN (0, 4)'],
            [or(isNull('ok'), gt('ratio', 1)), 'ok IS NULL OR ratio > 1'],
        ]) {
            expect(names(built)).to.deep.equal(names(text));
            expect(table.search([1, 2], { where: built })).to.deep.equal(
                Object.assign(table.search([1, 2], { where: text }), {
                    explain: table.search([1, 2], { where: built }).explain,
                }),
            );
        }
    });

    it('never lets a value become part of the language', () => {
        const random = randomFrom(31);
        const strings = new Set();
        while (strings.size < 150) {
            strings.add(Array.from({ length: random.below(8) }, () => random.pick(PIECES)).join(''));
        }
        const all = [...strings];
        const own = db.table('own', {
            id: key('int'),
            s: 'string',
            ['x "y" é in']: 'string',
        });
        own.insert(all.map((s, id) => ({ id, s, ['x "y" é in']: s })));
        const ids = (condition) => all.map((s, id) => (condition(s) ? id : -1)).filter((id) => id >= 0);
        for (const s of all) {
            expect(own.where(eq('s', s)).keys()).to.deep.equal(ids((other) => other === s));
            expect(own.where(eq('x "y" é in', s)).keys()).to.deep.equal(ids((other) => other === s));
            expect(own.where(filter`s = ${s}`).count()).to.equal(1);
            expect(own.where(contains('s', s)).keys()).to.deep.equal(ids((other) => other.includes(s)));
            expect(own.where(startsWith('s', s)).keys()).to.deep.equal(ids((other) => other.startsWith(s)));
            expect(own.where(inList('s', [s, 'none'])).count()).to.equal(1);
            const escaped = s.replace(/[!%_]/g, '!$&');
            expect(own.where(like('s', escaped, { escape: '!' })).keys()).to.deep.equal(ids((other) => other === s));
        }
    });

    it('keeps numbers exact', () => {
        const random = randomFrom(32);
        const own = db.table('own', { id: key('int'), x: 'float', n: 'int' });
        const floats = [
            0.1,
            1e-7,
            5e-324,
            1.7976931348623157e308,
            1e21,
            123456789012345680000,
            -2.5e-3,
            2 ** 63,
            2 ** 60,
        ];
        while (floats.length < 200) floats.push(random.normal() * 10 ** (random.below(600) - 300));
        const ints = floats.map(
            (_, i) =>
                (i % 2 === 0 ? -1n : 1n) * BigInt(Math.floor(random.next() * 2 ** 53)) * BigInt(1 + random.below(1000)),
        );
        own.insert(floats.map((x, id) => ({ id, x, n: ints[id] })));
        floats.forEach((x, id) => {
            expect(own.where(eq('x', x)).keys(), `${x}`).to.deep.equal([id]);
            expect(own.where(eq('x', -x)).keys(), `${-x}`).to.deep.equal(x === 0 ? [id] : []);
            expect(own.where(eq('n', ints[id])).keys()).to.include(id);
            expect(own.where(eq('n', ints[id] + 1n)).keys()).to.not.include(id);
        });
    });

    it('refuses what is no value, and what matches nothing by mistake', () => {
        thrown('INVALID', /use isNull\(\)/, () => eq('a', null));
        thrown('INVALID', /use isNull\(\)/, () => eq('a', undefined));
        thrown('INVALID', /NaN/, () => lt('a', NaN));
        thrown('INVALID', /64 bits/, () => lt('a', 2n ** 63n));
        thrown('INVALID', /invalid Date/, () => lt('a', new Date(NaN)));
        thrown('TYPE', /an object/, () => eq('a', {}));
        thrown('TYPE', /expected a string/, () => like('a', 5));
        thrown('INVALID', /an array/, () => inList('a', 'abc'));
        thrown('INVALID', /column name/, () => eq('', 1));
        thrown('INVALID', /expected a filter/, () => and(eq('a', 1), 'b = 2'));
        thrown('INVALID', /a filter is a text/, () => table.where(5));
        thrown('INVALID', /U\+0000/, () => names(eq('name', 'a\0b')));
        thrown('INVALID', /surrogate pair/, () => names(eq('name', 'a\ud800')));
    });

    it('is a template whose parentheses and quotes match, and none that a value could leave', () => {
        const escaping = thrown('SYNTAX', /closed, but not opened/, () => filter`depends = 1) OR (depends > 0`);
        expect(escaping.offset).to.equal(11);
        expect(thrown('SYNTAX', /quote is not closed/, () => filter`name = 'é' OR "x`).offset).to.equal(15);
        expect(thrown('SYNTAX', /is not closed/, () => filter`(depends = ${1}`).offset).to.equal(0);
        thrown('SYNTAX', undefined, () => filter`depends = ${1}) OR (depends = ${2}`);
        thrown('INVALID', /value 1 stands within quotes/, () => filter`name = '${" OR name != '"}'`);
        thrown('INVALID', /tag of template literals/, () => filter('depends = 1) OR (TRUE'));
        thrown('INVALID', /tag of template literals/, () => filter(['a', 'b']));
        expect(names(filter`name = 'a)''(' OR (depends = ${3})`)).to.deep.equal(names('depends = 3'));
    });

    it('tells where a text is wrong', () => {
        expect(thrown('SYNTAX', /expected a value/, () => names('depends <')).offset).to.equal(9);
        expect(thrown('UNKNOWN_COLUMN', /did you mean 'section'/, () => names("sectoin = 'games'")).offset).to.equal(0);
        expect(thrown('TYPE', /is int/, () => names("depends = 'three'")).offset).to.equal(10);
        expect(thrown('SYNTAX', /not chained/, () => table.where('0 < depends < 5').count()).offset).to.equal(12);
        thrown('LIMIT', undefined, () =>
            names(
                inList(
                    'depends',
                    Array.from({ length: 10_001 }, (_, i) => i),
                ),
            ),
        );
        thrown('SYNTAX', undefined, () => table.where('depends <').aggregate({ n: count() }));
        expect(names(' ')).to.have.length(5);
    });

    it('may be one of many: more texts than are kept compiled', () => {
        for (let round = 0; round < 3; round++) {
            for (let i = 0; i < 40; i++)
                expect(table.where(`depends = ${i}`).count()).to.equal([0, 3, 4, 12].includes(i) ? 1 : 0);
        }
        table.addColumn('more', 'int');
        expect(names('depends = 3')).to.deep.equal(['chess']);
        table.insert({ name: 'new', depends: 3 });
        expect(names('depends = 3')).to.deep.equal(['chess', 'new']);
        table.delete('chess');
        db.compact();
        expect(names('depends = 3')).to.deep.equal(['new']);
    });
});
