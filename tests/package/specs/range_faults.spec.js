/*
 * Everything that reads over ranges, against servers that fail in every way, early and late: it ends in the right rows,
 * or in an error whose code says what is wrong; nothing stays charged.
 */
import { expect } from 'chai';
import { MemoryBudget, VeltaError, createDatabase, init, key, openSnapshot, vector } from 'velta';
import { StreamingParquetReader, importParquet } from 'velta/parquet';
import { origin } from '../support/harness.js';
import { FAULTS, faultyFetch } from '../support/faults.js';
import { DIMENSIONS, ROWS, expectedColumn, plain } from '../support/parquet_rows.js';
import { randomFrom } from '../support/random.js';

const SCHEMA = { id: key('int'), small: 'int', text: 'string', embedding: vector(DIMENSIONS) };
const someRows = Uint32Array.from({ length: 40 }, (_, i) => (i * 977 + 4999) % ROWS);

/** An export of two tables, on the server. */
async function serveExport() {
    const random = randomFrom(5);
    const database = createDatabase({ autoIndex: false });
    const table = database.table('rows', { id: key('int'), v: vector(6, { m: 4 }), w: vector(3) });
    table.insert(Array.from({ length: 900 }, (_, id) => ({ id, v: random.vector(6), w: random.vector(3) })));
    database.linkPending();
    const bytes = database.export();
    await database.close();
    const url = `${origin}/ranges/put-faults-${Math.random()}`;
    await fetch(url, { method: 'PUT', body: bytes });
    return { url, bytes };
}

/** What reads, and checks what it read: run({ fetch, timeoutMs, budget }). */
const READERS = {
    openSnapshot: async () => {
        const { url, bytes } = await serveExport();
        return async ({ budget, ...client }) => {
            const options = { autoIndex: false, requestBytes: 65_536, budget, ...client };
            const database = await openSnapshot(url, options);
            try {
                await database.graphsReady;
                const exported = database.export();
                expect(exported.length).to.equal(bytes.length);
                expect(exported.findIndex((byte, i) => byte !== bytes[i])).to.equal(-1);
            } finally {
                await database.close();
            }
        };
    },
    importParquet: async () => {
        const url = `${origin}/ranges/arrow-snappy`;
        return async ({ budget, ...client }) => {
            const table = createDatabase({ autoIndex: false }).table('rows', SCHEMA);
            try {
                const where = 'small = 7';
                const { rows } = await importParquet(url, { table, where, budget, client, gapBytes: 8192 });
                expect(rows).to.equal(ROWS / 100);
                const wanted = Array.from({ length: rows }, (_, i) => i * 100 + 7);
                const found = table.all().toArray();
                expect(found.map(({ text }) => text)).to.deep.equal(expectedColumn('text', wanted));
                expect(found.map(({ embedding }) => embedding)).to.deep.equal(expectedColumn('embedding', wanted));
            } finally {
                await table.database.close();
            }
        };
    },
    StreamingParquetReader: async () => {
        const url = `${origin}/ranges/arrow-zstd`;
        return async ({ budget, ...client }) => {
            const reader = new StreamingParquetReader(url, { budget, client, gapBytes: 8192 });
            expect(plain(await reader.readColumn('small'), 'int')).to.deep.equal(expectedColumn('small'));
            const { text, embedding } = await reader.selectByIndices(['text', 'embedding'], someRows);
            expect(text).to.deep.equal(expectedColumn('text', someRows));
            expect(plain(embedding, 'vector')).to.deep.equal(expectedColumn('embedding', someRows));
        };
    },
};

/** Some of so many requests: the first ones, one in the middle, the last ones. */
function someOf(requests) {
    const some = [0, 1, 2, requests >> 1, requests - 2, requests - 1];
    return [...new Set(some)].filter((at) => at >= 0 && at < requests);
}

for (const [what, make] of Object.entries(READERS)) {
    describe(`${what}, where the server fails`, function () {
        this.timeout(120_000);
        let run;
        let requests;
        before(async () => {
            await init();
            run = await make();
            const { fetch: sound, asked } = faultyFetch('404', Infinity);
            await run({ fetch: sound, budget: new MemoryBudget() });
            requests = asked();
            expect(requests).to.be.above(3);
        });

        /** What becomes of reading when one request fails: null, or the error. */
        async function failAt(fault, at) {
            const budget = new MemoryBudget();
            const { timeoutMs = 20_000 } = FAULTS[fault];
            const { fetch: faulty, asked } = faultyFetch(fault, at);
            const error = await run({ fetch: faulty, timeoutMs, budget }).then(
                () => null,
                (reason) => reason,
            );
            expect(asked(), 'the request that was to fail').to.be.above(at);
            expect(budget.memoryStats(), `request ${at}`).to.include({ usedBytes: 0, held: 0 });
            return error;
        }

        for (const [fault, { codes = [], isSoundFromStart = false }] of Object.entries(FAULTS)) {
            it(`by ${fault}, at the first, the last and other requests`, async () => {
                const places = someOf(requests);
                const errors = await Promise.all(places.map((at) => failAt(fault, at)));
                errors.forEach((error, i) => {
                    const at = places[i];
                    if (codes.length === 0 || (isSoundFromStart && at === 0)) {
                        expect(error, `request ${at}: ${error}`).to.equal(null);
                        return;
                    }
                    expect(error, `request ${at}: ${error}`).to.be.instanceOf(VeltaError);
                    expect(codes, `request ${at}: ${error.message}`).to.include(error.code);
                });
            });
        }
    });
}
