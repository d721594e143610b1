/*
 * Batches of rows into changes: insert, upsert, update, delete, expiry.
 *
 * Everything is checked before the first change is made, so that commit_changes only meets refusals of memory and
 * storage. Rows of a change ascend and are distinct. A key that comes twice in an upsert or update means its last
 * values, so no change of a batch depends on another one's effect. Large batches are cut into changes of about
 * SLICE_BYTES, which share frames; the batch stays one.
 *
 * A row past its expiry is not there for writers either: an insert of its key first deletes it.
 */
#include "store/write.h"

#include <string.h>

#include "core/hash.h"
#include "store/sort.h"

enum { SLICE_BYTES = 1 << 20, SLICE_ROWS = 1 << 18 };

/* ---- the batch */

enum velta_status write_begin(struct writing *writing, struct velta_table *handle, struct velta_error *error) {
    enum velta_status status = database_check(handle, error);
    writing->handle = handle;
    writing->db = handle->db;
    writing->table = NULL;
    writing->time_ms = 0;
    writing->arena = (struct arena){.memory = handle->db->memory};
    writing->changes = writing->few;
    writing->change_count = 0;
    writing->change_capacity = sizeof writing->few / sizeof writing->few[0];
    status = status ? status : database_check_writable(handle->db, error);
    if (!status) {
        writing->table = database_rows(handle);
        writing->now_ms = database_now(handle->db);
    }
    return status;
}

void write_end(struct writing *writing) {
    arena_reset(&writing->arena);
}

enum velta_status write_add(struct writing *writing, const struct change *change, struct velta_error *error) {
    if (writing->change_count == writing->change_capacity) {
        size_t capacity = writing->change_capacity * 2;
        struct change *larger = batch_allocate(&writing->arena, capacity, sizeof *larger, error);
        if (!larger) {
            return memory_refusal(writing->db->memory);
        }
        memcpy(larger, writing->changes, writing->change_count * sizeof *larger);
        writing->changes = larger;
        writing->change_capacity = capacity;
    }
    writing->changes[writing->change_count] = *change;
    writing->changes[writing->change_count].time_ms = writing->time_ms;
    writing->changes[writing->change_count++].table = writing->handle->number;
    return VELTA_OK;
}

static enum velta_status write_commit(struct writing *writing, const struct velta_progress *progress,
                                      struct velta_error *error) {
    return commit_changes(writing->db, writing->changes, writing->change_count, writing->now_ms, progress, error);
}

/* ---- rows */

static bool row_expired(const struct writing *writing, uint32_t row) {
    const struct column *expiry = writing->table->expiry;
    return expiry && !column_is_null(expiry, row) && column_integer(expiry, row) <= writing->now_ms;
}

bool write_row_visible(const struct writing *writing, uint32_t row) {
    return row < writing->table->row_count && bitmap_get(writing->table->live.words, row) && !row_expired(writing, row);
}

enum velta_status write_find(struct writing *writing, const struct velta_keys *keys, size_t key_count, uint32_t **rows,
                             struct velta_error *error) {
    *rows = batch_allocate(&writing->arena, key_count, sizeof **rows, error);
    if (!*rows) {
        return memory_refusal(writing->db->memory);
    }
    enum velta_status status = read_find(writing->handle, keys, key_count, HISTORY_NOW, *rows, error);
    for (size_t i = 0; i < key_count && !status; i++) {
        if ((*rows)[i] != VELTA_NO_ROW && row_expired(writing, (*rows)[i])) {
            (*rows)[i] = VELTA_NO_ROW;
        }
    }
    return status;
}

static bool row_less(const void *context, uint32_t a, uint32_t b) {
    const uint32_t *rows = context;
    return rows[a] < rows[b];
}

/*
 * The order in which rows[0..count) ascend, of equal ones the last: out[i] are indices into rows. Sorted rows, the
 * usual case, cost one look.
 */
