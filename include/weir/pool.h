/* SPDX-License-Identifier: MIT */
/**
 * pool: reference-counted blocks of memory in size classes.
 *
 * A pool obtains memory from a source in segments (a power of two in size, aligned to it), cuts
 * them into slabs of one size class, and hands out blocks. A block lives until its last reference
 * is dropped; then it is the pool's again, ready for the next allocation without a system call.
 *
 *     struct weir_pool *pool;
 *     struct weir_block *block;
 *     int rc = weir_pool_create(NULL, &pool);          // defaults
 *     rc = weir_pool_alloc(pool, 1500, &block);        // 4096 bytes at block->data, one reference
 *     fill(block->data, block->size);
 *     weir_block_hold(block);                          // a second holder: the kernel, say
 *     weir_block_drop(block);
 *     weir_block_drop(block);                          // the last one: back to the pool
 *     rc = weir_pool_destroy(pool);                    // -EBUSY while blocks are out
 *
 * Invariants   A block's address and size never change while it has a holder. No bookkeeping lies
 *              inside a block's bytes, so a block of a power-of-two class is aligned to its size
 *              (a 4096-byte block is 4096-aligned). bytes_in_use <= bytes_held <= limit_bytes.
 * Threads      One owner: the thread that created the pool allocates and destroys, with no lock
 *              and no atomic read-modify-write. Any thread may hold and drop references it has a
 *              right to, and may read the statistics. Blocks dropped by other threads are put on
 *              an atomic list that the owner takes back as a whole when a class runs empty.
 * Errors       0 or a negative errno: -ENOMEM the source failed, -ENOBUFS the limit is reached,
 *              -EINVAL a bad configuration, -EBUSY blocks are still held. On an error the pool is
 *              as it was before the call.
 * Memory       Everything, the pool's own structures included, comes from the source.
 */
#ifndef WEIR_POOL_H
#define WEIR_POOL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>

WEIR_BEGIN_DECLS

/** The most size classes that a pool can have. */
#define WEIR_POOL_CLASSES_MAX 16

/**
 * Where memory comes from: the one place in weir that obtains any.
 *
 * Both functions are called on the pool's owner thread only.
 */
struct weir_source {
    /**
     * Obtain @size_bytes zero-filled bytes aligned to @align_bytes (a power of two, at least the
     * page size). Returns NULL on failure.
     */
    void *(*obtain)(void *context, size_t size_bytes, size_t align_bytes);
    /** Give back what obtain() returned, with the same size. Must not fail. */
    void (*release)(void *context, void *memory, size_t size_bytes);
    void *context; /**< handed to both functions; the caller's */
};

/** The default source: private anonymous mappings, mmap(2). Valid for ever. */
WEIR_API const struct weir_source *weir_source_mmap(void);

/** How a pool is made. A zeroed struct means all the defaults. */
struct weir_pool_options {
    const struct weir_source *source; /**< NULL: weir_source_mmap(); must outlive the pool */
    /**
     * Size classes in bytes, ascending, each a multiple of 64, at most 1 MiB; a 0 ends the list.
     * All zero: 64, 256, 1 Ki, 4 Ki, 16 Ki, 64 Ki.
     */
    uint32_t class_bytes[WEIR_POOL_CLASSES_MAX];
    /** Bytes per segment, a power of two up to 1 GiB, at least 8 slabs. 0: 2 MiB or 8 slabs. */
    size_t segment_bytes;
    /**
     * Most bytes ever held from the source, bookkeeping included. 0: no limit. Memory comes in
     * whole segments: below about segment_bytes only large blocks can be had. At the limit large
     * blocks that are kept for reuse are given back first.
     */
    size_t limit_bytes;
    /** Blocks above the largest class that are kept for reuse, in bytes. 0: 16 MiB. */
    size_t large_retain_bytes;
};

/** Counters of one class, or of all (see weir_pool_stats). */
struct weir_pool_class_stats {
    uint64_t block_bytes;     /**< size of a block; 0 for large blocks and totals */
    uint64_t allocations;     /**< successful allocations */
    uint64_t hits;            /**< served from memory that the pool already held */
    uint64_t misses;          /**< needed memory from the source; allocations == hits + misses */
    uint64_t releases;        /**< last references dropped and seen by the owner */
    uint64_t remote_releases; /**< of these, by other threads */
    uint64_t blocks_in_use;   /**< allocations - releases */
    uint64_t bytes_in_use;    /**< blocks_in_use, in bytes of whole blocks */
};

/** What a pool did and holds. */
struct weir_pool_stats {
    struct weir_pool_class_stats total;
    struct weir_pool_class_stats large; /**< blocks above the largest class */
    struct weir_pool_class_stats classes[WEIR_POOL_CLASSES_MAX];
    uint32_t class_count;
    uint32_t segment_count;
    uint64_t bytes_held;        /**< obtained from the source and not given back */
    uint64_t bytes_held_peak;   /**< the most of the above, ever */
    uint64_t bytes_in_use_peak; /**< the most of total.bytes_in_use, ever */
    uint64_t source_calls;      /**< times that obtain() was called */
};

