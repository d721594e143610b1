/*
 * History against a model that keeps a full copy of the table after every change.
 *
 * Random lives: inserts, sets of every type, vector deltas on f32, f16 and codes-only columns, deletes, keys used
 * again, expiry, batches, compactions with a floor and points, images written and read back. After some changes every
 * past state is compared: rows alive, expiry, values, vectors bit by bit, keys of dead rows, times.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "delta/history_state.h"
#include "tests/support/support.h"

enum { ID, NUMBER, RATIO, FLAG, NAME, BLOB, WIDE, HALF, CODES, COLUMNS };
enum { MAX_ROWS = 600, MAX_STATES = 400, MAX_DIMENSIONS = 6, TEXT_BYTES = 20, KEYS = 12 };

static const struct velta_column specs[COLUMNS] = {
    [ID] = {.name = "id", .type = VELTA_INT, .primary_key = true},
    [NUMBER] = {.name = "number", .type = VELTA_INT},
    [RATIO] = {.name = "ratio", .type = VELTA_FLOAT},
    [FLAG] = {.name = "flag", .type = VELTA_BOOL},
    [NAME] = {.name = "name", .type = VELTA_STRING},
    [BLOB] = {.name = "blob", .type = VELTA_BYTES},
    [WIDE] = {.name = "wide", .type = VELTA_VECTOR, .dimensions = 6},
    [HALF] = {.name = "half", .type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_F16},
    [CODES] = {.name = "codes", .type = VELTA_VECTOR, .dimensions = 4, .element = VELTA_CODES},
};

/* ---- the model */

struct cell {
    bool null;
    uint8_t text_bytes;
    union {
        int64_t integer;
        double number;
        char text[TEXT_BYTES];
        float vector[MAX_DIMENSIONS];
    } is;
};

struct model_row {
    bool born;
    bool alive;
    bool expires;
    int64_t expiry_ms;
    struct cell cells[COLUMNS];
};

struct state {
    uint64_t sequence;
    int64_t time_ms;
    bool kept;
    uint32_t row_count;
    struct model_row *rows;
};

struct life {
    struct random random;
    struct memory *memory;
    struct table *table;
    struct history *history;
    struct state states[MAX_STATES];
    size_t state_count;
    struct model_row rows[MAX_ROWS]; /* now */
    uint64_t sequence;
    int64_t time_ms;
    float codes[MAX_ROWS][MAX_DIMENSIONS]; /* what an index would hold */
};

static void codes_vector(void *context, uint32_t column, uint32_t row, float *out) {
    const struct life *life = context;
    assert_int_equal(column, CODES);
    memcpy(out, life->codes[row], specs[CODES].dimensions * sizeof *out);
}

static void remember(struct life *life) {
    assert_true(life->state_count < MAX_STATES);
    struct state *state = &life->states[life->state_count++];
    *state = (struct state){life->sequence, life->time_ms, true, life->table->row_count, NULL};
    state->rows = malloc((state->row_count + 1) * sizeof *state->rows);
    assert_non_null(state->rows);
    memcpy(state->rows, life->rows, state->row_count * sizeof *state->rows);
}

static void begin_change(struct life *life, struct change *change) {
    life->sequence += 1 + random_below(&life->random, 3) / 2; /* other tables have changes, too */
    life->time_ms += (int64_t)random_below(&life->random, 3);
    change->sequence = life->sequence;
    change->time_ms = life->time_ms;
}

static uint32_t live_rows(struct life *life, uint32_t *rows) {
    uint32_t count = 0;
    for (uint32_t row = 0; row < life->table->row_count; row++) {
        if (life->rows[row].alive) rows[count++] = row;
    }
    return count;
}

/* ---- values */

static float as_half(float value) {
    uint16_t half;
    simd_scalar.f32_to_f16(&value, &half, 1);
    simd_scalar.f16_to_f32(&half, &value, 1);
    return value;
}

/* What a column stores of a vector: f16 rounds, the model's index keeps eighths. */
static void store_rounded(unsigned column, float *vector) {
    for (uint32_t i = 0; i < specs[column].dimensions; i++) {
        if (column == HALF) vector[i] = as_half(vector[i]);
        if (column == CODES) vector[i] = rintf(vector[i] * 8) / 8;
    }
}

static struct cell random_cell(struct random *random, unsigned column) {
    struct cell cell = {0};
    cell.null = random_chance(random, 20);
    if (cell.null) return cell;
    switch (specs[column].type) {
    case VELTA_INT:
        cell.is.integer = random_chance(random, 50) ? random_between(random, -5, 5) : (int64_t)random_u64(random);
        break;
    case VELTA_FLOAT:
        cell.is.number = random_chance(random, 10) ? (double)-INFINITY : (double)random_gauss(random);
        break;
    case VELTA_BOOL:
        cell.is.integer = random_chance(random, 50);
        break;
    case VELTA_VECTOR:
        random_vector(random, cell.is.vector, specs[column].dimensions);
        break;
    default:
        cell.text_bytes = (uint8_t)random_below(random, TEXT_BYTES);
        for (unsigned i = 0; i < cell.text_bytes; i++) {
            cell.is.text[i] = (char)('a' + random_below(random, 3));
        }
        break;
    }
    return cell;
}

