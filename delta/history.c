/*
 * Keeping history: memory, entries, chains. Reading it is in history_read.c, compaction in history_compact.c, images in
 * history_image.c.
 *
 * Entries lie one behind the other in chunks. A position counts the bytes of all entries before, so positions, and
 * with them the images, do not depend on where chunks end. An entry never spans two chunks: what is left of a chunk
 * that cannot hold the next entry stays unused and has no positions.
 *
 * A promise makes sure of room for an entry of at most some size, by going through the chunks as the appends will do
 * later. Appended entries may turn out smaller; then every append is at or before the place that was promised, in the
 * same chunk or an earlier one, so the room is there all the same.
 */
#include <assert.h>

#include "core/error.h"
#include "core/hash.h"
#include "delta/gaps.h"
#include "delta/history_state.h"

_Static_assert(sizeof(struct history_entry) == HISTORY_ENTRY_BYTES, "entries are stored as they are in memory");

enum velta_status history_create(struct memory *memory, const struct simd_kernels *simd, uint32_t checkpoint_interval,
                                 struct history **out, struct velta_error *error) {
    struct history *history = memory_allocate_zero(memory, sizeof *history);
    if (history == NULL) return memory_fail(memory, error);
    history->memory = memory;
    history->simd = simd;
    history->checkpoint_interval = checkpoint_interval == 0                     ? 100
                                   : checkpoint_interval < HISTORY_MAX_INTERVAL ? checkpoint_interval
                                                                                : HISTORY_MAX_INTERVAL;
    history->floor_time_ms = INT64_MIN;
    history->last_time_ms = INT64_MIN;
    history->meta_dirty = true;
    *out = history;
    return VELTA_OK;
}

void history_begin(struct history *history, uint64_t sequence, int64_t time_ms) {
    history->floor_sequence = history->last_sequence = sequence;
    history->floor_time_ms = history->last_time_ms = time_ms;
}

static bool chunk_is_slab(size_t capacity_bytes) {
    return capacity_bytes <= SLAB_MAX_BYTES;
}

static void release_chunk(struct history *history, struct history_chunk *chunk) {
    if (chunk_is_slab(chunk->capacity_bytes)) {
        slab_release(history->memory, chunk->bytes, chunk->capacity_bytes);
    } else {
        memory_release(history->memory, chunk->bytes, chunk->capacity_bytes);
    }
}

void history_destroy(struct history *history) {
    if (history == NULL) return;
    struct memory *memory = history->memory;
    for (size_t i = 0; i < history->chunk_count; i++) {
        release_chunk(history, &history->chunks[i]);
    }
    memory_release(memory, history->chunks, history->chunk_capacity * sizeof *history->chunks);
    memory_release(memory, history->part_first, history->part_capacity * sizeof *history->part_first);
    memory_release(memory, history->heads, history->head_capacity * sizeof *history->heads);
    memory_release(memory, history->runs, history->run_capacity * sizeof *history->runs);
    memory_release(memory, history->deaths, history->death_capacity * sizeof *history->deaths);
    memory_release(memory, history->points, history->point_count * sizeof *history->points);
    memory_release(memory, history, sizeof *history);
}

uint64_t history_memory_bytes(const struct history *history) {
    uint64_t bytes = sizeof *history + history->chunk_capacity * sizeof *history->chunks +
                     history->part_capacity * sizeof *history->part_first +
                     history->head_capacity * sizeof *history->heads + history->run_capacity * sizeof *history->runs +
                     history->death_capacity * sizeof *history->deaths + history->point_count * sizeof *history->points;
    for (size_t i = 0; i < history->chunk_count; i++) {
        bytes += history->chunks[i].capacity_bytes;
    }
    return bytes;
}

/* ---- finding entries */

