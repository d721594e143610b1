/*
 * The whole state as segments: listing, writing and reading them. Each kind's bytes are those of its own codec: columns
 * and dictionaries of core/column_image.c, the index of hnsw/image.c, history of delta/history_image.c, the schema of
 * delta/snapshot_schema.c.
 *
 * Which segments there are follows from the state alone, in the order of their keys, so equal states list alike and a
 * loaded state must list exactly the segments that were read: that is how a missing one is noticed.
 */
#include "delta/snapshot.h"

#include <string.h>

#include "core/bytes.h"
#include "core/column_image.h"
#include "core/error.h"
#include "delta/history_state.h"

/* ---- listing */

/* Counts, and with `segments` also fills. */
struct listing {
    struct checkpoint_segment *segments;
    size_t count;
    bool all;
};

static void list_one(struct listing *listing, struct segment_key key, uint64_t size_bytes, bool changed) {
    if (listing->segments) {
        listing->segments[listing->count] =
            (struct checkpoint_segment){.key = key, .size_bytes = size_bytes, .changed = changed || listing->all};
    }
    listing->count++;
}

static uint32_t dictionary_end(const struct column *column, uint32_t part) {
    uint64_t end = ((uint64_t)part + 1) * SNAPSHOT_DICTIONARY_ENTRIES;
    uint32_t count = dictionary_count(column->dictionary);
    return end < count ? (uint32_t)end : count;
}

static void list_dictionary(struct listing *listing, const struct snapshot_table *owner, uint32_t c) {
    const struct column *column = owner->table->columns[c];
    if (!column->dictionary) {
        return;
    }
    uint32_t count = dictionary_count(column->dictionary);
    for (uint32_t part = 0; (uint64_t)part * SNAPSHOT_DICTIONARY_ENTRIES < count; part++) {
        struct segment_key key = {SEGMENT_DICTIONARY, owner->number, c, part};
        uint32_t end = dictionary_end(column, part);
        list_one(listing, key, column_dictionary_image_bytes(column, part * SNAPSHOT_DICTIONARY_ENTRIES, end),
                 end > column->clean_dictionary_count);
    }
}

static void list_slabs(struct listing *listing, const struct column *column, uint32_t row_count,
                       struct segment_key key) {
    size_t count = column_image_count(column, row_count);
    uint32_t first_part = key.part;
    for (size_t slab = 0; slab < count; slab++) {
        key.part = first_part + (uint32_t)slab;
        list_one(listing, key, column_slab_image_bytes(column, slab, row_count), column->slabs[slab].dirty);
    }
}

static void list_rows(struct listing *listing, const struct snapshot_table *owner) {
    const struct table *table = owner->table;
    if (table->row_count > 0) {
        struct segment_key key = {SEGMENT_ROWS, owner->number, 0, 0};
        list_one(listing, key, bitmap_words(table->row_count) * sizeof(uint64_t), table->live_dirty);
    }
    if (table->expiry) {
        list_slabs(listing, table->expiry, table->row_count, (struct segment_key){SEGMENT_ROWS, owner->number, 0, 1});
    }
}

static void list_columns(struct listing *listing, const struct snapshot_table *owner, bool vectors) {
    const struct table *table = owner->table;
    for (uint32_t c = 0; c < table->column_count; c++) {
        if ((table->columns[c]->spec.type == VELTA_VECTOR) == vectors) {
            struct segment_key key = {vectors ? SEGMENT_VECTORS : SEGMENT_COLUMN, owner->number, c, 0};
            list_slabs(listing, table->columns[c], table->row_count, key);
        }
    }
}

static void list_index(struct listing *listing, const struct snapshot_table *owner, enum hnsw_part_kind kind) {
    for (uint32_t c = 0; c < owner->table->column_count; c++) {
        struct hnsw *index = owner->indexes[c];
        if (index) {
            hnsw_refresh(index);
        }
        for (uint32_t part = 0; index && part < hnsw_part_count(index, kind); part++) {
            struct segment_key key = {kind == HNSW_PART_CODES ? SEGMENT_CODES : SEGMENT_GRAPH, owner->number, c, part};
            list_one(listing, key, hnsw_part_bytes(index, kind, part), hnsw_part_dirty(index, kind, part));
        }
    }
}

