/*
 * The codec of changes: what goes in comes out, damaged bodies are refused, refusals of memory change nothing.
 *
 * Also measures how small and how fast typical deltas become (printed; the size is asserted).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "delta/plane_code.h"
#include "delta/record.h"
#include "tests/support/support.h"

enum { COLUMNS = 9, DIMENSIONS = 48, MAX_ROWS = 40, MAX_CHANGES = 60 };

/* ---- a schema of one table with every type */

static const struct velta_column specs[COLUMNS] = {
    {.name = "id", .type = VELTA_INT, .primary_key = true},
    {.name = "ratio", .type = VELTA_FLOAT},
    {.name = "flag", .type = VELTA_BOOL},
    {.name = "name", .type = VELTA_STRING},
    {.name = "when", .type = VELTA_TIMESTAMP},
    {.name = "blob", .type = VELTA_BYTES},
    {.name = "embedding", .type = VELTA_VECTOR, .dimensions = DIMENSIONS, .m = 8, .seed = UINT64_MAX},
    {.name = "half", .type = VELTA_VECTOR, .dimensions = 7, .element = VELTA_F16, .metric = VELTA_L2},
    {.name = "codes", .type = VELTA_VECTOR, .dimensions = 5, .element = VELTA_CODES, .no_index = true},
};

struct world {
    const struct velta_column *columns[COLUMNS];
    uint32_t row_count;
};

static const struct velta_column *const *world_columns(void *context, uint32_t table, uint32_t *column_count) {
    struct world *world = context;
    if (table != 3) return NULL;
    *column_count = COLUMNS;
    return world->columns;
}
static uint32_t world_rows(void *context, uint32_t table) {
    (void)table;
    return ((struct world *)context)->row_count;
}

/* ---- random changes; everything lives in a pool that is freed at the end */

struct pool {
    void *blocks[20000];
    size_t count;
};

static void *take(struct pool *pool, size_t size_bytes) {
    void *block = calloc(1, size_bytes ? size_bytes : 1);
    assert_non_null(block);
    assert_true(pool->count < sizeof pool->blocks / sizeof pool->blocks[0]);
    return pool->blocks[pool->count++] = block;
}

static void drop(struct pool *pool) {
    while (pool->count > 0) {
        free(pool->blocks[--pool->count]);
    }
}

static float some_float(struct random *random) {
    float special[] = {0, -0.0f, 1e-42f, 3e38f, -1};
    return random_chance(random, 10) ? special[random_below(random, 5)] : random_gauss(random) * 0.05f;
}

static int64_t some_integer(struct random *random) {
    unsigned bits = (unsigned)random_below(random, 64);
    int64_t number = (int64_t)(random_u64(random) >> bits);
    return random_chance(random, 50) ? number : -number - 1;
}

static struct column_values random_values(struct pool *pool, struct random *random, const struct velta_column *spec,
                                          uint32_t count) {
    struct column_values values = {0};
    if (random_chance(random, 10) && !spec->primary_key) return values;
    if (random_chance(random, 40) && !spec->primary_key) {
        uint64_t *valid = take(pool, (count + 63) / 64 * 8);
        for (uint32_t i = 0; i < count; i++) {
            if (random_chance(random, 70)) valid[i / 64] |= UINT64_C(1) << (i % 64);
        }
        values.valid = valid;
    }
    bool half = spec->type == VELTA_VECTOR && random_chance(random, 50);
    values.element = half ? VELTA_F16 : VELTA_F32;
    size_t floats = (size_t)count * (spec->type == VELTA_VECTOR ? spec->dimensions : 1);
    uint8_t *data = take(pool, (floats + 1) * 8);
    values.data = data;
    int64_t base = some_integer(random);
    uint64_t *offsets = take(pool, (count + 1) * sizeof *offsets);
    uint8_t *text = take(pool, count * 40);
    for (size_t i = 0; i < floats; i++) {
        int64_t number = random_chance(random, 80) ? base + (int64_t)i * 3 : some_integer(random);
        double wide = random_chance(random, 90) ? random_gauss(random) : (double)NAN;
        float narrow = some_float(random);
        uint16_t two = (uint16_t)(random_u64(random) & 0xBBFF);
        if (spec->type == VELTA_INT || spec->type == VELTA_TIMESTAMP) memcpy(data + 8 * i, &number, 8);
        if (spec->type == VELTA_FLOAT) memcpy(data + 8 * i, &wide, 8);
        if (spec->type == VELTA_BOOL) data[i] = random_chance(random, 50);
        if (spec->type == VELTA_VECTOR && half) memcpy(data + 2 * i, &two, 2);
        if (spec->type == VELTA_VECTOR && !half) memcpy(data + 4 * i, &narrow, 4);
    }
    if (spec->type == VELTA_STRING || spec->type == VELTA_BYTES) {
        for (uint32_t i = 0; i < count; i++) {
            uint64_t size_bytes = random_below(random, 40);
            offsets[i + 1] = offsets[i] + size_bytes;
            memset(text + offsets[i], 'a' + (int)random_below(random, 26), size_bytes);
        }
        values.offsets = offsets;
        values.data = text;
    }
    return values;
}

