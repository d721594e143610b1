/*
 * Which blocks of rows a filter rules out, when of a block only bounds of each column are known: zone maps, as the
 * statistics of row groups and pages in Parquet files are.
 */
#ifndef VELTA_CORE_FILTER_BOUNDS_H
#define VELTA_CORE_FILTER_BOUNDS_H

#include "core/filter.h"

/* What is known of one column in a block. Where nothing is: all four false but the first two. */
struct filter_bounds {
    bool may_be_null;  /* a row of the block may hold NULL */
    bool may_be_there; /* a row may hold a value */
    bool has_low;      /* no value is less than `low`; a NaN is neither less nor greater */
    bool has_high;     /* no value is greater than `high` */
    struct column_scalar low, high;
};
typedef void filter_bounds_function(void *context, uint32_t block, size_t column, struct filter_bounds *bounds);

/* False: no row of the block matches, whatever its rows are within the bounds. True: one may. */
bool filter_may_match(const struct filter *filter, uint32_t block, filter_bounds_function *get, void *context);

#endif
