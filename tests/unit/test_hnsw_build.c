/* hnsw/: codes and their distances, the pool, levels, the batched build, slices, threads, and memory that is
 * refused. */
#include <float.h>
#include <math.h>

#include "tests/unit/hnsw_fixture.h"

static const struct fixture_options SMALL = {.dimensions = 24, .m = 8, .ef_construction = 40};

/* ---- codes */

static void codes_decode_to_within_half_a_step(void **state) {
    (void)state;
    struct random random = random_seeded(1);
    for (uint32_t n = 1; n <= 70; n++) {
        struct fixture_options options = {.dimensions = n, .metric = (enum velta_metric)(n % 3)};
        struct fixture f;
        fixture_open(&f, &options);
        float vector[70], out[70], low = FLT_MAX, high = -FLT_MAX;
        for (uint32_t i = 0; i < n; i++) {
            vector[i] = 3.0F + random_gauss(&random);
            low = vector[i] < low ? vector[i] : low;
            high = vector[i] > high ? vector[i] : high;
        }
        fixture_add(&f, vector);
        hnsw_decode(f.index, 0, out);
        for (uint32_t i = 0; i < n; i++)
            assert_true(fabsf(out[i] - vector[i]) <= (high - low) / 254.0F + 1e-5F);
        fixture_check(&f);
        fixture_close(&f);
    }
}

static void codes_of_odd_vectors_stay_finite(void **state) {
    (void)state;
    static const float odd[][3] = {{0, 0, 0},
                                   {1, 1, 1},
                                   {-0.0F, 0.0F, -0.0F},
                                   {FLT_MAX, -FLT_MAX, 0},
                                   {FLT_MIN, -FLT_MIN, 0},
                                   {1e-45F, 0, -1e-45F},
                                   {1e-30F, 2e-30F, 3e-30F},
                                   {1e30F, -1e30F, 2e30F},
                                   {1e20F, 1e20F, 1.00001e20F}};
    for (unsigned metric = VELTA_COSINE; metric <= VELTA_DOT; metric++) {
        for (unsigned element = 0; element < 2; element++) {
            struct fixture_options options = {.dimensions = 3, .metric = (enum velta_metric)metric};
            options.element = element ? VELTA_CODES : VELTA_F32;
            struct fixture f;
            fixture_open(&f, &options);
            for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
                fixture_add(&f, odd[i]);
                float out[3];
                hnsw_decode(f.index, f.row_count - 1, out);
                for (unsigned j = 0; j < 3; j++)
                    assert_true(isfinite(out[j]));
            }
            assert_int_equal(fixture_link(&f, UINT64_MAX, 1), 0);
            fixture_check(&f);
            fixture_close(&f);
        }
    }
}

/* Between nodes the expression is the exact distance of the decoded vectors. */
static void distances_of_codes_are_those_of_decoded_vectors(void **state) {
    (void)state;
    struct random random = random_seeded(2);
    for (unsigned metric = VELTA_COSINE; metric <= VELTA_DOT; metric++) {
        struct fixture_options options = {
            .dimensions = 100, .metric = (enum velta_metric)metric, .element = VELTA_CODES};
        struct fixture f;
        fixture_open(&f, &options);
        float a[100], b[100];
        for (int i = 0; i < 40; i++) {
            random_vector(&random, a, 100);
            fixture_add(&f, a);
        }
        for (uint32_t i = 0; i < 40; i++) {
            uint32_t other = (uint32_t)random_below(&random, 40);
            hnsw_decode(f.index, i, a);
            hnsw_decode(f.index, other, b);
            double exact = fixture_distance(options.metric, a, b, 100);
            float approximate, query;
            struct hnsw_scratch *scratch = f.index->scratch;
            hnsw_probe_node(f.index, i, &scratch->probe);
            hnsw_distances_codes(f.index, &scratch->probe, &other, 1, scratch->rows, scratch->dots, &approximate);
            hnsw_probe_vector(f.index, a, &scratch->probe);
            hnsw_distances_codes(f.index, &scratch->probe, &other, 1, scratch->rows, scratch->dots, &query);
            double scale = metric == VELTA_COSINE ? 1.0 : 100.0;
            assert_true(fabs((double)approximate - exact) < 1e-5 * scale);
            assert_true(fabs((double)query - exact) < 0.01 * scale);
        }
        fixture_close(&f);
    }
}

