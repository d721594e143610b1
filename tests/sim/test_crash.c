/*
 * Crashes at every point of the storage protocol.
 *
 * A script of batches (one or several frames), syncs and checkpoints runs on tests/support/fake_storage. At every
 * operation the power fails: for every subset of what was not yet synced (all subsets up to 2^6, samples beyond) and
 * for torn lengths of each piece, the store is opened and read. What it holds must be the batches of the model up to
 * some point that is not before the last acknowledged one, each batch whole, nothing from a life that a crash had
 * ended. Some of the recovered stores crash again inside the recovery, and live on to crash later; for some every
 * operation of the recovery fails in turn, which must change nothing.
 *
 * Canaries: the same enumeration with one sync of the protocol left out, or its order broken, must find violations.
 *
 * Replay: everything follows from the seed. The trace is a digest of all operations with their bytes, all crash states
 * with theirs, and what each was found to hold. VELTA_SIM_SEED=N runs seed N alone and prints its trace;
 * VELTA_SIM_STATE=M with it prints how state M came about: the operations, what was kept and torn at each crash.
 */
#include <string.h>

#include "core/hash.h"
#include "tests/sim/seeds.h"
#include "tests/support/fake_storage.h"

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
    CANARY_ROOT_FIRST, /* the extents are written when their root is already durable */
    CANARY_COUNT,
};

enum phase { PHASE_OTHER, PHASE_SYNC, PHASE_CHECKPOINT, PHASE_OPEN };

/* What a crash kept, and what was made of it. */
enum outcome { OUTCOME_SOUND, OUTCOME_CLOSED, OUTCOME_STRANGE, OUTCOME_LOST };

struct crash_state {
    uint64_t number; /* counted from 1 within its seed */
    struct fake_crash crash;
    uint64_t outcome;
    uint64_t found; /* batches */
    uint64_t trace; /* with this state */
};

struct simulation {
    struct memory *memory;
    struct random random;
    uint64_t seed;
    enum canary canary;
    uint64_t states;
    uint64_t violations;
    uint64_t failed_operations; /* of recoveries */
    uint64_t trace;
    uint64_t nested_every;  /* one state of so many lives on and crashes again */
    uint64_t recover_every; /* one state of so many crashes inside its recovery */
    uint32_t next_life;
    uint64_t wanted_state; /* 0: none; else it is copied, and explained in `explanation` */
    FILE *explanation;
    struct crash_state wanted;
    struct crash_state first_violation;
    struct fake_storage images[MAX_LEVEL + 1]; /* one crash image per level, reused */
};

struct noted_operation {
    struct storage_operation operation; /* without its pointers */
    uint64_t bytes_hash;
};

enum { MAX_WAITING = 64 };

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
    struct storage_operation waiting[MAX_WAITING]; /* writes of CANARY_ROOT_FIRST, whose bytes are copies */
    size_t waiting_count;
    const struct life *parent; /* that crashed in `origin` */
    struct crash_state origin;
    struct noted_operation *notes; /* while a state is wanted */
    size_t note_count;
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

/* ---- the trace, and what it tells of one state */

static void trace_add(struct simulation *simulation, const uint64_t *words, size_t count) {
    uint64_t block[10] = {simulation->trace};
    assert_true(count < sizeof block / sizeof block[0]);
    memcpy(block + 1, words, count * sizeof *words);
    simulation->trace = hash_bytes(block, (count + 1) * sizeof *block);
}

static void note_operation(struct life *life, const struct storage_operation *operation) {
    uint64_t bytes_hash = operation->kind == STORAGE_WRITE ? hash_bytes(operation->bytes, operation->size_bytes) : 0;
    uint64_t words[] = {life->level,       operation->kind,       operation->file,
                        operation->offset, operation->size_bytes, bytes_hash};
    trace_add(life->simulation, words, sizeof words / sizeof words[0]);
    if (life->simulation->wanted_state == 0) return;
    life->notes = realloc(life->notes, (life->note_count + 1) * sizeof *life->notes);
    assert_non_null(life->notes);
    life->notes[life->note_count++] = (struct noted_operation){*operation, bytes_hash};
}

