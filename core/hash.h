/*
 * Hashing: XXH3 (64 bits) for bytes and checksums, a bijective mix for integers. XXH3 gives the same values on every
 * machine, so its values may be stored.
 */
#ifndef VELTA_CORE_HASH_H
#define VELTA_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t size_bytes);
uint64_t hash_bytes_seeded(const void *bytes, size_t size_bytes, uint64_t seed);

/* hash_bytes of bytes that come in parts. */
struct hash_stream {
    _Alignas(64) unsigned char state[576];
};
void hash_stream_begin(struct hash_stream *stream);
void hash_stream_add(struct hash_stream *stream, const void *bytes, size_t size_bytes);
uint64_t hash_stream_value(const struct hash_stream *stream);

/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit. */
static inline uint64_t hash_integer(uint64_t value) {
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

#endif
