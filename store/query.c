/*
 * Search: the filter's rows, then the nearest among them.
 *
 * The filter is evaluated first, exactly, into a bitmap with its count; the index then chooses how to search from that
 * count and from what its graph shows (hnsw/search.c, hnsw/filtered.c). A column without an index is scanned.
 *
 * The past: rows whose vector has not changed since the moment asked for are found by the index, under a bitmap; rows
 * that changed or died since are few, and are scanned with their vectors of then; the two lists are merged. So a search
 * of the past costs a search of the present plus what has changed.
 */
#include <math.h>
#include <string.h>

#include "store/filtering.h"
#include "store/result.h"

enum { QUERY_MAX_K = 16384, QUERY_DEFAULT_K = 10 };

/* The k nearest so far, nearest first, equal distances by row number. */
struct nearest {
    uint32_t *rows;
    float *distances;
    uint32_t count;
    uint32_t k;
};

static void nearest_offer(struct nearest *nearest, uint32_t row, float distance) {
    uint32_t i = nearest->count;
    if (i == nearest->k) {
        float worst = nearest->distances[i - 1];
        if (distance > worst || (distance == worst && row > nearest->rows[i - 1])) {
            return;
        }
        i--;
    } else {
        nearest->count++;
    }
    while (i > 0 && (nearest->distances[i - 1] > distance ||
                     (nearest->distances[i - 1] == distance && nearest->rows[i - 1] > row))) {
        nearest->rows[i] = nearest->rows[i - 1];
        nearest->distances[i] = nearest->distances[i - 1];
        i--;
    }
    nearest->rows[i] = row;
    nearest->distances[i] = distance;
}

/* Everything one call needs, so that its parts can be functions. */
struct query {
    struct velta_table *handle;
    const struct velta_search *search;
    uint32_t column;
    uint32_t k;
    uint32_t dimensions;
    enum velta_metric metric;
    uint64_t sequence;
    struct filtering filtering; /* rows that may be returned */
    uint64_t *scanned;          /* those to be scanned here with their own vectors; NULL: none */
    uint64_t *indexed;          /* those left for the index; NULL: filtering.rows */
    uint64_t indexed_count;
    uint64_t scanned_count;
    float *vector; /* room for one vector */
};

static enum velta_status find_column(struct query *query, struct velta_error *error) {
    const struct table *table = database_rows(query->handle);
    const char *name = query->search->column;
    size_t found = TABLE_NO_COLUMN;
    if (name) {
        found = table_find_column(table, name, strlen(name));
        if (found == TABLE_NO_COLUMN) {
            return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.60s' has no column '%.100s'",
                              table->name, name);
        }
        if (table->columns[found]->spec.type != VELTA_VECTOR) {
            return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET, "column '%.100s' does not hold vectors", name);
        }
    }
    for (size_t i = 0; !name && i < table->column_count; i++) {
        if (table->columns[i]->spec.type == VELTA_VECTOR) {
            if (found != TABLE_NO_COLUMN) {
                return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                                  "table '%.60s' has several vector columns: name the one to search", table->name);
            }
            found = i;
        }
    }
    if (found == TABLE_NO_COLUMN) {
        return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.60s' has no vector column",
                          table->name);
    }
    query->column = (uint32_t)found;
    query->dimensions = table->columns[found]->spec.dimensions;
    query->metric = table->columns[found]->spec.metric;
    return VELTA_OK;
}

static enum velta_status check_search(struct query *query, struct velta_error *error) {
    const struct velta_search *search = query->search;
    const struct simd_kernels *simd = query->handle->db->simd;
    query->k = search->k ? search->k : QUERY_DEFAULT_K;
    for (size_t i = 0; i < sizeof search->reserved / sizeof *search->reserved; i++) {
        if (search->reserved[i]) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET,
                              "reserved fields of struct velta_search must be 0");
        }
    }
    if (query->k > QUERY_MAX_K) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "k is %u, at most %d", query->k, QUERY_MAX_K);
    }
    if (search->where && search->filter) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "give a filter as text or compiled, not both");
    }
    if (search->query_count > 0 && !search->queries) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "query vectors are needed");
    }
    if (search->query_count > SIZE_MAX / query->k / sizeof(uint64_t)) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "too many queries in one call");
    }
    enum velta_status status = find_column(query, error);
    for (size_t i = 0; !status && i < search->query_count; i++) {
        if (!simd->all_finite_f32(search->queries + i * query->dimensions, query->dimensions)) {
            status = velta_fail(error, VELTA_NOT_FINITE, i, "query %zu holds NaN or an infinity", i);
        }
    }
    return status;
}

