/* SPDX-License-Identifier: MIT */
/*
 * pool, for the layers above and the tests: what a pool is made of.
 *
 *     pool mapping   struct weir_pool | table of classes by size | desks of large blocks
 *     segment        header, slab table | rest of slab 0 | slab 1 | slab 2 | ...
 *     slab           blocks of one class; those of small blocks with their descriptors
 *     large block    a mapping of its own; its descriptor is a desk in the pool mapping or a chunk
 *
 * A slab with at most WEIR__SLAB_OWN blocks has their descriptors in the slab table; a slab with
 * more has them at its own start or end, where they cost less than a block or a few of them. So any
 * slab can become any class's, and page-sized blocks lie on pages.
 *
 * The files: pool.c is allocation, release and the life of a pool; pool_segment.c segments, slabs
 * and how they come back; pool_large.c mappings of large blocks and adopted memory; pool_source.c
 * where memory comes from; pool_stats.c counters; pool_track.c records of single blocks;
 * pool_check.c the invariants; pool_debug.c what is told of blocks used after their release.
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

#ifndef WEIR_DEBUG
#define WEIR_DEBUG 0
#endif

/* With --enable-debug: so many released blocks are known for what they are. */
#define WEIR__DEBUG_RETIRED 16384

/* Descriptors that an entry of the slab table has room for. */
#define WEIR__SLAB_OWN 16

_Static_assert(sizeof(struct weir_block) <= 32, "descriptors weigh on small blocks");

/* What the inline paths do not need of a class. */
struct weir__class {
    struct weir__slab *slabs; /* only the first may have blocks that were never used */
    struct weir__slab *spare; /* preallocated and not needed yet */
    uint64_t slab_count;      /* spare ones included */
    uint64_t carved;          /* blocks of its slabs that have been handed out before */
    uint64_t carved_peak;
    uint64_t misses;
    uint64_t remote_releases;
    uint64_t swept_operations; /* of all classes, up to the last sweep of this one */
    uint64_t swept_releases;   /* of this one */
    size_t retain_bytes;
    uint32_t slab_blocks;  /* blocks in a slab; 0 in slab 0: none fits */
    uint32_t slab0_blocks; /* in the first slab of a segment, which begins with its header */
    uint32_t lead_bytes;   /* from the start of the slab to its first block */
    uint32_t lead0_bytes;
};

struct weir__slab {
    struct weir_pool_class *home; /* NULL: free */
    uint8_t *base;                /* the first block */
    struct weir_block *blocks;    /* descriptors, one per block */
    struct weir__slab *next;      /* of the same class, or free in the same segment */
    struct weir_block *free;      /* while the free blocks are sorted: those of this slab */
    struct weir_block *free_last;
    uint32_t free_count;
    uint32_t count;  /* blocks */
    uint32_t carved; /* of these, the first so many have been handed out before */
    bool pinned;     /* preallocated: stays with its class */
    struct weir_block own[WEIR__SLAB_OWN] __attribute__((aligned(WEIR__CACHE_LINE)));
};

enum weir__segment_state {
    WEIR__SEGMENT_FULL,   /* no free slab */
    WEIR__SEGMENT_ROOMY,  /* some slabs free, or pinned */
    WEIR__SEGMENT_VACANT, /* all slabs free and not pinned: may go back to the source */
    WEIR__SEGMENT_STATES,
};

struct weir__segment;

/* Somebody of a layer above who refers to segments by their index, on the owner's thread. */
struct weir__segment_watch {
    void (*leaves)(struct weir__segment_watch *watch, const struct weir__segment *segment);
    struct weir__segment_watch *next;
};

/* The header at the start of each segment. */
struct weir__segment {
    struct weir_pool *pool;
    struct weir__segment *newer; /* of all */
    struct weir__segment *older;
    struct weir__segment *prev; /* of the same state */
    struct weir__segment *next;
    struct weir__slab *free_slabs; /* used before; slab 0 is never here */
    uint32_t fresh;                /* slabs from this one up were never used */
    uint32_t used;                 /* slabs that have a class */
    uint32_t slab_count;
    int32_t index; /* no other segment of the pool has it */
    enum weir__segment_state state;
    bool pinned; /* preallocated */
    struct weir__slab slabs[] __attribute__((aligned(WEIR__CACHE_LINE)));
};

