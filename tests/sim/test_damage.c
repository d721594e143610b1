/*
 * Damage to the files of whole databases: it is told, or it is in bytes that do not matter; never is it data.
 *
 * Small stores of every shape (a log alone; two roots and a log; one left open by a crash; one compacted; an export)
 * are damaged in every bit and, by moving, repeating, dropping and zeroing frames and blocks, in larger pieces. Opened
 * again they must be refused with CORRUPT or VERSION, or have the state that they had. One left open by a crash may
 * also come back without its last change, as nothing says yet that it was durable, and only when it tells how many
 * bytes it cut; more is missing only where all is gone that told of it. Reading the undamaged store notes which bytes
 * are read at all: what never is needs no trial.
 */
#include <inttypes.h>
#include <malloc.h>

#include "delta/storage_format.h"
#include "tests/support/fake_storage.h"
#include "tests/unit/store_testing.h"

enum { MAX_STATES = 16, MAX_FRAMES = 64, BLOCK_BYTES = 512 };
enum { NONE = 0, LAST = 1, ANY = MAX_STATES }; /* how many of the last changes may be missing, cut off and told */

/* The sanitizers are slow: there, some of the bits. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { BIT_STEP = 41, PAIR_STEP = 7 };
#else
enum { BIT_STEP = 1, PAIR_STEP = 1 };
#endif

struct bytes {
    uint8_t *at;
    uint64_t size_bytes;
};

/* A store as its files are, and the digests of its states, oldest first. */
struct corpus {
    const char *name;
    struct bytes files[2];
    uint64_t digests[MAX_STATES];
    size_t state_count;
    size_t may_miss;  /* of the last changes, by damage that leaves headers behind it: 1 in a store left open */
    uint8_t *read[2]; /* 1 for each byte that opening, verifying and exporting read */
};

static struct {
    uint64_t bits;
    uint64_t unread_bits;
    uint64_t refused;
    uint64_t moved;
    uint64_t unnoticed;
} counts;

/* ---- a host over an image */

struct reader {
    struct fake_storage *fake;
    uint8_t **read; /* NULL: not noted */
};

static void reader_execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    struct reader *reader = context;
    fake_storage_execute(reader->fake, operation, result);
    if (operation->kind == STORAGE_READ && reader->read != NULL) {
        memset(reader->read[operation->file] + operation->offset, 1, operation->size_bytes);
    }
}

static void keep_open(void *context) {
    (void)context; /* the bytes stay */
}

/* ---- one trial */

static struct fake_storage disk;        /* of all trials */
static struct test_allocator allocator; /* whose memory the next trial takes at once, unlike the system's huge pages */

static size_t missed; /* changes, in the last trial that was not refused */

enum verdict { SAME, REFUSED, SHORTER, UNNOTICED };

/* Opens the files on `disk`, verifies where reads are noted, exports, and compares. */
static enum verdict judge(const struct corpus *corpus, size_t most_missed, uint8_t **read) {
    struct reader reader = {&disk, read};
    struct velta_host host = {.context = &reader, .execute = reader_execute, .close = keep_open};
    struct velta_options options = {
        .allocator = &allocator.allocator, .host = &host, .read_only = true, .thread_count = 1};
    struct velta_error error = {0};
    struct velta_stats stats;
    velta *db = NULL;
    size_t state = corpus->state_count;
    enum velta_status status = velta_open(NULL, &options, &db, &error);
    if (status != VELTA_OK) {
        if (status == VELTA_CORRUPT || status == VELTA_VERSION) return REFUSED;
        print_error("%s: %s\n", velta_status_name(status), error.text);
        return UNNOTICED;
    }
    uint64_t found = digest(db);
    velta_get_stats(db, &stats);
    if (read != NULL) assert_verifies(db);
    assert_ok(velta_close(db, &error), &error);
    while (state > 0 && corpus->digests[state - 1] != found)
        state--;
    if (state == 0) return UNNOTICED;
    missed = corpus->state_count - state;
    if (missed == 0) return SAME;
    return missed <= most_missed && stats.cut_bytes > 0 ? SHORTER : UNNOTICED;
}

