/* A batch being turned into changes, shared by write.c and write_delta.c. */
#ifndef VELTA_STORE_WRITE_H
#define VELTA_STORE_WRITE_H

#include "store/batch.h"
#include "store/database.h"

struct writing {
    struct velta_table *handle;
    struct velta *db;
    struct table *table;
    struct arena arena;
    int64_t now_ms;         /* rows that expire by then are not there */
    int64_t time_ms;        /* of the changes being added; 0: the batch's */
    struct change *changes; /* `few`, or the arena's */
    size_t change_count;
    size_t change_capacity;
    struct change few[4];
};

/* Checks the handle and that writing is possible. Whatever follows, write_end. */
VELTA_MUST_USE enum velta_status write_begin(struct writing *writing, struct velta_table *handle,
                                             struct velta_error *error);
void write_end(struct writing *writing);
VELTA_MUST_USE enum velta_status write_add(struct writing *writing, const struct change *change,
                                           struct velta_error *error);
/* Live, and not past its expiry. */
bool write_row_visible(const struct writing *writing, uint32_t row);
/* Rows of keys; VELTA_NO_ROW where none is visible. `rows` is the arena's. */
VELTA_MUST_USE enum velta_status write_find(struct writing *writing, const struct velta_keys *keys, size_t key_count,
                                            uint32_t **rows, struct velta_error *error);
/* Deletes rows (distinct, any order; they are sorted in place). */
VELTA_MUST_USE enum velta_status write_add_delete(struct writing *writing, uint32_t *rows, size_t count,
                                                  struct velta_error *error);

/*
 * velta_apply, with a change of another table (checked, of rows that are there; NULL: none) in the same batch, after
 * the deltas. write_delta.c.
 */
VELTA_MUST_USE enum velta_status write_deltas(velta_table *table, const char *column, const struct velta_delta *deltas,
                                              size_t delta_count, int64_t time_ms, uint64_t *ids,
                                              const struct change *also, struct velta_error *error);

#endif
