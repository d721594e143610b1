/*
 * One typed column in slabs.
 *
 * Scalar columns hold CORE_ROWS_PER_SLAB rows a slab: filters run slab by slab. Integer-like columns (int, timestamp,
 * and the dictionary codes of string and bytes) store each slab at the narrowest signed width of 1, 2, 4 or 8 bytes
 * that holds its values; a wider value widens that slab alone. float is f64, bool is bits. A slab gets validity bits
 * (1 = not NULL) when its first NULL arrives; the value under a NULL is 0. Vector columns hold a power-of-two number
 * of rows per slab, at most SLAB_MAX_BYTES, each row padded to a multiple of 64 bytes with zeros; a codes-only vector
 * column has no slabs here (its data is in the index). The first slab grows by doubling up to the full size, so that
 * small tables stay small; a full slab never moves, so growing never copies a column.
 *
 * Writing has two steps: column_reserve_* makes every allocation that the write can need, then the write cannot fail.
 */
#ifndef VELTA_CORE_COLUMN_H
#define VELTA_CORE_COLUMN_H

#include "core/dictionary.h"
#include "core/memory.h"

enum { CORE_SLAB_SHIFT = 16, CORE_ROWS_PER_SLAB = 1 << CORE_SLAB_SHIFT };

struct column_slab {
    void *values;
    uint64_t *valid; /* NULL: every row of the slab has a value */
    uint32_t capacity_rows;
    uint8_t width; /* bytes per value: 1, 2, 4, 8; 0 for bool (bits); unused by vectors */
    bool dirty;    /* changed since the last checkpoint */
};

struct column {
    struct velta_column spec; /* spec.name is owned */
    struct memory *memory;
    struct column_slab *slabs;
    size_t slab_count;
    size_t slab_capacity;
    unsigned shift;                /* rows per slab = 1 << shift */
    uint32_t row_stride;           /* vectors: bytes per row, a multiple of 64 */
    struct dictionary *dictionary; /* string and bytes */
    uint32_t added_at_row;         /* rows below were there before the column: NULL */
};

/* Values of a batch, column-wise: the same shape as the public struct velta_values. */
struct column_values {
    const void *data;           /* int64_t, double, uint8_t (bool), float or uint16_t (f16), UTF-8 or raw bytes */
    const uint64_t *offsets;    /* string and bytes: count + 1 offsets into data */
    const uint64_t *valid;      /* bit i: value i is not NULL; NULL pointer: all are there */
    enum velta_element element; /* of vector data: VELTA_F32 or VELTA_F16 */
};

VELTA_MUST_USE enum velta_status column_create(struct memory *memory, const struct velta_column *spec,
                                               uint32_t row_count, struct column **out, struct velta_error *error);
void column_destroy(struct column *column);

/*
 * Checks the batch wholly (types, UTF-8, offsets ascending, lengths, NULL where required, finite vectors) and says at
 * which index it is wrong through error->offset. Changes nothing.
 */
VELTA_MUST_USE enum velta_status column_check_values(const struct column *column, const struct column_values *values,
                                                     size_t count, struct velta_error *error);
/* All memory for appending `count` values at rows first_row.., dictionary entries included (interned here). */
VELTA_MUST_USE enum velta_status column_reserve_append(struct column *column, const struct column_values *values,
                                                       uint32_t first_row, size_t count, struct velta_error *error);
void column_append(struct column *column, const struct column_values *values, uint32_t first_row, size_t count);
/* The same for setting the values of rows[0..count) (each < row count); a row may repeat, the last wins. */
VELTA_MUST_USE enum velta_status column_reserve_set(struct column *column, const struct column_values *values,
                                                    const uint32_t *rows, size_t count, struct velta_error *error);
void column_set(struct column *column, const struct column_values *values, const uint32_t *rows, size_t count);

bool column_is_null(const struct column *column, uint32_t row);
int64_t column_integer(const struct column *column, uint32_t row); /* int, timestamp, bool, dictionary code */
double column_float(const struct column *column, uint32_t row);
/* string, bytes: pointer into the dictionary, valid until it next grows */
const void *column_text(const struct column *column, uint32_t row, size_t *size_bytes);

/* Where the rows of an f32 or f16 vector column are; pointers stay until the first slab grows (rows added). */
struct vector_view {
    const struct column_slab *slabs;
    unsigned shift;
    uint32_t row_stride;
    uint32_t dimensions;
    enum velta_element element;
};
struct vector_view column_vectors(const struct column *column);
static inline const void *vector_view_row(const struct vector_view *view, uint32_t row) {
    uint32_t mask = (UINT32_C(1) << view->shift) - 1;
    return (const char *)view->slabs[row >> view->shift].values + (size_t)(row & mask) * view->row_stride;
}
/* The f32 form of a row, converted where needed. out: `dimensions` floats. Not for codes-only columns. */
void column_get_vector(const struct column *column, uint32_t row, float *out);
/* Writable row of an f32/f16 column; marks the slab dirty. */
void *column_vector_for_write(struct column *column, uint32_t row);

/* Bytes of slabs and dictionary. */
uint64_t column_memory_bytes(const struct column *column);

#endif
