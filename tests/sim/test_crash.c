/*
 * Crashes at every point of the storage protocol.
 *
 * A script of batches (one or several frames), syncs and checkpoints runs on tests/support/fake_storage. At every
 * operation the power fails: for every subset of what was not yet synced (all subsets up to 2^6, samples beyond) and
 * for torn lengths of each piece, the store is opened and read. What it holds must be the batches of the model up to
 * some point that is not before the last acknowledged one, each batch whole, nothing from a life that a crash had
 * ended. Some of the recovered stores crash again inside the recovery, and live on to crash later.
 *
 * Canaries: the same enumeration with one sync of the protocol left out must find violations.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/support/fake_storage.h"
#include "tests/support/support.h"

enum { SEGMENTS = 4, MAX_BATCHES = 64, MAX_FRAMES = 3, SMALL_SUBSETS = 6, MAX_LEVEL = 2 };

/* What the store should hold: batch b (from 1) was written by life[b]. */
struct model {
    uint32_t started;      /* batches handed to the storage */
    uint32_t acknowledged; /* batches whose sync has returned */
    uint32_t life[MAX_BATCHES + 1];
};

enum canary {
    CANARY_NONE,
    CANARY_NO_SYNC_AT_ALL,
    CANARY_LOG_SYNC,
    CANARY_LOG_START_SYNC,
    CANARY_EXTENTS_SYNC,
    CANARY_ROOT_SYNC,
    CANARY_CUT_SYNC,
    CANARY_COUNT,
};

enum phase { PHASE_OTHER, PHASE_SYNC, PHASE_CHECKPOINT, PHASE_OPEN };

struct simulation {
    struct memory *memory;
    struct random random;
    enum canary canary;
    uint64_t states;
    uint64_t violations;
    uint64_t nested_every; /* one state of so many crashes again */
    uint32_t next_life;
    struct fake_storage images[MAX_LEVEL + 1]; /* one crash image per level, reused */
};

/* One running store. */
struct life {
    struct simulation *simulation;
    struct fake_storage *fake;
    struct storage *storage;
    struct model model;
    unsigned level;
    uint32_t number;
    enum phase phase;
    unsigned syncs_in_phase[2];
    uint32_t checkpointed; /* batches in the present root */
    bool had_root;
};

/* ---- contents */

static uint32_t version_of(uint32_t segment, uint32_t batches) {
    uint32_t version = batches;
    while (version > 0 && version % SEGMENTS != segment) {
        version--;
    }
    return version;
}

static uint64_t segment_bytes(uint32_t segment) {
    return 24 + 300 * segment;
}

static void segment_fill(uint32_t segment, uint32_t version, uint32_t life, uint8_t *out) {
    uint32_t head[6] = {segment, version, life, ~segment, ~version, ~life};
    memcpy(out, head, sizeof head);
    for (size_t i = sizeof head; i < segment_bytes(segment); i++) {
        out[i] = (uint8_t)(i * 7 + version * 13 + life * 31 + segment);
    }
}

static void source_write(void *context, const struct segment_key *key, void *out, uint64_t size_bytes) {
    const struct life *self = context;
    uint32_t version = version_of(key->part, self->model.started);
    assert_int_equal(size_bytes, segment_bytes(key->part));
    segment_fill(key->part, version, self->model.life[version], out);
}

static uint32_t frames_of(uint32_t batch) {
    return 1 + (batch % 4 == 2) + (batch % 4 == 2 && batch % 8 == 2);
}
static size_t frame_bytes(uint32_t batch, uint32_t frame) {
    return 12 + (batch * 37 + frame * 11) % 150;
}

static void frame_fill(uint32_t batch, uint32_t frame, uint32_t life, uint8_t *out) {
    uint32_t head[3] = {batch, frame, life};
    memcpy(out, head, sizeof head);
    for (size_t i = sizeof head; i < frame_bytes(batch, frame); i++) {
        out[i] = (uint8_t)(i + batch + frame * 3 + life * 5);
    }
}

