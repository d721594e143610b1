/*
 * Edges of core/: tables without a key or with the other kind of key, empty and long keys, values that are NULL by
 * their bits alone, sentences that are cut inside a character, texts at the limits of UTF-8, times and numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/number.h"
#include "core/table.h"
#include "core/time_text.h"
#include "core/utf8.h"
#include "tests/support/support.h"

static struct memory *memory;

static int set_up(void **state) {
    (void)state;
    memory = memory_create(NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    memory_destroy(memory);
    return 0;
}

static struct table *make(const struct velta_column *specs, size_t count) {
    struct table *table = NULL;
    assert_int_equal(table_create(memory, &simd_scalar, "t", specs, count, &table, NULL), VELTA_OK);
    return table;
}

static void append(struct table *table, const struct column_values *values, size_t count) {
    struct velta_error error = {VELTA_OK, 0, ""};
    if (table_check_append(table, values, count, &error) != VELTA_OK) fail_msg("%s", error.text);
    assert_int_equal(table_reserve_append(table, values, count, &error), VELTA_OK);
    table_apply_append(table, values, count);
}

static void names_of_tables(void **state) {
    (void)state;
    const struct velta_column spec = {.name = "n", .type = VELTA_INT}, unnamed = {.type = VELTA_INT};
    char longest[VELTA_MAX_NAME_BYTES + 2];
    struct table *table = NULL;
    memset(longest, 'n', sizeof longest);
    longest[VELTA_MAX_NAME_BYTES + 1] = '\0';
    const char *const names[] = {NULL, "", longest, "\xFF", "a\xC3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(table_create(memory, &simd_scalar, names[i], &spec, 1, &table, NULL), VELTA_INVALID);
    assert_int_equal(table_create(memory, &simd_scalar, "t", &unnamed, 1, &table, NULL), VELTA_INVALID);
    longest[VELTA_MAX_NAME_BYTES] = '\0';
    assert_int_equal(table_create(memory, &simd_scalar, longest, &spec, 1, &table, NULL), VELTA_OK);
    table_destroy(table);
    /* what only vectors have */
    const struct velta_column odd[] = {{.name = "n", .type = VELTA_INT, .element = VELTA_F16},
                                       {.name = "n", .type = VELTA_INT, .metric = VELTA_L2},
                                       {.name = "n", .type = VELTA_INT, .no_index = true}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_int_equal(table_create(memory, &simd_scalar, "t", &odd[i], 1, &table, NULL), VELTA_INVALID);
}

/* Asked for a key of the kind that the table does not have, or before there is any row. */
static void keys_of_the_other_kind(void **state) {
    (void)state;
    const struct velta_column plain = {.name = "n", .type = VELTA_INT},
                              ints = {.name = "n", .type = VELTA_INT, .primary_key = true},
                              texts = {.name = "s", .type = VELTA_STRING, .primary_key = true};
    struct table *none = make(&plain, 1), *numbers = make(&ints, 1), *words = make(&texts, 1);
    struct table *const all[] = {none, numbers, words};
    for (int i = 0; i < 3; i++) {
        table_prefetch_int(all[i], 5);
        assert_int_equal(table_guess_int(all[i], 5), VELTA_NO_ROW);
        assert_int_equal(table_find_int(all[i], 5), VELTA_NO_ROW);
        assert_int_equal(table_find_text(all[i], "five", 4), VELTA_NO_ROW);
        uint64_t before_bytes = table_memory_bytes(all[i]);
        assert_true(before_bytes > sizeof(struct table));
        assert_int_equal(table_reserve_expiry(all[i], NULL), VELTA_OK);
        table_apply_expiry(all[i], NULL, NULL, 0);
        assert_true(table_memory_bytes(all[i]) > before_bytes);
    }
    append(none, &(struct column_values){.data = (const int64_t[]){7, 8}}, 2);
    append(numbers, &(struct column_values){.data = (const int64_t[]){5}}, 1);
    append(words, &(struct column_values){.data = "five", .offsets = (const uint64_t[]){0, 4}}, 1);
    for (int i = 0; i < 3; i++)
        table_prefetch_int(all[i], 5);
    assert_int_equal(table_find_int(none, 1), 1); /* without a key, the row's number is one */
    assert_int_equal(table_find_int(none, -1), VELTA_NO_ROW);
    assert_int_equal(table_guess_int(none, 1), VELTA_NO_ROW);
    assert_int_equal(table_find_text(none, "five", 4), VELTA_NO_ROW);
    assert_int_equal(table_find_int(numbers, 5), 0);
    assert_int_equal(table_find_text(numbers, "five", 4), VELTA_NO_ROW);
    assert_int_equal(table_find_int(words, 5), VELTA_NO_ROW);
    assert_int_equal(table_find_text(words, "five", 4), 0);
    table_destroy(none);
    table_destroy(numbers);
    table_destroy(words);
}

