/*
 * Streams -> struct change. Everything that a change says is checked before it is handed out: kinds and flags, tables,
 * columns and rows against the schema, lengths against what the streams still hold (before any allocation), numbers for
 * finiteness, names for UTF-8. What needs the tables' contents (keys, liveness, UTF-8 of values) is checked by those
 * who apply the change.
 */
#include "core/bytes.h"
#include "core/error.h"
#include "core/utf8.h"
#include "delta/record_streams.h"

struct record_reader {
    struct memory *memory;
    struct arena arena; /* of the present change */
    struct record_bytes streams[STREAM_COUNT];
    size_t offsets[STREAM_COUNT]; /* where each began in the body */
    size_t at[STREAM_COUNT];
    uint64_t sequence;
    int64_t time_ms;
    bool started; /* there was a change before */
};

enum velta_status record_reader_open(struct memory *memory, const void *body, size_t size_bytes,
                                     struct record_reader **out, struct velta_error *error) {
    struct record_reader *reader = memory_allocate_zero(memory, sizeof *reader);
    if (reader == NULL) return memory_fail(memory, error);
    reader->memory = memory;
    reader->arena.memory = memory;
    enum velta_status status = record_body_read(memory, body, size_bytes, reader->streams, reader->offsets, error);
    if (status != VELTA_OK) {
        memory_release(memory, reader, sizeof *reader);
        return status;
    }
    *out = reader;
    return VELTA_OK;
}

uint64_t record_reader_bytes(const struct record_reader *reader) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        bytes += reader->streams[i].size_bytes;
    }
    return bytes;
}

void record_reader_close(struct record_reader *reader) {
    if (reader == NULL) return;
    arena_reset(&reader->arena);
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        memory_release(reader->memory, reader->streams[i].bytes, reader->streams[i].capacity);
    }
    memory_release(reader->memory, reader, sizeof *reader);
}

/* ---- taking from streams. A failure is remembered by the caller's status. */

static enum velta_status damaged(const struct record_reader *reader, enum record_stream stream, const char *what,
                                 struct velta_error *error) {
    return velta_fail(error, VELTA_CORRUPT, reader->offsets[stream], "a record of the log is damaged: %s", what);
}

static size_t left_in(const struct record_reader *reader, enum record_stream stream) {
    return reader->streams[stream].size_bytes - reader->at[stream];
}

static bool take_varint(struct record_reader *reader, enum record_stream stream, uint64_t *value) {
    const uint8_t *bytes = reader->streams[stream].bytes;
    size_t at = reader->at[stream];
    size_t end = reader->streams[stream].size_bytes;
    if (at < end && bytes[at] < 0x80) {
        *value = bytes[at];
        reader->at[stream]++;
        return true;
    }
    size_t length = at < end ? bytes_get_varint(bytes + at, bytes + end, value) : 0;
    reader->at[stream] += length;
    return length != 0;
}

static bool take_u32(struct record_reader *reader, enum record_stream stream, uint32_t limit, uint32_t *value) {
    uint64_t number;
    if (!take_varint(reader, stream, &number) || number > limit) return false;
    *value = (uint32_t)number;
    return true;
}

/* NULL: the stream does not hold so many. size_bytes 0: a pointer that is not NULL. */
static const void *take_bytes(struct record_reader *reader, enum record_stream stream, uint64_t size_bytes) {
    if (size_bytes > left_in(reader, stream)) return NULL;
    if (size_bytes == 0) return "";
    const uint8_t *bytes = reader->streams[stream].bytes + reader->at[stream];
    reader->at[stream] += (size_t)size_bytes;
    return bytes;
}

/* The arena's memory for `count` elements; at least one byte. NULL: refused. */
static void *allocate(struct record_reader *reader, uint64_t count, size_t element_bytes) {
    size_t size_bytes;
    if (count > SIZE_MAX || !checked_multiply_size((size_t)count, element_bytes, &size_bytes)) return NULL;
    return arena_allocate(&reader->arena, size_bytes > 0 ? size_bytes : 1);
}

static bool are_finite(const float *values, size_t count) {
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = bytes_get_u32(&values[i]);
        bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return bad == 0;
}

