/*
 * A table: columns over the same rows, a primary key, tombstones and expiry. See core/table.h.
 * Vacuum and loading are in table_vacuum.c and table_load.c.
 */
#include "core/table.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/column_slab.h"
#include "core/error.h"
#include "core/key_index.h"
#include "core/utf8.h"

/* ---- making */

static enum velta_status check_schema(const char *name, const struct velta_column *columns, size_t column_count,
                                      struct velta_error *error) {
    size_t name_bytes = name ? strlen(name) : 0;
    size_t key_count = 0;
    if (name_bytes == 0 || name_bytes > VELTA_MAX_NAME_BYTES || !utf8_is_valid(name, name_bytes)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a table's name is 1 to %d bytes of UTF-8",
                          VELTA_MAX_NAME_BYTES);
    }
    if (column_count > VELTA_MAX_COLUMNS) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "table %s: %zu columns, at most %d are possible", name,
                          column_count, VELTA_MAX_COLUMNS);
    }
    for (size_t i = 0; i < column_count; i++) {
        key_count += columns[i].primary_key;
        if (key_count > 1) {
            return velta_fail(error, VELTA_INVALID, i, "table %s: column %zu is a second primary key", name, i);
        }
    }
    return VELTA_OK;
}

static enum velta_status append_column(struct table *table, const struct velta_column *spec, uint32_t row_count,
                                       struct velta_error *error) {
    void *columns = table->columns;
    struct column *column;
    enum velta_status status;
    if (spec->name && table_find_column(table, spec->name, strlen(spec->name)) != TABLE_NO_COLUMN) {
        return velta_fail(error, VELTA_EXISTS, table->column_count, "table %s has a column %s already", table->name,
                          spec->name);
    }
    status = memory_grow_array(table->memory, &columns, &table->column_capacity, table->column_count + 1,
                               sizeof *table->columns, error);
    if (status != VELTA_OK) {
        return status;
    }
    table->columns = columns;
    status = column_create(table->memory, spec, row_count, &column, error);
    if (status != VELTA_OK) {
        return status;
    }
    column->simd = table->simd;
    table->columns[table->column_count++] = column;
    return VELTA_OK;
}

static enum velta_status make_key(struct table *table, struct velta_error *error) {
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i]->spec.primary_key) {
            table->key_column = table->columns[i];
            return key_index_create(table->key_column, &table->keys, error);
        }
    }
    return VELTA_OK;
}

enum velta_status table_create(struct memory *memory, const struct simd_kernels *simd, const char *name,
                               const struct velta_column *columns, size_t column_count, struct table **out,
                               struct velta_error *error) {
    enum velta_status status = check_schema(name, columns, column_count, error);
    struct table *table;
    if (status != VELTA_OK) {
        return status;
    }
    table = memory_allocate_zero(memory, sizeof *table);
    if (!table) {
        return memory_fail(memory, error);
    }
    table->memory = memory;
    table->simd = simd;
    table->name = memory_allocate(memory, strlen(name) + 1);
    if (table->name) {
        memcpy(table->name, name, strlen(name) + 1);
    } else {
        status = memory_fail(memory, error);
    }
    for (size_t i = 0; status == VELTA_OK && i < column_count; i++) {
        status = append_column(table, &columns[i], 0, error);
    }
    if (status == VELTA_OK) {
        status = make_key(table, error);
    }
    if (status != VELTA_OK) {
        table_destroy(table);
        return status;
    }
    *out = table;
    return VELTA_OK;
}

void table_destroy(struct table *table) {
    struct memory *memory;
    if (!table) {
        return;
    }
    memory = table->memory;
    key_index_destroy(table->keys);
    for (size_t i = 0; i < table->column_count; i++) {
        column_destroy(table->columns[i]);
    }
    column_destroy(table->expiry);
    memory_release(memory, table->columns, table->column_capacity * sizeof *table->columns);
    bitmap_release(memory, &table->live);
    if (table->name) {
        memory_release(memory, table->name, strlen(table->name) + 1);
    }
    memory_release(memory, table, sizeof *table);
}

size_t table_find_column(const struct table *table, const char *name, size_t name_bytes) {
    for (size_t i = 0; i < table->column_count; i++) {
        const char *other = table->columns[i]->spec.name;
        if (strlen(other) == name_bytes && memcmp(other, name, name_bytes) == 0) {
            return i;
        }
    }
    return TABLE_NO_COLUMN;
}

