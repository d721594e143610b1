/*
 * The storage protocol: tasks, the log's frames, reading.
 *
 * The machine is a list of steps. storage_next runs steps until one asks the host for an operation; the next step runs
 * when the result is there. So each step first looks at the result of the operation before it, then says what follows.
 * A failure ends the task; where the task was changing files it also poisons the storage, because after a failed write
 * or sync nobody knows what is on the disk. Opening is in storage_open.c, checkpoints are in storage_checkpoint.c.
 *
 * Frames of a batch count once its last frame, the one with the commit flag, is there. `tail` is behind the last frame,
 * `committed` behind the last one that counts.
 */
#include "delta/storage_state.h"

enum velta_status storage_create(struct memory *memory, struct storage **out, struct velta_error *error) {
    struct storage *storage = memory_allocate_zero(memory, sizeof *storage);
    if (storage == NULL) return memory_fail(memory, error);
    storage->memory = memory;
    storage->scratch = memory_allocate(memory, STORAGE_SCRATCH_BYTES);
    if (storage->scratch == NULL) {
        memory_release(memory, storage, sizeof *storage);
        return memory_fail(memory, error);
    }
    *out = storage;
    return VELTA_OK;
}

void storage_directory_release(struct storage *storage, struct storage_directory *directory) {
    memory_release(storage->memory, directory->segments, directory->count * sizeof *directory->segments);
    *directory = (struct storage_directory){0};
}

void storage_destroy(struct storage *storage) {
    if (storage == NULL) return;
    storage_checkpoint_release(storage);
    storage_directory_release(storage, &storage->current);
    storage_directory_release(storage, &storage->previous);
    memory_release(storage->memory, storage->replay_buffer, storage->replay_capacity);
    memory_release(storage->memory, storage->scratch, STORAGE_SCRATCH_BYTES);
    memory_release(storage->memory, storage, sizeof *storage);
}

void storage_emit(struct storage *storage, enum storage_operation_kind kind, enum storage_file file, uint64_t offset,
                  uint64_t size_bytes, const void *bytes, void *buffer) {
    storage->operation = (struct storage_operation){kind, file, offset, size_bytes, bytes, buffer};
    storage->waiting = true;
}

/* ---- frames */

void storage_log_begin(struct storage *storage) {
    storage->salt = storage_log_salt(storage->generation, storage->root.checksum);
    storage->tail = storage->committed = (struct log_place){0};
    storage->synced = 0;
}

bool storage_window_has(const struct storage *storage, uint64_t offset, uint64_t size_bytes) {
    return offset >= storage->window_offset && offset - storage->window_offset <= storage->window_bytes &&
           storage->window_bytes - (offset - storage->window_offset) >= size_bytes;
}

void storage_window_read(struct storage *storage, uint64_t offset, uint64_t limit) {
    uint64_t size_bytes = limit - offset < STORAGE_SCRATCH_BYTES ? limit - offset : STORAGE_SCRATCH_BYTES;
    storage->window_offset = offset;
    storage->window_bytes = size_bytes;
    storage_emit(storage, STORAGE_READ, STORAGE_LOG, offset, size_bytes, NULL, storage->scratch);
}

void storage_frame_prepare(struct storage *storage, const void *body, size_t body_bytes, bool commit) {
    storage->frame = (struct storage_frame){
        .body_bytes = (uint32_t)body_bytes,
        .flags = commit ? STORAGE_FRAME_COMMIT : 0,
        .number = storage->tail.number,
        .generation = storage->generation,
        .salt = storage->salt,
        .synced = storage->synced,
        .previous = storage->tail.previous,
        .body_checksum = hash_bytes(body, body_bytes),
    };
    storage_frame_encode(&storage->frame, storage->scratch);
}

void storage_frame_written(struct storage *storage) {
    struct log_place *tail = &storage->tail;
    tail->offset += STORAGE_FRAME_HEADER_BYTES + storage->frame.body_bytes;
    tail->previous = storage->frame.checksum;
    tail->number++;
    tail->after_body = storage->frame.body_bytes != 0;
    tail->frame_count += tail->after_body;
    if (storage->frame.flags & STORAGE_FRAME_COMMIT) storage->committed = *tail;
    if (tail->offset > storage->file_bytes[STORAGE_LOG]) storage->file_bytes[STORAGE_LOG] = tail->offset;
}

