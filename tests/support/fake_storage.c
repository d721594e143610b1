/* See the header. */
#include "tests/support/fake_storage.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/support.h"

static void file_reserve(struct fake_file *file, uint64_t size_bytes) {
    if (size_bytes <= file->capacity_bytes) return;
    uint64_t capacity = file->capacity_bytes < 4096 ? 4096 : file->capacity_bytes;
    while (capacity < size_bytes) {
        capacity *= 2;
    }
    file->bytes = realloc(file->bytes, capacity);
    assert_non_null(file->bytes);
    file->capacity_bytes = capacity;
}

static void file_resize(struct fake_file *file, uint64_t size_bytes) {
    file_reserve(file, size_bytes);
    if (size_bytes > file->size_bytes) memset(file->bytes + file->size_bytes, 0, size_bytes - file->size_bytes);
    file->size_bytes = size_bytes;
}

static void file_write(struct fake_file *file, uint64_t offset, const void *bytes, uint64_t size_bytes) {
    if (offset + size_bytes > file->size_bytes) file_resize(file, offset + size_bytes);
    if (size_bytes > 0) memcpy(file->bytes + offset, bytes, size_bytes);
}

static void file_copy(struct fake_file *to, const struct fake_file *from) {
    file_reserve(to, from->size_bytes);
    if (from->size_bytes > 0) memcpy(to->bytes, from->bytes, from->size_bytes);
    to->size_bytes = from->size_bytes;
}

void fake_storage_init(struct fake_storage *fake) {
    memset(fake, 0, sizeof *fake);
    fake->keep_durable = true;
}

static void pieces_clear(struct fake_storage *fake) {
    for (size_t i = 0; i < fake->piece_count; i++) {
        free(fake->pieces[i].bytes);
    }
    fake->piece_count = 0;
}

void fake_storage_release(struct fake_storage *fake) {
    pieces_clear(fake);
    free(fake->pieces);
    for (int i = 0; i < 2; i++) {
        free(fake->now[i].bytes);
        free(fake->durable[i].bytes);
    }
    memset(fake, 0, sizeof *fake);
}

void fake_storage_set(struct fake_storage *fake, enum storage_file file, const void *bytes, uint64_t size_bytes) {
    file_resize(&fake->now[file], 0);
    file_write(&fake->now[file], 0, bytes, size_bytes);
    file_copy(&fake->durable[file], &fake->now[file]);
}

static void add_piece(struct fake_storage *fake, enum storage_file file, uint64_t offset, uint64_t size_bytes,
                      const uint8_t *bytes) {
    if (!fake->keep_durable) return;
    assert_true(fake->piece_count < FAKE_MAX_PIECES);
    if (fake->piece_count == fake->piece_capacity) {
        fake->piece_capacity = fake->piece_capacity ? 2 * fake->piece_capacity : 64;
        fake->pieces = realloc(fake->pieces, fake->piece_capacity * sizeof *fake->pieces);
        assert_non_null(fake->pieces);
    }
    struct fake_piece *piece = &fake->pieces[fake->piece_count++];
    *piece = (struct fake_piece){file, offset, size_bytes, NULL};
    if (bytes != NULL) {
        piece->bytes = malloc(size_bytes);
        assert_non_null(piece->bytes);
        memcpy(piece->bytes, bytes, size_bytes);
    }
}

static void do_write(struct fake_storage *fake, const struct storage_operation *operation, uint64_t size_bytes) {
    const uint8_t *bytes = operation->bytes;
    uint64_t done = 0;
    file_write(&fake->now[operation->file], operation->offset, bytes, size_bytes);
    while (done < size_bytes) {
        uint64_t offset = operation->offset + done;
        uint64_t step = FAKE_SECTOR_BYTES - offset % FAKE_SECTOR_BYTES;
        if (step > size_bytes - done) step = size_bytes - done;
        add_piece(fake, operation->file, offset, step, bytes + done);
        done += step;
    }
}