static enum velta_status distinct_order(struct writing *writing, const uint32_t *rows, size_t count, uint32_t **out,
                                        size_t *out_count, struct velta_error *error) {
    uint32_t *order = batch_allocate(&writing->arena, count, 2 * sizeof *order, error);
    bool ascending = true;
    if (!order) {
        return memory_refusal(writing->db->memory);
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
        ascending = ascending && (i == 0 || rows[i] > rows[i - 1]);
    }
    *out = order;
    *out_count = count;
    if (ascending) {
        return VELTA_OK;
    }
    sort_items(order, order + count, count, row_less, rows);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i + 1 == count || rows[order[i]] != rows[order[i + 1]]) {
            order[kept++] = order[i];
        }
    }
    *out_count = kept;
    return VELTA_OK;
}

/* rows[order[i]] in the arena. */
static uint32_t *rows_in_order(struct writing *writing, const uint32_t *rows, const uint32_t *order, size_t count,
                               struct velta_error *error) {
    uint32_t *sorted = batch_allocate(&writing->arena, count, sizeof *sorted, error);
    for (size_t i = 0; sorted && i < count; i++) {
        sorted[i] = rows[order[i]];
    }
    return sorted;
}

/* ---- values */

/* The batch's columns in the table's order; those not named are all NULL. */
struct values {
    struct column_values *columns; /* one per column of the table */
    bool *given;
};

static enum velta_status map_values(struct writing *writing, const struct velta_values *named, size_t named_count,
                                    struct values *out, struct velta_error *error) {
    size_t column_count = writing->table->column_count;
    out->columns = batch_allocate(&writing->arena, column_count, sizeof *out->columns, error);
    out->given = out->columns ? batch_allocate(&writing->arena, column_count, sizeof *out->given, error) : NULL;
    if (!out->given) {
        return memory_refusal(writing->db->memory);
    }
    memset(out->columns, 0, column_count * sizeof *out->columns);
    memset(out->given, 0, column_count * sizeof *out->given);
    for (size_t i = 0; i < named_count; i++) {
        size_t column;
        enum velta_status status = database_find_column(writing->table, named[i].column, &column, error);
        if (status) {
            return status;
        }
        if (out->given[column]) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "column '%.100s' is given twice", named[i].column);
        }
        bool is_vector = writing->table->columns[column]->spec.type == VELTA_VECTOR;
        if (is_vector && named[i].element != VELTA_F32 && named[i].element != VELTA_F16) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                              "vectors of column '%.100s' are given as f32 or f16", named[i].column);
        }
        out->given[column] = true;
        out->columns[column] = (struct column_values){.data = named[i].data,
                                                      .offsets = named[i].offsets,
                                                      .valid = named[i].valid,
                                                      .element = is_vector ? named[i].element : VELTA_F32};
    }
    return VELTA_OK;
}

static enum velta_status check_values(const struct writing *writing, const struct values *values, bool all,
                                      size_t count, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    for (size_t c = 0; c < writing->table->column_count && !status; c++) {
        if (all || values->given[c]) {
            status = column_check_values(writing->table->columns[c], &values->columns[c], count, error);
        }
    }
    return status;
}

/* Rows from `first` that make about SLICE_BYTES in these columns. */
static size_t slice_rows(const struct writing *writing, const struct column_values *values, size_t first_column,
                         size_t column_count, size_t first, size_t count) {
    uint64_t total = 0;
    size_t rows = 0;
    while (first + rows < count && rows < SLICE_ROWS && (rows == 0 || total < SLICE_BYTES)) {
        total += 8;
        for (size_t c = 0; c < column_count; c++) {
            total += batch_bytes(&writing->table->columns[first_column + c]->spec, &values[c], first + rows, 1);
        }
        rows++;
    }
    /* Whole words of validity bits need no copy. */
    return first + rows < count && rows > 64 ? rows / 64 * 64 : rows;
}

