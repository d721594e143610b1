/*
 * Exports imported by parts: exact answers before the graphs, the whole import's after them; what changes meanwhile;
 * damage at every step. Refused memory is in test_store_refusals.c.
 */
#include "tests/unit/store_parts.h"

#include <math.h>

#include "core/bytes.h"
#include "delta/storage_format.h"

enum { QUERIES = 6, NEAREST = 10, SECOND = 3 /* dimensions of the second table */ };
enum { DIRECTORY_AT = STORAGE_EXTENTS_START, ENTRY = STORAGE_DIRECTORY_ENTRY_BYTES };

struct export {
    uint8_t *bytes;
    uint64_t size_bytes;
    uint64_t hash;
};

static void take_export(velta *db, struct export *out) {
    struct velta_error error = {0};
    uint8_t *bytes;
    assert_ok(velta_export(db, &bytes, &out->size_bytes, NULL, &error), &error);
    out->bytes = malloc((size_t)out->size_bytes);
    assert_non_null(out->bytes);
    memcpy(out->bytes, bytes, (size_t)out->size_bytes);
    out->hash = hash_bytes(bytes, (size_t)out->size_bytes);
    velta_export_free(db, bytes, out->size_bytes);
}

static const struct velta_column second_schema[] = {
    {.name = "name", .type = VELTA_STRING, .primary_key = true},
    {.name = "p", .type = VELTA_VECTOR, .dimensions = SECOND, .metric = VELTA_L2, .m = 4},
    {.name = "raw", .type = VELTA_VECTOR, .dimensions = SECOND, .no_index = true},
};

static void insert_points(velta_table *table, uint32_t first, uint32_t count, struct random *random) {
    struct velta_error error = {0};
    char *names = malloc((size_t)count * 12);
    uint64_t *ends = malloc(((size_t)count + 1) * sizeof *ends);
    float *points = malloc((size_t)count * SECOND * sizeof *points);
    ends[0] = 0;
    for (uint32_t i = 0; i < count; i++)
        ends[i + 1] = ends[i] + (uint64_t)sprintf(names + ends[i], "n%u", (unsigned)(first + i));
    random_vector(random, points, (size_t)count * SECOND);
    const struct velta_values values[] = {
        {.column = "name", .data = names, .offsets = ends},
        {.column = "p", .data = points},
        {.column = "raw", .data = points},
    };
    assert_ok(velta_insert(table, values, 3, count, NULL, NULL, &error), &error);
    free(names);
    free(ends);
    free(points);
}

static void delete_some(velta_table *table, uint32_t rows, struct random *random) {
    struct velta_error error = {0};
    for (uint32_t i = 0; i < rows / 10; i++) {
        int64_t id = (int64_t)random_below(random, rows);
        if (row_of(table, id) != VELTA_NO_ROW)
            assert_ok(velta_delete(table, &(struct velta_keys){.ints = &id}, 1, NULL, &error), &error);
    }
}

static void drift_some(velta_table *table, uint32_t rows, struct random *random) {
    struct velta_error error = {0};
    for (uint32_t i = 0; i < rows / 10; i++) {
        float vector[SAMPLE_DIMENSIONS];
        random_vector(random, vector, SAMPLE_DIMENSIONS);
        uint32_t row = row_of(table, (int64_t)random_below(random, rows));
        if (row == VELTA_NO_ROW) continue;
        const struct velta_delta delta = {.operation = VELTA_DELTA_DENSE,
                                          .set = true,
                                          .row = row,
                                          .use_row = true,
                                          .count = SAMPLE_DIMENSIONS,
                                          .values = vector};
        assert_ok(velta_apply(table, "h", &delta, 1, 0, NULL, &error), &error);
    }
}

