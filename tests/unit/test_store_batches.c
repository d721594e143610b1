/*
 * Batches large and odd: every allocation of writing calls refused for batches of several sizes (which memory a batch
 * asks for depends on its size), values cut into slices anywhere, text keys in inserts and deltas, and every refusal.
 */
#include <float.h>
#include <math.h>

#include "tests/unit/store_testing.h"

enum { DIMENSIONS = 300, COLUMNS = 6, MOST_ROWS = 6000 };

static const struct velta_column schema[COLUMNS] = {
    {.name = "k", .type = VELTA_STRING, .primary_key = true},
    {.name = "n", .type = VELTA_INT},
    {.name = "w", .type = VELTA_STRING},
    {.name = "b", .type = VELTA_BOOL},
    {.name = "h", .type = VELTA_VECTOR, .dimensions = 2, .element = VELTA_F16, .metric = VELTA_L2, .no_index = true},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .metric = VELTA_L2, .no_index = true},
};

struct world {
    int64_t now_ms;
    velta *db;
    velta_table *table;
};

static void make_world(struct world *world, const struct velta_allocator *allocator) {
    struct velta_error error = {0};
    *world = (struct world){.now_ms = 1000};
    struct velta_options options = {
        .allocator = allocator, .now_ms = sample_clock, .now_context = &world->now_ms, .thread_count = 1};
    assert_ok(velta_open(NULL, &options, &world->db, &error), &error);
    assert_ok(velta_table_create(world->db, "t", schema, COLUMNS, &world->table, &error), &error);
}

static void end_world(struct world *world) {
    struct velta_error error = {0};
    assert_verifies(world->db);
    assert_ok(velta_close(world->db, &error), &error);
}

/* Columns of a batch: keys "first".., numbers, words with NULLs, bools, half vectors given as f32. */
struct batch {
    uint32_t count;
    char *text;
    uint64_t *offsets;
    int64_t *numbers;
    uint8_t *bools;
    float *vectors;
    uint64_t *valid;
    struct velta_values values[5];
    struct velta_keys keys;
};

static void batch_make(struct batch *batch, uint32_t first, uint32_t count) {
    *batch = (struct batch){.count = count};
    batch->text = malloc((size_t)count * 12);
    batch->offsets = calloc(count + 1, sizeof *batch->offsets);
    batch->numbers = calloc(count, sizeof *batch->numbers);
    batch->bools = calloc(count, 1);
    batch->vectors = calloc(count, 2 * sizeof(float));
    batch->valid = calloc(count / 64 + 1, sizeof *batch->valid);
    for (uint32_t i = 0; i < count; i++) {
        /* Not in order: the later half comes first. */
        uint32_t name = first + (i + count / 2) % count;
        batch->offsets[i + 1] =
            batch->offsets[i] + (uint64_t)sprintf(batch->text + batch->offsets[i], "%u", (unsigned)name);
        batch->numbers[i] = (int64_t)i * 1000;
        batch->bools[i] = i % 3 == 0;
        batch->vectors[2 * i] = (float)(i % 100);
        if (i % 5 != 0) batch->valid[i / 64] |= UINT64_C(1) << (i % 64);
    }
    batch->values[0] = (struct velta_values){.column = "k", .data = batch->text, .offsets = batch->offsets};
    batch->values[1] = (struct velta_values){.column = "n", .data = batch->numbers, .valid = batch->valid};
    batch->values[2] =
        (struct velta_values){.column = "w", .data = batch->text, .offsets = batch->offsets, .valid = batch->valid};
    batch->values[3] = (struct velta_values){.column = "b", .data = batch->bools};
    batch->values[4] = (struct velta_values){.column = "h", .data = batch->vectors, .valid = batch->valid};
    batch->keys = (struct velta_keys){.text = batch->text, .offsets = batch->offsets};
}

static void batch_free(struct batch *batch) {
    free(batch->text);
    free(batch->offsets);
    free(batch->numbers);
    free(batch->bools);
    free(batch->vectors);
    free(batch->valid);
}

static uint32_t text_row(struct world *world, const char *key) {
    struct velta_error error = {0};
    uint32_t row;
    struct velta_keys keys = {.text = key, .offsets = (uint64_t[]){0, strlen(key)}};
    assert_ok(velta_find(world->table, &keys, 1, 0, &row, &error), &error);
    return row;
}

/* ---- refused memory */

typedef enum velta_status writing(struct world *world, const struct batch *batch, struct velta_error *error);

