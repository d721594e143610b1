/*
 * The system: files and their locks, clocks, environment, threads. The only file of the engine that calls it (memory
 * aside, which is core/system_allocator.c's).
 *
 * Files. Two: the path given and the same with "-log". The data file is locked with flock for as long as it is open,
 * shared for readers and exclusive for the writer, so that the lock goes with the process however it ends; after a kill
 * it can outlive its owner for a moment, so a refusal is tried again for LOCK_WAIT_MS. The log is opened, and made, at
 * its first use. A file that was made here becomes durable with its first SYNC, which also syncs the folder.
 *
 * Only a count equal to what was asked is success; ENOSPC, EDQUOT and EFBIG are FULL, the rest is IO.
 *
 * Threads. A pool that sleeps on a condition; tasks are taken by number from a shared counter, the caller working too.
 * Whatever runs on it must not depend on which thread took which task.
 */
#define _GNU_SOURCE
#include "store/host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"

enum { LOCK_WAIT_MS = 3000, LOCK_RETRY_MS = 20, MAX_THREADS = 16, MAX_TRANSFER_BYTES = 1 << 30 };

struct posix_file {
    int descriptor; /* -1: not open */
    char *path;
    size_t path_bytes;
    bool created; /* here, and its folder entry is not yet durable */
};

struct posix_host {
    struct memory *memory;
    struct posix_file files[2];
    bool read_only;
};

/* ---- files */

static enum velta_status status_of_errno(void) {
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? VELTA_FULL : VELTA_IO;
}

static int open_retrying(const char *path, int flags) {
    int descriptor;
    do {
        descriptor = open(path, flags | O_CLOEXEC, 0666);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

/* Opens, and for writers makes, the file. An absent file leaves descriptor -1 for readers. */
static enum velta_status open_file(const struct posix_host *host, struct posix_file *file, bool make) {
    if (file->descriptor >= 0) {
        return VELTA_OK;
    }
    file->descriptor = open_retrying(file->path, host->read_only ? O_RDONLY : O_RDWR);
    if (file->descriptor < 0 && errno == ENOENT && make && !host->read_only) {
        file->descriptor = open_retrying(file->path, O_RDWR | O_CREAT);
        file->created = file->descriptor >= 0;
    }
    return file->descriptor >= 0 || (errno == ENOENT && !make) ? VELTA_OK : status_of_errno();
}

static enum velta_status sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t size_bytes = slash ? (size_t)(slash - path) : 0;
    if (size_bytes >= sizeof folder) {
        return VELTA_IO;
    }
    memcpy(folder, path, size_bytes);
    folder[size_bytes] = '\0';
    int descriptor = open_retrying(!slash ? "." : size_bytes == 0 ? "/" : folder, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0) {
        return VELTA_IO;
    }
    /* Some file systems cannot sync a folder and say EINVAL: nothing more can be done there. */
    enum velta_status status = fsync(descriptor) == 0 || errno == EINVAL ? VELTA_OK : status_of_errno();
    close(descriptor);
    return status;
}

static void size_of_file(const struct posix_file *file, struct storage_result *result) {
    struct stat facts;
    if (file->descriptor < 0) {
        return;
    }
    if (fstat(file->descriptor, &facts) != 0) {
        result->status = VELTA_IO;
        return;
    }
    result->size_bytes = (uint64_t)facts.st_size;
}

static size_t transfer_bytes(uint64_t left) {
    return (size_t)(left < MAX_TRANSFER_BYTES ? left : MAX_TRANSFER_BYTES);
}

static void read_file(const struct posix_file *file, const struct storage_operation *operation,
                      struct storage_result *result) {
    while (file->descriptor >= 0 && result->size_bytes < operation->size_bytes) {
        ssize_t got = pread(file->descriptor, (char *)operation->buffer + result->size_bytes,
                            transfer_bytes(operation->size_bytes - result->size_bytes),
                            (off_t)(operation->offset + result->size_bytes));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            result->status = VELTA_IO;
        }
        if (got <= 0) {
            return;
        }
        result->size_bytes += (uint64_t)got;
    }
}

static void write_file(const struct posix_file *file, const struct storage_operation *operation,
                       struct storage_result *result) {
    while (result->size_bytes < operation->size_bytes) {
        ssize_t put = pwrite(file->descriptor, (const char *)operation->bytes + result->size_bytes,
                             transfer_bytes(operation->size_bytes - result->size_bytes),
                             (off_t)(operation->offset + result->size_bytes));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            result->status = put < 0 ? status_of_errno() : VELTA_IO;
            return;
        }
        result->size_bytes += (uint64_t)put;
    }
}

