/*
 * Every call of store/velta.h with every allocation refused in turn, once and from then on, and with budgets that end
 * at any point of it: a status, the state as it was (by the digest of an export), nothing leaked, and a second attempt
 * that gives what the first would have.
 *
 * The tables below name the functions that each entry calls; a test reads the header and fails for one in none.
 */
#include "tests/unit/store_parts.h"
#include "tests/unit/store_world.h"

#include <ctype.h>
#include <inttypes.h>

#include "core/memory_state.h"
#include "hnsw/graph.h"
#include "store/database.h"

static uint64_t refused; /* attempts in which memory was refused */

/* ---- reading calls */

static uint64_t mixed(uint64_t hash, const void *bytes, size_t size_bytes) {
    return hash * 31 + (size_bytes > 0 ? hash_bytes(bytes, size_bytes) : 1);
}

static unsigned ways_seen[VELTA_GRAPH_THEN_EXACT + 1];

static size_t value_bytes(const velta_result *result, const struct velta_values *values, enum velta_type type) {
    size_t rows = velta_result_count(result);
    switch (type) {
    case VELTA_BOOL:
        return rows;
    case VELTA_STRING:
    case VELTA_BYTES:
        return (size_t)values->offsets[rows];
    case VELTA_VECTOR:
        return rows * SAMPLE_DIMENSIONS * sizeof(float);
    default:
        return rows * sizeof(int64_t);
    }
}

/* Hashes a result into the outcome and frees it. The accessors need no memory, so they are called as well. */
static enum velta_status take_result(struct world *world, velta_result *result, enum velta_status status) {
    if (status) {
        assert_null(result);
        return status;
    }
    size_t rows = velta_result_count(result);
    size_t deltas = 0;
    world->outcome = mixed(world->outcome, velta_result_rows(result), rows * sizeof(uint32_t));
    if (velta_result_distances(result))
        world->outcome = mixed(world->outcome, velta_result_distances(result), rows * sizeof(float));
    for (size_t c = 0; c < velta_result_column_count(result); c++) {
        struct velta_values values;
        enum velta_type type;
        assert_int_equal(velta_result_column(result, c, &values, &type), VELTA_OK);
        world->outcome = mixed(world->outcome, values.data, value_bytes(result, &values, type));
    }
    if (velta_result_k(result) > 0) {
        enum velta_strategy strategy = velta_result_explain(result, 0)->strategy;
        const char *name = velta_strategy_name(strategy);
        world->outcome = mixed(world->outcome, name, strlen(name));
        ways_seen[strategy]++;
    }
    const struct velta_chain_item *chain = velta_result_chain(result, &deltas);
    for (size_t i = 0; i < deltas; i++)
        world->outcome = mixed(world->outcome, &chain[i].sequence, sizeof chain[i].sequence);
    velta_result_free(result);
    return VELTA_OK;
}

enum { READ_ROWS = 2000 };
static const int64_t some_ids[] = {3, 17, 250, 5000};

static enum velta_status see_find(struct world *world, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    for (int64_t at_ms = 0; at_ms <= 1500 && !status; at_ms += 1500) {
        uint32_t rows[4] = {0};
        status = velta_find(world->table, &(struct velta_keys){.ints = some_ids}, 4, at_ms, rows, error);
        world->outcome = mixed(world->outcome, rows, sizeof rows);
    }
    velta_table *table;
    return status ? status : velta_table_find(world->db, "t", &table, error);
}

static enum velta_status see_get_at(struct world *world, int64_t at_ms, struct velta_error *error) {
    static const char *const columns[] = {"word", "v", "h", "c", "blob", "flag", "made"};
    static const uint32_t rows[] = {5, 17, 5, 25};
    velta_result *result = NULL;
    enum velta_status status = velta_get(world->table, rows, 4, NULL, 0, at_ms, &result, error);
    status = take_result(world, result, status);
    if (status) return status;
    result = NULL;
    status = velta_get(world->table, rows, 4, columns, 7, at_ms, &result, error);
    return take_result(world, result, status);
}

static enum velta_status see_get(struct world *world, struct velta_error *error) {
    return see_get_at(world, 0, error);
}

static enum velta_status see_get_past(struct world *world, struct velta_error *error) {
    return see_get_at(world, 1500, error);
}

static enum velta_status see_vectors(struct world *world, struct velta_error *error) {
    static const char *const columns[] = {"v", "h", "c"};
    enum velta_status status = VELTA_OK;
    for (size_t i = 0; i < 6 && !status; i++) {
        float vector[SAMPLE_DIMENSIONS] = {0};
        status = velta_get_vector(world->table, columns[i % 3], 5, i < 3 ? 0 : 1500, vector, error);
        world->outcome = mixed(world->outcome, vector, sizeof vector);
    }
    return status;
}

static enum velta_status see_chain(struct world *world, struct velta_error *error) {
    velta_result *result = NULL;
    enum velta_status status = velta_get_chain(world->table, "v", 5, &result, error);
    return take_result(world, result, status);
}

