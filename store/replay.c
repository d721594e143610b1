/*
 * The log after its checkpoint: each change decoded, checked against the state, reserved and applied, as when written.
 *
 * Frames are checksummed and their codec checks shapes (delta/record.h). What only the state can tell is checked here,
 * because bytes can be hostile: sequence and time go on where the state ends, rows live, keys are unique, values fit
 * their columns, vectors stay finite. Whatever does not is CORRUPT at the frame's place in the log.
 */
#include <stdio.h>
#include <string.h>

#include "store/database.h"

static enum velta_status check_live_rows(const struct table *table, const struct change *change,
                                         struct velta_error *error) {
    for (uint32_t i = 0; i < change->row_count; i++) {
        uint32_t row = change->rows[i];
        if (row >= table->row_count || !bitmap_get(table->live.words, row)) {
            return velta_fail(error, VELTA_CORRUPT, i, "row %u is not there", row);
        }
        if (i > 0 && row <= change->rows[i - 1]) {
            return velta_fail(error, VELTA_CORRUPT, i, "row %u does not ascend", row);
        }
    }
    return VELTA_OK;
}

static enum velta_status check_create(const struct velta *db, const struct change *change, struct velta_error *error) {
    if (change->table != db->state.table_count) {
        return velta_fail(error, VELTA_CORRUPT, 0, "table %u is made out of turn", change->table);
    }
    for (size_t i = 0; i < db->state.table_count; i++) {
        const struct snapshot_table *owner = &db->state.tables[i];
        if (!owner->dropped && strcmp(owner->table->name, change->name) == 0) {
            return velta_fail(error, VELTA_CORRUPT, 0, "table '%.100s' is made twice", change->name);
        }
    }
    return VELTA_OK;
}

static enum velta_status check_rows_change(struct velta *db, const struct change *change, struct velta_error *error) {
    const struct snapshot_table *owner = &db->state.tables[change->table];
    const struct table *table = owner->table;
    enum velta_status status = VELTA_OK;
    switch (change->kind) {
    case CHANGE_ROWS_INSERT:
        if (change->first_row != table->row_count || change->column_count != table->column_count ||
            change->row_count > VELTA_MAX_ROWS - table->row_count) {
            return velta_fail(error, VELTA_CORRUPT, 0, "rows are added out of turn");
        }
        return table_check_append(table, change->values, change->row_count, error);
    case CHANGE_ROWS_SET:
        status = check_live_rows(table, change, error);
        if (!status && change->column >= table->column_count) {
            status = velta_fail(error, VELTA_CORRUPT, 0, "column %u is not there", change->column);
        }
        return status ? status
                      : table_check_set(table, change->column, change->values, change->rows, change->row_count, error);
    case CHANGE_VECTORS:
        for (uint32_t i = 0; i < change->delta_count; i++) {
            uint32_t row = change->deltas[i].row;
            if (row >= table->row_count || !bitmap_get(table->live.words, row)) {
                return velta_fail(error, VELTA_CORRUPT, i, "row %u is not there", row);
            }
        }
        if (change->column >= table->column_count || table->columns[change->column]->spec.type != VELTA_VECTOR) {
            return velta_fail(error, VELTA_CORRUPT, 0, "column %u holds no vectors", change->column);
        }
        return write_check_deltas(db, owner, change->column, change->deltas, change->delta_count, error);
    default:
        return check_live_rows(table, change, error);
    }
}

static enum velta_status check_change(struct velta *db, const struct change *change, struct velta_error *error) {
    if (change->sequence != db->next_sequence || change_span(change) == 0) {
        return velta_fail(error, VELTA_CORRUPT, 0, "change %llu stands where %llu is due",
                          (unsigned long long)change->sequence, (unsigned long long)db->next_sequence);
    }
    if (change->time_ms < db->last_time_ms && db->next_sequence > 1) {
        return velta_fail(error, VELTA_CORRUPT, 0, "time goes back");
    }
    if (change->kind == CHANGE_TABLE_CREATE) {
        return check_create(db, change, error);
    }
    if (change->kind == CHANGE_TAG) {
        return VELTA_OK;
    }
    if (change->table >= db->state.table_count || db->state.tables[change->table].dropped) {
        return velta_fail(error, VELTA_CORRUPT, 0, "table %u is not there", change->table);
    }
    if (change->kind == CHANGE_TABLE_DROP && db->open_iterators > 0) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "an iterator is open where a table is dropped");
    }
    if (change->kind == CHANGE_TABLE_DROP || change->kind == CHANGE_COLUMN_ADD) {
        return VELTA_OK;
    }
    return check_rows_change(db, change, error);
}

