/*
 * Salvage: what is left of a damaged database, read into a database in memory, every loss reported.
 *
 * The files are read only, through the host, without the storage machine: that one refuses damage, this goes around it.
 * The newest root counts whose directory and schema are whole; an older one where the newest is damaged, and where
 * there is none the log alone, if it is that of a store before its first checkpoint. Then each segment by itself
 * (salvage_load.c) and the log up to its first damaged frame (salvage_log.c). Nothing is used whose checksum is wrong,
 * and bytes with a right checksum are validated as when a database is opened: whatever is refused there counts as lost.
 *
 * What cannot be noticed: a file that ends exactly where it ended at an earlier time, and a log of which the frames
 * after the last one are missing as if they had never been. The format cannot tell them from the store of that time.
 */
#include "store/salvage.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/hash.h"

enum { RETRY_BYTES = 4096 }; /* a disk's unreadable sector takes no more with it */

void salvage_report(const struct salvage *salvage, struct velta_loss *loss, struct salvage_place place,
                    const char *format, ...) {
    va_list arguments;
    loss->in_log = place.in_log;
    loss->offset = place.known ? place.offset : VELTA_NO_OFFSET;
    loss->size_bytes = place.size_bytes;
    va_start(arguments, format);
    vsnprintf(loss->text, sizeof loss->text, format, arguments);
    va_end(arguments);
    if (salvage->report) {
        salvage->report(salvage->context, loss);
    }
}

enum velta_status salvage_progress(const struct salvage *salvage, uint64_t done, uint64_t total,
                                   struct velta_error *error) {
    const struct velta_progress *progress = salvage->progress;
    if (progress->report && !progress->report(progress->context, done, total)) {
        return velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "the salvage was cancelled");
    }
    return VELTA_OK;
}

bool salvage_must_stop(enum velta_status status) {
    return status == VELTA_NO_MEMORY || status == VELTA_OVER_BUDGET || status == VELTA_CANCELLED;
}

/* ---- files */

static struct storage_result execute(const struct salvage *salvage, const struct storage_operation *operation) {
    struct storage_result result = {VELTA_IO, 0};
    salvage->db->host.execute(salvage->db->host.context, operation, &result);
    return result;
}

static bool read_whole(const struct salvage *salvage, enum storage_file file, uint64_t offset, uint64_t size_bytes,
                       uint8_t *out) {
    struct storage_operation operation = {
        .kind = STORAGE_READ, .file = file, .offset = offset, .size_bytes = size_bytes, .buffer = out};
    struct storage_result result = execute(salvage, &operation);
    return result.status == VELTA_OK && result.size_bytes == size_bytes;
}

void salvage_read(const struct salvage *salvage, enum storage_file file, uint64_t offset, uint64_t size_bytes,
                  uint8_t *out) {
    uint64_t file_bytes = salvage->file_bytes[file];
    uint64_t there = offset < file_bytes ? file_bytes - offset : 0;
    uint64_t wanted = size_bytes < there ? size_bytes : there;
    memset(out + wanted, 0, (size_t)(size_bytes - wanted));
    if (wanted == 0 || read_whole(salvage, file, offset, wanted, out)) {
        return;
    }
    for (uint64_t at = 0; at < wanted; at += RETRY_BYTES) {
        uint64_t piece = wanted - at < RETRY_BYTES ? wanted - at : RETRY_BYTES;
        if (!read_whole(salvage, file, offset + at, piece, out + at)) {
            memset(out + at, 0, (size_t)piece);
        }
    }
}

static enum velta_status measure(struct salvage *salvage, struct velta_error *error) {
    for (int file = STORAGE_DATA; file <= STORAGE_LOG; file++) {
        struct storage_operation operation = {.kind = STORAGE_SIZE, .file = (enum storage_file)file};
        struct storage_result result = execute(salvage, &operation);
        if (result.status != VELTA_OK) {
            return velta_fail(error, VELTA_IO, VELTA_NO_OFFSET, "the size of the %s file cannot be read",
                              file == STORAGE_DATA ? "data" : "log");
        }
        salvage->file_bytes[file] = result.size_bytes;
    }
    return VELTA_OK;
}

/* ---- roots */

static void release_directory(struct salvage *salvage) {
    memory_release(salvage->db->memory, salvage->segments, salvage->segment_count * sizeof *salvage->segments);
    salvage->segments = NULL;
    salvage->segment_count = 0;
}