static void list_history(struct listing *listing, const struct snapshot_table *owner) {
    for (uint32_t part = 0; part < history_part_count(owner->history); part++) {
        struct segment_key key = {SEGMENT_HISTORY, owner->number, 0, part};
        list_one(listing, key, history_part_bytes(owner->history, part), history_part_dirty(owner->history, part));
    }
}

static void list_kind(struct listing *listing, const struct snapshot_table *owner, enum segment_kind kind) {
    switch (kind) {
    case SEGMENT_DICTIONARY:
        for (uint32_t c = 0; c < owner->table->column_count; c++) {
            list_dictionary(listing, owner, c);
        }
        break;
    case SEGMENT_ROWS:
        list_rows(listing, owner);
        break;
    case SEGMENT_COLUMN:
    case SEGMENT_VECTORS:
        list_columns(listing, owner, kind == SEGMENT_VECTORS);
        break;
    case SEGMENT_CODES:
    case SEGMENT_GRAPH:
        list_index(listing, owner, kind == SEGMENT_CODES ? HNSW_PART_CODES : HNSW_PART_GRAPH);
        break;
    case SEGMENT_HISTORY:
        list_history(listing, owner);
        break;
    default:
        break;
    }
}

static void list_all(struct listing *listing, const struct snapshot_state *state) {
    list_one(listing, (struct segment_key){.kind = SEGMENT_SCHEMA}, snapshot_schema_bytes(state), true);
    for (int kind = SEGMENT_DICTIONARY; kind <= SEGMENT_GRAPH; kind++) {
        for (size_t t = 0; t < state->table_count; t++) {
            if (!state->tables[t].dropped) {
                list_kind(listing, &state->tables[t], (enum segment_kind)kind);
            }
        }
    }
}

enum velta_status snapshot_list(const struct snapshot_state *state, bool all, struct checkpoint_segment **segments,
                                size_t *count, struct velta_error *error) {
    struct listing listing = {.all = all};
    list_all(&listing, state);
    *count = listing.count;
    *segments = memory_allocate(state->memory, listing.count * sizeof **segments);
    if (!*segments) {
        return memory_fail(state->memory, error);
    }
    listing = (struct listing){.all = all, .segments = *segments};
    list_all(&listing, state);
    return VELTA_OK;
}

/* ---- writing */

static void write_rows(const struct table *table, uint32_t part, void *out) {
    if (part > 0) {
        column_slab_image_write(table->expiry, part - 1, table->row_count, out);
        return;
    }
    for (size_t i = 0; i < bitmap_words(table->row_count); i++) {
        bytes_put_u64((uint8_t *)out + 8 * i, table->live.words[i]);
    }
}

void snapshot_write_segment(void *context, const struct segment_key *key, void *out, uint64_t size_bytes) {
    const struct snapshot_state *state = context;
    (void)size_bytes;
    if (key->kind == SEGMENT_SCHEMA) {
        snapshot_schema_write(state, out);
        return;
    }
    const struct snapshot_table *owner = &state->tables[key->table];
    const struct table *table = owner->table;
    switch (key->kind) {
    case SEGMENT_DICTIONARY:
        column_dictionary_image_write(table->columns[key->column], key->part * SNAPSHOT_DICTIONARY_ENTRIES,
                                      dictionary_end(table->columns[key->column], key->part), out);
        break;
    case SEGMENT_ROWS:
        write_rows(table, key->part, out);
        break;
    case SEGMENT_COLUMN:
    case SEGMENT_VECTORS:
        column_slab_image_write(table->columns[key->column], key->part, table->row_count, out);
        break;
    case SEGMENT_CODES:
        hnsw_part_write(owner->indexes[key->column], HNSW_PART_CODES, key->part, out);
        break;
    case SEGMENT_HISTORY:
        history_part_write(owner->history, key->part, out);
        break;
    default:
        hnsw_part_write(owner->indexes[key->column], HNSW_PART_GRAPH, key->part, out);
    }
}

