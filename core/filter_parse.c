/*
 * Tokens -> tree of the filter language, by recursive descent with one token of sight.
 *
 *   filter     = [ either ]                               nothing but blanks: every row
 *   either     = all { OR all }
 *   all        = term { AND term }
 *   term       = { NOT } ( "(" either ")" | predicate )
 *   predicate  = column [ condition ] | literal compare column | TRUE | FALSE | NULL
 *   condition  = compare literal | [ NOT ] BETWEEN literal AND literal | [ NOT ] IN "(" [ literal { "," literal } ] ")"
 *              | [ NOT ] LIKE string [ ESCAPE string ] | [ NOT ] ( STARTS WITH | ENDS WITH | CONTAINS ) literal
 *              | IS [ NOT ] NULL
 *
 * Reserved words cannot be bare column names: AND OR NOT TRUE FALSE NULL IN LIKE BETWEEN IS. The others (STARTS, ENDS,
 * WITH, CONTAINS, ESCAPE) mean something only where a condition can stand. A stack overflow is impossible: only
 * parentheses recurse, to FILTER_MAX_DEPTH. See docs/FILTER.md.
 */
#include <string.h>

#include "core/error.h"
#include "core/filter_token.h"
#include "core/utf8.h"

struct parser {
    struct arena *arena;
    const char *text;
    uint32_t size_bytes;
    struct velta_error *error;
    struct filter_token token; /* the one to be read next */
    unsigned depth;
    unsigned literal_count;
};

enum { QUOTE_MAX = 40 };

/* What stands at the token, for messages: "'abc'" or "the end". */
struct quote {
    char text[QUOTE_MAX + 8];
};

static struct quote quote_range(const struct parser *parser, uint32_t from, uint32_t to) {
    struct quote quote = {"the end"};
    size_t count = to - from, kept = count < QUOTE_MAX ? count : QUOTE_MAX;
    if (count == 0) return quote;
    while (kept < count && kept > 0 && ((unsigned char)parser->text[from + kept] & 0xC0) == 0x80)
        kept--; /* whole characters only */
    quote.text[0] = '\'';
    memcpy(quote.text + 1, parser->text + from, kept);
    memcpy(quote.text + 1 + kept, kept < count ? "...'" : "'", kept < count ? 5 : 2);
    for (size_t i = 1; i <= kept; i++)
        if ((unsigned char)quote.text[i] < ' ') quote.text[i] = ' ';
    return quote;
}

static struct quote quote_token(const struct parser *parser) {
    return quote_range(parser, parser->token.position, parser->token.end);
}

static enum velta_status advance(struct parser *parser) {
    struct filter_token token;
    enum velta_status status =
        filter_token_read(parser->arena, parser->text, parser->size_bytes, parser->token.end, &token, parser->error);
    if (status == VELTA_OK) parser->token = token;
    return status;
}

static bool is_word(const struct parser *parser, const char *word) {
    return filter_token_is(&parser->token, word);
}

static bool is_reserved(const struct filter_token *token) {
    static const char *const words[] = {"AND", "OR", "NOT", "TRUE", "FALSE", "NULL", "IN", "LIKE", "BETWEEN", "IS"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (filter_token_is(token, words[i])) return true;
    return false;
}

static bool is_constant(const struct parser *parser) {
    return is_word(parser, "TRUE") || is_word(parser, "FALSE") || is_word(parser, "NULL");
}

static struct filter_tree *new_tree(struct parser *parser, enum filter_tree_kind kind) {
    struct filter_tree *tree = arena_allocate(parser->arena, sizeof *tree);
    if (tree) {
        memset(tree, 0, sizeof *tree);
        tree->kind = kind;
    }
    return tree;
}

/* A value is missing: says what to do about the things that are written instead of one. */
static enum velta_status fail_value(struct parser *parser, struct quote after) {
    struct quote found = quote_token(parser);
    uint32_t position = parser->token.position;
    if (parser->token.kind == FILTER_TOKEN_QUOTED)
        return velta_fail(parser->error, VELTA_SYNTAX, position,
                          "expected a value after %s but found the column %s; a string is written in single quotes",
                          after.text, found.text);
    if (parser->token.kind == FILTER_TOKEN_NAME && !is_reserved(&parser->token))
        return velta_fail(parser->error, VELTA_SYNTAX, position,
                          "expected a value after %s but found %s; a string is written in single quotes, and columns "
                          "are not compared with columns",
                          after.text, found.text);
    return velta_fail(parser->error, VELTA_SYNTAX, position, "expected a value after %s but found %s", after.text,
                      found.text);
}

/* Reads a literal into *out; `after` is what stands before it. */
static enum velta_status parse_literal(struct parser *parser, struct quote after, struct filter_literal **out) {
    struct filter_literal *literal = parser->token.literal;
    if (parser->token.kind != FILTER_TOKEN_LITERAL) {
        if (!is_constant(parser)) return fail_value(parser, after);
        literal = arena_allocate(parser->arena, sizeof *literal);
        if (!literal) return memory_fail(parser->arena->memory, parser->error);
        memset(literal, 0, sizeof *literal);
        literal->kind = is_word(parser, "NULL") ? FILTER_LITERAL_NULL : FILTER_LITERAL_BOOL;
        literal->integer = is_word(parser, "TRUE");
        literal->position = parser->token.position;
    }
    if (++parser->literal_count > FILTER_MAX_LITERALS)
        return velta_fail(parser->error, VELTA_LIMIT, literal->position, "a filter has at most %d values",
                          FILTER_MAX_LITERALS);
    *out = literal;
    return advance(parser);
}

static enum velta_status expect_word(struct parser *parser, const char *word, const char *where) {
    if (!is_word(parser, word))
        return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position, "expected %s %s but found %s", word,
                          where, quote_token(parser).text);
    return advance(parser);
}

