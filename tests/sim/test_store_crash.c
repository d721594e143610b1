/*
 * Crashes of a whole database, at every write that it makes.
 *
 * A script of public calls, drawn from a seed, runs twice over tests/support/fake_storage: first undisturbed, to learn
 * the digest (of an export) of the state after each call, then with the power failing at every write, truncation and
 * sync: for samples of the subsets of what was not yet synced and of torn lengths the store is opened again. It must
 * open, and its digest must be one of those from the last acknowledged call on to the one under way. Some of the
 * reopened stores live on, with a script of their own, and crash again.
 *
 * Secrets: rows with bytes that nothing else has. Once a compaction that keeps no history has been acknowledged after
 * their deletion, their bytes must not be in any file of any later crash.
 *
 * Canaries: with syncs left out, with a recovery that drops the last frame, and with files that are not overwritten,
 * violations must be found. VELTA_SIM_SEED=N runs seed N alone, tells its calls, and prints the digest of its trace.
 */
#define _GNU_SOURCE
#include <malloc.h>

#include "tests/sim/seeds.h"
#include "tests/support/fake_storage.h"
#include "tests/unit/store_testing.h"

enum { STEPS = 28, MAX_LEVEL = 2, MAX_SECRETS = 8, SECRET_BYTES = 32, FIRST_SECRET = 500000, ALL_SUBSETS = 3 };

enum fault { FAULT_NONE, FAULT_LOG_SYNC, FAULT_DATA_SYNC, FAULT_LAST_FRAME, FAULT_SCRUB, FAULT_COUNT };

/* A deleted row whose bytes must go: of a value, and of a vector as it is stored. */
struct secret {
    int64_t id;
    bool deleted;
    bool gone; /* compaction has told so */
    char text[SECRET_BYTES];
    float vector[SAMPLE_DIMENSIONS];
};

static struct test_allocator allocator; /* what one opening gives back the next one takes, unlike huge pages */

struct simulation {
    struct random random; /* what crashes keep; the calls have their own */
    uint64_t seed;
    enum fault fault;
    bool tell;
    uint64_t states;
    uint64_t violations;
    uint64_t secrets_gone;
    uint64_t trace;
    uint64_t lives;
    struct fake_storage images[MAX_LEVEL + 1];
};

/* One running database. */
struct world {
    struct simulation *simulation;
    struct fake_storage *fake;
    unsigned level;
    uint64_t script; /* the seed of its calls */
    bool crashing;   /* the second run */
    struct velta_options options;
    struct velta_host host;
    int64_t now_ms;
    velta *db;
    velta_table *table;
    uint64_t digests[STEPS + 1]; /* after each call; [0]: as opened */
    unsigned acknowledged;       /* calls that must not be lost */
    unsigned current;            /* the call under way */
    const char *call;
    struct secret secrets[MAX_SECRETS];
    unsigned secret_count;
};

static void trace_add(struct simulation *simulation, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t words[] = {simulation->trace, a, b, c};
    simulation->trace = hash_bytes(words, sizeof words);
}

/* ---- hosts */

static void image_execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    fake_storage_execute(context, operation, result);
}

static void keep_open(void *context) {
    (void)context; /* the bytes stay for the next opening */
}

static bool ignore_sync(void *context, uint64_t sync_number, enum storage_file file) {
    const struct simulation *simulation = context;
    (void)sync_number;
    return simulation->fault == (file == STORAGE_LOG ? FAULT_LOG_SYNC : FAULT_DATA_SYNC);
}

static bool all_zero(const uint8_t *bytes, uint64_t size_bytes) {
    return size_bytes == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size_bytes - 1) == 0);
}

/* FAULT_SCRUB: a host that neither overwrites with zeros nor cuts. */
static bool is_scrubbing(const struct storage_operation *operation) {
    return operation->file == STORAGE_DATA &&
           (operation->kind == STORAGE_TRUNCATE || (operation->kind == STORAGE_WRITE && operation->offset >= 8192 &&
                                                    all_zero(operation->bytes, operation->size_bytes)));
}

static void crash_everywhere(struct world *world, size_t first_new);

