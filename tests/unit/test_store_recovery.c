/* What a file holds after closing, killing, cutting and damaging; locks; checkpoints by themselves. */
#define _GNU_SOURCE
#include "tests/unit/store_testing.h"

#include "core/bytes.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *log_of(const char *path) {
    static char name[4096];
    snprintf(name, sizeof name, "%s-log", path);
    return name;
}

static void copy_file(const char *from, const char *to) {
    size_t size_bytes;
    uint8_t *bytes = test_read_file(from, &size_bytes);
    test_write_file(to, bytes, size_bytes);
    free(bytes);
}

/* The two files of a database as they are now, under another name: what a crash would leave. */
static void copy_database(const char *from, const char *to) {
    char log[4096];
    copy_file(from, to);
    snprintf(log, sizeof log, "%s", log_of(to));
    copy_file(log_of(from), log);
}

static velta *open_again(const char *path, struct velta_options *options, velta_table **table) {
    struct velta_error error = {0};
    velta *db = NULL;
    assert_ok(velta_open(path, options, &db, &error), &error);
    if (table) assert_ok(velta_table_find(db, "t", table, &error), &error);
    return db;
}

static void close_it(velta *db) {
    struct velta_error error = {0};
    assert_ok(velta_close(db, &error), &error);
}

/* One random change, the same on every database it is given to. */
static void random_step(velta *db, velta_table *table, uint64_t seed) {
    struct random random = random_seeded(seed);
    struct velta_error error = {0};
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    struct sample sample;
    int64_t id = (int64_t)random_below(&random, 400);
    float vector[SAMPLE_DIMENSIONS];
    int64_t times[] = {(int64_t)random_below(&random, 100000)};
    struct velta_keys key = {.ints = &id};
    random_vector(&random, vector, SAMPLE_DIMENSIONS);
    enum velta_status status = VELTA_OK;
    switch (random_below(&random, 9)) {
    case 0:
    case 1:
        sample_make(&sample, id, 1 + (uint32_t)random_below(&random, 90), seed);
        status = velta_insert(table, sample.values, SAMPLE_COLUMNS, sample.count, &upsert, NULL, &error);
        sample_free(&sample);
        break;
    case 2:
        status = velta_delete(table, &key, 1, NULL, &error);
        break;
    case 3: {
        struct velta_delta delta = {.operation = VELTA_DELTA_CREATE,
                                    .key_int = 10000 + (int64_t)seed,
                                    .count = SAMPLE_DIMENSIONS,
                                    .values = vector,
                                    .metadata = "m",
                                    .metadata_bytes = 1};
        status = velta_apply(table, "c", &delta, 1, 0, NULL, &error);
        break;
    }
    case 4:
    case 5: {
        static const char *const columns[] = {"v", "h", "c"};
        struct velta_delta deltas[] = {
            {.operation = VELTA_DELTA_DENSE, .key_int = id, .count = SAMPLE_DIMENSIONS, .values = vector},
            {.operation = VELTA_DELTA_SCALE, .key_int = id, .amount = 0.5F}};
        status = velta_apply(table, columns[seed % 3], deltas, 2, 0, NULL, &error);
        break;
    }
    case 6:
        status = velta_expire_at(table, &key, 1, times, &error);
        break;
    case 7:
        status = velta_tag(db, "moving", &error);
        break;
    default: {
        struct velta_values values = {.column = "size", .data = times};
        status = velta_update(table, &key, 1, &values, 1, NULL, &error);
        break;
    }
    }
    if (status && status != VELTA_NOT_FOUND) fail_msg("%s", error.text);
}

static void a_life_reopened_equals_one_in_memory(void **state) {
    (void)state;
    for (int relaxed = 0; relaxed <= 1; relaxed++) {
        const char *path = test_path(test_folder(), "life.velta");
        int64_t now_ms = 1000;
        struct velta_options options = {.now_ms = sample_clock,
                                        .now_context = &now_ms,
                                        .durability = relaxed ? VELTA_RELAXED : VELTA_STRICT,
                                        .checkpoint_bytes = 50000,
                                        .chain_interval = 5};
        velta_table *table;
        velta_table *model_table;
        velta *model = sample_open(&options, NULL, &model_table);
        velta *db = sample_open(&options, path, &table);
        for (uint64_t step = 0; step < test_rounds(300); step++) {
            now_ms += 10;
            random_step(db, table, step);
            random_step(model, model_table, step);
            if (step % 23 == 22) {
                close_it(db);
                db = open_again(path, &options, &table);
                if (digest(db) != digest(model)) fail_msg("differs after step %u", (unsigned)step);
            }
        }
        assert_verifies(db);
        assert_verifies(model);
        close_it(db);
        close_it(model);
    }
}