/* ---- recovery and its check */

/* Reads what an opened storage holds; false where that is not a state of the model. */
static bool read_state(struct fake_storage *fake, struct storage *storage, const struct model *model, uint32_t *out) {
    uint8_t expected[2048];
    uint8_t actual[2048];
    size_t count;
    const struct segment *segments = storage_segments(storage, &count);
    uint32_t batches = (uint32_t)storage_meta(storage)->sequence;
    if (batches > model->started || (count != 0 && count != SEGMENTS) || (count == 0 && batches != 0)) return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t version = version_of((uint32_t)i, batches);
        struct segment segment = segments[i];
        if (segment.key.part != i || segment.size_bytes != segment_bytes((uint32_t)i)) return false;
        if (storage_begin_read(storage, &segment, actual, NULL) != VELTA_OK ||
            fake_storage_run(fake, storage, NULL) != VELTA_OK) {
            return false;
        }
        segment_fill((uint32_t)i, version, model->life[version], expected);
        if (memcmp(actual, expected, segment.size_bytes) != 0) return false;
    }
    uint32_t frame = 0;
    for (;;) {
        size_t size_bytes;
        uint64_t offset;
        if (storage_begin_replay(storage, NULL) != VELTA_OK || fake_storage_run(fake, storage, NULL) != VELTA_OK) {
            return false;
        }
        const void *body = storage_replayed_body(storage, &size_bytes, &offset);
        if (body == NULL) break;
        uint32_t batch = batches + 1;
        if (batch > model->started || size_bytes != frame_bytes(batch, frame)) return false;
        frame_fill(batch, frame, model->life[batch], expected);
        if (memcmp(body, expected, size_bytes) != 0) return false;
        frame++;
        if (frame == frames_of(batch)) {
            frame = 0;
            batches++;
        }
    }
    *out = batches;
    return frame == 0;
}

static void violation(struct simulation *simulation, const struct life *life, uint64_t kept, size_t torn,
                      uint64_t torn_bytes, const char *what, const struct velta_error *error) {
    simulation->violations++;
    if (simulation->canary == CANARY_NONE && simulation->violations < 10) {
        print_error("state %" PRIu64 ", level %u, batches started %u, acknowledged %u, %zu pieces, kept %" PRIx64
                    ", torn %zu at %" PRIu64 ": %s %s\n",
                    simulation->states, life->level, life->model.started, life->model.acknowledged,
                    life->fake->piece_count, kept, torn, torn_bytes, what, error != NULL ? error->text : "");
    }
}

static void live_on(struct simulation *simulation, struct fake_storage *fake, const struct model *model, uint32_t found,
                    unsigned level);
static void enumerate(struct life *life, size_t first_new);

static bool ignore_sync(void *context, uint64_t sync_number, enum storage_file file) {
    struct life *life = context;
    unsigned in_phase = ++life->syncs_in_phase[file];
    (void)sync_number;
    switch (life->simulation->canary) {
    case CANARY_NO_SYNC_AT_ALL:
        return true;
    case CANARY_LOG_SYNC:
        return life->phase == PHASE_SYNC;
    case CANARY_LOG_START_SYNC:
        return life->phase == PHASE_CHECKPOINT && file == STORAGE_LOG && in_phase == 1 && !life->had_root;
    case CANARY_EXTENTS_SYNC:
        return life->phase == PHASE_CHECKPOINT && file == STORAGE_DATA && in_phase == 1;
    case CANARY_ROOT_SYNC:
        return life->phase == PHASE_CHECKPOINT && file == STORAGE_DATA && in_phase == 2;
    case CANARY_CUT_SYNC:
        return life->phase == PHASE_OPEN;
    default:
        return false;
    }
}

