/*
 * What one kernel call costs, for each instruction set that runs here.
 *
 * Distances: nanoseconds per row, for rows in cache and for rows picked at random from 64 MB, handed over 16 at a time
 * as graph search does. Filters and the like: GB/s of column read, over 64 MB, beside plain reading of the same memory;
 * and over 64 KB, in cache. The sets take turns in one process, and the least of several rounds counts, so that what
 * else the machine does touches all alike. `--json` prints one JSON array instead of the table.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simd/simd.h"

enum { SETS_LIMIT = 8, ROUNDS = 7, BATCH_ROWS = 16, NEAR_ROWS = 64, TALL_BYTES = 1 << 26, SMALL_BYTES = 1 << 16 };

struct bench {
    uint8_t *memory; /* TALL_BYTES, page aligned; see fill */
    uint64_t *bits;
    uint32_t *ids;
    float *query;
    int8_t *byte_query;
    uint32_t *order; /* random row numbers */
    size_t n;        /* dimensions or elements */
    size_t row_bytes;
    size_t rows;
    uint64_t sink;
    bool json;
    bool first;
};

typedef void bench_body(struct bench *bench, const struct simd_kernels *set);

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void *allocate(size_t size_bytes) {
    void *memory = NULL;
    if (posix_memalign(&memory, 4096, size_bytes) != 0) {
        fputs("micro_simd: not enough memory\n", stderr);
        exit(1);
    }
    memset(memory, 0, size_bytes);
    return memory;
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The least time of a call for each set, in ns; sets take turns. */
static unsigned measure(struct bench *bench, bench_body *body, double *least) {
    const struct simd_kernels *set;
    unsigned count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (count = 0; count < SETS_LIMIT && (set = simd_available(count)) != NULL; count++) {
            double start = now_ns();
            size_t calls = 0;
            double elapsed;
            do {
                body(bench, set);
                calls++;
                elapsed = now_ns() - start;
            } while (elapsed < 3e6);
            double each = elapsed / (double)calls;
            if (round == 0 || each < least[count]) least[count] = each;
        }
    }
    return count;
}

/* `per_call` converts the time of a call into the figure: ns / per_call, or per_call / ns. */
static void report(struct bench *bench, const char *name, const char *unit, bool rate, double per_call,
                   bench_body *body) {
    double least[SETS_LIMIT];
    unsigned count = measure(bench, body, least);
    if (!bench->json) printf("%-44s", name);
    for (unsigned i = 0; i < count; i++) {
        double figure = rate ? per_call / least[i] : least[i] / per_call;
        if (bench->json)
            printf("%s{\"kernel\":\"%s\",\"set\":\"%s\",\"unit\":\"%s\",\"value\":%.3f}", bench->first ? "" : ",\n",
                   name, simd_available(i)->name, unit, figure);
        else
            printf("%10.2f", figure);
        bench->first = false;
    }
    if (!bench->json) printf("  %s\n", unit);
    fflush(stdout);
}

/* Runs over the random order in batches; a block per row, `row_bytes` apart. */
#define ROWS_BODY(NAME, ROW, QUERY, RESULT)                                                                            \
    static void body_##NAME(struct bench *bench, const struct simd_kernels *set) {                                     \
        const ROW *rows[BATCH_ROWS];                                                                                   \
        RESULT out[BATCH_ROWS];                                                                                        \
        for (size_t i = 0; i + BATCH_ROWS <= bench->rows; i += BATCH_ROWS) {                                           \
            for (size_t j = 0; j < BATCH_ROWS; j++)                                                                    \
                rows[j] = (const ROW *)(const void *)(bench->memory + bench->order[i + j] * bench->row_bytes);         \
            set->NAME(bench->QUERY, rows, BATCH_ROWS, bench->n, out);                                                  \
            bench->sink += out[0] > 0;                                                                                 \
        }                                                                                                              \
    }
ROWS_BODY(dot_codes_rows, uint8_t, byte_query, int32_t)
ROWS_BODY(dot_f32_rows, float, query, float)
ROWS_BODY(l2_f32_rows, float, query, float)
ROWS_BODY(dot_f16_rows, uint16_t, query, float)

static void body_dot_codes_one(struct bench *bench, const struct simd_kernels *set) {
    for (size_t i = 0; i < bench->rows; i++)
        bench->sink += (uint64_t)set->dot_codes(bench->byte_query, bench->memory + i * bench->row_bytes, bench->n);
}

static void body_dot_f32_one(struct bench *bench, const struct simd_kernels *set) {
    for (size_t i = 0; i < bench->rows; i++)
        bench->sink += set->dot_f32(bench->query, (const float *)(const void *)(bench->memory + i * bench->row_bytes),
                                    bench->n) > 0.0F;
}

static void body_encode(struct bench *bench, const struct simd_kernels *set) {
    uint8_t codes[4096];
    for (size_t i = 0; i < bench->rows; i++)
        set->encode_codes(bench->query, bench->n, -1.0F, 60.0F, codes);
    bench->sink += codes[0];
}