static enum velta_status see_filter(struct world *world, struct velta_error *error) {
    static const char text[] =
        "(word IN ('w1', 'w2', 'w30') OR word LIKE 'w_' OR size BETWEEN 5 AND 90000) AND NOT flag "
        "AND (score < 0.9 OR blob CONTAINS x'31' OR made >= '1990-01-01' OR id != 7)";
    velta_filter *filter = NULL;
    uint32_t rows[64] = {0};
    uint64_t count = 0;
    enum velta_status status = velta_filter_compile(world->table, text, &filter, error);
    if (!status) status = velta_filter_count(filter, &count, error);
    if (!status) status = velta_filter_rows(filter, rows, 64, &count, error);
    if (!status) {
        world->outcome = mixed(count, rows, sizeof rows);
        /* The same one compiled, in a search. */
        float query[SAMPLE_DIMENSIONS] = {1, -1};
        struct velta_search search = {.column = "v", .queries = query, .query_count = 1, .filter = filter};
        velta_result *result = NULL;
        status = velta_search(world->table, &search, &result, error);
        status = take_result(world, result, status);
    }
    velta_filter_free(filter);
    return status;
}

static enum velta_status see_zones(struct world *world, struct velta_error *error) {
    velta_table *plain = NULL;
    velta_filter *filter = NULL;
    uint32_t zones[64] = {0};
    uint64_t count = 0;
    enum velta_status status = velta_table_find(world->db, "plain", &plain, error);
    if (!status) status = velta_filter_compile(plain, "v IS NOT NULL OR v IS NULL", &filter, error);
    if (!status) status = velta_filter_zones(filter, NULL, zones, 64, &count, error);
    if (!status) world->outcome = mixed(count, zones, sizeof zones);
    velta_filter_free(filter);
    return status;
}

static enum velta_status see_search(struct world *world, const struct velta_search *wanted, struct velta_error *error) {
    static const char *const selected[] = {"id", "word", "v"};
    float queries[3 * SAMPLE_DIMENSIONS];
    struct random random = random_seeded(7);
    random_vector(&random, queries, 3 * SAMPLE_DIMENSIONS);
    struct velta_search search = *wanted;
    search.queries = queries;
    search.query_count = 3;
    search.select = wanted->column ? selected : NULL;
    search.select_count = wanted->column ? 3 : 0;
    velta_result *result = NULL;
    enum velta_status status = velta_search(world->table, &search, &result, error);
    return take_result(world, result, status);
}

#define SEARCH(name, ...)                                                                                              \
    static enum velta_status name(struct world *world, struct velta_error *error) {                                    \
        return see_search(world, &(struct velta_search){__VA_ARGS__}, error);                                          \
    }
SEARCH(search_exact, .column = "v", .exact = true)
SEARCH(search_half, .column = "h", .exact = true, .where = "flag")
SEARCH(search_few, .column = "v", .where = "id < 50")
SEARCH(search_codes, .column = "c", .where = "id < 500 AND word != 'w3'")
SEARCH(search_past, .column = "v", .at_ms = 1500, .where = "id < 1900")
SEARCH(search_many, .column = "c", .k = 1000)
SEARCH(search_graph_filtered, .column = "v", .where = "size > 300000")

/* Every row of this table is alive, so that the graph is searched without a filter. */
static enum velta_status search_graph(struct world *world, struct velta_error *error) {
    velta_table *usual = world->table;
    enum velta_status status = velta_table_find(world->db, "plain", &world->table, error);
    status = status ? status : see_search(world, &(struct velta_search){.k = 20, .ef = 40}, error);
    world->table = usual;
    return status;
}

static enum velta_status see_iterate_at(struct world *world, int64_t at_ms, struct velta_error *error) {
    static const char *const columns[] = {"word", "v"};
    struct velta_range range = {.has_start = true, .has_end = true, .start_int = 10, .end_int = 30};
    velta_iterator *iterator = NULL;
    enum velta_status status = velta_iterate(world->table, &range, columns, 2, at_ms, &iterator, error);
    for (int i = 0; i < 4 && !status; i++) {
        velta_result *result = NULL;
        status = velta_iterator_next(iterator, 8, &result, error);
        status = take_result(world, result, status);
    }
    velta_iterator_close(iterator);
    return status;
}

static enum velta_status see_iterate(struct world *world, struct velta_error *error) {
    return see_iterate_at(world, 0, error);
}

static enum velta_status see_iterate_past(struct world *world, struct velta_error *error) {
    return see_iterate_at(world, 1500, error);
}

