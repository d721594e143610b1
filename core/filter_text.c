/*
 * Matching of one string value.
 *
 * A LIKE pattern is cut at its '%' into segments. The first and the last are anchored unless a '%' stands outside them;
 * those between are searched from left to right, each at its first occurrence after the one before: a segment matches a
 * fixed number of characters, so the earliest place leaves the most room for the rest, and no backtracking is needed.
 * STARTS WITH, ENDS WITH and CONTAINS are patterns of one segment.
 *
 * A segment without '_' is found in linear time (Knuth, Morris, Pratt 1977; memchr jumps to a first byte), so a hostile
 * value costs no more than its length. A segment with '_' is tried at every character: value length times segment
 * length, which is why LIKE patterns are limited to FILTER_MAX_LIKE_BYTES.
 *
 * '_' is one UTF-8 character. Values and patterns are well-formed UTF-8, so bytes of one can only match on the other's
 * character boundaries. Bytes values never meet '_'.
 */
#include "core/filter_text.h"

#include <string.h>

#include "core/error.h"
#include "core/sort.h"
#include "core/utf8.h"

int text_compare(struct text_slice a, struct text_slice b) {
    size_t shared = a.size_bytes < b.size_bytes ? a.size_bytes : b.size_bytes;
    int order = shared == 0 ? 0 : memcmp(a.bytes, b.bytes, shared);
    if (order != 0) return order;
    return a.size_bytes < b.size_bytes ? -1 : a.size_bytes > b.size_bytes;
}

