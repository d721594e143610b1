/* Growing columns, type inference, and the schema notation. See columns.h. */
#include "cli/columns.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_text(enum velta_type type) {
    return type == VELTA_STRING || type == VELTA_BYTES;
}

static size_t element_bytes(const struct cli_column *column) {
    switch (column->spec.type) {
    case VELTA_BOOL:
        return 1;
    case VELTA_VECTOR:
        return column->elsewhere ? 0 : column->spec.dimensions * sizeof(float);
    default:
        return 8;
    }
}

struct cli_column *columns_add(struct cli_columns *columns, const struct velta_column *spec) {
    columns->items = cli_resize(columns->items, (columns->count + 1) * sizeof *columns->items);
    struct cli_column *column = &columns->items[columns->count++];
    *column = (struct cli_column){.spec = *spec, .name = cli_copy(spec->name, strlen(spec->name))};
    column->spec.name = column->name;
    return column;
}

struct cli_column *columns_find(struct cli_columns *columns, const char *name, size_t name_bytes, size_t hint) {
    for (size_t i = 0; i < columns->count; i++) { /* rows tend to name their columns in the same order */
        struct cli_column *column = &columns->items[(hint + i) % columns->count];
        if (strlen(column->name) == name_bytes && memcmp(column->name, name, name_bytes) == 0) {
            return column;
        }
    }
    if (columns->closed) {
        return NULL;
    }
    char *copy = cli_copy(name, name_bytes);
    struct cli_column *column = columns_add(columns, &(struct velta_column){.name = copy});
    free(copy);
    return column;
}

static void grow(struct cli_column *column, size_t needed) {
    if (needed <= column->capacity) {
        return;
    }
    size_t capacity = column->capacity ? column->capacity * 2 : 1024;
    capacity = capacity < needed ? needed : capacity;
    size_t old_words = (column->capacity + 63) / 64;
    size_t words = (capacity + 63) / 64;
    column->valid = cli_resize(column->valid, words * sizeof *column->valid);
    memset(column->valid + old_words, 0, (words - old_words) * sizeof *column->valid);
    if (is_text(column->spec.type)) {
        column->offsets = cli_resize(column->offsets, (capacity + 1) * sizeof *column->offsets);
        column->offsets[0] = 0;
    } else if (column->spec.type) {
        column->data = cli_resize(column->data, capacity * element_bytes(column));
    }
    column->capacity = capacity;
}

static void put_null(struct cli_column *column) {
    grow(column, column->count + 1);
    if (is_text(column->spec.type)) {
        column->offsets[column->count + 1] = column->text_bytes;
    } else if (column->spec.type) {
        size_t size_bytes = element_bytes(column);
        memset((char *)column->data + column->count * size_bytes, 0, size_bytes);
    }
    column->has_null = true;
    column->count++;
}

/* The first value gives a column its type; the NULLs before it get room of that type. */
static void become(struct cli_column *column, enum velta_type type, uint32_t dimensions) {
    size_t nulls = column->count;
    free(column->valid);
    column->valid = NULL;
    column->spec.type = type;
    column->spec.dimensions = dimensions;
    column->count = column->capacity = 0;
    for (size_t i = 0; i < nulls; i++) {
        put_null(column);
    }
}

static bool widen_to_float(struct cli_column *column, char *why, size_t why_bytes) {
    int64_t *integers = column->data;
    double *numbers = column->data;
    for (size_t i = 0; i < column->count; i++) {
        double number = (double)integers[i];
        if (number >= 0x1p63 || (int64_t)number != integers[i]) {
            snprintf(why, why_bytes, "it holds both fractions and %" PRId64 ", which a float cannot hold exactly",
                     integers[i]);
            return false;
        }
        numbers[i] = number;
    }
    column->spec.type = VELTA_FLOAT;
    return true;
}

static enum velta_type natural_type(const struct cli_value *value) {
    static const enum velta_type types[] = {0, VELTA_INT, VELTA_FLOAT, VELTA_BOOL, VELTA_STRING, VELTA_VECTOR};
    return types[value->kind];
}

/* Whether the value can be stored as the column's type, after a change of a learnt type where that helps. */
static bool reconcile(struct cli_column *column, const struct cli_value *value, char *why, size_t why_bytes) {
    static const char *const kinds[] = {"null", "an integer", "a number", "a truth value", "text", "a list"};
    enum velta_type natural = natural_type(value);
    enum velta_type type = column->spec.type;
    char name[64];
    bool fits = natural == type || (type == VELTA_FLOAT && natural == VELTA_INT) ||
                (type == VELTA_TIMESTAMP && (natural == VELTA_INT || natural == VELTA_STRING)) ||
                (type == VELTA_BYTES && natural == VELTA_STRING);
    if (!fits && type == VELTA_INT && natural == VELTA_FLOAT && !column->declared) {
        return widen_to_float(column, why, why_bytes);
    }
    if (!fits) {
        snprintf(why, why_bytes, "it is %s, and the column is %s", kinds[value->kind],
                 cli_type_name(&column->spec, name));
        return false;
    }
    if (type == VELTA_VECTOR && value->list_count != column->spec.dimensions) {
        snprintf(why, why_bytes, "the vector has %zu elements, the column %u", value->list_count,
                 column->spec.dimensions);
        return false;
    }
    if (type == VELTA_FLOAT && natural == VELTA_INT &&
        ((double)value->integer >= 0x1p63 || (int64_t)(double)value->integer != value->integer)) {
        snprintf(why, why_bytes, "%" PRId64 " cannot be held exactly by a float", value->integer);
        return false;
    }
    return true;
}

