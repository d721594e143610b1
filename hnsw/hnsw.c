/*
 * The index as a structure: making it, its memory, its maps, and rows coming, changing and going.
 *
 * A node is born in the tail with its codes and gets links in hnsw/link.c. Writes cannot fail after hnsw_reserve;
 * everything that walks the graph is left to hnsw_link.
 *
 * An update of a row whose vector the column keeps only notes that its codes are stale: of a row that changes often
 * between two searches the last vector alone is encoded.
 *
 * Drift: each update adds the way the vector moved to the node's drift, whether or not it is encoded at once. Below
 * drift_repair times the vector's size the links are good enough as they are; from there on they are due for a cheap
 * repair; from drift_far on the row sits in the tail, found exactly, until it is inserted anew. That is judged when
 * codes are made, by what then holds alone, so that the index does not depend on when that was.
 *
 * Node ids are reused lowest first, so that they depend on the order of operations only.
 */
#include <float.h>
#include <math.h>

#include "core/error.h"
#include "hnsw/link.h"
#include "hnsw/search.h"

enum {
    SLAB_TARGET_BYTES = 128 << 10, /* a checkpoint writes whole ones, and small ones leave less of a chunk unused */
    SLAB_MIN_SHIFT = 6,
    FIRST_BLOCKS = 16,
    MOST_STALE = 32768, /* so that the first search after a long stream waits for some tens of milliseconds at most */
};

/* Drift in relation to the vector's size. */
static const double drift_repair = 0.125, drift_far = 0.25;

static size_t slab_bytes(const struct hnsw *index, uint32_t blocks) {
    size_t bytes = (size_t)blocks * index->block_bytes;
    return (bytes + SLAB_MIN_BYTES - 1) / SLAB_MIN_BYTES * SLAB_MIN_BYTES;
}

/* Blocks in slab `slab` when there is memory for `block_capacity`. */
static uint32_t slab_blocks(const struct hnsw *index, size_t slab) {
    uint32_t full = UINT32_C(1) << index->slab_shift;
    uint64_t before = (uint64_t)slab << index->slab_shift;
    uint64_t left = index->block_capacity - before;
    return left < full ? (uint32_t)left : full;
}

static void set_layout(struct hnsw *index) {
    uint32_t m = index->options.m;
    index->code_bytes = (index->options.dimensions + 31) / 32 * 32;
    index->params_offset = index->code_bytes;
    index->links_offset = index->params_offset + (uint32_t)sizeof(struct hnsw_params);
    index->block_bytes = (index->links_offset + 2 + 6 * m + 1 + 63) / 64 * 64;
    index->slab_shift = SLAB_MIN_SHIFT;
    while ((UINT64_C(2) << index->slab_shift) * index->block_bytes <= SLAB_TARGET_BYTES)
        index->slab_shift++;
}

enum velta_status hnsw_create(struct memory *memory, const struct simd_kernels *simd, const struct column *vectors,
                              const struct hnsw_options *options, struct hnsw **out, struct velta_error *error) {
    if (options->dimensions < 1 || options->dimensions > VELTA_MAX_DIMENSIONS) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "an index over %u dimensions; 1 to %d are possible",
                          options->dimensions, VELTA_MAX_DIMENSIONS);
    }
    if (options->m < 4 || options->m > 64 || options->ef_construction < 1 || options->ef_construction > 4096) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "m %u (4 to 64 are possible), ef_construction %u (1 to 4096 are possible)", options->m,
                          options->ef_construction);
    }
    struct hnsw *index = memory_allocate_zero(memory, sizeof *index);
    if (!index) return memory_fail(memory, error);
    index->memory = memory;
    index->simd = simd;
    index->vectors = vectors;
    index->options = *options;
    index->codes_only = vectors->spec.element == VELTA_CODES;
    index->entry = HNSW_NO_NODE;
    set_layout(index);
    enum velta_status status = hnsw_scratch_create(index, &index->scratch, error);
    if (status) {
        hnsw_destroy(index);
        return status;
    }
    *out = index;
    return VELTA_OK;
}

