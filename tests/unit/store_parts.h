/* An export fed by parts, as a server would send it; shared by the tests and the fuzzer of velta_snapshot_*. */
#ifndef VELTA_TESTS_UNIT_STORE_PARTS_H
#define VELTA_TESTS_UNIT_STORE_PARTS_H

#include "tests/unit/store_testing.h"

/* Begins with as much of the bytes as the head takes. */
static inline enum velta_status parts_begin(const uint8_t *bytes, uint64_t size_bytes,
                                            const struct velta_options *options, velta_snapshot **out,
                                            struct velta_error *error) {
    uint64_t head_bytes = velta_snapshot_head_bytes(bytes, size_bytes);
    if (head_bytes > size_bytes) head_bytes = size_bytes;
    /* A copy, so that a byte read beyond it is seen. */
    uint8_t *head = malloc(head_bytes > 0 ? (size_t)head_bytes : 1);
    assert_non_null(head);
    memcpy(head, bytes, (size_t)head_bytes);
    enum velta_status status = velta_snapshot_begin(head, head_bytes, size_bytes, options, out, error);
    free(head);
    return status;
}

/* Feeds segments [from, to) out of the whole export. */
static inline enum velta_status parts_feed(velta_snapshot *snapshot, const uint8_t *bytes, size_t from, size_t to,
                                           struct velta_error *error) {
    size_t count, before_graph;
    const struct velta_segment *segments = velta_snapshot_segments(snapshot, &count, &before_graph);
    enum velta_status status = VELTA_OK;
    for (size_t i = from; i < to && !status; i++)
        status = velta_snapshot_feed(snapshot, bytes + segments[i].offset, segments[i].size_bytes, error);
    return status;
}

/* As far as the database answers; *snapshot is then open, or NULL on failure. */
static inline enum velta_status parts_open(const uint8_t *bytes, uint64_t size_bytes,
                                           const struct velta_options *options, velta_snapshot **snapshot, velta **db,
                                           struct velta_error *error) {
    size_t count, before_graph;
    *db = NULL;
    enum velta_status status = parts_begin(bytes, size_bytes, options, snapshot, error);
    if (status) return status;
    (void)velta_snapshot_segments(*snapshot, &count, &before_graph);
    status = parts_feed(*snapshot, bytes, 0, before_graph, error);
    if (!status) status = velta_snapshot_open(*snapshot, db, error);
    if (!status) return VELTA_OK;
    velta_snapshot_close(*snapshot);
    *snapshot = NULL;
    return status;
}

/* The graphs of an open one. */
static inline enum velta_status parts_attach(velta_snapshot *snapshot, const uint8_t *bytes, uint32_t *attached,
                                             uint32_t *dropped, struct velta_error *error) {
    size_t count, before_graph;
    (void)velta_snapshot_segments(snapshot, &count, &before_graph);
    enum velta_status status = parts_feed(snapshot, bytes, before_graph, count, error);
    return status ? status : velta_snapshot_attach(snapshot, attached, dropped, error);
}

#endif
