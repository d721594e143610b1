/*
 * The edges of what a database does: empty tables and empty databases, times before the first change, rows that were
 * not there at a past time, values too large for the first block of a result, amounts at the end of f32, contents that
 * cannot be under right checksums, and calls stopped before they began.
 */
#include <float.h>
#include <math.h>

#include "delta/storage_format.h"
#include "tests/support/fake_storage.h"
#include "tests/unit/store_testing.h"

enum { ROWS = 12, LONG_BYTES = 1 << 20 };

struct world {
    int64_t now_ms;
    struct velta_options options;
    velta *db;
    velta_table *table;
};

static void world_make(struct world *world, const struct velta_allocator *allocator) {
    *world = (struct world){.now_ms = 1000};
    world->options = (struct velta_options){
        .allocator = allocator, .now_ms = sample_clock, .now_context = &world->now_ms, .thread_count = 1};
    world->db = sample_open(&world->options, NULL, &world->table);
    sample_insert(world->table, 0, ROWS, 1);
}

static void world_free(struct world *world) {
    struct velta_error error = {0};
    assert_verifies(world->db);
    assert_ok(velta_close(world->db, &error), &error);
}

static enum velta_status get_at(velta_table *table, uint32_t row, const char *column, int64_t at_ms) {
    struct velta_error error = {0};
    velta_result *result = NULL;
    enum velta_status status = velta_get(table, &row, 1, &column, 1, at_ms, &result, &error);
    if (!status) velta_result_free(result);
    return status;
}

/* ---- times */

static void time_may_begin_before_1970(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_stats stats;
    int64_t now_ms = -5000;
    velta_table *table;
    velta *db = sample_open(&(struct velta_options){.now_ms = sample_clock, .now_context = &now_ms}, NULL, &table);
    sample_insert(table, 0, 2, 1);
    velta_get_stats(db, &stats);
    assert_int_equal(stats.time_ms, -5000);
    now_ms = -6000; /* never back */
    sample_insert(table, 5, 2, 1);
    velta_get_stats(db, &stats);
    assert_int_equal(stats.time_ms, -5000);
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
}

static void rows_that_were_not_there(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    float vector[SAMPLE_DIMENSIONS];
    int64_t dead = 3, mortals[] = {5, 6}, ends_ms[] = {2100, 9000};
    world_make(&world, NULL);
    world.now_ms = 2000;
    assert_ok(velta_delete(world.table, &(struct velta_keys){.ints = &dead}, 1, NULL, &error), &error);
    assert_ok(velta_expire_at(world.table, &(struct velta_keys){.ints = mortals}, 2, ends_ms, &error), &error);
    world.now_ms = 3000;
    sample_insert(world.table, 100, 1, 2);
    world.now_ms = 4000;
    assert_status(velta_get_vector(world.table, "h", 3, 1500, vector, &error), VELTA_OK);
    assert_status(velta_get_vector(world.table, "h", 3, 2500, vector, &error), VELTA_NOT_FOUND);
    assert_status(velta_get_vector(world.table, "h", 5, 2050, vector, &error), VELTA_OK);
    assert_status(velta_get_vector(world.table, "h", 5, 2500, vector, &error), VELTA_NOT_FOUND);
    assert_status(velta_get_vector(world.table, "h", 6, 2500, vector, &error), VELTA_OK);
    assert_status(velta_get_vector(world.table, "h", ROWS, 2500, vector, &error), VELTA_NOT_FOUND);
    assert_status(velta_get_vector(world.table, "h", ROWS + 1, 2500, vector, &error), VELTA_NOT_FOUND);
    assert_status(get_at(world.table, 0, NULL, 0), VELTA_UNKNOWN_COLUMN);
    velta_result *none = NULL;
    assert_status(velta_top(world.table, NULL, NULL, false, 2, NULL, 0, &none, &error), VELTA_UNKNOWN_COLUMN);
    struct velta_values nameless = {.data = ends_ms};
    assert_status(velta_update(world.table, &(struct velta_keys){.ints = mortals + 1}, 1, &nameless, 1, NULL, &error),
                  VELTA_UNKNOWN_COLUMN);
    /* A row that is dead cannot be changed by its number. */
    int64_t size = 1;
    struct velta_values values = {.column = "size", .data = &size};
    uint32_t row = 3;
    assert_status(velta_update(world.table, &(struct velta_keys){.rows = &row}, 1, &values, 1, NULL, &error),
                  VELTA_NOT_FOUND);
    world_free(&world);
}

