/* Results under construction, shared by the reading files of store/. A result owns an arena that holds all its
 * arrays. */
#ifndef VELTA_STORE_RESULT_H
#define VELTA_STORE_RESULT_H

#include "store/database.h"

struct result_column {
    const char *name;
    enum velta_type type;
    void *data;        /* int64_t, double, uint8_t, bytes, float by type */
    uint64_t *offsets; /* string, bytes: slots + 1 */
    uint64_t *valid;
    uint32_t dimensions;
};

struct velta_result {
    struct velta *db;
    struct arena arena;
    size_t slot_count;
    uint32_t k;       /* 0: not of a search */
    uint32_t *rows;   /* NULL: rows of no table (aggregates) */
    float *distances; /* of a search */
    struct velta_explain *explains;
    size_t explain_count;
    struct result_column *columns;
    size_t column_count;
    struct velta_chain_item *chain;
    size_t chain_count;
};

/* A result of slot_count slots, rows all VELTA_NO_ROW, and room for column_count columns. */
VELTA_MUST_USE enum velta_status result_create(struct velta *db, size_t slot_count, size_t column_count,
                                               struct velta_result **out, struct velta_error *error);
/* Memory of the result's arena, checked against overflow: count x size bytes, at least one. */
VELTA_MUST_USE void *result_allocate(struct velta_result *result, size_t count, size_t element_bytes);
/* The result's memory was refused: its error, and the result freed. */
enum velta_status result_refused(struct velta_result *result, struct velta_error *error);
/* Adds a column with its data zeroed and every value NULL; text columns get offsets but no bytes yet. NULL: refused. */
VELTA_MUST_USE struct result_column *result_add_column(struct velta_result *result, const char *name,
                                                       enum velta_type type, uint32_t dimensions);
/*
 * Names -> column indices of the table; NULL, 0: all columns, without vectors. `indices` has room for
 * VELTA_MAX_COLUMNS.
 */
VELTA_MUST_USE enum velta_status result_columns(const struct velta_table *handle, const char *const *names,
                                                size_t name_count, size_t *indices, size_t *count,
                                                struct velta_error *error);
/* Adds these columns with the values of the result's rows just after `sequence`; VELTA_NO_ROW slots are NULL. */
VELTA_MUST_USE enum velta_status result_fill(struct velta_result *result, const struct velta_table *handle,
                                             const size_t *indices, size_t count, uint64_t sequence);

#endif