/* A database that has seen some life: links, waypoints of rows that are gone, a tail, a dropped table, an empty one. */
static void make_export(uint64_t seed, struct export *out) {
    struct random random = random_seeded(seed);
    struct velta_error error = {0};
    struct velta_options options = {.thread_count = 1};
    uint32_t rows = (uint32_t)random_below(&random, 900);
    velta_table *table, *gone, *points, *empty;
    velta *db = sample_open(&options, NULL, &table);
    assert_ok(velta_table_create(db, "gone", second_schema, 3, &gone, &error), &error);
    assert_ok(velta_table_create(db, "points", second_schema, 3, &points, &error), &error);
    assert_ok(velta_table_create(db, "empty", second_schema, 3, &empty, &error), &error);
    sample_insert(table, 0, rows, seed);
    insert_points(gone, 0, 20, &random);
    insert_points(points, 0, 1 + (uint32_t)random_below(&random, 600), &random);
    if (random_chance(&random, 80)) assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
    delete_some(table, rows, &random);
    drift_some(table, rows, &random);
    if (random_chance(&random, 50)) assert_ok(velta_index(db, 60, NULL, NULL, &error), &error);
    sample_insert(table, 5000, (uint32_t)random_below(&random, 40), seed + 1);
    assert_ok(velta_tag(db, "then", &error), &error);
    assert_ok(velta_table_drop(gone, &error), &error);
    take_export(db, out);
    assert_ok(velta_close(db, &error), &error);
}

/* ---- answers */

struct answers {
    uint32_t rows[QUERIES][NEAREST];
    float distances[QUERIES][NEAREST];
};

static void ask(velta *db, const char *name, const char *column, uint32_t dimensions, const char *where, bool exact,
                struct answers *out) {
    struct velta_error error = {0};
    struct random random = random_seeded(99);
    velta_table *table;
    memset(out, 0, sizeof *out);
    assert_ok(velta_table_find(db, name, &table, &error), &error);
    for (int q = 0; q < QUERIES; q++) {
        float query[SAMPLE_DIMENSIONS];
        velta_result *result;
        random_vector(&random, query, dimensions);
        const struct velta_search search = {.column = column,
                                            .queries = query,
                                            .query_count = 1,
                                            .k = NEAREST,
                                            .where = where,
                                            .exact = exact};
        assert_ok(velta_search(table, &search, &result, &error), &error);
        size_t count = velta_result_count(result);
        memcpy(out->rows[q], velta_result_rows(result), count * sizeof(uint32_t));
        memcpy(out->distances[q], velta_result_distances(result), count * sizeof(float));
        velta_result_free(result);
    }
}

static const struct {
    const char *table, *column, *where;
    uint32_t dimensions;
} questions[] = {
    {"t", "v", NULL, SAMPLE_DIMENSIONS},    {"t", "h", NULL, SAMPLE_DIMENSIONS},
    {"t", "c", NULL, SAMPLE_DIMENSIONS},    {"t", "v", "NOT flag AND size > 1000", SAMPLE_DIMENSIONS},
    {"points", "p", NULL, SECOND},          {"points", "raw", NULL, SECOND},
    {"points", "p", "name > 'n2'", SECOND}, {"empty", "p", NULL, SECOND},
};
enum { QUESTIONS = sizeof questions / sizeof questions[0] };

/* What is found without asking for exactness, beside what is true. */
static void check_exact(velta *db) {
    for (size_t i = 0; i < QUESTIONS; i++) {
        struct answers found, wanted;
        ask(db, questions[i].table, questions[i].column, questions[i].dimensions, questions[i].where, false, &found);
        ask(db, questions[i].table, questions[i].column, questions[i].dimensions, questions[i].where, true, &wanted);
        assert_memory_equal(&found, &wanted, sizeof found);
    }
}

static void check_equal(velta *db, velta *other, bool exact) {
    for (size_t i = 0; i < QUESTIONS; i++) {
        struct answers found, wanted;
        ask(db, questions[i].table, questions[i].column, questions[i].dimensions, questions[i].where, exact, &found);
        ask(other, questions[i].table, questions[i].column, questions[i].dimensions, questions[i].where, exact,
            &wanted);
        assert_memory_equal(&found, &wanted, sizeof found);
    }
}

