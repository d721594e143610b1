/* Making a table from images, step by step. The order of calls is in core/table.h. */
#include <string.h>

#include "core/bytes.h"
#include "core/column_slab.h"
#include "core/error.h"
#include "core/key_index.h"
#include "core/table.h"

enum velta_status table_begin_load(struct table *table, uint32_t row_count, struct velta_error *error) {
    enum velta_status status;
    if (row_count > VELTA_MAX_ROWS) {
        return velta_fail(error, VELTA_CORRUPT, VELTA_NO_OFFSET, "table %s: an impossible number of rows", table->name);
    }
    status = bitmap_reserve(table->memory, &table->live, row_count, error);
    if (status != VELTA_OK) {
        return status;
    }
    bitmap_set_range(table->live.words, 0, row_count);
    table->row_count = row_count;
    table->live_count = row_count;
    return VELTA_OK;
}

enum velta_status table_load_live(struct table *table, const void *bytes, uint64_t size_bytes,
                                  struct velta_error *error) {
    size_t words = bitmap_words(table->row_count);
    unsigned spare = (unsigned)(words * 64 - table->row_count);
    if (size_bytes != (uint64_t)words * sizeof(uint64_t)) {
        return velta_fail(error, VELTA_CORRUPT, size_bytes, "table %s: the live bitmap does not have the rows' size",
                          table->name);
    }
    if (words == 0) {
        return VELTA_OK;
    }
    memcpy(table->live.words, bytes, words * sizeof(uint64_t));
    if (spare > 0 && table->live.words[words - 1] >> (64 - spare) != 0) {
        table->live.words[words - 1] &= UINT64_MAX >> spare;
        return velta_fail(error, VELTA_CORRUPT, size_bytes - sizeof(uint64_t),
                          "table %s: the live bitmap has bits for rows that do not exist", table->name);
    }
    table->live_count = (uint32_t)table->simd->bits_count(table->live.words, words);
    return VELTA_OK;
}

/* Every slab that the rows take is there, with the rows' values. */
static enum velta_status check_slabs(struct column *column, uint32_t row_count, struct velta_error *error) {
    for (size_t index = 0; index < column_slabs_of(column, row_count); index++) {
        bool there = index < column->slab_count;
        if (there && column->spec.type != VELTA_VECTOR) {
            there = column->slabs[index].values != NULL;
        } else if (there && column_has_rows(column)) {
            there = column->slabs[index].values || column->slabs[index].valid;
        } else if (column_is_codes_only(column)) { /* nothing need be said of a slab without NULL */
            enum velta_status status = column_slab_reserve(column, index, 0, 0, false, false, error);
            if (status != VELTA_OK) {
                return status;
            }
            there = true;
        }
        if (!there) {
            return velta_fail(error, VELTA_CORRUPT, VELTA_NO_OFFSET, "column %s: slab %zu is missing",
                              column->spec.name, index);
        }
    }
    if (column->added_at_row > row_count) {
        return velta_fail(error, VELTA_CORRUPT, VELTA_NO_OFFSET, "column %s was added after more rows than there are",
                          column->spec.name);
    }
    return VELTA_OK;
}

static enum velta_status build_keys(struct table *table, struct velta_error *error) {
    enum velta_status status = key_index_reserve(table->keys, table->live_count, error);
    size_t words = bitmap_words(table->row_count);
    if (status != VELTA_OK) {
        return status;
    }
    for (size_t i = 0; i < words; i++) {
        for (uint64_t word = table->live.words[i]; word; word &= word - 1) {
            uint32_t row = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(word);
            if (!key_index_insert(table->keys, row)) {
                return velta_fail(error, VELTA_CORRUPT, VELTA_NO_OFFSET, "table %s: row %u has the key of another row",
                                  table->name, row);
            }
        }
    }
    return VELTA_OK;
}

static enum velta_status check_all_slabs(struct table *table, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    for (size_t i = 0; status == VELTA_OK && i < table->column_count; i++) {
        status = check_slabs(table->columns[i], table->row_count, error);
    }
    if (status == VELTA_OK && table->expiry) {
        status = check_slabs(table->expiry, table->row_count, error);
    }
    return status;
}

enum velta_status table_finish_load(struct table *table, struct velta_error *error) {
    enum velta_status status = check_all_slabs(table, error);
    return status == VELTA_OK && table->keys ? build_keys(table, error) : status;
}

enum velta_status table_finish_salvage(struct table *table, void (*lost)(void *context, uint32_t row), void *context,
                                       struct velta_error *error) {
    enum velta_status status = check_all_slabs(table, error);
    if (status == VELTA_OK && table->keys) {
        status = key_index_reserve(table->keys, table->live_count, error);
    }
    for (uint32_t row = table->row_count; status == VELTA_OK && table->keys && row-- > 0;) {
        if (!bitmap_get(table->live.words, row)) {
            continue;
        }
        if (column_is_null(table->key_column, row) || !key_index_insert(table->keys, row)) {
            bitmap_clear(table->live.words, row);
            table->live_count--;
            table->live_dirty = true;
            lost(context, row);
        }
    }
    return status;
}
