/* The hosts by themselves: to the letter of delta/storage.h, and a pool that runs every task once. */
#define _GNU_SOURCE /* setenv */
#include "tests/support/support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/host.h"

static struct storage_result run(struct velta_host *host, enum storage_operation_kind kind, enum storage_file file,
                                 uint64_t offset, uint64_t size_bytes, void *buffer) {
    struct storage_operation operation = {.kind = kind,
                                          .file = file,
                                          .offset = offset,
                                          .size_bytes = size_bytes,
                                          .bytes = kind == STORAGE_WRITE ? buffer : NULL,
                                          .buffer = kind == STORAGE_READ ? buffer : NULL};
    struct storage_result result = {.status = VELTA_CORRUPT, .size_bytes = 4711};
    host->execute(host->context, &operation, &result);
    return result;
}

/* What every host must do. */
static void keeps_bytes(struct velta_host *host) {
    char buffer[64] = {0};
    struct storage_result result = run(host, STORAGE_SIZE, STORAGE_LOG, 0, 0, NULL);
    assert_int_equal(result.status, VELTA_OK);
    assert_int_equal(result.size_bytes, 0);
    result = run(host, STORAGE_READ, STORAGE_LOG, 0, 4, buffer);
    assert_int_equal(result.size_bytes, 0);
    result = run(host, STORAGE_WRITE, STORAGE_LOG, 3, 5, "hello");
    assert_int_equal(result.status, VELTA_OK);
    assert_int_equal(result.size_bytes, 5);
    assert_int_equal(run(host, STORAGE_SIZE, STORAGE_LOG, 0, 0, NULL).size_bytes, 8);
    assert_int_equal(run(host, STORAGE_SIZE, STORAGE_DATA, 0, 0, NULL).size_bytes, 0);
    result = run(host, STORAGE_READ, STORAGE_LOG, 1, 7, buffer);
    assert_int_equal(result.size_bytes, 7);
    assert_memory_equal(buffer, "\0\0hello", 7);
    result = run(host, STORAGE_READ, STORAGE_LOG, 6, 10, buffer);
    assert_int_equal(result.size_bytes, 2);
    assert_int_equal(run(host, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL).status, VELTA_OK);
    assert_int_equal(run(host, STORAGE_TRUNCATE, STORAGE_LOG, 4, 0, NULL).status, VELTA_OK);
    assert_int_equal(run(host, STORAGE_TRUNCATE, STORAGE_LOG, 6, 0, NULL).status, VELTA_OK);
    result = run(host, STORAGE_READ, STORAGE_LOG, 0, 10, buffer);
    assert_int_equal(result.size_bytes, 6);
    assert_memory_equal(buffer, "\0\0\0h\0\0", 6);
    assert_int_equal(run(host, STORAGE_SYNC, STORAGE_LOG, 0, 0, NULL).status, VELTA_OK);
    result = run(host, STORAGE_WRITE, STORAGE_DATA, 0, 0, buffer);
    assert_int_equal(result.status, VELTA_OK);
    result = run(host, STORAGE_WRITE, STORAGE_DATA, UINT64_MAX - 2, 5, "hello");
    assert_int_equal(result.status, VELTA_FULL);
}

static void memory_keeps_bytes(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_host host;
    struct memory *memory = memory_create(NULL, 1 << 20);
    assert_int_equal(host_open_memory(memory, NULL, 0, &host, &error), VELTA_OK);
    keeps_bytes(&host);
    char *large = calloc(1, 2 << 20);
    assert_int_equal(run(&host, STORAGE_WRITE, STORAGE_DATA, 0, 2 << 20, large).status, VELTA_FULL);
    free(large);
    host.close(host.context);
    assert_int_equal(host_open_memory(memory, "abc", 3, &host, &error), VELTA_OK);
    assert_int_equal(run(&host, STORAGE_SIZE, STORAGE_DATA, 0, 0, NULL).size_bytes, 3);
    host.close(host.context);
    memory_destroy(memory);
}

