/*
 * The flat ABI: what JavaScript calls. No logic: each function spreads scalars and addresses over the options and
 * structs of store/velta.h. wasm/exports.h has the conventions and the layouts; wasm/src/abi.ts is the other side.
 *
 * Functions give a status unless they say otherwise; what a failure tells is at abi_error(). `out` is the address of a
 * 4-byte handle (an address itself; 0 is none). Ids name JavaScript's side of a thing: a storage, a clock, a watcher,
 * a progress function; 0 is none. Handles are checked by JavaScript, which alone knows them; everything behind an
 * address that came from the outside (filter text, keys, batches, bytes of a store) is checked by the engine.
 */
#include "wasm/exports.h"

#include <string.h>

#include "core/system_allocator.h"
#include "store/host.h"
#include "store/records.h"

#if defined(__wasm32__)
#define ABI_ASSERT_SIZE(name, bytes) _Static_assert(sizeof(struct name) == (bytes), "layout of " #name);
#define ABI_ASSERT_FIELD(name, member, place)                                                                          \
    _Static_assert(offsetof(struct name, member) == (place), "layout of " #name "." #member);
ABI_LAYOUT(ABI_ASSERT_SIZE, ABI_ASSERT_FIELD)
#endif

#define ABI(name) ABI_EXPORT(#name) name
#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* none of them is called from C */

/* The instance's own: JavaScript reads it after a failure. Threads that link an index never write it. */
static struct velta_error abi_last_error;

struct velta_error *ABI(abi_error)(void) {
    return &abi_last_error;
}

/* ---- memory for arguments: 16-byte aligned; 0 when refused */

void *ABI(abi_allocate)(size_t size_bytes) {
    struct velta_allocator allocator = system_allocator();
    return allocator.allocate(allocator.context, size_bytes, 16);
}

void ABI(abi_release)(void *memory, size_t size_bytes) {
    struct velta_allocator allocator = system_allocator();
    allocator.release(allocator.context, memory, size_bytes, 16);
}

/* ---- the storage behind an id */

static void execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    void *buffer = operation->kind == STORAGE_READ ? operation->buffer : (void *)(uintptr_t)operation->bytes;
    double answer = import_execute((uint32_t)(uintptr_t)context, (uint32_t)operation->kind, (uint32_t)operation->file,
                                   (double)operation->offset, (double)operation->size_bytes, buffer);
    *result = (struct storage_result){0};
    if (!(answer > -(double)VELTA_STATUS_COUNT && answer <= 9007199254740992.0)) {
        result->status = VELTA_IO;
    } else if (answer < 0) {
        result->status = (enum velta_status) - (int)answer;
    } else {
        result->size_bytes = (uint64_t)answer;
    }
}

static void close_storage(void *context) {
    import_close_storage((uint32_t)(uintptr_t)context);
}

static bool report(void *context, uint64_t done, uint64_t total) {
    return import_progress((uint32_t)(uintptr_t)context, (double)done, (double)total) != 0;
}

static struct velta_progress progress_of(uint32_t id) {
    return (struct velta_progress){.report = id ? report : NULL, .context = (void *)(uintptr_t)id};
}

static int64_t now_of(void *context) {
    return (int64_t)import_now((uint32_t)(uintptr_t)context);
}

static int64_t time_of(double time_ms) {
    if (!(time_ms > -9.2e18)) return INT64_MIN;
    return time_ms < 9.2e18 ? (int64_t)time_ms : INT64_MAX;
}

/* ---- database */

enum { ABI_RELAXED = 1, ABI_READ_ONLY = 2, ABI_MUST_EXIST = 4, ABI_LOG_TAIL = 8 }; /* flags */
enum { LOG_TAIL_BYTES = 8 << 20 };

static struct velta_options options_of(uint32_t flags, double budget_bytes, double checkpoint_bytes,
                                       uint32_t chain_interval, uint32_t threads, uint32_t clock, uint32_t progress) {
    return (struct velta_options){
        .memory_budget_bytes = (uint64_t)budget_bytes,
        .durability = flags & ABI_RELAXED ? VELTA_RELAXED : VELTA_STRICT,
        .read_only = (flags & ABI_READ_ONLY) != 0,
        .must_exist = (flags & ABI_MUST_EXIST) != 0,
        .log_tail_bytes = flags & ABI_LOG_TAIL ? LOG_TAIL_BYTES : 0,
        .thread_count = threads,
        .chain_interval = chain_interval,
        .checkpoint_bytes = checkpoint_bytes < 0 ? UINT64_MAX : (uint64_t)checkpoint_bytes,
        .now_ms = now_of,
        .now_context = (void *)(uintptr_t)clock,
        .progress = progress_of(progress),
    };
}

