/* Columns as bytes. The formats are in core/column_image.h. */
#include "core/column_image.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/column_slab.h"
#include "core/error.h"
#include "core/utf8.h"

enum { HEADER_BYTES = 64, HAS_VALUES = 1, HAS_VALIDITY = 2 };

struct shape {
    uint32_t rows;
    uint8_t width;
    uint8_t flags;
    size_t value_bytes;    /* not padded */
    size_t validity_bytes; /* the same */
    size_t total_bytes;
};

static size_t padded(size_t size_bytes) {
    return (size_t)bytes_align_up(size_bytes, COLUMN_IMAGE_ALIGNMENT);
}

static void find_sizes(const struct column *column, struct shape *shape) {
    shape->value_bytes = shape->flags & HAS_VALUES ? column_value_bytes(column, shape->rows, shape->width) : 0;
    shape->validity_bytes = shape->flags & HAS_VALIDITY ? bitmap_words(shape->rows) * sizeof(uint64_t) : 0;
    shape->total_bytes = HEADER_BYTES + padded(shape->value_bytes) + padded(shape->validity_bytes);
}

/* The bits of the last word of n bits. */
static uint64_t last_word_mask(uint32_t n) {
    return n % 64 ? (UINT64_C(1) << (n % 64)) - 1 : UINT64_MAX;
}

static uint32_t count_valid(const uint64_t *valid, uint32_t rows) {
    uint32_t count = 0;
    size_t words = bitmap_words(rows);
    for (size_t i = 0; i < words; i++) {
        count += (uint32_t)__builtin_popcountll(valid[i] & (i + 1 == words ? last_word_mask(rows) : UINT64_MAX));
    }
    return count;
}

static uint8_t narrowest_width(const struct column_slab *slab, uint32_t rows) {
    int64_t min = 0;
    int64_t max = 0;
    if (slab->width == 1) {
        return 1;
    }
    for (uint32_t i = 0; i < rows; i++) {
        int64_t value = column_slab_integer(slab, i);
        min = value < min ? value : min;
        max = value > max ? value : max;
    }
    return column_width_of(min, max);
}

static struct shape shape_of(const struct column *column, size_t index, uint32_t row_count) {
    const struct column_slab *slab = &column->slabs[index];
    struct shape shape = {.rows = column_slab_rows(column, index, row_count)};
    uint32_t valid_count = slab->valid ? count_valid(slab->valid, shape.rows) : shape.rows;
    assert(shape.rows > 0);
    if (valid_count < shape.rows) {
        shape.flags |= HAS_VALIDITY;
    }
    if (column->spec.type == VELTA_VECTOR) {
        shape.flags |= column_has_rows(column) && valid_count > 0 ? HAS_VALUES : 0;
    } else {
        shape.flags |= HAS_VALUES;
    }
    if (column->spec.type == VELTA_FLOAT) {
        shape.width = sizeof(double);
    } else if (column_is_integer(column)) {
        shape.width = narrowest_width(slab, shape.rows);
    }
    find_sizes(column, &shape);
    return shape;
}

size_t column_image_count(const struct column *column, uint32_t row_count) {
    return column_slabs_of(column, row_count);
}

size_t column_slab_image_bytes(const struct column *column, size_t slab, uint32_t row_count) {
    return shape_of(column, slab, row_count).total_bytes;
}

static void write_integers(const struct column_slab *slab, const struct shape *shape, uint8_t *to) {
    if (slab->width == shape->width) {
        memcpy(to, slab->values, shape->value_bytes);
        return;
    }
    for (uint32_t i = 0; i < shape->rows; i++) {
        int64_t value = column_slab_integer(slab, i);
        memcpy(to + (size_t)i * shape->width, &value, shape->width); /* little-endian: the low bytes */
    }
}

