/*
 * DATA and LOG together: roots, directory, segments, frames; damaged by their fields, opened, used, written on, opened
 * again.
 *
 * An input is not the files but what is done to them, so that it is short and outlives changes of the format: bytes 0
 * and 1 choose whose DATA and whose LOG to take of four lives of one store, byte 2 what is not repaired afterwards,
 * byte 3 what is done (32: salvage first); then edits of 16 bytes each: kind, two choices, how the number is
 * made, u32 place, u64 number. Fields as docs/FORMAT.md gives them.
 *
 * Whatever opens, or is salvaged, can be used, and what was sound stays sound over writing, closing, opening and
 * checkpoints. Where no checksum was repaired, the state must be one that the store really had: damage is never
 * returned as data.
 */
#include "tests/fuzz/fuzz.h"

#include "delta/storage_format.h"

enum {
    LIVES = 4,
    HEAD_BYTES = 4,
    EDIT_BYTES = 16,
    MAX_EDITS = 16,
    MAX_STATES = 512,
    MAX_FRAMES = 256,
    ROOM_BYTES = 1 << 20, /* of a file that edits make longer */
};

/* What is not repaired: bits of byte 2. */
enum { KEEP_SEGMENTS = 1, KEEP_DIRECTORY = 2, KEEP_ROOTS = 4, KEEP_ROOT_CHAIN = 8, KEEP_SALTS = 16, KEEP_FRAMES = 32 };
enum { KEEP_ALL = 63 };

enum edit_kind {
    EDIT_ROOT,       /* a field of a root */
    EDIT_ENTRY,      /* a field of a directory's entry */
    EDIT_SEGMENT,    /* a number in a segment */
    EDIT_FRAME,      /* a field of a frame's header */
    EDIT_BODY,       /* a number in a frame's body */
    EDIT_ANYWHERE,   /* a number in a file */
    EDIT_SIZE,       /* a file's length */
    EDIT_COPY_ROOT,  /* the root of another life, or of the other slot */
    EDIT_MOVE_FRAME, /* a frame dropped, repeated, swapped with the next, or taken from another life */
    EDIT_KINDS,
};

struct field {
    uint32_t at;
    uint32_t width;
};
static const struct field root_fields[] = {{0, 8},  {8, 4},  {12, 4}, {16, 8}, {24, 8}, {32, 8}, {40, 8},  {48, 8},
                                           {56, 8}, {64, 8}, {72, 8}, {80, 8}, {88, 8}, {96, 8}, {104, 8}, {112, 1}};
static const struct field entry_fields[] = {{0, 4}, {4, 4}, {8, 4}, {12, 4}, {16, 8}, {24, 8}, {32, 8}};
static const struct field frame_fields[] = {{0, 4},  {4, 4},  {8, 4},  {12, 4}, {16, 8},
                                            {24, 8}, {32, 8}, {40, 8}, {48, 8}};
enum { ROOT_GENERATION = 16, ROOT_PREVIOUS = 24, ROOT_DIRECTORY = 32, ROOT_CHECKSUM = STORAGE_ROOT_BYTES - 8 };
enum { FRAME_BODY_BYTES = 4, FRAME_GENERATION = 16, FRAME_SALT = 24, FRAME_PREVIOUS = 40, FRAME_BODY_CHECKSUM = 48 };
enum { FRAME_CHECKSUM = 56, ENTRY_OFFSET = 16, ENTRY_CHECKSUM = 32 };

struct file {
    uint8_t *bytes;
    size_t size_bytes;
};
struct pair {
    struct file files[2];
};
static struct pair lives[LIVES];
static uint64_t states[MAX_STATES]; /* digests of all that the store ever was at a commit, over all lives */
static size_t state_count;

/* ---- the lives */

static velta *open_pair(struct fake_storage *fake, struct velta_host *host, struct velta_error *error) {
    struct velta_options options = fuzz_options_over(host, fake);
    velta *db = NULL;
    return velta_open(NULL, &options, &db, error) ? NULL : db;
}

