/* Writing through the public interface: batches all or none, errors that name the place, deltas, expiry, tags. */
#include "tests/unit/store_testing.h"

#include <math.h>

struct world {
    velta *db;
    velta_table *table;
    int64_t now_ms;
};

static int open_world(void **state) {
    struct world *world = calloc(1, sizeof *world);
    world->now_ms = 1000;
    struct velta_options options = {.now_ms = sample_clock, .now_context = &world->now_ms};
    world->db = sample_open(&options, NULL, &world->table);
    *state = world;
    return 0;
}

static int close_world(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    assert_verifies(world->db);
    assert_ok(velta_close(world->db, &error), &error);
    free(world);
    return 0;
}

static void inserts_are_found_again(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    struct velta_write_stats stats;
    struct sample sample;
    sample_make(&sample, 100, 500, 1);
    assert_ok(velta_insert(world->table, sample.values, SAMPLE_COLUMNS, 500, NULL, &stats, &error), &error);
    assert_int_equal(stats.first_row, 0);
    assert_int_equal(stats.inserted, 500);
    assert_int_equal(stats.updated, 0);
    assert_int_equal(velta_row_count(world->table), 500);
    for (uint32_t i = 0; i < 500; i += 17) {
        uint32_t row = row_of(world->table, 100 + i);
        assert_int_equal(row, i);
        assert_int_equal(int_of(world->table, row, "made", 0), sample.made[i]);
        assert_int_equal(is_null(world->table, row, "size"), i % 7 == 6);
        float vector[SAMPLE_DIMENSIONS];
        enum velta_status status = velta_get_vector(world->table, "v", row, 0, vector, &error);
        assert_status(status, i % 7 == 6 ? VELTA_NOT_FOUND : VELTA_OK);
        if (!status) test_assert_bytes(vector, sample.vectors + i * SAMPLE_DIMENSIONS, sizeof vector, "vector");
    }
    sample_free(&sample);
}

static void a_batch_of_nothing_changes_nothing(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    struct velta_write_stats stats;
    uint64_t before = digest(world->db);
    assert_ok(velta_insert(world->table, NULL, 0, 0, NULL, &stats, &error), &error);
    assert_int_equal(stats.first_row, VELTA_NO_ROW);
    assert_ok(velta_apply(world->table, "v", NULL, 0, 0, NULL, &error), &error);
    uint32_t deleted = 7;
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = (int64_t[]){1}}, 1, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
    assert_true(digest(world->db) == before);
}

/* Tries a batch that must be refused with this status and offset, and leave everything as it was. */
static void refuse(struct world *world, const struct velta_values *values, size_t value_count, uint32_t row_count,
                   enum velta_write_mode mode, enum velta_status status, uint64_t offset) {
    struct velta_error error = {.offset = 4711};
    struct velta_write_options options = {.mode = mode};
    uint64_t before = digest(world->db);
    assert_status(velta_insert(world->table, values, value_count, row_count, &options, NULL, &error), status);
    assert_int_equal(error.code, status);
    assert_true(error.text[0] != '\0');
    if (error.offset != offset)
        fail_msg("offset %llu instead of %llu: %s", (unsigned long long)error.offset, (unsigned long long)offset,
                 error.text);
    assert_true(digest(world->db) == before);
}

static void bad_batches_are_refused_whole(void **state) {
    struct world *world = *state;
    struct sample s;
    sample_insert(world->table, 0, 100, 1);
    sample_make(&s, 1000, 130, 2);
    struct velta_values *id = &s.values[0];
    struct velta_values both[2] = {*id, s.values[7]};

    s.ids[77] = 50; /* is in the table */
    refuse(world, id, 1, 130, VELTA_INSERT, VELTA_EXISTS, 77);
    s.ids[77] = 1003; /* is in the batch */
    refuse(world, id, 1, 130, VELTA_INSERT, VELTA_EXISTS, 77);
    s.ids[77] = 1077;

    float kept = s.vectors[70 * SAMPLE_DIMENSIONS + 3];
    s.vectors[70 * SAMPLE_DIMENSIONS + 3] = NAN;
    refuse(world, both, 2, 130, VELTA_INSERT, VELTA_NOT_FINITE, 70);
    refuse(world, both, 2, 130, VELTA_UPSERT, VELTA_NOT_FINITE, 70);
    s.vectors[70 * SAMPLE_DIMENSIONS + 3] = kept;

    struct velta_values no_key = s.values[2];
    refuse(world, &no_key, 1, 5, VELTA_INSERT, VELTA_NOT_NULL, 0);
    refuse(world, &no_key, 1, 5, VELTA_UPSERT, VELTA_NOT_NULL, 0);
    uint64_t key_valid[3] = {~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0)};
    key_valid[1] &= ~UINT64_C(2);
    struct velta_values null_key = {.column = "id", .data = s.ids, .valid = key_valid};
    refuse(world, &null_key, 1, 130, VELTA_INSERT, VELTA_NOT_NULL, 65);

    struct velta_values unknown[2] = {*id, {.column = "nothing", .data = s.ids}};
    refuse(world, unknown, 2, 5, VELTA_INSERT, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET);
    struct velta_values twice[2] = {*id, *id};
    refuse(world, twice, 2, 5, VELTA_INSERT, VELTA_INVALID, VELTA_NO_OFFSET);
    struct velta_values codes[2] = {*id, {.column = "v", .data = s.vectors, .element = VELTA_CODES}};
    refuse(world, codes, 2, 5, VELTA_INSERT, VELTA_INVALID, VELTA_NO_OFFSET);
    refuse(world, id, 1, 5, (enum velta_write_mode)9, VELTA_INVALID, VELTA_NO_OFFSET);
    refuse(world, id, 1, UINT32_MAX, VELTA_INSERT, VELTA_LIMIT, VELTA_NO_OFFSET);

    char bad_text[] = "fine\xFFno";
    uint64_t bad_offsets[3] = {0, 4, 7};
    struct velta_values text[2] = {*id, {.column = "word", .data = bad_text, .offsets = bad_offsets}};
    refuse(world, text, 2, 2, VELTA_INSERT, VELTA_TYPE, 1);
    sample_free(&s);
}

