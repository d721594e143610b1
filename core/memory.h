/*
 * All memory of a database: one budget over one host allocator, and the slab allocator on top.
 *
 * Three kinds of request:
 *  - memory_*: any size, 64-byte aligned, straight from the host allocator (small structures, growing arrays);
 *  - slab_*: multiples of 4 KiB up to 2 MiB, cut from 2 MiB chunks (natively 2 MiB aligned, so that a host can back
 *    them with huge pages) at the first run of free pages that fits: column slabs, vector slabs, index blocks, history;
 *  - arena_*: bump allocation for short-lived work, freed as a whole.
 * Every byte is charged to the budget before it is asked of the host. Sizes travel with releases, so there are no
 * headers. A refusal changes nothing; memory_refusal says which of the two kinds it was. Not thread-safe.
 */
#ifndef VELTA_CORE_MEMORY_H
#define VELTA_CORE_MEMORY_H

#include "core/types.h"

#define MEMORY_DEFAULT_BUDGET_BYTES (UINT64_C(1536) << 20)
enum { MEMORY_ALIGNMENT = 64, SLAB_MIN_BYTES = 4096, SLAB_MAX_BYTES = 2 << 20 };

struct memory;

struct memory_stats {
    uint64_t budget_bytes;
    uint64_t used_bytes; /* charged now: host allocations, whole chunks included */
    uint64_t peak_bytes;
    uint64_t slab_bytes; /* in slabs handed out */
    uint64_t chunk_bytes;
};

/* `allocator` NULL: the system's. `budget_bytes` 0: the default. Returns NULL when the host refuses. */
struct memory *memory_create(const struct velta_allocator *allocator, uint64_t budget_bytes);
void memory_destroy(struct memory *memory); /* everything must have been released (asserted) */

VELTA_MUST_USE void *memory_allocate(struct memory *memory, size_t size_bytes); /* not zeroed; size 0 is an error */
VELTA_MUST_USE void *memory_allocate_zero(struct memory *memory, size_t size_bytes);
/* Moves to a new size; on refusal returns NULL and the old block stays. `old` may be NULL with old_bytes 0. */
VELTA_MUST_USE void *memory_resize(struct memory *memory, void *old, size_t old_bytes, size_t new_bytes);
void memory_release(struct memory *memory, void *block, size_t size_bytes); /* NULL is allowed */
/* VELTA_OVER_BUDGET or VELTA_NO_MEMORY: why the last request was refused. */
enum velta_status memory_refusal(const struct memory *memory);
/* Fails `error` with the refusal's code and a sentence naming bytes wanted, used and budget. */
enum velta_status memory_fail(const struct memory *memory, struct velta_error *error);
void memory_get_stats(const struct memory *memory, struct memory_stats *stats);
/* External buffers (a host's read buffers and the like) charged to the same budget. */
VELTA_MUST_USE enum velta_status memory_charge(struct memory *memory, uint64_t size_bytes, struct velta_error *error);
void memory_uncharge(struct memory *memory, uint64_t size_bytes);

/*
 * size_bytes: any multiple of SLAB_MIN_BYTES up to SLAB_MAX_BYTES. Aligned to SLAB_MIN_BYTES. Not zeroed.
 */
VELTA_MUST_USE void *slab_allocate(struct memory *memory, size_t size_bytes);
void slab_release(struct memory *memory, void *slab, size_t size_bytes); /* NULL is allowed */

/*
 * Growable array helper: makes room for `needed` elements, at least doubling. *array and *capacity are changed only on
 * success. Overflow of size_t is NO_MEMORY.
 */
VELTA_MUST_USE enum velta_status memory_grow_array(struct memory *memory, void **array, size_t *capacity, size_t needed,
                                                   size_t element_bytes, struct velta_error *error);

/* Short-lived allocations. Zero-initialise with the memory set; arena_reset releases all. */
struct arena_block;
struct arena {
    struct memory *memory;
    struct arena_block *blocks;
};
VELTA_MUST_USE void *arena_allocate(struct arena *arena, size_t size_bytes); /* 16-byte aligned, not zeroed */
void arena_reset(struct arena *arena);

#endif
