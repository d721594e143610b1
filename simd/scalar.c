/*
 * The definition of every kernel, in plain C. What the other sets return is what this file returns, bit for bit
 * (payloads of NaN aside); where a result could depend on an order of operations, the order written here is the
 * contract, and it was chosen so that vectors of 4, 8 or 16 lanes can all keep it:
 *
 *  - float sums: 16 lanes that start at +0; element i is multiplied, rounded, and added to lane i % 16; lane j takes
 *    lane j + 8, then j + 4, j + 2, j + 1. Tail elements keep their lanes. Because a lane never holds -0, adding +0 for
 *    a missing element changes nothing, which is what masked loads of other sets do.
 *  - double sums: the same with 8 lanes by the row's absolute index.
 *
 * Compiled without contraction; the compiler may vectorise, since lanes leave it no freedom to reorder.
 */
#include "simd/loops.h"
#include "simd/simd.h"

enum { SCALAR_LANES = 16, SCALAR_BLOCK_ROWS = 4 };

static float scalar_fold(float *lanes) {
    for (size_t half = SCALAR_LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

static inline float scalar_step_dot(float sum, float a, float b) {
    return sum + a * b;
}

static inline float scalar_step_l2(float sum, float a, float b) {
    return sum + (a - b) * (a - b);
}

#define SCALAR_FLOAT(row, i) (row)[i]
#define SCALAR_HALF(row, i) loop_f16_to_f32_one(loop_load_u16(row, i))

#define SCALAR_DISTANCE(NAME, ROW, LOAD, STEP)                                                                         \
    static float scalar_##NAME(const float *a, const ROW *b, size_t n) {                                               \
        float lanes[SCALAR_LANES] = {0};                                                                               \
        size_t i = 0;                                                                                                  \
        for (; i + SCALAR_LANES <= n; i += SCALAR_LANES)                                                               \
            for (size_t j = 0; j < SCALAR_LANES; j++)                                                                  \
                lanes[j] = STEP(lanes[j], a[i + j], LOAD(b, i + j));                                                   \
        for (size_t j = 0; i + j < n; j++)                                                                             \
            lanes[j] = STEP(lanes[j], a[i + j], LOAD(b, i + j));                                                       \
        return scalar_fold(lanes);                                                                                     \
    }
SCALAR_DISTANCE(dot_f32, float, SCALAR_FLOAT, scalar_step_dot)
SCALAR_DISTANCE(l2_f32, float, SCALAR_FLOAT, scalar_step_l2)
SCALAR_DISTANCE(dot_f16, uint16_t, SCALAR_HALF, scalar_step_dot)
SCALAR_DISTANCE(l2_f16, uint16_t, SCALAR_HALF, scalar_step_l2)

static void scalar_cosine_f32(const float *a, const float *b, size_t n, float *dot, float *aa, float *bb) {
    *dot = scalar_dot_f32(a, b, n);
    *aa = scalar_dot_f32(a, a, n);
    *bb = scalar_dot_f32(b, b, n);
}

static void scalar_prefetch(const void *row, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += LOOP_LINE_BYTES)
        __builtin_prefetch((const char *)row + i);
}

/* One row at a time, with the row four places ahead on its way: blocking gains nothing without wide registers. */
#define SCALAR_ROWS(NAME, QUERY, ROW, RESULT)                                                                          \
    static void scalar_##NAME##_rows(const QUERY *query, const ROW *const *rows, size_t count, size_t n,               \
                                     RESULT *out) {                                                                    \
        for (size_t i = 0; i < count && i < SCALAR_BLOCK_ROWS; i++)                                                    \
            scalar_prefetch(rows[i], n * sizeof(ROW));                                                                 \
        for (size_t i = 0; i < count; i++) {                                                                           \
            if (i + SCALAR_BLOCK_ROWS < count) scalar_prefetch(rows[i + SCALAR_BLOCK_ROWS], n * sizeof(ROW));          \
            out[i] = scalar_##NAME(query, rows[i], n);                                                                 \
        }                                                                                                              \
    }
SCALAR_ROWS(dot_f32, float, float, float)
SCALAR_ROWS(l2_f32, float, float, float)
SCALAR_ROWS(dot_f16, float, uint16_t, float)
SCALAR_ROWS(l2_f16, float, uint16_t, float)

static int32_t scalar_dot_codes(const int8_t *query, const uint8_t *row, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += query[i] * row[i];
    return sum;
}
SCALAR_ROWS(dot_codes, int8_t, uint8_t, int32_t)

static uint32_t scalar_sum_codes(const uint8_t *row, size_t n) {
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += row[i];
    return sum;
}