/* The last deltas of a vector are merged, and the vector is NULL since. */
static void chains_may_end_with_null(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    static const char *const tags[] = {"before"};
    const struct velta_compact_options keep = {.keep_tags = tags, .keep_tag_count = 1};
    size_t count;
    velta_result *result;
    world_make(&world, NULL);
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 3};
    assert_ok(velta_apply(world.table, "v", &scale, 1, 0, NULL, &error), &error);
    assert_ok(velta_tag(world.db, "before", &error), &error);
    world.now_ms = 2000;
    int64_t id = 5;
    struct velta_values null = {.column = "v"};
    assert_ok(velta_update(world.table, &(struct velta_keys){.ints = &id}, 1, &null, 1, NULL, &error), &error);
    assert_ok(velta_compact(world.db, &keep, NULL, &error), &error);
    assert_ok(velta_get_chain(world.table, "v", row_of(world.table, 5), &result, &error), &error);
    const struct velta_chain_item *chain = velta_result_chain(result, &count);
    assert_true(count >= 2);
    assert_null(chain[count - 1].delta.values);
    velta_result_free(result);
    assert_ok(velta_get_chain(world.table, "v", row_of(world.table, 6), &result, &error), &error);
    (void)velta_result_chain(result, &count); /* never had a vector */
    assert_int_equal(count, 0);
    velta_result_free(result);
    world_free(&world);
}

/* ---- nothing there */

static void next_is_refused(void *context, const struct velta_change *change) {
    velta_result *result = NULL;
    (void)change;
    assert_status(velta_iterator_next(context, 5, &result, NULL), VELTA_BUSY);
    assert_null(result);
}

static void nothing_is_there(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    velta_result *result;
    velta *empty = NULL;
    world_make(&world, NULL);
    assert_ok(velta_open(NULL, NULL, &empty, &error), &error);
    assert_ok(velta_compact(empty, NULL, NULL, &error), &error);
    assert_verifies(empty);
    assert_ok(velta_close(empty, &error), &error);
    velta_table *bare;
    assert_ok(velta_table_create(world.db, "bare", sample_schema, SAMPLE_COLUMNS, &bare, &error), &error);
    world.now_ms = 2000;
    assert_ok(velta_tag(world.db, "later", &error), &error);
    float query[SAMPLE_DIMENSIONS] = {1};
    struct velta_search search = {.column = "h", .queries = query, .query_count = 1, .k = 3, .at_ms = 1500};
    assert_ok(velta_search(bare, &search, &result, &error), &error);
    velta_result_free(result);
    /* All rows gone, but for the column of their expiry. */
    int64_t ids[ROWS], ends_ms[ROWS];
    for (int i = 0; i < ROWS; i++) {
        ids[i] = i;
        ends_ms[i] = 2500;
    }
    assert_ok(velta_expire_at(world.table, &(struct velta_keys){.ints = ids}, ROWS, ends_ms, &error), &error);
    world.now_ms = 3000;
    velta_filter *filter;
    uint64_t count = 7;
    assert_ok(velta_filter_compile(world.table, "size > 0", &filter, &error), &error);
    assert_ok(velta_expire(world.table, 0, NULL, &error), &error);
    assert_ok(velta_compact(world.db, NULL, NULL, &error), &error);
    assert_ok(velta_filter_count(filter, &count, &error), &error);
    assert_int_equal(count, 0);
    velta_filter_free(filter);
    velta_iterator *iterator;
    assert_ok(velta_iterate(bare, NULL, NULL, 0, 0, &iterator, &error), &error);
    assert_status(velta_table_drop(bare, &error), VELTA_BUSY);
    uint64_t watch = velta_watch(world.db, next_is_refused, iterator);
    sample_insert(bare, 0, 1, 1);
    velta_unwatch(world.db, watch);
    velta_iterator_close(iterator);
    world_free(&world);
}

