/**
 * Results of searches: hits, scores, and how the search was done.
 */
import type { Address } from './abi.js';
import {
    EXPLAIN_FILTER_NS,
    EXPLAIN_MATCHING_ROWS,
    EXPLAIN_NODES_VISITED,
    EXPLAIN_ROWS_RERANKED,
    EXPLAIN_ROWS_SCANNED,
    EXPLAIN_SEARCH_NS,
    EXPLAIN_SELECTIVITY,
    EXPLAIN_STRATEGY,
} from './generated/layout.js';
import type { Instance } from './instance.js';
import type { ColumnName, KeyOf, Metric, RowOf, Schema } from './schema.js';
import { readInt } from './values.js';

/** One row found. */
export interface Hit<S extends Schema = Schema, C extends ColumnName<S> = never> {
    readonly row: number;
    /** The row's key, or its number where the table has none. */
    readonly key: KeyOf<S>;
    /** Smaller is nearer: cosine 1 - cos; l2 the squared Euclidean distance; dot minus the dot product. */
    readonly distance: number;
    /** Larger is better: cosine the cosine similarity; l2 1 / (1 + distance); dot the dot product. */
    readonly score: number;
    /** The columns that `select` asked for. */
    readonly values: Pick<RowOf<S>, C>;
}

/** How one query was answered. */
export interface Explain {
    /** In words: how candidates were found. */
    readonly strategy: string;
    /** Matching rows / live rows. */
    readonly selectivity: number;
    readonly matchingRows: number;
    readonly nodesVisited: number;
    readonly rowsScanned: number;
    readonly rowsReranked: number;
    /** The filter's time, in milliseconds: the whole call's. */
    readonly filterMs: number;
    readonly searchMs: number;
}

/** The rows found by one query, nearest first. */
export interface SearchResult<S extends Schema = Schema, C extends ColumnName<S> = never> extends Array<Hit<S, C>> {
    explain: Explain;
}

/** The score of a distance. @internal */
export function scoreOf(metric: Metric, distance: number): number {
    if (metric === 'cosine') return 1 - distance;
    return metric === 'dot' ? -distance : 1 / (1 + distance);
}

const strategies = new Map<number, string>();

/** Reads how one query of a result was answered. @internal */
export function readExplain(instance: Instance, result: Address, query: number): Explain {
    const at = instance.exports.abi_result_explain(result, query) >>> 0;
    const { u32, f64 } = instance;
    const word = (offset: number): number => u32[(at + offset) >>> 2] as number;
    const number = word(EXPLAIN_STRATEGY);
    let strategy = strategies.get(number);
    if (strategy === undefined) {
        strategy = instance.cText(instance.exports.abi_strategy_name(number));
        strategies.set(number, strategy);
    }
    return {
        strategy,
        selectivity: f64[(at + EXPLAIN_SELECTIVITY) >>> 3] as number,
        matchingRows: Number(readInt(instance, at + EXPLAIN_MATCHING_ROWS)),
        nodesVisited: word(EXPLAIN_NODES_VISITED),
        rowsScanned: word(EXPLAIN_ROWS_SCANNED),
        rowsReranked: word(EXPLAIN_ROWS_RERANKED),
        filterMs: Number(readInt(instance, at + EXPLAIN_FILTER_NS)) / 1e6,
        searchMs: Number(readInt(instance, at + EXPLAIN_SEARCH_NS)) / 1e6,
    };
}
