/*
 * Filters of the public API: compiled once, counted, listed, and turned into the bitmap that a search needs.
 *
 * A core filter is bound to one struct table; compaction makes a new one, so the public object keeps its text and binds
 * again when the layout epoch of the database has moved.
 */
#include "store/filtering.h"

#include <string.h>

#include "core/filter_bounds.h"

enum velta_status velta_filter_compile(velta_table *handle, const char *text, velta_filter **out,
                                       struct velta_error *error) {
    enum velta_status status = database_check(handle, error);
    if (status) {
        return status;
    }
    if (!text) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a filter text is needed");
    }
    struct memory *memory = handle->db->memory;
    size_t text_bytes = strlen(text);
    struct velta_filter *filter = memory_allocate_zero(memory, sizeof *filter);
    char *copy = memory_allocate(memory, text_bytes + 1);
    if (!filter || !copy) {
        status = memory_fail(memory, error);
    } else {
        memcpy(copy, text, text_bytes + 1);
        status = filter_compile(database_rows(handle), text, text_bytes, &filter->bound, error);
    }
    if (status) {
        memory_release(memory, copy, text_bytes + 1);
        memory_release(memory, filter, sizeof *filter);
        return status;
    }
    filter->handle = handle;
    filter->text = copy;
    filter->text_bytes = text_bytes;
    filter->epoch = handle->db->layout_epoch;
    *out = filter;
    return VELTA_OK;
}

void velta_filter_free(velta_filter *filter) {
    if (filter) {
        struct memory *memory = filter->handle->db->memory;
        filter_destroy(filter->bound);
        memory_release(memory, filter->text, filter->text_bytes + 1);
        memory_release(memory, filter, sizeof *filter);
    }
}

enum velta_status filtering_bind(struct velta_filter *filter, struct velta_error *error) {
    enum velta_status status = database_check(filter->handle, error);
    if (status || filter->epoch == filter->handle->db->layout_epoch) {
        return status;
    }
    struct filter *bound;
    status = filter_compile(database_rows(filter->handle), filter->text, filter->text_bytes, &bound, error);
    if (!status) {
        filter_destroy(filter->bound);
        filter->bound = bound;
        filter->epoch = filter->handle->db->layout_epoch;
    }
    return status;
}

/* The bitmap of rows not expired, or NULL where nothing expires (then the live bitmap serves). */
static enum velta_status not_expired(struct velta_table *handle, uint64_t **visible, size_t *words,
                                     struct velta_error *error) {
    const struct table *table = database_rows(handle);
    *visible = NULL;
    *words = bitmap_words(table->row_count);
    if (!table->expiry || table->row_count == 0) {
        return VELTA_OK;
    }
    *visible = memory_allocate(table->memory, *words * sizeof **visible);
    if (!*visible) {
        return memory_fail(table->memory, error);
    }
    (void)table_visible(table, database_now(handle->db), *visible);
    return VELTA_OK;
}

enum velta_status velta_filter_count(velta_filter *filter, uint64_t *count, struct velta_error *error) {
    uint64_t *visible = NULL;
    size_t words = 0;
    enum velta_status status = filtering_bind(filter, error);
    if (!status) {
        status = not_expired(filter->handle, &visible, &words, error);
    }
    if (!status) {
        status = filter_count(filter->bound, visible, count, error);
    }
    memory_release(filter->handle->db->memory, visible, words * sizeof *visible);
    return status;
}

enum velta_status velta_filter_rows(velta_filter *filter, uint32_t *rows, size_t capacity, uint64_t *count,
                                    struct velta_error *error) {
    uint64_t *visible = NULL;
    size_t words = 0;
    enum velta_status status = filtering_bind(filter, error);
    if (!status) {
        status = not_expired(filter->handle, &visible, &words, error);
    }
    if (!status) {
        status = filter_rows(filter->bound, visible, rows, capacity, count, error);
    }
    memory_release(filter->handle->db->memory, visible, words * sizeof *visible);
    return status;
}

/* ---- zone maps */