static void random_deltas(struct pool *pool, struct random *random, struct change *change, uint32_t row_count) {
    change->column = 6 + (uint32_t)random_below(random, 3);
    uint32_t dimensions = specs[change->column].dimensions;
    change->delta_count = 1 + (uint32_t)random_below(random, 20);
    struct vector_delta *deltas = take(pool, change->delta_count * sizeof *deltas);
    for (uint32_t i = 0; i < change->delta_count; i++) {
        struct vector_delta *delta = &deltas[i];
        delta->operation = (enum delta_operation)(DELTA_SPARSE + random_below(random, 4));
        delta->row = (uint32_t)random_below(random, row_count);
        delta->amount = delta->operation >= DELTA_SCALE ? some_float(random) : 0;
        if (random_chance(random, 20)) {
            delta->metadata_bytes = 1 + (uint32_t)random_below(random, 30);
            char *metadata = take(pool, delta->metadata_bytes);
            random_bytes(random, metadata, delta->metadata_bytes);
            delta->metadata = metadata;
        }
        if (delta->operation >= DELTA_SCALE) continue;
        delta->set = random_chance(random, 30);
        uint32_t *indices = take(pool, dimensions * sizeof *indices);
        float *numbers = take(pool, dimensions * sizeof *numbers);
        for (uint32_t d = 0; d < dimensions; d++) {
            if (delta->operation == DELTA_SPARSE && !random_chance(random, 15)) continue;
            indices[delta->count] = d;
            numbers[delta->count++] = some_float(random);
        }
        delta->indices = delta->operation == DELTA_SPARSE ? indices : NULL;
        delta->values = numbers;
    }
    change->deltas = deltas;
}

static void random_change(struct pool *pool, struct random *random, struct world *world, struct change *change) {
    static const enum change_kind kinds[] = {CHANGE_TABLE_CREATE, CHANGE_TABLE_DROP, CHANGE_COLUMN_ADD,
                                             CHANGE_ROWS_INSERT,  CHANGE_ROWS_SET,   CHANGE_ROWS_DELETE,
                                             CHANGE_ROWS_EXPIRY,  CHANGE_VECTORS,    CHANGE_TAG};
    change->kind = world->row_count == 0 ? CHANGE_ROWS_INSERT : kinds[random_below(random, 9)];
    change->table = 3;
    change->name = "a table \xC3\xA9";
    change->columns = specs;
    change->column_count = change->kind == CHANGE_TABLE_CREATE ? COLUMNS : 1;
    if (change->kind == CHANGE_ROWS_INSERT) {
        change->row_count = (uint32_t)random_below(random, MAX_ROWS);
        if (world->row_count == 0) change->row_count++;
        change->first_row = world->row_count;
        change->column_count = COLUMNS;
        struct column_values *values = take(pool, COLUMNS * sizeof *values);
        for (int i = 0; i < COLUMNS; i++) {
            values[i] = random_values(pool, random, &specs[i], change->row_count);
        }
        change->values = values;
        world->row_count += change->row_count;
    } else if (change->kind >= CHANGE_ROWS_SET && change->kind <= CHANGE_ROWS_EXPIRY) {
        change->row_count = (uint32_t)random_below(random, MAX_ROWS);
        uint32_t *rows = take(pool, change->row_count * sizeof *rows);
        int64_t *times = take(pool, change->row_count * sizeof *times);
        for (uint32_t i = 0; i < change->row_count; i++) {
            rows[i] = (uint32_t)random_below(random, world->row_count);
            times[i] = random_chance(random, 20) ? INT64_MAX : some_integer(random);
        }
        change->rows = rows;
        change->times_ms = times;
        change->column = (uint32_t)random_below(random, COLUMNS);
        struct column_values *values = take(pool, sizeof *values);
        *values = random_values(pool, random, &specs[change->column], change->row_count);
        change->values = values;
    } else if (change->kind == CHANGE_VECTORS) {
        random_deltas(pool, random, change, world->row_count);
    }
}

