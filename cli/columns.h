/*
 * Rows being read, as columns that grow: the typed, column-wise batch that velta_insert takes.
 *
 * A column either has a type from the start (from a schema) or learns it from its values: int, widened to float when a
 * fraction arrives; bool; string; a list of numbers becomes a vector. A row that lacks a column has NULL there.
 */
#ifndef VELTA_CLI_COLUMNS_H
#define VELTA_CLI_COLUMNS_H

#include "cli/cli.h"

struct cli_column {
    struct velta_column spec; /* type 0: no value seen yet */
    char *name;
    bool declared;  /* by a schema: the type is fixed */
    bool named;     /* by a row or a header */
    bool elsewhere; /* its vectors come from a file of their own: none is kept here */
    bool has_null;
    size_t count; /* values, NULLs included */
    size_t capacity;
    void *data; /* fixed-size values, or text bytes */
    size_t text_bytes;
    size_t text_capacity;
    uint64_t *offsets;
    uint64_t *valid;
};

struct cli_columns {
    struct cli_column *items;
    size_t count;
    size_t row_count;   /* finished rows */
    const char *closed; /* what decided the columns, for messages; NULL: rows may bring new ones */
};

enum cli_value_kind { CLI_NULL, CLI_INT, CLI_NUMBER, CLI_BOOL, CLI_TEXT, CLI_LIST };
struct cli_value {
    enum cli_value_kind kind;
    int64_t integer; /* int, bool */
    double number;
    const char *text;
    size_t text_bytes;
    const float *list;
    size_t list_count;
};

/* The column of that name, made when it is new; NULL when it is new and the columns are closed. */
struct cli_column *columns_find(struct cli_columns *columns, const char *name, size_t name_bytes, size_t hint);
struct cli_column *columns_add(struct cli_columns *columns, const struct velta_column *spec);
/* The value of the row being read. On failure false, with a sentence in `why`. */
bool columns_put(struct cli_columns *columns, struct cli_column *column, const struct cli_value *value, char *why,
                 size_t why_bytes);
/* Ends a row: columns without a value get NULL. */
void columns_end_row(struct cli_columns *columns);
/* Columns that never had a value become strings. */
void columns_finish(struct cli_columns *columns);
/* No NULL and no value twice: fit to be a primary key. */
bool columns_is_unique(const struct cli_column *column);
void columns_values(const struct cli_column *column, struct velta_values *values);
void columns_free(struct cli_columns *columns);

/*
 * "name:type[:key][:required],..." with types int, float, bool, string, timestamp, bytes,
 * vector(dimensions[, f32|f16|codes][, cosine|l2|dot][, m=N][, ef=N][, noindex]). Prints its own failure.
 */
int columns_parse_schema(struct cli_columns *columns, const char *text);

/* Readers of whole files; they print their own failure, with line and column. */
int columns_read_jsonl(struct cli_columns *columns, const char *path, const struct cli_common *common);
int columns_read_csv(struct cli_columns *columns, const char *path, const struct cli_common *common);

#endif
