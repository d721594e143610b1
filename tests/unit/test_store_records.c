/*
 * Deltas as records: they do what velta_apply does with the same deltas, damaged ones are refused with their place and
 * change nothing, refused memory changes nothing, and the position of a stream moves with its records and not without
 * them.
 */
#include "store/records.h"

#include <math.h>

#include "core/bytes.h"
#include "tests/unit/store_testing.h"

enum { DIMENSIONS = 4, ROOM = 8192, POSITION_COLUMNS = 2 };

static const struct velta_column int_schema[2] = {
    {.name = "id", .type = VELTA_INT, .primary_key = true},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .metric = VELTA_L2, .no_index = true},
};
static const struct velta_column text_schema[2] = {
    {.name = "id", .type = VELTA_STRING, .primary_key = true},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .metric = VELTA_L2, .no_index = true},
};
static const struct velta_column position_schema[POSITION_COLUMNS] = {
    {.name = "name", .type = VELTA_STRING, .primary_key = true},
    {.name = "position", .type = VELTA_INT},
};

/* ---- writing records: another writer than the package's, from the same page of the format */

struct stream {
    uint8_t *bytes;
    size_t size_bytes;
    uint64_t sequence;
};

static struct stream stream_make(void) {
    return (struct stream){.bytes = calloc(1, ROOM)};
}

static void put(struct stream *stream, const void *bytes, size_t size_bytes) {
    assert_true(stream->size_bytes + size_bytes <= ROOM);
    if (size_bytes > 0) memcpy(stream->bytes + stream->size_bytes, bytes, size_bytes);
    stream->size_bytes += size_bytes;
}

static void write_record(struct stream *stream, const struct velta_delta *delta, bool is_text) {
    uint8_t head[40] = {0};
    size_t start = stream->size_bytes;
    bool has_amount = delta->operation == VELTA_DELTA_SCALE || delta->operation == VELTA_DELTA_OFFSET;
    head[4] = (uint8_t)delta->operation;
    head[5] = (uint8_t)((delta->set ? 1 : 0) + (is_text ? 2 : 0));
    bytes_put_u64(head + 8, ++stream->sequence);
    bytes_put_u64(head + 16, (uint64_t)delta->time_ms);
    bytes_put_u64(head + 24, is_text ? delta->key_bytes : (uint64_t)delta->key_int);
    if (has_amount)
        memcpy(head + 32, &delta->amount, 4);
    else
        bytes_put_u32(head + 32, delta->count);
    bytes_put_u32(head + 36, delta->metadata_bytes);
    put(stream, head, sizeof head);
    if (delta->operation == VELTA_DELTA_SPARSE) put(stream, delta->indices, 4 * (size_t)delta->count);
    if (delta->count > 0) put(stream, delta->values, 4 * (size_t)delta->count);
    if (is_text) put(stream, delta->key, delta->key_bytes);
    put(stream, delta->metadata, delta->metadata_bytes);
    put(stream, "\0\0\0\0\0\0\0", (8 - stream->size_bytes % 8) % 8);
    bytes_put_u32(stream->bytes + start, (uint32_t)(stream->size_bytes - start - 4));
}

/* ---- databases */

struct world {
    int64_t now_ms;
    velta *db;
    velta_table *table;
    velta_table *streams;
};

static void open_world(struct world *world, const char *path, const struct velta_column *schema,
                       const struct velta_allocator *allocator) {
    struct velta_error error = {0};
    *world = (struct world){.now_ms = 5000};
    struct velta_options options = {
        .allocator = allocator, .now_ms = sample_clock, .now_context = &world->now_ms, .thread_count = 1};
    assert_ok(velta_open(path, &options, &world->db, &error), &error);
    if (velta_table_find(world->db, "t", &world->table, NULL) != VELTA_OK)
        assert_ok(velta_table_create(world->db, "t", schema, schema->primary_key ? 2 : 1, &world->table, &error),
                  &error);
    if (velta_table_find(world->db, "streams", &world->streams, NULL) != VELTA_OK)
        assert_ok(velta_table_create(world->db, "streams", position_schema, 2, &world->streams, &error), &error);
}

