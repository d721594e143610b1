/*
 * The codec of a frame's body: any bytes are refused or decoded, and what decodes comes out the same after it was
 * written and decoded again; the second writing gives the same bytes.
 *
 * The first byte chooses what the rest is. 0: a body as it stands. 1: streams, put into blocks that are made right, so
 * that the changes in them are reached: u8 forms of the blocks (two bits each for HEAD, INDEX, floats, the others),
 * u16 bytes of each stream but the last, which has the rest; the streams one behind the other. 2: u16 size, then a
 * block of the prefix code. 3: any bytes through the prefix code and back.
 */
#include "tests/fuzz/fuzz.h"

#include <lz4.h>

#include "delta/plane_code.h"
#include "delta/record_streams.h"

enum { TABLES = 3, MAX_CHANGES = 4096, HEAD_BYTES = 1 + 1 + 2 * (STREAM_COUNT - 1) };

/* Tables 0 and 1 are there with the sample's columns, 1 without rows; 2 is one that there is not. */
struct world {
    const struct velta_column *columns[SAMPLE_COLUMNS];
    uint32_t row_counts[TABLES];
};

static const struct velta_column *const *world_columns(void *context, uint32_t table, uint32_t *column_count) {
    struct world *world = context;
    if (table + 1 >= TABLES) return NULL;
    *column_count = SAMPLE_COLUMNS;
    return world->columns;
}
static uint32_t world_rows(void *context, uint32_t table) {
    return ((struct world *)context)->row_counts[table];
}

static struct record_schema make_world(struct world *world) {
    *world = (struct world){.row_counts = {40}};
    for (size_t i = 0; i < SAMPLE_COLUMNS; i++)
        world->columns[i] = &sample_schema[i];
    return (struct record_schema){.context = world, .columns = world_columns, .row_count = world_rows};
}

/* ---- one number for all that a change says */

struct digest {
    uint64_t hash;
};

static void add_bytes(struct digest *digest, const void *bytes, size_t size_bytes) {
    uint64_t pair[2] = {digest->hash, hash_bytes(bytes ? bytes : "", size_bytes)};
    digest->hash = hash_bytes(pair, sizeof pair);
}

static void add_number(struct digest *digest, uint64_t number) {
    add_bytes(digest, &number, sizeof number);
}

static bool is_there(const struct column_values *values, size_t i) {
    return !values->valid || (values->valid[i / 64] >> (i % 64) & 1) != 0;
}

static void add_values(struct digest *digest, const struct velta_column *spec, const struct column_values *values,
                       uint32_t count) {
    bool text = spec->type == VELTA_STRING || spec->type == VELTA_BYTES;
    size_t width = spec->type == VELTA_BOOL ? 1 : 8;
    if (spec->type == VELTA_VECTOR) width = spec->dimensions * (values->element == VELTA_F16 ? 2u : 4u);
    add_number(digest, values->data != NULL);
    add_number(digest, values->element);
    for (uint32_t i = 0; values->data && i < count; i++) {
        add_number(digest, is_there(values, i));
        if (!is_there(values, i)) continue;
        if (text)
            add_bytes(digest, (const char *)values->data + values->offsets[i],
                      (size_t)(values->offsets[i + 1] - values->offsets[i]));
        else
            add_bytes(digest, (const char *)values->data + i * width, width);
    }
}

static void add_columns(struct digest *digest, const struct velta_column *columns, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const struct velta_column *column = &columns[i];
        const uint64_t numbers[] = {column->type,
                                    column->primary_key,
                                    column->required,
                                    column->no_index,
                                    column->dimensions,
                                    column->element,
                                    column->metric,
                                    column->m,
                                    column->seed,
                                    column->ef_construction,
                                    count};
        add_bytes(digest, column->name, strlen(column->name));
        add_bytes(digest, numbers, sizeof numbers);
    }
}

static void add_deltas(struct digest *digest, const struct change *change) {
    for (uint32_t i = 0; i < change->delta_count; i++) {
        const struct vector_delta *delta = &change->deltas[i];
        const uint64_t numbers[] = {delta->operation, delta->set, delta->row, delta->count};
        add_bytes(digest, numbers, sizeof numbers);
        add_bytes(digest, &delta->amount, sizeof delta->amount);
        add_bytes(digest, delta->metadata, delta->metadata_bytes);
        if (delta->operation == DELTA_SPARSE) add_bytes(digest, delta->indices, delta->count * sizeof(uint32_t));
        if (delta->operation <= DELTA_DENSE) add_bytes(digest, delta->values, delta->count * sizeof(float));
    }
}

