/*
 * ISO 8601 calendar dates and times of day to milliseconds.
 *
 * Days are counted in the proleptic Gregorian calendar with the year starting on the first of March, so that the leap
 * day is the last of its year and the days before a month follow from one formula (as in H. Hinnant, "chrono-compatible
 * low-level date algorithms"). The process's time zone and locale play no part.
 */
#include "core/time_text.h"

struct cursor {
    const char *text;
    const char *end;
    bool failed;
};

static int read_number(struct cursor *cursor, unsigned digits, int most) {
    int value = 0;
    for (unsigned i = 0; i < digits; i++) {
        if (cursor->text == cursor->end || *cursor->text < '0' || *cursor->text > '9') {
            cursor->failed = true;
            return 0;
        }
        value = value * 10 + (*cursor->text++ - '0');
    }
    cursor->failed |= value > most;
    return value;
}

static bool skip(struct cursor *cursor, char wanted) {
    if (cursor->text == cursor->end || *cursor->text != wanted) return false;
    cursor->text++;
    return true;
}

static void need(struct cursor *cursor, char wanted) {
    cursor->failed |= !skip(cursor, wanted);
}

static int64_t days_since_1970(int year, int month, int day) {
    int march_year = month <= 2 ? year - 1 : year;
    int march_month = month <= 2 ? month + 9 : month - 3;
    int century = (march_year >= 0 ? march_year : march_year - 399) / 400; /* of 400 years, 146,097 days each */
    int year_of = march_year - century * 400;
    int day_of = (153 * march_month + 2) / 5 + day - 1;
    return (int64_t)century * 146097 + year_of * 365 + year_of / 4 - year_of / 100 + day_of - 719468;
}

static bool is_date(int year, int month, int day) {
    static const int days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month] + (month == 2 && leap);
}

static int64_t read_time_of_day(struct cursor *cursor) {
    int64_t time_ms = read_number(cursor, 2, 23) * INT64_C(3600000);
    need(cursor, ':');
    time_ms += read_number(cursor, 2, 59) * INT64_C(60000);
    if (skip(cursor, ':')) {
        time_ms += read_number(cursor, 2, 59) * INT64_C(1000);
        if (skip(cursor, '.')) {
            int64_t unit = 100;
            do {
                time_ms += read_number(cursor, 1, 9) * unit;
                unit /= 10;
            } while (!cursor->failed && cursor->text < cursor->end && *cursor->text >= '0' && *cursor->text <= '9');
        }
    }
    return time_ms;
}

static int64_t read_zone(struct cursor *cursor) {
    int64_t sign = 0;
    if (cursor->text == cursor->end || skip(cursor, 'Z')) return 0;
    if (skip(cursor, '+'))
        sign = 1;
    else if (skip(cursor, '-'))
        sign = -1;
    else
        cursor->failed = true;
    int64_t offset_ms = read_number(cursor, 2, 23) * INT64_C(3600000);
    need(cursor, ':');
    return sign * (offset_ms + read_number(cursor, 2, 59) * INT64_C(60000));
}

bool time_text_read(const char *text, size_t size_bytes, int64_t *time_ms) {
    struct cursor cursor = {text, text + size_bytes, false};
    int year = read_number(&cursor, 4, 9999), month, day;
    int64_t since_midnight = 0;
    need(&cursor, '-');
    month = read_number(&cursor, 2, 12);
    need(&cursor, '-');
    day = read_number(&cursor, 2, 31);
    if (!cursor.failed && (skip(&cursor, 'T') || skip(&cursor, ' '))) {
        since_midnight = read_time_of_day(&cursor);
        since_midnight -= read_zone(&cursor);
    }
    if (cursor.failed || cursor.text != cursor.end || !is_date(year, month, day)) return false;
    *time_ms = days_since_1970(year, month, day) * INT64_C(86400000) + since_midnight;
    return true;
}
