/* Growable row bitmap: bit i of word i / 64 says something about row i. Bits at and above the row count are 0. */
#ifndef VELTA_CORE_BITMAP_H
#define VELTA_CORE_BITMAP_H

#include "core/memory.h"

struct bitmap {
    uint64_t *words;
    size_t capacity_words;
};

static inline size_t bitmap_words(uint64_t rows) {
    return (size_t)((rows + 63) / 64);
}
static inline bool bitmap_get(const uint64_t *words, uint64_t row) {
    return words[row / 64] >> (row % 64) & 1;
}
static inline void bitmap_set(uint64_t *words, uint64_t row) {
    words[row / 64] |= UINT64_C(1) << (row % 64);
}
static inline void bitmap_clear(uint64_t *words, uint64_t row) {
    words[row / 64] &= ~(UINT64_C(1) << (row % 64));
}

/* Room for `rows` bits; new words are zero. */
VELTA_MUST_USE enum velta_status bitmap_reserve(struct memory *memory, struct bitmap *bitmap, uint64_t rows,
                                                struct velta_error *error);
void bitmap_set_range(uint64_t *words, uint64_t first, uint64_t count);
void bitmap_release(struct memory *memory, struct bitmap *bitmap);

#endif
