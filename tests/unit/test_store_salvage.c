/*
 * Salvage loses nothing in silence.
 *
 * A small store with every type of column, history, an index, deleted and expiring rows, two checkpoints and a log is
 * damaged in every way that a file can be, and salvaged. What comes out is compared with the store as it was after the
 * change that salvage says it reached, value by value, now and at past changes: each must be the original's, or be in
 * a loss that was reported. The seed of the damage is printed with a difference;
 * VELTA_SALVAGE_SEED replays it alone.
 *
 * One thing cannot be noticed by anybody: a log that is cut exactly where it ended at an earlier time. So where files
 * were cut, and the log ends behind a whole batch or is that of an earlier checkpoint, it need not be told that there
 * was more.
 */
#include "tests/unit/salvage_original.h"

#include "core/column_slab.h"
#include "store/database.h"

#if defined(__SANITIZE_ADDRESS__)
enum { SLOWER = 8 };
#else
enum { SLOWER = 1 };
#endif
enum { MANY = 20000, LONG_DIMENSIONS = 16 }; /* of the table with several parts of everything */
enum { MAX_LOSSES = 4096, DAMAGES = 12000 / SLOWER, CRAFTED = 4000 / SLOWER };

/* ---- what salvage says */

struct told {
    struct velta_loss losses[MAX_LOSSES];
    char names[MAX_LOSSES][2][16];
    size_t count;
    size_t real;     /* without those that lost nothing */
    bool forget_one; /* canary: the first loss is not heard */
};

static void hear(void *context, const struct velta_loss *loss) {
    struct told *told = context;
    assert_true(loss->text[0] != '\0' && loss->kind >= VELTA_LOSS_VALUES && loss->kind <= VELTA_LOSS_NOTHING);
    if (loss->kind != VELTA_LOSS_NOTHING && told->forget_one) {
        told->forget_one = false;
        return;
    }
    assert_true(told->count < MAX_LOSSES);
    told->losses[told->count] = *loss;
    snprintf(told->names[told->count][0], 16, "%s", loss->table ? loss->table : "");
    snprintf(told->names[told->count][1], 16, "%s", loss->column ? loss->column : "");
    told->count++;
    told->real += loss->kind != VELTA_LOSS_NOTHING;
}

/* Whether a loss of this kind was told that covers the row (VELTA_NO_ROW: any) of the table's column. */
static bool is_told(const struct told *told, enum velta_loss_kind kind, const char *table, const char *column,
                    uint32_t row) {
    for (size_t i = 0; i < told->count; i++) {
        const struct velta_loss *loss = &told->losses[i];
        if (loss->kind == kind && strcmp(told->names[i][0], table) == 0 &&
            (!loss->column || strcmp(told->names[i][1], column) == 0) &&
            (row == VELTA_NO_ROW || (row >= loss->first_row && row - loss->first_row < loss->row_count))) {
            return true;
        }
    }
    return false;
}

/* Whether it said that what came after this change is lost. */
static bool is_end_told(const struct told *told, uint64_t sequence) {
    for (size_t i = 0; i < told->count; i++) {
        const struct velta_loss *loss = &told->losses[i];
        if (loss->kind == VELTA_LOSS_CHANGES && loss->row_count == 0 && loss->sequence <= sequence) {
            return true;
        }
    }
    return false;
}

/* ---- comparing */

struct comparison {
    const struct told *told;
    velta *expected;
    velta *actual;
    size_t silent;
    char first[200];
};

static void silent(struct comparison *comparison, const char *what, const char *table, const char *column,
                   uint32_t row) {
    if (comparison->silent++ == 0) {
        snprintf(comparison->first, sizeof comparison->first, "%s: table %s, column %s, row %u", what, table, column,
                 row);
    }
}

/* A value now, as bytes; false: NULL. */
static bool value_now(const struct snapshot_table *owner, uint32_t c, uint32_t row, float *vector, const void **bytes,
                      size_t *size_bytes, int64_t *number) {
    const struct column *column = owner->table->columns[c];
    if (column_is_null(column, row)) return false;
    *bytes = number;
    *size_bytes = sizeof *number;
    switch (column->spec.type) {
    case VELTA_STRING:
    case VELTA_BYTES:
        *bytes = column_text(column, row, size_bytes);
        break;
    case VELTA_FLOAT: {
        double value = column_float(column, row);
        memcpy(number, &value, sizeof value);
        break;
    }
    case VELTA_VECTOR:
        if (column->spec.element == VELTA_CODES) {
            hnsw_decode(owner->indexes[c], row, vector);
        } else {
            column_get_vector(column, row, vector);
        }
        *bytes = vector;
        *size_bytes = column->spec.dimensions * sizeof *vector;
        break;
    default:
        *number = column_integer(column, row);
    }
    return true;
}

