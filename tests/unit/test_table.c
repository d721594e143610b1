/*
 * Tables against a naive model (a list of rows of plain values), through every write, vacuum and load; and every
 * fallible call with every allocation refused in turn.
 */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/column_image.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/table.h"

enum { DIMENSIONS = 5, MAX_COLUMNS = 12, MAX_MODEL_ROWS = 6000, MAX_TEXT = 24 };

static const struct velta_column schema[] = {
    {.name = "key", .type = VELTA_INT, .primary_key = true},
    {.name = "count", .type = VELTA_INT},
    {.name = "price", .type = VELTA_FLOAT},
    {.name = "sold", .type = VELTA_BOOL},
    {.name = "section", .type = VELTA_STRING, .required = true},
    {.name = "seen", .type = VELTA_TIMESTAMP},
    {.name = "raw", .type = VELTA_BYTES},
    {.name = "place", .type = VELTA_VECTOR, .dimensions = DIMENSIONS},
    {.name = "colour", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .element = VELTA_F16},
    {.name = "taste", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .element = VELTA_CODES},
};
enum { SCHEMA_COUNT = sizeof schema / sizeof *schema };

static struct velta_error failure;
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != VELTA_OK) fail_msg("%s: %s", #call, failure.text);                                               \
    } while (0)

/* ---- the model */

struct value {
    bool there;
    int64_t integer;
    double number;
    char text[MAX_TEXT];
    size_t text_bytes;
    float vector[DIMENSIONS]; /* small whole numbers, so that f16 holds them exactly */
};

struct model_row {
    bool live;
    int64_t expiry;
    struct value values[MAX_COLUMNS];
};

struct model {
    struct velta_column columns[MAX_COLUMNS];
    size_t column_count;
    struct model_row *rows;
    uint32_t row_count;
    int64_t next_key;
};

static int64_t random_integer(struct random *random) {
    static const int64_t edges[] = {0,
                                    -1,
                                    INT8_MAX,
                                    INT8_MAX + 1,
                                    INT16_MIN,
                                    INT16_MIN - 1,
                                    INT32_MAX,
                                    (int64_t)INT32_MAX + 1,
                                    INT64_MAX,
                                    INT64_MIN,
                                    (INT64_C(1) << 53) + 1};
    if (random_chance(random, 2)) return edges[random_below(random, sizeof edges / sizeof *edges)];
    return random_between(random, -100, 100);
}

static struct value random_value(struct random *random, const struct model *model, size_t column) {
    static const double numbers[] = {0.0, -0.0, __builtin_inf(), -__builtin_inf(), __builtin_nan(""), 1e308, 0.1};
    const struct velta_column *spec = &model->columns[column];
    struct value value = {.there = spec->required || spec->primary_key || random_chance(random, 80)};
    value.integer = spec->type == VELTA_BOOL ? (int64_t)random_below(random, 2) : random_integer(random);
    value.number = random_chance(random, 30) ? numbers[random_below(random, 7)] : random_gauss(random);
    value.text_bytes = (size_t)snprintf(value.text, sizeof value.text, "%.*s%d", (int)random_below(random, 12),
                                        "caf\xc3\xa9 au lait", (int)random_below(random, 300));
    if (random_chance(random, 5)) value.text_bytes = 0;
    if (spec->type == VELTA_STRING && value.text_bytes > 3 && (uint8_t)value.text[3] == 0xC3 &&
        (uint8_t)value.text[4] != 0xA9)
        value.text_bytes = 3;
    for (unsigned i = 0; i < DIMENSIONS; i++)
        value.vector[i] = (float)random_between(random, -50, 50);
    return value;
}

/* ---- batches, from rows of the model's values */

struct batch {
    struct column_values values[MAX_COLUMNS];
    void *data[MAX_COLUMNS];
    uint64_t *offsets[MAX_COLUMNS];
    uint64_t *valid[MAX_COLUMNS];
    size_t column_count;
};

static struct column_values make_values(struct batch *batch, size_t slot, enum velta_type type,
                                        const struct value *values, size_t count) {
    size_t item_bytes = sizeof(float) * DIMENSIONS + MAX_TEXT;
    char *data = calloc(count + 1, item_bytes);
    uint64_t *offsets = calloc(count + 1, sizeof *offsets);
    uint64_t *valid = calloc(count / 64 + 1, sizeof *valid);
    bool all_there = true;
    batch->data[slot] = data;
    batch->offsets[slot] = offsets;
    batch->valid[slot] = valid;
    for (size_t i = 0; i < count; i++) {
        const struct value *value = &values[i];
        offsets[i + 1] = offsets[i];
        all_there = all_there && value->there;
        if (value->there) valid[i / 64] |= UINT64_C(1) << (i % 64);
        switch (type) { /* garbage stays under NULL where it may */
        case VELTA_FLOAT:
            ((double *)(void *)data)[i] = value->number;
            break;
        case VELTA_BOOL:
            ((uint8_t *)data)[i] = (uint8_t)value->integer;
            break;
        case VELTA_STRING:
        case VELTA_BYTES:
            memcpy(data + offsets[i], value->text, value->text_bytes);
            offsets[i + 1] += value->text_bytes;
            break;
        case VELTA_VECTOR:
            memcpy(data + i * sizeof value->vector, value->vector, sizeof value->vector);
            break;
        default:
            ((int64_t *)(void *)data)[i] = value->integer;
            break;
        }
    }
    struct column_values result = {.data = data, .valid = all_there ? NULL : valid};
    if (type == VELTA_STRING || type == VELTA_BYTES) result.offsets = offsets;
    return result;
}

static void free_batch(struct batch *batch) {
    for (size_t i = 0; i < MAX_COLUMNS; i++) {
        free(batch->data[i]);
        free(batch->offsets[i]);
        free(batch->valid[i]);
    }
    memset(batch, 0, sizeof *batch);
}

