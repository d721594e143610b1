/*
 * The printing of the WebAssembly modules gives what the C library gives, for every conversion that it has.
 */
#include "tests/support/support.h"
#include "wasm/print.c" /* NOLINT: not part of the native engine */

#include <inttypes.h>

static int printed(char *out, size_t capacity, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = print_format(out, capacity, format, arguments);
    va_end(arguments);
    return length;
}

#define same(...)                                                                                                      \
    do {                                                                                                               \
        char expected[64], actual[64];                                                                                 \
        int length = snprintf(expected, sizeof expected, __VA_ARGS__);                                                 \
        assert_int_equal(printed(actual, sizeof actual, __VA_ARGS__), length);                                         \
        assert_string_equal(actual, expected);                                                                         \
    } while (0)

static void prints_as_the_library_does(void **state) {
    (void)state;
    same("plain");
    same("100%%");
    same("%s|%10s|%-10s|%.2s|%.*s", "text", "right", "left", "cut", 3, "counted");
    same("%c%5c|%-3c|", 'a', 'b', 'c');
    same("%d %d %d %d", 0, -1, INT32_MAX, INT32_MIN);
    same("%5d|%-5d|%05d|%05d", 42, 42, 42, -42);
    same("%u %u %08x %x", 0U, UINT32_MAX, 0xBEEFU, UINT32_MAX);
    same("%ld %lu", -5L, 5UL);
    same("%lld %lld", (long long)INT64_MIN, (long long)INT64_MAX);
    same("%llu %zu", (unsigned long long)UINT64_MAX, SIZE_MAX);
    same("%" PRId64 " %" PRIu64 " %" PRIx64, INT64_MIN, UINT64_MAX, UINT64_MAX);
    same("%jd", (intmax_t)-7);
}

static void cuts_where_there_is_no_room(void **state) {
    (void)state;
    for (size_t capacity = 0; capacity < 24; capacity++) {
        char expected[32], actual[32];
        memset(expected, '#', sizeof expected);
        memset(actual, '#', sizeof actual);
        const char *word = "wonderful"; /* a variable, so that the compiler does not foresee the cut */
        int length = snprintf(expected, capacity, "%s %d%5s", word, -1234, "z");
        assert_int_equal(printed(actual, capacity, "%s %d%5s", word, -1234, "z"), length);
        assert_memory_equal(actual, expected, sizeof actual);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_as_the_library_does),
        cmocka_unit_test(cuts_where_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
