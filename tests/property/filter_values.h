/*
 * Values for filters, many of them at edges: ends of integer widths and what doubles cannot tell apart, -0, infinities,
 * subnormals, empty and long texts, wildcards and quotes, times written in several ways.
 */
#ifndef VELTA_TESTS_FILTER_VALUES_H
#define VELTA_TESTS_FILTER_VALUES_H

#include "tests/support/support.h"

#include <math.h>
#include <string.h>

static const int64_t edge_integers[] = {0,
                                        1,
                                        -1,
                                        2,
                                        5,
                                        127,
                                        128,
                                        -128,
                                        -129,
                                        32767,
                                        32768,
                                        -32768,
                                        -32769,
                                        INT32_MAX,
                                        INT32_MIN,
                                        (int64_t)INT32_MAX + 1,
                                        (INT64_C(1) << 53) - 1,
                                        INT64_C(1) << 53,
                                        (INT64_C(1) << 53) + 1,
                                        -(INT64_C(1) << 53) - 1,
                                        INT64_MAX,
                                        INT64_MIN,
                                        INT64_MAX - 1,
                                        INT64_MIN + 1,
                                        INT64_C(1714521600000)};
static const double edge_floats[] = {0.0,
                                     -0.0,
                                     0.5,
                                     -0.5,
                                     1.0,
                                     4.5,
                                     5.0,
                                     -1.0,
                                     127.5,
                                     0x1p53,
                                     0x1p53 + 2,
                                     -0x1p53,
                                     0x1p63,
                                     -0x1p63,
                                     0x1p62,
                                     1e300,
                                     -1e300,
                                     0x1p-1074,
                                     -0x1p-1074,
                                     HUGE_VAL,
                                     -HUGE_VAL,
                                     0x1.fffffffffffffp1023,
                                     9007199254740993.0,
                                     1e19,
                                     -1e19};
static const char *const edge_texts[] = {"",
                                         "a",
                                         "b",
                                         "ab",
                                         "abc",
                                         "A",
                                         "aab",
                                         "aaab",
                                         "%",
                                         "_",
                                         "a%b",
                                         "a_b",
                                         "\\",
                                         "'",
                                         "it''s",
                                         "\"",
                                         "\xC3\xA9",
                                         "a\xC3\xA9z",
                                         "\xE6\x97\xA5\xE6\x9C\xAC",
                                         "\xF0\x9F\x98\x80",
                                         "\x7F",
                                         "a b",
                                         "  ",
                                         "NULL",
                                         "\xEF\xBF\xBD",
                                         "games"};
static const struct {
    const char *text;
    int64_t time_ms;
} edge_times[] = {
    {"1970-01-01", 0},
    {"2024-05-01", INT64_C(1714521600000)},
    {"2024-05-01T00:00:00Z", INT64_C(1714521600000)},
    {"1969-12-31T23:59:59.999Z", -1},
    {"2024-05-01T02:00:00+02:00", INT64_C(1714521600000)},
    {"2000-02-29 12:30", INT64_C(951827400000)},
};
#define EDGE(array) ((size_t)random_below(random, sizeof(array) / sizeof((array)[0])))

static inline int64_t some_integer(struct random *random) {
    switch (random_below(random, 4)) {
    case 0:
        return edge_integers[EDGE(edge_integers)];
    case 1:
        return (int64_t)random_u64(random);
    default:
        return random_between(random, -20, 20);
    }
}

static inline double some_float(struct random *random) {
    switch (random_below(random, 4)) {
    case 0:
        return edge_floats[EDGE(edge_floats)];
    case 1:
        return (double)some_integer(random);
    default:
        return (double)random_between(random, -40, 40) / 4;
    }
}

static inline const char *long_text(void) {
    static char text[4001];
    for (size_t i = 0; i < 4000 && text[3999] == 0; i++)
        text[i] = "ab"[i % 7 == 0];
    return text;
}

/* Lives until the process ends: the pool is filled once. */
static inline const char *some_text(struct random *random) {
    static char pool[400][200];
    static bool filled;
    if (!filled) {
        struct random own = random_seeded(5);
        static const char *const pieces[] = {"a", "b", "c", "\xC3\xA9", "\xE6\x97\xA5", "%", "_", "'", "aa"};
        for (size_t i = 0; i < 400; i++)
            for (uint64_t length = random_below(&own, i % 10 == 0 ? 60 : 6); length > 0; length--)
                strcat(pool[i], pieces[random_below(&own, sizeof pieces / sizeof pieces[0])]);
        filled = true;
    }
    switch (random_below(random, 20)) {
    case 0:
        return long_text() + random_below(random, 20);
    case 1:
    case 2:
    case 3:
    case 4:
        return edge_texts[EDGE(edge_texts)];
    default:
        return pool[random_below(random, 400)];
    }
}

#endif