enum velta_status table_add_column(struct table *table, const struct velta_column *spec, struct velta_error *error) {
    if (table->column_count >= VELTA_MAX_COLUMNS) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "table %s has %d columns, more are not possible",
                          table->name, VELTA_MAX_COLUMNS);
    }
    if (spec->primary_key || (spec->required && table->row_count > 0)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "table %s: a column that is added later is no primary key, and rows that are there have no "
                          "value for a required one",
                          table->name);
    }
    return append_column(table, spec, table->row_count, error);
}

/* ---- keys */

uint32_t table_find_int(const struct table *table, int64_t key) {
    if (!table->key_column) {
        bool live = key >= 0 && key < table->row_count && bitmap_get(table->live.words, (uint64_t)key);
        return live ? (uint32_t)key : VELTA_NO_ROW;
    }
    return table->key_column->spec.type == VELTA_INT ? key_index_find_int(table->keys, key) : VELTA_NO_ROW;
}

void table_prefetch_int(const struct table *table, int64_t key) {
    if (table->key_column && table->key_column->spec.type == VELTA_INT) {
        key_index_prefetch_int(table->keys, key);
    }
}

uint32_t table_guess_int(const struct table *table, int64_t key) {
    bool has_keys = table->key_column && table->key_column->spec.type == VELTA_INT;
    return has_keys ? key_index_guess_int(table->keys, key) : VELTA_NO_ROW;
}

uint32_t table_find_text(const struct table *table, const void *key, size_t size_bytes) {
    if (!table->key_column || table->key_column->spec.type != VELTA_STRING) {
        return VELTA_NO_ROW;
    }
    return key_index_find_text(table->keys, key, size_bytes);
}

static uint32_t find_batch_key(const struct table *table, const struct column_values *values, size_t i) {
    if (table->key_column->dictionary) {
        size_t size_bytes = (size_t)(values->offsets[i + 1] - values->offsets[i]);
        const char *text = size_bytes ? (const char *)values->data + values->offsets[i] : "";
        return key_index_find_text(table->keys, text, size_bytes);
    }
    return key_index_find_int(table->keys, ((const int64_t *)values->data)[i]);
}

static enum velta_status fail_exists(const struct table *table, const struct column_values *values, size_t i,
                                     const char *where, struct velta_error *error) {
    if (table->key_column->dictionary) {
        enum { SHOWN_BYTES = 80 };
        uint64_t size_bytes = values->offsets[i + 1] - values->offsets[i];
        return velta_fail(error, VELTA_EXISTS, i, "table %s: value %zu, the key \"%.*s\", is %s already", table->name,
                          i, size_bytes < SHOWN_BYTES ? (int)size_bytes : SHOWN_BYTES,
                          size_bytes ? (const char *)values->data + values->offsets[i] : "", where);
    }
    return velta_fail(error, VELTA_EXISTS, i, "table %s: value %zu, the key %" PRId64 ", is %s already", table->name, i,
                      ((const int64_t *)values->data)[i], where);
}

static enum velta_status check_keys(const struct table *table, const struct column_values *values, size_t count,
                                    struct velta_error *error) {
    size_t repeat;
    enum velta_status status = key_batch_first_repeat(table->key_column, values, count, &repeat, error);
    if (status != VELTA_OK) {
        return status;
    }
    for (size_t i = 0; i < repeat; i++) {
        if (find_batch_key(table, values, i) != VELTA_NO_ROW) {
            return fail_exists(table, values, i, "in the table", error);
        }
    }
    return repeat < count ? fail_exists(table, values, repeat, "in the batch", error) : VELTA_OK;
}

/* ---- appending */

enum velta_status table_check_append(const struct table *table, const struct column_values *values, size_t count,
                                     struct velta_error *error) {
    if (count > VELTA_MAX_ROWS - table->row_count) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "table %s: %zu rows more would be too many", table->name,
                          count);
    }
    for (size_t i = 0; i < table->column_count; i++) {
        enum velta_status status = column_check_values(table->columns[i], &values[i], count, error);
        if (status == VELTA_OK && table->columns[i] == table->key_column && count > 0) {
            status = check_keys(table, &values[i], count, error);
        }
        if (status != VELTA_OK) {
            return status;
        }
    }
    return VELTA_OK;
}

static const struct column_values all_null;