/* storage 0: in memory. checkpoint_bytes below 0: never by itself. */
enum velta_status ABI(abi_open)(uint32_t storage, uint32_t flags, double budget_bytes, double checkpoint_bytes,
                                uint32_t chain_interval, uint32_t threads, uint32_t clock, uint32_t progress,
                                velta **out) {
    struct velta_host host = {.context = (void *)(uintptr_t)storage, .execute = execute, .close = close_storage};
    struct velta_options options =
        options_of(flags, budget_bytes, checkpoint_bytes, chain_interval, threads, clock, progress);
    options.host = storage ? &host : NULL;
    return velta_open(NULL, &options, out, &abi_last_error);
}

enum velta_status ABI(abi_import)(const void *bytes, size_t size_bytes, uint32_t flags, double budget_bytes,
                                  uint32_t chain_interval, uint32_t threads, uint32_t clock, uint32_t progress,
                                  velta **out) {
    struct velta_options options = options_of(flags, budget_bytes, 0, chain_interval, threads, clock, progress);
    return velta_import(bytes, size_bytes, &options, out, &abi_last_error);
}

/* ---- an export by parts */

double ABI(abi_snapshot_head_bytes)(const void *bytes, size_t size_bytes) {
    return (double)velta_snapshot_head_bytes(bytes, size_bytes);
}

enum velta_status ABI(abi_snapshot_begin)(const void *head, size_t head_bytes, double file_bytes, uint32_t flags,
                                          double budget_bytes, uint32_t chain_interval, uint32_t threads,
                                          uint32_t clock, velta_snapshot **out) {
    struct velta_options options = options_of(flags, budget_bytes, 0, chain_interval, threads, clock, 0);
    return velta_snapshot_begin(head, head_bytes, (uint64_t)file_bytes, &options, out, &abi_last_error);
}

/* out: three words, the address of the segments, their number, and where the graphs begin. */
void ABI(abi_snapshot_segments)(const velta_snapshot *snapshot, size_t out[3]) {
    size_t count, before_graph;
    out[0] = (size_t)(uintptr_t)velta_snapshot_segments(snapshot, &count, &before_graph);
    out[1] = count;
    out[2] = before_graph;
}

enum velta_status ABI(abi_snapshot_feed)(velta_snapshot *snapshot, const void *bytes, size_t size_bytes) {
    return velta_snapshot_feed(snapshot, bytes, size_bytes, &abi_last_error);
}

enum velta_status ABI(abi_snapshot_open)(velta_snapshot *snapshot, velta **out) {
    return velta_snapshot_open(snapshot, out, &abi_last_error);
}

/* out: two words, how many graphs were attached, and how many given up because their rows had changed. */
enum velta_status ABI(abi_snapshot_attach)(velta_snapshot *snapshot, uint32_t out[2]) {
    return velta_snapshot_attach(snapshot, &out[0], &out[1], &abi_last_error);
}

void ABI(abi_snapshot_close)(velta_snapshot *snapshot) {
    velta_snapshot_close(snapshot);
}

enum velta_status ABI(abi_close)(velta *db) {
    return velta_close(db, &abi_last_error);
}

enum velta_status ABI(abi_flush)(velta *db) {
    return velta_flush(db, &abi_last_error);
}

enum velta_status ABI(abi_checkpoint)(velta *db, uint32_t progress) {
    struct velta_progress reports = progress_of(progress);
    return velta_checkpoint(db, &reports, &abi_last_error);
}

/* out: two words, the address and the size; given back with abi_export_free. */
enum velta_status ABI(abi_export)(velta *db, uint32_t progress, size_t out[2]) {
    struct velta_progress reports = progress_of(progress);
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    enum velta_status status = velta_export(db, &bytes, &size_bytes, &reports, &abi_last_error);
    if (status) return status;
    out[0] = (size_t)(uintptr_t)bytes;
    out[1] = (size_t)size_bytes;
    return VELTA_OK;
}

