/*
 * The plan over bounds instead of values: a leaf may match where a value within its column's bounds would, an AND where
 * each child may, an OR where one may. That errs on one side only: what it rules out cannot match, because the values
 * of a row lie within the bounds, and a row for which an AND is true makes each child true.
 *
 * A complement (NOT) may match unless all that the bounds allow is in the set that it excludes. NaN lies within no
 * bounds and in no set of floats: it matches every complement, so one of floats is never ruled out by them.
 */
#include "core/filter_bounds.h"

#include <string.h>

#include "core/filter_plan.h"

/* ---- numbers */

static bool integers_may_match(const struct filter_node *node, int64_t low, int64_t high) {
    for (uint32_t i = 0; i < node->count; i++) {
        const struct filter_range *range = &node->ranges[i];
        if (node->complement && range->low <= low && high <= range->high) return false;
        if (!node->complement && range->low <= high && low <= range->high) return true;
    }
    return node->complement;
}

/* Written so that a bound that is NaN says nothing. */
static bool floats_may_match(const struct filter_node *node, const struct filter_bounds *bounds) {
    for (uint32_t i = 0; i < node->count && !node->complement; i++) {
        bool is_above = bounds->has_high && node->spans[i].low > bounds->high.number;
        bool is_below = bounds->has_low && node->spans[i].high < bounds->low.number;
        if (!is_above && !is_below) return true;
    }
    return node->complement;
}

static bool bool_may_match(const struct filter_node *node, const struct filter_bounds *bounds) {
    bool has_false = !bounds->has_low || bounds->low.integer == 0;
    bool has_true = !bounds->has_high || bounds->high.integer != 0;
    return node->complement ? has_false : has_true;
}

/* ---- strings and bytes */

static struct text_slice slice_of(const struct column_scalar *value) {
    return (struct text_slice){value->text, value->text_bytes};
}

/* Whether a value that begins with `start` lies within the bounds. */
static bool start_may_match(struct text_slice start, const struct filter_bounds *bounds) {
    if (bounds->has_high && text_compare(start, slice_of(&bounds->high)) > 0) return false;
    if (!bounds->has_low) return true;
    struct text_slice low = slice_of(&bounds->low);
    if (low.size_bytes > start.size_bytes) low.size_bytes = start.size_bytes;
    return text_compare(start, low) >= 0;
}

static bool within(struct text_slice value, const struct filter_bounds *bounds) {
    return (!bounds->has_low || text_compare(value, slice_of(&bounds->low)) >= 0) &&
           (!bounds->has_high || text_compare(value, slice_of(&bounds->high)) <= 0);
}

static bool range_may_match(const struct text_predicate *predicate, const struct filter_bounds *bounds) {
    if (predicate->has_low && bounds->has_high) {
        int order = text_compare(slice_of(&bounds->high), predicate->low);
        if (order < 0 || (order == 0 && predicate->low_strict)) return false;
    }
    if (predicate->has_high && bounds->has_low) {
        int order = text_compare(slice_of(&bounds->low), predicate->high);
        if (order > 0 || (order == 0 && predicate->high_strict)) return false;
    }
    return true;
}

/* What a pattern says of the beginning: the bytes of its first segment before any that stand for others. */
static bool pattern_may_match(const struct text_predicate *predicate, const struct filter_bounds *bounds) {
    if (!predicate->anchored_start || predicate->segment_count == 0) return true;
    const struct text_segment *first = &predicate->segments[0];
    struct text_slice start = {first->bytes, first->size_bytes};
    const uint8_t *any = first->any ? memchr(first->any, 1, first->size_bytes) : NULL;
    if (any) start.size_bytes = (size_t)(any - first->any);
    return start_may_match(start, bounds);
}

static bool text_may_match(const struct filter_node *node, const struct filter_bounds *bounds) {
    const struct text_predicate *predicate = &node->codes->predicate;
    /* Of one value alone all is known. */
    if (bounds->has_low && bounds->has_high && text_compare(slice_of(&bounds->low), slice_of(&bounds->high)) == 0)
        return text_matches(predicate, slice_of(&bounds->low)) != node->complement;
    if (node->complement) return true;
    switch (predicate->kind) {
    case TEXT_LIST:
        for (uint32_t i = 0; i < predicate->list_count; i++)
            if (within(predicate->list[i], bounds)) return true;
        return false;
    case TEXT_RANGE:
        return range_may_match(predicate, bounds);
    default:
        return pattern_may_match(predicate, bounds);
    }
}

/* ---- nodes */

static bool leaf_may_match(const struct filter_node *node, const struct filter_bounds *bounds) {
    if (node->kind == FILTER_NODE_NULL) return bounds->may_be_null;
    if (!bounds->may_be_there) return false;
    switch (node->kind) {
    case FILTER_NODE_BOOL:
        return bool_may_match(node, bounds);
    case FILTER_NODE_INTEGERS:
        return integers_may_match(node, bounds->has_low ? bounds->low.integer : INT64_MIN,
                                  bounds->has_high ? bounds->high.integer : INT64_MAX);
    case FILTER_NODE_FLOATS:
        return floats_may_match(node, bounds);
    case FILTER_NODE_CODES:
        return text_may_match(node, bounds);
    default: /* PRESENT */
        return true;
    }
}

static bool node_may_match(const struct filter_node *node, uint32_t block, filter_bounds_function *get, void *context) {
    if (node->kind == FILTER_NODE_NEVER || node->kind == FILTER_NODE_ALWAYS) return node->kind == FILTER_NODE_ALWAYS;
    if (node->kind == FILTER_NODE_AND || node->kind == FILTER_NODE_OR) {
        bool all = node->kind == FILTER_NODE_AND;
        for (const struct filter_node *child = node->first; child; child = child->next)
            if (node_may_match(child, block, get, context) != all) return !all;
        return all;
    }
    struct filter_bounds bounds = {.may_be_null = true, .may_be_there = true};
    get(context, block, node->column, &bounds);
    return leaf_may_match(node, &bounds);
}

bool filter_may_match(const struct filter *filter, uint32_t block, filter_bounds_function *get, void *context) {
    return node_may_match(filter->root, block, get, context);
}