static void groups_of_nothing_come_last(void **state) {
    (void)state;
    static const int64_t groups[] = {1, 2, 3, 4, 5, 6};
    static const double scores[] = {0, NAN, 3, 0, NAN, 7};
    static const uint64_t valid = 0x36; /* those of groups 1 and 4 are NULL */
    static const int64_t expected[] = {6, 3, 2, 5, 1, 4};
    struct velta_column columns[] = {{.name = "g", .type = VELTA_INT}, {.name = "score", .type = VELTA_FLOAT}};
    struct velta_values values[] = {{.column = "g", .data = groups},
                                    {.column = "score", .data = scores, .valid = &valid}};
    struct velta_error error = {0};
    velta *db = NULL;
    velta_table *table;
    velta_result *result;
    assert_ok(velta_open(NULL, NULL, &db, &error), &error);
    assert_ok(velta_table_create(db, "t", columns, 2, &table, &error), &error);
    if (velta_insert(table, values, 2, 6, NULL, NULL, &error)) fail_msg("%s", error.text);
    struct velta_aggregate mean = {.kind = VELTA_MEAN, .column = "score"};
    struct velta_aggregate_query query = {.aggregates = &mean, .aggregate_count = 1, .group_by = "g", .top = 6};
    assert_ok(velta_aggregate(table, &query, &result, &error), &error);
    struct velta_values got;
    assert_ok(velta_result_column(result, 0, &got, NULL), &error);
    assert_memory_equal(got.data, expected, sizeof expected);
    velta_result_free(result);
    assert_ok(velta_close(db, &error), &error);
}

/* ---- vectors */

/* Codes are made of f16 as of f32, and go without a graph no more than without an index. */
static void codes_of_f16(void **state) {
    (void)state;
    struct velta_column column = {.name = "c",
                                  .type = VELTA_VECTOR,
                                  .dimensions = SAMPLE_DIMENSIONS,
                                  .element = VELTA_CODES,
                                  .metric = VELTA_L2,
                                  .no_index = true};
    struct velta_error error = {0};
    struct velta_stats stats;
    velta *db = NULL;
    velta_table *table;
    uint16_t halves[ROWS * SAMPLE_DIMENSIONS];
    float decoded[SAMPLE_DIMENSIONS], query[SAMPLE_DIMENSIONS];
    uint64_t pending = 9;
    velta_result *result;
    for (int i = 0; i < ROWS * SAMPLE_DIMENSIONS; i++)
        halves[i] = (uint16_t)(0x3C00 + 8 * i); /* 1 and more */
    assert_ok(velta_open(NULL, NULL, &db, &error), &error);
    assert_status(velta_table_create(db, "t", &column, 1, &table, &error), VELTA_INVALID);
    column.no_index = false;
    assert_ok(velta_table_create(db, "t", &column, 1, &table, &error), &error);
    struct velta_values values = {.column = "c", .data = halves, .element = VELTA_F16};
    assert_ok(velta_insert(table, &values, 1, ROWS, NULL, NULL, &error), &error);
    assert_ok(velta_index(db, 0, NULL, &pending, &error), &error);
    assert_int_equal(pending, 0);
    assert_ok(velta_compact(db, NULL, NULL, &error), &error);
    velta_get_stats(db, &stats);
    assert_true(stats.index_bytes > 0);
    assert_int_equal(stats.index_pending, 0);
    assert_ok(velta_get_vector(table, "c", 0, 0, decoded, &error), &error);
    for (int i = 0; i < SAMPLE_DIMENSIONS; i++) {
        query[i] = 1 + (float)(8 * i) / 1024;
        assert_true(fabsf(decoded[i] - query[i]) < 0.01F);
    }
    struct velta_search search = {.column = "c", .queries = query, .query_count = 1, .k = 1};
    assert_ok(velta_search(table, &search, &result, &error), &error);
    assert_int_equal(velta_result_rows(result)[0], 0);
    velta_result_free(result);
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
}