void ABI(abi_export_free)(velta *db, uint8_t *bytes, size_t size_bytes) {
    velta_export_free(db, bytes, size_bytes);
}

enum velta_status ABI(abi_log_position)(velta *db, struct velta_position *out) {
    return velta_log_position(db, out, &abi_last_error);
}

/* out: as of abi_export; 0 and 0: nothing has come since. */
enum velta_status ABI(abi_log_since)(velta *db, struct velta_position *position, double max_bytes,
                                     size_t out[2]) {
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    enum velta_status status =
        velta_log_since(db, position, (uint64_t)max_bytes, &bytes, &size_bytes, &abi_last_error);
    out[0] = (size_t)(uintptr_t)bytes;
    out[1] = (size_t)size_bytes;
    return status;
}

enum velta_status ABI(abi_follow)(velta *db, struct velta_position *position, const void *bytes, size_t size_bytes) {
    return velta_follow(db, position, bytes, size_bytes, &abi_last_error);
}

/* keep_since_ms: 0 none, below -9.2e18 all. stats: rows dropped, bytes before, bytes after. */
enum velta_status ABI(abi_compact)(velta *db, double keep_since_ms, const char *const *keep_tags, size_t tag_count,
                                   uint32_t progress, double stats[3]) {
    struct velta_compact_options options = {
        .keep_since_ms = time_of(keep_since_ms),
        .keep_tags = keep_tags,
        .keep_tag_count = tag_count,
        .progress = progress_of(progress),
    };
    struct velta_compact_stats counted = {0};
    enum velta_status status = velta_compact(db, &options, &counted, &abi_last_error);
    if (status) return status;
    stats[0] = counted.rows_dropped;
    stats[1] = (double)counted.bytes_before;
    stats[2] = (double)counted.bytes_after;
    return VELTA_OK;
}

enum velta_status ABI(abi_tag)(velta *db, const char *name) {
    return velta_tag(db, name, &abi_last_error);
}

enum velta_status ABI(abi_tag_time)(velta *db, const char *name, double *time_ms) {
    int64_t found = 0;
    enum velta_status status = velta_tag_time(db, name, &found, &abi_last_error);
    if (status) return status;
    *time_ms = (double)found;
    return VELTA_OK;
}

/* max_nodes 0: all. pending: nodes left. */
enum velta_status ABI(abi_index)(velta *db, double max_nodes, uint32_t progress, double *pending) {
    struct velta_progress reports = progress_of(progress);
    uint64_t left = 0;
    enum velta_status status = velta_index(db, (uint64_t)max_nodes, &reports, &left, &abi_last_error);
    if (status) return status;
    *pending = (double)left;
    return VELTA_OK;
}

/* The numbers of struct velta_stats in its order, 17 of them. Gives the name of the kernel set. */
const char *ABI(abi_stats)(const velta *db, double out[17]) {
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    double numbers[17] = {
        (double)stats.sequence,          (double)stats.time_ms,
        (double)stats.table_count,       (double)stats.memory_budget_bytes,
        (double)stats.memory_used_bytes, (double)stats.memory_peak_bytes,
        (double)stats.column_bytes,      (double)stats.vector_bytes,
        (double)stats.dictionary_bytes,  (double)stats.index_bytes,
        (double)stats.history_bytes,     (double)stats.data_file_bytes,
        (double)stats.log_bytes,         (double)stats.log_raw_bytes,
        (double)stats.generation,        (double)stats.cut_bytes,
        (double)stats.index_pending,
    };
    memcpy(out, numbers, sizeof numbers);
    return stats.simd;
}

enum velta_status ABI(abi_verify)(velta *db, uint32_t progress) {
    struct velta_progress reports = progress_of(progress);
    return velta_verify(db, &reports, &abi_last_error);
}

/* ---- tables */

enum velta_status ABI(abi_table_create)(velta *db, const char *name, const struct velta_column *columns,
                                        size_t column_count, velta_table **out) {
    return velta_table_create(db, name, columns, column_count, out, &abi_last_error);
}

enum velta_status ABI(abi_table_find)(velta *db, const char *name, velta_table **out) {
    return velta_table_find(db, name, out, &abi_last_error);
}

velta_table *ABI(abi_table_at)(velta *db, size_t index) {
    return velta_table_at(db, index);
}

enum velta_status ABI(abi_table_drop)(velta_table *table) {
    return velta_table_drop(table, &abi_last_error);
}

