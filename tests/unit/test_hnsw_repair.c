/* hnsw/: rows that go, that move a little and that move far; node ids used again; any order of all of these. */
#include <float.h>

#include "tests/unit/hnsw_fixture.h"

static const struct fixture_options SMALL = {.dimensions = 24, .m = 8, .ef_construction = 40};

static void removed_rows_leave_no_trace(void **state) {
    (void)state;
    for (unsigned metric = VELTA_COSINE; metric <= VELTA_L2; metric++) {
        struct fixture_options options = SMALL;
        options.metric = (enum velta_metric)metric;
        struct fixture f;
        fixture_open(&f, &options);
        fixture_fill(&f, 1000, 1);
        fixture_link(&f, UINT64_MAX, 1);
        for (uint32_t row = 0; row < 1000; row++) {
            if (row % 10 < 4) hnsw_remove(f.index, row);
        }
        assert_true(hnsw_pending(f.index) == 400);
        assert_false(hnsw_contains(f.index, 3));
        assert_true(hnsw_contains(f.index, 4));
        fixture_check(&f);
        assert_true(fixture_recall(&f, 80, 30, 2) > 0.97); /* waypoints still lead the way */
        assert_int_equal(fixture_link(&f, 100, 1), 300);
        fixture_check(&f);
        assert_int_equal(fixture_link(&f, UINT64_MAX, 2), 0);
        fixture_check(&f);
        struct hnsw_stats stats;
        hnsw_get_stats(f.index, &stats);
        assert_int_equal(stats.node_count, 600);
        assert_int_equal(stats.removed_count, 0);
        assert_true(fixture_recall(&f, 60, 30, 3) > 0.97);
        fixture_close(&f);
    }
}

static void repair_does_not_depend_on_threads(void **state) {
    (void)state;
    struct fixture a, b;
    fixture_open(&a, &SMALL);
    fixture_open(&b, &SMALL);
    struct fixture *both[] = {&a, &b};
    for (unsigned i = 0; i < 2; i++) {
        fixture_fill(both[i], 3000, 4);
        fixture_link(both[i], UINT64_MAX, 1 + i);
        for (uint32_t row = 0; row < 3000; row += 3)
            hnsw_remove(both[i]->index, row);
        fixture_link(both[i], 700, 1 + 2 * i);
        fixture_link(both[i], UINT64_MAX, 1 + 3 * i);
    }
    fixture_same_image(&a, &b, "after repair");
    fixture_close(&a);
    fixture_close(&b);
}

static void freed_nodes_are_used_again_lowest_first(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 50, 5);
    hnsw_remove(f.index, 30); /* from the tail: free at once */
    hnsw_remove(f.index, 20);
    fixture_check(&f);
    fixture_fill(&f, 3, 6);
    assert_int_equal(f.index->node_of_row[50], 20);
    assert_int_equal(f.index->node_of_row[51], 30);
    assert_int_equal(f.index->node_of_row[52], 50);
    fixture_check(&f);
    fixture_link(&f, UINT64_MAX, 1);
    hnsw_remove(f.index, 7);
    fixture_fill(&f, 1, 7);
    assert_int_equal(f.index->node_of_row[53], 51); /* still a waypoint */
    fixture_link(&f, UINT64_MAX, 1);
    fixture_fill(&f, 1, 8);
    assert_int_equal(f.index->node_of_row[54], 7);
    fixture_check(&f);
    fixture_close(&f);
}

