/*
 * Filters that are broken, and filters that are refused memory.
 *
 * Broken: into every place between two words of good texts comes something that no filter may have; the answer is a
 * status with a sentence and an offset at or before that place's end. Memory: the arena asks the host only when a block
 * is full, so a value of changing length shifts which of a compilation's requests meets the end of its first block.
 */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/filter.h"
#include "core/utf8.h"

enum { ROWS = 40, TEXT_BYTES = 8192, FIRST_BLOCK_BYTES = 4096, ARENA_STEP = 16 };

static struct test_allocator allocator;
static struct memory *memory;
static struct table *table;

/* One filter of each kind that binding and planning make. */
static const char *const texts[] = {
    "n = 1",
    "n = +1",
    "s LIKE '' OR s LIKE 'v%'",
    "NOT s LIKE '%'",
    "n > 2 AND n <= 30",
    "NOT (n < 3 OR n IN (4, 5)) AND n <> 6",
    "n IN (1, 30, 60, 90, 120, 150, 180, 210, 240, 270)",
    "7 <= n OR 7.5 > n",
    "n BETWEEN 3 AND 9 AND TRUE",
    "r IN (0.5, 1.5, NULL) OR r NOT BETWEEN 1 AND 2",
    "r IN (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5)",
    "b OR NOT b",
    "b IN (TRUE, FALSE) OR b = FALSE",
    "b IN (FALSE)",
    "s = 'v1' OR s >= 'v7'",
    "s IN ('v1', 'v3', 'v5', 'v7', 'v9', 'v11', 'v13', 'v15', 'v17', 'v19') OR s IN (NULL)",
    "s NOT IN ('v1', 'v3')",
    "s LIKE 'v%_1%' OR s LIKE '%1!%' ESCAPE '!'",
    "s CONTAINS '1v' OR s STARTS WITH 'v2' OR s ENDS WITH '9'",
    "d = x'00ff' OR d < x'01'",
    "s IS NULL OR d IS NOT NULL",
    "s IN () OR n NOT IN () OR n IN (NULL, 1) OR n NOT IN (NULL) OR n BETWEEN NULL AND 3",
    "NULL OR n = NULL OR s LIKE NULL OR NOT FALSE",
    "t > '2024-05-01' AND t <= '2024-05-01T10:00:00Z'",
};
enum { TEXT_COUNT = sizeof texts / sizeof texts[0] };

static int set_up(void **state) {
    (void)state;
    const struct velta_column specs[] = {
        {.name = "n", .type = VELTA_INT},
        {.name = "r", .type = VELTA_FLOAT},
        {.name = "b", .type = VELTA_BOOL},
        {.name = "s", .type = VELTA_STRING},
        {.name = "d", .type = VELTA_BYTES},
        {.name = "t", .type = VELTA_TIMESTAMP},
        {.name = "v", .type = VELTA_VECTOR, .dimensions = 2},
    };
    int64_t integers[ROWS], times[ROWS];
    double floats[ROWS];
    uint8_t bools[ROWS], bytes[ROWS];
    float vectors[2 * ROWS] = {0};
    char strings[ROWS * 4];
    uint64_t string_offsets[ROWS + 1] = {0}, byte_offsets[ROWS + 1] = {0};
    const uint64_t valid = 0x7F7F7F7F7F;
    test_allocator_init(&allocator);
    memory = memory_create(&allocator.allocator, 0);
    assert_int_equal(table_create(memory, &simd_scalar, "rows", specs, 7, &table, NULL), VELTA_OK);
    for (int i = 0; i < ROWS; i++) {
        integers[i] = i * 30;
        times[i] = INT64_C(1714521600000) + i * 3600000;
        floats[i] = i / 2.0;
        bools[i] = i % 3 == 0;
        bytes[i] = (uint8_t)i;
        byte_offsets[i + 1] = (uint64_t)i + 1;
        string_offsets[i + 1] = string_offsets[i] + (uint64_t)sprintf(strings + string_offsets[i], "v%d", i);
    }
    struct column_values values[] = {
        {.data = integers, .valid = &valid},
        {.data = floats, .valid = &valid},
        {.data = bools, .valid = &valid},
        {.data = strings, .offsets = string_offsets, .valid = &valid},
        {.data = bytes, .offsets = byte_offsets, .valid = &valid},
        {.data = times, .valid = &valid},
        {.data = vectors, .valid = &valid},
    };
    assert_int_equal(table_check_append(table, values, ROWS, NULL), VELTA_OK);
    assert_int_equal(table_reserve_append(table, values, ROWS, NULL), VELTA_OK);
    table_apply_append(table, values, ROWS);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    table_destroy(table);
    memory_destroy(memory);
    test_allocator_check_empty(&allocator);
    return 0;
}

