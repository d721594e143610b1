/*
 * Any bytes as the log of a database, frame checksums made right: refused, or replayed into one that can be used.
 *
 * DATA is that of the life whose log is the first input: the checkpoint of an empty store.
 */
#include "tests/fuzz/fuzz.h"

#include "delta/storage_format.h"

static struct fake_storage life;

static void make_life(void) {
    if (life.now[STORAGE_LOG].size_bytes == 0) fuzz_live_files(&life);
    fuzz_demand(life.now[STORAGE_LOG].size_bytes > 4096);
}

/* What says to which log a frame belongs, and the chain of checksums; places as docs/FORMAT.md gives them. */
static void repair(uint8_t *bytes, size_t size_bytes) {
    enum { BODY_BYTES_AT = 4, NUMBER_AT = 8, GENERATION_AT = 16, SYNCED_AT = 32 };
    enum { PREVIOUS_AT = 40, BODY_CHECKSUM_AT = 48, CHECKSUM_AT = 56 };
    uint64_t previous = 0;
    uint32_t number = 0;
    for (size_t at = 0; size_bytes - at >= STORAGE_FRAME_HEADER_BYTES; number++) {
        uint8_t *frame = bytes + at;
        uint8_t *body = frame + STORAGE_FRAME_HEADER_BYTES;
        size_t body_bytes = number > 0 ? bytes_get_u32(frame + BODY_BYTES_AT) : 0;
        size_t left = size_bytes - at - STORAGE_FRAME_HEADER_BYTES;
        if (body_bytes > left) body_bytes = left;
        memcpy(frame, life.now[STORAGE_LOG].bytes, BODY_BYTES_AT);
        bytes_put_u32(frame + BODY_BYTES_AT, (uint32_t)body_bytes);
        bytes_put_u32(frame + NUMBER_AT, number);
        if (number == 0) bytes_put_u32(frame + NUMBER_AT + 4, STORAGE_FRAME_COMMIT);
        memcpy(frame + GENERATION_AT, life.now[STORAGE_LOG].bytes + GENERATION_AT, SYNCED_AT - GENERATION_AT);
        bytes_put_u64(frame + PREVIOUS_AT, previous);
        bytes_put_u64(frame + BODY_CHECKSUM_AT, hash_bytes(body, body_bytes));
        previous = hash_bytes(frame, CHECKSUM_AT);
        bytes_put_u64(frame + CHECKSUM_AT, previous);
        at += STORAGE_FRAME_HEADER_BYTES + body_bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    make_life();
    uint8_t *bytes = malloc(size_bytes > 0 ? size_bytes : 1);
    fuzz_demand(bytes != NULL);
    memcpy(bytes, data, size_bytes);
    repair(bytes, size_bytes);
    struct fake_storage fake;
    struct velta_host host;
    fake_storage_init(&fake);
    fake.keep_durable = false;
    fake_storage_set(&fake, STORAGE_DATA, life.now[STORAGE_DATA].bytes, life.now[STORAGE_DATA].size_bytes);
    fake_storage_set(&fake, STORAGE_LOG, bytes, size_bytes);
    free(bytes);
    const struct velta_options options = fuzz_options_over(&host, &fake);
    velta *db;
    if (!velta_open(NULL, &options, &db, NULL)) {
        fuzz_use(db);
        (void)velta_close(db, NULL);
    }
    fake_storage_release(&fake);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed) {
    make_life();
    return fuzz_mutate(data, size_bytes, max_bytes, seed, life.now[STORAGE_LOG].bytes,
                       (size_t)life.now[STORAGE_LOG].size_bytes);
}
