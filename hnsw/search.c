/*
 * One query: which way to answer it, the plain traversal, and putting graph, tail and true distances together.
 *
 * Ways, cheapest that is complete first:
 *  - few matching rows: every one by its vector; some hundreds, or no graph yet: every one by codes (exact.c);
 *  - no filter: the layer search of beam.c with a pool of ef, and the tail scanned by codes;
 *  - a filter: filtered.c.
 * Then the nearest `depth` candidates by codes get their true distances and the k best of those are the answer. The
 * depth is of its own, not ef: codes order neighbours well enough that more than some dozens change nothing.
 *
 * A node in the tail is taken from the scan and not from the traversal, so no row comes twice; removed nodes lead the
 * traversal but are not candidates. Where that leaves fewer than k although more match, a scan answers.
 */
#include "hnsw/search.h"
#include "core/error.h"

enum { MAX_K = 16384 };

static enum velta_status top_reserve(struct memory *memory, struct hnsw_top *top, uint32_t keep,
                                     struct velta_error *error) {
    if (keep <= top->capacity) return VELTA_OK;
    uint64_t *keys = memory_allocate(memory, ((size_t)keep + HNSW_TOP_FRESH) * sizeof *keys);
    if (!keys) return memory_fail(memory, error);
    if (top->keys) memory_release(memory, top->keys, ((size_t)top->capacity + HNSW_TOP_FRESH) * sizeof *keys);
    top->keys = keys;
    top->capacity = keep;
    return VELTA_OK;
}

enum velta_status hnsw_finder_reserve(struct hnsw *index, uint32_t k, uint32_t depth, uint32_t ef,
                                      struct velta_error *error) {
    struct memory *memory = index->memory;
    if (!index->finder) {
        index->finder = memory_allocate_zero(memory, sizeof *index->finder);
        if (!index->finder) return memory_fail(memory, error);
    }
    struct hnsw_finder *finder = index->finder;
    enum velta_status status = top_reserve(memory, &finder->candidates, depth, error);
    if (!status) status = top_reserve(memory, &finder->results, k, error);
    if (!status && !finder->heap) {
        finder->heap = memory_allocate(memory, HNSW_HEAP_KEYS * sizeof *finder->heap);
        if (!finder->heap) status = memory_fail(memory, error);
    }
    if (!status) status = hnsw_scratch_reserve(index, index->scratch, ef, HNSW_GATHER_FILTERED, error);
    return status;
}

void hnsw_finder_destroy(struct hnsw *index) {
    struct hnsw_finder *finder = index->finder;
    if (!finder) return;
    struct memory *memory = index->memory;
    struct hnsw_top *tops[] = {&finder->candidates, &finder->results};
    for (size_t i = 0; i < 2; i++) {
        size_t keys = (size_t)tops[i]->capacity + HNSW_TOP_FRESH;
        if (tops[i]->keys) memory_release(memory, tops[i]->keys, keys * sizeof(uint64_t));
    }
    memory_release(memory, finder->heap, HNSW_HEAP_KEYS * sizeof *finder->heap);
    memory_release(memory, finder, sizeof *finder);
    index->finder = NULL;
}

void hnsw_answer_codes(struct hnsw *index, struct hnsw_task *task) {
    struct hnsw_finder *finder = index->finder;
    hnsw_top_start(&finder->candidates, task->depth);
    hnsw_top_start(&finder->results, task->k);
    hnsw_scan_codes(index, task, hnsw_walk_all(index, task->query));
    hnsw_rerank(index, task, finder->candidates.keys, finder->candidates.count);
}

/* The pool's nodes that may be returned, joined with the tail's; true distances for the nearest. */
void hnsw_answer_pool_and_tail(struct hnsw *index, struct hnsw_task *task) {
    struct hnsw_finder *finder = index->finder;
    const struct hnsw_scratch *scratch = index->scratch;
    hnsw_top_start(&finder->candidates, task->depth);
    for (uint32_t i = 0; i < scratch->pool_count; i++) {
        uint32_t node = hnsw_key_node(scratch->pool[i]);
        if (!(index->flags[node] & (HNSW_NODE_TAIL | HNSW_NODE_REMOVED)))
            hnsw_top_push(&finder->candidates, scratch->pool[i] & ~HNSW_KEY_EXPANDED);
    }
    hnsw_scan_codes(index, task, hnsw_walk_tail(index, task->query));
    hnsw_rerank(index, task, finder->candidates.keys, finder->candidates.count);
}

