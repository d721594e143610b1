/*
 * Kernels for x86-64 with AVX-512 (F, BW, DQ, VL) and VNNI: Cascade Lake, Ice Lake, Zen 4 and later.
 *
 * One register is the sixteen lanes of the float definition, so sums need no care beyond "multiply, then add". Byte
 * codes go through vpdpbusd: four products of 7-bit codes and signed query bytes are added into 32 bits, exactly.
 * Tails are masked loads. Several rows are computed side by side, because one row is a chain of dependent additions,
 * while the lines of the rows after them are on their way: rows lie at random addresses, and what graph search waits
 * for is memory.
 */
#include "simd/loops.h"
#include "simd/simd.h"

#include <immintrin.h>

enum { AVX512_FLOAT_ROWS_AHEAD = 4, AVX512_CODE_ROWS_AHEAD = 8 };
enum { AVX512_FLOATS = 16, AVX512_BYTES = 64 };

/* Adds lanes j + 8 to j, then j + 4; the four that remain. */
static inline __m128 avx512_fold_to_4(__m512 sum) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

static inline float avx512_fold(__m512 sum) {
    __m128 four = avx512_fold_to_4(sum);
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The folds of four sums at once, in the same order. */
static inline __m128 avx512_fold_rows(__m512 s0, __m512 s1, __m512 s2, __m512 s3) {
    __m128 a = avx512_fold_to_4(s0);
    __m128 b = avx512_fold_to_4(s1);
    __m128 c = avx512_fold_to_4(s2);
    __m128 d = avx512_fold_to_4(s3);
    __m128 ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    __m128 cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    return _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
}

static inline __m512 avx512_step_dot(__m512 sum, __m512 a, __m512 b) {
    return _mm512_add_ps(sum, _mm512_mul_ps(a, b));
}

static inline __m512 avx512_step_l2(__m512 sum, __m512 a, __m512 b) {
    __m512 difference = _mm512_sub_ps(a, b);
    return _mm512_add_ps(sum, _mm512_mul_ps(difference, difference));
}

static inline __mmask16 avx512_tail_mask(size_t count) {
    return (__mmask16)((1U << count) - 1);
}

static inline __m512 avx512_load_float(const float *from) {
    return _mm512_loadu_ps(from);
}

static inline __m512 avx512_load_float_tail(__mmask16 mask, const float *from) {
    return _mm512_maskz_loadu_ps(mask, from);
}

static inline __m512 avx512_load_half(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)from));
}

static inline __m512 avx512_load_half_tail(__mmask16 mask, const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, from));
}

static void avx512_touch(const void *row, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i += LOOP_LINE_BYTES)
        _mm_prefetch((const char *)row + i, _MM_HINT_T0);
}