/* ---- comparing */

static void same_values(const struct velta_column *spec, const struct column_values *a, const struct column_values *b,
                        uint32_t count) {
    bool null_a = a->data == NULL && a->valid == NULL;
    if (count > 0) assert_int_equal(null_a, b->data == NULL && b->valid == NULL);
    if (null_a) return;
    for (uint32_t i = 0; i < count; i++) {
        bool valid = a->valid == NULL || (a->valid[i / 64] >> (i % 64) & 1) != 0;
        assert_int_equal(valid, b->valid == NULL || (b->valid[i / 64] >> (i % 64) & 1) != 0);
        if (!valid) continue;
        if (spec->type == VELTA_STRING || spec->type == VELTA_BYTES) {
            uint64_t size_bytes = a->offsets[i + 1] - a->offsets[i];
            assert_int_equal(size_bytes, b->offsets[i + 1] - b->offsets[i]);
            assert_memory_equal((const char *)a->data + a->offsets[i], (const char *)b->data + b->offsets[i],
                                size_bytes);
            continue;
        }
        size_t width = spec->type == VELTA_BOOL ? 1 : 8;
        if (spec->type == VELTA_VECTOR) {
            assert_int_equal(a->element, b->element);
            width = spec->dimensions * (a->element == VELTA_F16 ? 2u : 4u);
        }
        assert_memory_equal((const char *)a->data + i * width, (const char *)b->data + i * width, width);
    }
}

static void same_columns(const struct velta_column *a, const struct velta_column *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        assert_string_equal(a[i].name, b[i].name);
        assert_int_equal(a[i].type, b[i].type);
        assert_int_equal(a[i].primary_key, b[i].primary_key);
        assert_int_equal(a[i].required, b[i].required);
        assert_int_equal(a[i].dimensions, b[i].dimensions);
        assert_int_equal(a[i].element, b[i].element);
        assert_int_equal(a[i].metric, b[i].metric);
        assert_int_equal(a[i].no_index, b[i].no_index);
        assert_int_equal(a[i].m, b[i].m);
        assert_int_equal(a[i].ef_construction, b[i].ef_construction);
        assert_int_equal(a[i].seed, b[i].seed);
    }
}

static void same_deltas(const struct change *a, const struct change *b) {
    assert_int_equal(a->delta_count, b->delta_count);
    for (uint32_t i = 0; i < a->delta_count; i++) {
        const struct vector_delta *x = &a->deltas[i];
        const struct vector_delta *y = &b->deltas[i];
        assert_int_equal(x->operation, y->operation);
        assert_int_equal(x->set, y->set);
        assert_int_equal(x->row, y->row);
        assert_int_equal(x->count, y->count);
        assert_memory_equal(&x->amount, &y->amount, sizeof x->amount);
        assert_int_equal(x->metadata_bytes, y->metadata_bytes);
        if (x->metadata_bytes) assert_memory_equal(x->metadata, y->metadata, x->metadata_bytes);
        if (x->operation == DELTA_SPARSE && x->count) assert_memory_equal(x->indices, y->indices, x->count * 4);
        if (x->operation <= DELTA_DENSE && x->count) assert_memory_equal(x->values, y->values, x->count * 4);
    }
}

