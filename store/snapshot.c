/*
 * An export imported by parts, in the order of the file: head, segments, graphs.
 *
 * The head is judged by the storage machine, through a host that has these bytes only, so that what an export is, is
 * decided in one place. The segments before the graphs go into a database that nobody has yet; a failure there leaves
 * it fit only for destroying. Once they are all there the directory is asked for exactly the segments of the graphs
 * that the state needs, and the database is given away.
 *
 * From then on the tables may change while graphs are still coming. Each index keeps for itself whether it still awaits
 * its graph (hnsw/image.c), which ends with the first change of its rows; so a segment is taken by an index that awaits
 * it and passed over where there is none. Compaction, which makes indexes anew, is refused while a snapshot is open.
 */
#include <string.h>

#include "delta/storage_format.h"
#include "store/database.h"

struct velta_snapshot {
    struct velta *db;
    struct velta_segment *segments;
    size_t count;
    size_t before_graph;
    size_t next; /* to be fed */
    uint32_t graphs;
    uint32_t attached;
    bool opened;   /* the database is the caller's */
    bool failed;   /* before that */
    bool finished; /* every graph was attached, refused or given up */
};

/* ---- the head */

struct head_host {
    const uint8_t *bytes;
    uint64_t size_bytes;
    uint64_t file_bytes;
};

/* Reads beyond the head give fewer bytes than were asked for, which the machine refuses. */
static void head_execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    const struct head_host *head = context;
    bool data = operation->file == STORAGE_DATA;
    *result = (struct storage_result){.status = VELTA_OK};
    if (operation->kind == STORAGE_SIZE) {
        result->size_bytes = data ? head->file_bytes : 0;
    } else if (operation->kind == STORAGE_READ && data && operation->offset < head->size_bytes) {
        uint64_t available = head->size_bytes - operation->offset;
        result->size_bytes = operation->size_bytes < available ? operation->size_bytes : available;
        memcpy(operation->buffer, head->bytes + operation->offset, (size_t)result->size_bytes);
    }
}

static void head_close(void *context) {
    (void)context;
}

uint64_t velta_snapshot_head_bytes(const void *bytes, uint64_t size_bytes) {
    uint64_t needed = STORAGE_EXTENTS_START;
    for (unsigned slot = 0; size_bytes >= STORAGE_EXTENTS_START && slot < 2; slot++) {
        struct storage_root root;
        const uint8_t *at = (const uint8_t *)bytes + (size_t)slot * STORAGE_ROOT_BYTES;
        if (storage_root_decode(at, slot, &root) == STORAGE_ROOT_VALID &&
            root.directory_offset + root.directory_bytes > needed) {
            needed = root.directory_offset + root.directory_bytes;
        }
    }
    return needed;
}

static enum velta_status take_directory(struct velta_snapshot *snapshot, struct velta_error *error) {
    const struct segment *segments = storage_segments(snapshot->db->storage, &snapshot->count);
    size_t bytes = snapshot->count * sizeof *snapshot->segments;
    snapshot->segments = snapshot->count > 0 ? memory_allocate(snapshot->db->memory, bytes) : NULL;
    if (snapshot->count > 0 && !snapshot->segments) {
        return memory_fail(snapshot->db->memory, error);
    }
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct segment *segment = &segments[i];
        snapshot->segments[i] = (struct velta_segment){
            .kind = segment->key.kind,
            .table = segment->key.table,
            .column = segment->key.column,
            .part = segment->key.part,
            .offset = segment->offset,
            .size_bytes = segment->size_bytes,
            .checksum = segment->checksum,
        };
        snapshot->before_graph += segment->key.kind < SEGMENT_GRAPH;
        snapshot->graphs += segment->key.kind == SEGMENT_GRAPH && segment->key.part == 0;
    }
    return VELTA_OK;
}

static enum velta_status read_head(struct velta_snapshot *snapshot, struct head_host *head, struct velta_error *error) {
    struct velta *db = snapshot->db;
    db->host = (struct velta_host){.context = head, .execute = head_execute, .close = head_close};
    db->host_open = true;
    enum velta_status status = database_open_export(db, head->file_bytes, error);
    status = status ? status : checkpoint_load_root(db, error);
    status = status ? status : take_directory(snapshot, error);
    if (!status) {
        database_leave_storage(db);
    }
    return status;
}