static const struct history_chunk *chunk_of(const struct history *history, uint64_t position) {
    size_t low = 0;
    size_t high = history->used_chunks;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (history->chunks[middle].begin <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &history->chunks[low];
}

struct history_entry *history_at(const struct history *history, uint64_t position) {
    const struct history_chunk *chunk = chunk_of(history, position);
    return (struct history_entry *)(void *)(chunk->bytes + (position - chunk->begin));
}

const struct history_entry *history_following(const struct history *history, uint64_t *position,
                                              const struct history_entry *entry) {
    *position += entry->size_bytes;
    return *position < history->end ? history_at(history, *position) : NULL;
}

const struct history_entry *history_first(const struct history *history, size_t part, uint64_t *position) {
    if (part >= history->part_count) return NULL;
    *position = history->part_first[part];
    return *position < history->end ? history_at(history, *position) : NULL;
}

static size_t head_slot(const struct history *history, uint64_t key) {
    size_t mask = history->head_capacity - 1;
    size_t slot = (size_t)hash_integer(key) & mask;
    while (history->heads[slot].key != key && history->heads[slot].key != HISTORY_NO_POSITION) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

const struct history_head *history_find(const struct history *history, uint32_t row, uint32_t column) {
    if (history->head_capacity == 0) return NULL;
    const struct history_head *head = &history->heads[head_slot(history, history_key(row, column))];
    return head->key != HISTORY_NO_POSITION ? head : NULL;
}

void history_prefetch(const struct history *history, uint32_t row, uint32_t column) {
    if (history->head_capacity == 0) return;
    simd_touch(&history->heads[(size_t)hash_integer(history_key(row, column)) & (history->head_capacity - 1)], 1);
}

/* ---- promises */

static enum velta_status promise_heads(struct history *history, size_t count, struct velta_error *error) {
    size_t needed = history->head_count + count;
    size_t capacity = history->head_capacity > 0 ? history->head_capacity : 16;
    while (needed > capacity / 4 * 3) {
        if (capacity > SIZE_MAX / 4 / sizeof(struct history_head)) return memory_fail(history->memory, error);
        capacity *= 2;
    }
    if (capacity == history->head_capacity) return VELTA_OK;
    struct history_head *heads = memory_allocate(history->memory, capacity * sizeof *heads);
    if (heads == NULL) return memory_fail(history->memory, error);
    struct history_head *old = history->heads;
    size_t old_capacity = history->head_capacity;
    memset(heads, 0xFF, capacity * sizeof *heads);
    history->heads = heads;
    history->head_capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i].key != HISTORY_NO_POSITION) heads[head_slot(history, old[i].key)] = old[i];
    }
    memory_release(history->memory, old, old_capacity * sizeof *old);
    return VELTA_OK;
}

static enum velta_status add_chunk(struct history *history, uint64_t size_bytes, struct velta_error *error) {
    enum velta_status status = memory_grow_array(history->memory, (void **)&history->chunks, &history->chunk_capacity,
                                                 history->chunk_count + 1, sizeof *history->chunks, error);
    if (status != VELTA_OK) return status;
    uint64_t capacity = HISTORY_FIRST_CHUNK_BYTES;
    while (capacity < HISTORY_CHUNK_BYTES && capacity < history->end + history->promised_bytes) {
        capacity *= 2;
    }
    if (capacity < size_bytes) capacity = bytes_align_up(size_bytes, SLAB_MIN_BYTES);
    if (capacity > SIZE_MAX / 2) return memory_fail(history->memory, error);
    void *bytes = chunk_is_slab((size_t)capacity) ? slab_allocate(history->memory, (size_t)capacity)
                                                  : memory_allocate(history->memory, (size_t)capacity);
    if (bytes == NULL) return memory_fail(history->memory, error);
    history->chunks[history->chunk_count++] =
        (struct history_chunk){.bytes = bytes, .capacity_bytes = (size_t)capacity};
    return VELTA_OK;
}

void history_settle(struct history *history) {
    /* One spare chunk is kept, so that filling chunks one after the other does not give and take. */
    while (history->chunk_count > history->used_chunks + 1) {
        release_chunk(history, &history->chunks[--history->chunk_count]);
    }
    history->pushing = false;
    history->promised_chunk = history->used_chunks > 0 ? history->used_chunks - 1 : 0;
    history->promised_offset = history->used_chunks > 0 ? history->chunks[history->used_chunks - 1].used_bytes : 0;
    history->promised_heads = history->promised_runs = history->promised_deaths = 0;
    history->promised_bytes = 0;
    history->longest_text = 0;
    history->texts_set = false;
}

void history_abandon(struct history *history) {
    history_settle(history);
}

