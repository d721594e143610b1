/* Growth and range setting of row bitmaps. The bitmap operations themselves are simd kernels. See core/bitmap.h. */
#include "core/bitmap.h"

#include <string.h>

enum velta_status bitmap_reserve(struct memory *memory, struct bitmap *bitmap, uint64_t rows,
                                 struct velta_error *error) {
    size_t old_capacity = bitmap->capacity_words;
    void *words = bitmap->words;
    enum velta_status status =
        memory_grow_array(memory, &words, &bitmap->capacity_words, bitmap_words(rows), sizeof *bitmap->words, error);
    if (status == VELTA_OK && bitmap->capacity_words > old_capacity) {
        bitmap->words = words;
        memset(bitmap->words + old_capacity, 0, (bitmap->capacity_words - old_capacity) * sizeof *bitmap->words);
    }
    return status;
}

void bitmap_set_range(uint64_t *words, uint64_t first, uint64_t count) {
    uint64_t end = first + count;
    uint64_t first_word = first / 64;
    uint64_t last_word;
    uint64_t first_mask = UINT64_MAX << (first % 64);
    uint64_t last_mask = UINT64_MAX >> (63 - (end - 1) % 64);
    if (count == 0) {
        return;
    }
    last_word = (end - 1) / 64;
    if (first_word == last_word) {
        words[first_word] |= first_mask & last_mask;
        return;
    }
    words[first_word] |= first_mask;
    for (uint64_t word = first_word + 1; word < last_word; word++) {
        words[word] = UINT64_MAX;
    }
    words[last_word] |= last_mask;
}

void bitmap_release(struct memory *memory, struct bitmap *bitmap) {
    memory_release(memory, bitmap->words, bitmap->capacity_words * sizeof *bitmap->words);
    bitmap->words = NULL;
    bitmap->capacity_words = 0;
}