enum velta_status velta_snapshot_begin(const void *head, uint64_t head_bytes, uint64_t file_bytes,
                                       const struct velta_options *options, velta_snapshot **out,
                                       struct velta_error *error) {
    static const struct velta_options defaults = {0};
    struct velta *db = NULL;
    options = options ? options : &defaults;
    *out = NULL;
    uint64_t needed = velta_snapshot_head_bytes(head, head_bytes);
    if (head_bytes > file_bytes || (head_bytes < needed && head_bytes < file_bytes)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "%llu bytes of a file of %llu are given as its head, which has %llu",
                          (unsigned long long)head_bytes, (unsigned long long)file_bytes, (unsigned long long)needed);
    }
    enum velta_status status = database_create_import(options, &db, error);
    if (status) {
        return status;
    }
    struct velta_snapshot *snapshot = memory_allocate_zero(db->memory, sizeof *snapshot);
    if (!snapshot) {
        status = memory_fail(db->memory, error);
        database_free(db, true);
        return status;
    }
    snapshot->db = db;
    status = read_head(snapshot, &(struct head_host){head, head_bytes, file_bytes}, error);
    if (status) {
        velta_snapshot_close(snapshot);
        return status;
    }
    *out = snapshot;
    return VELTA_OK;
}

const struct velta_segment *velta_snapshot_segments(const velta_snapshot *snapshot, size_t *count,
                                                    size_t *before_graph) {
    *count = snapshot->count;
    *before_graph = snapshot->before_graph;
    return snapshot->segments;
}

/* ---- segments */

static struct segment segment_of(const struct velta_segment *segment) {
    return (struct segment){.key = {segment->kind, segment->table, segment->column, segment->part},
                            .offset = segment->offset,
                            .size_bytes = segment->size_bytes,
                            .checksum = segment->checksum};
}

/* The index that still awaits this graph; NULL: there is none. */
static struct hnsw *awaiting(const struct velta_snapshot *snapshot, const struct velta_segment *segment) {
    const struct snapshot_table *owner = &snapshot->db->state.tables[segment->table];
    struct hnsw *index = owner->dropped ? NULL : owner->indexes[segment->column];
    return index && hnsw_awaits_graph(index) ? index : NULL;
}

static enum velta_status check_open(const struct velta_snapshot *snapshot, struct velta_error *error) {
    if (snapshot->failed) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "this snapshot has failed; begin it anew");
    }
    if (snapshot->db->in_callback) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "a watch callback must not go on with a snapshot");
    }
    return VELTA_OK;
}

static enum velta_status read_segment(struct velta_snapshot *snapshot, const struct segment *segment, const void *bytes,
                                      struct velta_error *error) {
    if (!snapshot->opened) {
        return snapshot_read_segment(&snapshot->db->state, &segment->key, bytes, segment->size_bytes, error);
    }
    struct hnsw *index = awaiting(snapshot, &snapshot->segments[snapshot->next]);
    return index ? hnsw_part_read(index, HNSW_PART_GRAPH, segment->key.part, 0, bytes, segment->size_bytes, error)
                 : VELTA_OK;
}

enum velta_status velta_snapshot_feed(velta_snapshot *snapshot, const void *bytes, uint64_t size_bytes,
                                      struct velta_error *error) {
    size_t end = snapshot->opened ? snapshot->count : snapshot->before_graph;
    enum velta_status status = check_open(snapshot, error);
    if (status) {
        return status;
    }
    if (snapshot->next == end || size_bytes != snapshot->segments[snapshot->next].size_bytes) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "%llu bytes are not the next segment: %zu of %zu were fed", (unsigned long long)size_bytes,
                          snapshot->next, end);
    }
    struct segment segment = segment_of(&snapshot->segments[snapshot->next]);
    status = storage_check_segment(&segment, bytes, error);
    if (!status) {
        status = read_segment(snapshot, &segment, bytes, error);
        if (status == VELTA_CORRUPT && error && error->offset != VELTA_NO_OFFSET) {
            error->offset += segment.offset;
        }
    }
    snapshot->failed = status && !snapshot->opened;
    snapshot->next += status ? 0 : 1;
    return status;
}

