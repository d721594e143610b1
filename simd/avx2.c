/*
 * Kernels for x86-64 with AVX2, F16C, POPCNT and BMI: Haswell, Zen and later.
 *
 * The sixteen lanes of the float definition are two registers of eight. Codes: vpmaddubsw adds two products in 16 bits,
 * which is exact because codes are below 128 (2 * 127 * 127 < 32,768), then vpmaddwd with ones widens to 32 bits.
 * Comparisons are signed only and give lanes, which vpmovmskb and its kin turn into bits.
 */
#include "simd/byte_places.h"
#include "simd/loops.h"
#include "simd/simd.h"

#include <immintrin.h>

enum { AVX2_FLOAT_ROWS_AHEAD = 4, AVX2_CODE_ROWS_AHEAD = 8 };
enum { AVX2_LANES = 16, AVX2_BYTES = 32 };

struct avx2_lanes {
    __m256 low, high;
};

static inline struct avx2_lanes avx2_zero(void) {
    return (struct avx2_lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

static inline __m128 avx2_fold_to_4(struct avx2_lanes sum) {
    __m256 eight = _mm256_add_ps(sum.low, sum.high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

static inline float avx2_fold(struct avx2_lanes sum) {
    __m128 four = avx2_fold_to_4(sum);
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The folds of four sums at once, in the same order. */
static inline __m128 avx2_fold_rows(struct avx2_lanes s0, struct avx2_lanes s1, struct avx2_lanes s2,
                                    struct avx2_lanes s3) {
    __m128 a = avx2_fold_to_4(s0);
    __m128 b = avx2_fold_to_4(s1);
    __m128 c = avx2_fold_to_4(s2);
    __m128 d = avx2_fold_to_4(s3);
    __m128 ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    __m128 cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    return _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
}

static inline struct avx2_lanes avx2_step_dot(struct avx2_lanes sum, struct avx2_lanes a, struct avx2_lanes b) {
    sum.low = _mm256_add_ps(sum.low, _mm256_mul_ps(a.low, b.low));
    sum.high = _mm256_add_ps(sum.high, _mm256_mul_ps(a.high, b.high));
    return sum;
}

static inline struct avx2_lanes avx2_step_l2(struct avx2_lanes sum, struct avx2_lanes a, struct avx2_lanes b) {
    struct avx2_lanes difference = {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
    return avx2_step_dot(sum, difference, difference);
}

static inline struct avx2_lanes avx2_load_float(const float *from) {
    return (struct avx2_lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}

static inline struct avx2_lanes avx2_load_half(const uint16_t *from) {
    const __m128i_u *halves = (const __m128i_u *)from;
    return (struct avx2_lanes){_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

/* Tails are copied to where zeros follow. */
static inline struct avx2_lanes avx2_load_float_tail(const float *from, size_t count) {
    float lanes[AVX2_LANES] = {0};
    memcpy(lanes, from, count * sizeof *from);
    return avx2_load_float(lanes);
}

static inline struct avx2_lanes avx2_load_half_tail(const uint16_t *from, size_t count) {
    uint16_t lanes[AVX2_LANES] = {0};
    memcpy(lanes, from, count * sizeof *from);
    return avx2_load_half(lanes);
}

static void avx2_touch(const void *row, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += LOOP_LINE_BYTES)
        _mm_prefetch((const char *)row + i, _MM_HINT_T0);
}

/* Where four rows are, and a request for the lines at element i of them; inlined with rows known to be NULL or not. */
#define AVX2_ROWS(ROW, r, rows) const ROW *r##0 = (rows)[0], *r##1 = (rows)[1], *r##2 = (rows)[2], *r##3 = (rows)[3]
#define AVX2_ASK(r, i)                                                                                                 \
    do {                                                                                                               \
        _mm_prefetch((const char *)(r##0 + (i)), _MM_HINT_T0);                                                         \
        _mm_prefetch((const char *)(r##1 + (i)), _MM_HINT_T0);                                                         \
        _mm_prefetch((const char *)(r##2 + (i)), _MM_HINT_T0);                                                         \
        _mm_prefetch((const char *)(r##3 + (i)), _MM_HINT_T0);                                                         \
    } while (0)

#define AVX2_DISTANCE(NAME, ROW, KIND, STEP)                                                                           \
    static float avx2_##NAME(const float *a, const ROW *b, size_t n) {                                                 \
        struct avx2_lanes sum = avx2_zero();                                                                           \
        size_t i = 0;                                                                                                  \
        for (; i + AVX2_LANES <= n; i += AVX2_LANES)                                                                   \
            sum = STEP(sum, avx2_load_float(a + i), avx2_load_##KIND(b + i));                                          \
        if (i < n) sum = STEP(sum, avx2_load_float_tail(a + i, n - i), avx2_load_##KIND##_tail(b + i, n - i));         \
        return avx2_fold(sum);                                                                                         \
    }                                                                                                                  \
    LOOP_INLINE void avx2_##NAME##_four(const float *query, const ROW *const *rows, const ROW *const *ahead, size_t n, \
                                        float *out) {                                                                  \
        AVX2_ROWS(ROW, r, rows);                                                                                       \
        AVX2_ROWS(ROW, p, ahead != NULL ? ahead : rows);                                                               \
        struct avx2_lanes s0 = avx2_zero(), s1 = s0, s2 = s0, s3 = s0;                                                 \
        size_t i = 0;                                                                                                  \
        for (; i + AVX2_LANES <= n; i += AVX2_LANES) {                                                                 \
            struct avx2_lanes q = avx2_load_float(query + i);                                                          \
            if (ahead != NULL) AVX2_ASK(p, i);                                                                         \
            s0 = STEP(s0, q, avx2_load_##KIND(r0 + i));                                                                \
            s1 = STEP(s1, q, avx2_load_##KIND(r1 + i));                                                                \
            s2 = STEP(s2, q, avx2_load_##KIND(r2 + i));                                                                \
            s3 = STEP(s3, q, avx2_load_##KIND(r3 + i));                                                                \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            struct avx2_lanes q = avx2_load_float_tail(query + i, n - i);                                              \
            s0 = STEP(s0, q, avx2_load_##KIND##_tail(r0 + i, n - i));                                                  \
            s1 = STEP(s1, q, avx2_load_##KIND##_tail(r1 + i, n - i));                                                  \
            s2 = STEP(s2, q, avx2_load_##KIND##_tail(r2 + i, n - i));                                                  \
            s3 = STEP(s3, q, avx2_load_##KIND##_tail(r3 + i, n - i));                                                  \
        }                                                                                                              \
        _mm_storeu_ps(out, avx2_fold_rows(s0, s1, s2, s3));                                                            \
    }                                                                                                                  \
    LOOP_ROWS(avx2, NAME, float, ROW, float, AVX2_FLOAT_ROWS_AHEAD)

AVX2_DISTANCE(dot_f32, float, float, avx2_step_dot)
AVX2_DISTANCE(l2_f32, float, float, avx2_step_l2)
AVX2_DISTANCE(dot_f16, uint16_t, half, avx2_step_dot)
AVX2_DISTANCE(l2_f16, uint16_t, half, avx2_step_l2)

static void avx2_cosine_f32(const float *a, const float *b, size_t n, float *dot, float *aa, float *bb) {
    struct avx2_lanes ab_sum = avx2_zero(), aa_sum = ab_sum, bb_sum = ab_sum;
    for (size_t i = 0; i < n; i += AVX2_LANES) {
        bool whole = n - i >= AVX2_LANES;
        struct avx2_lanes x = whole ? avx2_load_float(a + i) : avx2_load_float_tail(a + i, n - i);
        struct avx2_lanes y = whole ? avx2_load_float(b + i) : avx2_load_float_tail(b + i, n - i);
        ab_sum = avx2_step_dot(ab_sum, x, y);
        aa_sum = avx2_step_dot(aa_sum, x, x);
        bb_sum = avx2_step_dot(bb_sum, y, y);
    }
    *dot = avx2_fold(ab_sum);
    *aa = avx2_fold(aa_sum);
    *bb = avx2_fold(bb_sum);
}

static void avx2_f16_to_f32(const uint16_t *from, float *to, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(from + i))));
    loop_f16_to_f32(from + i, to + i, n - i);
}

static void avx2_f32_to_f16(const float *from, uint16_t *to, size_t n) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i_u *)(to + i), halves);
    }
    loop_f32_to_f16(from + i, to + i, n - i);
}

static inline __m256i avx2_load(const void *from) {
    return _mm256_loadu_si256((const __m256i_u *)from);
}

static inline __m256i avx2_step_codes(__m256i sum, __m256i query, __m256i row) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(row, query), _mm256_set1_epi16(1)));
}

static inline int32_t avx2_fold_i32(__m256i sum) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

static int32_t avx2_dot_codes(const int8_t *query, const uint8_t *row, size_t n) {
    __m256i s0 = _mm256_setzero_si256();
    __m256i s1 = s0;
    size_t i = 0;
    for (; i + 2 * AVX2_BYTES <= n; i += 2 * AVX2_BYTES) {
        s0 = avx2_step_codes(s0, avx2_load(query + i), avx2_load(row + i));
        s1 = avx2_step_codes(s1, avx2_load(query + i + AVX2_BYTES), avx2_load(row + i + AVX2_BYTES));
    }
    if (i < n) s0 = avx2_step_codes(s0, avx2_load(query + i), avx2_load(row + i));
    return avx2_fold_i32(_mm256_add_epi32(s0, s1));
}

LOOP_INLINE void avx2_dot_codes_four(const int8_t *query, const uint8_t *const *rows, const uint8_t *const *ahead,
                                     size_t n, int32_t *out) {
    AVX2_ROWS(uint8_t, r, rows);
    AVX2_ROWS(uint8_t, p, ahead != NULL ? ahead : rows);
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < n; i += AVX2_BYTES) {
        __m256i q = avx2_load(query + i);
        if (ahead != NULL && i % LOOP_LINE_BYTES == 0) AVX2_ASK(p, i);
        s0 = avx2_step_codes(s0, q, avx2_load(r0 + i));
        s1 = avx2_step_codes(s1, q, avx2_load(r1 + i));
        s2 = avx2_step_codes(s2, q, avx2_load(r2 + i));
        s3 = avx2_step_codes(s3, q, avx2_load(r3 + i));
    }
    __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storeu_si128((__m128i_u *)out, four);
}
LOOP_ROWS(avx2, dot_codes, int8_t, uint8_t, int32_t, AVX2_CODE_ROWS_AHEAD)

static inline uint64_t avx2_fold_i64(__m256i sum) {
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

static uint32_t avx2_sum_codes(const uint8_t *row, size_t n) {
    __m256i sum = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += AVX2_BYTES)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(avx2_load(row + i), _mm256_setzero_si256()));
    return (uint32_t)avx2_fold_i64(sum);
}

static inline __m256i avx2_codes_of(const float *v, __m256 low, __m256 factor) {
    __m256 scaled = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(v), low), factor);
    scaled = _mm256_max_ps(scaled, _mm256_setzero_ps()); /* NaN: the second operand, 0 */
    scaled = _mm256_min_ps(scaled, _mm256_set1_ps(127.0F));
    return _mm256_cvtps_epi32(_mm256_round_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static void avx2_encode_codes(const float *v, size_t n, float lo, float inverse_step, uint8_t *codes) {
    __m256 low = _mm256_set1_ps(lo);
    __m256 factor = _mm256_set1_ps(inverse_step);
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* packing works in halves of a register */
    size_t i = 0;
    for (; i + AVX2_BYTES <= n; i += AVX2_BYTES) {
        __m256i a = _mm256_packs_epi32(avx2_codes_of(v + i, low, factor), avx2_codes_of(v + i + 8, low, factor));
        __m256i b = _mm256_packs_epi32(avx2_codes_of(v + i + 16, low, factor), avx2_codes_of(v + i + 24, low, factor));
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
        _mm256_storeu_si256((__m256i_u *)(codes + i), bytes);
    }
    loop_encode_codes(v + i, n - i, lo, inverse_step, codes + i);
}

static void avx2_min_max_f32(const float *v, size_t n, float *min, float *max) {
    __m256 low = _mm256_set1_ps(v[0]);
    __m256 high = low;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        low = _mm256_min_ps(low, _mm256_loadu_ps(v + i));
        high = _mm256_max_ps(high, _mm256_loadu_ps(v + i));
    }
    __m128 low4 = _mm_min_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
    __m128 high4 = _mm_max_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1));
    low4 = _mm_min_ps(low4, _mm_movehl_ps(low4, low4));
    high4 = _mm_max_ps(high4, _mm_movehl_ps(high4, high4));
    low4 = _mm_min_ss(low4, _mm_movehdup_ps(low4));
    high4 = _mm_max_ss(high4, _mm_movehdup_ps(high4));
    for (; i < n; i++) {
        low4 = _mm_min_ss(low4, _mm_set_ss(v[i]));
        high4 = _mm_max_ss(high4, _mm_set_ss(v[i]));
    }
    *min = _mm_cvtss_f32(low4) + 0.0F;
    *max = _mm_cvtss_f32(high4) + 0.0F;
}

/* Filter parts: a register or two of elements to bits. For integers: the complement of "below lo or above hi". */
static inline uint64_t avx2_part_i8(const int8_t *v, int8_t lo, int8_t hi) {
    __m256i x = avx2_load(v);
    __m256i outside =
        _mm256_or_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(lo), x), _mm256_cmpgt_epi8(x, _mm256_set1_epi8(hi)));
    return ~(uint32_t)_mm256_movemask_epi8(outside);
}

static inline __m256i avx2_outside_i16(__m256i x, __m256i lo, __m256i hi) {
    return _mm256_or_si256(_mm256_cmpgt_epi16(lo, x), _mm256_cmpgt_epi16(x, hi));
}

static inline uint64_t avx2_part_i16(const int16_t *v, int16_t lo, int16_t hi) {
    __m256i low = _mm256_set1_epi16(lo);
    __m256i high = _mm256_set1_epi16(hi);
    __m256i bytes =
        _mm256_packs_epi16(avx2_outside_i16(avx2_load(v), low, high), avx2_outside_i16(avx2_load(v + 16), low, high));
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(bytes, 0xd8));
}

static inline uint64_t avx2_part_i32(const int32_t *v, int32_t lo, int32_t hi) {
    __m256i x = avx2_load(v);
    __m256i outside =
        _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(lo), x), _mm256_cmpgt_epi32(x, _mm256_set1_epi32(hi)));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(outside)) ^ 0xff;
}

static inline uint64_t avx2_part_i64(const int64_t *v, int64_t lo, int64_t hi) {
    __m256i x = avx2_load(v);
    __m256i outside =
        _mm256_or_si256(_mm256_cmpgt_epi64(_mm256_set1_epi64x(lo), x), _mm256_cmpgt_epi64(x, _mm256_set1_epi64x(hi)));
    return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(outside)) ^ 0xf;
}

static inline uint64_t avx2_part_f32(const float *v, float lo, float hi) {
    __m256 x = _mm256_loadu_ps(v);
    __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(lo), _CMP_GE_OQ);
    return (uint32_t)_mm256_movemask_ps(_mm256_and_ps(above, _mm256_cmp_ps(x, _mm256_set1_ps(hi), _CMP_LE_OQ)));
}

static inline uint64_t avx2_part_f64(const double *v, double lo, double hi) {
    __m256d x = _mm256_loadu_pd(v);
    __m256d above = _mm256_cmp_pd(x, _mm256_set1_pd(lo), _CMP_GE_OQ);
    return (uint32_t)_mm256_movemask_pd(_mm256_and_pd(above, _mm256_cmp_pd(x, _mm256_set1_pd(hi), _CMP_LE_OQ)));
}

LOOP_WORD_OF_PARTS(avx2, i8, int8_t, 32)
LOOP_WORD_OF_PARTS(avx2, i16, int16_t, 32)
LOOP_WORD_OF_PARTS(avx2, i32, int32_t, 8)
LOOP_WORD_OF_PARTS(avx2, i64, int64_t, 4)
LOOP_WORD_OF_PARTS(avx2, f32, float, 8)
LOOP_WORD_OF_PARTS(avx2, f64, double, 4)
LOOP_RANGES(avx2)

enum { AVX2_BYTE_SET = 128, AVX2_TABLE_SET = 256 };

/* The 128 codes that a byte can be are a table of 16 bytes; a negative index gives vpshufb's 0. */
static void avx2_member_i8(const int8_t *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out) {
    uint64_t words[AVX2_BYTE_SET / LOOP_WORD_BITS];
    loop_set_table(set, set_size, AVX2_BYTE_SET, words);
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i_u *)words));
    __m256i bits = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i sign = _mm256_set1_epi8((char)0x80);
    __m256i places = _mm256_set1_epi8(15);
    for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {
        uint64_t word = 0;
        for (unsigned i = 0; i < LOOP_WORD_BITS; i += AVX2_BYTES) {
            __m256i x = avx2_load(v + i);
            __m256i index =
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(x, 3), places), _mm256_and_si256(x, sign));
            __m256i bytes = _mm256_shuffle_epi8(table, index);
            __m256i bit = _mm256_shuffle_epi8(bits, _mm256_and_si256(x, _mm256_set1_epi8(7)));
            __m256i found = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
            word |= (uint64_t)(uint32_t)_mm256_movemask_epi8(found) << i;
        }
        *out++ = word;
    }
    if (n > 0) *out = loop_member_word_i8(v, n, set, set_size);
}