static enum velta_status take_name(struct record_reader *reader, const char **out, struct velta_error *error) {
    uint32_t size_bytes;
    char *name;
    if (!take_u32(reader, STREAM_HEAD, VELTA_MAX_NAME_BYTES, &size_bytes) || size_bytes == 0) {
        return damaged(reader, STREAM_HEAD, "the length of a name", error);
    }
    const void *bytes = take_bytes(reader, STREAM_TEXT, size_bytes);
    if (bytes == NULL || memchr(bytes, 0, size_bytes) != NULL || !utf8_is_valid(bytes, size_bytes)) {
        return damaged(reader, STREAM_TEXT, "a name", error);
    }
    name = allocate(reader, size_bytes + 1, 1);
    if (name == NULL) return memory_fail(reader->memory, error);
    memcpy(name, bytes, size_bytes);
    name[size_bytes] = 0;
    *out = name;
    return VELTA_OK;
}

/* ---- vector deltas */

static bool take_sparse(struct record_reader *reader, const struct velta_column *spec, struct vector_delta *delta,
                        uint32_t *indices) {
    uint64_t next = 0;
    for (uint32_t i = 0; i < delta->count; i++) {
        uint64_t gap;
        if (!take_varint(reader, STREAM_INDEX, &gap) || gap >= spec->dimensions || next + gap >= spec->dimensions) {
            return false;
        }
        indices[i] = (uint32_t)(next + gap);
        next += gap + 1;
    }
    delta->indices = indices;
    return true;
}

static enum velta_status take_delta(struct record_reader *reader, const struct velta_column *spec, uint32_t row_count,
                                    uint32_t previous_row, struct vector_delta *delta, struct velta_error *error) {
    uint32_t first;
    uint64_t row;
    *delta = (struct vector_delta){0};
    if (!take_u32(reader, STREAM_HEAD, 15, &first) || !take_varint(reader, STREAM_HEAD, &row)) {
        return damaged(reader, STREAM_HEAD, "a vector delta", error);
    }
    delta->operation = (enum delta_operation)((first & 3) + 1);
    delta->set = (first & RECORD_DELTA_SET) != 0;
    int64_t number = (int64_t)((uint64_t)bytes_unzigzag(row) + previous_row);
    bool takes_values = delta->operation == DELTA_SPARSE || delta->operation == DELTA_DENSE;
    if (number < 0 || number >= (int64_t)row_count || (delta->set && !takes_values)) {
        return damaged(reader, STREAM_HEAD, "a vector delta's row", error);
    }
    delta->row = (uint32_t)number;
    if (first & RECORD_DELTA_METADATA) {
        if (!take_u32(reader, STREAM_HEAD, RECORD_MAX_BODY_BYTES, &delta->metadata_bytes) ||
            delta->metadata_bytes == 0 ||
            (delta->metadata = take_bytes(reader, STREAM_TEXT, delta->metadata_bytes)) == NULL) {
            return damaged(reader, STREAM_HEAD, "a delta's metadata", error);
        }
    }
    delta->count = delta->operation == DELTA_DENSE ? spec->dimensions : 0;
    if (delta->operation == DELTA_SPARSE) {
        uint32_t *indices;
        if (!take_u32(reader, STREAM_HEAD, spec->dimensions, &delta->count) ||
            delta->count > left_in(reader, STREAM_INDEX)) {
            return damaged(reader, STREAM_HEAD, "the length of a sparse delta", error);
        }
        indices = allocate(reader, delta->count, sizeof *indices);
        if (indices == NULL) return memory_fail(reader->memory, error);
        if (!take_sparse(reader, spec, delta, indices)) return damaged(reader, STREAM_INDEX, "sparse indices", error);
    }
    size_t value_count = takes_values ? delta->count : 1;
    const float *values = take_bytes(reader, STREAM_F32, value_count * sizeof(float));
    if (values == NULL || !are_finite(values, value_count))
        return damaged(reader, STREAM_F32, "a delta's values", error);
    if (takes_values) {
        delta->values = values;
    } else {
        delta->amount = *values;
    }
    return VELTA_OK;
}