enum velta_status table_reserve_append(struct table *table, const struct column_values *values, size_t count,
                                       struct velta_error *error) {
    uint32_t first_row = table->row_count + table->reserved_rows;
    enum velta_status status;
    size_t done = 0;
    if (count > VELTA_MAX_ROWS - first_row) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "table %s: %zu rows more would be too many", table->name,
                          count);
    }
    status = bitmap_reserve(table->memory, &table->live, (uint64_t)first_row + count, error);
    if (status == VELTA_OK && table->expiry) {
        status = column_reserve_append(table->expiry, &all_null, first_row, count, error);
    }
    while (status == VELTA_OK && done < table->column_count) {
        status = column_reserve_append(table->columns[done], &values[done], first_row, count, error);
        done += status == VELTA_OK;
    }
    if (status == VELTA_OK && table->keys) {
        status = key_index_reserve(table->keys, table->reserved_rows + count, error);
    }
    if (status != VELTA_OK) {
        while (done > 0) {
            column_undo_reserve(table->columns[--done]);
        }
        return status;
    }
    table->reserved_rows += (uint32_t)count;
    return VELTA_OK;
}

uint32_t table_apply_append(struct table *table, const struct column_values *values, size_t count) {
    uint32_t first_row = table->row_count;
    assert(count <= table->reserved_rows);
    for (size_t i = 0; i < table->column_count; i++) {
        column_append(table->columns[i], &values[i], first_row, count);
    }
    if (table->expiry) {
        column_append(table->expiry, &all_null, first_row, count);
    }
    for (uint32_t row = first_row; table->keys && row < first_row + count; row++) {
        bool inserted = key_index_insert(table->keys, row);
        assert(inserted);
        (void)inserted;
    }
    if (count > 0) {
        bitmap_set_range(table->live.words, first_row, count);
        table->live_dirty = true;
    }
    table->row_count += (uint32_t)count;
    table->live_count += (uint32_t)count;
    table->reserved_rows -= (uint32_t)count;
    return first_row;
}

/* ---- setting, deleting */

enum velta_status table_check_set(const struct table *table, size_t column, const struct column_values *values,
                                  const uint32_t *rows, size_t count, struct velta_error *error) {
    if (column >= table->column_count) {
        return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table %s has no column number %zu",
                          table->name, column);
    }
    if (table->columns[column] == table->key_column) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column %s is the primary key, which cannot be set",
                          table->key_column->spec.name);
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i] >= table->row_count || !bitmap_get(table->live.words, rows[i])) {
            return velta_fail(error, VELTA_NOT_FOUND, i, "table %s: there is no row %" PRIu32, table->name, rows[i]);
        }
    }
    return column_check_values(table->columns[column], values, count, error);
}

enum velta_status table_reserve_set(struct table *table, size_t column, const struct column_values *values,
                                    const uint32_t *rows, size_t count, struct velta_error *error) {
    return column_reserve_set(table->columns[column], values, rows, count, error);
}

void table_apply_set(struct table *table, size_t column, const struct column_values *values, const uint32_t *rows,
                     size_t count) {
    column_set(table->columns[column], values, rows, count);
}

void table_abandon_reserve(struct table *table) {
    for (size_t i = 0; i < table->column_count; i++) {
        column_abandon(table->columns[i]);
    }
    if (table->expiry_reserved) {
        column_destroy(table->expiry);
        table->expiry = NULL;
        table->expiry_reserved = false;
    }
    table->reserved_rows = 0;
}

void table_apply_delete(struct table *table, const uint32_t *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        assert(rows[i] < table->row_count && bitmap_get(table->live.words, rows[i]));
        if (table->keys) {
            key_index_remove(table->keys, rows[i]);
        }
        bitmap_clear(table->live.words, rows[i]);
        table->live_count--;
        table->live_dirty = true;
    }
}

/* ---- expiry */

enum velta_status table_make_expiry(struct table *table, struct velta_error *error) {
    struct velta_column spec = {.name = "expiry", .type = VELTA_TIMESTAMP};
    enum velta_status status;
    if (table->expiry) {
        return VELTA_OK;
    }
    status = column_create(table->memory, &spec, 0, &table->expiry, error);
    if (status == VELTA_OK) {
        table->expiry->simd = table->simd;
    }
    return status;
}

enum velta_status table_reserve_expiry(struct table *table, struct velta_error *error) {
    uint32_t rows = table->row_count + table->reserved_rows;
    struct column *column;
    enum velta_status status = VELTA_OK;
    if (!table->expiry) { /* all rows never expire */
        struct velta_column spec = {.name = "expiry", .type = VELTA_TIMESTAMP};
        status = column_create(table->memory, &spec, rows, &column, error);
        if (status != VELTA_OK) {
            return status;
        }
        column->simd = table->simd;
        table->expiry = column;
        table->expiry_reserved = true;
    }
    column = table->expiry;
    for (size_t slab = 0; status == VELTA_OK && slab < column_slabs_of(column, rows); slab++) {
        status =
            column_slab_reserve(column, slab, column_slab_rows(column, slab, rows), sizeof(int64_t), true, true, error);
    }
    return status;
}

