/*
 * The index stays sound: random lives of inserts, deltas, deletes, expiry, linking in slices and compaction, after each
 * step of which every index is checked by velta_verify; the same below the store, where a second checker, written
 * apart from hnsw_check, looks at degrees, ends of links, tombstones and reachability by itself. And hnsw_check sees
 * every kind of damage to a graph, wherever it is put.
 */
#include "store/velta.h"
#include "tests/unit/hnsw_fixture.h"

#include <inttypes.h>

enum { DIMENSIONS = 12, COLUMNS = 3, MOST = 4000 };

#if defined(VELTA_TESTING)
enum { LIVES = 2, GRAPHS = 3, DAMAGES = 200 }; /* the sanitizers are slow */
#else
enum { LIVES = 12, GRAPHS = 18, DAMAGES = 2000 };
#endif

static uint64_t checks, violations;

static void ok(enum velta_status status, const struct velta_error *error) {
    if (status) fail_msg("%s: %s", velta_status_name(status), error->text);
}

/* ---- through the store */

struct life {
    struct random random;
    int64_t now_ms;
    uint64_t seed;
    velta *db;
    velta_table *table;
};

static int64_t life_clock(void *context) {
    return ((struct life *)context)->now_ms;
}

static const char *const column_names[COLUMNS] = {"a", "b", "c"};

static void life_open(struct life *life, uint64_t seed) {
    struct velta_error error;
    *life = (struct life){.random = random_seeded(seed), .now_ms = 1000000, .seed = seed};
    struct velta_options options = {.now_ms = life_clock,
                                    .now_context = life,
                                    .thread_count = 1 + (uint32_t)random_below(&life->random, 3),
                                    .chain_interval = 4};
    struct velta_column columns[COLUMNS];
    for (size_t c = 0; c < COLUMNS; c++) /* every element; metrics and degrees at random */
        columns[c] = (struct velta_column){.name = column_names[c],
                                           .type = VELTA_VECTOR,
                                           .dimensions = DIMENSIONS,
                                           .element = (enum velta_element)c,
                                           .metric = (enum velta_metric)random_below(&life->random, 3),
                                           .m = 4 + (uint32_t)random_below(&life->random, 9),
                                           .ef_construction = 1 + (uint32_t)random_below(&life->random, 60)};
    ok(velta_open(NULL, &options, &life->db, &error), &error);
    ok(velta_table_create(life->db, "t", columns, COLUMNS, &life->table, &error), &error);
}

static void insert_some(struct life *life) {
    struct velta_error error;
    uint32_t count = 1 + (uint32_t)random_below(&life->random, random_chance(&life->random, 10) ? 300 : 30);
    if (velta_row_count(life->table) + count > MOST) return;
    float *vectors = malloc(count * DIMENSIONS * sizeof *vectors);
    uint64_t valid[5];
    assert_non_null(vectors);
    random_vector(&life->random, vectors, (size_t)count * DIMENSIONS);
    for (uint32_t i = 1; i < count; i++) /* copies, and zeros */
        if (random_chance(&life->random, 15))
            memcpy(vectors + (size_t)i * DIMENSIONS, vectors, DIMENSIONS * sizeof *vectors);
        else if (random_chance(&life->random, 2))
            memset(vectors + (size_t)i * DIMENSIONS, 0, DIMENSIONS * sizeof *vectors);
    for (size_t w = 0; w < 5; w++)
        valid[w] = random_u64(&life->random) | random_u64(&life->random) | random_u64(&life->random);
    const struct velta_values values[] = {{.column = "a", .data = vectors, .valid = valid},
                                          {.column = "b", .data = vectors},
                                          {.column = "c", .data = vectors, .valid = valid}};
    ok(velta_insert(life->table, values, COLUMNS, count, NULL, NULL, &error), &error);
    free(vectors);
}

