/*
 * Salvage of the log: its whole batches up to the first damaged frame.
 *
 * Frames are followed as when a database is opened. A damaged frame ends it, because what comes behind may rest on what
 * it held; only a frame without a body (the first, and those that say how far the log is durable) may be damaged and
 * lose nothing: that it had none is known when the next number stands right behind its header. Whatever the file holds
 * behind the last whole batch is reported, and its batches are counted by their headers: it may be a change that was on
 * its way when writing ended, or damage, and nobody can tell.
 *
 * A change that the state refuses is taken apart by rows: what rests on a lost value (a difference on a NULL vector, a
 * row that is gone) is left out and reported, the rest applies. One that cannot be taken apart ends the log.
 */
#include "store/salvage.h"

#include <string.h>

#include "core/hash.h"

struct log {
    struct salvage *salvage;
    uint8_t *bytes;
    uint64_t size_bytes;
    uint64_t salt;
    uint64_t end;       /* behind the last whole frame */
    uint64_t committed; /* behind the last whole batch */
    /* behind `end`: headers that are whole */
    uint64_t lost_batches; /* of this log */
    uint64_t strange_batches;
    struct storage_frame stranger; /* the newest of another log; generation 0: none */
    bool stranger_first;           /* it begins the file */
};

static const uint8_t *at(const struct log *log, uint64_t offset) {
    return log->bytes + offset;
}

static bool is_ours(const struct log *log, const struct storage_frame *frame) {
    return frame->generation == log->salvage->root.generation && frame->salt == log->salt;
}

/* ---- following the frames */

static bool frame_follows(const struct log *log, uint64_t offset, uint32_t number, uint64_t previous,
                          struct storage_frame *frame) {
    uint64_t left = log->size_bytes - offset;
    return left >= STORAGE_FRAME_HEADER_BYTES && storage_frame_decode(at(log, offset), frame) && is_ours(log, frame) &&
           frame->number == number && frame->previous == previous && frame->synced <= offset &&
           (number != 0 || frame->body_bytes == 0) && frame->body_bytes <= left - STORAGE_FRAME_HEADER_BYTES &&
           hash_bytes(at(log, offset + STORAGE_FRAME_HEADER_BYTES), frame->body_bytes) == frame->body_checksum;
}

/* Whether the damaged frame at `offset` had no body; its checksum is then known from the next one. */
static bool was_empty(const struct log *log, uint64_t offset, uint32_t number, uint64_t *checksum) {
    struct storage_frame next;
    bool empty = log->size_bytes - offset >= (uint64_t)2 * STORAGE_FRAME_HEADER_BYTES &&
                 !storage_frame_decode(at(log, offset), &next) &&
                 storage_frame_decode(at(log, offset + STORAGE_FRAME_HEADER_BYTES), &next) && is_ours(log, &next) &&
                 next.number == number + 1;
    *checksum = empty ? next.previous : 0;
    return empty;
}

static void report_empty(const struct log *log, uint64_t offset) {
    struct velta_loss loss = {.kind = VELTA_LOSS_NOTHING};
    struct salvage_place place = {
        .known = true, .in_log = true, .offset = offset, .size_bytes = STORAGE_FRAME_HEADER_BYTES};
    salvage_report(log->salvage, &loss, place, "a frame of the log is damaged that held no change");
}

static void follow(struct log *log) {
    uint64_t previous = 0;
    for (uint32_t number = 0;; number++) {
        struct storage_frame frame;
        uint64_t offset = log->end;
        bool batch_open = log->committed != offset;
        if (frame_follows(log, offset, number, previous, &frame)) {
            log->end += STORAGE_FRAME_HEADER_BYTES + (uint64_t)frame.body_bytes;
            previous = frame.checksum;
            log->committed = frame.flags & STORAGE_FRAME_COMMIT ? log->end : log->committed;
        } else if (!batch_open && was_empty(log, offset, number, &previous)) {
            report_empty(log, offset);
            log->end += STORAGE_FRAME_HEADER_BYTES;
            log->committed = log->end;
        } else {
            return;
        }
    }
}

