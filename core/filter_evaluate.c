/*
 * Running a plan over the columns.
 *
 * Rows are taken in chunks of FILTER_CHUNK_ROWS, so that a chunk's bitmaps stay in the L1 cache while every leaf of the
 * plan passes over its part of a column. A node is evaluated under a mask (the visible rows, or what the conditions
 * before it in an AND have left) and gives the rows of the mask that match; an AND whose rows run out skips its other
 * conditions for that chunk, so columns of a selective filter are read only where the first conditions met something.
 *
 * The value stored under a NULL is 0, so validity has to be looked at only where 0 matches or where a complement is
 * taken. Integer slabs have the width of their own values: a range is first cut to what the width can hold, and a slab
 * that cannot match is not read.
 *
 * Counting one comparison makes no bitmap: the counting kernels take visibility as their mask.
 */
#include <string.h>

#include "core/column_slab.h"
#include "core/filter_plan.h"

struct chunk {
    uint32_t first_row;
    uint32_t rows;
    size_t words;
};

/* Evaluation of one chunk. */
struct run {
    const struct filter *filter;
    const struct simd_kernels *simd;
    struct chunk chunk;
};

/* The scratch bitmaps: one for validity, one for further passes of a leaf, one for a result, one for each depth. */
enum { SCRATCH_VALID, SCRATCH_PASS, SCRATCH_RESULT, SCRATCH_DEPTH };

static uint64_t *scratch(const struct run *run, unsigned index) {
    return run->filter->scratch + (size_t)index * FILTER_CHUNK_WORDS;
}

static struct chunk chunk_at(const struct filter *filter, uint32_t first_row, uint32_t rows) {
    uint32_t left = filter->table->row_count - first_row;
    struct chunk chunk = {first_row, left < rows ? left : rows, 0};
    chunk.words = bitmap_words(chunk.rows);
    return chunk;
}

/* NULL means that all rows are visible. */
static const uint64_t *visible_rows(const struct filter *filter, const uint64_t *visible) {
    const struct table *table = filter->table;
    return visible || table->live_count == table->row_count ? visible : table->live.words;
}

static void clear_tail(const struct chunk *chunk, uint64_t *words) {
    if (chunk->rows % 64 != 0) words[chunk->words - 1] &= (UINT64_C(1) << (chunk->rows % 64)) - 1;
}

static bool is_zero(const uint64_t *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (words[i] != 0) return false;
    return true;
}

/* ---- validity */

/* The validity words of a chunk that lies within one slab, or NULL when all rows have a value. */
static const uint64_t *slab_valid(const struct column *column, const struct chunk *chunk) {
    const uint64_t *valid = column->slabs[column_slab_index(column, chunk->first_row)].valid;
    return valid ? valid + column_slab_row(column, chunk->first_row) / 64 : NULL;
}

/* The same where slabs are smaller than a chunk (vectors): gathered. */
static const uint64_t *chunk_valid(const struct run *run, const struct column *column) {
    const struct chunk *chunk = &run->chunk;
    uint32_t slab_rows = column_rows_per_slab(column);
    uint64_t *gathered = scratch(run, SCRATCH_VALID);
    bool any = false;
    if (slab_rows >= FILTER_CHUNK_ROWS) return slab_valid(column, chunk);
    for (uint32_t row = 0; row < chunk->rows; row += slab_rows) {
        struct chunk part = {chunk->first_row + row, slab_rows, slab_rows / 64};
        const uint64_t *valid = slab_valid(column, &part);
        if (valid)
            memcpy(gathered + row / 64, valid, part.words * sizeof *valid);
        else
            memset(gathered + row / 64, 0xFF, part.words * sizeof *gathered);
        any |= valid != NULL;
    }
    return any ? gathered : NULL;
}

/* ---- ranges of integers */

static const void *slab_values(const struct column_slab *slab, uint32_t at) {
    return (const char *)slab->values + (size_t)at * slab->width;
}

