/* Messages, progress, interruption, opening a store, and reading sizes and times from the command line. */
#define _POSIX_C_SOURCE 200809L /* sigaction, isatty */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static const char *running = "velta"; /* name of the sub-command, for messages */
static volatile sig_atomic_t interrupted;

/* ---- messages ---- */

int cli_fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    cli_progress_end();
    fprintf(stderr, "%s: ", running);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return code;
}

void cli_note(const struct cli_common *common, const char *format, ...) {
    if (!common->quiet && isatty(STDERR_FILENO)) {
        va_list arguments;
        va_start(arguments, format);
        cli_progress_end();
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
    }
}

int cli_usage(const struct cli_command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "velta %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n'velta %s --help' tells the options\n", command->name);
    va_end(arguments);
    return CLI_USAGE;
}

int cli_status(const struct velta_error *error, const char *doing) {
    if (error->code == VELTA_CANCELLED) {
        return cli_fail(CLI_INTERRUPTED, "interrupted while %s", doing);
    }
    return cli_fail(CLI_FAILED, "%s: %s", doing, error->text[0] ? error->text : velta_status_sentence(error->code));
}

int cli_filter_status(const struct velta_error *error, const char *doing, const char *filter) {
    bool about_text = error->code == VELTA_SYNTAX || error->code == VELTA_UNKNOWN_COLUMN || error->code == VELTA_TYPE;
    if (!filter || !about_text || error->offset > strlen(filter)) {
        return cli_status(error, doing);
    }
    int code = cli_fail(CLI_FAILED, "the filter, at byte %llu: %s", (unsigned long long)error->offset, error->text);
    if (strlen(filter) < 200 && !strpbrk(filter, "\n\t")) {
        int columns = 0; /* characters before the place, not bytes */
        for (size_t i = 0; i < error->offset; i++) {
            columns += (filter[i] & 0xC0) != 0x80;
        }
        fprintf(stderr, "  %s\n  %*s^\n", filter, columns, "");
    }
    return code;
}

/* ---- memory ---- */

void *cli_allocate(size_t size_bytes) {
    return cli_resize(NULL, size_bytes);
}

void *cli_resize(void *block, size_t size_bytes) {
    void *moved = realloc(block, size_bytes > 0 ? size_bytes : 1);
    if (!moved) {
        exit(cli_fail(CLI_FAILED, "out of memory (%zu bytes wanted)", size_bytes));
    }
    return moved;
}

char *cli_copy(const char *text, size_t size_bytes) {
    char *copy = cli_allocate(size_bytes + 1);
    memcpy(copy, text, size_bytes);
    copy[size_bytes] = '\0';
    return copy;
}

/* ---- progress and interruption ---- */

static struct {
    const char *label;
    bool shown;
    int percent;
} bar;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    if (interrupted) {
        _exit(CLI_INTERRUPTED); /* the second time, at once: the store survives that */
    }
    interrupted = 1;
}

bool cli_interrupted(void) {
    return interrupted != 0;
}

static bool report(void *context, uint64_t done, uint64_t total) {
    enum { WIDTH = 30 };
    if (context && total > 0) {
        int percent = (int)(done * 100 / total);
        if (!bar.shown || percent != bar.percent) {
            int filled = percent * WIDTH / 100;
            fprintf(stderr, "\r%-12s [%.*s%*s] %3d %%", bar.label, filled, "##############################",
                    WIDTH - filled, "", percent);
            bar.shown = true;
            bar.percent = percent;
        }
    }
    return !interrupted;
}

struct velta_progress cli_progress(const struct cli_common *common, const char *label) {
    cli_progress_end();
    bar.label = label;
    bool show = !common->quiet && isatty(STDERR_FILENO);
    return (struct velta_progress){.report = report, .context = show ? &bar : NULL};
}

void cli_progress_end(void) {
    if (bar.shown) {
        fputs("\r\033[K", stderr);
        bar.shown = false;
    }
}

/* ---- options ---- */