/* Runs a task; before each of its changes to the disk, and after the last, the power may fail. */
static enum velta_status run(struct life *life, enum phase phase) {
    life->phase = phase;
    life->syncs_in_phase[0] = life->syncs_in_phase[1] = 0;
    for (;;) {
        struct storage_operation operation;
        struct storage_result result;
        bool more;
        enum velta_status status = storage_next(life->storage, &operation, &more, NULL);
        if (!more) return status;
        size_t first_new = life->fake->piece_count;
        fake_storage_execute(life->fake, &operation, &result);
        storage_done(life->storage, &result);
        bool changes = operation.kind == STORAGE_WRITE || operation.kind == STORAGE_TRUNCATE;
        if (operation.kind == STORAGE_SYNC) first_new = 0;
        if (changes || operation.kind == STORAGE_SYNC) enumerate(life, first_new);
    }
}

/* Opens the image of a crash, checks it, and for some lives on with it. */
static void try_crash(struct life *life, uint64_t kept, size_t torn, uint64_t torn_bytes) {
    struct simulation *simulation = life->simulation;
    struct fake_storage *image = &simulation->images[life->level];
    bool nested = life->level < MAX_LEVEL && random_below(&simulation->random, simulation->nested_every) == 0;
    struct velta_error error = {0};
    uint32_t found;
    simulation->states++;
    image->keep_durable = false;
    fake_storage_crash(life->fake, kept, torn, torn_bytes, image);
    struct storage *storage;
    assert_int_equal(storage_create(simulation->memory, &storage, NULL), VELTA_OK);
    assert_int_equal(storage_begin_open(storage, false, NULL), VELTA_OK);
    if (fake_storage_run(image, storage, &error) != VELTA_OK) {
        violation(simulation, life, kept, torn, torn_bytes, "it does not open:", &error);
        nested = false;
    } else if (!read_state(image, storage, &life->model, &found)) {
        violation(simulation, life, kept, torn, torn_bytes, "it holds what was never a state", NULL);
        nested = false;
    } else if (found < life->model.acknowledged) {
        violation(simulation, life, kept, torn, torn_bytes, "an acknowledged batch is lost", NULL);
        nested = false;
    }
    storage_destroy(storage);
    if (nested) {
        struct fake_storage fake;
        fake_storage_init(&fake);
        fake_storage_crash(life->fake, kept, torn, torn_bytes, &fake);
        live_on(simulation, &fake, &life->model, found, life->level + 1);
        fake_storage_release(&fake);
    }
}

/* Every state that the disk may be in now. Those without any piece from `first_new` on were tried before. */
static void enumerate(struct life *life, size_t first_new) {
    const struct fake_storage *fake = life->fake;
    struct random *random = &life->simulation->random;
    size_t count = fake->piece_count;
    if (life->simulation->violations > 20) return; /* enough to tell */
    if (count == 0) {
        try_crash(life, 0, SIZE_MAX, 0);
        return;
    }
    bool all = count <= SMALL_SUBSETS;
    unsigned bits = count < 64 ? (unsigned)count : 64;
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    uint64_t subsets = all ? UINT64_C(1) << count : 64 + 2 * bits;
    if (life->level > 0) { /* inside another crash: samples */
        all = false;
        subsets = 8;
    }
    for (uint64_t i = 0; i < subsets; i++) {
        uint64_t kept = i;
        if (!all) {
            kept = random_u64(random) & mask;
            if (i < 2) kept = i == 0 ? 0 : mask;
            if (life->level == 0 && i >= 64) {
                unsigned bit = (unsigned)(i - 64) / 2;
                kept = i % 2 == 0 ? UINT64_C(1) << bit : mask & ~(UINT64_C(1) << bit);
            }
        }
        uint64_t fresh = first_new < 64 ? kept >> first_new : kept >> 63;
        if (all && fresh == 0) continue;
        try_crash(life, kept, SIZE_MAX, 0);
        for (size_t torn = 0; torn < bits; torn++) {
            uint64_t size_bytes = fake->pieces[torn].size_bytes;
            if ((kept >> torn & 1) == 0 || size_bytes < 2) continue;
            if (!all && random_below(random, bits) > 2) continue;
            uint64_t lengths[] = {1, 7, 12, 33, 57, 63, 64, size_bytes / 2, size_bytes - 1};
            size_t tries = life->level == 0 ? sizeof lengths / sizeof lengths[0] : 1;
            for (size_t t = 0; t < tries; t++) {
                uint64_t torn_bytes = tries > 1 ? lengths[t] : 1 + random_below(random, size_bytes - 1);
                if (torn_bytes < size_bytes) try_crash(life, kept, torn, torn_bytes);
            }
        }
    }
}

