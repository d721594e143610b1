/*
 * Vector deltas into changes: all or none, in order, each with its own sequence number.
 *
 * Deltas that follow each other become one change; a create is the insert of one row, a delete the deletion of one. A
 * batch may create a key, change it, delete it and create it again: while the batch is read, `births` knows the rows
 * that its creates will have, `deaths` those that are gone.
 *
 * Before anything is committed it is made sure that every vector stays finite. The usual deltas on f32 cannot make one
 * infinite whatever it holds, and no vector is looked at. In a batch with others every delta is tried: on the stored
 * vector itself when it is the only one of its row, on a copy when the row has several or is created in the batch. What
 * is tried is what will be applied: decoded to f32, the delta, rounded to the column's element. (Codes-only vectors are
 * encoded anew after every delta; that is not repeated here, and apply.c holds the rest.)
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "store/write.h"

enum { FEW_DELTAS = 16, RUN_BYTES = 1 << 20 };
/* Half the step between the two largest floats: less than that added to any float rounds to a finite one. */
#define HARMLESS 0x1p103F
/* The bits of HARMLESS and of infinity. */
static const uint32_t HARMLESS_BITS = (uint32_t)(103 + 127) << 23;
static const uint32_t INFINITE_BITS = 0x7F800000;

/* ---- trying deltas on vectors */

/* A row that several deltas of the batch touch. */
struct touched {
    uint32_t row; /* VELTA_NO_ROW: an empty slot */
    uint32_t uses;
    float *vector; /* its value so far; NULL: not yet copied */
};

struct trial {
    struct velta *db;
    const struct snapshot_table *owner;
    uint32_t column_number;
    const struct column *column;
    uint32_t dimensions;
    struct arena *arena;
    bool replay;
    bool is_harmless;            /* known already: no delta of the batch makes a vector of f32 infinite */
    const float *const *created; /* vectors of the rows from row_count on; NULL: there are none */
    struct touched *slots;
    size_t mask;
    uint16_t *half; /* f16 columns: one vector */
};

static bool trial_round(struct trial *trial, float *vector) {
    const struct simd_kernels *simd = trial->db->simd;
    if (trial->column->spec.element == VELTA_F16) {
        simd->f32_to_f16(vector, trial->half, trial->dimensions);
        simd->f16_to_f32(trial->half, vector, trial->dimensions);
    }
    return simd->all_finite_f32(vector, trial->dimensions);
}

/* The value of a row before the batch (or as the batch creates it), as f32. */
static void trial_load(struct trial *trial, uint32_t row, float *out) {
    if (row >= trial->owner->table->row_count) {
        memcpy(out, trial->created[row - trial->owner->table->row_count], trial->dimensions * sizeof *out);
        (void)trial_round(trial, out); /* finite: the create was checked */
    } else if (trial->column->spec.element == VELTA_CODES) {
        hnsw_decode(trial->owner->indexes[trial->column_number], row, out);
    } else {
        column_get_vector(trial->column, row, out);
    }
}

/* A sparse delta on a stored f32 vector: only what it touches is looked at. */
static bool sparse_stays_finite(const struct trial *trial, const struct vector_delta *delta) {
    struct vector_view view = column_vectors(trial->column);
    const float *stored = vector_view_row(&view, delta->row);
    for (uint32_t i = 0; i < delta->count && !delta->set; i++) {
        if (!isfinite(stored[delta->indices[i]] + delta->values[i])) {
            return false;
        }
    }
    return true;
}

static bool try_alone(struct trial *trial, const struct vector_delta *delta) {
    bool is_stored = delta->row < trial->owner->table->row_count;
    if (is_stored && delta->operation == DELTA_SPARSE && trial->column->spec.element == VELTA_F32) {
        return sparse_stays_finite(trial, delta);
    }
    trial_load(trial, delta->row, trial->db->scratch);
    vector_delta_apply(trial->db->simd, delta, trial->db->scratch, trial->dimensions);
    return trial_round(trial, trial->db->scratch);
}

static struct touched *find_touched(const struct trial *trial, uint32_t row) {
    size_t slot = (size_t)hash_integer(row) & trial->mask;
    while (trial->slots[slot].row != row && trial->slots[slot].row != VELTA_NO_ROW) {
        slot = (slot + 1) & trial->mask;
    }
    return &trial->slots[slot];
}