void column_slab_image_write(const struct column *column, size_t index, uint32_t row_count, void *out) {
    const struct column_slab *slab = &column->slabs[index];
    struct shape shape = shape_of(column, index, row_count);
    uint8_t *to = out;
    memset(to, 0, HEADER_BYTES); /* what follows is written once: a whole image is many of these */
    to[0] = shape.width;
    to[1] = shape.flags;
    bytes_put_u32(to + 4, shape.rows);
    if (shape.flags & HAS_VALUES) {
        /* rows at the end that are NULL may be beyond what the slab has room for */
        size_t had_bytes = column_value_bytes(column, slab->capacity_rows, shape.width);
        size_t written_bytes = shape.value_bytes;
        if (column_is_integer(column)) {
            write_integers(slab, &shape, to + HEADER_BYTES);
        } else {
            written_bytes = had_bytes < written_bytes ? had_bytes : written_bytes;
            memcpy(to + HEADER_BYTES, slab->values, written_bytes);
        }
        memset(to + HEADER_BYTES + written_bytes, 0, padded(shape.value_bytes) - written_bytes);
        if (column->spec.type == VELTA_BOOL) {
            uint8_t *last = to + HEADER_BYTES + shape.value_bytes - sizeof(uint64_t);
            bytes_put_u64(last, bytes_get_u64(last) & last_word_mask(shape.rows));
        }
    }
    if (shape.flags & HAS_VALIDITY) {
        uint8_t *validity = to + HEADER_BYTES + padded(shape.value_bytes);
        uint8_t *last = validity + shape.validity_bytes - sizeof(uint64_t);
        memcpy(validity, slab->valid, shape.validity_bytes);
        memset(validity + shape.validity_bytes, 0, padded(shape.validity_bytes) - shape.validity_bytes);
        bytes_put_u64(last, bytes_get_u64(last) & last_word_mask(shape.rows));
    }
}

/* ---- reading */

static enum velta_status corrupt(const struct column *column, struct velta_error *error, uint64_t offset,
                                 const char *what) {
    return velta_fail(error, VELTA_CORRUPT, offset, "column %s: %s", column->spec.name, what);
}

/* Offset of the first byte in bytes[from..to) that is not 0; `to` when all are. */
static size_t first_nonzero(const uint8_t *bytes, size_t from, size_t to) {
    while (from < to && bytes[from] == 0) {
        from++;
    }
    return from;
}

static enum velta_status read_shape(const struct column *column, uint32_t rows, const uint8_t *bytes,
                                    uint64_t size_bytes, struct shape *shape, struct velta_error *error) {
    bool integer = column_is_integer(column);
    bool vector = column->spec.type == VELTA_VECTOR;
    size_t nonzero;
    if (size_bytes < HEADER_BYTES) {
        return corrupt(column, error, size_bytes, "a slab ends inside its header");
    }
    shape->rows = rows;
    shape->width = bytes[0];
    shape->flags = bytes[1];
    if (integer ? shape->width != 1 && shape->width != 2 && shape->width != 4 && shape->width != 8
                : shape->width != (column->spec.type == VELTA_FLOAT ? sizeof(double) : 0)) {
        return corrupt(column, error, 0, "a slab's width is not one of its type");
    }
    if (shape->flags > (HAS_VALUES | HAS_VALIDITY) || (!vector && !(shape->flags & HAS_VALUES)) ||
        (column_is_codes_only(column) && (shape->flags & HAS_VALUES)) ||
        (column_has_rows(column) && shape->flags == 0) || (column->spec.required && (shape->flags & HAS_VALIDITY))) {
        return corrupt(column, error, 1, "a slab's flags are not possible for its type");
    }
    if (bytes_get_u32(bytes + 4) != rows) {
        return corrupt(column, error, 4, "a slab's number of rows is wrong");
    }
    nonzero = first_nonzero(bytes, 8, HEADER_BYTES);
    if (bytes_get_u16(bytes + 2) != 0 || nonzero < HEADER_BYTES) {
        return corrupt(column, error, bytes_get_u16(bytes + 2) ? 2 : nonzero, "a slab's header has unknown content");
    }
    find_sizes(column, shape);
    if (shape->total_bytes != size_bytes) {
        return corrupt(column, error, size_bytes, "a slab's size is not that of its rows");
    }
    return VELTA_OK;
}

