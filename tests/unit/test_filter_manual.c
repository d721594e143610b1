/* docs/FILTER.md tells the truth: its table is built and each of its examples run. */
#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/filter.h"
#include "core/number.h"
#include "core/time_text.h"

enum { MAX_COLUMNS = 8, MAX_ROWS = 16, MAX_CELL = 64 };

static const char manual[] = "docs/FILTER.md";

struct sheet {
    char names[MAX_COLUMNS][MAX_CELL];
    enum velta_type types[MAX_COLUMNS];
    size_t columns;
    char cells[MAX_ROWS][MAX_COLUMNS][MAX_CELL];
    size_t rows;
};

/* Copies without the blanks around it. */
static void trim(char *out, const char *from, const char *to) {
    while (from < to && *from == ' ')
        from++;
    while (to > from && to[-1] == ' ')
        to--;
    assert_true(to - from < 200);
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = '\0';
}

static size_t split_row(const char *line, char cells[][MAX_CELL]) {
    size_t count = 0;
    for (const char *at = line + 1, *bar; (bar = strpbrk(at, "|\n")) && *bar == '|'; at = bar + 1) {
        assert_true(count < MAX_COLUMNS && bar - at < MAX_CELL);
        trim(cells[count++], at, bar);
    }
    return count;
}

static enum velta_type type_of(const char *name) {
    static const char *const names[] = {"int", "float", "bool", "string", "timestamp"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) return (enum velta_type)(VELTA_INT + i);
    fail_msg("the manual's table has a column of type %s", name);
    return VELTA_INT;
}

/* The first table whose head has types. */
static void read_sheet(char *text, struct sheet *sheet) {
    char *line = strstr(text, "\n| name:string");
    assert_non_null(line);
    char head[MAX_COLUMNS][MAX_CELL];
    sheet->columns = split_row(line + 1, head);
    for (size_t i = 0; i < sheet->columns; i++) {
        char *colon = strchr(head[i], ':');
        assert_non_null(colon);
        trim(sheet->names[i], head[i], colon);
        sheet->types[i] = type_of(colon + 1);
    }
    line = strchr(line + 1, '\n'); /* to the rule */
    line = strchr(line + 1, '\n'); /* to the first row */
    for (; line && line[1] == '|'; line = strchr(line + 1, '\n')) {
        assert_true(sheet->rows < MAX_ROWS);
        assert_int_equal(split_row(line + 1, sheet->cells[sheet->rows++]), sheet->columns);
    }
}

static void set_cell(const struct sheet *sheet, size_t column, size_t row, struct column_values *values) {
    static int64_t integers[MAX_COLUMNS];
    static double reals[MAX_COLUMNS];
    static uint8_t bools[MAX_COLUMNS];
    static uint64_t offsets[MAX_COLUMNS][2];
    const char *cell = sheet->cells[row][column];
    struct number number = number_read(cell, strlen(cell));
    if (cell[0] == '\0') return;
    switch (sheet->types[column]) {
    case VELTA_INT:
        assert_int_equal(number.kind, NUMBER_INTEGER);
        integers[column] = number.integer;
        values->data = &integers[column];
        break;
    case VELTA_TIMESTAMP:
        assert_true(time_text_read(cell, strlen(cell), &integers[column]));
        values->data = &integers[column];
        break;
    case VELTA_FLOAT:
        reals[column] = strcmp(cell, "NaN") == 0 ? (double)NAN : number.real;
        values->data = &reals[column];
        break;
    case VELTA_BOOL:
        bools[column] = strcmp(cell, "TRUE") == 0;
        values->data = &bools[column];
        break;
    default:
        offsets[column][1] = strlen(cell);
        values->data = cell;
        values->offsets = offsets[column];
        break;
    }
}

