/* docs/FORMAT.md tells the truth: its examples are decoded from its text, by the tables it gives, and made again. */
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "delta/record.h"
#include "delta/snapshot.h"
#include "tests/support/fake_storage.h"
#include "tests/support/support.h"

static const char manual[] = "docs/FORMAT.md";

struct image {
    uint8_t *bytes;
    size_t size_bytes;
};

static void must(enum velta_status status) {
    assert_int_equal(status, VELTA_OK);
}

/* ---- the text */

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* The bytes of a fenced block: lines of an offset and up to 16 bytes; what is between lines is zero. */
static struct image read_example(const char *name) {
    struct image image = {0};
    size_t text_bytes;
    char fence[64];
    char *text = (char *)test_read_file(manual, &text_bytes);
    snprintf(fence, sizeof fence, "```hex %s\n", name);
    text = realloc(text, text_bytes + 1);
    text[text_bytes] = '\0';
    char *line = strstr(text, fence);
    assert_non_null(line);
    line += strlen(fence);
    for (; strncmp(line, "```", 3) != 0; line = strchr(line, '\n') + 1) {
        char *at;
        size_t offset = strtoull(line, &at, 16);
        for (; at[0] == ' ' && at[1] != '\n'; at += 3) {
            if (offset >= image.size_bytes) {
                image.bytes = realloc(image.bytes, offset + 1);
                memset(image.bytes + image.size_bytes, 0, offset + 1 - image.size_bytes);
                image.size_bytes = offset + 1;
            }
            image.bytes[offset++] = (uint8_t)(hex_digit(at[1]) << 4 | hex_digit(at[2]));
        }
    }
    free(text);
    return image;
}

/* Compares; where they differ, prints what the text should hold. */
static void same_as_example(const char *name, const uint8_t *bytes, size_t size_bytes) {
    struct image example = read_example(name);
    bool same = example.size_bytes == size_bytes && memcmp(example.bytes, bytes, size_bytes) == 0;
    for (size_t i = 0; !same && i < size_bytes; i += 16) {
        size_t n = size_bytes - i < 16 ? size_bytes - i : 16;
        bool zero = true;
        for (size_t k = 0; k < n; k++) {
            zero = zero && bytes[i + k] == 0;
        }
        if (zero && i + n < size_bytes) continue;
        char line[80];
        int used = snprintf(line, sizeof line, "%04zx", i);
        for (size_t k = 0; k < n; k++) {
            used += snprintf(line + used, sizeof line - (size_t)used, " %02x", bytes[i + k]);
        }
        print_error("%s\n", line);
    }
    free(example.bytes);
    assert_true(same);
}

/* ---- the life of the examples */

static const struct velta_column specs[2] = {
    {.name = "id", .type = VELTA_INT, .primary_key = true},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = 2, .no_index = true},
};
static const struct velta_column *const spec_list[2] = {&specs[0], &specs[1]};
static const int64_t key = 7;
static const float vector[2] = {1, -2};
static const uint32_t one_index = 1;
static const float half = 0.5f;

struct schema {
    bool made;
    uint32_t rows;
};

static const struct velta_column *const *schema_columns(void *context, uint32_t table, uint32_t *column_count) {
    const struct schema *schema = context;
    *column_count = 2;
    return schema->made && table == 0 ? spec_list : NULL;
}
static uint32_t schema_rows(void *context, uint32_t table) {
    (void)table;
    return ((const struct schema *)context)->rows;
}

static void make_changes(struct change changes[3], struct column_values values[2], struct vector_delta *delta) {
    values[0] = (struct column_values){.data = &key};
    values[1] = (struct column_values){.data = vector};
    *delta = (struct vector_delta){.operation = DELTA_SPARSE, .count = 1, .indices = &one_index, .values = &half};
    changes[0] = (struct change){
        .kind = CHANGE_TABLE_CREATE, .sequence = 1, .time_ms = 1000, .name = "t", .columns = specs, .column_count = 2};
    changes[1] = (struct change){.kind = CHANGE_ROWS_INSERT,
                                 .sequence = 2,
                                 .time_ms = 1001,
                                 .row_count = 1,
                                 .values = values,
                                 .column_count = 2};
    changes[2] = (struct change){
        .kind = CHANGE_VECTORS, .sequence = 3, .time_ms = 1001, .column = 1, .deltas = delta, .delta_count = 1};
}

