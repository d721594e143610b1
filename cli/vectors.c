/*
 * Vector files.
 *
 * .npy: magic "\x93NUMPY", version, header length, and a Python dictionary literal with descr, fortran_order and shape
 * (numpy.lib.format). Taken: versions 1 to 3, '<f4' and '<f2', C order, one or two dimensions, and exactly as many
 * bytes as the shape says. .fvecs: per row an int32 with the dimensions, then that many float32. Files are mapped, not
 * read; rows of .fvecs and misaligned data are copied once.
 */
#define _POSIX_C_SOURCE 200809L /* open, mmap */

#include "cli/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_file(const char *path, struct vectors *out) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (file < 0 || fstat(file, &facts) != 0) {
        int code = cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
        if (file >= 0) {
            close(file);
        }
        return code;
    }
    if (!S_ISREG(facts.st_mode) || facts.st_size == 0) {
        close(file);
        return cli_fail(CLI_FAILED, "%s: not a file with vectors in it", path);
    }
    void *map = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (map == MAP_FAILED) {
        return cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
    }
    out->map = map;
    out->map_bytes = (size_t)facts.st_size;
    return CLI_OK;
}

/* The text after 'key': in the header's dictionary, or NULL. */
static const char *dictionary_value(const char *header, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at) {
        return NULL;
    }
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static bool parse_shape(const char *text, uint64_t shape[2], int *ranks) {
    *ranks = 0;
    if (*text++ != '(') {
        return false;
    }
    for (;;) {
        text += strspn(text, " ,");
        if (*text == ')') {
            return *ranks > 0;
        }
        char *end;
        errno = 0;
        shape[*ranks] = strtoull(text, &end, 10);
        if (end == text || errno || *text == '-' || ++*ranks > 2) {
            return false;
        }
        text = end;
        if (*ranks == 2) {
            text += strspn(text, " ,");
            return *text == ')';
        }
    }
}

/* Understands the header text; the data starts at `start`. */
static int npy_header(const char *path, const char *header, size_t start, struct vectors *out) {
    const char *kind = dictionary_value(header, "descr");
    const char *order = dictionary_value(header, "fortran_order");
    const char *shape_text = dictionary_value(header, "shape");
    uint64_t shape[2] = {0, 0};
    int ranks;
    if (!kind || !order || !shape_text || !parse_shape(shape_text, shape, &ranks)) {
        return cli_fail(CLI_FAILED, "%s: the .npy header cannot be read, or has more than two dimensions", path);
    }
    if (strncmp(kind, "'<f4'", 5) == 0) {
        out->element = VELTA_F32;
    } else if (strncmp(kind, "'<f2'", 5) == 0) {
        out->element = VELTA_F16;
    } else {
        return cli_fail(CLI_FAILED,
                        "%s: holds %.*s; float32 ('<f4') or float16 ('<f2') are read: convert it with astype", path,
                        (int)strcspn(kind, ","), kind);
    }
    if (strncmp(order, "False", 5) != 0) {
        return cli_fail(CLI_FAILED, "%s: is in Fortran order; save numpy.ascontiguousarray of it", path);
    }
    uint64_t rows = ranks == 1 ? 1 : shape[0];
    uint64_t dimensions = ranks == 1 ? shape[0] : shape[1];
    if (dimensions == 0 || dimensions > VELTA_MAX_DIMENSIONS) {
        return cli_fail(CLI_FAILED, "%s: rows have %llu dimensions; 1 to %d can be stored", path,
                        (unsigned long long)dimensions, VELTA_MAX_DIMENSIONS);
    }
    uint64_t row_bytes = dimensions * (out->element == VELTA_F32 ? 4 : 2);
    if (rows > (SIZE_MAX - start) / row_bytes || out->map_bytes - start != rows * row_bytes) {
        return cli_fail(CLI_FAILED,
                        "%s: the header promises %llu rows of %llu bytes from byte %zu, the file has %zu bytes", path,
                        (unsigned long long)rows, (unsigned long long)row_bytes, start, out->map_bytes);
    }
    out->count = (size_t)rows;
    out->dimensions = (uint32_t)dimensions;
    out->data = (const char *)out->map + start;
    if (start % 4 != 0) {
        out->owned = cli_allocate((size_t)(rows * row_bytes));
        memcpy(out->owned, out->data, (size_t)(rows * row_bytes));
        out->data = out->owned;
    }
    return CLI_OK;
}

