/* The inside of `struct memory`, shared by memory.c and slab.c only. */
#ifndef VELTA_CORE_MEMORY_STATE_H
#define VELTA_CORE_MEMORY_STATE_H

#include "core/memory.h"

enum { SLAB_PAGES_PER_CHUNK = SLAB_MAX_BYTES / SLAB_MIN_BYTES, SLAB_MAP_WORDS = SLAB_PAGES_PER_CHUNK / 64 };

struct slab_chunk {
    char *base; /* SLAB_MAX_BYTES bytes, aligned to as many */
    uint16_t used_pages;
    uint16_t free_run_bound;      /* no run of free pages is longer */
    uint16_t aligned_run_bound;   /* no self-aligned power-of-two run of free pages is longer */
    uint64_t map[SLAB_MAP_WORDS]; /* bit i: page i is in use */
};

struct memory {
    struct velta_allocator allocator;
    uint64_t budget_bytes;
    uint64_t used_bytes;
    uint64_t peak_bytes;
    uint64_t slab_bytes;
    uint64_t refused_bytes;    /* size of the last refused request */
    enum velta_status refusal; /* why it was refused */
    struct slab_chunk *chunks; /* ascending by base */
    size_t chunk_count;
    size_t chunk_capacity;
};

/* Charges, then asks the host. */
VELTA_MUST_USE void *memory_take(struct memory *memory, size_t size_bytes, size_t alignment);
void memory_give_back(struct memory *memory, void *block, size_t size_bytes, size_t alignment);

#endif
