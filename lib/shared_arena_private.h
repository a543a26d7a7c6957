/* SPDX-License-Identifier: MIT */
/*
 * shared_arena_private: the steps of taking bytes out of a shard, apart, so that a test can put
 * those of several threads in any order. What they mean stands at the top of shared_arena.c.
 *
 * Relaxed throughout: a counter gives out ranges of bytes and publishes nothing. That no two ranges
 * overlap follows from the order of changes to this one variable.
 */
#ifndef WEIR_SHARED_ARENA_PRIVATE_H
#define WEIR_SHARED_ARENA_PRIVATE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>

/* First: a full shard is not to be written by everybody who comes by. */
static inline bool weir__shard_fits(const uint64_t *used_bytes, size_t shard_bytes,
                                    size_t size_bytes)
{
    uint64_t used = __atomic_load_n(used_bytes, __ATOMIC_RELAXED);
    return used <= shard_bytes && size_bytes <= shard_bytes - used;
}

/* Then: add, and go on with what was there before. */
static inline uint64_t weir__shard_add(uint64_t *used_bytes, size_t size_bytes)
{
    return __atomic_fetch_add(used_bytes, size_bytes, __ATOMIC_RELAXED);
}

/* Last: 0, the bytes from @found on are the caller's; or -ENOBUFS. */
static inline int weir__shard_settle(uint64_t *used_bytes, uint64_t found, size_t shard_bytes,
                                     size_t size_bytes)
{
    if (WEIR_UNLIKELY(found > shard_bytes))
        return -ENOBUFS; /* who closed it opens it */
    if (WEIR_UNLIKELY(size_bytes > shard_bytes - found)) {
        __atomic_store_n(used_bytes, found, __ATOMIC_RELAXED);
        return -ENOBUFS;
    }
    return 0;
}

#endif /* WEIR_SHARED_ARENA_PRIVATE_H */