static void set_pair(struct fake_storage *fake, const struct pair *pair) {
    fake_storage_init(fake);
    fake->keep_durable = false; /* nothing crashes here */
    for (unsigned i = 0; i < 2; i++)
        fake_storage_set(fake, (enum storage_file)i, pair->files[i].bytes, pair->files[i].size_bytes);
}

static struct pair copy_of(const struct fake_storage *fake) {
    struct pair pair;
    for (unsigned i = 0; i < 2; i++) {
        size_t size_bytes = (size_t)fake->now[i].size_bytes;
        pair.files[i] = (struct file){malloc(ROOM_BYTES), size_bytes};
        fuzz_demand(pair.files[i].bytes && size_bytes <= ROOM_BYTES);
        if (size_bytes > 0) memcpy(pair.files[i].bytes, fake->now[i].bytes, size_bytes);
    }
    return pair;
}

static void drop_pair(struct pair *pair) {
    free(pair->files[0].bytes);
    free(pair->files[1].bytes);
}

/* Offsets of the frames of a log, as their own lengths tell. */
static size_t find_frames(const struct file *log, size_t *frames) {
    size_t count = 0;
    for (size_t at = 0; count < MAX_FRAMES && log->size_bytes - at >= STORAGE_FRAME_HEADER_BYTES;) {
        size_t body_bytes = bytes_get_u32(log->bytes + at + FRAME_BODY_BYTES);
        frames[count++] = at;
        if (body_bytes > log->size_bytes - at - STORAGE_FRAME_HEADER_BYTES) break;
        at += STORAGE_FRAME_HEADER_BYTES + body_bytes;
    }
    return count;
}

static void add_state(const struct pair *pair) {
    struct fake_storage fake;
    struct velta_host host;
    struct velta_error error;
    set_pair(&fake, pair);
    velta *db = open_pair(&fake, &host, &error);
    if (db == NULL) fail_msg("a sound store is refused: %s", error.text);
    fuzz_demand(state_count < MAX_STATES);
    states[state_count++] = digest(db);
    assert_ok(velta_close(db, &error), &error);
    fake_storage_release(&fake);
}

/* Each state of a log cut behind one of its frames. */
static void add_states(const struct pair *life) {
    size_t frames[MAX_FRAMES];
    struct pair pair = *life;
    size_t count = find_frames(&pair.files[STORAGE_LOG], frames);
    for (size_t i = 1; i < count; i++) {
        pair.files[STORAGE_LOG].size_bytes = frames[i];
        add_state(&pair);
    }
    add_state(life);
}

/* 0: all in the log. 1: after a checkpoint. 2: after another, with a table added and one dropped. 3: compacted. */
static void make_lives(void) {
    struct fake_storage fake;
    struct velta_host host;
    struct velta_error error;
    velta_table *table, *other;
    fake_storage_init(&fake);
    fake.keep_durable = false;
    for (int life = 0; life < LIVES; life++) {
        struct velta_options options = fuzz_options_over(&host, &fake);
        velta *db = sample_open(&options, NULL, &table);
        if (life == 0) fuzz_live(db, table);
        if (life == 1 || life == 2) assert_ok(velta_checkpoint(db, NULL, &error), &error);
        if (life == 2) {
            assert_ok(velta_table_create(db, "u", sample_schema, 3, &other, &error), &error);
            assert_ok(velta_table_create(db, "w", sample_schema, 2, &other, &error), &error);
            assert_ok(velta_table_drop(other, &error), &error);
            assert_ok(velta_checkpoint(db, NULL, &error), &error);
        }
        const struct velta_compact_options keep = {.keep_since_ms = FUZZ_NOW_MS};
        if (life == 3) assert_ok(velta_compact(db, &keep, NULL, &error), &error);
        if (life > 0) sample_insert(table, 1000 * life, 3, (uint64_t)life);
        assert_ok(velta_tag(db, "again", &error), &error);
        /* The last one is closed; the others crash, and their logs are long. */
        if (life + 1 < LIVES) lives[life] = copy_of(&fake);
        assert_ok(velta_close(db, &error), &error);
        if (life + 1 == LIVES) lives[life] = copy_of(&fake);
        add_states(&lives[life]);
    }
    fake_storage_release(&fake);
}

