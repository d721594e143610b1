/* The filter language: what it selects, what it refuses and where, its limits, and running it while a table grows. */
#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/filter.h"
#include "core/filter_plan.h"

enum { ROWS = 10 };
#define ALL_NULL ((struct column_values){.data = NULL})

static struct memory *memory;
static struct table *packages;
static struct test_allocator allocator;

/*
 * row       0    1    2     3      4       5      6      7      8         9
 * depends   0    1    2     3      4       5      2^53+1 min    max       NULL
 * essential T    F    T     F      NULL    T      F      T      F         T
 * section   games Games net 'it''s' ''     NULL   é      日本   a%b_c\d   science
 * ratio     0    -0   1.5   NaN    inf     -inf   NULL   2^53   4.5       -2
 * made      0    1    -1    2024-05-01 ..  +1 ms  NULL   min    max  ...
 * digest    ''   00   00ff  ff     NULL    a      b      c      d         e
 */
static const int64_t depends[ROWS] = {0, 1, 2, 3, 4, 5, 9007199254740993, INT64_MIN, INT64_MAX, 0};
static const uint8_t essential[ROWS] = {1, 0, 1, 0, 0, 1, 0, 1, 0, 1};
static const char *const sections[ROWS] = {
    "games", "Games", "net", "it's", "", "", "\xC3\xA9", "\xE6\x97\xA5\xE6\x9C\xAC", "a%b_c\\d", "science"};
static const int64_t made[ROWS] = {0, 1,         -1,        1714521600000, 1714521600001,
                                   0, INT64_MIN, INT64_MAX, 1714557600000, 86399999};
static const char *const digests[ROWS] = {"", "0", "0f", "f", "", "a", "b", "c", "d", "e"};

struct strings {
    char bytes[400];
    uint64_t offsets[ROWS + 1];
};

static void gather(struct strings *strings, const char *const *texts, bool digest) {
    strings->offsets[0] = 0;
    for (size_t i = 0; i < ROWS; i++) {
        uint64_t at = strings->offsets[i];
        size_t length = strlen(texts[i]);
        for (size_t j = 0; j < length; j++)
            strings->bytes[at + j] = digest && texts[i][j] == '0'   ? '\0'
                                     : digest && texts[i][j] == 'f' ? '\xFF'
                                                                    : texts[i][j];
        strings->offsets[i + 1] = at + length;
    }
}

static void append_packages(struct table *table) {
    static float vectors[ROWS * 64];
    const double ratio[ROWS] = {0.0, -0.0, 1.5, (double)NAN, HUGE_VAL, -HUGE_VAL, 0, 0x1p53, 4.5, -2};
    const uint64_t has_depends = 0x1FF, has_essential = 0x3EF, has_section = 0x3DF, has_ratio = 0x3BF, has_made = 0x3DF,
                   has_digest = 0x3EF, has_embedding = 0x005;
    struct strings section, digest;
    struct velta_error error;
    gather(&section, sections, false);
    gather(&digest, digests, true);
    for (size_t i = 0; i < ROWS * 64; i++)
        vectors[i] = 1;
    struct column_values values[] = {
        {.data = depends, .valid = &has_depends},
        {.data = essential, .valid = &has_essential},
        {.data = section.bytes, .offsets = section.offsets, .valid = &has_section},
        {.data = ratio, .valid = &has_ratio},
        {.data = made, .valid = &has_made},
        {.data = digest.bytes, .offsets = digest.offsets, .valid = &has_digest},
        {.data = vectors, .valid = &has_embedding},
    };
    assert_int_equal(table_check_append(table, values, ROWS, &error), VELTA_OK);
    assert_int_equal(table_reserve_append(table, values, ROWS, &error), VELTA_OK);
    table_apply_append(table, values, ROWS);
}

static enum velta_status make_packages(struct memory *from, struct table **table) {
    const struct velta_column specs[] = {
        {.name = "depends", .type = VELTA_INT},
        {.name = "essential", .type = VELTA_BOOL},
        {.name = "section", .type = VELTA_STRING},
        {.name = "ratio", .type = VELTA_FLOAT},
        {.name = "made", .type = VELTA_TIMESTAMP},
        {.name = "digest", .type = VELTA_BYTES},
        {.name = "embedding", .type = VELTA_VECTOR, .dimensions = 64},
    };
    return table_create(from, &simd_scalar, "packages", specs, sizeof specs / sizeof specs[0], table, NULL);
}

