/*
 * Tables against a naive model (a list of rows of plain values), through every write, vacuum and load; and every
 * fallible call with every allocation refused in turn.
 */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/table.h"
#include "tests/support/table_images.h"

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

/* ---- a long life */

static void live_append(struct random *random, struct table *table, struct model *model, size_t count) {
    struct batch batch;
    make_rows(random, model, count);
    make_batch(&batch, model, &model->rows[model->row_count], count);
    OK(table_check_append(table, batch.values, count, &failure));
    if (random_chance(random, 20)) { /* a write that is given up leaves no trace */
        uint64_t before = table_digest(table);
        OK(table_reserve_append(table, batch.values, count, &failure));
        table_abandon_reserve(table);
        assert_true(table_digest(table) == before);
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
    uint64_t before = table_digest(*table);
    OK(table_vacuum(*table, &copy, map, &failure));
    assert_true(table_digest(*table) == before);
    table_destroy(*table);
    *table = copy;
    for (uint32_t row = 0; row < model->row_count; row++) {
        assert_int_equal(map[row], model->rows[row].live ? kept : VELTA_NO_ROW);
        if (model->rows[row].live) model->rows[kept++] = model->rows[row];
    }
    model->row_count = kept;
    free(map);
    OK(table_vacuum(*table, &copy, NULL, &failure)); /* a second one changes nothing more */
    assert_true(table_digest(copy) == table_digest(*table));
    table_destroy(copy);
}

static void live_reload(struct table **table, const struct model *model) {
    struct table_images saved = {0};
    struct memory *memory = (*table)->memory;
    bool expiry = (*table)->expiry != NULL;
    table_save(&saved, *table);
    table_destroy(*table);
    OK(table_load(&saved, memory, model->columns, model->column_count, model->row_count, expiry, table, &failure));
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

enum { ROWS = 2 * CORE_ROWS_PER_SLAB + 1000, FIRST = 600 };

/* The first FIRST values of the batch were appended twice. Without every fourth row after the vacuum. */
static void assert_spanned(const struct table *table, const struct column_values *values, const uint64_t *valid,
                           bool vacuumed) {
    uint32_t row = 0;
    for (uint32_t old = 0; old < ROWS; old++) {
        uint32_t i = old < FIRST ? old : old - FIRST;
        size_t size_bytes;
        if (vacuumed && old % 4 == 0) continue;
        assert_int_equal(column_is_null(table->columns[0], row), !bitmap_get(valid, i));
        if (bitmap_get(valid, i))
            assert_true(column_integer(table->columns[0], row) == ((const int64_t *)values[0].data)[i]);
        assert_int_equal(column_integer(table->columns[1], row), ((const uint8_t *)values[1].data)[i]);
        const char *found = column_text(table->columns[2], row, &size_bytes);
        assert_int_equal(size_bytes, values[2].offsets[i + 1] - values[2].offsets[i]);
        assert_memory_equal(found, (const char *)values[2].data + values[2].offsets[i], size_bytes);
        row++;
    }
}

/* Slabs are 65,536 rows: the same across their border, with batches that span three and strings all different. */
static void batches_span_slabs(void **state) {
    (void)state;
    enum { TEXT = 10 };
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
    struct table_images saved = {0};
    table_save(&saved, copy);
    struct table *loaded;
    OK(table_load(&saved, memory, columns, 3, copy->row_count, true, &loaded, &failure));
    struct table *all[3] = {table, copy, loaded};
    for (unsigned which = 0; which < 3; which++) {
        assert_spanned(all[which], values, valid, which > 0);
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
    struct table_images saved = {0};
    struct table *other = NULL;
    enum velta_status status;
    const struct model *model = attempt->model;
    table_save(&saved, table);
    test_allocator_rearm(self);
    if (attempt->call == TRY_VACUUM) {
        status = table_vacuum(table, &other, NULL, error);
    } else if (attempt->call == TRY_LOAD) {
        status = table_load(&saved, table->memory, model->columns, model->column_count, table->row_count, true, &other,
                            error);
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
    uint64_t before = table_digest(table);
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
        assert_true(table_digest(table) == before);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_a_list_of_rows),
        cmocka_unit_test(batches_span_slabs),
        cmocka_unit_test(every_refused_allocation_changes_nothing),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
