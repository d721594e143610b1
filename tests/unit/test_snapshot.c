/*
 * The state as segments: what is written is read and written again the same; a checkpoint names only what changed;
 * every missing, repeated or damaged segment is refused; refused memory leaves nothing behind.
 */
#include <stdlib.h>
#include <string.h>

#include "delta/snapshot.h"
#include "tests/support/support.h"

enum { ID, NUMBER, RATIO, FLAG, NAME, BLOB, WIDE, HALF, CODES, COLUMNS };

static const struct velta_column specs[COLUMNS] = {
    [ID] = {.name = "id", .type = VELTA_STRING, .primary_key = true},
    [NUMBER] = {.name = "number", .type = VELTA_INT},
    [RATIO] = {.name = "ratio", .type = VELTA_FLOAT},
    [FLAG] = {.name = "flag", .type = VELTA_BOOL},
    [NAME] = {.name = "name", .type = VELTA_STRING},
    [BLOB] = {.name = "blob", .type = VELTA_BYTES},
    [WIDE] = {.name = "wide", .type = VELTA_VECTOR, .dimensions = 20, .m = 4},
    [HALF] = {.name = "half", .type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_F16, .no_index = true},
    [CODES] = {.name = "codes", .type = VELTA_VECTOR, .dimensions = 8, .element = VELTA_CODES, .metric = VELTA_L2},
};

static void must(enum velta_status status) {
    assert_int_equal(status, VELTA_OK);
}

/* ---- a state with everything in it */

static void codes_vector(void *context, uint32_t column, uint32_t row, float *out) {
    const struct snapshot_table *owner = context;
    hnsw_decode(owner->indexes[column], row, out);
}

struct batch {
    struct column_values values[COLUMNS];
    uint64_t valid[COLUMNS][8];
    uint64_t offsets[COLUMNS][401];
    uint8_t data[COLUMNS][400 * 80];
};

static void fill_batch(struct batch *batch, struct random *random, uint32_t first_row, uint32_t count) {
    memset(batch, 0, sizeof *batch);
    for (unsigned c = 0; c < COLUMNS; c++) {
        uint8_t *data = batch->data[c];
        size_t used = 0;
        for (uint32_t i = 0; i < count; i++) {
            int64_t integer = random_between(random, -300, 300);
            double number = random_unit(random);
            float vector[20];
            bool there = c == ID || random_chance(random, 80);
            if (there) batch->valid[c][i / 64] |= UINT64_C(1) << (i % 64);
            random_vector(random, vector, 20);
            if (c == NUMBER) memcpy(data + 8 * i, &integer, 8);
            if (c == RATIO) memcpy(data + 8 * i, &number, 8);
            if (c == FLAG) data[i] = (uint8_t)(integer & 1);
            if (c == ID) used += (size_t)snprintf((char *)data + used, 20, "key %u", first_row + i);
            if (c == NAME) used += (size_t)snprintf((char *)data + used, 20, "name %d", (int)(integer % 7));
            if (c == BLOB) used += (size_t)snprintf((char *)data + used, 20, "%d", (int)integer);
            if (specs[c].type == VELTA_VECTOR)
                memcpy(data + 4 * specs[c].dimensions * i, vector, 4 * specs[c].dimensions);
            batch->offsets[c][i + 1] = used;
        }
        bool text = specs[c].type == VELTA_STRING || specs[c].type == VELTA_BYTES;
        batch->values[c] = (struct column_values){data, text ? batch->offsets[c] : NULL, batch->valid[c], VELTA_F32};
    }
}

