/* The budget, slabs, arrays and arenas: what they hand out, what they count, and that a refusal changes nothing. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/memory.h"
#include "core/system_allocator.h"

static uint64_t used_bytes(const struct memory *memory) {
    struct memory_stats stats;
    memory_get_stats(memory, &stats);
    return stats.used_bytes;
}

static void every_byte_is_counted(void **state) {
    (void)state;
    struct test_allocator host;
    struct memory_stats stats;
    test_allocator_init(&host);
    struct memory *memory = memory_create(&host.allocator, 1000000);
    uint64_t own_bytes = host.live_bytes;
    char *a = memory_allocate(memory, 1000);
    char *b = memory_allocate_zero(memory, 77);
    assert_int_equal((uintptr_t)a % MEMORY_ALIGNMENT, 0);
    assert_int_equal((uintptr_t)b % MEMORY_ALIGNMENT, 0);
    for (int i = 0; i < 77; i++)
        assert_int_equal(b[i], 0);
    assert_int_equal(used_bytes(memory), 1077);
    assert_int_equal(host.live_bytes, own_bytes + 1077);
    memset(a, 'a', 1000);
    a = memory_resize(memory, a, 1000, 3000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(a[i], 'a');
    a = memory_resize(memory, a, 3000, 10);
    assert_memory_equal(a, "aaaaaaaaaa", 10);
    assert_int_equal(used_bytes(memory), 87);
    assert_int_equal(memory_charge(memory, 500, NULL), VELTA_OK);
    memory_get_stats(memory, &stats);
    assert_int_equal(stats.used_bytes, 587);
    assert_int_equal(stats.budget_bytes, 1000000);
    assert_int_equal(stats.peak_bytes, 1000 + 77 + 3000);
    memory_uncharge(memory, 500);
    memory_release(memory, a, 10);
    memory_release(memory, b, 77);
    memory_release(memory, NULL, 0);
    assert_int_equal(used_bytes(memory), 0);
    memory_destroy(memory);
    memory_destroy(NULL);
    test_allocator_check_empty(&host);
}

static void the_budget_is_not_exceeded(void **state) {
    (void)state;
    struct test_allocator host;
    struct velta_error error;
    test_allocator_init(&host);
    struct memory *memory = memory_create(&host.allocator, 1000);
    void *a = memory_allocate(memory, 600);
    assert_non_null(a);
    uint64_t asked = host.allocation_count;
    assert_null(memory_allocate(memory, 401));
    assert_null(memory_resize(memory, a, 600, 700)); /* both are needed for a moment */
    assert_int_equal(memory_charge(memory, 401, &error), VELTA_OVER_BUDGET);
    assert_int_equal(host.allocation_count, asked);     /* the host was not even asked */
    assert_null(slab_allocate(memory, SLAB_MIN_BYTES)); /* a chunk is needed for the first one */
    assert_int_equal(memory_refusal(memory), VELTA_OVER_BUDGET);
    assert_int_equal(memory_charge(memory, 401, &error), VELTA_OVER_BUDGET);
    assert_int_equal(memory_fail(memory, &error), VELTA_OVER_BUDGET);
    assert_string_equal(error.text, "401 bytes more would exceed the memory budget: 600 of 1000 bytes are in use");
    assert_int_equal(used_bytes(memory), 600);
    void *b = memory_allocate(memory, 400);
    assert_non_null(b);
    memory_release(memory, b, 400);
    memory_release(memory, a, 600);
    memory_destroy(memory);
    test_allocator_check_empty(&host);
}

static void a_refusal_of_the_host_is_told_apart(void **state) {
    (void)state;
    struct test_allocator host;
    struct velta_error error;
    test_allocator_init(&host);
    test_allocator_arm(&host, 1, false);
    assert_null(memory_create(&host.allocator, 0));
    struct memory *memory = memory_create(&host.allocator, 0);
    char *a = memory_allocate(memory, 64);
    memset(a, 7, 64);
    test_allocator_arm(&host, 1, true);
    assert_null(memory_allocate(memory, 10));
    assert_null(memory_allocate_zero(memory, 10));
    assert_null(memory_resize(memory, a, 64, 128));
    assert_null(slab_allocate(memory, SLAB_MAX_BYTES));
    assert_int_equal(memory_fail(memory, &error), VELTA_NO_MEMORY);
    assert_int_equal(error.code, VELTA_NO_MEMORY);
    test_allocator_arm(&host, 0, false);
    for (int i = 0; i < 64; i++)
        assert_int_equal(a[i], 7);
    assert_int_equal(used_bytes(memory), 64);
    memory_release(memory, a, 64);
    memory_destroy(memory);
    test_allocator_check_empty(&host);
}

