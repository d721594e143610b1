/*
 * Aggregates over a filter: count, sum, min, max, mean, whole or by group, and the top rows of a column.
 *
 * The filter gives a bitmap; columns are then read in chunks of CHUNK rows, widened to 64 bits, under the bitmap and
 * the column's validity. Sums of integers are exact (128 bits) and fail with LIMIT where the result does not fit 64;
 * sums of floats run in row order, group by group, so the same table gives the same bits everywhere. NULLs are counted
 * only by COUNT of rows. NaN takes no part in MIN and MAX, and makes SUM and MEAN NaN.
 *
 * Groups are numbered in order of first appearance: by dictionary code for strings, by value for bools, through a hash
 * table for ints; at the end they are sorted by value, NULL last.
 */
#include <math.h>
#include <string.h>

#include "store/filtering.h"
#include "store/result.h"
#include "store/sort.h"

enum { CHUNK = 4096, MAX_GROUPS = 65536, GROUP_SLOTS = 2 * MAX_GROUPS, NO_GROUP = -1 };

__extension__ typedef __int128 wide_integer;

struct accumulator {
    uint64_t count; /* values that are not NULL; rows for COUNT without a column */
    wide_integer sum;
    double float_sum;
    int64_t min, max;
    double float_min, float_max;
};

struct group_key {
    bool null;
    int64_t value; /* int value, bool, or dictionary code */
};

struct aggregation {
    struct velta_table *handle;
    const struct velta_aggregate_query *query;
    struct memory *memory;
    const struct column *group_column; /* NULL: one group */
    const struct column **columns;     /* per aggregate; NULL: COUNT of rows */
    struct filtering filtering;
    struct group_key *groups;
    struct accumulator *accumulators; /* group x aggregate */
    size_t group_count;
    size_t group_capacity;
    size_t accumulator_capacity;
    int32_t *slots; /* hash of group keys */
    /* one chunk */
    int64_t *integers;
    double *floats;
    int32_t *group_of;
};

/* ---- reading a chunk ---- */

static bool is_float(const struct column *column) {
    return column->spec.type == VELTA_FLOAT;
}

static bool slab_valid(const struct column_slab *slab, uint32_t row) {
    return !slab->valid || bitmap_get(slab->valid, row);
}

/* Widens values of rows first..first+count of one slab into `out`. */
static void load_integers(const struct column_slab *slab, uint32_t first, uint32_t count, int64_t *out) {
    const void *values = slab->values;
    for (uint32_t i = 0; i < count; i++) {
        switch (slab->width) {
        case 0:
            out[i] = bitmap_get(values, first + i);
            break;
        case 1:
            out[i] = ((const int8_t *)values)[first + i];
            break;
        case 2:
            out[i] = ((const int16_t *)values)[first + i];
            break;
        case 4:
            out[i] = ((const int32_t *)values)[first + i];
            break;
        default:
            out[i] = ((const int64_t *)values)[first + i];
        }
    }
}

/* ---- groups ---- */

static enum velta_status add_group(struct aggregation *work, struct group_key key, int32_t *group,
                                   struct velta_error *error) {
    size_t per_group = work->query->aggregate_count;
    if (work->group_count == MAX_GROUPS) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "column '%.100s' has more than %d groups",
                          work->group_column->spec.name, MAX_GROUPS);
    }
    enum velta_status status = memory_grow_array(work->memory, (void **)&work->groups, &work->group_capacity,
                                                 work->group_count + 1, sizeof *work->groups, error);
    if (!status) {
        status = memory_grow_array(work->memory, (void **)&work->accumulators, &work->accumulator_capacity,
                                   (work->group_count + 1) * (per_group + 1), sizeof *work->accumulators, error);
    }
    if (status) {
        return status;
    }
    *group = (int32_t)work->group_count++;
    work->groups[*group] = key;
    for (size_t i = 0; i < per_group; i++) {
        work->accumulators[(size_t)*group * per_group + i] =
            (struct accumulator){.min = INT64_MAX, .max = INT64_MIN, .float_min = INFINITY, .float_max = -INFINITY};
    }
    return VELTA_OK;
}

