/*
 * Slices of linking: repairs first, then the tail, in batches.
 *
 * A batch is up to HNSW_BATCH nodes, its size a function of the number of linked nodes alone. Its members' links are
 * found side by side against the graph as it was before the batch (and against the members before them), then lists
 * are written, then the links back, grouped by target: one task handles a target, taking its sources in the batch's
 * order. Nothing depends on which thread did what, so a parallel build gives the graph that one thread gives, as
 * ParlayANN's batches do (Manohar et al., 2024, arXiv:2305.04359).
 *
 * A new node is reachable at once: one of its neighbours leads to it. That its links pushed out nothing else for good
 * is made sure by a walk over the whole graph when a WALK_SHAREth of it has changed, so that small slices stay cheap.
 *
 * Memory for a batch is taken before it changes anything. Cancelling between batches leaves a whole graph.
 */
#include "hnsw/link.h"
#include "core/error.h"

enum { WALK_SHARE = 64 };

struct batch {
    struct hnsw_team *team;
    uint32_t nodes[HNSW_BATCH];
    uint8_t levels[HNSW_BATCH];
    uint32_t first_list[HNSW_BATCH + 1]; /* member i has lists first_list[i] + level */
    uint32_t count;

    struct hnsw_links *lists;
    size_t list_capacity;
    uint64_t *edges; /* level << 56 | target << 32 | source's place in the batch, sorted */
    uint64_t *sorting;
    size_t edge_capacity;
    size_t sorting_capacity;
    uint32_t edge_count;
    uint32_t *groups; /* starts of equal (level, target) in edges; one more at the end */
    size_t group_capacity;
    uint32_t group_count;
};

/* ---- threads */

struct team_run {
    struct hnsw_team *team;
    hnsw_team_work *work;
    void *argument;
    uint32_t count;
    uint32_t chunk;
    _Atomic uint32_t next;
};

static void team_task(void *argument, unsigned thread) {
    struct team_run *run = argument;
    for (;;) {
        uint32_t first = atomic_fetch_add_explicit(&run->next, run->chunk, memory_order_relaxed);
        if (first >= run->count) return;
        uint32_t last = run->count - first < run->chunk ? run->count : first + run->chunk;
        run->work(run->argument, run->team->scratches[thread], first, last);
    }
}

void hnsw_team_run(struct hnsw_team *team, uint32_t count, uint32_t chunk, hnsw_team_work *work, void *argument) {
    if (team->thread_count == 1 || count <= chunk) {
        if (count) work(argument, team->scratches[0], 0, count);
        return;
    }
    struct team_run run = {.team = team, .work = work, .argument = argument, .count = count, .chunk = chunk};
    team->executor->run(team->executor->context, team->thread_count, team_task, &run);
}

static void team_end(struct hnsw_team *team) {
    struct memory *memory = team->index->memory;
    for (unsigned i = 1; team->scratches && i < team->thread_count; i++)
        hnsw_scratch_destroy(team->index, team->scratches[i]);
    memory_release(memory, team->marks, (team->walk_capacity + 63) / 64 * sizeof *team->marks);
    memory_release(memory, team->queue, team->walk_capacity * sizeof *team->queue);
    memory_release(memory, (void *)team->scratches, team->thread_count * sizeof *team->scratches);
}

static enum velta_status team_begin(struct hnsw_team *team, struct hnsw *index, const struct velta_executor *executor,
                                    struct velta_error *error) {
    unsigned threads = executor && executor->thread_count > 1 ? executor->thread_count : 1;
    *team = (struct hnsw_team){.index = index, .executor = executor, .thread_count = threads};
    team->scratches = memory_allocate_zero(index->memory, threads * sizeof *team->scratches);
    if (!team->scratches) return memory_fail(index->memory, error);
    team->scratches[0] = index->scratch;
    team->walk_capacity = index->node_count;
    team->marks = memory_allocate(index->memory, (team->walk_capacity + 63) / 64 * sizeof *team->marks);
    team->queue = memory_allocate(index->memory, team->walk_capacity * sizeof *team->queue);
    if (!team->marks || !team->queue) {
        enum velta_status status = memory_fail(index->memory, error);
        team_end(team);
        return status;
    }
    uint32_t hop = 2 * index->options.m + HNSW_BATCH;
    uint32_t pool = index->options.ef_construction > hop ? index->options.ef_construction : hop;
    enum velta_status status = VELTA_OK;
    for (unsigned i = 0; i < threads && !status; i++) {
        if (i > 0) status = hnsw_scratch_create(index, &team->scratches[i], error);
        if (!status) status = hnsw_scratch_reserve(index, team->scratches[i], pool, hop, error);
    }
    if (status) team_end(team);
    return status;
}

