/* Compaction: what goes is gone from the bytes, what stays reads as before, now and in the past. */
#define _GNU_SOURCE /* memmem */
#include "tests/unit/store_testing.h"

struct world {
    velta *db;
    velta_table *table;
    int64_t now_ms;
    const char *path; /* NULL: in memory */
    struct velta_options options;
};

static void make_world(struct world *world, bool in_file) {
    *world = (struct world){.now_ms = 1000};
    world->options = (struct velta_options){.now_ms = sample_clock, .now_context = &world->now_ms};
    if (in_file) world->path = test_path(test_folder(), "compact.velta");
    world->db = sample_open(&world->options, world->path, &world->table);
}

static void end_world(struct world *world) {
    struct velta_error error = {0};
    assert_ok(velta_close(world->db, &error), &error);
}

static void reopen(struct world *world) {
    struct velta_error error = {0};
    if (!world->path) return;
    uint64_t before = digest(world->db);
    end_world(world);
    world->db = sample_open(&world->options, world->path, &world->table);
    assert_true(digest(world->db) == before);
    assert_ok(velta_table_find(world->db, "t", &world->table, &error), &error);
}

static void compact(struct world *world, const struct velta_compact_options *options,
                    struct velta_compact_stats *stats) {
    struct velta_error error = {0};
    assert_ok(velta_compact(world->db, options, stats, &error), &error);
    assert_verifies(world->db);
    reopen(world);
}

static void delete_ids(struct world *world, int64_t first, int64_t end) {
    struct velta_error error = {0};
    for (int64_t id = first; id < end; id++)
        assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = &id}, 1, NULL, &error), &error);
}

static bool file_has(const char *path, const void *bytes, size_t size_bytes) {
    size_t file_bytes;
    uint8_t *file = test_read_file(path, &file_bytes);
    bool found = memmem(file, file_bytes, bytes, size_bytes) != NULL;
    free(file);
    return found;
}

static void rows_are_renumbered_and_read_as_before(void **state) {
    for (int in_file = 0; in_file <= 1; in_file++) {
        struct world world;
        struct velta_error error = {0};
        struct velta_compact_stats stats;
        (void)state;
        make_world(&world, in_file);
        sample_insert(world.table, 0, 1000, 1);
        assert_ok(velta_index(world.db, 0, NULL, NULL, &error), &error);
        delete_ids(&world, 100, 400);
        float codes_before[SAMPLE_DIMENSIONS];
        assert_ok(velta_get_vector(world.table, "c", 900, 0, codes_before, &error), &error);
        int64_t made = int_of(world.table, 900, "made", 0);
        assert_ok(velta_checkpoint(world.db, NULL, &error), &error);
        compact(&world, NULL, &stats);
        assert_int_equal(stats.rows_dropped, 300);
        if (in_file) assert_true(stats.bytes_after < stats.bytes_before);
        assert_int_equal(velta_row_count(world.table), 700);
        assert_int_equal(row_of(world.table, 900), 600);
        assert_int_equal(row_of(world.table, 99), 99);
        assert_int_equal(row_of(world.table, 100), VELTA_NO_ROW);
        assert_int_equal(int_of(world.table, 600, "made", 0), made);
        float vector[SAMPLE_DIMENSIONS];
        assert_ok(velta_get_vector(world.table, "c", 600, 0, vector, &error), &error);
        for (int i = 0; i < SAMPLE_DIMENSIONS; i++)
            assert_true(vector[i] - codes_before[i] < 1e-5F && codes_before[i] - vector[i] < 1e-5F);
        struct velta_stats now;
        velta_get_stats(world.db, &now);
        assert_int_equal(now.index_pending, 0);
        sample_insert(world.table, 5000, 50, 3);
        assert_int_equal(row_of(world.table, 5000), 700);
        compact(&world, NULL, &stats);
        assert_int_equal(stats.rows_dropped, 0);
        assert_int_equal(row_of(world.table, 5049), 749);
        assert_verifies(world.db);
        end_world(&world);
    }
}

