/*
 * True distances, and scans that miss nothing: the oracle that every approximation is measured against.
 *
 * A scan by vectors computes each candidate's distance from the column's own values (decoded codes where only codes are
 * kept). A scan by codes computes integer dots in the index's blocks, a quarter of the bytes, and true distances for
 * those of the best that the codes leave in doubt. Both read candidates in
 * batches and ask for the lines of the next batch before they compute the current one.
 *
 * The order of results is (distance, row): equal vectors come in row order whatever the traversal met first.
 */
#include <math.h>

#include "hnsw/search.h"

#define ERROR_DEVIATIONS 3.0F

/* ---- distances */

float hnsw_query_norm(const struct hnsw *index, const float *vector) {
    if (index->options.metric != VELTA_COSINE) return 0.0F;
    return sqrtf(index->simd->dot_f32(vector, vector, index->options.dimensions));
}

static inline float cosine_distance(float dot, float norm_a, float norm_b) {
    float product = norm_a * norm_b;
    return product > 0.0F ? 1.0F - dot / product : 1.0F;
}

float hnsw_distance(const struct simd_kernels *simd, enum velta_metric metric, const float *a, const float *b,
                    uint32_t dimensions) {
    if (metric == VELTA_L2) return simd->l2_f32(a, b, dimensions);
    float dot = simd->dot_f32(a, b, dimensions);
    if (metric == VELTA_DOT) return -dot;
    float norm_a = sqrtf(simd->dot_f32(a, a, dimensions));
    float norm_b = sqrtf(simd->dot_f32(b, b, dimensions));
    return cosine_distance(dot, norm_a, norm_b);
}

static void kernel_rows(const struct hnsw *index, const float *query, const void *const *rows, uint32_t count,
                        enum velta_element element, float *out) {
    const struct simd_kernels *simd = index->simd;
    size_t n = index->options.dimensions;
    bool l2 = index->options.metric == VELTA_L2;
    if (element == VELTA_F16) {
        (l2 ? simd->l2_f16_rows : simd->dot_f16_rows)(query, (const uint16_t *const *)rows, count, n, out);
    } else {
        (l2 ? simd->l2_f32_rows : simd->dot_f32_rows)(query, (const float *const *)rows, count, n, out);
    }
}

static float decoded_distance(const struct hnsw *index, const struct hnsw_task *task, uint32_t node) {
    const struct simd_kernels *simd = index->simd;
    const float *query = task->query->vector;
    float *vector = index->scratch->vector;
    size_t n = index->options.dimensions;
    hnsw_decode_block(index, hnsw_block(index, node), vector);
    if (index->options.metric == VELTA_L2) return simd->l2_f32(query, vector, n);
    float dot = simd->dot_f32(query, vector, n);
    if (index->options.metric == VELTA_DOT) return -dot;
    return cosine_distance(dot, task->norm, sqrtf(simd->dot_f32(vector, vector, n)));
}

void hnsw_true_distances(const struct hnsw *index, const struct hnsw_task *task, const uint32_t *nodes, uint32_t count,
                         float *out) {
    const float *query = task->query->vector;
    if (index->codes_only) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = decoded_distance(index, task, nodes[i]);
        return;
    }
    struct vector_view view = column_vectors(index->vectors);
    const void *rows[HNSW_SCAN_BATCH];
    for (uint32_t first = 0; first < count; first += HNSW_SCAN_BATCH) {
        uint32_t n = count - first < HNSW_SCAN_BATCH ? count - first : HNSW_SCAN_BATCH;
        for (uint32_t i = 0; i < n; i++)
            rows[i] = vector_view_row(&view, index->row_of_node[nodes[first + i]]);
        kernel_rows(index, query, rows, n, view.element, out + first);
    }
    if (index->options.metric == VELTA_DOT) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = -out[i];
    } else if (index->options.metric == VELTA_COSINE) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = cosine_distance(out[i], task->norm, hnsw_params_of(index, hnsw_block(index, nodes[i]))->norm);
    }
}

void hnsw_distances(struct hnsw *index, const float *query, const uint32_t *rows, size_t count, float *out) {
    hnsw_refresh(index);
    struct hnsw_query asked = {.vector = query};
    struct hnsw_task task = {.query = &asked, .norm = hnsw_query_norm(index, query)};
    uint32_t nodes[HNSW_SCAN_BATCH];
    for (size_t first = 0; first < count; first += HNSW_SCAN_BATCH) {
        size_t n = count - first < HNSW_SCAN_BATCH ? count - first : HNSW_SCAN_BATCH;
        for (size_t i = 0; i < n; i++)
            nodes[i] = index->node_of_row[rows[first + i]];
        hnsw_true_distances(index, &task, nodes, (uint32_t)n, out + first);
    }
}

