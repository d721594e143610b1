/*
 * What the files of the command share: messages, exit codes, options of every sub-command, progress, times.
 *
 * The command uses nothing but the public velta.h. Messages go to stderr, answers to stdout. Exit codes: 0 done,
 * 1 failed, 2 the command line is wrong, 3 salvaged with losses, 130 interrupted.
 */
#ifndef VELTA_CLI_CLI_H
#define VELTA_CLI_CLI_H

#include <getopt.h>

#include "store/velta.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_LOST = 3, CLI_INTERRUPTED = 130 };

struct cli_command {
    const char *name;
    const char *summary;
    const char *help;
    int (*run)(int argument_count, char **arguments);
};
extern const struct cli_command cli_import, cli_search, cli_apply, cli_inspect, cli_verify, cli_compact, cli_export,
    cli_tag, cli_bench, cli_salvage;

/* Options that every sub-command takes; filled by cli_common_option. */
struct cli_common {
    uint64_t memory_bytes;
    uint32_t threads;
    const char *simd;
    bool quiet;
    bool json;
};
#define CLI_COMMON_LETTERS "qjh"
/* clang-format off */
#define CLI_COMMON_OPTIONS                                                                                             \
    {"memory", required_argument, NULL, 'Y'}, {"threads", required_argument, NULL, 'T'},                               \
    {"simd", required_argument, NULL, 'S'}, {"quiet", no_argument, NULL, 'q'}, {"json", no_argument, NULL, 'j'},       \
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}
/* clang-format on */
#define CLI_COMMON_HELP                                                                                                \
    "  --memory SIZE     memory budget, e.g. 512M or 4G (default 8G)\n"                                                \
    "  --threads N       threads for linking the index (default: one per processor)\n"                                 \
    "  --simd NAME       force an instruction set: scalar, avx2, avx512\n"                                             \
    "  -q, --quiet       no progress and no summary\n"                                                                 \
    "  -h, --help        this text\n"

/*
 * Handles a letter of CLI_COMMON_OPTIONS. Returns -1 when the caller should go on, else the exit code to leave with
 * (0 after --help; 2 after an unknown option or a bad value).
 */
int cli_common_option(struct cli_common *common, const struct cli_command *command, int letter);

/* Names the sub-command in messages and turns the first Ctrl-C into a cancellation, the second into an exit. */
char *cli_begin(const char *name); /* returns what messages start with: "velta import" */
/* "velta import: ..." on stderr; returns code. */
int cli_fail(int code, const char *format, ...) VELTA_PRINTF(2, 3);
void cli_note(const struct cli_common *common, const char *format, ...)
    VELTA_PRINTF(2, 3); /* on a terminal, unless quiet */
int cli_usage(const struct cli_command *command, const char *format, ...) VELTA_PRINTF(2, 3);
/* The failure of a velta call: "doing: sentence"; CANCELLED becomes CLI_INTERRUPTED. */
int cli_status(const struct velta_error *error, const char *doing);
/* The same for a call that took a filter (may be NULL): shows the place in it, where that is what failed. */
int cli_filter_status(const struct velta_error *error, const char *doing, const char *filter);

struct velta_options cli_options(const struct cli_common *common);
/* After a failure because of damage: says on stderr what can be done. */
void cli_hint_salvage(const char *path, enum velta_status status);
/* Opens with what the common options say. Prints its own failure. */
int cli_open(const struct cli_common *common, const char *path, bool read_only, bool must_exist, velta **db);
/* The table named, or the only one when name is NULL. */
int cli_table(velta *db, const char *name, velta_table **table);
/* Closes, and turns a failure of the last flush into the exit code. */
int cli_close(velta *db, int code);

/* A progress bar on a terminal's stderr, nothing elsewhere; false after Ctrl-C. One at a time. */
struct velta_progress cli_progress(const struct cli_common *common, const char *label);
void cli_progress_end(void);
bool cli_interrupted(void);

/*
 * Refuses to write an answer over a store: the one it comes from, or any that has its log beside it. Prints its own
 * failure.
 */
int cli_check_output(const char *path, const char *store_path);

/* Writes a file whole or not at all. Prints its own failure. */
int cli_write_file(const char *path, const uint8_t *bytes, uint64_t size_bytes);

/* "512M", "4G", "65536". */
bool cli_parse_size(const char *text, uint64_t *size_bytes);
bool cli_parse_count(const char *text, uint64_t max, uint64_t *count);
/* Milliseconds, or 2026-11-21, 2026-11-21T03:04:05.678Z. */
bool cli_parse_time(const char *text, size_t size_bytes, int64_t *time_ms);
/* The same, or "tag:NAME". Prints its own failure. */
int cli_moment(velta *db, const char *text, int64_t *time_ms);
void cli_format_time(int64_t time_ms, char out[32]);
const char *cli_type_name(const struct velta_column *column, char out[64]);

/* Memory of the command itself; ends the process with a message when there is none. */
void *cli_allocate(size_t size_bytes);
void *cli_resize(void *block, size_t size_bytes);
char *cli_copy(const char *text, size_t size_bytes);

#endif