static void add_change(struct digest *digest, const struct world *world, const struct change *change) {
    const uint64_t numbers[] = {change->kind,      change->sequence,     (uint64_t)change->time_ms,
                                change->table,     change->column,       change->row_count,
                                change->first_row, change->column_count, change->delta_count};
    add_bytes(digest, numbers, sizeof numbers);
    if (change->name) add_bytes(digest, change->name, strlen(change->name));
    if (change->rows) add_bytes(digest, change->rows, change->row_count * sizeof *change->rows);
    if (change->times_ms) add_bytes(digest, change->times_ms, change->row_count * sizeof *change->times_ms);
    if (change->columns) add_columns(digest, change->columns, change->column_count);
    if (change->kind == CHANGE_ROWS_INSERT)
        for (uint32_t i = 0; i < change->column_count; i++)
            add_values(digest, world->columns[i], &change->values[i], change->row_count);
    if (change->kind == CHANGE_ROWS_SET)
        add_values(digest, world->columns[change->column], change->values, change->row_count);
    add_deltas(digest, change);
}

/* ---- there and back */

/* Decodes a body, and adds its changes to `buffer`; false: it was refused somewhere. */
static bool decode(struct memory *memory, const uint8_t *body, size_t size_bytes, struct record_buffer *buffer,
                   struct digest *digest) {
    struct world world;
    struct record_schema schema = make_world(&world);
    struct record_schema before = schema;
    struct record_reader *reader;
    struct change change;
    struct velta_error error = {VELTA_OK, 0, ""};
    bool more = true;
    size_t count = 0;
    if (record_reader_open(memory, body, size_bytes, &reader, &error)) {
        fuzz_demand(error.code == VELTA_OVER_BUDGET || error.offset <= size_bytes);
        return false;
    }
    enum velta_status status = VELTA_OK;
    while (!status && more && count++ < MAX_CHANGES) {
        status = record_reader_next(reader, &schema, &change, &more, &error);
        if (status || !more) break;
        add_change(digest, &world, &change);
        status = record_buffer_add(buffer, &before, &change, &error);
        fuzz_demand(status == VELTA_OK || status == VELTA_OVER_BUDGET || status == VELTA_LIMIT);
        if (change.kind == CHANGE_ROWS_INSERT) world.row_counts[change.table] += change.row_count;
    }
    fuzz_demand(!status || error.offset <= size_bytes || error.code != VELTA_CORRUPT);
    record_reader_close(reader);
    return !status && !more;
}

static uint8_t *write_body(struct record_buffer *buffer, size_t *size_bytes) {
    size_t bound = record_body_bound(buffer);
    uint8_t *body = malloc(bound);
    fuzz_demand(body != NULL);
    fuzz_demand(!record_body_write(buffer, body, bound, size_bytes, NULL) && *size_bytes <= bound);
    body = realloc(body, *size_bytes); /* so that reading past its end is seen */
    fuzz_demand(body != NULL);
    return body;
}

static void check_body(const uint8_t *body, size_t size_bytes) {
    struct memory *memory = memory_create(NULL, FUZZ_BUDGET_BYTES);
    struct record_buffer *first = NULL, *second = NULL;
    struct digest read = {0}, again = {0};
    fuzz_demand(memory && !record_buffer_create(memory, &first, NULL) && !record_buffer_create(memory, &second, NULL));
    if (decode(memory, body, size_bytes, first, &read)) {
        size_t written_bytes, last_bytes;
        uint8_t *written = write_body(first, &written_bytes);
        fuzz_demand(decode(memory, written, written_bytes, second, &again));
        fuzz_demand(read.hash == again.hash);
        uint8_t *last = write_body(second, &last_bytes);
        fuzz_demand(last_bytes == written_bytes && memcmp(written, last, last_bytes) == 0);
        free(written);
        free(last);
    }
    record_buffer_destroy(first);
    record_buffer_destroy(second);
    memory_destroy(memory); /* asserts that nothing is left */
}

/* ---- blocks made right */

static size_t put_block(unsigned form, const uint8_t *bytes, size_t size_bytes, uint8_t *out) {
    uint8_t stored[2 * UINT16_MAX + 1024];
    size_t stored_bytes = size_bytes;
    out[0] = (uint8_t)form;
    if (form == RECORD_LZ4) {
        stored_bytes =
            (size_t)LZ4_compress_default((const char *)bytes, (char *)stored, (int)size_bytes, sizeof stored);
    } else if (form == RECORD_CODED) {
        struct plane_code code;
        uint32_t counts[256];
        plane_count(bytes, size_bytes, counts);
        stored_bytes = (size_t)plane_code_make(&code, counts);
        plane_encode(&code, bytes, size_bytes, stored);
    } else {
        out[0] = RECORD_RAW;
        memcpy(out + 1, bytes, size_bytes);
        return 1 + size_bytes;
    }
    size_t head = 1 + bytes_put_varint(out + 1, stored_bytes);
    memcpy(out + head, stored, stored_bytes);
    return head + stored_bytes;
}

