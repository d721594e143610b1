/*
 * The filter language against SQLite's library: random tables, random expressions, the same rows.
 *
 * Every expression is written twice, as filter text and as SQL. Values reach SQLite as bound parameters, so that only
 * the meaning of the expression is compared, not SQLite's reading of numbers. All ways to run a filter are compared:
 * bitmap, count, row numbers (with too little room as well), and one row at a time; with every kernel set of this
 * machine. Besides, every operator meets every edge value (NULL, -0, infinities, 2^53 + 1, empty and long texts) as a
 * constant, over a table of all of them and NaN.
 *
 * Bounds of blocks of rows (core/filter_bounds.h), exact, widened or not known, never rule out a block with a row that
 * SQLite finds.
 *
 * SQLite stores NaN as NULL, so NaN needs a rule: a NaN row has a mark in a column of its own, and a comparison of a
 * float column becomes CASE WHEN marked THEN <what IEEE 754 says> ELSE comparison END, where the middle is FALSE for
 * all but != (TRUE), or NULL where the other side is NULL.
 */
#include "tests/property/filter_values.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/filter_bounds.h"

enum { MAX_ROWS = 70000, MAX_VALUES = 4096, TEXT_ROOM = 1 << 20 };

enum { INTEGER, SMALL, FLOAT, FLAG, NAME, TIME, BLOB, LATE, COLUMNS };
static const char *const column_names[COLUMNS] = {"i", "small", "f", "flag", "name", "at", "blob", "late"};

/* One expression in both languages, with the values of the SQL. */
struct pair {
    struct random *random;
    char *filter;
    size_t filter_bytes;
    char *sql;
    size_t sql_bytes;
    struct bound {
        char kind; /* 'i', 'f', 't', 'b', 'n' */
        int64_t integer;
        double real;
        const char *text;
        int text_bytes;
    } bound[MAX_VALUES];
    int bound_count;
    /* Where every operator meets every edge: constants are edges[0], edges[1], edges[0] ..; operators are `sign`. */
    bool planned;
    size_t edges[2];
    size_t edges_put;
    size_t sign;
};

static uint64_t queries, differences, blocks, blocks_ruled_out;

struct world {
    struct random *random;
    struct memory *memory;
    struct table *table;
    sqlite3 *sqlite;
    uint32_t rows;
    bool *nan;  /* per row: f is NaN */
    bool edges; /* rows hold edge values, one after another */
};

/* ---- writing the pair */

static void put(char *out, size_t *bytes, const char *text, size_t text_bytes) {
    assert_true(*bytes + text_bytes < TEXT_ROOM);
    memcpy(out + *bytes, text, text_bytes);
    *bytes += text_bytes;
    out[*bytes] = '\0';
}
static void put_filter(struct pair *pair, const char *text) {
    put(pair->filter, &pair->filter_bytes, text, strlen(text));
}
static void put_sql(struct pair *pair, const char *text) {
    put(pair->sql, &pair->sql_bytes, text, strlen(text));
}
static void put_both(struct pair *pair, const char *text) {
    put_filter(pair, text);
    put_sql(pair, text);
}
/* Keywords in any case. */
static void put_word(struct pair *pair, const char *word) {
    char changed[64];
    size_t i = 0;
    for (; word[i]; i++) {
        bool lower = random_chance(pair->random, 30) && word[i] >= 'A' && word[i] <= 'Z';
        changed[i] = (char)(lower ? word[i] + 0x20 : word[i]);
    }
    changed[i] = '\0';
    put_filter(pair, changed);
}

static void bind_new(struct pair *pair, struct bound bound) {
    char name[16];
    assert_true(pair->bound_count < MAX_VALUES);
    pair->bound[pair->bound_count++] = bound;
    snprintf(name, sizeof name, "?%d", pair->bound_count);
    put_sql(pair, name);
}

static void put_integer(struct pair *pair, int64_t integer) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)integer);
    put_filter(pair, text);
    bind_new(pair, (struct bound){.kind = 'i', .integer = integer});
}

static void put_float(struct pair *pair, double real) {
    char text[64];
    snprintf(text, sizeof text, "%.17g", real);
    if (isinf(real))
        snprintf(text, sizeof text, "%s1e999", real < 0 ? "-" : "");
    else if (!strpbrk(text, ".e"))
        strcat(text, random_chance(pair->random, 50) ? ".0" : "e0");
    put_filter(pair, text);
    bind_new(pair, (struct bound){.kind = 'f', .real = real});
}

static void put_text(struct pair *pair, const char *text, size_t text_bytes) {
    put_filter(pair, "'");
    for (size_t i = 0; i < text_bytes; i++) {
        put(pair->filter, &pair->filter_bytes, text + i, 1);
        if (text[i] == '\'') put_filter(pair, "'");
    }
    put_filter(pair, "'");
    bind_new(pair, (struct bound){.kind = 't', .text = text, .text_bytes = (int)text_bytes});
}

