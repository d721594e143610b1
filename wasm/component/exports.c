/*
 * The component's functions under the names and in the flat forms that the canonical ABI gives those of wasm/velta.wit:
 * up to 16 parameters are spread over core values, and an answer is a place in memory, read before the post-return.
 * No logic: wasm/component/vectors.c has it.
 *
 * A call goes: the clock is asked, if the time matters, before anything is touched; the engine works; the answer lies
 * in `answer`, and what it points to in the space (canonical.h); the post-return gives that back. A clock that calls
 * the component is refused with BUSY, and what it drops is dropped after the call that it interrupts. A clock that
 * fails is a trap, and the component is not to be used any more, as after any.
 */
#include "core/error.h"
#include "wasm/component/canonical.h"

#define VECTORS "velta:store/vectors@0.1.0"
#define METHOD(name) COMPONENT_EXPORT(VECTORS "#[method]database." name)
#define POST_RETURN(name) COMPONENT_EXPORT("cabi_post_" VECTORS "#" name)
#pragma GCC diagnostic ignored "-Wmissing-prototypes" /* none of them is called from C */

COMPONENT_IMPORT("velta:store/clock@0.1.0", "now") int64_t import_clock_now(void);
COMPONENT_IMPORT("[export]" VECTORS, "[resource-new]database") int32_t import_resource_new(struct vectors *self);

enum { MOST_DROPPED = 64 };
#define MAX_CLOCK_MS 8640000000000000.0

static struct wit_answer answer;
static struct velta_error last_error;
static bool asking; /* the clock */
/* Databases that the clock has dropped, until the call that asked it goes on; more than fit are never freed. */
static struct vectors *dropped[MOST_DROPPED];
static uint32_t dropped_count;

static enum velta_status begin(bool with_time) {
    if (asking) {
        return velta_fail(
            &last_error, VELTA_BUSY, VELTA_NO_OFFSET,
            "the clock is being asked the time, or has failed to tell it; it must not call the component");
    }
    if (with_time) {
        asking = true;
        double now_ms = (double)import_clock_now();
        asking = false;
        vectors_set_now(now_ms > MAX_CLOCK_MS ? MAX_CLOCK_MS : now_ms < -MAX_CLOCK_MS ? -MAX_CLOCK_MS : now_ms);
    }
    vectors_forget_export(); /* of a call whose answer was not read to its end */
    return VELTA_OK;
}

/* The answer, whose value is there if `status` is OK. */
static struct wit_answer *finish(enum velta_status status) {
    answer.failed = status != VELTA_OK;
    if (status) {
        uint32_t size_bytes = 0;
        while (last_error.text[size_bytes] != '\0')
            size_bytes++;
        answer.value.failure = (struct wit_failure){
            .code = (uint8_t)(status - 1),
            .message = {.bytes = last_error.text, .size_bytes = size_bytes},
            .offset = {.there = last_error.offset != VELTA_NO_OFFSET, .value = (int64_t)last_error.offset},
        };
    }
    return &answer;
}

static void end(void) {
    if (asking) return; /* a refused call's end: the arguments of the one that asked are still in use */
    vectors_forget_export();
    space_empty();
    while (dropped_count > 0)
        vectors_free(dropped[--dropped_count]);
}

/* ---- life */

static enum velta_status check_number(const char *name, uint32_t there, uint64_t value) {
    if (!there || value > 0) return VELTA_OK;
    return velta_fail(&last_error, VELTA_INVALID, VELTA_NO_OFFSET, "%s must be above 0", name);
}

COMPONENT_EXPORT(VECTORS "#[constructor]database")
struct wit_answer *create(uint32_t has_dimensions, uint32_t dimensions, uint32_t has_metric, uint32_t metric,
                          uint32_t has_max, uint32_t max_vectors, uint32_t has_interval, uint32_t interval,
                          uint32_t has_m, uint32_t m, uint32_t has_construction, uint32_t construction,
                          uint32_t has_search, uint32_t search, uint32_t has_budget, uint64_t budget_bytes) {
    struct vectors_options options = {
        .dimensions = has_dimensions ? dimensions : 0,
        .metric = has_metric ? metric : 0,
        .max_vectors = has_max ? max_vectors : 0,
        .checkpoint_interval = has_interval ? interval : 0,
        .m = has_m ? m : 0,
        .ef_construction = has_construction ? construction : 0,
        .ef_search = has_search ? search : 0,
        .memory_budget_bytes = has_budget ? budget_bytes : 0,
    };
    struct vectors *self = NULL;
    enum velta_status status = begin(true);
    status = status ? status : check_number("dimensions", has_dimensions, dimensions);
    status = status ? status : check_number("max-vectors", has_max, max_vectors);
    status = status ? status : check_number("checkpoint-interval", has_interval, interval);
    status = status ? status : check_number("hnsw-m", has_m, m);
    status = status ? status : check_number("hnsw-ef-construction", has_construction, construction);
    status = status ? status : check_number("hnsw-ef-search", has_search, search);
    status = status ? status : check_number("memory-budget", has_budget, budget_bytes);
    status = status ? status : vectors_create(&options, &self, &last_error);
    if (!status) answer.value.handle = import_resource_new(self);
    return finish(status);
}

