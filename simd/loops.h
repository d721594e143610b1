/*
 * Kernels in plain C that every instruction set shares: each set's file includes this header and is compiled with the
 * set's own flags, so the compiler vectorises the loops for it. Here is what a compiler does as well as a hand (one
 * operation per element, integer reductions), what no set gains from (sparse updates), and the frames around the
 * filter words: a set supplies "64 elements to one word", the frame makes the bitmap and the count from it.
 *
 * Everything is static, so copies compiled with different flags never mix at link time.
 * What belongs elsewhere: whatever has a fold order in floats (distances, sums) is written out in each set.
 */
#ifndef VELTA_SIMD_LOOPS_H
#define VELTA_SIMD_LOOPS_H

#include "simd/simd.h"

#include <string.h>

/* A set does not use every loop: it has better ones of its own. */
#define LOOP static inline __attribute__((unused))
/* Inlined for the sake of an argument that is constant where it is called. */
#define LOOP_INLINE static inline __attribute__((always_inline))

enum { LOOP_WORD_BITS = 64, LOOP_LINE_BYTES = 64, LOOP_SPARSE_IDS = 4, LOOP_ROWS_AT_ONCE = 4 };

LOOP uint32_t loop_bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

LOOP float loop_float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* f16 rows may stand at odd addresses inside a block of bytes. */
LOOP uint16_t loop_load_u16(const uint16_t *from, size_t index) {
    uint16_t value;
    memcpy(&value, (const uint8_t *)from + 2 * index, sizeof value);
    return value;
}

/*
 * f16 to f32: the exponent and fraction moved into place read as a value 2^112 too small, also for f16 denormals (they
 * read as f32 denormals), so one exact multiplication ends it. What comes out at 2^16 or above had the exponent of
 * infinity and NaN.
 */
LOOP float loop_f16_to_f32_one(uint16_t half) {
    uint32_t bits = loop_bits_of(loop_float_of((uint32_t)(half & 0x7fff) << 13) * 0x1p112f);
    bits |= bits >= 0x47800000U ? 0x7f800000U : 0;
    return loop_float_of(bits | (uint32_t)(half & 0x8000) << 16);
}

/*
 * f32 to f16, nearest even. Normal results: rebias, add half a unit (less one where the kept bit is even), cut; a carry
 * into the exponent is right, up to infinity. Denormal results: adding 0.5 puts the unit of f16 denormals, 2^-24, at
 * the last place of the sum, which the addition rounds to.
 */
LOOP uint16_t loop_f32_to_f16_one(float value) {
    uint32_t bits = loop_bits_of(value);
    uint32_t magnitude = bits & 0x7fffffffU;
    uint32_t normal = (magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1)) >> 13;
    uint32_t small = loop_bits_of(loop_float_of(magnitude) + 0.5F) - 0x3f000000U;
    uint32_t half = magnitude < 0x38800000U ? small : normal;
    half = magnitude >= 0x47800000U ? 0x7c00U : half;
    half = magnitude > 0x7f800000U ? 0x7e00U : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000U));
}

LOOP void loop_f16_to_f32(const uint16_t *from, float *restrict to, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = loop_f16_to_f32_one(loop_load_u16(from, i));
}

LOOP void loop_f32_to_f16(const float *restrict from, uint16_t *restrict to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint16_t half = loop_f32_to_f16_one(from[i]);
        memcpy((uint8_t *)to + 2 * i, &half, sizeof half);
    }
}

/*
 * Clamped before it is rounded, which is the same and keeps the rounding by 2^23 in range. The clamping is done on the
 * bits, which order positive floats and leave no branch: a sign bit gives 0, and so does NaN.
 */
LOOP uint8_t loop_encode_code(float v, float lo, float inverse_step) {
    int32_t bits = (int32_t)loop_bits_of((v - lo) * inverse_step);
    bits &= -(int32_t)(bits > 0) & -(int32_t)(bits <= 0x7f800000);
    int32_t over = bits - 0x42fe0000; /* 127 */
    bits -= over & -(int32_t)(over > 0);
    return (uint8_t)(loop_bits_of(loop_float_of((uint32_t)bits) + 0x1p23F) & 0x7f);
}

