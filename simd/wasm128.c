/*
 * Kernels for WebAssembly SIMD128 (the plain set, in every engine of today). Tests also build this file natively, where
 * SIMDe provides the intrinsics, so that it runs under sanitizers; elsewhere it is empty.
 *
 * The sixteen lanes of the float definition are four registers. There is no byte dot product: codes are taken as pairs
 * in 16 bits, and one trick saves the second unpacking (see wasm128_load_query). There is no prefetch either: a byte
 * of each line is loaded and not used, which starts the misses of many lines side by side.
 *
 * simd/wasm_relaxed.c compiles this file a second time, with the byte dot product that relaxed SIMD has.
 */
#if defined(__wasm_simd128__) || defined(VELTA_SIMDE)
#include "simd/byte_places.h"
#include "simd/loops.h"
#include "simd/simd.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#else
#include <simde/wasm/simd128.h>
#endif

enum { WASM128_FLOAT_ROWS_AHEAD = 4 };
enum { WASM128_LANES = 16, WASM128_BYTES = 16, WASM128_QUARTERS = 4 };

struct wasm128_lanes {
    v128_t part[WASM128_QUARTERS];
};

static inline struct wasm128_lanes wasm128_zero(void) {
    v128_t zero = wasm_f32x4_splat(0.0F);
    return (struct wasm128_lanes){{zero, zero, zero, zero}};
}

static inline float wasm128_fold(struct wasm128_lanes sum) {
    v128_t low = wasm_f32x4_add(sum.part[0], sum.part[2]);
    v128_t high = wasm_f32x4_add(sum.part[1], sum.part[3]);
    v128_t four = wasm_f32x4_add(low, high);
    v128_t two = wasm_f32x4_add(four, wasm_i32x4_shuffle(four, four, 2, 3, 2, 3));
    return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1);
}

static inline v128_t wasm128_step_dot(v128_t sum, v128_t a, v128_t b) {
    return wasm_f32x4_add(sum, wasm_f32x4_mul(a, b));
}

static inline v128_t wasm128_step_l2(v128_t sum, v128_t a, v128_t b) {
    v128_t difference = wasm_f32x4_sub(a, b);
    return wasm_f32x4_add(sum, wasm_f32x4_mul(difference, difference));
}

static inline v128_t wasm128_load_float(const float *from) {
    return wasm_v128_load(from);
}

/* As loop_f16_to_f32_one: sign, exponent and fraction moved into place, times 2^112, infinity and NaN mended. */
static inline v128_t wasm128_load_half(const uint16_t *from) {
    v128_t moved = wasm_i32x4_shl(wasm_i32x4_load16x4(from), 13);
    v128_t value = wasm_v128_and(moved, wasm_i32x4_splat((int32_t)0x8fffe000));
    value = wasm_f32x4_mul(value, wasm_f32x4_splat(0x1p112F));
    v128_t special = wasm_f32x4_ge(wasm_f32x4_abs(value), wasm_f32x4_splat(65536.0F));
    return wasm_v128_or(value, wasm_v128_and(special, wasm_i32x4_splat(0x7f800000)));
}

/* One byte of every line: volatile, so that the loads stay although nothing uses them. */
static inline void wasm128_touch(const void *row, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += LOOP_LINE_BYTES)
        (void)*((const volatile uint8_t *)row + i);
}

/*
 * Two rows at a time is what sixteen registers hold: 8 sums, the query, and what is being multiplied. Tails are copied
 * to where zeros follow.
 */