/* Where four rows are, and a request for the lines at element i of them; inlined with rows known to be NULL or not. */
#define AVX512_ROWS(ROW, r, rows) const ROW *r##0 = (rows)[0], *r##1 = (rows)[1], *r##2 = (rows)[2], *r##3 = (rows)[3]
#define AVX512_ASK(r, i)                                                                                               \
    do {                                                                                                               \
        _mm_prefetch((const char *)(r##0 + (i)), _MM_HINT_T0);                                                         \
        _mm_prefetch((const char *)(r##1 + (i)), _MM_HINT_T0);                                                         \
        _mm_prefetch((const char *)(r##2 + (i)), _MM_HINT_T0);                                                         \
        _mm_prefetch((const char *)(r##3 + (i)), _MM_HINT_T0);                                                         \
    } while (0)

#define AVX512_DISTANCE(NAME, ROW, KIND, STEP)                                                                         \
    static float avx512_##NAME(const float *a, const ROW *b, size_t n) {                                               \
        __m512 sum = _mm512_setzero_ps();                                                                              \
        size_t i = 0;                                                                                                  \
        for (; i + AVX512_FLOATS <= n; i += AVX512_FLOATS)                                                             \
            sum = STEP(sum, avx512_load_float(a + i), avx512_load_##KIND(b + i));                                      \
        if (i < n) {                                                                                                   \
            __mmask16 mask = avx512_tail_mask(n - i);                                                                  \
            sum = STEP(sum, avx512_load_float_tail(mask, a + i), avx512_load_##KIND##_tail(mask, b + i));              \
        }                                                                                                              \
        return avx512_fold(sum);                                                                                       \
    }                                                                                                                  \
    LOOP_INLINE void avx512_##NAME##_four(const float *query, const ROW *const *rows, const ROW *const *ahead,         \
                                          size_t n, float *out) {                                                      \
        AVX512_ROWS(ROW, r, rows);                                                                                     \
        AVX512_ROWS(ROW, p, ahead != NULL ? ahead : rows);                                                             \
        __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;                                                    \
        size_t i = 0;                                                                                                  \
        for (; i + AVX512_FLOATS <= n; i += AVX512_FLOATS) {                                                           \
            __m512 q = avx512_load_float(query + i);                                                                   \
            if (ahead != NULL) AVX512_ASK(p, i);                                                                       \
            s0 = STEP(s0, q, avx512_load_##KIND(r0 + i));                                                              \
            s1 = STEP(s1, q, avx512_load_##KIND(r1 + i));                                                              \
            s2 = STEP(s2, q, avx512_load_##KIND(r2 + i));                                                              \
            s3 = STEP(s3, q, avx512_load_##KIND(r3 + i));                                                              \
        }                                                                                                              \
        if (i < n) {                                                                                                   \
            __mmask16 mask = avx512_tail_mask(n - i);                                                                  \
            __m512 q = avx512_load_float_tail(mask, query + i);                                                        \
            s0 = STEP(s0, q, avx512_load_##KIND##_tail(mask, r0 + i));                                                 \
            s1 = STEP(s1, q, avx512_load_##KIND##_tail(mask, r1 + i));                                                 \
            s2 = STEP(s2, q, avx512_load_##KIND##_tail(mask, r2 + i));                                                 \
            s3 = STEP(s3, q, avx512_load_##KIND##_tail(mask, r3 + i));                                                 \
        }                                                                                                              \
        _mm_storeu_ps(out, avx512_fold_rows(s0, s1, s2, s3));                                                          \
    }                                                                                                                  \
    LOOP_ROWS(avx512, NAME, float, ROW, float, AVX512_FLOAT_ROWS_AHEAD)

AVX512_DISTANCE(dot_f32, float, float, avx512_step_dot)
AVX512_DISTANCE(l2_f32, float, float, avx512_step_l2)
AVX512_DISTANCE(dot_f16, uint16_t, half, avx512_step_dot)
AVX512_DISTANCE(l2_f16, uint16_t, half, avx512_step_l2)

static void avx512_cosine_f32(const float *a, const float *b, size_t n, float *dot, float *aa, float *bb) {
    __m512 ab_sum = _mm512_setzero_ps();
    __m512 aa_sum = ab_sum;
    __m512 bb_sum = ab_sum;
    for (size_t i = 0; i < n; i += AVX512_FLOATS) {
        __mmask16 mask = n - i < AVX512_FLOATS ? avx512_tail_mask(n - i) : (__mmask16)0xffff;
        __m512 x = avx512_load_float_tail(mask, a + i);
        __m512 y = avx512_load_float_tail(mask, b + i);
        ab_sum = avx512_step_dot(ab_sum, x, y);
        aa_sum = avx512_step_dot(aa_sum, x, x);
        bb_sum = avx512_step_dot(bb_sum, y, y);
    }
    *dot = avx512_fold(ab_sum);
    *aa = avx512_fold(aa_sum);
    *bb = avx512_fold(bb_sum);
}

static void avx512_f16_to_f32(const uint16_t *from, float *to, size_t n) {
    size_t i = 0;
    for (; i + AVX512_FLOATS <= n; i += AVX512_FLOATS)
        _mm512_storeu_ps(to + i, avx512_load_half(from + i));
    __mmask16 mask = avx512_tail_mask(n - i);
    _mm512_mask_storeu_ps(to + i, mask, avx512_load_half_tail(mask, from + i));
}

static void avx512_f32_to_f16(const float *from, uint16_t *to, size_t n) {
    for (size_t i = 0; i < n; i += AVX512_FLOATS) {
        __mmask16 mask = n - i < AVX512_FLOATS ? avx512_tail_mask(n - i) : (__mmask16)0xffff;
        __m512 value = avx512_load_float_tail(mask, from + i);
        __m256i half = _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16(to + i, mask, half);
    }
}

static inline __m512i avx512_load(const void *from) {
    return _mm512_loadu_si512(from);
}

/* The last 32 bytes of codes that are not a multiple of 64, zero above. */
static inline __m512i avx512_load_half_line(const void *from) {
    return _mm512_zextsi256_si512(_mm256_loadu_si256((const __m256i_u *)from));
}

static int32_t avx512_dot_codes(const int8_t *query, const uint8_t *row, size_t n) {
    __m512i s0 = _mm512_setzero_si512();
    __m512i s1 = s0;
    size_t i = 0;
    for (; i + 2 * AVX512_BYTES <= n; i += 2 * AVX512_BYTES) {
        s0 = _mm512_dpbusd_epi32(s0, avx512_load(row + i), avx512_load(query + i));
        s1 = _mm512_dpbusd_epi32(s1, avx512_load(row + i + AVX512_BYTES), avx512_load(query + i + AVX512_BYTES));
    }
    if (i + AVX512_BYTES <= n) {
        s0 = _mm512_dpbusd_epi32(s0, avx512_load(row + i), avx512_load(query + i));
        i += AVX512_BYTES;
    }
    if (i < n) s1 = _mm512_dpbusd_epi32(s1, avx512_load_half_line(row + i), avx512_load_half_line(query + i));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(s0, s1));
}

/* The sums of four registers of sixteen, by transposing as they are added. */
static inline __m128i avx512_fold_codes(__m512i s0, __m512i s1, __m512i s2, __m512i s3) {
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(s0, s1), _mm512_unpackhi_epi32(s0, s1));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(s2, s3), _mm512_unpackhi_epi32(s2, s3));
    __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    __m256i d = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1));
}

LOOP_INLINE void avx512_dot_codes_four(const int8_t *query, const uint8_t *const *rows, const uint8_t *const *ahead,
                                       size_t n, int32_t *out) {
    AVX512_ROWS(uint8_t, r, rows);
    AVX512_ROWS(uint8_t, p, ahead != NULL ? ahead : rows);
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + AVX512_BYTES <= n; i += AVX512_BYTES) {
        __m512i q = avx512_load(query + i);
        if (ahead != NULL) AVX512_ASK(p, i);
        s0 = _mm512_dpbusd_epi32(s0, avx512_load(r0 + i), q);
        s1 = _mm512_dpbusd_epi32(s1, avx512_load(r1 + i), q);
        s2 = _mm512_dpbusd_epi32(s2, avx512_load(r2 + i), q);
        s3 = _mm512_dpbusd_epi32(s3, avx512_load(r3 + i), q);
    }
    if (i < n) {
        __m512i q = avx512_load_half_line(query + i);
        s0 = _mm512_dpbusd_epi32(s0, avx512_load_half_line(r0 + i), q);
        s1 = _mm512_dpbusd_epi32(s1, avx512_load_half_line(r1 + i), q);
        s2 = _mm512_dpbusd_epi32(s2, avx512_load_half_line(r2 + i), q);
        s3 = _mm512_dpbusd_epi32(s3, avx512_load_half_line(r3 + i), q);
    }
    _mm_storeu_si128((__m128i_u *)out, avx512_fold_codes(s0, s1, s2, s3));
}
LOOP_ROWS(avx512, dot_codes, int8_t, uint8_t, int32_t, AVX512_CODE_ROWS_AHEAD)

static uint32_t avx512_sum_codes(const uint8_t *row, size_t n) {
    __m512i ones = _mm512_set1_epi8(1);
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + AVX512_BYTES <= n; i += AVX512_BYTES)
        sum = _mm512_dpbusd_epi32(sum, avx512_load(row + i), ones);
    if (i < n) sum = _mm512_dpbusd_epi32(sum, avx512_load_half_line(row + i), ones);
    return (uint32_t)_mm512_reduce_add_epi32(sum);
}

static void avx512_encode_codes(const float *v, size_t n, float lo, float inverse_step, uint8_t *codes) {
    __m512 low = _mm512_set1_ps(lo);
    __m512 factor = _mm512_set1_ps(inverse_step);
    __m512 top = _mm512_set1_ps(127.0F);
    for (size_t i = 0; i < n; i += AVX512_FLOATS) {
        __mmask16 mask = n - i < AVX512_FLOATS ? avx512_tail_mask(n - i) : (__mmask16)0xffff;
        __m512 scaled = _mm512_mul_ps(_mm512_sub_ps(avx512_load_float_tail(mask, v + i), low), factor);
        scaled = _mm512_min_ps(_mm512_max_ps(scaled, _mm512_setzero_ps()), top); /* NaN: the second operand, 0 */
        __m512i code = _mm512_cvt_roundps_epi32(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_mask_storeu_epi8(codes + i, mask, _mm512_cvtepi32_epi8(code));
    }
}

static void avx512_min_max_f32(const float *v, size_t n, float *min, float *max) {
    __m512 low = _mm512_set1_ps(v[0]);
    __m512 high = low;
    size_t i = 0;
    for (; i + AVX512_FLOATS <= n; i += AVX512_FLOATS) {
        __m512 value = avx512_load_float(v + i);
        low = _mm512_min_ps(low, value);
        high = _mm512_max_ps(high, value);
    }
    __m512 last = _mm512_mask_loadu_ps(low, avx512_tail_mask(n - i), v + i);
    low = _mm512_min_ps(low, last);
    last = _mm512_mask_loadu_ps(high, avx512_tail_mask(n - i), v + i);
    high = _mm512_max_ps(high, last);
    *min = _mm512_reduce_min_ps(low) + 0.0F;
    *max = _mm512_reduce_max_ps(high) + 0.0F;
}

/* Filter words: 64 elements to 64 bits. */
static inline uint64_t avx512_word_i8(const int8_t *v, int8_t lo, int8_t hi) {
    __m512i x = avx512_load(v);
    return _mm512_mask_cmple_epi8_mask(_mm512_cmpge_epi8_mask(x, _mm512_set1_epi8(lo)), x, _mm512_set1_epi8(hi));
}

static inline uint64_t avx512_part_i16(const int16_t *v, int16_t lo, int16_t hi) {
    __m512i x = avx512_load(v);
    return _mm512_mask_cmple_epi16_mask(_mm512_cmpge_epi16_mask(x, _mm512_set1_epi16(lo)), x, _mm512_set1_epi16(hi));
}

static inline uint64_t avx512_part_i32(const int32_t *v, int32_t lo, int32_t hi) {
    __m512i x = avx512_load(v);
    return _mm512_mask_cmple_epi32_mask(_mm512_cmpge_epi32_mask(x, _mm512_set1_epi32(lo)), x, _mm512_set1_epi32(hi));
}

static inline uint64_t avx512_part_f32(const float *v, float lo, float hi) {
    __m512 x = _mm512_loadu_ps(v);
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(lo), _CMP_GE_OQ);
    return _mm512_mask_cmp_ps_mask(above, x, _mm512_set1_ps(hi), _CMP_LE_OQ);
}

static inline uint64_t avx512_part_i64(const int64_t *v, int64_t lo, int64_t hi) {
    __m512i x = avx512_load(v);
    return _mm512_mask_cmple_epi64_mask(_mm512_cmpge_epi64_mask(x, _mm512_set1_epi64(lo)), x, _mm512_set1_epi64(hi));
}

static inline uint64_t avx512_part_f64(const double *v, double lo, double hi) {
    __m512d x = _mm512_loadu_pd(v);
    __mmask8 above = _mm512_cmp_pd_mask(x, _mm512_set1_pd(lo), _CMP_GE_OQ);
    return _mm512_mask_cmp_pd_mask(above, x, _mm512_set1_pd(hi), _CMP_LE_OQ);
}

LOOP_WORD_OF_PARTS(avx512, i16, int16_t, 32)
LOOP_WORD_OF_PARTS(avx512, i32, int32_t, 16)
LOOP_WORD_OF_PARTS(avx512, i64, int64_t, 8)
LOOP_WORD_OF_PARTS(avx512, f32, float, 16)
LOOP_WORD_OF_PARTS(avx512, f64, double, 8)
LOOP_RANGES(avx512)

enum { AVX512_BYTE_SET = 128, AVX512_TABLE_SET = 512 };

/* The 128 codes that a byte can be are a table of 16 bytes; a negative index gives vpshufb's 0. */
static void avx512_member_i8(const int8_t *v, size_t n, const uint64_t *set, uint32_t set_size, uint64_t *out) {
    uint64_t table_words[AVX512_BYTE_SET / LOOP_WORD_BITS];
    loop_set_table(set, set_size, AVX512_BYTE_SET, table_words);
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i_u *)table_words));
    __m512i bits = _mm512_set1_epi64((int64_t)0x8040201008040201);
    __m512i low_bits = _mm512_set1_epi8(7);
    __m512i places = _mm512_set1_epi8((char)0x8f);
    for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {
        __m512i x = avx512_load(v);
        /* bits 3..6 of the code to 0..3, the sign kept in place */
        __m512i index = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 3), x, _mm512_set1_epi8((char)0x80), 0xd8);
        __m512i bytes = _mm512_shuffle_epi8(table, _mm512_and_si512(index, places));
        __m512i bit = _mm512_shuffle_epi8(bits, _mm512_and_si512(x, low_bits));
        *out++ = _mm512_test_epi8_mask(bytes, bit);
    }
    if (n > 0) *out = loop_member_word_i8(v, n, set, set_size);
}

/* Sixteen codes against a set in one register (limit <= 512), or gathered from memory. */
static inline uint64_t avx512_member_table(__m512i codes, __m512i table, __m512i limit) {
    __m512i words = _mm512_permutexvar_epi32(_mm512_srli_epi32(codes, 5), table);
    __m512i bit = _mm512_rolv_epi32(_mm512_set1_epi32(1), codes);
    return _mm512_mask_test_epi32_mask(_mm512_cmplt_epu32_mask(codes, limit), words, bit);
}

static inline uint64_t avx512_member_gather(__m512i codes, const uint64_t *set, __m512i limit) {
    __mmask16 inside = _mm512_cmplt_epu32_mask(codes, limit);
    __m512i zero = _mm512_setzero_si512();
    __m512i words = _mm512_mask_i32gather_epi32(zero, inside, _mm512_srli_epi32(codes, 5), set, 4);
    return _mm512_test_epi32_mask(words, _mm512_rolv_epi32(_mm512_set1_epi32(1), codes));
}

static inline __m512i avx512_widen_i16(const int16_t *from) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i_u *)from));
}

