/*
 * The index over one vector column: approximate and exact nearest neighbours, with or without a filter.
 *
 * Rows come in by hnsw_add and sit in the tail, which every search scans exactly, until hnsw_link puts them into the
 * graph; a row whose vector drifted far goes back to the tail while its old place still serves as a waypoint. So
 * writes never wait for the graph and no answer misses a fresh row.
 *
 * Reference: Malkov & Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
 * Small World graphs", 2016 (arXiv:1603.09320). Departures are described at the head of the file where they are made.
 * Distances are those of `enum velta_metric`; those returned by a search are computed from the column's own f32 or f16
 * values (from decoded codes for codes-only columns), never from codes alone.
 */
#ifndef VELTA_HNSW_HNSW_H
#define VELTA_HNSW_HNSW_H

#include "core/column.h"
#include "core/memory.h"
#include "simd/simd.h"

enum { HNSW_MAX_NODES = (1 << 24) - 2 };
#define HNSW_NO_NODE UINT32_MAX

struct hnsw;

struct hnsw_options {
    uint32_t dimensions;
    enum velta_metric metric;
    uint32_t m;               /* 4..64 */
    uint32_t ef_construction; /* 1..4096 */
    uint64_t seed;
    /* Monotonic nanoseconds for the cost rule of filtered search; NULL: fixed costs. Nothing kept depends on it. */
    uint64_t (*clock_ns)(void *context);
    void *clock_context;
};

/* `vectors`: the column indexed; it must outlive the index. A codes-only column keeps its data in the index. */
VELTA_MUST_USE enum velta_status hnsw_create(struct memory *memory, const struct simd_kernels *simd,
                                             const struct column *vectors, const struct hnsw_options *options,
                                             struct hnsw **out, struct velta_error *error);
void hnsw_destroy(struct hnsw *index);
/* The column object was replaced by an equal one (vacuum made a new table). */
void hnsw_set_column(struct hnsw *index, const struct column *vectors);

/* Memory so that rows up to row_count can be added and updated without failing; `added` of them are new nodes. */
VELTA_MUST_USE enum velta_status hnsw_reserve(struct hnsw *index, uint32_t row_count, uint32_t added,
                                              struct velta_error *error);
/* A row with a vector enters the tail. `vector`: its f32 value. Reserved before; the row must not be there. */
void hnsw_add(struct hnsw *index, uint32_t row, const float *vector);
/*
 * The row's vector moves by `way`, the length of the difference (>= 0, may be infinite). Where the column keeps values,
 * `vector` is NULL, and it holds the new value before anything else is asked of the index: codes are made from it when
 * they are next needed, once for all updates until then. A codes-only column's new value is given, and its codes follow
 * at once.
 */
void hnsw_update(struct hnsw *index, uint32_t row, float way, const float *vector);
/*
 * Makes the codes that wait; far drift puts a row in the tail. What reads codes begins with it by itself. When it is
 * called makes no difference to what is in the index afterwards.
 */
void hnsw_refresh(struct hnsw *index);
/* The row is gone: it is never returned again; its node is repaired away by hnsw_link. */
void hnsw_remove(struct hnsw *index, uint32_t row);
/* Asks the machine for what a coming update will touch: the row's node, then (block) codes that follow at once. */
void hnsw_prefetch(const struct hnsw *index, uint32_t row, bool block);
bool hnsw_contains(const struct hnsw *index, uint32_t row);
/* The value decoded from codes (dimensions floats). For codes-only columns this is the vector. */
void hnsw_decode(const struct hnsw *index, uint32_t row, float *out);

/*
 * Does up to `max_nodes` nodes' worth of pending work: repairs around removed nodes, relinks drifted ones, links the
 * tail. The result depends on the order of adds, updates and removes and on where max_nodes cut, never on threads or
 * time. *pending is what is left. Cancelled or out of memory: the index is whole and the rest is still pending.
 * executor NULL: this thread alone.
 */
VELTA_MUST_USE enum velta_status hnsw_link(struct hnsw *index, uint64_t max_nodes,
                                           const struct velta_executor *executor,
                                           const struct velta_progress *progress, uint64_t *pending,
                                           struct velta_error *error);
uint64_t hnsw_pending(struct hnsw *index);

enum hnsw_strategy {
    HNSW_STRATEGY_NONE = 0,
    HNSW_EXACT_VECTORS, /* every candidate row by its own vector */
    HNSW_EXACT_CODES,   /* every candidate row by codes, the best by their vectors */
    HNSW_GRAPH,         /* plain traversal */
    HNSW_GRAPH_FILTERED /* traversal of matching nodes with two-hop neighbours and an adaptive beam */,
    HNSW_GRAPH_THEN_EXACT /* the traversal was given up: too dear, or fewer than k found */
};

