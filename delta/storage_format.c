/*
 * Encoding and decoding of roots, directories and frame headers. Every decoder takes bytes from outside: it checks
 * checksums, versions, reserved zeros and ranges, and allocates nothing.
 */
#include "delta/storage_format.h"

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/sort.h"

/* The line ends catch transfers that change text (as in PNG). */
static const uint8_t root_magic[8] = {'V', 'E', 'L', 'T', 'A', '\r', '\n', 0x1A};
static const uint8_t frame_magic[4] = {'V', 'F', 'R', 0x1A};

enum {
    ROOT_VERSION_AT = 8,
    ROOT_FLAGS_AT = 12,
    ROOT_GENERATION_AT = 16,
    ROOT_PREVIOUS_AT = 24,
    ROOT_DIRECTORY_OFFSET_AT = 32,
    ROOT_DIRECTORY_BYTES_AT = 40,
    ROOT_DIRECTORY_CHECKSUM_AT = 48,
    ROOT_DATA_END_AT = 56,
    ROOT_SEQUENCE_AT = 64,
    ROOT_TIME_AT = 72,
    ROOT_RESERVED_AT = 80,
    ROOT_ZEROS_AT = 112,
    ROOT_CHECKSUM_AT = STORAGE_ROOT_BYTES - 8,
};

void storage_root_encode(struct storage_root *root, void *out) {
    uint8_t *bytes = out;
    memset(bytes, 0, STORAGE_ROOT_BYTES);
    memcpy(bytes, root_magic, sizeof root_magic);
    bytes_put_u32(bytes + ROOT_VERSION_AT, STORAGE_VERSION);
    bytes_put_u32(bytes + ROOT_FLAGS_AT, root->flags);
    bytes_put_u64(bytes + ROOT_GENERATION_AT, root->generation);
    bytes_put_u64(bytes + ROOT_PREVIOUS_AT, root->previous_checksum);
    bytes_put_u64(bytes + ROOT_DIRECTORY_OFFSET_AT, root->directory_offset);
    bytes_put_u64(bytes + ROOT_DIRECTORY_BYTES_AT, root->directory_bytes);
    bytes_put_u64(bytes + ROOT_DIRECTORY_CHECKSUM_AT, root->directory_checksum);
    bytes_put_u64(bytes + ROOT_DATA_END_AT, root->data_end);
    bytes_put_u64(bytes + ROOT_SEQUENCE_AT, root->meta.sequence);
    bytes_put_u64(bytes + ROOT_TIME_AT, (uint64_t)root->meta.time_ms);
    for (int i = 0; i < 4; i++) {
        bytes_put_u64(bytes + ROOT_RESERVED_AT + 8 * i, root->meta.reserved[i]);
    }
    root->checksum = hash_bytes(bytes, ROOT_CHECKSUM_AT);
    bytes_put_u64(bytes + ROOT_CHECKSUM_AT, root->checksum);
}

