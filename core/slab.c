/*
 * Slabs: runs of 4 KiB pages cut from 2 MiB chunks.
 *
 * A chunk has a map with a bit per page, kept outside the chunk, so free memory is never touched. A request takes the
 * first run that fits, by address: full chunks fill from below and emptied ones above can be given back to the host,
 * which happens as soon as a chunk is wholly free. Runs of a power of two lie at a multiple of their size within the
 * chunk, so that they leave no gaps; other sizes (rows of 1,536 bytes do not make powers of two) may start at any page.
 * Two upper bounds per chunk on the runs that it still has let a search skip chunks without reading their maps.
 *
 * Cost: a request looks at every chunk before the one that it takes, some nanoseconds each; 1.5 GiB are 768 chunks.
 * Under AddressSanitizer, free pages are poisoned.
 */
#include <assert.h>
#include <string.h>

#include "core/error.h"
#include "core/memory_state.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_POISONS 1
#endif
#endif
#if defined(SLAB_POISONS)
#include <sanitizer/asan_interface.h>
#define SLAB_HIDE(start, size_bytes) __asan_poison_memory_region(start, size_bytes)
#define SLAB_SHOW(start, size_bytes) __asan_unpoison_memory_region(start, size_bytes)
#else
#define SLAB_HIDE(start, size_bytes) ((void)(start))
#define SLAB_SHOW(start, size_bytes) ((void)(start))
#endif

enum {
    NO_RUN = SLAB_PAGES_PER_CHUNK,
#if defined(__wasm__) /* malloc would take twice a chunk to align it to itself, and there are no huge pages */
    CHUNK_ALIGNMENT = SLAB_MIN_BYTES,
#else
    CHUNK_ALIGNMENT = SLAB_MAX_BYTES,
#endif
};

/* Bits first..first + count of one word, where they reach into it. */
static uint64_t word_mask(unsigned word, unsigned first, unsigned count) {
    unsigned begin = first > word * 64 ? first - word * 64 : 0;
    unsigned end = first + count - word * 64;
    uint64_t below_end = end >= 64 ? UINT64_MAX : (UINT64_C(1) << end) - 1;
    return below_end & (UINT64_MAX << begin);
}

static void map_write(uint64_t *map, unsigned first, unsigned count, bool used) {
    for (unsigned word = first / 64; word <= (first + count - 1) / 64; word++) {
        uint64_t mask = word_mask(word, first, count);
        assert((map[word] & mask) == (used ? 0 : mask)); /* taken twice, or released twice */
        map[word] ^= mask;
    }
}

/* One past the last used page of first..first + count; 0 when all are free. */
static unsigned map_last_used(const uint64_t *map, unsigned first, unsigned count) {
    for (unsigned word = (first + count - 1) / 64 + 1; word > first / 64; word--) {
        uint64_t used = map[word - 1] & word_mask(word - 1, first, count);
        if (used) {
            return word * 64 - (unsigned)__builtin_clzll(used);
        }
    }
    return 0;
}

static unsigned find_run(const uint64_t *map, unsigned pages, unsigned align_pages) {
    unsigned first = 0;
    while (first + pages <= SLAB_PAGES_PER_CHUNK) {
        unsigned past_used = map_last_used(map, first, pages);
        if (past_used == 0) {
            return first;
        }
        first = (past_used + align_pages - 1) / align_pages * align_pages;
    }
    return NO_RUN;
}

static void *take_run(struct slab_chunk *chunk, unsigned pages) {
    bool self_aligned = (pages & (pages - 1)) == 0;
    unsigned bound = self_aligned ? chunk->aligned_run_bound : chunk->free_run_bound;
    unsigned first;
    char *start;
    if (pages > bound) {
        return NULL;
    }
    first = find_run(chunk->map, pages, self_aligned ? pages : 1);
    if (first == NO_RUN) {
        if (self_aligned) {
            chunk->aligned_run_bound = (uint16_t)(pages / 2);
        } else {
            chunk->free_run_bound = (uint16_t)(pages - 1);
        }
        return NULL;
    }
    map_write(chunk->map, first, pages, true);
    chunk->used_pages = (uint16_t)(chunk->used_pages + pages);
    start = chunk->base + (size_t)first * SLAB_MIN_BYTES;
    SLAB_SHOW(start, (size_t)pages * SLAB_MIN_BYTES);
    return start;
}