static void clean_index(struct hnsw *index, enum hnsw_part_kind kind) {
    for (uint32_t part = 0; part < hnsw_part_count(index, kind); part++) {
        hnsw_part_clean(index, kind, part);
    }
}

void snapshot_clean(struct snapshot_state *state) {
    for (size_t t = 0; t < state->table_count; t++) {
        struct snapshot_table *owner = &state->tables[t];
        if (owner->dropped) {
            continue;
        }
        table_clean(owner->table);
        for (size_t c = 0; c < owner->table->column_count; c++) {
            if (owner->indexes[c]) {
                clean_index(owner->indexes[c], HNSW_PART_CODES);
                clean_index(owner->indexes[c], HNSW_PART_GRAPH);
            }
        }
        for (uint32_t part = 0; part < history_part_count(owner->history); part++) {
            history_part_clean(owner->history, part);
        }
    }
}

/* ---- reading */

static int compare_keys(const struct segment_key *a, const struct segment_key *b) {
    const uint32_t left[] = {a->kind, a->table, a->column, a->part};
    const uint32_t right[] = {b->kind, b->table, b->column, b->part};
    for (int i = 0; i < 4; i++) {
        if (left[i] != right[i]) {
            return left[i] < right[i] ? -1 : 1;
        }
    }
    return 0;
}

static enum velta_status damage(const struct segment_key *key, const char *what, struct velta_error *error) {
    return velta_fail(error, VELTA_CORRUPT, 0, "segment %u of table %u, column %u, part %u: %s", key->kind, key->table,
                      key->column, key->part, what);
}

static enum velta_status read_dictionary(struct column *column, const struct segment_key *key, const void *bytes,
                                         uint64_t size_bytes, struct velta_error *error) {
    uint32_t count = column->dictionary ? dictionary_count(column->dictionary) : 0;
    if (!column->dictionary || count != (uint64_t)key->part * SNAPSHOT_DICTIONARY_ENTRIES) {
        return damage(key, "a dictionary part out of turn", error);
    }
    enum velta_status status = column_dictionary_image_read(column, bytes, size_bytes, error);
    if (!status && dictionary_count(column->dictionary) - count > SNAPSHOT_DICTIONARY_ENTRIES) {
        status = damage(key, "too many entries", error);
    }
    return status;
}

static enum velta_status read_slab(struct column *column, uint32_t slab, uint32_t row_count,
                                   const struct segment_key *key, const void *bytes, uint64_t size_bytes,
                                   struct velta_error *error) {
    if (slab >= column_image_count(column, row_count)) {
        return damage(key, "a slab past the last row", error);
    }
    return column_slab_image_read(column, slab, row_count, bytes, size_bytes, error);
}

static enum velta_status read_rows(struct table *table, const struct segment_key *key, const void *bytes,
                                   uint64_t size_bytes, struct velta_error *error) {
    if (key->column != 0 || (key->part > 0 && !table->expiry)) {
        return damage(key, "rows have no such part", error);
    }
    return key->part == 0 ? table_load_live(table, bytes, size_bytes, error)
                          : read_slab(table->expiry, key->part - 1, table->row_count, key, bytes, size_bytes, error);
}

static enum velta_status read_column(struct table *table, const struct segment_key *key, const void *bytes,
                                     uint64_t size_bytes, struct velta_error *error) {
    struct column *column = table->columns[key->column];
    if ((column->spec.type == VELTA_VECTOR) != (key->kind == SEGMENT_VECTORS)) {
        return damage(key, "it is not of the column's type", error);
    }
    return read_slab(column, key->part, table->row_count, key, bytes, size_bytes, error);
}