/* Under cosine a longer vector stays where it is, one that is turned around does not; in l2 both have moved. */
static void only_what_counts_is_drift(void **state) {
    (void)state;
    for (unsigned metric = VELTA_COSINE; metric <= VELTA_L2; metric++) {
        struct velta_column column = {
            .name = "c", .type = VELTA_VECTOR, .dimensions = 8, .metric = (enum velta_metric)metric};
        struct velta_error error = {0};
        struct velta_stats stats;
        struct random random = random_seeded(9);
        velta *db = NULL;
        velta_table *table;
        float vectors[ROWS * 8];
        for (int i = 0; i < ROWS * 8; i++)
            vectors[i] = random_gauss(&random);
        assert_ok(velta_open(NULL, NULL, &db, &error), &error);
        assert_ok(velta_table_create(db, "t", &column, 1, &table, &error), &error);
        struct velta_values values = {.column = "c", .data = vectors};
        assert_ok(velta_insert(table, &values, 1, ROWS, NULL, NULL, &error), &error);
        assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
        struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .row = 1, .use_row = true, .amount = 3.0F};
        assert_ok(velta_apply(table, "c", &scale, 1, 0, NULL, &error), &error);
        velta_get_stats(db, &stats);
        assert_int_equal(stats.index_pending, metric == VELTA_COSINE ? 0 : 1);
        scale.row = 2;
        scale.amount = -1.0F;
        assert_ok(velta_apply(table, "c", &scale, 1, 0, NULL, &error), &error);
        velta_get_stats(db, &stats);
        assert_int_equal(stats.index_pending, metric == VELTA_COSINE ? 1 : 2);
        assert_verifies(db);
        assert_ok(velta_close(db, &error), &error);
    }
}

/* What is written does not overflow, what its codes stand for would: it is held at the largest number. */
static void codes_hold_at_the_largest_number(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct random random = random_seeded(7);
    unsigned held = 0;
    world_make(&world, NULL);
    for (int round = 0; round < 40; round++) {
        float first[SAMPLE_DIMENSIONS], second[SAMPLE_DIMENSIONS], got[SAMPLE_DIMENSIONS];
        for (int i = 0; i < SAMPLE_DIMENSIONS; i++) {
            float sign = i % 2 ? -1.0F : 1.0F;
            first[i] = sign * FLT_MAX * (0.3F + 0.1F * (float)random_unit(&random));
            second[i] = sign * FLT_MAX - first[i];
        }
        struct velta_delta deltas[] = {
            {.operation = VELTA_DELTA_DENSE, .set = true, .key_int = 1, .count = SAMPLE_DIMENSIONS, .values = first},
            {.operation = VELTA_DELTA_DENSE, .key_int = 1, .count = SAMPLE_DIMENSIONS, .values = second}};
        if (velta_apply(world.table, "c", deltas, 2, 0, NULL, &error)) continue;
        assert_ok(velta_get_vector(world.table, "c", 1, 0, got, &error), &error);
        for (int i = 0; i < SAMPLE_DIMENSIONS; i++) {
            assert_true(isfinite(got[i]));
            held += fabsf(got[i]) > 0.9F * FLT_MAX;
        }
    }
    assert_true(held > 0);
    world_free(&world);
}

