/*
 * The schema segment: what tables and tags there are. Little-endian, no padding:
 *
 *   u32 table count, then per table, in order of number:
 *     u8  1 dropped, 0 not; nothing more of a dropped one
 *     u16 bytes of the name, the name
 *     u32 rows (tombstones included)
 *     u8  1 when there is a hidden expiry column
 *     u32 column count, then per column:
 *       u16 bytes of the name, the name
 *       u8 type, u8 flags (1 primary key, 2 required, 4 no index), u8 element, u8 metric
 *       u32 dimensions, u32 m, u32 ef_construction, u64 seed (as given; 0: default)
 *       u32 rows that were there before the column
 *   u32 tag count, then per tag: u16 bytes of the name, the name, u64 sequence, i64 time
 */
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/utf8.h"
#include "delta/snapshot.h"

enum { FLAG_KEY = 1, FLAG_REQUIRED = 2, FLAG_NO_INDEX = 4, COLUMN_FIXED_BYTES = 28 };

/* ---- writing; with `out` NULL only the size is counted */

struct writer {
    uint8_t *out;
    uint64_t at;
};

static void put(struct writer *writer, const void *bytes, size_t size_bytes) {
    if (writer->out) {
        memcpy(writer->out + writer->at, bytes, size_bytes);
    }
    writer->at += size_bytes;
}

static void put_u8(struct writer *writer, unsigned value) {
    uint8_t byte = (uint8_t)value;
    put(writer, &byte, 1);
}

static void put_u32(struct writer *writer, uint32_t value) {
    uint8_t bytes[4];
    bytes_put_u32(bytes, value);
    put(writer, bytes, sizeof bytes);
}

static void put_u64(struct writer *writer, uint64_t value) {
    uint8_t bytes[8];
    bytes_put_u64(bytes, value);
    put(writer, bytes, sizeof bytes);
}

static void put_name(struct writer *writer, const char *name) {
    uint8_t length[2];
    bytes_put_u16(length, (uint16_t)strlen(name));
    put(writer, length, sizeof length);
    put(writer, name, strlen(name));
}

static void put_column(struct writer *writer, const struct column *column) {
    const struct velta_column *spec = &column->spec;
    put_name(writer, spec->name);
    put_u8(writer, (unsigned)spec->type);
    put_u8(writer, (spec->primary_key ? FLAG_KEY : 0) | (spec->required ? FLAG_REQUIRED : 0) |
                       (spec->no_index ? FLAG_NO_INDEX : 0));
    put_u8(writer, (unsigned)spec->element);
    put_u8(writer, (unsigned)spec->metric);
    put_u32(writer, spec->dimensions);
    put_u32(writer, spec->m);
    put_u32(writer, spec->ef_construction);
    put_u64(writer, spec->seed);
    put_u32(writer, column->added_at_row);
}

static uint64_t write_schema(const struct snapshot_state *state, uint8_t *out) {
    struct writer writer = {.out = out};
    put_u32(&writer, (uint32_t)state->table_count);
    for (size_t t = 0; t < state->table_count; t++) {
        const struct table *table = state->tables[t].table;
        put_u8(&writer, state->tables[t].dropped);
        if (state->tables[t].dropped) {
            continue;
        }
        put_name(&writer, table->name);
        put_u32(&writer, table->row_count);
        put_u8(&writer, table->expiry != NULL);
        put_u32(&writer, (uint32_t)table->column_count);
        for (size_t c = 0; c < table->column_count; c++) {
            put_column(&writer, table->columns[c]);
        }
    }
    put_u32(&writer, (uint32_t)state->tag_count);
    for (size_t i = 0; i < state->tag_count; i++) {
        put_name(&writer, state->tags[i].name);
        put_u64(&writer, state->tags[i].sequence);
        put_u64(&writer, (uint64_t)state->tags[i].time_ms);
    }
    return writer.at;
}

uint64_t snapshot_schema_bytes(const struct snapshot_state *state) {
    return write_schema(state, NULL);
}

void snapshot_schema_write(const struct snapshot_state *state, void *out) {
    (void)write_schema(state, out);
}

/* ---- reading */

struct reader {
    const uint8_t *bytes;
    uint64_t size;
    uint64_t at;
    struct velta_error *error;
};

static enum velta_status damage(const struct reader *reader, const char *what) {
    return velta_fail(reader->error, VELTA_CORRUPT, reader->at, "the schema is damaged: %s", what);
}

