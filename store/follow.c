/*
 * Following: a copy of a database, in memory, that takes every change by the log's own records.
 *
 * The digest of a log is one number over everything that was logged: each frame's body moves it on, by the checksum of
 * the digest before and of the body. It is kept in the root at checkpoints, so that it outlives them and openings, and
 * begins anew where the log does not tell what happened (a compaction): from the checksum of the root that came of it.
 * Databases of equal digests have lived the same life, so a sequence number and a digest are a position that no other
 * store and no other course of this one can have.
 *
 * The tail keeps the newest frames in memory, up to a limit, each with the digest before it (docs/FORMAT.md, section
 * 9). Whoever stands at a position gets the batches after it; where the tail has none that begins there, an export is
 * the way. The tail is a service: memory refused to it empties it, and fails nothing else.
 *
 * A follower checks a piece of the tail wholly before it changes anything, then replays it as opening does, batch by
 * batch. A refusal between two changes of one batch cannot be taken back: the database is torn, and answers nothing.
 */
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "store/database.h"

#define FRAME_MAGIC "VFF\x1a"

enum { FRAME_BYTES = 48, FRAME_BEGINS = 1, FRAME_COMMITS = 2 };

struct tail_frame {
    struct tail_frame *next;
    size_t size_bytes; /* of bytes: header and body */
    uint64_t sequence; /* the last change before the batch */
    uint64_t before;   /* the digest before the frame */
    uint32_t flags;
    uint8_t bytes[];
};

/* A frame on its way, checked: where its body is, and what is after it. */
struct frame {
    const uint8_t *body;
    uint32_t body_bytes;
    uint32_t flags;
    uint64_t sequence;
    uint64_t before;
    uint64_t after;
};

/* ---- digests */

uint64_t follow_digest(uint64_t before, uint64_t checksum) {
    uint8_t bytes[16];
    bytes_put_u64(bytes, before);
    bytes_put_u64(bytes + 8, checksum);
    uint64_t digest = hash_bytes(bytes, sizeof bytes);
    return digest ? digest : 1; /* 0 in a root: none */
}

/* ---- the tail */

static void drop_first(struct velta *db) {
    struct log_tail *tail = &db->tail;
    struct tail_frame *frame = tail->first;
    tail->first = frame->next;
    tail->last = tail->first ? tail->last : NULL;
    tail->size_bytes -= frame->size_bytes;
    memory_release(db->memory, frame, sizeof *frame + frame->size_bytes);
}

void follow_clear(struct velta *db) {
    while (db->tail.first) {
        drop_first(db);
    }
}

/* Whole batches go, the oldest first; what remains of one that is partly gone goes, too. */
static void trim(struct velta *db) {
    struct log_tail *tail = &db->tail;
    while (tail->first && (tail->size_bytes > tail->limit_bytes || !(tail->first->flags & FRAME_BEGINS))) {
        drop_first(db);
    }
}

static void encode_frame(struct tail_frame *frame, const void *body, uint32_t body_bytes, uint64_t checksum) {
    uint8_t *out = frame->bytes;
    memcpy(out, FRAME_MAGIC, 4);
    bytes_put_u32(out + 4, body_bytes);
    bytes_put_u32(out + 8, frame->flags);
    bytes_put_u32(out + 12, 0);
    bytes_put_u64(out + 16, frame->sequence);
    bytes_put_u64(out + 24, frame->before);
    bytes_put_u64(out + 32, checksum);
    bytes_put_u64(out + 40, hash_bytes(out, 40));
    memcpy(out + FRAME_BYTES, body, body_bytes);
}

static void keep_frame(struct velta *db, const void *body, size_t body_bytes, uint64_t checksum, bool commit) {
    struct log_tail *tail = &db->tail;
    size_t size_bytes = FRAME_BYTES + body_bytes;
    struct tail_frame *frame =
        size_bytes > tail->limit_bytes ? NULL : memory_allocate(db->memory, sizeof *frame + size_bytes);
    if (!tail->is_batch_open) {
        tail->sequence = db->next_sequence - 1;
    }
    if (frame) {
        *frame = (struct tail_frame){
            .size_bytes = size_bytes,
            .sequence = tail->sequence,
            .before = db->log_digest,
            .flags = (tail->is_batch_open ? 0u : FRAME_BEGINS) | (commit ? FRAME_COMMITS : 0u),
        };
        encode_frame(frame, body, (uint32_t)body_bytes, checksum);
        *(tail->last ? &tail->last->next : &tail->first) = frame;
        tail->last = frame;
        tail->size_bytes += size_bytes;
        trim(db);
    } else {
        follow_clear(db);
    }
    tail->is_batch_open = !commit;
}