static void insert(struct snapshot_table *owner, struct random *random, uint32_t count, uint64_t sequence) {
    static struct batch batch;
    struct table *table = owner->table;
    struct change change = {.kind = CHANGE_ROWS_INSERT, .sequence = sequence, .time_ms = (int64_t)sequence * 10};
    change.first_row = table->row_count;
    change.row_count = count;
    change.values = batch.values;
    fill_batch(&batch, random, table->row_count, count);
    must(table_check_append(table, batch.values, count, NULL));
    must(table_reserve_append(table, batch.values, count, NULL));
    must(history_reserve(owner->history, table, &change, NULL));
    for (unsigned c = WIDE; c < COLUMNS; c++) {
        if (owner->indexes[c]) must(hnsw_reserve(owner->indexes[c], change.first_row + count, count, NULL));
    }
    history_push(owner->history, table, &change, codes_vector, owner);
    (void)table_apply_append(table, batch.values, count);
    for (unsigned c = WIDE; c < COLUMNS; c++) {
        for (uint32_t i = 0; owner->indexes[c] && i < count; i++) {
            const float *vector = (const float *)(const void *)batch.data[c] + i * specs[c].dimensions;
            if (!column_is_null(table->columns[c], change.first_row + i)) {
                hnsw_add(owner->indexes[c], change.first_row + i, vector);
            }
        }
    }
}

static void erase(struct snapshot_table *owner, uint32_t row, uint64_t sequence) {
    struct change change = {.kind = CHANGE_ROWS_DELETE, .sequence = sequence, .time_ms = (int64_t)sequence * 10};
    change.rows = &row;
    change.row_count = 1;
    must(history_reserve(owner->history, owner->table, &change, NULL));
    history_push(owner->history, owner->table, &change, codes_vector, owner);
    for (unsigned c = WIDE; c < COLUMNS; c++) {
        if (owner->indexes[c] && hnsw_contains(owner->indexes[c], row)) hnsw_remove(owner->indexes[c], row);
    }
    table_apply_delete(owner->table, &row, 1);
}

static void set_number(struct snapshot_table *owner, uint32_t row, int64_t number, uint64_t sequence) {
    struct column_values values = {.data = &number};
    struct change change = {.kind = CHANGE_ROWS_SET, .sequence = sequence, .time_ms = (int64_t)sequence * 10};
    change.column = NUMBER;
    change.rows = &row;
    change.row_count = 1;
    change.values = &values;
    must(table_reserve_set(owner->table, NUMBER, &values, &row, 1, NULL));
    must(history_reserve(owner->history, owner->table, &change, NULL));
    history_push(owner->history, owner->table, &change, codes_vector, owner);
    table_apply_set(owner->table, NUMBER, &values, &row, 1);
}

/* Three tables, the middle one dropped; two tags; expiry; graphs partly linked. */
static void make_state(struct memory *memory, struct snapshot_state *state) {
    struct random random = random_seeded(5);
    static const char *const names[] = {"before", "after the deletes"};
    *state = (struct snapshot_state){.memory = memory, .simd = &simd_scalar, .table_count = 3, .tag_count = 2};
    state->tables = memory_allocate_zero(memory, 3 * sizeof *state->tables);
    state->tags = memory_allocate_zero(memory, 2 * sizeof *state->tags);
    for (uint32_t i = 0; i < 2; i++) {
        state->tags[i].name = memory_allocate(memory, strlen(names[i]) + 1);
        strcpy(state->tags[i].name, names[i]);
        state->tags[i].sequence = i;
        state->tags[i].time_ms = -(int64_t)i;
    }
    for (uint32_t t = 0; t < 3; t++) {
        struct snapshot_table *owner = &state->tables[t];
        if (t != 1) must(snapshot_table_create(state, t == 0 ? "first" : "third", specs, COLUMNS, owner, NULL));
        owner->number = t;
        owner->dropped = t == 1;
    }
    struct snapshot_table *owner = &state->tables[0];
    uint64_t pending;
    uint32_t row = 3;
    int64_t time_ms = 5000;
    insert(owner, &random, 300, 1);
    must(hnsw_link(owner->indexes[WIDE], 150, NULL, NULL, &pending, NULL));
    must(hnsw_link(owner->indexes[CODES], UINT64_MAX, NULL, NULL, &pending, NULL));
    insert(owner, &random, 40, 2);
    for (uint32_t i = 0; i < 20; i++) {
        erase(owner, i * 7, 3 + i);
    }
    set_number(owner, 2, 1 << 20, 40);
    must(table_reserve_expiry(owner->table, NULL));
    table_apply_expiry(owner->table, &row, &time_ms, 1);
}

