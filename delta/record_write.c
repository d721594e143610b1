/*
 * struct change -> streams. What goes where: docs/FORMAT.md; the names of the streams: record_streams.h.
 *
 * Adding reserves room for the most that a change can take, then writes without checks. A change that is refused leaves
 * the streams as they were.
 */
#include "core/bytes.h"
#include "core/error.h"
#include "delta/gaps.h"
#include "delta/record_streams.h"

enum { MAX_VARINT32 = 5 };

enum velta_status record_buffer_create(struct memory *memory, struct record_buffer **out, struct velta_error *error) {
    struct record_buffer *buffer = memory_allocate_zero(memory, sizeof *buffer);
    if (buffer == NULL) return memory_fail(memory, error);
    buffer->memory = memory;
    *out = buffer;
    return VELTA_OK;
}

void record_buffer_destroy(struct record_buffer *buffer) {
    if (buffer == NULL) return;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        memory_release(buffer->memory, buffer->streams[i].bytes, buffer->streams[i].capacity);
    }
    memory_release(buffer->memory, buffer->planes.bytes, buffer->planes.capacity);
    memory_release(buffer->memory, buffer, sizeof *buffer);
}

uint64_t record_buffer_bytes(const struct record_buffer *buffer) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        bytes += buffer->streams[i].size_bytes;
    }
    return bytes;
}

void record_buffer_clear(struct record_buffer *buffer) {
    record_buffer_rewind(buffer, (struct record_mark){0});
}

struct record_mark record_buffer_mark(const struct record_buffer *buffer) {
    struct record_mark mark = {.sequence = buffer->sequence, .time_ms = buffer->time_ms};
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        mark.streams[i] = buffer->streams[i].size_bytes;
    }
    return mark;
}

void record_buffer_rewind(struct record_buffer *buffer, struct record_mark mark) {
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        buffer->streams[i].size_bytes = mark.streams[i];
    }
    buffer->sequence = mark.sequence;
    buffer->time_ms = mark.time_ms;
}

/* ---- writing into reserved room */

/* Room still needed by a change, per stream. */
struct record_room {
    uint64_t bytes[STREAM_COUNT];
};

static enum velta_status reserve_room(struct record_buffer *buffer, const struct record_room *room,
                                      struct velta_error *error) {
    uint64_t total = record_buffer_bytes(buffer);
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        if (!checked_add_u64(total, room->bytes[i], &total)) total = UINT64_MAX;
    }
    if (total > RECORD_MAX_BODY_BYTES - 65536) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "one frame of the log holds at most 1 GiB");
    }
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        struct record_bytes *stream = &buffer->streams[i];
        size_t needed = stream->size_bytes + (size_t)room->bytes[i];
        if (needed <= stream->capacity) continue;
        enum velta_status status =
            memory_grow_array(buffer->memory, (void **)&stream->bytes, &stream->capacity, needed, 1, error);
        if (status != VELTA_OK) return status;
    }
    return VELTA_OK;
}

static inline void put_varint(struct record_bytes *stream, uint64_t value) {
    uint8_t *at = stream->bytes + stream->size_bytes;
    if (value < 0x80) {
        *at = (uint8_t)value;
        stream->size_bytes++;
    } else {
        stream->size_bytes += bytes_put_varint(at, value);
    }
}

static inline void put_bytes(struct record_bytes *stream, const void *bytes, size_t size_bytes) {
    if (size_bytes == 0) return;
    memcpy(stream->bytes + stream->size_bytes, bytes, size_bytes);
    stream->size_bytes += size_bytes;
}

static void put_head(struct record_buffer *buffer, uint64_t value) {
    put_varint(&buffer->streams[STREAM_HEAD], value);
}

static void put_name(struct record_buffer *buffer, const char *name) {
    size_t size_bytes = strlen(name);
    put_head(buffer, size_bytes);
    put_bytes(&buffer->streams[STREAM_TEXT], name, size_bytes);
}

