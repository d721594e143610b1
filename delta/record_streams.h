/*
 * The streams of a frame's body, shared by record_write.c, record_body.c and record_read.c.
 *
 * HEAD   what there is: kinds, numbers, counts, flags (varints)
 * INDEX  rows and sparse indices as differences, lengths of texts (varints)
 * NUMBER 64-bit integers (zigzag varints, as they are or as differences)
 * F32, F16, F64  floats, little-endian
 * TEXT   bytes of strings, names, metadata
 * BITS   validity of values, booleans
 */
#ifndef VELTA_DELTA_RECORD_STREAMS_H
#define VELTA_DELTA_RECORD_STREAMS_H

#include "delta/record.h"

enum record_stream {
    STREAM_HEAD,
    STREAM_INDEX,
    STREAM_NUMBER,
    STREAM_F32,
    STREAM_F16,
    STREAM_F64,
    STREAM_TEXT,
    STREAM_BITS,
    STREAM_COUNT,
};

enum { RECORD_BODY_VERSION = 1, RECORD_MAX_BODY_BYTES = 1 << 30 };

/* How a block of bytes is kept. */
enum record_method { RECORD_RAW = 0, RECORD_LZ4 = 1, RECORD_CODED = 2 };

/* How a column's values are kept: a byte of HEAD. */
enum record_validity { RECORD_ALL_VALID = 0, RECORD_SOME_NULL = 1, RECORD_ALL_NULL = 2 };

/* Bits of the byte that begins a vector delta in HEAD; the low two are the operation less one. */
enum { RECORD_DELTA_SET = 4, RECORD_DELTA_METADATA = 8 };

/* Bits of a column specification's flags. */
enum { RECORD_COLUMN_KEY = 1, RECORD_COLUMN_REQUIRED = 2, RECORD_COLUMN_NO_INDEX = 4 };

struct record_bytes {
    uint8_t *bytes;
    size_t size_bytes;
    size_t capacity;
};

struct record_buffer {
    struct memory *memory;
    struct record_bytes streams[STREAM_COUNT];
    uint64_t sequence;          /* expected of the next change */
    int64_t time_ms;            /* of the last change */
    struct record_bytes planes; /* scratch of record_body_write */
};

/* Width of a stream's floats in bytes; 1: not floats. */
static inline unsigned record_stream_width(unsigned stream) {
    return stream == STREAM_F32 ? 4 : stream == STREAM_F16 ? 2 : stream == STREAM_F64 ? 8 : 1;
}

/* Decodes a body's streams; each is allocated exactly (NULL when empty). `offsets`: where each begins in the body. */
VELTA_MUST_USE enum velta_status record_body_read(struct memory *memory, const uint8_t *body, size_t size_bytes,
                                                  struct record_bytes streams[STREAM_COUNT],
                                                  size_t offsets[STREAM_COUNT], struct velta_error *error);

#endif