static void sync_file(struct posix_file *file, struct storage_result *result) {
    /* fdatasync also writes the size; times may be lost. After a failure it is not tried again: see delta/storage.h. */
    if (fdatasync(file->descriptor) != 0) {
        result->status = status_of_errno();
        return;
    }
    if (file->created) {
        result->status = sync_folder(file->path);
        file->created = result->status != VELTA_OK;
    }
}

static void truncate_file(const struct posix_file *file, const struct storage_operation *operation,
                          struct storage_result *result) {
    int failed;
    do {
        failed = ftruncate(file->descriptor, (off_t)operation->offset);
    } while (failed && errno == EINTR);
    if (failed) {
        result->status = status_of_errno();
    }
}

static void posix_execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    struct posix_host *host = context;
    struct posix_file *file = &host->files[operation->file];
    bool writes = operation->kind != STORAGE_SIZE && operation->kind != STORAGE_READ;
    *result = (struct storage_result){.status = VELTA_OK};
    if (operation->offset > INT64_MAX || operation->size_bytes > INT64_MAX - operation->offset) {
        result->status = writes ? VELTA_FULL : VELTA_IO;
        return;
    }
    result->status = open_file(host, file, writes);
    if (result->status) {
        return;
    }
    switch (operation->kind) {
    case STORAGE_SIZE:
        size_of_file(file, result);
        break;
    case STORAGE_READ:
        read_file(file, operation, result);
        break;
    case STORAGE_WRITE:
        write_file(file, operation, result);
        break;
    case STORAGE_SYNC:
        sync_file(file, result);
        break;
    case STORAGE_TRUNCATE:
        truncate_file(file, operation, result);
        break;
    }
}

static void posix_close(void *context) {
    struct posix_host *host = context;
    for (unsigned i = 0; i < 2; i++) {
        if (host->files[i].descriptor >= 0) {
            close(host->files[i].descriptor);
        }
        memory_release(host->memory, host->files[i].path, host->files[i].path_bytes);
    }
    memory_release(host->memory, host, sizeof *host);
}