static void put_blob(struct pair *pair, const char *bytes, size_t size_bytes) {
    put_filter(pair, "x'");
    for (size_t i = 0; i < size_bytes; i++) {
        char digits[3];
        snprintf(digits, sizeof digits, i % 2 ? "%02x" : "%02X", (unsigned char)bytes[i]);
        put_filter(pair, digits);
    }
    put_filter(pair, "'");
    bind_new(pair, (struct bound){.kind = 'b', .text = bytes, .text_bytes = (int)size_bytes});
}

#define EDGES(array) (sizeof(array) / sizeof((array)[0]))

/* How many constants there are for a column; the first is NULL. */
static size_t edge_count(int column) {
    switch (column) {
    case FLAG:
        return 3;
    case NAME:
    case BLOB:
        return EDGES(edge_texts) + 2;
    default:
        return 1 + EDGES(edge_integers) + EDGES(edge_floats);
    }
}

static const char *edge_text(size_t i) {
    return i < EDGES(edge_texts) ? edge_texts[i] : long_text();
}

static bool put_edge(struct pair *pair, int column, size_t i) {
    if (i-- == 0) {
        put_word(pair, "NULL");
        bind_new(pair, (struct bound){.kind = 'n'});
        return true;
    }
    if (column == FLAG) {
        put_word(pair, i ? "TRUE" : "FALSE");
        bind_new(pair, (struct bound){.kind = 'i', .integer = (int64_t)i});
    } else if (column == NAME) {
        put_text(pair, edge_text(i), strlen(edge_text(i)));
    } else if (column == BLOB) {
        size_t length = strlen(edge_text(i));
        put_blob(pair, edge_text(i), length < 8 ? length : 8);
    } else if (i < EDGES(edge_integers)) {
        put_integer(pair, edge_integers[i]);
    } else {
        put_float(pair, edge_floats[i - EDGES(edge_integers)]);
    }
    return false;
}

/* A value of the column's type; true: it was NULL. */
static bool put_value(struct pair *pair, int column) {
    struct random *random = pair->random;
    if (pair->planned) return put_edge(pair, column, pair->edges[pair->edges_put++ % 2]);
    if (random_chance(random, 4)) {
        put_word(pair, "NULL");
        bind_new(pair, (struct bound){.kind = 'n'});
        return true;
    }
    switch (column) {
    case FLAG: {
        bool flag = random_chance(random, 50);
        put_word(pair, flag ? "TRUE" : "FALSE");
        bind_new(pair, (struct bound){.kind = 'i', .integer = flag});
        break;
    }
    case NAME: {
        const char *text = some_text(random);
        put_text(pair, text, strlen(text));
        break;
    }
    case BLOB: {
        const char *text = some_text(random);
        size_t length = strlen(text);
        put_blob(pair, text, length < 8 ? length : 8);
        break;
    }
    case TIME:
        if (random_chance(random, 40)) {
            size_t i = EDGE(edge_times);
            put_filter(pair, "'");
            put_filter(pair, edge_times[i].text);
            put_filter(pair, "'");
            bind_new(pair, (struct bound){.kind = 'i', .integer = edge_times[i].time_ms});
            break;
        } /* fallthrough */
    default:
        if (random_chance(random, column == FLOAT ? 70 : 30))
            put_float(pair, some_float(random));
        else
            put_integer(pair, some_integer(random));
        break;
    }
    return false;
}

static void put_column(struct pair *pair, int column) {
    const char *quote = random_chance(pair->random, 20) ? "\"" : "";
    put_filter(pair, quote);
    put_filter(pair, column_names[column]);
    put_filter(pair, quote);
    put_sql(pair, column_names[column]);
}

/* ---- predicates */

/* Opens and closes what NaN means around the SQL of a predicate on f; `verdict` is its value for a NaN row. */
static void sql_open(struct pair *pair, int column, size_t *start) {
    *start = pair->sql_bytes;
    if (column == FLOAT) put_sql(pair, "CASE WHEN nan THEN ? ELSE "); /* the mark is set by sql_close */
}
static void sql_close(struct pair *pair, int column, size_t start, const char *verdict) {
    if (column != FLOAT) return;
    put_sql(pair, " END");
    char *mark = strchr(pair->sql + start, '?');
    *mark = *verdict;
}

/* NULL in SQL is written as a letter too: N is a column of NULLs. */
static const char *verdict_of(bool null, bool met) {
    return null ? "N" : met ? "1" : "0";
}

static void put_comparison(struct pair *pair, int column) {
    static const char *const signs[] = {"=", "!=", "<>", "<", "<=", ">", ">="};
    static const char *const turned[] = {"=", "!=", "<>", ">", ">=", "<", "<="};
    size_t sign = pair->planned ? pair->sign : (size_t)random_below(pair->random, 7), start;
    bool null;
    sql_open(pair, column, &start);
    if (random_chance(pair->random, 20)) {
        null = put_value(pair, column);
        put_both(pair, random_chance(pair->random, 50) ? " " : "  ");
        put_both(pair, turned[sign]);
        put_both(pair, " ");
        put_column(pair, column);
    } else {
        put_column(pair, column);
        put_both(pair, signs[sign]);
        null = put_value(pair, column);
    }
    sql_close(pair, column, start, verdict_of(null, sign == 1 || sign == 2));
}