void hnsw_destroy(struct hnsw *index) {
    if (!index) return;
    struct memory *memory = index->memory;
    hnsw_finder_destroy(index);
    hnsw_scratch_destroy(index, index->scratch);
    for (size_t i = 0; i < index->slab_count; i++)
        slab_release(memory, index->slabs[i], slab_bytes(index, slab_blocks(index, i)));
    memory_release(memory, index->slabs, index->slab_capacity * sizeof *index->slabs);
    memory_release(memory, index->slab_dirty, index->slab_capacity * sizeof *index->slab_dirty);
    size_t nodes = index->node_capacity;
    memory_release(memory, index->row_of_node, nodes * sizeof *index->row_of_node);
    memory_release(memory, index->flags, nodes * sizeof *index->flags);
    memory_release(memory, index->drift, nodes * sizeof *index->drift);
    memory_release(memory, index->tail_bits, nodes / 64 * sizeof *index->tail_bits);
    memory_release(memory, index->stale_bits, nodes / 64 * sizeof *index->stale_bits);
    memory_release(memory, index->node_of_row, (size_t)index->row_capacity * sizeof *index->node_of_row);
    hnsw_release_uppers(index);
    hnsw_image_release(index);
    memory_release(memory, index, sizeof *index);
}

void hnsw_set_column(struct hnsw *index, const struct column *vectors) {
    index->vectors = vectors;
}

/* ---- memory */

static enum velta_status reserve_rows(struct hnsw *index, uint32_t row_count, struct velta_error *error) {
    if (row_count <= index->row_capacity) return VELTA_OK;
    uint64_t capacity = (uint64_t)index->row_capacity + index->row_capacity / 8 + 64;
    if (capacity < row_count) capacity = row_count;
    if (capacity > SIZE_MAX / sizeof *index->node_of_row) capacity = row_count;
    uint32_t *grown = memory_resize(index->memory, index->node_of_row, (size_t)index->row_capacity * sizeof *grown,
                                    (size_t)capacity * sizeof *grown);
    if (!grown) return memory_fail(index->memory, error);
    memset(grown + index->row_capacity, 0xFF, (size_t)(capacity - index->row_capacity) * sizeof *grown);
    index->node_of_row = grown;
    index->row_capacity = (uint32_t)capacity;
    return VELTA_OK;
}

/* The arrays per node, moved together: all new ones are there before an old one goes. */
static enum velta_status reserve_arrays(struct hnsw *index, uint32_t nodes, struct velta_error *error) {
    if (nodes <= index->node_capacity) return VELTA_OK;
    struct memory *memory = index->memory;
    size_t old = index->node_capacity;
    size_t capacity = old + old / 16;
    if (capacity < nodes) capacity = nodes;
    capacity = (capacity + 63) / 64 * 64;
    uint32_t *rows = memory_allocate_zero(memory, capacity * sizeof *rows);
    uint8_t *flags = memory_allocate_zero(memory, capacity * sizeof *flags);
    float *drift = memory_allocate_zero(memory, capacity * sizeof *drift);
    uint64_t *tail = memory_allocate_zero(memory, capacity / 64 * sizeof *tail);
    uint64_t *stale = memory_allocate_zero(memory, capacity / 64 * sizeof *stale);
    if (!rows || !flags || !drift || !tail || !stale) {
        enum velta_status status = memory_fail(memory, error);
        memory_release(memory, rows, capacity * sizeof *rows);
        memory_release(memory, flags, capacity * sizeof *flags);
        memory_release(memory, drift, capacity * sizeof *drift);
        memory_release(memory, tail, capacity / 64 * sizeof *tail);
        memory_release(memory, stale, capacity / 64 * sizeof *stale);
        return status;
    }
    if (old) {
        memcpy(rows, index->row_of_node, old * sizeof *rows);
        memcpy(flags, index->flags, old * sizeof *flags);
        memcpy(drift, index->drift, old * sizeof *drift);
        memcpy(tail, index->tail_bits, old / 64 * sizeof *tail);
        memcpy(stale, index->stale_bits, old / 64 * sizeof *stale);
    }
    memory_release(memory, index->row_of_node, old * sizeof *rows);
    memory_release(memory, index->flags, old * sizeof *flags);
    memory_release(memory, index->drift, old * sizeof *drift);
    memory_release(memory, index->tail_bits, old / 64 * sizeof *tail);
    memory_release(memory, index->stale_bits, old / 64 * sizeof *stale);
    index->row_of_node = rows;
    index->flags = flags;
    index->drift = drift;
    index->tail_bits = tail;
    index->stale_bits = stale;
    index->node_capacity = (uint32_t)capacity;
    return VELTA_OK;
}

