/*
 * Finding a node's links and keeping lists within bounds.
 *
 * Algorithms 1, 3 and 4 of Malkov & Yashunin, with M links for a new node and room for 2 M on level 0, as hnswlib has
 * it. Departures:
 *  - the search for a node's neighbours uses the node's own code as the query: symmetric codes rank better among
 *    themselves than a float query ranks them;
 *  - the nearest RESORT candidates are put in order by their own vectors; the heuristic then compares codes;
 *  - nodes linked in the same batch are compared with each other exactly, so near-duplicates that arrive together find
 *    each other;
 *  - the search keeps ef_construction candidates but expands only the nearest three quarters of them;
 *  - a candidate that is nearer to a chosen one than to the base, but by less than SPARE_FACTOR, is a spare, of which
 *    MAX_SPARES are taken (a little of Vamana's alpha). So copies of one vector, as near to each other as to the base,
 *    neither use up all links and fall apart from the rest nor are all left out.
 *
 * Levels: floor(-ln(u) / ln(M)) for u from a hash of (seed, row), decided by comparing the hash with 2^64 / M^level, so
 * that no library's logarithm matters.
 */
#include "core/error.h"
#include "hnsw/link.h"

enum { RESORT = 24, MAX_SPARES = 4, LEAST_EXPANSIONS = 32 };
#define SPARE_FACTOR 1.05F

unsigned hnsw_level_of_row(const struct hnsw *index, uint32_t row) {
    uint64_t z = index->options.seed + (uint64_t)row * UINT64_C(0x9E3779B97F4A7C15) + UINT64_C(0x632BE59BD9B4E019);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    unsigned level = 0;
    for (uint64_t bound = UINT64_MAX / index->options.m; z < bound && level < HNSW_MAX_LEVEL; bound /= index->options.m)
        level++;
    return level;
}

/* ---- lists */

void hnsw_read_links(const struct hnsw *index, uint32_t node, unsigned level, struct hnsw_links *out) {
    if (level > 0) {
        const uint32_t *links = hnsw_upper_links(index, hnsw_find_upper(index, node), level);
        out->count = links[0];
        memcpy(out->ids, links + 1, links[0] * sizeof *links);
        return;
    }
    const uint8_t *block = hnsw_block(index, node);
    out->count = hnsw_link_count(index, block);
    for (uint32_t i = 0; i < out->count; i++)
        out->ids[i] = hnsw_link_at(index, block, i);
}

void hnsw_write_links(struct hnsw *index, uint32_t node, unsigned level, const uint32_t *ids, uint32_t count) {
    if (level > 0) {
        uint32_t *links = hnsw_upper_links(index, hnsw_find_upper(index, node), level);
        memset(links, 0, (1 + (size_t)index->options.m) * sizeof *links);
        links[0] = count;
        memcpy(links + 1, ids, count * sizeof *ids);
        return;
    }
    uint8_t *at = hnsw_block(index, node) + index->links_offset;
    memset(at, 0, 2 + 6 * (size_t)index->options.m);
    uint16_t stored = (uint16_t)count;
    memcpy(at, &stored, 2);
    at += 2;
    for (uint32_t i = 0; i < count; i++, at += 3) {
        at[0] = (uint8_t)ids[i];
        at[1] = (uint8_t)(ids[i] >> 8);
        at[2] = (uint8_t)(ids[i] >> 16);
    }
}

enum velta_status hnsw_add_upper(struct hnsw *index, uint32_t node, unsigned level, struct velta_error *error) {
    enum velta_status status = memory_grow_array(index->memory, (void **)&index->uppers, &index->upper_capacity,
                                                 index->upper_count + 1, sizeof *index->uppers, error);
    if (status) return status;
    uint32_t *links = memory_allocate_zero(index->memory, hnsw_upper_bytes(index, level));
    if (!links) return memory_fail(index->memory, error);
    size_t at = index->upper_count;
    while (at > 0 && index->uppers[at - 1].node > node)
        at--;
    memmove(index->uppers + at + 1, index->uppers + at, (index->upper_count - at) * sizeof *index->uppers);
    index->uppers[at] = (struct hnsw_upper){.node = node, .level = (uint8_t)level, .links = links};
    index->upper_count++;
    index->flags[node] |= HNSW_NODE_UPPER;
    return VELTA_OK;
}

void hnsw_drop_upper(struct hnsw *index, uint32_t node) {
    struct hnsw_upper *upper = hnsw_find_upper(index, node);
    memory_release(index->memory, upper->links, hnsw_upper_bytes(index, upper->level));
    size_t after = index->upper_count - (size_t)(upper - index->uppers) - 1;
    memmove(upper, upper + 1, after * sizeof *upper);
    index->upper_count--;
    index->flags[node] &= (uint8_t)~HNSW_NODE_UPPER;
}

