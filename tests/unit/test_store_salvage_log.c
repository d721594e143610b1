/*
 * What salvage makes of the log where it meets lost rows and deleted rows that are back, of frames and roots that are
 * whole but do not belong together, and of hosts that fail.
 */
#include "tests/unit/salvage_original.h"

#include "delta/snapshot.h"

enum { FIRST = 10, LAST = 20 }; /* rows 0 .. FIRST are in the checkpoint, those up to LAST in the log */

struct told {
    unsigned of_kind[VELTA_LOSS_NOTHING + 1];
    unsigned of_rows; /* changes of single rows that were left out */
    char last[240];
};

static void hear(void *context, const struct velta_loss *loss) {
    struct told *told = context;
    told->of_kind[loss->kind]++;
    told->of_rows += loss->kind == VELTA_LOSS_CHANGES && loss->row_count == 1;
    snprintf(told->last, sizeof told->last, "%s", loss->text);
}

static velta *salvage(struct fake_storage *files, struct told *told) {
    struct velta_error error = {0};
    struct velta_host host = host_over(files);
    struct velta_options options = {.host = &host, .thread_count = 1};
    velta *db = NULL;
    *told = (struct told){.of_rows = 0};
    assert_ok(velta_salvage(NULL, &options, hear, told, &db, &error), &error);
    assert_verifies(db);
    return db;
}

static velta *open_over(struct fake_storage *files, velta_table **table) {
    struct velta_host host = host_over(files);
    struct velta_options options = {.host = &host, .thread_count = 1};
    fake_storage_init(files);
    return sample_open(&options, NULL, table);
}

/* ---- rows */

/* Deleted rows that are back give way to new ones with their keys, numbers and texts. */
static void rows_that_are_back_give_way(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    struct told told;
    velta_table *table;
    velta_table *words;
    velta_table *pairs;
    static const struct velta_column pairs_schema[] = {{.name = "n", .type = VELTA_INT},
                                                       {.name = "key", .type = VELTA_INT, .primary_key = true}};
    velta *db = open_over(&files, &table);
    assert_ok(velta_table_create(db, "words", words_schema, 4, &words, &error), &error);
    assert_ok(velta_table_create(db, "pairs", pairs_schema, 2, &pairs, &error), &error);
    sample_insert(table, 0, 10, 1);
    insert_words(words, 0, 30);
    static const int64_t numbers[] = {70, 80};
    struct velta_values pair[] = {{.column = "n", .data = numbers}, {.column = "key", .data = numbers + 1}};
    assert_ok(velta_insert(pairs, pair, 2, 1, NULL, NULL, &error), &error);
    assert_ok(velta_delete(pairs, &(struct velta_keys){.ints = numbers + 1}, 1, NULL, &error), &error);
    int64_t ids[] = {4, 8, 9};
    uint64_t offsets[] = {0, 7};
    assert_ok(velta_delete(table, &(struct velta_keys){.ints = ids}, 3, NULL, &error), &error);
    assert_ok(velta_delete(words, &(struct velta_keys){.text = "name-29", .offsets = offsets}, 1, NULL, &error),
              &error);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    sample_insert(table, 8, 4, 2);
    insert_words(words, 29, 3);
    assert_ok(velta_insert(pairs, pair, 2, 1, NULL, NULL, &error), &error);
    for (uint32_t t = 0; t < 3; t++) {
        overwrite_segment(&files, &(struct segment_key){SEGMENT_ROWS, t, 0, 0});
        overwrite_segment(&files, &(struct segment_key){SEGMENT_HISTORY, t, 0, 0});
    }
    velta *saved = salvage(&files, &told);
    velta_table *again;
    assert_int_equal(told.of_kind[VELTA_LOSS_DELETIONS], 3);
    assert_int_equal(told.of_kind[VELTA_LOSS_HISTORY], 3);
    assert_int_equal(told.of_kind[VELTA_LOSS_CHANGES], 0);
    assert_ok(velta_table_find(saved, "t", &again, &error), &error);
    assert_int_equal(velta_live_count(again), 12); /* of the deleted ones only 4 is back */
    for (int64_t id = 8; id < 12; id++) {
        uint32_t row = row_of(again, id), original = row_of(table, id);
        assert_int_equal(int_of(again, row, "made", 0), int_of(table, original, "made", 0));
    }
    assert_ok(velta_table_find(saved, "words", &again, &error), &error);
    assert_int_equal(velta_live_count(again), 32);
    assert_ok(velta_table_find(saved, "pairs", &again, &error), &error);
    assert_int_equal(velta_live_count(again), 1);
    assert_ok(velta_close(saved, &error), &error);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
}