static void world_execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    struct world *world = context;
    size_t first_new = world->fake->piece_count;
    bool changes = operation->kind == STORAGE_WRITE || operation->kind == STORAGE_TRUNCATE;
    if (world->crashing && world->simulation->fault == FAULT_SCRUB && is_scrubbing(operation)) {
        *result = (struct storage_result){VELTA_OK, operation->size_bytes};
        return;
    }
    fake_storage_execute(world->fake, operation, result);
    if (!world->crashing || (!changes && operation->kind != STORAGE_SYNC)) return;
    trace_add(world->simulation, operation->kind * 2 + operation->file, operation->offset,
              operation->kind == STORAGE_WRITE ? hash_bytes(operation->bytes, operation->size_bytes) : 0);
    crash_everywhere(world, changes ? first_new : 0);
}

/* ---- the calls */

static enum velta_status do_upsert(struct world *world, struct random *random, struct velta_error *error) {
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    struct sample sample;
    world->call = "upsert";
    sample_make(&sample, (int64_t)random_below(random, 50), 1 + (uint32_t)random_below(random, 12), random_u64(random));
    enum velta_status status =
        velta_insert(world->table, sample.values, SAMPLE_COLUMNS, sample.count, &upsert, NULL, error);
    sample_free(&sample);
    return status;
}

static enum velta_status do_update(struct world *world, struct random *random, struct velta_error *error) {
    int64_t ids[] = {(int64_t)random_below(random, 30), (int64_t)random_below(random, 30)};
    int64_t sizes[] = {(int64_t)random_below(random, 1000), 7};
    char words[16];
    int length = snprintf(words, sizeof words, "n%u", (unsigned)random_below(random, 1000));
    uint64_t offsets[] = {0, (uint64_t)length - 1, (uint64_t)length};
    struct velta_values values[] = {{.column = "size", .data = sizes},
                                    {.column = "word", .data = words, .offsets = offsets}};
    world->call = "update";
    return velta_update(world->table, &(struct velta_keys){.ints = ids}, 1 + random_below(random, 2), values, 2, NULL,
                        error);
}

static enum velta_status do_apply(struct world *world, struct random *random, struct velta_error *error) {
    static const char *const columns[] = {"v", "h", "c"};
    int64_t id = (int64_t)random_below(random, 40);
    uint32_t indices[] = {1, 6};
    float vector[SAMPLE_DIMENSIONS];
    random_vector(random, vector, SAMPLE_DIMENSIONS);
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_DENSE, .key_int = id, .count = SAMPLE_DIMENSIONS, .values = vector},
        {.operation = VELTA_DELTA_SPARSE, .key_int = id, .count = 2, .indices = indices, .values = vector, .set = true},
        {.operation = VELTA_DELTA_SCALE, .key_int = id, .amount = 0.5F, .metadata = "why", .metadata_bytes = 3},
        {.operation = VELTA_DELTA_CREATE,
         .key_int = 1000 + (int64_t)random_below(random, 1000),
         .count = SAMPLE_DIMENSIONS,
         .values = vector}};
    world->call = "apply";
    if (random_chance(random, 30)) return velta_apply(world->table, "c", deltas + 3, 1, 0, NULL, error);
    return velta_apply(world->table, columns[random_below(random, 3)], deltas, 1 + random_below(random, 3), 0, NULL,
                       error);
}

static enum velta_status do_rows_end(struct world *world, struct random *random, struct velta_error *error) {
    int64_t ids[] = {(int64_t)random_below(random, 60), (int64_t)random_below(random, 60)};
    int64_t times[] = {world->now_ms + (int64_t)random_below(random, 100), INT64_MAX};
    struct velta_keys keys = {.ints = ids};
    switch (random_below(random, 3)) {
    case 0:
        world->call = "delete";
        return velta_delete(world->table, &keys, 2, NULL, error);
    case 1:
        world->call = "expire at";
        return velta_expire_at(world->table, &keys, 2, times, error);
    default:
        world->call = "expire";
        return velta_expire(world->table, 0, NULL, error);
    }
}

