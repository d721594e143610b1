/*
 * What a class offers in the page, its remote form offers too; what cannot cross is listed here by name.
 */
import { expect } from 'chai';
import { init, key, openWorker, vector } from 'velta';
import { packageFile } from '../support/harness.js';

/** A view into the module's memory cannot cross; all else does. */
const NOT_REMOTE = { Database: [], Table: ['withVector'], Query: [], RowIterator: [], ColumnFamily: [] };

/** The methods of a class that its declarations show. */
async function methodsOf(name, file) {
    const text = await (await packageFile(`dist/types/${file}.d.ts`)).text();
    const body = new RegExp(`^export declare class ${name}\\b[^]*?\\{\\n([^]*?)^\\}`, 'm').exec(text)[1];
    const methods = Array.from(body.matchAll(/^ {4}(\w+)(?:<[^(]*>)?\(/gm), ([, method]) => method);
    return [...new Set(methods)].filter((method) => method !== 'constructor');
}

describe('the remote forms of classes', () => {
    it('offer what the classes offer', async () => {
        await init();
        const database = await openWorker('methods', { storage: 'memory' });
        const table = await database.table('t', { id: key('int'), v: vector(2) });
        await table.insert({ id: 1, v: [1, 2] });
        const family = await database.columnFamilyOrCreate('f');
        const rows = await table.iterate();
        const missing = {};
        for (const [name, file, remote] of [
            ['Database', 'database', database],
            ['Table', 'table', table],
            ['Query', 'query', table.all()],
            ['RowIterator', 'iterator', rows],
            ['ColumnFamily', 'column_family', family],
        ]) {
            const methods = await methodsOf(name, file);
            expect(methods, name).to.have.length.greaterThan(3);
            missing[name] = methods.filter((method) => typeof remote[method] !== 'function');
        }
        await rows.close();
        await database.close();
        expect(missing).to.deep.equal(NOT_REMOTE);
    });
});
