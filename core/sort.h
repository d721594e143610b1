/*
 * In-place heapsort (Williams 1964): the C library's qsort may allocate, which this engine leaves to its own allocator.
 * Not stable; O(n log n) always, so a hostile order costs nothing extra. Elements of at most SORT_MAX_BYTES.
 */
#ifndef VELTA_CORE_SORT_H
#define VELTA_CORE_SORT_H

#include <stddef.h>
#include <string.h>

enum { SORT_MAX_BYTES = 64 };

typedef int sort_compare_function(const void *a, const void *b);

static inline void sort_sift(char *base, size_t root, size_t count, size_t element_bytes,
                             sort_compare_function *compare) {
    char moving[SORT_MAX_BYTES];
    memcpy(moving, base + root * element_bytes, element_bytes);
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && compare(base + child * element_bytes, base + (child + 1) * element_bytes) < 0) child++;
        if (compare(moving, base + child * element_bytes) >= 0) break;
        memcpy(base + root * element_bytes, base + child * element_bytes, element_bytes);
    }
    memcpy(base + root * element_bytes, moving, element_bytes);
}

static inline void sort_elements(void *elements, size_t count, size_t element_bytes, sort_compare_function *compare) {
    char *base = elements;
    char greatest[SORT_MAX_BYTES];
    for (size_t i = count / 2; i-- > 0;)
        sort_sift(base, i, count, element_bytes, compare);
    for (size_t end = count; end > 1; end--) {
        memcpy(greatest, base, element_bytes);
        memcpy(base, base + (end - 1) * element_bytes, element_bytes);
        memcpy(base + (end - 1) * element_bytes, greatest, element_bytes);
        sort_sift(base, 0, end - 1, element_bytes, compare);
    }
}

#endif