/* A large block, or an adopted one. */
struct weir__large {
    struct weir_block block;
    size_t mapped_bytes;       /* at least block.size; 0: adopted */
    struct weir__large *newer; /* while cached */
    struct weir__large *older; /* while cached; links free desks too */
    struct weir__large *bin_next;
    struct weir__large *bin_prev;
    size_t size_bytes; /* block.size, which a free list overwrites */
    void (*release)(void *context, void *data, size_t size_bytes); /* of an adopted one */
    void *context;
};

/* More room for desks, once the pool mapping is full. */
struct weir__desks {
    struct weir__desks *next;
    struct weir__large desks[];
};

/* What is remembered of a tracked block. */
struct weir__track {
    struct weir_block *block; /* NULL: free */
    const char *tag;
    const void *site;
    size_t size_bytes;
    uint64_t taken_ns;
    uint32_t next_free; /* number, from 1; 0: none */
};

/* With --enable-debug: the handles of a pool, see pool_debug.c. */
struct weir__debug {
    struct weir__handles *chunks;
    size_t fresh; /* handles of the first chunk, from its start, that were never used */
    struct weir__handle *retired_first;
    struct weir__handle *retired_last;
    size_t retired_count;
};

struct weir_pool {
    struct weir_pool_head head;

    /* Dropped by other threads: a stack that the owner takes as a whole. Its lowest bit is set
     * once the pool is abandoned. */
    uintptr_t remote __attribute__((aligned(WEIR__CACHE_LINE)));
    int64_t orphans;     /* once abandoned: blocks still out, less those not counted yet */
    size_t trim_request; /* bytes to keep, plus one; 0: no request */

    const void *owner __attribute__((aligned(WEIR__CACHE_LINE)));
    bool careful; /* nothing inline: somebody wants to see every allocation */
    struct weir_source source;
    struct weir_quota *quota;
    size_t page_bytes;
    unsigned slab_shift;
    size_t segment_bytes;
    size_t limit_bytes; /* SIZE_MAX: none */
    size_t large_retain_bytes;
    size_t retain_bytes; /* SIZE_MAX: none */
    size_t pool_bytes;   /* size of this very mapping */

    uint64_t bytes_held;
    uint64_t bytes_held_peak;
    uint64_t bytes_in_use_peak;
    uint64_t bytes_free; /* vacant segments and cached large blocks */
    uint64_t bytes_returned;
    uint64_t source_calls;
    uint64_t large_bytes_in_use;
    uint64_t adopted_bytes_in_use;
    uint64_t sweeps;
    uint64_t slabs_emptied;
    uint64_t swept_releases; /* up to the last sweep that kept nothing back */
    uint32_t segment_count;
    uint32_t segment_index_end; /* above every index in use */
    uint32_t class_count;
    struct weir__segment *segments; /* newest first */
    struct weir__segment *by_state[WEIR__SEGMENT_STATES];
    struct weir__segment_watch *watches;

    struct weir__large *desk_free;
    struct weir__large *desk_next; /* never used yet, up to desk_end */
    struct weir__large *desk_end;
    struct weir__desks *desk_chunks;

    struct weir__track *tracks; /* NULL: nothing is tracked */
    size_t track_bytes;
    const char *tag;
    uint32_t track_every;       /* 0: not by number */
    size_t track_every_bytes;   /* 0: not by bytes */
    size_t track_bytes_to_next; /* of these, still to be asked for; not 0 then */
    uint32_t track_max;
    uint32_t track_used; /* records up to here were used before */
    uint32_t track_free; /* number of one of those; 0: none */
    uint64_t track_seen;
    uint64_t track_live;
    uint64_t track_lost;

    struct weir__debug debug;

    size_t cached_bytes; /* large mappings kept for reuse */
    struct weir__large *cached_newest;
    struct weir__large *cached_oldest;
    struct weir__large *bins[WEIR__POOL_BINS]; /* newest first */

    struct weir_pool_class large;
    struct weir_pool_class adopted;
    struct weir__class large_info;
    struct weir__class adopted_info;
    struct weir__class infos[WEIR_POOL_CLASSES_MAX];
};

_Static_assert(sizeof(struct weir_pool) <= WEIR__POOL_LOOKUP, "the table of classes lies behind");
_Static_assert(sizeof(struct weir_pool) <= UINT16_MAX, "offsets of classes fit the table");

/* --- counters -------------------------------------------------------------------------------- */

/* Counters have one writer, so a plain addition is enough; the atomic access is for readers on
 * other threads. */