/* Column-wise values from cells. */
struct batch {
    struct column_values values;
    uint64_t valid[MAX_ROWS / 64 + 1];
    uint64_t offsets[MAX_ROWS + 1];
    int64_t data[MAX_ROWS * MAX_DIMENSIONS];
};

static void fill_batch(struct batch *batch, unsigned column, const struct cell *cells, uint32_t count, bool half) {
    uint8_t *data = (uint8_t *)batch->data;
    size_t used = 0;
    memset(batch, 0, sizeof *batch);
    batch->values = (struct column_values){batch->data, batch->offsets, batch->valid, half ? VELTA_F16 : VELTA_F32};
    for (uint32_t i = 0; i < count; i++) {
        const struct cell *cell = &cells[i];
        if (!cell->null) batch->valid[i / 64] |= UINT64_C(1) << (i % 64);
        switch (specs[column].type) {
        case VELTA_INT:
        case VELTA_FLOAT:
            memcpy(data + 8 * i, &cell->is, 8);
            break;
        case VELTA_BOOL:
            data[i] = (uint8_t)cell->is.integer;
            break;
        case VELTA_VECTOR: {
            uint32_t dimensions = specs[column].dimensions;
            if (half) {
                simd_scalar.f32_to_f16(cell->is.vector, (uint16_t *)(void *)data + i * dimensions, dimensions);
            } else {
                memcpy(data + 4 * i * dimensions, cell->is.vector, 4 * dimensions);
            }
            break;
        }
        default:
            memcpy(data + used, cell->is.text, cell->text_bytes);
            used += cell->text_bytes;
            break;
        }
        batch->offsets[i + 1] = used;
    }
    if (specs[column].type != VELTA_STRING && specs[column].type != VELTA_BYTES) batch->values.offsets = NULL;
}

/* ---- changes */

static void must(enum velta_status status) {
    assert_int_equal(status, VELTA_OK);
}

static void tell(struct life *life, const struct change *change) {
    must(history_reserve(life->history, life->table, change, NULL));
    history_push(life->history, life->table, change, codes_vector, life);
}

static bool key_is_used(struct life *life, int64_t key) {
    return table_find_int(life->table, key) != VELTA_NO_ROW;
}

static void insert_rows(struct life *life) {
    static struct batch batches[COLUMNS];
    static struct cell cells[COLUMNS][KEYS];
    struct column_values values[COLUMNS];
    struct change change = {.kind = CHANGE_ROWS_INSERT, .first_row = life->table->row_count, .values = values};
    for (int64_t key = 0; key < KEYS && change.row_count < 4; key++) {
        if (key_is_used(life, key) || !random_chance(&life->random, 30)) continue;
        for (unsigned c = 0; c < COLUMNS; c++) {
            cells[c][change.row_count] = random_cell(&life->random, c);
        }
        cells[ID][change.row_count] = (struct cell){.is.integer = key};
        change.row_count++;
    }
    if (change.row_count == 0 || change.first_row + change.row_count > MAX_ROWS) return;
    for (unsigned c = 0; c < COLUMNS; c++) {
        fill_batch(&batches[c], c, cells[c], change.row_count, random_chance(&life->random, 50));
        values[c] = batches[c].values;
    }
    begin_change(life, &change);
    must(table_check_append(life->table, values, change.row_count, NULL));
    must(table_reserve_append(life->table, values, change.row_count, NULL));
    tell(life, &change);
    assert_int_equal(table_apply_append(life->table, values, change.row_count), change.first_row);
    for (uint32_t i = 0; i < change.row_count; i++) {
        struct model_row *row = &life->rows[change.first_row + i];
        *row = (struct model_row){.born = true, .alive = true};
        for (unsigned c = 0; c < COLUMNS; c++) {
            row->cells[c] = cells[c][i];
            if (specs[c].type != VELTA_VECTOR || row->cells[c].null) continue;
            float *vector = row->cells[c].is.vector;
            if (values[c].element == VELTA_F16) {
                for (uint32_t d = 0; d < specs[c].dimensions; d++) {
                    vector[d] = as_half(vector[d]);
                }
            }
            store_rounded(c, vector);
            if (c == CODES) memcpy(life->codes[change.first_row + i], vector, sizeof life->codes[0]);
        }
    }
    remember(life);
}

static void set_rows(struct life *life) {
    static struct batch batch;
    struct cell cells[8];
    uint32_t live[MAX_ROWS], rows[8];
    uint32_t live_count = live_rows(life, live);
    unsigned column = 1 + (unsigned)random_below(&life->random, COLUMNS - 1);
    bool half = random_chance(&life->random, 50);
    if (live_count == 0) return;
    struct change change = {.kind = CHANGE_ROWS_SET, .column = column, .rows = rows, .values = &batch.values};
    change.row_count = 1 + (uint32_t)random_below(&life->random, 8);
    for (uint32_t i = 0; i < change.row_count; i++) { /* a row may repeat: the last wins */
        rows[i] = live[random_below(&life->random, live_count)];
        cells[i] = random_cell(&life->random, column);
    }
    fill_batch(&batch, column, cells, change.row_count, half);
    begin_change(life, &change);
    must(table_check_set(life->table, column, &batch.values, rows, change.row_count, NULL));
    must(table_reserve_set(life->table, column, &batch.values, rows, change.row_count, NULL));
    tell(life, &change);
    table_apply_set(life->table, column, &batch.values, rows, change.row_count);
    for (uint32_t i = 0; i < change.row_count; i++) {
        struct cell *cell = &life->rows[rows[i]].cells[column];
        *cell = cells[i];
        if (specs[column].type != VELTA_VECTOR || cell->null) continue;
        for (uint32_t d = 0; half && d < specs[column].dimensions; d++) {
            cell->is.vector[d] = as_half(cell->is.vector[d]);
        }
        store_rounded(column, cell->is.vector);
        if (column == CODES) memcpy(life->codes[rows[i]], cell->is.vector, sizeof life->codes[0]);
    }
    remember(life);
}

