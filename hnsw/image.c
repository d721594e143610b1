/*
 * The index as parts, each one byte image. Little-endian throughout; sections inside a part are padded with zeros to a
 * multiple of 64 bytes. n nodes in all, blocks_per_slab nodes a slab (the largest power of two whose blocks fit
 * 128 KiB, but at least 64); slab s holds nodes s * blocks_per_slab .. and c of them are below n.
 *
 * CODES part 0, the head, 64 bytes:
 *   u32 n, u32 dimensions, u32 metric, u32 m, 48 zeros
 * CODES part 1 + s:
 *   u32 row[c]      0xFFFFFFFF: the node is free, or removed and still a waypoint
 *   f32 drift[c]    the way the vector moved since the node was linked; finite, not below 0
 *   record[c]       code_bytes codes 0..127 (dimensions rounded up to a multiple of 32 by zeros),
 *                   f32 lo, f32 step, f32 step_sum, f32 norm; see hnsw/graph.h; all zeros for a free node
 * GRAPH part 0:
 *   u32 n, u32 entry (0xFFFFFFFF: none), u32 top level, u32 count of upper nodes, u32 nodes put in order,
 *   u32 nodes changed since the last walk, 40 zeros
 *   for each upper node, ascending: u32 node, u32 level, then level times: u32 count, u32 node[m]
 * GRAPH part 1 + s:
 *   u8 flags[c]     1 linked, 2 tail, 4 removed, 8 due for repair, 16 upper
 *   record[c]       u16 count, then 2 m times a 24-bit node; zeros after the last
 *
 * Reading believes nothing: a CODES part is checked wholly before it is taken over; links are only stored at first, and
 * hnsw_load_finish checks the structure of the whole before the first of them is followed. Until then every row is in
 * the tail. A refused graph leaves the index with its codes and every row in the tail.
 *
 * Between the first part and hnsw_load_finish the index may be searched for as long as the graph takes to come. What
 * the graph needs besides rows is kept meanwhile: nodes that are waypoints have codes, but no flags, so that searches
 * do not see them. An image that is written then is that of the index without a graph. The first row that changes
 * gives the graph up (hnsw_load_abandon), because it was made of other vectors.
 */
#include <assert.h>
#include <float.h>

#include "core/error.h"
#include "hnsw/link.h"

enum { HEAD_BYTES = 64, SECTION = 64 };

/* A graph that is being read: the first part as it came, and the flags of the others. */
struct hnsw_image {
    uint8_t *head;
    size_t head_bytes;
    uint8_t *flags;
    size_t flags_bytes;
    uint32_t parts_read;
};

void hnsw_image_release(struct hnsw *index) {
    if (!index->loading) return;
    memory_release(index->memory, index->loading->head, index->loading->head_bytes);
    memory_release(index->memory, index->loading->flags, index->loading->flags_bytes);
    memory_release(index->memory, index->loading, sizeof *index->loading);
    index->loading = NULL;
}

static void put32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, 4);
}
static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}
static size_t section(size_t bytes) {
    return (bytes + SECTION - 1) / SECTION * SECTION;
}

static uint32_t link_bytes(const struct hnsw *index) {
    return 2 + 6 * index->options.m;
}

/* Nodes of slab part `part` (>= 1), and the first of them. */
static uint32_t part_nodes(const struct hnsw *index, uint32_t part, uint32_t *first) {
    uint32_t full = UINT32_C(1) << index->slab_shift;
    *first = (part - 1) << index->slab_shift;
    return index->node_count - *first < full ? index->node_count - *first : full;
}

uint32_t hnsw_part_count(const struct hnsw *index, enum hnsw_part_kind kind) {
    (void)kind; /* both have a head and a part for each slab */
    uint32_t full = UINT32_C(1) << index->slab_shift;
    return 1 + (index->node_count + full - 1) / full;
}

static size_t upper_entry_bytes(const struct hnsw *index, unsigned level) {
    return 8 + hnsw_upper_bytes(index, level);
}

uint64_t hnsw_part_bytes(const struct hnsw *index, enum hnsw_part_kind kind, uint32_t part) {
    if (part == 0) {
        uint64_t bytes = HEAD_BYTES;
        for (size_t i = 0; kind == HNSW_PART_GRAPH && i < index->upper_count; i++)
            bytes += upper_entry_bytes(index, index->uppers[i].level);
        return bytes;
    }
    uint32_t first, count = part_nodes(index, part, &first);
    if (kind == HNSW_PART_CODES)
        return section(count * sizeof(uint32_t)) + section(count * sizeof(float)) +
               (uint64_t)count * index->links_offset;
    return section(count) + (uint64_t)count * link_bytes(index);
}

