/* Predicates on one string or bytes value: lists, ranges in byte order, patterns. */
#ifndef VELTA_CORE_FILTER_TEXT_H
#define VELTA_CORE_FILTER_TEXT_H

#include "core/filter_tree.h"

struct text_slice {
    const uint8_t *bytes;
    size_t size_bytes;
};

/* A piece of a pattern between two '%': bytes, some of which may stand for "any one character". */
struct text_segment {
    const uint8_t *bytes;
    const uint8_t *any;    /* 1 where the byte is a placeholder for any one character; NULL: nowhere */
    const uint32_t *retry; /* without `any`: the failure function of Knuth, Morris and Pratt */
    uint32_t size_bytes;
    uint32_t character_count; /* with `any` */
};

enum text_kind { TEXT_LIST, TEXT_RANGE, TEXT_PATTERN };

struct text_predicate {
    enum text_kind kind;
    struct text_slice *list; /* LIST: ascending, distinct */
    uint32_t list_count;
    bool has_low, has_high, low_strict, high_strict; /* RANGE */
    struct text_slice low, high;
    struct text_segment *segments; /* PATTERN: in order; empty ones are left out */
    uint32_t segment_count;
    bool anchored_start, anchored_end; /* the first segment stands at the start, the last at the end */
};

/* memcmp order, the shorter first where one is the start of the other. */
int text_compare(struct text_slice a, struct text_slice b);
bool text_matches(const struct text_predicate *predicate, struct text_slice value);

/* Sorts the slices and drops repeated ones. */
void text_make_list(struct text_predicate *predicate, struct text_slice *slices, uint32_t count);
/*
 * Pattern from LIKE (escape: one character or empty) or from a plain needle. The bytes must live as long as the
 * predicate. Errors: SYNTAX (an escape character without a successor; offset left to the caller), memory.
 */
VELTA_MUST_USE enum velta_status text_make_like(struct arena *arena, struct text_predicate *predicate,
                                                struct text_slice pattern, struct text_slice escape,
                                                struct velta_error *error);
VELTA_MUST_USE enum velta_status text_make_needle(struct arena *arena, struct text_predicate *predicate,
                                                  struct text_slice needle, bool at_start, bool at_end,
                                                  struct velta_error *error);

#endif
