/* What a vector delta does: the same for a write, for its trial, and for composing the past. */
#include "delta/change.h"

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