static void storage_emit_header(struct storage *storage) {
    storage_emit(storage, STORAGE_WRITE, STORAGE_LOG, storage->tail.offset, STORAGE_FRAME_HEADER_BYTES,
                 storage->scratch, NULL);
}

static void storage_append_frame(struct storage *storage) {
    size_t body_bytes = storage->append_bytes;
    storage_frame_prepare(storage, storage->append_body, body_bytes, storage->append_commit);
    if (body_bytes <= STORAGE_SCRATCH_BYTES - STORAGE_FRAME_HEADER_BYTES) {
        memcpy(storage->scratch + STORAGE_FRAME_HEADER_BYTES, storage->append_body, body_bytes);
        storage_emit(storage, STORAGE_WRITE, STORAGE_LOG, storage->tail.offset, STORAGE_FRAME_HEADER_BYTES + body_bytes,
                     storage->scratch, NULL);
        storage->step = STEP_APPEND_DONE;
    } else {
        storage_emit_header(storage);
        storage->step = STEP_APPEND_BODY;
    }
}

static void storage_log_step(struct storage *storage) {
    switch (storage->step) {
    case STEP_APPEND: /* an empty log gets its first frame */
        if (storage->tail.offset == 0) {
            storage_frame_prepare(storage, NULL, 0, true);
            storage_emit_header(storage);
            storage->step = STEP_APPEND_FRAME;
        } else {
            storage_append_frame(storage);
        }
        break;
    case STEP_APPEND_FRAME:
        storage_frame_written(storage);
        storage_append_frame(storage);
        break;
    case STEP_APPEND_BODY:
        storage_emit(storage, STORAGE_WRITE, STORAGE_LOG, storage->tail.offset + STORAGE_FRAME_HEADER_BYTES,
                     storage->append_bytes, storage->append_body, NULL);
        storage->step = STEP_APPEND_DONE;
        break;
    case STEP_APPEND_DONE:
        storage_frame_written(storage);
        storage->step = STEP_END;
        break;
    case STEP_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->step = STEP_SYNC_DONE;
        break;
    case STEP_SYNC_DONE:
        storage->synced = storage->tail.offset;
        storage->step = STEP_END;
        break;
    case STEP_CLOSE_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->step = STEP_CLOSE_MARK;
        break;
    case STEP_CLOSE_MARK: /* a frame without a body that says how far the log is durable */
        storage->synced = storage->tail.offset;
        storage_frame_prepare(storage, NULL, 0, true);
        storage_emit_header(storage);
        storage->step = STEP_APPEND_DONE;
        break;
    default:
        break;
    }
}

/* ---- the machine */

static enum velta_status storage_end(struct storage *storage, enum velta_status status) {
    if (status == VELTA_IO || status == VELTA_FULL) storage->poisoned |= !storage->reading;
    if (status != VELTA_OK) storage->window_bytes = 0; /* it may not have been read */
    storage_checkpoint_release(storage);
    storage->step = STEP_IDLE;
    storage->waiting = false;
    return status;
}

static const char *storage_file_name(enum storage_file file) {
    return file == STORAGE_DATA ? "data" : "log";
}

/* OPFS and some file systems report a wrong count instead of failing: all that was asked, or it is a failure. */
static enum velta_status storage_check_result(const struct storage *storage, struct velta_error *error) {
    static const char *const verbs[] = {"", "measuring", "reading", "writing", "syncing", "truncating"};
    const struct storage_operation *operation = &storage->operation;
    const char *verb = verbs[operation->kind];
    const char *name = storage_file_name(operation->file);
    enum velta_status status = storage->result.status;
    if (status != VELTA_OK) {
        return velta_fail(error, status == VELTA_FULL ? VELTA_FULL : VELTA_IO, operation->offset,
                          "%s the %s file failed", verb, name);
    }
    bool transfers = operation->kind == STORAGE_READ || operation->kind == STORAGE_WRITE;
    if (transfers && storage->result.size_bytes != operation->size_bytes) {
        return velta_fail(error, VELTA_IO, operation->offset, "%s the %s file moved %llu bytes instead of %llu", verb,
                          name, (unsigned long long)storage->result.size_bytes,
                          (unsigned long long)operation->size_bytes);
    }
    return VELTA_OK;
}

