/*
 * A life in which every storage operation fails in every way: EIO, no space, half the bytes, more bytes than were asked
 * for, and a sync that fails and loses what was written before it. A status, reads that go on, writes that are refused
 * until the database is opened again, and then what was acknowledged, or that and the whole of what was not.
 */
#include "tests/unit/store_world.h"

#include <inttypes.h>

enum { MAX_STEPS = 17 };

static operation *const life[MAX_STEPS] = {do_insert,      do_apply,  do_delete,      do_tag,          do_checkpoint,
                                           do_births,      do_update, do_reopen_torn, do_flush,        do_upsert,
                                           do_column_add,  do_verify, do_compact,     do_table_create, do_expire,
                                           do_compact_all, do_reopen};
/* Frames that commit nothing yet, by themselves because of their size. */
static operation *const large_batch[MAX_STEPS] = {do_delete, do_large_insert, do_tag, do_flush};

static uint64_t injected;

static bool opens(operation *step) {
    return step == do_reopen || step == do_reopen_torn;
}

/* Digests after each step of an undisturbed run; [0] is before the first. */
static void run_undisturbed(const struct velta_options *options, operation *const *script,
                            uint64_t digests[MAX_STEPS + 1]) {
    struct world world;
    struct velta_error error = {0};
    world_make(&world, options, NULL);
    digests[0] = digest(world.db);
    for (size_t i = 0; i < MAX_STEPS && script[i]; i++) {
        assert_ok(script[i](&world, &error), &error);
        if (opens(script[i])) assert_ok(velta_table_find(world.db, "t", &world.table, &error), &error);
        digests[i + 1] = digest(world.db);
        assert_verifies(world.db);
    }
    world_free(&world);
}

/* Reads of what is in memory, which a failure of the storage does not concern. */
static void check_reads(struct world *world) {
    struct velta_error error = {0};
    float query[SAMPLE_DIMENSIONS] = {1};
    velta_result *result = NULL;
    struct velta_search search = {.column = "v", .queries = query, .query_count = 1, .where = "id >= 0"};
    assert_ok(velta_search(world->table, &search, &result, &error), &error);
    assert_true(velta_result_rows(result)[0] != VELTA_NO_ROW);
    velta_result_free(result);
    (void)row_of(world->table, 5);
}

/* A relaxed store has what was done before these, too, on the disk when they have returned. */
static bool makes_durable(operation *step) {
    return opens(step) || step == do_flush || step == do_checkpoint || step == do_compact || step == do_compact_all;
}

/*
 * After a failure in step i: reads go on, writes are refused, and reopening finds the state after the step or, where it
 * was not acknowledged, one from digests[durable] on.
 */
static void check_poisoned(struct world *world, operation *const *script, size_t i, const uint64_t *digests,
                           size_t durable) {
    struct velta_error error = {0};
    if (world->db) {
        uint64_t now = digest(world->db);
        bool links = script[i] == do_compact || script[i] == do_compact_all; /* which stay, though nothing else does */
        if (now != digests[i] && now != digests[i + 1] && !links) fail_msg("step %zu: changed by its failure", i);
        if (script[i] == do_verify) {
            assert_ok(velta_verify(world->db, NULL, &error), &error); /* what failed to be read is not uncertain */
        } else {
            check_reads(world);
            assert_status(velta_tag(world->db, "too late", &error), VELTA_POISONED);
            assert_status(velta_flush(world->db, &error), VELTA_POISONED);
            assert_true(digest(world->db) == now);
        }
        assert_true((velta_close(world->db, &error) != VELTA_OK) == (script[i] != do_verify));
        world->db = NULL;
    }
    world_open(world);
    uint64_t found = digest(world->db);
    bool known = false;
    for (size_t state = durable; state <= i + 1; state++)
        known = known || found == digests[state];
    if (!known) fail_msg("step %zu: the reopened state is not one that it may be", i);
    assert_verifies(world->db);
    assert_ok(velta_tag(world->db, "it goes on", &error), &error);
    assert_ok(velta_flush(world->db, &error), &error);
}

/* One run with the `fail_at`-th operation of the kind failing. False: the script ended before it. */
static bool run_disturbed(const struct velta_options *options, operation *const *script, const uint64_t *digests,
                          enum fault fault, uint64_t fail_at) {
    struct world world;
    struct velta_error error = {0};
    world_make(&world, options, NULL);
    disk_arm(&world.disk, fault, fail_at);
    bool relaxed = options->durability == VELTA_RELAXED;
    size_t durable = 0; /* the state that must not be lost any more */
    for (size_t i = 0; i < MAX_STEPS && script[i]; i++) {
        enum velta_status status = script[i](&world, &error);
        if (!status && (!relaxed || makes_durable(script[i]))) durable = i + 1;
        if (world.disk.failed) {
            world.disk.fail_at = 0;
            /* A checkpoint by size may fail behind a change that is written; the next write tells. */
            if (status && status != VELTA_IO && status != VELTA_FULL)
                fail_msg("step %zu, fault %d of operation %" PRIu64 ": %s", i, (int)fault, fail_at, error.text);
            check_poisoned(&world, script, i, digests, durable);
            break;
        }
        assert_ok(status, &error);
        if (opens(script[i])) assert_ok(velta_table_find(world.db, "t", &world.table, &error), &error);
    }
    bool failed = world.disk.failed;
    world_free(&world);
    return failed;
}