/* ---- edits */

struct edit {
    unsigned kind, a, b, mode;
    uint32_t place;
    uint64_t number;
};

static uint64_t get_number(const uint8_t *at, size_t width) {
    uint64_t number = 0;
    memcpy(&number, at, width);
    return number;
}

/* Writes a number made from the one that is there. */
static void change_number(const struct edit *edit, uint8_t *at, size_t width) {
    static const uint64_t limits[] = {0,          1,          63,        64,        255,       4096,       8192,
                                      UINT16_MAX, UINT32_MAX, INT64_MAX, INT64_MIN, INT32_MAX, UINT64_MAX, 1 << 30};
    uint64_t number = get_number(at, width);
    switch (edit->mode % 4) {
    case 0:
        number = edit->number;
        break;
    case 1:
        number += (uint64_t)(int64_t)(int8_t)edit->number;
        break;
    case 2:
        number ^= UINT64_C(1) << edit->number % 64 % (8 * width);
        break;
    default:
        number = limits[edit->number % (sizeof limits / sizeof limits[0])];
    }
    memcpy(at, &number, width);
}

static void change_within(const struct edit *edit, uint8_t *bytes, uint64_t size_bytes) {
    size_t width = (size_t)1 << edit->b % 4;
    if (size_bytes >= width) change_number(edit, bytes + edit->place % (size_bytes - width + 1), width);
}

/* A slot's directory if it lies in the file; *count: its entries. */
static uint8_t *find_directory(const struct file *data, unsigned slot, size_t *count) {
    *count = 0;
    if (data->size_bytes < STORAGE_EXTENTS_START) return NULL;
    const uint8_t *root = data->bytes + slot * STORAGE_ROOT_BYTES;
    uint64_t offset = bytes_get_u64(root + ROOT_DIRECTORY), size_bytes = bytes_get_u64(root + ROOT_DIRECTORY + 8);
    if (offset < STORAGE_EXTENTS_START || offset > data->size_bytes || size_bytes > data->size_bytes - offset)
        return NULL;
    *count = (size_t)size_bytes / STORAGE_DIRECTORY_ENTRY_BYTES;
    return data->bytes + offset;
}

/* The bytes that an entry names, if they lie in the file. */
static uint8_t *find_segment(const struct file *data, const uint8_t *entry, uint64_t *size_bytes) {
    uint64_t offset = bytes_get_u64(entry + ENTRY_OFFSET);
    *size_bytes = bytes_get_u64(entry + ENTRY_OFFSET + 8);
    if (offset > data->size_bytes || *size_bytes > data->size_bytes - offset) return NULL;
    return data->bytes + offset;
}

static void edit_data(const struct edit *edit, struct file *data) {
    unsigned slot = edit->a & 1;
    size_t count;
    uint64_t size_bytes;
    if (data->size_bytes < STORAGE_EXTENTS_START) return;
    uint8_t *root = data->bytes + slot * STORAGE_ROOT_BYTES;
    uint8_t *directory = find_directory(data, slot, &count);
    if (edit->kind == EDIT_ROOT) {
        struct field field = root_fields[edit->b % (sizeof root_fields / sizeof root_fields[0])];
        uint32_t at = field.width == 1 ? field.at + edit->place % (ROOT_CHECKSUM - field.at) : field.at;
        change_number(edit, root + at, field.width);
    } else if (edit->kind == EDIT_COPY_ROOT) {
        const struct file *from = edit->b % 2 ? data : &lives[edit->b / 2 % LIVES].files[STORAGE_DATA];
        const uint8_t *other = from->bytes + (edit->place & 1) * STORAGE_ROOT_BYTES;
        if (from->size_bytes >= STORAGE_EXTENTS_START) memmove(root, other, STORAGE_ROOT_BYTES);
    } else if (directory && count > 0) {
        uint8_t *entry = directory + (edit->a >> 1) % count * STORAGE_DIRECTORY_ENTRY_BYTES;
        struct field field = entry_fields[edit->b % (sizeof entry_fields / sizeof entry_fields[0])];
        const uint8_t *other = directory + edit->place % count * STORAGE_DIRECTORY_ENTRY_BYTES;
        if (edit->kind == EDIT_SEGMENT) {
            uint8_t *segment = find_segment(data, entry, &size_bytes);
            if (segment) change_within(edit, segment, size_bytes);
        } else if (edit->mode & 64) { /* what another entry has there */
            memmove(entry + field.at, other + field.at, field.width);
        } else {
            change_number(edit, entry + field.at, field.width);
        }
    }
}