POST_RETURN("[constructor]database") void post_create(struct wit_answer *given) {
    (void)given;
    end();
}

COMPONENT_EXPORT(VECTORS "#[dtor]database") void destroy(struct vectors *self) {
    if (!asking) {
        vectors_free(self);
    } else if (dropped_count < MOST_DROPPED) {
        dropped[dropped_count++] = self;
    }
}

METHOD("size") uint32_t size(const struct vectors *self) {
    return vectors_size(self);
}

/* ---- deltas */

static float float_of(uint32_t bits) {
    union {
        uint32_t bits;
        float value;
    } both = {.bits = bits};
    return both.value;
}

/* The cases of the variant share five core values; of a float there are the bits. */
static union wit_payload payload_of(uint32_t operation, const uint32_t values[5]) {
    union wit_payload payload = {0};
    struct wit_floats first = {.values = (const float *)values[0], .count = values[1]};
    switch (operation) {
    case WIT_CREATE:
        payload.create = first;
        break;
    case WIT_SPARSE:
        payload.sparse.indices = (const uint32_t *)values[0];
        payload.sparse.index_count = values[1];
        payload.sparse.values = (struct wit_floats){.values = (const float *)values[2], .count = values[3]};
        payload.sparse.mode = (uint8_t)values[4];
        break;
    case WIT_DENSE:
        payload.dense.vector = first;
        payload.dense.mode = (uint8_t)values[2];
        break;
    case WIT_SCALE:
    case WIT_OFFSET:
        payload.amount = float_of(values[0]);
        break;
    default:
        break;
    }
    return payload;
}

METHOD("apply-delta")
struct wit_answer *apply_delta(struct vectors *self, const char *id, uint32_t id_bytes, uint32_t operation,
                               uint32_t value0, uint32_t value1, uint32_t value2, uint32_t value3, uint32_t value4,
                               uint32_t has_metadata, const char *metadata, uint32_t metadata_bytes,
                               uint32_t has_timestamp, int64_t timestamp) {
    const uint32_t values[5] = {value0, value1, value2, value3, value4};
    struct wit_delta delta = {
        .id = {.bytes = id, .size_bytes = id_bytes},
        .operation = (uint8_t)operation,
        .payload = payload_of(operation, values),
        .metadata = {.there = has_metadata != 0, .text = {.bytes = metadata, .size_bytes = metadata_bytes}},
        .timestamp = {.there = has_timestamp != 0, .value = timestamp},
    };
    enum velta_status status = begin(true);
    return finish(status ? status : vectors_apply(self, &delta, 1, &answer.value.number, &last_error));
}

POST_RETURN("[method]database.apply-delta") void post_apply_delta(struct wit_answer *given) {
    (void)given;
    end();
}

METHOD("apply-deltas")
struct wit_answer *apply_deltas(struct vectors *self, const struct wit_delta *deltas, uint32_t count) {
    enum velta_status status = begin(true);
    uint64_t *ids = NULL;
    if (!status) {
        /* No overflow: an id is smaller than a delta. */
        ids = space_allocate(count ? count * sizeof *ids : sizeof *ids, _Alignof(uint64_t));
        if (!ids) status = velta_fail(&last_error, VELTA_NO_MEMORY, VELTA_NO_OFFSET, "the host refused memory");
    }
    status = status ? status : vectors_apply(self, deltas, count, ids, &last_error);
    if (!status) answer.value.list = (struct wit_list){.items = ids, .count = count};
    return finish(status);
}

POST_RETURN("[method]database.apply-deltas") void post_apply_deltas(struct wit_answer *given) {
    (void)given;
    end();
}

/* ---- reading */