static inline void weir__add(uint64_t *counter, uint64_t amount)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);
    __atomic_store_n(counter, before + amount, __ATOMIC_RELAXED);
}

static inline void weir__subtract(uint64_t *counter, uint64_t amount)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);
    assert(before >= amount);
    __atomic_store_n(counter, before - amount, __ATOMIC_RELAXED);
}

static inline void weir__raise(uint64_t *counter, uint64_t least)
{
    if (*counter < least)
        __atomic_store_n(counter, least, __ATOMIC_RELAXED);
}

static inline uint64_t weir__read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Where the free blocks of a class hang. In a careful pool the inline half must not find any. */
static inline struct weir_block **weir__class_free(const struct weir_pool_class *home)
{
    struct weir_pool_class *mine = (struct weir_pool_class *)(uintptr_t)home;
    return home->pool->careful ? &mine->hidden : &mine->free;
}

/* Blocks of a class in use. On other threads than the owner's the two may not belong together. */
static inline uint64_t weir__class_in_use(const struct weir_pool_class *home)
{
    uint64_t releases = weir__read(&home->releases);
    uint64_t allocations = weir__read(&home->allocations);
    return allocations > releases ? allocations - releases : 0;
}

/* --- within the pool's files ----------------------------------------------------------------- */

static inline bool weir__pool_is_mine(const struct weir_pool *pool)
{
    return __atomic_load_n(&pool->owner, __ATOMIC_RELAXED) == weir__pool_thread();
}

/* The rest of a class, which is not the large or adopted one. */
static inline struct weir__class *weir__class_info(const struct weir_pool_class *home)
{
    return &home->pool->infos[home - home->pool->head.classes];
}

/* Bytes of whole blocks in use; the owner's. Looks at each class. */
uint64_t weir__pool_in_use(const struct weir_pool *pool);

/* Obtain within limit and quota; what is kept for reuse gives way to it. */
int weir__pool_obtain(struct weir_pool *pool, size_t bytes, size_t align_bytes, void **ret);

/* Give back what obtain() returned. */
void weir__pool_release(struct weir_pool *pool, void *memory, size_t bytes);

/* Give back one thing that was kept for reuse; false: there is nothing. */
bool weir__pool_evict(struct weir_pool *pool);

/* Take what other threads have dropped; not the owner's alone, for pools that were abandoned. */
size_t weir__pool_reclaim(struct weir_pool *pool);

/* Lay out the classes' slabs. */
void weir__class_plan(const struct weir_pool *pool, const struct weir_pool_class *home,
                      struct weir__class *info);

/* Put a block on the class's free list, which is empty. */
int weir__class_refill(struct weir_pool *pool, struct weir_pool_class *home);

/* Obtain what is to be there from the start. */
int weir__pool_prealloc(struct weir_pool *pool, const struct weir_pool_options *options);

/* Sort all free blocks by slab, find the empty slabs and take them from their class. Returns their
 * number. */
size_t weir__pool_sweep(struct weir_pool *pool);

/* The same for classes where it has a prospect that is worth its cost; what they may retain stays
 * theirs. */
size_t weir__pool_sweep_if_due(struct weir_pool *pool, uint64_t least_free_bytes);

/* Whether a sweep could find anything that the last one did not. */
bool weir__pool_sweep_may_help(const struct weir_pool *pool);

/* Give back free memory above @keep_bytes. */
void weir__pool_shrink(struct weir_pool *pool, size_t keep_bytes);

/* Do what was asked for or is due. */
void weir__pool_tend(struct weir_pool *pool);

struct weir__segment *weir__pool_vacant(const struct weir_pool *pool);
void weir__segment_remove(struct weir_pool *pool, struct weir__segment *segment);

int weir__large_alloc(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret);
void weir__large_release(struct weir_pool *pool, struct weir_block *block);
void weir__adopted_release(struct weir_pool *pool, struct weir_block *block);
void weir__large_evict(struct weir_pool *pool);
unsigned weir__large_bin(const struct weir_pool *pool, size_t bytes);
size_t weir__desks_chunk_bytes(const struct weir_pool *pool);

/* Entries of the lookup table. */
static inline size_t weir__pool_grains(size_t class_max_bytes)
{
    size_t bytes =
        class_max_bytes > WEIR__POOL_LOOKUP_BYTES ? class_max_bytes : WEIR__POOL_LOOKUP_BYTES;
    return bytes >> WEIR__POOL_GRAIN_SHIFT;
}