enum velta_status history_promise(struct history *history, uint64_t size_bytes, struct velta_error *error) {
    enum velta_status status = promise_heads(history, history->promised_heads + 1, error);
    if (status != VELTA_OK) return status;
    history->promised_heads++;
    history->promised_bytes += size_bytes;
    size_t parts = (size_t)((history->end + history->promised_bytes) / HISTORY_PART_BYTES) + 2;
    status = memory_grow_array(history->memory, (void **)&history->part_first, &history->part_capacity, parts,
                               sizeof *history->part_first, error);
    if (status != VELTA_OK) return status;
    for (;;) {
        if (history->promised_chunk == history->chunk_count) {
            status = add_chunk(history, size_bytes, error);
            if (status != VELTA_OK) return status;
        }
        if (history->chunks[history->promised_chunk].capacity_bytes - history->promised_offset >= size_bytes) break;
        history->promised_chunk++;
        history->promised_offset = 0;
    }
    history->promised_offset += (size_t)size_bytes;
    return VELTA_OK;
}

/* ---- appending */

/* Appends an entry whose chain hangs in `slot`; NULL: it has none. */
static struct history_entry *append_to(struct history *history, const struct history_entry *head,
                                       struct history_head *slot) {
    size_t size_bytes = head->size_bytes;
    if (history->used_chunks == 0) history->used_chunks = 1;
    struct history_chunk *chunk = &history->chunks[history->used_chunks - 1];
    while (chunk->capacity_bytes - chunk->used_bytes < size_bytes) {
        chunk++;
        history->used_chunks++;
        assert(history->used_chunks <= history->chunk_count);
        chunk->begin = history->end;
    }
    uint64_t position = history->end;
    struct history_entry *entry = (struct history_entry *)(void *)(chunk->bytes + chunk->used_bytes);
    memset((uint8_t *)entry + size_bytes - 8, 0, 8); /* the padding is in there; the rest is about to be written */
    *entry = *head;
    entry->previous = HISTORY_NO_POSITION;
    chunk->used_bytes += size_bytes;
    history->end += size_bytes;
    history->entry_count++;
    history->last_sequence = entry->sequence;
    history->last_time_ms = entry->time_ms;
    while (history->part_count <= position / HISTORY_PART_BYTES) {
        history->part_first[history->part_count++] = position;
    }
    if (slot != NULL) {
        if (slot->key == HISTORY_NO_POSITION) {
            history->head_count++;
        } else {
            entry->previous = slot->position;
        }
        *slot = (struct history_head){.key = history_key(entry->row, entry->column),
                                      .position = position,
                                      .sequence = entry->sequence,
                                      .depth = entry->depth,
                                      .flags = entry->flags};
    }
    return entry;
}

struct history_entry *history_append(struct history *history, const struct history_entry *head) {
    bool chained = head->type != HISTORY_BIRTH;
    return append_to(history, head,
                     chained ? &history->heads[head_slot(history, history_key(head->row, head->column))] : NULL);
}

void history_note(struct history *history, const struct history_entry *entry) {
    if (entry->type == HISTORY_BIRTH) {
        assert(history->run_count < history->run_capacity);
        history->runs[history->run_count++] =
            (struct history_run){entry->row, entry->count, entry->sequence, entry->time_ms};
    } else if (entry->type == HISTORY_DEATH) {
        assert(history->death_count < history->death_capacity);
        history->deaths[history->death_count++] = (struct history_death){entry->sequence, entry->row};
    }
}

size_t history_text_bytes(size_t text_bytes) {
    return (size_t)bytes_align_up((uint64_t)HISTORY_ENTRY_BYTES + text_bytes, 8);
}

size_t history_delta_bytes(const struct vector_delta *delta, bool wide) {
    bool has_values = delta->operation == DELTA_SPARSE || delta->operation == DELTA_DENSE;
    bool has_amount = delta->operation == DELTA_SCALE || delta->operation == DELTA_OFFSET;
    size_t index_bytes = delta->operation == DELTA_SPARSE ? history_index_bytes(delta->count, wide) : 0;
    return index_bytes + (has_values ? delta->count : has_amount) * sizeof(float) + delta->metadata_bytes;
}

size_t history_vector_bytes(const struct vector_delta *delta, bool wide, bool has_base, uint32_t dimensions) {
    size_t base_bytes = has_base ? dimensions * sizeof(float) : 0;
    return (size_t)bytes_align_up(HISTORY_ENTRY_BYTES + base_bytes + history_delta_bytes(delta, wide), 8);
}

