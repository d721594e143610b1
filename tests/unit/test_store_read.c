/*
 * Reading through the public interface: every type now and then, chains, views, searches over each element and metric,
 * results, iterators by text keys and by row, every refusal of a bad question, and every reading call with every
 * allocation refused in turn.
 */
#include <math.h>

#include "tests/unit/store_testing.h"

enum { ROWS = 60 };

struct world {
    int64_t now_ms;
    struct velta_options options;
    velta *db;
    velta_table *table;
};

/* Rows 0..59 at 1000, linked; row 5 scaled and row 3 deleted at 2000; row 7 expires at 5000. It is 3000. */
static void world_make(struct world *world, const struct velta_allocator *memory) {
    struct velta_error error = {0};
    *world = (struct world){.now_ms = 1000};
    world->options = (struct velta_options){
        .allocator = memory, .now_ms = sample_clock, .now_context = &world->now_ms, .thread_count = 1};
    world->db = sample_open(&world->options, NULL, &world->table);
    sample_insert(world->table, 0, ROWS, 1);
    assert_ok(velta_index(world->db, 0, NULL, NULL, &error), &error);
    world->now_ms = 2000;
    struct velta_delta scale = {
        .operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 2, .metadata = "why", .metadata_bytes = 3};
    int64_t dead = 3;
    int64_t mortal = 7;
    int64_t end_ms = 5000;
    assert_ok(velta_apply(world->table, "v", &scale, 1, 0, NULL, &error), &error);
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = &dead}, 1, NULL, &error), &error);
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = &mortal}, 1, &end_ms, &error), &error);
    world->now_ms = 3000;
}

static void world_free(struct world *world) {
    struct velta_error error = {0};
    assert_ok(velta_close(world->db, &error), &error);
}

/* ---- values */

static void every_type_comes_back(void **state) {
    (void)state;
    struct world world;
    struct sample sample;
    struct velta_error error = {0};
    world_make(&world, NULL);
    sample_make(&sample, 0, ROWS, 1);
    uint32_t rows[] = {0, 6, 59, 0};
    const char *names[] = {"word", "size", "score", "flag", "made", "blob", "v", "h"};
    velta_result *result;
    assert_ok(velta_get(world.table, rows, 4, names, 8, 0, &result, &error), &error);
    assert_int_equal(velta_result_count(result), 4);
    assert_int_equal(velta_result_k(result), 0);
    assert_null(velta_result_distances(result));
    assert_int_equal(velta_result_column_count(result), 8);
    struct velta_values values[8];
    enum velta_type types[8];
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(velta_result_column(result, i, &values[i], &types[i]), VELTA_OK);
        assert_string_equal(values[i].column, names[i]);
    }
    assert_int_equal(velta_result_column(result, 8, &values[0], NULL), VELTA_NOT_FOUND);
    for (size_t i = 0; i < 4; i++) {
        uint32_t row = rows[i];
        bool there = row % 7 != 6;
        assert_int_equal(values[0].valid[0] >> i & 1, there);
        assert_int_equal(values[1].valid[0] >> i & 1, there);
        uint64_t text_bytes = values[5].offsets[i + 1] - values[5].offsets[i];
        assert_int_equal(text_bytes, sample.word_offsets[row + 1] - sample.word_offsets[row]);
        assert_memory_equal((const char *)values[5].data + values[5].offsets[i],
                            sample.words + sample.word_offsets[row], text_bytes);
        assert_true(((const int64_t *)values[1].data)[i] == (there ? sample.sizes[row] : 0));
        assert_true(((const double *)values[2].data)[i] == sample.scores[row]);
        assert_int_equal(((const uint8_t *)values[3].data)[i], sample.flags[row]);
        assert_true(((const int64_t *)values[4].data)[i] == sample.made[row]);
        const float *vector = (const float *)values[6].data + i * SAMPLE_DIMENSIONS;
        for (int j = 0; j < SAMPLE_DIMENSIONS; j++) {
            assert_true(vector[j] == (there ? sample.vectors[row * SAMPLE_DIMENSIONS + (uint32_t)j] : 0));
        }
        const float *half = (const float *)values[7].data + i * SAMPLE_DIMENSIONS;
        assert_true(fabsf(half[0] - sample.vectors[row * SAMPLE_DIMENSIONS]) < 4e-3F);
    }
    velta_result_free(result);
    velta_result_free(NULL);
    sample_free(&sample);
    world_free(&world);
}

