/* What a vector delta does: the same for a write, for its trial, and for composing the past. */
#include "delta/change.h"

#include <float.h>
#include <math.h>
#include <string.h>

void vector_delta_apply(const struct simd_kernels *simd, const struct vector_delta *delta, float *vector,
                        uint32_t dimensions) {
    switch (delta->operation) {
    case DELTA_SPARSE:
        simd->sparse_f32(vector, delta->indices, delta->values, delta->count, delta->set ? SIMD_SET : SIMD_ADD);
        break;
    case DELTA_DENSE:
        if (delta->set) {
            memcpy(vector, delta->values, dimensions * sizeof *vector);
        } else {
            simd->add_f32(vector, delta->values, dimensions);
        }
        break;
    case DELTA_SCALE:
        simd->scale_f32(vector, delta->amount, dimensions);
        break;
    case DELTA_OFFSET:
        simd->offset_f32(vector, delta->amount, dimensions);
        break;
    }
}

float vector_delta_way(const struct simd_kernels *simd, const struct vector_delta *delta, const float *vector,
                       uint32_t dimensions) {
    double square = 0.0;
    switch (delta->operation) {
    case DELTA_SPARSE:
        if (!delta->set) return sqrtf(simd->dot_f32(delta->values, delta->values, delta->count));
        for (uint32_t i = 0; i < delta->count; i++) {
            double difference = (double)delta->values[i] - (double)vector[delta->indices[i]];
            square += difference * difference;
        }
        return (float)fmin(sqrt(square), (double)FLT_MAX);
    case DELTA_DENSE:
        return sqrtf(delta->set ? simd->l2_f32(delta->values, vector, dimensions)
                                : simd->dot_f32(delta->values, delta->values, dimensions));
    case DELTA_SCALE:
        return fabsf(delta->amount - 1.0F) * sqrtf(simd->dot_f32(vector, vector, dimensions));
    default:
        return fabsf(delta->amount) * sqrtf((float)dimensions);
    }
}