static int set_up(void **state) {
    (void)state;
    test_allocator_init(&allocator);
    memory = memory_create(&allocator.allocator, 0);
    assert_int_equal(make_packages(memory, &packages), VELTA_OK);
    append_packages(packages);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    table_destroy(packages);
    memory_destroy(memory);
    test_allocator_check_empty(&allocator);
    return 0;
}

static bool get_value(void *context, uint32_t row, size_t column, struct column_scalar *value) {
    const struct column *source = ((const struct table *)context)->columns[column];
    if (column_is_null(source, row)) return false;
    if (source->spec.type == VELTA_FLOAT)
        value->number = column_float(source, row);
    else if (source->spec.type == VELTA_STRING || source->spec.type == VELTA_BYTES)
        value->text = column_text(source, row, &value->text_bytes);
    else if (source->spec.type != VELTA_VECTOR)
        value->integer = column_integer(source, row);
    return true;
}

static struct filter *compile(struct table *table, const char *text) {
    struct filter *filter = NULL;
    struct velta_error error;
    if (filter_compile(table, text, strlen(text), &filter, &error) != VELTA_OK)
        fail_msg("%s: %s at %d", text, error.text, (int)error.offset);
    return filter;
}

/* The rows of the filter as digits, found in every way there is. */
static void expect_rows(struct table *table, const char *text, const char *rows) {
    struct filter *filter = compile(table, text);
    char found[64] = "", single[64] = "", listed[64] = "";
    uint64_t words[4], count, count_alone, count_listed;
    uint32_t ids[64];
    assert_int_equal(filter_evaluate(filter, NULL, words, &count, NULL), VELTA_OK);
    assert_int_equal(filter_count(filter, NULL, &count_alone, NULL), VELTA_OK);
    assert_int_equal(filter_rows(filter, NULL, ids, 64, &count_listed, NULL), VELTA_OK);
    for (uint32_t row = 0; row < table->row_count; row++) {
        char digit[2] = {(char)('0' + row), '\0'};
        if (bitmap_get(words, row)) strcat(found, digit);
        if (bitmap_get(table->live.words, row) && filter_match_row(filter, row, get_value, table))
            strcat(single, digit);
    }
    for (uint64_t i = 0; i < count_listed; i++) {
        char digit[2] = {(char)('0' + ids[i]), '\0'};
        strcat(listed, digit);
    }
    if (strcmp(found, rows) != 0 || strcmp(single, rows) != 0 || strcmp(listed, rows) != 0 || count != strlen(rows) ||
        count_alone != count)
        fail_msg("%s: bitmap %s (%d), one by one %s, listed %s, counted %d; expected %s", text, found, (int)count,
                 single, listed, (int)count_alone, rows);
    filter_destroy(filter);
}

static void expect(const char *text, const char *rows) {
    expect_rows(packages, text, rows);
}

static void numbers(void **state) {
    (void)state;
    expect("depends = 3", "3");
    expect("depends != 3", "01245678");
    expect("depends <> 3", "01245678");
    expect("depends < 2", "017");
    expect("depends <= 2", "0127");
    expect("depends > 4", "568");
    expect("depends >= 4", "4568");
    expect("depends BETWEEN 1 AND 3", "123");
    expect("depends BETWEEN 3 AND 1", "");
    expect("depends NOT BETWEEN 1 AND 3", "045678");
    expect("depends IN (1, 5, 99)", "15");
    expect("depends NOT IN (1, 5, 99)", "0234678");
    expect("5 < depends", "68");
    expect("2 >= depends", "0127");
    expect("3=depends", "3");
    /* nothing is rounded through a double */
    expect("depends = 9007199254740993", "6");
    expect("depends = 9007199254740992", "");
    expect("depends > 9007199254740992.0", "68");
    expect("depends < 4.5 AND depends > 3.5", "4");
    expect("depends = 4.5", "");
    expect("depends = 4.0", "4");
    expect("depends != 4.5", "012345678");
    expect("depends <= -9223372036854775808", "7");
    expect("depends < -9223372036854775808", "");
    expect("depends >= 9223372036854775807", "8");
    expect("depends > 9223372036854775807", "");
    expect("depends < 9223372036854775808", "012345678");
    expect("depends > -1e300", "012345678");
    expect("depends > 1e300", "");
    /* far lists: by bitmap and by search */
    expect("depends IN (1,3,5,7,9,11,13,15,17,19,21)", "135");
    expect("depends NOT IN (1,3,5,7,9,11,13,15,17,19,21)", "024678");
    expect("depends IN (1,3,5,7,9,11,13,15,17,9223372036854775807,-9223372036854775808)", "13578");
}

