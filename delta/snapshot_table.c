/*
 * A table with all that belongs to it: indexes over its vector columns and the history of its rows.
 *
 * Made here for new tables, for added columns, for snapshots being read and for compaction, so that which columns have
 * an index, and with which parameters, is decided once.
 */
#include <string.h>

#include "delta/snapshot.h"

enum { DEFAULT_M = 16, DEFAULT_EF_CONSTRUCTION = 100 };
#define DEFAULT_SEED UINT64_C(0x76656C7461)

bool snapshot_has_index(const struct velta_column *spec) {
    return spec->type == VELTA_VECTOR && (!spec->no_index || spec->element == VELTA_CODES);
}

static enum velta_status make_index(const struct snapshot_state *state, const struct column *column, struct hnsw **out,
                                    struct velta_error *error) {
    const struct velta_column *spec = &column->spec;
    struct hnsw_options options = {
        .dimensions = spec->dimensions,
        .metric = spec->metric,
        .m = spec->m ? spec->m : DEFAULT_M,
        .ef_construction = spec->ef_construction ? spec->ef_construction : DEFAULT_EF_CONSTRUCTION,
        .seed = spec->seed ? spec->seed : DEFAULT_SEED,
        .clock_ns = state->clock_ns,
        .clock_context = state->clock_context,
    };
    return hnsw_create(state->memory, state->simd, column, &options, out, error);
}

enum velta_status snapshot_table_make_indexes(const struct snapshot_state *state, struct snapshot_table *table,
                                              struct velta_error *error) {
    size_t column_count = table->table->column_count;
    size_t had = table->index_capacity;
    enum velta_status status = memory_grow_array(state->memory, (void **)&table->indexes, &table->index_capacity,
                                                 column_count, sizeof *table->indexes, error);
    if (status) {
        return status;
    }
    if (table->index_capacity > had) {
        memset(table->indexes + had, 0, (table->index_capacity - had) * sizeof *table->indexes);
    }
    for (size_t i = 0; i < column_count && !status; i++) {
        const struct column *column = table->table->columns[i];
        if (!table->indexes[i] && snapshot_has_index(&column->spec)) {
            status = make_index(state, column, &table->indexes[i], error);
        }
    }
    return status;
}

enum velta_status snapshot_table_create(const struct snapshot_state *state, const char *name,
                                        const struct velta_column *columns, size_t column_count,
                                        struct snapshot_table *out, struct velta_error *error) {
    struct snapshot_table made = {0};
    enum velta_status status =
        table_create(state->memory, state->simd, name, columns, column_count, &made.table, error);
    if (!status) {
        status = history_create(state->memory, state->simd, state->checkpoint_interval, &made.history, error);
    }
    if (!status) {
        status = snapshot_table_make_indexes(state, &made, error);
    }
    if (status) {
        snapshot_table_destroy(state->memory, &made);
        return status;
    }
    *out = made;
    return VELTA_OK;
}

void snapshot_table_destroy(struct memory *memory, struct snapshot_table *table) {
    for (size_t i = 0; i < table->index_capacity; i++) {
        if (table->indexes[i]) {
            hnsw_destroy(table->indexes[i]);
        }
    }
    memory_release(memory, table->indexes, table->index_capacity * sizeof *table->indexes);
    if (table->history) {
        history_destroy(table->history);
    }
    if (table->table) {
        table_destroy(table->table);
    }
    table->indexes = NULL;
    table->index_capacity = 0;
    table->history = NULL;
    table->table = NULL;
}
