/*
 * Basic public types: status codes, error detail, allocator, column types.
 *
 * Every room may use these; `store/velta.h` includes this file, and the installed `velta.h` is the two merged. The
 * status list is the one place where codes are defined: the enum, their names, their sentences and (generated) the
 * codes of the TypeScript package come from it.
 */
#ifndef VELTA_CORE_TYPES_H
#define VELTA_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define VELTA_MUST_USE __attribute__((warn_unused_result))
#define VELTA_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
#define VELTA_MUST_USE
#define VELTA_PRINTF(format_index, first_argument)
#endif

/* X(name, number, sentence). Numbers are stable: they travel in error codes of every binding. */
#define VELTA_STATUS_LIST(X)                                                                                           \
    X(OK, 0, "success")                                                                                                \
    X(INVALID, 1, "an argument is not valid")                                                                          \
    X(NO_MEMORY, 2, "the host refused memory")                                                                         \
    X(OVER_BUDGET, 3, "the memory budget would be exceeded")                                                           \
    X(NOT_FOUND, 4, "nothing has this name or key")                                                                    \
    X(EXISTS, 5, "this name or key exists already")                                                                    \
    X(TYPE, 6, "the value does not have the column's type")                                                            \
    X(DIMENSIONS, 7, "the vector does not have the column's length")                                                   \
    X(NOT_FINITE, 8, "the vector holds NaN or an infinity")                                                            \
    X(NOT_NULL, 9, "a value is required")                                                                              \
    X(SYNTAX, 10, "the filter text cannot be read")                                                                    \
    X(UNKNOWN_COLUMN, 11, "the table has no such column")                                                              \
    X(LIMIT, 12, "a documented limit would be exceeded")                                                               \
    X(CORRUPT, 13, "stored bytes are damaged")                                                                         \
    X(VERSION, 14, "stored bytes need a newer velta")                                                                  \
    X(IO, 15, "the storage failed")                                                                                    \
    X(FULL, 16, "the storage is full")                                                                                 \
    X(LOCKED, 17, "another process has the store open")                                                                \
    X(READ_ONLY, 18, "the store was opened for reading")                                                               \
    X(POISONED, 19, "an earlier failure left the storage uncertain; reopen the store")                                 \
    X(HISTORY_GONE, 20, "that time is no longer kept")                                                                 \
    X(CANCELLED, 21, "the caller cancelled")                                                                           \
    X(BUSY, 22, "an iterator or another call is using this")

#define VELTA_STATUS_ENUM(name, number, sentence) VELTA_##name = number,
enum velta_status { VELTA_STATUS_LIST(VELTA_STATUS_ENUM) VELTA_STATUS_COUNT };
#undef VELTA_STATUS_ENUM

/* What `offset` means depends on the call: byte of a file, character of a filter, row or delta of a batch. */
#define VELTA_NO_OFFSET UINT64_MAX

/* Optional detail of a failure, owned by the caller. Written only when a call fails. */
struct velta_error {
    enum velta_status code;
    uint64_t offset;
    char text[240]; /* one sentence, UTF-8, NUL-terminated */
};

/*
 * Where memory comes from. `allocate` returns `size` bytes at a multiple of `alignment` (a power of two, up to 2 MiB)
 * or NULL; `release` gets back the same size and alignment.
 */
struct velta_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size_bytes, size_t alignment);
    void (*release)(void *context, void *memory, size_t size_bytes, size_t alignment);
};

/* Runs task(argument, i) for every i below task_count, on any threads, and returns when all are done. */
struct velta_executor {
    void *context;
    unsigned thread_count; /* 1 where there is one thread */
    void (*run)(void *context, unsigned task_count, void (*task)(void *argument, unsigned index), void *argument);
};

/* Called now and then by long work; return false to cancel. `total` may be 0 where it is not known. */
typedef bool velta_progress_function(void *context, uint64_t done, uint64_t total);
struct velta_progress {
    velta_progress_function *report; /* NULL: no reports */
    void *context;
};

enum velta_type {
    VELTA_INT = 1,   /* int64_t */
    VELTA_FLOAT,     /* double */
    VELTA_BOOL,      /* one bit; batches carry uint8_t 0 or 1 */
    VELTA_STRING,    /* UTF-8, interned */
    VELTA_TIMESTAMP, /* int64_t, milliseconds since 1970-01-01 UTC */
    VELTA_BYTES,     /* any bytes */
    VELTA_VECTOR,    /* fixed number of f32, f16 or 7-bit codes */
};

enum velta_element {
    VELTA_F32 = 0, /* full precision kept */
    VELTA_F16,     /* IEEE half precision kept */
    VELTA_CODES,   /* only the index's 7-bit codes are kept: reads return the decoded approximation */
};

/*
 * Smaller distance is nearer, for every metric:
 * cosine 1 - cos(a, b); l2 the squared Euclidean distance; dot -(a . b).
 */
enum velta_metric { VELTA_COSINE = 0, VELTA_L2, VELTA_DOT };

enum {
    VELTA_MAX_DIMENSIONS = 8192,
    VELTA_MAX_COLUMNS = 1024,
    VELTA_MAX_NAME_BYTES = 255,
    VELTA_MAX_VALUE_BYTES = 16 << 20, /* one string or bytes value */
};
#define VELTA_MAX_ROWS UINT32_C(0xFFFFFFF0) /* rows of a table; vector columns with an index: 16,777,214 */
#define VELTA_NO_ROW UINT32_MAX

/* One column of a schema. Zero means default; strings are copied by the callee. */
struct velta_column {
    const char *name; /* UTF-8, 1..VELTA_MAX_NAME_BYTES bytes */
    enum velta_type type;
    bool primary_key; /* at most one column, int or string; implies required and unique */
    bool required;    /* no NULL */
    /* vectors only */
    uint32_t dimensions; /* 1..VELTA_MAX_DIMENSIONS */
    enum velta_element element;
    enum velta_metric metric;
    bool no_index;            /* exact search only */
    uint32_t m;               /* links per node and level, level 0 has 2 m; 0: 16; 4..64 */
    uint32_t ef_construction; /* 0: 100 */
    uint64_t seed;            /* of the levels; 0: a fixed default */
};

#endif