/* Codes-only vectors of rows that have new numbers are coded again from what they stood for. */
static bool same_codes(const float *a, const float *b, uint32_t dimensions) {
    for (uint32_t i = 0; i < dimensions; i++) {
        if (!(a[i] - b[i] < 1e-5F && b[i] - a[i] < 1e-5F)) return false;
    }
    return true;
}

static bool same_value(const struct snapshot_table *a, uint32_t row_a, const struct snapshot_table *b, uint32_t row_b,
                       uint32_t c, bool *b_is_null) {
    float vectors[2][LONG_DIMENSIONS];
    const void *bytes[2];
    size_t sizes[2];
    int64_t numbers[2];
    bool there = value_now(a, c, row_a, vectors[0], &bytes[0], &sizes[0], &numbers[0]);
    *b_is_null = !value_now(b, c, row_b, vectors[1], &bytes[1], &sizes[1], &numbers[1]);
    if (!there || *b_is_null || sizes[0] != sizes[1]) return there == !*b_is_null && !there;
    bool same = memcmp(bytes[0], bytes[1], sizes[0]) == 0;
    const struct velta_column *spec = &a->table->columns[c]->spec;
    if (same || spec->type != VELTA_VECTOR || spec->element != VELTA_CODES) return same;
    return same_codes(vectors[0], vectors[1], spec->dimensions);
}

/* The same for a past change; vectors by themselves, because codes-only ones are read through the index. */
static bool same_past(const struct snapshot_table *a, uint32_t row_a, const struct snapshot_table *b, uint32_t row_b,
                      uint32_t c, uint64_t sequence) {
    if (a->table->columns[c]->spec.type == VELTA_VECTOR) {
        float vectors[2][LONG_DIMENSIONS];
        bool there = history_vector(a->history, a->table, c, row_a, sequence, commit_codes_vector, (void *)(uintptr_t)a,
                                    vectors[0]);
        bool other = history_vector(b->history, b->table, c, row_b, sequence, commit_codes_vector, (void *)(uintptr_t)b,
                                    vectors[1]);
        uint32_t dimensions = a->table->columns[c]->spec.dimensions;
        bool same =
            !there || !other || memcmp(vectors[0], vectors[1], dimensions * sizeof(float)) == 0 ||
            (a->table->columns[c]->spec.element == VELTA_CODES && same_codes(vectors[0], vectors[1], dimensions));
        return there == other && same;
    }
    struct column_scalar values[2] = {{0}};
    bool there = history_scalar(a->history, a->table, c, row_a, sequence, &values[0]);
    bool other = history_scalar(b->history, b->table, c, row_b, sequence, &values[1]);
    return there == other &&
           (!there || (values[0].integer == values[1].integer && values[0].number == values[1].number &&
                       values[0].text_bytes == values[1].text_bytes &&
                       memcmp(values[0].text ? values[0].text : "", values[1].text ? values[1].text : "",
                              values[0].text_bytes) == 0));
}

/* The row of the salvaged table that is this one of the original. */
static uint32_t twin_of(const struct table *from, uint32_t row, const struct table *to) {
    const struct column *key = from->key_column;
    if (!key) return row < to->row_count && bitmap_get(to->live.words, row) ? row : VELTA_NO_ROW;
    if (key->spec.type == VELTA_INT) return table_find_int(to, column_integer(key, row));
    size_t size_bytes;
    const void *text = column_text(key, row, &size_bytes);
    return table_find_text(to, text, size_bytes);
}

static void compare_expiry(struct comparison *comparison, const struct table *a, uint32_t row_a, const struct table *b,
                           uint32_t row_b) {
    bool there = a->expiry && !column_is_null(a->expiry, row_a);
    bool other = b->expiry && !column_is_null(b->expiry, row_b);
    bool same = there == other && (!there || column_integer(a->expiry, row_a) == column_integer(b->expiry, row_b));
    if (!same && !(is_told(comparison->told, VELTA_LOSS_EXPIRY, a->name, "", row_a) && !other)) {
        silent(comparison, "another expiry", a->name, "", row_a);
    }
}

static void compare_row(struct comparison *comparison, const struct snapshot_table *a, uint32_t row_a,
                        const struct snapshot_table *b, uint32_t row_b, uint64_t sequence) {
    const char *name = a->table->name;
    for (uint32_t c = 0; c < a->table->column_count; c++) {
        const char *column = a->table->columns[c]->spec.name;
        bool null = false;
        bool told = is_told(comparison->told, VELTA_LOSS_VALUES, name, column, row_a) ||
                    is_told(comparison->told, VELTA_LOSS_CHANGES, name, column, row_a);
        bool same = same_value(a, row_a, b, row_b, c, &null);
        if (!same && !(told && null)) silent(comparison, "another value", name, column, row_a);
        if (!told && history_keeps(b->history, sequence) && history_row_alive(a->history, a->table, row_a, sequence) &&
            !same_past(a, row_a, b, row_b, c, sequence)) {
            silent(comparison, "another past", name, column, row_a);
        }
    }
    compare_expiry(comparison, a->table, row_a, b->table, row_b);
    if (history_keeps(b->history, sequence) && history_row_alive(a->history, a->table, row_a, sequence) !=
                                                   history_row_alive(b->history, b->table, row_b, sequence)) {
        silent(comparison, "another birth", name, "", row_a);
    }
}

