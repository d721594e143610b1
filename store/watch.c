/*
 * Subscriptions: a flat list of callbacks, called in order of subscription after each applied change.
 *
 * A callback must not call the database (database_check refuses); unsubscribing from inside one is allowed and takes
 * effect at once.
 */
#include <string.h>

#include "store/database.h"

uint64_t velta_watch(velta *db, velta_watch_function *callback, void *context) {
    if (!callback || db->in_callback) {
        return 0;
    }
    if (memory_grow_array(db->memory, (void **)&db->watchers, &db->watcher_capacity, db->watcher_count + 1,
                          sizeof *db->watchers, NULL)) {
        return 0;
    }
    uint64_t id = ++db->next_watch_id;
    db->watchers[db->watcher_count++] = (struct watcher){.id = id, .callback = callback, .context = context};
    return id;
}

/* Removed at once where it is safe; inside a callback only silenced, and swept after the round. */
static void sweep(struct velta *db) {
    size_t kept = 0;
    for (size_t i = 0; i < db->watcher_count; i++) {
        if (db->watchers[i].callback) {
            db->watchers[kept++] = db->watchers[i];
        }
    }
    db->watcher_count = kept;
}

void velta_unwatch(velta *db, uint64_t id) {
    for (size_t i = 0; i < db->watcher_count; i++) {
        if (db->watchers[i].id == id) {
            db->watchers[i].callback = NULL;
        }
    }
    if (!db->in_callback) {
        sweep(db);
    }
}

static void call_all(struct velta *db, const struct velta_change *change) {
    db->in_callback = true;
    for (size_t i = 0; i < db->watcher_count; i++) {
        if (db->watchers[i].callback) {
            db->watchers[i].callback(db->watchers[i].context, change);
        }
    }
    db->in_callback = false;
    sweep(db);
}

static const char *column_name(const struct velta *db, const struct change *change) {
    const struct table *table = db->state.tables[change->table].table;
    return table && change->column < table->column_count ? table->columns[change->column]->spec.name : NULL;
}

/* Vector deltas are told in runs, so that no memory is needed. */
static void notify_vectors(struct velta *db, const struct change *change, struct velta_change *public_change) {
    enum { RUN = 256 };
    uint32_t rows[RUN];
    for (uint32_t start = 0; start < change->delta_count; start += RUN) {
        uint32_t count = change->delta_count - start < RUN ? change->delta_count - start : RUN;
        for (uint32_t i = 0; i < count; i++) {
            rows[i] = change->deltas[start + i].row;
        }
        public_change->rows = rows;
        public_change->row_count = count;
        public_change->sequence = change->sequence + start;
        call_all(db, public_change);
    }
}

void watch_notify(struct velta *db, const struct change *change) {
    if (db->watcher_count == 0 || change->kind == CHANGE_TAG) {
        return;
    }
    struct velta_change public_change = {
        .table = db->handles[change->table],
        .rows = change->rows,
        .row_count = change->row_count,
        .sequence = change->sequence,
        .time_ms = change->time_ms,
    };
    switch (change->kind) {
    case CHANGE_ROWS_INSERT:
        public_change.kind = VELTA_CHANGE_INSERT;
        public_change.first_row = change->first_row;
        break;
    case CHANGE_ROWS_SET:
        public_change.kind = VELTA_CHANGE_UPDATE;
        public_change.column = column_name(db, change);
        break;
    case CHANGE_ROWS_EXPIRY:
        public_change.kind = VELTA_CHANGE_UPDATE;
        break;
    case CHANGE_ROWS_DELETE:
        public_change.kind = VELTA_CHANGE_DELETE;
        break;
    case CHANGE_VECTORS:
        public_change.kind = VELTA_CHANGE_VECTORS;
        public_change.column = column_name(db, change);
        notify_vectors(db, change, &public_change);
        return;
    default:
        public_change.kind = VELTA_CHANGE_TABLE;
    }
    call_all(db, &public_change);
}

void watch_notify_renumbered(struct velta *db, uint32_t table) {
    struct velta_change change = {
        .kind = VELTA_CHANGE_RENUMBERED,
        .table = db->handles[table],
        .sequence = db->next_sequence - 1,
        .time_ms = db->last_time_ms,
    };
    call_all(db, &change);
}