static void sleep_ms(long time_ms) {
    struct timespec pause = {.tv_sec = time_ms / 1000, .tv_nsec = time_ms % 1000 * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {}
}

/* Whether the path still names the open file: it may have been replaced while the lock was awaited. */
static bool still_named(const struct posix_file *file) {
    struct stat open_facts;
    struct stat named_facts;
    return fstat(file->descriptor, &open_facts) == 0 && stat(file->path, &named_facts) == 0 &&
           open_facts.st_dev == named_facts.st_dev && open_facts.st_ino == named_facts.st_ino;
}

static enum velta_status open_locked(struct posix_host *host, bool make, struct velta_error *error) {
    struct posix_file *data = &host->files[STORAGE_DATA];
    for (int waited_ms = 0;; waited_ms += LOCK_RETRY_MS) {
        if (open_file(host, data, make) || data->descriptor < 0) {
            bool absent = errno == ENOENT;
            return velta_fail(error, absent ? VELTA_NOT_FOUND : VELTA_IO, VELTA_NO_OFFSET, "cannot open '%.150s': %s",
                              data->path, strerror(errno));
        }
        errno = 0;
        if (flock(data->descriptor, (host->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 && still_named(data)) {
            return VELTA_OK;
        }
        bool refused = errno != EWOULDBLOCK && errno != EINTR && errno != ENOENT && errno != 0;
        close(data->descriptor);
        data->descriptor = -1;
        if (refused) {
            return velta_fail(error, VELTA_IO, VELTA_NO_OFFSET, "cannot lock '%.150s': %s", data->path,
                              strerror(errno));
        }
        if (waited_ms >= LOCK_WAIT_MS) {
            return velta_fail(error, VELTA_LOCKED, VELTA_NO_OFFSET,
                              "another process has '%.150s' open%s; close it there and try again", data->path,
                              host->read_only ? " for writing" : "");
        }
        sleep_ms(LOCK_RETRY_MS);
    }
}

static enum velta_status set_path(struct memory *memory, struct posix_file *file, const char *path, const char *suffix,
                                  struct velta_error *error) {
    size_t path_bytes = strlen(path);
    size_t suffix_bytes = strlen(suffix) + 1;
    file->path = memory_allocate(memory, path_bytes + suffix_bytes);
    if (!file->path) {
        return memory_fail(memory, error);
    }
    file->path_bytes = path_bytes + suffix_bytes;
    memcpy(file->path, path, path_bytes);
    memcpy(file->path + path_bytes, suffix, suffix_bytes);
    return VELTA_OK;
}

enum velta_status host_open_files(struct memory *memory, const char *path, bool read_only, bool must_exist,
                                  struct velta_host *out, struct velta_error *error) {
    struct posix_host *host = memory_allocate_zero(memory, sizeof *host);
    if (!host) {
        return memory_fail(memory, error);
    }
    host->memory = memory;
    host->read_only = read_only;
    host->files[STORAGE_DATA].descriptor = -1;
    host->files[STORAGE_LOG].descriptor = -1;
    enum velta_status status = set_path(memory, &host->files[STORAGE_DATA], path, "", error);
    if (!status) {
        status = set_path(memory, &host->files[STORAGE_LOG], path, "-log", error);
    }
    if (!status) {
        status = open_locked(host, !must_exist && !read_only, error);
    }
    if (status) {
        posix_close(host);
        return status;
    }
    *out = (struct velta_host){.context = host, .execute = posix_execute, .close = posix_close};
    return VELTA_OK;
}

/* ---- clocks and environment */

int64_t host_now_ms(void *context) {
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t host_clock_ns(void *context) {
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const char *host_simd_forced(void) {
    return getenv("VELTA_SIMD");
}

/* ---- threads */

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t work; /* a run began, or the end */
    pthread_cond_t idle; /* the last thread has left the run */
    pthread_t threads[MAX_THREADS];
    unsigned thread_count; /* besides the caller */
    unsigned busy_count;
    uint64_t run_number;
    bool ending;
    void (*task)(void *argument, unsigned index);
    void *argument;
    unsigned task_count;
    unsigned next_task;
};

/* Takes tasks until there are none. Called and left with the mutex held. */
static void take_tasks(struct pool *pool) {
    while (pool->next_task < pool->task_count) {
        unsigned index = pool->next_task++;
        pthread_mutex_unlock(&pool->mutex);
        pool->task(pool->argument, index);
        pthread_mutex_lock(&pool->mutex);
    }
}

static void *pool_thread(void *context) {
    struct pool *pool = context;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->ending && pool->run_number == seen) {
            pthread_cond_wait(&pool->work, &pool->mutex);
        }
        if (pool->ending) {
            break;
        }
        seen = pool->run_number;
        pool->busy_count++;
        take_tasks(pool);
        if (--pool->busy_count == 0) {
            pthread_cond_signal(&pool->idle);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static void pool_run(void *context, unsigned task_count, void (*task)(void *argument, unsigned index), void *argument) {
    struct pool *pool = context;
    pthread_mutex_lock(&pool->mutex);
    pool->task = task;
    pool->argument = argument;
    pool->task_count = task_count;
    pool->next_task = 0;
    pool->run_number++;
    pthread_cond_broadcast(&pool->work);
    take_tasks(pool);
    while (pool->busy_count > 0) {
        pthread_cond_wait(&pool->idle, &pool->mutex);
    }
    pool->task_count = 0; /* a thread that wakes late finds nothing */
    pthread_mutex_unlock(&pool->mutex);
}

enum velta_status host_executor_create(struct memory *memory, unsigned thread_count, struct velta_executor *out,
                                       struct velta_error *error) {
    if (thread_count == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        thread_count = processors > 0 && processors < MAX_THREADS ? (unsigned)processors : MAX_THREADS;
    }
    if (thread_count > MAX_THREADS) {
        thread_count = MAX_THREADS;
    }
    struct pool *pool = memory_allocate_zero(memory, sizeof *pool);
    if (!pool) {
        return memory_fail(memory, error);
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    /* A thread that the system refuses makes the pool smaller, not unusable. */
    while (pool->thread_count + 1 < thread_count &&
           pthread_create(&pool->threads[pool->thread_count], NULL, pool_thread, pool) == 0) {
        pool->thread_count++;
    }
    *out = (struct velta_executor){.context = pool, .thread_count = pool->thread_count + 1, .run = pool_run};
    return VELTA_OK;
}

void host_executor_destroy(struct memory *memory, struct velta_executor *executor) {
    struct pool *pool = executor->context;
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->thread_count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    memory_release(memory, pool, sizeof *pool);
    *executor = (struct velta_executor){0};
}