#define WASM128_DISTANCE(NAME, ROW, KIND, STEP)                                                                        \
    static inline void wasm128_##NAME##_step(struct wasm128_lanes *sum, const float *a, const ROW *b) {                \
        for (size_t j = 0; j < WASM128_QUARTERS; j++)                                                                  \
            sum->part[j] = STEP(sum->part[j], wasm128_load_float(a + 4 * j), wasm128_load_##KIND(b + 4 * j));          \
    }                                                                                                                  \
    static inline void wasm128_##NAME##_tail(struct wasm128_lanes *sum, const float *a, const ROW *b, size_t count) {  \
        float query[WASM128_LANES] = {0};                                                                              \
        ROW row[WASM128_LANES] = {0};                                                                                  \
        memcpy(query, a, count * sizeof *a);                                                                           \
        memcpy(row, b, count * sizeof *b);                                                                             \
        wasm128_##NAME##_step(sum, query, row);                                                                        \
    }                                                                                                                  \
    static float wasm128_##NAME(const float *a, const ROW *b, size_t n) {                                              \
        struct wasm128_lanes sum = wasm128_zero();                                                                     \
        size_t i = 0;                                                                                                  \
        for (; i + WASM128_LANES <= n; i += WASM128_LANES)                                                             \
            wasm128_##NAME##_step(&sum, a + i, b + i);                                                                 \
        if (i < n) wasm128_##NAME##_tail(&sum, a + i, b + i, n - i);                                                   \
        return wasm128_fold(sum);                                                                                      \
    }                                                                                                                  \
    static inline void wasm128_##NAME##_two(const float *query, const ROW *r0, const ROW *r1, size_t n, float *out) {  \
        struct wasm128_lanes s0 = wasm128_zero(), s1 = s0;                                                             \
        size_t i = 0;                                                                                                  \
        for (; i + WASM128_LANES <= n; i += WASM128_LANES)                                                             \
            for (size_t j = 0; j < WASM128_QUARTERS; j++) {                                                            \
                v128_t q = wasm128_load_float(query + i + 4 * j);                                                      \
                s0.part[j] = STEP(s0.part[j], q, wasm128_load_##KIND(r0 + i + 4 * j));                                 \
                s1.part[j] = STEP(s1.part[j], q, wasm128_load_##KIND(r1 + i + 4 * j));                                 \
            }                                                                                                          \
        if (i < n) {                                                                                                   \
            wasm128_##NAME##_tail(&s0, query + i, r0 + i, n - i);                                                      \
            wasm128_##NAME##_tail(&s1, query + i, r1 + i, n - i);                                                      \
        }                                                                                                              \
        out[0] = wasm128_fold(s0);                                                                                     \
        out[1] = wasm128_fold(s1);                                                                                     \
    }                                                                                                                  \
    LOOP_INLINE void wasm128_##NAME##_four(const float *query, const ROW *const *rows, const ROW *const *ahead,        \
                                           size_t n, float *out) {                                                     \
        for (size_t j = 0; ahead != NULL && j < LOOP_ROWS_AT_ONCE; j++)                                                \
            wasm128_touch(ahead[j], n * sizeof(ROW));                                                                  \
        wasm128_##NAME##_two(query, rows[0], rows[1], n, out);                                                         \
        wasm128_##NAME##_two(query, rows[2], rows[3], n, out + 2);                                                     \
    }                                                                                                                  \
    LOOP_ROWS(wasm128, NAME, float, ROW, float, WASM128_FLOAT_ROWS_AHEAD)

WASM128_DISTANCE(dot_f32, float, float, wasm128_step_dot)
WASM128_DISTANCE(l2_f32, float, float, wasm128_step_l2)
WASM128_DISTANCE(dot_f16, uint16_t, half, wasm128_step_dot)
WASM128_DISTANCE(l2_f16, uint16_t, half, wasm128_step_l2)

static void wasm128_cosine_f32(const float *a, const float *b, size_t n, float *dot, float *aa, float *bb) {
    *dot = wasm128_dot_f32(a, b, n);
    *aa = wasm128_dot_f32(a, a, n);
    *bb = wasm128_dot_f32(b, b, n);
}

static void wasm128_f16_to_f32(const uint16_t *from, float *to, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        wasm_v128_store(to + i, wasm128_load_half(from + i));
    loop_f16_to_f32(from + i, to + i, n - i);
}

static inline int32_t wasm128_fold_i32(v128_t sum) {
    v128_t two = wasm_i32x4_add(sum, wasm_i32x4_shuffle(sum, sum, 2, 3, 2, 3));
    return wasm_i32x4_extract_lane(wasm_i32x4_add(two, wasm_i32x4_shuffle(two, two, 1, 1, 1, 1)), 0);
}

#if defined(WASM128_RELAXED)
/*
 * The dot product of sixteen bytes; exact on every engine, because the codes are below 128. These functions alone are
 * compiled for relaxed SIMD: elsewhere the compiler would take relaxed minima, which differ between engines.
 */
#if defined(__wasm_simd128__)
#pragma clang attribute push(__attribute__((target("relaxed-simd"))), apply_to = function)
#endif
enum { WASM128_CODES_AT_ONCE = 1 << 16, WASM128_CODES_SHIFT = 0 };
typedef v128_t wasm128_query;

static inline wasm128_query wasm128_load_query(const int8_t *query) {
    return wasm_v128_load(query);
}

static inline v128_t wasm128_step_codes(v128_t sum, wasm128_query q, const uint8_t *row) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(q, wasm_v128_load(row), sum);
}
#else
/*
 * Sixteen query bytes, seen as eight pairs (even, odd), made ready for rows seen likewise. A row's pair as 16 bits is
 * x = even + 256 odd, so with qe, qo the query's bytes
 *     even (256 qe - qo) + x qo = 256 (even qe + odd qo):
 * two multiplications by `first` and `second`, and only the even bytes need a mask. All factors fit 16 bits (codes are
 * below 128, |q| is at most 127). A lane takes a quarter of the elements, so over 2,048 of them its sum stays below
 * 512 * 127 * 127 * 256 < 2^31 and is divided exactly by a shift; what wraps in between does not matter.
 */