static enum velta_status count_touched(struct trial *trial, const struct vector_delta *deltas, size_t count,
                                       struct velta_error *error) {
    size_t capacity = 16;
    while (capacity < count + count / 2) {
        capacity *= 2;
    }
    trial->slots = batch_allocate(trial->arena, capacity, sizeof *trial->slots, error);
    if (!trial->slots) {
        return memory_refusal(trial->db->memory);
    }
    trial->mask = capacity - 1;
    memset(trial->slots, 0xFF, capacity * sizeof *trial->slots);
    for (size_t i = 0; i < count; i++) {
        struct touched *touched = find_touched(trial, deltas[i].row);
        if (touched->row == VELTA_NO_ROW) {
            *touched = (struct touched){.row = deltas[i].row};
        }
        touched->uses++;
    }
    return VELTA_OK;
}

static enum velta_status try_among_others(struct trial *trial, struct touched *touched,
                                          const struct vector_delta *delta, bool *finite, struct velta_error *error) {
    if (!touched->vector) {
        touched->vector = batch_allocate(trial->arena, trial->dimensions, sizeof(float), error);
        if (!touched->vector) {
            return memory_refusal(trial->db->memory);
        }
        trial_load(trial, touched->row, touched->vector);
    }
    vector_delta_apply(trial->db->simd, delta, touched->vector, trial->dimensions);
    *finite = trial_round(trial, touched->vector);
    return VELTA_OK;
}

static enum velta_status trial_begin(struct trial *trial, const struct vector_delta *deltas, size_t count,
                                     struct velta_error *error) {
    enum velta_status status = apply_reserve_scratch(trial->db, trial->dimensions, error);
    if (!status && trial->column->spec.element == VELTA_F16) {
        trial->half = batch_allocate(trial->arena, trial->dimensions, sizeof *trial->half, error);
        status = trial->half ? VELTA_OK : memory_refusal(trial->db->memory);
    }
    return status || count == 1 ? status : count_touched(trial, deltas, count, error);
}

static enum velta_status check_present(const struct trial *trial, const struct vector_delta *deltas, size_t i,
                                       struct velta_error *error) {
    uint32_t row = deltas[i].row;
    if (row < trial->owner->table->row_count && column_is_null(trial->column, row)) {
        return velta_fail(error, VELTA_NOT_FOUND, i, "row %u has no vector in column '%.80s' to change", row,
                          trial->column->spec.name);
    }
    return VELTA_OK;
}

/* Whether a delta leaves every finite vector of f32 finite. */
static bool keeps_finite(const struct trial *trial, const struct vector_delta *delta) {
    float low = delta->amount;
    float high = delta->amount;
    if (delta->operation == DELTA_SCALE) {
        return fabsf(delta->amount) <= 1.0F;
    }
    if (delta->set || (delta->operation != DELTA_OFFSET && delta->count == 0)) {
        return true; /* what is given is finite */
    }
    if (delta->operation != DELTA_OFFSET) {
        trial->db->simd->min_max_f32(delta->values, delta->count, &low, &high);
    }
    return low > -HARMLESS && high < HARMLESS;
}

/* The usual deltas on f32: nothing has to be tried. */
static bool all_keep_finite(const struct trial *trial, const struct vector_delta *deltas, size_t count) {
    bool all = trial->column->spec.element == VELTA_F32;
    for (size_t i = 0; i < count && all && !trial->is_harmless; i++) {
        all = keeps_finite(trial, &deltas[i]);
    }
    return all;
}

