/*
 * velta import: rows and vectors into a table, as one all-or-nothing batch, then the index.
 *
 * Everything is read and checked first; a new store is made only when the batch is complete. Rows for a table that is
 * there are read by its schema. A new table in an existing store is made by a change of its own, and dropped again when
 * the rows are refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/columns.h"
#include "cli/vectors.h"

static const char help[] =
    "[OPTION]... ROWS STORE\n\n"
    "Adds the rows of a file to a table of a store; makes both when they are not there.\n"
    "ROWS is JSON Lines, or CSV with a header when its name ends in .csv or --format says so; - is standard input.\n"
    "Row number i of a new table is line i of the file, from 0. All rows are stored, or none.\n"
    "A table that is there keeps its schema; the rows are read by it.\n\n"
    "  --table NAME      the table (default: the name of the rows' file without its ending)\n"
    "  --vectors COL=FILE  vectors for the rows, in order: .npy (float16, float32) or .fvecs; may be repeated\n"
    "  --key COLUMN      the primary key (default: the first column, where it is unique and complete)\n"
    "  --schema TEXT     columns and types, e.g. \"id:int:key,added:timestamp,v:vector(384, f16, l2)\";\n"
    "                    @FILE reads it from a file; without it types are inferred from the values\n"
    "  --element KIND    what to keep of vectors: f32, f16, or codes (7 bits; smallest); default: as in the file\n"
    "  --metric NAME     cosine (default), l2 or dot\n"
    "  --m N, --ef-construction N   links per node (default 16) and width of the search that finds them (100)\n"
    "  --format NAME     jsonl or csv\n"
    "  --upsert          a row whose key is in the table changes that row: the columns that the file names are set\n"
    "  --no-index        store the rows now, link them into the index later\n" CLI_COMMON_HELP;

enum { MAX_VECTOR_FILES = 16 };

struct import {
    struct cli_common common;
    const char *table_name;
    const char *key;
    const char *schema;
    const char *format;
    const char *vector_arguments[MAX_VECTOR_FILES];
    size_t vector_count;
    struct velta_column vector_defaults;
    bool element_given;
    bool no_index;
    bool upsert;
    const char *rows_path;
    const char *store_path;

    velta *db;          /* open before the rows are read when the store exists */
    velta_table *table; /* NULL: to be made */
    char *closed;
    struct cli_columns columns;
    struct vectors vectors[MAX_VECTOR_FILES];
    char *vector_names[MAX_VECTOR_FILES];
    char *default_name;
    bool stored; /* the rows are in */
};