LOOP void loop_encode_codes(const float *restrict v, size_t n, float lo, float inverse_step, uint8_t *restrict codes) {
    for (size_t i = 0; i < n; i++)
        codes[i] = loop_encode_code(v[i], lo, inverse_step);
}

LOOP bool loop_all_finite_f32(const float *v, size_t n) {
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (loop_bits_of(v[i]) & 0x7f800000U) == 0x7f800000U;
    return bad == 0;
}

LOOP uint32_t loop_popcount(uint64_t word) {
    return (uint32_t)__builtin_popcountll(word);
}

LOOP uint32_t loop_hamming(const uint64_t *a, const uint64_t *b, size_t words) {
    uint32_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += loop_popcount(a[i] ^ b[i]);
    return count;
}

LOOP uint64_t loop_bits_count(const uint64_t *a, size_t words) {
    uint64_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += loop_popcount(a[i]);
    return count;
}

/* The ids of one word; returns the place after the last. */
LOOP uint32_t *loop_word_to_ids(uint64_t word, uint32_t base, uint32_t *out) {
    for (; word != 0; word &= word - 1)
        *out++ = base + (uint32_t)__builtin_ctzll(word);
    return out;
}

/* At most four ids, without a branch on how many: what stands past the last is overwritten or ignored. */
LOOP uint32_t *loop_sparse_word_to_ids(uint64_t word, uint32_t count, uint32_t base, uint32_t *out) {
    for (unsigned i = 0; i < LOOP_SPARSE_IDS; i++) {
        out[i] = base + (uint32_t)__builtin_ctzll(word | (uint64_t)1 << 63);
        word &= word - 1;
    }
    return out + count;
}

/* Writes the ids of a word and may write anything up to 64 places from `out`. */
typedef uint32_t *(*loop_expand_function)(uint64_t word, uint32_t base, uint32_t *out);

/*
 * Bitmap to ids: counted first, which costs little beside the writing and tells two things. How far one may write
 * carelessly: the last 64 ids are written exactly (and while ids are to come, so are words). And what the words are
 * like: mostly empty (skipped, and the branch is foreseen), of few bits (four ids are written for every word, so that
 * no branch depends on the data), or full of them (the set's own expansion is faster).
 */
LOOP size_t loop_bits_to_ids(const uint64_t *a, size_t words, uint32_t base, uint32_t *out, size_t total,
                             loop_expand_function expand) {
    uint32_t *next = out;
    uint32_t *careless_end = total < LOOP_WORD_BITS ? out : out + (total - LOOP_WORD_BITS);
    size_t i = 0;
    if (total >= 2 * words) {
        for (; next < careless_end; i++, base += LOOP_WORD_BITS)
            next = expand(a[i], base, next);
    } else if (total >= words / 8) {
        for (; next < careless_end; i++, base += LOOP_WORD_BITS) {
            uint32_t count = loop_popcount(a[i]);
            if (count <= LOOP_SPARSE_IDS)
                next = loop_sparse_word_to_ids(a[i], count, base, next);
            else
                next = expand(a[i], base, next);
        }
    }
    for (; i < words; i++, base += LOOP_WORD_BITS)
        next = loop_word_to_ids(a[i], base, next);
    return (size_t)(next - out);
}

LOOP void loop_sparse_f32(float *restrict v, const uint32_t *restrict indices, const float *restrict values,
                          size_t count, enum simd_sparse_mode mode) {
    if (mode == SIMD_ADD) {
        for (size_t i = 0; i < count; i++)
            v[indices[i]] += values[i];
    } else {
        for (size_t i = 0; i < count; i++)
            v[indices[i]] = values[i];
    }
}

LOOP void loop_add_f32(float *restrict v, const float *restrict delta, size_t n) {
    for (size_t i = 0; i < n; i++)
        v[i] += delta[i];
}