static void set_disk(const struct bytes *data, const struct bytes *log) {
    fake_storage_set(&disk, STORAGE_DATA, data->at, data->size_bytes);
    fake_storage_set(&disk, STORAGE_LOG, log->at, log->size_bytes);
}

static enum verdict count_verdict(const struct corpus *corpus, enum verdict verdict, const char *what, uint64_t a,
                                  uint64_t b) {
    counts.refused += verdict == REFUSED;
    counts.unnoticed += verdict == UNNOTICED;
    if (verdict == UNNOTICED) print_error("%s: unnoticed: %s %" PRIu64 " %" PRIu64 "\n", corpus->name, what, a, b);
    return verdict;
}

/* The store with other bytes in one file. */
static enum verdict try_file(const struct corpus *corpus, enum storage_file file, const struct bytes *bytes,
                             size_t most_missed, const char *what, uint64_t a, uint64_t b) {
    set_disk(file == STORAGE_DATA ? bytes : &corpus->files[0], file == STORAGE_LOG ? bytes : &corpus->files[1]);
    counts.moved++;
    return count_verdict(corpus, judge(corpus, most_missed, NULL), what, a, b);
}

/* ---- the corpus */

static const struct velta_column columns[] = {
    {.name = "id", .type = VELTA_INT, .primary_key = true},
    {.name = "word", .type = VELTA_STRING},
    {.name = "flag", .type = VELTA_BOOL},
    {.name = "v", .type = VELTA_VECTOR, .dimensions = 4, .metric = VELTA_L2, .m = 4},
};

struct making {
    struct corpus *corpus;
    struct fake_storage fake;
    struct reader reader;
    struct velta_host host;
    struct velta_options options;
    int64_t now_ms;
    velta *db;
    velta_table *table;
};

static void note_state(struct making *making) {
    assert_true(making->corpus->state_count < MAX_STATES);
    making->corpus->digests[making->corpus->state_count++] = digest(making->db);
}

static void insert_row(struct making *making, int64_t id) {
    struct velta_error error = {0};
    struct random random = random_seeded((uint64_t)id);
    float vector[4];
    char word[8];
    uint8_t flag = id % 2 == 0;
    int length = snprintf(word, sizeof word, "w%d", (int)id);
    uint64_t offsets[] = {0, (uint64_t)length};
    random_vector(&random, vector, 4);
    struct velta_values values[] = {{.column = "id", .data = &id},
                                    {.column = "word", .data = word, .offsets = offsets},
                                    {.column = "flag", .data = &flag},
                                    {.column = "v", .data = vector}};
    making->now_ms += 10;
    assert_ok(velta_insert(making->table, values, 4, 1, NULL, NULL, &error), &error);
    note_state(making);
}

static void change_row(struct making *making, int64_t id) {
    struct velta_error error = {0};
    struct velta_delta delta = {.operation = VELTA_DELTA_SCALE, .key_int = id, .amount = 2};
    making->now_ms += 10;
    assert_ok(velta_apply(making->table, "v", &delta, 1, 0, NULL, &error), &error);
    note_state(making);
    assert_ok(velta_delete(making->table, &(struct velta_keys){.ints = &id}, 1, NULL, &error), &error);
    note_state(making);
}

static void take_files(struct making *making) {
    for (int i = 0; i < 2; i++) {
        const struct fake_file *file = &making->fake.now[i];
        making->corpus->files[i] = (struct bytes){malloc(file->size_bytes + 1), file->size_bytes};
        if (file->size_bytes > 0) memcpy(making->corpus->files[i].at, file->bytes, file->size_bytes);
    }
}

static void take_export(struct making *making) {
    struct velta_error error = {0};
    uint8_t *bytes;
    uint64_t size_bytes;
    assert_ok(velta_export(making->db, &bytes, &size_bytes, NULL, &error), &error);
    making->corpus->files[0] = (struct bytes){malloc(size_bytes), size_bytes};
    making->corpus->files[1] = (struct bytes){calloc(1, 1), 0};
    memcpy(making->corpus->files[0].at, bytes, size_bytes);
    velta_export_free(making->db, bytes, size_bytes);
}