/* ---- broken texts */

/* Compiles; where it is refused, asserts a sentence in whole characters and a place in the text. */
static enum velta_status try_text(const char *text, size_t text_bytes, struct velta_error *error) {
    struct filter *filter = NULL;
    *error = (struct velta_error){VELTA_OK, 0, ""};
    enum velta_status status = filter_compile(table, text, text_bytes, &filter, error);
    if (status == VELTA_OK) {
        filter_destroy(filter);
        return status;
    }
    assert_null(filter);
    assert_int_equal(error->code, status);
    if (error->offset > text_bytes) fail_msg("%.*s: offset %d", (int)text_bytes, text, (int)error->offset);
    assert_true(error->text[0] != '\0' && utf8_is_valid(error->text, strlen(error->text)));
    for (const char *at = error->text; *at; at++)
        if ((unsigned char)*at < ' ') fail_msg("%.*s: %s", (int)text_bytes, text, error->text);
    return status;
}

/* What stands nowhere outside quotes. A control character is in the rest of the text that a message may quote. */
static const char *const intruders[] = {"$", "'", "\"", "\"\"", "1.2.3", "x'0", "x'0g'", "^\x01", ".", "\x7F", "{"};

static void nothing_foreign_is_let_in(void **state) {
    (void)state;
    char text[TEXT_BYTES];
    struct velta_error error;
    uint64_t tries = 0;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        size_t length = strlen(texts[i]);
        assert_int_equal(try_text(texts[i], length, &error), VELTA_OK);
        for (size_t at = 0; at <= length; at++) {
            bool quoted = false;
            for (size_t j = 0; j < at; j++)
                quoted ^= texts[i][j] == '\'';
            if (quoted || (at > 0 && at < length && texts[i][at - 1] != ' ' && texts[i][at] != ' ')) continue;
            for (size_t j = 0; j < sizeof intruders / sizeof intruders[0]; j++) {
                size_t size = (size_t)sprintf(text, "%.*s %s %s", (int)at, texts[i], intruders[j], texts[i] + at);
                enum velta_status status = try_text(text, size, &error);
                if (status == VELTA_OK) fail_msg("compiled: %s", text);
                assert_true(status == VELTA_SYNTAX);
                tries++;
            }
        }
    }
    assert_true(tries > 1000);
}

/* Cut after any byte: refused, or a shorter filter that is whole. */
static void every_beginning_is_answered(void **state) {
    (void)state;
    struct velta_error error;
    for (size_t i = 0; i < TEXT_COUNT; i++)
        for (size_t length = 0; length < strlen(texts[i]); length++) {
            enum velta_status status = try_text(texts[i], length, &error);
            assert_true(status == VELTA_OK || status == VELTA_SYNTAX || status == VELTA_TYPE ||
                        status == VELTA_UNKNOWN_COLUMN); /* NU of NULL */
        }
}

static void expect_error(const char *text, enum velta_status status, int offset, const char *part) {
    struct velta_error error;
    if (try_text(text, strlen(text), &error) != status || (int)error.offset != offset || !strstr(error.text, part))
        fail_msg("%s: status %d at %d: %s", text, error.code, (int)error.offset, error.text);
}

