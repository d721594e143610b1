#include <math.h>

#include "hnsw/search.h"

#define GAMMA_PER_ROOT 0.0082F

float hnsw_gamma(const struct hnsw *index, uint32_t ef) {
    float factor = index->beam_gamma > 0.0F ? index->beam_gamma : GAMMA_PER_ROOT;
    return factor * sqrtf((float)ef);
}

float hnsw_distance_offset(const struct hnsw *index, const float *query) {
    if (index->options.metric != VELTA_DOT) return 0.0F;
    return index->longest * sqrtf(index->simd->dot_f32(query, query, index->options.dimensions));
}

enum velta_status hnsw_calibrate(struct hnsw *index, struct velta_error *error) {
    (void)index;
    (void)error;
    return VELTA_OK;
}
