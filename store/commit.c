/*
 * The one path of every change: reserve everything, write the log, apply, tell the watchers.
 *
 *   strict   one batch, one frame (several, the last committing, when it is large), synced before it is applied
 *   relaxed  changes gather in db->pending and go out together when they are GROUP_BYTES; velta_flush syncs
 *   memory   a database without storage has no log
 *
 * Invariants
 *  - What is applied is in the log or in db->pending; what is in the log is whole batches, but for a batch that is
 *    being written, whose frames are taken back (storage_begin_rollback) when it is given up.
 *  - A batch that fails before it is applied leaves state, log and pending as they were. Only failing storage leaves a
 *    trace: the database is poisoned, because what is on the medium is not known until it is opened again.
 *  - A batch larger than FRAME_BYTES shares no frame with earlier ones, so that taking it back takes nothing else.
 */
#include <string.h>

#include "store/batch.h"
#include "store/database.h"

enum { FRAME_BYTES = 4 << 20, GROUP_BYTES = 256 << 10, KEPT_BODY_BYTES = 1 << 20 };

/* ---- the storage machine */

enum velta_status commit_drive(struct velta *db, struct velta_error *error) {
    struct storage_operation operation;
    struct storage_result result;
    bool more = true;
    for (;;) {
        enum velta_status status = storage_next(db->storage, &operation, &more, error);
        if (status || !more) {
            db->poisoned = storage_is_poisoned(db->storage);
            return status;
        }
        result = (struct storage_result){0};
        db->host.execute(db->host.context, &operation, &result);
        storage_done(db->storage, &result);
    }
}

/* ---- the log */

static const struct velta_column *const *schema_columns(void *context, uint32_t table, uint32_t *column_count) {
    const struct velta *db = context;
    if (table >= db->state.table_count || db->state.tables[table].dropped) {
        return NULL;
    }
    /* A column begins with its spec, so pointers to columns are pointers to specs. */
    const struct table *rows = db->state.tables[table].table;
    *column_count = (uint32_t)rows->column_count;
    return (const struct velta_column *const *)(const void *)rows->columns;
}

static uint32_t schema_row_count(void *context, uint32_t table) {
    const struct velta *db = context;
    if (table >= db->state.table_count || db->state.tables[table].dropped) {
        return 0;
    }
    return db->state.tables[table].table->row_count + (table == db->encoded_table ? db->encoded_rows : 0);
}

struct record_schema commit_record_schema(struct velta *db) {
    return (struct record_schema){.context = db, .columns = schema_columns, .row_count = schema_row_count};
}

/* Everything pending as one frame. On failure pending is as it was. */
static enum velta_status write_frame(struct velta *db, bool commit, struct velta_error *error) {
    uint64_t raw_bytes = record_buffer_bytes(db->pending);
    size_t bound = record_body_bound(db->pending);
    size_t body_bytes = 0;
    if (bound > db->body_capacity) {
        uint8_t *larger = memory_resize(db->memory, NULL, 0, bound);
        if (!larger) {
            return memory_fail(db->memory, error);
        }
        memory_release(db->memory, db->body, db->body_capacity);
        db->body = larger;
        db->body_capacity = bound;
    }
    enum velta_status status = record_body_write(db->pending, db->body, db->body_capacity, &body_bytes, error);
    status = status ? status : storage_begin_append(db->storage, db->body, body_bytes, commit, error);
    status = status ? status : commit_drive(db, error);
    if (!status) {
        follow_logged(db, db->body, body_bytes, commit);
        record_buffer_clear(db->pending);
        db->log_raw_bytes += raw_bytes;
    }
    return status;
}

static void release_large_body(struct velta *db) {
    if (db->body_capacity > KEPT_BODY_BYTES) {
        memory_release(db->memory, db->body, db->body_capacity);
        db->body = NULL;
        db->body_capacity = 0;
    }
}

static enum velta_status sync_log(struct velta *db, struct velta_error *error) {
    enum velta_status status = storage_begin_sync(db->storage, error);
    return status ? status : commit_drive(db, error);
}

enum velta_status commit_flush(struct velta *db, bool sync, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (!db->storage || db->read_only) {
        return VELTA_OK;
    }
    if (db->poisoned) {
        return velta_fail(error, VELTA_POISONED, VELTA_NO_OFFSET,
                          "an earlier failure left the storage uncertain; reopen the database");
    }
    if (record_buffer_bytes(db->pending) > 0) {
        status = write_frame(db, true, error);
        release_large_body(db);
    }
    return status || !sync ? status : sync_log(db, error);
}

/* About what a batch takes in the log before compression. */
static uint64_t changes_bytes(const struct velta *db, const struct change *changes, size_t change_count) {
    uint64_t total = 0;
    for (size_t i = 0; i < change_count; i++) {
        const struct change *change = &changes[i];
        const struct table *table =
            change->kind == CHANGE_ROWS_INSERT || change->kind == CHANGE_ROWS_SET || change->kind == CHANGE_VECTORS
                ? db->state.tables[change->table].table
                : NULL;
        size_t first = change->kind == CHANGE_ROWS_SET ? change->column : 0;
        size_t value_count = change->kind == CHANGE_ROWS_SET ? 1 : change->column_count;
        total += 16 + UINT64_C(8) * change->row_count;
        for (size_t c = 0; c < value_count && change->values; c++) {
            total += batch_bytes(&table->columns[first + c]->spec, &change->values[c], 0, change->row_count);
        }
        for (uint32_t d = 0; d < change->delta_count; d++) {
            total += 24 + UINT64_C(8) * change->deltas[d].count + change->deltas[d].metadata_bytes;
        }
    }
    return total;
}