/* Sets a column of the rows with the ids 5 .. 15, of which the first five will be lost. */
static void set_column(velta_table *table, struct velta_values values) {
    struct velta_error error = {0};
    int64_t ids[10];
    for (int i = 0; i < 10; i++)
        ids[i] = 5 + i;
    assert_ok(velta_update(table, &(struct velta_keys){.ints = ids}, 10, &values, 1, NULL, &error), &error);
}

static void change_every_column(velta_table *table) {
    struct velta_error error = {0};
    struct sample sample;
    uint16_t halves[10 * SAMPLE_DIMENSIONS];
    struct velta_delta deltas[10];
    int64_t ids[] = {8, 9, 17, 18}, ends_ms[] = {1, 2, INT64_MAX - 1, INT64_MAX - 2};
    sample_make(&sample, 0, 10, 77);
    for (size_t c = 1; c < SAMPLE_COLUMNS; c++)
        set_column(table, sample.values[c]);
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++)
        halves[i] = (uint16_t)(0x3C00 + i); /* 1 and more */
    set_column(table, (struct velta_values){.column = "h", .data = halves, .element = VELTA_F16});
    set_column(table, (struct velta_values){.column = "size"}); /* NULL everywhere */
    for (int i = 0; i < 10; i++)
        deltas[i] = (struct velta_delta){.operation = VELTA_DELTA_OFFSET, .key_int = 5 + i, .amount = 0.5F};
    assert_ok(velta_apply(table, "h", deltas, 10, 0, NULL, &error), &error);
    assert_ok(velta_expire_at(table, &(struct velta_keys){.ints = ids}, 4, ends_ms, &error), &error);
    int64_t dead[] = {6, 7, 19};
    assert_ok(velta_delete(table, &(struct velta_keys){.ints = dead}, 3, NULL, &error), &error);
    sample_free(&sample);
}

/* The values of some rows of two tables are the same, byte for byte. */
static void same_values(velta_table *a, const uint32_t *rows_a, velta_table *b, const uint32_t *rows_b, size_t count) {
    static const size_t sizes[SAMPLE_COLUMNS] = {8, 0, 8, 8, 1, 8, 0, 32, 32, 0};
    struct velta_error error = {0};
    for (size_t c = 0; c < SAMPLE_COLUMNS - 1; c++) { /* codes are made of what went before, too */
        const char *name = sample_schema[c].name;
        for (size_t i = 0; i < count; i++) {
            velta_result *results[2];
            struct velta_values values[2];
            enum velta_type type;
            assert_ok(velta_get(a, rows_a + i, 1, &name, 1, 0, &results[0], &error), &error);
            assert_ok(velta_get(b, rows_b + i, 1, &name, 1, 0, &results[1], &error), &error);
            assert_ok(velta_result_column(results[0], 0, &values[0], &type), &error);
            assert_ok(velta_result_column(results[1], 0, &values[1], &type), &error);
            bool null = values[0].valid && !(values[0].valid[0] & 1);
            assert_int_equal(null, values[1].valid && !(values[1].valid[0] & 1));
            size_t size_bytes = values[0].offsets ? (size_t)values[0].offsets[1] : sizes[c];
            if (!null && values[1].offsets) assert_int_equal(size_bytes, values[1].offsets[1]);
            if (!null) assert_memory_equal(values[0].data, values[1].data, size_bytes);
            velta_result_free(results[0]);
            velta_result_free(results[1]);
        }
    }
}