static void apply_to(float *vector, const struct vector_delta *delta, uint32_t dimensions) {
    for (uint32_t i = 0; i < (delta->operation <= DELTA_DENSE ? delta->count : dimensions); i++) {
        uint32_t d = delta->operation == DELTA_SPARSE ? delta->indices[i] : i;
        if (delta->operation == DELTA_SCALE) vector[d] *= delta->amount;
        if (delta->operation == DELTA_OFFSET) vector[d] += delta->amount;
        if (delta->operation <= DELTA_DENSE) vector[d] = delta->set ? delta->values[i] : vector[d] + delta->values[i];
    }
}

static void write_vector(struct life *life, unsigned column, uint32_t row, const float *vector) {
    if (column == WIDE) {
        memcpy(column_vector_for_write(life->table->columns[WIDE], row), vector, specs[WIDE].dimensions * 4);
    } else if (column == HALF) {
        simd_scalar.f32_to_f16(vector, column_vector_for_write(life->table->columns[HALF], row),
                               specs[HALF].dimensions);
    } else {
        memcpy(life->codes[row], vector, sizeof life->codes[0]);
    }
}

static void apply_deltas(struct life *life) {
    uint32_t live[MAX_ROWS];
    uint32_t live_count = live_rows(life, live);
    unsigned column = WIDE + (unsigned)random_below(&life->random, 3);
    uint32_t dimensions = specs[column].dimensions;
    struct vector_delta deltas[12];
    uint32_t indices[12][MAX_DIMENSIONS];
    float values[12][MAX_DIMENSIONS];
    struct change batch = {.kind = CHANGE_VECTORS, .column = column, .deltas = deltas};
    for (uint32_t i = 0; live_count > 0 && i < 12; i++) {
        uint32_t row = live[random_below(&life->random, live_count)];
        if (life->rows[row].cells[column].null || random_chance(&life->random, 50)) continue;
        struct vector_delta *delta = &deltas[batch.delta_count];
        *delta = (struct vector_delta){.row = row};
        delta->operation = (enum delta_operation)(DELTA_SPARSE + random_below(&life->random, 4));
        delta->amount = delta->operation >= DELTA_SCALE ? random_gauss(&life->random) : 0;
        delta->set = delta->operation <= DELTA_DENSE && random_chance(&life->random, 30);
        if (random_chance(&life->random, 20)) {
            delta->metadata = "why";
            delta->metadata_bytes = 1 + (uint32_t)random_below(&life->random, 3);
        }
        for (uint32_t d = 0; d < dimensions && delta->operation <= DELTA_DENSE; d++) {
            if (delta->operation == DELTA_SPARSE && random_chance(&life->random, 50)) continue;
            indices[batch.delta_count][delta->count] = d;
            values[batch.delta_count][delta->count++] = random_gauss(&life->random);
        }
        delta->indices = indices[batch.delta_count];
        delta->values = values[batch.delta_count++];
    }
    if (batch.delta_count == 0 || life->state_count + batch.delta_count > MAX_STATES) return;
    begin_change(life, &batch);
    must(history_reserve(life->history, life->table, &batch, NULL));
    for (uint32_t first = 0, end; first < batch.delta_count; first = end) {
        end = first + 1 + (uint32_t)random_below(&life->random, batch.delta_count - first);
        end = history_push_deltas(life->history, life->table, &batch, first, end, codes_vector, life);
        assert_true(end > first);
        for (uint32_t i = first; i < end; i++) {
            struct cell *cell = &life->rows[deltas[i].row].cells[column];
            life->sequence = batch.sequence + i;
            apply_to(cell->is.vector, &deltas[i], dimensions);
            store_rounded(column, cell->is.vector);
            write_vector(life, column, deltas[i].row, cell->is.vector);
            remember(life);
        }
    }
}

static void delete_rows(struct life *life) {
    uint32_t live[MAX_ROWS], rows[3];
    uint32_t live_count = live_rows(life, live);
    struct change change = {.kind = CHANGE_ROWS_DELETE, .rows = rows};
    for (uint32_t i = 0; i < live_count && change.row_count < 3; i++) {
        if (random_chance(&life->random, 15)) rows[change.row_count++] = live[i];
    }
    if (change.row_count == 0) return;
    begin_change(life, &change);
    tell(life, &change);
    table_apply_delete(life->table, rows, change.row_count);
    for (uint32_t i = 0; i < change.row_count; i++) {
        life->rows[rows[i]].alive = false;
        memset(life->codes[rows[i]], 0x7F, sizeof life->codes[0]); /* an index forgets */
    }
    remember(life);
}

