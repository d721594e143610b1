/*
 * History as bytes: part 0 says what there is, each part behind it holds the entries that begin in one stretch of
 * HISTORY_PART_BYTES positions, as they are in memory. Entries are only ever appended, so a checkpoint rewrites part 0
 * and the last parts. Chains, births and deaths are found again by going through the entries, each of which is checked
 * wholly; links must be those that the entries before them lead to.
 *
 * Part 0:   0 u32 version; 4 u32 points; 8 u64 bytes of entries; 16 u64 floor; 24 i64 its time;
 *          32 u64 sequence of the last change; 40 i64 its time; 48 points, 32 bytes each: low and high sequence, low
 *          and high time.
 */
#include "core/error.h"
#include "core/utf8.h"
#include "delta/history_state.h"

enum { META_VERSION = 2, META_BYTES = 48, POINT_BYTES = 32 };

/* ---- writing */

uint32_t history_part_count(const struct history *history) {
    return (uint32_t)history->part_count + 1;
}

/* Positions behind the entries of a part (0: the first that holds entries). */
static uint64_t part_end(const struct history *history, size_t part) {
    return part + 1 < history->part_count ? history->part_first[part + 1] : history->end;
}

uint64_t history_part_bytes(const struct history *history, uint32_t part) {
    if (part == 0) return META_BYTES + history->point_count * POINT_BYTES;
    return part_end(history, part - 1) - history->part_first[part - 1];
}

static void write_meta(const struct history *history, uint8_t *out) {
    bytes_put_u32(out, META_VERSION);
    bytes_put_u32(out + 4, (uint32_t)history->point_count);
    bytes_put_u64(out + 8, history->end);
    bytes_put_u64(out + 16, history->floor_sequence);
    bytes_put_u64(out + 24, (uint64_t)history->floor_time_ms);
    bytes_put_u64(out + 32, history->last_sequence);
    bytes_put_u64(out + 40, (uint64_t)history->last_time_ms);
    out += META_BYTES;
    for (size_t i = 0; i < history->point_count; i++, out += POINT_BYTES) {
        const struct history_point *point = &history->points[i];
        bytes_put_u64(out, point->low_sequence);
        bytes_put_u64(out + 8, point->high_sequence);
        bytes_put_u64(out + 16, (uint64_t)point->low_time_ms);
        bytes_put_u64(out + 24, (uint64_t)point->high_time_ms);
    }
}

void history_part_write(const struct history *history, uint32_t part, void *out) {
    uint8_t *to = out;
    uint64_t position;
    if (part == 0) {
        write_meta(history, to);
        return;
    }
    uint64_t end = part_end(history, part - 1);
    const struct history_entry *entry = history_first(history, part - 1, &position);
    while (entry != NULL && position < end) {
        memcpy(to, entry, entry->size_bytes);
        to += entry->size_bytes;
        entry = history_following(history, &position, entry);
    }
}

bool history_part_dirty(const struct history *history, uint32_t part) {
    if (part == 0) return history->meta_dirty || history->end != history->clean_end;
    return part > history->clean_parts || part_end(history, part - 1) > history->clean_end;
}

void history_part_clean(struct history *history, uint32_t part) {
    if (part == 0) history->meta_dirty = false;
    if (part < history->part_count) return; /* everything is clean once the last part is */
    history->clean_parts = history->part_count;
    history->clean_end = history->end;
}

/* ---- reading */

static enum velta_status fail(uint64_t offset, const char *what, struct velta_error *error) {
    return velta_fail(error, VELTA_CORRUPT, offset, "the history is damaged: %s", what);
}

