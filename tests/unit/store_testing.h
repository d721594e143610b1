/* What the tests of store/ share: a table with a column of every type, deterministic rows, digests of whole states. */
#ifndef VELTA_TESTS_UNIT_STORE_TESTING_H
#define VELTA_TESTS_UNIT_STORE_TESTING_H

#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "store/host.h"
#include "store/velta.h"

enum { SAMPLE_DIMENSIONS = 8, SAMPLE_COLUMNS = 10 };

/* One column of every type; the key is "id". */
static const struct velta_column sample_schema[SAMPLE_COLUMNS] = {
    {.name = "id", .type = VELTA_INT, .primary_key = true},
    {.name = "word", .type = VELTA_STRING},
    {.name = "size", .type = VELTA_INT},
    {.name = "score", .type = VELTA_FLOAT},
    {.name = "flag", .type = VELTA_BOOL},
    {.name = "made", .type = VELTA_TIMESTAMP},
    {.name = "blob", .type = VELTA_BYTES},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = SAMPLE_DIMENSIONS, .metric = VELTA_COSINE, .m = 4},
    {.name = "h", .type = VELTA_VECTOR, .dimensions = SAMPLE_DIMENSIONS, .element = VELTA_F16, .metric = VELTA_L2},
    {.name = "c", .type = VELTA_VECTOR, .dimensions = SAMPLE_DIMENSIONS, .element = VELTA_CODES, .metric = VELTA_DOT},
};

/* A clock that a test turns by hand. */
static inline int64_t sample_clock(void *context) {
    return *(const int64_t *)context;
}