void hnsw_traverse(struct hnsw *index, uint32_t ef) {
    struct hnsw_scratch *scratch = index->scratch;
    scratch->nodes_visited = 0;
    uint64_t start = hnsw_descend(index, scratch, 0);
    hnsw_visited_next(&scratch->visited);
    scratch->pool[0] = start;
    scratch->pool_count = 1;
    hnsw_beam(index, scratch, ef);
}

static void answer_plain(struct hnsw *index, struct hnsw_task *task, uint32_t ef) {
    struct hnsw_finder *finder = index->finder;
    const struct hnsw_scratch *scratch = index->scratch;
    hnsw_traverse(index, ef);
    task->report.strategy = HNSW_GRAPH;
    task->report.nodes_visited = scratch->nodes_visited;
    hnsw_top_start(&finder->results, task->k);
    if (index->tail_count || index->removed_count) {
        hnsw_answer_pool_and_tail(index, task);
    } else {
        uint32_t count = scratch->pool_count < task->depth ? scratch->pool_count : task->depth;
        hnsw_rerank(index, task, scratch->pool, count);
    }
    uint32_t wanted = task->matching < task->k ? task->matching : task->k;
    if (finder->results.count >= wanted) return;
    hnsw_answer_codes(index, task);
    task->report.strategy = HNSW_GRAPH_THEN_EXACT;
}

static void answer(struct hnsw *index, struct hnsw_task *task, uint32_t ef) {
    const struct hnsw_query *query = task->query;
    if (query->exact || task->matching <= HNSW_SCAN_VECTORS) {
        hnsw_top_start(&index->finder->results, task->k);
        hnsw_scan_vectors(index, task, hnsw_walk_all(index, query));
        task->report.strategy = HNSW_EXACT_VECTORS;
        return;
    }
    hnsw_probe_vector(index, query->vector, &index->scratch->probe);
    if (index->entry == HNSW_NO_NODE || task->matching <= HNSW_SCAN_CODES || task->matching <= task->k) {
        hnsw_answer_codes(index, task);
        task->report.strategy = HNSW_EXACT_CODES;
    } else if (!query->rows) {
        answer_plain(index, task, ef);
    } else {
        hnsw_answer_filtered(index, task);
    }
}

enum velta_status hnsw_search(struct hnsw *index, const struct hnsw_query *query, uint32_t *rows_out,
                              float *distances_out, uint32_t *count, struct hnsw_report *report,
                              struct velta_error *error) {
    if (query->k < 1 || query->k > MAX_K) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "k is %u; 1 to %d are possible", query->k, MAX_K);
    }
    uint32_t held = index->node_count - index->free_count - index->removed_count;
    uint64_t matching = query->rows && query->rows_count < held ? query->rows_count : held;
    uint32_t depth = index->rerank_depth && !query->rows ? index->rerank_depth : HNSW_RERANK_MIN;
    if (depth < query->k + query->k / 2) depth = query->k + query->k / 2;
    uint32_t ef = query->ef ? query->ef : index->default_ef ? index->default_ef : HNSW_PLAIN_EF;
    if (ef > index->node_count) ef = index->node_count;
    if (ef < query->k) ef = query->k;
    enum velta_status status = hnsw_finder_reserve(index, query->k, depth, ef > depth ? ef : depth, error);
    if (status) return status;
    struct hnsw_task task = {.query = query, .k = query->k, .matching = (uint32_t)matching, .depth = depth};
    task.norm = hnsw_query_norm(index, query->vector);
    *count = 0;
    if (matching > 0) {
        answer(index, &task, ef);
        const struct hnsw_top *results = &index->finder->results;
        for (uint32_t i = 0; i < results->count; i++) {
            rows_out[i] = (uint32_t)results->keys[i];
            distances_out[i] = hnsw_key_distance(results->keys[i]);
        }
        *count = results->count;
    }
    if (report) *report = task.report;
    return VELTA_OK;
}