static enum velta_status read_meta(struct history *history, const uint8_t *bytes, uint64_t size_bytes,
                                   struct velta_error *error) {
    if (size_bytes < META_BYTES) return fail(0, "its head is too short", error);
    if (bytes_get_u32(bytes) != META_VERSION) {
        return velta_fail(error, VELTA_VERSION, 0, "the history is of version %u; this velta reads version %u",
                          bytes_get_u32(bytes), (unsigned)META_VERSION);
    }
    size_t count = bytes_get_u32(bytes + 4);
    if (size_bytes != META_BYTES + (uint64_t)count * POINT_BYTES) return fail(4, "the number of its points", error);
    history->expected_end = bytes_get_u64(bytes + 8);
    history->floor_sequence = bytes_get_u64(bytes + 16);
    history->floor_time_ms = (int64_t)bytes_get_u64(bytes + 24);
    history->final_sequence = bytes_get_u64(bytes + 32);
    history->final_time_ms = (int64_t)bytes_get_u64(bytes + 40);
    if (history->floor_sequence > history->final_sequence || history->floor_time_ms > history->final_time_ms) {
        return fail(16, "its floor", error);
    }
    if (count == 0) return VELTA_OK;
    history->points = memory_allocate(history->memory, count * sizeof *history->points);
    if (history->points == NULL) return memory_fail(history->memory, error);
    history->point_count = count;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = bytes + META_BYTES + i * POINT_BYTES;
        struct history_point *point = &history->points[i];
        *point = (struct history_point){bytes_get_u64(at), bytes_get_u64(at + 8), (int64_t)bytes_get_u64(at + 16),
                                        (int64_t)bytes_get_u64(at + 24)};
        bool order = point->low_sequence <= point->high_sequence && point->high_sequence < history->floor_sequence &&
                     point->low_time_ms <= point->high_time_ms && point->high_time_ms <= history->floor_time_ms;
        if (i > 0) {
            order =
                order && point[-1].high_sequence < point->low_sequence && point[-1].high_time_ms <= point->low_time_ms;
        }
        if (!order) return fail((uint64_t)(at - bytes), "a point", error);
    }
    return VELTA_OK;
}

static bool are_zero(const uint8_t *bytes, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i] != 0) return false;
    }
    return true;
}

static bool are_finite(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if ((bytes_get_u32(bytes + 4 * i) & 0x7F800000u) == 0x7F800000u) return false;
    }
    return true;
}

/* Each returns what is wrong, or NULL. `bytes`: the whole entry, whose head is `entry`. */
static const char *check_birth(const struct history *history, const struct table *table,
                               const struct history_entry *entry) {
    uint32_t next = entry->row;
    if (history->run_count > 0) {
        const struct history_run *last = &history->runs[history->run_count - 1];
        next = last->first_row + last->row_count;
    }
    bool fits = entry->row == next && entry->count > 0 && entry->row <= table->row_count &&
                entry->count <= table->row_count - entry->row;
    bool plain = entry->column == HISTORY_DEATH_COLUMN && entry->flags == 0 && entry->depth == 0 &&
                 entry->metadata_bytes == 0 && entry->size_bytes == HISTORY_ENTRY_BYTES &&
                 entry->previous == HISTORY_NO_POSITION;
    return fits && plain ? NULL : "a birth";
}

static const char *check_scalar(const struct table *table, const struct history_entry *entry, const uint8_t *bytes) {
    bool expiry = entry->column == HISTORY_EXPIRY_COLUMN;
    if (!expiry && entry->column >= table->column_count) return "a column";
    enum velta_type type = expiry ? VELTA_TIMESTAMP : table->columns[entry->column]->spec.type;
    bool text = type == VELTA_STRING || type == VELTA_BYTES;
    bool null = entry->flags == HISTORY_BEFORE_NULL;
    size_t value_bytes = null ? 0 : text ? entry->count : 8;
    if (type == VELTA_VECTOR || entry->depth != 0 || entry->metadata_bytes != 0 || (entry->flags != 0 && !null) ||
        entry->count > VELTA_MAX_VALUE_BYTES || ((null || !text) && entry->count != 0) ||
        entry->size_bytes != history_text_bytes(value_bytes) ||
        !are_zero(bytes, HISTORY_ENTRY_BYTES + value_bytes, entry->size_bytes)) {
        return "a value";
    }
    const uint8_t *value = bytes + HISTORY_ENTRY_BYTES;
    if (type == VELTA_STRING && !utf8_is_valid(value, entry->count)) return "a text";
    if (type == VELTA_BOOL && !null && bytes_get_u64(value) > 1) return "a truth value";
    return NULL;
}

