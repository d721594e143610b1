/* velta search: nearest rows to query vectors or to a row, under a filter, now or in the past; or matching rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/print.h"
#include "cli/vectors.h"

static const char help[] =
    "[OPTION]... STORE\n\n"
    "Finds the rows nearest to query vectors (--vectors), or to a row of the table (--like), among those that match a\n"
    "filter (--where). With --where alone, lists the matching rows.\n\n"
    "  --table NAME      the table (default: the only one)\n"
    "  --column NAME     the vector column to search (default: the only one)\n"
    "  --vectors FILE    query vectors: .npy or .fvecs\n"
    "  --query N         only the N-th of them, counted from 0\n"
    "  --like KEY        rows similar to the row with this primary key (or row number, where there is no key)\n"
    "  --k N             rows per query (default 10)\n"
    "  --ef N            candidates that the graph search keeps: more is slower and finds more (default 160)\n"
    "  --exact           no approximation\n"
    "  --where EXPR      a filter, e.g. \"section = 'games' AND depends < 5\"\n"
    "  --at TIME         search the past: milliseconds, 2026-11-21T03:04:05Z, or tag:NAME\n"
    "  --select A,B      columns to show (default: the primary key; with --where alone: all but vectors)\n"
    "  --out FILE.npy    write row numbers as int32, queries x k, -1 padded, instead of printing\n"
    "  --count           only say how many rows match the filter\n"
    "  --explain         say how each query was answered\n"
    "  -j, --json        one JSON object a line\n" CLI_COMMON_HELP;

enum { MAX_SELECT = 1024 };

struct search {
    struct cli_common common;
    const char *table_name;
    const char *column;
    const char *vectors_path;
    const char *like;
    const char *where;
    const char *at;
    char *select;
    const char *out;
    uint64_t k, ef;
    uint64_t only; /* 1 + number of the one query wanted; 0: all */
    bool exact, explain, count;
    const char *store_path;

    velta_table *table;
    const char *columns[MAX_SELECT];
    size_t column_count;
    uint32_t dimensions[MAX_SELECT]; /* of vector columns among them */
    int64_t at_ms;
    uint32_t like_row;
    float *queries;
    size_t query_count;
};

static int take_option(struct search *search, int letter) {
    switch (letter) {
    case 't':
        search->table_name = optarg;
        return -1;
    case 'c':
        search->column = optarg;
        return -1;
    case 'v':
        search->vectors_path = optarg;
        return -1;
    case 'l':
        search->like = optarg;
        return -1;
    case 'w':
        search->where = optarg;
        return -1;
    case 'a':
        search->at = optarg;
        return -1;
    case 's':
        search->select = optarg;
        return -1;
    case 'o':
        search->out = optarg;
        return -1;
    case 'x':
        search->exact = true;
        return -1;
    case 'C':
        search->count = true;
        return -1;
    case 'p':
        search->explain = true;
        return -1;
    case 'n':
        search->only = strcmp(optarg, "0") == 0;
        if (!search->only && !cli_parse_count(optarg, UINT32_MAX, &search->only)) {
            return cli_usage(&cli_search, "--query wants a number from 0, not '%s'", optarg);
        }
        search->only += strcmp(optarg, "0") != 0;
        return -1;
    case 'k':
    case 'e':
        if (!cli_parse_count(optarg, 16384, letter == 'k' ? &search->k : &search->ef)) {
            return cli_usage(&cli_search, "--%s wants a number from 1 to 16384, not '%s'", letter == 'k' ? "k" : "ef",
                             optarg);
        }
        return -1;
    default:
        return cli_common_option(&search->common, &cli_search, letter);
    }
}

static int read_options(struct search *search, int argument_count, char **arguments) {
    static const struct option options[] = {{"table", required_argument, NULL, 't'},
                                            {"column", required_argument, NULL, 'c'},
                                            {"vectors", required_argument, NULL, 'v'},
                                            {"query", required_argument, NULL, 'n'},
                                            {"like", required_argument, NULL, 'l'},
                                            {"k", required_argument, NULL, 'k'},
                                            {"ef", required_argument, NULL, 'e'},
                                            {"exact", no_argument, NULL, 'x'},
                                            {"count", no_argument, NULL, 'C'},
                                            {"where", required_argument, NULL, 'w'},
                                            {"at", required_argument, NULL, 'a'},
                                            {"select", required_argument, NULL, 's'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"explain", no_argument, NULL, 'p'},
                                            CLI_COMMON_OPTIONS};
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = take_option(search, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 1) {
        return cli_usage(&cli_search, "give one store");
    }
    search->store_path = arguments[optind];
    search->k = search->k ? search->k : 10;
    if (search->vectors_path && search->like) {
        return cli_usage(&cli_search, "give --vectors or --like, not both");
    }
    if (!search->vectors_path && !search->like && !search->where) {
        return cli_usage(&cli_search, "say what to find: --vectors FILE, --like KEY, or --where EXPR");
    }
    if (search->count && (search->vectors_path || search->like)) {
        return cli_usage(&cli_search, "--count goes with --where alone");
    }
    if (search->out && !search->vectors_path && !search->like) {
        return cli_usage(&cli_search, "--out writes the rows found for vectors: give --vectors or --like");
    }
    return -1;
}

