/* One column: specs, checks, widths, slabs, reservations in a queue, byte images and their damage. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/column_image.h"
#include "core/column_salvage.h"
#include "core/column_slab.h"
#include "core/error.h"

static struct memory *memory;

static int make_memory(void **state) {
    (void)state;
    memory = memory_create(NULL, 0);
    return memory ? 0 : -1;
}

static int end_memory(void **state) {
    (void)state;
    memory_destroy(memory);
    return 0;
}

static struct column *make(const struct velta_column *spec) {
    struct column *column = NULL;
    struct velta_error error;
    struct velta_column named = *spec;
    named.name = "c";
    if (column_create(memory, &named, 0, &column, &error) != VELTA_OK) fail_msg("%s", error.text);
    return column;
}

static void append(struct column *column, const struct column_values *values, uint32_t first_row, size_t count) {
    struct velta_error error;
    if (column_check_values(column, values, count, &error) != VELTA_OK) fail_msg("%s", error.text);
    if (column_reserve_append(column, values, first_row, count, &error) != VELTA_OK) fail_msg("%s", error.text);
    column_append(column, values, first_row, count);
}

static void set(struct column *column, const struct column_values *values, uint32_t row) {
    assert_int_equal(column_reserve_set(column, values, &row, 1, NULL), VELTA_OK);
    column_set(column, values, &row, 1);
}

/* ---- specs */

static void impossible_specs_are_refused(void **state) {
    (void)state;
    char long_name[VELTA_MAX_NAME_BYTES + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    const struct {
        struct velta_column spec;
        enum velta_status status;
    } cases[] = {
        {{.name = NULL, .type = VELTA_INT}, VELTA_INVALID},
        {{.name = "", .type = VELTA_INT}, VELTA_INVALID},
        {{.name = "\xff", .type = VELTA_INT}, VELTA_INVALID},
        {{.name = long_name, .type = VELTA_INT}, VELTA_INVALID},
        {{.name = "a"}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_VECTOR + 1}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_FLOAT, .primary_key = true}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_INT, .dimensions = 3}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_INT, .seed = 3}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_STRING, .no_index = true}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_VECTOR}, VELTA_LIMIT},
        {{.name = "a", .type = VELTA_VECTOR, .dimensions = VELTA_MAX_DIMENSIONS + 1}, VELTA_LIMIT},
        {{.name = "a", .type = VELTA_VECTOR, .dimensions = 3, .m = 3}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_VECTOR, .dimensions = 3, .m = 65}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_VECTOR, .dimensions = 3, .metric = VELTA_DOT + 1}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_CODES + 1}, VELTA_INVALID},
        {{.name = "a", .type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_CODES, .no_index = true}, VELTA_INVALID},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct column *column = NULL;
        struct velta_error error = {0};
        assert_int_equal(column_create(memory, &cases[i].spec, 0, &column, &error), cases[i].status);
        assert_int_equal(error.code, cases[i].status);
        assert_null(column);
    }
}

static void vectors_are_sized_for_chunks(void **state) {
    (void)state;
    const struct {
        uint32_t dimensions;
        enum velta_element element;
        uint32_t row_stride, rows_per_slab;
    } cases[] = {{1, VELTA_F32, 64, 2048},    {16, VELTA_F32, 64, 2048},  {17, VELTA_F32, 128, 1024},
                 {256, VELTA_F32, 1024, 128}, {384, VELTA_F32, 1536, 64}, {384, VELTA_F16, 768, 128},
                 {768, VELTA_F32, 3072, 64},  {1, VELTA_F16, 64, 2048},   {8192, VELTA_F32, 32768, 64},
                 {8192, VELTA_F16, 16384, 64}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct velta_column spec = {
            .type = VELTA_VECTOR, .dimensions = cases[i].dimensions, .element = cases[i].element};
        struct column *column = make(&spec);
        assert_int_equal(column->row_stride, cases[i].row_stride);
        assert_int_equal(column_rows_per_slab(column), cases[i].rows_per_slab);
        assert_true((size_t)column->row_stride << column->shift <= SLAB_MAX_BYTES);
        column_destroy(column);
    }
}

/* ---- checks */

static void assert_refused(const struct column *column, const struct column_values *values, size_t count,
                           enum velta_status status, uint64_t offset) {
    struct velta_error error = {0};
    assert_int_equal(column_check_values(column, values, count, &error), status);
    assert_int_equal(error.code, status);
    assert_int_equal(error.offset, offset);
}

