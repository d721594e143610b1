/*
 * velta: an embedded store that finds rows by meaning and by value in one query.
 *
 * A database holds tables of typed columns; a vector is one more column type. Every modification is a change with a
 * sequence number and a time, written to one log before it is acknowledged; checkpoints make the log short; history
 * keeps the past readable until velta_compact says otherwise.
 *
 *     velta *db;
 *     velta_open("packages.velta", NULL, &db, &error);
 *     velta_table_create(db, "packages", columns, 3, NULL, &table, &error);
 *     velta_insert(table, values, 3, row_count, NULL, NULL, &error);
 *     velta_search(table, &(struct velta_search){.column = "embedding", .queries = q, .query_count = 1, .k = 10,
 *                  .where = "section = 'science'"}, &result, &error);
 *
 * Conventions
 *  - Fallible calls return a status; struct velta_error (may be NULL) takes the sentence, and an offset: the byte of a
 *    file, the position in a filter, the index in a batch. After a failure the database is as it was, unless a
 *    comment says otherwise.
 *  - Option structs are zero for defaults; NULL stands for all zero. `reserved` fields must be zero.
 *  - Arguments are copied or used only during the call. Objects returned through ** belong to the caller, who ends them
 *    with the matching close or free; they must end before their database is closed. free(NULL) is allowed.
 *  - A database and all its objects belong to one thread at a time; the caller serialises.
 *  - Strings are UTF-8. Times are milliseconds since 1970-01-01 UTC. Sizes are bytes. Rows are numbered from 0 in order
 *    of insertion until velta_compact renumbers them.
 *  - The past: where a call takes `at_ms`, 0 is now, other values ask for the state at that time; a time that is no
 *    longer kept fails with VELTA_HISTORY_GONE.
 */
#ifndef VELTA_STORE_VELTA_H
#define VELTA_STORE_VELTA_H

#include "core/types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VELTA_VERSION_TEXT "0.1.0" /* VELTA_VERSION is a status */

typedef struct velta velta;
typedef struct velta_table velta_table;
typedef struct velta_filter velta_filter;
typedef struct velta_result velta_result;
typedef struct velta_iterator velta_iterator;

const char *velta_version(void);
const char *velta_status_name(enum velta_status status);     /* "VELTA_OK", ... */
const char *velta_status_sentence(enum velta_status status); /* "success", ... */

/* ---- Database ------------------------------------------------------------------------------------------------- */

enum velta_durability {
    VELTA_STRICT = 0, /* acknowledged means synced */
    VELTA_RELAXED,    /* acknowledged means queued: written in groups, synced by velta_flush, checkpoint and close */
};

/* Executes storage operations for a database; store/host.h tells the rules for writing one. NULL: files. */
struct velta_host;

struct velta_options {
    const struct velta_allocator *allocator; /* NULL: the system's */
    uint64_t memory_budget_bytes;            /* 0: 1.5 GiB */
    enum velta_durability durability;
    bool read_only;            /* several readers may share a file; nothing is written */
    bool must_exist;           /* VELTA_NOT_FOUND instead of a new database */
    const char *simd;          /* force an instruction set by name; NULL: environment VELTA_SIMD, else the best */
    uint32_t thread_count;     /* for velta_index and compact; 0: one per processor */
    uint32_t chain_interval;   /* vector deltas between full vectors kept in history; 0: 100 */
    uint64_t checkpoint_bytes; /* checkpoint when the log is larger; 0: 32 MiB; UINT64_MAX: never by itself */
    uint64_t log_tail_bytes;   /* newest frames of the log kept in memory, for velta_log_since; 0: none */
    int64_t (*now_ms)(void *context); /* the clock of changes and expiry; NULL: the system's */
    void *now_context;
    struct velta_host *host;
    struct velta_progress progress; /* of loading and replay */
    uint64_t reserved[4];
};

