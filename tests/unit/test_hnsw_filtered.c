/*
 * Filtered search under a clock: whatever costs are measured, only the way changes; every answer is whole and right.
 * Further: the most rows that may be asked for, distances that are no numbers, refused memory before linking.
 */
#include "core/bitmap.h"
#include "hnsw/search.h"
#include "tests/unit/hnsw_fixture.h"

enum { DIMENSIONS = 8, ROWS = 36000, K = 10, MAX_K = 16384, ORDERED_ROWS = 4200 };

/* A clock that goes `step_ns` further whenever it is asked. */
struct clock {
    uint64_t now_ns;
    uint64_t step_ns;
};

static uint64_t clock_ns(void *context) {
    struct clock *clock = context;
    return clock->now_ns += clock->step_ns;
}

struct found {
    uint32_t rows[MAX_K];
    float distances[MAX_K];
    uint32_t count;
    struct hnsw_report report;
};

static void run(struct fixture *self, const struct hnsw_query *query, struct found *out) {
    assert_int_equal(hnsw_search(self->index, query, out->rows, out->distances, &out->count, &out->report, NULL),
                     VELTA_OK);
    for (uint32_t i = 0; i < out->count; i++) {
        assert_true(!query->rows || bitmap_get(query->rows, out->rows[i]));
        if (i > 0) assert_true(out->distances[i - 1] <= out->distances[i]);
    }
}

static struct fixture linked;

static int open_linked(void **state) {
    (void)state;
    struct fixture_options options = {.dimensions = DIMENSIONS, .metric = VELTA_L2, .m = 8, .ef_construction = 30};
    fixture_open(&linked, &options);
    fixture_fill(&linked, ROWS, 3);
    while (fixture_link(&linked, UINT64_MAX, 1) > 0) {}
    return 0;
}

static int close_linked(void **state) {
    (void)state;
    fixture_close(&linked);
    return 0;
}

static void set_clock(struct fixture *self, struct clock *clock) {
    self->index->options.clock_ns = clock ? clock_ns : NULL;
    self->index->options.clock_context = clock;
    self->index->cost_scan_ns = self->index->cost_visit_ns = self->index->hard_visits = 0.0F;
}

/* Rows whose first coordinate is above `least` (or below, negated), at random thinned to one in `share`. */
static uint64_t choose(const struct fixture *self, struct random *random, float least, bool below, unsigned share,
                       uint64_t *rows) {
    uint64_t count = 0;
    float vector[DIMENSIONS];
    memset(rows, 0, bitmap_words(ROWS) * sizeof *rows);
    for (uint32_t row = 0; row < self->row_count; row++) {
        fixture_get(self, row, vector);
        if ((vector[0] > least) == below || random_below(random, share) != 0) continue;
        bitmap_set(rows, row);
        count++;
    }
    return count;
}

static void costs_choose_the_way(void **state) {
    (void)state;
    static struct found found;
    static uint64_t rows[ROWS / 64 + 1];
    struct random random = random_seeded(1);
    struct clock clock = {1, 0};
    float query[DIMENSIONS];
    set_clock(&linked, &clock);
    fixture_vector(&random, 12, query, DIMENSIONS);
    uint64_t count = choose(&linked, &random, -100.0F, false, 32, rows);
    struct hnsw_query asked = {.vector = query, .k = K, .rows = rows, .rows_count = count};
    assert_true(count > 768 && count < 1500);
    run(&linked, &asked, &found);
    assert_int_equal(found.report.strategy, HNSW_EXACT_CODES); /* so few rows are scanned */
    clock.step_ns = 1000000000;
    run(&linked, &asked, &found);
    assert_true(linked.index->cost_scan_ns > 10000.0F);
    run(&linked, &asked, &found); /* a scan is known to be dear */
    assert_int_equal(found.report.strategy, HNSW_GRAPH_FILTERED);
    assert_true(linked.index->cost_visit_ns > 1000.0F);
    linked.index->cost_scan_ns = 0.001F; /* and now it is known to cost nothing */
    run(&linked, &asked, &found);
    assert_int_equal(found.report.strategy, HNSW_EXACT_CODES);
    set_clock(&linked, NULL);
}