/* ---- a batch */

static void batch_end(struct batch *batch) {
    struct memory *memory = batch->team->index->memory;
    memory_release(memory, batch->lists, batch->list_capacity * sizeof *batch->lists);
    memory_release(memory, batch->edges, batch->edge_capacity * sizeof *batch->edges);
    memory_release(memory, batch->sorting, batch->sorting_capacity * sizeof *batch->sorting);
    memory_release(memory, batch->groups, batch->group_capacity * sizeof *batch->groups);
    memory_release(memory, batch, sizeof *batch);
}

/* Takes the members' memory: lists, edges, and links above level 0 for those that will have them. */
static enum velta_status batch_reserve(struct batch *batch, struct velta_error *error) {
    struct hnsw *index = batch->team->index;
    struct memory *memory = index->memory;
    size_t lists = batch->first_list[batch->count];
    size_t edges = lists * index->options.m;
    enum velta_status status =
        memory_grow_array(memory, (void **)&batch->lists, &batch->list_capacity, lists, sizeof *batch->lists, error);
    if (!status)
        status = memory_grow_array(memory, (void **)&batch->edges, &batch->edge_capacity, edges, sizeof *batch->edges,
                                   error);
    if (!status)
        status = memory_grow_array(memory, (void **)&batch->sorting, &batch->sorting_capacity, edges,
                                   sizeof *batch->sorting, error);
    if (!status)
        status = memory_grow_array(memory, (void **)&batch->groups, &batch->group_capacity, edges + 1,
                                   sizeof *batch->groups, error);
    uint32_t made = 0;
    for (; made < batch->count && !status; made++) {
        uint32_t node = batch->nodes[made];
        if (batch->levels[made] > 0 && !(index->flags[node] & HNSW_NODE_UPPER))
            status = hnsw_add_upper(index, node, batch->levels[made], error);
    }
    for (uint32_t i = 0; status && i < made; i++) { /* those of unlinked nodes have no purpose */
        uint32_t node = batch->nodes[i];
        if ((index->flags[node] & HNSW_NODE_UPPER) && !(index->flags[node] & HNSW_NODE_LINKED))
            hnsw_drop_upper(index, node);
    }
    return status;
}

static void find_members(void *argument, struct hnsw_scratch *scratch, uint32_t first, uint32_t last) {
    struct batch *batch = argument;
    for (uint32_t i = first; i < last; i++) {
        hnsw_find_links(batch->team->index, scratch, batch->nodes[i], batch->levels[i], batch->nodes, batch->levels, i,
                        batch->lists + batch->first_list[i]);
    }
}

static void write_members(struct batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        for (unsigned level = 0; level <= batch->levels[i]; level++) {
            const struct hnsw_links *list = &batch->lists[batch->first_list[i] + level];
            hnsw_write_links(batch->team->index, batch->nodes[i], level, list->ids, list->count);
        }
    }
}