static void every_kind_of_change_is_replayed(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "kinds.velta");
    const char *crashed = test_path(test_folder(), "crashed.velta");
    int64_t now_ms = 1000;
    struct velta_options options = {.now_ms = sample_clock, .now_context = &now_ms};
    struct velta_error error = {0};
    velta_table *table;
    velta_table *other;
    velta *db = sample_open(&options, path, &table);
    sample_insert(table, 0, 100, 1);
    struct velta_column column = {.name = "added", .type = VELTA_STRING};
    struct velta_column vector_column = {.name = "w", .type = VELTA_VECTOR, .dimensions = 2, .element = VELTA_F16};
    assert_ok(velta_column_add(table, &column, &error), &error);
    assert_ok(velta_column_add(table, &vector_column, &error), &error);
    struct velta_values text = {.column = "added", .data = "xyz", .offsets = (uint64_t[]){0, 1, 3}};
    assert_ok(velta_update(table, &(struct velta_keys){.ints = (int64_t[]){5, 6}}, 2, &text, 1, NULL, &error), &error);
    assert_ok(velta_table_create(db, "dropped", sample_schema, SAMPLE_COLUMNS, &other, &error), &error);
    sample_insert(other, 0, 10, 2);
    assert_ok(velta_table_drop(other, &error), &error);
    assert_ok(velta_table_create(db, "kept", sample_schema, 2, &other, &error), &error);
    for (uint64_t step = 0; step < 60; step++) {
        now_ms += 7;
        random_step(db, table, step);
    }
    /* Nothing was checkpointed since the first moment: the copy's state is replayed whole. */
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    assert_int_equal(stats.generation, 1);
    assert_true(stats.log_bytes > 0);
    copy_database(path, crashed);
    velta *copy = open_again(crashed, &options, &table);
    assert_true(digest(copy) == digest(db));
    assert_verifies(copy);
    close_it(copy);
    close_it(db);
}

static void a_flush_makes_relaxed_changes_durable(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "relaxed.velta");
    const char *crashed = test_path(test_folder(), "crashed.velta");
    int64_t now_ms = 1000;
    struct velta_options options = {.now_ms = sample_clock, .now_context = &now_ms, .durability = VELTA_RELAXED};
    struct velta_error error = {0};
    velta_table *table;
    velta *db = sample_open(&options, path, &table);
    sample_insert(table, 0, 100, 1);
    assert_ok(velta_flush(db, &error), &error);
    uint64_t flushed = digest(db);
    sample_insert(table, 1000, 5, 2); /* waits */
    copy_database(path, crashed);
    velta *copy = open_again(crashed, &options, NULL);
    assert_true(digest(copy) == flushed);
    close_it(copy);
    close_it(db);
    db = open_again(path, &options, &table);
    assert_int_equal(velta_live_count(table), 105);
    close_it(db);
}