/* The first slab moves to twice its size until it is full size; later ones come whole. */
static enum velta_status grow_first_slab(struct hnsw *index, uint32_t nodes, struct velta_error *error) {
    uint32_t full = UINT32_C(1) << index->slab_shift;
    uint32_t blocks = index->block_capacity ? index->block_capacity : FIRST_BLOCKS;
    while (blocks < nodes && blocks < full)
        blocks *= 2;
    if (blocks > full) blocks = full;
    uint8_t *slab = slab_allocate(index->memory, slab_bytes(index, blocks));
    if (!slab) return memory_fail(index->memory, error);
    if (index->block_capacity) {
        memcpy(slab, index->slabs[0], (size_t)index->node_count * index->block_bytes);
        slab_release(index->memory, index->slabs[0], slab_bytes(index, index->block_capacity));
    } else {
        index->slab_count = 1;
    }
    index->slabs[0] = slab;
    index->block_capacity = blocks;
    return VELTA_OK;
}

static enum velta_status reserve_slab_lists(struct hnsw *index, size_t slabs, struct velta_error *error) {
    if (slabs <= index->slab_capacity) return VELTA_OK;
    struct memory *memory = index->memory;
    size_t old = index->slab_capacity, capacity = old * 2 > slabs ? old * 2 : slabs;
    uint8_t **list = memory_allocate_zero(memory, capacity * sizeof *list);
    uint8_t *dirty = memory_allocate_zero(memory, capacity * sizeof *dirty);
    if (!list || !dirty) {
        enum velta_status status = memory_fail(memory, error);
        memory_release(memory, list, capacity * sizeof *list);
        memory_release(memory, dirty, capacity * sizeof *dirty);
        return status;
    }
    if (old) {
        memcpy(list, index->slabs, index->slab_count * sizeof *list);
        memcpy(dirty, index->slab_dirty, index->slab_count * sizeof *dirty);
    }
    memory_release(memory, index->slabs, old * sizeof *list);
    memory_release(memory, index->slab_dirty, old * sizeof *dirty);
    index->slabs = list;
    index->slab_dirty = dirty;
    index->slab_capacity = capacity;
    return VELTA_OK;
}

static enum velta_status reserve_blocks(struct hnsw *index, uint32_t nodes, struct velta_error *error) {
    if (nodes <= index->block_capacity) return VELTA_OK;
    uint32_t full = UINT32_C(1) << index->slab_shift;
    size_t slabs = ((size_t)nodes + full - 1) >> index->slab_shift;
    enum velta_status status = reserve_slab_lists(index, slabs, error);
    if (!status && index->block_capacity < full) status = grow_first_slab(index, nodes, error);
    while (!status && index->block_capacity < nodes) {
        uint8_t *slab = slab_allocate(index->memory, slab_bytes(index, full));
        if (!slab) return memory_fail(index->memory, error);
        index->slab_dirty[index->slab_count] = 0;
        index->slabs[index->slab_count++] = slab;
        index->block_capacity += full;
    }
    return status;
}

enum velta_status hnsw_reserve(struct hnsw *index, uint32_t row_count, uint32_t added, struct velta_error *error) {
    uint32_t fresh = added > index->free_count ? added - index->free_count : 0;
    uint64_t nodes = (uint64_t)index->node_count + fresh;
    if (index->stale_count >= MOST_STALE) hnsw_refresh(index);
    if (nodes > HNSW_MAX_NODES) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "an index holds at most %d vectors", HNSW_MAX_NODES);
    }
    enum velta_status status = reserve_rows(index, row_count, error);
    if (!status) status = reserve_arrays(index, (uint32_t)nodes, error);
    if (!status) status = reserve_blocks(index, (uint32_t)nodes, error);
    if (!status) status = hnsw_scratch_reserve(index, index->scratch, index->options.ef_construction, 0, error);
    return status;
}

/* ---- rows */

static void tail_enter(struct hnsw *index, uint32_t node) {
    index->flags[node] |= HNSW_NODE_TAIL;
    index->tail_bits[node / 64] |= UINT64_C(1) << node % 64;
    index->tail_count++;
    hnsw_mark(index, node, HNSW_DIRTY_LINKS);
}

void hnsw_tail_leave(struct hnsw *index, uint32_t node) {
    index->flags[node] &= (uint8_t)~HNSW_NODE_TAIL;
    index->tail_bits[node / 64] &= ~(UINT64_C(1) << node % 64);
    index->tail_count--;
    hnsw_mark(index, node, HNSW_DIRTY_LINKS);
}