void follow_logged(struct velta *db, const void *body, size_t body_bytes, bool commit) {
    uint64_t checksum = storage_body_checksum(db->storage);
    if (db->tail.limit_bytes > 0) {
        keep_frame(db, body, body_bytes, checksum, commit);
    }
    db->log_digest = follow_digest(db->log_digest, checksum);
}

void follow_rollback(struct velta *db, uint64_t digest) {
    struct log_tail *tail = &db->tail;
    struct tail_frame *committed = NULL;
    for (struct tail_frame *frame = tail->first; frame; frame = frame->next) {
        committed = frame->flags & FRAME_COMMITS ? frame : committed;
    }
    struct tail_frame *frame = committed ? committed->next : tail->first;
    *(committed ? &committed->next : &tail->first) = NULL;
    tail->last = committed;
    while (frame) {
        struct tail_frame *next = frame->next;
        tail->size_bytes -= frame->size_bytes;
        memory_release(db->memory, frame, sizeof *frame + frame->size_bytes);
        frame = next;
    }
    tail->is_batch_open = false;
    db->log_digest = digest;
}

/* ---- giving */

static enum velta_status check_tail(const struct velta *db, struct velta_error *error) {
    if (!db->storage || db->tail.limit_bytes == 0) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                          "this database keeps no tail of its log: open it with log_tail_bytes");
    }
    if (db->poisoned) {
        return velta_fail(error, VELTA_POISONED, VELTA_NO_OFFSET,
                          "an earlier failure left the storage uncertain; reopen the database");
    }
    if (db->in_callback) {
        return velta_fail(error, VELTA_BUSY, VELTA_NO_OFFSET, "a watch callback must not call the database");
    }
    return VELTA_OK;
}

enum velta_status velta_log_position(const velta *db, struct velta_position *position, struct velta_error *error) {
    enum velta_status status = check_tail(db, error);
    if (!status) {
        *position = (struct velta_position){.sequence = db->next_sequence - 1, .digest = db->log_digest};
    }
    return status;
}

static const struct tail_frame *find_batch(const struct velta *db, const struct velta_position *position) {
    const struct tail_frame *frame = db->tail.first;
    while (frame && !(frame->flags & FRAME_BEGINS && frame->before == position->digest &&
                      frame->sequence == position->sequence)) {
        frame = frame->next;
    }
    return frame;
}

/* Bytes of the batches from `first` on that fit; one at least. */
static uint64_t batches_bytes(const struct tail_frame *first, uint64_t max_bytes) {
    uint64_t whole = 0;
    uint64_t total = 0;
    for (const struct tail_frame *frame = first; frame; frame = frame->next) {
        total += frame->size_bytes;
        if (total > max_bytes && whole > 0) {
            break;
        }
        whole = frame->flags & FRAME_COMMITS ? total : whole;
    }
    return whole;
}

enum velta_status velta_log_since(velta *db, struct velta_position *position, uint64_t max_bytes, uint8_t **bytes,
                                  uint64_t *size_bytes, struct velta_error *error) {
    *bytes = NULL;
    *size_bytes = 0;
    enum velta_status status = check_tail(db, error);
    if (status || (position->sequence == db->next_sequence - 1 && position->digest == db->log_digest)) {
        return status;
    }
    const struct tail_frame *frame = find_batch(db, position);
    if (!frame) {
        return velta_fail(error, VELTA_HISTORY_GONE, VELTA_NO_OFFSET,
                          "the log has no such position after change %llu, or no longer: an export is needed",
                          (unsigned long long)position->sequence);
    }
    uint64_t wanted = batches_bytes(frame, max_bytes);
    uint8_t *out = memory_allocate(db->memory, (size_t)wanted);
    if (!out) {
        return memory_fail(db->memory, error);
    }
    for (uint64_t done = 0; done < wanted; frame = frame->next) {
        memcpy(out + done, frame->bytes, frame->size_bytes);
        done += frame->size_bytes;
    }
    *position = (struct velta_position){.sequence = frame ? frame->sequence : db->next_sequence - 1,
                                        .digest = frame ? frame->before : db->log_digest};
    *bytes = out;
    *size_bytes = wanted;
    return VELTA_OK;
}

/* ---- following */

static enum velta_status damaged(uint64_t offset, const char *what, struct velta_error *error) {
    return velta_fail(error, VELTA_CORRUPT, offset, "the frames are damaged at byte %llu: %s",
                      (unsigned long long)offset, what);
}