static void compare_table(struct comparison *comparison, const struct snapshot_table *a, const struct snapshot_table *b,
                          uint64_t sequence) {
    const char *name = a->table->name;
    bool changed_numbers = false;
    uint32_t found = 0;
    for (uint32_t row = 0; row < a->table->row_count; row++) {
        if (!bitmap_get(a->table->live.words, row)) continue;
        uint32_t twin = twin_of(a->table, row, b->table);
        found += twin != VELTA_NO_ROW;
        if (twin != VELTA_NO_ROW) {
            compare_row(comparison, a, row, b, twin, sequence);
        } else if (!is_told(comparison->told, VELTA_LOSS_ROWS, name, "", row)) {
            silent(comparison, "a row is gone", name, "", row);
        }
    }
    changed_numbers = b->table->live_count > found;
    if (changed_numbers && !is_told(comparison->told, VELTA_LOSS_DELETIONS, name, "", VELTA_NO_ROW)) {
        silent(comparison, "a row too many", name, "", VELTA_NO_ROW);
    }
    if (history_keeps(a->history, 1) && !history_keeps(b->history, 1) &&
        !is_told(comparison->told, VELTA_LOSS_HISTORY, name, "", VELTA_NO_ROW)) {
        silent(comparison, "history is gone", name, "", VELTA_NO_ROW);
    }
}

static void compare(struct comparison *comparison, uint64_t past) {
    const struct snapshot_state *a = &comparison->expected->state;
    const struct snapshot_state *b = &comparison->actual->state;
    if (a->table_count != b->table_count || a->tag_count != b->tag_count) {
        silent(comparison, "tables or tags are missing", "", "", VELTA_NO_ROW);
        return;
    }
    for (size_t i = 0; i < a->tag_count; i++) {
        if (strcmp(a->tags[i].name, b->tags[i].name) != 0 || a->tags[i].sequence != b->tags[i].sequence) {
            silent(comparison, "another tag", "", a->tags[i].name, VELTA_NO_ROW);
        }
    }
    for (size_t t = 0; t < a->table_count; t++) {
        compare_table(comparison, &a->tables[t], &b->tables[t], past);
    }
}

/* ---- one damaged state */

enum cut { NOT_CUT, CUT };

struct trial {
    const struct original *original;
    struct told *told;
    size_t states, refused, listed, silent;
    bool canary;
};

/* Whether the log is of an earlier checkpoint, so that nobody looks at it. */
static bool log_is_stale(const struct fake_file *log, const struct fake_file *original) {
    struct storage_frame first;
    struct storage_frame right;
    return log->size_bytes >= STORAGE_FRAME_HEADER_BYTES && storage_frame_decode(log->bytes, &first) &&
           storage_frame_decode(original->bytes, &right) && first.generation < right.generation;
}

/* Whether the log ends where a store's log may have ended: right behind a batch, or behind a frame without a body. */
static bool log_ends_whole(const struct fake_file *log) {
    uint64_t end = 0;
    bool ended = false;
    for (uint64_t at = 0; at + STORAGE_FRAME_HEADER_BYTES <= log->size_bytes; at++) {
        struct storage_frame frame;
        if (!storage_frame_decode(log->bytes + at, &frame)) continue;
        ended = frame.flags & STORAGE_FRAME_COMMIT;
        end = at + STORAGE_FRAME_HEADER_BYTES + frame.body_bytes;
    }
    return end == log->size_bytes && ended;
}

static void export_and_verify(velta *db, const char *what) {
    struct velta_error error = {0};
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    velta *copy = NULL;
    assert_ok(velta_export(db, &bytes, &size_bytes, NULL, &error), &error);
    if (velta_import(bytes, size_bytes, &(struct velta_options){.thread_count = 1}, &copy, &error) != VELTA_OK ||
        velta_verify(copy, NULL, &error) != VELTA_OK) {
        fail_msg("%s: the export of what was saved: %s", what, error.text);
    }
    velta_export_free(db, bytes, size_bytes);
    assert_int_equal(velta_close(copy, NULL), VELTA_OK);
}