static enum velta_status parse_between(struct parser *parser, struct filter_tree *tree) {
    enum velta_status status = parse_literal(parser, (struct quote){"BETWEEN"}, &tree->literals);
    if (status == VELTA_OK) status = expect_word(parser, "AND", "between the two values of BETWEEN");
    if (status == VELTA_OK) status = parse_literal(parser, (struct quote){"AND"}, &tree->literals->next);
    return status;
}

static enum velta_status parse_list(struct parser *parser, struct filter_tree *tree) {
    struct filter_literal **tail = &tree->literals;
    struct quote after = {"'('"};
    enum velta_status status;
    if (parser->token.kind != FILTER_TOKEN_OPEN)
        return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                          "expected '(' and a list of values after IN but found %s", quote_token(parser).text);
    status = advance(parser);
    if (status == VELTA_OK && parser->token.kind == FILTER_TOKEN_CLOSE) return advance(parser);
    while (status == VELTA_OK) {
        status = parse_literal(parser, after, tail);
        if (status != VELTA_OK) break;
        tail = &(*tail)->next;
        if (parser->token.kind == FILTER_TOKEN_CLOSE) return advance(parser);
        if (parser->token.kind != FILTER_TOKEN_COMMA)
            return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                              "expected ',' or ')' in the list of IN but found %s", quote_token(parser).text);
        after = (struct quote){"','"};
        status = advance(parser);
    }
    return status;
}

static enum velta_status parse_like(struct parser *parser, struct filter_tree *tree) {
    enum velta_status status = parse_literal(parser, (struct quote){"LIKE"}, &tree->literals);
    if (status == VELTA_OK && is_word(parser, "ESCAPE")) {
        status = advance(parser);
        if (status == VELTA_OK) status = parse_literal(parser, (struct quote){"ESCAPE"}, &tree->literals->next);
    }
    return status;
}

/* The condition words after a column and perhaps NOT. *found false: none of them stands here. */
static enum velta_status parse_words(struct parser *parser, struct filter_tree *tree, bool *found) {
    static const struct {
        const char *word, *second;
        enum filter_operator operation;
    } words[] = {
        {"BETWEEN", NULL, FILTER_BETWEEN},  {"IN", NULL, FILTER_IN},
        {"LIKE", NULL, FILTER_LIKE},        {"STARTS", "WITH", FILTER_STARTS_WITH},
        {"ENDS", "WITH", FILTER_ENDS_WITH}, {"CONTAINS", NULL, FILTER_CONTAINS},
    };
    size_t i = 0, count = sizeof words / sizeof words[0];
    enum velta_status status;
    while (i < count && !is_word(parser, words[i].word))
        i++;
    *found = i < count;
    if (!*found) return VELTA_OK;
    tree->operation = words[i].operation;
    struct quote after = quote_token(parser);
    status = advance(parser);
    if (status == VELTA_OK && words[i].second) {
        after = (struct quote){"WITH"};
        status = expect_word(parser, "WITH", words[i].operation == FILTER_STARTS_WITH ? "after STARTS" : "after ENDS");
    }
    if (status != VELTA_OK) return status;
    switch (tree->operation) {
    case FILTER_BETWEEN:
        return parse_between(parser, tree);
    case FILTER_IN:
        return parse_list(parser, tree);
    case FILTER_LIKE:
        return parse_like(parser, tree);
    default:
        return parse_literal(parser, after, &tree->literals);
    }
}