/* Exported and imported: vectors whose range, rounded, ends beyond the largest float. */
static void the_largest_numbers_come_back(void **state) {
    (void)state;
    enum { VECTORS = 64, DIMENSIONS = 8 };
    static const enum velta_element elements[] = {VELTA_F32, VELTA_CODES};
    struct random random = random_seeded(17);
    float vectors[VECTORS * DIMENSIONS];
    for (size_t i = 0; i < VECTORS * DIMENSIONS; i++) {
        float part = 2 * (float)random_unit(&random) - 1;
        vectors[i] = i % DIMENSIONS == 0 ? FLT_MAX : i % DIMENSIONS == 1 ? -FLT_MAX * fabsf(part) : FLT_MAX * part;
    }
    for (int i = 0; i < 6; i++) {
        struct velta_column column = {.name = "v",
                                      .type = VELTA_VECTOR,
                                      .dimensions = DIMENSIONS,
                                      .element = elements[i % 2],
                                      .metric = (enum velta_metric)(i / 2)};
        struct velta_values values = {.column = "v", .data = vectors};
        struct velta_error error = {0};
        struct velta_options options = {.thread_count = 1};
        velta *db = NULL;
        velta *copy = NULL;
        velta_table *table;
        uint8_t *bytes;
        uint64_t size_bytes;
        assert_ok(velta_open(NULL, &options, &db, &error), &error);
        assert_ok(velta_table_create(db, "t", &column, 1, &table, &error), &error);
        assert_ok(velta_insert(table, &values, 1, VECTORS, NULL, NULL, &error), &error);
        assert_ok(velta_export(db, &bytes, &size_bytes, NULL, &error), &error);
        assert_ok(velta_import(bytes, size_bytes, &options, &copy, &error), &error);
        assert_true(digest(copy) == digest(db));
        assert_verifies(copy);
        assert_ok(velta_table_find(copy, "t", &table, &error), &error);
        for (uint32_t row = 0; row < VECTORS; row++) {
            float out[DIMENSIONS];
            assert_ok(velta_get_vector(table, "v", row, 0, out, &error), &error);
            for (int k = 0; k < DIMENSIONS; k++)
                assert_true(isfinite(out[k]));
        }
        velta_export_free(db, bytes, size_bytes);
        assert_ok(velta_close(copy, &error), &error);
        assert_ok(velta_close(db, &error), &error);
    }
}

/* ---- right checksums, wrong contents */

/* Each segment of an export damaged in its first bytes: refused with a byte of that segment, or sound. */
static void contents_that_cannot_be(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct storage_root root;
    uint8_t *bytes;
    uint64_t size_bytes;
    size_t refused = 0, placed = 0;
    world_make(&world, NULL);
    assert_ok(velta_index(world.db, 0, NULL, NULL, &error), &error);
    assert_ok(velta_export(world.db, &bytes, &size_bytes, NULL, &error), &error);
    assert_int_equal(storage_root_decode(bytes, 0, &root), STORAGE_ROOT_VALID);
    size_t count = (size_t)(root.directory_bytes / STORAGE_DIRECTORY_ENTRY_BYTES);
    struct segment *segments = malloc(count * sizeof *segments);
    uint8_t *copy = malloc((size_t)size_bytes);
    assert_ok(storage_directory_decode(bytes + root.directory_offset, &root, segments, count, &error), &error);
    for (size_t s = 0; s < count; s++) {
        for (uint64_t at = 0; at < segments[s].size_bytes && at < 48; at++) {
            velta *db = NULL;
            struct segment kept = segments[s];
            struct storage_root crafted = root;
            memcpy(copy, bytes, (size_t)size_bytes);
            copy[kept.offset + at] ^= 0x81;
            segments[s].checksum = hash_bytes(copy + kept.offset, (size_t)kept.size_bytes);
            storage_directory_encode(segments, count, copy + root.directory_offset);
            crafted.directory_checksum = hash_bytes(copy + root.directory_offset, (size_t)root.directory_bytes);
            storage_root_encode(&crafted, copy);
            enum velta_status status = velta_import(copy, size_bytes, NULL, &db, &error);
            segments[s] = kept;
            if (status == VELTA_OK) {
                assert_ok(velta_close(db, &error), &error);
                continue;
            }
            assert_null(db);
            assert_true(error.text[0] != '\0');
            refused++;
            placed += error.offset >= kept.offset && error.offset < kept.offset + kept.size_bytes;
            assert_status(velta_import(copy, size_bytes, NULL, &db, NULL), status);
        }
    }
    assert_true(refused > 100 && placed > 20);
    memcpy(copy, bytes, (size_t)size_bytes);
    root.meta.sequence = 0;
    storage_root_encode(&root, copy);
    velta *none = NULL;
    assert_status(velta_import(copy, size_bytes, NULL, &none, &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "no sequence number"));
    free(copy);
    free(segments);
    velta_export_free(world.db, bytes, size_bytes);
    world_free(&world);
}