static void insert_bytes(struct file *file, size_t at, const uint8_t *bytes, size_t size_bytes) {
    if (size_bytes > ROOM_BYTES - file->size_bytes) return;
    memmove(file->bytes + at + size_bytes, file->bytes + at, file->size_bytes - at);
    memcpy(file->bytes + at, bytes, size_bytes);
    file->size_bytes += size_bytes;
}

static void remove_bytes(struct file *file, size_t at, size_t size_bytes) {
    memmove(file->bytes + at, file->bytes + at + size_bytes, file->size_bytes - at - size_bytes);
    file->size_bytes -= size_bytes;
}

static size_t frame_end(const struct file *log, const size_t *frames, size_t count, size_t i) {
    return i + 1 < count ? frames[i + 1] : log->size_bytes;
}

static void move_frame(const struct edit *edit, struct file *log, const size_t *frames, size_t count) {
    size_t i = edit->a % count, at = frames[i], end = frame_end(log, frames, count, i);
    size_t theirs[MAX_FRAMES];
    const struct file *from = &lives[edit->place % LIVES].files[STORAGE_LOG];
    size_t their_count = find_frames(from, theirs);
    uint8_t *copy = malloc(ROOM_BYTES);
    fuzz_demand(copy != NULL);
    memcpy(copy, log->bytes + at, end - at);
    switch (edit->b % 4) {
    case 0:
        remove_bytes(log, at, end - at);
        break;
    case 1: /* once more, behind another */
        insert_bytes(log, frame_end(log, frames, count, edit->place % count), copy, end - at);
        break;
    case 2: /* behind the next one */
        if (i + 1 == count) break;
        size_t next_end = frame_end(log, frames, count, i + 1);
        remove_bytes(log, at, end - at);
        insert_bytes(log, next_end - (end - at), copy, end - at);
        break;
    default:
        if (their_count == 0) break;
        size_t j = (size_t)(edit->number % their_count);
        insert_bytes(log, at, from->bytes + theirs[j], frame_end(from, theirs, their_count, j) - theirs[j]);
    }
    free(copy);
}

static void edit_log(const struct edit *edit, struct file *log) {
    size_t frames[MAX_FRAMES];
    size_t count = find_frames(log, frames);
    if (count == 0) return;
    size_t at = frames[edit->a % count], end = frame_end(log, frames, count, edit->a % count);
    struct field field = frame_fields[edit->b % (sizeof frame_fields / sizeof frame_fields[0])];
    if (edit->kind == EDIT_FRAME)
        change_number(edit, log->bytes + at + field.at, field.width);
    else if (edit->kind == EDIT_MOVE_FRAME)
        move_frame(edit, log, frames, count);
    else
        change_within(edit, log->bytes + at + STORAGE_FRAME_HEADER_BYTES, end - at - STORAGE_FRAME_HEADER_BYTES);
}

static void edit_size(const struct edit *edit, struct file *file) {
    uint64_t size_bytes = file->size_bytes;
    if (edit->mode % 2 == 0)
        size_bytes -= size_bytes > 0 ? edit->place % (size_bytes + 1) : 0;
    else
        size_bytes += edit->place % 9000;
    if (size_bytes > ROOM_BYTES) size_bytes = ROOM_BYTES;
    if (size_bytes > file->size_bytes)
        memset(file->bytes + file->size_bytes, (int)edit->b, (size_t)size_bytes - file->size_bytes);
    file->size_bytes = (size_t)size_bytes;
}

