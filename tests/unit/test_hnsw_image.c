/* hnsw/image.c: parts there and back, with and without the graph; what is dirty; every kind of damage. */
#include <math.h>
#include <stddef.h>

#include "tests/unit/hnsw_fixture.h"

static const struct fixture_options SMALL = {.dimensions = 20, .m = 6, .ef_construction = 30};

/* An index with everything: linked, drifted, due for repair, removed, free, and a tail. */
static void fill_with_everything(struct fixture *f, const struct fixture_options *options, uint32_t rows) {
    struct random random = random_seeded(2);
    fixture_open(f, options);
    fixture_fill(f, rows, 1);
    fixture_link(f, rows - rows / 8, 1);
    for (uint32_t row = 0; row < rows; row += 9)
        hnsw_remove(f->index, row);
    fixture_link(f, rows / 30, 1);
    float vector[64];
    for (uint32_t row = 1; row < rows; row += 9) {
        fixture_get(f, row, vector);
        for (uint32_t i = 0; i < options->dimensions; i++)
            vector[i] += (row % 2 ? 0.18F : 0.6F) * random_gauss(&random);
        fixture_set(f, row, vector);
    }
    fixture_check(f);
    assert_true(f->index->removed_count && f->index->free_count && f->index->tail_count && f->index->repair_count);
}

/* A second column with the same rows, its index empty. */
static void open_twin(struct fixture *twin, const struct fixture *f, const struct fixture_options *options) {
    fixture_open(twin, options);
    float vector[64];
    for (uint32_t row = 0; row < f->row_count; row++) {
        struct column_values values = {.data = vector, .element = VELTA_F32};
        memset(vector, 0, sizeof vector);
        if (options->element != VELTA_CODES) column_get_vector(f->column, row, vector);
        assert_int_equal(column_reserve_append(twin->column, &values, row, 1, NULL), VELTA_OK);
        column_append(twin->column, &values, row, 1);
    }
    twin->row_count = f->row_count;
}

static void a_loaded_index_is_the_same_and_goes_on_the_same(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 9; kind++) {
        struct fixture_options options = SMALL;
        options.metric = (enum velta_metric)(kind % 3);
        options.element = (enum velta_element)(kind / 3);
        struct fixture f, twin;
        fill_with_everything(&f, &options, 600);
        open_twin(&twin, &f, &options);
        struct fixture_image image;
        fixture_image(&f, &image);
        assert_int_equal(fixture_load(&twin, &image, true, NULL), VELTA_OK);
        fixture_check(&twin);
        fixture_same_image(&f, &twin, "loaded");
        for (uint32_t row = 2; row < 600; row += 9)
            hnsw_remove(f.index, row), hnsw_remove(twin.index, row);
        fixture_fill(&f, 100, 3);
        fixture_fill(&twin, 100, 3);
        fixture_link(&f, UINT64_MAX, 1);
        fixture_link(&twin, UINT64_MAX, 2);
        fixture_check(&twin);
        fixture_same_image(&f, &twin, "after going on");
        free(image.bytes);
        fixture_close(&f);
        fixture_close(&twin);
    }
}

static void an_empty_index_has_an_image(void **state) {
    (void)state;
    struct fixture f, twin;
    fixture_open(&f, &SMALL);
    fixture_open(&twin, &SMALL);
    struct fixture_image image;
    fixture_image(&f, &image);
    assert_int_equal(image.size, 128);
    assert_int_equal(fixture_load(&twin, &image, true, NULL), VELTA_OK);
    fixture_fill(&twin, 20, 1);
    fixture_link(&twin, UINT64_MAX, 1);
    fixture_check(&twin);
    free(image.bytes);
    fixture_close(&f);
    fixture_close(&twin);
}

static void several_slabs_survive(void **state) {
    (void)state;
    struct fixture_options options = {.dimensions = 48, .m = 64, .ef_construction = 10};
    struct fixture f, twin;
    fixture_open(&f, &options);
    fixture_fill(&f, 9000, 4);
    assert_true(hnsw_part_count(f.index, HNSW_PART_CODES) == 37);
    fixture_link(&f, 200, 1);
    open_twin(&twin, &f, &options);
    struct fixture_image image;
    fixture_image(&f, &image);
    assert_int_equal(fixture_load(&twin, &image, true, NULL), VELTA_OK);
    fixture_check(&twin);
    fixture_same_image(&f, &twin, "several slabs");
    free(image.bytes);
    fixture_close(&f);
    fixture_close(&twin);
}