enum shape { SHAPE_LOG, SHAPE_ROOTS, SHAPE_OPEN, SHAPE_COMPACTED, SHAPE_EXPORT, SHAPE_COUNT };

/* `first`: the id of the first row, so that two stores of a shape differ. */
static void corpus_make(struct corpus *corpus, enum shape shape, int64_t first) {
    static const char *const names[] = {"a log alone", "two roots and a log", "left open", "compacted", "an export"};
    struct making making = {.corpus = corpus, .now_ms = 1000 * first};
    struct velta_error error = {0};
    *corpus = (struct corpus){.name = names[shape], .may_miss = shape == SHAPE_OPEN ? LAST : NONE};
    fake_storage_init(&making.fake);
    making.fake.keep_durable = false;
    making.reader.fake = &making.fake;
    making.host = (struct velta_host){.context = &making.reader, .execute = reader_execute, .close = keep_open};
    making.options = (struct velta_options){.host = &making.host,
                                            .now_ms = sample_clock,
                                            .now_context = &making.now_ms,
                                            .chain_interval = 4,
                                            .thread_count = 1};
    assert_ok(velta_open(NULL, &making.options, &making.db, &error), &error);
    note_state(&making);
    assert_ok(velta_table_create(making.db, "t", columns, 4, &making.table, &error), &error);
    note_state(&making);
    insert_row(&making, first);
    insert_row(&making, first + 1);
    if (shape != SHAPE_LOG) {
        assert_ok(velta_index(making.db, 0, NULL, NULL, &error), &error);
        assert_ok(velta_checkpoint(making.db, NULL, &error), &error);
        making.corpus->digests[making.corpus->state_count - 1] = digest(making.db); /* with its links */
    }
    insert_row(&making, first + 2);
    change_row(&making, first);
    if (shape == SHAPE_COMPACTED) {
        assert_ok(velta_compact(making.db, NULL, NULL, &error), &error);
        note_state(&making);
    }
    insert_row(&making, first + 3);
    insert_row(&making, first + 4);
    if (shape == SHAPE_EXPORT) take_export(&making);
    if (shape == SHAPE_OPEN) take_files(&making);
    assert_ok(velta_close(making.db, &error), &error);
    if (shape != SHAPE_EXPORT && shape != SHAPE_OPEN) take_files(&making);
    fake_storage_release(&making.fake);
    for (int i = 0; i < 2; i++)
        corpus->read[i] = calloc(1, corpus->files[i].size_bytes + 1);
    set_disk(&corpus->files[0], &corpus->files[1]);
    assert_int_equal(judge(corpus, NONE, corpus->read), SAME);
}

static void corpus_free(struct corpus *corpus) {
    for (int i = 0; i < 2; i++) {
        free(corpus->files[i].at);
        free(corpus->read[i]);
    }
}

/* ---- bits */

static void flip_bits(const struct corpus *corpus) {
    uint64_t bits = 0;
    uint64_t verdicts[UNNOTICED + 1] = {0};
    for (int file = 0; file < 2; file++) {
        for (uint64_t bit = 0; bit < corpus->files[file].size_bytes * 8; bit += BIT_STEP) {
            uint64_t byte = bit / 8;
            if (!corpus->read[file][byte]) {
                counts.unread_bits++;
                continue;
            }
            set_disk(&corpus->files[0], &corpus->files[1]);
            disk.now[file].bytes[byte] ^= (uint8_t)(1U << bit % 8);
            verdicts[count_verdict(corpus, judge(corpus, corpus->may_miss, NULL),
                                   file ? "bit of the log" : "bit of the data", bit, byte)]++;
            bits++;
        }
    }
    counts.bits += bits;
    print_message("%s: %" PRIu64 " + %" PRIu64 " bytes, %" PRIu64 " bits flipped: %" PRIu64 " refused, %" PRIu64
                  " unused, %" PRIu64 " in a torn tail\n",
                  corpus->name, corpus->files[0].size_bytes, corpus->files[1].size_bytes, bits, verdicts[REFUSED],
                  verdicts[SAME], verdicts[SHORTER]);
    assert_true(verdicts[REFUSED] > 0);
}