static void apply_edit(const uint8_t *bytes, struct pair *pair) {
    const struct edit edit = {.kind = bytes[0] % EDIT_KINDS,
                              .a = bytes[1],
                              .b = bytes[2],
                              .mode = bytes[3],
                              .place = bytes_get_u32(bytes + 4),
                              .number = bytes_get_u64(bytes + 8)};
    switch (edit.kind) {
    case EDIT_FRAME:
    case EDIT_BODY:
    case EDIT_MOVE_FRAME:
        edit_log(&edit, &pair->files[STORAGE_LOG]);
        break;
    case EDIT_ANYWHERE:
        change_within(&edit, pair->files[edit.a & 1].bytes, pair->files[edit.a & 1].size_bytes);
        break;
    case EDIT_SIZE:
        edit_size(&edit, &pair->files[edit.a & 1]);
        break;
    default:
        edit_data(&edit, &pair->files[STORAGE_DATA]);
    }
}

/* ---- repairs */

static void seal_root(uint8_t *root) {
    bytes_put_u64(root + ROOT_CHECKSUM, hash_bytes(root, ROOT_CHECKSUM));
}

static void repair_data(const struct file *data, unsigned keep) {
    if (data->size_bytes < STORAGE_EXTENTS_START) return;
    uint8_t *roots[2] = {data->bytes, data->bytes + STORAGE_ROOT_BYTES};
    for (unsigned slot = 0; slot < 2; slot++) {
        size_t count;
        uint64_t size_bytes;
        uint8_t *directory = find_directory(data, slot, &count);
        for (size_t i = 0; i < count && (keep & KEEP_SEGMENTS) == 0; i++) {
            uint8_t *entry = directory + i * STORAGE_DIRECTORY_ENTRY_BYTES;
            const uint8_t *segment = find_segment(data, entry, &size_bytes);
            if (segment) bytes_put_u64(entry + ENTRY_CHECKSUM, hash_bytes(segment, (size_t)size_bytes));
        }
        size_bytes = bytes_get_u64(roots[slot] + ROOT_DIRECTORY + 8);
        if (directory && (keep & KEEP_DIRECTORY) == 0)
            bytes_put_u64(roots[slot] + ROOT_DIRECTORY + 16, hash_bytes(directory, (size_t)size_bytes));
        /* A slot that was never written stays so. */
        if ((keep & KEEP_ROOTS) == 0 && bytes_get_u64(roots[slot]) != 0) seal_root(roots[slot]);
    }
    unsigned newer = bytes_get_u64(roots[1] + ROOT_GENERATION) > bytes_get_u64(roots[0] + ROOT_GENERATION);
    if ((keep & KEEP_ROOT_CHAIN) != 0 || bytes_get_u64(roots[!newer]) == 0) return;
    bytes_put_u64(roots[newer] + ROOT_PREVIOUS, bytes_get_u64(roots[!newer] + ROOT_CHECKSUM));
    if ((keep & KEEP_ROOTS) == 0) seal_root(roots[newer]);
}

static uint64_t root_checksum_of(const struct file *data, uint64_t generation) {
    for (unsigned slot = 0; slot < 2 && data->size_bytes >= STORAGE_EXTENTS_START; slot++) {
        const uint8_t *root = data->bytes + slot * STORAGE_ROOT_BYTES;
        if (bytes_get_u64(root + ROOT_GENERATION) == generation) return bytes_get_u64(root + ROOT_CHECKSUM);
    }
    return 0;
}

static void repair_log(const struct pair *pair, unsigned keep) {
    const struct file *log = &pair->files[STORAGE_LOG];
    size_t frames[MAX_FRAMES];
    size_t count = find_frames(log, frames);
    uint64_t previous = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t *frame = log->bytes + frames[i];
        size_t body_bytes = bytes_get_u32(frame + FRAME_BODY_BYTES);
        size_t left = log->size_bytes - frames[i] - STORAGE_FRAME_HEADER_BYTES;
        uint64_t generation = bytes_get_u64(frame + FRAME_GENERATION);
        if ((keep & KEEP_SALTS) == 0) {
            uint64_t checksum = generation > 0 ? root_checksum_of(&pair->files[STORAGE_DATA], generation) : 0;
            bytes_put_u64(frame + FRAME_SALT, storage_log_salt(generation, checksum));
        }
        if ((keep & KEEP_FRAMES) != 0) continue;
        bytes_put_u64(frame + FRAME_PREVIOUS, previous);
        if (body_bytes <= left)
            bytes_put_u64(frame + FRAME_BODY_CHECKSUM, hash_bytes(frame + STORAGE_FRAME_HEADER_BYTES, body_bytes));
        previous = hash_bytes(frame, FRAME_CHECKSUM);
        bytes_put_u64(frame + FRAME_CHECKSUM, previous);
    }
}

