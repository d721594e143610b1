/*
 * Records of vector deltas into a batch of velta_apply. The form is in docs/FORMAT.md, section 8.
 *
 * Two passes: the first walks the frames and counts, so that the memory asked for follows from what is there; the
 * second decodes each record into the struct that the writer takes, with pointers into the record.
 */
#include "store/records.h"

#include <string.h>

#include "core/bytes.h"
#include "store/write.h"

enum { HEAD_BYTES = 40, FLAG_SET = 1, FLAG_TEXT = 2 };

static const uint64_t MAX_SEQUENCE = (UINT64_C(1) << 53) - 1;
static const int64_t MAX_TIME_MS = INT64_C(8640000000000000); /* what a Date of JavaScript can hold */

static enum velta_status corrupt(struct velta_error *error, size_t offset, const char *what) {
    return velta_fail(error, VELTA_CORRUPT, offset, "the record at byte %llu %s", (unsigned long long)offset, what);
}

/* ---- frames */

struct frames {
    const uint8_t *bytes;
    size_t size_bytes;
    uint64_t passed;        /* the stream's position */
    uint64_t last_sequence; /* of the record before */
};

static size_t record_bytes(const uint8_t *record) {
    return (size_t)bytes_get_u32(record) + 4;
}

/* The frame of the record at `offset`: its length and its place in the order. */
static enum velta_status check_frame(const struct frames *frames, size_t offset, struct velta_error *error) {
    const uint8_t *record = frames->bytes + offset;
    size_t left = frames->size_bytes - offset;
    if (left < HEAD_BYTES) {
        return corrupt(error, offset, "is cut off");
    }
    uint64_t size_bytes = (uint64_t)bytes_get_u32(record) + 4;
    if (size_bytes < HEAD_BYTES || size_bytes % 8 != 0) {
        return corrupt(error, offset, "has a length that no record has");
    }
    if (size_bytes > left) {
        return corrupt(error, offset, "is cut off");
    }
    uint64_t sequence = bytes_get_u64(record + 8);
    if (sequence > MAX_SEQUENCE || sequence <= frames->last_sequence) {
        return corrupt(error, offset, "does not follow the one before: sequence numbers ascend from 1 to 2^53 - 1");
    }
    return VELTA_OK;
}

/* How many records there are, and how many of them are passed already. */
static enum velta_status walk(struct frames *frames, uint32_t limit, struct records_applied *done,
                              struct velta_error *error) {
    while (done->size_bytes < frames->size_bytes && done->applied + done->skipped < limit) {
        enum velta_status status = check_frame(frames, done->size_bytes, error);
        if (status) {
            return status;
        }
        const uint8_t *record = frames->bytes + done->size_bytes;
        frames->last_sequence = bytes_get_u64(record + 8);
        bool is_passed = frames->last_sequence <= frames->passed;
        done->skipped += is_passed;
        done->applied += !is_passed;
        done->size_bytes += record_bytes(record);
    }
    done->last_sequence = frames->last_sequence;
    return VELTA_OK;
}

/* ---- one record */

static bool is_zero(const uint8_t *from, const uint8_t *end) {
    while (from < end && *from == 0) {
        from++;
    }
    return from == end;
}

/* The fields of a record as a delta; its parts are not yet pointed to. NULL, or what is wrong. */
static const char *decode_head(const uint8_t *record, struct velta_delta *out) {
    uint8_t operation = record[4];
    uint8_t flags = record[5];
    bool has_values = operation == VELTA_DELTA_SPARSE || operation == VELTA_DELTA_DENSE;
    bool has_amount = operation == VELTA_DELTA_SCALE || operation == VELTA_DELTA_OFFSET;
    *out = (struct velta_delta){.operation = (enum velta_operation)operation, .set = (flags & FLAG_SET) != 0};
    if (operation < VELTA_DELTA_CREATE || operation > VELTA_DELTA_DELETE) {
        return "has an unknown operation";
    }
    if (flags > (FLAG_SET | FLAG_TEXT) || (out->set && !has_values) || bytes_get_u16(record + 6) != 0) {
        return "has flags that its operation does not have";
    }
    out->time_ms = (int64_t)bytes_get_u64(record + 16);
    if (out->time_ms > MAX_TIME_MS || out->time_ms < -MAX_TIME_MS) {
        return "has a time that is none";
    }
    if (has_amount) {
        memcpy(&out->amount, record + 32, sizeof out->amount);
    } else {
        out->count = bytes_get_u32(record + 32);
    }
    if (operation == VELTA_DELTA_DELETE && out->count != 0) {
        return "has values that its operation does not have";
    }
    out->metadata_bytes = bytes_get_u32(record + 36);
    return NULL;
}

