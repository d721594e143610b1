/*
 * The strings of one column: code -> bytes, and (when interning) bytes -> code by a hash table.
 *
 * Codes count from 0 in order of first arrival, so replaying the same changes gives the same codes. Entries are never
 * changed and never move; unused ones are dropped by vacuum (which makes a new dictionary).
 *
 * Limits: DICTIONARY_MAX_ENTRIES entries, so that codes fit signed 32-bit columns. Hashes are not seeded: whoever may
 * choose a column's strings freely can make them collide and adding slow.
 */
#ifndef VELTA_CORE_DICTIONARY_H
#define VELTA_CORE_DICTIONARY_H

#include "core/memory.h"

struct dictionary;
#define DICTIONARY_NO_CODE UINT32_MAX
#define DICTIONARY_MAX_ENTRIES UINT32_C(0x7FFFFFFF)

/* interning false (bytes columns): every add makes a new entry and find is not available. */
VELTA_MUST_USE enum velta_status dictionary_create(struct memory *memory, bool interning, struct dictionary **out,
                                                   struct velta_error *error);
void dictionary_destroy(struct dictionary *dictionary);
/* Finds or adds; at most VELTA_MAX_VALUE_BYTES. On refusal nothing changed. */
VELTA_MUST_USE enum velta_status dictionary_add(struct dictionary *dictionary, const void *bytes, size_t size_bytes,
                                                uint32_t *code, struct velta_error *error);
/* Drops entries entry_count.. (undo of adds by a batch that failed later). */
void dictionary_truncate(struct dictionary *dictionary, uint32_t entry_count);
uint32_t dictionary_find(const struct dictionary *dictionary, const void *bytes, size_t size_bytes); /* or NO_CODE */
uint32_t dictionary_count(const struct dictionary *dictionary);
/* Never NULL, also for the empty string. The pointer stays until the entry is dropped. */
const void *dictionary_get(const struct dictionary *dictionary, uint32_t code, size_t *size_bytes);
uint64_t dictionary_memory_bytes(const struct dictionary *dictionary);

#endif