#define assert_ok(call, error)                                                                                         \
    do {                                                                                                               \
        enum velta_status assert_ok_status = (call);                                                                   \
        if (assert_ok_status != VELTA_OK)                                                                              \
            fail_msg("%s: %s: %s", #call, velta_status_name(assert_ok_status), (error)->text);                         \
    } while (0)

#define assert_status(call, status) assert_string_equal(velta_status_name(call), velta_status_name(status))

/* Rows with ids first .. first + count, every seventh value NULL but the key's. */
struct sample {
    uint32_t count;
    int64_t *ids;
    char *words;
    uint64_t *word_offsets;
    int64_t *sizes;
    double *scores;
    uint8_t *flags;
    int64_t *made;
    float *vectors;
    uint64_t *valid;
    struct velta_values values[SAMPLE_COLUMNS];
};

static inline void sample_make(struct sample *out, int64_t first, uint32_t count, uint64_t seed) {
    struct random random = random_seeded(seed);
    struct sample s = {.count = count};
    size_t room = count > 0 ? count : 1;
    s.ids = malloc(room * sizeof *s.ids);
    s.words = malloc(room * 24);
    s.word_offsets = malloc((room + 1) * sizeof *s.word_offsets);
    s.sizes = malloc(room * sizeof *s.sizes);
    s.scores = malloc(room * sizeof *s.scores);
    s.flags = malloc(room);
    s.made = malloc(room * sizeof *s.made);
    s.vectors = malloc(room * SAMPLE_DIMENSIONS * sizeof *s.vectors);
    s.valid = calloc(room / 64 + 1, sizeof *s.valid);
    s.word_offsets[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        s.ids[i] = first + i;
        int length = sprintf(s.words + s.word_offsets[i], "w%u", (unsigned)random_below(&random, 40));
        s.word_offsets[i + 1] = s.word_offsets[i] + (uint64_t)length;
        s.sizes[i] = random_between(&random, -1000, 1000000);
        s.scores[i] = random_unit(&random);
        s.flags[i] = (uint8_t)random_below(&random, 2);
        s.made[i] = random_between(&random, 0, INT64_C(2000000000000));
        if (i % 7 != 6) s.valid[i / 64] |= UINT64_C(1) << (i % 64);
    }
    random_vector(&random, s.vectors, (size_t)count * SAMPLE_DIMENSIONS);
    *out = s;
    struct velta_values values[SAMPLE_COLUMNS] = {
        {.column = "id", .data = s.ids},
        {.column = "word", .data = s.words, .offsets = s.word_offsets, .valid = s.valid},
        {.column = "size", .data = s.sizes, .valid = s.valid},
        {.column = "score", .data = s.scores},
        {.column = "flag", .data = s.flags},
        {.column = "made", .data = s.made},
        {.column = "blob", .data = s.words, .offsets = s.word_offsets},
        {.column = "v", .data = s.vectors, .valid = s.valid},
        {.column = "h", .data = s.vectors},
        {.column = "c", .data = s.vectors, .valid = s.valid},
    };
    memcpy(out->values, values, sizeof values);
}

static inline void sample_free(struct sample *s) {
    free(s->ids);
    free(s->words);
    free(s->word_offsets);
    free(s->sizes);
    free(s->scores);
    free(s->flags);
    free(s->made);
    free(s->vectors);
    free(s->valid);
}

/* Inserts a sample; fails the test when that fails. */
static inline void sample_insert(velta_table *table, int64_t first, uint32_t count, uint64_t seed) {
    struct velta_error error = {0};
    struct sample sample;
    sample_make(&sample, first, count, seed);
    assert_ok(velta_insert(table, sample.values, SAMPLE_COLUMNS, count, NULL, NULL, &error), &error);
    sample_free(&sample);
}

/* A database in memory (host NULL) with the sample table "t". */
static inline velta *sample_open(struct velta_options *options, const char *path, velta_table **table) {
    struct velta_error error = {0};
    velta *db = NULL;
    assert_ok(velta_open(path, options, &db, &error), &error);
    if (velta_table_find(db, "t", table, NULL) != VELTA_OK)
        assert_ok(velta_table_create(db, "t", sample_schema, SAMPLE_COLUMNS, table, &error), &error);
    return db;
}

/* A hash of everything there is: the bytes of an export. */
static inline uint64_t digest(velta *db) {
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    assert_ok(velta_export(db, &bytes, &size_bytes, NULL, &error), &error);
    uint64_t hash = hash_bytes(bytes, (size_t)size_bytes);
    velta_export_free(db, bytes, size_bytes);
    return hash;
}

static inline void assert_verifies(velta *db) {
    struct velta_error error = {0};
    assert_ok(velta_verify(db, NULL, &error), &error);
}

/* The row of an id now; VELTA_NO_ROW. */
static inline uint32_t row_of(velta_table *table, int64_t id) {
    struct velta_error error = {0};
    uint32_t row;
    assert_ok(velta_find(table, &(struct velta_keys){.ints = &id}, 1, 0, &row, &error), &error);
    return row;
}

/* An int, timestamp or bool value of a row; the test fails when it is NULL. */
static inline int64_t int_of(velta_table *table, uint32_t row, const char *column, int64_t at_ms) {
    struct velta_error error = {0};
    velta_result *result = NULL;
    struct velta_values values;
    enum velta_type type;
    assert_ok(velta_get(table, &row, 1, &column, 1, at_ms, &result, &error), &error);
    assert_ok(velta_result_column(result, 0, &values, &type), &error);
    assert_true(values.valid == NULL || (values.valid[0] & 1));
    int64_t value = type == VELTA_BOOL ? *(const uint8_t *)values.data : *(const int64_t *)values.data;
    velta_result_free(result);
    return value;
}

static inline bool is_null(velta_table *table, uint32_t row, const char *column) {
    struct velta_error error = {0};
    velta_result *result = NULL;
    struct velta_values values;
    enum velta_type type;
    assert_ok(velta_get(table, &row, 1, &column, 1, 0, &result, &error), &error);
    assert_ok(velta_result_column(result, 0, &values, &type), &error);
    bool null = values.valid != NULL && !(values.valid[0] & 1);
    velta_result_free(result);
    return null;
}

#endif
