/*
 * Every public call with every allocation refused in turn, and a life with every storage operation failing in every
 * way: a status, the state as it was (by the digest of an export), and a second attempt that gives the same as the
 * first would have.
 */
#include "tests/unit/store_testing.h"

enum { BASE_ROWS = 40 };

/* ---- a world whose storage outlives the database */

/* Ways of failing; SYNC_ONLY fails nothing but syncs. */
enum fault { FAULT_NONE, FAULT_IO, FAULT_FULL, FAULT_SHORT, FAULT_LONG };

struct disk {
    struct memory *memory;
    struct velta_host inner;
    uint64_t operations;
    uint64_t fail_at; /* 0: never */
    enum fault fault;
    bool failed;
};

static void disk_execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    struct disk *disk = context;
    disk->operations++;
    if (disk->fail_at == 0 || disk->operations != disk->fail_at) {
        disk->inner.execute(disk->inner.context, operation, result);
        return;
    }
    struct storage_operation part = *operation;
    bool transfers = operation->kind == STORAGE_READ || operation->kind == STORAGE_WRITE;
    disk->failed = true;
    if (transfers && disk->fault >= FAULT_SHORT) {
        /* Half arrives; the host says so, or claims more than was asked. */
        part.size_bytes /= 2;
        disk->inner.execute(disk->inner.context, &part, result);
        result->size_bytes = disk->fault == FAULT_SHORT ? part.size_bytes : operation->size_bytes + 1;
        return;
    }
    *result = (struct storage_result){.status = disk->fault == FAULT_FULL ? VELTA_FULL : VELTA_IO};
}

static void disk_close(void *context) {
    (void)context; /* the bytes stay for the next opening */
}

static void disk_make(struct disk *disk) {
    struct velta_error error = {0};
    *disk = (struct disk){.memory = memory_create(NULL, 0)};
    assert_non_null(disk->memory);
    assert_ok(host_open_memory(disk->memory, NULL, 0, &disk->inner, &error), &error);
}

static void disk_free(struct disk *disk) {
    disk->inner.close(disk->inner.context);
    memory_destroy(disk->memory);
}

static struct velta_host disk_host(struct disk *disk) {
    return (struct velta_host){.context = disk, .execute = disk_execute, .close = disk_close};
}

struct world {
    struct disk disk;
    struct velta_host host;
    struct velta_options options;
    int64_t now_ms;
    velta *db;
    velta_table *table;
};

static void world_open(struct world *world) {
    struct velta_error error = {0};
    assert_ok(velta_open(NULL, &world->options, &world->db, &error), &error);
    assert_ok(velta_table_find(world->db, "t", &world->table, &error), &error);
}

/* An opened database over a fresh disk, with rows, past values, deleted and expiring rows, and a linked index. */
static void world_make(struct world *world, const struct velta_options *options, const struct velta_allocator *memory) {
    struct velta_error error = {0};
    memset(world, 0, sizeof *world);
    world->now_ms = 1000;
    world->options = *options;
    world->options.allocator = memory;
    world->options.now_ms = sample_clock;
    world->options.now_context = &world->now_ms;
    world->options.thread_count = 1;
    disk_make(&world->disk);
    world->host = disk_host(&world->disk);
    world->options.host = &world->host;
    world->db = sample_open(&world->options, NULL, &world->table);
    sample_insert(world->table, 0, BASE_ROWS, 1);
    assert_ok(velta_tag(world->db, "base", &error), &error);
    assert_ok(velta_index(world->db, 0, NULL, NULL, &error), &error);
    assert_ok(velta_checkpoint(world->db, NULL, &error), &error);
    world->now_ms = 2000;
    int64_t ids[] = {3, 4};
    int64_t times[] = {2500, 9000};
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 2};
    assert_ok(velta_apply(world->table, "v", &scale, 1, 0, NULL, &error), &error);
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = ids}, 1, NULL, &error), &error);
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = ids + 1}, 1, times, &error), &error);
    assert_ok(velta_flush(world->db, &error), &error);
    world->now_ms = 3000;
}

static void world_free(struct world *world) {
    enum velta_status status = velta_close(world->db, NULL);
    (void)status; /* a poisoned database says so */
    disk_free(&world->disk);
}

/* ---- the calls */

typedef enum velta_status operation(struct world *world, struct velta_error *error);

