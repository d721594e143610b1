/*
 * The storage machine on a host in memory: what is written is read, damage is found, failures poison, free space is
 * used again. Crashes are in tests/sim/test_crash.c.
 */
#include <stdlib.h>
#include <string.h>

#include "delta/storage_format.h"
#include "tests/support/fake_storage.h"
#include "tests/support/support.h"

enum { MAX_SEGMENTS = 16 };

/* The sanitizers are slow: there, every seventh bit is flipped. */
#if defined(__SANITIZE_ADDRESS__)
enum { BIT_STEP = 7 };
#else
enum { BIT_STEP = 1 };
#endif

/* ---- a store and what it should hold */

struct store {
    struct memory *memory;
    struct fake_storage fake;
    struct storage *storage;
    struct checkpoint_segment segments[MAX_SEGMENTS];
    uint32_t versions[MAX_SEGMENTS];
    size_t count;
};

static void must(enum velta_status status) {
    assert_int_equal(status, VELTA_OK);
}

static enum velta_status run(struct store *store) {
    return fake_storage_run(&store->fake, store->storage, NULL);
}

static enum velta_status open_it(struct store *store, bool read_only, struct velta_error *error) {
    must(storage_create(store->memory, &store->storage, NULL));
    must(storage_begin_open(store->storage, read_only, NULL));
    return fake_storage_run(&store->fake, store->storage, error);
}

static void start(struct store *store) {
    memset(store, 0, sizeof *store);
    store->memory = memory_create(NULL, 0);
    fake_storage_init(&store->fake);
    must(open_it(store, false, NULL));
}

static void reopen(struct store *store) {
    storage_destroy(store->storage);
    must(open_it(store, false, NULL));
}

static void end(struct store *store) {
    storage_destroy(store->storage);
    fake_storage_release(&store->fake);
    memory_destroy(store->memory);
}

static void fill(uint8_t *out, uint64_t size_bytes, uint32_t part, uint32_t version) {
    struct random random = random_seeded(((uint64_t)part << 32) + version);
    random_bytes(&random, out, size_bytes);
}

static void source_write(void *context, const struct segment_key *key, void *out, uint64_t size_bytes) {
    const struct store *store = context;
    fill(out, size_bytes, key->part, store->versions[key->part]);
}

static enum velta_status append(struct store *store, uint32_t number, size_t size_bytes, bool commit) {
    uint8_t *body = malloc(size_bytes);
    fill(body, size_bytes, number, 99);
    enum velta_status status = storage_begin_append(store->storage, body, size_bytes, commit, NULL);
    if (status == VELTA_OK) status = run(store);
    free(body);
    return status;
}

static enum velta_status sync_log(struct store *store) {
    enum velta_status status = storage_begin_sync(store->storage, NULL);
    return status == VELTA_OK ? run(store) : status;
}

/* Segments `changed` (bits) get a new version; sizes by part, or 0 to leave them out. */
static enum velta_status checkpoint(struct store *store, unsigned changed, const uint64_t *sizes, size_t count) {
    struct storage_source source = {store, source_write};
    struct storage_meta meta = {.sequence = 7, .time_ms = -5, .reserved = {1, 2, 3, 4}};
    store->count = 0;
    for (uint32_t part = 0; part < count; part++) {
        if (sizes[part] == UINT64_MAX) continue;
        bool is_changed = (changed >> part & 1) != 0;
        store->versions[part] += is_changed;
        store->segments[store->count++] = (struct checkpoint_segment){{4, 1, 2, part}, sizes[part], is_changed};
    }
    enum velta_status status =
        storage_begin_checkpoint(store->storage, store->segments, store->count, &source, &meta, NULL);
    return status == VELTA_OK ? run(store) : status;
}

static enum velta_status check_segments(struct store *store, struct velta_error *error) {
    size_t count;
    const struct segment *segments = storage_segments(store->storage, &count);
    if (count != store->count) return VELTA_INVALID;
    for (size_t i = 0; i < count; i++) {
        const struct segment *segment = &segments[i];
        uint8_t *actual = malloc(segment->size_bytes + 1);
        uint8_t *expected = malloc(segment->size_bytes + 1);
        assert_ptr_equal(storage_find_segment(store->storage, &segment->key), segment);
        must(storage_begin_read(store->storage, segment, actual, NULL));
        enum velta_status status = fake_storage_run(&store->fake, store->storage, error);
        fill(expected, segment->size_bytes, segment->key.part, store->versions[segment->key.part]);
        bool same = status == VELTA_OK && memcmp(actual, expected, segment->size_bytes) == 0;
        free(actual);
        free(expected);
        if (status != VELTA_OK) return status;
        assert_true(same);
    }
    return VELTA_OK;
}

