/* The small parts of core: messages, UTF-8, numbers in bytes, hashes, bitmaps. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/bitmap.h"
#include "core/bytes.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/utf8.h"

/* ---- messages */

static void a_failure_carries_code_offset_and_text(void **state) {
    (void)state;
    struct velta_error error = {0};
    assert_int_equal(velta_fail(&error, VELTA_TYPE, 17, "column %s: %d", "size", -3), VELTA_TYPE);
    assert_int_equal(error.code, VELTA_TYPE);
    assert_int_equal(error.offset, 17);
    assert_string_equal(error.text, "column size: -3");
    assert_int_equal(velta_fail(NULL, VELTA_FULL, 0, "%s", "nobody listens"), VELTA_FULL);
}

static void text_is_always_one_printable_line(void **state) {
    (void)state;
    struct velta_error error;
    (void)velta_fail(&error, VELTA_TYPE, 0, "%s", "a\nb\x01\x7f\xff\xc3\xa9\xc3(\xed\xa0\x80");
    assert_string_equal(error.text, "a?b???\xc3\xa9?(???");
}

static void a_long_text_is_cut_at_a_character(void **state) {
    (void)state;
    for (unsigned lead = 0; lead < 5; lead++) {
        struct velta_error error;
        char text[600];
        memset(text, 'x', sizeof text);
        for (unsigned at = lead; at + 4 < sizeof text; at += 4)
            memcpy(text + at, "\xf0\x9f\x98\x80", 4);
        text[sizeof text - 1] = '\0';
        (void)velta_fail(&error, VELTA_TYPE, 0, "%s", text);
        size_t length = strlen(error.text);
        assert_in_range(length, sizeof error.text - 4, sizeof error.text - 1);
        assert_true(utf8_is_valid(error.text, length));
        assert_null(strchr(error.text, '?'));
    }
}

/* ---- UTF-8 */

static size_t encode(uint32_t point, uint8_t *out) {
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xC0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xE0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 63));
        out[2] = (uint8_t)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 63));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 63));
    out[3] = (uint8_t)(0x80 | (point & 63));
    return 4;
}

static void every_character_and_no_surrogate_is_utf8(void **state) {
    (void)state;
    for (uint32_t point = 0; point < 0x1FFFFF; point++) {
        uint8_t bytes[4];
        size_t size_bytes = encode(point, bytes);
        bool is_character = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
        if (utf8_step(bytes, size_bytes) != (is_character ? size_bytes : 0)) fail_msg("U+%04X", point);
        if (size_bytes > 1 && utf8_step(bytes, size_bytes - 1) != 0) fail_msg("U+%04X cut short", point);
    }
}

static void every_pair_of_bytes_is_judged(void **state) {
    (void)state;
    for (unsigned pair = 0; pair < 65536; pair++) {
        uint8_t bytes[2] = {(uint8_t)(pair >> 8), (uint8_t)pair};
        bool two = bytes[0] >= 0xC2 && bytes[0] <= 0xDF && (bytes[1] & 0xC0) == 0x80;
        bool ascii = bytes[0] < 0x80 && bytes[1] < 0x80;
        assert_int_equal(utf8_is_valid(bytes, 2), two || ascii);
    }
    static const char *const overlong[] = {"\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf"};
    for (unsigned i = 0; i < sizeof overlong / sizeof *overlong; i++)
        assert_false(utf8_is_valid(overlong[i], strlen(overlong[i])));
}

static void the_place_of_the_first_bad_byte_is_found(void **state) {
    (void)state;
    char text[64];
    for (unsigned at = 0; at < sizeof text; at++) {
        memset(text, 'a', sizeof text);
        assert_int_equal(utf8_valid_prefix(text, sizeof text), sizeof text);
        text[at] = '\x80';
        assert_int_equal(utf8_valid_prefix(text, sizeof text), at);
    }
    assert_true(utf8_is_valid(NULL, 0));
}

/* ---- numbers */

static void numbers_have_one_encoding(void **state) {
    (void)state;
    struct random random = random_seeded(1);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t value = random_u64(&random) >> random_below(&random, 64);
        uint8_t bytes[BYTES_MAX_VARINT];
        uint64_t back;
        if (i < 4) value = (const uint64_t[]){0, 127, 128, UINT64_MAX}[i];
        size_t size_bytes = bytes_put_varint(bytes, value);
        assert_int_equal(size_bytes, bytes_varint_size(value));
        assert_int_equal(bytes_get_varint(bytes, bytes + size_bytes, &back), size_bytes);
        assert_true(back == value);
        for (size_t cut = 0; cut < size_bytes; cut++)
            assert_int_equal(bytes_get_varint(bytes, bytes + cut, &back), 0);
        assert_true(bytes_unzigzag(bytes_zigzag((int64_t)value)) == (int64_t)value);
    }
    assert_true(bytes_zigzag(-1) == 1 && bytes_zigzag(1) == 2 && bytes_zigzag(INT64_MIN) == UINT64_MAX);
}

