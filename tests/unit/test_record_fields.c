/*
 * Every field of every kind of change, wrong one at a time in a body whose form is right: refused with a sentence and a
 * place in the body. Bodies are put together here by hand, stream by stream, in raw blocks.
 */
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "delta/record.h"
#include "delta/record_streams.h"
#include "tests/support/support.h"

enum { COLUMNS = 5, ROWS = 10, TABLE = 3, BODY_BYTES = 4096, HEAD_BYTES = 256 };

static const struct velta_column specs[COLUMNS] = {
    {.name = "i", .type = VELTA_INT},
    {.name = "b", .type = VELTA_BOOL},
    {.name = "s", .type = VELTA_STRING},
    {.name = "r", .type = VELTA_FLOAT},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = 4},
};
static const struct velta_column wide_spec = {.name = "w", .type = VELTA_VECTOR, .dimensions = 1200};

struct world {
    const struct velta_column *columns[COLUMNS];
    uint32_t row_count;
};

static struct world make_world(uint32_t row_count) {
    struct world world = {.row_count = row_count};
    for (int i = 0; i < COLUMNS; i++)
        world.columns[i] = &specs[i];
    return world;
}

static const struct velta_column *const *world_columns(void *context, uint32_t table, uint32_t *column_count) {
    struct world *world = context;
    if (table != TABLE) return NULL;
    *column_count = COLUMNS;
    return world->columns;
}
static uint32_t world_rows(void *context, uint32_t table) {
    (void)table;
    return ((struct world *)context)->row_count;
}

/* ---- bodies by hand */

struct bytes {
    const char *at;
    size_t size;
};
#define B(text)                                                                                                        \
    { text, sizeof(text) - 1 }
#define ONE "\0\0\200\77"
#define INFINITE "\0\0\200\177"
#define NAN_BYTES "\0\0\300\377"
#define ONE_F64 "\0\0\0\0\0\0\360\77"
#define HUGE_VARINT "\377\377\377\377\177"

/* In the order of enum record_stream. */
struct streams {
    struct bytes of[STREAM_COUNT];
};
#define STREAMS(head, index, number, f32, f16, f64, text, bits)                                                        \
    {                                                                                                                  \
        { B(head), B(index), B(number), B(f32), B(f16), B(f64), B(text), B(bits) }                                     \
    }

/* Floats go bit-rotated into planes (docs/FORMAT.md): plane p holds byte p of every value. */
static size_t put_stream(uint8_t *out, unsigned stream, const struct bytes *bytes) {
    unsigned width = record_stream_width(stream);
    size_t n = bytes->size / width, at = bytes_put_varint(out, bytes->size);
    if (n == 0) return at;
    for (unsigned plane = 0; plane < width; plane++) {
        out[at++] = RECORD_RAW;
        for (size_t i = 0; i < n; i++) {
            uint64_t value = 0;
            memcpy(&value, bytes->at + i * width, width);
            if (width > 1) value = value << 1 | value >> (8 * width - 1);
            out[at++] = (uint8_t)(value >> (8 * plane));
        }
    }
    return at;
}

static size_t make_body(uint8_t *out, const struct streams *streams) {
    size_t at = 0;
    out[at++] = RECORD_BODY_VERSION;
    for (unsigned i = 0; i < STREAM_COUNT; i++)
        at += put_stream(out + at, i, &streams->of[i]);
    assert_true(at < BODY_BYTES);
    return at;
}

