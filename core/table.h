/*
 * A table: columns over the same rows, a primary key, tombstones and expiry. No history, no log, no index.
 *
 * Rows are numbered from 0 in insertion order; a deleted row keeps its number until vacuum. `live` has a bit per row
 * that is not deleted. Expiry (TTL) is a hidden timestamp column made by the first use; a row whose time has passed is
 * invisible to readers that ask with `now`, and stays until table_expired finds it and it is deleted.
 * Every write: table_check_*, table_reserve_* (all allocations), then table_apply_* which cannot fail.
 */
#ifndef VELTA_CORE_TABLE_H
#define VELTA_CORE_TABLE_H

#include "core/bitmap.h"
#include "core/column.h"
#include "simd/simd.h"

struct key_index; /* core/key_index.h: open addressing, keys compared through the column */

struct table {
    struct memory *memory;
    const struct simd_kernels *simd;
    char *name;
    struct column **columns;
    size_t column_count;
    size_t column_capacity;
    struct column *key_column; /* NULL: no primary key; then keys are row numbers */
    struct key_index *keys;
    uint32_t row_count; /* tombstones included */
    uint32_t live_count;
    struct bitmap live;
    bool live_dirty;
    struct column *expiry;  /* hidden timestamp column or NULL; NULL values: never */
    uint32_t reserved_rows; /* by appends whose write has not come */
    bool expiry_reserved;   /* `expiry` was made by a reservation whose write has not come */
};

VELTA_MUST_USE enum velta_status table_create(struct memory *memory, const struct simd_kernels *simd, const char *name,
                                              const struct velta_column *columns, size_t column_count,
                                              struct table **out, struct velta_error *error);
void table_destroy(struct table *table);
/* TABLE_NO_COLUMN when there is none; names compare bytewise. */
#define TABLE_NO_COLUMN SIZE_MAX
size_t table_find_column(const struct table *table, const char *name, size_t name_bytes);
/* INVALID: a primary key; a required column while there are rows. Rows that are there already are NULL. */
VELTA_MUST_USE enum velta_status table_add_column(struct table *table, const struct velta_column *spec,
                                                  struct velta_error *error);

/* Row of a key, or VELTA_NO_ROW; also when keys are of the other type. Dead rows are not found. */
uint32_t table_find_int(const struct table *table, int64_t key);
/* Asks the machine for the memory where table_find_int will look. */
void table_prefetch_int(const struct table *table, int64_t key);
/* The row that table_find_int will look at first, hence most likely the key's; VELTA_NO_ROW: none. */
uint32_t table_guess_int(const struct table *table, int64_t key);
uint32_t table_find_text(const struct table *table, const void *key, size_t size_bytes);

/*
 * Appending `count` rows: values[i] belongs to columns[i]; values[i].data NULL with valid NULL means "all NULL".
 * check: everything of column_check_values, NULL keys, keys repeated in the batch or already there
 * (VELTA_EXISTS; error->offset is the index in the batch). reserve: all memory, dictionary entries, key slots.
 */
VELTA_MUST_USE enum velta_status table_check_append(const struct table *table, const struct column_values *values,
                                                    size_t count, struct velta_error *error);
VELTA_MUST_USE enum velta_status table_reserve_append(struct table *table, const struct column_values *values,
                                                      size_t count, struct velta_error *error);
/* Reservations add up: a batch reserves every part, each to follow the one before, then applies them in order. */
uint32_t table_apply_append(struct table *table, const struct column_values *values, size_t count); /* first row */
/* Setting one column of some live rows. The primary key cannot be set (INVALID). */
VELTA_MUST_USE enum velta_status table_check_set(const struct table *table, size_t column,
                                                 const struct column_values *values, const uint32_t *rows, size_t count,
                                                 struct velta_error *error);
VELTA_MUST_USE enum velta_status table_reserve_set(struct table *table, size_t column,
                                                   const struct column_values *values, const uint32_t *rows,
                                                   size_t count, struct velta_error *error);
void table_apply_set(struct table *table, size_t column, const struct column_values *values, const uint32_t *rows,
                     size_t count);
/*
 * Drops every reservation whose write has not come, with the dictionary entries that they added, so that the table's
 * images are as they were.
 */
void table_abandon_reserve(struct table *table);
/* Tombstones; rows must be live and distinct (asserted). Their keys are free again. */
void table_apply_delete(struct table *table, const uint32_t *rows, size_t count);
/* times_ms: absolute; INT64_MAX means never. The reservation covers every row there is, reserved ones included. */
VELTA_MUST_USE enum velta_status table_reserve_expiry(struct table *table, struct velta_error *error);
void table_apply_expiry(struct table *table, const uint32_t *rows, const int64_t *times_ms, size_t count);
/* out (bitmap_words(row_count) words) = live and not expired at now_ms; returns the count. */
uint64_t table_visible(const struct table *table, int64_t now_ms, uint64_t *out);
/* Live rows whose expiry is <= now_ms. `rows` has room for live_count. */
size_t table_expired(const struct table *table, int64_t now_ms, uint32_t *rows);

/*
 * A new table with the live rows only, renumbered in order, dictionaries without unused entries, narrowest widths.
 * The old one is unchanged. row_map (row_count entries, may be NULL): old row -> new row or VELTA_NO_ROW.
 * `keep` (bitmap_words(row_count) words, may be NULL): rows that stay though they are dead, still dead, because history
 * needs them.
 */
VELTA_MUST_USE enum velta_status table_vacuum_keeping(const struct table *table, const uint64_t *keep,
                                                      struct table **out, uint32_t *row_map, struct velta_error *error);
/* The same with keep NULL. */
VELTA_MUST_USE enum velta_status table_vacuum(const struct table *table, struct table **out, uint32_t *row_map,
                                              struct velta_error *error);
uint64_t table_memory_bytes(const struct table *table); /* columns, keys, bitmaps; what is shared excluded */

/*
 * Loading a table from images, into one that table_create has just made:
 *   table_begin_load(table, rows)        row_count = rows, every row live, no column data yet
 *   table_load_live(table, ...)          the live bitmap: bitmap_words(rows) little-endian u64, bits from `rows` on 0
 *   table_make_expiry(table)             where there was a hidden expiry column: table->expiry, to be filled likewise
 *   for each column                      column_dictionary_image_read, column_slab_image_read (core/column_image.h);
 *                                        set column->added_at_row
 *   table_finish_load(table)             all slabs are there; builds the key index
 * Damage is CORRUPT; after any failure the table is fit only for table_destroy.
 */
VELTA_MUST_USE enum velta_status table_begin_load(struct table *table, uint32_t row_count, struct velta_error *error);
VELTA_MUST_USE enum velta_status table_load_live(struct table *table, const void *bytes, uint64_t size_bytes,
                                                 struct velta_error *error);
VELTA_MUST_USE enum velta_status table_make_expiry(struct table *table, struct velta_error *error);
VELTA_MUST_USE enum velta_status table_finish_load(struct table *table, struct velta_error *error);
/*
 * The same for a table of which bytes were lost: live rows without a key, and of several with the same key all but the
 * newest, are not live afterwards. lost(context, row) is told of each of them.
 */
VELTA_MUST_USE enum velta_status table_finish_salvage(struct table *table, void (*lost)(void *context, uint32_t row),
                                                      void *context, struct velta_error *error);
/* Everything is in a checkpoint: nothing is dirty. */
void table_clean(struct table *table);

#endif