/* A row that can be read; VELTA_NO_ROW where none was met. */
static uint32_t some_row(struct life *life) {
    struct velta_error error;
    uint32_t row, found = VELTA_NO_ROW;
    for (unsigned i = 0; i < 20 && found == VELTA_NO_ROW && velta_row_count(life->table) > 0; i++) {
        row = (uint32_t)random_below(&life->random, velta_row_count(life->table));
        ok(velta_find(life->table, &(struct velta_keys){.rows = &row}, 1, 0, &found, &error), &error);
    }
    return found;
}

static void change_some(struct life *life) {
    struct velta_error error;
    for (uint64_t i = random_below(&life->random, 40); i > 0; i--) {
        uint32_t row = some_row(life);
        float values[DIMENSIONS];
        if (row == VELTA_NO_ROW) return;
        random_vector(&life->random, values, DIMENSIONS);
        for (size_t d = 0; d < DIMENSIONS; d++)
            values[d] *= random_chance(&life->random, 50) ? 0.05F : 1.0F; /* drift, and far away */
        struct velta_delta delta = {.row = row, .use_row = true, .values = values, .count = DIMENSIONS};
        delta.operation = random_chance(&life->random, 70) ? VELTA_DELTA_DENSE : VELTA_DELTA_SCALE;
        delta.set = random_chance(&life->random, 30);
        delta.amount = random_chance(&life->random, 5) ? 0.0F : (float)random_between(&life->random, -12, 12) / 8;
        enum velta_status status =
            velta_apply(life->table, column_names[random_below(&life->random, COLUMNS)], &delta, 1, 0, NULL, &error);
        if (status != VELTA_NOT_FOUND) ok(status, &error); /* the vector may be NULL */
    }
}

static void delete_some(struct life *life) {
    struct velta_error error;
    bool most = random_chance(&life->random, 5);
    for (uint64_t i = random_below(&life->random, most ? 2000 : 30); i > 0; i--) {
        uint32_t row = some_row(life), deleted;
        const struct velta_keys key = {.rows = &row};
        int64_t when = life->now_ms + (int64_t)random_below(&life->random, 50);
        if (row == VELTA_NO_ROW) return;
        if (random_chance(&life->random, 80))
            ok(velta_delete(life->table, &key, 1, &deleted, &error), &error);
        else
            ok(velta_expire_at(life->table, &key, 1, &when, &error), &error);
    }
}

static void import_again(struct life *life) {
    struct velta_error error;
    uint8_t *bytes;
    uint64_t size_bytes;
    velta *copy;
    struct velta_options options = {.now_ms = life_clock, .now_context = life, .thread_count = 2};
    ok(velta_export(life->db, &bytes, &size_bytes, NULL, &error), &error);
    ok(velta_import(bytes, size_bytes, &options, &copy, &error), &error);
    velta_export_free(life->db, bytes, size_bytes);
    ok(velta_close(life->db, &error), &error);
    life->db = copy;
    ok(velta_table_find(copy, "t", &life->table, &error), &error);
}

static void one_step(struct life *life) {
    struct velta_error error;
    uint64_t pending;
    life->now_ms += (int64_t)random_below(&life->random, 5);
    switch (random_below(&life->random, 12)) {
    case 0:
    case 1:
    case 2:
        insert_some(life);
        break;
    case 3:
    case 4:
        delete_some(life);
        break;
    case 5:
        ok(velta_expire(life->table, 0, NULL, &error), &error);
        break;
    case 6:
        if (random_chance(&life->random, 40))
            ok(velta_compact(life->db, &(struct velta_compact_options){.keep_since_ms = life->now_ms - 20}, NULL,
                             &error),
               &error);
        else if (random_chance(&life->random, 50))
            import_again(life);
        break;
    case 7:
    case 8:
        change_some(life);
        break;
    default:
        ok(velta_index(life->db, random_chance(&life->random, 20) ? 0 : 1 + random_below(&life->random, 200), NULL,
                       &pending, &error),
           &error);
    }
}