/* Reads to the end or the first failure, asserts that a failure names a place in the body; *changes: those read. */
static enum velta_status read_body(const uint8_t *body, size_t size_bytes, uint32_t row_count, uint32_t *changes,
                                   struct velta_error *error) {
    struct world world = make_world(row_count);
    struct record_schema schema = {&world, world_columns, world_rows};
    struct memory *memory = memory_create(NULL, 64 << 20);
    struct record_reader *reader;
    *error = (struct velta_error){VELTA_OK, 0, ""};
    *changes = 0;
    enum velta_status status = record_reader_open(memory, body, size_bytes, &reader, error);
    if (status == VELTA_OK) {
        bool more = true;
        while (status == VELTA_OK && more) {
            struct change change;
            status = record_reader_next(reader, &schema, &change, &more, error);
            if (status != VELTA_OK) assert_false(more);
            *changes += more;
        }
        record_reader_close(reader);
    }
    if (status == VELTA_CORRUPT) assert_true(error->offset <= size_bytes && error->text[0] != '\0');
    memory_destroy(memory);
    return status;
}

static enum velta_status read_streams(const struct streams *streams, uint32_t row_count, struct velta_error *error) {
    uint8_t body[BODY_BYTES];
    uint32_t changes;
    return read_body(body, make_body(body, streams), row_count, &changes, error);
}

/* One change of each kind, as it should be. HEAD begins with kind, step of time, gap of sequence, table. */
static const struct streams good[] = {
    STREAMS("\10\0\1\3\4\1\0\2\2", "\0\2", "", ONE ONE, "", "", "", ""),         /* sparse */
    STREAMS("\10\0\1\3\4\1\15\2\3", "", "", ONE ONE ONE ONE, "", "", "abc", ""), /* dense set, metadata */
    STREAMS("\10\0\1\3\4\1\2\2", "", "", ONE, "", "", "", ""),                   /* scale */
    STREAMS("\10\0\1\3\4\2\3\2\3\0", "", "", ONE ONE, "", "", "", ""),           /* offset, twice */
    STREAMS("\4\0\1\3\2\12\0\1\1\0\1\1\0", "\1\2", "\2\2", ONE ONE ONE ONE, "", ONE_F64, "xyz",
            "\1\1\2\2"),                                                            /* insert */
    STREAMS("\5\0\1\3\2\2\0", "\2\2\1\1", "", "", "", "", "ab", ""),                /* set strings */
    STREAMS("\5\0\1\3\4\1\0\1", "\2", "", "", "\0\74\0\74\0\74\0\74", "", "", ""),  /* set halves */
    STREAMS("\6\0\1\3\1", "\2", "", "", "", "", "", ""),                            /* delete */
    STREAMS("\7\0\1\3\1\0", "\2", "\2", "", "", "", "", ""),                        /* expiry */
    STREAMS("\1\0\1\3\1\2\1\1\1\1\7\0\4\0\0\0\0\0", "", "", "", "", "", "tac", ""), /* create a table */
    STREAMS("\3\0\1\3\1\1\2", "", "", "", "", "", "n", ""),                         /* add a column */
    STREAMS("\2\0\1\3", "", "", "", "", "", "", ""),                                /* drop */
    STREAMS("\11\0\1\1", "", "", "", "", "", "g", ""),                              /* tag */
};
enum { GOOD_COUNT = sizeof good / sizeof good[0] };

static void the_good_ones_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < GOOD_COUNT; i++) {
        uint8_t body[BODY_BYTES];
        struct velta_error error;
        uint32_t changes;
        if (read_body(body, make_body(body, &good[i]), ROWS, &changes, &error) != VELTA_OK)
            fail_msg("change %zu: %s at %d", i, error.text, (int)error.offset);
        assert_int_equal(changes, 1);
    }
}

/* A stream that is shorter by any number of elements, or longer by one, is noticed whatever stands in it. */
static void streams_have_their_lengths(void **state) {
    (void)state;
    struct velta_error error;
    for (size_t i = 0; i < GOOD_COUNT; i++)
        for (unsigned s = 0; s < STREAM_COUNT; s++) {
            size_t width = record_stream_width(s), size = good[i].of[s].size;
            char longer[HEAD_BYTES] = {0};
            struct streams streams = good[i];
            memcpy(longer, good[i].of[s].at, size);
            streams.of[s] = (struct bytes){longer, size + width};
            assert_int_equal(read_streams(&streams, ROWS, &error), VELTA_CORRUPT);
            for (size_t length = 0; length < size; length += width) {
                streams.of[s].size = length;
                /* no HEAD and nothing else: a body of no changes */
                bool empty = s == STREAM_HEAD && length == 0 && i == 11;
                if (read_streams(&streams, ROWS, &error) != (empty ? VELTA_OK : VELTA_CORRUPT))
                    fail_msg("change %zu, stream %u, %zu bytes of %zu", i, s, length, size);
            }
        }
}