/* A segment of a table that is there, with a column that is there. */
static enum velta_status read_of_table(struct snapshot_table *owner, const struct segment_key *key, const void *bytes,
                                       uint64_t size_bytes, struct velta_error *error) {
    struct table *table = owner->table;
    struct hnsw *index = owner->indexes[key->column];
    switch (key->kind) {
    case SEGMENT_DICTIONARY:
        return read_dictionary(table->columns[key->column], key, bytes, size_bytes, error);
    case SEGMENT_ROWS:
        return read_rows(table, key, bytes, size_bytes, error);
    case SEGMENT_COLUMN:
    case SEGMENT_VECTORS:
        return read_column(table, key, bytes, size_bytes, error);
    case SEGMENT_HISTORY:
        return history_part_read(owner->history, table, key->part, bytes, size_bytes, error);
    case SEGMENT_CODES:
    case SEGMENT_GRAPH:
        if (!index) {
            return damage(key, "the column has no index", error);
        }
        return hnsw_part_read(index, key->kind == SEGMENT_CODES ? HNSW_PART_CODES : HNSW_PART_GRAPH, key->part,
                              table->row_count, bytes, size_bytes, error);
    default:
        return damage(key, "a kind that is not known", error);
    }
}

enum velta_status snapshot_read_segment(struct snapshot_state *state, const struct segment_key *key, const void *bytes,
                                        uint64_t size_bytes, struct velta_error *error) {
    bool first = state->read_count == 0;
    if (first ? key->kind != SEGMENT_SCHEMA || key->table || key->column || key->part
              : compare_keys(&state->last_read, key) >= 0) {
        return damage(key, first ? "the schema must come first" : "it is out of order", error);
    }
    state->last_read = *key;
    state->read_count++;
    if (first) {
        return snapshot_schema_read(state, bytes, size_bytes, error);
    }
    if (key->table >= state->table_count || state->tables[key->table].dropped ||
        key->column >= state->tables[key->table].table->column_count) {
        return damage(key, "there is no such table or column", error);
    }
    return read_of_table(&state->tables[key->table], key, bytes, size_bytes, error);
}

/* Whether as many segments were read as a state like this one lists, of the kinds before `end`. */
static enum velta_status check_complete(const struct snapshot_state *state, int end, struct velta_error *error) {
    struct listing listing = {0};
    list_one(&listing, (struct segment_key){0}, 0, false);
    for (int kind = SEGMENT_DICTIONARY; kind < end; kind++) {
        for (size_t t = 0; t < state->table_count; t++) {
            if (!state->tables[t].dropped) {
                list_kind(&listing, &state->tables[t], (enum segment_kind)kind);
            }
        }
    }
    if (listing.count != state->read_count) {
        return velta_fail(error, VELTA_CORRUPT, 0, "%zu segments are there, %zu are needed", state->read_count,
                          listing.count);
    }
    return VELTA_OK;
}

/* The vectors of a codes-only column are in its index alone: every living row that has one must be there. */
static enum velta_status check_codes_only(const struct snapshot_table *owner, struct velta_error *error) {
    for (uint32_t c = 0; c < owner->table->column_count; c++) {
        const struct column *column = owner->table->columns[c];
        if (column->spec.element != VELTA_CODES || column->spec.type != VELTA_VECTOR) {
            continue;
        }
        for (uint32_t row = 0; row < owner->table->row_count; row++) {
            if (bitmap_get(owner->table->live.words, row) && !column_is_null(column, row) &&
                !hnsw_contains(owner->indexes[c], row)) {
                return velta_fail(error, VELTA_CORRUPT, 0, "the vector of row %u in column '%.60s' is nowhere", row,
                                  column->spec.name);
            }
        }
    }
    return VELTA_OK;
}

