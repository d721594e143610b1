/*
 * Columns as bytes: what a snapshot holds of a slab, of dictionary entries and of the live bitmap.
 *
 * Images are little-endian and say the same whatever the slab's capacity and width in memory: integers are written at
 * the narrowest width that holds the slab's values, validity only where a NULL is. Their parts are padded with zeros to
 * multiples of 64 bytes. `row_count` is the table's; a slab's share of it is its number of rows, n.
 *
 * Slab image:
 *    0  u8   width: bytes per integer or float (1, 2, 4, 8); 0 for bool and vectors
 *    1  u8   bit 0: has values; bit 1: has validity; else 0
 *    2  u16  0
 *    4  u32  n
 *    8       zeros
 *   64       values: n x width; bool: u64 words of bits; vectors: n x row_stride; absent for codes-only vectors and
 *            where every vector is NULL; zero under NULL
 *            validity: u64 words, bit i of word i / 64 set: row i is not NULL; bits from n on are 0
 *
 * Dictionary image, of entries first..first + n (a dictionary only grows, so a checkpoint may write the new ones):
 *    0  u32  first
 *    4  u32  n
 *    8  u64  bytes of text
 *   16       zeros
 *   64       u32 x n: length of each entry
 *            text of the entries, one after the other
 *
 * Reading takes hostile bytes: everything is validated (a width that is not the narrowest is refused too, so a column
 * has one image), damage is CORRUPT with error->offset = byte of the image, and
 * leaves the column fit only for destroying.
 */
#ifndef VELTA_CORE_COLUMN_IMAGE_H
#define VELTA_CORE_COLUMN_IMAGE_H

#include "core/table.h"

enum { COLUMN_IMAGE_ALIGNMENT = 64 };

/* Slabs that row_count rows take: parts 0.. of the column. */
size_t column_image_count(const struct column *column, uint32_t row_count);
size_t column_slab_image_bytes(const struct column *column, size_t slab, uint32_t row_count);
/* out: column_slab_image_bytes bytes. */
void column_slab_image_write(const struct column *column, size_t slab, uint32_t row_count, void *out);
/* Fills a slab of a column that has none yet. The dictionary must have been read before. */
VELTA_MUST_USE enum velta_status column_slab_image_read(struct column *column, size_t slab, uint32_t row_count,
                                                        const void *bytes, uint64_t size_bytes,
                                                        struct velta_error *error);

/* Entries first..end of a string or bytes column; end <= dictionary_count. */
size_t column_dictionary_image_bytes(const struct column *column, uint32_t first, uint32_t end);
void column_dictionary_image_write(const struct column *column, uint32_t first, uint32_t end, void *out);
/* Adds the image's entries, which must begin where the dictionary ends. */
VELTA_MUST_USE enum velta_status column_dictionary_image_read(struct column *column, const void *bytes,
                                                              uint64_t size_bytes, struct velta_error *error);

#endif