static void same_change(const struct change *a, const struct change *b) {
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->sequence, b->sequence);
    assert_int_equal(a->time_ms, b->time_ms);
    if (a->kind != CHANGE_TAG) assert_int_equal(a->table, b->table);
    if (a->kind == CHANGE_TABLE_CREATE || a->kind == CHANGE_TAG) assert_string_equal(a->name, b->name);
    if (a->kind == CHANGE_TABLE_CREATE || a->kind == CHANGE_COLUMN_ADD) {
        assert_int_equal(a->column_count, b->column_count);
        same_columns(a->columns, b->columns, a->column_count);
    }
    if (a->kind >= CHANGE_ROWS_INSERT && a->kind <= CHANGE_ROWS_EXPIRY) {
        assert_int_equal(a->row_count, b->row_count);
    }
    if (a->kind == CHANGE_ROWS_INSERT) {
        assert_int_equal(a->first_row, b->first_row);
        for (int i = 0; i < COLUMNS; i++) {
            same_values(&specs[i], &a->values[i], &b->values[i], a->row_count);
        }
    } else if (a->kind >= CHANGE_ROWS_SET && a->kind <= CHANGE_ROWS_EXPIRY && a->row_count > 0) {
        assert_memory_equal(a->rows, b->rows, a->row_count * sizeof *a->rows);
    }
    if (a->kind == CHANGE_ROWS_SET) {
        assert_int_equal(a->column, b->column);
        same_values(&specs[a->column], a->values, b->values, a->row_count);
    }
    if (a->kind == CHANGE_ROWS_EXPIRY && a->row_count > 0) {
        assert_memory_equal(a->times_ms, b->times_ms, a->row_count * sizeof *a->times_ms);
    }
    if (a->kind == CHANGE_VECTORS) {
        assert_int_equal(a->column, b->column);
        same_deltas(a, b);
    }
}

/* ---- the tests */

struct body {
    uint8_t *bytes;
    size_t size_bytes;
    size_t capacity;
};

static struct body write_body(struct record_buffer *buffer) {
    struct body body = {0};
    body.capacity = record_body_bound(buffer);
    body.bytes = malloc(body.capacity);
    assert_non_null(body.bytes);
    assert_int_equal(record_body_write(buffer, body.bytes, body.capacity, &body.size_bytes, NULL), VELTA_OK);
    assert_true(body.size_bytes <= body.capacity);
    return body;
}

/* Reads as far as it goes; returns the status. */
static enum velta_status read_body(struct memory *memory, const void *bytes, size_t size_bytes,
                                   const struct change *expected, uint32_t count, uint32_t first_rows) {
    struct world world = {.row_count = first_rows};
    struct record_schema schema = {&world, world_columns, world_rows};
    struct record_reader *reader;
    struct velta_error error = {0};
    for (int i = 0; i < COLUMNS; i++) {
        world.columns[i] = &specs[i];
    }
    enum velta_status status = record_reader_open(memory, bytes, size_bytes, &reader, &error);
    if (status != VELTA_OK) {
        assert_int_equal(error.code, status);
        return status;
    }
    for (uint32_t i = 0;; i++) {
        struct change change;
        bool more;
        status = record_reader_next(reader, &schema, &change, &more, &error);
        if (status != VELTA_OK || !more) {
            if (status == VELTA_CORRUPT) assert_true(error.offset < size_bytes);
            if (status == VELTA_NO_MEMORY) expected = NULL;
            if (expected != NULL) assert_int_equal(i, count);
            break;
        }
        if (expected != NULL) same_change(&expected[i], &change);
        if (change.kind == CHANGE_ROWS_INSERT) world.row_count += change.row_count;
    }
    record_reader_close(reader);
    return status;
}

struct written {
    struct pool pool;
    struct change changes[MAX_CHANGES];
    uint32_t count;
    uint32_t first_rows;
    struct body body;
};