static enum velta_status apply_checked(struct velta *db, const struct change *change, struct velta_error *error) {
    uint32_t added = 0;
    enum velta_status status = apply_reserve(db, change, &added, error);
    if (status) {
        apply_abandon(db);
    } else {
        apply_change(db, change);
    }
    return status;
}

enum velta_status replay_change(struct velta *db, const struct change *change, struct velta_error *error) {
    enum velta_status status = check_change(db, change, error);
    return status ? status : apply_checked(db, change, error);
}

enum velta_status replay_piece(struct velta *db, const struct change *piece, struct velta_error *error) {
    enum velta_status status = check_rows_change(db, piece, error);
    return status ? status : apply_checked(db, piece, error);
}

/* Refusals for the time are not damage; everything else that a change of the log meets is. */
static enum velta_status damage(enum velta_status status, uint64_t offset, struct velta_error *error) {
    char text[sizeof error->text];
    if (status == VELTA_OK || status == VELTA_NO_MEMORY || status == VELTA_OVER_BUDGET || status == VELTA_BUSY) {
        return status;
    }
    snprintf(text, sizeof text, "%s", error ? error->text : "");
    return velta_fail(error, VELTA_CORRUPT, offset, "the log cannot be replayed at byte %llu: %.180s",
                      (unsigned long long)offset, text);
}

enum velta_status replay_body(struct velta *db, const void *body, size_t size_bytes, uint64_t offset,
                              struct velta_error *error) {
    struct velta_error own;
    error = error ? error : &own;
    struct record_schema schema = commit_record_schema(db);
    struct record_reader *reader = NULL;
    bool more = true;
    enum velta_status status = record_reader_open(db->memory, body, size_bytes, &reader, error);
    if (status) {
        return damage(status, offset, error);
    }
    db->log_raw_bytes += db->storage ? record_reader_bytes(reader) : 0;
    for (;;) {
        struct change change = {0};
        status = record_reader_next(reader, &schema, &change, &more, error);
        if (status || !more) {
            break;
        }
        status = replay_change(db, &change, error);
        if (status) {
            break;
        }
        watch_notify(db, &change);
    }
    record_reader_close(reader);
    return damage(status, offset, error);
}

/* Loading comes first: what it loaded counts as done. */
static enum velta_status report(const struct velta_progress *progress, const struct storage_stats *stats,
                                uint64_t replayed_bytes, struct velta_error *error) {
    uint64_t total = stats->live_bytes + stats->log_bytes;
    uint64_t done = stats->live_bytes + replayed_bytes;
    if (total > 0 && progress->report && !progress->report(progress->context, done < total ? done : total, total)) {
        return velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "the replay of the log was cancelled");
    }
    return VELTA_OK;
}

enum velta_status replay_log(struct velta *db, const struct velta_progress *progress, struct velta_error *error) {
    struct storage_stats stats;
    storage_get_stats(db->storage, &stats);
    for (;;) {
        size_t size_bytes = 0;
        uint64_t offset = 0;
        enum velta_status status = storage_begin_replay(db->storage, error);
        status = status ? status : commit_drive(db, error);
        if (status) {
            return status;
        }
        const void *body = storage_replayed_body(db->storage, &size_bytes, &offset);
        if (!body) {
            return report(progress, &stats, stats.log_bytes, error);
        }
        follow_logged(db, body, size_bytes, storage_replayed_commit(db->storage));
        status = replay_body(db, body, size_bytes, offset, error);
        status = status ? status : report(progress, &stats, offset + size_bytes, error);
        if (status) {
            return status;
        }
    }
}