/* ---- stopped, or refused, before it began */

static bool stop(void *context, uint64_t done, uint64_t total) {
    (void)context;
    (void)done;
    (void)total;
    return false;
}

static void execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    fake_storage_execute(context, operation, result);
}

static void keep(void *context) {
    (void)context; /* the files outlive the database */
}

static void stopped_before_they_began(void **state) {
    (void)state;
    const struct velta_progress at_once = {.report = stop};
    struct velta_error error = {0};
    struct fake_storage files;
    fake_storage_init(&files);
    struct velta_host host = {.context = &files, .execute = execute, .close = keep};
    struct velta_options options = {.host = &host};
    velta_table *table;
    velta *db = sample_open(&options, NULL, &table), *copy = NULL;
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 1, operations = files.operation_count;
    assert_status(velta_checkpoint(db, &at_once, &error), VELTA_CANCELLED);
    assert_int_equal(files.operation_count, operations);
    assert_status(velta_export(db, &bytes, &size_bytes, &at_once, &error), VELTA_CANCELLED);
    assert_null(bytes);
    sample_insert(table, 0, ROWS, 1);
    assert_ok(velta_export(db, &bytes, &size_bytes, NULL, &error), &error);
    struct velta_options reserved = {.reserved = {1}};
    assert_status(velta_import(bytes, size_bytes, &reserved, &copy, &error), VELTA_INVALID);
    assert_status(velta_import(bytes, size_bytes, &options, &copy, &error), VELTA_INVALID);
    velta_export_free(db, bytes, size_bytes);
    assert_ok(velta_close(db, &error), &error);
    options.read_only = true;
    db = sample_open(&options, NULL, &table);
    operations = files.operation_count;
    assert_status(velta_table_create(db, "u", sample_schema, SAMPLE_COLUMNS, &table, &error), VELTA_READ_ONLY);
    assert_status(velta_flush(db, &error), VELTA_READ_ONLY);
    assert_int_equal(files.operation_count, operations);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
}

/* Deltas of one batch with much metadata: several changes, whole in the history. */
static void deltas_with_much_metadata(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_delta deltas[120];
    velta_result *result;
    size_t count;
    char *text = calloc(1, 60000);
    world_make(&world, NULL);
    for (size_t i = 0; i < 120; i++)
        deltas[i] = (struct velta_delta){.operation = VELTA_DELTA_OFFSET,
                                         .key_int = (int64_t)(i % 6),
                                         .amount = 1,
                                         .metadata = text,
                                         .metadata_bytes = 60000};
    assert_ok(velta_apply(world.table, "h", deltas, 120, 0, NULL, &error), &error);
    assert_ok(velta_get_chain(world.table, "h", 5, &result, &error), &error);
    const struct velta_chain_item *chain = velta_result_chain(result, &count);
    assert_int_equal(count, 21);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(chain[i].delta.metadata_bytes, 60000);
    velta_result_free(result);
    free(text);
    world_free(&world);
}

/* Small changes gather until they are a frame's worth, without a sync. */
static void relaxed_changes_gather(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    fake_storage_init(&files);
    struct velta_host host = {.context = &files, .execute = execute, .close = keep};
    struct velta_options options = {.host = &host, .durability = VELTA_RELAXED};
    velta_table *table;
    velta *db = sample_open(&options, NULL, &table);
    uint64_t operations = files.operation_count, syncs = files.sync_count;
    for (int i = 0; i < 40; i++)
        sample_insert(table, i * 1000, 200, (uint64_t)i);
    assert_true(files.operation_count > operations && files.operation_count < operations + 40);
    assert_int_equal(files.sync_count, syncs);
    assert_ok(velta_close(db, &error), &error);
    db = sample_open(&options, NULL, &table);
    assert_int_equal(velta_live_count(table), 40 * 200);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
}