/* Appends of `count` rows, every column of the table, from row_count on. */
static enum velta_status add_inserts(struct writing *writing, const struct column_values *values, size_t count,
                                     struct velta_error *error) {
    size_t column_count = writing->table->column_count;
    for (size_t first = 0; first < count;) {
        size_t rows = slice_rows(writing, values, 0, column_count, first, count);
        struct column_values *slice = batch_allocate(&writing->arena, column_count, sizeof *slice, error);
        enum velta_status status = slice ? VELTA_OK : memory_refusal(writing->db->memory);
        for (size_t c = 0; c < column_count && !status; c++) {
            status = batch_slice(&writing->arena, &writing->table->columns[c]->spec, &values[c], first, rows, &slice[c],
                                 error);
        }
        struct change change = {
            .kind = CHANGE_ROWS_INSERT,
            .first_row = writing->table->row_count + (uint32_t)first,
            .row_count = (uint32_t)rows,
            .values = slice,
            .column_count = (uint32_t)column_count,
        };
        status = status ? status : write_add(writing, &change, error);
        if (status) {
            return status;
        }
        first += rows;
    }
    return VELTA_OK;
}

/* One column of rows (ascending, distinct); value i is the row's. */
static enum velta_status add_sets(struct writing *writing, size_t column, const struct column_values *values,
                                  const uint32_t *rows, size_t count, struct velta_error *error) {
    for (size_t first = 0; first < count;) {
        size_t part = slice_rows(writing, values, column, 1, first, count);
        struct column_values *slice = batch_allocate(&writing->arena, 1, sizeof *slice, error);
        enum velta_status status = slice ? VELTA_OK : memory_refusal(writing->db->memory);
        status = status ? status
                        : batch_slice(&writing->arena, &writing->table->columns[column]->spec, values, first, part,
                                      slice, error);
        struct change change = {
            .kind = CHANGE_ROWS_SET,
            .column = (uint32_t)column,
            .rows = rows + first,
            .row_count = (uint32_t)part,
            .values = slice,
        };
        status = status ? status : write_add(writing, &change, error);
        if (status) {
            return status;
        }
        first += part;
    }
    return VELTA_OK;
}

/* Sets of every given column but the key: row rows[i] gets value chosen[i] of the batch. */
static enum velta_status add_chosen_sets(struct writing *writing, const struct values *values, const uint32_t *rows,
                                         const uint32_t *chosen, size_t count, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    for (size_t c = 0; c < writing->table->column_count && !status; c++) {
        const struct column *column = writing->table->columns[c];
        struct column_values gathered;
        if (!values->given[c] || column == writing->table->key_column || count == 0) {
            continue;
        }
        status = batch_gather(&writing->arena, &column->spec, &values->columns[c], chosen, count, &gathered, error);
        status = status ? status : add_sets(writing, c, &gathered, rows, count, error);
    }
    return status;
}

enum velta_status write_add_delete(struct writing *writing, uint32_t *rows, size_t count, struct velta_error *error) {
    uint32_t *order = NULL;
    size_t kept = 0;
    enum velta_status status = distinct_order(writing, rows, count, &order, &kept, error);
    uint32_t *sorted = status ? NULL : rows_in_order(writing, rows, order, kept, error);
    if (!sorted) {
        return status ? status : memory_refusal(writing->db->memory);
    }
    for (size_t first = 0; first < kept && !status; first += SLICE_ROWS) {
        size_t part = kept - first < SLICE_ROWS ? kept - first : SLICE_ROWS;
        struct change change = {.kind = CHANGE_ROWS_DELETE, .rows = sorted + first, .row_count = (uint32_t)part};
        status = write_add(writing, &change, error);
    }
    return status;
}

/* ---- keys of a batch that is inserted */

