/*
 * A host whose two files are arrays in memory: for tests, for databases that travel as bytes, and for reading an
 * exported array in place.
 *
 * The arrays grow by doubling through the database's own memory, so they count against its budget. Nothing is durable:
 * SYNC is already done. A view reads the caller's bytes and refuses to write.
 */
#include <string.h>

#include "core/error.h"
#include "store/host.h"

struct memory_file {
    uint8_t *bytes;
    size_t size_bytes;
    size_t capacity;
};

struct memory_host {
    struct memory *memory;
    struct memory_file files[2];
    bool view; /* the bytes belong to the caller */
};

/* The file's size becomes at least `needed`, new bytes zero. */
static enum velta_status grow(struct memory_host *host, struct memory_file *file, uint64_t needed) {
    if (needed > SIZE_MAX) {
        return VELTA_FULL;
    }
    if (memory_grow_array(host->memory, (void **)&file->bytes, &file->capacity, (size_t)needed, 1, NULL)) {
        return VELTA_FULL;
    }
    if (needed > file->size_bytes) {
        memset(file->bytes + file->size_bytes, 0, (size_t)needed - file->size_bytes);
        file->size_bytes = (size_t)needed;
    }
    return VELTA_OK;
}

static void read_file(const struct memory_file *file, const struct storage_operation *operation,
                      struct storage_result *result) {
    uint64_t available = operation->offset < file->size_bytes ? file->size_bytes - operation->offset : 0;
    uint64_t size_bytes = operation->size_bytes < available ? operation->size_bytes : available;
    if (size_bytes > 0) {
        memcpy(operation->buffer, file->bytes + operation->offset, (size_t)size_bytes);
    }
    result->size_bytes = size_bytes;
}

static void write_file(struct memory_host *host, struct memory_file *file, const struct storage_operation *operation,
                       struct storage_result *result) {
    if (operation->offset > UINT64_MAX - operation->size_bytes) {
        result->status = VELTA_FULL;
        return;
    }
    if (operation->size_bytes == 0) {
        return;
    }
    result->status = grow(host, file, operation->offset + operation->size_bytes);
    if (!result->status) {
        memcpy(file->bytes + operation->offset, operation->bytes, (size_t)operation->size_bytes);
        result->size_bytes = operation->size_bytes;
    }
}

static void truncate_file(struct memory_host *host, struct memory_file *file, const struct storage_operation *operation,
                          struct storage_result *result) {
    if (operation->offset > file->size_bytes) {
        result->status = grow(host, file, operation->offset);
    } else {
        file->size_bytes = (size_t)operation->offset;
    }
}

static void memory_host_execute(void *context, const struct storage_operation *operation,
                                struct storage_result *result) {
    struct memory_host *host = context;
    struct memory_file *file = &host->files[operation->file];
    *result = (struct storage_result){.status = VELTA_OK};
    if (host->view && (operation->kind == STORAGE_WRITE || operation->kind == STORAGE_TRUNCATE)) {
        result->status = VELTA_IO;
        return;
    }
    switch (operation->kind) {
    case STORAGE_SIZE:
        result->size_bytes = file->size_bytes;
        break;
    case STORAGE_READ:
        read_file(file, operation, result);
        break;
    case STORAGE_WRITE:
        write_file(host, file, operation, result);
        break;
    case STORAGE_SYNC:
        break;
    case STORAGE_TRUNCATE:
        truncate_file(host, file, operation, result);
        break;
    }
}

static const void *memory_host_view(void *context, enum storage_file file, uint64_t offset, uint64_t size_bytes) {
    const struct memory_host *host = context;
    const struct memory_file *from = &host->files[file];
    bool inside = offset <= from->size_bytes && size_bytes <= from->size_bytes - offset;
    return inside ? from->bytes + offset : NULL;
}

static void memory_host_close(void *context) {
    struct memory_host *host = context;
    for (unsigned i = 0; i < 2 && !host->view; i++) {
        memory_release(host->memory, host->files[i].bytes, host->files[i].capacity);
    }
    memory_release(host->memory, host, sizeof *host);
}

static enum velta_status make(struct memory *memory, struct velta_host *out, struct memory_host **host,
                              struct velta_error *error) {
    *host = memory_allocate_zero(memory, sizeof **host);
    if (!*host) {
        return memory_fail(memory, error);
    }
    (*host)->memory = memory;
    *out = (struct velta_host){.context = *host, .execute = memory_host_execute, .close = memory_host_close};
    return VELTA_OK;
}

enum velta_status host_open_memory(struct memory *memory, const void *data, uint64_t size_bytes, struct velta_host *out,
                                   struct velta_error *error) {
    struct memory_host *host;
    enum velta_status status = make(memory, out, &host, error);
    if (!status && size_bytes > 0) {
        if (grow(host, &host->files[STORAGE_DATA], size_bytes)) {
            memory_host_close(host);
            return memory_fail(memory, error);
        }
        memcpy(host->files[STORAGE_DATA].bytes, data, (size_t)size_bytes);
    }
    return status;
}

enum velta_status host_open_view(struct memory *memory, const void *data, uint64_t size_bytes, struct velta_host *out,
                                 struct velta_error *error) {
    struct memory_host *host;
    if (size_bytes > SIZE_MAX) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "%llu bytes cannot be addressed here",
                          (unsigned long long)size_bytes);
    }
    enum velta_status status = make(memory, out, &host, error);
    if (!status) {
        host->view = true;
        out->view = memory_host_view;
        host->files[STORAGE_DATA].bytes = (uint8_t *)(uintptr_t)data; /* never written: view */
        host->files[STORAGE_DATA].size_bytes = (size_t)size_bytes;
    }
    return status;
}