static void arrays_grow_by_doubling(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    void *array = NULL;
    size_t capacity = 0;
    assert_int_equal(memory_grow_array(memory, &array, &capacity, 0, 8, NULL), VELTA_OK);
    assert_null(array);
    assert_int_equal(memory_grow_array(memory, &array, &capacity, 3, 8, NULL), VELTA_OK);
    assert_int_equal(capacity, 3);
    memcpy(array, (const uint64_t[]){1, 2, 3}, 24);
    assert_int_equal(memory_grow_array(memory, &array, &capacity, 4, 8, NULL), VELTA_OK);
    assert_int_equal(capacity, 6);
    assert_int_equal(memory_grow_array(memory, &array, &capacity, 100, 8, NULL), VELTA_OK);
    assert_int_equal(capacity, 100);
    assert_memory_equal(array, ((const uint64_t[]){1, 2, 3}), 24);
    assert_int_equal(memory_grow_array(memory, &array, &capacity, SIZE_MAX / 4, 8, NULL), VELTA_NO_MEMORY);
    assert_int_equal(memory_grow_array(memory, &array, &capacity, SIZE_MAX / 16, 8, NULL), VELTA_OVER_BUDGET);
    assert_int_equal(capacity, 100);
    memory_release(memory, array, 800);
    memory_destroy(memory);
}

/* ---- slabs */

struct held {
    uint64_t *bytes;
    size_t size_bytes;
    uint64_t mark;
};

static void fill(const struct held *held) {
    for (size_t i = 0; i < held->size_bytes / 8; i += 64)
        held->bytes[i] = held->mark + i;
}

static void check(const struct held *held) {
    for (size_t i = 0; i < held->size_bytes / 8; i += 64)
        assert_true(held->bytes[i] == held->mark + i);
}

static void slabs_do_not_overlap_and_chunks_go_back(void **state) {
    (void)state;
    enum { SLOTS = 200 };
    struct test_allocator host;
    struct memory_stats stats;
    struct random random = random_seeded(3);
    struct held slots[SLOTS] = {{0}};
    uint64_t held_bytes = 0;
    test_allocator_init(&host);
    struct memory *memory = memory_create(&host.allocator, 0);
    for (size_t round = 0; round < test_rounds(4000); round++) {
        struct held *held = &slots[random_below(&random, SLOTS)];
        if (held->bytes) {
            check(held);
            slab_release(memory, held->bytes, held->size_bytes);
            held_bytes -= held->size_bytes;
            held->bytes = NULL;
            continue;
        }
        held->size_bytes = random_chance(&random, 50) ? (size_t)SLAB_MIN_BYTES << random_below(&random, 10)
                                                      : SLAB_MIN_BYTES * (1 + random_below(&random, 512));
        held->bytes = slab_allocate(memory, held->size_bytes);
        assert_non_null(held->bytes);
        assert_int_equal((uintptr_t)held->bytes % SLAB_MIN_BYTES, 0);
        held->mark = random_u64(&random);
        held_bytes += held->size_bytes;
        fill(held);
        memory_get_stats(memory, &stats);
        assert_int_equal(stats.slab_bytes, held_bytes);
        assert_true(stats.chunk_bytes >= held_bytes && stats.used_bytes >= stats.chunk_bytes);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].bytes) check(&slots[i]);
        slab_release(memory, slots[i].bytes, slots[i].size_bytes);
        slots[i].bytes = NULL;
    }
    assert_int_equal(used_bytes(memory), 0);
    memory_destroy(memory);
    test_allocator_check_empty(&host);
}

static void odd_sizes_fill_a_chunk(void **state) {
    (void)state;
    enum { ROWS_96K = 96 << 10, PER_CHUNK = SLAB_MAX_BYTES / ROWS_96K };
    struct memory *memory = memory_create(NULL, 0);
    struct memory_stats stats;
    void *slabs[PER_CHUNK + 1];
    for (unsigned i = 0; i < PER_CHUNK; i++)
        slabs[i] = slab_allocate(memory, ROWS_96K);
    memory_get_stats(memory, &stats);
    assert_int_equal(stats.chunk_bytes, SLAB_MAX_BYTES);
    slabs[PER_CHUNK] = slab_allocate(memory, SLAB_MAX_BYTES - PER_CHUNK * ROWS_96K);
    memory_get_stats(memory, &stats);
    assert_int_equal(stats.chunk_bytes, SLAB_MAX_BYTES); /* the rest was used too */
    assert_int_equal(stats.slab_bytes, SLAB_MAX_BYTES);
    for (unsigned i = 0; i < PER_CHUNK; i++) { /* what is given back is handed out again */
        slab_release(memory, slabs[i], ROWS_96K);
        slabs[i] = slab_allocate(memory, ROWS_96K);
        memory_get_stats(memory, &stats);
        assert_int_equal(stats.chunk_bytes, SLAB_MAX_BYTES);
    }
    slab_release(memory, slabs[0], ROWS_96K);
    void *small = slab_allocate(memory, SLAB_MIN_BYTES);
    memory_get_stats(memory, &stats);
    assert_int_equal(stats.chunk_bytes, SLAB_MAX_BYTES);
    slab_release(memory, small, SLAB_MIN_BYTES);
    slabs[0] = slab_allocate(memory, ROWS_96K);
    slab_release(memory, slabs[PER_CHUNK], SLAB_MAX_BYTES - PER_CHUNK * ROWS_96K);
    for (unsigned i = 0; i < PER_CHUNK; i++)
        slab_release(memory, slabs[i], ROWS_96K);
    memory_destroy(memory);
}