static velta *import_whole(const struct export *export) {
    struct velta_error error = {0};
    velta *db;
    assert_ok(velta_import(export->bytes, export->size_bytes, NULL, &db, &error), &error);
    return db;
}

/* An export of a database whose graph has not come is one without it, and as good as any. */
static void check_early_export(velta *db, const struct export *whole) {
    struct velta_error error = {0};
    struct export early;
    take_export(db, &early);
    velta *copy = import_whole(&early), *full = import_whole(whole);
    assert_verifies(copy);
    assert_true(digest(copy) == early.hash);
    check_equal(copy, full, true);
    assert_ok(velta_index(copy, 0, NULL, NULL, &error), &error);
    assert_verifies(copy);
    check_equal(copy, full, true);
    assert_ok(velta_close(full, &error), &error);
    assert_ok(velta_close(copy, &error), &error);
    free(early.bytes);
}

static uint64_t pending_of(velta *db) {
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    return stats.index_pending;
}

enum { DATABASES = 12 };

static void answers_are_exact_before_the_graph_and_the_same_after(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= DATABASES; seed++) {
        struct export export;
        struct velta_error error = {0};
        velta_snapshot *snapshot;
        velta *db;
        uint32_t attached = 9, dropped = 9;
        uint64_t pending = 9;
        make_export(seed, &export);
        velta *whole = import_whole(&export);
        assert_ok(parts_open(export.bytes, export.size_bytes, NULL, &snapshot, &db, &error), &error);
        check_exact(db);
        check_equal(db, whole, true);
        assert_verifies(db);
        check_early_export(db, &export);
        assert_int_equal(pending_of(db), 0);
        assert_ok(velta_index(db, 0, NULL, &pending, &error), &error); /* which waits for the graph, too */
        assert_int_equal(pending, 0);
        assert_ok(parts_attach(snapshot, export.bytes, &attached, &dropped, &error), &error);
        assert_int_equal(attached, 5); /* v, h, c; p of points and of empty */
        assert_int_equal(dropped, 0);
        velta_snapshot_close(snapshot);
        assert_true(digest(db) == export.hash);
        assert_verifies(db);
        check_equal(db, whole, false);
        check_equal(db, whole, true);
        assert_int_equal(pending_of(db), pending_of(whole));
        assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
        assert_ok(velta_index(whole, 0, NULL, NULL, &error), &error);
        assert_true(digest(db) == digest(whole));
        assert_ok(velta_close(db, &error), &error);
        assert_ok(velta_close(whole, &error), &error);
        free(export.bytes);
    }
}

/* ---- changes meanwhile */

/* The changes that a table may see while its graph is on the way, and how many indexes they take it from. */
static void change_insert(velta *db, velta_table *table) {
    (void)db;
    sample_insert(table, 9000, 5, 3);
}
static void change_delete(velta *db, velta_table *table) {
    struct random random = random_seeded(4);
    (void)db;
    delete_some(table, 500, &random);
}
static void change_vectors(velta *db, velta_table *table) {
    struct random random = random_seeded(5);
    (void)db;
    drift_some(table, 500, &random);
}
static void change_scalars(velta *db, velta_table *table) {
    struct velta_error error = {0};
    int64_t size = 5;
    const struct velta_values values = {.column = "size", .data = &size};
    (void)db;
    for (int64_t id = 0; id < 900; id++) {
        if (row_of(table, id) == VELTA_NO_ROW) continue;
        assert_ok(velta_update(table, &(struct velta_keys){.ints = &id}, 1, &values, 1, NULL, &error), &error);
        break;
    }
}
static void change_columns(velta *db, velta_table *table) {
    struct velta_error error = {0};
    (void)db;
    for (int i = 0; i < 9; i++) {
        char name[16];
        sprintf(name, "new%d", i);
        const struct velta_column column = {.name = name, .type = VELTA_VECTOR, .dimensions = 2};
        assert_ok(velta_column_add(table, &column, &error), &error);
    }
}
static void change_drop(velta *db, velta_table *table) {
    struct velta_error error = {0};
    assert_ok(velta_table_drop(table, &error), &error);
    assert_ok(velta_table_create(db, "t", sample_schema, SAMPLE_COLUMNS, &table, &error), &error);
    sample_insert(table, 0, 9, 6);
}

