/*
 * What the tests of failures share: a database over a disk that outlives it and fails on request, and the calls that
 * change it.
 */
#ifndef VELTA_TESTS_UNIT_STORE_WORLD_H
#define VELTA_TESTS_UNIT_STORE_WORLD_H

#include "tests/unit/store_testing.h"

enum { BASE_ROWS = 40 };

/* ---- a world whose storage outlives the database */

/* Ways of failing. SHORT and LONG: of transfers. LOST: a sync that fails and takes what it should have made durable. */
enum fault { FAULT_NONE, FAULT_IO, FAULT_FULL, FAULT_SHORT, FAULT_LONG, FAULT_LOST };

struct disk {
    struct memory *memory;
    struct velta_host inner;
    uint64_t operations; /* that the fault applies to */
    uint64_t fail_at;    /* 0: never */
    enum fault fault;
    bool failed;
    struct {
        char *bytes;
        uint64_t size_bytes;
    } synced[2]; /* FAULT_LOST: each file at its last sync */
};

static inline bool disk_fault_applies(enum fault fault, const struct storage_operation *operation) {
    if (fault == FAULT_LOST) return operation->kind == STORAGE_SYNC;
    if (fault == FAULT_SHORT || fault == FAULT_LONG)
        return operation->kind == STORAGE_READ || operation->kind == STORAGE_WRITE;
    return true;
}

static inline struct storage_result disk_do(struct disk *disk, enum storage_operation_kind kind, enum storage_file file,
                                            uint64_t offset, uint64_t size_bytes, void *bytes) {
    struct storage_operation operation = {kind, file, offset, size_bytes, bytes, bytes};
    struct storage_result result = {0};
    disk->inner.execute(disk->inner.context, &operation, &result);
    assert_int_equal(result.status, VELTA_OK);
    return result;
}

static inline void disk_remember(struct disk *disk, enum storage_file file) {
    uint64_t size_bytes = disk_do(disk, STORAGE_SIZE, file, 0, 0, NULL).size_bytes;
    disk->synced[file].bytes = realloc(disk->synced[file].bytes, (size_t)size_bytes + 1);
    disk->synced[file].size_bytes = size_bytes;
    if (size_bytes > 0) disk_do(disk, STORAGE_READ, file, 0, size_bytes, disk->synced[file].bytes);
}

static inline void disk_lose_unsynced(struct disk *disk, enum storage_file file) {
    disk_do(disk, STORAGE_TRUNCATE, file, 0, 0, NULL);
    if (disk->synced[file].size_bytes > 0)
        disk_do(disk, STORAGE_WRITE, file, 0, disk->synced[file].size_bytes, disk->synced[file].bytes);
}

static inline void disk_execute(void *context, const struct storage_operation *operation,
                                struct storage_result *result) {
    struct disk *disk = context;
    bool applies = disk_fault_applies(disk->fault, operation);
    disk->operations += applies;
    if (disk->fail_at == 0 || !applies || disk->operations != disk->fail_at) {
        disk->inner.execute(disk->inner.context, operation, result);
        if (disk->fault == FAULT_LOST && disk->fail_at > 0 && operation->kind == STORAGE_SYNC)
            disk_remember(disk, operation->file);
        return;
    }
    disk->failed = true;
    if (disk->fault == FAULT_SHORT || disk->fault == FAULT_LONG) {
        /* Half arrives; the host says so, or claims more than was asked. */
        struct storage_operation part = *operation;
        part.size_bytes /= 2;
        disk->inner.execute(disk->inner.context, &part, result);
        result->size_bytes = disk->fault == FAULT_SHORT ? part.size_bytes : operation->size_bytes + 1;
        return;
    }
    if (disk->fault == FAULT_LOST) disk_lose_unsynced(disk, operation->file);
    *result = (struct storage_result){.status = disk->fault == FAULT_FULL ? VELTA_FULL : VELTA_IO};
}