/* Reading alone, the bound for what follows: eight independent sums. */
static void body_read(struct bench *bench, const struct simd_kernels *set) {
    (void)set;
    const uint64_t *v = (const uint64_t *)(const void *)bench->memory;
    uint64_t sums[8] = {0};
    for (size_t i = 0; i + 8 <= bench->n; i += 8)
        for (size_t j = 0; j < 8; j++)
            sums[j] += v[i + j];
    for (size_t j = 0; j < 8; j++)
        bench->sink += sums[j];
}

#define RANGE_BODY(SUFFIX, TYPE, LO, HI)                                                                               \
    static void body_range_##SUFFIX(struct bench *bench, const struct simd_kernels *set) {                             \
        set->range_##SUFFIX((const TYPE *)(const void *)bench->memory, bench->n, LO, HI, bench->bits);                 \
    }
#define COUNT_BODY(SUFFIX, TYPE, LO, HI)                                                                               \
    static void body_count_##SUFFIX(struct bench *bench, const struct simd_kernels *set) {                             \
        bench->sink += set->count_range_##SUFFIX((const TYPE *)(const void *)bench->memory, bench->n, LO, HI, NULL);   \
    }
RANGE_BODY(i8, int8_t, 3, 17)
RANGE_BODY(i16, int16_t, 300, 9000)
RANGE_BODY(i32, int32_t, 1 << 20, 1 << 27)
RANGE_BODY(i64, int64_t, (int64_t)1 << 50, (int64_t)1 << 61)
RANGE_BODY(f32, float, 0.0F, 1.0F)
RANGE_BODY(f64, double, 0.0, 1.0)
COUNT_BODY(i8, int8_t, 3, 17)
COUNT_BODY(i32, int32_t, 1 << 20, 1 << 27)
COUNT_BODY(i64, int64_t, (int64_t)1 << 50, (int64_t)1 << 61)
COUNT_BODY(f64, double, 0.0, 1.0)

#define MEMBER_BODY(NAME, SUFFIX, TYPE, SET_SIZE)                                                                      \
    static void body_member_##NAME(struct bench *bench, const struct simd_kernels *set) {                              \
        set->member_##SUFFIX((const TYPE *)(const void *)bench->memory, bench->n,                                      \
                             (const uint64_t *)(const void *)bench->memory, SET_SIZE, bench->bits);                    \
    }
MEMBER_BODY(i8, i8, int8_t, 100)
MEMBER_BODY(i16_small, i16, int16_t, 200)
MEMBER_BODY(i16_large, i16, int16_t, 30000)
MEMBER_BODY(i32_large, i32, int32_t, (uint32_t)1 << 28)

static void body_ids(struct bench *bench, const struct simd_kernels *set) {
    bench->sink += set->bits_to_ids(bench->bits, bench->n / 64, 0, bench->ids);
}

static void body_bits_count(struct bench *bench, const struct simd_kernels *set) {
    bench->sink += set->bits_count((const uint64_t *)(const void *)bench->memory, bench->n);
}

static void body_bits_and(struct bench *bench, const struct simd_kernels *set) {
    set->bits_and(bench->bits, (const uint64_t *)(const void *)bench->memory, bench->bits, bench->n);
}

/* Values as each kernel meets them: 7-bit bytes, or floats or halves of size 0.25 to 2, both signs, none special. */
static void fill(struct bench *bench, size_t element_bytes) {
    uint64_t state = 42;
    for (size_t i = 0; i < TALL_BYTES; i += 8) {
        uint64_t bits = next_random(&state);
        if (element_bytes == 1)
            bits &= 0x7f7f7f7f7f7f7f7f;
        else if (element_bytes == 2)
            bits = (bits & 0x87ff87ff87ff87ff) + 0x3400340034003400;
        else
            bits = (bits & 0x80ffffff80ffffff) + 0x3e8000003e800000;
        memcpy(bench->memory + i, &bits, sizeof bits);
    }
}

static void shuffle_rows(struct bench *bench, size_t rows_in_memory) {
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < bench->rows; i++)
        bench->order[i] = (uint32_t)(next_random(&state) % rows_in_memory);
}

static void report_rows(struct bench *bench, const char *kernel, size_t element_bytes, size_t n, bench_body *body) {
    char name[80];
    bench->n = n;
    bench->row_bytes = n * element_bytes;
    fill(bench, element_bytes);
    for (int far = 0; far < 2; far++) {
        size_t rows_in_memory = far != 0 ? TALL_BYTES / bench->row_bytes : NEAR_ROWS;
        bench->rows = far != 0 ? 1 << 15 : 1 << 10;
        shuffle_rows(bench, rows_in_memory);
        snprintf(name, sizeof name, "%s, %zu dims, %s", kernel, n, far != 0 ? "random in 64 MB" : "in cache");
        report(bench, name, "ns/row", false, (double)bench->rows, body);
    }
}