static void set_expiry(struct life *life) {
    uint32_t live[MAX_ROWS];
    int64_t time_ms;
    uint32_t live_count = live_rows(life, live);
    struct change change = {.kind = CHANGE_ROWS_EXPIRY, .row_count = 1, .times_ms = &time_ms};
    if (live_count == 0) return;
    change.rows = &live[random_below(&life->random, live_count)];
    time_ms = random_chance(&life->random, 30) ? INT64_MAX : random_between(&life->random, 0, 300);
    begin_change(life, &change);
    must(table_reserve_expiry(life->table, NULL));
    tell(life, &change);
    table_apply_expiry(life->table, change.rows, &time_ms, 1);
    life->rows[*change.rows].expires = time_ms != INT64_MAX;
    life->rows[*change.rows].expiry_ms = time_ms;
    remember(life);
}

/* ---- comparing */

static void check_cell(struct life *life, unsigned column, uint32_t row, const struct state *state) {
    const struct cell *expected = &state->rows[row].cells[column];
    if (specs[column].type == VELTA_VECTOR) {
        float vector[MAX_DIMENSIONS];
        bool there =
            history_vector(life->history, life->table, column, row, state->sequence, codes_vector, life, vector);
        assert_int_equal(there, !expected->null);
        if (there) assert_memory_equal(vector, expected->is.vector, specs[column].dimensions * sizeof *vector);
        return;
    }
    struct column_scalar value;
    bool there = history_scalar(life->history, life->table, column, row, state->sequence, &value);
    assert_int_equal(there, !expected->null);
    if (!there) return;
    if (specs[column].type == VELTA_FLOAT) {
        assert_memory_equal(&value.number, &expected->is.number, sizeof value.number);
    } else if (specs[column].type == VELTA_STRING || specs[column].type == VELTA_BYTES) {
        assert_int_equal(value.text_bytes, expected->text_bytes);
        if (value.text_bytes) assert_memory_equal(value.text, expected->is.text, value.text_bytes);
    } else {
        assert_int_equal(value.integer, expected->is.integer);
    }
}

static void check_state(struct life *life, const struct state *state) {
    static uint64_t alive[MAX_ROWS / 64 + 1];
    static uint32_t changed[MAX_ROWS];
    int64_t now_ms = random_between(&life->random, 0, 300);
    uint64_t count = history_alive(life->history, life->table, state->sequence, now_ms, alive);
    uint64_t expected_count = 0;
    for (uint32_t row = 0; row < life->table->row_count; row++) {
        const struct model_row *then = row < state->row_count ? &state->rows[row] : NULL;
        bool lives = then != NULL && then->alive;
        bool visible = lives && !(then->expires && then->expiry_ms <= now_ms);
        assert_int_equal(history_row_alive(life->history, life->table, row, state->sequence), lives);
        assert_int_equal(bitmap_get(alive, row), visible);
        expected_count += visible;
        for (unsigned c = 0; lives && c < COLUMNS; c++) {
            check_cell(life, c, row, state);
        }
        if (lives && !life->rows[row].alive) {
            int64_t key = then->cells[ID].is.integer;
            assert_int_equal(history_find_dead(life->history, life->table, state->sequence, NULL, 0, key), row);
        }
    }
    assert_int_equal(count, expected_count);
    assert_int_equal(history_find_dead(life->history, life->table, state->sequence, NULL, 0, KEYS + 1), VELTA_NO_ROW);
    for (unsigned c = 0; c < COLUMNS; c++) {
        size_t found = history_changed_rows(life->history, c, state->sequence, changed, MAX_ROWS);
        assert_int_equal(history_changed_rows(life->history, c, state->sequence, NULL, 0), found);
        size_t at = 0;
        for (uint32_t row = 0; row < state->row_count; row++) { /* every difference is named */
            while (at < found && changed[at] < row) {
                at++;
                assert_true(at == found || changed[at] > changed[at - 1]);
            }
            bool named = at < found && changed[at] == row;
            bool alive_both = state->rows[row].alive && life->rows[row].alive;
            bool same = memcmp(&state->rows[row].cells[c], &life->rows[row].cells[c], sizeof(struct cell)) == 0;
            if (alive_both && !named) assert_true(same);
        }
    }
}

static void check_all(struct life *life) {
    for (size_t i = 0; i < life->state_count; i++) {
        const struct state *state = &life->states[i];
        if (state->kept) {
            assert_true(history_keeps(life->history, state->sequence));
            check_state(life, state);
        } else {
            assert_false(history_keeps(life->history, state->sequence));
        }
    }
    for (int64_t time_ms = -1; time_ms <= life->time_ms + 1; time_ms++) {
        const struct state *expected = NULL;
        uint64_t sequence;
        for (size_t i = 0; i < life->state_count && life->states[i].time_ms <= time_ms; i++) {
            expected = &life->states[i];
        }
        assert_non_null(expected);
        enum velta_status status = history_sequence_at(life->history, time_ms, &sequence, NULL);
        assert_int_equal(status, expected->kept ? VELTA_OK : VELTA_HISTORY_GONE);
        if (status != VELTA_OK) continue;
        bool newest = expected == &life->states[life->state_count - 1];
        assert_int_equal(sequence == HISTORY_NOW, newest);
        if (newest) continue;
        struct state named = *expected;
        named.sequence = sequence;
        check_state(life, &named);
    }
}

