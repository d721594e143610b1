/*
 * Sparse deltas as history keeps them: their indices packed into bytes or, where a gap is wide, into u16. Whatever the
 * gaps, every past vector and the chain are as they were; images come back the same, and those that pack otherwise are
 * refused.
 */
#include <stdlib.h>
#include <string.h>

#include "delta/history_state.h"
#include "tests/support/support.h"

enum { DIMENSIONS = VELTA_MAX_DIMENSIONS, DELTAS = 40, MAX_COUNT = 400, INTERVAL = 5 };

static float past[DELTAS + 1][DIMENSIONS]; /* [i]: the vector before delta i */
static uint32_t indices[DELTAS][MAX_COUNT];
static float values[DELTAS][MAX_COUNT];

struct made {
    struct memory *memory;
    struct table *table;
    struct history *history;
    struct vector_delta deltas[DELTAS];
    uint32_t count;
};

static void must(enum velta_status status) {
    assert_int_equal(status, VELTA_OK);
}

static void add(struct made *made, uint32_t count, const uint32_t *given) {
    struct vector_delta *delta = &made->deltas[made->count];
    uint32_t n = made->count++;
    assert_true(made->count <= DELTAS);
    for (uint32_t i = 0; i < count; i++) {
        indices[n][i] = given[i];
        values[n][i] = (float)(n + 1) + (float)i / 512.0F;
    }
    *delta = (struct vector_delta){.operation = DELTA_SPARSE,
                                   .set = n % 4 == 3,
                                   .count = count,
                                   .indices = indices[n],
                                   .values = values[n],
                                   .metadata = n % 3 == 2 ? "because" : NULL,
                                   .metadata_bytes = n % 3 == 2 ? 7 : 0};
}

/* `count` indices with gaps of at most `gap`, one of them exactly that. */
static void add_random(struct made *made, struct random *random, uint32_t count, uint32_t gap) {
    uint32_t given[MAX_COUNT];
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        given[i] = next + (i == count / 2 ? gap : (uint32_t)random_below(random, 16));
        next = given[i] + 1;
    }
    add(made, count, given);
}

static void add_all(struct made *made) {
    struct random random = random_seeded(41);
    static const uint32_t few[][3] = {{0}, {255}, {256}, {DIMENSIONS - 1}, {0, 256}, {0, 257}, {3, 4, DIMENSIONS - 1}};
    static const uint32_t counts[] = {1, 1, 1, 1, 2, 2, 3};
    add(made, 0, NULL);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        add(made, counts[i], few[i]);
    }
    for (uint32_t count = 1; count <= MAX_COUNT; count += 1 + count / 2) {
        add_random(made, &random, count, 255);
        add_random(made, &random, count, 256);
    }
}

/* A row, then all deltas on it, noted in runs as long as can be. */
static void live(struct made *made) {
    const struct velta_column spec = {.name = "v", .type = VELTA_VECTOR, .dimensions = DIMENSIONS};
    memset(made, 0, sizeof *made);
    made->memory = memory_create(NULL, 0);
    must(table_create(made->memory, &simd_scalar, "t", &spec, 1, &made->table, NULL));
    must(history_create(made->memory, &simd_scalar, INTERVAL, &made->history, NULL));
    add_all(made);
    for (uint32_t i = 0; i < DIMENSIONS; i++) {
        past[0][i] = (float)i / 64.0F;
    }
    struct column_values row = {.data = past[0], .element = VELTA_F32};
    struct change birth = {
        .kind = CHANGE_ROWS_INSERT, .sequence = 1, .row_count = 1, .values = &row, .column_count = 1};
    struct change change = {
        .kind = CHANGE_VECTORS, .sequence = 2, .time_ms = 7, .deltas = made->deltas, .delta_count = made->count};
    must(history_reserve(made->history, made->table, &birth, NULL));
    must(table_reserve_append(made->table, &row, 1, NULL));
    history_push(made->history, made->table, &birth, NULL, NULL);
    table_apply_append(made->table, &row, 1);
    must(history_reserve(made->history, made->table, &change, NULL));
    for (uint32_t first = 0, end; first < made->count; first = end) {
        end = history_push_deltas(made->history, made->table, &change, first, made->count, NULL, NULL);
        assert_int_equal(end, first + INTERVAL < made->count ? first + INTERVAL : made->count);
        float *vector = column_vector_for_write(made->table->columns[0], 0);
        for (uint32_t i = first; i < end; i++) {
            vector_delta_apply(&simd_scalar, &made->deltas[i], vector, DIMENSIONS);
            memcpy(past[i + 1], vector, sizeof past[0]);
        }
    }
}

static void end(struct made *made) {
    history_destroy(made->history);
    table_destroy(made->table);
    memory_destroy(made->memory);
}

static void check(const struct made *made, const struct history *history) {
    static float vector[DIMENSIONS];
    static struct history_delta chain[DELTAS + 1];
    uint32_t read[MAX_COUNT];
    for (uint32_t i = 0; i <= made->count; i++) {
        assert_true(history_vector(history, made->table, 0, 0, 1 + i, NULL, NULL, vector));
        assert_memory_equal(vector, past[i], sizeof vector);
    }
    assert_int_equal(history_chain(history, 0, 0, chain, DELTAS + 1), made->count + 1);
    for (uint32_t i = 0; i < made->count; i++) {
        const struct vector_delta *given = &made->deltas[i];
        struct history_delta *kept = &chain[i + 1];
        assert_int_equal(kept->sequence, 2 + i);
        assert_int_equal(kept->delta.count, given->count);
        assert_int_equal(kept->delta.set, given->set);
        history_read_indices(&kept->indices, given->count / 3, read); /* in two parts */
        history_read_indices(&kept->indices, given->count - given->count / 3, read + given->count / 3);
        if (given->count == 0) continue;
        assert_memory_equal(read, given->indices, given->count * sizeof *read);
        assert_memory_equal(kept->delta.values, given->values, given->count * sizeof *values[0]);
    }
}