enum storage_root_state storage_root_decode(const void *from, unsigned slot, struct storage_root *root) {
    const uint8_t *bytes = from;
    if (memcmp(bytes, root_magic, sizeof root_magic) != 0 ||
        bytes_get_u64(bytes + ROOT_CHECKSUM_AT) != hash_bytes(bytes, ROOT_CHECKSUM_AT)) {
        return STORAGE_ROOT_INVALID;
    }
    root->generation = bytes_get_u64(bytes + ROOT_GENERATION_AT);
    root->flags = bytes_get_u32(bytes + ROOT_FLAGS_AT);
    root->previous_checksum = bytes_get_u64(bytes + ROOT_PREVIOUS_AT);
    root->directory_offset = bytes_get_u64(bytes + ROOT_DIRECTORY_OFFSET_AT);
    root->directory_bytes = bytes_get_u64(bytes + ROOT_DIRECTORY_BYTES_AT);
    root->directory_checksum = bytes_get_u64(bytes + ROOT_DIRECTORY_CHECKSUM_AT);
    root->data_end = bytes_get_u64(bytes + ROOT_DATA_END_AT);
    root->meta.sequence = bytes_get_u64(bytes + ROOT_SEQUENCE_AT);
    root->meta.time_ms = (int64_t)bytes_get_u64(bytes + ROOT_TIME_AT);
    for (int i = 0; i < 4; i++) {
        root->meta.reserved[i] = bytes_get_u64(bytes + ROOT_RESERVED_AT + 8 * i);
    }
    root->checksum = bytes_get_u64(bytes + ROOT_CHECKSUM_AT);
    if (bytes_get_u32(bytes + ROOT_VERSION_AT) != STORAGE_VERSION || (root->flags & ~STORAGE_ROOT_PACKED) != 0) {
        return STORAGE_ROOT_NEWER;
    }
    for (size_t i = ROOT_ZEROS_AT; i < ROOT_CHECKSUM_AT; i++) {
        if (bytes[i] != 0) return STORAGE_ROOT_INVALID;
    }
    uint64_t end;
    bool ranges = root->generation != 0 && storage_root_slot(root->generation) == slot &&
                  root->directory_bytes % STORAGE_DIRECTORY_ENTRY_BYTES == 0 &&
                  root->directory_offset % STORAGE_PACKED_ALIGNMENT == 0 &&
                  root->directory_offset >= STORAGE_EXTENTS_START &&
                  checked_add_u64(root->directory_offset, root->directory_bytes, &end) && end <= root->data_end;
    return ranges ? STORAGE_ROOT_VALID : STORAGE_ROOT_INVALID;
}

int storage_compare_keys(const struct segment_key *a, const struct segment_key *b) {
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    if (a->table != b->table) return a->table < b->table ? -1 : 1;
    if (a->column != b->column) return a->column < b->column ? -1 : 1;
    if (a->part != b->part) return a->part < b->part ? -1 : 1;
    return 0;
}

void storage_directory_encode(const struct segment *segments, size_t count, void *out) {
    uint8_t *at = out;
    for (size_t i = 0; i < count; i++, at += STORAGE_DIRECTORY_ENTRY_BYTES) {
        bytes_put_u32(at, segments[i].key.kind);
        bytes_put_u32(at + 4, segments[i].key.table);
        bytes_put_u32(at + 8, segments[i].key.column);
        bytes_put_u32(at + 12, segments[i].key.part);
        bytes_put_u64(at + 16, segments[i].offset);
        bytes_put_u64(at + 24, segments[i].size_bytes);
        bytes_put_u64(at + 32, segments[i].checksum);
    }
}

enum velta_status storage_directory_decode(const void *bytes, const struct storage_root *root, struct segment *segments,
                                           size_t count, struct velta_error *error) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < count; i++, at += STORAGE_DIRECTORY_ENTRY_BYTES) {
        uint64_t offset = root->directory_offset + i * STORAGE_DIRECTORY_ENTRY_BYTES;
        struct segment *segment = &segments[i];
        uint64_t end;
        segment->key = (struct segment_key){bytes_get_u32(at), bytes_get_u32(at + 4), bytes_get_u32(at + 8),
                                            bytes_get_u32(at + 12)};
        segment->offset = bytes_get_u64(at + 16);
        segment->size_bytes = bytes_get_u64(at + 24);
        segment->checksum = bytes_get_u64(at + 32);
        if (i > 0 && storage_compare_keys(&segments[i - 1].key, &segment->key) >= 0) {
            return velta_fail(error, VELTA_CORRUPT, offset, "the directory's keys do not ascend");
        }
        if (segment->offset % STORAGE_PACKED_ALIGNMENT != 0 || segment->offset < STORAGE_EXTENTS_START ||
            segment->size_bytes > SIZE_MAX / 2 || !checked_add_u64(segment->offset, segment->size_bytes, &end) ||
            end > root->data_end) {
            return velta_fail(error, VELTA_CORRUPT, offset, "the directory names an extent outside the file");
        }
    }
    return VELTA_OK;
}

