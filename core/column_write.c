/*
 * Writing into columns: reservations, then writes that cannot fail. See core/column.h.
 *
 * A reservation interns the batch's strings (their codes wait in a queue), finds per slab the width that the values
 * need and whether a NULL is among them, and makes the slab so. Padding of vector rows is zero from allocation and is
 * never written.
 */
#include <assert.h>
#include <string.h>

#include "core/column.h"
#include "core/column_slab.h"

enum { PENDING_KEPT = 16384 }; /* an emptied queue is released when it is longer */

/* ---- reservations */

static const uint32_t *latest_codes(const struct column *column) {
    return column->pending_codes + column->pending_first + column->last_pending_count;
}

/* Room in the queue for `count` codes after those that wait; notes where the reservation begins. */
static enum velta_status begin_reserve(struct column *column, size_t count, struct velta_error *error) {
    void *codes = column->pending_codes;
    size_t needed;
    enum velta_status status;
    column->last_pending_count = column->pending_count;
    if (!column->dictionary) {
        return VELTA_OK;
    }
    column->last_dictionary_count = dictionary_count(column->dictionary);
    assert(count <= SIZE_MAX - column->pending_first - column->pending_count); /* as many codes are in memory */
    needed = column->pending_first + column->pending_count + count;
    status = memory_grow_array(column->memory, &codes, &column->pending_capacity, needed, sizeof *column->pending_codes,
                               error);
    column->pending_codes = codes;
    return status;
}

/* Queues one code per value; DICTIONARY_NO_CODE stands for NULL. */
static enum velta_status intern(struct column *column, const struct column_values *values, size_t count,
                                struct velta_error *error) {
    enum velta_status status = begin_reserve(column, count, error);
    if (status != VELTA_OK || !column->dictionary) {
        return status;
    }
    for (size_t i = 0; status == VELTA_OK && i < count; i++) {
        uint32_t *code = &column->pending_codes[column->pending_first + column->pending_count + i];
        if (column_value_is_null(values, i)) {
            *code = DICTIONARY_NO_CODE;
        } else {
            uint64_t size_bytes = values->offsets[i + 1] - values->offsets[i];
            const char *text = size_bytes ? (const char *)values->data + values->offsets[i] : "";
            status = dictionary_add(column->dictionary, text, (size_t)size_bytes, code, error);
        }
    }
    if (status != VELTA_OK) {
        dictionary_truncate(column->dictionary, column->last_dictionary_count);
        return status;
    }
    column->pending_count += count;
    return VELTA_OK;
}

void column_undo_reserve(struct column *column) {
    column->pending_count = column->last_pending_count;
    if (column->dictionary) {
        dictionary_truncate(column->dictionary, column->last_dictionary_count);
    }
}

void column_abandon(struct column *column) {
    column->pending_first = 0;
    column->pending_count = 0;
    column->last_pending_count = 0;
    if (column->dictionary) {
        dictionary_truncate(column->dictionary, column->written_dictionary_count);
        column->last_dictionary_count = column->written_dictionary_count;
    }
}

/* What a stretch of a batch asks of its slab. */
struct needs {
    int64_t min;
    int64_t max;
    bool any_null;
    bool any_value;
};

static void include_integer(struct needs *needs, int64_t value) {
    needs->min = value < needs->min ? value : needs->min;
    needs->max = value > needs->max ? value : needs->max;
}

static struct needs find_needs(const struct column *column, const struct column_values *values, size_t first,
                               size_t count) {
    struct needs needs = {0, 0, false, false};
    const int64_t *integers = column->dictionary || !column_is_integer(column) ? NULL : values->data;
    const uint32_t *codes = column->dictionary ? latest_codes(column) : NULL;
    if (!values->valid && !column_all_null(values)) { /* the plain loops are vectorised */
        needs.any_value = true;
        for (size_t i = first; integers && i < first + count; i++) {
            include_integer(&needs, integers[i]);
        }
        for (size_t i = first; codes && i < first + count; i++) {
            needs.max = codes[i] > needs.max ? codes[i] : needs.max;
        }
        return needs;
    }
    for (size_t i = first; i < first + count; i++) {
        if (column_value_is_null(values, i)) {
            needs.any_null = true;
            continue;
        }
        needs.any_value = true;
        if (integers) {
            include_integer(&needs, integers[i]);
        } else if (codes) {
            include_integer(&needs, codes[i]);
        }
    }
    return needs;
}