static enum velta_status do_insert(struct world *world, struct velta_error *error) {
    struct sample sample;
    sample_make(&sample, 500, 70, 2);
    enum velta_status status = velta_insert(world->table, sample.values, SAMPLE_COLUMNS, 70, NULL, NULL, error);
    sample_free(&sample);
    return status;
}

static enum velta_status do_upsert(struct world *world, struct velta_error *error) {
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    struct sample sample;
    sample_make(&sample, BASE_ROWS - 10, 20, 3);
    enum velta_status status = velta_insert(world->table, sample.values, SAMPLE_COLUMNS, 20, &upsert, NULL, error);
    sample_free(&sample);
    return status;
}

enum { BLOB_ROWS = 6, BLOB_BYTES = 1 << 20 };
static char *blobs; /* made once */

/* More than one frame: blobs of a mebibyte. */
static enum velta_status do_large_insert(struct world *world, struct velta_error *error) {
    int64_t ids[BLOB_ROWS];
    uint64_t offsets[BLOB_ROWS + 1] = {0};
    for (int i = 0; i < BLOB_ROWS; i++) {
        ids[i] = 900 + i;
        offsets[i + 1] = (uint64_t)(i + 1) * BLOB_BYTES;
    }
    struct velta_values values[] = {{.column = "id", .data = ids},
                                    {.column = "blob", .data = blobs, .offsets = offsets}};
    return velta_insert(world->table, values, 2, BLOB_ROWS, NULL, NULL, error);
}

static enum velta_status do_update(struct world *world, struct velta_error *error) {
    int64_t ids[] = {9, 7, 9, 8};
    static const char text[] = "never seen before";
    uint64_t offsets[] = {0, 5, 10, 12, 17};
    float vectors[4 * SAMPLE_DIMENSIONS];
    struct random random = random_seeded(4);
    random_vector(&random, vectors, 4 * SAMPLE_DIMENSIONS);
    struct velta_values values[] = {{.column = "word", .data = text, .offsets = offsets},
                                    {.column = "c", .data = vectors},
                                    {.column = "v", .data = vectors}};
    return velta_update(world->table, &(struct velta_keys){.ints = ids}, 4, values, 3, NULL, error);
}

static enum velta_status do_delete(struct world *world, struct velta_error *error) {
    int64_t ids[] = {12, 10, 11};
    return velta_delete(world->table, &(struct velta_keys){.ints = ids}, 3, NULL, error);
}

static enum velta_status do_expire_at(struct world *world, struct velta_error *error) {
    int64_t ids[] = {12, 10};
    int64_t times[] = {INT64_C(1) << 50, 1};
    return velta_expire_at(world->table, &(struct velta_keys){.ints = ids}, 2, times, error);
}

static enum velta_status do_expire(struct world *world, struct velta_error *error) {
    return velta_expire(world->table, 10000, NULL, error);
}

static enum velta_status do_apply(struct world *world, struct velta_error *error) {
    enum { COUNT = 24 };
    struct velta_delta deltas[COUNT];
    for (int i = 0; i < COUNT; i++)
        deltas[i] = (struct velta_delta){.operation = VELTA_DELTA_OFFSET, .key_int = 20 + i % 5, .amount = 1};
    return velta_apply(world->table, "h", deltas, COUNT, 0, NULL, error);
}

static enum velta_status do_births(struct world *world, struct velta_error *error) {
    float one[SAMPLE_DIMENSIONS] = {1, 1};
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_CREATE, .key_int = 70, .count = SAMPLE_DIMENSIONS, .values = one},
        {.operation = VELTA_DELTA_SCALE, .key_int = 70, .amount = 4, .metadata = "why", .metadata_bytes = 3},
        {.operation = VELTA_DELTA_SCALE, .key_int = 70, .amount = 4},
        {.operation = VELTA_DELTA_DELETE, .key_int = 2},
        {.operation = VELTA_DELTA_CREATE, .key_int = 2, .count = SAMPLE_DIMENSIONS, .values = one},
        {.operation = VELTA_DELTA_DELETE, .key_int = 70},
    };
    return velta_apply(world->table, "c", deltas, 6, 0, NULL, error);
}

static enum velta_status do_table_create(struct world *world, struct velta_error *error) {
    velta_table *table;
    return velta_table_create(world->db, "second", sample_schema, SAMPLE_COLUMNS, &table, error);
}

