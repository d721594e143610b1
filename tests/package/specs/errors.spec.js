/*
 * Errors: what is thrown before init, for wrong values of every type, after a failure of the module; and that errors
 * survive being cloned.
 */
import { expect } from 'chai';
import { VeltaError, createDatabase, importDatabase, init, key, moduleInfo, required, vector } from 'velta';
import { thrown } from '../support/thrown.js';

describe('errors', () => {
    it('say that init() is missing', () => {
        thrown('NOT_READY', /await init\(\) first/, () => createDatabase());
        thrown('NOT_READY', /await init\(\) first/, () => importDatabase(new Uint8Array(10)));
        thrown('NOT_READY', /await init\(\) first/, () => moduleInfo());
    });

    it('are data, and back', () => {
        const error = new VeltaError('TYPE', 'a sentence', {
            offset: 7,
            cause: new Error('why'),
        });
        expect(error).to.be.instanceOf(Error);
        expect(error).to.include({
            name: 'VeltaError',
            code: 'TYPE',
            offset: 7,
            message: 'a sentence',
        });
        expect(error.cause.message).to.equal('why');
        const data = JSON.parse(JSON.stringify(error));
        expect(data).to.deep.equal({
            code: 'TYPE',
            message: 'a sentence',
            offset: 7,
        });
        const again = VeltaError.fromJSON(structuredClone(data));
        expect(again).to.be.instanceOf(VeltaError);
        expect(again).to.include({
            code: 'TYPE',
            offset: 7,
            message: 'a sentence',
        });
        expect('offset' in new VeltaError('IO', 'x')).to.equal(false);
        expect(String(error)).to.equal('VeltaError: a sentence');
    });

    describe('of wrong values', () => {
        let db;
        let table;
        before(() => init());
        beforeEach(() => {
            db = createDatabase({ autoIndex: false });
            table = db.table('t', {
                k: key('string'),
                i: 'int',
                f: 'float',
                b: 'bool',
                s: 'string',
                t: 'timestamp',
                y: 'bytes',
                v: vector(2),
                r: required('int'),
            });
        });
        afterEach(() => {
            expect(table.liveCount).to.equal(0);
            return db.close();
        });

        function detached(array) {
            structuredClone(array.buffer, { transfer: [array.buffer] });
            return array;
        }

        it('name the column, the row, what came and what was expected', () => {
            const good = { k: 'good', r: 1 };
            const cases = [
                ['TYPE', { i: 1.5 }, /column 'i', row 1: expected a whole number or a bigint, not the number 1.5/],
                ['TYPE', { i: '5' }, /expected a whole number or a bigint, not the string "5"/],
                ['TYPE', { i: NaN }, /not the number NaN/],
                ['TYPE', { i: Infinity }, /not the number Infinity/],
                ['TYPE', { i: 2 ** 53 }, /expected a bigint \(beyond 2\^53 numbers are not exact\), not the number/],
                ['TYPE', { i: 2n ** 63n }, /expected an integer of 64 bits/],
                ['TYPE', { i: true }, /not true/],
                ['TYPE', { f: '1' }, /column 'f', row 1: expected a number, not the string "1"/],
                ['TYPE', { f: 1n }, /not the bigint 1n/],
                ['TYPE', { b: 1 }, /expected true or false, not the number 1/],
                ['TYPE', { s: 5 }, /expected a string, not the number 5/],
                ['TYPE', { s: ['a'] }, /not an array of 1/],
                ['TYPE', { s: Symbol('x') }, /not a symbol/],
                ['TYPE', { t: '2024-01-01' }, /expected a Date or whole milliseconds since 1970, not the string/],
                ['TYPE', { t: new Date(NaN) }, /not a Date/],
                ['TYPE', { t: 1.5 }, /not the number 1.5/],
                ['TYPE', { t: 9e15 }, /not the number 9000000000000000/],
                ['TYPE', { y: 'abc' }, /expected a Uint8Array, not the string "abc"/],
                ['TYPE', { y: new Uint16Array(2) }, /not a Uint16Array of 4 bytes/],
                ['INVALID', { y: detached(new Uint8Array(3)) }, /column 'y', row 1: the ArrayBuffer is detached/],
                ['DIMENSIONS', { v: [1] }, /column 'v', row 1: a vector of 1 elements; the column has 2/],
                ['DIMENSIONS', { v: new Float32Array(3) }, /a vector of 3 elements; the column has 2/],
                ['DIMENSIONS', { v: detached(new Float32Array(2)) }, /detached/],
                ['TYPE', { v: 'ab' }, /expected a Float32Array or an array of numbers, not the string "ab"/],
                ['TYPE', { v: [1, '2'] }, /expected a number as element 1 of the vector, not the string "2"/],
                ['NOT_FINITE', { v: [1, NaN] }, /element 1 of the vector is NaN/],
                ['NOT_FINITE', { v: new Float32Array([1, Infinity]) }, undefined],
                ['INVALID', { s: 'a\ud800b' }, /half of a surrogate pair at index 1/],
                ['INVALID', { s: '\udc00' }, /half of a surrogate pair at index 0/],
                ['UNKNOWN_COLUMN', { z: 1 }, /row 1: there is no column 'z'; there are k, i, f, b, s, t, y, v, r/],
                ['TYPE', { k: 5 }, /column 'k', row 1: expected a string/],
                ['NOT_NULL', { k: null }, /column k/],
                ['NOT_NULL', { r: null }, /column r/],
                ['EXISTS', { k: 'good' }, undefined],
            ];
            for (const [code, change, message] of cases) {
                const error = thrown(code, message, () => table.insert([good, { k: 'x', r: 1, ...change }]));
                if (code !== 'INVALID' || error.offset !== undefined) expect(error.offset, error.message).to.equal(1);
            }
        });

        it('are there for rows that are none', () => {
            for (const row of [null, undefined, 5, 'abc', new Uint8Array(2), [1]]) {
                thrown('INVALID', /row 0: a row is an object of values by column name, not/, () => table.insert([row]));
            }
            thrown('INVALID', /row 0: a row is an object/, () => table.insert());
            thrown('INVALID', /row 0: a row is an object/, () => table.insert('abc'));
            thrown('INVALID', /no option 'onprogress'/, () => table.insert([], { onprogress: () => 1 }));
        });

        it('are there for columns that are none', () => {
            const cases = [
                ['INVALID', { k: 'abc' }, /values are an array or a typed array, not the string/],
                ['INVALID', { k: ['a'], r: [1, 2] }, /column 'r' has 2 rows, but 'k' says 1/],
                ['UNKNOWN_COLUMN', { zz: [1] }, /batch: there is no column 'zz'/],
                ['DIMENSIONS', { v: new Float32Array(3) }, /3 elements are not a whole number of vectors of 2/],
                [
                    'TYPE',
                    { k: ['a'], r: [1], b: new Uint8Array([2]) },
                    /column 'b', row 0: expected 0 or 1, not the number 2/,
                ],
                [
                    'TYPE',
                    { v: new Float64Array(2) },
                    /column 'v', row 0: expected an array of vector values, not a Float64Array/,
                ],
                ['TYPE', { k: new Uint8Array(2) }, /expected an array of string values/],
                ['TYPE', { k: ['a'], r: new Float64Array([1.5]) }, /column 'r', row 0: expected a whole number/],
                ['INVALID', { i: detached(new BigInt64Array(2)) }, /detached/],
                ['INVALID', 5, /a batch is an object of arrays/],
            ];
            for (const [code, batch, message] of cases) thrown(code, message, () => table.insertColumns(batch));
        });

        it('are there for keys of the wrong type', () => {
            thrown('TYPE', /table 't': a key \(column 'k'\) is a string, not the number 5/, () => table.get(5));
            thrown('TYPE', /is a string, not null/, () => table.has(null));
            thrown('TYPE', undefined, () => table.vector(5));
            thrown('TYPE', undefined, () => table.apply(5, { type: 'delete' }));
            expect(thrown('TYPE', undefined, () => table.delete(['a', 5])).offset).to.equal(1);
            expect(thrown('TYPE', undefined, () => table.getMany(['a', 'b', {}])).offset).to.equal(2);
            thrown('INVALID', /surrogate/, () => table.get('\ud800'));
            thrown('INVALID', /keys must be an array/, () => table.getMany('abc'));
            thrown('INVALID', /as many times/, () => table.expireAt(['a'], []));
            thrown('INVALID', /number of seconds or null/, () => table.setTtl('a', 'soon'));
            const ints = db.table('ints', { id: key('int') });
            thrown('TYPE', /column 'id', row 0: expected a whole number or a bigint, not the string "a"/, () =>
                ints.get('a'),
            );
            thrown('TYPE', /2\^53/, () => ints.get(2 ** 60));
            const plain = db.table('plain', { a: 'int' });
            thrown('TYPE', /rows are named by their number/, () => plain.get('a'));
            thrown('TYPE', undefined, () => plain.get(-1));
            thrown('TYPE', undefined, () => plain.get(0.5));
        });

        it('are there for reading what is not there', () => {
            expect(thrown('NOT_FOUND', undefined, () => table.getRows(new Uint32Array([0]))).offset).to.equal(0);
            thrown('INVALID', /rows must be a Uint32Array/, () => table.getRows([0]));
            thrown('UNKNOWN_COLUMN', /table 't': there is no column 'zz'/, () => table.get('a', { columns: ['zz'] }));
            thrown('INVALID', /get: there is no option 'column'/, () => table.get('a', { column: 'k' }));
            thrown('INVALID', /at must be a Date/, () => table.get('a', { at: NaN }));
        });

        it('do not come from a getter’s call into the database', () => {
            const row = {
                k: 'x',
                get r() {
                    return table.liveCount + table.get('y') ? 1 : 2;
                },
            };
            thrown('BUSY', undefined, () => table.insert(row));
            const mine = {
                k: 'x',
                get r() {
                    throw new EvalError('mine');
                },
            };
            expect(() => table.insert(mine)).to.throw(EvalError, 'mine');
        });
    });

    describe('of the module', () => {
        before(() => init());
        it('stop everything when the module has failed', async () => {
            const db = createDatabase({ autoIndex: false });
            const other = createDatabase({ autoIndex: false });
            const table = db.table('t', { k: key('string') });
            const rows = table.iterate();
            // a failure of the module, made by handing it an address that is none
            const { instance } = db;
            instance.exports = {
                ...instance.exports,
                abi_find_text: () => instance.exports.abi_table_name(0xfffffff0),
            };
            const error = thrown('POISONED', /the WebAssembly module failed .* cannot be used any more/, () =>
                table.get('a'),
            );
            expect(error.cause).to.be.instanceOf(WebAssembly.RuntimeError);
            for (const call of [
                () => table.get('a'),
                () => other.tableNames(),
                () => other.table('x', { a: 'int' }),
                () => createDatabase(),
            ]) {
                expect(thrown('POISONED', undefined, call)).to.equal(error);
            }
            rows.close();
            await db.close();
            await other.close();
            expect(db.closed).to.equal(true);
        });
    });
});