static void without_a_graph_every_row_is_in_the_tail(void **state) {
    (void)state;
    struct fixture f, twin;
    fill_with_everything(&f, &SMALL, 300);
    open_twin(&twin, &f, &SMALL);
    struct fixture_image image;
    fixture_image(&f, &image);
    assert_int_equal(fixture_load(&twin, &image, false, NULL), VELTA_OK);
    uint32_t rows = 0;
    for (uint32_t row = 0; row < 300; row++) {
        assert_true(hnsw_contains(twin.index, row) == hnsw_contains(f.index, row));
        rows += hnsw_contains(f.index, row);
    }
    assert_int_equal(twin.index->tail_count, rows);
    fixture_check(&twin);
    assert_int_equal(fixture_link(&twin, UINT64_MAX, 1), 0);
    fixture_check(&twin);
    free(image.bytes);
    fixture_close(&f);
    fixture_close(&twin);
}

static unsigned dirty_parts(const struct fixture *f, enum hnsw_part_kind kind) {
    unsigned dirty = 0;
    for (uint32_t part = 0; part < hnsw_part_count(f->index, kind); part++)
        dirty |= (unsigned)hnsw_part_dirty(f->index, kind, part) << part;
    return dirty;
}

static void clean(struct fixture *f) {
    for (unsigned kind = HNSW_PART_CODES; kind <= HNSW_PART_GRAPH; kind++) {
        for (uint32_t part = 0; part < hnsw_part_count(f->index, (enum hnsw_part_kind)kind); part++)
            hnsw_part_clean(f->index, (enum hnsw_part_kind)kind, part);
        assert_int_equal(dirty_parts(f, (enum hnsw_part_kind)kind), 0);
    }
}

/* Whatever a change alters in an image, its part is dirty. */
static void dirty_parts_cover_every_change(void **state) {
    (void)state;
    struct fixture_options options = {.dimensions = 48, .m = 64, .ef_construction = 10};
    struct fixture f;
    struct random random = random_seeded(5);
    fixture_open(&f, &options);
    fixture_fill(&f, 5000, 6);
    assert_int_equal(dirty_parts(&f, HNSW_PART_CODES), 0x1FFFFF);
    clean(&f);
    float vector[48];
    for (int step = 0; step < 60; step++) {
        struct fixture_image before, after;
        fixture_image(&f, &before);
        uint32_t row = (uint32_t)random_below(&random, f.row_count);
        uint64_t what = random_below(&random, 4);
        if (what == 0 && hnsw_contains(f.index, row)) {
            hnsw_remove(f.index, row);
        } else if (what == 1 && hnsw_contains(f.index, row)) {
            fixture_get(&f, row, vector);
            vector[step % 48] += 0.5F * random_gauss(&random) * (float)(step % 7);
            fixture_set(&f, row, vector);
        } else if (what == 2) {
            fixture_fill(&f, 1, 7 + (uint64_t)step);
        } else {
            fixture_link(&f, 40, 1);
        }
        fixture_image(&f, &after);
        for (unsigned kind = 0; kind < 2; kind++) {
            for (uint32_t part = 0; part < after.parts[kind]; part++) {
                size_t old = before.offsets[kind][part + 1] - before.offsets[kind][part];
                size_t now = after.offsets[kind][part + 1] - after.offsets[kind][part];
                bool same = part < before.parts[kind] && old == now &&
                            memcmp(before.bytes + before.offsets[kind][part], after.bytes + after.offsets[kind][part],
                                   now) == 0;
                if (!same) assert_true(hnsw_part_dirty(f.index, kind ? HNSW_PART_GRAPH : HNSW_PART_CODES, part));
            }
        }
        free(before.bytes);
        free(after.bytes);
        clean(&f);
    }
    for (uint32_t row = 0; row < f.row_count; row++) { /* a change in the first slab leaves the second clean */
        if (!hnsw_contains(f.index, row) || f.index->node_of_row[row] >> f.index->slab_shift != 0) continue;
        hnsw_remove(f.index, row);
        break;
    }
    assert_int_equal(dirty_parts(&f, HNSW_PART_CODES), 2);
    fixture_close(&f);
}

/* Uses whatever was believed, so that a sanitizer sees what a lie would do. */
static void use(struct fixture *f) {
    struct hnsw *index = f->index;
    if (index->entry == HNSW_NO_NODE) return;
    float query[20] = {1.0F, -2.0F};
    hnsw_probe_vector(index, query, &index->scratch->probe);
    uint64_t seed = hnsw_descend(index, index->scratch, 0);
    hnsw_visited_next(&index->scratch->visited);
    index->scratch->pool[0] = seed;
    index->scratch->pool_count = 1;
    hnsw_beam(index, index->scratch, 30, UINT32_MAX);
}