static enum velta_status read_frame(const uint8_t *bytes, uint64_t size_bytes, uint64_t at, struct frame *frame,
                                    struct velta_error *error) {
    const uint8_t *header = bytes + at;
    if (size_bytes - at < FRAME_BYTES || memcmp(header, FRAME_MAGIC, 4) != 0) {
        return damaged(at, "no frame begins here", error);
    }
    uint64_t checksum = bytes_get_u64(header + 32);
    *frame = (struct frame){
        .body = header + FRAME_BYTES,
        .body_bytes = bytes_get_u32(header + 4),
        .flags = bytes_get_u32(header + 8),
        .sequence = bytes_get_u64(header + 16),
        .before = bytes_get_u64(header + 24),
        .after = follow_digest(bytes_get_u64(header + 24), checksum),
    };
    if (bytes_get_u64(header + 40) != hash_bytes(header, 40) || bytes_get_u32(header + 12) != 0 ||
        frame->flags > (FRAME_BEGINS | FRAME_COMMITS)) {
        return damaged(at, "its header is not whole", error);
    }
    if (frame->body_bytes > size_bytes - at - FRAME_BYTES || frame->body_bytes == 0) {
        return damaged(at, "its body is not whole", error);
    }
    return hash_bytes(frame->body, frame->body_bytes) == checksum ? VELTA_OK
                                                                  : damaged(at, "its body has another checksum", error);
}

/* Everything that can be told without the state: frames, their chain, whole batches. */
static enum velta_status check_frames(const struct velta_position *position, const uint8_t *bytes, uint64_t size_bytes,
                                      struct velta_error *error) {
    struct frame frame = {.flags = FRAME_COMMITS, .after = position->digest};
    for (uint64_t at = 0; at < size_bytes;) {
        struct frame before = frame;
        enum velta_status status = read_frame(bytes, size_bytes, at, &frame, error);
        if (status) {
            return status;
        }
        if (at == 0 && (frame.before != position->digest || frame.sequence != position->sequence)) {
            return velta_fail(error, VELTA_NOT_FOUND, 0,
                              "the frames begin at change %llu, or in another store, and this position is at %llu",
                              (unsigned long long)frame.sequence, (unsigned long long)position->sequence);
        }
        if (frame.before != before.after || !(before.flags & FRAME_COMMITS) == !!(frame.flags & FRAME_BEGINS)) {
            return damaged(at, "this frame does not follow the one before", error);
        }
        at += FRAME_BYTES + frame.body_bytes;
    }
    return frame.flags & FRAME_COMMITS ? VELTA_OK : damaged(size_bytes, "the last batch is not whole", error);
}

static enum velta_status check_follower(const struct velta *db, const struct velta_position *position,
                                        struct velta_error *error) {
    enum velta_status status = database_check_writable(db, error);
    if (!status && db->storage) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                            "a stored database has its own log; what follows another is in memory");
    }
    if (!status && position->sequence != db->next_sequence - 1) {
        status = velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                            "the position is after change %llu, this database after %llu",
                            (unsigned long long)position->sequence, (unsigned long long)db->next_sequence - 1);
    }
    return status;
}

/* One frame applied. What follows a batch applied in part is not the state of any time: the database is given up. */
static enum velta_status take_frame(struct velta *db, struct velta_position *position, const struct frame *frame,
                                    uint64_t at, struct velta_error *error) {
    if (frame->flags & FRAME_BEGINS && frame->sequence != position->sequence) {
        return damaged(at, "its batch comes after another change", error);
    }
    enum velta_status status = replay_body(db, frame->body, frame->body_bytes, at + FRAME_BYTES, error);
    if (status) {
        db->torn = db->next_sequence - 1 != position->sequence;
    } else if (frame->flags & FRAME_COMMITS) {
        *position = (struct velta_position){.sequence = db->next_sequence - 1, .digest = frame->after};
    }
    return status;
}

enum velta_status velta_follow(velta *db, struct velta_position *position, const void *bytes, uint64_t size_bytes,
                               struct velta_error *error) {
    enum velta_status status = check_follower(db, position, error);
    status = status ? status : check_frames(position, bytes, size_bytes, error);
    for (uint64_t at = 0; at < size_bytes && !status;) {
        struct frame frame = {0};
        status = read_frame(bytes, size_bytes, at, &frame, error);
        status = status ? status : take_frame(db, position, &frame, at, error);
        at += FRAME_BYTES + (uint64_t)frame.body_bytes;
    }
    return status;
}