static void wrong_scalars_are_found_with_their_index(void **state) {
    (void)state;
    const uint64_t first_and_third = 5;
    struct column *integers = make(&(struct velta_column){.type = VELTA_INT, .required = true});
    const int64_t numbers[] = {1, 2, 3};
    assert_refused(integers, &(struct column_values){.data = numbers, .valid = &first_and_third}, 3, VELTA_NOT_NULL, 1);
    assert_refused(integers, &(struct column_values){0}, 1, VELTA_NOT_NULL, 0);
    assert_int_equal(column_check_values(integers, &(struct column_values){0}, 0, NULL), VELTA_OK);
    assert_int_equal(column_check_values(integers, &(struct column_values){.data = numbers}, 3, NULL), VELTA_OK);
    column_destroy(integers);

    struct column *floats = make(&(struct velta_column){.type = VELTA_FLOAT});
    assert_refused(floats, &(struct column_values){.valid = &first_and_third}, 3, VELTA_INVALID, 0);
    assert_int_equal(column_check_values(floats, &(struct column_values){0}, 3, NULL), VELTA_OK);
    column_destroy(floats);

    struct column *bools = make(&(struct velta_column){.type = VELTA_BOOL});
    assert_refused(bools, &(struct column_values){.data = (const uint8_t[]){0, 1, 2}}, 3, VELTA_TYPE, 2);
    assert_int_equal(
        column_check_values(
            bools, &(struct column_values){.data = (const uint8_t[]){0, 9, 1}, .valid = &first_and_third}, 3, NULL),
        VELTA_OK);
    column_destroy(bools);
}

static void wrong_text_is_found_with_its_index(void **state) {
    (void)state;
    const uint64_t first_and_third = 5;
    struct column *strings = make(&(struct velta_column){.type = VELTA_STRING});
    struct column *bytes = make(&(struct velta_column){.type = VELTA_BYTES});
    struct column_values split = {.data = "\xc3\xa9", .offsets = (const uint64_t[]){0, 1, 2}};
    assert_refused(strings, &split, 2, VELTA_TYPE, 0);
    assert_int_equal(column_check_values(bytes, &split, 2, NULL), VELTA_OK);
    struct column_values under_null = {.data = "a\xff"
                                               "b",
                                       .offsets = (const uint64_t[]){0, 1, 2, 3},
                                       .valid = &first_and_third};
    assert_int_equal(column_check_values(strings, &under_null, 3, NULL), VELTA_OK);
    assert_refused(strings, &(struct column_values){.data = "abc"}, 1, VELTA_INVALID, 0);
    assert_refused(strings, &(struct column_values){.data = "abc", .offsets = (const uint64_t[]){0, 3, 2}}, 2,
                   VELTA_INVALID, 1);
    assert_refused(strings, &(struct column_values){.offsets = (const uint64_t[]){0, 0, 1}}, 2, VELTA_INVALID, 1);
    assert_int_equal(
        column_check_values(strings, &(struct column_values){.offsets = (const uint64_t[]){4, 4, 4}}, 2, NULL),
        VELTA_OK);
    assert_refused(bytes,
                   &(struct column_values){.data = "", .offsets = (const uint64_t[]){0, VELTA_MAX_VALUE_BYTES + 1}}, 1,
                   VELTA_LIMIT, 0);
    column_destroy(strings);
    column_destroy(bytes);
}

static void wrong_vectors_are_found_with_their_index(void **state) {
    (void)state;
    const float infinity = __builtin_inff();
    const float good[] = {1, 2, 3, 4, 5, 6};
    const float bad[] = {1, 2, 3, 4, __builtin_nanf(""), 6};
    const float large[] = {1, 2, -70000.0f, 4, 5, 6};
    const uint16_t half_bad[] = {0x3C00, 0, 0, 0, 0, 0xFC00};
    struct column *single = make(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 3});
    struct column *half = make(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_F16});
    struct column *codes = make(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_CODES});
    struct column *all[] = {single, half, codes};
    const uint64_t only_first = 1;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(column_check_values(all[i], &(struct column_values){.data = good}, 2, NULL), VELTA_OK);
        assert_refused(all[i], &(struct column_values){.data = bad}, 2, VELTA_NOT_FINITE, 1);
        assert_refused(all[i], &(struct column_values){.data = half_bad, .element = VELTA_F16}, 2, VELTA_NOT_FINITE, 1);
        assert_refused(all[i], &(struct column_values){.data = &infinity, .element = VELTA_CODES}, 1, VELTA_INVALID, 0);
        assert_int_equal(
            column_check_values(all[i], &(struct column_values){.data = bad, .valid = &only_first}, 2, NULL), VELTA_OK);
    }
    assert_int_equal(column_check_values(single, &(struct column_values){.data = large}, 2, NULL), VELTA_OK);
    assert_refused(half, &(struct column_values){.data = large}, 2, VELTA_NOT_FINITE, 0);
    for (unsigned i = 0; i < 3; i++)
        column_destroy(all[i]);
}