static enum velta_status storage_read_step(struct storage *storage, struct velta_error *error);

static enum velta_status storage_run_step(struct storage *storage, struct velta_error *error) {
    if (storage->step >= STEP_OPEN_DATA_SIZE && storage->step <= STEP_LOG_CUT_DONE) {
        return storage_open_step(storage, error);
    }
    if (storage->step >= STEP_CHECKPOINT && storage->step <= STEP_CHECKPOINT_DATA_TRIM) {
        storage_checkpoint_step(storage);
        return VELTA_OK;
    }
    if (storage->step >= STEP_SCRUB && storage->step <= STEP_SCRUB_DONE) {
        storage_scrub_step(storage);
        return VELTA_OK;
    }
    if (storage->step >= STEP_READ) return storage_read_step(storage, error);
    storage_log_step(storage);
    return VELTA_OK;
}

enum velta_status storage_next(struct storage *storage, struct storage_operation *operation, bool *more,
                               struct velta_error *error) {
    *more = false;
    if (storage->step == STEP_IDLE) return VELTA_OK;
    if (storage->waiting) { /* the host has executed it */
        storage->waiting = false;
        enum velta_status status = storage_check_result(storage, error);
        if (status != VELTA_OK) return storage_end(storage, status);
    }
    while (!storage->waiting) {
        if (storage->step == STEP_END) return storage_end(storage, VELTA_OK);
        enum velta_status status = storage_run_step(storage, error);
        if (status != VELTA_OK) return storage_end(storage, status);
    }
    *operation = storage->operation;
    /* A host that asks again without having answered is told so. */
    storage->result = (struct storage_result){VELTA_IO, 0};
    *more = true;
    return VELTA_OK;
}

void storage_done(struct storage *storage, const struct storage_result *result) {
    storage->result = *result;
}

/* ---- starting tasks */

enum velta_status storage_start(struct storage *storage, enum storage_step step, bool reading,
                                struct velta_error *error) {
    if (storage->step != STEP_IDLE) return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "a task is running");
    bool opening = step == STEP_OPEN_DATA_SIZE;
    if (opening == storage->is_open) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the storage is %s", opening ? "open" : "not open");
    }
    if (!reading) {
        if (storage->poisoned) {
            return velta_fail(error, VELTA_POISONED, VELTA_NO_OFFSET,
                              "an earlier failure left the storage uncertain; reopen it");
        }
        if (storage->read_only) return velta_fail(error, VELTA_READ_ONLY, VELTA_NO_OFFSET, "opened for reading");
    }
    storage->step = step;
    storage->reading = reading;
    if (step != STEP_REPLAY) storage->window_bytes = 0; /* scratch gets another use */
    return VELTA_OK;
}

enum velta_status storage_begin_open(struct storage *storage, bool read_only, struct velta_error *error) {
    if (storage->poisoned) return velta_fail(error, VELTA_POISONED, VELTA_NO_OFFSET, "make a new storage to reopen");
    enum velta_status status = storage_start(storage, STEP_OPEN_DATA_SIZE, true, error);
    if (status != VELTA_OK) return status;
    /* What an earlier attempt to open left. */
    storage_directory_release(storage, &storage->current);
    storage_directory_release(storage, &storage->previous);
    storage->root = storage->previous_root = (struct storage_root){0};
    storage->generation = 0;
    storage->log_stale = false;
    storage->read_only = read_only;
    return VELTA_OK;
}

enum velta_status storage_begin_append(struct storage *storage, const void *body, size_t size_bytes, bool commit,
                                       struct velta_error *error) {
    if (size_bytes == 0) return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a frame needs a body");
    if (size_bytes > STORAGE_MAX_BODY_BYTES || storage->tail.number >= UINT32_MAX - 2) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "a frame holds 1 GiB, a log 2^32 - 3 frames");
    }
    enum velta_status status = storage_start(storage, STEP_APPEND, false, error);
    if (status != VELTA_OK) return status;
    storage->append_body = body;
    storage->append_bytes = size_bytes;
    storage->append_commit = commit;
    return VELTA_OK;
}