static uint8_t *image_of(const struct history *history, uint32_t part, size_t *size_bytes) {
    *size_bytes = history_part_bytes(history, part);
    uint8_t *bytes = malloc(*size_bytes);
    assert_non_null(bytes);
    history_part_write(history, part, bytes);
    return bytes;
}

static enum velta_status load(const struct made *made, const uint8_t *entries, size_t size_bytes, struct history **out,
                              struct velta_error *error) {
    size_t head_bytes;
    uint8_t *head = image_of(made->history, 0, &head_bytes);
    must(history_create(made->memory, &simd_scalar, INTERVAL, out, NULL));
    must(history_part_read(*out, made->table, 0, head, head_bytes, NULL));
    free(head);
    return history_part_read(*out, made->table, 1, entries, size_bytes, error);
}

static void past_and_chain_are_as_they_were(void **state) {
    static struct made made;
    size_t size_bytes;
    struct history *copy;
    (void)state;
    live(&made);
    check(&made, made.history);
    uint8_t *bytes = image_of(made.history, 1, &size_bytes);
    must(load(&made, bytes, size_bytes, &copy, NULL));
    must(history_load_finish(copy, made.table, NULL));
    check(&made, copy);
    history_destroy(copy);
    free(bytes);
    end(&made);
}

/* A byte an index where the gaps allow, else two. */
static void entries_are_small(void **state) {
    static struct made made;
    size_t size_bytes;
    (void)state;
    live(&made);
    uint8_t *bytes = image_of(made.history, 1, &size_bytes);
    size_t at = HISTORY_ENTRY_BYTES;
    for (uint32_t i = 0; i < made.count; i++) {
        struct history_entry entry;
        const struct vector_delta *delta = &made.deltas[i];
        bool wide = delta->count > 0 && delta->indices[0] > 255;
        for (uint32_t k = 1; k < delta->count; k++) {
            wide |= delta->indices[k] - delta->indices[k - 1] > 256;
        }
        memcpy(&entry, bytes + at, sizeof entry);
        size_t base = i % INTERVAL == 0 ? DIMENSIONS * 4 : 0;
        size_t packed = (delta->count * (wide ? 2u : 1u) + 3) / 4 * 4;
        size_t expected = HISTORY_ENTRY_BYTES + base + packed + delta->count * 4 + delta->metadata_bytes;
        assert_int_equal(entry.size_bytes, (expected + 7) / 8 * 8);
        assert_int_equal((entry.flags & HISTORY_WIDE) != 0, wide);
        at += entry.size_bytes;
    }
    assert_int_equal(at, size_bytes);
    free(bytes);
    end(&made);
}

/* Writes what `lie` says into the indices at `at`, which end at `end`; false: it cannot be told of this entry. */
static bool write_lie(unsigned lie, struct history_entry *entry, uint8_t *at, uint32_t count) {
    bool wide = (entry->flags & HISTORY_WIDE) != 0;
    uint32_t used = wide ? 2 * count : count;
    switch (lie) {
    case 0: /* the other form */
        entry->flags ^= HISTORY_WIDE;
        return count > 0;
    case 1: /* something in the padding */
        at[history_index_bytes(count, wide) - (count > 0)] |= 1;
        return used % 4 != 0;
    case 2: /* beyond the dimensions */
        if (wide) bytes_put_u16(at + used - 2, DIMENSIONS);
        memset(at, 0xFF, wide ? 0 : used);
        return wide || count > DIMENSIONS / 256;
    case 3: /* not ascending */
        if (wide && count > 1) bytes_put_u16(at + 2, bytes_get_u16(at));
        return wide && count > 1;
    case 4: /* wide without need */
        for (uint32_t i = 0; i < count && wide; i++) {
            bytes_put_u16(at + 2 * (size_t)i, (uint16_t)i);
        }
        return wide;
    default: /* wide of what has no indices */
        entry->flags = (uint8_t)((entry->flags & ~HISTORY_OPERATION) | DELTA_OFFSET | HISTORY_WIDE);
        return true;
    }
}

static void other_forms_are_refused(void **state) {
    static struct made made;
    size_t size_bytes;
    unsigned told = 0;
    (void)state;
    live(&made);
    uint8_t *bytes = image_of(made.history, 1, &size_bytes);
    uint8_t *lied = malloc(size_bytes);
    for (unsigned lie = 0; lie < 6; lie++) {
        size_t at = HISTORY_ENTRY_BYTES;
        for (uint32_t i = 0; i < made.count; i++) {
            struct history_entry entry;
            struct history *copy;
            struct velta_error error;
            memcpy(lied, bytes, size_bytes);
            memcpy(&entry, bytes + at, sizeof entry);
            uint32_t size = entry.size_bytes;
            uint8_t *where = lied + at + HISTORY_ENTRY_BYTES + (i % INTERVAL == 0 ? DIMENSIONS * 4 : 0);
            if (write_lie(lie, &entry, where, made.deltas[i].count)) {
                memcpy(lied + at, &entry, sizeof entry);
                assert_int_equal(load(&made, lied, size_bytes, &copy, &error), VELTA_CORRUPT);
                assert_int_equal(error.offset, at);
                history_destroy(copy);
                told |= 1u << lie;
            }
            at += size;
        }
    }
    assert_int_equal(told, 63);
    free(lied);
    free(bytes);
    end(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_and_chain_are_as_they_were),
        cmocka_unit_test(entries_are_small),
        cmocka_unit_test(other_forms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