static void a_view_is_only_read(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_host host;
    char buffer[4] = {0};
    struct memory *memory = memory_create(NULL, 0);
    assert_int_equal(host_open_view(memory, "abc", 3, &host, &error), VELTA_OK);
    assert_int_equal(run(&host, STORAGE_READ, STORAGE_DATA, 1, 2, buffer).size_bytes, 2);
    assert_memory_equal(buffer, "bc", 2);
    assert_int_equal(run(&host, STORAGE_WRITE, STORAGE_DATA, 0, 1, "x").status, VELTA_IO);
    assert_int_equal(run(&host, STORAGE_TRUNCATE, STORAGE_DATA, 0, 0, NULL).status, VELTA_IO);
    host.close(host.context);
    memory_destroy(memory);
}

static void files_keep_bytes(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_host host;
    struct velta_host second;
    struct memory *memory = memory_create(NULL, 0);
    const char *path = test_path(test_folder(), "file");
    assert_int_equal(host_open_files(memory, path, false, true, &host, &error), VELTA_NOT_FOUND);
    assert_int_equal(host_open_files(memory, path, true, false, &host, &error), VELTA_NOT_FOUND);
    assert_int_equal(host_open_files(memory, path, false, false, &host, &error), VELTA_OK);
    keeps_bytes(&host);
    assert_int_equal(host_open_files(memory, path, true, false, &second, &error), VELTA_LOCKED);
    host.close(host.context);
    assert_int_equal(host_open_files(memory, path, true, false, &host, &error), VELTA_OK);
    assert_int_equal(host_open_files(memory, path, true, false, &second, &error), VELTA_OK);
    assert_int_equal(run(&second, STORAGE_SIZE, STORAGE_LOG, 0, 0, NULL).size_bytes, 6);
    assert_int_equal(run(&second, STORAGE_WRITE, STORAGE_DATA, 0, 1, "x").status, VELTA_IO);
    second.close(second.context);
    host.close(host.context);
    memory_destroy(memory);
}

static void a_full_device_is_full(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct velta_host host;
    struct memory *memory = memory_create(NULL, 0);
    if (access("/dev/full", W_OK) != 0) skip();
    assert_int_equal(host_open_files(memory, "/dev/full", false, true, &host, &error), VELTA_OK);
    assert_int_equal(run(&host, STORAGE_WRITE, STORAGE_DATA, 0, 5, "hello").status, VELTA_FULL);
    host.close(host.context);
    memory_destroy(memory);
}

struct counted {
    pthread_mutex_t mutex;
    unsigned *counts;
};

static void count_task(void *argument, unsigned index) {
    struct counted *counted = argument;
    pthread_mutex_lock(&counted->mutex);
    counted->counts[index]++;
    pthread_mutex_unlock(&counted->mutex);
}

static void every_task_runs_once(void **state) {
    (void)state;
    struct velta_error error = {0};
    struct memory *memory = memory_create(NULL, 0);
    for (unsigned threads = 0; threads <= 5; threads++) {
        struct velta_executor executor;
        unsigned counts[100] = {0};
        struct counted counted = {.counts = counts};
        pthread_mutex_init(&counted.mutex, NULL);
        assert_int_equal(host_executor_create(memory, threads, &executor, &error), VELTA_OK);
        assert_true(executor.thread_count >= 1);
        if (threads > 0) assert_int_equal(executor.thread_count, threads);
        for (unsigned round = 0; round < 200; round++)
            executor.run(executor.context, 1 + round % 100, count_task, &counted);
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(counts[i], 2 * (100 - i));
        executor.run(executor.context, 0, count_task, &counted);
        host_executor_destroy(memory, &executor);
        pthread_mutex_destroy(&counted.mutex);
    }
    memory_destroy(memory);
}

static void clocks_run(void **state) {
    (void)state;
    uint64_t first = host_clock_ns(NULL);
    assert_true(host_now_ms(NULL) > INT64_C(1600000000000));
    assert_true(host_clock_ns(NULL) >= first);
    setenv("VELTA_SIMD", "scalar", 1);
    assert_string_equal(host_simd_forced(), "scalar");
    unsetenv("VELTA_SIMD");
    assert_null(host_simd_forced());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_keeps_bytes),   cmocka_unit_test(a_view_is_only_read),
        cmocka_unit_test(files_keep_bytes),     cmocka_unit_test(a_full_device_is_full),
        cmocka_unit_test(every_task_runs_once), cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