static enum velta_status try_deltas(struct trial *trial, const struct vector_delta *deltas, size_t count,
                                    struct velta_error *error) {
    trial->column = trial->owner->table->columns[trial->column_number];
    trial->dimensions = trial->column->spec.dimensions;
    enum velta_status status = VELTA_OK;
    if (all_keep_finite(trial, deltas, count)) {
        for (size_t i = 0; i < count && !status; i++) {
            status = check_present(trial, deltas, i, error);
        }
        return status;
    }
    status = trial_begin(trial, deltas, count, error);
    for (size_t i = 0; i < count && !status; i++) {
        const struct vector_delta *delta = &deltas[i];
        if (count > 1 && i % APPLY_NEAR_DELTAS == 0) {
            size_t near = count - i < APPLY_NEAR_DELTAS ? count - i : APPLY_NEAR_DELTAS;
            apply_bring_near(trial->owner, trial->column_number, delta, near);
        }
        bool finite = true;
        status = check_present(trial, deltas, i, error);
        if (status) {
            return status;
        }
        if (trial->replay && trial->column->spec.element == VELTA_CODES) {
            continue;
        }
        struct touched *touched = count > 1 ? find_touched(trial, delta->row) : NULL;
        if (!touched || touched->uses == 1) {
            finite = try_alone(trial, delta);
        } else {
            status = try_among_others(trial, touched, delta, &finite, error);
        }
        if (!status && !finite) {
            status = velta_fail(error, VELTA_NOT_FINITE, i,
                                "the vector of row %u in column '%.80s' would no longer be finite", delta->row,
                                trial->column->spec.name);
        }
    }
    return status;
}

enum velta_status write_check_deltas(struct velta *db, const struct snapshot_table *owner, uint32_t column,
                                     const struct vector_delta *deltas, size_t count, struct velta_error *error) {
    struct arena arena = {.memory = db->memory};
    struct trial trial = {.db = db, .owner = owner, .column_number = column, .arena = &arena, .replay = true};
    enum velta_status status = try_deltas(&trial, deltas, count, error);
    arena_reset(&arena);
    return status;
}

/* ---- the batch as it is read */

/* A key that the batch creates: the row it will have. Slots of an open hash. */
struct birth {
    size_t delta; /* SIZE_MAX: an empty slot */
    uint32_t row;
};

struct delta_batch {
    struct writing writing;
    size_t column_number;
    const struct column *column;
    const struct velta_delta *deltas;
    size_t delta_count;
    uint64_t *ids; /* may be NULL */

    struct vector_delta *vectors; /* room for one per delta, and one more per create */
    uint32_t *vector_sources;     /* the delta each came from */
    size_t vector_count;
    size_t run_start; /* vectors from here are not in a change yet */
    uint64_t run_bytes;
    uint64_t span;    /* sequence numbers of the changes so far, those of the run included */
    bool is_harmless; /* so far only sparse deltas of harmless values */

    bool has_lives; /* creates or deletes: births, deaths and created are there */
    struct birth *births;
    uint32_t *deaths; /* rows; VELTA_NO_ROW an empty slot */
    size_t mask;
    const float **created; /* vectors of created rows, in order */
    uint32_t created_count;
};

static enum velta_status fail_delta(struct velta_error *error, enum velta_status status, size_t i, const char *text) {
    return velta_fail(error, status, i, "delta %zu: %s", i, text);
}

/* A deeper refusal, told as one of delta i. */
static enum velta_status blame_delta(struct velta_error *error, enum velta_status status, size_t i) {
    char text[sizeof error->text];
    if (status == VELTA_OK || status == VELTA_NO_MEMORY || status == VELTA_OVER_BUDGET || !error) {
        return status;
    }
    memcpy(text, error->text, sizeof text);
    text[200] = '\0';
    return fail_delta(error, status, i, text);
}

/* ---- checking one delta by itself */

/*
 * Without branches, so that the compiler makes vectors of it; what is wrong is looked for afterwards. No more than the
 * dimensions are read: a larger count is wrong whatever it holds. *largest: the bits of the largest magnitude; they
 * ascend as what they stand for.
 */
static bool sparse_is_good(const struct velta_delta *delta, uint32_t dimensions, uint32_t *largest) {
    uint32_t wrong = 0;
    uint32_t most = 0;
    if (delta->count > dimensions) {
        return false;
    }
    for (uint32_t k = 0; k < delta->count; k++) {
        uint32_t magnitude = bytes_get_u32(&delta->values[k]) & INT32_MAX;
        most = magnitude > most ? magnitude : most;
    }
    for (uint32_t k = 1; k < delta->count; k++) {
        wrong |= delta->indices[k] <= delta->indices[k - 1];
    }
    *largest = most;
    return wrong == 0 && most < INFINITE_BITS && (delta->count == 0 || delta->indices[delta->count - 1] < dimensions);
}