/* Which rows of the batch are new, which are there already. All arrays are the arena's. */
struct resolved {
    uint32_t *new_chosen; /* batch index of each new row's values, in the order in which the keys came */
    size_t new_count;
    uint32_t *set_rows; /* rows that are there */
    uint32_t *set_chosen;
    size_t set_count;
    uint32_t *expired; /* rows that make room for a new one */
    size_t expired_count;
};

/* Batch indices by key: open addressing, linear probing, VELTA_NO_ROW empty. */
struct key_set {
    const struct column_values *keys;
    bool is_int;
    uint32_t *slots;
    size_t mask;
};

static int64_t key_int(const struct key_set *set, size_t i) {
    return ((const int64_t *)set->keys->data)[i];
}

static const char *key_text(const struct key_set *set, size_t i, size_t *size_bytes) {
    *size_bytes = (size_t)(set->keys->offsets[i + 1] - set->keys->offsets[i]);
    return *size_bytes > 0 ? (const char *)set->keys->data + set->keys->offsets[i] : "";
}

static bool same_key(const struct key_set *set, size_t a, size_t b) {
    size_t a_bytes;
    size_t b_bytes;
    if (set->is_int) {
        return key_int(set, a) == key_int(set, b);
    }
    const char *a_text = key_text(set, a, &a_bytes);
    const char *b_text = key_text(set, b, &b_bytes);
    return a_bytes == b_bytes && memcmp(a_text, b_text, a_bytes) == 0;
}

static uint64_t key_hash(const struct key_set *set, size_t i) {
    size_t size_bytes;
    if (set->is_int) {
        return hash_integer((uint64_t)key_int(set, i));
    }
    const char *text = key_text(set, i, &size_bytes);
    return hash_bytes(text, size_bytes);
}

static enum velta_status key_set_create(struct writing *writing, const struct column_values *keys, size_t count,
                                        struct key_set *out, struct velta_error *error) {
    size_t capacity = 16;
    while (capacity < count + count / 2) {
        capacity *= 2;
    }
    *out = (struct key_set){.keys = keys,
                            .is_int = writing->table->key_column->spec.type == VELTA_INT,
                            .slots = batch_allocate(&writing->arena, capacity, sizeof *out->slots, error),
                            .mask = capacity - 1};
    if (!out->slots) {
        return memory_refusal(writing->db->memory);
    }
    memset(out->slots, 0xFF, capacity * sizeof *out->slots);
    return VELTA_OK;
}

/* The first index with this key: i itself when it is new. */
static uint32_t key_set_add(struct key_set *set, uint32_t i) {
    size_t slot = (size_t)key_hash(set, i) & set->mask;
    while (set->slots[slot] != VELTA_NO_ROW) {
        if (same_key(set, set->slots[slot], i)) {
            return set->slots[slot];
        }
        slot = (slot + 1) & set->mask;
    }
    set->slots[slot] = i;
    return i;
}

static uint32_t find_key(const struct writing *writing, const struct key_set *set, size_t i) {
    size_t size_bytes;
    if (set->is_int) {
        return table_find_int(writing->table, key_int(set, i));
    }
    const char *text = key_text(set, i, &size_bytes);
    return table_find_text(writing->table, text, size_bytes);
}

static enum velta_status fail_exists(const struct writing *writing, const struct key_set *set, uint32_t i,
                                     const char *where, struct velta_error *error) {
    const char *column = writing->table->key_column->spec.name;
    size_t size_bytes;
    if (set->is_int) {
        return velta_fail(error, VELTA_EXISTS, i, "row %u: key %lld of column '%.60s' %s", i,
                          (long long)key_int(set, i), column, where);
    }
    const char *text = key_text(set, i, &size_bytes);
    return velta_fail(error, VELTA_EXISTS, i, "row %u: key '%.*s' of column '%.60s' %s", i,
                      (int)(size_bytes < 80 ? size_bytes : 80), text, column, where);
}

