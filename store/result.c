/*
 * Results: rows with distances and column-wise values, all copied, in one arena.
 *
 * Everything is copied out of the tables so that a result stays right whatever is written afterwards. Present values
 * are read from the columns; past ones (a sequence other than HISTORY_NOW) through the history, value by value.
 */
#include "store/result.h"

#include <math.h>
#include <string.h>

enum velta_status result_create(struct velta *db, size_t slot_count, size_t column_count, struct velta_result **out,
                                struct velta_error *error) {
    struct velta_result *result = memory_allocate_zero(db->memory, sizeof *result);
    if (!result) {
        return memory_fail(db->memory, error);
    }
    result->db = db;
    result->arena.memory = db->memory;
    result->slot_count = slot_count;
    result->rows = result_allocate(result, slot_count, sizeof *result->rows);
    result->columns = result_allocate(result, column_count, sizeof *result->columns);
    if (!result->rows || !result->columns) {
        return result_refused(result, error);
    }
    for (size_t i = 0; i < slot_count; i++) {
        result->rows[i] = VELTA_NO_ROW;
    }
    *out = result;
    return VELTA_OK;
}

void *result_allocate(struct velta_result *result, size_t count, size_t element_bytes) {
    if (count > (SIZE_MAX - 64) / element_bytes) {
        count = (SIZE_MAX - 64) / element_bytes; /* refused by the budget, and reported as such */
    }
    return arena_allocate(&result->arena, count > 0 ? count * element_bytes : element_bytes);
}

enum velta_status result_refused(struct velta_result *result, struct velta_error *error) {
    enum velta_status status = memory_fail(result->db->memory, error);
    velta_result_free(result);
    return status;
}

void velta_result_free(velta_result *result) {
    if (result) {
        struct memory *memory = result->db->memory;
        arena_reset(&result->arena);
        memory_release(memory, result, sizeof *result);
    }
}

static size_t value_bytes(enum velta_type type, uint32_t dimensions) {
    switch (type) {
    case VELTA_BOOL:
        return 1;
    case VELTA_VECTOR:
        return dimensions * sizeof(float);
    case VELTA_STRING:
    case VELTA_BYTES:
        return 0;
    default:
        return 8;
    }
}

struct result_column *result_add_column(struct velta_result *result, const char *name, enum velta_type type,
                                        uint32_t dimensions) {
    struct result_column *column = &result->columns[result->column_count];
    size_t slots = result->slot_count;
    size_t name_bytes = strlen(name) + 1;
    char *copy = result_allocate(result, name_bytes, 1);
    uint64_t *valid = result_allocate(result, bitmap_words(slots), sizeof *valid);
    if (!copy || !valid) {
        return NULL;
    }
    memcpy(copy, name, name_bytes);
    memset(valid, 0, bitmap_words(slots) * sizeof *valid);
    *column = (struct result_column){.name = copy, .type = type, .valid = valid, .dimensions = dimensions};
    if (type == VELTA_STRING || type == VELTA_BYTES) {
        column->offsets = result_allocate(result, slots + 1, sizeof *column->offsets);
        if (!column->offsets) {
            return NULL;
        }
        memset(column->offsets, 0, (slots + 1) * sizeof *column->offsets);
    } else {
        size_t element = value_bytes(type, dimensions);
        column->data = result_allocate(result, slots, element);
        if (!column->data) {
            return NULL;
        }
        memset(column->data, 0, slots * element);
    }
    result->column_count++;
    return column;
}

enum velta_status result_columns(const struct velta_table *handle, const char *const *names, size_t name_count,
                                 size_t *indices, size_t *count, struct velta_error *error) {
    const struct table *table = database_rows(handle);
    *count = 0;
    if (!names) {
        for (size_t i = 0; i < table->column_count; i++) {
            if (table->columns[i]->spec.type != VELTA_VECTOR) {
                indices[(*count)++] = i;
            }
        }
        return VELTA_OK;
    }
    if (name_count > VELTA_MAX_COLUMNS) {
        return velta_fail(error, VELTA_LIMIT, name_count, "at most %d columns can be asked for", VELTA_MAX_COLUMNS);
    }
    for (size_t i = 0; i < name_count; i++) {
        size_t found = names[i] ? table_find_column(table, names[i], strlen(names[i])) : TABLE_NO_COLUMN;
        if (found == TABLE_NO_COLUMN) {
            return velta_fail(error, VELTA_UNKNOWN_COLUMN, i, "table '%.60s' has no column '%.100s'", table->name,
                              names[i] ? names[i] : "");
        }
        indices[(*count)++] = found;
    }
    return VELTA_OK;
}

