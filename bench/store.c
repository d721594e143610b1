/*
 * What does the store cost, through its public interface: deltas, reads, the log, images, memory, and recall as
 * vectors move?
 *
 * Data: 100,000 unit vectors of 384 dimensions made here (seeded points around cluster centres in a latent space of 32
 * dimensions, spread by a random matrix), and debpkg, 61,436 x 256 from $VELTA_DATA or ../shared/data/debpkg. Tables
 * have an int primary key, by which deltas name their rows, and an index whose rows are all linked.
 *
 * Times are this process's processor time, system calls included, because others may share the machine; where a disk
 * is waited for (strict), wall time. Every figure is the median of turns; questions that are compared take turns with
 * each other. Bytes written are those that the kernel counted for this process (/proc/self/io).
 *
 * Of each row the ratio says how far from the target: at most 1 is met, whichever way the unit goes.
 *
 * usage: store [RESULT.json [deltas|images|memory|recall]]. Files are made in $TMPDIR or /tmp and removed.
 */
#define _GNU_SOURCE

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "store/velta.h"

enum {
    ROWS = 100000,
    DIMENSIONS = 384,
    LATENT = 32,
    CLUSTERS = 1000,
    TURNS = 15,
    SPARSE_COUNT = 19, /* 5 % of 384 */
    BATCH_DELTAS = 100,
    INSERT_ROWS = 4096,
    NEIGHBOURS = 10,
    EF = 64,
};

/* ---- small services */

