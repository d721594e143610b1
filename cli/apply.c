/*
 * velta apply: vector deltas from JSON Lines, all or nothing.
 *
 * A line is {"vectorId": KEY, "operation": {...}, "metadata": {...}, "timestamp": TIME}; operations are
 *   {"type": "create", "vector": [...]}
 *   {"type": "sparse", "indices": [...], "values": [...], "mode": "add" | "set"}
 *   {"type": "dense", "vector": [...], "mode": "add" | "set"}
 *   {"type": "scale", "factor": 1.5}   {"type": "offset", "amount": -0.1}   {"type": "delete"}
 */
#define _POSIX_C_SOURCE 200809L /* getline */

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char help[] =
    "[OPTION]... DELTAS.jsonl STORE\n\n"
    "Applies vector deltas, one a line, to a vector column: all of them, or none. - is standard input.\n"
    "  {\"vectorId\": \"vim\", \"operation\": {\"type\": \"sparse\", \"indices\": [3, 9], \"values\": [0.5, -0.2]}}\n"
    "Operations: create (vector), sparse (indices, values), dense (vector), scale (factor), offset (amount), delete;\n"
    "sparse and dense add unless \"mode\" is \"set\". A line may have \"timestamp\" (ISO 8601 or milliseconds) and\n"
    "\"metadata\" (any object), both outside \"operation\".\n\n"
    "  --table NAME      the table (default: the only one)\n"
    "  --column NAME     the vector column (default: the only one)\n" CLI_COMMON_HELP;

struct apply {
    struct cli_common common;
    const char *table_name;
    const char *column;
    const char *path;
    const char *store_path;
    velta_table *table;
    bool int_keys;
    bool row_keys;
    struct velta_delta *deltas;
    size_t *lines; /* of the file, of each */
    size_t count;
};

static int bad(const struct apply *apply, size_t line, const char *what) {
    return cli_fail(CLI_FAILED, "%s:%zu: %s; nothing was applied", apply->path, line, what);
}

static float *read_floats(const json_t *list, uint32_t *count) {
    if (!json_is_array(list) || json_array_size(list) > VELTA_MAX_DIMENSIONS) {
        return NULL;
    }
    *count = (uint32_t)json_array_size(list);
    float *values = cli_allocate(*count * sizeof *values);
    for (uint32_t i = 0; i < *count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_number(item)) {
            free(values);
            return NULL;
        }
        values[i] = (float)json_number_value(item);
    }
    return values;
}

static uint32_t *read_indices(const json_t *list, uint32_t wanted) {
    if (!json_is_array(list) || json_array_size(list) != wanted) {
        return NULL;
    }
    uint32_t *indices = cli_allocate(wanted * sizeof *indices);
    for (uint32_t i = 0; i < wanted; i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t index = json_is_integer(item) ? json_integer_value(item) : -1;
        if (index < 0 || index >= VELTA_MAX_DIMENSIONS || (i > 0 && (uint32_t)index <= indices[i - 1])) {
            free(indices);
            return NULL;
        }
        indices[i] = (uint32_t)index;
    }
    return indices;
}