static void reserved_options_must_be_zero(void **state) {
    struct world *world = *state;
    int64_t id = 1;
    struct velta_values values = {.column = "id", .data = &id};
    struct velta_write_options options = {.reserved = {0, 0, 1, 0}};
    assert_status(velta_insert(world->table, &values, 1, 1, &options, NULL, NULL), VELTA_INVALID);
    struct velta_options open_options = {.reserved = {1, 0, 0, 0}};
    velta *db;
    assert_status(velta_open(NULL, &open_options, &db, NULL), VELTA_INVALID);
    open_options = (struct velta_options){.durability = (enum velta_durability)7};
    assert_status(velta_open(NULL, &open_options, &db, NULL), VELTA_INVALID);
    open_options = (struct velta_options){.simd = "abacus"};
    assert_status(velta_open(NULL, &open_options, &db, NULL), VELTA_INVALID);
    assert_null(db);
    struct velta_compact_options compact = {.reserved = {0, 1, 0, 0}};
    assert_status(velta_compact(world->db, &compact, NULL, NULL), VELTA_INVALID);
}

static void upserts_update_what_is_there(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    struct velta_write_stats stats;
    sample_insert(world->table, 0, 10, 1);
    int64_t made_before = int_of(world->table, 3, "made", 0);
    /* 3 is there, 20 and 21 are new; 20 and 3 come twice and mean their last values. */
    int64_t ids[] = {20, 3, 21, 3, 20};
    int64_t sizes[] = {1, 2, 3, 4, 5};
    float vectors[5 * SAMPLE_DIMENSIONS];
    for (int i = 0; i < 5 * SAMPLE_DIMENSIONS; i++)
        vectors[i] = (float)(i + 1);
    struct velta_values values[] = {
        {.column = "id", .data = ids}, {.column = "size", .data = sizes}, {.column = "v", .data = vectors}};
    struct velta_write_options options = {.mode = VELTA_UPSERT};
    assert_ok(velta_insert(world->table, values, 3, 5, &options, &stats, &error), &error);
    assert_int_equal(stats.inserted, 2);
    assert_int_equal(stats.updated, 3);
    assert_int_equal(stats.first_row, 10);
    assert_int_equal(row_of(world->table, 20), 10);
    assert_int_equal(row_of(world->table, 21), 11);
    assert_int_equal(int_of(world->table, 10, "size", 0), 5);
    assert_int_equal(int_of(world->table, 11, "size", 0), 3);
    assert_int_equal(int_of(world->table, 3, "size", 0), 4);
    assert_int_equal(int_of(world->table, 3, "made", 0), made_before);
    assert_true(is_null(world->table, 10, "made"));
    float vector[SAMPLE_DIMENSIONS];
    assert_ok(velta_get_vector(world->table, "v", 3, 0, vector, &error), &error);
    test_assert_bytes(vector, vectors + 3 * SAMPLE_DIMENSIONS, sizeof vector, "upserted vector");
    assert_int_equal(velta_live_count(world->table), 12);
}

static void updates_set_columns_and_leave_the_rest(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 200, 1);
    int64_t ids[] = {150, 3, 7, 150};
    int64_t sizes[] = {-1, -2, -3, -4};
    uint64_t valid = 0xB; /* the third becomes NULL */
    struct velta_values values = {.column = "size", .data = sizes, .valid = &valid};
    uint64_t sequence = 0;
    assert_ok(velta_update(world->table, &(struct velta_keys){.ints = ids}, 4, &values, 1, &sequence, &error), &error);
    assert_true(sequence > 0);
    assert_int_equal(int_of(world->table, 150, "size", 0), -4);
    assert_int_equal(int_of(world->table, 3, "size", 0), -2);
    assert_true(is_null(world->table, 7, "size"));

    uint64_t before = digest(world->db);
    ids[2] = 9999;
    assert_status(velta_update(world->table, &(struct velta_keys){.ints = ids}, 4, &values, 1, NULL, &error),
                  VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 2);
    struct velta_values key = {.column = "id", .data = sizes};
    assert_status(velta_update(world->table, &(struct velta_keys){.ints = ids}, 1, &key, 1, NULL, &error),
                  VELTA_INVALID);
    uint32_t rows[] = {4, 200};
    assert_status(velta_update(world->table, &(struct velta_keys){.rows = rows}, 2, &values, 1, NULL, &error),
                  VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 1);
    assert_true(digest(world->db) == before);
}

