/*
 * What salvage needs of columns: a slab whose image is lost becomes NULL, and so does a value that cannot be known.
 *
 * NULL takes the place of a required value, too: the caller drops such rows before anybody reads them.
 */
#ifndef VELTA_CORE_COLUMN_SALVAGE_H
#define VELTA_CORE_COLUMN_SALVAGE_H

#include "core/column.h"

/* Whatever the slab holds is replaced by NULL in all of its rows; also what a refused image left of it. */
VELTA_MUST_USE enum velta_status column_slab_forget(struct column *column, size_t slab, uint32_t row_count,
                                                    struct velta_error *error);
/* The value of one row, whose slab is there, becomes NULL. A primary key must not be in its index. */
VELTA_MUST_USE enum velta_status column_forget(struct column *column, uint32_t row, struct velta_error *error);

#endif