static void try_files(struct trial *trial, struct fake_storage *files, enum cut cut, const char *what) {
    struct velta_error error = {0};
    struct velta_stats stats;
    velta *db = NULL;
    struct velta_host host = host_over(files);
    struct velta_options options = {.host = &host, .thread_count = 1, .chain_interval = 3};
    trial->told->count = trial->told->real = 0;
    trial->told->forget_one = trial->canary;
    trial->states++;
    enum velta_status status = velta_salvage(NULL, &options, hear, trial->told, &db, &error);
    if (status == VELTA_CORRUPT || (cut == CUT && status == VELTA_NOT_FOUND)) {
        trial->refused++; /* nothing at all: that is said as well */
        return;
    }
    if (status) fail_msg("%s: %s", what, error.text);
    velta_get_stats(db, &stats);
    const struct original *original = trial->original;
    size_t step = 0;
    while (step < original->step_count && original->steps[step].sequence != stats.sequence)
        step++;
    if (step == original->step_count) fail_msg("%s: change %u was never the last", what, (unsigned)stats.sequence);
    struct comparison comparison = {.told = trial->told, .expected = original->steps[step].db, .actual = db};
    compare(&comparison, original->steps[trial->states % (step + 1)].sequence);
    if (step + 1 < original->step_count && !is_end_told(trial->told, stats.sequence) &&
        !(cut == CUT && (log_ends_whole(&files->now[STORAGE_LOG]) ||
                         log_is_stale(&files->now[STORAGE_LOG], &original->files.now[STORAGE_LOG])))) {
        silent(&comparison, "later changes are lost", "", "", VELTA_NO_ROW);
    }
    if (comparison.silent > 0 && !trial->canary) {
        for (size_t i = 0; i < trial->told->count; i++) {
            print_message("  told: %s %s %s\n", trial->told->names[i][0], trial->told->names[i][1],
                          trial->told->losses[i].text);
        }
        fail_msg("%s: lost in silence: %s", what, comparison.first);
    }
    trial->listed += trial->told->real;
    trial->silent += comparison.silent;
    export_and_verify(db, what);
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
}

/* ---- damaging */

static void flip(struct fake_storage *files, enum storage_file file, uint64_t at, unsigned bit) {
    if (files->now[file].size_bytes > 0) {
        files->now[file].bytes[at % files->now[file].size_bytes] ^= (uint8_t)(1 << bit);
    }
}

static void overwrite(struct fake_storage *files, enum storage_file file, uint64_t from, uint64_t size_bytes,
                      uint8_t with) {
    uint64_t end = files->now[file].size_bytes;
    if (from < end) memset(files->now[file].bytes + from, with, size_bytes < end - from ? size_bytes : end - from);
}

static void swap_blocks(struct fake_storage *files, enum storage_file file, struct random *random,
                        uint64_t size_bytes) {
    uint64_t blocks = files->now[file].size_bytes / size_bytes;
    uint8_t kept[4096];
    if (blocks < 2) return;
    uint8_t *one = files->now[file].bytes + random_below(random, blocks) * size_bytes;
    uint8_t *other = files->now[file].bytes + random_below(random, blocks) * size_bytes;
    memcpy(kept, one, size_bytes);
    memmove(one, other, size_bytes);
    memcpy(other, kept, size_bytes);
}

/* One random damage; true: it shortens a file or takes one of another time. */
static enum cut damage(const struct original *original, struct fake_storage *files, struct random *random) {
    enum storage_file file = random_chance(random, 65) ? STORAGE_DATA : STORAGE_LOG;
    uint64_t size_bytes = files->now[file].size_bytes;
    uint64_t at = size_bytes > 0 ? random_below(random, size_bytes) : 0;
    switch (random_below(random, 10)) {
    case 0:
        overwrite(files, file, at / 4096 * 4096, 4096, 0);
        return NOT_CUT;
    case 1:
        overwrite(files, file, at / 64 * 64, 64, random_chance(random, 50) ? 0 : 0xFF);
        return NOT_CUT;
    case 2:
        files->now[file].size_bytes = random_chance(random, 30) ? at / 64 * 64 : at;
        return CUT;
    case 3:
        swap_blocks(files, file, random, file == STORAGE_DATA ? 4096 : 64);
        return NOT_CUT;
    case 4:
        flip(files, STORAGE_DATA, random_below(random, 2 * 4096), (unsigned)random_below(random, 8));
        return NOT_CUT;
    case 5:
        fake_storage_set(files, file, original->before.now[file].bytes, original->before.now[file].size_bytes);
        return CUT;
    case 6:
        random_bytes(random, files->now[file].bytes + at, (size_t)(size_bytes - at < 512 ? size_bytes - at : 512));
        return NOT_CUT;
    default:
        flip(files, file, at, (unsigned)random_below(random, 8));
        return NOT_CUT;
    }
}

static struct told told; /* large */