/*
 * Opens or creates the database at `path` (with `path`-log beside it) and replays its log. NULL path: in memory.
 * Fails with LOCKED, CORRUPT (offset in the file), VERSION, IO, NOT_FOUND.
 */
VELTA_MUST_USE enum velta_status velta_open(const char *path, const struct velta_options *options, velta **out,
                                            struct velta_error *error);
/* Flushes and frees. The handle is gone whatever the status, which tells of the flush. */
enum velta_status velta_close(velta *db, struct velta_error *error);
/* Everything acknowledged before is durable when it returns. */
VELTA_MUST_USE enum velta_status velta_flush(velta *db, struct velta_error *error);
/* Writes what changed since the last checkpoint and starts the log anew. */
VELTA_MUST_USE enum velta_status velta_checkpoint(velta *db, const struct velta_progress *progress,
                                                  struct velta_error *error);

/* The database as one array in the format of the file (docs/FORMAT.md): the same state gives the same bytes. */
VELTA_MUST_USE enum velta_status velta_export(velta *db, uint8_t **bytes, uint64_t *size_bytes,
                                              const struct velta_progress *progress, struct velta_error *error);
void velta_export_free(velta *db, uint8_t *bytes, uint64_t size_bytes);
/* A database in memory from an exported array (not kept). */
VELTA_MUST_USE enum velta_status velta_import(const void *bytes, uint64_t size_bytes,
                                              const struct velta_options *options, velta **out,
                                              struct velta_error *error);

/*
 * The same by parts, as they come from a server: the database answers before its graphs are there. The bytes are asked
 * for in the order of the file: its head (roots and directory), the segments without graphs, then those of the graphs.
 *
 *     need = velta_snapshot_head_bytes(head, have);          (fetch up to there)
 *     velta_snapshot_begin(head, need, file_bytes, NULL, &snapshot, &error);
 *     segments = velta_snapshot_segments(snapshot, &count, &before_graph);
 *     velta_snapshot_feed(snapshot, bytes, size, &error);    (each of the first before_graph)
 *     velta_snapshot_open(snapshot, &db, &error);            (it answers from here on, by scans that miss nothing)
 *     velta_snapshot_feed(snapshot, bytes, size, &error);    (each of the others)
 *     velta_snapshot_attach(snapshot, NULL, NULL, &error);
 *     velta_snapshot_close(snapshot);                        (before the database)
 *
 * The database may be read and written meanwhile. A change of rows gives up the graph of each index that they are in:
 * its rows wait to be linked as new rows do; other indexes still get theirs. Until its graph is attached or given up
 * no row of an index is pending, and velta_export writes it without one.
 */
typedef struct velta_snapshot velta_snapshot;
struct velta_segment {
    uint32_t kind, table, column, part; /* as docs/FORMAT.md has them */
    uint64_t offset, size_bytes;        /* in the file */
    uint64_t checksum;                  /* XXH3-64 */
};
/* How many bytes the head has, by the first 8,192 of the file; fewer given: 8,192. Cannot fail. */
uint64_t velta_snapshot_head_bytes(const void *bytes, uint64_t size_bytes);
/*
 * Begins with the head, or with the whole file where that is shorter. file_bytes: of the whole file. Options as for
 * velta_import, without progress, of which the caller knows more. CORRUPT, VERSION, INVALID: the head is cut short.
 */
VELTA_MUST_USE enum velta_status velta_snapshot_begin(const void *head, uint64_t head_bytes, uint64_t file_bytes,
                                                      const struct velta_options *options, velta_snapshot **out,
                                                      struct velta_error *error);
/* All segments in the order in which they are fed, until velta_snapshot_close; the graphs begin at before_graph. */
const struct velta_segment *velta_snapshot_segments(const velta_snapshot *snapshot, size_t *count,
                                                    size_t *before_graph);
/*
 * The bytes of the next segment, which are not kept. CORRUPT with the offset in the file. After a failure the segments
 * before the graphs must begin anew; one of a graph may be fed again. BUSY inside a callback.
 */