/* Replays all; the frames must be numbers[0..count) of these sizes. */
static void check_log(struct store *store, const uint32_t *numbers, const size_t *sizes, size_t count) {
    for (size_t i = 0; i <= count; i++) {
        size_t size_bytes;
        uint64_t offset;
        must(storage_begin_replay(store->storage, NULL));
        must(run(store));
        const void *body = storage_replayed_body(store->storage, &size_bytes, &offset);
        if (i == count) {
            assert_null(body);
            return;
        }
        uint8_t *expected = malloc(sizes[i]);
        fill(expected, sizes[i], numbers[i], 99);
        assert_non_null(body);
        assert_int_equal(size_bytes, sizes[i]);
        assert_memory_equal(body, expected, size_bytes);
        assert_memory_equal(store->fake.now[STORAGE_LOG].bytes + offset, expected, size_bytes);
        free(expected);
    }
}

static struct storage_stats stats_of(const struct store *store) {
    struct storage_stats stats;
    storage_get_stats(store->storage, &stats);
    return stats;
}

/* ---- what is written is read */

static void frames_come_back(void **state) {
    struct store store;
    uint32_t numbers[] = {1, 2, 3, 4, 5, 6, 7};
    size_t sizes[] = {1, 100, 65472, 65473, 300000, 64, 40000}; /* within, at and beyond the scratch of the machine */
    (void)state;
    start(&store);
    check_log(&store, NULL, NULL, 0);
    must(sync_log(&store));
    assert_int_equal(stats_of(&store).log_bytes, 0);
    for (size_t i = 0; i < 7; i++) {
        must(append(&store, numbers[i], sizes[i], i != 4)); /* 5 and 6 are one batch */
        if (i % 2 == 0) must(sync_log(&store));
    }
    struct storage_stats stats = stats_of(&store);
    assert_int_equal(stats.frame_count, 7);
    assert_int_equal(stats.log_bytes, store.fake.now[STORAGE_LOG].size_bytes);
    assert_int_equal(stats.synced_bytes, stats.log_bytes);
    reopen(&store);
    check_log(&store, numbers, sizes, 7);
    check_log(&store, NULL, NULL, 0); /* at its end */
    assert_int_equal(stats_of(&store).cut_bytes, 0);
    must(append(&store, 8, 10, true));
    reopen(&store);
    uint32_t more[] = {1, 2, 3, 4, 5, 6, 7, 8};
    size_t more_sizes[] = {1, 100, 65472, 65473, 300000, 64, 40000, 10};
    check_log(&store, more, more_sizes, 8);
    end(&store);
}

static void unfinished_batches_do_not_count(void **state) {
    struct store store;
    uint32_t numbers[] = {1, 5};
    size_t sizes[] = {30, 31};
    (void)state;
    start(&store);
    must(append(&store, 1, 30, true));
    must(append(&store, 2, 40, false));
    must(append(&store, 3, 50, false));
    must(sync_log(&store));
    assert_int_equal(checkpoint(&store, 0, NULL, 0), VELTA_INVALID);
    reopen(&store);
    assert_int_equal(stats_of(&store).cut_bytes, 40 + 50 + 2 * STORAGE_FRAME_HEADER_BYTES);
    check_log(&store, numbers, sizes, 1);
    must(append(&store, 4, 60, false));
    must(sync_log(&store));
    must(storage_begin_rollback(store.storage, NULL));
    must(run(&store));
    must(storage_begin_rollback(store.storage, NULL)); /* nothing to do */
    uint64_t operations = store.fake.operation_count;
    must(run(&store));
    assert_int_equal(store.fake.operation_count, operations);
    must(append(&store, 5, 31, true));
    must(append(&store, 6, 32, false));
    must(storage_begin_close(store.storage, NULL)); /* which does not finish it */
    must(run(&store));
    reopen(&store);
    assert_int_equal(stats_of(&store).cut_bytes, 32 + STORAGE_FRAME_HEADER_BYTES);
    check_log(&store, numbers, sizes, 2);
    end(&store);
}

/* What is read a second time is checked a second time. */
static void a_log_that_changes_under_us_is_found(void **state) {
    (void)state;
    static const uint64_t places[] = {9, STORAGE_FRAME_HEADER_BYTES + 9, 2 * STORAGE_FRAME_HEADER_BYTES + 5, 100000};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct store store;
        struct velta_error error = {.code = VELTA_OK};
        start(&store);
        must(append(&store, 1, 1000, true));
        must(append(&store, 2, 300000, true));
        reopen(&store);
        store.fake.now[STORAGE_LOG].bytes[places[i]] ^= 1;
        enum velta_status status = VELTA_OK;
        for (int replays = 0; replays < 3 && status == VELTA_OK; replays++) {
            must(storage_begin_replay(store.storage, NULL));
            status = fake_storage_run(&store.fake, store.storage, &error);
        }
        assert_int_equal(status, VELTA_CORRUPT);
        assert_non_null(strstr(error.text, "changed after opening"));
        end(&store);
    }
}

