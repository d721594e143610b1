/*
 * Taking removed nodes out, and keeping every node reachable.
 *
 * A removed node stays a waypoint until hnsw_link takes it out. Then each list that leads to it loses that link and is
 * offered the removed node's own neighbours instead (through further removed ones where those follow), of which the
 * selection heuristic takes what the kept links do not cover: the consolidation of FreshDiskANN (Singh et al., 2021,
 * arXiv:2105.09613), but kept links are never dropped. Lists of leaving nodes do not change meanwhile, so every list is
 * mended alone and in parallel.
 *
 * The heuristic drops links for others that lead nearer, which can cut off copies and outliers. hnsw_reconnect walks
 * level 0 from the entry and hooks each node that it did not reach behind a near node that it did.
 */
#include "hnsw/link.h"

static bool is_marked(const struct hnsw_team *team, uint32_t node) {
    return team->marks[node / 64] >> node % 64 & 1;
}
static void mark(struct hnsw_team *team, uint32_t node) {
    team->marks[node / 64] |= UINT64_C(1) << node % 64;
}

/* ---- removal */

struct mending {
    struct hnsw_team *team;
    unsigned level;
};

static uint32_t offer(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, uint32_t count) {
    struct hnsw_visited *visited = &scratch->visited;
    if (visited->epochs[node] == visited->epoch) return count;
    visited->epochs[node] = visited->epoch;
    if ((index->flags[node] & HNSW_NODE_REMOVED) || count == scratch->gather_capacity) return count;
    scratch->ids[count] = node;
    return count + 1;
}

/* Into scratch->ids: where the leaving links of a list led, through other leaving nodes too, breadth first. */
static uint32_t gather_offers(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, unsigned level,
                              const struct hnsw_links *links) {
    enum { MOST_LEAVING = 64 };
    uint32_t leaving[MOST_LEAVING], leaving_count = 0, count = 0;
    struct hnsw_visited *visited = &scratch->visited;
    hnsw_visited_next(visited);
    visited->epochs[node] = visited->epoch;
    for (uint32_t i = 0; i < links->count; i++) {
        visited->epochs[links->ids[i]] = visited->epoch;
        bool leaves = index->flags[links->ids[i]] & HNSW_NODE_LEAVING;
        if (leaves && leaving_count < MOST_LEAVING) leaving[leaving_count++] = links->ids[i];
    }
    for (uint32_t at = 0; at < leaving_count; at++) {
        struct hnsw_links beyond;
        hnsw_read_links(index, leaving[at], level, &beyond);
        for (uint32_t i = 0; i < beyond.count; i++) {
            uint32_t id = beyond.ids[i];
            bool fresh = visited->epochs[id] != visited->epoch;
            if (fresh && (index->flags[id] & HNSW_NODE_LEAVING) && leaving_count < MOST_LEAVING)
                leaving[leaving_count++] = id;
            count = offer(index, scratch, id, count);
        }
    }
    return count;
}

/* Returns whether the list changed. */
static bool mend_list(struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, unsigned level) {
    struct hnsw_links links;
    hnsw_read_links(index, node, level, &links);
    uint32_t kept = 0, chosen[128];
    for (uint32_t i = 0; i < links.count; i++) {
        if (!(index->flags[links.ids[i]] & HNSW_NODE_LEAVING)) chosen[kept++] = links.ids[i];
    }
    if (kept == links.count) return false;
    uint32_t count = gather_offers(index, scratch, node, level, &links);
    const uint8_t *block = hnsw_block(index, node);
    struct hnsw_probe probe = {.codes = (int8_t *)(uintptr_t)block};
    hnsw_probe_block(index, block, &probe);
    hnsw_distances_codes(index, &probe, scratch->ids, count, scratch->rows, scratch->dots, scratch->distances);
    uint32_t sorted = 0;
    for (uint32_t i = 0; i < count; i++) {
        hnsw_pool_insert(scratch->merge, &sorted, scratch->pool_capacity,
                         hnsw_key(scratch->distances[i], scratch->ids[i]));
    }
    uint32_t capacity = hnsw_link_capacity(index, level);
    kept = hnsw_select_more(index, scratch->merge, sorted, capacity, chosen, kept);
    hnsw_write_links(index, node, level, chosen, kept);
    return true;
}

static void mend_nodes(void *argument, struct hnsw_scratch *scratch, uint32_t first, uint32_t last) {
    const struct mending *mending = argument;
    struct hnsw *index = mending->team->index;
    for (uint32_t node = first; node < last; node++) {
        bool stays = (index->flags[node] & (HNSW_NODE_LINKED | HNSW_NODE_LEAVING)) == HNSW_NODE_LINKED;
        if (stays && mend_list(index, scratch, node, 0)) mark(mending->team, node);
    }
}

static void mend_uppers(void *argument, struct hnsw_scratch *scratch, uint32_t first, uint32_t last) {
    const struct mending *mending = argument;
    struct hnsw *index = mending->team->index;
    for (uint32_t i = first; i < last; i++) {
        const struct hnsw_upper *upper = &index->uppers[i];
        if (index->flags[upper->node] & HNSW_NODE_LEAVING) continue;
        for (unsigned level = 1; level <= upper->level; level++)
            mend_list(index, scratch, upper->node, level);
    }
}

