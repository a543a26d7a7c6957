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
 * Memory that is no longer used stays with the pool, ready for the next allocation of its class;
 * memory of slabs that became empty serves any other class before more is obtained. What goes back
 * to the source, and when, is decided by the retention limits below and by weir_pool_trim().
 *
 * Invariants   A block's address and size never change while it has a holder. No bookkeeping lies
 *              inside a block's bytes, so a block of a power-of-two class is aligned to its size
 *              (a 4096-byte block is 4096-aligned). bytes_in_use <= bytes_held <= limit_bytes.
 * Threads      One owner: the thread that created the pool allocates and destroys, with no lock
 *              and no atomic read-modify-write. Any thread may hold and drop references it has a
 *              right to, may read the statistics, and may ask for a trim. Blocks dropped by other
 *              threads are put on an atomic list that the owner takes back as a whole when a class
 *              runs empty, in weir_pool_reclaim(), and with each turn of a ring over the pool.
 * Errors       0 or a negative errno: -ENOMEM the source failed, -ENOBUFS the limit is reached,
 *              -EINVAL a bad configuration, -EBUSY blocks are still held. On an error the pool is
 *              as it was before the call.
 * Memory       Everything, the pool's own structures included, comes from the source.
 * Misuse       To hold or drop a block that has no holder is caught by an assertion, unless its
 *              memory is in use again. A library configured with --enable-debug catches it then as
 *              well, among the last 16384 blocks that were released, and says where the block was
 *              taken and released before it aborts. Under AddressSanitizer and memcheck the bytes
 *              of a block without holders may not be touched.
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
 * Both functions are called on the pool's owner thread only; release() also by whoever drops the
 * last block of an abandoned pool.
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

/**
 * The default source: private anonymous mappings, mmap(2). Valid for ever.
 *
 * A process may have so many mappings and no more (vm.max_map_count), and to unmap the middle of
 * one makes two of it. Where that is refused the pages go back to the system all the same; the
 * addresses stay taken.
 */
WEIR_API const struct weir_source *weir_source_mmap(void);

/** What kind of pages a piece of memory has. */
enum weir_pages {
    WEIR_PAGES_PLAIN,       /**< of the usual size */
    WEIR_PAGES_TRANSPARENT, /**< huge where and when the kernel sees fit: madvise(MADV_HUGEPAGE) */
    WEIR_PAGES_EXPLICIT,    /**< huge, set aside by the administrator: mmap(MAP_HUGETLB) */
    WEIR_PAGES_KINDS,
};

/**
 * A source of huge pages, which fall back on what the system has.
 *
 *     static struct weir_huge_source huge;
 *     weir_huge_source_init(&huge, WEIR_PAGES_EXPLICIT);
 *     options.source = &huge.source;
 *     ...
 *     weir_huge_source_bytes(&huge, WEIR_PAGES_EXPLICIT)     // what it came to
 *
 * Pieces that are a multiple of 2 MiB, as segments are by default, get the best kind that is to be
 * had, each piece anew; smaller pieces get plain pages. For the pool there is no difference.
 * Explicit huge pages are taken from the kernel's reserve when the piece is obtained, so that none
 * is missing later; but a child process that writes to them after fork() may be killed.
 */
struct weir_huge_source {
    struct weir_source source;                 /**< hand this to the pools */
    enum weir_pages best;                      /**< private */
    uint64_t obtained_bytes[WEIR_PAGES_KINDS]; /**< private: see weir_huge_source_bytes() */
};

/**
 * Begin a source of huge pages. There is nothing to end; it must outlive its pools.
 *
 * @best     the best kind to try; what comes of it, see weir_huge_source_kind()
 * Threads   pools of several threads may share the source once it is begun.
 */
WEIR_API void weir_huge_source_init(struct weir_huge_source *huge, enum weir_pages best);

/**
 * The bytes that were obtained with pages of this kind so far, given back ones included: the
 * visible side of falling back. Threads: any.
 */
