/*
 * The system as WebAssembly has it: clocks from JavaScript, no files, no environment. Threads: wasm/threads.c.
 *
 * Storage is given to velta_open as a host (wasm/exports.c), so paths are refused here.
 */
#include "store/host.h"

#include "core/error.h"
#include "wasm/exports.h"

enum velta_status host_open_files(struct memory *memory, const char *path, bool read_only, bool must_exist,
                                  struct velta_host *out, struct velta_error *error) {
    (void)memory, (void)read_only, (void)must_exist, (void)out;
    return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "there are no files here; give a host instead of '%.80s'",
                      path);
}

int64_t host_now_ms(void *context) {
    (void)context;
    return (int64_t)import_now(0);
}

uint64_t host_clock_ns(void *context) {
    (void)context;
    return (uint64_t)(import_clock() * 1e6);
}

const char *host_simd_forced(void) {
    return NULL;
}