/* Cuts the range to what the width holds. False: nothing is left. */
static bool cut_range(struct filter_range *range, uint8_t width) {
    int64_t least = width == 1 ? INT8_MIN : width == 2 ? INT16_MIN : width == 4 ? INT32_MIN : INT64_MIN;
    int64_t greatest = width == 1 ? INT8_MAX : width == 2 ? INT16_MAX : width == 4 ? INT32_MAX : INT64_MAX;
    range->low = range->low > least ? range->low : least;
    range->high = range->high < greatest ? range->high : greatest;
    return range->low <= range->high;
}

static void range_bits(const struct run *run, const struct column_slab *slab, struct filter_range range,
                       uint64_t *out) {
    const void *values = slab_values(slab, run->chunk.first_row % CORE_ROWS_PER_SLAB);
    size_t rows = run->chunk.rows;
    if (!cut_range(&range, slab->width)) {
        memset(out, 0, run->chunk.words * sizeof *out);
        return;
    }
    switch (slab->width) {
    case 1:
        run->simd->range_i8(values, rows, (int8_t)range.low, (int8_t)range.high, out);
        break;
    case 2:
        run->simd->range_i16(values, rows, (int16_t)range.low, (int16_t)range.high, out);
        break;
    case 4:
        run->simd->range_i32(values, rows, (int32_t)range.low, (int32_t)range.high, out);
        break;
    default:
        run->simd->range_i64(values, rows, range.low, range.high, out);
        break;
    }
}

static uint64_t range_count(const struct run *run, const struct column_slab *slab, struct filter_range range,
                            const uint64_t *mask) {
    const void *values = slab_values(slab, run->chunk.first_row % CORE_ROWS_PER_SLAB);
    size_t rows = run->chunk.rows;
    if (!cut_range(&range, slab->width)) return 0;
    switch (slab->width) {
    case 1:
        return run->simd->count_range_i8(values, rows, (int8_t)range.low, (int8_t)range.high, mask);
    case 2:
        return run->simd->count_range_i16(values, rows, (int16_t)range.low, (int16_t)range.high, mask);
    case 4:
        return run->simd->count_range_i32(values, rows, (int32_t)range.low, (int32_t)range.high, mask);
    default:
        return run->simd->count_range_i64(values, rows, range.low, range.high, mask);
    }
}

static void ranges_bits(const struct run *run, const struct column_slab *slab, const struct filter_range *ranges,
                        uint32_t count, uint64_t *out) {
    uint64_t *pass = scratch(run, SCRATCH_PASS);
    if (count == 0) memset(out, 0, run->chunk.words * sizeof *out);
    for (uint32_t i = 0; i < count; i++) {
        range_bits(run, slab, ranges[i], i == 0 ? out : pass);
        if (i > 0) run->simd->bits_or(out, out, pass, run->chunk.words);
    }
}

/* ---- longer lists: row by row, only where the mask has rows */

static bool list_has(const struct filter_node *node, const struct column *column, uint32_t row) {
    if (node->kind == FILTER_NODE_FLOATS) return filter_spans_have(node->spans, node->count, column_float(column, row));
    int64_t value = column_integer(column, row);
    if (!node->set) return filter_ranges_have(node->ranges, node->count, value);
    uint64_t at = (uint64_t)value - (uint64_t)node->ranges[0].low;
    return at < node->set_bits && bitmap_get(node->set, at);
}

static void list_bits(const struct run *run, const struct filter_node *node, const uint64_t *mask, uint64_t *out) {
    const struct column *column = run->filter->table->columns[node->column];
    for (size_t i = 0; i < run->chunk.words; i++) {
        uint32_t first = (uint32_t)i * 64;
        uint32_t rows = run->chunk.rows - first < 64 ? run->chunk.rows - first : 64;
        uint64_t word = 0;
        if (!mask || mask[i] != 0)
            for (uint32_t bit = 0; bit < rows; bit++)
                word |= (uint64_t)list_has(node, column, run->chunk.first_row + first + bit) << bit;
        out[i] = word;
    }
}

