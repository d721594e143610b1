/* The rules of tables: keys, schemas, what writes are refused, what loading refuses. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/table.h"
#include "tests/support/table_images.h"

static struct velta_error failure;
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != VELTA_OK) fail_msg("%s: %s", #call, failure.text);                                               \
    } while (0)

/* ---- keys */

static struct table *string_table(struct memory *memory) {
    const struct velta_column columns[] = {{.name = "name", .type = VELTA_STRING, .primary_key = true}};
    struct table *table;
    OK(table_create(memory, &simd_scalar, "t", columns, 1, &table, &failure));
    return table;
}

static enum velta_status append_names(struct table *table, const char *names, size_t count, struct velta_error *error) {
    uint64_t offsets[16]; /* names of two letters */
    for (size_t i = 0; i <= count; i++)
        offsets[i] = 2 * i;
    struct column_values values = {.data = names, .offsets = offsets};
    enum velta_status status = table_check_append(table, &values, count, error);
    if (status == VELTA_OK) status = table_reserve_append(table, &values, count, error);
    if (status == VELTA_OK) (void)table_apply_append(table, &values, count);
    return status;
}

static void string_keys_are_unique_while_they_live(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table = string_table(memory);
    struct velta_error error;
    assert_int_equal(append_names(table, "aabbcc", 3, &error), VELTA_OK);
    assert_int_equal(append_names(table, "ddeeddaa", 4, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 2); /* the repeat within the batch comes first... */
    assert_non_null(strstr(error.text, "\"dd\""));
    assert_int_equal(append_names(table, "ddccddaa", 4, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 1); /* ...unless one that is in the table stands before it */
    assert_int_equal(table->row_count, 3);
    assert_int_equal(table_find_text(table, "bb", 2), 1);
    assert_int_equal(table_find_text(table, "dd", 2), VELTA_NO_ROW);
    assert_int_equal(table_find_int(table, 1), VELTA_NO_ROW);
    const uint32_t second = 1;
    table_apply_delete(table, &second, 1);
    assert_int_equal(table_find_text(table, "bb", 2), VELTA_NO_ROW);
    assert_int_equal(append_names(table, "bb", 1, &error), VELTA_OK);
    assert_int_equal(table_find_text(table, "bb", 2), 3);
    assert_true(table_memory_bytes(table) > 0);
    table_destroy(table);
    memory_destroy(memory);
}

static void many_keys_come_and_go(void **state) {
    (void)state;
    enum { KEYS = 20000 };
    struct memory *memory = memory_create(NULL, 0);
    struct random random = random_seeded(8);
    struct table *tables[2] = {NULL, string_table(memory)};
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true}};
    static uint32_t row_of[2][KEYS];
    OK(table_create(memory, &simd_scalar, "t", columns, 1, &tables[0], &failure));
    memset(row_of, 0xFF, sizeof row_of);
    for (size_t i = 0; i < test_rounds(60000); i++) {
        int64_t key = (int64_t)random_below(&random, KEYS);
        char text[16];
        uint64_t offsets[2] = {0, (uint64_t)snprintf(text, sizeof text, "%d", (int)key)};
        for (unsigned kind = 0; kind < 2; kind++) {
            struct table *table = tables[kind];
            uint32_t *row = &row_of[kind][key];
            struct column_values values = {.data = kind ? (const void *)text : &key, .offsets = kind ? offsets : NULL};
            struct velta_error error;
            uint32_t found = kind ? table_find_text(table, text, (size_t)offsets[1]) : table_find_int(table, key);
            assert_int_equal(found, *row);
            if (*row != VELTA_NO_ROW) {
                assert_int_equal(table_check_append(table, &values, 1, &error), VELTA_EXISTS);
                table_apply_delete(table, row, 1);
                *row = VELTA_NO_ROW;
            } else {
                OK(table_check_append(table, &values, 1, &failure));
                OK(table_reserve_append(table, &values, 1, &failure));
                *row = table_apply_append(table, &values, 1);
            }
        }
    }
    table_destroy(tables[0]);
    table_destroy(tables[1]);
    memory_destroy(memory);
}