static void vectors_become_null_and_come_back(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 5, 1);
    static const char *const columns[] = {"v", "h", "c"};
    for (size_t i = 0; i < 3; i++) {
        int64_t id = 2;
        float vector[SAMPLE_DIMENSIONS] = {1, 2, 3, 4, 5, 6, 7, 8};
        float back[SAMPLE_DIMENSIONS];
        uint64_t none = 0;
        struct velta_keys key = {.ints = &id};
        struct velta_values null = {.column = columns[i], .data = vector, .valid = &none};
        struct velta_values some = {.column = columns[i], .data = vector};
        assert_ok(velta_update(world->table, &key, 1, &null, 1, NULL, &error), &error);
        assert_status(velta_get_vector(world->table, columns[i], 2, 0, back, &error), VELTA_NOT_FOUND);
        struct velta_delta delta = {.operation = VELTA_DELTA_SCALE, .key_int = 2, .amount = 2};
        assert_status(velta_apply(world->table, columns[i], &delta, 1, 0, NULL, &error), VELTA_NOT_FOUND);
        assert_ok(velta_update(world->table, &key, 1, &some, 1, NULL, &error), &error);
        assert_ok(velta_get_vector(world->table, columns[i], 2, 0, back, &error), &error);
        for (int d = 0; d < SAMPLE_DIMENSIONS; d++)
            assert_true(fabsf(back[d] - vector[d]) < 0.04F);
        assert_ok(velta_apply(world->table, columns[i], &delta, 1, 0, NULL, &error), &error);
        assert_ok(velta_get_vector(world->table, columns[i], 2, 0, back, &error), &error);
        for (int d = 0; d < SAMPLE_DIMENSIONS; d++)
            assert_true(fabsf(back[d] - 2 * vector[d]) < 0.1F);
    }
}

static void deletes_free_the_key(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 50, 1);
    int64_t ids[] = {30, 5, 30, 777, 6};
    uint32_t deleted = 0;
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = ids}, 5, &deleted, &error), &error);
    assert_int_equal(deleted, 3);
    assert_int_equal(velta_live_count(world->table), 47);
    assert_int_equal(velta_row_count(world->table), 50);
    assert_int_equal(row_of(world->table, 30), VELTA_NO_ROW);
    sample_insert(world->table, 30, 1, 3);
    assert_int_equal(row_of(world->table, 30), 50);
}

static void expired_rows_are_gone_for_writers(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 20, 1);
    int64_t ids[] = {4, 9, 4};
    int64_t times[] = {1, 5000, 3000};
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = ids}, 3, times, &error), &error);
    world->now_ms = 2000;
    assert_int_equal(row_of(world->table, 4), 4);
    world->now_ms = 3000;
    struct velta_values size = {.column = "size", .data = times};
    assert_status(velta_update(world->table, &(struct velta_keys){.ints = ids}, 1, &size, 1, NULL, &error),
                  VELTA_NOT_FOUND);
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 4, .amount = 2};
    assert_status(velta_apply(world->table, "v", &scale, 1, 0, NULL, &error), VELTA_NOT_FOUND);
    uint32_t deleted = 9;
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = ids}, 1, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
    assert_int_equal(velta_live_count(world->table), 20);
    sample_insert(world->table, 4, 1, 5); /* takes the place of the expired one */
    assert_int_equal(row_of(world->table, 4), 20);
    assert_int_equal(velta_live_count(world->table), 20);
    world->now_ms = 10000;
    float vector[SAMPLE_DIMENSIONS] = {1};
    struct velta_delta create = {
        .operation = VELTA_DELTA_CREATE, .key_int = 9, .count = SAMPLE_DIMENSIONS, .values = vector};
    assert_ok(velta_apply(world->table, "v", &create, 1, 0, NULL, &error), &error);
    assert_int_equal(row_of(world->table, 9), 21);
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = ids}, 2, times, &error), &error);
    assert_ok(velta_expire(world->table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 2);
    assert_int_equal(velta_live_count(world->table), 18);
    assert_ok(velta_expire(world->table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
}

static void deltas_do_what_they_say(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 4, 1);
    float expected[SAMPLE_DIMENSIONS];
    assert_ok(velta_get_vector(world->table, "v", 1, 0, expected, &error), &error);
    uint32_t indices[] = {1, 5};
    float values[] = {0.5F, -2};
    float dense[SAMPLE_DIMENSIONS] = {1, 0, 1, 0, 1, 0, 1, 0};
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_SPARSE, .key_int = 1, .count = 2, .indices = indices, .values = values},
        {.operation = VELTA_DELTA_DENSE, .key_int = 1, .count = SAMPLE_DIMENSIONS, .values = dense},
        {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 3},
        {.operation = VELTA_DELTA_OFFSET, .key_int = 1, .amount = 0.25F},
        {.operation = VELTA_DELTA_SPARSE,
         .set = true,
         .row = 1,
         .use_row = true,
         .count = 1,
         .indices = indices,
         .values = values},
        {.operation = VELTA_DELTA_DENSE, .set = true, .key_int = 2, .count = SAMPLE_DIMENSIONS, .values = dense},
    };
    uint64_t ids[6];
    struct velta_stats stats;
    velta_get_stats(world->db, &stats);
    assert_ok(velta_apply(world->table, "v", deltas, 6, 0, ids, &error), &error);
    for (uint64_t i = 0; i < 6; i++)
        assert_int_equal(ids[i], stats.sequence + 1 + i);
    expected[1] += 0.5F;
    expected[5] += -2;
    for (int i = 0; i < SAMPLE_DIMENSIONS; i++) {
        expected[i] += dense[i];
        expected[i] *= 3;
        expected[i] += 0.25F;
    }
    expected[1] = 0.5F;
    float vector[SAMPLE_DIMENSIONS];
    assert_ok(velta_get_vector(world->table, "v", 1, 0, vector, &error), &error);
    test_assert_bytes(vector, expected, sizeof vector, "changed vector");
    assert_ok(velta_get_vector(world->table, "v", 2, 0, vector, &error), &error);
    test_assert_bytes(vector, dense, sizeof vector, "set vector");
}