/* ---- what lies behind */

static void search(struct log *log) {
    for (uint64_t offset = log->end; log->size_bytes - offset >= STORAGE_FRAME_HEADER_BYTES; offset++) {
        struct storage_frame frame;
        if (!storage_frame_decode(at(log, offset), &frame)) {
            continue;
        }
        bool batch = frame.body_bytes > 0 && (frame.flags & STORAGE_FRAME_COMMIT);
        if (is_ours(log, &frame)) {
            log->lost_batches += batch;
            continue;
        }
        log->strange_batches += batch;
        if (frame.generation >= log->stranger.generation) {
            log->stranger = frame;
            log->stranger_first = offset == 0;
        }
    }
}

static struct velta_loss changes_after(const struct log *log) {
    const struct velta *db = log->salvage->db;
    return (struct velta_loss){
        .kind = VELTA_LOSS_CHANGES, .sequence = db->next_sequence - 1, .time_ms = db->last_time_ms};
}

static void report_strange(const struct log *log) {
    uint64_t generation = log->salvage->root.generation;
    uint64_t theirs = log->stranger.generation;
    struct velta_loss loss = changes_after(log);
    struct salvage_place place = {.known = true, .in_log = true, .offset = 0, .size_bytes = log->size_bytes};
    if (log->stranger_first && theirs + 1 == generation) {
        return; /* a checkpoint was durable, its log not yet begun */
    }
    const char *what = theirs > generation   ? "a newer checkpoint, which is lost"
                       : theirs < generation ? "an older checkpoint"
                                             : "another data file";
    salvage_report(log->salvage, &loss, place,
                   "the log continues %s (generation %llu, not %llu): its %llu batches, and all changes after change "
                   "%llu, are lost",
                   what, (unsigned long long)theirs, (unsigned long long)generation,
                   (unsigned long long)log->strange_batches, (unsigned long long)loss.sequence);
}

/* After the replay, so that the last change is known. */
static void report_rest(const struct log *log) {
    const struct storage_root *root = &log->salvage->root;
    struct velta_loss loss = changes_after(log);
    struct salvage_place place = {
        .known = true, .in_log = true, .offset = log->committed, .size_bytes = log->size_bytes - log->committed};
    unsigned long long last = loss.sequence;
    if (log->size_bytes == 0 && root->generation > 0 && !(root->flags & STORAGE_ROOT_PACKED)) {
        salvage_report(log->salvage, &loss, place, "the log is missing: all changes after change %llu are lost", last);
    } else if (log->end == 0 && log->lost_batches == 0 && log->stranger.salt != 0) {
        report_strange(log);
    } else if (log->lost_batches > 0) {
        salvage_report(log->salvage, &loss, place,
                       "the log is damaged: at least %llu batches after change %llu are there, and lost",
                       (unsigned long long)log->lost_batches, last);
    } else if (log->size_bytes > log->committed) {
        salvage_report(log->salvage, &loss, place,
                       "the last %llu bytes of the log are no whole batch: a change that was on its way, or damage",
                       (unsigned long long)(log->size_bytes - log->committed));
    }
}

/* ---- changes */

/* One row's part of a change; the pointers are into the change and into this. */
struct piece {
    struct change change;
    struct column_values value;
};

static size_t value_bytes(const struct velta_column *spec, const struct column_values *values) {
    if (spec->type == VELTA_VECTOR) {
        return spec->dimensions * (values->element == VELTA_F16 ? sizeof(uint16_t) : sizeof(float));
    }
    return spec->type == VELTA_BOOL ? sizeof(uint8_t) : sizeof(int64_t);
}

