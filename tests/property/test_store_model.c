/*
 * The store against a naive model: random lives of inserts, updates, vector deltas, deletes, expiry and new lives of
 * old keys, with a full copy of the model kept after every change; present and past are then asked in every way there
 * is (find, get, vectors, filtered search, iterators) and must say what the copies say. Compactions in between keep the
 * past from some moment on: what is older is HISTORY_GONE. The model is a plain array that shares no code with the
 * engine but the arithmetic of one float.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store/velta.h"
#include "tests/support/support.h"

enum { DIMENSIONS = 24, KEYS = 60, MOMENTS = 160 };

struct model_row {
    bool lives; /* not deleted */
    int64_t expires_ms;
    int64_t key;
    bool has_size;
    int64_t size;
    bool has_name;
    int name; /* "name-<n>" */
    float vector[DIMENSIONS];
};
struct moment {
    int64_t time_ms;
    struct model_row rows[KEYS];
};

static size_t compactions, refusals;

struct life {
    struct random random;
    int64_t now_ms;
    velta *db;
    velta_table *table;
    struct model_row rows[KEYS]; /* by key */
    struct moment *moments;
    size_t moment_count;
    int64_t kept_since_ms;
    size_t compactions, refusals;
};

static bool lives_at(const struct model_row *row, int64_t time_ms) {
    return row->lives && row->expires_ms > time_ms;
}

static int64_t clock_ms(void *context) {
    return ((struct life *)context)->now_ms;
}

static void ok(enum velta_status status, const struct velta_error *error) {
    if (status) {
        fail_msg("%s: %s", velta_status_name(status), error->text);
    }
}

static void open_life(struct life *life, uint64_t seed) {
    struct velta_error error;
    *life = (struct life){.random = random_seeded(seed), .now_ms = 1000000};
    life->moments = calloc(MOMENTS, sizeof *life->moments);
    struct velta_options options = {.now_ms = clock_ms, .now_context = life, .chain_interval = 4, .thread_count = 1};
    ok(velta_open(NULL, &options, &life->db, &error), &error);
    const struct velta_column columns[] = {
        {.name = "key", .type = VELTA_INT, .primary_key = true},
        {.name = "size", .type = VELTA_INT},
        {.name = "name", .type = VELTA_STRING},
        {.name = "v", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .metric = VELTA_L2},
    };
    ok(velta_table_create(life->db, "t", columns, 4, &life->table, &error), &error);
}

/* ---- changes, on both sides */

static void insert(struct life *life, int64_t key) {
    struct velta_error error;
    struct model_row *row = &life->rows[key];
    char name[32];
    row->lives = true;
    row->expires_ms = INT64_MAX;
    row->key = key;
    row->has_size = random_chance(&life->random, 80);
    row->size = row->has_size ? random_between(&life->random, -5, 100000) : 0;
    row->has_name = random_chance(&life->random, 80);
    row->name = (int)random_below(&life->random, 9);
    random_vector(&life->random, row->vector, DIMENSIONS);
    snprintf(name, sizeof name, "name-%d", row->name);
    uint64_t offsets[2] = {0, row->has_name ? strlen(name) : 0};
    uint64_t has_size = row->has_size;
    uint64_t has_name = row->has_name;
    struct velta_values values[] = {
        {.column = "key", .data = &key},
        {.column = "size", .data = &row->size, .valid = &has_size},
        {.column = "name", .data = name, .offsets = offsets, .valid = &has_name},
        {.column = "v", .data = row->vector, .element = VELTA_F32},
    };
    ok(velta_insert(life->table, values, 4, 1, NULL, NULL, &error), &error);
}

static void update(struct life *life, int64_t key) {
    struct velta_error error;
    struct model_row *row = &life->rows[key];
    uint64_t valid = random_chance(&life->random, 80);
    row->has_size = valid;
    row->size = valid ? random_between(&life->random, -3000000000, 3000000000) : 0;
    struct velta_keys keys = {.ints = &key};
    struct velta_values values = {.column = "size", .data = &row->size, .valid = &valid};
    ok(velta_update(life->table, &keys, 1, &values, 1, NULL, &error), &error);
}