static enum velta_status reserve_slab(struct column *column, size_t slab, uint32_t rows, const struct needs *needs,
                                      struct velta_error *error) {
    bool wants_values = column->spec.type != VELTA_VECTOR || needs->any_value;
    return column_slab_reserve(column, slab, rows, column_width_of(needs->min, needs->max), wants_values,
                               needs->any_null, error);
}

/* How many of the `count` rows from first_row + done lie in the same slab. */
static size_t stretch(const struct column *column, uint32_t row, size_t rest) {
    size_t room = column_rows_per_slab(column) - column_slab_row(column, row);
    return rest < room ? rest : room;
}

static enum velta_status reserve_slabs(struct column *column, const struct column_values *values, uint32_t first_row,
                                       size_t count, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    size_t done = 0;
    while (status == VELTA_OK && done < count) {
        uint32_t row = first_row + (uint32_t)done;
        size_t part = stretch(column, row, count - done);
        struct needs needs = find_needs(column, values, done, part);
        status = reserve_slab(column, column_slab_index(column, row), column_slab_row(column, row) + (uint32_t)part,
                              &needs, error);
        done += part;
    }
    if (status != VELTA_OK) {
        column_undo_reserve(column);
    }
    return status;
}

enum velta_status column_reserve_append(struct column *column, const struct column_values *values, uint32_t first_row,
                                        size_t count, struct velta_error *error) {
    enum velta_status status = intern(column, values, count, error);
    return status == VELTA_OK ? reserve_slabs(column, values, first_row, count, error) : status;
}

enum velta_status column_reserve_codes(struct column *column, const struct column_values *values, const uint32_t *codes,
                                       uint32_t first_row, size_t count, struct velta_error *error) {
    enum velta_status status = begin_reserve(column, count, error);
    if (status != VELTA_OK) {
        return status;
    }
    if (count > 0) { /* of nothing, the queue may have no memory yet */
        memcpy(column->pending_codes + column->pending_first + column->pending_count, codes, count * sizeof *codes);
    }
    column->pending_count += count;
    return reserve_slabs(column, values, first_row, count, error);
}

enum velta_status column_reserve_set(struct column *column, const struct column_values *values, const uint32_t *rows,
                                     size_t count, struct velta_error *error) {
    enum velta_status status = intern(column, values, count, error);
    if (status != VELTA_OK) {
        return status;
    }
    for (size_t i = 0; status == VELTA_OK && i < count; i++) {
        struct needs needs = find_needs(column, values, i, 1);
        status = reserve_slab(column, column_slab_index(column, rows[i]), column_slab_row(column, rows[i]) + 1, &needs,
                              error);
    }
    if (status != VELTA_OK) {
        column_undo_reserve(column);
    }
    return status;
}

/* ---- writes */

/* The codes of the oldest reservation, NULL when it has none; they leave the queue with finish_codes. */
static const uint32_t *begin_codes(struct column *column, size_t count) {
    if (!column->dictionary || count == 0) {
        return NULL;
    }
    const uint32_t *codes = column->pending_codes + column->pending_first;
    assert(count <= column->pending_count);
    for (size_t i = 0; i < count; i++) {
        uint32_t used = codes[i] + 1; /* 0 for NULL */
        if (used > column->written_dictionary_count) {
            column->written_dictionary_count = used;
        }
    }
    return codes;
}

static void finish_codes(struct column *column, size_t count) {
    if (!column->dictionary) {
        return;
    }
    column->pending_first += count;
    column->pending_count -= count;
    if (column->pending_count == 0) {
        column->pending_first = 0;
        if (column->pending_capacity > PENDING_KEPT) {
            memory_release(column->memory, column->pending_codes,
                           column->pending_capacity * sizeof *column->pending_codes);
            column->pending_codes = NULL;
            column->pending_capacity = 0;
        }
    }
    column->last_pending_count = column->pending_count;
    column->last_dictionary_count = dictionary_count(column->dictionary);
}

#define STORE_EACH(type)                                                                                               \
    for (size_t i = 0; i < count; i++) {                                                                               \
        ((type *)slab->values)[at + i] = (type)from[i];                                                                \
    }

static void store_integers(struct column_slab *slab, uint32_t at, const int64_t *from, size_t count) {
    switch (slab->width) {
    case 1:
        STORE_EACH(int8_t)
        break;
    case 2:
        STORE_EACH(int16_t)
        break;
    case 4:
        STORE_EACH(int32_t)
        break;
    default:
        STORE_EACH(int64_t)
        break;
    }
}

