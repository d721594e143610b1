/*
 * Filters, counts and aggregates: every set, the definition included, against a statement row by row.
 */
#include "tests/unit/simd_support.h"

/* Bit i of a bitmap, or true where there is none. */
static bool kept(const uint64_t *mask, size_t i) {
    return mask == NULL || (mask[i / 64] >> i % 64 & 1) != 0;
}

/* A mask over n rows whose bits beyond n are set: kernels must not count them. */
static struct block mask_new(struct random *random, size_t n) {
    struct block block = block_new((n + 63) / 64 * 8, random_below(random, 8) * 8);
    random_bytes(random, block_data(&block), block.size_bytes);
    if (n % 64 != 0) ((uint64_t *)block_data(&block))[n / 64] |= ~(uint64_t)0 << n % 64;
    return block;
}

#define RANGE_CHECK(SUFFIX, TYPE)                                                                                      \
    static void check_range_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi) {                                      \
        const struct simd_kernels *set;                                                                                \
        size_t words = (n + 63) / 64;                                                                                  \
        uint64_t *want = calloc(words + 1, 8);                                                                         \
        for (size_t i = 0; i < n; i++)                                                                                 \
            if (v[i] >= lo && v[i] <= hi) want[i / 64] |= (uint64_t)1 << i % 64;                                       \
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {                                                 \
            struct block out = block_new(words * 8, 8);                                                                \
            set->range_##SUFFIX(v, n, lo, hi, block_data(&out));                                                       \
            check_words(set->name, n, block_data(&out), want, words);                                                  \
            block_free(&out);                                                                                          \
        }                                                                                                              \
        free(want);                                                                                                    \
    }
#define COUNT_CHECK(SUFFIX, TYPE)                                                                                      \
    static void check_count_##SUFFIX(const TYPE *v, size_t n, TYPE lo, TYPE hi, const uint64_t *mask) {                \
        const struct simd_kernels *set;                                                                                \
        uint64_t want = 0;                                                                                             \
        for (size_t i = 0; i < n; i++)                                                                                 \
            want += v[i] >= lo && v[i] <= hi && kept(mask, i);                                                         \
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++)                                                   \
            assert_int_equal(set->count_range_##SUFFIX(v, n, lo, hi, mask), want);                                     \
    }
RANGE_CHECK(i8, int8_t)
RANGE_CHECK(i16, int16_t)
RANGE_CHECK(i32, int32_t)
RANGE_CHECK(i64, int64_t)
RANGE_CHECK(f32, float)
RANGE_CHECK(f64, double)
COUNT_CHECK(i8, int8_t)
COUNT_CHECK(i16, int16_t)
COUNT_CHECK(i32, int32_t)
COUNT_CHECK(i64, int64_t)
COUNT_CHECK(f64, double)

/* Bounds that meet, that cross, that take the whole type, and values equal to them; then bounds among the values. */
#define INTEGER_RANGES(SUFFIX, TYPE, LEAST, MOST)                                                                      \
    static void ranges_##SUFFIX(void **state) {                                                                        \
        (void)state;                                                                                                   \
        struct random random = random_seeded(21);                                                                      \
        for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {                                                        \
            struct block block = block_new(n * sizeof(TYPE), random_below(&random, 64 / sizeof(TYPE)) * sizeof(TYPE)); \
            struct block mask = mask_new(&random, n);                                                                  \
            TYPE *v = block_data(&block);                                                                              \
            for (size_t i = 0; i < n; i++) {                                                                           \
                TYPE picks[] = {LEAST, MOST, 0, 1, -1, (TYPE)(LEAST + 1), (TYPE)(MOST - 1), 7};                        \
                v[i] = random_chance(&random, 40) ? picks[random_below(&random, 8)] : (TYPE)random_u64(&random);       \
            }                                                                                                          \
            TYPE any = n > 0 ? v[random_below(&random, n)] : 3;                                                        \
            TYPE other = n > 0 ? v[random_below(&random, n)] : 5;                                                      \
            TYPE bounds[][2] = {{LEAST, MOST}, {MOST, LEAST}, {0, 0},       {LEAST, LEAST}, {MOST, MOST}, {-1, 7},     \
                                {LEAST, 0},    {0, MOST},     {any, other}, {other, any},   {any, any},   {8, 6}};     \
            for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {                                            \
                check_range_##SUFFIX(v, n, bounds[i][0], bounds[i][1]);                                                \
                check_count_##SUFFIX(v, n, bounds[i][0], bounds[i][1], NULL);                                          \
                check_count_##SUFFIX(v, n, bounds[i][0], bounds[i][1], block_data(&mask));                             \
            }                                                                                                          \
            block_free(&block);                                                                                        \
            block_free(&mask);                                                                                         \
        }                                                                                                              \
    }
