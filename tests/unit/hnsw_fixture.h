/* A column with its index for the tests of hnsw/: rows come, change and go in both; images of the whole; threads. */
#ifndef VELTA_TESTS_HNSW_FIXTURE_H
#define VELTA_TESTS_HNSW_FIXTURE_H

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw/link.h"
#include "tests/support/support.h"

struct fixture {
    struct memory *memory;
    struct column *column;
    struct hnsw *index;
    uint32_t dimensions;
    uint32_t row_count;
};

struct fixture_options {
    uint32_t dimensions;
    enum velta_metric metric;
    enum velta_element element;
    uint32_t m;
    uint32_t ef_construction;
    const struct simd_kernels *simd;
    const struct velta_allocator *allocator;
};

static inline void fixture_open(struct fixture *self, const struct fixture_options *options) {
    memset(self, 0, sizeof *self);
    self->dimensions = options->dimensions;
    self->memory = memory_create(options->allocator, 0);
    assert_non_null(self->memory);
    struct velta_column spec = {.name = "v",
                                .type = VELTA_VECTOR,
                                .dimensions = options->dimensions,
                                .metric = options->metric,
                                .element = options->element};
    assert_int_equal(column_create(self->memory, &spec, 0, &self->column, NULL), VELTA_OK);
    struct hnsw_options index = {.dimensions = options->dimensions,
                                 .metric = options->metric,
                                 .m = options->m ? options->m : 16,
                                 .ef_construction = options->ef_construction ? options->ef_construction : 60,
                                 .seed = 7};
    const struct simd_kernels *simd = options->simd ? options->simd : simd_select(NULL);
    assert_int_equal(hnsw_create(self->memory, simd, self->column, &index, &self->index, NULL), VELTA_OK);
}

static inline void fixture_close(struct fixture *self) {
    hnsw_destroy(self->index);
    column_destroy(self->column);
    memory_destroy(self->memory);
}

/* A new row, the last one. */
static inline void fixture_add(struct fixture *self, const float *vector) {
    struct column_values values = {.data = vector, .element = VELTA_F32};
    assert_int_equal(column_reserve_append(self->column, &values, self->row_count, 1, NULL), VELTA_OK);
    column_append(self->column, &values, self->row_count, 1);
    assert_int_equal(hnsw_reserve(self->index, self->row_count + 1, 1, NULL), VELTA_OK);
    float *kept = malloc(self->dimensions * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, vector, self->dimensions * sizeof *kept);
    if (self->column->spec.element != VELTA_CODES) column_get_vector(self->column, self->row_count, kept);
    hnsw_add(self->index, self->row_count++, kept);
    free(kept);
}

static inline void fixture_get(const struct fixture *self, uint32_t row, float *out) {
    if (self->column->spec.element == VELTA_CODES) {
        hnsw_decode(self->index, row, out);
    } else {
        column_get_vector(self->column, row, out);
    }
}

static inline void fixture_set(struct fixture *self, uint32_t row, const float *vector) {
    struct column_values values = {.data = vector, .element = VELTA_F32};
    bool kept = self->column->spec.element != VELTA_CODES;
    float *before = malloc(self->dimensions * sizeof *before);
    assert_non_null(before);
    fixture_get(self, row, before);
    float way = sqrtf(self->index->simd->l2_f32(vector, before, self->dimensions));
    free(before);
    assert_int_equal(hnsw_reserve(self->index, self->row_count, 0, NULL), VELTA_OK);
    hnsw_update(self->index, row, way, kept ? NULL : vector);
    if (kept) {
        assert_int_equal(column_reserve_set(self->column, &values, &row, 1, NULL), VELTA_OK);
        column_set(self->column, &values, &row, 1);
    }
}

static inline void fixture_check(const struct fixture *self) {
    struct velta_error error = {.text = ""};
    if (hnsw_check(self->index, &error) != VELTA_OK) fail_msg("%s", error.text);
}

/* ---- threads */

struct fixture_thread {
    void (*task)(void *argument, unsigned index);
    void *argument;
    unsigned index;
    pthread_t thread;
};

static inline void *fixture_thread_main(void *context) {
    struct fixture_thread *self = context;
    self->task(self->argument, self->index);
    return NULL;
}

static inline void fixture_run(void *context, unsigned count, void (*task)(void *argument, unsigned index),
                               void *argument) {
    (void)context;
    struct fixture_thread threads[8];
    assert_true(count <= 8);
    for (unsigned i = 0; i < count; i++) {
        threads[i] = (struct fixture_thread){.task = task, .argument = argument, .index = i};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, fixture_thread_main, &threads[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i].thread, NULL);
}

static inline uint64_t fixture_link(struct fixture *self, uint64_t max_nodes, unsigned threads) {
    struct velta_executor executor = {.thread_count = threads, .run = fixture_run};
    uint64_t pending = UINT64_MAX;
    struct velta_error error = {.text = ""};
    enum velta_status status =
        hnsw_link(self->index, max_nodes, threads > 1 ? &executor : NULL, NULL, &pending, &error);
    if (status) fail_msg("%s", error.text);
    assert_true(pending == hnsw_pending(self->index));
    return pending;
}

/* ---- images: every part after another, for comparing and loading; the caller frees */

struct fixture_image {
    uint8_t *bytes;
    size_t size;
    uint32_t parts[2];
    size_t offsets[2][65];
};

