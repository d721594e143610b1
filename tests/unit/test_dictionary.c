/* Dictionaries against a plain list of strings. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/dictionary.h"

struct text {
    char *bytes;
    size_t size_bytes;
};

static uint32_t add(struct dictionary *dictionary, const char *text) {
    uint32_t code;
    assert_int_equal(dictionary_add(dictionary, text, strlen(text), &code, NULL), VELTA_OK);
    return code;
}

static void assert_entry(const struct dictionary *dictionary, uint32_t code, const void *bytes, size_t size_bytes) {
    size_t found_bytes;
    const void *found = dictionary_get(dictionary, code, &found_bytes);
    assert_non_null(found);
    assert_int_equal(found_bytes, size_bytes);
    if (size_bytes) assert_memory_equal(found, bytes, size_bytes);
}

static void codes_count_in_order_of_arrival(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct dictionary *dictionary;
    assert_int_equal(dictionary_create(memory, true, &dictionary, NULL), VELTA_OK);
    assert_int_equal(dictionary_find(dictionary, "games", 5), DICTIONARY_NO_CODE);
    assert_int_equal(add(dictionary, "games"), 0);
    assert_int_equal(add(dictionary, ""), 1);
    assert_int_equal(add(dictionary, "science"), 2);
    assert_int_equal(add(dictionary, "games"), 0);
    assert_int_equal(add(dictionary, ""), 1);
    assert_int_equal(dictionary_count(dictionary), 3);
    assert_int_equal(dictionary_find(dictionary, "science", 7), 2);
    assert_int_equal(dictionary_find(dictionary, "scienc", 6), DICTIONARY_NO_CODE);
    assert_int_equal(dictionary_find(dictionary, NULL, 0), 1);
    assert_entry(dictionary, 0, "games", 5);
    assert_entry(dictionary, 1, "", 0);
    dictionary_destroy(dictionary);
    dictionary_destroy(NULL);
    memory_destroy(memory);
}

static void bytes_are_not_interned(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct dictionary *dictionary;
    assert_int_equal(dictionary_create(memory, false, &dictionary, NULL), VELTA_OK);
    for (uint32_t i = 0; i < 2000; i++)
        assert_int_equal(add(dictionary, "same"), i);
    dictionary_truncate(dictionary, 700);
    assert_int_equal(add(dictionary, "other"), 700);
    assert_entry(dictionary, 699, "same", 4);
    assert_entry(dictionary, 700, "other", 5);
    dictionary_destroy(dictionary);
    memory_destroy(memory);
}

static struct text random_text(struct random *random) {
    struct text text = {0};
    unsigned kind = (unsigned)random_below(random, 1000);
    text.size_bytes = random_below(random, kind < 700 ? 4 : kind < 996 ? 40 : kind < 999 ? 5000 : 400000);
    text.bytes = malloc(text.size_bytes + 1);
    random_bytes(random, text.bytes, text.size_bytes);
    return text;
}

static uint32_t model_find(const struct text *model, uint32_t count, const struct text *text) {
    for (uint32_t i = 0; i < count; i++) {
        if (model[i].size_bytes == text->size_bytes && memcmp(model[i].bytes, text->bytes, text->size_bytes) == 0)
            return i;
    }
    return DICTIONARY_NO_CODE;
}

static void a_dictionary_is_a_list_of_different_strings(void **state) {
    (void)state;
    enum { MAX_ENTRIES = 3000 };
    static struct text model[MAX_ENTRIES];
    uint32_t count = 0;
    struct random random = random_seeded(11);
    struct memory *memory = memory_create(NULL, 0);
    struct dictionary *dictionary;
    assert_int_equal(dictionary_create(memory, true, &dictionary, NULL), VELTA_OK);
    for (size_t round = 0; round < test_rounds(20000); round++) {
        struct text text = random_text(&random);
        uint32_t expected = model_find(model, count, &text);
        uint32_t code;
        assert_int_equal(dictionary_find(dictionary, text.bytes, text.size_bytes), expected);
        if (count < MAX_ENTRIES) {
            assert_int_equal(dictionary_add(dictionary, text.bytes, text.size_bytes, &code, NULL), VELTA_OK);
            assert_int_equal(code, expected == DICTIONARY_NO_CODE ? count : expected);
        }
        if (count < MAX_ENTRIES && expected == DICTIONARY_NO_CODE) {
            model[count++] = text;
        } else {
            free(text.bytes);
        }
        if (random_chance(&random, 1) || count == MAX_ENTRIES) {
            uint32_t kept = (uint32_t)random_below(&random, count + 1);
            kept = random_chance(&random, 90) ? count - (count - kept) % 10 : kept;
            dictionary_truncate(dictionary, kept);
            while (count > kept)
                free(model[--count].bytes);
        }
        assert_int_equal(dictionary_count(dictionary), count);
        if (round % 500 == 0) {
            for (uint32_t i = 0; i < count; i++) {
                assert_entry(dictionary, i, model[i].bytes, model[i].size_bytes);
                assert_int_equal(dictionary_find(dictionary, model[i].bytes, model[i].size_bytes), i);
            }
        }
    }
    while (count > 0)
        free(model[--count].bytes);
    dictionary_truncate(dictionary, 0);
    assert_int_equal(dictionary_count(dictionary), 0);
    assert_int_equal(add(dictionary, "again"), 0);
    dictionary_destroy(dictionary);
    memory_destroy(memory);
}

static void a_value_has_a_greatest_size(void **state) {
    (void)state;
    struct memory *memory = memory_create(NULL, 0);
    struct dictionary *dictionary;
    uint32_t code;
    char *bytes = calloc(1, VELTA_MAX_VALUE_BYTES + 1);
    assert_int_equal(dictionary_create(memory, true, &dictionary, NULL), VELTA_OK);
    assert_int_equal(dictionary_add(dictionary, bytes, VELTA_MAX_VALUE_BYTES + 1, &code, NULL), VELTA_LIMIT);
    assert_int_equal(dictionary_count(dictionary), 0);
    assert_int_equal(dictionary_add(dictionary, bytes, VELTA_MAX_VALUE_BYTES, &code, NULL), VELTA_OK);
    assert_entry(dictionary, code, bytes, VELTA_MAX_VALUE_BYTES);
    assert_true(dictionary_memory_bytes(dictionary) > VELTA_MAX_VALUE_BYTES);
    free(bytes);
    dictionary_destroy(dictionary);
    memory_destroy(memory);
}

/* Context: how many entries are there before the one that is refused memory. */
static bool add_one_more(struct test_allocator *self, void *context) {
    const unsigned *before = context;
    struct memory *memory = memory_create(&self->allocator, 0);
    struct dictionary *dictionary;
    char text[40];
    static char large[SLAB_MAX_BYTES + 1];
    assert_int_equal(dictionary_create(memory, true, &dictionary, NULL), VELTA_OK);
    for (unsigned i = 0; i < *before; i++) {
        (void)snprintf(text, sizeof text, "entry %u", i);
        (void)add(dictionary, text);
    }
    uint32_t code = 12345;
    struct velta_error error;
    memset(large, 'x', sizeof large);
    test_allocator_rearm(self);
    enum velta_status status = dictionary_add(dictionary, large, sizeof large, &code, &error);
    test_allocator_disarm(self);
    if (status != VELTA_OK) {
        assert_int_equal(status, VELTA_NO_MEMORY);
        assert_int_equal(error.code, VELTA_NO_MEMORY);
        assert_int_equal(dictionary_count(dictionary), *before);
        assert_int_equal(dictionary_find(dictionary, large, sizeof large), DICTIONARY_NO_CODE);
    }
    for (unsigned i = 0; i < *before; i++) {
        (void)snprintf(text, sizeof text, "entry %u", i);
        assert_int_equal(dictionary_find(dictionary, text, strlen(text)), i);
    }
    assert_int_equal(add(dictionary, "next"), *before + (status == VELTA_OK));
    dictionary_destroy(dictionary);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void every_refused_addition_changes_nothing(void **state) {
    (void)state;
    struct test_allocator host;
    test_allocator_init(&host);
    /* around where slots, pages and the arrays of pages and blocks run out */
    static const unsigned before[] = {0, 1, 11, 12, 13, 23, 24, 47, 48, 384, 511, 512, 513, 1024, 1535, 1536, 1537};
    for (unsigned i = 0; i < sizeof before / sizeof *before; i++) {
        unsigned count = before[i];
        assert_true(test_every_allocation_fails(&host, add_one_more, &count) > 2);
    }
}

static bool create_only(struct test_allocator *self, void *context) {
    (void)context;
    struct memory *memory = memory_create(&self->allocator, 0);
    struct dictionary *dictionary = NULL;
    test_allocator_rearm(self);
    enum velta_status status = dictionary_create(memory, true, &dictionary, NULL);
    test_allocator_disarm(self);
    if (status == VELTA_OK) dictionary_destroy(dictionary);
    memory_destroy(memory);
    return status == VELTA_OK;
}

static void creation_can_be_refused(void **state) {
    (void)state;
    struct test_allocator host;
    test_allocator_init(&host);
    assert_int_equal(test_every_allocation_fails(&host, create_only, NULL), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_count_in_order_of_arrival),
        cmocka_unit_test(bytes_are_not_interned),
        cmocka_unit_test(a_dictionary_is_a_list_of_different_strings),
        cmocka_unit_test(a_value_has_a_greatest_size),
        cmocka_unit_test(every_refused_addition_changes_nothing),
        cmocka_unit_test(creation_can_be_refused),
    };
    return cmocka_run_group_tests_name("dictionary", tests, NULL, NULL);
}