WEIR_INLINE uint64_t weir_huge_source_bytes(const struct weir_huge_source *huge,
                                            enum weir_pages kind);

/**
 * The kind that a segment of 2 MiB gets at this moment; it obtains one and gives it back, without
 * counting it. For a report at the start. Threads: any.
 */
WEIR_API enum weir_pages weir_huge_source_kind(const struct weir_huge_source *huge);

/**
 * Bytes that several pools may hold together, on any threads.
 *
 * A pool that has a quota takes from it what it obtains from its source, in the same pieces, and
 * puts back what it gives back; its hot path never touches the quota. Zeroed, nothing may be held.
 */
struct weir_quota {
    size_t limit_bytes; /**< never passed; may be raised or lowered by weir_quota_set_limit() */
    size_t used_bytes;  /**< private: read it with weir_quota_used_bytes() */
};

/** How a pool is made. A zeroed struct means all the defaults. */
struct weir_pool_options {
    const struct weir_source *source; /**< NULL: weir_source_mmap(); must outlive the pool */
    /**
     * Size classes in bytes, ascending, each a multiple of 64, at most 1 MiB; a 0 ends the list.
     * All zero: 64, 256, 1 Ki, 4 Ki, 16 Ki, 64 Ki.
     */
    uint32_t class_bytes[WEIR_POOL_CLASSES_MAX];
    /**
     * Bytes per segment, a power of two up to 1 GiB, at least 2 slabs; a slab is 64 KiB or the
     * smallest power of two that the largest class fits in. 0: 2 MiB or 8 slabs, whichever is
     * more; less where limit_bytes is below twice that, an eighth of the limit.
     */
    size_t segment_bytes;
    /**
     * Most bytes ever held from the source, bookkeeping included. 0: no limit. Memory comes in
     * whole segments: below about 2 slabs only large blocks can be had. At the limit what is kept
     * for reuse, large blocks and free segments, is given back first.
     */
    size_t limit_bytes;
    /** Blocks above the largest class that are kept for reuse, in bytes. 0: 16 MiB. */
    size_t large_retain_bytes;
    /**
     * Most bytes of free segments and kept large blocks together. 0: no limit. Looked at whenever
     * the pool looks for empty slabs, see weir_pool_reclaim() and weir_pool_trim(); between those
     * moments there may be more.
     */
    size_t retain_bytes;
    /**
     * Per class, in the order of the classes: bytes in empty slabs that the class keeps for itself
     * when the pool looks for empty slabs; the rest serves other classes. 0: none.
     */
    size_t class_retain_bytes[WEIR_POOL_CLASSES_MAX];
    /** Per class: blocks that are there from the start and are never given to anybody else. */
    uint32_t class_prealloc_blocks[WEIR_POOL_CLASSES_MAX];
    /** Bytes obtained in segments from the start, never given back before destroy. */
    size_t prealloc_bytes;
    /** Shared with other pools, or NULL; must outlive the pool and all its blocks. */
    struct weir_quota *quota;
    /**
     * Record every n-th block that is taken, with its tag, call site and time; see
     * weir_pool_tracked(). 1: all of them. 0: none by number. Where nothing is to be tracked it
     * costs nothing at all; otherwise every allocation and release goes out of line, some
     * nanoseconds each.
     */
    uint32_t track_every;
    /**
     * Record the block with which this many bytes have been asked for since the last one by bytes,
     * so that the larger a block is the likelier it has a record. 0: none by bytes. Both at once
     * are fine: a block has one record.
     */
    size_t track_every_bytes;
    /** Most blocks in use that have a record; more are counted as lost. 0: 4096. */
    uint32_t track_blocks_max;
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
    struct weir_pool_class_stats total;   /**< classes and large blocks; not adopted ones */
    struct weir_pool_class_stats large;   /**< blocks above the largest class */
    struct weir_pool_class_stats adopted; /**< foreign memory, see weir_block_adopt() */
    struct weir_pool_class_stats classes[WEIR_POOL_CLASSES_MAX];
    uint64_t class_peak_blocks[WEIR_POOL_CLASSES_MAX]; /**< the most in use of each class: exact */
    uint32_t class_count;
    uint32_t segment_count;
    uint64_t bytes_held;      /**< obtained from the source and not given back */
    uint64_t bytes_held_peak; /**< the most of the above, ever */
    /**
     * The most of total.bytes_in_use at the moments when the owner looked: at each block that is
     * handed out for the first time, each large block, each reclaim and trim, and each reading of
     * these statistics by the owner. What rises and falls in between, within memory that was in
     * use before, is not seen; class_peak_blocks is an upper bound that is never passed.
     */
    uint64_t bytes_in_use_peak;
    uint64_t bytes_free;   /**< in segments without a block and kept large blocks: trim's to give */
    uint64_t source_calls; /**< times that obtain() was called */
    uint64_t source_bytes_returned; /**< given back by eviction, retention and trim */
    uint64_t sweeps;                /**< times that free blocks were looked at for empty slabs */
    uint64_t slabs_emptied;         /**< slabs that these found empty and took from their class */
    uint64_t tracked;               /**< blocks in use that have a record */
    uint64_t tracked_lost;          /**< that should have had one, since there was no room */
};