static void add_stream(struct world *world, const char *name) {
    struct velta_error error = {0};
    uint64_t offsets[2] = {0, strlen(name)};
    struct velta_values values[1] = {{.column = "name", .data = name, .offsets = offsets}};
    assert_ok(velta_insert(world->streams, values, 1, 1, NULL, NULL, &error), &error);
}

static void close_world(struct world *world) {
    struct velta_error error = {0};
    assert_verifies(world->db);
    assert_ok(velta_close(world->db, &error), &error);
}

static enum velta_status apply(struct world *world, const struct stream *stream, uint32_t limit, const char *name,
                               struct records_applied *done, struct velta_error *error) {
    struct stream_position position = {0};
    if (name)
        position =
            (struct stream_position){.table = world->streams, .name = name, .name_bytes = (uint32_t)strlen(name)};
    return records_apply(world->table, "v", stream->bytes, stream->size_bytes, limit, &position, NULL, done, error);
}

/* ---- a life of one of every operation */

enum { LIFE = 9 };
static const float first_vector[DIMENSIONS] = {1, 2, 3, 4};
static const float second_vector[DIMENSIONS] = {0, -1, 0.5F, 8};
static const uint32_t indices[2] = {1, 3};
static const float values[2] = {0.25F, -2};

static void make_life(struct velta_delta *life, bool is_text) {
    struct velta_delta deltas[LIFE] = {
        {.operation = VELTA_DELTA_CREATE, .count = DIMENSIONS, .values = first_vector, .time_ms = 7000},
        {.operation = VELTA_DELTA_SPARSE, .count = 2, .indices = indices, .values = values, .metadata = "{\"a\":1}"},
        {.operation = VELTA_DELTA_SPARSE, .count = 2, .indices = indices, .values = values, .set = true},
        {.operation = VELTA_DELTA_DENSE, .count = DIMENSIONS, .values = second_vector},
        {.operation = VELTA_DELTA_DENSE, .count = DIMENSIONS, .values = second_vector, .set = true},
        {.operation = VELTA_DELTA_SCALE, .amount = 0.5F},
        {.operation = VELTA_DELTA_OFFSET, .amount = -3},
        {.operation = VELTA_DELTA_CREATE, .count = DIMENSIONS, .values = second_vector},
        {.operation = VELTA_DELTA_DELETE},
    };
    deltas[1].metadata_bytes = 7;
    for (int i = 0; i < LIFE; i++) {
        bool is_second = i >= 7;
        deltas[i].key = is_text ? (is_second ? "second" : "one") : NULL;
        deltas[i].key_bytes = is_text ? (is_second ? 6 : 3) : 0;
        deltas[i].key_int = is_text ? 0 : (is_second ? -9 : INT64_MAX);
    }
    memcpy(life, deltas, sizeof deltas);
}

static struct stream life_stream(bool is_text) {
    struct velta_delta life[LIFE];
    struct stream stream = stream_make();
    make_life(life, is_text);
    for (int i = 0; i < LIFE; i++)
        write_record(&stream, &life[i], is_text);
    return stream;
}

static void they_do_what_deltas_do(void **state) {
    (void)state;
    for (int is_text = 0; is_text < 2; is_text++) {
        struct velta_error error = {0};
        struct velta_delta life[LIFE];
        struct world by_deltas;
        struct world by_records;
        struct records_applied done;
        const struct velta_column *schema = is_text ? text_schema : int_schema;
        make_life(life, is_text);
        open_world(&by_deltas, NULL, schema, NULL);
        open_world(&by_records, NULL, schema, NULL);
        struct stream stream = life_stream(is_text);
        assert_ok(velta_apply(by_deltas.table, "v", life, LIFE, 0, NULL, &error), &error);
        assert_ok(apply(&by_records, &stream, UINT32_MAX, NULL, &done, &error), &error);
        assert_int_equal(done.applied, LIFE);
        assert_int_equal(done.skipped, 0);
        assert_int_equal(done.size_bytes, stream.size_bytes);
        assert_int_equal(done.last_sequence, LIFE);
        assert_true(digest(by_deltas.db) == digest(by_records.db));
        free(stream.bytes);
        close_world(&by_deltas);
        close_world(&by_records);
    }
}