static bool list_matches(const struct text_predicate *predicate, struct text_slice value) {
    uint32_t low = 0, high = predicate->list_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = text_compare(predicate->list[middle], value);
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool range_matches(const struct text_predicate *predicate, struct text_slice value) {
    if (predicate->has_low) {
        int order = text_compare(value, predicate->low);
        if (order < 0 || (order == 0 && predicate->low_strict)) return false;
    }
    if (predicate->has_high) {
        int order = text_compare(value, predicate->high);
        if (order > 0 || (order == 0 && predicate->high_strict)) return false;
    }
    return true;
}

static size_t character_bytes(uint8_t first) {
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

#define TEXT_NOWHERE SIZE_MAX

/* The end of the segment when it stands at `at`, or NOWHERE. */
static size_t segment_at(const struct text_segment *segment, struct text_slice value, size_t at) {
    if (!segment->any) {
        bool same = value.size_bytes - at >= segment->size_bytes &&
                    memcmp(value.bytes + at, segment->bytes, segment->size_bytes) == 0;
        return same ? at + segment->size_bytes : TEXT_NOWHERE;
    }
    for (uint32_t i = 0; i < segment->size_bytes; i++) {
        if (at >= value.size_bytes) return TEXT_NOWHERE;
        if (segment->any[i])
            at += character_bytes(value.bytes[at]);
        else if (value.bytes[at] == segment->bytes[i])
            at++;
        else
            return TEXT_NOWHERE;
    }
    return at;
}

/* The end of the first occurrence at or after `at`, or NOWHERE. */
static size_t segment_find(const struct text_segment *segment, struct text_slice value, size_t at) {
    if (segment->any) {
        for (; at < value.size_bytes; at += character_bytes(value.bytes[at])) {
            size_t end = segment_at(segment, value, at);
            if (end != TEXT_NOWHERE) return end;
        }
        return TEXT_NOWHERE;
    }
    uint32_t matched = 0;
    while (at < value.size_bytes) {
        if (matched == 0) {
            const uint8_t *first = memchr(value.bytes + at, segment->bytes[0], value.size_bytes - at);
            if (!first) return TEXT_NOWHERE;
            at = (size_t)(first - value.bytes) + 1;
            matched = 1;
        } else if (value.bytes[at] == segment->bytes[matched]) {
            at++;
            matched++;
        } else {
            matched = segment->retry[matched];
        }
        if (matched == segment->size_bytes) return at;
    }
    return TEXT_NOWHERE;
}

/* Where the segment would have to start to end at the value's end, or NOWHERE. */
static size_t segment_last_start(const struct text_segment *segment, struct text_slice value) {
    size_t start = value.size_bytes;
    if (!segment->any) return start >= segment->size_bytes ? start - segment->size_bytes : TEXT_NOWHERE;
    for (uint32_t i = 0; i < segment->character_count; i++) {
        if (start == 0) return TEXT_NOWHERE;
        do
            start--;
        while (start > 0 && (value.bytes[start] & 0xC0) == 0x80);
    }
    return start;
}

static bool pattern_matches(const struct text_predicate *predicate, struct text_slice value) {
    const struct text_segment *segments = predicate->segments;
    uint32_t first = 0, last = predicate->segment_count;
    size_t at = 0, end = value.size_bytes;
    if (last == 0) return !(predicate->anchored_start && predicate->anchored_end) || value.size_bytes == 0;
    if (predicate->anchored_start) {
        at = segment_at(&segments[first++], value, 0);
        if (at == TEXT_NOWHERE) return false;
        if (first == last && predicate->anchored_end) return at == value.size_bytes;
    }
    if (predicate->anchored_end) {
        end = segment_last_start(&segments[--last], value);
        if (end == TEXT_NOWHERE || end < at || segment_at(&segments[last], value, end) != value.size_bytes)
            return false;
    }
    value.size_bytes = end;
    for (; first < last; first++) {
        at = segment_find(&segments[first], value, at);
        if (at == TEXT_NOWHERE) return false;
    }
    return true;
}

bool text_matches(const struct text_predicate *predicate, struct text_slice value) {
    switch (predicate->kind) {
    case TEXT_LIST:
        return list_matches(predicate, value);
    case TEXT_RANGE:
        return range_matches(predicate, value);
    default:
        return pattern_matches(predicate, value);
    }
}

static int compare_slices(const void *a, const void *b) {
    return text_compare(*(const struct text_slice *)a, *(const struct text_slice *)b);
}

void text_make_list(struct text_predicate *predicate, struct text_slice *slices, uint32_t count) {
    uint32_t kept = 0;
    sort_elements(slices, count, sizeof slices[0], compare_slices);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || text_compare(slices[kept - 1], slices[i]) != 0) slices[kept++] = slices[i];
    predicate->kind = TEXT_LIST;
    predicate->list = slices;
    predicate->list_count = kept;
}

/* retry[i]: having matched i bytes and failing at the next, how many are matched still. */
static enum velta_status prepare_search(struct arena *arena, struct text_segment *segment, struct velta_error *error) {
    uint32_t *retry = arena_allocate(arena, ((size_t)segment->size_bytes + 1) * sizeof *retry);
    uint32_t matched = 0;
    if (!retry) return memory_fail(arena->memory, error);
    retry[0] = retry[1] = 0;
    for (uint32_t i = 1; i < segment->size_bytes; i++) {
        while (matched > 0 && segment->bytes[i] != segment->bytes[matched])
            matched = retry[matched];
        matched += segment->bytes[i] == segment->bytes[matched];
        retry[i + 1] = matched;
    }
    segment->retry = retry;
    return VELTA_OK;
}

enum velta_status text_make_needle(struct arena *arena, struct text_predicate *predicate, struct text_slice needle,
                                   bool at_start, bool at_end, struct velta_error *error) {
    struct text_segment *segment = arena_allocate(arena, sizeof *segment);
    if (!segment) return memory_fail(arena->memory, error);
    *segment = (struct text_segment){.bytes = needle.bytes, .size_bytes = (uint32_t)needle.size_bytes};
    predicate->kind = TEXT_PATTERN;
    predicate->segments = segment;
    predicate->segment_count = needle.size_bytes > 0;
    /* an empty needle is everywhere */
    predicate->anchored_start = at_start && needle.size_bytes > 0;
    predicate->anchored_end = at_end && needle.size_bytes > 0;
    return needle.size_bytes > 0 && !at_start && !at_end ? prepare_search(arena, segment, error) : VELTA_OK;
}

/* Ends the segment that has grown to `size` bytes, leaving out an empty one. */
static enum velta_status close_segment(struct arena *arena, struct text_predicate *predicate, const uint8_t *bytes,
                                       const uint8_t *any, size_t size, struct velta_error *error) {
    if (size == 0) return VELTA_OK;
    struct text_segment *segment = &predicate->segments[predicate->segment_count++];
    *segment = (struct text_segment){.bytes = bytes, .size_bytes = (uint32_t)size};
    if (!memchr(any, 1, size)) return prepare_search(arena, segment, error);
    segment->any = any;
    for (size_t i = 0; i < size; i++)
        segment->character_count += any[i] || (bytes[i] & 0xC0) != 0x80;
    return VELTA_OK;
}

enum velta_status text_make_like(struct arena *arena, struct text_predicate *predicate, struct text_slice pattern,
                                 struct text_slice escape, struct velta_error *error) {
    size_t room = pattern.size_bytes + 1, start = 0, size = 0;
    uint8_t *bytes = arena_allocate(arena, room), *any = arena_allocate(arena, room);
    predicate->segments = arena_allocate(arena, room / 2 * sizeof *predicate->segments + sizeof *predicate->segments);
    if (!bytes || !any || !predicate->segments) return memory_fail(arena->memory, error);
    predicate->kind = TEXT_PATTERN;
    predicate->segment_count = 0;
    predicate->anchored_start = predicate->anchored_end = true;
    for (size_t i = 0; i < pattern.size_bytes;) {
        bool escaped = escape.size_bytes > 0 && pattern.size_bytes - i >= escape.size_bytes &&
                       memcmp(pattern.bytes + i, escape.bytes, escape.size_bytes) == 0;
        if (escaped) {
            i += escape.size_bytes;
            if (i == pattern.size_bytes)
                return velta_fail(error, VELTA_SYNTAX, 0, "nothing follows the escape character in the pattern");
        }
        if (!escaped && pattern.bytes[i] == '%') {
            enum velta_status status = close_segment(arena, predicate, bytes + start, any + start, size - start, error);
            if (status != VELTA_OK) return status;
            predicate->anchored_start &= i > 0;
            predicate->anchored_end = ++i < pattern.size_bytes;
            start = size;
            continue;
        }
        /* a whole character, so that an escape character cannot be found inside one */
        bool single = !escaped && pattern.bytes[i] == '_';
        for (size_t left = character_bytes(pattern.bytes[i]); left > 0; left--) {
            any[size] = single;
            bytes[size++] = pattern.bytes[i++];
        }
    }
    return close_segment(arena, predicate, bytes + start, any + start, size - start, error);
}