struct weir_pool;
struct weir_pool_class;
struct weir_block;

/** A block in use that has a record. */
struct weir_pool_tracked {
    const struct weir_block *block;
    const char *tag;  /**< the pool's when the block was taken; NULL: none was set */
    const void *site; /**< an address in the function that took it, for addr2line(1) or dladdr(3) */
    size_t size_bytes; /**< that were asked for */
    uint64_t age_ns;   /**< since it was taken, as exact as the kernel's clock tick */
};

/** All tracked blocks of one tag. */
struct weir_pool_tag_stats {
    const char *tag;
    uint64_t blocks;
    uint64_t bytes; /**< that were asked for */
    uint64_t oldest_ns;
};

/**
 * A block: @size bytes at @data, and who holds them.
 *
 * Read data and size as you like; the rest is the pool's. The struct stays valid as long as the
 * block has a holder.
 */
struct weir_block {
    uint8_t *data; /**< first byte */
    union {
        size_t size;             /**< bytes usable, at least what was asked for */
        struct weir_block *next; /**< private: while free */
    };
    struct weir_pool_class *home; /**< private: where the block belongs */
    uint32_t refs;                /**< private: holders; touched by atomic operations only */
    uint32_t track;               /**< private: number of its record; 0: none */
};

/**
 * Make a pool that belongs to the calling thread.
 *
 * @options   NULL or zeroed: the defaults
 * @ret       written on success only
 * Returns    0; -EINVAL the options contradict each other or a bound; -ENOMEM the source failed;
 *            -ENOBUFS limit_bytes or the quota is too small for the pool's own bookkeeping or for
 *            what is to be preallocated.
 * Ownership  the caller's, until weir_pool_destroy() or weir_pool_abandon().
 * Cost       one call of the source, and one for each segment that is preallocated.
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
 * Returns      0; -ENOMEM the source failed; -ENOBUFS the limit or the quota is reached;
 *              -EOVERFLOW the size cannot be rounded up.
 * Valid until  its last reference is dropped with weir_block_drop().
 * Contents     unspecified.
 * Threads      the owner.
 * Cost         inline; a hit takes the head of a free list. A miss may look for empty slabs at the
 *              free blocks of a class, at most once in as many calls as these are; else it calls
 *              the source once, for a large block now and then twice (its descriptor).
 */
WEIR_NODISCARD WEIR_INLINE int weir_pool_alloc(struct weir_pool *pool, size_t size_bytes,
                                               struct weir_block **ret);

/**
 * The size of the block that weir_pool_alloc() would return for @size_bytes; SIZE_MAX if it cannot
 * be rounded up. For planning growth that wastes nothing.
 */