static enum velta_status do_schema(struct world *world, struct random *random, struct velta_error *error) {
    char name[16];
    velta_table *other;
    struct velta_column column = {.name = name, .type = random_chance(random, 50) ? VELTA_STRING : VELTA_INT};
    snprintf(name, sizeof name, "x%u", (unsigned)random_below(random, 3));
    switch (random_below(random, 3)) {
    case 0:
        world->call = "tag";
        return velta_tag(world->db, name, error);
    case 1:
        world->call = "column add";
        return velta_column_add(world->table, &column, error);
    default:
        if (velta_table_find(world->db, name, &other, NULL) == VELTA_OK) {
            world->call = "table drop";
            return velta_table_drop(other, error);
        }
        world->call = "table create";
        return velta_table_create(world->db, name, sample_schema, 1 + random_below(random, 8), &other, error);
    }
}

static enum velta_status do_secret(struct world *world, struct random *random, struct velta_error *error) {
    struct secret *secret = &world->secrets[world->secret_count];
    uint64_t offsets[] = {0, SECRET_BYTES};
    if (world->secret_count == MAX_SECRETS) return do_upsert(world, random, error);
    *secret = (struct secret){.id = FIRST_SECRET + (int64_t)(world->script % 1000) * MAX_SECRETS + world->secret_count};
    random_bytes(random, secret->text, SECRET_BYTES);
    random_vector(random, secret->vector, SAMPLE_DIMENSIONS);
    struct velta_values values[] = {{.column = "id", .data = &secret->id},
                                    {.column = "blob", .data = secret->text, .offsets = offsets},
                                    {.column = "v", .data = secret->vector}};
    world->call = "insert of a secret";
    enum velta_status status = velta_insert(world->table, values, 3, 1, NULL, NULL, error);
    if (status) return status;
    memcpy(secret->vector, velta_vector_view(world->table, "v", row_of(world->table, secret->id)),
           sizeof secret->vector);
    world->secret_count++;
    return VELTA_OK;
}

static enum velta_status do_forget(struct world *world, struct velta_error *error) {
    int64_t ids[MAX_SECRETS];
    for (unsigned i = 0; i < world->secret_count; i++)
        ids[i] = world->secrets[i].id;
    world->call = "delete of the secrets";
    if (world->secret_count == 0) return velta_tag(world->db, "no secrets", error);
    enum velta_status status =
        velta_delete(world->table, &(struct velta_keys){.ints = ids}, world->secret_count, NULL, error);
    for (unsigned i = 0; i < world->secret_count && !status; i++)
        world->secrets[i].deleted = true;
    return status;
}

static enum velta_status do_compact(struct world *world, struct random *random, struct velta_error *error) {
    uint64_t what = random_below(random, 4);
    struct velta_compact_options options = {.keep_since_ms = what == 0   ? INT64_MIN
                                                             : what == 1 ? world->now_ms - 50
                                                                         : 0};
    world->call = what < 2 ? "compact, history kept" : "compact";
    enum velta_status status = velta_compact(world->db, &options, NULL, error);
    for (unsigned i = 0; i < world->secret_count && !status && what >= 2; i++) {
        struct secret *secret = &world->secrets[i];
        world->simulation->secrets_gone += world->crashing && secret->deleted && !secret->gone;
        secret->gone = secret->deleted;
    }
    return status;
}

static enum velta_status do_durable(struct world *world, struct random *random, struct velta_error *error) {
    uint64_t pending;
    enum velta_status status = VELTA_OK;
    switch (random_below(random, 3)) {
    case 0:
        world->call = "flush";
        return velta_flush(world->db, error);
    case 1: /* the log does not tell of links: linking counts with the checkpoint after it */
        world->call = "index and checkpoint";
        status = velta_index(world->db, 0, NULL, &pending, error);
        return status ? status : velta_checkpoint(world->db, NULL, error);
    default:
        world->call = "checkpoint";
        return velta_checkpoint(world->db, NULL, error);
    }
}