static const struct velta_column *column_named(const velta_table *table, const char *name) {
    for (size_t i = 0; i < velta_column_count(table); i++) {
        if (strcmp(velta_column_at(table, i)->name, name) == 0) {
            return velta_column_at(table, i);
        }
    }
    return NULL;
}

static int choose_columns(struct search *search) {
    bool listing = !search->vectors_path && !search->like;
    size_t *count = &search->column_count;
    for (char *name = search->select ? strtok(search->select, ",") : NULL; name; name = strtok(NULL, ",")) {
        if (*count == MAX_SELECT) {
            return cli_fail(CLI_USAGE, "--select names more than %d columns", MAX_SELECT);
        }
        search->columns[(*count)++] = name;
    }
    for (size_t i = 0; !search->select && i < velta_column_count(search->table) && *count < MAX_SELECT; i++) {
        const struct velta_column *column = velta_column_at(search->table, i);
        if (listing ? column->type != VELTA_VECTOR : column->primary_key) {
            search->columns[(*count)++] = column->name;
        }
    }
    for (size_t i = 0; i < *count; i++) {
        const struct velta_column *column = column_named(search->table, search->columns[i]);
        if (!column) {
            return cli_fail(CLI_FAILED, "table '%s' has no column '%s'", velta_table_name(search->table),
                            search->columns[i]);
        }
        search->dimensions[i] = column->dimensions;
    }
    return CLI_OK;
}

/* The vector column searched, by name or as the only one. */
static int find_vector_column(struct search *search, const struct velta_column **out) {
    *out = NULL;
    for (size_t i = 0; i < velta_column_count(search->table); i++) {
        const struct velta_column *column = velta_column_at(search->table, i);
        if (column->type == VELTA_VECTOR && (!search->column || strcmp(search->column, column->name) == 0)) {
            if (*out) {
                return cli_fail(CLI_USAGE, "the table has several vector columns: name one with --column");
            }
            *out = column;
        }
    }
    if (!*out) {
        return cli_fail(CLI_FAILED,
                        search->column ? "table '%s' has no vector column '%s'" : "table '%s' has no vector column%s",
                        velta_table_name(search->table), search->column ? search->column : "");
    }
    search->column = (*out)->name;
    return CLI_OK;
}

static int find_like(struct search *search, const struct velta_column *vectors) {
    struct velta_error error;
    const struct velta_column *key = NULL;
    for (size_t i = 0; i < velta_column_count(search->table); i++) {
        const struct velta_column *column = velta_column_at(search->table, i);
        key = column->primary_key ? column : key;
    }
    uint64_t offsets[2] = {0, strlen(search->like)};
    char *end;
    int64_t number = strtoll(search->like, &end, 10);
    uint32_t row = number >= 0 && number < VELTA_NO_ROW ? (uint32_t)number : VELTA_NO_ROW;
    struct velta_keys keys = {0};
    if (key && key->type == VELTA_STRING) {
        keys.text = search->like;
        keys.offsets = offsets;
    } else if (*end || end == search->like) {
        return cli_fail(CLI_FAILED, "--like wants %s, not '%s'", key ? "an integer key" : "a row number", search->like);
    } else if (key) {
        keys.ints = &number;
    } else {
        keys.rows = &row;
    }
    if (velta_find(search->table, &keys, 1, search->at_ms, &search->like_row, &error)) {
        return cli_status(&error, "finding the row");
    }
    if (search->like_row == VELTA_NO_ROW) {
        return cli_fail(CLI_FAILED, "table '%s' has no row '%s'%s", velta_table_name(search->table), search->like,
                        search->at_ms ? " at that time" : "");
    }
    search->queries = cli_allocate(vectors->dimensions * sizeof *search->queries);
    search->query_count = 1;
    if (velta_get_vector(search->table, vectors->name, search->like_row, search->at_ms, search->queries, &error)) {
        return cli_status(&error, "reading its vector");
    }
    return CLI_OK;
}