static void explain_crash(FILE *out, const struct crash_state *state, const struct life *life) {
    static const char *const outcomes[] = {"sound", "does not open", "holds what was never a state",
                                           "an acknowledged batch is lost"};
    const struct fake_crash *crash = &state->crash;
    fprintf(out,
            "state %" PRIu64 " (level %u, life %u, batches started %u, acknowledged %u): of %zu pieces kept %" PRIx64,
            state->number, life->level, life->number, life->model.started, life->model.acknowledged,
            life->fake->piece_count, crash->kept);
    if (crash->torn != SIZE_MAX) {
        fprintf(out, ", piece %zu torn at %" PRIu64 "%s", crash->torn, crash->torn_bytes,
                crash->torn_grown ? " in a file grown to its end" : "");
    }
    fprintf(out, ": %s, %" PRIu64 " batches, trace %016" PRIx64 "\n", outcomes[state->outcome], state->found,
            state->trace);
}

/* The operations from the first life on to this one, with the crashes between. */
static void explain_life(FILE *out, const struct life *life) {
    static const char *const kinds[] = {"", "size", "read", "write", "sync", "truncate"};
    if (life->parent != NULL) {
        explain_life(out, life->parent);
        explain_crash(out, &life->origin, life->parent);
    }
    for (size_t i = 0; i < life->note_count; i++) {
        const struct storage_operation *operation = &life->notes[i].operation;
        fprintf(out, "%*s%s %s, offset %" PRIu64 ", %" PRIu64 " bytes, hash %016" PRIx64 "\n", 2 * (int)life->level, "",
                kinds[operation->kind], operation->file == STORAGE_DATA ? "data" : "log", operation->offset,
                operation->size_bytes, life->notes[i].bytes_hash);
    }
}

static void note_state(struct life *life, struct crash_state *state, const struct fake_storage *image,
                       const struct velta_error *error) {
    struct simulation *simulation = life->simulation;
    const struct fake_crash *crash = &state->crash;
    uint64_t words[] = {crash->kept,
                        crash->torn,
                        crash->torn_bytes,
                        crash->torn_grown,
                        state->outcome,
                        state->found,
                        hash_bytes(image->now[0].bytes, image->now[0].size_bytes),
                        hash_bytes(image->now[1].bytes, image->now[1].size_bytes)};
    trace_add(simulation, words, sizeof words / sizeof words[0]);
    state->trace = simulation->trace;
    if (state->number == simulation->wanted_state) {
        simulation->wanted = *state;
        explain_life(simulation->explanation, life);
        explain_crash(simulation->explanation, state, life);
    }
    if (state->outcome == OUTCOME_SOUND) return;
    if (simulation->violations++ == 0) simulation->first_violation = *state;
    if (simulation->canary == CANARY_NONE && simulation->violations < 10) {
        printf("VELTA_SIM_SEED=%" PRIu64 " VELTA_SIM_STATE=%" PRIu64 ": %s\n", simulation->seed, state->number,
               error->text);
        explain_crash(stdout, state, life);
    }
}

static void live_on(const struct life *parent, const struct crash_state *origin, unsigned steps);
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

/* CANARY_ROOT_FIRST: writes of extents wait until the root's sync is over. True: the operation was dealt with. */
static bool hold_back(struct life *life, const struct storage_operation *operation, struct storage_result *result) {
    if (life->simulation->canary != CANARY_ROOT_FIRST || life->phase != PHASE_CHECKPOINT) return false;
    if (operation->file == STORAGE_DATA && operation->kind == STORAGE_WRITE && operation->offset >= 8192) {
        assert_true(life->waiting_count < MAX_WAITING);
        void *copy = malloc(operation->size_bytes);
        assert_non_null(copy);
        memcpy(copy, operation->bytes, operation->size_bytes);
        life->waiting[life->waiting_count] = *operation;
        life->waiting[life->waiting_count++].bytes = copy;
        *result = (struct storage_result){VELTA_OK, operation->size_bytes};
        return true;
    }
    for (size_t i = 0; operation->file == STORAGE_LOG && i < life->waiting_count; i++) {
        fake_storage_execute(life->fake, &life->waiting[i], result);
        free((void *)(uintptr_t)life->waiting[i].bytes);
    }
    if (operation->file == STORAGE_LOG) life->waiting_count = 0;
    return false;
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
        note_operation(life, &operation);
        if (!hold_back(life, &operation, &result)) fake_storage_execute(life->fake, &operation, &result);
        storage_done(life->storage, &result);
        bool changes = operation.kind == STORAGE_WRITE || operation.kind == STORAGE_TRUNCATE;
        if (operation.kind == STORAGE_SYNC) first_new = 0;
        if (changes || operation.kind == STORAGE_SYNC) enumerate(life, first_new);
    }
}