/* From now, the `fail_at`-th operation that `fault` applies to fails. */
static inline void disk_arm(struct disk *disk, enum fault fault, uint64_t fail_at) {
    disk->operations = 0;
    disk->fail_at = fail_at;
    disk->fault = fault;
    for (int file = 0; fault == FAULT_LOST && file < 2; file++)
        disk_remember(disk, (enum storage_file)file);
}

static inline void disk_close(void *context) {
    (void)context; /* the bytes stay for the next opening */
}

static inline void disk_make(struct disk *disk) {
    struct velta_error error = {0};
    *disk = (struct disk){.memory = memory_create(NULL, 0)};
    assert_non_null(disk->memory);
    assert_ok(host_open_memory(disk->memory, NULL, 0, &disk->inner, &error), &error);
}

static inline void disk_free(struct disk *disk) {
    disk->inner.close(disk->inner.context);
    memory_destroy(disk->memory);
    free(disk->synced[0].bytes);
    free(disk->synced[1].bytes);
}

static inline struct velta_host disk_host(struct disk *disk) {
    return (struct velta_host){.context = disk, .execute = disk_execute, .close = disk_close};
}

struct world {
    struct disk disk;
    struct velta_host host;
    struct velta_options options;
    int64_t now_ms;
    velta *db;
    velta_table *table;
    uint64_t outcome; /* of the last reading call: a hash of what it gave */
};

static inline void world_open(struct world *world) {
    struct velta_error error = {0};
    assert_ok(velta_open(NULL, &world->options, &world->db, &error), &error);
    assert_ok(velta_table_find(world->db, "t", &world->table, &error), &error);
}

/* A fresh disk, and options for a database over it with a clock of the world's own: nothing is opened yet. */
static inline void world_begin(struct world *world, const struct velta_options *options) {
    memset(world, 0, sizeof *world);
    world->now_ms = 1000;
    world->options = *options;
    world->options.now_ms = sample_clock;
    world->options.now_context = &world->now_ms;
    world->options.thread_count = 1;
    disk_make(&world->disk);
    world->host = disk_host(&world->disk);
    world->options.host = &world->host;
}

/* An opened database over a fresh disk, with rows, past values, deleted and expiring rows, and a linked index. */
static inline void world_make(struct world *world, const struct velta_options *options,
                              const struct velta_allocator *memory) {
    struct velta_error error = {0};
    world_begin(world, options);
    world->options.allocator = memory;
    world->db = sample_open(&world->options, NULL, &world->table);
    sample_insert(world->table, 0, BASE_ROWS, 1);
    assert_ok(velta_tag(world->db, "base", &error), &error);
    assert_ok(velta_index(world->db, 0, NULL, NULL, &error), &error);
    assert_ok(velta_checkpoint(world->db, NULL, &error), &error);
    world->now_ms = 2000;
    int64_t ids[] = {3, 4};
    int64_t times[] = {2500, 9000};
    struct velta_delta scale = {.operation = VELTA_DELTA_SCALE, .key_int = 5, .amount = 2};
    assert_ok(velta_apply(world->table, "v", &scale, 1, 0, NULL, &error), &error);
    assert_ok(velta_delete(world->table, &(struct velta_keys){.ints = ids}, 1, NULL, &error), &error);
    assert_ok(velta_expire_at(world->table, &(struct velta_keys){.ints = ids + 1}, 1, times, &error), &error);
    assert_ok(velta_flush(world->db, &error), &error);
    world->now_ms = 3000;
}

static inline void world_free(struct world *world) {
    enum velta_status status = velta_close(world->db, NULL);
    (void)status; /* a poisoned database says so */
    disk_free(&world->disk);
}

/* ---- the calls */

typedef enum velta_status operation(struct world *world, struct velta_error *error);