/* NULL, or what is wrong with the record, whose frame is right. */
static const char *decode(const uint8_t *record, struct velta_delta *out) {
    const char *wrong = decode_head(record, out);
    if (wrong) {
        return wrong;
    }
    uint64_t key = bytes_get_u64(record + 24);
    bool is_text = (record[5] & FLAG_TEXT) != 0;
    uint64_t index_bytes = out->operation == VELTA_DELTA_SPARSE ? UINT64_C(4) * out->count : 0;
    uint64_t value_bytes = UINT64_C(4) * out->count;
    uint64_t key_bytes = is_text ? key : 0;
    uint64_t room = record_bytes(record);
    uint64_t used = HEAD_BYTES + index_bytes + value_bytes + out->metadata_bytes;
    if (key_bytes > room || used > room || bytes_align_up(used + key_bytes, 8) != room) {
        return "has a length that differs from that of its parts";
    }
    const uint8_t *part = record + HEAD_BYTES;
    out->indices = index_bytes > 0 ? (const uint32_t *)(const void *)part : NULL;
    part += index_bytes;
    out->values = value_bytes > 0 ? (const float *)(const void *)part : NULL;
    part += value_bytes;
    if (is_text) {
        out->key = (const char *)part;
        out->key_bytes = (uint32_t)key_bytes;
        part += key_bytes;
    } else {
        memcpy(&out->key_int, &key, sizeof key);
    }
    out->metadata = out->metadata_bytes > 0 ? part : NULL;
    part += out->metadata_bytes;
    return is_zero(part, record + room) ? NULL : "does not end with zeros";
}

/* Whether the kind of the record's key is that of the table; a table without keys is told the number of a row. */
static enum velta_status check_key(const struct table *table, struct velta_delta *delta, bool is_text, size_t i,
                                   uint64_t sequence, struct velta_error *error) {
    bool wants_text = table->key_column && table->key_column->spec.type != VELTA_INT;
    if (is_text != wants_text) {
        return velta_fail(error, VELTA_TYPE, i, "record %llu: the table names rows by %s", (unsigned long long)sequence,
                          wants_text ? "a text" : "a number");
    }
    if (!table->key_column && delta->operation != VELTA_DELTA_CREATE) {
        bool is_row = delta->key_int >= 0 && delta->key_int < (int64_t)VELTA_MAX_ROWS;
        delta->row = is_row ? (uint32_t)delta->key_int : VELTA_NO_ROW;
    }
    return VELTA_OK;
}

static enum velta_status decode_all(const struct table *table, const uint8_t *bytes, const struct records_applied *done,
                                    struct velta_delta *deltas, struct velta_error *error) {
    const uint8_t *record = bytes;
    for (size_t i = 0; i < (size_t)done->skipped + done->applied; i++) {
        struct velta_delta passed;
        struct velta_delta *delta = i < done->skipped ? &passed : &deltas[i - done->skipped];
        const char *wrong = decode(record, delta);
        if (wrong) {
            return corrupt(error, (size_t)(record - bytes), wrong);
        }
        bool is_text = (record[5] & FLAG_TEXT) != 0;
        enum velta_status status = check_key(table, delta, is_text, i, bytes_get_u64(record + 8), error);
        if (status) {
            return status;
        }
        record += record_bytes(record);
    }
    return VELTA_OK;
}

/* ---- the position */

struct position {
    uint32_t row;
    size_t column;
    int64_t value; /* the new one, when the change is made */
    struct column_values values;
    struct change change;
};