static bool take_slabs(struct test_allocator *self, void *context) {
    (void)context;
    struct memory *memory = memory_create(&self->allocator, 0);
    void *first = slab_allocate(memory, SLAB_MAX_BYTES);
    assert_non_null(first);
    uint64_t before = used_bytes(memory);
    test_allocator_rearm(self);
    void *second = slab_allocate(memory, 3 * SLAB_MIN_BYTES);
    test_allocator_disarm(self);
    bool succeeded = second != NULL;
    if (!succeeded) assert_in_range(used_bytes(memory), before, before + 4096); /* the table of chunks may have grown */
    slab_release(memory, second, 3 * SLAB_MIN_BYTES);
    slab_release(memory, first, SLAB_MAX_BYTES);
    assert_int_equal(used_bytes(memory), 0);
    memory_destroy(memory);
    return succeeded;
}

static void every_refused_slab_changes_nothing(void **state) {
    (void)state;
    struct test_allocator host;
    test_allocator_init(&host);
    assert_true(test_every_allocation_fails(&host, take_slabs, NULL) > 2);
}

/* ---- arenas */

static void arenas_hand_out_aligned_memory(void **state) {
    (void)state;
    struct test_allocator host;
    test_allocator_init(&host);
    struct memory *memory = memory_create(&host.allocator, 0);
    struct arena arena = {.memory = memory};
    struct random random = random_seeded(5);
    enum { PIECES = 3000 };
    static uint8_t *pieces[PIECES];
    static size_t sizes[PIECES];
    uint64_t before = host.allocation_count;
    for (unsigned i = 0; i < PIECES; i++) {
        sizes[i] = 1 + random_below(&random, i == 1500 ? 3 << 20 : 700);
        pieces[i] = arena_allocate(&arena, sizes[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i % 251), sizes[i]);
    }
    assert_true(host.allocation_count - before < 16);
    for (unsigned i = 0; i < PIECES; i++) {
        assert_int_equal(pieces[i][0], i % 251);
        assert_int_equal(pieces[i][sizes[i] - 1], i % 251);
    }
    struct arena_block *blocks = arena.blocks;
    test_allocator_arm(&host, 1, true);
    assert_null(arena_allocate(&arena, 5 << 20));
    assert_null(arena_allocate(&arena, SIZE_MAX));
    assert_null(arena_allocate(&arena, SIZE_MAX - 40));
    test_allocator_arm(&host, 0, false);
    assert_ptr_equal(arena.blocks, blocks);
    arena_reset(&arena);
    assert_null(arena.blocks);
    assert_int_equal(used_bytes(memory), 0);
    memory_destroy(memory);
    test_allocator_check_empty(&host);
}

static void the_system_gives_aligned_memory(void **state) {
    (void)state;
    struct velta_allocator system = system_allocator();
    for (size_t alignment = 1; alignment <= SLAB_MAX_BYTES; alignment *= 2) {
        for (size_t size_bytes = 1; size_bytes <= 4 * SLAB_MAX_BYTES; size_bytes *= 8) {
            char *block = system.allocate(system.context, size_bytes, alignment);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % alignment, 0);
            block[0] = block[size_bytes - 1] = 1;
            system.release(system.context, block, size_bytes, alignment);
        }
    }
#if !defined(__SANITIZE_ADDRESS__) /* it ends the program at such sizes */
    assert_null(system.allocate(system.context, SIZE_MAX - SLAB_MAX_BYTES + 1, SLAB_MAX_BYTES));
    assert_null(system.allocate(system.context, (size_t)1 << 60, SLAB_MAX_BYTES));
    assert_null(system.allocate(system.context, (size_t)1 << 60, 64));
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_is_counted),
        cmocka_unit_test(the_budget_is_not_exceeded),
        cmocka_unit_test(a_refusal_of_the_host_is_told_apart),
        cmocka_unit_test(arrays_grow_by_doubling),
        cmocka_unit_test(slabs_do_not_overlap_and_chunks_go_back),
        cmocka_unit_test(odd_sizes_fill_a_chunk),
        cmocka_unit_test(every_refused_slab_changes_nothing),
        cmocka_unit_test(arenas_hand_out_aligned_memory),
        cmocka_unit_test(the_system_gives_aligned_memory),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