#if defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 5 };
#else
enum { STRIDE = 1 };
#endif

/* Every operation in every way; under sanitizers every fifth of them, but for soaks. */
static void fail_every_operation(const struct velta_options *options, operation *const *script) {
    uint64_t digests[MAX_STEPS + 1];
    uint64_t stride = test_rounds(1) > 1 ? 1 : STRIDE;
    run_undisturbed(options, script, digests);
    for (enum fault fault = FAULT_IO; fault <= FAULT_LOST; fault++) {
        uint64_t fail_at = 1;
        while (run_disturbed(options, script, digests, fault, fail_at)) {
            fail_at += stride;
            injected++;
        }
        assert_true(fail_at > 1);
    }
}

static void no_failing_operation_loses_or_invents(void **state) {
    (void)state;
    fail_every_operation(&(struct velta_options){.durability = VELTA_STRICT}, life);
}

static void nor_does_it_when_relaxed(void **state) {
    (void)state;
    fail_every_operation(&(struct velta_options){.durability = VELTA_RELAXED}, life);
}

static void nor_in_batches_of_several_frames(void **state) {
    (void)state;
    fail_every_operation(&(struct velta_options){.durability = VELTA_STRICT}, large_batch);
    fail_every_operation(&(struct velta_options){.durability = VELTA_RELAXED}, large_batch);
}

static void nor_when_every_change_makes_a_checkpoint(void **state) {
    (void)state;
    static operation *const script[MAX_STEPS] = {do_births, do_update, do_reopen};
    fail_every_operation(&(struct velta_options){.checkpoint_bytes = 1}, script);
}

/* Opening for reading only reads; what fails is told, and the next opening finds all. */
static void reading_only_survives_failing_reads(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    world_make(&world, &(struct velta_options){.durability = VELTA_STRICT}, NULL);
    uint64_t wanted = digest(world.db);
    for (enum fault fault = FAULT_IO; fault <= FAULT_LONG; fault++) {
        enum velta_status status = VELTA_IO;
        for (uint64_t fail_at = 1; status; fail_at++) {
            struct velta_options options = {.host = &world.host, .read_only = true};
            velta *db = NULL;
            disk_arm(&world.disk, fault, fail_at);
            world.disk.failed = false;
            status = velta_open(NULL, &options, &db, &error);
            world.disk.fail_at = 0;
            assert_true((status != VELTA_OK) == world.disk.failed);
            injected += world.disk.failed;
            if (status) assert_true(!db && (status == VELTA_IO || status == VELTA_FULL));
            if (!status) assert_true(digest(db) == wanted);
            assert_ok(velta_close(db, &error), &error);
        }
    }
    world_free(&world);
}

/* A host that swallows failures of syncs: the checks above must see it. */
static void a_sync_that_lies_is_caught(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    world_make(&world, &(struct velta_options){.durability = VELTA_STRICT}, NULL);
    disk_arm(&world.disk, FAULT_LOST, UINT64_MAX);
    uint64_t before = digest(world.db);
    assert_ok(do_births(&world, &error), &error);
    uint64_t after = digest(world.db);
    assert_ok(velta_close(world.db, &error), &error);
    world_open(&world);
    assert_true(digest(world.db) == after);
    /* The sync of this change loses it and says that it did not. */
    world.disk.fault = FAULT_IO;
    for (int file = 0; file < 2; file++)
        disk_remember(&world.disk, (enum storage_file)file);
    assert_ok(do_tag(&world, &error), &error);
    uint64_t acknowledged = digest(world.db);
    assert_ok(velta_close(world.db, &error), &error);
    disk_lose_unsynced(&world.disk, STORAGE_LOG);
    world_open(&world);
    assert_true(before != after && after != acknowledged);
    assert_true(digest(world.db) == after);
    world_free(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_failing_operation_loses_or_invents),
        cmocka_unit_test(nor_does_it_when_relaxed),
        cmocka_unit_test(nor_in_batches_of_several_frames),
        cmocka_unit_test(nor_when_every_change_makes_a_checkpoint),
        cmocka_unit_test(reading_only_survives_failing_reads),
        cmocka_unit_test(a_sync_that_lies_is_caught),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("figure: io_faults %" PRIu64 "\n", injected);
    print_message("figure: io_differences %d\n", failures);
    return failures;
}
