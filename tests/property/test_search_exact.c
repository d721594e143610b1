/*
 * Search against a plain loop over doubles: every metric and element, filters of every selectivity, the present and the
 * past, k from 1 to more than there are rows, rows without a vector, deleted and expired ones, rows in the graph and in
 * the tail, indexes linked by one thread and by several.
 *
 * The rule of comparison. Every row of an answer is there once, lives, matches, has a vector; distances ascend, equal
 * ones by row number; as many come as there are, k at most. A distance differs from the loop's by no more than SLACK
 * times the sum of the sizes of what was added up (f32 sums of 16 lanes err far less). Exact: no row left out is nearer
 * than the last one given by more than twice that. Approximate: such rows are counted, and the share of those found
 * must reach the floor.
 */
#include "store/velta.h"
#include "tests/support/support.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS = 24, MOST_ROWS = 3000, SCALE = 10000, START_MS = 1000000, MOST_K = 16384, MOST_QUERIES = 4 };
#define SLACK 2e-6
#define FLOOR 0.96

#if defined(VELTA_TESTING)
enum { QUERIES = 240 }; /* the sanitizers are slow */
#else
enum { QUERIES = 2400 };
#endif

static uint64_t comparisons, differences;
static uint64_t wanted, found; /* by approximate searches for at most 100 rows */

struct row {
    bool lives, has_vector, has_number;
    int64_t expires_ms;
    int64_t number; /* 0 .. SCALE - 1 */
    float vector[DIMENSIONS];
};
struct state {
    int64_t time_ms;
    uint32_t count;
    struct row rows[MOST_ROWS];
};

struct world {
    struct random random;
    int64_t now_ms;
    velta *db;
    velta_table *table;
    enum velta_metric metric;
    enum velta_element element;
    struct state *now, *then;
    const char *about;
};

static int64_t world_clock(void *context) {
    return ((struct world *)context)->now_ms;
}

static void ok(enum velta_status status, const struct velta_error *error) {
    if (status) fail_msg("%s: %s", velta_status_name(status), error->text);
}

/* ---- a table and its copy */

static void world_open(struct world *world, uint64_t seed, uint32_t threads) {
    struct velta_error error;
    struct velta_options options = {
        .now_ms = world_clock, .now_context = world, .thread_count = threads, .chain_interval = 5};
    const struct velta_column columns[] = {
        {.name = "number", .type = VELTA_INT},
        {.name = "v",
         .type = VELTA_VECTOR,
         .dimensions = DIMENSIONS,
         .metric = world->metric,
         .element = world->element,
         .m = 8,
         .ef_construction = 60},
    };
    world->random = random_seeded(seed);
    world->now_ms = START_MS;
    world->now = calloc(1, sizeof *world->now);
    world->then = calloc(1, sizeof *world->then);
    assert_true(world->now && world->then);
    ok(velta_open(NULL, &options, &world->db, &error), &error);
    ok(velta_table_create(world->db, "t", columns, 2, &world->table, &error), &error);
}

static void world_close(struct world *world) {
    struct velta_error error;
    ok(velta_close(world->db, &error), &error);
    free(world->now);
    free(world->then);
}

/* What is kept of a row's vector: f16 and codes round. */
static void read_back(struct world *world, uint32_t row) {
    struct velta_error error;
    float *vector = world->now->rows[row].vector;
    if (world->element == VELTA_F32 || !world->now->rows[row].has_vector) return;
    ok(velta_get_vector(world->table, "v", row, 0, vector, &error), &error);
}