INTEGER_RANGES(i8, int8_t, INT8_MIN, INT8_MAX)
INTEGER_RANGES(i16, int16_t, INT16_MIN, INT16_MAX)
INTEGER_RANGES(i32, int32_t, INT32_MIN, INT32_MAX)
INTEGER_RANGES(i64, int64_t, INT64_MIN, INT64_MAX)

static const double float_bounds[][2] = {{-INFINITY, INFINITY},
                                         {0.0, 0.0},
                                         {-0.0, -0.0},
                                         {-0.0, 0.0},
                                         {0.0, -0.0},
                                         {-0.5, 0.5},
                                         {NAN, 1.0},
                                         {0.0, NAN},
                                         {NAN, NAN},
                                         {INFINITY, INFINITY},
                                         {-INFINITY, 0.0},
                                         {0x1p-149, 1.0},
                                         {1.0, -1.0},
                                         {-1.0, 1.0},
                                         {1.0, 1.0},
                                         {FLT_MAX, INFINITY},
                                         {-FLT_MIN, FLT_MIN / 512}};

static void ranges_f32(void **state) {
    (void)state;
    struct random random = random_seeded(22);
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        struct block block = block_new(n * 4, random_below(&random, 16) * 4);
        fill_floats(&random, block_data(&block), n, true);
        for (size_t i = 0; i < sizeof float_bounds / sizeof float_bounds[0]; i++)
            check_range_f32(block_data(&block), n, (float)float_bounds[i][0], (float)float_bounds[i][1]);
        block_free(&block);
    }
}

static void fill_doubles(struct random *random, double *v, size_t n, bool special) {
    static const double extremes[] = {DBL_MAX, -DBL_MAX, DBL_MIN / 8, -DBL_MIN / 8, 1e300};
    for (size_t i = 0; i < n; i++) {
        v[i] = special ? (double)special_float(random) : random_unit(random) * 2.0 - 1.0;
        if (special && random_chance(random, 50))
            v[i] = random_chance(random, 70) ? random_unit(random) : extremes[random_below(random, 5)];
    }
}

static void ranges_f64(void **state) {
    (void)state;
    struct random random = random_seeded(23);
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        struct block block = block_new(n * 8, random_below(&random, 8) * 8);
        struct block mask = mask_new(&random, n);
        const double *v = block_data(&block);
        fill_doubles(&random, block_data(&block), n, true);
        for (size_t i = 0; i < sizeof float_bounds / sizeof float_bounds[0]; i++) {
            check_range_f64(v, n, float_bounds[i][0], float_bounds[i][1]);
            check_count_f64(v, n, float_bounds[i][0], float_bounds[i][1], NULL);
            check_count_f64(v, n, float_bounds[i][0], float_bounds[i][1], block_data(&mask));
        }
        block_free(&block);
        block_free(&mask);
    }
}

/* The set's words end where its size ends, and what it has beyond its size is set: it must not be read as members. */
#define MEMBERS(SUFFIX, TYPE, MOST)                                                                                    \
    static void check_member_##SUFFIX(struct random *random, size_t n, uint32_t set_size) {                            \
        struct block codes = block_new(n * sizeof(TYPE), random_below(random, 64 / sizeof(TYPE)) * sizeof(TYPE));      \
        struct block members = mask_new(random, set_size);                                                             \
        TYPE *v = block_data(&codes);                                                                                  \
        const uint64_t *bits = block_data(&members);                                                                   \
        size_t words = (n + 63) / 64;                                                                                  \
        uint64_t *want = calloc(words + 1, 8);                                                                         \
        for (size_t i = 0; i < n; i++) {                                                                               \
            v[i] = (TYPE)random_u64(random);                                                                           \
            if (random_chance(random, 90) && set_size > 0)                                                             \
                v[i] = (TYPE)((set_size < MOST ? random_below(random, set_size + 2) : random_u64(random)) & MOST);     \
            if (v[i] >= 0 && (uint64_t)v[i] < set_size && kept(bits, (size_t)v[i]))                                    \
                want[i / 64] |= (uint64_t)1 << i % 64;                                                                 \
        }                                                                                                              \
        const struct simd_kernels *set;                                                                                \
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {                                                 \
            struct block out = block_new(words * 8, 8);                                                                \
            set->member_##SUFFIX(v, n, bits, set_size, block_data(&out));                                              \
            check_words(set->name, n, block_data(&out), want, words);                                                  \
            block_free(&out);                                                                                          \
        }                                                                                                              \
        free(want);                                                                                                    \
        block_free(&codes);                                                                                            \
        block_free(&members);                                                                                          \
    }                                                                                                                  \
    static void members_##SUFFIX(void **state) {                                                                       \
        (void)state;                                                                                                   \
        static const uint32_t sizes[] = {0,   1,   2,   31,  32,   33,    63,    64,    65,    100,                    \
                                         127, 128, 129, 255, 256,  257,   300,   511,   512,   513,                    \
                                         639, 640, 641, 700, 1000, 32767, 32768, 32769, 70000, 100000};                \
        struct random random = random_seeded(24);                                                                      \
        for (size_t n = 0; n != SIZE_MAX; n = next_length(n))                                                          \
            for (size_t i = n % 3; i < sizeof sizes / sizeof sizes[0]; i += n < 200 ? 3 : 1)                           \
                check_member_##SUFFIX(&random, n, sizes[i]);                                                           \
    }
