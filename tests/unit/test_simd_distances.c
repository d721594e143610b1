/*
 * Float and half kernels: the definition against what the contract says, written independently; every set against the
 * definition, bit for bit.
 */
#include "tests/unit/simd_support.h"

enum { LANES = 16 };

/* The contract, one lane after another; `volatile` so that no product is fused into its sum. */
static float stated_sum(const float *terms_a, const float *terms_b, size_t n) {
    float lanes[LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        volatile float sum = 0.0F;
        for (size_t i = lane; i < n; i += LANES) {
            volatile float product = terms_a[i] * terms_b[i];
            sum = sum + product;
        }
        lanes[lane] = sum;
    }
    float eight[8], four[4];
    for (int j = 0; j < 8; j++)
        eight[j] = lanes[j] + lanes[j + 8];
    for (int j = 0; j < 4; j++)
        four[j] = eight[j] + eight[j + 4];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static double stated_half(uint16_t half) {
    double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
    int exponent = half >> 10 & 31;
    int fraction = half & 1023;
    if (exponent == 31) return fraction == 0 ? sign * (double)INFINITY : (double)NAN;
    return exponent == 0 ? sign * ldexp(fraction, -24) : sign * ldexp(1024 + fraction, exponent - 25);
}

struct distance_case {
    float *a, *b, *half_values, *differences, *half_differences;
    uint16_t *halves;
};

static void check_definition(const struct distance_case *test, size_t n) {
    const struct simd_kernels *set = &simd_scalar;
    for (size_t i = 0; i < n; i++) {
        test->half_values[i] = (float)stated_half(test->halves[i]);
        test->differences[i] = test->a[i] - test->b[i];
        test->half_differences[i] = test->a[i] - test->half_values[i];
    }
    float dot, aa, bb;
    set->cosine_f32(test->a, test->b, n, &dot, &aa, &bb);
    check_float(set->name, n, set->dot_f32(test->a, test->b, n), stated_sum(test->a, test->b, n));
    check_float(set->name, n, set->l2_f32(test->a, test->b, n), stated_sum(test->differences, test->differences, n));
    check_float(set->name, n, dot, stated_sum(test->a, test->b, n));
    check_float(set->name, n, aa, stated_sum(test->a, test->a, n));
    check_float(set->name, n, bb, stated_sum(test->b, test->b, n));
    check_float(set->name, n, set->dot_f16(test->a, test->halves, n), stated_sum(test->a, test->half_values, n));
    check_float(set->name, n, set->l2_f16(test->a, test->halves, n),
                stated_sum(test->half_differences, test->half_differences, n));
}

static void definition_is_the_contract(void **state) {
    (void)state;
    struct random random = random_seeded(1);
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        for (int special = 0; special < 2; special++) {
            size_t room = n + 1;
            struct distance_case test = {calloc(room, 4), calloc(room, 4), calloc(room, 4),
                                         calloc(room, 4), calloc(room, 4), calloc(room, 2)};
            fill_floats(&random, test.a, n, special != 0);
            fill_floats(&random, test.b, n, special != 0);
            fill_halves(&random, test.halves, n, special != 0);
            check_definition(&test, n);
            free(test.a);
            free(test.b);
            free(test.half_values);
            free(test.differences);
            free(test.half_differences);
            free(test.halves);
        }
    }
}

static void check_pair(const struct simd_kernels *set, const float *a, const float *b, const uint16_t *h, size_t n) {
    const struct simd_kernels *definition = &simd_scalar;
    check_float(set->name, n, set->dot_f32(a, b, n), definition->dot_f32(a, b, n));
    check_float(set->name, n, set->l2_f32(a, b, n), definition->l2_f32(a, b, n));
    check_float(set->name, n, set->dot_f16(a, h, n), definition->dot_f16(a, h, n));
    check_float(set->name, n, set->l2_f16(a, h, n), definition->l2_f16(a, h, n));
    float got[3], want[3];
    set->cosine_f32(a, b, n, &got[0], &got[1], &got[2]);
    definition->cosine_f32(a, b, n, &want[0], &want[1], &want[2]);
    for (int i = 0; i < 3; i++)
        check_float(set->name, n, got[i], want[i]);
}