static void what_is_whole_is_saved_wholly(void **state) {
    (void)state;
    struct original *original = original_make();
    struct trial trial = {.original = original, .told = &told};
    struct velta_error error = {0};
    velta *db;
    struct velta_host host = host_over(&original->files);
    struct velta_options options = {.host = &host};
    try_files(&trial, &original->files, NOT_CUT, "undamaged");
    assert_int_equal(told.count, 0);
    assert_ok(velta_salvage(NULL, &options, NULL, NULL, &db, &error), &error);
    assert_int_equal(digest(db), digest(original->steps[original->step_count - 1].db));
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
    try_files(&trial, &original->before, CUT, "earlier files");
    assert_int_equal(told.count, 0);
    /* A read that fails once is tried again in pieces. */
    for (uint64_t fails = 3; fails < 20; fails++) {
        original->files.operation_count = 0;
        original->files.fail_at = fails;
        original->files.fail_status = VELTA_IO;
        try_files(&trial, &original->files, NOT_CUT, "a read that fails once");
        assert_int_equal(told.real, 0);
        original->files.operation_count = 0;
        original->files.fail_from_then_on = true;
        try_files(&trial, &original->files, CUT, "reads that fail from then on");
        original->files.fail_from_then_on = false;
        original->files.fail_at = 0;
    }
    original_free(original);
}

static size_t every_flip(struct trial *trial, struct fake_storage *files) {
    const struct original *original = trial->original;
    char what[80];
    for (int file = STORAGE_DATA; file <= STORAGE_LOG; file++) {
        uint64_t stride = file == STORAGE_DATA ? 61 * SLOWER : 1 + 3 * (SLOWER - 1);
        for (uint64_t at = 0; at < original->files.now[file].size_bytes; at += stride) {
            copy_files(&original->files, files);
            flip(files, (enum storage_file)file, at, (unsigned)at % 8);
            snprintf(what, sizeof what, "file %d, byte %u flipped", file, (unsigned)at);
            try_files(trial, files, NOT_CUT, what);
        }
    }
    return trial->states;
}

static void every_segment_and_length(struct trial *trial, struct fake_storage *files) {
    const struct original *original = trial->original;
    char what[80];
    for (int file = STORAGE_DATA; file <= STORAGE_LOG; file++) {
        uint64_t block = file == STORAGE_DATA ? 4096 : 64;
        for (uint64_t at = 0; at < original->files.now[file].size_bytes; at += block) {
            copy_files(&original->files, files);
            overwrite(files, (enum storage_file)file, at, block, 0);
            snprintf(what, sizeof what, "file %d, block at %u zeroed", file, (unsigned)at);
            try_files(trial, files, NOT_CUT, what);
            copy_files(&original->files, files);
            files->now[file].size_bytes = at;
            snprintf(what, sizeof what, "file %d cut to %u", file, (unsigned)at);
            try_files(trial, files, CUT, what);
        }
    }
}

static void nothing_is_lost_in_silence(void **state) {
    (void)state;
    struct original *original = original_make();
    struct trial trial = {.original = original, .told = &told};
    struct fake_storage files;
    fake_storage_init(&files);
    const char *replayed = getenv("VELTA_SALVAGE_SEED"); /* this one alone */
    uint64_t first = replayed ? strtoull(replayed, NULL, 10) : 1;
    uint64_t last = replayed ? first : test_rounds(DAMAGES);
    if (!replayed) {
        every_flip(&trial, &files);
        every_segment_and_length(&trial, &files);
    }
    for (uint64_t seed = first; seed <= last; seed++) {
        struct random random = random_seeded(seed);
        enum cut cut = NOT_CUT;
        char what[80];
        copy_files(&original->files, &files);
        for (uint64_t count = 1 + random_below(&random, 5); count > 0; count--) {
            cut |= damage(original, &files, &random);
        }
        snprintf(what, sizeof what, "seed %u", (unsigned)seed);
        try_files(&trial, &files, cut, what);
    }
    assert_true(replayed || (trial.refused < trial.states / 4 && trial.listed > trial.states / 4));
    print_message("figure: salvage_states %zu\n", trial.states);
    print_message("figure: salvage_listed_losses %zu\n", trial.listed);
    print_message("figure: salvage_silent_losses %zu\n", trial.silent);
    fake_storage_release(&files);
    original_free(original);
}

/* Were one loss not told, it would be noticed, unless another one tells the same or the log sets the values anew. */
static void a_loss_left_out_is_noticed(void **state) {
    (void)state;
    struct original *original = original_make();
    struct trial trial = {.original = original, .told = &told, .canary = true};
    struct fake_storage files;
    size_t noticed = 0;
    size_t left_out = 0;
    fake_storage_init(&files);
    for (uint64_t at = 2 * 4096; at < original->files.now[STORAGE_DATA].size_bytes; at += 4096) {
        size_t before = trial.silent;
        copy_files(&original->files, &files);
        overwrite(&files, STORAGE_DATA, at, 4096, 0);
        try_files(&trial, &files, NOT_CUT, "canary");
        left_out += !told.forget_one;
        noticed += trial.silent > before;
    }
    assert_true(left_out > 10 && noticed * 10 >= left_out * 7);
    fake_storage_release(&files);
    original_free(original);
}

/* ---- right checksums, wrong contents */