static struct table *make_table(struct memory *memory, const struct sheet *sheet) {
    struct velta_column specs[MAX_COLUMNS];
    struct table *table;
    memset(specs, 0, sizeof specs);
    for (size_t i = 0; i < sheet->columns; i++) {
        specs[i].name = sheet->names[i];
        specs[i].type = sheet->types[i];
    }
    assert_int_equal(table_create(memory, &simd_scalar, "manual", specs, sheet->columns, &table, NULL), VELTA_OK);
    for (size_t row = 0; row < sheet->rows; row++) {
        struct column_values values[MAX_COLUMNS];
        memset(values, 0, sizeof values);
        for (size_t i = 0; i < sheet->columns; i++)
            set_cell(sheet, i, row, &values[i]);
        assert_int_equal(table_check_append(table, values, 1, NULL), VELTA_OK);
        assert_int_equal(table_reserve_append(table, values, 1, NULL), VELTA_OK);
        table_apply_append(table, values, 1);
    }
    return table;
}

static void run_example(struct table *table, const char *text, const char *expected) {
    struct filter *filter = NULL;
    struct velta_error error;
    uint32_t rows[MAX_ROWS];
    uint64_t count;
    char names[MAX_ROWS * MAX_CELL] = "";
    if (filter_compile(table, text, strlen(text), &filter, &error) != VELTA_OK)
        fail_msg("%s: %s at %d", text, error.text, (int)error.offset);
    assert_int_equal(filter_rows(filter, NULL, rows, MAX_ROWS, &count, NULL), VELTA_OK);
    for (uint64_t i = 0; i < count; i++) {
        size_t size_bytes;
        const char *name = column_text(table->columns[0], rows[i], &size_bytes);
        strcat(names, i > 0 ? ", " : "");
        strncat(names, name, size_bytes);
    }
    if (strcmp(names, expected) != 0) fail_msg("%s: the manual says '%s', the rows are '%s'", text, expected, names);
    filter_destroy(filter);
}

static void run_wrong_example(struct table *table, const char *text, const char *expected) {
    static const struct {
        const char *name;
        enum velta_status code;
    } codes[] = {{"SYNTAX ", VELTA_SYNTAX}, {"UNKNOWN_COLUMN ", VELTA_UNKNOWN_COLUMN}, {"TYPE ", VELTA_TYPE}};
    struct filter *filter = NULL;
    struct velta_error error = {VELTA_OK, 0, ""};
    enum velta_status status = filter_compile(table, text, strlen(text), &filter, &error);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        size_t length = strlen(codes[i].name);
        if (strncmp(expected, codes[i].name, length) != 0) continue;
        char *rest;
        unsigned long position = strtoul(expected + length, &rest, 10);
        if (status != codes[i].code || error.offset != position || !strstr(error.text, rest + 2))
            fail_msg("%s: the manual says '%s'; status %d at %d: %s", text, expected, status, (int)error.offset,
                     error.text);
        return;
    }
    fail_msg("%s: no code in '%s'", text, expected);
}

/* Runs the lines of all blocks that open with `fence`; returns how many. */
static size_t run_blocks(struct table *table, const char *text, const char *fence,
                         void (*run)(struct table *, const char *, const char *)) {
    size_t count = 0;
    for (const char *block = text; (block = strstr(block, fence)) != NULL;) {
        for (block = strchr(block + 1, '\n') + 1; strncmp(block, "```", 3) != 0; block = strchr(block, '\n') + 1) {
            const char *end = strchr(block, '\n'), *arrow = strstr(block, "->");
            char filter[200], expected[200];
            assert_true(arrow && arrow < end);
            trim(filter, block, arrow);
            trim(expected, arrow + 2, end);
            run(table, filter, expected);
            count++;
        }
    }
    return count;
}

static void the_manual_tells_the_truth(void **state) {
    (void)state;
    size_t size_bytes;
    uint8_t *bytes = test_read_file(manual, &size_bytes);
    char *text = malloc(size_bytes + 1);
    struct sheet sheet;
    struct memory *memory = memory_create(NULL, 0);
    memcpy(text, bytes, size_bytes);
    text[size_bytes] = '\0';
    memset(&sheet, 0, sizeof sheet);
    read_sheet(text, &sheet);
    assert_int_equal(sheet.rows, 5);
    struct table *table = make_table(memory, &sheet);
    assert_true(run_blocks(table, text, "\n```filter\n", run_example) > 25);
    assert_true(run_blocks(table, text, "\n```filter-error\n", run_wrong_example) > 5);
    table_destroy(table);
    memory_destroy(memory);
    free(text);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_manual_tells_the_truth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
