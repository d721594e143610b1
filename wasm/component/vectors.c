/*
 * The resource `database` of wasm/velta.wit: what DeltaVectorDB of the npm package is, in C. One table `vectors` with
 * the columns `id` and `vector`, made alike, so that each imports what the other has exported.
 */
#include <string.h>

#include "core/error.h"
#include "core/system_allocator.h"
#include "wasm/component/canonical.h"

#define TABLE "vectors"
#define COLUMN "vector"

enum {
    DEFAULT_DIMENSIONS = 384,
    DEFAULT_MAX_VECTORS = 100000,
    DEFAULT_M = 16,
    DEFAULT_EF_CONSTRUCTION = 100,
    DEFAULT_EF_SEARCH = 50
};
#define MAX_TIME_MS INT64_C(8640000000000000)

struct vectors {
    velta *db;
    velta_table *table;
    uint32_t dimensions;
    enum velta_metric metric;
    uint32_t max_vectors;
    uint32_t ef_search;
    uint32_t checkpoint_interval;
    uint64_t memory_budget_bytes;
    bool imported;
};

/* Exported bytes that the host is reading. */
static struct {
    velta *db;
    uint8_t *bytes;
    uint64_t size_bytes;
} exported;

void vectors_forget_export(void) {
    if (exported.db) velta_export_free(exported.db, exported.bytes, exported.size_bytes);
    exported.db = NULL;
}

static enum velta_status no_memory(struct velta_error *error) {
    return velta_fail(error, VELTA_NO_MEMORY, VELTA_NO_OFFSET, "the host refused memory for the answer");
}

enum velta_status check_time(int64_t time_ms, uint64_t offset, struct velta_error *error) {
    if (time_ms >= -MAX_TIME_MS && time_ms <= MAX_TIME_MS) return VELTA_OK;
    return velta_fail(error, VELTA_INVALID, offset, "a time is within 8640000000000000 ms of 1970, not %lld",
                      (long long)time_ms);
}

static struct velta_options options_of(const struct vectors *self) {
    return (struct velta_options){
        .memory_budget_bytes = self->memory_budget_bytes,
        .chain_interval = self->checkpoint_interval,
        .thread_count = 1,
    };
}

static uint32_t or_default(uint32_t given, uint32_t otherwise) {
    return given ? given : otherwise;
}

static enum velta_status open_table(struct vectors *self, const struct vectors_options *options,
                                    struct velta_error *error) {
    struct velta_options engine = options_of(self);
    enum velta_status status = velta_open(NULL, &engine, &self->db, error);
    if (status) return status;
    struct velta_column columns[] = {
        {.name = "id", .type = VELTA_STRING, .primary_key = true, .required = true},
        {.name = COLUMN,
         .type = VELTA_VECTOR,
         .required = true,
         .dimensions = self->dimensions,
         .metric = self->metric,
         .m = or_default(options->m, DEFAULT_M),
         .ef_construction = or_default(options->ef_construction, DEFAULT_EF_CONSTRUCTION)},
    };
    return velta_table_create(self->db, TABLE, columns, 2, &self->table, error);
}

enum velta_status vectors_create(const struct vectors_options *options, struct vectors **out,
                                 struct velta_error *error) {
    struct velta_allocator allocator = system_allocator();
    struct vectors *self = allocator.allocate(allocator.context, sizeof *self, _Alignof(struct vectors));
    if (!self) return no_memory(error);
    *self = (struct vectors){
        .dimensions = or_default(options->dimensions, DEFAULT_DIMENSIONS),
        .metric = (enum velta_metric)options->metric,
        .max_vectors = or_default(options->max_vectors, DEFAULT_MAX_VECTORS),
        .ef_search = or_default(options->ef_search, DEFAULT_EF_SEARCH),
        .checkpoint_interval = options->checkpoint_interval,
        .memory_budget_bytes = options->memory_budget_bytes,
    };
    enum velta_status status = open_table(self, options, error);
    if (status) {
        vectors_free(self);
        return status;
    }
    *out = self;
    return VELTA_OK;
}

void vectors_free(struct vectors *self) {
    struct velta_allocator allocator = system_allocator();
    if (exported.db == self->db) vectors_forget_export();
    if (self->db) (void)velta_close(self->db, NULL); /* in memory: nothing is flushed that could fail */
    allocator.release(allocator.context, self, sizeof *self, _Alignof(struct vectors));
}

uint32_t vectors_size(const struct vectors *self) {
    return velta_live_count(self->table);
}

bool vectors_may_expire(const struct vectors *self) {
    return self->imported;
}

/* ---- deltas */

static enum velta_status sparse_of(const struct wit_delta *from, uint32_t i, struct velta_delta *to,
                                   struct velta_error *error) {
    uint32_t count = from->payload.sparse.values.count;
    if (from->payload.sparse.index_count != count) {
        return velta_fail(error, VELTA_INVALID, i, "delta %u: %u indices but %u values", i,
                          from->payload.sparse.index_count, count);
    }
    to->operation = VELTA_DELTA_SPARSE;
    to->indices = from->payload.sparse.indices;
    to->values = from->payload.sparse.values.values;
    to->count = count;
    to->set = from->payload.sparse.mode == WIT_SET;
    return VELTA_OK;
}

