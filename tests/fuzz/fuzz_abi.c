/*
 * The flat ABI, compiled natively: an input is a program of its calls over files in memory.
 *
 * Byte 0 chooses the tables that are there at the start; then each call is a byte and its arguments. What JavaScript
 * answers for holds here too (handles live, arrays have the lengths that their counts and columns ask for, exactly, so
 * that a byte more is seen); whatever is in them comes from the input: names, types, offsets, bits, keys, deltas,
 * filter texts, times. The host may answer an operation with any number, and progress may be cancelled.
 *
 * No call crashes, and after all of them the database is sound, and is the same when it is opened again.
 */
#include "tests/fuzz/fuzz.h"

#include <math.h>

#include "wasm/exports.c" /* the ABI has no header of its calls: JavaScript knows them by name */

enum { MAX_CALLS = 96, KINDS = 28, MAX_ROWS = 24, MAX_TEXT_BYTES = 64, MAX_COLUMNS = 4, MAX_BLOCKS = 256, STORAGE = 1 };

/* ---- what JavaScript would be */

static struct {
    const uint8_t *at;
    const uint8_t *end;
    struct fake_storage fake;
    double now_ms;
    double odd_answer; /* the next operation's; 0: its own */
    bool cancel;
    uint64_t changes_told;
    velta *db;
    velta_table *table; /* whom the next call is for */
    velta_filter *filter;
    velta_result *result;
    velta_iterator *iterator;
    bool poisoned;
    struct {
        void *memory;
        size_t size_bytes;
    } blocks[MAX_BLOCKS];
    size_t block_count;
} world;

double import_now(uint32_t id) {
    (void)id;
    return world.now_ms;
}
double import_clock(void) {
    return 0;
}
double import_execute(uint32_t id, uint32_t kind, uint32_t file, double offset, double size_bytes, void *buffer) {
    const struct storage_operation operation = {.kind = (enum storage_operation_kind)kind,
                                                .file = (enum storage_file)file,
                                                .offset = (uint64_t)offset,
                                                .size_bytes = (uint64_t)size_bytes,
                                                .bytes = buffer,
                                                .buffer = buffer};
    struct storage_result result;
    fuzz_demand(id == STORAGE);
    fake_storage_execute(&world.fake, &operation, &result);
    double answer =
        operation.kind == STORAGE_SYNC || operation.kind == STORAGE_TRUNCATE ? 0 : (double)result.size_bytes;
    if (world.odd_answer != 0) {
        bool lies = operation.kind == STORAGE_SIZE && world.odd_answer > 0; /* what then is lost is the host's fault */
        answer = isinf(world.odd_answer) ? answer + 1 : world.odd_answer;
        if (lies) answer = -(double)VELTA_IO;
        world.odd_answer = 0;
        world.poisoned = true;
    }
    return answer;
}
void import_close_storage(uint32_t id) {
    fuzz_demand(id == STORAGE);
}
uint32_t import_progress(uint32_t id, double done, double total) {
    fuzz_demand(id != 0 && done >= 0 && total >= 0);
    return !world.cancel;
}
void import_change(uint32_t id, const struct velta_change *change) {
    fuzz_demand(id != 0 && change->kind >= VELTA_CHANGE_TABLE && change->kind <= VELTA_CHANGE_RENUMBERED);
    world.changes_told += change->row_count;
}

/* ---- the input */

static uint64_t take(size_t width) {
    uint64_t number = 0;
    size_t left = (size_t)(world.end - world.at);
    if (width > left) width = left;
    if (width > 0) memcpy(&number, world.at, width);
    world.at += width;
    return number;
}
static uint32_t take_below(uint32_t limit) {
    return (uint32_t)take(limit > 256 ? 2 : 1) % limit;
}

/* Released after the call. Of the asked size exactly, filled from the input, and zeros when that has ended. */
static void *block(size_t size_bytes) {
    fuzz_demand(world.block_count < MAX_BLOCKS);
    size_t room = size_bytes > 0 ? size_bytes : 1;
    void *memory = abi_allocate(room);
    fuzz_demand(memory != NULL);
    memset(memory, 0, room);
    world.blocks[world.block_count].memory = memory;
    world.blocks[world.block_count++].size_bytes = room;
    return memory;
}
static void *filled(size_t size_bytes) {
    uint8_t *memory = block(size_bytes);
    size_t left = (size_t)(world.end - world.at);
    size_t taken = size_bytes < left ? size_bytes : left;
    if (taken > 0) memcpy(memory, world.at, taken);
    world.at += taken;
    return memory;
}
static void release_blocks(void) {
    while (world.block_count > 0) {
        world.block_count--;
        abi_release(world.blocks[world.block_count].memory, world.blocks[world.block_count].size_bytes);
    }
}

