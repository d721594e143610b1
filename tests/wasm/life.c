/*
 * The life of tests/property/test_same_life.c inside a WebAssembly module; tests/wasm/life.mjs calls it and prints the
 * digest, which is the one that every other compiler's program prints.
 */
int life_main(void);
#define main life_main
#include "tests/property/test_same_life.c" /* NOLINT: its functions are static */

__attribute__((export_name("life"), used)) uint64_t life_of_module(uint32_t thread_count);

uint64_t life_of_module(uint32_t thread_count) {
    return live(NULL, thread_count);
}
