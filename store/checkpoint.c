/*
 * The whole state, out and in: checkpoints, exports, and loading either.
 *
 * A checkpoint writes the segments that changed and starts the log anew; everything applied is in it, so what was
 * pending for the log is dropped. An export is all segments in canonical order in one array; like every image it does
 * not depend on capacities, threads or the instruction set, so equal states give equal bytes.
 */
#include <string.h>

#include "store/database.h"

static uint64_t total_bytes(const struct checkpoint_segment *segments, size_t count) {
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += segments[i].changed ? segments[i].size_bytes : 0;
    }
    return total;
}

/* What the directory does not have, or not in this size, is written whether its room calls it changed or not. */
static void mark_new(const struct velta *db, struct checkpoint_segment *segments, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct segment *stored = storage_find_segment(db->storage, &segments[i].key);
        segments[i].changed = segments[i].changed || !stored || stored->size_bytes != segments[i].size_bytes;
    }
}

/* A source that reports what is done. Once cancelled it writes nothing more; the bytes are then of no use. */
struct reporting_source {
    struct snapshot_state *state;
    const struct velta_progress *progress;
    uint64_t done;
    uint64_t total;
    bool cancelled;
};

static void report(struct reporting_source *source, uint64_t size_bytes) {
    const struct velta_progress *progress = source->progress;
    source->done += size_bytes;
    if (progress && progress->report && !progress->report(progress->context, source->done, source->total)) {
        source->cancelled = true;
    }
}

static void write_reporting(void *context, const struct segment_key *key, void *out, uint64_t size_bytes) {
    struct reporting_source *source = context;
    snapshot_write_segment(source->state, key, out, size_bytes);
    report(source, size_bytes);
}

static void write_cancellable(void *context, const struct segment_key *key, void *out, uint64_t size_bytes) {
    struct reporting_source *source = context;
    if (source->cancelled) {
        memset(out, 0, (size_t)size_bytes);
        return;
    }
    write_reporting(context, key, out, size_bytes);
}

/* Of an export: nothing that equal states could differ in. */
static struct storage_meta meta_of(const struct velta *db) {
    return (struct storage_meta){.sequence = db->next_sequence, .time_ms = db->last_time_ms};
}

/* ---- checkpoints */

/* The log begins anew with the newest root, and nobody can follow from before. */
static void begin_digest(struct velta *db) {
    struct storage_stats stats;
    storage_get_stats(db->storage, &stats);
    follow_clear(db);
    db->log_digest = follow_digest(0, stats.salt);
}

enum velta_status checkpoint_run(struct velta *db, struct snapshot_state *state, bool all,
                                 const struct velta_progress *progress, struct velta_error *error) {
    struct checkpoint_segment *segments = NULL;
    struct storage_meta meta = meta_of(db);
    size_t count = 0;
    enum velta_status status = snapshot_list(state, all, &segments, &count, error);
    if (status) {
        return status;
    }
    /* Empty stores would have equal roots, and so equal salts: the log of one would pass as the other's. */
    if (db->made_ms == 0) {
        db->made_ms = db->now_ms(db->now_context);
    }
    meta.reserved[0] = (uint64_t)db->made_ms;
    /* What the log does not tell ends its digest: a compaction, and changes that were not yet in a frame. */
    bool is_told = state == &db->state && record_buffer_bytes(db->pending) == 0;
    meta.reserved[1] = is_told ? db->log_digest : 0;
    mark_new(db, segments, count);
    struct reporting_source reporting = {.state = state, .progress = progress, .total = total_bytes(segments, count)};
    struct storage_source source = {.context = &reporting, .write = write_reporting};
    report(&reporting, 0);
    if (reporting.cancelled) {
        status = velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "cancelled before anything was written");
    }
    status = status ? status : storage_begin_checkpoint(db->storage, segments, count, &source, &meta, error);
    status = status ? status : commit_drive(db, error);
    memory_release(db->memory, segments, count * sizeof *segments);
    if (!status) {
        if (!is_told) {
            begin_digest(db);
        }
        snapshot_clean(state);
        record_buffer_clear(db->pending);
        db->log_raw_bytes = 0;
        db->graph_dirty = false;
    }
    return status;
}

enum velta_status velta_checkpoint(velta *db, const struct velta_progress *progress, struct velta_error *error) {
    enum velta_status status = database_check_writable(db, error);
    return status || !db->storage ? status : checkpoint_run(db, &db->state, false, progress, error);
}

/* ---- exports */

static enum velta_status write_export(velta *db, const struct checkpoint_segment *segments, size_t count,
                                      uint8_t **bytes, uint64_t *size_bytes, const struct velta_progress *progress,
                                      struct velta_error *error) {
    struct reporting_source reporting = {
        .state = &db->state, .progress = progress, .total = total_bytes(segments, count)};
    struct storage_source source = {.context = &reporting, .write = write_cancellable};
    struct storage_meta meta = meta_of(db);
    uint64_t needed = storage_export_bytes(segments, count);
    if (needed == 0) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "the database is too large for one array here");
    }
    uint8_t *out = memory_allocate(db->memory, (size_t)needed);
    if (!out) {
        return memory_fail(db->memory, error);
    }
    report(&reporting, 0);
    if (!reporting.cancelled) {
        storage_export_write(segments, count, &source, &meta, out);
    }
    if (reporting.cancelled) {
        memory_release(db->memory, out, (size_t)needed);
        return velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "the export was cancelled");
    }
    *bytes = out;
    *size_bytes = needed;
    return VELTA_OK;
}