static void a_large_batch_is_there_whole_or_not_at_all(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "large.velta");
    const char *crashed = test_path(test_folder(), "crashed.velta");
    struct velta_error error = {0};
    velta_table *table;
    velta *db = NULL;
    enum { ROWS = 6000, DIMENSIONS = 512 };
    struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true},
                                     {.name = "w", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .no_index = true}};
    struct velta_options options = {.checkpoint_bytes = UINT64_MAX};
    assert_ok(velta_open(path, &options, &db, &error), &error);
    assert_ok(velta_table_create(db, "t", columns, 2, &table, &error), &error);
    uint64_t before = digest(db);
    float *vectors = malloc((size_t)ROWS * DIMENSIONS * sizeof *vectors);
    int64_t *ids = malloc(ROWS * sizeof *ids);
    struct random random = random_seeded(1);
    random_vector(&random, vectors, (size_t)ROWS * DIMENSIONS);
    for (int i = 0; i < ROWS; i++)
        ids[i] = i;
    struct velta_values values[] = {{.column = "id", .data = ids}, {.column = "w", .data = vectors}};
    struct velta_write_stats stats;
    assert_ok(velta_insert(table, values, 2, ROWS, NULL, &stats, &error), &error);
    assert_int_equal(stats.inserted, ROWS);
    uint64_t after = digest(db);
    assert_true(velta_row_count(table) == ROWS);
    copy_database(path, crashed);
    close_it(db);
    size_t log_bytes;
    uint8_t *log = test_read_file(log_of(crashed), &log_bytes);
    size_t data_bytes;
    uint8_t *data = test_read_file(crashed, &data_bytes);
    assert_true(log_bytes > (5U << 20)); /* several frames */
    for (size_t cut = log_bytes; cut > 200000; cut -= log_bytes / 9) {
        test_write_file(crashed, data, data_bytes); /* closing may have made a checkpoint */
        test_write_file(log_of(crashed), log, cut);
        db = open_again(crashed, &options, &table);
        assert_true(digest(db) == (cut == log_bytes ? after : before));
        close_it(db);
    }
    free(data);
    free(log);
    free(vectors);
    free(ids);
}

static void torn_tails_are_cut_and_damage_is_told(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "torn.velta");
    const char *crashed = test_path(test_folder(), "crashed.velta");
    struct velta_error error = {0};
    velta_table *table;
    velta *db = sample_open(NULL, path, &table);
    uint64_t digests[6];
    for (int i = 0; i < 6; i++) {
        sample_insert(table, i * 100, 20, (uint64_t)i);
        digests[i] = digest(db);
    }
    copy_database(path, crashed);
    close_it(db);
    size_t log_bytes;
    uint8_t *log = test_read_file(log_of(crashed), &log_bytes);
    test_write_file(log_of(crashed), log, log_bytes - 10);
    db = open_again(crashed, NULL, &table);
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    assert_true(stats.cut_bytes > 0);
    assert_true(digest(db) == digests[4]);
    close_it(db);
    /* A byte in the middle, before frames that say it was durable. */
    log[log_bytes / 2] ^= 1;
    test_write_file(log_of(crashed), log, log_bytes);
    copy_file(path, crashed); /* of the same generation: nothing was checkpointed at closing */
    assert_status(velta_open(crashed, NULL, &db, &error), VELTA_CORRUPT);
    assert_null(db);
    assert_true(error.offset <= log_bytes / 2);
    free(log);
}

static void checkpoints_come_by_size(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "size.velta");
    int64_t now_ms = 1000;
    struct velta_options options = {.now_ms = sample_clock, .now_context = &now_ms, .checkpoint_bytes = 20000};
    struct velta_error error = {0};
    velta_table *table;
    velta *db = sample_open(&options, path, &table);
    struct velta_stats stats;
    for (int i = 0; i < 30; i++) {
        sample_insert(table, i * 100, 100, (uint64_t)i);
        velta_get_stats(db, &stats);
        assert_true(stats.log_bytes <= 40000);
    }
    assert_true(stats.generation > 3);
    uint64_t before = digest(db);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    velta_get_stats(db, &stats);
    assert_int_equal(stats.log_raw_bytes, 0);
    assert_true(digest(db) == before);
    close_it(db);
    db = open_again(path, &options, &table);
    assert_true(digest(db) == before);
    assert_verifies(db);
    close_it(db);
}

/* Changes are what they were; opening for writing adds a frame without any. */
static void assert_same_log(const velta *db, const struct velta_stats *before) {
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    assert_int_equal(stats.log_raw_bytes, before->log_raw_bytes);
    assert_true(stats.log_bytes >= before->log_bytes && stats.log_bytes < before->log_bytes + 200);
}