static void add_rows(struct world *world, uint32_t count) {
    struct velta_error error;
    struct random *random = &world->random;
    uint32_t first = world->now->count;
    int64_t *numbers = calloc(count + 1, sizeof *numbers);
    float *vectors = calloc(count + 1, DIMENSIONS * sizeof *vectors);
    uint64_t *has_number = calloc(count / 64 + 1, 8), *has_vector = calloc(count / 64 + 1, 8);
    assert_true(numbers && vectors && has_number && has_vector && first + count <= MOST_ROWS);
    for (uint32_t i = 0; i < count; i++) {
        struct row *row = &world->now->rows[first + i];
        *row = (struct row){.lives = true,
                            .has_vector = !random_chance(random, 6),
                            .has_number = !random_chance(random, 4),
                            .expires_ms = INT64_MAX};
        row->number = numbers[i] = (int64_t)random_below(random, SCALE);
        random_vector(random, row->vector, DIMENSIONS);
        if (random_chance(random, 1)) memset(row->vector, 0, sizeof row->vector);
        if (i > 0 && random_chance(random, 2)) memcpy(row->vector, row[-1].vector, sizeof row->vector); /* a tie */
        memcpy(vectors + (size_t)i * DIMENSIONS, row->vector, sizeof row->vector);
        has_number[i / 64] |= (uint64_t)row->has_number << (i % 64);
        has_vector[i / 64] |= (uint64_t)row->has_vector << (i % 64);
    }
    const struct velta_values values[] = {
        {.column = "number", .data = numbers, .valid = has_number},
        {.column = "v", .data = vectors, .valid = has_vector},
    };
    ok(velta_insert(world->table, values, 2, count, NULL, NULL, &error), &error);
    world->now->count += count;
    for (uint32_t i = first; i < world->now->count; i++)
        read_back(world, i);
    free(numbers);
    free(vectors);
    free(has_number);
    free(has_vector);
}

static void change_vector(struct world *world, uint32_t at) {
    struct velta_error error;
    struct row *row = &world->now->rows[at];
    float values[DIMENSIONS];
    random_vector(&world->random, values, DIMENSIONS);
    bool set = random_chance(&world->random, 50);
    struct velta_delta delta = {
        .operation = VELTA_DELTA_DENSE, .set = set, .row = at, .use_row = true, .count = DIMENSIONS, .values = values};
    for (size_t i = 0; i < DIMENSIONS; i++)
        row->vector[i] = set ? values[i] : row->vector[i] + values[i];
    ok(velta_apply(world->table, "v", &delta, 1, 0, NULL, &error), &error);
    read_back(world, at);
}

static void change_some(struct world *world, uint32_t count) {
    struct velta_error error;
    for (uint32_t i = 0; i < count && world->now->count > 0; i++) {
        uint32_t at = (uint32_t)random_below(&world->random, world->now->count), deleted;
        struct row *row = &world->now->rows[at];
        const struct velta_keys key = {.rows = &at};
        world->now_ms++;
        if (!row->lives || row->expires_ms <= world->now_ms) continue;
        switch (random_below(&world->random, 6)) {
        case 0:
            ok(velta_delete(world->table, &key, 1, &deleted, &error), &error);
            row->lives = false;
            break;
        case 1:
            row->expires_ms = world->now_ms + (int64_t)random_below(&world->random, 2 * count);
            ok(velta_expire_at(world->table, &key, 1, &row->expires_ms, &error), &error);
            break;
        case 2:
            row->number = (int64_t)random_below(&world->random, SCALE);
            row->has_number = true;
            ok(velta_update(world->table, &key, 1, &(struct velta_values){.column = "number", .data = &row->number}, 1,
                            NULL, &error),
               &error);
            break;
        default:
            if (row->has_vector) change_vector(world, at);
        }
    }
}

/* ---- the loop */

struct truth {
    double distance, slack;
};

static struct truth truth_of(enum velta_metric metric, const float *a, const float *b) {
    double ab = 0, aa = 0, bb = 0, l2 = 0, size = 0;
    for (size_t i = 0; i < DIMENSIONS; i++) {
        double x = a[i], y = b[i];
        ab += x * y;
        aa += x * x;
        bb += y * y;
        l2 += (x - y) * (x - y);
        size += fabs(x * y);
    }
    if (metric == VELTA_L2) return (struct truth){l2, SLACK * l2};
    if (metric == VELTA_DOT) return (struct truth){-ab, SLACK * size};
    return (struct truth){aa > 0 && bb > 0 ? 1 - ab / sqrt(aa * bb) : 1, 2 * SLACK};
}

/* What a question is about; the filter is number < below, or none. */
struct question {
    const struct state *state;
    int64_t moment_ms;
    int64_t below; /* -1: no filter */
    uint32_t k;
    bool exact;
    bool past;
    size_t slots; /* where its slots begin: several queries may be asked in one call */
    const float *query;
};

static bool is_candidate(const struct question *question, const struct row *row, bool with_vector) {
    if (!row->lives || row->expires_ms <= question->moment_ms || (with_vector && !row->has_vector)) return false;
    return question->below < 0 || (row->has_number && row->number < question->below);
}

