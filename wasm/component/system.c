/*
 * What the engine and the C library ask of JavaScript in the package's modules, and the component has itself: growing
 * memory, and its start. The clock is the host's (wasm/velta.wit), asked by exports.c when a call begins; durations,
 * which no answer tells here, are 0.
 */
#include <stddef.h>
#include <stdint.h>

#include "wasm/component/canonical.h"
#include "wasm/exports.h"

enum { PAGE_BYTES = 65536, MOST_AHEAD_BYTES = 64 << 20 };

static double call_began_ms;

void vectors_set_now(double now_ms) {
    call_began_ms = now_ms;
}

double import_now(uint32_t id) {
    (void)id;
    return call_began_ms;
}

double import_clock(void) {
    return 0;
}

static int grow_to(uint64_t size_bytes) {
    size_t pages = (size_t)((size_bytes + PAGE_BYTES - 1) / PAGE_BYTES);
    return __builtin_wasm_memory_grow(0, pages - __builtin_wasm_memory_size(0)) != SIZE_MAX;
}

/* Called by the C library's sbrk. 0: refused. A quarter more than is needed where that is to be had. */
int emscripten_resize_heap(size_t size_bytes);
int emscripten_resize_heap(size_t size_bytes) {
    uint64_t now = (uint64_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
    if (size_bytes <= now) return 1;
    uint64_t ahead = now + (now / 4 < MOST_AHEAD_BYTES ? now / 4 : MOST_AHEAD_BYTES);
    if (ahead > size_bytes && ahead <= UINT32_MAX && grow_to(ahead)) return 1;
    return grow_to(size_bytes);
}

void __wasm_call_ctors(void);
void component_start(void);

COMPONENT_EXPORT("_initialize") void component_start(void) {
    __wasm_call_ctors();
}
