/* What hnsw.c, build.c, link.c, order.c, repair.c and image.c share: changing the graph. */
#ifndef VELTA_HNSW_LINK_H
#define VELTA_HNSW_LINK_H

#include <stdatomic.h>

#include "hnsw/beam.h"

enum { HNSW_DIRTY_CODES = 1, HNSW_DIRTY_LINKS = 2 };
enum {
    HNSW_MAX_LEVEL = 15,
    HNSW_BATCH = 256, /* nodes linked against one frozen graph, at most */
};

/* Not for parallel phases. */
static inline void hnsw_mark(struct hnsw *index, uint32_t node, unsigned dirty) {
    index->slab_dirty[node >> index->slab_shift] |= (uint8_t)dirty;
}

/* hnsw.c */
void hnsw_tail_leave(struct hnsw *index, uint32_t node);
void hnsw_repair_leave(struct hnsw *index, uint32_t node);
void hnsw_free_node(struct hnsw *index, uint32_t node); /* unlinked and in no list */

/* The links of one node on one level, wherever they are stored. */
struct hnsw_links {
    uint32_t count;
    uint32_t ids[128]; /* 2 * the largest m */
};
static inline uint32_t hnsw_link_capacity(const struct hnsw *index, unsigned level) {
    return level == 0 ? 2 * index->options.m : index->options.m;
}
void hnsw_read_links(const struct hnsw *index, uint32_t node, unsigned level, struct hnsw_links *out);
void hnsw_write_links(struct hnsw *index, uint32_t node, unsigned level, const uint32_t *ids, uint32_t count);

/* build.c */
unsigned hnsw_level_of_row(const struct hnsw *index, uint32_t row);
static inline size_t hnsw_upper_bytes(const struct hnsw *index, unsigned level) {
    return (size_t)level * (1 + index->options.m) * sizeof(uint32_t);
}
/* Links above level 0 for a node of `level` >= 1, empty. Fails without a change. */
VELTA_MUST_USE enum velta_status hnsw_add_upper(struct hnsw *index, uint32_t node, unsigned level,
                                                struct velta_error *error);
void hnsw_drop_upper(struct hnsw *index, uint32_t node);
void hnsw_release_uppers(struct hnsw *index);
/*
 * The selection heuristic (algorithm 4 of the paper, without extension or refill) over candidates in order: one is
 * taken unless a taken one is nearer to it than the base is. Writes the chosen nodes; returns how many.
 */
uint32_t hnsw_select(const struct hnsw *index, const uint64_t *keys, uint32_t count, uint32_t max, uint32_t *chosen);
/* The same with chosen[0..taken) chosen before. */
uint32_t hnsw_select_more(const struct hnsw *index, const uint64_t *keys, uint32_t count, uint32_t max,
                          uint32_t *chosen, uint32_t taken);
/*
 * Finds the links of `node` on levels level..0 against the graph as it is and against mates[0..mate_count), others
 * being linked at the same time. out[l] gets those of level l. Reads only.
 */
void hnsw_find_links(const struct hnsw *index, struct hnsw_scratch *scratch, uint32_t node, unsigned level,
                     const uint32_t *mates, const uint8_t *mate_levels, uint32_t mate_count, struct hnsw_links *out);
/* Adds links from `target` to `added`, in order; over capacity the heuristic decides about all. */
void hnsw_add_links(struct hnsw *index, struct hnsw_scratch *scratch, uint32_t target, unsigned level,
                    const uint32_t *added, uint32_t added_count);

/* A slice's working state: link.c makes it, repair.c uses its threads. */
struct hnsw_team {
    struct hnsw *index;
    const struct velta_executor *executor; /* NULL: one thread */
    struct hnsw_scratch **scratches;       /* one per thread; the first is the index's own */
    unsigned thread_count;
    uint64_t *marks; /* a bit per node, and room for every node, for walks over the whole graph */
    uint32_t *queue;
    uint32_t walk_capacity;
};
/* Runs work(argument, scratch, first, last) over [0, count) in chunks, on all threads. */
typedef void hnsw_team_work(void *argument, struct hnsw_scratch *scratch, uint32_t first, uint32_t last);
void hnsw_team_run(struct hnsw_team *team, uint32_t count, uint32_t chunk, hnsw_team_work *work, void *argument);

/*
 * order.c: puts unlinked tail nodes into local order of ids, once, when there are enough to be worth it. Fails without
 * a change.
 */
VELTA_MUST_USE enum velta_status hnsw_order_tail(struct hnsw_team *team, struct velta_error *error);

/* check.c: everything that hnsw_check says but reachability and codes. */
VELTA_MUST_USE enum velta_status hnsw_check_structure(const struct hnsw *index, struct velta_error *error);

/* image.c */
void hnsw_image_release(struct hnsw *index);

/* repair.c */
/* Takes the first `max` removed nodes out of the graph, mends the lists that led to them; returns how many. */
uint32_t hnsw_repair_removed(struct hnsw_team *team, uint32_t max);
/*
 * Adds the link hook -> node on level 0. A full hook gives up its last link, which `node` takes over, so whatever was
 * reached through it still is.
 */
void hnsw_hook_behind(struct hnsw *index, uint32_t hook, uint32_t node);
/* Makes every linked node with a row reachable from the entry on level 0. */
void hnsw_reconnect(struct hnsw_team *team);

#endif