static void damage_is_refused_or_harmless(void **state) {
    (void)state;
    struct random random = random_seeded(8);
    struct fixture f;
    fill_with_everything(&f, &SMALL, 200);
    struct fixture_image image;
    fixture_image(&f, &image);
    size_t refused = 0, rounds = test_rounds(1500);
    for (size_t round = 0; round < rounds; round++) {
        size_t at = (size_t)random_below(&random, image.size);
        if (random_chance(&random, 20)) at = (size_t)random_below(&random, 64); /* heads deserve more */
        uint8_t *byte = image.bytes + at, kept = *byte;
        *byte = (uint8_t)random_u64(&random);
        if (random_chance(&random, 50)) *byte = (uint8_t)(kept ^ (1U << random_below(&random, 8)));
        struct fixture twin;
        struct velta_error error = {.code = VELTA_OK};
        open_twin(&twin, &f, &SMALL);
        enum velta_status status = fixture_load(&twin, &image, true, &error);
        if (status) {
            assert_true(status == VELTA_CORRUPT && error.code == VELTA_CORRUPT && error.text[0]);
            refused++;
        } else {
            assert_int_equal(hnsw_check_structure(twin.index, NULL), VELTA_OK);
            use(&twin);
            fixture_link(&twin, UINT64_MAX, 1);
        }
        *byte = kept;
        fixture_close(&twin);
    }
    assert_true(refused > rounds / 2);
    free(image.bytes);
    fixture_close(&f);
}

static void every_other_size_is_refused(void **state) {
    (void)state;
    struct fixture f;
    fill_with_everything(&f, &SMALL, 100);
    struct fixture_image image;
    fixture_image(&f, &image);
    for (unsigned kind = 0; kind < 2; kind++) {
        for (uint32_t part = 0; part < image.parts[kind]; part++) {
            size_t from = image.offsets[kind][part], size = image.offsets[kind][part + 1] - from;
            for (size_t cut = 0; cut <= size + 64; cut += cut < 70 || cut + 70 > size ? 1 : 97) {
                if (cut == size) continue;
                struct fixture twin;
                open_twin(&twin, &f, &SMALL);
                struct velta_error error;
                enum velta_status status = VELTA_OK;
                for (unsigned k = 0; k <= kind && !status; k++) {
                    for (uint32_t p = 0; p < image.parts[k] && !status; p++) {
                        bool here = k == kind && p == part;
                        size_t start = image.offsets[k][p], bytes = here ? cut : image.offsets[k][p + 1] - start;
                        uint8_t *exact = calloc(1, bytes + 1);
                        assert_non_null(exact);
                        size_t some = here && cut > size ? size : bytes;
                        memcpy(exact, image.bytes + start, some);
                        status = hnsw_part_read(twin.index, k ? HNSW_PART_GRAPH : HNSW_PART_CODES, p, f.row_count,
                                                exact, bytes, &error);
                        free(exact);
                    }
                }
                if (!status) status = hnsw_load_finish(twin.index, &error);
                assert_int_equal(status, VELTA_CORRUPT);
                fixture_close(&twin);
            }
        }
    }
    free(image.bytes);
    fixture_close(&f);
}

static void a_refused_graph_leaves_the_codes(void **state) {
    (void)state;
    struct fixture f, twin;
    fill_with_everything(&f, &SMALL, 200);
    open_twin(&twin, &f, &SMALL);
    struct fixture_image image;
    fixture_image(&f, &image);
    image.bytes[image.offsets[1][0] + 8] = 9; /* the top level */
    struct velta_error error;
    assert_int_equal(fixture_load(&twin, &image, true, &error), VELTA_CORRUPT);
    fixture_check(&twin);
    assert_true(twin.index->tail_count == twin.index->node_count - twin.index->free_count);
    fixture_link(&twin, UINT64_MAX, 1);
    fixture_check(&twin);
    free(image.bytes);
    fixture_close(&f);
    fixture_close(&twin);
}

/* The image with `size` bytes at `at` replaced; the sentence of its refusal has `part`. */
static void expect_refusal(const struct fixture *f, struct fixture_image *image, size_t at, const void *bytes,
                           size_t size, const char *part) {
    uint8_t kept[8];
    struct fixture twin;
    struct velta_error error;
    open_twin(&twin, f, &SMALL);
    memcpy(kept, image->bytes + at, size);
    memcpy(image->bytes + at, bytes, size);
    assert_int_equal(fixture_load(&twin, image, true, &error), VELTA_CORRUPT);
    if (!strstr(error.text, part)) fail_msg("%s", error.text);
    memcpy(image->bytes + at, kept, size);
    fixture_close(&twin);
}

