/*
 * The same everywhere: one scripted life (tables of every column type and element, writes, vector deltas, deletes,
 * expiry, linking in slices, compaction, searches, aggregates) gives the same bytes and the same answers with every
 * instruction set and every number of threads, and when it is exported, imported and exported again.
 *
 * The digest is printed, with the instruction sets that gave it, so that tests/tidy/check_compilers.py can compare what
 * other compilers make of it.
 */
#include "core/hash.h"
#include "simd/simd.h"
#include "store/velta.h"
#include "tests/support/support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS = 37, HALF_DIMENSIONS = 16, BATCH = 300, BATCHES = 6, WORDS = 40, START_MS = 1000000 };

struct life {
    struct random random;
    velta *db;
    velta_table *table;
    int64_t now_ms;
    int64_t next_key;
    struct hash_stream answers;
};

static int64_t life_now(void *context) {
    return ((struct life *)context)->now_ms;
}

static void must(enum velta_status status, const struct velta_error *error) {
    if (status) fail_msg("%s: %s", velta_status_name(status), error->text);
}

static void life_open(struct life *life, const char *simd, uint32_t thread_count) {
    static const struct velta_column columns[] = {
        {.name = "id", .type = VELTA_INT, .primary_key = true},
        {.name = "word", .type = VELTA_STRING},
        {.name = "size", .type = VELTA_FLOAT},
        {.name = "open", .type = VELTA_BOOL},
        {.name = "seen", .type = VELTA_TIMESTAMP},
        {.name = "blob", .type = VELTA_BYTES},
        {.name = "full", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .metric = VELTA_COSINE, .m = 8},
        {.name = "half",
         .type = VELTA_VECTOR,
         .dimensions = HALF_DIMENSIONS,
         .element = VELTA_F16,
         .metric = VELTA_L2,
         .m = 8},
        {.name = "codes",
         .type = VELTA_VECTOR,
         .dimensions = DIMENSIONS,
         .element = VELTA_CODES,
         .metric = VELTA_DOT,
         .m = 8},
    };
    struct velta_options options = {
        .simd = simd, .thread_count = thread_count, .now_ms = life_now, .now_context = life, .chain_interval = 3};
    struct velta_error error;
    *life = (struct life){.random = random_seeded(2026), .now_ms = START_MS};
    hash_stream_begin(&life->answers);
    must(velta_open(NULL, &options, &life->db, &error), &error);
    must(velta_table_create(life->db, "things", columns, sizeof columns / sizeof columns[0], &life->table, &error),
         &error);
}

struct batch {
    int64_t ids[BATCH], seen[BATCH];
    double sizes[BATCH];
    uint8_t open[BATCH];
    char words[BATCH * 8];
    uint64_t offsets[BATCH + 1], valid[(BATCH + 63) / 64];
    float full[BATCH * DIMENSIONS], half[BATCH * HALF_DIMENSIONS];
};

static void fill_batch(struct life *life, struct batch *batch) {
    struct random *random = &life->random;
    batch->offsets[0] = 0;
    for (size_t i = 0; i < BATCH; i++) {
        batch->ids[i] = life->next_key;
        life->next_key += 1 + (int64_t)random_below(random, 3);
        batch->seen[i] = START_MS + random_between(random, -100000, 100000);
        batch->sizes[i] = random_unit(random) * 1e6 - 1e5;
        batch->open[i] = random_chance(random, 30);
        int length = snprintf(batch->words + batch->offsets[i], 8, "w%u", (unsigned)random_below(random, WORDS));
        batch->offsets[i + 1] = batch->offsets[i] + (uint64_t)length;
    }
    random_bytes(random, batch->valid, sizeof batch->valid);
    random_vector(random, batch->full, (size_t)BATCH * DIMENSIONS);
    random_vector(random, batch->half, (size_t)BATCH * HALF_DIMENSIONS);
}

