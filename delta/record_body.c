/*
 * Streams <-> the body of a frame.
 *
 * Floats are turned left by one bit first, so that the sign comes last and the first byte is exponent alone (all of it
 * for f32), then split into byte planes: exponents of nearby magnitudes have few values, in no order, which the prefix
 * code (plane_code.h) shrinks; mantissas are noise and stay as they are. Every block, a stream or a plane, is kept in
 * the smallest of three forms: raw, LZ4, coded.
 */
#include <lz4.h>

#include "core/bytes.h"
#include "core/error.h"
#include "delta/plane_code.h"
#include "delta/record_streams.h"

/* Per block: size and stored size as varints, method. */
enum { BLOCK_OVERHEAD_BYTES = 12, BLOCK_MIN_BYTES = 24, SAMPLE_BYTES = 4096 };

size_t record_body_bound(const struct record_buffer *buffer) {
    size_t bytes = 1;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        bytes += buffer->streams[i].size_bytes + (record_stream_width(i) + 1) * BLOCK_OVERHEAD_BYTES;
    }
    return bytes;
}

/* ---- planes. Loops of fixed width, so that the compiler makes vectors of them. */

static void split_f16(const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bytes_get_u16(in + 2 * i);
        uint32_t turned = bits << 1 | bits >> 15;
        out[i] = (uint8_t)turned;
        out[n + i] = (uint8_t)(turned >> 8);
    }
}
static void split_f32(const uint8_t *in, size_t n, uint8_t *out) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        uint32_t turned[16];
        for (size_t k = 0; k < 16; k++) {
            uint32_t bits = bytes_get_u32(in + 4 * (i + k));
            turned[k] = bits << 1 | bits >> 31;
        }
        for (size_t plane = 0; plane < 4; plane++) {
            for (size_t k = 0; k < 16; k++) {
                out[plane * n + i + k] = (uint8_t)(turned[k] >> 8 * plane);
            }
        }
    }
    for (; i < n; i++) {
        uint32_t bits = bytes_get_u32(in + 4 * i);
        uint32_t turned = bits << 1 | bits >> 31;
        out[i] = (uint8_t)turned;
        out[n + i] = (uint8_t)(turned >> 8);
        out[2 * n + i] = (uint8_t)(turned >> 16);
        out[3 * n + i] = (uint8_t)(turned >> 24);
    }
}
static void split_f64(const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = bytes_get_u64(in + 8 * i);
        uint64_t turned = bits << 1 | bits >> 63;
        for (unsigned plane = 0; plane < 8; plane++) {
            out[plane * n + i] = (uint8_t)(turned >> (8 * plane));
        }
    }
}
static void join_f16(const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t turned = in[i] | (uint32_t)in[n + i] << 8;
        bytes_put_u16(out + 2 * i, (uint16_t)(turned >> 1 | turned << 15));
    }
}
static void join_f32(const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint32_t turned =
            in[i] | (uint32_t)in[n + i] << 8 | (uint32_t)in[2 * n + i] << 16 | (uint32_t)in[3 * n + i] << 24;
        bytes_put_u32(out + 4 * i, turned >> 1 | turned << 31);
    }
}
static void join_f64(const uint8_t *in, size_t n, uint8_t *out) {
    for (size_t i = 0; i < n; i++) {
        uint64_t turned = 0;
        for (unsigned plane = 0; plane < 8; plane++) {
            turned |= (uint64_t)in[plane * n + i] << (8 * plane);
        }
        bytes_put_u64(out + 8 * i, turned >> 1 | turned << 63);
    }
}

/* ---- blocks */

/*
 * LZ4's size of the block if it is below `limit`, else 0. LZ4 is slow on bytes that are uneven but do not repeat, so a
 * large block is judged by its sample first.
 */
static uint64_t block_lz4(const uint8_t *bytes, size_t size_bytes, uint8_t *out, uint64_t limit) {
    if (size_bytes >= 4 * SAMPLE_BYTES) {
        int sample = LZ4_compress_default((const char *)bytes + size_bytes / 2, (char *)out, SAMPLE_BYTES,
                                          (int)(limit < SAMPLE_BYTES ? limit : SAMPLE_BYTES));
        if (sample <= 0 || (uint64_t)sample * size_bytes > limit * SAMPLE_BYTES) return 0;
    }
    int stored = LZ4_compress_default((const char *)bytes, (char *)out, (int)size_bytes, (int)limit);
    return stored > 0 ? (uint64_t)stored : 0;
}

/*
 * Whether a sample is so even that no prefix code makes it shorter than 31/32. Most are told by their collision
 * entropy, -log2 of the sum of squared shares: it is at most Shannon's, and that at most the bits a byte of any prefix
 * code.
 */
