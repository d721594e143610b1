/*
 * The layer search and the scratch it works in.
 *
 * Algorithm 2 of Malkov & Yashunin with one bounded sorted array for candidates and results, as in DiskANN's greedy
 * search: the walk ends when every kept node is expanded, which is hnswlib's stopping rule, or when the caller's number
 * of expansions is spent. Departures, each measured:
 * the two best candidates are expanded at once, so that twice as many cache lines are on their way; neighbours are
 * gathered without a branch (write the id, advance by "not met"); every line is touched before any distance is
 * computed; distances come from integer dots of 7-bit codes.
 */
#include "hnsw/beam.h"
#include "core/error.h"

static void scratch_release(struct hnsw_scratch *scratch) {
    struct memory *memory = scratch->memory;
    memory_release(memory, scratch->pool, (size_t)scratch->pool_capacity * sizeof *scratch->pool);
    memory_release(memory, scratch->merge, (size_t)scratch->pool_capacity * sizeof *scratch->merge);
    memory_release(memory, scratch->visited.epochs,
                   (size_t)scratch->visited.capacity * sizeof *scratch->visited.epochs);
    size_t gather = scratch->gather_capacity;
    memory_release(memory, scratch->ids, gather * sizeof *scratch->ids);
    memory_release(memory, (void *)scratch->rows, gather * sizeof *scratch->rows);
    memory_release(memory, scratch->dots, gather * sizeof *scratch->dots);
    memory_release(memory, scratch->distances, gather * sizeof *scratch->distances);
}

enum velta_status hnsw_scratch_create(const struct hnsw *index, struct hnsw_scratch **out, struct velta_error *error) {
    struct hnsw_scratch *scratch = memory_allocate_zero(index->memory, sizeof *scratch);
    if (!scratch) return memory_fail(index->memory, error);
    scratch->memory = index->memory;
    scratch->code_bytes = index->code_bytes;
    scratch->probe.codes = memory_allocate_zero(index->memory, index->code_bytes);
    scratch->vector = memory_allocate_zero(index->memory, index->options.dimensions * sizeof(float));
    if (!scratch->probe.codes || !scratch->vector) {
        enum velta_status status = memory_fail(index->memory, error);
        hnsw_scratch_destroy(index, scratch);
        return status;
    }
    *out = scratch;
    return VELTA_OK;
}

void hnsw_scratch_destroy(const struct hnsw *index, struct hnsw_scratch *scratch) {
    if (!scratch) return;
    scratch_release(scratch);
    memory_release(index->memory, scratch->probe.codes, index->code_bytes);
    memory_release(index->memory, scratch->vector, index->options.dimensions * sizeof(float));
    memory_release(index->memory, scratch, sizeof *scratch);
}

/* Replaces *array by a zeroed one of another capacity; the contents are not kept. */
static bool scratch_resize(struct memory *memory, void **array, size_t element_bytes, size_t old, size_t capacity) {
    void *fresh = memory_allocate_zero(memory, capacity * element_bytes);
    if (!fresh) return false;
    memory_release(memory, *array, old * element_bytes);
    *array = fresh;
    return true;
}

static enum velta_status scratch_grow_gather(struct hnsw_scratch *scratch, uint32_t gather, struct velta_error *error) {
    struct memory *memory = scratch->memory;
    uint32_t *ids = memory_allocate(memory, gather * sizeof *ids);
    const uint8_t **rows = memory_allocate(memory, gather * sizeof *rows);
    int32_t *dots = memory_allocate(memory, gather * sizeof *dots);
    float *distances = memory_allocate(memory, gather * sizeof *distances);
    if (!ids || !rows || !dots || !distances) {
        enum velta_status status = memory_fail(memory, error);
        memory_release(memory, ids, gather * sizeof *ids);
        memory_release(memory, (void *)rows, gather * sizeof *rows);
        memory_release(memory, dots, gather * sizeof *dots);
        memory_release(memory, distances, gather * sizeof *distances);
        return status;
    }
    size_t old = scratch->gather_capacity;
    memory_release(memory, scratch->ids, old * sizeof *ids);
    memory_release(memory, (void *)scratch->rows, old * sizeof *rows);
    memory_release(memory, scratch->dots, old * sizeof *dots);
    memory_release(memory, scratch->distances, old * sizeof *distances);
    scratch->ids = ids;
    scratch->rows = rows;
    scratch->dots = dots;
    scratch->distances = distances;
    scratch->gather_capacity = gather;
    return VELTA_OK;
}

