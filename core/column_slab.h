/* How the slabs of a column are sized and found: shared by the files that implement columns. */
#ifndef VELTA_CORE_COLUMN_SLAB_H
#define VELTA_CORE_COLUMN_SLAB_H

#include "core/bitmap.h"
#include "core/column.h"

static inline bool column_is_integer(const struct column *column) {
    enum velta_type type = column->spec.type;
    return type == VELTA_INT || type == VELTA_TIMESTAMP || type == VELTA_STRING || type == VELTA_BYTES;
}
/* Vectors whose rows are kept here. */
static inline bool column_has_rows(const struct column *column) {
    return column->spec.type == VELTA_VECTOR && column->spec.element != VELTA_CODES;
}
static inline bool column_is_codes_only(const struct column *column) {
    return column->spec.type == VELTA_VECTOR && column->spec.element == VELTA_CODES;
}
static inline uint32_t column_rows_per_slab(const struct column *column) {
    return UINT32_C(1) << column->shift;
}
static inline size_t column_slab_index(const struct column *column, uint32_t row) {
    return row >> column->shift;
}
static inline uint32_t column_slab_row(const struct column *column, uint32_t row) {
    return row & (column_rows_per_slab(column) - 1);
}
/* Slabs that `rows` rows take. */
static inline size_t column_slabs_of(const struct column *column, uint32_t rows) {
    return (size_t)(((uint64_t)rows + column_rows_per_slab(column) - 1) >> column->shift);
}
/* Of those rows, how many lie in this slab. */
static inline uint32_t column_slab_rows(const struct column *column, size_t slab, uint32_t rows) {
    uint64_t first = (uint64_t)slab << column->shift;
    uint64_t rest = rows > first ? rows - first : 0;
    return rest < column_rows_per_slab(column) ? (uint32_t)rest : column_rows_per_slab(column);
}

/* 1, 2, 4 or 8: the narrowest signed width that holds both. */
static inline uint8_t column_width_of(int64_t min, int64_t max) {
    if (min >= INT8_MIN && max <= INT8_MAX) {
        return 1;
    }
    if (min >= INT16_MIN && max <= INT16_MAX) {
        return 2;
    }
    return min >= INT32_MIN && max <= INT32_MAX ? 4 : 8;
}
static inline int64_t column_slab_integer(const struct column_slab *slab, uint32_t at) {
    switch (slab->width) {
    case 1:
        return ((const int8_t *)slab->values)[at];
    case 2:
        return ((const int16_t *)slab->values)[at];
    case 4:
        return ((const int32_t *)slab->values)[at];
    default:
        return ((const int64_t *)slab->values)[at];
    }
}

/* Bytes that `rows` rows take at this width, and what is allocated for them. */
size_t column_value_bytes(const struct column *column, uint32_t rows, uint8_t width);
size_t column_slab_bytes(const struct column *column, uint32_t rows, uint8_t width);
size_t column_validity_words(const struct column *column); /* of one slab */

/*
 * Makes the slab (and the slots of those before it) exist with room for its first `rows` rows: at least this width,
 * values unless not wanted, validity if wanted. What is there stays; new bytes are zero, new validity bits one.
 */
VELTA_MUST_USE enum velta_status column_slab_reserve(struct column *column, size_t slab, uint32_t rows, uint8_t width,
                                                     bool values, bool validity, struct velta_error *error);
/*
 * column_reserve_append for a dictionary column whose codes are known already (entries exist; DICTIONARY_NO_CODE where
 * NULL). Of `values` only `valid` is looked at; `data` must not be NULL.
 */
VELTA_MUST_USE enum velta_status column_reserve_codes(struct column *column, const struct column_values *values,
                                                      const uint32_t *codes, uint32_t first_row, size_t count,
                                                      struct velta_error *error);

#endif
