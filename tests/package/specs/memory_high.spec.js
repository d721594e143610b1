/*
 * Memory above 2 GiB, where an address is no longer a positive 32-bit integer.
 */
import { expect } from 'chai';
import { createDatabase, init, key, vector } from 'velta';
import { only } from '../support/harness.js';

const GIB = 2 ** 30;
const ROWS = 2000;
const DIMENSIONS = 32;

only('node', 'a page may not be given as much').describe('memory above 2 GiB', () => {
    it('is used like that below', async () => {
        await init({ maxMemory: 4 * GIB });
        const db = createDatabase({ memoryBudget: 4_000_000_000, autoIndex: false });
        const large = db.table('large', { id: key('int'), bytes: 'bytes' });
        const bytes = new Uint8Array(15 << 20);
        for (let id = 0; db.stats().wasmMemoryBytes < 2.2 * GIB; id++) {
            bytes[0] = id;
            large.insert({ id, bytes });
        }
        const vectorOf = (i) => Float32Array.from({ length: DIMENSIONS }, (_, j) => Math.sin(i * 7 + j * j));
        const table = db.table('t', { id: key('string'), n: 'int', text: 'string', v: vector(DIMENSIONS) });
        table.insert(
            Array.from({ length: ROWS }, (_, n) => ({ id: `k${n}`, n, text: `text ${n % 7}`, v: vectorOf(n) })),
        );
        db.linkPending();
        for (let n = 0; n < ROWS; n += 97) {
            const id = `k${n}`;
            const v = vectorOf(n);
            expect(table.get(id)).to.deep.equal({ id, n, text: `text ${n % 7}`, v });
            const [hit] = table.search(v, { k: 1, where: `text = 'text ${n % 7}'`, select: ['n'] });
            expect(hit.values.n).to.equal(n);
            table.apply(id, { type: 'scale', factor: 2 });
            expect(table.vector(id)).to.deep.equal(v.map((value) => 2 * value));
            expect(table.chain(id)).to.have.length(2);
        }
        expect(table.where('n < 100').count()).to.equal(100);
        expect(table.where('n < 10').rows()).to.have.length(10);
        expect(large.get(7).bytes[0]).to.equal(7);
        await db.close();
    }).timeout(60_000);
});
