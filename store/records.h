/*
 * Vector deltas as records, the form in which they travel between threads and machines: docs/FORMAT.md, section 8.
 *
 * Records are applied where they lie: indices, values, key and metadata are used in place. The bytes come from outside,
 * so each record is checked wholly, its order among the others included, before the first is applied.
 */
#ifndef VELTA_STORE_RECORDS_H
#define VELTA_STORE_RECORDS_H

#include "store/velta.h"

/*
 * Where the position of a stream is kept, so that it moves with what it tells of: the row with the key `name` of a
 * table with a string as key and an int column `position`. table NULL: nowhere.
 */
struct stream_position {
    velta_table *table;
    const char *name;
    uint32_t name_bytes;
};

struct records_applied {
    uint32_t applied;
    uint32_t skipped;       /* records at or before the stream's position */
    size_t size_bytes;      /* of the records applied and skipped */
    uint64_t last_sequence; /* of the last of them; 0: there was none */
};

/*
 * Applies the first records of `records` (at a multiple of 8), up to `limit` of them, to one vector column: all or
 * none, in one batch with the new position. Records that the position has passed are skipped. CORRUPT: error->offset
 * is the byte where the record begins; else it is the number of records before the one that is refused, and the text
 * tells its sequence. NOT_FOUND without a place: there is no row for the position. ids: room for the sequence numbers
 * that the database gives to the records applied, or NULL.
 */
VELTA_MUST_USE enum velta_status records_apply(velta_table *table, const char *column, const void *records,
                                               size_t size_bytes, uint32_t limit,
                                               const struct stream_position *position, uint64_t *ids,
                                               struct records_applied *done, struct velta_error *error);

#endif
