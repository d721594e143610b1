/*
 * Columns: making them, their slabs, and reading a value. See core/column.h.
 * Writing is in column_write.c, checking batches in column_check.c, byte images in column_image.c.
 */
#include "core/column.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/column_slab.h"
#include "core/error.h"
#include "core/utf8.h"

static enum velta_status check_vector_spec(const struct velta_column *spec, struct velta_error *error) {
    if (spec->dimensions == 0 || spec->dimensions > VELTA_MAX_DIMENSIONS) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "column %s: a vector has 1 to %d dimensions, not %u",
                          spec->name, VELTA_MAX_DIMENSIONS, spec->dimensions);
    }
    if ((unsigned)spec->element > VELTA_CODES || (unsigned)spec->metric > VELTA_DOT) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column %s: unknown element type or metric",
                          spec->name);
    }
    if (spec->m != 0 && (spec->m < 4 || spec->m > 64)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column %s: m is 4 to 64, not %u", spec->name,
                          spec->m);
    }
    if (spec->element == VELTA_CODES && spec->no_index) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "column %s: codes are kept by the index, so it cannot do without one", spec->name);
    }
    return VELTA_OK;
}

static enum velta_status check_spec(const struct velta_column *spec, struct velta_error *error) {
    size_t name_bytes = spec->name ? strlen(spec->name) : 0;
    if (name_bytes == 0 || name_bytes > VELTA_MAX_NAME_BYTES || !utf8_is_valid(spec->name, name_bytes)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a column's name is 1 to %d bytes of UTF-8",
                          VELTA_MAX_NAME_BYTES);
    }
    if (spec->type < VELTA_INT || spec->type > VELTA_VECTOR) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column %s: unknown type %d", spec->name,
                          (int)spec->type);
    }
    if (spec->primary_key && spec->type != VELTA_INT && spec->type != VELTA_STRING) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column %s: a primary key is int or string",
                          spec->name);
    }
    if (spec->type == VELTA_VECTOR) {
        return check_vector_spec(spec, error);
    }
    if (spec->dimensions || spec->element || spec->metric || spec->no_index || spec->m || spec->ef_construction ||
        spec->seed) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column %s: only vectors have dimensions and an index",
                          spec->name);
    }
    return VELTA_OK;
}

/* Rows per slab and bytes per row of a vector column. */
static void size_vectors(struct column *column) {
    const struct velta_column *spec = &column->spec;
    size_t element_bytes = spec->element == VELTA_F16 ? sizeof(uint16_t) : sizeof(float);
    column->row_stride = (uint32_t)bytes_align_up(spec->dimensions * element_bytes, MEMORY_ALIGNMENT);
    column->shift = 6;
    while (column->shift < CORE_SLAB_SHIFT && (column->row_stride << (column->shift + 1)) <= COLUMN_VECTOR_SLAB_BYTES) {
        column->shift++;
    }
}

enum velta_status column_create(struct memory *memory, const struct velta_column *spec, uint32_t row_count,
                                struct column **out, struct velta_error *error) {
    enum velta_status status = check_spec(spec, error);
    struct column *column;
    size_t name_bytes;
    char *name;
    if (status != VELTA_OK) {
        return status;
    }
    column = memory_allocate_zero(memory, sizeof *column);
    if (!column) {
        return memory_fail(memory, error);
    }
    column->memory = memory;
    column->spec = *spec;
    column->spec.required |= spec->primary_key;
    column->spec.name = NULL;
    column->shift = CORE_SLAB_SHIFT;
    column->added_at_row = row_count;
    column->simd = simd_available(0); /* until the database says which */
    if (column_has_rows(column)) {
        size_vectors(column);
    }
    name_bytes = strlen(spec->name) + 1;
    name = memory_allocate(memory, name_bytes);
    status = name ? VELTA_OK : memory_fail(memory, error);
    if (name) {
        column->spec.name = memcpy(name, spec->name, name_bytes);
    }
    if (status == VELTA_OK && (spec->type == VELTA_STRING || spec->type == VELTA_BYTES)) {
        status = dictionary_create(memory, spec->type == VELTA_STRING, &column->dictionary, error);
    }
    for (size_t slab = 0; status == VELTA_OK && slab < column_slabs_of(column, row_count); slab++) {
        status = column_slab_reserve(column, slab, column_slab_rows(column, slab, row_count), 1,
                                     spec->type != VELTA_VECTOR, true, error);
        if (status == VELTA_OK) {
            memset(column->slabs[slab].valid, 0, column_validity_words(column) * sizeof(uint64_t));
            column->slabs[slab].dirty = true;
        }
    }
    if (status != VELTA_OK) {
        column_destroy(column);
        return status;
    }
    *out = column;
    return VELTA_OK;
}

