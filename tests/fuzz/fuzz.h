/*
 * What the fuzz targets share. A target makes its own first input (a real store's bytes), so that no file of an old
 * format has to be kept; tests/corpus/NAME holds what was found. Checksums are repaired before the bytes are used, else
 * nothing would ever get past them; that damage is detected is the matter of other tests.
 */
#ifndef VELTA_TESTS_FUZZ_H
#define VELTA_TESTS_FUZZ_H

#include "core/bytes.h"
#include "tests/support/fake_storage.h"
#include "tests/unit/store_testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size_bytes, size_t max_bytes);

enum { FUZZ_BUDGET_BYTES = 96 << 20, FUZZ_NOW_MS = 5000000 };

static inline int64_t fuzz_clock(void *context) {
    (void)context;
    return FUZZ_NOW_MS;
}

/* What must hold; the input is at fault nowhere. */
static inline void fuzz_demand(bool holds) {
    if (!holds) abort();
}

static inline void fuzz_execute(void *context, const struct storage_operation *operation,
                                struct storage_result *result) {
    fake_storage_execute(context, operation, result);
}
static inline void fuzz_stay(void *context) {
    (void)context;
}

/* Options for a database over files in memory, which outlive it. */
static inline struct velta_options fuzz_options_over(struct velta_host *host, struct fake_storage *fake) {
    *host = (struct velta_host){.context = fake, .execute = fuzz_execute, .close = fuzz_stay};
    return (struct velta_options){.host = host,
                                  .memory_budget_bytes = FUZZ_BUDGET_BYTES,
                                  .checkpoint_bytes = UINT64_MAX,
                                  .now_ms = fuzz_clock,
                                  .thread_count = 1};
}

/* Some life: rows, deltas, updates, deletes, linked nodes, a tail. */
static inline void fuzz_live(velta *db, velta_table *table) {
    struct velta_error error;
    float values[SAMPLE_DIMENSIONS] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint32_t indices[2] = {1, 5};
    int64_t number = 77;
    uint64_t pending;
    sample_insert(table, 0, 24, 1);
    assert_ok(velta_index(db, 16, NULL, &pending, &error), &error);
    for (uint32_t row = 1; row < 12; row++) {
        const struct velta_delta deltas[] = {
            {.operation = VELTA_DELTA_SPARSE,
             .row = row,
             .use_row = true,
             .count = 2,
             .indices = indices,
             .values = values},
            {.operation = VELTA_DELTA_SCALE,
             .row = row,
             .use_row = true,
             .amount = 1.5F,
             .metadata = "m",
             .metadata_bytes = 1},
            {.operation = VELTA_DELTA_DENSE, .row = row, .use_row = true, .count = SAMPLE_DIMENSIONS, .values = values},
        };
        assert_ok(velta_apply(table, "h", deltas, 3, FUZZ_NOW_MS + row, NULL, &error), &error);
    }
    for (int64_t id = 2; id < 8; id++) {
        const struct velta_keys key = {.ints = &id};
        if (id % 2 == 0)
            assert_ok(velta_delete(table, &key, 1, NULL, &error), &error);
        else
            assert_ok(velta_update(table, &key, 1, &(struct velta_values){.column = "size", .data = &number}, 1, NULL,
                                   &error),
                      &error);
    }
    assert_ok(velta_tag(db, "tag", &error), &error);
    sample_insert(table, 100, 5, 2);
}

/*
 * The files of a store with that life, as a crash would leave them: closing one whose graph has changed writes a
 * checkpoint, and nothing is in the log then. The caller releases `out`.
 */
static inline void fuzz_live_files(struct fake_storage *out) {
    struct fake_storage fake;
    struct velta_host host;
    struct velta_error error;
    velta_table *table;
    fake_storage_init(&fake);
    fake_storage_init(out);
    struct velta_options options = fuzz_options_over(&host, &fake);
    velta *db = sample_open(&options, NULL, &table);
    fuzz_live(db, table);
    for (int file = STORAGE_DATA; file <= STORAGE_LOG; file++)
        fake_storage_set(out, (enum storage_file)file, fake.now[file].bytes, fake.now[file].size_bytes);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&fake);
}

/* Reads all there is, in every way; any status will do, only the behaviour must be defined. */
static inline void fuzz_read_table(velta_table *table) {
    static const char *const filters[] = {NULL, "size > 10 AND NOT flag", "word IN ('w1', 'w2') OR blob IS NULL"};
    float query[64] = {1, -2, 3};
    velta_iterator *iterator;
    if (!velta_iterate(table, NULL, NULL, 0, 0, &iterator, NULL)) {
        velta_result *rows;
        size_t count = 1;
        while (count > 0 && !velta_iterator_next(iterator, 7, &rows, NULL)) {
            count = velta_result_count(rows);
            velta_result_free(rows);
        }
        velta_iterator_close(iterator);
    }
    for (size_t i = 0; i < velta_column_count(table); i++) {
        const struct velta_column *column = velta_column_at(table, i);
        if (column->type != VELTA_VECTOR || column->dimensions > 64) continue;
        velta_result *result;
        if (!velta_get_chain(table, column->name, 3, &result, NULL)) velta_result_free(result);
        for (size_t j = 0; j < 2 * sizeof filters / sizeof filters[0]; j++) {
            const struct velta_search search = {.column = column->name,
                                                .queries = query,
                                                .query_count = 1,
                                                .k = 5,
                                                .where = filters[j / 2],
                                                .at_ms = j % 2 ? FUZZ_NOW_MS + 4 : 0};
            if (!velta_search(table, &search, &result, NULL)) velta_result_free(result);
        }
    }
}

static inline void fuzz_use(velta *db) {
    velta_table *table;
    uint64_t pending;
    uint8_t *bytes;
    uint64_t size_bytes;
    enum velta_status verified = velta_verify(db, NULL, NULL);
    for (size_t i = 0; (table = velta_table_at(db, i)) != NULL; i++)
        fuzz_read_table(table);
    enum velta_status linked = velta_index(db, 0, NULL, &pending, NULL);
    if (!velta_export(db, &bytes, &size_bytes, NULL, NULL)) velta_export_free(db, bytes, size_bytes);
    if (verified == VELTA_OK && linked == VELTA_OK) {
        struct velta_error error;
        assert_ok(velta_verify(db, NULL, &error), &error); /* what was sound stays sound */
    }
}

/* Mutates; starts over from `base` where there is nothing yet, and now and then. */
static inline size_t fuzz_mutate(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed, const uint8_t *base,
                                 size_t base_bytes) {
    if (base_bytes <= max_bytes && (size_bytes < 64 || seed % 32 == 0)) {
        memcpy(data, base, base_bytes);
        size_bytes = base_bytes;
    }
    if (seed % 4 == 0) return LLVMFuzzerMutate(data, size_bytes, max_bytes);
    /* Numbers of a format are small, or at a limit: write one of these somewhere. */
    static const uint64_t numbers[] = {0,   1,     2,     7,         63,         64,        127,
                                       255, 65535, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};
    struct random random = random_seeded(seed);
    for (unsigned i = 0; i < 1 + seed % 3 && size_bytes >= 8; i++) {
        size_t width = (size_t)1 << random_below(&random, 4);
        uint64_t number = numbers[random_below(&random, sizeof numbers / sizeof numbers[0])];
        uint8_t *at = data + random_below(&random, size_bytes - width + 1);
        if (random_chance(&random, 30)) number = bytes_get_u16(at) + random_below(&random, 5) - 2;
        memcpy(at, &number, width);
    }
    return size_bytes;
}

#endif