typedef struct {
    v128_t first, second;
} wasm128_query;

enum { WASM128_CODES_AT_ONCE = 2048, WASM128_CODES_SHIFT = 8 };

static inline wasm128_query wasm128_load_query(const int8_t *query) {
    v128_t q = wasm_v128_load(query);
    v128_t odd = wasm_i16x8_shr(q, 8);
    return (wasm128_query){wasm_i16x8_sub(wasm_i16x8_shl(q, 8), odd), odd};
}

static inline v128_t wasm128_step_codes(v128_t sum, wasm128_query q, const uint8_t *row) {
    v128_t x = wasm_v128_load(row);
    v128_t even = wasm_v128_and(x, wasm_i16x8_splat(0xff));
    return wasm_i32x4_add(wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(even, q.first)), wasm_i32x4_dot_i16x8(x, q.second));
}
#endif

static inline size_t wasm128_codes_end(size_t from, size_t n) {
    return n - from < WASM128_CODES_AT_ONCE ? n : from + WASM128_CODES_AT_ONCE;
}

static int32_t wasm128_dot_codes(const int8_t *query, const uint8_t *row, size_t n) {
    v128_t total = wasm_i32x4_splat(0);
    for (size_t i = 0; i < n;) {
        v128_t s0 = wasm_i32x4_splat(0), s1 = s0;
        for (size_t end = wasm128_codes_end(i, n); i < end; i += 2 * WASM128_BYTES) {
            s0 = wasm128_step_codes(s0, wasm128_load_query(query + i), row + i);
            s1 = wasm128_step_codes(s1, wasm128_load_query(query + i + WASM128_BYTES), row + i + WASM128_BYTES);
        }
        total = wasm_i32x4_add(total, wasm_i32x4_shr(wasm_i32x4_add(s0, s1), WASM128_CODES_SHIFT));
    }
    return wasm128_fold_i32(total);
}

/* The sums of four registers of four lanes each. */
static inline v128_t wasm128_fold_four(v128_t t0, v128_t t1, v128_t t2, v128_t t3) {
    v128_t t01 = wasm_i32x4_add(wasm_i32x4_shuffle(t0, t1, 0, 4, 1, 5), wasm_i32x4_shuffle(t0, t1, 2, 6, 3, 7));
    v128_t t23 = wasm_i32x4_add(wasm_i32x4_shuffle(t2, t3, 0, 4, 1, 5), wasm_i32x4_shuffle(t2, t3, 2, 6, 3, 7));
    return wasm_i32x4_add(wasm_i32x4_shuffle(t01, t23, 0, 1, 4, 5), wasm_i32x4_shuffle(t01, t23, 2, 3, 6, 7));
}

#define WASM128_STEP(J) s##J = wasm128_step_codes(s##J, q, r##J + i);
#define WASM128_TAKE(J) t##J = wasm_i32x4_add(t##J, wasm_i32x4_shr(s##J, WASM128_CODES_SHIFT));

static inline void wasm128_dot_codes_four(const int8_t *query, const uint8_t *const *rows, size_t n, int32_t *out) {
    const uint8_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    v128_t zero = wasm_i32x4_splat(0);
    v128_t t0 = zero, t1 = zero, t2 = zero, t3 = zero;
    for (size_t i = 0; i < n;) {
        v128_t s0 = zero, s1 = zero, s2 = zero, s3 = zero;
        for (size_t end = wasm128_codes_end(i, n); i < end; i += WASM128_BYTES) {
            wasm128_query q = wasm128_load_query(query + i);
            WASM128_STEP(0) WASM128_STEP(1) WASM128_STEP(2) WASM128_STEP(3)
        }
        WASM128_TAKE(0) WASM128_TAKE(1) WASM128_TAKE(2) WASM128_TAKE(3)
    }
    wasm_v128_store(out, wasm128_fold_four(t0, t1, t2, t3));
}

/*
 * Codes are not touched here: the index does it for a whole hop or batch at once, with what follows the codes. A load
 * that misses holds up all that comes after it, so touching between computing gains nothing and costs time.
 */
static void wasm128_dot_codes_rows(const int8_t *query, const uint8_t *const *rows, size_t count, size_t n,
                                   int32_t *out) {
    size_t i = 0;
    for (; i + LOOP_ROWS_AT_ONCE <= count; i += LOOP_ROWS_AT_ONCE)
        wasm128_dot_codes_four(query, rows + i, n, out + i);
    if (count - i == 1) {
        out[i] = wasm128_dot_codes(query, rows[i], n);
    } else if (i < count) { /* padded with a row at hand */
        const uint8_t *last[LOOP_ROWS_AT_ONCE];
        int32_t results[LOOP_ROWS_AT_ONCE];
        for (size_t j = 0; j < LOOP_ROWS_AT_ONCE; j++)
            last[j] = rows[i + j < count ? i + j : i];
        wasm128_dot_codes_four(query, last, n, results);
        memcpy(out + i, results, (count - i) * sizeof *out);
    }
}
#if defined(WASM128_RELAXED) && defined(__wasm_simd128__)
#pragma clang attribute pop
#endif

