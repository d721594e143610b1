/*
 * Search under a filter in Node with the SIMD128 build, on clustered (100,000 x 384) and debpkg: recall@10 and
 * queries a second at every selectivity, matching rows at random, near the query or far from it, beside native
 * hnswlib.
 *
 * velta is asked through the API with a filter on a column. Both engines get the matching rows outside the time that is
 * compared: the peer as marks set before, velta in the part of the call that the engine reports as the filter's; the
 * rate of whole calls is told as well. The peer is asked at the smallest ef of 64 to 512 whose recall reaches 0.99, at
 * 50 % to 1 % (elsewhere the native measurement has it).
 *
 * usage: filtered.mjs [RESULT.json [DATASET]]
 */
import { join } from 'node:path';
import { bytesOf, NativePeer, neighbours, places, queryOf, recallOf, shares } from './lib/peer.mjs';
import { median, Report } from './lib/report.mjs';
import { fill, link, loadVelta } from './lib/velta.mjs';

const QUERIES = 40;
const ROUNDS = 3;
const FLOORS = { 0.001: 25_000, 0.01: 3_000 }; // at random, 100,000 x 384

const report = new Report('in WebAssembly: filtered search, Node, SIMD128');
const velta = await loadVelta();
for (const name of process.argv[3] ? [process.argv[3]] : ['clustered', 'debpkg']) await measure(name);

/** One integer column for each query (its rows by similarity) and one bool column for each random share. */
async function columnsOf(peer, data) {
    const ranksPath = join(peer.folder('data'), 'ranks.u32');
    await peer.ask('ranks', QUERIES, ranksPath);
    const ranks = new Uint32Array(bytesOf(ranksPath));
    const random = [];
    for (const share of shares.keys()) {
        const marks = new Uint8Array(data.rows);
        await peer.ask('case', share, 0, peer.folder('case'));
        for (const row of new Uint32Array(bytesOf(join(peer.folder('case'), 'rows.u32')))) marks[row] = 1;
        random.push(marks);
    }
    const columns = {};
    for (let q = 0; q < QUERIES; q++) columns[`rank${q}`] = 'int';
    for (const share of shares.keys()) columns[`share${share}`] = 'bool';
    const values = (first, end) => {
        const batch = {};
        for (let q = 0; q < QUERIES; q++)
            batch[`rank${q}`] = Float64Array.from(ranks.subarray(q * data.rows + first, q * data.rows + end));
        for (const share of shares.keys())
            batch[`share${share}`] = Array.from(random[share].subarray(first, end), (mark) => mark === 1);
        return batch;
    };
    return { columns, values };
}

function filterOf(place, share, query, rows) {
    const count = Math.floor(shares[share] * rows);
    if (place === 'random') return `share${share} = true`;
    return place === 'near' ? `rank${query} < ${count}` : `rank${query} >= ${rows - count}`;
}

/** One round over the queries: milliseconds of searching and of whole calls, recall, ways taken. */
function round(table, data, place, share, least) {
    const findable = Math.min(neighbours, Math.floor(shares[share] * data.rows));
    const told = { search: 0, whole: 0, recall: 0, ways: {} };
    for (let q = 0; q < QUERIES; q++) {
        const query = queryOf(data, q);
        const where = filterOf(place, share, q, data.rows);
        const start = performance.now();
        const hits = table.search(query, { k: neighbours, where });
        told.whole += performance.now() - start;
        told.search += hits.explain.searchMs;
        told.ways[hits.explain.strategy] = (told.ways[hits.explain.strategy] ?? 0) + 1;
        const rows = Array.from(hits, (hit) => hit.row);
        told.recall += recallOf(data, q, rows, least[q], findable) / QUERIES;
    }
    return told;
}

async function measureCase(peer, data, table, place, share) {
    const folder = peer.folder('case');
    await peer.ask('case', share, places.indexOf(place), folder);
    const least = new Float64Array(bytesOf(join(folder, 'least.f64')));
    const compared = shares[share] < 0.6 && shares[share] > 0.005;
    let ef = 64;
    let theirs = null;
    for (; compared && ef <= 512; ef *= 2) {
        theirs = await peer.numbers('filtered', ef); // seconds a query, recall
        if (theirs[1] >= 0.99 || ef === 512) break;
    }
    const rounds = [];
    for (let turn = 0; turn <= ROUNDS; turn++) {
        const told = round(table, data, place, share, least);
        if (turn) rounds.push(told);
    }
    const rate = (part) => (QUERIES / median(rounds.map((told) => told[part]))) * 1000;
    const what = `${data.name} ${shares[share] * 100} % ${place}`;
    const ways = Object.entries(rounds[0].ways).map(([way, count]) => `${way} ${count}`);
    report.compare(
        what,
        'queries/s',
        rate('search'),
        theirs ? { 'native hnswlib': 1 / theirs[0] } : {},
        { 'native hnswlib': 2 },
        {
            recall: [rounds[0].recall, ...(theirs ? [theirs[1]] : [])].map((value) => value.toFixed(4)).join(' / '),
            'whole calls': Math.round(rate('whole')),
            ways: ways.join(', '),
        },
    );
    report.figure(`${what}, recall`, '', rounds[0].recall, 0.99, { least: true });
    if (data.name === 'clustered' && place === 'random' && FLOORS[shares[share]])
        report.figure(what, 'queries/s', rate('search'), FLOORS[shares[share]], { least: true });
}

async function measure(name) {
    const peer = new NativePeer(name);
    const data = await peer.data();
    await peer.ask('load');
    const { database, table } = fill(velta, data, await columnsOf(peer, data));
    link(database);
    for (const share of shares.keys()) for (const place of places) await measureCase(peer, data, table, place, share);
    await database.close();
    peer.close();
}