static void write_head(const struct hnsw *index, enum hnsw_part_kind kind, uint8_t *out) {
    memset(out, 0, HEAD_BYTES);
    put32(out, index->node_count);
    if (kind == HNSW_PART_CODES) {
        put32(out + 4, index->options.dimensions);
        put32(out + 8, (uint32_t)index->options.metric);
        put32(out + 12, index->options.m);
        return;
    }
    put32(out + 4, index->entry);
    put32(out + 8, index->entry == HNSW_NO_NODE ? 0 : index->top_level);
    put32(out + 12, (uint32_t)index->upper_count);
    put32(out + 16, index->ordered_count);
    put32(out + 20, index->unwalked_count);
    out += HEAD_BYTES;
    for (size_t i = 0; i < index->upper_count; i++) {
        const struct hnsw_upper *upper = &index->uppers[i];
        put32(out, upper->node);
        put32(out + 4, upper->level);
        memcpy(out + 8, upper->links, hnsw_upper_bytes(index, upper->level));
        out += upper_entry_bytes(index, upper->level);
    }
}

/* Copies `bytes` and fills up to the next section. */
static uint8_t *write_section(uint8_t *out, const void *from, size_t bytes) {
    memcpy(out, from, bytes);
    memset(out + bytes, 0, section(bytes) - bytes);
    return out + section(bytes);
}

void hnsw_part_write(const struct hnsw *index, enum hnsw_part_kind kind, uint32_t part, void *out) {
    uint8_t *at = out;
    assert(index->stale_count == 0);
    if (part == 0) {
        write_head(index, kind, at);
        return;
    }
    uint32_t first, count = part_nodes(index, part, &first);
    const uint8_t *block = hnsw_block(index, first);
    if (index->awaits_graph) {
        memset(out, 0, (size_t)hnsw_part_bytes(index, kind, part));
    }
    if (kind == HNSW_PART_CODES) {
        at = write_section(at, index->row_of_node + first, count * sizeof(uint32_t));
        if (index->awaits_graph) {
            at += section(count * sizeof(float));
        } else {
            at = write_section(at, index->drift + first, count * sizeof(float));
        }
        for (uint32_t i = 0; i < count; i++, at += index->links_offset, block += index->block_bytes) {
            if (!index->awaits_graph || index->flags[first + i]) memcpy(at, block, index->links_offset);
        }
        return;
    }
    at = write_section(at, index->flags + first, count);
    for (uint32_t i = 0; i < count && !index->awaits_graph; i++, at += link_bytes(index), block += index->block_bytes)
        memcpy(at, block + index->links_offset, link_bytes(index));
}

bool hnsw_part_dirty(const struct hnsw *index, enum hnsw_part_kind kind, uint32_t part) {
    if (part == 0) return kind == HNSW_PART_CODES ? index->codes_head_dirty : index->graph_head_dirty;
    unsigned dirty = kind == HNSW_PART_CODES ? HNSW_DIRTY_CODES : HNSW_DIRTY_LINKS;
    return index->slab_dirty[part - 1] & dirty;
}

void hnsw_part_clean(struct hnsw *index, enum hnsw_part_kind kind, uint32_t part) {
    if (part == 0) {
        *(kind == HNSW_PART_CODES ? &index->codes_head_dirty : &index->graph_head_dirty) = false;
        return;
    }
    unsigned dirty = kind == HNSW_PART_CODES ? HNSW_DIRTY_CODES : HNSW_DIRTY_LINKS;
    index->slab_dirty[part - 1] &= (uint8_t)~dirty;
}

/* ---- reading */

#define DAMAGED(offset, ...) velta_fail(error, VELTA_CORRUPT, offset, __VA_ARGS__)

static enum velta_status check_zeros(const uint8_t *bytes, size_t from, size_t to, struct velta_error *error) {
    for (size_t i = from; i < to; i++) {
        if (bytes[i]) return DAMAGED(i, "padding of the index is not zero");
    }
    return VELTA_OK;
}

