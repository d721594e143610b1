/* velta verify, compact, export, tag: looking after a store. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* ---- verify ---- */

static const char verify_help[] =
    "[OPTION]... STORE\n\n"
    "Reads all of a store and checks everything: checksums, columns, keys, history, and every invariant of the\n"
    "indexes. Changes nothing. Exits with 1 and says where when something is wrong; 'velta salvage' then saves the "
    "rest.\n\n" CLI_COMMON_HELP;

static int run_verify(int argument_count, char **arguments) {
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct cli_common common = {0};
    struct velta_error error;
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = cli_common_option(&common, &cli_verify, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 1) {
        return cli_usage(&cli_verify, "give one store");
    }
    int code = cli_open(&common, arguments[optind], true, true, &db);
    if (code != CLI_OK) {
        return code;
    }
    struct velta_progress progress = cli_progress(&common, "verifying");
    enum velta_status status = velta_verify(db, &progress, &error);
    cli_progress_end();
    if (status) {
        code = cli_status(&error, "verifying");
        cli_hint_salvage(arguments[optind], status);
    } else {
        cli_note(&common, "%s is sound", arguments[optind]);
    }
    return cli_close(db, code);
}

const struct cli_command cli_verify = {"verify", "check everything in a store", verify_help, run_verify};

/* ---- compact ---- */

static const char compact_help[] =
    "[OPTION]... STORE\n\n"
    "Drops history and deleted rows, so that their bytes are gone from the files, renumbers rows, and links what "
    "waits\n"
    "for the index. The past is no longer readable, but for what the options keep.\n\n"
    "  --keep-since TIME  keep the history from this time on: milliseconds, 2026-11-21T03:04:05Z, or tag:NAME\n"
    "  --keep-tag NAME    keep this moment readable; may be repeated\n"
    "  --keep-all         keep all history\n" CLI_COMMON_HELP;

enum { MAX_TAGS = 256 };

struct compact {
    struct cli_common common;
    const char *since;
    const char *tags[MAX_TAGS];
    size_t tag_count;
    bool keep_all;
    const char *path;
};

static int compact_options(struct compact *compact, int argument_count, char **arguments) {
    static const struct option options[] = {{"keep-since", required_argument, NULL, 's'},
                                            {"keep-tag", required_argument, NULL, 't'},
                                            {"keep-all", no_argument, NULL, 'a'},
                                            CLI_COMMON_OPTIONS};
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = -1;
        if (letter == 's') {
            compact->since = optarg;
        } else if (letter == 'a') {
            compact->keep_all = true;
        } else if (letter == 't' && compact->tag_count < MAX_TAGS) {
            compact->tags[compact->tag_count++] = optarg;
        } else {
            code = letter == 't' ? cli_usage(&cli_compact, "at most %d tags can be kept", MAX_TAGS)
                                 : cli_common_option(&compact->common, &cli_compact, letter);
        }
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 1) {
        return cli_usage(&cli_compact, "give one store");
    }
    compact->path = arguments[optind];
    return -1;
}

static int run_compact(int argument_count, char **arguments) {
    struct compact compact = {0};
    struct velta_error error;
    struct velta_compact_stats stats;
    velta *db;
    int code = compact_options(&compact, argument_count, arguments);
    if (code >= 0) {
        return code;
    }
    code = cli_open(&compact.common, compact.path, false, true, &db);
    if (code != CLI_OK) {
        return code;
    }
    struct velta_compact_options options = {
        .keep_since_ms = compact.keep_all ? INT64_MIN : 0,
        .keep_tags = compact.tags,
        .keep_tag_count = compact.tag_count,
    };
    if (compact.since) {
        code = cli_moment(db, compact.since, &options.keep_since_ms);
    }
    if (code == CLI_OK) {
        options.progress = cli_progress(&compact.common, "compacting");
        enum velta_status status = velta_compact(db, &options, &stats, &error);
        cli_progress_end();
        if (status) {
            code = cli_status(&error, "compacting");
        } else {
            cli_note(&compact.common, "%u deleted rows dropped; %.2f MB before, %.2f MB after", stats.rows_dropped,
                     (double)stats.bytes_before / 1e6, (double)stats.bytes_after / 1e6);
        }
    }
    return cli_close(db, code);
}

const struct cli_command cli_compact = {"compact", "drop history and deleted rows", compact_help, run_compact};

/* ---- export ---- */

static const char export_help[] =
    "[OPTION]... STORE FILE\n\n"
    "Writes the whole store, indexes included, as one file that 'velta' and a browser can open. The same state gives\n"
    "the same bytes on every machine.\n\n" CLI_COMMON_HELP;

static int run_export(int argument_count, char **arguments) {
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct cli_common common = {0};
    struct velta_error error;
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = cli_common_option(&common, &cli_export, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 2) {
        return cli_usage(&cli_export, "give the store, then the file to write");
    }
    int code = cli_check_output(arguments[optind + 1], arguments[optind]);
    if (code != CLI_OK) {
        return code;
    }
    code = cli_open(&common, arguments[optind], true, true, &db);
    if (code != CLI_OK) {
        return code;
    }
    uint8_t *bytes;
    uint64_t size_bytes;
    struct velta_progress progress = cli_progress(&common, "exporting");
    enum velta_status status = velta_export(db, &bytes, &size_bytes, &progress, &error);
    cli_progress_end();
    if (status) {
        code = cli_status(&error, "exporting");
    } else {
        code = cli_write_file(arguments[optind + 1], bytes, size_bytes);
        velta_export_free(db, bytes, size_bytes);
        if (code == CLI_OK) {
            cli_note(&common, "%s: %.2f MB", arguments[optind + 1], (double)size_bytes / 1e6);
        }
    }
    return cli_close(db, code);
}

const struct cli_command cli_export = {"export", "write a store as one file", export_help, run_export};

/* ---- tag ---- */

static const char tag_help[] = "[OPTION]... NAME STORE\n\n"
                               "Names this moment, so that it can be read with --at tag:NAME and kept by 'velta "
                               "compact --keep-tag NAME'.\n\n" CLI_COMMON_HELP;

static int run_tag(int argument_count, char **arguments) {
    static const struct option options[] = {CLI_COMMON_OPTIONS};
    struct cli_common common = {0};
    struct velta_error error;
    velta *db;
    int letter;
    while ((letter = getopt_long(argument_count, arguments, CLI_COMMON_LETTERS, options, NULL)) >= 0) {
        int code = cli_common_option(&common, &cli_tag, letter);
        if (code >= 0) {
            return code;
        }
    }
    if (argument_count - optind != 2) {
        return cli_usage(&cli_tag, "give the name, then the store");
    }
    int code = cli_open(&common, arguments[optind + 1], false, true, &db);
    if (code == CLI_OK && velta_tag(db, arguments[optind], &error)) {
        code = cli_close(db, cli_status(&error, "tagging"));
    } else if (code == CLI_OK) {
        code = cli_close(db, CLI_OK);
    }
    return code;
}

const struct cli_command cli_tag = {"tag", "name this moment of a store", tag_help, run_tag};
