/*
 * The strings of one column. See core/dictionary.h.
 *
 * Heap: blocks of 4 KiB doubling to 256 KiB, filled in order of codes; an entry is its length as a variable-length
 * integer and its bytes, and lies in one block; a longer entry gets a block of its own. So entries never move, and
 * dropping the newest entries is popping blocks. Entry positions are pointers in pages of 4 KiB: growing copies none.
 *
 * Hash table: open addressing with linear probing, at most three quarters full. A slot holds 32 bits of the XXH3 hash
 * beside the code, so growing reads no strings and a probe reads one only when the 32 bits agree. Entries leave (at
 * truncation) by shifting the run after them back (Knuth, TAOCP 3, 6.4 algorithm R): there are no tombstones.
 */
#include "core/dictionary.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"

enum {
    BLOCK_MIN_BYTES = 4096,
    BLOCK_MAX_BYTES = 256 << 10,
    ENTRIES_PER_PAGE = SLAB_MIN_BYTES / sizeof(uint8_t *),
    SLOTS_MIN = 16,
};

struct heap_block {
    uint8_t *bytes;
    size_t size_bytes;
    size_t used_bytes;
};

struct slot {
    uint32_t hash;
    uint32_t code; /* DICTIONARY_NO_CODE: empty */
};

struct dictionary {
    struct memory *memory;
    const uint8_t ***pages;
    size_t page_count;
    size_t page_capacity;
    struct heap_block *blocks;
    size_t block_count;
    size_t block_capacity;
    struct slot *slots; /* NULL until the first add, and when not interning */
    size_t slot_count;  /* a power of two */
    uint64_t heap_bytes;
    uint32_t entry_count;
    bool interning;
};

enum velta_status dictionary_create(struct memory *memory, bool interning, struct dictionary **out,
                                    struct velta_error *error) {
    struct dictionary *dictionary = memory_allocate_zero(memory, sizeof *dictionary);
    if (!dictionary) {
        return memory_fail(memory, error);
    }
    dictionary->memory = memory;
    dictionary->interning = interning;
    *out = dictionary;
    return VELTA_OK;
}

/* Blocks above a slab's size come straight from the host. */
static void *block_take(struct memory *memory, size_t size_bytes) {
    return size_bytes <= SLAB_MAX_BYTES ? slab_allocate(memory, size_bytes) : memory_allocate(memory, size_bytes);
}

static void block_give_back(struct dictionary *dictionary) {
    struct heap_block *block = &dictionary->blocks[--dictionary->block_count];
    dictionary->heap_bytes -= block->size_bytes;
    if (block->size_bytes <= SLAB_MAX_BYTES) {
        slab_release(dictionary->memory, block->bytes, block->size_bytes);
    } else {
        memory_release(dictionary->memory, block->bytes, block->size_bytes);
    }
}

void dictionary_destroy(struct dictionary *dictionary) {
    struct memory *memory;
    if (!dictionary) {
        return;
    }
    memory = dictionary->memory;
    while (dictionary->block_count > 0) {
        block_give_back(dictionary);
    }
    for (size_t i = 0; i < dictionary->page_count; i++) {
        slab_release(memory, dictionary->pages[i], SLAB_MIN_BYTES);
    }
    memory_release(memory, dictionary->blocks, dictionary->block_capacity * sizeof *dictionary->blocks);
    memory_release(memory, dictionary->pages, dictionary->page_capacity * sizeof *dictionary->pages);
    memory_release(memory, dictionary->slots, dictionary->slot_count * sizeof *dictionary->slots);
    memory_release(memory, dictionary, sizeof *dictionary);
}

static const uint8_t *entry_start(const struct dictionary *dictionary, uint32_t code) {
    return dictionary->pages[code / ENTRIES_PER_PAGE][code % ENTRIES_PER_PAGE];
}

static const uint8_t *entry_bytes(const struct dictionary *dictionary, uint32_t code, size_t *size_bytes) {
    const uint8_t *at = entry_start(dictionary, code);
    size_t size = at[0] & 0x7F;
    unsigned shift = 7;
    while (*at++ >= 0x80) {
        size |= (size_t)(*at & 0x7F) << shift;
        shift += 7;
    }
    *size_bytes = size;
    return at;
}

static uint32_t hash_of(const void *bytes, size_t size_bytes) {
    uint64_t hash = hash_bytes(bytes, size_bytes);
    return (uint32_t)(hash ^ (hash >> 32));
}

