/*
 * Building and searching in Node with the SIMD128 build, beside hnswlib-wasm in the same process and native
 * hnswlib in its own, on debpkg. All three alternate: the peers add a part of their rows, then velta builds
 * everything; searches go in blocks of a hundred queries. The processor's time counts. The rate at a recall is
 * read from a sweep of ef.
 *
 * usage: search.mjs [RESULT.json]
 */
import { loadHnswlibWasm } from './lib/hnswlib_wasm.mjs';
import { NativePeer, neighbours, queryOf } from './lib/peer.mjs';
import { median, rateAt, Report, timeCpu } from './lib/report.mjs';
import { sweep } from './lib/sweep.mjs';
import { fill, graph, link, loadVelta } from './lib/velta.mjs';

const SLICES = 2;
const ROUNDS = 2;
const EFS = [20, 28, 40, 56, 80, 112];

const report = new Report('in WebAssembly: build and search, Node, SIMD128');
const velta = await loadVelta();
const native = new NativePeer('debpkg');
const data = await native.data();
const wasm = await loadHnswlibWasm(data, graph);

/** Rows a second; velta's include handing the vectors over. */
async function build() {
    const seconds = { velta: [], linking: [], native: 0, wasm: 0 };
    let built = null;
    await native.ask('start');
    for (let slice = 0; slice < SLICES; slice++) {
        const first = Math.floor((data.rows * slice) / SLICES);
        const end = Math.floor((data.rows * (slice + 1)) / SLICES);
        seconds.native += (await native.numbers('add', first, end))[0];
        await built?.database.close();
        const filling = timeCpu(() => (built = fill(velta, data)));
        const linking = timeCpu(() => link(built.database));
        seconds.velta.push(filling + linking);
        seconds.linking.push(linking);
        seconds.wasm += timeCpu(() => wasm.add(first, end));
    }
    const rate = data.rows / median(seconds.velta);
    const peers = { 'native hnswlib': data.rows / seconds.native, 'hnswlib-wasm': data.rows / seconds.wasm };
    report.compare('build, M 16, ef_construction 100', 'rows/s', rate, peers, {
        'native hnswlib': 2,
        'hnswlib-wasm': 8,
    });
    report.compare('  linking alone', 'rows/s', data.rows / median(seconds.linking), {});
    return built;
}

/** What answers `ef` for queries first..end-1: seconds, and ten rows a query. */
function engines(table) {
    const rowsOf = (first, end, search) => {
        const found = [];
        const seconds = timeCpu(() => {
            for (let q = first; q < end; q++) found.push(search(queryOf(data, q)));
        });
        return { seconds, found: found.flatMap((rows) => [...rows]) };
    };
    return {
        velta: (ef, first, end) => rowsOf(first, end, (query) => table.searchArrays(query, { k: neighbours, ef }).rows),
        'native hnswlib': (ef, first, end) => native.search(ef, first, end),
        'hnswlib-wasm': (ef, first, end) => {
            wasm.setEf(ef);
            return rowsOf(first, end, (query) => wasm.search(query, neighbours));
        },
    };
}

function tell(points) {
    const { velta: ours, ...peers } = points;
    const named = (pick) => Object.fromEntries(Object.entries(peers).map(([name, list]) => [name, pick(list)]));
    for (const [i, ef] of EFS.entries())
        report.compare(
            `ef ${ef}`,
            'queries/s',
            ours[i].rate,
            named((list) => list[i].rate),
            {},
            {
                recall: [ours, ...Object.values(peers)].map((list) => list[i].recall.toFixed(4)).join(' / '),
            },
        );
    for (const recall of [0.95, 0.985])
        report.compare(
            `at recall ${recall}`,
            'queries/s',
            rateAt(ours, recall),
            named((list) => rateAt(list, recall)),
            {
                'native hnswlib': 2,
                'hnswlib-wasm': 8,
            },
        );
}

/** The other forms of a search, at the default ef. */
function forms(table) {
    const seconds = { hits: [], arrays: [], many: [] };
    for (let round = 0; round <= ROUNDS; round++) {
        const spent = {
            hits: timeCpu(() => {
                for (let q = 0; q < data.queries; q++) table.search(queryOf(data, q));
            }),
            arrays: timeCpu(() => {
                for (let q = 0; q < data.queries; q++) table.searchArrays(queryOf(data, q));
            }),
            many: timeCpu(() => table.searchArrays(data.query)),
        };
        if (round) for (const name of Object.keys(spent)) seconds[name].push(spent[name]);
    }
    const rate = (name) => data.queries / median(seconds[name]);
    report.compare('default ef, hits', 'queries/s', rate('hits'), {});
    report.compare('default ef, arrays', 'queries/s', rate('arrays'), {});
    report.compare('default ef, all queries in one call', 'queries/s', rate('many'), {});
}

const built = await build();
tell(await sweep(data, engines(built.table), EFS, ROUNDS));
forms(built.table);
await built.database.close();
native.close();
