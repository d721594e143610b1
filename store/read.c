/*
 * Finding and getting rows, now and in the past.
 *
 * The past is read through the history of the table (delta/history.h): a row is alive at a sequence when it was born
 * before and not yet dead; a value is the present one unless its chain holds an older one. A filter over the past is
 * evaluated over the present columns at full speed, and again, row by row, for the rows whose values have changed
 * since: the cost follows what changed, not the size of the table.
 */
#include <string.h>

#include "store/result.h"

static bool row_visible(const struct velta_table *handle, uint32_t row, int64_t now_ms) {
    const struct table *table = database_rows(handle);
    if (row >= table->row_count || !bitmap_get(table->live.words, row)) {
        return false;
    }
    return !table->expiry || column_is_null(table->expiry, row) || column_integer(table->expiry, row) > now_ms;
}

static enum velta_status check_keys(const struct table *table, const struct velta_keys *keys,
                                    struct velta_error *error) {
    if (!keys || (keys->rows != NULL) + (keys->ints != NULL) + (keys->offsets != NULL) != 1) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "keys are given by exactly one of rows, ints, or text with offsets");
    }
    if (keys->rows) {
        return VELTA_OK;
    }
    if (!table->key_column) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET,
                          "table '%.100s' has no primary key: name its rows by number", table->name);
    }
    bool wants_int = table->key_column->spec.type == VELTA_INT;
    if (wants_int != (keys->ints != NULL)) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET, "the primary key '%.100s' is %s",
                          table->key_column->spec.name, wants_int ? "an int" : "a string");
    }
    return VELTA_OK;
}

enum velta_status read_find(const struct velta_table *handle, const struct velta_keys *keys, size_t key_count,
                            uint64_t sequence, uint32_t *rows, struct velta_error *error) {
    const struct snapshot_table *owner = database_table(handle);
    const struct table *table = owner->table;
    enum velta_status status = check_keys(table, keys, error);
    if (status) {
        return status;
    }
    for (size_t i = 0; i < key_count; i++) {
        const char *text = NULL;
        size_t text_bytes = 0;
        uint32_t row;
        if (keys->rows) {
            row = keys->rows[i];
            bool there = row < table->row_count;
            if (there && sequence == HISTORY_NOW) {
                there = bitmap_get(table->live.words, row);
            } else if (there) {
                there = history_row_alive(owner->history, table, row, sequence);
            }
            rows[i] = there ? row : VELTA_NO_ROW;
            continue;
        }
        if (keys->ints) {
            row = table_find_int(table, keys->ints[i]);
        } else {
            if (keys->offsets[i + 1] < keys->offsets[i]) {
                return velta_fail(error, VELTA_INVALID, i, "the offsets of the keys descend at key %zu", i);
            }
            text_bytes = (size_t)(keys->offsets[i + 1] - keys->offsets[i]);
            if (!keys->text && text_bytes > 0) {
                return velta_fail(error, VELTA_INVALID, i, "key %zu has a length and no text", i);
            }
            text = keys->text ? keys->text + keys->offsets[i] : "";
            row = table_find_text(table, text, text_bytes);
        }
        if (sequence != HISTORY_NOW &&
            (row == VELTA_NO_ROW || !history_row_alive(owner->history, table, row, sequence))) {
            row = history_find_dead(owner->history, table, sequence, text, text_bytes, keys->ints ? keys->ints[i] : 0);
        }
        rows[i] = row;
    }
    return VELTA_OK;
}

bool read_vector(const struct velta_table *handle, uint32_t column, uint32_t row, uint64_t sequence, float *out) {
    struct snapshot_table *owner = database_table(handle);
    const struct column *vectors = owner->table->columns[column];
    if (sequence != HISTORY_NOW) {
        return history_vector(owner->history, owner->table, column, row, sequence, commit_codes_vector, owner, out);
    }
    if (vectors->spec.element == VELTA_CODES) {
        if (!hnsw_contains(owner->indexes[column], row)) {
            return false;
        }
        hnsw_decode(owner->indexes[column], row, out);
        return true;
    }
    if (column_is_null(vectors, row)) {
        return false;
    }
    column_get_vector(vectors, row, out);
    return true;
}