static void floats(void **state) {
    (void)state;
    expect("ratio = 0", "01");
    expect("ratio = -0.0", "01");
    expect("ratio < 0", "59");
    expect("ratio > 0", "2478");
    expect("ratio >= 0", "012478");
    expect("ratio = 1e999", "4");
    expect("ratio < 1e999", "0125789");
    expect("ratio > -1e999", "0124789");
    expect("ratio = 9007199254740993", "");
    expect("ratio < 9007199254740993 AND ratio > 9007199254740991", "7");
    expect("ratio IN (1.5, 4.5, 0)", "0128");
    expect("ratio IN (1,2,3,4,5,6,7,8,9,10,11,12,1.5)", "2");
    expect("ratio BETWEEN -2 AND 1.5", "0129");
    /* NaN is in row 3, NULL in row 6 */
    expect("ratio != 1.5", "01345789");
    expect("NOT ratio = 1.5", "01345789");
    expect("NOT ratio < 0", "0123478");
    expect("ratio NOT IN (1.5, 4.5)", "0134579");
    expect("ratio NOT BETWEEN -1e999 AND 1e999", "3");
    expect("ratio IS NOT NULL", "012345789");
}

static void bools(void **state) {
    (void)state;
    expect("essential", "02579");
    expect("NOT essential", "1368");
    expect("essential = TRUE", "02579");
    expect("essential = false", "1368");
    expect("essential != TRUE", "1368");
    expect("essential IN (TRUE, FALSE)", "012356789");
    expect("essential >= FALSE", "012356789");
    expect("essential > FALSE AND depends < 3", "027");
    expect("essential = NULL", "");
    expect("TRUE", "0123456789");
    expect("FALSE", "");
    expect("NOT FALSE", "0123456789");
    expect("NULL", "");
    expect("NOT NULL", "");
    expect("", "0123456789");
    expect(" \t\r\n ", "0123456789");
}

static void strings(void **state) {
    (void)state;
    expect("section = 'games'", "0");
    expect("section != 'games'", "12346789");
    expect("section = 'absent'", "");
    expect("section != 'absent'", "012346789");
    expect("section = 'it''s'", "3");
    expect("section = ''", "4");
    expect("section IN ('net', 'games', 'games', 'x')", "02");
    expect("section NOT IN ('net', 'games')", "1346789");
    expect("section IN ('a','b','c','d','e','f','g','h','i','net','science')", "29");
    expect("section < 'b'", "148");
    expect("section >= '\xC3\xA9'", "67");
    expect("section BETWEEN 'games' AND 'net'", "023");
    expect("section STARTS WITH 'ga'", "0");
    expect("section NOT STARTS WITH 'ga'", "12346789");
    expect("section ends with 'ence'", "9");
    expect("section CONTAINS 'ame'", "01");
    expect("section CONTAINS ''", "012346789");
    expect("section LIKE '%ame%'", "01");
    expect("section LIKE '_ames'", "01");
    expect("section LIKE '_'", "6");
    expect("section LIKE '__'", "7");
    expect("section NOT LIKE '%'", "");
    expect("section LIKE 'a\\%b\\_c\\\\d' ESCAPE '\\'", "8");
    expect("section LIKE '%\xC3\xA9%b' ESCAPE '\xC3\xA9'", "");
    expect("section LIKE 's%e%e'", "9");
    expect("section LIKE 's%e%ce%'", "9");
    expect("section LIKE 'games_'", "");
    expect("section LIKE ''", "4");
}

static void nulls(void **state) {
    (void)state;
    expect("depends IS NULL", "9");
    expect("depends IS NOT NULL", "012345678");
    expect("NOT depends IS NULL", "012345678");
    expect("embedding IS NULL", "13456789");
    expect("embedding IS NOT NULL", "02");
    expect("depends = NULL", "");
    expect("NOT depends = NULL", "");
    expect("depends IN (1, NULL)", "1");
    expect("depends NOT IN (1, NULL)", "");
    expect("depends IN ()", "");
    expect("depends NOT IN ()", "0123456789");
    expect("depends BETWEEN NULL AND 3", "");
    expect("NOT depends BETWEEN NULL AND 3", "4568");
    expect("depends NOT BETWEEN 3 AND NULL", "0127");
    expect("ratio NOT BETWEEN NULL AND 1", "23478");
    expect("section LIKE NULL", "");
    expect("section NOT LIKE NULL", "");
    expect("NULL = section", "");
    expect("section = 'games' OR NULL", "0");
    expect("NOT (section = 'games' AND NULL)", "12346789");
    /* unknown OR true is true; NOT unknown is unknown */
    expect("section = 'x' OR essential", "02579");
    expect("NOT (depends < 3 AND essential)", "134568");
    expect("NOT (depends < 3 OR essential)", "368");
}

