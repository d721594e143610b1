/*
 * Salvage of a checkpoint: each segment by itself.
 *
 * A segment that cannot be read, or whose content is refused, takes with it what it held and no more:
 *  - dictionary: its entries become stand-ins, so the codes of the others stay right; values that used it are NULL;
 *  - live bitmap: deaths are in the history too; without it all rows are live, because losing them all would be worse;
 *  - column, vectors: NULL in the slab's rows; rows without a required value, or without a key, are dropped at the end;
 *  - codes: the index is made anew from the vectors; of a codes-only column these are the values, which become NULL;
 *  - history: what it holds hangs together, so all of the table's goes, and its past begins with this checkpoint;
 *  - graph: the links are made anew.
 * Order matters: a history is checked against the live bitmap, so where that is lost every row is taken for dead first.
 */
#include "store/salvage.h"

#include <stdio.h>
#include <string.h>

#include "core/column_image.h"
#include "core/column_salvage.h"
#include "core/hash.h"

/* ---- finding segments */

static const struct segment *find(const struct segment *segments, size_t count, const struct segment_key *key) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (storage_compare_keys(&segments[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count ? &segments[low] : NULL; /* the first not before the key */
}

static bool same_key(const struct segment *segment, const struct segment_key *key) {
    return segment && storage_compare_keys(&segment->key, key) == 0;
}

/* The first lost segment of a kind, table and column; NULL: none. */
static const struct segment *lost_of(const struct salvage *salvage, uint32_t kind, uint32_t table, uint32_t column) {
    struct segment_key key = {kind, table, column, 0};
    const struct segment *found = find(salvage->lost, salvage->lost_count, &key);
    bool fits = found && found->key.kind == kind && found->key.table == table && found->key.column == column;
    return fits ? found : NULL;
}

static bool was_loaded(const struct salvage *salvage, struct segment_key key) {
    return same_key(find(salvage->segments, salvage->segment_count, &key), &key) &&
           !same_key(find(salvage->lost, salvage->lost_count, &key), &key);
}

static struct salvage_place place_of(const struct segment *segment) {
    return segment ? (struct salvage_place){.known = true, .offset = segment->offset, .size_bytes = segment->size_bytes}
                   : (struct salvage_place){0};
}

/* Where the segment with this key was to be. */
static struct salvage_place place_of_key(const struct salvage *salvage, struct segment_key key) {
    const struct segment *segment = find(salvage->segments, salvage->segment_count, &key);
    return place_of(same_key(segment, &key) ? segment : NULL);
}

/* ---- reading */

/* The checked bytes of a segment in the buffer; *whole false: they are not what was written. */
static enum velta_status fetch(struct salvage *salvage, const struct segment *segment, bool *whole,
                               struct velta_error *error) {
    struct memory *memory = salvage->db->memory;
    uint64_t file_bytes = salvage->file_bytes[STORAGE_DATA];
    size_t size_bytes = (size_t)segment->size_bytes;
    *whole = segment->offset <= file_bytes && segment->size_bytes <= file_bytes - segment->offset;
    if (!*whole) {
        return VELTA_OK;
    }
    if (size_bytes > salvage->buffer_capacity || !salvage->buffer) {
        memory_release(memory, salvage->buffer, salvage->buffer_capacity);
        salvage->buffer_capacity = 0;
        salvage->buffer = memory_allocate(memory, size_bytes > 0 ? size_bytes : 1);
        if (!salvage->buffer) {
            return memory_fail(memory, error);
        }
        salvage->buffer_capacity = size_bytes > 0 ? size_bytes : 1;
    }
    salvage_read(salvage, STORAGE_DATA, segment->offset, segment->size_bytes, salvage->buffer);
    *whole = hash_bytes(salvage->buffer, size_bytes) == segment->checksum;
    return VELTA_OK;
}

static void all_dead(struct table *table) {
    memset(table->live.words, 0, bitmap_words(table->row_count) * sizeof(uint64_t));
    table->live_count = 0;
}

enum velta_status salvage_load_schema(struct salvage *salvage, struct velta_error *error) {
    struct snapshot_state *state = &salvage->db->state;
    const struct segment *schema = &salvage->segments[0];
    bool whole = false;
    enum velta_status status = VELTA_OK;
    if (salvage->segment_count > 0 && schema->key.kind == SEGMENT_SCHEMA) {
        status = fetch(salvage, schema, &whole, error);
    }
    if (!status && !whole) {
        status = velta_fail(error, VELTA_CORRUPT, salvage->segment_count > 0 ? schema->offset : 0,
                            "the schema's checksum does not match");
    }
    status = status ? status : snapshot_read_segment(state, &schema->key, salvage->buffer, schema->size_bytes, error);
    if (status) {
        snapshot_state_destroy(state);
        state->read_count = 0;
        return status;
    }
    for (size_t t = 0; t < state->table_count; t++) {
        if (!state->tables[t].dropped && state->tables[t].table->row_count > 0) {
            all_dead(state->tables[t].table); /* until the bitmap comes */
        }
    }
    return VELTA_OK;
}

static struct snapshot_table *owner_of(struct salvage *salvage, const struct segment_key *key) {
    struct snapshot_state *state = &salvage->db->state;
    bool there = key->table < state->table_count && !state->tables[key->table].dropped &&
                 key->column < state->tables[key->table].table->column_count;
    return there ? &state->tables[key->table] : NULL;
}

/* Entries that stand for those of a lost part: no text is like them, because they are not UTF-8. */
static enum velta_status stand_in(struct column *column, uint32_t part, struct velta_error *error) {
    struct dictionary *dictionary = column->dictionary;
    uint64_t end = ((uint64_t)part + 1) * SNAPSHOT_DICTIONARY_ENTRIES;
    enum velta_status status = VELTA_OK;
    while (!status && dictionary_count(dictionary) < end) {
        char text[16];
        uint32_t code;
        int length = snprintf(text, sizeof text, "\xFF%u", (unsigned)dictionary_count(dictionary));
        status = dictionary_add(dictionary, text, (size_t)length, &code, error);
    }
    return status;
}

/* Undoes what a refused segment left, where the next one of its kind could meet it. */
static enum velta_status undo(struct salvage *salvage, const struct segment_key *key, struct velta_error *error) {
    struct snapshot_table *owner = owner_of(salvage, key);
    if (!owner) {
        return VELTA_OK;
    }
    if (key->kind == SEGMENT_ROWS && key->part == 0 && owner->table->row_count > 0) {
        all_dead(owner->table);
    }
    struct column *column = owner->table->columns[key->column];
    uint64_t first = (uint64_t)key->part * SNAPSHOT_DICTIONARY_ENTRIES;
    if (key->kind != SEGMENT_DICTIONARY || !column->dictionary || dictionary_count(column->dictionary) < first ||
        dictionary_count(column->dictionary) >= first + SNAPSHOT_DICTIONARY_ENTRIES + 1) {
        return VELTA_OK;
    }
    dictionary_truncate(column->dictionary, (uint32_t)first);
    salvage->must_compact = true;
    return stand_in(column, key->part, error);
}

/* Whether a segment is not worth reading because one that it rests on is lost. */
static bool rests_on_lost(const struct salvage *salvage, const struct segment_key *key) {
    return (key->kind == SEGMENT_HISTORY && lost_of(salvage, SEGMENT_HISTORY, key->table, key->column)) ||
           (key->kind == SEGMENT_GRAPH && (lost_of(salvage, SEGMENT_GRAPH, key->table, key->column) ||
                                           lost_of(salvage, SEGMENT_CODES, key->table, key->column)));
}

static enum velta_status load_segment(struct salvage *salvage, const struct segment *segment,
                                      struct velta_error *error) {
    bool whole = false;
    enum velta_status status = VELTA_OK;
    if (!rests_on_lost(salvage, &segment->key)) {
        status = fetch(salvage, segment, &whole, error);
    }
    if (!status && whole) {
        status = snapshot_read_segment(&salvage->db->state, &segment->key, salvage->buffer, segment->size_bytes, error);
        if (!status || salvage_must_stop(status)) {
            return status;
        }
        status = VELTA_OK;
    }
    status = status ? status
                    : memory_grow_array(salvage->db->memory, (void **)&salvage->lost, &salvage->lost_capacity,
                                        salvage->lost_count + 1, sizeof *salvage->lost, error);
    if (status) {
        return status;
    }
    salvage->lost[salvage->lost_count++] = *segment;
    return undo(salvage, &segment->key, error);
}

/* ---- history and live rows */

static enum velta_status begin_history(struct salvage *salvage, struct snapshot_table *owner,
                                       struct velta_error *error) {
    struct velta *db = salvage->db;
    struct history *fresh = NULL;
    enum velta_status status = history_create(db->memory, db->simd, db->state.checkpoint_interval, &fresh, error);
    if (status) {
        return status;
    }
    history_begin(fresh, db->next_sequence - 1, db->last_time_ms);
    history_destroy(owner->history);
    owner->history = fresh;
    struct velta_loss loss = {.kind = VELTA_LOSS_HISTORY,
                              .table = owner->table->name,
                              .sequence = db->next_sequence - 1,
                              .time_ms = db->last_time_ms};
    salvage_report(salvage, &loss, place_of(lost_of(salvage, SEGMENT_HISTORY, owner->number, 0)),
                   "the history is lost: the past of the table cannot be read before change %llu",
                   (unsigned long long)db->next_sequence - 1);
    return VELTA_OK;
}

static void find_live(struct salvage *salvage, const struct snapshot_table *owner, bool history_lost) {
    struct table *table = owner->table;
    struct segment_key key = {SEGMENT_ROWS, owner->number, 0, 0};
    struct velta_loss loss = {.table = table->name, .row_count = table->row_count};
    if (table->row_count == 0 || was_loaded(salvage, key)) {
        return;
    }
    for (uint32_t row = 0; row < table->row_count; row++) {
        if (history_lost || !history_has_died(owner->history, row)) {
            bitmap_set(table->live.words, row);
            table->live_count++;
        }
    }
    salvage->resurrected[owner->number] = history_lost;
    loss.kind = history_lost ? VELTA_LOSS_DELETIONS : VELTA_LOSS_NOTHING;
    salvage_report(salvage, &loss, place_of_key(salvage, key), "%s",
                   history_lost ? "which rows were deleted is lost, and the history too: deleted rows are back"
                                : "which rows were deleted is lost; it was found again in the history");
}

static enum velta_status finish_history(struct salvage *salvage, struct snapshot_table *owner,
                                        struct velta_error *error) {
    bool lost = lost_of(salvage, SEGMENT_HISTORY, owner->number, 0) != NULL;
    if (!lost) {
        enum velta_status status = history_load_finish(owner->history, owner->table, error);
        if (salvage_must_stop(status)) {
            return status;
        }
        lost = status != VELTA_OK;
    }
    enum velta_status status = lost ? begin_history(salvage, owner, error) : VELTA_OK;
    if (!status) {
        find_live(salvage, owner, lost);
    }
    return status;
}

/* ---- columns */

/* NULL in place of each slab that is not there. first_part: of the column's first slab. */
static enum velta_status fill_slabs(struct salvage *salvage, const struct snapshot_table *owner, struct column *column,
                                    struct segment_key key, struct velta_error *error) {
    uint32_t row_count = owner->table->row_count;
    uint32_t first_part = key.part;
    bool expiry = column == owner->table->expiry;
    enum velta_status status = VELTA_OK;
    for (size_t slab = 0; slab < column_image_count(column, row_count) && !status; slab++) {
        key.part = first_part + (uint32_t)slab;
        if (was_loaded(salvage, key)) {
            continue;
        }
        status = column_slab_forget(column, slab, row_count, error);
        uint32_t first_row = (uint32_t)(slab << column->shift);
        uint32_t rows = row_count - first_row;
        uint32_t full = UINT32_C(1) << column->shift;
        struct velta_loss loss = {.kind = expiry ? VELTA_LOSS_EXPIRY : VELTA_LOSS_VALUES,
                                  .table = owner->table->name,
                                  .column = expiry ? NULL : column->spec.name,
                                  .first_row = first_row,
                                  .row_count = rows < full ? rows : full};
        salvage_report(salvage, &loss, place_of_key(salvage, key), "%s",
                       expiry ? "the times at which rows expire are lost: these rows do not expire"
                              : "the values of these rows are lost, and NULL");
    }
    return status;
}

/* NULL in place of values whose text is lost. */
static enum velta_status forget_texts(struct salvage *salvage, const struct snapshot_table *owner, uint32_t c,
                                      struct velta_error *error) {
    struct column *column = owner->table->columns[c];
    const struct segment *lost = lost_of(salvage, SEGMENT_DICTIONARY, owner->number, c);
    struct velta_loss loss = {.kind = VELTA_LOSS_VALUES, .table = owner->table->name, .column = column->spec.name};
    uint32_t last = 0;
    uint32_t count = 0;
    for (uint32_t row = 0; lost && row < owner->table->row_count; row++) {
        if (column_is_null(column, row)) {
            continue;
        }
        struct segment_key key = {SEGMENT_DICTIONARY, owner->number, c,
                                  (uint32_t)(column_integer(column, row) / SNAPSHOT_DICTIONARY_ENTRIES)};
        if (!same_key(find(salvage->lost, salvage->lost_count, &key), &key)) {
            continue;
        }
        enum velta_status status = column_forget(column, row, error);
        if (status) {
            return status;
        }
        loss.first_row = count == 0 ? row : loss.first_row;
        last = row;
        count++;
    }
    if (count > 0) {
        loss.row_count = last - loss.first_row + 1;
        salvage_report(salvage, &loss, place_of(lost), "the texts of %u of these rows are lost, and NULL", count);
    }
    return VELTA_OK;
}

static enum velta_status finish_columns(struct salvage *salvage, const struct snapshot_table *owner,
                                        struct velta_error *error) {
    struct table *table = owner->table;
    enum velta_status status = VELTA_OK;
    for (uint32_t c = 0; c < table->column_count && !status; c++) {
        bool vector = table->columns[c]->spec.type == VELTA_VECTOR;
        struct segment_key key = {vector ? SEGMENT_VECTORS : SEGMENT_COLUMN, owner->number, c, 0};
        status = fill_slabs(salvage, owner, table->columns[c], key, error);
        status = status || !table->columns[c]->dictionary ? status : forget_texts(salvage, owner, c, error);
    }
    if (!status && table->expiry) {
        status =
            fill_slabs(salvage, owner, table->expiry, (struct segment_key){SEGMENT_ROWS, owner->number, 0, 1}, error);
    }
    return status;
}

/* ---- rows */

/* Rows that go, told in runs; they come one by one, in either direction. */
struct dropping {
    struct salvage *salvage;
    const struct table *table;
    const char *why;
    uint32_t low, high; /* the run: low <= row < high */
};

static void end_run(struct dropping *dropping) {
    struct velta_loss loss = {.kind = VELTA_LOSS_ROWS,
                              .table = dropping->table->name,
                              .first_row = dropping->low,
                              .row_count = dropping->high - dropping->low};
    if (loss.row_count > 0) {
        salvage_report(dropping->salvage, &loss, (struct salvage_place){0}, "%s", dropping->why);
    }
    dropping->low = dropping->high = 0;
}

static void drop_row(void *context, uint32_t row) {
    struct dropping *dropping = context;
    if (dropping->high > dropping->low && row == dropping->high) {
        dropping->high++;
    } else if (dropping->high > dropping->low && row + 1 == dropping->low) {
        dropping->low--;
    } else {
        end_run(dropping);
        dropping->low = row;
        dropping->high = row + 1;
    }
    dropping->salvage->must_compact = true;
}

static enum velta_status finish_rows(struct salvage *salvage, const struct snapshot_table *owner,
                                     struct velta_error *error) {
    struct dropping dropping = {.salvage = salvage,
                                .table = owner->table,
                                .why = "these rows are gone: their key is lost, or another row has it"};
    enum velta_status status = table_finish_salvage(owner->table, drop_row, &dropping, error);
    end_run(&dropping);
    return status;
}

static bool is_incomplete(const struct table *table, uint32_t row) {
    for (size_t c = 0; c < table->column_count; c++) {
        if (table->columns[c]->spec.required && column_is_null(table->columns[c], row)) {
            return true;
        }
    }
    return false;
}

/* Dead rows without a required value may be kept by history: they, too, must go. */
static enum velta_status drop_incomplete(struct salvage *salvage, const struct snapshot_table *owner,
                                         struct velta_error *error) {
    struct table *table = owner->table;
    struct dropping dropping = {
        .salvage = salvage, .table = table, .why = "these rows are gone: a value that the table requires is lost"};
    for (uint32_t row = 0; row < table->row_count; row++) {
        if (!is_incomplete(table, row)) {
            continue;
        }
        salvage->must_compact = true;
        if (!bitmap_get(table->live.words, row)) {
            continue;
        }
        for (size_t c = 0; c < table->column_count; c++) {
            if (owner->indexes[c] && hnsw_contains(owner->indexes[c], row)) {
                enum velta_status status = hnsw_reserve(owner->indexes[c], table->row_count, 0, error);
                if (status) {
                    return status;
                }
                hnsw_remove(owner->indexes[c], row);
            }
        }
        table_apply_delete(table, &row, 1);
        drop_row(&dropping, row);
    }
    end_run(&dropping);
    return VELTA_OK;
}

enum velta_status salvage_drop_incomplete(struct salvage *salvage, struct velta_error *error) {
    struct snapshot_state *state = &salvage->db->state;
    enum velta_status status = VELTA_OK;
    for (size_t t = 0; t < state->table_count && !status; t++) {
        status = state->tables[t].dropped ? VELTA_OK : drop_incomplete(salvage, &state->tables[t], error);
    }
    return status;
}

/* ---- indexes */

static bool has_vector(const struct table *table, const struct column *column, uint32_t row) {
    return bitmap_get(table->live.words, row) && !column_is_null(column, row);
}

/* A new index over the column's own vectors (none of a codes-only column), all of them in its tail. */
static enum velta_status rebuild(struct salvage *salvage, struct snapshot_table *owner, uint32_t c,
                                 struct velta_error *error) {
    struct velta *db = salvage->db;
    const struct table *table = owner->table;
    const struct column *column = table->columns[c];
    uint32_t present = 0;
    hnsw_destroy(owner->indexes[c]);
    owner->indexes[c] = NULL;
    enum velta_status status = snapshot_table_make_indexes(&db->state, owner, error);
    if (status || column->spec.element == VELTA_CODES) {
        return status;
    }
    for (uint32_t row = 0; row < table->row_count; row++) {
        present += has_vector(table, column, row);
    }
    status = apply_reserve_scratch(db, column->spec.dimensions, error);
    status = status ? status : hnsw_reserve(owner->indexes[c], table->row_count, present, error);
    for (uint32_t row = 0; row < table->row_count && !status; row++) {
        if (has_vector(table, column, row)) {
            column_get_vector(column, row, db->scratch);
            hnsw_add(owner->indexes[c], row, db->scratch);
        }
    }
    return status;
}

/* Codes-only vectors that the index does not have become NULL. */
static enum velta_status forget_codes(struct salvage *salvage, const struct snapshot_table *owner, uint32_t c,
                                      struct velta_error *error) {
    struct column *column = owner->table->columns[c];
    struct velta_loss loss = {.kind = VELTA_LOSS_VALUES, .table = owner->table->name, .column = column->spec.name};
    uint32_t last = 0;
    uint32_t count = 0;
    for (uint32_t row = 0; row < owner->table->row_count; row++) {
        if (column_is_null(column, row) || hnsw_contains(owner->indexes[c], row)) {
            continue;
        }
        bool live = bitmap_get(owner->table->live.words, row);
        enum velta_status status = live ? column_forget(column, row, error) : VELTA_OK;
        if (status) {
            return status;
        }
        loss.first_row = live && count == 0 ? row : loss.first_row;
        last = live ? row : last;
        count += live;
    }
    if (count > 0) {
        loss.row_count = last - loss.first_row + 1;
        salvage_report(salvage, &loss, place_of(lost_of(salvage, SEGMENT_CODES, owner->number, c)),
                       "the codes of %u of these rows are lost, which are their values: NULL", count);
    }
    return VELTA_OK;
}

/* What the index has and the column has not goes out of it. *lacks: a row with a vector is not in it. */
static enum velta_status reconcile(const struct snapshot_table *owner, uint32_t c, bool *lacks,
                                   struct velta_error *error) {
    const struct table *table = owner->table;
    struct hnsw *index = owner->indexes[c];
    enum velta_status status = hnsw_reserve(index, table->row_count, 0, error);
    for (uint32_t row = 0; row < table->row_count && !status; row++) {
        bool wanted = has_vector(table, table->columns[c], row);
        bool there = hnsw_contains(index, row);
        *lacks |= wanted && !there;
        if (there && !wanted) {
            hnsw_remove(index, row);
        }
    }
    return status;
}

static enum velta_status finish_index(struct salvage *salvage, struct snapshot_table *owner, uint32_t c,
                                      struct velta_error *error) {
    const struct column *column = owner->table->columns[c];
    const struct segment *lost = lost_of(salvage, SEGMENT_CODES, owner->number, c);
    bool codes_only = column->spec.element == VELTA_CODES;
    bool lacks = false;
    lost = lost ? lost : lost_of(salvage, SEGMENT_GRAPH, owner->number, c);
    enum velta_status status = hnsw_load_finish(owner->indexes[c], error);
    bool damaged = lost || status == VELTA_CORRUPT;
    status = status == VELTA_CORRUPT ? VELTA_OK : status;
    status = status ? status : reconcile(owner, c, &lacks, error);
    if (!status) {
        status = hnsw_check(owner->indexes[c], error);
        if (status == VELTA_CORRUPT || (!status && lacks && !codes_only)) {
            damaged = true;
            status = rebuild(salvage, owner, c, error);
        }
    }
    if (!status && codes_only) {
        status = forget_codes(salvage, owner, c, error);
    }
    if (!status && damaged) {
        struct velta_loss loss = {.kind = VELTA_LOSS_NOTHING, .table = owner->table->name, .column = column->spec.name};
        salvage_report(salvage, &loss, place_of(lost), "the index is damaged; it is made anew");
    }
    return status;
}

/* ---- all */

static enum velta_status finish_table(struct salvage *salvage, struct snapshot_table *owner,
                                      struct velta_error *error) {
    enum velta_status status = finish_history(salvage, owner, error);
    status = status ? status : finish_columns(salvage, owner, error);
    status = status ? status : finish_rows(salvage, owner, error);
    for (uint32_t c = 0; c < owner->table->column_count && !status; c++) {
        status = owner->indexes[c] ? finish_index(salvage, owner, c, error) : VELTA_OK;
    }
    return status;
}

enum velta_status salvage_load(struct salvage *salvage, struct velta_error *error) {
    struct snapshot_state *state = &salvage->db->state;
    uint64_t done = 0;
    uint64_t total = salvage->file_bytes[STORAGE_LOG];
    enum velta_status status = VELTA_OK;
    if (state->table_count > 0) {
        salvage->resurrected = memory_allocate_zero(salvage->db->memory, state->table_count);
        if (!salvage->resurrected) {
            return memory_fail(salvage->db->memory, error);
        }
        salvage->resurrected_count = state->table_count;
    }
    for (size_t i = 0; i < salvage->segment_count; i++) {
        total += salvage->segments[i].size_bytes;
    }
    for (size_t i = 1; i < salvage->segment_count && !status; i++) { /* behind the schema */
        status = load_segment(salvage, &salvage->segments[i], error);
        done += salvage->segments[i].size_bytes;
        status = status ? status : salvage_progress(salvage, done, total, error);
    }
    for (size_t t = 0; t < state->table_count && !status; t++) {
        status = state->tables[t].dropped ? VELTA_OK : finish_table(salvage, &state->tables[t], error);
    }
    return status;
}
