/*
 * Kernels of 7-bit codes, of bit strings and of byte planes, and the choice of a set: every set, the definition
 * included, against independent statements.
 */
#include "tests/unit/simd_support.h"

enum { CODE_STEP = 32, ROWS_LIMIT = 14 };

static int64_t stated_dot(const int8_t *query, const uint8_t *row, size_t n) {
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (int64_t)query[i] * row[i];
    return sum;
}

enum code_fill { CODES_RANDOM, CODES_HIGHEST, CODES_LOWEST, CODES_ALTERNATING, CODE_FILLS };

static void fill_codes(struct random *random, enum code_fill fill, int8_t *query, uint8_t *row, size_t n) {
    for (size_t i = 0; i < n; i++) {
        switch (fill) {
        case CODES_RANDOM:
            query[i] = (int8_t)random_between(random, -127, 127);
            row[i] = (uint8_t)random_below(random, 128);
            break;
        case CODES_HIGHEST:
            query[i] = 127;
            row[i] = 127;
            break;
        case CODES_LOWEST:
            query[i] = -127;
            row[i] = 127;
            break;
        default:
            query[i] = i % 2 == 0 ? 127 : -127;
            row[i] = i % 3 == 0 ? 127 : 0;
            break;
        }
    }
}

/* All multiples of 32 up to 1,056, then long ones, which reach past every block inside the kernels. */
static size_t next_code_length(size_t n) {
    if (n < 1056) return n + CODE_STEP;
    return n < 5000 ? n + 33 * CODE_STEP : n < 40000 ? n * 2 : SIZE_MAX;
}

static void check_codes(const struct simd_kernels *set, struct random *random, enum code_fill fill, size_t n) {
    struct block query = block_new(n, random_below(random, 64));
    struct block rows[ROWS_LIMIT];
    const uint8_t *row[ROWS_LIMIT];
    for (size_t i = 0; i < ROWS_LIMIT; i++) {
        rows[i] = block_new(n, random_below(random, 64));
        fill_codes(random, fill, block_data(&query), block_data(&rows[i]), n);
        row[i] = block_data(&rows[i]);
    }
    for (size_t count = 0; count <= ROWS_LIMIT; count++) {
        struct block out = block_new(count * 4, 4);
        const int32_t *got = block_data(&out);
        set->dot_codes_rows(block_data(&query), row, count, n, block_data(&out));
        for (size_t i = 0; i < count; i++)
            assert_int_equal(got[i], stated_dot(block_data(&query), row[i], n));
        block_free(&out);
    }
    for (size_t i = 0; i < ROWS_LIMIT; i++) {
        assert_int_equal(set->dot_codes(block_data(&query), row[i], n), stated_dot(block_data(&query), row[i], n));
        uint64_t sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += row[i][j];
        assert_int_equal(set->sum_codes(row[i], n), sum);
        block_free(&rows[i]);
    }
    block_free(&query);
}

static void codes(void **state) {
    (void)state;
    struct random random = random_seeded(11);
    const struct simd_kernels *set;
    for (unsigned s = 0; (set = simd_available(s)) != NULL; s++)
        for (size_t n = 0; n != SIZE_MAX; n = next_code_length(n))
            for (int fill = 0; fill < CODE_FILLS; fill++)
                check_codes(set, &random, (enum code_fill)fill, n);
}

static uint8_t stated_code(float v, float lo, float inverse_step) {
    volatile float shifted = v - lo;
    volatile float scaled = shifted * inverse_step;
    if (isnan(scaled) || scaled < 0.0F) return 0;
    return scaled > 127.0F ? 127 : (uint8_t)nearbyintf(scaled);
}

static void check_encoding(const float *v, size_t n, float lo, float inverse_step, size_t offset) {
    const struct simd_kernels *set;
    for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
        struct block out = block_new(n, offset);
        const uint8_t *codes = block_data(&out);
        set->encode_codes(v, n, lo, inverse_step, block_data(&out));
        for (size_t i = 0; i < n; i++)
            if (codes[i] != stated_code(v[i], lo, inverse_step))
                fail_msg("%s, element %zu of %zu: %a to %u", set->name, i, n, (double)v[i], codes[i]);
        block_free(&out);
    }
}

static void encoding(void **state) {
    (void)state;
    struct random random = random_seeded(12);
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        struct block block = block_new(n * 4, random_below(&random, 16) * 4);
        float *v = block_data(&block);
        fill_floats(&random, v, n, false);
        check_encoding(v, n, -3.0F, 127.0F / 6.0F, random_below(&random, 64));
        fill_floats(&random, v, n, true);
        check_encoding(v, n, -1.0F, 127.0F / 2.0F, random_below(&random, 64));
        check_encoding(v, n, 0.0F, 0.0F, random_below(&random, 64));
        /* halves go to the even code; -1 .. 129 in steps of a half */
        for (size_t i = 0; i < n; i++)
            v[i] = 5.0F + 0.5F * (float)((int)(i % 261) - 2);
        check_encoding(v, n, 5.0F, 1.0F, random_below(&random, 64));
        block_free(&block);
    }
}

static unsigned stated_count(uint64_t word) {
    unsigned count = 0;
    for (; word != 0; word >>= 1)
        count += (unsigned)(word & 1);
    return count;
}

