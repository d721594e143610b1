/*
 * Hashing: XXH3 (64 bits) for bytes and checksums, a bijective mix for integers. XXH3 gives the same values on every
 * machine, so its values may be stored.
 */
#ifndef VELTA_CORE_HASH_H
#define VELTA_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t hash_bytes(const void *bytes, size_t size_bytes) {
    return XXH3_64bits(bytes, size_bytes);
}
static inline uint64_t hash_bytes_seeded(const void *bytes, size_t size_bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size_bytes, seed);
}
/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit. */
static inline uint64_t hash_integer(uint64_t value) {
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

#endif