static void checkpoints_come_back(void **state) {
    struct store store;
    uint64_t sizes[] = {5000, 0, 4096, 100000, 1};
    (void)state;
    start(&store);
    must(append(&store, 1, 30, true));
    must(checkpoint(&store, 31, sizes, 5));
    assert_int_equal(stats_of(&store).generation, 1);
    assert_int_equal(stats_of(&store).frame_count, 0);
    must(check_segments(&store, NULL));
    must(append(&store, 2, 30, true));
    reopen(&store);
    must(check_segments(&store, NULL));
    assert_int_equal(storage_meta(store.storage)->sequence, 7);
    assert_int_equal(storage_meta(store.storage)->time_ms, -5);
    assert_int_equal(storage_meta(store.storage)->reserved[3], 4);
    uint32_t numbers[] = {2};
    size_t frame_sizes[] = {30};
    check_log(&store, numbers, frame_sizes, 1);
    for (unsigned round = 0; round < 20; round++) {
        uint64_t other[] = {5000, round % 3 == 0 ? UINT64_MAX : 8000, 4096, 100000, 1};
        bool had = storage_find_segment(store.storage, &(struct segment_key){4, 1, 2, 1}) != NULL &&
                   storage_find_segment(store.storage, &(struct segment_key){4, 1, 2, 1})->size_bytes == 8000;
        must(checkpoint(&store, 1u << (round % 5) | (had ? 0 : 2), other, 5));
        must(check_segments(&store, NULL));
        reopen(&store);
        must(check_segments(&store, NULL));
    }
    /* Two roots' worth of changed segments, not twenty. */
    struct storage_stats stats = stats_of(&store);
    assert_true(stats.data_bytes < 3 * (5000 + 8000 + 4096 + 100000 + 4096 * 6));
    assert_int_equal(stats.live_bytes, 5000 + (store.count == 5 ? 8000 : 0) + 4096 + 100000 + 1);
    assert_int_equal(stats.generation, 21);
    end(&store);
}

static void free_space_is_used_again(void **state) {
    struct store store;
    uint64_t sizes[] = {1 << 20, 4096, 4096};
    (void)state;
    start(&store);
    must(checkpoint(&store, 7, sizes, 3));
    must(checkpoint(&store, 1, sizes, 3)); /* the old big one is kept for the older root */
    uint64_t two = stats_of(&store).data_bytes;
    assert_true(two > 2 << 20);
    must(checkpoint(&store, 1, sizes, 3)); /* both places are still named by a root */
    uint64_t three = stats_of(&store).data_bytes;
    assert_true(three > 3 << 20 && three < two + (1 << 20) + 8192);
    must(checkpoint(&store, 1, sizes, 3)); /* here the first is free again */
    assert_int_equal(stats_of(&store).data_bytes, three);
    const struct segment *big = storage_find_segment(store.storage, &(struct segment_key){4, 1, 2, 0});
    assert_int_equal(big->offset, STORAGE_EXTENTS_START);
    uint64_t small[] = {4096, 4096, 4096};
    must(checkpoint(&store, 1, small, 3));
    must(checkpoint(&store, 1, small, 3));
    assert_true(stats_of(&store).data_bytes < 2 << 20);
    assert_int_equal(stats_of(&store).data_bytes, store.fake.now[STORAGE_DATA].size_bytes);
    reopen(&store);
    must(check_segments(&store, NULL));
    end(&store);
}

static void wrong_calls_are_refused(void **state) {
    struct store store;
    uint64_t sizes[] = {10};
    struct storage_operation operation;
    bool more;
    (void)state;
    start(&store);
    storage_destroy(store.storage);
    must(storage_create(store.memory, &store.storage, NULL));
    struct velta_error error;
    assert_int_equal(storage_begin_sync(store.storage, &error), VELTA_INVALID);
    assert_non_null(strstr(error.text, "not open"));
    must(storage_next(store.storage, &operation, &more, NULL)); /* there is nothing to do */
    assert_false(more);
    must(storage_begin_open(store.storage, false, NULL));
    must(run(&store));
    struct segment nothing = {.key = {99, 1, 2, 3}, .checksum = 1};
    assert_int_equal(storage_check_segment(&nothing, "", &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "0 bytes of unknown, table 1"));
    assert_int_equal(storage_begin_open(store.storage, false, NULL), VELTA_INVALID);
    assert_int_equal(storage_begin_append(store.storage, "", 0, true, NULL), VELTA_INVALID);
    assert_int_equal(storage_begin_append(store.storage, "", (size_t)STORAGE_MAX_BODY_BYTES + 1, true, NULL),
                     VELTA_LIMIT);
    assert_int_equal(storage_begin_scrub(store.storage, NULL), VELTA_INVALID);
    assert_int_equal(checkpoint(&store, 0, sizes, 1), VELTA_INVALID); /* unchanged, and not there */
    assert_int_equal(checkpoint(&store, 0, NULL, 0), VELTA_INVALID);  /* nothing at all */
    must(checkpoint(&store, 1, sizes, 1));
    sizes[0] = 11;
    assert_int_equal(checkpoint(&store, 0, sizes, 1), VELTA_INVALID); /* unchanged, and of another size */
    struct checkpoint_segment twice[2] = {{{1, 0, 0, 0}, 1, true}, {{1, 0, 0, 0}, 1, true}};
    struct storage_source source = {&store, source_write};
    struct storage_meta meta = {0};
    assert_int_equal(storage_begin_checkpoint(store.storage, twice, 2, &source, &meta, NULL), VELTA_INVALID);
    assert_int_equal(storage_export_bytes(twice, 2), 0);
    must(storage_begin_append(store.storage, "x", 1, true, NULL));
    assert_int_equal(storage_begin_sync(store.storage, NULL), VELTA_BUSY);
    assert_int_equal(storage_begin_scrub(store.storage, NULL), VELTA_BUSY);
    assert_int_equal(storage_begin_read(store.storage, &nothing, NULL, NULL), VELTA_BUSY);
    must(storage_next(store.storage, &operation, &more, NULL));
    assert_true(more);
    /* Asked again without an answer: the operation failed, as far as the machine knows. */
    assert_int_equal(storage_next(store.storage, &operation, &more, NULL), VELTA_IO);
    assert_false(more);
    assert_true(stats_of(&store).poisoned);
    assert_int_equal(storage_begin_open(store.storage, false, NULL), VELTA_POISONED);
    end(&store);
}

