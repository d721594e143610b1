/*
 * Questions to a store that it must refuse, each with its status and its sentence, and the edges of those it answers:
 * tables that are gone, callbacks, ranges, rows and keys that are not there, options that contradict each other.
 */
#include <math.h>

#include "tests/unit/store_testing.h"

struct world {
    int64_t now_ms;
    velta *db;
    velta_table *table;
};

static int open_world(void **state) {
    struct world *world = calloc(1, sizeof *world);
    world->now_ms = 1000;
    struct velta_options options = {.now_ms = sample_clock, .now_context = &world->now_ms, .thread_count = 1};
    world->db = sample_open(&options, NULL, &world->table);
    sample_insert(world->table, 0, 30, 1);
    world->now_ms = 2000;
    *state = world;
    return 0;
}

static int close_world(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    assert_ok(velta_close(world->db, &error), &error);
    free(world);
    return 0;
}

/* ---- opening */

static void options_that_contradict_are_refused(void **state) {
    (void)state;
    struct velta_host host = {0};
    static const uint8_t nothing[16] = {0};
    struct velta_error error = {0};
    velta *db = NULL;
    const struct {
        const char *path;
        struct velta_options options;
        const char *says;
    } cases[] = {
        {"a", {.host = &host}, "not both"},
        {"", {0}, "empty"},
        {NULL, {.read_only = true}, "read-only"},
        {NULL, {.must_exist = true}, "exist"},
        {NULL, {.durability = (enum velta_durability)7}, "durability 7"},
        {NULL, {.simd = "abacus"}, "abacus"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_status(velta_open(cases[i].path, &cases[i].options, &db, &error), VELTA_INVALID);
        assert_non_null(strstr(error.text, cases[i].says));
        assert_null(db);
    }
    assert_status(velta_import(nothing, sizeof nothing, &cases[0].options, &db, &error), VELTA_INVALID);
    assert_non_null(strstr(error.text, "no host"));
    assert_status(velta_import(nothing, sizeof nothing, &cases[5].options, &db, &error), VELTA_INVALID);
    assert_null(db);
    assert_ok(velta_close(NULL, &error), &error);
}

static void what_is_absent_is_not_found(void **state) {
    (void)state;
    struct test_allocator self;
    struct velta_error error = {0};
    velta *db = NULL;
    test_allocator_init(&self);
    struct memory *memory = memory_create(&self.allocator, 0);
    for (int read_only = 0; read_only <= 1; read_only++) {
        struct velta_host host;
        assert_ok(host_open_memory(memory, NULL, 0, &host, &error), &error);
        struct velta_options options = {.host = &host, .read_only = read_only, .must_exist = !read_only};
        assert_status(velta_open(NULL, &options, &db, &error), VELTA_NOT_FOUND);
        assert_non_null(strstr(error.text, "the host's storage"));
        host.close(host.context); /* still the caller's */
        const char *path = test_path(test_folder(), "absent");
        options.host = NULL;
        assert_status(velta_open(path, &options, &db, &error), VELTA_NOT_FOUND);
    }
    memory_destroy(memory);
    test_allocator_check_empty(&self);
}

static void every_status_has_words(void **state) {
    (void)state;
    for (int status = 0; status < 64; status++) {
        const char *name = velta_status_name((enum velta_status)status);
        const char *sentence = velta_status_sentence((enum velta_status)status);
        assert_true(strlen(name) > 0 && strlen(sentence) > 0);
        for (int other = 0; other < status; other++) {
            const char *before = velta_status_name((enum velta_status)other);
            if (strncmp(name, "VELTA_", 6) == 0 && strcmp(name, before) == 0)
                fail_msg("%d and %d have one name", other, status);
        }
    }
    assert_string_equal(velta_strategy_name((enum velta_strategy)99), "unknown");
    assert_string_equal(velta_strategy_name((enum velta_strategy) - 1), "unknown");
}

/* ---- tables that are gone */

static void a_dropped_table_says_so(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    velta_iterator *iterator = NULL;
    velta_result *result = NULL;
    velta_filter *filter = NULL;
    uint64_t count = 0;
    uint32_t row = 0;
    float vector[SAMPLE_DIMENSIONS] = {0};
    struct velta_keys keys = {.rows = &row};
    struct velta_column extra = {.name = "extra", .type = VELTA_INT};
    struct velta_search search = {.column = "v", .queries = vector, .query_count = 1};
    assert_ok(velta_filter_compile(world->table, "size > 0", &filter, &error), &error);
    assert_ok(velta_table_drop(world->table, &error), &error);
    velta_table *t = world->table;
    assert_string_equal(velta_table_name(t), "");
    assert_int_equal(velta_column_count(t), 0);
    assert_null(velta_column_at(t, 0));
    assert_int_equal(velta_row_count(t), 0);
    assert_int_equal(velta_live_count(t), 0);
    assert_null(velta_vector_view(t, "v", 0));
    assert_null(velta_table_at(world->db, 0));
    assert_status(velta_filter_count(filter, &count, &error), VELTA_NOT_FOUND);
    assert_status(velta_filter_rows(filter, &row, 1, &count, &error), VELTA_NOT_FOUND);
    velta_filter_free(filter);
    assert_status(velta_filter_compile(t, "size > 0", &filter, &error), VELTA_NOT_FOUND);
    assert_status(velta_find(t, &keys, 1, 0, &row, &error), VELTA_NOT_FOUND);
    assert_status(velta_get(t, &row, 1, NULL, 0, 0, &result, &error), VELTA_NOT_FOUND);
    assert_status(velta_get_vector(t, "v", 0, 0, vector, &error), VELTA_NOT_FOUND);
    assert_status(velta_get_chain(t, "v", 0, &result, &error), VELTA_NOT_FOUND);
    assert_status(velta_search(t, &search, &result, &error), VELTA_NOT_FOUND);
    assert_status(velta_iterate(t, NULL, NULL, 0, 0, &iterator, &error), VELTA_NOT_FOUND);
    assert_status(velta_table_drop(t, &error), VELTA_NOT_FOUND);
    assert_status(velta_column_add(t, &extra, &error), VELTA_NOT_FOUND);
    assert_status(velta_insert(t, NULL, 0, 0, NULL, NULL, &error), VELTA_NOT_FOUND);
    assert_status(velta_update(t, &keys, 1, NULL, 0, NULL, &error), VELTA_NOT_FOUND);
    assert_status(velta_delete(t, &keys, 1, NULL, &error), VELTA_NOT_FOUND);
    assert_status(velta_expire_at(t, &keys, 1, &world->now_ms, &error), VELTA_NOT_FOUND);
    assert_status(velta_expire(t, 0, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "dropped"));
    uint64_t pending = 7;
    assert_ok(velta_index(world->db, 0, NULL, &pending, &error), &error);
    assert_int_equal(pending, 0);
    assert_verifies(world->db);
}

static void names_that_cannot_be(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    velta_table *table = NULL;
    int64_t time_ms;
    char longest[VELTA_MAX_NAME_BYTES + 2];
    memset(longest, 'n', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    static const struct velta_column column = {.name = "a", .type = VELTA_INT};
    struct velta_column *many = calloc(VELTA_MAX_COLUMNS + 1, sizeof *many);
    const char *const names[] = {NULL, "", "a\xFF", longest};
    for (size_t i = 0; i < 4; i++) {
        assert_status(velta_table_create(world->db, names[i], &column, 1, &table, &error), VELTA_INVALID);
        assert_status(velta_tag(world->db, names[i], &error), VELTA_INVALID);
        assert_null(table);
    }
    longest[sizeof longest - 2] = '\0';
    assert_ok(velta_table_create(world->db, longest, &column, 1, &table, &error), &error);
    assert_status(velta_table_create(world->db, longest, &column, 1, &table, &error), VELTA_EXISTS);
    assert_status(velta_table_create(world->db, "u", &column, 0, &table, &error), VELTA_INVALID);
    assert_status(velta_table_create(world->db, "u", many, VELTA_MAX_COLUMNS + 1, &table, &error), VELTA_LIMIT);
    assert_status(velta_table_find(world->db, NULL, &table, &error), VELTA_NOT_FOUND);
    assert_status(velta_table_find(world->db, "nobody", &table, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "'nobody'"));
    assert_ok(velta_tag(world->db, "known", &error), &error);
    assert_status(velta_tag_time(world->db, NULL, &time_ms, &error), VELTA_NOT_FOUND);
    assert_status(velta_tag_time(world->db, "unknown", &time_ms, &error), VELTA_NOT_FOUND);
    assert_ok(velta_tag_time(world->db, "known", &time_ms, &error), &error);
    assert_int_equal(time_ms, 2000);
    const char *const kept[] = {NULL};
    struct velta_compact_options compact = {.keep_tags = kept, .keep_tag_count = 1};
    assert_status(velta_compact(world->db, &compact, NULL, &error), VELTA_NOT_FOUND);
    compact.keep_tags = NULL;
    assert_status(velta_compact(world->db, &compact, NULL, &error), VELTA_INVALID);
    free(many);
}

/* ---- callbacks */

struct listener {
    struct world *world;
    uint64_t own, other;
    uint32_t heard, by_kind[8];
};

static void listen(void *context, const struct velta_change *change) {
    struct listener *listener = context;
    struct velta_error error = {0};
    velta *db = listener->world->db;
    velta_result *result = NULL;
    uint8_t *bytes = NULL;
    uint64_t size_bytes;
    uint32_t row = 0;
    listener->heard++;
    listener->by_kind[change->kind]++;
    assert_status(velta_close(db, &error), VELTA_BUSY);
    assert_status(velta_flush(db, &error), VELTA_BUSY);
    assert_status(velta_checkpoint(db, NULL, &error), VELTA_BUSY);
    assert_status(velta_compact(db, NULL, NULL, &error), VELTA_BUSY);
    assert_status(velta_verify(db, NULL, &error), VELTA_BUSY);
    assert_status(velta_index(db, 0, NULL, NULL, &error), VELTA_BUSY);
    assert_status(velta_export(db, &bytes, &size_bytes, NULL, &error), VELTA_BUSY);
    assert_status(velta_tag(db, "here", &error), VELTA_BUSY);
    assert_status(velta_get(change->table, &row, 1, NULL, 0, 0, &result, &error), VELTA_BUSY);
    assert_int_equal(velta_watch(db, listen, listener), 0);
    velta_unwatch(db, listener->other); /* takes effect at once */
}

static void count_calls(void *context, const struct velta_change *change) {
    (void)change;
    ++*(uint32_t *)context;
}

static void callbacks_may_only_end_subscriptions(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    struct listener listener = {.world = world};
    uint32_t others = 0;
    uint32_t last = 0;
    assert_int_equal(velta_watch(world->db, NULL, NULL), 0);
    listener.own = velta_watch(world->db, listen, &listener);
    listener.other = velta_watch(world->db, count_calls, &others);
    uint64_t third = velta_watch(world->db, count_calls, &last);
    velta_unwatch(world->db, 4711); /* nobody's */
    int64_t id = 3;
    struct velta_keys key = {.ints = &id};
    assert_ok(velta_delete(world->table, &key, 1, NULL, &error), &error);
    assert_int_equal(listener.heard, 1);
    assert_int_equal(others, 0);
    assert_int_equal(last, 1);
    id = 4;
    assert_ok(velta_expire_at(world->table, &key, 1, &(int64_t){90000}, &error), &error);
    assert_int_equal(listener.by_kind[VELTA_CHANGE_UPDATE], 1);
    assert_ok(velta_tag(world->db, "silent", &error), &error);
    struct velta_delta deltas[300];
    for (size_t i = 0; i < 300; i++) {
        deltas[i] = (struct velta_delta){.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 1};
    }
    assert_ok(velta_apply(world->table, "v", deltas, 300, 0, NULL, &error), &error);
    assert_int_equal(listener.by_kind[VELTA_CHANGE_VECTORS], 2); /* told in runs of 256 */
    struct velta_column extra = {.name = "extra", .type = VELTA_INT};
    assert_ok(velta_column_add(world->table, &extra, &error), &error);
    assert_int_equal(listener.by_kind[VELTA_CHANGE_TABLE], 1);
    assert_ok(velta_compact(world->db, NULL, NULL, &error), &error);
    assert_int_equal(listener.by_kind[VELTA_CHANGE_RENUMBERED], 1);
    velta_unwatch(world->db, listener.own);
    velta_unwatch(world->db, third);
    uint32_t before = listener.heard;
    assert_ok(velta_table_drop(world->table, &error), &error);
    assert_int_equal(listener.heard, before);
}

/* ---- rows, keys, vectors */

static void rows_and_keys_that_are_not_there(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    velta_result *result = NULL;
    const char *const unnamed = NULL;
    float vector[SAMPLE_DIMENSIONS];
    uint32_t rows[] = {0, 99, 5};
    int64_t dead = 5;
    uint32_t found[3];
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = &dead}, 1, NULL, &error), &error);
    assert_ok(velta_find(world->table, &(struct velta_keys){.rows = rows}, 3, 0, found, &error), &error);
    assert_true(found[0] == 0 && found[1] == VELTA_NO_ROW && found[2] == VELTA_NO_ROW);
    assert_ok(velta_find(world->table, &(struct velta_keys){.rows = rows}, 3, 1500, found, &error), &error);
    assert_true(found[0] == 0 && found[1] == VELTA_NO_ROW && found[2] == 5);
    assert_ok(velta_find(world->table, &(struct velta_keys){.rows = rows}, 0, 0, NULL, &error), &error);
    assert_status(velta_find(world->table, NULL, 0, 0, found, &error), VELTA_INVALID);
    assert_status(velta_find(world->table, NULL, 1, 0, found, &error), VELTA_INVALID);
    assert_status(velta_find(world->table, &(struct velta_keys){.rows = rows}, 3, 0, NULL, &error), VELTA_INVALID);
    assert_status(velta_find(world->table, &(struct velta_keys){.rows = rows, .ints = &dead}, 1, 0, found, &error),
                  VELTA_INVALID);
    assert_status(velta_get(world->table, rows, 3, NULL, 0, 1500, &result, &error), VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 1);
    assert_non_null(strstr(error.text, "at that time"));
    assert_ok(velta_get(world->table, NULL, 0, NULL, 0, 0, &result, &error), &error);
    assert_int_equal(velta_result_count(result), 0);
    velta_result_free(result);
    assert_status(velta_get(world->table, rows, 1, &unnamed, 1, 0, &result, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_get(world->table, rows, 1, &unnamed, VELTA_MAX_COLUMNS + 1, 0, &result, &error), VELTA_LIMIT);
    assert_status(velta_get_vector(world->table, NULL, 0, 0, vector, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_get_vector(world->table, "none", 0, 0, vector, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_get_vector(world->table, "v", 99, 1500, vector, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "at that time"));
    assert_status(velta_get_chain(world->table, "size", 0, &result, &error), VELTA_TYPE);
    assert_status(velta_get_chain(world->table, "v", 5, &result, &error), VELTA_NOT_FOUND);
    assert_null(velta_vector_view(world->table, "none", 0));
}

static void text_keys_are_checked(void **state) {
    struct world *world = *state;
    static const struct velta_column columns[] = {{.name = "k", .type = VELTA_STRING, .primary_key = true},
                                                  {.name = "n", .type = VELTA_INT}};
    struct velta_error error = {0};
    velta_table *table;
    uint32_t found[2];
    int64_t id = 1;
    assert_ok(velta_table_create(world->db, "texts", columns, 2, &table, &error), &error);
    struct velta_values values = {.column = "k", .data = "ab", .offsets = (uint64_t[]){0, 1, 2}};
    assert_ok(velta_insert(table, &values, 1, 2, NULL, NULL, &error), &error);
    struct velta_keys keys = {.text = "ab", .offsets = (uint64_t[]){0, 2, 1}};
    assert_status(velta_find(table, &keys, 2, 0, found, &error), VELTA_INVALID);
    assert_int_equal(error.offset, 1);
    assert_status(velta_find(table, &(struct velta_keys){.ints = &id}, 1, 0, found, &error), VELTA_TYPE);
    assert_non_null(strstr(error.text, "a string"));
    struct velta_keys nowhere = {.offsets = (uint64_t[]){0, 0, 1}};
    assert_ok(velta_find(table, &nowhere, 1, 0, found, &error), &error);
    assert_true(found[0] == VELTA_NO_ROW);
    assert_status(velta_find(table, &nowhere, 2, 0, found, &error), VELTA_INVALID);
    assert_int_equal(error.offset, 1);
    keys.offsets = (uint64_t[]){0, 1};
    struct velta_values n = {.column = "n", .data = &id};
    world->now_ms = 3000;
    assert_ok(velta_delete(table, &keys, 1, NULL, &error), &error);
    assert_ok(velta_find(table, &keys, 1, 2500, found, &error), &error); /* it lived then */
    assert_int_equal(found[0], 0);
    assert_ok(velta_find(table, &keys, 1, 0, found, &error), &error);
    assert_int_equal(found[0], VELTA_NO_ROW);
    assert_status(velta_update(table, &keys, 1, &n, 1, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "'a'"));
    keys.offsets = (uint64_t[]){0, 0};
    assert_status(velta_update(table, &keys, 1, &n, 1, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "''"));
    uint32_t row = 77;
    assert_status(velta_update(table, &(struct velta_keys){.rows = &row}, 1, &n, 1, NULL, &error), VELTA_NOT_FOUND);
    assert_non_null(strstr(error.text, "77"));
}

/* A chain holds copies of every kind of delta; expired rows are gone from every way of reading. */
static void chains_and_expiry(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    uint32_t indices[] = {1, 6};
    float values[] = {0.25F, -2};
    float vector[SAMPLE_DIMENSIONS] = {0};
    velta_result *result = NULL;
    size_t count;
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_SPARSE, .key_int = 2, .count = 2, .indices = indices, .values = values, .set = true},
        {.operation = VELTA_DELTA_SPARSE, .key_int = 2, .metadata = "note", .metadata_bytes = 4},
        {.operation = VELTA_DELTA_OFFSET, .key_int = 2, .amount = 3}};
    assert_ok(velta_apply(world->table, "v", deltas, 3, 0, NULL, &error), &error);
    assert_ok(velta_get_chain(world->table, "v", 2, &result, &error), &error);
    const struct velta_chain_item *chain = velta_result_chain(result, &count);
    assert_int_equal(count, 4);
    assert_int_equal(chain[1].delta.operation, VELTA_DELTA_SPARSE);
    assert_true(chain[1].delta.set);
    assert_memory_equal(chain[1].delta.indices, indices, sizeof indices);
    assert_memory_equal(chain[1].delta.values, values, sizeof values);
    assert_int_equal(chain[2].delta.count, 0);
    assert_memory_equal(chain[2].delta.metadata, "note", 4);
    assert_true(chain[3].delta.operation == VELTA_DELTA_OFFSET && chain[3].delta.amount == 3);
    velta_result_free(result);
    assert_ok(velta_get_chain(world->table, "v", 6, &result, &error), &error); /* NULL: no chain */
    (void)velta_result_chain(result, &count);
    assert_int_equal(count, 0);
    velta_result_free(result);
    int64_t mortal[] = {2, 4};
    int64_t ends_ms[] = {5000, INT64_MAX};
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = mortal}, 2, ends_ms, &error), &error);
    world->now_ms = 4000;
    assert_non_null(velta_vector_view(world->table, "v", 2));
    assert_ok(velta_tag(world->db, "before the end", &error), &error);
    world->now_ms = 6000;
    assert_ok(velta_tag(world->db, "after the end", &error), &error);
    uint32_t row = 2;
    assert_null(velta_vector_view(world->table, "v", 2));
    assert_non_null(velta_vector_view(world->table, "v", 4));
    assert_status(velta_get_chain(world->table, "v", 2, &result, &error), VELTA_NOT_FOUND);
    assert_ok(velta_get_vector(world->table, "v", 2, 4000, vector, &error), &error);
    assert_status(velta_get_vector(world->table, "v", 2, 5500, vector, &error), VELTA_NOT_FOUND);
    assert_status(velta_get(world->table, &row, 1, NULL, 0, 5500, &result, &error), VELTA_NOT_FOUND);
}

