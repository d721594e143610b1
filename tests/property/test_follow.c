/*
 * Followers against their leader: random lives of a stored database with every kind of change, checkpoints,
 * compactions, openings anew and crashes that take what was not synced; and a copy in memory that follows by frames,
 * a few bytes at a time or many, late or at once. Whenever it has caught up, both exports must be equal, byte by
 * byte.
 *
 * On the way frames are lost, repeated, reordered, cut, flipped bit by bit, and taken from another store, all of which
 * must be refused and change nothing. Refused memory is in tests/unit/test_store_follow.c.
 */
#include <stdlib.h>

#include "core/bytes.h"

#include "tests/unit/store_world.h"

enum { STEPS = 220, LIVES = 12 };

struct copy {
    velta *db;
    struct velta_position position;
};

struct life {
    struct random random;
    struct world world;
    int64_t next_id;
    unsigned made;
    unsigned snapshots, caught_up, refused, crashes;
};

static void copy_drop(struct copy *copy) {
    struct velta_error error = {0};
    if (copy->db) assert_ok(velta_close(copy->db, &error), &error);
    copy->db = NULL;
}

static void copy_make(struct copy *copy, velta *leader, const struct velta_options *options) {
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    struct velta_options own = {.chain_interval = options->chain_interval, .thread_count = 1};
    copy_drop(copy);
    assert_ok(velta_log_position(leader, &copy->position, &error), &error);
    assert_ok(velta_export(leader, &bytes, &size_bytes, NULL, &error), &error);
    assert_ok(velta_import(bytes, size_bytes, &own, &copy->db, &error), &error);
    velta_export_free(leader, bytes, size_bytes);
}

/* Up to where the leader is; false: its log does not reach back. */
static bool copy_catch_up(struct copy *copy, velta *leader, uint64_t max_bytes) {
    struct velta_error error = {0};
    for (;;) {
        uint8_t *bytes = NULL;
        uint64_t size_bytes = 0;
        struct velta_position told = copy->position;
        enum velta_status status = velta_log_since(leader, &told, max_bytes, &bytes, &size_bytes, &error);
        if (status == VELTA_HISTORY_GONE) return false;
        assert_ok(status, &error);
        if (!bytes) break;
        assert_ok(velta_follow(copy->db, &copy->position, bytes, size_bytes, &error), &error);
        assert_true(copy->position.sequence == told.sequence && copy->position.digest == told.digest);
        velta_export_free(leader, bytes, size_bytes);
    }
    struct velta_position there;
    assert_ok(velta_log_position(leader, &there, &error), &error);
    assert_true(copy->position.sequence == there.sequence && copy->position.digest == there.digest);
    return true;
}

/* ---- the leader's life */

static void life_open(struct life *life) {
    life->world.db = sample_open(&life->world.options, NULL, &life->world.table);
}

static void life_begin(struct life *life, uint64_t seed, uint64_t tail_bytes) {
    *life = (struct life){.random = random_seeded(seed)};
    struct velta_options options = {
        .chain_interval = 4,
        .durability = random_chance(&life->random, 50) ? VELTA_RELAXED : VELTA_STRICT,
        .checkpoint_bytes = random_chance(&life->random, 50) ? 4096 : 0,
        .log_tail_bytes = tail_bytes,
    };
    world_begin(&life->world, &options);
    life->world.now_ms = 1000000 + (int64_t)(seed % 1000);
    life_open(life);
}

static void life_end(struct life *life) {
    struct velta_error error = {0};
    assert_ok(velta_close(life->world.db, &error), &error);
    disk_free(&life->world.disk);
}

static int64_t some_id(struct life *life) {
    return (int64_t)random_below(&life->random, (uint64_t)life->next_id + 1);
}

static void live_rows(struct life *life, enum velta_write_mode mode) {
    struct velta_error error = {0};
    struct sample sample;
    uint32_t count = 1 + (uint32_t)random_below(&life->random, 12);
    int64_t first = mode == VELTA_UPSERT && life->next_id > 5 ? life->next_id - 5 : life->next_id;
    sample_make(&sample, first, count, random_u64(&life->random));
    assert_ok(velta_insert(life->world.table, sample.values, SAMPLE_COLUMNS, count,
                           &(struct velta_write_options){.mode = mode}, NULL, &error),
              &error);
    sample_free(&sample);
    if (first + count > life->next_id) life->next_id = first + count;
}