static void chains_and_views(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    world_make(&world, NULL);
    velta_result *result;
    size_t count;
    float now[SAMPLE_DIMENSIONS];
    float then[SAMPLE_DIMENSIONS];
    assert_ok(velta_get_vector(world.table, "v", 5, 0, now, &error), &error);
    assert_ok(velta_get_vector(world.table, "v", 5, 1500, then, &error), &error);
    assert_ok(velta_get_chain(world.table, "v", 5, &result, &error), &error);
    const struct velta_chain_item *chain = velta_result_chain(result, &count);
    assert_int_equal(count, 2);
    assert_int_equal(chain[0].delta.operation, VELTA_DELTA_CREATE);
    assert_memory_equal(chain[0].delta.values, then, sizeof then);
    assert_true(chain[0].sequence > 0 && chain[0].sequence < chain[1].sequence);
    assert_int_equal(chain[0].time_ms, 1000);
    assert_int_equal(chain[1].delta.operation, VELTA_DELTA_SCALE);
    assert_true(chain[1].delta.amount == 2);
    assert_int_equal(chain[1].time_ms, 2000);
    assert_int_equal(chain[1].delta.metadata_bytes, 3);
    assert_memory_equal(chain[1].delta.metadata, "why", 3);
    velta_result_free(result);
    assert_ok(velta_get_chain(world.table, "v", 8, &result, &error), &error); /* never changed */
    chain = velta_result_chain(result, &count);
    assert_int_equal(count, 1);
    assert_int_equal(chain[0].delta.operation, VELTA_DELTA_CREATE);
    velta_result_free(result);
    const float *view = velta_vector_view(world.table, "v", 5);
    assert_non_null(view);
    assert_memory_equal(view, now, sizeof now);
    assert_null(velta_vector_view(world.table, "v", 3));  /* deleted */
    assert_null(velta_vector_view(world.table, "v", 6));  /* NULL */
    assert_null(velta_vector_view(world.table, "h", 5));  /* not kept as f32 */
    assert_null(velta_vector_view(world.table, "v", 99)); /* no such row */
    assert_string_equal(velta_table_name(world.table), "t");
    assert_string_equal(velta_column_at(world.table, 1)->name, "word");
    assert_null(velta_column_at(world.table, SAMPLE_COLUMNS));
    world_free(&world);
}

static void chains_after_compaction_have_a_nameless_base(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    world_make(&world, NULL);
    assert_ok(velta_compact(world.db, NULL, NULL, &error), &error);
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 2};
    assert_ok(velta_apply(world.table, "v", &scale, 1, 0, NULL, &error), &error);
    velta_result *result;
    size_t count;
    assert_ok(velta_get_chain(world.table, "v", row_of(world.table, 5), &result, &error), &error);
    const struct velta_chain_item *chain = velta_result_chain(result, &count);
    assert_int_equal(count, 2);
    assert_int_equal(chain[0].delta.operation, VELTA_DELTA_CREATE);
    assert_int_equal(chain[0].sequence, 0);
    assert_int_equal(chain[0].time_ms, 0);
    assert_true(chain[1].sequence > 0);
    velta_result_free(result);
    world_free(&world);
}

/* A moment before the last deltas is kept, these are merged: the chain still ends with the vector as it is. */
static void chains_end_with_the_present_vector(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    float now[SAMPLE_DIMENSIONS];
    static const char *const tags[] = {"before"};
    const struct velta_compact_options keep = {.keep_tags = tags, .keep_tag_count = 1};
    world_make(&world, NULL);
    assert_ok(velta_tag(world.db, "before", &error), &error);
    world.now_ms = 4000;
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 3};
    assert_ok(velta_apply(world.table, "v", &scale, 1, 0, NULL, &error), &error);
    assert_ok(velta_compact(world.db, &keep, NULL, &error), &error);
    uint32_t row = row_of(world.table, 5);
    assert_ok(velta_get_vector(world.table, "v", row, 0, now, &error), &error);
    velta_result *result;
    size_t count;
    assert_ok(velta_get_chain(world.table, "v", row, &result, &error), &error);
    const struct velta_chain_item *chain = velta_result_chain(result, &count);
    assert_int_equal(count, 2);
    assert_int_equal(chain[1].delta.operation, VELTA_DELTA_CREATE);
    assert_int_equal(chain[1].sequence, 0);
    assert_memory_equal(chain[1].delta.values, now, sizeof now);
    velta_result_free(result);
    world_free(&world);
}