/* Changes bytes of segments, and all checksums above them. */
static void craft_export(uint8_t *bytes, struct random *random) {
    struct storage_root root;
    if (storage_root_decode(bytes, 0, &root) != STORAGE_ROOT_VALID) fail_msg("an export has a root");
    size_t count = (size_t)(root.directory_bytes / STORAGE_DIRECTORY_ENTRY_BYTES);
    struct segment *segments = malloc(count * sizeof *segments);
    uint8_t *directory = bytes + root.directory_offset;
    assert_int_equal(storage_directory_decode(directory, &root, segments, count, NULL), VELTA_OK);
    for (uint64_t times = 1 + random_below(random, 3); times > 0; times--) {
        struct segment *segment = &segments[random_below(random, count)];
        if (segment->size_bytes == 0) continue;
        uint64_t at = random_chance(random, 50)
                          ? random_below(random, segment->size_bytes)
                          : random_below(random, segment->size_bytes < 64 ? segment->size_bytes : 64);
        uint8_t *byte = &bytes[segment->offset + at];
        *byte = (uint8_t)(random_chance(random, 50) ? random_u64(random) : *byte + UINT64_C(1));
        if (random_chance(random, 10)) segment->size_bytes = random_below(random, segment->size_bytes);
        if (random_chance(random, 5)) segment->key.part += 1;
        segment->checksum = hash_bytes(bytes + segment->offset, (size_t)segment->size_bytes);
    }
    storage_directory_encode(segments, count, directory);
    root.directory_checksum = hash_bytes(directory, (size_t)root.directory_bytes);
    storage_root_encode(&root, bytes);
    free(segments);
}

/* Changes bytes of bodies, and the chain of checksums. */
static void craft_log(struct fake_file *log, struct random *random) {
    uint64_t previous = 0;
    for (uint64_t at = 0; log->size_bytes - at >= STORAGE_FRAME_HEADER_BYTES;) {
        struct storage_frame frame;
        uint8_t *body = log->bytes + at + STORAGE_FRAME_HEADER_BYTES;
        if (!storage_frame_decode(log->bytes + at, &frame)) return;
        if (frame.body_bytes > 0 && random_chance(random, 20)) {
            body[random_below(random, frame.body_bytes)] ^= (uint8_t)(1 << random_below(random, 8));
        }
        if (random_chance(random, 3)) frame.flags ^= STORAGE_FRAME_COMMIT;
        frame.previous = previous;
        frame.body_checksum = hash_bytes(body, frame.body_bytes);
        storage_frame_encode(&frame, log->bytes + at);
        previous = frame.checksum;
        at += STORAGE_FRAME_HEADER_BYTES + (uint64_t)frame.body_bytes;
    }
}

static bool salvage_crafted(struct fake_storage *files, const char *what) {
    struct velta_error error = {0};
    struct velta_host host = host_over(files);
    struct velta_options options = {.host = &host, .thread_count = 1, .memory_budget_bytes = 64 << 20};
    velta *db = NULL;
    told.count = told.real = 0;
    enum velta_status status = velta_salvage(NULL, &options, hear, &told, &db, &error);
    if (status) {
        assert_true(status == VELTA_CORRUPT || status == VELTA_VERSION || status == VELTA_OVER_BUDGET);
        assert_true(error.text[0] != '\0');
        return false;
    }
    export_and_verify(db, what);
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
    return true;
}

static void hostile_contents_are_refused_or_saved_soundly(void **state) {
    (void)state;
    struct original *original = original_make();
    struct velta_error error = {0};
    struct fake_storage files;
    uint8_t *bytes;
    uint64_t size_bytes;
    velta *last = original->steps[original->step_count - 1].db;
    size_t saved = 0;
    fake_storage_init(&files);
    assert_ok(velta_export(last, &bytes, &size_bytes, NULL, &error), &error);
    for (uint64_t seed = 1; seed <= test_rounds(CRAFTED); seed++) {
        struct random random = random_seeded(seed);
        char what[40];
        snprintf(what, sizeof what, "crafted, seed %u", (unsigned)seed);
        if (seed % 2) {
            fake_storage_set(&files, STORAGE_DATA, bytes, size_bytes);
            fake_storage_set(&files, STORAGE_LOG, NULL, 0);
            craft_export(files.now[STORAGE_DATA].bytes, &random);
        } else {
            copy_files(&original->files, &files);
            craft_log(&files.now[STORAGE_LOG], &random);
        }
        saved += salvage_crafted(&files, what);
    }
    assert_true(saved > test_rounds(CRAFTED) / 2);
    velta_export_free(last, bytes, size_bytes);
    fake_storage_release(&files);
    original_free(original);
}

/* ---- several parts of everything */

