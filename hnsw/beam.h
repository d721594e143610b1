/*
 * The layer search: a bounded sorted pool of 64-bit keys, used by search and by the build.
 *
 * key = order-preserving bits of the distance << 32 | node << 1 | expanded. Keys compare as (distance, node), so equal
 * distances are broken by node everywhere.
 */
#ifndef VELTA_HNSW_BEAM_H
#define VELTA_HNSW_BEAM_H

#include "hnsw/distance.h"

#define HNSW_KEY_EXPANDED UINT64_C(1)

static inline uint64_t hnsw_key(float distance, uint32_t node) {
    uint32_t bits;
    memcpy(&bits, &distance, 4);
    bits ^= (uint32_t)((int32_t)bits >> 31) | UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | (uint64_t)node << 1;
}
static inline uint32_t hnsw_key_node(uint64_t key) {
    return (uint32_t)key >> 1;
}
static inline float hnsw_key_distance(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= (bits & UINT32_C(0x80000000)) ? UINT32_C(0x80000000) : UINT32_MAX;
    float distance;
    memcpy(&distance, &bits, 4);
    return distance;
}

/*
 * Inserts into ascending keys[0..*count), at most `capacity` kept; returns the position, or `capacity` when the key is
 * beyond the last of a full pool.
 */
uint32_t hnsw_pool_insert(uint64_t *keys, uint32_t *count, uint32_t capacity, uint64_t key);

/*
 * Greedy descent from the entry to `level` (>= 0): the nearest node found on the levels above, with its distance as a
 * key. The graph must have an entry.
 */
uint64_t hnsw_descend(const struct hnsw *index, struct hnsw_scratch *scratch, unsigned level);

/*
 * Searches level 0 with a pool of `ef` from the seeds that the caller put into scratch->pool (pool_count keys,
 * ascending, distinct) after hnsw_visited_next; marks them met itself. Stops after about `expansions` nodes or when
 * every node in the pool is expanded; the pool then holds the nearest met. Removed and tail nodes are met like others.
 */
void hnsw_beam(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t ef, uint32_t expansions);
/* The same on a level above 0, until every node in the pool is expanded. */
void hnsw_beam_upper(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t ef, unsigned level);

#endif