static enum velta_status read_directory(struct salvage *salvage, struct velta_error *error) {
    const struct storage_root *root = &salvage->root;
    struct memory *memory = salvage->db->memory;
    uint64_t size_bytes = root->directory_bytes;
    /* What lies wholly behind the end of the file is lost, and not worth its size in memory. */
    if (size_bytes == 0 || root->directory_offset > salvage->file_bytes[STORAGE_DATA] ||
        size_bytes > salvage->file_bytes[STORAGE_DATA] - root->directory_offset) {
        return velta_fail(error, VELTA_CORRUPT, root->directory_offset, "the directory is not in the file");
    }
    uint8_t *bytes = memory_allocate(memory, (size_t)size_bytes);
    size_t count = (size_t)(size_bytes / STORAGE_DIRECTORY_ENTRY_BYTES);
    salvage->segments = bytes ? memory_allocate(memory, count * sizeof *salvage->segments) : NULL;
    if (!salvage->segments) {
        enum velta_status refused = memory_fail(memory, error);
        memory_release(memory, bytes, bytes ? (size_t)size_bytes : 0);
        return refused;
    }
    salvage->segment_count = count;
    salvage_read(salvage, STORAGE_DATA, root->directory_offset, size_bytes, bytes);
    enum velta_status status =
        hash_bytes(bytes, (size_t)size_bytes) == root->directory_checksum
            ? storage_directory_decode(bytes, root, salvage->segments, count, error)
            : velta_fail(error, VELTA_CORRUPT, root->directory_offset, "the directory's checksum does not match");
    memory_release(memory, bytes, (size_t)size_bytes);
    return status;
}

/* Makes the state's tables by one root. CORRUPT: it cannot be used. */
static enum velta_status try_root(struct salvage *salvage, const struct storage_root *root, struct velta_error *error) {
    salvage->root = *root;
    enum velta_status status = root->meta.sequence > 0
                                   ? read_directory(salvage, error)
                                   : velta_fail(error, VELTA_CORRUPT, 0, "the root holds no sequence number");
    status = status ? status : salvage_load_schema(salvage, error);
    if (status) {
        release_directory(salvage);
        salvage->root = (struct storage_root){0};
        return status;
    }
    salvage->db->next_sequence = root->meta.sequence;
    salvage->db->last_time_ms = root->meta.time_ms;
    return VELTA_OK;
}

static void report_older(const struct salvage *salvage, const struct storage_root *damaged,
                         const struct velta_error *why) {
    const struct storage_meta *meta = &salvage->root.meta;
    struct velta_loss loss = {.kind = VELTA_LOSS_CHANGES, .sequence = meta->sequence - 1, .time_ms = meta->time_ms};
    struct salvage_place place = {.known = true, .offset = why->offset != VELTA_NO_OFFSET ? why->offset : 0};
    salvage_report(salvage, &loss, place,
                   "the newest checkpoint cannot be used (%.90s): changes %llu to %llu, and all later ones, are lost",
                   why->text, (unsigned long long)meta->sequence, (unsigned long long)damaged->meta.sequence - 1);
}

static void report_strangers(const struct salvage *salvage, const struct storage_root *other) {
    struct velta_loss loss = {
        .kind = VELTA_LOSS_CHANGES, .sequence = salvage->root.meta.sequence - 1, .time_ms = salvage->root.meta.time_ms};
    struct salvage_place place = {
        .known = true, .offset = storage_root_slot(other->generation) * STORAGE_ROOT_BYTES, .size_bytes = 4096};
    salvage_report(salvage, &loss, place,
                   "the file holds roots of two stores (generations %llu and %llu); what came between is lost",
                   (unsigned long long)other->generation, (unsigned long long)salvage->root.generation);
}

static enum velta_status read_roots(struct salvage *salvage, struct storage_root roots[2], bool valid[2],
                                    struct velta_error *error) {
    uint8_t *bytes = memory_allocate(salvage->db->memory, STORAGE_EXTENTS_START);
    enum velta_status status = VELTA_OK;
    if (!bytes) {
        return memory_fail(salvage->db->memory, error);
    }
    salvage_read(salvage, STORAGE_DATA, 0, STORAGE_EXTENTS_START, bytes);
    for (unsigned slot = 0; slot < 2 && !status; slot++) {
        enum storage_root_state state = storage_root_decode(bytes + slot * STORAGE_ROOT_BYTES, slot, &roots[slot]);
        valid[slot] = state == STORAGE_ROOT_VALID;
        if (state == STORAGE_ROOT_NEWER) {
            status = velta_fail(error, VELTA_VERSION, slot * STORAGE_ROOT_BYTES, "the data file needs a newer velta");
        }
    }
    memory_release(salvage->db->memory, bytes, STORAGE_EXTENTS_START);
    return status;
}

