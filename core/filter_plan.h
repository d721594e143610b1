/*
 * The bound plan: what filter_bind.c makes of a tree and filter_evaluate.c runs.
 *
 * A leaf gives the rows for which its predicate is TRUE, or (complement) FALSE; both leave out NULL rows, so NOT needs
 * no node. Leaves of int, timestamp and float columns are sets of inclusive ranges; leaves of string and bytes columns
 * are sets of dictionary codes, worked out when the filter runs and extended when the dictionary has grown.
 */
#ifndef VELTA_CORE_FILTER_PLAN_H
#define VELTA_CORE_FILTER_PLAN_H

#include "core/filter.h"
#include "core/filter_text.h"

enum {
    FILTER_CHUNK_ROWS = 16384, /* divides CORE_ROWS_PER_SLAB; three bitmaps of a chunk are 6 KiB, in the L1 cache */
    FILTER_CHUNK_WORDS = FILTER_CHUNK_ROWS / 64,
    FILTER_MAX_PASSES = 8,         /* ranges tested by one kernel call each; more are looked up row by row */
    FILTER_MAX_SET_BITS = 1 << 20, /* a longer list of integers is a bitmap if its span allows, else searched */
};

enum filter_node_kind {
    FILTER_NODE_NEVER,
    FILTER_NODE_ALWAYS,
    FILTER_NODE_AND,
    FILTER_NODE_OR,
    FILTER_NODE_NULL,    /* the column is NULL */
    FILTER_NODE_PRESENT, /* the column is not NULL */
    FILTER_NODE_BOOL,    /* the column is TRUE; complement: FALSE */
    FILTER_NODE_INTEGERS,
    FILTER_NODE_FLOATS,
    FILTER_NODE_CODES,
};

struct filter_range {
    int64_t low, high;
};

struct filter_span {
    double low, high;
};

/* A predicate on a dictionary column and what is known of it. */
struct filter_codes {
    struct text_predicate predicate;
    const struct dictionary *dictionary;
    bool interning;
    uint32_t known_entries; /* the predicate was evaluated for codes below this */
    bool by_ranges;         /* ranges hold the matching codes; else `bits` */
    struct filter_range ranges[FILTER_MAX_PASSES];
    uint32_t range_count;
    uint64_t low_bits[2]; /* codes 0..127: all that a slab of one-byte codes can hold */
    uint64_t *bits;       /* one per code */
    size_t bits_capacity; /* words */
    struct filter_codes *next;
};

struct filter_node {
    enum filter_node_kind kind;
    bool complement;
    uint32_t column;
    double rank; /* AND evaluates its children in this order: cost per row that it rules out */
    struct filter_node *first, *next;
    uint32_t count; /* of ranges or spans */
    union {
        struct filter_range *ranges; /* INTEGERS: ascending, disjoint, not touching */
        struct filter_span *spans;   /* FLOATS: the same */
        struct filter_codes *codes;
    };
    uint64_t *set; /* INTEGERS beyond MAX_PASSES: bit i is ranges[0].low + i; or NULL */
    uint64_t set_bits;
};

struct filter {
    struct table *table;
    struct arena arena; /* nodes, ranges, texts */
    struct filter_node *root;
    struct filter_codes *codes; /* all of them */
    unsigned depth;             /* of AND and OR nodes */
    uint64_t *scratch;          /* chunk bitmaps: two, and one for each depth */
    size_t scratch_bytes;
};

/* Tree to plan, into filter->root and ->codes. Errors: UNKNOWN_COLUMN, TYPE, SYNTAX, memory. */
VELTA_MUST_USE enum velta_status filter_bind(struct filter *filter, const struct filter_tree *tree,
                                             struct velta_error *error);

/* Nodes. They simplify what they can: a leaf that nothing meets becomes NEVER. NULL: no memory (see filter->arena). */
struct filter_node *filter_new_node(struct filter *filter, enum filter_node_kind kind, size_t column);
struct filter_node *filter_new_integers(struct filter *filter, size_t column, struct filter_range *ranges,
                                        uint32_t count, bool complement);
struct filter_node *filter_new_floats(struct filter *filter, size_t column, struct filter_span *spans, uint32_t count,
                                      bool complement);
struct filter_node *filter_new_codes(struct filter *filter, size_t column, const struct text_predicate *predicate,
                                     bool complement);
/* AND or OR of a list of nodes (linked by next, at least one). Cannot fail: it uses `joined`, or one of the list. */
struct filter_node *filter_join(struct filter_node *joined, struct filter_node *list);

/* Brings the codes up to the dictionary's present size. */
VELTA_MUST_USE enum velta_status filter_codes_refresh(struct memory *memory, struct filter_codes *codes,
                                                      struct velta_error *error);
bool filter_codes_has(const struct filter_codes *codes, uint32_t code);
/* Membership in ascending ranges or spans. */
bool filter_ranges_have(const struct filter_range *ranges, uint32_t count, int64_t value);
bool filter_spans_have(const struct filter_span *spans, uint32_t count, double value);

#endif