static void make_batch(struct batch *batch, const struct model *model, const struct model_row *rows, size_t count) {
    struct value *column = calloc(count + 1, sizeof *column);
    memset(batch, 0, sizeof *batch);
    for (size_t i = 0; i < model->column_count; i++) {
        for (size_t row = 0; row < count; row++)
            column[row] = rows[row].values[i];
        batch->values[i] = make_values(batch, i, model->columns[i].type, column, count);
    }
    free(column);
}

static struct model make_model(void) {
    struct model model = {.column_count = SCHEMA_COUNT};
    memcpy(model.columns, schema, sizeof schema);
    model.rows = calloc(MAX_MODEL_ROWS, sizeof *model.rows);
    return model;
}

/* New rows behind the model's, not yet counted. Keys mostly ascend, with gaps, now and then in another order. */
static void make_rows(struct random *random, struct model *model, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct model_row *row = &model->rows[model->row_count + i];
        memset(row, 0, sizeof *row);
        row->live = true;
        row->expiry = INT64_MAX;
        for (size_t column = 0; column < model->column_count; column++)
            row->values[column] = random_value(random, model, column);
        model->next_key += random_between(random, 1, 5);
        row->values[0].integer = random_chance(random, 50) ? model->next_key : -model->next_key;
    }
}

/* ---- comparing */

static void assert_value(const struct column *column, uint32_t row, const struct value *value) {
    size_t size_bytes;
    float vector[DIMENSIONS];
    if (column_is_null(column, row) == value->there) fail_msg("row %u of %s: NULL", row, column->spec.name);
    if (!value->there) return;
    switch (column->spec.type) {
    case VELTA_FLOAT: {
        double number = column_float(column, row);
        assert_memory_equal(&number, &value->number, sizeof number); /* -0 and NaN as they came */
        break;
    }
    case VELTA_STRING:
    case VELTA_BYTES: {
        const void *text = column_text(column, row, &size_bytes);
        assert_int_equal(size_bytes, value->text_bytes);
        if (size_bytes) assert_memory_equal(text, value->text, size_bytes);
        break;
    }
    case VELTA_VECTOR:
        if (column->spec.element == VELTA_CODES) break;
        column_get_vector(column, row, vector);
        for (unsigned i = 0; i < DIMENSIONS; i++)
            assert_true(vector[i] == value->vector[i]);
        break;
    default:
        if (column_integer(column, row) != value->integer) fail_msg("row %u of %s", row, column->spec.name);
        break;
    }
}

static void assert_visible(const struct table *table, const struct model *model, int64_t now_ms) {
    uint64_t *visible = calloc(table->row_count / 64 + 1, sizeof *visible);
    uint32_t *expired = calloc(table->live_count + 1, sizeof *expired);
    size_t expired_count = table_expired(table, now_ms, expired);
    size_t next_expired = 0;
    uint64_t count = 0;
    uint64_t told = table_visible(table, now_ms, visible);
    for (uint32_t row = 0; row < model->row_count; row++) {
        const struct model_row *expected = &model->rows[row];
        bool is_visible = expected->live && expected->expiry > now_ms;
        count += is_visible;
        assert_int_equal(bitmap_get(visible, row), is_visible);
        if (expected->live && !is_visible) {
            assert_true(next_expired < expired_count);
            assert_int_equal(expired[next_expired++], row);
        }
    }
    assert_int_equal(next_expired, expired_count);
    assert_true(told == count);
    free(visible);
    free(expired);
}

static void assert_table(const struct table *table, const struct model *model) {
    uint32_t live_count = 0;
    assert_int_equal(table->row_count, model->row_count);
    for (uint32_t row = 0; row < model->row_count; row++) {
        const struct model_row *expected = &model->rows[row];
        live_count += expected->live;
        assert_int_equal(bitmap_get(table->live.words, row), expected->live);
        for (size_t column = 0; column < model->column_count; column++)
            assert_value(table->columns[column], row, &expected->values[column]);
        uint32_t found = table_find_int(table, expected->values[0].integer);
        assert_int_equal(found, expected->live ? row : VELTA_NO_ROW);
    }
    assert_int_equal(table->live_count, live_count);
    assert_int_equal(table_find_int(table, model->next_key + 1), VELTA_NO_ROW);
    assert_visible(table, model, 0);
    assert_visible(table, model, 50);
    assert_visible(table, model, -20000);
    assert_visible(table, model, 1000000000);
    assert_visible(table, model, INT64_MIN);
    assert_visible(table, model, INT64_MAX - 1);
}

/* ---- images of a whole table */

struct saved {
    uint8_t *bytes;
    size_t size_bytes;
    size_t capacity;
    size_t ends[4096]; /* of each image */
    size_t count;
};

static uint8_t *saved_grow(struct saved *saved, size_t size_bytes) {
    while (saved->size_bytes + size_bytes > saved->capacity) {
        saved->capacity = saved->capacity ? saved->capacity * 2 : 65536;
        saved->bytes = realloc(saved->bytes, saved->capacity);
    }
    saved->size_bytes += size_bytes;
    assert_true(saved->count < 4096);
    saved->ends[saved->count++] = saved->size_bytes;
    return saved->bytes + saved->size_bytes - size_bytes;
}

static void save_column(struct saved *saved, const struct column *column, uint32_t rows) {
    if (column->dictionary) {
        uint32_t end = dictionary_count(column->dictionary);
        column_dictionary_image_write(column, 0, end, saved_grow(saved, column_dictionary_image_bytes(column, 0, end)));
    }
    for (size_t slab = 0; slab < column_image_count(column, rows); slab++)
        column_slab_image_write(column, slab, rows, saved_grow(saved, column_slab_image_bytes(column, slab, rows)));
}