static void change_vector(struct life *life, int64_t key) {
    struct velta_error error;
    struct model_row *row = &life->rows[key];
    uint32_t indices[3] = {1, 7, 20};
    float values[DIMENSIONS];
    random_vector(&life->random, values, DIMENSIONS);
    struct velta_delta delta = {.key_int = key, .values = values};
    bool set = random_chance(&life->random, 50);
    float amount = (float)random_between(&life->random, -8, 8) / 8;
    switch (random_below(&life->random, 4)) {
    case 0:
        delta.operation = VELTA_DELTA_SPARSE;
        delta.count = 3;
        delta.indices = indices;
        delta.set = set;
        for (int i = 0; i < 3; i++) {
            row->vector[indices[i]] = set ? values[i] : row->vector[indices[i]] + values[i];
        }
        break;
    case 1:
        delta.operation = VELTA_DELTA_DENSE;
        delta.count = DIMENSIONS;
        delta.set = set;
        for (int i = 0; i < DIMENSIONS; i++) {
            row->vector[i] = set ? values[i] : row->vector[i] + values[i];
        }
        break;
    case 2:
        delta.operation = VELTA_DELTA_SCALE;
        delta.amount = amount;
        for (int i = 0; i < DIMENSIONS; i++) {
            row->vector[i] *= amount;
        }
        break;
    default:
        delta.operation = VELTA_DELTA_OFFSET;
        delta.amount = amount;
        for (int i = 0; i < DIMENSIONS; i++) {
            row->vector[i] += amount;
        }
    }
    ok(velta_apply(life->table, "v", &delta, 1, 0, NULL, &error), &error);
}

static void delete (struct life *life, int64_t key) {
    struct velta_error error;
    struct velta_keys keys = {.ints = &key};
    uint32_t deleted;
    ok(velta_delete(life->table, &keys, 1, &deleted, &error), &error);
    assert_int_equal(deleted, 1);
    life->rows[key].lives = false;
}

static void expire(struct life *life, int64_t key) {
    struct velta_error error;
    struct velta_keys keys = {.ints = &key};
    int64_t *expires_ms = &life->rows[key].expires_ms;
    *expires_ms = random_chance(&life->random, 20) ? INT64_MAX : life->now_ms + random_between(&life->random, 0, 900);
    ok(velta_expire_at(life->table, &keys, 1, expires_ms, &error), &error);
}

static void one_change(struct life *life) {
    int64_t key = (int64_t)random_below(&life->random, KEYS);
    life->now_ms += 1 + (int64_t)random_below(&life->random, 50);
    if (!lives_at(&life->rows[key], life->now_ms)) {
        insert(life, key);
    } else {
        switch (random_below(&life->random, 6)) {
        case 0:
            delete (life, key);
            break;
        case 1:
            update(life, key);
            break;
        case 2:
            expire(life, key);
            break;
        default:
            change_vector(life, key);
        }
    }
    struct moment *moment = &life->moments[life->moment_count++];
    moment->time_ms = life->now_ms;
    memcpy(moment->rows, life->rows, sizeof life->rows);
}

/* What changes nothing of what can be asked, but for the past that is let go. */
static void clean_up(struct life *life) {
    struct velta_error error;
    if (random_chance(&life->random, 50)) {
        ok(velta_expire(life->table, 0, NULL, &error), &error);
        return;
    }
    int64_t since_ms = life->moments[random_below(&life->random, life->moment_count)].time_ms;
    const struct velta_compact_options keep = {.keep_since_ms = since_ms};
    ok(velta_compact(life->db, &keep, NULL, &error), &error);
    ok(velta_verify(life->db, NULL, &error), &error);
    life->kept_since_ms = since_ms > life->kept_since_ms ? since_ms : life->kept_since_ms;
    life->compactions++;
}

