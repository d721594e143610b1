/*
 * UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. U+0000 is a character like any other.
 */
#ifndef VELTA_CORE_UTF8_H
#define VELTA_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the well-formed character at the start of `size_bytes` > 0 bytes; 0 when there is none. */
static inline size_t utf8_step(const uint8_t *bytes, size_t size_bytes) {
    uint8_t first = bytes[0];
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    size_t length;
    if (first < 0x80) {
        return 1;
    }
    if (first < 0xC2 || first > 0xF4) {
        return 0;
    }
    length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length > size_bytes) {
        return 0;
    }
    if (first == 0xE0) {
        low = 0xA0;
    } else if (first == 0xED) {
        high = 0x9F;
    } else if (first == 0xF0) {
        low = 0x90;
    } else if (first == 0xF4) {
        high = 0x8F;
    }
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* Bytes that are well formed from the start: size_bytes when all are. Eight ASCII bytes are taken at a time. */
static inline size_t utf8_valid_prefix(const void *text, size_t size_bytes) {
    const uint8_t *bytes = text;
    size_t at = 0;
    while (at < size_bytes) {
        size_t step;
        uint64_t eight;
        if (size_bytes - at >= sizeof eight) {
            memcpy(&eight, bytes + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        step = utf8_step(bytes + at, size_bytes - at);
        if (step == 0) {
            break;
        }
        at += step;
    }
    return at;
}

static inline bool utf8_is_valid(const void *text, size_t size_bytes) {
    return utf8_valid_prefix(text, size_bytes) == size_bytes;
}

#endif
