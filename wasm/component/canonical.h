/*
 * The records of wasm/velta.wit as the canonical ABI lays them out on wasm32, and the memory that they travel in.
 *
 * Who owns what: arguments with pointers, and every answer, lie in one space of memory (space_*), which is emptied when
 * a call has ended: after the host has read the answer, in the function's post-return. So what a host has lowered of a
 * call that it then gave up is gone with the next call. Exported bytes are the one exception: they stay the engine's
 * until post-return.
 */
#ifndef VELTA_WASM_CANONICAL_H
#define VELTA_WASM_CANONICAL_H

#include "store/velta.h"

#define COMPONENT_EXPORT(name) __attribute__((export_name(name), used))
#define COMPONENT_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

struct wit_text {
    const char *bytes; /* UTF-8, as the host has made sure */
    uint32_t size_bytes;
};
struct wit_floats {
    const float *values;
    uint32_t count;
};
struct wit_option_text {
    uint8_t there;
    struct wit_text text;
};
struct wit_option_number {
    uint8_t there;
    int64_t value;
};

enum wit_operation { WIT_CREATE, WIT_SPARSE, WIT_DENSE, WIT_SCALE, WIT_OFFSET, WIT_DELETE };
enum wit_mode { WIT_ADD, WIT_SET };
union wit_payload {
    struct wit_floats create;
    struct {
        const uint32_t *indices;
        uint32_t index_count;
        struct wit_floats values;
        uint8_t mode;
    } sparse;
    struct {
        struct wit_floats vector;
        uint8_t mode;
    } dense;
    float amount; /* scale, offset */
};
struct wit_delta {
    struct wit_text id;
    uint8_t operation; /* enum wit_operation */
    union wit_payload payload;
    struct wit_option_text metadata;
    struct wit_option_number timestamp;
};
_Static_assert(sizeof(union wit_payload) == 20, "layout of operation");
_Static_assert(offsetof(struct wit_delta, payload) == 12, "layout of vector-delta");
_Static_assert(offsetof(struct wit_delta, metadata) == 32, "layout of vector-delta");
_Static_assert(offsetof(struct wit_delta, timestamp) == 48, "layout of vector-delta");
_Static_assert(sizeof(struct wit_delta) == 64, "layout of vector-delta");

struct wit_match {
    struct wit_text id;
    float distance;
    double score;
};
_Static_assert(sizeof(struct wit_match) == 24, "layout of match");

struct wit_list {
    const void *items;
    uint32_t count;
};
struct wit_failure {
    uint8_t code; /* the status less 1 */
    struct wit_text message;
    struct wit_option_number offset;
};
_Static_assert(offsetof(struct wit_failure, offset) == 16, "layout of error");
_Static_assert(sizeof(struct wit_failure) == 32, "layout of error");

/* Every result<_, error>. What succeeds has at most 8 bytes' alignment, as the error has, so both lie at 8. */
struct wit_answer {
    uint8_t failed;
    union {
        struct wit_failure failure;
        struct wit_list list;
        struct {
            uint8_t there;
            struct wit_list list;
        } option;
        uint64_t number;
        int32_t handle;
    } value;
};
_Static_assert(offsetof(struct wit_answer, value) == 8, "layout of result");

/* Options that are absent are 0; of numbers, those given as 0 have been refused. */
struct vectors_options {
    uint32_t dimensions;
    uint32_t metric;
    uint32_t max_vectors;
    uint32_t checkpoint_interval;
    uint32_t m;
    uint32_t ef_construction;
    uint32_t ef_search;
    uint64_t memory_budget_bytes;
};

/* ---- wasm/component/space.c */

/* Memory until the call has ended; NULL when it is refused. Never for a size of 0. alignment: to 16. */
VELTA_MUST_USE void *space_allocate(size_t size_bytes, size_t alignment);
void space_empty(void);

/* ---- wasm/component/vectors.c */

struct vectors;

/* Time, which wasm/host.c asks for too: what the host's clock said when it was asked last. */
void vectors_set_now(double now_ms);
VELTA_MUST_USE enum velta_status vectors_create(const struct vectors_options *options, struct vectors **out,
                                                struct velta_error *error);
void vectors_free(struct vectors *self);
uint32_t vectors_size(const struct vectors *self);
/* Whether what reading finds depends on the time: nothing here sets expiries, but imported bytes may have them. */
bool vectors_may_expire(const struct vectors *self);
/* ids: room for count. */
VELTA_MUST_USE enum velta_status vectors_apply(struct vectors *self, const struct wit_delta *deltas, uint32_t count,
                                               uint64_t *ids, struct velta_error *error);
/* at_ms 0: now. values NULL: it does not live. */
VELTA_MUST_USE enum velta_status vectors_get(struct vectors *self, struct wit_text id, int64_t at_ms,
                                             struct wit_floats *out, struct velta_error *error);
/* ef 0: the database's. out: struct wit_match. */
VELTA_MUST_USE enum velta_status vectors_search(struct vectors *self, struct wit_floats query, uint32_t k, uint32_t ef,
                                                bool exact, int64_t at_ms, struct wit_list *out,
                                                struct velta_error *error);
/* most 0: all. */
VELTA_MUST_USE enum velta_status vectors_index(struct vectors *self, uint32_t most, uint64_t *waiting,
                                               struct velta_error *error);
/* keep_since_ms as in struct velta_compact_options. */
VELTA_MUST_USE enum velta_status vectors_compact(struct vectors *self, int64_t keep_since_ms,
                                                 struct velta_error *error);
/* out: bytes that vectors_forget_export gives back. */
VELTA_MUST_USE enum velta_status vectors_export(struct vectors *self, struct wit_list *out, struct velta_error *error);
void vectors_forget_export(void);
VELTA_MUST_USE enum velta_status vectors_import(struct vectors *self, struct wit_list bytes, struct velta_error *error);
/* Within what JavaScript's dates have, so that every reader of an export can show it. */
VELTA_MUST_USE enum velta_status check_time(int64_t time_ms, uint64_t offset, struct velta_error *error);

#endif