/* ---- segments as an array of bytes */

struct segments {
    struct checkpoint_segment *list;
    uint8_t **bytes;
    size_t count;
};

static struct segments write_all(struct snapshot_state *state, bool all) {
    struct segments out;
    must(snapshot_list(state, all, &out.list, &out.count, NULL));
    out.bytes = calloc(out.count, sizeof *out.bytes);
    for (size_t i = 0; i < out.count; i++) {
        out.bytes[i] = malloc(out.list[i].size_bytes + 1);
        snapshot_write_segment(state, &out.list[i].key, out.bytes[i], out.list[i].size_bytes);
    }
    return out;
}

static void drop(struct memory *memory, struct segments *segments) {
    for (size_t i = 0; i < segments->count; i++) {
        free(segments->bytes[i]);
    }
    free(segments->bytes);
    memory_release(memory, segments->list, segments->count * sizeof *segments->list);
}

/* Loads all but `without`; the state must be destroyed whatever comes. */
static enum velta_status load(struct memory *memory, const struct segments *segments, size_t without,
                              struct snapshot_state *state, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    bool ready = false;
    *state = (struct snapshot_state){.memory = memory, .simd = &simd_scalar};
    for (size_t i = 0; i < segments->count && status == VELTA_OK; i++) {
        const struct checkpoint_segment *segment = &segments->list[i];
        if (i == without) continue;
        if (segment->key.kind == SEGMENT_GRAPH && !ready) {
            status = snapshot_ready(state, error);
            ready = true;
        }
        uint8_t *exact = malloc(segment->size_bytes ? segment->size_bytes : 1); /* so that reading past it is seen */
        memcpy(exact, segments->bytes[i], segment->size_bytes);
        if (status == VELTA_OK) status = snapshot_read_segment(state, &segment->key, exact, segment->size_bytes, error);
        free(exact);
    }
    if (status == VELTA_OK && !ready) status = snapshot_ready(state, error);
    return status == VELTA_OK ? snapshot_finish(state, error) : status;
}

/* ---- the tests */

static void a_state_comes_back(void **context) {
    struct memory *memory = memory_create(NULL, 0);
    struct snapshot_state state, loaded;
    (void)context;
    make_state(memory, &state);
    struct segments segments = write_all(&state, true);
    for (size_t i = 0; i < segments.count; i++) {
        assert_true(segments.list[i].changed);
        if (i > 0) assert_true(segments.list[i].key.kind >= segments.list[i - 1].key.kind);
    }
    must(load(memory, &segments, SIZE_MAX, &loaded, NULL));
    struct segments again = write_all(&loaded, false);
    assert_int_equal(again.count, segments.count);
    for (size_t i = 0; i < again.count; i++) {
        assert_memory_equal(&again.list[i].key, &segments.list[i].key, sizeof again.list[i].key);
        assert_int_equal(again.list[i].size_bytes, segments.list[i].size_bytes);
        test_assert_bytes(again.bytes[i], segments.bytes[i], segments.list[i].size_bytes, "a segment");
        if (again.list[i].key.kind != SEGMENT_SCHEMA) assert_false(again.list[i].changed); /* all is durable */
    }
    assert_int_equal(loaded.table_count, 3);
    assert_true(loaded.tables[1].dropped);
    assert_string_equal(loaded.tags[1].name, "after the deletes");
    const struct snapshot_table *owner = &loaded.tables[0];
    uint32_t row = table_find_text(owner->table, "key 2", 5);
    assert_int_equal(row, 2);
    assert_int_equal(column_integer(owner->table->columns[NUMBER], row), 1 << 20);
    assert_int_equal(table_find_text(owner->table, "key 7", 5), VELTA_NO_ROW);
    assert_int_equal(history_find_dead(owner->history, owner->table, 2, "key 7", 5, 0), 7);
    must(hnsw_check(owner->indexes[WIDE], NULL));
    must(hnsw_check(owner->indexes[CODES], NULL));
    float a[20], b[20];
    for (uint32_t i = 0; i < 340; i++) {
        if (!hnsw_contains(owner->indexes[CODES], i)) continue;
        hnsw_decode(owner->indexes[CODES], i, a);
        hnsw_decode(state.tables[0].indexes[CODES], i, b);
        assert_memory_equal(a, b, 8 * sizeof *a);
    }
    drop(memory, &again);
    drop(memory, &segments);
    snapshot_state_destroy(&loaded);
    snapshot_state_destroy(&state);
    memory_destroy(memory);
}