static uint32_t wasm128_sum_codes(const uint8_t *row, size_t n) {
    v128_t sum = wasm_i32x4_splat(0);
    for (size_t i = 0; i < n; i += WASM128_BYTES) {
        v128_t pairs = wasm_u16x8_extadd_pairwise_u8x16(wasm_v128_load(row + i));
        sum = wasm_i32x4_add(sum, wasm_u32x4_extadd_pairwise_u16x8(pairs));
    }
    return (uint32_t)wasm128_fold_i32(sum);
}

/* wasm's pmax(a, b) is a < b ? b : a, so NaN in b gives a. */
static inline v128_t wasm128_codes_of(const float *v, v128_t low, v128_t factor) {
    v128_t scaled = wasm_f32x4_mul(wasm_f32x4_sub(wasm_v128_load(v), low), factor);
    scaled = wasm_f32x4_pmax(wasm_f32x4_splat(0.0F), scaled);
    scaled = wasm_f32x4_pmin(wasm_f32x4_splat(127.0F), scaled);
    return wasm_v128_and(wasm_f32x4_add(scaled, wasm_f32x4_splat(0x1p23F)), wasm_i32x4_splat(0x7f));
}

static void wasm128_encode_codes(const float *v, size_t n, float lo, float inverse_step, uint8_t *codes) {
    v128_t low = wasm_f32x4_splat(lo);
    v128_t factor = wasm_f32x4_splat(inverse_step);
    size_t i = 0;
    for (; i + WASM128_BYTES <= n; i += WASM128_BYTES) {
        v128_t a =
            wasm_i16x8_narrow_i32x4(wasm128_codes_of(v + i, low, factor), wasm128_codes_of(v + i + 4, low, factor));
        v128_t b = wasm_i16x8_narrow_i32x4(wasm128_codes_of(v + i + 8, low, factor),
                                           wasm128_codes_of(v + i + 12, low, factor));
        wasm_v128_store(codes + i, wasm_u8x16_narrow_i16x8(a, b));
    }
    loop_encode_codes(v + i, n - i, lo, inverse_step, codes + i);
}

static void wasm128_min_max_f32(const float *v, size_t n, float *min, float *max) {
    /* Four of each, so that they do not wait for each other. */
    v128_t low = wasm_f32x4_splat(v[0]), low1 = low, low2 = low, low3 = low;
    v128_t high = low, high1 = low, high2 = low, high3 = low;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v128_t a = wasm_v128_load(v + i), b = wasm_v128_load(v + i + 4);
        v128_t c = wasm_v128_load(v + i + 8), d = wasm_v128_load(v + i + 12);
        low = wasm_f32x4_pmin(low, a), high = wasm_f32x4_pmax(high, a);
        low1 = wasm_f32x4_pmin(low1, b), high1 = wasm_f32x4_pmax(high1, b);
        low2 = wasm_f32x4_pmin(low2, c), high2 = wasm_f32x4_pmax(high2, c);
        low3 = wasm_f32x4_pmin(low3, d), high3 = wasm_f32x4_pmax(high3, d);
    }
    low = wasm_f32x4_pmin(wasm_f32x4_pmin(low, low1), wasm_f32x4_pmin(low2, low3));
    high = wasm_f32x4_pmax(wasm_f32x4_pmax(high, high1), wasm_f32x4_pmax(high2, high3));
    for (; i + 4 <= n; i += 4) {
        v128_t value = wasm_v128_load(v + i);
        low = wasm_f32x4_pmin(low, value);
        high = wasm_f32x4_pmax(high, value);
    }
    low = wasm_f32x4_pmin(low, wasm_i32x4_shuffle(low, low, 2, 3, 2, 3));
    low = wasm_f32x4_pmin(low, wasm_i32x4_shuffle(low, low, 1, 1, 1, 1));
    high = wasm_f32x4_pmax(high, wasm_i32x4_shuffle(high, high, 2, 3, 2, 3));
    high = wasm_f32x4_pmax(high, wasm_i32x4_shuffle(high, high, 1, 1, 1, 1));
    float least = wasm_f32x4_extract_lane(low, 0);
    float most = wasm_f32x4_extract_lane(high, 0);
    for (; i < n; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    *min = least + 0.0F;
    *max = most + 0.0F;
}

/*
 * Filters on integers: with the value moved so that `lo` becomes the least of its type, one comparison tells what is
 * above `hi`, and what was below `lo` has come round to be above as well. The range must not be empty.
 */