static int read_queries(struct search *search, const struct velta_column *column) {
    struct vectors file;
    int code = vectors_open(search->vectors_path, &file);
    if (code != CLI_OK) {
        return code;
    }
    if (file.dimensions != column->dimensions) {
        code = cli_fail(CLI_FAILED, "%s has vectors of %u elements, column '%s' of %u", search->vectors_path,
                        file.dimensions, column->name, column->dimensions);
    } else if (search->only > file.count) {
        code = cli_fail(CLI_FAILED, "%s has %zu vectors; there is no query %llu", search->vectors_path, file.count,
                        (unsigned long long)search->only - 1);
    } else {
        size_t first = search->only ? (size_t)search->only - 1 : 0;
        search->query_count = search->only ? 1 : file.count;
        search->queries = cli_allocate(search->query_count * file.dimensions * sizeof *search->queries);
        for (size_t i = 0; i < search->query_count; i++) {
            vectors_row(&file, first + i, search->queries + i * file.dimensions);
        }
    }
    vectors_close(&file);
    return code;
}

/* ---- output ---- */

/* The slots of a query to show: k of them, without the row that --like asked about. */
static size_t shown_slots(const struct search *search, const velta_result *result, size_t query, size_t *slots) {
    const uint32_t *rows = velta_result_rows(result);
    uint32_t k = velta_result_k(result);
    size_t count = 0;
    for (size_t slot = query * k; slot < (query + 1) * k && count < search->k; slot++) {
        if (rows[slot] != VELTA_NO_ROW && !(search->like && rows[slot] == search->like_row)) {
            slots[count++] = slot;
        }
    }
    return count;
}

static int write_rows(const struct search *search, const velta_result *result, size_t *slots) {
    size_t k = (size_t)search->k;
    int32_t *found = cli_allocate(search->query_count * k * sizeof *found);
    for (size_t query = 0; query < search->query_count; query++) {
        size_t count = shown_slots(search, result, query, slots);
        for (size_t i = 0; i < k; i++) {
            found[query * k + i] = i < count ? (int32_t)velta_result_rows(result)[slots[i]] : -1;
        }
    }
    int code = vectors_write_int32(search->out, found, search->query_count, k);
    free(found);
    return code;
}

static void print_explain(const velta_result *result, size_t query) {
    const struct velta_explain *explain = velta_result_explain(result, query);
    fprintf(stderr,
            "query %zu: %s; %llu rows match (%.3g %%); %u nodes visited, %u rows scanned, %u reranked; filter %.3f ms, "
            "search %.3f ms\n",
            query, velta_strategy_name(explain->strategy), (unsigned long long)explain->matching_rows,
            100 * explain->selectivity, explain->nodes_visited, explain->rows_scanned, explain->rows_reranked,
            (double)explain->filter_ns / 1e6, (double)explain->search_ns / 1e6);
}

static void print_json(const struct search *search, const velta_result *result, size_t *slots) {
    for (size_t query = 0; query < search->query_count; query++) {
        size_t count = shown_slots(search, result, query, slots);
        for (size_t i = 0; i < count; i++) {
            json_t *line = json_object();
            if (!search->like) {
                json_object_set_new(line, "query", json_integer((json_int_t)query));
            }
            json_object_set_new(line, "row", json_integer(velta_result_rows(result)[slots[i]]));
            json_object_set_new(line, "distance", json_real((double)velta_result_distances(result)[slots[i]]));
            json_t *values = print_row(result, search->dimensions, slots[i]);
            json_object_update(line, values);
            json_decref(values);
            print_json_line(line);
        }
    }
}

static void print_text(const struct search *search, const velta_result *result, size_t *slots) {
    struct print_table out;
    bool many = search->query_count > 1;
    print_table_start(&out, search->column_count + 2 + many);
    if (many) {
        print_table_cell(&out, true, "query");
    }
    print_table_cell(&out, true, "row");
    print_table_cell(&out, true, "distance");
    for (size_t i = 0; i < search->column_count; i++) {
        print_table_cell(&out, false, "%s", search->columns[i]);
    }
    for (size_t query = 0; query < search->query_count; query++) {
        size_t count = shown_slots(search, result, query, slots);
        for (size_t i = 0; i < count; i++) {
            if (many) {
                print_table_cell(&out, true, "%zu", query);
            }
            print_table_cell(&out, true, "%u", velta_result_rows(result)[slots[i]]);
            print_table_cell(&out, true, "%.6f", (double)velta_result_distances(result)[slots[i]]);
            for (size_t j = 0; j < search->column_count; j++) {
                struct velta_values values;
                enum velta_type type;
                if (velta_result_column(result, j, &values, &type) == VELTA_OK) {
                    print_table_value(&out, &values, type, search->dimensions[j], slots[i]);
                }
            }
        }
    }
    print_table_end(&out);
}

/* ---- running ---- */