WEIR_API size_t weir_pool_block_bytes(const struct weir_pool *pool, size_t size_bytes);

/**
 * Take back now what other threads have dropped, instead of at the next miss. A ring does it once a
 * turn; to be called by owners that run none. Two loads where there is nothing to do.
 *
 * It also does what is due: a trim that another thread asked for, and, where there is a
 * retain_bytes, the return of what is above it; that looks at the free blocks of a class, at most
 * once in as many allocations and releases as these are.
 *
 * Returns   the number of blocks.      Threads  the owner.
 */
WEIR_API size_t weir_pool_reclaim(struct weir_pool *pool);

/**
 * Give unused memory back to the source until at most @keep_bytes of it are left.
 *
 * Unused are segments in which no block is held and large blocks that were kept for reuse; what
 * other threads have dropped is taken back first. Preallocated memory stays, class_retain_bytes
 * does not count. A segment in which a single block is held stays whole.
 *
 * Returns   the bytes given back; 0 on another thread than the owner's: there it is a request,
 *           which the owner fulfils in its next weir_pool_reclaim() or allocation that is no hit,
 *           hence with the next turn of its ring.
 *           Of several requests the last one counts.
 * Threads   any, as long as the pool exists.
 * Cost      looks at every free block.
 */
WEIR_API size_t weir_pool_trim(struct weir_pool *pool, size_t keep_bytes);

/**
 * Copy the counters out.
 *
 * Threads   any; each counter is read atomically, together they are a snapshot only on the owner.
 *           Drops of other threads count once the owner has reclaimed them.
 */
WEIR_API void weir_pool_stats(const struct weir_pool *pool, struct weir_pool_stats *ret);

/**
 * Tag what is taken from now on, until the next call. Returns the tag before, to be set again.
 *
 * @tag      NULL or a string that outlives the blocks, a literal say; told apart by address
 * Threads   the owner.     Cost  a store; does nothing else where nothing is tracked.
 */
WEIR_API const char *weir_pool_set_tag(struct weir_pool *pool, const char *tag);

/**
 * Visit each tracked block in use: at the end of a program those are the leaks.
 *
 *     if (weir_pool_destroy(pool) == -EBUSY)            // nothing was changed
 *         weir_pool_tracked(pool, report, stderr);      // who has what, since when, from where
 *
 * @visit    NULL: only count; must not take or drop blocks of this pool
 * Returns   their number. What other threads dropped counts until it is reclaimed.
 * Threads   the owner.     Cost  the most that were ever tracked at once.
 */
WEIR_API size_t weir_pool_tracked(const struct weir_pool *pool,
                                  void (*visit)(void *context,
                                                const struct weir_pool_tracked *tracked),
                                  void *context);

/**
 * The same, summed up by tag: blocks, bytes, and the age of the oldest. pool_pack.h writes it.
 *
 * @ret      room for @max tags; blocks of further ones are left out
 * Returns   the number of tags, at most @max.
 * Threads   the owner.     Cost  as above, times the number of tags.
 */
WEIR_API size_t weir_pool_tags(const struct weir_pool *pool, struct weir_pool_tag_stats *ret,
                               size_t max);

/**
 * Leave a pool to its holders: destroy it now, or else when its last block is dropped.
 *
 * For a thread that ends while its blocks are still under way. What is unused goes back to the
 * source at once, the rest on the thread that drops the last reference, whichever that is.
 *
 * @pool     NULL is allowed and does nothing; otherwise gone for the caller: only blocks that are
 *           held may still be used, and dropped.
 * Threads   the owner. The source must be fit to be used by any thread, one at a time.
 */
WEIR_API void weir_pool_abandon(struct weir_pool *pool);

/**
 * The calling thread's own pool, with default options; made by the first call.
 *
 * It is abandoned when the thread ends, after its own destructors of thread-specific data that come
 * first in the system's order; never destroy or abandon it yourself.
 *
 * @ret      written on success only
 * Returns   0; -ENOMEM the source failed, or the system has no key for thread-specific data left.
 */
