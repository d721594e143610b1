/*
 * The schema of a snapshot with one field wrong, cut anywhere, or refused memory; and segments whose keys are wrong.
 * The schema is put together here by hand, as docs/FORMAT.md says.
 */
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "delta/snapshot.h"
#include "tests/support/support.h"

enum { SCHEMA_BYTES = 64 << 10, ROWS = 7, COLUMN_BYTES = 2 + 2 + 28, MANY_COLUMNS = 150 };

struct writer {
    uint8_t bytes[SCHEMA_BYTES];
    size_t size;
};

static void put(struct writer *writer, uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; i++)
        writer->bytes[writer->size++] = (uint8_t)(value >> 8 * i);
}

static void put_name(struct writer *writer, const char *name) {
    put(writer, strlen(name), 2);
    memcpy(writer->bytes + writer->size, name, strlen(name));
    writer->size += strlen(name);
}

/* type, flags, element, metric, dimensions, m, ef_construction, seed, the row that it was added at */
static void put_column(struct writer *writer, const char *name, enum velta_type type, uint32_t dimensions) {
    put_name(writer, name);
    put(writer, type, 1);
    put(writer, 0, 3);
    put(writer, dimensions, 4);
    put(writer, 0, 8); /* both */
    put(writer, 0, 8);
    put(writer, 0, 4);
}

/* Where the fields of `make_schema` are. */
enum {
    AT_TABLES = 0,
    AT_DROPPED = 4,
    AT_NAME = 5,
    AT_ROWS = 8,
    AT_EXPIRY = 12,
    AT_COLUMNS = 13,
    AT_COLUMN = 17,                       /* of "c1", a string */
    AT_VECTOR = AT_COLUMN + COLUMN_BYTES, /* of "c2" */
    AT_TAGS = AT_VECTOR + COLUMN_BYTES + 1,
};

/* A table "t" of a string and a vector; a dropped table; a tag "g". */
static void make_schema(struct writer *writer) {
    writer->size = 0;
    put(writer, 2, 4);
    put(writer, 0, 1);
    put_name(writer, "t");
    put(writer, ROWS, 4);
    put(writer, 1, 1);
    put(writer, 2, 4);
    put_column(writer, "c1", VELTA_STRING, 0);
    put_column(writer, "c2", VELTA_VECTOR, 8);
    put(writer, 1, 1);
    assert_int_equal(writer->size, AT_TAGS);
    put(writer, 1, 4);
    put_name(writer, "g");
    put(writer, 5, 8);
    put(writer, 50, 8);
}

static enum velta_status read_schema(struct memory *memory, const struct writer *writer, size_t size,
                                     struct snapshot_state *state, struct velta_error *error) {
    const struct segment_key key = {SEGMENT_SCHEMA, 0, 0, 0};
    uint8_t *exact = malloc(size ? size : 1);
    memcpy(exact, writer->bytes, size);
    *state = (struct snapshot_state){.memory = memory, .simd = &simd_scalar};
    *error = (struct velta_error){VELTA_OK, 0, ""};
    enum velta_status status = snapshot_read_segment(state, &key, exact, size, error);
    free(exact);
    return status;
}

static void schemas_end_where_they_end(void **state) {
    (void)state;
    static struct writer writer;
    struct memory *memory = memory_create(NULL, 0);
    struct snapshot_state read;
    struct velta_error error;
    make_schema(&writer);
    assert_int_equal(read_schema(memory, &writer, writer.size, &read, &error), VELTA_OK);
    assert_true(read.table_count == 2 && read.tables[1].dropped && read.tag_count == 1);
    assert_int_equal(read.tables[0].table->row_count, ROWS);
    assert_non_null(read.tables[0].table->expiry);
    snapshot_state_destroy(&read);
    for (size_t size = 0; size < writer.size; size++) {
        assert_int_equal(read_schema(memory, &writer, size, &read, &error), VELTA_CORRUPT);
        assert_true(error.offset <= size);
        snapshot_state_destroy(&read);
    }
    put(&writer, 0, 1);
    assert_int_equal(read_schema(memory, &writer, writer.size, &read, &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "bytes after its end"));
    snapshot_state_destroy(&read);
    memory_destroy(memory);
}