/* ---- widths */

static void each_slab_is_as_wide_as_its_values(void **state) {
    (void)state;
    enum { ROWS = 3 * CORE_ROWS_PER_SLAB + 5 };
    struct column *column = make(&(struct velta_column){.type = VELTA_INT});
    int64_t *values = calloc(ROWS, sizeof *values);
    for (unsigned i = 0; i < ROWS; i++)
        values[i] = (int64_t)(i % 256) - 128;
    append(column, &(struct column_values){.data = values}, 0, ROWS);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(column->slabs[i].width, 1);
    static const struct {
        int64_t value;
        uint8_t width;
    } steps[] = {{127, 1},       {128, 2},       {-129, 2},
                 {INT16_MAX, 2}, {INT16_MIN, 2}, {INT16_MAX + 1, 4},
                 {INT32_MIN, 4}, {INT32_MAX, 4}, {(int64_t)INT32_MAX + 1, 8},
                 {INT64_MIN, 8}, {INT64_MAX, 8}};
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        uint32_t row = CORE_ROWS_PER_SLAB + 77 + i;
        set(column, &(struct column_values){.data = &steps[i].value}, row);
        values[row] = steps[i].value;
        assert_int_equal(column->slabs[1].width, steps[i].width);
        assert_int_equal(column->slabs[0].width, 1);
        assert_int_equal(column->slabs[2].width, 1);
    }
    for (uint32_t i = 0; i < ROWS; i++)
        assert_true(column_integer(column, i) == values[i] && !column_is_null(column, i));
    free(values);
    column_destroy(column);
}

static void a_small_column_is_small(void **state) {
    (void)state;
    struct column *column = make(&(struct velta_column){.type = VELTA_INT});
    const int64_t one = 1;
    for (uint32_t row = 0; row < CORE_ROWS_PER_SLAB + 1; row++) {
        append(column, &(struct column_values){.data = &one}, row, 1);
        assert_true(column->slabs[0].capacity_rows > row || row == CORE_ROWS_PER_SLAB);
        assert_true(column->slabs[0].capacity_rows <= (row < 4096 ? 4096 : 2 * row));
    }
    assert_int_equal(column->slabs[0].capacity_rows, CORE_ROWS_PER_SLAB);
    assert_int_equal(column->slabs[1].capacity_rows, CORE_ROWS_PER_SLAB);
    assert_null(column->slabs[0].valid);
    column_destroy(column);
}

/* ---- vectors */

static void vectors_keep_what_their_element_holds(void **state) {
    (void)state;
    const float f32[] = {1.0f, -2.5f, 3.14159f};
    const uint16_t f16[] = {0x3C00, 0xC100, 0x4248}; /* 1, -2.5, 3.140625 */
    float out[3];
    struct column *single = make(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 3});
    struct column *half = make(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_F16});
    append(single, &(struct column_values){.data = f32}, 0, 1);
    append(single, &(struct column_values){.data = f16, .element = VELTA_F16}, 1, 1);
    append(half, &(struct column_values){.data = f32}, 0, 1);
    append(half, &(struct column_values){.data = f16, .element = VELTA_F16}, 1, 1);
    column_get_vector(single, 0, out);
    assert_memory_equal(out, f32, sizeof out);
    for (unsigned i = 1; i < 4; i++) {
        column_get_vector(i == 1 ? single : half, i == 1 ? 1 : i - 2, out);
        assert_true(out[0] == 1.0f && out[1] == -2.5f && out[2] == 3.140625f);
    }
    struct vector_view view = column_vectors(half);
    assert_memory_equal(vector_view_row(&view, 1), f16, sizeof f16);
    ((float *)column_vector_for_write(single, 1))[2] = 9;
    column_get_vector(single, 1, out);
    assert_true(out[2] == 9);
    column_destroy(single);
    column_destroy(half);
}