/* One scalar value of a row, now or then. False: NULL. */
static bool scalar_value(const struct velta_table *handle, size_t index, uint32_t row, uint64_t sequence,
                         struct column_scalar *value) {
    const struct snapshot_table *owner = database_table(handle);
    if (sequence != HISTORY_NOW) {
        return history_scalar(owner->history, owner->table, (uint32_t)index, row, sequence, value);
    }
    return column_get_scalar(owner->table->columns[index], row, value);
}

static void fill_fixed(struct velta_result *result, struct result_column *out, const struct velta_table *handle,
                       size_t index, uint64_t sequence) {
    for (size_t i = 0; i < result->slot_count; i++) {
        struct column_scalar value = {0};
        if (result->rows[i] == VELTA_NO_ROW || !scalar_value(handle, index, result->rows[i], sequence, &value)) {
            continue;
        }
        bitmap_set(out->valid, i);
        if (out->type == VELTA_FLOAT) {
            ((double *)out->data)[i] = value.number;
        } else if (out->type == VELTA_BOOL) {
            ((uint8_t *)out->data)[i] = value.integer != 0;
        } else {
            ((int64_t *)out->data)[i] = value.integer;
        }
    }
}

static bool fill_text(struct velta_result *result, struct result_column *out, const struct velta_table *handle,
                      size_t index, uint64_t sequence) {
    uint64_t total = 0;
    for (size_t i = 0; i < result->slot_count; i++) {
        struct column_scalar value = {0};
        if (result->rows[i] != VELTA_NO_ROW && scalar_value(handle, index, result->rows[i], sequence, &value)) {
            bitmap_set(out->valid, i);
            total += value.text_bytes;
        }
        out->offsets[i + 1] = total;
    }
    if (total > SIZE_MAX) {
        total = SIZE_MAX;
    }
    out->data = result_allocate(result, (size_t)total, 1);
    if (!out->data) {
        return false;
    }
    for (size_t i = 0; i < result->slot_count; i++) {
        if (bitmap_get(out->valid, i)) {
            struct column_scalar value = {0};
            (void)scalar_value(handle, index, result->rows[i], sequence, &value);
            if (value.text_bytes > 0) {
                memcpy((char *)out->data + out->offsets[i], value.text, value.text_bytes);
            }
        }
    }
    return true;
}

static void fill_vectors(struct velta_result *result, struct result_column *out, const struct velta_table *handle,
                         size_t index, uint64_t sequence) {
    for (size_t i = 0; i < result->slot_count; i++) {
        float *to = (float *)out->data + i * out->dimensions;
        if (result->rows[i] != VELTA_NO_ROW && read_vector(handle, (uint32_t)index, result->rows[i], sequence, to)) {
            bitmap_set(out->valid, i);
        }
    }
}

enum velta_status result_fill(struct velta_result *result, const struct velta_table *handle, const size_t *indices,
                              size_t count, uint64_t sequence) {
    const struct table *table = database_rows(handle);
    for (size_t i = 0; i < count; i++) {
        const struct velta_column *spec = &table->columns[indices[i]]->spec;
        struct result_column *out = result_add_column(result, spec->name, spec->type, spec->dimensions);
        if (!out) {
            return memory_refusal(result->db->memory);
        }
        if (spec->type == VELTA_VECTOR) {
            fill_vectors(result, out, handle, indices[i], sequence);
        } else if (spec->type == VELTA_STRING || spec->type == VELTA_BYTES) {
            if (!fill_text(result, out, handle, indices[i], sequence)) {
                return memory_refusal(result->db->memory);
            }
        } else {
            fill_fixed(result, out, handle, indices[i], sequence);
        }
    }
    return VELTA_OK;
}

size_t velta_result_count(const velta_result *result) {
    return result->slot_count;
}
uint32_t velta_result_k(const velta_result *result) {
    return result->k;
}
const uint32_t *velta_result_rows(const velta_result *result) {
    return result->rows;
}
const float *velta_result_distances(const velta_result *result) {
    return result->distances;
}
size_t velta_result_column_count(const velta_result *result) {
    return result->column_count;
}

const struct velta_explain *velta_result_explain(const velta_result *result, size_t query) {
    return query < result->explain_count ? &result->explains[query] : NULL;
}

const struct velta_chain_item *velta_result_chain(const velta_result *result, size_t *count) {
    *count = result->chain_count;
    return result->chain;
}

enum velta_status velta_result_column(const velta_result *result, size_t index, struct velta_values *values,
                                      enum velta_type *type) {
    if (index >= result->column_count) {
        return VELTA_NOT_FOUND;
    }
    const struct result_column *column = &result->columns[index];
    *values = (struct velta_values){
        .column = column->name,
        .data = column->data,
        .offsets = column->offsets,
        .valid = column->valid,
        .element = VELTA_F32,
    };
    if (type) {
        *type = column->type;
    }
    return VELTA_OK;
}