static inline enum velta_status do_insert(struct world *world, struct velta_error *error) {
    struct sample sample;
    sample_make(&sample, 500, 70, 2);
    enum velta_status status = velta_insert(world->table, sample.values, SAMPLE_COLUMNS, 70, NULL, NULL, error);
    sample_free(&sample);
    return status;
}

static inline enum velta_status do_upsert(struct world *world, struct velta_error *error) {
    struct velta_write_options upsert = {.mode = VELTA_UPSERT};
    struct sample sample;
    sample_make(&sample, BASE_ROWS - 10, 20, 3);
    enum velta_status status = velta_insert(world->table, sample.values, SAMPLE_COLUMNS, 20, &upsert, NULL, error);
    sample_free(&sample);
    return status;
}

enum { BLOB_BYTES = 1 << 20, MOST_BLOBS = 9 };

/* Rows of blobs of a mebibyte that do not become smaller: a frame of the log takes four. */
static inline enum velta_status insert_blobs(velta_table *table, int64_t first, uint32_t count,
                                             const struct velta_write_options *options, struct velta_error *error) {
    static char blobs[MOST_BLOBS * BLOB_BYTES];
    int64_t ids[MOST_BLOBS];
    uint64_t offsets[MOST_BLOBS + 1] = {0};
    if (blobs[0] == 0) {
        struct random random = random_seeded(1);
        random_bytes(&random, blobs, sizeof blobs);
        blobs[0] = 1;
    }
    assert_true(count <= MOST_BLOBS);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = first + i;
        offsets[i + 1] = (uint64_t)(i + 1) * BLOB_BYTES;
    }
    struct velta_values values[] = {{.column = "id", .data = ids},
                                    {.column = "blob", .data = blobs, .offsets = offsets}};
    return velta_insert(table, values, 2, count, options, NULL, error);
}

/* More than one frame. */
static inline enum velta_status do_large_insert(struct world *world, struct velta_error *error) {
    return insert_blobs(world->table, 900, 5, NULL, error);
}

static inline enum velta_status do_update(struct world *world, struct velta_error *error) {
    int64_t ids[] = {9, 7, 9, 8};
    static const char text[] = "never seen before";
    uint64_t offsets[] = {0, 5, 10, 12, 17};
    float vectors[4 * SAMPLE_DIMENSIONS];
    struct random random = random_seeded(4);
    random_vector(&random, vectors, 4 * SAMPLE_DIMENSIONS);
    struct velta_values values[] = {{.column = "word", .data = text, .offsets = offsets},
                                    {.column = "c", .data = vectors},
                                    {.column = "v", .data = vectors}};
    return velta_update(world->table, &(struct velta_keys){.ints = ids}, 4, values, 3, NULL, error);
}

static inline enum velta_status do_delete(struct world *world, struct velta_error *error) {
    int64_t ids[] = {12, 10, 11};
    return velta_delete(world->table, &(struct velta_keys){.ints = ids}, 3, NULL, error);
}

static inline enum velta_status do_expire_at(struct world *world, struct velta_error *error) {
    int64_t ids[] = {12, 10};
    int64_t times[] = {INT64_C(1) << 50, 1};
    return velta_expire_at(world->table, &(struct velta_keys){.ints = ids}, 2, times, error);
}

static inline enum velta_status do_expire(struct world *world, struct velta_error *error) {
    return velta_expire(world->table, 10000, NULL, error);
}

static inline enum velta_status do_apply(struct world *world, struct velta_error *error) {
    enum { COUNT = 24 };
    struct velta_delta deltas[COUNT];
    for (int i = 0; i < COUNT; i++)
        deltas[i] = (struct velta_delta){.operation = VELTA_DELTA_OFFSET, .key_int = 20 + i % 5, .amount = 1};
    return velta_apply(world->table, "h", deltas, COUNT, 0, NULL, error);
}

