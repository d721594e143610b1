/*
 * The contract of the kernels: what every instruction set implements, over plain arrays.
 *
 * simd/scalar.c is the definition; every other set gives the same results bit for bit:
 *  - integer kernels are exact;
 *  - f32 sums use 16 lanes that start at +0: element i is multiplied (not fused) and added to lane i % 16, the lanes
 *    are folded 8 + 8, 4 + 4, 2 + 2, 1 + 1 (lane j with lane j + half), so gcc, clang, AVX2, AVX-512 and wasm agree;
 *  - of NaN results only that they are NaN is promised;
 *  - filter kernels set bit i of word i / 64; the unused high bits of the last word are written 0, and those of a mask
 *    or a set that is read are ignored.
 * No kernel allocates, knows tables, or fails. No alignment is required beyond the element's own (1 for f16 and codes
 * rows handed over as bytes); rows that are multiples of 64 bytes at 64-byte alignment are the fast case.
 */
#ifndef VELTA_SIMD_SIMD_H
#define VELTA_SIMD_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum simd_sparse_mode { SIMD_ADD, SIMD_SET };

struct simd_kernels {
    const char *name; /* "scalar", "avx2", "avx512", "wasm128", "wasm_relaxed" */

    /* distances; n in elements */
    float (*dot_f32)(const float *a, const float *b, size_t n);
    float (*l2_f32)(const float *a, const float *b, size_t n); /* squared */
    /* a.b, a.a and b.b in one pass; the cosine is dot / sqrt(aa * bb) */
    void (*cosine_f32)(const float *a, const float *b, size_t n, float *dot, float *aa, float *bb);
    float (*dot_f16)(const float *a, const uint16_t *b, size_t n); /* b converted exactly to f32 */
    float (*l2_f16)(const float *a, const uint16_t *b, size_t n);
    void (*f16_to_f32)(const uint16_t *from, float *to, size_t n);
    void (*f32_to_f16)(const float *from, uint16_t *to, size_t n); /* nearest even; overflow to infinity */
    /* one query against `count` rows: touches (prefetches) rows ahead of computing, four at a time; whole lists are
     * faster than pieces, and rows may repeat */
    void (*dot_f32_rows)(const float *query, const float *const *rows, size_t count, size_t n, float *out);
    void (*l2_f32_rows)(const float *query, const float *const *rows, size_t count, size_t n, float *out);
    void (*dot_f16_rows)(const float *query, const uint16_t *const *rows, size_t count, size_t n, float *out);
    void (*l2_f16_rows)(const float *query, const uint16_t *const *rows, size_t count, size_t n, float *out);
    /* 7-bit codes (0..127) against a signed query (-127..127); n is a multiple of 32; exact. Whether rows are touched
     * ahead is each set's own: callers bring what they need near */
    int32_t (*dot_codes)(const int8_t *query, const uint8_t *row, size_t n);
    void (*dot_codes_rows)(const int8_t *query, const uint8_t *const *rows, size_t count, size_t n, int32_t *out);
    uint32_t (*sum_codes)(const uint8_t *row, size_t n);
    /* code[i] = clamp(round-half-even((v[i] - lo) * inverse_step), 0, 127); NaN gives 0 */
    void (*encode_codes)(const float *v, size_t n, float lo, float inverse_step, uint8_t *codes);
    void (*min_max_f32)(const float *v, size_t n, float *min, float *max); /* n > 0, no NaN; a zero is +0 */
    bool (*all_finite_f32)(const float *v, size_t n);
    uint32_t (*hamming)(const uint64_t *a, const uint64_t *b, size_t words);

    /* filters: bit = lo <= v && v <= hi (NaN never matches); n in elements; out has (n + 63) / 64 words */
    void (*range_i8)(const int8_t *v, size_t n, int8_t lo, int8_t hi, uint64_t *out);
    void (*range_i16)(const int16_t *v, size_t n, int16_t lo, int16_t hi, uint64_t *out);
    void (*range_i32)(const int32_t *v, size_t n, int32_t lo, int32_t hi, uint64_t *out);
    void (*range_i64)(const int64_t *v, size_t n, int64_t lo, int64_t hi, uint64_t *out);
    void (*range_f32)(const float *v, size_t n, float lo, float hi, uint64_t *out);
    void (*range_f64)(const double *v, size_t n, double lo, double hi, uint64_t *out);
    /* membership of a non-negative code in a set given as bits; codes >= set_size do not match */
    void (*member_i8)(const int8_t *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out);
    void (*member_i16)(const int16_t *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out);
    void (*member_i32)(const int32_t *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out);
    /* counting without a bitmap: rows in range whose bit in `mask` (NULL: all) is set */
    uint64_t (*count_range_i8)(const int8_t *v, size_t n, int8_t lo, int8_t hi, const uint64_t *mask);
    uint64_t (*count_range_i16)(const int16_t *v, size_t n, int16_t lo, int16_t hi, const uint64_t *mask);
    uint64_t (*count_range_i32)(const int32_t *v, size_t n, int32_t lo, int32_t hi, const uint64_t *mask);
    uint64_t (*count_range_i64)(const int64_t *v, size_t n, int64_t lo, int64_t hi, const uint64_t *mask);
    uint64_t (*count_range_f64)(const double *v, size_t n, double lo, double hi, const uint64_t *mask);

    /* bitmaps; out may be a or b */
    void (*bits_and)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words);
    void (*bits_and_not)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words); /* a & ~b */
    void (*bits_or)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words);
    void (*bits_not)(uint64_t *out, const uint64_t *a, size_t words);
    uint64_t (*bits_count)(const uint64_t *a, size_t words);
    /* Writes base + i for every set bit i, ascending; out needs room for the count; returns it. */
    size_t (*bits_to_ids)(const uint64_t *a, size_t words, uint32_t base, uint32_t *out);

    /* deltas on one vector; indices strictly ascending and < n (validated by the caller); inputs do not overlap v */
    void (*sparse_f32)(float *v, const uint32_t *indices, const float *values, size_t count,
                       enum simd_sparse_mode mode);
    void (*add_f32)(float *v, const float *delta, size_t n);
    void (*scale_f32)(float *v, float factor, size_t n);
    void (*offset_f32)(float *v, float amount, size_t n);
};

extern const struct simd_kernels simd_scalar;
#if defined(__x86_64__)
extern const struct simd_kernels simd_avx2;
extern const struct simd_kernels simd_avx512;
#endif
#if defined(__wasm_simd128__) || defined(VELTA_SIMDE)
extern const struct simd_kernels simd_wasm128;
#endif
#if defined(VELTA_RELAXED_SIMD) || defined(VELTA_SIMDE)
extern const struct simd_kernels simd_wasm_relaxed;
#endif

/* Brings the lines of [from, from + size_bytes) near; a hint natively, loads in WebAssembly, which has no hint. */
static inline void simd_touch(const void *from, size_t size_bytes) {
    for (size_t at = 0; at < size_bytes; at += 64) {
#if defined(__wasm__)
        (void)*((const volatile uint8_t *)from + at);
#else
        __builtin_prefetch((const uint8_t *)from + at);
#endif
    }
}

/*
 * The best set that this machine runs, or the one `forced` names (NULL or "": none forced; the native host passes the
 * environment variable VELTA_SIMD). NULL when the forced name is unknown or cannot run here.
 */
const struct simd_kernels *simd_select(const char *forced);
/* The sets that can run here, for tests: index 0.. until NULL. */
const struct simd_kernels *simd_available(unsigned index);

#endif
