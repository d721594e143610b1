/*
 * A prefix code for bytes whose values are uneven but come in no order: exponents of floats, small differences. LZ4
 * finds nothing there, because nothing repeats; this does.
 *
 * Coded form: the smallest and the largest byte value (one byte each); the code length of every value between them, two
 * to a byte, low half first (0: the value does not occur; at most PLANE_MAX_LENGTH); then the codes, low bits first,
 * the last byte filled with zero bits. The code is canonical: shorter codes first, equal lengths by value, each code
 * one more than the one before, sent from its top bit. A lone value has a code of one bit, 0.
 * Lengths come from Huffman's algorithm (1952), cut to PLANE_MAX_LENGTH and repaired; integers only, so every machine
 * makes the same bytes.
 */
#ifndef VELTA_DELTA_PLANE_CODE_H
#define VELTA_DELTA_PLANE_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLANE_MAX_LENGTH = 11, PLANE_MAX_HEAD_BYTES = 2 + 128 };

/* How often each value occurs. */
void plane_count(const uint8_t *bytes, size_t size_bytes, uint32_t counts[256]);
/*
 * Prepares a code from counts (not all zero, their sum below 2^32) and returns the size of the coded form, head
 * included.
 */
struct plane_code {
    uint8_t low;
    uint8_t high;
    uint64_t coded_bytes;
    uint8_t lengths[256];
    uint16_t codes[256]; /* reversed: to be sent low bits first */
};
uint64_t plane_code_make(struct plane_code *code, const uint32_t counts[256]);
/* Writes exactly the size that plane_code_make returned. */
void plane_encode(const struct plane_code *code, const uint8_t *bytes, size_t size_bytes, uint8_t *out);
/* Decodes exactly size_bytes from exactly coded_bytes; false: they are not a coded form of that many. */
bool plane_decode(const uint8_t *coded, size_t coded_bytes, uint8_t *out, size_t size_bytes);

#endif
