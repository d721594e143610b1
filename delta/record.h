/* The codec of changes: struct change <-> the streams of a log frame. Byte by byte in docs/FORMAT.md. */
#ifndef VELTA_DELTA_RECORD_H
#define VELTA_DELTA_RECORD_H

#include "core/memory.h"
#include "delta/change.h"

/* What the codec must know of a table to write or read values; answered by the store (and by tests). */
struct record_schema {
    void *context;
    /* Column specs of a table (in order), or NULL when there is no such table. */
    const struct velta_column *const *(*columns)(void *context, uint32_t table, uint32_t *column_count);
    /* Rows of a table so far. */
    uint32_t (*row_count)(void *context, uint32_t table);
};

/*
 * Records waiting for a frame, as separate streams that compress well: small integers (varints), sorted indices
 * (differences), floats (byte planes), text and bytes.
 */
struct record_buffer;
VELTA_MUST_USE enum velta_status record_buffer_create(struct memory *memory, struct record_buffer **out,
                                                      struct velta_error *error);
void record_buffer_destroy(struct record_buffer *buffer);
/* Appends a change; on failure the buffer is as before. */
VELTA_MUST_USE enum velta_status record_buffer_add(struct record_buffer *buffer, const struct record_schema *schema,
                                                   const struct change *change, struct velta_error *error);
uint64_t record_buffer_bytes(const struct record_buffer *buffer); /* raw size of what waits; 0: empty */
void record_buffer_clear(struct record_buffer *buffer);
/* Drops everything added after a mark (a commit that failed). */
struct record_mark {
    size_t streams[8];
    uint64_t sequence;
    int64_t time_ms;
};
struct record_mark record_buffer_mark(const struct record_buffer *buffer);
void record_buffer_rewind(struct record_buffer *buffer, struct record_mark mark);

/*
 * The body of a frame: streams split into planes where they are floats, LZ4-compressed where that makes them smaller.
 * bound: room that always suffices.
 */
size_t record_body_bound(const struct record_buffer *buffer);
VELTA_MUST_USE enum velta_status record_body_write(struct record_buffer *buffer, void *out, size_t capacity,
                                                   size_t *size_bytes, struct velta_error *error);

/*
 * Decodes the changes of a body one by one, each validated wholly against the schema as it stands after the ones
 * before (so apply each before asking for the next). Memory comes from the arena, bounded by what the body can hold.
 */
struct record_reader;
VELTA_MUST_USE enum velta_status record_reader_open(struct memory *memory, const void *body, size_t size_bytes,
                                                    struct record_reader **out, struct velta_error *error);
/* *more false at the end. The change's pointers stay until the next call. */
VELTA_MUST_USE enum velta_status record_reader_next(struct record_reader *reader, const struct record_schema *schema,
                                                    struct change *change, bool *more, struct velta_error *error);
uint64_t record_reader_bytes(const struct record_reader *reader); /* raw size, as record_buffer_bytes told it */
void record_reader_close(struct record_reader *reader);

#endif