static void an_opening_knows_the_log_before_compression(void **state) {
    (void)state;
    struct velta_error error = {0};
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        const char *path = test_path(test_folder(), relaxed ? "raw_relaxed.velta" : "raw_strict.velta");
        struct velta_options options = {.durability = relaxed ? VELTA_RELAXED : VELTA_STRICT};
        velta_table *table;
        struct velta_stats stats[2];
        velta *db = sample_open(&options, path, &table);
        for (int i = 0; i < 2; i++) {
            int64_t id = 3 + i;
            sample_insert(table, i * 1000, 300, (uint64_t)i);
            assert_ok(velta_delete(table, &(struct velta_keys){.ints = &id}, 1, NULL, &error), &error);
            assert_ok(velta_flush(db, &error), &error);
            velta_get_stats(db, &stats[i]);
            close_it(db);
            db = open_again(path, &options, &table);
            assert_same_log(db, &stats[i]);
        }
        assert_true(stats[0].log_raw_bytes > 0 && stats[0].log_raw_bytes > stats[0].log_bytes);
        assert_true(stats[1].log_raw_bytes > stats[0].log_raw_bytes);
        close_it(db);
        db = open_again(path, &(struct velta_options){.read_only = true}, &table);
        assert_same_log(db, &stats[1]);
        close_it(db);
    }
}

/* What is told while opening: what was done, as parts of one whole. */
struct reports {
    uint64_t count;
    uint64_t done;
    uint64_t total;
    uint64_t limit; /* cancel after so many reports */
};

static bool note(void *context, uint64_t done, uint64_t total) {
    struct reports *reports = context;
    assert_true(done >= reports->done && done <= total);
    assert_true(reports->count == 0 || total == reports->total);
    reports->count++;
    reports->done = done;
    reports->total = total;
    return reports->count < reports->limit;
}

static void opening_tells_how_far_it_is(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "progress.velta");
    struct velta_error error = {0};
    struct velta_options options = {0};
    velta_table *table;
    velta *db = sample_open(&options, path, &table);
    sample_insert(table, 0, 3000, 1);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    for (int64_t i = 0; i < 5; i++)
        sample_insert(table, 3000 + i * 10, 10, 2);
    close_it(db);
    struct reports reports = {.limit = UINT64_MAX};
    options.progress = (struct velta_progress){.report = note, .context = &reports};
    close_it(open_again(path, &options, NULL));
    assert_true(reports.count > 6);
    assert_int_equal(reports.done, reports.total);
    uint64_t all = reports.count;
    for (uint64_t limit = 1; limit <= all; limit++) {
        reports = (struct reports){.limit = limit};
        assert_status(velta_open(path, &options, &db, &error), VELTA_CANCELLED);
    }
}

static void a_graph_is_kept_by_closing(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "graph.velta");
    struct velta_error error = {0};
    velta_table *table;
    velta *db = sample_open(NULL, path, &table);
    sample_insert(table, 0, 2000, 1);
    uint64_t pending = 0;
    assert_ok(velta_index(db, 100, NULL, &pending, &error), &error);
    assert_true(pending > 0);
    assert_ok(velta_index(db, 0, NULL, &pending, &error), &error);
    assert_int_equal(pending, 0);
    uint64_t before = digest(db);
    close_it(db);
    db = open_again(path, NULL, &table);
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    assert_int_equal(stats.index_pending, 0);
    assert_true(digest(db) == before);
    assert_verifies(db);
    close_it(db);
}

static void readers_share_and_writers_do_not(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "shared.velta");
    struct velta_options reading = {.read_only = true};
    struct velta_error error = {0};
    velta_table *table;
    velta *db = NULL;
    velta *second = NULL;
    assert_status(velta_open(path, &reading, &db, &error), VELTA_NOT_FOUND);
    assert_status(velta_open(path, &(struct velta_options){.must_exist = true}, &db, &error), VELTA_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
    db = sample_open(NULL, path, &table);
    sample_insert(table, 0, 10, 1);
    assert_status(velta_open(path, NULL, &second, &error), VELTA_LOCKED);
    assert_null(second);
    close_it(db);
    db = open_again(path, &reading, &table);
    second = open_again(path, &reading, NULL);
    assert_true(digest(db) == digest(second));
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 1, .amount = 2};
    assert_status(velta_apply(table, "v", &scale, 1, 0, NULL, &error), VELTA_READ_ONLY);
    assert_status(velta_tag(db, "x", &error), VELTA_READ_ONLY);
    assert_status(velta_checkpoint(db, NULL, &error), VELTA_READ_ONLY);
    assert_status(velta_compact(db, NULL, NULL, &error), VELTA_READ_ONLY);
    assert_ok(velta_index(db, 0, NULL, NULL, &error), &error); /* in memory only */
    close_it(second);
    close_it(db);
}