static void times_and_bytes(void **state) {
    (void)state;
    expect("made = 0", "0");
    expect("made >= '2024-05-01'", "3478");
    expect("made = '2024-05-01T00:00:00Z'", "3");
    expect("made < '1970-01-01'", "26");
    expect("made BETWEEN '2024-05-01T10:00:00Z' AND '2024-05-01T10:00:00Z'", "8");
    expect("made IN ('2024-05-01', 1)", "13");
    expect("made > 1.5", "34789");
    expect("digest = x''", "0");
    expect("digest = X'00Ff'", "2");
    expect("digest >= x'00ff'", "2356789");
    expect("digest STARTS WITH x'00'", "12");
    expect("digest CONTAINS x'ff'", "23");
    expect("digest ENDS WITH x'ff'", "23");
    expect("digest IN (x'61', x'62', x'ff')", "356");
    expect("digest IS NULL", "4");
}

static void logic(void **state) {
    (void)state;
    expect("depends = 1 OR depends = 2 AND essential", "12");
    expect("(depends = 1 OR depends = 2) AND essential", "2");
    expect("not not depends = 1", "1");
    expect("NOT (NOT (depends = 1))", "1");
    expect("depends > 0 AND depends < 5 AND depends != 3", "124");
    expect("depends > 3 AND depends < 2", "");
    expect("depends>1 AND depends<4", "23");
    expect("\"depends\" = 1", "1");
    expect("section='games'OR section='net'", "02");
    expect("(((essential)))", "02579");
    expect("depends = 1 AND TRUE AND (essential OR TRUE)", "1");
    expect("depends = 1 OR FALSE", "1");
    expect("depends = 1 OR TRUE", "0123456789");
    expect("essential AND FALSE", "");
}

static void plans_are_simplified(void **state) {
    (void)state;
    struct filter *filter =
        compile(packages, "depends >= 5 AND essential AND depends < 10 AND (TRUE AND depends != 7.5)");
    assert_int_equal(filter->root->kind, FILTER_NODE_AND);
    /* bits before ranges, and the two ranges are one */
    const struct filter_node *first = filter->root->first;
    assert_int_equal(first->kind, FILTER_NODE_BOOL);
    assert_int_equal(first->next->kind, FILTER_NODE_PRESENT);
    assert_int_equal(first->next->next->kind, FILTER_NODE_INTEGERS);
    assert_true(first->next->next->ranges[0].low == 5 && first->next->next->ranges[0].high == 9);
    assert_null(first->next->next->next);
    filter_destroy(filter);
    filter = compile(packages, "NOT (depends < 5 OR depends > 10)");
    assert_int_equal(filter->root->kind, FILTER_NODE_INTEGERS);
    assert_true(filter->root->ranges[0].low == 5 && filter->root->ranges[0].high == 10 && !filter->root->complement);
    filter_destroy(filter);
    filter = compile(packages, "ratio > 1 AND ratio < 0.5");
    assert_int_equal(filter->root->kind, FILTER_NODE_NEVER);
    filter_destroy(filter);
    filter = compile(packages, "depends IN (3, 1, 2, 2, 9)");
    assert_int_equal(filter->root->count, 2);
    filter_destroy(filter);
}

static void columns_are_named(void **state) {
    (void)state;
    uint64_t bits[VELTA_MAX_COLUMNS / 64];
    struct filter *filter = compile(packages, "depends = 1 AND (section = 'x' OR embedding IS NULL)");
    filter_columns(filter, bits);
    assert_true(bits[0] == (1 | 4 | 64));
    for (size_t i = 1; i < VELTA_MAX_COLUMNS / 64; i++)
        assert_true(bits[i] == 0);
    filter_destroy(filter);
}

/* ---- errors */

static void expect_error(const char *text, enum velta_status status, int offset, const char *part) {
    struct filter *filter = NULL;
    struct velta_error error = {VELTA_OK, 0, ""};
    enum velta_status actual = filter_compile(packages, text, strlen(text), &filter, &error);
    if (actual != status || error.code != status || error.offset != (uint64_t)offset || !strstr(error.text, part))
        fail_msg("%s: status %d, offset %d, %s", text, actual, (int)error.offset, error.text);
    assert_null(filter);
    assert_int_equal(filter_compile(packages, text, strlen(text), &filter, NULL), status);
}

