/*
 * Search under a filter: a traversal that widens as far as the data asks for, and a rule that bounds what it may cost.
 *
 * The matching rows are given as a bitmap with its count. Neither walking through rows that do not match (ACORN's
 * two-hop neighbours: Patel et al. 2024, arXiv:2403.04871) nor a fixed pool holds recall when the matching rows lie
 * far from the query, so here
 *  - the walk starts from the plain descent's end and from matching ones spread evenly through the nodes, because
 *    the part of the graph that matches may lie elsewhere, or fall apart;
 *  - only matching nodes are kept and queued; where less than nine tenths of a node's links match, the links of those
 *    that do not are looked through, up to TWO_HOP_IDS; the first STRANGERS nodes that do not match are expanded as
 *    well, without which real data stays below .97;
 *  - a node is expanded while its distance is at most (1 + gamma) times that of the k-th match found so far, as true
 *    (not squared) distances: easy queries end after some 70 expansions and far ones after 1,000. MIN_EXPANSIONS
 *    keeps near-duplicates, which make that distance 0, from ending it at once. gamma: see calibrate.c.
 *
 * Cost: a scan of the matching rows costs a known time. It is preferred where it is cheaper than what such queries
 * have cost the graph; after PROBE expansions a query whose links met match half as often as rows do is known to be
 * far from its matches and judged by what such ones have cost; and a traversal that has spent SPEND of the
 * scan's time, ran out of nodes or found too few gives way to the scan. So no query costs more than about 1.7 scans.
 * Both costs are measured as queries are answered, where the host gives a clock; answers can then differ between runs
 * as approximate answers may, but nothing stored does.
 */
#include <math.h>

#include "hnsw/search.h"

enum {
    SEEDS = 64,
    SEED_TRIES = 64,
    TWO_HOP_IDS = 32,
    STRANGERS = 48,
    FILTERED_EF = 160,
    MIN_EXPANSIONS = 48,
    PROBE = 12,
    DENSE = 35
};
#define SPEND 0.7F
#define EASY_VISITS 1500.0F
#define HARD_VISITS 8000.0F
#define SCAN_NS 10.0F  /* per row, where there is no clock */
#define VISIT_NS 25.0F /* per node visited */
#define HARD_VISITS_MAX 1e9F
#define HARD_FADES 0.995F
#define COST_FADES 0.998F /* what is not tried is tried again some day */
#define LEARNING 0.125F   /* weight of the newest measurement */

struct walk_state {
    struct hnsw *index;
    struct hnsw_task *task;
    const uint64_t *rows;
    uint64_t *heap;
    uint32_t heap_count;
    uint32_t expansions;
    uint32_t strangers; /* expanded */
    uint32_t links_met;
    uint32_t links_matching;
    uint32_t gathered; /* matching ones in scratch->ids, waiting for their distances */
    uint32_t strange_count;
    uint32_t strange[2 * 128 + 1]; /* of two nodes, at twice the largest m; one is written past the last */
    float growth;                  /* (1 + gamma)^2 - 1: distances are squared, or grow like squares */
    bool hard;
};

/* ---- the queue: a binary heap, nearest first; the farther half is dropped when it is full */

static void heap_sift_down(uint64_t *heap, uint32_t count, uint32_t at, uint64_t key) {
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count) break;
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= key) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

static uint64_t heap_pop(struct walk_state *walk) {
    uint64_t least = walk->heap[0];
    uint64_t last = walk->heap[--walk->heap_count];
    if (walk->heap_count > 0) heap_sift_down(walk->heap, walk->heap_count, 0, last);
    return least;
}

/* Takes all out in descending order behind the shrinking heap, then turns the nearer half round: sorted is a heap. */
static void heap_halve(struct walk_state *walk) {
    uint32_t all = walk->heap_count;
    while (walk->heap_count > 0) {
        uint64_t least = heap_pop(walk);
        walk->heap[walk->heap_count] = least;
    }
    for (uint32_t i = 0; i < all / 2; i++) {
        uint64_t key = walk->heap[i];
        walk->heap[i] = walk->heap[all - 1 - i];
        walk->heap[all - 1 - i] = key;
    }
    walk->heap_count = all / 2;
}

