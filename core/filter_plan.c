/*
 * Building and simplifying plans; what is known of dictionary predicates.
 *
 * Simplifications: ranges are sorted and joined where they touch; a complement that is a single range becomes that
 * range; ANDed ranges of one column are intersected; constants vanish; AND in AND and OR in OR are flattened. They are
 * allowed because a plan only has to be right about TRUE.
 */
#include "core/filter_plan.h"

#include <assert.h>
#include <string.h>

#include "core/bitmap.h"
#include "core/error.h"
#include "core/sort.h"

struct filter_node *filter_new_node(struct filter *filter, enum filter_node_kind kind, size_t column) {
    struct filter_node *node = arena_allocate(&filter->arena, sizeof *node);
    if (node) {
        memset(node, 0, sizeof *node);
        node->kind = kind;
        node->column = (uint32_t)column;
        node->rank = kind == FILTER_NODE_PRESENT ? 2 : 0.3;
    }
    return node;
}

/* Work per row over the share of rows that it rules out: the order in which ANDed conditions cost least. */
static double rank_of(double cost, double share, bool complement) {
    return cost / (1 - (complement ? 1 - share : share));
}

/* ---- integers */

static int compare_ranges(const void *a, const void *b) {
    const struct filter_range *left = a, *right = b;
    return left->low < right->low ? -1 : left->low > right->low;
}

static uint32_t join_ranges(struct filter_range *ranges, uint32_t count) {
    uint32_t kept = 0;
    sort_elements(ranges, count, sizeof ranges[0], compare_ranges);
    for (uint32_t i = 0; i < count; i++) {
        struct filter_range *last = &ranges[kept - (kept > 0)];
        if (kept > 0 && (last->high == INT64_MAX || ranges[i].low <= last->high + 1))
            last->high = ranges[i].high > last->high ? ranges[i].high : last->high;
        else
            ranges[kept++] = ranges[i];
    }
    return kept;
}

bool filter_ranges_have(const struct filter_range *ranges, uint32_t count, int64_t value) {
    uint32_t below = 0; /* ranges that start at or below the value */
    for (uint32_t half = count; half > 0;) {
        uint32_t step = (half + 1) / 2;
        half -= step;
        below += ranges[below + step - 1].low <= value ? step : 0;
    }
    return below > 0 && value <= ranges[below - 1].high;
}

/* A bitmap of a long list, where its span is small: one load a row instead of a search. */
static bool make_set(struct filter *filter, struct filter_node *node) {
    int64_t base = node->ranges[0].low;
    uint64_t span = (uint64_t)node->ranges[node->count - 1].high - (uint64_t)base;
    if (span >= FILTER_MAX_SET_BITS) return true;
    size_t set_bytes = bitmap_words(span + 1) * sizeof *node->set;
    node->set = arena_allocate(&filter->arena, set_bytes);
    if (!node->set) return false;
    memset(node->set, 0, set_bytes);
    node->set_bits = span + 1;
    for (uint32_t i = 0; i < node->count; i++)
        bitmap_set_range(node->set, (uint64_t)node->ranges[i].low - (uint64_t)base,
                         (uint64_t)node->ranges[i].high - (uint64_t)node->ranges[i].low + 1);
    return true;
}

static void rank_integers(struct filter_node *node) {
    bool point = node->count > 1 || node->ranges[0].low == node->ranges[0].high;
    double cost = node->count <= FILTER_MAX_PASSES ? 2.0 * node->count : node->set ? 20 : 60;
    node->rank = rank_of(cost, point ? 0.05 : 0.4, node->complement);
}

struct filter_node *filter_new_integers(struct filter *filter, size_t column, struct filter_range *ranges,
                                        uint32_t count, bool complement) {
    count = join_ranges(ranges, count);
    bool from_least = count > 0 && ranges[0].low == INT64_MIN;
    bool to_greatest = count > 0 && ranges[count - 1].high == INT64_MAX;
    if (count == 0 || (count == 1 && from_least && to_greatest))
        return filter_new_node(filter, (count == 0) == complement ? FILTER_NODE_PRESENT : FILTER_NODE_NEVER, column);
    if (complement && count == 1 && (from_least || to_greatest)) {
        ranges[0] = from_least ? (struct filter_range){ranges[0].high + 1, INT64_MAX}
                               : (struct filter_range){INT64_MIN, ranges[0].low - 1};
        complement = false;
    }
    struct filter_node *node = filter_new_node(filter, FILTER_NODE_INTEGERS, column);
    if (!node) return NULL;
    node->ranges = ranges;
    node->count = count;
    node->complement = complement;
    if (count > FILTER_MAX_PASSES && !make_set(filter, node)) return NULL;
    rank_integers(node);
    return node;
}

/* ---- floats */

static int compare_spans(const void *a, const void *b) {
    const struct filter_span *left = a, *right = b;
    return left->low < right->low ? -1 : left->low > right->low;
}

bool filter_spans_have(const struct filter_span *spans, uint32_t count, double value) {
    uint32_t below = 0;
    for (uint32_t half = count; half > 0;) {
        uint32_t step = (half + 1) / 2;
        half -= step;
        below += spans[below + step - 1].low <= value ? step : 0;
    }
    return below > 0 && value <= spans[below - 1].high;
}