/* The bits of sixteen lanes of 32 bits, all ones or zeros each. */
static inline uint64_t wasm128_bits_of_lanes(v128_t a, v128_t b, v128_t c, v128_t d) {
    v128_t bytes = wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(a, b), wasm_i16x8_narrow_i32x4(c, d));
    return (uint64_t)wasm_i8x16_bitmask(bytes) & 0xffff;
}

#define WASM128_MOVED(SUFFIX, TYPE, UNSIGNED, BITS, LANES)                                                             \
    static inline v128_t wasm128_outside_##SUFFIX(const TYPE *v, TYPE lo, TYPE hi) {                                   \
        const UNSIGNED least = (UNSIGNED)((UNSIGNED)1 << (BITS - 1));                                                  \
        v128_t move = wasm_##LANES##_splat((TYPE)(UNSIGNED)(least - (UNSIGNED)lo));                                    \
        v128_t most = wasm_##LANES##_splat((TYPE)(UNSIGNED)(least + (UNSIGNED)hi - (UNSIGNED)lo));                     \
        return wasm_##LANES##_gt(wasm_##LANES##_add(wasm_v128_load(v), move), most);                                   \
    }
WASM128_MOVED(i8, int8_t, uint8_t, 8, i8x16)
WASM128_MOVED(i16, int16_t, uint16_t, 16, i16x8)
WASM128_MOVED(i32, int32_t, uint32_t, 32, i32x4)
WASM128_MOVED(i64, int64_t, uint64_t, 64, i64x2)

static inline uint64_t wasm128_part_i8(const int8_t *v, int8_t lo, int8_t hi) {
    return (uint64_t)(wasm_i8x16_bitmask(wasm128_outside_i8(v, lo, hi)) ^ 0xffff);
}

static inline uint64_t wasm128_part_i16(const int16_t *v, int16_t lo, int16_t hi) {
    v128_t outside = wasm_i8x16_narrow_i16x8(wasm128_outside_i16(v, lo, hi), wasm128_outside_i16(v + 8, lo, hi));
    return (uint64_t)(wasm_i8x16_bitmask(outside) ^ 0xffff);
}

static inline uint64_t wasm128_part_i32(const int32_t *v, int32_t lo, int32_t hi) {
    return wasm128_bits_of_lanes(wasm128_outside_i32(v, lo, hi), wasm128_outside_i32(v + 4, lo, hi),
                                 wasm128_outside_i32(v + 8, lo, hi), wasm128_outside_i32(v + 12, lo, hi)) ^
           0xffff;
}

/* Four lanes of 64 bits narrowed to 32. */
static inline v128_t wasm128_four_outside_i64(const int64_t *v, int64_t lo, int64_t hi) {
    return wasm_i32x4_shuffle(wasm128_outside_i64(v, lo, hi), wasm128_outside_i64(v + 2, lo, hi), 0, 2, 4, 6);
}

static inline uint64_t wasm128_part_i64(const int64_t *v, int64_t lo, int64_t hi) {
    return wasm128_bits_of_lanes(wasm128_four_outside_i64(v, lo, hi), wasm128_four_outside_i64(v + 4, lo, hi),
                                 wasm128_four_outside_i64(v + 8, lo, hi), wasm128_four_outside_i64(v + 12, lo, hi)) ^
           0xffff;
}

/* Filter parts of floats: sixteen elements to bits, from lanes narrowed to bytes. */
static inline v128_t wasm128_inside_f32(const float *v, float lo, float hi) {
    v128_t x = wasm_v128_load(v);
    return wasm_v128_and(wasm_f32x4_ge(x, wasm_f32x4_splat(lo)), wasm_f32x4_le(x, wasm_f32x4_splat(hi)));
}

static inline uint64_t wasm128_part_f32(const float *v, float lo, float hi) {
    return wasm128_bits_of_lanes(wasm128_inside_f32(v, lo, hi), wasm128_inside_f32(v + 4, lo, hi),
                                 wasm128_inside_f32(v + 8, lo, hi), wasm128_inside_f32(v + 12, lo, hi));
}

static inline v128_t wasm128_inside_f64(const double *v, double lo, double hi) {
    v128_t low = wasm_f64x2_splat(lo);
    v128_t high = wasm_f64x2_splat(hi);
    v128_t x = wasm_v128_load(v);
    v128_t y = wasm_v128_load(v + 2);
    v128_t a = wasm_v128_and(wasm_f64x2_ge(x, low), wasm_f64x2_le(x, high));
    v128_t b = wasm_v128_and(wasm_f64x2_ge(y, low), wasm_f64x2_le(y, high));
    return wasm_i32x4_shuffle(a, b, 0, 2, 4, 6);
}