/*
 * Eight codes: the 32-bit word of the set that holds the code's bit, shifted so that the bit comes to the sign.
 * `outside` has the sign of every lane set whose code is negative or above `last`.
 */
static inline uint64_t avx2_member_bits(__m256i codes, __m256i words, __m256i outside) {
    __m256i found = _mm256_sllv_epi32(words, _mm256_andnot_si256(codes, _mm256_set1_epi32(31)));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(outside, found)));
}

static inline uint64_t avx2_member_table(__m256i codes, __m256i table, __m256i last) {
    __m256i words = _mm256_permutevar8x32_epi32(table, _mm256_srli_epi32(codes, 5));
    return avx2_member_bits(codes, words, _mm256_or_si256(codes, _mm256_cmpgt_epi32(codes, last)));
}

static inline uint64_t avx2_member_gather(__m256i codes, const uint64_t *set, __m256i last) {
    __m256i outside = _mm256_or_si256(codes, _mm256_cmpgt_epi32(codes, last));
    __m256i inside = _mm256_xor_si256(outside, _mm256_set1_epi32(-1));
    __m256i words =
        _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), (const int *)set, _mm256_srli_epi32(codes, 5), inside, 4);
    return avx2_member_bits(codes, words, outside);
}

static inline __m256i avx2_widen_i16(const int16_t *from) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i_u *)from));
}