/* ---- reserving for changes */

static bool is_codes_only(const struct column *column) {
    return column->spec.type == VELTA_VECTOR && column->spec.element == VELTA_CODES;
}

static enum velta_status promise_deaths(struct history *history, const struct table *table, const struct change *change,
                                        struct velta_error *error) {
    history->promised_deaths += change->row_count;
    enum velta_status status =
        memory_grow_array(history->memory, (void **)&history->deaths, &history->death_capacity,
                          history->death_count + history->promised_deaths, sizeof *history->deaths, error);
    for (size_t c = 0; c < table->column_count; c++) { /* the index forgets the codes of dead rows */
        struct vector_delta none = {0};
        if (!is_codes_only(table->columns[c])) continue;
        size_t bytes = history_vector_bytes(&none, false, true, table->columns[c]->spec.dimensions);
        for (uint32_t i = 0; i < change->row_count && status == VELTA_OK; i++) {
            status = history_promise(history, bytes, error);
        }
    }
    for (uint32_t i = 0; i < change->row_count && status == VELTA_OK; i++) {
        status = history_promise(history, HISTORY_ENTRY_BYTES, error);
    }
    return status;
}

static void note_texts(struct history *history, const struct column_values *values, uint32_t count) {
    for (uint32_t i = 0; values->offsets != NULL && i < count; i++) {
        uint64_t text_bytes = values->offsets[i + 1] - values->offsets[i];
        if (text_bytes > history->longest_text) history->longest_text = text_bytes;
    }
}

/* The longest text that a row can hold when the change is pushed: the present one, or one of this batch. */
static uint64_t text_bound(const struct history *history, const struct table *table, const struct column *column,
                           uint32_t row) {
    size_t text_bytes = 0;
    if (row >= table->row_count) return history->longest_text;
    if (!column_is_null(column, row)) (void)column_text(column, row, &text_bytes);
    return history->texts_set && history->longest_text > text_bytes ? history->longest_text : text_bytes;
}

static enum velta_status promise_set(struct history *history, const struct table *table, const struct change *change,
                                     struct velta_error *error) {
    const struct column *column = table->columns[change->column];
    struct vector_delta whole = {.operation = DELTA_DENSE, .count = column->spec.dimensions};
    enum velta_status status = VELTA_OK;
    for (uint32_t i = 0; i < change->row_count && status == VELTA_OK; i++) {
        size_t bytes = HISTORY_ENTRY_BYTES + 8;
        if (column->spec.type == VELTA_VECTOR) {
            bytes = history_vector_bytes(&whole, false, true, whole.count);
        } else if (column->dictionary != NULL) {
            bytes = history_text_bytes((size_t)text_bound(history, table, column, change->rows[i]));
        }
        status = history_promise(history, bytes, error);
    }
    note_texts(history, change->values, change->row_count);
    history->texts_set |= column->dictionary != NULL;
    return status;
}

enum velta_status history_reserve(struct history *history, const struct table *table, const struct change *change,
                                  struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (history->pushing) history_settle(history);
    switch (change->kind) {
    case CHANGE_ROWS_INSERT:
        history->promised_runs++;
        for (size_t c = 0; c < table->column_count; c++) {
            if (table->columns[c]->dictionary != NULL) note_texts(history, &change->values[c], change->row_count);
        }
        status = memory_grow_array(history->memory, (void **)&history->runs, &history->run_capacity,
                                   history->run_count + history->promised_runs, sizeof *history->runs, error);
        return status != VELTA_OK ? status : history_promise(history, HISTORY_ENTRY_BYTES, error);
    case CHANGE_ROWS_SET:
        return promise_set(history, table, change, error);
    case CHANGE_ROWS_DELETE:
        return promise_deaths(history, table, change, error);
    case CHANGE_ROWS_EXPIRY:
        for (uint32_t i = 0; i < change->row_count && status == VELTA_OK; i++) {
            status = history_promise(history, HISTORY_ENTRY_BYTES + 8, error);
        }
        return status;
    case CHANGE_VECTORS:
        for (uint32_t i = 0; i < change->delta_count && status == VELTA_OK; i++) {
            uint32_t dimensions = table->columns[change->column]->spec.dimensions;
            status = history_promise(history, history_vector_bytes(&change->deltas[i], true, true, dimensions), error);
        }
        return status;
    default:
        return VELTA_OK;
    }
}