/* Least significant byte first over level and target; a stable sort keeps the batch's order within a target. */
static void sort_edges(struct batch *batch) {
    for (unsigned shift = 32; shift < 64; shift += 8) {
        uint32_t starts[257] = {0};
        for (uint32_t i = 0; i < batch->edge_count; i++)
            starts[(batch->edges[i] >> shift & 0xFF) + 1]++;
        for (unsigned i = 0; i < 256; i++)
            starts[i + 1] += starts[i];
        for (uint32_t i = 0; i < batch->edge_count; i++)
            batch->sorting[starts[batch->edges[i] >> shift & 0xFF]++] = batch->edges[i];
        uint64_t *sorted = batch->sorting; /* an even number of passes: both arrays end where they began */
        batch->sorting = batch->edges;
        batch->edges = sorted;
    }
}

static void group_edges(struct batch *batch) {
    batch->edge_count = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        for (unsigned level = 0; level <= batch->levels[i]; level++) {
            const struct hnsw_links *list = &batch->lists[batch->first_list[i] + level];
            for (uint32_t j = 0; j < list->count; j++)
                batch->edges[batch->edge_count++] = (uint64_t)level << 56 | (uint64_t)list->ids[j] << 32 | i;
        }
    }
    sort_edges(batch);
    batch->group_count = 0;
    for (uint32_t i = 0; i < batch->edge_count; i++) {
        if (batch->edges[i] >> 56) {
            batch->team->index->graph_head_dirty = true;
        } else {
            hnsw_mark(batch->team->index, batch->edges[i] >> 32 & 0xFFFFFF, HNSW_DIRTY_LINKS);
        }
        if (i == 0 || batch->edges[i] >> 32 != batch->edges[i - 1] >> 32) batch->groups[batch->group_count++] = i;
    }
    batch->groups[batch->group_count] = batch->edge_count;
}

static void link_back(void *argument, struct hnsw_scratch *scratch, uint32_t first, uint32_t last) {
    struct batch *batch = argument;
    uint32_t sources[HNSW_BATCH];
    for (uint32_t group = first; group < last; group++) {
        uint64_t edge = batch->edges[batch->groups[group]];
        uint32_t count = 0;
        for (uint32_t i = batch->groups[group]; i < batch->groups[group + 1]; i++)
            sources[count++] = batch->nodes[(uint32_t)batch->edges[i]];
        hnsw_add_links(batch->team->index, scratch, edge >> 32 & 0xFFFFFF, (unsigned)(edge >> 56), sources, count);
    }
}

/* A member that no list leads to, because all its neighbours preferred others, is hooked behind the nearest. */
static void hook_member(struct hnsw *index, uint32_t node, const struct hnsw_links *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        const uint8_t *block = hnsw_block(index, list->ids[i]);
        for (uint32_t j = 0; j < hnsw_link_count(index, block); j++) {
            if (hnsw_link_at(index, block, j) == node) return;
        }
    }
    if (list->count > 0) hnsw_hook_behind(index, list->ids[0], node);
}

/* The members are in the graph: flags, counts and the entry. */
static void settle(struct batch *batch) {
    struct hnsw *index = batch->team->index;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t node = batch->nodes[i];
        hnsw_mark(index, node, HNSW_DIRTY_LINKS | (index->drift[node] > 0.0F ? HNSW_DIRTY_CODES : 0));
        if (batch->levels[i] > 0) index->graph_head_dirty = true;
        if (index->flags[node] & HNSW_NODE_TAIL) hnsw_tail_leave(index, node);
        hnsw_repair_leave(index, node);
        if (!(index->flags[node] & HNSW_NODE_LINKED)) index->linked_count++;
        index->flags[node] |= HNSW_NODE_LINKED;
        index->drift[node] = 0;
        hook_member(index, node, &batch->lists[batch->first_list[i]]);
        if (index->entry == HNSW_NO_NODE || batch->levels[i] > index->top_level) {
            index->entry = node;
            index->top_level = batch->levels[i];
            index->graph_head_dirty = true;
        }
    }
}