/* Compaction and dropping end the table that a filter was bound to. */
static void filters_outlive_their_tables(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct world world;
        struct velta_error error = {0};
        world_make(&world, NULL);
        velta_filter *filter;
        uint64_t before;
        uint64_t after;
        assert_ok(velta_filter_compile(world.table, "word CONTAINS '1' AND size > 5", &filter, &error), &error);
        assert_ok(velta_filter_count(filter, &before, &error), &error);
        if (how < 2) {
            assert_ok(velta_compact(world.db, NULL, NULL, &error), &error);
        } else {
            assert_ok(velta_table_drop(world.table, &error), &error);
            assert_status(velta_filter_count(filter, &after, &error), VELTA_NOT_FOUND);
        }
        if (how == 1) {
            assert_ok(velta_filter_count(filter, &after, &error), &error);
            assert_int_equal(before, after);
        }
        velta_filter_free(filter);
        world_free(&world);
    }
}

static void expired_rows_are_not_seen(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    world_make(&world, NULL);
    int64_t key = 7;
    uint32_t row;
    uint64_t count;
    velta_result *result;
    velta_filter *filter;
    struct velta_keys keys = {.ints = &key};
    assert_int_equal(row_of(world.table, 7), 7);
    world.now_ms = 6000;
    assert_int_equal(row_of(world.table, 7), VELTA_NO_ROW);
    row = 7;
    assert_status(velta_get(world.table, &row, 1, NULL, 0, 0, &result, &error), VELTA_NOT_FOUND);
    assert_ok(velta_filter_compile(world.table, "id = 7 OR id = 8", &filter, &error), &error);
    assert_ok(velta_filter_count(filter, &count, &error), &error);
    assert_int_equal(count, 1);
    velta_filter_free(filter);
    assert_ok(velta_find(world.table, &keys, 1, 4000, &row, &error), &error); /* it lived then */
    assert_int_equal(row, 7);
    world_free(&world);
}

/* ---- searches */

static void search_every_element(void **state) {
    (void)state;
    static const char *const columns[] = {"v", "h", "c"};
    static const char *const selected[] = {"id", "word"};
    struct world world;
    struct velta_error error = {0};
    world_make(&world, NULL);
    for (size_t c = 0; c < 3; c++) {
        float query[SAMPLE_DIMENSIONS];
        velta_result *exact;
        velta_result *found;
        assert_ok(velta_get_vector(world.table, columns[c], 10, 0, query, &error), &error);
        struct velta_search search = {.column = columns[c],
                                      .queries = query,
                                      .query_count = 1,
                                      .k = 5,
                                      .select = selected,
                                      .select_count = 2,
                                      .exact = true};
        assert_ok(velta_search(world.table, &search, &exact, &error), &error);
        search.exact = false;
        assert_ok(velta_search(world.table, &search, &found, &error), &error);
        assert_int_equal(velta_result_k(found), 5);
        assert_memory_equal(velta_result_rows(exact), velta_result_rows(found), 5 * sizeof(uint32_t));
        assert_memory_equal(velta_result_distances(exact), velta_result_distances(found), 5 * sizeof(float));
        if (c < 2) assert_int_equal(velta_result_rows(found)[0], 10); /* dot: the longest may win */
        struct velta_values ids;
        assert_ok(velta_result_column(found, 0, &ids, NULL), &error);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(((const int64_t *)ids.data)[i], velta_result_rows(found)[i]);
        }
        const struct velta_explain *explain = velta_result_explain(found, 0);
        assert_int_not_equal(explain->strategy, VELTA_STRATEGY_NONE);
        assert_true(strlen(velta_strategy_name(explain->strategy)) > 0);
        assert_null(velta_result_explain(found, 1));
        velta_result_free(exact);
        velta_result_free(found);
    }
    world_free(&world);
}