static char *take_text(void) {
    size_t size_bytes = take_below(MAX_TEXT_BYTES);
    char *text = block(size_bytes + 1);
    for (size_t i = 0; i < size_bytes && world.at < world.end; i++)
        text[i] = (char)take(1);
    return text;
}

/* Mostly a name that is there. */
static const char *take_name(void) {
    static const char *const names[] = {"id", "word", "size", "score", "flag", "made", "blob",
                                        "v",  "h",    "c",    "t",     "u",    "tag"};
    enum { NAMES = sizeof names / sizeof names[0] };
    uint32_t choice = take_below(NAMES + 9);
    if (choice < NAMES) return names[choice];
    if (choice == NAMES) return take_text();
    const struct velta_column *column = world.table ? abi_column_at(world.table, choice - NAMES - 1) : NULL;
    return column ? column->name : names[choice - NAMES];
}
/* Mostly one of these, which fit the call; NULL for none. */
static const char *take_one_of(const char *const *names, uint32_t count) {
    uint32_t choice = take_below(count + 2);
    return choice < count ? names[choice] : choice == count ? NULL : take_name();
}
static const char *take_vector_name(void) {
    static const char *const names[] = {"v", "v", "h", "c"};
    return take_one_of(names, 4);
}
static const char *take_number_name(void) {
    static const char *const names[] = {"size", "score", "made", "id"};
    return take_one_of(names, 4);
}
static const char *take_group_name(void) {
    static const char *const names[] = {"flag", "word", "size", "flag"};
    return take_one_of(names, 4);
}
static const char *maybe_name(void) {
    return take_below(4) == 0 ? NULL : take_name();
}

/* Names of columns; NULL for none. */
static const char *const *take_names(size_t *count) {
    *count = take_below(MAX_COLUMNS);
    const char **names = block(*count * sizeof *names);
    for (size_t i = 0; i < *count; i++)
        names[i] = take_name();
    return *count > 0 ? names : NULL;
}

static double take_time(void) {
    static const double times[] = {0, FUZZ_NOW_MS, 1, -1, 9e15, -9e15, 1e300, -1e300};
    uint32_t choice = take_below(16);
    return choice < 8 ? times[choice] : FUZZ_NOW_MS + (double)take(2) - 32768;
}

static const char *take_filter(void) {
    static const char *const filters[] = {"size > 10 AND NOT flag", "word IN ('w1', 'w2') OR blob IS NULL",
                                          "word LIKE 'w%' AND score < 0.5", "id BETWEEN 3 AND 9", "v IS NOT NULL"};
    uint32_t choice = take_below(8);
    if (choice < 5) return filters[choice];
    return choice == 5 ? take_text() : NULL;
}

static size_t dimensions_of(const char *name) {
    for (size_t i = 0; world.table && i < abi_column_count(world.table); i++) {
        const struct velta_column *column = abi_column_at(world.table, i);
        if (name ? strcmp(column->name, name) == 0 : column->type == VELTA_VECTOR) return column->dimensions;
    }
    return 0;
}

/* ---- batches */

static uint64_t *take_offsets(uint32_t count, size_t text_bytes) {
    uint64_t *offsets = block((count + (size_t)1) * sizeof *offsets);
    bool ascending = take_below(8) != 0;
    for (uint32_t i = 0; i <= count; i++) {
        offsets[i] = take(1) % (text_bytes + 1);
        if (ascending && i > 0) offsets[i] = offsets[i - 1] + offsets[i] % 5;
        if (offsets[i] > text_bytes) offsets[i] = text_bytes;
    }
    return offsets;
}

/* Every array that a column of any type may ask for. */
static void take_values(struct velta_values *values, uint32_t rows) {
    size_t text_bytes = take_below(MAX_TEXT_BYTES);
    uint32_t how = take_below(64);
    values->column = take_name();
    size_t dimensions = dimensions_of(values->column);
    size_t size_bytes = rows * (dimensions > 2 ? dimensions * 4 : 8);
    values->offsets = how & 1 ? take_offsets(rows, text_bytes) : NULL;
    if (values->offsets && size_bytes < text_bytes) size_bytes = text_bytes;
    values->data = how & 2 ? block(size_bytes) : filled(size_bytes);
    if (values->offsets && !(how & 4)) memset((void *)(uintptr_t)values->data, 'a' + (int)(how & 7), size_bytes);
    if (how & 8) values->valid = filled((rows + (size_t)63) / 64 * 8);
    if ((how & 48) == 48) values->data = NULL;
    values->element = (enum velta_element)(take_below(8) == 7 ? take(1) : take_below(2));
}

static struct velta_values *take_batch(uint32_t rows, size_t *count) {
    *count = take_below(MAX_COLUMNS + 1);
    struct velta_values *values = block(*count * sizeof *values);
    for (size_t i = 0; i < *count; i++)
        take_values(&values[i], rows);
    return values;
}

