/*
 * zstd's own decoder as a WebAssembly module of one function, for velta/parquet and velta/arrow.
 *
 * Its source (zstd of Debian's archive, .ci/fetch-source) is taken in whole, so that the linker keeps only what
 * one-shot unpacking needs. Nothing is allocated: the decoder's state is static, and the caller puts the packed bytes
 * and the room for the unpacked ones behind __heap_base, growing the memory where that is too small. Of the two forms
 * of each inner loop only the small one is kept, which costs no time here and saves a third of the module.
 *
 * A frame is unpacked straight into the caller's room: the window that it asks for reserves nothing, and what it says
 * of its size is a claim that the decoder compares with the room. Dictionaries are not known: a frame that names one
 * is refused.
 */
#define ZSTD_LEGACY_SUPPORT 0
#define ZSTD_STRIP_ERROR_STRINGS
#define ZSTD_TRACE 0
#define DEBUGLEVEL 0
#define XXH_NAMESPACE ZSTD_
#define HUF_FORCE_DECOMPRESS_X1
#define ZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT

#include <common/debug.c>
#include <common/entropy_common.c>
#include <common/error_private.c>
#include <common/fse_decompress.c>
#include <common/xxhash.c>
#include <common/zstd_common.c>
#include <decompress/huf_decompress.c>
#include <decompress/zstd_ddict.c>
#include <decompress/zstd_decompress.c>
#include <decompress/zstd_decompress_block.c>

/* What the decoder would call for a state that is not static. */
void *malloc(size_t size_bytes) {
    (void)size_bytes;
    return NULL;
}
void *calloc(size_t count, size_t size_bytes) {
    (void)count, (void)size_bytes;
    return NULL;
}
void free(void *memory) {
    (void)memory;
}

static _Alignas(16) unsigned char zstd_state[sizeof(ZSTD_DCtx)];

/*
 * Unpacks all frames of `packed` into `out`, which holds size_bytes; the two must not overlap. Gives how many bytes
 * came out, or a ZSTD_ErrorCode below 0.
 */
__attribute__((export_name("unpack"))) double unpack(const void *packed, size_t packed_bytes, void *out,
                                                     size_t size_bytes);
double unpack(const void *packed, size_t packed_bytes, void *out, size_t size_bytes) {
    ZSTD_DCtx *decoder = ZSTD_initStaticDCtx(zstd_state, sizeof zstd_state);
    size_t got = ZSTD_decompressDCtx(decoder, out, size_bytes, packed, packed_bytes);
    return ZSTD_isError(got) ? -(double)ZSTD_getErrorCode(got) : (double)got;
}