/* A search gives every row that lives and no other: tombstones are waypoints only. */
static void check_search(struct life *life, const char *column) {
    struct velta_error error;
    static uint32_t rows[MOST];
    float query[DIMENSIONS], vector[DIMENSIONS];
    velta_result *result;
    uint32_t there = 0, count = 0;
    random_vector(&life->random, query, DIMENSIONS);
    struct velta_search search = {.column = column, .queries = query, .query_count = 1, .k = MOST};
    ok(velta_search(life->table, &search, &result, &error), &error);
    while (count < MOST && velta_result_rows(result)[count] != VELTA_NO_ROW)
        count++;
    memcpy(rows, velta_result_rows(result), count * sizeof *rows);
    velta_result_free(result);
    for (uint32_t i = 0; i < count; i++)
        ok(velta_get_vector(life->table, column, rows[i], 0, vector, &error), &error);
    for (uint32_t row = 0; row < velta_row_count(life->table); row++)
        there += velta_get_vector(life->table, column, row, 0, vector, NULL) == VELTA_OK;
    assert_int_equal(count, there);
}

static void lives_through_the_store(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= test_rounds(LIVES); seed++) {
        struct life life;
        struct velta_error error;
        life_open(&life, seed);
        for (unsigned step = 0; step < 200; step++) {
            one_step(&life);
            enum velta_status status = velta_verify(life.db, NULL, &error);
            checks += COLUMNS;
            if (status) {
                violations++;
                fail_msg("seed %" PRIu64 ", step %u: %s", seed, step, error.text);
            }
            if (step % 10 == 0) check_search(&life, column_names[step / 10 % COLUMNS]);
        }
        ok(velta_close(life.db, &error), &error);
    }
}

/* ---- below the store, by a checker of its own */

static void violate(uint64_t seed, const char *text, uint32_t node) {
    violations++;
    fail_msg("seed %" PRIu64 ": node %u %s", seed, node, text);
}

static void check_list(const struct hnsw *index, uint64_t seed, uint32_t node, unsigned level) {
    struct hnsw_links links;
    hnsw_read_links(index, node, level, &links);
    if (links.count > (level == 0 ? 2 : 1) * index->options.m) violate(seed, "has too many links", node);
    for (uint32_t i = 0; i < links.count; i++) {
        uint32_t to = links.ids[i];
        if (to >= index->node_count || !(index->flags[to] & HNSW_NODE_LINKED))
            violate(seed, "has a dangling link", node);
        if (to == node) violate(seed, "has a link to itself", node);
        for (uint32_t j = 0; j < i; j++)
            if (links.ids[j] == to) violate(seed, "has a link twice", node);
        if (level > 0 && hnsw_find_upper(index, to)->level < level) violate(seed, "links above a level", node);
    }
}

/* Nodes with a row that a walk over level 0 reaches from the entry, and those that there are. */
static void walk(const struct hnsw *index, uint32_t *reached, uint32_t *wanted) {
    bool *seen = calloc(index->node_count + 1, sizeof *seen);
    uint32_t *stack = malloc((index->node_count + 1) * sizeof *stack), height = 0;
    assert_true(seen && stack);
    *reached = *wanted = 0;
    if (index->entry != HNSW_NO_NODE) {
        stack[height++] = index->entry;
        seen[index->entry] = true;
    }
    while (height > 0) {
        struct hnsw_links links;
        uint32_t node = stack[--height];
        *reached += index->row_of_node[node] != VELTA_NO_ROW;
        hnsw_read_links(index, node, 0, &links);
        for (uint32_t i = 0; i < links.count; i++)
            if (!seen[links.ids[i]]) {
                seen[links.ids[i]] = true;
                stack[height++] = links.ids[i];
            }
    }
    for (uint32_t node = 0; node < index->node_count; node++)
        *wanted += (index->flags[node] & HNSW_NODE_LINKED) && index->row_of_node[node] != VELTA_NO_ROW;
    free(seen);
    free(stack);
}