static enum velta_status scratch_grow_pool(struct hnsw_scratch *scratch, uint32_t ef, struct velta_error *error) {
    struct memory *memory = scratch->memory;
    uint64_t *pool = memory_allocate(memory, ef * sizeof *pool);
    uint64_t *merge = memory_allocate(memory, ef * sizeof *merge);
    if (!pool || !merge) {
        enum velta_status status = memory_fail(memory, error);
        memory_release(memory, pool, ef * sizeof *pool);
        memory_release(memory, merge, ef * sizeof *merge);
        return status;
    }
    memory_release(memory, scratch->pool, (size_t)scratch->pool_capacity * sizeof *pool);
    memory_release(memory, scratch->merge, (size_t)scratch->pool_capacity * sizeof *merge);
    scratch->pool = pool;
    scratch->merge = merge;
    scratch->pool_capacity = ef;
    scratch->pool_count = 0;
    return VELTA_OK;
}

enum velta_status hnsw_scratch_reserve(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t ef,
                                       uint32_t gather, struct velta_error *error) {
    uint32_t hop = HNSW_GATHER_NODES * 2 * index->options.m + 1; /* a gather may write one id past those it keeps */
    if (gather < hop) gather = hop;
    if (scratch->pool_capacity < ef) {
        enum velta_status status = scratch_grow_pool(scratch, ef, error);
        if (status) return status;
    }
    if (scratch->gather_capacity < gather) {
        enum velta_status status = scratch_grow_gather(scratch, gather, error);
        if (status) return status;
    }
    if (scratch->visited.capacity < index->node_capacity) {
        struct hnsw_visited *visited = &scratch->visited;
        if (!scratch_resize(scratch->memory, (void **)&visited->epochs, sizeof *visited->epochs, visited->capacity,
                            index->node_capacity)) {
            return memory_fail(scratch->memory, error);
        }
        visited->capacity = index->node_capacity;
        visited->epoch = 0;
    }
    return VELTA_OK;
}

/* The first position whose key is greater; keys are distinct. */
static inline uint32_t pool_position(const uint64_t *keys, uint32_t count, uint64_t key) {
    uint32_t low = 0;
    while (count > 1) {
        uint32_t half = count / 2;
        low += half & (0U - (uint32_t)(keys[low + half - 1] < key)); /* without a branch */
        count -= half;
    }
    return low + (uint32_t)(count == 1 && keys[low] < key);
}

static inline uint32_t pool_insert(uint64_t *keys, uint32_t *count, uint32_t capacity, uint64_t key) {
    uint32_t filled = *count;
    if (filled == capacity) {
        if (key > keys[filled - 1]) return capacity;
        filled--; /* the last falls out */
    }
    uint32_t position = pool_position(keys, filled, key);
    memmove(keys + position + 1, keys + position, (filled - position) * sizeof *keys);
    keys[position] = key;
    *count = filled + 1;
    return position;
}

uint32_t hnsw_pool_insert(uint64_t *keys, uint32_t *count, uint32_t capacity, uint64_t key) {
    return pool_insert(keys, count, capacity, key);
}

/* Appends the neighbours of `node` not met yet to ids[n..]; returns the new n. Writes one id past them. */
static inline uint32_t gather_links(const struct hnsw *index, uint32_t node, const struct hnsw_visited *visited,
                                    uint32_t *restrict ids, uint32_t n) {
    const uint8_t *at = hnsw_block(index, node) + index->links_offset;
    uint16_t count;
    memcpy(&count, at, 2);
    uint16_t *restrict epochs = visited->epochs;
    const uint16_t epoch = visited->epoch;
    at += 2;
    for (uint32_t i = 0; i < count; i++, at += 3) {
        uint32_t id;
        memcpy(&id, at, 4);
        id &= 0xFFFFFF;
        ids[n] = id;
        n += epochs[id] != epoch;
        epochs[id] = epoch;
    }
    return n;
}

/* Distances of ids[0..n) into scratch->distances, every line touched first. */
static inline void gather_distances(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t n) {
    const uint8_t **rows = scratch->rows;
    size_t head = index->params_offset + sizeof(struct hnsw_params);
    for (uint32_t i = 0; i < n; i++) {
        rows[i] = hnsw_block(index, scratch->ids[i]);
        simd_touch(rows[i], head);
    }
    index->simd->dot_codes_rows(scratch->probe.codes, rows, n, index->code_bytes, scratch->dots);
    for (uint32_t i = 0; i < n; i++) {
        const struct hnsw_params *params = (const void *)(rows[i] + index->params_offset);
        scratch->distances[i] = hnsw_distance_of_dot(&scratch->probe, params, scratch->dots[i]);
    }
    scratch->nodes_visited += n;
}