static enum velta_status read_codes_head(struct hnsw *index, uint32_t row_count, const uint8_t *bytes, uint64_t size,
                                         struct velta_error *error) {
    if (index->node_count > 0) return velta_fail(error, VELTA_INVALID, VELTA_NO_OFFSET, "the index is not empty");
    if (size != HEAD_BYTES) return DAMAGED(0, "the head of the index's codes has another size");
    uint32_t nodes = get32(bytes);
    /* A row has at most its node and one more that is still a waypoint of its former vector. */
    if (nodes > HNSW_MAX_NODES || nodes / 2 > row_count) return DAMAGED(0, "an index of %u nodes", nodes);
    if (get32(bytes + 4) != index->options.dimensions) return DAMAGED(4, "the index has other dimensions");
    if (get32(bytes + 8) != (uint32_t)index->options.metric) return DAMAGED(8, "the index has another metric");
    if (get32(bytes + 12) != index->options.m) return DAMAGED(12, "the index has another m");
    enum velta_status status = check_zeros(bytes, 16, HEAD_BYTES, error);
    if (!status) status = hnsw_reserve(index, row_count, nodes, error);
    if (status) return status;
    index->awaits_graph = true;
    index->node_count = nodes;
    index->free_count = nodes; /* until their parts come */
    for (uint32_t node = 0; node < nodes; node++) {
        index->row_of_node[node] = VELTA_NO_ROW;
        if ((node & ((UINT32_C(1) << index->slab_shift) - 1)) == 0) {
            uint32_t first, count = part_nodes(index, 1 + (node >> index->slab_shift), &first);
            memset(hnsw_block(index, node), 0, (size_t)count * index->block_bytes);
        }
    }
    return VELTA_OK;
}

/* Codes in range, params finite and following from the codes. `block` has room for a block and is used up. */
static enum velta_status check_record(const struct hnsw *index, const uint8_t *record, uint8_t *block, uint64_t offset,
                                      struct velta_error *error) {
    unsigned all = 0;
    for (uint32_t i = 0; i < index->code_bytes; i++)
        all |= record[i];
    if (all > 127) return DAMAGED(offset, "a code is not within 0 to 127");
    for (uint32_t i = index->options.dimensions; i < index->code_bytes; i++) {
        if (record[i]) return DAMAGED(offset + i, "a code beyond the dimensions is not zero");
    }
    memcpy(block, record, index->links_offset);
    struct hnsw_params *params = hnsw_params_of(index, block);
    double scale = index->options.metric == VELTA_COSINE ? (double)params->norm : 1.0;
    double low = (double)params->lo * scale, high = ((double)params->lo + 127.0 * (double)params->step) * scale;
    /* Rounded, the ends of a range may lie a little beyond the largest float; decoding holds them there. */
    const double most = (double)FLT_MAX * (1.0 + 0x1p-20);
    if (!(params->step >= 0.0F && params->norm >= 0.0F && params->norm <= FLT_MAX && low >= -most && low <= most &&
          high >= -most && high <= most))
        return DAMAGED(offset + index->params_offset, "the range of a node's codes is not finite");
    hnsw_complete_params(index, block);
    if (memcmp(block, record, index->links_offset) != 0)
        return DAMAGED(offset + index->params_offset, "a node's sums are not those of its codes");
    return VELTA_OK;
}

static enum velta_status read_codes(struct hnsw *index, uint32_t part, uint32_t row_count, const uint8_t *bytes,
                                    uint64_t size, struct velta_error *error) {
    if (part >= hnsw_part_count(index, HNSW_PART_CODES)) return DAMAGED(0, "the index has no part %u", part);
    uint32_t first, count = part_nodes(index, part, &first);
    if (size != hnsw_part_bytes(index, HNSW_PART_CODES, part)) return DAMAGED(0, "part %u has another size", part);
    size_t drifts = section(count * sizeof(uint32_t)), records = drifts + section(count * sizeof(float));
    enum velta_status status = check_zeros(bytes, count * sizeof(uint32_t), drifts, error);
    if (!status) status = check_zeros(bytes, drifts + count * sizeof(float), records, error);
    uint8_t *block = memory_allocate_zero(index->memory, index->block_bytes);
    if (!block) return memory_fail(index->memory, error);
    for (uint32_t i = 0; i < count && !status; i++) {
        uint32_t row = get32(bytes + 4 * (size_t)i);
        uint64_t offset = records + (uint64_t)i * index->links_offset;
        float drift;
        memcpy(&drift, bytes + drifts + sizeof drift * (size_t)i, sizeof drift);
        if (row != VELTA_NO_ROW && (row >= row_count || index->node_of_row[row] != HNSW_NO_NODE)) {
            status = DAMAGED(4 * (uint64_t)i, "row %u of a node is out of range or taken", row);
        } else if (!(drift >= 0.0F && drift <= FLT_MAX)) {
            status = DAMAGED(drifts + sizeof drift * (uint64_t)i, "the drift of a node is not a length");
        } else {
            status = check_record(index, bytes + offset, block, offset, error);
        }
        if (status) break;
        uint32_t node = first + i;
        memcpy(hnsw_block(index, node), block, index->links_offset);
        index->drift[node] = drift;
        if (row == VELTA_NO_ROW) continue;
        index->row_of_node[node] = row;
        index->node_of_row[row] = node;
        index->flags[node] = HNSW_NODE_TAIL;
        index->tail_bits[node / 64] |= UINT64_C(1) << node % 64;
        index->tail_count++;
        index->free_count--;
    }
    memory_release(index->memory, block, index->block_bytes);
    return status;
}