/* Small ones meet; some are anything. */
static int64_t take_key(void) {
    uint32_t choice = take_below(40);
    return choice < 36 ? (int64_t)choice : (int64_t)take(8);
}

static struct velta_keys *take_keys(size_t *count) {
    struct velta_keys *keys = block(sizeof *keys);
    uint32_t kinds = take_below(16);
    *count = take_below(MAX_ROWS);
    if (kinds == 0 || kinds == 15) return keys;
    if (kinds & 1) {
        int64_t *ints = block(*count * sizeof *ints);
        for (size_t i = 0; i < *count; i++)
            ints[i] = take_key();
        keys->ints = ints;
    } else if (kinds & 2) {
        size_t text_bytes = take_below(MAX_TEXT_BYTES);
        keys->text = filled(text_bytes);
        keys->offsets = take_offsets((uint32_t)*count, text_bytes);
    } else {
        uint32_t *rows = block(*count * sizeof *rows);
        for (size_t i = 0; i < *count; i++)
            rows[i] = (uint32_t)take_key();
        keys->rows = rows;
    }
    return keys;
}

static void take_delta(struct velta_delta *delta, size_t dimensions) {
    uint32_t how = take_below(64);
    delta->operation = (enum velta_operation)(take_below(32) == 31 ? take(4) : 1 + take_below(6));
    delta->set = how & 1;
    delta->use_row = how & 2;
    delta->row = (uint32_t)take_key();
    delta->key_int = take_key();
    delta->key = take_text();
    delta->key_bytes = (uint32_t)strlen(delta->key);
    delta->count = take_below(16) == 15 ? (uint32_t)take(4) : (uint32_t)dimensions;
    if (delta->operation == VELTA_DELTA_SPARSE && how & 4) delta->count = take_below((uint32_t)dimensions + 1);
    size_t room = delta->count < dimensions ? delta->count : dimensions;
    uint32_t *indices = block(room * sizeof *indices);
    float *values = block(room * sizeof *values);
    for (size_t i = 0; i < room && i < MAX_ROWS; i++) {
        indices[i] = how & 8 ? (uint32_t)i : (uint32_t)take(1) % 16;
        values[i] = (float)(int8_t)take(1) / 16;
    }
    delta->indices = how & 16 && how & 1 ? NULL : indices;
    delta->values = values;
    if (how & 32 && room > 0) values[0] = (float)ldexp(1, (int)take_below(400) - 200);
    delta->amount = (float)(int8_t)take(1) / 4;
    delta->metadata_bytes = take_below(8);
    delta->metadata = filled(delta->metadata_bytes);
    delta->time_ms = take_below(4) ? 0 : time_of(take_time());
}

/* ---- calls */

static void free_handles(void) {
    abi_filter_free(world.filter);
    abi_result_free(world.result);
    abi_iterator_close(world.iterator);
    world.filter = NULL;
    world.result = NULL;
    world.iterator = NULL;
}

static void read_result(void) {
    struct {
        struct velta_values values;
        enum velta_type type;
    } column;
    size_t count;
    if (!world.result) return;
    (void)abi_result_chain(world.result, &count);
    (void)abi_result_explain(world.result, take_below(4));
    const float *distances = abi_result_distances(world.result);
    uint64_t sum = 0;
    for (size_t i = 0; i < abi_result_count(world.result); i++) {
        sum += abi_result_rows(world.result) ? abi_result_rows(world.result)[i] : 0;
        fuzz_demand(!distances || !isnan(distances[i]));
    }
    for (size_t i = 0; i < abi_result_column_count(world.result); i++)
        fuzz_demand(!abi_result_column(world.result, i, &column.values));
    world.changes_told += sum;
    abi_result_free(world.result);
    world.result = NULL;
}

static void call_schema(uint32_t choice) {
    struct velta_column *columns = block(MAX_COLUMNS * sizeof *columns);
    size_t count = 1 + take_below(MAX_COLUMNS);
    for (size_t i = 0; i < count && i < MAX_COLUMNS; i++) {
        static const uint32_t dimensions[] = {1, 2, 3, 8, 17, 64, 0, 8193};
        uint32_t how = take_below(64);
        columns[i] = (struct velta_column){.name = take_name(),
                                           .type = (enum velta_type)(1 + take_below(8)),
                                           .primary_key = i == 0 && how & 1,
                                           .required = (how & 6) == 6,
                                           .no_index = (how & 24) == 24};
        if (columns[i].type != VELTA_VECTOR && how & 32) continue;
        columns[i].dimensions = dimensions[take_below(8)];
        columns[i].element = (enum velta_element)take_below(4);
        columns[i].metric = (enum velta_metric)take_below(4);
        if (how & 32) columns[i].m = (uint32_t)take(1);
        if (how & 32) columns[i].ef_construction = take_below(4) ? take_below(200) : (uint32_t)take(4);
    }
    if (choice == 0) {
        velta_table *made;
        (void)abi_table_create(world.db, take_name(), columns, count < MAX_COLUMNS ? count : MAX_COLUMNS, &made);
    } else if (world.table) {
        (void)abi_column_add(world.table, columns);
    }
}