static void null_vectors_take_no_room(void **state) {
    (void)state;
    struct column *column = make(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 384});
    float vector[384] = {1, 2, 3};
    float out[384];
    append(column, &(struct column_values){0}, 0, 1000);
    for (unsigned i = 0; i < column->slab_count; i++)
        assert_null(column->slabs[i].values);
    column_get_vector(column, 999, out);
    assert_true(out[0] == 0);
    set(column, &(struct column_values){.data = vector}, 3);
    column_get_vector(column, 3, out);
    assert_memory_equal(out, vector, sizeof out);
    column_get_vector(column, 63, out); /* beyond what the small first slab holds */
    assert_true(out[0] == 0 && column_is_null(column, 63));
    set(column, &(struct column_values){0}, 63);
    set(column, &(struct column_values){0}, 3);
    assert_true(column_is_null(column, 3));
    column_get_vector(column, 3, out);
    assert_true(out[0] == 0);
    column_destroy(column);
}

/* A value that is lost is NULL, with zeros in its place; a refusal leaves it. */
static bool forget_one(struct test_allocator *allocator, void *context) {
    const struct velta_column *spec = context;
    struct memory *own = memory_create(&allocator->allocator, 0);
    struct column *column = NULL;
    const uint8_t bools[] = {1, 1, 1};
    const float vectors[] = {1, 2, 3, 4, 5, 6};
    bool vector = spec->type == VELTA_VECTOR;
    struct column_values values = {.data = vector ? (const void *)vectors : bools};
    assert_int_equal(column_create(own, spec, 0, &column, NULL), VELTA_OK);
    append(column, &values, 0, 3);
    test_allocator_rearm(allocator);
    enum velta_status status = column_forget(column, 1, NULL);
    test_allocator_disarm(allocator);
    assert_int_equal(column_is_null(column, 1), status == VELTA_OK);
    assert_false(column_is_null(column, 0) || column_is_null(column, 2));
    float out[2];
    if (vector) {
        column_get_vector(column, 1, out);
        assert_true(out[0] == (status ? 3.0f : 0.0f));
    } else {
        assert_int_equal(bitmap_get(column->slabs[0].values, 1), status != VELTA_OK);
        assert_true(bitmap_get(column->slabs[0].values, 2));
    }
    column_destroy(column);
    memory_destroy(own);
    return status == VELTA_OK;
}

static void lost_values_become_null(void **state) {
    (void)state;
    struct velta_column specs[] = {{.name = "b", .type = VELTA_BOOL},
                                   {.name = "v", .type = VELTA_VECTOR, .dimensions = 2}};
    for (size_t i = 0; i < 2; i++) {
        struct test_allocator allocator;
        test_allocator_init(&allocator);
        assert_true(test_every_allocation_fails(&allocator, forget_one, &specs[i]) > 0);
        test_allocator_check_empty(&allocator);
    }
}

/* ---- reservations */

static struct column_values text_values(const char *text, uint64_t *offsets, size_t count) {
    struct column_values values = {.data = text, .offsets = offsets}; /* one letter each */
    for (size_t i = 0; i <= count; i++)
        offsets[i] = i;
    return values;
}

static void reservations_wait_in_a_queue(void **state) {
    (void)state;
    struct column *column = make(&(struct velta_column){.type = VELTA_STRING});
    uint64_t offsets[8];
    const uint32_t rows[] = {1, 0};
    struct column_values abc = text_values("abca", offsets, 4);
    struct column_values dx = {.data = "dx", .offsets = offsets};
    struct column_values e = {.data = "e", .offsets = offsets};
    assert_int_equal(column_reserve_append(column, &abc, 0, 4, NULL), VELTA_OK);
    assert_int_equal(column_reserve_set(column, &dx, rows, 2, NULL), VELTA_OK);
    assert_int_equal(column_reserve_append(column, &e, 4, 1, NULL), VELTA_OK);
    column_undo_reserve(column);
    assert_int_equal(dictionary_count(column->dictionary), 5);
    assert_int_equal(column_reserve_append(column, &e, 4, 1, NULL), VELTA_OK);
    column_append(column, &abc, 0, 4);
    column_set(column, &dx, rows, 2);
    column_append(column, &e, 4, 1);
    const char *expected = "xdcae";
    for (uint32_t i = 0; i < 5; i++) {
        size_t size_bytes;
        const char *text = column_text(column, i, &size_bytes);
        assert_int_equal(size_bytes, 1);
        assert_int_equal(text[0], expected[i]);
    }
    column_destroy(column);
}