static void fill_bits(struct random *random, uint64_t *words, size_t count, unsigned percent) {
    for (size_t i = 0; i < count; i++) {
        words[i] = 0;
        for (unsigned bit = 0; bit < 64; bit++)
            words[i] |= (uint64_t)random_chance(random, percent) << bit;
    }
}

static void check_bitmaps(const struct simd_kernels *set, const uint64_t *a, const uint64_t *b, size_t words) {
    uint64_t count_a = 0, differing = 0;
    for (size_t i = 0; i < words; i++) {
        count_a += stated_count(a[i]);
        differing += stated_count(a[i] ^ b[i]);
    }
    assert_int_equal(set->bits_count(a, words), count_a);
    assert_int_equal(set->hamming(a, b, words), differing);

    /* into a third place, then over one of the inputs */
    for (int in_place = 0; in_place < 3; in_place++) {
        for (int operation = 0; operation < 4; operation++) {
            struct block copy_a = block_copy(a, words * 8, 8);
            struct block copy_b = block_copy(b, words * 8, 16);
            struct block third = block_new(words * 8, 24);
            uint64_t *x = block_data(&copy_a), *y = block_data(&copy_b);
            uint64_t *out = in_place == 0 ? block_data(&third) : in_place == 1 ? x : y;
            if (operation == 0) set->bits_and(out, x, y, words);
            if (operation == 1) set->bits_and_not(out, x, y, words);
            if (operation == 2) set->bits_or(out, x, y, words);
            if (operation == 3) set->bits_not(out, x, words);
            for (size_t i = 0; i < words; i++) {
                uint64_t wants[] = {a[i] & b[i], a[i] & ~b[i], a[i] | b[i], ~a[i]};
                check_words(set->name, words, &out[i], &wants[operation], 1);
            }
            block_free(&copy_a);
            block_free(&copy_b);
            block_free(&third);
        }
    }
}

static void bitmaps(void **state) {
    (void)state;
    struct random random = random_seeded(13);
    const struct simd_kernels *set;
    for (size_t words = 0; words <= 1024; words = next_length(words)) {
        struct block a = block_new(words * 8, random_below(&random, 8) * 8);
        struct block b = block_new(words * 8, random_below(&random, 8) * 8);
        for (unsigned percent = 0; percent <= 100; percent += 50) {
            fill_bits(&random, block_data(&a), words, percent);
            fill_bits(&random, block_data(&b), words, 50);
            for (unsigned s = 0; (set = simd_available(s)) != NULL; s++)
                check_bitmaps(set, block_data(&a), block_data(&b), words);
        }
        block_free(&a);
        block_free(&b);
    }
}

static void check_ids(const struct simd_kernels *set, const uint64_t *bits, size_t words, uint32_t base) {
    size_t total = 0;
    for (size_t i = 0; i < words; i++)
        total += stated_count(bits[i]);
    struct block out = block_new(total * 4, 4); /* not one place more than the ids need */
    const uint32_t *ids = block_data(&out);
    assert_int_equal(set->bits_to_ids(bits, words, base, block_data(&out)), total);
    size_t next = 0;
    for (size_t i = 0; i < words * 64; i++)
        if ((bits[i / 64] >> i % 64 & 1) != 0) assert_int_equal(ids[next++], base + (uint32_t)i);
    block_free(&out);
}

static void bitmaps_to_ids(void **state) {
    (void)state;
    struct random random = random_seeded(14);
    const struct simd_kernels *set;
    static const unsigned percents[] = {0, 1, 3, 6, 20, 50, 97, 100};
    for (size_t words = 0; words <= 1024; words = next_length(words)) {
        struct block block = block_new(words * 8, random_below(&random, 8) * 8);
        uint64_t *bits = block_data(&block);
        for (size_t p = 0; p < sizeof percents / sizeof percents[0]; p++) {
            fill_bits(&random, bits, words, percents[p]);
            if (percents[p] == 3 && words > 1) /* a dense patch in a sparse bitmap, and at its end */
                bits[words / 2] = bits[words - 1] = ~(uint64_t)0;
            for (unsigned s = 0; (set = simd_available(s)) != NULL; s++)
                check_ids(set, bits, words, p % 2 == 0 ? 0 : UINT32_MAX - 70000);
        }
        block_free(&block);
    }
}

static void selection(void **state) {
    (void)state;
    const struct simd_kernels *set;
    const struct simd_kernels *best = simd_select(NULL);
    assert_non_null(best);
    assert_ptr_equal(simd_select(""), best);
    assert_null(simd_select("sse9"));
    assert_null(simd_select("scalar "));
    unsigned count = 0;
    for (; (set = simd_available(count)) != NULL; count++)
        assert_ptr_equal(simd_select(set->name), set);
    assert_ptr_equal(simd_available(count - 1), best); /* they are listed worst first */
    assert_null(simd_available(count + 1));
    assert_ptr_equal(simd_select("scalar"), &simd_scalar);
#if defined(VELTA_SIMDE)
    assert_ptr_equal(simd_select("wasm128"), &simd_wasm128);
    assert_ptr_equal(simd_select("wasm_relaxed"), &simd_wasm_relaxed);
#endif
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw"))
        assert_ptr_equal(best, &simd_avx512);
    else if (__builtin_cpu_supports("avx2"))
        assert_ptr_equal(best, &simd_avx2);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes),          cmocka_unit_test(encoding),  cmocka_unit_test(bitmaps),
        cmocka_unit_test(bitmaps_to_ids), cmocka_unit_test(selection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
