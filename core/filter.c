/*
 * Filters as their users see them: compile, destroy, one row at a time, which columns. See core/filter.h.
 * The stages: filter_token.c, filter_parse.c, filter_bind.c, filter_plan.c, filter_evaluate.c; filter_text.c matches
 * strings.
 */
#include "core/filter.h"

#include <string.h>

#include "core/error.h"
#include "core/filter_plan.h"

static unsigned depth_of(const struct filter_node *node) {
    unsigned deepest = 0;
    if (node->kind != FILTER_NODE_AND && node->kind != FILTER_NODE_OR) return 0;
    for (const struct filter_node *child = node->first; child; child = child->next) {
        unsigned depth = depth_of(child);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

static enum velta_status compile_into(struct filter *filter, const char *text, size_t text_bytes,
                                      struct velta_error *error) {
    struct filter_tree *tree;
    enum velta_status status = filter_parse(&filter->arena, text, text_bytes, &tree, error);
    if (status == VELTA_OK) status = filter_bind(filter, tree, error);
    if (status != VELTA_OK) return status;
    filter->depth = depth_of(filter->root);
    filter->scratch_bytes = (size_t)(filter->depth + 3) * FILTER_CHUNK_WORDS * sizeof *filter->scratch;
    filter->scratch = memory_allocate(filter->table->memory, filter->scratch_bytes);
    return filter->scratch ? VELTA_OK : memory_fail(filter->table->memory, error);
}

enum velta_status filter_compile(struct table *table, const char *text, size_t text_bytes, struct filter **out,
                                 struct velta_error *error) {
    struct filter *filter = memory_allocate_zero(table->memory, sizeof *filter);
    if (!filter) return memory_fail(table->memory, error);
    filter->table = table;
    filter->arena.memory = table->memory;
    enum velta_status status = compile_into(filter, text, text_bytes, error);
    if (status != VELTA_OK) {
        filter_destroy(filter);
        return status;
    }
    *out = filter;
    return VELTA_OK;
}

void filter_destroy(struct filter *filter) {
    if (!filter) return;
    struct memory *memory = filter->arena.memory; /* the table may be gone: compaction replaces it, drop ends it */
    for (struct filter_codes *codes = filter->codes; codes; codes = codes->next)
        memory_release(memory, codes->bits, codes->bits_capacity * sizeof *codes->bits);
    memory_release(memory, filter->scratch, filter->scratch_bytes);
    arena_reset(&filter->arena);
    memory_release(memory, filter, sizeof *filter);
}

static bool node_matches(const struct filter_node *node, uint32_t row, filter_get_function *get, void *context) {
    struct column_scalar value = {0, 0.0, NULL, 0};
    if (node->kind == FILTER_NODE_NEVER || node->kind == FILTER_NODE_ALWAYS) return node->kind == FILTER_NODE_ALWAYS;
    if (node->kind == FILTER_NODE_AND || node->kind == FILTER_NODE_OR) {
        bool all = node->kind == FILTER_NODE_AND;
        for (const struct filter_node *child = node->first; child; child = child->next)
            if (node_matches(child, row, get, context) != all) return !all;
        return all;
    }
    if (!get(context, row, node->column, &value)) return node->kind == FILTER_NODE_NULL;
    switch (node->kind) {
    case FILTER_NODE_PRESENT:
        return true;
    case FILTER_NODE_BOOL:
        return (value.integer != 0) != node->complement;
    case FILTER_NODE_INTEGERS:
        return filter_ranges_have(node->ranges, node->count, value.integer) != node->complement;
    case FILTER_NODE_FLOATS:
        return filter_spans_have(node->spans, node->count, value.number) != node->complement;
    case FILTER_NODE_CODES:
        return text_matches(&node->codes->predicate, (struct text_slice){value.text, value.text_bytes}) !=
               node->complement;
    default:
        return false; /* NULL */
    }
}

bool filter_match_row(const struct filter *filter, uint32_t row, filter_get_function *get, void *context) {
    return node_matches(filter->root, row, get, context);
}

static void add_columns(const struct filter_node *node, uint64_t *column_bits) {
    if (node->kind == FILTER_NODE_AND || node->kind == FILTER_NODE_OR)
        for (const struct filter_node *child = node->first; child; child = child->next)
            add_columns(child, column_bits);
    else if (node->kind != FILTER_NODE_NEVER && node->kind != FILTER_NODE_ALWAYS)
        bitmap_set(column_bits, node->column);
}

void filter_columns(const struct filter *filter, uint64_t *column_bits) {
    memset(column_bits, 0, VELTA_MAX_COLUMNS / 8);
    add_columns(filter->root, column_bits);
}