static enum velta_status operation_of(const struct wit_delta *from, uint32_t i, struct velta_delta *to,
                                      struct velta_error *error) {
    switch (from->operation) {
    case WIT_CREATE:
        to->operation = VELTA_DELTA_CREATE;
        to->values = from->payload.create.values;
        to->count = from->payload.create.count;
        return VELTA_OK;
    case WIT_SPARSE:
        return sparse_of(from, i, to, error);
    case WIT_DENSE:
        to->operation = VELTA_DELTA_DENSE;
        to->values = from->payload.dense.vector.values;
        to->count = from->payload.dense.vector.count;
        to->set = from->payload.dense.mode == WIT_SET;
        return VELTA_OK;
    case WIT_SCALE:
    case WIT_OFFSET:
        to->operation = from->operation == WIT_SCALE ? VELTA_DELTA_SCALE : VELTA_DELTA_OFFSET;
        to->amount = from->payload.amount;
        return VELTA_OK;
    case WIT_DELETE:
        to->operation = VELTA_DELTA_DELETE;
        return VELTA_OK;
    default:
        return velta_fail(error, VELTA_INVALID, i, "delta %u: there is no operation %u", i, from->operation);
    }
}

static enum velta_status delta_of(const struct wit_delta *from, uint32_t i, struct velta_delta *to,
                                  struct velta_error *error) {
    *to = (struct velta_delta){.key = from->id.bytes, .key_bytes = from->id.size_bytes};
    if (from->metadata.there) {
        to->metadata = from->metadata.text.bytes;
        to->metadata_bytes = from->metadata.text.size_bytes;
    }
    if (from->timestamp.there) {
        enum velta_status status = check_time(from->timestamp.value, i, error);
        if (status) return status;
        to->time_ms = from->timestamp.value;
    }
    return operation_of(from, i, to, error);
}

/* LIMIT at the delta that would make one vector too many. */
static enum velta_status check_room(const struct vectors *self, const struct wit_delta *deltas, uint32_t count,
                                    struct velta_error *error) {
    int64_t live = velta_live_count(self->table);
    for (uint32_t i = 0; i < count; i++) {
        live += deltas[i].operation == WIT_CREATE ? 1 : deltas[i].operation == WIT_DELETE ? -1 : 0;
        if (deltas[i].operation == WIT_CREATE && live > (int64_t)self->max_vectors) {
            return velta_fail(error, VELTA_LIMIT, i, "there may be %u vectors (max-vectors)", self->max_vectors);
        }
    }
    return VELTA_OK;
}

enum velta_status vectors_apply(struct vectors *self, const struct wit_delta *deltas, uint32_t count, uint64_t *ids,
                                struct velta_error *error) {
    enum velta_status status = check_room(self, deltas, count, error);
    if (status || count == 0) return status;
    size_t size_bytes;
    if (__builtin_mul_overflow(count, sizeof(struct velta_delta), &size_bytes)) return no_memory(error);
    struct velta_delta *own = space_allocate(size_bytes, _Alignof(struct velta_delta));
    if (!own) return no_memory(error);
    for (uint32_t i = 0; !status && i < count; i++)
        status = delta_of(&deltas[i], i, &own[i], error);
    return status ? status : velta_apply(self->table, COLUMN, own, count, 0, ids, error);
}

/* ---- reading */

enum velta_status vectors_get(struct vectors *self, struct wit_text id, int64_t at_ms, struct wit_floats *out,
                              struct velta_error *error) {
    const uint64_t offsets[2] = {0, id.size_bytes};
    struct velta_keys key = {.text = id.bytes, .offsets = offsets};
    uint32_t row = VELTA_NO_ROW;
    *out = (struct wit_floats){0};
    enum velta_status status = velta_find(self->table, &key, 1, at_ms, &row, error);
    if (status || row == VELTA_NO_ROW) return status;
    float *values = space_allocate(self->dimensions * sizeof *values, _Alignof(float));
    if (!values) return no_memory(error);
    status = velta_get_vector(self->table, COLUMN, row, at_ms, values, error);
    if (status) return status == VELTA_NOT_FOUND ? VELTA_OK : status;
    *out = (struct wit_floats){.values = values, .count = self->dimensions};
    return VELTA_OK;
}

static double score_of(enum velta_metric metric, double distance) {
    if (metric == VELTA_COSINE) return 1 - distance;
    return metric == VELTA_DOT ? -distance : 1 / (1 + distance);
}