static void wrong_fields_are_named(void **state) {
    (void)state;
    static const struct {
        size_t at;
        unsigned width;
        uint64_t value;
        const char *sentence;
    } fields[] = {
        {AT_TABLES, 4, UINT32_MAX, "a number of tables"},
        {AT_DROPPED, 1, 2, "out of range"},
        {AT_NAME, 2, 0, "a name that cannot be"},
        {AT_NAME, 2, 256, "ends too early"},
        {AT_NAME + 2, 1, 0, "a name that cannot be"},
        {AT_NAME + 2, 1, 0xff, "not UTF-8"},
        {AT_ROWS, 4, UINT32_MAX, "a number of rows or columns"},
        {AT_EXPIRY, 1, 2, "out of range"},
        {AT_COLUMNS, 4, 0, "a number of rows or columns"},
        {AT_COLUMNS, 4, VELTA_MAX_COLUMNS + 1, "a number of rows or columns"},
        {AT_COLUMNS, 4, 100, "a number of rows or columns"},
        {AT_COLUMN + 3, 1, '2', "cannot be"}, /* two columns of one name */
        {AT_COLUMN + 4, 1, 0, "cannot be"},
        {AT_COLUMN + 4, 1, VELTA_VECTOR + 1, "out of range"},
        {AT_COLUMN + 5, 1, 8, "out of range"},
        {AT_COLUMN + 6, 1, VELTA_CODES + 1, "out of range"},
        {AT_COLUMN + 7, 1, VELTA_DOT + 1, "out of range"},
        {AT_COLUMN + 8, 4, 1, "cannot be"},
        {AT_COLUMN + 12, 4, 8, "cannot be"},
        {AT_COLUMN + 16, 4, 8, "cannot be"},
        {AT_COLUMN + 20, 8, 8, "cannot be"},
        {AT_COLUMN + 28, 4, ROWS + 1, "after the last row"},
        {AT_VECTOR + 8, 4, 0, "cannot be"},
        {AT_VECTOR + 8, 4, VELTA_MAX_DIMENSIONS + 1, "cannot be"},
        {AT_VECTOR + 12, 4, 3, "cannot be"},
        {AT_TAGS, 4, 2, "a number of tags"},
        {AT_TAGS + 4, 2, 0, "a name that cannot be"},
    };
    struct memory *memory = memory_create(NULL, 0);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        static struct writer writer;
        struct snapshot_state read;
        struct velta_error error;
        make_schema(&writer);
        size_t size = writer.size;
        writer.size = fields[i].at;
        put(&writer, fields[i].value, fields[i].width);
        enum velta_status status = read_schema(memory, &writer, size, &read, &error);
        if (status != VELTA_CORRUPT || !strstr(error.text, fields[i].sentence))
            fail_msg("field %zu, %s: status %d, %s", i, fields[i].sentence, (int)status, error.text);
        snapshot_state_destroy(&read);
    }
    memory_destroy(memory);
}

