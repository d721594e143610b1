/*
 * From a primary key to its row. See core/key_index.h.
 *
 * The hash table holds 32-bit row numbers, open addressing with linear probing, at most three quarters full; a key is
 * compared, and rehashed when the table grows, by reading the column. Deletion shifts the run back (Knuth, TAOCP 3,
 * 6.4 algorithm R), so there are no tombstones. The array of string keys is in pages: growing copies none.
 */
#include "core/key_index.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/column_slab.h"
#include "core/error.h"
#include "core/hash.h"

enum { SLOTS_MIN = 16, ROWS_PER_PAGE = SLAB_MIN_BYTES / sizeof(uint32_t) };

struct key_index {
    struct memory *memory;
    const struct column *column;
    uint32_t *slots; /* int: VELTA_NO_ROW where empty */
    size_t slot_count;
    size_t entry_count;
    uint32_t **pages; /* string: row of each code */
    size_t page_count;
    size_t page_capacity;
};

enum velta_status key_index_create(const struct column *column, struct key_index **out, struct velta_error *error) {
    struct key_index *index = memory_allocate_zero(column->memory, sizeof *index);
    if (!index) {
        return memory_fail(column->memory, error);
    }
    index->memory = column->memory;
    index->column = column;
    *out = index;
    return VELTA_OK;
}

void key_index_destroy(struct key_index *index) {
    if (!index) {
        return;
    }
    for (size_t i = 0; i < index->page_count; i++) {
        slab_release(index->memory, index->pages[i], SLAB_MIN_BYTES);
    }
    memory_release(index->memory, index->pages, index->page_capacity * sizeof *index->pages);
    memory_release(index->memory, index->slots, index->slot_count * sizeof *index->slots);
    memory_release(index->memory, index, sizeof *index);
}

static size_t home_of(int64_t key, size_t slot_count) {
    return (size_t)hash_integer((uint64_t)key) & (slot_count - 1);
}

/* The slot of the key, or the empty one where it would go. */
static size_t find_slot(const struct key_index *index, int64_t key) {
    size_t at = home_of(key, index->slot_count);
    while (index->slots[at] != VELTA_NO_ROW && column_integer(index->column, index->slots[at]) != key) {
        at = (at + 1) & (index->slot_count - 1);
    }
    return at;
}

static enum velta_status reserve_slots(struct key_index *index, size_t needed, struct velta_error *error) {
    size_t slot_count = index->slot_count ? index->slot_count : SLOTS_MIN;
    size_t size_bytes;
    uint32_t *slots;
    while (needed > slot_count / 4 * 3 && slot_count <= SIZE_MAX / 2 / sizeof *slots) {
        slot_count *= 2;
    }
    if (slot_count == index->slot_count) {
        return VELTA_OK;
    }
    size_bytes = slot_count * sizeof *slots;
    slots = memory_allocate(index->memory, size_bytes);
    if (!slots) {
        return memory_fail(index->memory, error);
    }
    memset(slots, 0xFF, size_bytes); /* every slot VELTA_NO_ROW */
    for (size_t i = 0; i < index->slot_count; i++) {
        uint32_t row = index->slots[i];
        if (row != VELTA_NO_ROW) {
            size_t at = home_of(column_integer(index->column, row), slot_count);
            while (slots[at] != VELTA_NO_ROW) {
                at = (at + 1) & (slot_count - 1);
            }
            slots[at] = row;
        }
    }
    memory_release(index->memory, index->slots, index->slot_count * sizeof *slots);
    index->slots = slots;
    index->slot_count = slot_count;
    return VELTA_OK;
}

