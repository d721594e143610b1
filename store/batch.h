/* Column-wise values of a batch: their size, parts of them, chosen ones of them. */
#ifndef VELTA_STORE_BATCH_H
#define VELTA_STORE_BATCH_H

#include "core/column.h"

/* Bytes of values first .. first + count, offsets and validity not counted. */
uint64_t batch_bytes(const struct velta_column *spec, const struct column_values *values, size_t first, size_t count);
/* Values first .. first + count; only validity bits that must be shifted are copied (into the arena). */
VELTA_MUST_USE enum velta_status batch_slice(struct arena *arena, const struct velta_column *spec,
                                             const struct column_values *values, size_t first, size_t count,
                                             struct column_values *out, struct velta_error *error);
/* Values chosen[0..count) in this order, copied into the arena. */
VELTA_MUST_USE enum velta_status batch_gather(struct arena *arena, const struct velta_column *spec,
                                              const struct column_values *values, const uint32_t *chosen, size_t count,
                                              struct column_values *out, struct velta_error *error);
/* arena_allocate of count x size bytes (at least one byte), with the error filled in. NULL: refused. */
VELTA_MUST_USE void *batch_allocate(struct arena *arena, size_t count, size_t element_bytes, struct velta_error *error);

#endif