/* ---- large values, and memory refused for them */

static bool read_large(struct test_allocator *allocator, void *context) {
    struct world *world = context;
    struct velta_error error = {0};
    static const char *const columns[] = {"blob"};
    uint32_t row = 0;
    velta_result *results[4] = {NULL};
    velta_iterator *iterator = NULL;
    float query[SAMPLE_DIMENSIONS] = {1};
    struct velta_search search = {
        .column = "h", .queries = query, .query_count = 1, .k = 3, .where = "size > 0", .at_ms = 1500};
    world_make(world, &allocator->allocator);
    char *large = calloc(1, LONG_BYTES);
    uint64_t offsets[] = {0, LONG_BYTES};
    int64_t id = 0, size = 5;
    struct velta_values values[] = {{.column = "blob", .data = large, .offsets = offsets},
                                    {.column = "size", .data = &size}};
    struct velta_delta delta = {
        .operation = VELTA_DELTA_OFFSET, .amount = 1, .metadata = large, .metadata_bytes = 60000};
    world->now_ms = 2000;
    assert_ok(velta_update(world->table, &(struct velta_keys){.ints = &id}, 1, values, 2, NULL, &error), &error);
    assert_ok(velta_apply(world->table, "h", &delta, 1, 0, NULL, &error), &error);
    world->now_ms = 3000;
    sample_insert(world->table, 100, 1, 3);
    test_allocator_rearm(allocator);
    enum velta_status status = velta_get(world->table, &row, 1, columns, 1, 0, &results[0], &error);
    if (!status) status = velta_get_chain(world->table, "h", 0, &results[1], &error);
    if (!status) status = velta_iterate(world->table, NULL, columns, 1, 0, &iterator, &error);
    if (!status) status = velta_iterator_next(iterator, 5, &results[2], &error);
    if (!status) status = velta_search(world->table, &search, &results[3], &error);
    test_allocator_disarm(allocator);
    if (status) assert_status(status, VELTA_NO_MEMORY);
    velta_iterator_close(iterator);
    for (int i = 0; i < 4; i++)
        velta_result_free(results[i]);
    free(large);
    world_free(world);
    test_allocator_check_empty(allocator);
    return status == VELTA_OK;
}

/* A filter made before a compaction is bound anew, or says that it could not be. */
static bool bind_anew(struct test_allocator *allocator, void *context) {
    struct world *world = context;
    struct velta_error error = {0};
    velta_filter *filter;
    uint64_t before, count = 0;
    world_make(world, &allocator->allocator);
    assert_ok(velta_filter_compile(world->table, "size > 0 AND word != 'w1'", &filter, &error), &error);
    assert_ok(velta_filter_count(filter, &before, &error), &error);
    assert_ok(velta_compact(world->db, NULL, NULL, &error), &error);
    test_allocator_rearm(allocator);
    enum velta_status status = velta_filter_count(filter, &count, &error);
    test_allocator_disarm(allocator);
    if (status) assert_status(status, VELTA_NO_MEMORY);
    assert_ok(velta_filter_count(filter, &count, &error), &error);
    assert_int_equal(count, before);
    velta_filter_free(filter);
    world_free(world);
    test_allocator_check_empty(allocator);
    return status == VELTA_OK;
}

static void large_values_are_refused_whole(void **state) {
    (void)state;
    struct test_allocator allocator;
    struct world world;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, read_large, &world) > 10);
    assert_true(test_every_allocation_fails(&allocator, bind_anew, &world) > 2);
}