static enum velta_status see_aggregate(struct world *world, struct velta_error *error) {
    static const struct velta_aggregate aggregates[] = {
        {VELTA_COUNT, NULL}, {VELTA_SUM, "size"}, {VELTA_MIN, "made"}, {VELTA_MAX, "score"}, {VELTA_MEAN, "score"}};
    static const char *const groups[] = {NULL, "word", "flag", "id"};
    enum velta_status status = VELTA_OK;
    for (size_t i = 0; i < 4 && !status; i++) {
        struct velta_aggregate_query query = {.where = i > 0 ? "score > 0.2" : NULL,
                                              .aggregates = aggregates,
                                              .aggregate_count = 5,
                                              .group_by = groups[i],
                                              .top = i == 3 ? 5 : 0};
        velta_result *result = NULL;
        status = velta_aggregate(world->table, &query, &result, error);
        status = take_result(world, result, status);
    }
    return status;
}

static enum velta_status see_top(struct world *world, struct velta_error *error) {
    static const char *const columns[] = {"word", "size"};
    velta_result *result = NULL;
    enum velta_status status = velta_top(world->table, "flag", "score", true, 12, columns, 2, &result, error);
    return take_result(world, result, status);
}

static enum velta_status see_tag_time(struct world *world, struct velta_error *error) {
    int64_t time_ms = 0;
    enum velta_status status = velta_tag_time(world->db, "base", &time_ms, error);
    world->outcome = (uint64_t)time_ms;
    return status;
}

static void watched(void *context, const struct velta_change *change) {
    (void)change;
    ++*(uint64_t *)context;
}

/* A refused subscription is told by the id 0; one that is had sees the change. */
static enum velta_status see_watch(struct world *world, struct velta_error *error) {
    uint64_t seen = 0;
    uint64_t id = velta_watch(world->db, watched, &seen);
    if (id == 0) {
        *error = (struct velta_error){.code = VELTA_NO_MEMORY};
        return VELTA_NO_MEMORY;
    }
    velta_unwatch(world->db, id);
    world->outcome = seen;
    return VELTA_OK;
}

/* What needs no memory: tested by refusing all. */
static enum velta_status see_facts(struct world *world, struct velta_error *error) {
    struct velta_stats stats;
    (void)error;
    velta_get_stats(world->db, &stats);
    const velta_table *table = velta_table_at(world->db, 0);
    const float *vector = velta_vector_view(world->table, "v", 5);
    assert_string_equal(velta_table_name(table), "t");
    assert_string_equal(velta_version(), VELTA_VERSION_TEXT);
    assert_string_equal(velta_status_name(VELTA_OK), "VELTA_OK");
    assert_non_null(velta_status_sentence(VELTA_IO));
    world->outcome = mixed(velta_column_count(table), vector, SAMPLE_DIMENSIONS * sizeof *vector);
    world->outcome += stats.sequence + velta_row_count(table) + velta_live_count(table);
    world->outcome += (uint64_t)velta_column_at(table, 3)->type;
    world->outcome += (uint64_t)velta_next_expiry(table, (const uint32_t[]){3, 4, 5}, 3);
    return VELTA_OK;
}

/* ---- the tables */

/*
 * KEEPS_STATE: the digest does not change even when it succeeds. LINKS: does index work, some of which may stay when it
 * fails. LOGS: its way through the log depends on how the database was opened. FREE: needs no memory.
 */
enum { KEEPS_STATE = 1, LINKS = 2, LOGS = 4, FREE = 8 };

struct call {
    const char *functions; /* of store/velta.h, without velta_ */
    operation *run;
    unsigned kind;
};

static const struct call writing[] = {
    {"insert", do_insert, LOGS},
    {"insert", do_upsert, 0},
    {"insert", do_large_insert, LOGS},
    {"update", do_update, 0},
    {"delete", do_delete, 0},
    {"expire_at", do_expire_at, 0},
    {"expire", do_expire, 0},
    {"apply", do_apply, LOGS},
    {"apply", do_births, 0},
    {"table_create", do_table_create, LOGS},
    {"column_add", do_column_add, 0},
    {"tag", do_tag, 0},
    {"table_drop", do_drop, 0},
    {"flush", do_flush, KEEPS_STATE | LOGS},
    {"checkpoint", do_checkpoint, KEEPS_STATE},
    {"verify", do_verify, KEEPS_STATE},
    {"export export_free", do_export, KEEPS_STATE},
    {"compact", do_compact, LINKS},
    {"compact", do_compact_all, LINKS},
    {"index", do_index, LINKS},
};
enum { WRITING_COUNT = sizeof writing / sizeof writing[0] };

static const struct call reading[] = {
    {"find table_find", see_find, FREE},
    {"get result_free result_count result_rows result_column_count result_column", see_get, 0},
    {"get", see_get_past, 0},
    {"get_vector", see_vectors, 0},
    {"get_chain result_chain", see_chain, 0},
    {"filter_compile filter_count filter_rows filter_free", see_filter, 0},
    {"filter_zones", see_zones, 0},
    {"search result_k result_distances result_explain strategy_name", search_exact, 0},
    {"search", search_half, 0},
    {"search", search_few, 0},
    {"search", search_codes, 0},
    {"search", search_graph, 0},
    {"search", search_graph_filtered, 0},
    {"search", search_past, 0},
    {"search", search_many, 0},
    {"iterate iterator_next iterator_close", see_iterate, 0},
    {"iterate", see_iterate_past, 0},
    {"aggregate", see_aggregate, 0},
    {"top", see_top, 0},
    {"watch unwatch", see_watch, 0},
    {"tag_time", see_tag_time, FREE},
    {"get_stats table_at table_name version status_name status_sentence column_count column_at row_count live_count "
     "next_expiry vector_view",
     see_facts, FREE},
};
enum { READING_COUNT = sizeof reading / sizeof reading[0] };