static void sentences_say_what_is_wrong(void **state) {
    (void)state;
    char text[400];
    memset(text, 'z', sizeof text);
    strcpy(text + 300, " = 1");
    struct velta_error error;
    assert_int_equal(try_text(text, strlen(text), &error), VELTA_UNKNOWN_COLUMN);
    assert_non_null(strstr(error.text, "zzz"));
    expect_error("_9 = 1", VELTA_UNKNOWN_COLUMN, 0, "there is no column '_9'");
    expect_error("N5 = 1", VELTA_UNKNOWN_COLUMN, 0, "did you mean 'n'");
    expect_error("n = AND", VELTA_SYNTAX, 4, "expected a value after '=' but found 'AND'");
    expect_error("n = )", VELTA_SYNTAX, 4, "expected a value after '=' but found ')'");
    expect_error("1 = AND", VELTA_SYNTAX, 4, "expected a column after '='");
    expect_error("1 = 2", VELTA_SYNTAX, 4, "expected a column after '='");
    expect_error("1 < n < 3", VELTA_SYNTAX, 6, "comparisons are not chained");
    expect_error("n ! 1", VELTA_SYNTAX, 2, "write NOT or !=");
    expect_error("n !", VELTA_SYNTAX, 2, "write NOT or !=");
    expect_error("n & 1", VELTA_SYNTAX, 2, "write AND");
    expect_error("n = 1z", VELTA_SYNTAX, 5, "this cannot follow a number");
    expect_error("n = 1_", VELTA_SYNTAX, 5, "this cannot follow a number");
    expect_error("d = x'0G'", VELTA_SYNTAX, 7, "bytes are written with");
    expect_error("d = x'0:'", VELTA_SYNTAX, 7, "bytes are written with");
    expect_error("d = X'0'", VELTA_SYNTAX, 5, "two hexadecimal digits");
    expect_error("x = 1", VELTA_UNKNOWN_COLUMN, 0, "there is no column 'x'");
    expect_error("X", VELTA_UNKNOWN_COLUMN, 0, "there is no column 'X'");
    expect_error("v = 1", VELTA_TYPE, 4, "a vector can only be asked IS NULL");
    expect_error("v = NULL", VELTA_TYPE, 0, "it can only be asked IS NULL");
    /* a quoted piece ends between characters, and what cannot be printed is not */
    expect_error("n = 'a' 'x\t\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"
                 "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9'",
                 VELTA_SYNTAX, 8, "'x \xC3\xA9");
    expect_error("n = 'a' 'xy\t\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"
                 "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9'",
                 VELTA_SYNTAX, 8, "'xy \xC3\xA9");
}

/* ---- columns that are asked about */

static void constants_ask_no_column(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t columns;
    } cases[] = {{"", 0}, {"FALSE", 0}, {"TRUE OR n = 1", 0}, {"n = 1 AND (s = 'a' OR b)", 0xD}, {"v IS NULL", 0x40}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct filter *filter = NULL;
        uint64_t columns[VELTA_MAX_COLUMNS / 64];
        assert_int_equal(filter_compile(table, cases[i].text, strlen(cases[i].text), &filter, NULL), VELTA_OK);
        filter_columns(filter, columns);
        assert_int_equal(columns[0], cases[i].columns);
        filter_destroy(filter);
    }
}

/* ---- dictionary codes of each width, on every kernel set */

enum { WIDE_ROWS = 70000, WIDE_TEXT_BYTES = 6 };

static struct table *make_wide(const struct simd_kernels *simd) {
    const struct velta_column specs[] = {{.name = "s", .type = VELTA_STRING},
                                         {.name = "v", .type = VELTA_VECTOR, .dimensions = 1}};
    struct table *wide;
    char *strings = malloc(WIDE_ROWS * WIDE_TEXT_BYTES + 1);
    uint64_t *offsets = malloc((WIDE_ROWS + 1) * sizeof *offsets);
    float *vectors = calloc(WIDE_ROWS, sizeof *vectors);
    for (uint32_t i = 0; i < WIDE_ROWS; i++) {
        offsets[i] = (uint64_t)i * WIDE_TEXT_BYTES;
        sprintf(strings + offsets[i], "s%05u", (unsigned)(i % 60000));
    }
    offsets[WIDE_ROWS] = (uint64_t)WIDE_ROWS * WIDE_TEXT_BYTES;
    assert_int_equal(table_create(memory, simd, "wide", specs, 2, &wide, NULL), VELTA_OK);
    /* in three appends, so that slabs grow through every width */
    for (uint32_t done = 0; done < WIDE_ROWS;) {
        uint32_t count = done == 0 ? 100 : done == 100 ? 20000 : WIDE_ROWS - done;
        struct column_values part[] = {{.data = strings, .offsets = offsets + done}, {.data = vectors}};
        assert_int_equal(table_reserve_append(wide, part, count, NULL), VELTA_OK);
        table_apply_append(wide, part, count);
        done += count;
    }
    free(strings);
    free(offsets);
    free(vectors);
    return wide;
}