VELTA_MUST_USE enum velta_status velta_snapshot_feed(velta_snapshot *snapshot, const void *bytes, uint64_t size_bytes,
                                                     struct velta_error *error);
/* The database, when the segments before the graphs were fed. It is the caller's, as from velta_import. */
VELTA_MUST_USE enum velta_status velta_snapshot_open(velta_snapshot *snapshot, velta **out, struct velta_error *error);
/*
 * The graphs into their indexes, each whole or not at all, when all segments were fed. How many were, and how many
 * were not because their rows had changed (both may be NULL). CORRUPT: a graph is none; its rows wait to be linked,
 * the others have theirs. Refused memory leaves the database as it was, and the call may be repeated. BUSY inside a
 * callback.
 */
VELTA_MUST_USE enum velta_status velta_snapshot_attach(velta_snapshot *snapshot, uint32_t *attached, uint32_t *dropped,
                                                       struct velta_error *error);
/* Gives up the graphs that are not attached. Ends the database, too, unless velta_snapshot_open gave it away. */
void velta_snapshot_close(velta_snapshot *snapshot);

struct velta_compact_options {
    int64_t keep_since_ms;       /* history from this time on stays; 0: none stays; INT64_MIN: all stays */
    const char *const *keep_tags; /* these moments stay too */
    size_t keep_tag_count;
    struct velta_progress progress;
    uint64_t reserved[4];
};
struct velta_compact_stats {
    uint32_t rows_dropped;
    uint64_t bytes_before; /* of the stored database */
    uint64_t bytes_after;
};
/*
 * Drops history and deleted rows (their bytes are gone from the files), renumbers rows, links what waits, writes the
 * whole anew. BUSY while iterators or snapshots (velta_snapshot_begin) are open.
 */
VELTA_MUST_USE enum velta_status velta_compact(velta *db, const struct velta_compact_options *options,
                                               struct velta_compact_stats *stats, struct velta_error *error);
/* Names this moment, for reading at it and for keep_tags. A name that exists moves. */
VELTA_MUST_USE enum velta_status velta_tag(velta *db, const char *name, struct velta_error *error);
/* When a tag was set. */
VELTA_MUST_USE enum velta_status velta_tag_time(velta *db, const char *name, int64_t *time_ms,
                                                struct velta_error *error);

/*
 * Pending work of the indexes: new rows wait in a tail that every search scans, until they are linked. Does up to
 * max_nodes (0: all) and says what is left. Never needed for right answers, only for fast ones.
 */
VELTA_MUST_USE enum velta_status velta_index(velta *db, uint64_t max_nodes, const struct velta_progress *progress,
                                             uint64_t *pending, struct velta_error *error);

struct velta_stats {
    uint64_t sequence; /* the last change's; 0: none */
    int64_t time_ms;
    uint32_t table_count;
    uint64_t memory_budget_bytes, memory_used_bytes, memory_peak_bytes;
    uint64_t column_bytes, vector_bytes, dictionary_bytes, index_bytes, history_bytes;
    uint64_t data_file_bytes, log_bytes, log_raw_bytes; /* raw: before compression */
    uint64_t generation, cut_bytes;                     /* cut: torn tail found at open */
    uint64_t index_pending;
    const char *simd;
};
void velta_get_stats(const velta *db, struct velta_stats *stats);
/* Checks everything: file checksums, columns, keys, history, every invariant of every index. CORRUPT says where. */
VELTA_MUST_USE enum velta_status velta_verify(velta *db, const struct velta_progress *progress,
                                              struct velta_error *error);

/* ---- Following: copies in memory that take every change by the log's own records ------------------------------- */

/*
 * What a database has lived through: the number of the last change, and a digest of all that was logged, which no other
 * store and no other course of this one has. It outlives checkpoints and openings; a compaction makes a new one.
 */
