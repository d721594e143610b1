/*
 * What was before: the past values of changed rows, per table, so that any kept sequence number can be read.
 *
 * For every change of an existing row an entry is pushed on the chain of that (row, column):
 *  - scalar: the value before (text as bytes, so that no dictionary is needed);
 *  - vector: the delta; setting a whole vector is a dense delta that replaces. The first entry of a chain and every one
 *    after checkpoint_interval deltas also hold the whole vector before (f32 addition cannot be undone exactly, so the
 *    past is composed forward from such a base, with the kernels and the rounding of the table itself); entries of
 *    codes-only columns always do, because what was read there is not what was written;
 *  - death of a row. Births are runs of (first row, sequence, time) because rows are numbered in order.
 * Entries are appended to slabs and never changed; chains are linked backwards; heads are found by a hash of (row,
 * column). Times map to sequences because both ascend. History ends at a floor: older states answer HISTORY_GONE,
 * except for single points that compaction was asked to keep.
 * Reserve, then push, which cannot fail.
 */
#ifndef VELTA_DELTA_HISTORY_H
#define VELTA_DELTA_HISTORY_H

#include "core/table.h"
#include "delta/change.h"

struct history;
#define HISTORY_NOW UINT64_MAX
#define HISTORY_EXPIRY_COLUMN UINT32_C(0xFFFFFFFE)

VELTA_MUST_USE enum velta_status history_create(struct memory *memory, const struct simd_kernels *simd,
                                                uint32_t checkpoint_interval, struct history **out,
                                                struct velta_error *error);
void history_destroy(struct history *history);

/*
 * Room for everything that pushing `change` onto `table` can take (table in its state before the change, or before the
 * batch: the rows of an append reserved just before need not be there yet). Reservations add up: the store reserves for
 * every change of a batch, then pushes and applies them one by one, in that order (a push ends the reserving);
 * history_abandon forgets what was not pushed.
 * codes_vector: how to read the present value of a codes-only column; NULL where there is none.
 */
typedef void history_vector_function(void *context, uint32_t column, uint32_t row, float *out);
VELTA_MUST_USE enum velta_status history_reserve(struct history *history, const struct table *table,
                                                 const struct change *change, struct velta_error *error);
void history_abandon(struct history *history);
/* Notes the values before `change`; call it just before the change is applied to the table. Deltas: one at a time. */
void history_push(struct history *history, const struct table *table, const struct change *change,
                  history_vector_function *codes_vector, void *context);
/*
 * The same for several deltas of a CHANGE_VECTORS: for number `first`, which is about to be applied, and those behind
 * it, before `end`, that can be noted without the vectors that the earlier ones make. Returns the first that was not.
 */
uint32_t history_push_deltas(struct history *history, const struct table *table, const struct change *change,
                             uint32_t first, uint32_t end, history_vector_function *codes_vector, void *context);

/* Asks the machine for the memory that a coming change of the row's column will touch: where its chain hangs. */
void history_prefetch(const struct history *history, uint32_t row, uint32_t column);

/*
 * The last sequence whose time is <= time_ms; HISTORY_GONE when that state is no longer kept; HISTORY_NOW when later.
 */
VELTA_MUST_USE enum velta_status history_sequence_at(const struct history *history, int64_t time_ms, uint64_t *sequence,
                                                     struct velta_error *error);
/* Whether the state just after `sequence` can be read. */
bool history_keeps(const struct history *history, uint64_t sequence);

/* Nothing is known of what was before: the past begins just after `sequence`. For a history just created. */
void history_begin(struct history *history, uint64_t sequence, int64_t time_ms);
/* Whether the row's death is in the history. */
bool history_has_died(const struct history *history, uint32_t row);
/* When a row was born; false where that is no longer known (at or before the floor). */
bool history_birth(const struct history *history, uint32_t row, uint64_t *sequence, int64_t *time_ms);
/* State just after `sequence` (which is kept). Rows not yet born or dead then: false. */
bool history_row_alive(const struct history *history, const struct table *table, uint32_t row, uint64_t sequence);
/* out (bitmap_words(row_count) words): rows alive just after `sequence`; expiry by now_ms as it was set then. */
uint64_t history_alive(const struct history *history, const struct table *table, uint64_t sequence, int64_t now_ms,
                       uint64_t *out);