enum velta_status ABI(abi_column_add)(velta_table *table, const struct velta_column *column) {
    return velta_column_add(table, column, &abi_last_error);
}

const char *ABI(abi_table_name)(const velta_table *table) {
    return velta_table_name(table);
}

size_t ABI(abi_column_count)(const velta_table *table) {
    return velta_column_count(table);
}

const struct velta_column *ABI(abi_column_at)(const velta_table *table, size_t index) {
    return velta_column_at(table, index);
}

uint32_t ABI(abi_row_count)(const velta_table *table) {
    return velta_row_count(table);
}

uint32_t ABI(abi_live_count)(const velta_table *table) {
    return velta_live_count(table);
}

double ABI(abi_next_expiry)(const velta_table *table, const uint32_t *rows, size_t row_count) {
    return (double)velta_next_expiry(table, rows, row_count);
}

/* ---- writing */

/* stats: first row (4294967295: none), inserted, updated, sequence. */
enum velta_status ABI(abi_insert)(velta_table *table, const struct velta_values *values, size_t value_count,
                                  uint32_t row_count, uint32_t upsert, uint32_t progress, double stats[4]) {
    struct velta_write_options options = {
        .mode = upsert ? VELTA_UPSERT : VELTA_INSERT,
        .progress = progress_of(progress),
    };
    struct velta_write_stats counted = {0};
    enum velta_status status = velta_insert(table, values, value_count, row_count, &options, &counted, &abi_last_error);
    if (status) return status;
    stats[0] = counted.first_row;
    stats[1] = counted.inserted;
    stats[2] = counted.updated;
    stats[3] = (double)counted.sequence;
    return VELTA_OK;
}

enum velta_status ABI(abi_update)(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                  const struct velta_values *values, size_t value_count, double *sequence) {
    uint64_t last = 0;
    enum velta_status status = velta_update(table, keys, key_count, values, value_count, &last, &abi_last_error);
    if (status) return status;
    *sequence = (double)last;
    return VELTA_OK;
}

enum velta_status ABI(abi_delete)(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                  uint32_t *deleted) {
    return velta_delete(table, keys, key_count, deleted, &abi_last_error);
}

enum velta_status ABI(abi_expire_at)(velta_table *table, const struct velta_keys *keys, size_t key_count,
                                     const int64_t *times_ms) {
    return velta_expire_at(table, keys, key_count, times_ms, &abi_last_error);
}

enum velta_status ABI(abi_expire)(velta_table *table, double now_ms, uint32_t *deleted) {
    return velta_expire(table, time_of(now_ms), deleted, &abi_last_error);
}

/* ids: room for count sequence numbers of 8 bytes, or 0. */
enum velta_status ABI(abi_apply)(velta_table *table, const char *column, const struct velta_delta *deltas, size_t count,
                                 double time_ms, uint64_t *ids) {
    return velta_apply(table, column, deltas, count, time_of(time_ms), ids, &abi_last_error);
}

/*
 * Records of docs/FORMAT.md, section 8. streams: the table of positions, 0: none; name: the stream's. ids: room for
 * `limit` sequence numbers of 8 bytes, or 0. counts: applied, skipped, bytes of both, sequence number of the last.
 */
enum velta_status ABI(abi_apply_records)(velta_table *table, const char *column, const void *records, size_t size_bytes,
                                         uint32_t limit, velta_table *streams, const char *name, uint32_t name_bytes,
                                         uint64_t *ids, double counts[4]) {
    struct stream_position position = {.table = streams, .name = name, .name_bytes = name_bytes};
    struct records_applied done;
    enum velta_status status =
        records_apply(table, column, records, size_bytes, limit, &position, ids, &done, &abi_last_error);
    counts[0] = done.applied;
    counts[1] = done.skipped;
    counts[2] = (double)done.size_bytes;
    counts[3] = (double)done.last_sequence;
    return status;
}

/* ---- reading */

enum velta_status ABI(abi_find)(velta_table *table, const struct velta_keys *keys, size_t key_count, double at_ms,
                                uint32_t *rows) {
    return velta_find(table, keys, key_count, time_of(at_ms), rows, &abi_last_error);
}