static void a_batch_creates_changes_deletes_and_creates_again(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 3, 1);
    float one[SAMPLE_DIMENSIONS] = {1, 1, 1, 1, 1, 1, 1, 1};
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_CREATE, .key_int = 50, .count = SAMPLE_DIMENSIONS, .values = one},
        {.operation = VELTA_DELTA_SCALE, .key_int = 50, .amount = 4},
        {.operation = VELTA_DELTA_DELETE, .key_int = 50},
        {.operation = VELTA_DELTA_DELETE, .key_int = 2},
        {.operation = VELTA_DELTA_CREATE,
         .key_int = 50,
         .count = SAMPLE_DIMENSIONS,
         .values = one,
         .metadata = "note",
         .metadata_bytes = 4},
        {.operation = VELTA_DELTA_CREATE, .key_int = 2, .count = SAMPLE_DIMENSIONS, .values = one},
        {.operation = VELTA_DELTA_OFFSET, .key_int = 50, .amount = 1},
        {.operation = VELTA_DELTA_OFFSET, .key_int = 2, .amount = 2},
        {.operation = VELTA_DELTA_OFFSET, .row = 4, .use_row = true, .amount = 1},
    };
    uint64_t ids[9];
    assert_ok(velta_apply(world->table, "v", deltas, 9, 0, ids, &error), &error);
    for (int i = 1; i < 9; i++)
        assert_true(ids[i] > ids[i - 1]);
    assert_int_equal(row_of(world->table, 50), 4);
    assert_int_equal(row_of(world->table, 2), 5);
    assert_int_equal(velta_live_count(world->table), 4);
    float vector[SAMPLE_DIMENSIONS];
    assert_ok(velta_get_vector(world->table, "v", 4, 0, vector, &error), &error);
    assert_true(vector[3] == 3);
    assert_ok(velta_get_vector(world->table, "v", 5, 0, vector, &error), &error);
    assert_true(vector[3] == 3);
}

/* A batch whose last delta must be refused; the ones before it leave no trace. */
static void refuse_delta(struct world *world, struct velta_delta delta, enum velta_status status) {
    struct velta_error error = {0};
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2},
        {.operation = VELTA_DELTA_DELETE, .key_int = 3},
        delta,
    };
    uint64_t before = digest(world->db);
    assert_status(velta_apply(world->table, "v", deltas, 3, 0, NULL, &error), status);
    assert_int_equal(error.offset, 2);
    assert_non_null(strstr(error.text, "delta 2"));
    assert_true(digest(world->db) == before);
}