static void save(struct saved *saved, const struct table *table) {
    size_t live_bytes = bitmap_words(table->row_count) * sizeof(uint64_t);
    uint8_t *live = saved_grow(saved, live_bytes);
    if (live_bytes) memcpy(live, table->live.words, live_bytes);
    for (size_t i = 0; i < table->column_count; i++)
        save_column(saved, table->columns[i], table->row_count);
    if (table->expiry) save_column(saved, table->expiry, table->row_count);
}

/* The bytes of what a table holds, in one number. */
static uint64_t digest(const struct table *table) {
    struct saved saved = {0};
    save(&saved, table);
    uint64_t hash = hash_bytes_seeded(saved.bytes, saved.size_bytes, table->row_count + (uint64_t)saved.count);
    free(saved.bytes);
    return hash;
}

struct cursor {
    const struct saved *saved;
    size_t next;
};

static const uint8_t *next_image(struct cursor *cursor, uint64_t *size_bytes) {
    size_t begin = cursor->next ? cursor->saved->ends[cursor->next - 1] : 0;
    *size_bytes = cursor->saved->ends[cursor->next++] - begin;
    return cursor->saved->bytes + begin;
}

static enum velta_status load_column(struct cursor *cursor, struct column *column, uint32_t rows,
                                     struct velta_error *error) {
    uint64_t size_bytes;
    enum velta_status status = VELTA_OK;
    if (column->dictionary) {
        const uint8_t *bytes = next_image(cursor, &size_bytes);
        status = column_dictionary_image_read(column, bytes, size_bytes, error);
    }
    for (size_t slab = 0; status == VELTA_OK && slab < column_image_count(column, rows); slab++) {
        const uint8_t *bytes = next_image(cursor, &size_bytes);
        status = column_slab_image_read(column, slab, rows, bytes, size_bytes, error);
    }
    return status;
}

static enum velta_status load(const struct saved *saved, struct memory *memory, const struct velta_column *columns,
                              size_t column_count, uint32_t rows, bool expiry, struct table **out,
                              struct velta_error *error) {
    struct cursor cursor = {saved, 0};
    uint64_t size_bytes;
    const uint8_t *bytes = next_image(&cursor, &size_bytes);
    enum velta_status status = table_create(memory, &simd_scalar, "t", columns, column_count, out, error);
    if (status != VELTA_OK) return status;
    status = table_begin_load(*out, rows, error);
    if (status == VELTA_OK) status = table_load_live(*out, bytes, size_bytes, error);
    for (size_t i = 0; status == VELTA_OK && i < column_count; i++)
        status = load_column(&cursor, (*out)->columns[i], rows, error);
    if (status == VELTA_OK && expiry) status = table_make_expiry(*out, error);
    if (status == VELTA_OK && expiry) status = load_column(&cursor, (*out)->expiry, rows, error);
    if (status == VELTA_OK) status = table_finish_load(*out, error);
    if (status != VELTA_OK) table_destroy(*out);
    return status;
}

/* ---- a long life */

static void live_append(struct random *random, struct table *table, struct model *model, size_t count) {
    struct batch batch;
    make_rows(random, model, count);
    make_batch(&batch, model, &model->rows[model->row_count], count);
    OK(table_check_append(table, batch.values, count, &failure));
    if (random_chance(random, 20)) { /* a write that is given up leaves no trace */
        uint64_t before = digest(table);
        OK(table_reserve_append(table, batch.values, count, &failure));
        table_abandon_reserve(table);
        assert_true(digest(table) == before);
    }
    OK(table_reserve_append(table, batch.values, count, &failure));
    assert_int_equal(table_apply_append(table, batch.values, count), model->row_count);
    model->row_count += (uint32_t)count;
    free_batch(&batch);
}

static uint32_t live_rows(struct random *random, const struct model *model, uint32_t *rows, uint32_t wanted,
                          bool distinct) {
    uint32_t count = 0;
    for (uint32_t tries = 0; model->row_count > 0 && count < wanted && tries < 100 + wanted; tries++) {
        uint32_t row = (uint32_t)random_below(random, model->row_count);
        bool repeated = false;
        for (uint32_t i = 0; i < count; i++)
            repeated = repeated || rows[i] == row;
        if (model->rows[row].live && !(distinct && repeated)) rows[count++] = row;
    }
    return count;
}

static void live_set(struct random *random, struct table *table, struct model *model) {
    uint32_t rows[40];
    struct value values[40];
    uint32_t count = live_rows(random, model, rows, 1 + (uint32_t)random_below(random, 40), false);
    size_t column = 1 + random_below(random, model->column_count - 1);
    struct batch batch = {0};
    for (uint32_t i = 0; i < count; i++)
        values[i] = random_value(random, model, column);
    struct column_values batch_values = make_values(&batch, 0, model->columns[column].type, values, count);
    OK(table_check_set(table, column, &batch_values, rows, count, &failure));
    OK(table_reserve_set(table, column, &batch_values, rows, count, &failure));
    table_apply_set(table, column, &batch_values, rows, count);
    for (uint32_t i = 0; i < count; i++)
        model->rows[rows[i]].values[column] = values[i];
    free_batch(&batch);
}

static void live_delete(struct random *random, struct table *table, struct model *model) {
    uint32_t rows[60];
    uint32_t count = live_rows(random, model, rows, (uint32_t)random_below(random, 60), true);
    table_apply_delete(table, rows, count);
    for (uint32_t i = 0; i < count; i++)
        model->rows[rows[i]].live = false;
}

