/*
 * Aggregates and the top rows: groups of every type, the order of groups where numbers are close, missing or NaN, sums
 * that do not fit, every refusal of a bad query, and refused memory.
 */
#include <math.h>

#include "tests/unit/store_testing.h"

enum { COLUMNS = 6, CITIES = 700 };

static const struct velta_column schema[COLUMNS] = {
    {.name = "id", .type = VELTA_INT, .primary_key = true},
    {.name = "city", .type = VELTA_STRING},
    {.name = "open", .type = VELTA_BOOL},
    {.name = "size", .type = VELTA_INT},
    {.name = "score", .type = VELTA_FLOAT},
    {.name = "blob", .type = VELTA_BYTES},
};

struct world {
    velta *db;
    velta_table *table;
};

static void make_world(struct world *world, const struct velta_allocator *allocator) {
    struct velta_options options = {.allocator = allocator, .thread_count = 1};
    struct velta_error error = {0};
    assert_ok(velta_open(NULL, &options, &world->db, &error), &error);
    assert_ok(velta_table_create(world->db, "t", schema, COLUMNS, &world->table, &error), &error);
}

static void end_world(struct world *world) {
    struct velta_error error = {0};
    assert_ok(velta_close(world->db, &error), &error);
}

/* One row; city NULL, size INT64_MIN: NULL. */
static void add(struct world *world, int64_t id, const char *city, int64_t size, double score) {
    static const uint64_t none = 0;
    struct velta_error error = {0};
    uint64_t offsets[] = {0, city ? strlen(city) : 0};
    uint8_t open = id % 2 != 0;
    struct velta_values values[] = {
        {.column = "id", .data = &id},
        {.column = "city", .data = city ? city : "", .offsets = offsets, .valid = city ? NULL : &none},
        {.column = "open", .data = &open},
        {.column = "size", .data = &size, .valid = size == INT64_MIN ? &none : NULL},
        {.column = "score", .data = &score},
    };
    assert_ok(velta_insert(world->table, values, 5, 1, NULL, NULL, &error), &error);
}

static velta_result *ask(struct world *world, enum velta_aggregate_kind kind, const char *column, const char *group_by,
                         size_t top) {
    struct velta_error error = {0};
    velta_result *result = NULL;
    struct velta_aggregate aggregate = {.kind = kind, .column = column};
    struct velta_aggregate_query query = {
        .aggregates = &aggregate, .aggregate_count = 1, .group_by = group_by, .top = top};
    assert_ok(velta_aggregate(world->table, &query, &result, &error), &error);
    return result;
}

static bool is_there(const velta_result *result, size_t column, size_t slot, struct velta_values *values) {
    assert_int_equal(velta_result_column(result, column, values, NULL), VELTA_OK);
    return values->valid[slot / 64] >> (slot % 64) & 1;
}

/* The groups of a result by city are these, in this order; NULL is "-". */
static void assert_cities(velta_result *result, const char *expected) {
    char text[256] = "";
    struct velta_values values;
    for (size_t i = 0; i < velta_result_count(result); i++) {
        bool there = is_there(result, 0, i, &values);
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%.*s", i > 0 ? " " : "",
                 there ? (int)(values.offsets[i + 1] - values.offsets[i]) : 1,
                 there ? (const char *)values.data + values.offsets[i] : "-");
    }
    assert_string_equal(text, expected);
    velta_result_free(result);
}

/* ---- groups */

static void groups_are_in_the_order_of_their_values(void **state) {
    (void)state;
    struct world world;
    struct velta_values values;
    make_world(&world, NULL);
    add(&world, 1, "ulm", 30, 1);
    add(&world, 2, NULL, -5, 2);
    add(&world, 3, "ulmen", 30, 3);
    add(&world, 4, "", INT64_MIN, 4);
    add(&world, 5, "bonn", -5, 5);
    add(&world, 6, "ulm", 7, 6);
    assert_cities(ask(&world, VELTA_COUNT, NULL, "city", 0), " bonn ulm ulmen -");
    velta_result *result = ask(&world, VELTA_SUM, "score", "size", 0);
    static const int64_t sizes[] = {-5, 7, 30};
    static const double sums[] = {7, 6, 4, 4};
    assert_int_equal(velta_result_count(result), 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(is_there(result, 0, i, &values), i < 3);
        assert_int_equal(((const int64_t *)values.data)[i], i < 3 ? sizes[i] : 0);
        assert_true(is_there(result, 1, i, &values));
        assert_true(((const double *)values.data)[i] == sums[i]);
    }
    velta_result_free(result);
    result = ask(&world, VELTA_MAX, "id", "open", 0);
    assert_int_equal(velta_result_count(result), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(is_there(result, 0, i, &values));
        assert_int_equal(((const uint8_t *)values.data)[i], i);
        assert_true(is_there(result, 1, i, &values));
        assert_int_equal(((const int64_t *)values.data)[i], i == 0 ? 6 : 5);
    }
    velta_result_free(result);
    end_world(&world);
}