void column_destroy(struct column *column) {
    struct memory *memory;
    if (!column) {
        return;
    }
    memory = column->memory;
    for (size_t i = 0; i < column->slab_count; i++) {
        struct column_slab *slab = &column->slabs[i];
        slab_release(memory, slab->values, column_slab_bytes(column, slab->capacity_rows, slab->width));
        memory_release(memory, slab->valid, column_validity_words(column) * sizeof(uint64_t));
    }
    memory_release(memory, column->slabs, column->slab_capacity * sizeof *column->slabs);
    memory_release(memory, column->pending_codes, column->pending_capacity * sizeof *column->pending_codes);
    dictionary_destroy(column->dictionary);
    if (column->spec.name) {
        memory_release(memory, (void *)(uintptr_t)column->spec.name, strlen(column->spec.name) + 1);
    }
    memory_release(memory, column, sizeof *column);
}

/* ---- slabs */

size_t column_value_bytes(const struct column *column, uint32_t rows, uint8_t width) {
    if (column->spec.type == VELTA_BOOL) {
        return bitmap_words(rows) * sizeof(uint64_t);
    }
    if (column->spec.type == VELTA_VECTOR) {
        return column_has_rows(column) ? (size_t)rows * column->row_stride : 0;
    }
    return (size_t)rows * width;
}

size_t column_slab_bytes(const struct column *column, uint32_t rows, uint8_t width) {
    return (size_t)bytes_align_up(column_value_bytes(column, rows, width), SLAB_MIN_BYTES);
}

size_t column_validity_words(const struct column *column) {
    return column_rows_per_slab(column) / 64;
}

/* Copies integers from one width to a wider one. */
static void widen(const struct column_slab *from, void *to, uint8_t to_width) {
    for (uint32_t i = 0; i < from->capacity_rows; i++) {
        int64_t value = column_slab_integer(from, i);
        switch (to_width) {
        case 2:
            ((int16_t *)to)[i] = (int16_t)value;
            break;
        case 4:
            ((int32_t *)to)[i] = (int32_t)value;
            break;
        default:
            ((int64_t *)to)[i] = value;
            break;
        }
    }
}

/* The least power of two of rows that holds `rows` and, in the first slab, fills the smallest allocation. */
static uint32_t capacity_for(const struct column *column, size_t slab, uint32_t rows, uint8_t width) {
    uint32_t full = column_rows_per_slab(column);
    uint32_t capacity = 1;
    if (slab > 0) {
        return full;
    }
    while (capacity < full && (capacity < rows || column_value_bytes(column, capacity * 2, width) <= SLAB_MIN_BYTES)) {
        capacity *= 2;
    }
    return capacity;
}

static enum velta_status reserve_values(struct column *column, size_t index, uint32_t rows, uint8_t width,
                                        struct velta_error *error) {
    struct column_slab *slab = &column->slabs[index];
    size_t old_bytes = column_value_bytes(column, slab->capacity_rows, slab->width);
    uint32_t capacity = slab->capacity_rows;
    size_t new_bytes;
    void *values;
    if (column->spec.type == VELTA_FLOAT) {
        width = sizeof(double);
    } else if (!column_is_integer(column)) {
        width = 0;
    } else if (width < slab->width) {
        width = slab->width;
    }
    if (slab->values && rows <= capacity && width == slab->width) {
        return VELTA_OK;
    }
    if (rows > capacity) {
        capacity = capacity_for(column, index, rows, width);
    }
    new_bytes = column_slab_bytes(column, capacity, width);
    values = slab_allocate(column->memory, new_bytes);
    if (!values) {
        return memory_fail(column->memory, error);
    }
    memset(values, 0, new_bytes);
    if (slab->values && width == slab->width) {
        memcpy(values, slab->values, old_bytes);
    } else if (slab->values) {
        widen(slab, values, width);
    }
    slab_release(column->memory, slab->values, column_slab_bytes(column, slab->capacity_rows, slab->width));
    slab->values = values;
    slab->capacity_rows = capacity;
    slab->width = width;
    return VELTA_OK;
}