/* Puts the gathered nodes into the pool; returns the lowest position filled, or `ef`. */
static inline uint32_t pool_gathered(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t n, uint32_t ef) {
    uint64_t *keys = scratch->pool;
    uint32_t count = scratch->pool_count, lowest = ef;
    uint64_t last = count == ef ? keys[count - 1] : UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t key = hnsw_key(scratch->distances[i], scratch->ids[i]);
        if (key >= last) continue;
        uint32_t position = pool_insert(keys, &count, ef, key);
        if (count == ef) last = keys[count - 1];
        if (position < lowest) lowest = position;
        simd_touch(scratch->rows[i] + index->links_offset + 64, 1);
    }
    scratch->pool_count = count;
    return lowest;
}

void hnsw_beam(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t ef, uint32_t expansions) {
    uint64_t *keys = scratch->pool;
    for (uint32_t i = 0; i < scratch->pool_count; i++)
        scratch->visited.epochs[hnsw_key_node(keys[i])] = scratch->visited.epoch;
    uint32_t cursor = 0;
    for (uint32_t expanded = 0; expanded < expansions; expanded += HNSW_GATHER_NODES) {
        uint32_t count = scratch->pool_count;
        while (cursor < count && (keys[cursor] & HNSW_KEY_EXPANDED))
            cursor++;
        if (cursor == count) return;
        uint32_t second = cursor + 1;
        while (second < count && (keys[second] & HNSW_KEY_EXPANDED))
            second++;
        keys[cursor] |= HNSW_KEY_EXPANDED;
        uint32_t n = gather_links(index, hnsw_key_node(keys[cursor]), &scratch->visited, scratch->ids, 0);
        if (second < count) {
            keys[second] |= HNSW_KEY_EXPANDED;
            n = gather_links(index, hnsw_key_node(keys[second]), &scratch->visited, scratch->ids, n);
        }
        gather_distances(index, scratch, n);
        uint32_t lowest = pool_gathered(index, scratch, n, ef);
        cursor = lowest < second ? (lowest < cursor ? lowest : cursor) : second;
    }
}

/* The neighbours on one upper level that were not met yet. */
static uint32_t gather_upper(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, unsigned level) {
    const struct hnsw_upper *upper = hnsw_find_upper(index, node);
    const uint32_t *links = hnsw_upper_links(index, upper, level);
    struct hnsw_visited *visited = &scratch->visited;
    uint32_t n = 0;
    for (uint32_t i = 1; i <= links[0]; i++) {
        scratch->ids[n] = links[i];
        n += visited->epochs[links[i]] != visited->epoch;
        visited->epochs[links[i]] = visited->epoch;
    }
    return n;
}

void hnsw_beam_upper(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t ef, unsigned level) {
    uint64_t *keys = scratch->pool;
    for (uint32_t i = 0; i < scratch->pool_count; i++)
        scratch->visited.epochs[hnsw_key_node(keys[i])] = scratch->visited.epoch;
    uint32_t cursor = 0;
    while (cursor < scratch->pool_count) {
        if (keys[cursor] & HNSW_KEY_EXPANDED) {
            cursor++;
            continue;
        }
        keys[cursor] |= HNSW_KEY_EXPANDED;
        uint32_t n = gather_upper(index, scratch, hnsw_key_node(keys[cursor]), level);
        gather_distances(index, scratch, n);
        uint32_t lowest = pool_gathered(index, scratch, n, ef);
        if (lowest < cursor) cursor = lowest;
    }
}

uint64_t hnsw_descend(const struct hnsw *index, struct hnsw_scratch *scratch, unsigned level) {
    hnsw_visited_next(&scratch->visited);
    scratch->ids[0] = index->entry;
    gather_distances(index, scratch, 1);
    uint64_t best = hnsw_key(scratch->distances[0], index->entry);
    for (unsigned at = index->top_level; at > level; at--) {
        hnsw_visited_next(&scratch->visited);
        for (uint64_t before = 0; before != best;) {
            before = best;
            uint32_t n = gather_upper(index, scratch, hnsw_key_node(best), at);
            gather_distances(index, scratch, n);
            for (uint32_t i = 0; i < n; i++) {
                uint64_t key = hnsw_key(scratch->distances[i], scratch->ids[i]);
                if (key < best) best = key;
            }
        }
    }
    return best;
}