static enum velta_status take_vectors(struct record_reader *reader, const struct velta_column *const *columns,
                                      uint32_t column_count, uint32_t row_count, struct change *change,
                                      struct velta_error *error) {
    struct vector_delta *deltas;
    if (!take_u32(reader, STREAM_HEAD, UINT32_MAX, &change->column) || change->column >= column_count ||
        columns[change->column]->type != VELTA_VECTOR ||
        !take_u32(reader, STREAM_HEAD, UINT32_MAX, &change->delta_count) ||
        change->delta_count > left_in(reader, STREAM_HEAD)) {
        return damaged(reader, STREAM_HEAD, "vector deltas", error);
    }
    deltas = allocate(reader, change->delta_count, sizeof *deltas);
    if (deltas == NULL) return memory_fail(reader->memory, error);
    enum velta_status status = VELTA_OK;
    uint32_t previous_row = 0;
    for (uint32_t i = 0; i < change->delta_count && status == VELTA_OK; i++) {
        status = take_delta(reader, columns[change->column], row_count, previous_row, &deltas[i], error);
        previous_row = deltas[i].row;
    }
    change->deltas = deltas;
    return status;
}

/* ---- columns of values */

/* Which of `count` values are there; NULL in *valid: all. */
static enum velta_status take_validity(struct record_reader *reader, uint32_t count, const uint64_t **valid,
                                       size_t *present, struct velta_error *error) {
    uint64_t *words;
    size_t size_bytes = ((size_t)count + 7) / 8;
    const uint8_t *bits = take_bytes(reader, STREAM_BITS, size_bytes);
    if (bits == NULL || (count % 8 != 0 && bits[size_bytes - 1] >> (count % 8) != 0)) {
        return damaged(reader, STREAM_BITS, "validity", error);
    }
    size_t word_count = ((size_t)count + 63) / 64;
    words = allocate(reader, word_count, sizeof *words);
    if (words == NULL) return memory_fail(reader->memory, error);
    memset(words, 0, word_count * sizeof *words);
    memcpy(words, bits, size_bytes);
    *present = 0;
    for (size_t i = 0; i < word_count; i++) {
        *present += (size_t)__builtin_popcountll(words[i]);
    }
    *valid = words;
    return VELTA_OK;
}

static bool has_bit(const uint64_t *valid, size_t i) {
    return valid == NULL || (valid[i / 64] >> (i % 64) & 1) != 0;
}

static enum velta_status take_numbers(struct record_reader *reader, const uint64_t *valid, uint32_t count,
                                      size_t present, const int64_t **out, struct velta_error *error) {
    uint32_t differences;
    int64_t *numbers;
    if (!take_u32(reader, STREAM_HEAD, 1, &differences) || present > left_in(reader, STREAM_NUMBER)) {
        return damaged(reader, STREAM_NUMBER, "too few numbers", error);
    }
    numbers = allocate(reader, count, sizeof *numbers);
    if (numbers == NULL) return memory_fail(reader->memory, error);
    uint64_t previous = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number;
        numbers[i] = 0;
        if (!has_bit(valid, i)) continue;
        if (!take_varint(reader, STREAM_NUMBER, &number)) return damaged(reader, STREAM_NUMBER, "a number", error);
        number = previous + (uint64_t)bytes_unzigzag(number);
        numbers[i] = (int64_t)number;
        if (differences) previous = number;
    }
    *out = numbers;
    return VELTA_OK;
}

static enum velta_status take_booleans(struct record_reader *reader, const uint64_t *valid, uint32_t count,
                                       size_t present, const void **out, struct velta_error *error) {
    uint8_t *booleans;
    const uint8_t *bits = take_bytes(reader, STREAM_BITS, (present + 7) / 8);
    if (bits == NULL || (present % 8 != 0 && bits[present / 8] >> (present % 8) != 0)) {
        return damaged(reader, STREAM_BITS, "booleans", error);
    }
    booleans = allocate(reader, count, 1);
    if (booleans == NULL) return memory_fail(reader->memory, error);
    size_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        booleans[i] = 0;
        if (!has_bit(valid, i)) continue;
        booleans[i] = bits[next / 8] >> (next % 8) & 1;
        next++;
    }
    *out = booleans;
    return VELTA_OK;
}

static enum velta_status take_texts(struct record_reader *reader, uint32_t count, size_t present,
                                    struct column_values *values, struct velta_error *error) {
    uint64_t *offsets;
    uint64_t total = 0;
    if (present > left_in(reader, STREAM_INDEX)) return damaged(reader, STREAM_INDEX, "too few lengths", error);
    offsets = allocate(reader, (uint64_t)count + 1, sizeof *offsets);
    if (offsets == NULL) return memory_fail(reader->memory, error);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size_bytes = 0;
        offsets[i] = total;
        if (has_bit(values->valid, i) && !take_u32(reader, STREAM_INDEX, VELTA_MAX_VALUE_BYTES, &size_bytes)) {
            return damaged(reader, STREAM_INDEX, "a length", error);
        }
        total += size_bytes;
    }
    offsets[count] = total;
    values->offsets = offsets;
    values->data = take_bytes(reader, STREAM_TEXT, total);
    return values->data != NULL ? VELTA_OK : damaged(reader, STREAM_TEXT, "too few bytes", error);
}

