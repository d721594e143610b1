/* The inside of `struct history`, shared by history*.c only. */
#ifndef VELTA_DELTA_HISTORY_STATE_H
#define VELTA_DELTA_HISTORY_STATE_H

#include "core/bytes.h"
#include "delta/history.h"

enum {
    HISTORY_ENTRY_BYTES = 48,
    HISTORY_PART_BYTES = 1 << 20,     /* a part of the image holds the entries that begin in so many bytes */
    HISTORY_FIRST_CHUNK_BYTES = 4096, /* chunks double from here ... */
    HISTORY_CHUNK_BYTES = 512 << 10,  /* ... to here; longer entries get a chunk of their own */
    HISTORY_MAX_INTERVAL = 1000,
};
#define HISTORY_NO_POSITION UINT64_MAX
#define HISTORY_DEATH_COLUMN UINT32_C(0xFFFFFFFF)

enum history_entry_type { HISTORY_BIRTH = 1, HISTORY_SCALAR = 2, HISTORY_VECTOR = 3, HISTORY_DEATH = 4 };

/* Flags of entries; of vectors the low three bits are enum delta_operation (0: merged, the delta is not known). */
enum {
    HISTORY_OPERATION = 7,
    HISTORY_SET = 8,
    HISTORY_HAS_BASE = 16,
    HISTORY_BEFORE_NULL = 32,
    HISTORY_WIDE = 64, /* of sparse deltas: how the indices are written */
};

/*
 * In memory and in images alike. Behind it, padded with zeros to a multiple of 8 in all:
 * SCALAR: unless BEFORE_NULL, 8 bytes (integer, or bits of the float) or `count` bytes of text.
 * VECTOR: with HAS_BASE the base (dimensions floats); for SPARSE the indices (the gap before each as a byte, or with
 * WIDE, where a gap is above 255, each as u16), padded with zeros to a multiple of 4; the values (SPARSE, DENSE; a
 * DENSE one without values sets NULL) or the amount (SCALE, OFFSET); the metadata.
 */
struct history_entry {
    uint64_t sequence;
    int64_t time_ms;
    uint64_t previous; /* position of the entry before on the chain; HISTORY_NO_POSITION: none, or a birth */
    uint32_t row;      /* BIRTH: the first */
    uint32_t column;   /* DEATH, BIRTH: HISTORY_DEATH_COLUMN; expiry: HISTORY_EXPIRY_COLUMN */
    uint32_t size_bytes;
    uint8_t type;
    uint8_t flags;
    uint16_t depth; /* VECTOR: entries since the one with the base */
    uint32_t count; /* BIRTH: rows; SCALAR: bytes of text; VECTOR: dimensions << 16 | values of the delta */
    uint32_t metadata_bytes;
};

static inline uint32_t history_dimensions(const struct history_entry *vector) {
    return vector->count >> 16;
}
static inline uint32_t history_value_count(const struct history_entry *vector) {
    return vector->count & 0xFFFF;
}

/* Positions are those of one endless array of bytes, whatever the chunks. */
struct history_chunk {
    uint8_t *bytes;
    uint64_t begin; /* position of bytes[0] */
    size_t used_bytes;
    size_t capacity_bytes;
};

struct history_head {
    uint64_t key; /* row << 32 | column; HISTORY_NO_POSITION: free */
    uint64_t position;
    uint64_t sequence; /* of the newest entry */
    uint16_t depth;    /* its depth and flags, so that the next one need not look at it */
    uint8_t flags;
};

struct history_run {
    uint32_t first_row;
    uint32_t row_count;
    uint64_t sequence;
    int64_t time_ms;
};

struct history_death {
    uint64_t sequence;
    uint32_t row;
};

/* A kept state older than the floor: the same for all these sequences and times. */
struct history_point {
    uint64_t low_sequence, high_sequence; /* both included */
    int64_t low_time_ms, high_time_ms;    /* the second excluded */
};

struct history {
    struct memory *memory;
    const struct simd_kernels *simd;
    uint32_t checkpoint_interval;

    struct history_chunk *chunks; /* the first used_chunks hold entries, the rest are spare */
    size_t chunk_count;
    size_t chunk_capacity;
    size_t used_chunks;
    uint64_t end; /* position behind the last entry */
    uint64_t entry_count;
    uint64_t *part_first; /* per part: position of its first entry, or of the first one later */
    size_t part_count;
    size_t part_capacity;

