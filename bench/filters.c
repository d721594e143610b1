/*
 * How fast are filters over 10 M rows, beside the speed at which this machine reads memory?
 *
 * The same process reads as many bytes as the filter has to (a plain sum over a buffer of that size, compiled for this
 * machine) and runs the filter, in turns; each figure is the median of its turns, and the ratio is that of the two
 * medians. A filter that counts does not write; one that gives row numbers writes them as well.
 *
 * Prints one JSON line per question, then a table. Rows: argument 1, default 10,000,000.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core/filter.h"

enum { TURNS = 15, BATCH_ROWS = 100000, SECTIONS = 58, HUGE_PAGE_BYTES = 2 << 20 };

enum { ID, BUCKET, SIZE, RATIO, SECTION, NAME, COLUMNS };

static double now_s(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static void demand(enum velta_status status, const struct velta_error *error) {
    if (status == VELTA_OK) return;
    fprintf(stderr, "filters: %s\n", error->text);
    exit(1);
}

static void make_rows(struct table *table, uint32_t first, uint32_t count) {
    static int64_t id[BATCH_ROWS], bucket[BATCH_ROWS], size[BATCH_ROWS];
    static double ratio[BATCH_ROWS];
    static char section[BATCH_ROWS * 16], name[BATCH_ROWS * 16];
    static uint64_t section_offsets[BATCH_ROWS + 1], name_offsets[BATCH_ROWS + 1];
    struct velta_error error = {VELTA_OK, 0, ""};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t random = mix(first + i);
        id[i] = (int64_t)random;
        bucket[i] = (int64_t)(random % 100) - 50;
        size[i] = (int64_t)(random >> 20 & 0xFFFFF);
        ratio[i] = (double)(random >> 11) * 0x1p-53;
        section_offsets[i + 1] = section_offsets[i] + (uint64_t)snprintf(section + section_offsets[i], 16, "section%u",
                                                                         (unsigned)(random >> 33) % SECTIONS);
        name_offsets[i + 1] = name_offsets[i] + (uint64_t)snprintf(name + name_offsets[i], 16, "name%u",
                                                                   (unsigned)(random >> 40) % 100000);
    }
    struct column_values values[COLUMNS] = {
        [ID] = {.data = id},
        [BUCKET] = {.data = bucket},
        [SIZE] = {.data = size},
        [RATIO] = {.data = ratio},
        [SECTION] = {.data = section, .offsets = section_offsets},
        [NAME] = {.data = name, .offsets = name_offsets},
    };
    demand(table_reserve_append(table, values, count, &error), &error);
    table_apply_append(table, values, count);
}

static struct table *make_table(struct memory *memory, const struct simd_kernels *simd, uint32_t rows) {
    const struct velta_column columns[COLUMNS] = {
        {.name = "id", .type = VELTA_INT},         {.name = "bucket", .type = VELTA_INT},
        {.name = "size", .type = VELTA_INT},       {.name = "ratio", .type = VELTA_FLOAT},
        {.name = "section", .type = VELTA_STRING}, {.name = "name", .type = VELTA_STRING},
    };
    struct velta_error error = {VELTA_OK, 0, ""};
    struct table *table;
    demand(table_create(memory, simd, "rows", columns, COLUMNS, &table, &error), &error);
    for (uint32_t first = 0; first < rows; first += BATCH_ROWS)
        make_rows(table, first, rows - first < BATCH_ROWS ? rows - first : BATCH_ROWS);
    return table;
}

/* Reads everything once, in independent sums so that memory is the limit and not the additions. */
static uint64_t read_all(const uint64_t *words, size_t count) {
    uint64_t sums[32] = {0}, sum = 0;
    for (size_t i = 0; i + 32 <= count; i += 32)
        for (size_t j = 0; j < 32; j++)
            sums[j] += words[i + j];
    for (size_t j = 0; j < 32; j++)
        sum += sums[j];
    return sum;
}

