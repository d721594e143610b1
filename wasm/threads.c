/*
 * The engine's threads in WebAssembly: workers, each with an instance of this module over the same memory.
 *
 * JavaScript makes them (wasm/src/threads.ts): it asks for a stack for each, and each calls abi_thread_run, which never
 * returns. They belong to the module, not to a database; only one thread calls the engine, so there is one run at a
 * time. Tasks of a run must not allocate (store/host.h), so the allocator has one user and growth happens between runs.
 *
 * A run's tasks are handed out by one word: the run's number above the tasks that are left. A thread that takes a task
 * by compare-and-swap has one of this very run, and the run cannot end before it has done it; so what else belongs to
 * the run is read after. A thread that comes late finds none left. The caller takes tasks too, and so never depends on
 * a worker that has not started; then it waits for those that others took. A page's own thread must not sleep in
 * WebAssembly, so there it spins, which is short: tasks share out their work in small pieces.
 */
#include "core/error.h"
#include "store/host.h"
#include "wasm/exports.h"

#if defined(__wasm_atomics__)
#include <stdatomic.h>

#include "core/system_allocator.h"

enum { STACK_BYTES = 128 << 10, LOCAL_BYTES = 1 << 10, MAX_THREADS = 16, SPINS = 4000 };

static struct {
    char *memory;          /* of each thread: what is local to it, its stack */
    unsigned thread_count; /* besides the caller */
    bool can_sleep;        /* the caller */
    _Atomic uint32_t failed;

    void (*task)(void *argument, unsigned index);
    void *argument;
    uint32_t task_count;
    uint32_t run_number;
    _Atomic uint64_t tickets; /* run number << 32 | tasks left */
    _Atomic uint32_t wake;    /* the run's number; workers sleep on it */
    _Atomic uint32_t done;    /* tasks; the caller may sleep on it */
} pool;

/* timeout_ns below 0: none. */
static void sleep_on(_Atomic uint32_t *word, uint32_t seen, int64_t timeout_ns) {
    (void)__builtin_wasm_memory_atomic_wait32((int *)word, (int)seen, timeout_ns);
}

static void wake_all(_Atomic uint32_t *word) {
    (void)__builtin_wasm_memory_atomic_notify((int *)word, UINT32_MAX);
}

static void take_tasks(void) {
    uint64_t ticket = atomic_load_explicit(&pool.tickets, memory_order_acquire);
    while ((uint32_t)ticket > 0) {
        if (!atomic_compare_exchange_weak(&pool.tickets, &ticket, ticket - 1)) continue;
        uint32_t count = pool.task_count;
        pool.task(pool.argument, (uint32_t)ticket - 1);
        if (atomic_fetch_add(&pool.done, 1) + 1 == count) wake_all(&pool.done);
        ticket = atomic_load_explicit(&pool.tickets, memory_order_acquire);
    }
}

static void pool_run(void *context, unsigned task_count, void (*task)(void *argument, unsigned index), void *argument) {
    (void)context;
    pool.task = task;
    pool.argument = argument;
    pool.task_count = task_count;
    atomic_store(&pool.done, 0);
    pool.run_number++;
    atomic_store(&pool.tickets, (uint64_t)pool.run_number << 32 | task_count);
    atomic_store(&pool.wake, pool.run_number);
    wake_all(&pool.wake);
    take_tasks();
    unsigned spins = 0;
    for (uint32_t done; (done = atomic_load(&pool.done)) < task_count;) {
        if (atomic_load(&pool.failed)) __builtin_trap(); /* its task will never be done; the graph is half written */
        if (pool.can_sleep && ++spins > SPINS) sleep_on(&pool.done, done, 1000000);
    }
}

enum velta_status host_executor_create(struct memory *memory, unsigned thread_count, struct velta_executor *out,
                                       struct velta_error *error) {
    (void)memory, (void)error;
    unsigned all = pool.thread_count + 1;
    *out = (struct velta_executor){.thread_count = thread_count && thread_count < all ? thread_count : all,
                                   .run = pool_run};
    return VELTA_OK;
}

void host_executor_destroy(struct memory *memory, struct velta_executor *executor) {
    (void)memory, (void)executor;
}

/* ---- for JavaScript (wasm/src/threads.ts) */

uint32_t abi_threads_create(uint32_t count, uint32_t can_sleep);
void *abi_thread_stack(uint32_t index);
void *abi_thread_local(uint32_t index);
void abi_thread_run(void);
void abi_thread_failed(void);

/* Gives 0, or 1 when it is refused. Once. */
ABI_EXPORT("abi_threads_create") uint32_t abi_threads_create(uint32_t count, uint32_t can_sleep) {
    if (pool.memory || count == 0 || count >= MAX_THREADS) return 1;
    struct velta_allocator allocator = system_allocator();
    pool.memory = allocator.allocate(allocator.context, (size_t)count * (LOCAL_BYTES + STACK_BYTES), 16);
    if (!pool.memory) return 1;
    pool.thread_count = count;
    pool.can_sleep = can_sleep != 0;
    return 0;
}

/* The stack's top: it grows down. */
ABI_EXPORT("abi_thread_stack") void *abi_thread_stack(uint32_t index) {
    return pool.memory + (index + 1) * (size_t)(LOCAL_BYTES + STACK_BYTES);
}

ABI_EXPORT("abi_thread_local") void *abi_thread_local(uint32_t index) {
    return pool.memory + index * (size_t)(LOCAL_BYTES + STACK_BYTES);
}

ABI_EXPORT("abi_thread_run") void abi_thread_run(void) {
    uint32_t seen = 0;
    for (;;) {
        for (unsigned spins = 0; spins < SPINS && atomic_load(&pool.wake) == seen; spins++) {}
        if (atomic_load(&pool.wake) == seen) sleep_on(&pool.wake, seen, -1);
        seen = atomic_load(&pool.wake);
        take_tasks();
    }
}

ABI_EXPORT("abi_thread_failed") void abi_thread_failed(void) {
    atomic_store(&pool.failed, 1);
}

#else

enum velta_status host_executor_create(struct memory *memory, unsigned thread_count, struct velta_executor *out,
                                       struct velta_error *error) {
    (void)memory, (void)thread_count;
    *out = (struct velta_executor){0};
    return velta_fail(error, VELTA_NO_MEMORY, VELTA_NO_OFFSET, "this module has one thread");
}

void host_executor_destroy(struct memory *memory, struct velta_executor *executor) {
    (void)memory, (void)executor;
}

#endif
