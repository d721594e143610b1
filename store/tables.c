/*
 * Tables and columns by name, tags, and the pending work of the indexes.
 *
 * A handle is made with its table and stays allocated until the database is closed, so that a handle of a dropped table
 * says so instead of pointing nowhere.
 */
#include <string.h>

#include "core/utf8.h"
#include "store/database.h"

static enum velta_status check_name(const char *what, const char *name, struct velta_error *error) {
    size_t name_bytes = name ? strlen(name) : 0;
    if (name_bytes == 0 || name_bytes > VELTA_MAX_NAME_BYTES || !utf8_is_valid(name, name_bytes)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a %s name is 1 to %d bytes of UTF-8", what,
                          VELTA_MAX_NAME_BYTES);
    }
    return VELTA_OK;
}

static struct velta_table *find_table(const struct velta *db, const char *name) {
    for (size_t i = 0; i < db->state.table_count; i++) {
        if (!db->handles[i]->dropped && strcmp(db->state.tables[i].table->name, name) == 0) {
            return db->handles[i];
        }
    }
    return NULL;
}

enum velta_status velta_table_create(velta *db, const char *name, const struct velta_column *columns,
                                     size_t column_count, velta_table **out, struct velta_error *error) {
    enum velta_status status = database_check_writable(db, error);
    *out = NULL;
    status = status ? status : check_name("table", name, error);
    if (status) {
        return status;
    }
    if (find_table(db, name)) {
        return velta_fail(error, VELTA_EXISTS, VELTA_NO_OFFSET, "there is a table '%.100s' already", name);
    }
    if (column_count == 0 || column_count > VELTA_MAX_COLUMNS) {
        return velta_fail(error, column_count == 0 ? VELTA_INVALID : VELTA_LIMIT, VELTA_NO_OFFSET,
                          "a table has 1 to %d columns, not %zu", VELTA_MAX_COLUMNS, column_count);
    }
    struct change change = {
        .kind = CHANGE_TABLE_CREATE,
        .table = (uint32_t)db->state.table_count,
        .name = name,
        .columns = columns,
        .column_count = (uint32_t)column_count,
    };
    status = commit_changes(db, &change, 1, 0, NULL, error);
    if (!status) {
        *out = db->handles[change.table];
    }
    return status;
}

enum velta_status velta_table_find(velta *db, const char *name, velta_table **out, struct velta_error *error) {
    *out = name ? find_table(db, name) : NULL;
    if (!*out) {
        return velta_fail(error, VELTA_NOT_FOUND, VELTA_NO_OFFSET, "there is no table '%.100s'", name ? name : "");
    }
    return VELTA_OK;
}

velta_table *velta_table_at(velta *db, size_t index) {
    for (size_t i = 0; i < db->state.table_count; i++) {
        if (!db->handles[i]->dropped && index-- == 0) {
            return db->handles[i];
        }
    }
    return NULL;
}

enum velta_status velta_table_drop(velta_table *table, struct velta_error *error) {
    enum velta_status status = database_check(table, error);
    if (status) {
        return status;
    }
    if (table->db->open_iterators > 0) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "an iterator is open; close it before dropping a table");
    }
    struct change change = {.kind = CHANGE_TABLE_DROP, .table = table->number};
    return commit_changes(table->db, &change, 1, 0, NULL, error);
}

enum velta_status velta_column_add(velta_table *table, const struct velta_column *column, struct velta_error *error) {
    enum velta_status status = database_check(table, error);
    if (status) {
        return status;
    }
    struct change change = {.kind = CHANGE_COLUMN_ADD, .table = table->number, .columns = column, .column_count = 1};
    return commit_changes(table->db, &change, 1, 0, NULL, error);
}

const char *velta_table_name(const velta_table *table) {
    return table->dropped ? "" : database_rows(table)->name;
}

size_t velta_column_count(const velta_table *table) {
    return table->dropped ? 0 : database_rows(table)->column_count;
}

const struct velta_column *velta_column_at(const velta_table *table, size_t index) {
    return index < velta_column_count(table) ? &database_rows(table)->columns[index]->spec : NULL;
}

uint32_t velta_row_count(const velta_table *table) {
    return table->dropped ? 0 : database_rows(table)->row_count;
}

uint32_t velta_live_count(const velta_table *table) {
    return table->dropped ? 0 : database_rows(table)->live_count;
}

int64_t velta_next_expiry(const velta_table *handle, const uint32_t *rows, size_t row_count) {
    const struct table *table = handle->dropped ? NULL : database_rows(handle);
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; table && table->expiry && i < row_count; i++) {
        if (rows[i] >= table->row_count || !bitmap_get(table->live.words, rows[i]) ||
            column_is_null(table->expiry, rows[i])) {
            continue;
        }
        int64_t time_ms = column_integer(table->expiry, rows[i]);
        next_ms = time_ms < next_ms ? time_ms : next_ms;
    }
    return next_ms;
}

/* ---- tags */

enum velta_status velta_tag(velta *db, const char *name, struct velta_error *error) {
    enum velta_status status = database_check_writable(db, error);
    status = status ? status : check_name("tag", name, error);
    if (status) {
        return status;
    }
    struct change change = {.kind = CHANGE_TAG, .name = name};
    return commit_changes(db, &change, 1, 0, NULL, error);
}

enum velta_status velta_tag_time(velta *db, const char *name, int64_t *time_ms, struct velta_error *error) {
    for (size_t i = 0; name && i < db->state.tag_count; i++) {
        if (strcmp(db->state.tags[i].name, name) == 0) {
            *time_ms = db->state.tags[i].time_ms;
            return VELTA_OK;
        }
    }
    return velta_fail(error, VELTA_NOT_FOUND, VELTA_NO_OFFSET, "there is no tag '%.100s'", name ? name : "");
}

/* ---- indexes */

/* One index's share of *nodes; what it did is taken off. */
static enum velta_status link_index(struct velta *db, struct hnsw *index, uint64_t *nodes,
                                    const struct velta_progress *progress, struct velta_error *error) {
    uint64_t before = hnsw_pending(index);
    uint64_t after = before;
    if (before == 0 || *nodes == 0) {
        return VELTA_OK;
    }
    db->graph_dirty = true;
    enum velta_status status = hnsw_link(index, *nodes, database_executor(db), progress, &after, error);
    if (*nodes != UINT64_MAX) {
        uint64_t done = before > after ? before - after : 0;
        *nodes -= done < *nodes ? done : *nodes;
    }
    if (!status && after == 0) {
        status = hnsw_calibrate(index, error);
    }
    return status;
}

enum velta_status velta_index(velta *db, uint64_t max_nodes, const struct velta_progress *progress, uint64_t *pending,
                              struct velta_error *error) {
    uint64_t nodes = max_nodes > 0 ? max_nodes : UINT64_MAX;
    uint64_t left = 0;
    enum velta_status status = VELTA_OK;
    if (db->in_callback) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "a watch callback must not call the database");
    }
    for (size_t t = 0; t < db->state.table_count; t++) {
        struct snapshot_table *owner = &db->state.tables[t];
        for (size_t c = 0; !owner->dropped && c < owner->table->column_count; c++) {
            if (!owner->indexes[c] || owner->table->columns[c]->spec.no_index) {
                continue;
            }
            if (!status) {
                status = link_index(db, owner->indexes[c], &nodes, progress, error);
            }
            left += hnsw_pending(owner->indexes[c]);
        }
    }
    if (pending) {
        *pending = left;
    }
    return status;
}