static size_t changed_of(const struct segments *segments, uint32_t kind) {
    size_t count = 0;
    for (size_t i = 0; i < segments->count; i++) {
        count += segments->list[i].changed && segments->list[i].key.kind == kind;
    }
    return count;
}

/* A checkpoint costs what changed; and what is said to be unchanged has not changed. */
static void only_changes_are_written(void **context) {
    struct memory *memory = memory_create(NULL, 0);
    struct snapshot_state state;
    struct random random = random_seeded(6);
    (void)context;
    make_state(memory, &state);
    struct segments before = write_all(&state, false);
    snapshot_clean(&state);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t sequence = 100 + round;
        if (round == 1) set_number(&state.tables[0], 1, 5, sequence);
        if (round == 2) erase(&state.tables[0], 1, sequence);
        if (round == 3) insert(&state.tables[2], &random, 10, sequence);
        if (round == 4) insert(&state.tables[0], &random, 300, sequence);
        struct segments now = write_all(&state, false);
        if (round == 0) {
            for (uint32_t kind = SEGMENT_DICTIONARY; kind <= SEGMENT_GRAPH; kind++) {
                assert_int_equal(changed_of(&now, kind), 0);
            }
        }
        if (round == 1) {
            assert_int_equal(changed_of(&now, SEGMENT_COLUMN), 1);
            assert_int_equal(changed_of(&now, SEGMENT_HISTORY), 2);
            assert_int_equal(changed_of(&now, SEGMENT_ROWS) + changed_of(&now, SEGMENT_VECTORS) +
                                 changed_of(&now, SEGMENT_CODES) + changed_of(&now, SEGMENT_GRAPH),
                             0);
        }
        if (round == 2) assert_int_equal(changed_of(&now, SEGMENT_ROWS), 1);
        for (size_t i = 0, k = 0; i < now.count; i++) {
            while (k < before.count && memcmp(&before.list[k].key, &now.list[i].key, sizeof now.list[i].key) != 0) {
                k++;
            }
            if (k == before.count) { /* new: it must be written */
                assert_true(now.list[i].changed);
                k = 0;
            } else if (!now.list[i].changed) {
                assert_int_equal(now.list[i].size_bytes, before.list[k].size_bytes);
                test_assert_bytes(now.bytes[i], before.bytes[k], now.list[i].size_bytes, "an unchanged segment");
            }
        }
        drop(memory, &before);
        before = now;
        snapshot_clean(&state);
    }
    drop(memory, &before);
    snapshot_state_destroy(&state);
    memory_destroy(memory);
}

/* Segments i and i + 1 change places. */
static void exchange(struct segments *segments, size_t i) {
    struct checkpoint_segment list = segments->list[i];
    uint8_t *bytes = segments->bytes[i];
    segments->list[i] = segments->list[i + 1];
    segments->bytes[i] = segments->bytes[i + 1];
    segments->list[i + 1] = list;
    segments->bytes[i + 1] = bytes;
}

static void missing_segments_are_found(void **context) {
    struct memory *memory = memory_create(NULL, 0);
    struct snapshot_state state, loaded;
    (void)context;
    make_state(memory, &state);
    struct segments segments = write_all(&state, true);
    for (size_t i = 0; i < segments.count; i++) {
        struct velta_error error = {0};
        assert_int_equal(load(memory, &segments, i, &loaded, &error), VELTA_CORRUPT);
        assert_int_equal(error.code, VELTA_CORRUPT);
        snapshot_state_destroy(&loaded);
    }
    for (size_t i = 0; i + 1 < segments.count; i++) {
        exchange(&segments, i);
        assert_int_equal(load(memory, &segments, SIZE_MAX, &loaded, NULL), VELTA_CORRUPT);
        snapshot_state_destroy(&loaded);
        exchange(&segments, i);
    }
    must(load(memory, &segments, SIZE_MAX, &loaded, NULL)); /* back in order */
    snapshot_state_destroy(&loaded);
    drop(memory, &segments);
    snapshot_state_destroy(&state);
    memory_destroy(memory);
}