static enum velta_status allocate_resolved(struct writing *writing, size_t count, struct resolved *out,
                                           struct velta_error *error) {
    uint32_t *block = batch_allocate(&writing->arena, count, 4 * sizeof *block, error);
    if (!block) {
        return memory_refusal(writing->db->memory);
    }
    *out = (struct resolved){
        .new_chosen = block, .set_rows = block + count, .set_chosen = block + 2 * count, .expired = block + 3 * count};
    return VELTA_OK;
}

/* Puts the key that came first at index i, with the values of index `last`, where it belongs. */
static void place_key(const struct writing *writing, const struct key_set *set, uint32_t i, uint32_t last,
                      struct resolved *out) {
    uint32_t row = find_key(writing, set, i);
    if (row != VELTA_NO_ROW && !row_expired(writing, row)) {
        out->set_rows[out->set_count] = row;
        out->set_chosen[out->set_count++] = last;
        return;
    }
    if (row != VELTA_NO_ROW) {
        out->expired[out->expired_count++] = row;
    }
    out->new_chosen[out->new_count++] = last;
}

static enum velta_status resolve_keys(struct writing *writing, const struct column_values *keys, size_t count,
                                      bool upsert, struct resolved *out, struct velta_error *error) {
    struct key_set set;
    enum velta_status status = key_set_create(writing, keys, count, &set, error);
    status = status ? status : allocate_resolved(writing, count, out, error);
    uint32_t *last = status ? NULL : batch_allocate(&writing->arena, count, sizeof *last, error);
    if (!last) {
        return status ? status : memory_refusal(writing->db->memory);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = key_set_add(&set, i);
        if (first != i && !upsert) {
            return fail_exists(writing, &set, i, "is in the batch before", error);
        }
        last[first] = i;
        last[i] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (upsert && key_set_add(&set, i) != i) {
            continue;
        }
        place_key(writing, &set, i, last[i], out);
        if (out->set_count > 0 && !upsert) {
            return fail_exists(writing, &set, i, "is in the table already", error);
        }
    }
    return VELTA_OK;
}

/* ---- insert and upsert */

static enum velta_status check_insert(const struct writing *writing, const struct values *values, uint32_t row_count,
                                      const struct velta_write_options *options, struct velta_error *error) {
    bool upsert = options->mode == VELTA_UPSERT;
    const struct table *table = writing->table;
    for (size_t i = 0; i < sizeof options->reserved / sizeof options->reserved[0]; i++) {
        if (options->reserved[i] != 0) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "reserved fields of the options must be zero");
        }
    }
    if (options->mode != VELTA_INSERT && !upsert) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "write mode %d is unknown", (int)options->mode);
    }
    if (upsert && !table->key_column) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "table '%.100s' has no primary key, so nothing can be upserted: insert", table->name);
    }
    for (size_t c = 0; upsert && c < table->column_count; c++) {
        if (table->columns[c] == table->key_column && !values->given[c]) {
            return velta_fail(error, VELTA_NOT_NULL, 0, "an upsert needs the keys: column '%.100s'",
                              table->key_column->spec.name);
        }
    }
    if (row_count > VELTA_MAX_ROWS - table->row_count) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "table '%.80s' would have more than %u rows",
                          table->name, VELTA_MAX_ROWS);
    }
    return check_values(writing, values, !upsert, row_count, error);
}

/* Rows of an upsert that turn out to be new must have what the schema requires. */
static enum velta_status check_required(const struct writing *writing, const struct values *values,
                                        const struct resolved *resolved, struct velta_error *error) {
    for (size_t c = 0; c < writing->table->column_count && resolved->new_count > 0; c++) {
        const struct velta_column *spec = &writing->table->columns[c]->spec;
        if (spec->required && !values->given[c]) {
            return velta_fail(error, VELTA_NOT_NULL, resolved->new_chosen[0],
                              "row %u is new and has no value for column '%.100s', which requires one",
                              resolved->new_chosen[0], spec->name);
        }
    }
    return VELTA_OK;
}