static inline uint64_t wasm128_part_f64(const double *v, double lo, double hi) {
    return wasm128_bits_of_lanes(wasm128_inside_f64(v, lo, hi), wasm128_inside_f64(v + 4, lo, hi),
                                 wasm128_inside_f64(v + 8, lo, hi), wasm128_inside_f64(v + 12, lo, hi));
}

LOOP_WORD_OF_PARTS(wasm128, i8, int8_t, 16)
LOOP_WORD_OF_PARTS(wasm128, i16, int16_t, 16)
LOOP_WORD_OF_PARTS(wasm128, i32, int32_t, 16)
LOOP_WORD_OF_PARTS(wasm128, i64, int64_t, 16)
LOOP_WORD_OF_PARTS(wasm128, f32, float, 16)
LOOP_WORD_OF_PARTS(wasm128, f64, double, 16)
LOOP_RANGE(wasm128, f32, float, wasm128_word_f32)
LOOP_RANGE(wasm128, f64, double, wasm128_word_f64)
LOOP_COUNT_RANGE(wasm128, f64, double, wasm128_word_f64)

/* The lanes of a register of counts, summed. */
static inline uint64_t wasm128_total_i64(v128_t counts) {
    return (uint64_t)wasm_i64x2_extract_lane(counts, 0) + (uint64_t)wasm_i64x2_extract_lane(counts, 1);
}
static inline uint64_t wasm128_total_i32(v128_t counts) {
    v128_t low = wasm_u64x2_extend_low_u32x4(counts);
    return wasm128_total_i64(wasm_i64x2_add(low, wasm_u64x2_extend_high_u32x4(counts)));
}
static inline uint64_t wasm128_total_i16(v128_t counts) {
    return wasm128_total_i32(wasm_u32x4_extadd_pairwise_u16x8(counts));
}
static inline uint64_t wasm128_total_i8(v128_t counts) {
    return wasm128_total_i16(wasm_u16x8_extadd_pairwise_u8x16(counts));
}

/*
 * Counting makes no bits where there is no mask: lanes count what is outside, TURNS times at most, which is as often as
 * a lane can. Bitmaps and counts under a mask are made of words.
 */