static void put_text(struct cli_column *column, const char *text, size_t size_bytes) {
    if (column->text_bytes + size_bytes > column->text_capacity) {
        size_t capacity = column->text_capacity * 2 + size_bytes + 4096;
        column->data = cli_resize(column->data, capacity);
        column->text_capacity = capacity;
    }
    if (size_bytes > 0) {
        memcpy((char *)column->data + column->text_bytes, text, size_bytes);
        column->text_bytes += size_bytes;
    }
    column->offsets[column->count + 1] = column->text_bytes;
}

bool columns_put(struct cli_columns *columns, struct cli_column *column, const struct cli_value *value, char *why,
                 size_t why_bytes) {
    if (column->count > columns->row_count) {
        snprintf(why, why_bytes, "the row names it twice");
        return false;
    }
    if (column->elsewhere) {
        snprintf(why, why_bytes, "its values come from a file of vectors");
        return false;
    }
    column->named = true;
    if (value->kind == CLI_NULL) {
        while (column->count <= columns->row_count) {
            put_null(column);
        }
        return true;
    }
    if (!column->spec.type) {
        if (value->kind == CLI_LIST && (value->list_count == 0 || value->list_count > VELTA_MAX_DIMENSIONS)) {
            snprintf(why, why_bytes, "a vector has 1 to %d elements, not %zu", VELTA_MAX_DIMENSIONS, value->list_count);
            return false;
        }
        become(column, natural_type(value), (uint32_t)value->list_count);
    }
    if (!reconcile(column, value, why, why_bytes)) {
        return false;
    }
    while (column->count < columns->row_count) {
        put_null(column);
    }
    int64_t time_ms = value->integer;
    if (column->spec.type == VELTA_TIMESTAMP && value->kind == CLI_TEXT &&
        !cli_parse_time(value->text, value->text_bytes, &time_ms)) {
        snprintf(why, why_bytes, "'%.*s' is no time such as 2026-11-21T03:04:05Z",
                 (int)(value->text_bytes < 40 ? value->text_bytes : 40), value->text);
        return false;
    }
    grow(column, column->count + 1);
    size_t at = column->count;
    switch (column->spec.type) {
    case VELTA_FLOAT:
        ((double *)column->data)[at] = value->kind == CLI_INT ? (double)value->integer : value->number;
        break;
    case VELTA_BOOL:
        ((uint8_t *)column->data)[at] = value->integer != 0;
        break;
    case VELTA_STRING:
    case VELTA_BYTES:
        put_text(column, value->text, value->text_bytes);
        break;
    case VELTA_VECTOR:
        memcpy((float *)column->data + at * column->spec.dimensions, value->list, value->list_count * sizeof(float));
        break;
    default:
        ((int64_t *)column->data)[at] = time_ms;
    }
    column->valid[at / 64] |= UINT64_C(1) << (at % 64);
    column->count++;
    return true;
}

void columns_end_row(struct cli_columns *columns) {
    columns->row_count++;
    for (size_t i = 0; i < columns->count; i++) {
        while (columns->items[i].count < columns->row_count) {
            put_null(&columns->items[i]);
        }
    }
}

void columns_finish(struct cli_columns *columns) {
    for (size_t i = 0; i < columns->count; i++) {
        if (!columns->items[i].spec.type) {
            become(&columns->items[i], VELTA_STRING, 0);
        }
    }
}

/* ---- primary keys ---- */

static const char nothing[1]; /* the text of columns whose strings are all empty, which have no data */

static const struct cli_column *sorted_column; /* for qsort's comparison */

static int compare_values(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    const struct cli_column *column = sorted_column;
    if (column->spec.type == VELTA_INT) {
        const int64_t *values = column->data;
        return (values[left] > values[right]) - (values[left] < values[right]);
    }
    size_t left_bytes = (size_t)(column->offsets[left + 1] - column->offsets[left]);
    size_t right_bytes = (size_t)(column->offsets[right + 1] - column->offsets[right]);
    const char *text = column->data ? column->data : nothing;
    int order = memcmp(text + column->offsets[left], text + column->offsets[right],
                       left_bytes < right_bytes ? left_bytes : right_bytes);
    return order != 0 ? order : (left_bytes > right_bytes) - (left_bytes < right_bytes);
}

bool columns_is_unique(const struct cli_column *column) {
    if ((column->spec.type != VELTA_INT && column->spec.type != VELTA_STRING) || column->has_null) {
        return false;
    }
    uint32_t *order = cli_allocate(column->count * sizeof *order);
    for (size_t i = 0; i < column->count; i++) {
        order[i] = (uint32_t)i;
    }
    sorted_column = column;
    qsort(order, column->count, sizeof *order, compare_values);
    bool unique = true;
    for (size_t i = 1; i < column->count && unique; i++) {
        unique = compare_values(&order[i - 1], &order[i]) != 0;
    }
    free(order);
    return unique;
}

void columns_values(const struct cli_column *column, struct velta_values *values) {
    *values = (struct velta_values){
        .column = column->name,
        .data = column->data ? column->data : nothing,
        .offsets = is_text(column->spec.type) ? column->offsets : NULL,
        .valid = column->has_null ? column->valid : NULL,
        .element = VELTA_F32,
    };
}

void columns_free(struct cli_columns *columns) {
    for (size_t i = 0; i < columns->count; i++) {
        free(columns->items[i].name);
        free(columns->items[i].data);
        free(columns->items[i].offsets);
        free(columns->items[i].valid);
    }
    free(columns->items);
    *columns = (struct cli_columns){0};
}