static void bad_deltas_are_refused_whole(void **state) {
    struct world *world = *state;
    sample_insert(world->table, 0, 5, 1);
    float vector[SAMPLE_DIMENSIONS] = {0, 0, 0, 0, 0, 0, 0, INFINITY};
    float huge[SAMPLE_DIMENSIONS] = {3e38F, 0, 0, 0, 0, 0, 0, 0};
    uint32_t indices[] = {2, 2};
    uint32_t beyond[] = {SAMPLE_DIMENSIONS};
    enum { N = SAMPLE_DIMENSIONS };
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key_int = 99, .amount = 1},
                 VELTA_NOT_FOUND);
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key_int = 3, .amount = 1},
                 VELTA_NOT_FOUND); /* deleted in the batch */
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key_int = 2, .amount = NAN},
                 VELTA_NOT_FINITE);
    refuse_delta(world,
                 (struct velta_delta){.operation = VELTA_DELTA_DENSE, .key_int = 2, .count = N, .values = vector},
                 VELTA_NOT_FINITE);
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_DENSE, .key_int = 2, .count = 3, .values = huge},
                 VELTA_DIMENSIONS);
    refuse_delta(world,
                 (struct velta_delta){
                     .operation = VELTA_DELTA_SPARSE, .key_int = 2, .count = 2, .indices = indices, .values = huge},
                 VELTA_INVALID);
    refuse_delta(world,
                 (struct velta_delta){
                     .operation = VELTA_DELTA_SPARSE, .key_int = 2, .count = 1, .indices = beyond, .values = huge},
                 VELTA_DIMENSIONS);
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_CREATE, .key_int = 1, .count = N, .values = huge},
                 VELTA_EXISTS);
    refuse_delta(world, (struct velta_delta){.operation = (enum velta_operation)17, .key_int = 1}, VELTA_INVALID);
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_SCALE, .row = 700, .use_row = true, .amount = 1},
                 VELTA_NOT_FOUND);
    refuse_delta(world, (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 3e38F},
                 VELTA_NOT_FINITE); /* the row has two deltas: tried on a copy */
    struct velta_error error = {0};
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 1};
    assert_status(velta_apply(world->table, "size", &scale, 1, 0, NULL, &error), VELTA_TYPE);
    assert_status(velta_apply(world->table, "none", &scale, 1, 0, NULL, &error), VELTA_UNKNOWN_COLUMN);
}

static void deltas_that_overflow_are_refused(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    float vector[SAMPLE_DIMENSIONS] = {3e38F, -3e38F, 0, 0, 0, 0, 0, 0};
    float half[SAMPLE_DIMENSIONS] = {60000, 0, 0, 0, 0, 0, 0, 0};
    int64_t id = 1;
    struct velta_values values[] = {
        {.column = "id", .data = &id}, {.column = "v", .data = vector}, {.column = "h", .data = half}};
    assert_ok(velta_insert(world->table, values, 3, 1, NULL, NULL, &error), &error);
    uint32_t index = 0;
    float amount = 1e38F;
    struct velta_delta sparse = {
        .operation = VELTA_DELTA_SPARSE, .key_int = 1, .count = 1, .indices = &index, .values = &amount};
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2};
    struct velta_delta offset = {.operation = VELTA_DELTA_OFFSET, .key_int = 1, .amount = -1e38F};
    uint64_t before = digest(world->db);
    assert_status(velta_apply(world->table, "v", &sparse, 1, 0, NULL, &error), VELTA_NOT_FINITE);
    assert_status(velta_apply(world->table, "v", &scale, 1, 0, NULL, &error), VELTA_NOT_FINITE);
    assert_status(velta_apply(world->table, "v", &offset, 1, 0, NULL, &error), VELTA_NOT_FINITE);
    assert_status(velta_apply(world->table, "h", &scale, 1, 0, NULL, &error), VELTA_NOT_FINITE);
    assert_true(digest(world->db) == before);
    sparse.set = true;
    assert_ok(velta_apply(world->table, "v", &sparse, 1, 0, NULL, &error), &error);
}