static enum velta_status do_column_add(struct world *world, struct velta_error *error) {
    struct velta_column column = {.name = "w", .type = VELTA_VECTOR, .dimensions = 3};
    return velta_column_add(world->table, &column, error);
}

static enum velta_status do_tag(struct world *world, struct velta_error *error) {
    return velta_tag(world->db, "a new tag", error);
}

static enum velta_status do_flush(struct world *world, struct velta_error *error) {
    return velta_flush(world->db, error);
}

static enum velta_status do_checkpoint(struct world *world, struct velta_error *error) {
    return velta_checkpoint(world->db, NULL, error);
}

static enum velta_status do_compact(struct world *world, struct velta_error *error) {
    static const char *const tags[] = {"base"};
    struct velta_compact_options options = {.keep_since_ms = 2000, .keep_tags = tags, .keep_tag_count = 1};
    return velta_compact(world->db, &options, NULL, error);
}

static enum velta_status do_compact_all(struct world *world, struct velta_error *error) {
    return velta_compact(world->db, NULL, NULL, error);
}

static enum velta_status do_verify(struct world *world, struct velta_error *error) {
    return velta_verify(world->db, NULL, error);
}

static enum velta_status do_export(struct world *world, struct velta_error *error) {
    uint8_t *bytes;
    uint64_t size_bytes;
    enum velta_status status = velta_export(world->db, &bytes, &size_bytes, NULL, error);
    velta_export_free(world->db, bytes, size_bytes);
    return status;
}

static enum velta_status do_index(struct world *world, struct velta_error *error) {
    return velta_index(world->db, 0, NULL, NULL, error);
}

static enum velta_status do_drop(struct world *world, struct velta_error *error) {
    velta_table *table;
    enum velta_status status = velta_table_find(world->db, "t", &table, error);
    return status ? status : velta_table_drop(table, error);
}

static enum velta_status do_reopen(struct world *world, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (world->db) {
        status = velta_close(world->db, error);
        world->db = NULL;
    }
    return status ? status : velta_open(NULL, &world->options, &world->db, error);
}

enum { KEEPS_STATE = 1, LINKS = 2, LOGS = 4 };

struct call {
    const char *name;
    operation *run;
    /*
     * KEEPS_STATE: the digest does not change even when it succeeds. LINKS: does index work, some of which may stay
     * when it fails. LOGS: its way through the log depends on how the database was opened.
     */
    unsigned kind;
};

static const struct call calls[] = {
    {"insert", do_insert, LOGS},
    {"upsert", do_upsert, 0},
    {"large insert", do_large_insert, LOGS},
    {"update", do_update, 0},
    {"delete", do_delete, 0},
    {"expire_at", do_expire_at, 0},
    {"expire", do_expire, 0},
    {"apply", do_apply, LOGS},
    {"births", do_births, 0},
    {"table_create", do_table_create, LOGS},
    {"column_add", do_column_add, 0},
    {"tag", do_tag, 0},
    {"drop", do_drop, 0},
    {"flush", do_flush, KEEPS_STATE | LOGS},
    {"checkpoint", do_checkpoint, KEEPS_STATE},
    {"verify", do_verify, KEEPS_STATE},
    {"export", do_export, KEEPS_STATE},
    {"compact", do_compact, LINKS},
    {"compact all", do_compact_all, LINKS},
    {"index", do_index, LINKS},
};
enum { CALL_COUNT = sizeof calls / sizeof calls[0] };

/* ---- memory */

struct memory_case {
    const struct call *call;
    struct velta_options options;
    uint64_t reference; /* the digest after the call without failures */
};

static bool call_with_refusals(struct test_allocator *self, void *context) {
    struct memory_case *memory_case = context;
    const struct call *call = memory_case->call;
    struct velta_error error = {0};
    struct world world;
    world_make(&world, &memory_case->options, &self->allocator);
    uint64_t before = digest(world.db);
    test_allocator_rearm(self);
    enum velta_status status = call->run(&world, &error);
    test_allocator_disarm(self);
    if (status) {
        if (status != VELTA_NO_MEMORY) fail_msg("%s: %s", call->name, error.text);
        assert_int_equal(error.code, status);
        uint64_t after = digest(world.db);
        /* Links made before the refusal stay; everything else is as it was. */
        if (!(call->kind & LINKS) && after != before) fail_msg("%s: refused memory left a trace", call->name);
        assert_verifies(world.db);
        status = call->run(&world, &error);
        if (status) fail_msg("%s: the second attempt: %s", call->name, error.text);
        status = VELTA_NO_MEMORY;
    }
    if ((call->kind & LINKS)) {
        assert_verifies(world.db);
    } else if (digest(world.db) != memory_case->reference) {
        fail_msg("%s: differs from an undisturbed call", call->name);
    }
    world_free(&world);
    return status == VELTA_OK;
}