static enum velta_status check_sparse(struct delta_batch *batch, size_t i, struct velta_error *error) {
    const struct velta_delta *delta = &batch->deltas[i];
    uint32_t dimensions = batch->column->spec.dimensions;
    uint32_t largest = 0;
    if (delta->count > 0 && (!delta->indices || !delta->values)) {
        return fail_delta(error, VELTA_INVALID, i, "a sparse delta needs indices and values");
    }
    if (sparse_is_good(delta, dimensions, &largest)) {
        batch->is_harmless &= largest < HARMLESS_BITS;
        return VELTA_OK;
    }
    for (uint32_t k = 0; k < delta->count; k++) {
        if (delta->indices[k] >= dimensions) {
            return velta_fail(error, VELTA_DIMENSIONS, i, "delta %zu: index %u is not below the %u dimensions", i,
                              delta->indices[k], dimensions);
        }
        if (k > 0 && delta->indices[k] <= delta->indices[k - 1]) {
            return velta_fail(error, VELTA_INVALID, i, "delta %zu: index %u follows %u; sort them, each once", i,
                              delta->indices[k], delta->indices[k - 1]);
        }
        if (!isfinite(delta->values[k])) {
            return velta_fail(error, VELTA_NOT_FINITE, i, "delta %zu: the value for index %u is not finite", i,
                              delta->indices[k]);
        }
    }
    return VELTA_OK;
}

static enum velta_status check_dense(const struct delta_batch *batch, size_t i, struct velta_error *error) {
    const struct velta_delta *delta = &batch->deltas[i];
    uint32_t dimensions = batch->column->spec.dimensions;
    if (delta->count != dimensions || !delta->values) {
        return velta_fail(error, VELTA_DIMENSIONS, i, "delta %zu: %u values for column '%.80s' of %u dimensions", i,
                          delta->values ? delta->count : 0, batch->column->spec.name, dimensions);
    }
    if (!batch->writing.db->simd->all_finite_f32(delta->values, dimensions)) {
        return fail_delta(error, VELTA_NOT_FINITE, i, "the vector holds NaN or an infinity");
    }
    return VELTA_OK;
}

static enum velta_status check_delta(struct delta_batch *batch, size_t i, struct velta_error *error) {
    const struct velta_delta *delta = &batch->deltas[i];
    if (delta->metadata_bytes > 0 && (!delta->metadata || delta->operation == VELTA_DELTA_DELETE)) {
        return fail_delta(error, VELTA_INVALID, i,
                          delta->metadata ? "a delete keeps no metadata" : "the metadata has a size but no bytes");
    }
    if (delta->metadata_bytes > VELTA_MAX_VALUE_BYTES) {
        return fail_delta(error, VELTA_LIMIT, i, "metadata is at most 16 MiB");
    }
    batch->is_harmless &= delta->operation == VELTA_DELTA_SPARSE;
    switch (delta->operation) {
    case VELTA_DELTA_SPARSE:
        return check_sparse(batch, i, error);
    case VELTA_DELTA_CREATE:
    case VELTA_DELTA_DENSE:
        return check_dense(batch, i, error);
    case VELTA_DELTA_SCALE:
    case VELTA_DELTA_OFFSET:
        return isfinite(delta->amount) ? VELTA_OK : fail_delta(error, VELTA_NOT_FINITE, i, "the amount is not finite");
    case VELTA_DELTA_DELETE:
        return VELTA_OK;
    default:
        return fail_delta(error, VELTA_INVALID, i, "the operation is unknown");
    }
}

/* ---- which row */

static bool is_dead(const struct delta_batch *batch, uint32_t row) {
    size_t slot = (size_t)hash_integer(row) & batch->mask;
    while (batch->deaths[slot] != VELTA_NO_ROW) {
        if (batch->deaths[slot] == row) {
            return true;
        }
        slot = (slot + 1) & batch->mask;
    }
    return false;
}

static void note_death(struct delta_batch *batch, uint32_t row) {
    size_t slot = (size_t)hash_integer(row) & batch->mask;
    while (batch->deaths[slot] != VELTA_NO_ROW) {
        slot = (slot + 1) & batch->mask;
    }
    batch->deaths[slot] = row;
}

static bool key_is_int(const struct delta_batch *batch) {
    return batch->writing.table->key_column->spec.type == VELTA_INT;
}

