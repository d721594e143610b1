/*
 * Vacuum: a new table of the live rows (and of dead ones that are asked for). See core/table.h.
 *
 * Columns are copied one after the other in batches of rows, through the same reservation and append as any write, so
 * slabs get the narrowest width that holds them. Dictionary codes are translated by a map from old to new that is
 * filled at the first live use of each entry: unused entries stay behind, and text is hashed once per entry, not row.
 */
#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/column_slab.h"
#include "core/error.h"
#include "core/table.h"

enum { BATCH_ROWS = 1024, BATCH_BYTES = 1 << 20 };

struct copier {
    const struct column *from;
    struct column *to;
    const uint32_t *rows; /* old numbers of the rows that stay, ascending */
    uint32_t *code_map;
    void *values; /* a batch, as column_values wants it */
    uint64_t valid[BATCH_ROWS / 64];
};

static size_t value_bytes(const struct column *column) {
    switch (column->spec.type) {
    case VELTA_BOOL:
        return sizeof(uint8_t);
    case VELTA_STRING:
    case VELTA_BYTES:
        return sizeof(uint32_t);
    case VELTA_VECTOR:
        return column->spec.dimensions * (column->spec.element == VELTA_F16 ? sizeof(uint16_t) : sizeof(float));
    default:
        return sizeof(int64_t);
    }
}

static enum velta_status translate(struct copier *copier, uint32_t old_code, uint32_t *code,
                                   struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (copier->code_map[old_code] == DICTIONARY_NO_CODE) {
        size_t size_bytes;
        const void *text = dictionary_get(copier->from->dictionary, old_code, &size_bytes);
        status = dictionary_add(copier->to->dictionary, text, size_bytes, &copier->code_map[old_code], error);
    }
    *code = copier->code_map[old_code];
    return status;
}

static enum velta_status gather_value(struct copier *copier, size_t i, uint32_t row, struct velta_error *error) {
    const struct column *from = copier->from;
    switch (from->spec.type) {
    case VELTA_BOOL:
        ((uint8_t *)copier->values)[i] = (uint8_t)column_integer(from, row);
        return VELTA_OK;
    case VELTA_FLOAT: /* as bits: copying must not touch a NaN */
        memcpy((double *)copier->values + i,
               (const double *)from->slabs[column_slab_index(from, row)].values + column_slab_row(from, row),
               sizeof(double));
        return VELTA_OK;
    case VELTA_STRING:
    case VELTA_BYTES:
        return translate(copier, (uint32_t)column_integer(from, row), (uint32_t *)copier->values + i, error);
    case VELTA_VECTOR:
        if (column_has_rows(from)) {
            struct vector_view view = column_vectors(from);
            memcpy((char *)copier->values + i * value_bytes(from), vector_view_row(&view, row), value_bytes(from));
        }
        return VELTA_OK;
    default:
        ((int64_t *)copier->values)[i] = column_integer(from, row);
        return VELTA_OK;
    }
}

/* Rows first..first + count of the new table. */
static enum velta_status copy_batch(struct copier *copier, uint32_t first, size_t count, struct velta_error *error) {
    struct column_values values = {.data = copier->values,
                                   .valid = copier->valid,
                                   .element = copier->from->spec.element == VELTA_F16 ? VELTA_F16 : VELTA_F32};
    enum velta_status status = VELTA_OK;
    memset(copier->valid, 0xFF, sizeof copier->valid);
    for (size_t i = 0; status == VELTA_OK && i < count; i++) {
        uint32_t row = copier->rows[first + i];
        if (column_is_null(copier->from, row)) {
            bitmap_clear(copier->valid, i);
            if (copier->code_map) {
                ((uint32_t *)copier->values)[i] = DICTIONARY_NO_CODE;
            }
        } else {
            status = gather_value(copier, i, row, error);
        }
    }
    if (status != VELTA_OK) {
        return status;
    }
    status = copier->code_map ? column_reserve_codes(copier->to, &values, copier->values, first, count, error)
                              : column_reserve_append(copier->to, &values, first, count, error);
    if (status == VELTA_OK) {
        column_append(copier->to, &values, first, count);
    }
    return status;
}

static enum velta_status copy_column(const struct column *from, struct column *to, const uint32_t *rows, uint32_t count,
                                     struct velta_error *error) {
    struct arena arena = {.memory = to->memory};
    struct copier copier = {.from = from, .to = to, .rows = rows};
    size_t batch_rows = BATCH_BYTES / value_bytes(from);
    enum velta_status status = VELTA_OK;
    batch_rows = batch_rows < BATCH_ROWS ? batch_rows : BATCH_ROWS;
    copier.values = arena_allocate(&arena, batch_rows * value_bytes(from));
    if (copier.values && from->dictionary) {
        size_t map_bytes = ((size_t)dictionary_count(from->dictionary) + 1) * sizeof *copier.code_map;
        copier.code_map = arena_allocate(&arena, map_bytes);
        if (copier.code_map) {
            memset(copier.code_map, 0xFF, map_bytes); /* every entry DICTIONARY_NO_CODE */
        }
    }
    if (!copier.values || (from->dictionary && !copier.code_map)) {
        status = memory_fail(to->memory, error);
    }
    for (uint32_t first = 0; status == VELTA_OK && first < count; first += (uint32_t)batch_rows) {
        size_t rest = count - first;
        status = copy_batch(&copier, first, rest < batch_rows ? rest : batch_rows, error);
    }
    arena_reset(&arena);
    to->added_at_row = 0;
    while (to->added_at_row < count && rows[to->added_at_row] < from->added_at_row) {
        to->added_at_row++;
    }
    return status;
}

