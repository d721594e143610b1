/* Words, numbers, strings and signs of the filter language. */
#ifndef VELTA_CORE_FILTER_TOKEN_H
#define VELTA_CORE_FILTER_TOKEN_H

#include "core/filter_tree.h"

enum filter_token_kind {
    FILTER_TOKEN_END,
    FILTER_TOKEN_NAME,    /* bare: a keyword or a column */
    FILTER_TOKEN_QUOTED,  /* "column" */
    FILTER_TOKEN_LITERAL, /* number, 'string' or x'bytes' */
    FILTER_TOKEN_COMPARE, /* = != <> < <= > >= */
    FILTER_TOKEN_OPEN,
    FILTER_TOKEN_CLOSE,
    FILTER_TOKEN_COMMA,
};

struct filter_token {
    enum filter_token_kind kind;
    uint32_t position;
    uint32_t end;
    enum filter_operator operation; /* COMPARE */
    const char *name;               /* NAME: in the text; QUOTED: in the arena */
    size_t name_bytes;
    struct filter_literal *literal; /* LITERAL, in the arena */
};

/* Reads the token at or after `position`. Errors: SYNTAX, memory. */
VELTA_MUST_USE enum velta_status filter_token_read(struct arena *arena, const char *text, uint32_t text_bytes,
                                                   uint32_t position, struct filter_token *token,
                                                   struct velta_error *error);
/* Whether it is this word, given in capitals, bare, in any case. */
bool filter_token_is(const struct filter_token *token, const char *word);

#endif
