/* The insides of velta_salvage, shared by salvage.c (files and roots), salvage_load.c and salvage_log.c only. */
#ifndef VELTA_STORE_SALVAGE_H
#define VELTA_STORE_SALVAGE_H

#include "delta/storage_format.h"
#include "store/database.h"

struct salvage {
    struct velta *db;
    const struct velta_progress *progress;
    velta_loss_function *report;
    void *context;
    uint64_t file_bytes[2];

    struct storage_root root; /* the one that is used; generation 0: none, the log alone */
    struct segment *segments; /* what it names, ascending; allocated exactly */
    size_t segment_count;
    struct segment *lost; /* those of them that could not be used, ascending */
    size_t lost_count;
    size_t lost_capacity;

    uint8_t *buffer; /* of the largest segment so far */
    size_t buffer_capacity;
    uint8_t *resurrected; /* per table of the checkpoint: whether its deleted rows are back */
    size_t resurrected_count;
    bool must_compact; /* there are rows or texts in the state that must not stay */
};

/* Where a loss is. Zero: nowhere. */
struct salvage_place {
    bool known;
    bool in_log;
    uint64_t offset;
    uint64_t size_bytes;
};
/* Fills in the text and reports; the other fields are the caller's. */
void salvage_report(const struct salvage *salvage, struct velta_loss *loss, struct salvage_place place,
                    const char *format, ...) VELTA_PRINTF(4, 5);
/* Reads a range of a file; bytes that the host cannot read, or that the file does not have, become zero. */
void salvage_read(const struct salvage *salvage, enum storage_file file, uint64_t offset, uint64_t size_bytes,
                  uint8_t *out);
VELTA_MUST_USE enum velta_status salvage_progress(const struct salvage *salvage, uint64_t done, uint64_t total,
                                                  struct velta_error *error);
/* Whether a failure has nothing to do with the bytes: memory refused, or cancelled. */
bool salvage_must_stop(enum velta_status status);

/* ---- salvage_load.c */
/* The schema of the root's directory into the empty state; CORRUPT leaves the state empty again. */
VELTA_MUST_USE enum velta_status salvage_load_schema(struct salvage *salvage, struct velta_error *error);
/* All other segments; the state is whole afterwards, and what it lacks is reported. */
VELTA_MUST_USE enum velta_status salvage_load(struct salvage *salvage, struct velta_error *error);
/* After the log: rows without a required value go. */
VELTA_MUST_USE enum velta_status salvage_drop_incomplete(struct salvage *salvage, struct velta_error *error);

/* ---- salvage_log.c */
VELTA_MUST_USE enum velta_status salvage_log(struct salvage *salvage, struct velta_error *error);

#endif