static enum velta_status make_empty_copy(const struct table *table, struct table **out, struct velta_error *error) {
    struct velta_column *specs = NULL;
    size_t specs_bytes = table->column_count * sizeof *specs;
    enum velta_status status;
    if (specs_bytes > 0) {
        specs = memory_allocate(table->memory, specs_bytes);
        if (!specs) {
            return memory_fail(table->memory, error);
        }
    }
    for (size_t i = 0; i < table->column_count; i++) {
        specs[i] = table->columns[i]->spec;
    }
    status = table_create(table->memory, table->simd, table->name, specs, table->column_count, out, error);
    memory_release(table->memory, specs, specs_bytes);
    if (status == VELTA_OK && table->expiry) {
        status = table_make_expiry(*out, error);
        if (status != VELTA_OK) {
            table_destroy(*out);
        }
    }
    return status;
}

/* The rows that stay, ascending: live ones and those of `keep`. */
struct kept_rows {
    uint32_t *rows;
    size_t rows_bytes;
    uint32_t count;
    uint64_t *live; /* bit i: rows[i] is live */
    size_t live_bytes;
};

static void kept_release(struct memory *memory, struct kept_rows *kept) {
    memory_release(memory, kept->rows, kept->rows_bytes);
    memory_release(memory, kept->live, kept->live_bytes);
}

static enum velta_status kept_find(const struct table *table, const uint64_t *keep, struct kept_rows *kept,
                                   struct velta_error *error) {
    struct memory *memory = table->memory;
    size_t words = bitmap_words(table->row_count);
    size_t words_bytes = (words + 1) * sizeof(uint64_t); /* never nothing */
    uint64_t *stays = memory_allocate(memory, words_bytes);
    if (!stays) {
        return memory_fail(memory, error);
    }
    if (words > 0) {
        memcpy(stays, table->live.words, words * sizeof *stays);
    }
    if (keep) {
        table->simd->bits_or(stays, stays, keep, words);
    }
    kept->count = (uint32_t)table->simd->bits_count(stays, words);
    kept->rows = memory_allocate(memory, ((size_t)kept->count + 1) * sizeof *kept->rows);
    kept->rows_bytes = kept->rows ? ((size_t)kept->count + 1) * sizeof *kept->rows : 0;
    kept->live = kept->rows ? memory_allocate_zero(memory, words_bytes) : NULL;
    kept->live_bytes = kept->live ? words_bytes : 0;
    if (kept->live) {
        (void)table->simd->bits_to_ids(stays, words, 0, kept->rows);
        for (uint32_t i = 0; i < kept->count; i++) {
            if (bitmap_get(table->live.words, kept->rows[i])) {
                bitmap_set(kept->live, i);
            }
        }
    }
    memory_release(memory, stays, words_bytes);
    return kept->live ? VELTA_OK : memory_fail(memory, error);
}

static void map_rows(const struct table *table, const struct kept_rows *kept, uint32_t *row_map) {
    memset(row_map, 0xFF, (size_t)table->row_count * sizeof *row_map); /* every row VELTA_NO_ROW */
    for (uint32_t i = 0; i < kept->count; i++) {
        row_map[kept->rows[i]] = i;
    }
}

static enum velta_status copy_rows(const struct table *table, const struct kept_rows *kept, struct table *copy,
                                   struct velta_error *error) {
    enum velta_status status = table_begin_load(copy, kept->count, error);
    if (status == VELTA_OK) {
        status = table_load_live(copy, kept->live, bitmap_words(kept->count) * sizeof(uint64_t), error);
    }
    for (size_t i = 0; status == VELTA_OK && i < table->column_count; i++) {
        status = copy_column(table->columns[i], copy->columns[i], kept->rows, kept->count, error);
    }
    if (status == VELTA_OK && table->expiry) {
        status = copy_column(table->expiry, copy->expiry, kept->rows, kept->count, error);
    }
    return status == VELTA_OK ? table_finish_load(copy, error) : status;
}

enum velta_status table_vacuum_keeping(const struct table *table, const uint64_t *keep, struct table **out,
                                       uint32_t *row_map, struct velta_error *error) {
    struct kept_rows kept = {0};
    struct table *copy = NULL;
    enum velta_status status = kept_find(table, keep, &kept, error);
    if (status == VELTA_OK) {
        status = make_empty_copy(table, &copy, error);
    }
    if (status == VELTA_OK) {
        status = copy_rows(table, &kept, copy, error);
        if (status != VELTA_OK) {
            table_destroy(copy);
        }
    }
    if (status == VELTA_OK) {
        copy->live_dirty = true;
        if (row_map) {
            map_rows(table, &kept, row_map);
        }
        *out = copy;
    }
    kept_release(table->memory, &kept);
    return status;
}

enum velta_status table_vacuum(const struct table *table, struct table **out, uint32_t *row_map,
                               struct velta_error *error) {
    return table_vacuum_keeping(table, NULL, out, row_map, error);
}
