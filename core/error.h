/* Filling in `struct velta_error`. See core/types.h for the codes. */
#ifndef VELTA_CORE_ERROR_H
#define VELTA_CORE_ERROR_H

#include "core/types.h"

/* Fills `error` (may be NULL) and returns `code`, so that a failing function can `return velta_fail(...)`. */
enum velta_status velta_fail(struct velta_error *error, enum velta_status code, uint64_t offset, const char *format,
                             ...) VELTA_PRINTF(4, 5);

#endif