int cli_common_option(struct cli_common *common, const struct cli_command *command, int letter) {
    uint64_t count;
    switch (letter) {
    case 'Y':
        if (!cli_parse_size(optarg, &common->memory_bytes)) {
            return cli_usage(command, "--memory wants a size such as 512M or 4G, not '%s'", optarg);
        }
        return -1;
    case 'T':
        if (!cli_parse_count(optarg, 256, &count)) {
            return cli_usage(command, "--threads wants a number from 1 to 256, not '%s'", optarg);
        }
        common->threads = (uint32_t)count;
        return -1;
    case 'S':
        common->simd = optarg;
        return -1;
    case 'q':
        common->quiet = true;
        return -1;
    case 'j':
        common->json = true;
        return -1;
    case 'h':
        printf("usage: velta %s %s", command->name, command->help);
        return CLI_OK;
    default: /* getopt has said what is wrong */
        fprintf(stderr, "'velta %s --help' tells the options\n", command->name);
        return CLI_USAGE;
    }
}

bool cli_parse_count(const char *text, uint64_t max, uint64_t *count) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value == 0 || value > max) {
        return false;
    }
    *count = value;
    return true;
}

bool cli_parse_size(const char *text, uint64_t *size_bytes) {
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    unsigned shift = 0;
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
    }
    if (text[0] < '0' || text[0] > '9' || *end || errno || value == 0 || value > UINT64_MAX >> shift) {
        return false;
    }
    *size_bytes = (uint64_t)value << shift;
    return true;
}

/* ---- times ---- */

