/*
 * The insides of a database, shared by the files of store/ only.
 *
 * Who does what: database.c opens, loads, closes; tables.c makes and drops tables and columns; commit.c is the one path
 * of every change (reserve, log, apply, tell watchers) and apply.c its effect on the state; replay.c checks and applies
 * the log; write.c and write_delta.c turn public batches into changes; checkpoint.c checkpoints, exports, imports;
 * compact.c compacts; follow.c keeps the log's tail for followers, and follows; verify.c checks; read.c finds and gets
 * rows, now and in the past; query.c searches; aggregate.c, iterate.c, watch.c, result.c are what they say; snapshot.c
 * imports an export by parts.
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

/* What a change of the schema or of the tags will bring, made before the change is logged. */
struct prepared {
    struct snapshot_table table;
    struct snapshot_table *tables; /* the array with room for one more */
    struct velta_table *handle;
    struct snapshot_tag *tags;
    char *tag_name;
    struct velta_table *column_of; /* a column was added to this table's end, not yet for good */
};

/* The newest frames of the log, for those that follow it. */
struct log_tail {
    uint64_t limit_bytes; /* 0: none are kept */
    uint64_t size_bytes;
    struct tail_frame *first;
    struct tail_frame *last;
    uint64_t sequence; /* the last change before the batch at the end */
    bool is_batch_open;
};

struct velta {
    struct memory *memory;
    const struct simd_kernels *simd;
    struct snapshot_state state;
    struct velta_table **handles; /* one per table ever made, same order as state.tables */
    size_t handle_capacity;

    struct storage *storage; /* NULL: in memory, without a log */
    struct velta_host host;
    bool host_open;
    struct record_buffer *pending; /* changes applied but not yet in a frame (relaxed) */
    uint64_t log_raw_bytes;        /* since the last checkpoint */
    uint8_t *body;                 /* of the frame being written */
    size_t body_capacity;
    uint32_t encoded_table; /* rows of this table that changes encoded before in the batch will have added */
    uint32_t encoded_rows;
    struct prepared prepared;
    float *scratch; /* one vector of any column; two while rows are set */
    size_t scratch_floats;
    bool graph_dirty; /* links were made that the log does not tell of */
    bool read_only;
    bool poisoned;
    bool torn; /* a batch of another database was applied in part: nothing is answered any more */
    enum velta_durability durability;
    uint64_t checkpoint_bytes;

    uint64_t next_sequence; /* of the next change; the first is 1 */
    int64_t last_time_ms;
    int64_t made_ms; /* when its files were made; 0: not yet, or they are an export */
    uint64_t log_digest;  /* of everything that was logged: follow.c */
    struct log_tail tail; /* what of it is kept in memory */
    int64_t (*now_ms)(void *context);
    void *now_context;
    struct velta_executor executor;
    bool executor_made;
    uint32_t thread_count;

    struct watcher *watchers;
    size_t watcher_count;
    size_t watcher_capacity;
    uint64_t next_watch_id;
    uint32_t open_iterators;
    uint32_t open_snapshots; /* whose graphs may still come */
    uint64_t layout_epoch; /* raised by compact and drop: compiled filters bind anew */
    bool in_callback;
};

static inline struct snapshot_table *database_table(const struct velta_table *handle) {
    return &handle->db->state.tables[handle->number];
}
static inline struct table *database_rows(const struct velta_table *handle) {
    return database_table(handle)->table;
}

VELTA_MUST_USE enum velta_status database_check_options(const char *path, const struct velta_options *options,
                                                        struct velta_error *error);
/* An empty database without storage. */
VELTA_MUST_USE enum velta_status database_create(const struct velta_options *options, struct velta **out,
                                                 struct velta_error *error);
/* The same for what an export holds, which lives in memory: the options are checked, and name no host. */
VELTA_MUST_USE enum velta_status database_create_import(const struct velta_options *options, struct velta **out,
                                                        struct velta_error *error);