uint64_t read_visible(const struct velta_table *handle, uint64_t sequence, int64_t now_ms, uint64_t *out) {
    const struct snapshot_table *owner = database_table(handle);
    if (sequence == HISTORY_NOW) {
        return table_visible(owner->table, now_ms, out);
    }
    return history_alive(owner->history, owner->table, sequence, now_ms, out);
}

struct past {
    const struct snapshot_table *owner;
    uint64_t sequence;
};

static bool past_value(void *context, uint32_t row, size_t column, struct column_scalar *value) {
    const struct past *past = context;
    return history_scalar(past->owner->history, past->owner->table, (uint32_t)column, row, past->sequence, value);
}

/* Decides again, by their values then, the rows whose `column` changed since. */
static enum velta_status match_changed(const struct snapshot_table *owner, const struct filter *filter, size_t column,
                                       uint64_t sequence, const uint64_t *visible, uint64_t *out,
                                       struct velta_error *error) {
    struct memory *memory = owner->table->memory;
    struct past past = {.owner = owner, .sequence = sequence};
    size_t changed = history_changed_rows(owner->history, (uint32_t)column, sequence, NULL, 0);
    if (changed == 0) {
        return VELTA_OK;
    }
    uint32_t *rows = memory_allocate(memory, changed * sizeof *rows);
    if (!rows) {
        return memory_fail(memory, error);
    }
    (void)history_changed_rows(owner->history, (uint32_t)column, sequence, rows, changed);
    for (size_t i = 0; i < changed; i++) {
        bitmap_clear(out, rows[i]);
        if (bitmap_get(visible, rows[i]) && filter_match_row(filter, rows[i], past_value, &past)) {
            bitmap_set(out, rows[i]);
        }
    }
    memory_release(memory, rows, changed * sizeof *rows);
    return VELTA_OK;
}

enum velta_status read_filter(const struct velta_table *handle, struct filter *filter, uint64_t sequence,
                              const uint64_t *visible, uint64_t *out, uint64_t *count, struct velta_error *error) {
    const struct snapshot_table *owner = database_table(handle);
    enum velta_status status = filter_evaluate(filter, visible, out, count, error);
    if (status || sequence == HISTORY_NOW) {
        return status;
    }
    uint64_t columns[VELTA_MAX_COLUMNS / 64] = {0};
    filter_columns(filter, columns);
    for (size_t column = 0; column < owner->table->column_count && !status; column++) {
        if (bitmap_get(columns, column)) {
            status = match_changed(owner, filter, column, sequence, visible, out, error);
        }
    }
    if (!status) {
        *count = owner->table->simd->bits_count(out, bitmap_words(owner->table->row_count));
    }
    return status;
}

/* The time at which a row's expiry is judged. */
static int64_t moment(const struct velta_table *handle, int64_t at_ms) {
    return at_ms != 0 ? at_ms : database_now(handle->db);
}

/* Whether a row lives just after `sequence` and has not expired at moment_ms. */
static bool row_readable(const struct velta_table *handle, uint32_t row, uint64_t sequence, int64_t moment_ms) {
    const struct snapshot_table *owner = database_table(handle);
    struct column_scalar expiry = {0};
    if (sequence == HISTORY_NOW) {
        return row_visible(handle, row, moment_ms);
    }
    return row < owner->table->row_count && history_row_alive(owner->history, owner->table, row, sequence) &&
           !(owner->table->expiry &&
             history_scalar(owner->history, owner->table, HISTORY_EXPIRY_COLUMN, row, sequence, &expiry) &&
             expiry.integer <= moment_ms);
}