static enum velta_status find_group(struct aggregation *work, struct group_key key, int32_t *group,
                                    struct velta_error *error) {
    uint64_t hash = ((uint64_t)key.value + key.null) * UINT64_C(0x9E3779B97F4A7C15);
    size_t slot = (size_t)(hash >> 32) % GROUP_SLOTS;
    while (work->slots[slot] != NO_GROUP) {
        const struct group_key *there = &work->groups[work->slots[slot]];
        if (there->null == key.null && there->value == key.value) {
            *group = work->slots[slot];
            return VELTA_OK;
        }
        slot = (slot + 1) % GROUP_SLOTS;
    }
    enum velta_status status = add_group(work, key, group, error);
    if (!status) {
        work->slots[slot] = *group;
    }
    return status;
}

/* The group of every matching row of the chunk. */
static enum velta_status group_chunk(struct aggregation *work, uint32_t first_row, uint32_t count,
                                     const uint64_t *matching, struct velta_error *error) {
    const struct column *column = work->group_column;
    const struct column_slab *slab = &column->slabs[first_row >> CORE_SLAB_SHIFT];
    uint32_t first = first_row & (CORE_ROWS_PER_SLAB - 1);
    load_integers(slab, first, count, work->integers);
    for (uint32_t i = 0; i < count; i++) {
        if (bitmap_get(matching, i)) {
            bool null = !slab_valid(slab, first + i);
            struct group_key key = {.null = null, .value = null ? 0 : work->integers[i]};
            enum velta_status status = find_group(work, key, &work->group_of[i], error);
            if (status) {
                return status;
            }
        }
    }
    return VELTA_OK;
}

/* ---- accumulating ---- */

static void accumulate_integers(struct aggregation *work, size_t aggregate, const struct column_slab *slab,
                                uint32_t first, uint32_t count, const uint64_t *matching) {
    size_t per_group = work->query->aggregate_count;
    load_integers(slab, first, count, work->integers);
    for (uint32_t i = 0; i < count; i++) {
        if (bitmap_get(matching, i) && slab_valid(slab, first + i)) {
            int64_t value = work->integers[i];
            struct accumulator *to = &work->accumulators[(size_t)work->group_of[i] * per_group + aggregate];
            to->count++;
            to->sum += value;
            to->min = value < to->min ? value : to->min;
            to->max = value > to->max ? value : to->max;
        }
    }
}

static void accumulate_floats(struct aggregation *work, size_t aggregate, const struct column_slab *slab,
                              uint32_t first, uint32_t count, const uint64_t *matching) {
    size_t per_group = work->query->aggregate_count;
    const double *values = slab->values;
    for (uint32_t i = 0; i < count; i++) {
        if (bitmap_get(matching, i) && slab_valid(slab, first + i)) {
            double value = values[first + i];
            struct accumulator *to = &work->accumulators[(size_t)work->group_of[i] * per_group + aggregate];
            to->count++;
            to->float_sum += value;
            to->float_min = value < to->float_min ? value : to->float_min;
            to->float_max = value > to->float_max ? value : to->float_max;
        }
    }
}

static void accumulate_rows(struct aggregation *work, size_t aggregate, uint32_t count, const uint64_t *matching) {
    size_t per_group = work->query->aggregate_count;
    for (uint32_t i = 0; i < count; i++) {
        if (bitmap_get(matching, i)) {
            work->accumulators[(size_t)work->group_of[i] * per_group + aggregate].count++;
        }
    }
}

static enum velta_status accumulate_chunk(struct aggregation *work, uint32_t first_row, uint32_t count,
                                          const uint64_t *matching, struct velta_error *error) {
    if (work->group_column) {
        enum velta_status status = group_chunk(work, first_row, count, matching, error);
        if (status) {
            return status;
        }
    }
    for (size_t i = 0; i < work->query->aggregate_count; i++) {
        const struct column *column = work->columns[i];
        uint32_t first = first_row & (CORE_ROWS_PER_SLAB - 1);
        if (!column) {
            accumulate_rows(work, i, count, matching);
            continue;
        }
        const struct column_slab *slab = &column->slabs[first_row >> CORE_SLAB_SHIFT];
        if (is_float(column)) {
            accumulate_floats(work, i, slab, first, count, matching);
        } else {
            accumulate_integers(work, i, slab, first, count, matching);
        }
    }
    return VELTA_OK;
}