static bool sample_is_even(const uint32_t counts[256]) {
    const uint32_t most = 77935; /* SAMPLE_BYTES squared / 2 to the power of 8 * 31/32 */
    struct plane_code code;
    uint32_t squares = 0;
    for (int value = 0; value < 256; value++) {
        squares += counts[value] * counts[value];
    }
    return squares <= most || plane_code_make(&code, counts) >= SAMPLE_BYTES - SAMPLE_BYTES / 32;
}

/* A large block of which a sample from the middle can neither be coded nor compressed. `out` is scratch. */
static bool block_is_noise(const uint8_t *bytes, size_t size_bytes, uint8_t *out) {
    uint32_t counts[256];
    if (size_bytes < 4 * SAMPLE_BYTES) return false;
    plane_count(bytes + size_bytes / 2, SAMPLE_BYTES, counts);
    return sample_is_even(counts) && LZ4_compress_default((const char *)bytes + size_bytes / 2, (char *)out,
                                                          SAMPLE_BYTES, SAMPLE_BYTES - SAMPLE_BYTES / 32) == 0;
}

/* method, then (unless raw) the stored size, then the bytes. Returns the bytes written. */
static size_t block_write(const uint8_t *bytes, size_t size_bytes, uint8_t *out) {
    uint8_t *at = out + 1;
    out[0] = RECORD_RAW;
    if (size_bytes >= BLOCK_MIN_BYTES && !block_is_noise(bytes, size_bytes, at)) {
        struct plane_code code;
        uint32_t counts[256];
        size_t head = 1 + bytes_varint_size(size_bytes); /* the stored size is smaller, so its varint fits */
        plane_count(bytes, size_bytes, counts);
        uint64_t coded = plane_code_make(&code, counts);
        uint64_t lz4 = block_lz4(bytes, size_bytes, out + head, coded < size_bytes - head ? coded : size_bytes - head);
        if (lz4 > 0) {
            out[0] = RECORD_LZ4;
            at += bytes_put_varint(at, lz4);
            memmove(at, out + head, (size_t)lz4);
            return (size_t)(at - out) + (size_t)lz4;
        }
        if (coded + head < size_bytes) {
            out[0] = RECORD_CODED;
            at += bytes_put_varint(at, coded);
            plane_encode(&code, bytes, size_bytes, at);
            return (size_t)(at - out) + (size_t)coded;
        }
    }
    memcpy(at, bytes, size_bytes);
    return 1 + size_bytes;
}

static enum velta_status body_fail(size_t offset, const char *what, struct velta_error *error) {
    return velta_fail(error, VELTA_CORRUPT, offset, "a frame's body is damaged: %s", what);
}

/* One block's place in a body. */
struct block {
    const uint8_t *bytes;
    uint64_t stored;
    unsigned method;
};

/* Finds a block of `size_bytes` at *at, checks its sizes and moves *at behind it. */
static enum velta_status block_find(const uint8_t *body, const uint8_t **at, const uint8_t *end, uint64_t size_bytes,
                                    struct block *block, struct velta_error *error) {
    size_t offset = (size_t)(*at - body);
    if (*at == end) return body_fail(offset, "it ends too early", error);
    block->method = *(*at)++;
    block->stored = size_bytes;
    if (block->method != RECORD_RAW) {
        size_t length = bytes_get_varint(*at, end, &block->stored);
        if (length == 0 || block->method > RECORD_CODED) return body_fail(offset, "unknown form of a block", error);
        *at += length;
    }
    /* The most that a byte can become: 255 in LZ4, 8 when coded. */
    uint64_t growth = block->method == RECORD_LZ4 ? 255 : block->method == RECORD_CODED ? 8 : 1;
    if (block->stored > (uint64_t)(end - *at) || size_bytes > block->stored * growth) {
        return body_fail(offset, "a block's size is impossible", error);
    }
    block->bytes = *at;
    *at += block->stored;
    return VELTA_OK;
}

static bool block_decode(const struct block *block, uint8_t *out, size_t size_bytes) {
    switch (block->method) {
    case RECORD_RAW:
        memcpy(out, block->bytes, size_bytes);
        return true;
    case RECORD_LZ4:
        return LZ4_decompress_safe((const char *)block->bytes, (char *)out, (int)block->stored, (int)size_bytes) ==
               (int)size_bytes;
    default:
        return plane_decode(block->bytes, (size_t)block->stored, out, size_bytes);
    }
}

/* ---- bodies */

static enum velta_status planes_reserve(struct record_buffer *buffer, struct velta_error *error) {
    size_t needed = 1;
    for (unsigned i = STREAM_F32; i <= STREAM_F64; i++) {
        if (buffer->streams[i].size_bytes > needed) needed = buffer->streams[i].size_bytes;
    }
    return memory_grow_array(buffer->memory, (void **)&buffer->planes.bytes, &buffer->planes.capacity, needed, 1,
                             error);
}