static void damaged_numbers_are_refused(void **state) {
    (void)state;
    static const uint8_t longer_than_needed[] = {0x80, 0x00};
    static const uint8_t over_64_bits[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02};
    static const uint8_t without_end[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
    uint64_t value;
    assert_int_equal(bytes_get_varint(longer_than_needed, longer_than_needed + 2, &value), 0);
    assert_int_equal(bytes_get_varint(over_64_bits, over_64_bits + 10, &value), 0);
    assert_int_equal(bytes_get_varint(without_end, without_end + 11, &value), 0);
}

static void fixed_numbers_are_little_endian(void **state) {
    (void)state;
    uint8_t bytes[9] = {0};
    bytes_put_u64(bytes + 1, UINT64_C(0x0807060504030201));
    for (unsigned i = 1; i < 9; i++)
        assert_int_equal(bytes[i], i);
    assert_int_equal(bytes_get_u16(bytes + 1), 0x0201);
    assert_int_equal(bytes_get_u32(bytes + 1), 0x04030201);
    assert_true(bytes_get_u64(bytes + 1) == UINT64_C(0x0807060504030201));
    bytes_put_u16(bytes, 0xBEEF);
    bytes_put_u32(bytes + 3, 0xDEADBEEF);
    assert_int_equal(bytes_get_u16(bytes), 0xBEEF);
    assert_int_equal(bytes_get_u32(bytes + 3), 0xDEADBEEF);
}

static void arithmetic_tells_when_it_overflows(void **state) {
    (void)state;
    size_t size;
    uint64_t number;
    assert_true(checked_add_size(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
    assert_false(checked_add_size(SIZE_MAX, 1, &size));
    assert_false(checked_multiply_size(SIZE_MAX / 2 + 1, 2, &size));
    assert_true(checked_multiply_size(3, 5, &size) && size == 15);
    assert_true(checked_add_u64(1, 2, &number) && number == 3);
    assert_false(checked_add_u64(UINT64_MAX, 1, &number));
    assert_false(checked_multiply_u64(UINT64_MAX, 2, &number));
    assert_true(checked_multiply_u64(6, 7, &number) && number == 42);
    assert_int_equal(bytes_align_up(0, 64), 0);
    assert_int_equal(bytes_align_up(65, 64), 128);
}

static void hashes_are_those_that_may_be_stored(void **state) {
    (void)state;
    /* XXH3-64 of nothing, from the specification of xxHash; SplitMix64 seeded 0 begins with this mix. */
    assert_true(hash_bytes("", 0) == UINT64_C(0x2D06800538D394C2));
    assert_true(hash_bytes("velta", 5) == hash_bytes_seeded("velta", 5, 0));
    assert_true(hash_bytes("velta", 5) != hash_bytes_seeded("velta", 5, 1));
    static uint8_t bytes[5000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * i >> 3);
    }
    for (size_t first = 0; first < sizeof bytes; first = 2 * first + 1) { /* in two parts as in one */
        struct hash_stream stream;
        hash_stream_begin(&stream);
        hash_stream_add(&stream, bytes, first);
        hash_stream_add(&stream, bytes + first, sizeof bytes - first);
        assert_true(hash_stream_value(&stream) == hash_bytes(bytes, sizeof bytes));
    }
    assert_true(hash_integer(UINT64_C(0x9E3779B97F4A7C15)) == UINT64_C(0xE220A8397B1DCDAF));
}

/* ---- bitmaps */

static void ranges_of_bits_are_set_exactly(void **state) {
    (void)state;
    enum { BITS = 260 };
    for (unsigned first = 0; first < BITS; first += 7) {
        for (unsigned count = 0; first + count <= BITS; count++) {
            uint64_t words[(BITS + 63) / 64 + 1] = {0};
            bitmap_set_range(words, first, count);
            for (unsigned i = 0; i < sizeof words * 8; i++)
                assert_int_equal(bitmap_get(words, i), i >= first && i < first + count);
        }
    }
}

static void a_bitmap_grows_with_zeros_and_keeps_its_bits(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct bitmap bitmap = {0};
    struct velta_error error;
    for (uint64_t rows = 1; rows < 5000; rows += 61) {
        assert_int_equal(bitmap_reserve(memory, &bitmap, rows, &error), VELTA_OK);
        assert_true(bitmap.capacity_words >= bitmap_words(rows));
        for (size_t row = rows > 61 ? rows - 61 : 0; row < bitmap.capacity_words * 64; row++)
            assert_false(bitmap_get(bitmap.words, row));
        for (size_t row = 0; row + 61 < rows; row++)
            assert_int_equal(bitmap_get(bitmap.words, row), row % 61 == 0);
        bitmap_set(bitmap.words, rows - 1);
        bitmap_clear(bitmap.words, rows - 1);
        bitmap_set(bitmap.words, rows - 1);
    }
    bitmap_release(memory, &bitmap);
    memory_destroy(memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_carries_code_offset_and_text),
        cmocka_unit_test(text_is_always_one_printable_line),
        cmocka_unit_test(a_long_text_is_cut_at_a_character),
        cmocka_unit_test(every_character_and_no_surrogate_is_utf8),
        cmocka_unit_test(every_pair_of_bytes_is_judged),
        cmocka_unit_test(the_place_of_the_first_bad_byte_is_found),
        cmocka_unit_test(numbers_have_one_encoding),
        cmocka_unit_test(damaged_numbers_are_refused),
        cmocka_unit_test(fixed_numbers_are_little_endian),
        cmocka_unit_test(arithmetic_tells_when_it_overflows),
        cmocka_unit_test(hashes_are_those_that_may_be_stored),
        cmocka_unit_test(ranges_of_bits_are_set_exactly),
        cmocka_unit_test(a_bitmap_grows_with_zeros_and_keeps_its_bits),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