static void rows_of_tables_without_keys(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct world world;
    struct records_applied done;
    float found[DIMENSIONS];
    open_world(&world, NULL, &int_schema[1], NULL);
    struct stream stream = stream_make();
    write_record(&stream,
                 &(struct velta_delta){.operation = VELTA_DELTA_CREATE, .count = DIMENSIONS, .values = first_vector},
                 false);
    write_record(&stream, &(struct velta_delta){.operation = VELTA_DELTA_OFFSET, .amount = 1}, false);
    assert_ok(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), &error);
    assert_ok(velta_get_vector(world.table, "v", 0, 0, found, &error), &error);
    assert_true(found[0] == 2 && found[3] == 5);
    int64_t nowhere[] = {1, -1, INT64_C(1) << 32, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        stream.size_bytes = 0;
        write_record(&stream,
                     &(struct velta_delta){.operation = VELTA_DELTA_OFFSET, .key_int = nowhere[i], .amount = 1}, false);
        assert_status(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), VELTA_NOT_FOUND);
    }
    free(stream.bytes);
    close_world(&world);
}

static void batches_and_limits(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct world world;
    struct records_applied done;
    open_world(&world, NULL, int_schema, NULL);
    struct stream stream = life_stream(false);
    struct stream rest = stream;
    for (int i = 0; i < 3; i++) {
        assert_ok(apply(&world, &rest, 3, NULL, &done, &error), &error);
        assert_int_equal(done.applied, 3);
        assert_int_equal(done.last_sequence, 3 * (i + 1));
        rest.bytes += done.size_bytes;
        rest.size_bytes -= done.size_bytes;
    }
    assert_ok(apply(&world, &rest, 3, NULL, &done, &error), &error);
    assert_int_equal(done.applied + done.skipped, 0);
    assert_int_equal(done.last_sequence, 0);
    stream.bytes += 4; /* at no multiple of 8 */
    assert_status(apply(&world, &stream, 3, NULL, &done, &error), VELTA_INVALID);
    free(stream.bytes - 4);
    close_world(&world);
}