/* A delta as a record of docs/FORMAT.md, section 8; its bytes, or none where it is larger than `room`. */
static size_t write_record(uint8_t *out, size_t room, const struct velta_delta *delta, bool is_text, uint64_t sequence,
                           size_t dimensions) {
    const size_t HEAD_BYTES = 40;
    bool is_sparse = delta->operation == VELTA_DELTA_SPARSE;
    bool has_values = delta->operation == VELTA_DELTA_CREATE || delta->operation == VELTA_DELTA_DENSE || is_sparse;
    size_t count = has_values ? delta->count : 0;
    if (count > dimensions) return 0; /* there are no so many values */
    size_t used = HEAD_BYTES + count * (is_sparse ? 8 : 4) + (is_text ? delta->key_bytes : 0) + delta->metadata_bytes;
    size_t size_bytes = (size_t)bytes_align_up(used, 8);
    if (size_bytes > room) return 0;
    memset(out, 0, size_bytes);
    bytes_put_u32(out, (uint32_t)size_bytes - 4);
    out[4] = (uint8_t)delta->operation;
    out[5] =
        (uint8_t)((has_values && delta->operation != VELTA_DELTA_CREATE && delta->set ? 1 : 0) + (is_text ? 2 : 0));
    bytes_put_u64(out + 8, sequence);
    bytes_put_u64(out + 16, (uint64_t)delta->time_ms);
    bytes_put_u64(out + 24, is_text ? delta->key_bytes : (uint64_t)delta->key_int);
    if (delta->operation == VELTA_DELTA_SCALE || delta->operation == VELTA_DELTA_OFFSET)
        memcpy(out + 32, &delta->amount, sizeof delta->amount);
    else
        bytes_put_u32(out + 32, (uint32_t)count);
    bytes_put_u32(out + 36, delta->metadata_bytes);
    uint8_t *part = out + HEAD_BYTES;
    for (size_t i = 0; is_sparse && i < count; i++, part += 4)
        bytes_put_u32(part, delta->indices ? delta->indices[i] : (uint32_t)i);
    if (count > 0) memcpy(part, delta->values, count * 4);
    part += count * 4;
    if (is_text) memcpy(part, delta->key, delta->key_bytes);
    part += is_text ? delta->key_bytes : 0;
    if (delta->metadata_bytes > 0) memcpy(part, delta->metadata, delta->metadata_bytes);
    return size_bytes;
}

static bool has_text_key(const velta_table *table) {
    const struct velta_column *column = abi_column_at(table, 0);
    return column && column->primary_key && column->type == VELTA_STRING;
}

/* Mostly records that are right, and then a byte of them is not; now and then any bytes. */
static void *take_records(const char *column, size_t *size_bytes) {
    enum { ROOM = 4096, MAX_RECORDS = 6 };
    uint32_t how = take_below(16);
    if (how == 15) {
        *size_bytes = take_below(256);
        return filled(*size_bytes);
    }
    uint8_t *room = block(ROOM);
    uint64_t sequence = 0;
    size_t used = 0;
    for (uint32_t count = take_below(MAX_RECORDS + 1); count > 0; count--) {
        struct velta_delta delta;
        take_delta(&delta, dimensions_of(column));
        sequence += take_below(16) == 15 ? take(8) : 1 + take_below(3);
        used += write_record(room + used, ROOM - used, &delta, has_text_key(world.table) != (take_below(16) == 15),
                             sequence, dimensions_of(column));
    }
    if (used > 0 && how > 10) room[take_below((uint32_t)used)] = (uint8_t)take(1);
    if (how == 10) used -= used > 0 ? take_below((uint32_t)used) : 0;
    *size_bytes = used;
    void *records = block(used); /* of its length exactly */
    if (used > 0) memcpy(records, room, used);
    return records;
}

/* The position of a stream, 0 where it is NULL; false where there is no such stream. */
static bool position_of(velta_table *streams, const char *name, int64_t *position) {
    static const char *const columns[] = {"position"};
    struct velta_values found;
    enum velta_type type;
    velta_result *result;
    uint32_t row;
    if (!streams || abi_find_text(streams, name, strlen(name), 0, &row) || row == VELTA_NO_ROW) return false;
    if (abi_get(streams, &row, 1, columns, 1, 0, &result)) return false;
    fuzz_demand(!velta_result_column(result, 0, &found, &type));
    if (type == VELTA_INT) *position = found.valid && (*found.valid & 1) == 0 ? 0 : *(const int64_t *)found.data;
    abi_result_free(result);
    return type == VELTA_INT;
}

