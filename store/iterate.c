/*
 * Iterators: the rows of one moment, in key order, in batches.
 *
 * Opening one takes the numbers of the rows visible then (4 bytes each), sorts them by key, and remembers the sequence
 * number; values are read as of that sequence through the history, so what is written later is not seen. Compaction
 * waits until iterators are closed, because it drops history and renumbers rows.
 */
#include <string.h>

#include "store/filtering.h"
#include "store/result.h"
#include "store/sort.h"

struct velta_iterator {
    struct velta_table *handle;
    uint64_t sequence;
    uint32_t *rows;
    size_t row_count;
    size_t next;
    size_t *columns;
    size_t column_count;
};

static int compare_text(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    size_t common = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

/* Keys never change, so the present column tells the keys of dead rows and of past ones too. */
static bool key_less(const void *context, uint32_t a, uint32_t b) {
    const struct column *keys = context;
    if (keys->spec.type == VELTA_INT) {
        return column_integer(keys, a) < column_integer(keys, b);
    }
    size_t a_bytes;
    size_t b_bytes;
    const void *a_text = column_text(keys, a, &a_bytes);
    const void *b_text = column_text(keys, b, &b_bytes);
    return compare_text(a_text, a_bytes, b_text, b_bytes) < 0;
}

static bool in_range(const struct table *table, const struct velta_range *range, uint32_t row) {
    const struct column *keys = table->key_column;
    if (!range || (!range->has_start && !range->has_end)) {
        return true;
    }
    if (!keys || keys->spec.type == VELTA_INT) {
        int64_t key = keys ? column_integer(keys, row) : (int64_t)row;
        return (!range->has_start || key >= range->start_int) && (!range->has_end || key < range->end_int);
    }
    size_t key_bytes;
    const void *key = column_text(keys, row, &key_bytes);
    return (!range->has_start || compare_text(key, key_bytes, range->start, range->start_bytes) >= 0) &&
           (!range->has_end || compare_text(key, key_bytes, range->end, range->end_bytes) < 0);
}

static void iterator_free(struct velta_iterator *iterator) {
    struct memory *memory = iterator->handle->db->memory;
    memory_release(memory, iterator->rows, iterator->row_count * sizeof *iterator->rows);
    memory_release(memory, iterator->columns, iterator->column_count * sizeof *iterator->columns);
    memory_release(memory, iterator, sizeof *iterator);
}

/* Fills iterator->rows with the rows in range, sorted by key. */
static enum velta_status take_rows(struct velta_iterator *iterator, const struct velta_range *range, int64_t at_ms,
                                   uint64_t sequence, struct velta_error *error) {
    const struct table *table = database_rows(iterator->handle);
    struct memory *memory = table->memory;
    struct filtering visible;
    enum velta_status status = filtering_rows(iterator->handle, NULL, NULL, sequence, at_ms, true, &visible, error);
    if (status) {
        return status;
    }
    size_t capacity = (size_t)visible.count;
    uint32_t *all = memory_allocate(memory, (2 * capacity + 1) * sizeof *all);
    if (!all) {
        filtering_release(&visible);
        return memory_fail(memory, error);
    }
    size_t count = 0;
    for (size_t word = 0; visible.rows && word < visible.words; word++) {
        for (uint64_t left = visible.rows[word]; left; left &= left - 1) {
            uint32_t row = (uint32_t)(word * 64 + (unsigned)__builtin_ctzll(left));
            if (in_range(table, range, row)) {
                all[count++] = row;
            }
        }
    }
    filtering_release(&visible);
    if (table->key_column) {
        sort_items(all, all + capacity, count, key_less, table->key_column);
    }
    if (count > 0) {
        iterator->rows = memory_allocate(memory, count * sizeof *iterator->rows);
        if (!iterator->rows) {
            status = memory_fail(memory, error);
        } else {
            memcpy(iterator->rows, all, count * sizeof *all);
            iterator->row_count = count;
        }
    }
    memory_release(memory, all, (2 * capacity + 1) * sizeof *all);
    return status;
}

static enum velta_status check_range(const struct table *table, const struct velta_range *range,
                                     struct velta_error *error) {
    bool text = table->key_column && table->key_column->spec.type == VELTA_STRING;
    if (range && text && ((range->has_start && !range->start) || (range->has_end && !range->end))) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "the primary key '%.100s' is a string: give the range as text", table->key_column->spec.name);
    }
    return VELTA_OK;
}

enum velta_status velta_iterate(velta_table *handle, const struct velta_range *range, const char *const *columns,
                                size_t column_count, int64_t at_ms, velta_iterator **out, struct velta_error *error) {
    size_t indices[VELTA_MAX_COLUMNS];
    size_t count = 0;
    uint64_t sequence = HISTORY_NOW;
    enum velta_status status = database_check(handle, error);
    if (!status) {
        status = check_range(database_rows(handle), range, error);
    }
    if (!status) {
        status = result_columns(handle, columns, column_count, indices, &count, error);
    }
    if (!status) {
        status = database_sequence_at(handle, at_ms, &sequence, error);
    }
    if (status) {
        return status;
    }
    struct memory *memory = handle->db->memory;
    struct velta_iterator *iterator = memory_allocate_zero(memory, sizeof *iterator);
    if (!iterator) {
        return memory_fail(memory, error);
    }
    iterator->handle = handle;
    iterator->sequence = sequence == HISTORY_NOW ? handle->db->next_sequence - 1 : sequence;
    if (count > 0) {
        iterator->columns = memory_allocate(memory, count * sizeof *indices);
        if (!iterator->columns) {
            status = memory_fail(memory, error);
        } else {
            memcpy(iterator->columns, indices, count * sizeof *indices);
            iterator->column_count = count;
        }
    }
    if (!status) {
        status = take_rows(iterator, range, at_ms, sequence, error);
    }
    if (status) {
        iterator_free(iterator);
        return status;
    }
    handle->db->open_iterators++;
    *out = iterator;
    return VELTA_OK;
}

enum velta_status velta_iterator_next(velta_iterator *iterator, size_t max_rows, velta_result **out,
                                      struct velta_error *error) {
    struct velta *db = iterator->handle->db;
    enum velta_status status = database_check(iterator->handle, error);
    if (status) {
        return status;
    }
    size_t left = iterator->row_count - iterator->next;
    size_t count = max_rows < left ? max_rows : left;
    bool unchanged = iterator->sequence == db->next_sequence - 1;
    struct velta_result *result;
    status = result_create(db, count, iterator->column_count, &result, error);
    if (status) {
        return status;
    }
    if (count > 0) {
        memcpy(result->rows, iterator->rows + iterator->next, count * sizeof *result->rows);
    }
    if (result_fill(result, iterator->handle, iterator->columns, iterator->column_count,
                    unchanged ? HISTORY_NOW : iterator->sequence)) {
        return result_refused(result, error);
    }
    iterator->next += count;
    *out = result;
    return VELTA_OK;
}

void velta_iterator_close(velta_iterator *iterator) {
    if (iterator) {
        iterator->handle->db->open_iterators--;
        iterator_free(iterator);
    }
}