/* Index of the chunk that holds `address`, or of the first one above it. */
static size_t chunk_position(const struct memory *memory, const char *address) {
    size_t low = 0;
    size_t high = memory->chunk_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)memory->chunks[middle].base + SLAB_MAX_BYTES <= (uintptr_t)address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct slab_chunk *add_chunk(struct memory *memory) {
    struct slab_chunk chunk = {.free_run_bound = SLAB_PAGES_PER_CHUNK, .aligned_run_bound = SLAB_PAGES_PER_CHUNK};
    void *chunks = memory->chunks;
    size_t position;
    if (memory_grow_array(memory, &chunks, &memory->chunk_capacity, memory->chunk_count + 1, sizeof *memory->chunks,
                          NULL) != VELTA_OK) {
        return NULL;
    }
    memory->chunks = chunks;
    chunk.base = memory_take(memory, SLAB_MAX_BYTES, CHUNK_ALIGNMENT);
    if (!chunk.base) {
        return NULL;
    }
    assert((uintptr_t)chunk.base % CHUNK_ALIGNMENT == 0);
    SLAB_HIDE(chunk.base, SLAB_MAX_BYTES);
    position = chunk_position(memory, chunk.base);
    memmove(memory->chunks + position + 1, memory->chunks + position,
            (memory->chunk_count - position) * sizeof *memory->chunks);
    memory->chunks[position] = chunk;
    memory->chunk_count++;
    return &memory->chunks[position];
}

/* The table of chunks goes with the last chunk, so that an emptied memory has nothing in use. */
static void drop_table_if_empty(struct memory *memory) {
    if (memory->chunk_count == 0) {
        memory_release(memory, memory->chunks, memory->chunk_capacity * sizeof *memory->chunks);
        memory->chunks = NULL;
        memory->chunk_capacity = 0;
    }
}

static void remove_chunk(struct memory *memory, size_t position) {
    char *base = memory->chunks[position].base;
    SLAB_SHOW(base, SLAB_MAX_BYTES);
    memory_give_back(memory, base, SLAB_MAX_BYTES, CHUNK_ALIGNMENT);
    memory->chunk_count--;
    memmove(memory->chunks + position, memory->chunks + position + 1,
            (memory->chunk_count - position) * sizeof *memory->chunks);
    drop_table_if_empty(memory);
}

#if defined(VELTA_TESTING)
/* Tests make the host refuse its n-th allocation. Most slabs need none, so each asks for one here, to be refused. */
static bool host_is_willing(struct memory *memory) {
    void *probe = memory_take(memory, 1, 1);
    if (probe) {
        memory_give_back(memory, probe, 1, 1);
    }
    return probe != NULL;
}
#else
static bool host_is_willing(struct memory *memory) {
    (void)memory;
    return true;
}
#endif

void *slab_allocate(struct memory *memory, size_t size_bytes) {
    unsigned pages = (unsigned)(size_bytes / SLAB_MIN_BYTES);
    struct slab_chunk *chunk;
    assert(size_bytes > 0 && size_bytes <= SLAB_MAX_BYTES && size_bytes % SLAB_MIN_BYTES == 0);
    if (!host_is_willing(memory)) {
        return NULL;
    }
    for (size_t i = 0; i < memory->chunk_count; i++) {
        void *slab = take_run(&memory->chunks[i], pages);
        if (slab) {
            memory->slab_bytes += size_bytes;
            return slab;
        }
    }
    chunk = add_chunk(memory);
    if (!chunk) {
        drop_table_if_empty(memory);
        return NULL;
    }
    memory->slab_bytes += size_bytes;
    return take_run(chunk, pages);
}

void slab_release(struct memory *memory, void *slab, size_t size_bytes) {
    size_t position;
    struct slab_chunk *chunk;
    unsigned pages = (unsigned)(size_bytes / SLAB_MIN_BYTES);
    if (!slab) {
        return;
    }
    position = chunk_position(memory, slab);
    assert(position < memory->chunk_count);
    chunk = &memory->chunks[position];
    assert((char *)slab >= chunk->base && (char *)slab + size_bytes <= chunk->base + SLAB_MAX_BYTES);
    map_write(chunk->map, (unsigned)(((char *)slab - chunk->base) / SLAB_MIN_BYTES), pages, false);
    SLAB_HIDE(slab, size_bytes);
    chunk->used_pages = (uint16_t)(chunk->used_pages - pages);
    chunk->free_run_bound = SLAB_PAGES_PER_CHUNK;
    chunk->aligned_run_bound = SLAB_PAGES_PER_CHUNK;
    memory->slab_bytes -= size_bytes;
    if (chunk->used_pages == 0) {
        remove_chunk(memory, position);
    }
}
