/* A whole table as its images, in the order in which they are loaded; and one number for what a table holds. */
#ifndef VELTA_TESTS_TABLE_IMAGES_H
#define VELTA_TESTS_TABLE_IMAGES_H

#include "core/table.h"

/* Zero-initialise; the caller frees `bytes`. The first image is the live bitmap. */
struct table_images {
    uint8_t *bytes;
    size_t size_bytes;
    size_t capacity;
    size_t ends[4096]; /* of each image */
    size_t count;
};

void table_save(struct table_images *saved, const struct table *table);
/* Makes a table of the images. expiry: there are images of an expiry column, at the end. */
VELTA_MUST_USE enum velta_status table_load(const struct table_images *saved, struct memory *memory,
                                            const struct velta_column *columns, size_t column_count, uint32_t rows,
                                            bool expiry, struct table **out, struct velta_error *error);
/* Equal for tables whose images are equal. */
uint64_t table_digest(const struct table *table);

#endif