static void parts_and_values_out_of_place_are_refused(void **state) {
    (void)state;
    static const float endless[] = {(float)INFINITY, -(float)INFINITY, (float)NAN};
    struct fixture f, twin;
    struct velta_error error;
    fill_with_everything(&f, &SMALL, 60);
    struct fixture_image image;
    fixture_image(&f, &image);
    size_t params = image.offsets[0][2] - f.index->links_offset + f.index->params_offset; /* of the last node */
    size_t drift = image.offsets[0][1] + (60 * sizeof(uint32_t) + 63) / 64 * 64; /* of the first node, after 60 rows */
    for (size_t i = 0; i < 3; i++) {
        expect_refusal(&f, &image, params + offsetof(struct hnsw_params, lo), &endless[i], 4, "not finite");
        expect_refusal(&f, &image, params + offsetof(struct hnsw_params, norm), &endless[i], 4, "not finite");
        expect_refusal(&f, &image, drift, &endless[i], 4, "not a length");
    }
    expect_refusal(&f, &image, drift, &(const float){-1.0F}, 4, "not a length");
    assert_true(f.index->upper_count > 0);
    expect_refusal(&f, &image, image.offsets[1][0] + 64 + 4, &(const uint32_t){0}, 4, "out of place"); /* a level */
    open_twin(&twin, &f, &SMALL);
    assert_int_equal(fixture_load(&twin, &image, true, &error), VELTA_OK);
    assert_int_equal(hnsw_part_read(twin.index, HNSW_PART_CODES, 0, twin.row_count, image.bytes, 64, &error),
                     VELTA_INVALID); /* it is not empty */
    fixture_close(&twin);
    open_twin(&twin, &f, &SMALL);
    for (unsigned kind = 0; kind < 2; kind++) {
        for (uint32_t part = 0; part < image.parts[kind]; part++) {
            size_t from = image.offsets[kind][part], size = image.offsets[kind][part + 1] - from;
            assert_int_equal(hnsw_part_read(twin.index, kind ? HNSW_PART_GRAPH : HNSW_PART_CODES, part, f.row_count,
                                            image.bytes + from, size, &error),
                             VELTA_OK);
        }
    }
    assert_int_equal(hnsw_part_read(twin.index, HNSW_PART_GRAPH, image.parts[1], f.row_count, image.bytes, 64, &error),
                     VELTA_CORRUPT); /* one more than there are */
    fixture_close(&twin);
    free(image.bytes);
    fixture_close(&f);
}

struct loading {
    const struct fixture *from;
    const struct fixture_image *image;
};

static bool load_with_refusals(struct test_allocator *allocator, void *context) {
    const struct loading *loading = context;
    struct fixture_options options = SMALL;
    options.allocator = &allocator->allocator;
    struct fixture twin;
    open_twin(&twin, loading->from, &options);
    struct velta_error error;
    test_allocator_rearm(allocator);
    enum velta_status status = fixture_load(&twin, loading->image, true, &error);
    test_allocator_disarm(allocator);
    if (status) assert_int_equal(status, VELTA_NO_MEMORY);
    if (!status) fixture_check(&twin);
    fixture_close(&twin);
    return status == VELTA_OK;
}

static void loading_survives_every_refusal(void **state) {
    (void)state;
    struct fixture f;
    fill_with_everything(&f, &SMALL, 150);
    struct fixture_image image;
    fixture_image(&f, &image);
    struct loading loading = {.from = &f, .image = &image};
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, load_with_refusals, &loading) > 5);
    test_allocator_check_empty(&allocator);
    free(image.bytes);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_index_is_the_same_and_goes_on_the_same),
        cmocka_unit_test(an_empty_index_has_an_image),
        cmocka_unit_test(several_slabs_survive),
        cmocka_unit_test(without_a_graph_every_row_is_in_the_tail),
        cmocka_unit_test(dirty_parts_cover_every_change),
        cmocka_unit_test(damage_is_refused_or_harmless),
        cmocka_unit_test(every_other_size_is_refused),
        cmocka_unit_test(a_refused_graph_leaves_the_codes),
        cmocka_unit_test(parts_and_values_out_of_place_are_refused),
        cmocka_unit_test(loading_survives_every_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