static inline __m512i avx512_widen_i32(const int32_t *from) {
    return avx512_load(from);
}

/* Negative codes read as 2^31 and more, which the limit keeps out. */
#define AVX512_MEMBER(SUFFIX, TYPE)                                                                                    \
    static void avx512_member_##SUFFIX(const TYPE *v, size_t n, const uint64_t *set, uint32_t set_size,                \
                                       uint64_t *out) {                                                                \
        uint32_t size = set_size < (uint32_t)1 << 31 ? set_size : (uint32_t)1 << 31;                                   \
        __m512i limit = _mm512_set1_epi32((int)size);                                                                  \
        if (size <= AVX512_TABLE_SET) {                                                                                \
            uint64_t words[AVX512_TABLE_SET / LOOP_WORD_BITS];                                                         \
            loop_set_table(set, size, AVX512_TABLE_SET, words);                                                        \
            __m512i table = avx512_load(words);                                                                        \
            for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {                                    \
                uint64_t word = 0;                                                                                     \
                for (unsigned i = 0; i < LOOP_WORD_BITS; i += 16)                                                      \
                    word |= avx512_member_table(avx512_widen_##SUFFIX(v + i), table, limit) << i;                      \
                *out++ = word;                                                                                         \
            }                                                                                                          \
        }                                                                                                              \
        for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS) {                                        \
            uint64_t word = 0;                                                                                         \
            for (unsigned i = 0; i < LOOP_WORD_BITS; i += 16)                                                          \
                word |= avx512_member_gather(avx512_widen_##SUFFIX(v + i), set, limit) << i;                           \
            *out++ = word;                                                                                             \
        }                                                                                                              \
        if (n > 0) *out = loop_member_word_##SUFFIX(v, n, set, set_size);                                              \
    }
AVX512_MEMBER(i16, int16_t)
AVX512_MEMBER(i32, int32_t)

enum { AVX512_WORDS = 8 };

/* Loads precede the store of the same place, so `out` may be an input. */
#define AVX512_BITS(NAME, COMBINE)                                                                                     \
    static void avx512_##NAME(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t words) {                     \
        size_t i = 0;                                                                                                  \
        for (; i + AVX512_WORDS <= words; i += AVX512_WORDS)                                                           \
            _mm512_storeu_si512(out + i, COMBINE(avx512_load(a + i), avx512_load(b + i)));                             \
        __mmask8 mask = (__mmask8)avx512_tail_mask(words - i);                                                         \
        __m512i x = _mm512_maskz_loadu_epi64(mask, a + i);                                                             \
        __m512i y = _mm512_maskz_loadu_epi64(mask, b + i);                                                             \
        _mm512_mask_storeu_epi64(out + i, mask, COMBINE(x, y));                                                        \
    }