/* Floats and vectors: in place where nothing is NULL. */
static enum velta_status take_fixed(struct record_reader *reader, enum record_stream stream, size_t width,
                                    uint32_t count, size_t present, struct column_values *values,
                                    struct velta_error *error) {
    uint8_t *spread;
    const uint8_t *bytes = take_bytes(reader, stream, (uint64_t)present * width);
    if (bytes == NULL) return damaged(reader, stream, "too few values", error);
    values->data = bytes;
    if (present == count) return VELTA_OK;
    spread = allocate(reader, count, width);
    if (spread == NULL) return memory_fail(reader->memory, error);
    for (uint32_t i = 0; i < count; i++) {
        if (has_bit(values->valid, i)) {
            memcpy(spread + i * width, bytes, width);
            bytes += width;
        } else {
            memset(spread + i * width, 0, width);
        }
    }
    values->data = spread;
    return VELTA_OK;
}

static enum velta_status take_vector_values(struct record_reader *reader, const struct velta_column *spec,
                                            uint32_t count, size_t present, struct column_values *values,
                                            struct velta_error *error) {
    uint32_t half;
    if (!take_u32(reader, STREAM_HEAD, 1, &half)) return damaged(reader, STREAM_HEAD, "an element type", error);
    values->element = half ? VELTA_F16 : VELTA_F32;
    size_t width = spec->dimensions * (half ? sizeof(uint16_t) : sizeof(float));
    enum record_stream stream = half ? STREAM_F16 : STREAM_F32;
    size_t at = reader->at[stream];
    enum velta_status status = take_fixed(reader, stream, width, count, present, values, error);
    if (status != VELTA_OK || present == 0) return status;
    const uint8_t *bytes = reader->streams[stream].bytes + at; /* an empty stream has no bytes to point to */
    bool finite = true;
    if (half) {
        for (size_t i = 0; i < present * spec->dimensions; i++) {
            finite &= (bytes_get_u16(bytes + 2 * i) & 0x7C00) != 0x7C00;
        }
    } else {
        finite = are_finite((const float *)(const void *)bytes, present * spec->dimensions);
    }
    return finite ? VELTA_OK : damaged(reader, stream, "a vector that is not finite", error);
}

static enum velta_status take_values(struct record_reader *reader, const struct velta_column *spec, uint32_t count,
                                     struct column_values *values, struct velta_error *error) {
    uint32_t validity;
    size_t present = count;
    enum velta_status status = VELTA_OK;
    *values = (struct column_values){0};
    if (!take_u32(reader, STREAM_HEAD, RECORD_ALL_NULL, &validity)) {
        return damaged(reader, STREAM_HEAD, "a column", error);
    }
    if (validity == RECORD_ALL_NULL) return VELTA_OK;
    if (validity == RECORD_SOME_NULL) status = take_validity(reader, count, &values->valid, &present, error);
    if (status != VELTA_OK) return status;
    switch (spec->type) {
    case VELTA_INT:
    case VELTA_TIMESTAMP: {
        const int64_t *numbers;
        status = take_numbers(reader, values->valid, count, present, &numbers, error);
        if (status == VELTA_OK) values->data = numbers;
        return status;
    }
    case VELTA_BOOL:
        return take_booleans(reader, values->valid, count, present, &values->data, error);
    case VELTA_STRING:
    case VELTA_BYTES:
        return take_texts(reader, count, present, values, error);
    case VELTA_FLOAT:
        return take_fixed(reader, STREAM_F64, sizeof(double), count, present, values, error);
    default:
        return take_vector_values(reader, spec, count, present, values, error);
    }
}

/* ---- rows */