static void slots_that_stay_empty(void **state) {
    (void)state;
    static const char *const selected[] = {"word", "v", "size"};
    struct world world;
    struct velta_error error = {0};
    float queries[2 * SAMPLE_DIMENSIONS] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    velta_result *result;
    world_make(&world, NULL);
    struct velta_search search = {.column = "v",
                                  .queries = queries,
                                  .query_count = 2,
                                  .k = 4,
                                  .where = "id = 10 OR id = 11",
                                  .select = selected,
                                  .select_count = 3};
    assert_ok(velta_search(world.table, &search, &result, &error), &error);
    struct velta_values words;
    assert_ok(velta_result_column(result, 0, &words, NULL), &error);
    for (size_t slot = 0; slot < 8; slot++) {
        bool empty = slot % 4 >= 2;
        assert_int_equal(velta_result_rows(result)[slot] == VELTA_NO_ROW, empty);
        assert_int_equal(isinf(velta_result_distances(result)[slot]) != 0, empty);
        if (empty) assert_int_equal(words.valid[0] >> slot & 1, 0);
    }
    assert_true(fabs(velta_result_explain(result, 1)->selectivity - 2.0 / (ROWS - 1)) < 1e-9);
    velta_result_free(result);
    world_free(&world);
}

/* ---- iterators */

static void iterators_by_text_and_by_row(void **state) {
    (void)state;
    static const char words[] = "pearapplefigplum";
    static const uint64_t offsets[] = {0, 4, 9, 12, 16};
    static const char *const expected[] = {"apple", "fig", "pear"};
    struct velta_column columns[] = {{.name = "word", .type = VELTA_STRING, .primary_key = true}};
    struct velta_error error = {0};
    velta *db;
    velta_table *keyed;
    velta_table *plain;
    velta_iterator *iterator;
    velta_result *result;
    struct velta_values values;
    assert_ok(velta_open(NULL, NULL, &db, &error), &error);
    assert_ok(velta_table_create(db, "keyed", columns, 1, &keyed, &error), &error);
    columns[0].primary_key = false;
    assert_ok(velta_table_create(db, "plain", columns, 1, &plain, &error), &error);
    struct velta_values batch = {.column = "word", .data = words, .offsets = offsets};
    assert_ok(velta_insert(keyed, &batch, 1, 4, NULL, NULL, &error), &error);
    assert_ok(velta_insert(plain, &batch, 1, 4, NULL, NULL, &error), &error);
    struct velta_range range = {.has_end = true, .end = "plum", .end_bytes = 4};
    assert_ok(velta_iterate(keyed, &range, NULL, 0, 0, &iterator, &error), &error);
    assert_ok(velta_iterator_next(iterator, 10, &result, &error), &error);
    assert_int_equal(velta_result_count(result), 3);
    assert_ok(velta_result_column(result, 0, &values, NULL), &error);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(values.offsets[i + 1] - values.offsets[i], strlen(expected[i]));
        assert_memory_equal((const char *)values.data + values.offsets[i], expected[i], strlen(expected[i]));
    }
    velta_result_free(result);
    assert_status(velta_compact(db, NULL, NULL, &error), VELTA_BUSY);
    velta_iterator_close(iterator);
    assert_status(velta_iterate(keyed, &(struct velta_range){.has_start = true}, NULL, 0, 0, &iterator, &error),
                  VELTA_INVALID);
    range = (struct velta_range){.has_start = true, .start_int = 2};
    assert_ok(velta_iterate(plain, &range, NULL, 0, 0, &iterator, &error), &error);
    assert_ok(velta_iterator_next(iterator, 10, &result, &error), &error);
    assert_int_equal(velta_result_count(result), 2);
    assert_int_equal(velta_result_rows(result)[0], 2);
    velta_result_free(result);
    velta_iterator_close(iterator);
    velta_iterator_close(NULL);
    assert_ok(velta_close(db, &error), &error);
}

