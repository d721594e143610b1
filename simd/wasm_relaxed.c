/*
 * Kernels for WebAssembly with relaxed SIMD: those of simd/wasm128.c, but for the dot product of codes.
 *
 * Of the relaxed operations only i32x4.relaxed_dot_i8x16_i7x16_add_s is used. What engines may do differently in it is
 * all beyond our range: codes are 0..127, so the second operand is never negative, and a pair of products, at most
 * 2 * 127 * 128, fits 16 bits. So the sums are exact everywhere, like those of every other set. Relaxed operations on
 * floats would not be, and what they would gain is small here.
 *
 * Tests build this natively as they do wasm128.c; SIMDe lacks the operation, which is defined here for them.
 */
#if defined(VELTA_RELAXED_SIMD) || defined(VELTA_SIMDE)
#if !defined(VELTA_RELAXED_SIMD)
#include <simde/wasm/simd128.h>

static inline v128_t wasm_i32x4_relaxed_dot_i8x16_i7x16_add(v128_t a, v128_t b, v128_t sum) {
    v128_t low = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(a), wasm_i16x8_extend_low_i8x16(b));
    v128_t high = wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(a), wasm_i16x8_extend_high_i8x16(b));
    v128_t even = wasm_i32x4_shuffle(low, high, 0, 2, 4, 6);
    v128_t odd = wasm_i32x4_shuffle(low, high, 1, 3, 5, 7);
    return wasm_i32x4_add(sum, wasm_i32x4_add(even, odd));
}
#endif
#define WASM128_RELAXED
#include "simd/wasm128.c" /* NOLINT: the kernels are static, so a copy of each belongs to each set */
#endif