/* How a vector's entry stands to the one before on its chain. */
static const char *check_depth(const struct history *history, const struct history_entry *entry, bool codes_only) {
    const struct history_head *chain = history_find(history, entry->row, entry->column);
    bool alone = (entry->flags & (HISTORY_HAS_BASE | HISTORY_BEFORE_NULL)) != 0;
    if (alone) return entry->depth == 0 ? NULL : "a depth";
    if (chain == NULL || codes_only || entry->depth >= HISTORY_MAX_INTERVAL) return "a vector without its base";
    const struct history_entry *before = history_at(history, chain->position);
    unsigned operation = before->flags & HISTORY_OPERATION;
    /* Where the vector was set to NULL within the same change, only setting it again can follow. */
    bool null = operation == DELTA_DENSE && history_value_count(before) == 0;
    bool whole = (entry->flags & (HISTORY_OPERATION | HISTORY_SET)) == (DELTA_DENSE | HISTORY_SET);
    return operation != 0 && (!null || whole) && entry->depth == before->depth + 1u ? NULL : "a depth";
}

/* Ascending, below the dimensions, not wide without need, with zeros behind them. */
static bool are_indices(const uint8_t *bytes, uint32_t count, bool wide, uint32_t dimensions) {
    struct history_indices indices = {.bytes = bytes, .wide = wide};
    uint32_t next = 0;
    bool has_gap = false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index;
        history_read_indices(&indices, 1, &index);
        if (index < next || index >= dimensions) return false;
        has_gap |= index - next > UINT8_MAX;
        next = index + 1;
    }
    return wide == has_gap && are_zero(bytes, (size_t)(indices.bytes - bytes), history_index_bytes(count, wide));
}

static const char *check_vector(const struct history *history, const struct table *table,
                                const struct history_entry *entry, const uint8_t *bytes) {
    if (entry->column >= table->column_count) return "a column";
    const struct velta_column *spec = &table->columns[entry->column]->spec;
    unsigned operation = entry->flags & HISTORY_OPERATION;
    bool set = (entry->flags & HISTORY_SET) != 0;
    bool has_base = (entry->flags & HISTORY_HAS_BASE) != 0;
    bool null = (entry->flags & HISTORY_BEFORE_NULL) != 0;
    bool wide = (entry->flags & HISTORY_WIDE) != 0;
    uint32_t count = history_value_count(entry);
    struct vector_delta delta = {
        .operation = (enum delta_operation)operation, .count = count, .metadata_bytes = entry->metadata_bytes};
    bool shape = spec->type == VELTA_VECTOR && history_dimensions(entry) == spec->dimensions &&
                 entry->flags <= 2 * HISTORY_WIDE - 1 && (!wide || operation == DELTA_SPARSE) && !(has_base && null) &&
                 operation <= DELTA_OFFSET && count <= spec->dimensions;
    if (!shape) return "a vector";
    bool whole = operation == DELTA_DENSE && set;
    bool counted = operation == DELTA_SPARSE || (operation == DELTA_DENSE && (count == spec->dimensions || set));
    if ((!counted && count != 0) || (whole && count != 0 && count != spec->dimensions) ||
        (set && operation != DELTA_SPARSE && operation != DELTA_DENSE) || (null && operation != 0 && !whole) ||
        (operation == 0 && (entry->metadata_bytes != 0 || (!has_base && !null)))) {
        return "a vector's delta";
    }
    /* In 64 bits: the sizes of a hostile entry may be anything. */
    uint64_t used =
        HISTORY_ENTRY_BYTES + (has_base ? spec->dimensions * UINT64_C(4) : 0) + history_delta_bytes(&delta, wide);
    if (bytes_align_up(used, 8) != entry->size_bytes || !are_zero(bytes, (size_t)used, entry->size_bytes)) {
        return "a vector's size";
    }
    const uint8_t *at = bytes + HISTORY_ENTRY_BYTES;
    if (has_base && !are_finite(at, spec->dimensions)) return "a vector that is not finite";
    if (has_base) at += spec->dimensions * 4;
    if (operation == DELTA_SPARSE && !are_indices(at, count, wide, spec->dimensions)) return "a vector's indices";
    if (operation == DELTA_SPARSE) at += history_index_bytes(count, wide);
    size_t floats = operation == DELTA_SCALE || operation == DELTA_OFFSET ? 1 : count;
    if (operation != 0 && !are_finite(at, floats)) return "a delta that is not finite";
    return check_depth(history, entry, spec->element == VELTA_CODES);
}

