/*
 * What the files of search share: search.c (strategy, plain traversal), exact.c (scans, true distances, the k best),
 * filtered.c (traversal under a filter), calibrate.c.
 */
#ifndef VELTA_HNSW_SEARCH_H
#define VELTA_HNSW_SEARCH_H

#include "hnsw/beam.h"

/*
 * The `keep` smallest keys of a stream: kept ones sorted, new ones in a small buffer that is sorted and merged when it
 * is full, so that a large `keep` costs no shifting and a hostile order no more than a kind one. Keys are distinct.
 */
struct hnsw_top {
    uint64_t *keys; /* keep + HNSW_TOP_FRESH; the fresh ones follow the kept ones' place */
    uint32_t capacity;
    uint32_t keep;
    uint32_t count;
    uint32_t fresh_count;
    uint32_t fresh_limit;
    uint64_t limit; /* keys from here on cannot be among the kept */
};
enum { HNSW_TOP_FRESH = 64 };

/* One query being answered. */
struct hnsw_task {
    const struct hnsw_query *query;
    float norm; /* cosine: |vector| */
    uint32_t k;
    uint32_t matching; /* rows that may be found, at most */
    float offset;      /* see hnsw_distance_offset */
    float row_error;   /* squared deviation of a distance by codes: row_error step^2 + query_error */
    float query_error; /* (l2: see exact.c) */
    float bound;       /* the k-th true distance is not beyond, as far as is known */
    struct hnsw_report report;
};

enum {
    HNSW_SCAN_BATCH = 32,    /* rows scanned at a time: their lines are asked for one batch ahead */
    HNSW_SCAN_VECTORS = 100, /* matching rows that are scanned by their vectors at once */
    HNSW_SCAN_CODES = 768,   /* matching rows that are always scanned by codes */
    HNSW_WALK_SHARE = 8,     /* a scan of more than this part of the nodes goes in their order */
    HNSW_PLAIN_EF = 160,     /* default ef: recall@10 of .99 and more on real text, where 64 gives .98 */
    HNSW_DOUBTFUL_KEYS = 4096,
    HNSW_HEAP_KEYS = 16384,
    HNSW_GATHER_FILTERED = 512, /* ids of one filtered hop: all links of two nodes, at m = 64 */
};

/* What searching needs beyond the scratch. Made by the first search, gone with the index. */
struct hnsw_finder {
    struct hnsw_top nearest; /* the k best by codes; keys of beam.h */
    struct hnsw_top results; /* the k best by true distance; keys (distance, row) */
    uint64_t *doubtful;      /* HNSW_DOUBTFUL_KEYS: offered, may be among the k best, not judged yet */
    uint32_t doubtful_count;
    uint64_t *heap; /* HNSW_HEAP_KEYS; filtered.c: nodes to expand, nearest first */
};

/* Keys of results: order-preserving bits of the distance, then the row. NaN (from overflow) is farthest, -0 is 0. */
static inline uint64_t hnsw_row_key(float distance, uint32_t row) {
    if (!(distance == distance)) distance = __builtin_inff();
    return (hnsw_key(distance + 0.0F, 0) & UINT64_C(0xFFFFFFFF00000000)) | row;
}

/* ---- the k best */

void hnsw_top_start(struct hnsw_top *top, uint32_t keep); /* keep <= capacity of the last reserve, > 0 */
void hnsw_top_merge(struct hnsw_top *top);
static inline void hnsw_top_push(struct hnsw_top *top, uint64_t key) {
    if (key >= top->limit) return;
    top->keys[top->keep + top->fresh_count++] = key;
    if (top->fresh_count == top->fresh_limit) hnsw_top_merge(top);
}

/* ---- candidates: batches of nodes that have a row and match */

struct hnsw_walk {
    const struct hnsw *index;
    const uint64_t *rows; /* NULL: all */
    bool tail;            /* only the tail */
    bool by_row;          /* along the bitmap, not along the nodes */
    uint32_t at;          /* node, or word of the bitmap */
    uint64_t word;        /* bits of word at - 1 still to come */
    uint64_t left;        /* set bits of `rows` still to come */
};
struct hnsw_walk hnsw_walk_all(const struct hnsw *index, const struct hnsw_query *query);
struct hnsw_walk hnsw_walk_tail(const struct hnsw *index, const struct hnsw_query *query);
/* Writes up to `max` nodes; 0 at the end. */
uint32_t hnsw_walk_next(struct hnsw_walk *walk, uint32_t *nodes, uint32_t max);

