/* Numbers and times as text: exact, and the same under every locale. */
#include "tests/support/support.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/number.h"
#include "core/sort.h"
#include "core/time_text.h"

static bool same_bits(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

static void expect_float(const char *text, double expected) {
    struct number number = number_read(text, strlen(text));
    if (number.kind != NUMBER_FLOAT || number.size_bytes != strlen(text) || !same_bits(number.real, expected))
        fail_msg("%s: kind %d, %zu bytes, %a", text, number.kind, number.size_bytes, number.real);
}

static void expect_integer(const char *text, int64_t expected) {
    struct number number = number_read(text, strlen(text));
    if (number.kind != NUMBER_INTEGER || number.size_bytes != strlen(text) || number.integer != expected)
        fail_msg("%s: kind %d, %zu bytes, %lld", text, number.kind, number.size_bytes, (long long)number.integer);
}

static void integers(void **state) {
    (void)state;
    expect_integer("0", 0);
    expect_integer("-0", 0);
    expect_integer("+7", 7);
    expect_integer("0000000000000000000000000000012", 12);
    expect_integer("9223372036854775807", INT64_MAX);
    expect_integer("-9223372036854775808", INT64_MIN);
    expect_float("9223372036854775808", 0x1p63);
    expect_float("-9223372036854775809", -0x1p63);
    assert_int_equal(number_read("12ab", 4).size_bytes, 2);
    assert_int_equal(number_read("12e", 3).size_bytes, 2);
    assert_int_equal(number_read("1.5e+", 5).size_bytes, 3);
    assert_int_equal(number_read("", 0).kind, NUMBER_NONE);
    assert_int_equal(number_read("-", 1).kind, NUMBER_NONE);
    assert_int_equal(number_read(".", 1).kind, NUMBER_NONE);
    assert_int_equal(number_read("e5", 2).kind, NUMBER_NONE);
}

static void floats(void **state) {
    (void)state;
    expect_float("1.5", 1.5);
    expect_float("-.5", -0.5);
    expect_float("5.", 5.0);
    expect_float("-0.0", -0.0);
    expect_float("1e23", 1e23);
    expect_float("9007199254740993.0", 0x1p53);
    expect_float("9007199254740993.0000000000000000000000000000000000001", 0x1p53 + 2);
    expect_float("1.7976931348623157e308", 0x1.fffffffffffffp1023);
    expect_float("1.7976931348623159e308", HUGE_VAL);
    expect_float("1e400", HUGE_VAL);
    expect_float("-1e99999999999999999999", -HUGE_VAL);
    expect_float("1e-99999999999999999999", 0.0);
    expect_float("4.9406564584124654e-324", 0x1p-1074);
    expect_float("2.4703282292062327e-324", 0.0);
    expect_float("2.4703282292062328e-324", 0x1p-1074);
    expect_float("2.2250738585072011e-308", 0x0.fffffffffffffp-1022);
    expect_float("2.2250738585072014e-308", 0x1p-1022);
    expect_float("0.00000000000000000000000000000000000000000000000000001e53", 1.0);
}

/* The C library in the C locale says what the nearest double is. */
static void random_numbers_are_nearest(void **state) {
    (void)state;
    struct random random = random_seeded(11);
    char text[1700];
    for (size_t i = 0; i < test_rounds(60000); i++) {
        uint64_t bits = random_u64(&random);
        double value;
        int length = 0;
        if (i % 8 == 0) bits &= UINT64_C(0x800FFFFFFFFFFFFF); /* subnormal */
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        if (i % 50 == 0) { /* the middle of two doubles, all its digits, and a little more or less */
            long double middle = ((long double)value + (long double)nextafter(value, HUGE_VAL)) / 2;
            length = snprintf(text, sizeof text, "%.*Le", 800, middle);
            text[strcspn(text, "e") - 1] = (char)('0' + random_below(&random, 2));
        } else {
            length = snprintf(text, sizeof text, i % 2 ? "%.*e" : "%.*g", (int)random_below(&random, 25), value);
        }
        struct number number = number_read(text, (size_t)length);
        if (number.size_bytes != (size_t)length || !same_bits(number.real + 0.0, strtod(text, NULL) + 0.0))
            fail_msg("%s: %a", text, number.real);
    }
}

static void locales_play_no_part(void **state) {
    (void)state;
    static const char *const comma[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE", "C.UTF-8"};
    for (size_t i = 0; i < sizeof comma / sizeof comma[0]; i++)
        if (setlocale(LC_NUMERIC, comma[i])) break;
    expect_float("1.25e10", 12500000000.0);
    expect_float("0.1000000000000000000000000000000000001", 0.1);
    setlocale(LC_NUMERIC, "C");
}

static void expect_time(const char *text, int64_t expected) {
    int64_t time_ms = 0;
    if (!time_text_read(text, strlen(text), &time_ms) || time_ms != expected)
        fail_msg("%s: %lld", text, (long long)time_ms);
}

static void times(void **state) {
    (void)state;
    expect_time("1970-01-01", 0);
    expect_time("1969-12-31T23:59:59.999Z", -1);
    expect_time("2024-05-01", INT64_C(1714521600000));
    expect_time("2024-05-01T10:00:00Z", INT64_C(1714557600000));
    expect_time("2024-05-01 10:00", INT64_C(1714557600000));
    expect_time("2024-05-01T12:00:00+02:00", INT64_C(1714557600000));
    expect_time("2024-05-01T04:30:00-05:30", INT64_C(1714557600000));
    expect_time("2024-02-29T00:00:00.5", INT64_C(1709164800500));
    expect_time("2024-02-29T00:00:00.123456789Z", INT64_C(1709164800123));
    expect_time("0000-01-01", INT64_C(-62167219200000));
    expect_time("0000-03-01", INT64_C(-62162035200000));
    expect_time("9999-12-31T23:59:59.999Z", INT64_C(253402300799999));
    expect_time("1900-03-01", INT64_C(-2203891200000));
    expect_time("2000-02-29", INT64_C(951782400000));
    static const char *const wrong[] = {
        "",
        "2024",
        "2024-5-1",
        "2024-05",
        "2024-05-01T",
        "2024-05-01T10",
        "2024-05-01T10:60",
        "2024-05-01T24:00",
        "2024-05-01T10:00:60",
        "2024-05-01T10:00:00.",
        "2024-05-01T10:00:00ZZ",
        "2024-05-01T10:00:00+2",
        "2024-05-01T10:00:00+02:60",
        "2024-05-01Z",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "2024-01-32",
        " 2024-01-01",
        "2024-01-01 ",
        "+2024-01-01",
        "2024/01/01",
        "2024-05-01T10:00x",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t time_ms;
        if (time_text_read(wrong[i], strlen(wrong[i]), &time_ms)) fail_msg("'%s' was taken for a time", wrong[i]);
    }
}

/* Each day follows the one before by 86,400,000 ms, over 400 years and their leap rules. */
static void days_follow_each_other(void **state) {
    (void)state;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t before = 0;
    for (int year = 1800; year < 2200; year++)
        for (int month = 1; month <= 12; month++) {
            bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            for (int day = 1; day <= days[month - 1] + (month == 2 && leap); day++) {
                char text[48];
                int64_t time_ms;
                snprintf(text, sizeof text, "%04d-%02d-%02d", year, month, day);
                assert_true(time_text_read(text, strlen(text), &time_ms));
                assert_true(before == 0 || time_ms == before + 86400000);
                before = time_ms;
            }
        }
}

static int compare_integers(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void sorting_sorts(void **state) {
    (void)state;
    struct random random = random_seeded(2);
    int64_t values[300], expected[300];
    for (size_t round = 0; round < 500; round++) {
        size_t count = (size_t)random_below(&random, 300);
        for (size_t i = 0; i < count; i++)
            values[i] = expected[i] = random_between(&random, -20, round % 2 ? 20 : 1000000);
        sort_elements(values, count, sizeof values[0], compare_integers);
        qsort(expected, count, sizeof expected[0], compare_integers);
        assert_memory_equal(values, expected, count * sizeof values[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(floats),
        cmocka_unit_test(random_numbers_are_nearest),
        cmocka_unit_test(locales_play_no_part),
        cmocka_unit_test(times),
        cmocka_unit_test(days_follow_each_other),
        cmocka_unit_test(sorting_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