/* ---- questions; time_ms: that of the state asked about, also where it is the present and at_ms is 0 */

static bool matches(const struct model_row *row, int64_t time_ms) { /* size > 100 OR name = 'name-3' */
    return lives_at(row, time_ms) && ((row->has_size && row->size > 100) || (row->has_name && row->name == 3));
}

static float distance(const float *a, const float *b) {
    double sum = 0;
    for (int i = 0; i < DIMENSIONS; i++) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    return (float)sum;
}

static int compare_floats(const void *a, const void *b) {
    float left = *(const float *)a;
    float right = *(const float *)b;
    return (left > right) - (left < right);
}

static int64_t time_of(const struct life *life, int64_t at_ms) {
    return at_ms ? at_ms : life->now_ms;
}

static void check_rows(struct life *life, const struct model_row *rows, int64_t at_ms, uint32_t *numbers) {
    struct velta_error error;
    int64_t wanted[KEYS];
    for (int i = 0; i < KEYS; i++) {
        wanted[i] = i;
    }
    struct velta_keys keys = {.ints = wanted};
    ok(velta_find(life->table, &keys, KEYS, at_ms, numbers, &error), &error);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(numbers[i] != VELTA_NO_ROW, lives_at(&rows[i], time_of(life, at_ms)));
        if (numbers[i] == VELTA_NO_ROW) {
            continue;
        }
        float vector[DIMENSIONS];
        ok(velta_get_vector(life->table, "v", numbers[i], at_ms, vector, &error), &error);
        test_assert_bytes(vector, rows[i].vector, sizeof vector, "the vector");
        velta_result *result;
        ok(velta_get(life->table, &numbers[i], 1, NULL, 0, at_ms, &result, &error), &error);
        struct velta_values values;
        enum velta_type type;
        assert_int_equal(velta_result_column(result, 1, &values, &type), VELTA_OK);
        assert_int_equal(values.valid[0] & 1, rows[i].has_size);
        assert_true(((const int64_t *)values.data)[0] == rows[i].size);
        assert_int_equal(velta_result_column(result, 2, &values, &type), VELTA_OK);
        assert_int_equal(values.valid[0] & 1, rows[i].has_name);
        if (rows[i].has_name) {
            char name[32];
            int length = snprintf(name, sizeof name, "name-%d", rows[i].name);
            assert_int_equal(values.offsets[1], length);
            assert_memory_equal(values.data, name, (size_t)length);
        }
        velta_result_free(result);
    }
}

static void check_search(struct life *life, const struct model_row *rows, int64_t at_ms, bool filtered, bool exact) {
    enum { K = 7 };
    struct velta_error error;
    float query[DIMENSIONS];
    float distances[KEYS];
    size_t count = 0;
    random_vector(&life->random, query, DIMENSIONS);
    for (int i = 0; i < KEYS; i++) {
        if (filtered ? matches(&rows[i], time_of(life, at_ms)) : lives_at(&rows[i], time_of(life, at_ms))) {
            distances[count++] = distance(query, rows[i].vector);
        }
    }
    qsort(distances, count, sizeof *distances, compare_floats);
    struct velta_search search = {.queries = query,
                                  .query_count = 1,
                                  .k = K,
                                  .where = filtered ? "size > 100 OR name = 'name-3'" : NULL,
                                  .at_ms = at_ms,
                                  .exact = exact};
    velta_result *result;
    ok(velta_search(life->table, &search, &result, &error), &error);
    size_t expected = count < K ? count : K;
    for (size_t i = 0; i < K; i++) {
        float found = velta_result_distances(result)[i];
        if (i >= expected) {
            assert_int_equal(velta_result_rows(result)[i], VELTA_NO_ROW);
        } else if (exact) {
            assert_true(fabsf(found - distances[i]) <= 1e-4F * distances[i] + 1e-6F);
        } else {
            assert_true(found <= distances[K - 1 < count ? K - 1 : count - 1] * 1.05F + 1e-5F);
        }
    }
    assert_int_equal(velta_result_explain(result, 0)->matching_rows, count);
    velta_result_free(result);
}