static void repeats_in_a_batch_of_ints_are_found(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true}};
    struct table *table;
    struct velta_error error;
    int64_t keys[1000];
    OK(table_create(memory, &simd_scalar, "t", columns, 1, &table, &failure));
    for (int i = 0; i < 1000; i++)
        keys[i] = 5000 - i;
    struct column_values values = {.data = keys};
    OK(table_check_append(table, &values, 1000, &failure));
    keys[998] = keys[3];
    assert_int_equal(table_check_append(table, &values, 1000, &error), VELTA_EXISTS);
    assert_int_equal(error.offset, 998);
    assert_int_equal(table_check_append(table, &values, (size_t)VELTA_MAX_ROWS + 1, &error), VELTA_LIMIT);
    assert_int_equal(table_reserve_append(table, &values, (size_t)VELTA_MAX_ROWS + 1, &error), VELTA_LIMIT);
    table_destroy(table);
    memory_destroy(memory);
}

/* ---- refusals */

static void impossible_schemas_are_refused(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table = NULL;
    struct velta_column columns[] = {{.name = "a", .type = VELTA_INT, .primary_key = true},
                                     {.name = "b", .type = VELTA_INT, .primary_key = true}};
    static struct velta_column many[VELTA_MAX_COLUMNS + 1];
    static char names[VELTA_MAX_COLUMNS + 1][8];
    struct velta_error error;
    assert_int_equal(table_create(memory, &simd_scalar, "", columns, 1, &table, &error), VELTA_INVALID);
    assert_int_equal(table_create(memory, &simd_scalar, "\xff", columns, 1, &table, &error), VELTA_INVALID);
    assert_int_equal(table_create(memory, &simd_scalar, "t", columns, 2, &table, &error), VELTA_INVALID);
    assert_int_equal(error.offset, 1);
    columns[1].primary_key = false;
    columns[1].name = "a";
    assert_int_equal(table_create(memory, &simd_scalar, "t", columns, 2, &table, &error), VELTA_EXISTS);
    for (unsigned i = 0; i <= VELTA_MAX_COLUMNS; i++) {
        (void)snprintf(names[i], sizeof names[i], "c%u", i);
        many[i] = (struct velta_column){.name = names[i], .type = VELTA_BOOL};
    }
    assert_int_equal(table_create(memory, &simd_scalar, "t", many, VELTA_MAX_COLUMNS + 1, &table, &error), VELTA_LIMIT);
    OK(table_create(memory, &simd_scalar, "t", many, VELTA_MAX_COLUMNS, &table, &failure));
    assert_int_equal(table_add_column(table, &many[VELTA_MAX_COLUMNS], &error), VELTA_LIMIT);
    assert_int_equal(table_find_column(table, "c77", 3), 77);
    assert_true(table_find_column(table, "c7", 1) == TABLE_NO_COLUMN);
    table_destroy(table);
    table_destroy(NULL);
    memory_destroy(memory);
}

static void writes_of_what_cannot_be_are_refused(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true},
                                           {.name = "x", .type = VELTA_INT}};
    struct table *table;
    struct velta_error error;
    const int64_t numbers[] = {1, 2};
    const uint32_t rows[] = {1, 0, 2};
    struct column_values values[2] = {{.data = numbers}, {0}};
    OK(table_create(memory, &simd_scalar, "t", columns, 2, &table, &failure));
    OK(table_add_column(table, &(struct velta_column){.name = "r", .type = VELTA_INT, .required = true}, &failure));
    struct column_values three[3] = {values[0], values[1], values[0]};
    OK(table_check_append(table, three, 2, &failure));
    OK(table_reserve_append(table, three, 2, &failure));
    (void)table_apply_append(table, three, 2);
    assert_int_equal(table_check_append(table, &(const struct column_values[3]){{0}, {0}, {0}}[0], 1, &error),
                     VELTA_NOT_NULL);
    assert_int_equal(table_check_set(table, 0, &values[0], rows, 2, &error), VELTA_INVALID);
    assert_int_equal(table_check_set(table, 3, &values[0], rows, 2, &error), VELTA_UNKNOWN_COLUMN);
    assert_int_equal(table_check_set(table, 1, &values[0], rows, 3, &error), VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 2);
    table_apply_delete(table, rows, 1);
    assert_int_equal(table_check_set(table, 1, &values[0], rows, 2, &error), VELTA_NOT_FOUND);
    assert_int_equal(error.offset, 0);
    const struct velta_column added[] = {{.name = "p", .type = VELTA_INT, .primary_key = true},
                                         {.name = "q", .type = VELTA_INT, .required = true}};
    assert_int_equal(table_add_column(table, &added[0], &error), VELTA_INVALID);
    assert_int_equal(table_add_column(table, &added[1], &error), VELTA_INVALID);
    table_destroy(table);
    memory_destroy(memory);
}

