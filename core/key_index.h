/*
 * From a primary key to its row.
 *
 * int keys: a hash table of row numbers; the keys themselves stay in the column only. string keys: the dictionary
 * already is a hash table from text to code, so the index is an array from code to row.
 * Only live rows are in it. Reserve, then insert, which cannot fail.
 */
#ifndef VELTA_CORE_KEY_INDEX_H
#define VELTA_CORE_KEY_INDEX_H

#include "core/column.h"

struct key_index;

VELTA_MUST_USE enum velta_status key_index_create(const struct column *column, struct key_index **out,
                                                  struct velta_error *error);
void key_index_destroy(struct key_index *index);
/* Room for `extra` rows more, and for every code that the dictionary has. */
VELTA_MUST_USE enum velta_status key_index_reserve(struct key_index *index, size_t extra, struct velta_error *error);
/* The row's key is in the column. Returns false, and changes nothing, when the key is there already. */
bool key_index_insert(struct key_index *index, uint32_t row);
void key_index_remove(struct key_index *index, uint32_t row);            /* before its key leaves the column */
uint32_t key_index_find_int(const struct key_index *index, int64_t key); /* or VELTA_NO_ROW */
void key_index_prefetch_int(const struct key_index *index, int64_t key); /* the memory that finding looks at first */
/* The row at the key's first place, not compared (its key is prefetched), or VELTA_NO_ROW. */
uint32_t key_index_guess_int(const struct key_index *index, int64_t key);
uint32_t key_index_find_text(const struct key_index *index, const void *key, size_t size_bytes);
uint64_t key_index_memory_bytes(const struct key_index *index);

/* Index of the first of the batch's keys that stood there before, or `count`. Needs scratch memory. */
VELTA_MUST_USE enum velta_status key_batch_first_repeat(const struct column *column, const struct column_values *values,
                                                        size_t count, size_t *repeat, struct velta_error *error);

#endif