struct velta_position {
    uint64_t sequence;
    uint64_t digest;
};
/*
 * Where a stored database is that was opened with log_tail_bytes; without them INVALID. An export made now is a copy at
 * this position. Relaxed stores with a tail write each batch to the log at once, and sync it later.
 */
VELTA_MUST_USE enum velta_status velta_log_position(const velta *db, struct velta_position *position,
                                                    struct velta_error *error);
/*
 * The batches after *position, which moves behind them, as frames (docs/FORMAT.md, section 9): as many as fit into
 * max_bytes, one at least; none (*bytes NULL) where there is none. Given back with velta_export_free. HISTORY_GONE: no
 * such batches are in the tail, or the position is not one of this store: an export is needed.
 */
VELTA_MUST_USE enum velta_status velta_log_since(velta *db, struct velta_position *position, uint64_t max_bytes,
                                                 uint8_t **bytes, uint64_t *size_bytes, struct velta_error *error);
/*
 * Applies such frames to a database in memory that is at *position, which moves with each whole batch; watchers are
 * told. Nothing else may change the database. NOT_FOUND: the frames begin elsewhere: some were lost, repeated, or are
 * of another store; CORRUPT: error->offset is the byte; BUSY: they drop a table while iterators are open; NO_MEMORY,
 * OVER_BUDGET. After a failure the database is at *position, unless a batch of several changes was interrupted, by a
 * refusal of memory or bytes forged to the checksum: then all it answers is POISONED.
 */
VELTA_MUST_USE enum velta_status velta_follow(velta *db, struct velta_position *position, const void *bytes,
                                              uint64_t size_bytes, struct velta_error *error);

/* ---- Salvage: what is left of a damaged database ---------------------------------------------------------------- */

enum velta_loss_kind {
    VELTA_LOSS_VALUES = 1, /* values of one column are NULL in these rows */
    VELTA_LOSS_ROWS,       /* rows are gone: a required value of theirs is lost, now and in the past */
    VELTA_LOSS_DELETIONS,  /* which rows were deleted is not known: they are back */
    VELTA_LOSS_EXPIRY,     /* these rows do not expire */
    VELTA_LOSS_HISTORY,    /* the past of a table, as it was before the last checkpoint */
    VELTA_LOSS_CHANGES,    /* changes were not applied: of one row, or all that came after `sequence` */
    VELTA_LOSS_NOTHING,    /* damaged, but made anew from what is whole */
};
struct velta_loss {
    enum velta_loss_kind kind;
    const char *table;  /* NULL: the whole database */
    const char *column; /* NULL: all of them */
    uint32_t first_row; /* numbers as they were in the damaged database; with row_count 0: not of single rows */
    uint32_t row_count; /* a loss is in these rows; not each of them need have it */
    uint64_t sequence;  /* CHANGES: the last change before; 0: not known */
    int64_t time_ms;    /* when that was */
    bool in_log;        /* offset is one of the log, else of the data file */
    uint64_t offset;    /* of the damaged bytes; VELTA_NO_OFFSET: no single place */
    uint64_t size_bytes;
    char text[240]; /* one sentence */
};
/* Told of each loss; `loss` and its strings live during the call only. Must not call the database. */
typedef void velta_loss_function(void *context, const struct velta_loss *loss);
/*
 * Reads what is whole of a damaged database into one in memory, for export; the files are never written to. Bytes
 * whose checksum is wrong are not used, and what they held is reported, whatever it was: nothing is lost in silence.
 * options as for velta_open; a host given stays the caller's. What changes of the log rest on lost values is left out;
 * rows may be renumbered. Indexes made anew are linked by velta_index. Fails with LOCKED, NOT_FOUND, VERSION, memory,
 * CANCELLED, and CORRUPT when nothing can be read at all; losses may have been reported before.
 */
VELTA_MUST_USE enum velta_status velta_salvage(const char *path, const struct velta_options *options,
                                               velta_loss_function *report, void *context, velta **out,
                                               struct velta_error *error);