/* ---- the k best */

void hnsw_top_start(struct hnsw_top *top, uint32_t keep) {
    top->keep = keep;
    top->count = top->fresh_count = 0;
    top->fresh_limit = keep < 16 ? 16 : keep < HNSW_TOP_FRESH ? keep : HNSW_TOP_FRESH;
    top->limit = UINT64_MAX;
}

void hnsw_top_merge(struct hnsw_top *top) {
    uint64_t *keys = top->keys, *fresh = keys + top->keep;
    uint32_t fresh_count = top->fresh_count, count = top->count;
    for (uint32_t i = 1; i < fresh_count; i++) {
        uint64_t key = fresh[i];
        uint32_t at = i;
        for (; at > 0 && fresh[at - 1] > key; at--)
            fresh[at] = fresh[at - 1];
        fresh[at] = key;
    }
    /* How many of each are among the `keep` smallest, then merged from the back into the kept ones' place. */
    uint32_t from_kept = 0, from_fresh = 0;
    uint32_t total = count + fresh_count < top->keep ? count + fresh_count : top->keep;
    if (total == count + fresh_count) {
        from_kept = count;
        from_fresh = fresh_count;
    } else {
        from_kept = count;
        for (from_fresh = total - count; from_fresh < fresh_count && from_kept > 0; from_fresh++, from_kept--)
            if (fresh[from_fresh] > keys[from_kept - 1]) break;
    }
    for (uint32_t at = total; from_fresh > 0;) {
        bool take_fresh = from_kept == 0 || fresh[from_fresh - 1] > keys[from_kept - 1];
        keys[--at] = take_fresh ? fresh[--from_fresh] : keys[--from_kept];
    }
    top->count = total;
    top->fresh_count = 0;
    if (total == top->keep) top->limit = keys[total - 1];
}

/* ---- candidates */

struct hnsw_walk hnsw_walk_all(const struct hnsw *index, const struct hnsw_query *query) {
    /* Many rows are scanned in the order of nodes, which is that of memory; few are found sooner by their bits. */
    bool by_row = query->rows && query->rows_count < index->node_count / HNSW_WALK_SHARE;
    return (struct hnsw_walk){.index = index, .rows = query->rows, .by_row = by_row, .left = query->rows_count};
}

struct hnsw_walk hnsw_walk_tail(const struct hnsw *index, const struct hnsw_query *query) {
    return (struct hnsw_walk){.index = index, .rows = query->rows, .tail = true};
}

static uint32_t walk_tail(struct hnsw_walk *walk, uint32_t *nodes, uint32_t max) {
    const struct hnsw *index = walk->index;
    uint32_t words = (index->node_count + 63) / 64, count = 0;
    while (count < max) {
        while (walk->word == 0) {
            if (walk->at == words) return count;
            walk->word = index->tail_bits[walk->at++];
        }
        uint32_t node = (walk->at - 1) * 64 + (uint32_t)__builtin_ctzll(walk->word);
        walk->word &= walk->word - 1;
        nodes[count] = node;
        count += hnsw_matches(index, walk->rows, node);
    }
    return count;
}

/* Ends with the last of the bits counted, because the bitmap may be shorter than the map of rows. */
static uint32_t walk_bitmap(struct hnsw_walk *walk, uint32_t *nodes, uint32_t max) {
    const struct hnsw *index = walk->index;
    uint32_t words = (uint32_t)(((uint64_t)index->row_capacity + 63) / 64), count = 0;
    while (count < max && walk->left > 0) {
        while (walk->word == 0) {
            if (walk->at == words) return count;
            walk->word = walk->rows[walk->at++];
        }
        uint64_t row = (uint64_t)(walk->at - 1) * 64 + (uint64_t)__builtin_ctzll(walk->word);
        walk->word &= walk->word - 1;
        walk->left--;
        if (row >= index->row_capacity) return count;
        uint32_t node = index->node_of_row[row];
        nodes[count] = node;
        count += node != HNSW_NO_NODE;
    }
    return count;
}