/* Opens what is in `image` and says what it holds. */
static enum outcome open_image(struct life *life, struct fake_storage *image, uint32_t *found,
                               struct velta_error *error) {
    struct storage *storage;
    enum outcome outcome = OUTCOME_SOUND;
    *found = 0;
    assert_int_equal(storage_create(life->simulation->memory, &storage, NULL), VELTA_OK);
    assert_int_equal(storage_begin_open(storage, false, NULL), VELTA_OK);
    if (fake_storage_run(image, storage, error) != VELTA_OK) {
        outcome = OUTCOME_CLOSED;
    } else if (!read_state(image, storage, &life->model, found)) {
        outcome = OUTCOME_STRANGE;
    } else if (*found < life->model.acknowledged) {
        outcome = OUTCOME_LOST;
    }
    storage_destroy(storage);
    return outcome;
}

/* Each operation of the recovery fails once: it is told, and opened again the store holds the same. */
static void fail_recovery(struct life *life, const struct crash_state *state) {
    struct fake_storage *image = &life->simulation->images[life->level];
    for (uint64_t at = 1;; at++) {
        struct storage *storage;
        uint32_t found;
        fake_storage_crash(life->fake, &state->crash, image);
        image->operation_count = 0;
        image->fail_at = at;
        image->fail_status = VELTA_IO;
        assert_int_equal(storage_create(life->simulation->memory, &storage, NULL), VELTA_OK);
        assert_int_equal(storage_begin_open(storage, false, NULL), VELTA_OK);
        enum velta_status status = fake_storage_run(image, storage, NULL);
        storage_destroy(storage);
        image->fail_at = 0;
        if (status == VELTA_OK) break;
        assert_int_equal(status, VELTA_IO);
        assert_int_equal(open_image(life, image, &found, NULL), OUTCOME_SOUND);
        assert_int_equal(found, state->found);
        life->simulation->failed_operations++;
    }
}

/* Opens the image of a crash, checks it, and for some lives on with it. */
static void try_crash(struct life *life, const struct fake_crash *crash) {
    struct simulation *simulation = life->simulation;
    struct random *random = &simulation->random;
    struct fake_storage *image = &simulation->images[life->level];
    struct velta_error error = {0};
    struct crash_state state = {.number = ++simulation->states, .crash = *crash};
    uint32_t found;
    fake_storage_crash(life->fake, crash, image);
    state.outcome = open_image(life, image, &found, &error);
    state.found = found;
    note_state(life, &state, image, &error);
    if (state.outcome != OUTCOME_SOUND || life->level == MAX_LEVEL) return;
    if (random_below(random, simulation->nested_every) == 0) {
        live_on(life, &state, 1 + (unsigned)random_below(random, 4));
    } else if (random_below(random, simulation->recover_every) == 0) {
        live_on(life, &state, 0);
        fail_recovery(life, &state);
    }
}

/* One piece of those kept is torn: at its edges and the format's, and at lengths drawn. */
static void tear_pieces(struct life *life, uint64_t kept, bool all, unsigned bits) {
    struct random *random = &life->simulation->random;
    for (size_t torn = 0; torn < bits; torn++) {
        uint64_t size_bytes = life->fake->pieces[torn].size_bytes;
        if ((kept >> torn & 1) == 0 || size_bytes < 2) continue;
        if (!all && random_below(random, bits) > 2) continue;
        uint64_t drawn = 1 + random_below(random, size_bytes - 1);
        uint64_t lengths[] = {drawn, 1, 7, 12, 33, 57, 63, 64, size_bytes / 2, size_bytes - 1};
        size_t tries = life->level == 0 ? sizeof lengths / sizeof lengths[0] : 1;
        for (size_t t = 0; t < tries; t++) {
            struct fake_crash crash = {kept, torn, lengths[t], false};
            if (crash.torn_bytes >= size_bytes) continue;
            try_crash(life, &crash);
            if (t > 0) continue;
            crash.torn_grown = true;
            try_crash(life, &crash);
            crash.torn_bytes = 0;
            try_crash(life, &crash);
        }
    }
}