static void insert_batch(struct life *life) {
    struct batch *batch = malloc(sizeof *batch);
    assert_non_null(batch);
    fill_batch(life, batch);
    const struct velta_values values[] = {
        {.column = "id", .data = batch->ids},
        {.column = "word", .data = batch->words, .offsets = batch->offsets, .valid = batch->valid},
        {.column = "size", .data = batch->sizes},
        {.column = "open", .data = batch->open},
        {.column = "seen", .data = batch->seen, .valid = batch->valid},
        {.column = "blob", .data = batch->words, .offsets = batch->offsets},
        {.column = "full", .data = batch->full},
        {.column = "half", .data = batch->half},
        {.column = "codes", .data = batch->full},
    };
    struct velta_error error;
    must(velta_insert(life->table, values, sizeof values / sizeof values[0], BATCH, NULL, NULL, &error), &error);
    free(batch);
}

/* A row that lives, by trying. */
static uint32_t living_row(struct life *life) {
    for (;;) {
        int64_t key = (int64_t)random_below(&life->random, (uint64_t)life->next_key);
        uint32_t row;
        struct velta_error error;
        must(velta_find(life->table, &(struct velta_keys){.ints = &key}, 1, 0, &row, &error), &error);
        if (row != VELTA_NO_ROW) return row;
    }
}

static void change_some(struct life *life) {
    struct velta_error error;
    for (unsigned round = 0; round < 60; round++) {
        life->now_ms += 10;
        struct velta_delta delta = {.row = living_row(life), .use_row = true};
        float values[DIMENSIONS];
        uint32_t indices[4] = {1, 5, 17, 36};
        random_vector(&life->random, values, DIMENSIONS);
        delta.amount = 0.5F + (float)random_unit(&life->random);
        delta.values = values;
        switch (random_below(&life->random, 5)) {
        case 0:
            delta.operation = VELTA_DELTA_SPARSE;
            delta.count = 4;
            delta.indices = indices;
            delta.set = random_chance(&life->random, 50);
            break;
        case 1:
            delta.operation = VELTA_DELTA_DENSE;
            delta.count = DIMENSIONS;
            break;
        case 2:
            delta.operation = VELTA_DELTA_SCALE;
            break;
        case 3:
            delta.operation = VELTA_DELTA_OFFSET;
            break;
        default:
            delta.operation = VELTA_DELTA_DELETE;
            break;
        }
        const char *column = random_chance(&life->random, 70) ? "full" : "codes";
        must(velta_apply(life->table, column, &delta, 1, 0, NULL, &error), &error);
        uint32_t row = living_row(life);
        int64_t when = life->now_ms + 4000;
        double size = random_unit(&life->random);
        const struct velta_keys key = {.rows = &row};
        if (random_chance(&life->random, 10)) must(velta_expire_at(life->table, &key, 1, &when, &error), &error);
        must(velta_update(life->table, &key, 1, &(struct velta_values){.column = "size", .data = &size}, 1, NULL,
                          &error),
             &error);
    }
}

static void note(struct life *life, const void *bytes, size_t size_bytes) {
    hash_stream_add(&life->answers, bytes, size_bytes);
}