static void no_values_are_written_before_any(void **state) {
    (void)state;
    struct column *column = make(&(struct velta_column){.type = VELTA_STRING});
    struct column_values none = {.data = "", .offsets = (const uint64_t[]){0}};
    const uint32_t row = 0;
    append(column, &none, 0, 0);
    assert_int_equal(column_reserve_codes(column, &none, &row, 0, 0, NULL), VELTA_OK);
    column_append(column, &none, 0, 0);
    assert_int_equal(column_reserve_set(column, &none, &row, 0, NULL), VELTA_OK);
    column_set(column, &none, &row, 0);
    assert_int_equal(dictionary_count(column->dictionary), 0);
    uint64_t offsets[8];
    struct column_values ab = text_values("ab", offsets, 2);
    append(column, &ab, 0, 2);
    assert_int_equal(column_integer(column, 1), 1);
    column_destroy(column);
}

static void abandoned_reservations_leave_no_entries(void **state) {
    (void)state;
    struct column *column = make(&(struct velta_column){.type = VELTA_STRING});
    uint64_t offsets[8];
    struct column_values ab = text_values("ab", offsets, 2);
    struct column_values cd = text_values("cd", offsets, 2);
    append(column, &ab, 0, 2);
    assert_int_equal(column_reserve_append(column, &cd, 2, 2, NULL), VELTA_OK);
    assert_int_equal(column_reserve_append(column, &(struct column_values){0}, 4, 2, NULL), VELTA_OK);
    column_append(column, &cd, 2, 2);
    struct column_values e = {.data = "e", .offsets = offsets};
    assert_int_equal(column_reserve_append(column, &e, 6, 1, NULL), VELTA_OK);
    assert_int_equal(dictionary_count(column->dictionary), 5);
    column_abandon(column);
    assert_int_equal(dictionary_count(column->dictionary), 4);
    append(column, &e, 4, 1);
    assert_int_equal(column_integer(column, 4), 4);
    column_destroy(column);
}

/* ---- images */

struct image {
    uint8_t *bytes;
    size_t size_bytes;
};

static struct image slab_image(const struct column *column, size_t slab, uint32_t rows) {
    struct image image = {.size_bytes = column_slab_image_bytes(column, slab, rows)};
    assert_int_equal(image.size_bytes % COLUMN_IMAGE_ALIGNMENT, 0);
    image.bytes = malloc(image.size_bytes);
    memset(image.bytes, 0xAA, image.size_bytes);
    column_slab_image_write(column, slab, rows, image.bytes);
    return image;
}

static struct image dictionary_image(const struct column *column, uint32_t first, uint32_t end) {
    struct image image = {.size_bytes = column_dictionary_image_bytes(column, first, end)};
    image.bytes = malloc(image.size_bytes);
    memset(image.bytes, 0xAA, image.size_bytes);
    column_dictionary_image_write(column, first, end, image.bytes);
    return image;
}

/* Reads the images into a new column; the status of the first that is refused. */
static enum velta_status read_images(const struct velta_column *spec, const struct image *dictionary,
                                     const struct image *slab, uint32_t rows, struct column **out,
                                     struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    *out = make(spec);
    if (dictionary->bytes)
        status = column_dictionary_image_read(*out, dictionary->bytes, dictionary->size_bytes, error);
    return status == VELTA_OK ? column_slab_image_read(*out, 0, rows, slab->bytes, slab->size_bytes, error) : status;
}

static void an_image_does_not_show_width_or_capacity(void **state) {
    (void)state;
    const int64_t small[] = {1, -2, 3};
    const int64_t large = INT64_MAX;
    struct column *plain = make(&(struct velta_column){.type = VELTA_INT});
    struct column *other = make(&(struct velta_column){.type = VELTA_INT});
    append(plain, &(struct column_values){.data = small}, 0, 3);
    append(other, &(struct column_values){.data = small}, 0, 3);
    assert_int_equal(column_reserve_append(other, &(struct column_values){0}, 3, 40000, NULL), VELTA_OK);
    set(other, &(struct column_values){.data = &large}, 1);
    set(other, &(struct column_values){0}, 2);
    set(other, &(struct column_values){.data = &small[1]}, 1);
    set(other, &(struct column_values){.data = &small[2]}, 2);
    assert_int_equal(other->slabs[0].width, 8);
    assert_non_null(other->slabs[0].valid);
    struct image a = slab_image(plain, 0, 3);
    struct image b = slab_image(other, 0, 3);
    assert_int_equal(a.size_bytes, 128);
    assert_int_equal(b.size_bytes, 128);
    test_assert_bytes(b.bytes, a.bytes, 128, "image");
    static const uint8_t expected[] = {1, 1, 0, 0, 3, 0, 0, 0};
    assert_memory_equal(a.bytes, expected, 8);
    assert_memory_equal(a.bytes + 64, "\x01\xfe\x03\0", 4);
    free(a.bytes);
    free(b.bytes);
    column_destroy(plain);
    column_destroy(other);
}

