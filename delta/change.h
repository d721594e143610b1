/*
 * One modification of the database, column-wise: what a writer asks, what the log holds, what replay applies.
 *
 * A change is plain pointers into memory that somebody else owns (the caller's batch, or the arena into which a log
 * frame was decoded). Rows are row numbers, so replaying the same changes in the same order gives the same state.
 * Each change takes `change_span` sequence numbers: a batch of n vector deltas takes n (each delta has its own id),
 * everything else takes one.
 */
#ifndef VELTA_DELTA_CHANGE_H
#define VELTA_DELTA_CHANGE_H

#include "core/column.h"
#include "core/types.h"
#include "simd/simd.h"

enum change_kind {
    CHANGE_TABLE_CREATE = 1,
    CHANGE_TABLE_DROP,
    CHANGE_COLUMN_ADD,
    CHANGE_ROWS_INSERT,
    CHANGE_ROWS_SET,    /* one column of some rows */
    CHANGE_ROWS_DELETE,
    CHANGE_ROWS_EXPIRY, /* when rows expire; INT64_MAX: never */
    CHANGE_VECTORS,     /* vector deltas on one column */
    CHANGE_TAG,         /* names this moment */
};

enum delta_operation { DELTA_SPARSE = 1, DELTA_DENSE, DELTA_SCALE, DELTA_OFFSET };

/* One vector delta; `create` is a CHANGE_ROWS_INSERT and `delete` a CHANGE_ROWS_DELETE. */
struct vector_delta {
    enum delta_operation operation;
    bool set;                /* sparse, dense: replace instead of add */
    uint32_t row;
    uint32_t count;          /* sparse: number of indices; dense: dimensions; else 0 */
    const uint32_t *indices; /* sparse: ascending, distinct, < dimensions */
    const float *values;     /* sparse, dense; finite */
    float amount;            /* scale: factor, offset: amount; finite */
    const void *metadata;    /* the caller's bytes, kept with the chain */
    uint32_t metadata_bytes;
};

struct change {
    enum change_kind kind;
    uint64_t sequence;      /* of its first item; assigned by the store, ascending without gaps */
    int64_t time_ms;        /* never smaller than the change before's */
    uint32_t table;         /* number of the table: counts from 0, never reused */
    uint32_t column;        /* ROWS_SET, VECTORS: index in the table */
    uint32_t row_count;     /* ROWS_INSERT: rows added; ROWS_*: length of rows */
    uint32_t first_row;     /* ROWS_INSERT: number of the first row added (checked at replay) */
    const uint32_t *rows;   /* ROWS_SET, ROWS_DELETE, ROWS_EXPIRY */
    const int64_t *times_ms;             /* ROWS_EXPIRY */
    const struct column_values *values;  /* ROWS_INSERT: one per column of the table; ROWS_SET: one */
    const struct velta_column *columns;  /* TABLE_CREATE, COLUMN_ADD */
    uint32_t column_count;               /* TABLE_CREATE; ROWS_INSERT: length of values */
    const char *name;                    /* TABLE_CREATE, TAG: NUL-terminated */
    const struct vector_delta *deltas;   /* VECTORS */
    uint32_t delta_count;
};

/* The one definition of what a delta does to a vector of f32, before it is stored as the column's element. */
void vector_delta_apply(const struct simd_kernels *simd, const struct vector_delta *delta, float *vector,
                        uint32_t dimensions);

/* How far it will move this vector: the length of the difference, which may be infinite. */
float vector_delta_way(const struct simd_kernels *simd, const struct vector_delta *delta, const float *vector,
                       uint32_t dimensions);

static inline uint64_t change_span(const struct change *change) {
    return change->kind == CHANGE_VECTORS ? change->delta_count : 1;
}

#endif