static void rank_floats(struct filter_node *node) {
    bool point = node->count > 1 || node->spans[0].low >= node->spans[0].high;
    double cost = node->count <= FILTER_MAX_PASSES ? 8.0 * node->count : 70;
    node->rank = rank_of(cost, point ? 0.05 : 0.4, node->complement);
}

struct filter_node *filter_new_floats(struct filter *filter, size_t column, struct filter_span *spans, uint32_t count,
                                      bool complement) {
    uint32_t kept = 0;
    sort_elements(spans, count, sizeof spans[0], compare_spans);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || spans[i].low > spans[kept - 1].high) spans[kept++] = spans[i];
    if (kept == 0) return filter_new_node(filter, complement ? FILTER_NODE_PRESENT : FILTER_NODE_NEVER, column);
    struct filter_node *node = filter_new_node(filter, FILTER_NODE_FLOATS, column);
    if (!node) return NULL;
    node->spans = spans;
    node->count = kept;
    node->complement = complement;
    rank_floats(node);
    return node;
}

/* ---- dictionary codes */

struct filter_node *filter_new_codes(struct filter *filter, size_t column, const struct text_predicate *predicate,
                                     bool complement) {
    const struct column *target = filter->table->columns[column];
    if (predicate->kind == TEXT_LIST && predicate->list_count == 0) { /* of NULLs alone */
        assert(!complement);                                          /* NOT IN with a NULL is known to be never TRUE */
        return filter_new_node(filter, FILTER_NODE_NEVER, column);
    }
    struct filter_node *node = filter_new_node(filter, FILTER_NODE_CODES, column);
    struct filter_codes *codes = arena_allocate(&filter->arena, sizeof *codes);
    if (!node || !codes) return NULL;
    memset(codes, 0, sizeof *codes);
    codes->predicate = *predicate;
    codes->dictionary = target->dictionary;
    codes->interning = target->spec.type == VELTA_STRING;
    codes->by_ranges = true;
    codes->next = filter->codes;
    filter->codes = codes;
    node->codes = codes;
    node->complement = complement;
    node->rank = rank_of(2, predicate->kind == TEXT_LIST && predicate->list_count == 1 ? 0.05 : 0.1, complement);
    return node;
}

bool filter_codes_has(const struct filter_codes *codes, uint32_t code) {
    if (codes->by_ranges) return filter_ranges_have(codes->ranges, codes->range_count, code);
    assert(code < codes->known_entries);
    return bitmap_get(codes->bits, code);
}

static void set_low_bits(struct filter_codes *codes) {
    codes->low_bits[0] = codes->low_bits[1] = 0;
    for (uint32_t code = 0; code < 128 && code < codes->known_entries; code++)
        if (filter_codes_has(codes, code)) bitmap_set(codes->low_bits, code);
}

/* The few strings of a list are looked up: a large dictionary is not read for one name. */
static void find_list(struct filter_codes *codes) {
    const struct text_predicate *predicate = &codes->predicate;
    uint32_t count = 0;
    for (uint32_t i = 0; i < predicate->list_count; i++) {
        uint32_t code = dictionary_find(codes->dictionary, predicate->list[i].bytes, predicate->list[i].size_bytes);
        if (code != DICTIONARY_NO_CODE) codes->ranges[count++] = (struct filter_range){code, code};
    }
    codes->range_count = join_ranges(codes->ranges, count);
}

/* Reads the runs of ones into ranges; gives up (false) when there are too many. */
static bool bits_to_ranges(const uint64_t *bits, uint32_t entry_count, struct filter_range *ranges, uint32_t *count) {
    size_t words = bitmap_words(entry_count);
    uint64_t carry = 0; /* whether the code before was in */
    *count = 0;
    for (size_t i = 0; i < words; i++) {
        uint64_t edges = bits[i] ^ (bits[i] << 1 | carry); /* ones where membership changes */
        carry = bits[i] >> 63;
        for (; edges != 0; edges &= edges - 1) {
            int64_t code = (int64_t)(i * 64) + __builtin_ctzll(edges);
            bool starts = bitmap_get(bits, (uint64_t)code);
            if (!starts) {
                ranges[*count - 1].high = code - 1;
                continue;
            }
            if (*count == FILTER_MAX_PASSES) return false;
            ranges[(*count)++] = (struct filter_range){code, (int64_t)entry_count - 1};
        }
    }
    return true;
}

static void find_or_scan(struct filter_codes *codes, uint32_t entry_count) {
    const struct text_predicate *predicate = &codes->predicate;
    if (codes->interning && predicate->kind == TEXT_LIST &&
        predicate->list_count < entry_count - codes->known_entries) {
        for (uint32_t i = 0; i < predicate->list_count; i++) {
            uint32_t code = dictionary_find(codes->dictionary, predicate->list[i].bytes, predicate->list[i].size_bytes);
            if (code != DICTIONARY_NO_CODE) bitmap_set(codes->bits, code);
        }
        return;
    }
    for (uint32_t code = codes->known_entries; code < entry_count; code++) {
        struct text_slice value;
        value.bytes = dictionary_get(codes->dictionary, code, &value.size_bytes);
        if (text_matches(predicate, value)) bitmap_set(codes->bits, code);
    }
}