static void report_column(struct bench *bench, const char *kernel, size_t element_bytes, bench_body *body) {
    char name[80];
    for (int tall = 1; tall >= 0; tall--) {
        size_t size_bytes = tall != 0 ? TALL_BYTES : SMALL_BYTES;
        bench->n = size_bytes / element_bytes;
        snprintf(name, sizeof name, "%s, %s", kernel, tall != 0 ? "64 MB" : "64 KB");
        report(bench, name, "GB/s", true, (double)size_bytes, body);
    }
}

static void report_distances(struct bench *bench) {
    static const size_t dimensions[] = {256, 384, 768};
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++) {
        char name[80];
        report_rows(bench, "dot_codes_rows", 1, dimensions[i], body_dot_codes_rows);
        bench->rows = NEAR_ROWS;
        snprintf(name, sizeof name, "dot_codes, %zu dims, in cache", bench->n);
        report(bench, name, "ns/row", false, NEAR_ROWS, body_dot_codes_one);
        report_rows(bench, "dot_f16_rows", 2, dimensions[i], body_dot_f16_rows);
        report_rows(bench, "dot_f32_rows", 4, dimensions[i], body_dot_f32_rows);
        report_rows(bench, "l2_f32_rows", 4, dimensions[i], body_l2_f32_rows);
        bench->rows = NEAR_ROWS;
        snprintf(name, sizeof name, "dot_f32, %zu dims, in cache", bench->n);
        report(bench, name, "ns/row", false, NEAR_ROWS, body_dot_f32_one);
        snprintf(name, sizeof name, "encode_codes, %zu dims", bench->n);
        report(bench, name, "ns/row", false, NEAR_ROWS, body_encode);
    }
}

static void report_ids(struct bench *bench) {
    static const unsigned per_ten_thousand[] = {10, 100, 1000, 5000};
    uint64_t state = 1234567;
    for (size_t i = 0; i < sizeof per_ten_thousand / sizeof per_ten_thousand[0]; i++) {
        char name[80];
        bench->n = 1 << 20;
        for (size_t word = 0; word < bench->n / 64; word++) {
            bench->bits[word] = 0;
            for (unsigned bit = 0; bit < 64; bit++)
                bench->bits[word] |= (uint64_t)(next_random(&state) % 10000 < per_ten_thousand[i]) << bit;
        }
        snprintf(name, sizeof name, "bits_to_ids, %.1f %% of bits", per_ten_thousand[i] / 100.0);
        report(bench, name, "G rows/s", true, (double)bench->n, body_ids);
    }
}

static void report_columns(struct bench *bench) {
    fill(bench, 1);
    report_column(bench, "reading alone", 8, body_read);
    report_column(bench, "range_i8", 1, body_range_i8);
    report_column(bench, "range_i16", 2, body_range_i16);
    report_column(bench, "range_i32", 4, body_range_i32);
    report_column(bench, "range_i64", 8, body_range_i64);
    report_column(bench, "range_f32", 4, body_range_f32);
    report_column(bench, "range_f64", 8, body_range_f64);
    report_column(bench, "count_range_i8", 1, body_count_i8);
    report_column(bench, "count_range_i32", 4, body_count_i32);
    report_column(bench, "count_range_i64", 8, body_count_i64);
    report_column(bench, "count_range_f64", 8, body_count_f64);
    report_column(bench, "member_i8, 100 codes", 1, body_member_i8);
    report_column(bench, "member_i16, 200 codes", 2, body_member_i16_small);
    report_column(bench, "member_i16, 30,000 codes", 2, body_member_i16_large);
    report_column(bench, "member_i32, 2^28 codes", 4, body_member_i32_large);
    report_column(bench, "bits_count", 8, body_bits_count);
    report_column(bench, "bits_and", 8, body_bits_and);
}

int main(int argc, char **argv) {
    struct bench bench = {.json = argc > 1 && strcmp(argv[1], "--json") == 0, .first = true};
    bench.memory = allocate(TALL_BYTES);
    bench.bits = allocate(TALL_BYTES);
    bench.ids = allocate(TALL_BYTES);
    bench.query = allocate(4096 * sizeof *bench.query);
    bench.byte_query = allocate(4096);
    bench.order = allocate(((size_t)1 << 15) * sizeof *bench.order);
    uint64_t state = 42;
    for (size_t i = 0; i < 4096; i++) {
        bench.query[i] = (float)(next_random(&state) % 1000) / 1000.0F - 0.5F;
        bench.byte_query[i] = (int8_t)(next_random(&state) % 255 - 127);
    }
    if (bench.json) {
        putchar('[');
    } else {
        printf("%-44s", "");
        for (unsigned i = 0; simd_available(i) != NULL; i++)
            printf("%10s", simd_available(i)->name);
        putchar('\n');
    }
    report_distances(&bench);
    report_ids(&bench);
    report_columns(&bench);
    if (bench.json) puts("]");
    free(bench.memory);
    free(bench.bits);
    free(bench.ids);
    free(bench.query);
    free(bench.byte_query);
    free(bench.order);
    return bench.sink == 1 ? 1 : 0; /* used, so that no call is left out */
}