/* ---- leaves */

/* Slabs of codes are 1, 2 or 4 bytes wide (DICTIONARY_MAX_ENTRIES). */
static void codes_bits(const struct run *run, const struct filter_node *node, const struct column_slab *slab,
                       uint64_t *out) {
    const struct filter_codes *codes = node->codes;
    const void *values = slab_values(slab, run->chunk.first_row % CORE_ROWS_PER_SLAB);
    size_t rows = run->chunk.rows;
    if (slab->width == 1 && !(codes->by_ranges && codes->range_count <= 1))
        run->simd->member_i8(values, rows, codes->low_bits, 128, out);
    else if (codes->by_ranges)
        ranges_bits(run, slab, codes->ranges, codes->range_count, out);
    else if (slab->width == 2)
        run->simd->member_i16(values, rows, codes->bits, codes->known_entries, out);
    else
        run->simd->member_i32(values, rows, codes->bits, codes->known_entries, out);
}

static void floats_bits(const struct run *run, const struct filter_node *node, const struct column_slab *slab,
                        uint64_t *out) {
    const double *values = (const double *)slab->values + run->chunk.first_row % CORE_ROWS_PER_SLAB;
    uint64_t *pass = scratch(run, SCRATCH_PASS);
    for (uint32_t i = 0; i < node->count; i++) {
        run->simd->range_f64(values, run->chunk.rows, node->spans[i].low, node->spans[i].high, i == 0 ? out : pass);
        if (i > 0) run->simd->bits_or(out, out, pass, run->chunk.words);
    }
}

/* The stored values that match, whatever NULL and the mask say (rows outside the mask may be left out). */
static void stored_bits(const struct run *run, const struct filter_node *node, const uint64_t *mask, uint64_t *out) {
    const struct column *column = run->filter->table->columns[node->column];
    const struct column_slab *slab = &column->slabs[column_slab_index(column, run->chunk.first_row)];
    bool listed = node->kind != FILTER_NODE_CODES && node->count > FILTER_MAX_PASSES;
    if (listed) {
        list_bits(run, node, mask, out);
        return;
    }
    switch (node->kind) {
    case FILTER_NODE_INTEGERS:
        ranges_bits(run, slab, node->ranges, node->count, out);
        break;
    case FILTER_NODE_FLOATS:
        floats_bits(run, node, slab, out);
        break;
    case FILTER_NODE_CODES:
        codes_bits(run, node, slab, out);
        break;
    default: /* BOOL */
        memcpy(out, (const uint64_t *)slab->values + run->chunk.first_row % CORE_ROWS_PER_SLAB / 64,
               run->chunk.words * sizeof *out);
        break;
    }
}

/* Whether the 0 that is stored under a NULL matches. */
static bool zero_matches(const struct filter_node *node) {
    switch (node->kind) {
    case FILTER_NODE_INTEGERS:
        return filter_ranges_have(node->ranges, node->count, 0);
    case FILTER_NODE_FLOATS:
        return filter_spans_have(node->spans, node->count, 0.0);
    case FILTER_NODE_CODES:
        return filter_codes_has(node->codes, 0);
    default:
        return false;
    }
}

static void evaluate_leaf(const struct run *run, const struct filter_node *node, const uint64_t *mask, uint64_t *out) {
    size_t words = run->chunk.words;
    const uint64_t *valid = chunk_valid(run, run->filter->table->columns[node->column]);
    switch (node->kind) {
    case FILTER_NODE_NULL:
        if (valid)
            run->simd->bits_not(out, valid, words);
        else
            memset(out, 0, words * sizeof *out);
        break;
    case FILTER_NODE_PRESENT:
        memset(out, 0xFF, words * sizeof *out);
        if (valid) memcpy(out, valid, words * sizeof *out);
        break;
    default:
        stored_bits(run, node, mask, out);
        if (node->complement) run->simd->bits_not(out, out, words);
        if (valid && (node->complement || zero_matches(node))) run->simd->bits_and(out, out, valid, words);
        break;
    }
    if (mask) run->simd->bits_and(out, out, mask, words);
    clear_tail(&run->chunk, out);
}