/* A column of every type with some NULLs, from the same numbers each time. */
static struct column *sample(const struct velta_column *spec, uint32_t rows) {
    enum { DIMENSIONS = 5 };
    struct column *column = make(spec);
    struct random random = random_seeded(rows + (uint64_t)spec->type);
    uint64_t offsets[4];
    for (uint32_t row = 0; row < rows; row++) {
        int64_t integer = random_between(&random, -1000, 1000);
        double number = (double)integer / 8;
        uint8_t boolean = integer & 1;
        float vector[DIMENSIONS];
        char text[16];
        random_vector(&random, vector, DIMENSIONS);
        offsets[0] = 0;
        offsets[1] = (uint64_t)snprintf(text, sizeof text, "%d", (int)(integer % 30));
        struct column_values values = {.data = &integer};
        if (spec->type == VELTA_FLOAT) values.data = &number;
        if (spec->type == VELTA_BOOL) values.data = &boolean;
        if (spec->type == VELTA_VECTOR) values.data = vector;
        if (spec->type == VELTA_STRING || spec->type == VELTA_BYTES)
            values = (struct column_values){.data = text, .offsets = offsets};
        if (!spec->required && random_chance(&random, 20)) values = (struct column_values){0};
        append(column, &values, row, 1);
    }
    return column;
}

static const struct velta_column sample_specs[] = {
    {.type = VELTA_INT},
    {.type = VELTA_INT, .required = true},
    {.type = VELTA_FLOAT},
    {.type = VELTA_FLOAT, .required = true},
    {.type = VELTA_BOOL},
    {.type = VELTA_BOOL, .required = true},
    {.type = VELTA_STRING},
    {.type = VELTA_STRING, .required = true},
    {.type = VELTA_TIMESTAMP},
    {.type = VELTA_BYTES},
    {.type = VELTA_VECTOR, .dimensions = 5},
    {.type = VELTA_VECTOR, .dimensions = 5, .required = true},
    {.type = VELTA_VECTOR, .dimensions = 5, .element = VELTA_F16},
    {.type = VELTA_VECTOR, .dimensions = 5, .element = VELTA_CODES},
};
enum { SAMPLE_COUNT = sizeof sample_specs / sizeof *sample_specs };

static struct image sample_dictionary(const struct column *column) {
    if (!column->dictionary) return (struct image){0};
    return dictionary_image(column, 0, dictionary_count(column->dictionary));
}

static void an_image_read_gives_the_same_image(void **state) {
    (void)state;
    for (unsigned i = 0; i < SAMPLE_COUNT; i++) {
        for (uint32_t rows = 1; rows < 140; rows += 23) {
            struct column *column = sample(&sample_specs[i], rows);
            struct column *back;
            struct velta_error error;
            struct image dictionary = sample_dictionary(column);
            struct image slab = slab_image(column, 0, rows);
            if (read_images(&sample_specs[i], &dictionary, &slab, rows, &back, &error) != VELTA_OK)
                fail_msg("%s", error.text);
            struct image dictionary_again = sample_dictionary(back);
            struct image slab_again = slab_image(back, 0, rows);
            assert_int_equal(slab_again.size_bytes, slab.size_bytes);
            test_assert_bytes(slab_again.bytes, slab.bytes, slab.size_bytes, "slab");
            assert_int_equal(dictionary_again.size_bytes, dictionary.size_bytes);
            if (dictionary.bytes)
                test_assert_bytes(dictionary_again.bytes, dictionary.bytes, dictionary.size_bytes, "dictionary");
            free(dictionary.bytes);
            free(slab.bytes);
            free(dictionary_again.bytes);
            free(slab_again.bytes);
            column_destroy(column);
            column_destroy(back);
        }
    }
}

/*
 * Every bit of every image flipped, and every length cut: refused as CORRUPT with an offset inside, or else a column
 * that can be held and written again.
 */