/* Each number in turn becomes one that does not end, one beyond 32 bits, and the greatest of one byte. */
static void numbers_have_limits(void **state) {
    (void)state;
    static const struct bytes replacements[] = {B("\200"), B(HUGE_VARINT), B("\177"),
                                                B("\377\377\377\377\377\377\377"
                                                  "\377\377\1")};
    struct velta_error error;
    uint64_t refused = 0, taken = 0;
    for (size_t i = 0; i < GOOD_COUNT; i++)
        for (unsigned s = STREAM_HEAD; s <= STREAM_NUMBER; s++)
            for (size_t at = 0; at < good[i].of[s].size; at++)
                for (size_t r = 0; r < sizeof replacements / sizeof replacements[0]; r++) {
                    char bytes[HEAD_BYTES];
                    size_t size = good[i].of[s].size;
                    const struct bytes *with = &replacements[r];
                    struct streams streams = good[i];
                    memcpy(bytes, good[i].of[s].at, at);
                    memcpy(bytes + at, with->at, with->size);
                    memcpy(bytes + at + with->size, good[i].of[s].at + at + 1, size - at - 1);
                    streams.of[s] = (struct bytes){bytes, size + with->size - 1};
                    enum velta_status status = read_streams(&streams, ROWS, &error);
                    assert_true(status == VELTA_CORRUPT || status == VELTA_OK);
                    if (r == 0 && at + 1 == size) assert_int_equal(status, VELTA_CORRUPT);
                    *(status == VELTA_OK ? &taken : &refused) += 1;
                }
    assert_true(refused > 3 * taken && taken > 0); /* sequences, times, seeds and values may be anything */
}

/* ---- one wrong field each, with the sentence that names it */

struct wrong {
    struct streams streams;
    const char *sentence;
    uint32_t row_count; /* 0: ROWS */
};

