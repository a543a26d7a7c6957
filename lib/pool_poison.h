/* SPDX-License-Identifier: MIT */
/*
 * pool_poison: tell the tools that watch memory which bytes may be touched.
 *
 *     weir__poison(block->data, bytes);            // nobody may touch them
 *     weir__unpoison(block->data, bytes);          // somebody may; their content is undefined
 *     if (weir__is_watched())                      // somebody looks: see every call
 *         ...
 *
 * AddressSanitizer where the library is built with it; Valgrind's memcheck where its header was
 * found, which needs nothing when the program runs and costs a few instructions that do nothing
 * outside of Valgrind.
 */
#ifndef WEIR_POOL_POISON_H
#define WEIR_POOL_POISON_H

#include <stdbool.h>
#include <stddef.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define WEIR__ASAN 1
#include <sanitizer/asan_interface.h>
#else
#define WEIR__ASAN 0
#endif

#if !WEIR__ASAN && defined(HAVE_VALGRIND_MEMCHECK_H)
#define WEIR__VALGRIND 1
#include <valgrind/memcheck.h>
#else
#define WEIR__VALGRIND 0
#endif

static inline void weir__poison(const volatile void *address, size_t bytes)
{
#if WEIR__ASAN
    ASAN_POISON_MEMORY_REGION(address, bytes);
#elif WEIR__VALGRIND
    VALGRIND_MAKE_MEM_NOACCESS(address, bytes);
#else
    (void)address;
    (void)bytes;
#endif
}

static inline void weir__unpoison(const volatile void *address, size_t bytes)
{
#if WEIR__ASAN
    ASAN_UNPOISON_MEMORY_REGION(address, bytes);
#elif WEIR__VALGRIND
    VALGRIND_MAKE_MEM_UNDEFINED(address, bytes);
#else
    (void)address;
    (void)bytes;
#endif
}

/* Whether somebody needs to be told of every block that is taken and dropped. */
static inline bool weir__is_watched(void)
{
#if WEIR__ASAN
    return true;
#elif WEIR__VALGRIND
    /* Only memcheck answers this one: other tools of Valgrind measure what really happens. */
    char probe = 0;
    return VALGRIND_MAKE_MEM_DEFINED(&probe, sizeof probe) != 0;
#else
    return false;
#endif
}

#endif /* WEIR_POOL_POISON_H */