static void every_flipped_bit_is_told_or_unused(void **state) {
    (void)state;
    uint64_t before = counts.unnoticed;
    for (int shape = 0; shape < SHAPE_COUNT; shape++) {
        struct corpus corpus;
        corpus_make(&corpus, (enum shape)shape, 1);
        flip_bits(&corpus);
        corpus_free(&corpus);
    }
    assert_true(counts.unnoticed == before);
}

/* ---- frames */

/* Where the frames of a log begin; [count]: its end. */
static size_t find_frames(const struct bytes *log, uint64_t *starts) {
    struct storage_frame frame;
    size_t count = 0;
    starts[0] = 0;
    while (starts[count] + STORAGE_FRAME_HEADER_BYTES <= log->size_bytes) {
        assert_true(count + 1 < MAX_FRAMES && storage_frame_decode(log->at + starts[count], &frame));
        starts[count + 1] = starts[count] + STORAGE_FRAME_HEADER_BYTES + frame.body_bytes;
        count++;
    }
    assert_int_equal(starts[count], log->size_bytes);
    return count;
}

static void append(struct bytes *out, const uint8_t *bytes, uint64_t size_bytes) {
    out->at = realloc(out->at, out->size_bytes + size_bytes + 1);
    assert_non_null(out->at);
    if (size_bytes > 0) memcpy(out->at + out->size_bytes, bytes, size_bytes);
    out->size_bytes += size_bytes;
}

/* The log with its frames in this order; those numbered from `count` on are of the other log. */
static enum verdict try_order(const struct corpus *corpus, const struct bytes *other, const size_t *order,
                              size_t order_count, size_t most_missed, const char *what) {
    uint64_t starts[MAX_FRAMES];
    uint64_t other_starts[MAX_FRAMES];
    const struct bytes *log = &corpus->files[STORAGE_LOG];
    struct bytes made = {0};
    size_t count = find_frames(log, starts);
    if (other != NULL) (void)find_frames(other, other_starts);
    for (size_t i = 0; i < order_count; i++) {
        bool own = order[i] < count;
        const uint64_t *from = own ? starts + order[i] : other_starts + (order[i] - count);
        append(&made, (own ? log : other)->at + from[0], from[1] - from[0]);
    }
    enum verdict verdict = try_file(corpus, STORAGE_LOG, &made, most_missed, what, order_count, order[order_count - 1]);
    free(made.at);
    return verdict;
}

static void move_frames(const struct corpus *corpus) {
    uint64_t starts[MAX_FRAMES];
    size_t order[MAX_FRAMES];
    size_t count = find_frames(&corpus->files[STORAGE_LOG], starts);
    assert_true(count >= 3);
    for (size_t a = 0; a < count; a++) {
        size_t dropped = 0;
        for (size_t i = 0; i < count; i++) /* one is missing; the last one of a store left open may be, unnoticed */
            if (i != a) order[dropped++] = i;
        if (a + 1 < count || corpus->may_miss == NONE)
            (void)try_order(corpus, NULL, order, dropped, corpus->may_miss, "frame dropped");
        for (size_t b = 0; b < count; b += PAIR_STEP) {
            for (size_t i = 0; i < count; i++) /* two are exchanged */
                order[i] = i == a ? b : i == b ? a : i;
            if (a < b) (void)try_order(corpus, NULL, order, count, corpus->may_miss, "frames swapped");
            for (size_t i = 0; i <= count; i++) /* one is there once more, before b */
                order[i] = i < b ? i : i == b ? a : i - 1;
            (void)try_order(corpus, NULL, order, count + 1, corpus->may_miss, "frame repeated");
            for (size_t i = 0; i < count; i++) /* one is overwritten by another */
                order[i] = i == b ? a : i;
            if (a != b) (void)try_order(corpus, NULL, order, count, corpus->may_miss, "frame over another");
        }
    }
}