static void tables_and_columns(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    velta_table *table = NULL;
    struct velta_column columns[] = {{.name = "k", .type = VELTA_STRING, .primary_key = true},
                                     {.name = "n", .type = VELTA_INT, .required = true}};
    uint64_t before = digest(world->db);
    assert_status(velta_table_create(world->db, "t", columns, 2, &table, &error), VELTA_EXISTS);
    assert_status(velta_table_create(world->db, "", columns, 2, &table, &error), VELTA_INVALID);
    assert_status(velta_table_create(world->db, "\xFF", columns, 2, &table, &error), VELTA_INVALID);
    assert_status(velta_table_create(world->db, "u", columns, 0, &table, &error), VELTA_INVALID);
    columns[1].name = "k";
    assert_true(velta_table_create(world->db, "u", columns, 2, &table, &error) != VELTA_OK);
    assert_null(table);
    assert_true(digest(world->db) == before);
    columns[1].name = "n";
    assert_ok(velta_table_create(world->db, "u", columns, 2, &table, &error), &error);
    assert_ptr_equal(velta_table_at(world->db, 1), table);
    assert_null(velta_table_at(world->db, 2));

    struct velta_values key = {.column = "k", .data = "ab", .offsets = (uint64_t[]){0, 1, 2}};
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    assert_status(velta_insert(table, &key, 1, 2, &upsert, NULL, &error), VELTA_NOT_NULL);
    struct velta_values both[] = {key, {.column = "n", .data = (int64_t[]){1, 2}}};
    assert_ok(velta_insert(table, both, 2, 2, &upsert, NULL, &error), &error);
    struct velta_column required = {.name = "r", .type = VELTA_INT, .required = true};
    before = digest(world->db);
    assert_true(velta_column_add(table, &required, &error) != VELTA_OK);
    assert_true(digest(world->db) == before);
    struct velta_column more[] = {
        {.name = "s", .type = VELTA_STRING},
        {.name = "w", .type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_CODES},
    };
    assert_ok(velta_column_add(table, &more[0], &error), &error);
    assert_ok(velta_column_add(table, &more[1], &error), &error);
    assert_int_equal(velta_column_count(table), 4);
    assert_true(is_null(table, 0, "s"));
    float vector[] = {1, 2, 3};
    struct velta_delta set = {
        .operation = VELTA_DELTA_CREATE, .key = "c", .key_bytes = 1, .count = 3, .values = vector};
    assert_status(velta_apply(table, "w", &set, 1, 0, NULL, &error), VELTA_NOT_NULL); /* n is required */
    struct velta_values w = {.column = "w", .data = vector};
    assert_ok(
        velta_update(table, &(struct velta_keys){.text = "b", .offsets = (uint64_t[]){0, 1}}, 1, &w, 1, NULL, &error),
        &error);
    float back[3];
    assert_ok(velta_get_vector(table, "w", 1, 0, back, &error), &error);
    assert_verifies(world->db);

    assert_ok(velta_table_drop(table, &error), &error);
    assert_status(velta_insert(table, both, 2, 2, NULL, NULL, &error), VELTA_NOT_FOUND);
    assert_null(velta_table_at(world->db, 1));
    assert_status(velta_table_find(world->db, "u", &table, &error), VELTA_NOT_FOUND);
    assert_ok(velta_table_create(world->db, "u", columns, 2, &table, &error), &error);
    assert_int_equal(velta_row_count(table), 0);
}

static void tables_without_a_key_use_row_numbers(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    velta_table *table;
    struct velta_column columns[] = {{.name = "w", .type = VELTA_VECTOR, .dimensions = 2, .no_index = true}};
    assert_ok(velta_table_create(world->db, "rows", columns, 1, &table, &error), &error);
    float vectors[] = {1, 2, 3, 4};
    struct velta_values values = {.column = "w", .data = vectors};
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    assert_status(velta_insert(table, &values, 1, 2, &upsert, NULL, &error), VELTA_INVALID);
    assert_ok(velta_insert(table, &values, 1, 2, NULL, NULL, &error), &error);
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_CREATE, .count = 2, .values = vectors},
        {.operation = VELTA_DELTA_SCALE, .row = 2, .amount = 2},
        {.operation = VELTA_DELTA_DELETE, .row = 0},
    };
    assert_ok(velta_apply(table, "w", deltas, 3, 0, NULL, &error), &error);
    float back[2];
    assert_ok(velta_get_vector(table, "w", 2, 0, back, &error), &error);
    assert_true(back[0] == 2 && back[1] == 4);
    int64_t id = 1;
    assert_true(velta_delete(table, &(struct velta_keys){.ints = &id}, 1, NULL, &error) != VELTA_OK);
    assert_int_equal(velta_live_count(table), 2);
}

static void tags_name_moments(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    int64_t time_ms = 0;
    sample_insert(world->table, 0, 3, 1);
    world->now_ms = 2000;
    assert_ok(velta_tag(world->db, "first", &error), &error);
    assert_ok(velta_tag(world->db, "second", &error), &error);
    world->now_ms = 3000;
    assert_ok(velta_tag(world->db, "first", &error), &error);
    assert_ok(velta_tag_time(world->db, "first", &time_ms, &error), &error);
    assert_int_equal(time_ms, 3000);
    assert_ok(velta_tag_time(world->db, "second", &time_ms, &error), &error);
    assert_int_equal(time_ms, 2000);
    assert_status(velta_tag_time(world->db, "third", &time_ms, &error), VELTA_NOT_FOUND);
    assert_status(velta_tag(world->db, "", &error), VELTA_INVALID);
}

static void time_never_goes_back(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    struct velta_stats stats;
    sample_insert(world->table, 0, 3, 1);
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2};
    assert_ok(velta_apply(world->table, "v", &scale, 1, 5000, NULL, &error), &error);
    velta_get_stats(world->db, &stats);
    assert_int_equal(stats.time_ms, 5000);
    assert_ok(velta_apply(world->table, "v", &scale, 1, 4000, NULL, &error), &error);
    velta_get_stats(world->db, &stats);
    assert_int_equal(stats.time_ms, 5000);
    sample_insert(world->table, 10, 3, 1);
    velta_get_stats(world->db, &stats);
    assert_int_equal(stats.time_ms, 5000);
}

