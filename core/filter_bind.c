/*
 * Tree -> plan: columns are found, values checked against their types, NOT pushed to the leaves.
 *
 * Three-valued logic needs no third value in the plan: TRUE(NOT p) is FALSE(p), FALSE(a AND b) is FALSE(a) OR FALSE(b),
 * and so on down to the leaves, where TRUE and FALSE are two sets of values that both lack NULL. Where NULL is written
 * as a value, one or both sets are empty: `c = NULL` is never TRUE nor FALSE, `c IN (1, NULL)` is TRUE for 1 and never
 * FALSE.
 *
 * Every comparison of a number column becomes an inclusive range that holds exactly the values meant: an int column
 * against 4.5 is split between 4 and 5, a float column against 2^53 + 1 between the doubles beside it. Nothing is
 * rounded through another type.
 */
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/filter_plan.h"
#include "core/time_text.h"

struct binder {
    struct filter *filter;
    struct velta_error *error;
};

/* What a comparison asks for: between low and high, either may be missing, strict ones are themselves left out. */
struct bounds {
    const struct filter_literal *low, *high;
    bool low_strict, high_strict;
};

enum { NAME_SHOWN = 60 }; /* bytes of a name in a message */

static const char *type_name(enum velta_type type) {
    static const char *const names[] = {"?", "int", "float", "bool", "string", "timestamp", "bytes", "vector"};
    return names[type];
}

static const char *literal_name(enum filter_literal_kind kind) {
    static const char *const names[] = {"NULL", "an integer", "a float", "a bool", "a string", "bytes"};
    return names[kind];
}

static enum velta_status no_memory(struct binder *binder) {
    return memory_fail(binder->filter->table->memory, binder->error);
}

/* ---- columns */

static unsigned char fold(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 0x20 : c);
}

/* Insertions, deletions and exchanges of bytes that make one name of the other, capitals counted half as small. */
static unsigned edit_distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    unsigned row[VELTA_MAX_NAME_BYTES + 1];
    for (size_t j = 0; j <= b_bytes; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            unsigned best = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_bytes];
}

static enum velta_status fail_column(struct binder *binder, const struct filter_tree *tree) {
    const struct table *table = binder->filter->table;
    const char *nearest = NULL;
    size_t length = tree->column_bytes < VELTA_MAX_NAME_BYTES ? tree->column_bytes : VELTA_MAX_NAME_BYTES;
    unsigned least = (unsigned)length / 3 + 2; /* further away is no suggestion */
    for (size_t i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i]->spec.name;
        unsigned distance = edit_distance(tree->column, length, name, strlen(name));
        if (distance < least) {
            least = distance;
            nearest = name;
        }
    }
    int shown = (int)(length < NAME_SHOWN ? length : NAME_SHOWN);
    if (nearest)
        return velta_fail(binder->error, VELTA_UNKNOWN_COLUMN, tree->column_position,
                          "there is no column '%.*s'; did you mean '%.*s'?", shown, tree->column, NAME_SHOWN, nearest);
    return velta_fail(binder->error, VELTA_UNKNOWN_COLUMN, tree->column_position, "there is no column '%.*s'", shown,
                      tree->column);
}

/* ---- values */

static enum velta_status fail_type(struct binder *binder, const struct column *column, uint32_t position,
                                   const char *what, const char *advice) {
    return velta_fail(binder->error, VELTA_TYPE, position, "column '%.*s' is %s but the value is %s%s", NAME_SHOWN,
                      column->spec.name, type_name(column->spec.type), what, advice);
}