/* Frames of an earlier life of the same file, or of another store, behind, between or instead of its own. */
static void mix_frames(const struct corpus *corpus, const struct bytes *other) {
    uint64_t starts[MAX_FRAMES];
    uint64_t other_starts[MAX_FRAMES];
    size_t order[2 * MAX_FRAMES];
    size_t count = find_frames(&corpus->files[STORAGE_LOG], starts);
    size_t other_count = find_frames(other, other_starts);
    for (size_t from = 0; from < other_count; from++) {
        for (size_t at = 0; at <= count; at += PAIR_STEP) {
            for (size_t i = 0; i <= count; i++) /* one in between */
                order[i] = i < at ? i : i == at ? count + from : i - 1;
            (void)try_order(corpus, other, order, count + 1, corpus->may_miss, "strange frame");
            if (at == count) continue;
            for (size_t i = 0; i < count; i++) /* one instead */
                order[i] = i == at ? count + from : i;
            (void)try_order(corpus, other, order, count, corpus->may_miss, "strange frame instead");
            size_t length = at + 1;
            for (size_t i = 0; i < length; i++) /* strange ones alone behind a good beginning: cut, and told */
                order[i] = i;
            for (size_t i = from; i < other_count; i++)
                order[length++] = count + i;
            (void)try_order(corpus, other, order, length, ANY, "strange frames behind");
        }
    }
}

static void moved_frames_are_told(void **state) {
    (void)state;
    uint64_t before = counts.unnoticed;
    for (int shape = 0; shape < SHAPE_EXPORT; shape++) {
        struct corpus corpus;
        struct corpus earlier; /* the same store, as it was in its first generation */
        struct corpus other;
        corpus_make(&corpus, (enum shape)shape, 1);
        corpus_make(&earlier, SHAPE_LOG, 1);
        corpus_make(&other, (enum shape)shape, 100);
        move_frames(&corpus);
        if (shape != SHAPE_LOG) mix_frames(&corpus, &earlier.files[STORAGE_LOG]);
        mix_frames(&corpus, &other.files[STORAGE_LOG]);
        corpus_free(&corpus);
        corpus_free(&earlier);
        corpus_free(&other);
    }
    assert_true(counts.unnoticed == before);
}

/* ---- blocks */

static struct bytes copy_of(const struct bytes *from) {
    struct bytes copy = {0};
    append(&copy, from->at, from->size_bytes);
    return copy;
}

/* Each block of a file overwritten: by zeros, by each other block of it, by the same one of another store. */
static void move_blocks(const struct corpus *corpus, enum storage_file file, uint64_t block_bytes,
                        const struct bytes *other) {
    const struct bytes *bytes = &corpus->files[file];
    uint64_t starts[MAX_FRAMES];
    /* Where the last header is gone, which says that all was durable, what is behind it may be a torn tail. */
    uint64_t proof = file == STORAGE_LOG && bytes->size_bytes > 0 ? starts[find_frames(bytes, starts) - 1] : UINT64_MAX;
    for (uint64_t to = 0; to + block_bytes <= bytes->size_bytes; to += block_bytes) {
        struct bytes copy = copy_of(bytes);
        size_t most_missed = to + block_bytes > proof ? ANY : corpus->may_miss;
        memset(copy.at + to, 0, block_bytes);
        (void)try_file(corpus, file, &copy, most_missed, "block of zeros", file, to);
        for (uint64_t from = 0; from + block_bytes <= bytes->size_bytes; from += block_bytes * PAIR_STEP) {
            memcpy(copy.at + to, bytes->at + from, block_bytes);
            if (from != to) (void)try_file(corpus, file, &copy, most_missed, "block over another", from, to);
        }
        if (to + block_bytes <= other->size_bytes) {
            memcpy(copy.at + to, other->at + to, block_bytes);
            (void)try_file(corpus, file, &copy, most_missed, "block of another store", file, to);
        }
        free(copy.at);
    }
}