static void the_past_is_read(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 10, 1);
    float before[SAMPLE_DIMENSIONS];
    float vector[SAMPLE_DIMENSIONS];
    assert_ok(velta_get_vector(world->table, "v", 1, 0, before, &error), &error);
    int64_t size_before = int_of(world->table, 1, "size", 0);
    world->now_ms = 2000;
    struct velta_delta scale[] = {{.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2},
                                  {.operation = VELTA_DELTA_OFFSET, .key_int = 1, .amount = 2}};
    assert_ok(velta_apply(world->table, "v", scale, 2, 0, NULL, &error), &error);
    int64_t id = 1;
    int64_t size = 77;
    struct velta_values values = {.column = "size", .data = &size};
    assert_ok(velta_update(world->table, &(struct velta_keys){.ints = &id}, 1, &values, 1, NULL, &error), &error);
    world->now_ms = 3000;
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = &id}, 1, NULL, &error), &error);
    world->now_ms = 4000;
    assert_int_equal(int_of(world->table, 1, "size", 1500), size_before);
    assert_int_equal(int_of(world->table, 1, "size", 2500), 77);
    assert_ok(velta_get_vector(world->table, "v", 1, 1500, vector, &error), &error);
    test_assert_bytes(vector, before, sizeof vector, "past vector");
    assert_ok(velta_get_vector(world->table, "v", 1, 2500, vector, &error), &error);
    for (int i = 0; i < SAMPLE_DIMENSIONS; i++)
        assert_true(vector[i] == before[i] * 2 + 2);
    assert_status(velta_get_vector(world->table, "v", 1, 0, vector, &error), VELTA_NOT_FOUND);
}

static void note_change(void *context, const struct velta_change *change) {
    uint32_t *counts = context;
    counts[change->kind] += change->kind == VELTA_CHANGE_TABLE ? 1 : change->row_count;
    /* The database refuses to be called from here. */
    assert_status(velta_delete(change->table, &(struct velta_keys){.rows = &(uint32_t){0}}, 1, NULL, NULL), VELTA_BUSY);
}

static void deltas_carry_their_own_times(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    float before[SAMPLE_DIMENSIONS];
    float then[SAMPLE_DIMENSIONS];
    sample_insert(world->table, 0, 3, 1);
    world->now_ms = 9000;
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2, .time_ms = 2000},
        {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 4, .time_ms = 2500},
        {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 8, .time_ms = 2400}, /* counts as 2500 */
        {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 16},                 /* the call's time */
    };
    assert_ok(velta_get_vector(world->table, "v", 1, 0, before, &error), &error);
    assert_ok(velta_apply(world->table, "v", deltas, 4, 3000, NULL, &error), &error);
    static const struct {
        int64_t at_ms;
        float factor;
    } moments[] = {{1500, 1}, {2000, 2}, {2499, 2}, {2500, 64}, {2999, 64}, {3000, 1024}, {0, 1024}};
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        assert_ok(velta_get_vector(world->table, "v", 1, moments[i].at_ms, then, &error), &error);
        assert_true(then[0] == before[0] * moments[i].factor);
    }
}

static void watchers_hear_of_every_change(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    uint32_t counts[8] = {0};
    uint64_t id = velta_watch(world->db, note_change, counts);
    assert_true(id != 0);
    sample_insert(world->table, 0, 130, 1);
    struct velta_delta deltas[] = {{.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2},
                                   {.operation = VELTA_DELTA_DELETE, .key_int = 2}};
    assert_ok(velta_apply(world->table, "v", deltas, 2, 0, NULL, &error), &error);
    int64_t sizes[] = {1, 2};
    struct velta_values values = {.column = "size", .data = sizes};
    assert_ok(velta_update(world->table, &(struct velta_keys){.ints = sizes}, 1, &values, 1, NULL, &error), &error);
    assert_int_equal(counts[VELTA_CHANGE_INSERT], 130);
    assert_int_equal(counts[VELTA_CHANGE_VECTORS], 1);
    assert_int_equal(counts[VELTA_CHANGE_DELETE], 1);
    assert_int_equal(counts[VELTA_CHANGE_UPDATE], 1);
    velta_unwatch(world->db, id);
    sample_insert(world->table, 1000, 1, 1);
    assert_int_equal(counts[VELTA_CHANGE_INSERT], 130);
}

static void exports_do_not_depend_on_the_kernels(void **state) {
    (void)state;
    uint64_t first = 0;
    static const char *const names[] = {"scalar", "avx2", "avx512", "wasm128", "wasm_relaxed"};
    unsigned tried = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct world world = {.now_ms = 1000};
        struct velta_error error = {0};
        struct velta_options options = {.now_ms = sample_clock, .now_context = &world.now_ms, .simd = names[i]};
        if (velta_open(NULL, &options, &world.db, &error) == VELTA_INVALID) continue; /* not of this machine */
        assert_ok(velta_table_create(world.db, "t", sample_schema, SAMPLE_COLUMNS, &world.table, &error), &error);
        sample_insert(world.table, 0, 400, 9);
        struct velta_delta deltas[50];
        for (int d = 0; d < 50; d++)
            deltas[d] = (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key_int = d * 7, .amount = 1.1F};
        assert_ok(velta_apply(world.table, "v", deltas, 50, 0, NULL, &error), &error);
        assert_ok(velta_apply(world.table, "h", deltas, 50, 0, NULL, &error), &error);
        assert_ok(velta_apply(world.table, "c", deltas, 50, 0, NULL, &error), &error);
        uint64_t pending = 1;
        assert_ok(velta_index(world.db, 0, NULL, &pending, &error), &error);
        assert_int_equal(pending, 0);
        uint64_t now = digest(world.db);
        if (tried++ == 0) first = now;
        assert_true(now == first);
        assert_ok(velta_close(world.db, &error), &error);
    }
    assert_true(tried >= 1);
}

