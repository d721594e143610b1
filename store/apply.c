/*
 * What a change does to the state: memory first (apply_reserve), then the change itself, which cannot fail.
 *
 * The writer and the replay of the log both come through here, so the same changes in the same order give the same
 * state. History is told of a change just before it happens; of vector deltas, in runs: it notes as many as it can
 * without the vectors that the first of them make, then these are applied. Applied by themselves they are few
 * instructions each, so that the processor waits for the rows of several at the same time.
 *
 * Schema changes and tags make their new objects while reserving and only hang them in when applied. An added column is
 * the exception: it is put at the table's end when reserved (core/ has one step for it) and taken off again by
 * apply_abandon; until then nobody but the log's codec looks at the table.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "store/database.h"

/* ---- helpers */

static struct snapshot_table *owner_of(struct velta *db, const struct change *change) {
    return &db->state.tables[change->table];
}

void commit_codes_vector(void *snapshot_table, uint32_t column, uint32_t row, float *out) {
    const struct snapshot_table *owner = snapshot_table;
    const struct hnsw *index = owner->indexes[column];
    if (hnsw_contains(index, row)) {
        hnsw_decode(index, row, out);
    } else { /* a dead row whose history, which is from outside, does not have its last vector */
        memset(out, 0, owner->table->columns[column]->spec.dimensions * sizeof *out);
    }
}

/* Values that are not NULL. */
static uint32_t present_count(const struct column_values *values, uint32_t count) {
    uint32_t present = 0;
    for (uint32_t i = 0; i < count; i++) {
        present += !column_value_is_null(values, i);
    }
    return present;
}

enum velta_status apply_reserve_scratch(struct velta *db, uint32_t floats, struct velta_error *error) {
    if (floats <= db->scratch_floats) {
        return VELTA_OK;
    }
    float *larger =
        memory_resize(db->memory, db->scratch, db->scratch_floats * sizeof *larger, floats * sizeof *larger);
    if (!larger) {
        return memory_fail(db->memory, error);
    }
    db->scratch = larger;
    db->scratch_floats = floats;
    return VELTA_OK;
}

/* ---- reserving */

static enum velta_status reserve_insert(struct velta *db, const struct change *change, uint32_t *added,
                                        struct velta_error *error) {
    struct snapshot_table *owner = owner_of(db, change);
    struct table *table = owner->table;
    uint32_t most = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        if (owner->indexes[i]) {
            uint32_t present = present_count(&change->values[i], change->row_count);
            most = present > most ? present : most;
        }
    }
    *added += most;
    for (size_t i = 0; i < table->column_count; i++) {
        if (owner->indexes[i]) {
            enum velta_status status =
                hnsw_reserve(owner->indexes[i], change->first_row + change->row_count, *added, error);
            status = status ? status : apply_reserve_scratch(db, table->columns[i]->spec.dimensions, error);
            if (status) {
                return status;
            }
        }
    }
    return table_reserve_append(table, change->values, change->row_count, error);
}

static enum velta_status reserve_set(struct velta *db, const struct change *change, uint32_t *added,
                                     struct velta_error *error) {
    struct snapshot_table *owner = owner_of(db, change);
    struct table *table = owner->table;
    struct hnsw *index = owner->indexes[change->column];
    if (index) {
        for (uint32_t i = 0; i < change->row_count; i++) {
            *added += !hnsw_contains(index, change->rows[i]);
        }
        enum velta_status status = hnsw_reserve(index, table->row_count, *added, error);
        uint32_t floats = 2 * table->columns[change->column]->spec.dimensions;
        status = status ? status : apply_reserve_scratch(db, floats, error);
        if (status) {
            return status;
        }
    }
    return table_reserve_set(table, change->column, change->values, change->rows, change->row_count, error);
}

static enum velta_status reserve_indexes(struct velta *db, const struct change *change, uint32_t added,
                                         struct velta_error *error) {
    struct snapshot_table *owner = owner_of(db, change);
    for (size_t i = 0; i < owner->table->column_count; i++) {
        if (owner->indexes[i]) {
            enum velta_status status = hnsw_reserve(owner->indexes[i], owner->table->row_count + added, added, error);
            if (status) {
                return status;
            }
        }
    }
    return VELTA_OK;
}