static void check_iterator(velta_iterator *iterator, const struct model_row *rows, int64_t time_ms, int64_t start,
                           int64_t end) {
    struct velta_error error;
    int64_t key = start;
    for (;;) {
        velta_result *result;
        struct velta_values values;
        enum velta_type type;
        ok(velta_iterator_next(iterator, 5, &result, &error), &error);
        size_t count = velta_result_count(result);
        for (size_t i = 0; i < count; i++, key++) {
            while (key < end && !lives_at(&rows[key], time_ms)) {
                key++;
            }
            assert_true(key < end);
            assert_int_equal(velta_result_column(result, 0, &values, &type), VELTA_OK);
            assert_int_equal(((const int64_t *)values.data)[i], key);
            assert_int_equal(velta_result_column(result, 1, &values, &type), VELTA_OK);
            assert_true(((const int64_t *)values.data)[i] == rows[key].size);
        }
        velta_result_free(result);
        if (count == 0) {
            break;
        }
    }
    while (key < end && !lives_at(&rows[key], time_ms)) {
        key++;
    }
    assert_int_equal(key, end);
    velta_iterator_close(iterator);
}

static velta_iterator *open_iterator(struct life *life, int64_t start, int64_t end, int64_t at_ms) {
    struct velta_error error;
    static const char *const columns[] = {"key", "size"};
    struct velta_range range = {.has_start = true, .has_end = true, .start_int = start, .end_int = end};
    velta_iterator *iterator;
    ok(velta_iterate(life->table, &range, columns, 2, at_ms, &iterator, &error), &error);
    return iterator;
}

static void ask(struct life *life, const struct model_row *rows, int64_t at_ms) {
    uint32_t numbers[KEYS];
    check_rows(life, rows, at_ms, numbers);
    check_search(life, rows, at_ms, false, true);
    check_search(life, rows, at_ms, true, true);
    check_search(life, rows, at_ms, true, false);
    check_iterator(open_iterator(life, 10, 50, at_ms), rows, time_of(life, at_ms), 10, 50);
}

static void check_counts(struct life *life) {
    struct velta_error error;
    velta_filter *filter;
    uint64_t count;
    uint64_t expected = 0;
    for (int i = 0; i < KEYS; i++) {
        expected += matches(&life->rows[i], life->now_ms);
    }
    ok(velta_filter_compile(life->table, "size > 100 OR name = 'name-3'", &filter, &error), &error);
    ok(velta_filter_count(filter, &count, &error), &error);
    assert_int_equal(count, expected);
    uint32_t rows[KEYS];
    ok(velta_filter_rows(filter, rows, KEYS, &count, &error), &error);
    assert_int_equal(count, expected);
    velta_filter_free(filter);
}

/* Sums and groups of the present, by hand. */
static void check_aggregates(struct life *life) {
    struct velta_error error;
    int64_t counts[10] = {0};
    int64_t sums[10] = {0};
    for (int i = 0; i < KEYS; i++) {
        const struct model_row *row = &life->rows[i];
        if (lives_at(row, life->now_ms)) {
            int group = row->has_name ? row->name : 9;
            counts[group]++;
            sums[group] += row->size;
        }
    }
    const struct velta_aggregate aggregates[] = {{.kind = VELTA_COUNT}, {.kind = VELTA_SUM, .column = "size"}};
    struct velta_aggregate_query query = {.aggregates = aggregates, .aggregate_count = 2, .group_by = "name"};
    velta_result *result;
    ok(velta_aggregate(life->table, &query, &result, &error), &error);
    struct velta_values values[3];
    enum velta_type type;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(velta_result_column(result, i, &values[i], &type), VELTA_OK);
    }
    size_t slot = 0;
    for (int group = 0; group < 10; group++) {
        if (counts[group] == 0) {
            continue;
        }
        assert_true(slot < velta_result_count(result));
        assert_int_equal(values[0].valid[0] >> slot & 1, group < 9);
        assert_int_equal(((const int64_t *)values[1].data)[slot], counts[group]);
        assert_true(((const int64_t *)values[2].data)[slot] == sums[group]);
        slot++;
    }
    assert_int_equal(velta_result_count(result), slot);
    velta_result_free(result);
}