/* The call of a number: the same in both runs, because the database is. */
static void do_step(struct world *world, unsigned number) {
    struct random random = random_seeded(world->script * 1000 + number);
    struct velta_error error = {0};
    enum velta_status status;
    world->now_ms += 10;
    if (world->table == NULL) {
        world->call = "first table";
        status = velta_table_create(world->db, "t", sample_schema, SAMPLE_COLUMNS, &world->table, &error);
    } else {
        uint64_t what = random_below(&random, 100);
        status = what < 24   ? do_upsert(world, &random, &error)
                 : what < 31 ? do_update(world, &random, &error)
                 : what < 44 ? do_apply(world, &random, &error)
                 : what < 55 ? do_rows_end(world, &random, &error)
                 : what < 63 ? do_schema(world, &random, &error)
                 : what < 76 ? do_secret(world, &random, &error)
                 : what < 84 ? do_forget(world, &error)
                 : what < 91 ? do_compact(world, &random, &error)
                             : do_durable(world, &random, &error);
    }
    if (status && status != VELTA_NOT_FOUND && status != VELTA_EXISTS) fail_msg("%s: %s", world->call, error.text);
}

/* ---- crashes */

static void violation(struct world *world, const struct fake_crash *crash, const char *what,
                      const struct velta_error *error) {
    struct simulation *simulation = world->simulation;
    simulation->violations++;
    if (simulation->fault != FAULT_NONE || simulation->violations > 10) return;
    printf("VELTA_SIM_SEED=%" PRIu64 ", state %" PRIu64 ": level %u, call %u (%s), acknowledged %u, of %zu pieces kept "
           "%" PRIx64 ", torn %zd at %" PRIu64 "%s: %s %s\n",
           simulation->seed, simulation->states, world->level, world->current, world->call, world->acknowledged,
           world->fake->piece_count, crash->kept, (ssize_t)crash->torn, crash->torn_bytes,
           crash->torn_grown ? " (grown)" : "", what, error != NULL ? error->text : "");
}

static bool holds_secret(const struct world *world, const struct fake_storage *fake) {
    for (unsigned i = 0; i < world->secret_count; i++) {
        const struct secret *secret = &world->secrets[i];
        for (int file = 0; file < 2 && secret->gone; file++) {
            const struct fake_file *bytes = &fake->now[file];
            if (memmem(bytes->bytes, bytes->size_bytes, secret->text, sizeof secret->text) != NULL ||
                memmem(bytes->bytes, bytes->size_bytes, secret->vector, sizeof secret->vector) != NULL) {
                return true;
            }
        }
    }
    return false;
}

static void live(struct simulation *simulation, struct fake_storage *fake, const struct world *parent,
                 unsigned step_count);

/* Which of the states it may be; -1: none. */
static int find_state(const struct world *world, uint64_t found) {
    for (unsigned i = world->acknowledged; i <= world->current; i++) {
        if (world->digests[i] == found) return (int)i;
    }
    return -1;
}

static void try_crash(struct world *world, const struct fake_crash *crash) {
    struct simulation *simulation = world->simulation;
    struct fake_storage *image = &simulation->images[world->level];
    struct velta_host host = {.context = image, .execute = image_execute, .close = keep_open};
    struct velta_options options = world->options;
    struct velta_error error = {0};
    velta *db = NULL;
    simulation->states++;
    options.host = &host;
    fake_storage_crash(world->fake, crash, image);
    if (simulation->fault == FAULT_LAST_FRAME && image->now[STORAGE_LOG].size_bytes > 64)
        image->now[STORAGE_LOG].size_bytes--;
    if (simulation->states % 8 == 0 && holds_secret(world, image))
        violation(world, crash, "what compaction removed is there", NULL);
    if (velta_open(NULL, &options, &db, &error) != VELTA_OK) {
        violation(world, crash, "it does not open:", &error);
        return;
    }
    uint64_t found = digest(db);
    int which = find_state(world, found);
    trace_add(simulation, crash->kept, crash->torn + (crash->torn_bytes << 1) + crash->torn_grown, found);
    if (which < 0) violation(world, crash, "the state is none of those that it may be", NULL);
    if (simulation->states % 32 == 0 && velta_verify(db, NULL, &error) != VELTA_OK)
        violation(world, crash, "it does not verify:", &error);
    assert_ok(velta_close(db, &error), &error);
    if (which >= 0 && world->level < MAX_LEVEL && random_below(&simulation->random, 160) == 0) {
        struct fake_storage fake;
        fake_storage_init(&fake);
        fake_storage_crash(world->fake, crash, &fake);
        live(simulation, &fake, world, 1 + (unsigned)random_below(&simulation->random, 6));
        fake_storage_release(&fake);
    }
}

