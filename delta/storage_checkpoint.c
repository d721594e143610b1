/*
 * Checkpoints: a new root that names changed segments at fresh places and unchanged ones where they are; and exports.
 *
 * Order of writing, each arrow a sync: [start of the log, where there is none] -> segments, directory -> root ->
 * start of the new log. So whatever root is found at opening, everything it names is durable; the root before is
 * untouched, and its log continues to be the valid one until the new root is durable. The extents of both roots are
 * kept until the next checkpoint, so a reader of the older root is not disturbed by one checkpoint.
 */
#include "delta/storage_state.h"

void storage_checkpoint_release(struct storage *storage) {
    struct memory *memory = storage->memory;
    storage_directory_release(storage, &storage->checkpoint.next);
    memory_release(memory, storage->checkpoint.buffer, storage->checkpoint.buffer_bytes);
    memory_release(memory, storage->checkpoint.extents,
                   storage->checkpoint.extent_capacity * sizeof *storage->checkpoint.extents);
    memory_release(memory, storage->checkpoint.directory, storage->checkpoint.directory_bytes);
    memset(&storage->checkpoint, 0, sizeof storage->checkpoint);
}

/* ---- free space */

/* Rounded outwards to multiples of `unit`. */
static size_t add_extents(const struct storage_directory *directory, uint64_t unit, struct storage_extent *extents,
                          size_t count) {
    for (size_t i = 0; i <= directory->count; i++) {
        bool last = i == directory->count; /* the directory itself */
        uint64_t offset = last ? directory->offset : directory->segments[i].offset;
        uint64_t size_bytes = last ? directory->size_bytes : directory->segments[i].size_bytes;
        if (size_bytes == 0) continue;
        extents[count++] = (struct storage_extent){offset / unit * unit, bytes_align_up(offset + size_bytes, unit)};
    }
    return count;
}

size_t storage_used_extents(const struct storage *storage, struct storage_extent *extents) {
    size_t count = 0;
    extents[count++] = (struct storage_extent){0, STORAGE_EXTENTS_START};
    count = add_extents(&storage->current, STORAGE_EXTENT_ALIGNMENT, extents, count);
    count = add_extents(&storage->previous, STORAGE_EXTENT_ALIGNMENT, extents, count);
    return storage_extents_merge(extents, count);
}

static void storage_note_free(struct storage *storage, const struct storage_extent *used, size_t count) {
    uint64_t used_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        used_bytes += used[i].end - used[i].begin;
    }
    uint64_t data_bytes = storage->file_bytes[STORAGE_DATA];
    storage->free_bytes = data_bytes > used_bytes ? data_bytes - used_bytes : 0;
}

enum velta_status storage_count_free(struct storage *storage, struct velta_error *error) {
    size_t size_bytes = (storage->current.count + storage->previous.count + 3) * sizeof(struct storage_extent);
    struct storage_extent *extents = memory_allocate(storage->memory, size_bytes);
    if (extents == NULL) return memory_fail(storage->memory, error);
    storage_note_free(storage, extents, storage_used_extents(storage, extents));
    memory_release(storage->memory, extents, size_bytes);
    return VELTA_OK;
}

/* Turns merged used extents into the gaps between them, the last reaching to infinity. */
static void extents_to_gaps(struct storage_extent *extents, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t next = i + 1 < count ? extents[i + 1].begin : UINT64_MAX / 2;
        extents[i] = (struct storage_extent){extents[i].end, next};
    }
}

/* First fit; *first is the first gap that is not used up. 0: there is no place below 2^63. */
static uint64_t take_gap(struct storage_extent *gaps, size_t count, size_t *first, uint64_t size_bytes) {
    uint64_t room = bytes_align_up(size_bytes, STORAGE_EXTENT_ALIGNMENT);
    while (*first < count && gaps[*first].begin == gaps[*first].end) {
        ++*first;
    }
    for (size_t i = *first; i < count; i++) {
        if (gaps[i].end - gaps[i].begin >= room) {
            uint64_t offset = gaps[i].begin;
            gaps[i].begin += room;
            return offset;
        }
    }
    return 0;
}

/* ---- beginning */