/* Checks the type of a value; a time as text becomes an integer. */
static enum velta_status check_value(struct binder *binder, const struct column *column, struct filter_literal *value) {
    enum filter_literal_kind kind = value->kind;
    const char *advice = "";
    if (kind == FILTER_LITERAL_NULL) return VELTA_OK;
    switch (column->spec.type) {
    case VELTA_TIMESTAMP:
        if (kind == FILTER_LITERAL_TEXT) {
            if (!time_text_read((const char *)value->bytes, value->size_bytes, &value->integer))
                return velta_fail(binder->error, VELTA_TYPE, value->position,
                                  "column '%.*s' is timestamp and this string is not a time; write milliseconds, "
                                  "'2024-05-01' or '2024-05-01T10:00:00Z'",
                                  NAME_SHOWN, column->spec.name);
            value->kind = FILTER_LITERAL_INTEGER;
            return VELTA_OK;
        }
        /* fallthrough */
    case VELTA_INT:
    case VELTA_FLOAT:
        if (kind == FILTER_LITERAL_INTEGER || kind == FILTER_LITERAL_FLOAT) return VELTA_OK;
        break;
    case VELTA_BOOL:
        if (kind == FILTER_LITERAL_BOOL) return VELTA_OK;
        advice = "; compare with TRUE or FALSE";
        break;
    case VELTA_STRING:
        if (kind == FILTER_LITERAL_TEXT) return VELTA_OK;
        advice = "; a string is written in single quotes";
        break;
    case VELTA_BYTES:
        if (kind == FILTER_LITERAL_BYTES) return VELTA_OK;
        advice = "; bytes are written x'00ff'";
        break;
    case VELTA_VECTOR:
        advice = "; a vector can only be asked IS NULL or IS NOT NULL";
        break;
    }
    return fail_type(binder, column, value->position, literal_name(kind), advice);
}

/* The greatest int64_t that is <= the value (< if strict). False: there is none. */
static bool integer_at_most(const struct filter_literal *value, bool strict, int64_t *out) {
    int64_t found = value->integer;
    if (value->kind == FILTER_LITERAL_FLOAT) {
        double whole = floor(value->real);
        if (whole >= 0x1p63) {
            *out = INT64_MAX;
            return true;
        }
        if (whole < -0x1p63) return false;
        found = (int64_t)whole;
        strict = strict && whole == value->real;
    }
    if (strict && found == INT64_MIN) return false;
    *out = found - strict;
    return true;
}

/* The least int64_t that is >= the value (> if strict). */
static bool integer_at_least(const struct filter_literal *value, bool strict, int64_t *out) {
    int64_t found = value->integer;
    if (value->kind == FILTER_LITERAL_FLOAT) {
        double whole = ceil(value->real);
        if (whole < -0x1p63) {
            *out = INT64_MIN;
            return true;
        }
        if (whole >= 0x1p63) return false;
        found = (int64_t)whole;
        strict = strict && whole == value->real;
    }
    if (strict && found == INT64_MAX) return false;
    *out = found + strict;
    return true;
}

/* The double next to the value: -1, 0 or 1 says on which side of the value the double is. */
static double nearest_double(const struct filter_literal *value, int *side) {
    double nearest = value->real;
    *side = 0;
    if (value->kind != FILTER_LITERAL_FLOAT) {
        nearest = (double)value->integer;
        if (nearest >= 0x1p63)
            *side = 1;
        else if ((int64_t)nearest != value->integer)
            *side = (int64_t)nearest > value->integer ? 1 : -1;
    }
    return nearest;
}

static bool double_at_most(const struct filter_literal *value, bool strict, double *out) {
    int side;
    double nearest = nearest_double(value, &side);
    bool below = side > 0 || (side == 0 && strict);
    if (below && nearest == -HUGE_VAL) return false;
    *out = below ? nextafter(nearest, -HUGE_VAL) : nearest;
    return true;
}

static bool double_at_least(const struct filter_literal *value, bool strict, double *out) {
    int side;
    double nearest = nearest_double(value, &side);
    bool above = side < 0 || (side == 0 && strict);
    if (above && nearest == HUGE_VAL) return false;
    *out = above ? nextafter(nearest, HUGE_VAL) : nearest;
    return true;
}

/* ---- leaves: values inside bounds */

