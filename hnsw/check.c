/*
 * Every invariant of the index, checked from scratch: for tests, for `verify`, and for images before they are believed.
 *
 * The first violation found is told with the node it concerns as the offset. Nothing is changed. The walk for
 * reachability and the comparison of codes need memory for a moment.
 */
#include "core/error.h"
#include "hnsw/link.h"

#define BROKEN(node, ...) velta_fail(error, VELTA_CORRUPT, node, __VA_ARGS__)

static enum velta_status check_node(const struct hnsw *index, uint32_t node, struct velta_error *error) {
    unsigned flags = index->flags[node];
    uint32_t row = index->row_of_node[node];
    bool linked = flags & HNSW_NODE_LINKED, tail = flags & HNSW_NODE_TAIL, removed = flags & HNSW_NODE_REMOVED;
    if (flags & (HNSW_NODE_LEAVING | 64U | 128U)) return BROKEN(node, "node %u has unknown flags", node);
    if (removed && (!linked || tail)) return BROKEN(node, "removed node %u is not a waypoint", node);
    if ((flags & HNSW_NODE_REPAIR) && (!linked || tail || removed))
        return BROKEN(node, "node %u cannot be due for repair", node);
    if ((flags & HNSW_NODE_UPPER) && !linked) return BROKEN(node, "unlinked node %u has upper links", node);
    if ((flags == 0 || removed) != (row == VELTA_NO_ROW)) return BROKEN(node, "node %u: row and flags differ", node);
    if (row != VELTA_NO_ROW && (row >= index->row_capacity || index->node_of_row[row] != node))
        return BROKEN(node, "node %u has row %u, which has another node", node, row);
    if (tail != (index->tail_bits[node / 64] >> node % 64 & 1)) return BROKEN(node, "node %u: tail bit differs", node);
    if (!linked && !index->awaits_graph && hnsw_link_count(index, hnsw_block(index, node)))
        return BROKEN(node, "node %u has links", node);
    return VELTA_OK;
}

static enum velta_status check_counts(const struct hnsw *index, struct velta_error *error) {
    uint32_t linked = 0, tail = 0, removed = 0, repair = 0, unused = 0, rows = 0, mapped = 0;
    for (uint32_t node = 0; node < index->node_count; node++) {
        enum velta_status status = check_node(index, node, error);
        if (status) return status;
        unsigned flags = index->flags[node];
        linked += (flags & HNSW_NODE_LINKED) != 0;
        tail += (flags & HNSW_NODE_TAIL) != 0;
        removed += (flags & HNSW_NODE_REMOVED) != 0;
        repair += (flags & HNSW_NODE_REPAIR) != 0;
        unused += flags == 0;
        mapped += index->row_of_node[node] != VELTA_NO_ROW;
        if (flags == 0 && node < index->first_free) return BROKEN(node, "free node %u is overlooked", node);
    }
    for (uint32_t row = 0; row < index->row_capacity; row++) {
        uint32_t node = index->node_of_row[row];
        rows += node != HNSW_NO_NODE;
        if (node != HNSW_NO_NODE && node >= index->node_count) return BROKEN(node, "row %u has node %u", row, node);
    }
    if (linked != index->linked_count || tail != index->tail_count || removed != index->removed_count ||
        repair != index->repair_count || unused != index->free_count || rows != mapped)
        return BROKEN(VELTA_NO_OFFSET, "the index's counts are not those of its nodes");
    return VELTA_OK;
}

/* Links of one level: within bounds, to linked nodes that have the level, neither to itself nor twice. */
static enum velta_status check_links(const struct hnsw *index, uint32_t node, unsigned level,
                                     struct velta_error *error) {
    struct hnsw_visited *visited = &index->scratch->visited;
    hnsw_visited_next(visited);
    visited->epochs[node] = visited->epoch;
    struct hnsw_links links;
    hnsw_read_links(index, node, level, &links);
    for (uint32_t i = 0; i < links.count; i++) {
        uint32_t id = links.ids[i];
        if (id >= index->node_count || !(index->flags[id] & HNSW_NODE_LINKED))
            return BROKEN(node, "node %u links to %u, which is not in the graph", node, id);
        if (visited->epochs[id] == visited->epoch) return BROKEN(node, "node %u links to %u again", node, id);
        visited->epochs[id] = visited->epoch;
        if (level == 0) continue;
        const struct hnsw_upper *upper = hnsw_find_upper(index, id);
        if (!upper || upper->level < level) return BROKEN(node, "node %u links to %u above its level", node, id);
    }
    return VELTA_OK;
}