static const char *check_death(const struct history *history, const struct table *table,
                               const struct history_entry *entry) {
    bool plain = entry->column == HISTORY_DEATH_COLUMN && entry->flags == 0 && entry->depth == 0 && entry->count == 0 &&
                 entry->metadata_bytes == 0 && entry->size_bytes == HISTORY_ENTRY_BYTES;
    bool dead =
        !bitmap_get(table->live.words, entry->row) && history_find(history, entry->row, HISTORY_DEATH_COLUMN) == NULL;
    return plain && dead ? NULL : "a death";
}

static const char *check_entry(const struct history *history, const struct table *table,
                               const struct history_entry *entry, const uint8_t *bytes) {
    if (entry->sequence < history->last_sequence || entry->time_ms < history->last_time_ms ||
        entry->sequence > history->final_sequence || entry->time_ms > history->final_time_ms) {
        return "the order of its changes";
    }
    if (entry->type == HISTORY_BIRTH) return check_birth(history, table, entry);
    if (entry->row >= table->row_count) return "a row";
    const struct history_head *chain = history_find(history, entry->row, entry->column);
    if (entry->previous != (chain != NULL ? chain->position : HISTORY_NO_POSITION)) return "a link";
    switch (entry->type) {
    case HISTORY_SCALAR:
        return check_scalar(table, entry, bytes);
    case HISTORY_VECTOR:
        return check_vector(history, table, entry, bytes);
    case HISTORY_DEATH:
        return check_death(history, table, entry);
    default:
        return "the kind of an entry";
    }
}

static enum velta_status take_entry(struct history *history, const struct history_entry *head, const uint8_t *bytes,
                                    struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    history_settle(history);
    if (head->type == HISTORY_BIRTH) {
        status = memory_grow_array(history->memory, (void **)&history->runs, &history->run_capacity,
                                   history->run_count + 1, sizeof *history->runs, error);
    } else if (head->type == HISTORY_DEATH) {
        status = memory_grow_array(history->memory, (void **)&history->deaths, &history->death_capacity,
                                   history->death_count + 1, sizeof *history->deaths, error);
    }
    if (status == VELTA_OK) status = history_promise(history, head->size_bytes, error);
    if (status != VELTA_OK) return status;
    struct history_entry *entry = history_append(history, head);
    memcpy(entry + 1, bytes + HISTORY_ENTRY_BYTES, head->size_bytes - HISTORY_ENTRY_BYTES);
    history_note(history, entry);
    return VELTA_OK;
}

enum velta_status history_part_read(struct history *history, const struct table *table, uint32_t part,
                                    const void *bytes, uint64_t size_bytes, struct velta_error *error) {
    const uint8_t *from = bytes;
    if (part != history->loaded_parts) return fail(0, "its parts are not in order", error);
    history->loaded_parts++;
    if (part == 0) return read_meta(history, bytes, size_bytes, error);
    for (uint64_t at = 0; at < size_bytes;) {
        struct history_entry head;
        if (size_bytes - at < HISTORY_ENTRY_BYTES) return fail(at, "an entry is cut off", error);
        memcpy(&head, from + at, sizeof head);
        if (head.size_bytes < HISTORY_ENTRY_BYTES || head.size_bytes % 8 != 0 || head.size_bytes > size_bytes - at ||
            history->end / HISTORY_PART_BYTES != part - 1 || head.size_bytes > history->expected_end - history->end) {
            return fail(at, "the size of an entry", error);
        }
        const char *wrong = check_entry(history, table, &head, from + at);
        if (wrong != NULL) return fail(at, wrong, error);
        enum velta_status status = take_entry(history, &head, from + at, error);
        if (status != VELTA_OK) return status;
        at += head.size_bytes;
    }
    return VELTA_OK;
}

enum velta_status history_load_finish(struct history *history, const struct table *table, struct velta_error *error) {
    if (history->loaded_parts == 0 || history->end != history->expected_end ||
        history->loaded_parts != history_part_count(history)) {
        return fail(0, "parts are missing", error);
    }
    if (history->run_count > 0) {
        const struct history_run *last = &history->runs[history->run_count - 1];
        if (last->first_row + last->row_count != table->row_count) return fail(0, "births are missing", error);
    }
    history->last_sequence = history->final_sequence;
    history->last_time_ms = history->final_time_ms;
    history->meta_dirty = false;
    history->clean_end = history->end;
    history->clean_parts = history->part_count;
    return VELTA_OK;
}