/* Copies what was found; the ids' bytes too, so that the result can go. */
static enum velta_status copy_matches(enum velta_metric metric, const velta_result *result, struct wit_list *out,
                                      struct velta_error *error) {
    const uint32_t *rows = velta_result_rows(result);
    const float *distances = velta_result_distances(result);
    uint32_t count = 0;
    while (count < velta_result_count(result) && rows[count] != VELTA_NO_ROW)
        count++;
    struct velta_values ids;
    enum velta_type type;
    enum velta_status status = velta_result_column(result, 0, &ids, &type);
    if (status) return velta_fail(error, status, VELTA_NO_OFFSET, "the ids of the result cannot be read");
    size_t text_bytes = count ? (size_t)ids.offsets[count] : 0;
    char *text = space_allocate(text_bytes ? text_bytes : 1, 1);
    struct wit_match *matches = space_allocate((count ? count : 1) * sizeof *matches, _Alignof(struct wit_match));
    if (!text || !matches) return no_memory(error);
    if (text_bytes) memcpy(text, ids.data, text_bytes);
    for (uint32_t i = 0; i < count; i++) {
        matches[i] = (struct wit_match){
            .id = {.bytes = text + ids.offsets[i], .size_bytes = (uint32_t)(ids.offsets[i + 1] - ids.offsets[i])},
            .distance = distances[i],
            .score = score_of(metric, (double)distances[i]),
        };
    }
    *out = (struct wit_list){.items = matches, .count = count};
    return VELTA_OK;
}

enum velta_status vectors_search(struct vectors *self, struct wit_floats query, uint32_t k, uint32_t ef, bool exact,
                                 int64_t at_ms, struct wit_list *out, struct velta_error *error) {
    if (k == 0) return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "k must be above 0");
    if (query.count != self->dimensions) {
        return velta_fail(error, VELTA_DIMENSIONS, VELTA_NO_OFFSET, "a query of %u elements; the vectors have %u",
                          query.count, self->dimensions);
    }
    const char *const select[] = {"id"};
    struct velta_search search = {
        .column = COLUMN,
        .queries = query.values,
        .query_count = 1,
        .k = k,
        .ef = or_default(ef, self->ef_search),
        .select = select,
        .select_count = 1,
        .at_ms = at_ms,
        .exact = exact,
    };
    velta_result *result = NULL;
    enum velta_status status = velta_search(self->table, &search, &result, error);
    if (status) return status;
    status = copy_matches(self->metric, result, out, error);
    velta_result_free(result);
    return status;
}

/* ---- the whole */

enum velta_status vectors_index(struct vectors *self, uint32_t most, uint64_t *waiting, struct velta_error *error) {
    return velta_index(self->db, most, NULL, waiting, error);
}

enum velta_status vectors_compact(struct vectors *self, int64_t keep_since_ms, struct velta_error *error) {
    struct velta_compact_options options = {.keep_since_ms = keep_since_ms};
    return velta_compact(self->db, &options, NULL, error);
}

enum velta_status vectors_export(struct vectors *self, struct wit_list *out, struct velta_error *error) {
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    enum velta_status status = velta_export(self->db, &bytes, &size_bytes, NULL, error);
    if (status) return status;
    exported.db = self->db;
    exported.bytes = bytes;
    exported.size_bytes = size_bytes;
    *out = (struct wit_list){.items = bytes, .count = (uint32_t)size_bytes}; /* it is in the memory of 32 bits */
    return VELTA_OK;
}

/* The table of imported bytes, if they can take the place of what is there. */
static enum velta_status check_content(const struct vectors *self, velta *db, velta_table **out,
                                       struct velta_error *error) {
    const struct velta_column *vector = NULL;
    bool has_id = false;
    if (velta_table_find(db, TABLE, out, NULL) == VELTA_OK) {
        const struct velta_column *column;
        for (size_t i = 0; (column = velta_column_at(*out, i)) != NULL; i++) {
            if (column->type == VELTA_VECTOR && strcmp(column->name, COLUMN) == 0) vector = column;
            has_id |= column->type == VELTA_STRING && column->primary_key && strcmp(column->name, "id") == 0;
        }
    }
    if (!vector || !has_id) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the bytes are not those of a database of vectors");
    }
    if (vector->dimensions != self->dimensions) {
        return velta_fail(error, VELTA_DIMENSIONS, VELTA_NO_OFFSET,
                          "the bytes hold vectors of %u dimensions, these have %u", vector->dimensions,
                          self->dimensions);
    }
    if (vector->metric != self->metric) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the bytes hold vectors of another metric");
    }
    if (velta_live_count(*out) > self->max_vectors) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "the bytes hold %u vectors, max-vectors is %u",
                          velta_live_count(*out), self->max_vectors);
    }
    return VELTA_OK;
}

enum velta_status vectors_import(struct vectors *self, struct wit_list bytes, struct velta_error *error) {
    struct velta_options options = options_of(self);
    velta *db = NULL;
    velta_table *table = NULL;
    enum velta_status status = velta_import(bytes.items, bytes.count, &options, &db, error);
    if (status) return status;
    status = check_content(self, db, &table, error);
    velta *gone = status ? db : self->db;
    if (!status) {
        self->db = db;
        self->table = table;
        self->imported = true;
    }
    (void)velta_close(gone, NULL); /* in memory */
    return status;
}
