/*
 * What the test programs share: deterministic random numbers, allocators that count and fail, temporary folders.
 *
 * Nothing here knows a room beyond core/types.h, so that the lowest room's tests can use it.
 */
#ifndef VELTA_TESTS_SUPPORT_H
#define VELTA_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/types.h"

/* ---- random numbers: xoshiro256** seeded by splitmix64; the same numbers everywhere */

struct random {
    uint64_t state[4];
};

struct random random_seeded(uint64_t seed);
uint64_t random_u64(struct random *random);
uint64_t random_below(struct random *random, uint64_t limit);             /* 0..limit - 1, unbiased; limit > 0 */
int64_t random_between(struct random *random, int64_t low, int64_t high); /* both included */
double random_unit(struct random *random);                                /* [0, 1) in steps of 2^-53 */
float random_gauss(struct random *random);                                /* mean 0, deviation 1; finite */
bool random_chance(struct random *random, unsigned percent);
void random_bytes(struct random *random, void *bytes, size_t size_bytes);
void random_vector(struct random *random, float *vector, size_t n);      /* gaussian */
void random_unit_vector(struct random *random, float *vector, size_t n); /* of length 1 */
/* A permutation of 0..n-1. */
void random_shuffle(struct random *random, uint32_t *order, size_t n);

/* `normal` rounds, or many times that under `make soak` (environment variable VELTA_SOAK: a factor; 1 means 100). */
size_t test_rounds(size_t normal);

/* ---- an allocator that counts, checks sizes at release, and fails on request */

struct test_allocator {
    struct velta_allocator allocator; /* hand out its address; the struct must not move */
    uint64_t allocation_count;        /* asked for since test_allocator_arm, refused ones included */
    uint64_t refused_count;
    uint64_t live_count;
    uint64_t live_bytes;
    uint64_t peak_bytes;
    uint64_t fail_at; /* 1: the next one; 0: never */
    bool fail_from_then_on;
    uint64_t planned_fail_at; /* of test_every_allocation_fails, put into force by test_allocator_rearm */
    bool planned_from_then_on;
};

void test_allocator_init(struct test_allocator *self);
/* From now, the `fail_at`-th allocation fails (0: none), and all after it where asked. Restarts allocation_count. */
void test_allocator_arm(struct test_allocator *self, uint64_t fail_at, bool from_then_on);
/* Asserts that everything was released. */
void test_allocator_check_empty(const struct test_allocator *self);

/*
 * Runs `attempt` with the first allocation of the call under test failing, then the second, and so on until a run needs
 * none that is refused; then again with all later ones failing as well. `attempt` prepares, calls test_allocator_rearm
 * just before the call under test and test_allocator_disarm just after it, checks that a failed call changed nothing,
 * releases everything, and returns whether the call succeeded. A call may succeed although it was refused memory (it
 * had a fallback); one that was refused nothing must succeed. Returns the number of runs.
 */
typedef bool test_attempt(struct test_allocator *self, void *context);
uint64_t test_every_allocation_fails(struct test_allocator *self, test_attempt *attempt, void *context);
void test_allocator_rearm(struct test_allocator *self);
void test_allocator_disarm(struct test_allocator *self);

/* ---- files */

/* A new folder below TMPDIR, removed with its content at exit; the caller frees nothing. */
const char *test_folder(void);
/* folder/name in a buffer that stays valid until exit. */
const char *test_path(const char *folder, const char *name);
void test_write_file(const char *path, const void *bytes, size_t size_bytes);
/* Reads all; the caller frees. */
uint8_t *test_read_file(const char *path, size_t *size_bytes);

/* ---- messages */

/* Prints 16 bytes a line with offsets, at most 512 bytes. */
void test_hexdump(const char *title, const void *bytes, size_t size_bytes);
/* Asserts that both are equal; prints the neighbourhood of the first difference otherwise. */
void test_assert_bytes(const void *actual, const void *expected, size_t size_bytes, const char *what);

#endif