static void syntax_errors(void **state) {
    (void)state;
    expect_error("depends <", VELTA_SYNTAX, 9, "expected a value after '<' but found the end");
    expect_error("depends < )", VELTA_SYNTAX, 10, "expected a value after '<' but found ')'");
    expect_error("section = \"games\"", VELTA_SYNTAX, 10, "single quotes");
    expect_error("section = games", VELTA_SYNTAX, 10, "single quotes");
    expect_error("depends BETWEEN 1", VELTA_SYNTAX, 17, "expected AND between the two values of BETWEEN");
    expect_error("depends BETWEEN 1 AND", VELTA_SYNTAX, 21, "expected a value after AND");
    expect_error("depends IN 1", VELTA_SYNTAX, 11, "expected '('");
    expect_error("depends IN (1", VELTA_SYNTAX, 13, "expected ',' or ')'");
    expect_error("depends IN (1,)", VELTA_SYNTAX, 14, "expected a value after ','");
    expect_error("depends IN (1 2)", VELTA_SYNTAX, 14, "expected ',' or ')' in the list of IN but found '2'");
    expect_error("depends IS 5", VELTA_SYNTAX, 11, "expected NULL after IS");
    expect_error("depends NOT 5", VELTA_SYNTAX, 12, "expected BETWEEN, IN, LIKE");
    expect_error("section STARTS 'a'", VELTA_SYNTAX, 15, "expected WITH after STARTS");
    expect_error("section ENDS 'a'", VELTA_SYNTAX, 13, "expected WITH after ENDS");
    expect_error("section STARTS WITH", VELTA_SYNTAX, 19, "expected a value after WITH");
    expect_error("section = 'abc", VELTA_SYNTAX, 10, "no closing quote");
    expect_error("\"depends = 1", VELTA_SYNTAX, 0, "no closing double quote");
    expect_error("\"\" = 1", VELTA_SYNTAX, 0, "not empty");
    expect_error("(depends = 1", VELTA_SYNTAX, 0, "not closed");
    expect_error("depends = 1)", VELTA_SYNTAX, 11, "no '('");
    expect_error("(depends = 1 2)", VELTA_SYNTAX, 13, "expected AND, OR or ')'");
    expect_error("depends = 1 essential", VELTA_SYNTAX, 12, "expected AND, OR or the end but found 'essential'");
    expect_error("1 < depends < 5", VELTA_SYNTAX, 12, "not chained");
    expect_error("depends < 1 < 5", VELTA_SYNTAX, 12, "not chained");
    expect_error("5", VELTA_SYNTAX, 1, "expected a comparison with a column after '5'");
    expect_error("1 = 1", VELTA_SYNTAX, 4, "expected a column after '='");
    expect_error("AND depends", VELTA_SYNTAX, 0, "expected a condition but found the word 'AND'");
    expect_error("depends = 1 AND", VELTA_SYNTAX, 15, "expected a condition but found the end");
    expect_error("NOT", VELTA_SYNTAX, 3, "expected a condition");
    expect_error("()", VELTA_SYNTAX, 1, "expected a condition but found ')'");
    expect_error("depends == 1", VELTA_SYNTAX, 8, "equality is written =");
    expect_error("essential && essential", VELTA_SYNTAX, 10, "write AND");
    expect_error("essential || essential", VELTA_SYNTAX, 10, "write OR");
    expect_error("!essential", VELTA_SYNTAX, 0, "write NOT");
    expect_error("depends # 1", VELTA_SYNTAX, 8, "unexpected character '#'");
    expect_error("depends \x01 1", VELTA_SYNTAX, 8, "code 1");
    expect_error("depends = 12abc", VELTA_SYNTAX, 12, "cannot follow a number");
    expect_error("depends = 1.2.3", VELTA_SYNTAX, 13, "cannot follow a number");
    expect_error("depends = -", VELTA_SYNTAX, 10, "needs digits");
    expect_error("digest = x'0'", VELTA_SYNTAX, 10, "two hexadecimal digits");
    expect_error("digest = x'0g'", VELTA_SYNTAX, 12, "0-9 and a-f");
    expect_error("section = '\xFF'", VELTA_SYNTAX, 11, "not UTF-8");
    expect_error("section LIKE 'a' ESCAPE 'ab'", VELTA_SYNTAX, 24, "exactly one character");
    expect_error("section LIKE 'a' ESCAPE ''", VELTA_SYNTAX, 24, "exactly one character");
    expect_error("section LIKE 'a' ESCAPE 5", VELTA_SYNTAX, 24, "exactly one character");
    expect_error("section LIKE 'a\\' ESCAPE '\\'", VELTA_SYNTAX, 13, "nothing follows the escape");
    expect_error("depends = 1 AND essential = bool_that_has_a_very_very_long_name_indeed_yes", VELTA_SYNTAX, 28,
                 "...'");
}