/* ---- pushing */

static struct history_entry entry_of(const struct change *change, enum history_entry_type type, uint32_t row,
                                     uint32_t column) {
    return (struct history_entry){.sequence = change->sequence,
                                  .time_ms = change->time_ms,
                                  .row = row,
                                  .column = column,
                                  .size_bytes = HISTORY_ENTRY_BYTES,
                                  .type = (uint8_t)type};
}

static void push_scalar(struct history *history, const struct change *change, const struct column *column,
                        uint32_t column_number, uint32_t row) {
    struct history_entry head = entry_of(change, HISTORY_SCALAR, row, column_number);
    if (column == NULL || column_is_null(column, row)) {
        head.flags = HISTORY_BEFORE_NULL;
        (void)history_append(history, &head);
        return;
    }
    if (column->dictionary != NULL) {
        size_t text_bytes;
        const void *text = column_text(column, row, &text_bytes);
        head.count = (uint32_t)text_bytes;
        head.size_bytes = (uint32_t)history_text_bytes(text_bytes);
        struct history_entry *entry = history_append(history, &head);
        if (text_bytes > 0) memcpy(entry + 1, text, text_bytes);
        return;
    }
    head.size_bytes = HISTORY_ENTRY_BYTES + 8;
    struct history_entry *entry = history_append(history, &head);
    if (column->spec.type == VELTA_FLOAT) {
        double number = column_float(column, row);
        memcpy(entry + 1, &number, sizeof number);
    } else {
        int64_t integer = column_integer(column, row);
        memcpy(entry + 1, &integer, sizeof integer);
    }
}

static void pack_indices(const uint32_t *indices, uint32_t count, bool wide, uint8_t *out) {
    bytes_put_u32(out + history_index_bytes(count, wide) - 4, 0);
    for (uint32_t i = 0; i < count && wide; i++) {
        bytes_put_u16(out + 2 * (size_t)i, (uint16_t)indices[i]);
    }
    if (!wide) gaps_put(indices, count, out);
}

/*
 * delta: what is about to happen to the vector; operation DENSE with values NULL: it becomes NULL; half: its values are
 * f16. false: the entry needs the vector, which is not yet (!is_now) the one before the delta; nothing was done.
 */
static bool push_vector(struct history *history, const struct change *change, uint64_t sequence,
                        const struct column *column, const struct vector_delta *delta, bool half, bool is_now,
                        history_vector_function *codes_vector, void *context) {
    const uint32_t dimensions = column->spec.dimensions;
    struct history_head *chain = &history->heads[head_slot(history, history_key(delta->row, change->column))];
    struct history_entry head = entry_of(change, HISTORY_VECTOR, delta->row, change->column);
    bool null = column_is_null(column, delta->row);
    bool codes_only = is_codes_only(column);
    /* A delta merged by compaction is not known: nothing can be composed through it. */
    bool composed = chain->key != HISTORY_NO_POSITION && (chain->flags & HISTORY_OPERATION) != 0;
    unsigned depth = composed ? chain->depth + 1u : 0;
    bool has_base = !null && (!composed || codes_only || depth >= history->checkpoint_interval);
    if (has_base && !is_now) return false;
    bool wide = delta->operation == DELTA_SPARSE && gaps_together(delta->indices, delta->count) > UINT8_MAX;
    head.sequence = sequence;
    head.flags =
        (uint8_t)((unsigned)delta->operation | (delta->set ? HISTORY_SET : 0) | (has_base ? HISTORY_HAS_BASE : 0) |
                  (null ? HISTORY_BEFORE_NULL : 0) | (wide ? HISTORY_WIDE : 0));
    head.depth = (uint16_t)(null || has_base ? 0 : depth);
    head.count = dimensions << 16 | delta->count;
    head.metadata_bytes = delta->metadata_bytes;
    head.size_bytes = (uint32_t)history_vector_bytes(delta, wide, has_base, dimensions);
    float *at = (float *)(void *)(append_to(history, &head, chain) + 1);
    if (has_base && codes_only) {
        codes_vector(context, change->column, delta->row, at);
    } else if (has_base) {
        column_get_vector(column, delta->row, at);
    }
    if (has_base) at += dimensions;
    if (delta->operation == DELTA_SPARSE && delta->count > 0) {
        pack_indices(delta->indices, delta->count, wide, (uint8_t *)at);
        at += history_index_bytes(delta->count, wide) / sizeof *at;
    }
    if (delta->operation == DELTA_SCALE || delta->operation == DELTA_OFFSET) {
        *at++ = delta->amount;
    } else if (delta->count > 0 && half) {
        history->simd->f16_to_f32((const uint16_t *)(const void *)delta->values, at, delta->count);
        at += delta->count;
    } else if (delta->count > 0) {
        bytes_copy_words(at, delta->values, delta->count);
        at += delta->count;
    }
    if (delta->metadata_bytes > 0) memcpy(at, delta->metadata, delta->metadata_bytes);
    return true;
}