static void the_entry_and_everything_can_go(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 400, 9);
    fixture_link(&f, UINT64_MAX, 1);
    for (int i = 0; i < 30; i++) {
        hnsw_remove(f.index, f.index->row_of_node[f.index->entry]);
        fixture_check(&f);
        fixture_link(&f, UINT64_MAX, 1);
        fixture_check(&f);
    }
    for (uint32_t row = 0; row < 400; row++) {
        if (hnsw_contains(f.index, row)) hnsw_remove(f.index, row);
        if (row % 50 == 0) fixture_link(&f, 20, 1);
        if (row % 50 == 0) fixture_check(&f);
    }
    assert_int_equal(fixture_link(&f, UINT64_MAX, 1), 0);
    assert_true(f.index->entry == HNSW_NO_NODE);
    assert_int_equal(f.index->free_count, 400);
    fixture_check(&f);
    fixture_fill(&f, 100, 10);
    fixture_link(&f, UINT64_MAX, 1);
    fixture_check(&f);
    assert_int_equal(f.index->node_count, 400);
    assert_true(fixture_recall(&f, 60, 20, 11) > 0.97);
    fixture_close(&f);
}

/* Moves a row's vector by `way` times its length in a random direction. */
static void move_row(struct fixture *f, uint32_t row, float way, struct random *random) {
    float vector[24], direction[24];
    fixture_get(f, row, vector);
    double square = 0;
    for (int i = 0; i < 24; i++)
        square += (double)vector[i] * (double)vector[i];
    random_unit_vector(random, direction, 24);
    for (int i = 0; i < 24; i++)
        vector[i] += way * (float)__builtin_sqrt(square) * direction[i];
    fixture_set(f, row, vector);
}

/* The way since it was linked, relative to the vector's length. */
static float drift_of(struct fixture *f, uint32_t row) {
    float vector[24];
    hnsw_refresh(f->index);
    fixture_get(f, row, vector);
    return f->index->drift[f->index->node_of_row[row]] / sqrtf(f->index->simd->dot_f32(vector, vector, 24));
}

static void drift_is_measured_and_met(void **state) {
    (void)state;
    struct random random = random_seeded(12);
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 500, 13);
    fixture_link(&f, UINT64_MAX, 1);
    move_row(&f, 10, 0.0F, &random);
    assert_true(drift_of(&f, 10) < 1e-6F);
    move_row(&f, 10, 0.05F, &random);
    assert_true(fabsf(drift_of(&f, 10) - 0.05F) < 0.005F);
    assert_int_equal(hnsw_pending(f.index), 0);
    move_row(&f, 11, 0.18F, &random);
    assert_int_equal(hnsw_pending(f.index), 1);
    assert_int_equal(f.index->repair_count, 1);
    assert_int_equal(f.index->tail_count, 0);
    move_row(&f, 11, 0.01F, &random); /* due already */
    assert_int_equal(hnsw_pending(f.index), 1);
    assert_int_equal(f.index->repair_count, 1);
    move_row(&f, 11, 0.18F, &random); /* together far */
    assert_int_equal(hnsw_pending(f.index), 1);
    assert_int_equal(f.index->repair_count, 0);
    assert_int_equal(f.index->tail_count, 1);
    for (int i = 0; i < 60; i++)
        move_row(&f, 12, 0.6F, &random);
    assert_true(drift_of(&f, 12) > 1.0F);
    hnsw_update(f.index, 12, INFINITY, NULL);
    hnsw_update(f.index, 12, NAN, NULL); /* nothing times infinity */
    assert_true(f.index->drift[f.index->node_of_row[12]] == FLT_MAX); /* farther than can be counted */
    hnsw_refresh(f.index);
    move_row(&f, 13, 0.18F, &random);
    hnsw_refresh(f.index);
    assert_int_equal(f.index->tail_count, 2);
    assert_int_equal(f.index->repair_count, 1);
    fixture_check(&f);
    assert_int_equal(fixture_link(&f, UINT64_MAX, 1), 0);
    for (uint32_t row = 11; row < 14; row++)
        assert_true(f.index->drift[f.index->node_of_row[row]] == 0.0F);
    fixture_check(&f);
    hnsw_remove(f.index, 12);
    move_row(&f, 13, 0.18F, &random);
    hnsw_remove(f.index, 13);
    move_row(&f, 14, 0.9F, &random);
    hnsw_remove(f.index, 14);
    assert_int_equal(hnsw_pending(f.index), 3);
    fixture_check(&f);
    fixture_link(&f, UINT64_MAX, 1);
    fixture_check(&f);
    fixture_close(&f);
}