static inline enum velta_status do_births(struct world *world, struct velta_error *error) {
    float one[SAMPLE_DIMENSIONS] = {1, 1};
    struct velta_delta deltas[] = {
        {.operation = VELTA_DELTA_CREATE, .key_int = 70, .count = SAMPLE_DIMENSIONS, .values = one},
        {.operation = VELTA_DELTA_SCALE, .key_int = 70, .amount = 4, .metadata = "why", .metadata_bytes = 3},
        {.operation = VELTA_DELTA_SCALE, .key_int = 70, .amount = 4},
        {.operation = VELTA_DELTA_DELETE, .key_int = 2},
        {.operation = VELTA_DELTA_CREATE, .key_int = 2, .count = SAMPLE_DIMENSIONS, .values = one},
        {.operation = VELTA_DELTA_DELETE, .key_int = 70},
    };
    return velta_apply(world->table, "c", deltas, 6, 0, NULL, error);
}

static inline enum velta_status do_table_create(struct world *world, struct velta_error *error) {
    velta_table *table;
    return velta_table_create(world->db, "second", sample_schema, SAMPLE_COLUMNS, &table, error);
}

static inline enum velta_status do_column_add(struct world *world, struct velta_error *error) {
    struct velta_column column = {.name = "w", .type = VELTA_VECTOR, .dimensions = 3};
    return velta_column_add(world->table, &column, error);
}

static inline enum velta_status do_tag(struct world *world, struct velta_error *error) {
    return velta_tag(world->db, "a new tag", error);
}

static inline enum velta_status do_flush(struct world *world, struct velta_error *error) {
    return velta_flush(world->db, error);
}

static inline enum velta_status do_checkpoint(struct world *world, struct velta_error *error) {
    return velta_checkpoint(world->db, NULL, error);
}

static inline enum velta_status do_compact(struct world *world, struct velta_error *error) {
    static const char *const tags[] = {"base"};
    struct velta_compact_options options = {.keep_since_ms = 2000, .keep_tags = tags, .keep_tag_count = 1};
    return velta_compact(world->db, &options, NULL, error);
}

static inline enum velta_status do_compact_all(struct world *world, struct velta_error *error) {
    return velta_compact(world->db, NULL, NULL, error);
}

static inline enum velta_status do_verify(struct world *world, struct velta_error *error) {
    return velta_verify(world->db, NULL, error);
}

static inline enum velta_status do_export(struct world *world, struct velta_error *error) {
    uint8_t *bytes;
    uint64_t size_bytes;
    enum velta_status status = velta_export(world->db, &bytes, &size_bytes, NULL, error);
    velta_export_free(world->db, bytes, size_bytes);
    return status;
}

static inline enum velta_status do_index(struct world *world, struct velta_error *error) {
    return velta_index(world->db, 0, NULL, NULL, error);
}

static inline enum velta_status do_drop(struct world *world, struct velta_error *error) {
    velta_table *table;
    enum velta_status status = velta_table_find(world->db, "t", &table, error);
    return status ? status : velta_table_drop(table, error);
}

static inline enum velta_status do_reopen(struct world *world, struct velta_error *error) {
    enum velta_status status = VELTA_OK;
    if (world->db) {
        status = velta_close(world->db, error);
        world->db = NULL;
    }
    return status ? status : velta_open(NULL, &world->options, &world->db, error);
}

/* The same with a frame half written at the log's end, which opening cuts off. */
static inline enum velta_status do_reopen_torn(struct world *world, struct velta_error *error) {
    static char torn[100] = {99};
    enum velta_status status = velta_close(world->db, error);
    world->db = NULL;
    if (status) return status;
    uint64_t end = disk_do(&world->disk, STORAGE_SIZE, STORAGE_LOG, 0, 0, NULL).size_bytes;
    disk_do(&world->disk, STORAGE_WRITE, STORAGE_LOG, end, sizeof torn, torn);
    return velta_open(NULL, &world->options, &world->db, error);
}

#endif