static int read_operation(const struct apply *apply, size_t line, const json_t *json, struct velta_delta *delta) {
    static const char *const names[] = {NULL, "create", "sparse", "dense", "scale", "offset", "delete"};
    const char *type = json_string_value(json_object_get(json, "type"));
    const char *mode = json_string_value(json_object_get(json, "mode"));
    for (int i = VELTA_DELTA_CREATE; type && i <= VELTA_DELTA_DELETE; i++) {
        if (strcmp(type, names[i]) == 0) {
            delta->operation = (enum velta_operation)i;
        }
    }
    if (!delta->operation) {
        return bad(apply, line, "operation.type must be create, sparse, dense, scale, offset or delete");
    }
    if (mode && strcmp(mode, "add") != 0 && strcmp(mode, "set") != 0) {
        return bad(apply, line, "operation.mode must be add or set");
    }
    delta->set = mode && mode[0] == 's';
    if (delta->operation == VELTA_DELTA_SCALE || delta->operation == VELTA_DELTA_OFFSET) {
        const char *name = delta->operation == VELTA_DELTA_SCALE ? "factor" : "amount";
        const json_t *number = json_object_get(json, name);
        delta->amount = (float)json_number_value(number);
        return json_is_number(number) ? CLI_OK
                                      : bad(apply, line, "scale needs a number factor, offset a number amount");
    }
    if (delta->operation == VELTA_DELTA_DELETE) {
        return CLI_OK;
    }
    bool sparse = delta->operation == VELTA_DELTA_SPARSE;
    delta->values = read_floats(json_object_get(json, sparse ? "values" : "vector"), &delta->count);
    if (!delta->values) {
        return bad(apply, line,
                   sparse ? "sparse needs values, a list of numbers"
                          : "create and dense need vector, a list of numbers");
    }
    if (sparse) {
        delta->indices = read_indices(json_object_get(json, "indices"), delta->count);
        if (!delta->indices) {
            return bad(apply, line, "sparse needs indices: as many as values, ascending, none twice");
        }
    }
    return CLI_OK;
}

static int read_key(const struct apply *apply, size_t line, const json_t *id, struct velta_delta *delta) {
    if (apply->int_keys || apply->row_keys) {
        if (!json_is_integer(id) ||
            (apply->row_keys && (json_integer_value(id) < 0 || json_integer_value(id) >= VELTA_NO_ROW))) {
            return bad(apply, line,
                       apply->row_keys ? "vectorId must be a row number: the table has no primary key"
                                       : "vectorId must be an integer like the primary key");
        }
        delta->key_int = json_integer_value(id);
        delta->row = (uint32_t)json_integer_value(id);
        return CLI_OK;
    }
    if (!json_is_string(id)) {
        return bad(apply, line, "vectorId must be text like the primary key");
    }
    delta->key_bytes = (uint32_t)json_string_length(id);
    delta->key = cli_copy(json_string_value(id), delta->key_bytes);
    return CLI_OK;
}

static int read_time(const struct apply *apply, size_t line, const json_t *time, struct velta_delta *delta) {
    if (!time) {
        return CLI_OK;
    }
    if (json_is_integer(time)) {
        delta->time_ms = json_integer_value(time);
    } else if (!json_is_string(time) ||
               !cli_parse_time(json_string_value(time), json_string_length(time), &delta->time_ms)) {
        return bad(apply, line, "timestamp must be milliseconds or 2026-11-21T03:04:05Z");
    }
    return CLI_OK;
}

static int read_line(struct apply *apply, size_t line, const json_t *json) {
    apply->deltas = cli_resize(apply->deltas, (apply->count + 1) * sizeof *apply->deltas);
    apply->lines = cli_resize(apply->lines, (apply->count + 1) * sizeof *apply->lines);
    apply->lines[apply->count] = line;
    struct velta_delta *delta = &apply->deltas[apply->count++];
    *delta = (struct velta_delta){0};
    const json_t *operation = json_object_get(json, "operation");
    if (!json_is_object(operation)) {
        return bad(apply, line, "a delta is {\"vectorId\": ..., \"operation\": {\"type\": ...}}");
    }
    int code = read_key(apply, line, json_object_get(json, "vectorId"), delta);
    if (code == CLI_OK) {
        code = read_operation(apply, line, operation, delta);
    }
    if (code == CLI_OK) {
        code = read_time(apply, line, json_object_get(json, "timestamp"), delta);
    }
    const json_t *metadata = json_object_get(json, "metadata");
    if (code == CLI_OK && metadata) {
        char *text = json_dumps(metadata, JSON_COMPACT | JSON_ENCODE_ANY);
        delta->metadata = text;
        delta->metadata_bytes = text ? (uint32_t)strlen(text) : 0;
    }
    return code;
}