/* What the performance page asks: all moved by a tenth, a twentieth of them by half, as good as a fresh index. */
static void recall_holds_as_deltas_arrive(void **state) {
    (void)state;
    for (unsigned metric = VELTA_COSINE; metric <= VELTA_L2; metric++) {
        struct random random = random_seeded(14);
        struct fixture_options options = {.dimensions = 24, .metric = (enum velta_metric)metric, .m = 12};
        struct fixture f, fresh;
        fixture_open(&f, &options);
        fixture_open(&fresh, &options);
        fixture_fill(&f, 2500, 15);
        fixture_link(&f, UINT64_MAX, 1);
        for (uint32_t row = 0; row < f.row_count; row++)
            move_row(&f, row, random_chance(&random, 5) ? 0.5F : 0.1F, &random);
        assert_true(hnsw_pending(f.index) > 50 && f.index->tail_count > 50);
        fixture_link(&f, UINT64_MAX, 1);
        fixture_check(&f);
        for (uint32_t row = 0; row < f.row_count; row++) {
            float vector[24];
            fixture_get(&f, row, vector);
            fixture_add(&fresh, vector);
        }
        fixture_link(&fresh, UINT64_MAX, 1);
        double drifted = fixture_recall(&f, 40, 150, 16), anew = fixture_recall(&fresh, 40, 150, 16);
        assert_true(anew > 0.95);
        assert_true(drifted > anew - 0.005);
        fixture_close(&f);
        fixture_close(&fresh);
    }
}

/* A long vector whose way was long for a short one: it is judged by what it is now, whenever that is asked. */
static void drift_is_judged_by_the_vector_as_it_is(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 300, 21);
    fixture_link(&f, UINT64_MAX, 1);
    float vector[24], larger[24];
    struct random random = random_seeded(22);
    move_row(&f, 7, 0.3F, &random);
    assert_int_equal(hnsw_pending(f.index), 1);
    assert_int_equal(f.index->tail_count, 1);
    fixture_get(&f, 7, vector);
    for (int i = 0; i < 24; i++)
        larger[i] = 100.0F * vector[i];
    struct column_values values = {.data = larger, .element = VELTA_F32};
    const uint32_t row = 7;
    hnsw_update(f.index, 7, 0.0F, NULL); /* so much longer by a way that does not count */
    assert_int_equal(column_reserve_set(f.column, &values, &row, 1, NULL), VELTA_OK);
    column_set(f.column, &values, &row, 1);
    assert_int_equal(hnsw_pending(f.index), 0);
    fixture_check(&f);
    fixture_close(&f);
}

/* Codes that are made after every change, after some, or at the end: the same index. */
static void it_makes_no_difference_when_codes_are_made(void **state) {
    (void)state;
    for (unsigned metric = VELTA_COSINE; metric <= VELTA_L2; metric++) {
        for (unsigned element = VELTA_F32; element <= VELTA_F16; element++) {
            struct fixture f[3];
            for (int i = 0; i < 3; i++) {
                struct random random = random_seeded(23), dice = random_seeded(24 + metric);
                struct fixture_options options = {.dimensions = 24,
                                                  .metric = (enum velta_metric)metric,
                                                  .element = (enum velta_element)element,
                                                  .m = 8};
                fixture_open(&f[i], &options);
                fixture_fill(&f[i], 400, 25);
                fixture_link(&f[i], UINT64_MAX, 1);
                for (int step = 0; step < 1500; step++) {
                    uint32_t row = (uint32_t)random_below(&dice, f[i].row_count);
                    if (!hnsw_contains(f[i].index, row)) continue;
                    if (random_chance(&dice, 4)) {
                        hnsw_remove(f[i].index, row);
                    } else {
                        move_row(&f[i], row, random_chance(&dice, 10) ? 0.3F : 0.03F, &random);
                    }
                    if (i == 0 || (i == 1 && step % 37 == 0)) hnsw_refresh(f[i].index);
                }
                fixture_check(&f[i]);
                assert_true(f[i].index->tail_count > 0 && f[i].index->repair_count > 0);
                fixture_same_image(&f[i], &f[0], "made at other times");
            }
            for (int i = 0; i < 3; i++)
                fixture_close(&f[i]);
        }
    }
}