enum velta_status snapshot_ready(struct snapshot_state *state, struct velta_error *error) {
    if (state->read_count == 0) {
        return velta_fail(error, VELTA_CORRUPT, 0, "there is no schema");
    }
    enum velta_status status = VELTA_OK;
    for (size_t t = 0; t < state->table_count && !status; t++) {
        struct snapshot_table *owner = &state->tables[t];
        if (!owner->dropped) {
            status = table_finish_load(owner->table, error);
            status = status ? status : history_load_finish(owner->history, owner->table, error);
            status = status ? status : check_codes_only(owner, error);
        }
    }
    return status ? status : check_complete(state, SEGMENT_GRAPH, error);
}

/* The segments of one index, from segments[*at] on. The head's size is not known before it is read. */
static enum velta_status check_graph_of(const struct hnsw *index, uint32_t table, uint32_t column,
                                        const struct segment *segments, size_t count, size_t *at,
                                        struct velta_error *error) {
    for (uint32_t part = 0; part < hnsw_part_count(index, HNSW_PART_GRAPH); part++, (*at)++) {
        struct segment_key key = {SEGMENT_GRAPH, table, column, part};
        if (*at == count || compare_keys(&segments[*at].key, &key) != 0) {
            return damage(&key, "it is missing", error);
        }
        if (part > 0 && segments[*at].size_bytes != hnsw_part_bytes(index, HNSW_PART_GRAPH, part)) {
            return damage(&key, "it has another size", error);
        }
    }
    return VELTA_OK;
}

enum velta_status snapshot_check_graph(const struct snapshot_state *state, const struct segment *segments, size_t count,
                                       struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    size_t at = 0;
    for (size_t t = 0; t < state->table_count; t++) {
        const struct snapshot_table *owner = &state->tables[t];
        for (uint32_t c = 0; !owner->dropped && !status && c < owner->table->column_count; c++) {
            if (owner->indexes[c]) {
                status = check_graph_of(owner->indexes[c], owner->number, c, segments, count, &at, error);
            }
        }
    }
    return !status && at < count ? damage(&segments[at].key, "there is no such index", error) : status;
}

void snapshot_last_change(const struct snapshot_state *state, uint64_t *sequence, int64_t *time_ms) {
    *sequence = 0;
    *time_ms = INT64_MIN;
    for (size_t t = 0; t < state->table_count; t++) {
        const struct history *history = state->tables[t].dropped ? NULL : state->tables[t].history;
        if (history && history->last_sequence > *sequence) *sequence = history->last_sequence;
        if (history && history->last_time_ms > *time_ms) *time_ms = history->last_time_ms;
    }
    for (size_t i = 0; i < state->tag_count; i++) {
        if (state->tags[i].sequence > *sequence) *sequence = state->tags[i].sequence;
        if (state->tags[i].time_ms > *time_ms) *time_ms = state->tags[i].time_ms;
    }
}

enum velta_status snapshot_finish(struct snapshot_state *state, struct velta_error *error) {
    enum velta_status status = check_complete(state, SEGMENT_GRAPH + 1, error);
    for (size_t t = 0; t < state->table_count && !status; t++) {
        struct snapshot_table *owner = &state->tables[t];
        for (size_t c = 0; !owner->dropped && !status && c < owner->table->column_count; c++) {
            if (owner->indexes[c]) {
                status = hnsw_load_finish(owner->indexes[c], error);
            }
        }
    }
    if (!status) {
        snapshot_clean(state);
    }
    return status;
}

void snapshot_state_destroy(struct snapshot_state *state) {
    for (size_t t = 0; t < state->table_count; t++) {
        snapshot_table_destroy(state->memory, &state->tables[t]);
    }
    for (size_t i = 0; i < state->tag_count; i++) {
        if (state->tags[i].name) {
            memory_release(state->memory, state->tags[i].name, strlen(state->tags[i].name) + 1);
        }
    }
    memory_release(state->memory, state->tables, state->table_count * sizeof *state->tables);
    memory_release(state->memory, state->tags, state->tag_count * sizeof *state->tags);
    state->tables = NULL;
    state->tags = NULL;
    state->table_count = 0;
    state->tag_count = 0;
}