/* ---- aggregates */

static double number_of(const velta_result *result, size_t column, size_t slot) {
    struct velta_values values;
    enum velta_type type;
    assert_int_equal(velta_result_column(result, column, &values, &type), VELTA_OK);
    assert_true(values.valid[slot / 64] >> (slot % 64) & 1);
    return type == VELTA_FLOAT ? ((const double *)values.data)[slot] : (double)((const int64_t *)values.data)[slot];
}

static void aggregates_by_hand(void **state) {
    (void)state;
    static const double scores[] = {2.5, -1, 8, 0.5};
    static const int64_t sizes[] = {INT64_MAX, 5, -7, 1};
    static const uint8_t flags[] = {1, 0, 0, 0};
    static const uint64_t valid = 7; /* the last size is NULL */
    struct velta_column columns[] = {{.name = "score", .type = VELTA_FLOAT},
                                     {.name = "size", .type = VELTA_INT},
                                     {.name = "flag", .type = VELTA_BOOL}};
    struct velta_values values[] = {{.column = "score", .data = scores},
                                    {.column = "size", .data = sizes, .valid = &valid},
                                    {.column = "flag", .data = flags}};
    static const struct velta_aggregate kinds[] = {{.kind = VELTA_COUNT},
                                                   {.kind = VELTA_COUNT, .column = "size"},
                                                   {.kind = VELTA_SUM, .column = "score"},
                                                   {.kind = VELTA_MIN, .column = "score"},
                                                   {.kind = VELTA_MAX, .column = "score"},
                                                   {.kind = VELTA_MEAN, .column = "score"},
                                                   {.kind = VELTA_MIN, .column = "size"},
                                                   {.kind = VELTA_MAX, .column = "size"},
                                                   {.kind = VELTA_MEAN, .column = "size"}};
    static const double of_all[] = {4, 3, 10, -1, 8, 2.5, -7, (double)INT64_MAX, ((double)INT64_MAX - 2) / 3};
    static const double of_unflagged[] = {3, 2, 7.5, -1, 8, 2.5, -7, 5, -1};
    struct velta_error error = {0};
    velta *db;
    velta_table *table;
    velta_result *result;
    struct velta_values none;
    assert_ok(velta_open(NULL, NULL, &db, &error), &error);
    assert_ok(velta_table_create(db, "t", columns, 3, &table, &error), &error);
    assert_ok(velta_insert(table, values, 3, 4, NULL, NULL, &error), &error);
    struct velta_aggregate_query query = {.aggregates = kinds, .aggregate_count = 9};
    assert_ok(velta_aggregate(table, &query, &result, &error), &error);
    for (size_t i = 0; i < 9; i++) {
        assert_true(number_of(result, i, 0) == of_all[i]);
    }
    velta_result_free(result);
    query.where = "NOT flag";
    query.group_by = "flag";
    assert_ok(velta_aggregate(table, &query, &result, &error), &error);
    assert_int_equal(velta_result_count(result), 1);
    for (size_t i = 0; i < 9; i++) {
        assert_true(number_of(result, i + 1, 0) == of_unflagged[i]);
    }
    velta_result_free(result);
    query = (struct velta_aggregate_query){.aggregates = kinds, .aggregate_count = 9, .where = "score > 100"};
    assert_ok(velta_aggregate(table, &query, &result, &error), &error);
    assert_true(number_of(result, 0, 0) == 0 && number_of(result, 2, 0) == 0);
    assert_ok(velta_result_column(result, 5, &none, NULL), &error); /* the mean of nothing */
    assert_int_equal(none.valid[0] & 1, 0);
    velta_result_free(result);
    const struct velta_aggregate sum = {.kind = VELTA_SUM, .column = "size"};
    query = (struct velta_aggregate_query){.aggregates = &sum, .aggregate_count = 1, .where = "size > 0"};
    assert_status(velta_aggregate(table, &query, &result, &error), VELTA_LIMIT);
    assert_ok(velta_top(table, NULL, "score", false, 2, NULL, 0, &result, &error), &error);
    assert_int_equal(velta_result_rows(result)[0], 2);
    assert_int_equal(velta_result_rows(result)[1], 0);
    velta_result_free(result);
    assert_ok(velta_close(db, &error), &error);
}