enum velta_status column_slab_reserve(struct column *column, size_t index, uint32_t rows, uint8_t width, bool values,
                                      bool validity, struct velta_error *error) {
    enum velta_status status;
    if (index >= column->slab_count) {
        void *slabs = column->slabs;
        status =
            memory_grow_array(column->memory, &slabs, &column->slab_capacity, index + 1, sizeof *column->slabs, error);
        if (status != VELTA_OK) {
            return status;
        }
        column->slabs = slabs;
        memset(column->slabs + column->slab_count, 0, (index + 1 - column->slab_count) * sizeof *column->slabs);
        column->slab_count = index + 1;
    }
    if (values && !column_is_codes_only(column)) {
        status = reserve_values(column, index, rows, width, error);
        if (status != VELTA_OK) {
            return status;
        }
    }
    if (validity && !column->slabs[index].valid) {
        size_t valid_bytes = column_validity_words(column) * sizeof(uint64_t);
        uint64_t *valid = memory_allocate(column->memory, valid_bytes);
        if (!valid) {
            return memory_fail(column->memory, error);
        }
        column->slabs[index].valid = memset(valid, 0xFF, valid_bytes);
    }
    return VELTA_OK;
}

/* ---- reading */

bool column_is_null(const struct column *column, uint32_t row) {
    const uint64_t *valid = column->slabs[column_slab_index(column, row)].valid;
    return valid && !bitmap_get(valid, column_slab_row(column, row));
}

int64_t column_integer(const struct column *column, uint32_t row) {
    const struct column_slab *slab = &column->slabs[column_slab_index(column, row)];
    if (column->spec.type == VELTA_BOOL) {
        return bitmap_get(slab->values, column_slab_row(column, row));
    }
    return column_slab_integer(slab, column_slab_row(column, row));
}

double column_float(const struct column *column, uint32_t row) {
    const double *values = column->slabs[column_slab_index(column, row)].values;
    return values[column_slab_row(column, row)];
}

const void *column_text(const struct column *column, uint32_t row, size_t *size_bytes) {
    return dictionary_get(column->dictionary, (uint32_t)column_integer(column, row), size_bytes);
}

bool column_get_scalar(const struct column *column, uint32_t row, struct column_scalar *out) {
    if (column_is_null(column, row)) {
        return false;
    }
    if (column->dictionary) {
        out->text = column_text(column, row, &out->text_bytes);
    } else if (column->spec.type == VELTA_FLOAT) {
        out->number = column_float(column, row);
    } else {
        out->integer = column_integer(column, row);
    }
    return true;
}

struct vector_view column_vectors(const struct column *column) {
    struct vector_view view = {column->slabs, column->shift, column->row_stride, column->spec.dimensions,
                               column->spec.element};
    assert(column_has_rows(column));
    return view;
}

void column_get_vector(const struct column *column, uint32_t row, float *out) {
    const struct column_slab *slab = &column->slabs[column_slab_index(column, row)];
    const char *values = slab->values;
    assert(column_has_rows(column));
    if (column_is_null(column, row)) {
        memset(out, 0, column->spec.dimensions * sizeof *out);
        return;
    }
    values += (size_t)column_slab_row(column, row) * column->row_stride;
    if (column->spec.element == VELTA_F16) {
        column->simd->f16_to_f32((const uint16_t *)(const void *)values, out, column->spec.dimensions);
    } else {
        memcpy(out, values, column->spec.dimensions * sizeof *out);
    }
}

void *column_vector_for_write(struct column *column, uint32_t row) {
    struct column_slab *slab = &column->slabs[column_slab_index(column, row)];
    assert(column_has_rows(column) && slab->values);
    slab->dirty = true;
    return (char *)slab->values + (size_t)column_slab_row(column, row) * column->row_stride;
}

uint64_t column_memory_bytes(const struct column *column) {
    uint64_t total_bytes = sizeof *column + strlen(column->spec.name) + 1 +
                           (uint64_t)column->slab_capacity * sizeof *column->slabs +
                           (uint64_t)column->pending_capacity * sizeof *column->pending_codes;
    for (size_t i = 0; i < column->slab_count; i++) {
        const struct column_slab *slab = &column->slabs[i];
        total_bytes += slab->values ? column_slab_bytes(column, slab->capacity_rows, slab->width) : 0;
        total_bytes += slab->valid ? column_validity_words(column) * sizeof(uint64_t) : 0;
    }
    return total_bytes + (column->dictionary ? dictionary_memory_bytes(column->dictionary) : 0);
}