static void do_sync(struct fake_storage *fake, enum storage_file file) {
    size_t kept = 0;
    fake->sync_count++;
    if (!fake->keep_durable) return;
    if (fake->ignore_sync != NULL && fake->ignore_sync(fake->context, fake->sync_count, file)) return;
    for (size_t i = 0; i < fake->piece_count; i++) {
        struct fake_piece *piece = &fake->pieces[i];
        if (piece->file != file) {
            fake->pieces[kept++] = *piece;
        } else if (piece->bytes == NULL) {
            file_resize(&fake->durable[file], piece->offset);
        } else {
            file_write(&fake->durable[file], piece->offset, piece->bytes, piece->size_bytes);
            free(piece->bytes);
        }
    }
    fake->piece_count = kept;
}

static bool is_failing(const struct fake_storage *fake) {
    if (fake->fail_at == 0) return false;
    return fake->fail_from_then_on ? fake->operation_count >= fake->fail_at : fake->operation_count == fake->fail_at;
}

void fake_storage_execute(struct fake_storage *fake, const struct storage_operation *operation,
                          struct storage_result *result) {
    struct fake_file *file = &fake->now[operation->file];
    bool transfer = operation->kind == STORAGE_READ || operation->kind == STORAGE_WRITE;
    *result = (struct storage_result){VELTA_OK, operation->size_bytes};
    fake->operation_count++;
    if (is_failing(fake)) {
        if (operation->kind == STORAGE_WRITE && fake->fail_half) {
            do_write(fake, operation, operation->size_bytes / 2);
        }
        result->status = transfer || fake->fail_status != VELTA_OK ? fake->fail_status : VELTA_IO;
        result->size_bytes = fake->fail_wrong_count;
        return;
    }
    switch (operation->kind) {
    case STORAGE_SIZE:
        result->size_bytes = file->size_bytes;
        break;
    case STORAGE_READ:
        assert_true(operation->size_bytes > 0);
        assert_true(operation->offset + operation->size_bytes <= file->size_bytes);
        memcpy(operation->buffer, file->bytes + operation->offset, operation->size_bytes);
        break;
    case STORAGE_WRITE:
        assert_true(operation->size_bytes > 0);
        do_write(fake, operation, operation->size_bytes);
        break;
    case STORAGE_SYNC:
        do_sync(fake, operation->file);
        break;
    case STORAGE_TRUNCATE:
        file_resize(file, operation->offset);
        add_piece(fake, operation->file, operation->offset, 0, NULL);
        break;
    }
}

enum velta_status fake_storage_run(struct fake_storage *fake, struct storage *storage, struct velta_error *error) {
    for (;;) {
        struct storage_operation operation;
        struct storage_result result;
        bool more;
        enum velta_status status = storage_next(storage, &operation, &more, error);
        if (!more) return status;
        assert_int_equal(status, VELTA_OK);
        fake_storage_execute(fake, &operation, &result);
        storage_done(storage, &result);
    }
}

static void keep_piece(struct fake_file *file, const struct fake_piece *piece, const struct fake_crash *torn) {
    if (piece->bytes == NULL) {
        file_resize(file, piece->offset);
        return;
    }
    uint64_t end = piece->offset + piece->size_bytes;
    uint64_t size_bytes = torn != NULL && torn->torn_bytes < piece->size_bytes ? torn->torn_bytes : piece->size_bytes;
    if (torn != NULL && torn->torn_grown && end > file->size_bytes) file_resize(file, end);
    if (size_bytes > 0) file_write(file, piece->offset, piece->bytes, size_bytes);
}

void fake_storage_crash(const struct fake_storage *fake, const struct fake_crash *crash, struct fake_storage *out) {
    pieces_clear(out);
    for (int i = 0; i < 2; i++) {
        file_copy(&out->now[i], &fake->durable[i]);
    }
    for (size_t i = 0; i < fake->piece_count; i++) {
        const struct fake_piece *piece = &fake->pieces[i];
        if ((crash->kept >> (i % 64) & 1) == 0) continue;
        keep_piece(&out->now[piece->file], piece, i == crash->torn ? crash : NULL);
    }
    if (out->keep_durable) {
        for (int i = 0; i < 2; i++) {
            file_copy(&out->durable[i], &out->now[i]);
        }
    }
}