void table_apply_expiry(struct table *table, const uint32_t *rows, const int64_t *times_ms, size_t count) {
    table->expiry_reserved = false;
    for (size_t i = 0; i < count; i++) {
        uint64_t never = 0;
        struct column_values values = {.data = &times_ms[i], .valid = times_ms[i] == INT64_MAX ? &never : NULL};
        column_set(table->expiry, &values, &rows[i], 1);
    }
}

/* Bits of the rows of one slab whose expiry is <= now_ms. */
static void expired_in_slab(const struct table *table, size_t index, uint32_t rows, int64_t now_ms, uint64_t *out) {
    const struct simd_kernels *simd = table->simd;
    const struct column_slab *slab = &table->expiry->slabs[index];
    unsigned width_bits = 8u * slab->width;
    int64_t greatest = INT64_MAX >> (64 - width_bits);
    int64_t least = -greatest - 1;
    int64_t high = now_ms < greatest ? now_ms : greatest;
    if (high < least) { /* before every time that fits the width */
        memset(out, 0, bitmap_words(rows) * sizeof *out);
        return;
    }
    switch (slab->width) {
    case 1:
        simd->range_i8(slab->values, rows, INT8_MIN, (int8_t)high, out);
        break;
    case 2:
        simd->range_i16(slab->values, rows, INT16_MIN, (int16_t)high, out);
        break;
    case 4:
        simd->range_i32(slab->values, rows, INT32_MIN, (int32_t)high, out);
        break;
    default:
        simd->range_i64(slab->values, rows, INT64_MIN, high, out);
        break;
    }
    if (slab->valid) {
        simd->bits_and(out, out, slab->valid, bitmap_words(rows));
    }
}

uint64_t table_visible(const struct table *table, int64_t now_ms, uint64_t *out) {
    size_t words = bitmap_words(table->row_count);
    if (!table->expiry) {
        if (words > 0) {
            memcpy(out, table->live.words, words * sizeof *out);
        }
        return table->live_count;
    }
    for (size_t slab = 0; slab < column_slabs_of(table->expiry, table->row_count); slab++) {
        uint32_t rows = column_slab_rows(table->expiry, slab, table->row_count);
        size_t first_word = slab * (CORE_ROWS_PER_SLAB / 64);
        expired_in_slab(table, slab, rows, now_ms, out + first_word);
        table->simd->bits_and_not(out + first_word, table->live.words + first_word, out + first_word,
                                  bitmap_words(rows));
    }
    return table->simd->bits_count(out, words);
}

size_t table_expired(const struct table *table, int64_t now_ms, uint32_t *rows) {
    uint64_t bits[CORE_ROWS_PER_SLAB / 64];
    size_t count = 0;
    for (size_t slab = 0; table->expiry && slab < column_slabs_of(table->expiry, table->row_count); slab++) {
        uint32_t slab_rows = column_slab_rows(table->expiry, slab, table->row_count);
        size_t words = bitmap_words(slab_rows);
        expired_in_slab(table, slab, slab_rows, now_ms, bits);
        table->simd->bits_and(bits, bits, table->live.words + slab * (CORE_ROWS_PER_SLAB / 64), words);
        count += table->simd->bits_to_ids(bits, words, (uint32_t)slab << CORE_SLAB_SHIFT, rows + count);
    }
    return count;
}

/* ---- facts */

uint64_t table_memory_bytes(const struct table *table) {
    uint64_t total_bytes = sizeof *table + strlen(table->name) + 1 +
                           (uint64_t)table->column_capacity * sizeof *table->columns +
                           (uint64_t)table->live.capacity_words * sizeof *table->live.words;
    for (size_t i = 0; i < table->column_count; i++) {
        total_bytes += column_memory_bytes(table->columns[i]);
    }
    total_bytes += table->expiry ? column_memory_bytes(table->expiry) : 0;
    return total_bytes + (table->keys ? key_index_memory_bytes(table->keys) : 0);
}

static void clean_column(struct column *column) {
    for (size_t i = 0; column && i < column->slab_count; i++) {
        column->slabs[i].dirty = false;
    }
    if (column && column->dictionary) {
        column->clean_dictionary_count = dictionary_count(column->dictionary);
    }
}

void table_clean(struct table *table) {
    for (size_t i = 0; i < table->column_count; i++) {
        clean_column(table->columns[i]);
    }
    clean_column(table->expiry);
    table->live_dirty = false;
}