/* ---- what is done with a store that opens */

static bool is_known(uint64_t state) {
    for (size_t i = 0; i < state_count; i++)
        if (states[i] == state) return true;
    return false;
}

/* Changes of every kind to what may be any schema; refusals are answers, too. */
static void write_on(velta *db) {
    static const uint32_t rows[2] = {0, 3};
    const struct velta_keys keys = {.rows = rows};
    const int64_t never[2] = {INT64_MAX, INT64_MAX};
    velta_table *table;
    for (size_t i = 0; (table = velta_table_at(db, i)) != NULL; i++) {
        struct sample sample;
        const struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .row = 4, .use_row = true, .amount = 0.5F};
        sample_make(&sample, 50000, 3, 9);
        (void)!velta_insert(table, sample.values, SAMPLE_COLUMNS, 3, NULL, NULL, NULL);
        (void)!velta_update(table, &keys, 1, &sample.values[2], 1, NULL, NULL);
        (void)!velta_expire_at(table, &keys, 2, never, NULL);
        (void)!velta_apply(table, "v", &scale, 1, 0, NULL, NULL);
        (void)!velta_delete(table, &keys, 2, NULL, NULL);
        sample_free(&sample);
    }
    (void)!velta_tag(db, "later", NULL);
    (void)!velta_flush(db, NULL);
}

/* Closes, opens: what it was and sound. */
static velta *open_again(velta *db, struct fake_storage *fake, struct velta_host *host) {
    struct velta_error error;
    uint64_t before = digest(db);
    assert_ok(velta_close(db, &error), &error);
    db = open_pair(fake, host, &error);
    if (db == NULL) fail_msg("what was sound is refused: %s", error.text);
    assert_ok(velta_verify(db, NULL, &error), &error);
    fuzz_demand(digest(db) == before);
    return db;
}

static void use(velta *db, struct fake_storage *fake, struct velta_host *host, unsigned what) {
    struct velta_error error;
    if (velta_verify(db, NULL, NULL)) { /* repaired damage; the behaviour must be defined */
        write_on(db);
        fuzz_use(db);
        (void)velta_close(db, NULL);
        return;
    }
    if (what & 1) write_on(db);
    if (what & 1) assert_ok(velta_verify(db, NULL, &error), &error);
    db = open_again(db, fake, host);
    if (what & 2) {
        assert_ok(velta_checkpoint(db, NULL, &error), &error);
        db = open_again(db, fake, host);
    }
    if (what & 4) write_on(db);
    if (what & 8) {
        assert_ok(velta_compact(db, NULL, NULL, &error), &error);
        db = open_again(db, fake, host);
    }
    if (what & 16) fuzz_use(db);
    assert_ok(velta_close(db, &error), &error);
}

static void count_loss(void *context, const struct velta_loss *loss) {
    fuzz_demand(loss->kind >= VELTA_LOSS_VALUES && loss->kind <= VELTA_LOSS_NOTHING && loss->text[0] != '\0');
    ++*(size_t *)context;
}

/*
 * What is whole is read beside the files, which stay as they are. Nothing repaired: what is read is sound. Nothing
 * damaged: nothing is lost.
 */
