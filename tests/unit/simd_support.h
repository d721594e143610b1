/*
 * What the tests of the kernels share: blocks that end where they end, special floats, comparison by bits.
 *
 * A block from `block_new` starts `offset_bytes` after an address that is a multiple of 64. Under the address sanitizer
 * its end is the end of the allocation, so any read or write past it is reported; otherwise guard bytes follow it, and
 * guard bytes always precede it. `block_free` asserts that they are whole.
 */
#ifndef VELTA_TESTS_UNIT_SIMD_SUPPORT_H
#define VELTA_TESTS_UNIT_SIMD_SUPPORT_H

#define _POSIX_C_SOURCE 200809L /* posix_memalign */

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simd/simd.h"
#include "tests/support/support.h"

enum { GUARD_BYTES = 64, GUARD_VALUE = 0xa5, LENGTH_LIMIT = 131 };

#if defined(__SANITIZE_ADDRESS__)
#define GUARD_TAIL_BYTES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARD_TAIL_BYTES 0
#endif
#endif
#ifndef GUARD_TAIL_BYTES
#define GUARD_TAIL_BYTES GUARD_BYTES
#endif

struct block {
    uint8_t *base;
    size_t offset_bytes;
    size_t size_bytes;
};

static inline void *block_data(const struct block *block) {
    return block->base + GUARD_BYTES + block->offset_bytes;
}

static inline struct block block_new(size_t size_bytes, size_t offset_bytes) {
    void *base = NULL;
    size_t total = GUARD_BYTES + offset_bytes + size_bytes + GUARD_TAIL_BYTES;
    assert_int_equal(posix_memalign(&base, 64, total), 0);
    memset(base, GUARD_VALUE, total);
    return (struct block){base, offset_bytes, size_bytes};
}

static inline void block_free(struct block *block) {
    const uint8_t *data = block_data(block);
    for (size_t i = 0; i < GUARD_BYTES + block->offset_bytes; i++)
        assert_int_equal(block->base[i], GUARD_VALUE);
    for (size_t i = block->size_bytes; i < block->size_bytes + GUARD_TAIL_BYTES; i++)
        assert_int_equal(data[i], GUARD_VALUE);
    free(block->base);
    block->base = NULL;
}

/* A block that begins with a copy of `from`. */
static inline struct block block_copy(const void *from, size_t size_bytes, size_t offset_bytes) {
    struct block block = block_new(size_bytes, offset_bytes);
    if (size_bytes > 0) memcpy(block_data(&block), from, size_bytes);
    return block;
}

static inline uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Equal by bits; all NaNs are one. */
static inline void check_float(const char *set, size_t n, float got, float want) {
    if (float_bits(got) != float_bits(want) && !(isnan(got) && isnan(want)))
        fail_msg("%s, %zu elements: %a instead of %a", set, n, (double)got, (double)want);
}

static inline void check_words(const char *set, size_t n, const uint64_t *got, const uint64_t *want, size_t words) {
    for (size_t i = 0; i < words; i++)
        if (got[i] != want[i])
            fail_msg("%s, %zu elements, word %zu: %016llx instead of %016llx", set, n, i, (unsigned long long)got[i],
                     (unsigned long long)want[i]);
}

/* Gaussian, and where asked one in four a value that kernels get wrong. */
static inline float special_float(struct random *random) {
    static const float values[] = {0.0F,      -0.0F,      INFINITY,       -INFINITY,      NAN,     FLT_MAX,
                                   -FLT_MAX,  FLT_MIN,    FLT_MIN / 4096, -FLT_MIN / 512, 1.0F,    -1.0F,
                                   0x1p-149F, -0x1p-149F, 65504.0F,       65520.0F,       0x1p23F, 0.5F};
    return values[random_below(random, sizeof values / sizeof values[0])];
}

static inline void fill_floats(struct random *random, float *v, size_t n, bool special) {
    for (size_t i = 0; i < n; i++)
        v[i] = special && random_chance(random, 25) ? special_float(random) : random_gauss(random);
}

/* Any bit pattern, so with infinities, NaN and denormals; or finite ones of middling size. */
static inline void fill_halves(struct random *random, uint16_t *v, size_t n, bool special) {
    for (size_t i = 0; i < n; i++) {
        uint16_t bits = (uint16_t)random_u64(random);
        v[i] = special ? bits : (uint16_t)((bits & 0x83ff) | (0x3000 + (bits & 0x0c00)));
    }
}

/* The lengths of the tests: all up to 130, then some around powers of two and large ones. */
static inline size_t next_length(size_t n) {
    static const size_t more[] = {191, 192,  193,  255,  256,  257,  384,  511,
                                  512, 1000, 1023, 1024, 1537, 4096, 4133, 8200};
    if (n + 1 < LENGTH_LIMIT) return n + 1;
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (more[i] > n) return more[i];
    return SIZE_MAX;
}

#endif
