/* Bottom-up merge sort: n log n comparisons whatever the input, no recursion, no allocation. */
#include "store/sort.h"

#include <string.h>

static void merge(const uint32_t *from, uint32_t *to, size_t start, size_t middle, size_t end, sort_less_function *less,
                  const void *context) {
    size_t left = start;
    size_t right = middle;
    for (size_t i = start; i < end; i++) {
        bool take_right = right < end && (left >= middle || less(context, from[right], from[left]));
        to[i] = take_right ? from[right++] : from[left++];
    }
}

void sort_items(uint32_t *items, uint32_t *scratch, size_t count, sort_less_function *less, const void *context) {
    uint32_t *from = items;
    uint32_t *to = scratch;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = count - start < width ? count : start + width;
            size_t end = count - start < 2 * width ? count : start + 2 * width;
            merge(from, to, start, middle, end, less, context);
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) {
        memcpy(items, from, count * sizeof *items);
    }
}
