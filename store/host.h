/*
 * What executes storage operations: files, memory, a browser's storage, a simulator.
 *
 * A host is thin: it does one operation of delta/storage.h at a time, to the letter, and reports what happened. Rules:
 * READ and WRITE do all bytes asked or report how many they did; SYNC returns only when everything written to that
 * file before is durable; an absent file has size 0 and is made by the first WRITE.
 */
#ifndef VELTA_STORE_HOST_H
#define VELTA_STORE_HOST_H

#include "delta/storage.h"

/* Passed to velta_open (which copies it) in options->host, it belongs to the database from a successful open on. */
struct velta_host {
    void *context;
    void (*execute)(void *context, const struct storage_operation *operation, struct storage_result *result);
    void (*close)(void *context); /* frees the context; releases locks */
    /* Optional: bytes of a file that lie in memory and stay as they are until close, or NULL. Spares loading a copy. */
    const void *(*view)(void *context, enum storage_file file, uint64_t offset, uint64_t size_bytes);
};

/*
 * Files `path` and `path`-log, locked against other processes (shared when read_only); LOCKED after 3 s of trying.
 * must_exist: NOT_FOUND when `path` is absent.
 */
VELTA_MUST_USE enum velta_status host_open_files(struct memory *memory, const char *path, bool read_only,
                                                 bool must_exist, struct velta_host *out, struct velta_error *error);
/* Two growing arrays in memory. `data` (may be NULL) is what the DATA file starts with; it is copied. */
VELTA_MUST_USE enum velta_status host_open_memory(struct memory *memory, const void *data, uint64_t size_bytes,
                                                  struct velta_host *out, struct velta_error *error);
/* The caller's bytes as the DATA file, read in place, never written; they must outlive the host. */
VELTA_MUST_USE enum velta_status host_open_view(struct memory *memory, const void *data, uint64_t size_bytes,
                                                struct velta_host *out, struct velta_error *error);

/* Clocks, environment and threads of the system (store/host_posix.c; wasm has its own). */
int64_t host_now_ms(void *context);
uint64_t host_clock_ns(void *context);
const char *host_simd_forced(void);
/* A pool of thread_count threads (0: one per processor, at most 16), the caller's included. */
VELTA_MUST_USE enum velta_status host_executor_create(struct memory *memory, unsigned thread_count,
                                                      struct velta_executor *out, struct velta_error *error);
void host_executor_destroy(struct memory *memory, struct velta_executor *executor);

#endif