static void what_was_deleted_is_in_no_byte(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    make_world(&world, true);
    sample_insert(world.table, 0, 500, 1);
    char log_path[4096];
    snprintf(log_path, sizeof log_path, "%s-log", world.path);

    float secret[SAMPLE_DIMENSIONS] = {0.123F, -7.25F, 42.5F, 3.5F, -0.001F, 9, 10.125F, -3};
    float changed[SAMPLE_DIMENSIONS];
    static const char text[] = "a very secret sentence, once only";
    int64_t ids[] = {7001, 7002};
    float both[2 * SAMPLE_DIMENSIONS];
    memcpy(both, secret, sizeof secret);
    memcpy(both + SAMPLE_DIMENSIONS, secret, sizeof secret);
    both[SAMPLE_DIMENSIONS] = 77.7F;
    memcpy(changed, both + SAMPLE_DIMENSIONS, sizeof changed);
    struct velta_values values[] = {
        {.column = "id", .data = ids},
        {.column = "word", .data = text, .offsets = (uint64_t[]){0, sizeof text - 1, sizeof text - 1}},
        {.column = "v", .data = both},
    };
    assert_ok(velta_insert(world.table, values, 3, 2, NULL, NULL, &error), &error);
    assert_ok(velta_checkpoint(world.db, NULL, &error), &error);
    assert_true(file_has(world.path, secret, sizeof secret));
    assert_true(file_has(world.path, changed, sizeof changed));
    assert_true(file_has(world.path, text, sizeof text - 1));
    /* One row is deleted, the vector of the other one is replaced: its past is in the history. */
    delete_ids(&world, 7001, 7002);
    float zero[SAMPLE_DIMENSIONS] = {1};
    struct velta_delta set = {
        .operation = VELTA_DELTA_DENSE, .set = true, .key_int = 7002, .count = SAMPLE_DIMENSIONS, .values = zero};
    assert_ok(velta_apply(world.table, "v", &set, 1, 0, NULL, &error), &error);
    assert_ok(velta_checkpoint(world.db, NULL, &error), &error);
    assert_true(file_has(world.path, secret, sizeof secret));
    struct velta_compact_stats stats;
    assert_ok(velta_compact(world.db, NULL, &stats, &error), &error);
    for (int after_closing = 0; after_closing <= 1; after_closing++) {
        assert_false(file_has(world.path, secret, sizeof secret));
        assert_false(file_has(world.path, changed, sizeof changed));
        assert_false(file_has(world.path, text, sizeof text - 1));
        assert_false(file_has(log_path, secret, sizeof secret));
        assert_false(file_has(log_path, text, sizeof text - 1));
        if (!after_closing) reopen(&world);
    }
    assert_verifies(world.db);
    end_world(&world);
}

static void kept_history_is_read_as_before(void **state) {
    (void)state;
    for (int in_file = 0; in_file <= 1; in_file++) {
        struct world world;
        struct velta_error error = {0};
        make_world(&world, in_file);
        sample_insert(world.table, 0, 100, 1);
        float first[SAMPLE_DIMENSIONS];
        float then[SAMPLE_DIMENSIONS];
        float vector[SAMPLE_DIMENSIONS];
        assert_ok(velta_get_vector(world.table, "v", 5, 0, first, &error), &error);
        assert_ok(velta_tag(world.db, "first", &error), &error);
        struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 1.5F};
        for (int i = 0; i < 8; i++) {
            world.now_ms += 1000; /* 2000 .. 9000 */
            assert_ok(velta_apply(world.table, "v", &scale, 1, 0, NULL, &error), &error);
            if (world.now_ms == 6000) assert_ok(velta_get_vector(world.table, "v", 5, 0, then, &error), &error);
        }
        delete_ids(&world, 0, 3); /* before 5, so its number changes */
        world.now_ms = 10000;
        delete_ids(&world, 50, 51);
        world.now_ms = 11000;
        static const char *const tags[] = {"first"};
        struct velta_compact_options options = {.keep_since_ms = 6500, .keep_tags = tags, .keep_tag_count = 1};
        struct velta_compact_stats stats;
        compact(&world, &options, &stats);
        assert_int_equal(stats.rows_dropped, 0); /* all were alive at the tag */
        uint32_t row = row_of(world.table, 5);
        assert_ok(velta_get_vector(world.table, "v", row, 6500, vector, &error), &error);
        test_assert_bytes(vector, then, sizeof vector, "kept since");
        assert_ok(velta_get_vector(world.table, "v", row, 1000, vector, &error), &error);
        test_assert_bytes(vector, first, sizeof vector, "kept by the tag");
        assert_status(velta_get_vector(world.table, "v", row, 4500, vector, &error), VELTA_HISTORY_GONE);
        assert_int_equal(row_of(world.table, 50), VELTA_NO_ROW);
        int64_t id = 50;
        uint32_t past_row;
        assert_ok(velta_find(world.table, &(struct velta_keys){.ints = &id}, 1, 9500, &past_row, &error), &error);
        assert_true(past_row != VELTA_NO_ROW);

        options = (struct velta_compact_options){.keep_since_ms = 9500};
        compact(&world, &options, &stats);
        assert_int_equal(stats.rows_dropped, 3);
        assert_ok(velta_find(world.table, &(struct velta_keys){.ints = &id}, 1, 9500, &past_row, &error), &error);
        assert_true(past_row != VELTA_NO_ROW);
        assert_status(velta_get_vector(world.table, "v", row_of(world.table, 5), 1000, vector, &error),
                      VELTA_HISTORY_GONE);

        options = (struct velta_compact_options){.keep_since_ms = INT64_MIN};
        compact(&world, &options, &stats);
        assert_int_equal(stats.rows_dropped, 0);
        compact(&world, NULL, &stats);
        assert_int_equal(stats.rows_dropped, 1);
        assert_status(velta_find(world.table, &(struct velta_keys){.ints = &id}, 1, 9500, &past_row, &error),
                      VELTA_HISTORY_GONE);
        end_world(&world);
    }
}

