/* Sorting row numbers by the caller's order: merge sort, stable, over caller's scratch (qsort may allocate). */
#ifndef VELTA_STORE_SORT_H
#define VELTA_STORE_SORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef bool sort_less_function(const void *context, uint32_t a, uint32_t b);

/* Sorts items[0..count); scratch has room for count. Equal items keep their order. */
void sort_items(uint32_t *items, uint32_t *scratch, size_t count, sort_less_function *less, const void *context);

#endif
