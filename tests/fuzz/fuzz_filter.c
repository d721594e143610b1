/*
 * Any bytes as filter text: never a crash, a leak or a wrong position; and where they are a filter, the bitmap, the
 * count, the row numbers and the rows one at a time agree, and the filter keeps the laws of three-valued logic: what is
 * denied, doubled, or joined with a constant.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/filter.h"

enum { ROWS = 200, COLUMNS = 7 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held) {
    if (!held) abort();
}

static struct table *make_table(struct memory *memory) {
    static const struct velta_column specs[COLUMNS] = {
        {.name = "i", .type = VELTA_INT},
        {.name = "f", .type = VELTA_FLOAT},
        {.name = "b", .type = VELTA_BOOL},
        {.name = "s", .type = VELTA_STRING},
        {.name = "t", .type = VELTA_TIMESTAMP},
        {.name = "x", .type = VELTA_BYTES},
        {.name = "v", .type = VELTA_VECTOR, .dimensions = 2},
    };
    static const char texts[] = "a\xC3\xA9%_ab\xE6\x97\xA5z'\"ba";
    static int64_t integers[ROWS], times[ROWS];
    static double reals[ROWS];
    static uint8_t bools[ROWS];
    static float vectors[ROWS * 2];
    static char bytes[ROWS * sizeof texts];
    static uint64_t offsets[ROWS + 1], valid[(ROWS + 63) / 64];
    struct table *table;
    memset(valid, 0, sizeof valid);
    for (size_t i = 0; i < ROWS; i++) {
        static const size_t starts[] = {0, 1, 3, 4, 5, 6, 7, 10, 11};
        size_t start = starts[i % 9], end = 1 + (i / 9) % 3 == 0 ? start : sizeof texts - 1;
        integers[i] = i % 50 == 0 ? INT64_MAX - (int64_t)i : (int64_t)(i % 20) - 5;
        times[i] = (int64_t)i * 86400000;
        reals[i] = i % 40 == 0 ? (double)NAN : (double)i / 4 - 5;
        bools[i] = i % 3 == 0;
        memcpy(bytes + offsets[i], texts + start, end - start);
        offsets[i + 1] = offsets[i] + (end - start);
        valid[i / 64] |= (uint64_t)(i % 7 != 0) << (i % 64);
    }
    const struct column_values values[COLUMNS] = {
        {.data = integers, .valid = valid},
        {.data = reals, .valid = valid},
        {.data = bools},
        {.data = bytes, .offsets = offsets, .valid = valid},
        {.data = times},
        {.data = bytes, .offsets = offsets},
        {.data = vectors, .valid = valid},
    };
    demand(table_create(memory, simd_select(NULL), "t", specs, COLUMNS, &table, NULL) == VELTA_OK);
    demand(table_check_append(table, values, ROWS, NULL) == VELTA_OK);
    demand(table_reserve_append(table, values, ROWS, NULL) == VELTA_OK);
    table_apply_append(table, values, ROWS);
    return table;
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

static void check(struct table *table, struct filter *filter) {
    uint64_t words[(ROWS + 63) / 64], count, counted, listed, seen = 0;
    uint32_t rows[ROWS];
    demand(filter_evaluate(filter, NULL, words, &count, NULL) == VELTA_OK);
    demand(filter_count(filter, NULL, &counted, NULL) == VELTA_OK && counted == count);
    demand(filter_rows(filter, NULL, rows, ROWS, &listed, NULL) == VELTA_OK && listed == count);
    for (uint32_t row = 0; row < ROWS; row++) {
        bool matches = bitmap_get(words, row);
        demand(matches == filter_match_row(filter, row, get_value, table));
        demand(!matches || rows[seen++] == row);
    }
    demand(seen == count);
    /* Rows that are not asked for never match, and change nothing for the others. */
    uint64_t visible[(ROWS + 63) / 64], some[(ROWS + 63) / 64];
    for (size_t i = 0; i < sizeof visible / sizeof visible[0]; i++)
        visible[i] = UINT64_C(0x9E3779B97F4A7C15) >> i;
    demand(filter_evaluate(filter, visible, some, &counted, NULL) == VELTA_OK);
    for (uint32_t row = 0; row < ROWS; row++)
        demand(bitmap_get(some, row) == (bitmap_get(words, row) && bitmap_get(visible, row)));
}

/* Evaluates head + text + middle + (twice: text) + tail; false: a limit is passed. */
static bool evaluate_with(struct table *table, const uint8_t *text, size_t size, const char *head, const char *middle,
                          bool twice, uint64_t *words) {
    size_t head_bytes = strlen(head), middle_bytes = strlen(middle);
    char *made = malloc(head_bytes + 2 * size + middle_bytes + 1);
    char *end = made;
    struct filter *filter;
    uint64_t count;
    demand(made != NULL);
    end = memcpy(end, head, head_bytes), end += head_bytes;
    if (size > 0) memcpy(end, text, size), end += size;
    memcpy(end, middle, middle_bytes), end += middle_bytes;
    if (twice && size > 0) memcpy(end, text, size), end += size;
    if (twice) *end++ = ')';
    enum velta_status status = filter_compile(table, made, (size_t)(end - made), &filter, NULL);
    free(made);
    if (status) {
        demand(status == VELTA_LIMIT); /* longer, deeper or with more literals */
        return false;
    }
    demand(filter_evaluate(filter, NULL, words, &count, NULL) == VELTA_OK);
    filter_destroy(filter);
    return true;
}

static void check_laws(struct table *table, struct filter *filter, const uint8_t *text, size_t size) {
    enum { WORDS = (ROWS + 63) / 64 };
    static const struct {
        const char *head, *middle;
        bool twice;
    } same[] = {{"(", ")", false},          {"NOT (NOT (", "))", false}, {"(", ") AND TRUE", false},
                {"FALSE OR (", ")", false}, {"(", ") AND (", true},      {"(", ") OR (", true}};
    uint64_t words[WORDS], other[WORDS], count;
    demand(filter_evaluate(filter, NULL, words, &count, NULL) == VELTA_OK);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        if (evaluate_with(table, text, size, same[i].head, same[i].middle, same[i].twice, other))
            demand(memcmp(words, other, sizeof words) == 0);
    if (evaluate_with(table, text, size, "NOT (", ")", false, other))
        for (size_t i = 0; i < WORDS; i++)
            demand((words[i] & other[i]) == 0);
    if (evaluate_with(table, text, size, "NOT (", ") AND (", true, other))
        for (size_t i = 0; i < WORDS; i++)
            demand(other[i] == 0); /* never both */
}

/* Whether it is blank: then it stands for TRUE only alone. */
static bool is_blank(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!memchr(" \t\r\n", text[i], 4)) return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct table *table; /* made once: filters change nothing in it */
    struct velta_error error = {VELTA_OK, 0, ""};
    struct filter *filter = NULL;
    if (!table) table = make_table(memory_create(NULL, 0));
    enum velta_status status = filter_compile(table, (const char *)data, size, &filter, &error);
    if (status == VELTA_OK) {
        check(table, filter);
        if (!is_blank(data, size)) check_laws(table, filter, data, size);
    } else {
        demand(filter == NULL && error.code == status && error.offset <= size);
        demand(status == VELTA_SYNTAX || status == VELTA_UNKNOWN_COLUMN || status == VELTA_TYPE ||
               status == VELTA_LIMIT);
    }
    filter_destroy(filter);
    return 0;
}
