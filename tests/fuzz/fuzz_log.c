/* Any bytes as the log of a database, frame checksums made right: refused, or replayed into one that can be used. */
#include "tests/fuzz/fuzz.h"

#include "delta/storage_format.h"
#include "tests/support/fake_storage.h"

static void execute(void *context, const struct storage_operation *operation, struct storage_result *result) {
    fake_storage_execute(context, operation, result);
}
static void stay(void *context) {
    (void)context;
}

static struct velta_options options_over(struct velta_host *host, struct fake_storage *fake) {
    *host = (struct velta_host){.context = fake, .execute = execute, .close = stay};
    return (struct velta_options){.host = host,
                                  .memory_budget_bytes = FUZZ_BUDGET_BYTES,
                                  .checkpoint_bytes = UINT64_MAX,
                                  .now_ms = fuzz_clock,
                                  .thread_count = 1};
}

/* The chain of checksums; places as docs/FORMAT.md gives them. */
static void repair(uint8_t *bytes, size_t size_bytes) {
    enum { BODY_BYTES_AT = 4, PREVIOUS_AT = 40, BODY_CHECKSUM_AT = 48, CHECKSUM_AT = 56 };
    uint64_t previous = 0;
    for (size_t at = 0; size_bytes - at >= STORAGE_FRAME_HEADER_BYTES;) {
        uint8_t *frame = bytes + at;
        uint8_t *body = frame + STORAGE_FRAME_HEADER_BYTES;
        size_t body_bytes = bytes_get_u32(frame + BODY_BYTES_AT);
        size_t left = size_bytes - at - STORAGE_FRAME_HEADER_BYTES;
        if (body_bytes > left) {
            body_bytes = left;
            bytes_put_u32(frame + BODY_BYTES_AT, (uint32_t)left);
        }
        bytes_put_u64(frame + PREVIOUS_AT, previous);
        if (body_bytes > 0) bytes_put_u64(frame + BODY_CHECKSUM_AT, hash_bytes(body, body_bytes));
        previous = hash_bytes(frame, CHECKSUM_AT);
        bytes_put_u64(frame + CHECKSUM_AT, previous);
        at += STORAGE_FRAME_HEADER_BYTES + body_bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    uint8_t *bytes = malloc(size_bytes > 0 ? size_bytes : 1);
    assert_non_null(bytes);
    memcpy(bytes, data, size_bytes);
    repair(bytes, size_bytes);
    struct fake_storage fake;
    struct velta_host host;
    fake_storage_init(&fake);
    fake_storage_set(&fake, STORAGE_LOG, bytes, size_bytes);
    free(bytes);
    const struct velta_options options = options_over(&host, &fake);
    velta *db;
    if (!velta_open(NULL, &options, &db, NULL)) {
        fuzz_use(db);
        (void)velta_close(db, NULL);
    }
    fake_storage_release(&fake);
    return 0;
}

static uint8_t *base;
static size_t base_bytes;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed) {
    if (base == NULL) {
        struct fake_storage fake;
        struct velta_host host;
        velta_table *table;
        fake_storage_init(&fake);
        struct velta_options options = options_over(&host, &fake);
        velta *db = sample_open(&options, NULL, &table);
        fuzz_live(db, table);
        struct velta_error error;
        assert_ok(velta_close(db, &error), &error);
        base_bytes = (size_t)fake.now[STORAGE_LOG].size_bytes;
        base = malloc(base_bytes);
        assert_non_null(base);
        memcpy(base, fake.now[STORAGE_LOG].bytes, base_bytes);
        fake_storage_release(&fake);
    }
    return fuzz_mutate(data, size_bytes, max_bytes, seed, base, base_bytes);
}