static enum velta_status accumulate_all(struct aggregation *work, struct velta_error *error) {
    uint32_t row_count = database_rows(work->handle)->row_count;
    for (uint32_t first = 0; first < row_count; first += CHUNK) {
        uint32_t count = row_count - first < CHUNK ? row_count - first : CHUNK;
        const uint64_t *matching = work->filtering.rows + first / 64;
        uint64_t any = 0;
        for (size_t i = 0; i < bitmap_words(count); i++) {
            any |= matching[i];
        }
        enum velta_status status = any ? accumulate_chunk(work, first, count, matching, error) : VELTA_OK;
        if (status) {
            return status;
        }
    }
    return VELTA_OK;
}

/* ---- preparing ---- */

static enum velta_status find_number_column(const struct table *table, const char *name, const struct column **out,
                                            struct velta_error *error) {
    size_t found = table_find_column(table, name, strlen(name));
    if (found == TABLE_NO_COLUMN) {
        return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.60s' has no column '%.100s'",
                          table->name, name);
    }
    enum velta_type type = table->columns[found]->spec.type;
    if (type != VELTA_INT && type != VELTA_FLOAT && type != VELTA_TIMESTAMP) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET,
                          "column '%.100s' is not an int, float or timestamp column", name);
    }
    *out = table->columns[found];
    return VELTA_OK;
}

static enum velta_status check_query(struct aggregation *work, struct velta_error *error) {
    const struct velta_aggregate_query *query = work->query;
    const struct table *table = database_rows(work->handle);
    for (size_t i = 0; i < sizeof query->reserved / sizeof *query->reserved; i++) {
        if (query->reserved[i]) {
            return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "reserved fields of the query must be 0");
        }
    }
    if (query->aggregate_count == 0 || query->aggregate_count > VELTA_MAX_COLUMNS || !query->aggregates) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "ask for 1 to %d aggregates", VELTA_MAX_COLUMNS);
    }
    if (query->top > 0 && query->order_by >= query->aggregate_count) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "order_by is not the index of an aggregate");
    }
    for (size_t i = 0; i < query->aggregate_count; i++) {
        const struct velta_aggregate *aggregate = &query->aggregates[i];
        if (aggregate->kind < VELTA_COUNT || aggregate->kind > VELTA_MEAN ||
            (!aggregate->column && aggregate->kind != VELTA_COUNT)) {
            return velta_fail(error, VELTA_INVALID, i, "aggregate %zu needs a kind and, unless it is COUNT, a column",
                              i);
        }
        if (aggregate->column) {
            enum velta_status status = find_number_column(table, aggregate->column, &work->columns[i], error);
            if (status) {
                return status;
            }
        }
    }
    if (query->group_by) {
        size_t found = table_find_column(table, query->group_by, strlen(query->group_by));
        if (found == TABLE_NO_COLUMN) {
            return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.60s' has no column '%.100s'",
                              table->name, query->group_by);
        }
        work->group_column = table->columns[found];
        enum velta_type type = work->group_column->spec.type;
        if (type != VELTA_STRING && type != VELTA_BOOL && type != VELTA_INT) {
            return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET,
                              "groups are made by a string, bool or int column; '%.100s' is none", query->group_by);
        }
    }
    return VELTA_OK;
}

static enum velta_status prepare(struct aggregation *work, struct velta_error *error) {
    work->integers = memory_allocate(work->memory, CHUNK * sizeof *work->integers);
    work->group_of = memory_allocate_zero(work->memory, CHUNK * sizeof *work->group_of);
    if (!work->integers || !work->group_of) {
        return memory_fail(work->memory, error);
    }
    if (!work->group_column) {
        int32_t only;
        return add_group(work, (struct group_key){0}, &only, error);
    }
    work->slots = memory_allocate(work->memory, GROUP_SLOTS * sizeof *work->slots);
    if (!work->slots) {
        return memory_fail(work->memory, error);
    }
    for (size_t i = 0; i < GROUP_SLOTS; i++) {
        work->slots[i] = NO_GROUP;
    }
    return VELTA_OK;
}

static void release(struct aggregation *work) {
    struct memory *memory = work->memory;
    memory_release(memory, work->columns, (work->query->aggregate_count + 1) * sizeof *work->columns);
    memory_release(memory, work->groups, work->group_capacity * sizeof *work->groups);
    memory_release(memory, work->accumulators, work->accumulator_capacity * sizeof *work->accumulators);
    memory_release(memory, work->slots, GROUP_SLOTS * sizeof *work->slots);
    memory_release(memory, work->integers, CHUNK * sizeof *work->integers);
    memory_release(memory, work->group_of, CHUNK * sizeof *work->group_of);
    filtering_release(&work->filtering);
}