static void meaning_errors(void **state) {
    (void)state;
    expect_error("\xC3\xA9t\xC3\xA9 = 1", VELTA_UNKNOWN_COLUMN, 0, "\xC3\xA9t\xC3\xA9"); /* a name all the same */
    expect_error("sectoin = 'x'", VELTA_UNKNOWN_COLUMN, 0, "no column 'sectoin'; did you mean 'section'?");
    expect_error("depends = 1 AND Section = 'x'", VELTA_UNKNOWN_COLUMN, 16, "did you mean 'section'?");
    expect_error("price = 1", VELTA_UNKNOWN_COLUMN, 0, "there is no column 'price'");
    expect_error("depends = 'x'", VELTA_TYPE, 10, "'depends' is int but the value is a string");
    expect_error("section = 5", VELTA_TYPE, 10, "'section' is string but the value is an integer");
    expect_error("section IN ('a', 5.5)", VELTA_TYPE, 17, "a float");
    expect_error("essential = 1", VELTA_TYPE, 12, "compare with TRUE or FALSE");
    expect_error("ratio BETWEEN 1 AND TRUE", VELTA_TYPE, 20, "a bool");
    expect_error("made = 'yesterday'", VELTA_TYPE, 7, "not a time");
    expect_error("made = '2024-02-30'", VELTA_TYPE, 7, "not a time");
    expect_error("digest = 'a'", VELTA_TYPE, 9, "bytes are written x'00ff'");
    expect_error("digest LIKE 'a'", VELTA_TYPE, 0, "LIKE needs a string column");
    expect_error("depends STARTS WITH '1'", VELTA_TYPE, 0, "STARTS WITH needs a string column or a bytes column");
    expect_error("ratio ENDS WITH '1'", VELTA_TYPE, 0, "ENDS WITH needs a string column");
    expect_error("embedding CONTAINS '1'", VELTA_TYPE, 0, "CONTAINS needs a string column");
    expect_error("section CONTAINS 5", VELTA_TYPE, 17, "an integer");
    expect_error("depends AND essential", VELTA_TYPE, 0, "only a bool column is a condition by itself");
    expect_error("embedding = 1", VELTA_TYPE, 12, "IS NULL");
    expect_error("embedding IN ()", VELTA_TYPE, 0, "IS NULL");
    expect_error("embedding", VELTA_TYPE, 0, "vector");
}

/* ---- limits */

static char *repeat(const char *head, const char *piece, size_t count, const char *tail) {
    size_t piece_bytes = strlen(piece), at = strlen(head);
    char *text = malloc(at + count * piece_bytes + strlen(tail) + 1);
    memcpy(text, head, at);
    for (size_t i = 0; i < count; i++, at += piece_bytes)
        memcpy(text + at, piece, piece_bytes);
    strcpy(text + at, tail);
    return text;
}

static void expect_limit(char *text, int offset, const char *part) {
    expect_error(text, VELTA_LIMIT, offset, part);
    free(text);
}

static void expect_accepted(char *text, const char *rows) {
    expect(text, rows);
    free(text);
}

static void limits(void **state) {
    (void)state;
    expect_accepted(repeat("depends = 1", " ", 65536 - 11, ""), "1");
    expect_limit(repeat("depends = 1", " ", 65537 - 11, ""), 65536, "at most 65536 bytes");
    char *text = repeat("", "(", 64, "depends = 1");
    expect_accepted(repeat(text, ")", 64, ""), "1");
    free(text);
    text = repeat("", "(", 65, "depends = 1");
    expect_limit(repeat(text, ")", 65, ""), 64, "at most 64 deep");
    free(text);
    expect_accepted(repeat("", "NOT ", 5000, "depends = 1"), "1");
    expect_accepted(repeat("depends IN (", "1,", 9999, "2)"), "12");
    expect_limit(repeat("depends IN (", "1,", 10000, "2)"), 12 + 20000, "at most 10000 values");
    expect_accepted(repeat("section LIKE '", "%", 4096, "'"), "012346789");
    expect_limit(repeat("section LIKE '", "%", 4097, "'"), 13, "at most 4096 bytes");
    /* as many conditions as fit */
    expect_accepted(repeat("depends=1", " OR depends=1", 5000, ""), "1");
    expect_accepted(repeat("depends=1", " AND depends=1", 4600, ""), "1");
    expect_accepted(repeat("essential", " OR essential", 5000, ""), "02579");
    /* parentheses and both operators at every depth */
    text = repeat("", "(essential AND (depends<9 OR ", 32, "depends = 1");
    expect_accepted(repeat(text, "))", 32, ""), "0257");
    free(text);
}

