/*
 * Search: the oracle against a plain loop in doubles, then every approximation against the oracle. Without a clock, so
 * that the cost rule of filtered search decides the same way in every run.
 */
#include <math.h>

#include "core/bitmap.h"
#include "hnsw/search.h"
#include "tests/unit/hnsw_fixture.h"

enum { DIMENSIONS = 24, CENTRES = 40, MAX_ROWS = 12000, MAX_K = 16384 };

struct found {
    uint32_t rows[MAX_ROWS];
    float distances[MAX_ROWS];
    uint32_t count;
    struct hnsw_report report;
};

static void run(struct fixture *self, const struct hnsw_query *query, struct found *out) {
    struct velta_error error = {.text = ""};
    enum velta_status status =
        hnsw_search(self->index, query, out->rows, out->distances, &out->count, &out->report, &error);
    if (status != VELTA_OK) fail_msg("%s", error.text);
    for (uint32_t i = 1; i < out->count; i++) {
        assert_true(out->distances[i - 1] <= out->distances[i]);
        if (out->distances[i - 1] == out->distances[i]) assert_true(out->rows[i - 1] < out->rows[i]);
    }
}

/* Points around CENTRES centres, of different lengths. */
static void draw(struct random *random, const float *centres, uint32_t n, float *out) {
    const float *centre = centres + random_below(random, CENTRES) * n;
    float length = 0.5F + (float)random_unit(random);
    for (uint32_t i = 0; i < n; i++)
        out[i] = length * (centre[i] + 0.8F * random_gauss(random));
}

static float *make_centres(struct random *random, uint32_t n) {
    float *centres = malloc(CENTRES * n * sizeof *centres);
    assert_non_null(centres);
    random_vector(random, centres, CENTRES * n);
    return centres;
}

static void link_all(struct fixture *self) {
    uint64_t pending = 1;
    while (pending)
        assert_int_equal(hnsw_link(self->index, UINT64_MAX, NULL, NULL, &pending, NULL), VELTA_OK);
}

static double plain_distance(enum velta_metric metric, const float *a, const float *b, uint32_t n) {
    double dot = 0, aa = 0, bb = 0, square = 0;
    for (uint32_t i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i];
        dot += x * y;
        aa += x * x;
        bb += y * y;
        square += (x - y) * (x - y);
    }
    if (metric == VELTA_L2) return square;
    if (metric == VELTA_DOT) return -dot;
    return aa > 0 && bb > 0 ? 1 - dot / sqrt(aa * bb) : 1;
}

