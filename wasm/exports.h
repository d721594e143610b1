/*
 * What the WebAssembly module asks of JavaScript, and the layouts of the arrays that cross.
 *
 * Scalars cross as i32 and f64: sequence numbers, byte counts and times in milliseconds are f64 (exact to 2^53; a time
 * of the past is asked for in whole milliseconds, 0 is now). Arrays cross as addresses in the module's memory. Records
 * of an array have the layouts below, in bytes, which are those of the structs of store/velta.h on wasm32; the build
 * makes wasm/src/generated/layout.ts from this list, and exports.c asserts it against the compiler.
 */
#ifndef VELTA_WASM_EXPORTS_H
#define VELTA_WASM_EXPORTS_H

#include "store/velta.h"

/* SIZE(struct, bytes) and FIELD(struct, member, offset). */
#define ABI_LAYOUT(SIZE, FIELD)                                                                                        \
    SIZE(velta_error, 256)                                                                                             \
    FIELD(velta_error, code, 0)                                                                                        \
    FIELD(velta_error, offset, 8)                                                                                      \
    FIELD(velta_error, text, 16)                                                                                       \
    SIZE(velta_column, 48)                                                                                             \
    FIELD(velta_column, name, 0)                                                                                       \
    FIELD(velta_column, type, 4)                                                                                       \
    FIELD(velta_column, primary_key, 8)                                                                                \
    FIELD(velta_column, required, 9)                                                                                   \
    FIELD(velta_column, dimensions, 12)                                                                                \
    FIELD(velta_column, element, 16)                                                                                   \
    FIELD(velta_column, metric, 20)                                                                                    \
    FIELD(velta_column, no_index, 24)                                                                                  \
    FIELD(velta_column, m, 28)                                                                                         \
    FIELD(velta_column, ef_construction, 32)                                                                           \
    FIELD(velta_column, seed, 40)                                                                                      \
    SIZE(velta_values, 20)                                                                                             \
    FIELD(velta_values, column, 0)                                                                                     \
    FIELD(velta_values, data, 4)                                                                                       \
    FIELD(velta_values, offsets, 8)                                                                                    \
    FIELD(velta_values, valid, 12)                                                                                     \
    FIELD(velta_values, element, 16)                                                                                   \
    SIZE(velta_keys, 16)                                                                                               \
    FIELD(velta_keys, rows, 0)                                                                                         \
    FIELD(velta_keys, ints, 4)                                                                                         \
    FIELD(velta_keys, text, 8)                                                                                         \
    FIELD(velta_keys, offsets, 12)                                                                                     \
    SIZE(velta_delta, 64)                                                                                              \
    FIELD(velta_delta, operation, 0)                                                                                   \
    FIELD(velta_delta, set, 4)                                                                                         \
    FIELD(velta_delta, row, 8)                                                                                         \
    FIELD(velta_delta, use_row, 12)                                                                                    \
    FIELD(velta_delta, key_int, 16)                                                                                    \
    FIELD(velta_delta, key, 24)                                                                                        \
    FIELD(velta_delta, key_bytes, 28)                                                                                  \
    FIELD(velta_delta, count, 32)                                                                                      \
    FIELD(velta_delta, indices, 36)                                                                                    \
    FIELD(velta_delta, values, 40)                                                                                     \
    FIELD(velta_delta, amount, 44)                                                                                     \
    FIELD(velta_delta, metadata, 48)                                                                                   \
    FIELD(velta_delta, metadata_bytes, 52)                                                                             \
    FIELD(velta_delta, time_ms, 56)                                                                                    \
    SIZE(velta_chain_item, 80)                                                                                         \
    FIELD(velta_chain_item, sequence, 0)                                                                               \
    FIELD(velta_chain_item, time_ms, 8)                                                                                \
    FIELD(velta_chain_item, delta, 16)                                                                                 \
    SIZE(velta_explain, 56)                                                                                            \
    FIELD(velta_explain, strategy, 0)                                                                                  \
    FIELD(velta_explain, selectivity, 8)                                                                               \
    FIELD(velta_explain, matching_rows, 16)                                                                            \
    FIELD(velta_explain, nodes_visited, 24)                                                                            \
    FIELD(velta_explain, rows_scanned, 28)                                                                             \
    FIELD(velta_explain, rows_reranked, 32)                                                                            \
    FIELD(velta_explain, filter_ns, 40)                                                                                \
    FIELD(velta_explain, search_ns, 48)                                                                                \
    SIZE(velta_segment, 40)                                                                                            \
    FIELD(velta_segment, kind, 0)                                                                                      \
    FIELD(velta_segment, offset, 16)                                                                                   \
    FIELD(velta_segment, size_bytes, 24)                                                                               \
    SIZE(velta_aggregate, 8)                                                                                           \
    FIELD(velta_aggregate, kind, 0)                                                                                    \
    FIELD(velta_aggregate, column, 4)                                                                                  \
    SIZE(velta_change, 40)                                                                                             \
    FIELD(velta_change, kind, 0)                                                                                       \
    FIELD(velta_change, table, 4)                                                                                      \
    FIELD(velta_change, column, 8)                                                                                     \
    FIELD(velta_change, rows, 12)                                                                                      \
    FIELD(velta_change, first_row, 16)                                                                                 \
    FIELD(velta_change, row_count, 20)                                                                                 \
    FIELD(velta_change, sequence, 24)                                                                                  \
    FIELD(velta_change, time_ms, 32)

#if defined(__wasm__)
#define ABI_EXPORT(name) __attribute__((export_name(name), used))
#define ABI_IMPORT(name) __attribute__((import_module("velta"), import_name(name)))
#else /* compiled into a native program, which calls these and defines those: tests/fuzz/fuzz_abi.c */
#define ABI_EXPORT(name)
#define ABI_IMPORT(name)
#endif

/* Milliseconds since 1970 of the clock `id` (0: the system's), and a clock for durations, in milliseconds. */
ABI_IMPORT("now") double import_now(uint32_t id);
ABI_IMPORT("clock") double import_clock(void);
/*
 * One operation of delta/storage.h on the storage `id`: SIZE gives the size, READ and WRITE the bytes done, SYNC and
 * TRUNCATE 0; a failure is the negative status.
 */
ABI_IMPORT("execute")
double import_execute(uint32_t id, uint32_t kind, uint32_t file, double offset, double size_bytes, void *buffer);
ABI_IMPORT("close_storage") void import_close_storage(uint32_t id);
/* A report of long work; 0 cancels. */
ABI_IMPORT("progress") uint32_t import_progress(uint32_t id, double done, double total);
/* A change, for the watcher `id`; the record is read during the call. */
ABI_IMPORT("change") void import_change(uint32_t id, const struct velta_change *change);

#endif