static void without_a_key_rows_are_found_by_number(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table;
    struct column_values none;
    const uint32_t second = 1;
    memset(&none, 0, sizeof none);
    OK(table_create(memory, &simd_scalar, "t", NULL, 0, &table, &failure)); /* columns may come later */
    OK(table_reserve_append(table, &none, 3, &failure));
    (void)table_apply_append(table, &none, 3);
    table_apply_delete(table, &second, 1);
    assert_int_equal(table_find_int(table, 0), 0);
    assert_int_equal(table_find_int(table, 1), VELTA_NO_ROW);
    assert_int_equal(table_find_int(table, 2), 2);
    assert_int_equal(table_find_int(table, 3), VELTA_NO_ROW);
    assert_int_equal(table_find_int(table, -1), VELTA_NO_ROW);
    assert_int_equal(table_find_text(table, "0", 1), VELTA_NO_ROW);
    struct table *copy;
    OK(table_vacuum(table, &copy, NULL, &failure));
    assert_int_equal(copy->row_count, 2);
    table_destroy(copy);
    table_destroy(table);
    memory_destroy(memory);
}

/* ---- loading what is damaged */

static void an_empty_table_is_loaded(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct table *table;
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true},
                                           {.name = "s", .type = VELTA_STRING},
                                           {.name = "v", .type = VELTA_VECTOR, .dimensions = 2}};
    OK(table_create(memory, &simd_scalar, "t", columns, 3, &table, &failure));
    OK(table_begin_load(table, 0, &failure));
    OK(table_load_live(table, NULL, 0, &failure));
    OK(table_make_expiry(table, &failure));
    OK(table_make_expiry(table, &failure));
    OK(table_finish_load(table, &failure));
    assert_int_equal(table_visible(table, 0, NULL), 0);
    table_destroy(table);
    memory_destroy(memory);
}

static void codes_need_no_slab_images(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct velta_error error;
    struct table *table;
    const struct velta_column column = {.name = "v", .type = VELTA_VECTOR, .dimensions = 2, .element = VELTA_CODES};
    OK(table_create(memory, &simd_scalar, "t", &column, 1, &table, &failure));
    OK(table_begin_load(table, 100000, &failure));
    OK(table_finish_load(table, &failure));
    assert_false(column_is_null(table->columns[0], 99999));
    table->columns[0]->added_at_row = 100001;
    assert_int_equal(table_finish_load(table, &error), VELTA_CORRUPT);
    table_destroy(table);
    memory_destroy(memory);
}