static void push_set(struct history *history, const struct table *table, const struct change *change,
                     history_vector_function *codes_vector, void *context) {
    const struct column *column = table->columns[change->column];
    const struct column_values *values = change->values;
    bool half = values->element == VELTA_F16;
    size_t width = column->spec.dimensions * (half ? sizeof(uint16_t) : sizeof(float));
    for (uint32_t i = 0; i < change->row_count; i++) {
        if (column->spec.type != VELTA_VECTOR) {
            push_scalar(history, change, column, change->column, change->rows[i]);
            continue;
        }
        struct vector_delta whole = {.operation = DELTA_DENSE, .set = true, .row = change->rows[i]};
        if (values->data != NULL && (values->valid == NULL || bitmap_get(values->valid, i))) {
            whole.count = column->spec.dimensions;
            whole.values = (const float *)(const void *)((const char *)values->data + i * width);
        }
        (void)push_vector(history, change, change->sequence, column, &whole, half, true, codes_vector, context);
    }
}

static void push_deaths(struct history *history, const struct table *table, const struct change *change,
                        history_vector_function *codes_vector, void *context) {
    struct change at_column = *change;
    for (size_t c = 0; c < table->column_count; c++) {
        at_column.column = (uint32_t)c;
        for (uint32_t i = 0; is_codes_only(table->columns[c]) && i < change->row_count; i++) {
            struct vector_delta gone = {.operation = DELTA_DENSE, .set = true, .row = change->rows[i]};
            if (column_is_null(table->columns[c], gone.row)) continue;
            (void)push_vector(history, &at_column, change->sequence, table->columns[c], &gone, false, true,
                              codes_vector, context);
        }
    }
    for (uint32_t i = 0; i < change->row_count; i++) {
        struct history_entry head = entry_of(change, HISTORY_DEATH, change->rows[i], HISTORY_DEATH_COLUMN);
        history_note(history, history_append(history, &head));
    }
}

uint32_t history_push_deltas(struct history *history, const struct table *table, const struct change *change,
                             uint32_t first, uint32_t end, history_vector_function *codes_vector, void *context) {
    const struct column *column = table->columns[change->column];
    history->pushing = true;
    for (uint32_t i = first; i < end; i++) {
        if (!push_vector(history, change, change->sequence + i, column, &change->deltas[i], false, i == first,
                         codes_vector, context)) {
            return i;
        }
    }
    return end;
}

void history_push(struct history *history, const struct table *table, const struct change *change,
                  history_vector_function *codes_vector, void *context) {
    history->pushing = true;
    switch (change->kind) {
    case CHANGE_ROWS_INSERT: {
        struct history_entry head = entry_of(change, HISTORY_BIRTH, change->first_row, HISTORY_DEATH_COLUMN);
        head.count = change->row_count;
        if (change->row_count > 0) history_note(history, history_append(history, &head));
        break;
    }
    case CHANGE_ROWS_SET:
        push_set(history, table, change, codes_vector, context);
        break;
    case CHANGE_ROWS_DELETE:
        push_deaths(history, table, change, codes_vector, context);
        break;
    case CHANGE_ROWS_EXPIRY:
        for (uint32_t i = 0; i < change->row_count; i++) {
            push_scalar(history, change, table->expiry, HISTORY_EXPIRY_COLUMN, change->rows[i]);
        }
        break;
    case CHANGE_VECTORS:
        assert(change->delta_count == 1);
        (void)history_push_deltas(history, table, change, 0, 1, codes_vector, context);
        break;
    default:
        break;
    }
}
