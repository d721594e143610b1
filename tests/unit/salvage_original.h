/*
 * The store that the tests of salvage damage: every type of column, history, an index, deleted and expiring rows, two
 * checkpoints and a log, over two files in memory; and its state after every step of its life.
 */
#ifndef VELTA_TESTS_UNIT_SALVAGE_ORIGINAL_H
#define VELTA_TESTS_UNIT_SALVAGE_ORIGINAL_H

#include "delta/storage_format.h"
#include "tests/support/fake_storage.h"
#include "tests/unit/store_testing.h"

enum { MAX_STEPS = 64 };

struct step {
    uint64_t sequence;
    velta *db; /* the state after it, in memory */
};

struct original {
    struct fake_storage files;
    struct fake_storage before; /* the files as they were some steps earlier */
    struct step steps[MAX_STEPS];
    size_t step_count;
    int64_t now_ms;
};

static void execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    fake_storage_execute(context, operation, result);
}
static void stay_open(void *context) {
    (void)context;
}
static struct velta_host host_over(struct fake_storage *files) {
    return (struct velta_host){.context = files, .execute = execute, .close = stay_open};
}

static inline void note_step(struct original *original, velta *db) {
    struct velta_error error = {0};
    struct velta_stats stats;
    uint8_t *bytes;
    uint64_t size_bytes;
    struct step *step = &original->steps[original->step_count++];
    assert_true(original->step_count <= MAX_STEPS);
    velta_get_stats(db, &stats);
    step->sequence = stats.sequence;
    assert_ok(velta_export(db, &bytes, &size_bytes, NULL, &error), &error);
    assert_ok(velta_import(bytes, size_bytes, NULL, &step->db, &error), &error);
    velta_export_free(db, bytes, size_bytes);
    original->now_ms += 10;
}

static void copy_files(const struct fake_storage *from, struct fake_storage *to) {
    for (int file = STORAGE_DATA; file <= STORAGE_LOG; file++) {
        fake_storage_set(to, (enum storage_file)file, from->now[file].bytes, from->now[file].size_bytes);
    }
}

/* The newest root of the data file. */
static inline struct storage_root newest_root(const struct fake_storage *files) {
    struct storage_root roots[2];
    bool valid[2];
    for (unsigned slot = 0; slot < 2; slot++) {
        valid[slot] = storage_root_decode(files->now[STORAGE_DATA].bytes + slot * STORAGE_ROOT_BYTES, slot,
                                          &roots[slot]) == STORAGE_ROOT_VALID;
    }
    return roots[valid[1] && (!valid[0] || roots[1].generation > roots[0].generation)];
}

/* Damages the segment of the newest root that has this key. */
static inline void overwrite_segment(struct fake_storage *files, const struct segment_key *key) {
    struct storage_root root = newest_root(files);
    size_t count = (size_t)(root.directory_bytes / STORAGE_DIRECTORY_ENTRY_BYTES);
    struct segment *segments = malloc(count * sizeof *segments);
    assert_int_equal(
        storage_directory_decode(files->now[STORAGE_DATA].bytes + root.directory_offset, &root, segments, count, NULL),
        VELTA_OK);
    size_t i = 0;
    while (i < count && storage_compare_keys(&segments[i].key, key) != 0)
        i++;
    assert_true(i < count);
    files->now[STORAGE_DATA].bytes[segments[i].offset + segments[i].size_bytes / 2] ^= 1;
    free(segments);
}

static const struct velta_column words_schema[] = {
    {.name = "name", .type = VELTA_STRING, .primary_key = true},
    {.name = "weight", .type = VELTA_FLOAT, .required = true},
    {.name = "kind", .type = VELTA_STRING, .required = true},
    {.name = "note", .type = VELTA_BYTES},
};
static const struct velta_column plain_schema[] = {
    {.name = "n", .type = VELTA_INT},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = 3, .metric = VELTA_L2, .no_index = true},
};

static void insert_words(velta_table *table, unsigned first, uint32_t count) {
    struct velta_error error = {0};
    char names[1024];
    uint64_t offsets[65] = {0};
    char kinds[1024];
    uint64_t kind_offsets[65] = {0};
    double weights[64];
    uint64_t valid[1] = {UINT64_C(0x5555555555555555)};
    for (uint32_t i = 0; i < count; i++) {
        offsets[i + 1] = offsets[i] + (uint64_t)sprintf(names + offsets[i], "name-%u", first + i);
        kind_offsets[i + 1] = kind_offsets[i] + (uint64_t)sprintf(kinds + kind_offsets[i], "k%u", (first + i) % 5);
        weights[i] = (first + i) / 3.0;
    }
    struct velta_values values[] = {
        {.column = "name", .data = names, .offsets = offsets},
        {.column = "weight", .data = weights},
        {.column = "kind", .data = kinds, .offsets = kind_offsets},
        {.column = "note", .data = names, .offsets = offsets, .valid = valid},
    };
    assert_ok(velta_insert(table, values, 4, count, NULL, NULL, &error), &error);
}