/* A stream longer than what may wait. */
static void codes_that_wait_are_bounded(void **state) {
    (void)state;
    struct fixture_options options = {.dimensions = 2, .metric = VELTA_L2, .m = 4};
    struct fixture f;
    fixture_open(&f, &options);
    fixture_fill(&f, 33000, 26);
    const float moved[2] = {3.0F, 4.0F};
    uint32_t most = 0;
    for (uint32_t row = 0; row < f.row_count; row++) {
        fixture_set(&f, row, moved);
        if (f.index->stale_count > most) most = f.index->stale_count;
    }
    assert_int_equal(most, 32768);
    assert_int_equal(f.index->stale_count, 33000 - 32768);
    fixture_check(&f);
    assert_int_equal(f.index->stale_count, 0);
    fixture_close(&f);
}

/* Any order of everything, against a list of what must be there. */
static void any_order_of_changes_keeps_every_invariant(void **state) {
    (void)state;
    for (size_t round = 0; round < test_rounds(6); round++) {
        struct random random = random_seeded(100 + round);
        struct fixture_options options = SMALL;
        options.metric = (enum velta_metric)random_below(&random, 3);
        options.element = (enum velta_element)random_below(&random, 3);
        options.m = 4 + (uint32_t)random_below(&random, 6);
        options.ef_construction = 1 + (uint32_t)random_below(&random, 50);
        struct fixture f;
        fixture_open(&f, &options);
        static bool there[2000];
        memset(there, 0, sizeof there);
        uint32_t live = 0;
        for (int step = 0; step < 400; step++) {
            uint64_t what = random_below(&random, 10);
            if (what < 3 && f.row_count < 1900) {
                uint32_t rows = 1 + (uint32_t)random_below(&random, 20);
                for (uint32_t i = 0; i < rows; i++)
                    there[f.row_count + i] = true;
                fixture_fill(&f, rows, random_u64(&random) % 50); /* copies of earlier ones among them */
                live += rows;
            } else if (what < 8 && live > 0) {
                uint32_t row;
                do {
                    row = (uint32_t)random_below(&random, f.row_count);
                } while (!there[row]);
                if (what < 5) {
                    hnsw_remove(f.index, row);
                    there[row] = false;
                    live--;
                } else {
                    move_row(&f, row, 0.4F * (float)random_unit(&random), &random);
                }
            } else {
                uint64_t before = hnsw_pending(f.index), slice = 1 + random_below(&random, 60);
                uint64_t after = fixture_link(&f, slice, 1 + (unsigned)random_below(&random, 2));
                assert_true(after == (before > slice ? before - slice : 0));
                fixture_check(&f);
            }
            if (step % 40 == 0) fixture_check(&f);
        }
        for (uint32_t row = 0; row < f.row_count; row++)
            assert_true(hnsw_contains(f.index, row) == there[row]);
        fixture_link(&f, UINT64_MAX, 1);
        fixture_check(&f);
        assert_int_equal(f.index->linked_count, live);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(removed_rows_leave_no_trace),
        cmocka_unit_test(repair_does_not_depend_on_threads),
        cmocka_unit_test(freed_nodes_are_used_again_lowest_first),
        cmocka_unit_test(the_entry_and_everything_can_go),
        cmocka_unit_test(drift_is_measured_and_met),
        cmocka_unit_test(drift_is_judged_by_the_vector_as_it_is),
        cmocka_unit_test(it_makes_no_difference_when_codes_are_made),
        cmocka_unit_test(codes_that_wait_are_bounded),
        cmocka_unit_test(recall_holds_as_deltas_arrive),
        cmocka_unit_test(any_order_of_changes_keeps_every_invariant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
