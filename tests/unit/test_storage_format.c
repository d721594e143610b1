/*
 * Roots, directories and frames whose checksums are right and of which one field is wrong: what each decoder says.
 * Offsets and sizes are those of docs/FORMAT.md.
 */
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "delta/storage_format.h"
#include "tests/support/support.h"

/* One field of `width` bytes set to a value. */
struct field {
    size_t at;
    unsigned width;
    uint64_t value;
    int expected;
};

static void set_field(uint8_t *bytes, const struct field *field) {
    for (unsigned i = 0; i < field->width; i++)
        bytes[field->at + i] = (uint8_t)(field->value >> 8 * i);
}

static void roots(void **state) {
    (void)state;
    static const struct field fields[] = {
        {8, 4, STORAGE_VERSION, STORAGE_ROOT_VALID},
        {8, 4, STORAGE_VERSION + 1, STORAGE_ROOT_NEWER},
        {8, 4, 0, STORAGE_ROOT_NEWER},
        {12, 4, STORAGE_ROOT_PACKED, STORAGE_ROOT_VALID},
        {12, 4, 2, STORAGE_ROOT_NEWER},
        {16, 8, 0, STORAGE_ROOT_INVALID},
        {16, 8, 2, STORAGE_ROOT_INVALID}, /* of the other slot */
        {16, 8, 5, STORAGE_ROOT_VALID},
        {32, 8, STORAGE_EXTENTS_START + 1, STORAGE_ROOT_INVALID},
        {32, 8, 0, STORAGE_ROOT_INVALID},
        {32, 8, 1 << 20, STORAGE_ROOT_INVALID},
        {32, 8, UINT64_MAX - 63, STORAGE_ROOT_INVALID},
        {40, 8, 1, STORAGE_ROOT_INVALID},
        {40, 8, 0, STORAGE_ROOT_VALID},
        {40, 8, UINT64_MAX / STORAGE_DIRECTORY_ENTRY_BYTES * STORAGE_DIRECTORY_ENTRY_BYTES, STORAGE_ROOT_INVALID},
        {56, 8, STORAGE_EXTENTS_START + 79, STORAGE_ROOT_INVALID},
        {56, 8, STORAGE_EXTENTS_START + 80, STORAGE_ROOT_VALID},
        {112, 1, 1, STORAGE_ROOT_INVALID},
        {STORAGE_ROOT_BYTES - 9, 1, 1, STORAGE_ROOT_INVALID},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct storage_root root = {.generation = 1,
                                    .directory_offset = STORAGE_EXTENTS_START,
                                    .directory_bytes = 2 * STORAGE_DIRECTORY_ENTRY_BYTES,
                                    .data_end = 1 << 20};
        uint8_t bytes[STORAGE_ROOT_BYTES];
        struct storage_root back;
        storage_root_encode(&root, bytes);
        assert_int_equal(storage_root_decode(bytes, 0, &back), STORAGE_ROOT_VALID);
        assert_int_equal(storage_root_decode(bytes, 1, &back), STORAGE_ROOT_INVALID);
        set_field(bytes, &fields[i]);
        if (fields[i].expected != STORAGE_ROOT_VALID)
            assert_int_equal(storage_root_decode(bytes, 0, &back), STORAGE_ROOT_INVALID); /* the checksum */
        bytes_put_u64(bytes + STORAGE_ROOT_BYTES - 8, hash_bytes(bytes, STORAGE_ROOT_BYTES - 8));
        if ((int)storage_root_decode(bytes, 0, &back) != fields[i].expected) fail_msg("root's field %zu", i);
        bytes[0] ^= 1; /* the magic, checksummed well */
        bytes_put_u64(bytes + STORAGE_ROOT_BYTES - 8, hash_bytes(bytes, STORAGE_ROOT_BYTES - 8));
        assert_int_equal(storage_root_decode(bytes, 0, &back), STORAGE_ROOT_INVALID);
    }
}