/* ---- the script */

static bool write_batch(struct life *life, bool sync) {
    uint8_t body[512];
    uint32_t batch = life->model.started + 1;
    assert_true(batch <= MAX_BATCHES);
    life->model.started = batch;
    life->model.life[batch] = life->number;
    for (uint32_t frame = 0; frame < frames_of(batch); frame++) {
        frame_fill(batch, frame, life->number, body);
        bool commit = frame + 1 == frames_of(batch);
        assert_int_equal(storage_begin_append(life->storage, body, frame_bytes(batch, frame), commit, NULL), VELTA_OK);
        assert_int_equal(run(life, PHASE_OTHER), VELTA_OK);
    }
    if (!sync) return true;
    assert_int_equal(storage_begin_sync(life->storage, NULL), VELTA_OK);
    assert_int_equal(run(life, PHASE_SYNC), VELTA_OK);
    life->model.acknowledged = batch;
    return true;
}

static void write_checkpoint(struct life *life) {
    struct checkpoint_segment segments[SEGMENTS];
    struct storage_source source = {life, source_write};
    struct storage_meta meta = {.sequence = life->model.started, .time_ms = 1000 + life->model.started};
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        bool changed = !life->had_root || version_of(i, life->model.started) != version_of(i, life->checkpointed);
        segments[i] = (struct checkpoint_segment){{1, 0, 0, i}, segment_bytes(i), changed};
    }
    assert_int_equal(storage_begin_checkpoint(life->storage, segments, SEGMENTS, &source, &meta, NULL), VELTA_OK);
    assert_int_equal(run(life, PHASE_CHECKPOINT), VELTA_OK);
    life->had_root = true;
    life->checkpointed = life->model.started;
    life->model.acknowledged = life->model.started;
}

/* Overwrites and cuts off what is no longer named. */
static void scrub(struct life *life) {
    assert_int_equal(storage_begin_scrub(life->storage, NULL), VELTA_OK);
    assert_int_equal(run(life, PHASE_OTHER), VELTA_OK);
}

/* A batch given up after its first frame. */
static void give_up_batch(struct life *life) {
    uint8_t body[512];
    frame_fill(MAX_BATCHES, 0, life->number, body);
    assert_int_equal(storage_begin_append(life->storage, body, 100, false, NULL), VELTA_OK);
    assert_int_equal(run(life, PHASE_OTHER), VELTA_OK);
    assert_int_equal(storage_begin_rollback(life->storage, NULL), VELTA_OK);
    assert_int_equal(run(life, PHASE_OTHER), VELTA_OK);
}

static void start_life(struct life *life, struct simulation *simulation, struct fake_storage *fake, unsigned level) {
    memset(life, 0, sizeof *life);
    life->simulation = simulation;
    life->fake = fake;
    life->level = level;
    life->number = ++simulation->next_life;
    fake->ignore_sync = simulation->canary != CANARY_NONE ? ignore_sync : NULL;
    fake->context = life;
    assert_int_equal(storage_create(simulation->memory, &life->storage, NULL), VELTA_OK);
    assert_int_equal(storage_begin_open(life->storage, false, NULL), VELTA_OK);
}

