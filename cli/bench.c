/*
 * velta bench: how fast and how well a store answers on this machine.
 *
 * Takes vectors of the table itself as queries (evenly spaced rows), answers them exactly, then through the index at
 * rising ef, and prints recall@k by distance and queries a second. Every figure is the median of several rounds, after
 * a first one that is not counted.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char help[] =
    "[OPTION]... STORE\n\n"
    "Measures search on a store's own vectors: recall against exact search, and queries a second, at rising ef.\n\n"
    "  --table NAME      the table (default: the only one)\n"
    "  --column NAME     the vector column (default: the first)\n"
    "  --where EXPR      measure under a filter\n"
    "  --queries N       rows taken as queries (default 200)\n"
    "  --k N             rows per query (default 10)\n" CLI_COMMON_HELP;

enum { ROUNDS = 5 };

struct bench {
    struct cli_common common;
    const char *table_name, *column, *where;
    uint64_t queries, k;
    velta_table *table;
    uint32_t dimensions;
    float *vectors;
    size_t count;
    float *bounds; /* per query: the k-th exact distance */
};

static int gather(struct bench *bench) {
    uint32_t rows = velta_row_count(bench->table);
    for (size_t i = 0; i < velta_column_count(bench->table); i++) {
        const struct velta_column *column = velta_column_at(bench->table, i);
        if (column->type == VELTA_VECTOR && (!bench->column || strcmp(bench->column, column->name) == 0)) {
            bench->column = column->name;
            bench->dimensions = column->dimensions;
            break;
        }
    }
    if (bench->dimensions == 0) {
        return cli_fail(CLI_FAILED, "the table has no such vector column");
    }
    bench->vectors = cli_allocate((size_t)bench->queries * bench->dimensions * sizeof *bench->vectors);
    for (uint64_t i = 0; i < bench->queries && rows > 0; i++) {
        uint32_t row = (uint32_t)(i * rows / bench->queries);
        float *to = bench->vectors + bench->count * bench->dimensions;
        bench->count += velta_get_vector(bench->table, bench->column, row, 0, to, NULL) == VELTA_OK;
    }
    return bench->count > 0 ? CLI_OK : cli_fail(CLI_FAILED, "the table has no vectors");
}