static void wrong_keys_are_refused(void **state) {
    (void)state;
    static const struct {
        struct segment_key key;
        const char *sentence;
    } wrong[] = {
        {{SEGMENT_SCHEMA, 0, 0, 0}, "it is out of order"},
        {{SEGMENT_DICTIONARY, 2, 0, 0}, "there is no such table"},
        {{SEGMENT_DICTIONARY, 1, 0, 0}, "there is no such table"}, /* dropped */
        {{SEGMENT_DICTIONARY, 0, 2, 0}, "there is no such table"},
        {{SEGMENT_DICTIONARY, 0, 1, 0}, "out of turn"}, /* a vector has none */
        {{SEGMENT_DICTIONARY, 0, 0, 1}, "out of turn"},
        {{SEGMENT_ROWS, 0, 1, 0}, "rows have no such part"},
        {{SEGMENT_ROWS, 0, 0, 2}, "a slab past the last row"},
        {{SEGMENT_COLUMN, 0, 1, 0}, "not of the column's type"},
        {{SEGMENT_VECTORS, 0, 0, 0}, "not of the column's type"},
        {{SEGMENT_COLUMN, 0, 0, 1}, "a slab past the last row"},
        {{SEGMENT_CODES, 0, 0, 0}, "no index"},
        {{SEGMENT_GRAPH, 0, 0, 0}, "no index"},
        {{SEGMENT_GRAPH + 1, 0, 0, 0}, "not known"},
    };
    static struct writer writer;
    struct memory *memory = memory_create(NULL, 0);
    struct snapshot_state read;
    struct velta_error error;
    make_schema(&writer);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t none[64] = {0};
        assert_int_equal(read_schema(memory, &writer, writer.size, &read, &error), VELTA_OK);
        enum velta_status status = snapshot_read_segment(&read, &wrong[i].key, none, sizeof none, &error);
        if (status != VELTA_CORRUPT || !strstr(error.text, wrong[i].sentence))
            fail_msg("key %zu, %s: status %d, %s", i, wrong[i].sentence, (int)status, error.text);
        snapshot_state_destroy(&read);
    }
    /* what is not the schema cannot begin */
    static const struct segment_key keys[] = {
        {SEGMENT_ROWS, 0, 0, 0}, {SEGMENT_SCHEMA, 1, 0, 0}, {SEGMENT_SCHEMA, 0, 1, 0}, {SEGMENT_SCHEMA, 0, 0, 1}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        read = (struct snapshot_state){.memory = memory, .simd = &simd_scalar};
        assert_int_equal(snapshot_read_segment(&read, &keys[i], writer.bytes, writer.size, &error), VELTA_CORRUPT);
        assert_non_null(strstr(error.text, "the schema must come first"));
        snapshot_state_destroy(&read);
    }
    read = (struct snapshot_state){.memory = memory, .simd = &simd_scalar};
    assert_int_equal(snapshot_ready(&read, &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "there is no schema"));
    snapshot_state_destroy(&read);
    memory_destroy(memory);
}

/* So many columns of so long names that every array of the reader needs a block of its own. */
static bool read_large(struct test_allocator *self, void *context) {
    const struct writer *writer = context;
    struct memory *memory = memory_create(&self->allocator, 0);
    struct snapshot_state read;
    struct velta_error error;
    test_allocator_rearm(self);
    enum velta_status status = read_schema(memory, writer, writer->size, &read, &error);
    test_allocator_disarm(self);
    assert_true(status == VELTA_OK || (status == VELTA_NO_MEMORY && error.code == status));
    snapshot_state_destroy(&read);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void every_allocation_may_be_refused(void **state) {
    (void)state;
    static struct writer writer;
    struct test_allocator allocator;
    put(&writer, 1, 4);
    put(&writer, 0, 1);
    put_name(&writer, "t");
    put(&writer, 0, 4);
    put(&writer, 0, 1);
    put(&writer, MANY_COLUMNS, 4);
    for (int i = 0; i < MANY_COLUMNS; i++) {
        char name[VELTA_MAX_NAME_BYTES + 1];
        memset(name, 'n', VELTA_MAX_NAME_BYTES);
        name[VELTA_MAX_NAME_BYTES] = '\0';
        name[sprintf(name, "%d", i)] = 'n';
        put_column(&writer, name, i % 2 ? VELTA_INT : VELTA_STRING, 0);
    }
    put(&writer, 2, 4);
    for (int i = 0; i < 2; i++) {
        put_name(&writer, i ? "b" : "a");
        put(&writer, 1, 8);
        put(&writer, 1, 8);
    }
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, read_large, &writer) > MANY_COLUMNS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemas_end_where_they_end),
        cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(wrong_keys_are_refused),
        cmocka_unit_test(every_allocation_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
