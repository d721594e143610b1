/*
 * A realm that lives one scripted life with the options of init that it is given.
 */
import { createDatabase, init, key, moduleInfo, vector } from 'velta';

const DIMENSIONS = 24;

/** The build, its threads, and the export's bytes as SHA-256, after inserts, an index, changes and a search. */
export async function live(options, rows) {
    await init(options);
    let now = 1_700_000_000_000;
    const db = createDatabase({ now: () => (now += 10), autoIndex: false });
    const table = db.table('life', { id: key('int'), word: 'string', place: vector(DIMENSIONS, { m: 8 }) });
    let state = 12345;
    const random = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32 - 0.5;
    };
    const place = Float32Array.from({ length: rows * DIMENSIONS }, random);
    const id = Array.from({ length: rows }, (_, i) => i * 3);
    table.insertColumns({ id, word: id.map((each) => `w${each % 17}`), place });
    db.linkPending(); // at once: slices by time would cut the index differently
    for (let i = 0; i < 50; i++) table.update(i * 3, { place: Float32Array.from({ length: DIMENSIONS }, random) });
    table.delete(id.slice(200, 260));
    db.linkPending(); // at once: slices by time would cut the index differently
    const query = Float32Array.from({ length: DIMENSIONS }, random);
    const found = table.search(query, { k: 20, where: "word IN ('w1', 'w2', 'w3')" });
    const digest = await crypto.subtle.digest('SHA-256', db.export().slice());
    const { build, threads } = moduleInfo();
    await db.close();
    return {
        build,
        threads,
        bytes: Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join(''),
        found: found.map((hit) => [hit.key, hit.distance]),
    };
}