#define WASM128_RANGE(SUFFIX, TYPE, LANES, TURNS)                                                                      \
    LOOP_RANGE(wasm128_full, SUFFIX, TYPE, wasm128_word_##SUFFIX)                                                      \
    LOOP_COUNT_RANGE(wasm128_masked, SUFFIX, TYPE, wasm128_word_##SUFFIX)                                              \
    static void wasm128_range_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi, uint64_t *out) {                     \
        if (lo <= hi)                                                                                                  \
            wasm128_full_range_##SUFFIX(v, n, lo, hi, out);                                                            \
        else                                                                                                           \
            memset(out, 0, (n + LOOP_WORD_BITS - 1) / LOOP_WORD_BITS * sizeof *out);                                   \
    }                                                                                                                  \
    static uint64_t wasm128_count_range_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi, const uint64_t *mask) {    \
        enum { LANE_COUNT = WASM128_BYTES / sizeof(TYPE), STEP = 4 * LANE_COUNT };                                     \
        if (lo > hi) return 0;                                                                                         \
        if (mask != NULL) return wasm128_masked_count_range_##SUFFIX(v, n, lo, hi, mask);                              \
        uint64_t outside = 0;                                                                                          \
        size_t i = 0;                                                                                                  \
        while (n - i >= STEP) {                                                                                        \
            size_t turns = (n - i) / STEP;                                                                             \
            size_t end = i + (turns < TURNS ? turns : TURNS) * STEP;                                                   \
            v128_t zero = wasm_i32x4_splat(0);                                                                         \
            v128_t c0 = zero, c1 = zero, c2 = zero, c3 = zero;                                                         \
            for (; i < end; i += STEP) {                                                                               \
                c0 = wasm_##LANES##_sub(c0, wasm128_outside_##SUFFIX(v + i, lo, hi));                                  \
                c1 = wasm_##LANES##_sub(c1, wasm128_outside_##SUFFIX(v + i + LANE_COUNT, lo, hi));                     \
                c2 = wasm_##LANES##_sub(c2, wasm128_outside_##SUFFIX(v + i + 2 * LANE_COUNT, lo, hi));                 \
                c3 = wasm_##LANES##_sub(c3, wasm128_outside_##SUFFIX(v + i + 3 * LANE_COUNT, lo, hi));                 \
            }                                                                                                          \
            outside += wasm128_total_##SUFFIX(c0) + wasm128_total_##SUFFIX(c1) + wasm128_total_##SUFFIX(c2) +          \
                       wasm128_total_##SUFFIX(c3);                                                                     \
        }                                                                                                              \
        return i - outside + loop_popcount(loop_range_word_##SUFFIX(v + i, n - i, lo, hi));                            \
    }
WASM128_RANGE(i8, int8_t, i8x16, 255)
WASM128_RANGE(i16, int16_t, i16x8, 65535)
WASM128_RANGE(i32, int32_t, i32x4, 1 << 30)
WASM128_RANGE(i64, int64_t, i64x2, 1 << 30)

enum { WASM128_BYTE_SET = 128, WASM128_TABLE_SET = 256 };

/* Of each byte's low three bits, the bit that they number. */
static inline v128_t wasm128_bit_of(v128_t codes) {
    v128_t bits = wasm_i8x16_const(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    return wasm_i8x16_swizzle(bits, wasm_v128_and(codes, wasm_i8x16_splat(7)));
}

/*
 * The 128 codes that a byte can be are a table of 16 bytes. A swizzle gives 0 for an index of 16 and above, which is
 * what negative bytes read as.
 */
static void wasm128_member_i8(const int8_t *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out) {
    uint64_t words[WASM128_BYTE_SET / LOOP_WORD_BITS];
    loop_set_table(set, set_size, WASM128_BYTE_SET, words);
    v128_t table = wasm_v128_load(words);
    for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {
        uint64_t word = 0;
        for (unsigned i = 0; i < LOOP_WORD_BITS; i += 16) {
            v128_t codes = wasm_v128_load(v + i);
            v128_t bytes = wasm_i8x16_swizzle(table, wasm_u8x16_shr(codes, 3));
            v128_t absent = wasm_i8x16_eq(wasm_v128_and(bytes, wasm128_bit_of(codes)), wasm_i8x16_splat(0));
            word |= (uint64_t)(wasm_i8x16_bitmask(absent) ^ 0xffff) << i;
        }
        *out++ = word;
    }
    if (n > 0) *out = loop_member_word_i8(v, n, set, set_size);
}

/* Lanes of ones where the byte's code (0..255) is in the table of 256 bits: one of its two halves answers. */
static inline v128_t wasm128_in_table(v128_t codes, v128_t low, v128_t high) {
    v128_t index = wasm_u8x16_shr(codes, 3);
    v128_t bytes = wasm_v128_or(wasm_i8x16_swizzle(low, index),
                                wasm_i8x16_swizzle(high, wasm_i8x16_sub(index, wasm_i8x16_splat(16))));
    v128_t bit = wasm128_bit_of(codes);
    return wasm_i8x16_eq(wasm_v128_and(bytes, bit), bit);
}

/* Sixteen codes of 16 bits; those of 256 and above, and negative ones, have a high byte. */
static inline uint64_t wasm128_member_table(v128_t a, v128_t b, v128_t low, v128_t high) {
    v128_t codes = wasm_i8x16_shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    v128_t above = wasm_i8x16_shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    v128_t small = wasm_i8x16_eq(above, wasm_i8x16_splat(0));
    return (uint64_t)wasm_i8x16_bitmask(wasm_v128_and(small, wasm128_in_table(codes, low, high)));
}

static inline uint64_t wasm128_member_part_i16(const int16_t *v, v128_t low, v128_t high) {
    return wasm128_member_table(wasm_v128_load(v), wasm_v128_load(v + 8), low, high);
}

/* Narrowing saturates, so what does not fit 16 bits stays negative or above 255. */
static inline uint64_t wasm128_member_part_i32(const int32_t *v, v128_t low, v128_t high) {
    return wasm128_member_table(wasm_i16x8_narrow_i32x4(wasm_v128_load(v), wasm_v128_load(v + 4)),
                                wasm_i16x8_narrow_i32x4(wasm_v128_load(v + 8), wasm_v128_load(v + 12)), low, high);
}

/* Larger sets are looked up bit by bit: there is no gather. */
#define WASM128_MEMBER(SUFFIX, TYPE)                                                                                   \
    static void wasm128_member_##SUFFIX(const TYPE *v, size_t n, const uint64_t *set, uint32_t set_size,               \
                                        uint64_t *out) {                                                               \
        if (set_size <= WASM128_TABLE_SET) {                                                                           \
            uint64_t table[WASM128_TABLE_SET / LOOP_WORD_BITS];                                                        \
            loop_set_table(set, set_size, WASM128_TABLE_SET, table);                                                   \
            v128_t low = wasm_v128_load(table);                                                                        \
            v128_t high = wasm_v128_load(table + 2);                                                                   \
            for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {                                    \
                uint64_t word = 0;                                                                                     \
                for (unsigned i = 0; i < LOOP_WORD_BITS; i += 16)                                                      \
                    word |= wasm128_member_part_##SUFFIX(v + i, low, high) << i;                                       \
                *out++ = word;                                                                                         \
            }                                                                                                          \
        }                                                                                                              \
        for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS)                                          \
            *out++ = loop_member_word_##SUFFIX(v, LOOP_WORD_BITS, set, set_size);                                      \
        if (n > 0) *out = loop_member_word_##SUFFIX(v, n, set, set_size);                                              \
    }