enum velta_status storage_begin_sync(struct storage *storage, struct velta_error *error) {
    return storage_start(storage, storage->synced == storage->tail.offset ? STEP_END : STEP_SYNC, false, error);
}

static bool storage_batch_open(const struct storage *storage) {
    return storage->tail.offset != storage->committed.offset;
}

enum velta_status storage_begin_rollback(struct storage *storage, struct velta_error *error) {
    return storage_start(storage, storage_batch_open(storage) ? STEP_LOG_CUT : STEP_END, false, error);
}

enum velta_status storage_begin_close(struct storage *storage, struct velta_error *error) {
    if (storage->poisoned || storage->read_only) return storage_start(storage, STEP_END, true, error);
    bool mark = storage->tail.after_body && !storage_batch_open(storage);
    return storage_start(storage, mark ? STEP_CLOSE_SYNC : STEP_END, false, error);
}

/* ---- reading */

enum velta_status storage_begin_read(struct storage *storage, const struct segment *segment, void *buffer,
                                     struct velta_error *error) {
    enum velta_status status = storage_start(storage, STEP_READ, true, error);
    if (status != VELTA_OK) return status;
    storage->read_segment = *segment;
    storage->read_buffer = buffer;
    return VELTA_OK;
}

enum velta_status storage_begin_replay(struct storage *storage, struct velta_error *error) {
    return storage_start(storage, STEP_REPLAY, true, error);
}

/* The body at replay_offset is in memory: checks it and moves on. */
static enum velta_status storage_replay_body(struct storage *storage, const void *body, struct velta_error *error) {
    if (hash_bytes(body, storage->frame.body_bytes) != storage->frame.body_checksum) {
        return velta_fail(error, VELTA_CORRUPT, storage->replay.offset, "a frame of the log changed after opening");
    }
    storage->replay_body = body;
    storage->replay_bytes = storage->frame.body_bytes;
    storage->replay_offset = storage->replay.offset + STORAGE_FRAME_HEADER_BYTES;
    storage->replay.offset = storage->replay_offset + storage->frame.body_bytes;
    storage->replay.number++;
    storage->step = STEP_END;
    return VELTA_OK;
}

static enum velta_status storage_replay_step(struct storage *storage, struct velta_error *error) {
    uint64_t offset = storage->replay.offset;
    storage->replay_body = NULL;
    if (offset == storage->replay_end) {
        memory_release(storage->memory, storage->replay_buffer, storage->replay_capacity);
        storage->replay_buffer = NULL;
        storage->replay_capacity = 0;
        storage->step = STEP_END;
        return VELTA_OK;
    }
    if (!storage_window_has(storage, offset, STORAGE_FRAME_HEADER_BYTES)) {
        storage_window_read(storage, offset, storage->replay_end);
        return VELTA_OK;
    }
    const uint8_t *header = storage->scratch + (offset - storage->window_offset);
    uint64_t room = storage->replay_end - offset - STORAGE_FRAME_HEADER_BYTES;
    if (!storage_frame_decode(header, &storage->frame) || storage->frame.number != storage->replay.number ||
        storage->frame.salt != storage->salt || storage->frame.body_bytes > room) {
        return velta_fail(error, VELTA_CORRUPT, offset, "a frame of the log changed after opening");
    }
    size_t body_bytes = storage->frame.body_bytes;
    if (body_bytes == 0) {
        storage->replay.offset += STORAGE_FRAME_HEADER_BYTES;
        storage->replay.number++;
        return VELTA_OK;
    }
    size_t frame_bytes = STORAGE_FRAME_HEADER_BYTES + body_bytes;
    if (storage_window_has(storage, offset, frame_bytes)) {
        return storage_replay_body(storage, header + STORAGE_FRAME_HEADER_BYTES, error);
    }
    if (frame_bytes <= STORAGE_SCRATCH_BYTES) {
        storage_window_read(storage, offset, storage->replay_end);
        return VELTA_OK;
    }
    if (body_bytes > storage->replay_capacity) {
        memory_release(storage->memory, storage->replay_buffer, storage->replay_capacity);
        storage->replay_capacity = 0;
        storage->replay_buffer = memory_allocate(storage->memory, body_bytes);
        if (storage->replay_buffer == NULL) return memory_fail(storage->memory, error);
        storage->replay_capacity = body_bytes;
    }
    storage_emit(storage, STORAGE_READ, STORAGE_LOG, offset + STORAGE_FRAME_HEADER_BYTES, body_bytes, NULL,
                 storage->replay_buffer);
    storage->step = STEP_REPLAY_BODY;
    return VELTA_OK;
}