/* Of a change of the log, the rows that are lost are left out and told; the others get their values. */
static void changes_of_lost_rows_are_left_out(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    struct told told;
    velta_table *table;
    velta *db = open_over(&files, &table);
    sample_insert(table, 0, FIRST, 1);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    sample_insert(table, FIRST, LAST - FIRST, 2);
    change_every_column(table);
    overwrite_segment(&files, &(struct segment_key){SEGMENT_COLUMN, 0, 0, 0}); /* the keys */
    velta *saved = salvage(&files, &told);
    velta_table *again;
    uint32_t rows[2][LAST - FIRST - 1];
    assert_ok(velta_table_find(saved, "t", &again, &error), &error);
    assert_int_equal(velta_live_count(again), LAST - FIRST - 1);
    assert_int_equal(told.of_kind[VELTA_LOSS_ROWS], 1);
    /* Five rows of each of eleven sets and one change of vectors, and two expiries; deleting them loses nothing. */
    assert_int_equal(told.of_rows, 5 * (SAMPLE_COLUMNS - 1 + 2 + 1) + 2);
    assert_non_null(strstr(told.last, "rests on what is lost"));
    for (int i = 0; i < LAST - FIRST - 1; i++) {
        rows[0][i] = row_of(table, FIRST + i);
        rows[1][i] = row_of(again, FIRST + i);
    }
    same_values(table, rows[0], again, rows[1], LAST - FIRST - 1);
    assert_ok(velta_close(saved, &error), &error);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
}

/* Rows that lost a required value leave their indexes, too. */
static void rows_leave_their_indexes(void **state) {
    (void)state;
    static const struct velta_column schema[] = {
        {.name = "n", .type = VELTA_INT, .required = true},
        {.name = "v", .type = VELTA_VECTOR, .dimensions = 2, .metric = VELTA_L2}};
    static const int64_t numbers[] = {1, 2, 3};
    static const uint64_t two = 3; /* the third has no vector */
    static const float vectors[] = {1, 2, 3, 4, 5, 6};
    struct velta_error error = {0};
    struct fake_storage files;
    struct told told;
    velta_table *table;
    velta_table *needs;
    velta_result *result;
    velta *db = open_over(&files, &table);
    struct velta_values values[] = {{.column = "n", .data = numbers}, {.column = "v", .data = vectors, .valid = &two}};
    assert_ok(velta_table_create(db, "needs", schema, 2, &needs, &error), &error);
    assert_ok(velta_insert(needs, values, 2, 3, NULL, NULL, &error), &error);
    /* By row: a dead one is not there. */
    uint32_t dead = 1;
    struct velta_delta delta = {.operation = VELTA_DELTA_SCALE, .row = dead, .amount = 2};
    assert_ok(velta_delete(needs, &(struct velta_keys){.rows = &dead}, 1, NULL, &error), &error);
    assert_status(velta_apply(needs, "v", &delta, 1, 0, NULL, &error), VELTA_NOT_FOUND);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    assert_ok(velta_insert(needs, values, 2, 3, NULL, NULL, &error), &error);
    overwrite_segment(&files, &(struct segment_key){SEGMENT_COLUMN, 1, 0, 0});
    velta *saved = salvage(&files, &told);
    assert_ok(velta_table_find(saved, "needs", &needs, &error), &error);
    assert_int_equal(velta_live_count(needs), 3);
    struct velta_search search = {.column = "v", .queries = vectors, .query_count = 1, .k = 9};
    assert_ok(velta_search(needs, &search, &result, &error), &error);
    assert_true(velta_result_rows(result)[1] != VELTA_NO_ROW && velta_result_rows(result)[2] == VELTA_NO_ROW);
    velta_result_free(result);
    assert_ok(velta_close(saved, &error), &error);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
}

/* ---- frames */