/* Chains of the f32 column lead from their bases to the present value. */
static void check_chains(struct life *life) {
    static struct history_delta chain[MAX_STATES * 2];
    for (uint32_t row = 0; row < life->table->row_count; row++) {
        float vector[MAX_DIMENSIONS];
        bool there = false;
        if (!life->rows[row].alive) continue;
        size_t count = history_chain(life->history, WIDE, row, chain, MAX_STATES * 2);
        if (count == 0) continue;
        assert_int_equal(chain[0].delta.operation, 0);
        for (size_t i = 0; i < count; i++) {
            struct vector_delta *delta = &chain[i].delta;
            uint32_t indices[MAX_DIMENSIONS];
            assert_int_equal(delta->row, row);
            if (delta->operation == DELTA_SPARSE) {
                history_read_indices(&chain[i].indices, delta->count, indices);
                delta->indices = indices;
            }
            if (delta->operation == 0 || (delta->operation == DELTA_DENSE && delta->set)) {
                there = delta->values != NULL;
                if (there) memcpy(vector, delta->values, sizeof vector);
            } else {
                assert_true(there);
                apply_to(vector, delta, specs[WIDE].dimensions);
            }
            if (i > 0 && chain[i - 1].sequence > 0 && chain[i].sequence > 0) {
                assert_true(chain[i].sequence >= chain[i - 1].sequence);
            }
        }
        bool last_known = chain[count - 1].delta.operation != 0;
        const struct cell *now = &life->rows[row].cells[WIDE];
        if (last_known) assert_int_equal(there, !now->null);
        if (last_known && there) assert_memory_equal(vector, now->is.vector, sizeof vector);
    }
}

/* ---- images */

static void check_image(struct life *life) {
    struct history *copy;
    must(history_create(life->memory, &simd_scalar, 3, &copy, NULL));
    for (uint32_t part = 0; part < history_part_count(life->history); part++) {
        size_t size_bytes = history_part_bytes(life->history, part);
        uint8_t *bytes = malloc(size_bytes + 1);
        history_part_write(life->history, part, bytes);
        must(history_part_read(copy, life->table, part, bytes, size_bytes, NULL));
        free(bytes);
    }
    must(history_load_finish(copy, life->table, NULL));
    assert_int_equal(history_part_count(copy), history_part_count(life->history));
    for (uint32_t part = 0; part < history_part_count(copy); part++) {
        size_t size_bytes = history_part_bytes(copy, part);
        uint8_t *a = malloc(size_bytes + 1);
        uint8_t *b = malloc(size_bytes + 1);
        assert_int_equal(size_bytes, history_part_bytes(life->history, part));
        history_part_write(copy, part, a);
        history_part_write(life->history, part, b);
        test_assert_bytes(a, b, size_bytes, "a part written again");
        assert_false(history_part_dirty(copy, part));
        free(a);
        free(b);
    }
    if (random_chance(&life->random, 50)) { /* go on living with the copy */
        struct history *old = life->history;
        life->history = copy;
        copy = old;
    }
    history_destroy(copy);
}

/* ---- compaction */

static size_t state_until(const struct life *life, uint64_t sequence) {
    size_t i = 0;
    while (i + 1 < life->state_count && life->states[i + 1].sequence <= sequence) {
        i++;
    }
    return i;
}

static void renumber(struct life *life, const uint32_t *row_map, uint32_t new_count) {
    for (size_t i = 0; i <= life->state_count; i++) {
        struct state *state = i < life->state_count ? &life->states[i] : NULL;
        struct model_row *rows = state != NULL ? state->rows : life->rows;
        uint32_t count = state != NULL ? state->row_count : life->table->row_count;
        uint32_t kept = 0;
        for (uint32_t row = 0; row < count; row++) {
            if (row_map[row] == VELTA_NO_ROW) continue;
            assert_int_equal(row_map[row], kept);
            rows[kept++] = rows[row];
        }
        if (state != NULL) state->row_count = kept;
        if (state == NULL) assert_int_equal(kept, new_count);
    }
    for (uint32_t row = 0; row < life->table->row_count; row++) {
        if (row_map[row] != VELTA_NO_ROW) memcpy(life->codes[row_map[row]], life->codes[row], sizeof life->codes[0]);
    }
}

static void compact(struct life *life) {
    uint64_t points[4];
    size_t point_count = random_below(&life->random, 5);
    uint64_t keep_from =
        random_chance(&life->random, 30) ? HISTORY_NOW : random_below(&life->random, life->sequence + 3);
    uint64_t keep[MAX_ROWS / 64 + 1] = {0};
    uint32_t row_map[MAX_ROWS];
    struct table *table;
    struct history *history;
    for (size_t i = 0; i < point_count; i++) {
        points[i] = random_below(&life->random, life->sequence + 1);
    }
    bool kept[MAX_STATES] = {false};
    size_t floor = state_until(life, keep_from);
    for (size_t i = 0; i < life->state_count; i++) {
        kept[i] = life->states[i].kept && i >= floor;
    }
    for (size_t i = 0; i < point_count; i++) {
        size_t state = state_until(life, points[i]);
        kept[state] |= life->states[state].kept;
    }
    history_needed_rows(life->history, keep_from, points, point_count, keep);
    must(table_vacuum_keeping(life->table, keep, &table, row_map, NULL));
    must(history_compact(life->history, life->table, row_map, keep_from, points, point_count, &history, NULL));
    renumber(life, row_map, table->row_count);
    for (size_t i = 0; i < life->state_count; i++) {
        life->states[i].kept = kept[i];
    }
    history_destroy(life->history);
    table_destroy(life->table);
    life->table = table;
    life->history = history;
}

