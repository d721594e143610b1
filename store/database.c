/*
 * Opening, loading and closing a database; its clock, its threads, its statistics.
 *
 * Opening takes the host's lock, lets the storage machine find the valid root and log, reads the segments, replays the
 * log after them, and for a new database makes the first checkpoint, so that both files exist durably. Without path and
 * host there is no storage at all: nothing is logged, an export is how such a database travels.
 */
#include "store/database.h"

#include <string.h>

enum {
    DEFAULT_CHAIN_INTERVAL = 100,
    DEFAULT_CHECKPOINT_BYTES = 32 << 20,
    CLOSE_CHECKPOINT_BYTES = 1 << 20, /* a longer log is worth a checkpoint at close */
};

/* ---- words */

const char *velta_version(void) {
    return VELTA_VERSION_TEXT;
}

const char *velta_status_name(enum velta_status status) {
    switch (status) {
#define NAME(name, number, sentence)                                                                                   \
    case VELTA_##name:                                                                                                 \
        return "VELTA_" #name;
        VELTA_STATUS_LIST(NAME)
#undef NAME
    default:
        return "unknown";
    }
}

const char *velta_status_sentence(enum velta_status status) {
    switch (status) {
#define SENTENCE(name, number, sentence)                                                                               \
    case VELTA_##name:                                                                                                 \
        return sentence;
        VELTA_STATUS_LIST(SENTENCE)
#undef SENTENCE
    default:
        return "unknown status";
    }
}

/* ---- checks and small services */

int64_t database_now(struct velta *db) {
    int64_t now_ms = db->now_ms(db->now_context);
    return now_ms > db->last_time_ms || db->next_sequence == 1 ? now_ms : db->last_time_ms;
}

enum velta_status database_check_usable(const struct velta *db, struct velta_error *error) {
    if (db->in_callback) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET,
                          "a watch callback must not call the database; note the change and act on it later");
    }
    if (db->torn) {
        return velta_fail(error, VELTA_POISONED, VELTA_NO_OFFSET,
                          "a batch of the database that this one follows was applied in part; import it anew");
    }
    return VELTA_OK;
}

enum velta_status database_check(const struct velta_table *handle, struct velta_error *error) {
    enum velta_status status = database_check_usable(handle->db, error);
    if (!status && handle->dropped) {
        return velta_fail(error, VELTA_NOT_FOUND, VELTA_NO_OFFSET, "this table has been dropped");
    }
    return status;
}

enum velta_status database_check_writable(const struct velta *db, struct velta_error *error) {
    enum velta_status status = database_check_usable(db, error);
    if (status) {
        return status;
    }
    if (db->read_only) {
        return velta_fail(error, VELTA_READ_ONLY, VELTA_NO_OFFSET, "the database was opened for reading");
    }
    if (db->poisoned) {
        return velta_fail(error, VELTA_POISONED, VELTA_NO_OFFSET,
                          "an earlier failure left the storage uncertain; reopen the database");
    }
    return VELTA_OK;
}

enum velta_status database_find_column(const struct table *table, const char *name, size_t *column,
                                       struct velta_error *error) {
    *column = name ? table_find_column(table, name, strlen(name)) : TABLE_NO_COLUMN;
    if (*column == TABLE_NO_COLUMN) {
        return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.80s' has no column '%.80s'",
                          table->name, name ? name : "");
    }
    return VELTA_OK;
}

enum velta_status database_sequence_at(const struct velta_table *handle, int64_t at_ms, uint64_t *sequence,
                                       struct velta_error *error) {
    if (at_ms == 0 || at_ms >= handle->db->last_time_ms) {
        *sequence = HISTORY_NOW;
        return VELTA_OK;
    }
    return history_sequence_at(database_table(handle)->history, at_ms, sequence, error);
}

const struct velta_executor *database_executor(struct velta *db) {
    if (!db->executor_made) {
        db->executor_made = host_executor_create(db->memory, db->thread_count, &db->executor, NULL) == VELTA_OK;
    }
    return db->executor_made ? &db->executor : NULL;
}