enum velta_status record_body_write(struct record_buffer *buffer, void *out, size_t capacity, size_t *size_bytes,
                                    struct velta_error *error) {
    uint8_t *at = out;
    if (capacity < record_body_bound(buffer)) {
        return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the room is smaller than record_body_bound");
    }
    enum velta_status status = planes_reserve(buffer, error);
    if (status != VELTA_OK) return status;
    *at++ = RECORD_BODY_VERSION;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        const struct record_bytes *stream = &buffer->streams[i];
        unsigned width = record_stream_width(i);
        size_t n = stream->size_bytes / width;
        const uint8_t *planes = width == 1 ? stream->bytes : buffer->planes.bytes;
        at += bytes_put_varint(at, stream->size_bytes);
        if (n == 0) continue;
        if (width == 4) split_f32(stream->bytes, n, buffer->planes.bytes);
        if (width == 2) split_f16(stream->bytes, n, buffer->planes.bytes);
        if (width == 8) split_f64(stream->bytes, n, buffer->planes.bytes);
        for (unsigned plane = 0; plane < width; plane++) {
            at += block_write(planes + plane * n, n, at);
        }
    }
    *size_bytes = (size_t)(at - (uint8_t *)out);
    return VELTA_OK;
}

static enum velta_status stream_read(struct memory *memory, unsigned index, const uint8_t *body, const uint8_t **at,
                                     const uint8_t *end, struct record_bytes *stream, struct velta_error *error) {
    unsigned width = record_stream_width(index);
    uint64_t size_bytes;
    struct block blocks[8];
    size_t offset = (size_t)(*at - body);
    size_t length = bytes_get_varint(*at, end, &size_bytes);
    if (length == 0 || size_bytes > RECORD_MAX_BODY_BYTES || size_bytes % width != 0) {
        return body_fail(offset, "a stream's size is impossible", error);
    }
    *at += length;
    if (size_bytes == 0) return VELTA_OK;
    /* All sizes are checked before anything is allocated. */
    size_t n = (size_t)size_bytes / width;
    for (unsigned plane = 0; plane < width; plane++) {
        enum velta_status status = block_find(body, at, end, n, &blocks[plane], error);
        if (status != VELTA_OK) return status;
    }
    stream->bytes = memory_allocate(memory, (size_t)size_bytes);
    if (stream->bytes == NULL) return memory_fail(memory, error);
    stream->size_bytes = stream->capacity = (size_t)size_bytes;
    if (width == 1) {
        return block_decode(&blocks[0], stream->bytes, n) ? VELTA_OK : body_fail(offset, "a block", error);
    }
    uint8_t *planes = memory_allocate(memory, (size_t)size_bytes);
    if (planes == NULL) return memory_fail(memory, error);
    bool whole = true;
    for (unsigned plane = 0; plane < width && whole; plane++) {
        whole = block_decode(&blocks[plane], planes + plane * n, n);
    }
    if (width == 4) join_f32(planes, n, stream->bytes);
    if (width == 2) join_f16(planes, n, stream->bytes);
    if (width == 8) join_f64(planes, n, stream->bytes);
    memory_release(memory, planes, (size_t)size_bytes);
    return whole ? VELTA_OK : body_fail(offset, "a plane", error);
}

enum velta_status record_body_read(struct memory *memory, const uint8_t *body, size_t size_bytes,
                                   struct record_bytes streams[STREAM_COUNT], size_t offsets[STREAM_COUNT],
                                   struct velta_error *error) {
    const uint8_t *at = body;
    const uint8_t *end = body + size_bytes;
    enum velta_status status = VELTA_OK;
    memset(streams, 0, STREAM_COUNT * sizeof *streams);
    if (size_bytes == 0) return body_fail(0, "it is empty", error);
    if (*at++ != RECORD_BODY_VERSION) {
        return velta_fail(error, VELTA_VERSION, 0, "the frame needs a newer velta");
    }
    for (unsigned i = 0; i < STREAM_COUNT && status == VELTA_OK; i++) {
        offsets[i] = (size_t)(at - body);
        status = stream_read(memory, i, body, &at, end, &streams[i], error);
    }
    if (status == VELTA_OK && at != end) status = body_fail((size_t)(at - body), "bytes follow its end", error);
    if (status != VELTA_OK) {
        for (unsigned i = 0; i < STREAM_COUNT; i++) {
            memory_release(memory, streams[i].bytes, streams[i].capacity);
        }
        memset(streams, 0, STREAM_COUNT * sizeof *streams);
    }
    return status;
}