/* The slot of these bytes, or the empty one where they would go. */
static size_t find_slot(const struct dictionary *dictionary, const void *bytes, size_t size_bytes, uint32_t hash) {
    size_t mask = dictionary->slot_count - 1;
    size_t at = hash & mask;
    while (dictionary->slots[at].code != DICTIONARY_NO_CODE) {
        if (dictionary->slots[at].hash == hash) {
            size_t entry_size;
            const uint8_t *entry = entry_bytes(dictionary, dictionary->slots[at].code, &entry_size);
            if (entry_size == size_bytes && (size_bytes == 0 || memcmp(entry, bytes, size_bytes) == 0)) {
                return at;
            }
        }
        at = (at + 1) & mask;
    }
    return at;
}

static enum velta_status reserve_slot(struct dictionary *dictionary, struct velta_error *error) {
    size_t slot_count = dictionary->slot_count ? dictionary->slot_count * 2 : SLOTS_MIN;
    size_t size_bytes;
    struct slot *slots;
    if (((size_t)dictionary->entry_count + 1) <= dictionary->slot_count / 4 * 3) {
        return VELTA_OK;
    }
    if (!checked_multiply_size(slot_count, sizeof *slots, &size_bytes)) {
        return velta_fail(error, VELTA_NO_MEMORY, VELTA_NO_OFFSET, "a dictionary outgrew the address space");
    }
    slots = memory_allocate(dictionary->memory, size_bytes);
    if (!slots) {
        return memory_fail(dictionary->memory, error);
    }
    memset(slots, 0xFF, size_bytes); /* every code DICTIONARY_NO_CODE */
    for (size_t i = 0; i < dictionary->slot_count; i++) {
        struct slot slot = dictionary->slots[i];
        if (slot.code != DICTIONARY_NO_CODE) {
            size_t at = slot.hash & (slot_count - 1);
            while (slots[at].code != DICTIONARY_NO_CODE) {
                at = (at + 1) & (slot_count - 1);
            }
            slots[at] = slot;
        }
    }
    memory_release(dictionary->memory, dictionary->slots, dictionary->slot_count * sizeof *slots);
    dictionary->slots = slots;
    dictionary->slot_count = slot_count;
    return VELTA_OK;
}

static enum velta_status reserve_page(struct dictionary *dictionary, struct velta_error *error) {
    void *pages = dictionary->pages;
    void *page;
    enum velta_status status;
    if (dictionary->entry_count < dictionary->page_count * ENTRIES_PER_PAGE) {
        return VELTA_OK;
    }
    status = memory_grow_array(dictionary->memory, &pages, &dictionary->page_capacity, dictionary->page_count + 1,
                               sizeof *dictionary->pages, error);
    if (status != VELTA_OK) {
        return status;
    }
    dictionary->pages = pages;
    page = slab_allocate(dictionary->memory, SLAB_MIN_BYTES);
    if (!page) {
        return memory_fail(dictionary->memory, error);
    }
    dictionary->pages[dictionary->page_count++] = page;
    return VELTA_OK;
}

/* Makes the newest block have room. A block opened for an add that then fails elsewhere stays, empty. */
static enum velta_status reserve_heap(struct dictionary *dictionary, size_t needed_bytes, struct velta_error *error) {
    struct heap_block *newest = dictionary->block_count ? &dictionary->blocks[dictionary->block_count - 1] : NULL;
    struct heap_block block = {NULL, BLOCK_MIN_BYTES, 0};
    void *blocks = dictionary->blocks;
    enum velta_status status;
    if (newest && needed_bytes <= newest->size_bytes - newest->used_bytes) {
        return VELTA_OK;
    }
    status = memory_grow_array(dictionary->memory, &blocks, &dictionary->block_capacity, dictionary->block_count + 1,
                               sizeof *dictionary->blocks, error);
    if (status != VELTA_OK) {
        return status;
    }
    dictionary->blocks = blocks;
    while (block.size_bytes < BLOCK_MAX_BYTES && block.size_bytes <= dictionary->heap_bytes / 2) {
        block.size_bytes *= 2;
    }
    if (block.size_bytes < needed_bytes) {
        block.size_bytes = (size_t)bytes_align_up(needed_bytes, SLAB_MIN_BYTES);
    }
    block.bytes = block_take(dictionary->memory, block.size_bytes);
    if (!block.bytes) {
        return memory_fail(dictionary->memory, error);
    }
    dictionary->blocks[dictionary->block_count++] = block;
    dictionary->heap_bytes += block.size_bytes;
    return VELTA_OK;
}

static void append_entry(struct dictionary *dictionary, const void *bytes, size_t size_bytes) {
    struct heap_block *block = &dictionary->blocks[dictionary->block_count - 1];
    uint8_t *at = block->bytes + block->used_bytes;
    size_t prefix_bytes = bytes_put_varint(at, size_bytes);
    if (size_bytes > 0) {
        memcpy(at + prefix_bytes, bytes, size_bytes);
    }
    block->used_bytes += prefix_bytes + size_bytes;
    dictionary->pages[dictionary->entry_count / ENTRIES_PER_PAGE][dictionary->entry_count % ENTRIES_PER_PAGE] = at;
    dictionary->entry_count++;
}