static void make_many(velta *db, velta_table **table) {
    static const struct velta_column schema[] = {
        {.name = "id", .type = VELTA_INT, .primary_key = true},
        {.name = "text", .type = VELTA_STRING},
        {.name = "c", .type = VELTA_VECTOR, .dimensions = LONG_DIMENSIONS, .element = VELTA_CODES},
    };
    struct velta_error error = {0};
    struct random random = random_seeded(9);
    int64_t *ids = malloc(MANY * sizeof *ids);
    char *texts = malloc(MANY * 8);
    uint64_t *offsets = calloc(MANY + 1, sizeof *offsets);
    float *vectors = malloc((size_t)MANY * LONG_DIMENSIONS * sizeof *vectors);
    for (uint32_t i = 0; i < MANY; i++) {
        ids[i] = i;
        offsets[i + 1] = offsets[i] + (uint64_t)sprintf(texts + offsets[i], "t%u", i);
    }
    random_vector(&random, vectors, (size_t)MANY * LONG_DIMENSIONS);
    struct velta_values values[] = {{.column = "id", .data = ids},
                                    {.column = "text", .data = texts, .offsets = offsets},
                                    {.column = "c", .data = vectors}};
    assert_ok(velta_table_create(db, "many", schema, 3, table, &error), &error);
    assert_ok(velta_insert(*table, values, 3, MANY, NULL, NULL, &error), &error);
    free(ids);
    free(texts);
    free(offsets);
    free(vectors);
}

static void a_lost_part_takes_no_other_with_it(void **state) {
    (void)state;
    static const struct {
        struct segment_key key;
        const char *column;
        uint32_t least, most; /* values lost */
    } cases[] = {
        {{SEGMENT_DICTIONARY, 0, 1, 0}, "text", 16384, 16384},
        {{SEGMENT_DICTIONARY, 0, 1, 1}, "text", MANY - 16384, MANY - 16384},
        {{SEGMENT_CODES, 0, 2, 2}, "c", 64, MANY / 4},
        {{SEGMENT_CODES, 0, 2, 0}, "c", MANY, MANY},
        {{SEGMENT_GRAPH, 0, 2, 1}, "c", 0, 0},
    };
    struct velta_error error = {0};
    struct fake_storage files;
    struct fake_storage damaged;
    velta_table *table;
    velta *db = NULL;
    fake_storage_init(&files);
    fake_storage_init(&damaged);
    files.keep_durable = false;
    struct velta_host host = host_over(&files);
    struct velta_options options = {.host = &host, .thread_count = 1};
    assert_ok(velta_open(NULL, &options, &db, &error), &error);
    make_many(db, &table);
    assert_ok(velta_checkpoint(db, NULL, &error), &error);
    host = host_over(&damaged);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        velta *saved = NULL;
        velta_table *again;
        uint32_t lost = 0;
        copy_files(&files, &damaged);
        overwrite_segment(&damaged, &cases[i].key);
        told.count = told.real = 0;
        assert_ok(velta_salvage(NULL, &options, hear, &told, &saved, &error), &error);
        assert_ok(velta_table_find(saved, "many", &again, &error), &error);
        assert_int_equal(velta_live_count(again), MANY);
        for (uint32_t row = 0; row < MANY; row++) {
            bool null = false;
            uint32_t c = cases[i].key.column;
            bool same = same_value(database_table(table), row, database_table(again), row, c, &null);
            lost += !same;
            assert_true(same || (null && is_told(&told, VELTA_LOSS_VALUES, "many", cases[i].column, row)));
        }
        assert_in_range(lost, cases[i].least, cases[i].most);
        assert_int_equal(told.real, lost > 0);
        export_and_verify(saved, cases[i].column);
        assert_int_equal(velta_close(saved, NULL), VELTA_OK);
    }
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
    fake_storage_release(&files);
    fake_storage_release(&damaged);
}

/* ---- rules of the call */

/* A column that the table requires: its rows go, and with them what history tells of them. */
static void rows_without_a_required_value_go(void **state) {
    (void)state;
    struct original *original = original_make();
    struct fake_storage files;
    struct velta_error error = {0};
    velta_table *table;
    velta *db = NULL;
    fake_storage_init(&files);
    copy_files(&original->files, &files);
    overwrite_segment(&files, &(struct segment_key){SEGMENT_COLUMN, 1, 1, 0});
    struct velta_host host = host_over(&files);
    struct velta_options options = {.host = &host, .thread_count = 1};
    told.count = told.real = 0;
    assert_ok(velta_salvage(NULL, &options, hear, &told, &db, &error), &error);
    assert_true(is_told(&told, VELTA_LOSS_VALUES, "words", "weight", 0));
    assert_true(is_told(&told, VELTA_LOSS_ROWS, "words", "", 29));
    assert_ok(velta_table_find(db, "words", &table, &error), &error);
    assert_int_equal(velta_live_count(table), 7); /* those of the log */
    /* A database like any other: it goes on. */
    insert_words(table, 90, 3);
    assert_int_equal(velta_live_count(table), 10);
    assert_verifies(db);
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
    fake_storage_release(&files);
    original_free(original);
}

static bool stop(void *context, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return (*(int *)context)-- > 0;
}