static enum velta_status refuse(struct query *query, struct velta_error *error) {
    return memory_fail(query->handle->db->memory, error);
}

/* Splits the rows of the past into those the index can answer and those to scan with their vectors of then. */
static enum velta_status split_past(struct query *query, struct velta_error *error) {
    const struct snapshot_table *owner = database_table(query->handle);
    const struct table *table = owner->table;
    size_t words = query->filtering.words;
    if (query->sequence == HISTORY_NOW || words == 0) {
        return VELTA_OK;
    }
    size_t changed = history_changed_rows(owner->history, query->column, query->sequence, NULL, 0);
    query->scanned = memory_allocate(table->memory, words * sizeof(uint64_t));
    query->indexed = memory_allocate(table->memory, words * sizeof(uint64_t));
    uint32_t *rows = memory_allocate(table->memory, (changed + 1) * sizeof *rows);
    if (!query->scanned || !query->indexed || !rows) {
        memory_release(table->memory, rows, (changed + 1) * sizeof *rows);
        return refuse(query, error);
    }
    /* dead now, alive then */
    table->simd->bits_and_not(query->scanned, query->filtering.rows, table->live.words, words);
    (void)history_changed_rows(owner->history, query->column, query->sequence, rows, changed);
    for (size_t i = 0; i < changed; i++) {
        if (bitmap_get(query->filtering.rows, rows[i])) {
            bitmap_set(query->scanned, rows[i]);
        }
    }
    memory_release(table->memory, rows, (changed + 1) * sizeof *rows);
    table->simd->bits_and_not(query->indexed, query->filtering.rows, query->scanned, words);
    query->indexed_count = table->simd->bits_count(query->indexed, words);
    query->scanned_count = query->filtering.count - query->indexed_count;
    return VELTA_OK;
}

/* Offers every row of a bitmap with its own vector. */
static void scan(struct query *query, const uint64_t *bits, const float *vector, struct nearest *nearest,
                 struct velta_explain *explain) {
    const struct simd_kernels *simd = query->handle->db->simd;
    for (size_t word = 0; word < query->filtering.words; word++) {
        for (uint64_t left = bits[word]; left; left &= left - 1) {
            uint32_t row = (uint32_t)(word * 64 + (unsigned)__builtin_ctzll(left));
            if (read_vector(query->handle, query->column, row, query->sequence, query->vector)) {
                float distance = hnsw_distance(simd, query->metric, vector, query->vector, query->dimensions);
                nearest_offer(nearest, row, distance);
                explain->rows_scanned++;
            }
        }
    }
}

static enum velta_strategy public_strategy(enum hnsw_strategy strategy) {
    return (enum velta_strategy)strategy;
}

static enum velta_status search_one(struct query *query, size_t number, struct velta_result *result,
                                    struct velta_error *error) {
    const struct snapshot_table *owner = database_table(query->handle);
    struct velta_explain *explain = &result->explains[number];
    const float *vector = query->search->queries + number * query->dimensions;
    struct nearest nearest = {
        .rows = result->rows + number * query->k, .distances = result->distances + number * query->k, .k = query->k};
    uint64_t started_ns = host_clock_ns(NULL);
    struct hnsw *index = owner->indexes[query->column];
    explain->matching_rows = query->filtering.count;
    explain->selectivity = owner->table->live_count ? (double)query->filtering.count / owner->table->live_count : 0;
    if (index && owner->table->row_count > 0) {
        struct hnsw_report report = {0};
        struct hnsw_query asked = {
            .vector = vector,
            .k = query->k,
            .ef = query->search->ef,
            .exact = query->search->exact,
            .rows = query->indexed ? query->indexed : query->filtering.rows,
            .rows_count = query->indexed ? query->indexed_count : query->filtering.count,
        };
        enum velta_status status =
            hnsw_search(index, &asked, nearest.rows, nearest.distances, &nearest.count, &report, error);
        if (status) {
            return status;
        }
        explain->strategy = public_strategy(report.strategy);
        explain->nodes_visited = report.nodes_visited;
        explain->rows_scanned = report.rows_scanned;
        explain->rows_reranked = report.rows_reranked;
        if (query->scanned) {
            scan(query, query->scanned, vector, &nearest, explain);
        }
    } else if (owner->table->row_count > 0) {
        explain->strategy = VELTA_EXACT_VECTORS;
        scan(query, query->filtering.rows, vector, &nearest, explain);
    }
    for (uint32_t i = nearest.count; i < query->k; i++) {
        nearest.rows[i] = VELTA_NO_ROW;
        nearest.distances[i] = INFINITY;
    }
    explain->search_ns = host_clock_ns(NULL) - started_ns;
    return VELTA_OK;
}