static enum velta_status check_padding(const struct column *column, const struct shape *shape, const uint8_t *bytes,
                                       struct velta_error *error) {
    size_t values_end = HEADER_BYTES + padded(shape->value_bytes);
    size_t nonzero = first_nonzero(bytes, HEADER_BYTES + shape->value_bytes, values_end);
    if (nonzero < values_end) {
        return corrupt(column, error, nonzero, "the padding after a slab's values is not zero");
    }
    nonzero = first_nonzero(bytes, values_end + shape->validity_bytes, shape->total_bytes);
    if (nonzero < shape->total_bytes) {
        return corrupt(column, error, nonzero, "the padding after a slab's validity is not zero");
    }
    return VELTA_OK;
}

/* Validity: bits from n on are 0, there is a NULL, and where there are no values all are. */
static enum velta_status check_validity(const struct column *column, const struct shape *shape, const uint64_t *valid,
                                        struct velta_error *error) {
    size_t offset = HEADER_BYTES + padded(shape->value_bytes);
    size_t words = bitmap_words(shape->rows);
    uint32_t count;
    if (!(shape->flags & HAS_VALIDITY)) {
        return VELTA_OK;
    }
    if (valid[words - 1] & ~last_word_mask(shape->rows)) {
        return corrupt(column, error, offset + (words - 1) * sizeof *valid, "validity bits exist for rows that do not");
    }
    count = count_valid(valid, shape->rows);
    if (count == shape->rows || (column_has_rows(column) && (count > 0) != ((shape->flags & HAS_VALUES) != 0))) {
        return corrupt(column, error, offset, "validity does not fit the slab's flags");
    }
    return VELTA_OK;
}

/* Bytes first..first + size of the values are zero. */
static bool is_zero(const void *values, size_t first, size_t size_bytes) {
    return first_nonzero(values, first, first + size_bytes) == first + size_bytes;
}

static bool vector_is_good(const struct column *column, const char *row) {
    size_t dimensions = column->spec.dimensions;
    size_t element_bytes = column->spec.element == VELTA_F16 ? sizeof(uint16_t) : sizeof(float);
    if (!is_zero(row, dimensions * element_bytes, column->row_stride - dimensions * element_bytes)) {
        return false;
    }
    if (column->spec.element == VELTA_F32) {
        return column->simd->all_finite_f32((const float *)(const void *)row, dimensions);
    }
    for (size_t i = 0; i < dimensions; i++) {
        if ((bytes_get_u16(row + i * sizeof(uint16_t)) & 0x7C00) == 0x7C00) {
            return false;
        }
    }
    return true;
}

/* Whether the value of row i is one that this column can hold. */
static bool value_is_good(const struct column *column, const struct column_slab *slab, uint32_t i,
                          uint32_t entry_count) {
    bool is_null = slab->valid && !bitmap_get(slab->valid, i);
    switch (column->spec.type) {
    case VELTA_BOOL:
        return !is_null || !bitmap_get(slab->values, i);
    case VELTA_VECTOR: {
        const char *row = (const char *)slab->values + (size_t)i * column->row_stride;
        return is_null ? is_zero(row, 0, column->row_stride) : vector_is_good(column, row);
    }
    case VELTA_STRING:
    case VELTA_BYTES: {
        int64_t code = column_slab_integer(slab, i);
        return is_null ? code == 0 : code >= 0 && code < entry_count;
    }
    default:
        return !is_null || is_zero(slab->values, (size_t)i * slab->width, slab->width);
    }
}