static enum velta_status add_new_rows(struct writing *writing, const struct values *values,
                                      const struct resolved *resolved, uint32_t row_count, struct velta_error *error) {
    size_t column_count = writing->table->column_count;
    if (resolved->new_count == row_count) { /* every key once, none known: the batch as it is */
        return add_inserts(writing, values->columns, row_count, error);
    }
    struct column_values *gathered = batch_allocate(&writing->arena, column_count, sizeof *gathered, error);
    enum velta_status status = gathered ? VELTA_OK : memory_refusal(writing->db->memory);
    for (size_t c = 0; c < column_count && !status; c++) {
        status = batch_gather(&writing->arena, &writing->table->columns[c]->spec, &values->columns[c],
                              resolved->new_chosen, resolved->new_count, &gathered[c], error);
    }
    return status ? status : add_inserts(writing, gathered, resolved->new_count, error);
}

static enum velta_status add_updated_rows(struct writing *writing, const struct values *values,
                                          const struct resolved *resolved, struct velta_error *error) {
    uint32_t *order = NULL;
    size_t count = 0;
    enum velta_status status = distinct_order(writing, resolved->set_rows, resolved->set_count, &order, &count, error);
    uint32_t *rows = status ? NULL : rows_in_order(writing, resolved->set_rows, order, count, error);
    uint32_t *chosen = rows ? rows_in_order(writing, resolved->set_chosen, order, count, error) : NULL;
    if (!chosen) {
        return status ? status : memory_refusal(writing->db->memory);
    }
    return add_chosen_sets(writing, values, rows, chosen, count, error);
}

static const struct column_values *key_values(const struct writing *writing, const struct values *values) {
    for (size_t c = 0; c < writing->table->column_count; c++) {
        if (writing->table->columns[c] == writing->table->key_column) {
            return &values->columns[c];
        }
    }
    return NULL;
}

static enum velta_status insert_rows(struct writing *writing, const struct velta_values *named, size_t named_count,
                                     uint32_t row_count, const struct velta_write_options *options,
                                     struct velta_write_stats *stats, struct velta_error *error) {
    struct values values;
    struct resolved resolved = {.new_count = row_count};
    enum velta_status status = map_values(writing, named, named_count, &values, error);
    status = status ? status : check_insert(writing, &values, row_count, options, error);
    if (status || row_count == 0) {
        return status;
    }
    if (writing->table->key_column) {
        status = resolve_keys(writing, key_values(writing, &values), row_count, options->mode == VELTA_UPSERT,
                              &resolved, error);
        status = status ? status : check_required(writing, &values, &resolved, error);
    }
    if (!status && resolved.expired_count > 0) {
        status = write_add_delete(writing, resolved.expired, resolved.expired_count, error);
    }
    uint32_t first_row = writing->table->row_count;
    if (!status && resolved.new_count > 0) {
        status = add_new_rows(writing, &values, &resolved, row_count, error);
    }
    if (!status && resolved.set_count > 0) {
        status = add_updated_rows(writing, &values, &resolved, error);
    }
    status = status ? status : write_commit(writing, &options->progress, error);
    if (!status) {
        stats->first_row = resolved.new_count > 0 ? first_row : VELTA_NO_ROW;
        stats->inserted = (uint32_t)resolved.new_count;
        stats->updated = row_count - (uint32_t)resolved.new_count;
    }
    return status;
}

enum velta_status velta_insert(velta_table *table, const struct velta_values *values, size_t value_count,
                               uint32_t row_count, const struct velta_write_options *options,
                               struct velta_write_stats *stats, struct velta_error *error) {
    static const struct velta_write_options defaults = {0};
    struct velta_write_stats done = {.first_row = VELTA_NO_ROW};
    struct writing writing;
    enum velta_status status = write_begin(&writing, table, error);
    status = status
                 ? status
                 : insert_rows(&writing, values, value_count, row_count, options ? options : &defaults, &done, error);
    write_end(&writing);
    if (!status && stats) {
        done.sequence = table->db->next_sequence - 1;
        *stats = done;
    }
    return status;
}