void database_free(struct velta *db, bool close_host);
/* Opens the storage of an export over the host that is there: its roots and its directory are right. */
VELTA_MUST_USE enum velta_status database_open_export(struct velta *db, uint64_t size_bytes, struct velta_error *error);
/* From here on a database in memory: the bytes are the caller's again, and the host is closed. */
void database_leave_storage(struct velta *db);
/* What searches must know of the data, after loading. */
VELTA_MUST_USE enum velta_status database_calibrate(struct velta *db, struct velta_error *error);
/* The clock of changes, never going back. */
int64_t database_now(struct velta *db);
/* Fails when the database cannot be used: from inside a callback, or torn. */
VELTA_MUST_USE enum velta_status database_check_usable(const struct velta *db, struct velta_error *error);
/* The same, and when the handle's table has been dropped. */
VELTA_MUST_USE enum velta_status database_check(const struct velta_table *handle, struct velta_error *error);
/* Fails when nothing may be written: read-only, poisoned, or inside a callback. */
VELTA_MUST_USE enum velta_status database_check_writable(const struct velta *db, struct velta_error *error);
/* A column by name; `kind_of_call` fills the sentence. UNKNOWN_COLUMN names the table. */
VELTA_MUST_USE enum velta_status database_find_column(const struct table *table, const char *name, size_t *column,
                                                      struct velta_error *error);
/* The threads, made at first use; never fails (one thread where there are no more). NULL: this thread alone. */
const struct velta_executor *database_executor(struct velta *db);
/* Adds handles for tables that have none. */
VELTA_MUST_USE enum velta_status database_make_handles(struct velta *db, struct velta_error *error);

/* at_ms -> sequence for a table: HISTORY_NOW for 0 and for times not before the last change. */
VELTA_MUST_USE enum velta_status database_sequence_at(const struct velta_table *handle, int64_t at_ms,
                                                      uint64_t *sequence, struct velta_error *error);

/* ---- commit.c ---- */
/*
 * Commits changes as one all-or-nothing batch: each is already checked against the state as it will be when its turn
 * comes; this assigns sequences and times (a change's own, or time_ms, or now; never going back), reserves, logs,
 * applies, tells watchers. At most one change of the batch may be of the schema or the tags, and then it is alone.
 */
VELTA_MUST_USE enum velta_status commit_changes(struct velta *db, struct change *changes, size_t change_count,
                                                int64_t time_ms, const struct velta_progress *progress,
                                                struct velta_error *error);
/* Runs the storage machine's present task to its end. */
VELTA_MUST_USE enum velta_status commit_drive(struct velta *db, struct velta_error *error);
/* Writes pending changes to the log (and syncs when `sync`). */
VELTA_MUST_USE enum velta_status commit_flush(struct velta *db, bool sync, struct velta_error *error);
struct record_schema commit_record_schema(struct velta *db);

/* ---- apply.c ---- */
/*
 * Everything that applying the change can need, the changes of its batch before it being reserved but not yet applied.
 * `added`: index nodes that those may add. Schema and tags: what will be is put into db->prepared.
 */
VELTA_MUST_USE enum velta_status apply_reserve(struct velta *db, const struct change *change, uint32_t *added,
                                               struct velta_error *error);
/* db->scratch for so many floats. */
VELTA_MUST_USE enum velta_status apply_reserve_scratch(struct velta *db, uint32_t floats,
                                                       struct velta_error *error);
/*
 * Rows lie anywhere, so a vector delta is mostly waiting for memory: its history, the index, the vector. This asks for
 * what some deltas will touch, kind by kind: in loops that short the misses are waited for side by side, also where the
 * machine has no hints but only loads. What APPLY_NEAR_DELTAS of them touch stays in the cache.
 */
enum { APPLY_NEAR_DELTAS = 64 };
void apply_bring_near(const struct snapshot_table *owner, uint32_t column, const struct vector_delta *deltas,
                      size_t count);