static void live_expire(struct random *random, struct table *table, struct model *model) {
    uint32_t rows[40];
    int64_t times[40];
    static const int64_t ranges[] = {100, 30000, INT64_C(2000000000), INT64_C(2000000000000)};
    int64_t range = ranges[random_below(random, 4)];
    uint32_t count = live_rows(random, model, rows, 40, false);
    bool had = table->expiry != NULL;
    OK(table_reserve_expiry(table, &failure));
    if (random_chance(random, 30)) {
        table_abandon_reserve(table);
        assert_int_equal(table->expiry != NULL, had);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        times[i] = random_chance(random, 20) ? INT64_MAX : random_between(random, -range, range);
    table_apply_expiry(table, rows, times, count);
    for (uint32_t i = 0; i < count; i++)
        model->rows[rows[i]].expiry = times[i];
}

static void live_add_column(struct random *random, struct table *table, struct model *model) {
    static const char *const names[MAX_COLUMNS] = {[10] = "later", [11] = "latest"};
    struct velta_column spec = {.name = names[model->column_count],
                                .type = (enum velta_type)random_between(random, VELTA_INT, VELTA_BYTES)};
    OK(table_add_column(table, &spec, &failure));
    model->columns[model->column_count] = spec;
    for (uint32_t row = 0; row < model->row_count; row++)
        model->rows[row].values[model->column_count] = (struct value){0};
    assert_int_equal(table->columns[model->column_count]->added_at_row, model->row_count);
    model->column_count++;
}

static void live_vacuum(struct table **table, struct model *model) {
    uint32_t *map = calloc(model->row_count + 1, sizeof *map);
    struct table *copy;
    uint32_t kept = 0;
    uint64_t before = digest(*table);
    OK(table_vacuum(*table, &copy, map, &failure));
    assert_true(digest(*table) == before);
    table_destroy(*table);
    *table = copy;
    for (uint32_t row = 0; row < model->row_count; row++) {
        assert_int_equal(map[row], model->rows[row].live ? kept : VELTA_NO_ROW);
        if (model->rows[row].live) model->rows[kept++] = model->rows[row];
    }
    model->row_count = kept;
    free(map);
    OK(table_vacuum(*table, &copy, NULL, &failure)); /* a second one changes nothing more */
    assert_true(digest(copy) == digest(*table));
    table_destroy(copy);
}

static void live_reload(struct table **table, const struct model *model) {
    struct saved saved = {0};
    struct memory *memory = (*table)->memory;
    bool expiry = (*table)->expiry != NULL;
    save(&saved, *table);
    table_destroy(*table);
    OK(load(&saved, memory, model->columns, model->column_count, model->row_count, expiry, table, &failure));
    free(saved.bytes);
}

static void a_table_is_a_list_of_rows(void **state) {
    (void)state;
    struct random random = random_seeded(2024);
    struct memory *memory = memory_create(NULL, 0);
    for (size_t life = 0; life < test_rounds(3); life++) {
        struct model model = make_model();
        struct table *table;
        OK(table_create(memory, &simd_scalar, "t", schema, SCHEMA_COUNT, &table, &failure));
        for (unsigned step = 0; step < 300; step++) {
            uint64_t dice = random_below(&random, 100);
            if (dice < 35 && model.row_count < MAX_MODEL_ROWS - 400) {
                live_append(&random, table, &model, random_below(&random, random_chance(&random, 10) ? 400 : 20));
            } else if (dice < 70) {
                live_set(&random, table, &model);
            } else if (dice < 82) {
                live_delete(&random, table, &model);
            } else if (dice < 90) {
                live_expire(&random, table, &model);
            } else if (dice < 91 && model.column_count < MAX_COLUMNS) {
                live_add_column(&random, table, &model);
            } else if (dice < 93) {
                live_vacuum(&table, &model);
            } else if (dice < 95) {
                live_reload(&table, &model);
            }
            if (step % 20 == 0) assert_table(table, &model);
        }
        assert_table(table, &model);
        live_reload(&table, &model);
        live_vacuum(&table, &model);
        assert_table(table, &model);
        table_destroy(table);
        free(model.rows);
    }
    memory_destroy(memory);
}

/* Slabs are 65,536 rows: the same across their border, with batches that span three and strings that are all different. */
static void batches_span_slabs(void **state) {
    (void)state;
    enum { ROWS = 2 * CORE_ROWS_PER_SLAB + 1000, FIRST = 600, TEXT = 10 };
    const int64_t epoch_ms = INT64_C(1700000000000);
    struct memory *memory = memory_create(NULL, 0);
    struct table *table;
    const struct velta_column columns[] = {
        {.name = "n", .type = VELTA_INT}, {.name = "b", .type = VELTA_BOOL}, {.name = "s", .type = VELTA_STRING}};
    int64_t *numbers = calloc(ROWS, sizeof *numbers);
    uint8_t *bools = calloc(ROWS, 1);
    uint64_t *valid = calloc(ROWS / 64 + 1, sizeof *valid);
    uint64_t *visible = calloc(ROWS / 64 + 1, sizeof *visible);
    uint64_t *offsets = calloc(ROWS + 1, sizeof *offsets);
    char *text = calloc(ROWS, TEXT);
    for (uint32_t i = 0; i < ROWS; i++) {
        numbers[i] = (int64_t)i * 3 - 1000;
        bools[i] = i % 3 == 0;
        if (i % 5) valid[i / 64] |= UINT64_C(1) << (i % 64);
        offsets[i + 1] = offsets[i] + (uint64_t)snprintf(text + offsets[i], TEXT, "%u", i);
    }
    OK(table_create(memory, &simd_scalar, "t", columns, 3, &table, &failure));
    struct column_values values[3] = {
        {.data = numbers, .valid = valid}, {.data = bools}, {.data = text, .offsets = offsets}};
    OK(table_reserve_append(table, values, FIRST, &failure));
    OK(table_reserve_append(table, values, ROWS - FIRST, &failure));
    assert_int_equal(table_apply_append(table, values, FIRST), 0);
    assert_int_equal(table_apply_append(table, values, ROWS - FIRST), FIRST);
    OK(table_reserve_expiry(table, &failure));
    for (uint32_t row = 0; row < ROWS; row += 7) {
        int64_t time_ms = epoch_ms + row;
        table_apply_expiry(table, &row, &time_ms, 1);
    }
    assert_int_equal(table_visible(table, epoch_ms + 99999, visible), ROWS - 99999 / 7 - 1);
    assert_false(bitmap_get(visible, 99995));
    assert_true(bitmap_get(visible, 99996) && bitmap_get(visible, 100002));
    for (uint32_t row = 0; row < ROWS; row += 4)
        table_apply_delete(table, &row, 1);
    struct table *copy;
    OK(table_vacuum(table, &copy, NULL, &failure));
    assert_int_equal(copy->row_count, ROWS - (ROWS + 3) / 4);
    struct saved saved = {0};
    save(&saved, copy);
    struct table *loaded;
    OK(load(&saved, memory, columns, 3, copy->row_count, true, &loaded, &failure));
    struct table *all[3] = {table, copy, loaded};
    for (unsigned which = 0; which < 3; which++) {
        uint32_t row = 0;
        for (uint32_t old = 0; old < ROWS; old++) {
            uint32_t i = old < FIRST ? old : old - FIRST;
            size_t size_bytes;
            if (which > 0 && old % 4 == 0) continue;
            assert_int_equal(column_is_null(all[which]->columns[0], row), i % 5 == 0);
            if (i % 5) assert_true(column_integer(all[which]->columns[0], row) == numbers[i]);
            assert_int_equal(column_integer(all[which]->columns[1], row), bools[i]);
            const char *found = column_text(all[which]->columns[2], row, &size_bytes);
            assert_true(size_bytes == offsets[i + 1] - offsets[i] && memcmp(found, text + offsets[i], size_bytes) == 0);
            row++;
        }
        table_clean(all[which]);
        for (size_t i = 0; i < all[which]->columns[0]->slab_count; i++)
            assert_false(all[which]->columns[0]->slabs[i].dirty);
        table_destroy(all[which]);
    }
    free(saved.bytes);
    free(numbers);
    free(bools);
    free(valid);
    free(visible);
    free(offsets);
    free(text);
    memory_destroy(memory);
}

/* ---- keys */

static struct table *string_table(struct memory *memory) {
    const struct velta_column columns[] = {{.name = "name", .type = VELTA_STRING, .primary_key = true}};
    struct table *table;
    OK(table_create(memory, &simd_scalar, "t", columns, 1, &table, &failure));
    return table;
}

static enum velta_status append_names(struct table *table, const char *names, size_t count, struct velta_error *error) {
    uint64_t offsets[16]; /* names of two letters */
    for (size_t i = 0; i <= count; i++)
        offsets[i] = 2 * i;
    struct column_values values = {.data = names, .offsets = offsets};
    enum velta_status status = table_check_append(table, &values, count, error);
    if (status == VELTA_OK) status = table_reserve_append(table, &values, count, error);
    if (status == VELTA_OK) (void)table_apply_append(table, &values, count);
    return status;
}

static void string_keys_are_unique_while_they_live(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table = string_table(memory);
    struct velta_error error;
    assert_int_equal(append_names(table, "aabbcc", 3, &error), VELTA_OK);
    assert_int_equal(append_names(table, "ddeeddaa", 4, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 2); /* the repeat within the batch comes first... */
    assert_non_null(strstr(error.text, "\"dd\""));
    assert_int_equal(append_names(table, "ddccddaa", 4, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 1); /* ...unless one that is in the table stands before it */
    assert_int_equal(table->row_count, 3);
    assert_int_equal(table_find_text(table, "bb", 2), 1);
    assert_int_equal(table_find_text(table, "dd", 2), VELTA_NO_ROW);
    assert_int_equal(table_find_int(table, 1), VELTA_NO_ROW);
    const uint32_t second = 1;
    table_apply_delete(table, &second, 1);
    assert_int_equal(table_find_text(table, "bb", 2), VELTA_NO_ROW);
    assert_int_equal(append_names(table, "bb", 1, &error), VELTA_OK);
    assert_int_equal(table_find_text(table, "bb", 2), 3);
    assert_true(table_memory_bytes(table) > 0);
    table_destroy(table);
    memory_destroy(memory);
}

static void many_keys_come_and_go(void **state) {
    (void)state;
    enum { KEYS = 20000 };
    struct memory *memory = memory_create(NULL, 0);
    struct random random = random_seeded(8);
    struct table *tables[2] = {NULL, string_table(memory)};
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true}};
    static uint32_t row_of[2][KEYS];
    OK(table_create(memory, &simd_scalar, "t", columns, 1, &tables[0], &failure));
    memset(row_of, 0xFF, sizeof row_of);
    for (size_t i = 0; i < test_rounds(60000); i++) {
        int64_t key = (int64_t)random_below(&random, KEYS);
        char text[16];
        uint64_t offsets[2] = {0, (uint64_t)snprintf(text, sizeof text, "%d", (int)key)};
        for (unsigned kind = 0; kind < 2; kind++) {
            struct table *table = tables[kind];
            uint32_t *row = &row_of[kind][key];
            struct column_values values = {.data = kind ? (const void *)text : &key, .offsets = kind ? offsets : NULL};
            struct velta_error error;
            uint32_t found = kind ? table_find_text(table, text, (size_t)offsets[1]) : table_find_int(table, key);
            assert_int_equal(found, *row);
            if (*row != VELTA_NO_ROW) {
                assert_int_equal(table_check_append(table, &values, 1, &error), VELTA_EXISTS);
                table_apply_delete(table, row, 1);
                *row = VELTA_NO_ROW;
            } else {
                OK(table_check_append(table, &values, 1, &failure));
                OK(table_reserve_append(table, &values, 1, &failure));
                *row = table_apply_append(table, &values, 1);
            }
        }
    }
    table_destroy(tables[0]);
    table_destroy(tables[1]);
    memory_destroy(memory);
}

static void repeats_in_a_batch_of_ints_are_found(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true}};
    struct table *table;
    struct velta_error error;
    int64_t keys[1000];
    OK(table_create(memory, &simd_scalar, "t", columns, 1, &table, &failure));
    for (int i = 0; i < 1000; i++)
        keys[i] = 5000 - i;
    struct column_values values = {.data = keys};
    OK(table_check_append(table, &values, 1000, &failure));
    keys[998] = keys[3];
    assert_int_equal(table_check_append(table, &values, 1000, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 998);
    assert_int_equal(table_check_append(table, &values, (size_t)VELTA_MAX_ROWS + 1, &error), VELTA_LIMIT);
    assert_int_equal(table_reserve_append(table, &values, (size_t)VELTA_MAX_ROWS + 1, &error), VELTA_LIMIT);
    table_destroy(table);
    memory_destroy(memory);
}

