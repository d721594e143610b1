/*
 * snprintf and vsnprintf, as far as the engine's messages need them: a C library's own bring in the printing of floats
 * and of wide characters, several times the size of what is printed here.
 *
 * Conversions: %% %c %s %d %u %x, with `-`, `0`, a width, a precision (of %s; `*` too) and hh, h, l, ll, z, j. Anything
 * else is written as it stands. tests/tidy/check_wasm.py looks through the engine for what is not in this list.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "wasm/print.h"

struct printer {
    char *out;
    size_t capacity; /* the NUL's place included */
    size_t length;   /* what there would be with room for all */
};

struct conversion {
    bool left, zero;
    int width, precision; /* -1: none */
    char size;            /* 'q' 64 bits, 'z' a size_t, 'l' a long, 0 an int */
    char kind;
};

static void put(struct printer *to, const char *text, size_t size_bytes) {
    if (to->length < to->capacity) {
        size_t room = to->capacity - to->length;
        memcpy(to->out + to->length, text, size_bytes < room ? size_bytes : room);
    }
    to->length += size_bytes;
}

static void put_many(struct printer *to, char character, size_t count) {
    while (count-- > 0)
        put(to, &character, 1);
}

static void put_padded(struct printer *to, const struct conversion *how, const char *text, size_t size_bytes) {
    size_t width = how->width > 0 ? (size_t)how->width : 0;
    size_t space = width > size_bytes ? width - size_bytes : 0;
    if (how->left) {
        put(to, text, size_bytes);
        put_many(to, ' ', space);
    } else {
        bool zeros = how->zero && how->kind != 's' && how->kind != 'c';
        size_t sign = zeros && size_bytes > 0 && text[0] == '-' ? 1 : 0;
        put(to, text, sign);
        put_many(to, zeros ? '0' : ' ', space);
        put(to, text + sign, size_bytes - sign);
    }
}

static void put_number(struct printer *to, const struct conversion *how, uint64_t magnitude, bool negative) {
    char text[24];
    size_t first = sizeof text;
    unsigned base = how->kind == 'x' ? 16 : 10;
    do {
        text[--first] = "0123456789abcdef"[magnitude % base];
        magnitude /= base;
    } while (magnitude > 0);
    if (negative) text[--first] = '-';
    put_padded(to, how, text + first, sizeof text - first);
}

static const char *read_number(const char *format, int *out) {
    for (*out = 0; *format >= '0' && *format <= '9' && *out < 100000; format++)
        *out = *out * 10 + (*format - '0');
    return format;
}

/* From behind the '%' to behind the conversion; a '*' takes its number from the arguments. */
static const char *read_conversion(const char *format, struct conversion *how, va_list *arguments) {
    *how = (struct conversion){.width = -1, .precision = -1};
    for (; *format == '-' || *format == '0'; format++) {
        how->left |= *format == '-';
        how->zero |= *format == '0';
    }
    if (*format >= '0' && *format <= '9') format = read_number(format, &how->width);
    if (*format == '.') {
        if (format[1] == '*') {
            how->precision = va_arg(*arguments, int);
            format += 2;
        } else {
            format = read_number(format + 1, &how->precision);
        }
    }
    for (; *format == 'h' || *format == 'l' || *format == 'z' || *format == 'j'; format++) {
        if (*format == 'l') {
            how->size = how->size == 'l' ? 'q' : 'l';
        } else if (*format != 'h') {
            how->size = *format == 'j' ? 'q' : 'z';
        }
    }
    how->kind = *format;
    return *format ? format + 1 : format;
}

static int64_t next_signed(const struct conversion *how, va_list *arguments) {
    switch (how->size) {
    case 'q':
        return va_arg(*arguments, long long);
    case 'z':
        return (int64_t)va_arg(*arguments, size_t);
    case 'l':
        return va_arg(*arguments, long);
    default:
        return va_arg(*arguments, int);
    }
}

static uint64_t next_unsigned(const struct conversion *how, va_list *arguments) {
    switch (how->size) {
    case 'q':
        return va_arg(*arguments, unsigned long long);
    case 'z':
        return va_arg(*arguments, size_t);
    case 'l':
        return va_arg(*arguments, unsigned long);
    default:
        return va_arg(*arguments, unsigned);
    }
}

static void put_text(struct printer *to, const struct conversion *how, const char *text) {
    size_t size_bytes = 0;
    while ((how->precision < 0 || size_bytes < (size_t)how->precision) && text[size_bytes] != '\0')
        size_bytes++;
    put_padded(to, how, text, size_bytes);
}

/* False: there is no such conversion. */
static bool put_conversion(struct printer *to, const struct conversion *how, va_list *arguments) {
    switch (how->kind) {
    case 'd': {
        int64_t value = next_signed(how, arguments);
        put_number(to, how, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0);
        return true;
    }
    case 'u':
    case 'x':
        put_number(to, how, next_unsigned(how, arguments), false);
        return true;
    case 'c': {
        char character = (char)va_arg(*arguments, int);
        put_padded(to, how, &character, 1);
        return true;
    }
    case 's':
        put_text(to, how, va_arg(*arguments, const char *));
        return true;
    case '%':
        put(to, "%", 1);
        return true;
    default:
        return false;
    }
}

int print_format(char *out, size_t capacity, const char *format, va_list given) {
    struct printer to = {.out = out, .capacity = capacity};
    va_list arguments;
    va_copy(arguments, given);
    while (*format) {
        size_t plain = 0;
        while (format[plain] != '\0' && format[plain] != '%')
            plain++;
        put(&to, format, plain);
        format += plain;
        if (*format == '\0') break;
        struct conversion how;
        const char *end = read_conversion(format + 1, &how, &arguments);
        if (!put_conversion(&to, &how, &arguments)) put(&to, format, (size_t)(end - format));
        format = end;
    }
    va_end(arguments);
    if (capacity > 0) out[to.length < capacity ? to.length : capacity - 1] = '\0';
    return (int)to.length;
}

#if defined(__wasm__)
int vsnprintf(char *restrict out, size_t capacity, const char *restrict format, va_list arguments) {
    return print_format(out, capacity, format, arguments);
}

int snprintf(char *restrict out, size_t capacity, const char *restrict format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = print_format(out, capacity, format, arguments);
    va_end(arguments);
    return length;
}
#endif