/* The slot of a created key: its own, or the empty one where it would be. */
static struct birth *find_birth(const struct delta_batch *batch, const struct velta_delta *delta) {
    bool is_int = key_is_int(batch);
    uint64_t hash = is_int ? hash_integer((uint64_t)delta->key_int) : hash_bytes(delta->key, delta->key_bytes);
    size_t slot = (size_t)hash & batch->mask;
    for (; batch->births[slot].delta != SIZE_MAX; slot = (slot + 1) & batch->mask) {
        const struct velta_delta *other = &batch->deltas[batch->births[slot].delta];
        bool same = is_int ? other->key_int == delta->key_int
                           : other->key_bytes == delta->key_bytes &&
                                 (delta->key_bytes == 0 || memcmp(other->key, delta->key, delta->key_bytes) == 0);
        if (same) {
            break;
        }
    }
    return &batch->births[slot];
}

/* The row of a key in the table, visible or not. */
static uint32_t stored_row(const struct delta_batch *batch, const struct velta_delta *delta) {
    const struct table *table = batch->writing.table;
    return key_is_int(batch) ? table_find_int(table, delta->key_int)
                             : table_find_text(table, delta->key, delta->key_bytes);
}

/* The living row that a delta names, the batch so far included; VELTA_NO_ROW. */
static uint32_t living_row(const struct delta_batch *batch, const struct velta_delta *delta) {
    const struct table *table = batch->writing.table;
    if (delta->use_row || !table->key_column) {
        bool is_new = delta->row >= table->row_count && delta->row - table->row_count < batch->created_count;
        bool there = is_new || write_row_visible(&batch->writing, delta->row);
        return there && !(batch->has_lives && is_dead(batch, delta->row)) ? delta->row : VELTA_NO_ROW;
    }
    if (batch->has_lives) {
        const struct birth *birth = find_birth(batch, delta);
        if (birth->delta != SIZE_MAX && !is_dead(batch, birth->row)) {
            return birth->row;
        }
    }
    uint32_t row = stored_row(batch, delta);
    bool there =
        row != VELTA_NO_ROW && write_row_visible(&batch->writing, row) && !(batch->has_lives && is_dead(batch, row));
    return there ? row : VELTA_NO_ROW;
}

static enum velta_status fail_row(const struct delta_batch *batch, enum velta_status status, size_t i, const char *what,
                                  struct velta_error *error) {
    const struct velta_delta *delta = &batch->deltas[i];
    if (delta->use_row || !batch->writing.table->key_column) {
        return velta_fail(error, status, i, "delta %zu: row %u %s", i, delta->row, what);
    }
    if (key_is_int(batch)) {
        return velta_fail(error, status, i, "delta %zu: key %lld %s", i, (long long)delta->key_int, what);
    }
    return velta_fail(error, status, i, "delta %zu: key '%.*s' %s", i,
                      (int)(delta->key_bytes < 80 ? delta->key_bytes : 80), delta->key_bytes > 0 ? delta->key : "",
                      what);
}

/* ---- changes */

static enum velta_status end_run(struct delta_batch *batch, struct velta_error *error) {
    size_t count = batch->vector_count - batch->run_start;
    if (count == 0) {
        return VELTA_OK;
    }
    struct change change = {
        .kind = CHANGE_VECTORS,
        .column = (uint32_t)batch->column_number,
        .deltas = batch->vectors + batch->run_start,
        .delta_count = (uint32_t)count,
    };
    batch->run_start = batch->vector_count;
    batch->run_bytes = 0;
    return write_add(&batch->writing, &change, error);
}

static enum velta_status add_vector(struct delta_batch *batch, size_t i, const struct vector_delta *vector,
                                    struct velta_error *error) {
    batch->vector_sources[batch->vector_count] = (uint32_t)i;
    batch->vectors[batch->vector_count++] = *vector;
    batch->span++;
    batch->run_bytes += 24 + UINT64_C(8) * vector->count + vector->metadata_bytes;
    return batch->run_bytes < RUN_BYTES ? VELTA_OK : end_run(batch, error);
}

static enum velta_status add_death(struct delta_batch *batch, uint32_t row, struct velta_error *error) {
    enum velta_status status = end_run(batch, error);
    uint32_t *rows = status ? NULL : batch_allocate(&batch->writing.arena, 1, sizeof *rows, error);
    if (!rows) {
        return status ? status : memory_refusal(batch->writing.db->memory);
    }
    *rows = row;
    note_death(batch, row);
    batch->span++;
    struct change change = {.kind = CHANGE_ROWS_DELETE, .rows = rows, .row_count = 1};
    return write_add(&batch->writing, &change, error);
}