static double clock_s(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double cpu_s(void) {
    return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

static double wall_s(void) {
    return clock_s(CLOCK_MONOTONIC);
}

static struct velta_error failure;

static void demand(enum velta_status status) {
    if (status == VELTA_OK) return;
    fprintf(stderr, "store: %s: %s\n", velta_status_name(status), failure.text);
    exit(1);
}

static void *allocate(size_t size_bytes) {
    void *memory = malloc(size_bytes);
    if (memory) return memory;
    fprintf(stderr, "store: no memory\n");
    exit(1);
}

static int compare_doubles(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

/*
 * splitmix64 (Steele, Lea, Flood, 2014). A Gaussian is the sum of twelve uniforms, centred, one of them of 64 bits so
 * that every bit of the float is random: no log can shrink it by luck.
 */
static uint64_t random_state = 20261121;

static uint64_t random_bits(void) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint32_t random_below(uint32_t limit) {
    return (uint32_t)((random_bits() >> 32) * limit >> 32);
}

static float gaussian(void) {
    double sum = (double)random_bits() * 0x1p-64 - 6;
    for (int i = 0; i < 3; i++) {
        uint64_t bits = random_bits();
        sum +=
            (double)((bits & 65535) + (bits >> 16 & 65535) + (bits >> 32 & 65535) + (i < 2 ? bits >> 48 : 0)) * 0x1p-16;
    }
    return (float)sum;
}

/* Bytes that this process has given to write calls so far. */
static uint64_t written_bytes(void) {
    unsigned long long bytes = 0;
    char line[128];
    FILE *file = fopen("/proc/self/io", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "wchar: %llu", &bytes) == 1) break;
    }
    if (file) fclose(file);
    return bytes;
}

/* ---- the report */

static FILE *json;
static bool json_follows;

enum sense { AT_MOST, AT_LEAST };

/* target 0: none */
static void report(const char *what, double measured, const char *unit, enum sense sense, double target,
                   const char *note) {
    double ratio = target == 0 ? 0 : sense == AT_MOST ? measured / target : target / measured;
    char targeted[32] = "-", ratio_text[32] = "-";
    if (target != 0) {
        snprintf(targeted, sizeof targeted, "%s %.4g", sense == AT_MOST ? "<=" : ">=", target);
        snprintf(ratio_text, sizeof ratio_text, "%.2f", ratio);
    }
    printf("%-56s %10.4g %-9s %10s %6s  %s\n", what, measured, unit, targeted, ratio_text, note);
    fflush(stdout);
    if (!json) return;
    fprintf(json, "%s\n  {\"what\": \"%s\", \"unit\": \"%s\", \"measured\": %.6g", json_follows ? "," : "", what, unit,
            measured);
    if (target != 0) fprintf(json, ", \"target\": %.6g, \"ratio_to_target\": %.4g", target, ratio);
    if (note[0]) fprintf(json, ", \"note\": \"%s\"", note);
    fprintf(json, "}");
    json_follows = true;
}

/* ---- data */

struct dataset {
    const char *name;
    uint32_t rows;
    uint32_t dimensions;
    enum velta_element element;
    void *base; /* rows x dimensions of that element */
    uint32_t query_count;
    float *queries;
};

static size_t vector_bytes(const struct dataset *data) {
    return data->dimensions * (data->element == VELTA_F16 ? sizeof(uint16_t) : sizeof(float));
}

static void make_point(const float *centres, const float *matrix, float *out) {
    float latent[LATENT];
    double square = 0;
    const float *centre = centres + (size_t)random_below(CLUSTERS) * LATENT;
    for (int i = 0; i < LATENT; i++)
        latent[i] = centre[i] + 0.7F * gaussian();
    for (int d = 0; d < DIMENSIONS; d++) {
        float sum = 0.05F * gaussian();
        for (int i = 0; i < LATENT; i++)
            sum += latent[i] * matrix[d * LATENT + i];
        out[d] = sum;
        square += (double)sum * (double)sum;
    }
    float scale = (float)(1.0 / sqrt(square));
    for (int d = 0; d < DIMENSIONS; d++)
        out[d] *= scale;
}

static struct dataset make_clustered(void) {
    enum { QUERIES = 500 };
    struct dataset data = {.name = "clustered", .rows = ROWS, .dimensions = DIMENSIONS, .query_count = QUERIES};
    float *centres = allocate(sizeof(float) * CLUSTERS * LATENT);
    float *matrix = allocate(sizeof(float) * DIMENSIONS * LATENT);
    float *base = allocate(sizeof(float) * ROWS * DIMENSIONS);
    data.queries = allocate(sizeof(float) * QUERIES * DIMENSIONS);
    for (int i = 0; i < CLUSTERS * LATENT; i++)
        centres[i] = gaussian();
    for (int i = 0; i < DIMENSIONS * LATENT; i++)
        matrix[i] = gaussian() / sqrtf(LATENT);
    for (size_t i = 0; i < ROWS; i++)
        make_point(centres, matrix, base + i * DIMENSIONS);
    for (size_t i = 0; i < QUERIES; i++)
        make_point(centres, matrix, data.queries + i * DIMENSIONS);
    free(centres);
    free(matrix);
    data.base = base;
    return data;
}

/* A two-dimensional .npy of float16, little-endian, C order; NULL where it is not there. */
static uint16_t *read_npy_f16(const char *folder, const char *name, uint32_t *rows, uint32_t *columns) {
    char path[4096], head[65536];
    unsigned char start[10];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    bool good = fread(start, 1, 10, file) == 10 && memcmp(start, "\x93NUMPY", 6) == 0;
    size_t head_bytes = good ? start[8] | (size_t)start[9] << 8 : 0;
    good = good && fread(head, 1, head_bytes, file) == head_bytes;
    head[good ? head_bytes : 0] = '\0';
    const char *shape = strstr(head, "'shape': (");
    good = good && strstr(head, "'<f2'") && shape && sscanf(shape, "'shape': (%u, %u)", rows, columns) == 2;
    size_t count = good ? (size_t)*rows * *columns : 0;
    uint16_t *values = allocate(count * sizeof *values + 1);
    good = good && fread(values, sizeof *values, count, file) == count;
    fclose(file);
    if (good) return values;
    fprintf(stderr, "store: not a float16 matrix: %s\n", path);
    exit(1);
}

/* ---- tables */

static velta *open_memory(void) {
    velta *db;
    demand(velta_open(NULL, NULL, &db, &failure));
    return db;
}

static velta_table *make_table(velta *db, uint32_t dimensions, enum velta_element element) {
    const struct velta_column columns[] = {
        {.name = "id", .type = VELTA_INT, .primary_key = true},
        {.name = "embedding", .type = VELTA_VECTOR, .dimensions = dimensions, .element = element},
    };
    velta_table *table;
    demand(velta_table_create(db, "rows", columns, 2, &table, &failure));
    return table;
}

/* Keys are the row numbers times 3, so that a key is not a row. */
static void insert_rows(velta_table *table, const struct dataset *data, uint32_t first, uint32_t count) {
    static int64_t ids[INSERT_ROWS];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = 3 * (int64_t)(first + i);
    struct velta_values values[] = {
        {.column = "id", .data = ids},
        {.column = "embedding",
         .data = (const char *)data->base + first * vector_bytes(data),
         .element = data->element},
    };
    demand(velta_insert(table, values, 2, count, NULL, NULL, &failure));
}

static void insert_all(velta_table *table, const struct dataset *data) {
    for (uint32_t first = 0; first < data->rows; first += INSERT_ROWS)
        insert_rows(table, data, first, data->rows - first < INSERT_ROWS ? data->rows - first : INSERT_ROWS);
}

static void link_all(velta *db) {
    uint64_t pending = 1;
    while (pending > 0)
        demand(velta_index(db, 0, NULL, &pending, &failure));
}

static bool read_debpkg(struct dataset *data) {
    const char *folder = getenv("VELTA_DATA");
    struct dataset queries = {.element = VELTA_F16};
    folder = folder && *folder ? folder : "../shared/data/debpkg";
    *data = (struct dataset){.name = "debpkg", .element = VELTA_F16};
    data->base = read_npy_f16(folder, "vectors.npy", &data->rows, &data->dimensions);
    queries.base = read_npy_f16(folder, "queries/queries.npy", &queries.rows, &queries.dimensions);
    if (!data->base || !queries.base || queries.dimensions != data->dimensions) {
        printf("debpkg is not there: its rows are left out\n");
        return false;
    }
    data->query_count = queries.rows;
    data->queries = allocate(sizeof(float) * queries.rows * queries.dimensions);
    velta *db = open_memory(); /* which makes f32 of them */
    velta_table *table = make_table(db, queries.dimensions, VELTA_F32);
    insert_all(table, &queries);
    for (uint32_t i = 0; i < queries.rows; i++) {
        float *query = data->queries + (size_t)i * queries.dimensions;
        demand(velta_get_vector(table, "embedding", i, 0, query, &failure));
    }
    demand(velta_close(db, &failure));
    free(queries.base);
    return true;
}

static const char *file_path(void) {
    static char path[4096];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/velta-bench-store-%ld", folder && *folder ? folder : "/tmp", (long)getpid());
    return path;
}

static void remove_files(void) {
    char log[4200];
    snprintf(log, sizeof log, "%s-log", file_path());
    unlink(file_path());
    unlink(log);
}

static velta *open_file(enum velta_durability durability) {
    velta *db;
    const struct velta_options options = {.durability = durability, .checkpoint_bytes = UINT64_MAX};
    demand(velta_open(file_path(), &options, &db, &failure));
    return db;
}

static struct velta_stats stats_of(const velta *db) {
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    return stats;
}

/* ---- deltas */

/* Deltas made before the clock starts. */
struct deltas {
    struct velta_delta *items;
    uint32_t *indices;
    float *values;
    size_t count;
};

static struct deltas make_deltas(size_t count, bool dense, const uint32_t *rows) {
    size_t each = dense ? DIMENSIONS : SPARSE_COUNT;
    struct deltas deltas = {
        .items = allocate(count * sizeof *deltas.items),
        .indices = allocate(count * each * sizeof *deltas.indices),
        .values = allocate(count * each * sizeof *deltas.values),
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        uint32_t *indices = deltas.indices + i * each;
        float *values = deltas.values + i * each;
        uint32_t chosen = 0;
        for (uint32_t d = 0; d < DIMENSIONS && !dense; d++) /* Knuth's selection sampling */
            if (random_below(DIMENSIONS - d) < SPARSE_COUNT - chosen) indices[chosen++] = d;
        for (size_t k = 0; k < each; k++)
            values[k] = 0.005F * gaussian();
        deltas.items[i] = (struct velta_delta){
            .operation = dense ? VELTA_DELTA_DENSE : VELTA_DELTA_SPARSE,
            .key_int = 3 * (int64_t)rows[i],
            .count = (uint32_t)each,
            .indices = dense ? NULL : indices,
            .values = values,
        };
    }
    return deltas;
}

static void free_deltas(struct deltas *deltas) {
    free(deltas->items);
    free(deltas->indices);
    free(deltas->values);
}

/* Seconds per call of `batch` deltas each. */
static double apply_all(velta_table *table, const struct deltas *deltas, size_t batch) {
    double start = cpu_s();
    for (size_t i = 0; i + batch <= deltas->count; i += batch)
        demand(velta_apply(table, "embedding", deltas->items + i, batch, 0, NULL, &failure));
    return (cpu_s() - start) / (double)(deltas->count / batch);
}

enum { SINGLES = 2000, DENSE_SINGLES = 500, PER_TURN = 2 * SINGLES + DENSE_SINGLES };

/* One turn of each kind over rows[0 .. PER_TURN). */
static void apply_turn(velta_table *table, const uint32_t *rows, double *sparse, double *batch, double *dense) {
    struct deltas singles = make_deltas(SINGLES, false, rows);
    struct deltas batches = make_deltas(SINGLES, false, rows + SINGLES);
    struct deltas denses = make_deltas(DENSE_SINGLES, true, rows + 2 * SINGLES);
    *sparse = apply_all(table, &singles, 1) * 1e6;
    *batch = apply_all(table, &batches, BATCH_DELTAS) * 1e6;
    *dense = apply_all(table, &denses, 1) * 1e6;
    free_deltas(&singles);
    free_deltas(&batches);
    free_deltas(&denses);
}

static uint32_t *shuffled_rows(void) {
    uint32_t *rows = allocate(ROWS * sizeof *rows);
    for (uint32_t i = 0; i < ROWS; i++)
        rows[i] = i;
    for (uint32_t i = ROWS - 1; i > 0; i--) {
        uint32_t j = random_below(i + 1), row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
    }
    return rows;
}

/* The first delta of a row also keeps its vector for the past. Of rows in the cache only the work is left. */
static void measure_applying(velta *db, velta_table *table, const uint32_t *rows) {
    static const char *const notes[] = {"first delta of each row", "rows with earlier deltas", "256 rows, in cache"};
    double sparse[TURNS], batch[TURNS], dense[TURNS];
    uint32_t *few = allocate(PER_TURN * sizeof *few);
    for (size_t i = 0; i < PER_TURN; i++)
        few[i] = rows[i % 256];
    for (int kind = 0; kind < 3; kind++) {
        for (int turn = 0; turn < TURNS; turn++) {
            const uint32_t *chosen = kind == 2 ? few : rows + (size_t)turn * PER_TURN;
            apply_turn(table, chosen, &sparse[turn], &batch[turn], &dense[turn]);
            demand(velta_flush(db, &failure));
        }
        const char *note = notes[kind];
        report("apply, one sparse delta of 19 a call", median(sparse, TURNS), "us", AT_MOST, 1.5, note);
        report("apply, one dense delta a call", median(dense, TURNS), "us", AT_MOST, 2, note);
        report("apply, 100 sparse deltas a call", median(batch, TURNS), "us", AT_MOST, 60, note);
    }
    free(few);
}

/* What the machine itself needs for a row somewhere in memory, and for new memory: no store is faster. */
static void measure_machine(const struct dataset *data, const uint32_t *rows) {
    double row_us[TURNS], fresh[TURNS], sum = 0;
    const float *base = data->base;
    const size_t fresh_bytes = 16 << 20;
    for (int turn = 0; turn < TURNS; turn++) {
        float row_sum = 0;
        double start = cpu_s();
        for (uint32_t i = 0; i < 20000; i++)
            for (uint32_t d = 0; d < DIMENSIONS; d += 16)
                row_sum += base[(size_t)rows[i] * DIMENSIONS + d];
        double middle = cpu_s();
        char *memory = mmap(NULL, fresh_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) demand(VELTA_NO_MEMORY);
        madvise(memory, fresh_bytes, MADV_HUGEPAGE);
        memset(memory, 1, fresh_bytes);
        fresh[turn] = (double)fresh_bytes / (cpu_s() - middle) / 1e9;
        row_us[turn] = (middle - start) / 20000 * 1e6;
        munmap(memory, fresh_bytes);
        sum += (double)row_sum;
    }
    report("this machine: read a row somewhere in 154 MB", median(row_us, TURNS), "us", AT_MOST, 0,
           sum == 1 ? "." : "a plain array");
    report("this machine: write new memory", median(fresh, TURNS), "GB/s", AT_LEAST, 0, "huge pages");
}

/* What the log grows by, beside what the deltas are: an index and a value each, 16 bytes a delta. */
static void measure_log_size(velta *db, velta_table *table, const uint32_t *rows) {
    enum { COUNT = 10000 };
    for (int kind = 0; kind < 3; kind++) {
        bool dense = kind == 2;
        struct deltas deltas = make_deltas(COUNT, dense, rows);
        demand(velta_flush(db, &failure));
        uint64_t before = stats_of(db).log_bytes;
        apply_all(table, &deltas, kind == 1 ? BATCH_DELTAS : 1);
        demand(velta_flush(db, &failure));
        double grown = (double)(stats_of(db).log_bytes - before) / COUNT;
        double raw = dense ? DIMENSIONS * 4 + 16 : SPARSE_COUNT * 8 + 16;
        const char *what = dense       ? "log bytes / raw, dense deltas"
                           : kind == 1 ? "log bytes / raw, sparse deltas in batches"
                                       : "log bytes / raw, sparse deltas";
        report(what, grown / raw, "x", AT_MOST, dense ? 0 : 0.5, dense ? "raw: no indices" : "Gaussian f32 values");
        free_deltas(&deltas);
    }
}

static void measure_reads(velta_table *table, const uint32_t *rows) {
    double copy[TURNS], view[TURNS];
    float *vector = allocate(DIMENSIONS * sizeof *vector), sum = 0;
    for (int scattered = 0; scattered < 2; scattered++) {
        uint32_t mask = scattered ? 65535 : 255;
        for (int turn = 0; turn < TURNS; turn++) {
            double start = cpu_s();
            for (uint32_t i = 0; i < 65536; i++) {
                demand(velta_get_vector(table, "embedding", rows[i & mask], 0, vector, &failure));
                sum += vector[5];
            }
            double middle = cpu_s();
            for (uint32_t i = 0; i < 65536; i++)
                sum += velta_vector_view(table, "embedding", rows[i & mask])[5];
            view[turn] = (cpu_s() - middle) / 65536 * 1e6;
            copy[turn] = (middle - start) / 65536 * 1e6;
        }
        const char *note = scattered ? "rows anywhere in 154 MB" : "256 rows, in cache";
        report("get vector, copied", median(copy, TURNS), "us", AT_MOST, 0.15, note);
        report("get vector, view", median(view, TURNS), "us", AT_MOST, 0.05, note);
    }
    free(vector);
    if (sum == 1) printf("\n"); /* used, so that no read is left out */
}

static void measure_strict(const uint32_t *rows) {
    enum { COUNT = 100 };
    double times[COUNT];
    velta *db = open_file(VELTA_STRICT);
    velta_table *table;
    struct deltas deltas = make_deltas(COUNT, false, rows);
    demand(velta_table_find(db, "rows", &table, &failure));
    for (size_t i = 0; i < COUNT; i++) {
        double start = wall_s();
        demand(velta_apply(table, "embedding", &deltas.items[i], 1, 0, NULL, &failure));
        times[i] = (wall_s() - start) * 1e6;
    }
    report("apply, one sparse delta a call, strict", median(times, COUNT), "us", AT_MOST, 0,
           "wall; synced to this disk");
    free_deltas(&deltas);
    demand(velta_close(db, &failure));
}

/* A checkpoint after the first one, when `count` rows have changed since. */
static void measure_checkpoint(velta *db, velta_table *table, const uint32_t *rows, uint32_t count) {
    enum { CHECKPOINTS = 5 };
    double ms[CHECKPOINTS], bytes[CHECKPOINTS];
    char what[80];
    for (uint32_t turn = 0; turn < CHECKPOINTS; turn++) {
        struct deltas deltas = make_deltas(count, false, rows + (size_t)turn * count);
        apply_all(table, &deltas, 1);
        demand(velta_flush(db, &failure));
        uint64_t before = written_bytes();
        double start = cpu_s();
        demand(velta_checkpoint(db, NULL, &failure));
        ms[turn] = (cpu_s() - start) * 1e3;
        bytes[turn] = (double)(written_bytes() - before);
        free_deltas(&deltas);
    }
    snprintf(what, sizeof what, "checkpoint after %u rows changed", (unsigned)count);
    report(what, median(ms, CHECKPOINTS), "ms", AT_MOST, 0, "");
    report("  bytes written", median(bytes, CHECKPOINTS) / 1e6, "MB", AT_MOST, 0, "");
    report("  bytes written / bytes of the data file",
           median(bytes, CHECKPOINTS) / (double)stats_of(db).data_file_bytes, "x", AT_MOST, 0, "");
}

static void measure_inserts(velta *db, velta_table *table, const struct dataset *data) {
    double start = cpu_s();
    insert_all(table, data);
    double took = cpu_s() - start;
    demand(velta_flush(db, &failure));
    struct velta_stats stats = stats_of(db);
    report("insert, 4,096 rows a call, not linked", data->rows / took, "rows/s", AT_LEAST, 0, "logged to a file");
    report("  raw bytes logged", (double)data->rows * (double)vector_bytes(data) / took / 1e9, "GB/s", AT_LEAST, 0, "");
    report("  log bytes / raw", (double)stats.log_bytes / ((double)data->rows * (double)(vector_bytes(data) + 8)), "x",
           AT_MOST, 0, "");
}

static void measure_deletes(velta_table *table, const uint32_t *rows) {
    enum { BATCHES = 10, EACH = 1000 };
    double times[BATCHES];
    for (uint32_t i = 0; i < BATCHES; i++) {
        double start = cpu_s();
        demand(velta_delete(table, &(struct velta_keys){.rows = rows + (size_t)i * EACH}, EACH, NULL, &failure));
        times[i] = cpu_s() - start;
    }
    report("delete, 1,000 rows a call", EACH / median(times, BATCHES), "rows/s", AT_LEAST, 0, "");
}

static void measure_deltas(const struct dataset *data) {
    uint32_t *rows = shuffled_rows();
    measure_machine(data, rows);
    remove_files();
    velta *db = open_file(VELTA_RELAXED);
    velta_table *table = make_table(db, data->dimensions, VELTA_F32);
    measure_inserts(db, table, data);
    double start = wall_s();
    link_all(db);
    report("link all rows, every processor", data->rows / (wall_s() - start), "rows/s", AT_LEAST, 0, "wall");
    measure_reads(table, rows);
    measure_applying(db, table, rows);
    measure_log_size(db, table, rows);
    start = cpu_s();
    demand(velta_checkpoint(db, NULL, &failure));
    report("checkpoint of everything", (cpu_s() - start) * 1e3, "ms", AT_MOST, 0, "");
    measure_checkpoint(db, table, rows, 10);
    measure_checkpoint(db, table, rows, 1000);
    demand(velta_close(db, &failure));
    start = cpu_s();
    db = open_file(VELTA_RELAXED);
    report("open the file, nothing to replay", (cpu_s() - start) * 1e3, "ms", AT_MOST, 0, "");
    demand(velta_table_find(db, "rows", &table, &failure));
    measure_deletes(table, rows);
    demand(velta_close(db, &failure));
    measure_strict(rows + 20000);
    remove_files();
    free(rows);
}

/* ---- images */

static void first_answer(velta *db, const float *query) {
    velta_table *table = velta_table_at(db, 0);
    velta_result *result;
    const struct velta_search search = {.queries = query, .query_count = 1, .k = NEIGHBOURS};
    demand(velta_search(table, &search, &result, &failure));
    velta_result_free(result);
}

static void measure_images(const struct dataset *data) {
    enum { IMAGES = 7 };
    double out_ms[IMAGES], in_ms[IMAGES], answer_ms[IMAGES];
    uint64_t size_bytes = 0;
    velta *db = open_memory();
    velta_table *table = make_table(db, data->dimensions, VELTA_F32);
    insert_all(table, data);
    link_all(db);
    for (int i = 0; i < IMAGES; i++) {
        uint8_t *bytes;
        velta *copy;
        double start = cpu_s();
        demand(velta_export(db, &bytes, &size_bytes, NULL, &failure));
        double exported = cpu_s();
        demand(velta_import(bytes, size_bytes, NULL, &copy, &failure));
        double imported = cpu_s();
        first_answer(copy, data->queries);
        answer_ms[i] = (cpu_s() - exported) * 1e3;
        in_ms[i] = (imported - exported) * 1e3;
        out_ms[i] = (exported - start) * 1e3;
        demand(velta_close(copy, &failure));
        velta_export_free(db, bytes, size_bytes);
    }
    report("export with index", median(out_ms, IMAGES), "ms", AT_MOST, 150, "");
    report("import with index", median(in_ms, IMAGES), "ms", AT_MOST, 150, "");
    report("import and first answer", median(answer_ms, IMAGES), "ms", AT_MOST, 0, "");
    report("export bytes / raw f32", (double)size_bytes / ((double)data->rows * data->dimensions * 4), "x", AT_MOST, 0,
           "");
    demand(velta_close(db, &failure));
}

/* ---- memory */

static void measure_memory(const struct dataset *data) {
    static const struct {
        enum velta_element element;
        const char *name;
        double target;
    } kinds[] = {{VELTA_F32, "f32 kept", 1.35}, {VELTA_F16, "f16 kept", 0}, {VELTA_CODES, "codes only", 0.36}};
    double raw = (double)data->rows * data->dimensions * sizeof(float);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char what[80], note[80];
        velta *db = open_memory();
        velta_table *table = make_table(db, data->dimensions, kinds[i].element);
        insert_all(table, data);
        link_all(db);
        struct velta_stats stats = stats_of(db);
        snprintf(what, sizeof what, "memory / raw f32, %s %u x %u, %s", data->name, (unsigned)data->rows,
                 (unsigned)data->dimensions, kinds[i].name);
        snprintf(note, sizeof note, "a row: index %.0f, vector %.0f, rest %.0f bytes",
                 (double)stats.index_bytes / data->rows, (double)stats.vector_bytes / data->rows,
                 (double)(stats.memory_used_bytes - stats.index_bytes - stats.vector_bytes) / data->rows);
        report(what, (double)stats.memory_used_bytes / raw, "x", AT_MOST, kinds[i].target, note);
        demand(velta_close(db, &failure));
    }
}