static void damaged_images_are_refused_or_harmless(void **state) {
    (void)state;
    enum { ROWS = 70 };
    for (unsigned i = 0; i < SAMPLE_COUNT; i++) {
        struct column *column = sample(&sample_specs[i], ROWS);
        struct image images[2] = {sample_dictionary(column), slab_image(column, 0, ROWS)};
        uint64_t refused = 0;
        for (unsigned part = images[0].bytes ? 0 : 1; part < 2; part++) {
            for (size_t bit = 0; bit < images[part].size_bytes * 8; bit++) {
                struct column *back;
                struct velta_error error = {0};
                images[part].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                enum velta_status status = read_images(&sample_specs[i], &images[0], &images[1], ROWS, &back, &error);
                if (status == VELTA_OK) {
                    struct image again = slab_image(back, 0, ROWS);
                    free(again.bytes);
                } else {
                    assert_int_equal(status, VELTA_CORRUPT);
                    assert_true(error.offset <= images[part].size_bytes || error.offset <= images[1].size_bytes);
                    refused++;
                }
                column_destroy(back);
                images[part].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
            for (size_t size_bytes = 0; size_bytes < images[part].size_bytes; size_bytes++) {
                struct image cut[2] = {images[0], images[1]};
                struct column *back;
                struct velta_error error = {0};
                cut[part].bytes = malloc(size_bytes + 1); /* so that a read past the end is seen */
                memcpy(cut[part].bytes, images[part].bytes, size_bytes);
                cut[part].size_bytes = size_bytes;
                assert_int_equal(read_images(&sample_specs[i], &cut[0], &cut[1], ROWS, &back, &error), VELTA_CORRUPT);
                free(cut[part].bytes);
                column_destroy(back);
            }
        }
        assert_true(refused > 300); /* the header and the padding at least */
        free(images[0].bytes);
        free(images[1].bytes);
        column_destroy(column);
    }
}

static void expect_corrupt_slab(const struct velta_column *spec, const struct image *dictionary, struct image *slab,
                                uint32_t rows, size_t at, uint8_t value, uint64_t offset) {
    struct column *back;
    struct velta_error error = {0};
    uint8_t before = slab->bytes[at];
    slab->bytes[at] = value;
    assert_int_equal(read_images(spec, dictionary, slab, rows, &back, &error), VELTA_CORRUPT);
    assert_int_equal(error.offset, offset);
    slab->bytes[at] = before;
    column_destroy(back);
}

static void damage_is_named_with_its_offset(void **state) {
    (void)state;
    struct image none = {0};
    uint64_t offsets[4];
    const uint64_t not_second = 5;
    const struct velta_column integer_spec = {.type = VELTA_INT};
    struct column *integers = make(&integer_spec);
    append(integers, &(struct column_values){.data = (const int64_t[]){300, 0, 7}, .valid = &not_second}, 0, 3);
    struct image slab = slab_image(integers, 0, 3); /* width 2: values at 64, 66, 68; validity at 128 */
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 0, 3, 0);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 1, 4, 1);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 1, 2, 1);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 2, 1, 2);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 4, 4, 4);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 40, 1, 40);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 66, 1, 66); /* under NULL */
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 70, 1, 70);
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 128, 13, 128); /* validity of a fourth row */
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 128, 7, 128);  /* nothing is NULL */
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 136, 1, 136);
    expect_corrupt_slab(&integer_spec, &none, &slab, 4, 4, 3, 4); /* another number of rows */
    expect_corrupt_slab(&(struct velta_column){.type = VELTA_INT, .required = true}, &none, &slab, 3, 0, 2, 1);
    expect_corrupt_slab(&(struct velta_column){.type = VELTA_VECTOR, .dimensions = 3, .element = VELTA_CODES}, &none,
                        &slab, 3, 0, 0, 1);
    slab.bytes[64] = slab.bytes[65] = 0; /* 300, which needed the width */
    expect_corrupt_slab(&integer_spec, &none, &slab, 3, 2, 0, 0);
    free(slab.bytes);
    column_destroy(integers);

    const struct velta_column vector_spec = {.type = VELTA_VECTOR, .dimensions = 3};
    struct column *vectors = make(&vector_spec);
    append(vectors, &(struct column_values){0}, 0, 3);
    slab = slab_image(vectors, 0, 3); /* nothing but validity */
    expect_corrupt_slab(&vector_spec, &none, &slab, 3, 64, 1, 64);
    free(slab.bytes);
    column_destroy(vectors);

    const struct velta_column string_spec = {.type = VELTA_STRING};
    struct column *strings = make(&string_spec);
    struct column_values ab = text_values("ab", offsets, 2);
    append(strings, &ab, 0, 2);
    slab = slab_image(strings, 0, 2);
    struct image dictionary = sample_dictionary(strings); /* lengths at 64, text at 128 */
    expect_corrupt_slab(&string_spec, &dictionary, &slab, 2, 65, 2, 65);
    expect_corrupt_slab(&string_spec, &dictionary, &slab, 2, 65, 0xFF, 65);
    expect_corrupt_slab(&string_spec, &slab, &dictionary, 2, 0, 0, 0); /* one for the other */
    struct {
        size_t at;
        uint8_t value;
        uint64_t offset;
    } cases[] = {{0, 1, 0},    {4, 200, 4}, {15, 1, 4},      {20, 1, 20},      {64, 3, 64},
                 {64, 0, 129}, {72, 1, 72}, {128, 'b', 129}, {129, 0xC3, 129}, {130, 1, 130}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct column *back;
        struct velta_error error = {0};
        uint8_t before = dictionary.bytes[cases[i].at];
        dictionary.bytes[cases[i].at] = cases[i].value;
        assert_int_equal(read_images(&string_spec, &dictionary, &slab, 2, &back, &error), VELTA_CORRUPT);
        assert_int_equal(error.offset, cases[i].offset);
        dictionary.bytes[cases[i].at] = before;
        column_destroy(back);
    }
    free(slab.bytes);
    free(dictionary.bytes);
    column_destroy(strings);
}