static inline __m256i avx2_widen_i32(const int32_t *from) {
    return avx2_load(from);
}

#define AVX2_MEMBER(SUFFIX, TYPE)                                                                                      \
    static void avx2_member_##SUFFIX(const TYPE *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out) { \
        uint32_t last_code = set_size < (uint32_t)1 << 31 ? set_size - 1 : INT32_MAX; /* no code: -1 */                \
        __m256i last = _mm256_set1_epi32((int)last_code);                                                              \
        if (set_size <= AVX2_TABLE_SET) {                                                                              \
            uint64_t words[AVX2_TABLE_SET / LOOP_WORD_BITS];                                                           \
            loop_set_table(set, set_size, AVX2_TABLE_SET, words);                                                      \
            __m256i table = avx2_load(words);                                                                          \
            for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {                                    \
                uint64_t word = 0;                                                                                     \
                for (unsigned i = 0; i < LOOP_WORD_BITS; i += 8)                                                       \
                    word |= avx2_member_table(avx2_widen_##SUFFIX(v + i), table, last) << i;                           \
                *out++ = word;                                                                                         \
            }                                                                                                          \
        }                                                                                                              \
        for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {                                        \
            uint64_t word = 0;                                                                                         \
            for (unsigned i = 0; i < LOOP_WORD_BITS; i += 8)                                                           \
                word |= avx2_member_gather(avx2_widen_##SUFFIX(v + i), set, last) << i;                                \
            *out++ = word;                                                                                             \
        }                                                                                                              \
        if (n > 0) *out = loop_member_word_##SUFFIX(v, n, set, set_size);                                              \
    }
AVX2_MEMBER(i16, int16_t)
AVX2_MEMBER(i32, int32_t)

enum { AVX2_WORDS = 4 };

/* Loads precede the store of the same place, so `out` may be an input. */
#define AVX2_BITS(NAME, COMBINE, COMBINE_ONE)                                                                          \
    static void avx2_##NAME(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words) {                       \
        size_t i = 0;                                                                                                  \
        for (; i + AVX2_WORDS <= words; i += AVX2_WORDS)                                                               \
            _mm256_storeu_si256((__m256i_u *)(out + i), COMBINE(avx2_load(a + i), avx2_load(b + i)));                  \
        for (; i < words; i++)                                                                                         \
            out[i] = a[i] COMBINE_ONE b[i];                                                                            \
    }
