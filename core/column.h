/*
 * One typed column in slabs.
 *
 * Scalar columns hold CORE_ROWS_PER_SLAB rows a slab: filters run slab by slab. Integer-like columns (int, timestamp,
 * and the dictionary codes of string and bytes) store each slab at the narrowest signed width of 1, 2, 4 or 8 bytes
 * that holds its values; a wider value widens that slab alone. float is f64, bool is bits. A slab gets validity bits
 * (1 = not NULL) when its first NULL arrives; the value under a NULL is 0.
 *
 * Vector columns hold a power-of-two number of rows per slab, at least 64 (so that bitmaps divide at words) and then at
 * most COLUMN_VECTOR_SLAB_BYTES, each row padded to a multiple of 64 bytes with zeros. A vector slab whose rows are all
 * NULL may have no values (`values` NULL). A codes-only vector column has validity only: its data is in the index.
 *
 * The first slab grows by doubling up to the full size, so that small tables stay small; a full slab moves only when it
 * is widened, so growing never copies a column.
 *
 * Writing has two steps: column_reserve_* makes every allocation that the write can need, then the write cannot fail.
 * Several reservations may be made before their writes, which then come in the same order (the dictionary codes found
 * by a reservation wait in a queue for its write). column_abandon drops all that are waiting: it takes back their
 * dictionary entries; room and width that they made stay and mean nothing.
 */
#ifndef VELTA_CORE_COLUMN_H
#define VELTA_CORE_COLUMN_H

#include "core/dictionary.h"
#include "core/memory.h"
#include "simd/simd.h"

enum { CORE_SLAB_SHIFT = 16, CORE_ROWS_PER_SLAB = 1 << CORE_SLAB_SHIFT, COLUMN_VECTOR_SLAB_BYTES = 128 << 10 };

struct column_slab {
    void *values;    /* vectors: NULL while no row has had a value */
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
    unsigned shift;                  /* rows per slab = 1 << shift */
    uint32_t row_stride;             /* vectors: bytes per row, a multiple of 64 */
    struct dictionary *dictionary;   /* string and bytes */
    uint32_t added_at_row;           /* rows below were there before the column: NULL */
    uint32_t clean_dictionary_count; /* entries below are in the last checkpoint */
    const struct simd_kernels *simd;

    /* Reservations whose writes have not come yet. */
    uint32_t *pending_codes; /* a queue: from pending_first, pending_count codes */
    size_t pending_capacity;
    size_t pending_first;
    size_t pending_count;
    size_t last_pending_count;         /* before the latest reservation */
    uint32_t last_dictionary_count;    /* the same */
    uint32_t written_dictionary_count; /* entries below are used by writes that came */
};

/*
 * Values of a batch, column-wise: the same shape as the public struct velta_values. data, offsets and valid all NULL:
 * every value is NULL. What lies under a NULL is not looked at, except that offsets must ascend.
 */
struct column_values {
    const void *data;           /* int64_t, double, uint8_t (bool), float or uint16_t (f16), UTF-8 or raw bytes */
    const uint64_t *offsets;    /* string and bytes: count + 1 offsets into data */
    const uint64_t *valid;      /* bit i: value i is not NULL; NULL pointer: all are there */
    enum velta_element element; /* of vector data: VELTA_F32 or VELTA_F16 */
};

static inline bool column_all_null(const struct column_values *values) {
    return !values->data && !values->offsets && !values->valid;
}
static inline bool column_value_is_null(const struct column_values *values, size_t i) {
    return values->valid ? (values->valid[i / 64] >> (i % 64) & 1) == 0 : column_all_null(values);
}

/* Refuses (INVALID, LIMIT) a spec that cannot be. Rows below row_count are NULL. primary_key makes it required. */
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
void column_undo_reserve(struct column *column); /* the latest reservation, whose write has not come */
void column_abandon(struct column *column);      /* all reservations whose writes have not come */

bool column_is_null(const struct column *column, uint32_t row);
int64_t column_integer(const struct column *column, uint32_t row); /* int, timestamp, bool, dictionary code */
double column_float(const struct column *column, uint32_t row);
/* string, bytes: pointer into the dictionary, valid until it next grows */
const void *column_text(const struct column *column, uint32_t row, size_t *size_bytes);

/* One value that is no vector. Which field: by the column's type. */
struct column_scalar {
    int64_t integer; /* int, timestamp, bool */
    double number;   /* float */
    const void *text;
    size_t text_bytes;
};
/* Sets the field of the column's type, text as by column_text. False: NULL, nothing is set. */
bool column_get_scalar(const struct column *column, uint32_t row, struct column_scalar *out);

/* Where the rows of an f32 or f16 vector column are; stays until rows are added or set (then make it anew). */
struct vector_view {
    const struct column_slab *slabs;
    unsigned shift;
    uint32_t row_stride;
    uint32_t dimensions;
    enum velta_element element;
};
struct vector_view column_vectors(const struct column *column);
/* For rows that are not NULL. */
static inline const void *vector_view_row(const struct vector_view *view, uint32_t row) {
    uint32_t mask = (UINT32_C(1) << view->shift) - 1;
    return (const char *)view->slabs[row >> view->shift].values + (size_t)(row & mask) * view->row_stride;
}
/* The f32 form of a row, converted where needed; zeros for NULL. out: `dimensions` floats. Not for codes-only. */
void column_get_vector(const struct column *column, uint32_t row, float *out);
/* Writable row, not NULL, of an f32/f16 column; marks the slab dirty. Padding must stay zero. */
void *column_vector_for_write(struct column *column, uint32_t row);

/* Bytes of slabs and dictionary. */
uint64_t column_memory_bytes(const struct column *column);

#endif
