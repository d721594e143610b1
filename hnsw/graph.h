/*
 * The index's memory layout, shared by the files of hnsw/ only.
 *
 * One block per node, 64-byte aligned, in slabs of a power-of-two number of blocks:
 *
 *   codes   code_bytes     7-bit codes 0..127, zero-padded to a multiple of 32
 *   params  16             struct hnsw_params
 *   count   2              links on level 0
 *   links   3 x 2m         node ids, 24-bit little-endian; zeros after the last
 *   pad                    at least one byte, zeros to a multiple of 64
 *
 * so that one visit touches one run of cache lines. Value i of a vector is approximately lo + step * code[i], hence
 *   a . b = n lo_a lo_b + lo_a step_b sum_b + lo_b step_a sum_a + step_a step_b (code_a . code_b)
 * exactly in integers but for the last line of floats: nothing is trained and nothing drifts as data comes (min/max
 * scalar quantisation per vector, as in Lucene's).
 */
#ifndef VELTA_HNSW_GRAPH_H
#define VELTA_HNSW_GRAPH_H

#include "hnsw/hnsw.h"

#include <string.h>

/*
 * Under cosine lo and step are divided by the norm, so that a distance is 1 - a . b without a further factor, and lo
 * and step times the norm are those of the decoded vector.
 */
struct hnsw_params {
    float lo;
    float step;
    float step_sum; /* step * sum of codes */
    float norm;     /* cosine: |v|, of the vector itself where it is kept, 0 for a zero vector; l2: |v|^2; dot: 0 */
};

struct hnsw_upper { /* links above level 0 of one node; most nodes have none */
    uint32_t node;
    uint8_t level;   /* top level of the node, >= 1 */
    uint32_t *links; /* level * (1 + m) words, level 1 first: count, ids */
};

enum hnsw_node_flags {
    HNSW_NODE_LINKED = 1,  /* has its place in the graph */
    HNSW_NODE_TAIL = 2,    /* scanned exactly; may be linked too (drifted) */
    HNSW_NODE_REMOVED = 4, /* linked, without a row: waypoint until repaired */
    HNSW_NODE_REPAIR = 8,  /* linked, moved a little: its links are due for a cheap repair */
    HNSW_NODE_UPPER = 16,  /* linked above level 0 too: has an entry in `uppers` */
    /* only while hnsw_link works */
    HNSW_NODE_LEAVING = 32,
};

struct hnsw_scratch; /* hnsw/scratch.h: one per concurrent search */
struct hnsw_finder;  /* hnsw/search.h: what only searching needs; made by the first search */

struct hnsw {
    struct memory *memory;
    const struct simd_kernels *simd;
    const struct column *vectors;
    struct hnsw_options options;
    bool codes_only;

    uint32_t code_bytes;
    uint32_t params_offset;
    uint32_t links_offset; /* of the u16 count; ids follow */
    uint32_t block_bytes;
    unsigned slab_shift; /* blocks per slab = 1 << slab_shift */
    uint8_t **slabs;
    uint8_t *slab_dirty; /* bit 0: codes, rows, drift; bit 1: links, flags */
    size_t slab_count;
    size_t slab_capacity;

    uint32_t node_count;     /* blocks in use, free ones included */
    uint32_t block_capacity; /* blocks there is memory for; the first slab grows by doubling */
    uint32_t node_capacity;  /* of the arrays per node; a multiple of 64 */
    uint32_t *row_of_node;   /* VELTA_NO_ROW: free or removed */
    uint8_t *flags;        /* per node: enum hnsw_node_flags */
    float *drift;          /* per node: the way its vector moved since it was linked; finite */
    uint32_t *node_of_row; /* HNSW_NO_NODE: none */
    uint32_t row_capacity;

    struct hnsw_upper *uppers; /* sorted by node */
    size_t upper_count;
    size_t upper_capacity;
    uint32_t entry; /* HNSW_NO_NODE: no graph */
    uint8_t top_level;
    uint32_t linked_count;

    uint64_t *tail_bits; /* bit per node: has HNSW_NODE_TAIL; node_capacity bits, whole words, zeros beyond */
    uint64_t *stale_bits; /* bit per node, as tail_bits: the vector changed since its codes were made */
    uint32_t tail_count;
    uint32_t stale_count;
    uint32_t first_stale; /* no stale node is below it, */
    uint32_t last_stale;  /* or above it */
    uint32_t removed_count; /* nodes with HNSW_NODE_REMOVED */
    uint32_t repair_count;  /* nodes with HNSW_NODE_REPAIR */
    uint32_t free_count;    /* blocks below node_count in no use */
    uint32_t first_free;    /* no free node is below it */
    uint32_t unwalked_count; /* nodes linked or taken out since every node was last seen to be reachable */
    uint32_t ordered_count; /* nodes below were put into local order once; see hnsw/order.c */
    bool codes_head_dirty; /* node_count changed; see hnsw/image.c */
    bool graph_head_dirty; /* the entry or the upper levels changed */
    struct hnsw_image *loading; /* the graph's first part, until hnsw_load_finish */
    bool awaits_graph; /* from the first part of the codes to hnsw_load_finish: links in blocks are not yet links */

    struct hnsw_scratch *scratch; /* of the calling thread */
    struct hnsw_finder *finder;   /* NULL until the first search */

    /* what calibration and searching learnt; see hnsw/calibrate.c, hnsw/filtered.c */
    float longest; /* dot: about the length of the longest vector */
    float cost_scan_ns;  /* per row scanned */
    float cost_visit_ns; /* per node visited */
    float hard_visits;   /* running mean of visits on hard queries */
};

static inline uint8_t *hnsw_block(const struct hnsw *index, uint32_t node) {
    uint32_t mask = (UINT32_C(1) << index->slab_shift) - 1;
    return index->slabs[node >> index->slab_shift] + (size_t)(node & mask) * index->block_bytes;
}

static inline struct hnsw_params *hnsw_params_of(const struct hnsw *index, uint8_t *block) {
    return (struct hnsw_params *)(void *)(block + index->params_offset);
}

static inline uint32_t hnsw_link_count(const struct hnsw *index, const uint8_t *block) {
    uint16_t count;
    memcpy(&count, block + index->links_offset, 2);
    return count;
}

/* Link i; reads one byte beyond the id, which every block has. */
static inline uint32_t hnsw_link_at(const struct hnsw *index, const uint8_t *block, uint32_t i) {
    uint32_t word;
    memcpy(&word, block + index->links_offset + 2 + 3 * (size_t)i, 4);
    return word & 0xFFFFFF;
}

/* The links of a node above level 0, or NULL: `uppers` is sorted by node. */
static inline struct hnsw_upper *hnsw_find_upper(const struct hnsw *index, uint32_t node) {
    size_t low = 0, count = index->upper_count;
    if (count == 0) return NULL;
    while (count > 1) {
        size_t half = count / 2;
        low += index->uppers[low + half].node <= node ? half : 0;
        count -= half;
    }
    return index->uppers[low].node == node ? &index->uppers[low] : NULL;
}
/* Count and ids of one level (>= 1, <= upper->level). */
static inline uint32_t *hnsw_upper_links(const struct hnsw *index, const struct hnsw_upper *upper, unsigned level) {
    return upper->links + (size_t)(level - 1) * (1 + index->options.m);
}

#endif