static void largest_groups_come_first(void **state) {
    (void)state;
    const int64_t large = INT64_C(1) << 53; /* from here a double does not tell neighbours apart */
    struct world world;
    make_world(&world, NULL);
    add(&world, 1, "a", large, 1.5);
    add(&world, 2, "b", large + 1, -3);
    add(&world, 3, "c", INT64_MIN, NAN);
    add(&world, 4, "d", -9, 8);
    add(&world, 5, "d", 4, 1);
    add(&world, 6, "e", large + 2, 2);
    assert_cities(ask(&world, VELTA_COUNT, NULL, "city", 2), "d a");
    assert_cities(ask(&world, VELTA_SUM, "size", "city", 5), "e b a c d");
    assert_cities(ask(&world, VELTA_MIN, "size", "city", 9), "e b a d c");
    assert_cities(ask(&world, VELTA_MAX, "size", "city", 3), "e b a");
    assert_cities(ask(&world, VELTA_MEAN, "size", "city", 5), "e a b d c"); /* a mean is a double: a is b's equal */
    assert_cities(ask(&world, VELTA_SUM, "score", "city", 9), "d e a b c");
    assert_cities(ask(&world, VELTA_MIN, "score", "city", 9), "e a d b c");
    assert_cities(ask(&world, VELTA_MAX, "score", "city", 1), "d");
    assert_cities(ask(&world, VELTA_MEAN, "score", "city", 9), "d e a b c");
    end_world(&world);
}

static void only_nan_is_nan_and_nothing_is_null(void **state) {
    (void)state;
    struct world world;
    struct velta_values values;
    make_world(&world, NULL);
    velta_result *result = ask(&world, VELTA_COUNT, NULL, NULL, 0); /* an empty table */
    assert_true(is_there(result, 0, 0, &values));
    assert_int_equal(((const int64_t *)values.data)[0], 0);
    velta_result_free(result);
    add(&world, 1, "a", INT64_MIN, NAN);
    static const enum velta_aggregate_kind kinds[] = {VELTA_SUM, VELTA_MIN, VELTA_MAX, VELTA_MEAN};
    for (size_t i = 0; i < 4; i++) {
        result = ask(&world, kinds[i], "score", NULL, 0);
        assert_true(is_there(result, 0, 0, &values));
        assert_true(isnan(((const double *)values.data)[0]));
        velta_result_free(result);
        result = ask(&world, kinds[i], "size", NULL, 0);
        assert_int_equal(is_there(result, 0, 0, &values), kinds[i] == VELTA_SUM);
        velta_result_free(result);
    }
    add(&world, 2, "a", 1, 5);
    result = ask(&world, VELTA_MIN, "score", "city", 0);
    assert_true(is_there(result, 1, 0, &values));
    assert_true(((const double *)values.data)[0] == 5);
    velta_result_free(result);
    end_world(&world);
}

static void sums_that_do_not_fit_are_refused(void **state) {
    (void)state;
    static const struct velta_aggregate sum = {.kind = VELTA_SUM, .column = "size"};
    static const struct velta_aggregate_query query = {.aggregates = &sum, .aggregate_count = 1};
    struct velta_error error = {0};
    for (int negative = 0; negative <= 1; negative++) {
        struct world world;
        velta_result *result = NULL;
        struct velta_values values;
        const int64_t most = negative ? -INT64_MAX : INT64_MAX;
        make_world(&world, NULL);
        add(&world, 1, "a", most, 0);
        add(&world, 2, "a", negative ? -2 : 2, 0);
        assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_LIMIT);
        assert_int_equal(error.offset, 0);
        assert_null(result);
        add(&world, 3, "a", negative ? 2 : -2, 0); /* on the way a sum may be larger than what it ends with */
        assert_ok(velta_aggregate(world.table, &query, &result, &error), &error);
        assert_true(is_there(result, 0, 0, &values));
        assert_true(((const int64_t *)values.data)[0] == most);
        velta_result_free(result);
        end_world(&world);
    }
}