static void a_slab_is_read_once_and_within_the_rows(void **state) {
    (void)state;
    struct column *column = sample(&sample_specs[0], 10);
    struct image slab = slab_image(column, 0, 10);
    struct column *back = make(&sample_specs[0]);
    assert_int_equal(column_slab_image_read(back, 1, 10, slab.bytes, slab.size_bytes, NULL), VELTA_CORRUPT);
    assert_int_equal(column_slab_image_read(back, 0, 10, slab.bytes, slab.size_bytes, NULL), VELTA_OK);
    assert_int_equal(column_slab_image_read(back, 0, 10, slab.bytes, slab.size_bytes, NULL), VELTA_CORRUPT);
    free(slab.bytes);
    column_destroy(column);
    column_destroy(back);
}

static void a_dictionary_can_be_written_in_parts(void **state) {
    (void)state;
    struct column *column = sample(&sample_specs[6], 200);
    uint32_t count = dictionary_count(column->dictionary);
    struct column *back = make(&sample_specs[6]);
    for (uint32_t first = 0; first < count; first += 7) {
        uint32_t end = first + 7 < count ? first + 7 : count;
        struct image part = dictionary_image(column, first, end);
        assert_int_equal(column_dictionary_image_read(back, part.bytes, part.size_bytes, NULL), VELTA_OK);
        assert_int_equal(column_dictionary_image_read(back, part.bytes, part.size_bytes, NULL), VELTA_CORRUPT);
        free(part.bytes);
    }
    struct image all = sample_dictionary(column);
    struct image again = sample_dictionary(back);
    assert_int_equal(all.size_bytes, again.size_bytes);
    test_assert_bytes(again.bytes, all.bytes, all.size_bytes, "dictionary");
    free(all.bytes);
    free(again.bytes);
    column_destroy(column);
    column_destroy(back);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_memory, end_memory)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(impossible_specs_are_refused),
        TEST(vectors_are_sized_for_chunks),
        TEST(wrong_scalars_are_found_with_their_index),
        TEST(wrong_text_is_found_with_its_index),
        TEST(wrong_vectors_are_found_with_their_index),
        TEST(each_slab_is_as_wide_as_its_values),
        TEST(a_small_column_is_small),
        TEST(vectors_keep_what_their_element_holds),
        TEST(null_vectors_take_no_room),
        TEST(lost_values_become_null),
        TEST(reservations_wait_in_a_queue),
        TEST(no_values_are_written_before_any),
        TEST(abandoned_reservations_leave_no_entries),
        TEST(an_image_does_not_show_width_or_capacity),
        TEST(an_image_read_gives_the_same_image),
        TEST(damaged_images_are_refused_or_harmless),
        TEST(damage_is_named_with_its_offset),
        TEST(a_slab_is_read_once_and_within_the_rows),
        TEST(a_dictionary_can_be_written_in_parts),
    };
    return cmocka_run_group_tests_name("column", tests, NULL, NULL);
}