/* All of them with the stream's new position, or nothing. */
static void call_records(void) {
    static const char *const streams_of[] = {"s", "t"};
    double counts[4];
    size_t size_bytes;
    const char *column = take_vector_name();
    const uint8_t *records = take_records(column, &size_bytes);
    uint32_t limit = take_below(8) == 7 ? take_below(4) : 8;
    velta_table *streams = take_below(4) ? abi_table_at(world.db, take_below(4) ? 2 : take_below(3)) : NULL;
    const char *name = take_below(8) == 7 ? take_text() : streams_of[take_below(2)];
    uint64_t *ids = take_below(2) ? block(limit * sizeof *ids) : NULL;
    int64_t before = 0, after = 0;
    bool is_stream = streams != world.table && position_of(streams, name, &before);
    if (take_below(32) == 31) { /* at an address that records do not have */
        uint8_t *moved = block(size_bytes + 1);
        memcpy(moved + 1, records, size_bytes);
        records = moved + 1;
    }
    enum velta_status status = abi_apply_records(world.table, column, records, size_bytes, limit, streams, name,
                                                 (uint32_t)strlen(name), ids, counts);
    if (is_stream) fuzz_demand(position_of(streams, name, &after));
    if (status) {
        fuzz_demand(counts[0] + counts[1] + counts[2] + counts[3] == 0 && after == before);
        return;
    }
    fuzz_demand(counts[0] + counts[1] <= limit && counts[2] <= (double)size_bytes);
    if (is_stream) fuzz_demand(after == (counts[0] > 0 ? (int64_t)counts[3] : before));
}

static void call_write(uint32_t choice) {
    double stats[4];
    uint32_t deleted;
    size_t count, value_count;
    if (choice == 2) {
        uint32_t rows = take_below(MAX_ROWS);
        struct velta_values *values = take_batch(rows, &value_count);
        (void)abi_insert(world.table, values, value_count, rows, take_below(2), take_below(2), stats);
        return;
    }
    if (choice == 3) {
        const char *column = take_vector_name();
        size_t dimensions = dimensions_of(column);
        count = take_below(6);
        struct velta_delta *deltas = block(count * sizeof *deltas);
        for (size_t i = 0; i < count; i++)
            take_delta(&deltas[i], dimensions);
        (void)abi_apply(world.table, column, deltas, count, take_time(), block(count * sizeof(uint64_t)));
        return;
    }
    const struct velta_keys *keys = take_keys(&count);
    if (choice == 4) {
        struct velta_values *values = take_batch((uint32_t)count, &value_count);
        (void)abi_update(world.table, keys, count, values, value_count, stats);
    } else if (choice == 5) {
        (void)abi_delete(world.table, keys, count, &deleted);
    } else if (choice == 6) {
        int64_t *times = block(count * sizeof *times);
        for (size_t i = 0; i < count; i++)
            times[i] = take_below(4) ? FUZZ_NOW_MS + (int64_t)take(1) : (int64_t)take(8);
        (void)abi_expire_at(world.table, keys, count, times);
    } else {
        (void)abi_find(world.table, keys, count, take_time(), block(count * sizeof(uint32_t)));
        (void)abi_expire(world.table, take_time(), &deleted);
    }
}

static void call_search(void) {
    size_t selected;
    const char *column = take_vector_name();
    const char *where = take_filter();
    size_t queries = take_below(3);
    uint32_t k = take_below(8) == 7 ? (uint32_t)take(2) : take_below(12);
    const char *const *select = take_names(&selected);
    float *values = block(queries * dimensions_of(column) * sizeof *values);
    for (size_t i = 0; i < queries * dimensions_of(column) && i < MAX_ROWS; i++)
        values[i] = (float)(int8_t)take(1);
    (void)abi_search(world.table, column, values, queries, k, take_below(300), where, where ? NULL : world.filter,
                     select, selected, take_time(), take_below(2), take_below(2), &world.result);
}

static void call_read(uint32_t choice) {
    size_t count;
    const char *column = take_name();
    uint32_t row = (uint32_t)take_key();
    read_result();
    if (choice == 8) {
        call_search();
    } else if (choice == 9) {
        uint32_t rows[4] = {row, (uint32_t)take_key(), (uint32_t)take_key(), (uint32_t)take_key()};
        const char *const *columns = take_names(&count);
        (void)abi_get(world.table, rows, take_below(5), columns, count, take_time(), &world.result);
    } else if (choice == 10) {
        const char *text = take_text();
        const float *found;
        float *copy = block(dimensions_of(column) * sizeof *copy);
        (void)abi_get_vector(world.table, column, row, take_time(), copy);
        (void)abi_vector_view(world.table, column, row);
        (void)abi_find_text(world.table, text, strlen(text), take_time(), &row);
        (void)abi_vector_of_text(world.table, column, text, strlen(text), take_below(2) ? copy : NULL, &found);
        (void)abi_get_chain(world.table, column, (uint32_t)take_key(), &world.result);
    } else if (choice == 11) {
        struct velta_aggregate aggregates[2] = {{(enum velta_aggregate_kind)(1 + take_below(6)), take_number_name()},
                                                {VELTA_COUNT, NULL}};
        const char *where = take_filter();
        (void)abi_aggregate(world.table, where, aggregates, take_below(3), take_group_name(), take_below(6),
                            take_below(2), &world.result);
    } else {
        const char *where = take_filter();
        const char *const *columns = take_names(&count);
        (void)abi_top(world.table, where, take_number_name(), take_below(2), take_below(40), columns, count,
                      &world.result);
    }
    read_result();
}