static void too_many_groups_are_refused(void **state) {
    (void)state;
    enum { ROWS = 65537 };
    struct world world;
    struct velta_error error = {0};
    velta_result *result = NULL;
    int64_t *ids = malloc(ROWS * sizeof *ids);
    for (int64_t i = 0; i < ROWS; i++) {
        ids[i] = i * 7;
    }
    make_world(&world, NULL);
    struct velta_values values = {.column = "id", .data = ids};
    assert_ok(velta_insert(world.table, &values, 1, ROWS, NULL, NULL, &error), &error);
    static const struct velta_aggregate count = {.kind = VELTA_COUNT};
    struct velta_aggregate_query query = {.aggregates = &count, .aggregate_count = 1, .group_by = "id"};
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_LIMIT);
    assert_non_null(strstr(error.text, "'id'"));
    query.where = "id > 0";
    assert_ok(velta_aggregate(world.table, &query, &result, &error), &error);
    assert_int_equal(velta_result_count(result), ROWS - 1);
    velta_result_free(result);
    free(ids);
    end_world(&world);
}

/* ---- the top rows */

static void top_rows_by_value(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    velta_result *result = NULL;
    make_world(&world, NULL);
    assert_ok(velta_top(world.table, NULL, "size", false, 3, NULL, 0, &result, &error), &error); /* of no rows */
    assert_int_equal(velta_result_count(result), 0);
    velta_result_free(result);
    static const double scores[] = {1, NAN, -0.0, 0.0, -INFINITY, 7, 1, 3, 2, 2};
    for (int64_t i = 0; i < 10; i++) {
        add(&world, i, "a", i == 5 ? INT64_MIN : i / 2, scores[i]);
    }
    static const uint32_t largest[] = {5, 7, 8, 9, 0, 6, 2, 3, 4}; /* ties by row, NaN nowhere */
    static const uint32_t smallest[] = {4, 2, 3, 0, 6, 8, 9, 7, 5};
    for (size_t top = 0; top <= 10; top++) {
        assert_ok(velta_top(world.table, NULL, "score", false, top, NULL, 0, &result, &error), &error);
        assert_int_equal(velta_result_count(result), top < 9 ? top : 9);
        assert_memory_equal(velta_result_rows(result), largest, velta_result_count(result) * sizeof *largest);
        velta_result_free(result);
        assert_ok(velta_top(world.table, NULL, "score", true, top, NULL, 0, &result, &error), &error);
        assert_memory_equal(velta_result_rows(result), smallest, velta_result_count(result) * sizeof *smallest);
        velta_result_free(result);
    }
    assert_ok(velta_top(world.table, "id > 2", "size", false, 2, NULL, 0, &result, &error), &error);
    assert_int_equal(velta_result_rows(result)[0], 8);
    assert_int_equal(velta_result_rows(result)[1], 9);
    velta_result_free(result);
    result = NULL;
    assert_status(velta_top(world.table, NULL, NULL, false, 2, NULL, 0, &result, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_top(world.table, NULL, "sizes", false, 2, NULL, 0, &result, &error), VELTA_UNKNOWN_COLUMN);
    assert_non_null(strstr(error.text, "'sizes'"));
    assert_status(velta_top(world.table, NULL, "open", false, 2, NULL, 0, &result, &error), VELTA_TYPE);
    assert_status(velta_top(world.table, NULL, "id", false, 2, (const char *[]){"no"}, 1, &result, &error),
                  VELTA_UNKNOWN_COLUMN);
    assert_status(velta_top(world.table, "id >", "id", false, 2, NULL, 0, &result, &error), VELTA_SYNTAX);
    assert_null(result);
    end_world(&world);
}

/* ---- bad queries */

static void bad_queries_are_refused(void **state) {
    (void)state;
    static const struct velta_aggregate count = {.kind = VELTA_COUNT};
    static const struct velta_aggregate_query good = {.aggregates = &count, .aggregate_count = 1};
    static const struct {
        struct velta_aggregate aggregate;
        enum velta_status status;
    } aggregates[] = {
        {{.kind = 0}, VELTA_INVALID},
        {{.kind = (enum velta_aggregate_kind)(VELTA_MEAN + 1), .column = "id"}, VELTA_INVALID},
        {{.kind = VELTA_MEAN}, VELTA_INVALID},
        {{.kind = VELTA_SUM, .column = "none"}, VELTA_UNKNOWN_COLUMN},
        {{.kind = VELTA_SUM, .column = "open"}, VELTA_TYPE},
        {{.kind = VELTA_COUNT, .column = "city"}, VELTA_TYPE},
    };
    struct world world;
    struct velta_error error = {0};
    velta_result *result = NULL;
    make_world(&world, NULL);
    add(&world, 1, "a", 1, 1);
    for (size_t i = 0; i < sizeof aggregates / sizeof *aggregates; i++) {
        struct velta_aggregate both[] = {count, aggregates[i].aggregate};
        struct velta_aggregate_query query = {.aggregates = both, .aggregate_count = 2};
        assert_status(velta_aggregate(world.table, &query, &result, &error), aggregates[i].status);
        if (aggregates[i].status == VELTA_INVALID) assert_int_equal(error.offset, 1);
    }
    static const struct {
        const char *group_by;
        enum velta_status status;
    } groups[] = {{"none", VELTA_UNKNOWN_COLUMN}, {"score", VELTA_TYPE}, {"blob", VELTA_TYPE}};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        struct velta_aggregate_query query = good;
        query.group_by = groups[i].group_by;
        assert_status(velta_aggregate(world.table, &query, &result, &error), groups[i].status);
        assert_non_null(strstr(error.text, groups[i].group_by));
    }
    struct velta_aggregate_query query = good;
    query.aggregate_count = 0;
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_INVALID);
    query.aggregate_count = SIZE_MAX;
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_INVALID);
    query = (struct velta_aggregate_query){.aggregate_count = 1};
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_INVALID);
    query = good;
    query.reserved[3] = 1;
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_INVALID);
    query = good;
    query.top = 1;
    query.order_by = 1;
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_INVALID);
    query = good;
    query.where = "nothing = 1";
    assert_status(velta_aggregate(world.table, &query, &result, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_aggregate(world.table, NULL, &result, &error), VELTA_INVALID);
    assert_null(result);
    assert_ok(velta_table_drop(world.table, &error), &error);
    assert_status(velta_aggregate(world.table, &good, &result, &error), VELTA_NOT_FOUND);
    assert_status(velta_top(world.table, NULL, "id", false, 1, NULL, 0, &result, &error), VELTA_NOT_FOUND);
    end_world(&world);
}