static void refuse_every_allocation(const struct velta_options *options, unsigned kinds) {
    for (size_t i = 0; i < CALL_COUNT; i++) {
        if (kinds && !(calls[i].kind & kinds)) continue;
        struct memory_case memory_case = {.call = &calls[i], .options = *options};
        struct test_allocator self;
        struct world world;
        struct velta_error error = {0};
        test_allocator_init(&self);
        world_make(&world, options, NULL);
        uint64_t before = digest(world.db);
        if (calls[i].run(&world, &error)) fail_msg("%s: %s", calls[i].name, error.text);
        memory_case.reference = digest(world.db);
        assert_true((memory_case.reference == before) == ((calls[i].kind & KEEPS_STATE) != 0) ||
                    (calls[i].kind & LINKS));
        world_free(&world);
        uint64_t runs = test_every_allocation_fails(&self, call_with_refusals, &memory_case);
        assert_true(runs >= 2);
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

static bool open_with_refusals(struct test_allocator *self, void *context) {
    struct disk *disk = context;
    struct velta_error error = {0};
    struct velta_host host = disk_host(disk);
    struct velta_options options = {.allocator = &self->allocator, .host = &host, .read_only = true};
    velta *db = NULL;
    test_allocator_rearm(self);
    enum velta_status status = velta_open(NULL, &options, &db, &error);
    test_allocator_disarm(self);
    if (status) {
        if (status != VELTA_NO_MEMORY) fail_msg("%s", error.text);
        assert_null(db);
        return false;
    }
    assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
    return true;
}

static void opening_survives_every_refusal(void **state) {
    (void)state;
    struct world world;
    struct test_allocator self;
    test_allocator_init(&self);
    world_make(&world, &(struct velta_options){.durability = VELTA_STRICT}, NULL);
    assert_true(test_every_allocation_fails(&self, open_with_refusals, &world.disk) > 20);
    world_free(&world);
}

struct import_case {
    const uint8_t *bytes;
    uint64_t size_bytes;
};

static bool import_with_refusals(struct test_allocator *self, void *context) {
    const struct import_case *import = context;
    struct velta_error error = {0};
    struct velta_options options = {.allocator = &self->allocator};
    velta *db = NULL;
    test_allocator_rearm(self);
    enum velta_status status = velta_import(import->bytes, import->size_bytes, &options, &db, &error);
    test_allocator_disarm(self);
    if (status) {
        if (status != VELTA_NO_MEMORY) fail_msg("%s", error.text);
        assert_null(db);
        return false;
    }
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
    struct import_case import = {bytes, size_bytes};
    assert_true(test_every_allocation_fails(&self, import_with_refusals, &import) > 20);
    velta_export_free(world.db, bytes, size_bytes);
    world_free(&world);
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

/* ---- storage */

enum { MAX_STEPS = 16 };

static operation *const life[MAX_STEPS] = {
    do_insert, do_apply,      do_delete, do_tag,     do_checkpoint, do_births,       do_update,      do_flush,
    do_upsert, do_column_add, do_tag,    do_compact, do_expire,     do_table_create, do_compact_all, do_reopen};
/* Frames that commit nothing yet, by themselves because of their size. */
static operation *const large_batch[MAX_STEPS] = {do_delete, do_large_insert, do_tag};

/* Digests after each step of an undisturbed run; [0] is before the first. */
static void run_undisturbed(const struct velta_options *options, operation *const *script,
                            uint64_t digests[MAX_STEPS + 1]) {
    struct world world;
    struct velta_error error = {0};
    world_make(&world, options, NULL);
    digests[0] = digest(world.db);
    for (size_t i = 0; i < MAX_STEPS && script[i]; i++) {
        assert_ok(script[i](&world, &error), &error);
        if (script[i] == do_reopen) assert_ok(velta_table_find(world.db, "t", &world.table, &error), &error);
        digests[i + 1] = digest(world.db);
        assert_verifies(world.db);
    }
    world_free(&world);
}

/* After a failure in step i: reads go on, writes are refused, reopening finds the state before or after the step. */
static void check_poisoned(struct world *world, operation *const *script, size_t i, const uint64_t *digests,
                           bool relaxed) {
    struct velta_error error = {0};
    if (world->db) {
        uint64_t now = digest(world->db);
        bool links = script[i] == do_compact || script[i] == do_compact_all; /* which stay, though nothing else does */
        if (now != digests[i] && now != digests[i + 1] && !links) fail_msg("step %zu: changed by its failure", i);
        assert_status(velta_tag(world->db, "too late", &error), VELTA_POISONED);
        assert_status(velta_flush(world->db, &error), VELTA_POISONED);
        assert_true(digest(world->db) == now);
        assert_true(velta_close(world->db, &error) != VELTA_OK);
        world->db = NULL;
    }
    world_open(world);
    uint64_t found = digest(world->db);
    bool known = found == digests[i] || found == digests[i + 1];
    for (size_t earlier = 0; relaxed && earlier < i; earlier++)
        known = known || found == digests[earlier]; /* what was acknowledged was only queued */
    if (!known) fail_msg("step %zu: the reopened state is neither before nor after", i);
    assert_verifies(world->db);
}

/* One run with operation `fail_at` failing. False: the script ended before it. */
static bool run_disturbed(const struct velta_options *options, operation *const *script, const uint64_t *digests,
                          enum fault fault, uint64_t fail_at) {
    struct world world;
    struct velta_error error = {0};
    world_make(&world, options, NULL);
    world.disk.operations = 0;
    world.disk.fail_at = fail_at;
    world.disk.fault = fault;
    for (size_t i = 0; i < MAX_STEPS && script[i]; i++) {
        enum velta_status status = script[i](&world, &error);
        if (world.disk.failed) {
            world.disk.fail_at = 0;
            /* A checkpoint by size may fail behind a change that is written; the next write tells. */
            if (status && status != VELTA_IO && status != VELTA_FULL) fail_msg("step %zu: %s", i, error.text);
            check_poisoned(&world, script, i, digests, options->durability == VELTA_RELAXED);
            break;
        }
        assert_ok(status, &error);
        if (script[i] == do_reopen) assert_ok(velta_table_find(world.db, "t", &world.table, &error), &error);
    }
    bool failed = world.disk.failed;
    world_free(&world);
    return failed;
}

/* Every operation fails once with EIO when strict; the other ways take turns, but for soaks. */
static void fail_every_operation(const struct velta_options *options, operation *const *script) {
    uint64_t digests[MAX_STEPS + 1];
    bool soak = test_rounds(1) > 1;
    run_undisturbed(options, script, digests);
    for (enum fault fault = FAULT_IO; fault <= FAULT_LONG; fault++) {
        bool every = soak || (fault == FAULT_IO && options->durability == VELTA_STRICT);
        uint64_t stride = every ? 1 : 9;
        uint64_t fail_at = every ? 1 : 1 + (uint64_t)fault;
        while (run_disturbed(options, script, digests, fault, fail_at))
            fail_at += stride;
        assert_true(fail_at > 8);
    }
}

static void no_failing_operation_loses_or_invents(void **state) {
    (void)state;
    fail_every_operation(&(struct velta_options){.durability = VELTA_STRICT}, life);
    fail_every_operation(&(struct velta_options){.durability = VELTA_STRICT}, large_batch);
}

static void nor_does_it_when_relaxed(void **state) {
    (void)state;
    fail_every_operation(&(struct velta_options){.durability = VELTA_RELAXED}, life);
    fail_every_operation(&(struct velta_options){.durability = VELTA_RELAXED}, large_batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_refused_allocation_leaves_a_trace),     cmocka_unit_test(nor_when_relaxed),
        cmocka_unit_test(nor_when_every_change_makes_a_checkpoint), cmocka_unit_test(opening_survives_every_refusal),
        cmocka_unit_test(importing_survives_every_refusal),         cmocka_unit_test(a_budget_is_a_status),
        cmocka_unit_test(no_failing_operation_loses_or_invents),    cmocka_unit_test(nor_does_it_when_relaxed),
    };
    struct random random = random_seeded(1);
    blobs = malloc((size_t)BLOB_ROWS * BLOB_BYTES);
    random_bytes(&random, blobs, (size_t)BLOB_ROWS * BLOB_BYTES);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    free(blobs);
    return failures;
}