/* The same for one key that is a text, without structs: most calls name one row. */
enum velta_status ABI(abi_find_text)(velta_table *table, const char *text, size_t text_bytes, double at_ms,
                                     uint32_t *row) {
    const uint64_t offsets[2] = {0, text_bytes};
    struct velta_keys key = {.text = text, .offsets = offsets};
    return velta_find(table, &key, 1, time_of(at_ms), row, &abi_last_error);
}

enum velta_status ABI(abi_get)(velta_table *table, const uint32_t *rows, size_t row_count, const char *const *columns,
                               size_t column_count, double at_ms, velta_result **out) {
    return velta_get(table, rows, row_count, columns, column_count, time_of(at_ms), out, &abi_last_error);
}

enum velta_status ABI(abi_get_vector)(velta_table *table, const char *column, uint32_t row, double at_ms, float *out) {
    return velta_get_vector(table, column, row, time_of(at_ms), out, &abi_last_error);
}

const float *ABI(abi_vector_view)(velta_table *table, const char *column, uint32_t row) {
    return velta_vector_view(table, column, row);
}

/*
 * The vector of the row with a text as key, as it is now. out: where it lies; `copy`, room for one (0: none is given),
 * when it is not kept as f32; 0 when no such row lives or its vector is NULL.
 */
enum velta_status ABI(abi_vector_of_text)(velta_table *table, const char *column, const char *text, size_t text_bytes,
                                          float *copy, const float **out) {
    const uint64_t offsets[2] = {0, text_bytes};
    struct velta_keys key = {.text = text, .offsets = offsets};
    uint32_t row = VELTA_NO_ROW;
    *out = NULL;
    enum velta_status status = velta_find(table, &key, 1, 0, &row, &abi_last_error);
    if (status || row == VELTA_NO_ROW) return status;
    *out = velta_vector_view(table, column, row);
    if (*out || !copy) return VELTA_OK;
    status = velta_get_vector(table, column, row, 0, copy, &abi_last_error);
    if (status == VELTA_NOT_FOUND) return VELTA_OK;
    *out = copy;
    return status;
}

enum velta_status ABI(abi_get_chain)(velta_table *table, const char *column, uint32_t row, velta_result **out) {
    return velta_get_chain(table, column, row, out, &abi_last_error);
}

const struct velta_chain_item *ABI(abi_result_chain)(const velta_result *result, size_t *count) {
    return velta_result_chain(result, count);
}

/* ---- filters */

enum velta_status ABI(abi_filter_compile)(velta_table *table, const char *text, velta_filter **out) {
    return velta_filter_compile(table, text, out, &abi_last_error);
}

void ABI(abi_filter_free)(velta_filter *filter) {
    velta_filter_free(filter);
}

enum velta_status ABI(abi_filter_count)(velta_filter *filter, double *count) {
    uint64_t matching = 0;
    enum velta_status status = velta_filter_count(filter, &matching, &abi_last_error);
    if (status) return status;
    *count = (double)matching;
    return VELTA_OK;
}

enum velta_status ABI(abi_filter_rows)(velta_filter *filter, uint32_t *rows, size_t capacity, double *count) {
    uint64_t matching = 0;
    enum velta_status status = velta_filter_rows(filter, rows, capacity, &matching, &abi_last_error);
    if (status) return status;
    *count = (double)matching;
    return VELTA_OK;
}

enum velta_status ABI(abi_filter_zones)(velta_filter *filter, const uint8_t *holds, uint32_t *zones, size_t capacity,
                                        double *count) {
    uint64_t left = 0;
    enum velta_status status = velta_filter_zones(filter, holds, zones, capacity, &left, &abi_last_error);
    if (status) return status;
    *count = (double)left;
    return VELTA_OK;
}

/* ---- search, aggregates */

enum velta_status ABI(abi_search)(velta_table *table, const char *column, const float *queries, size_t query_count,
                                  uint32_t k, uint32_t ef, const char *where, velta_filter *filter,
                                  const char *const *select, size_t select_count, double at_ms, uint32_t exact,
                                  uint32_t progress, velta_result **out) {
    struct velta_search search = {
        .column = column,
        .queries = queries,
        .query_count = query_count,
        .k = k,
        .ef = ef,
        .where = where,
        .filter = filter,
        .select = select,
        .select_count = select_count,
        .at_ms = time_of(at_ms),
        .exact = exact != 0,
        .progress = progress_of(progress),
    };
    return velta_search(table, &search, out, &abi_last_error);
}