static enum velta_status read_graph_head(struct hnsw *index, const uint8_t *bytes, uint64_t size,
                                         struct velta_error *error) {
    if (size < HEAD_BYTES || size > SIZE_MAX) return DAMAGED(0, "the head of the graph is cut short");
    if (get32(bytes) != index->node_count) return DAMAGED(0, "the graph has another number of nodes than the codes");
    enum velta_status status = check_zeros(bytes, 24, HEAD_BYTES, error);
    if (status) return status;
    hnsw_image_release(index);
    struct hnsw_image *image = memory_allocate_zero(index->memory, sizeof *image);
    if (!image) return memory_fail(index->memory, error);
    index->loading = image;
    image->head_bytes = (size_t)size;
    image->flags_bytes = (size_t)index->node_count + 1;
    image->head = memory_allocate(index->memory, image->head_bytes);
    image->flags = memory_allocate_zero(index->memory, image->flags_bytes);
    if (!image->head || !image->flags) {
        status = memory_fail(index->memory, error);
        hnsw_image_release(index);
        return status;
    }
    memcpy(image->head, bytes, image->head_bytes);
    image->parts_read = 1;
    return VELTA_OK;
}

static enum velta_status read_graph(struct hnsw *index, uint32_t part, const uint8_t *bytes, uint64_t size,
                                    struct velta_error *error) {
    if (!index->loading || index->loading->parts_read != part || part >= hnsw_part_count(index, HNSW_PART_GRAPH))
        return DAMAGED(0, "part %u of the graph is out of turn", part);
    uint32_t first, count = part_nodes(index, part, &first);
    if (size != hnsw_part_bytes(index, HNSW_PART_GRAPH, part)) return DAMAGED(0, "part %u has another size", part);
    enum velta_status status = check_zeros(bytes, count, section(count), error);
    if (status) return status;
    memcpy(index->loading->flags + first, bytes, count);
    const uint8_t *record = bytes + section(count);
    for (uint32_t i = 0; i < count; i++, record += link_bytes(index))
        memcpy(hnsw_block(index, first + i) + index->links_offset, record, link_bytes(index));
    index->loading->parts_read++;
    return VELTA_OK;
}

enum velta_status hnsw_part_read(struct hnsw *index, enum hnsw_part_kind kind, uint32_t part, uint32_t row_count,
                                 const void *bytes, uint64_t size_bytes, struct velta_error *error) {
    if (kind == HNSW_PART_CODES) {
        return part == 0 ? read_codes_head(index, row_count, bytes, size_bytes, error)
                         : read_codes(index, part, row_count, bytes, size_bytes, error);
    }
    return part == 0 ? read_graph_head(index, bytes, size_bytes, error)
                     : read_graph(index, part, bytes, size_bytes, error);
}

/* ---- finishing */

/* Flags of nodes as the image has them; counts and the tail follow. */
static void take_flags(struct hnsw *index, const uint8_t *flags) {
    if (index->node_count) memset(index->tail_bits, 0, index->node_capacity / 64 * sizeof *index->tail_bits);
    index->tail_count = index->linked_count = index->removed_count = index->repair_count = index->free_count = 0;
    for (uint32_t node = 0; node < index->node_count; node++) {
        unsigned flag = flags ? flags[node] : index->row_of_node[node] != VELTA_NO_ROW ? HNSW_NODE_TAIL : 0;
        index->flags[node] = (uint8_t)flag;
        index->free_count += flag == 0;
        index->linked_count += (flag & HNSW_NODE_LINKED) != 0;
        index->removed_count += (flag & HNSW_NODE_REMOVED) != 0;
        index->repair_count += (flag & HNSW_NODE_REPAIR) != 0;
        if (!(flag & HNSW_NODE_TAIL)) continue;
        index->tail_count++;
        index->tail_bits[node / 64] |= UINT64_C(1) << node % 64;
    }
    index->first_free = 0;
}

