/*
 * The filter language: text -> tree -> bound plan -> bitmap.
 *
 *   section = 'games' AND depends < 5
 *
 * Grammar, types and NULL rules: docs/FILTER.md. NULL follows SQL: a comparison with NULL is unknown, and a row matches
 * when the whole is true. NOT is pushed down to the leaves when the text is bound, so only "is true" bitmaps are ever
 * needed. A plan is evaluated slab by slab (CORE_ROWS_PER_SLAB rows), so its temporary bitmaps stay in cache; string
 * predicates are evaluated once per dictionary entry. Text is hostile: depth, length and literal counts are bounded,
 * and every error carries the byte position.
 */
#ifndef VELTA_CORE_FILTER_H
#define VELTA_CORE_FILTER_H

#include "core/table.h"

struct filter;

/*
 * Parses and binds. Errors: SYNTAX, UNKNOWN_COLUMN, TYPE, LIMIT, each with error->offset = byte position in the text.
 * The filter holds no pointer into `text`; it must not outlive the table, and sees rows and dictionary entries that
 * are added later.
 */
VELTA_MUST_USE enum velta_status filter_compile(struct table *table, const char *text, size_t text_bytes,
                                                struct filter **out, struct velta_error *error);
void filter_destroy(struct filter *filter);

/*
 * out: bitmap_words(row_count) words, not overlapping `visible`. Sets the bits of rows that match and whose bit in
 * `visible` is set (NULL: the table's live bitmap); all other bits are 0. Returns the count through *count. Can fail
 * only for memory (string predicates of new dictionary entries). What was worked out for dictionary entries is kept, so
 * a filter must not run between a table_reserve_* and the apply or abandon that ends it.
 */
VELTA_MUST_USE enum velta_status filter_evaluate(struct filter *filter, const uint64_t *visible, uint64_t *out,
                                                 uint64_t *count, struct velta_error *error);
/* The count alone, without a bitmap where the plan is one comparison. */
VELTA_MUST_USE enum velta_status filter_count(struct filter *filter, const uint64_t *visible, uint64_t *count,
                                              struct velta_error *error);
/* Row numbers, ascending, without a whole bitmap: up to `capacity`; *count is the number of matches. */
VELTA_MUST_USE enum velta_status filter_rows(struct filter *filter, const uint64_t *visible, uint32_t *rows,
                                             size_t capacity, uint64_t *count, struct velta_error *error);

/*
 * One row at a time, over values that need not be the table's present ones (time travel). The definition that the
 * bitmap evaluation is tested against. get: fills *value for the column, returns false for NULL.
 */
typedef bool filter_get_function(void *context, uint32_t row, size_t column, struct column_scalar *value);
bool filter_match_row(const struct filter *filter, uint32_t row, filter_get_function *get, void *context);
/* The columns it reads, as a bitmap of column indices (VELTA_MAX_COLUMNS bits = 16 words). */
void filter_columns(const struct filter *filter, uint64_t *column_bits);

#endif