static void codes_of_every_width(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t count;
    } cases[] = {
        {"s = 's00000'", 2},
        {"s IN ('s00000', 's00050', 's59999')", 5},
        {"s ENDS WITH '7'", 7000},
        {"NOT s ENDS WITH '7'", 63000},
        {"s < 's00010'", 20},
        {"v IS NULL", 0},
        {"v IS NOT NULL AND s LIKE '%9_'", 7000},
    };
    const struct simd_kernels *simd;
    for (unsigned set = 0; (simd = simd_available(set)) != NULL; set++) {
        struct table *wide = make_wide(simd);
        uint64_t *words = malloc((WIDE_ROWS + 63) / 64 * sizeof *words);
        uint32_t *rows = malloc(WIDE_ROWS * sizeof *rows);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct filter *filter = NULL;
            uint64_t counts[3] = {0, 0, 0};
            assert_int_equal(filter_compile(wide, cases[i].text, strlen(cases[i].text), &filter, NULL), VELTA_OK);
            assert_int_equal(filter_count(filter, NULL, &counts[0], NULL), VELTA_OK);
            assert_int_equal(filter_evaluate(filter, NULL, words, &counts[1], NULL), VELTA_OK);
            assert_int_equal(filter_rows(filter, NULL, rows, WIDE_ROWS, &counts[2], NULL), VELTA_OK);
            for (int way = 0; way < 3; way++)
                if (counts[way] != cases[i].count)
                    fail_msg("%s, %s, way %d: %d rows", simd->name, cases[i].text, way, (int)counts[way]);
            for (uint64_t at = 0; at < counts[2]; at++)
                assert_true((words[rows[at] / 64] >> rows[at] % 64 & 1) == 1);
            filter_destroy(filter);
        }
        free(words);
        free(rows);
        table_destroy(wide);
    }
}

/* ---- refused memory */

enum use { COMPILE, EVALUATE, COUNT, LIST, USES };

/* The status of compiling and one use; *count of the rows where it went well. */
static enum velta_status run(const char *text, enum use use, uint64_t *count) {
    struct filter *filter = NULL;
    struct velta_error error = {VELTA_OK, 0, ""};
    uint64_t words[1];
    uint32_t rows[ROWS];
    enum velta_status status = filter_compile(table, text, strlen(text), &filter, &error);
    if (status == VELTA_OK && use == EVALUATE) status = filter_evaluate(filter, NULL, words, count, &error);
    if (status == VELTA_OK && use == COUNT) status = filter_count(filter, NULL, count, &error);
    if (status == VELTA_OK && use == LIST) status = filter_rows(filter, NULL, rows, ROWS, count, &error);
    assert_int_equal(status, error.code);
    filter_destroy(filter);
    return status;
}

/* Refuses the first request, the second, and so on until one run needs no more; returns how many were refused. */
static uint64_t refuse_each(const char *text, enum use use, uint64_t want) {
    uint64_t live_count = allocator.live_count;
    for (uint64_t fail_at = 1;; fail_at++) {
        uint64_t count = want;
        test_allocator_arm(&allocator, fail_at, false);
        uint64_t refused_before = allocator.refused_count;
        enum velta_status status = run(text, use, &count);
        bool refused = allocator.refused_count > refused_before;
        test_allocator_arm(&allocator, 0, false);
        assert_int_equal(allocator.live_count, live_count);
        if (status == VELTA_OK) assert_int_equal(count, want);
        if (!refused) {
            assert_int_equal(status, VELTA_OK);
            return fail_at - 1;
        }
        assert_int_equal(status, VELTA_NO_MEMORY);
    }
}

static void every_request_may_be_refused(void **state) {
    (void)state;
    char text[TEXT_BYTES];
    uint64_t refused = 0;
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        uint64_t want = 0;
        assert_int_equal(run(texts[i], EVALUATE, &want), VELTA_OK);
        for (int use = COMPILE; use < USES; use++)
            refused += refuse_each(texts[i], (enum use)use, want);
        /* s <> is TRUE of every row that has a string */
        sprintf(text, "s <> 'x' AND (%s)", texts[i]);
        assert_int_equal(run(text, EVALUATE, &want), VELTA_OK);
        for (size_t pad = FIRST_BLOCK_BYTES / 4; pad < FIRST_BLOCK_BYTES; pad += ARENA_STEP) {
            sprintf(text, "s <> '%*s' AND (%s)", (int)pad, "", texts[i]);
            refused += refuse_each(text, COMPILE, want);
        }
    }
    assert_true(refused > 5000);
}

int main(void) {
#define FILTER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FILTER_TEST(nothing_foreign_is_let_in),   FILTER_TEST(every_beginning_is_answered),
        FILTER_TEST(sentences_say_what_is_wrong), FILTER_TEST(constants_ask_no_column),
        FILTER_TEST(codes_of_every_width),        FILTER_TEST(every_request_may_be_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
