/*
 * Following by single calls: what is refused and with which code, what a limited tail keeps, what positions tell apart,
 * and refused memory at every allocation of a batch. tests/property/test_follow.c has whole lives.
 */
#include <inttypes.h>

#include "core/bytes.h"
#include "tests/unit/store_world.h"

static uint64_t refused; /* attempts in which memory was refused */

enum { HEADER_BYTES = 48 };

struct following {
    uint8_t *snapshot, *frames;
    uint64_t snapshot_bytes, frames_bytes;
    struct velta_position from, to;
    uint64_t before, after; /* digests */
};

static void *copied(const void *bytes, uint64_t size_bytes) {
    return memcpy(malloc((size_t)size_bytes), bytes, (size_t)size_bytes);
}

static void frames_of(struct following *following, velta *leader) {
    struct velta_error error = {0};
    uint8_t *frames = NULL;
    following->to = following->from;
    assert_ok(velta_log_since(leader, &following->to, UINT64_MAX, &frames, &following->frames_bytes, &error), &error);
    assert_non_null(frames);
    following->frames = copied(frames, following->frames_bytes);
    velta_export_free(leader, frames, following->frames_bytes);
}

/* A leader's state, one change of it, and the state after that. */
static void following_make(struct following *following, operation *change) {
    struct world world;
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    world_make(&world, &(struct velta_options){.log_tail_bytes = 16 << 20}, NULL);
    assert_ok(velta_log_position(world.db, &following->from, &error), &error);
    assert_ok(velta_export(world.db, &bytes, &following->snapshot_bytes, NULL, &error), &error);
    following->snapshot = copied(bytes, following->snapshot_bytes);
    velta_export_free(world.db, bytes, following->snapshot_bytes);
    following->before = digest(world.db);
    assert_ok(change(&world, &error), &error);
    frames_of(following, world.db);
    following->after = digest(world.db);
    world_free(&world);
}

static void following_free(struct following *following) {
    free(following->snapshot);
    free(following->frames);
}

static velta *follower(const struct following *following, const struct velta_options *options) {
    struct velta_error error = {0};
    velta *db = NULL;
    assert_ok(velta_import(following->snapshot, following->snapshot_bytes, options, &db, &error), &error);
    return db;
}

static void end(velta *db) {
    struct velta_error error = {0};
    assert_ok(velta_close(db, &error), &error);
}

/* ---- refused memory */

static void check_torn(velta *db, const struct following *following, struct velta_position *position) {
    struct velta_error error = {0};
    uint8_t *bytes;
    uint64_t size_bytes;
    velta_table *table = NULL;
    int64_t id = 1;
    uint32_t row;
    assert_true(following->to.sequence - following->from.sequence > 1);
    assert_status(velta_export(db, &bytes, &size_bytes, NULL, &error), VELTA_POISONED);
    assert_status(velta_follow(db, position, following->frames, following->frames_bytes, &error), VELTA_POISONED);
    assert_ok(velta_table_find(db, "t", &table, &error), &error);
    assert_status(velta_find(table, &(struct velta_keys){.ints = &id}, 1, 0, &row, &error), VELTA_POISONED);
    assert_status(velta_tag(db, "x", &error), VELTA_POISONED);
}

/* After a refusal the copy is as it was, or, in the middle of a batch of several changes, answers nothing any more. */
static bool follow_with_refusals(struct test_allocator *self, void *context) {
    const struct following *following = context;
    struct velta_error error = {0};
    struct velta_position position = following->from;
    velta *db = follower(following, &(struct velta_options){.allocator = &self->allocator, .thread_count = 1});
    test_allocator_rearm(self);
    enum velta_status status = velta_follow(db, &position, following->frames, following->frames_bytes, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    struct velta_stats stats;
    velta_get_stats(db, &stats);
    const struct velta_position *wanted = status ? &following->from : &following->to;
    assert_true(position.digest == wanted->digest && position.sequence == wanted->sequence);
    if (status && stats.sequence != position.sequence) {
        check_torn(db, following, &position);
    } else {
        if (status) assert_status(status, VELTA_NO_MEMORY);
        assert_true(digest(db) == (status ? following->before : following->after));
        if (status) assert_ok(velta_follow(db, &position, following->frames, following->frames_bytes, &error), &error);
        assert_true(digest(db) == following->after);
    }
    end(db);
    return status == VELTA_OK;
}

static void following_survives_every_refusal(void **state) {
    (void)state;
    operation *const changes[] = {do_insert, do_upsert,       do_update,     do_delete, do_expire_at,   do_apply,
                                  do_tag,    do_table_create, do_column_add, do_drop,   do_large_insert};
    uint64_t allocations = 0;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct following following = {0};
        struct test_allocator self;
        test_allocator_init(&self);
        following_make(&following, changes[i]);
        allocations += test_every_allocation_fails(&self, follow_with_refusals, &following);
        following_free(&following);
    }
    assert_true(allocations > 50);
}

