/* Values that are lost. See core/column_salvage.h. */
#include "core/column_salvage.h"

#include <string.h>

#include "core/column_slab.h"

enum velta_status column_slab_forget(struct column *column, size_t index, uint32_t row_count,
                                     struct velta_error *error) {
    if (index < column->slab_count) {
        struct column_slab *slab = &column->slabs[index];
        slab_release(column->memory, slab->values, column_slab_bytes(column, slab->capacity_rows, slab->width));
        memory_release(column->memory, slab->valid, column_validity_words(column) * sizeof(uint64_t));
        *slab = (struct column_slab){0};
    }
    enum velta_status status = column_slab_reserve(column, index, column_slab_rows(column, index, row_count), 1,
                                                   column->spec.type != VELTA_VECTOR, true, error);
    if (status == VELTA_OK) {
        memset(column->slabs[index].valid, 0, column_validity_words(column) * sizeof(uint64_t));
        column->slabs[index].dirty = true;
    }
    return status;
}

enum velta_status column_forget(struct column *column, uint32_t row, struct velta_error *error) {
    size_t index = column_slab_index(column, row);
    uint32_t at = column_slab_row(column, row);
    enum velta_status status = column_slab_reserve(column, index, at + 1, 1, false, true, error);
    if (status != VELTA_OK) {
        return status;
    }
    struct column_slab *slab = &column->slabs[index];
    bitmap_clear(slab->valid, at);
    slab->dirty = true;
    if (!slab->values) {
        return VELTA_OK;
    }
    if (column->spec.type == VELTA_BOOL) {
        bitmap_clear(slab->values, at);
    } else {
        size_t size_bytes = column->spec.type == VELTA_VECTOR ? column->row_stride : slab->width;
        memset((char *)slab->values + at * size_bytes, 0, size_bytes);
    }
    return VELTA_OK;
}