/* ---- the pool and levels */

static void keys_compare_as_distance_then_node(void **state) {
    (void)state;
    static const float rising[] = {-FLT_MAX, -2.0F, -1.0F, -FLT_MIN, 0.0F, FLT_MIN, 0.5F, 1.0F, FLT_MAX};
    for (size_t i = 0; i < sizeof rising / sizeof *rising; i++) {
        assert_true(hnsw_key_distance(hnsw_key(rising[i], 5)) == rising[i]);
        assert_int_equal(hnsw_key_node(hnsw_key(rising[i], 16777213)), 16777213);
        assert_true(hnsw_key(rising[i], 1) < hnsw_key(rising[i], 2));
        if (i) assert_true(hnsw_key(rising[i - 1], 9) < hnsw_key(rising[i], 1));
    }
}

static void pool_keeps_the_least_in_order(void **state) {
    (void)state;
    struct random random = random_seeded(3);
    for (uint32_t capacity = 1; capacity < 40; capacity++) {
        uint64_t keys[41], all[200];
        uint32_t count = 0;
        keys[capacity] = 77; /* must not be touched */
        for (uint32_t i = 0; i < 200; i++) {
            all[i] = random_below(&random, 1000) << 20 | i << 1;
            uint32_t at = hnsw_pool_insert(keys, &count, capacity, all[i]);
            assert_true(at == capacity || keys[at] == all[i]);
            for (uint32_t j = i; j > 0 && all[j - 1] > all[j]; j--) {
                uint64_t swap = all[j];
                all[j] = all[j - 1];
                all[j - 1] = swap;
            }
            assert_int_equal(count, i + 1 < capacity ? i + 1 : capacity);
            assert_memory_equal(keys, all, count * sizeof *keys);
        }
        assert_true(keys[capacity] == 77);
    }
}

static void levels_thin_out_by_m(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    uint32_t counts[HNSW_MAX_LEVEL + 1] = {0};
    for (uint32_t row = 0; row < 1 << 16; row++)
        counts[hnsw_level_of_row(f.index, row)]++;
    uint32_t at_least = 0;
    for (unsigned level = HNSW_MAX_LEVEL; level > 0; level--) {
        at_least += counts[level];
        double expected = 65536.0 / pow(8.0, level);
        if (expected > 50) assert_true(fabs(at_least - expected) < 5 * sqrt(expected));
    }
    fixture_close(&f);
}

/* ---- building */

static void every_size_metric_and_element_gives_a_whole_graph(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 2, 3, 9, 40, 700};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (unsigned kind = 0; kind < 9; kind++) {
            struct fixture_options options = SMALL;
            options.metric = (enum velta_metric)(kind % 3);
            options.element = (enum velta_element)(kind / 3);
            struct fixture f;
            fixture_open(&f, &options);
            fixture_fill(&f, sizes[i], 4 + kind);
            assert_true(hnsw_pending(f.index) == sizes[i]);
            fixture_check(&f);
            assert_int_equal(fixture_link(&f, UINT64_MAX, 1), 0);
            fixture_check(&f);
            struct hnsw_stats stats;
            hnsw_get_stats(f.index, &stats);
            assert_int_equal(stats.node_count, sizes[i]);
            assert_int_equal(stats.tail_count, 0);
            if (options.metric != VELTA_DOT) assert_true(fixture_recall(&f, 60, 20, 5) > 0.97);
            fixture_close(&f);
        }
    }
}

static void threads_instruction_sets_and_capacity_do_not_matter(void **state) {
    (void)state;
    struct fixture one;
    fixture_open(&one, &SMALL);
    fixture_fill(&one, 6000, 6); /* enough for local order */
    fixture_link(&one, UINT64_MAX, 1);
    assert_true(one.index->ordered_count == 6000);
    fixture_check(&one);
    assert_true(fixture_recall(&one, 60, 50, 7) > 0.97);
    for (unsigned set = 0; simd_available(set); set++) {
        struct fixture_options options = SMALL;
        options.simd = simd_available(set);
        struct fixture other;
        fixture_open(&other, &options);
        assert_int_equal(hnsw_reserve(other.index, 9000, 8000, NULL), VELTA_OK);
        fixture_fill(&other, 6000, 6);
        fixture_link(&other, UINT64_MAX, 2 + set);
        fixture_same_image(&one, &other, options.simd->name);
        fixture_close(&other);
    }
    fixture_close(&one);
}