static void take_piece(const struct velta *db, const struct change *change, uint32_t i, struct piece *piece) {
    struct change *out = &piece->change;
    *out = *change;
    if (change->kind == CHANGE_VECTORS) {
        out->sequence += i;
        out->deltas += i;
        out->delta_count = 1;
        return;
    }
    out->row_count = 1;
    out->rows += i;
    out->times_ms += change->kind == CHANGE_ROWS_EXPIRY ? i : 0;
    if (change->kind != CHANGE_ROWS_SET) {
        return;
    }
    piece->value = (struct column_values){0};
    out->values = &piece->value;
    const struct column_values *from = change->values;
    if (!from->data || (from->valid && !bitmap_get(from->valid, i))) {
        return; /* NULL */
    }
    const struct velta_column *spec = &db->state.tables[change->table].table->columns[change->column]->spec;
    piece->value.element = from->element;
    if (from->offsets) {
        piece->value.data = from->data;
        piece->value.offsets = from->offsets + i;
    } else {
        piece->value.data = (const char *)from->data + i * value_bytes(spec, from);
    }
}

static void report_left_out(const struct log *log, const struct change *piece, uint64_t offset,
                            const struct velta_error *why) {
    const struct table *table = log->salvage->db->state.tables[piece->table].table;
    bool of_column = piece->kind == CHANGE_ROWS_SET || piece->kind == CHANGE_VECTORS;
    struct velta_loss loss = changes_after(log);
    loss.table = table->name;
    loss.column = of_column && piece->column < table->column_count ? table->columns[piece->column]->spec.name : NULL;
    loss.first_row = piece->kind == CHANGE_VECTORS ? piece->deltas->row : *piece->rows;
    loss.row_count = 1;
    salvage_report(log->salvage, &loss, (struct salvage_place){.known = true, .in_log = true, .offset = offset},
                   "change %llu rests on what is lost, and is left out: %.120s", (unsigned long long)piece->sequence,
                   why->text);
}

static bool is_live(const struct table *table, uint32_t row) {
    return row < table->row_count && bitmap_get(table->live.words, row);
}

static enum velta_status apply_pieces(struct log *log, const struct change *change, uint64_t offset,
                                      struct velta_error *error) {
    struct velta *db = log->salvage->db;
    const struct table *table = db->state.tables[change->table].table;
    uint32_t count = change->kind == CHANGE_VECTORS ? change->delta_count : change->row_count;
    for (uint32_t i = 0; i < count; i++) {
        struct piece piece;
        take_piece(db, change, i, &piece);
        enum velta_status status = replay_piece(db, &piece.change, error);
        if (salvage_must_stop(status)) {
            return status;
        }
        if (status && (change->kind != CHANGE_ROWS_DELETE || is_live(table, *piece.change.rows))) {
            report_left_out(log, &piece.change, offset, error);
        }
    }
    db->next_sequence = change->sequence + change_span(change);
    db->last_time_ms = change->time_ms;
    return VELTA_OK;
}

/* Rows that are back although they were deleted give way to new ones with their key. */
static enum velta_status make_way(struct log *log, const struct change *change, struct velta_error *error) {
    struct velta *db = log->salvage->db;
    const struct table *table = db->state.tables[change->table].table;
    size_t key = 0;
    while (table->columns[key] != table->key_column) {
        key++;
    }
    const struct column_values *values = &change->values[key];
    for (uint32_t i = 0; i < change->row_count; i++) {
        uint32_t row = values->offsets ? table_find_text(table, (const char *)values->data + values->offsets[i],
                                                         (size_t)(values->offsets[i + 1] - values->offsets[i]))
                                       : table_find_int(table, ((const int64_t *)values->data)[i]);
        struct change death = {.kind = CHANGE_ROWS_DELETE,
                               .sequence = change->sequence,
                               .time_ms = change->time_ms,
                               .table = change->table,
                               .row_count = 1,
                               .rows = &row};
        enum velta_status status = row == VELTA_NO_ROW ? VELTA_OK : replay_piece(db, &death, error);
        db->next_sequence = change->sequence;
        if (status) {
            return status;
        }
    }
    return replay_change(db, change, error);
}