/* ---- the log */

static void write_log(struct memory *memory, struct fake_storage *fake) {
    struct schema known = {0};
    struct record_schema schema = {&known, schema_columns, schema_rows};
    struct change changes[3];
    struct column_values values[2];
    struct vector_delta delta;
    struct record_buffer *buffer;
    struct storage *storage;
    uint8_t body[512];
    size_t body_bytes;
    make_changes(changes, values, &delta);
    must(record_buffer_create(memory, &buffer, NULL));
    for (int i = 0; i < 3; i++) {
        must(record_buffer_add(buffer, &schema, &changes[i], NULL));
        known.made = true;
        known.rows = i > 0;
    }
    assert_true(record_body_bound(buffer) <= sizeof body);
    must(record_body_write(buffer, body, sizeof body, &body_bytes, NULL));
    must(storage_create(memory, &storage, NULL));
    must(storage_begin_open(storage, false, NULL));
    must(fake_storage_run(fake, storage, NULL));
    must(storage_begin_append(storage, body, body_bytes, true, NULL));
    must(fake_storage_run(fake, storage, NULL));
    storage_destroy(storage);
    record_buffer_destroy(buffer);
}

/* By hand, from the tables of the text. */
static void check_log_bytes(const struct image *log) {
    const uint8_t *frame = log->bytes + 64;
    uint8_t salted[16] = {0};
    assert_memory_equal(log->bytes, "VFR\x1A", 4);
    assert_int_equal(bytes_get_u32(log->bytes + 4), 0);
    assert_int_equal(bytes_get_u64(log->bytes + 24), hash_bytes(salted, 16));
    assert_int_equal(bytes_get_u64(log->bytes + 56), hash_bytes(log->bytes, 56));
    assert_memory_equal(frame, "VFR\x1A", 4);
    assert_int_equal(bytes_get_u32(frame + 4), log->size_bytes - 128);
    assert_int_equal(bytes_get_u32(frame + 8), 1);
    assert_int_equal(bytes_get_u32(frame + 12), 1);
    assert_int_equal(bytes_get_u64(frame + 24), hash_bytes(salted, 16));
    assert_int_equal(bytes_get_u64(frame + 40), bytes_get_u64(log->bytes + 56));
    assert_int_equal(bytes_get_u64(frame + 48), hash_bytes(frame + 64, log->size_bytes - 128));
    assert_int_equal(bytes_get_u64(frame + 56), hash_bytes(frame, 56));
    const uint8_t *body = frame + 64;
    const uint8_t *at = body;
    assert_int_equal(*at++, 1); /* version */
    unsigned head_bytes = *at++;
    assert_true(head_bytes < 0x80);
    if (*at++ == 0) { /* HEAD as it is: create table, after 1000 ms (zigzag 2000), sequence 1, table 0, a name of 1 */
        static const uint8_t start[] = {1, 0xD0, 0x0F, 1, 0, 1, 2};
        assert_memory_equal(at, start, sizeof start);
    }
}