#define AVX2_AND_NOT(x, y) _mm256_andnot_si256(y, x)
AVX2_BITS(bits_and, _mm256_and_si256, &)
AVX2_BITS(bits_and_not, AVX2_AND_NOT, &~)
AVX2_BITS(bits_or, _mm256_or_si256, |)

static void avx2_bits_not(uint64_t *out, const uint64_t *a, size_t words) {
    size_t i = 0;
    for (; i + AVX2_WORDS <= words; i += AVX2_WORDS)
        _mm256_storeu_si256((__m256i_u *)(out + i), _mm256_xor_si256(avx2_load(a + i), _mm256_set1_epi32(-1)));
    for (; i < words; i++)
        out[i] = ~a[i];
}

/* Bits per 64-bit lane, by a table of the sixteen half bytes. */
static inline __m256i avx2_popcount(__m256i x) {
    __m256i counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(counts, _mm256_and_si256(x, nibble));
    __m256i high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

static uint64_t avx2_bits_count(const uint64_t *a, size_t words) {
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + AVX2_WORDS <= words; i += AVX2_WORDS)
        sum = _mm256_add_epi64(sum, avx2_popcount(avx2_load(a + i)));
    return avx2_fold_i64(sum) + loop_bits_count(a + i, words - i);
}