/* ---- bad questions */

static void bad_questions_are_refused(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    velta_result *result = NULL;
    velta_filter *filter = NULL;
    float query[2 * SAMPLE_DIMENSIONS] = {1};
    float vector[SAMPLE_DIMENSIONS];
    uint32_t row = 3;
    const char *unknown = "wrod";
    world_make(&world, NULL);
    struct velta_search good = {.column = "v", .queries = query, .query_count = 2};
    struct velta_search search = good;
    search.column = "word";
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_TYPE);
    search.column = "w";
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_UNKNOWN_COLUMN);
    search.column = NULL; /* there are three */
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_INVALID);
    search = good;
    search.k = 20000;
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_LIMIT);
    search = good;
    search.reserved[2] = 1;
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_INVALID);
    search = good;
    search.queries = NULL;
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_INVALID);
    search = good;
    search.where = "size >";
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_SYNTAX);
    assert_int_equal(error.offset, 6);
    search = good;
    search.select = &unknown;
    search.select_count = 1;
    assert_status(velta_search(world.table, &search, &result, &error), VELTA_UNKNOWN_COLUMN);
    query[SAMPLE_DIMENSIONS + 3] = NAN;
    assert_status(velta_search(world.table, &good, &result, &error), VELTA_NOT_FINITE);
    assert_int_equal(error.offset, 1);
    query[SAMPLE_DIMENSIONS + 3] = 0;
    good.at_ms = 500; /* before there was anything: nothing is found */
    assert_ok(velta_search(world.table, &good, &result, &error), &error);
    assert_int_equal(velta_result_rows(result)[0], VELTA_NO_ROW);
    velta_result_free(result);
    assert_status(velta_get(world.table, &row, 1, NULL, 0, 0, &result, &error), VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 0);
    assert_status(velta_get(world.table, &row, 1, &unknown, 1, 0, &result, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_get_vector(world.table, "v", 3, 0, vector, &error), VELTA_NOT_FOUND);
    assert_status(velta_get_vector(world.table, "size", 4, 0, vector, &error), VELTA_TYPE);
    assert_status(velta_filter_compile(world.table, "wrod = 'a'", &filter, &error), VELTA_UNKNOWN_COLUMN);
    assert_status(velta_find(world.table, &(struct velta_keys){0}, 1, 0, &row, &error), VELTA_INVALID);
    assert_status(
        velta_find(world.table, &(struct velta_keys){.text = "a", .offsets = (uint64_t[]){0, 1}}, 1, 0, &row, &error),
        VELTA_TYPE);
    const struct velta_aggregate sum = {.kind = VELTA_SUM, .column = "word"};
    assert_status(velta_aggregate(world.table,
                                  &(struct velta_aggregate_query){.aggregates = &sum, .aggregate_count = 1}, &result,
                                  &error),
                  VELTA_TYPE);
    assert_status(velta_top(world.table, NULL, "word", false, 3, NULL, 0, &result, &error), VELTA_TYPE);
    world_free(&world);
}

/* ---- refused memory */

typedef enum velta_status reading(struct world *world, struct velta_error *error);

static enum velta_status read_rows(struct world *world, struct velta_error *error) {
    uint32_t rows[] = {0, 5, 6};
    velta_result *result = NULL;
    enum velta_status status = velta_get(world->table, rows, 3, NULL, 0, 0, &result, error);
    velta_result_free(result);
    return status;
}

static enum velta_status read_chain(struct world *world, struct velta_error *error) {
    velta_result *result = NULL;
    enum velta_status status = velta_get_chain(world->table, "v", 5, &result, error);
    velta_result_free(result);
    return status;
}