static void sets_agree_on_pairs(void **state) {
    (void)state;
    struct random random = random_seeded(2);
    const struct simd_kernels *set;
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        for (size_t variant = 0; variant < 6; variant++) {
            struct block a = block_new(n * 4, random_below(&random, 16) * 4);
            struct block b = block_new(n * 4, random_below(&random, 16) * 4);
            struct block h = block_new(n * 2, random_below(&random, 32) * 2);
            fill_floats(&random, block_data(&a), n, variant % 2 != 0);
            fill_floats(&random, block_data(&b), n, variant % 2 != 0);
            fill_halves(&random, block_data(&h), n, variant % 2 != 0);
            for (unsigned i = 0; (set = simd_available(i)) != NULL; i++)
                check_pair(set, block_data(&a), block_data(&b), block_data(&h), n);
            block_free(&a);
            block_free(&b);
            block_free(&h);
        }
    }
}

enum { ROWS_LIMIT = 14 };

static void check_rows(const struct simd_kernels *set, const float *query, const struct block *rows,
                       const struct block *half_rows, size_t count, size_t n) {
    const float *f32[ROWS_LIMIT];
    const uint16_t *f16[ROWS_LIMIT];
    for (size_t i = 0; i < count; i++) {
        f32[i] = block_data(&rows[i]);
        f16[i] = block_data(&half_rows[i]);
    }
    struct block block = block_new(count * 4, 4);
    float *out = block_data(&block);
    set->dot_f32_rows(query, f32, count, n, out);
    for (size_t i = 0; i < count; i++)
        check_float(set->name, n, out[i], simd_scalar.dot_f32(query, f32[i], n));
    set->l2_f32_rows(query, f32, count, n, out);
    for (size_t i = 0; i < count; i++)
        check_float(set->name, n, out[i], simd_scalar.l2_f32(query, f32[i], n));
    set->dot_f16_rows(query, f16, count, n, out);
    for (size_t i = 0; i < count; i++)
        check_float(set->name, n, out[i], simd_scalar.dot_f16(query, f16[i], n));
    set->l2_f16_rows(query, f16, count, n, out);
    for (size_t i = 0; i < count; i++)
        check_float(set->name, n, out[i], simd_scalar.l2_f16(query, f16[i], n));
    block_free(&block);
}

static void sets_agree_on_rows(void **state) {
    (void)state;
    struct random random = random_seeded(3);
    const struct simd_kernels *set;
    for (size_t n = 0; n <= 1024; n = next_length(n)) {
        struct block query = block_new(n * 4, random_below(&random, 16) * 4);
        struct block rows[ROWS_LIMIT], half_rows[ROWS_LIMIT];
        bool special = n % 2 != 0;
        fill_floats(&random, block_data(&query), n, special);
        for (size_t i = 0; i < ROWS_LIMIT; i++) {
            rows[i] = block_new(n * 4, random_below(&random, 16) * 4);
            half_rows[i] = block_new(n * 2, random_below(&random, 32) * 2);
            fill_floats(&random, block_data(&rows[i]), n, special);
            fill_halves(&random, block_data(&half_rows[i]), n, special);
        }
        for (unsigned i = 0; (set = simd_available(i)) != NULL; i++)
            for (size_t count = 0; count <= ROWS_LIMIT; count++)
                check_rows(set, block_data(&query), rows, half_rows, count, n);
        block_free(&query);
        for (size_t i = 0; i < ROWS_LIMIT; i++) {
            block_free(&rows[i]);
            block_free(&half_rows[i]);
        }
    }
}

/* Half rows may stand at odd addresses. */
static void halves_at_odd_addresses(void **state) {
    (void)state;
    struct random random = random_seeded(4);
    const struct simd_kernels *set;
    for (size_t n = 0; n < LENGTH_LIMIT; n++) {
        float *query = calloc(n + 1, 4);
        uint16_t *halves = calloc(n + 1, 2);
        fill_floats(&random, query, n, false);
        fill_halves(&random, halves, n, false);
        struct block odd = block_copy(halves, n * 2, 1);
        uintptr_t address = (uintptr_t)block_data(&odd);
        const uint16_t *row = (const uint16_t *)address;
        for (unsigned i = 0; (set = simd_available(i)) != NULL; i++) {
            float out = -1.0F;
            check_float(set->name, n, set->dot_f16(query, row, n), simd_scalar.dot_f16(query, halves, n));
            set->dot_f16_rows(query, &row, 1, n, &out);
            check_float(set->name, n, out, simd_scalar.dot_f16(query, halves, n));
        }
        block_free(&odd);
        free(query);
        free(halves);
    }
}