/* The newest root that can be used; none: generation 0, and *why says what was wrong with the newest. */
static enum velta_status choose_root(struct salvage *salvage, struct velta_error *why, struct velta_error *error) {
    struct storage_root roots[2];
    bool valid[2];
    enum velta_status status = read_roots(salvage, roots, valid, error);
    if (status) {
        return status;
    }
    *why = (struct velta_error){.offset = 0};
    snprintf(why->text, sizeof why->text, "both roots are damaged");
    unsigned newest = valid[1] && (!valid[0] || roots[1].generation > roots[0].generation);
    for (unsigned i = 0; i < 2; i++) {
        unsigned slot = i == 0 ? newest : 1 - newest;
        if (!valid[slot]) {
            continue;
        }
        struct velta_error failure = {0};
        status = try_root(salvage, &roots[slot], &failure);
        if (salvage_must_stop(status)) {
            return velta_fail(error, status, failure.offset, "%s", failure.text);
        }
        if (!status) {
            if (i > 0 && valid[newest]) {
                report_older(salvage, &roots[newest], why);
            } else if (valid[0] && valid[1] &&
                       (roots[1 - slot].generation != roots[slot].generation - 1 ||
                        roots[1 - slot].checksum != roots[slot].previous_checksum)) {
                report_strangers(salvage, &roots[1 - slot]);
            }
            return VELTA_OK;
        }
        if (i == 0) {
            *why = failure;
        }
    }
    return VELTA_OK;
}

/* ---- all */

/* A hostile root may be of a time before changes that the histories hold: the next change comes after them. */
static enum velta_status catch_up(struct velta *db, struct velta_error *error) {
    uint64_t sequence;
    int64_t time_ms;
    snapshot_last_change(&db->state, &sequence, &time_ms);
    if (sequence == UINT64_MAX) {
        return velta_fail(error, VELTA_CORRUPT, 0, "nothing can be saved: no number is left for the next change");
    }
    db->next_sequence = sequence >= db->next_sequence ? sequence + 1 : db->next_sequence;
    db->last_time_ms = time_ms > db->last_time_ms ? time_ms : db->last_time_ms;
    return VELTA_OK;
}

static enum velta_status run(struct salvage *salvage, struct velta_error *error) {
    struct velta *db = salvage->db;
    struct velta_error why;
    enum velta_status status = measure(salvage, error);
    if (!status && salvage->file_bytes[STORAGE_DATA] == 0 && salvage->file_bytes[STORAGE_LOG] == 0) {
        status = velta_fail(error, VELTA_NOT_FOUND, VELTA_NO_OFFSET, "both files are empty or absent");
    }
    status = status ? status : choose_root(salvage, &why, error);
    if (!status && salvage->root.generation > 0) {
        status = salvage_load(salvage, error);
        status = status ? status : catch_up(db, error);
    }
    status = status ? status : database_make_handles(db, error);
    status = status ? status : salvage_log(salvage, error);
    if (!status && salvage->root.generation == 0 && db->next_sequence == 1) {
        return velta_fail(error, VELTA_CORRUPT, why.offset, "nothing can be saved: %.150s", why.text);
    }
    status = status ? status : salvage_drop_incomplete(salvage, error);
    status = status ? status : database_calibrate(db, error);
    return status || !salvage->must_compact ? status : compact_salvaged(db, salvage->progress, error);
}

enum velta_status velta_salvage(const char *path, const struct velta_options *options, velta_loss_function *report,
                                void *context, velta **out, struct velta_error *error) {
    static const struct velta_options defaults = {0};
    struct velta *db = NULL;
    struct velta_error own;
    options = options ? options : &defaults;
    error = error ? error : &own;
    *out = NULL;
    enum velta_status status = database_check_options(path, options, error);
    if (!status && !path && !options->host) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "give a path or a host to salvage from");
    }
    status = status ? status : database_create(options, &db, error);
    if (status) {
        return status;
    }
    db->read_only = false; /* what is made is in memory and the caller's to change */
    if (path) {
        status = host_open_files(db->memory, path, true, true, &db->host, error);
    } else {
        db->host = *options->host;
    }
    bool opened = path && !status;
    struct salvage salvage = {.db = db, .progress = &options->progress, .report = report, .context = context};
    status = status ? status : run(&salvage, error);
    release_directory(&salvage);
    memory_release(db->memory, salvage.lost, salvage.lost_capacity * sizeof *salvage.lost);
    memory_release(db->memory, salvage.buffer, salvage.buffer_capacity);
    memory_release(db->memory, salvage.resurrected, salvage.resurrected_count);
    if (opened) {
        db->host.close(db->host.context);
    }
    if (status) {
        database_free(db, false);
        return status;
    }
    *out = db;
    return VELTA_OK;
}