static void heap_push(struct walk_state *walk, uint64_t key) {
    if (walk->heap_count == HNSW_HEAP_KEYS) heap_halve(walk);
    uint64_t *heap = walk->heap;
    uint32_t at = walk->heap_count++;
    while (at > 0 && heap[(at - 1) / 2] > key) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = key;
}

/* ---- visiting */

/* The distance up to which candidates are worth expanding, given the k-th match. */
static float reach_of(const struct walk_state *walk) {
    const struct hnsw_scratch *scratch = walk->index->scratch;
    if (scratch->pool_count < walk->task->k) return INFINITY;
    return hnsw_reach(hnsw_key_distance(scratch->pool[walk->task->k - 1]), walk->growth, walk->task->offset);
}

/* Distances of scratch->ids[0..count), of which the first `matching` match: kept and queued; the others queued. */
static void visit(struct walk_state *walk, uint32_t matching, uint32_t count) {
    struct hnsw *index = walk->index;
    struct hnsw_scratch *scratch = index->scratch;
    size_t head = index->params_offset + sizeof(struct hnsw_params);
    for (uint32_t i = 0; i < count; i++)
        simd_touch(hnsw_block(index, scratch->ids[i]), head);
    hnsw_distances_codes(index, &scratch->probe, scratch->ids, count, scratch->rows, scratch->dots, scratch->distances);
    scratch->nodes_visited += count;
    for (uint32_t i = 0; i < matching; i++) {
        uint64_t key = hnsw_key(scratch->distances[i], scratch->ids[i]);
        hnsw_pool_insert(scratch->pool, &scratch->pool_count, hnsw_filtered_pool(walk->task->k), key);
    }
    float reach = reach_of(walk);
    for (uint32_t i = 0; i < count; i++) {
        if (scratch->distances[i] <= reach || walk->expansions < MIN_EXPANSIONS) {
            heap_push(walk, hnsw_key(scratch->distances[i], scratch->ids[i]));
            simd_touch(scratch->rows[i] + index->links_offset + 64, 1);
        }
    }
}

/* Matching, not yet met links of a node that does not match; returns the new count. */
static uint32_t gather_through(const struct walk_state *walk, uint32_t stranger, uint32_t count) {
    const struct hnsw *index = walk->index;
    struct hnsw_scratch *scratch = index->scratch;
    const uint8_t *block = hnsw_block(index, stranger);
    uint32_t links = hnsw_link_count(index, block);
    uint16_t *epochs = scratch->visited.epochs, epoch = scratch->visited.epoch;
    for (uint32_t i = 0; i < links && count < TWO_HOP_IDS; i++) {
        uint32_t id = hnsw_link_at(index, block, i);
        if (epochs[id] == epoch || !hnsw_matches(index, walk->rows, id)) continue;
        epochs[id] = epoch;
        scratch->ids[count++] = id;
    }
    return count;
}

/* So many links lead to matches that going through the others like a plain search costs least. */
static bool is_dense(const struct walk_state *walk) {
    return walk->links_matching * 100 >= walk->links_met * DENSE;
}

/*
 * Gathers what expanding `node` leads to: matching nodes to scratch->ids from walk->gathered on, others to
 * walk->strange, or what lies behind them.
 */