enum velta_status dictionary_add(struct dictionary *dictionary, const void *bytes, size_t size_bytes, uint32_t *code,
                                 struct velta_error *error) {
    uint32_t hash = 0;
    enum velta_status status;
    if (dictionary->interning) {
        hash = hash_of(bytes, size_bytes);
        if (dictionary->slots) {
            size_t at = find_slot(dictionary, bytes, size_bytes, hash);
            if (dictionary->slots[at].code != DICTIONARY_NO_CODE) {
                *code = dictionary->slots[at].code;
                return VELTA_OK;
            }
        }
    }
    if (size_bytes > VELTA_MAX_VALUE_BYTES || dictionary->entry_count >= DICTIONARY_MAX_ENTRIES) {
        return velta_fail(error, VELTA_LIMIT, VELTA_NO_OFFSET, "a value of %zu bytes, or one value too many",
                          size_bytes);
    }
    status = reserve_page(dictionary, error);
    if (status == VELTA_OK) {
        status = reserve_heap(dictionary, bytes_varint_size(size_bytes) + size_bytes, error);
    }
    if (status == VELTA_OK && dictionary->interning) {
        status = reserve_slot(dictionary, error);
    }
    if (status != VELTA_OK) {
        return status;
    }
    *code = dictionary->entry_count;
    if (dictionary->interning) {
        struct slot slot = {hash, *code};
        dictionary->slots[find_slot(dictionary, bytes, size_bytes, hash)] = slot;
    }
    append_entry(dictionary, bytes, size_bytes);
    return VELTA_OK;
}

/* Empties the slot and moves back whatever a search would no longer reach across the gap. */
static void remove_slot(struct dictionary *dictionary, size_t gap) {
    size_t mask = dictionary->slot_count - 1;
    size_t at = gap;
    for (;;) {
        size_t home;
        at = (at + 1) & mask;
        if (dictionary->slots[at].code == DICTIONARY_NO_CODE) {
            break;
        }
        home = dictionary->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            dictionary->slots[gap] = dictionary->slots[at];
            gap = at;
        }
    }
    dictionary->slots[gap].code = DICTIONARY_NO_CODE;
}

void dictionary_truncate(struct dictionary *dictionary, uint32_t entry_count) {
    const uint8_t *end;
    assert(entry_count <= dictionary->entry_count);
    if (entry_count == dictionary->entry_count) {
        return;
    }
    if (dictionary->interning) {
        for (uint32_t code = dictionary->entry_count; code > entry_count; code--) {
            size_t size_bytes;
            const uint8_t *bytes = entry_bytes(dictionary, code - 1, &size_bytes);
            remove_slot(dictionary, find_slot(dictionary, bytes, size_bytes, hash_of(bytes, size_bytes)));
        }
    }
    end = entry_start(dictionary, entry_count);
    for (;;) {
        struct heap_block *newest = &dictionary->blocks[dictionary->block_count - 1];
        if ((uintptr_t)end >= (uintptr_t)newest->bytes &&
            (uintptr_t)end < (uintptr_t)newest->bytes + newest->size_bytes) {
            newest->used_bytes = (size_t)(end - newest->bytes);
            break;
        }
        block_give_back(dictionary);
    }
    dictionary->entry_count = entry_count;
    while ((dictionary->page_count - 1) * ENTRIES_PER_PAGE >= entry_count && dictionary->page_count > 1) {
        slab_release(dictionary->memory, dictionary->pages[--dictionary->page_count], SLAB_MIN_BYTES);
    }
}

uint32_t dictionary_find(const struct dictionary *dictionary, const void *bytes, size_t size_bytes) {
    assert(dictionary->interning);
    if (!dictionary->slots) {
        return DICTIONARY_NO_CODE;
    }
    return dictionary->slots[find_slot(dictionary, bytes, size_bytes, hash_of(bytes, size_bytes))].code;
}

uint32_t dictionary_count(const struct dictionary *dictionary) {
    return dictionary->entry_count;
}

const void *dictionary_get(const struct dictionary *dictionary, uint32_t code, size_t *size_bytes) {
    assert(code < dictionary->entry_count);
    return entry_bytes(dictionary, code, size_bytes);
}

uint64_t dictionary_memory_bytes(const struct dictionary *dictionary) {
    return sizeof *dictionary + dictionary->heap_bytes + (uint64_t)dictionary->page_count * SLAB_MIN_BYTES +
           (uint64_t)dictionary->page_capacity * sizeof *dictionary->pages +
           (uint64_t)dictionary->block_capacity * sizeof *dictionary->blocks +
           (uint64_t)dictionary->slot_count * sizeof *dictionary->slots;
}
