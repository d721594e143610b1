/*
 * One query: which way to answer it, the plain traversal, and putting graph, tail and true distances together.
 *
 * Ways, cheapest that is complete first:
 *  - few matching rows: every one by its vector; some hundreds, or no graph yet: every one by codes (exact.c);
 *  - no filter: the traversal below, and the tail scanned by codes;
 *  - a filter: filtered.c.
 * Then the nearest candidates by codes get their true distances and the k best of those are the answer.
 *
 * The traversal is the layer search of the paper with another end (distance-adaptive beam search, Al-Jazzazi et al.
 * 2025, arXiv:2505.15636): it goes on while candidates are within (1 + gamma) times the true distance of the k-th
 * found, instead of until a pool of ef is expanded. Hard queries get more, easy ones less: on real text a quarter
 * fewer visits at equal recall. ef sets gamma, the least number of expansions (ef / 2) and a bound on the pool (2 ef).
 * Candidates out of reach are not kept, so the pool stays short. As in beam.c two are expanded at once and every line
 * is touched before a distance is computed: the time is that of the memory.
 *
 * A node in the tail is taken from the scan and not from the traversal, so no row comes twice; removed nodes lead the
 * traversal but are not candidates. Where that leaves fewer than k although more match, a scan answers.
 */
#include <math.h>

#include "core/error.h"
#include "hnsw/search.h"

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

static enum velta_status keys_reserve(struct memory *memory, uint64_t **keys, size_t count, struct velta_error *error) {
    if (*keys) return VELTA_OK;
    *keys = memory_allocate(memory, count * sizeof **keys);
    return *keys ? VELTA_OK : memory_fail(memory, error);
}

enum velta_status hnsw_finder_reserve(struct hnsw *index, uint32_t k, uint32_t pool, struct velta_error *error) {
    struct memory *memory = index->memory;
    if (!index->finder) {
        index->finder = memory_allocate_zero(memory, sizeof *index->finder);
        if (!index->finder) return memory_fail(memory, error);
    }
    struct hnsw_finder *finder = index->finder;
    enum velta_status status = top_reserve(memory, &finder->nearest, k, error);
    if (!status) status = top_reserve(memory, &finder->results, k, error);
    if (!status) status = keys_reserve(memory, &finder->doubtful, HNSW_DOUBTFUL_KEYS, error);
    if (!status) status = keys_reserve(memory, &finder->heap, HNSW_HEAP_KEYS, error);
    if (!status) status = hnsw_scratch_reserve(index, index->scratch, pool, HNSW_GATHER_FILTERED, error);
    return status;
}

void hnsw_finder_destroy(struct hnsw *index) {
    struct hnsw_finder *finder = index->finder;
    if (!finder) return;
    struct memory *memory = index->memory;
    struct hnsw_top *tops[] = {&finder->nearest, &finder->results};
    for (size_t i = 0; i < 2; i++) {
        size_t keys = (size_t)tops[i]->capacity + HNSW_TOP_FRESH;
        memory_release(memory, tops[i]->keys, keys * sizeof(uint64_t));
    }
    memory_release(memory, finder->doubtful, HNSW_DOUBTFUL_KEYS * sizeof *finder->doubtful);
    memory_release(memory, finder->heap, HNSW_HEAP_KEYS * sizeof *finder->heap);
    memory_release(memory, finder, sizeof *finder);
    index->finder = NULL;
}

void hnsw_answer_codes(struct hnsw *index, struct hnsw_task *task) {
    hnsw_offers_start(index, task);
    hnsw_scan_codes(index, task, hnsw_walk_all(index, task->query));
    hnsw_settle(index, task);
}

void hnsw_answer_pool_and_tail(struct hnsw *index, struct hnsw_task *task) {
    const struct hnsw_scratch *scratch = index->scratch;
    hnsw_offers_start(index, task);
    for (uint32_t i = 0; i < scratch->pool_count; i++) {
        uint32_t node = hnsw_key_node(scratch->pool[i]);
        if (!(index->flags[node] & (HNSW_NODE_TAIL | HNSW_NODE_REMOVED)))
            hnsw_offer(index, task, scratch->pool[i] & ~HNSW_KEY_EXPANDED);
    }
    if (index->tail_count) hnsw_scan_codes(index, task, hnsw_walk_tail(index, task->query));
    hnsw_settle(index, task);
}

uint32_t hnsw_traverse_pool(uint32_t ef, uint32_t k) {
    return 2 * (ef > k ? ef : k);
}

/* Appends the neighbours of `node` not met yet to ids[n..] without a branch; writes one id past them. */
static inline uint32_t gather_links(const struct hnsw *index, uint32_t node, const struct hnsw_visited *visited,
                                    uint32_t *restrict ids, uint32_t n) {
    const uint8_t *block = hnsw_block(index, node);
    uint16_t *restrict epochs = visited->epochs;
    const uint16_t epoch = visited->epoch;
    uint32_t count = hnsw_link_count(index, block);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = hnsw_link_at(index, block, i);
        ids[n] = id;
        n += epochs[id] != epoch;
        epochs[id] = epoch;
    }
    return n;
}

/* Into ascending keys, which hold at most `capacity`; returns the position. Most keys belong near the end. */
static inline uint32_t insert_key(uint64_t *keys, uint32_t *count, uint32_t capacity, uint64_t key) {
    uint32_t at = *count < capacity ? (*count)++ : capacity - 1;
    for (; at > 0 && keys[at - 1] > key; at--)
        keys[at] = keys[at - 1];
    keys[at] = key;
    return at;
}