/* Of the tests further below, and of test_store_follow.c. */
static const struct call opening[] = {
    {"open import salvage close snapshot_head_bytes snapshot_begin snapshot_segments snapshot_feed snapshot_open "
     "snapshot_attach snapshot_close log_position log_since follow",
     NULL, 0}};

static bool lists(const struct call *calls, size_t count, const char *name, size_t name_bytes) {
    for (size_t i = 0; i < count; i++) {
        const char *at = calls[i].functions;
        while (at) {
            at += *at == ' ';
            const char *end = strchr(at, ' ');
            size_t bytes = end ? (size_t)(end - at) : strlen(at);
            if (bytes == name_bytes && memcmp(at, name, bytes) == 0) return true;
            at = end;
        }
    }
    return false;
}

/* Declarations are the only places of the header where velta_name is followed by a parenthesis, but for comments. */
static void no_public_call_is_left_out(void **state) {
    (void)state;
    size_t size_bytes;
    char *text = (char *)test_read_file("store/velta.h", &size_bytes);
    text = realloc(text, size_bytes + 1);
    text[size_bytes] = '\0';
    unsigned found = 0;
    for (char *at = strstr(text, "velta_"); at; at = strstr(at + 1, "velta_")) {
        char *name = at + strlen("velta_");
        char *end = name;
        while (islower((unsigned char)*end) || isdigit((unsigned char)*end) || *end == '_')
            end++;
        char *line = at;
        while (line > text && line[-1] != '\n')
            line--;
        bool declared = line[0] != ' ' && line[0] != '/' && strncmp(line, "typedef", strlen("typedef")) != 0;
        if (*end != '(' || !declared) continue;
        found++;
        size_t bytes = (size_t)(end - name);
        if (!lists(writing, WRITING_COUNT, name, bytes) && !lists(reading, READING_COUNT, name, bytes) &&
            !lists(opening, 1, name, bytes))
            fail_msg("velta_%.*s is called by no test of refused memory", (int)bytes, name);
    }
    free(text);
    assert_true(found > 50);
    assert_false(lists(reading, READING_COUNT, "no_such_call", 12));
}

/* ---- allocations refused: calls that write */

struct memory_case {
    const struct call *call;
    struct velta_options options;
    uint64_t reference;   /* the digest after the call without failures */
    const uint8_t *bytes; /* reading: an export to read in */
    uint64_t size_bytes;
};

/* After a refusal: the state as before, and a second attempt that succeeds. */
static void check_refused(struct world *world, const struct call *call, uint64_t before, enum velta_status status,
                          const struct velta_error *told) {
    struct velta_error error = {0};
    if (status != VELTA_NO_MEMORY && status != VELTA_OVER_BUDGET) fail_msg("%s: %s", call->functions, told->text);
    assert_int_equal(told->code, status);
    /* Links made before the refusal stay; everything else is as it was. */
    if (digest(world->db) != before && !(call->kind & LINKS))
        fail_msg("%s: refused memory left a trace", call->functions);
    assert_verifies(world->db);
    world->outcome = 0;
    if (call->run(world, &error)) fail_msg("%s: the second attempt: %s", call->functions, error.text);
}

/* What was written is what is in memory: the digest of the database opened anew; 0 where links are made again. */
static void check_reopened(struct world *world, const struct call *call, uint64_t wanted) {
    struct velta_error error = {0};
    assert_ok(velta_close(world->db, &error), &error);
    world->db = NULL;
    if (velta_open(NULL, &world->options, &world->db, &error))
        fail_msg("%s: reopened: %s", call->functions, error.text);
    if (wanted == 0) {
        assert_verifies(world->db);
    } else if (digest(world->db) != wanted) {
        fail_msg("%s: reopened, it differs", call->functions);
    }
}