/* ---- searches and filters */

static bool stop(void *context, uint64_t done, uint64_t total) {
    uint32_t *left = context;
    assert_true(done > 0 && done <= total);
    return (*left)-- > 1;
}

static void searches_that_are_refused_or_find_nothing(void **state) {
    struct world *world = *state;
    static const struct velta_column plain[] = {{.name = "n", .type = VELTA_INT}};
    static const struct velta_column one[] = {
        {.name = "w", .type = VELTA_VECTOR, .dimensions = 2, .metric = VELTA_L2, .no_index = true}};
    struct velta_error error = {0};
    velta_filter *filter = NULL;
    velta_result *result = NULL;
    velta_table *numbers;
    velta_table *vectors;
    float queries[70 * SAMPLE_DIMENSIONS];
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        queries[i] = (float)(i % 5);
    }
    assert_ok(velta_table_create(world->db, "numbers", plain, 1, &numbers, &error), &error);
    assert_ok(velta_table_create(world->db, "vectors", one, 1, &vectors, &error), &error);
    struct velta_search search = {.queries = queries, .query_count = 1, .k = 2};
    assert_status(velta_search(world->table, NULL, &result, &error), VELTA_INVALID);
    assert_status(velta_search(numbers, &search, &result, &error), VELTA_UNKNOWN_COLUMN);
    assert_non_null(strstr(error.text, "no vector column"));
    assert_ok(velta_search(vectors, &search, &result, &error), &error); /* the only one, and empty */
    assert_int_equal(velta_result_rows(result)[0], VELTA_NO_ROW);
    assert_int_equal(velta_result_explain(result, 0)->strategy, VELTA_STRATEGY_NONE);
    velta_result_free(result);
    static const float values[] = {0, 0, 1, 0, 0, 1, 5, 5};
    struct velta_values batch = {.column = "w", .data = values};
    assert_ok(velta_insert(vectors, &batch, 1, 4, NULL, NULL, &error), &error);
    static const float middle[] = {0.5F, 0.5F};
    search = (struct velta_search){.queries = middle, .query_count = 1, .k = 2};
    assert_ok(velta_search(vectors, &search, &result, &error), &error);
    assert_true(velta_result_rows(result)[0] == 0 && velta_result_rows(result)[1] == 1); /* of equals the first rows */
    velta_result_free(result);
    search.query_count = 0;
    search.queries = NULL;
    assert_ok(velta_search(vectors, &search, &result, &error), &error);
    assert_int_equal(velta_result_count(result), 0);
    velta_result_free(result);
    search.query_count = SIZE_MAX / 2;
    search.queries = middle;
    assert_status(velta_search(vectors, &search, &result, &error), VELTA_LIMIT);
    search = (struct velta_search){.column = "v", .queries = queries, .query_count = 70, .k = 1, .where = "size > 0"};
    assert_ok(velta_filter_compile(world->table, "size > 0", &filter, &error), &error);
    search.filter = filter;
    assert_status(velta_search(world->table, &search, &result, &error), VELTA_INVALID);
    search.where = NULL;
    assert_ok(velta_search(world->table, &search, &result, &error), &error);
    velta_result_free(result);
    for (uint32_t times = 1; times <= 2; times++) {
        uint32_t left = times;
        search.progress = (struct velta_progress){.report = stop, .context = &left};
        assert_status(velta_search(world->table, &search, &result, &error), VELTA_CANCELLED);
        assert_int_equal(error.offset, times == 1 ? 63 : 69);
    }
    uint32_t enough = 3;
    search.progress.context = &enough;
    assert_ok(velta_search(world->table, &search, &result, &error), &error);
    velta_result_free(result);
    search.column = NULL;
    assert_status(velta_search(vectors, &search, &result, &error), VELTA_INVALID);
    assert_non_null(strstr(error.text, "another table"));
    velta_filter_free(filter);
    assert_status(velta_filter_compile(world->table, NULL, &filter, &error), VELTA_INVALID);
}