static bool integer_range(const struct bounds *bounds, struct filter_range *range) {
    *range = (struct filter_range){INT64_MIN, INT64_MAX};
    return (!bounds->low || integer_at_least(bounds->low, bounds->low_strict, &range->low)) &&
           (!bounds->high || integer_at_most(bounds->high, bounds->high_strict, &range->high)) &&
           range->low <= range->high;
}

static bool float_span(const struct bounds *bounds, struct filter_span *span) {
    *span = (struct filter_span){-HUGE_VAL, HUGE_VAL};
    return (!bounds->low || double_at_least(bounds->low, bounds->low_strict, &span->low)) &&
           (!bounds->high || double_at_most(bounds->high, bounds->high_strict, &span->high)) && span->low <= span->high;
}

static struct text_slice slice_of(const struct filter_literal *literal) {
    return (struct text_slice){literal->bytes, literal->size_bytes};
}

/* A bool leaf from whether FALSE and TRUE are wanted. */
static struct filter_node *new_bool(struct filter *filter, size_t column, bool has_false, bool has_true) {
    if (has_false == has_true)
        return filter_new_node(filter, has_true ? FILTER_NODE_PRESENT : FILTER_NODE_NEVER, column);
    struct filter_node *node = filter_new_node(filter, FILTER_NODE_BOOL, column);
    if (node) node->complement = has_false;
    return node;
}

static enum velta_status make_list(struct binder *binder, struct text_predicate *predicate,
                                   const struct filter_literal *literals) {
    uint32_t count = 0;
    struct text_slice *slices;
    for (const struct filter_literal *literal = literals; literal; literal = literal->next)
        count += literal->kind != FILTER_LITERAL_NULL;
    slices = arena_allocate(&binder->filter->arena, ((size_t)count + 1) * sizeof *slices);
    if (!slices) return no_memory(binder);
    count = 0;
    for (const struct filter_literal *literal = literals; literal; literal = literal->next)
        if (literal->kind != FILTER_LITERAL_NULL) slices[count++] = slice_of(literal);
    text_make_list(predicate, slices, count);
    return VELTA_OK;
}

static enum velta_status bind_text_bounds(struct binder *binder, size_t column, const struct bounds *bounds,
                                          bool complement, struct filter_node **out) {
    struct text_predicate predicate = {.kind = TEXT_RANGE};
    if (bounds->low && bounds->low == bounds->high) {
        struct filter_literal alone = *bounds->low;
        alone.next = NULL;
        enum velta_status status = make_list(binder, &predicate, &alone);
        if (status != VELTA_OK) return status;
    }
    if (bounds->low) {
        predicate.has_low = true;
        predicate.low_strict = bounds->low_strict;
        predicate.low = slice_of(bounds->low);
    }
    if (bounds->high) {
        predicate.has_high = true;
        predicate.high_strict = bounds->high_strict;
        predicate.high = slice_of(bounds->high);
    }
    *out = filter_new_codes(binder->filter, column, &predicate, complement);
    return *out ? VELTA_OK : no_memory(binder);
}

static enum velta_status bind_bounds(struct binder *binder, size_t column, const struct bounds *bounds, bool complement,
                                     struct filter_node **out) {
    struct filter *filter = binder->filter;
    struct filter_range *range = arena_allocate(&filter->arena, sizeof *range);
    struct filter_span *span = arena_allocate(&filter->arena, sizeof *span);
    if (!range || !span) return no_memory(binder);
    switch (filter->table->columns[column]->spec.type) {
    case VELTA_FLOAT:
        *out = filter_new_floats(filter, column, span, float_span(bounds, span), complement);
        break;
    case VELTA_BOOL: {
        bool any = integer_range(bounds, range);
        bool has_false = any && range->low <= 0 && range->high >= 0;
        bool has_true = any && range->low <= 1 && range->high >= 1;
        *out = new_bool(filter, column, has_false != complement, has_true != complement);
        break;
    }
    case VELTA_STRING:
    case VELTA_BYTES:
        return bind_text_bounds(binder, column, bounds, complement, out);
    default:
        *out = filter_new_integers(filter, column, range, integer_range(bounds, range), complement);
        break;
    }
    return *out ? VELTA_OK : no_memory(binder);
}