WEIR_NODISCARD WEIR_API int weir_pool_default(struct weir_pool **ret);

/**
 * Begin a quota of @limit_bytes. There is nothing to end; it must outlive the pools that use it.
 */
WEIR_INLINE void weir_quota_init(struct weir_quota *quota, size_t limit_bytes);

/**
 * Change the limit. Below what is used nothing more can be taken until enough came back.
 *
 * Threads   any.
 */
WEIR_INLINE void weir_quota_set_limit(struct weir_quota *quota, size_t limit_bytes);

/** Bytes that the pools hold at this moment. Threads: any. */
WEIR_INLINE size_t weir_quota_used_bytes(const struct weir_quota *quota);

/**
 * Make a block of memory that is not the pool's: a mapped file, another library's buffer.
 *
 * It is held, dropped, sliced and sent like any other; only its descriptor is the pool's.
 *
 * @data        not NULL
 * @release     called exactly once, on the thread that drops the last reference, before that drop
 *              returns; NULL: nobody needs to know. It may use the pool only if that thread owns
 *              it, and must not block where drops must not.
 * @context     handed to @release
 * @ret         written on success only: a block with one reference
 * Returns      0; -ENOMEM, -ENOBUFS as weir_pool_alloc(), -EOVERFLOW @size_bytes is above
 *              PTRDIFF_MAX: @release is not called.
 * Threads      the owner.
 */
WEIR_NODISCARD WEIR_API int weir_block_adopt(struct weir_pool *pool, void *data, size_t size_bytes,
                                             void (*release)(void *context, void *data,
                                                             size_t size_bytes),
                                             void *context, struct weir_block **ret);

/**
 * Add a reference. The caller must already have a right to one. @block is not NULL.
 *
 * Returns   @block, so that a holder can be made where it is stored.
 * Threads   any.     Cost  one atomic increment.
 */
WEIR_INLINE struct weir_block *weir_block_hold(struct weir_block *block);

/** Add @count references with one atomic operation; @count up to 2^16. */
WEIR_INLINE void weir_block_hold_many(struct weir_block *block, uint32_t count);

/**
 * Drop @count references of the caller's with one atomic operation; he must have one more, which
 * remains.
 */
WEIR_INLINE void weir_block_drop_many(struct weir_block *block, uint32_t count);

/**
 * Drop a reference; the last one gives the block back to its pool.
 *
 * @block    NULL is allowed and does nothing
 * Threads   any. The pool must be alive or abandoned: it cannot be destroyed while blocks are out.
 * Cost      inline; for the last reference on the owner's thread no atomic read-modify-write.
 */
WEIR_INLINE void weir_block_drop(struct weir_block *block);

/** Whether the caller's reference is the only one. Threads: the caller must hold a reference. */
WEIR_INLINE bool weir_block_is_exclusive(const struct weir_block *block);

/** The pool that a block belongs to. Valid as long as the block is. */
WEIR_API struct weir_pool *weir_block_pool(const struct weir_block *block);

/* --- private: what the inline bodies touch --------------------------------------------------- */

/*
 * One size class. What other threads read when they drop a block lies apart from what the owner
 * writes all the time, and not in the line beside it, which processors like to fetch along.
 */
struct weir_pool_class {
    const void *owner; /* the owner's thread; NULL: every drop takes the way out of line */
    struct weir_pool *pool;
    /* One writer, the owner. */
    struct weir_block *free __attribute__((aligned(128))); /* always NULL in a careful pool */
    size_t block_bytes;
    uint64_t allocations;
    uint64_t releases;
    struct weir_block *hidden; /* in a careful pool, what is free */
    void *reserved[3];
} __attribute__((aligned(128)));

/* How a struct weir_pool begins. */
struct weir_pool_head {
    size_t class_max_bytes;
    struct weir_pool_class classes[WEIR_POOL_CLASSES_MAX];
};

