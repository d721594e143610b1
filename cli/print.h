/* Results on stdout: an aligned table for people, JSON for programs. */
#ifndef VELTA_CLI_PRINT_H
#define VELTA_CLI_PRINT_H

#include <jansson.h>

#include "cli/cli.h"

/* One value as JSON (null where it is NULL). */
json_t *print_value(const struct velta_values *values, enum velta_type type, uint32_t dimensions, size_t slot);
/* A JSON object of the slot's columns; the caller adds its own keys. */
json_t *print_row(const velta_result *result, const uint32_t *dimensions, size_t slot);
/* One line, then the reference is dropped. */
void print_json_line(json_t *json);

/* An aligned table: columns are as wide as their widest cell, long text is cut. */
struct print_table {
    char **cells; /* row after row, header first */
    size_t column_count;
    size_t cell_count;
    bool *right; /* numbers to the right */
};
void print_table_start(struct print_table *table, size_t column_count);
void print_table_cell(struct print_table *table, bool right, const char *format, ...) VELTA_PRINTF(3, 4);
void print_table_value(struct print_table *table, const struct velta_values *values, enum velta_type type,
                       uint32_t dimensions, size_t slot);
void print_table_end(struct print_table *table); /* prints and frees */

#endif
