/*
 * The index's memory layout, shared by the files of hnsw/ only.
 *
 * One block per node, 64-byte aligned, in slabs of a power-of-two number of blocks:
 *
 *   codes   code_bytes     7-bit codes 0..127, zero-padded to a multiple of 32
 *   params  16             struct hnsw_params
 *   count   2              links on level 0
 *   links   3 x 2m         node ids, 24-bit little-endian
 *   pad                    zeros to a multiple of 64
 *
 * so that one visit touches one run of cache lines. Value i of a vector is approximately lo + step * code[i], hence
 *   a . b = n lo_a lo_b + lo_a step_b sum_b + lo_b step_a sum_a + step_a step_b (code_a . code_b)
 * exactly in integers but for the last line of floats: nothing is trained and nothing drifts as data comes (min/max
 * scalar quantisation per vector, as in Lucene's).
 */
#ifndef VELTA_HNSW_GRAPH_H
#define VELTA_HNSW_GRAPH_H

#include "hnsw/hnsw.h"

struct hnsw_params {
    float lo;
    float step;
    float step_sum; /* step * sum of codes */
    float norm;     /* cosine: 1 / |v| (0 for a zero vector); l2: |v|^2; dot: unused 0 */
};

struct hnsw_upper { /* links above level 0 of one node; most nodes have none */
    uint32_t node;
    uint8_t level;   /* top level of the node, >= 1 */
    uint32_t *links; /* level * (1 + m) words: count, ids */
};

enum hnsw_node_flags {
    HNSW_NODE_LINKED = 1,  /* has its place in the graph */
    HNSW_NODE_TAIL = 2,    /* scanned exactly; may be linked too (drifted) */
    HNSW_NODE_REMOVED = 4, /* waypoint until repaired */
};

struct hnsw_visited {
    uint16_t *epochs; /* per node */
    uint16_t epoch;
    uint32_t capacity;
};

struct hnsw_scratch; /* hnsw/scratch.h: query codes, pool, heaps, id and pointer buffers; one per concurrent search */

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
    uint8_t *slab_dirty; /* bit 0: codes, bit 1: links */
    size_t slab_count;
    size_t slab_capacity;

    uint32_t node_count; /* blocks in use, free ones included */
    uint32_t node_capacity;
    uint32_t *row_of_node; /* VELTA_NO_ROW: free */
    uint8_t *levels;       /* per node */
    uint8_t *flags;        /* per node */
    float *drift;          /* per node: relative way moved since it was linked */
    uint32_t *node_of_row; /* HNSW_NO_NODE: none */
    uint32_t row_capacity;

    struct hnsw_upper *uppers; /* sorted by node */
    size_t upper_count;
    size_t upper_capacity;
    uint32_t entry; /* HNSW_NO_NODE: no graph */
    uint8_t top_level;
    uint32_t linked_count;

    uint32_t *tail; /* nodes, in order of arrival */
    size_t tail_count;
    size_t tail_capacity;
    uint32_t *removed;
    size_t removed_count;
    size_t removed_capacity;
    bool graph_meta_dirty;
    bool row_map_dirty;

    struct hnsw_scratch *scratch; /* of the calling thread */

    /* what calibration learnt; see hnsw/filtered.c */
    float beam_gamma;
    uint32_t default_ef;
    float cost_scan_ns;  /* per row scanned */
    float cost_visit_ns; /* per node visited */
    float hard_visits;   /* running mean of visits on hard queries */
};

static inline uint8_t *hnsw_block(const struct hnsw *index, uint32_t node) {
    uint32_t mask = (UINT32_C(1) << index->slab_shift) - 1;
    return index->slabs[node >> index->slab_shift] + (size_t)(node & mask) * index->block_bytes;
}

#endif
