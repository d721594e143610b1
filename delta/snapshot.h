/*
 * A table's state as segments: which there are, in canonical order, and their bytes.
 *
 * The order is by kind, then table, column and part, so that a reader of an export gets schema, dictionaries, columns,
 * vectors, codes and history first and the graph last: exact search works before the graph has arrived.
 */
#ifndef VELTA_DELTA_SNAPSHOT_H
#define VELTA_DELTA_SNAPSHOT_H

#include "core/table.h"
#include "delta/history.h"
#include "delta/storage.h"
#include "hnsw/hnsw.h"

enum segment_kind {
    SEGMENT_SCHEMA = 1,     /* one for the database: tables, columns, counters, tags */
    SEGMENT_DICTIONARY = 2, /* SNAPSHOT_DICTIONARY_ENTRIES entries a part */
    SEGMENT_ROWS = 3,       /* part 0: live bitmap; part 1 + s: slab s of the hidden expiry column */
    SEGMENT_COLUMN = 4,     /* slab of a scalar column */
    SEGMENT_VECTORS = 5,    /* slab of a vector column */
    SEGMENT_CODES = 6,
    SEGMENT_HISTORY = 7,
    SEGMENT_GRAPH = 8,
};

enum { SNAPSHOT_DICTIONARY_ENTRIES = 16384 };

/* One table with all that belongs to it. */
struct snapshot_table {
    uint32_t number;
    bool dropped; /* only its number stays */
    struct table *table;
    struct hnsw **indexes; /* per column; NULL where it has none */
    size_t index_capacity; /* room in indexes, at least the number of columns */
    struct history *history;
};

struct snapshot_tag {
    char *name;
    uint64_t sequence;
    int64_t time_ms;
};

/* The whole state, as the store owns it. Tables are in order of their number, dropped ones included. */
struct snapshot_state {
    struct memory *memory;
    const struct simd_kernels *simd;
    struct snapshot_table *tables;
    size_t table_count;
    struct snapshot_tag *tags;
    size_t tag_count;
    uint64_t (*clock_ns)(void *context); /* for the indexes; may be NULL */
    void *clock_context;
    uint32_t checkpoint_interval;

    /* while loading */
    struct segment_key last_read;
    size_t read_count;
};

/* ---- snapshot_schema.c: the one segment that says what tables there are (kind SEGMENT_SCHEMA) */
uint64_t snapshot_schema_bytes(const struct snapshot_state *state);
void snapshot_schema_write(const struct snapshot_state *state, void *out);
/* Into an empty state: makes every table, with its rows counted and alive, and no values yet. */
VELTA_MUST_USE enum velta_status snapshot_schema_read(struct snapshot_state *state, const void *bytes,
                                                      uint64_t size_bytes, struct velta_error *error);

/* ---- snapshot_table.c: a table with its indexes and history, made and ended in one place */
/* Whether a column has an index: vectors, unless no_index; codes-only ones always (their data is in it). */
bool snapshot_has_index(const struct velta_column *spec);
/* An empty table with its indexes and an empty history. `out` is written only on success. */
VELTA_MUST_USE enum velta_status snapshot_table_create(const struct snapshot_state *state, const char *name,
                                                       const struct velta_column *columns, size_t column_count,
                                                       struct snapshot_table *out, struct velta_error *error);
/* Indexes for the columns that want one and have none (room is made; the first `column_count` columns). */
VELTA_MUST_USE enum velta_status snapshot_table_make_indexes(const struct snapshot_state *state,
                                                             struct snapshot_table *table, struct velta_error *error);
void snapshot_table_destroy(struct memory *memory, struct snapshot_table *table);

/*
 * Lists every segment (all: every `changed` true, for exports and first checkpoints). *segments is allocated from
 * memory with room for exactly *count.
 */
VELTA_MUST_USE enum velta_status snapshot_list(const struct snapshot_state *state, bool all,
                                               struct checkpoint_segment **segments, size_t *count,
                                               struct velta_error *error);
/* storage_source.write for a state. */
void snapshot_write_segment(void *state, const struct segment_key *key, void *out, uint64_t size_bytes);
/* Everything is durable: nothing is dirty. */
void snapshot_clean(struct snapshot_state *state);

/*
 * Loading: segments in canonical order, one call each; validates wholly (CORRUPT, offset inside the segment). After the
 * segments before SEGMENT_GRAPH, snapshot_ready makes the state usable; graph segments may follow later, each index
 * searching exactly until snapshot_finish. Errors leave the state fit only for destroying.
 */
VELTA_MUST_USE enum velta_status snapshot_read_segment(struct snapshot_state *state, const struct segment_key *key,
                                                       const void *bytes, uint64_t size_bytes,
                                                       struct velta_error *error);
VELTA_MUST_USE enum velta_status snapshot_ready(struct snapshot_state *state, struct velta_error *error);
VELTA_MUST_USE enum velta_status snapshot_finish(struct snapshot_state *state, struct velta_error *error);
/* Whether these segments are those of the graphs that a state which is ready needs, before their bytes are there. */
VELTA_MUST_USE enum velta_status snapshot_check_graph(const struct snapshot_state *state,
                                                      const struct segment *segments, size_t count,
                                                      struct velta_error *error);
/* The last sequence and time that a history or a tag of the state speaks of; 0 and INT64_MIN: none does. */
void snapshot_last_change(const struct snapshot_state *state, uint64_t *sequence, int64_t *time_ms);
void snapshot_state_destroy(struct snapshot_state *state); /* tables, indexes, histories, tags */

#endif
