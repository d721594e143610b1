/*
 * Logs whose frames are whole, with right checksums, but whose changes cannot be: opening refuses each with CORRUPT,
 * the byte of the frame and the reason, and changes no byte of the files. The same with a change that can be shows that
 * the frames are well made. And frames that are well made but of another store, or of an earlier one in the same files.
 */
#include "tests/unit/store_testing.h"

#include "delta/record.h"
#include "tests/support/fake_storage.h"

enum { ROWS = 10, DEAD = 3, NEXT = 0 }; /* NEXT: the sequence number that is due */

static void execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    fake_storage_execute(context, operation, result);
}

static void keep(void *context) {
    (void)context; /* the files outlive the database */
}

static struct velta_host host_over(struct fake_storage *files) {
    return (struct velta_host){.context = files, .execute = execute, .close = keep};
}

static int64_t clock_ms = 5000;

static velta *open_over(struct fake_storage *files, struct velta_error *error, enum velta_status expected) {
    struct velta_host host = host_over(files);
    struct velta_options options = {.host = &host, .now_ms = sample_clock, .now_context = &clock_ms, .thread_count = 1};
    velta *db = NULL;
    enum velta_status status = velta_open(NULL, &options, &db, error);
    if (status != expected) fail_msg("%s: %s", velta_status_name(status), error->text);
    return db;
}

/* Table 0 "t" with 10 rows, row 3 deleted and the vector of row 6 NULL; table 1 dropped. Returns the next sequence. */
static uint64_t make_base(struct fake_storage *files) {
    static const struct velta_column column = {.name = "a", .type = VELTA_INT};
    struct velta_error error = {0};
    struct velta_stats stats;
    velta_table *table;
    velta_table *gone;
    int64_t dead = DEAD;
    velta *db = open_over(files, &error, VELTA_OK);
    assert_ok(velta_table_create(db, "t", sample_schema, SAMPLE_COLUMNS, &table, &error), &error);
    assert_ok(velta_table_create(db, "gone", &column, 1, &gone, &error), &error);
    sample_insert(table, 0, ROWS, 1);
    assert_ok(velta_delete(table, &(struct velta_keys){.ints = &dead}, 1, NULL, &error), &error);
    assert_ok(velta_table_drop(gone, &error), &error);
    velta_get_stats(db, &stats);
    assert_ok(velta_close(db, &error), &error);
    return stats.sequence + 1;
}

/* ---- frames as a hostile writer would make them: every table number has the sample's columns, or fewer, or more */

static uint32_t written_columns = SAMPLE_COLUMNS;

static const struct velta_column *const *any_columns(void *context, uint32_t table, uint32_t *column_count) {
    static const struct velta_column *columns[SAMPLE_COLUMNS + 1];
    (void)context;
    (void)table;
    for (size_t i = 0; i < SAMPLE_COLUMNS; i++) {
        columns[i] = &sample_schema[i];
    }
    columns[SAMPLE_COLUMNS] = &sample_schema[2]; /* one column more than there is */
    *column_count = written_columns;
    return columns;
}

static uint32_t any_rows(void *context, uint32_t table) {
    (void)context;
    (void)table;
    return 1000;
}

static void run(struct fake_storage *files, struct storage *storage, enum velta_status begun) {
    struct velta_error error = {0};
    assert_int_equal(begun, VELTA_OK);
    assert_ok(fake_storage_run(files, storage, &error), &error);
}

/* Appends one frame with this change. */
static void append(struct fake_storage *files, const struct change *change) {
    static const struct record_schema schema = {.columns = any_columns, .row_count = any_rows};
    struct velta_error error = {0};
    struct storage *storage;
    struct record_buffer *buffer;
    struct memory *memory = memory_create(NULL, 0);
    written_columns = change->kind == CHANGE_ROWS_INSERT ? change->column_count : SAMPLE_COLUMNS + 1;
    size_t size_bytes = 1;
    uint64_t offset;
    assert_ok(storage_create(memory, &storage, &error), &error);
    run(files, storage, storage_begin_open(storage, false, &error));
    do {
        run(files, storage, storage_begin_replay(storage, &error));
    } while (storage_replayed_body(storage, &size_bytes, &offset));
    assert_ok(record_buffer_create(memory, &buffer, &error), &error);
    assert_ok(record_buffer_add(buffer, &schema, change, &error), &error);
    size_t capacity = record_body_bound(buffer);
    uint8_t *body = malloc(capacity);
    assert_ok(record_body_write(buffer, body, capacity, &size_bytes, &error), &error);
    run(files, storage, storage_begin_append(storage, body, size_bytes, true, &error));
    run(files, storage, storage_begin_close(storage, &error));
    free(body);
    record_buffer_destroy(buffer);
    storage_destroy(storage);
    memory_destroy(memory);
}

