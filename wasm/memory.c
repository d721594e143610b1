/*
 * Copying, filling and comparing. The first two by the instructions that WebAssembly has for them: Emscripten's own ask
 * JavaScript to do it. The compiler turns most calls into these instructions itself; what is left comes from the C
 * library's objects. Comparing by words: Emscripten's goes byte by byte.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__wasm_bulk_memory__)
void *memcpy(void *restrict to, const void *restrict from, size_t size_bytes) {
    return __builtin_memmove(to, from, size_bytes);
}

void *memmove(void *to, const void *from, size_t size_bytes) {
    return __builtin_memmove(to, from, size_bytes);
}

void *memset(void *to, int value, size_t size_bytes) {
    return __builtin_memset(to, value, size_bytes);
}

static uint64_t load_word(const unsigned char *from) {
    uint64_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}

int memcmp(const void *a, const void *b, size_t size_bytes) {
    const unsigned char *left = a, *right = b;
    size_t i = 0;
    while (i + sizeof(uint64_t) <= size_bytes && load_word(left + i) == load_word(right + i))
        i += sizeof(uint64_t);
    for (; i < size_bytes; i++)
        if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
    return 0;
}
#endif

#if defined(__wasm__)
/* The allocator writes errno and nothing reads it; the C library's own lies in a thread that it has not made. */
int *__errno_location(void);
int *___errno_location(void); /* what the library's own files call */

int *__errno_location(void) {
    static int number;
    return &number;
}

int *___errno_location(void) {
    return __errno_location();
}
#endif