static inline uint32_t *avx2_word_to_ids(uint64_t word, uint32_t base, uint32_t *out) {
    for (unsigned i = 0; i < LOOP_WORD_BITS; i += 8) {
        uint8_t byte = (uint8_t)(word >> i);
        __m256i places = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)simd_byte_places[byte]));
        _mm256_storeu_si256((__m256i_u *)out, _mm256_add_epi32(places, _mm256_set1_epi32((int)(base + i))));
        out += loop_popcount(byte);
    }
    return out;
}

static size_t avx2_bits_to_ids(const uint64_t *a, size_t words, uint32_t base, uint32_t *out) {
    return loop_bits_to_ids(a, words, base, out, (size_t)avx2_bits_count(a, words), avx2_word_to_ids);
}

const struct simd_kernels simd_avx2 = {
    .name = "avx2",
    .dot_f32 = avx2_dot_f32,
    .l2_f32 = avx2_l2_f32,
    .cosine_f32 = avx2_cosine_f32,
    .dot_f16 = avx2_dot_f16,
    .l2_f16 = avx2_l2_f16,
    .f16_to_f32 = avx2_f16_to_f32,
    .f32_to_f16 = avx2_f32_to_f16,
    .dot_f32_rows = avx2_dot_f32_rows,
    .l2_f32_rows = avx2_l2_f32_rows,
    .dot_f16_rows = avx2_dot_f16_rows,
    .l2_f16_rows = avx2_l2_f16_rows,
    .dot_codes = avx2_dot_codes,
    .dot_codes_rows = avx2_dot_codes_rows,
    .sum_codes = avx2_sum_codes,
    .encode_codes = avx2_encode_codes,
    .min_max_f32 = avx2_min_max_f32,
    .all_finite_f32 = loop_all_finite_f32,
    .hamming = loop_hamming,
    .range_i8 = avx2_range_i8,
    .range_i16 = avx2_range_i16,
    .range_i32 = avx2_range_i32,
    .range_i64 = avx2_range_i64,
    .range_f32 = avx2_range_f32,
    .range_f64 = avx2_range_f64,
    .member_i8 = avx2_member_i8,
    .member_i16 = avx2_member_i16,
    .member_i32 = avx2_member_i32,
    .count_range_i8 = avx2_count_range_i8,
    .count_range_i16 = avx2_count_range_i16,
    .count_range_i32 = avx2_count_range_i32,
    .count_range_i64 = avx2_count_range_i64,
    .count_range_f64 = avx2_count_range_f64,
    .bits_and = avx2_bits_and,
    .bits_and_not = avx2_bits_and_not,
    .bits_or = avx2_bits_or,
    .bits_not = avx2_bits_not,
    .bits_count = avx2_bits_count,
    .bits_to_ids = avx2_bits_to_ids,
    .sparse_f32 = loop_sparse_f32,
    .add_f32 = loop_add_f32,
    .scale_f32 = loop_scale_f32,
    .offset_f32 = loop_offset_f32,
};
