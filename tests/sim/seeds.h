/*
 * What the simulators share: seeds one after the other until enough crash states were tried, or one seed alone.
 *
 * VELTA_SIM_SEED=N runs seed N alone and prints the digest of its trace, instead of the tests.
 */
#ifndef VELTA_TESTS_SIM_SEEDS_H
#define VELTA_TESTS_SIM_SEEDS_H

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "tests/support/support.h"

struct seed_counts {
    uint64_t states;
    uint64_t violations;
    uint64_t trace; /* of one seed */
};

typedef struct seed_counts run_seed(uint64_t seed, void *context);

/* Seeds from 1 on, until `wanted` states are reached or a seed has violations; every minute it says how far it is. */
static inline struct seed_counts seeds_run(uint64_t wanted, run_seed *run, void *context) {
    struct seed_counts sum = {0};
    uint64_t seed = 0;
    clock_t start = clock();
    time_t told = time(NULL);
    while (sum.states < wanted && sum.violations == 0) {
        struct seed_counts counts = run(++seed, context);
        sum.states += counts.states;
        sum.violations += counts.violations;
        if (time(NULL) - told < 60) continue;
        told = time(NULL);
        print_message("%" PRIu64 " of %" PRIu64 " states, seed %" PRIu64 "\n", sum.states, wanted, seed);
        (void)fflush(stdout);
    }
    print_message("%" PRIu64 " crash states, seeds 1 to %" PRIu64 ", %" PRIu64 " violations, %.1f s\n", sum.states,
                  seed, sum.violations, (double)(clock() - start) / CLOCKS_PER_SEC);
    return sum;
}

/* The seed that is asked for; 0: none, the tests run. */
static inline uint64_t seed_asked_for(void) {
    const char *text = getenv("VELTA_SIM_SEED");
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static inline void seed_tell(uint64_t seed, const struct seed_counts *counts) {
    printf("seed %" PRIu64 ": %" PRIu64 " states, %" PRIu64 " violations, trace %016" PRIx64 "\n", seed, counts->states,
           counts->violations, counts->trace);
}

#endif