/* The key as a batch of one value. */
static enum velta_status key_value(struct delta_batch *batch, const struct velta_delta *delta,
                                   struct column_values *out, struct velta_error *error) {
    if (key_is_int(batch)) {
        *out = (struct column_values){.data = &delta->key_int};
        return VELTA_OK;
    }
    uint64_t *offsets = batch_allocate(&batch->writing.arena, 2, sizeof *offsets, error);
    if (!offsets) {
        return memory_refusal(batch->writing.db->memory);
    }
    offsets[0] = 0;
    offsets[1] = delta->key_bytes;
    *out = (struct column_values){.data = delta->key, .offsets = offsets};
    return VELTA_OK;
}

static enum velta_status birth_values(struct delta_batch *batch, size_t i, struct column_values **out,
                                      struct velta_error *error) {
    const struct table *table = batch->writing.table;
    const struct velta_delta *delta = &batch->deltas[i];
    struct column_values *values = batch_allocate(&batch->writing.arena, table->column_count, sizeof *values, error);
    if (!values) {
        return memory_refusal(batch->writing.db->memory);
    }
    memset(values, 0, table->column_count * sizeof *values);
    for (size_t c = 0; c < table->column_count; c++) {
        enum velta_status status = VELTA_OK;
        if (c == batch->column_number) {
            values[c] = (struct column_values){.data = delta->values, .element = VELTA_F32};
        } else if (table->columns[c] == table->key_column) {
            status = key_value(batch, delta, &values[c], error);
        }
        status = status ? status : column_check_values(table->columns[c], &values[c], 1, error);
        if (status) {
            return blame_delta(error, status, i);
        }
    }
    *out = values;
    return VELTA_OK;
}

static enum velta_status add_birth(struct delta_batch *batch, size_t i, struct velta_error *error) {
    const struct table *table = batch->writing.table;
    const struct velta_delta *delta = &batch->deltas[i];
    struct column_values *values = NULL;
    bool has_key = table->key_column != NULL;
    if (has_key && delta->use_row) {
        return fail_delta(error, VELTA_INVALID, i, "a create names its key, not a row");
    }
    if (has_key && living_row(batch, delta) != VELTA_NO_ROW) {
        return fail_row(batch, VELTA_EXISTS, i, "exists already; change it by a dense delta with set", error);
    }
    if (batch->created_count >= VELTA_MAX_ROWS - table->row_count) {
        return fail_delta(error, VELTA_LIMIT, i, "the table is full");
    }
    uint32_t expired = has_key ? stored_row(batch, delta) : VELTA_NO_ROW;
    enum velta_status status = birth_values(batch, i, &values, error);
    status = status ? status : end_run(batch, error);
    if (!status && expired != VELTA_NO_ROW && !is_dead(batch, expired)) {
        status = add_death(batch, expired, error);
    }
    if (status) {
        return status;
    }
    struct change change = {
        .kind = CHANGE_ROWS_INSERT,
        .first_row = table->row_count + batch->created_count,
        .row_count = 1,
        .values = values,
        .column_count = (uint32_t)table->column_count,
    };
    if (batch->ids) {
        batch->ids[i] = batch->span;
    }
    batch->span++;
    batch->created[batch->created_count++] = delta->values;
    if (has_key) {
        *find_birth(batch, delta) = (struct birth){.delta = i, .row = change.first_row};
    }
    status = write_add(&batch->writing, &change, error);
    if (!status && delta->metadata_bytes > 0) {
        /* An insert has no place for it; a delta that changes nothing has. */
        struct vector_delta nothing = {.operation = DELTA_SPARSE,
                                       .row = change.first_row,
                                       .metadata = delta->metadata,
                                       .metadata_bytes = delta->metadata_bytes};
        status = add_vector(batch, i, &nothing, error);
    }
    return status;
}

/*
 * Asks for the memory that finding the rows of the next deltas needs. Those of a batch are brought near later, all
 * together; for a delta alone this is the time, and the row that its key most likely has is known before the key has
 * been compared.
 */