static int search_vectors(struct search *search) {
    const struct velta_column *column;
    struct velta_error error;
    int code = find_vector_column(search, &column);
    if (code == CLI_OK) {
        code = search->like ? find_like(search, column) : read_queries(search, column);
    }
    if (code != CLI_OK) {
        return code;
    }
    struct velta_search asked = {
        .column = search->column,
        .queries = search->queries,
        .query_count = search->query_count,
        .k = (uint32_t)search->k + (search->like && search->k < 16384), /* one more: the row itself is left out */
        .ef = (uint32_t)search->ef,
        .where = search->where,
        .select = search->out ? NULL : search->columns,
        .select_count = search->out ? 0 : search->column_count,
        .at_ms = search->at_ms,
        .exact = search->exact,
        .progress = cli_progress(&search->common, "searching"),
    };
    velta_result *result;
    enum velta_status status = velta_search(search->table, &asked, &result, &error);
    cli_progress_end();
    if (status) {
        return cli_filter_status(&error, "searching", search->where);
    }
    size_t *slots = cli_allocate(velta_result_k(result) * sizeof *slots);
    if (search->out) {
        code = write_rows(search, result, slots);
    } else if (search->common.json) {
        print_json(search, result, slots);
    } else {
        print_text(search, result, slots);
    }
    (void)fflush(stdout); /* main sees to failures */
    for (size_t query = 0; search->explain && query < search->query_count; query++) {
        print_explain(result, query);
    }
    free(slots);
    velta_result_free(result);
    return code;
}

static void print_listing(const struct search *search, const velta_result *result) {
    struct print_table out;
    size_t count = velta_result_count(result);
    for (size_t slot = 0; search->common.json && slot < count; slot++) {
        json_t *line = json_object();
        json_t *values = print_row(result, search->dimensions, slot);
        json_object_set_new(line, "row", json_integer(velta_result_rows(result)[slot]));
        json_object_update(line, values);
        json_decref(values);
        print_json_line(line);
    }
    if (search->common.json) {
        return;
    }
    print_table_start(&out, search->column_count + 1);
    print_table_cell(&out, true, "row");
    for (size_t i = 0; i < search->column_count; i++) {
        print_table_cell(&out, false, "%s", search->columns[i]);
    }
    for (size_t slot = 0; slot < count; slot++) {
        print_table_cell(&out, true, "%u", velta_result_rows(result)[slot]);
        for (size_t i = 0; i < search->column_count; i++) {
            struct velta_values values;
            enum velta_type type;
            if (velta_result_column(result, i, &values, &type) == VELTA_OK) {
                print_table_value(&out, &values, type, search->dimensions[i], slot);
            }
        }
    }
    print_table_end(&out);
}

/* --where alone: the first k matching rows, and how many there are. */
static int list_rows(struct search *search) {
    struct velta_error error;
    velta_filter *filter;
    uint64_t count = 0;
    if (search->at_ms) {
        return cli_fail(CLI_USAGE, "--at needs something to search for: --vectors or --like");
    }
    if (velta_filter_compile(search->table, search->where, &filter, &error)) {
        return cli_filter_status(&error, "reading the filter", search->where);
    }
    uint32_t *rows = cli_allocate((size_t)search->k * sizeof *rows);
    velta_result *result = NULL;
    enum velta_status status = search->count ? velta_filter_count(filter, &count, &error)
                                             : velta_filter_rows(filter, rows, (size_t)search->k, &count, &error);
    if (!status && !search->count) {
        size_t shown = count < search->k ? (size_t)count : (size_t)search->k;
        status = velta_get(search->table, rows, shown, search->columns, search->column_count, 0, &result, &error);
    }
    int code = CLI_OK;
    if (status) {
        code = cli_status(&error, "filtering");
    } else if (search->count) {
        printf("%llu\n", (unsigned long long)count);
    } else {
        print_listing(search, result);
        cli_note(&search->common, "%llu rows match", (unsigned long long)count);
    }
    velta_result_free(result);
    velta_filter_free(filter);
    free(rows);
    return code;
}

static int run(int argument_count, char **arguments) {
    struct search search = {0};
    velta *db;
    int code = read_options(&search, argument_count, arguments);
    if (code >= 0) {
        return code;
    }
    code = search.out ? cli_check_output(search.out, search.store_path) : CLI_OK;
    if (code != CLI_OK) {
        return code;
    }
    code = cli_open(&search.common, search.store_path, true, true, &db);
    if (code != CLI_OK) {
        return code;
    }
    code = cli_table(db, search.table_name, &search.table);
    if (code == CLI_OK && search.at) {
        code = cli_moment(db, search.at, &search.at_ms);
    }
    if (code == CLI_OK) {
        code = choose_columns(&search);
    }
    if (code == CLI_OK) {
        code = search.vectors_path || search.like ? search_vectors(&search) : list_rows(&search);
    }
    free(search.queries);
    return cli_close(db, code);
}

const struct cli_command cli_search = {"search", "find rows by meaning and by value", help, run};
