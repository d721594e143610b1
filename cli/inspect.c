/* velta inspect: what a store holds, and what it costs. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/print.h"

static const char help[] =
    "[OPTION]... STORE\n\n"
    "Says what tables, columns and rows a store holds, and what it costs in memory and on disk.\n\n"
    "  -j, --json        as one JSON object\n" CLI_COMMON_HELP;

static json_t *describe_table(const velta_table *table) {
    json_t *columns = json_array();
    for (size_t i = 0; i < velta_column_count(table); i++) {
        const struct velta_column *column = velta_column_at(table, i);
        char type[64];
        json_t *one = json_object();
        json_object_set_new(one, "name", json_string(column->name));
        json_object_set_new(one, "type", json_string(cli_type_name(column, type)));
        json_object_set_new(one, "primary_key", json_boolean(column->primary_key));
        json_object_set_new(one, "required", json_boolean(column->required));
        json_array_append_new(columns, one);
    }
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(velta_table_name(table)));
    json_object_set_new(json, "rows", json_integer(velta_live_count(table)));
    json_object_set_new(json, "deleted_rows", json_integer(velta_row_count(table) - velta_live_count(table)));
    json_object_set_new(json, "columns", columns);
    return json;
}

static void print_json(velta *db, const struct velta_stats *stats) {
    json_t *json = json_object();
    json_t *tables = json_array();
    for (size_t i = 0; velta_table_at(db, i); i++) {
        json_array_append_new(tables, describe_table(velta_table_at(db, i)));
    }
    json_object_set_new(json, "tables", tables);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"sequence", stats->sequence},
        {"generation", stats->generation},
        {"data_file_bytes", stats->data_file_bytes},
        {"log_bytes", stats->log_bytes},
        {"log_raw_bytes", stats->log_raw_bytes},
        {"cut_bytes", stats->cut_bytes},
        {"memory_used_bytes", stats->memory_used_bytes},
        {"column_bytes", stats->column_bytes},
        {"vector_bytes", stats->vector_bytes},
        {"dictionary_bytes", stats->dictionary_bytes},
        {"index_bytes", stats->index_bytes},
        {"history_bytes", stats->history_bytes},
        {"index_pending", stats->index_pending},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_object_set_new(json, numbers[i].name, json_integer((json_int_t)numbers[i].value));
    }
    json_object_set_new(json, "time_ms", json_integer(stats->time_ms));
    json_object_set_new(json, "simd", json_string(stats->simd));
    print_json_line(json);
}

static void print_size(const char *label, uint64_t size_bytes) {
    if (size_bytes < 10000) {
        printf("  %-22s %8" PRIu64 " B\n", label, size_bytes);
    } else {
        printf("  %-22s %8.2f MB\n", label, (double)size_bytes / 1e6);
    }
}

static void print_text(velta *db, const struct velta_stats *stats) {
    for (size_t i = 0; velta_table_at(db, i); i++) {
        const velta_table *table = velta_table_at(db, i);
        uint32_t live = velta_live_count(table);
        printf("table %s: %u rows, %u deleted\n", velta_table_name(table), live, velta_row_count(table) - live);
        for (size_t j = 0; j < velta_column_count(table); j++) {
            const struct velta_column *column = velta_column_at(table, j);
            char type[64];
            printf("  %-22s %s%s\n", column->name, cli_type_name(column, type),
                   column->primary_key ? ", primary key"
                   : column->required  ? ", required"
                                       : "");
        }
    }
    char time[32];
    cli_format_time(stats->time_ms, time);
    printf("changes: %" PRIu64 "%s%s; checkpoint generation %" PRIu64 "; %" PRIu64 " rows wait for the index\n",
           stats->sequence, stats->sequence ? ", the last at " : "", stats->sequence ? time : "", stats->generation,
           stats->index_pending);
    printf("on disk\n");
    print_size("data file", stats->data_file_bytes);
    print_size("log", stats->log_bytes);
    if (stats->cut_bytes) {
        print_size("torn tail of the log", stats->cut_bytes);
    }
    printf("in memory (%s kernels)\n", stats->simd);
    print_size("columns", stats->column_bytes);
    print_size("dictionaries", stats->dictionary_bytes);
    print_size("vectors", stats->vector_bytes);
    print_size("indexes", stats->index_bytes);
    print_size("history", stats->history_bytes);
    print_size("all", stats->memory_used_bytes);
}

static int run(int argument_count, char **arguments) {
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct cli_common common = {0};
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = cli_common_option(&common, &cli_inspect, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 1) {
        return cli_usage(&cli_inspect, "give one store");
    }
    int code = cli_open(&common, arguments[optind], true, true, &db);
    if (code != CLI_OK) {
        return code;
    }
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    if (common.json) {
        print_json(db, &stats);
    } else {
        print_text(db, &stats);
    }
    return cli_close(db, CLI_OK);
}

const struct cli_command cli_inspect = {"inspect", "say what a store holds and what it costs", help, run};