static void gather(struct walk_state *walk, uint32_t node, bool dense) {
    const struct hnsw *index = walk->index;
    struct hnsw_scratch *scratch = index->scratch;
    const uint8_t *block = hnsw_block(index, node);
    uint16_t *epochs = scratch->visited.epochs;
    const uint16_t epoch = scratch->visited.epoch;
    uint32_t links = hnsw_link_count(index, block), matching = walk->gathered, met_matching = 0;
    uint32_t first_strange = walk->strange_count, strange = first_strange;
    bool visit_strangers = dense || walk->strangers < STRANGERS;
    for (uint32_t i = 0; i < links; i++) {
        uint32_t id = hnsw_link_at(index, block, i);
        bool matches = hnsw_matches(index, walk->rows, id), met = epochs[id] == epoch;
        met_matching += matches;
        scratch->ids[matching] = id;
        walk->strange[strange] = id;
        matching += matches && !met;
        strange += !matches && !met;
        if (matches || visit_strangers) epochs[id] = epoch;
    }
    walk->links_met += links;
    walk->links_matching += met_matching;
    walk->expansions++;
    if (!dense) {
        for (uint32_t i = first_strange; i < strange; i++)
            simd_touch(hnsw_block(index, walk->strange[i]) + index->links_offset, 2 + 6 * (size_t)index->options.m);
        for (uint32_t i = first_strange; i < strange && matching < TWO_HOP_IDS; i++) {
            matching = gather_through(walk, walk->strange[i], matching);
            /* Looked through to the end, it need not be again. */
            if (!visit_strangers && matching < TWO_HOP_IDS) epochs[walk->strange[i]] = epoch;
        }
    }
    walk->gathered = matching;
    walk->strange_count = visit_strangers ? strange : first_strange;
}

/* The distances of all that was gathered. */
static void visit_gathered(struct walk_state *walk) {
    struct hnsw_scratch *scratch = walk->index->scratch;
    memcpy(scratch->ids + walk->gathered, walk->strange, walk->strange_count * sizeof *walk->strange);
    visit(walk, walk->gathered, walk->gathered + walk->strange_count);
    walk->gathered = walk->strange_count = 0;
}

/* Matching nodes spread evenly through the nodes, and where a plain search would begin. */
static void seed(struct walk_state *walk) {
    struct hnsw *index = walk->index;
    struct hnsw_scratch *scratch = index->scratch;
    uint32_t start = hnsw_key_node(hnsw_descend(index, scratch, 0));
    hnsw_visited_next(&scratch->visited);
    uint16_t *epochs = scratch->visited.epochs, epoch = scratch->visited.epoch;
    scratch->pool_count = 0;
    uint32_t count = 0, seeds = walk->task->matching > index->node_count / 4 ? SEEDS / 4 : SEEDS;
    for (uint32_t i = 0; i < seeds; i++) {
        uint32_t node = (uint32_t)((uint64_t)index->node_count * i / seeds);
        uint32_t end = (uint32_t)((uint64_t)index->node_count * (i + 1) / seeds);
        if (end > node + SEED_TRIES) end = node + SEED_TRIES;
        while (node < end && !hnsw_matches(index, walk->rows, node))
            node++;
        if (node == end || node == start || !(index->flags[node] & HNSW_NODE_LINKED)) continue;
        epochs[node] = epoch;
        scratch->ids[count++] = node;
    }
    bool matches = hnsw_matches(index, walk->rows, start);
    epochs[start] = epoch;
    scratch->ids[count++] = start;
    visit(walk, matches ? count : count - 1, count);
}

/* ---- the rule */

static float or_default(float learnt, float otherwise) {
    return learnt > 0.0F ? learnt : otherwise;
}

static float scan_ns(const struct hnsw *index, const struct hnsw_task *task) {
    return (float)task->matching * or_default(index->cost_scan_ns, SCAN_NS);
}

static void learn(float *value, float otherwise, float measured) {
    *value = or_default(*value, otherwise) * (1.0F - LEARNING) + measured * LEARNING;
}

static uint64_t now_ns(const struct hnsw *index) {
    return index->options.clock_ns ? index->options.clock_ns(index->options.clock_context) : 0;
}

/* Few of the links lead to matches although many rows match: the query is far from its answers. */
static bool is_hard(const struct walk_state *walk) {
    const struct hnsw *index = walk->index;
    float share = (float)walk->links_matching / (float)(walk->links_met ? walk->links_met : 1);
    float global = (float)walk->task->matching / (float)index->node_count;
    return share < 0.5F * global;
}