static void put_between(struct pair *pair, int column) {
    bool negated = random_chance(pair->random, 40);
    size_t start;
    sql_open(pair, column, &start);
    put_column(pair, column);
    put_word(pair, negated ? " NOT BETWEEN " : " BETWEEN ");
    put_sql(pair, negated ? " NOT BETWEEN " : " BETWEEN ");
    bool low_null = put_value(pair, column);
    put_word(pair, " AND ");
    put_sql(pair, " AND ");
    bool high_null = put_value(pair, column);
    sql_close(pair, column, start, verdict_of(low_null && high_null, negated));
}

static void put_in(struct pair *pair, int column) {
    bool negated = random_chance(pair->random, 40), null = false;
    uint64_t count = random_below(pair->random, !pair->planned && random_chance(pair->random, 10) ? 200 : 6);
    size_t start;
    bool dense = !pair->planned && random_chance(pair->random, 50) && (column == INTEGER || column == SMALL);
    sql_open(pair, column, &start);
    put_column(pair, column);
    put_word(pair, negated ? " NOT IN " : " IN ");
    put_sql(pair, negated ? " NOT IN " : " IN ");
    put_both(pair, "(");
    for (uint64_t i = 0; i < count; i++) {
        if (i > 0) put_both(pair, ",");
        if (dense)
            put_integer(pair, random_between(pair->random, -300, 300));
        else
            null |= put_value(pair, column);
    }
    put_both(pair, ")");
    sql_close(pair, column, start, verdict_of(null, negated));
}

static void put_is_null(struct pair *pair, int column) {
    bool negated = random_chance(pair->random, 50);
    size_t start;
    sql_open(pair, column, &start);
    put_column(pair, column);
    put_word(pair, negated ? " IS NOT NULL" : " IS NULL");
    put_sql(pair, negated ? " IS NOT NULL" : " IS NULL");
    sql_close(pair, column, start, verdict_of(false, negated));
}

/* A pattern: a text with wildcards put in. */
static const char *some_pattern(struct random *random, size_t *pattern_bytes) {
    static char patterns[64][6000];
    static unsigned next;
    char *out = patterns[next++ % 64];
    const char *text = some_text(random);
    size_t length = strlen(text), count = 0;
    if (length > 40) length = 40;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--;
    for (size_t i = 0; i < length;) {
        size_t step = 1;
        while (i + step < length && ((unsigned char)text[i + step] & 0xC0) == 0x80)
            step++;
        uint64_t choice = random_below(random, 8);
        if (choice == 0) out[count++] = '%';
        if (choice == 1)
            out[count++] = '_';
        else if (choice != 2)
            for (size_t j = 0; j < step; j++)
                out[count++] = text[i + j];
        i += step;
    }
    if (random_chance(random, 40)) out[count++] = '%';
    *pattern_bytes = count;
    return out;
}

static void put_like(struct pair *pair) {
    bool negated = random_chance(pair->random, 40);
    size_t pattern_bytes;
    const char *pattern = some_pattern(pair->random, &pattern_bytes);
    if (pair->planned) {
        pattern = edge_text(pair->edges[0]);
        pattern_bytes = strlen(pattern);
    }
    put_column(pair, NAME);
    put_word(pair, negated ? " NOT LIKE " : " LIKE ");
    put_sql(pair, negated ? " NOT LIKE " : " LIKE ");
    put_text(pair, pattern, pattern_bytes);
    /* an escape that ends the pattern is an error here and no match there: not compared */
    static const char *const escapes[] = {"\\", "b", "%", "_", "\xC3\xA9"};
    const char *escape = escapes[random_below(pair->random, 5)];
    size_t escape_bytes = strlen(escape);
    bool ends =
        pattern_bytes >= escape_bytes && memcmp(pattern + pattern_bytes - escape_bytes, escape, escape_bytes) == 0;
    if (random_chance(pair->random, 30) && !ends) {
        put_word(pair, " ESCAPE ");
        put_sql(pair, " ESCAPE ");
        put_text(pair, escape, escape_bytes);
    }
}