/* ---- Tables --------------------------------------------------------------------------------------------------- */

VELTA_MUST_USE enum velta_status velta_table_create(velta *db, const char *name, const struct velta_column *columns,
                                                    size_t column_count, velta_table **out, struct velta_error *error);
/* Handles stay valid until the table is dropped or the database closed. */
VELTA_MUST_USE enum velta_status velta_table_find(velta *db, const char *name, velta_table **out,
                                                  struct velta_error *error);
velta_table *velta_table_at(velta *db, size_t index); /* in order of creation; NULL past the last */
VELTA_MUST_USE enum velta_status velta_table_drop(velta_table *table, struct velta_error *error);
VELTA_MUST_USE enum velta_status velta_column_add(velta_table *table, const struct velta_column *column,
                                                  struct velta_error *error);
const char *velta_table_name(const velta_table *table);
size_t velta_column_count(const velta_table *table);
const struct velta_column *velta_column_at(const velta_table *table, size_t index); /* NULL past the last */
uint32_t velta_row_count(const velta_table *table);  /* deleted ones included */
uint32_t velta_live_count(const velta_table *table); /* deleted ones not; expired ones still */
/* The earliest time at which one of these rows expires; INT64_MAX: none will. Rows that are not alive never do. */
int64_t velta_next_expiry(const velta_table *table, const uint32_t *rows, size_t row_count);

/* ---- Writing -------------------------------------------------------------------------------------------------- */

/*
 * One column of a batch. data by type: int64_t (int, timestamp), double, uint8_t 0/1 (bool), bytes (string, bytes, with
 * offsets), float or uint16_t (vector as element says: rows x dimensions). NULL data, offsets and valid: all NULL.
 * Texts that are all empty may come without data.
 */
struct velta_values {
    const char *column;
    const void *data;
    const uint64_t *offsets; /* string, bytes: rows + 1 */
    const uint64_t *valid;   /* bit i set: value i is not NULL; NULL pointer: none is NULL */
    enum velta_element element; /* of vector data given: VELTA_F32 or VELTA_F16, whatever the column keeps */
};

/* Which rows: exactly one of the pointers. Keys are of the primary key's type; without one, rows is the only way. */
struct velta_keys {
    const uint32_t *rows;
    const int64_t *ints;
    const char *text;
    const uint64_t *offsets; /* of text: count + 1 */
};

enum velta_write_mode { VELTA_INSERT = 0, VELTA_UPSERT };
struct velta_write_options {
    enum velta_write_mode mode;
    struct velta_progress progress;
    uint64_t reserved[4];
};
struct velta_write_stats {
    uint32_t first_row; /* of the inserted ones, which follow each other; VELTA_NO_ROW: none */
    uint32_t inserted, updated;
    uint64_t sequence;
};
/*
 * Adds rows, all or none. Columns not named become NULL. EXISTS, TYPE, NOT_NULL, DIMENSIONS, NOT_FINITE: error->offset
 * is the row in the batch. With UPSERT a row whose key exists sets the named columns of the row that is there.
 */
VELTA_MUST_USE enum velta_status velta_insert(velta_table *table, const struct velta_values *values,
                                              size_t value_count, uint32_t row_count,
                                              const struct velta_write_options *options,
                                              struct velta_write_stats *stats, struct velta_error *error);
/* Sets the named columns of existing rows, all or none. NOT_FOUND: error->offset is the index of the key. */
VELTA_MUST_USE enum velta_status velta_update(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                              const struct velta_values *values, size_t value_count,
                                              uint64_t *sequence, struct velta_error *error);
/* Deletes those that exist; absent keys are not an error. */
VELTA_MUST_USE enum velta_status velta_delete(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                              uint32_t *deleted, struct velta_error *error);
/* When rows expire: absolute times; INT64_MAX never. */
VELTA_MUST_USE enum velta_status velta_expire_at(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                                 const int64_t *times_ms, struct velta_error *error);
/* Deletes the rows whose time has come (now_ms 0: the clock's). Until then they are only invisible. */
VELTA_MUST_USE enum velta_status velta_expire(velta_table *table, int64_t now_ms, uint32_t *deleted,
                                              struct velta_error *error);