/* Opens a copy of the files with one more change. says NULL: it must open. */
static void try_change(const struct fake_storage *base, uint64_t due, struct change change, const char *says) {
    struct velta_error error = {0};
    struct fake_storage files;
    fake_storage_init(&files);
    for (int i = 0; i < 2; i++) {
        fake_storage_set(&files, (enum storage_file)i, base->now[i].bytes, base->now[i].size_bytes);
    }
    uint64_t log_bytes = files.now[STORAGE_LOG].size_bytes;
    change.sequence = change.sequence == NEXT ? due : change.sequence;
    change.time_ms = change.time_ms == 0 ? clock_ms : change.time_ms;
    append(&files, &change);
    if (!says) {
        velta *db = open_over(&files, &error, VELTA_OK);
        assert_verifies(db);
        assert_ok(velta_close(db, &error), &error);
    } else {
        size_t size_bytes = files.now[STORAGE_LOG].size_bytes;
        uint8_t *before = malloc(size_bytes);
        memcpy(before, files.now[STORAGE_LOG].bytes, size_bytes);
        assert_null(open_over(&files, &error, VELTA_CORRUPT));
        if (!strstr(error.text, says)) fail_msg("'%s' does not say '%s'", error.text, says);
        assert_true(error.offset >= log_bytes && error.offset < size_bytes);
        assert_non_null(strstr(error.text, "the log cannot be replayed at byte"));
        assert_int_equal(files.now[STORAGE_LOG].size_bytes, size_bytes);
        assert_memory_equal(files.now[STORAGE_LOG].bytes, before, size_bytes);
        struct velta_host host = host_over(&files);
        velta *db = NULL;
        assert_status(velta_open(NULL, &(struct velta_options){.host = &host}, &db, NULL), VELTA_CORRUPT);
        free(before);
    }
    fake_storage_release(&files);
}

static void changes_out_of_turn(void **state) {
    (void)state;
    struct fake_storage base;
    static const struct velta_column column = {.name = "a", .type = VELTA_INT};
    fake_storage_init(&base);
    uint64_t due = make_base(&base);
    struct change tag = {.kind = CHANGE_TAG, .name = "now"};
    try_change(&base, due, tag, NULL);
    tag.sequence = due + 1;
    try_change(&base, due, tag, "stands where");
    tag.sequence = due - 1;
    try_change(&base, due, tag, "stands where");
    tag.sequence = NEXT;
    tag.time_ms = 4999;
    try_change(&base, due, tag, "time goes back");
    struct change create = {
        .kind = CHANGE_TABLE_CREATE, .table = 2, .name = "new", .columns = &column, .column_count = 1};
    try_change(&base, due, create, NULL);
    create.table = 3;
    try_change(&base, due, create, "out of turn");
    create.table = 0;
    try_change(&base, due, create, "out of turn");
    create.table = 2;
    create.name = "gone"; /* dropped: its name is free */
    try_change(&base, due, create, NULL);
    create.name = "t";
    try_change(&base, due, create, "made twice");
    create.name = "new";
    create.column_count = 0; /* no snapshot could hold it */
    try_change(&base, due, create, "columns");
    struct change drop = {.kind = CHANGE_TABLE_DROP};
    try_change(&base, due, drop, NULL);
    drop.table = 1;
    try_change(&base, due, drop, "table");
    drop.table = 2;
    try_change(&base, due, drop, "table");
    struct change add = {.kind = CHANGE_COLUMN_ADD, .columns = &column, .column_count = 1};
    try_change(&base, due, add, NULL);
    add.columns = &sample_schema[1];
    try_change(&base, due, add, "word");
    fake_storage_release(&base);
}

