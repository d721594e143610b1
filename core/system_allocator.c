/*
 * The allocator of the C library and the operating system. The only engine file that may ask either for memory.
 *
 * On Linux, 2 MiB chunks come from mmap: malloc would reserve twice their size to align them and keep them after
 * release. They ask for huge pages, which saves most TLB misses of random row reads. Under AddressSanitizer they come
 * from posix_memalign too, because its leak checker does not look for pointers in mapped memory.
 */
#define _DEFAULT_SOURCE

#include "core/system_allocator.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define SYSTEM_MAPS_CHUNKS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SYSTEM_MAPS_CHUNKS 0
#endif
#endif
#if !defined(SYSTEM_MAPS_CHUNKS)
#if defined(__linux__)
#define SYSTEM_MAPS_CHUNKS 1
#else
#define SYSTEM_MAPS_CHUNKS 0
#endif
#endif

#if SYSTEM_MAPS_CHUNKS
#include <sys/mman.h>

enum { SYSTEM_CHUNK_ALIGNMENT = 2 << 20 };

/* Maps size + alignment and gives back what lies before and after the aligned part. */
static void *map_aligned(size_t size_bytes, size_t alignment) {
    size_t mapped_bytes = size_bytes + alignment;
    char *mapped;
    char *aligned;
    size_t lead_bytes;
    if (mapped_bytes < size_bytes) {
        return NULL;
    }
    mapped = mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    lead_bytes = (size_t)(-(uintptr_t)mapped) & (alignment - 1);
    aligned = mapped + lead_bytes;
    if (lead_bytes > 0) {
        (void)munmap(mapped, lead_bytes);
    }
    (void)munmap(aligned + size_bytes, mapped_bytes - lead_bytes - size_bytes);
#if defined(MADV_HUGEPAGE)
    (void)madvise(aligned, size_bytes, MADV_HUGEPAGE); /* advice: the memory is as good when it is refused */
#endif
    return aligned;
}

static bool is_mapped(size_t size_bytes, size_t alignment) {
    return alignment >= SYSTEM_CHUNK_ALIGNMENT && size_bytes % alignment == 0;
}
#endif

static void *system_allocate(void *context, size_t size_bytes, size_t alignment) {
    void *block = NULL;
    (void)context;
#if SYSTEM_MAPS_CHUNKS
    if (is_mapped(size_bytes, alignment)) {
        return map_aligned(size_bytes, alignment);
    }
#endif
    if (alignment < sizeof(void *)) {
        alignment = sizeof(void *);
    }
    if (posix_memalign(&block, alignment, size_bytes) != 0) {
        return NULL;
    }
#if SYSTEM_MAPS_CHUNKS && defined(MADV_HUGEPAGE)
    if (size_bytes >= 2 * (size_t)SYSTEM_CHUNK_ALIGNMENT) { /* exports and the like: first use costs a fault a page */
        char *first = (char *)block + ((size_t)(-(uintptr_t)block) & (SYSTEM_CHUNK_ALIGNMENT - 1));
        size_t whole_bytes = (size_t)((char *)block + size_bytes - first) & ~(size_t)(SYSTEM_CHUNK_ALIGNMENT - 1);
        (void)madvise(first, whole_bytes, MADV_HUGEPAGE);
    }
#endif
    return block;
}

static void system_release(void *context, void *block, size_t size_bytes, size_t alignment) {
    (void)context;
#if SYSTEM_MAPS_CHUNKS
    if (is_mapped(size_bytes, alignment)) {
        (void)munmap(block, size_bytes);
        return;
    }
#endif
    (void)size_bytes;
    (void)alignment;
    free(block);
}

struct velta_allocator system_allocator(void) {
    struct velta_allocator allocator = {NULL, system_allocate, system_release};
    return allocator;
}
