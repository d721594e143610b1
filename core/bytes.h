/*
 * Numbers in byte arrays (little-endian, any alignment), variable-length integers, and arithmetic that tells when it
 * overflows.
 *
 * Variable-length integers are LEB128: seven bits a byte, low bits first, the top bit set on all but the last. Only
 * the shortest form is accepted, so a value has one encoding. Signed numbers go through zigzag (0, -1, 1, -2, ...).
 * Hosts are little-endian (checked at compile time), so a number's bytes are its memory.
 */
#ifndef VELTA_CORE_BYTES_H
#define VELTA_CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "velta runs on little-endian machines"
#endif

enum { BYTES_MAX_VARINT = 10 };

static inline uint16_t bytes_get_u16(const void *from) {
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline uint32_t bytes_get_u32(const void *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline uint64_t bytes_get_u64(const void *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}
static inline void bytes_put_u16(void *to, uint16_t value) {
    memcpy(to, &value, sizeof value);
}
static inline void bytes_put_u32(void *to, uint32_t value) {
    memcpy(to, &value, sizeof value);
}
static inline void bytes_put_u64(void *to, uint64_t value) {
    memcpy(to, &value, sizeof value);
}

/*
 * Copies a few words of 4 bytes, at least one, between places that do not overlap. In WebAssembly a copy of unknown
 * size is a call out of the module, dearer than a hundred bytes are worth.
 */
static inline void bytes_copy_words(void *to, const void *from, size_t count) {
#if defined(__wasm__)
    uint8_t *out = to;
    const uint8_t *in = from;
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        memcpy(out + 4 * i, in + 4 * i, 16);
    }
    for (; i < count; i++) {
        memcpy(out + 4 * i, in + 4 * i, 4);
    }
#else
    memcpy(to, from, 4 * count);
#endif
}

static inline size_t bytes_varint_size(uint64_t value) {
    size_t size_bytes = 1;
    while (value >= 0x80) {
        value >>= 7;
        size_bytes++;
    }
    return size_bytes;
}
/* Writes up to BYTES_MAX_VARINT bytes; returns how many. */
static inline size_t bytes_put_varint(uint8_t *to, uint64_t value) {
    size_t size_bytes = 0;
    while (value >= 0x80) {
        to[size_bytes++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[size_bytes++] = (uint8_t)value;
    return size_bytes;
}
/* Bytes read; 0 when the bytes end too early, the number exceeds 64 bits, or a shorter form exists. */
static inline size_t bytes_get_varint(const uint8_t *from, const uint8_t *end, uint64_t *value) {
    uint64_t result = 0;
    for (size_t i = 0; i < BYTES_MAX_VARINT && from + i < end; i++) {
        uint64_t bits = from[i] & 0x7F;
        if (i == BYTES_MAX_VARINT - 1 && bits > 1) {
            return 0;
        }
        result |= bits << (7 * i);
        if (from[i] < 0x80) {
            if (from[i] == 0 && i > 0) {
                return 0;
            }
            *value = result;
            return i + 1;
        }
    }
    return 0;
}
static inline uint64_t bytes_zigzag(int64_t value) {
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}
static inline int64_t bytes_unzigzag(uint64_t value) {
    return (int64_t)((value >> 1) ^ ((value & 1) != 0 ? UINT64_MAX : 0));
}

/* true: *result holds the value; false: it does not fit and *result is unspecified. */
static inline bool checked_add_size(size_t a, size_t b, size_t *result) {
    return !__builtin_add_overflow(a, b, result);
}
static inline bool checked_multiply_size(size_t a, size_t b, size_t *result) {
    return !__builtin_mul_overflow(a, b, result);
}
static inline bool checked_add_u64(uint64_t a, uint64_t b, uint64_t *result) {
    return !__builtin_add_overflow(a, b, result);
}
static inline bool checked_multiply_u64(uint64_t a, uint64_t b, uint64_t *result) {
    return !__builtin_mul_overflow(a, b, result);
}
/* `align` is a power of two; overflow is the caller's to exclude. */
static inline uint64_t bytes_align_up(uint64_t value, uint64_t align) {
    return (value + align - 1) & ~(align - 1);
}

#endif