static int choose(const char *value, const char *const *names, int count) {
    for (int i = 0; i < count; i++) {
        if (strcmp(value, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int number_option(const char *name, const char *text, uint32_t *out) {
    uint64_t value;
    if (!cli_parse_count(text, 4096, &value)) {
        return cli_usage(&cli_import, "--%s wants a number from 1 to 4096, not '%s'", name, text);
    }
    *out = (uint32_t)value;
    return -1;
}

/* -1: go on. */
static int take_option(struct import *import, int letter) {
    static const char *const elements[] = {"f32", "f16", "codes"};
    static const char *const metrics[] = {"cosine", "l2", "dot"};
    int choice;
    switch (letter) {
    case 't':
        import->table_name = optarg;
        return -1;
    case 'v':
        if (import->vector_count == MAX_VECTOR_FILES || !strchr(optarg, '=') || optarg[0] == '=') {
            return cli_usage(&cli_import, "--vectors wants COLUMN=FILE, at most %d times", MAX_VECTOR_FILES);
        }
        import->vector_arguments[import->vector_count++] = optarg;
        return -1;
    case 'k':
        import->key = optarg;
        return -1;
    case 's':
        import->schema = optarg;
        return -1;
    case 'f':
        import->format = optarg;
        if (strcmp(optarg, "csv") != 0 && strcmp(optarg, "jsonl") != 0) {
            return cli_usage(&cli_import, "--format is jsonl or csv, not '%s'", optarg);
        }
        return -1;
    case 'e':
        choice = choose(optarg, elements, 3);
        if (choice < 0) {
            return cli_usage(&cli_import, "--element is f32, f16 or codes, not '%s'", optarg);
        }
        import->vector_defaults.element = (enum velta_element)choice;
        import->element_given = true;
        return -1;
    case 'm':
        choice = choose(optarg, metrics, 3);
        if (choice < 0) {
            return cli_usage(&cli_import, "--metric is cosine, l2 or dot, not '%s'", optarg);
        }
        import->vector_defaults.metric = (enum velta_metric)choice;
        return -1;
    case 'M':
        return number_option("m", optarg, &import->vector_defaults.m);
    case 'E':
        return number_option("ef-construction", optarg, &import->vector_defaults.ef_construction);
    case 'u':
        import->upsert = true;
        return -1;
    case 'n':
        import->no_index = true;
        return -1;
    default:
        return cli_common_option(&import->common, &cli_import, letter);
    }
}

static int read_options(struct import *import, int argument_count, char **arguments) {
    static const struct option options[] = {{"table", required_argument, NULL, 't'},
                                            {"vectors", required_argument, NULL, 'v'},
                                            {"key", required_argument, NULL, 'k'},
                                            {"schema", required_argument, NULL, 's'},
                                            {"format", required_argument, NULL, 'f'},
                                            {"element", required_argument, NULL, 'e'},
                                            {"metric", required_argument, NULL, 'm'},
                                            {"m", required_argument, NULL, 'M'},
                                            {"ef-construction", required_argument, NULL, 'E'},
                                            {"no-index", no_argument, NULL, 'n'},
                                            {"upsert", no_argument, NULL, 'u'},
                                            CLI_COMMON_OPTIONS};
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = take_option(import, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 2) {
        return cli_usage(&cli_import, "give the file with the rows, then the store");
    }
    import->rows_path = arguments[optind];
    import->store_path = arguments[optind + 1];
    return -1;
}

/* The rows' file without folder and ending: a name for the table. */
static char *name_from_path(const char *path) {
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t length = strcspn(base, ".");
    return length > 0 && strcmp(base, "-") != 0 ? cli_copy(base, length) : cli_copy("rows", 4);
}

static int read_schema(struct import *import) {
    if (import->schema[0] != '@') {
        return columns_parse_schema(&import->columns, import->schema);
    }
    FILE *file = fopen(import->schema + 1, "rb");
    if (!file) {
        return cli_fail(CLI_FAILED, "%s: cannot be opened", import->schema + 1);
    }
    static char text[1 << 16];
    size_t length = fread(text, 1, sizeof text - 1, file);
    bool failed = ferror(file) != 0;
    text[length] = '\0';
    fclose(file);
    if (failed || length == sizeof text - 1) {
        return cli_fail(CLI_FAILED, "%s: %s", import->schema + 1, failed ? "cannot be read" : "is too long a schema");
    }
    return columns_parse_schema(&import->columns, text);
}

static int read_rows(struct import *import) {
    for (size_t i = 0; i < import->columns.count * import->vector_count; i++) {
        struct cli_column *column = &import->columns.items[i / import->vector_count];
        const char *argument = import->vector_arguments[i % import->vector_count];
        size_t name_bytes = strcspn(argument, "=");
        column->elsewhere = column->elsewhere ||
                            (strlen(column->name) == name_bytes && memcmp(column->name, argument, name_bytes) == 0);
    }
    size_t length = strlen(import->rows_path);
    bool csv = import->format ? strcmp(import->format, "csv") == 0
                              : length > 4 && strcmp(import->rows_path + length - 4, ".csv") == 0;
    int code = csv ? columns_read_csv(&import->columns, import->rows_path, &import->common)
                   : columns_read_jsonl(&import->columns, import->rows_path, &import->common);
    if (code == CLI_OK) {
        columns_finish(&import->columns);
        if (import->columns.row_count == 0) {
            code = cli_fail(CLI_FAILED, "%s: there are no rows in it", import->rows_path);
        } else if (import->columns.row_count > VELTA_MAX_ROWS) {
            code = cli_fail(CLI_FAILED, "%s: has more than %u rows", import->rows_path, VELTA_MAX_ROWS);
        }
    }
    return code;
}

/* The file's vectors are as long as those of the column that a schema or the table has for them. */
static int check_dimensions(const struct import *import, size_t which) {
    const char *path = strchr(import->vector_arguments[which], '=') + 1;
    const char *name = import->vector_names[which];
    const struct velta_column *spec = NULL;
    for (size_t i = 0; i < import->columns.count; i++) {
        if (strcmp(import->columns.items[i].name, name) == 0) {
            spec = &import->columns.items[i].spec;
            if (!import->columns.items[i].declared) {
                return cli_fail(CLI_FAILED,
                                "the rows have a column '%s' of their own: store the vectors of %s in another", name,
                                path);
            }
        }
    }
    for (size_t i = 0; i < which; i++) {
        if (strcmp(import->vector_names[i], name) == 0) {
            return cli_fail(CLI_USAGE, "--vectors names column '%s' twice", name);
        }
    }
    if (!spec && import->table) {
        return cli_fail(CLI_FAILED, "there is no column '%s' in %s", name, import->closed);
    }
    if (spec && spec->type != VELTA_VECTOR) {
        return cli_fail(CLI_FAILED, "column '%s' does not hold vectors", name);
    }
    if (spec && spec->dimensions != import->vectors[which].dimensions) {
        return cli_fail(CLI_FAILED, "%s has vectors of %u elements, column '%s' of %u", path,
                        import->vectors[which].dimensions, name, spec->dimensions);
    }
    return CLI_OK;
}

static int read_vectors(struct import *import) {
    for (size_t i = 0; i < import->vector_count; i++) {
        const char *argument = import->vector_arguments[i];
        const char *path = strchr(argument, '=') + 1;
        import->vector_names[i] = cli_copy(argument, (size_t)(path - 1 - argument));
        int code = vectors_open(path, &import->vectors[i]);
        if (code != CLI_OK) {
            return code;
        }
        code = check_dimensions(import, i);
        if (code != CLI_OK) {
            return code;
        }
        if (import->vectors[i].count != import->columns.row_count) {
            return cli_fail(CLI_FAILED, "%s has %zu vectors, %s has %zu rows; they must be as many", path,
                            import->vectors[i].count, import->rows_path, import->columns.row_count);
        }
    }
    return CLI_OK;
}

/* The schema of a new table: columns read, then columns of vector files not named among them. */
static int make_table(struct import *import) {
    struct cli_columns *columns = &import->columns;
    struct velta_error error;
    size_t count = 0;
    struct velta_column *specs = cli_allocate((columns->count + import->vector_count) * sizeof *specs);
    bool has_key = import->key != NULL;
    for (size_t i = 0; i < columns->count; i++) {
        specs[count] = columns->items[i].spec;
        if (import->key && strcmp(import->key, specs[count].name) == 0) {
            specs[count].primary_key = true;
        }
        has_key = has_key || specs[count].primary_key;
        if (specs[count].type == VELTA_VECTOR && !columns->items[i].declared) {
            uint32_t dimensions = specs[count].dimensions;
            const char *name = specs[count].name;
            specs[count] = import->vector_defaults;
            specs[count].type = VELTA_VECTOR;
            specs[count].name = name;
            specs[count].dimensions = dimensions;
        }
        count++;
    }
    bool key_found = !import->key;
    for (size_t i = 0; i < count; i++) {
        key_found = key_found || strcmp(import->key, specs[i].name) == 0;
    }
    if (!key_found) {
        free(specs);
        return cli_fail(CLI_FAILED, "the rows have no column '%s' to be the key", import->key);
    }
    if (!has_key && !import->schema && columns->count > 0 && columns_is_unique(&columns->items[0])) {
        specs[0].primary_key = true;
    }
    for (size_t i = 0; i < import->vector_count; i++) {
        size_t known = 0;
        while (known < columns->count && strcmp(specs[known].name, import->vector_names[i]) != 0) {
            known++;
        }
        if (known == columns->count) {
            specs[count] = import->vector_defaults;
            specs[count].type = VELTA_VECTOR;
            specs[count].name = import->vector_names[i];
            specs[count].dimensions = import->vectors[i].dimensions;
            if (!import->element_given) {
                specs[count].element = import->vectors[i].element;
            }
            count++;
        }
    }
    enum velta_status status = velta_table_create(import->db, import->table_name, specs, count, &import->table, &error);
    free(specs);
    return status ? cli_status(&error, "making the table") : CLI_OK;
}

static int insert(struct import *import, struct velta_write_stats *stats) {
    struct cli_columns *columns = &import->columns;
    struct velta_error error;
    size_t count = 0;
    struct velta_values *values = cli_allocate((columns->count + import->vector_count) * sizeof *values);
    for (size_t i = 0; i < columns->count; i++) {
        bool from_file = !columns->items[i].named; /* or from nowhere: NULL, or as it is */
        for (size_t j = 0; j < import->vector_count; j++) {
            from_file = from_file || strcmp(columns->items[i].name, import->vector_names[j]) == 0;
        }
        if (!from_file) {
            columns_values(&columns->items[i], &values[count++]);
        }
    }
    for (size_t i = 0; i < import->vector_count; i++) {
        values[count++] = (struct velta_values){
            .column = import->vector_names[i], .data = import->vectors[i].data, .element = import->vectors[i].element};
    }
    struct velta_write_options options = {.mode = import->upsert ? VELTA_UPSERT : VELTA_INSERT,
                                          .progress = cli_progress(&import->common, "storing")};
    enum velta_status status =
        velta_insert(import->table, values, count, (uint32_t)columns->row_count, &options, stats, &error);
    cli_progress_end();
    free(values);
    if (status && error.offset != VELTA_NO_OFFSET && status != VELTA_CANCELLED) {
        unsigned long long row = error.offset;
        return strncmp(error.text, "row ", 4) == 0
                   ? cli_fail(CLI_FAILED, "%s: %s; nothing was stored", import->rows_path, error.text)
                   : cli_fail(CLI_FAILED, "%s: row %llu: %s; nothing was stored", import->rows_path, row, error.text);
    }
    return status ? cli_status(&error, "storing the rows") : CLI_OK;
}

static int link_rows(struct import *import) {
    struct velta_error error;
    struct velta_progress progress = cli_progress(&import->common, "indexing");
    uint64_t pending;
    enum velta_status status = velta_index(import->db, 0, &progress, &pending, &error);
    cli_progress_end();
    if (status == VELTA_CANCELLED) {
        return cli_fail(CLI_INTERRUPTED,
                        "interrupted: all rows are stored, %llu of them are not yet linked into the index",
                        (unsigned long long)pending);
    }
    return status ? cli_status(&error, "indexing") : CLI_OK;
}

static int store(struct import *import) {
    struct velta_error error;
    struct velta_write_stats stats;
    bool made = !import->table;
    int code = made ? make_table(import) : CLI_OK;
    if (code == CLI_OK) {
        code = insert(import, &stats);
        if (code != CLI_OK && made && velta_table_drop(import->table, &error)) {
            (void)cli_status(&error, "dropping the table again");
        }
    }
    if (code != CLI_OK) {
        return code;
    }
    import->stored = true;
    if (!import->no_index) {
        code = link_rows(import);
    }
    if (code != CLI_FAILED && velta_checkpoint(import->db, NULL, &error)) {
        return cli_status(&error, "writing the checkpoint");
    }
    const struct velta_column *key = NULL;
    for (size_t i = 0; i < velta_column_count(import->table) && !key; i++) {
        const struct velta_column *column = velta_column_at(import->table, i);
        key = column->primary_key ? column : NULL;
    }
    char updated[48] = "";
    if (stats.updated > 0) {
        snprintf(updated, sizeof updated, ", %u rows changed", stats.updated);
    }
    cli_note(&import->common, "table '%s': %u rows added%s%s%s%s", import->table_name, stats.inserted, updated,
             made && key ? ", primary key '" : "", made && key ? key->name : "", made && key ? "'" : "");
    return code;
}

static void free_import(struct import *import) {
    columns_free(&import->columns);
    for (size_t i = 0; i < import->vector_count; i++) {
        vectors_close(&import->vectors[i]);
        free(import->vector_names[i]);
    }
    free(import->default_name);
    free(import->closed);
}

static char *text_of(const char *before, const char *name, const char *after) {
    size_t size_bytes = strlen(before) + strlen(name) + strlen(after) + 1;
    char *text = cli_allocate(size_bytes);
    snprintf(text, size_bytes, "%s%s%s", before, name, after);
    return text;
}

/* Which columns the rows have, as far as that is known before they are read: of the table there is, or of --schema. */
static int learn_columns(struct import *import) {
    bool exists = import->db && velta_table_find(import->db, import->table_name, &import->table, NULL) == VELTA_OK;
    const struct velta_column *defaults = &import->vector_defaults;
    if (!exists) {
        int code = import->schema ? read_schema(import) : CLI_OK;
        import->closed = import->schema ? cli_copy("the schema", 10) : NULL;
        import->columns.closed = import->closed;
        return code;
    }
    if (import->schema || import->key || import->element_given || defaults->metric || defaults->m ||
        defaults->ef_construction) {
        return cli_fail(CLI_USAGE,
                        "table '%s' is there already and keeps its schema: leave out the options for new ones",
                        import->table_name);
    }
    for (size_t i = 0; i < velta_column_count(import->table); i++) {
        columns_add(&import->columns, velta_column_at(import->table, i))->declared = true;
    }
    import->closed = text_of("table '", import->table_name, "'");
    import->columns.closed = import->closed;
    return CLI_OK;
}

/* A store that this import made and could not fill is not left behind. */
static void remove_store(const char *path) {
    char *log = text_of(path, "-log", "");
    (void)remove(log);
    (void)remove(path);
    free(log);
}

/* A log without its store may hold changes of value: it is not taken for a new store's. */
static int check_no_log(const char *path) {
    char *log = text_of(path, "-log", "");
    bool exists = access(log, F_OK) == 0;
    int code = exists ? cli_fail(CLI_FAILED, "%s is the log of a store that is gone: bring %s back, or remove the log",
                                 log, path)
                      : CLI_OK;
    free(log);
    return code;
}

static int run(int argument_count, char **arguments) {
    struct import import = {0};
    int code = read_options(&import, argument_count, arguments);
    if (code >= 0) {
        return code;
    }
    if (!import.table_name) {
        import.table_name = import.default_name = name_from_path(import.rows_path);
    }
    bool fresh = access(import.store_path, F_OK) != 0;
    code =
        fresh ? check_no_log(import.store_path) : cli_open(&import.common, import.store_path, false, false, &import.db);
    if (code == CLI_OK) {
        code = learn_columns(&import);
    }
    if (code == CLI_OK) {
        code = read_rows(&import);
    }
    if (code == CLI_OK) {
        code = read_vectors(&import);
    }
    if (code == CLI_OK && fresh) {
        code = cli_open(&import.common, import.store_path, false, false, &import.db);
    }
    if (code == CLI_OK) {
        code = store(&import);
    }
    if (import.db) {
        code = cli_close(import.db, code);
        if (fresh && !import.stored) {
            remove_store(import.store_path);
        }
    }
    free_import(&import);
    return code;
}

const struct cli_command cli_import = {"import", "add rows and vectors from files to a table", help, run};