/* ---- the tests */

static void start_life(struct life *life, uint64_t seed, struct memory *memory) {
    memset(life, 0, sizeof *life);
    life->random = random_seeded(seed);
    life->memory = memory;
    must(table_create(memory, &simd_scalar, "t", specs, COLUMNS, &life->table, NULL));
    must(history_create(memory, &simd_scalar, 1 + (uint32_t)random_below(&life->random, 8), &life->history, NULL));
    life->time_ms = -1;
    remember(life);
    life->states[0].time_ms = INT64_MIN;
}

static void end_life(struct life *life) {
    for (size_t i = 0; i < life->state_count; i++) {
        free(life->states[i].rows);
    }
    history_destroy(life->history);
    table_destroy(life->table);
}

static void live(struct life *life, unsigned steps) {
    static void (*const changes[])(struct life *) = {insert_rows,  insert_rows,  set_rows,    set_rows,  apply_deltas,
                                                     apply_deltas, apply_deltas, delete_rows, set_expiry};
    for (unsigned i = 0; i < steps && life->state_count + 16 < MAX_STATES; i++) {
        changes[random_below(&life->random, sizeof changes / sizeof changes[0])](life);
    }
}

static void every_past_state_is_as_it_was(void **state) {
    static struct life life;
    (void)state;
    for (uint64_t seed = 1; seed <= test_rounds(120); seed++) {
        struct memory *memory = memory_create(NULL, 0);
        start_life(&life, seed, memory);
        for (int era = 0; era < 4; era++) {
            live(&life, 10 + (unsigned)random_below(&life.random, 30));
            if (random_chance(&life.random, 60)) check_image(&life);
            check_all(&life);
            check_chains(&life);
            if (random_chance(&life.random, 60)) {
                compact(&life);
                check_all(&life);
                check_chains(&life);
            }
        }
        check_image(&life);
        end_life(&life);
        memory_destroy(memory);
    }
}

/* Reservations of a whole batch come before its pushes; a batch given up leaves nothing. */
static void batches_are_reserved_first(void **state) {
    static struct life life;
    struct memory *memory = memory_create(NULL, 0);
    uint32_t row = 0;
    char *long_text = calloc(1, 5000);
    (void)state;
    start_life(&life, 77, memory);
    while (life.table->row_count == 0) {
        insert_rows(&life);
    }
    uint64_t offsets[2][2] = {{0, 5000}, {0, 3}};
    struct column_values texts[2] = {{.data = long_text, .offsets = offsets[0]},
                                     {.data = "abc", .offsets = offsets[1]}};
    memset(long_text, 'x', 5000);
    for (int round = 0; round < 40; round++) {
        struct change sets[2];
        for (int i = 0; i < 2; i++) { /* the second is told the long text of the first */
            sets[i] = (struct change){.kind = CHANGE_ROWS_SET, .column = NAME, .rows = &row, .row_count = 1};
            sets[i].values = &texts[i];
            sets[i].sequence = ++life.sequence;
            sets[i].time_ms = life.time_ms;
            must(table_reserve_set(life.table, NAME, &texts[i], &row, 1, NULL));
            must(history_reserve(life.history, life.table, &sets[i], NULL));
        }
        if (round % 3 == 2) {
            table_abandon_reserve(life.table);
            history_abandon(life.history);
            continue;
        }
        for (int i = 0; i < 2; i++) {
            history_push(life.history, life.table, &sets[i], NULL, NULL);
            table_apply_set(life.table, NAME, &texts[i], &row, 1);
        }
        struct column_scalar value;
        assert_true(history_scalar(life.history, life.table, NAME, row, sets[0].sequence, &value));
        assert_int_equal(value.text_bytes, 5000);
        assert_memory_equal(value.text, long_text, 5000);
    }
    free(long_text);
    end_life(&life);
    memory_destroy(memory);
}

static void parts_are_dirty_only_at_the_end(void **state) {
    static struct life life;
    struct memory *memory = memory_create(NULL, 0);
    (void)state;
    start_life(&life, 78, memory);
    while (life.table->row_count == 0 || life.rows[0].cells[WIDE].null) {
        end_life(&life);
        start_life(&life, random_u64(&life.random), memory);
        insert_rows(&life);
    }
    size_t metadata_bytes = 300000; /* entries of uneven sizes over several parts, one longer than a part */
    char *metadata = calloc(1, 3000000);
    uint32_t parts = 1;
    for (int i = 0; i < 12; i++) {
        struct vector_delta delta = {.operation = DELTA_OFFSET, .amount = 1, .metadata = metadata};
        struct change change = {.kind = CHANGE_VECTORS, .column = WIDE, .deltas = &delta, .delta_count = 1};
        delta.metadata_bytes = (uint32_t)(i == 6 ? 3000000 : metadata_bytes);
        change.sequence = ++life.sequence;
        change.time_ms = life.time_ms;
        tell(&life, &change);
        uint32_t now = history_part_count(life.history);
        for (uint32_t part = 1; part < now; part++) {
            bool dirty = history_part_dirty(life.history, part);
            if (part + 1 < parts) assert_false(dirty);
            if (part >= parts || part + 1 == now) assert_true(dirty);
        }
        assert_true(history_part_dirty(life.history, 0));
        for (uint32_t part = 0; part < now; part++) {
            history_part_clean(life.history, part);
        }
        for (uint32_t part = 0; part < now; part++) {
            assert_false(history_part_dirty(life.history, part));
        }
        parts = now;
    }
    assert_true(parts > 5);
    check_image(&life);
    free(metadata);
    end_life(&life);
    memory_destroy(memory);
}