MEMBERS(i8, int8_t, INT8_MAX)
MEMBERS(i16, int16_t, INT16_MAX)
MEMBERS(i32, int32_t, INT32_MAX)

/* Counters in lanes of 8 and 16 bits are emptied before they wrap, however many rows lie outside without a break. */
#define COUNTS_OF_MANY(SUFFIX, TYPE, ROWS)                                                                             \
    static void counts_of_many_##SUFFIX(void **state) {                                                                \
        (void)state;                                                                                                   \
        enum { WRAP = (ROWS), REST = 37 };                                                                             \
        struct block block = block_new((WRAP + REST) * sizeof(TYPE), sizeof(TYPE));                                    \
        TYPE *v = block_data(&block);                                                                                  \
        const struct simd_kernels *set;                                                                                \
        for (size_t i = 0; i < WRAP + REST; i++)                                                                       \
            v[i] = 9;                                                                                                  \
        v[0] = v[WRAP - 1] = v[WRAP + REST - 1] = 3;                                                                   \
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {                                                 \
            assert_int_equal(set->count_range_##SUFFIX(v, WRAP + REST, 3, 8, NULL), 3);                                \
            assert_int_equal(set->count_range_##SUFFIX(v, WRAP + REST, 3, 9, NULL), WRAP + REST);                      \
        }                                                                                                              \
        block_free(&block);                                                                                            \
    }
COUNTS_OF_MANY(i8, int8_t, 256 * 256)
COUNTS_OF_MANY(i16, int16_t, 65536 * 64)

/* A set may be said to be larger than any code: negative codes still do not match, nor reach below the set. */
static void members_of_the_largest_set(void **state) {
    (void)state;
    enum { ROWS = 200 };
    const struct simd_kernels *set;
    struct block bits = block_new(16, 8);
    memset(block_data(&bits), 0xff, 16);
    int8_t bytes[ROWS];
    int16_t shorts[ROWS];
    int32_t ints[ROWS];
    for (int i = 0; i < ROWS; i++) {
        bytes[i] = (int8_t)(i % 3 == 0 ? -1 - i % 128 : i % 128);
        shorts[i] = i % 3 == 0 ? (int16_t)(i % 2 ? INT16_MIN : -1) : bytes[i];
        ints[i] = i % 3 == 0 ? (i % 2 ? INT32_MIN : -1) : bytes[i];
    }
    for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
        static const uint32_t sizes[] = {128, (uint32_t)1 << 31, UINT32_MAX};
        for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
            uint64_t out[3][(ROWS + 63) / 64];
            set->member_i8(bytes, ROWS, block_data(&bits), sizes[size], out[0]);
            set->member_i16(shorts, ROWS, block_data(&bits), sizes[size], out[1]);
            set->member_i32(ints, ROWS, block_data(&bits), sizes[size], out[2]);
            for (size_t i = 0; i < ROWS; i++)
                for (int kind = 0; kind < 3; kind++)
                    if ((out[kind][i / 64] >> i % 64 & 1) != (i % 3 != 0))
                        fail_msg("%s, kind %d, set of %u, row %zu", set->name, kind, sizes[size], i);
        }
    }
    block_free(&bits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_i8),          cmocka_unit_test(ranges_i16),
        cmocka_unit_test(ranges_i32),         cmocka_unit_test(ranges_i64),
        cmocka_unit_test(ranges_f32),         cmocka_unit_test(ranges_f64),
        cmocka_unit_test(members_i8),         cmocka_unit_test(members_i16),
        cmocka_unit_test(members_i32),        cmocka_unit_test(counts_of_many_i8),
        cmocka_unit_test(counts_of_many_i16), cmocka_unit_test(members_of_the_largest_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
