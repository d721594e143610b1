/*
 * The storage protocol as a state machine without I/O.
 *
 * The machine is asked for a task (open, append, sync, checkpoint, close), then hands out operations one at a time with
 * storage_next and takes each result with storage_done, until the task is finished. The host that executes them may be
 * POSIX files, OPFS, IndexedDB, memory, or the simulator: so the commit protocol exists once.
 *
 * Two files. DATA: two 4 KiB root slots, then extents. LOG: frames, the first of them without a body. A checkpoint
 * writes changed segments and a directory to free extents, syncs, writes the root that is older with the next
 * generation, syncs, then starts the log anew for that generation and syncs it. Free extents are those named by neither
 * root. The invariants, the recovery rules (torn tail against damage) and every byte are in docs/FORMAT.md.
 *
 * The log of a store exists from before its DATA is first touched. So DATA without a log is a store only where it is an
 * export; anything else has lost acknowledged changes, and opening it fails with CORRUPT.
 */
#ifndef VELTA_DELTA_STORAGE_H
#define VELTA_DELTA_STORAGE_H

#include "core/memory.h"

enum storage_file { STORAGE_DATA = 0, STORAGE_LOG = 1 };

enum storage_operation_kind {
    STORAGE_SIZE = 1, /* result: the file's size in `size_bytes`, 0 where the file is absent */
    STORAGE_READ,     /* exactly size_bytes at offset into `buffer` */
    STORAGE_WRITE,    /* exactly size_bytes from `bytes` at offset; the file grows as needed */
    STORAGE_SYNC,     /* everything written to the file before is durable */
    STORAGE_TRUNCATE, /* the file's size becomes `offset` */
};

struct storage_operation {
    enum storage_operation_kind kind;
    enum storage_file file;
    uint64_t offset;
    uint64_t size_bytes;
    const void *bytes;
    void *buffer;
};

struct storage_result {
    enum velta_status status; /* OK, IO, FULL: what the host saw */
    uint64_t size_bytes;      /* SIZE: the size; READ, WRITE: bytes done; anything but all is a failure */
};

struct storage;

/* A segment: an independently readable, checksummed byte image of a part of the state. */
struct segment_key {
    uint32_t kind; /* enum segment_kind of delta/snapshot.h */
    uint32_t table;
    uint32_t column;
    uint32_t part; /* slab number and the like */
};
struct segment {
    struct segment_key key;
    uint64_t offset;
    uint64_t size_bytes;
    uint64_t checksum; /* XXH3-64 of the bytes */
};

/* Where the bytes of a changed segment come from at a checkpoint: called once per segment, in key order. */
struct storage_source {
    void *context;
    void (*write)(void *context, const struct segment_key *key, void *out, uint64_t size_bytes);
};

VELTA_MUST_USE enum velta_status storage_create(struct memory *memory, struct storage **out, struct velta_error *error);
void storage_destroy(struct storage *storage);

/*
 * Tasks. Only one at a time; each is started by a call here, driven by next/done, and its outcome is what the last
 * storage_next returned: more = false with OK or the failure. After IO or FULL in anything but reading, the storage is
 * poisoned: every later task but close fails with POISONED.
 */
/* read_only: a torn tail is not cut and nothing is written. Absent files: an empty store. */
VELTA_MUST_USE enum velta_status storage_begin_open(struct storage *storage, bool read_only, struct velta_error *error);
/*
 * A frame with this body (1 byte to 1 GiB, which must stay until the task has ended) at the end of the log; `commit`
 * false: more frames of the same batch follow.
 */
VELTA_MUST_USE enum velta_status storage_begin_append(struct storage *storage, const void *body, size_t size_bytes,
                                                      bool commit, struct velta_error *error);
VELTA_MUST_USE enum velta_status storage_begin_sync(struct storage *storage, struct velta_error *error);
/* Takes back the frames appended since the last committed one (a batch given up half-way). Nothing to do: no I/O. */
VELTA_MUST_USE enum velta_status storage_begin_rollback(struct storage *storage, struct velta_error *error);
/*
 * Before the files are closed: syncs the log and marks its end as synced, so that damage to its last frames is told
 * from a torn tail. Not calling it loses nothing. Allowed when poisoned or read-only (no I/O then).
 */
