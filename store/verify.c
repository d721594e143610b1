/*
 * Everything that can be checked is: the stored segments against their checksums, then the state in memory: live rows
 * against their count, keys against the key index, values against their columns, history by writing it out and reading
 * it back through the validation that hostile bytes meet, and every invariant of every index.
 *
 * CORRUPT says where: a byte of the data file for stored segments, a row otherwise.
 */
#include <math.h>
#include <string.h>

#include "store/database.h"

struct verification {
    struct velta *db;
    const struct velta_progress *progress;
    uint64_t done;
    uint64_t total;
};

static enum velta_status step(struct verification *verification, struct velta_error *error) {
    const struct velta_progress *progress = verification->progress;
    verification->done++;
    if (progress && progress->report && !progress->report(progress->context, verification->done, verification->total)) {
        return velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "the verification was cancelled");
    }
    return VELTA_OK;
}

/* ---- stored segments */

static enum velta_status verify_segment(struct velta *db, const struct segment *segment, struct velta_error *error) {
    if (segment->size_bytes > SIZE_MAX / 2) {
        return velta_fail(error, VELTA_LIMIT, segment->offset, "a segment is too large for this machine");
    }
    size_t size_bytes = segment->size_bytes > 0 ? (size_t)segment->size_bytes : 1;
    void *buffer = memory_allocate(db->memory, size_bytes);
    if (!buffer) {
        return memory_fail(db->memory, error);
    }
    enum velta_status status = storage_begin_read(db->storage, segment, buffer, error);
    status = status ? status : commit_drive(db, error);
    memory_release(db->memory, buffer, size_bytes);
    return status;
}

static enum velta_status verify_storage(struct verification *verification, struct velta_error *error) {
    struct velta *db = verification->db;
    size_t count = 0;
    enum velta_status status = VELTA_OK;
    (void)storage_segments(db->storage, &count);
    for (size_t i = 0; i < count && !status; i++) {
        struct segment segment = storage_segments(db->storage, &count)[i];
        status = verify_segment(db, &segment, error);
        status = status ? status : step(verification, error);
    }
    return status;
}

/* ---- tables */

static enum velta_status verify_live(const struct table *table, struct velta_error *error) {
    uint32_t live = 0;
    for (uint32_t row = 0; row < table->row_count; row++) {
        live += bitmap_get(table->live.words, row);
    }
    if (live != table->live_count) {
        return velta_fail(error, VELTA_CORRUPT, VELTA_NO_OFFSET, "table '%.80s' counts %u live rows and has %u",
                          table->name, table->live_count, live);
    }
    return VELTA_OK;
}

static enum velta_status verify_keys(const struct table *table, struct velta_error *error) {
    const struct column *keys = table->key_column;
    for (uint32_t row = 0; keys && row < table->row_count; row++) {
        size_t size_bytes = 0;
        if (!bitmap_get(table->live.words, row)) {
            continue;
        }
        const void *text = keys->spec.type == VELTA_STRING ? column_text(keys, row, &size_bytes) : NULL;
        uint32_t found =
            text ? table_find_text(table, text, size_bytes) : table_find_int(table, column_integer(keys, row));
        if (found != row) {
            return velta_fail(error, VELTA_CORRUPT, row, "table '%.80s': the key of row %u is not found", table->name,
                              row);
        }
    }
    return VELTA_OK;
}

static bool value_is_sound(const struct column *column, uint32_t row, float *scratch) {
    if (column_is_null(column, row)) {
        return !column->spec.required;
    }
    switch (column->spec.type) {
    case VELTA_STRING:
    case VELTA_BYTES:
        return (uint64_t)column_integer(column, row) < dictionary_count(column->dictionary);
    case VELTA_VECTOR:
        if (column->spec.element == VELTA_CODES) {
            return true;
        }
        column_get_vector(column, row, scratch);
        for (uint32_t i = 0; i < column->spec.dimensions; i++) {
            if (!isfinite(scratch[i])) {
                return false;
            }
        }
        return true;
    default:
        return true;
    }
}

static enum velta_status verify_column(struct velta *db, const struct table *table, const struct column *column,
                                       struct velta_error *error) {
    enum velta_status status = apply_reserve_scratch(db, column->spec.dimensions, error);
    for (uint32_t row = 0; row < table->row_count && !status; row++) {
        if (!value_is_sound(column, row, db->scratch)) {
            status = velta_fail(error, VELTA_CORRUPT, row, "table '%.60s': the value of row %u in column '%.60s' is %s",
                                table->name, row, column->spec.name, "not one that it can hold");
        }
    }
    return status;
}

/* ---- history */

static enum velta_status copy_history(struct velta *db, const struct snapshot_table *owner, struct history *copy,
                                      struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    for (uint32_t part = 0; part < history_part_count(owner->history) && !status; part++) {
        uint64_t size_bytes = history_part_bytes(owner->history, part);
        if (size_bytes > SIZE_MAX / 2) {
            return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "the history is too large for this machine");
        }
        size_t buffer_bytes = size_bytes > 0 ? (size_t)size_bytes : 1;
        void *buffer = memory_allocate(db->memory, buffer_bytes);
        if (!buffer) {
            return memory_fail(db->memory, error);
        }
        history_part_write(owner->history, part, buffer);
        status = history_part_read(copy, owner->table, part, buffer, size_bytes, error);
        memory_release(db->memory, buffer, buffer_bytes);
    }
    return status ? status : history_load_finish(copy, owner->table, error);
}

static enum velta_status verify_history(struct velta *db, const struct snapshot_table *owner,
                                        struct velta_error *error) {
    struct history *copy = NULL;
    enum velta_status status = history_create(db->memory, db->simd, db->state.checkpoint_interval, &copy, error);
    if (!status) {
        status = copy_history(db, owner, copy, error);
        history_destroy(copy);
    }
    return status;
}

/* ---- all */

static enum velta_status verify_table(struct verification *verification, const struct snapshot_table *owner,
                                      struct velta_error *error) {
    struct velta *db = verification->db;
    enum velta_status status = verify_live(owner->table, error);
    status = status ? status : verify_keys(owner->table, error);
    status = status ? status : step(verification, error);
    for (size_t c = 0; c < owner->table->column_count && !status; c++) {
        status = verify_column(db, owner->table, owner->table->columns[c], error);
        if (!status && owner->indexes[c]) {
            status = hnsw_check(owner->indexes[c], error);
        }
        status = status ? status : step(verification, error);
    }
    status = status ? status : verify_history(db, owner, error);
    return status ? status : step(verification, error);
}

enum velta_status velta_verify(velta *db, const struct velta_progress *progress, struct velta_error *error) {
    struct verification verification = {.db = db, .progress = progress};
    size_t segment_count = 0;
    if (db->in_callback) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "a watch callback must not call the database");
    }
    if (db->storage) {
        (void)storage_segments(db->storage, &segment_count);
    }
    verification.total = segment_count;
    for (size_t t = 0; t < db->state.table_count; t++) {
        verification.total += db->state.tables[t].dropped ? 0 : 2 + db->state.tables[t].table->column_count;
    }
    enum velta_status status = db->storage ? verify_storage(&verification, error) : VELTA_OK;
    for (size_t t = 0; t < db->state.table_count && !status; t++) {
        if (!db->state.tables[t].dropped) {
            status = verify_table(&verification, &db->state.tables[t], error);
        }
    }
    return status;
}
