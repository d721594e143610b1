/*
 * Any bytes as an exported database, checksums made right: refused, or a database that can be used. The same bytes by
 * parts: the same database in the end, and one that can be used before its graphs are there.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/store_parts.h"

#include "delta/storage_format.h"

/* Places in a root, as docs/FORMAT.md gives them. */
enum { ROOT_DIRECTORY_OFFSET_AT = 32, ROOT_DIRECTORY_BYTES_AT = 40, ROOT_DIRECTORY_CHECKSUM_AT = 48 };

static void repair_root(uint8_t *bytes, size_t size_bytes, uint8_t *root) {
    uint64_t offset = bytes_get_u64(root + ROOT_DIRECTORY_OFFSET_AT);
    uint64_t directory_bytes = bytes_get_u64(root + ROOT_DIRECTORY_BYTES_AT);
    if (offset <= size_bytes && directory_bytes <= size_bytes - offset && offset >= STORAGE_EXTENTS_START) {
        for (uint64_t at = 0; at + STORAGE_DIRECTORY_ENTRY_BYTES <= directory_bytes;
             at += STORAGE_DIRECTORY_ENTRY_BYTES) {
            uint8_t *entry = bytes + offset + at;
            uint64_t begin = bytes_get_u64(entry + 16), length = bytes_get_u64(entry + 24);
            if (begin <= size_bytes && length <= size_bytes - begin)
                bytes_put_u64(entry + 32, hash_bytes(bytes + begin, (size_t)length));
        }
        bytes_put_u64(root + ROOT_DIRECTORY_CHECKSUM_AT, hash_bytes(bytes + offset, (size_t)directory_bytes));
    }
    bytes_put_u64(root + STORAGE_ROOT_BYTES - 8, hash_bytes(root, STORAGE_ROOT_BYTES - 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    uint8_t *bytes = malloc(size_bytes > 0 ? size_bytes : 1);
    assert_non_null(bytes);
    memcpy(bytes, data, size_bytes);
    if (size_bytes >= STORAGE_EXTENTS_START) {
        repair_root(bytes, size_bytes, bytes);
        repair_root(bytes, size_bytes, bytes); /* the directory may have been among the segments */
    }
    const struct velta_options options = {
        .memory_budget_bytes = FUZZ_BUDGET_BYTES, .now_ms = fuzz_clock, .thread_count = 1};
    velta *db, *parts;
    velta_snapshot *snapshot;
    bool whole = !velta_import(bytes, size_bytes, &options, &db, NULL);
    bool early = !parts_open(bytes, size_bytes, &options, &snapshot, &parts, NULL);
    if (early) {
        bool sound = !velta_verify(parts, NULL, NULL);
        bool all = !parts_attach(snapshot, bytes, NULL, NULL, NULL);
        velta_snapshot_close(snapshot);
        fuzz_demand(all == whole);
        /* What was sound without a graph is so with it, or without the one that was refused. */
        struct velta_error error;
        if (sound && !all) assert_ok(velta_verify(parts, NULL, &error), &error);
        if (whole) fuzz_demand(digest(parts) == digest(db));
        fuzz_use(parts);
        (void)velta_close(parts, NULL);
    }
    fuzz_demand(early || !whole);
    if (whole) {
        fuzz_use(db);
        (void)velta_close(db, NULL);
    }
    free(bytes);
    return 0;
}

static uint8_t *base;
static uint64_t base_bytes;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed) {
    if (base == NULL) {
        struct velta_options options = {.now_ms = fuzz_clock, .thread_count = 1};
        struct velta_error error;
        velta_table *table;
        velta *db = sample_open(&options, NULL, &table);
        fuzz_live(db, table);
        uint8_t *bytes;
        assert_ok(velta_export(db, &bytes, &base_bytes, NULL, &error), &error);
        base = malloc((size_t)base_bytes);
        assert_non_null(base);
        memcpy(base, bytes, (size_t)base_bytes);
        velta_export_free(db, bytes, base_bytes);
        assert_ok(velta_close(db, &error), &error);
    }
    return fuzz_mutate(data, size_bytes, max_bytes, seed, base, (size_t)base_bytes);
}
