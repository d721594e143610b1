/*
 * Reading the past. A state is named by the sequence number after which it stood; what a chain says about it is what
 * its oldest entry after that number found before itself. Where no entry is younger, the table's present value stood.
 */
#include "core/error.h"
#include "core/sort.h"
#include "delta/history_state.h"

/* ---- places in the sequence */

static bool is_until(const struct history_entry *entry, bool by_time, uint64_t limit, int64_t limit_ms) {
    return by_time ? entry->time_ms <= limit_ms : entry->sequence <= limit;
}

const struct history_entry *history_last_until(const struct history *history, bool by_time, uint64_t limit,
                                               int64_t limit_ms, const struct history_entry **next) {
    uint64_t position = 0;
    size_t low = 0;
    size_t high = history->part_count;
    const struct history_entry *last = NULL;
    while (low < high) { /* the number of parts whose first entry is not too late */
        size_t middle = low + (high - low) / 2;
        const struct history_entry *first = history_first(history, middle, &position);
        if (first != NULL && is_until(first, by_time, limit, limit_ms)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct history_entry *entry = history_first(history, low > 0 ? low - 1 : 0, &position);
    while (entry != NULL && is_until(entry, by_time, limit, limit_ms)) {
        last = entry;
        entry = history_following(history, &position, entry);
    }
    *next = entry;
    return last;
}

enum velta_status history_sequence_at(const struct history *history, int64_t time_ms, uint64_t *sequence,
                                      struct velta_error *error) {
    const struct history_entry *next;
    *sequence = HISTORY_NOW;
    if (time_ms >= history->last_time_ms && time_ms >= history->floor_time_ms) return VELTA_OK;
    if (time_ms >= history->floor_time_ms) {
        const struct history_entry *last = history_last_until(history, true, 0, time_ms, &next);
        bool later = last != NULL && last->sequence > history->floor_sequence;
        *sequence = later ? last->sequence : history->floor_sequence;
        return VELTA_OK;
    }
    for (size_t i = 0; i < history->point_count; i++) {
        const struct history_point *point = &history->points[i];
        if (time_ms >= point->low_time_ms && time_ms < point->high_time_ms) {
            *sequence = point->low_sequence;
            return VELTA_OK;
        }
    }
    return velta_fail(error, VELTA_HISTORY_GONE, VELTA_NO_OFFSET, "the state of that time is no longer kept");
}

bool history_keeps(const struct history *history, uint64_t sequence) {
    if (sequence >= history->floor_sequence) return true;
    for (size_t i = 0; i < history->point_count; i++) {
        const struct history_point *point = &history->points[i];
        if (sequence >= point->low_sequence && sequence <= point->high_sequence) return true;
    }
    return false;
}

/* ---- rows */

uint32_t history_born_until(const struct history *history, uint32_t row_count, uint64_t sequence) {
    size_t low = 0;
    size_t high = history->run_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (history->runs[middle].sequence <= sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < history->run_count ? history->runs[low].first_row : row_count;
}

bool history_birth(const struct history *history, uint32_t row, uint64_t *sequence, int64_t *time_ms) {
    size_t low = 0;
    size_t high = history->run_count;
    while (low < high) { /* the number of runs that do not begin behind the row */
        size_t middle = low + (high - low) / 2;
        if (history->runs[middle].first_row <= row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    const struct history_run *run = low > 0 ? &history->runs[low - 1] : NULL;
    if (run == NULL || row - run->first_row >= run->row_count || run->sequence <= history->floor_sequence) return false;
    *sequence = run->sequence;
    *time_ms = run->time_ms;
    return true;
}

size_t history_first_death_after(const struct history *history, uint64_t sequence) {
    size_t low = 0;
    size_t high = history->death_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (history->deaths[middle].sequence <= sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool history_has_died(const struct history *history, uint32_t row) {
    return history_find(history, row, HISTORY_DEATH_COLUMN) != NULL;
}

bool history_row_alive(const struct history *history, const struct table *table, uint32_t row, uint64_t sequence) {
    if (row >= history_born_until(history, table->row_count, sequence)) return false;
    if (bitmap_get(table->live.words, row)) return true;
    const struct history_head *death = history_find(history, row, HISTORY_DEATH_COLUMN);
    return death != NULL && death->sequence > sequence;
}

static void clear_from(uint64_t *words, size_t word_count, uint32_t first) {
    size_t word = first / 64;
    if (word >= word_count) return;
    words[word] &= (UINT64_C(1) << (first % 64)) - 1;
    memset(words + word + 1, 0, (word_count - word - 1) * sizeof *words);
}

static void clear_expired(const struct history *history, const struct table *table, uint64_t sequence, int64_t now_ms,
                          size_t word_count, uint64_t *out) {
    for (size_t i = 0; i < word_count; i++) {
        for (uint64_t left = out[i]; left != 0; left &= left - 1) {
            uint32_t row = (uint32_t)(i * 64 + (size_t)__builtin_ctzll(left));
            struct column_scalar expiry;
            bool ends = history_scalar(history, table, HISTORY_EXPIRY_COLUMN, row, sequence, &expiry);
            if (ends && expiry.integer <= now_ms) bitmap_clear(out, row);
        }
    }
}

uint64_t history_alive(const struct history *history, const struct table *table, uint64_t sequence, int64_t now_ms,
                       uint64_t *out) {
    size_t word_count = bitmap_words(table->row_count);
    uint32_t born = history_born_until(history, table->row_count, sequence);
    if (word_count == 0) return 0;
    memcpy(out, table->live.words, word_count * sizeof *out);
    for (size_t i = history_first_death_after(history, sequence); i < history->death_count; i++) {
        bitmap_set(out, history->deaths[i].row);
    }
    clear_from(out, word_count, born);
    if (table->expiry != NULL) clear_expired(history, table, sequence, now_ms, word_count, out);
    return history->simd->bits_count(out, word_count);
}

static bool has_key(const struct column *keys, uint32_t row, const void *key, size_t key_bytes, int64_t key_int) {
    if (column_is_null(keys, row)) return false;
    if (keys->dictionary == NULL) return column_integer(keys, row) == key_int;
    size_t text_bytes;
    const void *text = column_text(keys, row, &text_bytes);
    return text_bytes == key_bytes && (key_bytes == 0 || memcmp(text, key, key_bytes) == 0);
}

uint32_t history_find_dead(const struct history *history, const struct table *table, uint64_t sequence, const void *key,
                           size_t key_bytes, int64_t key_int) {
    uint32_t born = history_born_until(history, table->row_count, sequence);
    if (table->key_column == NULL) return VELTA_NO_ROW;
    for (size_t i = history_first_death_after(history, sequence); i < history->death_count; i++) {
        uint32_t row = history->deaths[i].row;
        if (row < born && has_key(table->key_column, row, key, key_bytes, key_int)) return row;
    }
    return VELTA_NO_ROW;
}

static int compare_rows(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

size_t history_changed_rows(const struct history *history, uint32_t column, uint64_t sequence, uint32_t *rows,
                            size_t capacity) {
    size_t count = 0;
    for (size_t i = 0; i < history->head_capacity; i++) {
        const struct history_head *head = &history->heads[i];
        if (head->key == HISTORY_NO_POSITION || (uint32_t)head->key != column || head->sequence <= sequence) continue;
        if (count < capacity) rows[count] = (uint32_t)(head->key >> 32);
        count++;
    }
    if (count <= capacity && count > 1) sort_elements(rows, count, sizeof *rows, compare_rows);
    return count;
}

/* ---- values */

const struct history_entry *history_oldest_after(const struct history *history, uint32_t row, uint32_t column,
                                                 uint64_t sequence) {
    const struct history_head *head = history_find(history, row, column);
    const struct history_entry *oldest = NULL;
    uint64_t position = head != NULL ? head->position : HISTORY_NO_POSITION;
    while (position != HISTORY_NO_POSITION) {
        const struct history_entry *entry = history_at(history, position);
        if (entry->sequence <= sequence) break;
        oldest = entry;
        position = entry->previous;
    }
    return oldest;
}

bool history_scalar(const struct history *history, const struct table *table, uint32_t column, uint32_t row,
                    uint64_t sequence, struct column_scalar *value) {
    const struct history_entry *entry = history_oldest_after(history, row, column, sequence);
    const struct column *now = column == HISTORY_EXPIRY_COLUMN ? table->expiry : table->columns[column];
    *value = (struct column_scalar){0};
    if (entry == NULL) {
        return now != NULL && column_get_scalar(now, row, value);
    }
    if (entry->flags & HISTORY_BEFORE_NULL) return false;
    if (now != NULL && now->dictionary != NULL) {
        value->text = entry + 1;
        value->text_bytes = entry->count;
    } else if (now != NULL && now->spec.type == VELTA_FLOAT) {
        memcpy(&value->number, entry + 1, sizeof value->number);
    } else {
        memcpy(&value->integer, entry + 1, sizeof value->integer);
    }
    return true;
}

/* ---- vectors */

struct history_vector history_unpack(const struct history_entry *entry) {
    struct history_vector out = {0};
    const float *at = (const float *)(const void *)(entry + 1);
    out.delta.operation = (enum delta_operation)(entry->flags & HISTORY_OPERATION);
    out.delta.set = (entry->flags & HISTORY_SET) != 0;
    out.delta.row = entry->row;
    out.delta.count = history_value_count(entry);
    if (entry->flags & HISTORY_HAS_BASE) {
        out.base = at;
        at += history_dimensions(entry);
    }
    if (out.delta.operation == DELTA_SPARSE) {
        bool wide = (entry->flags & HISTORY_WIDE) != 0;
        out.indices = (struct history_indices){.bytes = (const uint8_t *)at, .wide = wide};
        at += history_index_bytes(out.delta.count, wide) / sizeof *at;
    }
    if (out.delta.operation == DELTA_SCALE || out.delta.operation == DELTA_OFFSET) {
        out.delta.amount = *at++;
    } else if (out.delta.count > 0) {
        out.delta.values = at;
        at += out.delta.count;
    }
    out.delta.metadata = entry->metadata_bytes > 0 ? at : NULL;
    out.delta.metadata_bytes = entry->metadata_bytes;
    return out;
}

void history_read_indices(struct history_indices *indices, uint32_t count, uint32_t *out) {
    for (uint32_t i = 0; i < count && indices->wide; i++) {
        out[i] = bytes_get_u16(indices->bytes + 2 * (size_t)i);
    }
    for (uint32_t i = 0; i < count && !indices->wide; i++) {
        out[i] = indices->next + indices->bytes[i];
        indices->next = out[i] + 1;
    }
    indices->bytes += indices->wide ? 2 * (size_t)count : count;
}

static void apply_sparse(const struct simd_kernels *simd, const struct history_vector *step, float *vector) {
    uint32_t indices[64];
    const uint32_t most = sizeof indices / sizeof *indices;
    struct history_indices packed = step->indices;
    for (uint32_t i = 0; i < step->delta.count; i += most) {
        uint32_t n = step->delta.count - i < most ? step->delta.count - i : most;
        history_read_indices(&packed, n, indices);
        simd->sparse_f32(vector, indices, step->delta.values + i, n, step->delta.set ? SIMD_SET : SIMD_ADD);
    }
}

void history_apply(const struct simd_kernels *simd, const struct history_vector *step, enum velta_element element,
                   uint32_t dimensions, float *vector) {
    uint16_t rounded[64];
    if (step->delta.operation == DELTA_SPARSE) {
        apply_sparse(simd, step, vector);
    } else {
        vector_delta_apply(simd, &step->delta, vector, dimensions);
    }
    for (uint32_t i = 0; element == VELTA_F16 && i < dimensions; i += 64) { /* what the table stores */
        uint32_t n = dimensions - i < 64 ? dimensions - i : 64;
        simd->f32_to_f16(vector + i, rounded, n);
        simd->f16_to_f32(rounded, vector + i, n);
    }
}

bool history_before(const struct history *history, const struct history_entry *entry, enum velta_element element,
                    float *out) {
    const struct history_entry *steps[HISTORY_MAX_INTERVAL + 1];
    const uint32_t dimensions = history_dimensions(entry);
    unsigned depth = entry->depth;
    steps[depth] = entry;
    for (unsigned i = depth; i-- > 0;) {
        steps[i] = history_at(history, steps[i + 1]->previous);
    }
    bool there = (steps[0]->flags & HISTORY_BEFORE_NULL) == 0;
    if (there) memcpy(out, history_unpack(steps[0]).base, dimensions * sizeof *out);
    for (unsigned i = 0; i < depth; i++) {
        struct history_vector step = history_unpack(steps[i]);
        there = step.delta.operation != DELTA_DENSE || step.delta.values != NULL;
        if (there) history_apply(history->simd, &step, element, dimensions, out);
    }
    return there;
}

bool history_vector(const struct history *history, const struct table *table, uint32_t column, uint32_t row,
                    uint64_t sequence, history_vector_function *codes_vector, void *context, float *out) {
    const struct column *now = table->columns[column];
    const struct history_entry *entry = history_oldest_after(history, row, column, sequence);
    if (entry != NULL) return history_before(history, entry, now->spec.element, out);
    if (column_is_null(now, row)) return false;
    if (now->spec.element == VELTA_CODES) {
        codes_vector(context, column, row, out);
    } else {
        column_get_vector(now, row, out);
    }
    return true;
}

static bool is_merged(const struct history_entry *entry) {
    return (entry->flags & HISTORY_OPERATION) == 0;
}

/* The items of an entry: its base where the chain begins or deltas were merged, its delta unless it was merged. */
static bool shows_base(const struct history *history, const struct history_entry *entry) {
    return is_merged(entry) || entry->previous == HISTORY_NO_POSITION ||
           is_merged(history_at(history, entry->previous));
}

size_t history_chain(const struct history *history, uint32_t column, uint32_t row, struct history_delta *out,
                     size_t capacity) {
    const struct history_head *head = history_find(history, row, column);
    uint64_t newest = head != NULL ? head->position : HISTORY_NO_POSITION;
    const struct history_entry *entry;
    size_t count = 0;
    for (uint64_t position = newest; position != HISTORY_NO_POSITION; position = entry->previous) {
        entry = history_at(history, position);
        count += (size_t)shows_base(history, entry) + !is_merged(entry);
    }
    size_t index = count; /* from the newest to the oldest */
    for (uint64_t position = newest; position != HISTORY_NO_POSITION; position = entry->previous) {
        entry = history_at(history, position);
        struct history_vector vector = history_unpack(entry);
        if (!is_merged(entry) && --index < capacity) {
            out[index] = (struct history_delta){entry->sequence, entry->time_ms, vector.delta, vector.indices};
        }
        if (shows_base(history, entry) && --index < capacity) {
            out[index] = (struct history_delta){.delta = {.row = row, .values = vector.base}};
            if (vector.base != NULL) out[index].delta.count = history_dimensions(entry);
        }
    }
    return count;
}