static enum velta_status search_all(struct query *query, struct velta_result *result, struct velta_error *error) {
    const struct velta_progress *progress = &query->search->progress;
    for (size_t i = 0; i < query->search->query_count; i++) {
        enum velta_status status = search_one(query, i, result, error);
        if (status) {
            return status;
        }
        if (progress->report && (i % 64 == 63 || i + 1 == query->search->query_count) &&
            !progress->report(progress->context, i + 1, query->search->query_count)) {
            return velta_fail(error, VELTA_CANCELLED, i, "cancelled after %zu queries", i + 1);
        }
    }
    return VELTA_OK;
}

static enum velta_status make_result(struct query *query, size_t column_count, struct velta_result **out,
                                     struct velta_error *error) {
    size_t count = query->search->query_count;
    struct velta_result *result;
    enum velta_status status = result_create(query->handle->db, count * query->k, column_count, &result, error);
    if (status) {
        return status;
    }
    result->k = query->k;
    result->distances = result_allocate(result, count * query->k, sizeof *result->distances);
    result->explains = result_allocate(result, count, sizeof *result->explains);
    if (!result->distances || !result->explains) {
        return result_refused(result, error);
    }
    memset(result->explains, 0, count * sizeof *result->explains);
    result->explain_count = count;
    *out = result;
    return VELTA_OK;
}

/* The rows that may be returned, and how they divide between index and scan. */
static enum velta_status prepare(struct query *query, struct velta_error *error) {
    const struct velta_search *search = query->search;
    struct memory *memory = query->handle->db->memory;
    bool unindexed = !database_table(query->handle)->indexes[query->column];
    enum velta_status status = filtering_rows(query->handle, search->where, search->filter, query->sequence,
                                              search->at_ms, unindexed, &query->filtering, error);
    if (!status) {
        status = split_past(query, error);
    }
    if (!status) {
        query->vector = memory_allocate(memory, query->dimensions * sizeof(float));
        status = query->vector ? VELTA_OK : refuse(query, error);
    }
    return status;
}

static void release(struct query *query) {
    struct memory *memory = query->handle->db->memory;
    memory_release(memory, query->vector, query->dimensions * sizeof(float));
    memory_release(memory, query->scanned, query->filtering.words * sizeof(uint64_t));
    memory_release(memory, query->indexed, query->filtering.words * sizeof(uint64_t));
    filtering_release(&query->filtering);
}

enum velta_status velta_search(velta_table *handle, const struct velta_search *search, velta_result **out,
                               struct velta_error *error) {
    size_t indices[VELTA_MAX_COLUMNS];
    size_t index_count = 0;
    enum velta_status status = database_check(handle, error);
    if (status) {
        return status;
    }
    if (!search) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a search is needed");
    }
    struct query query = {.handle = handle, .search = search};
    query.filtering.memory = handle->db->memory;
    uint64_t started_ns = host_clock_ns(NULL);
    status = check_search(&query, error);
    if (!status) {
        status = database_sequence_at(handle, search->at_ms, &query.sequence, error);
    }
    if (!status && search->select_count > 0) {
        status = result_columns(handle, search->select, search->select_count, indices, &index_count, error);
    }
    if (status) {
        return status;
    }
    struct velta_result *result = NULL;
    status = prepare(&query, error);
    uint64_t filter_ns = host_clock_ns(NULL) - started_ns;
    if (!status) {
        status = make_result(&query, index_count, &result, error);
    }
    if (!status) {
        status = search_all(&query, result, error);
        for (size_t i = 0; i < result->explain_count; i++) {
            result->explains[i].filter_ns = filter_ns;
        }
        if (!status && result_fill(result, handle, indices, index_count, query.sequence)) {
            status = memory_fail(handle->db->memory, error);
        }
        if (status) {
            velta_result_free(result);
        }
    }
    release(&query);
    if (!status) {
        *out = result;
    }
    return status;
}

const char *velta_strategy_name(enum velta_strategy strategy) {
    static const char *const names[] = {
        [VELTA_STRATEGY_NONE] = "none",
        [VELTA_EXACT_VECTORS] = "exact scan of vectors",
        [VELTA_EXACT_CODES] = "exact scan of codes",
        [VELTA_GRAPH] = "graph",
        [VELTA_GRAPH_FILTERED] = "filtered graph",
        [VELTA_GRAPH_THEN_EXACT] = "graph, then exact scan",
    };
    return (unsigned)strategy < sizeof names / sizeof *names ? names[strategy] : "unknown";
}