/* ---- a table that changes */

static void append_section(struct table *table, const char *text, int64_t number) {
    uint64_t offsets[2] = {0, strlen(text)};
    struct column_values values[7] = {{.data = &number}, ALL_NULL, {.data = text, .offsets = offsets}};
    struct velta_error error;
    assert_int_equal(table_reserve_append(table, values, 1, &error), VELTA_OK);
    table_apply_append(table, values, 1);
}

static void growth_is_seen(void **state) {
    (void)state;
    struct table *table;
    assert_int_equal(make_packages(memory, &table), VELTA_OK);
    struct filter *equal = compile(table, "section = 'late'");
    struct filter *pattern = compile(table, "section LIKE '%7'");
    struct filter *list = compile(table, "section IN ('s1','s2','s3','s4','s5','s6','s7','s8','s9','s10','late')");
    uint64_t count, words[8];
    assert_int_equal(filter_count(equal, NULL, &count, NULL), VELTA_OK);
    assert_true(count == 0);
    uint64_t expected_pattern = 0, expected_list = 0;
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof text, "s%d", i);
        append_section(table, i == 250 ? "late" : text, i);
        expected_pattern += i % 10 == 7 && i != 250;
        expected_list += (i >= 1 && i <= 10) || i == 250;
        assert_int_equal(filter_count(equal, NULL, &count, NULL), VELTA_OK);
        assert_true(count == (i >= 250));
        assert_int_equal(filter_count(pattern, NULL, &count, NULL), VELTA_OK);
        assert_true(count == expected_pattern);
        assert_int_equal(filter_evaluate(list, NULL, words, &count, NULL), VELTA_OK);
        assert_true(count == expected_list);
    }
    filter_destroy(equal);
    filter_destroy(pattern);
    filter_destroy(list);
    table_destroy(table);
}

static void visibility_is_obeyed(void **state) {
    (void)state;
    struct filter *filter = compile(packages, "essential");
    const uint64_t visible = 0x0A5; /* 0 2 5 7 */
    const uint32_t dead[] = {2, 9};
    uint64_t words, count;
    uint32_t ids[2] = {99, 99};
    assert_int_equal(filter_evaluate(filter, &visible, &words, &count, NULL), VELTA_OK);
    assert_true(words == 0x0A5 && count == 4);
    assert_int_equal(filter_rows(filter, &visible, ids, 1, &count, NULL), VELTA_OK);
    assert_true(count == 4 && ids[0] == 0 && ids[1] == 99);
    assert_int_equal(filter_rows(filter, &visible, NULL, 0, &count, NULL), VELTA_OK);
    assert_true(count == 4);
    filter_destroy(filter);
    table_apply_delete(packages, dead, 2);
    expect("essential", "057");
    expect("depends != 3", "0145678");
    expect("TRUE", "01345678");
    expect("depends IS NULL", "");
    expect("NOT essential", "1368");
}