static int open_npy(const char *path, struct vectors *out) {
    const unsigned char *bytes = out->map;
    if (out->map_bytes < 12) {
        return cli_fail(CLI_FAILED, "%s: ends at byte %zu, within the .npy header", path, out->map_bytes);
    }
    size_t length_bytes = bytes[6] == 1 ? 2 : 4;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (length_bytes == 4) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    size_t start = 8 + length_bytes + length;
    if (bytes[6] < 1 || bytes[6] > 3) {
        return cli_fail(CLI_FAILED, "%s: .npy version %d is not known", path, bytes[6]);
    }
    if (start > out->map_bytes) {
        return cli_fail(CLI_FAILED, "%s: ends at byte %zu, within the .npy header", path, out->map_bytes);
    }
    char *header = cli_copy((const char *)bytes + 8 + length_bytes, length);
    int code = npy_header(path, header, start, out);
    free(header);
    return code;
}

static int open_fvecs(const char *path, struct vectors *out) {
    const char *bytes = out->map;
    int32_t dimensions;
    if (out->map_bytes < 4) {
        return cli_fail(CLI_FAILED, "%s: ends at byte %zu, within the first row", path, out->map_bytes);
    }
    memcpy(&dimensions, bytes, 4);
    if (dimensions < 1 || dimensions > VELTA_MAX_DIMENSIONS) {
        return cli_fail(CLI_FAILED, "%s: row 0 has %d dimensions; 1 to %d can be stored", path, dimensions,
                        VELTA_MAX_DIMENSIONS);
    }
    size_t stride = 4 + 4 * (size_t)dimensions;
    if (out->map_bytes % stride != 0) {
        return cli_fail(CLI_FAILED, "%s: row %zu ends early, at byte %zu", path, out->map_bytes / stride,
                        out->map_bytes);
    }
    out->element = VELTA_F32;
    out->dimensions = (uint32_t)dimensions;
    out->count = out->map_bytes / stride;
    float *data = cli_allocate(out->count * 4 * (size_t)dimensions);
    out->owned = data;
    out->data = data;
    for (size_t row = 0; row < out->count; row++) {
        if (memcmp(bytes + row * stride, &dimensions, 4) != 0) {
            return cli_fail(CLI_FAILED, "%s: row %zu, at byte %zu, does not have %d dimensions like row 0", path, row,
                            row * stride, dimensions);
        }
        memcpy(data + row * (size_t)dimensions, bytes + row * stride + 4, 4 * (size_t)dimensions);
    }
    return CLI_OK;
}

int vectors_open(const char *path, struct vectors *out) {
    *out = (struct vectors){0};
    size_t length = strlen(path);
    int code = map_file(path, out);
    if (code != CLI_OK) {
        return code;
    }
    if (out->map_bytes >= 6 && memcmp(out->map, "\x93NUMPY", 6) == 0) {
        code = open_npy(path, out);
    } else if (length > 6 && strcmp(path + length - 6, ".fvecs") == 0) {
        code = open_fvecs(path, out);
    } else {
        code = cli_fail(CLI_FAILED, "%s: is neither a .npy file nor named .fvecs", path);
    }
    if (code != CLI_OK) {
        vectors_close(out);
    }
    return code;
}

void vectors_close(struct vectors *vectors) {
    free(vectors->owned);
    if (vectors->map) {
        munmap(vectors->map, vectors->map_bytes);
    }
    *vectors = (struct vectors){0};
}

/* IEEE 754 binary16 to binary32, exactly: the exponent is moved by a multiplication that also serves subnormals. */
static float half_to_float(uint16_t half) {
    uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112F;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((half & 0x7C00) == 0x7C00) {
        bits |= 0x7F800000;
    }
    bits |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void vectors_row(const struct vectors *vectors, size_t row, float *out) {
    size_t first = row * vectors->dimensions;
    if (vectors->element == VELTA_F32) {
        memcpy(out, (const float *)vectors->data + first, vectors->dimensions * sizeof *out);
        return;
    }
    for (uint32_t i = 0; i < vectors->dimensions; i++) {
        out[i] = half_to_float(((const uint16_t *)vectors->data)[first + i]);
    }
}

int vectors_write_int32(const char *path, const int32_t *values, size_t rows, size_t columns) {
    char header[128];
    char text[96];
    int length =
        snprintf(text, sizeof text, "{'descr': '<i4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, columns);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 118 bytes of header text: data starts at byte 128 */
    memcpy(header + 10, text, (size_t)length);
    header[127] = '\n';
    size_t path_bytes = strlen(path);
    char *beside = cli_allocate(path_bytes + 5);
    memcpy(beside, path, path_bytes);
    memcpy(beside + path_bytes, ".tmp", 5);
    FILE *file = fopen(beside, "wb");
    bool written = file && fwrite(header, sizeof header, 1, file) == 1 &&
                   fwrite(values, sizeof *values, rows * columns, file) == rows * columns;
    written = file && fclose(file) == 0 && written && rename(beside, path) == 0;
    int code = written ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", path, strerror(errno));
    if (!written) {
        remove(beside);
    }
    free(beside);
    return code;
}
