/*
 * The insides of a database, shared by the files of store/ only.
 *
 * Who does what: database.c opens, replays, closes; commit.c is the one path of every change (check, reserve, log,
 * apply, tell watchers); write.c turns public batches into changes; checkpoint.c checkpoints, exports, imports;
 * compact.c compacts; verify.c checks; read.c finds and gets rows, now and in the past; query.c searches; aggregate.c,
 * iterate.c, watch.c, result.c are what they say.
 */
#ifndef VELTA_STORE_DATABASE_H
#define VELTA_STORE_DATABASE_H

#include "core/error.h"
#include "core/filter.h"
#include "delta/change.h"
#include "delta/record.h"
#include "delta/snapshot.h"
#include "store/host.h"
#include "store/velta.h"

struct velta_table {
    struct velta *db;
    uint32_t number; /* index into db->state.tables */
    bool dropped;    /* the handle stays allocated until close */
};

struct watcher {
    uint64_t id;
    velta_watch_function *callback;
    void *context;
};

struct velta {
    struct memory *memory;
    const struct simd_kernels *simd;
    struct snapshot_state state;
    struct velta_table **handles; /* one per table ever made, same order as state.tables */
    size_t handle_capacity;

    struct storage *storage;
    struct velta_host host;
    struct record_buffer *pending; /* changes applied but not yet in a frame (relaxed) */
    uint64_t log_raw_bytes;        /* since the last checkpoint */
    bool read_only;
    bool poisoned;
    enum velta_durability durability;
    uint64_t checkpoint_bytes;

    uint64_t next_sequence; /* of the next change; the first is 1 */
    int64_t last_time_ms;
    int64_t (*now_ms)(void *context);
    void *now_context;
    struct velta_executor executor;
    bool executor_made;

    struct watcher *watchers;
    size_t watcher_count;
    size_t watcher_capacity;
    uint64_t next_watch_id;
    uint32_t open_iterators;
    uint64_t layout_epoch; /* raised by compact and drop: compiled filters bind anew */
    bool in_callback;
};

static inline struct snapshot_table *database_table(const struct velta_table *handle) {
    return &handle->db->state.tables[handle->number];
}
static inline struct table *database_rows(const struct velta_table *handle) { return database_table(handle)->table; }

/* The clock of changes, never going back. */
int64_t database_now(struct velta *db);
/* Fails when the handle or database cannot be used (dropped table, call from inside a callback). */
VELTA_MUST_USE enum velta_status database_check(const struct velta_table *handle, struct velta_error *error);

/* at_ms -> sequence for a table: HISTORY_NOW for 0 and for times not before the last change. */
VELTA_MUST_USE enum velta_status database_sequence_at(const struct velta_table *handle, int64_t at_ms,
                                                      uint64_t *sequence, struct velta_error *error);

/* ---- commit.c ---- */
/*
 * Commits changes as one all-or-nothing batch: each is already checked against the state as it will be when its turn
 * comes; this assigns sequences and times (time_ms 0: now), reserves, logs, applies, tells watchers.
 */
VELTA_MUST_USE enum velta_status commit_changes(struct velta *db, struct change *changes, size_t change_count,
                                                int64_t time_ms, const struct velta_progress *progress,
                                                struct velta_error *error);
/* Reserve and apply one change to the state (no log): replay's half. */
VELTA_MUST_USE enum velta_status commit_reserve(struct velta *db, const struct change *change,
                                                struct velta_error *error);
void commit_apply(struct velta *db, const struct change *change);
/* Runs the storage machine's present task to its end. */
VELTA_MUST_USE enum velta_status commit_drive(struct velta *db, struct velta_error *error);
/* Writes pending changes to the log (and syncs when `sync`). */
VELTA_MUST_USE enum velta_status commit_flush(struct velta *db, bool sync, struct velta_error *error);
struct record_schema commit_record_schema(struct velta *db);
/* history_vector_function over a snapshot_table's indexes (context): the decoded vector of a codes-only column. */
void commit_codes_vector(void *snapshot_table, uint32_t column, uint32_t row, float *out);

/* ---- read.c ---- */
/* Rows of keys just after `sequence` (HISTORY_NOW: now); VELTA_NO_ROW where none lives. Checks the kind of keys. */
VELTA_MUST_USE enum velta_status read_find(const struct velta_table *handle, const struct velta_keys *keys,
                                           size_t key_count, uint64_t sequence, uint32_t *rows,
                                           struct velta_error *error);
/* One vector as f32 just after `sequence`, whatever the element; false: NULL. */
bool read_vector(const struct velta_table *handle, uint32_t column, uint32_t row, uint64_t sequence, float *out);
/* Visible rows now or then as a bitmap (bitmap_words(row_count) words) and their count. */
uint64_t read_visible(const struct velta_table *handle, uint64_t sequence, int64_t now_ms, uint64_t *out);
/* Rows that match a filter then: `visible` in, `out` out. */
VELTA_MUST_USE enum velta_status read_filter(const struct velta_table *handle, struct filter *filter,
                                             uint64_t sequence, const uint64_t *visible, uint64_t *out,
                                             uint64_t *count, struct velta_error *error);

/* ---- watch.c ---- */
/* Calls the watchers for one applied change. */
void watch_notify(struct velta *db, const struct change *change);
/* Calls them for a table whose rows were renumbered. */
void watch_notify_renumbered(struct velta *db, uint32_t table);

#endif
