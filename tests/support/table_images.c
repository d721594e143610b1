/* A whole table as its images. See tests/support/table_images.h. */
#include "tests/support/table_images.h"

#include <stdlib.h>
#include <string.h>

#include "core/column_image.h"
#include "core/hash.h"
#include "tests/support/support.h"

static uint8_t *saved_grow(struct table_images *saved, size_t size_bytes) {
    while (saved->size_bytes + size_bytes > saved->capacity) {
        saved->capacity = saved->capacity ? saved->capacity * 2 : 65536;
        saved->bytes = realloc(saved->bytes, saved->capacity);
    }
    saved->size_bytes += size_bytes;
    assert_true(saved->count < 4096);
    saved->ends[saved->count++] = saved->size_bytes;
    return saved->bytes + saved->size_bytes - size_bytes;
}

static void save_column(struct table_images *saved, const struct column *column, uint32_t rows) {
    if (column->dictionary) {
        uint32_t end = dictionary_count(column->dictionary);
        column_dictionary_image_write(column, 0, end, saved_grow(saved, column_dictionary_image_bytes(column, 0, end)));
    }
    for (size_t slab = 0; slab < column_image_count(column, rows); slab++)
        column_slab_image_write(column, slab, rows, saved_grow(saved, column_slab_image_bytes(column, slab, rows)));
}

void table_save(struct table_images *saved, const struct table *table) {
    size_t live_bytes = bitmap_words(table->row_count) * sizeof(uint64_t);
    uint8_t *live = saved_grow(saved, live_bytes);
    if (live_bytes) memcpy(live, table->live.words, live_bytes);
    for (size_t i = 0; i < table->column_count; i++)
        save_column(saved, table->columns[i], table->row_count);
    if (table->expiry) save_column(saved, table->expiry, table->row_count);
}

uint64_t table_digest(const struct table *table) {
    struct table_images saved = {0};
    table_save(&saved, table);
    uint64_t hash = hash_bytes_seeded(saved.bytes, saved.size_bytes, table->row_count + (uint64_t)saved.count);
    free(saved.bytes);
    return hash;
}

struct cursor {
    const struct table_images *saved;
    size_t next;
};

static const uint8_t *next_image(struct cursor *cursor, uint64_t *size_bytes) {
    size_t begin = cursor->next ? cursor->saved->ends[cursor->next - 1] : 0;
    *size_bytes = cursor->saved->ends[cursor->next++] - begin;
    return cursor->saved->bytes + begin;
}

static enum velta_status load_column(struct cursor *cursor, struct column *column, uint32_t rows,
                                     struct velta_error *error) {
    uint64_t size_bytes;
    enum velta_status status = VELTA_OK;
    if (column->dictionary) {
        const uint8_t *bytes = next_image(cursor, &size_bytes);
        status = column_dictionary_image_read(column, bytes, size_bytes, error);
    }
    for (size_t slab = 0; status == VELTA_OK && slab < column_image_count(column, rows); slab++) {
        const uint8_t *bytes = next_image(cursor, &size_bytes);
        status = column_slab_image_read(column, slab, rows, bytes, size_bytes, error);
    }
    return status;
}

enum velta_status table_load(const struct table_images *saved, struct memory *memory,
                             const struct velta_column *columns, size_t column_count, uint32_t rows, bool expiry,
                             struct table **out, struct velta_error *error) {
    struct cursor cursor = {saved, 0};
    uint64_t size_bytes;
    const uint8_t *bytes = next_image(&cursor, &size_bytes);
    enum velta_status status = table_create(memory, &simd_scalar, "t", columns, column_count, out, error);
    if (status != VELTA_OK) return status;
    status = table_begin_load(*out, rows, error);
    if (status == VELTA_OK) status = table_load_live(*out, bytes, size_bytes, error);
    for (size_t i = 0; status == VELTA_OK && i < column_count; i++)
        status = load_column(&cursor, (*out)->columns[i], rows, error);
    if (status == VELTA_OK && expiry) status = table_make_expiry(*out, error);
    if (status == VELTA_OK && expiry) status = load_column(&cursor, (*out)->expiry, rows, error);
    if (status == VELTA_OK) status = table_finish_load(*out, error);
    if (status != VELTA_OK) table_destroy(*out);
    return status;
}
