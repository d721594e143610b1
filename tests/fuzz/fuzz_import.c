/*
 * Readers of the command's files under hostile bytes: JSON Lines, CSV, .npy, .fvecs and the schema notation.
 *
 * The first byte chooses the reader. Files reach it as a path of a descriptor without a name. What a reader takes must
 * be consistent: every column as long as the rows, offsets ascending, vectors readable to their last element.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char schema[] = "a:int:key,b:float,c:bool,d:string,e:timestamp,f:bytes,g:vector(2)";
    if (size == 0) {
        return 0;
    }
    char path[64];
    char fvecs[64];
    int file = memfd_create("input", 0);
    must(file >= 0 && write(file, data + 1, size - 1) == (ssize_t)(size - 1));
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    snprintf(fvecs, sizeof fvecs, "/tmp/velta-fuzz-%d.fvecs", (int)getpid());
    switch (data[0] % 7) {
    case 0:
    case 1:
        read_text(path, data[0] % 7 ? schema : NULL, false);
        break;
    case 2:
    case 3:
        read_text(path, data[0] % 7 == 3 ? schema : NULL, true);
        break;
    case 4:
        read_schema(data + 1, size - 1);
        break;
    case 5:
        read_vectors(path);
        break;
    default: /* the ending of the name decides */
        must(symlink(path, fvecs) == 0);
        read_vectors(fvecs);
        unlink(fvecs);
    }
    close(file);
    return 0;
}