static int search(struct bench *bench, uint32_t ef, bool exact, velta_result **result) {
    struct velta_error error;
    struct velta_search asked = {
        .column = bench->column,
        .queries = bench->vectors,
        .query_count = bench->count,
        .k = (uint32_t)bench->k,
        .ef = ef,
        .where = bench->where,
        .exact = exact,
        .progress = cli_progress(&bench->common, exact ? "exact" : "searching"),
    };
    enum velta_status status = velta_search(bench->table, &asked, result, &error);
    cli_progress_end();
    return status ? cli_filter_status(&error, "searching", bench->where) : CLI_OK;
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double total_seconds(const struct bench *bench, const velta_result *result) {
    uint64_t ns = 0;
    for (size_t i = 0; i < bench->count; i++) {
        ns += velta_result_explain(result, i)->search_ns;
    }
    return (double)ns / 1e9;
}

/* The k-th exact distance of each query: a found row counts when it is as near. */
static int find_bounds(struct bench *bench) {
    velta_result *result;
    int code = search(bench, 0, true, &result);
    if (code != CLI_OK) {
        return code;
    }
    bench->bounds = cli_allocate(bench->count * sizeof *bench->bounds);
    for (size_t i = 0; i < bench->count; i++) {
        const float *distances = velta_result_distances(result) + i * bench->k;
        size_t last = (size_t)bench->k;
        while (last > 0 && isinf(distances[last - 1])) {
            last--;
        }
        bench->bounds[i] = last > 0 ? distances[last - 1] : -INFINITY;
    }
    printf("exact: %.0f queries/s, %zu queries\n", (double)bench->count / total_seconds(bench, result), bench->count);
    velta_result_free(result);
    return CLI_OK;
}

static double recall(const struct bench *bench, const velta_result *result) {
    size_t found = 0;
    size_t wanted = 0;
    for (size_t i = 0; i < bench->count; i++) {
        const float *distances = velta_result_distances(result) + i * bench->k;
        const struct velta_explain *explain = velta_result_explain(result, i);
        wanted += explain->matching_rows < bench->k ? (size_t)explain->matching_rows : (size_t)bench->k;
        for (size_t j = 0; j < bench->k; j++) {
            found += distances[j] <= bench->bounds[i] + 1e-6F;
        }
    }
    return wanted > 0 ? (double)found / (double)wanted : 1;
}

static int measure(struct bench *bench, uint32_t ef) {
    double seconds[ROUNDS];
    double share = 0;
    uint64_t visited = 0;
    enum velta_strategy strategy = VELTA_STRATEGY_NONE;
    for (int round = -1; round < ROUNDS; round++) {
        velta_result *result;
        int code = search(bench, ef, false, &result);
        if (code != CLI_OK) {
            return code;
        }
        share = recall(bench, result);
        strategy = velta_result_explain(result, 0)->strategy;
        visited = 0;
        for (size_t i = 0; i < bench->count; i++) {
            visited += velta_result_explain(result, i)->nodes_visited;
        }
        if (round >= 0) {
            seconds[round] = total_seconds(bench, result);
        }
        velta_result_free(result);
    }
    qsort(seconds, ROUNDS, sizeof *seconds, compare);
    char label[16];
    snprintf(label, sizeof label, ef ? "%u" : "default", ef);
    printf("%8s  %8.4f  %11.0f  %13.0f  %s\n", label, share, (double)bench->count / seconds[ROUNDS / 2],
           (double)visited / (double)bench->count, velta_strategy_name(strategy));
    return CLI_OK;
}

static int measure_all(struct bench *bench) {
    static const uint32_t efs[] = {0, 16, 32, 64, 128, 256, 512};
    int code = gather(bench);
    if (code == CLI_OK) {
        code = find_bounds(bench);
    }
    if (code == CLI_OK) {
        printf("%8s  recall@%-2llu  queries/s  nodes visited  strategy of the first\n", "ef",
               (unsigned long long)bench->k);
    }
    for (size_t i = 0; i < sizeof efs / sizeof *efs && code == CLI_OK; i++) {
        if (efs[i] == 0 || efs[i] >= bench->k) {
            code = measure(bench, efs[i]);
        }
    }
    free(bench->vectors);
    free(bench->bounds);
    return code;
}

static int run(int argument_count, char **arguments) {
    static const struct option options[] = {
        {"table", required_argument, NULL, 't'}, {"column", required_argument, NULL, 'c'},
        {"where", required_argument, NULL, 'w'}, {"queries", required_argument, NULL, 'n'},
        {"k", required_argument, NULL, 'k'},     CLI_COMMON_OPTIONS};
    struct bench bench = {.queries = 200, .k = 10};
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = -1;
        if (letter == 't') {
            bench.table_name = optarg;
        } else if (letter == 'c') {
            bench.column = optarg;
        } else if (letter == 'w') {
            bench.where = optarg;
        } else if (letter == 'n' || letter == 'k') {
            if (!cli_parse_count(optarg, 16384, letter == 'n' ? &bench.queries : &bench.k)) {
                code = cli_usage(&cli_bench, "a number from 1 to 16384 is wanted, not '%s'", optarg);
            }
        } else {
            code = cli_common_option(&bench.common, &cli_bench, letter);
        }
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 1) {
        return cli_usage(&cli_bench, "give one store");
    }
    int code = cli_open(&bench.common, arguments[optind], true, true, &db);
    if (code != CLI_OK) {
        return code;
    }
    code = cli_table(db, bench.table_name, &bench.table);
    return cli_close(db, code == CLI_OK ? measure_all(&bench) : code);
}

const struct cli_command cli_bench = {"bench", "measure search on a store's own vectors", help, run};