/* Filters near to and far from the queries, with costs that jump about. */
static void every_way_is_right(void **state) {
    (void)state;
    static struct found found, best;
    static uint64_t rows[ROWS / 64 + 1];
    struct random random = random_seeded(2);
    struct clock clock = {1, 1};
    float query[DIMENSIONS];
    uint32_t strategies[HNSW_GRAPH_THEN_EXACT + 1] = {0}, hits = 0, wanted = 0;
    set_clock(&linked, &clock);
    for (size_t round = 0; round < 240; round++) {
        if (round % 8 == 0) /* costs as other machines might have learnt them */
            set_clock(&linked, round % 16 == 0 ? &clock : NULL);
        clock.step_ns = (uint64_t)1 << random_below(&random, 30);
        fixture_vector(&random, 12, query, DIMENSIONS);
        uint64_t count = choose(&linked, &random, query[0] + 0.5F * (float)random_below(&random, 4),
                                random_chance(&random, 30), 1 + (unsigned)random_below(&random, 3), rows);
        if (count == 0) continue;
        struct hnsw_query asked = {.vector = query, .k = round % 24 == 5 ? 400 : K, .rows = rows, .rows_count = count};
        run(&linked, &asked, &found);
        strategies[found.report.strategy]++;
        asked.exact = true;
        run(&linked, &asked, &best);
        assert_int_equal(found.count, best.count);
        for (uint32_t i = 0; i < found.count; i++)
            hits += found.distances[i] <= best.distances[best.count - 1];
        wanted += best.count;
    }
    if (hits < 0.97 * wanted) fail_msg("%u of %u found", hits, wanted);
    assert_true(strategies[HNSW_EXACT_CODES] > 0 && strategies[HNSW_GRAPH_FILTERED] > 0 &&
                strategies[HNSW_GRAPH_THEN_EXACT] > 0);
    set_clock(&linked, NULL);
}

/* As many rows as may be asked for, of twice as many, through the graph. */
static void as_many_as_may_be_asked_for(void **state) {
    (void)state;
    static struct found found, best;
    static uint64_t rows[ROWS / 64 + 1];
    struct random random = random_seeded(3);
    float query[DIMENSIONS];
    fixture_vector(&random, 12, query, DIMENSIONS);
    uint64_t count = choose(&linked, &random, -100.0F, false, 2, rows);
    assert_true(count > MAX_K);
    struct hnsw_query asked = {.vector = query, .k = MAX_K, .rows = rows, .rows_count = count};
    set_clock(&linked, NULL);
    linked.index->cost_scan_ns = 1e6F; /* so that the graph answers */
    run(&linked, &asked, &found);
    assert_int_equal(found.report.strategy, HNSW_GRAPH_FILTERED);
    asked.exact = true;
    run(&linked, &asked, &best);
    assert_int_equal(found.count, MAX_K);
    uint32_t hits = 0;
    for (uint32_t i = 0; i < MAX_K; i++)
        hits += found.distances[i] <= best.distances[MAX_K - 1];
    if (hits < 0.95 * MAX_K) fail_msg("%u of %d found", hits, MAX_K);
    set_clock(&linked, NULL);
}

/* inf - inf: such a row is the farthest, behind all that have a distance. */
static void what_is_no_number_is_farthest(void **state) {
    (void)state;
    static struct found found;
    const float vectors[3][2] = {{3e38F, 3e38F}, {1.0F, 1.0F}, {0.0F, -1.0F}};
    const float query[2] = {3e38F, -3e38F};
    struct fixture self;
    struct fixture_options options = {.dimensions = 2, .metric = VELTA_DOT};
    fixture_open(&self, &options);
    for (int i = 0; i < 3; i++)
        fixture_add(&self, vectors[i]);
    struct hnsw_query asked = {.vector = query, .k = 3, .exact = true};
    run(&self, &asked, &found);
    assert_int_equal(found.count, 3);
    assert_true(found.rows[0] == 2 && found.rows[1] == 1 && found.rows[2] == 0);
    hnsw_prefetch(self.index, UINT32_MAX - 1, true); /* a row that there is not: nothing */
    fixture_close(&self);
}

/* Linking begins with putting the tail in order, in memory of its own: refused there, nothing is linked. */
static bool link_some(struct test_allocator *allocator, void *context) {
    unsigned *untouched = context;
    struct fixture self;
    struct fixture_options options = {
        .dimensions = 4, .metric = VELTA_L2, .m = 4, .ef_construction = 16, .allocator = &allocator->allocator};
    fixture_open(&self, &options);
    fixture_fill(&self, ORDERED_ROWS, 4);
    uint64_t pending = 0;
    test_allocator_rearm(allocator);
    enum velta_status status = hnsw_link(self.index, 50, NULL, NULL, &pending, NULL);
    test_allocator_disarm(allocator);
    assert_true(status == VELTA_OK || status == VELTA_NO_MEMORY);
    fixture_check(&self);
    *untouched += hnsw_pending(self.index) == ORDERED_ROWS;
    fixture_link(&self, 50, 1);
    fixture_check(&self);
    fixture_close(&self);
    return status == VELTA_OK;
}

static void ordering_survives_refusals(void **state) {
    (void)state;
    struct test_allocator allocator;
    unsigned untouched = 0;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, link_some, &untouched) > 10);
    assert_true(untouched >= 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_choose_the_way),        cmocka_unit_test(every_way_is_right),
        cmocka_unit_test(as_many_as_may_be_asked_for), cmocka_unit_test(what_is_no_number_is_farthest),
        cmocka_unit_test(ordering_survives_refusals),
    };
    return cmocka_run_group_tests(tests, open_linked, close_linked);
}
