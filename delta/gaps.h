/* Ascending indices as the gaps before them. Loops without branches, so that the compiler makes vectors of them. */
#ifndef VELTA_DELTA_GAPS_H
#define VELTA_DELTA_GAPS_H

#include <stdint.h>

/* All gaps together: below a power of two when each of them is. The gap before the first index is the index itself. */
static inline uint32_t gaps_together(const uint32_t *indices, uint32_t count) {
    uint32_t bits = count > 0 ? indices[0] : 0;
    for (uint32_t i = 1; i < count; i++) {
        bits |= indices[i] - indices[i - 1] - 1;
    }
    return bits;
}

/* Writes each gap, all of them below 256, as a byte. count: at least 1. */
static inline void gaps_put(const uint32_t *restrict indices, uint32_t count, uint8_t *restrict out) {
    out[0] = (uint8_t)indices[0];
    for (uint32_t i = 1; i < count; i++) {
        out[i] = (uint8_t)(indices[i] - indices[i - 1] - 1);
    }
}

#endif