/* The empty string is a key like others; a long one is shown cut. */
static void empty_and_long_keys(void **state) {
    (void)state;
    const struct velta_column texts = {.name = "s", .type = VELTA_STRING, .primary_key = true};
    struct table *table = make(&texts, 1);
    struct velta_error error;
    char bytes[200];
    memset(bytes, 'k', sizeof bytes);
    const uint64_t empty_twice[] = {0, 0, 0}, both[] = {0, 0, 100}, twice[] = {0, 100, 200}, unequal[] = {0, 90, 190};
    struct column_values values = {.data = bytes, .offsets = empty_twice};
    assert_int_equal(table_check_append(table, &values, 2, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 1);
    assert_non_null(strstr(error.text, "the key \"\""));
    struct column_values without = {.offsets = empty_twice}; /* no bytes at all */
    assert_int_equal(table_check_append(table, &without, 2, &error), VELTA_EXISTS);
    values.offsets = twice;
    assert_int_equal(table_check_append(table, &values, 2, &error), VELTA_EXISTS);
    assert_non_null(strstr(error.text, "kkkk\""));
    assert_true(strlen(error.text) < 160);
    values.offsets = unequal;
    assert_int_equal(table_check_append(table, &values, 2, &error), VELTA_OK);
    values.offsets = both;
    append(table, &values, 2);
    assert_int_equal(table_check_append(table, &values, 1, &error), VELTA_EXISTS); /* the empty one */
    assert_non_null(strstr(error.text, "the key \"\""));
    assert_int_equal(table_find_text(table, "", 0), 0);
    table_destroy(table);
}

/* No data, and bits that say that nothing is there: as good as all NULL. */
static void null_by_bits_alone(void **state) {
    (void)state;
    static const enum velta_type types[] = {VELTA_INT, VELTA_BOOL, VELTA_FLOAT, VELTA_TIMESTAMP};
    const uint64_t none = 0, some = 2;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const struct velta_column spec = {.name = "c", .type = types[i]};
        struct table *table = make(&spec, 1);
        const struct column_values values = {.valid = &none}, bad = {.valid = &some};
        assert_int_equal(table_check_append(table, &bad, 3, NULL), VELTA_INVALID);
        append(table, &values, 3);
        for (uint32_t row = 0; row < 3; row++)
            assert_true(column_is_null(table->columns[0], row));
        table_destroy(table);
    }
}

static void cut_sentences_are_whole_text(void **state) {
    (void)state;
    char text[600];
    static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
    enum { ROOM = sizeof(((struct velta_error *)0)->text) };
    for (size_t c = 0; c < 4; c++)
        for (size_t before = ROOM - 6; before < ROOM; before++) {
            struct velta_error error;
            memset(text, 'a', before);
            strcpy(text + before, characters[c]);
            assert_int_equal(velta_fail(&error, VELTA_INVALID, 3, "%s", text), VELTA_INVALID);
            assert_true(utf8_is_valid(error.text, strlen(error.text)) && strchr(error.text, '?') == NULL);
            assert_true(strlen(error.text) + 4 >= ROOM - 1 || strlen(error.text) == strlen(text));
        }
    /* what is no text is shown as such, also where the sentence is cut */
    for (size_t before = ROOM - 6; before < ROOM; before++) {
        struct velta_error error;
        memset(text, 'a', before);
        strcpy(text + before, "\x80\x81\x1F\x7F\xFF\xC0");
        (void)velta_fail(&error, VELTA_INVALID, 0, "%s", text);
        assert_true(utf8_is_valid(error.text, strlen(error.text)));
    }
    assert_int_equal(velta_fail(NULL, VELTA_LIMIT, 0, "nobody asks"), VELTA_LIMIT);
}

static void limits_of_utf8(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        bool valid;
    } cases[] = {
        {"\xF4\x8F\xBF\xBF", true},  {"\xF4\x90\x80\x80", false}, {"\xF0\x90\x80\x80", true},
        {"\xF0\x8F\xBF\xBF", false}, {"\xED\x9F\xBF", true},      {"\xED\xA0\x80", false},
        {"\xE0\xA0\x80", true},      {"\xE0\x9F\xBF", false},     {"\xC1\xBF", false},
        {"\xC2\x80", true},          {"\xF5\x80\x80\x80", false}, {"\xE2\x82", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(utf8_is_valid(cases[i].bytes, strlen(cases[i].bytes)), cases[i].valid);
}

static void times_and_numbers_end_where_they_end(void **state) {
    (void)state;
    static const char *const bad[] = {"2024-00-01",
                                      "2024-01-00",
                                      "2024-02-30",
                                      "2023-02-29",
                                      "2024-01-01T10:00:00.",
                                      "2024-01-01T10:00:00./",
                                      "2024-01-01T10:00:00.1:",
                                      "2024-01-01T24:00",
                                      "2024-13-01"};
    int64_t time_ms;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(time_text_read(bad[i], strlen(bad[i]), &time_ms));
    assert_true(time_text_read("1970-01-01T00:00:00.123456", 26, &time_ms) && time_ms == 123);
    assert_true(time_text_read("2024-02-29", 10, &time_ms));
    assert_true(time_text_read("1970-01-01T01:00:00.5+01:00", 27, &time_ms) && time_ms == 500);
    /* an e without digits is not of the number */
    static const struct {
        const char *text;
        size_t size_bytes;
    } numbers[] = {{"1e", 1}, {"1e+", 1}, {"1ex", 1}, {"1e-x", 1}, {"1e5", 3}, {"1e-5", 4}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert_int_equal(number_read(numbers[i].text, strlen(numbers[i].text)).size_bytes, numbers[i].size_bytes);
}

int main(void) {
#define EDGE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        EDGE(names_of_tables),
        EDGE(keys_of_the_other_kind),
        EDGE(empty_and_long_keys),
        EDGE(null_by_bits_alone),
        EDGE(cut_sentences_are_whole_text),
        EDGE(limits_of_utf8),
        EDGE(times_and_numbers_end_where_they_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