enum velta_status filter_codes_refresh(struct memory *memory, struct filter_codes *codes, struct velta_error *error) {
    uint32_t entry_count = dictionary_count(codes->dictionary);
    assert(entry_count >= codes->known_entries); /* an abandoned reservation was seen: see filter_evaluate */
    if (entry_count == codes->known_entries) return VELTA_OK;
    if (codes->interning && codes->predicate.kind == TEXT_LIST && codes->predicate.list_count <= FILTER_MAX_PASSES) {
        find_list(codes);
        codes->known_entries = entry_count;
        set_low_bits(codes);
        return VELTA_OK;
    }
    size_t words = bitmap_words(entry_count), old_capacity = codes->bits_capacity;
    void *bits = codes->bits;
    enum velta_status status =
        memory_grow_array(memory, &bits, &codes->bits_capacity, words, sizeof *codes->bits, error);
    if (status != VELTA_OK) return status;
    codes->bits = bits;
    memset(codes->bits + old_capacity, 0, (codes->bits_capacity - old_capacity) * sizeof *codes->bits);
    find_or_scan(codes, entry_count);
    codes->known_entries = entry_count;
    codes->by_ranges = bits_to_ranges(codes->bits, entry_count, codes->ranges, &codes->range_count);
    set_low_bits(codes);
    return VELTA_OK;
}

/* ---- AND and OR */

/* Intersects *into with another leaf of its column. False: nothing is left. */
static bool intersect(struct filter_node *into, const struct filter_node *other) {
    if (into->kind == FILTER_NODE_INTEGERS) {
        struct filter_range *range = into->ranges;
        range->low = other->ranges->low > range->low ? other->ranges->low : range->low;
        range->high = other->ranges->high < range->high ? other->ranges->high : range->high;
        if (range->low > range->high) return false;
        rank_integers(into);
        return true;
    }
    struct filter_span *span = into->spans;
    span->low = other->spans->low > span->low ? other->spans->low : span->low;
    span->high = other->spans->high < span->high ? other->spans->high : span->high;
    if (!(span->low <= span->high)) return false;
    rank_floats(into);
    return true;
}

/* Merges the single ranges of each column; the list keeps the first of each. False: nothing can match. */
static bool intersect_ranges(struct filter_node *list) {
    struct filter_node *firsts[VELTA_MAX_COLUMNS] = {NULL};
    for (struct filter_node *previous = NULL, *node = list; node; node = node->next) {
        bool single = (node->kind == FILTER_NODE_INTEGERS || node->kind == FILTER_NODE_FLOATS) && node->count == 1;
        if (!single || node->complement || !firsts[node->column]) {
            if (single && !node->complement) firsts[node->column] = node;
            previous = node;
            continue;
        }
        if (!intersect(firsts[node->column], node)) return false;
        previous->next = node->next;
    }
    return true;
}

/* Stable merge sort by rank. */
static struct filter_node *sort_by_rank(struct filter_node *list, size_t count) {
    struct filter_node *right = list, *merged = NULL, **tail = &merged;
    if (count < 2) return list;
    for (size_t i = 1; i < count / 2; i++)
        right = right->next;
    struct filter_node *left_end = right;
    right = right->next;
    left_end->next = NULL;
    list = sort_by_rank(list, count / 2);
    right = sort_by_rank(right, count - count / 2);
    while (list || right) {
        struct filter_node **from = !right || (list && list->rank <= right->rank) ? &list : &right;
        *tail = *from;
        *from = (*from)->next;
        tail = &(*tail)->next;
    }
    *tail = NULL;
    return merged;
}

static struct filter_node *become(struct filter_node *node, enum filter_node_kind kind) {
    memset(node, 0, sizeof *node);
    node->kind = kind;
    return node;
}

struct filter_node *filter_join(struct filter_node *joined, struct filter_node *list) {
    bool all = joined->kind == FILTER_NODE_AND;
    enum filter_node_kind neutral = all ? FILTER_NODE_ALWAYS : FILTER_NODE_NEVER;
    enum filter_node_kind absorbing = all ? FILTER_NODE_NEVER : FILTER_NODE_ALWAYS;
    struct filter_node **tail = &joined->first;
    size_t count = 0;
    joined->rank = 0;
    for (struct filter_node *next; list; list = next) {
        next = list->next;
        if (list->kind == absorbing) return become(joined, absorbing);
        if (list->kind == neutral) continue;
        *tail = list->kind == joined->kind ? list->first : list;
        if (*tail == list) list->next = NULL;
        for (; *tail; tail = &(*tail)->next)
            ;
    }
    if (!joined->first) return become(joined, neutral);
    if (all && !intersect_ranges(joined->first)) return become(joined, absorbing);
    for (const struct filter_node *node = joined->first; node; node = node->next, count++)
        joined->rank += node->rank;
    if (count == 1) return joined->first;
    if (all) joined->first = sort_by_rank(joined->first, count);
    return joined;
}