struct weir_pool;
struct weir_slab;

/**
 * A block: @size bytes at @data, and who holds them.
 *
 * Read data and size as you like; the rest is the pool's. The struct stays valid as long as the
 * block has a holder.
 */
struct weir_block {
    uint8_t *data;           /**< first byte */
    size_t size;             /**< bytes usable, at least what was asked for */
    struct weir_slab *slab;  /**< private: where the block belongs */
    struct weir_block *next; /**< private: free list; NULL while in use */
    uint32_t refs;           /**< private: holders; touched by atomic operations only */
    uint32_t reserved;       /**< private */
};

/**
 * Make a pool that belongs to the calling thread.
 *
 * @options   NULL or zeroed: the defaults
 * @ret       written on success only
 * Returns    0; -EINVAL the options contradict each other or a bound; -ENOMEM the source failed;
 *            -ENOBUFS limit_bytes is too small for the pool's own bookkeeping.
 * Ownership  the caller's, until weir_pool_destroy().
 * Cost       one call of the source.
 */
WEIR_API int weir_pool_create(const struct weir_pool_options *options, struct weir_pool **ret);

/**
 * Give all memory of a pool back to its source.
 *
 * @pool     NULL is allowed and does nothing
 * Returns   0; -EBUSY blocks are still held: nothing was changed, the pool works on.
 * Threads   the owner.
 */
WEIR_API int weir_pool_destroy(struct weir_pool *pool);

/**
 * Take a block of at least @size_bytes.
 *
 * @size_bytes  any; 0 is treated as 1. Above the largest class the block gets a mapping of its
 *              own, rounded up to whole pages, which is kept for reuse within large_retain_bytes.
 * @ret         written on success only: a block with one reference
 * Returns      0; -ENOMEM the source failed; -ENOBUFS the limit is reached; -EOVERFLOW the size
 *              cannot be rounded up.
 * Valid until  its last reference is dropped with weir_block_drop().
 * Contents     unspecified.
 * Threads      the owner.
 * Cost         a hit takes the head of a free list; a miss calls the source once, for a large block
 *              now and then twice (its descriptor).
 */
WEIR_API int weir_pool_alloc(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret);

/**
 * The size of the block that weir_pool_alloc() would return for @size_bytes; SIZE_MAX if it cannot
 * be rounded up. For planning growth that wastes nothing.
 */
WEIR_API size_t weir_pool_block_bytes(const struct weir_pool *pool, size_t size_bytes);

/**
 * Take back now what other threads have dropped, instead of at the next miss.
 *
 * Returns   the number of blocks.      Threads  the owner.
 */
WEIR_API size_t weir_pool_reclaim(struct weir_pool *pool);

/**
 * Copy the counters out.
 *
 * Threads   any; each counter is read atomically, together they are a snapshot only on the owner.
 *           Drops of other threads count once the owner has reclaimed them.
 */
WEIR_API void weir_pool_stats(const struct weir_pool *pool, struct weir_pool_stats *ret);

/**
 * Add a reference. The caller must already have a right to one. @block is not NULL.
 *
 * Returns   @block, so that a holder can be made where it is stored.
 * Threads   any.     Cost  one atomic increment.
 */
WEIR_INLINE struct weir_block *weir_block_hold(struct weir_block *block);

/**
 * Drop a reference; the last one gives the block back to its pool.
 *
 * @block    NULL is allowed and does nothing
 * Threads   any. The pool must be alive: it cannot be destroyed while blocks are out.
 * Cost      for the last reference on the owner's thread no atomic read-modify-write.
 */
WEIR_API void weir_block_drop(struct weir_block *block);

/** Whether the caller's reference is the only one. Threads: the caller must hold a reference. */
WEIR_INLINE bool weir_block_is_exclusive(const struct weir_block *block);

/** The pool that a block belongs to. Valid as long as the block is. */
WEIR_API struct weir_pool *weir_block_pool(const struct weir_block *block);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE struct weir_block *weir_block_hold(struct weir_block *block)
{
    /* Relaxed: the caller's own reference keeps the block alive, and handing the new one to
     * another thread orders it. */
    uint32_t before = __atomic_fetch_add(&block->refs, 1, __ATOMIC_RELAXED);
    assert(before != 0 && before != UINT32_MAX);
    (void)before;
    return block;
}

WEIR_INLINE bool weir_block_is_exclusive(const struct weir_block *block)
{
    /* Acquire: what former holders did to the bytes is done before we write to them. */
    return __atomic_load_n(&block->refs, __ATOMIC_ACQUIRE) == 1;
}

WEIR_END_DECLS

#endif /* WEIR_POOL_H */
