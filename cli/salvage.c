/* velta salvage: what is left of a damaged store, as one file, with a list of what is not. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/print.h"

static const char help[] =
    "[OPTION]... STORE FILE\n\n"
    "Reads what is whole of a damaged store, lists what is lost, and writes the rest to FILE, a new file that is a\n"
    "store itself. The damaged files are only read. Values that are lost are NULL; rows that lack a key or another\n"
    "required value are left out; what cannot be told from damage is listed, too. Check FILE, then put it in place.\n\n"
    "Exits with 0 when nothing was lost, with 3 when FILE was written and something was, with 1 when it failed.\n\n"
    "  -j, --json        each loss as a JSON object, one a line, without a limit; then one for what was "
    "saved\n" CLI_COMMON_HELP;

enum { MAX_LINES = 100 };

struct salvage {
    struct cli_common common;
    const char *store;
    const char *path;
    uint64_t lost; /* losses, without what was made anew */
    uint64_t told; /* lines printed */
};

/* ---- losses ---- */

static const char *kind_name(enum velta_loss_kind kind) {
    static const char *const names[] = {"?", "values", "rows", "deletions", "expiry", "history", "changes", "nothing"};
    return names[kind];
}

static void tell_json(const struct velta_loss *loss) {
    json_t *json = json_object();
    json_object_set_new(json, "lost", json_string(kind_name(loss->kind)));
    json_object_set_new(json, "table", loss->table ? json_string(loss->table) : json_null());
    json_object_set_new(json, "column", loss->column ? json_string(loss->column) : json_null());
    if (loss->row_count > 0) {
        json_object_set_new(json, "first_row", json_integer(loss->first_row));
        json_object_set_new(json, "row_count", json_integer(loss->row_count));
    }
    if (loss->kind == VELTA_LOSS_CHANGES || loss->kind == VELTA_LOSS_HISTORY) {
        json_object_set_new(json, "after_change", json_integer((json_int_t)loss->sequence));
        json_object_set_new(json, "after_time_ms", json_integer(loss->time_ms));
    }
    if (loss->offset != VELTA_NO_OFFSET) {
        json_object_set_new(json, "file", json_string(loss->in_log ? "log" : "data"));
        json_object_set_new(json, "offset", json_integer((json_int_t)loss->offset));
        json_object_set_new(json, "bytes", json_integer((json_int_t)loss->size_bytes));
    }
    json_object_set_new(json, "text", json_string(loss->text));
    print_json_line(json);
}

/* "table 't', column 'c', rows 0 to 99: sentence (data file, byte 8192)". */
static void tell_line(const struct velta_loss *loss) {
    char time[32];
    if (loss->table) {
        printf("table '%s'", loss->table);
        if (loss->column) {
            printf(", column '%s'", loss->column);
        }
        if (loss->row_count == 1) {
            printf(", row %" PRIu32, loss->first_row);
        } else if (loss->row_count > 1) {
            printf(", rows %" PRIu32 " to %" PRIu32, loss->first_row, loss->first_row + (loss->row_count - 1));
        }
        printf(": ");
    }
    printf("%s", loss->text);
    if (loss->kind == VELTA_LOSS_CHANGES && loss->row_count == 0 && loss->sequence > 0) {
        cli_format_time(loss->time_ms, time);
        printf("; the last one is of %s", time);
    }
    if (loss->offset != VELTA_NO_OFFSET) {
        printf(" (%s file, byte %" PRIu64 ")", loss->in_log ? "log" : "data", loss->offset);
    }
    putchar('\n');
}

static void tell(void *context, const struct velta_loss *loss) {
    struct salvage *salvage = context;
    salvage->lost += loss->kind != VELTA_LOSS_NOTHING;
    salvage->told++;
    if (salvage->common.json) {
        tell_json(loss);
    } else if (salvage->told <= MAX_LINES) {
        cli_progress_end();
        tell_line(loss);
    }
}

static void summarise(const struct salvage *salvage, velta *db) {
    struct velta_stats stats;
    uint64_t rows = 0;
    char time[32];
    velta_get_stats(db, &stats);
    cli_format_time(stats.time_ms, time);
    for (size_t i = 0; velta_table_at(db, i); i++) {
        rows += velta_live_count(velta_table_at(db, i));
    }
    if (salvage->common.json) {
        json_t *json = json_object();
        json_object_set_new(json, "losses", json_integer((json_int_t)salvage->lost));
        json_object_set_new(json, "tables", json_integer(stats.table_count));
        json_object_set_new(json, "rows", json_integer((json_int_t)rows));
        json_object_set_new(json, "change", json_integer((json_int_t)stats.sequence));
        json_object_set_new(json, "time_ms", json_integer(stats.time_ms));
        print_json_line(json);
        return;
    }
    if (salvage->told > MAX_LINES) {
        printf("and %" PRIu64 " more; --json lists them all\n", salvage->told - MAX_LINES);
    }
    printf("%s: saved %" PRIu32 " table%s with %" PRIu64 " rows, up to change %" PRIu64 " of %s%s\n", salvage->path,
           stats.table_count, stats.table_count == 1 ? "" : "s", rows, stats.sequence, time,
           salvage->lost == 0 ? "; nothing was lost" : "");
}

/* ---- running ---- */

static int open_damaged(struct salvage *salvage, velta **db) {
    struct velta_error error;
    struct velta_options options = cli_options(&salvage->common);
    options.progress = cli_progress(&salvage->common, "salvaging");
    enum velta_status status = velta_salvage(salvage->store, &options, tell, salvage, db, &error);
    cli_progress_end();
    if (status == VELTA_NOT_FOUND) {
        return cli_fail(CLI_FAILED, "there is no store '%s'", salvage->store);
    }
    return status ? cli_status(&error, salvage->store) : CLI_OK;
}

static int write_saved(struct salvage *salvage, velta *db) {
    struct velta_error error;
    uint8_t *bytes;
    uint64_t size_bytes;
    uint64_t pending = 0;
    struct velta_progress progress = cli_progress(&salvage->common, "linking");
    enum velta_status status = velta_index(db, 0, &progress, &pending, &error);
    if (!status) {
        progress = cli_progress(&salvage->common, "writing");
        status = velta_export(db, &bytes, &size_bytes, &progress, &error);
    }
    cli_progress_end();
    if (status) {
        return cli_status(&error, "writing what was saved");
    }
    int code = cli_write_file(salvage->path, bytes, size_bytes);
    velta_export_free(db, bytes, size_bytes);
    if (code == CLI_OK) {
        summarise(salvage, db);
    }
    if (code == CLI_OK && salvage->lost > 0) {
        return cli_fail(CLI_LOST, "%" PRIu64 " loss%s listed", salvage->lost, salvage->lost == 1 ? " is" : "es are");
    }
    return code;
}

static int run(int argument_count, char **arguments) {
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct salvage salvage = {0};
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = cli_common_option(&salvage.common, &cli_salvage, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 2) {
        return cli_usage(&cli_salvage, "give the store, then the file to write");
    }
    salvage.store = arguments[optind];
    salvage.path = arguments[optind + 1];
    int code = cli_check_output(salvage.path, salvage.store);
    if (code != CLI_OK) {
        return code;
    }
    if (access(salvage.path, F_OK) == 0) {
        return cli_fail(CLI_FAILED, "%s exists already: write to a new file", salvage.path);
    }
    code = open_damaged(&salvage, &db);
    return code == CLI_OK ? cli_close(db, write_saved(&salvage, db)) : code;
}

const struct cli_command cli_salvage = {"salvage", "save what is left of a damaged store", help, run};