static void store_codes(struct column_slab *slab, uint32_t at, const uint32_t *from, size_t count) {
    switch (slab->width) {
    case 1:
        STORE_EACH(int8_t)
        break;
    case 2:
        STORE_EACH(int16_t)
        break;
    default:
        assert(slab->width == 4); /* DICTIONARY_MAX_ENTRIES */
        STORE_EACH(int32_t)
        break;
    }
}

static void store_bits(uint64_t *bits, uint32_t at, const uint8_t *from, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t *word = &bits[(at + i) / 64];
        unsigned bit = (unsigned)((at + i) % 64);
        *word = (*word & ~(UINT64_C(1) << bit)) | (uint64_t)(from[i] & 1) << bit;
    }
}

static void store_vector(const struct column *column, void *to, const struct column_values *values, size_t i) {
    size_t dimensions = column->spec.dimensions;
    if (values->element == VELTA_F16) {
        const uint16_t *from = (const uint16_t *)values->data + i * dimensions;
        if (column->spec.element == VELTA_F16) {
            memcpy(to, from, dimensions * sizeof *from);
        } else {
            column->simd->f16_to_f32(from, to, dimensions);
        }
    } else {
        const float *from = (const float *)values->data + i * dimensions;
        if (column->spec.element == VELTA_F16) {
            column->simd->f32_to_f16(from, to, dimensions);
        } else {
            memcpy(to, from, dimensions * sizeof *from);
        }
    }
}

static void store_null(const struct column *column, struct column_slab *slab, uint32_t at) {
    if (slab->values && at < slab->capacity_rows) {
        switch (column->spec.type) {
        case VELTA_BOOL:
            bitmap_clear(slab->values, at);
            break;
        case VELTA_VECTOR:
            memset((char *)slab->values + (size_t)at * column->row_stride, 0, column->row_stride);
            break;
        default:
            memset((char *)slab->values + (size_t)at * slab->width, 0, slab->width);
            break;
        }
    }
    bitmap_clear(slab->valid, at);
}

/* Values first..first + count of the batch into rows at.. of the slab. codes: of the whole batch. */
static void store(struct column *column, struct column_slab *slab, uint32_t at, const struct column_values *values,
                  const uint32_t *codes, size_t first, size_t count) {
    bool has_values = !column_all_null(values) && (values->data || codes);
    bool may_have_null = values->valid || column_all_null(values);
    slab->dirty = true;
    if (has_values && codes) {
        store_codes(slab, at, codes + first, count);
    } else if (has_values && column->spec.type == VELTA_FLOAT) {
        memcpy((double *)slab->values + at, (const double *)values->data + first, count * sizeof(double));
    } else if (has_values && column->spec.type == VELTA_BOOL) {
        store_bits(slab->values, at, (const uint8_t *)values->data + first, count);
    } else if (has_values && column_is_integer(column)) {
        store_integers(slab, at, (const int64_t *)values->data + first, count);
    } else if (has_values && column_has_rows(column)) {
        for (size_t i = 0; i < count; i++) {
            if (!column_value_is_null(values, first + i)) {
                store_vector(column, (char *)slab->values + (at + i) * column->row_stride, values, first + i);
            }
        }
    }
    if (slab->valid) {
        bitmap_set_range(slab->valid, at, count);
    }
    for (size_t i = 0; may_have_null && i < count; i++) {
        if (column_value_is_null(values, first + i)) {
            store_null(column, slab, at + (uint32_t)i);
        }
    }
}

void column_append(struct column *column, const struct column_values *values, uint32_t first_row, size_t count) {
    const uint32_t *codes = begin_codes(column, count);
    size_t done = 0;
    while (done < count) {
        uint32_t row = first_row + (uint32_t)done;
        size_t part = stretch(column, row, count - done);
        store(column, &column->slabs[column_slab_index(column, row)], column_slab_row(column, row), values, codes, done,
              part);
        done += part;
    }
    finish_codes(column, count);
}

void column_set(struct column *column, const struct column_values *values, const uint32_t *rows, size_t count) {
    const uint32_t *codes = begin_codes(column, count);
    for (size_t i = 0; i < count; i++) {
        store(column, &column->slabs[column_slab_index(column, rows[i])], column_slab_row(column, rows[i]), values,
              codes, i, 1);
    }
    finish_codes(column, count);
}