/* ---- recall as vectors move */

/* The share of the k nearest that a search finds, by distance, because some vectors are equal. */
static double recall_of(velta_table *table, const struct dataset *data) {
    uint32_t found = 0;
    const float tie = 1e-6F;
    struct velta_search search = {
        .queries = data->queries, .query_count = data->query_count, .k = NEIGHBOURS, .ef = EF};
    velta_result *graph, *exact;
    demand(velta_search(table, &search, &graph, &failure));
    search.exact = true;
    demand(velta_search(table, &search, &exact, &failure));
    const float *got = velta_result_distances(graph), *best = velta_result_distances(exact);
    for (uint32_t i = 0; i < data->query_count * NEIGHBOURS; i++)
        found += got[i] <= best[i / NEIGHBOURS * NEIGHBOURS + NEIGHBOURS - 1] + tie;
    velta_result_free(graph);
    velta_result_free(exact);
    return (double)found / (data->query_count * NEIGHBOURS);
}

/* Adds to each of rows first, first + step, .. a Gaussian vector of `way` times its length. */
static void move_rows(velta_table *table, const struct dataset *data, uint32_t step, float way) {
    uint32_t n = data->dimensions, used = 0;
    float *values = allocate(sizeof *values * BATCH_DELTAS * n), *vector = allocate(sizeof *vector * n);
    struct velta_delta deltas[BATCH_DELTAS];
    for (uint32_t row = 0; row < data->rows; row += step) {
        float *move = values + (size_t)used * n;
        double length = 0, moved = 0;
        demand(velta_get_vector(table, "embedding", row, 0, vector, &failure));
        for (uint32_t i = 0; i < n; i++) {
            move[i] = gaussian();
            length += (double)vector[i] * (double)vector[i];
            moved += (double)move[i] * (double)move[i];
        }
        for (uint32_t i = 0; i < n; i++)
            move[i] *= way * (float)sqrt(length / moved);
        deltas[used++] = (struct velta_delta){
            .operation = VELTA_DELTA_DENSE, .use_row = true, .row = row, .count = n, .values = move};
        if (used < BATCH_DELTAS && row + step < data->rows) continue;
        demand(velta_apply(table, "embedding", deltas, used, 0, NULL, &failure));
        used = 0;
    }
    free(values);
    free(vector);
}