/* ---- refusals */

static void impossible_schemas_are_refused(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table = NULL;
    struct velta_column columns[] = {{.name = "a", .type = VELTA_INT, .primary_key = true},
                                     {.name = "b", .type = VELTA_INT, .primary_key = true}};
    static struct velta_column many[VELTA_MAX_COLUMNS + 1];
    static char names[VELTA_MAX_COLUMNS + 1][8];
    struct velta_error error;
    assert_int_equal(table_create(memory, &simd_scalar, "", columns, 1, &table, &error), VELTA_INVALID);
    assert_int_equal(table_create(memory, &simd_scalar, "\xff", columns, 1, &table, &error), VELTA_INVALID);
    assert_int_equal(table_create(memory, &simd_scalar, "t", columns, 2, &table, &error), VELTA_INVALID);
    assert_int_equal(error.offset, 1);
    columns[1].primary_key = false;
    columns[1].name = "a";
    assert_int_equal(table_create(memory, &simd_scalar, "t", columns, 2, &table, &error), VELTA_EXISTS);
    for (unsigned i = 0; i <= VELTA_MAX_COLUMNS; i++) {
        (void)snprintf(names[i], sizeof names[i], "c%u", i);
        many[i] = (struct velta_column){.name = names[i], .type = VELTA_BOOL};
    }
    assert_int_equal(table_create(memory, &simd_scalar, "t", many, VELTA_MAX_COLUMNS + 1, &table, &error), VELTA_LIMIT);
    OK(table_create(memory, &simd_scalar, "t", many, VELTA_MAX_COLUMNS, &table, &failure));
    assert_int_equal(table_add_column(table, &many[VELTA_MAX_COLUMNS], &error), VELTA_LIMIT);
    assert_int_equal(table_find_column(table, "c77", 3), 77);
    assert_true(table_find_column(table, "c7", 1) == TABLE_NO_COLUMN);
    table_destroy(table);
    table_destroy(NULL);
    memory_destroy(memory);
}

