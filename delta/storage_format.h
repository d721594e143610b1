/*
 * The bytes of the storage protocol: roots, directory entries and frame headers. docs/FORMAT.md is the specification;
 * storage.c is the only user beside the export and tests.
 */
#ifndef VELTA_DELTA_STORAGE_FORMAT_H
#define VELTA_DELTA_STORAGE_FORMAT_H

#include "delta/storage.h"

enum {
    STORAGE_VERSION = 1,
    STORAGE_ROOT_BYTES = 4096,
    STORAGE_EXTENTS_START = 2 * STORAGE_ROOT_BYTES,
    STORAGE_EXTENT_ALIGNMENT = 4096,
    STORAGE_PACKED_ALIGNMENT = 64,
    STORAGE_DIRECTORY_ENTRY_BYTES = 40,
    STORAGE_FRAME_HEADER_BYTES = 64,
    STORAGE_MAX_BODY_BYTES = 1 << 30,
};

/* Flags of a root. */
enum { STORAGE_ROOT_PACKED = 1 /* an export: complete without a log */ };

struct storage_root {
    uint64_t generation;
    uint32_t flags;
    uint64_t previous_checksum; /* of the root of generation - 1; 0 where there is none */
    uint64_t directory_offset;
    uint64_t directory_bytes;
    uint64_t directory_checksum;
    uint64_t data_end; /* everything that the root names ends at or before this byte */
    struct storage_meta meta;
    uint64_t checksum;
};

enum storage_root_state { STORAGE_ROOT_INVALID, STORAGE_ROOT_VALID, STORAGE_ROOT_NEWER };

/* Generation 1 goes into slot 0, 2 into slot 1, 3 into slot 0, ... */
static inline unsigned storage_root_slot(uint64_t generation) {
    return (unsigned)((generation - 1) & 1);
}
/* Writes STORAGE_ROOT_BYTES and notes the checksum in root. */
void storage_root_encode(struct storage_root *root, void *out);
/* NEWER: checksummed well, but of a version that this code does not know. */
enum storage_root_state storage_root_decode(const void *bytes, unsigned slot, struct storage_root *root);

void storage_directory_encode(const struct segment *segments, size_t count, void *out);
/* Decodes and checks keys (strictly ascending) and extents (aligned, inside [EXTENTS_START, data_end], wholly). */
VELTA_MUST_USE enum velta_status storage_directory_decode(const void *bytes, const struct storage_root *root,
                                                          struct segment *segments, size_t count,
                                                          struct velta_error *error);
int storage_compare_keys(const struct segment_key *a, const struct segment_key *b);

enum { STORAGE_FRAME_COMMIT = 1 };

struct storage_frame {
    uint32_t body_bytes;
    uint32_t flags;
    uint32_t number; /* 0: the start of the log, without a body */
    uint64_t generation;
    uint64_t salt;
    uint64_t synced;   /* every byte of the log before this one was durable when the frame was written */
    uint64_t previous; /* checksum of the frame before; 0 for frame 0 */
    uint64_t body_checksum;
    uint64_t checksum; /* over the header, and through body_checksum over the body */
};

/* Writes STORAGE_FRAME_HEADER_BYTES and notes the checksum in frame. */
void storage_frame_encode(struct storage_frame *frame, void *out);
bool storage_frame_decode(const void *bytes, struct storage_frame *frame);
/* Never 0, and different for every generation and root. root_checksum: of the root that the log continues, or 0. */
uint64_t storage_log_salt(uint64_t generation, uint64_t root_checksum);

/* A range of DATA in use. */
struct storage_extent {
    uint64_t begin;
    uint64_t end;
};
/* Sorts by begin and merges what touches; returns the new count. In place, without allocation. */
size_t storage_extents_merge(struct storage_extent *extents, size_t count);

#endif