/* What core/ refuses of a schema is damage here; memory is not. */
static enum velta_status as_damage(const struct reader *reader, enum velta_status status) {
    bool memory = status == VELTA_NO_MEMORY || status == VELTA_OVER_BUDGET;
    return status == VELTA_OK || memory ? status : damage(reader, "a table or column that cannot be");
}

static enum velta_status need(struct reader *reader, uint64_t size_bytes) {
    return size_bytes <= reader->size - reader->at ? VELTA_OK : damage(reader, "it ends too early");
}

static enum velta_status get_u8(struct reader *reader, unsigned max, unsigned *value) {
    enum velta_status status = need(reader, 1);
    if (!status) {
        *value = reader->bytes[reader->at];
        status = *value <= max ? VELTA_OK : damage(reader, "a value out of range");
        reader->at++;
    }
    return status;
}

static enum velta_status get_u32(struct reader *reader, uint32_t *value) {
    enum velta_status status = need(reader, 4);
    if (!status) {
        *value = bytes_get_u32(reader->bytes + reader->at);
        reader->at += 4;
    }
    return status;
}

static enum velta_status get_u64(struct reader *reader, uint64_t *value) {
    enum velta_status status = need(reader, 8);
    if (!status) {
        *value = bytes_get_u64(reader->bytes + reader->at);
        reader->at += 8;
    }
    return status;
}

/* A name of 1..VELTA_MAX_NAME_BYTES bytes of UTF-8 without NUL, into `name`. */
static enum velta_status get_name(struct reader *reader, char name[VELTA_MAX_NAME_BYTES + 1]) {
    enum velta_status status = need(reader, 2);
    if (status) {
        return status;
    }
    size_t length = bytes_get_u16(reader->bytes + reader->at);
    const uint8_t *from = reader->bytes + reader->at + 2;
    status = need(reader, 2 + (uint64_t)length);
    if (!status && (length == 0 || length > VELTA_MAX_NAME_BYTES || memchr(from, 0, length))) {
        status = damage(reader, "a name that cannot be");
    }
    for (size_t i = 0, step; !status && i < length; i += step) {
        step = utf8_step(from + i, length - i);
        if (step == 0) {
            return damage(reader, "a name that is not UTF-8");
        }
    }
    if (!status) {
        memcpy(name, from, length);
        name[length] = '\0';
        reader->at += 2 + (uint64_t)length;
    }
    return status;
}

/* The columns of a table; names live in the arena. */
static enum velta_status get_column(struct reader *reader, struct arena *arena, struct velta_column *spec,
                                    uint32_t *added_at_row) {
    char name[VELTA_MAX_NAME_BYTES + 1];
    unsigned type = 0;
    unsigned flags = 0;
    unsigned element = 0;
    unsigned metric = 0;
    enum velta_status status = get_name(reader, name);
    status = status ? status : get_u8(reader, VELTA_VECTOR, &type);
    status = status ? status : get_u8(reader, FLAG_KEY | FLAG_REQUIRED | FLAG_NO_INDEX, &flags);
    status = status ? status : get_u8(reader, VELTA_CODES, &element);
    status = status ? status : get_u8(reader, VELTA_DOT, &metric);
    status = status ? status : get_u32(reader, &spec->dimensions);
    status = status ? status : get_u32(reader, &spec->m);
    status = status ? status : get_u32(reader, &spec->ef_construction);
    status = status ? status : get_u64(reader, &spec->seed);
    status = status ? status : get_u32(reader, added_at_row);
    if (status) {
        return status;
    }
    char *copy = arena_allocate(arena, strlen(name) + 1);
    if (!copy) {
        return memory_fail(arena->memory, reader->error);
    }
    memcpy(copy, name, strlen(name) + 1);
    spec->name = copy;
    spec->type = (enum velta_type)type;
    spec->primary_key = (flags & FLAG_KEY) != 0;
    spec->required = (flags & FLAG_REQUIRED) != 0;
    spec->no_index = (flags & FLAG_NO_INDEX) != 0;
    spec->element = (enum velta_element)element;
    spec->metric = (enum velta_metric)metric;
    return VELTA_OK;
}

static enum velta_status make_table(struct snapshot_state *state, struct reader *reader, const char *name,
                                    uint32_t row_count, bool expiry, const struct velta_column *columns,
                                    const uint32_t *added_at_row, uint32_t column_count, struct snapshot_table *out) {
    uint32_t number = out->number;
    enum velta_status status = snapshot_table_create(state, name, columns, column_count, out, reader->error);
    if (status) {
        return as_damage(reader, status);
    }
    out->number = number;
    status = table_begin_load(out->table, row_count, reader->error);
    if (!status && expiry) {
        status = table_make_expiry(out->table, reader->error);
    }
    for (uint32_t c = 0; !status && c < column_count; c++) {
        if (added_at_row[c] > row_count) {
            return damage(reader, "a column added after the last row");
        }
        out->table->columns[c]->added_at_row = added_at_row[c];
    }
    return status;
}