/* Vector deltas: a difference on one vector. Sparse and dense add unless `set`. */
enum velta_operation {
    VELTA_DELTA_CREATE = 1, /* a new row with this key and vector; EXISTS if the key lives */
    VELTA_DELTA_SPARSE,
    VELTA_DELTA_DENSE,
    VELTA_DELTA_SCALE,  /* every element times amount */
    VELTA_DELTA_OFFSET, /* every element plus amount */
    VELTA_DELTA_DELETE, /* the row is deleted; NOT_FOUND if it does not live */
};
struct velta_delta {
    enum velta_operation operation;
    bool set;
    uint32_t row;        /* used when the table has no primary key, or use_row is set */
    bool use_row;
    int64_t key_int;     /* by the primary key's type */
    const char *key;
    uint32_t key_bytes;
    uint32_t count;          /* sparse: indices; create, dense: must be the column's dimensions */
    const uint32_t *indices; /* sparse: distinct, ascending, below dimensions */
    const float *values;     /* create, sparse, dense */
    float amount;
    const void *metadata; /* kept with the vector's chain */
    uint32_t metadata_bytes;
    int64_t time_ms; /* of this delta; 0: the call's. A time before the last change's counts as that */
};
/*
 * Applies deltas to one vector column in order, all or none; error->offset is the index of the offending one. ids: room
 * for delta_count sequence numbers, or NULL. time_ms 0: now.
 */
VELTA_MUST_USE enum velta_status velta_apply(velta_table *table, const char *column, const struct velta_delta *deltas,
                                             size_t delta_count, int64_t time_ms, uint64_t *ids,
                                             struct velta_error *error);

/* ---- Reading -------------------------------------------------------------------------------------------------- */

/* Row numbers of keys at a time; VELTA_NO_ROW where none lives. rows: room for key_count. */
VELTA_MUST_USE enum velta_status velta_find(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                            int64_t at_ms, uint32_t *rows, struct velta_error *error);
/* The columns (NULL, 0: all but vectors) of rows, in the order given. Rows not alive at the time: NOT_FOUND with the
 * index. */
VELTA_MUST_USE enum velta_status velta_get(velta_table *table, const uint32_t *rows, size_t row_count,
                                           const char *const *columns, size_t column_count, int64_t at_ms,
                                           velta_result **out, struct velta_error *error);
/* The f32 vector of one row into `out` (room for the column's dimensions). NOT_FOUND when absent or NULL. */
VELTA_MUST_USE enum velta_status velta_get_vector(velta_table *table, const char *column, uint32_t row, int64_t at_ms,
                                                  float *out, struct velta_error *error);
/* The row's stored f32 values in place, until the next call on the database; NULL when absent or not stored as f32. */
const float *velta_vector_view(velta_table *table, const char *column, uint32_t row);

/*
 * The deltas kept of one vector, oldest first; the first is its base (operation CREATE): that of its row's birth, or,
 * with sequence and time 0, what stands for deltas that compaction has merged.
 */
struct velta_chain_item {
    uint64_t sequence;
    int64_t time_ms;
    struct velta_delta delta; /* pointers live as long as the result */
};
VELTA_MUST_USE enum velta_status velta_get_chain(velta_table *table, const char *column, uint32_t row,
                                                 velta_result **out, struct velta_error *error);
const struct velta_chain_item *velta_result_chain(const velta_result *result, size_t *count);

/* ---- Filters: docs/FILTER.md ---------------------------------------------------------------------------------- */

/* SYNTAX, UNKNOWN_COLUMN, TYPE: error->offset is the byte position. Stays valid while the table has these columns. */
VELTA_MUST_USE enum velta_status velta_filter_compile(velta_table *table, const char *text, velta_filter **out,
                                                      struct velta_error *error);