/* The first vectors of an index, and the first delta after an import: whole, or refused without a trace. */
static bool first_vectors(struct test_allocator *allocator, void *context) {
    const bool imported = *(const bool *)context;
    struct velta_error error = {0};
    struct velta_options options = {.allocator = &allocator->allocator, .thread_count = 1};
    velta_table *table;
    struct sample sample;
    uint8_t *bytes;
    uint64_t size_bytes;
    velta *db = sample_open(&options, NULL, &table);
    sample_make(&sample, 0, ROWS, 1);
    const uint64_t *valid = sample.values[7].valid, none = 0;
    sample.values[7].valid = sample.values[9].valid = &none;
    assert_ok(velta_insert(table, sample.values, SAMPLE_COLUMNS, ROWS, NULL, NULL, &error), &error);
    if (imported) {
        velta *made = db;
        assert_ok(velta_export(made, &bytes, &size_bytes, NULL, &error), &error);
        assert_ok(velta_import(bytes, size_bytes, &options, &db, &error), &error);
        velta_export_free(made, bytes, size_bytes);
        assert_ok(velta_close(made, &error), &error);
        assert_ok(velta_table_find(db, "t", &table, &error), &error);
    }
    uint64_t before = digest(db);
    struct velta_delta delta = {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2};
    struct velta_values values[] = {sample.values[7], sample.values[9]};
    values[0].valid = values[1].valid = valid;
    test_allocator_rearm(allocator);
    enum velta_status status =
        imported ? velta_apply(table, "h", &delta, 1, 0, NULL, &error)
                 : velta_update(table, &(struct velta_keys){.ints = sample.ids}, ROWS, values, 2, NULL, &error);
    test_allocator_disarm(allocator);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_true(digest(db) == before);
    }
    sample_free(&sample);
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
    test_allocator_check_empty(allocator);
    return status == VELTA_OK;
}

static void first_vectors_without_memory(void **state) {
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    for (int imported = 0; imported < 2; imported++)
        assert_true(test_every_allocation_fails(&allocator, first_vectors, &(bool){imported != 0}) > 2);
}

static bool open_hosts(struct test_allocator *allocator, void *context) {
    struct velta_error error = {0};
    struct velta_host host;
    struct memory *memory = memory_create(&allocator->allocator, 0);
    const bool of_files = *(const bool *)context;
    test_allocator_rearm(allocator);
    enum velta_status status =
        of_files ? host_open_files(memory, test_path(test_folder(), "host"), false, false, &host, &error)
                 : host_open_memory(memory, "some bytes", 10, &host, &error);
    test_allocator_disarm(allocator);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
    } else {
        host.close(host.context);
    }
    memory_destroy(memory);
    test_allocator_check_empty(allocator);
    return status == VELTA_OK;
}

static void hosts_without_memory(void **state) {
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    for (int of_files = 0; of_files < 2; of_files++)
        assert_true(test_every_allocation_fails(&allocator, open_hosts, &(bool){of_files != 0}) > 2);
    struct velta_error error = {0};
    struct velta_host host;
    struct memory *memory = memory_create(NULL, 0);
    assert_ok(host_open_view(memory, "abc", 3, &host, &error), &error);
    assert_non_null(host.view(host.context, STORAGE_DATA, 1, 2));
    assert_null(host.view(host.context, STORAGE_DATA, 1, 3));
    assert_null(host.view(host.context, STORAGE_DATA, 4, 0));
    host.close(host.context);
    memory_destroy(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_may_begin_before_1970),     cmocka_unit_test(rows_that_were_not_there),
        cmocka_unit_test(chains_may_end_with_null),       cmocka_unit_test(nothing_is_there),
        cmocka_unit_test(groups_of_nothing_come_last),    cmocka_unit_test(codes_of_f16),
        cmocka_unit_test(only_what_counts_is_drift),      cmocka_unit_test(codes_hold_at_the_largest_number),
        cmocka_unit_test(contents_that_cannot_be),        cmocka_unit_test(stopped_before_they_began),
        cmocka_unit_test(relaxed_changes_gather),         cmocka_unit_test(deltas_with_much_metadata),
        cmocka_unit_test(large_values_are_refused_whole), cmocka_unit_test(first_vectors_without_memory),
        cmocka_unit_test(hosts_without_memory),           cmocka_unit_test(the_largest_numbers_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