static void call_iterate(void) {
    const int64_t ends[2] = {take_key(), take_key()};
    const char *start = take_text(), *end = take_text();
    size_t count;
    const char *const *columns = take_names(&count);
    abi_iterator_close(world.iterator);
    world.iterator = NULL;
    (void)abi_iterate(world.table, take_below(4), take_below(4) ? ends : NULL, start, strlen(start), end, strlen(end),
                      columns, count, take_time(), &world.iterator);
}

static void call_filter(void) {
    double counted, listed;
    abi_filter_free(world.filter);
    world.filter = NULL;
    const char *text = take_filter();
    if (abi_filter_compile(world.table, text ? text : "", &world.filter)) return;
    uint32_t *rows = block(MAX_ROWS * sizeof *rows);
    if (!abi_filter_count(world.filter, &counted) && !abi_filter_rows(world.filter, rows, MAX_ROWS, &listed))
        fuzz_demand(counted == listed);
    double zones;
    if (!abi_filter_zones(world.filter, NULL, rows, MAX_ROWS, &zones))
        fuzz_demand(2 * zones <= abi_row_count(world.table));
}

static void open_world(void) {
    uint32_t chosen = take_below(4);
    uint32_t flags = (chosen & 1 ? ABI_RELAXED : 0) | (chosen & 2 ? ABI_LOG_TAIL : 0);
    double checkpoint_bytes = take_below(2) ? -1 : 4096;
    world.db = NULL;
    if (abi_open(STORAGE, flags, FUZZ_BUDGET_BYTES, checkpoint_bytes, take_below(4), 1, 1, 0, &world.db)) {
        fuzz_demand(world.poisoned); /* the host's odd answer; it gives right ones from now on */
        fuzz_demand(!abi_open(STORAGE, 0, FUZZ_BUDGET_BYTES, -1, 0, 1, 1, 0, &world.db));
    }
    world.poisoned = false;
}

static void close_world(void) {
    free_handles();
    (void)abi_close(world.db);
}

/* An export by parts, a row inserted before the graphs or not; the same database where nothing was. */
static void call_snapshot(const uint8_t *bytes, size_t size_bytes) {
    velta_snapshot *snapshot;
    velta *copy;
    size_t out[3], again[2];
    uint32_t graphs[2];
    double head_bytes = abi_snapshot_head_bytes(bytes, size_bytes);
    fuzz_demand(head_bytes <= (double)size_bytes);
    fuzz_demand(!abi_snapshot_begin(bytes, (size_t)head_bytes, (double)size_bytes, 0, FUZZ_BUDGET_BYTES, 0, 1, 1,
                                    &snapshot));
    abi_snapshot_segments(snapshot, out);
    const struct velta_segment *segments = (const void *)(uintptr_t)out[0];
    for (size_t i = 0; i < out[2]; i++)
        fuzz_demand(!abi_snapshot_feed(snapshot, bytes + segments[i].offset, (size_t)segments[i].size_bytes));
    fuzz_demand(!abi_snapshot_open(snapshot, &copy) && !abi_verify(copy, 0));
    velta_table *table = abi_table_at(copy, 0);
    static const int64_t id = 987654;
    static const struct velta_values key = {.column = "id", .data = &id};
    bool changed = table && take_below(2) && !velta_insert(table, &key, 1, 1, NULL, NULL, NULL);
    for (size_t i = out[2]; i < out[1]; i++)
        fuzz_demand(!abi_snapshot_feed(snapshot, bytes + segments[i].offset, (size_t)segments[i].size_bytes));
    bool attach = take_below(8) > 0;
    fuzz_demand(!attach || (!abi_snapshot_attach(snapshot, graphs) && (changed || graphs[1] == 0)));
    abi_snapshot_close(snapshot);
    fuzz_demand(!abi_verify(copy, 0) && !abi_export(copy, 0, again));
    if (attach && !changed) fuzz_demand(again[1] == size_bytes && memcmp((void *)again[0], bytes, size_bytes) == 0);
    abi_export_free(copy, (uint8_t *)again[0], again[1]);
    (void)abi_close(copy);
}