static void live_deltas(struct life *life) {
    struct velta_error error = {0};
    struct velta_delta deltas[6];
    float values[6][SAMPLE_DIMENSIONS];
    static const uint32_t indices[] = {1, 4, 7};
    size_t count = 0;
    const char *column = random_chance(&life->random, 50) ? "h" : "c";
    for (size_t i = 0; i < 6; i++) {
        int64_t id = some_id(life);
        uint32_t row = row_of(life->world.table, id);
        random_vector(&life->random, values[i], SAMPLE_DIMENSIONS);
        if (row == VELTA_NO_ROW || is_null(life->world.table, row, column)) continue;
        bool dense = random_chance(&life->random, 50);
        deltas[count++] = (struct velta_delta){
            .operation = dense ? VELTA_DELTA_DENSE : VELTA_DELTA_SPARSE,
            .set = random_chance(&life->random, 30),
            .key_int = id,
            .count = dense ? SAMPLE_DIMENSIONS : 3,
            .indices = dense ? NULL : indices,
            .values = values[i],
        };
    }
    if (count > 0) assert_ok(velta_apply(life->world.table, column, deltas, count, 0, NULL, &error), &error);
}

static void live_schema(struct life *life) {
    struct velta_error error = {0};
    char name[32];
    velta_table *table = NULL;
    snprintf(name, sizeof name, "x%u", life->made++);
    const struct velta_column key = {.name = "k", .type = VELTA_STRING};
    assert_ok(velta_table_create(life->world.db, name, &key, 1, &table, &error), &error);
    const struct velta_column more = {.name = name, .type = VELTA_VECTOR, .dimensions = 4};
    if (random_chance(&life->random, 60)) assert_ok(velta_column_add(table, &more, &error), &error);
    if (random_chance(&life->random, 60)) assert_ok(velta_table_drop(table, &error), &error);
}

static void live_keys(struct life *life) {
    struct velta_error error = {0};
    int64_t ids[4];
    int64_t times[4];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        ids[count] = some_id(life);
        times[count] = life->world.now_ms + random_between(&life->random, 1, 60);
        count += row_of(life->world.table, ids[count]) != VELTA_NO_ROW;
    }
    struct velta_keys keys = {.ints = ids};
    switch (random_below(&life->random, 4)) {
    case 0:
        assert_ok(velta_delete(life->world.table, &keys, count, NULL, &error), &error);
        break;
    case 1:
        assert_ok(velta_expire_at(life->world.table, &keys, count, times, &error), &error);
        break;
    case 2:
        assert_ok(velta_expire(life->world.table, 0, NULL, &error), &error);
        break;
    default:
        assert_ok(velta_update(life->world.table, &keys, count, &(struct velta_values){.column = "size", .data = times},
                               1, NULL, &error),
                  &error);
    }
}

static void live_compact(struct life *life) {
    struct velta_error error = {0};
    int64_t since = random_chance(&life->random, 50) ? INT64_MIN : life->world.now_ms - 20;
    assert_ok(velta_compact(life->world.db, &(struct velta_compact_options){.keep_since_ms = since}, NULL, &error),
              &error);
}

/* Closed and opened again; or crashed: the handle's last syncs fail, and take with them what they should have kept. */
static void live_reopen(struct life *life, bool crash) {
    struct velta_error error = {0};
    if (crash) disk_arm(&life->world.disk, FAULT_LOST, 1);
    enum velta_status status = velta_close(life->world.db, &error);
    assert_true(crash || status == VELTA_OK);
    disk_arm(&life->world.disk, FAULT_NONE, 0);
    life->crashes += crash;
    life_open(life);
}

static void step(struct life *life) {
    struct velta_error error = {0};
    life->world.now_ms += (int64_t)random_below(&life->random, 9);
    uint64_t way = random_below(&life->random, 100);
    if (way < 35)
        live_rows(life, VELTA_INSERT);
    else if (way < 45)
        live_rows(life, VELTA_UPSERT);
    else if (way < 65)
        live_deltas(life);
    else if (way < 82)
        live_keys(life);
    else if (way < 87)
        live_schema(life);
    else if (way < 90)
        assert_ok(velta_tag(life->world.db, way & 1 ? "a" : "b", &error), &error);
    else if (way < 94)
        assert_ok(velta_checkpoint(life->world.db, NULL, &error), &error);
    else if (way < 95)
        live_compact(life);
    else if (way < 98)
        live_reopen(life, false);
    else
        live_reopen(life, true);
}

/* ---- frames as they should not be */