static bool give_with_refusals(struct test_allocator *self, void *context) {
    struct world world;
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes;
    struct velta_position from;
    (void)context;
    world_make(&world, &(struct velta_options){.log_tail_bytes = 1 << 20}, &self->allocator);
    assert_ok(velta_log_position(world.db, &from, &error), &error);
    assert_ok(velta_tag(world.db, "x", &error), &error);
    struct velta_position to = from;
    test_allocator_rearm(self);
    enum velta_status status = velta_log_since(world.db, &to, 1, &bytes, &size_bytes, &error);
    test_allocator_disarm(self);
    refused += self->refused_count > 0;
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_true(bytes == NULL && to.digest == from.digest && to.sequence == from.sequence);
    } else {
        assert_true(to.sequence == from.sequence + 1);
        velta_export_free(world.db, bytes, size_bytes);
    }
    world_free(&world);
    return status == VELTA_OK;
}

/* Memory refused to the tail fails no change: whoever followed needs an export. */
static bool change_with_refusals(struct test_allocator *self, void *context) {
    struct world world;
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes;
    struct velta_position position;
    (void)context;
    world_make(&world, &(struct velta_options){.log_tail_bytes = 1 << 20}, &self->allocator);
    assert_ok(velta_log_position(world.db, &position, &error), &error);
    test_allocator_rearm(self);
    enum velta_status status = do_delete(&world, &error);
    test_allocator_disarm(self);
    bool is_refused = self->refused_count > 0;
    refused += is_refused;
    enum velta_status given = velta_log_since(world.db, &position, 1, &bytes, &size_bytes, &error);
    assert_true(given == VELTA_OK || (is_refused && status == VELTA_OK && given == VELTA_HISTORY_GONE));
    assert_true((bytes != NULL) == (status == VELTA_OK && given == VELTA_OK));
    velta_export_free(world.db, bytes, bytes ? size_bytes : 0);
    world_free(&world);
    return !is_refused;
}

static void giving_survives_every_refusal(void **state) {
    (void)state;
    struct test_allocator self;
    test_allocator_init(&self);
    assert_true(test_every_allocation_fails(&self, give_with_refusals, NULL) > 0);
    assert_true(test_every_allocation_fails(&self, change_with_refusals, NULL) > 0);
}

/* ---- what is refused */

static void only_those_who_can_give_and_take(void **state) {
    (void)state;
    struct following following = {0};
    struct velta_error error = {0};
    struct world world;
    struct velta_position position;
    uint8_t *bytes;
    uint64_t size_bytes;
    following_make(&following, do_delete);
    velta *copy = follower(&following, &(struct velta_options){.log_tail_bytes = 1 << 20});
    assert_status(velta_log_position(copy, &position, &error), VELTA_INVALID); /* it has no log */
    assert_status(velta_log_since(copy, &following.from, 1, &bytes, &size_bytes, &error), VELTA_INVALID);
    position = following.from;
    position.sequence++;
    assert_status(velta_follow(copy, &position, following.frames, following.frames_bytes, &error), VELTA_INVALID);
    position = following.from;
    position.digest++;
    assert_status(velta_follow(copy, &position, following.frames, following.frames_bytes, &error), VELTA_NOT_FOUND);
    assert_ok(velta_follow(copy, &position, NULL, 0, &error), &error);
    assert_true(digest(copy) == following.before);
    end(copy);
    world_make(&world, &(struct velta_options){0}, NULL);
    assert_status(velta_log_position(world.db, &position, &error), VELTA_INVALID); /* opened without a tail */
    position = (struct velta_position){0};
    assert_status(velta_follow(world.db, &position, NULL, 0, &error), VELTA_INVALID);
    world_free(&world);
    following_free(&following);
}