static void check_graph(const struct fixture *f, const bool *there, uint64_t seed) {
    struct hnsw *index = f->index;
    uint32_t reached, wanted;
    struct velta_error error;
    checks++;
    if (hnsw_check(index, &error) != VELTA_OK) {
        violations++;
        fail_msg("seed %" PRIu64 ": %s", seed, error.text);
    }
    for (uint32_t node = 0; node < index->node_count; node++) {
        uint32_t row = index->row_of_node[node];
        bool removed = index->flags[node] & HNSW_NODE_REMOVED;
        if (row != VELTA_NO_ROW && !there[row]) violate(seed, "keeps a row that is gone", node);
        if (removed && row != VELTA_NO_ROW) violate(seed, "is a tombstone with a row", node);
        if (!(index->flags[node] & HNSW_NODE_LINKED)) continue;
        const struct hnsw_upper *upper = hnsw_find_upper(index, node);
        for (unsigned level = 0; level <= (upper ? upper->level : 0U); level++)
            check_list(index, seed, node, level);
    }
    for (uint32_t row = 0; row < f->row_count; row++)
        if (there[row] != hnsw_contains(index, row)) violate(seed, "is not that of a living row", row);
    walk(index, &reached, &wanted);
    /* A small share may have changed since the last walk of hnsw_reconnect; then a few may wait to be hooked in. */
    uint32_t room = index->unwalked_count > 0 ? wanted / 50 + 1 : 0;
    if (reached + room < wanted) violate(seed, "and others cannot be reached", wanted - reached);
}

static void live_below(uint64_t seed) {
    static bool there[MOST];
    struct random random = random_seeded(seed);
    struct fixture_options options = {.dimensions = DIMENSIONS,
                                      .metric = (enum velta_metric)(seed % 3),
                                      .element = (enum velta_element)(seed / 3 % 3),
                                      .m = 4 + (uint32_t)random_below(&random, 10),
                                      .ef_construction = 4 + (uint32_t)random_below(&random, 60)};
    struct fixture f;
    float vector[DIMENSIONS];
    fixture_open(&f, &options);
    memset(there, 0, sizeof there);
    for (unsigned step = 0; step < 150; step++) {
        uint64_t what = random_below(&random, 10), times = 1 + random_below(&random, 60);
        if (what > 6) fixture_link(&f, random_chance(&random, 30) ? UINT64_MAX : times, 1 + (unsigned)(step % 3));
        for (uint64_t i = 0; i < times && what <= 6; i++) {
            uint32_t row = f.row_count > 0 ? (uint32_t)random_below(&random, f.row_count) : 0;
            random_vector(&random, vector, DIMENSIONS);
            if (what < 3 && f.row_count < MOST) {
                there[f.row_count] = true;
                fixture_add(&f, vector);
            } else if (what >= 3 && f.row_count > 0 && there[row] && what < 5) {
                hnsw_remove(f.index, row);
                there[row] = false;
            } else if (what >= 5 && f.row_count > 0 && there[row]) {
                fixture_set(&f, row, vector);
            }
        }
        check_graph(&f, there, seed);
    }
    fixture_link(&f, UINT64_MAX, 2);
    check_graph(&f, there, seed);
    assert_int_equal(f.index->removed_count, 0);
    fixture_close(&f);
}

static void lives_of_an_index(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= test_rounds(GRAPHS); seed++)
        live_below(seed);
}

/* ---- damage is seen */