/* The first desk in the pool mapping, behind the lookup table. */
static inline struct weir__large *weir__desks_first(const struct weir_pool *pool)
{
    size_t grains = weir__pool_grains(pool->head.class_max_bytes);
    size_t used = WEIR__POOL_LOOKUP + grains * sizeof(uint16_t);
    used = (used + WEIR__CACHE_LINE - 1) & ~(size_t)(WEIR__CACHE_LINE - 1);
    return (struct weir__large *)((uintptr_t)pool + used);
}

/* The table of records, if there is to be one. */
int weir__track_begin(struct weir_pool *pool, const struct weir_pool_options *options);
void weir__track_end(struct weir_pool *pool);
void weir__track_add(struct weir_pool *pool, struct weir_block *block, size_t size_bytes,
                     const void *site);
void weir__track_remove(struct weir_pool *pool, struct weir_block *block);

/* Make sure that the next weir__debug_take() finds a handle. 0 or -ENOMEM. */
int weir__debug_reserve(struct weir_pool *pool);

/* A handle for a block that was just taken, to be handed out instead. */
struct weir_block *weir__debug_take(struct weir_pool *pool, struct weir_block *under,
                                    size_t asked_bytes, const void *site);

/* The last reference on a handle is being dropped, on whatever thread. */
void weir__debug_released(struct weir_block *block, const void *site);

/* The block that a handle stands for. */
struct weir_block *weir__debug_under(const struct weir_block *block);

/* The owner has seen that a handle has no holder: the block that it stood for may be used again. */
struct weir_block *weir__debug_retire(struct weir_pool *pool, struct weir_block *block);

void weir__debug_end(struct weir_pool *pool);

/* Say what was done to a handle that has no holder, and where, and end the program. */
void weir__debug_stale(const struct weir_block *block, const char *what, const void *site);

int weir__quota_take(struct weir_quota *quota, size_t bytes);
void weir__quota_return(struct weir_quota *quota, size_t bytes);

/* --- for the layers above -------------------------------------------------------------------- */

/*
 * The segments, in no particular order: NULL gives the first one, each one gives the next. Whoever
 * registers them looks at pool->segment_count and each one's index, which is below
 * pool->segment_index_end. Owner's thread; a segment stays until the pool is destroyed, trimmed, or
 * short of memory under a limit, of which a watch is told.
 */
static inline const struct weir__segment *weir__pool_segment_next(
    const struct weir_pool *pool, const struct weir__segment *segment)
{
    return segment == NULL ? pool->segments : segment->older;
}

/* Told of each segment that the pool is about to give back, no block of which is held. */
static inline void weir__pool_watch(struct weir_pool *pool, struct weir__segment_watch *watch)
{
    watch->next = pool->watches;
    pool->watches = watch;
}

static inline void weir__pool_unwatch(struct weir_pool *pool, struct weir__segment_watch *watch)
{
    struct weir__segment_watch **at = &pool->watches;
    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
}

/* The first byte of the segment that a block lies in; not for large and adopted blocks. */
static inline uint8_t *weir__block_segment_base(const struct weir_block *block)
{
    return block->data - ((uintptr_t)block->data & (block->home->pool->segment_bytes - 1));
}

/* The index of the segment that a block lies in, which starts at weir__block_segment_base();
 * -1 for a large or adopted block. Any holder's thread. */
static inline int32_t weir__block_segment(const struct weir_block *block)
{
    const struct weir_pool *pool = block->home->pool;
    if (block->home == &pool->large || block->home == &pool->adopted)
        return -1;
    return ((const struct weir__segment *)(const void *)weir__block_segment_base(block))->index;
}

/* The slab of a block that lies in a segment. */
static inline struct weir__slab *weir__block_slab(const struct weir_block *block)
{
    uint8_t *base = weir__block_segment_base(block);
    size_t offset = (size_t)(block->data - base);
    struct weir__segment *segment = (struct weir__segment *)(void *)base;
    return &segment->slabs[offset >> block->home->pool->slab_shift];
}

/*
 * Recount everything and compare: free lists, slabs, segments, cache and counters. An assertion
 * where those are compiled in, and false otherwise, if anything disagrees. Owner's thread; other
 * threads may drop meanwhile. Walks all descriptors.
 */
bool weir__pool_check(const struct weir_pool *pool);

#endif /* WEIR_POOL_PRIVATE_H */