/* All subsets of few pieces; of many: all of them, and samples. Each with one piece torn as well. */
static void crash_everywhere(struct world *world, size_t first_new) {
    struct random *random = &world->simulation->random;
    size_t count = world->fake->piece_count;
    uint64_t mask = count < 64 ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
    uint64_t subsets = count <= ALL_SUBSETS ? UINT64_C(1) << count : 2;
    if (world->simulation->violations > 20) return; /* enough to tell */
    for (uint64_t i = 0; i < subsets; i++) {
        struct fake_crash crash = {i, SIZE_MAX, 0, false};
        if (count > ALL_SUBSETS) crash.kept = i == 0 ? mask : random_u64(random) & mask;
        if (count <= ALL_SUBSETS && count > 0 && i >> first_new == 0) continue; /* tried before */
        try_crash(world, &crash);
        if (crash.kept == 0) continue;
        crash.torn = i == 0 ? count - 1 : random_below(random, count);
        if ((crash.kept >> (crash.torn % 64) & 1) == 0 || world->fake->pieces[crash.torn].size_bytes < 2) continue;
        crash.torn_bytes = random_below(random, world->fake->pieces[crash.torn].size_bytes);
        crash.torn_grown = random_chance(random, 50);
        try_crash(world, &crash);
    }
}

/* ---- lives */

static void open_world(struct world *world) {
    struct velta_error error = {0};
    world->host = (struct velta_host){.context = world, .execute = world_execute, .close = keep_open};
    world->options.host = &world->host;
    world->options.now_ms = sample_clock;
    world->options.now_context = &world->now_ms;
    world->options.thread_count = 1;
    world->table = NULL;
    world->call = "open";
    assert_ok(velta_open(NULL, &world->options, &world->db, &error), &error);
    if (velta_table_find(world->db, "t", &world->table, NULL) != VELTA_OK) world->table = NULL;
}

/* The digests of all states, from a run on a copy. */
static void run_undisturbed(const struct world *world, unsigned step_count, uint64_t *digests) {
    static const struct fake_crash nothing = {0, SIZE_MAX, 0, false};
    struct velta_error error = {0};
    struct fake_storage copy;
    struct world model = *world;
    fake_storage_init(&copy);
    fake_storage_crash(world->fake, &nothing, &copy);
    model.fake = &copy;
    open_world(&model);
    digests[0] = digest(model.db);
    for (unsigned i = 1; i <= step_count; i++) {
        do_step(&model, i);
        digests[i] = digest(model.db);
    }
    assert_ok(velta_close(model.db, &error), &error);
    fake_storage_release(&copy);
}

/* What has become durable by the call that returned. */
static void note_acknowledged(struct world *world, uint64_t *generation) {
    struct velta_stats stats;
    velta_get_stats(world->db, &stats);
    bool durable = world->options.durability == VELTA_STRICT || stats.generation != *generation ||
                   strcmp(world->call, "flush") == 0;
    *generation = stats.generation;
    if (durable) world->acknowledged = world->current;
}

static void live(struct simulation *simulation, struct fake_storage *fake, const struct world *parent,
                 unsigned step_count) {
    struct random choice = random_seeded(++simulation->lives * 1000003 + simulation->seed);
    struct world world = {.simulation = simulation,
                          .fake = fake,
                          .level = parent != NULL ? parent->level + 1 : 0,
                          .script = simulation->seed * 1000003 + simulation->lives,
                          .now_ms = parent != NULL ? parent->now_ms : 1000};
    static const uint64_t checkpoint_bytes[] = {500, 3000, 0};
    struct velta_error error = {0};
    uint64_t generation = 0;
    world.options.durability = random_chance(&choice, 60) ? VELTA_STRICT : VELTA_RELAXED;
    world.options.checkpoint_bytes = checkpoint_bytes[random_below(&choice, 3)];
    world.options.chain_interval = 4;
    world.options.allocator = &allocator.allocator;
    for (unsigned i = 0; parent != NULL && i < parent->secret_count; i++) {
        if (parent->secrets[i].gone) world.secrets[world.secret_count++] = parent->secrets[i];
    }
    run_undisturbed(&world, step_count, world.digests);
    world.crashing = true;
    fake->ignore_sync = simulation->fault != FAULT_NONE ? ignore_sync : NULL;
    fake->context = simulation;
    open_world(&world);
    note_acknowledged(&world, &generation);
    for (unsigned i = 1; i <= step_count; i++) {
        world.current = i;
        do_step(&world, i);
        if (digest(world.db) != world.digests[i]) fail_msg("call %u: two runs differ", i);
        note_acknowledged(&world, &generation);
        if (holds_secret(&world, fake))
            violation(&world, &(struct fake_crash){0}, "a secret outlived compaction", NULL);
        if (simulation->tell && world.level == 0)
            printf("call %u: %s, digest %016" PRIx64 ", %" PRIu64 " states so far\n", i, world.call, world.digests[i],
                   simulation->states);
    }
    world.call = "close";
    assert_ok(velta_close(world.db, &error), &error);
    world.acknowledged = step_count;
    crash_everywhere(&world, 0);
}