static void damaged_images_are_refused(void **state) {
    static struct life life;
    struct memory *memory = memory_create(NULL, 64 << 20);
    uint64_t refused = 0, tries = 0;
    (void)state;
    start_life(&life, 79, memory);
    live(&life, 60);
    compact(&life);
    live(&life, 30);
    assert_int_equal(history_part_count(life.history), 2);
    size_t sizes[2] = {history_part_bytes(life.history, 0), history_part_bytes(life.history, 1)};
    for (size_t i = 0; i < test_rounds(8000); i++) {
        unsigned part = random_chance(&life.random, 10) ? 0 : 1;
        struct history *copy;
        uint8_t *bytes[2];
        enum velta_status status = VELTA_OK;
        struct velta_error error = {0};
        must(history_create(memory, &simd_scalar, 3, &copy, NULL));
        for (unsigned p = 0; p < 2; p++) {
            bytes[p] = malloc(sizes[p]);
            history_part_write(life.history, p, bytes[p]);
        }
        size_t bit = random_below(&life.random, sizes[part] * 8);
        size_t cut = random_chance(&life.random, 20) ? random_below(&life.random, sizes[part]) : sizes[part];
        bytes[part][bit / 8] ^= (uint8_t)(1u << (bit % 8));
        for (unsigned p = 0; p < 2 && status == VELTA_OK; p++) {
            status = history_part_read(copy, life.table, p, bytes[p], p == part ? cut : sizes[p], &error);
        }
        if (status == VELTA_OK) status = history_load_finish(copy, life.table, &error);
        assert_true(status == VELTA_OK || status == VELTA_CORRUPT || status == VELTA_VERSION);
        if (status != VELTA_OK) assert_true(error.offset <= sizes[0] + sizes[1]);
        tries++;
        refused += status != VELTA_OK;
        free(bytes[0]);
        free(bytes[1]);
        history_destroy(copy);
    }
    assert_true(refused > tries / 4); /* most flips change a value, and values are free */
    end_life(&life);
    memory_destroy(memory);
}

/* The bits of 64 rows end where a word does. */
static void whole_words_of_rows_are_counted(void **state) {
    struct memory *memory = memory_create(NULL, 0);
    const struct velta_column spec = {.name = "n", .type = VELTA_INT};
    int64_t numbers[64] = {0};
    struct column_values values = {.data = numbers};
    struct table *table;
    struct history *history;
    uint64_t alive = 0;
    (void)state;
    must(table_create(memory, &simd_scalar, "t", &spec, 1, &table, NULL));
    must(history_create(memory, &simd_scalar, 3, &history, NULL));
    must(table_reserve_append(table, &values, 64, NULL));
    table_apply_append(table, &values, 64);
    assert_int_equal(history_alive(history, table, 0, 0, &alive), 64);
    assert_true(alive == UINT64_MAX);
    history_destroy(history);
    table_destroy(table);
    memory_destroy(memory);
}

/* Entries that each would do alone and contradict one another. */
static void contradictions_are_refused(void **state) {
    static struct life life;
    struct memory *memory = memory_create(NULL, 0);
    struct velta_error error;
    (void)state;
    start_life(&life, 79, memory);
    live(&life, 60);
    assert_int_equal(history_part_count(life.history), 2);
    size_t sizes[2] = {history_part_bytes(life.history, 0), history_part_bytes(life.history, 1)};
    for (int lie = 0; lie < 2; lie++) {
        uint8_t *bytes[2];
        struct history *copy;
        struct history_entry entry;
        uint32_t dead = VELTA_NO_ROW;
        uint64_t died = 0;
        must(history_create(memory, &simd_scalar, 3, &copy, NULL));
        for (unsigned p = 0; p < 2; p++) {
            bytes[p] = malloc(sizes[p]);
            history_part_write(life.history, p, bytes[p]);
        }
        size_t at = 0;
        for (bool lied = false; !lied && at < sizes[1]; at += lied ? 0 : entry.size_bytes) {
            memcpy(&entry, bytes[1] + at, sizeof entry);
            if (lie == 0 && entry.type == HISTORY_BIRTH) {
                entry.count = 0; /* a birth of nothing */
                lied = true;
            } else if (lie == 1 && entry.type == HISTORY_DEATH) {
                lied = dead != VELTA_NO_ROW;
                if (lied) entry.row = dead; /* a row that dies again */
                if (lied) entry.previous = died;
                dead = entry.row;
                died = at;
            }
            memcpy(bytes[1] + at, &entry, sizeof entry);
        }
        assert_true(at < sizes[1]);
        must(history_part_read(copy, life.table, 0, bytes[0], sizes[0], &error));
        assert_int_equal(history_part_read(copy, life.table, 1, bytes[1], sizes[1], &error), VELTA_CORRUPT);
        assert_int_equal(error.offset, at);
        history_destroy(copy);
        must(history_create(memory, &simd_scalar, 3, &copy, NULL));
        for (unsigned p = 0; p < 2; p++) {
            history_part_write(life.history, p, bytes[p]);
            must(history_part_read(copy, life.table, p, bytes[p], sizes[p], &error));
            free(bytes[p]);
        }
        must(history_part_read(copy, life.table, 2, "", 0, &error)); /* a part too many, if an empty one */
        assert_int_equal(history_load_finish(copy, life.table, &error), VELTA_CORRUPT);
        history_destroy(copy);
    }
    history_destroy(NULL);
    end_life(&life);
    memory_destroy(memory);
}