/* ---- results ---- */

/* Nothing was there to take the least, the greatest or the mean of. */
static bool is_nothing(enum velta_aggregate_kind kind, const struct accumulator *a) {
    return kind >= VELTA_MIN && a->count == 0;
}

static bool is_whole(enum velta_aggregate_kind kind, bool floats) {
    return kind == VELTA_COUNT || (!floats && kind != VELTA_MEAN);
}

static wide_integer whole_value(enum velta_aggregate_kind kind, const struct accumulator *a) {
    switch (kind) {
    case VELTA_COUNT:
        return a->count;
    case VELTA_SUM:
        return a->sum;
    case VELTA_MIN:
        return a->min;
    default:
        return a->max;
    }
}

static double number_value(enum velta_aggregate_kind kind, bool floats, const struct accumulator *a) {
    switch (kind) {
    case VELTA_SUM:
        return a->float_sum;
    case VELTA_MIN:
    case VELTA_MAX:
        if (a->float_min > a->float_max) {
            return NAN; /* nothing but NaN */
        }
        return kind == VELTA_MIN ? a->float_min : a->float_max;
    default:
        return (floats ? a->float_sum : (double)a->sum) / (double)a->count;
    }
}

static bool group_less(const void *context, uint32_t a, uint32_t b) {
    const struct aggregation *work = context;
    const struct group_key *left = &work->groups[a];
    const struct group_key *right = &work->groups[b];
    if (left->null || right->null) {
        return !left->null;
    }
    if (work->group_column->spec.type != VELTA_STRING) {
        return left->value < right->value;
    }
    size_t left_bytes;
    size_t right_bytes;
    const void *left_text = dictionary_get(work->group_column->dictionary, (uint32_t)left->value, &left_bytes);
    const void *right_text = dictionary_get(work->group_column->dictionary, (uint32_t)right->value, &right_bytes);
    size_t common = left_bytes < right_bytes ? left_bytes : right_bytes;
    int order = common > 0 ? memcmp(left_text, right_text, common) : 0;
    return order < 0 || (order == 0 && left_bytes < right_bytes);
}

/* Largest first; integers exactly; then NaN, then what is NULL. */
static bool group_larger(const void *context, uint32_t a, uint32_t b) {
    const struct aggregation *work = context;
    size_t which = work->query->order_by;
    size_t per_group = work->query->aggregate_count;
    enum velta_aggregate_kind kind = work->query->aggregates[which].kind;
    const struct accumulator *left = &work->accumulators[a * per_group + which];
    const struct accumulator *right = &work->accumulators[b * per_group + which];
    bool floats = work->columns[which] && is_float(work->columns[which]);
    if (is_nothing(kind, left) || is_nothing(kind, right)) {
        return !is_nothing(kind, left);
    }
    if (is_whole(kind, floats)) {
        return whole_value(kind, left) > whole_value(kind, right);
    }
    double left_number = number_value(kind, floats, left);
    double right_number = number_value(kind, floats, right);
    return left_number > right_number || (isnan(right_number) && !isnan(left_number));
}

static bool emit_groups(const struct aggregation *work, struct velta_result *result, const uint32_t *order) {
    const struct column *column = work->group_column;
    struct result_column *out = result_add_column(result, column->spec.name, column->spec.type, 0);
    if (!out) {
        return false;
    }
    bool text = column->spec.type == VELTA_STRING;
    uint64_t total = 0;
    for (size_t i = 0; i < result->slot_count; i++) {
        const struct group_key *key = &work->groups[order[i]];
        size_t size_bytes = 0;
        if (!key->null) {
            bitmap_set(out->valid, i);
            if (text) {
                (void)dictionary_get(column->dictionary, (uint32_t)key->value, &size_bytes);
            } else if (column->spec.type == VELTA_BOOL) {
                ((uint8_t *)out->data)[i] = key->value != 0;
            } else {
                ((int64_t *)out->data)[i] = key->value;
            }
        }
        total += size_bytes;
        if (text) {
            out->offsets[i + 1] = total;
        }
    }
    if (!text) {
        return true;
    }
    out->data = result_allocate(result, (size_t)total, 1);
    for (size_t i = 0; out->data && i < result->slot_count; i++) {
        const struct group_key *key = &work->groups[order[i]];
        if (!key->null) {
            size_t size_bytes;
            const void *bytes = dictionary_get(column->dictionary, (uint32_t)key->value, &size_bytes);
            memcpy((char *)out->data + out->offsets[i], bytes, size_bytes);
        }
    }
    return out->data != NULL;
}