static void simulate(struct simulation *simulation, uint64_t seed, enum fault fault, bool tell) {
    struct fake_storage fake;
    *simulation = (struct simulation){.random = random_seeded(seed), .seed = seed, .fault = fault, .tell = tell};
    for (int i = 0; i <= MAX_LEVEL; i++) {
        fake_storage_init(&simulation->images[i]);
        simulation->images[i].keep_durable = false;
    }
    fake_storage_init(&fake);
    live(simulation, &fake, NULL, STEPS);
    fake_storage_release(&fake);
    for (int i = 0; i <= MAX_LEVEL; i++)
        fake_storage_release(&simulation->images[i]);
}

/* ---- the tests */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { WANTED_STATES = 5000 };
#else
enum { WANTED_STATES = 100000 };
#endif

static struct seed_counts run_sound(uint64_t seed, void *context) {
    struct simulation simulation;
    uint64_t *secrets = context;
    simulate(&simulation, seed, FAULT_NONE, false);
    *secrets += simulation.secrets_gone;
    return (struct seed_counts){simulation.states, simulation.violations, simulation.trace};
}

static void no_crash_loses_or_halves(void **state) {
    uint64_t secrets = 0;
    (void)state;
    struct seed_counts sum = seeds_run(test_rounds(WANTED_STATES), run_sound, &secrets);
    print_message("%" PRIu64 " secrets removed\n", secrets);
    print_message("figure: store_crash_states %" PRIu64 "\nfigure: store_crash_violations %" PRIu64 "\n", sum.states,
                  sum.violations);
    assert_int_equal(sum.violations, 0);
    assert_true(secrets > 0);
    test_allocator_check_empty(&allocator);
}

static void canaries_are_caught(void **state) {
    static const char *const names[] = {"", "syncs of the log", "syncs of the data", "the last frame",
                                        "overwriting what is deleted"};
    struct simulation simulation;
    (void)state;
    for (int fault = FAULT_LOG_SYNC; fault < FAULT_COUNT; fault++) {
        uint64_t violations = 0;
        uint64_t seed = 0;
        while (violations == 0 && seed < 12) {
            simulate(&simulation, ++seed, (enum fault)fault, false);
            violations = simulation.violations;
        }
        print_message("without %s: %" PRIu64 " violations with seed %" PRIu64 "\n", names[fault], violations, seed);
        assert_true(violations > 0);
    }
}

static void a_seed_gives_its_trace_again(void **state) {
    struct simulation first;
    struct simulation again;
    (void)state;
    simulate(&first, 1, FAULT_NONE, false);
    simulate(&again, 1, FAULT_NONE, false);
    assert_int_equal(first.states, again.states);
    assert_true(first.trace == again.trace);
}

static int replay(uint64_t seed) {
    struct simulation simulation;
    simulate(&simulation, seed, FAULT_NONE, true);
    seed_tell(seed, &(struct seed_counts){simulation.states, simulation.violations, simulation.trace});
    return simulation.violations != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_crash_loses_or_halves),
        cmocka_unit_test(canaries_are_caught),
        cmocka_unit_test(a_seed_gives_its_trace_again),
    };
    uint64_t seed = seed_asked_for();
    test_allocator_init(&allocator);
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return seed != 0 ? replay(seed) : cmocka_run_group_tests(tests, NULL, NULL);
}