static void strange_paths_are_refused(void **state) {
    (void)state;
    struct velta_error error = {0};
    velta *db = NULL;
    const char *folder = test_folder();
    assert_status(velta_open(folder, NULL, &db, &error), VELTA_IO);
    assert_true(velta_open(test_path(folder, "no/such/place"), NULL, &db, &error) != VELTA_OK);
    assert_status(velta_open("", NULL, &db, &error), VELTA_INVALID);
    const char *text = test_path(folder, "text");
    test_write_file(text, "this is not a database, but a text\n", 35);
    assert_status(velta_open(text, NULL, &db, &error), VELTA_CORRUPT);
    assert_true(error.text[0] != '\0');
}

/* The next change would come before one that is there, and break the order of a history. */
static void a_root_before_its_changes_is_refused(void **state) {
    (void)state;
    enum { SEQUENCE_AT = 64, TIME_AT = 72, CHECKSUM_AT = 4088 };
    struct velta_error error = {0};
    velta_table *table;
    velta *db = sample_open(NULL, NULL, &table), *copy = NULL;
    uint8_t *bytes;
    uint64_t size_bytes;
    sample_insert(table, 0, 5, 1);
    assert_ok(velta_export(db, &bytes, &size_bytes, NULL, &error), &error);
    for (size_t at = SEQUENCE_AT; at <= TIME_AT; at += TIME_AT - SEQUENCE_AT) {
        for (uint64_t less = 0; less < 2; less++) {
            bytes_put_u64(bytes + at, bytes_get_u64(bytes + at) - less);
            bytes_put_u64(bytes + CHECKSUM_AT, hash_bytes(bytes, CHECKSUM_AT));
            assert_status(velta_import(bytes, size_bytes, NULL, &copy, &error), less ? VELTA_CORRUPT : VELTA_OK);
            if (!less) close_it(copy);
        }
        bytes_put_u64(bytes + at, bytes_get_u64(bytes + at) + 1);
    }
    velta_export_free(db, bytes, size_bytes);
    close_it(db);
}

/* A child inserts batches of ten and says so after each; it is killed at some moment. */
static void killed_writers_lose_nothing_acknowledged(void **state) {
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        const char *path = test_path(test_folder(), "killed.velta");
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            velta_table *table;
            struct velta_options options = {.checkpoint_bytes = 30000};
            (void)sample_open(&options, path, &table);
            for (int64_t i = 0; i < 100000; i++) {
                sample_insert(table, i * 10, 10, (uint64_t)i);
                if (write(pipes[1], &i, sizeof i) != sizeof i) _exit(1);
            }
            _exit(0);
        }
        close(pipes[1]);
        int64_t acknowledged = -1;
        while (acknowledged < (int64_t)(5 + 13 * round)) {
            int64_t i;
            assert_int_equal(read(pipes[0], &i, sizeof i), sizeof i);
            acknowledged = i;
        }
        kill(child, SIGKILL);
        int64_t i;
        while (read(pipes[0], &i, sizeof i) == sizeof i)
            acknowledged = i;
        close(pipes[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        velta_table *table;
        velta *db = open_again(path, NULL, &table);
        uint32_t rows = velta_row_count(table);
        assert_int_equal(rows % 10, 0);
        assert_true(rows == (acknowledged + 1) * 10 || rows == (acknowledged + 2) * 10);
        assert_verifies(db);
        close_it(db);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_reopened_equals_one_in_memory),
        cmocka_unit_test(every_kind_of_change_is_replayed),
        cmocka_unit_test(a_flush_makes_relaxed_changes_durable),
        cmocka_unit_test(a_large_batch_is_there_whole_or_not_at_all),
        cmocka_unit_test(torn_tails_are_cut_and_damage_is_told),
        cmocka_unit_test(checkpoints_come_by_size),
        cmocka_unit_test(an_opening_knows_the_log_before_compression),
        cmocka_unit_test(opening_tells_how_far_it_is),
        cmocka_unit_test(a_graph_is_kept_by_closing),
        cmocka_unit_test(readers_share_and_writers_do_not),
        cmocka_unit_test(strange_paths_are_refused),
        cmocka_unit_test(a_root_before_its_changes_is_refused),
        cmocka_unit_test(killed_writers_lose_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