static const struct {
    void (*run)(velta *db, velta_table *table);
    uint32_t dropped;
} changes[] = {{change_insert, 3}, {change_delete, 3},  {change_vectors, 1},
               {change_scalars, 0}, {change_columns, 0}, {change_drop, 3}};

static void a_change_gives_up_the_graphs_of_its_indexes_alone(void **state) {
    (void)state;
    struct export export;
    make_export(8, &export);
    for (size_t c = 0; c < sizeof changes / sizeof changes[0]; c++) {
        /* Before any of the graph has come, in the middle of it, after all of it. */
        for (int when = 0; when < 3; when++) {
            struct velta_error error = {0};
            velta_snapshot *snapshot;
            velta_table *table;
            velta *db;
            size_t count, begin;
            uint32_t attached, dropped;
            assert_ok(parts_open(export.bytes, export.size_bytes, NULL, &snapshot, &db, &error), &error);
            assert_ok(velta_table_find(db, "t", &table, &error), &error);
            (void)velta_snapshot_segments(snapshot, &count, &begin);
            size_t middle = when == 0 ? begin : when == 1 ? begin + (count - begin) / 2 : count;
            assert_ok(parts_feed(snapshot, export.bytes, begin, middle, &error), &error);
            changes[c].run(db, table);
            check_exact(db);
            assert_verifies(db);
            assert_ok(parts_feed(snapshot, export.bytes, middle, count, &error), &error);
            assert_ok(velta_snapshot_attach(snapshot, &attached, &dropped, &error), &error);
            assert_int_equal(dropped, changes[c].dropped);
            assert_int_equal(attached, 5 - dropped);
            velta_snapshot_close(snapshot);
            assert_verifies(db);
            assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
            assert_verifies(db);
            assert_ok(velta_close(db, &error), &error);
        }
    }
    free(export.bytes);
}

/* Exports while the graph is awaited and after it was given up are the same: what the graph brought is in neither. */
static void a_snapshot_closed_early_leaves_rows_to_be_linked(void **state) {
    (void)state;
    struct export export;
    make_export(3, &export);
    for (int when = 0; when < 3; when++) {
        struct velta_error error = {0};
        velta_snapshot *snapshot;
        velta *db;
        size_t count, begin;
        assert_ok(parts_open(export.bytes, export.size_bytes, NULL, &snapshot, &db, &error), &error);
        (void)velta_snapshot_segments(snapshot, &count, &begin);
        size_t end = when == 0 ? begin : when == 1 ? begin + (count - begin) / 2 : count;
        assert_ok(parts_feed(snapshot, export.bytes, begin, end, &error), &error);
        uint64_t before = digest(db);
        velta_snapshot_close(snapshot);
        assert_true(digest(db) == before);
        assert_true(pending_of(db) > 0);
        check_exact(db);
        assert_verifies(db);
        assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
        assert_int_equal(pending_of(db), 0);
        assert_verifies(db);
        assert_ok(velta_compact(db, NULL, NULL, &error), &error);
        assert_ok(velta_close(db, &error), &error);
    }
    free(export.bytes);
}

/* ---- the order of calls */

struct feeding {
    velta_snapshot *snapshot;
    const uint8_t *bytes;
    uint32_t told;
};