static enum velta_status checkpoint_check(const struct storage *storage, const struct checkpoint_segment *segments,
                                          size_t count, uint64_t *largest, struct velta_error *error) {
    *largest = 0;
    /* Whose data file would end before the place of its extents, and could not be opened. */
    if (count == 0) return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a checkpoint without segments");
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && storage_compare_keys(&segments[i - 1].key, &segments[i].key) >= 0) {
            return velta_fail(error, VELTA_INVALID, i, "the segments' keys do not ascend");
        }
        if (segments[i].size_bytes > SIZE_MAX / 2) {
            return velta_fail(error, VELTA_LIMIT, i, "a segment is too large for this machine");
        }
        if (segments[i].changed) {
            if (segments[i].size_bytes > *largest) *largest = segments[i].size_bytes;
            continue;
        }
        const struct segment *present = storage_find_segment(storage, &segments[i].key);
        if (present == NULL || present->size_bytes != segments[i].size_bytes) {
            return velta_fail(error, VELTA_INVALID, i, "an unchanged segment is not in the directory");
        }
    }
    return VELTA_OK;
}

static enum velta_status checkpoint_allocate(struct storage *storage, size_t count, uint64_t largest,
                                             struct velta_error *error) {
    struct memory *memory = storage->memory;
    size_t directory_bytes;
    if (!checked_multiply_size(count, STORAGE_DIRECTORY_ENTRY_BYTES, &directory_bytes)) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "too many segments");
    }
    /* Enough for the two roots of now, and for the two of afterwards. */
    size_t extents = storage->current.count + storage->previous.count + count + 3;
    storage->checkpoint.extents = memory_allocate(memory, extents * sizeof *storage->checkpoint.extents);
    if (storage->checkpoint.extents == NULL) return memory_fail(memory, error);
    storage->checkpoint.extent_capacity = extents;
    if (largest > 0) {
        storage->checkpoint.buffer = memory_allocate(memory, (size_t)largest);
        if (storage->checkpoint.buffer == NULL) return memory_fail(memory, error);
        storage->checkpoint.buffer_bytes = (size_t)largest;
    }
    storage->checkpoint.directory = memory_allocate(memory, directory_bytes);
    if (storage->checkpoint.directory == NULL) return memory_fail(memory, error);
    storage->checkpoint.directory_bytes = directory_bytes;
    storage->checkpoint.next.segments = memory_allocate(memory, count * sizeof(struct segment));
    if (storage->checkpoint.next.segments == NULL) return memory_fail(memory, error);
    storage->checkpoint.next.count = count;
    return VELTA_OK;
}

/* Decides where everything goes. */
static enum velta_status checkpoint_place(struct storage *storage, struct velta_error *error) {
    struct storage_directory *next = &storage->checkpoint.next;
    struct storage_extent *gaps = storage->checkpoint.extents;
    size_t gap_count = storage_used_extents(storage, gaps);
    size_t first = 0;
    uint64_t data_end = STORAGE_EXTENTS_START;
    extents_to_gaps(gaps, gap_count);
    next->offset = STORAGE_EXTENTS_START;
    next->size_bytes = next->count * STORAGE_DIRECTORY_ENTRY_BYTES;
    for (size_t i = 0; i <= next->count; i++) {
        bool last = i == next->count;
        uint64_t *offset = last ? &next->offset : &next->segments[i].offset;
        uint64_t size_bytes = last ? next->size_bytes : next->segments[i].size_bytes;
        if (last || storage->checkpoint.segments[i].changed) {
            *offset = STORAGE_EXTENTS_START;
            if (size_bytes > 0) *offset = take_gap(gaps, gap_count, &first, size_bytes);
            if (*offset == 0) return velta_fail(error, VELTA_LIMIT, i, "the data file would be too large");
        }
        if (*offset + size_bytes > data_end) data_end = *offset + size_bytes;
    }
    storage->checkpoint.root = (struct storage_root){
        .generation = storage->generation + 1,
        .previous_checksum = storage->root.checksum,
        .directory_offset = next->offset,
        .directory_bytes = next->size_bytes,
        .data_end = data_end,
    };
    return VELTA_OK;
}

static void checkpoint_take_segments(struct storage *storage, const struct checkpoint_segment *segments) {
    for (size_t i = 0; i < storage->checkpoint.next.count; i++) {
        struct segment *segment = &storage->checkpoint.next.segments[i];
        const struct segment *present = segments[i].changed ? NULL : storage_find_segment(storage, &segments[i].key);
        *segment =
            present != NULL ? *present : (struct segment){.key = segments[i].key, .size_bytes = segments[i].size_bytes};
    }
}