static const struct wrong wrongs[] = {
    {STREAMS("\10\0\1\3\4\1\0\2\2", "\0\3", "", ONE ONE, "", "", "", ""), "sparse indices", 0},
    {STREAMS("\10\0\1\3\4\1\0\2\1", "\4", "", ONE, "", "", "", ""), "sparse indices", 0},
    {STREAMS("\10\0\1\3\4\1\0\2\5", "\0\0\0\0\0", "", ONE ONE ONE ONE ONE, "", "", "", ""), "of a sparse delta", 0},
    {STREAMS("\10\0\1\3\4\1\0\2\2", "\0\2", "", ONE INFINITE, "", "", "", ""), "a delta's values", 0},
    {STREAMS("\10\0\1\3\4\1\2\2", "", "", INFINITE, "", "", "", ""), "a delta's values", 0},
    {STREAMS("\10\0\1\3\4\1\3\2", "", "", NAN_BYTES, "", "", "", ""), "a delta's values", 0},
    {STREAMS("\10\0\1\3\4\1\2\24", "", "", ONE, "", "", "", ""), "a vector delta's row", 0},
    {STREAMS("\10\0\1\3\4\1\2\1", "", "", ONE, "", "", "", ""), "a vector delta's row", 0},
    {STREAMS("\10\0\1\3\4\1\6\2", "", "", ONE, "", "", "", ""), "a vector delta's row", 0},
    {STREAMS("\10\0\1\3\4\1\20\2", "", "", ONE, "", "", "", ""), "a vector delta", 0},
    {STREAMS("\10\0\1\3\4\1\12\2\0", "", "", ONE, "", "", "", ""), "a delta's metadata", 0},
    {STREAMS("\10\0\1\3\0\1\2\2", "", "", ONE, "", "", "", ""), "vector deltas", 0},
    {STREAMS("\10\0\1\3\5\1\2\2", "", "", ONE, "", "", "", ""), "vector deltas", 0},
    {STREAMS("\10\0\1\3\4\3\2\2", "", "", ONE, "", "", "", ""), "vector deltas", 0},
    {STREAMS("\10\0\1\11\4\1\2\2", "", "", ONE, "", "", "", ""), "no such table", 0},
    {STREAMS("\4\0\1\3\0\11", "", "", "", "", "", "", ""), "the number of inserted rows", 0},
    {STREAMS("\4\0\1\3\1\200\200\200\200\4\2\2\2\2\2", "", "", "", "", "", "", ""), "the number of inserted rows",
     VELTA_MAX_ROWS},
    {STREAMS("\4\0\1\3\2\12\3\2\2\2\2", "", "", "", "", "", "", ""), "a column", 0},
    {STREAMS("\4\0\1\3\2\12\0\2\2\2\2\2", "", "\2\2", "", "", "", "", ""), "too few numbers", 0},
    {STREAMS("\4\0\1\3\2\12\1\0\2\2\2\2", "", "\2", "", "", "", "", "\4"), "validity", 0},
    {STREAMS("\4\0\1\3\2\12\2\0\2\2\2", "", "", "", "", "", "", "\4"), "booleans", 0},
    {STREAMS("\4\0\1\3\2\12\2\2\2\2\0\2", "", "", "", "", "", "", ""), "an element type", 0},
    {STREAMS("\5\0\1\3\4\1\0\0", "\2", "", ONE ONE ONE NAN_BYTES, "", "", "", ""), "not finite", 0},
    {STREAMS("\5\0\1\3\4\1\0\1", "\2", "", "", "\0\74\0\174\0\74\0\74", "", "", ""), "not finite", 0},
    {STREAMS("\5\0\1\3\5\1\0", "\2\1", "", "", "", "", "a", ""), "a column", 0},
    {STREAMS("\6\0\1\3\1", "\24", "", "", "", "", "", ""), "a row", 0},
    {STREAMS("\6\0\1\3\1", "\1", "", "", "", "", "", ""), "a row", 0},
    {STREAMS("\11\0\1\1", "", "", "", "", "", "\0", ""), "a name", 0},
    {STREAMS("\11\0\1\1", "", "", "", "", "", "\377", ""), "a name", 0},
    {STREAMS("\11\0\1\0", "", "", "", "", "", "", ""), "the length of a name", 0},
    {STREAMS("\3\0\1\3\1\0\2", "", "", "", "", "", "n", ""), "a column's description", 0},
    {STREAMS("\3\0\1\3\1\10\2", "", "", "", "", "", "n", ""), "a column's description", 0},
    {STREAMS("\3\0\1\3\1\1\10", "", "", "", "", "", "n", ""), "a column's description", 0},
    {STREAMS("\3\0\1\3\1\7\0\0\0\0\0\0\0", "", "", "", "", "", "n", ""), "a column's description", 0},
    {STREAMS("\3\0\1\3\1\7\0\4\3\0\0\0\0", "", "", "", "", "", "n", ""), "a column's description", 0},
    {STREAMS("\3\0\1\3\1\7\0\4\0\3\0\0\0", "", "", "", "", "", "n", ""), "a column's description", 0},
    {STREAMS("\1\0\1\3\1\5\1\1\1", "", "", "", "", "", "ta", ""), "the number of columns", 0},
    {STREAMS("\0\0\1\3", "", "", "", "", "", "", ""), "the start of a change", 0},
    {STREAMS("\12\0\1\3", "", "", "", "", "", "", ""), "the start of a change", 0},
    {STREAMS("\2\0\377\377\377\377\377\377\377\377\377\1\3", "", "", "", "", "", "", ""), "sequence numbers overflow",
     0},
    {STREAMS("\2\0\1\3\2\0\377\377\377\377\377\377\377\377\377\1\3", "", "", "", "", "", "", ""),
     "the start of a change", 0},
    {STREAMS("\2\0\1\3\2\1\1\3", "", "", "", "", "", "", ""), "time goes backwards", 0},
};