/* What every change begins with. */
static void put_start(struct record_buffer *buffer, const struct change *change) {
    put_head(buffer, change->kind);
    put_head(buffer, bytes_zigzag((int64_t)((uint64_t)change->time_ms - (uint64_t)buffer->time_ms)));
    put_head(buffer, change->sequence - buffer->sequence);
    if (change->kind != CHANGE_TAG) put_head(buffer, change->table);
    buffer->time_ms = change->time_ms;
    buffer->sequence = change->sequence + change_span(change);
}
enum { START_BYTES = 3 * BYTES_MAX_VARINT + MAX_VARINT32 };

/* ---- vector deltas */

static void put_indices(struct record_bytes *stream, const uint32_t *indices, uint32_t count) {
    uint8_t *at = stream->bytes + stream->size_bytes;
    uint32_t next = 0;
    if (gaps_together(indices, count) < 0x80) { /* varints of a byte */
        gaps_put(indices, count, at);
        stream->size_bytes += count;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        at += bytes_put_varint(at, indices[i] - next);
        next = indices[i] + 1;
    }
    stream->size_bytes = (size_t)(at - stream->bytes);
}

static void put_delta(struct record_buffer *buffer, const struct vector_delta *delta, uint32_t previous_row) {
    unsigned first = (unsigned)delta->operation - 1;
    if (delta->set) first |= RECORD_DELTA_SET;
    if (delta->metadata_bytes > 0) first |= RECORD_DELTA_METADATA;
    put_head(buffer, first);
    put_head(buffer, bytes_zigzag((int64_t)delta->row - (int64_t)previous_row));
    if (delta->metadata_bytes > 0) {
        put_head(buffer, delta->metadata_bytes);
        put_bytes(&buffer->streams[STREAM_TEXT], delta->metadata, delta->metadata_bytes);
    }
    if (delta->operation == DELTA_SPARSE) {
        put_head(buffer, delta->count);
        if (delta->count > 0) put_indices(&buffer->streams[STREAM_INDEX], delta->indices, delta->count);
    }
    bool values = delta->operation == DELTA_SPARSE || delta->operation == DELTA_DENSE;
    if (values && delta->count > 0) {
        struct record_bytes *stream = &buffer->streams[STREAM_F32];
        bytes_copy_words(stream->bytes + stream->size_bytes, delta->values, delta->count);
        stream->size_bytes += (size_t)delta->count * sizeof(float);
    } else if (!values) {
        put_bytes(&buffer->streams[STREAM_F32], &delta->amount, sizeof(float));
    }
}

static enum velta_status add_vectors(struct record_buffer *buffer, const struct change *change,
                                     struct velta_error *error) {
    struct record_room room = {{0}};
    uint64_t count = 0;
    uint64_t metadata = 0;
    for (uint32_t i = 0; i < change->delta_count; i++) {
        count += change->deltas[i].count;
        metadata += change->deltas[i].metadata_bytes;
    }
    room.bytes[STREAM_HEAD] = START_BYTES + 2 * MAX_VARINT32 + change->delta_count * (uint64_t)(1 + 3 * MAX_VARINT32);
    room.bytes[STREAM_INDEX] = count * 2; /* below 8192: two bytes */
    room.bytes[STREAM_F32] = (count + change->delta_count) * sizeof(float);
    room.bytes[STREAM_TEXT] = metadata;
    enum velta_status status = reserve_room(buffer, &room, error);
    if (status != VELTA_OK) return status;
    put_start(buffer, change);
    put_head(buffer, change->column);
    put_head(buffer, change->delta_count);
    uint32_t previous_row = 0;
    for (uint32_t i = 0; i < change->delta_count; i++) {
        put_delta(buffer, &change->deltas[i], previous_row);
        previous_row = change->deltas[i].row;
    }
    return VELTA_OK;
}

/* ---- columns of values */