enum velta_status storage_begin_checkpoint(struct storage *storage, const struct checkpoint_segment *segments,
                                           size_t count, const struct storage_source *source,
                                           const struct storage_meta *meta, struct velta_error *error) {
    enum velta_status status = storage_start(storage, STEP_CHECKPOINT, false, error);
    if (status != VELTA_OK) return status;
    uint64_t largest;
    if (storage->tail.offset != storage->committed.offset) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a batch of frames is not complete");
    }
    if (status == VELTA_OK) status = checkpoint_check(storage, segments, count, &largest, error);
    if (status == VELTA_OK) status = checkpoint_allocate(storage, count, largest, error);
    if (status == VELTA_OK) {
        storage->checkpoint.segments = segments;
        storage->checkpoint.source = *source;
        checkpoint_take_segments(storage, segments);
        status = checkpoint_place(storage, error);
        storage->checkpoint.root.meta = *meta;
    }
    if (status != VELTA_OK) {
        storage_checkpoint_release(storage);
        storage->step = STEP_IDLE;
    }
    return status;
}

/* ---- writing */

static void checkpoint_note_write(struct storage *storage, uint64_t offset, uint64_t size_bytes) {
    if (offset + size_bytes > storage->file_bytes[STORAGE_DATA]) {
        storage->file_bytes[STORAGE_DATA] = offset + size_bytes;
    }
}

/* The next changed segment, then the directory. */
static void checkpoint_write_segment(struct storage *storage) {
    struct storage_directory *next = &storage->checkpoint.next;
    const struct checkpoint_segment *segments = storage->checkpoint.segments;
    size_t *position = &storage->checkpoint.position;
    while (*position < next->count && !segments[*position].changed) {
        ++*position;
    }
    if (*position < next->count) {
        struct segment *segment = &next->segments[(*position)++];
        uint8_t *buffer = storage->checkpoint.buffer;
        if (segment->size_bytes > 0) {
            storage->checkpoint.source.write(storage->checkpoint.source.context, &segment->key, buffer,
                                             segment->size_bytes);
            storage_emit(storage, STORAGE_WRITE, STORAGE_DATA, segment->offset, segment->size_bytes, buffer, NULL);
            checkpoint_note_write(storage, segment->offset, segment->size_bytes);
        }
        segment->checksum = hash_bytes(buffer, (size_t)segment->size_bytes);
        return;
    }
    storage_directory_encode(next->segments, next->count, storage->checkpoint.directory);
    storage->checkpoint.root.directory_checksum = hash_bytes(storage->checkpoint.directory, (size_t)next->size_bytes);
    storage_emit(storage, STORAGE_WRITE, STORAGE_DATA, next->offset, next->size_bytes, storage->checkpoint.directory,
                 NULL);
    checkpoint_note_write(storage, next->offset, next->size_bytes);
    storage->step = STEP_CHECKPOINT_SYNC;
}

static void checkpoint_write_root(struct storage *storage) {
    uint64_t offset = (uint64_t)storage_root_slot(storage->checkpoint.root.generation) * STORAGE_ROOT_BYTES;
    storage_root_encode(&storage->checkpoint.root, storage->scratch);
    storage_emit(storage, STORAGE_WRITE, STORAGE_DATA, offset, STORAGE_ROOT_BYTES, storage->scratch, NULL);
    checkpoint_note_write(storage, offset, STORAGE_ROOT_BYTES);
    storage->step = STEP_CHECKPOINT_ROOT_SYNC;
}

/* The new root is durable: it becomes the present one, and its log begins over the old one's first bytes. */
static void checkpoint_switch(struct storage *storage) {
    storage_directory_release(storage, &storage->previous);
    storage->previous = storage->current;
    storage->previous_root = storage->root;
    storage->current = storage->checkpoint.next;
    storage->root = storage->checkpoint.root;
    storage->generation = storage->root.generation;
    storage->checkpoint.next = (struct storage_directory){0};
    storage->replay_end = storage->replay.offset = 0;
    storage_log_begin(storage);
    storage_frame_prepare(storage, NULL, 0, true);
    storage_emit(storage, STORAGE_WRITE, STORAGE_LOG, 0, STORAGE_FRAME_HEADER_BYTES, storage->scratch, NULL);
    storage->step = STEP_CHECKPOINT_LOG_TRIM;
}

/* What lies behind the extents of both roots is given back. */
static void checkpoint_trim(struct storage *storage) {
    uint64_t end = storage->root.data_end;
    if (storage->previous_root.data_end > end) end = storage->previous_root.data_end;
    storage->step = STEP_END;
    if (end < storage->file_bytes[STORAGE_DATA]) {
        storage_emit(storage, STORAGE_TRUNCATE, STORAGE_DATA, end, 0, NULL, NULL);
        storage->file_bytes[STORAGE_DATA] = end;
    }
    storage_note_free(storage, storage->checkpoint.extents, storage_used_extents(storage, storage->checkpoint.extents));
}