/* Scalar value then. Returns false for NULL. Text stays until the history or dictionary changes. */
bool history_scalar(const struct history *history, const struct table *table, uint32_t column, uint32_t row,
                    uint64_t sequence, struct column_scalar *value);
/* Vector then, composed: `dimensions` floats. False: it was NULL. */
bool history_vector(const struct history *history, const struct table *table, uint32_t column, uint32_t row,
                    uint64_t sequence, history_vector_function *codes_vector, void *context, float *out);
/* Rows (distinct, ascending) whose `column` changed after `sequence`; capacity in rows; returns the count (all). */
size_t history_changed_rows(const struct history *history, uint32_t column, uint64_t sequence, uint32_t *rows,
                            size_t capacity);
/* Row that had this key just after `sequence`, among rows that are dead now; VELTA_NO_ROW. */
uint32_t history_find_dead(const struct history *history, const struct table *table, uint64_t sequence, const void *key,
                           size_t key_bytes, int64_t key_int);

/* The indices of a sparse delta, packed: what is left to read of them. */
struct history_indices {
    const uint8_t *bytes;
    uint32_t next; /* the least that can follow */
    bool wide;
};
/* Reads the next `count` of them. */
void history_read_indices(struct history_indices *indices, uint32_t count, uint32_t *out);

/*
 * The deltas kept of one vector, oldest first; the first item is the base. Setting the vector is a dense delta that
 * replaces, its values NULL where it was set to NULL. Where compaction has merged deltas, a base stands for them.
 * Pointers stay until the history changes.
 */
struct history_delta {
    uint64_t sequence; /* bases: 0 */
    int64_t time_ms;
    struct vector_delta delta; /* operation 0: a base, the vector in `values` (NULL: it was NULL); without indices */
    struct history_indices indices;
};
size_t history_chain(const struct history *history, uint32_t column, uint32_t row, struct history_delta *out,
                     size_t capacity);

/*
 * A new history for the vacuumed table: row_map as table_vacuum gives it (rows mapped to VELTA_NO_ROW are forgotten).
 * `table` is the one before the vacuum. keep_from: this state and all after it that are readable stay so; points[]:
 * single sequences before it that stay readable, too (those that are not kept now are passed over). Versions between
 * are merged. HISTORY_NOW and no points: only the present state is kept.
 */
VELTA_MUST_USE enum velta_status history_compact(const struct history *history, const struct table *table,
                                                 const uint32_t *row_map, uint64_t keep_from, const uint64_t *points,
                                                 size_t point_count, struct history **out, struct velta_error *error);
/* Sets the bits of rows that are dead now and that a state kept by such a compaction sees: they must be kept. */
void history_needed_rows(const struct history *history, uint64_t keep_from, const uint64_t *points, size_t point_count,
                         uint64_t *rows);

/* Byte images in parts (append-only: only the last parts change), deterministic, validated on reading. */
uint32_t history_part_count(const struct history *history);
uint64_t history_part_bytes(const struct history *history, uint32_t part);
void history_part_write(const struct history *history, uint32_t part, void *out);
bool history_part_dirty(const struct history *history, uint32_t part);
void history_part_clean(struct history *history, uint32_t part);
VELTA_MUST_USE enum velta_status history_part_read(struct history *history, const struct table *table, uint32_t part,
                                                   const void *bytes, uint64_t size_bytes, struct velta_error *error);
VELTA_MUST_USE enum velta_status history_load_finish(struct history *history, const struct table *table,
                                                     struct velta_error *error);
uint64_t history_memory_bytes(const struct history *history);

#endif