static void prefetch_keys(const struct delta_batch *batch, size_t i) {
    const struct table *table = batch->writing.table;
    const struct velta_delta *deltas = &batch->deltas[i];
    size_t left = batch->delta_count - i;
    size_t near = left < APPLY_NEAR_DELTAS ? left : APPLY_NEAR_DELTAS;
    for (size_t k = 0; k < near; k++) {
        table_prefetch_int(table, deltas[k].key_int);
    }
    for (size_t k = 0; k < near && batch->delta_count > 1; k++) {
        (void)table_guess_int(table, deltas[k].key_int);
    }
#if !defined(__wasm__) /* without hints it would only wait */
    if (batch->delta_count == 1) {
        bool is_row = deltas->use_row || !table->key_column;
        struct vector_delta alone = {.row = is_row ? deltas->row : table_guess_int(table, deltas->key_int)};
        apply_bring_near(database_table(batch->writing.handle), (uint32_t)batch->column_number, &alone, 1);
    }
#endif
}

static enum velta_status add_delta(struct delta_batch *batch, size_t i, struct velta_error *error) {
    static const enum delta_operation operations[] = {
        [VELTA_DELTA_SPARSE] = DELTA_SPARSE,
        [VELTA_DELTA_DENSE] = DELTA_DENSE,
        [VELTA_DELTA_SCALE] = DELTA_SCALE,
        [VELTA_DELTA_OFFSET] = DELTA_OFFSET,
    };
    const struct velta_delta *delta = &batch->deltas[i];
    enum velta_status status = check_delta(batch, i, error);
    if (!status && delta->time_ms != batch->writing.time_ms) {
        status = end_run(batch, error); /* a change has one time */
        batch->writing.time_ms = delta->time_ms;
    }
    if (status) {
        return status;
    }
    if (delta->operation == VELTA_DELTA_CREATE) {
        return add_birth(batch, i, error);
    }
    uint32_t row = living_row(batch, delta);
    if (row == VELTA_NO_ROW) {
        return fail_row(batch, VELTA_NOT_FOUND, i, "is not there", error);
    }
    if (batch->ids) {
        batch->ids[i] = batch->span;
    }
    if (delta->operation == VELTA_DELTA_DELETE) {
        return add_death(batch, row, error);
    }
    bool has_values = delta->operation == VELTA_DELTA_SPARSE || delta->operation == VELTA_DELTA_DENSE;
    struct vector_delta vector = {
        .operation = operations[delta->operation],
        .set = has_values && delta->set,
        .row = row,
        .count = has_values ? delta->count : 0,
        .indices = delta->operation == VELTA_DELTA_SPARSE ? delta->indices : NULL,
        .values = has_values ? delta->values : NULL,
        .amount = has_values ? 0 : delta->amount,
        .metadata = delta->metadata_bytes > 0 ? delta->metadata : NULL,
        .metadata_bytes = delta->metadata_bytes,
    };
    return add_vector(batch, i, &vector, error);
}

/* ---- the whole */

static enum velta_status allocate_lives(struct delta_batch *batch, size_t creates, size_t deletes,
                                        struct velta_error *error) {
    struct arena *arena = &batch->writing.arena;
    size_t capacity = 16;
    while (capacity < 2 * (2 * creates + deletes)) { /* a create may also bury an expired row */
        capacity *= 2;
    }
    batch->has_lives = true;
    batch->mask = capacity - 1;
    batch->births = batch_allocate(arena, capacity, sizeof *batch->births, error);
    batch->deaths = batch->births ? batch_allocate(arena, capacity, sizeof *batch->deaths, error) : NULL;
    batch->created = batch->deaths ? batch_allocate(arena, creates, sizeof *batch->created, error) : NULL;
    if (!batch->created) {
        return memory_refusal(batch->writing.db->memory);
    }
    for (size_t i = 0; i < capacity; i++) {
        batch->births[i].delta = SIZE_MAX;
    }
    memset(batch->deaths, 0xFF, capacity * sizeof *batch->deaths);
    return VELTA_OK;
}