/* The vectors as they are now, in a new table with an index of its own. */
static double fresh_recall(velta_table *table, const struct dataset *data) {
    struct dataset now = *data;
    now.element = VELTA_F32;
    float *vectors = allocate(sizeof *vectors * data->rows * data->dimensions);
    for (uint32_t row = 0; row < data->rows; row++)
        demand(velta_get_vector(table, "embedding", row, 0, vectors + (size_t)row * data->dimensions, &failure));
    now.base = vectors;
    velta *db = open_memory();
    velta_table *fresh = make_table(db, data->dimensions, VELTA_F32);
    insert_all(fresh, &now);
    link_all(db);
    double recall = recall_of(fresh, data);
    demand(velta_close(db, &failure));
    free(vectors);
    return recall;
}

static void measure_recall(const struct dataset *data) {
    char what[80], note[80];
    velta *db = open_memory();
    velta_table *table = make_table(db, data->dimensions, VELTA_F32);
    insert_all(table, data);
    link_all(db);
    double before = recall_of(table, data);
    move_rows(table, data, 1, 0.1F);
    move_rows(table, data, 20, 0.5F);
    double waiting = recall_of(table, data);
    double start = cpu_s();
    link_all(db);
    double relinked_s = cpu_s() - start;
    double after = recall_of(table, data);
    double fresh = fresh_recall(table, data);
    snprintf(what, sizeof what, "recall@10 at ef %d, %s moved, fresh less ours", EF, data->name);
    snprintf(note, sizeof note, "ours %.4f, fresh %.4f", after, fresh);
    report(what, fresh - after > 0 ? fresh - after : 0, "", AT_MOST, 0.005, note);
    snprintf(note, sizeof note, "before the moves %.4f, before velta_index %.4f", before, waiting);
    report("  velta_index after the moves", relinked_s, "s", AT_MOST, 0, note);
    demand(velta_close(db, &failure));
}