/* The next candidate worth expanding, or HNSW_NO_NODE. */
static uint32_t take_candidate(struct walk_state *walk, bool dense, float reach) {
    while (walk->heap_count > 0) {
        if (hnsw_key_distance(walk->heap[0]) > reach && walk->expansions >= MIN_EXPANSIONS) return HNSW_NO_NODE;
        uint32_t node = hnsw_key_node(heap_pop(walk));
        if (dense || hnsw_matches(walk->index, walk->rows, node) || walk->strangers++ < STRANGERS) return node;
    }
    return HNSW_NO_NODE;
}

/* Expands until the reach is exhausted; false: the scan is to answer. */
static bool traverse(struct walk_state *walk) {
    struct hnsw *index = walk->index;
    struct hnsw_scratch *scratch = index->scratch;
    float scan = scan_ns(index, walk->task), visit_cost = or_default(index->cost_visit_ns, VISIT_NS);
    uint32_t visits_allowed = (uint32_t)fminf(SPEND * scan / visit_cost, 4e9F);
    bool probed = false;
    for (;;) {
        bool dense = is_dense(walk);
        float reach = reach_of(walk);
        uint32_t node = take_candidate(walk, dense, reach);
        if (node == HNSW_NO_NODE) return scratch->pool_count >= walk->task->k;
        gather(walk, node, dense);
        if (dense && (node = take_candidate(walk, dense, reach)) != HNSW_NO_NODE) gather(walk, node, dense);
        visit_gathered(walk);
        if (!probed && walk->expansions >= PROBE) {
            probed = true;
            walk->hard = is_hard(walk);
            if (walk->hard && scan < or_default(index->hard_visits, HARD_VISITS) * visit_cost) return false;
        }
        if (scratch->nodes_visited > visits_allowed) return false;
    }
}

/* What hard queries cost the graph. Giving up shows only that it is more; not trying, nothing: it fades slowly. */
static void learn_hard(struct hnsw *index, float visits, bool complete, bool given_up) {
    float known = or_default(index->hard_visits, HARD_VISITS);
    if (complete) {
        learn(&index->hard_visits, HARD_VISITS, visits);
    } else if (given_up) {
        index->hard_visits = fminf(2.0F * fmaxf(known, visits), HARD_VISITS_MAX);
    } else {
        index->hard_visits = known * HARD_FADES;
    }
}

/* Leaves the results of a complete traversal; false when the scan is to answer. */
static bool answer_by_graph(struct hnsw *index, struct hnsw_task *task) {
    struct walk_state walk = {.index = index, .task = task, .rows = task->query->rows};
    walk.heap = index->finder->heap;
    walk.growth = hnsw_growth(hnsw_gamma(FILTERED_EF));
    index->scratch->nodes_visited = 0;
    uint64_t start = now_ns(index);
    seed(&walk);
    bool complete = traverse(&walk);
    float visits = (float)index->scratch->nodes_visited;
    /* Given up, the descent and the seeds weigh too much. */
    if (start && complete) learn(&index->cost_visit_ns, VISIT_NS, (float)(now_ns(index) - start) / visits);
    if (walk.hard) learn_hard(index, visits, complete, walk.expansions > 2 * PROBE);
    task->report.nodes_visited = index->scratch->nodes_visited;
    task->report.strategy = HNSW_GRAPH_FILTERED;
    if (!complete) return false;
    hnsw_answer_pool_and_tail(index, task);
    return index->finder->results.count >= (task->matching < task->k ? task->matching : task->k);
}

void hnsw_answer_filtered(struct hnsw *index, struct hnsw_task *task) {
    bool try_graph = scan_ns(index, task) > EASY_VISITS * or_default(index->cost_visit_ns, VISIT_NS);
    if (try_graph && answer_by_graph(index, task)) return;
    uint64_t start = now_ns(index);
    if (start && !try_graph) index->cost_visit_ns = or_default(index->cost_visit_ns, VISIT_NS) * COST_FADES;
    hnsw_answer_codes(index, task);
    task->report.strategy = try_graph ? HNSW_GRAPH_THEN_EXACT : HNSW_EXACT_CODES;
    if (start) learn(&index->cost_scan_ns, SCAN_NS, (float)(now_ns(index) - start) / (float)task->matching);
}