static int compare_doubles(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Distances of all rows that match, ascending; returns how many. */
static uint32_t plain_all(const struct fixture *self, const float *query, const uint64_t *rows, double *out) {
    float vector[256];
    uint32_t count = 0;
    for (uint32_t row = 0; row < self->row_count; row++) {
        if (!hnsw_contains(self->index, row) || (rows && !bitmap_get(rows, row))) continue;
        fixture_get(self, row, vector);
        out[count++] = plain_distance(self->column->spec.metric, query, vector, self->dimensions);
    }
    qsort(out, count, sizeof *out, compare_doubles);
    return count;
}

static const struct fixture_options kinds[] = {
    {.metric = VELTA_COSINE, .element = VELTA_F32},   {.metric = VELTA_L2, .element = VELTA_F32},
    {.metric = VELTA_DOT, .element = VELTA_F32},      {.metric = VELTA_COSINE, .element = VELTA_F16},
    {.metric = VELTA_L2, .element = VELTA_F16},       {.metric = VELTA_DOT, .element = VELTA_F16},
    {.metric = VELTA_COSINE, .element = VELTA_CODES}, {.metric = VELTA_L2, .element = VELTA_CODES},
    {.metric = VELTA_DOT, .element = VELTA_CODES},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void fill(struct fixture *self, const struct fixture_options *kind, uint32_t n, uint32_t rows,
                 struct random *random, const float *centres) {
    struct fixture_options options = *kind;
    options.dimensions = n;
    fixture_open(self, &options);
    float vector[256];
    for (uint32_t i = 0; i < rows; i++) {
        draw(random, centres, n, vector);
        fixture_add(self, vector);
    }
}

static void test_exact_is_a_plain_loop(void **state) {
    (void)state;
    static struct found found;
    static double all[MAX_ROWS];
    const uint32_t lengths[] = {1, 7, 24, 33, 100};
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned l = 0; l < 5; l++) {
            uint32_t n = lengths[l];
            struct random random = random_seeded(kind * 10 + l);
            float *centres = make_centres(&random, n), query[256], vector[256], again[256];
            struct fixture self;
            fill(&self, &kinds[kind], n, 300, &random, centres);
            for (unsigned round = 0; round < 4; round++) {
                draw(&random, centres, n, query);
                if (round == 3) memset(query, 0, sizeof query);
                struct hnsw_query asked = {.vector = query, .k = 20, .exact = true};
                run(&self, &asked, &found);
                assert_int_equal(plain_all(&self, query, NULL, all), 300);
                assert_int_equal(found.count, 20);
                assert_int_equal(found.report.strategy, HNSW_EXACT_VECTORS);
                hnsw_distances(self.index, query, found.rows, found.count, again);
                for (uint32_t i = 0; i < found.count; i++) {
                    double scale = fabs(all[299]) + fabs(all[0]) + 1;
                    assert_true(fabs((double)found.distances[i] - all[i]) < 1e-5 * scale);
                    assert_true(again[i] == found.distances[i]);
                    fixture_get(&self, found.rows[i], vector);
                    float same = hnsw_distance(self.index->simd, self.column->spec.metric, query, vector, n);
                    if (kinds[kind].element == VELTA_F32) assert_true(same == found.distances[i]);
                }
            }
            fixture_close(&self);
            free(centres);
        }
}

static void test_ties_by_row(void **state) {
    (void)state;
    static struct found found;
    struct random random = random_seeded(2);
    float *centres = make_centres(&random, DIMENSIONS), vectors[50][DIMENSIONS];
    struct fixture self;
    fill(&self, &kinds[0], DIMENSIONS, 0, &random, centres);
    for (unsigned i = 0; i < 50; i++)
        draw(&random, centres, DIMENSIONS, vectors[i]);
    for (unsigned i = 0; i < 1500; i++)
        fixture_add(&self, vectors[random_below(&random, 50)]);
    for (unsigned linked = 0; linked < 2; linked++) {
        for (unsigned i = 0; i < 50; i++) {
            struct hnsw_query asked = {.vector = vectors[i], .k = 12, .exact = i % 2};
            run(&self, &asked, &found); /* checks the order */
            assert_int_equal(found.count, 12);
            assert_true(fabsf(found.distances[11]) < 1e-6F);
        }
        link_all(&self);
    }
    fixture_close(&self);
    free(centres);
}

static void test_edges(void **state) {
    (void)state;
    static struct found found;
    struct random random = random_seeded(3);
    float *centres = make_centres(&random, DIMENSIONS), query[DIMENSIONS];
    struct fixture self;
    fill(&self, &kinds[0], DIMENSIONS, 0, &random, centres);
    draw(&random, centres, DIMENSIONS, query);
    struct hnsw_query asked = {.vector = query, .k = 5};
    run(&self, &asked, &found);
    assert_int_equal(found.count, 0);
    fixture_close(&self);
    fill(&self, &kinds[0], DIMENSIONS, 1000, &random, centres);
    uint64_t rows[32] = {0};
    float faint[DIMENSIONS];
    for (unsigned i = 0; i < DIMENSIONS; i++)
        faint[i] = i % 2 ? 1e-42F : -1e-42F;
    for (unsigned linked = 0; linked < 2; linked++) {
        asked = (struct hnsw_query){.vector = query, .k = 0};
        assert_int_equal(hnsw_search(self.index, &asked, found.rows, found.distances, &found.count, NULL, NULL),
                         VELTA_INVALID);
        asked.k = MAX_K + 1;
        assert_int_equal(hnsw_search(self.index, &asked, found.rows, found.distances, &found.count, NULL, NULL),
                         VELTA_INVALID);
        asked.k = 2000; /* more than there are */
        run(&self, &asked, &found);
        assert_int_equal(found.count, 1000);
        asked.rows = rows;
        run(&self, &asked, &found); /* nothing matches */
        assert_int_equal(found.count, 0);
        memset(rows, 0, sizeof rows);
        rows[3] = 7;
        asked.rows_count = 3;
        run(&self, &asked, &found);
        assert_int_equal(found.count, 3);
        for (unsigned i = 0; i < 3; i++)
            assert_in_range(found.rows[i], 192, 194);
        asked.rows_count = 5; /* two of them lie behind the last row that has a vector */
        run(&self, &asked, &found);
        assert_int_equal(found.count, 3);
        asked = (struct hnsw_query){.vector = faint, .k = 5}; /* too faint for a scale: as if it were zero */
        run(&self, &asked, &found);
        assert_int_equal(found.count, 5);
        asked.rows = rows;
        asked.vector = query;
        memset(rows, 0xFF, 15 * sizeof *rows);
        rows[15] = (UINT64_C(1) << 40) - 1;
        asked.rows_count = 1000;
        asked.k = 990;
        run(&self, &asked, &found);
        assert_int_equal(found.count, 990);
        memset(rows, 0, sizeof rows);
        link_all(&self);
    }
    fixture_close(&self);
    free(centres);
}

/* The share of the k nearest found, by distance. */
static double recall(const struct found *found, const double *all, uint32_t count, uint32_t k) {
    uint32_t wanted = count < k ? count : k, right = 0;
    assert_int_equal(found->count, wanted);
    double slack = 1e-5 * (fabs(all[wanted - 1]) + 1);
    for (uint32_t i = 0; i < wanted; i++)
        right += (double)found->distances[i] <= all[wanted - 1] + slack;
    return (double)right / (double)wanted;
}

static void test_recall_of_every_kind(void **state) {
    (void)state;
    static struct found found;
    static double all[MAX_ROWS];
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct random random = random_seeded(100 + kind);
        float *centres = make_centres(&random, DIMENSIONS), query[DIMENSIONS];
        struct fixture self;
        fill(&self, &kinds[kind], DIMENSIONS, 3000, &random, centres);
        link_all(&self);
        assert_int_equal(hnsw_calibrate(self.index, NULL), VELTA_OK);
        double sum = 0, scans = 0, wide = 0;
        for (unsigned round = 0; round < 40; round++) {
            draw(&random, centres, DIMENSIONS, query);
            uint32_t count = plain_all(&self, query, NULL, all);
            struct hnsw_query asked = {.vector = query, .k = 10};
            run(&self, &asked, &found);
            assert_int_equal(found.report.strategy, HNSW_GRAPH);
            assert_true(found.report.nodes_visited < 3000);
            sum += recall(&found, all, count, 10);
            asked.ef = 300;
            run(&self, &asked, &found);
            wide += recall(&found, all, count, 10);
            asked.rows_count = 700;
            uint64_t rows[3000 / 64 + 1] = {0};
            for (unsigned row = 0; row < 700; row++)
                bitmap_set(rows, row * 4);
            asked.rows = rows;
            count = plain_all(&self, query, rows, all);
            run(&self, &asked, &found);
            assert_int_equal(found.report.strategy, HNSW_EXACT_CODES);
            scans += recall(&found, all, count, 10);
        }
        if (sum < 0.97 * 40 || wide < 0.99 * 40 || scans < 0.999 * 40)
            fail_msg("kind %u: recall %.4f, wide %.4f, scan %.4f", kind, sum / 40, wide / 40, scans / 40);
        fixture_close(&self);
        free(centres);
    }
}

