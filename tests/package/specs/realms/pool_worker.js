/*
 * The other thread of a SharedDeltaPool, a worker in browsers and in Node: it takes what the test writes into a
 * database of its own, or writes what the test takes. A worker of a browser knows no import map.
 */
const isNode = typeof process === 'object';
const velta = await import(isNode ? 'velta' : '/node_modules/velta/dist/velta.js');
const port = isNode ? (await import('node:worker_threads')).parentPort : globalThis;

const actions = {
    /** Takes everything into a new database, or a stored one; gives what is there in the end. */
    async consume({ end, dimensions, vectors = 0, batchSize, pause, store }) {
        const db = store
            ? await velta.DeltaVectorDB.open(...store)
            : new velta.DeltaVectorDB({ dimensions, autoIndex: false });
        for (let i = 0; i < vectors; i++) {
            db.applyDelta({ vectorId: `v${i}`, operation: { type: 'create', vector: new Float32Array(dimensions) } });
        }
        const pool = velta.SharedDeltaPool.from(end);
        if (pause) await new Promise((done) => setTimeout(done, pause));
        const count = await pool.drain(db, { batchSize, stream: 's' });
        const names = store ? ['a'] : Array.from({ length: vectors }, (_, i) => `v${i}`);
        const states = names.map((name) => db.getVector(name));
        const position = db.streamPosition('s');
        if (store) await db.close();
        const { shared, applied, acknowledged } = pool;
        return { count, states, position, shared, applied, acknowledged };
    },
    /** Writes deltas, blocking while the pool is full, or waiting where it is not in shared memory. */
    async produce({ end, count, vectors }) {
        const pool = velta.SharedDeltaPool.from(end);
        for (let i = 0; i < count; i++) {
            const delta = { vectorId: `v${i % vectors}`, operation: { type: 'offset', amount: 1 } };
            if (pool.shared) pool.writeDelta(delta, { wait: 20_000 });
            else await pool.write(delta);
        }
        pool.end();
        return { written: pool.written };
    },
    /** Takes no more. */
    async stop({ end }) {
        velta.SharedDeltaPool.from(end).close();
        return {};
    },
};

async function answer({ id, action, ...given }) {
    try {
        await velta.init();
        port.postMessage({ id, result: await actions[action](given) });
    } catch (error) {
        port.postMessage({ id, error: { code: error.code, message: String(error.stack ?? error) } });
    }
}

if (isNode) port.on('message', answer);
else globalThis.addEventListener('message', ({ data }) => answer(data));
port.postMessage({ id: 0 });