    struct history_head *heads; /* open addressing, linear probing; a power of two, at most 3/4 full */
    size_t head_capacity;
    size_t head_count;
    struct history_run *runs;
    size_t run_count;
    size_t run_capacity;
    struct history_death *deaths;
    size_t death_count;
    size_t death_capacity;

    /* Promised and not yet pushed. */
    bool pushing; /* there was a push since the last reserve: promises are void */
    size_t promised_chunk;
    size_t promised_offset;
    size_t promised_heads;
    size_t promised_runs;
    size_t promised_deaths;
    uint64_t promised_bytes;
    uint64_t longest_text; /* in the values that this batch writes */
    bool texts_set;        /* this batch sets texts */

    uint64_t floor_sequence;
    int64_t floor_time_ms;
    uint64_t last_sequence;
    int64_t last_time_ms;
    struct history_point *points; /* ascending, all before the floor */
    size_t point_count;
    bool meta_dirty;
    uint64_t clean_end; /* entries before are in a checkpoint */
    size_t clean_parts;

    /* Loading: what the entries must come to. */
    uint64_t expected_end;
    uint32_t loaded_parts;
    uint64_t final_sequence;
    int64_t final_time_ms;
};

static inline uint64_t history_key(uint32_t row, uint32_t column) {
    return (uint64_t)row << 32 | column;
}

struct history_entry *history_at(const struct history *history, uint64_t position);
/* The entry behind, or NULL at the end; *position moves on. */
const struct history_entry *history_following(const struct history *history, uint64_t *position,
                                              const struct history_entry *entry);
/* The first entry at or behind a part's beginning. NULL: none. */
const struct history_entry *history_first(const struct history *history, size_t part, uint64_t *position);
const struct history_head *history_find(const struct history *history, uint32_t row, uint32_t column);

/* Bytes of packed indices, their zeros included. */
static inline uint32_t history_index_bytes(uint32_t count, bool wide) {
    return (wide ? 2 * count + 3 : count + 3) & ~UINT32_C(3);
}

/* Pieces of a vector's entry. */
struct history_vector {
    const float *base;         /* NULL: none */
    struct vector_delta delta; /* without indices */
    struct history_indices indices;
};
struct history_vector history_unpack(const struct history_entry *entry);
/* Bytes of a delta with its metadata; bytes of a vector's entry in all. wide: of the indices; at most so many. */
size_t history_delta_bytes(const struct vector_delta *delta, bool wide);
size_t history_vector_bytes(const struct vector_delta *delta, bool wide, bool has_base, uint32_t dimensions);
size_t history_text_bytes(size_t text_bytes);

/* Promises room for one entry; then makes it (size_bytes, its last 8 zeroed), linked to its chain. */
VELTA_MUST_USE enum velta_status history_promise(struct history *history, uint64_t size_bytes,
                                                 struct velta_error *error);
struct history_entry *history_append(struct history *history, const struct history_entry *head);
/* Forgets promises that were not used. */
void history_settle(struct history *history);
/* Notes the runs and deaths of an entry just appended. */
void history_note(struct history *history, const struct history_entry *entry);
/* Applies one kept delta to `vector`, with the column's rounding. */
void history_apply(const struct simd_kernels *simd, const struct history_vector *step, enum velta_element element,
                   uint32_t dimensions, float *vector);
/* The vector before `entry`, composed. false: it was NULL. */
bool history_before(const struct history *history, const struct history_entry *entry, enum velta_element element,
                    float *out);
/* The oldest entry of a chain after `sequence`; NULL: none. */
const struct history_entry *history_oldest_after(const struct history *history, uint32_t row, uint32_t column,
                                                 uint64_t sequence);
/* The last entry with a sequence (by_time: a time) of at most the limit, or NULL; *next: the one behind it, or NULL. */
const struct history_entry *history_last_until(const struct history *history, bool by_time, uint64_t limit,
                                               int64_t limit_ms, const struct history_entry **next);
/* Rows from this one on were not born just after `sequence`. */
uint32_t history_born_until(const struct history *history, uint32_t row_count, uint64_t sequence);
size_t history_first_death_after(const struct history *history, uint64_t sequence);

#endif