enum velta_status velta_find(velta_table *handle, const struct velta_keys *keys, size_t key_count, int64_t at_ms,
                             uint32_t *rows, struct velta_error *error) {
    enum velta_status status = database_check(handle, error);
    uint64_t sequence = HISTORY_NOW;
    if (!status) {
        status = database_sequence_at(handle, at_ms, &sequence, error);
    }
    if (!status && key_count > 0 && !rows) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "room for the rows of the keys is needed");
    }
    if (!status) {
        status = read_find(handle, keys, key_count, sequence, rows, error);
    }
    int64_t moment_ms = !status && database_rows(handle)->expiry ? moment(handle, at_ms) : INT64_MIN;
    for (size_t i = 0; !status && i < key_count; i++) {
        if (rows[i] != VELTA_NO_ROW && !row_readable(handle, rows[i], sequence, moment_ms)) {
            rows[i] = VELTA_NO_ROW;
        }
    }
    return status;
}

enum velta_status velta_get(velta_table *handle, const uint32_t *rows, size_t row_count, const char *const *columns,
                            size_t column_count, int64_t at_ms, velta_result **out, struct velta_error *error) {
    size_t indices[VELTA_MAX_COLUMNS];
    size_t index_count = 0;
    uint64_t sequence = HISTORY_NOW;
    enum velta_status status = database_check(handle, error);
    if (!status) {
        status = database_sequence_at(handle, at_ms, &sequence, error);
    }
    if (!status) {
        status = result_columns(handle, columns, column_count, indices, &index_count, error);
    }
    if (status) {
        return status;
    }
    int64_t moment_ms = moment(handle, at_ms);
    for (size_t i = 0; i < row_count; i++) {
        if (!row_readable(handle, rows[i], sequence, moment_ms)) {
            return velta_fail(error, VELTA_NOT_FOUND, i, "row %u does not live%s", rows[i],
                              sequence == HISTORY_NOW ? "" : " at that time");
        }
    }
    struct velta_result *result;
    status = result_create(handle->db, row_count, index_count, &result, error);
    if (status) {
        return status;
    }
    if (row_count > 0) {
        memcpy(result->rows, rows, row_count * sizeof *rows);
    }
    if (result_fill(result, handle, indices, index_count, sequence)) {
        return result_refused(result, error);
    }
    *out = result;
    return VELTA_OK;
}

/* The index of a vector column by name. */
static enum velta_status vector_column(const struct velta_table *handle, const char *name, uint32_t *index,
                                       struct velta_error *error) {
    const struct table *table = database_rows(handle);
    size_t found = name ? table_find_column(table, name, strlen(name)) : TABLE_NO_COLUMN;
    if (found == TABLE_NO_COLUMN) {
        return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.60s' has no column '%.100s'",
                          table->name, name ? name : "");
    }
    if (table->columns[found]->spec.type != VELTA_VECTOR) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET, "column '%.100s' does not hold vectors", name);
    }
    *index = (uint32_t)found;
    return VELTA_OK;
}

enum velta_status velta_get_vector(velta_table *handle, const char *column, uint32_t row, int64_t at_ms, float *out,
                                   struct velta_error *error) {
    uint32_t index = 0;
    uint64_t sequence = HISTORY_NOW;
    enum velta_status status = database_check(handle, error);
    if (!status) {
        status = vector_column(handle, column, &index, error);
    }
    if (!status) {
        status = database_sequence_at(handle, at_ms, &sequence, error);
    }
    if (status) {
        return status;
    }
    int64_t moment_ms = database_rows(handle)->expiry ? moment(handle, at_ms) : INT64_MIN;
    if (!row_readable(handle, row, sequence, moment_ms) || !read_vector(handle, index, row, sequence, out)) {
        return velta_fail(error, VELTA_NOT_FOUND, row, "row %u has no vector%s", row,
                          sequence == HISTORY_NOW ? "" : " at that time");
    }
    return VELTA_OK;
}

const float *velta_vector_view(velta_table *handle, const char *column, uint32_t row) {
    uint32_t index;
    if (database_check(handle, NULL) || vector_column(handle, column, &index, NULL)) {
        return NULL;
    }
    const struct table *table = database_rows(handle);
    const struct column *vectors = table->columns[index];
    int64_t now_ms = table->expiry ? database_now(handle->db) : INT64_MIN;
    if (vectors->spec.element != VELTA_F32 || !row_visible(handle, row, now_ms) || column_is_null(vectors, row)) {
        return NULL;
    }
    struct vector_view view = column_vectors(vectors);
    return vector_view_row(&view, row);
}