static void write_random(struct memory *memory, struct random *random, struct written *out) {
    struct world world = {.row_count = (uint32_t)random_below(random, 2) * 100};
    struct record_schema schema = {&world, world_columns, world_rows};
    struct record_buffer *buffer;
    uint64_t sequence = random_u64(random) >> random_below(random, 60) >> 1;
    int64_t time_ms = random_between(random, -1000, 1000);
    memset(out, 0, sizeof *out);
    for (int i = 0; i < COLUMNS; i++) {
        world.columns[i] = &specs[i];
    }
    out->first_rows = world.row_count;
    out->count = 1 + (uint32_t)random_below(random, MAX_CHANGES);
    assert_int_equal(record_buffer_create(memory, &buffer, NULL), VELTA_OK);
    for (uint32_t i = 0; i < out->count; i++) {
        struct change *change = &out->changes[i];
        random_change(&out->pool, random, &world, change);
        change->sequence = sequence;
        change->time_ms = time_ms;
        sequence += change_span(change);
        time_ms += (int64_t)random_below(random, 3);
        uint32_t rows = world.row_count;
        if (change->kind == CHANGE_ROWS_INSERT) world.row_count = change->first_row;
        if (random_chance(random, 10)) { /* a commit that fails */
            struct record_mark mark = record_buffer_mark(buffer);
            uint64_t before = record_buffer_bytes(buffer);
            assert_int_equal(record_buffer_add(buffer, &schema, change, NULL), VELTA_OK);
            assert_true(record_buffer_bytes(buffer) > before);
            record_buffer_rewind(buffer, mark);
            assert_int_equal(record_buffer_bytes(buffer), before);
        }
        assert_int_equal(record_buffer_add(buffer, &schema, change, NULL), VELTA_OK);
        world.row_count = rows;
    }
    out->body = write_body(buffer);
    record_buffer_clear(buffer);
    assert_int_equal(record_buffer_bytes(buffer), 0);
    record_buffer_destroy(buffer);
}

static void release(struct written *written) {
    free(written->body.bytes);
    drop(&written->pool);
}

static void every_change_comes_back(void **state) {
    struct random random = random_seeded(7);
    struct memory *memory = memory_create(NULL, 0);
    static struct written written;
    (void)state;
    for (size_t round = 0; round < test_rounds(300); round++) {
        write_random(memory, &random, &written);
        assert_int_equal(read_body(memory, written.body.bytes, written.body.size_bytes, written.changes, written.count,
                                   written.first_rows),
                         VELTA_OK);
        release(&written);
    }
    memory_destroy(memory);
}