static void every_half_widens(void **state) {
    (void)state;
    const struct simd_kernels *set;
    uint16_t *halves = calloc(65536, 2);
    float *values = calloc(65536, 4);
    for (size_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
        set->f16_to_f32(halves, values, 65536);
        for (size_t i = 0; i < 65536; i++)
            check_float(set->name, i, values[i], (float)stated_half((uint16_t)i));
        /* and back: every half is its own nearest; NaN stays NaN */
        set->f32_to_f16(values, halves, 65536);
        for (size_t i = 0; i < 65536; i++) {
            bool nan = (i & 0x7fff) > 0x7c00;
            if (nan)
                assert_true((halves[i] & 0x7fff) > 0x7c00);
            else
                assert_int_equal(halves[i], i);
            halves[i] = (uint16_t)i;
        }
    }
    free(halves);
    free(values);
}

/* Between neighbours h and h + 1 the middle goes to the even one, and a hair beside it to the nearer. */
static void rounding_to_half(void **state) {
    (void)state;
    const struct simd_kernels *set;
    float *values = calloc(3 * 0x7c00, 4);
    uint16_t *halves = calloc(3 * 0x7c00, 2);
    for (int negative = 0; negative < 2; negative++) {
        for (uint16_t h = 0; h < 0x7c00; h++) {
            double next = h == 0x7bff ? 65536.0 : stated_half((uint16_t)(h + 1));
            float middle = (float)((stated_half(h) + next) / 2);
            float sign = negative != 0 ? -1.0F : 1.0F;
            values[3 * h] = sign * nextafterf(middle, 0.0F);
            values[3 * h + 1] = sign * middle;
            values[3 * h + 2] = sign * nextafterf(middle, INFINITY);
        }
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
            set->f32_to_f16(values, halves, 3 * 0x7c00);
            uint16_t sign = negative != 0 ? 0x8000 : 0;
            for (uint16_t h = 0; h < 0x7c00; h++) {
                assert_int_equal(halves[3 * h], h | sign);
                assert_int_equal(halves[3 * h + 1], (h + (h & 1)) | sign);
                assert_int_equal(halves[3 * h + 2], (h + 1) | sign);
            }
        }
    }
    free(values);
    free(halves);
}

static void half_conversions_by_length(void **state) {
    (void)state;
    struct random random = random_seeded(5);
    const struct simd_kernels *set;
    for (size_t n = 0; n < LENGTH_LIMIT; n++) {
        struct block halves = block_new(n * 2, random_below(&random, 32) * 2);
        struct block values = block_new(n * 4, random_below(&random, 16) * 4);
        fill_halves(&random, block_data(&halves), n, true);
        fill_floats(&random, block_data(&values), n, true);
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
            struct block wide = block_new(n * 4, 4);
            struct block narrow = block_new(n * 2, 2);
            const uint16_t *from = block_data(&halves);
            const float *to = block_data(&wide);
            set->f16_to_f32(from, block_data(&wide), n);
            for (size_t i = 0; i < n; i++)
                check_float(set->name, n, to[i], (float)stated_half(from[i]));
            const float *source = block_data(&values);
            const uint16_t *got = block_data(&narrow);
            set->f32_to_f16(source, block_data(&narrow), n);
            for (size_t i = 0; i < n; i++) {
                uint16_t want;
                simd_scalar.f32_to_f16(&source[i], &want, 1);
                assert_true(got[i] == want || (isnan(source[i]) && (got[i] & 0x7fff) > 0x7c00));
            }
            block_free(&wide);
            block_free(&narrow);
        }
        block_free(&halves);
        block_free(&values);
    }
}