/* ---- update */

static enum velta_status fail_not_found(const struct writing *writing, const struct velta_keys *keys, size_t i,
                                        struct velta_error *error) {
    const char *table = writing->table->name;
    if (keys->ints) {
        return velta_fail(error, VELTA_NOT_FOUND, i, "key %zu: table '%.80s' has no row with key %lld", i, table,
                          (long long)keys->ints[i]);
    }
    if (keys->rows) {
        return velta_fail(error, VELTA_NOT_FOUND, i, "key %zu: table '%.80s' has no row %u", i, table, keys->rows[i]);
    }
    uint64_t size_bytes = keys->offsets[i + 1] - keys->offsets[i];
    return velta_fail(error, VELTA_NOT_FOUND, i, "key %zu: table '%.60s' has no row with key '%.*s'", i, table,
                      (int)(size_bytes < 80 ? size_bytes : 80), size_bytes > 0 ? keys->text + keys->offsets[i] : "");
}

/* Rows that must all be there. */
static enum velta_status find_all(struct writing *writing, const struct velta_keys *keys, size_t key_count,
                                  uint32_t **rows, struct velta_error *error) {
    enum velta_status status = write_find(writing, keys, key_count, rows, error);
    for (size_t i = 0; i < key_count && !status; i++) {
        if ((*rows)[i] == VELTA_NO_ROW) {
            status = fail_not_found(writing, keys, i, error);
        }
    }
    return status;
}

static enum velta_status update_rows(struct writing *writing, const struct velta_keys *keys, size_t key_count,
                                     const struct velta_values *named, size_t named_count, struct velta_error *error) {
    struct values values;
    uint32_t *rows = NULL;
    uint32_t *order = NULL;
    size_t count = 0;
    if (key_count > VELTA_MAX_ROWS) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "too many keys in one batch");
    }
    enum velta_status status = map_values(writing, named, named_count, &values, error);
    for (size_t c = 0; c < writing->table->column_count && !status; c++) {
        if (values.given[c] && writing->table->columns[c] == writing->table->key_column) {
            status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                                "the primary key '%.100s' cannot be changed: delete the row and insert it anew",
                                writing->table->key_column->spec.name);
        }
    }
    status = status ? status : check_values(writing, &values, false, key_count, error);
    if (status || key_count == 0) {
        return status;
    }
    status = find_all(writing, keys, key_count, &rows, error);
    status = status ? status : distinct_order(writing, rows, key_count, &order, &count, error);
    uint32_t *sorted = status ? NULL : rows_in_order(writing, rows, order, count, error);
    if (!sorted) {
        return status ? status : memory_refusal(writing->db->memory);
    }
    status = add_chosen_sets(writing, &values, sorted, order, count, error);
    return status ? status : write_commit(writing, NULL, error);
}

enum velta_status velta_update(velta_table *table, const struct velta_keys *keys, size_t key_count,
                               const struct velta_values *values, size_t value_count, uint64_t *sequence,
                               struct velta_error *error) {
    struct writing writing;
    enum velta_status status = write_begin(&writing, table, error);
    status = status ? status : update_rows(&writing, keys, key_count, values, value_count, error);
    write_end(&writing);
    if (!status && sequence) {
        *sequence = table->db->next_sequence - 1;
    }
    return status;
}

/* ---- delete and expiry */

