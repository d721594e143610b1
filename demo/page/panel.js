/* The panel about the store: the last query, latency, log, memory. */
import { byId, bytes, makeSvg, milliseconds, moment, number, percent } from './dom.js';

/** Strategies by the names that the store gives them, in a few words. */
const STRATEGIES = /** @type {Record<string, string>} */ ({
    'exact scan of vectors': 'every matching row, by its vector',
    'exact scan of codes': 'every matching row by its code, the best by their vectors',
    graph: 'from neighbour to neighbour in the HNSW graph',
    'filtered graph': 'the HNSW graph, through matching rows only',
    'graph, then exact scan': 'the graph was given up: too few rows match',
});
/** Sets of kernels by the names that the store gives them. */
const KERNELS = /** @type {Record<string, string>} */ ({
    wasm_relaxed: 'relaxed SIMD',
    wasm128: 'SIMD128',
    scalar: 'without SIMD',
});
/** Fields of the statistics, in the order of the legend. */
const MEMORY = /** @type {const} */ ([
    ['vectorBytes', 'vectors'],
    ['indexBytes', 'index'],
    ['columnBytes', 'columns'],
    ['dictionaryBytes', 'strings'],
    ['historyBytes', 'history'],
]);
const KEPT = 100;
/** Times from 0.03 to 300 ms, each ten times the one before the same way up. */
const PLOT = { width: 264, height: 96, left: 38, pad: 5, least: 0.03, most: 300, lines: [0.1, 1, 10, 100] };

/**
 * What fills the values of a list of facts, in its order.
 * @param {string} id
 */
function factsOf(id) {
    const values = [...byId(id).querySelectorAll('dd')];
    return (/** @type {(string | null)[]} */ texts) =>
        values.forEach((value, i) => (value.textContent = texts[i] ?? '\u2013'));
}

/** @param {number[]} values */
function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    return sorted.length % 2 === 1 ? (sorted[half] ?? 0) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2;
}

export class Panel {
    /** Of the last queries, newest last. @type {{ engine: number, whole: number }[]} */
    #latencies = [];
    #query = factsOf('query-facts');
    #log = factsOf('log-facts');
    #source = factsOf('source-facts');
    #parts = /** @type {HTMLElement[]} */ ([...byId('memory-stack').children]);
    #values = [...byId('memory-legend').querySelectorAll('.legend-value')];

    /** @param {import('velta').Explain} explain */
    showQuery(explain) {
        byId('strategy').textContent = explain.strategy;
        byId('strategy-text').textContent = STRATEGIES[explain.strategy] ?? '';
        this.#query([
            number(explain.matchingRows),
            percent(explain.selectivity),
            number(explain.nodesVisited),
            number(explain.rowsScanned),
            number(explain.rowsReranked),
            milliseconds(explain.filterMs),
            milliseconds(explain.searchMs),
        ]);
    }

    /**
     * @param {import('velta').Explain} explain
     * @param {number} latency ms, from the page to the worker and back
     */
    showLatency(explain, latency) {
        this.#latencies = [...this.#latencies, { engine: explain.filterMs + explain.searchMs, whole: latency }].slice(
            -KEPT,
        );
        const [engine, whole] = [
            median(this.#latencies.map((one) => one.engine)),
            median(this.#latencies.map((one) => one.whole)),
        ];
        byId('latency-engine').textContent = milliseconds(engine);
        byId('latency-median').textContent = milliseconds(whole);
        this.#plot(engine, whole);
    }

    /**
     * @param {number} engine median
     * @param {number} whole median
     */
    #plot(engine, whole) {
        const { width, height, left, pad, least, most } = PLOT;
        const y = (/** @type {number} */ ms) => {
            const share = Math.log(Math.min(Math.max(ms, least), most) / least) / Math.log(most / least);
            return height - pad - share * (height - 2 * pad);
        };
        const x = (/** @type {number} */ i) =>
            width - pad - (this.#latencies.length - 1 - i) * ((width - left - 2 * pad) / (KEPT - 1));
        const across = (/** @type {number} */ ms, /** @type {string} */ kind) =>
            makeSvg('line', { x1: left, x2: width, y1: y(ms), y2: y(ms), class: kind });
        const parts = PLOT.lines.flatMap((ms) => {
            const name = makeSvg('text', { x: left - 5, y: y(ms) + 3 });
            name.textContent = `${ms} ms`;
            return [across(ms, 'grid'), name];
        });
        parts.push(across(whole, 'median'), across(engine, 'median is-engine'));
        this.#latencies.forEach((one, i) => {
            parts.push(
                makeSvg('circle', { cx: x(i), cy: y(one.whole), r: 1.6 }),
                makeSvg('circle', { cx: x(i), cy: y(one.engine), r: 1.6, class: 'is-engine' }),
            );
        });
        byId('latency-plot').replaceChildren(...parts);
        byId('latency-plot').setAttribute(
            'aria-label',
            `Latency of the last ${this.#latencies.length} queries: median ` +
                `${milliseconds(engine)} in the engine, ${milliseconds(whole)} to the worker and back`,
        );
    }

    /** @param {import('./store.js').Source | null} source null: it is not known */
    showSource(source) {
        const share = source ? source.bytes / source.fileBytes : 0;
        this.#source(
            source
                ? [
                      bytes(source.bytes),
                      bytes(source.fileBytes),
                      number(source.requests),
                      source.section ?? 'all',
                      `${number(source.rows)} of ${number(source.fileRows)}`,
                      percent(source.rows / source.fileRows),
                  ]
                : [],
        );
        byId('source-stack').style.setProperty('--share', String(Math.min(1, share)));
        byId('source-stack').setAttribute('aria-label', `${percent(share)} of the file was fetched`);
    }

    /**
     * @param {import('velta').DatabaseStats} stats
     * @param {import('velta').LogStatus} log
     * @param {string} kind of storage
     */
    showStore(stats, log, kind) {
        const place = kind === 'opfs' ? 'OPFS' : kind === 'indexeddb' ? 'IndexedDB' : kind;
        this.#log([
            bytes(log.bytes),
            bytes(log.rawBytes),
            log.bytes > 0 && log.rawBytes > 0 ? `${(log.rawBytes / log.bytes).toFixed(2)} to 1` : null,
            bytes(log.dataBytes),
            number(log.sequence),
            number(stats.indexPending),
            log.lastCheckpoint ? moment(log.lastCheckpoint) : null,
            place,
            KERNELS[stats.simd] ?? stats.simd,
        ]);
        const budget = stats.memoryBudgetBytes;
        byId('memory-used').textContent = bytes(stats.memoryUsedBytes);
        byId('memory-budget').textContent = bytes(budget);
        const said = MEMORY.map(([field, name], i) => {
            const size = stats[field];
            const value = this.#values[i];
            // Of what is used, so that small parts can be told apart; the budget is said in the text.
            this.#parts[i]?.style.setProperty('--share', String(size / Math.max(1, stats.memoryUsedBytes)));
            if (value) value.textContent = bytes(size);
            return `${name} ${bytes(size)}`;
        });
        byId('memory-stack').style.setProperty('--used', String(Math.min(1, stats.memoryUsedBytes / budget)));
        byId('memory-stack').setAttribute('aria-label', `Memory: ${said.join(', ')}`);
    }
}