enum velta_status database_make_handles(struct velta *db, struct velta_error *error) {
    size_t had = db->handle_capacity;
    enum velta_status status = db->state.table_count == 0
                                   ? VELTA_OK
                                   : memory_grow_array(db->memory, (void **)&db->handles, &db->handle_capacity,
                                                       db->state.table_count, sizeof *db->handles, error);
    if (status) {
        return status;
    }
    if (db->handle_capacity > had) {
        memset(db->handles + had, 0, (db->handle_capacity - had) * sizeof *db->handles);
    }
    for (size_t i = 0; i < db->state.table_count; i++) {
        struct velta_table *handle = memory_allocate_zero(db->memory, sizeof *handle);
        if (!handle) {
            return memory_fail(db->memory, error);
        }
        *handle = (struct velta_table){.db = db, .number = (uint32_t)i, .dropped = db->state.tables[i].dropped};
        db->handles[i] = handle;
    }
    return VELTA_OK;
}

/* ---- opening */

enum velta_status database_check_options(const char *path, const struct velta_options *options,
                                         struct velta_error *error) {
    for (size_t i = 0; i < sizeof options->reserved / sizeof options->reserved[0]; i++) {
        if (options->reserved[i] != 0) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "reserved fields of the options must be zero");
        }
    }
    if (options->durability != VELTA_STRICT && options->durability != VELTA_RELAXED) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "durability %d is unknown", (int)options->durability);
    }
    if (path && options->host) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "give a path or a host, not both");
    }
    if (path && path[0] == '\0') {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the path is empty; NULL asks for memory");
    }
    if (!path && !options->host && (options->read_only || options->must_exist)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "a new database in memory cannot be read-only or exist already");
    }
    return VELTA_OK;
}

void database_free(struct velta *db, bool close_host) {
    struct memory *memory = db->memory;
    follow_clear(db);
    if (db->executor_made) {
        host_executor_destroy(memory, &db->executor);
    }
    for (size_t i = 0; i < db->handle_capacity && i < db->state.table_count; i++) {
        memory_release(memory, db->handles[i], db->handles[i] ? sizeof *db->handles[i] : 0);
    }
    snapshot_state_destroy(&db->state);
    memory_release(memory, db->handles, db->handle_capacity * sizeof *db->handles);
    if (db->pending) {
        record_buffer_destroy(db->pending);
    }
    memory_release(memory, db->body, db->body_capacity);
    memory_release(memory, db->scratch, db->scratch_floats * sizeof *db->scratch);
    memory_release(memory, db->watchers, db->watcher_capacity * sizeof *db->watchers);
    storage_destroy(db->storage);
    if (db->host_open && close_host) {
        db->host.close(db->host.context);
    }
    memory_release(memory, db, sizeof *db);
    memory_destroy(memory);
}

enum velta_status database_create(const struct velta_options *options, struct velta **out, struct velta_error *error) {
    const char *forced = options->simd ? options->simd : host_simd_forced();
    const struct simd_kernels *simd = simd_select(forced);
    if (!simd) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "the instruction set '%.60s' is unknown or not of this machine", forced);
    }
    struct memory *memory = memory_create(options->allocator, options->memory_budget_bytes);
    if (!memory) {
        return velta_fail(error, VELTA_NO_MEMORY, VELTA_NO_OFFSET, "the host refused memory for a new database");
    }
    struct velta *db = memory_allocate_zero(memory, sizeof *db);
    if (!db) {
        enum velta_status status = memory_fail(memory, error);
        memory_destroy(memory);
        return status;
    }
    db->memory = memory;
    db->simd = simd;
    db->state = (struct snapshot_state){
        .memory = memory,
        .simd = simd,
        .clock_ns = host_clock_ns,
        .checkpoint_interval = options->chain_interval ? options->chain_interval : DEFAULT_CHAIN_INTERVAL,
    };
    db->read_only = options->read_only;
    db->durability = options->durability;
    db->checkpoint_bytes = options->checkpoint_bytes ? options->checkpoint_bytes : DEFAULT_CHECKPOINT_BYTES;
    db->thread_count = options->thread_count;
    db->tail.limit_bytes = options->log_tail_bytes;
    db->now_ms = options->now_ms ? options->now_ms : host_now_ms;
    db->now_context = options->now_context;
    db->next_sequence = 1;
    *out = db;
    return VELTA_OK;
}