static enum velta_status check_values(const struct column *column, const struct column_slab *slab,
                                      const struct shape *shape, struct velta_error *error) {
    uint32_t entry_count = column->dictionary ? dictionary_count(column->dictionary) : 0;
    bool any_is_good = (column->spec.type == VELTA_INT || column->spec.type == VELTA_TIMESTAMP ||
                        column->spec.type == VELTA_FLOAT || column->spec.type == VELTA_BOOL) &&
                       !slab->valid;
    if (!(shape->flags & HAS_VALUES)) {
        return VELTA_OK;
    }
    if (column->spec.type == VELTA_BOOL &&
        (((const uint64_t *)slab->values)[bitmap_words(shape->rows) - 1] & ~last_word_mask(shape->rows)) != 0) {
        return corrupt(column, error, HEADER_BYTES + shape->value_bytes - sizeof(uint64_t),
                       "bits exist for rows that do not");
    }
    if (column_is_integer(column) && narrowest_width(slab, shape->rows) != shape->width) {
        return corrupt(column, error, 0, "a slab is wider than its values");
    }
    for (uint32_t i = 0; !any_is_good && i < shape->rows; i++) {
        if (!value_is_good(column, slab, i, entry_count)) {
            size_t value_bytes = column->spec.type == VELTA_VECTOR ? column->row_stride : shape->width;
            return corrupt(column, error, HEADER_BYTES + (value_bytes ? i * value_bytes : i / 8),
                           "a slab holds a value that the column cannot have");
        }
    }
    return VELTA_OK;
}

enum velta_status column_slab_image_read(struct column *column, size_t index, uint32_t row_count, const void *bytes,
                                         uint64_t size_bytes, struct velta_error *error) {
    struct shape shape = {0};
    struct column_slab *slab;
    enum velta_status status;
    if (index >= column_slabs_of(column, row_count)) {
        return corrupt(column, error, 0, "there is a slab for rows that do not exist");
    }
    if (index < column->slab_count && (column->slabs[index].values || column->slabs[index].valid)) {
        return corrupt(column, error, 0, "a slab is there twice");
    }
    status = read_shape(column, column_slab_rows(column, index, row_count), bytes, size_bytes, &shape, error);
    if (status == VELTA_OK) {
        status = check_padding(column, &shape, bytes, error);
    }
    if (status == VELTA_OK) {
        status = column_slab_reserve(column, index, shape.rows, shape.width, shape.flags & HAS_VALUES,
                                     shape.flags & HAS_VALIDITY, error);
    }
    if (status != VELTA_OK) {
        return status;
    }
    slab = &column->slabs[index];
    if (shape.flags & HAS_VALUES) {
        memcpy(slab->values, (const uint8_t *)bytes + HEADER_BYTES, shape.value_bytes);
    }
    if (shape.flags & HAS_VALIDITY) {
        memcpy(slab->valid, (const uint8_t *)bytes + HEADER_BYTES + padded(shape.value_bytes), shape.validity_bytes);
    }
    status = check_validity(column, &shape, slab->valid, error);
    return status == VELTA_OK ? check_values(column, slab, &shape, error) : status;
}

/* ---- dictionaries */

size_t column_dictionary_image_bytes(const struct column *column, uint32_t first, uint32_t end) {
    size_t text_bytes = 0;
    for (uint32_t code = first; code < end; code++) {
        size_t size_bytes;
        (void)dictionary_get(column->dictionary, code, &size_bytes);
        text_bytes += size_bytes;
    }
    return HEADER_BYTES + padded((end - first) * sizeof(uint32_t)) + padded(text_bytes);
}

void column_dictionary_image_write(const struct column *column, uint32_t first, uint32_t end, void *out) {
    uint8_t *header = out;
    uint8_t *lengths = header + HEADER_BYTES;
    uint8_t *text = lengths + padded((end - first) * sizeof(uint32_t));
    uint8_t *at = text;
    memset(header, 0, (size_t)(text - header));
    for (uint32_t code = first; code < end; code++) {
        size_t size_bytes;
        const void *entry = dictionary_get(column->dictionary, code, &size_bytes);
        bytes_put_u32(lengths + (code - first) * sizeof(uint32_t), (uint32_t)size_bytes);
        memcpy(at, entry, size_bytes);
        at += size_bytes;
    }
    bytes_put_u32(header, first);
    bytes_put_u32(header + 4, end - first);
    bytes_put_u64(header + 8, (uint64_t)(at - text));
    memset(at, 0, padded((size_t)(at - text)) - (size_t)(at - text));
}