/* The first of the highest nodes becomes the entry; a node with a row where there is one. */
static void choose_entry(struct hnsw *index) {
    uint32_t best = HNSW_NO_NODE;
    unsigned best_rank = 0;
    for (size_t i = 0; i < index->upper_count; i++) {
        unsigned rank = index->uppers[i].level * 2U + !(index->flags[index->uppers[i].node] & HNSW_NODE_REMOVED);
        if (rank <= best_rank) continue;
        best_rank = rank;
        best = index->uppers[i].node;
    }
    for (uint32_t node = 0; best_rank < 2 && node < index->node_count; node++) {
        unsigned rank = !(index->flags[node] & HNSW_NODE_REMOVED);
        if (!(index->flags[node] & HNSW_NODE_LINKED) || (best != HNSW_NO_NODE && rank <= best_rank)) continue;
        best_rank = rank;
        best = node;
        if (rank) break;
    }
    index->entry = best;
    index->top_level = (uint8_t)(best_rank / 2);
}

uint32_t hnsw_repair_removed(struct hnsw_team *team, uint32_t max) {
    struct hnsw *index = team->index;
    uint32_t leaving = 0;
    for (uint32_t node = 0; node < index->node_count && leaving < max && leaving < index->removed_count; node++) {
        if (!(index->flags[node] & HNSW_NODE_REMOVED)) continue;
        index->flags[node] |= HNSW_NODE_LEAVING;
        leaving++;
    }
    struct mending mending = {.team = team};
    memset(team->marks, 0, (team->walk_capacity + 63) / 64 * sizeof *team->marks);
    hnsw_team_run(team, index->node_count, 1024, mend_nodes, &mending); /* chunks do not share words of marks */
    hnsw_team_run(team, (uint32_t)index->upper_count, 128, mend_uppers, &mending);
    bool entry_leaves = false;
    for (uint32_t node = 0; node < index->node_count; node++) {
        if (is_marked(team, node)) hnsw_mark(index, node, HNSW_DIRTY_LINKS);
        if (!(index->flags[node] & HNSW_NODE_LEAVING)) continue;
        index->graph_head_dirty = true;
        if (index->flags[node] & HNSW_NODE_UPPER) hnsw_drop_upper(index, node);
        entry_leaves |= node == index->entry;
        index->linked_count--;
        index->removed_count--;
        hnsw_free_node(index, node);
    }
    if (entry_leaves) choose_entry(index);
    return leaving;
}

/* ---- reachability */

/* Marks what can be reached from `node`, which is not marked yet. */
static void walk_from(struct hnsw_team *team, uint32_t node) {
    const struct hnsw *index = team->index;
    uint32_t head = 0, tail = 0;
    mark(team, node);
    team->queue[tail++] = node;
    while (head < tail) {
        const uint8_t *block = hnsw_block(index, team->queue[head++]);
        uint32_t count = hnsw_link_count(index, block);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t other = hnsw_link_at(index, block, i);
            if (is_marked(team, other)) continue;
            mark(team, other);
            team->queue[tail++] = other;
        }
    }
}

/* The nearest marked node with room for a link, else the nearest marked one, else the entry. */
static uint32_t find_hook(struct hnsw_team *team, uint32_t node) {
    const struct hnsw *index = team->index;
    struct hnsw_scratch *scratch = team->scratches[0];
    hnsw_probe_node(index, node, &scratch->probe);
    uint64_t seed = hnsw_descend(index, scratch, 0);
    hnsw_visited_next(&scratch->visited);
    scratch->pool[0] = seed;
    scratch->pool_count = 1;
    hnsw_beam(index, scratch, index->options.ef_construction, UINT32_MAX);
    uint32_t nearest = HNSW_NO_NODE;
    for (uint32_t i = 0; i < scratch->pool_count; i++) {
        uint32_t other = hnsw_key_node(scratch->pool[i]);
        if (!is_marked(team, other) || (index->flags[other] & HNSW_NODE_REMOVED)) continue;
        if (hnsw_link_count(index, hnsw_block(index, other)) < 2 * index->options.m) return other;
        if (nearest == HNSW_NO_NODE) nearest = other;
    }
    return nearest == HNSW_NO_NODE ? index->entry : nearest;
}

/* A full node gives up its own last link. While nothing leads to it, nothing is reached through that link. */
void hnsw_hook_behind(struct hnsw *index, uint32_t hook, uint32_t node) {
    struct hnsw_links links, own;
    hnsw_read_links(index, hook, 0, &links);
    if (links.count == 2 * index->options.m) {
        uint32_t taken_over = links.ids[--links.count];
        hnsw_read_links(index, node, 0, &own);
        uint32_t at = 0;
        while (at < own.count && own.ids[at] != taken_over)
            at++;
        if (at == own.count) {
            if (own.count == 2 * index->options.m) own.count--;
            own.ids[own.count++] = taken_over;
            hnsw_write_links(index, node, 0, own.ids, own.count);
            hnsw_mark(index, node, HNSW_DIRTY_LINKS);
        }
    }
    links.ids[links.count++] = node;
    hnsw_write_links(index, hook, 0, links.ids, links.count);
    hnsw_mark(index, hook, HNSW_DIRTY_LINKS);
}

void hnsw_reconnect(struct hnsw_team *team) {
    struct hnsw *index = team->index;
    index->unwalked_count = 0;
    if (index->entry == HNSW_NO_NODE) return;
    memset(team->marks, 0, (team->walk_capacity + 63) / 64 * sizeof *team->marks);
    walk_from(team, index->entry);
    for (uint32_t node = 0; node < index->node_count; node++) {
        bool needed = (index->flags[node] & (HNSW_NODE_LINKED | HNSW_NODE_REMOVED)) == HNSW_NODE_LINKED;
        if (!needed || is_marked(team, node)) continue;
        hnsw_hook_behind(index, find_hook(team, node), node);
        walk_from(team, node);
    }
}