static void an_import_equals_its_export(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    sample_insert(world->table, 0, 300, 1);
    int64_t ids[] = {7, 8, 9};
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = ids}, 3, NULL, &error), &error);
    assert_ok(velta_tag(world->db, "here", &error), &error);
    assert_ok(velta_index(world->db, 0, NULL, NULL, &error), &error);
    sample_insert(world->table, 1000, 20, 2);
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    assert_ok(velta_export(world->db, &bytes, &size_bytes, NULL, &error), &error);
    velta *copy = NULL;
    assert_ok(velta_import(bytes, size_bytes, NULL, &copy, &error), &error);
    assert_verifies(copy);
    assert_true(digest(copy) == hash_bytes(bytes, (size_t)size_bytes));
    int64_t time_ms = 0;
    assert_ok(velta_tag_time(copy, "here", &time_ms, &error), &error);
    velta_table *table;
    assert_ok(velta_table_find(copy, "t", &table, &error), &error);
    sample_insert(table, 5000, 10, 3); /* and it can be written */
    assert_ok(velta_close(copy, &error), &error);

    /* Any cut, and damage anywhere in what is used, is refused. */
    for (uint64_t cut = 0; cut < size_bytes; cut += 1 + size_bytes / 97)
        assert_true(velta_import(bytes, cut, NULL, &copy, &error) != VELTA_OK);
    struct random random = random_seeded(3);
    for (int i = 0; i < 300; i++) {
        uint64_t place = random_below(&random, size_bytes);
        uint8_t bit = (uint8_t)(1 << random_below(&random, 8));
        bytes[place] ^= bit;
        if (velta_import(bytes, size_bytes, NULL, &copy, &error) == VELTA_OK) {
            /* Padding and the slot of the other root are not read. */
            assert_true(digest(copy) == digest(world->db));
            assert_ok(velta_close(copy, &error), &error);
        }
        bytes[place] ^= bit;
    }
    velta_export_free(world->db, bytes, size_bytes);
}

static bool stop(void *context, uint64_t done, uint64_t total) {
    (void)total;
    uint64_t *limit = context;
    return done < *limit;
}

static void exports_can_be_cancelled(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    uint8_t *bytes = (uint8_t *)1;
    uint64_t size_bytes = 1;
    uint64_t limit = 20000;
    sample_insert(world->table, 0, 1000, 1);
    struct velta_progress progress = {.report = stop, .context = &limit};
    assert_status(velta_export(world->db, &bytes, &size_bytes, &progress, &error), VELTA_CANCELLED);
    assert_null(bytes);
    assert_int_equal(size_bytes, 0);
    limit = 2;
    assert_status(velta_verify(world->db, &progress, &error), VELTA_CANCELLED);
}

static void status_words(void **state) {
    (void)state;
    assert_string_equal(velta_status_name(VELTA_HISTORY_GONE), "VELTA_HISTORY_GONE");
    assert_string_equal(velta_status_sentence(VELTA_FULL), "the storage is full");
    assert_string_equal(velta_status_name((enum velta_status)999), "unknown");
    assert_string_equal(velta_version(), VELTA_VERSION_TEXT);
}

#define world_test(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        world_test(inserts_are_found_again),
        world_test(a_batch_of_nothing_changes_nothing),
        world_test(bad_batches_are_refused_whole),
        world_test(reserved_options_must_be_zero),
        world_test(upserts_update_what_is_there),
        world_test(updates_set_columns_and_leave_the_rest),
        world_test(vectors_become_null_and_come_back),
        world_test(deletes_free_the_key),
        world_test(expired_rows_are_gone_for_writers),
        world_test(deltas_do_what_they_say),
        world_test(a_batch_creates_changes_deletes_and_creates_again),
        world_test(bad_deltas_are_refused_whole),
        world_test(deltas_that_overflow_are_refused),
        world_test(tables_and_columns),
        world_test(tables_without_a_key_use_row_numbers),
        world_test(tags_name_moments),
        world_test(time_never_goes_back),
        world_test(the_past_is_read),
        world_test(deltas_carry_their_own_times),
        world_test(watchers_hear_of_every_change),
        cmocka_unit_test(exports_do_not_depend_on_the_kernels),
        world_test(an_import_equals_its_export),
        world_test(exports_can_be_cancelled),
        cmocka_unit_test(status_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