static enum velta_status bind_never(struct binder *binder, struct filter_node **out) {
    *out = filter_new_node(binder->filter, FILTER_NODE_NEVER, 0);
    return *out ? VELTA_OK : no_memory(binder);
}

/* = != < <= > >= BETWEEN. A NULL bound makes the whole never TRUE, and FALSE only where the other bound says so. */
static enum velta_status bind_comparison(struct binder *binder, const struct filter_tree *tree, size_t column,
                                         bool negated, struct filter_node **out) {
    struct bounds bounds = {NULL, NULL, false, false};
    struct filter_literal *value = tree->literals;
    bool below = tree->operation == FILTER_LESS || tree->operation == FILTER_LESS_EQUAL;
    bool above = tree->operation == FILTER_GREATER || tree->operation == FILTER_GREATER_EQUAL;
    struct filter_literal *high = tree->operation == FILTER_BETWEEN ? value->next : value;
    bounds.low_strict = tree->operation == FILTER_GREATER;
    bounds.high_strict = tree->operation == FILTER_LESS;
    if (!below && value->kind != FILTER_LITERAL_NULL) bounds.low = value;
    if (!above && high->kind != FILTER_LITERAL_NULL) bounds.high = high;
    negated ^= tree->operation == FILTER_NOT_EQUAL;
    bool has_null = value->kind == FILTER_LITERAL_NULL || high->kind == FILTER_LITERAL_NULL;
    if (has_null && (!negated || (!bounds.low && !bounds.high))) return bind_never(binder, out);
    return bind_bounds(binder, column, &bounds, negated, out);
}

/* ---- leaves: lists */

static enum velta_status bind_integer_list(struct binder *binder, const struct filter_tree *tree, size_t column,
                                           uint32_t count, bool negated, struct filter_node **out) {
    struct filter_range *ranges = arena_allocate(&binder->filter->arena, ((size_t)count + 1) * sizeof *ranges);
    uint32_t kept = 0;
    if (!ranges) return no_memory(binder);
    for (const struct filter_literal *value = tree->literals; value; value = value->next) {
        struct bounds bounds = {value, value, false, false};
        if (value->kind != FILTER_LITERAL_NULL) kept += integer_range(&bounds, &ranges[kept]);
    }
    *out = filter_new_integers(binder->filter, column, ranges, kept, negated);
    return *out ? VELTA_OK : no_memory(binder);
}

static enum velta_status bind_float_list(struct binder *binder, const struct filter_tree *tree, size_t column,
                                         uint32_t count, bool negated, struct filter_node **out) {
    struct filter_span *spans = arena_allocate(&binder->filter->arena, ((size_t)count + 1) * sizeof *spans);
    uint32_t kept = 0;
    if (!spans) return no_memory(binder);
    for (const struct filter_literal *value = tree->literals; value; value = value->next) {
        struct bounds bounds = {value, value, false, false};
        if (value->kind != FILTER_LITERAL_NULL) kept += float_span(&bounds, &spans[kept]);
    }
    *out = filter_new_floats(binder->filter, column, spans, kept, negated);
    return *out ? VELTA_OK : no_memory(binder);
}

static enum velta_status bind_bool_list(struct binder *binder, const struct filter_tree *tree, size_t column,
                                        bool negated, struct filter_node **out) {
    bool has[2] = {false, false};
    for (const struct filter_literal *value = tree->literals; value; value = value->next)
        if (value->kind != FILTER_LITERAL_NULL) has[value->integer] = true;
    *out = new_bool(binder->filter, column, has[0] != negated, has[1] != negated);
    return *out ? VELTA_OK : no_memory(binder);
}