static void read_only_writes_nothing(void **state) {
    struct store store;
    uint64_t sizes[] = {100};
    (void)state;
    start(&store);
    must(checkpoint(&store, 1, sizes, 1));
    must(append(&store, 1, 30, true));
    must(append(&store, 2, 40, false));
    storage_destroy(store.storage);
    uint64_t log_bytes = store.fake.now[STORAGE_LOG].size_bytes;
    size_t pieces = store.fake.piece_count;
    must(open_it(&store, true, NULL));
    uint32_t numbers[] = {1};
    size_t frame_sizes[] = {30};
    check_log(&store, numbers, frame_sizes, 1);
    must(check_segments(&store, NULL));
    assert_int_equal(append(&store, 3, 10, true), VELTA_READ_ONLY);
    assert_int_equal(checkpoint(&store, 0, NULL, 0), VELTA_READ_ONLY);
    must(storage_begin_close(store.storage, NULL));
    must(run(&store));
    assert_int_equal(store.fake.now[STORAGE_LOG].size_bytes, log_bytes);
    assert_int_equal(store.fake.piece_count, pieces);
    end(&store);
}

/* ---- exports */

static void exports_are_stores(void **state) {
    struct store store, other;
    uint64_t sizes[] = {100, 0, 5000, 64};
    (void)state;
    start(&store);
    must(checkpoint(&store, 15, sizes, 4));
    for (size_t i = 0; i < store.count; i++) {
        store.segments[i].changed = true;
    }
    struct storage_source source = {&store, source_write};
    struct storage_meta meta = {.sequence = 9, .time_ms = 10};
    uint64_t size_bytes = storage_export_bytes(store.segments, store.count);
    uint8_t *bytes = malloc(size_bytes);
    uint8_t *again = malloc(size_bytes);
    memset(bytes, 0x11, size_bytes);
    memset(again, 0x22, size_bytes);
    storage_export_write(store.segments, store.count, &source, &meta, bytes);
    storage_export_write(store.segments, store.count, &source, &meta, again);
    test_assert_bytes(bytes, again, size_bytes, "the export");
    start(&other);
    storage_destroy(other.storage);
    fake_storage_set(&other.fake, STORAGE_DATA, bytes, size_bytes);
    must(open_it(&other, false, NULL));
    memcpy(other.versions, store.versions, sizeof other.versions);
    other.count = store.count;
    must(check_segments(&other, NULL));
    assert_int_equal(stats_of(&other).generation, 1);
    must(append(&other, 1, 50, true)); /* it can be written like any store */
    must(checkpoint(&other, 4, sizes, 4));
    reopen(&other);
    must(check_segments(&other, NULL));
    /* Every bit of an export matters, or is in its zeros between extents. */
    struct velta_error error;
    uint64_t accepted = 0;
    for (uint64_t bit = 0; bit < size_bytes * 8; bit += BIT_STEP) {
        if (bit / 8 / STORAGE_ROOT_BYTES == 1) continue; /* the second root slot is not used */
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        storage_destroy(other.storage);
        fake_storage_set(&other.fake, STORAGE_LOG, "", 0);
        fake_storage_set(&other.fake, STORAGE_DATA, bytes, size_bytes);
        enum velta_status status = open_it(&other, true, &error);
        if (status == VELTA_OK) {
            memcpy(other.versions, store.versions, sizeof other.versions);
            status = check_segments(&other, &error);
        }
        assert_true(status == VELTA_OK || status == VELTA_CORRUPT);
        if (status != VELTA_OK) assert_true(error.offset < size_bytes);
        accepted += status == VELTA_OK;
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_true(accepted <= 3 * 63 * 8); /* gaps of at most 63 bytes before three extents */
    free(bytes);
    free(again);
    end(&other);
    end(&store);
}

/* ---- damage */

/* Two generations, then frames, one batch of two, all synced and marked at close. */
static void make_corpus(struct store *store) {
    uint64_t sizes[] = {100, 200};
    start(store);
    must(append(store, 9, 30, true));
    must(checkpoint(store, 3, sizes, 2));
    must(checkpoint(store, 1, sizes, 2));
    must(append(store, 1, 30, true));
    must(append(store, 2, 31, false));
    must(append(store, 3, 32, true));
    must(sync_log(store));
    must(append(store, 4, 33, true));
    must(storage_begin_close(store->storage, NULL));
    must(run(store));
    must(storage_begin_close(store->storage, NULL)); /* again: nothing to do */
    uint64_t operations = store->fake.operation_count;
    must(run(store));
    assert_int_equal(store->fake.operation_count, operations);
    storage_destroy(store->storage);
    store->storage = NULL;
}

struct image {
    uint8_t *bytes[2];
    uint64_t sizes[2];
};

static struct image image_of(const struct store *store) {
    struct image image;
    for (int i = 0; i < 2; i++) {
        image.sizes[i] = store->fake.now[i].size_bytes;
        image.bytes[i] = malloc(image.sizes[i] + 1);
        memcpy(image.bytes[i], store->fake.now[i].bytes, image.sizes[i]);
    }
    return image;
}

static void drop(struct image *image) {
    free(image->bytes[0]);
    free(image->bytes[1]);
}

/* How many of the four frames an image's log holds; SIZE_MAX: it is refused. */
static size_t try_image(struct store *store, const struct image *image) {
    struct velta_error error = {0};
    size_t frames = 0;
    fake_storage_set(&store->fake, STORAGE_DATA, image->bytes[0], image->sizes[0]);
    fake_storage_set(&store->fake, STORAGE_LOG, image->bytes[1], image->sizes[1]);
    enum velta_status status = open_it(store, true, &error);
    if (status == VELTA_OK) status = check_segments(store, &error);
    if (status == VELTA_OK) {
        for (;;) {
            size_t size_bytes;
            uint64_t offset;
            uint8_t expected[64];
            must(storage_begin_replay(store->storage, NULL));
            must(run(store));
            const void *body = storage_replayed_body(store->storage, &size_bytes, &offset);
            if (body == NULL) break;
            frames++;
            assert_int_equal(size_bytes, 29 + frames);
            fill(expected, size_bytes, (uint32_t)frames, 99);
            assert_memory_equal(body, expected, size_bytes);
        }
    } else {
        assert_int_equal(status, VELTA_CORRUPT);
        assert_int_equal(error.code, VELTA_CORRUPT);
        assert_true(error.offset < image->sizes[0] || error.offset < image->sizes[1]);
    }
    storage_destroy(store->storage);
    return status == VELTA_OK ? frames : SIZE_MAX;
}

static void every_flipped_bit_is_found_or_unused(void **state) {
    struct store store;
    (void)state;
    make_corpus(&store);
    struct image image = image_of(&store);
    assert_int_equal(try_image(&store, &image), 4);
    uint64_t mark = image.sizes[STORAGE_LOG] - STORAGE_FRAME_HEADER_BYTES;
    uint64_t refused = 0;
    for (int file = 0; file < 2; file++) {
        for (uint64_t bit = 0; bit < image.sizes[file] * 8; bit += BIT_STEP) {
            image.bytes[file][bit / 8] ^= (uint8_t)(1u << (bit % 8));
            size_t frames = try_image(&store, &image);
            assert_true(frames == 4 || frames == SIZE_MAX); /* never fewer, never others */
            refused += frames == SIZE_MAX;
            if (file == STORAGE_LOG) assert_true(frames == SIZE_MAX || bit / 8 >= mark);
            image.bytes[file][bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
    assert_true(refused > 8 * (mark + STORAGE_ROOT_BYTES) / BIT_STEP);
    drop(&image);
    fake_storage_release(&store.fake);
    memory_destroy(store.memory);
}

static void moved_frames_are_found(void **state) {
    struct store store;
    uint64_t starts[7];
    (void)state;
    make_corpus(&store);
    struct image image = image_of(&store);
    uint8_t *log = image.bytes[STORAGE_LOG];
    uint64_t log_bytes = image.sizes[STORAGE_LOG];
    uint64_t body_bytes[6] = {0, 30, 31, 32, 33, 0};
    starts[0] = 0;
    for (int i = 0; i < 6; i++) {
        starts[i + 1] = starts[i] + STORAGE_FRAME_HEADER_BYTES + body_bytes[i];
    }
    assert_int_equal(starts[6], log_bytes);
    uint8_t *copy = malloc(2 * log_bytes);
    memcpy(copy, log, log_bytes);
    for (int drop_at = 0; drop_at < 6; drop_at++) { /* a frame is missing */
        memcpy(log, copy, starts[drop_at]);
        memcpy(log + starts[drop_at], copy + starts[drop_at + 1], log_bytes - starts[drop_at + 1]);
        image.sizes[STORAGE_LOG] = log_bytes - (starts[drop_at + 1] - starts[drop_at]);
        size_t frames = try_image(&store, &image);
        assert_true(drop_at == 5 ? frames == 4 : frames == SIZE_MAX);
    }
    image.bytes[STORAGE_LOG] = realloc(log, 2 * log_bytes);
    log = image.bytes[STORAGE_LOG];
    for (int twice = 0; twice < 5; twice++) { /* a frame is there twice */
        uint64_t length = starts[twice + 1] - starts[twice];
        memcpy(log, copy, starts[twice + 1]);
        memcpy(log + starts[twice + 1], copy + starts[twice], log_bytes - starts[twice]);
        image.sizes[STORAGE_LOG] = log_bytes + length;
        /* Behind the last one nothing was lost: the copy is a torn tail. */
        assert_int_equal(try_image(&store, &image), twice == 4 ? 4 : SIZE_MAX);
    }
    for (int swap = 0; swap < 5; swap++) { /* two neighbours are exchanged */
        uint64_t first = starts[swap + 1] - starts[swap];
        uint64_t second = starts[swap + 2] - starts[swap + 1];
        memcpy(log, copy, log_bytes);
        memcpy(log + starts[swap], copy + starts[swap + 1], second);
        memcpy(log + starts[swap] + second, copy + starts[swap], first);
        image.sizes[STORAGE_LOG] = log_bytes;
        assert_int_equal(try_image(&store, &image), SIZE_MAX);
    }
    memcpy(log, copy, log_bytes); /* cut short at every byte: a torn tail */
    for (uint64_t cut = 1; cut < log_bytes; cut++) {
        image.sizes[STORAGE_LOG] = cut;
        size_t whole = cut < starts[2] ? 0 : cut < starts[4] ? 1 : cut < starts[5] ? 3 : 4;
        assert_int_equal(try_image(&store, &image), whole);
    }
    image.sizes[STORAGE_LOG] = 0; /* but a log is never quite empty */
    assert_int_equal(try_image(&store, &image), SIZE_MAX);
    free(copy);
    drop(&image);
    fake_storage_release(&store.fake);
    memory_destroy(store.memory);
}

/* Logs and data files of different lives, and older states of one, do not go together. */
static void strange_pairs_are_found(void **state) {
    struct store store;
    uint64_t sizes[] = {100};
    struct image images[4];
    (void)state;
    start(&store);
    for (int i = 0; i < 4; i++) {
        must(append(&store, (uint32_t)i, 30, true));
        must(checkpoint(&store, 1, sizes, 1));
        must(append(&store, 1, 30, true));
        images[i] = image_of(&store);
    }
    storage_destroy(store.storage);
    for (int data = 0; data < 4; data++) {
        for (int log = 0; log < 4; log++) {
            struct image pair = {{images[data].bytes[0], images[log].bytes[1]},
                                 {images[data].sizes[0], images[log].sizes[1]}};
            store.versions[0] = (uint32_t)data + 1;
            size_t frames = try_image(&store, &pair);
            if (log > data) assert_int_equal(frames, SIZE_MAX); /* the data file is older than its log */
            if (log == data) assert_int_equal(frames, 1);
            if (log < data) assert_int_equal(frames, 0); /* as after a crash before the log was begun anew */
        }
    }
    struct image without = {{(uint8_t *)"", images[1].bytes[1]}, {0, images[1].sizes[1]}};
    assert_int_equal(try_image(&store, &without), SIZE_MAX);
    /* The newest root beside the first one, which has the place of the last but one. */
    memcpy(images[3].bytes[0], images[0].bytes[0], STORAGE_ROOT_BYTES);
    assert_int_equal(try_image(&store, &images[3]), SIZE_MAX);
    struct store other; /* the same generation of another store */
    start(&other);
    must(append(&other, 1, 77, true));
    sizes[0] = 120;
    must(checkpoint(&other, 1, sizes, 1));
    struct image strange = {{images[0].bytes[0], other.fake.now[1].bytes},
                            {images[0].sizes[0], other.fake.now[1].size_bytes}};
    store.versions[0] = 1;
    assert_int_equal(try_image(&store, &strange), SIZE_MAX);
    end(&other);
    for (int i = 0; i < 4; i++) {
        drop(&images[i]);
    }
    fake_storage_release(&store.fake);
    memory_destroy(store.memory);
}

static void newer_versions_are_told(void **state) {
    struct store store;
    uint64_t sizes[] = {100};
    uint8_t root_bytes[STORAGE_ROOT_BYTES];
    struct storage_root root = {0};
    (void)state;
    start(&store);
    must(checkpoint(&store, 1, sizes, 1));
    struct image image = image_of(&store);
    storage_destroy(store.storage);
    assert_int_equal(storage_root_decode(image.bytes[0], 0, &root), STORAGE_ROOT_VALID);
    root.flags = 0x80; /* an unknown flag, checksummed well */
    storage_root_encode(&root, root_bytes);
    memcpy(image.bytes[0], root_bytes, sizeof root_bytes);
    fake_storage_set(&store.fake, STORAGE_DATA, image.bytes[0], image.sizes[0]);
    assert_int_equal(open_it(&store, false, NULL), VELTA_VERSION);
    must(storage_begin_open(store.storage, false, NULL)); /* a failed open can be tried again */
    assert_int_equal(run(&store), VELTA_VERSION);
    drop(&image);
    end(&store);
}

/* ---- scrubbing */

static bool holds(const struct fake_file *file, const uint8_t *bytes, size_t size_bytes) {
    for (uint64_t i = 0; i + size_bytes <= file->size_bytes; i++) {
        if (memcmp(file->bytes + i, bytes, size_bytes) == 0) return true;
    }
    return false;
}

static void scrubbing_leaves_nothing(void **state) {
    struct store store;
    uint64_t sizes[] = {200000, 5000, 300};
    uint8_t old[16], kept[16];
    (void)state;
    start(&store);
    must(checkpoint(&store, 7, sizes, 3));
    fill(old, sizeof old, 0, store.versions[0]);
    must(append(&store, 50, 400, true));
    must(checkpoint(&store, 1, sizes, 3));
    fill(kept, sizeof kept, 0, store.versions[0]);
    assert_true(holds(&store.fake.now[STORAGE_DATA], old, sizeof old));
    must(storage_begin_scrub(store.storage, NULL));
    must(run(&store));
    assert_false(holds(&store.fake.now[STORAGE_DATA], old, sizeof old));
    assert_true(holds(&store.fake.now[STORAGE_DATA], kept, sizeof kept));
    assert_int_equal(store.fake.now[STORAGE_LOG].size_bytes, STORAGE_FRAME_HEADER_BYTES);
    must(check_segments(&store, NULL));
    const uint8_t *data = store.fake.now[STORAGE_DATA].bytes;
    uint64_t total = store.fake.now[STORAGE_DATA].size_bytes;
    uint8_t *used = calloc(1, total); /* zero is everything that the root does not name */
    size_t count;
    const struct segment *segments = storage_segments(store.storage, &count);
    struct storage_root root;
    assert_int_equal(storage_root_decode(data + STORAGE_ROOT_BYTES, 1, &root), STORAGE_ROOT_VALID);
    memset(used + STORAGE_ROOT_BYTES, 1, STORAGE_ROOT_BYTES);
    memset(used + root.directory_offset, 1, root.directory_bytes);
    for (size_t i = 0; i < count; i++) {
        memset(used + segments[i].offset, 1, segments[i].size_bytes);
    }
    for (uint64_t i = 0; i < total; i++) {
        assert_true(used[i] != 0 || data[i] == 0);
    }
    assert_int_equal(total, root.data_end);
    free(used);
    reopen(&store);
    must(check_segments(&store, NULL));
    must(append(&store, 51, 10, true));
    assert_int_equal(storage_begin_scrub(store.storage, NULL), VELTA_INVALID); /* the log holds changes */
    must(checkpoint(&store, 2, sizes, 3));
    must(check_segments(&store, NULL));
    end(&store);
}

/* ---- failing hosts */

static enum velta_status script(struct store *store) {
    uint64_t sizes[] = {100, 5000};
    enum velta_status status = append(store, 1, 30, true);
    if (status == VELTA_OK) status = append(store, 2, 100000, false);
    if (status == VELTA_OK) status = storage_begin_rollback(store->storage, NULL);
    if (status == VELTA_OK) status = run(store);
    if (status == VELTA_OK) status = sync_log(store);
    if (status == VELTA_OK) status = checkpoint(store, 3, sizes, 2);
    if (status == VELTA_OK) status = append(store, 3, 40, true);
    if (status == VELTA_OK) status = checkpoint(store, 1, sizes, 2);
    if (status == VELTA_OK) status = storage_begin_scrub(store->storage, NULL);
    if (status == VELTA_OK) status = run(store);
    if (status == VELTA_OK) status = append(store, 4, 40, true);
    if (status == VELTA_OK) status = storage_begin_close(store->storage, NULL);
    if (status == VELTA_OK) status = run(store);
    return status;
}

static void every_failing_operation_poisons(void **state) {
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        uint64_t at = 1;
        for (;; at++) {
            struct store store;
            start(&store);
            store.fake.operation_count = 0;
            store.fake.fail_at = at;
            store.fake.fail_status = kind == 0 ? VELTA_IO : kind <= 2 ? VELTA_FULL : VELTA_OK;
            store.fake.fail_half = kind == 2;
            store.fake.fail_wrong_count = kind == 3 ? 1 : UINT64_C(1) << 40; /* too few; more than asked for */
            enum velta_status status = script(&store);
            bool reached = store.fake.operation_count >= at;
            if (reached) {
                assert_int_equal(status,
                                 kind == 1 || kind == 2 ? (status == VELTA_IO ? VELTA_IO : VELTA_FULL) : VELTA_IO);
                assert_true(stats_of(&store).poisoned);
                assert_int_equal(append(&store, 5, 10, true), VELTA_POISONED);
                assert_int_equal(sync_log(&store), VELTA_POISONED);
                assert_int_equal(checkpoint(&store, 0, NULL, 0), VELTA_POISONED);
                uint64_t operations = store.fake.operation_count;
                must(storage_begin_close(store.storage, NULL));
                must(run(&store));
                assert_int_equal(store.fake.operation_count, operations);
                /* What is on the disk opens all the same. */
                store.fake.fail_at = 0;
                reopen(&store);
            } else {
                must(status);
            }
            end(&store);
            if (!reached) break;
        }
        assert_true(at > 30);
    }
}

static void failing_reads_do_not_poison(void **state) {
    struct store store;
    uint64_t sizes[] = {100};
    (void)state;
    start(&store);
    must(checkpoint(&store, 1, sizes, 1));
    must(append(&store, 1, 100000, true));
    for (uint64_t at = 1;; at++) {
        storage_destroy(store.storage);
        store.fake.operation_count = 0;
        store.fake.fail_at = at;
        store.fake.fail_status = VELTA_IO;
        enum velta_status status = open_it(&store, false, NULL);
        if (status == VELTA_OK) {
            assert_true(at > 5);
            break;
        }
        assert_int_equal(status, VELTA_IO);
        must(storage_begin_open(store.storage, false, NULL)); /* the failure is over: it opens */
        must(run(&store));
    }
    const struct segment *segment = storage_find_segment(store.storage, &(struct segment_key){4, 1, 2, 0});
    uint8_t buffer[100];
    store.fake.fail_at = store.fake.operation_count + 1;
    must(storage_begin_read(store.storage, segment, buffer, NULL));
    assert_int_equal(run(&store), VELTA_IO);
    must(check_segments(&store, NULL));
    store.fake.fail_at = store.fake.operation_count + 1;
    must(storage_begin_replay(store.storage, NULL));
    assert_int_equal(run(&store), VELTA_IO);
    uint32_t numbers[] = {1};
    size_t frame_sizes[] = {100000};
    check_log(&store, numbers, frame_sizes, 1);
    must(append(&store, 2, 10, true));
    end(&store);
}

/* ---- memory */

static bool whole_script(struct test_allocator *allocator, void *context) {
    struct store store;
    enum velta_status status;
    (void)context;
    memset(&store, 0, sizeof store);
    store.memory = memory_create(&allocator->allocator, 0);
    fake_storage_init(&store.fake);
    store.fake.keep_durable = false;
    test_allocator_rearm(allocator);
    status = storage_create(store.memory, &store.storage, NULL);
    if (status == VELTA_OK) status = storage_begin_open(store.storage, false, NULL);
    if (status == VELTA_OK) status = run(&store);
    if (status == VELTA_OK) status = script(&store);
    if (status == VELTA_OK) {
        storage_destroy(store.storage);
        store.storage = NULL;
        status = storage_create(store.memory, &store.storage, NULL);
        if (status == VELTA_OK) status = storage_begin_open(store.storage, false, NULL);
        if (status == VELTA_OK) status = run(&store);
        if (status == VELTA_OK) status = storage_begin_replay(store.storage, NULL);
        if (status == VELTA_OK) status = run(&store);
    }
    test_allocator_disarm(allocator);
    if (status != VELTA_OK) {
        assert_int_equal(status, VELTA_NO_MEMORY);
        if (store.storage != NULL) assert_false(stats_of(&store).poisoned);
    }
    storage_destroy(store.storage);
    fake_storage_release(&store.fake);
    memory_destroy(store.memory);
    return status == VELTA_OK;
}

static void refused_memory_does_not_poison(void **state) {
    struct test_allocator allocator;
    (void)state;
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, whole_script, NULL) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_back),
        cmocka_unit_test(unfinished_batches_do_not_count),
        cmocka_unit_test(a_log_that_changes_under_us_is_found),
        cmocka_unit_test(checkpoints_come_back),
        cmocka_unit_test(free_space_is_used_again),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(read_only_writes_nothing),
        cmocka_unit_test(exports_are_stores),
        cmocka_unit_test(every_flipped_bit_is_found_or_unused),
        cmocka_unit_test(moved_frames_are_found),
        cmocka_unit_test(strange_pairs_are_found),
        cmocka_unit_test(newer_versions_are_told),
        cmocka_unit_test(scrubbing_leaves_nothing),
        cmocka_unit_test(every_failing_operation_poisons),
        cmocka_unit_test(failing_reads_do_not_poison),
        cmocka_unit_test(refused_memory_does_not_poison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