static void search_some(struct life *life) {
    static const char *const filters[] = {NULL, "open", "word IN ('w1', 'w2', 'w30') OR size < 1000",
                                          "NOT open AND seen IS NOT NULL"};
    struct velta_error error;
    static const char *const columns[] = {"full", "half", "codes"};
    for (size_t i = 0; i < 3 * sizeof filters / sizeof filters[0]; i++) {
        float query[DIMENSIONS];
        random_vector(&life->random, query, DIMENSIONS);
        struct velta_search search = {.column = columns[i % 3],
                                      .queries = query,
                                      .query_count = 1,
                                      .k = 12,
                                      .ef = 40,
                                      .where = filters[i / 3],
                                      .at_ms = i % 2 == 1 ? life->now_ms - 300 : 0};
        velta_result *result;
        must(velta_search(life->table, &search, &result, &error), &error);
        note(life, velta_result_rows(result), velta_result_count(result) * sizeof(uint32_t));
        note(life, velta_result_distances(result), velta_result_count(result) * sizeof(float));
        velta_result_free(result);
    }
    const struct velta_aggregate sums[] = {{VELTA_SUM, "size"}, {VELTA_MEAN, "seen"}, {VELTA_COUNT, NULL}};
    velta_result *result;
    must(velta_aggregate(life->table,
                         &(struct velta_aggregate_query){
                             .where = "size > 0", .aggregates = sums, .aggregate_count = 3, .group_by = "open"},
                         &result, &error),
         &error);
    for (size_t i = 1; i < velta_result_column_count(result); i++) {
        struct velta_values values;
        enum velta_type type;
        must(velta_result_column(result, i, &values, &type), &error);
        note(life, values.data, velta_result_count(result) * 8);
    }
    velta_result_free(result);
}

/* The state's bytes and what was answered on the way. */
static uint64_t live(const char *simd, uint32_t thread_count) {
    struct life life;
    struct velta_error error;
    uint64_t pending;
    life_open(&life, simd, thread_count);
    for (unsigned i = 0; i < BATCHES; i++) {
        life.now_ms += 1000;
        insert_batch(&life);
        if (i % 2 == 1) must(velta_index(life.db, 250, NULL, &pending, &error), &error);
        change_some(&life);
        search_some(&life);
        if (i == 2) must(velta_tag(life.db, "middle", &error), &error);
        if (i == 3) must(velta_expire(life.table, 0, NULL, &error), &error);
        if (i == 4) {
            const struct velta_compact_options keep = {.keep_since_ms = life.now_ms - 200};
            must(velta_compact(life.db, &keep, NULL, &error), &error);
        }
    }
    must(velta_index(life.db, 0, NULL, &pending, &error), &error);
    assert_int_equal(pending, 0);
    search_some(&life);
    must(velta_verify(life.db, NULL, &error), &error);

    uint8_t *bytes, *again;
    uint64_t size_bytes, size_again;
    must(velta_export(life.db, &bytes, &size_bytes, NULL, &error), &error);
    velta *copy;
    const struct velta_options options = {.simd = simd, .now_ms = life_now, .now_context = &life};
    must(velta_import(bytes, size_bytes, &options, &copy, &error), &error);
    must(velta_export(copy, &again, &size_again, NULL, &error), &error);
    assert_int_equal(size_again, size_bytes);
    test_assert_bytes(again, bytes, (size_t)size_bytes, "an export of an imported export");
    velta_export_free(copy, again, size_again);
    must(velta_close(copy, &error), &error);
    note(&life, bytes, (size_t)size_bytes);
    velta_export_free(life.db, bytes, size_bytes);
    must(velta_close(life.db, &error), &error);
    return hash_stream_value(&life.answers);
}

static void every_instruction_set_lives_the_same_life(void **state) {
    (void)state;
    uint64_t expected = live("scalar", 1);
    print_message("digest %016" PRIx64 "\n", expected);
    const struct simd_kernels *kernels;
    unsigned count = 0;
    for (; (kernels = simd_available(count)) != NULL; count++) {
        uint64_t digest = live(kernels->name, 1);
        if (digest != expected) fail_msg("%s: %016" PRIx64, kernels->name, digest);
        print_message("set %s\n", kernels->name);
    }
    assert_true(count >= 2); /* the wasm kernels are in every test build */
}

static void every_number_of_threads_lives_the_same_life(void **state) {
    (void)state;
    uint64_t expected = live(NULL, 1);
    for (uint32_t thread_count = 2; thread_count <= 5; thread_count++)
        assert_true(live(NULL, thread_count) == expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_lives_the_same_life),
        cmocka_unit_test(every_number_of_threads_lives_the_same_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