static enum velta_status reserve_vectors(struct velta *db, const struct change *change, uint32_t added,
                                         struct velta_error *error) {
    struct snapshot_table *owner = owner_of(db, change);
    enum velta_status status = apply_reserve_scratch(db, owner->table->columns[change->column]->spec.dimensions, error);
    if (!status && owner->indexes[change->column]) {
        status = hnsw_reserve(owner->indexes[change->column], owner->table->row_count + added, added, error);
    }
    return status;
}

static enum velta_status reserve_table(struct velta *db, const struct change *change, struct velta_error *error) {
    struct prepared *prepared = &db->prepared;
    enum velta_status status =
        snapshot_table_create(&db->state, change->name, change->columns, change->column_count, &prepared->table, error);
    if (status) {
        return status;
    }
    prepared->table.number = change->table;
    prepared->tables = memory_allocate(db->memory, (db->state.table_count + 1) * sizeof *prepared->tables);
    prepared->handle = memory_allocate_zero(db->memory, sizeof *prepared->handle);
    if (!prepared->tables || !prepared->handle) {
        return memory_fail(db->memory, error);
    }
    return memory_grow_array(db->memory, (void **)&db->handles, &db->handle_capacity, db->state.table_count + 1,
                             sizeof(struct velta_table *), error);
}

static enum velta_status reserve_column(struct velta *db, const struct change *change, struct velta_error *error) {
    struct snapshot_table *owner = owner_of(db, change);
    enum velta_status status = table_add_column(owner->table, change->columns, error);
    if (status) {
        return status;
    }
    db->prepared.column_of = db->handles[change->table];
    return snapshot_table_make_indexes(&db->state, owner, error);
}

static struct snapshot_tag *find_tag(struct velta *db, const char *name) {
    for (size_t i = 0; i < db->state.tag_count; i++) {
        if (strcmp(db->state.tags[i].name, name) == 0) {
            return &db->state.tags[i];
        }
    }
    return NULL;
}

static enum velta_status reserve_tag(struct velta *db, const struct change *change, struct velta_error *error) {
    struct prepared *prepared = &db->prepared;
    if (find_tag(db, change->name)) {
        return VELTA_OK;
    }
    prepared->tag_name = memory_allocate(db->memory, strlen(change->name) + 1);
    if (!prepared->tag_name) {
        return memory_fail(db->memory, error);
    }
    strcpy(prepared->tag_name, change->name);
    prepared->tags = memory_allocate(db->memory, (db->state.tag_count + 1) * sizeof *prepared->tags);
    return prepared->tags ? VELTA_OK : memory_fail(db->memory, error);
}

enum velta_status apply_reserve(struct velta *db, const struct change *change, uint32_t *added,
                                struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    switch (change->kind) {
    case CHANGE_TABLE_CREATE:
        return reserve_table(db, change, error);
    case CHANGE_TABLE_DROP:
        return VELTA_OK;
    case CHANGE_COLUMN_ADD:
        return reserve_column(db, change, error);
    case CHANGE_TAG:
        return reserve_tag(db, change, error);
    case CHANGE_ROWS_INSERT:
        status = reserve_insert(db, change, added, error);
        break;
    case CHANGE_ROWS_SET:
        status = reserve_set(db, change, added, error);
        break;
    case CHANGE_ROWS_DELETE:
        status = reserve_indexes(db, change, *added, error);
        break;
    case CHANGE_ROWS_EXPIRY:
        status = table_reserve_expiry(owner_of(db, change)->table, error);
        break;
    case CHANGE_VECTORS:
        status = reserve_vectors(db, change, *added, error);
        break;
    }
    if (!status) {
        status = history_reserve(owner_of(db, change)->history, owner_of(db, change)->table, change, error);
    }
    return status;
}

static void abandon_column(const struct velta_table *handle) {
    struct snapshot_table *owner = database_table(handle);
    size_t last = owner->table->column_count - 1;
    if (last < owner->index_capacity && owner->indexes[last]) {
        hnsw_destroy(owner->indexes[last]);
        owner->indexes[last] = NULL;
    }
    column_destroy(owner->table->columns[last]);
    owner->table->column_count = last;
}

void apply_abandon(struct velta *db) {
    struct prepared *prepared = &db->prepared;
    if (prepared->column_of) {
        abandon_column(prepared->column_of);
    }
    snapshot_table_destroy(db->memory, &prepared->table);
    memory_release(db->memory, prepared->tables, (db->state.table_count + 1) * sizeof *prepared->tables);
    memory_release(db->memory, prepared->handle, sizeof *prepared->handle);
    memory_release(db->memory, prepared->tags, (db->state.tag_count + 1) * sizeof *prepared->tags);
    memory_release(db->memory, prepared->tag_name, prepared->tag_name ? strlen(prepared->tag_name) + 1 : 0);
    *prepared = (struct prepared){0};
    for (size_t i = 0; i < db->state.table_count; i++) {
        if (!db->state.tables[i].dropped) {
            table_abandon_reserve(db->state.tables[i].table);
            history_abandon(db->state.tables[i].history);
        }
    }
}