static void writes_of_what_cannot_be_are_refused(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true},
                                           {.name = "x", .type = VELTA_INT}};
    struct table *table;
    struct velta_error error;
    const int64_t numbers[] = {1, 2};
    const uint32_t rows[] = {1, 0, 2};
    struct column_values values[2] = {{.data = numbers}, {0}};
    OK(table_create(memory, &simd_scalar, "t", columns, 2, &table, &failure));
    OK(table_add_column(table, &(struct velta_column){.name = "r", .type = VELTA_INT, .required = true}, &failure));
    struct column_values three[3] = {values[0], values[1], values[0]};
    OK(table_check_append(table, three, 2, &failure));
    OK(table_reserve_append(table, three, 2, &failure));
    (void)table_apply_append(table, three, 2);
    assert_int_equal(table_check_append(table, &(const struct column_values[3]){{0}, {0}, {0}}[0], 1, &error),
                     VELTA_NOT_NULL);
    assert_int_equal(table_check_set(table, 0, &values[0], rows, 2, &error), VELTA_INVALID);
    assert_int_equal(table_check_set(table, 3, &values[0], rows, 2, &error), VELTA_UNKNOWN_COLUMN);
    assert_int_equal(table_check_set(table, 1, &values[0], rows, 3, &error), VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 2);
    table_apply_delete(table, rows, 1);
    assert_int_equal(table_check_set(table, 1, &values[0], rows, 2, &error), VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 0);
    const struct velta_column added[] = {{.name = "p", .type = VELTA_INT, .primary_key = true},
                                         {.name = "q", .type = VELTA_INT, .required = true}};
    assert_int_equal(table_add_column(table, &added[0], &error), VELTA_INVALID);
    assert_int_equal(table_add_column(table, &added[1], &error), VELTA_INVALID);
    table_destroy(table);
    memory_destroy(memory);
}

static void without_a_key_rows_are_found_by_number(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table;
    struct column_values none;
    const uint32_t second = 1;
    memset(&none, 0, sizeof none);
    OK(table_create(memory, &simd_scalar, "t", NULL, 0, &table, &failure)); /* columns may come later */
    OK(table_reserve_append(table, &none, 3, &failure));
    (void)table_apply_append(table, &none, 3);
    table_apply_delete(table, &second, 1);
    assert_int_equal(table_find_int(table, 0), 0);
    assert_int_equal(table_find_int(table, 1), VELTA_NO_ROW);
    assert_int_equal(table_find_int(table, 2), 2);
    assert_int_equal(table_find_int(table, 3), VELTA_NO_ROW);
    assert_int_equal(table_find_int(table, -1), VELTA_NO_ROW);
    assert_int_equal(table_find_text(table, "0", 1), VELTA_NO_ROW);
    struct table *copy;
    OK(table_vacuum(table, &copy, NULL, &failure));
    assert_int_equal(copy->row_count, 2);
    table_destroy(copy);
    table_destroy(table);
    memory_destroy(memory);
}

/* ---- loading what is damaged */

