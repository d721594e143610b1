/*
 * The tree between filter_parse.c and filter_bind.c: what was written, with positions, before any column is known.
 *
 * There are no NOT nodes: the parser folds NOT into `negated` of what follows it. Everything lies in the arena.
 */
#ifndef VELTA_CORE_FILTER_TREE_H
#define VELTA_CORE_FILTER_TREE_H

#include "core/memory.h"

enum {
    FILTER_MAX_TEXT_BYTES = 64 << 10,
    FILTER_MAX_DEPTH = 64, /* parentheses within parentheses */
    FILTER_MAX_LITERALS = 10000,
    FILTER_MAX_LIKE_BYTES = 4096,
};

enum filter_literal_kind {
    FILTER_LITERAL_NULL,
    FILTER_LITERAL_INTEGER,
    FILTER_LITERAL_FLOAT,
    FILTER_LITERAL_BOOL,
    FILTER_LITERAL_TEXT,
    FILTER_LITERAL_BYTES,
};

struct filter_literal {
    enum filter_literal_kind kind;
    uint32_t position; /* in the text */
    int64_t integer;   /* INTEGER; BOOL as 0 or 1 */
    double real;       /* FLOAT */
    const uint8_t *bytes;
    size_t size_bytes;
    struct filter_literal *next;
};

enum filter_operator {
    FILTER_EQUAL,
    FILTER_NOT_EQUAL,
    FILTER_LESS,
    FILTER_LESS_EQUAL,
    FILTER_GREATER,
    FILTER_GREATER_EQUAL,
    FILTER_BETWEEN, /* two literals */
    FILTER_IN,      /* any number of literals, none as well */
    FILTER_LIKE,    /* pattern and perhaps an escape character */
    FILTER_STARTS_WITH,
    FILTER_CONTAINS,
    FILTER_ENDS_WITH,
    FILTER_IS_NULL,
    FILTER_IS_TRUE, /* a bool column alone */
};

enum filter_tree_kind { FILTER_TREE_AND, FILTER_TREE_OR, FILTER_TREE_PREDICATE, FILTER_TREE_CONSTANT };

struct filter_tree {
    enum filter_tree_kind kind;
    bool negated;
    struct filter_tree *first; /* AND, OR: at least two children */
    struct filter_tree *next;  /* sibling */
    enum filter_operator operation;
    const char *column; /* PREDICATE */
    size_t column_bytes;
    uint32_t column_position;
    struct filter_literal *literals; /* CONSTANT: one, BOOL or NULL */
};

/* Blank text gives the constant TRUE. Errors: SYNTAX, LIMIT, memory; error->offset is the byte position in the text. */
VELTA_MUST_USE enum velta_status filter_parse(struct arena *arena, const char *text, size_t text_bytes,
                                              struct filter_tree **out, struct velta_error *error);

#endif