static enum velta_status allocate_batch(struct delta_batch *batch, struct vector_delta *few, uint32_t *few_sources,
                                        struct velta_error *error) {
    struct arena *arena = &batch->writing.arena;
    size_t creates = 0;
    size_t deletes = 0;
    for (size_t i = 0; i < batch->delta_count; i++) {
        creates += batch->deltas[i].operation == VELTA_DELTA_CREATE;
        deletes += batch->deltas[i].operation == VELTA_DELTA_DELETE;
    }
    batch->vectors = few;
    batch->vector_sources = few_sources;
    if (batch->delta_count > FEW_DELTAS) {
        batch->vectors = batch_allocate(arena, batch->delta_count, sizeof *batch->vectors, error);
        batch->vector_sources =
            batch->vectors ? batch_allocate(arena, batch->delta_count, sizeof *batch->vector_sources, error) : NULL;
        if (!batch->vector_sources) {
            return memory_refusal(batch->writing.db->memory);
        }
    }
    return creates + deletes > 0 ? allocate_lives(batch, creates, deletes, error) : VELTA_OK;
}

/* A change of another table that shares the batch's fate. */
static enum velta_status add_also(struct delta_batch *batch, const struct change *also, struct velta_error *error) {
    enum velta_status status = write_add(&batch->writing, also, error);
    if (!status) {
        batch->writing.changes[batch->writing.change_count - 1].table = also->table;
    }
    return status;
}

static enum velta_status apply_batch(struct delta_batch *batch, int64_t time_ms, const struct change *also,
                                     struct velta_error *error) {
    struct vector_delta few[FEW_DELTAS];
    uint32_t few_sources[FEW_DELTAS];
    enum velta_status status = allocate_batch(batch, few, few_sources, error);
    for (size_t i = 0; i < batch->delta_count && !status; i++) {
        if (i % APPLY_NEAR_DELTAS == 0) {
            prefetch_keys(batch, i);
        }
        status = add_delta(batch, i, error);
    }
    status = status ? status : end_run(batch, error);
    status = status || !also ? status : add_also(batch, also, error);
    if (status) {
        return status;
    }
    struct trial trial = {
        .db = batch->writing.db,
        .owner = database_table(batch->writing.handle),
        .column_number = (uint32_t)batch->column_number,
        .arena = &batch->writing.arena,
        .is_harmless = batch->is_harmless,
        .created = batch->created,
    };
    struct velta_error own;
    error = error ? error : &own;
    status = try_deltas(&trial, batch->vectors, batch->vector_count, error);
    if (status) {
        bool of_delta = status != VELTA_NO_MEMORY && status != VELTA_OVER_BUDGET;
        return of_delta ? blame_delta(error, status, batch->vector_sources[error->offset]) : status;
    }
    uint64_t first_sequence = batch->writing.db->next_sequence;
    status = commit_changes(batch->writing.db, batch->writing.changes, batch->writing.change_count,
                            time_ms != 0 ? time_ms : batch->writing.now_ms, NULL, error);
    for (size_t i = 0; i < batch->delta_count && !status && batch->ids; i++) {
        batch->ids[i] += first_sequence;
    }
    return status;
}

static enum velta_status find_vectors(struct delta_batch *batch, const char *name, struct velta_error *error) {
    enum velta_status status = database_find_column(batch->writing.table, name, &batch->column_number, error);
    if (status) {
        return status;
    }
    batch->column = batch->writing.table->columns[batch->column_number];
    if (batch->column->spec.type != VELTA_VECTOR) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET, "column '%.100s' does not hold vectors", name);
    }
    return batch->delta_count >= UINT32_MAX / 2
               ? velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "too many deltas in one batch")
               : VELTA_OK;
}

enum velta_status write_deltas(velta_table *table, const char *column, const struct velta_delta *deltas,
                               size_t delta_count, int64_t time_ms, uint64_t *ids, const struct change *also,
                               struct velta_error *error) {
    struct delta_batch batch;
    memset(&batch, 0, sizeof batch);
    batch.deltas = deltas;
    batch.delta_count = delta_count;
    batch.ids = ids;
    batch.is_harmless = true;
    enum velta_status status = write_begin(&batch.writing, table, error);
    status = status ? status : find_vectors(&batch, column, error);
    if (!status && delta_count > 0) {
        status = apply_batch(&batch, time_ms, also, error);
    }
    write_end(&batch.writing);
    return status;
}

enum velta_status velta_apply(velta_table *table, const char *column, const struct velta_delta *deltas,
                              size_t delta_count, int64_t time_ms, uint64_t *ids, struct velta_error *error) {
    return write_deltas(table, column, deltas, delta_count, time_ms, ids, NULL, error);
}