void velta_filter_free(velta_filter *filter);
VELTA_MUST_USE enum velta_status velta_filter_count(velta_filter *filter, uint64_t *count, struct velta_error *error);
/* Matching rows, ascending: up to `capacity` are written, *count is all there are. */
VELTA_MUST_USE enum velta_status velta_filter_rows(velta_filter *filter, uint32_t *rows, size_t capacity,
                                                   uint64_t *count, struct velta_error *error);
/*
 * Zone maps: which blocks of rows that are kept elsewhere, as the row groups of a file, may hold a match. Rows 2 i and
 * 2 i + 1 of the table are the least and the greatest values of block i, column by column; a NULL is a bound that is
 * not known. A NaN is no bound, and values may be NaN whatever the bounds. holds: block count x column count, what a
 * block has of each column; NULL: both of all. Of the blocks that are left out no row matches. zones: ascending, up to
 * `capacity` are written, *count is all there are. INVALID unless the table has an even number of rows, all alive.
 */
enum velta_holds { VELTA_HOLDS_NULLS = 1, VELTA_HOLDS_VALUES = 2 };
VELTA_MUST_USE enum velta_status velta_filter_zones(velta_filter *filter, const uint8_t *holds, uint32_t *zones,
                                                    size_t capacity, uint64_t *count, struct velta_error *error);

/* ---- Search --------------------------------------------------------------------------------------------------- */

struct velta_search {
    const char *column;  /* NULL: the table's only vector column */
    const float *queries; /* query_count x dimensions */
    size_t query_count;
    uint32_t k;           /* 0: 10; up to 16,384 */
    uint32_t ef;          /* candidates kept by the graph search: more finds more; 0: 160 */
    const char *where;    /* filter text; NULL: none */
    velta_filter *filter; /* or a compiled one */
    const char *const *select; /* columns wanted for the found rows */
    size_t select_count;
    int64_t at_ms;
    bool exact; /* no approximation */
    struct velta_progress progress;
    uint64_t reserved[4];
};
VELTA_MUST_USE enum velta_status velta_search(velta_table *table, const struct velta_search *search,
                                              velta_result **out, struct velta_error *error);

enum velta_strategy {
    VELTA_STRATEGY_NONE = 0,
    VELTA_EXACT_VECTORS,    /* every candidate by its own vector */
    VELTA_EXACT_CODES,      /* every candidate by its code, the best by their vectors */
    VELTA_GRAPH,            /* HNSW */
    VELTA_GRAPH_FILTERED,   /* HNSW over matching nodes and their neighbours' neighbours */
    VELTA_GRAPH_THEN_EXACT, /* the graph was given up for a scan */
};
const char *velta_strategy_name(enum velta_strategy strategy);
struct velta_explain { /* of one query */
    enum velta_strategy strategy;
    double selectivity; /* matching rows / live rows */
    uint64_t matching_rows;
    uint32_t nodes_visited, rows_scanned, rows_reranked;
    uint64_t filter_ns, search_ns; /* the filter's time is the whole call's */
};
const struct velta_explain *velta_result_explain(const velta_result *result, size_t query);

/* ---- Results -------------------------------------------------------------------------------------------------- */

/*
 * Rows of a result. A search has k slots per query, query after query; slots past what was found hold VELTA_NO_ROW,
 * distance +inf, and NULLs. Arrays live as long as the result.
 */
size_t velta_result_count(const velta_result *result); /* rows, or query_count x k slots */
uint32_t velta_result_k(const velta_result *result);   /* slots per query; 0: not of a search */
const uint32_t *velta_result_rows(const velta_result *result);
const float *velta_result_distances(const velta_result *result); /* NULL unless of a search */
size_t velta_result_column_count(const velta_result *result);
/* Values of one column, column-wise like a batch; vectors always as f32. values->column is its name. */
VELTA_MUST_USE enum velta_status velta_result_column(const velta_result *result, size_t index,
                                                     struct velta_values *values, enum velta_type *type);
