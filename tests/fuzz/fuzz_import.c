/*
 * Readers of the command's files under hostile bytes: JSON Lines, CSV, .npy, .fvecs and the schema notation.
 *
 * The first byte chooses the reader; for two of them the input's first line is the schema. Files reach it as a path of
 * a descriptor without a name. What a reader takes must be consistent: every column as long as the rows, offsets
 * ascending, vectors readable to their last element; and a table made of it holds exactly those rows, or says which
 * value it refuses.
 */
#define _GNU_SOURCE /* memfd_create */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/columns.h"
#include "cli/vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argument_count, char ***arguments);

int LLVMFuzzerInitialize(int *argument_count, char ***arguments) {
    (void)argument_count;
    (void)arguments;
    stderr = fopen("/dev/null", "w"); /* for the messages of the readers; reports have found theirs by now */
    return stderr ? 0 : -1;
}

static void must(bool holds) {
    if (!holds) {
        abort();
    }
}

static void check_columns(struct cli_columns *columns) {
    columns_finish(columns);
    for (size_t i = 0; i < columns->count; i++) {
        const struct cli_column *column = &columns->items[i];
        struct velta_values values;
        must(column->count == columns->row_count);
        columns_values(column, &values);
        for (size_t row = 0; values.offsets && row < column->count; row++) {
            must(values.offsets[row] <= values.offsets[row + 1] && values.offsets[row + 1] <= column->text_bytes);
        }
        if (column->count > 0) {
            (void)columns_is_unique(column);
        }
    }
}

/* The rows as a table, as `velta import` makes it, but for the choice of a key. */
static void store_columns(const struct cli_columns *columns) {
    struct velta_column *specs = calloc(columns->count + 1, sizeof *specs);
    struct velta_values *values = calloc(columns->count + 1, sizeof *values);
    const struct velta_options options = {.memory_budget_bytes = 96 << 20, .thread_count = 1};
    struct velta_error error = {VELTA_OK, 0, ""};
    velta_table *table;
    velta *db;
    must(specs && values && velta_open(NULL, &options, &db, &error) == VELTA_OK);
    for (size_t i = 0; i < columns->count; i++) {
        specs[i] = columns->items[i].spec;
        specs[i].name = columns->items[i].name;
        columns_values(&columns->items[i], &values[i]);
    }
    if (velta_table_create(db, "t", specs, columns->count, &table, &error) == VELTA_OK) {
        enum velta_status status =
            velta_insert(table, values, columns->count, (uint32_t)columns->row_count, NULL, NULL, &error);
        must(status == VELTA_OK || error.code == status);
        must(velta_row_count(table) == (status ? 0 : columns->row_count));
        must(velta_verify(db, NULL, &error) == VELTA_OK);
    }
    must(velta_close(db, &error) == VELTA_OK);
    free(specs);
    free(values);
}

static void read_text(const char *path, const char *schema, bool csv) {
    struct cli_columns columns = {0};
    struct cli_common common = {.quiet = true};
    if (schema && columns_parse_schema(&columns, schema) != CLI_OK) {
        columns_free(&columns);
        return;
    }
    columns.closed = schema ? "the schema" : NULL;
    int code = csv ? columns_read_csv(&columns, path, &common) : columns_read_jsonl(&columns, path, &common);
    if (code == CLI_OK) {
        check_columns(&columns);
        store_columns(&columns);
    }
    columns_free(&columns);
}

static void read_vectors(const char *path) {
    struct vectors vectors;
    if (vectors_open(path, &vectors) == CLI_OK) {
        float *row = malloc(vectors.dimensions * sizeof *row);
        for (size_t i = 0; i < vectors.count; i++) {
            vectors_row(&vectors, i, row);
        }
        free(row);
        vectors_close(&vectors);
    }
}

static void read_schema(const uint8_t *data, size_t size) {
    struct cli_columns columns = {0};
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    if (columns_parse_schema(&columns, text) == CLI_OK) {
        columns_end_row(&columns);
        check_columns(&columns);
    }
    columns_free(&columns);
    free(text);
}

/* The schema that the input begins with, and what is left of the input. */
static char *take_schema(const uint8_t **data, size_t *size) {
    const uint8_t *end = memchr(*data, '\n', *size);
    size_t schema_bytes = end ? (size_t)(end - *data) : *size;
    char *schema = malloc(schema_bytes + 1);
    must(schema != NULL);
    memcpy(schema, *data, schema_bytes);
    schema[schema_bytes] = '\0';
    *data += schema_bytes + (end != NULL);
    *size -= schema_bytes + (end != NULL);
    return schema;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { JSONL, JSONL_SCHEMA, CSV, CSV_SCHEMA, SCHEMA, NPY, FVECS, JSONL_ANY, CSV_ANY, READERS };
    static const char fixed[] = "a:int:key,b:float,c:bool,d:string,e:timestamp,f:bytes,g:vector(2)";
    if (size == 0) {
        return 0;
    }
    int reader = data[0] % READERS;
    data++;
    size--;
    char *taken = reader == JSONL_ANY || reader == CSV_ANY ? take_schema(&data, &size) : NULL;
    char path[64];
    char fvecs[64];
    int file = memfd_create("input", 0);
    must(file >= 0 && write(file, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    snprintf(fvecs, sizeof fvecs, "/tmp/velta-fuzz-%d.fvecs", (int)getpid());
    switch (reader) {
    case SCHEMA:
        read_schema(data, size);
        break;
    case NPY:
        read_vectors(path);
        break;
    case FVECS: /* the ending of the name decides */
        must(symlink(path, fvecs) == 0);
        read_vectors(fvecs);
        unlink(fvecs);
        break;
    default:
        read_text(path, reader == JSONL_SCHEMA || reader == CSV_SCHEMA ? fixed : taken,
                  reader == CSV || reader == CSV_SCHEMA || reader == CSV_ANY);
    }
    close(file);
    free(taken);
    return 0;
}