static enum velta_status parse_is_null(struct parser *parser, struct filter_tree *tree) {
    enum velta_status status = advance(parser);
    tree->operation = FILTER_IS_NULL;
    if (status == VELTA_OK && is_word(parser, "NOT")) {
        tree->negated = !tree->negated;
        status = advance(parser);
    }
    return status == VELTA_OK ? expect_word(parser, "NULL", "after IS") : status;
}

/* a < b < c reads like mathematics and would mean something else. */
static enum velta_status refuse_chain(struct parser *parser) {
    if (parser->token.kind != FILTER_TOKEN_COMPARE) return VELTA_OK;
    return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                      "comparisons are not chained; write BETWEEN, or two comparisons with AND");
}

static enum velta_status read_column(struct parser *parser, struct filter_tree *tree) {
    tree->kind = FILTER_TREE_PREDICATE;
    tree->operation = FILTER_IS_TRUE;
    tree->column = parser->token.name;
    tree->column_bytes = parser->token.name_bytes;
    tree->column_position = parser->token.position;
    return advance(parser);
}

static enum velta_status parse_condition(struct parser *parser, struct filter_tree *tree) {
    enum velta_status status = read_column(parser, tree);
    bool found = false;
    if (status != VELTA_OK) return status;
    if (parser->token.kind == FILTER_TOKEN_COMPARE) {
        struct quote after = quote_token(parser);
        tree->operation = parser->token.operation;
        status = advance(parser);
        if (status == VELTA_OK) status = parse_literal(parser, after, &tree->literals);
        return status == VELTA_OK ? refuse_chain(parser) : status;
    }
    if (is_word(parser, "IS")) return parse_is_null(parser, tree);
    if (!is_word(parser, "NOT")) return parse_words(parser, tree, &found);
    tree->negated = !tree->negated;
    status = advance(parser);
    if (status == VELTA_OK) status = parse_words(parser, tree, &found);
    if (status == VELTA_OK && !found)
        return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                          "expected BETWEEN, IN, LIKE, STARTS WITH, ENDS WITH or CONTAINS after NOT but found %s",
                          quote_token(parser).text);
    return status;
}

/* literal compare column, turned round; or TRUE, FALSE, NULL alone */
static enum velta_status parse_reversed(struct parser *parser, struct filter_tree *tree) {
    static const enum filter_operator turned[] = {
        [FILTER_EQUAL] = FILTER_EQUAL,  [FILTER_NOT_EQUAL] = FILTER_NOT_EQUAL,
        [FILTER_LESS] = FILTER_GREATER, [FILTER_LESS_EQUAL] = FILTER_GREATER_EQUAL,
        [FILTER_GREATER] = FILTER_LESS, [FILTER_GREATER_EQUAL] = FILTER_LESS_EQUAL,
    };
    struct filter_literal *literal;
    struct quote written = quote_token(parser);
    bool constant = is_constant(parser);
    enum velta_status status = parse_literal(parser, written, &literal);
    if (status != VELTA_OK) return status;
    if (parser->token.kind != FILTER_TOKEN_COMPARE) {
        tree->kind = FILTER_TREE_CONSTANT;
        tree->literals = literal;
        if (constant) return VELTA_OK;
        return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                          "expected a comparison with a column after %s but found %s", written.text,
                          quote_token(parser).text);
    }
    enum filter_operator operation = turned[parser->token.operation];
    struct quote sign = quote_token(parser);
    status = advance(parser);
    if (status != VELTA_OK) return status;
    if (parser->token.kind != FILTER_TOKEN_QUOTED &&
        (parser->token.kind != FILTER_TOKEN_NAME || is_reserved(&parser->token)))
        return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                          "expected a column after %s but found %s; one side of a comparison is a column", sign.text,
                          quote_token(parser).text);
    status = read_column(parser, tree);
    tree->operation = operation;
    tree->literals = literal;
    return status == VELTA_OK ? refuse_chain(parser) : status;
}

static enum velta_status parse_either(struct parser *parser, struct filter_tree **out);

static enum velta_status parse_parentheses(struct parser *parser, struct filter_tree **out) {
    uint32_t open = parser->token.position;
    if (++parser->depth > FILTER_MAX_DEPTH)
        return velta_fail(parser->error, VELTA_LIMIT, open, "parentheses are nested at most %d deep", FILTER_MAX_DEPTH);
    enum velta_status status = advance(parser);
    if (status == VELTA_OK) status = parse_either(parser, out);
    if (status != VELTA_OK) return status;
    if (parser->token.kind == FILTER_TOKEN_END)
        return velta_fail(parser->error, VELTA_SYNTAX, open, "the parenthesis that opens here is not closed");
    if (parser->token.kind != FILTER_TOKEN_CLOSE)
        return velta_fail(parser->error, VELTA_SYNTAX, parser->token.position, "expected AND, OR or ')' but found %s",
                          quote_token(parser).text);
    parser->depth--;
    return advance(parser);
}