static void repair_enter(struct hnsw *index, uint32_t node) {
    index->flags[node] |= HNSW_NODE_REPAIR;
    index->repair_count++;
    hnsw_mark(index, node, HNSW_DIRTY_LINKS);
}

void hnsw_repair_leave(struct hnsw *index, uint32_t node) {
    if (!(index->flags[node] & HNSW_NODE_REPAIR)) return;
    index->flags[node] &= (uint8_t)~HNSW_NODE_REPAIR;
    index->repair_count--;
    hnsw_mark(index, node, HNSW_DIRTY_LINKS);
}

void hnsw_free_node(struct hnsw *index, uint32_t node) {
    index->flags[node] = 0;
    index->drift[node] = 0;
    index->row_of_node[node] = VELTA_NO_ROW;
    memset(hnsw_block(index, node), 0, index->block_bytes);
    hnsw_mark(index, node, HNSW_DIRTY_CODES | HNSW_DIRTY_LINKS);
    index->free_count++;
    if (node < index->first_free) index->first_free = node;
}

static uint32_t take_node(struct hnsw *index) {
    if (index->free_count == 0) {
        index->codes_head_dirty = true; /* both heads count the nodes */
        index->graph_head_dirty = true;
        return index->node_count++;
    }
    uint32_t node = index->first_free;
    while (index->flags[node])
        node++;
    index->free_count--;
    index->first_free = node + 1;
    return node;
}

void hnsw_add(struct hnsw *index, uint32_t row, const float *vector) {
    if (index->awaits_graph) hnsw_load_abandon(index);
    uint32_t node = take_node(index);
    uint8_t *block = hnsw_block(index, node);
    memset(block, 0, index->block_bytes);
    (void)hnsw_encode(index, vector, block);
    index->row_of_node[node] = row;
    index->node_of_row[row] = node;
    index->flags[node] = 0;
    index->drift[node] = 0;
    tail_enter(index, node);
    hnsw_mark(index, node, HNSW_DIRTY_CODES);
}

/* Whether the row is due for anything, by its drift in relation to the size of the vector that it has now. */
static void judge_drift(struct hnsw *index, uint32_t node, const struct hnsw_params *params,
                        const struct hnsw_sums *sums) {
    double drift = (double)index->drift[node];
    double size = (double)params->norm;
    if (index->options.metric != VELTA_COSINE) { /* the spread around the mean, which a common offset does not change */
        double sum = (double)sums->sum, step = (double)params->step;
        size = step * sqrt((double)sums->square - sum * sum / (double)index->options.dimensions);
    }
    bool moved = drift > 0.0, far = moved && drift >= size * drift_far;
    bool due = moved && !far && drift >= size * drift_repair;
    if (far != ((index->flags[node] & HNSW_NODE_TAIL) != 0)) (far ? tail_enter : hnsw_tail_leave)(index, node);
    if (due != ((index->flags[node] & HNSW_NODE_REPAIR) != 0)) (due ? repair_enter : hnsw_repair_leave)(index, node);
}

/* The node's codes become those of `vector`. */
static void encode_anew(struct hnsw *index, uint32_t node, const float *vector) {
    uint8_t *block = hnsw_block(index, node);
    struct hnsw_sums sums = hnsw_encode(index, vector, block);
    hnsw_mark(index, node, HNSW_DIRTY_CODES);
    if (index->flags[node] & HNSW_NODE_LINKED) judge_drift(index, node, hnsw_params_of(index, block), &sums);
}

static void stale_enter(struct hnsw *index, uint32_t node) {
    uint64_t bit = UINT64_C(1) << node % 64;
    if (index->stale_bits[node / 64] & bit) return;
    index->stale_bits[node / 64] |= bit;
    if (index->stale_count == 0 || node < index->first_stale) index->first_stale = node;
    if (index->stale_count == 0 || node > index->last_stale) index->last_stale = node;
    index->stale_count++;
}

static void refresh_node(struct hnsw *index, uint32_t node) {
    uint32_t row = index->row_of_node[node];
    if (index->vectors->spec.element == VELTA_F32) {
        struct vector_view view = column_vectors(index->vectors);
        encode_anew(index, node, vector_view_row(&view, row));
    } else {
        column_get_vector(index->vectors, row, index->scratch->vector);
        encode_anew(index, node, index->scratch->vector);
    }
}