/* Fields of the second of two entries. */
static void directories(void **state) {
    (void)state;
    enum { ENTRY = STORAGE_DIRECTORY_ENTRY_BYTES, KEYS = 1, EXTENT };
    static const struct field fields[] = {
        {ENTRY, 4, 2, 0},
        {ENTRY, 4, 0, KEYS},
        {ENTRY + 4, 4, 0, KEYS},
        {ENTRY + 8, 4, 0, KEYS},
        {ENTRY + 12, 4, 1, KEYS}, /* the same key again */
        {ENTRY + 12, 4, 0, KEYS},
        {ENTRY + 16, 8, STORAGE_EXTENTS_START + 1, EXTENT},
        {ENTRY + 16, 8, 0, EXTENT},
        {ENTRY + 16, 8, UINT64_MAX - 63, EXTENT},
        {ENTRY + 16, 8, 1 << 20, EXTENT},
        {ENTRY + 24, 8, UINT64_MAX, EXTENT},
        {ENTRY + 24, 8, SIZE_MAX / 2, EXTENT},
        {ENTRY + 24, 8, (1 << 20) - STORAGE_EXTENTS_START, 0},
        {ENTRY + 24, 8, (1 << 20) - STORAGE_EXTENTS_START + 1, EXTENT},
        {16, 8, STORAGE_EXTENTS_START + 64, 0},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct storage_root root = {.directory_offset = 4096, .data_end = 1 << 20};
        const struct segment two[2] = {
            {.key = {1, 1, 1, 1}, .offset = STORAGE_EXTENTS_START, .size_bytes = 100},
            {.key = {1, 1, 1, 2}, .offset = STORAGE_EXTENTS_START, .size_bytes = 100},
        };
        uint8_t bytes[2 * ENTRY];
        struct segment back[2];
        struct velta_error error = {VELTA_OK, 0, ""};
        storage_directory_encode(two, 2, bytes);
        set_field(bytes, &fields[i]);
        enum velta_status status = storage_directory_decode(bytes, &root, back, 2, &error);
        assert_int_equal(status, fields[i].expected ? VELTA_CORRUPT : VELTA_OK);
        if (status == VELTA_OK) continue;
        assert_int_equal(error.offset, 4096 + ENTRY);
        if (!strstr(error.text, fields[i].expected == KEYS ? "do not ascend" : "outside the file"))
            fail_msg("directory's field %zu: %s", i, error.text);
    }
}

static void frames(void **state) {
    (void)state;
    static const struct field fields[] = {
        {4, 4, STORAGE_MAX_BODY_BYTES, true},
        {4, 4, (uint64_t)STORAGE_MAX_BODY_BYTES + 1, false},
        {12, 4, STORAGE_FRAME_COMMIT, true},
        {12, 4, 2, false},
        {0, 1, 'v', false},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct storage_frame frame = {.body_bytes = 10, .number = 3, .salt = 9}, back;
        uint8_t bytes[STORAGE_FRAME_HEADER_BYTES];
        storage_frame_encode(&frame, bytes);
        assert_true(storage_frame_decode(bytes, &back));
        assert_true(back.body_bytes == 10 && back.number == 3 && back.salt == 9 && back.checksum == frame.checksum);
        set_field(bytes, &fields[i]);
        assert_false(storage_frame_decode(bytes, &back)); /* the checksum */
        bytes_put_u64(bytes + STORAGE_FRAME_HEADER_BYTES - 8, hash_bytes(bytes, STORAGE_FRAME_HEADER_BYTES - 8));
        if (storage_frame_decode(bytes, &back) != (fields[i].expected != 0)) fail_msg("frame's field %zu", i);
    }
    assert_true(storage_log_salt(1, 0) != storage_log_salt(2, 0) && storage_log_salt(1, 0) != storage_log_salt(1, 1));
}

static void extents(void **state) {
    (void)state;
    struct storage_extent all[] = {{50, 60}, {0, 10}, {10, 20}, {5, 12}, {30, 40}, {30, 31}};
    assert_int_equal(storage_extents_merge(all, 0), 0);
    assert_int_equal(storage_extents_merge(all, 6), 3);
    assert_true(all[0].begin == 0 && all[0].end == 20 && all[1].begin == 30 && all[1].end == 40 && all[2].end == 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots),
        cmocka_unit_test(directories),
        cmocka_unit_test(frames),
        cmocka_unit_test(extents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