static void put_affix(struct pair *pair, int column) {
    static const char *const words[] = {"STARTS WITH", "ENDS  WITH", "CONTAINS"};
    /* %1$s: column, %2$d: parameter */
    static const char *const sql[] = {
        "substr(%1$s, 1, length(?%2$d)) = ?%2$d",
        "length(%1$s) >= length(?%2$d) AND substr(%1$s, -length(?%2$d)) = ?%2$d",
        "instr(%1$s, ?%2$d) > 0",
    };
    /* SQLite's substr and instr give NULL for an empty blob */
    static const char *const frame[] = {
        "(CASE WHEN %1$s IS NULL OR ?%2$d IS NULL THEN NULL WHEN length(?%2$d) = 0 THEN 1 "
        "WHEN length(%1$s) = 0 THEN 0 ELSE ",
        " END)",
    };
    size_t which = pair->planned ? pair->sign % 3 : (size_t)random_below(pair->random, 3);
    bool negated = random_chance(pair->random, 40);
    put_filter(pair, column_names[column]);
    put_word(pair, negated ? " NOT " : " ");
    put_word(pair, words[which]);
    put_filter(pair, " ");
    size_t sql_bytes = pair->sql_bytes;
    put_value(pair, column); /* binds; its place in the SQL is written over */
    pair->sql_bytes = sql_bytes;
    const char *parts[] = {frame[0], sql[which], frame[1]};
    if (negated) put_sql(pair, "NOT ");
    for (size_t i = 0; i < 3; i++) {
        char text[400];
        snprintf(text, sizeof text, parts[i], column_names[column], pair->bound_count);
        put_sql(pair, text);
    }
}

static void put_predicate(struct pair *pair) {
    int column = (int)random_below(pair->random, COLUMNS);
    if (random_chance(pair->random, 3)) {
        static const char *const words[] = {"TRUE", "FALSE", "NULL"};
        const char *word = words[random_below(pair->random, 3)];
        put_word(pair, word);
        put_sql(pair, word);
        return;
    }
    if (column == FLAG && random_chance(pair->random, 50)) {
        put_both(pair, "flag");
        return;
    }
    switch (random_below(pair->random, 6)) {
    case 0:
    case 1:
        put_comparison(pair, column);
        break;
    case 2:
        put_between(pair, column);
        break;
    case 3:
        put_in(pair, column);
        break;
    case 4:
        put_is_null(pair, column);
        break;
    default:
        if (column == BLOB)
            put_affix(pair, BLOB);
        else if (random_chance(pair->random, 60))
            put_like(pair);
        else
            put_affix(pair, NAME);
        break;
    }
}

static void put_expression(struct pair *pair, unsigned depth) {
    if (random_chance(pair->random, 15)) {
        put_word(pair, "NOT ");
        put_sql(pair, "NOT ");
    }
    if (depth == 0 || random_chance(pair->random, 40)) {
        /* NOT binds more loosely than a comparison in both languages, but SQL has it as an operator too */
        put_sql(pair, "(");
        put_predicate(pair);
        put_sql(pair, ")");
        return;
    }
    bool all = random_chance(pair->random, 50);
    put_both(pair, "(");
    for (uint64_t i = 0, count = 2 + random_below(pair->random, 3); i < count; i++) {
        if (i > 0) {
            put_word(pair, all ? " AND " : " OR ");
            put_sql(pair, all ? " AND " : " OR ");
        }
        put_expression(pair, depth - 1);
    }
    put_both(pair, ")");
}

/* ---- the two tables */

