/*
 * Opening: the newest valid root, what it names, and the frames of its log; then the log's end is decided.
 *
 * The chain of frames is followed from byte 0 as far as every header, body, number, salt and predecessor is right. What
 * lies behind the end of the chain is the torn tail of a crash, unless something proves that it was durable once: a
 * later frame of the same log saying that the log was synced beyond the end of the chain. So the rest of the file is
 * searched, byte by byte, for the headers of such frames; a header is believed by its own checksum and the salt,
 * whether its body is whole or not, because what it says was true when it was written.
 */
#include "delta/storage_state.h"

/* ---- roots and directories */

static enum velta_status open_choose_root(struct storage *storage, struct velta_error *error) {
    struct storage_root roots[2];
    enum storage_root_state states[2];
    for (unsigned slot = 0; slot < 2; slot++) {
        states[slot] = storage_root_decode(storage->scratch + slot * STORAGE_ROOT_BYTES, slot, &roots[slot]);
        if (states[slot] == STORAGE_ROOT_NEWER) {
            return velta_fail(error, VELTA_VERSION, slot * STORAGE_ROOT_BYTES, "the data file needs a newer velta");
        }
    }
    bool both = states[0] == STORAGE_ROOT_VALID && states[1] == STORAGE_ROOT_VALID;
    unsigned newest = states[1] == STORAGE_ROOT_VALID && (!both || roots[1].generation > roots[0].generation);
    if (states[newest] != STORAGE_ROOT_VALID) {
        storage->step = STEP_OPEN_LOG; /* which must be that of a store without a root */
        return VELTA_OK;
    }
    const struct storage_root *root = &roots[newest];
    const struct storage_root *older = &roots[1 - newest];
    if (both && (older->generation != root->generation - 1 || older->checksum != root->previous_checksum)) {
        return velta_fail(error, VELTA_CORRUPT, (1 - newest) * STORAGE_ROOT_BYTES,
                          "the two roots are not of the same store");
    }
    if (root->data_end > storage->file_bytes[STORAGE_DATA]) {
        return velta_fail(error, VELTA_CORRUPT, storage->file_bytes[STORAGE_DATA],
                          "the data file ends at byte %llu instead of %llu",
                          (unsigned long long)storage->file_bytes[STORAGE_DATA], (unsigned long long)root->data_end);
    }
    storage->generation = root->generation;
    storage->root = *root;
    if (both && older->data_end <= storage->file_bytes[STORAGE_DATA]) storage->previous_root = *older;
    storage->step = STEP_OPEN_DIRECTORY;
    return VELTA_OK;
}

/* Asks for the bytes of a directory; they are read into the buffer of checkpoints. */
static enum velta_status open_read_directory(struct storage *storage, const struct storage_root *root,
                                             struct storage_directory *directory, struct velta_error *error) {
    directory->offset = root->directory_offset;
    directory->size_bytes = root->directory_bytes;
    if (root->directory_bytes == 0) return VELTA_OK;
    /* At most the size of the file, because data_end is. */
    if (root->directory_bytes > SIZE_MAX / 4) {
        return velta_fail(error, VELTA_LIMIT, root->directory_offset, "the directory is too large for this machine");
    }
    size_t size_bytes = (size_t)root->directory_bytes;
    size_t count = size_bytes / STORAGE_DIRECTORY_ENTRY_BYTES;
    directory->segments = memory_allocate(storage->memory, count * sizeof *directory->segments);
    if (directory->segments == NULL) return memory_fail(storage->memory, error);
    directory->count = count;
    storage->checkpoint.directory = memory_allocate(storage->memory, size_bytes);
    if (storage->checkpoint.directory == NULL) return memory_fail(storage->memory, error);
    storage->checkpoint.directory_bytes = size_bytes;
    storage_emit(storage, STORAGE_READ, STORAGE_DATA, root->directory_offset, size_bytes, NULL,
                 storage->checkpoint.directory);
    return VELTA_OK;
}

static enum velta_status open_take_directory(struct storage *storage, const struct storage_root *root,
                                             struct storage_directory *directory, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    const uint8_t *bytes = storage->checkpoint.directory;
    if (hash_bytes(bytes, (size_t)root->directory_bytes) != root->directory_checksum) {
        status = velta_fail(error, VELTA_CORRUPT, root->directory_offset, "the directory's checksum does not match");
    } else {
        status = storage_directory_decode(bytes, root, directory->segments, directory->count, error);
    }
    storage_checkpoint_release(storage);
    return status;
}

/* ---- the chain of frames */