static void feed_from_a_callback(void *context, const struct velta_change *change) {
    struct feeding *feeding = context;
    struct velta_error error;
    size_t count, begin;
    const struct velta_segment *segments = velta_snapshot_segments(feeding->snapshot, &count, &begin);
    (void)change;
    assert_status(velta_snapshot_feed(feeding->snapshot, feeding->bytes + segments[begin].offset,
                                      segments[begin].size_bytes, &error),
                  VELTA_BUSY);
    assert_status(velta_snapshot_attach(feeding->snapshot, NULL, NULL, &error), VELTA_BUSY);
    feeding->told++;
}

static void calls_out_of_turn_are_refused(void **state) {
    (void)state;
    struct export export;
    struct velta_error error = {0};
    velta_snapshot *snapshot;
    velta_table *table;
    velta *db;
    size_t count, begin;
    uint64_t watch;
    make_export(5, &export);
    assert_ok(parts_begin(export.bytes, export.size_bytes, NULL, &snapshot, &error), &error);
    const struct velta_segment *segments = velta_snapshot_segments(snapshot, &count, &begin);
    assert_true(begin > 0 && begin < count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(segments[i].kind == 8, i >= begin);
        assert_true(segments[i].checksum ==
                    hash_bytes(export.bytes + segments[i].offset, (size_t)segments[i].size_bytes));
    }
    assert_status(velta_snapshot_open(snapshot, &db, &error), VELTA_INVALID);
    assert_null(db);
    assert_status(velta_snapshot_attach(snapshot, NULL, NULL, &error), VELTA_INVALID);
    assert_status(velta_snapshot_feed(snapshot, export.bytes + segments[0].offset, segments[0].size_bytes - 1, &error),
                  VELTA_INVALID);
    assert_ok(parts_feed(snapshot, export.bytes, 0, begin, &error), &error);
    /* Graphs are not taken before the database is open. */
    assert_status(velta_snapshot_feed(snapshot, export.bytes + segments[begin].offset, segments[begin].size_bytes,
                                      &error),
                  VELTA_INVALID);
    assert_ok(velta_snapshot_open(snapshot, &db, &error), &error);
    velta *again;
    assert_status(velta_snapshot_open(snapshot, &again, &error), VELTA_INVALID);
    assert_null(again);
    assert_status(velta_compact(db, NULL, NULL, &error), VELTA_BUSY);
    struct feeding feeding = {snapshot, export.bytes, 0};
    assert_ok(velta_table_find(db, "points", &table, &error), &error);
    watch = velta_watch(db, feed_from_a_callback, &feeding);
    assert_true(watch != 0);
    struct random random = random_seeded(1);
    insert_points(table, 7000, 2, &random);
    assert_int_equal(feeding.told, 1);
    velta_unwatch(db, watch);
    assert_ok(parts_attach(snapshot, export.bytes, NULL, NULL, &error), &error);
    assert_status(velta_snapshot_attach(snapshot, NULL, NULL, &error), VELTA_INVALID);
    assert_status(velta_snapshot_feed(snapshot, export.bytes, 64, &error), VELTA_INVALID);
    velta_snapshot_close(snapshot);
    assert_ok(velta_compact(db, NULL, NULL, &error), &error);
    assert_ok(velta_close(db, &error), &error);
    /* Not opened: the database ends with it. NULL is allowed. */
    assert_ok(parts_begin(export.bytes, export.size_bytes, NULL, &snapshot, &error), &error);
    velta_snapshot_close(snapshot);
    velta_snapshot_close(NULL);
    struct velta_options options = {.read_only = true};
    assert_status(parts_begin(export.bytes, export.size_bytes, &options, &snapshot, &error), VELTA_INVALID);
    assert_null(snapshot);
    struct velta_host host = {0};
    options = (struct velta_options){.host = &host};
    assert_status(parts_begin(export.bytes, export.size_bytes, &options, &snapshot, &error), VELTA_INVALID);
    free(export.bytes);
}

/* ---- damage */