void velta_result_free(velta_result *result);

/* ---- Iterators: a consistent snapshot in key order ------------------------------------------------------------ */

struct velta_range { /* start inclusive, end exclusive; NULL text or has_ false: unbounded */
    bool has_start, has_end;
    int64_t start_int, end_int;
    const char *start, *end;
    size_t start_bytes, end_bytes;
};
/* Sees the table as it is now (at_ms 0) or then, whatever is written later. Without a primary key: in row order. */
VELTA_MUST_USE enum velta_status velta_iterate(velta_table *table, const struct velta_range *range,
                                               const char *const *columns, size_t column_count, int64_t at_ms,
                                               velta_iterator **out, struct velta_error *error);
/* Up to max_rows next rows; a result of 0 rows is the end. */
VELTA_MUST_USE enum velta_status velta_iterator_next(velta_iterator *iterator, size_t max_rows, velta_result **out,
                                                     struct velta_error *error);
void velta_iterator_close(velta_iterator *iterator);

/* ---- Aggregates over a filter --------------------------------------------------------------------------------- */

enum velta_aggregate_kind { VELTA_COUNT = 1, VELTA_SUM, VELTA_MIN, VELTA_MAX, VELTA_MEAN };
struct velta_aggregate {
    enum velta_aggregate_kind kind;
    const char *column; /* int, timestamp, float; NULL for COUNT of rows */
};
struct velta_aggregate_query {
    const char *where;
    const struct velta_aggregate *aggregates;
    size_t aggregate_count;
    const char *group_by;  /* a string, bool or int column of at most 65,536 distinct values, or NULL */
    size_t top;            /* groups kept; 0: all */
    size_t order_by;       /* with top: index of the aggregate that orders the groups, largest first */
    uint64_t reserved[4];
};
/*
 * One row per group (NULL is a group), in order of the group's value or, with top, largest first. Columns: the group if
 * any, then one per aggregate: int for COUNT and for SUM, MIN, MAX of int and timestamp (LIMIT when a sum overflows),
 * float otherwise. MIN, MAX, MEAN of nothing are NULL.
 */
VELTA_MUST_USE enum velta_status velta_aggregate(velta_table *table, const struct velta_aggregate_query *query,
                                                 velta_result **out, struct velta_error *error);
/* The `top` matching rows with the largest (or smallest) values of a column, ties by row number; NULLs never. */
VELTA_MUST_USE enum velta_status velta_top(velta_table *table, const char *where, const char *column, bool smallest,
                                           size_t top, const char *const *columns, size_t column_count,
                                           velta_result **out, struct velta_error *error);

/* ---- Subscriptions -------------------------------------------------------------------------------------------- */

enum velta_change_kind {
    VELTA_CHANGE_TABLE = 1, /* created, dropped, column added */
    VELTA_CHANGE_INSERT,
    VELTA_CHANGE_UPDATE,
    VELTA_CHANGE_DELETE,
    VELTA_CHANGE_VECTORS,
    VELTA_CHANGE_RENUMBERED, /* velta_compact moved rows */
};
struct velta_change {
    enum velta_change_kind kind;
    velta_table *table;
    const char *column;   /* UPDATE, VECTORS */
    const uint32_t *rows; /* NULL for INSERT: first_row.. */
    uint32_t first_row, row_count;
    uint64_t sequence;
    int64_t time_ms;
};
/* Called after each acknowledged change, in order; the callback must not call the database. Returns an id, 0:
 * refused. */
typedef void velta_watch_function(void *context, const struct velta_change *change);
uint64_t velta_watch(velta *db, velta_watch_function *callback, void *context);
void velta_unwatch(velta *db, uint64_t id);

#ifdef __cplusplus
}
#endif

#endif