static void check_deltas(const struct simd_kernels *set, struct random *random, const float *v, const float *delta,
                         size_t n) {
    float amount = random_gauss(random);
    struct block out = block_copy(v, n * 4, random_below(random, 16) * 4);
    float *got = block_data(&out);
    set->add_f32(got, delta, n);
    for (size_t i = 0; i < n; i++)
        check_float(set->name, n, got[i], v[i] + delta[i]);
    memcpy(got, v, n * 4);
    set->scale_f32(got, amount, n);
    for (size_t i = 0; i < n; i++)
        check_float(set->name, n, got[i], v[i] * amount);
    memcpy(got, v, n * 4);
    set->offset_f32(got, amount, n);
    for (size_t i = 0; i < n; i++)
        check_float(set->name, n, got[i], v[i] + amount);

    uint32_t *indices = calloc(n + 1, 4);
    size_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (random_chance(random, 20)) indices[count++] = i;
    for (int mode = SIMD_ADD; mode <= SIMD_SET; mode++) {
        memcpy(got, v, n * 4);
        set->sparse_f32(got, indices, delta, count, (enum simd_sparse_mode)mode);
        for (size_t i = 0, used = 0; i < n; i++) {
            float want = v[i];
            if (used < count && indices[used] == i) {
                want = mode == SIMD_ADD ? v[i] + delta[used] : delta[used];
                used++;
            }
            check_float(set->name, n, got[i], want);
        }
    }
    free(indices);
    block_free(&out);
}

static void deltas(void **state) {
    (void)state;
    struct random random = random_seeded(6);
    const struct simd_kernels *set;
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        struct block v = block_new(n * 4, random_below(&random, 16) * 4);
        struct block delta = block_new(n * 4, random_below(&random, 16) * 4);
        fill_floats(&random, block_data(&v), n, n % 2 != 0);
        fill_floats(&random, block_data(&delta), n, n % 2 != 0);
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++)
            check_deltas(set, &random, block_data(&v), block_data(&delta), n);
        block_free(&v);
        block_free(&delta);
    }
}

static void check_extent(const float *v, size_t n, bool zeros_only) {
    const struct simd_kernels *set;
    float low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        low = fminf(low, v[i]);
        high = fmaxf(high, v[i]);
    }
    for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
        float min, max;
        set->min_max_f32(v, n, &min, &max);
        check_float(set->name, n, min, zeros_only || low == 0.0F ? 0.0F : low);
        check_float(set->name, n, max, zeros_only || high == 0.0F ? 0.0F : high);
    }
}

static void extents(void **state) {
    (void)state;
    struct random random = random_seeded(7);
    for (size_t n = 1; n != SIZE_MAX; n = next_length(n)) {
        for (int variant = 0; variant < 4; variant++) {
            struct block block = block_new(n * 4, random_below(&random, 16) * 4);
            float *v = block_data(&block);
            for (size_t i = 0; i < n; i++) {
                v[i] = variant == 0 ? (random_chance(&random, 50) ? 0.0F : -0.0F) : random_gauss(&random);
                if (variant == 2 && random_chance(&random, 25)) v[i] = special_float(&random);
                v[i] = isnan(v[i]) ? 1.0F : v[i];
                v[i] = variant == 3 ? fabsf(v[i]) : v[i];
            }
            check_extent(v, n, variant == 0);
            v[random_below(&random, n)] = variant % 2 == 0 ? -INFINITY : INFINITY; /* wherever the extreme stands */
            check_extent(v, n, false);
            block_free(&block);
        }
    }
}

static void finiteness(void **state) {
    (void)state;
    struct random random = random_seeded(8);
    const struct simd_kernels *set;
    static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    for (size_t n = 0; n != SIZE_MAX; n = next_length(n)) {
        struct block block = block_new(n * 4, random_below(&random, 16) * 4);
        float *v = block_data(&block);
        fill_floats(&random, v, n, false);
        if (n > 3) {
            v[0] = FLT_MAX;
            v[n / 2] = -FLT_MAX;
            v[n - 1] = 0x1p-149F;
        }
        for (unsigned s = 0; (set = simd_available(s)) != NULL; s++) {
            assert_true(set->all_finite_f32(v, n));
            for (size_t i = 0; i < n; i += n < LENGTH_LIMIT ? 1 : n / 7) {
                float kept = v[i];
                v[i] = bad[i % 4];
                assert_false(set->all_finite_f32(v, n));
                v[i] = kept;
            }
        }
        block_free(&block);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definition_is_the_contract),
        cmocka_unit_test(sets_agree_on_pairs),
        cmocka_unit_test(sets_agree_on_rows),
        cmocka_unit_test(halves_at_odd_addresses),
        cmocka_unit_test(every_half_widens),
        cmocka_unit_test(rounding_to_half),
        cmocka_unit_test(half_conversions_by_length),
        cmocka_unit_test(deltas),
        cmocka_unit_test(extents),
        cmocka_unit_test(finiteness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