static bool is_valid(const struct column_values *values, size_t i) {
    return values->valid == NULL || (values->valid[i / 64] >> (i % 64) & 1) != 0;
}

static size_t number_bytes(const int64_t *numbers, const struct column_values *values, size_t count, bool differences) {
    size_t bytes = 0;
    uint64_t previous = 0;
    for (size_t i = 0; i < count; i++) {
        if (values != NULL && !is_valid(values, i)) continue;
        uint64_t number = (uint64_t)numbers[i];
        bytes += bytes_varint_size(bytes_zigzag((int64_t)(number - previous)));
        if (differences) previous = number;
    }
    return bytes;
}

/* A flag in HEAD says whether differences were smaller. values: whose validity counts, or NULL. */
static void put_numbers(struct record_buffer *buffer, const int64_t *numbers, const struct column_values *values,
                        size_t count) {
    bool differences = number_bytes(numbers, values, count, true) < number_bytes(numbers, values, count, false);
    uint64_t previous = 0;
    put_head(buffer, differences);
    for (size_t i = 0; i < count; i++) {
        if (values != NULL && !is_valid(values, i)) continue;
        uint64_t number = (uint64_t)numbers[i];
        put_varint(&buffer->streams[STREAM_NUMBER], bytes_zigzag((int64_t)(number - previous)));
        if (differences) previous = number;
    }
}

/* The bytes of the texts from `first` to `end`. Where all are empty there may be no data. */
static void put_text_bytes(struct record_buffer *buffer, const struct column_values *values, size_t first, size_t end) {
    size_t size_bytes = (size_t)(values->offsets[end] - values->offsets[first]);
    if (size_bytes == 0) return;
    put_bytes(&buffer->streams[STREAM_TEXT], (const uint8_t *)values->data + values->offsets[first], size_bytes);
}

static void put_texts(struct record_buffer *buffer, const struct column_values *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!is_valid(values, i)) continue;
        put_varint(&buffer->streams[STREAM_INDEX], (size_t)(values->offsets[i + 1] - values->offsets[i]));
        if (values->valid != NULL) put_text_bytes(buffer, values, i, i + 1);
    }
    if (values->valid == NULL && count > 0) {
        put_text_bytes(buffer, values, 0, count);
    }
}

static void put_fixed(struct record_bytes *stream, const struct column_values *values, size_t count, size_t width) {
    const uint8_t *bytes = values->data;
    if (values->valid == NULL) {
        put_bytes(stream, bytes, count * width);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_valid(values, i)) put_bytes(stream, bytes + i * width, width);
    }
}

/* Bits, low first, in whole bytes. */
static void put_bits(struct record_buffer *buffer, const struct column_values *values, size_t count, bool validity) {
    struct record_bytes *bits = &buffer->streams[STREAM_BITS];
    const uint8_t *booleans = values->data;
    unsigned pending = 0;
    unsigned pending_bits = 0;
    for (size_t i = 0; i < count; i++) {
        if (!validity && !is_valid(values, i)) continue;
        bool bit = validity ? is_valid(values, i) : booleans[i] != 0;
        pending |= (unsigned)bit << pending_bits++;
        if (pending_bits == 8) {
            bits->bytes[bits->size_bytes++] = (uint8_t)pending;
            pending = pending_bits = 0;
        }
    }
    if (pending_bits > 0) bits->bytes[bits->size_bytes++] = (uint8_t)pending;
}

static size_t fixed_width(const struct velta_column *spec, const struct column_values *values) {
    if (spec->type == VELTA_FLOAT) return sizeof(double);
    size_t element = values->element == VELTA_F16 ? sizeof(uint16_t) : sizeof(float);
    return spec->dimensions * element;
}

static enum record_stream fixed_stream(const struct velta_column *spec, const struct column_values *values) {
    if (spec->type == VELTA_FLOAT) return STREAM_F64;
    return values->element == VELTA_F16 ? STREAM_F16 : STREAM_F32;
}