/* The log as `copy` is misses exactly the changes from the first frame on that is not whole. */
static void try_end(const struct corpus *corpus, const struct bytes *copy, const uint64_t *starts, size_t count,
                    const char *what) {
    const uint8_t *log = corpus->files[STORAGE_LOG].at;
    size_t whole = 0;
    size_t changes = 0;
    while (whole < count && starts[whole + 1] <= copy->size_bytes &&
           memcmp(copy->at + starts[whole], log + starts[whole], starts[whole + 1] - starts[whole]) == 0)
        whole++;
    for (size_t i = whole; i < count; i++)
        changes += starts[i + 1] - starts[i] > STORAGE_FRAME_HEADER_BYTES;
    enum verdict verdict = try_file(corpus, STORAGE_LOG, copy, changes, what, copy->size_bytes, whole);
    assert_int_equal(verdict, changes > 0 ? SHORTER : SAME);
    assert_int_equal(missed, changes);
}

/* The log cut at every byte, and from every byte on zeros: what is whole before that place stays, and nothing else. */
static void end_log_anywhere(const struct corpus *corpus) {
    uint64_t starts[MAX_FRAMES];
    const struct bytes *log = &corpus->files[STORAGE_LOG];
    size_t count = find_frames(log, starts);
    size_t frame = 0;
    for (uint64_t at = 1; at < log->size_bytes; at += BIT_STEP) {
        struct bytes copy = copy_of(log);
        memset(copy.at + at, 0, log->size_bytes - at);
        try_end(corpus, &copy, starts, count, "zeros from");
        copy.size_bytes = at;
        while (starts[frame] < at)
            frame++;
        /* At the end of a frame nothing tells that there was more. */
        if (starts[frame] != at) try_end(corpus, &copy, starts, count, "cut");
        free(copy.at);
    }
    for (uint64_t zeros = 1; zeros < 10000; zeros += zeros) { /* a tail of zeros is none */
        struct bytes copy = copy_of(log);
        uint8_t *tail = calloc(1, zeros);
        append(&copy, tail, zeros);
        assert_int_equal(try_file(corpus, STORAGE_LOG, &copy, NONE, "a tail of zeros", zeros, 0), SAME);
        free(tail);
        free(copy.at);
    }
}

static void moved_blocks_and_torn_ends_are_told(void **state) {
    (void)state;
    uint64_t before = counts.unnoticed;
    for (int shape = 0; shape < SHAPE_COUNT; shape++) {
        struct corpus corpus;
        struct corpus other;
        corpus_make(&corpus, (enum shape)shape, 1);
        corpus_make(&other, (enum shape)shape, 100);
        move_blocks(&corpus, STORAGE_DATA, shape == SHAPE_EXPORT ? 64 * PAIR_STEP : 4096, &other.files[STORAGE_DATA]);
        move_blocks(&corpus, STORAGE_LOG, BLOCK_BYTES / 4, &other.files[STORAGE_LOG]);
        if (shape != SHAPE_EXPORT) end_log_anywhere(&corpus);
        corpus_free(&corpus);
        corpus_free(&other);
    }
    assert_true(counts.unnoticed == before);
}

static void figures_are_told(void **state) {
    (void)state;
    print_message("figure: damage_bits_flipped %" PRIu64 "\nfigure: damage_frames_moved %" PRIu64
                  "\nfigure: damage_unnoticed %" PRIu64 "\n",
                  counts.bits, counts.moved, counts.unnoticed);
    print_message("%" PRIu64 " bits are never read, %" PRIu64 " trials were refused\n", counts.unread_bits,
                  counts.refused);
    assert_true(counts.bits > 0 && counts.moved > 0);
    test_allocator_check_empty(&allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_told_or_unused),
        cmocka_unit_test(moved_frames_are_told),
        cmocka_unit_test(moved_blocks_and_torn_ends_are_told),
        cmocka_unit_test(figures_are_told),
    };
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    test_allocator_init(&allocator);
    fake_storage_init(&disk);
    disk.keep_durable = false;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    fake_storage_release(&disk);
    return failures;
}
