/*
 * The rows with the largest or smallest values of a column: a bounded binary heap over order-preserving 64-bit keys,
 * sorted at the end. Ties go to the smaller row number; NULL and NaN are never among them.
 */
#include <math.h>
#include <string.h>

#include "store/filtering.h"
#include "store/result.h"

struct candidate {
    int64_t key; /* larger is better */
    uint32_t row;
};

/* Whether a is worse than b: the root of the heap is the worst. */
static bool worse(const struct candidate *a, const struct candidate *b) {
    return a->key != b->key ? a->key < b->key : a->row > b->row;
}

static void sift_down(struct candidate *heap, size_t count, size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && worse(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!worse(&heap[child], &heap[at])) {
            return;
        }
        struct candidate swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

static void sift_up(struct candidate *heap, size_t at) {
    while (at > 0 && worse(&heap[at], &heap[(at - 1) / 2])) {
        struct candidate swap = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

/* Order-preserving: a < b as doubles exactly when their keys are a < b as integers (-0 equals 0). */
static int64_t float_key(double value) {
    int64_t bits;
    value += 0.0;
    memcpy(&bits, &value, sizeof bits);
    return bits < 0 ? (int64_t)(~(uint64_t)bits ^ (UINT64_C(1) << 63)) : bits;
}

static bool row_key(const struct column *column, uint32_t row, bool smallest, int64_t *key) {
    if (column_is_null(column, row)) {
        return false;
    }
    if (column->spec.type == VELTA_FLOAT) {
        double value = column_float(column, row);
        if (isnan(value)) {
            return false;
        }
        *key = float_key(value);
    } else {
        *key = column_integer(column, row);
    }
    *key = smallest ? ~*key : *key; /* ~ turns the order around without overflow */
    return true;
}

static size_t gather(const struct column *column, const struct filtering *filtering, bool smallest,
                     struct candidate *heap, size_t top) {
    size_t count = 0;
    for (size_t word = 0; filtering->rows && word < filtering->words; word++) {
        for (uint64_t left = filtering->rows[word]; left; left &= left - 1) {
            struct candidate next = {.row = (uint32_t)(word * 64 + (unsigned)__builtin_ctzll(left))};
            if (!row_key(column, next.row, smallest, &next.key)) {
                continue;
            }
            if (count < top) {
                heap[count] = next;
                sift_up(heap, count++);
            } else if (worse(&heap[0], &next)) {
                heap[0] = next;
                sift_down(heap, count, 0);
            }
        }
    }
    return count;
}

static enum velta_status find_order(const struct table *table, const char *name, const struct column **out,
                                    struct velta_error *error) {
    size_t found = name ? table_find_column(table, name, strlen(name)) : TABLE_NO_COLUMN;
    if (found == TABLE_NO_COLUMN) {
        return velta_fail(error, VELTA_UNKNOWN_COLUMN, VELTA_NO_OFFSET, "table '%.60s' has no column '%.100s'",
                          table->name, name ? name : "");
    }
    enum velta_type type = table->columns[found]->spec.type;
    if (type != VELTA_INT && type != VELTA_FLOAT && type != VELTA_TIMESTAMP) {
        return velta_fail(error, VELTA_TYPE, VELTA_NO_OFFSET, "column '%.100s' has no numbers to order by", name);
    }
    *out = table->columns[found];
    return VELTA_OK;
}

/* Takes the heap apart, worst first, so that the result has the best first. */
static enum velta_status make_result(struct velta_table *handle, struct candidate *heap, size_t count,
                                     const size_t *indices, size_t index_count, velta_result **out,
                                     struct velta_error *error) {
    struct velta_result *result;
    enum velta_status status = result_create(handle->db, count, index_count, &result, error);
    if (status) {
        return status;
    }
    for (size_t left = count; left > 0; left--) {
        result->rows[left - 1] = heap[0].row;
        heap[0] = heap[left - 1];
        sift_down(heap, left - 1, 0);
    }
    if (result_fill(result, handle, indices, index_count, HISTORY_NOW)) {
        return result_refused(result, error);
    }
    *out = result;
    return VELTA_OK;
}

enum velta_status velta_top(velta_table *handle, const char *where, const char *column, bool smallest, size_t top,
                            const char *const *columns, size_t column_count, velta_result **out,
                            struct velta_error *error) {
    size_t indices[VELTA_MAX_COLUMNS];
    size_t index_count = 0;
    const struct column *order = NULL;
    struct filtering filtering = {.memory = handle->db->memory};
    enum velta_status status = database_check(handle, error);
    if (!status) {
        status = find_order(database_rows(handle), column, &order, error);
    }
    if (!status) {
        status = result_columns(handle, columns, column_count, indices, &index_count, error);
    }
    if (!status) {
        status = filtering_rows(handle, where, NULL, HISTORY_NOW, 0, true, &filtering, error);
    }
    if (status) {
        return status;
    }
    top = top < filtering.count ? top : (size_t)filtering.count;
    struct memory *memory = handle->db->memory;
    struct candidate *heap = memory_allocate(memory, (top + 1) * sizeof *heap);
    if (!heap) {
        status = memory_fail(memory, error);
    } else {
        size_t count = top > 0 ? gather(order, &filtering, smallest, heap, top) : 0;
        status = make_result(handle, heap, count, indices, index_count, out, error);
        memory_release(memory, heap, (top + 1) * sizeof *heap);
    }
    filtering_release(&filtering);
    return status;
}