/* Puts the batch into pending and, where it is due, into frames. *frames: how many went out uncommitted. */
static enum velta_status encode_batch(struct velta *db, const struct change *changes, size_t change_count, bool large,
                                      const struct velta_progress *progress, size_t *frames,
                                      struct velta_error *error) {
    struct record_schema schema = commit_record_schema(db);
    enum velta_status status = VELTA_OK;
    for (size_t i = 0; i < change_count && !status; i++) {
        db->encoded_table = changes[i].table;
        status = record_buffer_add(db->pending, &schema, &changes[i], error);
        if (changes[i].kind == CHANGE_ROWS_INSERT) {
            db->encoded_rows += changes[i].row_count;
        }
        if (!status && large && i + 1 < change_count && record_buffer_bytes(db->pending) >= FRAME_BYTES) {
            status = write_frame(db, false, error);
            *frames += !status;
            if (!status && progress && progress->report && !progress->report(progress->context, i + 1, change_count)) {
                status = velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "cancelled; nothing was written");
            }
        }
    }
    db->encoded_rows = 0;
    return status;
}

static enum velta_status log_batch(struct velta *db, const struct change *changes, size_t change_count,
                                   const struct velta_progress *progress, struct velta_error *error) {
    bool strict = db->durability == VELTA_STRICT;
    bool large = change_count > 1 && changes_bytes(db, changes, change_count) > FRAME_BYTES;
    enum velta_status status = VELTA_OK;
    size_t frames = 0;
    if (large && record_buffer_bytes(db->pending) > 0) {
        status = write_frame(db, true, error);
        if (status) {
            return status;
        }
    }
    struct record_mark mark = record_buffer_mark(db->pending);
    uint64_t digest = db->log_digest;
    uint64_t raw_bytes = db->log_raw_bytes;
    status = encode_batch(db, changes, change_count, large, progress, &frames, error);
    bool is_due = strict || large || db->tail.limit_bytes > 0; /* followers get batches one by one */
    if (!status && (is_due || record_buffer_bytes(db->pending) >= GROUP_BYTES)) {
        status = write_frame(db, true, error);
        if (!status && strict) {
            return sync_log(db, error);
        }
    }
    if (status && frames == 0) {
        record_buffer_rewind(db->pending, mark);
    } else if (status) {
        record_buffer_clear(db->pending); /* nothing but this batch is in it */
        follow_rollback(db, digest);
        db->log_raw_bytes = raw_bytes;
        if (!db->poisoned && (storage_begin_rollback(db->storage, NULL) || commit_drive(db, NULL))) {
            db->poisoned = true;
        }
    }
    return status;
}

/* ---- the path */

static enum velta_status reserve_batch(struct velta *db, const struct change *changes, size_t change_count,
                                       struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    uint32_t added = 0;
    for (size_t i = 0; i < change_count && !status; i++) {
        status = apply_reserve(db, &changes[i], &added, error);
    }
    return status;
}

/* After the fact: the batch is written and applied whatever happens here, and a refusal is tried again next time. */
static void checkpoint_if_due(struct velta *db) {
    if (storage_log_bytes(db->storage) > db->checkpoint_bytes) {
        enum velta_status status = checkpoint_run(db, &db->state, false, NULL, NULL);
        (void)status;
    }
}

enum velta_status commit_changes(struct velta *db, struct change *changes, size_t change_count, int64_t time_ms,
                                 const struct velta_progress *progress, struct velta_error *error) {
    enum velta_status status = database_check_writable(db, error);
    if (status || change_count == 0) {
        return status;
    }
    uint64_t sequence = db->next_sequence;
    time_ms = time_ms != 0 ? time_ms : database_now(db);
    int64_t last_ms = db->next_sequence == 1 ? INT64_MIN : db->last_time_ms;
    for (size_t i = 0; i < change_count; i++) {
        int64_t wanted_ms = changes[i].time_ms != 0 ? changes[i].time_ms : time_ms;
        last_ms = wanted_ms > last_ms ? wanted_ms : last_ms;
        changes[i].sequence = sequence;
        changes[i].time_ms = last_ms;
        sequence += change_span(&changes[i]);
    }
    status = reserve_batch(db, changes, change_count, error);
    if (!status && db->storage) {
        status = log_batch(db, changes, change_count, progress, error);
        release_large_body(db);
    }
    if (status) {
        apply_abandon(db);
        return status;
    }
    for (size_t i = 0; i < change_count; i++) {
        apply_change(db, &changes[i]);
    }
    for (size_t i = 0; i < change_count; i++) {
        watch_notify(db, &changes[i]);
    }
    if (db->storage) {
        checkpoint_if_due(db);
    }
    return VELTA_OK;
}