static enum velta_status search_at(struct world *world, int64_t at_ms, const char *column, struct velta_error *error) {
    static const char *const selected[] = {"word", "v"};
    float query[SAMPLE_DIMENSIONS] = {1, 2};
    velta_result *result = NULL;
    struct velta_search search = {.column = column,
                                  .queries = query,
                                  .query_count = 1,
                                  .k = 3,
                                  .at_ms = at_ms,
                                  .where = "word LIKE 'w1%' OR size > 10",
                                  .select = selected,
                                  .select_count = 2};
    enum velta_status status = velta_search(world->table, &search, &result, error);
    velta_result_free(result);
    return status;
}

static enum velta_status search_now(struct world *world, struct velta_error *error) {
    return search_at(world, 0, "v", error);
}

static enum velta_status search_codes(struct world *world, struct velta_error *error) {
    return search_at(world, 0, "c", error);
}

static enum velta_status search_past(struct world *world, struct velta_error *error) {
    return search_at(world, 1500, "v", error);
}

static enum velta_status list_filtered(struct world *world, struct velta_error *error) {
    velta_filter *filter = NULL;
    uint32_t rows[8];
    uint64_t count;
    enum velta_status status = velta_filter_compile(world->table, "word CONTAINS '1' AND size > 5", &filter, error);
    status = status ? status : velta_filter_count(filter, &count, error);
    status = status ? status : velta_filter_rows(filter, rows, 8, &count, error);
    velta_filter_free(filter);
    return status;
}

static enum velta_status iterate(struct world *world, struct velta_error *error) {
    velta_iterator *iterator = NULL;
    velta_result *result = NULL;
    enum velta_status status = velta_iterate(world->table, NULL, NULL, 0, 0, &iterator, error);
    status = status ? status : velta_iterator_next(iterator, 7, &result, error);
    velta_result_free(result);
    velta_iterator_close(iterator);
    return status;
}

static enum velta_status aggregate(struct world *world, struct velta_error *error) {
    const struct velta_aggregate kinds[] = {{.kind = VELTA_COUNT}, {.kind = VELTA_MEAN, .column = "score"}};
    struct velta_aggregate_query query = {
        .aggregates = kinds, .aggregate_count = 2, .group_by = "word", .where = "size > 5", .top = 3};
    velta_result *result = NULL;
    enum velta_status status = velta_aggregate(world->table, &query, &result, error);
    velta_result_free(result);
    return status;
}

static enum velta_status top(struct world *world, struct velta_error *error) {
    velta_result *result = NULL;
    enum velta_status status = velta_top(world->table, "flag", "score", true, 4, NULL, 0, &result, error);
    velta_result_free(result);
    return status;
}

static bool read_with_refusals(struct test_allocator *self, void *context) {
    reading *const *read = context;
    struct velta_error error = {0};
    struct world world;
    struct velta_stats before;
    struct velta_stats after;
    world_make(&world, &self->allocator);
    uint64_t state = digest(world.db);
    velta_get_stats(world.db, &before);
    test_allocator_rearm(self);
    enum velta_status status = (*read)(&world, &error);
    test_allocator_disarm(self);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_int_equal(error.code, status);
        assert_ok((*read)(&world, &error), &error);
    }
    velta_get_stats(world.db, &after);
    assert_true(state == digest(world.db));
    assert_int_equal(before.sequence, after.sequence);
    world_free(&world);
    return status == VELTA_OK;
}

static void refused_memory_is_told(void **state) {
    (void)state;
    static reading *const readings[] = {read_rows,     read_chain, search_now, search_codes, search_past,
                                        list_filtered, iterate,    aggregate,  top};
    for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
        struct test_allocator self;
        test_allocator_init(&self);
        assert_true(test_every_allocation_fails(&self, read_with_refusals, (void *)&readings[i]) >= 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(chains_and_views),
        cmocka_unit_test(chains_after_compaction_have_a_nameless_base),
        cmocka_unit_test(chains_end_with_the_present_vector),
        cmocka_unit_test(filters_outlive_their_tables),
        cmocka_unit_test(expired_rows_are_not_seen),
        cmocka_unit_test(search_every_element),
        cmocka_unit_test(slots_that_stay_empty),
        cmocka_unit_test(iterators_by_text_and_by_row),
        cmocka_unit_test(aggregates_by_hand),
        cmocka_unit_test(bad_questions_are_refused),
        cmocka_unit_test(refused_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