static const struct {
    const char *text;
    unsigned zones; /* bit i: zone i may match */
} zone_cases[] = {
    {"n = 95", 4},
    {"n = 90", 1 | 4},
    {"n > 90 AND n < 100", 4},
    {"n IN (5, 4000)", 1 | 2 | 4},
    {"n NOT BETWEEN -5 AND 90", 2 | 4},
    {"n BETWEEN 91 AND 99 OR x > 2.5", 2 | 4},
    {"n IS NULL", 2},
    {"n IS NOT NULL", 1 | 2 | 4},
    {"name = 'banana'", 1},
    {"name = 'cherry'", 0},
    {"name != 'bean'", 1},
    {"name STARTS WITH 'be'", 1 | 2},
    {"name STARTS WITH 'ap'", 1},
    {"name STARTS WITH 'c'", 0},
    {"name LIKE 'bea_'", 1 | 2},
    {"name LIKE '_'", 1},
    {"name CONTAINS 'z'", 1},
    {"name < 'apple'", 0},
    {"name <= 'apple'", 1},
    {"name > 'bean'", 0},
    {"name >= 'bean'", 1 | 2},
    {"name IS NULL", 4},
    {"x > 2", 2 | 4},
    {"x = -1.5", 1 | 2},
    {"x != 3", 1 | 2 | 4},
    {"NOT x >= -2", 1 | 2 | 4},
    {"yes", 2 | 4},
    {"NOT yes", 1 | 2},
    {"TRUE", 1 | 2 | 4},
    {"FALSE", 0},
};