static enum velta_status read_entries(struct column *column, const uint8_t *lengths, uint32_t count,
                                      const uint8_t *text, size_t text_bytes, size_t text_offset,
                                      struct velta_error *error) {
    struct dictionary *dictionary = column->dictionary;
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t size_bytes = bytes_get_u32(lengths + i * sizeof(uint32_t));
        uint32_t expected = dictionary_count(dictionary);
        uint32_t code;
        enum velta_status status;
        if (size_bytes > text_bytes - at || size_bytes > VELTA_MAX_VALUE_BYTES) {
            return corrupt(column, error, HEADER_BYTES + (uint64_t)i * sizeof(uint32_t),
                           "a dictionary entry is longer than its text");
        }
        if (column->spec.type == VELTA_STRING && !utf8_is_valid(text + at, size_bytes)) {
            return corrupt(column, error, text_offset + at, "a dictionary entry is not UTF-8");
        }
        status = dictionary_add(dictionary, text + at, size_bytes, &code, error);
        if (status != VELTA_OK) {
            return status;
        }
        if (code != expected) {
            return corrupt(column, error, text_offset + at, "a dictionary entry is there twice");
        }
        at += size_bytes;
    }
    if (at != text_bytes) {
        return corrupt(column, error, text_offset + at, "a dictionary has text that belongs to no entry");
    }
    return VELTA_OK;
}

enum velta_status column_dictionary_image_read(struct column *column, const void *image, uint64_t size_bytes,
                                               struct velta_error *error) {
    const uint8_t *bytes = image;
    uint64_t text_bytes;
    uint64_t text_offset;
    size_t nonzero;
    uint32_t count;
    enum velta_status status;
    if (size_bytes < HEADER_BYTES) {
        return corrupt(column, error, size_bytes, "a dictionary ends inside its header");
    }
    count = bytes_get_u32(bytes + 4);
    text_bytes = bytes_get_u64(bytes + 8);
    if (bytes_get_u32(bytes) != dictionary_count(column->dictionary)) {
        return corrupt(column, error, 0, "dictionary entries are missing");
    }
    nonzero = first_nonzero(bytes, 16, HEADER_BYTES);
    if (nonzero < HEADER_BYTES) {
        return corrupt(column, error, nonzero, "a dictionary's header has unknown content");
    }
    text_offset = HEADER_BYTES + bytes_align_up((uint64_t)count * sizeof(uint32_t), COLUMN_IMAGE_ALIGNMENT);
    if (text_offset > size_bytes || text_bytes > size_bytes - text_offset ||
        text_offset + bytes_align_up(text_bytes, COLUMN_IMAGE_ALIGNMENT) != size_bytes) {
        return corrupt(column, error, 4, "a dictionary's size is not that of its entries");
    }
    nonzero = first_nonzero(bytes, HEADER_BYTES + (size_t)count * sizeof(uint32_t), (size_t)text_offset);
    if (nonzero == text_offset) {
        nonzero = first_nonzero(bytes, (size_t)(text_offset + text_bytes), (size_t)size_bytes);
    }
    if (nonzero != size_bytes) {
        return corrupt(column, error, nonzero, "a dictionary's padding is not zero");
    }
    status = read_entries(column, bytes + HEADER_BYTES, count, bytes + text_offset, (size_t)text_bytes,
                          (size_t)text_offset, error);
    column->written_dictionary_count = dictionary_count(column->dictionary);
    column->last_dictionary_count = column->written_dictionary_count;
    return status;
}