static int read_deltas(struct apply *apply) {
    FILE *file = strcmp(apply->path, "-") == 0 ? stdin : fopen(apply->path, "rb");
    if (!file) {
        return cli_fail(CLI_FAILED, "%s: %s", apply->path, strerror(errno));
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int code = CLI_OK;
    for (size_t number = 1; code == CLI_OK && (length = getline(&line, &capacity, file)) >= 0; number++) {
        if (strspn(line, " \t\r\n") == (size_t)length) {
            continue;
        }
        json_error_t error;
        json_t *json = json_loadb(line, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        code = json ? read_line(apply, number, json) : bad(apply, number, error.text);
        json_decref(json);
        if (cli_interrupted()) {
            code = cli_fail(CLI_INTERRUPTED, "interrupted; nothing was applied");
        }
    }
    free(line);
    if (file != stdin) {
        fclose(file);
    }
    return code;
}

static int choose_column(struct apply *apply) {
    bool has_key = false;
    bool known = false;
    size_t vector_columns = 0;
    const char *only = NULL;
    for (size_t i = 0; i < velta_column_count(apply->table); i++) {
        const struct velta_column *column = velta_column_at(apply->table, i);
        if (column->primary_key) {
            has_key = true;
            apply->int_keys = column->type == VELTA_INT;
        }
        if (column->type == VELTA_VECTOR) {
            vector_columns++;
            only = column->name;
            known = known || (apply->column && strcmp(apply->column, column->name) == 0);
        }
    }
    apply->row_keys = !has_key;
    if (apply->column) {
        return known ? CLI_OK
                     : cli_fail(CLI_FAILED, "table '%s' has no vector column '%s'", velta_table_name(apply->table),
                                apply->column);
    }
    apply->column = only;
    return vector_columns == 1 ? CLI_OK
           : only              ? cli_fail(CLI_USAGE, "the table has several vector columns: name one with --column")
                  : cli_fail(CLI_FAILED, "table '%s' has no vector column", velta_table_name(apply->table));
}

static int apply_all(struct apply *apply, velta *db) {
    struct velta_error error;
    int code = cli_table(db, apply->table_name, &apply->table);
    if (code == CLI_OK) {
        code = choose_column(apply);
    }
    if (code == CLI_OK) {
        code = read_deltas(apply);
    }
    if (code != CLI_OK) {
        return code;
    }
    enum velta_status status = velta_apply(apply->table, apply->column, apply->deltas, apply->count, 0, NULL, &error);
    if (status && error.offset < apply->count) {
        const char *sentence = strncmp(error.text, "delta ", 6) == 0 ? strstr(error.text, ": ") : NULL;
        return bad(apply, apply->lines[error.offset], sentence ? sentence + 2 : error.text);
    }
    if (status) {
        return cli_status(&error, "applying");
    }
    cli_note(&apply->common, apply->count == 1 ? "%zu delta applied" : "%zu deltas applied", apply->count);
    return CLI_OK;
}

static int run(int argument_count, char **arguments) {
    static const struct option options[] = {
        {"table", required_argument, NULL, 't'}, {"column", required_argument, NULL, 'c'}, CLI_COMMON_OPTIONS};
    struct apply apply = {0};
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = letter == 't' || letter == 'c' ? -1 : cli_common_option(&apply.common, &cli_apply, letter);
        if (code >= 0) {
            return code;
        }
        if (letter == 't') {
            apply.table_name = optarg;
        } else if (letter == 'c') {
            apply.column = optarg;
        }
    }
    if (argument_count - optind != 2) {
        return cli_usage(&cli_apply, "give the file with the deltas, then the store");
    }
    apply.path = arguments[optind];
    apply.store_path = arguments[optind + 1];
    int code = cli_open(&apply.common, apply.store_path, false, true, &db);
    if (code == CLI_OK) {
        code = cli_close(db, apply_all(&apply, db));
    }
    for (size_t i = 0; i < apply.count; i++) {
        free((void *)apply.deltas[i].key);
        free((void *)apply.deltas[i].values);
        free((void *)apply.deltas[i].indices);
        free((void *)apply.deltas[i].metadata);
    }
    free(apply.deltas);
    free(apply.lines);
    return code;
}

const struct cli_command cli_apply = {"apply", "apply vector deltas from a file", help, run};