struct hnsw_query {
    const float *vector; /* `dimensions` finite floats */
    uint32_t k;          /* 1..16384 */
    uint32_t ef;         /* breadth of the graph search; 0: 160; at least k */
    bool exact;          /* no approximation: every candidate by its own vector */
    /* Rows that may be returned, by row number, and their count; NULL: every row in the index. */
    const uint64_t *rows;
    uint64_t rows_count;
};

struct hnsw_report {
    enum hnsw_strategy strategy;
    uint32_t nodes_visited; /* graph nodes whose distance was computed */
    uint32_t rows_scanned;  /* rows of exact scans, the tail included */
    uint32_t rows_reranked;
};

/*
 * The nearest rows, nearest first, equal distances by row number. rows_out and distances_out have room for k;
 * *count is how many were found (fewer than k only where fewer rows match). report may be NULL.
 */
VELTA_MUST_USE enum velta_status hnsw_search(struct hnsw *index, const struct hnsw_query *query, uint32_t *rows_out,
                                             float *distances_out, uint32_t *count, struct hnsw_report *report,
                                             struct velta_error *error);
/* Exact distances of given rows from a query, in the given order (past versions, tests, "more like this"). */
void hnsw_distances(struct hnsw *index, const float *query, const uint32_t *rows, size_t count, float *out);
/* The distance between two f32 vectors, the same arithmetic as the search's: the oracle's definition. */
float hnsw_distance(const struct simd_kernels *simd, enum velta_metric metric, const float *a, const float *b,
                    uint32_t dimensions);

/* Measures what a search must know of the data (dot: the longest vector, by a sample). After a build or load; cheap. */
VELTA_MUST_USE enum velta_status hnsw_calibrate(struct hnsw *index, struct velta_error *error);

/*
 * Checks every invariant: degrees within bounds, no dangling, self or duplicate edge, levels consistent, every linked
 * node reachable from the entry (when no more than a small share changed since the last whole walk, that is not asked),
 * maps inverse of each other, codes those of the vectors, tail and removed lists right.
 */
VELTA_MUST_USE enum velta_status hnsw_check(struct hnsw *index, struct velta_error *error);

struct hnsw_stats {
    uint32_t node_count; /* linked, removed ones not yet repaired included */
    uint32_t tail_count;
    uint32_t removed_count;
    uint32_t level_count;
    uint64_t edge_count; /* level 0 */
    uint64_t memory_bytes;
    uint64_t codes_bytes;
    uint64_t links_bytes;
};
void hnsw_get_stats(struct hnsw *index, struct hnsw_stats *stats);

/*
 * Images for snapshots. The index is a list of parts; each part is one byte image, written and read independently.
 * Parts of kind CODES (with the row map) are enough for exact search by codes and for codes-only columns; GRAPH parts
 * add links. The image of a part does not depend on capacity, threads, instruction set or time. hnsw_refresh comes
 * before parts are listed.
 */
enum hnsw_part_kind { HNSW_PART_CODES = 1, HNSW_PART_GRAPH = 2 };
uint32_t hnsw_part_count(const struct hnsw *index, enum hnsw_part_kind kind);
uint64_t hnsw_part_bytes(const struct hnsw *index, enum hnsw_part_kind kind, uint32_t part);
void hnsw_part_write(const struct hnsw *index, enum hnsw_part_kind kind, uint32_t part, void *out);
bool hnsw_part_dirty(const struct hnsw *index, enum hnsw_part_kind kind, uint32_t part);
void hnsw_part_clean(struct hnsw *index, enum hnsw_part_kind kind, uint32_t part); /* it has been made durable */
/*
 * Loading into a fresh index: all CODES parts in order, then (now or later) all GRAPH parts in order, then
 * hnsw_load_finish. Every byte is validated: CORRUPT with the offset inside the part. Until the graph is attached,
 * search scans, nothing is pending, and a row that comes, changes or goes gives the graph up. hnsw_load_finish without
 * graph parts, or CORRUPT, leaves every row in the tail; refused memory leaves all as it was, and it may be called
 * again.
 */
VELTA_MUST_USE enum velta_status hnsw_part_read(struct hnsw *index, enum hnsw_part_kind kind, uint32_t part,
                                                uint32_t row_count, const void *bytes, uint64_t size_bytes,
                                                struct velta_error *error);
VELTA_MUST_USE enum velta_status hnsw_load_finish(struct hnsw *index, struct velta_error *error);
/* Whether the codes were read and neither the graph attached nor given up. */
bool hnsw_awaits_graph(const struct hnsw *index);
/* Gives up the graph that is awaited, if one is: every row is in the tail, waiting for hnsw_link. */
void hnsw_load_abandon(struct hnsw *index);

#endif