static void room_for_values(struct record_room *room, const struct velta_column *spec,
                            const struct column_values *values, uint64_t count) {
    room->bytes[STREAM_HEAD] += 3;
    if (column_all_null(values)) return;
    if (values->valid != NULL) room->bytes[STREAM_BITS] += (count + 7) / 8;
    switch (spec->type) {
    case VELTA_INT:
    case VELTA_TIMESTAMP:
        room->bytes[STREAM_NUMBER] += count * BYTES_MAX_VARINT;
        break;
    case VELTA_BOOL:
        room->bytes[STREAM_BITS] += (count + 7) / 8;
        break;
    case VELTA_STRING:
    case VELTA_BYTES:
        room->bytes[STREAM_INDEX] += count * MAX_VARINT32;
        if (count > 0) room->bytes[STREAM_TEXT] += values->offsets[count] - values->offsets[0];
        break;
    default:
        room->bytes[fixed_stream(spec, values)] += count * fixed_width(spec, values);
        break;
    }
}

static void put_values(struct record_buffer *buffer, const struct velta_column *spec,
                       const struct column_values *values, size_t count) {
    if (column_all_null(values)) {
        put_head(buffer, RECORD_ALL_NULL);
        return;
    }
    put_head(buffer, values->valid != NULL ? RECORD_SOME_NULL : RECORD_ALL_VALID);
    if (values->valid != NULL) put_bits(buffer, values, count, true);
    switch (spec->type) {
    case VELTA_INT:
    case VELTA_TIMESTAMP:
        put_numbers(buffer, values->data, values, count);
        break;
    case VELTA_BOOL:
        put_bits(buffer, values, count, false);
        break;
    case VELTA_STRING:
    case VELTA_BYTES:
        put_texts(buffer, values, count);
        break;
    default:
        if (spec->type == VELTA_VECTOR) put_head(buffer, values->element == VELTA_F16);
        put_fixed(&buffer->streams[fixed_stream(spec, values)], values, count, fixed_width(spec, values));
        break;
    }
}

/* ---- rows */

static void put_rows(struct record_buffer *buffer, const uint32_t *rows, size_t count) {
    int64_t previous = 0;
    for (size_t i = 0; i < count; i++) {
        put_varint(&buffer->streams[STREAM_INDEX], bytes_zigzag((int64_t)rows[i] - previous));
        previous = rows[i];
    }
}

static const struct velta_column *const *columns_of(const struct record_schema *schema, uint32_t table,
                                                    uint32_t *column_count) {
    *column_count = 0;
    return schema->columns(schema->context, table, column_count);
}

static enum velta_status add_insert(struct record_buffer *buffer, const struct record_schema *schema,
                                    const struct change *change, struct velta_error *error) {
    struct record_room room = {{0}};
    uint32_t column_count;
    const struct velta_column *const *columns = columns_of(schema, change->table, &column_count);
    if (columns == NULL || column_count != change->column_count) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the rows do not have the table's columns");
    }
    room.bytes[STREAM_HEAD] = START_BYTES + 2 * MAX_VARINT32;
    for (uint32_t i = 0; i < column_count; i++) {
        room_for_values(&room, columns[i], &change->values[i], change->row_count);
    }
    enum velta_status status = reserve_room(buffer, &room, error);
    if (status != VELTA_OK) return status;
    put_start(buffer, change);
    put_head(buffer, change->row_count);
    put_head(buffer, change->first_row);
    for (uint32_t i = 0; i < column_count; i++) {
        put_values(buffer, columns[i], &change->values[i], change->row_count);
    }
    return VELTA_OK;
}

