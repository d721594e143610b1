#include <math.h>

#include "hnsw/search.h"

float hnsw_distance_offset(const struct hnsw *index, const struct hnsw_task *task) {
    if (index->options.metric != VELTA_DOT) return 0.0F;
    const float *vector = task->query->vector;
    return index->longest * sqrtf(index->simd->dot_f32(vector, vector, index->options.dimensions));
}
enum velta_status hnsw_calibrate(struct hnsw *index, struct velta_error *error) {
    (void)index;
    (void)error;
    return VELTA_OK;
}