static void poisoned_storage_gives_nothing(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_position position;
    uint8_t *bytes;
    uint64_t size_bytes;
    world_make(&world, &(struct velta_options){.log_tail_bytes = 1 << 20}, NULL);
    assert_ok(velta_log_position(world.db, &position, &error), &error);
    disk_arm(&world.disk, FAULT_LOST, 1);
    assert_status(do_delete(&world, &error), VELTA_IO);
    disk_arm(&world.disk, FAULT_NONE, 0);
    assert_status(velta_log_since(world.db, &position, 1, &bytes, &size_bytes, &error), VELTA_POISONED);
    assert_status(velta_log_position(world.db, &position, &error), VELTA_POISONED);
    world_free(&world);
}

static void ask_for_the_log(void *context, const struct velta_change *change) {
    struct velta_error error = {0};
    struct velta_position position;
    (void)change;
    struct world *world = context;
    assert_status(velta_log_position(world->db, &position, &error), VELTA_BUSY);
    world->outcome++;
}

static void watchers_do_not_ask_for_the_log(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    world_make(&world, &(struct velta_options){.log_tail_bytes = 1 << 20}, NULL);
    assert_true(velta_watch(world.db, ask_for_the_log, &world) != 0);
    assert_ok(do_delete(&world, &error), &error);
    assert_int_equal(world.outcome, 1);
    world_free(&world);
}

/* The header's checksums made right again after a change: what is forged meets the checks of the replay. */
static void forge(uint8_t *header) {
    bytes_put_u64(header + 32, hash_bytes(header + HEADER_BYTES, bytes_get_u32(header + 4)));
    bytes_put_u64(header + 40, hash_bytes(header, 40));
}