static enum velta_status upsert_half(struct world *world, const struct batch *batch, struct velta_error *error) {
    struct velta_write_options options = {.mode = VELTA_UPSERT};
    struct batch half;
    batch_make(&half, batch->count / 2, batch->count);
    enum velta_status status = velta_insert(world->table, half.values, 5, half.count, &options, NULL, error);
    batch_free(&half);
    return status;
}

static enum velta_status insert_more(struct world *world, const struct batch *batch, struct velta_error *error) {
    struct batch more;
    batch_make(&more, batch->count, batch->count);
    enum velta_status status = velta_insert(world->table, more.values, 5, more.count, NULL, NULL, error);
    batch_free(&more);
    return status;
}

static enum velta_status update_all(struct world *world, const struct batch *batch, struct velta_error *error) {
    return velta_update(world->table, &batch->keys, batch->count, batch->values + 1, 4, NULL, error);
}

static enum velta_status delete_all(struct world *world, const struct batch *batch, struct velta_error *error) {
    return velta_delete(world->table, &batch->keys, batch->count, NULL, error);
}

static enum velta_status expire_all(struct world *world, const struct batch *batch, struct velta_error *error) {
    return velta_expire_at(world->table, &batch->keys, batch->count, batch->numbers, error);
}

static enum velta_status expire_now(struct world *world, const struct batch *batch, struct velta_error *error) {
    (void)batch;
    return velta_expire(world->table, 3000000, NULL, error);
}

/* Creates, changes, buries: two deltas for every row, so that each is tried on a copy. */
static enum velta_status apply_to(struct world *world, const struct batch *batch, const char *column, uint32_t count,
                                  uint32_t dimensions, struct velta_error *error) {
    static float vector[DIMENSIONS];
    uint32_t n = batch->count < count ? batch->count : count;
    struct velta_delta *deltas = calloc(4 * n, sizeof *deltas);
    char(*names)[16] = calloc(n, sizeof *names);
    for (uint32_t i = 0; i < n; i++) {
        struct velta_delta *four = deltas + 4 * i;
        uint32_t bytes = (uint32_t)sprintf(names[i], "new %u", (unsigned)i);
        four[0] = (struct velta_delta){.operation = VELTA_DELTA_CREATE,
                                       .key = names[i],
                                       .key_bytes = bytes,
                                       .count = dimensions,
                                       .values = vector};
        four[1] = (struct velta_delta){.operation = VELTA_DELTA_OFFSET,
                                       .key = names[i],
                                       .key_bytes = bytes,
                                       .amount = 1,
                                       .metadata = "why",
                                       .metadata_bytes = 3};
        four[2] =
            (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key = names[i], .key_bytes = bytes, .amount = 2};
        four[3] = (struct velta_delta){.operation = i % 2 ? VELTA_DELTA_DELETE : VELTA_DELTA_OFFSET,
                                       .key = names[i],
                                       .key_bytes = bytes,
                                       .amount = 1};
    }
    enum velta_status status = velta_apply(world->table, column, deltas, 4 * n, 0, NULL, error);
    free(names);
    free(deltas);
    return status;
}

static enum velta_status apply_long(struct world *world, const struct batch *batch, struct velta_error *error) {
    return apply_to(world, batch, "v", 40, DIMENSIONS, error);
}

static enum velta_status apply_half(struct world *world, const struct batch *batch, struct velta_error *error) {
    return apply_to(world, batch, "h", 700, 2, error);
}

struct refusal {
    writing *write;
    uint32_t count;
};

static bool write_with_refusals(struct test_allocator *self, void *context) {
    const struct refusal *refusal = context;
    struct velta_error error = {0};
    struct world world;
    struct batch batch;
    struct velta_stats before;
    struct velta_stats after;
    make_world(&world, &self->allocator);
    batch_make(&batch, 0, refusal->count);
    assert_ok(velta_insert(world.table, batch.values, 5, batch.count, NULL, NULL, &error), &error);
    if (refusal->write == expire_now) assert_ok(expire_all(&world, &batch, &error), &error);
    velta_get_stats(world.db, &before);
    uint64_t state = digest(world.db);
    test_allocator_rearm(self);
    enum velta_status status = refusal->write(&world, &batch, &error);
    test_allocator_disarm(self);
    velta_get_stats(world.db, &after);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_int_equal(error.code, status);
        assert_int_equal(before.sequence, after.sequence);
        assert_true(digest(world.db) == state);
        assert_ok(refusal->write(&world, &batch, &error), &error);
        velta_get_stats(world.db, &after);
    }
    assert_true(after.sequence > before.sequence);
    batch_free(&batch);
    end_world(&world);
    return status == VELTA_OK;
}