#define AVX512_AND_NOT(x, y) _mm512_andnot_si512(y, x)
AVX512_BITS(bits_and, _mm512_and_si512)
AVX512_BITS(bits_and_not, AVX512_AND_NOT)
AVX512_BITS(bits_or, _mm512_or_si512)

static void avx512_bits_not(uint64_t *out, const uint64_t *a, size_t words) {
    __m512i ones = _mm512_set1_epi64(-1);
    for (size_t i = 0; i < words; i += AVX512_WORDS) {
        __mmask8 mask = words - i < AVX512_WORDS ? (__mmask8)avx512_tail_mask(words - i) : (__mmask8)0xff;
        _mm512_mask_storeu_epi64(out + i, mask, _mm512_xor_si512(_mm512_maskz_loadu_epi64(mask, a + i), ones));
    }
}

/* Bits per 64-bit lane, by a table of the sixteen half bytes. */
static inline __m512i avx512_popcount(__m512i x) {
    __m512i counts = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    __m512i nibble = _mm512_set1_epi8(15);
    __m512i low = _mm512_shuffle_epi8(counts, _mm512_and_si512(x, nibble));
    __m512i high = _mm512_shuffle_epi8(counts, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble));
    return _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
}

static uint64_t avx512_bits_count(const uint64_t *a, size_t words) {
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + AVX512_WORDS <= words; i += AVX512_WORDS)
        sum = _mm512_add_epi64(sum, avx512_popcount(avx512_load(a + i)));
    return (uint64_t)_mm512_reduce_add_epi64(sum) + loop_bits_count(a + i, words - i);
}