static enum velta_status take_uppers(struct hnsw *index, const struct hnsw_image *image, struct velta_error *error) {
    size_t at = HEAD_BYTES, end = image->head_bytes;
    uint32_t count = get32(image->head + 12);
    if (count > index->node_count) return DAMAGED(12, "more upper nodes than nodes");
    for (uint32_t i = 0; i < count; i++) {
        if (end - at < 8) return DAMAGED(at, "the upper levels are cut short");
        uint32_t node = get32(image->head + at), level = get32(image->head + at + 4);
        if (node >= index->node_count || !(image->flags[node] & HNSW_NODE_UPPER) || level < 1 ||
            level > HNSW_MAX_LEVEL || end - at - 8 < hnsw_upper_bytes(index, level) ||
            (i > 0 && node <= index->uppers[index->upper_count - 1].node))
            return DAMAGED(at, "an upper node is out of place");
        enum velta_status status = hnsw_add_upper(index, node, level, error);
        if (status) return status;
        memcpy(index->uppers[index->upper_count - 1].links, image->head + at + 8, hnsw_upper_bytes(index, level));
        at += upper_entry_bytes(index, level);
    }
    return at == end ? VELTA_OK : DAMAGED(at, "bytes after the upper levels");
}

static enum velta_status attach(struct hnsw *index, struct velta_error *error) {
    const struct hnsw_image *image = index->loading;
    if (image->parts_read != hnsw_part_count(index, HNSW_PART_GRAPH))
        return DAMAGED(VELTA_NO_OFFSET, "the graph is incomplete");
    enum velta_status status = take_uppers(index, image, error);
    if (status) return status;
    take_flags(index, image->flags);
    index->entry = get32(image->head + 4);
    uint32_t top = get32(image->head + 8);
    index->ordered_count = get32(image->head + 16);
    index->unwalked_count = get32(image->head + 20);
    if (top > HNSW_MAX_LEVEL || index->ordered_count > index->node_count)
        return DAMAGED(8, "the head of the graph is damaged");
    index->top_level = (uint8_t)top;
    index->awaits_graph = false; /* links are links from here on */
    return hnsw_check_structure(index, error);
}

/* No graph: every row in the tail, and nothing in blocks that no row uses. */
static void detach(struct hnsw *index) {
    hnsw_release_uppers(index);
    index->entry = HNSW_NO_NODE;
    index->top_level = 0;
    index->ordered_count = index->unwalked_count = 0;
    take_flags(index, NULL);
    for (uint32_t node = 0; node < index->node_count; node++) {
        uint8_t *block = hnsw_block(index, node);
        memset(block + index->links_offset, 0, index->block_bytes - index->links_offset);
        if (index->flags[node] == 0) memset(block, 0, index->links_offset);
        index->drift[node] = 0;
    }
}

bool hnsw_awaits_graph(const struct hnsw *index) {
    return index->awaits_graph;
}

/* Loading is over, with the graph or without. */
static void settle(struct hnsw *index, bool whole) {
    if (!whole) detach(index);
    index->awaits_graph = false;
    hnsw_image_release(index);
    index->codes_head_dirty = index->graph_head_dirty = false;
    if (index->slab_count)
        memset(index->slab_dirty, whole ? 0 : HNSW_DIRTY_CODES | HNSW_DIRTY_LINKS, index->slab_count);
    if (!whole) index->graph_head_dirty = true;
}

void hnsw_load_abandon(struct hnsw *index) {
    if (index->awaits_graph) settle(index, false);
}

enum velta_status hnsw_load_finish(struct hnsw *index, struct velta_error *error) {
    enum velta_status status = index->loading ? attach(index, error) : VELTA_OK;
    if (status && status != VELTA_CORRUPT) {
        hnsw_release_uppers(index);
        take_flags(index, NULL); /* as they were: memory is refused before more is taken over */
        return status;
    }
    settle(index, index->loading && !status);
    return status;
}