static enum velta_status open_log_header(struct storage *storage, struct velta_error *error) {
    uint64_t offset = storage->tail.offset;
    uint64_t log_bytes = storage->file_bytes[STORAGE_LOG];
    struct storage_frame *frame = &storage->frame;
    storage->search_offset = offset;
    if (log_bytes - offset < STORAGE_FRAME_HEADER_BYTES) {
        storage->step = STEP_LOG_SEARCH;
        return VELTA_OK;
    }
    if (!storage_window_has(storage, offset, STORAGE_FRAME_HEADER_BYTES)) {
        storage_window_read(storage, offset, log_bytes);
        return VELTA_OK;
    }
    bool valid = storage_frame_decode(storage->scratch + (offset - storage->window_offset), frame);
    if (valid && offset == 0) {
        if (frame->generation > storage->generation) {
            return velta_fail(error, VELTA_CORRUPT, 0,
                              "the log continues generation %llu, the data file ends with %llu",
                              (unsigned long long)frame->generation, (unsigned long long)storage->generation);
        }
        if (frame->generation == storage->generation && frame->salt != storage->salt) {
            return velta_fail(error, VELTA_CORRUPT, 0, "the log belongs to another data file");
        }
        storage->log_stale = frame->generation < storage->generation;
    }
    bool follows = valid && frame->generation == storage->generation && frame->salt == storage->salt &&
                   frame->number == storage->tail.number && frame->previous == storage->tail.previous &&
                   frame->synced <= offset && (frame->number != 0 || frame->body_bytes == 0) &&
                   frame->body_bytes <= log_bytes - offset - STORAGE_FRAME_HEADER_BYTES;
    storage->step = follows ? STEP_LOG_BODY : STEP_LOG_SEARCH;
    storage->body_done = 0;
    hash_stream_begin(&storage->hash);
    return VELTA_OK;
}

static void open_log_body(struct storage *storage) {
    uint64_t offset = storage->tail.offset + STORAGE_FRAME_HEADER_BYTES + storage->body_done;
    uint64_t left = storage->frame.body_bytes - storage->body_done;
    if (left == 0) {
        if (hash_stream_value(&storage->hash) != storage->frame.body_checksum) {
            storage->step = STEP_LOG_SEARCH;
            return;
        }
        storage_frame_written(storage);
        if (storage->frame.synced > storage->synced) storage->synced = storage->frame.synced;
        storage->step = STEP_LOG_HEADER;
        return;
    }
    if (!storage_window_has(storage, offset, 1)) {
        storage_window_read(storage, offset, storage->file_bytes[STORAGE_LOG]);
        return;
    }
    uint64_t here = storage->window_offset + storage->window_bytes - offset;
    if (here > left) here = left;
    hash_stream_add(&storage->hash, storage->scratch + (offset - storage->window_offset), (size_t)here);
    storage->body_done += here;
}

/* Looks for a frame that proves the end of the chain wrong. */
static enum velta_status open_log_search(struct storage *storage, struct velta_error *error) {
    uint64_t log_bytes = storage->file_bytes[STORAGE_LOG];
    uint64_t end = storage->tail.offset;
    while (log_bytes - storage->search_offset >= STORAGE_FRAME_HEADER_BYTES) {
        uint64_t offset = storage->search_offset;
        if (!storage_window_has(storage, offset, STORAGE_FRAME_HEADER_BYTES)) {
            storage_window_read(storage, offset, log_bytes);
            return VELTA_OK;
        }
        struct storage_frame frame;
        if (storage_frame_decode(storage->scratch + (offset - storage->window_offset), &frame) &&
            frame.generation == storage->generation && frame.salt == storage->salt && frame.synced > end) {
            return velta_fail(error, VELTA_CORRUPT, end,
                              "the log is damaged at byte %llu, though it was durable up to byte %llu",
                              (unsigned long long)end, (unsigned long long)frame.synced);
        }
        storage->search_offset++;
    }
    /* The log of generation 0 was durable before DATA was first written, and a log is never empty after that. */
    if (storage->generation == 0 && end == 0 && storage->file_bytes[STORAGE_DATA] > 0) {
        return velta_fail(error, VELTA_CORRUPT, 0, "the data file has no valid root");
    }
    if (storage->generation > 0 && log_bytes == 0 && !(storage->root.flags & STORAGE_ROOT_PACKED)) {
        return velta_fail(error, VELTA_CORRUPT, 0, "the log is missing");
    }
    storage->cut_bytes = storage->log_stale ? 0 : log_bytes - storage->committed.offset;
    storage->replay = (struct log_place){0};
    storage->replay_end = storage->committed.offset;
    storage->step = STEP_LOG_CUT;
    return VELTA_OK;
}

/*
 * Drops what lies behind the last committed frame, durably, before anything is appended in its place. Where not even
 * the first frame is left, a new one is written, so that a log is never empty and a missing one is noticed; but only
 * after the cut is durable, or frames behind a torn first one would join the new one.
 */