/* The storage machine over the host, opened. */
static enum velta_status open_storage(struct velta *db, bool read_only, struct velta_error *error) {
    enum velta_status status = storage_create(db->memory, &db->storage, error);
    status = status ? status : record_buffer_create(db->memory, &db->pending, error);
    status = status ? status : storage_begin_open(db->storage, read_only, error);
    return status ? status : commit_drive(db, error);
}

enum velta_status database_calibrate(struct velta *db, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    for (size_t t = 0; t < db->state.table_count && !status; t++) {
        const struct snapshot_table *owner = &db->state.tables[t];
        for (size_t c = 0; !owner->dropped && c < owner->table->column_count && !status; c++) {
            status = owner->indexes[c] ? hnsw_calibrate(owner->indexes[c], error) : VELTA_OK;
        }
    }
    return status;
}

static enum velta_status load(struct velta *db, const struct velta_options *options, struct velta_error *error) {
    enum velta_status status = checkpoint_load(db, &options->progress, error);
    status = status ? status : database_make_handles(db, error);
    status = status ? status : replay_log(db, &options->progress, error);
    return status ? status : database_calibrate(db, error);
}

static enum velta_status open_host(struct velta *db, const char *path, const struct velta_options *options,
                                   struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (path) {
        status = host_open_files(db->memory, path, options->read_only, options->must_exist, &db->host, error);
    } else {
        db->host = *options->host;
    }
    db->host_open = !status;
    return status;
}

static enum velta_status open_stored(struct velta *db, const char *path, const struct velta_options *options,
                                     struct velta_error *error) {
    struct storage_stats stats;
    enum velta_status status = open_host(db, path, options, error);
    status = status ? status : open_storage(db, options->read_only, error);
    if (status) {
        return status;
    }
    storage_get_stats(db->storage, &stats);
    bool empty = stats.generation == 0 && stats.frame_count == 0;
    if (empty && (options->must_exist || options->read_only)) {
        return velta_fail(error, VELTA_NOT_FOUND, VELTA_NO_OFFSET, "there is no database in '%.150s'",
                          path ? path : "the host's storage");
    }
    status = load(db, options, error);
    if (!status && stats.generation == 0 && !options->read_only) {
        status = checkpoint_run(db, &db->state, true, NULL, error);
    }
    return status;
}

enum velta_status velta_open(const char *path, const struct velta_options *options, velta **out,
                             struct velta_error *error) {
    static const struct velta_options defaults = {0};
    struct velta *db = NULL;
    options = options ? options : &defaults;
    *out = NULL;
    enum velta_status status = database_check_options(path, options, error);
    status = status ? status : database_create(options, &db, error);
    if (status) {
        return status;
    }
    if (path || options->host) {
        status = open_stored(db, path, options, error);
    }
    if (status) {
        database_free(db, path != NULL); /* a host given stays the caller's */
        return status;
    }
    *out = db;
    return VELTA_OK;
}

enum velta_status database_create_import(const struct velta_options *options, struct velta **out,
                                         struct velta_error *error) {
    enum velta_status status = database_check_options(NULL, options, error);
    if (!status && options->host) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "an import is in memory and takes no host");
    }
    return status ? status : database_create(options, out, error);
}

enum velta_status database_open_export(struct velta *db, uint64_t size_bytes, struct velta_error *error) {
    struct storage_stats stats = {0};
    enum velta_status status = open_storage(db, true, error);
    if (!status) {
        storage_get_stats(db->storage, &stats);
    }
    if (!status && stats.generation == 0) {
        status = velta_fail(error, VELTA_CORRUPT, 0, "these %llu bytes are not an exported database",
                            (unsigned long long)size_bytes);
    }
    return status;
}