void hnsw_refresh(struct hnsw *index) {
    if (index->stale_count == 0) return;
    for (uint32_t word = index->first_stale / 64; word <= index->last_stale / 64; word++) {
        for (uint64_t bits = index->stale_bits[word]; bits; bits &= bits - 1)
            refresh_node(index, word * 64 + (uint32_t)__builtin_ctzll(bits));
        index->stale_bits[word] = 0;
    }
    index->stale_count = 0;
}

void hnsw_update(struct hnsw *index, uint32_t row, float way, const float *vector) {
    if (index->awaits_graph) hnsw_load_abandon(index);
    uint32_t node = index->node_of_row[row];
    if (index->flags[node] & HNSW_NODE_LINKED) {
        float drift = index->drift[node] + way;
        index->drift[node] = drift < FLT_MAX ? drift : FLT_MAX;
    }
    if (vector) {
        encode_anew(index, node, vector);
    } else {
        stale_enter(index, node);
    }
}

void hnsw_remove(struct hnsw *index, uint32_t row) {
    if (index->awaits_graph) hnsw_load_abandon(index);
    uint32_t node = index->node_of_row[row];
    if (index->stale_bits[node / 64] >> node % 64 & 1) { /* it may stay as a waypoint, and the column forgets it */
        refresh_node(index, node);
        index->stale_bits[node / 64] &= ~(UINT64_C(1) << node % 64);
        index->stale_count--;
    }
    index->node_of_row[row] = HNSW_NO_NODE;
    index->row_of_node[node] = VELTA_NO_ROW;
    hnsw_mark(index, node, HNSW_DIRTY_CODES | HNSW_DIRTY_LINKS);
    if (index->flags[node] & HNSW_NODE_TAIL) hnsw_tail_leave(index, node);
    hnsw_repair_leave(index, node);
    if (index->flags[node] & HNSW_NODE_LINKED) {
        index->flags[node] |= HNSW_NODE_REMOVED;
        index->removed_count++;
    } else {
        hnsw_free_node(index, node);
    }
}

void hnsw_prefetch(const struct hnsw *index, uint32_t row, bool block) {
    if (row >= index->row_capacity) return;
    if (!block) {
        simd_touch(&index->node_of_row[row], 1);
    } else if (index->node_of_row[row] != HNSW_NO_NODE) {
        uint32_t node = index->node_of_row[row];
        simd_touch(&index->flags[node], 1);
        simd_touch(&index->drift[node], 1);
        if (index->codes_only) simd_touch(hnsw_block(index, node), index->links_offset);
    }
}

bool hnsw_contains(const struct hnsw *index, uint32_t row) {
    return row < index->row_capacity && index->node_of_row[row] != HNSW_NO_NODE;
}

void hnsw_decode(const struct hnsw *index, uint32_t row, float *out) {
    hnsw_decode_block(index, hnsw_block(index, index->node_of_row[row]), out);
}

uint64_t hnsw_pending(struct hnsw *index) {
    hnsw_refresh(index);
    if (index->awaits_graph) return 0;
    return (uint64_t)index->tail_count + index->removed_count + index->repair_count;
}

void hnsw_get_stats(struct hnsw *index, struct hnsw_stats *stats) {
    hnsw_refresh(index);
    *stats = (struct hnsw_stats){0};
    stats->node_count = index->linked_count;
    stats->tail_count = index->tail_count;
    stats->removed_count = index->removed_count;
    stats->level_count = index->entry == HNSW_NO_NODE ? 0 : index->top_level + 1U;
    for (uint32_t node = 0; node < index->node_count; node++) {
        if (index->flags[node] & HNSW_NODE_LINKED) stats->edge_count += hnsw_link_count(index, hnsw_block(index, node));
    }
    for (size_t i = 0; i < index->slab_count; i++)
        stats->memory_bytes += slab_bytes(index, slab_blocks(index, i));
    uint64_t upper_bytes = index->upper_capacity * sizeof *index->uppers;
    for (size_t i = 0; i < index->upper_count; i++)
        upper_bytes += hnsw_upper_bytes(index, index->uppers[i].level);
    stats->codes_bytes = (uint64_t)index->block_capacity * index->links_offset;
    stats->links_bytes = stats->memory_bytes - stats->codes_bytes + upper_bytes;
    stats->memory_bytes += upper_bytes + sizeof *index;
    stats->memory_bytes += (uint64_t)index->row_capacity * sizeof *index->node_of_row;
    stats->memory_bytes += (uint64_t)index->node_capacity * (sizeof(uint32_t) + sizeof(uint8_t) + sizeof(float));
    stats->memory_bytes += index->node_capacity / 8 * 2;
}
