/* The allocator of the C library and the operating system: what a database uses unless it is given another. */
#ifndef VELTA_CORE_SYSTEM_ALLOCATOR_H
#define VELTA_CORE_SYSTEM_ALLOCATOR_H

#include "core/types.h"

struct velta_allocator system_allocator(void);

#endif