const char *ABI(abi_strategy_name)(enum velta_strategy strategy) {
    return velta_strategy_name(strategy);
}

const struct velta_explain *ABI(abi_result_explain)(const velta_result *result, size_t query) {
    return velta_result_explain(result, query);
}

enum velta_status ABI(abi_aggregate)(velta_table *table, const char *where, const struct velta_aggregate *aggregates,
                                     size_t count, const char *group_by, size_t top, size_t order_by,
                                     velta_result **out) {
    struct velta_aggregate_query query = {
        .where = where,
        .aggregates = aggregates,
        .aggregate_count = count,
        .group_by = group_by,
        .top = top,
        .order_by = order_by,
    };
    return velta_aggregate(table, &query, out, &abi_last_error);
}

enum velta_status ABI(abi_top)(velta_table *table, const char *where, const char *column, uint32_t smallest, size_t top,
                               const char *const *columns, size_t column_count, velta_result **out) {
    return velta_top(table, where, column, smallest != 0, top, columns, column_count, out, &abi_last_error);
}

/* ---- results */

size_t ABI(abi_result_count)(const velta_result *result) {
    return velta_result_count(result);
}

const uint32_t *ABI(abi_result_rows)(const velta_result *result) {
    return velta_result_rows(result);
}

const float *ABI(abi_result_distances)(const velta_result *result) {
    return velta_result_distances(result);
}

size_t ABI(abi_result_column_count)(const velta_result *result) {
    return velta_result_column_count(result);
}

/* values: struct velta_values, then its enum velta_type in the word after it. */
enum velta_status ABI(abi_result_column)(const velta_result *result, size_t index, struct velta_values *values) {
    enum velta_type *type = (enum velta_type *)(values + 1);
    return velta_result_column(result, index, values, type);
}

void ABI(abi_result_free)(velta_result *result) {
    velta_result_free(result);
}

/* ---- iterators */

enum { ABI_HAS_START = 1, ABI_HAS_END = 2 };

/* ends: the bounds when the key is a number (two of 8 bytes), or 0; start, end: when it is text. */
enum velta_status ABI(abi_iterate)(velta_table *table, uint32_t has, const int64_t *ends, const char *start,
                                   size_t start_bytes, const char *end, size_t end_bytes, const char *const *columns,
                                   size_t column_count, double at_ms, velta_iterator **out) {
    struct velta_range range = {
        .has_start = (has & ABI_HAS_START) != 0,
        .has_end = (has & ABI_HAS_END) != 0,
        .start_int = ends ? ends[0] : 0,
        .end_int = ends ? ends[1] : 0,
        .start = start,
        .start_bytes = start_bytes,
        .end = end,
        .end_bytes = end_bytes,
    };
    return velta_iterate(table, &range, columns, column_count, time_of(at_ms), out, &abi_last_error);
}

enum velta_status ABI(abi_iterator_next)(velta_iterator *iterator, size_t max_rows, velta_result **out) {
    return velta_iterator_next(iterator, max_rows, out, &abi_last_error);
}

void ABI(abi_iterator_close)(velta_iterator *iterator) {
    velta_iterator_close(iterator);
}

/* ---- subscriptions */

static void tell(void *context, const struct velta_change *change) {
    import_change((uint32_t)(uintptr_t)context, change);
}

/* Gives the subscription, 0 when refused. */
double ABI(abi_watch)(velta *db, uint32_t watcher) {
    return (double)velta_watch(db, tell, (void *)(uintptr_t)watcher);
}

void ABI(abi_unwatch)(velta *db, double subscription) {
    velta_unwatch(db, (uint64_t)subscription);
}

const char *ABI(abi_version)(void) {
    return velta_version();
}

/*
 * Which of the builds this is, by the export's name, so that it is known before the module is instantiated. Gives the
 * version.
 */
#if defined(__wasm_atomics__)
#define ABI_BUILD abi_build_threads
#elif defined(VELTA_RELAXED_SIMD)
#define ABI_BUILD abi_build_relaxed
#elif defined(__wasm_simd128__)
#define ABI_BUILD abi_build_simd128
#else
#define ABI_BUILD abi_build_scalar
#endif
#define ABI_EXPANDED(name) ABI(name)
const char *ABI_EXPANDED(ABI_BUILD)(void) {
    return velta_version();
}