/* ---- applying */

void apply_bring_near(const struct snapshot_table *owner, uint32_t column_number, const struct vector_delta *deltas,
                      size_t count) {
    const struct hnsw *index = owner->indexes[column_number];
    for (size_t i = 0; i < count; i++) {
        history_prefetch(owner->history, deltas[i].row, column_number);
    }
    for (size_t i = 0; i < count && index; i++) {
        hnsw_prefetch(index, deltas[i].row, false);
    }
    for (size_t i = 0; i < count && index; i++) {
        hnsw_prefetch(index, deltas[i].row, true);
    }
#if !defined(__wasm__) /* loads of whole rows only wait longer than their use does */
    const struct column *column = owner->table->columns[column_number];
    if (column->spec.element == VELTA_CODES) {
        return;
    }
    struct vector_view view = column_vectors(column);
    for (size_t i = 0; i < count; i++) {
        bool is_there = deltas[i].row < owner->table->row_count && !column_is_null(column, deltas[i].row);
        if (is_there) { /* not created in this batch */
            simd_touch(vector_view_row(&view, deltas[i].row), view.row_stride);
        }
    }
#endif
}

/* The stored value of a row as f32: in place, or decoded into the scratch. */
static const float *stored_vector(struct velta *db, const struct column *column, uint32_t row) {
    if (column->spec.element == VELTA_F32) {
        struct vector_view view = column_vectors(column);
        return vector_view_row(&view, row);
    }
    column_get_vector(column, row, db->scratch);
    return db->scratch;
}

/* Value i of a batch as f32: what a codes-only column is given. */
static const float *batch_vector(struct velta *db, const struct column *column, const struct column_values *values,
                                 size_t i) {
    size_t dimensions = column->spec.dimensions;
    if (values->element == VELTA_F32) {
        return (const float *)values->data + i * dimensions;
    }
    db->simd->f16_to_f32((const uint16_t *)values->data + i * dimensions, db->scratch, dimensions);
    return db->scratch;
}

static const float *new_vector(struct velta *db, const struct column *column, const struct column_values *values,
                               size_t i, uint32_t row) {
    return column->spec.element == VELTA_CODES ? batch_vector(db, column, values, i) : stored_vector(db, column, row);
}

static void apply_insert(struct velta *db, const struct change *change) {
    struct snapshot_table *owner = owner_of(db, change);
    struct table *table = owner->table;
    uint32_t first_row = table_apply_append(table, change->values, change->row_count);
    for (size_t c = 0; c < table->column_count; c++) {
        if (!owner->indexes[c]) {
            continue;
        }
        for (uint32_t i = 0; i < change->row_count; i++) {
            if (!column_is_null(table->columns[c], first_row + i)) {
                hnsw_add(owner->indexes[c], first_row + i,
                         new_vector(db, table->columns[c], &change->values[c], i, first_row + i));
            }
        }
    }
}

/* A row's vector becomes value i. The column has the old one. */
static void index_moved(struct velta *db, const struct column *column, struct hnsw *index,
                        const struct column_values *values, size_t i, uint32_t row) {
    uint32_t dimensions = column->spec.dimensions;
    const float *to = batch_vector(db, column, values, i);
    float *from = db->scratch + dimensions;
    if (column->spec.element == VELTA_CODES) {
        hnsw_decode(index, row, from);
    } else {
        column_get_vector(column, row, from);
    }
    float way = sqrtf(db->simd->l2_f32(to, from, dimensions));
    hnsw_update(index, row, way, column->spec.element == VELTA_CODES ? to : NULL);
}

/* What the index is told of vectors that are set: of those there were before they are written, then of new ones. */
static void index_set(struct velta *db, struct snapshot_table *owner, const struct change *change, bool written) {
    const struct column *column = owner->table->columns[change->column];
    struct hnsw *index = owner->indexes[change->column];
    for (uint32_t i = 0; i < change->row_count; i++) {
        uint32_t row = change->rows[i];
        bool there = hnsw_contains(index, row);
        bool null = column_value_is_null(change->values, i);
        if (there && !written && null) {
            hnsw_remove(index, row);
        } else if (there && !written) {
            index_moved(db, column, index, change->values, i, row);
        } else if (!there && written && !null) {
            hnsw_add(index, row, new_vector(db, column, change->values, i, row));
        }
    }
}