/* Makes the checksums of a directory entry's bytes, of the directory and of the root right again. */
static void repair(struct export *export, size_t entry) {
    uint8_t *root = export->bytes, *at = root + DIRECTORY_AT + entry * ENTRY;
    uint64_t begin = bytes_get_u64(at + 16), length = bytes_get_u64(at + 24);
    bytes_put_u64(at + 32, hash_bytes(root + begin, (size_t)length));
    bytes_put_u64(root + 48, hash_bytes(root + DIRECTORY_AT, (size_t)bytes_get_u64(root + 40)));
    bytes_put_u64(root + 4088, hash_bytes(root, 4088));
}

static void every_segment_is_checked(void **state) {
    (void)state;
    struct export export;
    struct velta_error error = {0};
    velta_snapshot *snapshot;
    velta *db;
    size_t count, begin, damaged = 0;
    make_export(2, &export);
    assert_ok(parts_begin(export.bytes, export.size_bytes, NULL, &snapshot, &error), &error);
    const struct velta_segment *first = velta_snapshot_segments(snapshot, &count, &begin);
    struct velta_segment *segments = malloc(count * sizeof *segments);
    memcpy(segments, first, count * sizeof *segments);
    velta_snapshot_close(snapshot);
    for (size_t i = 0; i < count; i++) {
        if (segments[i].size_bytes == 0) continue;
        uint8_t *at = export.bytes + segments[i].offset + segments[i].size_bytes / 2;
        *at ^= 1;
        damaged++;
        assert_ok(parts_begin(export.bytes, export.size_bytes, NULL, &snapshot, &error), &error);
        size_t before = i < begin ? i : begin;
        assert_ok(parts_feed(snapshot, export.bytes, 0, before, &error), &error);
        if (i < begin) {
            assert_status(parts_feed(snapshot, export.bytes, i, i + 1, &error), VELTA_CORRUPT);
            assert_int_equal(error.offset, segments[i].offset);
            *at ^= 1;
            /* Begun anew it works; gone on with it does not. */
            assert_status(parts_feed(snapshot, export.bytes, i, i + 1, &error), VELTA_INVALID);
            assert_status(velta_snapshot_open(snapshot, &db, &error), VELTA_INVALID);
            velta_snapshot_close(snapshot);
            continue;
        }
        assert_ok(velta_snapshot_open(snapshot, &db, &error), &error);
        uint64_t early = digest(db);
        assert_ok(parts_feed(snapshot, export.bytes, begin, i, &error), &error);
        assert_status(parts_feed(snapshot, export.bytes, i, i + 1, &error), VELTA_CORRUPT);
        assert_int_equal(error.offset, segments[i].offset);
        assert_true(digest(db) == early);
        assert_status(velta_snapshot_attach(snapshot, NULL, NULL, &error), VELTA_INVALID);
        *at ^= 1;
        assert_ok(parts_feed(snapshot, export.bytes, i, count, &error), &error);
        assert_ok(velta_snapshot_attach(snapshot, NULL, NULL, &error), &error);
        velta_snapshot_close(snapshot);
        assert_true(digest(db) == export.hash);
        assert_ok(velta_close(db, &error), &error);
    }
    assert_true(damaged > 20);
    free(segments);
    free(export.bytes);
}