/* The offset of frame `number`. */
static uint64_t frame_offset(const struct fake_file *log, uint32_t number) {
    uint64_t at = 0;
    struct storage_frame frame;
    for (uint32_t i = 0; i < number; i++) {
        assert_true(storage_frame_decode(log->bytes + at, &frame));
        at += STORAGE_FRAME_HEADER_BYTES + (uint64_t)frame.body_bytes;
    }
    return at;
}

enum craft { NUMBER, PREVIOUS, SYNCED, GENERATION, OLDER, SALT, BODY_FIRST, NO_COMMIT, CRAFTS };

/* Writes the header of frame `number` anew, in one way changed and with a right checksum. */
static void craft_frame(struct fake_file *log, uint32_t number, enum craft craft) {
    uint8_t *at = log->bytes + frame_offset(log, number);
    struct storage_frame frame;
    assert_true(storage_frame_decode(at, &frame));
    frame.number += craft == NUMBER;
    frame.previous ^= craft == PREVIOUS;
    frame.synced = craft == SYNCED ? log->size_bytes + 1 : frame.synced;
    frame.generation += craft == GENERATION ? 2 : 0;
    frame.generation -= craft == OLDER;
    frame.salt ^= craft == SALT;
    frame.body_bytes = craft == BODY_FIRST ? 10 : frame.body_bytes;
    frame.flags ^= craft == NO_COMMIT ? STORAGE_FRAME_COMMIT : 0;
    storage_frame_encode(&frame, at);
}

/* A frame of another place or another store is not followed: its changes and all behind it are told as lost. */
static void frames_of_elsewhere_end_the_log(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    struct fake_storage crafted;
    struct told told;
    velta_table *table;
    velta *db = open_over(&files, &table);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    for (int64_t i = 0; i < 6; i++)
        sample_insert(table, i, 1, 1);
    fake_storage_init(&crafted);
    for (int craft = NUMBER; craft < CRAFTS; craft++) {
        velta_table *again;
        copy_files(&files, &crafted);
        struct fake_file *log = &crafted.now[STORAGE_LOG];
        bool all = craft == GENERATION || craft == SALT || craft == OLDER;
        uint32_t number = craft == BODY_FIRST || all ? 0 : 4;
        for (uint32_t i = number; i <= (all ? 6U : number); i++)
            craft_frame(log, i, (enum craft)craft);
        if (craft == GENERATION) craft_frame(log, 3, OLDER);   /* the highest is told of */
        if (craft == PREVIOUS) craft_frame(log, 6, NO_COMMIT); /* not counted: part of a batch */
        velta *saved = salvage(&crafted, &told);
        assert_ok(velta_table_find(saved, "t", &again, &error), &error);
        assert_int_equal(velta_live_count(again), number == 0 ? 0 : 3);
        assert_int_equal(told.of_kind[VELTA_LOSS_CHANGES], 1);
        static const char *const says[CRAFTS] = {"3 batches", "2 batches",    "3 batches", "newer",
                                                 "older",     "another data", "7 batches", "2 batches"};
        if (!strstr(told.last, says[craft])) fail_msg("'%s' does not say '%s'", told.last, says[craft]);
        assert_ok(velta_close(saved, &error), &error);
    }
    /* The header of the first frame is damaged, and a later frame stands behind it. */
    copy_files(&files, &crafted);
    uint8_t *log = crafted.now[STORAGE_LOG].bytes;
    craft_frame(&crafted.now[STORAGE_LOG], 1, NUMBER);
    log[8] ^= 1;
    velta *saved = salvage(&crafted, &told);
    assert_int_equal(told.of_kind[VELTA_LOSS_CHANGES], 1);
    assert_non_null(strstr(told.last, "6 batches"));
    assert_ok(velta_close(saved, &error), &error);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
    fake_storage_release(&crafted);
}

/* ---- roots */

static void put_root(struct fake_storage *files, struct storage_root root) {
    unsigned slot = storage_root_slot(root.generation);
    storage_root_encode(&root, files->now[STORAGE_DATA].bytes + slot * STORAGE_ROOT_BYTES);
}

