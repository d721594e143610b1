/*
 * What stands behind snprintf in the WebAssembly modules.
 */
#ifndef VELTA_WASM_PRINT_H
#define VELTA_WASM_PRINT_H

#include <stdarg.h>
#include <stddef.h>

/* vsnprintf for the conversions that wasm/print.c lists. */
int print_format(char *out, size_t capacity, const char *format, va_list given);

#endif