static void an_empty_table_is_loaded(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table;
    OK(table_create(memory, &simd_scalar, "t", schema, SCHEMA_COUNT, &table, &failure));
    OK(table_begin_load(table, 0, &failure));
    OK(table_load_live(table, NULL, 0, &failure));
    OK(table_make_expiry(table, &failure));
    OK(table_make_expiry(table, &failure));
    OK(table_finish_load(table, &failure));
    assert_int_equal(table_visible(table, 0, NULL), 0);
    table_destroy(table);
    memory_destroy(memory);
}

static void codes_need_no_slab_images(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct velta_error error;
    struct table *table;
    OK(table_create(memory, &simd_scalar, "t", &schema[9], 1, &table, &failure));
    OK(table_begin_load(table, 100000, &failure));
    OK(table_finish_load(table, &failure));
    assert_false(column_is_null(table->columns[0], 99999));
    table->columns[0]->added_at_row = 100001;
    assert_int_equal(table_finish_load(table, &error), VELTA_CORRUPT);
    table_destroy(table);
    memory_destroy(memory);
}

static void damage_across_images_is_corrupt(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct velta_error error;
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true},
                                           {.name = "v", .type = VELTA_VECTOR, .dimensions = 2}};
    struct table *table;
    const int64_t keys[] = {10, 20, 30};
    const float vectors[] = {1, 2, 3, 4, 5, 6};
    struct column_values values[2] = {{.data = keys}, {.data = vectors}};
    OK(table_create(memory, &simd_scalar, "t", columns, 2, &table, &failure));
    OK(table_reserve_append(table, values, 3, &failure));
    (void)table_apply_append(table, values, 3);
    struct saved saved = {0};
    save(&saved, table);
    table_destroy(table);
    OK(load(&saved, memory, columns, 2, 3, false, &table, &failure));
    table_destroy(table);
    saved.bytes[8 + 64 + 1] = 10; /* the second row gets the first one's key */
    assert_int_equal(load(&saved, memory, columns, 2, 3, false, &table, &error), VELTA_CORRUPT);
    saved.bytes[0] = 5; /* unless the second is dead */
    OK(load(&saved, memory, columns, 2, 3, false, &table, &failure));
    assert_int_equal(table->live_count, 2);
    table_destroy(table);
    saved.bytes[0] = 13; /* a fourth row lives */
    assert_int_equal(load(&saved, memory, columns, 2, 3, false, &table, &error), VELTA_CORRUPT);
    assert_int_equal(error.offset, 0);
    OK(table_create(memory, &simd_scalar, "t", columns, 2, &table, &failure));
    assert_int_equal(table_begin_load(table, VELTA_MAX_ROWS + 1, &error), VELTA_CORRUPT);
    OK(table_begin_load(table, 3, &failure));
    assert_int_equal(table_load_live(table, saved.bytes, 16, &error), VELTA_CORRUPT);
    assert_int_equal(table_finish_load(table, &error), VELTA_CORRUPT); /* no slabs at all */
    table_destroy(table);
    free(saved.bytes);
    memory_destroy(memory);
}

/* ---- every allocation refused */

struct attempt {
    const struct model *model; /* its last `extra` rows are not yet in the table */
    uint32_t extra;
    enum {
        TRY_CREATE,
        TRY_CHECK_APPEND,
        TRY_APPEND,
        TRY_SET,
        TRY_EXPIRY,
        TRY_ADD_COLUMN,
        TRY_VACUUM,
        TRY_LOAD,
        TRY_COUNT
    } call;
};

static struct table *table_of_model(struct memory *memory, const struct model *model, uint32_t rows) {
    struct table *table;
    struct batch batch;
    make_batch(&batch, model, model->rows, rows);
    OK(table_create(memory, &simd_scalar, "t", model->columns, model->column_count, &table, &failure));
    OK(table_reserve_append(table, batch.values, rows, &failure));
    (void)table_apply_append(table, batch.values, rows);
    free_batch(&batch);
    return table;
}

static enum velta_status try_set(struct table *table, const struct model *model, uint32_t first, uint32_t count,
                                 struct test_allocator *self, struct velta_error *error) {
    struct batch batch;
    uint32_t rows[64];
    enum velta_status status = VELTA_OK;
    make_batch(&batch, model, &model->rows[first], count);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = i * 3;
    test_allocator_rearm(self);
    for (size_t column = 1; status == VELTA_OK && column < model->column_count; column++)
        status = table_reserve_set(table, column, &batch.values[column], rows, count, error);
    test_allocator_disarm(self);
    if (status != VELTA_OK) table_abandon_reserve(table);
    for (size_t column = 1; status == VELTA_OK && column < model->column_count; column++)
        table_apply_set(table, column, &batch.values[column], rows, count);
    free_batch(&batch);
    return status;
}

static enum velta_status try_append(struct table *table, const struct attempt *attempt, uint32_t first,
                                    struct test_allocator *self, struct velta_error *error) {
    struct batch batch;
    enum velta_status status;
    make_batch(&batch, attempt->model, &attempt->model->rows[first], attempt->extra);
    test_allocator_rearm(self);
    status = attempt->call == TRY_APPEND ? table_reserve_append(table, batch.values, attempt->extra, error)
                                         : table_check_append(table, batch.values, attempt->extra, error);
    test_allocator_disarm(self);
    if (status == VELTA_OK && attempt->call == TRY_APPEND)
        assert_int_equal(table_apply_append(table, batch.values, attempt->extra), first);
    free_batch(&batch);
    return status;
}

static enum velta_status try_whole(struct table *table, const struct attempt *attempt, struct test_allocator *self,
                                   struct velta_error *error) {
    struct saved saved = {0};
    struct table *other = NULL;
    enum velta_status status;
    const struct model *model = attempt->model;
    save(&saved, table);
    test_allocator_rearm(self);
    if (attempt->call == TRY_VACUUM) {
        status = table_vacuum(table, &other, NULL, error);
    } else if (attempt->call == TRY_LOAD) {
        status =
            load(&saved, table->memory, model->columns, model->column_count, table->row_count, true, &other, error);
    } else {
        status = table_create(table->memory, &simd_scalar, "u", model->columns, model->column_count, &other, error);
    }
    test_allocator_disarm(self);
    if (status == VELTA_OK) table_destroy(other);
    free(saved.bytes);
    return status;
}