static enum velta_status position_find(const struct stream_position *stream, struct position *position,
                                       uint64_t *passed, struct velta_error *error) {
    enum velta_status status = database_check(stream->table, error);
    const struct table *table = status ? NULL : database_rows(stream->table);
    status = status ? status : database_find_column(table, "position", &position->column, error);
    if (status) {
        return status;
    }
    const struct column *column = table->columns[position->column];
    bool is_table = table->key_column && table->key_column->spec.type == VELTA_STRING && column->spec.type == VELTA_INT;
    if (!is_table) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET, "the table of positions has other columns");
    }
    position->row = table_find_text(table, stream->name, stream->name_bytes);
    if (position->row == VELTA_NO_ROW) {
        return velta_fail(error, VELTA_NOT_FOUND, VELTA_NO_OFFSET, "there is no stream '%.*s'",
                          (int)(stream->name_bytes < 80 ? stream->name_bytes : 80), stream->name);
    }
    int64_t value = column_is_null(column, position->row) ? 0 : column_integer(column, position->row);
    *passed = value > 0 ? (uint64_t)value : 0;
    return VELTA_OK;
}

static const struct change *position_change(const struct stream_position *stream, struct position *position,
                                            uint64_t last_sequence) {
    position->value = (int64_t)last_sequence;
    position->values = (struct column_values){.data = &position->value};
    position->change = (struct change){
        .kind = CHANGE_ROWS_SET,
        .table = stream->table->number,
        .column = (uint32_t)position->column,
        .rows = &position->row,
        .row_count = 1,
        .values = &position->values,
    };
    return &position->change;
}

/* ---- the whole */

/* The refusal of one delta, told as one of the record it came in. */
static enum velta_status blame_record(const uint8_t *bytes, const struct records_applied *done,
                                      enum velta_status status, struct velta_error *error) {
    if (!error || error->offset >= done->applied) {
        return status;
    }
    char text[sizeof error->text];
    const uint8_t *record = bytes;
    uint64_t before = done->skipped + error->offset;
    memcpy(text, error->text, sizeof text);
    text[180] = '\0';
    for (uint64_t i = 0; i < before; i++) {
        record += record_bytes(record);
    }
    return velta_fail(error, status, before, "record %llu: %s", (unsigned long long)bytes_get_u64(record + 8), text);
}

static enum velta_status apply(velta_table *table, const char *column, const uint8_t *bytes,
                               const struct stream_position *stream, struct position *position,
                               const struct records_applied *done, uint64_t *ids, struct velta_error *error) {
    struct arena arena = {.memory = table->db->memory};
    struct velta_delta *deltas = batch_allocate(&arena, done->applied, sizeof *deltas, error);
    enum velta_status status = deltas ? VELTA_OK : memory_refusal(table->db->memory);
    status = status ? status : decode_all(database_rows(table), bytes, done, deltas, error);
    if (!status && done->applied > 0) {
        const struct change *also = stream->table ? position_change(stream, position, done->last_sequence) : NULL;
        status = write_deltas(table, column, deltas, done->applied, 0, ids, also, error);
        status = status ? blame_record(bytes, done, status, error) : VELTA_OK;
    }
    arena_reset(&arena);
    return status;
}

enum velta_status records_apply(velta_table *table, const char *column, const void *records, size_t size_bytes,
                                uint32_t limit, const struct stream_position *stream, uint64_t *ids,
                                struct records_applied *done, struct velta_error *error) {
    struct frames frames = {.bytes = records, .size_bytes = size_bytes};
    struct position position = {0};
    struct velta_error own;
    *done = (struct records_applied){0};
    error = error ? error : &own;
    if ((uintptr_t)records % 8 != 0) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "records lie at a multiple of 8");
    }
    enum velta_status status = database_check(table, error);
    if (!status && stream->table) {
        status = position_find(stream, &position, &frames.passed, error);
    }
    status = status ? status : walk(&frames, limit, done, error);
    status = status ? status : apply(table, column, records, stream, &position, done, ids, error);
    if (status) {
        *done = (struct records_applied){0};
    }
    return status;
}