static enum velta_status parse_term(struct parser *parser, struct filter_tree **out) {
    bool negated = false;
    enum velta_status status = VELTA_OK;
    while (status == VELTA_OK && is_word(parser, "NOT")) {
        negated = !negated;
        status = advance(parser);
    }
    if (status != VELTA_OK) return status;
    if (parser->token.kind == FILTER_TOKEN_OPEN) {
        status = parse_parentheses(parser, out);
    } else {
        struct filter_tree *tree = new_tree(parser, FILTER_TREE_CONSTANT);
        if (!tree) return memory_fail(parser->arena->memory, parser->error);
        *out = tree;
        if (parser->token.kind == FILTER_TOKEN_LITERAL || is_constant(parser))
            status = parse_reversed(parser, tree);
        else if (parser->token.kind == FILTER_TOKEN_QUOTED ||
                 (parser->token.kind == FILTER_TOKEN_NAME && !is_reserved(&parser->token)))
            status = parse_condition(parser, tree);
        else if (parser->token.kind == FILTER_TOKEN_NAME)
            status = velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                                "expected a condition but found the word %s; a column of that name needs double quotes",
                                quote_token(parser).text);
        else
            status = velta_fail(parser->error, VELTA_SYNTAX, parser->token.position,
                                "expected a condition but found %s", quote_token(parser).text);
    }
    if (status == VELTA_OK && negated) (*out)->negated = !(*out)->negated;
    return status;
}

/* One operand, or all that are joined by `word` under a node of `kind`. */
static enum velta_status parse_joined(struct parser *parser, const char *word, enum filter_tree_kind kind,
                                      enum velta_status (*parse)(struct parser *, struct filter_tree **),
                                      struct filter_tree **out) {
    struct filter_tree *joined, *last;
    enum velta_status status = parse(parser, out);
    if (status != VELTA_OK || !is_word(parser, word)) return status;
    joined = new_tree(parser, kind);
    if (!joined) return memory_fail(parser->arena->memory, parser->error);
    joined->first = last = *out;
    while (status == VELTA_OK && is_word(parser, word)) {
        status = advance(parser);
        if (status == VELTA_OK) status = parse(parser, &last->next);
        if (status == VELTA_OK) last = last->next;
    }
    *out = joined;
    return status;
}

static enum velta_status parse_all(struct parser *parser, struct filter_tree **out) {
    return parse_joined(parser, "AND", FILTER_TREE_AND, parse_term, out);
}

static enum velta_status parse_either(struct parser *parser, struct filter_tree **out) {
    return parse_joined(parser, "OR", FILTER_TREE_OR, parse_all, out);
}

static enum velta_status parse_nothing(struct parser *parser, struct filter_tree **out) {
    struct filter_tree *tree = new_tree(parser, FILTER_TREE_CONSTANT);
    struct filter_literal *literal = arena_allocate(parser->arena, sizeof *literal);
    if (!tree || !literal) return memory_fail(parser->arena->memory, parser->error);
    memset(literal, 0, sizeof *literal);
    literal->kind = FILTER_LITERAL_BOOL;
    literal->integer = 1;
    tree->literals = literal;
    *out = tree;
    return VELTA_OK;
}

enum velta_status filter_parse(struct arena *arena, const char *text, size_t text_bytes, struct filter_tree **out,
                               struct velta_error *error) {
    struct parser parser = {.arena = arena, .text = text, .error = error};
    if (text_bytes > FILTER_MAX_TEXT_BYTES)
        return velta_fail(error, VELTA_LIMIT, FILTER_MAX_TEXT_BYTES, "a filter has at most %d bytes",
                          FILTER_MAX_TEXT_BYTES);
    size_t valid_bytes = utf8_valid_prefix(text, text_bytes);
    if (valid_bytes != text_bytes) return velta_fail(error, VELTA_SYNTAX, valid_bytes, "the filter is not UTF-8 here");
    parser.size_bytes = (uint32_t)text_bytes;
    enum velta_status status = advance(&parser);
    if (status != VELTA_OK) return status;
    if (parser.token.kind == FILTER_TOKEN_END) return parse_nothing(&parser, out);
    status = parse_either(&parser, out);
    if (status == VELTA_OK && parser.token.kind == FILTER_TOKEN_CLOSE)
        return velta_fail(error, VELTA_SYNTAX, parser.token.position, "this ')' has no '('");
    if (status == VELTA_OK && parser.token.kind != FILTER_TOKEN_END)
        return velta_fail(error, VELTA_SYNTAX, parser.token.position, "expected AND, OR or the end but found %s",
                          quote_token(&parser).text);
    return status;
}