WASM128_MEMBER(i16, int16_t)
WASM128_MEMBER(i32, int32_t)

enum { WASM128_WORDS = 2 };

/* Loads precede the store of the same place, so `out` may be an input. */
#define WASM128_BITS(NAME, COMBINE, COMBINE_ONE)                                                                       \
    static void wasm128_##NAME(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words) {                    \
        size_t i = 0;                                                                                                  \
        for (; i + WASM128_WORDS <= words; i += WASM128_WORDS)                                                         \
            wasm_v128_store(out + i, COMBINE(wasm_v128_load(a + i), wasm_v128_load(b + i)));                           \
        if (i < words) out[i] = a[i] COMBINE_ONE b[i];                                                                 \
    }
WASM128_BITS(bits_and, wasm_v128_and, &)
WASM128_BITS(bits_and_not, wasm_v128_andnot, &~)
WASM128_BITS(bits_or, wasm_v128_or, |)

static void wasm128_bits_not(uint64_t *out, const uint64_t *a, size_t words) {
    size_t i = 0;
    for (; i + WASM128_WORDS <= words; i += WASM128_WORDS)
        wasm_v128_store(out + i, wasm_v128_not(wasm_v128_load(a + i)));
    if (i < words) out[i] = ~a[i];
}

static inline uint32_t *wasm128_word_to_ids(uint64_t word, uint32_t base, uint32_t *out) {
    for (unsigned i = 0; i < LOOP_WORD_BITS; i += 8) {
        uint8_t byte = (uint8_t)(word >> i);
        v128_t places = wasm_u16x8_load8x8(&simd_byte_places[byte]);
        v128_t first = wasm_i32x4_splat((int32_t)(base + i));
        wasm_v128_store(out, wasm_i32x4_add(first, wasm_u32x4_extend_low_u16x8(places)));
        wasm_v128_store(out + 4, wasm_i32x4_add(first, wasm_u32x4_extend_high_u16x8(places)));
        out += loop_popcount(byte);
    }
    return out;
}

static size_t wasm128_bits_to_ids(const uint64_t *a, size_t words, uint32_t base, uint32_t *out) {
    return loop_bits_to_ids(a, words, base, out, (size_t)loop_bits_count(a, words), wasm128_word_to_ids);
}

#if defined(WASM128_RELAXED)
const struct simd_kernels simd_wasm_relaxed = {
    .name = "wasm_relaxed",
#else
const struct simd_kernels simd_wasm128 = {
    .name = "wasm128",
#endif
    .dot_f32 = wasm128_dot_f32,
    .l2_f32 = wasm128_l2_f32,
    .cosine_f32 = wasm128_cosine_f32,
    .dot_f16 = wasm128_dot_f16,
    .l2_f16 = wasm128_l2_f16,
    .f16_to_f32 = wasm128_f16_to_f32,
    .f32_to_f16 = loop_f32_to_f16,
    .dot_f32_rows = wasm128_dot_f32_rows,
    .l2_f32_rows = wasm128_l2_f32_rows,
    .dot_f16_rows = wasm128_dot_f16_rows,
    .l2_f16_rows = wasm128_l2_f16_rows,
    .dot_codes = wasm128_dot_codes,
    .dot_codes_rows = wasm128_dot_codes_rows,
    .sum_codes = wasm128_sum_codes,
    .encode_codes = wasm128_encode_codes,
    .min_max_f32 = wasm128_min_max_f32,
    .all_finite_f32 = loop_all_finite_f32,
    .hamming = loop_hamming,
    .range_i8 = wasm128_range_i8,
    .range_i16 = wasm128_range_i16,
    .range_i32 = wasm128_range_i32,
    .range_i64 = wasm128_range_i64,
    .range_f32 = wasm128_range_f32,
    .range_f64 = wasm128_range_f64,
    .member_i8 = wasm128_member_i8,
    .member_i16 = wasm128_member_i16,
    .member_i32 = wasm128_member_i32,
    .count_range_i8 = wasm128_count_range_i8,
    .count_range_i16 = wasm128_count_range_i16,
    .count_range_i32 = wasm128_count_range_i32,
    .count_range_i64 = wasm128_count_range_i64,
    .count_range_f64 = wasm128_count_range_f64,
    .bits_and = wasm128_bits_and,
    .bits_and_not = wasm128_bits_and_not,
    .bits_or = wasm128_bits_or,
    .bits_not = wasm128_bits_not,
    .bits_count = loop_bits_count,
    .bits_to_ids = wasm128_bits_to_ids,
    .sparse_f32 = loop_sparse_f32,
    .add_f32 = loop_add_f32,
    .scale_f32 = loop_scale_f32,
    .offset_f32 = loop_offset_f32,
};

#endif
