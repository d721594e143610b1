/* Compiled filters of the public API, and the matching rows of a query. */
#ifndef VELTA_STORE_FILTERING_H
#define VELTA_STORE_FILTERING_H

#include "store/database.h"

struct velta_filter {
    struct velta_table *handle;
    char *text;
    size_t text_bytes;
    struct filter *bound; /* to the table as it was laid out at `epoch` */
    uint64_t epoch;
};

/* Binds again when a compaction has replaced the table since. */
VELTA_MUST_USE enum velta_status filtering_bind(struct velta_filter *filter, struct velta_error *error);

/* The rows a query may return: visible just after `sequence` and, with a filter, matching it then. */
struct filtering {
    struct memory *memory;
    uint64_t *rows; /* bitmap; NULL: no restriction (every live row, nothing expires, now) */
    size_t words;
    uint64_t count; /* of matching rows */
};
/*
 * `where` (text) or `filter` (compiled) or neither. at_ms: the moment asked for, for expiry in the past. With
 * want_bitmap the bitmap is always made.
 */
VELTA_MUST_USE enum velta_status filtering_rows(struct velta_table *handle, const char *where,
                                                struct velta_filter *filter, uint64_t sequence, int64_t at_ms,
                                                bool want_bitmap, struct filtering *out, struct velta_error *error);
void filtering_release(struct filtering *filtering);

#endif