/* Keys from here on need not be kept: too far to be expanded, now or later, and not needed to fill the least. */
static inline uint64_t pool_limit(const uint64_t *keys, uint32_t count, uint32_t capacity, uint32_t least,
                                  float reach) {
    uint64_t limit = count == capacity ? keys[capacity - 1] : UINT64_MAX;
    if (count <= least) return limit;
    uint64_t far = hnsw_key(reach, UINT32_MAX >> 1);
    if (far < keys[least]) far = keys[least];
    return far < limit ? far : limit;
}

/* Distances of the gathered ids; those within the limit go into the pool. Returns the lowest position filled. */
static uint32_t visit_gathered(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t n, uint32_t capacity,
                               uint64_t limit) {
    const uint8_t **rows = scratch->rows;
    size_t head = index->params_offset + sizeof(struct hnsw_params);
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = hnsw_block(index, scratch->ids[i]);
        simd_touch(rows[i], head);
    }
    index->simd->dot_codes_rows(scratch->probe.codes, rows, n, index->code_bytes, scratch->dots);
    scratch->nodes_visited += n;
    uint32_t lowest = capacity;
    for (uint32_t i = 0; i < n; i++) {
        const struct hnsw_params *params = (const void *)(rows[i] + index->params_offset);
        float distance = hnsw_distance_of_dot(&scratch->probe, params, scratch->dots[i]);
        uint64_t key = hnsw_key(distance, scratch->ids[i]);
        if (key >= limit) continue;
        simd_touch(rows[i] + index->links_offset + 64, 1);
        uint32_t position = insert_key(scratch->pool, &scratch->pool_count, capacity, key);
        if (position < lowest) lowest = position;
        if (scratch->pool_count == capacity && scratch->pool[capacity - 1] < limit) {
            limit = scratch->pool[capacity - 1];
        }
    }
    return lowest;
}

static inline uint32_t next_unexpanded(const uint64_t *keys, uint32_t count, uint32_t at) {
    while (at < count && (keys[at] & HNSW_KEY_EXPANDED))
        at++;
    return at;
}

void hnsw_traverse(struct hnsw *index, const struct hnsw_task *task, uint32_t ef) {
    struct hnsw_scratch *scratch = index->scratch;
    struct hnsw_visited *visited = &scratch->visited;
    uint64_t *keys = scratch->pool;
    const uint32_t k = task->k, capacity = hnsw_traverse_pool(ef, k);
    const uint32_t least = ef / 2 > k ? ef / 2 : k;
    const float growth = hnsw_growth(hnsw_gamma(ef));
    scratch->nodes_visited = 0;
    keys[0] = hnsw_descend(index, scratch, 0);
    scratch->pool_count = 1;
    hnsw_visited_next(visited);
    visited->epochs[hnsw_key_node(keys[0])] = visited->epoch;
    uint32_t cursor = 0, expansions = 0;
    for (;;) {
        uint32_t count = scratch->pool_count;
        cursor = next_unexpanded(keys, count, cursor);
        if (cursor == count) return;
        float reach = INFINITY;
        if (count >= k) reach = hnsw_reach(hnsw_key_distance(keys[k - 1]), growth, task->offset);
        if (hnsw_key_distance(keys[cursor]) > reach && expansions >= ef / 2) return;
        uint32_t second = next_unexpanded(keys, count, cursor + 1);
        keys[cursor] |= HNSW_KEY_EXPANDED;
        uint32_t n = gather_links(index, hnsw_key_node(keys[cursor]), visited, scratch->ids, 0);
        if (second < count) {
            keys[second] |= HNSW_KEY_EXPANDED;
            n = gather_links(index, hnsw_key_node(keys[second]), visited, scratch->ids, n);
        }
        expansions += 2;
        uint64_t limit = pool_limit(keys, count, capacity, least, reach);
        uint32_t lowest = visit_gathered(index, scratch, n, capacity, limit);
        cursor = lowest < cursor ? lowest : cursor;
    }
}

static void answer_plain(struct hnsw *index, struct hnsw_task *task, uint32_t ef) {
    hnsw_traverse(index, task, ef);
    task->report.strategy = HNSW_GRAPH;
    task->report.nodes_visited = index->scratch->nodes_visited;
    hnsw_answer_pool_and_tail(index, task);
    uint32_t wanted = task->matching < task->k ? task->matching : task->k;
    if (index->finder->results.count >= wanted) return;
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
    uint32_t ef = query->ef ? query->ef : HNSW_PLAIN_EF;
    if (ef > index->node_count) ef = index->node_count;
    if (ef < query->k) ef = query->k;
    uint32_t pool = hnsw_traverse_pool(ef, query->k), filtered = hnsw_filtered_pool(query->k);
    enum velta_status status = hnsw_finder_reserve(index, query->k, pool > filtered ? pool : filtered, error);
    if (status) return status;
    hnsw_refresh(index);
    if (index->options.metric == VELTA_DOT && !(index->longest > 0.0F)) hnsw_measure_lengths(index);
    struct hnsw_task task = {.query = query, .k = query->k, .matching = (uint32_t)matching};
    task.norm = hnsw_query_norm(index, query->vector);
    task.offset = hnsw_distance_offset(index, query->vector);
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