/* Every state that the disk may be in now. Those without any piece from `first_new` on were tried before. */
static void enumerate(struct life *life, size_t first_new) {
    const struct fake_storage *fake = life->fake;
    struct random *random = &life->simulation->random;
    size_t count = fake->piece_count;
    if (life->simulation->violations > 20) return; /* enough to tell */
    struct fake_crash crash = {0, SIZE_MAX, 0, false};
    if (count == 0) {
        try_crash(life, &crash);
        return;
    }
    bool all = count <= SMALL_SUBSETS;
    unsigned bits = count < 64 ? (unsigned)count : 64;
    uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    uint64_t subsets = all ? UINT64_C(1) << count : 64 + 2 * bits;
    if (life->level > 0 && life->phase != PHASE_OPEN) { /* inside another crash: samples, but of recoveries all */
        all = false;
        subsets = 8;
    }
    for (uint64_t i = 0; i < subsets; i++) {
        crash.kept = i;
        if (!all) {
            crash.kept = random_u64(random) & mask;
            if (i < 2) crash.kept = i == 0 ? 0 : mask;
            if (i >= 64) {
                unsigned bit = (unsigned)(i - 64) / 2;
                crash.kept = i % 2 == 0 ? UINT64_C(1) << bit : mask & ~(UINT64_C(1) << bit);
            }
        }
        if (all && crash.kept >> first_new == 0) continue;
        try_crash(life, &crash);
        tear_pieces(life, crash.kept, all, bits);
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

static void end_life(struct life *life) {
    storage_destroy(life->storage);
    fake_storage_release(life->fake);
    free(life->notes);
}

/* A recovered store: crashes inside the recovery, then goes on writing and crashes there. */
static void live_on(const struct life *parent, const struct crash_state *origin, unsigned steps) {
    struct simulation *simulation = parent->simulation;
    struct fake_storage fake;
    struct life life;
    fake_storage_init(&fake);
    fake_storage_crash(parent->fake, &origin->crash, &fake);
    start_life(&life, simulation, &fake, parent->level + 1);
    life.parent = parent;
    life.origin = *origin;
    life.model = parent->model;
    life.model.acknowledged = (uint32_t)origin->found; /* it was read: it must not change any more */
    life.model.started = (uint32_t)origin->found;
    assert_int_equal(run(&life, PHASE_OPEN), VELTA_OK);
    life.checkpointed = (uint32_t)storage_meta(life.storage)->sequence;
    size_t count;
    (void)storage_segments(life.storage, &count);
    life.had_root = count > 0;
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
    end_life(&life);
}

/* What follows from a seed; `wanted`: a state to be explained in `explanation`, or 0. */
static void simulate(struct simulation *simulation, uint64_t seed, enum canary canary, uint64_t wanted,
                     FILE *explanation) {
    struct fake_storage fake;
    struct life life;
    unsigned steps = canary == CANARY_NONE ? 20 : 7;
    memset(simulation, 0, sizeof *simulation);
    simulation->random = random_seeded(seed);
    simulation->seed = seed;
    simulation->canary = canary;
    simulation->nested_every = canary == CANARY_NONE ? 512 : 4;
    simulation->recover_every = canary == CANARY_NONE ? 64 : 4;
    simulation->wanted_state = wanted;
    simulation->explanation = explanation;
    simulation->memory = memory_create(NULL, 0);
    assert_non_null(simulation->memory);
    for (int i = 0; i <= MAX_LEVEL; i++) {
        fake_storage_init(&simulation->images[i]);
        simulation->images[i].keep_durable = false;
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
    end_life(&life);
    for (int i = 0; i <= MAX_LEVEL; i++) {
        fake_storage_release(&simulation->images[i]);
    }
    memory_destroy(simulation->memory);
}

/* ---- the tests */

/* In a soak 10^8 states natively. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { WANTED_STATES = 30000 };
#else
enum { WANTED_STATES = 1000000 };
#endif

static struct seed_counts run_sound(uint64_t seed, void *context) {
    struct simulation simulation;
    uint64_t *failed_operations = context;
    simulate(&simulation, seed, CANARY_NONE, 0, NULL);
    *failed_operations += simulation.failed_operations;
    return (struct seed_counts){simulation.states, simulation.violations, simulation.trace};
}

static void no_crash_loses_or_halves(void **state) {
    uint64_t failed_operations = 0;
    (void)state;
    struct seed_counts sum = seeds_run(test_rounds(WANTED_STATES), run_sound, &failed_operations);
    print_message("%" PRIu64 " failed operations of recoveries\n", failed_operations);
    print_message("figure: crash_states %" PRIu64 "\nfigure: crash_violations %" PRIu64 "\n", sum.states,
                  sum.violations);
    assert_true(failed_operations > 100);
    assert_int_equal(sum.violations, 0);
}

/* The first seed whose simulation finds a violation. */
static uint64_t violating_seed(struct simulation *simulation, enum canary canary) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        simulate(simulation, seed, canary, 0, NULL);
        if (simulation->violations > 0) return seed;
    }
    return 0;
}

static void canaries_are_caught(void **state) {
    static const char *const names[] = {"",
                                        "every sync",
                                        "the log sync",
                                        "the log start sync",
                                        "the extents sync",
                                        "the root sync",
                                        "the sync of the cut tail",
                                        "the extents before the root"};
    struct simulation simulation;
    uint64_t caught = 0;
    (void)state;
    for (int canary = CANARY_NO_SYNC_AT_ALL; canary < CANARY_COUNT; canary++) {
        uint64_t seed = violating_seed(&simulation, (enum canary)canary);
        print_message("without %s: %" PRIu64 " violations with seed %" PRIu64 "\n", names[canary],
                      simulation.violations, seed);
        caught += seed != 0;
    }
    print_message("figure: crash_canaries_caught %" PRIu64 "\n", caught);
    assert_int_equal(caught, CANARY_COUNT - 1);
}

/* A seed gives the same trace again, and a violation is found again by its number. */
static void replays_are_equal(void **state) {
    struct simulation first;
    struct simulation again;
    uint64_t equal = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        simulate(&first, seed, CANARY_NONE, 0, NULL);
        simulate(&again, seed, CANARY_NONE, 0, NULL);
        assert_int_equal(first.states, again.states);
        assert_true(first.trace == again.trace);
        equal++;
    }
    for (int canary = CANARY_NO_SYNC_AT_ALL; canary < CANARY_COUNT; canary++) {
        char line[512];
        uint64_t lines = 0;
        FILE *explanation = tmpfile();
        assert_non_null(explanation);
        uint64_t seed = violating_seed(&first, (enum canary)canary);
        simulate(&again, seed, (enum canary)canary, first.first_violation.number, explanation);
        assert_true(first.trace == again.trace);
        assert_true(again.wanted.number == first.first_violation.number);
        assert_true(again.wanted.trace == first.first_violation.trace); /* which has what was kept and found */
        rewind(explanation);
        while (fgets(line, sizeof line, explanation) != NULL)
            lines++;
        assert_true(lines > 2);
        assert_memory_equal(line, "state ", 6); /* the last line tells of the state itself */
        assert_int_equal(fclose(explanation), 0);
        equal++;
    }
    print_message("figure: crash_replays_equal %" PRIu64 "\n", equal);
}

static int replay(uint64_t seed) {
    const char *state_text = getenv("VELTA_SIM_STATE");
    uint64_t wanted = state_text != NULL ? strtoull(state_text, NULL, 10) : 0;
    struct simulation simulation;
    simulate(&simulation, seed, CANARY_NONE, wanted, stdout);
    seed_tell(seed, &(struct seed_counts){simulation.states, simulation.violations, simulation.trace});
    if (wanted > simulation.states) printf("there is no state %" PRIu64 "\n", wanted);
    return simulation.violations != 0 || wanted > simulation.states;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_crash_loses_or_halves),
        cmocka_unit_test(canaries_are_caught),
        cmocka_unit_test(replays_are_equal),
    };
    uint64_t seed = seed_asked_for();
    return seed != 0 ? replay(seed) : cmocka_run_group_tests(tests, NULL, NULL);
}