/* The one that cannot be is told by its number, and none of its batch is applied. */
static void refusals(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct world world;
    struct records_applied done;
    open_world(&world, NULL, int_schema, NULL);
    add_stream(&world, "s");
    uint64_t before = digest(world.db);
    struct velta_delta life[LIFE];
    make_life(life, false);
    struct stream stream = stream_make();
    stream.sequence = 40;
    write_record(&stream, &life[0], false);
    write_record(&stream, &life[1], false);
    write_record(&stream, &life[0], false);
    assert_status(apply(&world, &stream, UINT32_MAX, "s", &done, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 2);
    assert_non_null(strstr(error.text, "record 43"));
    assert_int_equal(done.applied + done.skipped + done.size_bytes + done.last_sequence, 0);
    assert_true(digest(world.db) == before);
    assert_status(apply(&world, &stream, UINT32_MAX, "s", &done, NULL), VELTA_EXISTS);

    assert_ok(apply(&world, &stream, 1, "s", &done, &error), &error);
    assert_status(apply(&world, &stream, UINT32_MAX, "s", &done, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 2); /* the skipped one counts */
    assert_non_null(strstr(error.text, "record 43"));

    struct stream text = life_stream(true);
    assert_status(apply(&world, &text, UINT32_MAX, NULL, &done, &error), VELTA_TYPE);
    assert_int_equal(error.offset, 0);
    assert_status(apply(&world, &stream, UINT32_MAX, "other", &done, &error), VELTA_NOT_FOUND);
    struct stream_position odd = {.table = world.table, .name = "s", .name_bytes = 1};
    assert_status(records_apply(world.table, "v", stream.bytes, stream.size_bytes, 1, &odd, NULL, &done, &error),
                  VELTA_UNKNOWN_COLUMN);
    assert_status(
        records_apply(world.table, "id", stream.bytes + 0, 0, 1, &(struct stream_position){0}, NULL, &done, &error),
        VELTA_OK);
    free(stream.bytes);
    free(text.bytes);
    close_world(&world);
}

static void positions_move_with_their_records(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct records_applied done;
    struct world world;
    const char *path = test_path(test_folder(), "positions");
    open_world(&world, path, int_schema, NULL);
    add_stream(&world, "s");
    add_stream(&world, "other");
    struct stream stream = life_stream(false);
    assert_ok(apply(&world, &stream, 4, "s", &done, &error), &error);
    assert_int_equal(done.applied, 4);
    assert_int_equal(int_of(world.streams, 0, "position", 0), 4);
    assert_true(is_null(world.streams, 1, "position"));
    assert_ok(velta_close(world.db, &error), &error);

    open_world(&world, path, int_schema, NULL);
    assert_ok(apply(&world, &stream, UINT32_MAX, "s", &done, &error), &error);
    assert_int_equal(done.skipped, 4);
    assert_int_equal(done.applied, LIFE - 4);
    uint64_t after = digest(world.db);
    assert_ok(apply(&world, &stream, UINT32_MAX, "s", &done, &error), &error);
    assert_int_equal(done.skipped, LIFE);
    assert_int_equal(done.applied, 0);
    assert_int_equal(done.last_sequence, LIFE);
    assert_true(digest(world.db) == after);
    assert_ok(velta_close(world.db, &error), &error);

    open_world(&world, path, int_schema, NULL);
    assert_int_equal(int_of(world.streams, 0, "position", 0), LIFE);
    assert_true(digest(world.db) == after);
    free(stream.bytes);
    close_world(&world);
}

/* ---- damage */

/* Every byte set to other values: refused and nothing changed, or applied whole. */
static void damaged_bytes(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct stream sound = life_stream(true);
    struct stream damaged = {.bytes = calloc(1, ROOM), .size_bytes = sound.size_bytes};
    struct world world;
    open_world(&world, NULL, text_schema, NULL);
    uint64_t empty = digest(world.db);
    size_t corrupt = 0;
    size_t applied = 0;
    for (size_t at = 0; at < sound.size_bytes; at++) {
        static const uint8_t flips[] = {0x01, 0x80, 0xFF};
        for (size_t flip = 0; flip < sizeof flips; flip++) {
            struct records_applied done;
            memcpy(damaged.bytes, sound.bytes, sound.size_bytes);
            damaged.bytes[at] ^= flips[flip];
            enum velta_status status = apply(&world, &damaged, UINT32_MAX, NULL, &done, &error);
            if (status == VELTA_CORRUPT) {
                /* A number out of order may also be found at the next record. */
                assert_true(error.offset < sound.size_bytes && error.offset % 8 == 0);
                corrupt++;
            }
            if (status == VELTA_OK) {
                assert_int_equal(done.applied, LIFE);
                applied++;
                close_world(&world);
                open_world(&world, NULL, text_schema, NULL);
            } else {
                assert_true(digest(world.db) == empty);
            }
        }
    }
    assert_true(corrupt > 500 && applied > 100);
    free(sound.bytes);
    free(damaged.bytes);
    close_world(&world);
}

/* Cut anywhere but between records: refused where the cut one begins. */
static void cut_bytes(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct stream stream = life_stream(false);
    size_t whole = stream.size_bytes;
    size_t start = 0;
    size_t next = 0;
    for (size_t size_bytes = 0; size_bytes <= whole; size_bytes++) {
        struct world world;
        struct records_applied done;
        if (size_bytes == next) {
            start = next;
            next += size_bytes < whole ? bytes_get_u32(stream.bytes + next) + 4 : 1;
        }
        /* A copy of its own length, so that a byte read behind it is seen. */
        struct stream cut = {.bytes = malloc(size_bytes > 0 ? size_bytes : 8), .size_bytes = size_bytes};
        memcpy(cut.bytes, stream.bytes, size_bytes);
        open_world(&world, NULL, int_schema, NULL);
        enum velta_status status = apply(&world, &cut, UINT32_MAX, NULL, &done, &error);
        assert_status(status, start == size_bytes ? VELTA_OK : VELTA_CORRUPT);
        if (status) assert_int_equal(error.offset, start);
        assert_ok(velta_close(world.db, &error), &error);
        free(cut.bytes);
    }
    free(stream.bytes);
}

static void odd_records(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct world world;
    struct records_applied done;
    struct velta_delta life[LIFE];
    make_life(life, false);
    open_world(&world, NULL, int_schema, NULL);
    struct stream stream = stream_make();
    /* Sequence numbers: not 0, not beyond 2^53 - 1, ascending; gaps may be. */
    uint64_t before[] = {UINT64_MAX, (UINT64_C(1) << 53) - 1, UINT64_MAX - 1};
    for (size_t i = 0; i < 3; i++) {
        stream.size_bytes = 0;
        stream.sequence = before[i];
        write_record(&stream, &life[0], false);
        assert_status(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), VELTA_CORRUPT);
    }
    stream.size_bytes = 0;
    stream.sequence = 6;
    write_record(&stream, &life[0], false);
    size_t second = stream.size_bytes;
    stream.sequence = 6;
    write_record(&stream, &life[1], false);
    assert_status(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), VELTA_CORRUPT);
    assert_int_equal(error.offset, second);
    bytes_put_u64(stream.bytes + second + 8, (UINT64_C(1) << 53) - 1);
    assert_ok(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), &error);
    /* A length that only together with a key of 2^64 - 1 bytes would be right, and the like. */
    stream.size_bytes = 0;
    stream.sequence = 0;
    write_record(&stream, &life[5], true);
    uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 39, 1, UINT64_C(1) << 32};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        bytes_put_u64(stream.bytes + 24, lengths[i]);
        assert_status(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), VELTA_CORRUPT);
    }
    stream.size_bytes = 0;
    write_record(&stream, &life[1], false);
    bytes_put_u32(stream.bytes + 32, UINT32_MAX);
    assert_status(apply(&world, &stream, UINT32_MAX, NULL, &done, &error), VELTA_CORRUPT);
    free(stream.bytes);
    close_world(&world);
}