/* What comes after an export makes its copy the same again; damaged on the way, it leaves a sound copy, or none. */
static void call_follow(const uint8_t *bytes, size_t size_bytes, struct velta_position position) {
    static const struct velta_column column = {.name = "followed", .type = VELTA_INT};
    velta *copy;
    size_t frames[2], theirs[2], ours[2];
    bool add = take_below(2), damage = take_below(2);
    fuzz_demand(!abi_import(bytes, size_bytes, 0, 4.0 * FUZZ_BUDGET_BYTES, 0, 1, 1, 0, &copy));
    velta_table *table = abi_table_at(world.db, 0);
    if (table && add) (void)abi_column_add(table, &column);
    (void)abi_tag(world.db, "followed");
    struct velta_position before = position;
    enum velta_status status = abi_log_since(world.db, &position, 1 << 20, frames);
    uint8_t *copied = (uint8_t *)frames[0];
    if (!status && frames[1] > 0) {
        if (damage) copied[take_below((uint32_t)frames[1])] ^= (uint8_t)(1 + take_below(255));
        status = abi_follow(copy, &before, copied, frames[1]);
        fuzz_demand(damage || !status);
        enum velta_status sound = abi_verify(copy, 0);
        fuzz_demand(!sound || (status && sound == VELTA_POISONED));
        if (!status && !damage && !abi_export(world.db, 0, theirs)) {
            fuzz_demand(before.sequence == position.sequence && before.digest == position.digest);
            fuzz_demand(!abi_export(copy, 0, ours) && ours[1] == theirs[1] &&
                        memcmp((void *)ours[0], (void *)theirs[0], ours[1]) == 0);
            abi_export_free(copy, (uint8_t *)ours[0], ours[1]);
            abi_export_free(world.db, (uint8_t *)theirs[0], theirs[1]);
        }
    }
    abi_export_free(world.db, copied, frames[1]);
    (void)abi_close(copy);
}

/* An export becomes the same database, and is its own export. */
static void call_export(void) {
    size_t first[2], second[2];
    velta *copy;
    struct velta_position position;
    world.cancel = false;
    if (abi_export(world.db, 1, first)) return;
    bool has_tail = !abi_log_position(world.db, &position);
    fuzz_demand(!abi_import((void *)first[0], first[1], 0, FUZZ_BUDGET_BYTES, 0, 1, 1, 0, &copy));
    fuzz_demand(!abi_verify(copy, 0) && !abi_export(copy, 0, second));
    fuzz_demand(first[1] == second[1] && memcmp((void *)first[0], (void *)second[0], first[1]) == 0);
    abi_export_free(copy, (uint8_t *)second[0], second[1]);
    (void)abi_close(copy);
    call_snapshot((const uint8_t *)first[0], first[1]);
    if (has_tail) call_follow((const uint8_t *)first[0], first[1], position);
    abi_export_free(world.db, (uint8_t *)first[0], first[1]);
}

static void call_store(uint32_t choice) {
    static const double odd[] = {NAN, -1, -15, -16, -1e300, 1e300, INFINITY, 0.5};
    double numbers[17];
    size_t count;
    const char *name = take_name();
    const char *const *tags = take_names(&count);
    switch (choice) {
    case 16:
        (void)abi_checkpoint(world.db, take_below(2));
        break;
    case 17:
        (void)abi_compact(world.db, take_time(), tags, count, take_below(2), numbers);
        break;
    case 18:
        (void)abi_index(world.db, take_below(20), take_below(2), numbers);
        break;
    case 19:
        (void)abi_tag(world.db, name);
        (void)abi_tag_time(world.db, maybe_name() ? name : "", numbers);
        break;
    case 20:
        call_export();
        break;
    case 21:
        close_world();
        open_world();
        break;
    case 22:
        world.now_ms = FUZZ_NOW_MS + (double)take(2) - 1000;
        world.cancel = take_below(4) == 3;
        (void)abi_unwatch(world.db, abi_watch(world.db, 1));
        break;
    case 23:
        (void)abi_watch(world.db, 1 + take_below(2));
        (void)abi_flush(world.db);
        (void)abi_stats(world.db, numbers);
        break;
    default:
        world.odd_answer = odd[take_below(8)];
    }
}

