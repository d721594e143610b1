/*
 * The space that arguments and answers travel in: blocks that are filled from their start, and emptied all at once. The
 * first stays. cabi_realloc is how the host asks for its part.
 *
 * Memory that is refused there is a trap: the canonical ABI has no other answer.
 */
#include <string.h>

#include "core/system_allocator.h"
#include "wasm/component/canonical.h"

enum { BLOCK_BYTES = 64 << 10, MAX_ALIGNMENT = 16 };

struct block {
    struct block *next; /* the one filled before */
    size_t capacity;    /* this head included, as used */
    size_t used;
    char *last; /* what was allocated last: it may grow in place */
};

static struct block *newest;

static struct block *add_block(size_t size_bytes) {
    struct velta_allocator allocator = system_allocator();
    size_t wanted = sizeof(struct block) + MAX_ALIGNMENT + size_bytes;
    if (wanted < size_bytes) return NULL;
    if (wanted < BLOCK_BYTES) wanted = BLOCK_BYTES;
    struct block *block = allocator.allocate(allocator.context, wanted, MAX_ALIGNMENT);
    if (!block) return NULL;
    *block = (struct block){.next = newest, .capacity = wanted, .used = sizeof *block};
    newest = block;
    return block;
}

void *space_allocate(size_t size_bytes, size_t alignment) {
    struct block *block = newest;
    size_t at = block ? (block->used + alignment - 1) & ~(alignment - 1) : 0;
    if (!block || at > block->capacity || size_bytes > block->capacity - at) {
        block = add_block(size_bytes);
        if (!block) return NULL;
        at = (block->used + alignment - 1) & ~(alignment - 1);
    }
    block->last = (char *)block + at;
    block->used = at + size_bytes;
    return block->last;
}

void space_empty(void) {
    struct velta_allocator allocator = system_allocator();
    while (newest && (newest->next || newest->capacity > BLOCK_BYTES)) {
        struct block *next = newest->next;
        allocator.release(allocator.context, newest, newest->capacity, MAX_ALIGNMENT);
        newest = next;
    }
    if (newest) newest->used = sizeof *newest;
}

/* Whether the allocation made last could be given `size_bytes` where it is. */
static bool grow_in_place(const void *old, size_t size_bytes) {
    if (!newest || newest->last != old) return false;
    size_t at = (size_t)(newest->last - (char *)newest);
    if (size_bytes > newest->capacity - at) return false;
    newest->used = at + size_bytes;
    return true;
}

void *cabi_realloc(void *old, size_t old_bytes, size_t alignment, size_t size_bytes);

COMPONENT_EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_bytes, size_t alignment, size_t size_bytes) {
    bool is_known = alignment > 0 && alignment <= MAX_ALIGNMENT && (alignment & (alignment - 1)) == 0;
    if (!is_known) __builtin_trap();
    if (old_bytes > 0 && grow_in_place(old, size_bytes)) return old;
    if (old_bytes > 0 && size_bytes <= old_bytes) return old;
    void *memory = space_allocate(size_bytes, alignment);
    if (!memory) __builtin_trap();
    if (old_bytes > 0) memcpy(memory, old, old_bytes);
    return memory;
}
