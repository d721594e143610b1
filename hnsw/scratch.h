/*
 * What one search works in: the query as codes, the bounded pool, visited marks and gather buffers.
 *
 * One per thread that searches or links at the same time; index->scratch is the calling thread's. Made and grown only
 * where a status can be returned, so the loops themselves never allocate.
 */
#ifndef VELTA_HNSW_SCRATCH_H
#define VELTA_HNSW_SCRATCH_H

#include "hnsw/graph.h"

/*
 * What codes are compared with: a query vector or a node. With the row's params p and the integer dot of the codes,
 *   distance = base + norm_weight p.norm + lo_weight p.lo + sum_weight p.step_sum + dot_weight p.step dot
 * for every metric (see hnsw/distance.h).
 */
struct hnsw_probe {
    int8_t *codes; /* code_bytes, 64-byte aligned, zero-padded: -127..127 of a vector, 0..127 of a node */
    float base;
    float norm_weight;
    float lo_weight;
    float sum_weight;
    float dot_weight;
};

struct hnsw_visited {
    uint16_t *epochs; /* per node; the node was met when equal to epoch */
    uint16_t epoch;
    uint32_t capacity;
};

struct hnsw_scratch {
    struct memory *memory;
    struct hnsw_probe probe;
    uint32_t code_bytes;

    /* The pool: ascending keys of beam.h. */
    uint64_t *pool;
    uint32_t pool_count;
    uint32_t pool_capacity;
    uint64_t *merge; /* pool_capacity more keys, for sorting and merging */

    struct hnsw_visited visited;

    /* one hop's neighbours: HNSW_GATHER_NODES lists' worth */
    uint32_t *ids;
    const uint8_t **rows;
    int32_t *dots;
    float *distances;
    uint32_t gather_capacity;

    float *vector;          /* `dimensions` floats, 64-byte aligned */
    uint32_t nodes_visited; /* since it was last set to 0: distances computed */
};

enum { HNSW_GATHER_NODES = 2 };

VELTA_MUST_USE enum velta_status hnsw_scratch_create(const struct hnsw *index, struct hnsw_scratch **out,
                                                     struct velta_error *error);
void hnsw_scratch_destroy(const struct hnsw *index, struct hnsw_scratch *scratch);
/* Room for a pool of `ef`, every node of the index, and gathers of at least `gather` ids. */
VELTA_MUST_USE enum velta_status hnsw_scratch_reserve(const struct hnsw *index, struct hnsw_scratch *scratch,
                                                      uint32_t ef, uint32_t gather, struct velta_error *error);

/* Forgets which nodes were met. */
static inline void hnsw_visited_next(struct hnsw_visited *visited) {
    if (++visited->epoch == 0) {
        memset(visited->epochs, 0, (size_t)visited->capacity * sizeof *visited->epochs);
        visited->epoch = 1;
    }
}

#endif
