/*
 * Compaction: a new history that can still answer for the states asked for, and holds nothing else.
 *
 * The kept states are single points and everything from a floor on. Between two of them that are neighbours only the
 * oldest entry of a chain matters: what it found before itself is the value at the lower one. So that entry stays,
 * under its own sequence number, and the others of its chain up to the upper one go; a vector's entry that stays gets
 * a base, because the deltas it was composed from may have gone, and loses its delta. Entries behind the floor stay as
 * they are, but the first of each chain, whose predecessors may have gone, gets a base, too.
 */
#include "core/error.h"
#include "core/sort.h"
#include "delta/history_state.h"

/* One compaction. Which states stay is noted in `made`: its points, and its floor. */
struct plan {
    const struct history *old;
    const struct table *table;
    const uint32_t *row_map;
    struct history *made;
    float *vector; /* room for the longest vector */
    size_t vector_floats;
};

/* ---- which states */

/* The range of sequences and times in which the state was the one after `sequence`; false: it is not kept. */
static bool find_range(const struct history *history, uint64_t sequence, struct history_point *out) {
    const struct history_entry *next;
    for (size_t i = 0; i < history->point_count; i++) {
        *out = history->points[i];
        if (sequence >= out->low_sequence && sequence <= out->high_sequence) return true;
    }
    if (sequence < history->floor_sequence) return false;
    const struct history_entry *last = history_last_until(history, false, sequence, 0, &next);
    bool later = last != NULL && last->sequence > history->floor_sequence;
    out->low_sequence = later ? last->sequence : history->floor_sequence;
    out->low_time_ms = later ? last->time_ms : history->floor_time_ms;
    /* Entries before the floor are skipped: what follows the state at the floor is the first entry behind it. */
    if (!later) last = history_last_until(history, false, history->floor_sequence, 0, &next);
    out->high_sequence = next != NULL ? next->sequence - 1 : HISTORY_NOW - 1;
    out->high_time_ms = next != NULL ? next->time_ms : INT64_MAX;
    return true;
}

static struct history_point find_floor(const struct history *history, uint64_t keep_from) {
    struct history_point floor;
    uint64_t sequence = keep_from > history->floor_sequence ? keep_from : history->floor_sequence;
    (void)find_range(history, sequence, &floor);
    return floor;
}

static int compare_points(const void *a, const void *b) {
    const struct history_point *x = a;
    const struct history_point *y = b;
    return (x->low_sequence > y->low_sequence) - (x->low_sequence < y->low_sequence);
}