void hnsw_release_uppers(struct hnsw *index) {
    for (size_t i = 0; i < index->upper_count; i++)
        memory_release(index->memory, index->uppers[i].links, hnsw_upper_bytes(index, index->uppers[i].level));
    memory_release(index->memory, index->uppers, index->upper_capacity * sizeof *index->uppers);
    index->uppers = NULL;
    index->upper_count = index->upper_capacity = 0;
}

/* ---- selection */

enum verdict { TAKEN, SPARE, COVERED };

/* Is `block`, at `distance` from the base, nearer to one of the chosen? Four at a time. */
static enum verdict judge(const struct hnsw *index, const uint8_t *block, float distance, const uint8_t *const *chosen,
                          uint32_t count) {
    struct hnsw_probe probe;
    hnsw_probe_block(index, block, &probe);
    float factor = index->options.metric == VELTA_DOT ? 1.0F : SPARE_FACTOR; /* dots have no zero to scale from */
    enum verdict verdict = TAKEN;
    for (uint32_t i = 0; i < count; i += 4) {
        int32_t dots[4];
        uint32_t some = count - i < 4 ? count - i : 4;
        index->simd->dot_codes_rows((const int8_t *)block, chosen + i, some, index->code_bytes, dots);
        for (uint32_t j = 0; j < some; j++) {
            const struct hnsw_params *params = (const void *)(chosen[i + j] + index->params_offset);
            float apart = hnsw_distance_of_dot(&probe, params, dots[j]);
            if (apart * factor < distance) return COVERED;
            if (!(apart > distance)) verdict = SPARE;
        }
    }
    return verdict;
}

uint32_t hnsw_select(const struct hnsw *index, const uint64_t *keys, uint32_t count, uint32_t max, uint32_t *chosen) {
    return hnsw_select_more(index, keys, count, max, chosen, 0);
}

uint32_t hnsw_select_more(const struct hnsw *index, const uint64_t *keys, uint32_t count, uint32_t max,
                          uint32_t *chosen, uint32_t taken) {
    const uint8_t *rows[128];
    uint32_t spares = 0;
    for (uint32_t i = 0; i < taken; i++)
        rows[i] = hnsw_block(index, chosen[i]);
    for (uint32_t i = 0; i < count && taken < max; i++) {
        uint32_t node = hnsw_key_node(keys[i]);
        const uint8_t *block = hnsw_block(index, node);
        enum verdict verdict = judge(index, block, hnsw_key_distance(keys[i]), rows, taken);
        if (verdict == COVERED || (verdict == SPARE && spares++ >= MAX_SPARES)) continue;
        rows[taken] = block;
        chosen[taken++] = node;
    }
    return taken;
}

/* ---- finding */

/* The exact distance of the node's vector to others', in the column's own precision. */
static void exact_distances(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node,
                            const uint32_t *nodes, uint32_t count, float *out) {
    struct vector_view view = column_vectors(index->vectors);
    const struct simd_kernels *simd = index->simd;
    size_t n = index->options.dimensions;
    const void *rows[RESORT];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = vector_view_row(&view, index->row_of_node[nodes[i]]);
    const float *base = vector_view_row(&view, index->row_of_node[node]);
    bool l2 = index->options.metric == VELTA_L2;
    if (view.element == VELTA_F16) {
        simd->f16_to_f32((const uint16_t *)(const void *)base, scratch->vector, n);
        (l2 ? simd->l2_f16_rows : simd->dot_f16_rows)(scratch->vector, (const uint16_t *const *)rows, count, n, out);
    } else {
        (l2 ? simd->l2_f32_rows : simd->dot_f32_rows)(base, (const float *const *)rows, count, n, out);
    }
    if (l2) return;
    if (index->options.metric == VELTA_DOT) {
        for (uint32_t i = 0; i < count; i++)
            out[i] = -out[i];
        return;
    }
    float norm = hnsw_params_of(index, hnsw_block(index, node))->norm;
    for (uint32_t i = 0; i < count; i++) {
        float product = norm * hnsw_params_of(index, hnsw_block(index, nodes[i]))->norm;
        out[i] = product > 0.0F ? 1.0F - out[i] / product : 1.0F;
    }
}