/* Vector columns have smaller slabs than the chunks of rows, and codes-only ones have none but validity. */
static void null_vectors_over_slabs(void **state) {
    (void)state;
    enum { MANY = 40000 };
    const struct velta_column specs[] = {
        {.name = "v", .type = VELTA_VECTOR, .dimensions = 64},
        {.name = "c", .type = VELTA_VECTOR, .dimensions = 64, .element = VELTA_CODES},
        {.name = "i", .type = VELTA_INT},
    };
    struct table *table;
    struct random random = random_seeded(3);
    uint64_t *valid[2] = {calloc(MANY / 64 + 1, 8), calloc(MANY / 64 + 1, 8)};
    float *vectors = calloc(MANY, 64 * sizeof *vectors);
    int64_t *integers = calloc(MANY, sizeof *integers);
    uint64_t *words = calloc(MANY / 64 + 1, 8), expected = 0, count;
    for (uint32_t row = 0; row < MANY; row++) {
        bool first = row < 9000 || random_chance(&random, 70), second = row > 30000 || random_chance(&random, 50);
        valid[0][row / 64] |= (uint64_t)first << (row % 64);
        valid[1][row / 64] |= (uint64_t)second << (row % 64);
        expected += !first && second && row % 3 == 0;
        integers[row] = row % 3;
        for (size_t j = 0; j < 64; j++)
            vectors[row * 64 + j] = first ? 1.0F : 0.0F;
    }
    struct column_values values[] = {
        {.data = vectors, .valid = valid[0]}, {.data = vectors, .valid = valid[1]}, {.data = integers}};
    assert_int_equal(table_create(memory, &simd_scalar, "v", specs, 3, &table, NULL), VELTA_OK);
    assert_int_equal(table_reserve_append(table, values, MANY, NULL), VELTA_OK);
    table_apply_append(table, values, MANY);
    struct filter *filter = compile(table, "v IS NULL AND c IS NOT NULL AND i = 0");
    assert_int_equal(filter_evaluate(filter, NULL, words, &count, NULL), VELTA_OK);
    assert_true(expected > 1000 && count == expected);
    for (uint32_t row = 0; row < MANY; row++)
        assert_true(bitmap_get(words, row) ==
                    (!bitmap_get(valid[0], row) && bitmap_get(valid[1], row) && row % 3 == 0));
    filter_destroy(filter);
    table_destroy(table);
    free(valid[0]);
    free(valid[1]);
    free(vectors);
    free(integers);
    free(words);
}

/* A hostile value and needle: time grows with their lengths, not with the product. */
static void hostile_text_is_linear(void **state) {
    (void)state;
    enum { LONG = 8 << 20 };
    char *value = malloc(LONG + 1);
    memset(value, 'a', LONG);
    value[LONG] = '\0';
    append_section(packages, value, 1);
    char *text = repeat("section CONTAINS '", "a", 60000, "b' OR section LIKE '%c' OR section CONTAINS 'aaaa'");
    struct filter *filter = compile(packages, text);
    uint64_t count;
    assert_int_equal(filter_count(filter, NULL, &count, NULL), VELTA_OK);
    assert_true(count == 1);
    filter_destroy(filter);
    free(text);
    free(value);
}

/* ---- refused memory */

static bool compile_and_run(struct test_allocator *self, void *context) {
    const char *text = context;
    struct memory *own = memory_create(&self->allocator, 0);
    struct table *table;
    struct filter *filter = NULL;
    struct velta_error error = {VELTA_OK, 0, ""};
    uint64_t words[8], count = 0;
    assert_non_null(own);
    assert_int_equal(make_packages(own, &table), VELTA_OK);
    append_packages(table);
    test_allocator_rearm(self);
    enum velta_status status = filter_compile(table, text, strlen(text), &filter, &error);
    if (status == VELTA_OK) status = filter_evaluate(filter, NULL, words, &count, &error);
    test_allocator_disarm(self);
    if (status == VELTA_OK)
        assert_true(words[0] == 0x4 && count == 1);
    else
        assert_true(status == VELTA_NO_MEMORY && error.code == status);
    filter_destroy(filter);
    table_destroy(table);
    memory_destroy(own);
    return status == VELTA_OK;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct test_allocator own;
    char *text = repeat("section LIKE '%e%' AND section CONTAINS 't' AND NOT (depends = 7.5 OR section IN ('a','b','c',"
                        "'d','e','f','g','h','i')) AND depends IN (2,4,6,8,10,12,14,16,18,20,22,24,26) AND "
                        "ratio BETWEEN 1 AND 2 AND made < '2024-05-01' AND (essential OR FALSE) AND section IN (",
                        "'net',", 800, "'x')");
    test_allocator_init(&own);
    uint64_t runs = test_every_allocation_fails(&own, compile_and_run, text);
    assert_true(runs > 10);
    test_allocator_check_empty(&own);
    free(text);
}

int main(void) {
#define FILTER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FILTER_TEST(numbers),
        FILTER_TEST(floats),
        FILTER_TEST(bools),
        FILTER_TEST(strings),
        FILTER_TEST(nulls),
        FILTER_TEST(times_and_bytes),
        FILTER_TEST(logic),
        FILTER_TEST(plans_are_simplified),
        FILTER_TEST(columns_are_named),
        FILTER_TEST(syntax_errors),
        FILTER_TEST(meaning_errors),
        FILTER_TEST(limits),
        FILTER_TEST(growth_is_seen),
        FILTER_TEST(visibility_is_obeyed),
        FILTER_TEST(null_vectors_over_slabs),
        FILTER_TEST(hostile_text_is_linear),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