/* ---- refused memory */

static bool apply_with_refusals(struct test_allocator *self, void *context) {
    struct velta_error error = {0};
    struct world world;
    struct records_applied done;
    (void)context;
    open_world(&world, NULL, text_schema, &self->allocator);
    add_stream(&world, "s");
    struct stream stream = life_stream(true);
    uint64_t before = digest(world.db);
    test_allocator_rearm(self);
    enum velta_status status = apply(&world, &stream, UINT32_MAX, "s", &done, &error);
    test_allocator_disarm(self);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_true(digest(world.db) == before);
        assert_ok(apply(&world, &stream, UINT32_MAX, "s", &done, &error), &error);
    }
    assert_int_equal(done.applied, LIFE);
    free(stream.bytes);
    close_world(&world);
    return status == VELTA_OK;
}

static void refused_memory(void **state) {
    (void)state;
    struct test_allocator self;
    test_allocator_init(&self);
    assert_true(test_every_allocation_fails(&self, apply_with_refusals, NULL) > 2);
    test_allocator_check_empty(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_do_what_deltas_do),
        cmocka_unit_test(rows_of_tables_without_keys),
        cmocka_unit_test(batches_and_limits),
        cmocka_unit_test(refusals),
        cmocka_unit_test(positions_move_with_their_records),
        cmocka_unit_test(damaged_bytes),
        cmocka_unit_test(cut_bytes),
        cmocka_unit_test(odd_records),
        cmocka_unit_test(refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
