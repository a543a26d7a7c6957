/* SPDX-License-Identifier: MIT */
/*
 * pool, for the layers above and the tests: what a pool is made of.
 *
 *     pool mapping   struct weir_pool | lookup table | desks of large blocks
 *     segment        header, slab table, block descriptors -->  ...free...  <-- slabs of blocks
 *     large block    a mapping of its own; its descriptor is a desk in the pool mapping or a chunk
 *
 * Within a segment descriptors grow up from the header and slabs are taken from the top down, so
 * neither has a fixed share and no block has bookkeeping beside it. A slab and its descriptors
 * always lie in the same segment.
 */
#ifndef WEIR_POOL_PRIVATE_H
#define WEIR_POOL_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/pool.h>

#define WEIR__CACHE_LINE 64

/* Classes are multiples of this; the lookup table has one entry for each multiple. */
#define WEIR__POOL_GRAIN_SHIFT 6

/* Large blocks in the cache are found by size: four bins for each doubling of the page count. */
#define WEIR__POOL_BINS (64 * 4)

/* One size class. Counters are written by the owner only and read by anybody. */
struct weir__class {
    struct weir_block *free; /* newest first */
    uint64_t allocations;
    uint64_t releases;
    uint64_t remote_releases;
    uint64_t misses;
    struct weir_slab *slabs; /* all of the class; only the first may have blocks never used yet */
    uint32_t block_bytes;
    uint32_t slab_blocks; /* blocks in a slab */
} __attribute__((aligned(WEIR__CACHE_LINE)));

_Static_assert(sizeof(struct weir__class) == WEIR__CACHE_LINE, "classes are indexed by a shift");

struct weir_slab {
    const void *owner; /* the owner thread's mark; NULL for a large block: its drop goes slow */
    struct weir__class *class;
    struct weir_pool *pool;
    uint8_t *base;
    struct weir_block *blocks; /* descriptors, one per block */
    struct weir_slab *next;    /* of the same class */
    uint32_t count;            /* blocks */
    uint32_t carved;           /* of these, the first so many have been handed out before */
    int32_t segment;           /* index of the segment; -1: a large block */
};

_Static_assert(sizeof(struct weir_slab) == 64, "the slab table is counted in the header's size");

/* The header at the start of each segment. */
struct weir__segment {
    struct weir_pool *pool;
    struct weir__segment *older;
    size_t used_bytes;  /* header, slab table and descriptors, from the start */
    uint32_t slab_from; /* slabs from this one up are cut */
    uint32_t slab_count;
    int32_t index; /* 0 for the oldest, without gaps */
    struct weir_slab slabs[] __attribute__((aligned(WEIR__CACHE_LINE)));
};

/* A large block: slab and descriptor in one. */
struct weir__large {
    struct weir_slab slab;
    struct weir_block block;
    size_t mapped_bytes;       /* at least block.size */
    struct weir__large *newer; /* while cached */
    struct weir__large *older; /* while cached; links free desks too */
    struct weir__large *bin_next;
    struct weir__large *bin_prev;
};

/* More room for desks, once the pool mapping is full. */
struct weir__desks {
    struct weir__desks *next;
    struct weir__large desks[];
};

struct weir_pool {
    /* What an allocation reads. */
    const void *owner;
    size_t class_max_bytes;
    uint64_t bytes_in_use;
    uint64_t bytes_in_use_peak;

    /* Dropped by other threads: a stack that the owner takes as a whole. */
    struct weir_block *remote __attribute__((aligned(WEIR__CACHE_LINE)));

    struct weir_source source __attribute__((aligned(WEIR__CACHE_LINE)));
    size_t page_bytes;
    size_t slab_bytes;
    size_t segment_bytes;
    size_t limit_bytes; /* SIZE_MAX: none */
    size_t large_retain_bytes;
    size_t pool_bytes; /* size of this very mapping */

    uint64_t bytes_held;
    uint64_t bytes_held_peak;
    uint64_t source_calls;
    uint64_t large_bytes_in_use;
    uint32_t segment_count;
    uint32_t class_count;
    struct weir__segment *segments; /* newest first */

    struct weir__large *desk_free;
    struct weir__large *desk_next; /* never used yet, up to desk_end */
    struct weir__large *desk_end;
    struct weir__desks *desk_chunks;

    size_t cached_bytes; /* large mappings kept for reuse */
    struct weir__large *cached_newest;
    struct weir__large *cached_oldest;
    struct weir__large *bins[WEIR__POOL_BINS]; /* newest first */

    struct weir__class large;
    struct weir__class classes[WEIR_POOL_CLASSES_MAX];
    uint8_t lookup[]; /* class index for each size in grains, less one */
};

/*
 * The segments, in no particular order: NULL gives the first one, each one gives the next. Whoever
 * registers them looks at pool->segment_count and each one's index. Owner's thread; a segment
 * stays until the pool is destroyed.
 */
static inline const struct weir__segment *weir__pool_segment_next(
    const struct weir_pool *pool, const struct weir__segment *segment)
{
    return segment == NULL ? pool->segments : segment->older;
}

/* The index of the segment that a block lies in, which starts at weir__block_segment_base();
 * -1 for a large block. Any holder's thread. */
static inline int32_t weir__block_segment(const struct weir_block *block)
{
    return block->slab->segment;
}

/* The first byte of the segment that a block lies in; not for large blocks. */
static inline uint8_t *weir__block_segment_base(const struct weir_block *block)
{
    return block->data - ((uintptr_t)block->data & (block->slab->pool->segment_bytes - 1));
}

/*
 * Recount everything and compare: free lists, slabs, segments, cache and counters. An assertion
 * where those are compiled in, and false otherwise, if anything disagrees. Owner's thread; other
 * threads may drop meanwhile. Walks all descriptors.
 */
bool weir__pool_check(const struct weir_pool *pool);

#endif /* WEIR_POOL_PRIVATE_H */