/* ---- the database, and its graphs */

static enum velta_status make_ready(struct velta_snapshot *snapshot, struct velta_error *error) {
    struct velta *db = snapshot->db;
    size_t count = snapshot->count - snapshot->before_graph;
    struct segment *graph = count > 0 ? memory_allocate(db->memory, count * sizeof *graph) : NULL;
    if (count > 0 && !graph) {
        return memory_fail(db->memory, error);
    }
    for (size_t i = 0; i < count; i++) {
        graph[i] = segment_of(&snapshot->segments[snapshot->before_graph + i]);
    }
    enum velta_status status = snapshot_ready(&db->state, error);
    status = status ? status : snapshot_check_graph(&db->state, graph, count, error);
    status = status ? status : checkpoint_check_clock(db, error);
    status = status ? status : database_make_handles(db, error);
    status = status ? status : database_calibrate(db, error);
    memory_release(db->memory, graph, count * sizeof *graph);
    return status;
}

enum velta_status velta_snapshot_open(velta_snapshot *snapshot, velta **out, struct velta_error *error) {
    *out = NULL;
    enum velta_status status = check_open(snapshot, error);
    if (!status && (snapshot->opened || snapshot->next < snapshot->before_graph)) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                            snapshot->opened ? "this snapshot is open" : "%zu of %zu segments were fed", snapshot->next,
                            snapshot->before_graph);
    }
    if (status) {
        return status;
    }
    status = make_ready(snapshot, error);
    snapshot->failed = status != VELTA_OK;
    if (!status) {
        snapshot->opened = true;
        snapshot->db->open_snapshots++;
        *out = snapshot->db;
    }
    return status;
}

enum velta_status velta_snapshot_attach(velta_snapshot *snapshot, uint32_t *attached, uint32_t *dropped,
                                        struct velta_error *error) {
    enum velta_status failure = check_open(snapshot, error);
    if (!failure && (!snapshot->opened || snapshot->next < snapshot->count || snapshot->finished)) {
        failure = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                             snapshot->finished ? "the graphs are there" : "%zu of %zu segments were fed",
                             snapshot->next, snapshot->count);
    }
    if (failure) {
        return failure;
    }
    for (size_t i = snapshot->before_graph; i < snapshot->count; i++) {
        struct hnsw *index = snapshot->segments[i].part == 0 ? awaiting(snapshot, &snapshot->segments[i]) : NULL;
        enum velta_status status = index ? hnsw_load_finish(index, failure ? NULL : error) : VELTA_OK;
        if (status == VELTA_CORRUPT && error && !failure) {
            error->offset = snapshot->segments[i].offset; /* a node's number says nothing of the file */
        }
        failure = failure ? failure : status;
        if (status && status != VELTA_CORRUPT) {
            return status;
        }
        snapshot->attached += index && !status ? 1 : 0;
    }
    snapshot->finished = true;
    if (failure) {
        return failure;
    }
    if (attached) {
        *attached = snapshot->attached;
    }
    if (dropped) {
        *dropped = snapshot->graphs - snapshot->attached;
    }
    return VELTA_OK;
}

void velta_snapshot_close(velta_snapshot *snapshot) {
    if (!snapshot) {
        return;
    }
    struct velta *db = snapshot->db;
    bool opened = snapshot->opened;
    for (size_t i = snapshot->before_graph; opened && i < snapshot->count; i++) {
        struct hnsw *index = awaiting(snapshot, &snapshot->segments[i]);
        if (index) {
            hnsw_load_abandon(index);
        }
    }
    memory_release(db->memory, snapshot->segments, snapshot->count * sizeof *snapshot->segments);
    memory_release(db->memory, snapshot, sizeof *snapshot);
    if (opened) {
        db->open_snapshots--;
    } else {
        database_free(db, true);
    }
}