LOOP void loop_scale_f32(float *v, float factor, size_t n) {
    for (size_t i = 0; i < n; i++)
        v[i] *= factor;
}

LOOP void loop_offset_f32(float *v, float amount, size_t n) {
    for (size_t i = 0; i < n; i++)
        v[i] += amount;
}

/*
 * One query against many rows, from the set's SET_NAME for one row, SET_NAME_four for four, which also asks for the
 * lines of the four rows from `ahead` (unless NULL) as it goes, and SET_touch for a whole row. Rows are AHEAD places on
 * their way before they are needed: they lie at random addresses, so the misses of many should overlap.
 */
#define LOOP_ROWS(SET, NAME, QUERY, ROW, RESULT, AHEAD)                                                                \
    static void SET##_##NAME##_rows(const QUERY *query, const ROW *const *rows, size_t count, size_t n, RESULT *out) { \
        size_t i = 0;                                                                                                  \
        for (size_t j = 0; j < AHEAD && j < count; j++)                                                                \
            SET##_touch(rows[j], n * sizeof(ROW));                                                                     \
        for (; i + AHEAD + LOOP_ROWS_AT_ONCE <= count; i += LOOP_ROWS_AT_ONCE)                                         \
            SET##_##NAME##_four(query, rows + i, rows + i + AHEAD, n, out + i);                                        \
        for (size_t j = i + AHEAD; j < count; j++)                                                                     \
            SET##_touch(rows[j], n * sizeof(ROW));                                                                     \
        for (; i + LOOP_ROWS_AT_ONCE <= count; i += LOOP_ROWS_AT_ONCE)                                                 \
            SET##_##NAME##_four(query, rows + i, NULL, n, out + i);                                                    \
        if (count - i == 1) {                                                                                          \
            out[i] = SET##_##NAME(query, rows[i], n);                                                                  \
        } else if (i < count) { /* padded with a row at hand */                                                        \
            const ROW *last[LOOP_ROWS_AT_ONCE];                                                                        \
            RESULT results[LOOP_ROWS_AT_ONCE];                                                                         \
            for (size_t j = 0; j < LOOP_ROWS_AT_ONCE; j++)                                                             \
                last[j] = rows[i + j < count ? i + j : i];                                                             \
            SET##_##NAME##_four(query, last, NULL, n, results);                                                        \
            memcpy(out + i, results, (count - i) * sizeof(RESULT));                                                    \
        }                                                                                                              \
    }

/* The filter word of up to 64 elements: the definition, and the tail of every set. */
#define LOOP_RANGE_WORD(SUFFIX, TYPE)                                                                                  \
    LOOP uint64_t loop_range_word_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi) {                                \
        uint64_t word = 0;                                                                                             \
        for (size_t i = 0; i < n; i++)                                                                                 \
            word |= (uint64_t)((lo <= v[i]) & (v[i] <= hi)) << i;                                                      \
        return word;                                                                                                   \
    }
LOOP_RANGE_WORD(i8, int8_t)
LOOP_RANGE_WORD(i16, int16_t)
LOOP_RANGE_WORD(i32, int32_t)
LOOP_RANGE_WORD(i64, int64_t)
LOOP_RANGE_WORD(f32, float)
LOOP_RANGE_WORD(f64, double)

LOOP uint64_t loop_member_bit(int64_t code, const uint64_t *set, uint32_t set_size) {
    return code >= 0 && code < set_size ? set[(uint64_t)code / LOOP_WORD_BITS] >> code % LOOP_WORD_BITS & 1 : 0;
}

/* A set of at most `room` codes as a table of exactly room / 64 words, zero from set_size on. */
LOOP void loop_set_table(const uint64_t *set, uint32_t set_size, uint32_t room, uint64_t *table) {
    for (uint32_t i = 0; i < room / LOOP_WORD_BITS; i++) {
        uint32_t first = i * LOOP_WORD_BITS;
        uint64_t keep =
            set_size >= first + LOOP_WORD_BITS ? ~(uint64_t)0 : ((uint64_t)1 << set_size % LOOP_WORD_BITS) - 1;
        table[i] = set_size > first ? set[i] & keep : 0;
    }
}