/* Takes back what was reserved and not applied. */
void apply_abandon(struct velta *db);
/* The change, its history and the counters of sequence and time. Cannot fail. */
void apply_change(struct velta *db, const struct change *change);
/* history_vector_function over a snapshot_table (context): the decoded vector of a codes-only column. */
void commit_codes_vector(void *snapshot_table, uint32_t column, uint32_t row, float *out);

/* ---- replay.c ---- */
/* Applies the committed frames of the log after the state it belongs to. CORRUPT with the offset in the log. */
VELTA_MUST_USE enum velta_status replay_log(struct velta *db, const struct velta_progress *progress,
                                            struct velta_error *error);

/* Applies the changes of one frame's body, and tells the watchers. CORRUPT with `offset`; BUSY: an iterator is open. */
VELTA_MUST_USE enum velta_status replay_body(struct velta *db, const void *body, size_t size_bytes, uint64_t offset,
                                             struct velta_error *error);
/* One change of the log: checked against the state, then applied. */
VELTA_MUST_USE enum velta_status replay_change(struct velta *db, const struct change *change,
                                               struct velta_error *error);
/* The same for one row's part of a change of rows that are there, whose place in the order is known to be right. */
VELTA_MUST_USE enum velta_status replay_piece(struct velta *db, const struct change *piece, struct velta_error *error);

/* ---- checkpoint.c ---- */
VELTA_MUST_USE enum velta_status checkpoint_run(struct velta *db, struct snapshot_state *state, bool all,
                                                const struct velta_progress *progress, struct velta_error *error);
/* The counters that the root of the storage just opened holds. */
VELTA_MUST_USE enum velta_status checkpoint_load_root(struct velta *db, struct velta_error *error);
/* The next change comes after all that there are, or the order of histories would break. */
VELTA_MUST_USE enum velta_status checkpoint_check_clock(const struct velta *db, struct velta_error *error);
/* Reads the state from the storage just opened. */
VELTA_MUST_USE enum velta_status checkpoint_load(struct velta *db, const struct velta_progress *progress,
                                                 struct velta_error *error);

/* ---- follow.c ---- */
/* The digest after something of this checksum, never 0. */
uint64_t follow_digest(uint64_t before, uint64_t checksum);
/* The frame that was written or replayed last is in the log: the digest moves on, and the tail takes it. */
void follow_logged(struct velta *db, const void *body, size_t body_bytes, bool commit);
/* The frames after the last committed one were taken back; `digest`: the one before them. */
void follow_rollback(struct velta *db, uint64_t digest);
/* Empties the tail. */
void follow_clear(struct velta *db);

/* ---- compact.c ---- */
/* Drops the dead rows and the texts that salvage left in a database in memory; all history that is there stays. */
VELTA_MUST_USE enum velta_status compact_salvaged(struct velta *db, const struct velta_progress *progress,
                                                  struct velta_error *error);

/* ---- write_delta.c ---- */
/*
 * Whether deltas of the log on live rows of one vector column, applied in order, are possible: the vectors are not
 * NULL and stay finite. The index of the offending one in error->offset.
 */
VELTA_MUST_USE enum velta_status write_check_deltas(struct velta *db, const struct snapshot_table *owner,
                                                    uint32_t column, const struct vector_delta *deltas, size_t count,
                                                    struct velta_error *error);

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
VELTA_MUST_USE enum velta_status read_filter(const struct velta_table *handle, struct filter *filter, uint64_t sequence,
                                             const uint64_t *visible, uint64_t *out, uint64_t *count,
                                             struct velta_error *error);

/* ---- watch.c ---- */
/* Calls the watchers for one applied change. */
void watch_notify(struct velta *db, const struct change *change);
/* Calls them for a table whose rows were renumbered. */
void watch_notify_renumbered(struct velta *db, uint32_t table);

#endif