VELTA_MUST_USE enum velta_status storage_begin_close(struct storage *storage, struct velta_error *error);
/*
 * The next root names `segments` in this (canonical, strictly ascending by key) order: those with `changed` false keep
 * their extent, and must be in the present directory with the same size. meta: small fixed facts kept in the root.
 * `segments` and the source must stay until the task has ended. INVALID: a batch is open, or there are no segments.
 */
struct checkpoint_segment {
    struct segment_key key;
    uint64_t size_bytes;
    bool changed;
};
struct storage_meta {
    uint64_t sequence; /* next to be assigned */
    int64_t time_ms;   /* of the last change */
    uint64_t reserved[4];
};
VELTA_MUST_USE enum velta_status storage_begin_checkpoint(struct storage *storage,
                                                          const struct checkpoint_segment *segments, size_t count,
                                                          const struct storage_source *source,
                                                          const struct storage_meta *meta, struct velta_error *error);

/*
 * Compaction's end: nothing deleted stays in the bytes. Invalidates the older root, overwrites every extent that the
 * newest root does not name with zeros, cuts DATA after the last one in use, and cuts LOG to its header; synced. To be
 * asked for just after a checkpoint.
 */
VELTA_MUST_USE enum velta_status storage_begin_scrub(struct storage *storage, struct velta_error *error);

/* The next operation of the running task; *more false: the task has ended, with the status returned. */
VELTA_MUST_USE enum velta_status storage_next(struct storage *storage, struct storage_operation *operation, bool *more,
                                              struct velta_error *error);
void storage_done(struct storage *storage, const struct storage_result *result);

/* After open or a checkpoint: the directory and the meta, and (after open) the log's whole committed frames. */
const struct segment *storage_segments(const struct storage *storage, size_t *count);
const struct segment *storage_find_segment(const struct storage *storage, const struct segment_key *key);
const struct storage_meta *storage_meta(const struct storage *storage);
/* Starts reading one segment (verified against its checksum) into `buffer` of its size. Works when poisoned, too. */
VELTA_MUST_USE enum velta_status storage_begin_read(struct storage *storage, const struct segment *segment,
                                                    void *buffer, struct velta_error *error);
/* The check of a segment whose bytes came another way: CORRUPT when they are not the segment's. */
VELTA_MUST_USE enum velta_status storage_check_segment(const struct segment *segment, const void *bytes,
                                                       struct velta_error *error);
/*
 * Starts reading the next committed frame of the log found at open, oldest first; after it ended, the body (which stays
 * until the next task) or NULL at the end of the log. offset: of the body in LOG. Replay comes before other changes.
 */
VELTA_MUST_USE enum velta_status storage_begin_replay(struct storage *storage, struct velta_error *error);
const void *storage_replayed_body(const struct storage *storage, size_t *size_bytes, uint64_t *offset);
/* Whether a batch ends with that frame. */
bool storage_replayed_commit(const struct storage *storage);
/* The checksum of the body appended or replayed last. */
uint64_t storage_body_checksum(const struct storage *storage);

struct storage_stats {
    uint64_t generation;
    uint64_t data_bytes;   /* size of DATA */
    uint64_t live_bytes;   /* in segments */
    uint64_t free_bytes;   /* in extents that can be reused */
    uint64_t log_bytes;    /* since the last checkpoint */
    uint64_t synced_bytes; /* of the log, known to be durable */
    uint64_t frame_count;  /* with a body, committed or not, since the last checkpoint */
    uint64_t cut_bytes;    /* of a torn tail, found at open */
    uint64_t salt;         /* names this generation of this store, by the checksum of its root */
    bool poisoned;
};
void storage_get_stats(const struct storage *storage, struct storage_stats *stats);
/* Two of them without counting the others: asked for at every change. */
uint64_t storage_log_bytes(const struct storage *storage);
bool storage_is_poisoned(const struct storage *storage);

/*
 * An export: a DATA file in canonical order with generation 1. size (0: it cannot be addressed, or the keys do not
 * ascend strictly), then writing all of it into `out`.
 */
uint64_t storage_export_bytes(const struct checkpoint_segment *segments, size_t count);
void storage_export_write(const struct checkpoint_segment *segments, size_t count, const struct storage_source *source,
                          const struct storage_meta *meta, void *out);

#endif