static struct wit_answer *give_vector(struct vectors *self, enum velta_status status, struct wit_text id,
                                      int64_t at_ms) {
    struct wit_floats found = {0};
    status = status ? status : vectors_get(self, id, at_ms, &found, &last_error);
    if (!status) {
        answer.value.option.there = found.values != NULL;
        answer.value.option.list = (struct wit_list){.items = found.values, .count = found.count};
    }
    return finish(status);
}

/* A moment that is given: 0 stands for now in the engine, and so cannot be asked for. */
static enum velta_status check_moment(int64_t at_ms) {
    if (at_ms != 0) return check_time(at_ms, VELTA_NO_OFFSET, &last_error);
    return velta_fail(&last_error, VELTA_INVALID, VELTA_NO_OFFSET, "the time 0 cannot be asked for: it stands for now");
}

METHOD("get-vector") struct wit_answer *get_vector(struct vectors *self, const char *id, uint32_t id_bytes) {
    return give_vector(self, begin(vectors_may_expire(self)), (struct wit_text){.bytes = id, .size_bytes = id_bytes},
                       0);
}

POST_RETURN("[method]database.get-vector") void post_get_vector(struct wit_answer *given) {
    (void)given;
    end();
}

METHOD("get-vector-at")
struct wit_answer *get_vector_at(struct vectors *self, const char *id, uint32_t id_bytes, int64_t at_ms) {
    enum velta_status status = begin(vectors_may_expire(self));
    status = status ? status : check_moment(at_ms);
    return give_vector(self, status, (struct wit_text){.bytes = id, .size_bytes = id_bytes}, at_ms);
}

POST_RETURN("[method]database.get-vector-at") void post_get_vector_at(struct wit_answer *given) {
    (void)given;
    end();
}

METHOD("search")
struct wit_answer *search(struct vectors *self, const float *query, uint32_t count, uint32_t k, uint32_t has_options,
                          uint32_t has_ef, uint32_t ef, uint32_t exact, uint32_t has_at, int64_t at_ms) {
    enum velta_status status = begin(vectors_may_expire(self));
    bool with_ef = has_options && has_ef;
    bool with_at = has_options && has_at;
    status = status ? status : check_number("ef", with_ef, ef);
    if (!status && with_at) status = check_moment(at_ms);
    struct wit_floats values = {.values = query, .count = count};
    status = status ? status
                    : vectors_search(self, values, k, with_ef ? ef : 0, has_options && exact, with_at ? at_ms : 0,
                                     &answer.value.list, &last_error);
    return finish(status);
}

POST_RETURN("[method]database.search") void post_search(struct wit_answer *given) {
    (void)given;
    end();
}

/* ---- the whole */

METHOD("index") struct wit_answer *index_vectors(struct vectors *self, uint32_t has_most, uint32_t most) {
    enum velta_status status = begin(false);
    status = status ? status : check_number("most", has_most, most);
    return finish(status ? status : vectors_index(self, has_most ? most : 0, &answer.value.number, &last_error));
}

POST_RETURN("[method]database.index") void post_index(struct wit_answer *given) {
    (void)given;
    end();
}

METHOD("compact") struct wit_answer *compact(struct vectors *self, uint32_t has_since, int64_t since_ms) {
    enum velta_status status = begin(true);
    if (!status && has_since) status = check_time(since_ms, VELTA_NO_OFFSET, &last_error);
    if (has_since && since_ms == 0) since_ms = -1; /* the engine's 0 is: no history */
    return finish(status ? status : vectors_compact(self, has_since ? since_ms : 0, &last_error));
}

POST_RETURN("[method]database.compact") void post_compact(struct wit_answer *given) {
    (void)given;
    end();
}

METHOD("export") struct wit_answer *export_bytes(struct vectors *self) {
    enum velta_status status = begin(false);
    return finish(status ? status : vectors_export(self, &answer.value.list, &last_error));
}

POST_RETURN("[method]database.export") void post_export(struct wit_answer *given) {
    (void)given;
    end();
}

METHOD("import") struct wit_answer *import_bytes(struct vectors *self, const uint8_t *bytes, uint32_t size_bytes) {
    enum velta_status status = begin(true);
    struct wit_list list = {.items = bytes, .count = size_bytes};
    return finish(status ? status : vectors_import(self, list, &last_error));
}

POST_RETURN("[method]database.import") void post_import(struct wit_answer *given) {
    (void)given;
    end();
}
