/* The helpers of the other tests: an instrument that cannot fail would prove nothing. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

static void random_numbers_are_the_published_ones(void **state) {
    (void)state;
    /* xoshiro256** with state 1, 2, 3, 4: the sequence given by its authors' code. */
    struct random random = {{1, 2, 3, 4}};
    assert_true(random_u64(&random) == UINT64_C(11520));
    assert_true(random_u64(&random) == UINT64_C(0));
    assert_true(random_u64(&random) == UINT64_C(1509978240));
    assert_true(random_u64(&random) == UINT64_C(1215971899390074240));
}

static void random_ranges_hold(void **state) {
    (void)state;
    struct random random = random_seeded(7);
    unsigned seen[6] = {0};
    for (int i = 0; i < 6000; i++)
        seen[random_between(&random, -2, 3) + 2]++;
    for (int i = 0; i < 6; i++)
        assert_in_range(seen[i], 800, 1200);
    assert_true(random_between(&random, INT64_MIN, INT64_MAX) != random_between(&random, INT64_MIN, INT64_MAX));
    uint32_t order[100];
    random_shuffle(&random, order, 100);
    uint64_t sum = 0;
    for (int i = 0; i < 100; i++)
        sum += order[i];
    assert_int_equal(sum, 4950);
    float vector[33];
    random_unit_vector(&random, vector, 33);
    double length = 0;
    for (int i = 0; i < 33; i++)
        length += (double)vector[i] * vector[i];
    assert_true(length > 0.9999 && length < 1.0001);
}

/* Takes three blocks; gives back all and fails when refused one. */
static bool three_blocks(struct test_allocator *self, void *context) {
    unsigned *runs = context;
    (*runs)++;
    struct velta_allocator *allocator = &self->allocator;
    void *before = allocator->allocate(allocator->context, 100, 64);
    assert_non_null(before);
    test_allocator_rearm(self);
    void *blocks[3];
    unsigned count = 0;
    while (count < 3 && (blocks[count] = allocator->allocate(allocator->context, 1000, 4096)) != NULL)
        count++;
    test_allocator_disarm(self);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal((uintptr_t)blocks[i] % 4096, 0);
        allocator->release(allocator->context, blocks[i], 1000, 4096);
    }
    allocator->release(allocator->context, before, 100, 64);
    return count == 3;
}

static void every_allocation_is_failed_once_and_from_then_on(void **state) {
    (void)state;
    struct test_allocator self;
    test_allocator_init(&self);
    unsigned runs = 0;
    assert_int_equal(test_every_allocation_fails(&self, three_blocks, &runs), 8);
    assert_int_equal(runs, 8);
    assert_int_equal(self.peak_bytes, 3100);
}

static void files_round_trip(void **state) {
    (void)state;
    const char *path = test_path(test_folder(), "some.bin");
    struct random random = random_seeded(1);
    uint8_t bytes[777];
    random_bytes(&random, bytes, sizeof bytes);
    test_write_file(path, bytes, sizeof bytes);
    size_t size_bytes;
    uint8_t *back = test_read_file(path, &size_bytes);
    assert_int_equal(size_bytes, sizeof bytes);
    test_assert_bytes(back, bytes, sizeof bytes, "file");
    free(back);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_are_the_published_ones),
        cmocka_unit_test(random_ranges_hold),
        cmocka_unit_test(every_allocation_is_failed_once_and_from_then_on),
        cmocka_unit_test(files_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