static inline void insert_plain(velta_table *table, int64_t first, uint32_t count) {
    struct velta_error error = {0};
    int64_t numbers[64];
    float vectors[64 * 3];
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = first + i;
        vectors[3 * i] = (float)i;
        vectors[3 * i + 1] = (float)first;
        vectors[3 * i + 2] = 0.5F;
    }
    struct velta_values values[] = {{.column = "n", .data = numbers}, {.column = "v", .data = vectors}};
    assert_ok(velta_insert(table, values, 2, count, NULL, NULL, &error), &error);
}

static inline void change_vectors(velta_table *table, const char *column, int64_t first) {
    struct velta_error error = {0};
    float vector[SAMPLE_DIMENSIONS] = {1, -2, 3, -4, 5, -6, 7, 0.5F};
    struct velta_delta deltas[6];
    for (int i = 0; i < 6; i++) {
        deltas[i] = (struct velta_delta){.operation = i % 3 == 0 ? VELTA_DELTA_DENSE : VELTA_DELTA_SCALE,
                                         .set = i == 3,
                                         .key_int = first + 7 * i,
                                         .count = i % 3 == 0 ? SAMPLE_DIMENSIONS : 0,
                                         .values = i % 3 == 0 ? vector : NULL,
                                         .amount = i % 3 == 0 ? 0 : 0.25F};
    }
    assert_ok(velta_apply(table, column, deltas, 6, 0, NULL, &error), &error);
}

static inline void set_sizes(velta_table *table, int64_t first, uint32_t count) {
    struct velta_error error = {0};
    int64_t ids[16];
    int64_t sizes[16];
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = first + 2 * i;
        sizes[i] = -first - i;
    }
    struct velta_values value = {.column = "size", .data = sizes};
    assert_ok(velta_update(table, &(struct velta_keys){.ints = ids}, count, &value, 1, NULL, &error), &error);
}

static inline void make_original(struct original *original, velta_table **tables, velta *db) {
    struct velta_error error = {0};
    int64_t ids[] = {3, 4, 5, 17, 60};
    int64_t times[] = {50000, 60000, INT64_MAX, 70000, 900000};
    struct velta_keys keys = {.ints = ids};
    sample_insert(tables[0], 0, 70, 1);
    note_step(original, db);
    assert_ok(velta_table_create(db, "words", words_schema, 4, &tables[1], &error), &error);
    note_step(original, db);
    assert_ok(velta_table_create(db, "plain", plain_schema, 2, &tables[2], &error), &error);
    note_step(original, db);
    insert_words(tables[1], 0, 30);
    note_step(original, db);
    insert_plain(tables[2], 100, 20);
    note_step(original, db);
    assert_ok(velta_delete(tables[0], &keys, 3, NULL, &error), &error);
    note_step(original, db);
    assert_ok(velta_index(db, 0, NULL, NULL, &error), &error);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    change_vectors(tables[0], "v", 8);
    note_step(original, db);
    assert_ok(velta_expire_at(tables[0], &(struct velta_keys){.ints = ids + 3}, 2, times, &error), &error);
    note_step(original, db);
    set_sizes(tables[0], 20, 10);
    note_step(original, db);
    assert_ok(velta_tag(db, "middle", &error), &error);
    note_step(original, db);
    copy_files(&original->files, &original->before);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    sample_insert(tables[0], 100, 12, 2);
    note_step(original, db);
    set_sizes(tables[0], 40, 8);
    note_step(original, db);
    change_vectors(tables[0], "v", 9);
    note_step(original, db);
    change_vectors(tables[0], "c", 9);
    note_step(original, db);
    change_vectors(tables[0], "h", 1);
    note_step(original, db);
    insert_words(tables[1], 30, 6);
    note_step(original, db);
    assert_ok(
        velta_delete(tables[1], &(struct velta_keys){.text = "name-7", .offsets = (uint64_t[]){0, 6}}, 1, NULL, &error),
        &error);
    note_step(original, db);
    insert_words(tables[1], 7, 1); /* a key that was deleted */
    note_step(original, db);
    assert_ok(velta_expire_at(tables[0], &(struct velta_keys){.ints = ids + 3}, 2, times + 2, &error), &error);
    note_step(original, db);
    insert_plain(tables[2], 500, 5);
    note_step(original, db);
}

static inline struct original *original_make(void) {
    struct original *original = calloc(1, sizeof *original);
    struct velta_error error = {0};
    velta_table *tables[3];
    velta *db = NULL;
    original->now_ms = 1000;
    fake_storage_init(&original->files);
    fake_storage_init(&original->before);
    struct velta_host host = host_over(&original->files);
    struct velta_options options = {.host = &host,
                                    .now_ms = sample_clock,
                                    .now_context = &original->now_ms,
                                    .chain_interval = 3,
                                    .thread_count = 1};
    assert_ok(velta_open(NULL, &options, &db, &error), &error);
    note_step(original, db);
    assert_ok(velta_table_create(db, "t", sample_schema, SAMPLE_COLUMNS, &tables[0], &error), &error);
    note_step(original, db);
    make_original(original, tables, db);
    assert_ok(velta_close(db, &error), &error);
    return original;
}

static inline void original_free(struct original *original) {
    for (size_t i = 0; i < original->step_count; i++) {
        assert_int_equal(velta_close(original->steps[i].db, NULL), VELTA_OK);
    }
    fake_storage_release(&original->files);
    fake_storage_release(&original->before);
    free(original);
}

#endif
