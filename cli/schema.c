/* The schema notation of --schema: "name:string:key,size:int,embedding:vector(256, f16, cosine)". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/columns.h"

static const char *skip(const char *at) {
    return at + strspn(at, " \t\r\n");
}

static size_t word(const char *at) {
    return strcspn(at, " \t\r\n:,()");
}

static bool is(const char *at, size_t bytes, const char *wanted) {
    return strlen(wanted) == bytes && memcmp(at, wanted, bytes) == 0;
}

static bool vector_option(const char *at, size_t bytes, struct velta_column *spec) {
    static const struct {
        const char *name;
        int element, metric;
    } words[] = {{"f32", VELTA_F32, -1},       {"f16", VELTA_F16, -1}, {"codes", VELTA_CODES, -1},
                 {"cosine", -1, VELTA_COSINE}, {"l2", -1, VELTA_L2},   {"dot", -1, VELTA_DOT}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (is(at, bytes, words[i].name)) {
            if (words[i].element >= 0) {
                spec->element = (enum velta_element)words[i].element;
            } else {
                spec->metric = (enum velta_metric)words[i].metric;
            }
            return true;
        }
    }
    if (is(at, bytes, "noindex")) {
        spec->no_index = true;
        return true;
    }
    char number[24];
    uint64_t value;
    size_t prefix = bytes > 2 && memcmp(at, "m=", 2) == 0 ? 2 : bytes > 3 && memcmp(at, "ef=", 3) == 0 ? 3 : 0;
    if (prefix == 0 || bytes - prefix >= sizeof number) {
        return false;
    }
    snprintf(number, sizeof number, "%.*s", (int)(bytes - prefix), at + prefix);
    if (!cli_parse_count(number, 4096, &value)) {
        return false;
    }
    *(prefix == 2 ? &spec->m : &spec->ef_construction) = (uint32_t)value;
    return true;
}

/* "(256, f16, cosine)" after "vector". Returns what follows, or NULL. */
static const char *vector_options(const char *at, struct velta_column *spec) {
    char *end;
    at = skip(at);
    if (*at++ != '(') {
        return NULL;
    }
    spec->dimensions = (uint32_t)strtoul(at, &end, 10);
    if (end == at || spec->dimensions == 0 || spec->dimensions > VELTA_MAX_DIMENSIONS) {
        return NULL;
    }
    for (at = skip(end); *at == ','; at = skip(at)) {
        at = skip(at + 1);
        size_t bytes = word(at);
        if (!vector_option(at, bytes, spec)) {
            return NULL;
        }
        at += bytes;
    }
    return *at == ')' ? at + 1 : NULL;
}

static const char *one_type(const char *at, struct velta_column *spec) {
    static const char *const names[] = {NULL, "int", "float", "bool", "string", "timestamp", "bytes", "vector"};
    size_t bytes = word(at);
    for (int type = VELTA_INT; type <= VELTA_VECTOR; type++) {
        if (is(at, bytes, names[type])) {
            spec->type = (enum velta_type)type;
            return type == VELTA_VECTOR ? vector_options(at + bytes, spec) : at + bytes;
        }
    }
    return NULL;
}

/* Stops at the end of the line, which ends a column as a comma does. */
static const char *flags(const char *at, struct velta_column *spec) {
    for (at += strspn(at, " \t\r"); *at == ':'; at += strspn(at, " \t\r")) {
        at = skip(at + 1);
        size_t bytes = word(at);
        if (is(at, bytes, "key")) {
            spec->primary_key = true;
        } else if (is(at, bytes, "required")) {
            spec->required = true;
        } else {
            return NULL;
        }
        at += bytes;
    }
    return at;
}

int columns_parse_schema(struct cli_columns *columns, const char *text) {
    for (const char *at = skip(text); *at;) {
        struct velta_column spec = {0};
        const char *start = at;
        size_t name_bytes = strcspn(at, ":,\n");
        char *name = cli_copy(at, name_bytes);
        spec.name = name;
        at += name_bytes;
        at = name_bytes > 0 && *at == ':' ? one_type(skip(at + 1), &spec) : NULL;
        at = at ? flags(at, &spec) : NULL;
        if (!at || (*at && *at != ',' && *at != '\n')) {
            free(name);
            return cli_fail(CLI_USAGE,
                            "the schema cannot be read at '%.40s'; write name:type, with types int, float, bool, "
                            "string, timestamp, bytes, vector(256, f16, cosine), and :key or :required after them",
                            start);
        }
        columns_add(columns, &spec)->declared = true;
        free(name);
        at = skip(at);
        at = skip(*at == ',' ? at + 1 : at);
    }
    return columns->count > 0 ? CLI_OK : cli_fail(CLI_USAGE, "the schema is empty");
}
