/*
 * Compaction: a second state without what is no longer wanted, made beside the first, then put in its place.
 *
 * Per table: the rows that stay (live ones, and dead ones that kept history still shows), a vacuumed table of them, the
 * history rewritten for their new numbers, and the indexes: made anew and linked in bulk when rows went away, else the
 * old ones, repaired and linked. The new state is written by a checkpoint of everything; only when that is durable does
 * it replace the old one, so a failure before leaves the database as it was.
 *
 * Then the bytes. Freed extents still hold what was deleted, so the storage overwrites them with zeros (scrub). The new
 * state lies behind the old one's place; a second checkpoint moves it down into the zeros and a second scrub cuts the
 * file. See ADR/0004-compaction.md for what was weighed.
 *
 * Cost: memory for two states at once; twice the data written, and the freed bytes once.
 */
#include <string.h>

#include "store/database.h"

struct compaction {
    struct velta *db;
    const struct velta_compact_options *options;
    uint64_t *points; /* sequences of the tags to be kept */
    struct snapshot_state fresh;
    uint32_t rows_dropped;
    bool salvaging; /* rows that lack a required value go, dead ones that history shows included */
};

/* ---- what stays */

static enum velta_status check_options(const struct velta_compact_options *options, struct velta_error *error) {
    for (size_t i = 0; i < sizeof options->reserved / sizeof options->reserved[0]; i++) {
        if (options->reserved[i] != 0) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "reserved fields of the options must be zero");
        }
    }
    if (options->keep_tag_count > 0 && !options->keep_tags) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "tags are counted but not given");
    }
    return VELTA_OK;
}

static enum velta_status find_points(struct compaction *compaction, struct velta_error *error) {
    struct velta *db = compaction->db;
    size_t count = compaction->options->keep_tag_count;
    if (count == 0) {
        return VELTA_OK;
    }
    compaction->points = memory_allocate(db->memory, count * sizeof *compaction->points);
    if (!compaction->points) {
        return memory_fail(db->memory, error);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = compaction->options->keep_tags[i];
        size_t t = 0;
        while (t < db->state.tag_count && (!name || strcmp(db->state.tags[t].name, name) != 0)) {
            t++;
        }
        if (t == db->state.tag_count) {
            return velta_fail(error, VELTA_NOT_FOUND, i, "there is no tag '%.100s' to keep", name ? name : "");
        }
        compaction->points[i] = db->state.tags[t].sequence;
    }
    return VELTA_OK;
}

static uint64_t keep_from(const struct compaction *compaction, const struct history *history) {
    int64_t since_ms = compaction->options->keep_since_ms;
    uint64_t sequence = 0;
    if (since_ms == 0) {
        return HISTORY_NOW;
    }
    if (since_ms == INT64_MIN || history_sequence_at(history, since_ms, &sequence, NULL)) {
        return 0; /* everything that is still kept */
    }
    return sequence;
}

/* ---- one table */

static enum velta_status add_vectors(struct velta *db, const struct snapshot_table *old, struct snapshot_table *made,
                                     size_t column_number, const uint32_t *row_map, struct velta_error *error) {
    const struct column *column = made->table->columns[column_number];
    const struct bitmap *live = &old->table->live;
    struct hnsw *index = made->indexes[column_number];
    enum velta_status status = apply_reserve_scratch(db, column->spec.dimensions, error);
    uint32_t present = 0;
    for (uint32_t row = 0; row < old->table->row_count; row++) {
        present += hnsw_contains(old->indexes[column_number], row);
    }
    status = status ? status : hnsw_reserve(index, made->table->row_count, present, error);
    for (uint32_t row = 0; row < old->table->row_count && !status; row++) {
        if (!bitmap_get(live->words, row) || !hnsw_contains(old->indexes[column_number], row)) {
            continue;
        }
        if (column->spec.element == VELTA_CODES) {
            hnsw_decode(old->indexes[column_number], row, db->scratch);
        } else {
            column_get_vector(column, row_map[row], db->scratch);
        }
        hnsw_add(index, row_map[row], db->scratch);
    }
    return status;
}

static enum velta_status link_all(struct compaction *compaction, const struct column *column, struct hnsw *index,
                                  struct velta_error *error) {
    uint64_t pending = 0;
    if (column->spec.no_index) {
        return VELTA_OK;
    }
    enum velta_status status = hnsw_link(index, UINT64_MAX, database_executor(compaction->db),
                                         &compaction->options->progress, &pending, error);
    return status ? status : hnsw_calibrate(index, error);
}