static void wrong_fields_are_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        struct velta_error error;
        uint32_t row_count = wrongs[i].row_count ? wrongs[i].row_count : ROWS;
        enum velta_status status = read_streams(&wrongs[i].streams, row_count, &error);
        if (status != VELTA_CORRUPT || strstr(error.text, wrongs[i].sentence) == NULL)
            fail_msg("wrong field %zu, \"%s\": status %d, %s", i, wrongs[i].sentence, (int)status, error.text);
    }
}

/* ---- the form of a body */

static void forms_of_bodies_are_checked(void **state) {
    (void)state;
    uint8_t body[BODY_BYTES];
    uint32_t changes;
    struct velta_error error;
    size_t size = make_body(body, &good[0]);
    body[size] = 0;
    assert_int_equal(read_body(body, size + 1, ROWS, &changes, &error), VELTA_CORRUPT);
    assert_int_equal(error.offset, size);
    assert_non_null(strstr(error.text, "bytes follow its end"));
    body[0] = RECORD_BODY_VERSION + 1;
    assert_int_equal(read_body(body, size, ROWS, &changes, &error), VELTA_VERSION);
    assert_int_equal(read_body(body, 0, ROWS, &changes, &error), VELTA_CORRUPT);
    /* a stream of 1 GiB and a byte; floats of three bytes; a block in a form that there is not; too little for its
     * size, though it is compressed */
    static const struct bytes streams[] = {B("\1\201\200\200\200\4\0"), B("\1\0\0\0\3\0abc"), B("\1\1\3\1\0"),
                                           B("\1\310\1\1\0"),           B("\1\310\1\2\1\0"),  B("\1\2\1\200")};
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        memcpy(body, streams[i].at, streams[i].size);
        assert_int_equal(read_body(body, streams[i].size, ROWS, &changes, &error), VELTA_CORRUPT);
        assert_true(error.offset > 0);
    }
}

/* ---- writing */

static struct record_schema schema_of(struct world *world) {
    return (struct record_schema){world, world_columns, world_rows};
}