static bool attempt_call(struct test_allocator *self, void *context) {
    const struct attempt *attempt = context;
    const struct model *model = attempt->model;
    uint32_t first = model->row_count - attempt->extra;
    struct memory *memory = memory_create(&self->allocator, 0);
    struct table *table = table_of_model(memory, model, first);
    struct velta_column spec = {.name = "new", .type = VELTA_STRING};
    struct velta_error error = {0};
    enum velta_status status;
    if (attempt->call >= TRY_VACUUM) {
        const uint32_t row = 5;
        const int64_t time_ms = 7;
        OK(table_reserve_expiry(table, &failure));
        table_apply_expiry(table, &row, &time_ms, 1);
    }
    uint64_t before = digest(table);
    switch (attempt->call) {
    case TRY_CHECK_APPEND:
    case TRY_APPEND:
        status = try_append(table, attempt, first, self, &error);
        break;
    case TRY_SET:
        status = try_set(table, model, first, attempt->extra < 64 ? attempt->extra : 64, self, &error);
        break;
    case TRY_EXPIRY:
        test_allocator_rearm(self);
        status = table_reserve_expiry(table, &error);
        test_allocator_disarm(self);
        if (status != VELTA_OK) table_abandon_reserve(table);
        break;
    case TRY_ADD_COLUMN:
        test_allocator_rearm(self);
        status = table_add_column(table, &spec, &error);
        test_allocator_disarm(self);
        break;
    default:
        status = try_whole(table, attempt, self, &error);
        break;
    }
    if (status != VELTA_OK) {
        assert_int_equal(status, VELTA_NO_MEMORY);
        assert_int_equal(error.code, VELTA_NO_MEMORY);
        assert_true(digest(table) == before);
        assert_int_equal(table->column_count, model->column_count);
        assert_int_equal(table_find_int(table, model->rows[first].values[0].integer), VELTA_NO_ROW);
    }
    table_destroy(table);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void every_refused_allocation_changes_nothing(void **state) {
    (void)state;
    struct test_allocator host;
    struct random random = random_seeded(77);
    struct model model = make_model();
    test_allocator_init(&host);
    make_rows(&random, &model, 260);
    model.row_count = 260;
    for (uint32_t i = 0; i < 200; i++) /* what comes later is wider and longer than what is there */
        model.rows[i].values[1].integer = 1;
    for (unsigned call = 0; call < TRY_COUNT; call++) {
        struct attempt attempt = {.model = &model, .extra = 60};
        attempt.call = call;
        uint64_t runs = test_every_allocation_fails(&host, attempt_call, &attempt);
        if (runs < 4) fail_msg("call %u was refused nothing", call);
    }
    free(model.rows);
}

/* Context: how many string keys are there before those that are refused memory. */
static bool append_string_keys(struct test_allocator *self, void *context) {
    enum { EXTRA = 900 };
    const unsigned *before = context;
    struct memory *memory = memory_create(&self->allocator, 0);
    struct table *table = string_table(memory);
    unsigned total = *before + EXTRA;
    char *text = calloc(total, 8);
    uint64_t *offsets = calloc(total + 1, sizeof *offsets);
    for (unsigned i = 0; i < total; i++)
        offsets[i + 1] = offsets[i] + (uint64_t)snprintf(text + offsets[i], 8, "k%u", i);
    struct column_values old = {.data = text, .offsets = offsets};
    struct column_values new = {.data = text, .offsets = offsets + *before};
    struct velta_error error = {0};
    OK(table_reserve_append(table, &old, *before, &failure));
    (void)table_apply_append(table, &old, *before);
    uint64_t digest_before = digest(table);
    test_allocator_rearm(self);
    enum velta_status status = table_check_append(table, &new, EXTRA, &error);
    if (status == VELTA_OK) status = table_reserve_append(table, &new, EXTRA, &error);
    test_allocator_disarm(self);
    if (status == VELTA_OK) {
        (void)table_apply_append(table, &new, EXTRA);
    } else {
        assert_int_equal(error.code, VELTA_NO_MEMORY);
        assert_true(digest(table) == digest_before);
    }
    for (unsigned i = 0; i < total; i++) {
        uint32_t row = table_find_text(table, text + offsets[i], (size_t)(offsets[i + 1] - offsets[i]));
        assert_int_equal(row, i < *before || status == VELTA_OK ? i : VELTA_NO_ROW);
    }
    free(text);
    free(offsets);
    table_destroy(table);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void every_refused_string_key_changes_nothing(void **state) {
    (void)state;
    struct test_allocator host;
    static const unsigned before[] = {0, 200, 1000, 2000};
    test_allocator_init(&host);
    for (unsigned i = 0; i < sizeof before / sizeof *before; i++) {
        unsigned count = before[i];
        assert_true(test_every_allocation_fails(&host, append_string_keys, &count) > 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_a_list_of_rows),
        cmocka_unit_test(batches_span_slabs),
        cmocka_unit_test(string_keys_are_unique_while_they_live),
        cmocka_unit_test(many_keys_come_and_go),
        cmocka_unit_test(repeats_in_a_batch_of_ints_are_found),
        cmocka_unit_test(impossible_schemas_are_refused),
        cmocka_unit_test(writes_of_what_cannot_be_are_refused),
        cmocka_unit_test(without_a_key_rows_are_found_by_number),
        cmocka_unit_test(an_empty_table_is_loaded),
        cmocka_unit_test(codes_need_no_slab_images),
        cmocka_unit_test(damage_across_images_is_corrupt),
        cmocka_unit_test(every_refused_string_key_changes_nothing),
        cmocka_unit_test(every_refused_allocation_changes_nothing),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