static void the_log_is_decoded(void **state) {
    struct memory *memory = memory_create(NULL, 0);
    struct image log = read_example("log");
    struct schema known = {0};
    struct record_schema schema = {&known, schema_columns, schema_rows};
    struct change expected[3], change;
    struct column_values values[2];
    struct vector_delta delta;
    struct fake_storage fake;
    struct storage *storage;
    struct record_reader *reader;
    size_t body_bytes;
    uint64_t offset;
    bool more;
    (void)state;
    make_changes(expected, values, &delta);
    fake_storage_init(&fake);
    write_log(memory, &fake);
    same_as_example("log", fake.now[STORAGE_LOG].bytes, fake.now[STORAGE_LOG].size_bytes);
    check_log_bytes(&log);
    fake_storage_set(&fake, STORAGE_LOG, log.bytes, log.size_bytes);
    must(storage_create(memory, &storage, NULL));
    must(storage_begin_open(storage, true, NULL));
    must(fake_storage_run(&fake, storage, NULL));
    must(storage_begin_replay(storage, NULL));
    must(fake_storage_run(&fake, storage, NULL));
    const void *body = storage_replayed_body(storage, &body_bytes, &offset);
    assert_non_null(body);
    assert_int_equal(offset, 128);
    must(record_reader_open(memory, body, body_bytes, &reader, NULL));
    for (int i = 0; i < 3; i++) {
        must(record_reader_next(reader, &schema, &change, &more, NULL));
        assert_true(more);
        assert_int_equal(change.kind, expected[i].kind);
        assert_int_equal(change.sequence, expected[i].sequence);
        assert_int_equal(change.time_ms, expected[i].time_ms);
        if (i == 0) assert_string_equal(change.columns[1].name, "v");
        if (i == 1) assert_memory_equal(change.values[0].data, &key, sizeof key);
        if (i == 1) assert_memory_equal(change.values[1].data, vector, sizeof vector);
        if (i == 2) assert_true(change.deltas[0].values[0] == half && change.deltas[0].indices[0] == 1);
        known.made = true;
        known.rows = i > 0;
    }
    must(record_reader_next(reader, &schema, &change, &more, NULL));
    assert_false(more);
    record_reader_close(reader);
    storage_destroy(storage);
    fake_storage_release(&fake);
    free(log.bytes);
    memory_destroy(memory);
}

/* ---- the export */

static void make_state(struct memory *memory, struct snapshot_state *state) {
    struct change changes[3];
    struct column_values values[2];
    struct vector_delta delta;
    make_changes(changes, values, &delta);
    *state = (struct snapshot_state){.memory = memory, .simd = &simd_scalar, .table_count = 1};
    state->tables = memory_allocate_zero(memory, sizeof *state->tables);
    must(snapshot_table_create(state, "t", specs, 2, &state->tables[0], NULL));
    struct table *table = state->tables[0].table;
    struct history *history = state->tables[0].history;
    must(table_reserve_append(table, values, 1, NULL));
    must(history_reserve(history, table, &changes[1], NULL));
    must(history_reserve(history, table, &changes[2], NULL));
    history_push(history, table, &changes[1], NULL, NULL);
    assert_int_equal(table_apply_append(table, values, 1), 0);
    history_push(history, table, &changes[2], NULL, NULL);
    ((float *)column_vector_for_write(table->columns[1], 0))[1] += half;
}

static struct image export_state(struct snapshot_state *state) {
    struct storage_source source = {state, snapshot_write_segment};
    struct storage_meta meta = {.sequence = 4, .time_ms = 1001};
    struct checkpoint_segment *segments;
    struct image image;
    size_t count;
    must(snapshot_list(state, true, &segments, &count, NULL));
    image.size_bytes = (size_t)storage_export_bytes(segments, count);
    image.bytes = malloc(image.size_bytes);
    storage_export_write(segments, count, &source, &meta, image.bytes);
    memory_release(state->memory, segments, count * sizeof *segments);
    return image;
}

