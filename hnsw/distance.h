/*
 * Approximate distances from the integer dot of codes, one expression for every metric, query and node.
 *
 * With a = lo_a + step_a code_a and the same for b,
 *   a . b = lo_b (n lo_a + step_a sum_a) + lo_a (step_b sum_b) + step_a step_b (code_a . code_b)
 * so the query's side folds into three weights. Cosine: 1 - a . b over normalised lo and step; l2: |a|^2 + |b|^2 - 2
 * a.b; dot: - a . b. The expression is evaluated in this order without fusing everywhere, so that every machine
 * decides alike. A query given as floats is scale * code with code -127..127 and lo 0; the sum of its rounded values
 * replaces n lo + step sum, so that both terms belong to one vector and only |row| scales what rounding it cost.
 */
#ifndef VELTA_HNSW_DISTANCE_H
#define VELTA_HNSW_DISTANCE_H

#include "hnsw/scratch.h"

static inline float hnsw_distance_of_dot(const struct hnsw_probe *probe, const struct hnsw_params *params,
                                         int32_t dot) {
    float base = probe->base + probe->norm_weight * params->norm;
    float ends = probe->lo_weight * params->lo + probe->sum_weight * params->step_sum;
    return (base + ends) + probe->dot_weight * (params->step * (float)dot);
}

/* Over the codes of a block. */
struct hnsw_sums {
    int32_t sum;
    int32_t square; /* of their squares */
};
/* Encodes a vector into a block: codes and params. Nothing else of the block changes. */
struct hnsw_sums hnsw_encode(const struct hnsw *index, const float *vector, uint8_t *block);
/* What follows from codes, lo, step (and cosine's norm): step_sum and, for l2 and dot, norm. */
void hnsw_complete_params(const struct hnsw *index, uint8_t *block);
void hnsw_decode_block(const struct hnsw *index, const uint8_t *block, float *out);
/* The probe of a query vector, and of a node's own code. */
void hnsw_probe_vector(const struct hnsw *index, const float *query, struct hnsw_probe *probe);
void hnsw_probe_node(const struct hnsw *index, uint32_t node, struct hnsw_probe *probe);
/* The weights of a block alone; the caller sets probe->codes, to the block itself or a copy of its codes. */
void hnsw_probe_block(const struct hnsw *index, const uint8_t *block, struct hnsw_probe *probe);
/* distances_out[i] = distance of the probe to the node ids[i]; rows and dots are room for `count`. */
void hnsw_distances_codes(const struct hnsw *index, const struct hnsw_probe *probe, const uint32_t *ids, size_t count,
                          const uint8_t **rows, int32_t *dots, float *distances_out);

#endif