static void differ(const struct world *world, const struct question *question, const char *text, double a, double b) {
    differences++;
    fail_msg("%s, %s, number < %" PRId64 ", k %u%s: %s: %.9g, %.9g", world->about, question->past ? "past" : "present",
             question->below, question->k, question->exact ? ", exact" : "", text, a, b);
}

/* The rows given, one after another; marks them. Returns the last distance. */
static double check_given(const struct world *world, const struct question *question, const velta_result *result,
                          size_t count, bool *given) {
    const uint32_t *rows = velta_result_rows(result) + question->slots;
    const float *distances = velta_result_distances(result) + question->slots;
    for (size_t i = 0; i < count; i++) {
        uint32_t at = rows[i];
        if (at >= question->state->count || given[at]) differ(world, question, "a row again, or none", at, (double)i);
        const struct row *row = &question->state->rows[at];
        if (!is_candidate(question, row, true)) differ(world, question, "a row that does not match", at, (double)i);
        given[at] = true;
        struct truth truth = truth_of(world->metric, question->query, row->vector);
        if (!(fabs(distances[i] - truth.distance) <= truth.slack + 1e-7 * fabs(truth.distance)))
            differ(world, question, "a distance", (double)distances[i], truth.distance);
        if (i > 0 && (distances[i] < distances[i - 1] || (distances[i] == distances[i - 1] && at < rows[i - 1])))
            differ(world, question, "the order", (double)distances[i - 1], (double)distances[i]);
    }
    return count > 0 ? (double)distances[count - 1] : 0;
}

static void compare(const struct world *world, const struct question *question, const velta_result *result) {
    static bool given[MOST_ROWS];
    const uint32_t *rows = velta_result_rows(result) + question->slots;
    const float *distances = velta_result_distances(result) + question->slots;
    const struct velta_explain *explain = velta_result_explain(result, question->slots / question->k);
    size_t matching = 0, candidates = 0, nearer = 0, count = 0;
    memset(given, 0, sizeof given);
    for (uint32_t at = 0; at < question->state->count; at++) {
        matching += is_candidate(question, &question->state->rows[at], false);
        candidates += is_candidate(question, &question->state->rows[at], true);
    }
    while (count < question->k && rows[count] != VELTA_NO_ROW)
        count++;
    size_t expected = candidates < question->k ? candidates : question->k;
    if (count != expected) differ(world, question, "how many", (double)count, (double)expected);
    for (size_t i = count; i < question->k; i++)
        if (rows[i] != VELTA_NO_ROW || !isinf(distances[i]))
            differ(world, question, "an empty slot", (double)i, (double)distances[i]);
    if (explain->matching_rows != matching)
        differ(world, question, "matching rows", (double)explain->matching_rows, (double)matching);
    double last = check_given(world, question, result, count, given);
    for (uint32_t at = 0; at < question->state->count; at++) {
        const struct row *row = &question->state->rows[at];
        if (given[at] || !is_candidate(question, row, true)) continue;
        struct truth truth = truth_of(world->metric, question->query, row->vector);
        bool is_nearer = truth.distance + 2 * truth.slack < last - SLACK * fabs(last);
        if (is_nearer && question->exact) differ(world, question, "a nearer row was left out", truth.distance, last);
        nearer += is_nearer;
    }
    comparisons++;
    if (!question->exact && question->k <= 100) {
        wanted += count;
        found += count - (nearer < count ? nearer : count);
    }
}