static void apply_set(struct velta *db, const struct change *change) {
    struct snapshot_table *owner = owner_of(db, change);
    if (owner->indexes[change->column]) {
        index_set(db, owner, change, false);
    }
    table_apply_set(owner->table, change->column, change->values, change->rows, change->row_count);
    if (owner->indexes[change->column]) {
        index_set(db, owner, change, true);
    }
}

static void apply_delete(struct velta *db, const struct change *change) {
    struct snapshot_table *owner = owner_of(db, change);
    for (size_t c = 0; c < owner->table->column_count; c++) {
        for (uint32_t i = 0; owner->indexes[c] && i < change->row_count; i++) {
            if (hnsw_contains(owner->indexes[c], change->rows[i])) {
                hnsw_remove(owner->indexes[c], change->rows[i]);
            }
        }
    }
    table_apply_delete(owner->table, change->rows, change->row_count);
}

/*
 * A codes-only vector is its decoded value plus the delta. Values that differ from the written ones by rounding may
 * overflow where the check before the commit found that the written ones do not: held at the largest number.
 */
static void hold_finite(const struct simd_kernels *simd, float *vector, uint32_t dimensions) {
    if (simd->all_finite_f32(vector, dimensions)) {
        return;
    }
    for (uint32_t i = 0; i < dimensions; i++) {
        vector[i] = !(vector[i] >= -FLT_MAX) ? -FLT_MAX : vector[i] > FLT_MAX ? FLT_MAX : vector[i];
    }
}

/* How far the delta moves the vector as the index sees it: under cosine its length does not count. */
static float turning_way(const struct simd_kernels *simd, const struct column *column, const struct vector_delta *delta,
                         const float *vector) {
    bool stays = column->spec.metric == VELTA_COSINE && delta->operation == DELTA_SCALE && delta->amount > 0.0F;
    return stays ? 0.0F : vector_delta_way(simd, delta, vector, column->spec.dimensions);
}

static void apply_vector(struct velta *db, struct snapshot_table *owner, uint32_t column_number,
                         const struct vector_delta *delta) {
    struct column *column = owner->table->columns[column_number];
    struct hnsw *index = owner->indexes[column_number];
    uint32_t dimensions = column->spec.dimensions;
    void *stored = column->spec.element == VELTA_CODES ? NULL : column_vector_for_write(column, delta->row);
    float *vector = column->spec.element == VELTA_F32 ? stored : db->scratch;
    if (column->spec.element == VELTA_F16) {
        db->simd->f16_to_f32(stored, vector, dimensions);
    } else if (column->spec.element == VELTA_CODES) {
        hnsw_decode(index, delta->row, vector);
    }
    float way = index ? turning_way(db->simd, column, delta, vector) : 0.0F;
    vector_delta_apply(db->simd, delta, vector, dimensions);
    if (column->spec.element == VELTA_F16) {
        db->simd->f32_to_f16(vector, stored, dimensions);
    } else if (column->spec.element == VELTA_CODES) {
        hold_finite(db->simd, vector, dimensions);
    }
    if (index) {
        hnsw_update(index, delta->row, way, stored ? NULL : vector);
    }
}

/* Additions to f32: how far one moves a vector does not depend on where that is. */
static bool are_sparse_sums(const struct vector_delta *deltas, uint32_t count) {
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        all &= deltas[i].operation == DELTA_SPARSE && !deltas[i].set;
    }
    return all;
}

/* Index and column each by themselves: short loops, in which the misses of several rows overlap. */
static void apply_sparse_sums(struct velta *db, struct snapshot_table *owner, uint32_t column_number,
                              const struct vector_delta *deltas, uint32_t count) {
    struct column *column = owner->table->columns[column_number];
    struct hnsw *index = owner->indexes[column_number];
    for (uint32_t i = 0; i < count && index; i++) {
        hnsw_update(index, deltas[i].row, vector_delta_way(db->simd, &deltas[i], NULL, 0), NULL);
    }
    for (uint32_t i = 0; i < count; i++) {
        simd_touch(column_vector_for_write(column, deltas[i].row), 1); /* at least its page is known then */
    }
    for (uint32_t i = 0; i < count; i++) {
        float *vector = column_vector_for_write(column, deltas[i].row);
        db->simd->sparse_f32(vector, deltas[i].indices, deltas[i].values, deltas[i].count, SIMD_ADD);
    }
}