/* By hand, from the tables of the text. */
static void check_export_bytes(const struct image *image) {
    static const uint32_t kinds[] = {1, 3, 4, 5, 7, 7};
    const uint8_t *root = image->bytes;
    assert_memory_equal(root, "VELTA\r\n\x1A", 8);
    assert_int_equal(bytes_get_u32(root + 8), 1);
    assert_int_equal(bytes_get_u32(root + 12), 1);
    assert_int_equal(bytes_get_u64(root + 16), 1);
    assert_int_equal(bytes_get_u64(root + 32), 8192);
    assert_int_equal(bytes_get_u64(root + 40), 6 * 40);
    assert_int_equal(bytes_get_u64(root + 48), hash_bytes(root + 8192, 6 * 40));
    assert_int_equal(bytes_get_u64(root + 56), image->size_bytes);
    assert_int_equal(bytes_get_u64(root + 64), 4);
    assert_int_equal(bytes_get_u64(root + 72), 1001);
    assert_int_equal(bytes_get_u64(root + 4088), hash_bytes(root, 4088));
    for (unsigned i = 0; i < 6; i++) {
        const uint8_t *entry = root + 8192 + 40 * i;
        uint64_t offset = bytes_get_u64(entry + 16);
        uint64_t size_bytes = bytes_get_u64(entry + 24);
        assert_int_equal(bytes_get_u32(entry), kinds[i]);
        assert_int_equal(offset % 64, 0);
        assert_true(offset + size_bytes <= image->size_bytes);
        assert_int_equal(bytes_get_u64(entry + 32), hash_bytes(root + offset, size_bytes));
        const uint8_t *segment = root + offset;
        if (i == 2) assert_int_equal(segment[64], 7); /* id, one byte wide */
        if (i == 3) {
            float moved[2];
            memcpy(moved, segment + 64, sizeof moved);
            assert_true(moved[0] == 1 && moved[1] == -1.5f);
        }
        if (i == 5) { /* a birth of one row, then the delta with its base */
            assert_int_equal(segment[36], 1);
            assert_int_equal(bytes_get_u32(segment + 40), 1);
            assert_int_equal(segment[48 + 36], 3);
            assert_int_equal(segment[48 + 37], 1 + 16);
            assert_memory_equal(segment + 48 + 48, vector, sizeof vector);
            assert_int_equal(bytes_get_u32(segment + 48 + 56), 1);
            assert_memory_equal(segment + 48 + 60, &half, sizeof half);
        }
    }
}

static void the_export_is_decoded(void **context) {
    struct memory *memory = memory_create(NULL, 0);
    struct image example = read_example("export");
    struct snapshot_state state, loaded = {.memory = memory, .simd = &simd_scalar};
    struct fake_storage fake;
    struct storage *storage;
    size_t count;
    (void)context;
    make_state(memory, &state);
    struct image made = export_state(&state);
    same_as_example("export", made.bytes, made.size_bytes);
    check_export_bytes(&example);
    fake_storage_init(&fake);
    fake_storage_set(&fake, STORAGE_DATA, example.bytes, example.size_bytes);
    must(storage_create(memory, &storage, NULL));
    must(storage_begin_open(storage, true, NULL));
    must(fake_storage_run(&fake, storage, NULL));
    const struct segment *segments = storage_segments(storage, &count);
    for (size_t i = 0; i < count; i++) {
        uint8_t *bytes = malloc(segments[i].size_bytes + 1);
        must(storage_begin_read(storage, &segments[i], bytes, NULL));
        must(fake_storage_run(&fake, storage, NULL));
        must(snapshot_read_segment(&loaded, &segments[i].key, bytes, segments[i].size_bytes, NULL));
        free(bytes);
    }
    must(snapshot_ready(&loaded, NULL));
    must(snapshot_finish(&loaded, NULL));
    float value[2];
    const struct snapshot_table *table = &loaded.tables[0];
    column_get_vector(table->table->columns[1], table_find_int(table->table, 7), value);
    assert_true(value[0] == 1 && value[1] == -1.5f);
    assert_true(history_vector(table->history, table->table, 1, 0, 2, NULL, NULL, value));
    assert_memory_equal(value, vector, sizeof vector);
    struct image again = export_state(&loaded);
    assert_int_equal(again.size_bytes, made.size_bytes);
    test_assert_bytes(again.bytes, made.bytes, made.size_bytes, "the export of the loaded state");
    storage_destroy(storage);
    fake_storage_release(&fake);
    snapshot_state_destroy(&loaded);
    snapshot_state_destroy(&state);
    free(again.bytes);
    free(made.bytes);
    free(example.bytes);
    memory_destroy(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_decoded),
        cmocka_unit_test(the_export_is_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