static void forged_frames_are_damage(void **state) {
    (void)state;
    struct following following = {0};
    struct velta_error error = {0};
    unsigned torn = 0;
    unsigned damaged = 0;
    unsigned taken = 0;
    following_make(&following, do_upsert);
    uint64_t bits = following.frames_bytes * 8;
    for (uint64_t bit = 0; bit < bits; bit += bit < HEADER_BYTES * 8 ? 1 : 5) {
        struct velta_position position = following.from;
        velta *copy = follower(&following, &(struct velta_options){.thread_count = 1});
        following.frames[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        uint32_t body_bytes = bytes_get_u32(following.frames + 4);
        if (body_bytes == following.frames_bytes - HEADER_BYTES) forge(following.frames);
        enum velta_status status = velta_follow(copy, &position, following.frames, following.frames_bytes, &error);
        following.frames[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        forge(following.frames);
        struct velta_stats stats;
        velta_get_stats(copy, &stats);
        if (status && stats.sequence == position.sequence) {
            assert_true(status == VELTA_CORRUPT || status == VELTA_NOT_FOUND);
            assert_true(digest(copy) == following.before);
            damaged++;
        } else if (status) {
            assert_status(status, VELTA_CORRUPT);
            check_torn(copy, &following, &position);
            torn++;
        } else {
            assert_verifies(copy); /* other values, as good as those */
            taken++;
        }
        end(copy);
    }
    print_message("forged: %u refused, %u torn, %u taken\n", damaged, torn, taken);
    assert_true(damaged > 100 && torn > 0 && taken > 0);
    following_free(&following);
}

static enum velta_status do_two_batches(struct world *world, struct velta_error *error) {
    enum velta_status status = do_tag(world, error);
    return status ? status : do_delete(world, error);
}

/* The chain of digests does not tell which change a batch comes after. */
static void a_batch_that_names_another_place_is_damage(void **state) {
    (void)state;
    struct following following = {0};
    struct velta_error error = {0};
    following_make(&following, do_two_batches);
    uint8_t *second = following.frames + HEADER_BYTES + bytes_get_u32(following.frames + 4);
    uint64_t second_bytes = following.frames_bytes - (uint64_t)(second - following.frames);
    struct velta_position position = following.from;
    velta *copy = follower(&following, NULL);
    bytes_put_u64(second + 16, following.from.sequence + 2);
    forge(second);
    assert_status(velta_follow(copy, &position, following.frames, following.frames_bytes, &error), VELTA_CORRUPT);
    assert_true(position.sequence == following.from.sequence + 1); /* the first was taken */
    bytes_put_u64(second + 16, position.sequence);
    forge(second);
    assert_ok(velta_follow(copy, &position, second, second_bytes, &error), &error);
    assert_true(position.digest == following.to.digest && digest(copy) == following.after);
    end(copy);
    following_free(&following);
}

static void tables_are_not_dropped_under_iterators(void **state) {
    (void)state;
    struct following following = {0};
    struct velta_error error = {0};
    velta_table *table = NULL;
    velta_iterator *iterator = NULL;
    following_make(&following, do_drop);
    struct velta_position position = following.from;
    velta *copy = follower(&following, NULL);
    assert_ok(velta_table_find(copy, "t", &table, &error), &error);
    assert_ok(velta_iterate(table, NULL, NULL, 0, 0, &iterator, &error), &error);
    assert_status(velta_follow(copy, &position, following.frames, following.frames_bytes, &error), VELTA_BUSY);
    assert_true(digest(copy) == following.before && position.digest == following.from.digest);
    velta_iterator_close(iterator);
    assert_ok(velta_follow(copy, &position, following.frames, following.frames_bytes, &error), &error);
    assert_true(digest(copy) == following.after);
    end(copy);
    following_free(&following);
}

/* ---- positions and tails */

static void a_limited_tail_keeps_whole_batches(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_position positions[40];
    uint8_t *bytes;
    uint64_t size_bytes;
    char name[16];
    world_make(&world, &(struct velta_options){.log_tail_bytes = 700}, NULL);
    for (int i = 0; i < 40; i++) {
        assert_ok(velta_log_position(world.db, &positions[i], &error), &error);
        snprintf(name, sizeof name, "tag%d", i);
        assert_ok(velta_tag(world.db, name, &error), &error);
    }
    int first = 0;
    for (struct velta_position at = positions[0];
         velta_log_since(world.db, &at, UINT64_MAX, &bytes, &size_bytes, &error) == VELTA_HISTORY_GONE;
         at = positions[first])
        first++;
    assert_true(first > 20 && first < 39 && size_bytes <= 700);
    velta_export_free(world.db, bytes, size_bytes);
    struct velta_position at = positions[first];
    for (int i = first + 1; i < 40; i++) { /* one by one, the positions are those that there were */
        assert_ok(velta_log_since(world.db, &at, 1, &bytes, &size_bytes, &error), &error);
        assert_true(at.digest == positions[i].digest && at.sequence == positions[i].sequence);
        velta_export_free(world.db, bytes, size_bytes);
    }
    assert_ok(do_large_insert(&world, &error), &error); /* more than the tail holds, in several frames */
    assert_status(velta_log_since(world.db, &at, 1, &bytes, &size_bytes, &error), VELTA_HISTORY_GONE);
    assert_ok(velta_log_position(world.db, &at, &error), &error);
    assert_ok(velta_log_since(world.db, &at, 1, &bytes, &size_bytes, &error), &error);
    assert_null(bytes);
    world_free(&world);
}

static void positions_outlive_checkpoints_and_openings_but_not_compactions(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_position before;
    struct velta_position after;
    world_make(&world, &(struct velta_options){.log_tail_bytes = 1 << 20}, NULL);
    assert_ok(velta_log_position(world.db, &before, &error), &error);
    assert_ok(velta_checkpoint(world.db, NULL, &error), &error);
    for (int i = 0; i < 2; i++) {
        assert_ok(velta_close(world.db, &error), &error);
        world_open(&world);
        assert_ok(velta_log_position(world.db, &after, &error), &error);
        assert_true(after.sequence == before.sequence && after.digest == before.digest);
        assert_ok(velta_tag(world.db, "in the log", &error), &error);
        assert_ok(velta_log_position(world.db, &before, &error), &error);
    }
    assert_ok(velta_compact(world.db, NULL, NULL, &error), &error);
    assert_ok(velta_log_position(world.db, &after, &error), &error);
    assert_true(after.sequence == before.sequence && after.digest != before.digest);
    world_free(&world);
}

/* Frames of a large batch that is given up half-way are not told, and the digest is the one before. */
static bool stop_early(void *context, uint64_t done, uint64_t total) {
    (void)context;
    (void)total;
    return done == 0;
}

static void a_batch_given_up_is_not_told(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_position before;
    struct velta_position after;
    uint8_t *bytes;
    uint64_t size_bytes;
    struct velta_write_options cancelling = {.progress = {.report = stop_early}};
    struct velta_stats stats[2];
    world_make(&world, &(struct velta_options){.log_tail_bytes = 16 << 20}, NULL);
    velta_get_stats(world.db, &stats[0]);
    assert_ok(velta_log_position(world.db, &before, &error), &error);
    assert_status(insert_blobs(world.table, 900, 6, &cancelling, &error), VELTA_CANCELLED);
    velta_get_stats(world.db, &stats[1]);
    assert_true(stats[1].log_bytes == stats[0].log_bytes && stats[1].log_raw_bytes == stats[0].log_raw_bytes);
    assert_ok(velta_log_position(world.db, &after, &error), &error);
    assert_true(after.digest == before.digest && after.sequence == before.sequence);
    assert_ok(velta_tag(world.db, "x", &error), &error);
    assert_ok(velta_log_since(world.db, &before, 1, &bytes, &size_bytes, &error), &error);
    assert_true(bytes != NULL && size_bytes < 1000);
    velta_export_free(world.db, bytes, size_bytes);
    world_free(&world);
}

/* ---- batches of several frames */

enum { FLAG_BEGINS = 1, FLAG_COMMITS = 2 };

static enum velta_status do_three_frames(struct world *world, struct velta_error *error) {
    return insert_blobs(world->table, 900, 9, NULL, error);
}

/* Frames as they should not come: `order` is how many, then which. Frame i lies between at[i] and at[i + 1]. */
static void refuse_order(velta *copy, const struct following *following, const uint64_t *at, const unsigned *order) {
    struct velta_error error = {0};
    struct velta_position position = following->from;
    uint8_t *bytes = malloc(2 * (size_t)following->frames_bytes);
    uint64_t size_bytes = 0;
    for (unsigned i = 1; i <= order[0]; i++) {
        uint64_t frame_bytes = at[order[i] + 1] - at[order[i]];
        memcpy(bytes + size_bytes, following->frames + at[order[i]], (size_t)frame_bytes);
        size_bytes += frame_bytes;
    }
    enum velta_status status = velta_follow(copy, &position, bytes, size_bytes, &error);
    assert_status(status, order[1] == 0 ? VELTA_CORRUPT : VELTA_NOT_FOUND);
    assert_true(position.sequence == following->from.sequence && position.digest == following->from.digest);
    assert_true(digest(copy) == following->before);
    free(bytes);
}

static void a_batch_of_three_frames_is_taken_whole(void **state) {
    (void)state;
    static const unsigned flags[] = {FLAG_BEGINS, 0, FLAG_COMMITS};
    static const unsigned orders[][4] = {{1, 0},    {2, 0, 1},    {1, 1},       {2, 1, 2},   {1, 2},
                                         {2, 0, 2}, {3, 0, 2, 1}, {3, 0, 1, 1}, {3, 1, 0, 2}};
    struct following following = {0};
    struct velta_error error = {0};
    uint64_t at[4] = {0};
    following_make(&following, do_three_frames);
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *header = following.frames + at[i];
        assert_int_equal(bytes_get_u32(header + 8), flags[i]);
        assert_true(bytes_get_u64(header + 16) == following.from.sequence);
        at[i + 1] = at[i] + HEADER_BYTES + bytes_get_u32(header + 4);
    }
    assert_true(at[3] == following.frames_bytes);
    velta *copy = follower(&following, NULL);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        refuse_order(copy, &following, at, orders[i]);
    struct velta_position position = following.from;
    assert_ok(velta_follow(copy, &position, following.frames, following.frames_bytes, &error), &error);
    assert_true(position.sequence == following.to.sequence && position.digest == following.to.digest);
    assert_true(digest(copy) == following.after);
    assert_verifies(copy);
    end(copy);
    following_free(&following);
}

/* What is given from a position on, which moves; how many bytes. */
static uint64_t given(velta *db, struct velta_position *position, uint64_t max_bytes, uint64_t *second_digest) {
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes;
    assert_ok(velta_log_since(db, position, max_bytes, &bytes, &size_bytes, &error), &error);
    assert_non_null(bytes);
    if (second_digest) *second_digest = bytes_get_u64(bytes + HEADER_BYTES + bytes_get_u32(bytes + 4) + 24);
    velta_export_free(db, bytes, size_bytes);
    return size_bytes;
}

static void assert_gone(velta *db, struct velta_position position) {
    struct velta_error error = {0};
    uint8_t *bytes;
    uint64_t size_bytes;
    assert_status(velta_log_since(db, &position, 1, &bytes, &size_bytes, &error), VELTA_HISTORY_GONE);
}

static void a_batch_of_three_frames_is_given_whole(void **state) {
    (void)state;
    struct world world;
    struct velta_error error = {0};
    struct velta_position positions[4];
    operation *const changes[] = {do_tag, do_three_frames, do_delete};
    uint64_t inner_digest = 0;
    world_make(&world, &(struct velta_options){.log_tail_bytes = 16 << 20}, NULL);
    for (size_t i = 0; i < 4; i++) {
        assert_ok(velta_log_position(world.db, &positions[i], &error), &error);
        if (i < 3) assert_ok(changes[i](&world, &error), &error);
    }
    struct velta_position at = positions[0];
    uint64_t tag_bytes = given(world.db, &at, 6 << 20, NULL); /* there is room for the first frame of the next */
    assert_true(tag_bytes < 1000 && at.sequence == positions[1].sequence && at.digest == positions[1].digest);
    uint64_t batch_bytes = given(world.db, &at, 1, &inner_digest);
    assert_true(batch_bytes > 9 << 20 && at.sequence == positions[2].sequence && at.digest == positions[2].digest);
    uint64_t last_bytes = given(world.db, &at, 1, NULL);
    at = positions[0];
    assert_true(given(world.db, &at, UINT64_MAX, NULL) == tag_bytes + batch_bytes + last_bytes);
    assert_true(at.sequence == positions[3].sequence && at.digest == positions[3].digest);
    assert_gone(world.db, (struct velta_position){.sequence = positions[1].sequence, .digest = inner_digest});
    assert_gone(world.db, (struct velta_position){positions[1].sequence + 1, positions[1].digest});
    world_free(&world);
}

static void a_tail_holds_no_part_of_a_batch(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_position first;
    struct velta_position second;
    struct velta_position third;
    for (unsigned room = 0; room < 2; room++) { /* for a frame only, or for one of two batches */
        struct world world;
        world_make(&world, &(struct velta_options){.log_tail_bytes = room ? 12 << 20 : 5 << 20}, NULL);
        assert_ok(velta_log_position(world.db, &first, &error), &error);
        assert_ok(do_three_frames(&world, &error), &error);
        assert_ok(velta_log_position(world.db, &second, &error), &error);
        assert_ok(insert_blobs(world.table, 800, 9, NULL, &error), &error);
        assert_ok(velta_log_position(world.db, &third, &error), &error);
        assert_ok(velta_tag(world.db, "x", &error), &error);
        assert_gone(world.db, first);
        if (room) {
            assert_true(given(world.db, &second, 1, NULL) > 9 << 20);
            assert_true(second.sequence == third.sequence && second.digest == third.digest);
        } else {
            assert_gone(world.db, second);
        }
        assert_true(given(world.db, &third, 1, NULL) < 1000);
        world_free(&world);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(following_survives_every_refusal),
        cmocka_unit_test(giving_survives_every_refusal),
        cmocka_unit_test(only_those_who_can_give_and_take),
        cmocka_unit_test(poisoned_storage_gives_nothing),
        cmocka_unit_test(forged_frames_are_damage),
        cmocka_unit_test(a_batch_that_names_another_place_is_damage),
        cmocka_unit_test(watchers_do_not_ask_for_the_log),
        cmocka_unit_test(tables_are_not_dropped_under_iterators),
        cmocka_unit_test(a_limited_tail_keeps_whole_batches),
        cmocka_unit_test(positions_outlive_checkpoints_and_openings_but_not_compactions),
        cmocka_unit_test(a_batch_given_up_is_not_told),
        cmocka_unit_test(a_batch_of_three_frames_is_taken_whole),
        cmocka_unit_test(a_batch_of_three_frames_is_given_whole),
        cmocka_unit_test(a_tail_holds_no_part_of_a_batch),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("figure: allocations_refused %" PRIu64 "\n", refused);
    return failures;
}