/* Deep copies of a delta's arrays into the result. False: refused. */
static bool copy_delta(struct velta_result *result, const struct history_delta *item, uint32_t dimensions,
                       struct velta_delta *to) {
    static const enum velta_operation public_operation[] = {
        [0] = VELTA_DELTA_CREATE,          [DELTA_SPARSE] = VELTA_DELTA_SPARSE, [DELTA_DENSE] = VELTA_DELTA_DENSE,
        [DELTA_SCALE] = VELTA_DELTA_SCALE, [DELTA_OFFSET] = VELTA_DELTA_OFFSET,
    };
    const struct vector_delta *from = &item->delta;
    uint32_t values = from->operation == DELTA_SPARSE ? from->count : from->values ? dimensions : 0;
    *to = (struct velta_delta){.operation = public_operation[from->operation],
                               .set = from->set,
                               .row = from->row,
                               .use_row = true,
                               .count = values,
                               .amount = from->amount,
                               .metadata_bytes = from->metadata_bytes};
    if (values > 0) {
        float *copy = result_allocate(result, values, sizeof *copy);
        if (!copy) {
            return false;
        }
        memcpy(copy, from->values, values * sizeof *copy);
        to->values = copy;
    }
    if (from->operation == DELTA_SPARSE && values > 0) {
        uint32_t *copy = result_allocate(result, values, sizeof *copy);
        if (!copy) {
            return false;
        }
        struct history_indices packed = item->indices;
        history_read_indices(&packed, values, copy);
        to->indices = copy;
    }
    if (from->metadata_bytes > 0) {
        void *copy = result_allocate(result, from->metadata_bytes, 1);
        if (!copy) {
            return false;
        }
        memcpy(copy, from->metadata, from->metadata_bytes);
        to->metadata = copy;
    }
    return true;
}

enum velta_status velta_get_chain(velta_table *handle, const char *column, uint32_t row, velta_result **out,
                                  struct velta_error *error) {
    uint32_t index = 0;
    enum velta_status status = database_check(handle, error);
    if (!status) {
        status = vector_column(handle, column, &index, error);
    }
    if (status) {
        return status;
    }
    const struct snapshot_table *owner = database_table(handle);
    if (!row_visible(handle, row, database_now(handle->db))) {
        return velta_fail(error, VELTA_NOT_FOUND, row, "row %u does not live", row);
    }
    struct velta_result *result;
    status = result_create(handle->db, 0, 0, &result, error);
    if (status) {
        return status;
    }
    uint32_t dimensions = owner->table->columns[index]->spec.dimensions;
    size_t count = history_chain(owner->history, index, row, NULL, 0);
    struct history_delta *chain = result_allocate(result, count + 1, sizeof *chain);
    float *present = result_allocate(result, dimensions, sizeof *present);
    result->chain = result_allocate(result, count + 1, sizeof *result->chain);
    if (!chain || !present || !result->chain) {
        return result_refused(result, error);
    }
    (void)history_chain(owner->history, index, row, chain, count);
    /* Never changed, or the last deltas were merged by a compaction that keeps a moment before them: a base ends it. */
    if (count == 0 || chain[count - 1].delta.operation == 0) {
        bool there = read_vector(handle, index, row, HISTORY_NOW, present);
        chain[count] = (struct history_delta){.delta = {.row = row, .values = there ? present : NULL}};
        count += there || count > 0;
    }
    /* The first base is what the row was born with, if that is kept. */
    if (count > 0 && chain[0].delta.operation == 0) {
        (void)history_birth(owner->history, row, &chain[0].sequence, &chain[0].time_ms);
    }
    for (size_t i = 0; i < count; i++) {
        result->chain[i] = (struct velta_chain_item){.sequence = chain[i].sequence, .time_ms = chain[i].time_ms};
        if (!copy_delta(result, &chain[i], dimensions, &result->chain[i].delta)) {
            return result_refused(result, error);
        }
    }
    result->chain_count = count;
    *out = result;
    return VELTA_OK;
}