static void rows_that_cannot_be_changed(void **state) {
    (void)state;
    static const int64_t numbers[] = {7, 8};
    struct fake_storage base;
    fake_storage_init(&base);
    uint64_t due = make_base(&base);
    struct column_values values = {.data = numbers};
    static const struct {
        uint32_t rows[2];
        const char *says;
    } cases[] = {{{1, 2}, NULL}, {{DEAD, 4}, "is not there"}, {{4, ROWS}, "a row"}, {{2, 2}, ""},
                 {{5, 4}, ""},   {{ROWS + 7, 4}, "a row"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct change change = {.kind = CHANGE_ROWS_SET,
                                .column = 2,
                                .rows = cases[i].rows,
                                .row_count = 2,
                                .values = &values,
                                .times_ms = numbers};
        try_change(&base, due, change, cases[i].says);
        change.kind = CHANGE_ROWS_DELETE;
        try_change(&base, due, change, cases[i].says);
        change.kind = CHANGE_ROWS_EXPIRY;
        try_change(&base, due, change, cases[i].says);
    }
    struct change set = {
        .kind = CHANGE_ROWS_SET, .column = 2, .rows = cases[0].rows, .row_count = 2, .values = &values};
    set.column = SAMPLE_COLUMNS;
    try_change(&base, due, set, "");
    set.column = 0; /* the key */
    try_change(&base, due, set, "");
    set.column = 2;
    set.table = 1;
    try_change(&base, due, set, "");
    set.table = 9;
    try_change(&base, due, set, "");
    fake_storage_release(&base);
}

static void vectors_that_cannot_be_changed(void **state) {
    (void)state;
    struct fake_storage base;
    fake_storage_init(&base);
    uint64_t due = make_base(&base);
    static const struct {
        uint32_t column, row;
        float amount;
        const char *says;
    } cases[] = {
        {7, 1, 2, NULL},     {8, 1, 2, NULL},        {9, 1, 2, NULL},           {7, DEAD, 2, "is not there"},
        {7, ROWS, 2, "row"}, {7, 6, 2, "no vector"}, {7, 1, 3e38F, ""}, /* then offset by as much: not finite */
        {8, 1, 3e38F, ""},   {2, 1, 2, ""},          {SAMPLE_COLUMNS, 1, 2, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vector_delta deltas[] = {
            {.operation = DELTA_OFFSET, .row = cases[i].row, .amount = cases[i].amount},
            {.operation = DELTA_SCALE, .row = cases[i].row, .amount = cases[i].amount > 2 ? cases[i].amount : 1},
        };
        struct change change = {.kind = CHANGE_VECTORS, .column = cases[i].column, .deltas = deltas, .delta_count = 2};
        try_change(&base, due, change, cases[i].says);
    }
    fake_storage_release(&base);
}

static void rows_that_cannot_be_added(void **state) {
    (void)state;
    struct fake_storage base;
    fake_storage_init(&base);
    uint64_t due = make_base(&base);
    struct sample sample;
    sample_make(&sample, 100, 5, 9);
    struct column_values values[SAMPLE_COLUMNS + 1];
    for (size_t c = 0; c < SAMPLE_COLUMNS; c++) {
        values[c] = (struct column_values){
            .data = sample.values[c].data, .offsets = sample.values[c].offsets, .valid = sample.values[c].valid};
    }
    values[SAMPLE_COLUMNS] = values[2];
    struct change insert = {.kind = CHANGE_ROWS_INSERT,
                            .first_row = ROWS,
                            .row_count = 5,
                            .values = values,
                            .column_count = SAMPLE_COLUMNS};
    try_change(&base, due, insert, NULL);
    insert.first_row = ROWS + 1;
    try_change(&base, due, insert, "rows");
    insert.first_row = ROWS - 1;
    try_change(&base, due, insert, "rows");
    insert.first_row = ROWS;
    insert.column_count = SAMPLE_COLUMNS + 1;
    try_change(&base, due, insert, "");
    insert.column_count = SAMPLE_COLUMNS - 1;
    try_change(&base, due, insert, "");
    insert.column_count = SAMPLE_COLUMNS;
    sample.ids[4] = 1; /* is there already */
    try_change(&base, due, insert, "");
    sample.ids[4] = sample.ids[2];
    try_change(&base, due, insert, "");
    sample.ids[4] = DEAD; /* is free again */
    try_change(&base, due, insert, NULL);
    sample_free(&sample);
    fake_storage_release(&base);
}

/* ---- a log of another store, or of an earlier life, which began as this one did but at another time */

static void frames_of_another_life(void **state) {
    (void)state;
    enum { FIRST_FRAME_BYTES = 64 };
    struct fake_storage own;
    struct fake_storage other;
    struct velta_error error = {0};
    fake_storage_init(&own);
    fake_storage_init(&other);
    (void)make_base(&own);
    clock_ms++;
    (void)make_base(&other);
    struct fake_file *log = &other.now[STORAGE_LOG];
    assert_true(log->size_bytes > FIRST_FRAME_BYTES && log->size_bytes == own.now[STORAGE_LOG].size_bytes);
    /* The whole of it. */
    fake_storage_set(&own, STORAGE_LOG, log->bytes, log->size_bytes);
    assert_null(open_over(&own, &error, VELTA_CORRUPT));
    /* What it left behind the first frame of this one. */
    fake_storage_release(&own);
    fake_storage_init(&own);
    clock_ms--;
    velta *db = open_over(&own, &error, VELTA_OK);
    assert_ok(velta_close(db, &error), &error);
    memcpy(log->bytes, own.now[STORAGE_LOG].bytes, FIRST_FRAME_BYTES);
    fake_storage_set(&own, STORAGE_LOG, log->bytes, log->size_bytes);
    db = open_over(&own, &error, VELTA_OK);
    assert_null(velta_table_at(db, 0));
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&own);
    fake_storage_release(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_out_of_turn),
        cmocka_unit_test(rows_that_cannot_be_changed),
        cmocka_unit_test(vectors_that_cannot_be_changed),
        cmocka_unit_test(rows_that_cannot_be_added),
        cmocka_unit_test(frames_of_another_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