static enum velta_status take_insert(struct record_reader *reader, const struct velta_column *const *columns,
                                     uint32_t column_count, uint32_t row_count, struct change *change,
                                     struct velta_error *error) {
    struct column_values *values;
    if (!take_u32(reader, STREAM_HEAD, VELTA_MAX_ROWS, &change->row_count) ||
        !take_u32(reader, STREAM_HEAD, VELTA_MAX_ROWS, &change->first_row) || change->first_row != row_count ||
        change->row_count > VELTA_MAX_ROWS - change->first_row) {
        return damaged(reader, STREAM_HEAD, "the number of inserted rows", error);
    }
    values = allocate(reader, column_count, sizeof *values);
    if (values == NULL) return memory_fail(reader->memory, error);
    enum velta_status status = VELTA_OK;
    for (uint32_t i = 0; i < column_count && status == VELTA_OK; i++) {
        status = take_values(reader, columns[i], change->row_count, &values[i], error);
    }
    change->values = values;
    change->column_count = column_count;
    return status;
}

static enum velta_status take_rows(struct record_reader *reader, uint32_t row_count, struct change *change,
                                   struct velta_error *error) {
    uint32_t *rows;
    int64_t row = 0;
    if (!take_u32(reader, STREAM_HEAD, UINT32_MAX, &change->row_count) ||
        change->row_count > left_in(reader, STREAM_INDEX)) {
        return damaged(reader, STREAM_HEAD, "the number of rows", error);
    }
    rows = allocate(reader, change->row_count, sizeof *rows);
    if (rows == NULL) return memory_fail(reader->memory, error);
    for (uint32_t i = 0; i < change->row_count; i++) {
        uint64_t step;
        if (!take_varint(reader, STREAM_INDEX, &step)) return damaged(reader, STREAM_INDEX, "a row", error);
        row = (int64_t)((uint64_t)row + (uint64_t)bytes_unzigzag(step));
        if (row < 0 || row >= (int64_t)row_count) return damaged(reader, STREAM_INDEX, "a row", error);
        rows[i] = (uint32_t)row;
    }
    change->rows = rows;
    return VELTA_OK;
}

static enum velta_status take_set(struct record_reader *reader, const struct velta_column *const *columns,
                                  uint32_t column_count, uint32_t row_count, struct change *change,
                                  struct velta_error *error) {
    struct column_values *values;
    if (!take_u32(reader, STREAM_HEAD, UINT32_MAX, &change->column) || change->column >= column_count) {
        return damaged(reader, STREAM_HEAD, "a column", error);
    }
    enum velta_status status = take_rows(reader, row_count, change, error);
    if (status != VELTA_OK) return status;
    values = allocate(reader, 1, sizeof *values);
    if (values == NULL) return memory_fail(reader->memory, error);
    change->values = values;
    return take_values(reader, columns[change->column], change->row_count, values, error);
}

/* ---- tables */

static enum velta_status take_column(struct record_reader *reader, struct velta_column *column,
                                     struct velta_error *error) {
    uint32_t type, flags, element = 0, metric = 0;
    *column = (struct velta_column){0};
    enum velta_status status = take_name(reader, &column->name, error);
    if (status != VELTA_OK) return status;
    bool whole = take_u32(reader, STREAM_HEAD, VELTA_VECTOR, &type) && type >= VELTA_INT &&
                 take_u32(reader, STREAM_HEAD, 7, &flags);
    if (whole && type == VELTA_VECTOR) {
        whole = take_u32(reader, STREAM_HEAD, VELTA_MAX_DIMENSIONS, &column->dimensions) && column->dimensions > 0 &&
                take_u32(reader, STREAM_HEAD, VELTA_CODES, &element) &&
                take_u32(reader, STREAM_HEAD, VELTA_DOT, &metric) &&
                take_u32(reader, STREAM_HEAD, UINT32_MAX, &column->m) &&
                take_u32(reader, STREAM_HEAD, UINT32_MAX, &column->ef_construction) &&
                take_varint(reader, STREAM_HEAD, &column->seed);
    }
    if (!whole) return damaged(reader, STREAM_HEAD, "a column's description", error);
    column->type = (enum velta_type)type;
    column->element = (enum velta_element)element;
    column->metric = (enum velta_metric)metric;
    column->primary_key = (flags & RECORD_COLUMN_KEY) != 0;
    column->required = (flags & RECORD_COLUMN_REQUIRED) != 0;
    column->no_index = (flags & RECORD_COLUMN_NO_INDEX) != 0;
    return VELTA_OK;
}