/* May this node's row be returned? Tail nodes may, too. */
static inline bool hnsw_matches(const struct hnsw *index, const uint64_t *rows, uint32_t node) {
    uint32_t row = index->row_of_node[node];
    if (row == VELTA_NO_ROW) return false;
    return !rows || (rows[row / 64] >> (row % 64) & 1);
}

/* ---- exact.c */

/* |v| as the codes' params have it for cosine; 0 for other metrics. */
float hnsw_query_norm(const struct hnsw *index, const float *vector);
/* True distances of nodes that have rows. Uses scratch->vector. */
void hnsw_true_distances(const struct hnsw *index, const struct hnsw_task *task, const uint32_t *nodes, uint32_t count,
                         float *out);
/* Every node of the walk into finder->results by its vector. */
void hnsw_scan_vectors(const struct hnsw *index, struct hnsw_task *task, struct hnsw_walk walk);
/*
 * Candidates by codes: offered in any order, each node once, then settled: finder->results has the k best by true
 * distance. Only those get one that may be among the k best, given what codes can be wrong by.
 */
void hnsw_offers_start(struct hnsw *index, struct hnsw_task *task);
void hnsw_offer(const struct hnsw *index, struct hnsw_task *task, uint64_t key);
void hnsw_settle(const struct hnsw *index, struct hnsw_task *task);
/* Offers every node of the walk; the scratch's probe is the query. */
void hnsw_scan_codes(const struct hnsw *index, struct hnsw_task *task, struct hnsw_walk walk);

/* ---- search.c */

/* Answers by a scan over codes. Starts results anew. */
void hnsw_answer_codes(struct hnsw *index, struct hnsw_task *task);
/* Answers with the nodes in the pool that may be returned, and the tail. */
void hnsw_answer_pool_and_tail(struct hnsw *index, struct hnsw_task *task);
/* The plain traversal; scratch->pool then holds what it found. The scratch's probe is the query. */
void hnsw_traverse(struct hnsw *index, const struct hnsw_task *task, uint32_t ef);
/* Room in the pool for a traversal of `ef`. */
uint32_t hnsw_traverse_pool(uint32_t ef, uint32_t k);
VELTA_MUST_USE enum velta_status hnsw_finder_reserve(struct hnsw *index, uint32_t k, uint32_t pool,
                                                     struct velta_error *error);
void hnsw_finder_destroy(struct hnsw *index);

/* ---- filtered.c */

/* The traversal under a filter or the scan in its place, to the end. Results are in finder->results. */
void hnsw_answer_filtered(struct hnsw *index, struct hnsw_task *task);
/* Matching nodes that the traversal keeps. */
static inline uint32_t hnsw_filtered_pool(uint32_t k) {
    return k < 64 ? 128 : 2 * k;
}

/* ---- calibrate.c */

/*
 * A traversal goes on while candidates are nearer than (1 + gamma) times the k-th found. How much that is for a given
 * ef grows like its square root.
 */
float hnsw_gamma(uint32_t ef);
/* (1 + gamma)^2 - 1: distances are squared, or grow like squares. */
static inline float hnsw_growth(float gamma) {
    return (1.0F + gamma) * (1.0F + gamma) - 1.0F;
}
/* The distance up to which candidates are worth expanding when the k-th is at `kth`. */
static inline float hnsw_reach(float kth, float growth, float offset) {
    float from_zero = kth + offset;
    return from_zero > 0.0F ? kth + growth * from_zero : kth;
}

/*
 * What to add to a distance so that it measures how far a row is, from 0: nothing for cosine and l2; for dot the
 * query's length times the longest vector's, the nearest that any row could be.
 */
float hnsw_distance_offset(const struct hnsw *index, const float *query);
void hnsw_measure_lengths(struct hnsw *index); /* sets index->longest from a sample; uses scratch->vector */

#endif
