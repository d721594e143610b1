/*
 * What search needs to know of the data.
 *
 * gamma (see search.c) grows like the root of ef. The factor is where sweeps over gamma and the least number of
 * expansions had their best recall per visit; it came out the same on real text (61,436 x 256) and on clustered
 * Gaussians (100,000 x 384), so it is not learnt. For dot, where distances have no zero, the length of the longest
 * vector gives them one; that is measured here, on a sample.
 *
 * The costs of a scanned row and of a visited node are not measured here: filtered.c learns them from the searches
 * themselves, where the host gives a clock.
 */
#include <math.h>

#include "hnsw/search.h"

enum { LENGTH_SAMPLES = 1024 };
#define GAMMA_PER_ROOT 0.0082F

float hnsw_gamma(uint32_t ef) {
    return GAMMA_PER_ROOT * sqrtf((float)ef);
}

float hnsw_distance_offset(const struct hnsw *index, const float *query) {
    if (index->options.metric != VELTA_DOT) return 0.0F;
    return index->longest * sqrtf(index->simd->dot_f32(query, query, index->options.dimensions));
}

/* Up to `count` nodes with rows, spread evenly. */
static uint32_t sample_nodes(const struct hnsw *index, uint32_t *nodes, uint32_t count) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = (uint32_t)((uint64_t)index->node_count * i / count);
        uint32_t end = (uint32_t)((uint64_t)index->node_count * (i + 1) / count);
        while (node < end && index->row_of_node[node] == VELTA_NO_ROW)
            node++;
        if (node < end) nodes[found++] = node;
    }
    return found;
}

void hnsw_measure_lengths(struct hnsw *index) {
    uint32_t nodes[LENGTH_SAMPLES];
    uint32_t count = sample_nodes(index, nodes, LENGTH_SAMPLES);
    float *vector = index->scratch->vector;
    float longest = 0.0F;
    for (uint32_t i = 0; i < count; i++) {
        hnsw_decode_block(index, hnsw_block(index, nodes[i]), vector);
        float square = index->simd->dot_f32(vector, vector, index->options.dimensions);
        if (square > longest) longest = square;
    }
    index->longest = sqrtf(longest);
}

enum velta_status hnsw_calibrate(struct hnsw *index, struct velta_error *error) {
    (void)error;
    hnsw_refresh(index);
    hnsw_measure_lengths(index);
    return VELTA_OK;
}