static inline void fixture_image(const struct fixture *self, struct fixture_image *image) {
    memset(image, 0, sizeof *image);
    hnsw_refresh(self->index);
    for (unsigned kind = 0; kind < 2; kind++) {
        enum hnsw_part_kind part_kind = kind ? HNSW_PART_GRAPH : HNSW_PART_CODES;
        image->parts[kind] = hnsw_part_count(self->index, part_kind);
        assert_true(image->parts[kind] <= 64);
        for (uint32_t part = 0; part < image->parts[kind]; part++) {
            size_t bytes = (size_t)hnsw_part_bytes(self->index, part_kind, part);
            image->bytes = realloc(image->bytes, image->size + bytes);
            assert_non_null(image->bytes);
            image->offsets[kind][part] = image->size;
            hnsw_part_write(self->index, part_kind, part, image->bytes + image->size);
            image->size += bytes;
            image->offsets[kind][part + 1] = image->size;
        }
    }
}

static inline void fixture_same_image(const struct fixture *a, const struct fixture *b, const char *what) {
    struct fixture_image one, other;
    fixture_image(a, &one);
    fixture_image(b, &other);
    assert_int_equal(one.size, other.size);
    test_assert_bytes(one.bytes, other.bytes, one.size, what);
    free(one.bytes);
    free(other.bytes);
}

/* Reads the parts into the empty index of `self`; the first refusal is returned. */
static inline enum velta_status fixture_load(struct fixture *self, const struct fixture_image *image, bool graph,
                                             struct velta_error *error) {
    for (unsigned kind = 0; kind < (graph ? 2U : 1U); kind++) {
        for (uint32_t part = 0; part < image->parts[kind]; part++) {
            size_t from = image->offsets[kind][part], size = image->offsets[kind][part + 1] - from;
            uint8_t *exact = malloc(size); /* so that a sanitizer sees a byte read beyond */
            assert_non_null(exact);
            memcpy(exact, image->bytes + from, size);
            enum velta_status status = hnsw_part_read(self->index, kind ? HNSW_PART_GRAPH : HNSW_PART_CODES, part,
                                                      self->row_count, exact, size, error);
            free(exact);
            if (status) return status;
        }
    }
    return hnsw_load_finish(self->index, error);
}

/* ---- recall of the graph alone, against every row by its vector */

static inline double fixture_distance(enum velta_metric metric, const float *a, const float *b, uint32_t n) {
    double ab = 0, aa = 0, bb = 0, l2 = 0;
    for (uint32_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        l2 += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    if (metric == VELTA_L2) return l2;
    if (metric == VELTA_DOT) return -ab;
    return aa > 0 && bb > 0 ? 1.0 - ab / (__builtin_sqrt(aa) * __builtin_sqrt(bb)) : 1.0;
}

static inline int fixture_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The share of the 10 nearest that a walk with a pool of `ef`, reranked, finds; queries are rows moved a little. */
static inline double fixture_recall(struct fixture *self, uint32_t ef, uint32_t queries, uint64_t seed) {
    struct hnsw *index = self->index;
    struct random random = random_seeded(seed);
    uint32_t n = self->dimensions, found = 0, wanted = 0;
    assert_int_equal(hnsw_scratch_reserve(index, index->scratch, ef, 0, NULL), VELTA_OK);
    float *query = malloc(n * sizeof *query), *vector = malloc(n * sizeof *vector);
    double *all = malloc(self->row_count * sizeof *all), *reached = malloc(ef * sizeof *reached);
    assert_true(query && vector && all && reached);
    for (uint32_t q = 0; q < queries; q++) {
        uint32_t row, rows = 0, hits = 0;
        do {
            row = (uint32_t)random_below(&random, self->row_count);
        } while (!hnsw_contains(index, row));
        fixture_get(self, row, query);
        for (uint32_t i = 0; i < n; i++)
            query[i] += 0.05F * random_gauss(&random);
        for (uint32_t other = 0; other < self->row_count; other++) {
            if (!hnsw_contains(index, other)) continue;
            fixture_get(self, other, vector);
            all[rows++] = fixture_distance(index->options.metric, query, vector, n);
        }
        qsort(all, rows, sizeof *all, fixture_compare);
        hnsw_probe_vector(index, query, &index->scratch->probe);
        uint64_t seed_key = hnsw_descend(index, index->scratch, 0);
        hnsw_visited_next(&index->scratch->visited);
        index->scratch->pool[0] = seed_key;
        index->scratch->pool_count = 1;
        hnsw_beam(index, index->scratch, ef, UINT32_MAX);
        for (uint32_t i = 0; i < index->scratch->pool_count; i++) {
            uint32_t hit = index->row_of_node[hnsw_key_node(index->scratch->pool[i])];
            if (hit == VELTA_NO_ROW) continue;
            fixture_get(self, hit, vector);
            reached[hits++] = fixture_distance(index->options.metric, query, vector, n);
        }
        qsort(reached, hits, sizeof *reached, fixture_compare);
        uint32_t k = rows < 10 ? rows : 10;
        for (uint32_t i = 0; i < k && i < hits; i++)
            found += reached[i] <= all[k - 1];
        wanted += k;
    }
    free(query);
    free(vector);
    free(all);
    free(reached);
    return (double)found / wanted;
}

/* A vector near one of `clusters` centres that follow from the seed. */
static inline void fixture_vector(struct random *random, uint32_t clusters, float *out, uint32_t n) {
    struct random centre = random_seeded(1000 + random_below(random, clusters));
    for (uint32_t i = 0; i < n; i++)
        out[i] = random_gauss(&centre) + 0.5F * random_gauss(random);
}

static inline void fixture_fill(struct fixture *self, uint32_t rows, uint64_t seed) {
    struct random random = random_seeded(seed);
    float *vector = malloc(self->dimensions * sizeof *vector);
    assert_non_null(vector);
    for (uint32_t i = 0; i < rows; i++) {
        fixture_vector(&random, 12, vector, self->dimensions);
        fixture_add(self, vector);
    }
    free(vector);
}

#endif
