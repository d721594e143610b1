/*
 * Reading rows: JSON Lines with jansson, CSV (RFC 4180) with libcsv. Both stop at the first bad row, by line and
 * column; nothing has been stored by then.
 */
#define _POSIX_C_SOURCE 200809L /* getline */

#include <csv.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/columns.h"

static FILE *open_rows(const char *path, uint64_t *size_bytes) {
    struct stat facts;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!file) {
        cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
        return NULL;
    }
    *size_bytes = fstat(fileno(file), &facts) == 0 && S_ISREG(facts.st_mode) ? (uint64_t)facts.st_size : 0;
    return file;
}

/* Bytes of the mark that some editors put before UTF-8 text. */
static size_t mark_bytes(const char *text, size_t size_bytes) {
    return size_bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

/* ---- JSON Lines ---- */

/* A list of numbers as floats in *list (kept and grown between calls). */
static bool json_list(const json_t *json, float **list, size_t *capacity, struct cli_value *value) {
    size_t count = json_array_size(json);
    if (count > *capacity) {
        *list = cli_resize(*list, count * sizeof **list);
        *capacity = count;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(json, i);
        if (!json_is_number(item)) {
            return false;
        }
        (*list)[i] = (float)json_number_value(item);
    }
    *value = (struct cli_value){.kind = CLI_LIST, .list = *list, .list_count = count};
    return true;
}

static bool json_to_value(const json_t *json, float **list, size_t *capacity, struct cli_value *value) {
    *value = (struct cli_value){.kind = CLI_NULL};
    switch (json_typeof(json)) {
    case JSON_NULL:
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        *value = (struct cli_value){.kind = CLI_BOOL, .integer = json_is_true(json)};
        return true;
    case JSON_INTEGER:
        *value = (struct cli_value){.kind = CLI_INT, .integer = json_integer_value(json)};
        return true;
    case JSON_REAL:
        *value = (struct cli_value){.kind = CLI_NUMBER, .number = json_real_value(json)};
        return true;
    case JSON_STRING:
        *value = (struct cli_value){
            .kind = CLI_TEXT, .text = json_string_value(json), .text_bytes = json_string_length(json)};
        return true;
    case JSON_ARRAY:
        return json_list(json, list, capacity, value);
    default:
        return false;
    }
}

static int json_row(struct cli_columns *columns, const char *path, size_t line, json_t *row, float **list,
                    size_t *capacity) {
    const char *name;
    json_t *json;
    size_t hint = 0;
    char why[256];
    if (!json_is_object(row)) {
        return cli_fail(CLI_FAILED, "%s:%zu: a row is a JSON object, {\"column\": value, ...}", path, line);
    }
    json_object_foreach(row, name, json) {
        struct cli_value value;
        if (!json_to_value(json, list, capacity, &value)) {
            return cli_fail(CLI_FAILED,
                            "%s:%zu: column '%s': only numbers, text, truth values, null and lists of "
                            "numbers can be stored",
                            path, line, name);
        }
        struct cli_column *column = columns_find(columns, name, strlen(name), hint++);
        if (!column) {
            return cli_fail(CLI_FAILED, "%s:%zu: there is no column '%s' in %s", path, line, name, columns->closed);
        }
        if (!columns_put(columns, column, &value, why, sizeof why)) {
            return cli_fail(CLI_FAILED, "%s:%zu: column '%s': %s", path, line, name, why);
        }
    }
    columns_end_row(columns);
    return CLI_OK;
}

int columns_read_jsonl(struct cli_columns *columns, const char *path, const struct cli_common *common) {
    uint64_t size_bytes;
    FILE *file = open_rows(path, &size_bytes);
    if (!file) {
        return CLI_FAILED;
    }
    struct velta_progress progress = cli_progress(common, "reading");
    char *line = NULL;
    size_t line_capacity = 0;
    float *list = NULL;
    size_t list_capacity = 0;
    uint64_t done_bytes = 0;
    int code = CLI_OK;
    ssize_t length;
    for (size_t number = 1; code == CLI_OK && (length = getline(&line, &line_capacity, file)) >= 0; number++) {
        done_bytes += (uint64_t)length;
        size_t skip = number == 1 ? mark_bytes(line, (size_t)length) : 0;
        if (skip + strspn(line + skip, " \t\r\n") == (size_t)length) {
            continue;
        }
        json_error_t error;
        json_t *row = json_loadb(line + skip, (size_t)length - skip, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (!row) {
            code = cli_fail(CLI_FAILED, "%s:%zu:%d: %s", path, number, error.column, error.text);
            break;
        }
        code = json_row(columns, path, number, row, &list, &list_capacity);
        json_decref(row);
        if (number % 4096 == 0 && !progress.report(progress.context, done_bytes, size_bytes)) {
            code = cli_fail(CLI_INTERRUPTED, "interrupted while reading %s; nothing was stored", path);
        }
    }
    if (code == CLI_OK && ferror(file)) {
        code = cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    cli_progress_end();
    free(line);
    free(list);
    if (file != stdin) {
        fclose(file);
    }
    return code;
}

/* ---- CSV ---- */

struct csv_state {
    struct cli_columns *columns;
    const char *path;
    size_t *column_of_field; /* index in columns */
    size_t field_count;
    size_t field; /* of the row being read */
    size_t row;   /* 0: the header */
    size_t line;  /* of the file, from 1 */
    int code;
};

/* What the text of a field can be read as. Numbers that would not be written back alike (007) are text. */
static enum cli_value_kind csv_kind(const char *text, size_t size_bytes, struct cli_value *value) {
    char number[64];
    char *end;
    *value = (struct cli_value){.kind = CLI_TEXT, .text = text, .text_bytes = size_bytes};
    if (size_bytes == 0 || size_bytes >= sizeof number) {
        return CLI_TEXT;
    }
    snprintf(number, sizeof number, "%.*s", (int)size_bytes, text);
    if (strcmp(number, "true") == 0 || strcmp(number, "false") == 0) {
        *value = (struct cli_value){.kind = CLI_BOOL, .integer = number[0] == 't'};
        return CLI_BOOL;
    }
    const char *first = number + (number[0] == '-');
    if (first[0] < '0' || first[0] > '9' || (first[0] == '0' && first[1] >= '0' && first[1] <= '9') ||
        number[strspn(number, "+-.0123456789eE")] != '\0') {
        return CLI_TEXT;
    }
    errno = 0;
    long long integer = strtoll(number, &end, 10);
    if (*end == '\0' && errno == 0) {
        *value = (struct cli_value){.kind = CLI_INT, .integer = integer};
        return CLI_INT;
    }
    double real = strtod(number, &end);
    if (*end == '\0' && isfinite(real)) {
        *value = (struct cli_value){.kind = CLI_NUMBER, .number = real};
        return CLI_NUMBER;
    }
    return CLI_TEXT;
}

/* The type that fits every value of a column read as text; string where none does. */
static enum velta_type csv_column_type(const struct cli_column *column) {
    bool seen[CLI_LIST + 1] = {false};
    for (size_t i = 0; i < column->count; i++) {
        if (column->valid[i / 64] >> (i % 64) & 1) {
            struct cli_value value;
            size_t size_bytes = (size_t)(column->offsets[i + 1] - column->offsets[i]);
            seen[csv_kind((const char *)column->data + column->offsets[i], size_bytes, &value)] = true;
        }
    }
    bool numbers = seen[CLI_INT] || seen[CLI_NUMBER];
    if (seen[CLI_TEXT] || (seen[CLI_BOOL] && numbers) || (!seen[CLI_BOOL] && !numbers)) {
        return VELTA_STRING;
    }
    return seen[CLI_BOOL] ? VELTA_BOOL : seen[CLI_NUMBER] ? VELTA_FLOAT : VELTA_INT;
}

/* Reads a text column again as the type that fits all of it. Text where an integer does not fit a float exactly. */
static void csv_retype(struct cli_column *column) {
    enum velta_type type = csv_column_type(column);
    if (type == VELTA_STRING) {
        return;
    }
    struct cli_column typed = {.spec = column->spec, .name = column->name, .declared = true};
    struct cli_columns row = {.items = &typed, .count = 1};
    char why[256];
    bool fits = true;
    typed.spec.type = type;
    for (; row.row_count < column->count && fits; row.row_count++) {
        size_t i = row.row_count;
        struct cli_value value = {.kind = CLI_NULL};
        if (column->valid[i / 64] >> (i % 64) & 1) {
            (void)csv_kind((const char *)column->data + column->offsets[i],
                           (size_t)(column->offsets[i + 1] - column->offsets[i]), &value);
        }
        fits = columns_put(&row, &typed, &value, why, sizeof why);
    }
    struct cli_column *dropped = fits ? column : &typed;
    free(dropped->data);
    free(dropped->offsets);
    free(dropped->valid);
    if (fits) {
        typed.declared = false;
        *column = typed;
    }
}

static void csv_header_field(struct csv_state *state, const char *text, size_t size_bytes) {
    state->column_of_field =
        cli_resize(state->column_of_field, (state->field_count + 1) * sizeof *state->column_of_field);
    if (size_bytes == 0) {
        state->code =
            cli_fail(CLI_FAILED, "%s:1: field %zu of the header has no name", state->path, state->field_count + 1);
        return;
    }
    struct cli_column *column = columns_find(state->columns, text, size_bytes, state->field_count);
    if (!column) {
        state->code = cli_fail(CLI_FAILED, "%s:1: there is no column '%.*s' in %s", state->path, (int)size_bytes, text,
                               state->columns->closed);
        return;
    }
    state->column_of_field[state->field_count++] = (size_t)(column - state->columns->items);
}

static void csv_field(void *text, size_t size_bytes, void *context) {
    struct csv_state *state = context;
    if (state->code != CLI_OK) {
        return;
    }
    if (state->row == 0) {
        csv_header_field(state, text ? text : "", size_bytes);
        return;
    }
    if (state->field >= state->field_count) {
        state->code = cli_fail(CLI_FAILED, "%s:%zu: there are more than the header's %zu fields", state->path,
                               state->line, state->field_count);
        return;
    }
    size_t index = state->column_of_field[state->field++];
    struct cli_column *column = &state->columns->items[index];
    struct cli_value value = {.kind = CLI_TEXT, .text = text, .text_bytes = size_bytes};
    bool as_text = !column->declared || column->spec.type == VELTA_STRING || column->spec.type == VELTA_BYTES;
    if (size_bytes == 0) {
        value.kind = CLI_NULL;
    } else if (!as_text) {
        (void)csv_kind(text, size_bytes, &value);
    }
    char why[256];
    if (!columns_put(state->columns, column, &value, why, sizeof why)) {
        state->code = cli_fail(CLI_FAILED, "%s:%zu: column '%s': %s", state->path, state->line, column->name, why);
    }
}

static void csv_row(int terminator, void *context) {
    struct csv_state *state = context;
    (void)terminator;
    if (state->code == CLI_OK && state->row > 0) {
        if (state->field != state->field_count) {
            state->code = cli_fail(CLI_FAILED, "%s:%zu: there are %zu fields, in the header %zu", state->path,
                                   state->line, state->field, state->field_count);
            return;
        }
        columns_end_row(state->columns);
    }
    state->field = 0;
    state->row++;
}

/* Line by line, so that messages can name the line: a row's is the one where it ends. */
static void csv_block(struct csv_state *state, struct csv_parser *parser, const char *block, size_t length) {
    for (size_t at = 0; at < length && state->code == CLI_OK;) {
        const char *end = memchr(block + at, '\n', length - at);
        size_t part = end ? (size_t)(end - block) + 1 - at : length - at;
        if (csv_parse(parser, block + at, part, csv_field, csv_row, state) != part && state->code == CLI_OK) {
            state->code = cli_fail(CLI_FAILED, "%s:%zu: %s", state->path, state->line, csv_strerror(csv_error(parser)));
        }
        state->line += end != NULL;
        at += part;
    }
}

int columns_read_csv(struct cli_columns *columns, const char *path, const struct cli_common *common) {
    enum { BLOCK = 1 << 16 };
    uint64_t size_bytes;
    FILE *file = open_rows(path, &size_bytes);
    struct csv_parser parser;
    if (!file) {
        return CLI_FAILED;
    }
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0) {
        exit(cli_fail(CLI_FAILED, "out of memory"));
    }
    struct velta_progress progress = cli_progress(common, "reading");
    struct csv_state state = {.columns = columns, .path = path, .line = 1};
    char *block = cli_allocate(BLOCK);
    uint64_t done_bytes = 0;
    size_t length;
    while (state.code == CLI_OK && (length = fread(block, 1, BLOCK, file)) > 0) {
        size_t skip = done_bytes == 0 ? mark_bytes(block, length) : 0;
        csv_block(&state, &parser, block + skip, length - skip);
        done_bytes += length;
        if (state.code == CLI_OK && !progress.report(progress.context, done_bytes, size_bytes)) {
            state.code = cli_fail(CLI_INTERRUPTED, "interrupted while reading %s; nothing was stored", path);
        }
    }
    if (state.code == CLI_OK && ferror(file)) {
        state.code = cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    if (state.code == CLI_OK && csv_fini(&parser, csv_field, csv_row, &state) != 0) {
        state.code = cli_fail(CLI_FAILED, "%s:%zu: the last quoted field is not closed", path, state.line);
    }
    for (size_t i = 0; state.code == CLI_OK && i < columns->count; i++) {
        if (!columns->items[i].declared && columns->items[i].spec.type) {
            csv_retype(&columns->items[i]);
        }
    }
    cli_progress_end();
    csv_free(&parser);
    free(block);
    free(state.column_of_field);
    if (file != stdin) {
        fclose(file);
    }
    return state.code;
}