static void slices_are_whole_and_repeatable(void **state) {
    (void)state;
    struct fixture a, b;
    fixture_open(&a, &SMALL);
    fixture_open(&b, &SMALL);
    fixture_fill(&a, 500, 8);
    fixture_fill(&b, 500, 8);
    for (uint64_t left = 500; left > 0;) {
        uint64_t slice = 1 + left % 37, now = fixture_link(&a, slice, 1);
        assert_true(now == (left > slice ? left - slice : 0));
        assert_true(fixture_link(&b, slice, 3) == now);
        left = now;
        fixture_check(&a);
    }
    fixture_same_image(&a, &b, "slices on three threads");
    assert_true(fixture_recall(&a, 60, 30, 9) > 0.97);
    fixture_close(&a);
    fixture_close(&b);
}

static void copies_stay_reachable(void **state) {
    (void)state;
    struct random random = random_seeded(10);
    for (unsigned sort = 0; sort < 3; sort++) {
        struct fixture_options options = SMALL;
        options.m = 4;
        options.ef_construction = 10;
        options.metric = (enum velta_metric)sort;
        struct fixture f;
        fixture_open(&f, &options);
        float vectors[5][24];
        for (int i = 0; i < 5; i++)
            random_vector(&random, vectors[i], 24);
        for (uint32_t i = 0; i < 1500; i++)
            fixture_add(&f, vectors[random_below(&random, 100) < 80 ? 0 : random_below(&random, 5)]);
        fixture_fill(&f, 200, 11);
        fixture_link(&f, UINT64_MAX, 1);
        fixture_check(&f);
        fixture_close(&f);
    }
}

/* ---- refusal and cancelling */

static bool cancel_later(void *context, uint64_t done, uint64_t total) {
    assert_true(done <= total);
    return --*(int *)context > 0;
}

static void cancelled_linking_leaves_a_whole_graph(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 900, 12);
    for (int reports = 1; reports < 40; reports += 6) {
        int left = reports;
        struct velta_progress progress = {.report = cancel_later, .context = &left};
        uint64_t pending, before = hnsw_pending(f.index);
        struct velta_error error;
        enum velta_status status = hnsw_link(f.index, 200, NULL, &progress, &pending, &error);
        assert_true(pending <= before);
        if (status) assert_int_equal(status, VELTA_CANCELLED);
        fixture_check(&f);
    }
    assert_int_equal(fixture_link(&f, UINT64_MAX, 1), 0);
    fixture_check(&f);
    fixture_close(&f);
}

static bool link_with_refusals(struct test_allocator *allocator, void *context) {
    bool removals = *(bool *)context;
    struct fixture_options options = SMALL;
    options.allocator = &allocator->allocator;
    struct fixture f;
    fixture_open(&f, &options);
    fixture_fill(&f, 120, 13);
    fixture_link(&f, 60, 1);
    for (uint32_t row = 0; removals && row < 20; row++)
        hnsw_remove(f.index, row * 5);
    struct velta_executor executor = {.thread_count = 2, .run = fixture_run};
    uint64_t pending;
    struct velta_error error;
    test_allocator_rearm(allocator);
    enum velta_status status = hnsw_link(f.index, UINT64_MAX, &executor, NULL, &pending, &error);
    test_allocator_disarm(allocator);
    fixture_check(&f);
    if (status) {
        assert_int_equal(status, VELTA_NO_MEMORY);
        assert_true(pending > 0);
    }
    fixture_link(&f, UINT64_MAX, 1);
    fixture_check(&f);
    fixture_close(&f);
    return status == VELTA_OK;
}

static void linking_survives_every_refusal(void **state) {
    (void)state;
    for (int removals = 0; removals < 2; removals++) {
        bool context = removals;
        struct test_allocator allocator;
        test_allocator_init(&allocator);
        assert_true(test_every_allocation_fails(&allocator, link_with_refusals, &context) > 5);
        test_allocator_check_empty(&allocator);
    }
}

