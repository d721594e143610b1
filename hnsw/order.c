/*
 * Local order for a bulk load: neighbours get neighbouring ids, so that a search walks over fewer lines and pages.
 *
 * Nodes are assigned to the nearest of ORDER_PIVOTS pivots, taken evenly from among them; pivots are chained, each
 * followed by the nearest one not yet in the chain; nodes are numbered in the order of their pivots. Only nodes
 * without links are moved, so no list changes. Each node is ordered once: ids below index->ordered_count stay.
 */
#include "hnsw/link.h"

enum { ORDER_PIVOTS = 256, ORDER_MIN_NODES = 4096 };

struct ordering {
    struct hnsw_team *team;
    uint32_t *nodes;  /* to be ordered, ascending */
    uint32_t *sorted; /* the same in their new order */
    uint16_t *pivots; /* of nodes[i]: its place in the chain */
    uint8_t *block;   /* one being moved */
    uint32_t count;
    uint32_t pivot_count;
    uint32_t chain[ORDER_PIVOTS];
};

static void ordering_end(struct ordering *ordering) {
    struct memory *memory = ordering->team->index->memory;
    memory_release(memory, ordering->nodes, ordering->count * sizeof *ordering->nodes);
    memory_release(memory, ordering->sorted, ordering->count * sizeof *ordering->sorted);
    memory_release(memory, ordering->pivots, ordering->count * sizeof *ordering->pivots);
    memory_release(memory, ordering->block, ordering->team->index->block_bytes);
    memory_release(memory, ordering, sizeof *ordering);
}

static void chain_pivots(struct ordering *ordering) {
    const struct hnsw *index = ordering->team->index;
    struct hnsw_scratch *scratch = ordering->team->scratches[0];
    uint32_t count = ordering->pivot_count;
    for (uint32_t i = 0; i < count; i++)
        ordering->chain[i] = ordering->nodes[(uint64_t)i * ordering->count / count];
    for (uint32_t i = 0; i + 1 < count; i++) {
        hnsw_probe_node(index, ordering->chain[i], &scratch->probe);
        uint32_t *rest = ordering->chain + i + 1;
        hnsw_distances_codes(index, &scratch->probe, rest, count - i - 1, scratch->rows, scratch->dots,
                             scratch->distances);
        uint32_t nearest = 0;
        for (uint32_t j = 1; j < count - i - 1; j++) {
            if (scratch->distances[j] < scratch->distances[nearest]) nearest = j;
        }
        uint32_t next = rest[nearest];
        rest[nearest] = rest[0];
        rest[0] = next;
    }
}

static void assign(void *argument, struct hnsw_scratch *scratch, uint32_t first, uint32_t last) {
    struct ordering *ordering = argument;
    const struct hnsw *index = ordering->team->index;
    for (uint32_t i = first; i < last; i++) {
        hnsw_probe_node(index, ordering->nodes[i], &scratch->probe);
        hnsw_distances_codes(index, &scratch->probe, ordering->chain, ordering->pivot_count, scratch->rows,
                             scratch->dots, scratch->distances);
        uint32_t nearest = 0;
        for (uint32_t j = 1; j < ordering->pivot_count; j++) {
            if (scratch->distances[j] < scratch->distances[nearest]) nearest = j;
        }
        ordering->pivots[i] = (uint16_t)nearest;
    }
}

static void sort_by_pivot(struct ordering *ordering) {
    uint32_t starts[ORDER_PIVOTS + 1] = {0};
    for (uint32_t i = 0; i < ordering->count; i++)
        starts[ordering->pivots[i] + 1U]++;
    for (uint32_t i = 0; i < ORDER_PIVOTS; i++)
        starts[i + 1] += starts[i];
    for (uint32_t i = 0; i < ordering->count; i++)
        ordering->sorted[starts[ordering->pivots[i]]++] = ordering->nodes[i];
}

/* The node that was sorted[i] becomes nodes[i]: blocks move along cycles, then the maps follow. */
static void move_nodes(struct ordering *ordering) {
    struct hnsw *index = ordering->team->index;
    uint32_t *nodes = ordering->nodes, *sorted = ordering->sorted;
    uint32_t *place = ordering->team->queue; /* of a node: its place in nodes */
    for (uint32_t i = 0; i < ordering->count; i++)
        place[nodes[i]] = i;
    for (uint32_t i = 0; i < ordering->count; i++) {
        if (sorted[i] == nodes[i]) continue;
        memcpy(ordering->block, hnsw_block(index, nodes[i]), index->block_bytes);
        uint32_t row = index->row_of_node[nodes[i]], at = i;
        while (sorted[at] != nodes[i]) {
            uint32_t from = sorted[at];
            memcpy(hnsw_block(index, nodes[at]), hnsw_block(index, from), index->block_bytes);
            index->row_of_node[nodes[at]] = index->row_of_node[from];
            sorted[at] = nodes[at];
            at = place[from];
        }
        memcpy(hnsw_block(index, nodes[at]), ordering->block, index->block_bytes);
        index->row_of_node[nodes[at]] = row;
        sorted[at] = nodes[at];
    }
    for (uint32_t i = 0; i < ordering->count; i++) {
        index->node_of_row[index->row_of_node[nodes[i]]] = nodes[i];
        hnsw_mark(index, nodes[i], HNSW_DIRTY_CODES);
    }
}

static bool is_orderable(const struct hnsw *index, uint32_t node) {
    return (index->flags[node] & (HNSW_NODE_TAIL | HNSW_NODE_LINKED)) == HNSW_NODE_TAIL;
}

enum velta_status hnsw_order_tail(struct hnsw_team *team, struct velta_error *error) {
    struct hnsw *index = team->index;
    struct memory *memory = index->memory;
    uint32_t count = 0;
    for (uint32_t node = index->ordered_count; node < index->node_count; node++)
        count += is_orderable(index, node);
    if (count < ORDER_MIN_NODES) return VELTA_OK;
    struct ordering *ordering = memory_allocate_zero(memory, sizeof *ordering);
    if (!ordering) return memory_fail(memory, error);
    ordering->team = team;
    ordering->count = count;
    ordering->pivot_count = ORDER_PIVOTS;
    ordering->nodes = memory_allocate(memory, count * sizeof *ordering->nodes);
    ordering->sorted = memory_allocate(memory, count * sizeof *ordering->sorted);
    ordering->pivots = memory_allocate(memory, count * sizeof *ordering->pivots);
    ordering->block = memory_allocate(memory, index->block_bytes);
    enum velta_status status = VELTA_OK;
    if (!ordering->nodes || !ordering->sorted || !ordering->pivots || !ordering->block) {
        status = memory_fail(memory, error);
    } else {
        uint32_t filled = 0;
        for (uint32_t node = index->ordered_count; node < index->node_count; node++) {
            if (is_orderable(index, node)) ordering->nodes[filled++] = node;
        }
        chain_pivots(ordering);
        hnsw_team_run(team, count, 64, assign, ordering);
        sort_by_pivot(ordering);
        move_nodes(ordering);
        index->ordered_count = index->node_count;
        index->graph_head_dirty = true;
    }
    ordering_end(ordering);
    return status;
}