/* Bytes of graphs that were made to deceive, checksums and all: refused whole, or a graph that is sound. */
static void hostile_graphs_leave_the_database_as_it_was(void **state) {
    (void)state;
    struct export export;
    struct random random = random_seeded(77);
    unsigned refused = 0, taken = 0;
    make_export(4, &export);
    uint8_t *original = malloc((size_t)export.size_bytes);
    memcpy(original, export.bytes, (size_t)export.size_bytes);
    for (int turn = 0; turn < 100; turn++) {
        struct velta_error error = {0};
        velta_snapshot *snapshot;
        velta *db, *whole;
        size_t count, begin;
        memcpy(export.bytes, original, (size_t)export.size_bytes);
        assert_ok(parts_begin(export.bytes, export.size_bytes, NULL, &snapshot, &error), &error);
        const struct velta_segment *segments = velta_snapshot_segments(snapshot, &count, &begin);
        size_t victim = begin + random_below(&random, count - begin);
        uint64_t spread = segments[victim].size_bytes > 256 ? 256 : segments[victim].size_bytes;
        uint64_t place = random_chance(&random, 50) ? spread : segments[victim].size_bytes;
        export.bytes[segments[victim].offset + random_below(&random, place)] = (uint8_t)random_below(&random, 256);
        velta_snapshot_close(snapshot);
        repair(&export, victim);
        assert_ok(parts_open(export.bytes, export.size_bytes, NULL, &snapshot, &db, &error), &error);
        enum velta_status status = parts_attach(snapshot, export.bytes, NULL, NULL, &error);
        enum velta_status wanted = velta_import(export.bytes, export.size_bytes, NULL, &whole, NULL);
        assert_status(status, wanted);
        velta_snapshot_close(snapshot);
        if (turn % 20 == 0 && status) check_exact(db);
        if (status) {
            assert_status(status, VELTA_CORRUPT);
            assert_true(error.offset < export.size_bytes);
            assert_verifies(db);
            assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
            assert_verifies(db);
            refused++;
        } else {
            assert_true(digest(db) == digest(whole));
            assert_ok(velta_close(whole, &error), &error);
            taken++;
        }
        assert_ok(velta_close(db, &error), &error);
    }
    assert_true(refused > 20 && taken > 0);
    free(original);
    free(export.bytes);
}

/* Segments that contradict each other, each right by itself: links of a node in none, vectors that are nowhere. */
static void segments_that_contradict_each_other_are_refused(void **state) {
    (void)state;
    for (int nowhere = 0; nowhere <= 1; nowhere++) {
        struct export export;
        struct velta_error error = {0};
        velta_snapshot *snapshot;
        velta *db;
        size_t count, begin;
        make_export(nowhere ? 4 : 12, &export);
        assert_ok(parts_begin(export.bytes, export.size_bytes, NULL, &snapshot, &error), &error);
        const struct velta_segment *segments = velta_snapshot_segments(snapshot, &count, &begin);
        size_t entry = nowhere ? 0 : begin; /* codes of "c", or the graph of "v": part 1 of either */
        while (segments[entry].kind != (nowhere ? 6 : 8) || segments[entry].column != (nowhere ? 9 : 7) ||
               segments[entry].part != 1)
            entry++;
        uint8_t *at = export.bytes + segments[entry].offset;
        if (nowhere) {
            while (bytes_get_u32(at) == UINT32_MAX)
                at += 4;
            bytes_put_u32(at, UINT32_MAX);
        } else {
            while (*at != 1)
                at++;
            *at = 2; /* linked, and now said to be in the tail alone: its links stay */
        }
        velta_snapshot_close(snapshot);
        repair(&export, entry);
        assert_status(velta_import(export.bytes, export.size_bytes, NULL, &db, &error), VELTA_CORRUPT);
        enum velta_status status = parts_open(export.bytes, export.size_bytes, NULL, &snapshot, &db, &error);
        assert_status(status, nowhere ? VELTA_CORRUPT : VELTA_OK);
        if (!status) {
            assert_status(parts_attach(snapshot, export.bytes, NULL, NULL, &error), VELTA_CORRUPT);
            velta_snapshot_close(snapshot);
            assert_verifies(db);
            assert_ok(velta_close(db, &error), &error);
        }
        free(export.bytes);
    }
}

/* A head with `entries` of the directory, which is cut off after that. */
static void with_entries(struct export *export, size_t entries) {
    uint8_t *root = export->bytes;
    bytes_put_u64(root + 40, entries * ENTRY);
    bytes_put_u64(root + 48, hash_bytes(root + DIRECTORY_AT, entries * ENTRY));
    bytes_put_u64(root + 4088, hash_bytes(root, 4088));
}

