/*
 * Which set of kernels runs: chosen once, when a database is opened. No state is kept: the processor is asked each
 * time, which costs less than a microsecond. A set is offered only when the processor has every extension that its
 * file is compiled with and the operating system saves its registers.
 */
#include "simd/simd.h"

#include <string.h>

static bool simd_can_run(const struct simd_kernels *kernels) {
    (void)kernels;
    return true;
}

/* Worst first, so that the last one that runs is the best. */
static const struct simd_kernels *const simd_sets[] = {
    &simd_scalar,
};

enum { SIMD_SETS = sizeof simd_sets / sizeof simd_sets[0] };

const struct simd_kernels *simd_available(unsigned index) {
    for (size_t i = 0; i < SIMD_SETS; i++)
        if (simd_can_run(simd_sets[i]) && index-- == 0) return simd_sets[i];
    return NULL;
}

const struct simd_kernels *simd_select(const char *forced) {
    const struct simd_kernels *best = NULL;
    const struct simd_kernels *kernels;
    bool any = forced == NULL || forced[0] == '\0';
    for (unsigned i = 0; (kernels = simd_available(i)) != NULL; i++)
        if (any || strcmp(forced, kernels->name) == 0) best = kernels;
    return best;
}
