/*
 * Filling in `struct velta_error`.
 *
 * Messages quote names, keys and filter text, which may be any bytes: whatever is not printable UTF-8 becomes '?', so
 * that `text` is always one line of valid UTF-8. A message that is too long is cut at a character.
 */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/utf8.h"

static void make_printable(char *text) {
    size_t size_bytes = strlen(text);
    size_t at = 0;
    while (at < size_bytes) {
        size_t step = utf8_step((const uint8_t *)text + at, size_bytes - at);
        if (step == 0 && size_bytes == sizeof(((struct velta_error *)0)->text) - 1 && size_bytes - at < 4 &&
            (uint8_t)text[at] >= 0xC2) {
            text[at] = '\0'; /* the cut went through a character */
            return;
        }
        if (step == 0 || (step == 1 && ((uint8_t)text[at] < 0x20 || text[at] == 0x7F))) {
            text[at] = '?';
            step = 1;
        }
        at += step;
    }
}

enum velta_status velta_fail(struct velta_error *error, enum velta_status code, uint64_t offset, const char *format,
                             ...) {
    if (error) {
        va_list arguments;
        error->code = code;
        error->offset = offset;
        va_start(arguments, format);
        error->text[0] = '\0';
        (void)vsnprintf(error->text, sizeof error->text, format, arguments); /* cutting is meant */
        va_end(arguments);
        make_printable(error->text);
    }
    return code;
}