#define LOOP_MEMBER_WORD(SUFFIX, TYPE)                                                                                 \
    LOOP uint64_t loop_member_word_##SUFFIX(const TYPE *v, size_t n, const uint64_t *set, uint32_t set_size) {         \
        uint64_t word = 0;                                                                                             \
        for (size_t i = 0; i < n; i++)                                                                                 \
            word |= loop_member_bit(v[i], set, set_size) << i;                                                         \
        return word;                                                                                                   \
    }
LOOP_MEMBER_WORD(i8, int8_t)
LOOP_MEMBER_WORD(i16, int16_t)
LOOP_MEMBER_WORD(i32, int32_t)

/* The bitmap kernel of a set, from its function for a full word: WORD(v, lo, hi). */
#define LOOP_RANGE(SET, SUFFIX, TYPE, WORD)                                                                            \
    static void SET##_range_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi, uint64_t *out) {                       \
        for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS)                                          \
            *out++ = WORD(v, lo, hi);                                                                                  \
        if (n > 0) *out = loop_range_word_##SUFFIX(v, n, lo, hi);                                                      \
    }

#define LOOP_COUNT_RANGE(SET, SUFFIX, TYPE, WORD)                                                                      \
    static uint64_t SET##_count_range_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi, const uint64_t *mask) {      \
        uint64_t count = 0;                                                                                            \
        if (mask == NULL) {                                                                                            \
            for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS)                                      \
                count += loop_popcount(WORD(v, lo, hi));                                                               \
        } else {                                                                                                       \
            for (; n >= LOOP_WORD_BITS; n -= LOOP_WORD_BITS, v += LOOP_WORD_BITS)                                      \
                count += loop_popcount(WORD(v, lo, hi) & *mask++);                                                     \
        }                                                                                                              \
        if (n > 0)                                                                                                     \
            count += loop_popcount(loop_range_word_##SUFFIX(v, n, lo, hi) & (mask == NULL ? ~(uint64_t)0 : *mask));    \
        return count;                                                                                                  \
    }

/* A full word from parts of PART_BITS bits. */
#define LOOP_WORD_OF_PARTS(SET, SUFFIX, TYPE, PART_BITS)                                                               \
    static inline uint64_t SET##_word_##SUFFIX(const TYPE *v, TYPE lo, TYPE hi) {                                      \
        uint64_t word = 0;                                                                                             \
        for (unsigned i = 0; i < LOOP_WORD_BITS; i += PART_BITS)                                                       \
            word |= SET##_part_##SUFFIX(v + i, lo, hi) << i;                                                           \
        return word;                                                                                                   \
    }

/* All range kernels of a set that has SET_word_TYPE for each type. */
#define LOOP_RANGES(SET)                                                                                               \
    LOOP_RANGE(SET, i8, int8_t, SET##_word_i8)                                                                         \
    LOOP_RANGE(SET, i16, int16_t, SET##_word_i16)                                                                      \
    LOOP_RANGE(SET, i32, int32_t, SET##_word_i32)                                                                      \
    LOOP_RANGE(SET, i64, int64_t, SET##_word_i64)                                                                      \
    LOOP_RANGE(SET, f32, float, SET##_word_f32)                                                                        \
    LOOP_RANGE(SET, f64, double, SET##_word_f64)                                                                       \
    LOOP_COUNT_RANGE(SET, i8, int8_t, SET##_word_i8)                                                                   \
    LOOP_COUNT_RANGE(SET, i16, int16_t, SET##_word_i16)                                                                \
    LOOP_COUNT_RANGE(SET, i32, int32_t, SET##_word_i32)                                                                \
    LOOP_COUNT_RANGE(SET, i64, int64_t, SET##_word_i64)                                                                \
    LOOP_COUNT_RANGE(SET, f64, double, SET##_word_f64)

#endif