/* IN. As in SQLite, the empty list is FALSE for every row, even a NULL one. */
static enum velta_status bind_list(struct binder *binder, const struct filter_tree *tree, size_t column, bool negated,
                                   struct filter_node **out) {
    const struct column *target = binder->filter->table->columns[column];
    struct text_predicate predicate = {.kind = TEXT_LIST};
    uint32_t count = 0;
    bool has_null = false;
    for (const struct filter_literal *value = tree->literals; value; value = value->next) {
        has_null |= value->kind == FILTER_LITERAL_NULL;
        count++;
    }
    if (count == 0 && negated) {
        *out = filter_new_node(binder->filter, FILTER_NODE_ALWAYS, 0);
        return *out ? VELTA_OK : no_memory(binder);
    }
    if (count == 0 || (has_null && negated)) return bind_never(binder, out);
    switch (target->spec.type) {
    case VELTA_FLOAT:
        return bind_float_list(binder, tree, column, count, negated, out);
    case VELTA_BOOL:
        return bind_bool_list(binder, tree, column, negated, out);
    case VELTA_STRING:
    case VELTA_BYTES:
        break;
    default:
        return bind_integer_list(binder, tree, column, count, negated, out);
    }
    enum velta_status status = make_list(binder, &predicate, tree->literals);
    if (status != VELTA_OK) return status;
    *out = filter_new_codes(binder->filter, column, &predicate, negated);
    return *out ? VELTA_OK : no_memory(binder);
}

/* ---- leaves: patterns */

static const char *pattern_word(enum filter_operator operation) {
    switch (operation) {
    case FILTER_STARTS_WITH:
        return "STARTS WITH";
    case FILTER_ENDS_WITH:
        return "ENDS WITH";
    case FILTER_CONTAINS:
        return "CONTAINS";
    default:
        return "LIKE";
    }
}

static size_t first_character_bytes(const struct filter_literal *literal) {
    size_t size_bytes = literal->size_bytes > 0;
    while (size_bytes < literal->size_bytes && (literal->bytes[size_bytes] & 0xC0) == 0x80)
        size_bytes++;
    return size_bytes;
}

static enum velta_status bind_like(struct binder *binder, const struct filter_tree *tree,
                                   struct text_predicate *predicate) {
    const struct filter_literal *pattern = tree->literals, *escape = pattern->next;
    struct text_slice character = {NULL, 0};
    if (pattern->size_bytes > FILTER_MAX_LIKE_BYTES)
        return velta_fail(binder->error, VELTA_LIMIT, pattern->position, "a LIKE pattern has at most %d bytes",
                          FILTER_MAX_LIKE_BYTES);
    if (escape) {
        if (escape->kind != FILTER_LITERAL_TEXT || escape->size_bytes == 0 ||
            first_character_bytes(escape) != escape->size_bytes)
            return velta_fail(binder->error, VELTA_SYNTAX, escape->position,
                              "ESCAPE needs a string of exactly one character");
        character = slice_of(escape);
    }
    enum velta_status status =
        text_make_like(&binder->filter->arena, predicate, slice_of(pattern), character, binder->error);
    if (status == VELTA_SYNTAX && binder->error) binder->error->offset = pattern->position;
    return status;
}

static enum velta_status bind_pattern(struct binder *binder, const struct filter_tree *tree, size_t column,
                                      bool negated, struct filter_node **out) {
    const struct column *target = binder->filter->table->columns[column];
    struct text_predicate predicate = {.kind = TEXT_PATTERN};
    enum velta_status status;
    bool bytes = target->spec.type == VELTA_BYTES && tree->operation != FILTER_LIKE;
    if (target->spec.type != VELTA_STRING && !bytes)
        return velta_fail(binder->error, VELTA_TYPE, tree->column_position,
                          "column '%.*s' is %s; %s needs a string column%s", NAME_SHOWN, target->spec.name,
                          type_name(target->spec.type), pattern_word(tree->operation),
                          tree->operation == FILTER_LIKE ? "" : " or a bytes column");
    status = check_value(binder, target, tree->literals);
    if (status != VELTA_OK) return status;
    if (tree->literals->kind == FILTER_LITERAL_NULL) return bind_never(binder, out);
    if (tree->operation == FILTER_LIKE)
        status = bind_like(binder, tree, &predicate);
    else
        status =
            text_make_needle(&binder->filter->arena, &predicate, slice_of(tree->literals),
                             tree->operation == FILTER_STARTS_WITH, tree->operation == FILTER_ENDS_WITH, binder->error);
    if (status != VELTA_OK) return status;
    *out = filter_new_codes(binder->filter, column, &predicate, negated);
    return *out ? VELTA_OK : no_memory(binder);
}

