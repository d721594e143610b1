/*
 * Bump allocation for short-lived work: blocks of doubling size, released together. See core/memory.h.
 *
 * A request that does not fit the newest block opens another one at least twice as large (up to ARENA_MAX_BLOCK, or the
 * request itself), so n bytes cost O(log n) requests to the host; the rest of the older block is not used again.
 */
#include <assert.h>

#include "core/bytes.h"
#include "core/memory.h"

enum { ARENA_ALIGNMENT = 16, ARENA_MIN_BLOCK = 4096, ARENA_MAX_BLOCK = 1 << 20 };

struct arena_block {
    struct arena_block *older;
    size_t size_bytes; /* this header included */
    size_t used_bytes;
};

enum { ARENA_HEADER = (sizeof(struct arena_block) + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT };

void *arena_allocate(struct arena *arena, size_t size_bytes) {
    struct arena_block *block = arena->blocks;
    size_t rounded_bytes;
    assert(size_bytes > 0);
    if (!checked_add_size(size_bytes, ARENA_HEADER + ARENA_ALIGNMENT - 1, &rounded_bytes)) {
        rounded_bytes = SIZE_MAX; /* no host has as much: refused by the allocation below */
    } else {
        rounded_bytes = (size_bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    }
    if (!block || rounded_bytes > block->size_bytes - block->used_bytes) {
        size_t block_bytes = block ? block->size_bytes : ARENA_MIN_BLOCK / 2;
        struct arena_block *newer;
        block_bytes = block_bytes < ARENA_MAX_BLOCK ? block_bytes * 2 : ARENA_MAX_BLOCK;
        if (rounded_bytes > block_bytes - ARENA_HEADER) {
            block_bytes = rounded_bytes == SIZE_MAX ? SIZE_MAX : rounded_bytes + ARENA_HEADER;
        }
        newer = memory_allocate(arena->memory, block_bytes);
        if (!newer) {
            return NULL;
        }
        newer->older = block;
        newer->size_bytes = block_bytes;
        newer->used_bytes = ARENA_HEADER;
        arena->blocks = newer;
        block = newer;
    }
    block->used_bytes += rounded_bytes;
    return (char *)block + block->used_bytes - rounded_bytes;
}

void arena_reset(struct arena *arena) {
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->older;
        memory_release(arena->memory, block, block->size_bytes);
    }
}