static void damage_across_images_is_corrupt(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct velta_error error;
    const struct velta_column columns[] = {{.name = "id", .type = VELTA_INT, .primary_key = true},
                                           {.name = "v", .type = VELTA_VECTOR, .dimensions = 2}};
    struct table *table;
    const int64_t keys[] = {10, 20, 30};
    const float vectors[] = {1, 2, 3, 4, 5, 6};
    struct column_values values[2] = {{.data = keys}, {.data = vectors}};
    OK(table_create(memory, &simd_scalar, "t", columns, 2, &table, &failure));
    OK(table_reserve_append(table, values, 3, &failure));
    (void)table_apply_append(table, values, 3);
    struct table_images saved = {0};
    table_save(&saved, table);
    table_destroy(table);
    OK(table_load(&saved, memory, columns, 2, 3, false, &table, &failure));
    table_destroy(table);
    saved.bytes[8 + 64 + 1] = 10; /* the second row gets the first one's key */
    assert_int_equal(table_load(&saved, memory, columns, 2, 3, false, &table, &error), VELTA_CORRUPT);
    saved.bytes[0] = 5; /* unless the second is dead */
    OK(table_load(&saved, memory, columns, 2, 3, false, &table, &failure));
    assert_int_equal(table->live_count, 2);
    table_destroy(table);
    saved.bytes[0] = 13; /* a fourth row lives */
    assert_int_equal(table_load(&saved, memory, columns, 2, 3, false, &table, &error), VELTA_CORRUPT);
    assert_int_equal(error.offset, 0);
    OK(table_create(memory, &simd_scalar, "t", columns, 2, &table, &failure));
    assert_int_equal(table_begin_load(table, VELTA_MAX_ROWS + 1, &error), VELTA_CORRUPT);
    OK(table_begin_load(table, 3, &failure));
    assert_int_equal(table_load_live(table, saved.bytes, 16, &error), VELTA_CORRUPT);
    assert_int_equal(table_finish_load(table, &error), VELTA_CORRUPT); /* no slabs at all */
    table_destroy(table);
    free(saved.bytes);
    memory_destroy(memory);
}

/* ---- every allocation refused */

/* Context: how many string keys are there before those that are refused memory. */
static bool append_string_keys(struct test_allocator *self, void *context) {
    enum { EXTRA = 900 };
    const unsigned *before = context;
    struct memory *memory = memory_create(&self->allocator, 0);
    struct table *table = string_table(memory);
    unsigned total = *before + EXTRA;
    char *text = calloc(total, 8);
    uint64_t *offsets = calloc(total + 1, sizeof *offsets);
    for (unsigned i = 0; i < total; i++)
        offsets[i + 1] = offsets[i] + (uint64_t)snprintf(text + offsets[i], 8, "k%u", i);
    struct column_values old = {.data = text, .offsets = offsets};
    struct column_values new = {.data = text, .offsets = offsets + *before};
    struct velta_error error = {0};
    OK(table_reserve_append(table, &old, *before, &failure));
    (void)table_apply_append(table, &old, *before);
    uint64_t digest_before = table_digest(table);
    test_allocator_rearm(self);
    enum velta_status status = table_check_append(table, &new, EXTRA, &error);
    if (status == VELTA_OK) status = table_reserve_append(table, &new, EXTRA, &error);
    test_allocator_disarm(self);
    if (status == VELTA_OK) {
        (void)table_apply_append(table, &new, EXTRA);
    } else {
        assert_int_equal(error.code, VELTA_NO_MEMORY);
        assert_true(table_digest(table) == digest_before);
    }
    for (unsigned i = 0; i < total; i++) {
        uint32_t row = table_find_text(table, text + offsets[i], (size_t)(offsets[i + 1] - offsets[i]));
        assert_int_equal(row, i < *before || status == VELTA_OK ? i : VELTA_NO_ROW);
    }
    free(text);
    free(offsets);
    table_destroy(table);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void every_refused_string_key_changes_nothing(void **state) {
    (void)state;
    struct test_allocator host;
    static const unsigned before[] = {0, 200, 1000, 2000};
    test_allocator_init(&host);
    for (unsigned i = 0; i < sizeof before / sizeof *before; i++) {
        unsigned count = before[i];
        assert_true(test_every_allocation_fails(&host, append_string_keys, &count) > 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(string_keys_are_unique_while_they_live),
        cmocka_unit_test(many_keys_come_and_go),
        cmocka_unit_test(repeats_in_a_batch_of_ints_are_found),
        cmocka_unit_test(impossible_schemas_are_refused),
        cmocka_unit_test(writes_of_what_cannot_be_are_refused),
        cmocka_unit_test(without_a_key_rows_are_found_by_number),
        cmocka_unit_test(an_empty_table_is_loaded),
        cmocka_unit_test(codes_need_no_slab_images),
        cmocka_unit_test(damage_across_images_is_corrupt),
        cmocka_unit_test(every_refused_string_key_changes_nothing),
    };
    return cmocka_run_group_tests_name("table rules", tests, NULL, NULL);
}