static enum velta_status check_uppers(const struct hnsw *index, struct velta_error *error) {
    size_t flagged = 0;
    unsigned top = 0;
    for (uint32_t node = 0; node < index->node_count; node++)
        flagged += (index->flags[node] & HNSW_NODE_UPPER) != 0;
    if (flagged != index->upper_count) return BROKEN(VELTA_NO_OFFSET, "not every upper node has upper links");
    for (size_t i = 0; i < index->upper_count; i++) {
        const struct hnsw_upper *upper = &index->uppers[i];
        if (upper->node >= index->node_count || !(index->flags[upper->node] & HNSW_NODE_UPPER) ||
            (i > 0 && upper->node <= index->uppers[i - 1].node))
            return BROKEN(upper->node, "upper links of node %u are out of place", upper->node);
        if (upper->level < 1 || upper->level > HNSW_MAX_LEVEL)
            return BROKEN(upper->node, "node %u has level %u", upper->node, upper->level);
        if (upper->level > top) top = upper->level;
        for (unsigned level = 1; level <= upper->level; level++) {
            if (hnsw_upper_links(index, upper, level)[0] > index->options.m)
                return BROKEN(upper->node, "node %u has too many links", upper->node);
        }
    }
    if (index->linked_count == 0)
        return index->entry == HNSW_NO_NODE ? VELTA_OK : BROKEN(VELTA_NO_OFFSET, "an entry without a graph");
    if (index->entry >= index->node_count || !(index->flags[index->entry] & HNSW_NODE_LINKED))
        return BROKEN(index->entry, "the entry is not in the graph");
    const struct hnsw_upper *upper = hnsw_find_upper(index, index->entry);
    if (index->top_level != top || (upper ? upper->level : 0) != top)
        return BROKEN(index->entry, "the entry is not on the top level");
    return VELTA_OK;
}

enum velta_status hnsw_check_structure(const struct hnsw *index, struct velta_error *error) {
    if (index->node_count == 0) return VELTA_OK;
    enum velta_status status = check_counts(index, error);
    if (!status) status = check_uppers(index, error);
    for (uint32_t node = 0; node < index->node_count && !status; node++) {
        if (!(index->flags[node] & HNSW_NODE_LINKED)) continue;
        const uint8_t *block = hnsw_block(index, node);
        uint32_t count = hnsw_link_count(index, block), room = 2 * index->options.m;
        if (count > room) return BROKEN(node, "node %u has %u links, %u fit", node, count, room);
        for (const uint8_t *at = block + index->links_offset + 2 + 3 * (size_t)count; at < block + index->block_bytes;
             at++) {
            if (*at) return BROKEN(node, "node %u has bytes after its last link", node);
        }
        status = check_links(index, node, 0, error);
    }
    for (size_t i = 0; i < index->upper_count && !status; i++) {
        for (unsigned level = 1; level <= index->uppers[i].level && !status; level++)
            status = check_links(index, index->uppers[i].node, level, error);
    }
    return status;
}

static enum velta_status check_reachable(const struct hnsw *index, uint64_t *marks, uint32_t *queue,
                                         struct velta_error *error) {
    if (index->entry == HNSW_NO_NODE || index->unwalked_count > 0) return VELTA_OK; /* see hnsw_reconnect */
    uint32_t head = 0, tail = 0;
    queue[tail++] = index->entry;
    marks[index->entry / 64] |= UINT64_C(1) << index->entry % 64;
    while (head < tail) {
        const uint8_t *block = hnsw_block(index, queue[head++]);
        for (uint32_t i = 0; i < hnsw_link_count(index, block); i++) {
            uint32_t other = hnsw_link_at(index, block, i);
            if (marks[other / 64] >> other % 64 & 1) continue;
            marks[other / 64] |= UINT64_C(1) << other % 64;
            queue[tail++] = other;
        }
    }
    for (uint32_t node = 0; node < index->node_count; node++) {
        bool needed = (index->flags[node] & (HNSW_NODE_LINKED | HNSW_NODE_REMOVED)) == HNSW_NODE_LINKED;
        if (needed && !(marks[node / 64] >> node % 64 & 1))
            return BROKEN(node, "node %u cannot be reached from the entry", node);
    }
    return VELTA_OK;
}

static enum velta_status check_codes(const struct hnsw *index, uint8_t *block, struct velta_error *error) {
    for (uint32_t node = 0; node < index->node_count; node++) {
        const uint8_t *stored = hnsw_block(index, node);
        memcpy(block, stored, index->block_bytes);
        if (index->row_of_node[node] == VELTA_NO_ROW || index->codes_only) {
            hnsw_complete_params(index, block);
        } else {
            column_get_vector(index->vectors, index->row_of_node[node], index->scratch->vector);
            hnsw_encode(index, index->scratch->vector, block);
        }
        if (memcmp(block, stored, index->links_offset) != 0)
            return BROKEN(node, "the codes of node %u are not those of its vector", node);
    }
    return VELTA_OK;
}

enum velta_status hnsw_check(struct hnsw *index, struct velta_error *error) {
    hnsw_refresh(index);
    if (index->node_count == 0) return VELTA_OK;
    enum velta_status status = hnsw_check_structure(index, error);
    if (status) return status;
    size_t mark_bytes = ((size_t)index->node_count + 63) / 64 * sizeof(uint64_t);
    size_t queue_bytes = (size_t)index->node_count * sizeof(uint32_t);
    uint64_t *marks = memory_allocate_zero(index->memory, mark_bytes);
    uint32_t *queue = memory_allocate(index->memory, queue_bytes);
    uint8_t *block = memory_allocate(index->memory, index->block_bytes);
    if (!marks || !queue || !block) {
        status = memory_fail(index->memory, error);
    } else {
        status = check_reachable(index, marks, queue, error);
        if (!status) status = check_codes(index, block, error);
    }
    memory_release(index->memory, marks, mark_bytes);
    memory_release(index->memory, queue, queue_bytes);
    memory_release(index->memory, block, index->block_bytes);
    return status;
}