/* Three blocks: numbers 0 to 90, 100 to 4000, unknown; names apple to bean, bean alone, none but NULL. */
static void zones_of_blocks(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    static const struct velta_column columns[] = {{.name = "n", .type = VELTA_INT},
                                                  {.name = "name", .type = VELTA_STRING},
                                                  {.name = "x", .type = VELTA_FLOAT},
                                                  {.name = "yes", .type = VELTA_BOOL}};
    static const int64_t numbers[] = {0, 90, 100, 4000, 0, 0};
    static const uint64_t offsets[] = {0, 5, 9, 13, 17, 17, 17}, known[] = {0xF};
    static const double floats[] = {-1.5, 2, NAN, NAN, 3, 3};
    static const uint8_t bools[] = {0, 0, 0, 1, 1, 1};
    const struct velta_values values[] = {
        {.column = "n", .data = numbers, .valid = known},
        {.column = "name", .data = "applebeanbeanbean", .offsets = offsets, .valid = known},
        {.column = "x", .data = floats},
        {.column = "yes", .data = bools}};
    enum { VALUES = VELTA_HOLDS_VALUES, NULLS = VELTA_HOLDS_NULLS };
    static const uint8_t holds[] = {VALUES, VALUES, VALUES, VALUES, VALUES | NULLS, VALUES,
                                    VALUES, VALUES, VALUES, NULLS,  VALUES,         VALUES};
    velta_table *table;
    velta_filter *filter = NULL;
    uint32_t zones[3];
    uint64_t count;
    assert_ok(velta_table_create(world->db, "zones", columns, 4, &table, &error), &error);
    assert_ok(velta_insert(table, values, 4, 6, NULL, NULL, &error), &error);
    for (size_t i = 0; i < sizeof zone_cases / sizeof *zone_cases; i++) {
        unsigned found = 0;
        assert_ok(velta_filter_compile(table, zone_cases[i].text, &filter, &error), &error);
        assert_ok(velta_filter_zones(filter, holds, zones, 3, &count, &error), &error);
        for (uint64_t z = 0; z < count; z++)
            found |= 1U << zones[z];
        if (found != zone_cases[i].zones)
            fail_msg("%s: %x instead of %x", zone_cases[i].text, found, zone_cases[i].zones);
        velta_filter_free(filter);
    }
    /* Nothing is known of what they hold; too little room; an odd number of rows; one that is gone. */
    assert_ok(velta_filter_compile(table, "name IS NULL", &filter, &error), &error);
    assert_ok(velta_filter_zones(filter, NULL, zones, 1, &count, &error), &error);
    assert_int_equal(count, 3);
    assert_int_equal(zones[0], 0);
    assert_ok(velta_insert(table, values, 4, 1, NULL, NULL, &error), &error);
    assert_status(velta_filter_zones(filter, NULL, zones, 3, &count, &error), VELTA_INVALID);
    assert_ok(velta_delete(table, &(struct velta_keys){.rows = (const uint32_t[]){0}}, 1, NULL, &error), &error);
    assert_status(velta_filter_zones(filter, NULL, zones, 3, &count, &error), VELTA_INVALID);
    assert_ok(velta_insert(table, values, 4, 1, NULL, NULL, &error), &error);
    assert_status(velta_filter_zones(filter, NULL, zones, 3, &count, &error), VELTA_INVALID);
    velta_filter_free(filter);
}