static void apply_vectors(struct velta *db, const struct change *change) {
    struct snapshot_table *owner = owner_of(db, change);
    bool is_f32 = owner->table->columns[change->column]->spec.element == VELTA_F32;
    uint32_t near_end = change->delta_count > 1 ? 0 : 1; /* a delta alone was brought near before it was checked */
    for (uint32_t first = 0, end; first < change->delta_count; first = end) {
        const struct vector_delta *deltas = &change->deltas[first];
        if (first == near_end) {
            uint32_t left = change->delta_count - first;
            near_end = first + (left < APPLY_NEAR_DELTAS ? left : APPLY_NEAR_DELTAS);
            apply_bring_near(owner, change->column, deltas, near_end - first);
        }
        end = history_push_deltas(owner->history, owner->table, change, first, near_end, commit_codes_vector, owner);
        if (is_f32 && are_sparse_sums(deltas, end - first)) {
            apply_sparse_sums(db, owner, change->column, deltas, end - first);
            continue;
        }
        for (uint32_t i = 0; i < end - first; i++) {
            apply_vector(db, owner, change->column, &deltas[i]);
        }
    }
}

static void apply_table(struct velta *db) {
    struct prepared *prepared = &db->prepared;
    size_t count = db->state.table_count;
    if (count > 0) {
        memcpy(prepared->tables, db->state.tables, count * sizeof *prepared->tables);
    }
    prepared->tables[count] = prepared->table;
    *prepared->handle = (struct velta_table){.db = db, .number = (uint32_t)count};
    memory_release(db->memory, db->state.tables, count * sizeof *db->state.tables);
    db->state.tables = prepared->tables;
    db->state.table_count = count + 1;
    db->handles[count] = prepared->handle;
    *prepared = (struct prepared){0};
}

static void apply_drop(struct velta *db, const struct change *change) {
    snapshot_table_destroy(db->memory, owner_of(db, change));
    owner_of(db, change)->dropped = true;
    db->handles[change->table]->dropped = true;
    db->layout_epoch++;
}

static void apply_tag(struct velta *db, const struct change *change) {
    struct prepared *prepared = &db->prepared;
    struct snapshot_tag *tag = find_tag(db, change->name);
    if (!tag) {
        size_t count = db->state.tag_count;
        if (count > 0) {
            memcpy(prepared->tags, db->state.tags, count * sizeof *prepared->tags);
        }
        memory_release(db->memory, db->state.tags, count * sizeof *db->state.tags);
        db->state.tags = prepared->tags;
        db->state.tag_count = count + 1;
        tag = &db->state.tags[count];
        tag->name = prepared->tag_name;
        *prepared = (struct prepared){0};
    }
    tag->sequence = change->sequence;
    tag->time_ms = change->time_ms;
}

void apply_change(struct velta *db, const struct change *change) {
    bool of_rows = change->kind == CHANGE_ROWS_INSERT || change->kind == CHANGE_ROWS_SET ||
                   change->kind == CHANGE_ROWS_DELETE || change->kind == CHANGE_ROWS_EXPIRY;
    if (of_rows) {
        struct snapshot_table *owner = owner_of(db, change);
        history_push(owner->history, owner->table, change, commit_codes_vector, owner);
    }
    switch (change->kind) {
    case CHANGE_TABLE_CREATE:
        apply_table(db);
        break;
    case CHANGE_TABLE_DROP:
        apply_drop(db, change);
        break;
    case CHANGE_COLUMN_ADD:
        db->prepared.column_of = NULL;
        break;
    case CHANGE_ROWS_INSERT:
        apply_insert(db, change);
        break;
    case CHANGE_ROWS_SET:
        apply_set(db, change);
        break;
    case CHANGE_ROWS_DELETE:
        apply_delete(db, change);
        break;
    case CHANGE_ROWS_EXPIRY:
        table_apply_expiry(owner_of(db, change)->table, change->rows, change->times_ms, change->row_count);
        break;
    case CHANGE_VECTORS:
        apply_vectors(db, change);
        break;
    case CHANGE_TAG:
        apply_tag(db, change);
        break;
    }
    db->next_sequence = change->sequence + change_span(change);
    db->last_time_ms = change->time_ms;
}
