/* XXH3 of the xxHash library. The one place that compiles it: in WebAssembly it takes -O2 to be fast. */
#include "core/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash_stream), "the state of XXH3 has its place");

static XXH3_state_t *state_of(struct hash_stream *stream) {
    return (XXH3_state_t *)(void *)stream->state;
}

uint64_t hash_bytes(const void *bytes, size_t size_bytes) {
    return XXH3_64bits(bytes, size_bytes);
}

uint64_t hash_bytes_seeded(const void *bytes, size_t size_bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size_bytes, seed);
}

void hash_stream_begin(struct hash_stream *stream) {
    (void)XXH3_64bits_reset(state_of(stream));
}

void hash_stream_add(struct hash_stream *stream, const void *bytes, size_t size_bytes) {
    (void)XXH3_64bits_update(state_of(stream), bytes, size_bytes);
}

uint64_t hash_stream_value(const struct hash_stream *stream) {
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)stream->state);
}