/* ---- nodes */

/* out (not overlapping mask) = the rows of the mask that match */
static void evaluate(const struct run *run, const struct filter_node *node, const uint64_t *mask, uint64_t *out,
                     unsigned depth) {
    size_t words = run->chunk.words;
    uint64_t *other = scratch(run, SCRATCH_DEPTH + depth);
    const uint64_t *left = mask;
    switch (node->kind) {
    case FILTER_NODE_NEVER:
        memset(out, 0, words * sizeof *out);
        break;
    case FILTER_NODE_ALWAYS:
        memset(out, 0xFF, words * sizeof *out);
        if (mask) memcpy(out, mask, words * sizeof *out);
        clear_tail(&run->chunk, out);
        break;
    case FILTER_NODE_AND:
        for (const struct filter_node *child = node->first; child; child = child->next) {
            uint64_t *target = left == out ? other : out;
            evaluate(run, child, left, target, depth + 1);
            left = target;
            if (is_zero(left, words)) break;
        }
        if (left != out) memcpy(out, left, words * sizeof *out);
        break;
    case FILTER_NODE_OR:
        evaluate(run, node->first, mask, out, depth + 1);
        for (const struct filter_node *child = node->first->next; child; child = child->next) {
            evaluate(run, child, mask, other, depth + 1);
            run->simd->bits_or(out, out, other, words);
        }
        break;
    default:
        evaluate_leaf(run, node, mask, out);
        break;
    }
}

static enum velta_status refresh(struct filter *filter, struct velta_error *error) {
    for (struct filter_codes *codes = filter->codes; codes; codes = codes->next) {
        enum velta_status status = filter_codes_refresh(filter->table->memory, codes, error);
        if (status != VELTA_OK) return status;
    }
    return VELTA_OK;
}

enum velta_status filter_evaluate(struct filter *filter, const uint64_t *visible, uint64_t *out, uint64_t *count,
                                  struct velta_error *error) {
    struct run run = {filter, filter->table->simd, {0, 0, 0}};
    const uint64_t *mask = visible_rows(filter, visible);
    enum velta_status status = refresh(filter, error);
    if (status != VELTA_OK) return status;
    *count = 0;
    for (uint32_t row = 0; row < filter->table->row_count; row += run.chunk.rows) {
        run.chunk = chunk_at(filter, row, FILTER_CHUNK_ROWS);
        evaluate(&run, filter->root, mask ? mask + row / 64 : NULL, out + row / 64, 0);
        *count += run.simd->bits_count(out + row / 64, run.chunk.words);
    }
    return VELTA_OK;
}

/* ---- counting */

/* Whether the counting kernels do it best in this chunk: one leaf of few ranges. */
static bool is_countable(const struct run *run, const struct filter_node *node) {
    const struct column *column;
    if (node->kind == FILTER_NODE_INTEGERS || node->kind == FILTER_NODE_FLOATS) return node->count <= FILTER_MAX_PASSES;
    if (node->kind != FILTER_NODE_CODES || !node->codes->by_ranges) return false;
    column = run->filter->table->columns[node->column];
    return node->codes->range_count <= 1 || column->slabs[column_slab_index(column, run->chunk.first_row)].width > 1;
}

/* Rows of the mask (NULL: of the chunk) whose stored value matches. */
static uint64_t count_stored(const struct run *run, const struct filter_node *node, const uint64_t *mask) {
    const struct column *column = run->filter->table->columns[node->column];
    const struct column_slab *slab = &column->slabs[column_slab_index(column, run->chunk.first_row)];
    uint64_t count = 0;
    if (node->kind == FILTER_NODE_FLOATS) {
        const double *values = (const double *)slab->values + run->chunk.first_row % CORE_ROWS_PER_SLAB;
        for (uint32_t i = 0; i < node->count; i++)
            count += run->simd->count_range_f64(values, run->chunk.rows, node->spans[i].low, node->spans[i].high, mask);
        return count;
    }
    bool coded = node->kind == FILTER_NODE_CODES;
    const struct filter_range *ranges = coded ? node->codes->ranges : node->ranges;
    uint32_t range_total = coded ? node->codes->range_count : node->count;
    for (uint32_t i = 0; i < range_total; i++)
        count += range_count(run, slab, ranges[i], mask);
    return count;
}