/* The planes of floats are taken as the input has them. */
static void check_streams(const uint8_t *data, size_t size_bytes) {
    if (size_bytes < HEAD_BYTES) return;
    const uint8_t *from = data + HEAD_BYTES;
    size_t left = size_bytes - HEAD_BYTES;
    uint8_t *body = malloc(4 * size_bytes + STREAM_COUNT * 8 * 1024), *at = body;
    fuzz_demand(body != NULL);
    *at++ = RECORD_BODY_VERSION;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        unsigned width = record_stream_width(i);
        unsigned forms = i <= STREAM_INDEX ? i : width > 1 ? 2 : 3;
        size_t bytes = i + 1 < STREAM_COUNT ? bytes_get_u16(data + 2 + 2 * i) : left;
        if (bytes > left) bytes = left;
        if (bytes > UINT16_MAX) bytes = UINT16_MAX;
        bytes -= bytes % width;
        at += bytes_put_varint(at, bytes);
        for (unsigned plane = 0; bytes > 0 && plane < width; plane++)
            at += put_block(data[1] >> (2 * forms) & 3, from + plane * (bytes / width), bytes / width, at);
        from += bytes;
        left -= bytes;
    }
    size_t body_bytes = (size_t)(at - body);
    body = realloc(body, body_bytes);
    fuzz_demand(body != NULL);
    check_body(body, body_bytes);
    free(body);
}

/* ---- the prefix code alone */

static void check_code(const uint8_t *bytes, size_t size_bytes) {
    struct plane_code code;
    uint32_t counts[256];
    if (size_bytes == 0) return;
    plane_count(bytes, size_bytes, counts);
    size_t coded_bytes = (size_t)plane_code_make(&code, counts);
    uint8_t *coded = malloc(coded_bytes), *out = malloc(size_bytes + 1);
    fuzz_demand(coded && out);
    plane_encode(&code, bytes, size_bytes, coded);
    out[size_bytes] = 0x5A;
    fuzz_demand(plane_decode(coded, coded_bytes, out, size_bytes));
    fuzz_demand(memcmp(out, bytes, size_bytes) == 0 && out[size_bytes] == 0x5A);
    fuzz_demand(size_bytes < 2 || !plane_decode(coded, coded_bytes - 1, out, size_bytes));
    free(coded);
    free(out);
}

static void check_coded(const uint8_t *data, size_t size_bytes) {
    if (size_bytes < 2) return;
    size_t out_bytes = bytes_get_u16(data);
    uint8_t *out = malloc(out_bytes + 1);
    uint8_t *coded = malloc(size_bytes - 2 + 1);
    fuzz_demand(out && coded);
    memcpy(coded, data + 2, size_bytes - 2);
    if (plane_decode(coded, size_bytes - 2, out, out_bytes)) check_code(out, out_bytes);
    free(out);
    free(coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    if (size_bytes == 0) return 0;
    switch (data[0] % 4) {
    case 0:
        check_body(data + 1, size_bytes - 1);
        break;
    case 1:
        check_streams(data, size_bytes);
        break;
    case 2:
        check_coded(data + 1, size_bytes - 1);
        break;
    default:
        check_code(data + 1, size_bytes - 1);
    }
    return 0;
}

/* ---- first inputs: the frames of a real life, as streams */

enum { MAX_BASES = 64 };
static struct {
    uint8_t *bytes;
    size_t size_bytes;
} bases[MAX_BASES];
static size_t base_count;

static void add_base(struct memory *memory, const uint8_t *body, size_t body_bytes) {
    struct record_bytes streams[STREAM_COUNT];
    size_t offsets[STREAM_COUNT];
    uint8_t *planes = malloc(body_bytes * 300 + HEAD_BYTES);
    fuzz_demand(planes && !record_body_read(memory, body, body_bytes, streams, offsets, NULL));
    uint8_t *at = planes + HEAD_BYTES;
    memset(planes, 0, HEAD_BYTES);
    planes[0] = 1;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        size_t width = record_stream_width(i), n = streams[i].size_bytes / width;
        if (i + 1 < STREAM_COUNT) bytes_put_u16(planes + 2 + 2 * i, (uint16_t)streams[i].size_bytes);
        for (size_t j = 0; j < n; j++) {
            uint64_t number = 0;
            memcpy(&number, streams[i].bytes + j * width, width);
            if (width > 1) number = number << 1 | number >> (8 * width - 1);
            for (size_t plane = 0; plane < width; plane++)
                at[plane * n + j] = (uint8_t)(number >> (8 * plane));
        }
        at += n * width;
        memory_release(memory, streams[i].bytes, streams[i].capacity);
    }
    bases[base_count].bytes = planes;
    bases[base_count++].size_bytes = (size_t)(at - planes);
}

static void make_bases(void) {
    struct fake_storage life;
    fuzz_live_files(&life);
    struct memory *memory = memory_create(NULL, 0);
    const uint8_t *log = life.now[STORAGE_LOG].bytes;
    for (uint64_t at = 0; at + 64 <= life.now[STORAGE_LOG].size_bytes && base_count < MAX_BASES;) {
        uint32_t body_bytes = bytes_get_u32(log + at + 4);
        if (body_bytes > 0) add_base(memory, log + at + 64, body_bytes);
        at += 64 + body_bytes;
    }
    fuzz_demand(base_count > 20);
    memory_destroy(memory);
    fake_storage_release(&life);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed) {
    if (base_count == 0) make_bases();
    size_t choice = seed / 32 % base_count;
    return fuzz_mutate(data, size_bytes, max_bytes, seed, bases[choice].bytes, bases[choice].size_bytes);
}