static void log_cut(struct storage *storage) {
    uint64_t least = STORAGE_FRAME_HEADER_BYTES;
    storage->tail = storage->committed;
    if (storage->synced > storage->tail.offset) storage->synced = storage->tail.offset;
    storage->step = STEP_LOG_CUT_DONE;
    if (storage->read_only || storage->file_bytes[STORAGE_LOG] == storage->tail.offset) return;
    storage->step = STEP_LOG_CUT_SYNC;
    if (storage->file_bytes[STORAGE_LOG] <= least) return; /* nothing follows the first frame */
    storage->file_bytes[STORAGE_LOG] = storage->tail.offset > least ? storage->tail.offset : least;
    storage_emit(storage, STORAGE_TRUNCATE, STORAGE_LOG, storage->file_bytes[STORAGE_LOG], 0, NULL, NULL);
}

static enum velta_status log_step(struct storage *storage, struct velta_error *error) {
    switch (storage->step) {
    case STEP_OPEN_LOG:
        storage_log_begin(storage);
        storage->step = STEP_LOG_HEADER;
        return VELTA_OK;
    case STEP_LOG_HEADER:
        return open_log_header(storage, error);
    case STEP_LOG_BODY:
        open_log_body(storage);
        return VELTA_OK;
    case STEP_LOG_SEARCH:
        return open_log_search(storage, error);
    case STEP_LOG_CUT:
        log_cut(storage);
        return VELTA_OK;
    case STEP_LOG_CUT_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->step = storage->tail.offset == 0 ? STEP_LOG_CUT_START : STEP_LOG_CUT_SYNCED;
        return VELTA_OK;
    case STEP_LOG_CUT_START:
        storage_frame_prepare(storage, NULL, 0, true);
        storage_emit(storage, STORAGE_WRITE, STORAGE_LOG, 0, STORAGE_FRAME_HEADER_BYTES, storage->scratch, NULL);
        storage->step = STEP_LOG_CUT_STARTED;
        return VELTA_OK;
    case STEP_LOG_CUT_STARTED:
        storage_frame_written(storage);
        storage->step = STEP_LOG_CUT_SYNC;
        return VELTA_OK;
    case STEP_LOG_CUT_SYNCED:
        storage->synced = storage->tail.offset;
        storage->step = STEP_LOG_CUT_DONE;
        return VELTA_OK;
    default:
        storage->step = STEP_END;
        if (storage->is_open) return VELTA_OK; /* a rollback */
        storage->is_open = true;
        return storage_count_free(storage, error);
    }
}

enum velta_status storage_open_step(struct storage *storage, struct velta_error *error) {
    enum velta_status status;
    switch (storage->step) {
    case STEP_OPEN_DATA_SIZE:
        storage_emit(storage, STORAGE_SIZE, STORAGE_DATA, 0, 0, NULL, NULL);
        storage->step = STEP_OPEN_LOG_SIZE;
        return VELTA_OK;
    case STEP_OPEN_LOG_SIZE:
        storage->file_bytes[STORAGE_DATA] = storage->result.size_bytes;
        storage_emit(storage, STORAGE_SIZE, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->step = STEP_OPEN_ROOTS;
        return VELTA_OK;
    case STEP_OPEN_ROOTS: {
        uint64_t data_bytes = storage->file_bytes[STORAGE_DATA];
        storage->file_bytes[STORAGE_LOG] = storage->result.size_bytes;
        memset(storage->scratch, 0, STORAGE_EXTENTS_START);
        storage->step = STEP_OPEN_CHOOSE;
        if (data_bytes > 0) {
            uint64_t size_bytes = data_bytes < STORAGE_EXTENTS_START ? data_bytes : STORAGE_EXTENTS_START;
            storage_emit(storage, STORAGE_READ, STORAGE_DATA, 0, size_bytes, NULL, storage->scratch);
        }
        return VELTA_OK;
    }
    case STEP_OPEN_CHOOSE:
        return open_choose_root(storage, error);
    case STEP_OPEN_DIRECTORY:
        storage->step = STEP_OPEN_PREVIOUS;
        return open_read_directory(storage, &storage->root, &storage->current, error);
    case STEP_OPEN_PREVIOUS:
        status = open_take_directory(storage, &storage->root, &storage->current, error);
        storage->step = STEP_OPEN_PREVIOUS_TAKE;
        if (status != VELTA_OK || storage->previous_root.generation == 0) return status;
        return open_read_directory(storage, &storage->previous_root, &storage->previous, error);
    case STEP_OPEN_PREVIOUS_TAKE:
        /* The older root only keeps its extents from being reused; when it is damaged there is nothing to keep. */
        storage->step = STEP_OPEN_LOG;
        if (storage->previous_root.generation > 0 &&
            open_take_directory(storage, &storage->previous_root, &storage->previous, NULL) != VELTA_OK) {
            storage_directory_release(storage, &storage->previous);
            storage->previous_root = (struct storage_root){0};
        }
        return VELTA_OK;
    default:
        return log_step(storage, error);
    }
}