static int compare_doubles(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

struct question {
    const char *what;
    const char *filter;
    unsigned bytes_per_row; /* what the columns hold */
    bool ids;
};

static void ask(struct table *table, const struct question *question, const uint64_t *buffer, uint32_t *ids,
                FILE *human) {
    double filter_s[TURNS], read_s[TURNS];
    size_t words = (size_t)table->row_count * question->bytes_per_row / 8;
    struct velta_error error = {VELTA_OK, 0, ""};
    struct filter *filter;
    uint64_t count = 0;
    volatile uint64_t sink = 0;
    demand(filter_compile(table, question->filter, strlen(question->filter), &filter, &error), &error);
    for (int turn = -1; turn < TURNS; turn++) { /* the first is to warm up */
        double start = now_s();
        sink = sink + read_all(buffer, words);
        double middle = now_s();
        if (question->ids)
            demand(filter_rows(filter, NULL, ids, table->row_count, &count, &error), &error);
        else
            demand(filter_count(filter, NULL, &count, &error), &error);
        double end = now_s();
        if (turn >= 0) {
            read_s[turn] = middle - start;
            filter_s[turn] = end - middle;
        }
    }
    double read = median(read_s, TURNS), took = median(filter_s, TURNS);
    double bytes = (double)words * 8;
    printf("{\"bench\":\"filters\",\"question\":\"%s\",\"filter\":\"%s\",\"rows\":%u,\"matches\":%llu,\"ms\":%.3f,"
           "\"million_rows_per_s\":%.0f,\"gb_per_s\":%.2f,\"read_gb_per_s\":%.2f,\"ratio_to_read\":%.3f,"
           "\"kernels\":\"%s\"}\n",
           question->what, question->filter, table->row_count, (unsigned long long)count, took * 1e3,
           table->row_count / took / 1e6, bytes / took / 1e9, bytes / read / 1e9, read / took, table->simd->name);
    fprintf(human, "%-34s %-44s %7.2f %9.0f %7.2f %7.2f %6.2f\n", question->what, question->filter, took * 1e3,
            table->row_count / took / 1e6, bytes / took / 1e9, bytes / read / 1e9, read / took);
    filter_destroy(filter);
}

int main(int argc, char **argv) {
    static const struct question questions[] = {
        {"count between, 1 byte a row", "bucket BETWEEN -10 AND 10", 1, false},
        {"count between, 4 bytes a row", "size BETWEEN 100000 AND 300000", 4, false},
        {"count between, 8 bytes a row", "id BETWEEN -1000000000000000000 AND 5", 8, false},
        {"count float range", "ratio >= 0.25 AND ratio < 0.5", 8, false},
        {"count equal, dictionary", "section = 'section7'", 1, false},
        {"count in list, dictionary", "section IN ('section1','section3','section5')", 1, false},
        {"count pattern, dictionary", "name LIKE '%77%'", 4, false},
        {"count of two columns", "section = 'section7' AND size < 500000", 5, false},
        {"row numbers at 1 %, 1 byte", "bucket = 7", 1, true},
        {"row numbers at 1 %, 4 bytes", "size < 10486", 4, true},
        {"row numbers at 1 %, dictionary and int", "section = 'section7' AND bucket < 8", 2, true},
    };
    uint32_t rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 10000000;
    const struct simd_kernels *simd = simd_select(getenv("VELTA_SIMD"));
    struct memory *memory = memory_create(NULL, UINT64_C(4) << 30);
    size_t buffer_bytes = ((size_t)rows * 8 + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    uint64_t *buffer = aligned_alloc(HUGE_PAGE_BYTES, buffer_bytes);
    uint32_t *ids = malloc((size_t)rows * sizeof *ids);
    char *table_text = NULL;
    size_t table_bytes = 0;
    FILE *human = open_memstream(&table_text, &table_bytes);
    if (rows < 1000 || !simd || !memory || !buffer || !ids || !human) {
        fprintf(stderr, "filters: no memory, an unknown VELTA_SIMD, or fewer than 1,000 rows\n");
        return 1;
    }
    madvise(buffer, buffer_bytes, MADV_HUGEPAGE); /* as the columns have them, or the reading would look slower */
    memset(buffer, 1, buffer_bytes);
    memset(ids, 0, (size_t)rows * sizeof *ids);
    struct table *table = make_table(memory, simd, rows);
    fprintf(human, "%-34s %-44s %7s %9s %7s %7s %6s\n", "question", "filter", "ms", "M rows/s", "GB/s", "read",
            "ratio");
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++)
        ask(table, &questions[i], buffer, ids, human);
    fclose(human);
    fputs(table_text, stdout);
    free(table_text);
    table_destroy(table);
    memory_destroy(memory);
    free(buffer);
    free(ids);
    return 0;
}