enum {
    FRAME_BODY_BYTES_AT = 4,
    FRAME_NUMBER_AT = 8,
    FRAME_FLAGS_AT = 12,
    FRAME_GENERATION_AT = 16,
    FRAME_SALT_AT = 24,
    FRAME_SYNCED_AT = 32,
    FRAME_PREVIOUS_AT = 40,
    FRAME_BODY_CHECKSUM_AT = 48,
    FRAME_CHECKSUM_AT = 56,
};

void storage_frame_encode(struct storage_frame *frame, void *out) {
    uint8_t *bytes = out;
    memcpy(bytes, frame_magic, sizeof frame_magic);
    bytes_put_u32(bytes + FRAME_BODY_BYTES_AT, frame->body_bytes);
    bytes_put_u32(bytes + FRAME_NUMBER_AT, frame->number);
    bytes_put_u32(bytes + FRAME_FLAGS_AT, frame->flags);
    bytes_put_u64(bytes + FRAME_GENERATION_AT, frame->generation);
    bytes_put_u64(bytes + FRAME_SALT_AT, frame->salt);
    bytes_put_u64(bytes + FRAME_SYNCED_AT, frame->synced);
    bytes_put_u64(bytes + FRAME_PREVIOUS_AT, frame->previous);
    bytes_put_u64(bytes + FRAME_BODY_CHECKSUM_AT, frame->body_checksum);
    frame->checksum = hash_bytes(bytes, FRAME_CHECKSUM_AT);
    bytes_put_u64(bytes + FRAME_CHECKSUM_AT, frame->checksum);
}

bool storage_frame_decode(const void *from, struct storage_frame *frame) {
    const uint8_t *bytes = from;
    if (memcmp(bytes, frame_magic, sizeof frame_magic) != 0) return false;
    frame->checksum = bytes_get_u64(bytes + FRAME_CHECKSUM_AT);
    if (frame->checksum != hash_bytes(bytes, FRAME_CHECKSUM_AT)) return false;
    frame->body_bytes = bytes_get_u32(bytes + FRAME_BODY_BYTES_AT);
    frame->number = bytes_get_u32(bytes + FRAME_NUMBER_AT);
    frame->flags = bytes_get_u32(bytes + FRAME_FLAGS_AT);
    frame->generation = bytes_get_u64(bytes + FRAME_GENERATION_AT);
    frame->salt = bytes_get_u64(bytes + FRAME_SALT_AT);
    frame->synced = bytes_get_u64(bytes + FRAME_SYNCED_AT);
    frame->previous = bytes_get_u64(bytes + FRAME_PREVIOUS_AT);
    frame->body_checksum = bytes_get_u64(bytes + FRAME_BODY_CHECKSUM_AT);
    return frame->body_bytes <= STORAGE_MAX_BODY_BYTES && (frame->flags & ~STORAGE_FRAME_COMMIT) == 0;
}

uint64_t storage_log_salt(uint64_t generation, uint64_t root_checksum) {
    uint8_t bytes[16];
    bytes_put_u64(bytes, generation);
    bytes_put_u64(bytes + 8, root_checksum);
    uint64_t salt = hash_bytes(bytes, sizeof bytes);
    return salt != 0 ? salt : 1;
}

static int extents_compare(const void *a, const void *b) {
    const struct storage_extent *left = a;
    const struct storage_extent *right = b;
    return (left->begin > right->begin) - (left->begin < right->begin);
}

size_t storage_extents_merge(struct storage_extent *extents, size_t count) {
    if (count == 0) return 0;
    sort_elements(extents, count, sizeof *extents, extents_compare);
    size_t kept = 0;
    for (size_t i = 1; i < count; i++) {
        if (extents[i].begin <= extents[kept].end) {
            if (extents[i].end > extents[kept].end) extents[kept].end = extents[i].end;
        } else {
            extents[++kept] = extents[i];
        }
    }
    return kept + 1;
}