void storage_checkpoint_step(struct storage *storage) {
    switch (storage->step) {
    case STEP_CHECKPOINT: /* DATA is written only once the log it continues is known to exist */
        storage->step = STEP_CHECKPOINT_SEGMENTS;
        if (storage->synced >= STORAGE_FRAME_HEADER_BYTES) break;
        storage->step = STEP_CHECKPOINT_LOG_SYNC;
        if (storage->tail.offset > 0) break;
        storage_frame_prepare(storage, NULL, 0, true);
        storage_emit(storage, STORAGE_WRITE, STORAGE_LOG, 0, STORAGE_FRAME_HEADER_BYTES, storage->scratch, NULL);
        break;
    case STEP_CHECKPOINT_LOG_SYNC:
        if (storage->tail.offset == 0) storage_frame_written(storage);
        storage_emit(storage, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->step = STEP_CHECKPOINT_LOG_SYNCED;
        break;
    case STEP_CHECKPOINT_LOG_SYNCED:
        storage->synced = storage->tail.offset;
        storage->step = STEP_CHECKPOINT_SEGMENTS;
        break;
    case STEP_CHECKPOINT_SEGMENTS:
        checkpoint_write_segment(storage);
        break;
    case STEP_CHECKPOINT_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_DATA, 0, 0, NULL, NULL);
        storage->step = STEP_CHECKPOINT_ROOT;
        break;
    case STEP_CHECKPOINT_ROOT:
        checkpoint_write_root(storage);
        break;
    case STEP_CHECKPOINT_ROOT_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_DATA, 0, 0, NULL, NULL);
        storage->step = STEP_CHECKPOINT_SWITCH;
        break;
    case STEP_CHECKPOINT_SWITCH:
        checkpoint_switch(storage);
        break;
    case STEP_CHECKPOINT_LOG_TRIM:
        storage_frame_written(storage);
        storage_emit(storage, STORAGE_TRUNCATE, STORAGE_LOG, storage->tail.offset, 0, NULL, NULL);
        storage->file_bytes[STORAGE_LOG] = storage->tail.offset;
        storage->step = STEP_CHECKPOINT_LOG_DURABLE;
        break;
    case STEP_CHECKPOINT_LOG_DURABLE:
        storage_emit(storage, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->step = STEP_CHECKPOINT_DATA_TRIM;
        break;
    default:
        storage->synced = storage->tail.offset;
        checkpoint_trim(storage);
        break;
    }
}

/* ---- scrubbing */

enum velta_status storage_begin_scrub(struct storage *storage, struct velta_error *error) {
    enum velta_status status = storage_start(storage, STEP_SCRUB, false, error);
    if (status != VELTA_OK) return status;
    if (storage->generation == 0 || storage->tail.frame_count > 0) {
        storage->step = STEP_IDLE;
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "only a store just checkpointed can be scrubbed");
    }
    size_t capacity = storage->current.count + 3;
    struct storage_extent *extents = memory_allocate(storage->memory, capacity * sizeof *extents);
    if (extents == NULL) {
        storage->step = STEP_IDLE;
        return memory_fail(storage->memory, error);
    }
    uint64_t root_offset = (uint64_t)storage_root_slot(storage->generation) * STORAGE_ROOT_BYTES;
    extents[0] = (struct storage_extent){root_offset, root_offset + STORAGE_ROOT_BYTES};
    size_t count = storage_extents_merge(extents, add_extents(&storage->current, 1, extents, 1));
    storage->checkpoint.extents = extents;
    storage->checkpoint.extent_capacity = capacity;
    storage->checkpoint.extent_count = count;
    storage->checkpoint.scrub_offset = STORAGE_EXTENTS_START;
    memset(storage->scratch, 0, STORAGE_SCRATCH_BYTES);
    return VELTA_OK;
}

/* Zeros for the next bytes between used ones, as many as scratch holds. */
static void scrub_gaps(struct storage *storage) {
    const struct storage_extent *used = storage->checkpoint.extents;
    size_t *position = &storage->checkpoint.position;
    uint64_t *offset = &storage->checkpoint.scrub_offset;
    while (*position < storage->checkpoint.extent_count && used[*position].begin <= *offset) {
        if (used[*position].end > *offset) *offset = used[*position].end;
        ++*position;
    }
    if (*position == storage->checkpoint.extent_count) { /* what follows the last used byte is cut off */
        storage->step = STEP_SCRUB_DATA_SYNC;
        if (storage->file_bytes[STORAGE_DATA] <= storage->root.data_end) return;
        storage->file_bytes[STORAGE_DATA] = storage->root.data_end;
        storage_emit(storage, STORAGE_TRUNCATE, STORAGE_DATA, storage->root.data_end, 0, NULL, NULL);
        return;
    }
    uint64_t size_bytes = used[*position].begin - *offset;
    if (size_bytes > STORAGE_SCRATCH_BYTES) size_bytes = STORAGE_SCRATCH_BYTES;
    storage_emit(storage, STORAGE_WRITE, STORAGE_DATA, *offset, size_bytes, storage->scratch, NULL);
    *offset += size_bytes;
}

