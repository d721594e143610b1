/*
 * The budget, and requests of any size. See core/memory.h.
 *
 * Blocks carry no headers: the caller knows the size and passes it to the release, so used_bytes is exact. The struct
 * itself is the one allocation that is not charged. Not thread-safe: tasks of an executor must not allocate.
 */
#include "core/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/bytes.h"
#include "core/error.h"
#include "core/memory_state.h"
#include "core/system_allocator.h"

struct memory *memory_create(const struct velta_allocator *allocator, uint64_t budget_bytes) {
    struct velta_allocator from = allocator ? *allocator : system_allocator();
    struct memory *memory = from.allocate(from.context, sizeof *memory, MEMORY_ALIGNMENT);
    if (!memory) {
        return NULL;
    }
    memset(memory, 0, sizeof *memory);
    memory->allocator = from;
    memory->budget_bytes = budget_bytes ? budget_bytes : MEMORY_DEFAULT_BUDGET_BYTES;
    memory->refusal = VELTA_NO_MEMORY;
    return memory;
}

void memory_destroy(struct memory *memory) {
    struct velta_allocator from;
    if (!memory) {
        return;
    }
    assert(memory->used_bytes == 0 && memory->chunk_count == 0);
    from = memory->allocator;
    from.release(from.context, memory, sizeof *memory, MEMORY_ALIGNMENT);
}

static bool charge(struct memory *memory, uint64_t size_bytes) {
    if (size_bytes > memory->budget_bytes - memory->used_bytes) {
        memory->refusal = VELTA_OVER_BUDGET;
        memory->refused_bytes = size_bytes;
        return false;
    }
    memory->used_bytes += size_bytes;
    return true;
}

/* The peak counts what was really had: a charge that the host then refused is not in it. */
static void note_peak(struct memory *memory) {
    if (memory->used_bytes > memory->peak_bytes) {
        memory->peak_bytes = memory->used_bytes;
    }
}

void *memory_take(struct memory *memory, size_t size_bytes, size_t alignment) {
    void *block;
    assert(size_bytes > 0);
    if (!charge(memory, size_bytes)) {
        return NULL;
    }
    block = memory->allocator.allocate(memory->allocator.context, size_bytes, alignment);
    if (!block) {
        memory->used_bytes -= size_bytes;
        memory->refusal = VELTA_NO_MEMORY;
        memory->refused_bytes = size_bytes;
        return NULL;
    }
    note_peak(memory);
    return block;
}

void memory_give_back(struct memory *memory, void *block, size_t size_bytes, size_t alignment) {
    assert(memory->used_bytes >= size_bytes);
    memory->allocator.release(memory->allocator.context, block, size_bytes, alignment);
    memory->used_bytes -= size_bytes;
}

void *memory_allocate(struct memory *memory, size_t size_bytes) {
    return memory_take(memory, size_bytes, MEMORY_ALIGNMENT);
}

void *memory_allocate_zero(struct memory *memory, size_t size_bytes) {
    void *block = memory_allocate(memory, size_bytes);
    return block ? memset(block, 0, size_bytes) : NULL;
}

void *memory_resize(struct memory *memory, void *old, size_t old_bytes, size_t new_bytes) {
    void *block = memory_allocate(memory, new_bytes);
    if (block && old) {
        memcpy(block, old, old_bytes < new_bytes ? old_bytes : new_bytes);
        memory_release(memory, old, old_bytes);
    }
    return block;
}

void memory_release(struct memory *memory, void *block, size_t size_bytes) {
    if (block) {
        memory_give_back(memory, block, size_bytes, MEMORY_ALIGNMENT);
    }
}

enum velta_status memory_refusal(const struct memory *memory) {
    return memory->refusal;
}

enum velta_status memory_fail(const struct memory *memory, struct velta_error *error) {
    if (memory->refusal == VELTA_OVER_BUDGET) {
        return velta_fail(error, VELTA_OVER_BUDGET, VELTA_NO_OFFSET,
                          "%" PRIu64 " bytes more would exceed the memory budget: %" PRIu64 " of %" PRIu64
                          " bytes are in use",
                          memory->refused_bytes, memory->used_bytes, memory->budget_bytes);
    }
    return velta_fail(error, VELTA_NO_MEMORY, VELTA_NO_OFFSET,
                      "the host refused %" PRIu64 " bytes; %" PRIu64 " bytes are in use, the budget is %" PRIu64
                      " bytes",
                      memory->refused_bytes, memory->used_bytes, memory->budget_bytes);
}

void memory_get_stats(const struct memory *memory, struct memory_stats *stats) {
    stats->budget_bytes = memory->budget_bytes;
    stats->used_bytes = memory->used_bytes;
    stats->peak_bytes = memory->peak_bytes;
    stats->slab_bytes = memory->slab_bytes;
    stats->chunk_bytes = (uint64_t)memory->chunk_count * SLAB_MAX_BYTES;
}

enum velta_status memory_charge(struct memory *memory, uint64_t size_bytes, struct velta_error *error) {
    if (!charge(memory, size_bytes)) {
        return memory_fail(memory, error);
    }
    note_peak(memory);
    return VELTA_OK;
}

void memory_uncharge(struct memory *memory, uint64_t size_bytes) {
    assert(memory->used_bytes >= size_bytes);
    memory->used_bytes -= size_bytes;
}

enum velta_status memory_grow_array(struct memory *memory, void **array, size_t *capacity, size_t needed,
                                    size_t element_bytes, struct velta_error *error) {
    size_t wanted = needed;
    size_t wanted_bytes;
    void *grown;
    if (needed <= *capacity) {
        return VELTA_OK;
    }
    if (*capacity <= SIZE_MAX / 2 && wanted < *capacity * 2) {
        wanted = *capacity * 2;
    }
    if (!checked_multiply_size(wanted, element_bytes, &wanted_bytes)) {
        memory->refusal = VELTA_NO_MEMORY;
        memory->refused_bytes = UINT64_MAX;
        return memory_fail(memory, error);
    }
    grown = memory_resize(memory, *array, *capacity * element_bytes, wanted_bytes);
    if (!grown) {
        return memory_fail(memory, error);
    }
    *array = grown;
    *capacity = wanted;
    return VELTA_OK;
}