static void refused_memory_changes_nothing(void **state) {
    (void)state;
    static writing *const writings[] = {upsert_half, insert_more, update_all, delete_all,
                                        expire_all,  expire_now,  apply_long, apply_half};
    static const uint32_t counts[] = {60, 1200};
    uint64_t runs = 0;
    for (size_t w = 0; w < sizeof writings / sizeof *writings; w++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            struct refusal refusal = {.write = writings[w], .count = counts[c]};
            struct test_allocator self;
            test_allocator_init(&self);
            runs += test_every_allocation_fails(&self, write_with_refusals, &refusal);
        }
    }
    print_message("figure: allocations_refused %llu\n", (unsigned long long)runs);
}

/* ---- slices and gathers */

/* Values so large that slices begin between whole words of validity bits. */
static void slices_may_begin_anywhere(void **state) {
    (void)state;
    enum { N = 7, BYTES = 400000 };
    struct world world;
    struct velta_error error = {0};
    struct velta_write_stats stats;
    char *text = malloc((size_t)N * BYTES);
    uint64_t offsets[N + 1];
    uint16_t halves[2 * N];
    const uint64_t valid = 0x5B; /* the third and the sixth are NULL */
    for (size_t i = 0; i < N; i++) {
        memset(text + i * BYTES, 'a' + (int)i, BYTES);
        offsets[i] = i * BYTES;
        halves[2 * i] = halves[2 * i + 1] = (uint16_t)(0x3C00 + 0x400 * i); /* 1, 2, 4, .. */
    }
    offsets[N] = (uint64_t)N * BYTES;
    make_world(&world, NULL);
    struct velta_values values[] = {
        {.column = "k", .data = "1234567", .offsets = (uint64_t[]){0, 1, 2, 3, 4, 5, 6, 7}},
        {.column = "w", .data = text, .offsets = offsets, .valid = &valid},
        {.column = "h", .data = halves, .element = VELTA_F16, .valid = &valid},
    };
    assert_ok(velta_insert(world.table, values, 3, N, NULL, &stats, &error), &error);
    for (int again = 0; again < 2; again++) {
        for (uint32_t row = 0; row < N; row++) {
            velta_result *result;
            struct velta_values word;
            float vector[2];
            bool there = valid >> row & 1;
            assert_int_equal(is_null(world.table, row, "w"), !there);
            assert_status(velta_get_vector(world.table, "h", row, 0, vector, &error),
                          there ? VELTA_OK : VELTA_NOT_FOUND);
            if (!there) continue;
            assert_true(vector[1] == (float)(1 << row));
            assert_ok(velta_get(world.table, &row, 1, (const char *[]){"w"}, 1, 0, &result, &error), &error);
            assert_ok(velta_result_column(result, 0, &word, NULL), &error);
            assert_int_equal(word.offsets[1] - word.offsets[0], BYTES);
            assert_memory_equal(word.data, text + (size_t)row * BYTES, BYTES);
            velta_result_free(result);
        }
        struct velta_write_options upsert = {.mode = VELTA_UPSERT};
        assert_ok(velta_insert(world.table, values, 3, N, &upsert, &stats, &error), &error);
        assert_int_equal(stats.updated, N);
    }
    free(text);
    end_world(&world);
}

static void nulls_without_data_and_empty_texts(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    make_world(&world, NULL);
    struct velta_values values[] = {{.column = "k", .data = "ab", .offsets = (uint64_t[]){0, 1, 2, 2}},
                                    {.column = "w", .offsets = (uint64_t[]){0, 0, 0, 0}},
                                    {.column = "n"},
                                    {.column = "h"}};
    assert_ok(velta_insert(world.table, values, 4, 2, NULL, NULL, &error), &error);
    assert_false(is_null(world.table, 0, "w")); /* empty, not NULL */
    assert_ok(velta_insert(world.table, values, 4, 3, &upsert, NULL, &error), &error);
    uint32_t row = text_row(&world, "");
    assert_int_equal(row, 2);
    assert_true(is_null(world.table, row, "n"));
    assert_int_equal(velta_live_count(world.table), 3);
    end_world(&world);
}