static enum velta_status reserve_pages(struct key_index *index, size_t code_count, struct velta_error *error) {
    size_t needed = (code_count + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE;
    void *pages = index->pages;
    enum velta_status status =
        memory_grow_array(index->memory, &pages, &index->page_capacity, needed, sizeof *index->pages, error);
    if (status != VELTA_OK) {
        return status;
    }
    index->pages = pages;
    while (index->page_count < needed) {
        uint32_t *page = slab_allocate(index->memory, SLAB_MIN_BYTES);
        if (!page) {
            return memory_fail(index->memory, error);
        }
        memset(page, 0xFF, SLAB_MIN_BYTES); /* every code VELTA_NO_ROW */
        index->pages[index->page_count++] = page;
    }
    return VELTA_OK;
}

enum velta_status key_index_reserve(struct key_index *index, size_t extra, struct velta_error *error) {
    if (index->column->dictionary) {
        return reserve_pages(index, dictionary_count(index->column->dictionary), error);
    }
    return reserve_slots(index, index->entry_count + extra, error);
}

static uint32_t *row_of_code(const struct key_index *index, uint32_t code) {
    return &index->pages[code / ROWS_PER_PAGE][code % ROWS_PER_PAGE];
}

/* Where the row number of this row's key is or will be. */
static uint32_t *place_of(const struct key_index *index, uint32_t row) {
    int64_t value = column_integer(index->column, row);
    return index->column->dictionary ? row_of_code(index, (uint32_t)value) : &index->slots[find_slot(index, value)];
}

bool key_index_insert(struct key_index *index, uint32_t row) {
    uint32_t *place = place_of(index, row);
    if (*place != VELTA_NO_ROW) {
        return false;
    }
    *place = row;
    index->entry_count++;
    return true;
}

void key_index_remove(struct key_index *index, uint32_t row) {
    uint32_t *place = place_of(index, row);
    assert(*place == row);
    index->entry_count--;
    if (!index->column->dictionary) {
        size_t mask = index->slot_count - 1;
        size_t gap = (size_t)(place - index->slots);
        for (size_t at = (gap + 1) & mask; index->slots[at] != VELTA_NO_ROW; at = (at + 1) & mask) {
            size_t home = home_of(column_integer(index->column, index->slots[at]), index->slot_count);
            if (((at - home) & mask) >= ((at - gap) & mask)) {
                index->slots[gap] = index->slots[at];
                gap = at;
            }
        }
        place = &index->slots[gap];
    }
    *place = VELTA_NO_ROW;
}

uint32_t key_index_find_int(const struct key_index *index, int64_t key) {
    assert(!index->column->dictionary);
    return index->slots ? index->slots[find_slot(index, key)] : VELTA_NO_ROW;
}

void key_index_prefetch_int(const struct key_index *index, int64_t key) {
    if (index->slots) {
        __builtin_prefetch(&index->slots[home_of(key, index->slot_count)]);
    }
}

uint32_t key_index_guess_int(const struct key_index *index, int64_t key) {
    const struct column *column = index->column;
    uint32_t row = index->slots ? index->slots[home_of(key, index->slot_count)] : VELTA_NO_ROW;
    if (row != VELTA_NO_ROW) {
        const struct column_slab *slab = &column->slabs[column_slab_index(column, row)];
        __builtin_prefetch((const char *)slab->values + (size_t)column_slab_row(column, row) * slab->width);
    }
    return row;
}

uint32_t key_index_find_text(const struct key_index *index, const void *key, size_t size_bytes) {
    uint32_t code = dictionary_find(index->column->dictionary, key, size_bytes);
    /* codes above the pages are of a batch that is reserved but not applied */
    return code / ROWS_PER_PAGE < index->page_count ? *row_of_code(index, code) : VELTA_NO_ROW;
}

uint64_t key_index_memory_bytes(const struct key_index *index) {
    return sizeof *index + (uint64_t)index->slot_count * sizeof *index->slots +
           (uint64_t)index->page_count * SLAB_MIN_BYTES + (uint64_t)index->page_capacity * sizeof *index->pages;
}

static uint64_t batch_hash(const struct column *column, const struct column_values *values, size_t i) {
    if (column->dictionary) {
        const char *text = values->data;
        return hash_bytes(text ? text + values->offsets[i] : text,
                          (size_t)(values->offsets[i + 1] - values->offsets[i]));
    }
    return hash_integer((uint64_t)((const int64_t *)values->data)[i]);
}

static bool batch_equal(const struct column *column, const struct column_values *values, size_t i, size_t j) {
    if (column->dictionary) {
        const char *text = values->data;
        uint64_t size_bytes = values->offsets[i + 1] - values->offsets[i];
        return size_bytes == values->offsets[j + 1] - values->offsets[j] &&
               (size_bytes == 0 ||
                memcmp(text + values->offsets[i], text + values->offsets[j], (size_t)size_bytes) == 0);
    }
    return ((const int64_t *)values->data)[i] == ((const int64_t *)values->data)[j];
}

/* Ascending int keys, the common import, need no table. */
static bool batch_ascends(const struct column *column, const struct column_values *values, size_t count) {
    const int64_t *keys = values->data;
    if (column->dictionary) {
        return count < 2;
    }
    for (size_t i = 1; i < count; i++) {
        if (keys[i - 1] >= keys[i]) {
            return false;
        }
    }
    return true;
}

enum velta_status key_batch_first_repeat(const struct column *column, const struct column_values *values, size_t count,
                                         size_t *repeat, struct velta_error *error) {
    struct batch_slot {
        uint32_t hash;
        uint32_t index;
    } * slots;
    size_t slot_count = SLOTS_MIN;
    assert(count < VELTA_MAX_ROWS);
    *repeat = count;
    if (batch_ascends(column, values, count)) {
        return VELTA_OK;
    }
    while (slot_count / 4 * 3 < count && slot_count <= SIZE_MAX / 2 / sizeof *slots) {
        slot_count *= 2;
    }
    slots = memory_allocate(column->memory, slot_count * sizeof *slots);
    if (!slots) {
        return memory_fail(column->memory, error);
    }
    memset(slots, 0xFF, slot_count * sizeof *slots);
    for (size_t i = 0; i < count && *repeat == count; i++) {
        uint64_t hash = batch_hash(column, values, i);
        size_t at = (size_t)hash & (slot_count - 1);
        while (slots[at].index != UINT32_MAX) {
            if (slots[at].hash == (uint32_t)(hash >> 32) && batch_equal(column, values, slots[at].index, i)) {
                *repeat = i;
                break;
            }
            at = (at + 1) & (slot_count - 1);
        }
        slots[at].hash = (uint32_t)(hash >> 32);
        slots[at].index = (uint32_t)i;
    }
    memory_release(column->memory, slots, slot_count * sizeof *slots);
    return VELTA_OK;
}
