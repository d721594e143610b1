/* Times as text: ISO 8601 to milliseconds since 1970-01-01 UTC. */
#ifndef VELTA_CORE_TIME_TEXT_H
#define VELTA_CORE_TIME_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The whole text must be YYYY-MM-DD, or that, 'T' or a blank, and HH:MM[:SS[.fraction]], and perhaps a zone: Z, +HH:MM
 * or -HH:MM (none: UTC). Years 0000 to 9999 of the Gregorian calendar. Fractions finer than a millisecond are cut off;
 * seconds are 00 to 59. False: not such a text.
 */
bool time_text_read(const char *text, size_t size_bytes, int64_t *time_ms);

#endif
