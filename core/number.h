/* Reading decimal numbers exactly, whatever the locale: integers as int64_t, the rest as the nearest double. */
#ifndef VELTA_CORE_NUMBER_H
#define VELTA_CORE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum number_kind { NUMBER_NONE, NUMBER_INTEGER, NUMBER_FLOAT };

struct number {
    enum number_kind kind;
    size_t size_bytes; /* how much of the text the number is */
    int64_t integer;   /* NUMBER_INTEGER */
    double real;       /* both kinds; of an integer beyond 2^53 the nearest double */
};

/*
 * Reads [+-]digits[.digits][e[+-]digits] (digits may be missing on one side of the point) at the start of the text, the
 * longest that fits. Without point and exponent it is an integer if int64_t holds it, else a float. Rounding is to
 * nearest, ties to even; too large is infinity, too small is zero. NUMBER_NONE: no digit stands there.
 */
struct number number_read(const char *text, size_t size_bytes);

#endif