static uint64_t count_leaf(const struct run *run, const struct filter_node *node, const uint64_t *mask) {
    const struct column *column = run->filter->table->columns[node->column];
    const uint64_t *valid = slab_valid(column, &run->chunk);
    if (valid && (node->complement || zero_matches(node))) {
        if (mask)
            run->simd->bits_and(scratch(run, SCRATCH_RESULT), valid, mask, run->chunk.words);
        else
            memcpy(scratch(run, SCRATCH_RESULT), valid, run->chunk.words * sizeof *valid);
        mask = scratch(run, SCRATCH_RESULT);
        clear_tail(&run->chunk, scratch(run, SCRATCH_RESULT));
    }
    uint64_t count = count_stored(run, node, mask);
    if (!node->complement) return count;
    return (mask ? run->simd->bits_count(mask, run->chunk.words) : run->chunk.rows) - count;
}

enum velta_status filter_count(struct filter *filter, const uint64_t *visible, uint64_t *count,
                               struct velta_error *error) {
    struct run run = {filter, filter->table->simd, {0, 0, 0}};
    const uint64_t *mask = visible_rows(filter, visible);
    enum velta_status status = refresh(filter, error);
    if (status != VELTA_OK) return status;
    *count = 0;
    for (uint32_t row = 0; row < filter->table->row_count; row += run.chunk.rows) {
        const uint64_t *chunk_mask = mask ? mask + row / 64 : NULL;
        run.chunk = chunk_at(filter, row, FILTER_CHUNK_ROWS);
        if (is_countable(&run, filter->root)) {
            *count += count_leaf(&run, filter->root, chunk_mask);
        } else {
            evaluate(&run, filter->root, chunk_mask, scratch(&run, SCRATCH_RESULT), 0);
            *count += run.simd->bits_count(scratch(&run, SCRATCH_RESULT), run.chunk.words);
        }
    }
    return VELTA_OK;
}

/* ---- row numbers */

static size_t some_ids(const uint64_t *words, size_t word_count, uint32_t base, uint32_t *out, size_t capacity) {
    size_t written = 0;
    for (size_t i = 0; i < word_count; i++)
        for (uint64_t word = words[i]; word != 0 && written < capacity; word &= word - 1)
            out[written++] = base + (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(word);
    return written;
}

enum velta_status filter_rows(struct filter *filter, const uint64_t *visible, uint32_t *rows, size_t capacity,
                              uint64_t *count, struct velta_error *error) {
    struct run run = {filter, filter->table->simd, {0, 0, 0}};
    const uint64_t *mask = visible_rows(filter, visible);
    uint64_t *result = scratch(&run, SCRATCH_RESULT);
    enum velta_status status = refresh(filter, error);
    size_t written = 0;
    if (status != VELTA_OK) return status;
    *count = 0;
    for (uint32_t row = 0; row < filter->table->row_count; row += run.chunk.rows) {
        run.chunk = chunk_at(filter, row, FILTER_CHUNK_ROWS);
        evaluate(&run, filter->root, mask ? mask + row / 64 : NULL, result, 0);
        uint64_t matches = run.simd->bits_count(result, run.chunk.words);
        if (matches <= capacity - written)
            written += run.simd->bits_to_ids(result, run.chunk.words, row, rows + written);
        else
            written += some_ids(result, run.chunk.words, row, rows + written, capacity - written);
        *count += matches;
    }
    return VELTA_OK;
}