/* What is not NULL, and what is, is the same in memory, in the log and in a batch that was sorted. */
static void texts_without_data_are_logged(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "texts.velta");
    struct velta_error error = {0};
    velta *db;
    velta_table *table;
    const uint64_t none[1] = {0};
    const struct velta_column columns[] = {{.name = "k", .type = VELTA_STRING, .primary_key = true},
                                           {.name = "w", .type = VELTA_STRING, .required = true},
                                           {.name = "b", .type = VELTA_BOOL}};
    assert_ok(velta_open(path, NULL, &db, &error), &error);
    assert_ok(velta_table_create(db, "t", columns, 3, &table, &error), &error);
    struct velta_values empty[] = {{.column = "k", .offsets = (uint64_t[]){0, 0}},
                                   {.column = "w", .offsets = (uint64_t[]){0, 0}}};
    assert_ok(velta_insert(table, empty, 2, 1, NULL, NULL, &error), &error);
    struct velta_values full[] = {{.column = "k", .data = "ab", .offsets = (uint64_t[]){0, 1, 2}},
                                  {.column = "w", .data = "xy", .offsets = (uint64_t[]){0, 1, 2}},
                                  {.column = "b", .data = (uint8_t[]){1, 1}}};
    assert_ok(velta_insert(table, full, 3, 2, NULL, NULL, &error), &error);
    struct velta_keys keys = {.text = "ba", .offsets = (uint64_t[]){0, 1, 2}};
    /* Offsets of what is no text mean nothing. */
    struct velta_values cleared[] = {{.column = "w", .offsets = (uint64_t[]){9, 9, 9}},
                                     {.column = "b", .offsets = (uint64_t[]){0, 1, 2}, .valid = none}};
    assert_ok(velta_update(table, &keys, 2, cleared, 2, NULL, &error), &error);
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t row = 0; row < 3; row++) {
            assert_false(is_null(table, row, "w"));
            assert_true(is_null(table, row, "b"));
        }
        assert_ok(velta_close(db, &error), &error);
        assert_ok(velta_open(path, NULL, &db, &error), &error);
        assert_ok(velta_table_find(db, "t", &table, &error), &error);
    }
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
}

/* ---- refusals */