static bool write_with_refusals(struct test_allocator *self, void *context) {
    struct memory_case *memory_case = context;
    const struct call *call = memory_case->call;
    struct velta_error error = {0};
    struct world world;
    world_make(&world, &memory_case->options, &self->allocator);
    uint64_t before = digest(world.db);
    test_allocator_rearm(self);
    enum velta_status status = call->run(&world, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    if (status) check_refused(&world, call, before, status, &error);
    if ((call->kind & LINKS)) {
        assert_verifies(world.db);
    } else if (digest(world.db) != memory_case->reference) {
        fail_msg("%s: differs from an undisturbed call", call->functions);
    }
    check_reopened(&world, call, call->kind & LINKS ? 0 : memory_case->reference);
    world_free(&world);
    return status == VELTA_OK;
}

static uint64_t undisturbed(const struct call *call, const struct velta_options *options) {
    struct world world;
    struct velta_error error = {0};
    world_make(&world, options, NULL);
    uint64_t before = digest(world.db);
    if (call->run(&world, &error)) fail_msg("%s: %s", call->functions, error.text);
    uint64_t after = digest(world.db);
    assert_true((after == before) == ((call->kind & KEEPS_STATE) != 0) || (call->kind & LINKS));
    world_free(&world);
    return after;
}

static void refuse_every_allocation(const struct velta_options *options, unsigned kinds) {
    for (size_t i = 0; i < WRITING_COUNT; i++) {
        if (kinds && !(writing[i].kind & kinds)) continue;
        struct memory_case memory_case = {.call = &writing[i], .options = *options};
        struct test_allocator self;
        test_allocator_init(&self);
        memory_case.reference = undisturbed(&writing[i], options);
        assert_true(test_every_allocation_fails(&self, write_with_refusals, &memory_case) >= 2);
    }
}

static void no_refused_allocation_leaves_a_trace(void **state) {
    (void)state;
    refuse_every_allocation(&(struct velta_options){.durability = VELTA_STRICT}, 0);
}

static void nor_when_relaxed(void **state) {
    (void)state;
    refuse_every_allocation(&(struct velta_options){.durability = VELTA_RELAXED}, LOGS);
}

static void nor_when_every_change_makes_a_checkpoint(void **state) {
    (void)state;
    refuse_every_allocation(&(struct velta_options){.checkpoint_bytes = 1}, LOGS);
}

static void nor_with_threads(void **state) {
    (void)state;
    refuse_every_allocation(&(struct velta_options){.thread_count = 3}, LINKS);
}

/* ---- allocations refused: calls that read */

/* An export with everything that reading calls look at: links, past values, deleted and expiring rows. */
static void make_readable(struct memory_case *memory_case) {
    struct world world;
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    world_make(&world, &(struct velta_options){.durability = VELTA_RELAXED}, NULL);
    sample_insert(world.table, BASE_ROWS, READ_ROWS - BASE_ROWS, 8);
    velta_table *plain;
    assert_ok(velta_table_create(world.db, "plain", sample_schema + 7, 1, &plain, &error), &error);
    struct sample sample;
    sample_make(&sample, 0, READ_ROWS / 2, 9);
    sample.values[7].valid = NULL;
    assert_ok(velta_insert(plain, sample.values + 7, 1, READ_ROWS / 2, NULL, NULL, &error), &error);
    sample_free(&sample);
    assert_ok(velta_index(world.db, 0, NULL, NULL, &error), &error);
    assert_ok(velta_export(world.db, &bytes, &memory_case->size_bytes, NULL, &error), &error);
    uint8_t *copy = malloc((size_t)memory_case->size_bytes);
    memcpy(copy, bytes, (size_t)memory_case->size_bytes);
    memory_case->bytes = copy;
    velta_export_free(world.db, bytes, memory_case->size_bytes);
    world_free(&world);
}

static void readable_open(struct world *world, const struct memory_case *memory_case,
                          const struct velta_allocator *allocator) {
    struct velta_error error = {0};
    *world = (struct world){.now_ms = 3000};
    world->options = (struct velta_options){
        .allocator = allocator, .now_ms = sample_clock, .now_context = &world->now_ms, .thread_count = 1};
    assert_ok(velta_import(memory_case->bytes, memory_case->size_bytes, &world->options, &world->db, &error), &error);
    assert_ok(velta_table_find(world->db, "t", &world->table, &error), &error);
    /* The way of a search must not depend on how fast it runs. For "v" a scan is dear. */
    struct hnsw **indexes = database_table(world->table)->indexes;
    for (size_t c = 0; c < SAMPLE_COLUMNS; c++)
        if (indexes[c]) indexes[c]->options.clock_ns = NULL;
    indexes[7]->cost_scan_ns = 1e6F;
}

static bool read_with_refusals(struct test_allocator *self, void *context) {
    struct memory_case *memory_case = context;
    const struct call *call = memory_case->call;
    struct velta_error error = {0};
    struct world world;
    readable_open(&world, memory_case, &self->allocator);
    test_allocator_rearm(self);
    enum velta_status status = call->run(&world, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    if (status)
        check_refused(&world, call, hash_bytes(memory_case->bytes, (size_t)memory_case->size_bytes), status, &error);
    if (world.outcome != memory_case->reference) fail_msg("%s: another answer", call->functions);
    assert_ok(velta_close(world.db, &error), &error);
    return status == VELTA_OK;
}

static uint64_t undisturbed_reading(struct memory_case *memory_case) {
    struct world world;
    struct velta_error error = {0};
    readable_open(&world, memory_case, NULL);
    if (memory_case->call->run(&world, &error)) fail_msg("%s: %s", memory_case->call->functions, error.text);
    assert_ok(velta_close(world.db, &error), &error);
    return world.outcome;
}

static void reading_survives_every_refusal(void **state) {
    (void)state;
    struct memory_case memory_case = {0};
    make_readable(&memory_case);
    for (size_t i = 0; i < READING_COUNT; i++) {
        struct test_allocator self;
        test_allocator_init(&self);
        memory_case.call = &reading[i];
        memory_case.reference = undisturbed_reading(&memory_case);
        uint64_t runs = test_every_allocation_fails(&self, read_with_refusals, &memory_case);
        if (runs > 2 && (reading[i].kind & FREE))
            fail_msg("%s: %" PRIu64 " allocations", reading[i].functions, runs - 2);
    }
    for (int way = VELTA_EXACT_VECTORS; way <= VELTA_GRAPH_FILTERED; way++)
        if (ways_seen[way] == 0) fail_msg("no search went the way '%s'", velta_strategy_name((enum velta_strategy)way));
    free((void *)(uintptr_t)memory_case.bytes);
}

/* ---- opening, importing, closing */

/* Opens what is there, for reading or for writing, with a torn tail that a writer cuts off. */
struct open_case {
    struct world *world;
    bool read_only;
    uint64_t wanted;
};

static bool open_with_refusals(struct test_allocator *self, void *context) {
    static char torn[100] = {99};
    const struct open_case *open_case = context;
    struct disk *disk = &open_case->world->disk;
    struct velta_error error = {0};
    struct velta_host host = disk_host(disk);
    struct velta_options options = {.allocator = &self->allocator, .host = &host, .read_only = open_case->read_only};
    velta *db = NULL;
    if (!open_case->read_only) {
        uint64_t end = disk_do(disk, STORAGE_SIZE, STORAGE_LOG, 0, 0, NULL).size_bytes;
        disk_do(disk, STORAGE_WRITE, STORAGE_LOG, end, sizeof torn, torn);
    }
    test_allocator_rearm(self);
    enum velta_status status = velta_open(NULL, &options, &db, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    if (status) {
        if (status != VELTA_NO_MEMORY) fail_msg("%s", error.text);
        assert_null(db);
        assert_ok(velta_open(NULL, &options, &db, &error), &error);
    }
    assert_true(digest(db) == open_case->wanted);
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
    return status == VELTA_OK;
}

static void opening_survives_every_refusal(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct test_allocator self;
    for (int read_only = 0; read_only <= 1; read_only++) {
        test_allocator_init(&self);
        world_make(&world, &(struct velta_options){.durability = VELTA_STRICT}, NULL);
        struct open_case open_case = {&world, read_only != 0, digest(world.db)};
        assert_ok(velta_close(world.db, &error), &error);
        world.db = NULL;
        assert_true(test_every_allocation_fails(&self, open_with_refusals, &open_case) > 20);
        world_free(&world);
    }
}

/* A new one: what a refused opening left behind must open as a new one, too. */
static bool create_with_refusals(struct test_allocator *self, void *context) {
    struct disk disk;
    struct velta_error error = {0};
    (void)context;
    disk_make(&disk);
    struct velta_host host = disk_host(&disk);
    struct velta_options options = {.allocator = &self->allocator, .host = &host};
    velta *db = NULL;
    test_allocator_rearm(self);
    enum velta_status status = velta_open(NULL, &options, &db, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_ok(velta_open(NULL, &options, &db, &error), &error);
    }
    assert_verifies(db);
    assert_null(velta_table_at(db, 0));
    assert_ok(velta_close(db, &error), &error);
    disk_free(&disk);
    return status == VELTA_OK;
}

static void making_survives_every_refusal(void **state) {
    (void)state;
    struct test_allocator self;
    test_allocator_init(&self);
    assert_true(test_every_allocation_fails(&self, create_with_refusals, NULL) > 10);
}

/* Sequence and values, without the links, which a refused checkpoint leaves to be made again. */
static uint64_t content(struct world *world) {
    struct velta_error error = {0};
    struct velta_stats stats;
    velta_get_stats(world->db, &stats);
    world->outcome = stats.sequence;
    assert_ok(see_iterate(world, &error), &error);
    assert_ok(see_vectors(world, &error), &error);
    assert_ok(see_aggregate(world, &error), &error);
    return world->outcome;
}

/* Strict: everything is there again. Relaxed: too, where close said so; else at least what was flushed. */
static bool close_with_refusals(struct test_allocator *self, void *context) {
    const struct velta_options *options = context;
    struct velta_error error = {0};
    struct world world;
    world_make(&world, options, &self->allocator);
    uint64_t flushed = content(&world);
    assert_ok(do_births(&world, &error), &error);
    assert_ok(do_index(&world, &error), &error);
    uint64_t wanted = content(&world);
    test_allocator_rearm(self);
    enum velta_status status = velta_close(world.db, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    world_open(&world);
    uint64_t found = content(&world);
    if (options->durability == VELTA_STRICT) assert_ok(status, &error);
    if (found != wanted && (status == VELTA_OK || found != flushed)) fail_msg("closing lost what was acknowledged");
    assert_verifies(world.db);
    world_free(&world);
    return status == VELTA_OK;
}

static void closing_survives_every_refusal(void **state) {
    (void)state;
    struct velta_options options[] = {{.durability = VELTA_STRICT}, {.durability = VELTA_RELAXED}};
    for (size_t i = 0; i < 2; i++) {
        struct test_allocator self;
        test_allocator_init(&self);
        assert_true(test_every_allocation_fails(&self, close_with_refusals, &options[i]) > 2);
    }
}

static bool import_with_refusals(struct test_allocator *self, void *context) {
    const struct memory_case *import = context;
    struct velta_error error = {0};
    struct velta_options options = {.allocator = &self->allocator};
    velta *db = NULL;
    test_allocator_rearm(self);
    enum velta_status status = velta_import(import->bytes, import->size_bytes, &options, &db, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    if (status) {
        if (status != VELTA_NO_MEMORY) fail_msg("%s", error.text);
        assert_null(db);
        return false;
    }
    assert_true(digest(db) == import->reference);
    assert_ok(velta_close(db, &error), &error);
    return true;
}

static void importing_survives_every_refusal(void **state) {
    (void)state;
    struct world world;
    struct test_allocator self;
    struct velta_error error = {0};
    uint8_t *bytes;
    uint64_t size_bytes;
    test_allocator_init(&self);
    world_make(&world, &(struct velta_options){.durability = VELTA_STRICT}, NULL);
    assert_ok(velta_export(world.db, &bytes, &size_bytes, NULL, &error), &error);
    struct memory_case import = {
        .bytes = bytes, .size_bytes = size_bytes, .reference = hash_bytes(bytes, (size_t)size_bytes)};
    assert_true(test_every_allocation_fails(&self, import_with_refusals, &import) > 20);
    velta_export_free(world.db, bytes, size_bytes);
    world_free(&world);
}

/* Before the database is open a refusal ends the snapshot; after that the same step works when memory is there. */
static bool parts_with_refusals(struct test_allocator *self, void *context) {
    const struct memory_case *import = context;
    struct velta_error error = {0};
    struct velta_options options = {.allocator = &self->allocator};
    velta_snapshot *snapshot = NULL;
    velta *db = NULL;
    size_t count, at;
    bool whole = true;
    test_allocator_rearm(self);
    enum velta_status status = parts_open(import->bytes, import->size_bytes, &options, &snapshot, &db, &error);
    if (status) {
        test_allocator_disarm(self);
        refused += self->refused_count > 0;
        if (status != VELTA_NO_MEMORY) fail_msg("%s", error.text);
        assert_null(db);
        return false;
    }
    (void)velta_snapshot_segments(snapshot, &count, &at);
    while (at <= count) {
        status = at < count ? parts_feed(snapshot, import->bytes, at, at + 1, &error)
                            : velta_snapshot_attach(snapshot, NULL, NULL, &error);
        at += status == VELTA_OK;
        if (!status) continue;
        test_allocator_disarm(self);
        if (status != VELTA_NO_MEMORY) fail_msg("%s", error.text);
        assert_true(whole); /* once only: memory is there again */
        whole = false;
        assert_verifies(db);
        assert_int_not_equal(digest(db), import->reference);
    }
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    velta_snapshot_close(snapshot);
    assert_true(digest(db) == import->reference);
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
    return whole;
}

static void importing_by_parts_survives_every_refusal(void **state) {
    (void)state;
    struct memory_case import = {0};
    struct test_allocator self;
    test_allocator_init(&self);
    make_readable(&import);
    import.reference = hash_bytes(import.bytes, (size_t)import.size_bytes);
    assert_true(test_every_allocation_fails(&self, parts_with_refusals, &import) > 40);
    free((void *)(uintptr_t)import.bytes);
}

/* ---- budgets */

static enum velta_status import_by_parts(const struct memory_case *import, const struct velta_options *options,
                                         velta **out, struct velta_error *error) {
    velta_snapshot *snapshot;
    enum velta_status status = parts_open(import->bytes, import->size_bytes, options, &snapshot, out, error);
    if (status) return status;
    status = parts_attach(snapshot, import->bytes, NULL, NULL, error);
    velta_snapshot_close(snapshot);
    if (!status) return VELTA_OK;
    assert_int_equal(velta_close(*out, NULL), VELTA_OK);
    *out = NULL;
    return status;
}

static void call_with_budget(struct world *world, const struct call *call, uint64_t extra, uint64_t *needed) {
    struct velta_error error = {0};
    struct memory *memory = world->db->memory;
    uint64_t before = digest(world->db);
    uint64_t used = memory->used_bytes;
    uint64_t usual = memory->budget_bytes;
    memory->peak_bytes = used;
    memory->budget_bytes = used + extra;
    enum velta_status status = call->run(world, &error);
    assert_true(memory->peak_bytes <= memory->budget_bytes);
    memory->budget_bytes = usual;
    *needed = memory->peak_bytes - used;
    refused += status != VELTA_OK;
    if (status == VELTA_NO_MEMORY && call->run == see_watch) return; /* it has but one way to say so */
    if (status) {
        check_refused(world, call, before, status, &error);
    }
}

#if defined(__SANITIZE_ADDRESS__)
enum { BUDGET_STEPS = 5 };
#else
enum { BUDGET_STEPS = 24 };
#endif

/* From no room at all to as much as the call had when nothing stood in its way. */
static void sweep_budgets(const struct call *call, struct memory_case *memory_case) {
    uint64_t needed = UINT64_C(1) << 32;
    uint64_t most = 0;
    for (uint64_t i = 0; i <= BUDGET_STEPS + 1; i++) {
        struct world world;
        uint64_t extra = i == 0 ? needed : most * (i - 1) / BUDGET_STEPS;
        if (memory_case->bytes) {
            readable_open(&world, memory_case, NULL);
        } else {
            world_make(&world, &memory_case->options, NULL);
        }
        call_with_budget(&world, call, extra, &needed);
        if (i == 0) most = needed;
        if (memory_case->bytes) {
            assert_int_equal(velta_close(world.db, NULL), VELTA_OK);
        } else {
            if (!(call->kind & LINKS)) assert_true(digest(world.db) == memory_case->reference);
            world_free(&world);
        }
    }
}

static void no_budget_leaves_a_trace(void **state) {
    (void)state;
    struct memory_case memory_case = {0};
    for (size_t i = 0; i < WRITING_COUNT; i++) {
        memory_case.reference = undisturbed(&writing[i], &memory_case.options);
        sweep_budgets(&writing[i], &memory_case);
    }
    make_readable(&memory_case);
    for (size_t i = 0; i < READING_COUNT; i++)
        sweep_budgets(&reading[i], &memory_case);
    free((void *)(uintptr_t)memory_case.bytes);
}

/* Budgets for opening and importing: from a byte upward until it is enough. */
static void small_budgets_open_nothing(void **state) {
    (void)state;
    struct memory_case memory_case = {0};
    struct world world;
    struct velta_error error = {0};
    make_readable(&memory_case);
    world_make(&world, &(struct velta_options){.durability = VELTA_STRICT}, NULL);
    uint64_t wanted = digest(world.db);
    assert_ok(velta_close(world.db, &error), &error);
    world.db = NULL;
    for (int importing = 0; importing <= 2; importing++) {
        enum velta_status status = VELTA_OVER_BUDGET;
        for (uint64_t budget = 1; status; budget += 1 + budget / 16) {
            struct velta_options options = {.memory_budget_bytes = budget, .host = importing ? NULL : &world.host};
            velta *db = NULL;
            status = importing == 2   ? import_by_parts(&memory_case, &options, &db, &error)
                     : importing == 1 ? velta_import(memory_case.bytes, memory_case.size_bytes, &options, &db, &error)
                                      : velta_open(NULL, &options, &db, &error);
            if (status) assert_status(status, VELTA_OVER_BUDGET);
            assert_true((status == VELTA_OK) == (db != NULL));
            refused += status != VELTA_OK;
            if (db) assert_ok(velta_close(db, &error), &error);
            assert_true(budget < UINT64_C(1) << 30);
        }
    }
    world_open(&world);
    assert_true(digest(world.db) == wanted);
    world_free(&world);
    free((void *)(uintptr_t)memory_case.bytes);
}

static void a_budget_is_a_status(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_options options = {.memory_budget_bytes = 4 << 20};
    velta_table *table;
    velta *db = sample_open(&options, NULL, &table);
    struct sample sample;
    sample_make(&sample, 0, 200000, 1);
    uint64_t before = digest(db);
    assert_status(velta_insert(table, sample.values, SAMPLE_COLUMNS, 200000, NULL, NULL, &error), VELTA_OVER_BUDGET);
    assert_true(digest(db) == before);
    sample_free(&sample);
    sample_insert(table, 0, 100, 1);
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_public_call_is_left_out),
        cmocka_unit_test(no_refused_allocation_leaves_a_trace),
        cmocka_unit_test(nor_when_relaxed),
        cmocka_unit_test(nor_when_every_change_makes_a_checkpoint),
        cmocka_unit_test(nor_with_threads),
        cmocka_unit_test(reading_survives_every_refusal),
        cmocka_unit_test(opening_survives_every_refusal),
        cmocka_unit_test(making_survives_every_refusal),
        cmocka_unit_test(closing_survives_every_refusal),
        cmocka_unit_test(importing_survives_every_refusal),
        cmocka_unit_test(importing_by_parts_survives_every_refusal),
        cmocka_unit_test(no_budget_leaves_a_trace),
        cmocka_unit_test(small_budgets_open_nothing),
        cmocka_unit_test(a_budget_is_a_status),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("figure: allocations_refused %" PRIu64 "\n", refused);
    print_message("figure: refusal_differences %d\n", failures);
    return failures;
}