static void open_iterators_hold_it_off(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    velta_iterator *iterator = NULL;
    make_world(&world, false);
    sample_insert(world.table, 0, 10, 1);
    assert_ok(velta_iterate(world.table, NULL, NULL, 0, 0, &iterator, &error), &error);
    uint64_t before = digest(world.db);
    assert_status(velta_compact(world.db, NULL, NULL, &error), VELTA_BUSY);
    assert_status(velta_table_drop(world.table, &error), VELTA_BUSY);
    assert_true(digest(world.db) == before);
    velta_iterator_close(iterator);
    assert_ok(velta_compact(world.db, NULL, NULL, &error), &error);
    static const char *const tags[] = {"none"};
    struct velta_compact_options options = {.keep_tags = tags, .keep_tag_count = 1};
    assert_status(velta_compact(world.db, &options, NULL, &error), VELTA_NOT_FOUND);
    end_world(&world);
}

static bool never(void *context, uint64_t done, uint64_t total) {
    (void)context;
    (void)done;
    (void)total;
    return false;
}

static void a_cancelled_compaction_changes_nothing(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    make_world(&world, true);
    sample_insert(world.table, 0, 3000, 1);
    delete_ids(&world, 10, 20);
    uint64_t before = digest(world.db);
    struct velta_compact_options options = {.progress = {.report = never}};
    assert_status(velta_compact(world.db, &options, NULL, &error), VELTA_CANCELLED);
    assert_true(digest(world.db) == before);
    sample_insert(world.table, 10, 1, 1);
    reopen(&world);
    end_world(&world);
}

static void note_renumbered(void *context, const struct velta_change *change) {
    uint32_t *count = context;
    *count += change->kind == VELTA_CHANGE_RENUMBERED;
}

static void several_tables_and_dropped_ones(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    velta_table *second;
    velta_table *third;
    uint32_t renumbered = 0;
    make_world(&world, true);
    assert_ok(velta_table_create(world.db, "second", sample_schema, SAMPLE_COLUMNS, &second, &error), &error);
    assert_ok(velta_table_create(world.db, "third", sample_schema, SAMPLE_COLUMNS, &third, &error), &error);
    sample_insert(world.table, 0, 100, 1);
    sample_insert(second, 0, 200, 2);
    sample_insert(third, 0, 300, 3);
    delete_ids(&world, 10, 20);
    assert_ok(velta_table_drop(second, &error), &error);
    assert_true(velta_watch(world.db, note_renumbered, &renumbered) != 0);
    struct velta_compact_stats stats;
    assert_ok(velta_compact(world.db, NULL, &stats, &error), &error);
    assert_int_equal(renumbered, 1);
    assert_int_equal(velta_row_count(world.table), 90);
    assert_int_equal(velta_row_count(third), 300);
    /* Handles stay valid, and writes go on. */
    sample_insert(third, 1000, 5, 1);
    sample_insert(world.table, 1000, 5, 1);
    reopen(&world);
    assert_ok(velta_table_find(world.db, "third", &third, &error), &error);
    assert_int_equal(velta_row_count(third), 305);
    assert_verifies(world.db);
    end_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_renumbered_and_read_as_before), cmocka_unit_test(what_was_deleted_is_in_no_byte),
        cmocka_unit_test(kept_history_is_read_as_before),         cmocka_unit_test(open_iterators_hold_it_off),
        cmocka_unit_test(a_cancelled_compaction_changes_nothing), cmocka_unit_test(several_tables_and_dropped_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
