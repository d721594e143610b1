/* The panel about the store: the last query, latency, log, memory. */
import { byId, bytes, makeSvg, milliseconds, moment, number, percent } from './dom.js';

/** Strategies by the names that the store gives them, in a few words. */
const STRATEGIES = /** @type {Record<string, string>} */ ({
    'exact scan of vectors': 'every matching row, by its vector',
    'exact scan of codes': 'every matching row by its code, the best by their vectors',
    'graph': 'from neighbour to neighbour in the HNSW graph',
    'filtered graph': 'the HNSW graph, through matching rows only',
    'graph, then exact scan': 'the graph was given up: too few rows match',
});
/** Fields of the statistics, in the order of the legend. */
const MEMORY = /** @type {const} */ ([
    ['vectorBytes', 'vectors'], ['indexBytes', 'index'], ['columnBytes', 'columns'], ['dictionaryBytes', 'strings'],
    ['historyBytes', 'history'],
]);
const KEPT = 100;
const PLOT = { width: 260, height: 72, pad: 3 };

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
    /** @type {number[]} */
    #latencies = [];
    #query = factsOf('query-facts');
    #log = factsOf('log-facts');
    #parts = /** @type {HTMLElement[]} */ ([...byId('memory-stack').children]);
    #values = [...byId('memory-legend').querySelectorAll('.legend-value')];

    /**
     * @param {import('velta').Explain} explain
     * @param {number} latency ms, from the page to the worker and back
     */
    showQuery(explain, latency) {
        byId('strategy').textContent = explain.strategy;
        byId('strategy-text').textContent = STRATEGIES[explain.strategy] ?? '';
        this.#query([number(explain.matchingRows), percent(explain.selectivity), number(explain.nodesVisited),
            number(explain.rowsScanned), number(explain.rowsReranked), milliseconds(explain.filterMs),
            milliseconds(explain.searchMs)]);
        this.#latencies = [...this.#latencies, latency].slice(-KEPT);
        const middle = median(this.#latencies);
        byId('latency-median').textContent = milliseconds(middle);
        byId('latency-last').textContent = milliseconds(latency);
        byId('latency-engine').textContent = milliseconds(explain.filterMs + explain.searchMs);
        this.#plot(middle);
    }

    /** @param {number} middle */
    #plot(middle) {
        const most = Math.max(...this.#latencies) * 1.1;
        const y = (/** @type {number} */ ms) => PLOT.height - PLOT.pad - (ms / most) * (PLOT.height - 2 * PLOT.pad);
        const x = (/** @type {number} */ i) =>
            PLOT.width - PLOT.pad - (this.#latencies.length - 1 - i) * ((PLOT.width - 2 * PLOT.pad) / (KEPT - 1));
        const plot = byId('latency-plot');
        const line = makeSvg('line',
            { x1: 0, x2: PLOT.width, y1: y(middle), y2: y(middle), class: 'median' });
        const last = this.#latencies.length - 1;
        const dots = this.#latencies.map((ms, i) =>
            makeSvg('circle', { cx: x(i), cy: y(ms), r: i === last ? 3 : 1.7, class: i === last ? 'last' : 'dot' }));
        plot.replaceChildren(line, ...dots);
        plot.setAttribute('aria-label', `Latency of the last ${this.#latencies.length} queries: median `
            + `${milliseconds(middle)}, at most ${milliseconds(Math.max(...this.#latencies))}`);
    }

    /**
     * @param {import('velta').DatabaseStats} stats
     * @param {import('velta').LogStatus} log
     * @param {string} kind of storage
     */
    showStore(stats, log, kind) {
        const place = kind === 'opfs' ? 'OPFS' : kind === 'indexeddb' ? 'IndexedDB' : kind;
        this.#log([bytes(log.bytes), bytes(log.rawBytes),
            log.bytes > 0 && log.rawBytes > 0 ? `${(log.rawBytes / log.bytes).toFixed(2)} to 1` : null,
            bytes(log.dataBytes), number(log.sequence), number(stats.indexPending),
            log.lastCheckpoint ? moment(log.lastCheckpoint) : null, `${place}, ${stats.simd}`]);
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