static void ask(struct world *world) {
    static const int64_t bounds[] = {-1, -1, 0, 1, 10, 100, 500, 1000, 3000, 5000, 9000, SCALE};
    static const uint32_t ks[] = {1, 2, 10, 10, 33, 100, MOST_ROWS + 5, MOST_K};
    struct random *random = &world->random;
    struct velta_error error;
    struct question question = {.below = bounds[random_below(random, sizeof bounds / sizeof *bounds)],
                                .k = ks[random_below(random, sizeof ks / sizeof *ks)],
                                .exact = random_chance(random, 50),
                                .past = random_chance(random, 30)};
    question.state = question.past ? world->then : world->now;
    question.moment_ms = question.past ? world->then->time_ms : world->now_ms;
    float queries[MOST_QUERIES][DIMENSIONS];
    size_t query_count = random_chance(random, 80) ? 1 : 1 + (size_t)random_below(random, MOST_QUERIES);
    for (size_t q = 0; q < query_count; q++) {
        random_vector(random, queries[q], DIMENSIONS);
        if (world->now->count > 0 && random_chance(random, 20))
            memcpy(queries[q], world->now->rows[random_below(random, world->now->count)].vector, sizeof queries[q]);
        if (random_chance(random, 1)) memset(queries[q], 0, sizeof queries[q]);
    }
    char where[64];
    snprintf(where, sizeof where, "number < %" PRId64, question.below);
    struct velta_search search = {.queries = queries[0],
                                  .query_count = query_count,
                                  .k = question.k,
                                  .where = question.below < 0 ? NULL : where,
                                  .at_ms = question.past ? world->then->time_ms : 0,
                                  .exact = question.exact};
    velta_result *result;
    ok(velta_search(world->table, &search, &result, &error), &error);
    for (size_t q = 0; q < query_count; q++) {
        question.query = queries[q];
        question.slots = q * question.k;
        compare(world, &question, result);
    }
    velta_result_free(result);
}

/* ---- lives of a table */

static void compare_kind(enum velta_metric metric, enum velta_element element, uint32_t rows, uint32_t threads,
                         uint64_t seed) {
    static const char *const metrics[] = {"cosine", "l2", "dot"}, *const elements[] = {"f32", "f16", "codes"};
    struct velta_error error;
    uint64_t pending;
    char about[100];
    struct world world = {.metric = metric, .element = element, .about = about};
    snprintf(about, sizeof about, "%s, %s, %u rows, %u threads, seed %" PRIu64, metrics[metric], elements[element],
             rows, threads, seed);
    world_open(&world, seed, threads);
    for (unsigned part = 0; part < 3; part++) { /* all in the tail; linked; linked, changed, and a tail */
        add_rows(&world, rows / 3);
        if (part == 1) ok(velta_index(world.db, 0, NULL, &pending, &error), &error);
        if (part == 2) ok(velta_index(world.db, 1 + rows / 6, NULL, &pending, &error), &error);
        change_some(&world, 5 + rows / 10);
        if (part == 0) {
            memcpy(world.then, world.now, sizeof *world.then);
            world.then->time_ms = world.now_ms++;
        }
        change_some(&world, 5 + rows / 10);
        for (unsigned i = 0; i < QUERIES / 3; i++)
            ask(&world);
        if (part == 1) {
            memcpy(world.then, world.now, sizeof *world.then);
            world.then->time_ms = world.now_ms++;
        }
    }
    ok(velta_verify(world.db, NULL, &error), &error);
    world_close(&world);
}

static void compare_metric(enum velta_metric metric) {
    static const uint32_t sizes[] = {0, 3, 90, 700, MOST_ROWS};
    static const enum velta_element elements[] = {VELTA_F32, VELTA_F16, VELTA_CODES};
    size_t rounds = test_rounds(1);
    for (uint64_t round = 0; round < rounds; round++)
        for (size_t e = 0; e < 3; e++)
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                compare_kind(metric, elements[e], sizes[s], 1 + (uint32_t)(s + e + round) % 4,
                             round * 100 + e * 10 + s + 1);
}

static void cosine(void **state) {
    (void)state;
    compare_metric(VELTA_COSINE);
}

static void l2(void **state) {
    (void)state;
    compare_metric(VELTA_L2);
}

static void dot(void **state) {
    (void)state;
    compare_metric(VELTA_DOT);
}

/* Of all approximate searches before. */
static void approximate_searches_find_enough(void **state) {
    (void)state;
    double recall = (double)found / (double)(wanted > 0 ? wanted : 1);
    print_message("recall of approximate searches %.4f over %" PRIu64 " rows\n", recall, wanted);
    assert_true(wanted > 0 && recall >= FLOOR);
}

static int print_figures(void **state) {
    (void)state;
    print_message("figure: search_comparisons %" PRIu64 "\nfigure: search_differences %" PRIu64 "\n", comparisons,
                  differences);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cosine),
        cmocka_unit_test(l2),
        cmocka_unit_test(dot),
        cmocka_unit_test(approximate_searches_find_enough),
    };
    return cmocka_run_group_tests(tests, NULL, print_figures);
}