/* ---- the tree */

static enum velta_status bind_predicate(struct binder *binder, const struct filter_tree *tree, bool negated,
                                        struct filter_node **out) {
    struct filter *filter = binder->filter;
    size_t column = table_find_column(filter->table, tree->column, tree->column_bytes);
    if (column == TABLE_NO_COLUMN) return fail_column(binder, tree);
    const struct column *target = filter->table->columns[column];
    switch (tree->operation) {
    case FILTER_IS_NULL:
        *out = filter_new_node(filter, negated ? FILTER_NODE_PRESENT : FILTER_NODE_NULL, column);
        return *out ? VELTA_OK : no_memory(binder);
    case FILTER_IS_TRUE:
        if (target->spec.type != VELTA_BOOL)
            return velta_fail(binder->error, VELTA_TYPE, tree->column_position,
                              "column '%.*s' is %s; only a bool column is a condition by itself", NAME_SHOWN,
                              target->spec.name, type_name(target->spec.type));
        *out = new_bool(filter, column, negated, !negated);
        return *out ? VELTA_OK : no_memory(binder);
    case FILTER_LIKE:
    case FILTER_STARTS_WITH:
    case FILTER_ENDS_WITH:
    case FILTER_CONTAINS:
        return bind_pattern(binder, tree, column, negated, out);
    default:
        break;
    }
    for (struct filter_literal *value = tree->literals; value; value = value->next) {
        enum velta_status status = check_value(binder, target, value);
        if (status != VELTA_OK) return status;
    }
    if (target->spec.type == VELTA_VECTOR)
        return velta_fail(binder->error, VELTA_TYPE, tree->column_position,
                          "column '%.*s' is vector; it can only be asked IS NULL or IS NOT NULL", NAME_SHOWN,
                          target->spec.name);
    if (tree->operation == FILTER_IN) return bind_list(binder, tree, column, negated, out);
    return bind_comparison(binder, tree, column, negated, out);
}

static enum velta_status bind_tree(struct binder *binder, const struct filter_tree *tree, bool negated,
                                   struct filter_node **out) {
    struct filter_node *list = NULL, **tail = &list;
    struct filter *filter = binder->filter;
    negated ^= tree->negated;
    if (tree->kind == FILTER_TREE_PREDICATE) return bind_predicate(binder, tree, negated, out);
    if (tree->kind == FILTER_TREE_CONSTANT) {
        bool met = tree->literals->kind == FILTER_LITERAL_BOOL && (tree->literals->integer != 0) != negated;
        *out = filter_new_node(filter, met ? FILTER_NODE_ALWAYS : FILTER_NODE_NEVER, 0);
        return *out ? VELTA_OK : no_memory(binder);
    }
    struct filter_node *joined =
        filter_new_node(filter, (tree->kind == FILTER_TREE_AND) != negated ? FILTER_NODE_AND : FILTER_NODE_OR, 0);
    if (!joined) return no_memory(binder);
    for (const struct filter_tree *child = tree->first; child; child = child->next) {
        enum velta_status status = bind_tree(binder, child, negated, tail);
        if (status != VELTA_OK) return status;
        tail = &(*tail)->next;
    }
    *out = filter_join(joined, list);
    return VELTA_OK;
}

enum velta_status filter_bind(struct filter *filter, const struct filter_tree *tree, struct velta_error *error) {
    struct binder binder = {filter, error};
    return bind_tree(&binder, tree, false, &filter->root);
}
