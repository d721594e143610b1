/* The inside of `struct storage`, shared by storage.c (tasks), storage_open.c and storage_checkpoint.c only. */
#ifndef VELTA_DELTA_STORAGE_STATE_H
#define VELTA_DELTA_STORAGE_STATE_H

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "delta/storage_format.h"

enum { STORAGE_SCRATCH_BYTES = 1 << 16 };

/* What to do next when the machine is asked for an operation; the results of the one before are in `result`. */
enum storage_step {
    STEP_IDLE,
    STEP_END, /* the running task has succeeded */
    STEP_OPEN_DATA_SIZE,
    STEP_OPEN_LOG_SIZE,
    STEP_OPEN_ROOTS,
    STEP_OPEN_CHOOSE,
    STEP_OPEN_DIRECTORY,
    STEP_OPEN_PREVIOUS,
    STEP_OPEN_PREVIOUS_TAKE,
    STEP_OPEN_LOG,
    STEP_LOG_HEADER,
    STEP_LOG_BODY,
    STEP_LOG_SEARCH,
    STEP_LOG_CUT,
    STEP_LOG_CUT_SYNC,
    STEP_LOG_CUT_START,
    STEP_LOG_CUT_STARTED,
    STEP_LOG_CUT_SYNCED,
    STEP_LOG_CUT_DONE,
    STEP_APPEND,
    STEP_APPEND_FRAME,
    STEP_APPEND_BODY,
    STEP_APPEND_DONE,
    STEP_SYNC,
    STEP_SYNC_DONE,
    STEP_CLOSE_SYNC,
    STEP_CLOSE_MARK,
    STEP_CHECKPOINT,
    STEP_CHECKPOINT_LOG_SYNC,
    STEP_CHECKPOINT_LOG_SYNCED,
    STEP_CHECKPOINT_SEGMENTS,
    STEP_CHECKPOINT_SYNC,
    STEP_CHECKPOINT_ROOT,
    STEP_CHECKPOINT_ROOT_SYNC,
    STEP_CHECKPOINT_SWITCH,
    STEP_CHECKPOINT_LOG_TRIM,
    STEP_CHECKPOINT_LOG_DURABLE,
    STEP_CHECKPOINT_DATA_TRIM,
    STEP_SCRUB,
    STEP_SCRUB_ROOT_SYNC,
    STEP_SCRUB_GAPS,
    STEP_SCRUB_DATA_SYNC,
    STEP_SCRUB_LOG,
    STEP_SCRUB_LOG_SYNC,
    STEP_SCRUB_DONE,
    STEP_READ,
    STEP_READ_DONE,
    STEP_REPLAY,
    STEP_REPLAY_BODY,
};

/* What one root names. */
struct storage_directory {
    struct segment *segments; /* count entries, allocated exactly */
    size_t count;
    uint64_t offset;
    uint64_t size_bytes;
};

/* A place in the chain of frames. */
struct log_place {
    uint64_t offset;
    uint64_t previous; /* checksum of the frame before */
    uint32_t number;
    uint64_t frame_count; /* with a body */
    bool after_body;      /* the frame before has a body: nothing in the log says yet that it is durable */
};

struct storage {
    struct hash_stream hash; /* of the body that is read; first: it wants 64-byte alignment */
    struct memory *memory;
    enum storage_step step;
    bool is_open;
    bool read_only;
    bool poisoned;
    bool waiting; /* an operation is with the host */
    bool reading; /* failures of the running task do not poison */
    struct storage_operation operation;
    struct storage_result result;
    uint64_t file_bytes[2];

    uint64_t generation;      /* 0: no root yet */
    struct storage_root root; /* all zero while generation is 0 */
    struct storage_directory current;
    struct storage_root previous_root; /* generation 0: none */
    struct storage_directory previous;
    uint64_t free_bytes;

    uint64_t salt;
    struct log_place committed; /* after the last committed frame; offset 0: the log is not started */
    struct log_place tail;      /* after the last frame */
    uint64_t synced;            /* bytes of the log known to be durable */
    uint64_t cut_bytes;
    bool log_stale; /* the log found at open belongs to an earlier generation */

    uint8_t *scratch;       /* STORAGE_SCRATCH_BYTES */
    uint64_t window_offset; /* the part of LOG in scratch */
    uint64_t window_bytes;
    uint64_t search_offset;
    struct storage_frame frame;
    uint64_t body_done;

    struct log_place replay; /* the next frame to be replayed */
    uint64_t replay_end;
    uint8_t *replay_buffer; /* for bodies that do not fit into scratch */
    size_t replay_capacity;
    const void *replay_body;
    size_t replay_bytes;
    uint64_t replay_offset;

    const void *append_body;
    size_t append_bytes;
    bool append_commit;
    struct segment read_segment;
    void *read_buffer;

    struct {
        const struct checkpoint_segment *segments;
        struct storage_source source;
        struct storage_directory next;
        struct storage_root root;
        uint8_t *buffer;
        size_t buffer_bytes;
        struct storage_extent *extents;
        size_t extent_capacity;
        size_t extent_count;   /* scrubbing: exact bytes in use */
        uint64_t scrub_offset; /* scrubbing: done so far */
        uint8_t *directory;
        size_t directory_bytes;
        size_t position;
    } checkpoint;
};

/* Each runs one step: sets the next step, and asks for at most one operation through storage_emit. */
VELTA_MUST_USE enum velta_status storage_open_step(struct storage *storage, struct velta_error *error);
void storage_checkpoint_step(struct storage *storage); /* cannot fail by itself */
void storage_scrub_step(struct storage *storage);
void storage_checkpoint_release(struct storage *storage);

VELTA_MUST_USE enum velta_status storage_start(struct storage *storage, enum storage_step step, bool reading,
                                               struct velta_error *error);
void storage_emit(struct storage *storage, enum storage_operation_kind kind, enum storage_file file, uint64_t offset,
                  uint64_t size_bytes, const void *bytes, void *buffer);
/* Encodes the next frame's header into scratch. */
void storage_frame_prepare(struct storage *storage, const void *body, size_t body_bytes, bool commit);
/* The frame prepared last has been written: moves the places behind it. */
void storage_frame_written(struct storage *storage);
void storage_log_begin(struct storage *storage); /* the places of an empty log of this generation */
void storage_directory_release(struct storage *storage, struct storage_directory *directory);
/* Whether scratch holds these bytes of LOG; asking the host for them and what follows (below `limit`). */
bool storage_window_has(const struct storage *storage, uint64_t offset, uint64_t size_bytes);
void storage_window_read(struct storage *storage, uint64_t offset, uint64_t limit);
/* Extents that both roots use, merged, into `extents` (room for every segment of both, and 3). */
size_t storage_used_extents(const struct storage *storage, struct storage_extent *extents);
VELTA_MUST_USE enum velta_status storage_count_free(struct storage *storage, struct velta_error *error);

#endif