/* Rows went away: every index over the new numbers. */
static enum velta_status build_indexes(struct compaction *compaction, const struct snapshot_table *old,
                                       struct snapshot_table *made, const uint32_t *row_map,
                                       struct velta_error *error) {
    enum velta_status status = snapshot_table_make_indexes(&compaction->db->state, made, error);
    for (size_t c = 0; c < made->table->column_count && !status; c++) {
        if (made->indexes[c]) {
            status = add_vectors(compaction->db, old, made, c, row_map, error);
            status = status ? status : link_all(compaction, made->table->columns[c], made->indexes[c], error);
        }
    }
    return status;
}

/* No row went away: the old indexes serve on. They are shared until the new state has replaced the old one. */
static enum velta_status share_indexes(struct compaction *compaction, const struct snapshot_table *old,
                                       struct snapshot_table *made, struct velta_error *error) {
    struct memory *memory = compaction->db->memory;
    enum velta_status status = VELTA_OK;
    for (size_t c = 0; c < old->table->column_count && !status; c++) {
        if (old->indexes[c]) {
            compaction->db->graph_dirty = true;
            status = link_all(compaction, old->table->columns[c], old->indexes[c], error);
        }
    }
    if (status) {
        return status;
    }
    made->indexes = memory_allocate(memory, old->index_capacity * sizeof *made->indexes);
    if (!made->indexes) {
        return memory_fail(memory, error);
    }
    made->index_capacity = old->index_capacity;
    memcpy(made->indexes, old->indexes, old->index_capacity * sizeof *made->indexes);
    return VELTA_OK;
}

/* Rows of a salvaged table whose required values are lost are not kept for history either. */
static void drop_incomplete(const struct table *table, uint64_t *keep) {
    for (size_t c = 0; c < table->column_count; c++) {
        for (uint32_t row = 0; table->columns[c]->spec.required && row < table->row_count; row++) {
            if (bitmap_get(keep, row) && column_is_null(table->columns[c], row)) {
                bitmap_clear(keep, row);
            }
        }
    }
}

static enum velta_status fill_table(struct compaction *compaction, const struct snapshot_table *old, uint64_t *keep,
                                    uint32_t *row_map, struct snapshot_table *made, struct velta_error *error) {
    size_t point_count = compaction->options->keep_tag_count;
    uint64_t from = keep_from(compaction, old->history);
    history_needed_rows(old->history, from, compaction->points, point_count, keep);
    if (compaction->salvaging) {
        drop_incomplete(old->table, keep);
    }
    enum velta_status status = table_vacuum_keeping(old->table, keep, &made->table, row_map, error);
    status = status ? status
                    : history_compact(old->history, old->table, row_map, from, compaction->points, point_count,
                                      &made->history, error);
    if (status) {
        return status;
    }
    uint32_t dropped = old->table->row_count - made->table->row_count;
    compaction->rows_dropped += dropped;
    return dropped > 0 ? build_indexes(compaction, old, made, row_map, error)
                       : share_indexes(compaction, old, made, error);
}

static enum velta_status compact_table(struct compaction *compaction, const struct snapshot_table *old,
                                       struct snapshot_table *made, struct velta_error *error) {
    struct memory *memory = compaction->db->memory;
    size_t rows = old->table->row_count > 0 ? old->table->row_count : 1;
    size_t keep_bytes = bitmap_words(rows) * sizeof(uint64_t);
    uint64_t *keep = memory_allocate_zero(memory, keep_bytes);
    uint32_t *row_map = keep ? memory_allocate(memory, rows * sizeof *row_map) : NULL;
    enum velta_status status =
        row_map ? fill_table(compaction, old, keep, row_map, made, error) : memory_fail(memory, error);
    memory_release(memory, row_map, row_map ? rows * sizeof *row_map : 0);
    memory_release(memory, keep, keep ? keep_bytes : 0);
    return status;
}

/* ---- all tables */

static enum velta_status make_fresh(struct compaction *compaction, struct velta_error *error) {
    struct velta *db = compaction->db;
    size_t count = db->state.table_count;
    compaction->fresh = db->state;
    compaction->fresh.tables = NULL;
    if (count == 0) {
        return VELTA_OK;
    }
    compaction->fresh.tables = memory_allocate_zero(db->memory, count * sizeof *compaction->fresh.tables);
    if (!compaction->fresh.tables) {
        return memory_fail(db->memory, error);
    }
    for (size_t t = 0; t < count; t++) {
        const struct snapshot_table *old = &db->state.tables[t];
        struct snapshot_table *made = &compaction->fresh.tables[t];
        made->number = old->number;
        made->dropped = old->dropped;
        enum velta_status status = old->dropped ? VELTA_OK : compact_table(compaction, old, made, error);
        if (status) {
            return status;
        }
    }
    return VELTA_OK;
}