static void check_top(struct life *life, bool smallest) {
    struct velta_error error;
    static const char *const columns[] = {"size"};
    velta_result *result;
    struct velta_values values;
    enum velta_type type;
    ok(velta_top(life->table, NULL, "size", smallest, 5, columns, 1, &result, &error), &error);
    assert_int_equal(velta_result_column(result, 0, &values, &type), VELTA_OK);
    const int64_t *sizes = values.data;
    size_t count = velta_result_count(result);
    size_t at_least = 0; /* living rows with a size that belongs among those found */
    for (int i = 0; i < KEYS; i++) {
        const struct model_row *row = &life->rows[i];
        if (lives_at(row, life->now_ms) && row->has_size && count > 0) {
            at_least += smallest ? row->size < sizes[count - 1] : row->size > sizes[count - 1];
        }
    }
    assert_true(at_least < 5);
    for (size_t i = 1; i < count; i++) {
        assert_true(smallest ? sizes[i - 1] <= sizes[i] : sizes[i - 1] >= sizes[i]);
    }
    velta_result_free(result);
}

/* A moment of the past, or that it is gone. */
static void ask_past(struct life *life) {
    const struct moment *moment = &life->moments[random_below(&life->random, life->moment_count)];
    if (moment->time_ms >= life->kept_since_ms) {
        ask(life, moment->rows, moment->time_ms);
        return;
    }
    struct velta_error error;
    int64_t key = 0;
    uint32_t number;
    struct velta_keys keys = {.ints = &key};
    assert_int_equal(velta_find(life->table, &keys, 1, moment->time_ms, &number, &error), VELTA_HISTORY_GONE);
    life->refusals++;
}

/* An iterator sees nothing of what is written while it is open. */
static void write_beside_iterator(struct life *life) {
    struct model_row then[KEYS];
    int64_t then_ms = life->now_ms;
    velta_iterator *iterator = open_iterator(life, 0, KEYS, 0);
    memcpy(then, life->rows, sizeof life->rows);
    for (int i = 0; i < 3 && life->moment_count < MOMENTS; i++) {
        one_change(life);
    }
    check_iterator(iterator, then, then_ms, 0, KEYS);
}

static void live(uint64_t seed) {
    struct life life;
    struct velta_error error;
    open_life(&life, seed);
    while (life.moment_count < MOMENTS) {
        one_change(&life);
        if (life.moment_count == MOMENTS / 2) {
            uint64_t pending;
            ok(velta_index(life.db, 0, NULL, &pending, &error), &error);
        }
        if (random_chance(&life.random, 20)) {
            write_beside_iterator(&life);
        }
        if (random_chance(&life.random, 4)) {
            clean_up(&life);
            ask_past(&life);
        }
        if (random_chance(&life.random, 10)) {
            ask(&life, life.rows, 0);
            check_counts(&life);
            check_aggregates(&life);
            check_top(&life, random_chance(&life.random, 50));
        }
    }
    for (int i = 0; i < 40; i++) {
        ask_past(&life);
    }
    compactions += life.compactions;
    refusals += life.refusals;
    free(life.moments);
    ok(velta_close(life.db, &error), &error);
}

static void lives_of_f32(void **state) {
    (void)state;
    size_t rounds = test_rounds(20);
    for (uint64_t seed = 1; seed <= rounds; seed++) {
        live(seed);
    }
    assert_true(compactions > 0 && refusals > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lives_of_f32)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
