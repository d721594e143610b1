/*
 * Checking a batch of values before anything is changed. See core/column.h.
 *
 * Everything that a value's own bytes can be wrong about is found here; lengths of arrays cannot be, a batch carries
 * none: the caller (a binding, the log's decoder) answers for them.
 */
#include <string.h>

#include "core/column.h"
#include "core/column_slab.h"
#include "core/error.h"
#include "core/utf8.h"

static enum velta_status check_nulls(const struct column *column, const struct column_values *values, size_t count,
                                     struct velta_error *error) {
    for (size_t i = 0; i < count; i++) {
        bool is_null = column_value_is_null(values, i);
        if (is_null && column->spec.required) {
            return velta_fail(error, VELTA_NOT_NULL, i, "column %s: value %zu is NULL, and a value is required",
                              column->spec.name, i);
        }
        if (!is_null && !values->data && !column->dictionary) {
            return velta_fail(error, VELTA_INVALID, i, "column %s: there is no data for value %zu", column->spec.name,
                              i);
        }
    }
    return VELTA_OK;
}

static enum velta_status check_bools(const struct column *column, const struct column_values *values, size_t count,
                                     struct velta_error *error) {
    const uint8_t *bools = values->data;
    for (size_t i = 0; bools && i < count; i++) {
        if (bools[i] > 1 && !column_value_is_null(values, i)) {
            return velta_fail(error, VELTA_TYPE, i, "column %s: value %zu is a bool of %u, not 0 or 1",
                              column->spec.name, i, bools[i]);
        }
    }
    return VELTA_OK;
}

static enum velta_status check_text(const struct column *column, const struct column_values *values, size_t count,
                                    struct velta_error *error) {
    const uint64_t *offsets = values->offsets;
    const char *name = column->spec.name;
    if (!offsets) {
        return velta_fail(error, VELTA_INVALID, 0, "column %s: there are no offsets", name);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t size_bytes = offsets[i + 1] - offsets[i];
        if (offsets[i + 1] < offsets[i] || offsets[i + 1] > SIZE_MAX) {
            return velta_fail(error, VELTA_INVALID, i, "column %s: the offsets of value %zu do not ascend", name, i);
        }
        if (size_bytes == 0 || column_value_is_null(values, i)) {
            continue;
        }
        if (!values->data) {
            return velta_fail(error, VELTA_INVALID, i, "column %s: there is no data for value %zu", name, i);
        }
        if (size_bytes > VELTA_MAX_VALUE_BYTES) {
            return velta_fail(error, VELTA_LIMIT, i, "column %s: value %zu has more than %d bytes", name, i,
                              VELTA_MAX_VALUE_BYTES);
        }
        if (column->spec.type == VELTA_STRING) {
            const char *text = (const char *)values->data + offsets[i];
            size_t valid_bytes = utf8_valid_prefix(text, (size_t)size_bytes);
            if (valid_bytes != size_bytes) {
                return velta_fail(error, VELTA_TYPE, i, "column %s: value %zu is not UTF-8 from its byte %zu on", name,
                                  i, valid_bytes);
            }
        }
    }
    return VELTA_OK;
}

/* Whether element j of the batch's vectors is finite, as the column would hold it. */
static bool element_fits(const struct column *column, const struct column_values *values, size_t j) {
    enum { F16_EXPONENT = 0x7C00 };
    uint16_t half;
    if (values->element == VELTA_F16) {
        half = ((const uint16_t *)values->data)[j];
        return (half & F16_EXPONENT) != F16_EXPONENT;
    }
    if (column->spec.element != VELTA_F16) {
        return column->simd->all_finite_f32((const float *)values->data + j, 1);
    }
    column->simd->f32_to_f16((const float *)values->data + j, &half, 1);
    return (half & F16_EXPONENT) != F16_EXPONENT;
}

static enum velta_status check_vectors(const struct column *column, const struct column_values *values, size_t count,
                                       struct velta_error *error) {
    size_t dimensions = column->spec.dimensions;
    bool plain = values->element == VELTA_F32 && column->spec.element != VELTA_F16;
    if (values->element != VELTA_F32 && values->element != VELTA_F16) {
        return velta_fail(error, VELTA_INVALID, 0, "column %s: vectors come as f32 or f16", column->spec.name);
    }
    for (size_t i = 0; i < count; i++) {
        if (column_value_is_null(values, i)) {
            continue;
        }
        if (plain && column->simd->all_finite_f32((const float *)values->data + i * dimensions, dimensions)) {
            continue;
        }
        for (size_t j = 0; j < dimensions; j++) {
            if (!element_fits(column, values, i * dimensions + j)) {
                return velta_fail(error, VELTA_NOT_FINITE, i,
                                  "column %s: vector %zu, element %zu is NaN, infinite or too large", column->spec.name,
                                  i, j);
            }
        }
    }
    return VELTA_OK;
}

enum velta_status column_check_values(const struct column *column, const struct column_values *values, size_t count,
                                      struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (count == 0) {
        return VELTA_OK;
    }
    if (values->valid || !values->data) {
        status = check_nulls(column, values, count, error);
    }
    if (status != VELTA_OK || column_all_null(values)) {
        return status;
    }
    switch (column->spec.type) {
    case VELTA_BOOL:
        return check_bools(column, values, count, error);
    case VELTA_STRING:
    case VELTA_BYTES:
        return check_text(column, values, count, error);
    case VELTA_VECTOR:
        return check_vectors(column, values, count, error);
    default:
        return VELTA_OK;
    }
}