static void what_cannot_be_written_is_refused(void **state) {
    (void)state;
    struct world world = make_world(ROWS);
    struct record_schema schema = schema_of(&world);
    struct memory *memory = memory_create(NULL, 0);
    struct record_buffer *buffer;
    struct column_values values[COLUMNS] = {{0}};
    uint8_t body[8];
    size_t size_bytes;
    struct velta_error error;
    record_buffer_destroy(NULL);
    record_reader_close(NULL);
    assert_int_equal(record_buffer_create(memory, &buffer, &error), VELTA_OK);
    const struct {
        struct change change;
        enum velta_status status;
    } cases[] = {
        {{.kind = CHANGE_ROWS_INSERT, .table = 9, .column_count = COLUMNS, .values = values}, VELTA_INVALID},
        {{.kind = CHANGE_ROWS_INSERT, .table = TABLE, .column_count = 4, .values = values}, VELTA_INVALID},
        {{.kind = CHANGE_ROWS_SET, .table = TABLE, .column = 5, .values = values}, VELTA_INVALID},
        {{.kind = CHANGE_ROWS_SET, .table = 9, .values = values}, VELTA_INVALID},
        /* looked at only when there is room for all */
        {{.kind = CHANGE_ROWS_DELETE, .table = TABLE, .row_count = UINT32_MAX}, VELTA_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(record_buffer_add(buffer, &schema, &cases[i].change, &error), cases[i].status);
        assert_int_equal(record_buffer_bytes(buffer), 0);
    }
    assert_int_equal(record_body_write(buffer, body, 1, &size_bytes, &error), VELTA_INVALID);
    record_buffer_destroy(buffer);
    memory_destroy(memory);
}

static uint8_t *write_changes(const struct change *changes, size_t count, uint32_t row_count, size_t *size_bytes) {
    struct world world = make_world(row_count);
    world.columns[4] = &wide_spec;
    struct record_schema schema = schema_of(&world);
    struct memory *memory = memory_create(NULL, 0);
    struct record_buffer *buffer;
    assert_int_equal(record_buffer_create(memory, &buffer, NULL), VELTA_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(record_buffer_add(buffer, &schema, &changes[i], NULL), VELTA_OK);
    uint8_t *body = malloc(record_body_bound(buffer));
    assert_int_equal(record_body_write(buffer, body, record_body_bound(buffer), size_bytes, NULL), VELTA_OK);
    record_buffer_destroy(buffer);
    memory_destroy(memory);
    return body;
}

/* Blocks are judged by a sample from the middle; whatever the sample says, what is read is what was written. */
static void blocks_of_any_content_come_back(void **state) {
    (void)state;
    enum { SIZE = 1 << 17, KINDS = 8 };
    struct random random = random_seeded(31);
    uint8_t *bytes = malloc(SIZE);
    for (int kind = 0; kind < KINDS; kind++) {
        for (size_t size = SIZE; size > 1000; size = size * 2 / 5) {
            size_t middle = size / 2;
            for (size_t i = 0; i < size; i++) {
                bool sampled = i >= middle && i < middle + 4096;
                uint8_t noise = (uint8_t)random_below(&random, 256), skewed = (uint8_t)(noise & noise >> 3 & 0x1f);
                uint8_t period = (uint8_t)(i % 1021 * 167 >> 3);
                bytes[i] = kind == 0   ? noise
                           : kind == 1 ? skewed
                           : kind == 2 ? (uint8_t)'a'
                           : kind == 3 ? period
                           : kind == 4 ? (sampled ? 0 : noise)
                           : kind == 5 ? (sampled ? noise : 0)
                           : kind == 6 ? (sampled ? skewed : period)
                                       : (sampled ? period : skewed);
            }
            struct vector_delta delta = {
                .operation = DELTA_SCALE, .amount = 2, .metadata = bytes, .metadata_bytes = (uint32_t)size};
            struct change change = {
                .kind = CHANGE_VECTORS, .sequence = 1, .table = TABLE, .column = 4, .deltas = &delta, .delta_count = 1};
            size_t size_bytes;
            uint8_t *body = write_changes(&change, 1, ROWS, &size_bytes);
            struct world world = make_world(ROWS);
            struct record_schema schema = schema_of(&world);
            struct memory *memory = memory_create(NULL, 0);
            struct record_reader *reader;
            struct change back;
            bool more;
            assert_int_equal(record_reader_open(memory, body, size_bytes, &reader, NULL), VELTA_OK);
            assert_int_equal(record_reader_next(reader, &schema, &back, &more, NULL), VELTA_OK);
            assert_int_equal(back.deltas[0].metadata_bytes, size);
            test_assert_bytes(back.deltas[0].metadata, bytes, size, "metadata");
            record_reader_close(reader);
            memory_destroy(memory);
            free(body);
        }
    }
    free(bytes);
}

/* ---- refused memory: changes so large that each of their arrays needs a block of its own */

enum { MANY = 3000 };

struct large {
    const uint8_t *body;
    size_t size_bytes;
};

static bool read_large(struct test_allocator *self, void *context) {
    const struct large *large = context;
    struct world world = make_world(MANY);
    world.columns[4] = &wide_spec;
    struct record_schema schema = schema_of(&world);
    struct memory *memory = memory_create(&self->allocator, 0);
    struct record_reader *reader = NULL;
    struct change change;
    bool more = true;
    test_allocator_rearm(self);
    enum velta_status status = record_reader_open(memory, large->body, large->size_bytes, &reader, NULL);
    while (status == VELTA_OK && more) {
        status = record_reader_next(reader, &schema, &change, &more, NULL);
        if (status == VELTA_OK && more && change.kind == CHANGE_ROWS_INSERT) world.row_count += change.row_count;
    }
    test_allocator_disarm(self);
    assert_true(status == VELTA_OK || status == VELTA_NO_MEMORY);
    record_reader_close(reader);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void every_array_may_be_refused(void **state) {
    (void)state;
    enum { WORDS = (MANY + 63) / 64 };
    struct test_allocator allocator;
    uint64_t valid[WORDS], offsets[MANY + 1] = {0};
    uint32_t *rows = calloc(MANY, sizeof *rows), indices[1100];
    int64_t *numbers = calloc(MANY, sizeof *numbers);
    uint8_t *bools = calloc(MANY, 1);
    double *floats = calloc(MANY, sizeof *floats);
    float *vectors = calloc((size_t)MANY * 1200, sizeof *vectors);
    memset(valid, 0x55, sizeof valid);
    valid[WORDS - 1] &= (UINT64_C(1) << MANY % 64) - 1;
    for (uint32_t i = 0; i < MANY; i++)
        rows[i] = i;
    for (uint32_t i = 0; i < 1100; i++)
        indices[i] = i;
    struct column_values values[COLUMNS] = {{.data = numbers, .valid = valid},
                                            {.data = bools, .valid = valid},
                                            {.offsets = offsets, .valid = valid}, /* empty strings, and NULLs */
                                            {.data = floats, .valid = valid},
                                            {.data = vectors, .valid = valid}};
    struct vector_delta *deltas = calloc(MANY, sizeof *deltas);
    for (uint32_t i = 0; i < MANY; i++)
        deltas[i] = (struct vector_delta){.operation = DELTA_OFFSET, .row = i, .amount = 1};
    deltas[7] = (struct vector_delta){
        .operation = DELTA_SPARSE, .row = 7, .count = 1100, .indices = indices, .values = vectors};
    const struct change changes[] = {
        {.kind = CHANGE_ROWS_INSERT,
         .sequence = 1,
         .table = TABLE,
         .row_count = MANY,
         .first_row = MANY,
         .values = values,
         .column_count = COLUMNS},
        {.kind = CHANGE_ROWS_SET,
         .sequence = 2,
         .table = TABLE,
         .column = 2,
         .row_count = MANY,
         .rows = rows,
         .values = &values[2]},
        {.kind = CHANGE_ROWS_EXPIRY,
         .sequence = 3,
         .table = TABLE,
         .row_count = MANY,
         .rows = rows,
         .times_ms = numbers},
        {.kind = CHANGE_ROWS_DELETE, .sequence = 4, .table = TABLE, .row_count = MANY, .rows = rows},
        {.kind = CHANGE_VECTORS, .sequence = 5, .table = TABLE, .column = 4, .deltas = deltas, .delta_count = MANY},
        {.kind = CHANGE_TAG, .sequence = 5 + MANY, .name = "done"},
    };
    struct large large;
    uint8_t *body = write_changes(changes, sizeof changes / sizeof changes[0], MANY, &large.size_bytes);
    large.body = body;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, read_large, &large) > 40);
    free(body);
    free(rows);
    free(numbers);
    free(bools);
    free(floats);
    free(vectors);
    free(deltas);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_good_ones_are_read),
        cmocka_unit_test(streams_have_their_lengths),
        cmocka_unit_test(numbers_have_limits),
        cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(forms_of_bodies_are_checked),
        cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(blocks_of_any_content_come_back),
        cmocka_unit_test(every_array_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