static void hostile_heads_are_refused(void **state) {
    (void)state;
    struct export export;
    struct velta_error error = {0};
    velta_snapshot *snapshot;
    velta *db;
    make_export(6, &export);
    uint64_t size_bytes = export.size_bytes, head = velta_snapshot_head_bytes(export.bytes, size_bytes);
    size_t entries = (size_t)(head - DIRECTORY_AT) / ENTRY;
    assert_int_equal(velta_snapshot_head_bytes(export.bytes, 8191), 8192);
    assert_int_equal(velta_snapshot_head_bytes(NULL, 0), 8192);
    assert_true(head > 8192 && head < size_bytes);
    /* Too short a head, a longer one than the file, a file that ends early. */
    const uint64_t heads[] = {0, 100, 8191, 8192, head - 1};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        assert_status(velta_snapshot_begin(export.bytes, heads[i], size_bytes, NULL, &snapshot, &error),
                      VELTA_INVALID);
        assert_status(velta_snapshot_begin(export.bytes, heads[i], heads[i], NULL, &snapshot, &error), VELTA_CORRUPT);
        assert_null(snapshot);
    }
    assert_status(velta_snapshot_begin(export.bytes, head, head - 1, NULL, &snapshot, &error), VELTA_INVALID);
    assert_status(velta_snapshot_begin(export.bytes, head, size_bytes - 64, NULL, &snapshot, &error), VELTA_CORRUPT);
    /* Every byte of the roots and the directory. */
    for (uint64_t at = 0; at < head; at += at < 128 || at > 8192 ? 1 : 61) {
        if (at >= 4096 && at < 8192) continue; /* the other root, which an export has none of */
        export.bytes[at] ^= 4;
        enum velta_status status = parts_begin(export.bytes, size_bytes, NULL, &snapshot, &error);
        if (status != VELTA_CORRUPT) fail_msg("byte %u: %s", (unsigned)at, velta_status_name(status));
        export.bytes[at] ^= 4;
    }
    /* Newer versions; segments missing at the end, where the graphs are, and before. */
    export.bytes[8] = 2;
    bytes_put_u64(export.bytes + 4088, hash_bytes(export.bytes, 4088));
    assert_status(parts_begin(export.bytes, size_bytes, NULL, &snapshot, &error), VELTA_VERSION);
    export.bytes[8] = 1;
    for (size_t left = 0; left < entries; left++) {
        with_entries(&export, left);
        assert_status(parts_open(export.bytes, size_bytes, NULL, &snapshot, &db, &error), VELTA_CORRUPT);
        assert_null(db);
    }
    /* A graph of a column that has none, and one of another size than the codes say. */
    with_entries(&export, entries);
    uint8_t *last = export.bytes + DIRECTORY_AT + (entries - 1) * ENTRY;
    assert_int_equal(bytes_get_u32(last), 8);
    bytes_put_u32(last + 12, bytes_get_u32(last + 12) + 1);
    repair(&export, entries - 1);
    assert_status(parts_open(export.bytes, size_bytes, NULL, &snapshot, &db, &error), VELTA_CORRUPT);
    bytes_put_u32(last + 12, bytes_get_u32(last + 12) - 1);
    repair(&export, entries - 1);
    assert_ok(parts_open(export.bytes, size_bytes, NULL, &snapshot, &db, &error), &error);
    velta_snapshot_close(snapshot);
    assert_ok(velta_close(db, &error), &error);
    free(export.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_exact_before_the_graph_and_the_same_after),
        cmocka_unit_test(a_change_gives_up_the_graphs_of_its_indexes_alone),
        cmocka_unit_test(a_snapshot_closed_early_leaves_rows_to_be_linked),
        cmocka_unit_test(calls_out_of_turn_are_refused),
        cmocka_unit_test(every_segment_is_checked),
        cmocka_unit_test(hostile_graphs_leave_the_database_as_it_was),
        cmocka_unit_test(segments_that_contradict_each_other_are_refused),
        cmocka_unit_test(hostile_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