static void refusals_say_why(void **state) {
    (void)state;
    struct original *original = original_make();
    struct fake_storage empty;
    struct velta_error error = {0};
    velta *db = NULL;
    fake_storage_init(&empty);
    struct velta_host host = host_over(&empty);
    struct velta_options options = {.host = &host};
    assert_status(velta_salvage(NULL, &options, NULL, NULL, &db, &error), VELTA_NOT_FOUND);
    assert_status(velta_salvage(NULL, NULL, NULL, NULL, &db, NULL), VELTA_INVALID);
    assert_status(velta_salvage("x", &options, NULL, NULL, &db, &error), VELTA_INVALID);
    const char *absent = test_path(test_folder(), "absent.velta");
    assert_status(velta_salvage(absent, NULL, NULL, NULL, &db, &error), VELTA_NOT_FOUND);
    fake_storage_set(&empty, STORAGE_DATA, "no store at all", 15);
    assert_status(velta_salvage(NULL, &options, NULL, NULL, &db, &error), VELTA_CORRUPT);
    assert_non_null(strstr(error.text, "nothing can be saved"));
    copy_files(&original->files, &empty);
    int cancelled = 0;
    for (int reports = 0; !db; reports++) {
        int left = reports;
        options.progress = (struct velta_progress){.report = stop, .context = &left};
        if (velta_salvage(NULL, &options, NULL, NULL, &db, &error) != VELTA_OK) {
            assert_status(error.code, VELTA_CANCELLED);
            assert_null(db);
            cancelled++;
        }
    }
    assert_true(cancelled > 20);
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
    fake_storage_release(&empty);
    original_free(original);
}

static void a_store_that_is_being_written_is_locked(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "held.velta");
    struct velta_error error = {0};
    velta_table *table;
    velta *saved = NULL;
    velta *db = sample_open(NULL, path, &table);
    assert_status(velta_salvage(path, NULL, NULL, NULL, &saved, &error), VELTA_LOCKED);
    uint64_t before = digest(db);
    assert_int_equal(velta_close(db, NULL), VELTA_OK);
    assert_ok(velta_salvage(path, NULL, NULL, NULL, &saved, &error), &error);
    assert_int_equal(digest(saved), before);
    assert_int_equal(velta_close(saved, NULL), VELTA_OK);
}

static bool attempt_salvage(struct test_allocator *allocator, void *context) {
    struct velta_error error = {0};
    struct velta_host host = host_over(context);
    struct velta_options options = {.host = &host, .thread_count = 1, .allocator = &allocator->allocator};
    velta *db = NULL;
    told.count = told.real = 0;
    test_allocator_rearm(allocator);
    enum velta_status status = velta_salvage(NULL, &options, hear, &told, &db, &error);
    test_allocator_disarm(allocator);
    if (status) {
        assert_status(status, VELTA_NO_MEMORY);
        assert_null(db);
    } else {
        assert_int_equal(velta_close(db, NULL), VELTA_OK);
    }
    test_allocator_check_empty(allocator);
    return status == VELTA_OK;
}

static void memory_refused_anywhere_leaks_nothing(void **state) {
    (void)state;
    struct original *original = original_make();
    struct test_allocator allocator;
    struct fake_storage files;
    static const struct segment_key lost[][2] = {
        {{SEGMENT_DICTIONARY, 0, 1, 0}, {SEGMENT_VECTORS, 0, 7, 0}},
        {{SEGMENT_ROWS, 0, 0, 0}, {SEGMENT_HISTORY, 0, 0, 1}},
        {{SEGMENT_COLUMN, 1, 1, 0}, {SEGMENT_CODES, 0, 9, 1}},
        {{SEGMENT_GRAPH, 0, 7, 1}, {SEGMENT_CODES, 0, 8, 1}},
    };
    fake_storage_init(&files);
    test_allocator_init(&allocator);
    uint64_t runs = 0;
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        copy_files(&original->files, &files);
        overwrite_segment(&files, &lost[i][0]);
        overwrite_segment(&files, &lost[i][1]);
        flip(&files, STORAGE_LOG, files.now[STORAGE_LOG].size_bytes - 10, 1);
        runs += test_every_allocation_fails(&allocator, attempt_salvage, &files);
    }
    assert_true(runs > 200);
    print_message("figure: allocations_refused %llu\n", (unsigned long long)runs);
    fake_storage_release(&files);
    original_free(original);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_whole_is_saved_wholly),
        cmocka_unit_test(nothing_is_lost_in_silence),
        cmocka_unit_test(a_loss_left_out_is_noticed),
        cmocka_unit_test(hostile_contents_are_refused_or_saved_soundly),
        cmocka_unit_test(a_lost_part_takes_no_other_with_it),
        cmocka_unit_test(rows_without_a_required_value_go),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(a_store_that_is_being_written_is_locked),
        cmocka_unit_test(memory_refused_anywhere_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