/* A recovered store: crashes inside the recovery, then goes on writing and crashes there. */
static void live_on(struct simulation *simulation, struct fake_storage *fake, const struct model *model, uint32_t found,
                    unsigned level) {
    struct life life;
    start_life(&life, simulation, fake, level);
    life.model = *model;
    life.model.acknowledged = found; /* it was read: it must not change any more */
    life.model.started = found;
    assert_int_equal(run(&life, PHASE_OPEN), VELTA_OK);
    life.checkpointed = (uint32_t)storage_meta(life.storage)->sequence;
    size_t count;
    (void)storage_segments(life.storage, &count);
    life.had_root = count > 0;
    unsigned steps = 1 + (unsigned)random_below(&simulation->random, 4);
    for (unsigned i = 0; i < steps && life.model.started < MAX_BATCHES; i++) {
        if (random_chance(&simulation->random, 30)) {
            write_checkpoint(&life);
            if (random_chance(&simulation->random, 30)) scrub(&life);
        } else if (random_chance(&simulation->random, 10)) {
            give_up_batch(&life);
        } else {
            write_batch(&life, random_chance(&simulation->random, 50));
        }
    }
    storage_destroy(life.storage);
}

static void simulate(struct simulation *simulation, uint64_t seed, enum canary canary, unsigned steps,
                     uint64_t nested_every) {
    struct fake_storage fake;
    struct life life;
    memset(simulation, 0, sizeof *simulation);
    simulation->random = random_seeded(seed);
    simulation->canary = canary;
    simulation->nested_every = nested_every;
    simulation->memory = memory_create(NULL, 0);
    assert_non_null(simulation->memory);
    for (int i = 0; i <= MAX_LEVEL; i++) {
        fake_storage_init(&simulation->images[i]);
    }
    fake_storage_init(&fake);
    start_life(&life, simulation, &fake, 0);
    assert_int_equal(run(&life, PHASE_OPEN), VELTA_OK);
    for (unsigned i = 0; i < steps; i++) {
        if (i % 5 == 4) {
            write_checkpoint(&life);
            if (i % 10 == 9) scrub(&life);
        } else if (i % 5 == 2 && canary == CANARY_NONE) {
            give_up_batch(&life);
        } else {
            write_batch(&life, random_chance(&simulation->random, 60));
        }
    }
    if (canary == CANARY_NONE) {
        assert_int_equal(storage_begin_close(life.storage, NULL), VELTA_OK);
        assert_int_equal(run(&life, PHASE_SYNC), VELTA_OK);
    }
    storage_destroy(life.storage);
    fake_storage_release(&fake);
    for (int i = 0; i <= MAX_LEVEL; i++) {
        fake_storage_release(&simulation->images[i]);
    }
    memory_destroy(simulation->memory);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { WANTED_STATES = 30000 };
#else
enum { WANTED_STATES = 300000 };
#endif

static void no_crash_loses_or_halves(void **state) {
    struct simulation simulation;
    uint64_t states = 0;
    uint64_t seed = 1;
    uint64_t wanted = test_rounds(WANTED_STATES);
    clock_t start = clock();
    (void)state;
    for (; states < wanted; seed++) {
        simulate(&simulation, seed, CANARY_NONE, 20, 512);
        states += simulation.states;
        if (simulation.violations != 0) print_error("seed %" PRIu64 "\n", seed);
        assert_int_equal(simulation.violations, 0);
    }
    print_message("%" PRIu64 " crash states, seeds 1 to %" PRIu64 ", %.1f s, no violation\n", states, seed - 1,
                  (double)(clock() - start) / CLOCKS_PER_SEC);
}

static void canaries_are_caught(void **state) {
    static const char *const names[] = {
        "", "every sync", "log sync", "log start sync", "extents sync", "root sync", "sync of the cut tail"};
    struct simulation simulation;
    (void)state;
    for (int canary = CANARY_NO_SYNC_AT_ALL; canary < CANARY_COUNT; canary++) {
        uint64_t violations = 0;
        for (uint64_t seed = 1; seed <= 40 && violations == 0; seed++) {
            simulate(&simulation, seed, (enum canary)canary, 7, 4);
            violations += simulation.violations;
        }
        print_message("without the %s: %" PRIu64 " violations\n", names[canary], violations);
        assert_true(violations > 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_crash_loses_or_halves),
        cmocka_unit_test(canaries_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