void storage_scrub_step(struct storage *storage) {
    switch (storage->step) {
    case STEP_SCRUB: {
        uint64_t older = (uint64_t)storage_root_slot(storage->generation + 1) * STORAGE_ROOT_BYTES;
        storage_emit(storage, STORAGE_WRITE, STORAGE_DATA, older, STORAGE_ROOT_BYTES, storage->scratch, NULL);
        checkpoint_note_write(storage, older, STORAGE_ROOT_BYTES);
        storage->step = STEP_SCRUB_ROOT_SYNC;
        break;
    }
    case STEP_SCRUB_ROOT_SYNC:
        storage_directory_release(storage, &storage->previous);
        storage->previous_root = (struct storage_root){0};
        storage_emit(storage, STORAGE_SYNC, STORAGE_DATA, 0, 0, NULL, NULL);
        storage->step = STEP_SCRUB_GAPS;
        break;
    case STEP_SCRUB_GAPS:
        scrub_gaps(storage);
        break;
    case STEP_SCRUB_DATA_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_DATA, 0, 0, NULL, NULL);
        storage->step = STEP_SCRUB_LOG;
        break;
    case STEP_SCRUB_LOG:
        storage->step = STEP_SCRUB_DONE;
        if (storage->tail.offset == 0) break; /* an export without a log */
        storage_emit(storage, STORAGE_TRUNCATE, STORAGE_LOG, storage->tail.offset, 0, NULL, NULL);
        storage->step = STEP_SCRUB_LOG_SYNC;
        break;
    case STEP_SCRUB_LOG_SYNC:
        storage_emit(storage, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL, NULL);
        storage->synced = storage->tail.offset;
        storage->step = STEP_SCRUB_DONE;
        break;
    default:
        storage_note_free(storage, storage->checkpoint.extents,
                          storage_used_extents(storage, storage->checkpoint.extents));
        storage->step = STEP_END;
        break;
    }
}

/* ---- exports */

uint64_t storage_export_bytes(const struct checkpoint_segment *segments, size_t count) {
    uint64_t offset = STORAGE_EXTENTS_START + (uint64_t)count * STORAGE_DIRECTORY_ENTRY_BYTES;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && storage_compare_keys(&segments[i - 1].key, &segments[i].key) >= 0) return 0;
        offset = bytes_align_up(offset, STORAGE_PACKED_ALIGNMENT);
        if (!checked_add_u64(offset, segments[i].size_bytes, &offset) || offset > SIZE_MAX / 2) return 0;
    }
    return offset;
}

void storage_export_write(const struct checkpoint_segment *segments, size_t count, const struct storage_source *source,
                          const struct storage_meta *meta, void *out) {
    uint8_t *bytes = out;
    uint8_t *entry = bytes + STORAGE_EXTENTS_START;
    uint64_t end = STORAGE_EXTENTS_START + (uint64_t)count * STORAGE_DIRECTORY_ENTRY_BYTES;
    struct storage_root root = {
        .generation = 1,
        .flags = STORAGE_ROOT_PACKED,
        .directory_offset = STORAGE_EXTENTS_START,
        .directory_bytes = end - STORAGE_EXTENTS_START,
        .meta = *meta,
    };
    memset(bytes, 0, STORAGE_EXTENTS_START);
    for (size_t i = 0; i < count; i++) {
        struct segment segment = {.key = segments[i].key, .size_bytes = segments[i].size_bytes};
        segment.offset = bytes_align_up(end, STORAGE_PACKED_ALIGNMENT);
        memset(bytes + end, 0, (size_t)(segment.offset - end));
        uint8_t *place = bytes + segment.offset;
        if (segment.size_bytes > 0) source->write(source->context, &segment.key, place, segment.size_bytes);
        segment.checksum = hash_bytes(place, (size_t)segment.size_bytes);
        storage_directory_encode(&segment, 1, entry);
        entry += STORAGE_DIRECTORY_ENTRY_BYTES;
        end = segment.offset + segment.size_bytes;
    }
    root.data_end = end;
    root.directory_checksum = hash_bytes(bytes + STORAGE_EXTENTS_START, (size_t)root.directory_bytes);
    storage_root_encode(&root, bytes);
}