static void scalar_min_max_f32(const float *v, size_t n, float *min, float *max) {
    float low = v[0];
    float high = v[0];
    for (size_t i = 1; i < n; i++) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    *min = low + 0.0F; /* of -0 and +0 the order of visits would decide: both are given as +0 */
    *max = high + 0.0F;
}

#define SCALAR_WORD(SUFFIX, TYPE)                                                                                      \
    static inline uint64_t scalar_word_##SUFFIX(const TYPE *v, TYPE lo, TYPE hi) {                                     \
        return loop_range_word_##SUFFIX(v, LOOP_WORD_BITS, lo, hi);                                                    \
    }
SCALAR_WORD(i8, int8_t)
SCALAR_WORD(i16, int16_t)
SCALAR_WORD(i32, int32_t)
SCALAR_WORD(i64, int64_t)
SCALAR_WORD(f32, float)
SCALAR_WORD(f64, double)
LOOP_RANGES(scalar)

#define SCALAR_MEMBER(SUFFIX, TYPE)                                                                                    \
    static void scalar_member_##SUFFIX(const TYPE *v, size_t n, const uint64_t *set, uint32_t set_size,                \
                                       uint64_t *out) {                                                                \
        for (size_t i = 0; i < n; i += LOOP_WORD_BITS) {                                                               \
            size_t count = n - i < LOOP_WORD_BITS ? n - i : LOOP_WORD_BITS;                                            \
            out[i / LOOP_WORD_BITS] = loop_member_word_##SUFFIX(v + i, count, set, set_size);                          \
        }                                                                                                              \
    }
SCALAR_MEMBER(i8, int8_t)
SCALAR_MEMBER(i16, int16_t)
SCALAR_MEMBER(i32, int32_t)

static void scalar_bits_and(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words) {
    for (size_t i = 0; i < words; i++)
        out[i] = a[i] & b[i];
}

static void scalar_bits_and_not(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words) {
    for (size_t i = 0; i < words; i++)
        out[i] = a[i] & ~b[i];
}

static void scalar_bits_or(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words) {
    for (size_t i = 0; i < words; i++)
        out[i] = a[i] | b[i];
}

static void scalar_bits_not(uint64_t *out, const uint64_t *a, size_t words) {
    for (size_t i = 0; i < words; i++)
        out[i] = ~a[i];
}

static size_t scalar_bits_to_ids(const uint64_t *a, size_t words, uint32_t base, uint32_t *out) {
    uint32_t *next = out;
    for (size_t i = 0; i < words; i++)
        next = loop_word_to_ids(a[i], base + (uint32_t)(i * LOOP_WORD_BITS), next);
    return (size_t)(next - out);
}

const struct simd_kernels simd_scalar = {
    .name = "scalar",
    .dot_f32 = scalar_dot_f32,
    .l2_f32 = scalar_l2_f32,
    .cosine_f32 = scalar_cosine_f32,
    .dot_f16 = scalar_dot_f16,
    .l2_f16 = scalar_l2_f16,
    .f16_to_f32 = loop_f16_to_f32,
    .f32_to_f16 = loop_f32_to_f16,
    .dot_f32_rows = scalar_dot_f32_rows,
    .l2_f32_rows = scalar_l2_f32_rows,
    .dot_f16_rows = scalar_dot_f16_rows,
    .l2_f16_rows = scalar_l2_f16_rows,
    .dot_codes = scalar_dot_codes,
    .dot_codes_rows = scalar_dot_codes_rows,
    .sum_codes = scalar_sum_codes,
    .encode_codes = loop_encode_codes,
    .min_max_f32 = scalar_min_max_f32,
    .all_finite_f32 = loop_all_finite_f32,
    .hamming = loop_hamming,
    .range_i8 = scalar_range_i8,
    .range_i16 = scalar_range_i16,
    .range_i32 = scalar_range_i32,
    .range_i64 = scalar_range_i64,
    .range_f32 = scalar_range_f32,
    .range_f64 = scalar_range_f64,
    .member_i8 = scalar_member_i8,
    .member_i16 = scalar_member_i16,
    .member_i32 = scalar_member_i32,
    .count_range_i8 = scalar_count_range_i8,
    .count_range_i16 = scalar_count_range_i16,
    .count_range_i32 = scalar_count_range_i32,
    .count_range_i64 = scalar_count_range_i64,
    .count_range_f64 = scalar_count_range_f64,
    .bits_and = scalar_bits_and,
    .bits_and_not = scalar_bits_and_not,
    .bits_or = scalar_bits_or,
    .bits_not = scalar_bits_not,
    .bits_count = loop_bits_count,
    .bits_to_ids = scalar_bits_to_ids,
    .sparse_f32 = loop_sparse_f32,
    .add_f32 = loop_add_f32,
    .scale_f32 = loop_scale_f32,
    .offset_f32 = loop_offset_f32,
};