static void roots_of_elsewhere(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    struct fake_storage crafted;
    struct told told;
    velta_table *table;
    velta *db = open_over(&files, &table);
    sample_insert(table, 0, 5, 1);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    fake_storage_init(&crafted);
    struct storage_root newest = newest_root(&files), root, older;
    assert_int_equal(storage_root_decode(files.now[STORAGE_DATA].bytes +
                                             (1 - storage_root_slot(newest.generation)) * STORAGE_ROOT_BYTES,
                                         1 - storage_root_slot(newest.generation), &older),
                     STORAGE_ROOT_VALID);
    velta *saved;
    /* Roots that cannot be of one store: by the checksum, and by the generation. */
    for (int by_generation = 0; by_generation < 2; by_generation++) {
        copy_files(&files, &crafted);
        root = newest;
        root.generation += by_generation ? 2 : 0;
        root.previous_checksum ^= by_generation ? 0 : 1;
        put_root(&crafted, root);
        saved = salvage(&crafted, &told);
        assert_true(told.of_kind[VELTA_LOSS_CHANGES] >= 1);
        assert_ok(velta_close(saved, &error), &error);
    }
    /* The newest cannot be used, whatever is wrong with it: the one before is. */
    for (int i = 0; i < 2; i++) {
        copy_files(&files, &crafted);
        root = newest;
        root.meta.sequence = i == 0 ? 0 : root.meta.sequence;
        root.directory_bytes = i == 0 ? root.directory_bytes : 0;
        put_root(&crafted, root);
        saved = salvage(&crafted, &told);
        assert_true(told.of_kind[VELTA_LOSS_CHANGES] >= 1);
        assert_ok(velta_close(saved, &error), &error);
        struct velta_host host = host_over(&crafted);
        velta *opened = NULL;
        enum velta_status status = velta_open(NULL, &(struct velta_options){.host = &host}, &opened, &error);
        assert_status(status, VELTA_CORRUPT);
    }
    /* A root of a later version: nothing is guessed. */
    for (unsigned slot = 0; slot < 2; slot++) {
        copy_files(&files, &crafted);
        root = storage_root_slot(newest.generation) == slot ? newest : older;
        root.flags |= 128;
        put_root(&crafted, root);
        struct velta_host host = host_over(&crafted);
        saved = NULL;
        assert_status(velta_salvage(NULL, &(struct velta_options){.host = &host}, hear, &told, &saved, &error),
                      VELTA_VERSION);
        assert_int_equal(error.offset, slot * STORAGE_ROOT_BYTES);
        assert_null(saved);
    }
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
    fake_storage_release(&crafted);
}

enum directory_craft { NO_SCHEMA, EMPTY_SCHEMA, STRANGE_TABLE, DROPPED_TABLE, STRANGE_COLUMN, DIRECTORY_CRAFTS };

/* Writes the directory of the newest root anew. */
static void craft_directory(struct fake_storage *files, enum directory_craft craft) {
    struct storage_root root = newest_root(files);
    uint8_t *bytes = files->now[STORAGE_DATA].bytes + root.directory_offset;
    size_t count = (size_t)(root.directory_bytes / STORAGE_DIRECTORY_ENTRY_BYTES);
    struct segment *segments = malloc(count * sizeof *segments);
    assert_int_equal(storage_directory_decode(bytes, &root, segments, count, NULL), VELTA_OK);
    if (craft == NO_SCHEMA) memmove(segments, segments + 1, --count * sizeof *segments);
    if (craft == EMPTY_SCHEMA) segments[0].size_bytes = 0;
    if (craft == EMPTY_SCHEMA) segments[0].checksum = hash_bytes("", 0);
    if (craft == STRANGE_TABLE) segments[count - 1].key.table = 77;
    if (craft == DROPPED_TABLE) segments[count - 1].key.table = 1;
    if (craft == STRANGE_COLUMN) segments[count - 1].key.column = 77;
    storage_directory_encode(segments, count, bytes);
    root.directory_bytes = count * STORAGE_DIRECTORY_ENTRY_BYTES;
    root.directory_checksum = hash_bytes(bytes, (size_t)root.directory_bytes);
    put_root(files, root);
    free(segments);
}