/* How many of the points are before `sequence`: numbers the interval between kept states in which it lies. */
static size_t interval_of(const struct history *made, uint64_t sequence) {
    size_t low = 0;
    size_t high = made->point_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (made->points[middle].low_sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The i-th single state that stays: those kept already from keep_from on, then those asked for. false: it does not. */
static bool chosen_point(const struct history *old, uint64_t keep_from, const uint64_t *points, size_t i,
                         struct history_point *out) {
    if (i >= old->point_count) return find_range(old, points[i - old->point_count], out);
    *out = old->points[i];
    return out->high_sequence >= keep_from;
}

static enum velta_status choose_states(struct history *made, const struct history *old, uint64_t keep_from,
                                       const uint64_t *points, size_t point_count, struct velta_error *error) {
    struct history_point floor = find_floor(old, keep_from);
    size_t most = old->point_count + point_count;
    size_t kept = 0;
    size_t distinct = 0;
    made->floor_sequence = floor.low_sequence;
    made->floor_time_ms = floor.low_time_ms;
    if (most == 0) return VELTA_OK;
    struct history_point *ranges = memory_allocate(made->memory, most * sizeof *ranges);
    if (ranges == NULL) return memory_fail(made->memory, error);
    for (size_t i = 0; i < most; i++) {
        bool stays = chosen_point(old, keep_from, points, i, &ranges[kept]);
        if (stays && ranges[kept].low_sequence < floor.low_sequence) kept++;
    }
    sort_elements(ranges, kept, sizeof *ranges, compare_points);
    for (size_t i = 0; i < kept; i++) {
        if (distinct == 0 || ranges[i].low_sequence != ranges[distinct - 1].low_sequence)
            ranges[distinct++] = ranges[i];
    }
    enum velta_status status = VELTA_OK;
    if (distinct > 0) {
        made->points = memory_allocate(made->memory, distinct * sizeof *ranges);
        if (made->points == NULL) status = memory_fail(made->memory, error);
    }
    if (made->points != NULL) {
        memcpy(made->points, ranges, distinct * sizeof *ranges);
        made->point_count = distinct;
    }
    memory_release(made->memory, ranges, most * sizeof *ranges);
    return status;
}

/* ---- which rows */

void history_needed_rows(const struct history *history, uint64_t keep_from, const uint64_t *points, size_t point_count,
                         uint64_t *rows) {
    struct history_point floor = find_floor(history, keep_from);
    for (size_t i = 0; i < history->death_count; i++) {
        if (history->deaths[i].sequence > floor.low_sequence) bitmap_set(rows, history->deaths[i].row);
    }
    for (size_t p = 0; p < history->point_count + point_count; p++) {
        struct history_point point;
        if (!chosen_point(history, keep_from, points, p, &point)) continue;
        uint32_t born = history_born_until(history, UINT32_MAX, point.low_sequence);
        for (size_t i = history_first_death_after(history, point.low_sequence); i < history->death_count; i++) {
            if (history->deaths[i].row < born) bitmap_set(rows, history->deaths[i].row);
        }
    }
}

/* ---- copying entries */

static enum velta_status promise_more(struct history *made, const struct history_entry *entry, uint64_t size_bytes,
                                      struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    history_settle(made);
    if (entry->type == HISTORY_BIRTH) {
        status = memory_grow_array(made->memory, (void **)&made->runs, &made->run_capacity, made->run_count + 1,
                                   sizeof *made->runs, error);
    } else if (entry->type == HISTORY_DEATH) {
        status = memory_grow_array(made->memory, (void **)&made->deaths, &made->death_capacity, made->death_count + 1,
                                   sizeof *made->deaths, error);
    }
    return status != VELTA_OK ? status : history_promise(made, size_bytes, error);
}

/* Rows born in a run that are still there are neighbours in the new numbering. */
static enum velta_status copy_birth(struct plan *plan, const struct history_entry *entry, struct velta_error *error) {
    struct history_entry head = *entry;
    head.count = 0;
    for (uint32_t i = 0; i < entry->count; i++) {
        uint32_t row = plan->row_map[entry->row + i];
        if (row == VELTA_NO_ROW) continue;
        if (head.count++ == 0) head.row = row;
    }
    /* Born before every kept state. */
    uint64_t first = plan->made->point_count > 0 ? plan->made->points[0].low_sequence : plan->made->floor_sequence;
    if (head.count == 0 || entry->sequence <= first) return VELTA_OK;
    enum velta_status status = promise_more(plan->made, &head, head.size_bytes, error);
    if (status == VELTA_OK) history_note(plan->made, history_append(plan->made, &head));
    return status;
}

static enum velta_status grow_vector(struct plan *plan, uint32_t dimensions, struct velta_error *error) {
    return memory_grow_array(plan->made->memory, (void **)&plan->vector, &plan->vector_floats, dimensions,
                             sizeof *plan->vector, error);
}

/* A vector's entry with a base of its own; merged: without its delta. */
static enum velta_status copy_based(struct plan *plan, const struct history_entry *entry, uint32_t row, bool merged,
                                    struct velta_error *error) {
    const struct velta_column *spec = &plan->table->columns[entry->column]->spec;
    struct history_vector vector = history_unpack(entry);
    uint32_t dimensions = history_dimensions(entry);
    enum velta_status status = grow_vector(plan, dimensions, error);
    if (status != VELTA_OK) return status;
    bool there = history_before(plan->old, entry, spec->element, plan->vector);
    struct history_entry head = *entry;
    if (merged) vector.delta = (struct vector_delta){0};
    head.row = row;
    head.depth = 0;
    head.metadata_bytes = vector.delta.metadata_bytes;
    head.count = dimensions << 16 | vector.delta.count;
    bool wide = (entry->flags & HISTORY_WIDE) != 0;
    head.flags = (uint8_t)((merged ? 0 : entry->flags & (HISTORY_OPERATION | HISTORY_SET | HISTORY_WIDE)) |
                           (there ? HISTORY_HAS_BASE : HISTORY_BEFORE_NULL));
    head.size_bytes = (uint32_t)history_vector_bytes(&vector.delta, wide, there, dimensions);
    status = promise_more(plan->made, &head, head.size_bytes, error);
    if (status != VELTA_OK) return status;
    float *at = (float *)(void *)(history_append(plan->made, &head) + 1);
    if (there) {
        memcpy(at, plan->vector, dimensions * sizeof *at);
        at += dimensions;
    }
    if (!merged) { /* the delta and the metadata follow the old base as they are */
        size_t skip = HISTORY_ENTRY_BYTES + (vector.base != NULL ? dimensions * sizeof *at : 0);
        memcpy(at, (const uint8_t *)entry + skip, history_delta_bytes(&vector.delta, wide));
    }
    return VELTA_OK;
}

static enum velta_status copy_whole(struct plan *plan, const struct history_entry *entry, uint32_t row,
                                    struct velta_error *error) {
    struct history_entry head = *entry;
    head.row = row;
    const struct history_head *chain = history_find(plan->made, row, entry->column);
    if (entry->type == HISTORY_VECTOR && entry->depth > 0) { /* only behind entries that are all there */
        head.depth = (uint16_t)(history_at(plan->made, chain->position)->depth + 1u);
    }
    enum velta_status status = promise_more(plan->made, &head, head.size_bytes, error);
    if (status != VELTA_OK) return status;
    struct history_entry *made = history_append(plan->made, &head);
    memcpy(made + 1, entry + 1, entry->size_bytes - HISTORY_ENTRY_BYTES);
    history_note(plan->made, made);
    return VELTA_OK;
}

static enum velta_status copy_entry(struct plan *plan, const struct history_entry *entry, struct velta_error *error) {
    struct history *made = plan->made;
    if (entry->type == HISTORY_BIRTH) return copy_birth(plan, entry, error);
    uint32_t row = plan->row_map[entry->row];
    size_t interval = interval_of(made, entry->sequence);
    if (row == VELTA_NO_ROW) return VELTA_OK;
    bool behind_floor = entry->sequence > made->floor_sequence;
    if (!behind_floor && interval == 0) return VELTA_OK; /* before every kept state */
    const struct history_head *chain = history_find(made, row, entry->column);
    bool chain_behind = chain != NULL && chain->sequence > made->floor_sequence;
    if (!behind_floor && chain != NULL && interval_of(made, chain->sequence) == interval) return VELTA_OK;
    if (entry->type != HISTORY_VECTOR) return copy_whole(plan, entry, row, error);
    if (!behind_floor) return copy_based(plan, entry, row, true, error);
    bool deep = chain_behind && history_at(made, chain->position)->depth + 1u >= made->checkpoint_interval;
    if (!chain_behind || (deep && entry->depth > 0)) return copy_based(plan, entry, row, false, error);
    return copy_whole(plan, entry, row, error);
}

enum velta_status history_compact(const struct history *history, const struct table *table, const uint32_t *row_map,
                                  uint64_t keep_from, const uint64_t *points, size_t point_count, struct history **out,
                                  struct velta_error *error) {
    struct plan plan = {.old = history, .table = table, .row_map = row_map};
    enum velta_status status =
        history_create(history->memory, history->simd, history->checkpoint_interval, &plan.made, error);
    if (status != VELTA_OK) return status;
    status = choose_states(plan.made, history, keep_from, points, point_count, error);
    uint64_t position;
    const struct history_entry *entry = history_first(history, 0, &position);
    while (entry != NULL && status == VELTA_OK) {
        status = copy_entry(&plan, entry, error);
        entry = history_following(history, &position, entry);
    }
    memory_release(history->memory, plan.vector, plan.vector_floats * sizeof *plan.vector);
    if (status != VELTA_OK) {
        history_destroy(plan.made);
        return status;
    }
    history_settle(plan.made);
    plan.made->last_sequence = history->last_sequence;
    plan.made->last_time_ms = history->last_time_ms;
    *out = plan.made;
    return VELTA_OK;
}