int main(int argc, char **argv) {
    const char *only = argc > 2 ? argv[2] : "";
    struct dataset clustered = make_clustered(), debpkg;
    bool has_debpkg = read_debpkg(&debpkg);
    if (argc > 1 && argv[1][0]) {
        json = fopen(argv[1], "w");
        if (!json) {
            fprintf(stderr, "store: cannot write %s\n", argv[1]);
            return 1;
        }
        fprintf(json, "{\"question\": \"store\", \"rows\": [");
    }
    printf("%-56s %10s %-9s %10s %6s\n", "store", "measured", "", "target", "ratio");
    if (!*only || strcmp(only, "deltas") == 0) measure_deltas(&clustered);
    if (!*only || strcmp(only, "images") == 0) measure_images(&clustered);
    if (!*only || strcmp(only, "memory") == 0) {
        measure_memory(&clustered);
        if (has_debpkg) measure_memory(&debpkg);
    }
    if (!*only || strcmp(only, "recall") == 0) {
        measure_recall(&clustered);
        if (has_debpkg) measure_recall(&debpkg);
    }
    if (json) {
        fprintf(json, "\n]}\n");
        fclose(json);
    }
    free(clustered.base);
    free(clustered.queries);
    if (has_debpkg) {
        free(debpkg.base);
        free(debpkg.queries);
    }
    return 0;
}
