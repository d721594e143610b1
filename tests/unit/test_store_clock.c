/*
 * A clock that is turned back does not turn time back; amounts that are no numbers are refused as such, each with its
 * place in the batch.
 */
#include <math.h>

#include "tests/unit/store_testing.h"

struct world {
    int64_t now_ms;
    velta *db;
    velta_table *table;
};

static int set_up(void **state) {
    static struct world world;
    struct velta_options options = {.now_ms = sample_clock, .now_context = &world.now_ms};
    world.now_ms = 1000;
    world.db = sample_open(&options, NULL, &world.table);
    sample_insert(world.table, 1, 4, 1);
    *state = &world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    assert_ok(velta_close(world->db, &error), &error);
    return 0;
}

static void a_clock_turned_back_changes_nothing(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    int64_t id = 2, ends_ms = 2500, size = -77;
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = &id}, 1, &ends_ms, &error), &error);
    world->now_ms = 3000;
    sample_insert(world->table, 10, 1, 2); /* the last change is of 3000 */
    assert_int_equal(row_of(world->table, 2), VELTA_NO_ROW);
    world->now_ms = 1500; /* the row would live again */
    assert_int_equal(row_of(world->table, 2), VELTA_NO_ROW);
    /* A change made now is of 3000, not of 1500: an earlier time does not show it. */
    id = 1;
    uint32_t row = row_of(world->table, 1);
    int64_t old_size = int_of(world->table, row, "size", 0);
    struct velta_values values = {.column = "size", .data = &size};
    assert_ok(velta_update(world->table, &(struct velta_keys){.ints = &id}, 1, &values, 1, NULL, &error), &error);
    assert_int_equal(int_of(world->table, row, "size", 0), -77);
    assert_int_equal(int_of(world->table, row, "size", 2999), old_size);
    assert_int_equal(int_of(world->table, row, "size", 3000), -77);
    uint32_t deleted = 0;
    assert_ok(velta_expire(world->table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 1); /* it expired by the time that the store has seen */
    assert_verifies(world->db);
}

static void the_next_expiry_is_told(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    const uint32_t rows[] = {0, 1, 2, 3, 77, UINT32_MAX};
    assert_int_equal(velta_next_expiry(world->table, rows, 6), INT64_MAX);
    int64_t ids[] = {1, 2, 3}, ends_ms[] = {4000, 2500, INT64_MAX};
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = ids}, 3, ends_ms, &error), &error);
    assert_int_equal(velta_next_expiry(world->table, rows, 6), 2500);
    assert_int_equal(velta_next_expiry(world->table, rows, 0), INT64_MAX);
    uint32_t first = row_of(world->table, 1), third = row_of(world->table, 3);
    assert_int_equal(velta_next_expiry(world->table, &first, 1), 4000);
    assert_int_equal(velta_next_expiry(world->table, &third, 1), INT64_MAX);
    world->now_ms = 3000;
    uint32_t deleted = 0;
    assert_ok(velta_expire(world->table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 1);
    assert_int_equal(velta_next_expiry(world->table, rows, 6), 4000);
    assert_ok(velta_table_drop(world->table, &error), &error);
    assert_int_equal(velta_next_expiry(world->table, rows, 6), INT64_MAX);
}

static void amounts_are_numbers(void **state) {
    struct world *world = *state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct velta_error error = {0};
    uint64_t before = digest(world->db);
    for (int operation = VELTA_DELTA_SCALE; operation <= VELTA_DELTA_OFFSET; operation++)
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            struct velta_delta deltas[] = {
                {.operation = VELTA_DELTA_OFFSET, .key_int = 1, .amount = 1},
                {.operation = (enum velta_operation)operation, .key_int = 2, .amount = bad[i]},
            };
            assert_status(velta_apply(world->table, "v", deltas, 2, 0, NULL, &error), VELTA_NOT_FINITE);
            assert_int_equal(error.offset, 1);
            assert_non_null(strstr(error.text, "the amount is not finite"));
            assert_true(digest(world->db) == before);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_clock_turned_back_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_expiry_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(amounts_are_numbers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