uint32_t hnsw_walk_next(struct hnsw_walk *walk, uint32_t *nodes, uint32_t max) {
    if (walk->tail) return walk_tail(walk, nodes, max);
    if (walk->by_row) return walk_bitmap(walk, nodes, max);
    const struct hnsw *index = walk->index;
    uint32_t count = 0;
    while (count < max && walk->at < index->node_count) {
        nodes[count] = walk->at;
        count += hnsw_matches(index, walk->rows, walk->at++);
    }
    return count;
}

/* ---- scans */

static void touch_vectors(const struct hnsw *index, const struct vector_view *view, const uint32_t *nodes,
                          uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        simd_touch(vector_view_row(view, index->row_of_node[nodes[i]]), view->row_stride);
}

static void touch_codes(const struct hnsw *index, const uint32_t *nodes, uint32_t count) {
    size_t head = index->params_offset + sizeof(struct hnsw_params);
    for (uint32_t i = 0; i < count; i++)
        simd_touch(hnsw_block(index, nodes[i]), head);
}

void hnsw_scan_vectors(const struct hnsw *index, struct hnsw_task *task, struct hnsw_walk walk) {
    struct hnsw_top *results = &index->finder->results;
    uint32_t nodes[2][HNSW_SCAN_BATCH];
    float distances[HNSW_SCAN_BATCH];
    struct vector_view view = {0};
    if (!index->codes_only) view = column_vectors(index->vectors);
    uint32_t batch = hnsw_walk_next(&walk, nodes[0], HNSW_SCAN_BATCH);
    for (unsigned turn = 0; batch > 0; turn ^= 1) {
        uint32_t next = hnsw_walk_next(&walk, nodes[turn ^ 1], HNSW_SCAN_BATCH);
        if (!index->codes_only) touch_vectors(index, &view, nodes[turn ^ 1], next);
        hnsw_true_distances(index, task, nodes[turn], batch, distances);
        for (uint32_t i = 0; i < batch; i++)
            hnsw_top_push(results, hnsw_row_key(distances[i], index->row_of_node[nodes[turn][i]]));
        task->report.rows_scanned += batch;
        batch = next;
    }
    hnsw_top_merge(results);
}

/* ---- candidates by codes */

/*
 * A distance by codes is off by the rounding of the row and of the query, each uniform within a step: its deviation
 * squared is (step^2 |query|^2 + query_step^2 |row|^2) / 12, which measured errors meet to a percent. l2 keeps the
 * decoded vector's own norm, so there the row's rounding weighs with the distance and not with the query's length.
 */
static void set_errors(const struct hnsw *index, struct hnsw_task *task) {
    const float factor = ERROR_DEVIATIONS * ERROR_DEVIATIONS / 12.0F;
    float weight = index->scratch->probe.dot_weight;
    task->row_error = task->query_error = factor;
    if (index->options.metric == VELTA_L2) {
        task->row_error *= 4.0F;
    } else if (index->options.metric == VELTA_DOT) {
        const float *query = task->query->vector;
        task->row_error *= index->simd->dot_f32(query, query, index->options.dimensions);
        task->query_error *= index->longest * index->longest;
    }
    task->query_error *= weight * weight;
}

static inline float squared_error(const struct hnsw *index, const struct hnsw_task *task,
                                  const struct hnsw_params *params, float distance) {
    float row = task->row_error * params->step * params->step, query = task->query_error;
    if (index->options.metric == VELTA_L2) {
        row *= distance > 0.0F ? distance : 0.0F;
        query *= params->norm;
    }
    return row + query;
}

/* May the node be among the k best? NaN may. */
static inline bool in_doubt(const struct hnsw *index, const struct hnsw_task *task, const struct hnsw_params *params,
                            float distance) {
    float beyond = distance - task->bound;
    return !(beyond > 0.0F && beyond * beyond > squared_error(index, task, params, distance));
}

static const struct hnsw_params *params_of_key(const struct hnsw *index, uint64_t key) {
    return hnsw_params_of(index, hnsw_block(index, hnsw_key_node(key)));
}

/* The k-th best so far, true or by codes and what they can be wrong by, bounds the k-th of all. */
static void tighten(const struct hnsw *index, struct hnsw_task *task) {
    const struct hnsw_top *nearest = &index->finder->nearest, *results = &index->finder->results;
    if (nearest->count == task->k) {
        uint64_t last = nearest->keys[task->k - 1];
        float kth = hnsw_key_distance(last);
        kth += sqrtf(squared_error(index, task, params_of_key(index, last), kth));
        if (kth < task->bound) task->bound = kth;
    }
    if (results->count == task->k) {
        float kth = hnsw_key_distance(results->keys[task->k - 1]);
        if (kth < task->bound) task->bound = kth;
    }
}