static void test_tail_and_removed(void **state) {
    (void)state;
    static struct found found;
    struct random random = random_seeded(5);
    float *centres = make_centres(&random, DIMENSIONS), query[DIMENSIONS], moved[DIMENSIONS];
    struct fixture self;
    fill(&self, &kinds[0], DIMENSIONS, 2000, &random, centres);
    link_all(&self);
    for (unsigned round = 0; round < 30; round++) {
        draw(&random, centres, DIMENSIONS, query);
        struct hnsw_query asked = {.vector = query, .k = 3};
        fixture_add(&self, query);
        run(&self, &asked, &found);
        assert_int_equal(found.rows[0], self.row_count - 1); /* not linked, and found */
        uint32_t gone = found.rows[1], far = found.rows[2];
        hnsw_remove(self.index, gone);
        for (unsigned i = 0; i < DIMENSIONS; i++)
            moved[i] = -query[i];
        fixture_set(&self, far, moved);
        for (unsigned exact = 0; exact < 2; exact++) {
            asked.exact = exact;
            asked.k = 50;
            run(&self, &asked, &found);
            assert_int_equal(found.count, 50);
            for (unsigned i = 0; i < 50; i++) {
                assert_int_not_equal(found.rows[i], gone);
                assert_int_not_equal(found.rows[i], far);
                for (unsigned j = 0; j < i; j++)
                    assert_int_not_equal(found.rows[i], found.rows[j]);
            }
        }
        asked = (struct hnsw_query){.vector = moved, .k = 1};
        run(&self, &asked, &found);
        assert_int_equal(found.rows[0], far); /* drifted into the tail, found where it is now */
        if (round % 10 == 9) {
            link_all(&self);
            fixture_check(&self);
        }
    }
    /* All but a few removed: the traversal meets mostly removed nodes, and the answer is whole. */
    for (uint32_t row = 0; row + 40 < self.row_count; row++)
        if (hnsw_contains(self.index, row)) hnsw_remove(self.index, row);
    struct hnsw_query asked = {.vector = query, .k = 1000};
    run(&self, &asked, &found);
    uint32_t left = 0;
    for (uint32_t row = 0; row < self.row_count; row++)
        left += hnsw_contains(self.index, row);
    assert_int_equal(found.count, left);
    fixture_close(&self);
    free(centres);
}