/* Where in a pool the table lies that has an uint16_t for each size in units of 64 bytes, less one:
 * where in the pool the class lies. It has an entry for every size up to the second constant,
 * whatever the classes are: to compare with a constant is less than with a word of the pool, and
 * nothing at all where the caller's size is one. */
#define WEIR__POOL_LOOKUP ((size_t)10240)
#define WEIR__POOL_LOOKUP_BYTES ((size_t)65536)

WEIR_API int weir_pool_alloc_slow(struct weir_pool *pool, size_t size_bytes,
                                  struct weir_block **ret);
WEIR_API void weir_block_drop_slow(struct weir_block *block);
WEIR_API void weir_block_stale(const struct weir_block *block);
WEIR_API const void *weir_pool_thread(void);

/* --- inline bodies ------------------------------------------------------------------------- */

/* Something that no other thread has at the same time. Where the thread pointer is a register, one
 * instruction; the same value as weir_pool_thread() returns. */
WEIR_INLINE const void *weir__pool_thread(void)
{
#if defined(__x86_64__) && defined(__LP64__)
    /* The first word of the thread's block is its own address, by the ABI. */
    const void *self;
    __asm__("movq %%fs:0, %0" : "=r"(self));
    return self;
#elif defined(__aarch64__)
    return __builtin_thread_pointer();
#else
    return weir_pool_thread();
#endif
}

/* Whether the class belongs to the calling thread. */
WEIR_INLINE bool weir__pool_class_is_mine(const struct weir_pool_class *home)
{
    const void *owner = __atomic_load_n(&home->owner, __ATOMIC_RELAXED);
#if defined(__x86_64__) && defined(__LP64__)
    /* Compared in place: a register and an instruction less. */
    bool same;
    __asm__("cmpq %%fs:0, %1" : "=@cce"(same) : "r"(owner));
    return same;
#else
    return owner == weir__pool_thread();
#endif
}

/* A counter with one writer: readers on other threads see old or new, nothing between. */
WEIR_INLINE void weir__pool_count(uint64_t *counter)
{
#if defined(__x86_64__) && defined(__LP64__)
    /* What compilers do not make of the two below: one instruction. */
    __asm__("addq $1, %0" : "+m"(*counter) : : "cc");
#else
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
#endif
}

/* The class of blocks of at least @size_bytes, which are at least 1, and at most class_max_bytes or
 * WEIR__POOL_LOOKUP_BYTES, whichever is more; that of large blocks where there is no other. */
WEIR_INLINE struct weir_pool_class *weir__pool_class(struct weir_pool *pool, size_t size_bytes)
{
    uint8_t *start = (uint8_t *)pool;
    const uint16_t *lookup = (const uint16_t *)(const void *)(start + WEIR__POOL_LOOKUP);
    return (struct weir_pool_class *)(void *)(start + lookup[(size_bytes - 1) >> 6]);
}

/* The caller's *@ret for what the compiler knows of it, and the very same value. So a failure that
 * the caller passes over is no use of a variable without a value to gcc, which would warn. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
WEIR_INLINE void weir__pool_untouched(struct weir_block **ret)
{
    struct weir_block *same;
    __asm__("" : "=r"(same) : "0"(*ret));
    *ret = same;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

WEIR_INLINE int weir_pool_alloc(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    /* 0 wraps to the far side. */
    if (WEIR_LIKELY(size_bytes - 1 < WEIR__POOL_LOOKUP_BYTES)) {
        struct weir_pool_class *home = weir__pool_class(pool, size_bytes);
        /* One plain address for all that follows, the same that a drop uses: loads that come soon
         * after a store get its value in no time only if both are addressed alike. */
        __asm__("" : "+r"(home));
        struct weir_block *block = home->free;
        if (WEIR_LIKELY(block != NULL)) {
            /* First all stores to the class, then all to the block: a cache takes those that follow
             * each other to the same line together. */
            home->free = block->next;
            weir__pool_count(&home->allocations);
            block->size = home->block_bytes;
            __atomic_store_n(&block->refs, 1, __ATOMIC_RELAXED);
            *ret = block;
            return 0;
        }
    }
    /* A pointer of our own, since whoever hands out the caller's has it in memory for good. */
    struct weir_block *taken;
    int rc = weir_pool_alloc_slow(pool, size_bytes, &taken);
    if (rc == 0)
        *ret = taken;
    else
        weir__pool_untouched(ret);
    return rc;
}