static void sqlite_run(sqlite3 *sqlite, const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(sqlite, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("SQLite: %s in %s", message, sql);
}

struct batch {
    uint64_t *valid[COLUMNS];
    void *data[COLUMNS];
    uint64_t *offsets[COLUMNS];
};

static void fill_text(struct batch *batch, int column, uint32_t row, const char *text, size_t most_bytes) {
    size_t length = strlen(text), start = batch->offsets[column][row];
    if (length > most_bytes) length = most_bytes;
    if (column == BLOB && length > 8) length = 8;
    memcpy((char *)batch->data[column] + start, text, length);
    batch->offsets[column][row + 1] = start + length;
}

/* The edges of a column's type in turn, NaN after them. */
static void fill_edge(struct world *world, struct batch *batch, int column, uint32_t row) {
    size_t at = row - row / 9;
    switch (column) {
    case FLOAT:
        at %= EDGES(edge_floats) + 1;
        world->nan[row] = at == EDGES(edge_floats);
        ((double *)batch->data[FLOAT])[row] = world->nan[row] ? (double)NAN : edge_floats[at];
        break;
    case FLAG:
        ((uint8_t *)batch->data[FLAG])[row] = at % 2;
        break;
    case NAME:
    case BLOB:
        fill_text(batch, column, row, edge_text(at % (EDGES(edge_texts) + 1)), SIZE_MAX);
        break;
    default:
        ((int64_t *)batch->data[column])[row] =
            column == SMALL ? (int64_t)at - 9 : edge_integers[at % EDGES(edge_integers)];
        break;
    }
}

static void fill_value(struct world *world, struct batch *batch, int column, uint32_t row, int64_t limit) {
    struct random *random = world->random;
    if (world->edges) {
        fill_edge(world, batch, column, row);
        return;
    }
    switch (column) {
    case FLOAT: {
        double real = some_float(random);
        world->nan[row] = random_chance(random, 5);
        ((double *)batch->data[FLOAT])[row] = world->nan[row] ? (double)NAN : real;
        break;
    }
    case FLAG:
        ((uint8_t *)batch->data[FLAG])[row] = random_chance(random, 50);
        break;
    case NAME:
    case BLOB: {
        const char *text = some_text(random);
        fill_text(batch, column, row, text, world->rows > 1000 && strlen(text) > 100 ? 10 : SIZE_MAX);
        break;
    }
    case SMALL:
        ((int64_t *)batch->data[SMALL])[row] = random_between(random, -limit, limit);
        break;
    default:
        /* now and then a slab of narrow values */
        ((int64_t *)batch->data[column])[row] =
            limit < 100 ? random_between(random, -limit, limit) : some_integer(random);
        break;
    }
}

static void sqlite_insert(struct world *world, const struct batch *batch) {
    sqlite3_stmt *insert;
    assert_int_equal(
        sqlite3_prepare_v2(world->sqlite, "INSERT INTO t VALUES(?,?,?,?,?,?,?,?,?,NULL,1,?)", -1, &insert, NULL), 0);
    sqlite_run(world->sqlite, "BEGIN");
    for (uint32_t row = 0; row < world->rows; row++) {
        sqlite3_bind_int64(insert, 10, row);
        for (int column = 0; column < COLUMNS; column++) {
            int at = column + 1;
            const char *bytes = (const char *)batch->data[column];
            if (!(batch->valid[column][row / 64] >> (row % 64) & 1)) {
                sqlite3_bind_null(insert, at);
                continue;
            }
            if (column == FLOAT) {
                sqlite3_bind_double(insert, at, ((const double *)batch->data[column])[row]);
            } else if (column == FLAG) {
                sqlite3_bind_int(insert, at, ((const uint8_t *)batch->data[column])[row]);
            } else if (column == NAME || column == BLOB) {
                uint64_t start = batch->offsets[column][row];
                int length = (int)(batch->offsets[column][row + 1] - start);
                if (column == NAME)
                    sqlite3_bind_text(insert, at, bytes + start, length, SQLITE_STATIC);
                else
                    sqlite3_bind_blob(insert, at, length ? bytes + start : "", length, SQLITE_STATIC);
            } else {
                sqlite3_bind_int64(insert, at, ((const int64_t *)batch->data[column])[row]);
            }
        }
        bool has_float = batch->valid[FLOAT][row / 64] >> (row % 64) & 1;
        sqlite3_bind_int(insert, 9, has_float && world->nan[row]);
        assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
        sqlite3_reset(insert);
    }
    sqlite_run(world->sqlite, "COMMIT");
    sqlite3_finalize(insert);
}

static void append(struct world *world, const struct batch *batch, uint32_t first, uint32_t count, bool late) {
    struct column_values values[COLUMNS];
    uint64_t *valid[COLUMNS];
    memset(values, 0, sizeof values);
    for (int column = 0; column < (late ? COLUMNS : COLUMNS - 1); column++) {
        size_t element = column == FLAG ? 1 : 8;
        bool has_offsets = column == NAME || column == BLOB;
        valid[column] = calloc(count / 64 + 1, 8);
        for (uint32_t i = 0; i < count; i++)
            if (batch->valid[column][(first + i) / 64] >> ((first + i) % 64) & 1)
                valid[column][i / 64] |= UINT64_C(1) << (i % 64);
        values[column].data = (char *)batch->data[column] + (has_offsets ? 0 : first * element);
        values[column].offsets = has_offsets ? batch->offsets[column] + first : NULL;
        values[column].valid = valid[column];
    }
    struct velta_error error = {VELTA_OK, 0, ""};
    if (table_check_append(world->table, values, count, &error) != VELTA_OK) fail_msg("check: %s", error.text);
    assert_int_equal(table_reserve_append(world->table, values, count, &error), VELTA_OK);
    assert_int_equal(table_apply_append(world->table, values, count), first);
    for (int column = 0; column < (late ? COLUMNS : COLUMNS - 1); column++)
        free(valid[column]);
}

static void delete_some(struct world *world) {
    uint32_t *rows = malloc((world->rows + 1) * sizeof *rows);
    size_t count = 0;
    unsigned percent = world->edges ? 0 : (unsigned)random_below(world->random, 3) * 30;
    for (uint32_t row = 0; row < world->rows; row++)
        if (random_chance(world->random, percent)) rows[count++] = row;
    table_apply_delete(world->table, rows, count);
    sqlite3_stmt *kill;
    assert_int_equal(sqlite3_prepare_v2(world->sqlite, "UPDATE t SET live = 0 WHERE row = ?", -1, &kill, NULL), 0);
    sqlite_run(world->sqlite, "BEGIN");
    for (size_t i = 0; i < count; i++) {
        sqlite3_bind_int64(kill, 1, rows[i]);
        assert_int_equal(sqlite3_step(kill), SQLITE_DONE);
        sqlite3_reset(kill);
    }
    sqlite_run(world->sqlite, "COMMIT");
    sqlite3_finalize(kill);
    free(rows);
}

static void make_world(struct world *world, uint32_t rows, const struct simd_kernels *simd) {
    static const enum velta_type types[COLUMNS] = {VELTA_INT,    VELTA_INT,       VELTA_FLOAT, VELTA_BOOL,
                                                   VELTA_STRING, VELTA_TIMESTAMP, VELTA_BYTES, VELTA_INT};
    struct velta_column specs[COLUMNS];
    struct batch batch;
    struct random *random = world->random;
    int64_t limit = random_chance(random, 50) ? 50 : 200;
    unsigned null_percent = (unsigned)random_below(random, 3) * 10;
    world->rows = rows;
    world->nan = calloc(rows + 1, sizeof *world->nan);
    memset(specs, 0, sizeof specs);
    for (int column = 0; column < COLUMNS; column++) {
        specs[column].name = column_names[column];
        specs[column].type = types[column];
        batch.valid[column] = calloc(rows / 64 + 1, 8);
        batch.data[column] = calloc(rows + 1, rows > 1000 ? 200 : 5008);
        batch.offsets[column] = calloc(rows + 1, 8);
    }
    uint32_t before_late = world->edges ? 0 : (uint32_t)random_below(random, rows + 1);
    for (uint32_t row = 0; row < rows; row++)
        for (int column = 0; column < COLUMNS; column++) {
            bool there = !random_chance(random, null_percent) && (column != LATE || row >= before_late);
            if (world->edges) there = row % 9 != 8 && (column != LATE || row >= before_late);
            batch.valid[column][row / 64] |= (uint64_t)there << (row % 64);
            fill_value(world, &batch, column, row, limit);
        }
    struct velta_error error;
    assert_int_equal(table_create(world->memory, simd, "t", specs, COLUMNS - 1, &world->table, &error), VELTA_OK);
    append(world, &batch, 0, before_late, false);
    assert_int_equal(table_add_column(world->table, &specs[LATE], &error), VELTA_OK);
    append(world, &batch, before_late, rows - before_late, true);
    assert_int_equal(sqlite3_open(":memory:", &world->sqlite), SQLITE_OK);
    sqlite_run(world->sqlite, "PRAGMA case_sensitive_like = ON");
    sqlite_run(world->sqlite,
               "CREATE TABLE t(i INTEGER, small INTEGER, f REAL, flag INTEGER, name TEXT, at INTEGER, "
               "blob BLOB, late INTEGER, nan INTEGER, N INTEGER, live INTEGER, row INTEGER PRIMARY KEY)");
    sqlite_insert(world, &batch);
    delete_some(world);
    for (int column = 0; column < COLUMNS; column++) {
        free(batch.valid[column]);
        free(batch.data[column]);
        free(batch.offsets[column]);
    }
}

static void drop_world(struct world *world) {
    table_destroy(world->table);
    sqlite3_close(world->sqlite);
    free(world->nan);
}

/* ---- comparing */

static bool get_value(void *context, uint32_t row, size_t column, struct column_scalar *value) {
    const struct table *table = context;
    const struct column *source = table->columns[column];
    if (column_is_null(source, row)) return false;
    if (source->spec.type == VELTA_FLOAT)
        value->number = column_float(source, row);
    else if (source->spec.type == VELTA_STRING || source->spec.type == VELTA_BYTES)
        value->text = column_text(source, row, &value->text_bytes);
    else
        value->integer = column_integer(source, row);
    return true;
}

static void sqlite_answer(struct world *world, const struct pair *pair, uint64_t *words) {
    sqlite3_stmt *select;
    if (sqlite3_prepare_v2(world->sqlite, pair->sql, (int)pair->sql_bytes, &select, NULL) != SQLITE_OK)
        fail_msg("SQLite: %s in %s", sqlite3_errmsg(world->sqlite), pair->sql);
    for (int i = 0; i < pair->bound_count; i++) {
        const struct bound *bound = &pair->bound[i];
        switch (bound->kind) {
        case 'i':
            sqlite3_bind_int64(select, i + 1, bound->integer);
            break;
        case 'f':
            sqlite3_bind_double(select, i + 1, bound->real);
            break;
        case 't':
            sqlite3_bind_text(select, i + 1, bound->text, bound->text_bytes, SQLITE_STATIC);
            break;
        case 'b':
            sqlite3_bind_blob(select, i + 1, bound->text_bytes ? bound->text : "", bound->text_bytes, SQLITE_STATIC);
            break;
        default:
            sqlite3_bind_null(select, i + 1);
            break;
        }
    }
    int step;
    while ((step = sqlite3_step(select)) == SQLITE_ROW) {
        uint32_t row = (uint32_t)sqlite3_column_int64(select, 0);
        words[row / 64] |= UINT64_C(1) << (row % 64);
    }
    assert_int_equal(step, SQLITE_DONE);
    sqlite3_finalize(select);
}

/* ---- bounds */

/* Rows first..end as a block; those from `end` on widen the bounds of the block, as cut-off statistics do. */
struct block {
    const struct table *table;
    uint32_t first, end, wide_end;
    bool drops_low, drops_high;
};

static int order_of(enum velta_type type, const struct column_scalar *a, const struct column_scalar *b) {
    if (type == VELTA_FLOAT) return a->number < b->number ? -1 : a->number > b->number;
    if (type != VELTA_STRING && type != VELTA_BYTES) return a->integer < b->integer ? -1 : a->integer > b->integer;
    size_t shared = a->text_bytes < b->text_bytes ? a->text_bytes : b->text_bytes;
    int order = shared == 0 ? 0 : memcmp(a->text, b->text, shared);
    if (order != 0) return order;
    return a->text_bytes < b->text_bytes ? -1 : a->text_bytes > b->text_bytes;
}

static void block_bounds(void *context, uint32_t index, size_t column, struct filter_bounds *bounds) {
    const struct block *block = context;
    enum velta_type type = block->table->columns[column]->spec.type;
    bool any = false;
    assert_int_equal(index, 7);
    bounds->may_be_null = bounds->may_be_there = false;
    for (uint32_t row = block->first; row < block->wide_end; row++) {
        struct column_scalar value = {0, 0.0, NULL, 0};
        bool there = get_value((void *)(uintptr_t)block->table, row, column, &value);
        if (row < block->end && there) bounds->may_be_there = true;
        if (row < block->end && !there) bounds->may_be_null = true;
        if (!there || (type == VELTA_FLOAT && isnan(value.number))) continue;
        if (!any || order_of(type, &value, &bounds->low) < 0) bounds->low = value;
        if (!any || order_of(type, &value, &bounds->high) > 0) bounds->high = value;
        any = true;
    }
    bounds->has_low = any && !block->drops_low;
    bounds->has_high = any && !block->drops_high;
    if (!any && type == VELTA_FLOAT && bounds->may_be_there) { /* of NaN alone: a bound that is NaN says nothing */
        bounds->has_low = bounds->has_high = true;
        bounds->low.number = bounds->high.number = NAN;
    }
}

static void check_blocks(struct world *world, const struct filter *filter, const uint64_t *matching) {
    for (uint32_t first = 0; first < world->rows;) {
        uint32_t left = world->rows - first;
        uint32_t end = first + (uint32_t)random_between(world->random, 1, left < 8 ? left : 8);
        uint32_t wide_end = end + (random_chance(world->random, 25) && end < world->rows);
        struct block block = {
            world->table, first, end, wide_end, random_chance(world->random, 15), random_chance(world->random, 15)};
        bool any = false, may = filter_may_match(filter, 7, block_bounds, &block);
        for (uint32_t row = first; row < end; row++)
            any |= bitmap_get(matching, row);
        if (any && !may) {
            differences++;
            fail_msg("rows %u to %u hold a match and were ruled out", first, end);
        }
        blocks++;
        blocks_ruled_out += !may;
        first = end;
    }
}

static void compare(struct world *world, const struct pair *pair) {
    size_t words = bitmap_words(world->rows);
    uint64_t *expected = calloc(words + 1, 8), *actual = malloc((words + 1) * 8);
    uint32_t *ids = malloc((world->rows + 1) * sizeof *ids);
    struct filter *filter = NULL;
    struct velta_error error = {VELTA_OK, 0, ""};
    uint64_t count, total = 0, at = 0;
    queries++;
    sqlite_answer(world, pair, expected);
    if (filter_compile(world->table, pair->filter, pair->filter_bytes, &filter, &error) != VELTA_OK)
        fail_msg("%s at %llu in %s", error.text, (unsigned long long)error.offset, pair->filter);
    assert_int_equal(filter_evaluate(filter, NULL, actual, &count, &error), VELTA_OK);
    for (uint32_t row = 0; row < world->rows; row++) {
        bool wanted = bitmap_get(expected, row), live = bitmap_get(world->table->live.words, row);
        bool single = live && filter_match_row(filter, row, get_value, world->table);
        if (bitmap_get(actual, row) != wanted || single != wanted) {
            differences++;
            fail_msg("row %u: SQLite %d, bitmap %d, row alone %d (%s)\n%s\n%s", row, wanted, bitmap_get(actual, row),
                     single, world->table->simd->name, pair->filter, pair->sql);
        }
        total += wanted;
    }
    if (world->rows % 64 != 0) assert_true(actual[words - 1] >> (world->rows % 64) == 0);
    assert_true(count == total);
    if (world->rows < 1000) check_blocks(world, filter, actual);
    assert_int_equal(filter_count(filter, NULL, &count, &error), VELTA_OK);
    if (count != total) fail_msg("count %d instead of %d: %s", (int)count, (int)total, pair->filter);
    size_t capacity = (size_t)(total - (total > 0 && random_chance(world->random, 50)));
    assert_int_equal(filter_rows(filter, NULL, ids, capacity, &count, &error), VELTA_OK);
    assert_true(count == total);
    for (uint32_t row = 0; row < world->rows && at < capacity; row++)
        if (bitmap_get(expected, row)) assert_int_equal(ids[at++], row);
    filter_destroy(filter);
    free(expected);
    free(actual);
    free(ids);
}

static void pair_start(struct pair *pair) {
    pair->filter_bytes = pair->sql_bytes = 0;
    pair->bound_count = 0;
    pair->edges_put = 0;
    pair->filter[0] = pair->sql[0] = '\0';
    put_sql(pair, "SELECT row FROM t WHERE live AND (");
}

static void compare_some(struct world *world, struct pair *pair, size_t count) {
    for (size_t i = 0; i < count; i++) {
        pair_start(pair);
        put_expression(pair, (unsigned)random_below(pair->random, 4));
        put_sql(pair, ")");
        if (pair->filter_bytes > 65536)
            i--; /* over the language's limit: another one */
        else
            compare(world, pair);
    }
}

/* One operator, its constants and its column chosen; what it negates, and in what letters it is written, at random. */
static void compare_edges(struct world *world, struct pair *pair, int column, unsigned operator) {
    pair_start(pair);
    pair->sign = operator;
    if (operator<7)
        put_comparison(pair, column);
    else if (operator== 7)
        put_between(pair, column);
    else if (operator== 8)
        put_in(pair, column);
    else if (operator== 9)
        put_is_null(pair, column);
    else if (operator<13)
        put_affix(pair, column);
    else
        put_like(pair);
    put_sql(pair, ")");
    compare(world, pair);
}

static void every_constant(struct world *world, struct pair *pair, int column) {
    bool is_text = column == NAME || column == BLOB;
    unsigned operators = column == NAME ? 14 : is_text ? 13 : 10;
    for (size_t edge = 0; edge < edge_count(column); edge++)
        for (unsigned operator= 0; operator<operators; operator++) {
            bool two = operator== 7 || operator== 8 || operator== 13; /* the second constant, or the escape */
            if (column == FLAG && operator== 7) continue;             /* BETWEEN has no meaning for bool */
            for (unsigned other = 0; other < (two ? 8U : 2U); other++) {
                pair->edges[0] = edge;
                pair->edges[1] = (edge + 1 + other * 5) % edge_count(column);
                compare_edges(world, pair, column, operator);
            }
        }
}

static struct pair *pair_create(struct random *random) {
    struct pair *pair = calloc(1, sizeof *pair);
    assert_non_null(pair);
    pair->random = random;
    pair->filter = malloc(TEXT_ROOM);
    pair->sql = malloc(TEXT_ROOM);
    assert_true(pair->filter && pair->sql);
    return pair;
}

static void pair_free(struct pair *pair) {
    free(pair->filter);
    free(pair->sql);
    free(pair);
}

static void every_operator_meets_every_edge(void **state) {
    (void)state;
    struct random random = random_seeded(3);
    struct world world = {.random = &random, .memory = memory_create(NULL, 0), .edges = true};
    struct pair *pair = pair_create(&random);
    const struct simd_kernels *simd;
    assert_non_null(world.memory);
    pair->planned = true;
    for (unsigned set = 0; (simd = simd_available(set)) != NULL; set++) {
        make_world(&world, 9 * 16, simd);
        for (int column = 0; column < COLUMNS; column++)
            every_constant(&world, pair, column);
        drop_world(&world);
    }
    memory_destroy(world.memory);
    pair_free(pair);
}

static void run(size_t tables, size_t expressions, uint32_t least_rows, uint32_t most_rows, uint64_t seed) {
    struct random random = random_seeded(seed);
    struct world world = {.random = &random, .memory = memory_create(NULL, 0)};
    struct pair *pair = pair_create(&random);
    assert_non_null(world.memory);
    for (size_t i = 0; i < tables; i++) {
        unsigned sets = 0;
        while (simd_available(sets))
            sets++;
        make_world(&world, (uint32_t)random_between(&random, least_rows, most_rows),
                   simd_available((unsigned)i % sets));
        compare_some(&world, pair, expressions);
        drop_world(&world);
    }
    memory_destroy(world.memory);
    pair_free(pair);
}

#if defined(VELTA_TESTING)
enum { SHARE = 5 }; /* the sanitizers are slow */
#else
enum { SHARE = 1 };
#endif

static void small_tables(void **state) {
    (void)state;
    run(test_rounds(400 / SHARE), 250, 0, 70, 1);
}

static void tables_of_several_slabs(void **state) {
    (void)state;
    run(test_rounds(SHARE == 1 ? 4 : 2), 20, 66000, MAX_ROWS, 2);
}

static int print_figures(void **state) {
    (void)state;
    if (blocks > 0 && blocks_ruled_out < blocks / 10) return 1; /* bounds that rule out nothing prove nothing */
    print_message("figure: filter_queries %" PRIu64 "\nfigure: filter_differences %" PRIu64 "\n", queries, differences);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_meets_every_edge),
        cmocka_unit_test(small_tables),
        cmocka_unit_test(tables_of_several_slabs),
    };
    return cmocka_run_group_tests(tests, NULL, print_figures);
}