void database_leave_storage(struct velta *db) {
    record_buffer_destroy(db->pending);
    db->pending = NULL;
    storage_destroy(db->storage);
    db->storage = NULL;
    db->host.close(db->host.context);
    db->host_open = false;
}

enum velta_status velta_import(const void *bytes, uint64_t size_bytes, const struct velta_options *options, velta **out,
                               struct velta_error *error) {
    static const struct velta_options defaults = {0};
    struct velta *db = NULL;
    options = options ? options : &defaults;
    *out = NULL;
    enum velta_status status = database_create_import(options, &db, error);
    if (status) {
        return status;
    }
    status = host_open_view(db->memory, bytes, size_bytes, &db->host, error);
    db->host_open = !status;
    status = status ? status : database_open_export(db, size_bytes, error);
    status = status ? status : load(db, options, error);
    if (status) {
        database_free(db, true);
        return status;
    }
    database_leave_storage(db);
    *out = db;
    return VELTA_OK;
}

/* ---- closing */

static enum velta_status close_storage(struct velta *db, struct velta_error *error) {
    struct storage_stats stats;
    enum velta_status status = commit_flush(db, true, error);
    storage_get_stats(db->storage, &stats);
    if (!status && (db->graph_dirty || stats.log_bytes > CLOSE_CHECKPOINT_BYTES) && !db->read_only) {
        /* The log holds everything, so that memory refused here costs time at the next opening only. */
        status = checkpoint_run(db, &db->state, false, NULL, error);
        status = db->poisoned ? status : VELTA_OK;
    }
    if (!status) {
        status = storage_begin_close(db->storage, error);
        status = status ? status : commit_drive(db, error);
    }
    return status;
}

enum velta_status velta_close(velta *db, struct velta_error *error) {
    if (!db) {
        return VELTA_OK;
    }
    if (db->in_callback) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "a watch callback must not close the database");
    }
    enum velta_status status = db->storage ? close_storage(db, error) : VELTA_OK;
    database_free(db, true);
    return status;
}

enum velta_status velta_flush(velta *db, struct velta_error *error) {
    enum velta_status status = database_check_writable(db, error);
    return status ? status : commit_flush(db, true, error);
}

/* ---- statistics */

static void add_table_stats(const struct snapshot_table *owner, struct velta_stats *stats) {
    for (size_t c = 0; c < owner->table->column_count; c++) {
        const struct column *column = owner->table->columns[c];
        uint64_t bytes = column_memory_bytes(column);
        uint64_t words = column->dictionary ? dictionary_memory_bytes(column->dictionary) : 0;
        stats->dictionary_bytes += words;
        *(column->spec.type == VELTA_VECTOR ? &stats->vector_bytes : &stats->column_bytes) += bytes - words;
        if (owner->indexes[c]) {
            struct hnsw_stats index;
            hnsw_get_stats(owner->indexes[c], &index);
            stats->index_bytes += index.memory_bytes;
            stats->index_pending += column->spec.no_index ? 0 : hnsw_pending(owner->indexes[c]);
        }
    }
    stats->history_bytes += history_memory_bytes(owner->history);
}

void velta_get_stats(const velta *db, struct velta_stats *stats) {
    struct memory_stats memory;
    memory_get_stats(db->memory, &memory);
    *stats = (struct velta_stats){
        .sequence = db->next_sequence - 1,
        .time_ms = db->last_time_ms,
        .memory_budget_bytes = memory.budget_bytes,
        .memory_used_bytes = memory.used_bytes,
        .memory_peak_bytes = memory.peak_bytes,
        .log_raw_bytes = db->log_raw_bytes,
        .simd = db->simd->name,
    };
    for (size_t t = 0; t < db->state.table_count; t++) {
        if (!db->state.tables[t].dropped) {
            stats->table_count++;
            add_table_stats(&db->state.tables[t], stats);
        }
    }
    if (db->storage) {
        struct storage_stats storage;
        storage_get_stats(db->storage, &storage);
        stats->data_file_bytes = storage.data_bytes;
        stats->log_bytes = storage.log_bytes;
        stats->generation = storage.generation;
        stats->cut_bytes = storage.cut_bytes;
    }
}