/* ---- memory */

struct attempt {
    uint64_t seed;
    int what;
};

static bool one_call(struct test_allocator *allocator, void *context) {
    static struct life life;
    const struct attempt *attempt = context;
    struct memory *memory = memory_create(&allocator->allocator, 0);
    enum velta_status status = VELTA_OK;
    start_life(&life, attempt->seed, memory);
    live(&life, 40);
    if (attempt->what == 0) { /* a long reservation */
        struct vector_delta deltas[40];
        float whole[MAX_DIMENSIONS] = {1, 2, 3, 4, 5, 6};
        uint32_t row = 0;
        struct change change = {.kind = CHANGE_VECTORS, .column = WIDE, .deltas = deltas, .delta_count = 40};
        for (int i = 0; i < 40; i++) {
            deltas[i] = (struct vector_delta){.operation = DELTA_DENSE, .row = row, .count = 6, .values = whole};
        }
        test_allocator_rearm(allocator);
        for (int i = 0; i < 20 && status == VELTA_OK; i++) {
            status = history_reserve(life.history, life.table, &change, NULL);
        }
        test_allocator_disarm(allocator);
        history_abandon(life.history);
    } else {
        uint64_t points[2] = {life.sequence / 3, life.sequence / 2};
        uint64_t keep[MAX_ROWS / 64 + 1] = {0};
        uint32_t row_map[MAX_ROWS];
        struct table *table;
        struct history *made = NULL;
        history_needed_rows(life.history, life.sequence / 2 + 5, points, 2, keep);
        must(table_vacuum_keeping(life.table, keep, &table, row_map, NULL));
        test_allocator_rearm(allocator);
        status = history_compact(life.history, life.table, row_map, life.sequence / 2 + 5, points, 2, &made, NULL);
        test_allocator_disarm(allocator);
        table_destroy(table);
        if (status == VELTA_OK) history_destroy(made);
    }
    check_all(&life);
    end_life(&life);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void refused_memory_changes_nothing(void **state) {
    struct test_allocator allocator;
    (void)state;
    for (int what = 0; what < 2; what++) {
        struct attempt attempt = {100, what};
        test_allocator_init(&allocator);
        assert_true(test_every_allocation_fails(&allocator, one_call, &attempt) > 2);
    }
}

/* What a delta says of its way is how far the vector comes. */
static void deltas_know_how_far_they_move(void **state) {
    enum { N = 40 };
    static const uint32_t indices[] = {0, 7, 39};
    const struct simd_kernels *simd = simd_select(NULL);
    struct random random = random_seeded(31);
    float values[N];
    (void)state;
    for (int i = 0; i < N; i++)
        values[i] = random_gauss(&random);
    const struct vector_delta deltas[] = {
        {.operation = DELTA_SPARSE, .count = 3, .indices = indices, .values = values},
        {.operation = DELTA_SPARSE, .count = 3, .indices = indices, .values = values, .set = true},
        {.operation = DELTA_SPARSE},
        {.operation = DELTA_DENSE, .count = N, .values = values},
        {.operation = DELTA_DENSE, .count = N, .values = values, .set = true},
        {.operation = DELTA_SCALE, .amount = -1.5F},
        {.operation = DELTA_SCALE, .amount = 1.0F},
        {.operation = DELTA_OFFSET, .amount = -0.25F},
    };
    for (size_t d = 0; d < sizeof deltas / sizeof *deltas; d++) {
        float before[N], after[N];
        double square = 0;
        for (int i = 0; i < N; i++)
            before[i] = after[i] = random_gauss(&random);
        double way = (double)vector_delta_way(simd, &deltas[d], before, N);
        vector_delta_apply(simd, &deltas[d], after, N);
        for (int i = 0; i < N; i++)
            square += ((double)after[i] - (double)before[i]) * ((double)after[i] - (double)before[i]);
        assert_true(fabs(way - sqrt(square)) <= 1e-5 * (1.0 + way));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deltas_know_how_far_they_move), cmocka_unit_test(every_past_state_is_as_it_was),
        cmocka_unit_test(batches_are_reserved_first),    cmocka_unit_test(parts_are_dirty_only_at_the_end),
        cmocka_unit_test(damaged_images_are_refused),    cmocka_unit_test(whole_words_of_rows_are_counted),
        cmocka_unit_test(contradictions_are_refused),    cmocka_unit_test(refused_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