/* One fault in a sound graph; false: it cannot be put there. */
static bool damage(struct hnsw *index, uint32_t node, unsigned kind, struct random *random) {
    struct hnsw_links links;
    hnsw_read_links(index, node, 0, &links);
    if (links.count < 2) return false;
    uint32_t at = (uint32_t)random_below(random, links.count);
    uint32_t other = (uint32_t)random_below(random, index->node_count);
    switch (kind) {
    case 0: /* beyond the last node */
        links.ids[at] = index->node_count + other;
        break;
    case 1: /* to itself */
        links.ids[at] = node;
        break;
    case 2: /* twice */
        links.ids[at] = links.ids[(at + 1) % links.count];
        break;
    case 3: /* more than fit; only the count is wrong */
        hnsw_block(index, node)[index->links_offset] = (uint8_t)(2 * index->options.m + 1);
        return true;
    case 4: /* to a node that is not in the graph */
        index->flags[links.ids[at]] &= (uint8_t)~HNSW_NODE_LINKED;
        return true;
    case 5: /* a tombstone with a row, which nobody would find */
        index->flags[node] |= HNSW_NODE_REMOVED;
        return true;
    case 6: /* the row of another */
        if (other == node) return false;
        index->row_of_node[node] = index->row_of_node[other];
        return true;
    case 7: /* codes of another vector */
        hnsw_block(index, node)[random_below(random, DIMENSIONS)] ^= 1;
        return true;
    default: /* nobody leads to it */
        if (node == index->entry) return false;
        for (uint32_t from = 0; from < index->node_count; from++) {
            struct hnsw_links list;
            uint32_t left = 0;
            hnsw_read_links(index, from, 0, &list);
            for (uint32_t i = 0; i < list.count; i++)
                if (list.ids[i] != node) list.ids[left++] = list.ids[i];
            hnsw_write_links(index, from, 0, list.ids, left);
        }
        return true;
    }
    hnsw_write_links(index, node, 0, links.ids, links.count);
    return true;
}

static void damage_is_seen(void **state) {
    (void)state;
    struct random random = random_seeded(9);
    struct fixture_options options = {.dimensions = DIMENSIONS, .m = 6, .ef_construction = 20};
    struct fixture f;
    float vector[DIMENSIONS];
    fixture_open(&f, &options);
    for (unsigned i = 0; i < 200; i++) {
        random_vector(&random, vector, DIMENSIONS);
        fixture_add(&f, vector);
    }
    fixture_link(&f, UINT64_MAX, 1);
    fixture_check(&f);
    size_t blocks = (size_t)f.index->node_count * f.index->block_bytes;
    uint8_t *whole = malloc(blocks), flags[256];
    uint32_t rows[256];
    assert_true(whole && f.index->node_count <= 256);
    for (uint32_t node = 0; node < f.index->node_count; node++)
        memcpy(whole + (size_t)node * f.index->block_bytes, hnsw_block(f.index, node), f.index->block_bytes);
    memcpy(flags, f.index->flags, f.index->node_count);
    memcpy(rows, f.index->row_of_node, f.index->node_count * sizeof *rows);
    for (unsigned i = 0; i < DAMAGES; i++) {
        uint32_t node = (uint32_t)random_below(&random, f.index->node_count);
        if (damage(f.index, node, i % 9, &random) && hnsw_check(f.index, NULL) != VELTA_CORRUPT)
            fail_msg("damage of kind %u at node %u is not seen", i % 9, node);
        for (uint32_t n = 0; n < f.index->node_count; n++)
            memcpy(hnsw_block(f.index, n), whole + (size_t)n * f.index->block_bytes, f.index->block_bytes);
        memcpy(f.index->flags, flags, f.index->node_count);
        memcpy(f.index->row_of_node, rows, f.index->node_count * sizeof *rows);
    }
    fixture_check(&f);
    free(whole);
    fixture_close(&f);
}

static int print_figures(void **state) {
    (void)state;
    print_message("figure: hnsw_checks %" PRIu64 "\nfigure: hnsw_violations %" PRIu64 "\n", checks, violations);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_through_the_store),
        cmocka_unit_test(lives_of_an_index),
        cmocka_unit_test(damage_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, print_figures);
}