static enum velta_status link_batch(struct batch *batch, struct velta_error *error) {
    struct hnsw *index = batch->team->index;
    batch->first_list[0] = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t node = batch->nodes[i];
        const struct hnsw_upper *upper = index->flags[node] & HNSW_NODE_UPPER ? hnsw_find_upper(index, node) : NULL;
        bool linked = index->flags[node] & HNSW_NODE_LINKED;
        unsigned fresh = linked ? 0 : hnsw_level_of_row(index, index->row_of_node[node]);
        batch->levels[i] = upper ? upper->level : (uint8_t)fresh;
        batch->first_list[i + 1] = batch->first_list[i] + batch->levels[i] + 1U;
    }
    enum velta_status status = batch_reserve(batch, error);
    if (status) return status;
    hnsw_team_run(batch->team, batch->count, 4, find_members, batch);
    write_members(batch); /* too little to share out */
    group_edges(batch);
    hnsw_team_run(batch->team, batch->group_count, 64, link_back, batch);
    settle(batch);
    return VELTA_OK;
}

/* ---- slices */

/* The next nodes to link, in order of ids: those that need repair first, then the tail. */
static void choose(struct batch *batch, uint64_t max, uint32_t *cursor, bool tail) {
    const struct hnsw *index = batch->team->index;
    uint64_t size = index->linked_count / 8;
    if (size < 1) size = 1;
    if (size > HNSW_BATCH) size = HNSW_BATCH;
    if (size > max) size = max;
    batch->count = 0;
    for (uint32_t node = *cursor; node < index->node_count && batch->count < size; node++) {
        *cursor = node + 1;
        if (index->flags[node] & (tail ? HNSW_NODE_TAIL : HNSW_NODE_REPAIR)) batch->nodes[batch->count++] = node;
    }
}

static bool go_on(const struct velta_progress *progress, uint64_t done, uint64_t total) {
    return !progress || !progress->report || progress->report(progress->context, done, total);
}

static enum velta_status link_marked(struct batch *batch, uint64_t *left, uint64_t *done, bool tail,
                                     const struct velta_progress *progress, struct velta_error *error) {
    struct hnsw *index = batch->team->index;
    uint32_t cursor = 0;
    while (*left > 0 && (tail ? index->tail_count : index->repair_count) > 0) {
        if (!go_on(progress, *done, *done + hnsw_pending(index)))
            return velta_fail(error, VELTA_CANCELLED, VELTA_NO_OFFSET, "linking was cancelled");
        choose(batch, *left, &cursor, tail);
        if (batch->count == 0) break;
        enum velta_status status = link_batch(batch, error);
        if (status) return status;
        *left -= batch->count;
        *done += batch->count;
    }
    return VELTA_OK;
}

static enum velta_status link_slice(struct batch *batch, uint64_t left, const struct velta_progress *progress,
                                    struct velta_error *error) {
    struct hnsw *index = batch->team->index;
    uint64_t done = 0;
    if (index->removed_count > 0) {
        done = hnsw_repair_removed(batch->team, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
        left -= done;
    }
    enum velta_status status = link_marked(batch, &left, &done, false, progress, error);
    if (!status && left > 0 && index->tail_count > 0) {
        status = hnsw_order_tail(batch->team, error);
        if (!status) status = link_marked(batch, &left, &done, true, progress, error);
    }
    if (done > 0) {
        index->unwalked_count += (uint32_t)done;
        index->graph_head_dirty = true;
        if (index->unwalked_count >= index->linked_count / WALK_SHARE) hnsw_reconnect(batch->team);
    }
    return status;
}

enum velta_status hnsw_link(struct hnsw *index, uint64_t max_nodes, const struct velta_executor *executor,
                            const struct velta_progress *progress, uint64_t *pending, struct velta_error *error) {
    *pending = hnsw_pending(index);
    if (*pending == 0 || max_nodes == 0) return VELTA_OK;
    struct hnsw_team team;
    enum velta_status status = team_begin(&team, index, executor, error);
    if (status) return status;
    struct batch *batch = memory_allocate_zero(index->memory, sizeof *batch);
    if (batch) {
        batch->team = &team;
        status = link_slice(batch, max_nodes, progress, error);
        batch_end(batch);
    } else {
        status = memory_fail(index->memory, error);
    }
    team_end(&team);
    *pending = hnsw_pending(index);
    return status;
}