static bool create_with_refusals(struct test_allocator *allocator, void *context) {
    (void)context;
    struct memory *memory = memory_create(&allocator->allocator, 0);
    struct velta_column spec = {.name = "v", .type = VELTA_VECTOR, .dimensions = 8};
    struct column *column;
    assert_int_equal(column_create(memory, &spec, 0, &column, NULL), VELTA_OK);
    struct hnsw_options options = {.dimensions = 8, .m = 4, .ef_construction = 8};
    struct hnsw *index = NULL;
    struct velta_error error;
    test_allocator_rearm(allocator);
    enum velta_status status = hnsw_create(memory, simd_select(NULL), column, &options, &index, &error);
    if (!status) {
        status = hnsw_reserve(index, 100, 50, &error);
        test_allocator_disarm(allocator);
        assert_int_equal(hnsw_pending(index), 0);
        assert_int_equal(hnsw_reserve(index, 100, 50, &error), VELTA_OK);
    }
    test_allocator_disarm(allocator);
    hnsw_destroy(index);
    column_destroy(column);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void creating_and_reserving_survive_every_refusal(void **state) {
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, create_with_refusals, NULL) > 3);
    test_allocator_check_empty(&allocator);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    static const struct hnsw_options wrong[] = {
        {.dimensions = 0, .m = 8, .ef_construction = 8}, {.dimensions = 8193, .m = 8, .ef_construction = 8},
        {.dimensions = 8, .m = 3, .ef_construction = 8}, {.dimensions = 8, .m = 65, .ef_construction = 8},
        {.dimensions = 8, .m = 8, .ef_construction = 0}, {.dimensions = 8, .m = 8, .ef_construction = 4097}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct hnsw *index = NULL;
        struct velta_error error;
        assert_int_equal(hnsw_create(f.memory, simd_select(NULL), f.column, &wrong[i], &index, &error), VELTA_INVALID);
        assert_null(index);
    }
    assert_int_equal(hnsw_reserve(f.index, 20000000, 16777215, NULL), VELTA_LIMIT);
    fixture_close(&f);
}

/* ---- the checker itself: it must see damage */

static void checker_sees_damage(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 300, 14);
    fixture_link(&f, UINT64_MAX, 1);
    fixture_check(&f);
    struct velta_error error;
    struct hnsw_links links;
    uint32_t victim = f.index->entry == 5 ? 6 : 5;
    hnsw_read_links(f.index, victim, 0, &links);
    uint32_t kept = links.ids[0];
    links.ids[0] = victim;
    hnsw_write_links(f.index, victim, 0, links.ids, links.count);
    assert_int_equal(hnsw_check(f.index, &error), VELTA_CORRUPT);
    assert_true(error.offset == victim);
    links.ids[0] = 300;
    hnsw_write_links(f.index, victim, 0, links.ids, links.count);
    assert_int_equal(hnsw_check(f.index, &error), VELTA_CORRUPT);
    links.ids[0] = links.ids[1];
    hnsw_write_links(f.index, victim, 0, links.ids, links.count);
    assert_int_equal(hnsw_check(f.index, &error), VELTA_CORRUPT);
    links.ids[0] = kept;
    hnsw_write_links(f.index, victim, 0, links.ids, links.count);
    fixture_check(&f);
    hnsw_block(f.index, victim)[3] ^= 1;
    assert_int_equal(hnsw_check(f.index, &error), VELTA_CORRUPT);
    hnsw_block(f.index, victim)[3] ^= 1;
    for (uint32_t node = 0; node < 300; node++) { /* nobody leads to the victim any more */
        hnsw_read_links(f.index, node, 0, &links);
        uint32_t left = 0;
        for (uint32_t i = 0; i < links.count; i++) {
            if (links.ids[i] != victim) links.ids[left++] = links.ids[i];
        }
        hnsw_write_links(f.index, node, 0, links.ids, left);
    }
    assert_int_equal(hnsw_check(f.index, &error), VELTA_CORRUPT);
    assert_true(error.offset == victim);
    fixture_close(&f);
}

static void must_see(const struct fixture *f, uint32_t *field, uint32_t wrong, const char *part) {
    struct velta_error error;
    uint32_t kept = *field;
    *field = wrong;
    assert_int_equal(hnsw_check_structure(f->index, &error), VELTA_CORRUPT);
    if (!strstr(error.text, part)) fail_msg("%s", error.text);
    *field = kept;
    fixture_check(f);
}