/* Without a schema the checkpoint before is taken; segments of what the schema does not know are left out. */
static void directories_that_cannot_be(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    struct fake_storage crafted;
    struct told told;
    velta_table *table;
    velta *db = open_over(&files, &table);
    velta_table *gone;
    assert_ok(velta_table_create(db, "gone", sample_schema, 1, &gone, &error), &error);
    assert_ok(velta_table_drop(gone, &error), &error);
    sample_insert(table, 0, 5, 1);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    sample_insert(table, 5, 5, 1);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    fake_storage_init(&crafted);
    for (int craft = NO_SCHEMA; craft < DIRECTORY_CRAFTS; craft++) {
        velta_table *again;
        copy_files(&files, &crafted);
        craft_directory(&crafted, (enum directory_craft)craft);
        velta *saved = salvage(&crafted, &told);
        assert_ok(velta_table_find(saved, "t", &again, &error), &error);
        assert_int_equal(velta_live_count(again), craft <= EMPTY_SCHEMA ? 5 : 10);
        assert_true(told.of_kind[VELTA_LOSS_CHANGES] > 0); /* the log is not of the root written anew */
        assert_ok(velta_close(saved, &error), &error);
    }
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
    fake_storage_release(&crafted);
}

/* ---- hosts */

struct failing {
    struct fake_storage *files;
    enum storage_operation_kind kind;
    enum storage_file file;
};

/* A size cannot be read; reads find nothing. */
static void execute_failing(void *context, const struct storage_operation *operation, struct storage_result *result) {
    const struct failing *failing = context;
    fake_storage_execute(failing->files, operation, result);
    if (operation->kind == failing->kind && operation->file == failing->file) {
        *result = (struct storage_result){.status = failing->kind == STORAGE_SIZE ? VELTA_IO : VELTA_OK};
    }
}

static void failing_hosts_are_told(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct fake_storage files;
    velta_table *table;
    velta *db = open_over(&files, &table);
    sample_insert(table, 0, 5, 1);
    velta *saved = NULL;
    for (int file = STORAGE_DATA; file <= STORAGE_LOG; file++) {
        struct failing failing = {.files = &files, .kind = STORAGE_SIZE, .file = (enum storage_file)file};
        struct velta_host host = {.context = &failing, .execute = execute_failing, .close = stay_open};
        struct velta_options options = {.host = &host, .thread_count = 1};
        assert_status(velta_salvage(NULL, &options, NULL, NULL, &saved, &error), VELTA_IO);
        assert_non_null(strstr(error.text, file == STORAGE_DATA ? "the data file" : "the log file"));
        assert_null(saved);
    }
    struct failing failing = {.files = &files, .kind = STORAGE_READ, .file = STORAGE_LOG};
    struct velta_host host = {.context = &failing, .execute = execute_failing, .close = stay_open};
    struct velta_options options = {.host = &host, .thread_count = 1};
    /* Nobody listens: what is left comes all the same. The table was made by the log, which is not read. */
    assert_ok(velta_salvage(NULL, &options, NULL, NULL, &saved, &error), &error);
    assert_status(velta_table_find(saved, "t", &table, &error), VELTA_NOT_FOUND);
    assert_ok(velta_flush(saved, &error), &error); /* in memory: nothing to be written */
    assert_ok(velta_close(saved, &error), &error);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_are_back_give_way),     cmocka_unit_test(changes_of_lost_rows_are_left_out),
        cmocka_unit_test(frames_of_elsewhere_end_the_log), cmocka_unit_test(roots_of_elsewhere),
        cmocka_unit_test(directories_that_cannot_be),      cmocka_unit_test(rows_leave_their_indexes),
        cmocka_unit_test(failing_hosts_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
