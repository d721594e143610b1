/*
 * A host in memory that remembers what is durable and what is not: it records operations, fails on request, and lists
 * what may be on the disk after a crash.
 *
 * Model of a disk: a SYNC makes everything done to its file before durable. What was done after the last SYNC may have
 * reached the disk or not, each piece by itself and in any order; a write is cut into pieces at multiples of 512 bytes
 * of the file, and any one piece may have reached it in part: its first bytes only, in a file that ends behind them or
 * whose size has already grown to the piece's end, with zeros.
 */
#ifndef VELTA_TESTS_FAKE_STORAGE_H
#define VELTA_TESTS_FAKE_STORAGE_H

#include "delta/storage.h"

enum { FAKE_SECTOR_BYTES = 512, FAKE_MAX_PIECES = 4096 };

struct fake_file {
    uint8_t *bytes;
    uint64_t size_bytes;
    uint64_t capacity_bytes;
};

/* One thing done since the last sync: bytes written, or a new size (bytes NULL). */
struct fake_piece {
    enum storage_file file;
    uint64_t offset;
    uint64_t size_bytes;
    uint8_t *bytes;
};

struct fake_storage {
    struct fake_file now[2];     /* what a program that goes on running sees */
    struct fake_file durable[2]; /* what is certain after a crash */
    struct fake_piece *pieces;
    size_t piece_count;
    size_t piece_capacity;
    bool keep_durable; /* false: crashes are not asked for; saves the copies */

    /* counted from 1; 0: never */
    uint64_t operation_count;
    uint64_t fail_at;              /* this operation fails with fail_status and does nothing (or half) ... */
    bool fail_from_then_on;        /* ... and every later one, too */
    enum velta_status fail_status; /* VELTA_OK: it reports a wrong count instead */
    bool fail_half;                /* a failing write leaves its first half */
    uint64_t fail_wrong_count;     /* with fail_status OK: the count reported */
    bool (*ignore_sync)(void *context, uint64_t sync_number, enum storage_file file); /* canaries */
    void *context;
    uint64_t sync_count;
};

void fake_storage_init(struct fake_storage *fake);
void fake_storage_release(struct fake_storage *fake);
/* The bytes of `file` become these, durably. */
void fake_storage_set(struct fake_storage *fake, enum storage_file file, const void *bytes, uint64_t size_bytes);
/* Executes one operation. */
void fake_storage_execute(struct fake_storage *fake, const struct storage_operation *operation,
                          struct storage_result *result);
/* Drives the running task to its end. */
VELTA_MUST_USE enum velta_status fake_storage_run(struct fake_storage *fake, struct storage *storage,
                                                  struct velta_error *error);

/* What is there after a crash. */
struct fake_crash {
    uint64_t kept;       /* bit i % 64 is set: piece i has reached the disk */
    size_t torn;         /* this one (SIZE_MAX: none) only in part ... */
    uint64_t torn_bytes; /* ... so many bytes of it ... */
    bool torn_grown;     /* ... and the file is as long as if it had wholly */
};

/* `out` (initialised) becomes what is on the disk after the crash. */
void fake_storage_crash(const struct fake_storage *fake, const struct fake_crash *crash, struct fake_storage *out);

#endif