static bool digits(const char **at, const char *end, int count, int *value) {
    *value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (*at == end || **at < '0' || **at > '9') {
            return false;
        }
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool take(const char **at, const char *end, char wanted) {
    if (*at == end || **at != wanted) {
        return false;
    }
    (*at)++;
    return true;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_from_civil(int year, int month, int day) {
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static bool parse_clock(const char **at, const char *end, int64_t *ms) {
    int hour;
    int minute;
    int second = 0;
    int fraction = 0;
    if (!digits(at, end, 2, &hour) || !take(at, end, ':') || !digits(at, end, 2, &minute)) {
        return false;
    }
    if (take(at, end, ':') && !digits(at, end, 2, &second)) {
        return false;
    }
    if (take(at, end, '.')) {
        int scale = 100;
        while (*at < end && **at >= '0' && **at <= '9') {
            fraction += scale * (*(*at)++ - '0');
            scale /= 10;
        }
    }
    (void)take(at, end, 'Z');
    *ms = ((hour * INT64_C(60) + minute) * 60 + second) * 1000 + fraction;
    return hour < 24 && minute < 60 && second < 61;
}

bool cli_parse_time(const char *text, size_t size_bytes, int64_t *time_ms) {
    const char *at = text;
    const char *end = text + size_bytes;
    int year;
    int month;
    int day;
    int64_t clock_ms = 0;
    if (size_bytes > 0 && size_bytes < 20 && strspn(text, "0123456789") >= size_bytes) {
        *time_ms = strtoll(text, NULL, 10);
        return true;
    }
    if (!digits(&at, end, 4, &year) || !take(&at, end, '-') || !digits(&at, end, 2, &month) || !take(&at, end, '-') ||
        !digits(&at, end, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31) {
        return false;
    }
    if (at < end && (!(take(&at, end, 'T') || take(&at, end, ' ')) || !parse_clock(&at, end, &clock_ms))) {
        return false;
    }
    *time_ms = days_from_civil(year, month, day) * INT64_C(86400000) + clock_ms;
    return at == end;
}

int cli_moment(velta *db, const char *text, int64_t *time_ms) {
    struct velta_error error;
    if (strncmp(text, "tag:", 4) == 0) {
        return velta_tag_time(db, text + 4, time_ms, &error) ? cli_status(&error, "reading the tag") : CLI_OK;
    }
    if (!cli_parse_time(text, strlen(text), time_ms)) {
        return cli_fail(CLI_USAGE, "'%s' is no time: give milliseconds, 2026-11-21T03:04:05Z, or tag:NAME", text);
    }
    return CLI_OK;
}

void cli_format_time(int64_t time_ms, char out[32]) {
    int64_t day_ms = INT64_C(86400000);
    int64_t days = time_ms >= 0 ? time_ms / day_ms : -((-time_ms + day_ms - 1) / day_ms);
    int64_t clock = time_ms - days * day_ms;
    int64_t z = days + 719468; /* the inverse of days_from_civil */
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    int month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    int year = (int)(year_of_era + era * 400 + (month <= 2));
    snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year % 10000, month,
             (int)(day_of_year - (153 * shifted + 2) / 5 + 1), (int)(clock / 3600000), (int)(clock / 60000 % 60),
             (int)(clock / 1000 % 60), (int)(clock % 1000));
}

/* ---- stores ---- */

struct velta_options cli_options(const struct cli_common *common) {
    return (struct velta_options){
        .memory_budget_bytes = common->memory_bytes ? common->memory_bytes : UINT64_C(8) << 30,
        .thread_count = common->threads,
        .simd = common->simd,
    };
}

void cli_hint_salvage(const char *path, enum velta_status status) {
    if (status == VELTA_CORRUPT) {
        fprintf(stderr, "'velta salvage %s FILE' writes what is whole to a new file, and lists what is lost\n", path);
    }
}

int cli_open(const struct cli_common *common, const char *path, bool read_only, bool must_exist, velta **db) {
    struct velta_error error;
    struct velta_options options = cli_options(common);
    options.read_only = read_only;
    options.must_exist = must_exist;
    options.progress = cli_progress(common, "opening");
    enum velta_status status = velta_open(path, &options, db, &error);
    cli_progress_end();
    if (status) {
        if (status == VELTA_NOT_FOUND) {
            return cli_fail(CLI_FAILED, "there is no store '%s'; 'velta import' makes one", path);
        }
        int code = cli_fail(status == VELTA_CANCELLED ? CLI_INTERRUPTED : CLI_FAILED, "%s: %s", path, error.text);
        cli_hint_salvage(path, status);
        return code;
    }
    return CLI_OK;
}

int cli_table(velta *db, const char *name, velta_table **table) {
    struct velta_error error;
    if (name) {
        if (velta_table_find(db, name, table, &error)) {
            velta_table *other = velta_table_at(db, 0);
            return other ? cli_fail(CLI_FAILED, "the store has no table '%s'; it has '%s'%s", name,
                                    velta_table_name(other), velta_table_at(db, 1) ? " and others" : "")
                         : cli_fail(CLI_FAILED, "the store has no table '%s'; it is empty", name);
        }
        return CLI_OK;
    }
    *table = velta_table_at(db, 0);
    if (!*table || velta_table_at(db, 1)) {
        return cli_fail(CLI_USAGE, *table ? "the store has several tables: name one with --table"
                                          : "the store has no tables yet; 'velta import' makes one");
    }
    return CLI_OK;
}

int cli_close(velta *db, int code) {
    struct velta_error error;
    if (velta_close(db, &error) && code == CLI_OK) {
        return cli_status(&error, "closing the store");
    }
    return code;
}

int cli_check_output(const char *path, const char *store_path) {
    struct stat out;
    struct stat store;
    size_t length = strlen(path);
    if (stat(path, &out) != 0) {
        return CLI_OK;
    }
    if (stat(store_path, &store) == 0 && out.st_dev == store.st_dev && out.st_ino == store.st_ino) {
        return cli_fail(CLI_FAILED, "%s is the store itself: write to another file", path);
    }
    char *log = cli_allocate(length + 5);
    memcpy(log, path, length);
    memcpy(log + length, "-log", 5);
    bool has_log = access(log, F_OK) == 0;
    free(log);
    return has_log ? cli_fail(CLI_FAILED, "%s is a store with a log beside it: write to another file", path) : CLI_OK;
}

int cli_write_file(const char *path, const uint8_t *bytes, uint64_t size_bytes) {
    size_t length = strlen(path);
    char *beside = cli_allocate(length + 5);
    memcpy(beside, path, length);
    memcpy(beside + length, ".tmp", 5);
    FILE *file = fopen(beside, "wb");
    bool written = file && fwrite(bytes, 1, (size_t)size_bytes, file) == size_bytes;
    written = file && fclose(file) == 0 && written && rename(beside, path) == 0;
    int code = written ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
    if (!written) {
        remove(beside);
    }
    free(beside);
    return code;
}

const char *cli_type_name(const struct velta_column *column, char out[64]) {
    static const char *const names[] = {"?", "int", "float", "bool", "string", "timestamp", "bytes", "vector"};
    static const char *const elements[] = {"f32", "f16", "codes"};
    static const char *const metrics[] = {"cosine", "l2", "dot"};
    if (column->type == VELTA_VECTOR) {
        snprintf(out, 64, "vector(%u, %s, %s)", column->dimensions, elements[column->element], metrics[column->metric]);
    } else {
        snprintf(out, 64, "%s", names[column->type]);
    }
    return out;
}

char *cli_begin(const char *name) {
    static char label[64];
    snprintf(label, sizeof label, "velta %s", name);
    running = label;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_DFL);
    return label;
}