static void damaged_bodies_are_refused(void **state) {
    struct random random = random_seeded(8);
    struct memory *memory = memory_create(NULL, 64 << 20);
    static struct written written;
    uint64_t accepted = 0;
    (void)state;
    for (size_t round = 0; round < test_rounds(60); round++) {
        write_random(memory, &random, &written);
        struct body *body = &written.body;
        for (int cut = 0; cut < 40; cut++) {
            size_t size_bytes = random_below(&random, body->size_bytes);
            uint8_t *exact = malloc(size_bytes ? size_bytes : 1);
            memcpy(exact, body->bytes, size_bytes);
            enum velta_status status = read_body(memory, exact, size_bytes, NULL, 0, written.first_rows);
            assert_true(status == VELTA_CORRUPT);
            free(exact);
        }
        for (int flip = 0; flip < 150; flip++) { /* the checksum is the frame's; here only safety is asked for */
            size_t bit = random_below(&random, body->size_bytes * 8);
            body->bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            enum velta_status status = read_body(memory, body->bytes, body->size_bytes, NULL, 0, written.first_rows);
            accepted += status == VELTA_OK;
            assert_true(status == VELTA_OK || status == VELTA_CORRUPT || status == VELTA_VERSION ||
                        status == VELTA_OVER_BUDGET);
            body->bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        release(&written);
    }
    assert_true(accepted > 0); /* changed values are values */
    memory_destroy(memory);
}

/* ---- memory */

struct attempt {
    struct test_allocator allocator;
    struct written written;
};

static bool write_and_read(struct test_allocator *allocator, void *context) {
    struct attempt *attempt = context;
    struct world world = {.row_count = attempt->written.first_rows};
    struct record_schema schema = {&world, world_columns, world_rows};
    struct record_buffer *buffer;
    bool done = false;
    for (int i = 0; i < COLUMNS; i++) {
        world.columns[i] = &specs[i];
    }
    struct memory *memory = memory_create(&allocator->allocator, 0);
    test_allocator_rearm(allocator);
    if (record_buffer_create(memory, &buffer, NULL) == VELTA_OK) {
        done = true;
        for (uint32_t i = 0; i < attempt->written.count && done; i++) {
            uint64_t before = record_buffer_bytes(buffer);
            done = record_buffer_add(buffer, &schema, &attempt->written.changes[i], NULL) == VELTA_OK;
            if (!done) assert_int_equal(record_buffer_bytes(buffer), before);
            if (attempt->written.changes[i].kind == CHANGE_ROWS_INSERT) {
                world.row_count += attempt->written.changes[i].row_count;
            }
        }
        if (done) {
            size_t capacity = record_body_bound(buffer);
            uint8_t *bytes = malloc(capacity);
            size_t size_bytes;
            done = record_body_write(buffer, bytes, capacity, &size_bytes, NULL) == VELTA_OK;
            if (done) {
                test_assert_bytes(bytes, attempt->written.body.bytes, size_bytes, "the body");
                done = read_body(memory, bytes, size_bytes, NULL, 0, attempt->written.first_rows) == VELTA_OK;
            }
            free(bytes);
        }
        record_buffer_destroy(buffer);
    }
    test_allocator_disarm(allocator);
    memory_destroy(memory);
    return done;
}

static void refused_memory_changes_nothing(void **state) {
    static struct attempt attempt;
    struct random random = random_seeded(9);
    struct memory *memory = memory_create(NULL, 0);
    (void)state;
    write_random(memory, &random, &attempt.written);
    test_allocator_init(&attempt.allocator);
    assert_true(test_every_allocation_fails(&attempt.allocator, write_and_read, &attempt) > 10);
    release(&attempt.written);
    memory_destroy(memory);
}

/* ---- the prefix code alone */

static void prefix_code_round_trips(void **state) {
    struct random random = random_seeded(10);
    static uint8_t bytes[5000], coded[8000], back[5000];
    (void)state;
    for (size_t round = 0; round < test_rounds(2000); round++) {
        size_t n = 1 + random_below(&random, round % 10 == 0 ? sizeof bytes : 300);
        unsigned spread = 1 + (unsigned)random_below(&random, 256);
        unsigned skew = (unsigned)random_below(&random, 12);
        for (size_t i = 0; i < n; i++) {
            uint64_t value = random_below(&random, spread);
            for (unsigned k = 0; k < skew; k++) {
                value = value * random_below(&random, 256) / 256;
            }
            bytes[i] = (uint8_t)(value + 256 - spread);
        }
        uint32_t counts[256];
        struct plane_code code;
        plane_count(bytes, n, counts);
        uint64_t size_bytes = plane_code_make(&code, counts);
        assert_true(size_bytes <= sizeof coded - 8);
        memset(coded, 0xEE, sizeof coded);
        plane_encode(&code, bytes, n, coded);
        assert_int_equal(coded[size_bytes], 0xEE);
        assert_true(plane_decode(coded, size_bytes, back, n));
        assert_memory_equal(bytes, back, n);
        assert_false(plane_decode(coded, size_bytes - 1, back, n));
        assert_false(plane_decode(coded, size_bytes + 1, back, n));
        for (int flip = 0; flip < 4; flip++) { /* must stay inside its buffers */
            size_t bit = random_below(&random, size_bytes * 8);
            coded[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            (void)plane_decode(coded, size_bytes, back, n);
            coded[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
}

/* Fibonacci counts make the deepest tree: the limit on lengths must hold and the code stay whole. */
static void deep_codes_are_limited(void **state) {
    uint32_t counts[256] = {0};
    uint32_t a = 1, b = 1;
    struct plane_code code;
    (void)state;
    for (int i = 0; i < 40; i++) {
        counts[i] = a;
        uint32_t next = a + b;
        a = b;
        b = next;
    }
    (void)plane_code_make(&code, counts);
    uint32_t kraft = 0;
    for (int i = 0; i < 40; i++) {
        assert_true(code.lengths[i] >= 1 && code.lengths[i] <= PLANE_MAX_LENGTH);
        kraft += 1u << (PLANE_MAX_LENGTH - code.lengths[i]);
    }
    assert_int_equal(kraft, 1u << PLANE_MAX_LENGTH);
    assert_int_equal(code.lengths[39], 1);
}

/* ---- size and speed of typical deltas */

static double seconds_since(clock_t start) {
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

static const struct velta_column wide_spec = {.name = "v", .type = VELTA_VECTOR, .dimensions = 384};
static const struct velta_column *const wide_columns_list[1] = {&wide_spec};
static const struct velta_column *const *wide_columns(void *context, uint32_t table, uint32_t *column_count) {
    (void)context;
    (void)table;
    *column_count = 1;
    return wide_columns_list;
}
static uint32_t wide_rows(void *context, uint32_t table) {
    (void)context;
    (void)table;
    return 100000;
}

/* 5 % of 384 elements change, by gaussian amounts: raw, 19 x (index + value) + 16 bytes. */
static void typical_deltas_are_small_and_fast(void **state) {
    enum { DELTAS = 20000, PER_DELTA = 19, PER_CHANGE = 100 };
    struct random random = random_seeded(11);
    struct memory *memory = memory_create(NULL, 0);
    struct record_schema schema = {NULL, wide_columns, wide_rows};
    struct record_buffer *buffer;
    struct vector_delta *deltas = calloc(DELTAS, sizeof *deltas);
    uint32_t *indices = calloc(DELTAS * PER_DELTA, sizeof *indices);
    float *values = calloc(DELTAS * PER_DELTA, sizeof *values);
    uint64_t raw_bytes = (uint64_t)DELTAS * (PER_DELTA * 8 + 16);
    (void)state;
    for (size_t i = 0; i < DELTAS; i++) {
        uint32_t *own = indices + i * PER_DELTA;
        for (uint32_t k = 0, d = 0; k < PER_DELTA; d++) { /* a uniform sample without repeats, ascending */
            if (random_below(&random, 384 - d) < PER_DELTA - k) own[k++] = d;
        }
        random_vector(&random, values + i * PER_DELTA, PER_DELTA);
        for (int k = 0; k < PER_DELTA; k++) {
            values[i * PER_DELTA + k] *= 0.02f;
        }
        deltas[i] = (struct vector_delta){.operation = DELTA_SPARSE,
                                          .row = (uint32_t)random_below(&random, 100000),
                                          .count = PER_DELTA,
                                          .indices = own,
                                          .values = values + i * PER_DELTA};
    }
    assert_int_equal(record_buffer_create(memory, &buffer, NULL), VELTA_OK);
    double add_seconds = 1e9, write_seconds = 1e9, read_seconds = 1e9;
    size_t size_bytes = 0;
    for (int round = 0; round < 5; round++) {
        record_buffer_clear(buffer);
        clock_t start = clock();
        for (uint32_t i = 0; i < DELTAS; i += PER_CHANGE) {
            struct change change = {.kind = CHANGE_VECTORS, .sequence = 5 + i, .time_ms = 1700000000000 + i / 10};
            change.deltas = deltas + i;
            change.delta_count = PER_CHANGE;
            assert_int_equal(record_buffer_add(buffer, &schema, &change, NULL), VELTA_OK);
        }
        double seconds = seconds_since(start);
        if (seconds < add_seconds) add_seconds = seconds;
        start = clock();
        struct body body = write_body(buffer);
        seconds = seconds_since(start);
        if (seconds < write_seconds) write_seconds = seconds;
        size_bytes = body.size_bytes;
        start = clock();
        struct record_reader *reader;
        struct change change;
        bool more = true;
        assert_int_equal(record_reader_open(memory, body.bytes, body.size_bytes, &reader, NULL), VELTA_OK);
        while (more) {
            assert_int_equal(record_reader_next(reader, &schema, &change, &more, NULL), VELTA_OK);
        }
        record_reader_close(reader);
        seconds = seconds_since(start);
        if (seconds < read_seconds) read_seconds = seconds;
        free(body.bytes);
    }
    double buffer_bytes = (double)record_buffer_bytes(buffer);
    print_message("sparse deltas, 19 of 384: %.3f of raw (%.1f bytes each); add %.3f us, compress %.2f GB/s, "
                  "decode %.3f us each\n",
                  (double)size_bytes / (double)raw_bytes, (double)size_bytes / DELTAS, add_seconds / DELTAS * 1e6,
                  buffer_bytes / write_seconds / 1e9, read_seconds / DELTAS * 1e6);
    assert_true(size_bytes * 2 <= raw_bytes);
    record_buffer_destroy(buffer);
    memory_destroy(memory);
    free(deltas);
    free(indices);
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_comes_back),        cmocka_unit_test(damaged_bodies_are_refused),
        cmocka_unit_test(refused_memory_changes_nothing), cmocka_unit_test(prefix_code_round_trips),
        cmocka_unit_test(deep_codes_are_limited),         cmocka_unit_test(typical_deltas_are_small_and_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