enum velta_status storage_check_segment(const struct segment *segment, const void *bytes, struct velta_error *error) {
    static const char *const kinds[] = {"unknown", "schema", "dictionary", "rows", "column",
                                        "vectors", "codes",  "history",    "graph"}; /* docs/FORMAT.md */
    if (hash_bytes(bytes, (size_t)segment->size_bytes) == segment->checksum) return VELTA_OK;
    uint32_t kind = segment->key.kind < sizeof kinds / sizeof *kinds ? segment->key.kind : 0;
    return velta_fail(
        error, VELTA_CORRUPT, segment->offset,
        "the file is damaged: the %llu bytes of %s, table %u, column %u, part %u, do not match their checksum",
        (unsigned long long)segment->size_bytes, kinds[kind], segment->key.table, segment->key.column,
        segment->key.part);
}

static enum velta_status storage_read_step(struct storage *storage, struct velta_error *error) {
    const struct segment *segment = &storage->read_segment;
    switch (storage->step) {
    case STEP_READ:
        storage->step = STEP_READ_DONE;
        if (segment->size_bytes > 0) {
            storage_emit(storage, STORAGE_READ, STORAGE_DATA, segment->offset, segment->size_bytes, NULL,
                         storage->read_buffer);
        }
        return VELTA_OK;
    case STEP_READ_DONE:
        storage->step = STEP_END;
        return storage_check_segment(segment, storage->read_buffer, error);
    case STEP_REPLAY_BODY:
        return storage_replay_body(storage, storage->replay_buffer, error);
    default:
        return storage_replay_step(storage, error);
    }
}

/* ---- answers */

const struct segment *storage_segments(const struct storage *storage, size_t *count) {
    *count = storage->current.count;
    return storage->current.segments;
}

const struct segment *storage_find_segment(const struct storage *storage, const struct segment_key *key) {
    size_t low = 0;
    size_t high = storage->current.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = storage_compare_keys(&storage->current.segments[middle].key, key);
        if (order == 0) return &storage->current.segments[middle];
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const struct storage_meta *storage_meta(const struct storage *storage) {
    return &storage->root.meta;
}

const void *storage_replayed_body(const struct storage *storage, size_t *size_bytes, uint64_t *offset) {
    *size_bytes = storage->replay_body != NULL ? storage->replay_bytes : 0;
    *offset = storage->replay_body != NULL ? storage->replay_offset : storage->replay_end;
    return storage->replay_body;
}

bool storage_replayed_commit(const struct storage *storage) {
    return (storage->frame.flags & STORAGE_FRAME_COMMIT) != 0;
}

uint64_t storage_body_checksum(const struct storage *storage) {
    return storage->frame.body_checksum;
}

uint64_t storage_log_bytes(const struct storage *storage) {
    return storage->tail.offset;
}

bool storage_is_poisoned(const struct storage *storage) {
    return storage->poisoned;
}

void storage_get_stats(const struct storage *storage, struct storage_stats *stats) {
    uint64_t live_bytes = 0;
    for (size_t i = 0; i < storage->current.count; i++) {
        live_bytes += storage->current.segments[i].size_bytes;
    }
    *stats = (struct storage_stats){
        .generation = storage->generation,
        .data_bytes = storage->file_bytes[STORAGE_DATA],
        .live_bytes = live_bytes,
        .free_bytes = storage->free_bytes,
        .log_bytes = storage->tail.offset,
        .synced_bytes = storage->synced,
        .frame_count = storage->tail.frame_count,
        .cut_bytes = storage->cut_bytes,
        .salt = storage->salt,
        .poisoned = storage->poisoned,
    };
}
