/* Vector files: NumPy .npy (float16, float32) and .fvecs, mapped and validated whole; writing int32 .npy. */
#ifndef VELTA_CLI_VECTORS_H
#define VELTA_CLI_VECTORS_H

#include "cli/cli.h"

struct vectors {
    enum velta_element element; /* VELTA_F32 or VELTA_F16 */
    size_t count;
    uint32_t dimensions;
    const void *data; /* count x dimensions, row after row, aligned for its element */
    void *owned;      /* a copy where the file's own layout did not serve, else NULL */
    void *map;
    size_t map_bytes;
};

/* Prints its own failure, which names the file and the byte. */
int vectors_open(const char *path, struct vectors *out);
void vectors_close(struct vectors *vectors);
/* One row as f32. */
void vectors_row(const struct vectors *vectors, size_t row, float *out);
/* rows x columns int32, row after row, as .npy version 1.0. Written beside and renamed. Prints its own failure. */
int vectors_write_int32(const char *path, const int32_t *values, size_t rows, size_t columns);

#endif