static void filters_of_tables_where_rows_expire(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    velta_filter *filter = NULL;
    uint64_t count = 0;
    uint32_t rows[4];
    int64_t ids[] = {1, 2};
    int64_t ends_ms[] = {2500, INT64_MAX};
    static const struct velta_column columns[] = {{.name = "n", .type = VELTA_INT, .primary_key = true}};
    assert_ok(velta_filter_compile(world->table, "id < 4", &filter, &error), &error);
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = ids}, 2, ends_ms, &error), &error);
    world->now_ms = 3000;
    assert_ok(velta_filter_rows(filter, rows, 4, &count, &error), &error);
    assert_int_equal(count, 3);
    assert_true(rows[0] == 0 && rows[1] == 2 && rows[2] == 3);
    velta_filter_free(filter);
    velta_table *empty;
    assert_ok(velta_table_create(world->db, "empty", columns, 1, &empty, &error), &error);
    assert_ok(velta_filter_compile(empty, "n > 0", &filter, &error), &error);
    assert_ok(velta_filter_count(filter, &count, &error), &error);
    assert_int_equal(count, 0);
    velta_filter_free(filter);
    uint32_t deleted = 9;
    assert_ok(velta_expire(empty, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
    assert_ok(velta_expire(world->table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 1);
    assert_ok(velta_expire(world->table, 0, &deleted, &error), &error);
    assert_int_equal(deleted, 0);
}

/* ---- ranges */

/* How many rows a range has. */
static size_t rows_in(velta_table *table, struct velta_range range) {
    struct velta_error error = {0};
    velta_iterator *iterator = NULL;
    velta_result *result = NULL;
    assert_ok(velta_iterate(table, &range, NULL, 0, 0, &iterator, &error), &error);
    assert_ok(velta_iterator_next(iterator, 1000, &result, &error), &error);
    size_t count = velta_result_count(result);
    velta_result_free(result);
    velta_iterator_close(iterator);
    return count;
}

static void ranges_begin_inside_and_end_before(void **state) {
    struct world *world = *state;
    static const struct velta_column columns[] = {{.name = "k", .type = VELTA_STRING, .primary_key = true}};
    struct velta_error error = {0};
    velta_iterator *iterator = NULL;
    velta_result *result = NULL;
    velta_table *texts;
    assert_ok(velta_table_create(world->db, "texts", columns, 1, &texts, &error), &error);
    struct velta_values values = {.column = "k", .data = "abbaab", .offsets = (uint64_t[]){0, 0, 1, 2, 4, 6}};
    assert_ok(velta_insert(texts, &values, 1, 5, NULL, NULL, &error), &error); /* "", a, b, ba, ab */
    assert_int_equal(rows_in(texts, (struct velta_range){0}), 5);
    assert_int_equal(rows_in(texts, (struct velta_range){.has_start = true, .start = "ab", .start_bytes = 2}), 3);
    assert_int_equal(rows_in(texts, (struct velta_range){.has_end = true, .end = "ab", .end_bytes = 2}), 2);
    assert_int_equal(
        rows_in(texts,
                (struct velta_range){
                    .has_start = true, .start = "a", .start_bytes = 1, .has_end = true, .end = "ba", .end_bytes = 2}),
        3);
    assert_status(velta_iterate(texts, &(struct velta_range){.has_end = true}, NULL, 0, 0, &iterator, &error),
                  VELTA_INVALID);
    assert_int_equal(rows_in(world->table, (struct velta_range){.has_start = true, .start_int = 28}), 2);
    assert_int_equal(rows_in(world->table, (struct velta_range){.has_end = true, .end_int = 4}), 4);
    assert_int_equal(
        rows_in(world->table, (struct velta_range){.has_start = true, .start_int = 4, .has_end = true, .end_int = 4}),
        0);
    assert_status(velta_iterate(world->table, NULL, (const char *[]){"none"}, 1, 0, &iterator, &error),
                  VELTA_UNKNOWN_COLUMN);
    assert_ok(velta_iterate(texts, NULL, (const char *[]){"k"}, 0, 0, &iterator, &error), &error); /* rows alone */
    assert_status(velta_table_drop(texts, &error), VELTA_BUSY);
    assert_ok(velta_iterator_next(iterator, 3, &result, &error), &error);
    assert_int_equal(velta_result_column_count(result), 0);
    assert_int_equal(velta_result_rows(result)[0], 0);
    assert_int_equal(velta_result_rows(result)[2], 4);
    velta_result_free(result);
    velta_iterator_close(iterator);
}

/* Times are numbers: of the largest, the smallest, in groups. */
static void times_are_aggregated(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    struct sample sample;
    velta_result *result = NULL;
    struct velta_values values;
    sample_make(&sample, 0, 30, 1);
    uint32_t latest = 0;
    for (uint32_t i = 0; i < 30; i++) {
        latest = sample.made[i] > sample.made[latest] ? i : latest;
    }
    assert_ok(velta_top(world->table, NULL, "made", false, 1, NULL, 0, &result, &error), &error);
    assert_int_equal(velta_result_rows(result)[0], latest);
    velta_result_free(result);
    static const struct velta_aggregate max = {.kind = VELTA_MAX, .column = "made"};
    struct velta_aggregate_query query = {.aggregates = &max, .aggregate_count = 1};
    assert_ok(velta_aggregate(world->table, &query, &result, &error), &error);
    assert_ok(velta_result_column(result, 0, &values, NULL), &error);
    assert_true(((const int64_t *)values.data)[0] == sample.made[latest]);
    velta_result_free(result);
    sample_free(&sample);
}

/* ---- progress */

static void verification_can_be_cancelled_anywhere(void **state) {
    struct world *world = *state;
    struct velta_error error = {0};
    enum velta_status status = VELTA_CANCELLED;
    uint32_t steps = 0;
    for (uint32_t times = 1; status == VELTA_CANCELLED; times++) {
        uint32_t left = times;
        struct velta_progress progress = {.report = stop, .context = &left};
        status = velta_verify(world->db, &progress, &error);
        steps = times;
    }
    assert_ok(status, &error);
    assert_int_equal(steps - 1, 2 + SAMPLE_COLUMNS);
    assert_ok(velta_verify(world->db, &(struct velta_progress){0}, &error), &error);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_contradict_are_refused),
        cmocka_unit_test(what_is_absent_is_not_found),
        cmocka_unit_test(every_status_has_words),
        WITH_WORLD(a_dropped_table_says_so),
        WITH_WORLD(names_that_cannot_be),
        WITH_WORLD(callbacks_may_only_end_subscriptions),
        WITH_WORLD(rows_and_keys_that_are_not_there),
        WITH_WORLD(text_keys_are_checked),
        WITH_WORLD(chains_and_expiry),
        WITH_WORLD(searches_that_are_refused_or_find_nothing),
        WITH_WORLD(zones_of_blocks),
        WITH_WORLD(filters_of_tables_where_rows_expire),
        WITH_WORLD(ranges_begin_inside_and_end_before),
        WITH_WORLD(times_are_aggregated),
        WITH_WORLD(verification_can_be_cancelled_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