/* ---- refused memory */

static enum velta_status group_all(struct world *world, struct velta_error *error) {
    static const struct velta_aggregate kinds[] = {{.kind = VELTA_COUNT}, {.kind = VELTA_MEAN, .column = "score"}};
    struct velta_aggregate_query query = {.aggregates = kinds, .aggregate_count = 2, .group_by = "city"};
    velta_result *result = NULL;
    enum velta_status status = velta_aggregate(world->table, &query, &result, error);
    if (!status) assert_int_equal(velta_result_count(result), CITIES);
    velta_result_free(result);
    return status;
}

static enum velta_status top_all(struct world *world, struct velta_error *error) {
    velta_result *result = NULL;
    enum velta_status status = velta_top(world->table, NULL, "size", true, CITIES, NULL, 0, &result, error);
    if (!status) assert_int_equal(velta_result_count(result), CITIES);
    velta_result_free(result);
    return status;
}

static bool read_with_refusals(struct test_allocator *self, void *context) {
    enum velta_status (*read)(struct world *, struct velta_error *) =
        *(enum velta_status(**)(struct world *, struct velta_error *))context;
    static char text[CITIES * 64];
    static uint64_t offsets[CITIES + 1];
    static int64_t ids[CITIES];
    struct velta_error error = {0};
    struct world world;
    make_world(&world, &self->allocator);
    for (size_t i = 0; i < CITIES; i++) {
        ids[i] = (int64_t)i;
        offsets[i + 1] = offsets[i] + (uint64_t)sprintf(text + offsets[i], "a city with a long name, number %zu", i);
    }
    struct velta_values values[] = {{.column = "id", .data = ids},
                                    {.column = "size", .data = ids},
                                    {.column = "city", .data = text, .offsets = offsets}};
    assert_ok(velta_insert(world.table, values, 3, CITIES, NULL, NULL, &error), &error);
    test_allocator_rearm(self);
    enum velta_status status = read(&world, &error);
    test_allocator_disarm(self);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_int_equal(error.code, status);
        assert_ok(read(&world, &error), &error);
    }
    end_world(&world);
    return status == VELTA_OK;
}

static void refused_memory_is_told(void **state) {
    (void)state;
    enum velta_status (*readings[])(struct world *, struct velta_error *) = {group_all, top_all};
    for (size_t i = 0; i < 2; i++) {
        struct test_allocator self;
        test_allocator_init(&self);
        assert_true(test_every_allocation_fails(&self, read_with_refusals, &readings[i]) >= 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_in_the_order_of_their_values),
        cmocka_unit_test(largest_groups_come_first),
        cmocka_unit_test(only_nan_is_nan_and_nothing_is_null),
        cmocka_unit_test(sums_that_do_not_fit_are_refused),
        cmocka_unit_test(too_many_groups_are_refused),
        cmocka_unit_test(top_rows_by_value),
        cmocka_unit_test(bad_queries_are_refused),
        cmocka_unit_test(refused_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