/* Nodes by their vectors into the results. */
static void judge(const struct hnsw *index, struct hnsw_task *task, const uint32_t *nodes, uint32_t count) {
    struct hnsw_top *results = &index->finder->results;
    float distances[HNSW_SCAN_BATCH];
    hnsw_true_distances(index, task, nodes, count, distances);
    for (uint32_t i = 0; i < count; i++)
        hnsw_top_push(results, hnsw_row_key(distances[i], index->row_of_node[nodes[i]]));
    hnsw_top_merge(results);
    task->report.rows_reranked += count;
    tighten(index, task);
}

void hnsw_offers_start(struct hnsw *index, struct hnsw_task *task) {
    struct hnsw_finder *finder = index->finder;
    hnsw_top_start(&finder->nearest, task->k);
    hnsw_top_start(&finder->results, task->k);
    finder->doubtful_count = 0;
    task->bound = INFINITY;
    set_errors(index, task);
}

/* Those within `limit`, or the others; every one still in doubt is judged, and none is left in the list. */
static void settle_some(const struct hnsw *index, struct hnsw_task *task, uint64_t limit, bool within) {
    const struct hnsw_finder *finder = index->finder;
    uint32_t nodes[HNSW_SCAN_BATCH], n = 0;
    for (uint32_t i = 0; i < finder->doubtful_count; i++) {
        uint64_t key = finder->doubtful[i];
        if ((key <= limit) != within) continue;
        if (!in_doubt(index, task, params_of_key(index, key), hnsw_key_distance(key))) continue;
        nodes[n++] = hnsw_key_node(key);
        if (n < HNSW_SCAN_BATCH) continue;
        judge(index, task, nodes, n);
        n = 0;
    }
    if (n > 0) judge(index, task, nodes, n);
}

void hnsw_settle(const struct hnsw *index, struct hnsw_task *task) {
    struct hnsw_finder *finder = index->finder;
    hnsw_top_merge(&finder->nearest);
    tighten(index, task);
    uint64_t limit = finder->nearest.count ? finder->nearest.keys[finder->nearest.count - 1] : 0;
    settle_some(index, task, limit, true);
    settle_some(index, task, limit, false);
    finder->doubtful_count = 0;
}

static inline void offer(const struct hnsw *index, struct hnsw_task *task, uint64_t key,
                         const struct hnsw_params *params, float distance) {
    struct hnsw_finder *finder = index->finder;
    if (!in_doubt(index, task, params, distance)) return;
    uint64_t limit = finder->nearest.limit;
    hnsw_top_push(&finder->nearest, key);
    if (finder->nearest.limit != limit) tighten(index, task);
    finder->doubtful[finder->doubtful_count++] = key;
    if (finder->doubtful_count == HNSW_DOUBTFUL_KEYS) hnsw_settle(index, task);
}

void hnsw_offer(const struct hnsw *index, struct hnsw_task *task, uint64_t key) {
    offer(index, task, key, params_of_key(index, key), hnsw_key_distance(key));
}

void hnsw_scan_codes(const struct hnsw *index, struct hnsw_task *task, struct hnsw_walk walk) {
    const struct hnsw_probe *probe = &index->scratch->probe;
    uint32_t nodes[2][HNSW_SCAN_BATCH];
    const uint8_t *rows[HNSW_SCAN_BATCH];
    int32_t dots[HNSW_SCAN_BATCH];
    uint32_t batch = hnsw_walk_next(&walk, nodes[0], HNSW_SCAN_BATCH);
    for (unsigned turn = 0; batch > 0; turn ^= 1) {
        uint32_t next = hnsw_walk_next(&walk, nodes[turn ^ 1], HNSW_SCAN_BATCH);
        touch_codes(index, nodes[turn ^ 1], next);
        for (uint32_t i = 0; i < batch; i++)
            rows[i] = hnsw_block(index, nodes[turn][i]);
        index->simd->dot_codes_rows(probe->codes, rows, batch, index->code_bytes, dots);
        for (uint32_t i = 0; i < batch; i++) {
            const struct hnsw_params *params = (const void *)(rows[i] + index->params_offset);
            float distance = hnsw_distance_of_dot(probe, params, dots[i]);
            offer(index, task, hnsw_key(distance, nodes[turn][i]), params, distance);
        }
        task->report.rows_scanned += batch;
        batch = next;
    }
}