static enum velta_status get_table(struct snapshot_state *state, struct reader *reader, struct snapshot_table *out) {
    char name[VELTA_MAX_NAME_BYTES + 1];
    unsigned dropped = 0;
    unsigned expiry = 0;
    uint32_t row_count = 0;
    uint32_t column_count = 0;
    enum velta_status status = get_u8(reader, 1, &dropped);
    if (status || dropped) {
        out->dropped = true;
        return status;
    }
    status = get_name(reader, name);
    status = status ? status : get_u32(reader, &row_count);
    status = status ? status : get_u8(reader, 1, &expiry);
    status = status ? status : get_u32(reader, &column_count);
    if (!status && (column_count == 0 || column_count > VELTA_MAX_COLUMNS || row_count > VELTA_MAX_ROWS ||
                    column_count > (reader->size - reader->at) / COLUMN_FIXED_BYTES)) {
        status = damage(reader, "a number of rows or columns that cannot be");
    }
    if (status) {
        return status;
    }
    struct arena arena = {.memory = state->memory};
    struct velta_column *columns = arena_allocate(&arena, column_count * sizeof *columns);
    uint32_t *added_at_row = arena_allocate(&arena, column_count * sizeof *added_at_row);
    if (!columns || !added_at_row) {
        status = memory_fail(state->memory, reader->error);
    }
    for (uint32_t c = 0; !status && c < column_count; c++) {
        columns[c] = (struct velta_column){0};
        status = get_column(reader, &arena, &columns[c], &added_at_row[c]);
    }
    if (!status) {
        status = make_table(state, reader, name, row_count, expiry, columns, added_at_row, column_count, out);
    }
    arena_reset(&arena);
    return status;
}

static enum velta_status get_tags(struct snapshot_state *state, struct reader *reader) {
    uint32_t count = 0;
    enum velta_status status = get_u32(reader, &count);
    if (!status && count > (reader->size - reader->at) / 18) {
        status = damage(reader, "a number of tags that cannot be");
    }
    if (status || count == 0) {
        return status;
    }
    state->tags = memory_allocate_zero(state->memory, count * sizeof *state->tags);
    if (!state->tags) {
        return memory_fail(state->memory, reader->error);
    }
    state->tag_count = count;
    for (uint32_t i = 0; i < count && !status; i++) {
        char name[VELTA_MAX_NAME_BYTES + 1];
        uint64_t time_ms = 0;
        status = get_name(reader, name);
        status = status ? status : get_u64(reader, &state->tags[i].sequence);
        status = status ? status : get_u64(reader, &time_ms);
        if (!status) {
            state->tags[i].time_ms = (int64_t)time_ms;
            state->tags[i].name = memory_allocate(state->memory, strlen(name) + 1);
            if (!state->tags[i].name) {
                return memory_fail(state->memory, reader->error);
            }
            memcpy(state->tags[i].name, name, strlen(name) + 1);
        }
    }
    return status;
}

enum velta_status snapshot_schema_read(struct snapshot_state *state, const void *bytes, uint64_t size_bytes,
                                       struct velta_error *error) {
    struct reader reader = {.bytes = bytes, .size = size_bytes, .error = error};
    uint32_t table_count = 0;
    enum velta_status status = get_u32(&reader, &table_count);
    if (!status && table_count > size_bytes) {
        status = damage(&reader, "a number of tables that cannot be");
    }
    if (!status && table_count > 0) {
        state->tables = memory_allocate_zero(state->memory, table_count * sizeof *state->tables);
        if (!state->tables) {
            return memory_fail(state->memory, error);
        }
        state->table_count = table_count;
    }
    for (uint32_t t = 0; t < state->table_count; t++) {
        state->tables[t] = (struct snapshot_table){.number = t, .dropped = true};
    }
    for (uint32_t t = 0; t < table_count && !status; t++) {
        state->tables[t].dropped = false;
        status = get_table(state, &reader, &state->tables[t]);
    }
    status = status ? status : get_tags(state, &reader);
    if (!status && reader.at != reader.size) {
        status = damage(&reader, "bytes after its end");
    }
    return status;
}