/* One value of one aggregate. False: an integer sum does not fit. */
static bool emit_value(enum velta_aggregate_kind kind, bool floats, const struct accumulator *a, size_t slot,
                       struct result_column *out) {
    if (is_nothing(kind, a)) {
        return true; /* NULL */
    }
    bitmap_set(out->valid, slot);
    if (!is_whole(kind, floats)) {
        ((double *)out->data)[slot] = number_value(kind, floats, a);
        return true;
    }
    wide_integer value = whole_value(kind, a);
    if (value > INT64_MAX || value < INT64_MIN) {
        return false;
    }
    ((int64_t *)out->data)[slot] = (int64_t)value;
    return true;
}

static enum velta_status emit(const struct aggregation *work, struct velta_result *result, const uint32_t *order,
                              struct velta_error *error) {
    static const char *const names[] = {
        [VELTA_COUNT] = "count", [VELTA_SUM] = "sum", [VELTA_MIN] = "min", [VELTA_MAX] = "max", [VELTA_MEAN] = "mean"};
    if (work->group_column && !emit_groups(work, result, order)) {
        return memory_fail(work->memory, error);
    }
    for (size_t i = 0; i < work->query->aggregate_count; i++) {
        const struct velta_aggregate *aggregate = &work->query->aggregates[i];
        bool floats = work->columns[i] && is_float(work->columns[i]);
        enum velta_type type = is_whole(aggregate->kind, floats) ? VELTA_INT : VELTA_FLOAT;
        struct result_column *out = result_add_column(result, names[aggregate->kind], type, 0);
        if (!out) {
            return memory_fail(work->memory, error);
        }
        for (size_t slot = 0; slot < result->slot_count; slot++) {
            const struct accumulator *a = &work->accumulators[order[slot] * work->query->aggregate_count + i];
            if (!emit_value(aggregate->kind, floats, a, slot, out)) {
                return velta_fail(error, VELTA_LIMIT, i, "the sum of column '%.100s' does not fit 64 bits",
                                  aggregate->column);
            }
        }
    }
    return VELTA_OK;
}

static enum velta_status make_result(struct aggregation *work, velta_result **out, struct velta_error *error) {
    size_t count = work->group_count;
    uint32_t *order = memory_allocate(work->memory, (2 * count + 1) * sizeof *order);
    if (!order) {
        return memory_fail(work->memory, error);
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
    }
    if (work->group_column) {
        sort_items(order, order + count, count, group_less, work);
    }
    size_t kept = count;
    if (work->query->top > 0) {
        sort_items(order, order + count, count, group_larger, work);
        kept = count < work->query->top ? count : work->query->top;
    }
    struct velta_result *result;
    enum velta_status status = result_create(work->handle->db, kept, work->query->aggregate_count + 1, &result, error);
    if (!status) {
        status = emit(work, result, order, error);
        if (status) {
            velta_result_free(result);
        } else {
            *out = result;
        }
    }
    memory_release(work->memory, order, (2 * count + 1) * sizeof *order);
    return status;
}

enum velta_status velta_aggregate(velta_table *handle, const struct velta_aggregate_query *query, velta_result **out,
                                  struct velta_error *error) {
    enum velta_status status = database_check(handle, error);
    if (status) {
        return status;
    }
    if (!query) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "a query is needed");
    }
    struct aggregation work = {.handle = handle, .query = query, .memory = handle->db->memory};
    work.filtering.memory = work.memory;
    if (query->aggregate_count <= VELTA_MAX_COLUMNS) {
        work.columns = memory_allocate_zero(work.memory, (query->aggregate_count + 1) * sizeof *work.columns);
        if (!work.columns) {
            return memory_fail(work.memory, error);
        }
    }
    status = check_query(&work, error);
    if (!status) {
        status = prepare(&work, error);
    }
    if (!status) {
        status = filtering_rows(handle, query->where, NULL, HISTORY_NOW, 0, true, &work.filtering, error);
    }
    if (!status) {
        status = accumulate_all(&work, error);
    }
    if (!status) {
        status = make_result(&work, out, error);
    }
    release(&work);
    return status;
}