struct zones {
    const struct table *table;
    const uint8_t *holds; /* block x column; NULL: everything */
};

static void zone_bounds(void *context, uint32_t zone, size_t column, struct filter_bounds *bounds) {
    const struct zones *zones = context;
    const struct table *table = zones->table;
    const struct column *values = table->columns[column];
    bool is_ordered = values->spec.type != VELTA_VECTOR;
    if (zones->holds) {
        uint8_t holds = zones->holds[(size_t)zone * table->column_count + column];
        bounds->may_be_null = (holds & VELTA_HOLDS_NULLS) != 0;
        bounds->may_be_there = (holds & VELTA_HOLDS_VALUES) != 0;
    }
    bounds->has_low = is_ordered && column_get_scalar(values, 2 * zone, &bounds->low);
    bounds->has_high = is_ordered && column_get_scalar(values, 2 * zone + 1, &bounds->high);
}

enum velta_status velta_filter_zones(velta_filter *filter, const uint8_t *holds, uint32_t *zones, size_t capacity,
                                     uint64_t *count, struct velta_error *error) {
    enum velta_status status = filtering_bind(filter, error);
    if (status) {
        return status;
    }
    struct zones context = {database_rows(filter->handle), holds};
    const struct table *table = context.table;
    if (table->row_count % 2 != 0 || table->live_count != table->row_count) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "zones are pairs of rows, all of them alive");
    }
    *count = 0;
    for (uint32_t zone = 0; zone < table->row_count / 2; zone++) {
        if (!filter_may_match(filter->bound, zone, zone_bounds, &context)) {
            continue;
        }
        if (*count < capacity) {
            zones[*count] = zone;
        }
        ++*count;
    }
    return VELTA_OK;
}

/* Applies a filter to out->rows, which holds the visible ones. */
static enum velta_status apply_filter(struct velta_table *handle, struct filter *filter, uint64_t sequence,
                                      struct filtering *out, struct velta_error *error) {
    size_t size_bytes = out->words * sizeof *out->rows;
    uint64_t *matching = memory_allocate(out->memory, size_bytes);
    if (!matching) {
        return memory_fail(out->memory, error);
    }
    enum velta_status status = read_filter(handle, filter, sequence, out->rows, matching, &out->count, error);
    memory_release(out->memory, out->rows, size_bytes);
    out->rows = matching;
    return status;
}

enum velta_status filtering_rows(struct velta_table *handle, const char *where, struct velta_filter *filter,
                                 uint64_t sequence, int64_t at_ms, bool want_bitmap, struct filtering *out,
                                 struct velta_error *error) {
    const struct table *table = database_rows(handle);
    struct filter *bound = NULL;
    *out = (struct filtering){.memory = table->memory, .words = bitmap_words(table->row_count)};
    enum velta_status status = VELTA_OK;
    if (filter) {
        if (filter->handle != handle) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the filter was compiled for another table");
        }
        status = filtering_bind(filter, error);
        bound = filter->bound;
    } else if (where) {
        status = filter_compile(database_rows(handle), where, strlen(where), &bound, error);
    }
    if (status) {
        return status;
    }
    bool restricted = bound || sequence != HISTORY_NOW || table->expiry || want_bitmap;
    out->count = table->live_count;
    if (restricted && table->row_count > 0) {
        out->rows = memory_allocate(table->memory, out->words * sizeof *out->rows);
        if (!out->rows) {
            status = memory_fail(table->memory, error);
        } else {
            int64_t moment_ms = at_ms != 0 ? at_ms : database_now(handle->db);
            out->count = read_visible(handle, sequence, moment_ms, out->rows);
            if (bound) {
                status = apply_filter(handle, bound, sequence, out, error);
            }
        }
    }
    if (bound && !filter) {
        filter_destroy(bound);
    }
    if (status) {
        filtering_release(out);
    }
    return status;
}

void filtering_release(struct filtering *filtering) {
    memory_release(filtering->memory, filtering->rows, filtering->words * sizeof *filtering->rows);
    filtering->rows = NULL;
}