static inline uint32_t *avx512_word_to_ids(uint64_t word, uint32_t base, uint32_t *out) {
    __m512i ids = _mm512_add_epi32(_mm512_set1_epi32((int)base),
                                   _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    for (unsigned i = 0; i < LOOP_WORD_BITS; i += AVX512_FLOATS) {
        __mmask16 part = (__mmask16)(word >> i);
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(part, ids));
        out += loop_popcount(part);
        ids = _mm512_add_epi32(ids, _mm512_set1_epi32(AVX512_FLOATS));
    }
    return out;
}

static size_t avx512_bits_to_ids(const uint64_t *a, size_t words, uint32_t base, uint32_t *out) {
    return loop_bits_to_ids(a, words, base, out, (size_t)avx512_bits_count(a, words), avx512_word_to_ids);
}

const struct simd_kernels simd_avx512 = {
    .name = "avx512",
    .dot_f32 = avx512_dot_f32,
    .l2_f32 = avx512_l2_f32,
    .cosine_f32 = avx512_cosine_f32,
    .dot_f16 = avx512_dot_f16,
    .l2_f16 = avx512_l2_f16,
    .f16_to_f32 = avx512_f16_to_f32,
    .f32_to_f16 = avx512_f32_to_f16,
    .dot_f32_rows = avx512_dot_f32_rows,
    .l2_f32_rows = avx512_l2_f32_rows,
    .dot_f16_rows = avx512_dot_f16_rows,
    .l2_f16_rows = avx512_l2_f16_rows,
    .dot_codes = avx512_dot_codes,
    .dot_codes_rows = avx512_dot_codes_rows,
    .sum_codes = avx512_sum_codes,
    .encode_codes = avx512_encode_codes,
    .min_max_f32 = avx512_min_max_f32,
    .all_finite_f32 = loop_all_finite_f32,
    .hamming = loop_hamming,
    .range_i8 = avx512_range_i8,
    .range_i16 = avx512_range_i16,
    .range_i32 = avx512_range_i32,
    .range_i64 = avx512_range_i64,
    .range_f32 = avx512_range_f32,
    .range_f64 = avx512_range_f64,
    .member_i8 = avx512_member_i8,
    .member_i16 = avx512_member_i16,
    .member_i32 = avx512_member_i32,
    .count_range_i8 = avx512_count_range_i8,
    .count_range_i16 = avx512_count_range_i16,
    .count_range_i32 = avx512_count_range_i32,
    .count_range_i64 = avx512_count_range_i64,
    .count_range_f64 = avx512_count_range_f64,
    .bits_and = avx512_bits_and,
    .bits_and_not = avx512_bits_and_not,
    .bits_or = avx512_bits_or,
    .bits_not = avx512_bits_not,
    .bits_count = avx512_bits_count,
    .bits_to_ids = avx512_bits_to_ids,
    .sparse_f32 = loop_sparse_f32,
    .add_f32 = loop_add_f32,
    .scale_f32 = loop_scale_f32,
    .offset_f32 = loop_offset_f32,
};