/* ---- filters */

struct ranked {
    float distance;
    uint32_t row;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    return x->distance < y->distance ? -1 : x->distance > y->distance;
}

enum place { AT_RANDOM, NEAR, FAR };

/* `count` rows, at random or at one end of the order by distance. */
static void choose(struct fixture *self, const float *query, enum place place, uint32_t count, struct random *random,
                   uint64_t *rows) {
    static struct ranked order[MAX_ROWS];
    float vector[256];
    for (uint32_t row = 0; row < self->row_count; row++) {
        fixture_get(self, row, vector);
        float distance = (float)plain_distance(self->column->spec.metric, query, vector, self->dimensions);
        order[row] = (struct ranked){place == AT_RANDOM ? (float)random_unit(random) : distance, row};
    }
    qsort(order, self->row_count, sizeof *order, compare_ranked);
    memset(rows, 0, bitmap_words(self->row_count) * 8);
    for (uint32_t i = 0; i < count; i++)
        bitmap_set(rows, order[place == FAR ? self->row_count - 1 - i : i].row);
}

static void test_filtered_recall(void **state) {
    (void)state;
    static struct found found;
    static double all[MAX_ROWS];
    static uint64_t rows[MAX_ROWS / 64 + 1];
    const double shares[] = {0.9, 0.5, 0.1, 0.01, 0.001};
    unsigned strategies[8] = {0};
    for (enum velta_metric metric = VELTA_COSINE; metric <= VELTA_DOT; metric++) {
        struct random random = random_seeded(40 + metric);
        float *centres = make_centres(&random, DIMENSIONS), query[DIMENSIONS];
        struct fixture self;
        struct fixture_options kind = {.metric = metric, .ef_construction = 100};
        fill(&self, &kind, DIMENSIONS, MAX_ROWS - 100, &random, centres);
        link_all(&self);
        for (unsigned i = 0; i < 100; i++) { /* a tail */
            draw(&random, centres, DIMENSIONS, query);
            fixture_add(&self, query);
        }
        assert_int_equal(hnsw_calibrate(self.index, NULL), VELTA_OK);
        for (unsigned s = 0; s < 5; s++)
            for (enum place place = AT_RANDOM; place <= FAR; place++) {
                double sum = 0;
                const unsigned rounds = 16;
                for (unsigned round = 0; round < rounds; round++) {
                    draw(&random, centres, DIMENSIONS, query);
                    uint32_t count = (uint32_t)(shares[s] * MAX_ROWS);
                    choose(&self, query, place, count, &random, rows);
                    struct hnsw_query asked = {.vector = query, .k = 10, .rows = rows, .rows_count = count};
                    run(&self, &asked, &found);
                    strategies[found.report.strategy]++;
                    for (uint32_t i = 0; i < found.count; i++)
                        assert_true(bitmap_get(rows, found.rows[i]));
                    assert_int_equal(plain_all(&self, query, rows, all), count);
                    sum += recall(&found, all, count, 10);
                }
                /* A graph over inner products, whose nearest are few long vectors, is walked less surely. */
                if (sum < (metric == VELTA_DOT ? 0.98 : 0.99) * rounds)
                    fail_msg("metric %d, share %g, place %d: recall %.4f", metric, shares[s], place, sum / rounds);
            }
        fixture_close(&self);
        free(centres);
    }
    assert_true(strategies[HNSW_EXACT_VECTORS] > 0);
    assert_true(strategies[HNSW_EXACT_CODES] > 0);
    assert_true(strategies[HNSW_GRAPH_FILTERED] > 0);
    assert_true(strategies[HNSW_GRAPH_THEN_EXACT] > 0);
}