static enum velta_status apply(struct log *log, const struct change *change, uint64_t offset,
                               struct velta_error *error) {
    struct velta *db = log->salvage->db;
    bool in_order = change->sequence == db->next_sequence &&
                    (change->time_ms >= db->last_time_ms || db->next_sequence == 1) && change_span(change) > 0;
    enum velta_status status = replay_change(db, change, error);
    if (!status || salvage_must_stop(status) || !in_order || change->table >= db->state.table_count ||
        db->state.tables[change->table].dropped) {
        return status;
    }
    switch (change->kind) {
    case CHANGE_ROWS_SET:
    case CHANGE_ROWS_DELETE:
    case CHANGE_ROWS_EXPIRY:
    case CHANGE_VECTORS:
        return apply_pieces(log, change, offset, error);
    case CHANGE_ROWS_INSERT:
        return status == VELTA_EXISTS && change->table < log->salvage->resurrected_count &&
                       log->salvage->resurrected[change->table]
                   ? make_way(log, change, error)
                   : status;
    default:
        return status;
    }
}

static enum velta_status replay_frame(struct log *log, const struct storage_frame *frame, uint64_t offset,
                                      struct velta_error *error) {
    struct velta *db = log->salvage->db;
    struct record_schema schema = commit_record_schema(db);
    struct record_reader *reader = NULL;
    bool more = true;
    enum velta_status status = record_reader_open(db->memory, at(log, offset), frame->body_bytes, &reader, error);
    if (status) {
        return status;
    }
    while (!status && more) {
        struct change change = {0};
        status = record_reader_next(reader, &schema, &change, &more, error);
        if (!status && more) {
            status = apply(log, &change, offset, error);
        }
    }
    record_reader_close(reader);
    return status;
}

/* Every whole batch. A frame that cannot be replayed ends the log there. */
static enum velta_status replay(struct log *log, struct velta_error *error) {
    uint64_t offset = 0;
    while (offset < log->committed) {
        struct storage_frame frame = {0};
        bool whole = storage_frame_decode(at(log, offset), &frame) && is_ours(log, &frame);
        uint64_t body = offset + STORAGE_FRAME_HEADER_BYTES;
        uint64_t next = body + (whole ? frame.body_bytes : 0); /* damaged: it had no body */
        enum velta_status status = whole && frame.body_bytes > 0 ? replay_frame(log, &frame, body, error) : VELTA_OK;
        if (salvage_must_stop(status)) {
            return status;
        }
        if (status) {
            struct velta_loss loss = changes_after(log);
            struct salvage_place place = {
                .known = true, .in_log = true, .offset = body, .size_bytes = log->size_bytes - body};
            salvage_report(log->salvage, &loss, place, "no change after change %llu can be applied: %.150s",
                           (unsigned long long)loss.sequence, error->text);
            return VELTA_OK;
        }
        offset = next;
        status = salvage_progress(log->salvage, offset, log->size_bytes, error);
        if (status) {
            return status;
        }
    }
    report_rest(log);
    return VELTA_OK;
}

enum velta_status salvage_log(struct salvage *salvage, struct velta_error *error) {
    struct memory *memory = salvage->db->memory;
    struct log log = {.salvage = salvage,
                      .size_bytes = salvage->file_bytes[STORAGE_LOG],
                      .salt = storage_log_salt(salvage->root.generation, salvage->root.checksum)};
    if (log.size_bytes > SIZE_MAX / 2) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "the log is too large for this machine");
    }
    if (log.size_bytes == 0) {
        report_rest(&log);
        return VELTA_OK;
    }
    log.bytes = memory_allocate(memory, (size_t)log.size_bytes);
    if (!log.bytes) {
        return memory_fail(memory, error);
    }
    salvage_read(salvage, STORAGE_LOG, 0, log.size_bytes, log.bytes);
    follow(&log);
    search(&log);
    enum velta_status status = replay(&log, error);
    memory_release(memory, log.bytes, (size_t)log.size_bytes);
    return status;
}