/* ROWS_SET, ROWS_DELETE, ROWS_EXPIRY */
static enum velta_status add_rows(struct record_buffer *buffer, const struct record_schema *schema,
                                  const struct change *change, struct velta_error *error) {
    struct record_room room = {{0}};
    const struct velta_column *spec = NULL;
    room.bytes[STREAM_HEAD] = START_BYTES + 2 * MAX_VARINT32 + 1;
    room.bytes[STREAM_INDEX] = (uint64_t)change->row_count * MAX_VARINT32;
    if (change->kind == CHANGE_ROWS_SET) {
        uint32_t column_count;
        const struct velta_column *const *columns = columns_of(schema, change->table, &column_count);
        if (change->column >= column_count) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the table has no such column");
        }
        spec = columns[change->column];
        room_for_values(&room, spec, change->values, change->row_count);
    } else if (change->kind == CHANGE_ROWS_EXPIRY) {
        room.bytes[STREAM_NUMBER] = (uint64_t)change->row_count * BYTES_MAX_VARINT;
    }
    enum velta_status status = reserve_room(buffer, &room, error);
    if (status != VELTA_OK) return status;
    put_start(buffer, change);
    if (spec != NULL) put_head(buffer, change->column);
    put_head(buffer, change->row_count);
    put_rows(buffer, change->rows, change->row_count);
    if (spec != NULL) put_values(buffer, spec, change->values, change->row_count);
    if (change->kind == CHANGE_ROWS_EXPIRY) put_numbers(buffer, change->times_ms, NULL, change->row_count);
    return VELTA_OK;
}

/* ---- tables */

static void put_column(struct record_buffer *buffer, const struct velta_column *column) {
    unsigned flags = (column->primary_key ? RECORD_COLUMN_KEY : 0) | (column->required ? RECORD_COLUMN_REQUIRED : 0) |
                     (column->no_index ? RECORD_COLUMN_NO_INDEX : 0);
    put_name(buffer, column->name);
    put_head(buffer, column->type);
    put_head(buffer, flags);
    if (column->type != VELTA_VECTOR) return;
    put_head(buffer, column->dimensions);
    put_head(buffer, column->element);
    put_head(buffer, column->metric);
    put_head(buffer, column->m);
    put_head(buffer, column->ef_construction);
    put_head(buffer, column->seed);
}

static enum velta_status add_schema(struct record_buffer *buffer, const struct change *change,
                                    struct velta_error *error) {
    struct record_room room = {{0}};
    uint32_t column_count = change->kind == CHANGE_TABLE_CREATE ? change->column_count
                            : change->kind == CHANGE_COLUMN_ADD ? 1
                                                                : 0;
    bool named = change->kind == CHANGE_TABLE_CREATE || change->kind == CHANGE_TAG;
    room.bytes[STREAM_HEAD] = START_BYTES + 3 * MAX_VARINT32 + (uint64_t)column_count * 64;
    if (named) room.bytes[STREAM_TEXT] = strlen(change->name);
    for (uint32_t i = 0; i < column_count; i++) {
        room.bytes[STREAM_TEXT] += strlen(change->columns[i].name);
    }
    enum velta_status status = reserve_room(buffer, &room, error);
    if (status != VELTA_OK) return status;
    put_start(buffer, change);
    if (named) put_name(buffer, change->name);
    if (change->kind == CHANGE_TABLE_CREATE) put_head(buffer, column_count);
    for (uint32_t i = 0; i < column_count; i++) {
        put_column(buffer, &change->columns[i]);
    }
    return VELTA_OK;
}

enum velta_status record_buffer_add(struct record_buffer *buffer, const struct record_schema *schema,
                                    const struct change *change, struct velta_error *error) {
    switch (change->kind) {
    case CHANGE_VECTORS:
        return add_vectors(buffer, change, error);
    case CHANGE_ROWS_INSERT:
        return add_insert(buffer, schema, change, error);
    case CHANGE_ROWS_SET:
    case CHANGE_ROWS_DELETE:
    case CHANGE_ROWS_EXPIRY:
        return add_rows(buffer, schema, change, error);
    default:
        return add_schema(buffer, change, error);
    }
}
