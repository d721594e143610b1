/*
 * As much of cmocka as tests/property/test_same_life.c and tests/support need, for WebAssembly: what fails is told to
 * JavaScript, and ends the module.
 */
#ifndef VELTA_TESTS_WASM_CMOCKA_H
#define VELTA_TESTS_WASM_CMOCKA_H

#include <stddef.h>
#include <stdint.h>

__attribute__((import_module("test"), import_name("failed"))) void test_failed(const char *what, const char *file,
                                                                               int line);

#define fail_msg(...) (test_failed(#__VA_ARGS__, __FILE__, __LINE__), __builtin_trap())
#define assert_true(condition) ((condition) ? (void)0 : fail_msg(condition))
#define assert_false(condition) assert_true(!(condition))
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_int_equal(a, b) assert_true((uint64_t)(a) == (uint64_t)(b))
#define assert_ptr_equal(a, b) assert_true((a) == (b))
#define fail() fail_msg(fail)
#define print_message(...) ((void)0)
#define print_error(...) ((void)0)

struct CMUnitTest {
    void (*function)(void **state);
};
#define cmocka_unit_test(function)                                                                                     \
    { function }
#define cmocka_run_group_tests(tests, setup, teardown) ((int)(sizeof(tests) / sizeof((tests)[0])) - 2)

#endif