/* Ends `tables`, which share indexes with `others` where no row went away. */
static void destroy_tables(struct memory *memory, struct snapshot_table *tables, const struct snapshot_table *others,
                           size_t count) {
    for (size_t t = 0; tables && t < count; t++) {
        for (size_t c = 0; c < tables[t].index_capacity && c < others[t].index_capacity; c++) {
            if (tables[t].indexes[c] == others[t].indexes[c]) {
                tables[t].indexes[c] = NULL;
            }
        }
        snapshot_table_destroy(memory, &tables[t]);
    }
    memory_release(memory, tables, tables ? count * sizeof *tables : 0);
}

static void replace_state(struct compaction *compaction) {
    struct velta *db = compaction->db;
    struct snapshot_table *old = db->state.tables;
    struct snapshot_table *made = compaction->fresh.tables;
    size_t count = db->state.table_count;
    for (size_t t = 0; t < count; t++) {
        for (size_t c = 0; !made[t].dropped && c < made[t].table->column_count; c++) {
            if (made[t].indexes[c]) {
                hnsw_set_column(made[t].indexes[c], made[t].table->columns[c]);
            }
        }
    }
    db->state = compaction->fresh;
    compaction->fresh.tables = NULL;
    db->layout_epoch++;
    for (size_t t = 0; t < count; t++) {
        if (!made[t].dropped && made[t].table->row_count != old[t].table->row_count) {
            watch_notify_renumbered(db, (uint32_t)t);
        }
    }
    destroy_tables(db->memory, old, made, count);
}

/* ---- the bytes */

static enum velta_status scrub(struct velta *db, struct velta_error *error) {
    enum velta_status status = storage_begin_scrub(db->storage, error);
    return status ? status : commit_drive(db, error);
}

/* The new state is durable; what was deleted must go from the files, and the files become short. */
static enum velta_status clean_files(struct velta *db, struct velta_error *error) {
    struct storage_stats stats;
    enum velta_status status = scrub(db, error);
    storage_get_stats(db->storage, &stats);
    if (status || stats.free_bytes < stats.data_bytes / 8) {
        return status;
    }
    status = checkpoint_run(db, &db->state, true, NULL, error);
    if (status && !db->poisoned) {
        return VELTA_OK; /* no memory to move it: the file stays long, with zeros */
    }
    return status ? status : scrub(db, error);
}

static uint64_t stored_bytes(const struct velta *db) {
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    return db->storage ? stats.data_file_bytes + stats.log_bytes
                       : stats.column_bytes + stats.vector_bytes + stats.dictionary_bytes + stats.index_bytes +
                             stats.history_bytes;
}

static enum velta_status run(struct compaction *compaction, struct velta_error *error) {
    struct velta *db = compaction->db;
    enum velta_status status = find_points(compaction, error);
    status = status ? status : make_fresh(compaction, error);
    if (!status && db->storage) {
        status = checkpoint_run(db, &compaction->fresh, true, &compaction->options->progress, error);
    }
    if (status) {
        return status;
    }
    replace_state(compaction);
    return db->storage ? clean_files(db, error) : VELTA_OK;
}

enum velta_status compact_salvaged(struct velta *db, const struct velta_progress *progress, struct velta_error *error) {
    struct velta_compact_options options = {.keep_since_ms = INT64_MIN, .progress = *progress};
    struct compaction compaction = {.db = db, .options = &options, .salvaging = true};
    enum velta_status status = run(&compaction, error);
    destroy_tables(db->memory, compaction.fresh.tables, db->state.tables, db->state.table_count);
    return status;
}

enum velta_status velta_compact(velta *db, const struct velta_compact_options *options,
                                struct velta_compact_stats *stats, struct velta_error *error) {
    static const struct velta_compact_options defaults = {0};
    struct compaction compaction = {.db = db, .options = options ? options : &defaults};
    enum velta_status status = database_check_writable(db, error);
    status = status ? status : check_options(compaction.options, error);
    if (status) {
        return status;
    }
    if (db->open_iterators > 0) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "%u iterators are open; close them before compacting",
                          db->open_iterators);
    }
    if (db->open_snapshots > 0) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET,
                          "graphs of a snapshot may still come; attach them or close it before compacting");
    }
    uint64_t bytes_before = stored_bytes(db);
    status = run(&compaction, error);
    destroy_tables(db->memory, compaction.fresh.tables, db->state.tables, db->state.table_count);
    memory_release(db->memory, compaction.points,
                   compaction.points ? compaction.options->keep_tag_count * sizeof *compaction.points : 0);
    if (!status && stats) {
        *stats = (struct velta_compact_stats){
            .rows_dropped = compaction.rows_dropped, .bytes_before = bytes_before, .bytes_after = stored_bytes(db)};
    }
    return status;
}