static void salvage(struct fake_storage *fake, struct velta_host *host, unsigned keep, bool whole) {
    const struct velta_options options = fuzz_options_over(host, fake);
    uint64_t hashes[2];
    struct velta_error error;
    size_t losses = 0;
    velta *db = NULL;
    for (unsigned i = 0; i < 2; i++)
        hashes[i] = hash_bytes(fake->now[i].bytes, (size_t)fake->now[i].size_bytes);
    enum velta_status status = velta_salvage(NULL, &options, count_loss, &losses, &db, &error);
    fuzz_demand(!whole || (!status && losses == 0));
    for (unsigned i = 0; i < 2; i++)
        fuzz_demand(hashes[i] == hash_bytes(fake->now[i].bytes, (size_t)fake->now[i].size_bytes));
    if (status) return;
    if (keep == KEEP_ALL) assert_ok(velta_verify(db, NULL, &error), &error);
    fuzz_use(db);
    assert_ok(velta_close(db, &error), &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    if (state_count == 0) make_lives();
    if (size_bytes < HEAD_BYTES) return 0;
    struct pair pair;
    for (unsigned i = 0; i < 2; i++) {
        const struct file *from = &lives[data[i] % LIVES].files[i];
        pair.files[i] = (struct file){malloc(ROOM_BYTES), from->size_bytes};
        fuzz_demand(pair.files[i].bytes != NULL);
        memcpy(pair.files[i].bytes, from->bytes, from->size_bytes);
    }
    size_t edits = (size_bytes - HEAD_BYTES) / EDIT_BYTES;
    for (size_t i = 0; i < edits && i < MAX_EDITS; i++)
        apply_edit(data + HEAD_BYTES + i * EDIT_BYTES, &pair);
    unsigned keep = data[2] & KEEP_ALL;
    repair_data(&pair.files[STORAGE_DATA], keep);
    repair_log(&pair, keep);
    struct fake_storage fake;
    struct velta_host host;
    struct velta_error error;
    set_pair(&fake, &pair);
    drop_pair(&pair);
    bool whole = edits == 0 && data[0] % LIVES == data[1] % LIVES;
    if (data[3] & 32) salvage(&fake, &host, keep, whole);
    velta *db = open_pair(&fake, &host, &error);
    fuzz_demand(db || !whole);
    if (db) {
        if (keep == KEEP_ALL) fuzz_demand(is_known(digest(db)));
        use(db, &fake, &host, data[3]);
    }
    fake_storage_release(&fake);
    return 0;
}

/* Edits stay whole: one is added, repeated or dropped; the rest is changing bytes. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed) {
    struct random random = random_seeded(seed);
    size_t limit = max_bytes < HEAD_BYTES + MAX_EDITS * EDIT_BYTES ? max_bytes : HEAD_BYTES + MAX_EDITS * EDIT_BYTES;
    if (limit < HEAD_BYTES + EDIT_BYTES) return LLVMFuzzerMutate(data, size_bytes, max_bytes);
    if (size_bytes < HEAD_BYTES) {
        memset(data, 0, HEAD_BYTES);
        size_bytes = HEAD_BYTES;
    }
    size_t edits = (size_bytes - HEAD_BYTES) / EDIT_BYTES;
    size_bytes = HEAD_BYTES + edits * EDIT_BYTES;
    uint8_t *edit = data + HEAD_BYTES + (edits > 0 ? random_below(&random, edits) : 0) * EDIT_BYTES;
    uint64_t choice = random_below(&random, 10);
    if (choice < 2 || edits == 0) {
        if (size_bytes + EDIT_BYTES > limit) return size_bytes;
        random_bytes(&random, data + size_bytes, EDIT_BYTES);
        if (random_chance(&random, 50)) memset(data + size_bytes + 9, 0, 7); /* small numbers */
        return size_bytes + EDIT_BYTES;
    }
    if (choice == 2) {
        memmove(edit, edit + EDIT_BYTES, size_bytes - (size_t)(edit + EDIT_BYTES - data));
        return size_bytes - EDIT_BYTES;
    }
    if (choice == 3) random_bytes(&random, data, HEAD_BYTES);
    if (choice == 4) data[2] = random_chance(&random, 50) ? 0 : KEEP_ALL;
    if (choice > 4 && choice < 8) edit[random_below(&random, EDIT_BYTES)] = (uint8_t)random_u64(&random);
    if (choice >= 8) (void)LLVMFuzzerMutate(edit, EDIT_BYTES, EDIT_BYTES);
    return size_bytes;
}