static enum velta_status take_schema(struct record_reader *reader, struct change *change, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    struct velta_column *columns;
    if (change->kind != CHANGE_COLUMN_ADD) status = take_name(reader, &change->name, error);
    if (status != VELTA_OK || change->kind == CHANGE_TAG) return status;
    change->column_count = 1;
    if (change->kind == CHANGE_TABLE_CREATE &&
        (!take_u32(reader, STREAM_HEAD, VELTA_MAX_COLUMNS, &change->column_count) || change->column_count == 0 ||
         change->column_count > left_in(reader, STREAM_HEAD))) {
        return damaged(reader, STREAM_HEAD, "the number of columns", error);
    }
    columns = allocate(reader, change->column_count, sizeof *columns);
    if (columns == NULL) return memory_fail(reader->memory, error);
    for (uint32_t i = 0; i < change->column_count && status == VELTA_OK; i++) {
        status = take_column(reader, &columns[i], error);
    }
    change->columns = columns;
    return status;
}

/* ---- changes */

static enum velta_status take_start(struct record_reader *reader, struct change *change, struct velta_error *error) {
    uint32_t kind;
    uint64_t step, gap;
    if (!take_u32(reader, STREAM_HEAD, CHANGE_TAG, &kind) || kind < CHANGE_TABLE_CREATE ||
        !take_varint(reader, STREAM_HEAD, &step) || !take_varint(reader, STREAM_HEAD, &gap) ||
        !checked_add_u64(reader->sequence, gap, &change->sequence) ||
        (kind != CHANGE_TAG && !take_u32(reader, STREAM_HEAD, UINT32_MAX, &change->table))) {
        return damaged(reader, STREAM_HEAD, "the start of a change", error);
    }
    change->kind = (enum change_kind)kind;
    change->time_ms = (int64_t)((uint64_t)reader->time_ms + (uint64_t)bytes_unzigzag(step));
    if (reader->started && change->time_ms < reader->time_ms)
        return damaged(reader, STREAM_HEAD, "time goes backwards", error);
    return VELTA_OK;
}

static enum velta_status take_content(struct record_reader *reader, const struct record_schema *schema,
                                      struct change *change, struct velta_error *error) {
    enum velta_status status;
    uint32_t column_count = 0;
    if (change->kind == CHANGE_TAG || change->kind == CHANGE_TABLE_CREATE) return take_schema(reader, change, error);
    const struct velta_column *const *columns = schema->columns(schema->context, change->table, &column_count);
    if (columns == NULL) return damaged(reader, STREAM_HEAD, "there is no such table", error);
    uint32_t row_count = schema->row_count(schema->context, change->table);
    switch (change->kind) {
    case CHANGE_COLUMN_ADD:
        return take_schema(reader, change, error);
    case CHANGE_ROWS_INSERT:
        return take_insert(reader, columns, column_count, row_count, change, error);
    case CHANGE_ROWS_SET:
        return take_set(reader, columns, column_count, row_count, change, error);
    case CHANGE_ROWS_DELETE:
        return take_rows(reader, row_count, change, error);
    case CHANGE_ROWS_EXPIRY:
        status = take_rows(reader, row_count, change, error);
        if (status != VELTA_OK) return status;
        return take_numbers(reader, NULL, change->row_count, change->row_count, &change->times_ms, error);
    case CHANGE_VECTORS:
        return take_vectors(reader, columns, column_count, row_count, change, error);
    default: /* TABLE_DROP */
        return VELTA_OK;
    }
}

enum velta_status record_reader_next(struct record_reader *reader, const struct record_schema *schema,
                                     struct change *change, bool *more, struct velta_error *error) {
    arena_reset(&reader->arena);
    *change = (struct change){0};
    *more = false;
    if (left_in(reader, STREAM_HEAD) == 0) {
        for (unsigned i = 0; i < STREAM_COUNT; i++) {
            if (left_in(reader, i) != 0) return damaged(reader, i, "bytes are left over", error);
        }
        return VELTA_OK;
    }
    enum velta_status status = take_start(reader, change, error);
    if (status == VELTA_OK) status = take_content(reader, schema, change, error);
    if (status != VELTA_OK) return status;
    if (!checked_add_u64(change->sequence, change_span(change), &reader->sequence)) {
        return damaged(reader, STREAM_HEAD, "sequence numbers overflow", error);
    }
    reader->time_ms = change->time_ms;
    reader->started = true;
    *more = true;
    return VELTA_OK;
}
