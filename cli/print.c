/* Printing results. See print.h. */
#include "cli/print.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CELL = 60 };

static bool is_there(const struct velta_values *values, size_t slot) {
    return !values->valid || (values->valid[slot / 64] >> (slot % 64) & 1);
}

static json_t *text_value(const struct velta_values *values, enum velta_type type, size_t slot) {
    const char *text = (const char *)values->data + values->offsets[slot];
    size_t size_bytes = (size_t)(values->offsets[slot + 1] - values->offsets[slot]);
    if (type == VELTA_STRING) {
        return json_stringn(text, size_bytes);
    }
    static const char digits[] = "0123456789abcdef"; /* bytes as hexadecimal text */
    char *hex = cli_allocate(2 * size_bytes + 1);
    for (size_t i = 0; i < size_bytes; i++) {
        hex[2 * i] = digits[(unsigned char)text[i] >> 4];
        hex[2 * i + 1] = digits[text[i] & 15];
    }
    json_t *json = json_stringn(hex, 2 * size_bytes);
    free(hex);
    return json;
}

json_t *print_value(const struct velta_values *values, enum velta_type type, uint32_t dimensions, size_t slot) {
    char time[32];
    if (!is_there(values, slot)) {
        return json_null();
    }
    switch (type) {
    case VELTA_INT:
        return json_integer(((const int64_t *)values->data)[slot]);
    case VELTA_TIMESTAMP:
        cli_format_time(((const int64_t *)values->data)[slot], time);
        return json_string(time);
    case VELTA_BOOL:
        return json_boolean(((const uint8_t *)values->data)[slot]);
    case VELTA_FLOAT: {
        double number = ((const double *)values->data)[slot];
        return isfinite(number) ? json_real(number) : json_null(); /* JSON has no NaN */
    }
    case VELTA_VECTOR: {
        json_t *list = json_array();
        for (uint32_t i = 0; i < dimensions; i++) {
            json_array_append_new(list, json_real((double)((const float *)values->data)[slot * dimensions + i]));
        }
        return list;
    }
    default:
        return text_value(values, type, slot);
    }
}

json_t *print_row(const velta_result *result, const uint32_t *dimensions, size_t slot) {
    json_t *row = json_object();
    for (size_t i = 0; i < velta_result_column_count(result); i++) {
        struct velta_values values;
        enum velta_type type;
        if (velta_result_column(result, i, &values, &type) == VELTA_OK) {
            json_object_set_new(row, values.column, print_value(&values, type, dimensions[i], slot));
        }
    }
    return row;
}

void print_json_line(json_t *json) {
    json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(json);
}

void print_table_start(struct print_table *table, size_t column_count) {
    *table = (struct print_table){.column_count = column_count};
    table->right = cli_allocate(column_count * sizeof *table->right);
    memset(table->right, 0, column_count * sizeof *table->right);
}

/* Takes the text over. */
static void add_cell(struct print_table *table, bool right, char *text) {
    table->cells = cli_resize(table->cells, (table->cell_count + 1) * sizeof *table->cells);
    table->cells[table->cell_count] = text;
    table->right[table->cell_count % table->column_count] |= right && table->cell_count >= table->column_count;
    table->cell_count++;
}

void print_table_cell(struct print_table *table, bool right, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    add_cell(table, right, cli_copy(text, strlen(text)));
}

/* Characters of UTF-8 text. */
static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text; text++) {
        width += (*text & 0xC0) != 0x80;
    }
    return width;
}

/* Control characters become spaces, long text is cut at a character. */
static char *tidy_text(const char *text, size_t size_bytes) {
    char *copy = cli_allocate(size_bytes + 4);
    size_t out = 0;
    size_t width = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        width += (text[i] & 0xC0) != 0x80;
        if (width > MAX_CELL) {
            memcpy(copy + out, "\xE2\x80\xA6", 3);
            out += 3;
            break;
        }
        copy[out++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? ' ' : text[i];
    }
    copy[out] = '\0';
    return copy;
}

void print_table_value(struct print_table *table, const struct velta_values *values, enum velta_type type,
                       uint32_t dimensions, size_t slot) {
    char time[32];
    if (!is_there(values, slot)) {
        add_cell(table, false, cli_copy("-", 1));
        return;
    }
    switch (type) {
    case VELTA_INT:
        print_table_cell(table, true, "%" PRId64, ((const int64_t *)values->data)[slot]);
        return;
    case VELTA_TIMESTAMP:
        cli_format_time(((const int64_t *)values->data)[slot], time);
        print_table_cell(table, false, "%s", time);
        return;
    case VELTA_BOOL:
        print_table_cell(table, false, "%s", ((const uint8_t *)values->data)[slot] ? "yes" : "no");
        return;
    case VELTA_FLOAT:
        print_table_cell(table, true, "%g", ((const double *)values->data)[slot]);
        return;
    case VELTA_VECTOR: {
        const float *vector = (const float *)values->data + slot * dimensions;
        print_table_cell(table, false, "[%g, %g, ...]", (double)vector[0], (double)vector[dimensions > 1]);
        return;
    }
    default: {
        const char *text = (const char *)values->data + values->offsets[slot];
        size_t size_bytes = (size_t)(values->offsets[slot + 1] - values->offsets[slot]);
        add_cell(table, false, tidy_text(text, size_bytes));
    }
    }
}

void print_table_end(struct print_table *table) {
    size_t cells = table->cell_count;
    size_t *widths = cli_allocate(table->column_count * sizeof *widths);
    memset(widths, 0, table->column_count * sizeof *widths);
    for (size_t i = 0; i < cells; i++) {
        size_t width = width_of(table->cells[i]);
        size_t *widest = &widths[i % table->column_count];
        *widest = width > *widest ? width : *widest;
    }
    for (size_t i = 0; i < cells; i++) {
        size_t column = i % table->column_count;
        bool last = column + 1 == table->column_count;
        int pad = (int)(widths[column] - width_of(table->cells[i]));
        if (table->right[column]) {
            printf("%*s%s%s", pad, "", table->cells[i], last ? "\n" : "  ");
        } else {
            printf("%s%*s%s", table->cells[i], last ? 0 : pad, "", last ? "\n" : "  ");
        }
        free(table->cells[i]);
    }
    free(table->cells);
    free(table->right);
    free(widths);
    *table = (struct print_table){0};
}