/* Drops the node itself and removed nodes from the pool, and orders the nearest by their vectors, into `keys`. */
static uint32_t candidates(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, uint64_t *keys) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < scratch->pool_count; i++) {
        uint32_t other = hnsw_key_node(scratch->pool[i]);
        if (other == node || (index->flags[other] & HNSW_NODE_REMOVED)) continue;
        keys[count++] = scratch->pool[i] & ~HNSW_KEY_EXPANDED;
    }
    if (index->codes_only) return count;
    uint32_t sorted = 0, near = count < RESORT ? count : RESORT;
    float distances[RESORT];
    uint64_t order[RESORT], by_codes[RESORT];
    for (uint32_t i = 0; i < near; i++)
        scratch->ids[i] = hnsw_key_node(keys[i]);
    exact_distances(index, scratch, node, scratch->ids, near, distances);
    for (uint32_t i = 0; i < near; i++)
        hnsw_pool_insert(order, &sorted, near, hnsw_key(distances[i], i));
    /* Only the order is theirs: the heuristic compares distances of one kind, those of codes. */
    memcpy(by_codes, keys, near * sizeof *keys);
    for (uint32_t i = 0; i < near; i++)
        keys[i] = by_codes[hnsw_key_node(order[i])];
    return count;
}

/* Puts the mates that have this level into the pool. */
static void meet_mates(const struct hnsw *index, struct hnsw_scratch *scratch, unsigned level, const uint32_t *mates,
                       const uint8_t *mate_levels, uint32_t mate_count, uint32_t ef) {
    const struct hnsw_visited *visited = &scratch->visited;
    bool walked = scratch->pool_count > 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < mate_count; i++) {
        /* One that is linked again can have been met on the walk. */
        bool met = walked && visited->epochs[mates[i]] == visited->epoch;
        if (mate_levels[i] >= level && !met) scratch->ids[n++] = mates[i];
    }
    hnsw_distances_codes(index, &scratch->probe, scratch->ids, n, scratch->rows, scratch->dots, scratch->distances);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t key = hnsw_key(scratch->distances[i], scratch->ids[i]);
        hnsw_pool_insert(scratch->pool, &scratch->pool_count, ef, key);
    }
}

void hnsw_find_links(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, unsigned level,
                     const uint32_t *mates, const uint8_t *mate_levels, uint32_t mate_count, struct hnsw_links *out) {
    uint32_t m = index->options.m;
    uint32_t ef = index->options.ef_construction > m ? index->options.ef_construction : m;
    hnsw_probe_node(index, node, &scratch->probe);
    uint32_t expansions = ef - ef / 4 > LEAST_EXPANSIONS ? ef - ef / 4 : LEAST_EXPANSIONS;
    bool graph = index->entry != HNSW_NO_NODE;
    uint64_t seed = graph ? hnsw_descend(index, scratch, level < index->top_level ? level : index->top_level) : 0;
    for (unsigned at = level + 1; at-- > 0;) {
        scratch->pool_count = 0;
        if (graph && at <= index->top_level) {
            hnsw_visited_next(&scratch->visited);
            scratch->pool[0] = seed;
            scratch->pool_count = 1;
            if (at > 0) {
                hnsw_beam_upper(index, scratch, ef, at);
            } else {
                hnsw_beam(index, scratch, ef, expansions);
            }
            seed = scratch->pool[0] & ~HNSW_KEY_EXPANDED;
        }
        meet_mates(index, scratch, at, mates, mate_levels, mate_count, ef);
        uint32_t count = candidates(index, scratch, node, scratch->merge);
        out[at].count = hnsw_select(index, scratch->merge, count, m, out[at].ids);
    }
}

/* ---- keeping lists within bounds */

void hnsw_add_links(struct hnsw *index, struct hnsw_scratch *scratch, uint32_t target, unsigned level,
                    const uint32_t *added, uint32_t added_count) {
    struct hnsw_links links;
    hnsw_read_links(index, target, level, &links);
    uint32_t capacity = hnsw_link_capacity(index, level);
    uint32_t *all = scratch->ids;
    uint32_t count = links.count;
    memcpy(all, links.ids, count * sizeof *all);
    for (uint32_t i = 0; i < added_count; i++) {
        uint32_t at = 0;
        while (at < links.count && links.ids[at] != added[i])
            at++;
        if (at == links.count && added[i] != target) all[count++] = added[i];
    }
    if (count == links.count) return;
    if (count <= capacity) {
        hnsw_write_links(index, target, level, all, count);
        return;
    }
    const uint8_t *block = hnsw_block(index, target);
    struct hnsw_probe probe = {.codes = (int8_t *)(uintptr_t)block};
    hnsw_probe_block(index, block, &probe);
    hnsw_distances_codes(index, &probe, all, count, scratch->rows, scratch->dots, scratch->distances);
    uint32_t sorted = 0;
    for (uint32_t i = 0; i < count; i++)
        hnsw_pool_insert(scratch->merge, &sorted, count, hnsw_key(scratch->distances[i], all[i]));
    count = hnsw_select(index, scratch->merge, sorted, capacity, links.ids);
    hnsw_write_links(index, target, level, links.ids, count);
}