static enum velta_status delete_rows(struct writing *writing, const struct velta_keys *keys, size_t key_count,
                                     uint32_t *deleted, struct velta_error *error) {
    uint32_t *rows = NULL;
    size_t found = 0;
    if (key_count == 0) {
        return VELTA_OK;
    }
    enum velta_status status = write_find(writing, keys, key_count, &rows, error);
    for (size_t i = 0; i < key_count && !status; i++) {
        if (rows[i] != VELTA_NO_ROW) {
            rows[found++] = rows[i];
        }
    }
    if (status || found == 0) {
        return status;
    }
    status = write_add_delete(writing, rows, found, error);
    uint32_t before = writing->table->live_count;
    status = status ? status : write_commit(writing, NULL, error);
    *deleted = before - writing->table->live_count;
    return status;
}

enum velta_status velta_delete(velta_table *table, const struct velta_keys *keys, size_t key_count, uint32_t *deleted,
                               struct velta_error *error) {
    struct writing writing;
    uint32_t count = 0;
    enum velta_status status = write_begin(&writing, table, error);
    status = status ? status : delete_rows(&writing, keys, key_count, &count, error);
    write_end(&writing);
    if (!status && deleted) {
        *deleted = count;
    }
    return status;
}

static enum velta_status set_expiry(struct writing *writing, const struct velta_keys *keys, size_t key_count,
                                    const int64_t *times_ms, struct velta_error *error) {
    uint32_t *rows = NULL;
    uint32_t *order = NULL;
    size_t count = 0;
    if (key_count == 0) {
        return VELTA_OK;
    }
    if (!times_ms) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "no times are given");
    }
    enum velta_status status = find_all(writing, keys, key_count, &rows, error);
    status = status ? status : distinct_order(writing, rows, key_count, &order, &count, error);
    uint32_t *sorted = status ? NULL : rows_in_order(writing, rows, order, count, error);
    int64_t *times = sorted ? batch_allocate(&writing->arena, count, sizeof *times, error) : NULL;
    if (!times) {
        return status ? status : memory_refusal(writing->db->memory);
    }
    for (size_t i = 0; i < count; i++) {
        times[i] = times_ms[order[i]];
    }
    for (size_t first = 0; first < count && !status; first += SLICE_ROWS) {
        size_t part = count - first < SLICE_ROWS ? count - first : SLICE_ROWS;
        struct change change = {
            .kind = CHANGE_ROWS_EXPIRY, .rows = sorted + first, .times_ms = times + first, .row_count = (uint32_t)part};
        status = write_add(writing, &change, error);
    }
    return status ? status : write_commit(writing, NULL, error);
}

enum velta_status velta_expire_at(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                  const int64_t *times_ms, struct velta_error *error) {
    struct writing writing;
    enum velta_status status = write_begin(&writing, table, error);
    status = status ? status : set_expiry(&writing, keys, key_count, times_ms, error);
    write_end(&writing);
    return status;
}

static enum velta_status expire_rows(struct writing *writing, int64_t now_ms, uint32_t *deleted,
                                     struct velta_error *error) {
    if (!writing->table->expiry || writing->table->live_count == 0) {
        return VELTA_OK;
    }
    uint32_t *rows = batch_allocate(&writing->arena, writing->table->live_count, sizeof *rows, error);
    if (!rows) {
        return memory_refusal(writing->db->memory);
    }
    size_t count = table_expired(writing->table, now_ms != 0 ? now_ms : writing->now_ms, rows);
    if (count == 0) {
        return VELTA_OK;
    }
    enum velta_status status = write_add_delete(writing, rows, count, error);
    status = status ? status : write_commit(writing, NULL, error);
    *deleted = (uint32_t)count;
    return status;
}

enum velta_status velta_expire(velta_table *table, int64_t now_ms, uint32_t *deleted, struct velta_error *error) {
    struct writing writing;
    uint32_t count = 0;
    enum velta_status status = write_begin(&writing, table, error);
    status = status ? status : expire_rows(&writing, now_ms, &count, error);
    write_end(&writing);
    if (!status && deleted) {
        *deleted = count;
    }
    return status;
}