static void odd_batches(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct batch batch;
    uint32_t deleted = 5;
    int64_t just_now = 1000;
    char longest[200];
    memset(longest, 'x', sizeof longest);
    make_world(&world, NULL);
    batch_make(&batch, 0, 10);
    assert_ok(velta_insert(world.table, batch.values, 5, 10, NULL, NULL, &error), &error);
    assert_status(velta_insert(world.table, batch.values, 5, 10, NULL, NULL, &error), VELTA_EXISTS);
    assert_non_null(strstr(error.text, "key '5' of column 'k' is in the table already"));
    struct velta_values twice = {.column = "k", .data = longest, .offsets = (uint64_t[]){0, 100, 200}};
    assert_status(velta_insert(world.table, &twice, 1, 2, NULL, NULL, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 1);
    assert_non_null(strstr(error.text, "is in the batch before"));
    assert_null(strstr(error.text, "the batch before ")); /* the key is cut, the sentence is not */
    assert_ok(velta_delete(world.table, &batch.keys, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
    assert_ok(velta_update(world.table, &batch.keys, 0, batch.values + 1, 1, NULL, &error), &error);
    assert_ok(velta_expire_at(world.table, &batch.keys, 0, NULL, &error), &error);
    assert_status(velta_expire_at(world.table, &batch.keys, 1, NULL, &error), VELTA_INVALID);
    assert_status(velta_expire_at(world.table, NULL, 1, &just_now, &error), VELTA_INVALID);
    assert_status(velta_update(world.table, NULL, 1, batch.values + 1, 1, NULL, &error), VELTA_INVALID);
    assert_status(velta_delete(world.table, NULL, 1, &deleted, &error), VELTA_INVALID);
    assert_ok(velta_delete(world.table, NULL, 0, &deleted, &error), &error); /* none are named, none are missed */
    assert_true(deleted == 0 && velta_live_count(world.table) == 10);
    assert_status(velta_update(world.table, &batch.keys, SIZE_MAX, batch.values + 1, 1, NULL, &error), VELTA_LIMIT);
    assert_status(velta_update(world.table, &batch.keys, 10, batch.values, 2, NULL, &error), VELTA_INVALID);
    assert_status(velta_delete(world.table, &batch.keys, SIZE_MAX, NULL, &error), VELTA_OVER_BUDGET);
    assert_ok(velta_expire_at(world.table, &batch.keys, 1, &just_now, &error), &error);
    assert_int_equal(text_row(&world, "5"), VELTA_NO_ROW);
    struct velta_keys rows = {.rows = (uint32_t[]){0}};
    assert_status(velta_update(world.table, &rows, 1, batch.values + 1, 1, NULL, &error), VELTA_NOT_FOUND);
    assert_ok(velta_delete(world.table, &batch.keys, 10, &deleted, &error), &error);
    assert_int_equal(deleted, 9);
    assert_ok(velta_expire(world.table, 999, NULL, &error), &error);
    assert_int_equal(velta_live_count(world.table), 1);
    assert_ok(velta_expire(world.table, 0, NULL, &error), &error);
    assert_int_equal(velta_live_count(world.table), 0);
    assert_ok(velta_expire(world.table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
    batch_free(&batch);
    end_world(&world);
}

/* More values than dimensions: none beyond the first that is wrong is read. */
enum { OVER = DIMENSIONS + 1 };
static const uint32_t far[OVER] = {0, DIMENSIONS};

static void odd_deltas(void **state) {
    (void)state;
    static float vector[DIMENSIONS];
    static const uint32_t index = 1;
    static const float nan = NAN;
    struct world world;
    struct velta_error error = {0};
    make_world(&world, NULL);
    struct velta_delta create = {
        .operation = VELTA_DELTA_CREATE, .key = "a", .key_bytes = 1, .count = DIMENSIONS, .values = vector};
    assert_ok(velta_apply(world.table, "v", &create, 1, 0, NULL, &error), &error);
    const struct {
        struct velta_delta delta;
        enum velta_status status;
        const char *says;
    } cases[] = {
        {{.operation = VELTA_DELTA_SPARSE, .key = "a", .key_bytes = 1, .count = 1, .values = vector},
         VELTA_INVALID,
         "needs indices"},
        {{.operation = VELTA_DELTA_SPARSE, .key = "a", .key_bytes = 1, .count = 1, .indices = &index},
         VELTA_INVALID,
         "needs indices"},
        {{.operation = VELTA_DELTA_SPARSE, .key = "a", .key_bytes = 1, .count = 1, .indices = &index, .values = &nan},
         VELTA_NOT_FINITE,
         "index 1"},
        {{.operation = VELTA_DELTA_SPARSE, .key = "a", .key_bytes = 1, .count = OVER, .indices = far, .values = vector},
         VELTA_DIMENSIONS,
         "is not below"},
        {{.operation = VELTA_DELTA_DENSE, .key = "a", .key_bytes = 1, .count = DIMENSIONS},
         VELTA_DIMENSIONS,
         "0 values"},
        {{.operation = VELTA_DELTA_SCALE, .key = "a", .key_bytes = 1, .amount = 1, .metadata_bytes = 1},
         VELTA_INVALID,
         "no bytes"},
        {{.operation = VELTA_DELTA_DELETE, .key = "a", .key_bytes = 1, .metadata = "m", .metadata_bytes = 1},
         VELTA_INVALID,
         "keeps no metadata"},
        {{.operation = VELTA_DELTA_SCALE,
          .key = "a",
          .key_bytes = 1,
          .metadata = "m",
          .metadata_bytes = VELTA_MAX_VALUE_BYTES + 1},
         VELTA_LIMIT,
         "16 MiB"},
        {{.operation = VELTA_DELTA_SCALE, .key = "ab", .key_bytes = 2, .amount = 1}, VELTA_NOT_FOUND, "key 'ab'"},
        {{.operation = VELTA_DELTA_SCALE, .amount = 1}, VELTA_NOT_FOUND, "key ''"},
        {{.operation = VELTA_DELTA_CREATE, .use_row = true, .count = DIMENSIONS, .values = vector},
         VELTA_INVALID,
         "names its key"},
        {{.operation = VELTA_DELTA_CREATE, .key = "a", .key_bytes = 1, .count = DIMENSIONS, .values = vector},
         VELTA_EXISTS,
         "key 'a' exists"},
        {{.operation = VELTA_DELTA_CREATE, .key = "\xFF", .key_bytes = 1, .count = DIMENSIONS, .values = vector},
         VELTA_TYPE,
         "UTF-8"},
    };
    uint64_t before = digest(world.db);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_status(velta_apply(world.table, "v", &cases[i].delta, 1, 0, NULL, &error), cases[i].status);
        if (!strstr(error.text, cases[i].says)) fail_msg("'%s' does not say '%s'", error.text, cases[i].says);
        assert_int_equal(error.offset, 0);
        assert_status(velta_apply(world.table, "v", &cases[i].delta, 1, 0, NULL, NULL), cases[i].status);
    }
    assert_true(digest(world.db) == before);
    end_world(&world);
}

/*
 * At the end of the floats: what cannot lead out of them is not tried, what can is, alone and among several of a row.
 * The largest float plus half a step is the first that rounds to an infinity.
 */
static void deltas_at_the_largest_float(void **state) {
    (void)state;
    static const uint32_t both[] = {0, 299};
    const float half = 0x1p103F;
    const float below = nextafterf(half, 0);
    const float step[] = {half, -half};
    const float less[] = {below, -below};
    static float most[DIMENSIONS], ones[DIMENSIONS], lasts[DIMENSIONS];
    most[0] = FLT_MAX;
    most[299] = -FLT_MAX;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        ones[i] = i == 299 ? -below : below;
        lasts[i] = i == 299 ? -half : 0;
    }
    struct world world;
    struct velta_error error = {0};
    make_world(&world, NULL);
    struct velta_delta create = {
        .operation = VELTA_DELTA_CREATE, .key = "a", .key_bytes = 1, .count = DIMENSIONS, .values = most};
    assert_ok(velta_apply(world.table, "v", &create, 1, 0, NULL, &error), &error);
    const struct {
        enum velta_operation operation;
        bool set;
        float amount;
        const float *values;
        bool is_refused;
    } cases[] = {
        {VELTA_DELTA_SPARSE, false, 0, less, false},  {VELTA_DELTA_SPARSE, false, 0, step, true},
        {VELTA_DELTA_SPARSE, true, 0, step, false},   {VELTA_DELTA_DENSE, false, 0, ones, false},
        {VELTA_DELTA_DENSE, false, 0, lasts, true},   {VELTA_DELTA_DENSE, true, 0, most, false},
        {VELTA_DELTA_OFFSET, false, below, 0, false}, {VELTA_DELTA_OFFSET, false, -half, 0, true},
        {VELTA_DELTA_OFFSET, false, half, 0, true},   {VELTA_DELTA_SCALE, false, -1, 0, false},
        {VELTA_DELTA_SCALE, false, 1, 0, false},      {VELTA_DELTA_SCALE, false, 1.0000001F, 0, true},
        {VELTA_DELTA_SCALE, false, -2, 0, true},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        size_t c = i / 2;
        bool among = i % 2 == 1;
        bool is_sparse = cases[c].operation == VELTA_DELTA_SPARSE;
        bool has_values = is_sparse || cases[c].operation == VELTA_DELTA_DENSE;
        struct velta_delta whole = create;
        whole.operation = VELTA_DELTA_DENSE;
        whole.set = true;
        struct velta_delta one = {.operation = cases[c].operation,
                                  .set = cases[c].set,
                                  .key = "a",
                                  .key_bytes = 1,
                                  .count = !has_values ? 0 : is_sparse ? 2 : DIMENSIONS,
                                  .indices = is_sparse ? both : NULL,
                                  .values = cases[c].values,
                                  .amount = cases[c].amount};
        struct velta_delta deltas[3] = {whole, one, one};
        assert_ok(velta_apply(world.table, "v", &whole, 1, 0, NULL, &error), &error);
        uint64_t before = digest(world.db);
        enum velta_status status = velta_apply(world.table, "v", among ? deltas : &one, among ? 3 : 1, 0, NULL, &error);
        assert_status(status, cases[c].is_refused ? VELTA_NOT_FINITE : VELTA_OK);
        if (cases[c].is_refused) {
            assert_int_equal(error.offset, among ? 1 : 0);
            assert_true(digest(world.db) == before);
        }
        float found[DIMENSIONS];
        assert_ok(velta_get_vector(world.table, "v", 0, 0, found, &error), &error);
        for (size_t k = 0; k < DIMENSIONS; k++)
            assert_true(isfinite(found[k]));
    }
    end_world(&world);
}

/* Keys of one batch: the same length, the same beginning, none at all; created, buried, created again. */
static void text_keys_of_one_batch(void **state) {
    (void)state;
    static float vector[DIMENSIONS];
    static const char *const names[] = {"aa", "ab", "a", "", "aa"};
    enum { N = 400 };
    struct world world;
    struct velta_error error = {0};
    uint64_t ids[5 + N];
    struct velta_delta deltas[5 + N];
    make_world(&world, NULL);
    for (size_t i = 0; i < 5; i++) {
        deltas[i] = (struct velta_delta){.operation = VELTA_DELTA_CREATE,
                                         .key = names[i],
                                         .key_bytes = (uint32_t)strlen(names[i]),
                                         .count = DIMENSIONS,
                                         .values = vector};
    }
    assert_status(velta_apply(world.table, "v", deltas, 5, 0, NULL, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 4);
    deltas[4].operation = VELTA_DELTA_DELETE;
    deltas[4].count = 0;
    /* Dense deltas of one row, more than one change takes. */
    for (size_t i = 0; i < N; i++) {
        deltas[5 + i] = (struct velta_delta){
            .operation = VELTA_DELTA_DENSE, .row = 1, .use_row = true, .count = DIMENSIONS, .values = vector};
    }
    vector[7] = 0.5F;
    assert_ok(velta_apply(world.table, "v", deltas, 5 + N, 0, ids, &error), &error);
    assert_int_equal(ids[4 + N] - ids[0], 4 + N);
    assert_int_equal(velta_row_count(world.table), 4);
    assert_int_equal(velta_live_count(world.table), 3);
    assert_int_equal(text_row(&world, "aa"), VELTA_NO_ROW);
    assert_int_equal(text_row(&world, ""), 3);
    float found[DIMENSIONS];
    assert_ok(velta_get_vector(world.table, "v", 1, 0, found, &error), &error);
    assert_true(found[7] == 0.5F * (N + 1));
    /* A row that the batch has buried is gone by its number, too. */
    struct velta_delta buried[] = {{.operation = VELTA_DELTA_DELETE, .key = "ab", .key_bytes = 2},
                                   {.operation = VELTA_DELTA_SCALE, .row = 1, .use_row = true, .amount = 1}};
    assert_status(velta_apply(world.table, "v", buried, 2, 0, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "row 1"));
    end_world(&world);
}

/* ---- large batches and their report */

struct reporter {
    uint64_t calls;
    uint64_t stop_at; /* 0: never */
};

static bool report(void *context, uint64_t done, uint64_t total) {
    struct reporter *reporter = context;
    assert_true(done > 0 && done < total);
    return ++reporter->calls != reporter->stop_at;
}

/* A batch of several frames in a stored database: told as it goes, and taken back whole where that cancels it. */
static void a_batch_of_frames_can_be_cancelled(void **state) {
    (void)state;
    enum { N = 40, BYTES = 400000 };
    const char *path = test_path(test_folder(), "frames.velta");
    static const struct velta_column columns[] = {{.name = "blob", .type = VELTA_BYTES}};
    struct velta_error error = {0};
    velta_table *table;
    velta *db;
    struct random random = random_seeded(1);
    uint8_t *bytes = malloc((size_t)N * BYTES);
    uint64_t offsets[N + 1];
    random_bytes(&random, bytes, (size_t)N * BYTES);
    for (size_t i = 0; i <= N; i++) {
        offsets[i] = i * BYTES;
    }
    assert_ok(velta_open(path, NULL, &db, &error), &error);
    assert_ok(velta_table_create(db, "t", columns, 1, &table, &error), &error);
    struct velta_values values = {.column = "blob", .data = bytes, .offsets = offsets};
    assert_ok(velta_insert(table, &values, 1, 1, NULL, NULL, &error), &error);
    uint64_t before = digest(db);
    for (uint64_t stop_at = 1; stop_at <= 2; stop_at++) {
        struct reporter reporter = {.stop_at = stop_at};
        struct velta_write_options options = {.progress = {.report = report, .context = &reporter}};
        assert_status(velta_insert(table, &values, 1, N, &options, NULL, &error), VELTA_CANCELLED);
        assert_int_equal(reporter.calls, stop_at);
        assert_true(digest(db) == before);
    }
    assert_ok(velta_close(db, &error), &error);
    assert_ok(velta_open(path, NULL, &db, &error), &error); /* nor is anything of them in the files */
    assert_true(digest(db) == before);
    assert_ok(velta_table_find(db, "t", &table, &error), &error);
    struct reporter patient = {0};
    struct velta_write_options options = {.progress = {.report = report, .context = &patient}};
    assert_ok(velta_insert(table, &values, 1, N, &options, NULL, &error), &error);
    assert_true(patient.calls >= 2);
    options.progress.report = NULL;
    assert_ok(velta_insert(table, &values, 1, N, &options, NULL, &error), &error);
    assert_int_equal(velta_row_count(table), 1 + 2 * N);
    assert_ok(velta_close(db, &error), &error);
    free(bytes);
}

/* Long keys are cut in sentences; rows by number; elements that are not kept as f32; nobody listening to errors. */
static void deltas_by_row_and_by_long_keys(void **state) {
    (void)state;
    static const struct velta_column plain[] = {
        {.name = "v", .type = VELTA_VECTOR, .dimensions = 2, .metric = VELTA_L2},
        {.name = "h", .type = VELTA_VECTOR, .dimensions = 2, .element = VELTA_F16, .metric = VELTA_L2},
        {.name = "n", .type = VELTA_INT}};
    static const float vectors[] = {1, 2, 3, 4};
    static const int64_t numbers[] = {5, 6};
    static const uint64_t ignored[] = {0, 1, 2};
    static const uint32_t index = 1;
    struct world world;
    struct velta_error error = {0};
    velta_table *table;
    char longest[100];
    memset(longest, 'x', sizeof longest);
    make_world(&world, NULL);
    struct velta_delta absent = {.operation = VELTA_DELTA_SCALE, .key = longest, .key_bytes = 100, .amount = 1};
    assert_status(velta_apply(world.table, "v", &absent, 1, 0, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "x' is not there"));
    struct velta_keys keys = {.text = longest, .offsets = (uint64_t[]){0, 100}};
    struct velta_values n = {.column = "n", .data = numbers, .offsets = ignored};
    assert_status(velta_update(world.table, &keys, 1, &n, 1, NULL, &error), VELTA_NOT_FOUND);
    assert_int_equal(strlen(strchr(error.text, 'x')), 81);
    static const float zeros[DIMENSIONS];
    struct velta_delta nameless[] = {
        {.operation = VELTA_DELTA_CREATE, .count = DIMENSIONS, .values = zeros},
        {.operation = VELTA_DELTA_OFFSET, .amount = 1},
        {.operation = VELTA_DELTA_CREATE, .key = "b", .key_bytes = 1, .count = DIMENSIONS, .values = zeros}};
    assert_ok(velta_apply(world.table, "v", nameless, 3, 0, NULL, NULL), &error);
    assert_int_equal(text_row(&world, ""), 0);
    assert_ok(velta_table_create(world.db, "plain", plain, 3, &table, &error), &error);
    struct velta_values values[] = {{.column = "v", .data = vectors},
                                    {.column = "h", .data = vectors},
                                    {.column = "n", .data = numbers, .offsets = ignored}};
    assert_ok(velta_insert(table, values, 3, 2, NULL, NULL, &error), &error);
    assert_int_equal(int_of(table, 1, "n", 0), 6);
    struct velta_delta sparse = {
        .operation = VELTA_DELTA_SPARSE, .row = 1, .count = 1, .indices = &index, .values = vectors};
    float found[2];
    assert_ok(velta_apply(table, "v", &sparse, 1, 0, NULL, NULL), &error);
    assert_ok(velta_apply(table, "h", &sparse, 1, 0, NULL, NULL), &error);
    assert_ok(velta_get_vector(table, "h", 1, 0, found, &error), &error);
    assert_true(found[0] == 3 && found[1] == 5);
    assert_non_null(velta_vector_view(table, "v", 1)); /* nothing expires here */
    sparse.row = 2;
    assert_status(velta_apply(table, "v", &sparse, 1, 0, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "row 2 is not there"));
    sparse.row = 1;
    sparse.use_row = true;
    assert_ok(velta_apply(table, "v", &sparse, 1, 0, NULL, &error), &error);
    end_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_may_begin_anywhere),
        cmocka_unit_test(nulls_without_data_and_empty_texts),
        cmocka_unit_test(texts_without_data_are_logged),
        cmocka_unit_test(odd_batches),
        cmocka_unit_test(odd_deltas),
        cmocka_unit_test(deltas_at_the_largest_float),
        cmocka_unit_test(text_keys_of_one_batch),
        cmocka_unit_test(a_batch_of_frames_can_be_cancelled),
        cmocka_unit_test(deltas_by_row_and_by_long_keys),
        cmocka_unit_test(refused_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