WEIR_INLINE void weir_block_drop(struct weir_block *block)
{
    if (block == NULL)
        return;
    struct weir_pool_class *home = block->home;
    /* Whoever sees 1 is the only holder, and nobody can add another; that needs no atomic
     * read-modify-write. Acquire: what the former holders did happens before the reuse. */
    if (WEIR_LIKELY(__atomic_load_n(&block->refs, __ATOMIC_ACQUIRE) == 1 &&
                    weir__pool_class_is_mine(home))) {
        __atomic_store_n(&block->refs, 0, __ATOMIC_RELAXED);
        block->next = home->free;
        home->free = block;
        weir__pool_count(&home->releases);
        return;
    }
    weir_block_drop_slow(block);
}

WEIR_INLINE uint64_t weir_huge_source_bytes(const struct weir_huge_source *huge,
                                            enum weir_pages kind)
{
    return __atomic_load_n(&huge->obtained_bytes[kind], __ATOMIC_RELAXED);
}

WEIR_INLINE void weir_quota_init(struct weir_quota *quota, size_t limit_bytes)
{
    quota->limit_bytes = limit_bytes;
    quota->used_bytes = 0;
}

WEIR_INLINE void weir_quota_set_limit(struct weir_quota *quota, size_t limit_bytes)
{
    __atomic_store_n(&quota->limit_bytes, limit_bytes, __ATOMIC_RELAXED);
}

WEIR_INLINE size_t weir_quota_used_bytes(const struct weir_quota *quota)
{
    return __atomic_load_n(&quota->used_bytes, __ATOMIC_RELAXED);
}

WEIR_INLINE struct weir_block *weir_block_hold(struct weir_block *block)
{
    /* Relaxed: the caller's own reference keeps the block alive, and handing the new one to
     * another thread orders it. */
    if (block == NULL)
        __builtin_unreachable(); /* gcc would follow a NULL that drop allows to here, and warn */
    uint32_t before = __atomic_fetch_add(&block->refs, 1, __ATOMIC_RELAXED);
    if (WEIR_UNLIKELY(before == 0))
        weir_block_stale(block);
    assert(before != 0 && before != UINT32_MAX);
    return block;
}

WEIR_INLINE void weir_block_hold_many(struct weir_block *block, uint32_t count)
{
    uint32_t before = __atomic_fetch_add(&block->refs, count, __ATOMIC_RELAXED);
    assert(before != 0 && before <= UINT32_MAX - count);
    (void)before;
}

WEIR_INLINE void weir_block_drop_many(struct weir_block *block, uint32_t count)
{
    /* Release: as with every drop, what was done with the bytes happens before their reuse. */
    uint32_t before = __atomic_fetch_sub(&block->refs, count, __ATOMIC_RELEASE);
    assert(before > count);
    (void)before;
}

WEIR_INLINE bool weir_block_is_exclusive(const struct weir_block *block)
{
    /* Acquire: what former holders did to the bytes is done before we write to them. */
    if (block == NULL)
        __builtin_unreachable(); /* as in weir_block_hold() */
    uint32_t refs = __atomic_load_n(&block->refs, __ATOMIC_ACQUIRE);
    if (WEIR_UNLIKELY(refs == 0))
        weir_block_stale(block);
    return refs == 1;
}

WEIR_END_DECLS

#endif /* WEIR_POOL_H */
