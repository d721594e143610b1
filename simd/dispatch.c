/*
 * Which set of kernels runs: chosen once, when a database is opened. No state is kept: the processor is asked each
 * time, which costs less than a microsecond. A set is offered only when the processor has every extension that its
 * file is compiled with and the operating system saves its registers.
 */
#include "simd/simd.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static bool simd_always(void) {
    return true;
}

#if defined(__x86_64__)
static bool simd_has_avx2(void) {
    unsigned eax, ebx, ecx, edx;
    bool has_f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
    return has_f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}

static bool simd_has_avx512(void) {
    return simd_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vnni");
}
#endif

struct simd_set {
    const struct simd_kernels *kernels;
    bool (*can_run)(void);
};

/*
 * Worst first, so that the last one that runs is the best. The wasm kernels run natively for tests only. A module of
 * WebAssembly has the one set that it was made for.
 */
static const struct simd_set simd_sets[] = {
#if defined(VELTA_RELAXED_SIMD)
    {&simd_wasm_relaxed, simd_always},
#elif defined(__wasm_simd128__)
    {&simd_wasm128, simd_always},
#else
#if defined(VELTA_SIMDE)
    {&simd_wasm128, simd_always}, {&simd_wasm_relaxed, simd_always},
#endif
    {&simd_scalar, simd_always},
#if defined(__x86_64__)
    {&simd_avx2, simd_has_avx2},  {&simd_avx512, simd_has_avx512},
#endif
#endif
};

enum { SIMD_SETS = sizeof simd_sets / sizeof simd_sets[0] };

const struct simd_kernels *simd_available(unsigned index) {
    for (size_t i = 0; i < SIMD_SETS; i++)
        if (simd_sets[i].can_run() && index-- == 0) return simd_sets[i].kernels;
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