/* Checksums are storage's; here a changed segment is taken or refused, but nothing worse, and nothing is wasted. */
static void hostile_segments_do_no_harm(void **context) {
    struct test_allocator allocator;
    struct random random = random_seeded(7);
    struct snapshot_state state, loaded;
    uint64_t refused = 0, total = 0;
    (void)context;
    test_allocator_init(&allocator);
    struct memory *memory = memory_create(&allocator.allocator, 256 << 20);
    make_state(memory, &state);
    struct segments segments = write_all(&state, true);
    for (size_t i = 0; i < test_rounds(1500); i++) {
        size_t victim = random_below(&random, segments.count);
        uint64_t size_bytes = segments.list[victim].size_bytes;
        if (size_bytes == 0) continue;
        if (random_chance(&random, 20)) segments.list[victim].size_bytes = random_below(&random, size_bytes);
        size_t flips = 1 + random_below(&random, 3);
        uint8_t *copy = malloc(size_bytes);
        memcpy(copy, segments.bytes[victim], size_bytes);
        for (size_t k = 0; k < flips; k++) { /* heads more often than the rest */
            uint64_t at = random_chance(&random, 50) ? random_below(&random, size_bytes < 64 ? size_bytes : 64)
                                                     : random_below(&random, size_bytes);
            segments.bytes[victim][at] ^= (uint8_t)(1u << random_below(&random, 8));
        }
        struct velta_error error = {0};
        enum velta_status status = load(memory, &segments, SIZE_MAX, &loaded, &error);
        assert_true(status == VELTA_OK || status == VELTA_CORRUPT || status == VELTA_VERSION ||
                    status == VELTA_OVER_BUDGET || status == VELTA_NO_MEMORY);
        refused += status != VELTA_OK;
        total++;
        snapshot_state_destroy(&loaded);
        memcpy(segments.bytes[victim], copy, size_bytes);
        segments.list[victim].size_bytes = size_bytes;
        free(copy);
    }
    assert_true(refused > total / 2);
    drop(memory, &segments);
    snapshot_state_destroy(&state);
    memory_destroy(memory);
    test_allocator_check_empty(&allocator);
}

/* ---- memory */

struct attempt {
    struct segments segments;
};

static bool load_once(struct test_allocator *allocator, void *context) {
    const struct attempt *attempt = context;
    struct snapshot_state loaded;
    struct memory *memory = memory_create(&allocator->allocator, 0);
    test_allocator_rearm(allocator);
    enum velta_status status = load(memory, &attempt->segments, SIZE_MAX, &loaded, NULL);
    if (status == VELTA_OK) {
        struct checkpoint_segment *list;
        size_t count;
        status = snapshot_list(&loaded, true, &list, &count, NULL);
        if (status == VELTA_OK) memory_release(memory, list, count * sizeof *list);
    }
    test_allocator_disarm(allocator);
    assert_true(status == VELTA_OK || status == VELTA_NO_MEMORY);
    snapshot_state_destroy(&loaded);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void refused_memory_leaves_nothing(void **context) {
    struct test_allocator allocator;
    struct memory *memory = memory_create(NULL, 0);
    struct snapshot_state state;
    struct attempt attempt;
    (void)context;
    make_state(memory, &state);
    attempt.segments = write_all(&state, true);
    test_allocator_init(&allocator);
    assert_true(test_every_allocation_fails(&allocator, load_once, &attempt) > 40);
    drop(memory, &attempt.segments);
    snapshot_state_destroy(&state);
    memory_destroy(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_comes_back),
        cmocka_unit_test(only_changes_are_written),
        cmocka_unit_test(missing_segments_are_found),
        cmocka_unit_test(hostile_segments_do_no_harm),
        cmocka_unit_test(refused_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
