/*
 * Text -> tokens of the filter language.
 *
 * Names are letters, digits, '_' and any character beyond ASCII, not starting with a digit; or anything in double
 * quotes, a quote doubled. Strings are in single quotes, a quote doubled; there are no backslash escapes. Bytes are
 * x'00ff'. A sign belongs to the number it touches, since there is no arithmetic. The text is known to be UTF-8.
 */
#include "core/filter_token.h"

#include <string.h>

#include "core/error.h"
#include "core/number.h"

struct reader {
    struct arena *arena;
    const char *text;
    uint32_t size_bytes;
    struct filter_token *token;
    struct velta_error *error;
};

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}
static bool is_name(char c) {
    return is_name_start(c) || is_digit(c);
}

static char at(const struct reader *reader, uint32_t position) {
    return position < reader->size_bytes ? reader->text[position] : '\0';
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Text between the quotes at `open` and its partner, a doubled quote made one. */
static enum velta_status read_quoted(struct reader *reader, uint32_t open, uint8_t **bytes, size_t *size_bytes) {
    char quote = reader->text[open];
    uint32_t close = open + 1;
    size_t count = 0;
    for (;; close++) {
        if (close >= reader->size_bytes)
            return velta_fail(reader->error, VELTA_SYNTAX, open, "the %s that starts here has no closing %s",
                              quote == '"' ? "column name" : "string", quote == '"' ? "double quote" : "quote");
        if (reader->text[close] == quote) {
            if (at(reader, close + 1) != quote) break;
            close++;
        }
        count++;
    }
    uint8_t *out = arena_allocate(reader->arena, count + 1);
    if (!out) return memory_fail(reader->arena->memory, reader->error);
    for (uint32_t from = open + 1, to = 0; from < close; from++, to++) {
        out[to] = (uint8_t)reader->text[from];
        from += reader->text[from] == quote;
    }
    reader->token->end = close + 1;
    *bytes = out;
    *size_bytes = count;
    return VELTA_OK;
}

static struct filter_literal *new_literal(struct reader *reader, enum filter_literal_kind kind) {
    struct filter_literal *literal = arena_allocate(reader->arena, sizeof *literal);
    if (literal) {
        memset(literal, 0, sizeof *literal);
        literal->kind = kind;
        literal->position = reader->token->position;
        reader->token->kind = FILTER_TOKEN_LITERAL;
        reader->token->literal = literal;
    }
    return literal;
}

static enum velta_status read_string(struct reader *reader) {
    struct filter_literal *literal = new_literal(reader, FILTER_LITERAL_TEXT);
    uint8_t *bytes;
    if (!literal) return memory_fail(reader->arena->memory, reader->error);
    enum velta_status status = read_quoted(reader, reader->token->position, &bytes, &literal->size_bytes);
    if (status == VELTA_OK) literal->bytes = bytes;
    return status;
}

static enum velta_status read_bytes(struct reader *reader) {
    struct filter_literal *literal = new_literal(reader, FILTER_LITERAL_BYTES);
    uint32_t open = reader->token->position + 1;
    uint8_t *bytes;
    size_t digits;
    if (!literal) return memory_fail(reader->arena->memory, reader->error);
    enum velta_status status = read_quoted(reader, open, &bytes, &digits);
    if (status != VELTA_OK) return status;
    for (size_t i = 0; i < digits; i++)
        if (hex_digit((char)bytes[i]) < 0)
            return velta_fail(reader->error, VELTA_SYNTAX, open + 1 + i, "bytes are written with 0-9 and a-f: x'00ff'");
    if (digits % 2 != 0) return velta_fail(reader->error, VELTA_SYNTAX, open, "bytes need two hexadecimal digits each");
    for (size_t i = 0; i < digits / 2; i++)
        bytes[i] = (uint8_t)(hex_digit((char)bytes[2 * i]) << 4 | hex_digit((char)bytes[2 * i + 1]));
    literal->bytes = bytes;
    literal->size_bytes = digits / 2;
    return VELTA_OK;
}

static enum velta_status read_number(struct reader *reader) {
    uint32_t position = reader->token->position;
    struct number number = number_read(reader->text + position, reader->size_bytes - position);
    uint32_t end = position + (uint32_t)number.size_bytes;
    if (number.kind == NUMBER_NONE) return velta_fail(reader->error, VELTA_SYNTAX, position, "a number needs digits");
    if (is_name(at(reader, end)) || at(reader, end) == '.')
        return velta_fail(reader->error, VELTA_SYNTAX, end, "this cannot follow a number");
    struct filter_literal *literal =
        new_literal(reader, number.kind == NUMBER_INTEGER ? FILTER_LITERAL_INTEGER : FILTER_LITERAL_FLOAT);
    if (!literal) return memory_fail(reader->arena->memory, reader->error);
    literal->integer = number.integer;
    literal->real = number.real;
    reader->token->end = end;
    return VELTA_OK;
}

static enum velta_status read_name(struct reader *reader) {
    uint32_t position = reader->token->position;
    uint8_t *bytes;
    if (reader->text[position] == '"') {
        enum velta_status status = read_quoted(reader, position, &bytes, &reader->token->name_bytes);
        if (status != VELTA_OK) return status;
        if (reader->token->name_bytes == 0)
            return velta_fail(reader->error, VELTA_SYNTAX, position, "a column name is not empty");
        reader->token->kind = FILTER_TOKEN_QUOTED;
        reader->token->name = (const char *)bytes;
        return VELTA_OK;
    }
    uint32_t end = position;
    while (end < reader->size_bytes && is_name(reader->text[end]))
        end++;
    reader->token->kind = FILTER_TOKEN_NAME;
    reader->token->name = reader->text + position;
    reader->token->name_bytes = end - position;
    reader->token->end = end;
    return VELTA_OK;
}

static enum velta_status read_sign(struct reader *reader) {
    static const struct {
        char text[3];
        enum filter_token_kind kind;
        enum filter_operator operation;
    } signs[] = {
        {"<=", FILTER_TOKEN_COMPARE, FILTER_LESS_EQUAL}, {">=", FILTER_TOKEN_COMPARE, FILTER_GREATER_EQUAL},
        {"<>", FILTER_TOKEN_COMPARE, FILTER_NOT_EQUAL},  {"!=", FILTER_TOKEN_COMPARE, FILTER_NOT_EQUAL},
        {"<", FILTER_TOKEN_COMPARE, FILTER_LESS},        {">", FILTER_TOKEN_COMPARE, FILTER_GREATER},
        {"=", FILTER_TOKEN_COMPARE, FILTER_EQUAL},       {"(", FILTER_TOKEN_OPEN, FILTER_EQUAL},
        {")", FILTER_TOKEN_CLOSE, FILTER_EQUAL},         {",", FILTER_TOKEN_COMMA, FILTER_EQUAL},
    };
    static const struct {
        char text[3];
        const char *advice;
    } foreign[] = {
        {"==", "equality is written ="}, {"&&", "write AND"}, {"&", "write AND"}, {"||", "write OR"}, {"|", "write OR"},
        {"!", "write NOT or !="},
    };
    uint32_t position = reader->token->position;
    const char *text = reader->text + position;
    size_t left = reader->size_bytes - position;
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        size_t length = strlen(foreign[i].text);
        if (left >= length && memcmp(text, foreign[i].text, length) == 0 && !(left > 1 && memcmp(text, "!=", 2) == 0))
            return velta_fail(reader->error, VELTA_SYNTAX, position, "'%s' is not known here; %s", foreign[i].text,
                              foreign[i].advice);
    }
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        size_t length = strlen(signs[i].text);
        if (left >= length && memcmp(text, signs[i].text, length) == 0) {
            reader->token->kind = signs[i].kind;
            reader->token->operation = signs[i].operation;
            reader->token->end = position + (uint32_t)length;
            return VELTA_OK;
        }
    }
    if (*text > ' ' && *text <= '~')
        return velta_fail(reader->error, VELTA_SYNTAX, position, "unexpected character '%c'", *text);
    return velta_fail(reader->error, VELTA_SYNTAX, position, "unexpected character with code %d", *text);
}

enum velta_status filter_token_read(struct arena *arena, const char *text, uint32_t text_bytes, uint32_t position,
                                    struct filter_token *token, struct velta_error *error) {
    struct reader reader = {arena, text, text_bytes, token, error};
    while (position < text_bytes && is_space(text[position]))
        position++;
    memset(token, 0, sizeof *token);
    token->kind = FILTER_TOKEN_END;
    token->position = token->end = position;
    if (position == text_bytes) return VELTA_OK;
    char c = text[position];
    if (c == '\'') return read_string(&reader);
    if ((c == 'x' || c == 'X') && at(&reader, position + 1) == '\'') return read_bytes(&reader);
    if (is_digit(c) || c == '-' || c == '+' || c == '.') return read_number(&reader);
    if (c == '"' || is_name_start(c)) return read_name(&reader);
    return read_sign(&reader);
}

bool filter_token_is(const struct filter_token *token, const char *word) {
    if (token->kind != FILTER_TOKEN_NAME || token->name_bytes != strlen(word)) return false;
    for (size_t i = 0; i < token->name_bytes; i++) {
        char c = token->name[i];
        if ((c >= 'a' && c <= 'z' ? c - 0x20 : c) != word[i]) return false;
    }
    return true;
}