static void checker_sees_wrong_maps_and_counts(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 600, 15);
    struct hnsw *index = f.index;
    must_see(&f, &index->entry, 3, "an entry without a graph");
    assert_int_equal(fixture_link(&f, 0, 1), 600); /* none of them */
    fixture_link(&f, UINT64_MAX, 1);
    hnsw_remove(index, 70);
    fixture_link(&f, UINT64_MAX, 1); /* its node is free now */
    assert_int_equal(index->free_count, 1);
    must_see(&f, &index->first_free, index->node_count, "overlooked");
    must_see(&f, &index->row_of_node[9], index->row_capacity, "has another node");
    must_see(&f, &index->node_of_row[70], index->node_count, "row 70 has node");
    must_see(&f, &index->node_of_row[70], 9, "counts");
    uint32_t *const counts[] = {&index->linked_count, &index->tail_count, &index->removed_count, &index->repair_count,
                                &index->free_count};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        must_see(&f, counts[i], *counts[i] + 1, "counts");
    struct velta_error error;
    index->tail_bits[0] ^= 1;
    assert_int_equal(hnsw_check_structure(index, &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "tail bit"));
    index->tail_bits[0] ^= 1;
    fixture_add(&f, (const float[24]){1.0F});
    must_see(&f, &index->entry, index->node_of_row[600], "entry is not in the graph");
    fixture_close(&f);
}

static void checker_sees_wrong_upper_levels(void **state) {
    (void)state;
    struct fixture f;
    struct velta_error error;
    fixture_open(&f, &SMALL);
    fixture_fill(&f, 600, 15);
    fixture_link(&f, UINT64_MAX, 1);
    struct hnsw_upper *uppers = f.index->uppers, *high = NULL, *low = NULL;
    uint32_t plain = 0;
    while (hnsw_find_upper(f.index, plain))
        plain++;
    must_see(&f, &uppers[1].node, f.index->node_count, "out of place");
    must_see(&f, &uppers[1].node, plain, "out of place");
    must_see(&f, &uppers[1].node, uppers[0].node, "out of place");
    for (size_t i = 0; i < f.index->upper_count; i++) {
        if (uppers[i].level > 1) high = &uppers[i];
        if (uppers[i].level == 1) low = &uppers[i];
    }
    assert_true(high && low);
    uint32_t *links = hnsw_upper_links(f.index, high, 2);
    uint32_t kept[2] = {links[0], links[1]};
    links[0] = 1;
    links[1] = low->node;
    assert_int_equal(hnsw_check_structure(f.index, &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "above its level"));
    memcpy(links, kept, sizeof kept);
    uint8_t level = low->level;
    for (unsigned i = 0; i < 2; i++) {
        low->level = i ? HNSW_MAX_LEVEL + 1 : 0;
        assert_int_equal(hnsw_check_structure(f.index, &error), VELTA_CORRUPT);
        assert_non_null(strstr(error.text, "has level"));
    }
    low->level = level;
    fixture_check(&f);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_decode_to_within_half_a_step),
        cmocka_unit_test(codes_of_odd_vectors_stay_finite),
        cmocka_unit_test(distances_of_codes_are_those_of_decoded_vectors),
        cmocka_unit_test(keys_compare_as_distance_then_node),
        cmocka_unit_test(pool_keeps_the_least_in_order),
        cmocka_unit_test(levels_thin_out_by_m),
        cmocka_unit_test(every_size_metric_and_element_gives_a_whole_graph),
        cmocka_unit_test(threads_instruction_sets_and_capacity_do_not_matter),
        cmocka_unit_test(slices_are_whole_and_repeatable),
        cmocka_unit_test(copies_stay_reachable),
        cmocka_unit_test(cancelled_linking_leaves_a_whole_graph),
        cmocka_unit_test(linking_survives_every_refusal),
        cmocka_unit_test(creating_and_reserving_survive_every_refusal),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(checker_sees_damage),
        cmocka_unit_test(checker_sees_wrong_maps_and_counts),
        cmocka_unit_test(checker_sees_wrong_upper_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
