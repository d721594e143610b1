/* See batch.h. Text keeps its absolute offsets in a slice, so its bytes are never copied there. */
#include "store/batch.h"

#include <string.h>

#include "core/bitmap.h"
#include "core/bytes.h"

static bool is_text(const struct velta_column *spec) {
    return spec->type == VELTA_STRING || spec->type == VELTA_BYTES;
}

/* Of checked values: without data only empty strings can be there, and they need bits that say so. */
static bool all_null(const struct velta_column *spec, const struct column_values *values) {
    return column_all_null(values) || (!values->data && !is_text(spec));
}

/* Bytes of one value; not for text. */
static size_t value_bytes(const struct velta_column *spec, const struct column_values *values) {
    switch (spec->type) {
    case VELTA_BOOL:
        return 1;
    case VELTA_VECTOR:
        return (size_t)spec->dimensions * (values->element == VELTA_F32 ? 4 : 2);
    default:
        return 8;
    }
}

void *batch_allocate(struct arena *arena, size_t count, size_t element_bytes, struct velta_error *error) {
    size_t size_bytes;
    if (!checked_multiply_size(count, element_bytes, &size_bytes)) {
        size_bytes = SIZE_MAX; /* no host has as much */
    }
    void *block = arena_allocate(arena, size_bytes > 0 ? size_bytes : 1);
    if (!block) {
        enum velta_status status = memory_fail(arena->memory, error);
        (void)status;
    }
    return block;
}

uint64_t batch_bytes(const struct velta_column *spec, const struct column_values *values, size_t first, size_t count) {
    if (all_null(spec, values)) {
        return 0;
    }
    if (is_text(spec)) {
        return values->offsets[first + count] - values->offsets[first];
    }
    return (uint64_t)count * value_bytes(spec, values);
}

enum velta_status batch_slice(struct arena *arena, const struct velta_column *spec, const struct column_values *values,
                              size_t first, size_t count, struct column_values *out, struct velta_error *error) {
    struct column_values slice = *values;
    if (values->offsets && is_text(spec)) {
        slice.offsets = values->offsets + first;
    } else if (values->data) {
        slice.data = (const char *)values->data + first * value_bytes(spec, values);
    }
    if (values->valid && first % 64 == 0) {
        slice.valid = values->valid + first / 64;
    } else if (values->valid) {
        size_t words = bitmap_words(count);
        uint64_t *valid = batch_allocate(arena, words, sizeof *valid, error);
        if (!valid) {
            return memory_refusal(arena->memory);
        }
        memset(valid, 0, words * sizeof *valid);
        for (size_t i = 0; i < count; i++) {
            if (bitmap_get(values->valid, first + i)) {
                bitmap_set(valid, i);
            }
        }
        slice.valid = valid;
    }
    *out = slice;
    return VELTA_OK;
}

static enum velta_status gather_text(struct arena *arena, const struct column_values *values, const uint32_t *chosen,
                                     size_t count, struct column_values *out, struct velta_error *error) {
    uint64_t *offsets = batch_allocate(arena, count + 1, sizeof *offsets, error);
    if (!offsets) {
        return memory_refusal(arena->memory);
    }
    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        offsets[i + 1] = offsets[i] + values->offsets[chosen[i] + 1] - values->offsets[chosen[i]];
    }
    char *bytes = batch_allocate(arena, (size_t)offsets[count], 1, error);
    if (!bytes) {
        return memory_refusal(arena->memory);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t size_bytes = offsets[i + 1] - offsets[i];
        if (size_bytes > 0) {
            memcpy(bytes + offsets[i], (const char *)values->data + values->offsets[chosen[i]], (size_t)size_bytes);
        }
    }
    out->data = bytes;
    out->offsets = offsets;
    return VELTA_OK;
}

enum velta_status batch_gather(struct arena *arena, const struct velta_column *spec, const struct column_values *values,
                               const uint32_t *chosen, size_t count, struct column_values *out,
                               struct velta_error *error) {
    *out = (struct column_values){.element = values->element};
    if (all_null(spec, values)) {
        return VELTA_OK;
    }
    if (is_text(spec)) {
        enum velta_status status = gather_text(arena, values, chosen, count, out, error);
        if (status) {
            return status;
        }
    } else {
        size_t size_bytes = value_bytes(spec, values);
        char *data = batch_allocate(arena, count, size_bytes, error);
        if (!data) {
            return memory_refusal(arena->memory);
        }
        for (size_t i = 0; i < count; i++) {
            memcpy(data + i * size_bytes, (const char *)values->data + chosen[i] * size_bytes, size_bytes);
        }
        out->data = data;
    }
    if (values->valid) {
        uint64_t *valid = batch_allocate(arena, bitmap_words(count), sizeof *valid, error);
        if (!valid) {
            return memory_refusal(arena->memory);
        }
        memset(valid, 0, bitmap_words(count) * sizeof *valid);
        for (size_t i = 0; i < count; i++) {
            if (bitmap_get(values->valid, chosen[i])) {
                bitmap_set(valid, i);
            }
        }
        out->valid = valid;
    }
    return VELTA_OK;
}