static void call(void) {
    uint32_t choice = take_below(KINDS);
    if (choice == KINDS - 1) choice = 2; /* rows are what everything else needs */
    world.table = abi_table_at(world.db, take_below(3));
    if (!world.table) world.table = abi_table_at(world.db, 0);
    if (choice < 2) {
        call_schema(choice);
    } else if (choice >= 16 && choice < 25) {
        call_store(choice);
    } else if (!world.table) {
        return;
    } else if (choice < 8) {
        call_write(choice);
    } else if (choice < 13) {
        call_read(choice);
    } else if (choice == KINDS - 2) {
        call_records();
    } else if (choice == 13) {
        call_filter();
    } else if (choice == 14) {
        call_iterate();
    } else if (choice == 15) {
        if (take_below(8) > 0) return;
        free_handles(); /* they end before their table does */
        (void)abi_table_drop(world.table);
    } else if (world.iterator) {
        read_result();
        (void)abi_iterator_next(world.iterator, take_below(9), &world.result);
        read_result();
    }
}

/* ---- programs */

static void start(uint32_t choice) {
    static const struct velta_column by_text[] = {
        {.name = "word", .type = VELTA_STRING, .primary_key = true},
        {.name = "v", .type = VELTA_VECTOR, .dimensions = 3, .metric = VELTA_L2, .m = 4},
        {.name = "size", .type = VELTA_INT, .required = true},
    };
    static const struct velta_column by_stream[] = {{.name = "name", .type = VELTA_STRING, .primary_key = true},
                                                    {.name = "position", .type = VELTA_INT}};
    velta_table *table;
    struct velta_error error;
    open_world();
    if (choice & 1) {
        fuzz_demand(!abi_table_create(world.db, "t", sample_schema, SAMPLE_COLUMNS, &table));
        if (choice & 4) fuzz_live(world.db, table);
    }
    if (choice & 2) {
        static const int64_t sizes[] = {5, 6, 7};
        static const uint64_t offsets[] = {0, 1, 3, 3};
        static const float vectors[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
        const struct velta_values values[] = {{.column = "word", .data = "abb", .offsets = offsets},
                                              {.column = "v", .data = vectors},
                                              {.column = "size", .data = sizes}};
        fuzz_demand(!abi_table_create(world.db, "u", by_text, 3, &table));
        assert_ok(velta_insert(table, values, 3, 3, NULL, NULL, &error), &error);
    }
    if (choice & 8) {
        static const uint64_t offsets[] = {0, 1};
        const struct velta_values values[] = {{.column = "name", .data = "s", .offsets = offsets}};
        fuzz_demand(!abi_table_create(world.db, "p", by_stream, 2, &table));
        assert_ok(velta_insert(table, values, 1, 1, NULL, NULL, &error), &error);
    }
}

static uint64_t count_rows(void) {
    uint64_t count = 0;
    velta_table *table;
    for (size_t i = 0; (table = abi_table_at(world.db, i)) != NULL; i++) {
        count += abi_row_count(table) + (uint64_t)abi_live_count(table);
        const uint32_t rows[] = {0, 1, abi_row_count(table), UINT32_MAX};
        fuzz_demand(abi_next_expiry(table, rows, 4) > -9.3e18);
    }
    return count;
}

/* Right answers from here on: all that was done is there. */
static void finish(void) {
    uint64_t before = count_rows();
    bool certain = !world.poisoned;
    world.odd_answer = 0;
    world.cancel = false;
    free_handles();
    fuzz_demand(!abi_verify(world.db, 0) || !certain);
    fuzz_demand(!abi_close(world.db) || !certain);
    fuzz_demand(!abi_open(STORAGE, 0, FUZZ_BUDGET_BYTES, -1, 0, 1, 1, 0, &world.db));
    fuzz_demand(!abi_verify(world.db, 0));
    fuzz_demand(!certain || before == count_rows());
    call_export();
    fuzz_demand(!abi_close(world.db));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    if (size_bytes == 0) return 0;
    world.at = data + 1;
    world.end = data + size_bytes;
    world.now_ms = FUZZ_NOW_MS;
    world.poisoned = world.cancel = false;
    world.odd_answer = 0;
    fake_storage_init(&world.fake);
    world.fake.keep_durable = false;
    start(data[0]);
    for (size_t i = 0; i < MAX_CALLS && world.at < world.end; i++) {
        call();
        release_blocks();
    }
    finish();
    release_blocks();
    fake_storage_release(&world.fake);
    return 0;
}

/* Calls are added, repeated and taken away whole, as far as their length can be guessed. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size_bytes, size_t max_bytes, unsigned seed) {
    enum { CALL_BYTES = 24 };
    struct random random = random_seeded(seed);
    size_t length = 1 + random_below(&random, CALL_BYTES);
    if (size_bytes == 0 || random_chance(&random, 60) || size_bytes + length > max_bytes)
        return LLVMFuzzerMutate(data, size_bytes, max_bytes);
    size_t at = 1 + random_below(&random, size_bytes);
    if (at > size_bytes) at = size_bytes;
    memmove(data + at + length, data + at, size_bytes - at);
    if (random_chance(&random, 50) && at > length)
        memcpy(data + at, data + at - length, length);
    else
        random_bytes(&random, data + at, length);
    data[at] %= KINDS;
    return size_bytes + length;
}