/* Rows spread so densely at the distance asked for that codes cannot tell thousands of them apart. */
static void test_dense_distances(void **state) {
    (void)state;
    static struct found found;
    static double all[MAX_ROWS];
    struct random random = random_seeded(8);
    struct fixture self;
    struct fixture_options kind = {.metric = VELTA_COSINE, .dimensions = 64};
    fixture_open(&self, &kind);
    float centre[64], vector[64], query[64];
    random_unit_vector(&random, centre, 64);
    for (unsigned i = 0; i < 9000; i++) {
        for (unsigned j = 0; j < 64; j++)
            vector[j] = centre[j] + 0.0001F * random_gauss(&random);
        fixture_add(&self, vector);
    }
    for (unsigned round = 0; round < 5; round++) {
        random_unit_vector(&random, query, 64);
        uint32_t count = plain_all(&self, query, NULL, all);
        struct hnsw_query asked = {.vector = query, .k = 10};
        run(&self, &asked, &found);
        assert_int_equal(found.report.strategy, HNSW_EXACT_CODES);
        assert_true(found.report.rows_reranked > 1000);
        uint32_t right = 0;
        for (unsigned i = 0; i < 10; i++)
            right += (double)found.distances[i] <= all[9] + 1e-6;
        assert_int_equal(right, 10);
        assert_int_equal(count, 9000);
    }
    fixture_close(&self);
}

static void test_k_best(void **state) {
    (void)state;
    struct random random = random_seeded(11);
    for (size_t round = 0; round < test_rounds(300); round++) {
        uint32_t keep = 1 + (uint32_t)random_below(&random, 200), count = (uint32_t)random_below(&random, 1000);
        uint64_t keys[200 + HNSW_TOP_FRESH], all[1000];
        struct hnsw_top top = {.keys = keys, .capacity = keep};
        hnsw_top_start(&top, keep);
        for (uint32_t i = 0; i < count; i++) {
            all[i] = (random_below(&random, 1 << 20) << 10) + i;
            if (round % 3 == 0) all[i] = (UINT64_C(1) << 40) - i; /* each better than all before */
            hnsw_top_push(&top, all[i]);
        }
        hnsw_top_merge(&top);
        assert_int_equal(top.count, count < keep ? count : keep);
        for (uint32_t i = 0; i < top.count; i++) {
            uint32_t smaller = 0;
            for (uint32_t j = 0; j < count; j++)
                smaller += all[j] < top.keys[i];
            assert_int_equal(smaller, i);
        }
    }
}

static bool search_once(struct test_allocator *allocator, void *context) {
    struct random random = random_seeded(9);
    float *centres = context, query[DIMENSIONS];
    struct fixture self;
    struct fixture_options kind = {
        .metric = VELTA_COSINE, .dimensions = DIMENSIONS, .allocator = &allocator->allocator};
    fixture_open(&self, &kind);
    for (unsigned i = 0; i < 900; i++) {
        draw(&random, centres, DIMENSIONS, query);
        fixture_add(&self, query);
    }
    link_all(&self);
    uint32_t rows[300], count = 77;
    float distances[300];
    struct hnsw_query asked = {.vector = query, .k = 300};
    test_allocator_rearm(allocator);
    enum velta_status status = hnsw_search(self.index, &asked, rows, distances, &count, NULL, NULL);
    test_allocator_disarm(allocator);
    if (status == VELTA_OK) {
        assert_int_equal(count, 300);
    } else {
        assert_int_equal(status, VELTA_NO_MEMORY);
    }
    /* Refused or not, the next one works, and the one after it needs no memory. */
    assert_int_equal(hnsw_search(self.index, &asked, rows, distances, &count, NULL, NULL), VELTA_OK);
    struct memory_stats before, after;
    uint64_t asked_before = allocator->allocation_count;
    memory_get_stats(self.memory, &before);
    assert_int_equal(hnsw_search(self.index, &asked, rows, distances, &count, NULL, NULL), VELTA_OK);
    memory_get_stats(self.memory, &after);
    assert_int_equal(before.used_bytes, after.used_bytes);
    assert_int_equal(allocator->allocation_count, asked_before);
    assert_int_equal(rows[0], 899);
    fixture_close(&self);
    return status == VELTA_OK;
}

static void test_memory_refused(void **state) {
    (void)state;
    struct random random = random_seeded(10);
    float *centres = make_centres(&random, DIMENSIONS);
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, search_once, centres) > 4);
    test_allocator_check_empty(&allocator);
    free(centres);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_is_a_plain_loop),
        cmocka_unit_test(test_ties_by_row),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_recall_of_every_kind),
        cmocka_unit_test(test_tail_and_removed),
        cmocka_unit_test(test_filtered_recall),
        cmocka_unit_test(test_dense_distances),
        cmocka_unit_test(test_k_best),
        cmocka_unit_test(test_memory_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