static void refuse(struct copy *copy, const uint8_t *bytes, uint64_t size_bytes, bool may_be_gap) {
    struct velta_error error = {0};
    struct velta_position position = copy->position;
    enum velta_status status = velta_follow(copy->db, &position, bytes, size_bytes, &error);
    if (status != VELTA_CORRUPT && !(may_be_gap && status == VELTA_NOT_FOUND))
        fail_msg("%s: %s", velta_status_name(status), error.text);
    assert_true(position.digest == copy->position.digest && position.sequence == copy->position.sequence);
}

/* The frames after the copy's position, disturbed in every way; the copy stays what it was. */
static void disturb(struct life *life, struct copy *copy, const struct copy *other, velta *stranger) {
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    struct velta_position told = copy->position;
    if (velta_log_since(life->world.db, &told, UINT64_MAX, &bytes, &size_bytes, &error) || !bytes) return;
    uint64_t before = digest(copy->db);
    uint64_t first = 48 + (uint64_t)bytes_get_u32(bytes + 4);
    for (unsigned i = 0; i < 24; i++) {
        uint64_t bit = random_below(&life->random, size_bytes * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        refuse(copy, bytes, size_bytes, true);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        refuse(copy, bytes, size_bytes - 1 - random_below(&life->random, size_bytes < 48 ? size_bytes : 48), true);
    }
    if (size_bytes > first) { /* the first lost, repeated, the order turned */
        uint8_t *turned = malloc((size_t)(size_bytes + first));
        refuse(copy, bytes + first, size_bytes - first, true);
        memcpy(turned, bytes, (size_t)first);
        memcpy(turned + first, bytes, (size_t)size_bytes);
        refuse(copy, turned, size_bytes + first, true);
        memcpy(turned, bytes + first, (size_t)(size_bytes - first));
        memcpy(turned + size_bytes - first, bytes, (size_t)first);
        refuse(copy, turned, size_bytes, true);
        free(turned);
    }
    uint8_t *strange = NULL;
    uint64_t strange_bytes = 0;
    told = copy->position;
    assert_int_equal(velta_log_since(stranger, &told, 1, &strange, &strange_bytes, &error), VELTA_HISTORY_GONE);
    told = other->position;
    if (!velta_log_since(stranger, &told, 1, &strange, &strange_bytes, &error) && strange) {
        refuse(copy, strange, strange_bytes, true);
        velta_export_free(stranger, strange, strange_bytes);
    }
    assert_true(digest(copy->db) == before);
    life->refused++;
    /* And as they are, taken twice. */
    assert_ok(velta_follow(copy->db, &copy->position, bytes, size_bytes, &error), &error);
    refuse(copy, bytes, size_bytes, true);
    assert_true(digest(copy->db) == digest(life->world.db));
    velta_export_free(life->world.db, bytes, size_bytes);
}

static void a_follower_is_what_its_leader_is(void **state) {
    (void)state;
    unsigned crashes = 0;
    unsigned snapshots = 0;
    unsigned caught_up = 0;
    unsigned disturbed = 0;
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        struct life life;
        struct life stranger;
        struct copy copy = {0};
        struct copy other = {0};
        life_begin(&life, seed, seed % 3 ? 1 << 20 : 3000);
        life_begin(&stranger, seed + 500, 1 << 20);
        copy_make(&copy, life.world.db, &life.world.options);
        copy_make(&other, stranger.world.db, &stranger.world.options);
        live_rows(&stranger, VELTA_INSERT);
        for (unsigned i = 0; i < STEPS; i++) {
            step(&life);
            if (random_chance(&life.random, 10)) disturb(&life, &copy, &other, stranger.world.db);
            if (random_chance(&life.random, 60)) continue;
            if (copy_catch_up(&copy, life.world.db, random_chance(&life.random, 50) ? 1 : UINT64_MAX)) {
                life.caught_up++;
            } else {
                copy_make(&copy, life.world.db, &life.world.options);
                life.snapshots++;
            }
            if (digest(copy.db) != digest(life.world.db)) fail_msg("seed %d, step %u: the copy differs", (int)seed, i);
        }
        assert_verifies(copy.db);
        crashes += life.crashes;
        snapshots += life.snapshots;
        caught_up += life.caught_up;
        disturbed += life.refused;
        copy_drop(&copy);
        copy_drop(&other);
        life_end(&life);
        life_end(&stranger);
    }
    print_message("%u caught up, %u snapshots, %u crashes, %u disturbed\n", caught_up, snapshots, crashes, disturbed);
    assert_true(caught_up > 20 * snapshots / 10 && snapshots > 10 && crashes > 10 && disturbed > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_is_what_its_leader_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