enum velta_status velta_export(velta *db, uint8_t **bytes, uint64_t *size_bytes, const struct velta_progress *progress,
                               struct velta_error *error) {
    struct checkpoint_segment *segments = NULL;
    size_t count = 0;
    *bytes = NULL;
    *size_bytes = 0;
    enum velta_status status = database_check_usable(db, error);
    status = status ? status : snapshot_list(&db->state, true, &segments, &count, error);
    if (!status) {
        status = write_export(db, segments, count, bytes, size_bytes, progress, error);
        memory_release(db->memory, segments, count * sizeof *segments);
    }
    return status;
}

void velta_export_free(velta *db, uint8_t *bytes, uint64_t size_bytes) {
    memory_release(db->memory, bytes, (size_t)size_bytes);
}

/* ---- loading */

struct loading {
    uint8_t *buffer; /* of the largest segment so far */
    size_t capacity;
    uint64_t done;
    uint64_t total;
};

/* The checked bytes of a segment: where the host has them, or read into the buffer. */
static enum velta_status fetch_segment(struct velta *db, const struct segment *segment, struct loading *loading,
                                       const void **bytes, struct velta_error *error) {
    size_t size_bytes = (size_t)segment->size_bytes; /* lies within the file, as the directory was checked to do */
    *bytes = db->host.view ? db->host.view(db->host.context, STORAGE_DATA, segment->offset, segment->size_bytes) : NULL;
    if (*bytes) {
        return storage_check_segment(segment, *bytes, error);
    }
    if (segment->size_bytes > SIZE_MAX / 2) {
        return velta_fail(error, VELTA_LIMIT, segment->offset, "a segment is too large for this machine");
    }
    if (size_bytes > loading->capacity) {
        memory_release(db->memory, loading->buffer, loading->capacity);
        loading->capacity = 0;
        loading->buffer = memory_allocate(db->memory, size_bytes);
        if (!loading->buffer) {
            return memory_fail(db->memory, error);
        }
        loading->capacity = size_bytes;
    }
    *bytes = loading->buffer;
    enum velta_status status = storage_begin_read(db->storage, segment, loading->buffer, error);
    return status ? status : commit_drive(db, error);
}

static enum velta_status load_segment(struct velta *db, const struct segment *segment, struct loading *loading,
                                      struct velta_error *error) {
    const void *bytes;
    enum velta_status status = fetch_segment(db, segment, loading, &bytes, error);
    if (status) {
        return status;
    }
    status = snapshot_read_segment(&db->state, &segment->key, bytes, segment->size_bytes, error);
    if (status == VELTA_CORRUPT && error && error->offset != VELTA_NO_OFFSET) {
        error->offset += segment->offset;
    }
    return status;
}

static enum velta_status load_segments(struct velta *db, struct loading *loading, const struct velta_progress *progress,
                                       struct velta_error *error) {
    size_t count = 0;
    bool ready = false;
    const struct segment *segments = storage_segments(db->storage, &count);
    for (size_t i = 0; i < count; i++) {
        loading->total += segments[i].size_bytes;
    }
    for (size_t i = 0; i < count; i++) {
        struct segment segment = segments[i];
        enum velta_status status = VELTA_OK;
        if (segment.key.kind == SEGMENT_GRAPH && !ready) {
            status = snapshot_ready(&db->state, error);
            ready = true;
        }
        status = status ? status : load_segment(db, &segment, loading, error);
        if (status) {
            return status;
        }
        loading->done += segment.size_bytes;
        if (progress->report && !progress->report(progress->context, loading->done, loading->total)) {
            return velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "loading was cancelled");
        }
    }
    enum velta_status status = ready ? VELTA_OK : snapshot_ready(&db->state, error);
    return status ? status : snapshot_finish(&db->state, error);
}

/* The next change comes after all that there are, or the order of histories would break. */
enum velta_status checkpoint_check_clock(const struct velta *db, struct velta_error *error) {
    uint64_t sequence;
    int64_t time_ms;
    snapshot_last_change(&db->state, &sequence, &time_ms);
    if (sequence >= db->next_sequence || time_ms > db->last_time_ms) {
        return velta_fail(error, VELTA_CORRUPT, 0, "the root is of a time before changes that the store holds");
    }
    return VELTA_OK;
}

enum velta_status checkpoint_load_root(struct velta *db, struct velta_error *error) {
    const struct storage_meta *meta = storage_meta(db->storage);
    if (meta->sequence == 0) {
        return velta_fail(error, VELTA_CORRUPT, 0, "the root holds no sequence number");
    }
    db->next_sequence = meta->sequence;
    db->last_time_ms = meta->time_ms;
    db->made_ms = (int64_t)meta->reserved[0];
    db->log_digest = meta->reserved[1] ? meta->reserved[1] : db->log_digest;
    return VELTA_OK;
}

enum velta_status checkpoint_load(struct velta *db, const struct velta_progress *progress, struct velta_error *error) {
    struct loading loading = {0};
    struct storage_stats stats;
    storage_get_stats(db->storage, &stats);
    begin_digest(db);
    if (stats.generation == 0) {
        return VELTA_OK;
    }
    loading.total = stats.log_bytes; /* the replay goes on from here */
    enum velta_status status = checkpoint_load_root(db, error);
    status = status ? status : load_segments(db, &loading, progress, error);
    memory_release(db->memory, loading.buffer, loading.capacity);
    return status ? status : checkpoint_check_clock(db, error);
}
