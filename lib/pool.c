/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <weir/pool.h>

#include "pool_private.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(address, size) ASAN_POISON_MEMORY_REGION((address), (size))
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION((address), (size))
#else
#define POISON(address, size) ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

#ifndef WEIR_DEBUG
#define WEIR_DEBUG 0
#endif

#define COLD __attribute__((noinline, cold))
#define INLINE static inline __attribute__((always_inline))

#define SLAB_MIN_BYTES ((size_t)64 << 10)
#define SEGMENT_MIN_SLABS 8
#define SEGMENT_DEFAULT_BYTES ((size_t)2 << 20)
#define SEGMENT_MAX_BYTES ((size_t)1 << 30)
#define CLASS_MAX_BYTES ((uint32_t)1 << 20)
#define LARGE_RETAIN_DEFAULT_BYTES ((size_t)16 << 20)
#define PAGE_MIN_BYTES ((size_t)4096)
#define DESKS_FIRST_BYTES ((size_t)2048)
#define DESKS_CHUNK_BYTES ((size_t)16384)

/* Both bound a search that in practice ends at its first step. */
#define SEGMENTS_TRIED_MAX 8
#define BIN_TRIED_MAX 64

static const uint32_t default_class_bytes[WEIR_POOL_CLASSES_MAX] = {64,   256,   1024,
                                                                    4096, 16384, 65536};

/* Its address says which thread this is. Initial-exec: one byte, and no call to find it. */
static _Thread_local char thread_mark __attribute__((tls_model("initial-exec")));

/* --- counters -------------------------------------------------------------------------------- */

/* Counters have one writer, so a plain addition is enough; the atomic access is for readers on
 * other threads. */
INLINE void add(uint64_t *counter, uint64_t amount)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);
    __atomic_store_n(counter, before + amount, __ATOMIC_RELAXED);
}

INLINE void subtract(uint64_t *counter, uint64_t amount)
{
    uint64_t before = __atomic_load_n(counter, __ATOMIC_RELAXED);
    assert(before >= amount);
    __atomic_store_n(counter, before - amount, __ATOMIC_RELAXED);
}

INLINE uint64_t read_counter(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* --- the default source ---------------------------------------------------------------------- */

static void *mmap_obtain(void *context, size_t size_bytes, size_t align_bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped_bytes = size_bytes;
    (void)context;

    /* The kernel aligns to pages. For more, map more and cut off what sticks out. */
    if (align_bytes > page_bytes &&
        weir_add_overflows(size_bytes, align_bytes - page_bytes, &mapped_bytes))
        return NULL;
    void *memory =
        mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (align_bytes <= page_bytes)
        return memory;

    uint8_t *start = memory;
    size_t before = (size_t)(-(uintptr_t)start & (align_bytes - 1));
    size_t after = mapped_bytes - size_bytes - before;
    if (before != 0)
        (void)munmap(start, before);
    if (after != 0)
        (void)munmap(start + before + size_bytes, after);
    return start + before;
}

static void mmap_release(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    int rc = munmap(memory, size_bytes);
    assert(rc == 0);
    (void)rc;
}

const struct weir_source *weir_source_mmap(void)
{
    static const struct weir_source source = {mmap_obtain, mmap_release, NULL};
    return &source;
}

/* --- memory from the source ------------------------------------------------------------------ */

static void release(struct weir_pool *pool, void *memory, size_t bytes)
{
    UNPOISON(memory, bytes);
    subtract(&pool->bytes_held, bytes);
    pool->source.release(pool->source.context, memory, bytes);
}

static void cache_evict(struct weir_pool *pool);

/* Obtain within the limit; large blocks that are only kept for reuse give way to it. */
static int obtain(struct weir_pool *pool, size_t bytes, size_t align_bytes, void **ret)
{
    /* Without a limit this says that no address space is that large. */
    if (bytes > pool->limit_bytes - (pool->bytes_held - pool->cached_bytes))
        return pool->limit_bytes == SIZE_MAX ? -ENOMEM : -ENOBUFS;
    while (bytes > pool->limit_bytes - pool->bytes_held)
        cache_evict(pool);

    add(&pool->source_calls, 1);
    void *memory = pool->source.obtain(pool->source.context, bytes, align_bytes);
    if (memory == NULL)
        return -ENOMEM;
    assert(((uintptr_t)memory & (align_bytes - 1)) == 0);
    add(&pool->bytes_held, bytes);
    if (pool->bytes_held > pool->bytes_held_peak)
        __atomic_store_n(&pool->bytes_held_peak, pool->bytes_held, __ATOMIC_RELAXED);
    *ret = memory;
    return 0;
}

/* --- segments and slabs ---------------------------------------------------------------------- */

static int segment_add(struct weir_pool *pool)
{
    void *memory;
    int rc = obtain(pool, pool->segment_bytes, pool->segment_bytes, &memory);
    if (rc < 0)
        return rc;

    struct weir__segment *segment = memory;
    uint32_t slab_count = (uint32_t)(pool->segment_bytes / pool->slab_bytes);
    segment->pool = pool;
    segment->older = pool->segments;
    segment->used_bytes = sizeof *segment + slab_count * sizeof segment->slabs[0];
    segment->slab_from = slab_count;
    segment->slab_count = slab_count;
    segment->index = (int32_t)pool->segment_count;
    pool->segments = segment;
    __atomic_store_n(&pool->segment_count, pool->segment_count + 1, __ATOMIC_RELAXED);
    return 0;
}

static size_t descriptor_bytes(const struct weir__class *class)
{
    return class->slab_blocks * sizeof(struct weir_block);
}

/* Whether one more slab of the class fits between the descriptors and the slabs cut so far. */
static bool segment_has_room(const struct weir_pool *pool, const struct weir__segment *segment,
                             const struct weir__class *class)
{
    size_t free_bytes = segment->slab_from * pool->slab_bytes - segment->used_bytes;
    return free_bytes >= pool->slab_bytes + descriptor_bytes(class);
}

/* Cut a slab for a class. Older segments may have room for a class that needs few descriptors. */
static int slab_add(struct weir_pool *pool, struct weir__class *class)
{
    struct weir__segment *segment = pool->segments;
    for (int tried = 0; segment != NULL && tried < SEGMENTS_TRIED_MAX; tried++) {
        if (segment_has_room(pool, segment, class))
            break;
        segment = segment->older;
    }
    if (segment == NULL || !segment_has_room(pool, segment, class)) {
        int rc = segment_add(pool);
        if (rc < 0)
            return rc;
        segment = pool->segments;
        assert(segment_has_room(pool, segment, class));
    }

    struct weir_slab *slab = &segment->slabs[--segment->slab_from];
    slab->owner = pool->owner;
    slab->class = class;
    slab->pool = pool;
    slab->base = (uint8_t *)segment + segment->slab_from * pool->slab_bytes;
    slab->blocks = (struct weir_block *)(void *)((uint8_t *)segment + segment->used_bytes);
    slab->next = class->slabs;
    slab->count = class->slab_blocks;
    slab->carved = 0;
    slab->segment = segment->index;
    segment->used_bytes += descriptor_bytes(class);
    class->slabs = slab;
    POISON(slab->base, pool->slab_bytes);
    return 0;
}

/* Put one block that was never used on the free list; one at a time, so that a descriptor is not
 * touched before its block is wanted. */
static int class_carve(struct weir_pool *pool, struct weir__class *class)
{
    struct weir_slab *slab = class->slabs;
    if (slab == NULL || slab->carved == slab->count) {
        int rc = slab_add(pool, class);
        if (rc < 0)
            return rc;
        slab = class->slabs;
    }

    struct weir_block *block = &slab->blocks[slab->carved];
    block->data = slab->base + (size_t)slab->carved * class->block_bytes;
    block->size = class->block_bytes;
    block->slab = slab;
    block->next = class->free;
    block->refs = 0;
    class->free = block;
    slab->carved++;
    return 0;
}

/* --- large blocks ---------------------------------------------------------------------------- */

static unsigned bin_of(const struct weir_pool *pool, size_t bytes)
{
    size_t pages = bytes / pool->page_bytes;
    assert(pages != 0);
    unsigned log = (unsigned)(63 - __builtin_clzll(pages));
    /* The two bits below the leading one, also where there are fewer than two. */
    unsigned quarter = (unsigned)((log >= 2 ? pages >> (log - 2) : pages << (2 - log)) & 3);
    return log * 4 + quarter;
}

static void cache_remove(struct weir_pool *pool, struct weir__large *large)
{
    if (large->bin_prev != NULL)
        large->bin_prev->bin_next = large->bin_next;
    else
        pool->bins[bin_of(pool, large->mapped_bytes)] = large->bin_next;
    if (large->bin_next != NULL)
        large->bin_next->bin_prev = large->bin_prev;

    if (large->newer != NULL)
        large->newer->older = large->older;
    else
        pool->cached_newest = large->older;
    if (large->older != NULL)
        large->older->newer = large->newer;
    else
        pool->cached_oldest = large->newer;
    large->newer = large->older = large->bin_next = large->bin_prev = NULL;
    pool->cached_bytes -= large->mapped_bytes;
}

static void cache_insert(struct weir_pool *pool, struct weir__large *large)
{
    struct weir__large **bin = &pool->bins[bin_of(pool, large->mapped_bytes)];
    large->bin_prev = NULL;
    large->bin_next = *bin;
    if (*bin != NULL)
        (*bin)->bin_prev = large;
    *bin = large;

    large->newer = NULL;
    large->older = pool->cached_newest;
    if (pool->cached_newest != NULL)
        pool->cached_newest->newer = large;
    else
        pool->cached_oldest = large;
    pool->cached_newest = large;
    pool->cached_bytes += large->mapped_bytes;
}

static void large_unmap(struct weir_pool *pool, struct weir__large *large)
{
    release(pool, large->block.data, large->mapped_bytes);
    large->older = pool->desk_free;
    pool->desk_free = large;
}

static void cache_evict(struct weir_pool *pool)
{
    struct weir__large *oldest = pool->cached_oldest;
    assert(oldest != NULL);
    cache_remove(pool, oldest);
    large_unmap(pool, oldest);
}

/* The smallest cached mapping of at least @bytes that wastes no more than a quarter. */
static struct weir__large *cache_take(struct weir_pool *pool, size_t bytes)
{
    struct weir__large *best = NULL;
    unsigned first = bin_of(pool, bytes);
    for (unsigned bin = first; bin <= first + 1 && bin < WEIR__POOL_BINS && best == NULL; bin++) {
        struct weir__large *large = pool->bins[bin];
        for (int tried = 0; large != NULL && tried < BIN_TRIED_MAX; tried++) {
            bool fits = large->mapped_bytes >= bytes && large->mapped_bytes - bytes <= bytes / 4;
            if (fits && (best == NULL || large->mapped_bytes < best->mapped_bytes))
                best = large;
            if (best != NULL && best->mapped_bytes == bytes)
                break;
            large = large->bin_next;
        }
    }
    if (best != NULL)
        cache_remove(pool, best);
    return best;
}

static size_t desks_chunk_bytes(const struct weir_pool *pool)
{
    return DESKS_CHUNK_BYTES > pool->page_bytes ? DESKS_CHUNK_BYTES : pool->page_bytes;
}

static int desk_take(struct weir_pool *pool, struct weir__large **ret)
{
    if (pool->desk_free != NULL) {
        *ret = pool->desk_free;
        pool->desk_free = pool->desk_free->older;
        return 0;
    }
    if (pool->desk_next == pool->desk_end) {
        void *memory;
        size_t chunk_bytes = desks_chunk_bytes(pool);
        int rc = obtain(pool, chunk_bytes, pool->page_bytes, &memory);
        if (rc < 0)
            return rc;
        struct weir__desks *chunk = memory;
        chunk->next = pool->desk_chunks;
        pool->desk_chunks = chunk;
        pool->desk_next = chunk->desks;
        pool->desk_end = chunk->desks + (chunk_bytes - sizeof *chunk) / sizeof chunk->desks[0];
    }
    *ret = pool->desk_next++;
    return 0;
}

static int large_map(struct weir_pool *pool, size_t bytes, struct weir__large **ret)
{
    void *memory;
    struct weir__large *large;
    int rc = obtain(pool, bytes, pool->page_bytes, &memory);
    if (rc < 0)
        return rc;
    rc = desk_take(pool, &large);
    if (rc < 0) {
        release(pool, memory, bytes);
        return rc;
    }
    memset(large, 0, sizeof *large);
    large->mapped_bytes = bytes;
    large->slab.class = &pool->large;
    large->slab.pool = pool;
    large->slab.base = memory;
    large->slab.blocks = &large->block;
    large->slab.count = 1;
    large->slab.carved = 1;
    large->slab.segment = -1;
    large->block.data = memory;
    large->block.slab = &large->slab;
    *ret = large;
    return 0;
}

/* --- allocation ------------------------------------------------------------------------------ */

INLINE struct weir__class *class_for(struct weir_pool *pool, size_t size_bytes)
{
    return &pool->classes[pool->lookup[(size_bytes - 1) >> WEIR__POOL_GRAIN_SHIFT]];
}

INLINE void count_allocation(struct weir_pool *pool, struct weir__class *class, uint64_t bytes)
{
    add(&class->allocations, 1);
    uint64_t in_use = pool->bytes_in_use + bytes;
    __atomic_store_n(&pool->bytes_in_use, in_use, __ATOMIC_RELAXED);
    if (WEIR_UNLIKELY(in_use > pool->bytes_in_use_peak))
        __atomic_store_n(&pool->bytes_in_use_peak, in_use, __ATOMIC_RELAXED);
}

INLINE void block_hand_out(struct weir_block *block)
{
    assert(block->refs == 0);
    block->next = NULL;
    __atomic_store_n(&block->refs, 1, __ATOMIC_RELAXED);
    UNPOISON(block->data, block->size);
}

static int alloc_large(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    size_t bytes;
    if (weir_align_up(size_bytes, pool->page_bytes, &bytes))
        return -EOVERFLOW;
    /* What other threads have dropped may be just what is wanted. */
    if (__atomic_load_n(&pool->remote, __ATOMIC_RELAXED) != NULL)
        (void)weir_pool_reclaim(pool);

    struct weir__large *large = cache_take(pool, bytes);
    if (large == NULL) {
        int rc = large_map(pool, bytes, &large);
        if (rc < 0)
            return rc;
        add(&pool->large.misses, 1);
    }
    large->block.size = bytes;
    add(&pool->large_bytes_in_use, bytes);
    count_allocation(pool, &pool->large, bytes);
    block_hand_out(&large->block);
    *ret = &large->block;
    return 0;
}

static COLD int alloc_slow(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    if (size_bytes == 0)
        size_bytes = 1;
    if (size_bytes > pool->class_max_bytes)
        return alloc_large(pool, size_bytes, ret);

    struct weir__class *class = class_for(pool, size_bytes);
    uint64_t calls_before = pool->source_calls;
    if (class->free == NULL && __atomic_load_n(&pool->remote, __ATOMIC_RELAXED) != NULL)
        (void)weir_pool_reclaim(pool);
    if (class->free == NULL) {
        int rc = class_carve(pool, class);
        if (rc < 0)
            return rc;
    }
    if (pool->source_calls != calls_before)
        add(&class->misses, 1);

    struct weir_block *block = class->free;
    class->free = block->next;
    count_allocation(pool, class, class->block_bytes);
    block_hand_out(block);
    *ret = block;
    return 0;
}

int weir_pool_alloc(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    assert(pool->owner == &thread_mark);
    /* 0 wraps to the far side. */
    if (WEIR_UNLIKELY(size_bytes - 1 >= pool->class_max_bytes))
        return alloc_slow(pool, size_bytes, ret);
    struct weir__class *class = class_for(pool, size_bytes);
    struct weir_block *block = class->free;
    if (WEIR_UNLIKELY(block == NULL))
        return alloc_slow(pool, size_bytes, ret);
    class->free = block->next;
    count_allocation(pool, class, class->block_bytes);
    block_hand_out(block);
    *ret = block;
    return 0;
}

size_t weir_pool_block_bytes(const struct weir_pool *pool, size_t size_bytes)
{
    size_t bytes;
    if (size_bytes == 0)
        size_bytes = 1;
    if (size_bytes <= pool->class_max_bytes)
        return pool->classes[pool->lookup[(size_bytes - 1) >> WEIR__POOL_GRAIN_SHIFT]].block_bytes;
    return weir_align_up(size_bytes, pool->page_bytes, &bytes) ? SIZE_MAX : bytes;
}

/* --- release --------------------------------------------------------------------------------- */

INLINE void class_release(struct weir_pool *pool, struct weir__class *class,
                          struct weir_block *block)
{
    block->next = class->free;
    class->free = block;
    add(&class->releases, 1);
    subtract(&pool->bytes_in_use, class->block_bytes);
}

static void large_release(struct weir_pool *pool, struct weir_block *block)
{
    struct weir__large *large = (struct weir__large *)block->slab;
    block->next = NULL;
    add(&pool->large.releases, 1);
    subtract(&pool->large_bytes_in_use, block->size);
    subtract(&pool->bytes_in_use, block->size);
    if (large->mapped_bytes > pool->large_retain_bytes) {
        large_unmap(pool, large);
        return;
    }
    cache_insert(pool, large);
    while (pool->cached_bytes > pool->large_retain_bytes)
        cache_evict(pool);
}

/* Large blocks, and blocks of another thread's pool. */
static COLD void release_slow(struct weir_block *block)
{
    struct weir_pool *pool = block->slab->pool;
    if (pool->owner == &thread_mark) {
        large_release(pool, block);
        return;
    }
    struct weir_block *head = __atomic_load_n(&pool->remote, __ATOMIC_RELAXED);
    do {
        block->next = head;
        /* Release: with the block go the writes of its former holders. The owner takes the whole
         * list and never a single block, so a head that comes back is no danger. From the moment
         * of success the pool may be gone. */
    } while (!__atomic_compare_exchange_n(&pool->remote, &head, block, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

/* With --enable-debug: what the last drop finds must be a block in use, in its own place. */
INLINE void debug_block(const struct weir_block *block)
{
    const struct weir_slab *slab = block->slab;
    (void)slab;
    assert(block->next == NULL);
    assert(block >= slab->blocks && block < slab->blocks + slab->count);
    assert(block->data == slab->base + (size_t)(block - slab->blocks) * block->size);
    assert(slab->segment >= 0 || slab->class == &slab->pool->large);
}

void weir_block_drop(struct weir_block *block)
{
    if (block == NULL)
        return;
    /* Whoever sees 1 is the only holder, and nobody can add another; that needs no atomic
     * read-modify-write. Acquire: what the former holders did happens before the reuse. */
    uint32_t refs = __atomic_load_n(&block->refs, __ATOMIC_ACQUIRE);
    assert(refs != 0);
    if (WEIR_UNLIKELY(refs != 1) && __atomic_fetch_sub(&block->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    if (WEIR_DEBUG)
        debug_block(block);
    __atomic_store_n(&block->refs, 0, __ATOMIC_RELAXED);
    POISON(block->data, block->size);

    struct weir_slab *slab = block->slab;
    if (WEIR_UNLIKELY(slab->owner != &thread_mark)) {
        release_slow(block);
        return;
    }
    class_release(slab->pool, slab->class, block);
}

size_t weir_pool_reclaim(struct weir_pool *pool)
{
    assert(pool->owner == &thread_mark);
    struct weir_block *block = __atomic_exchange_n(&pool->remote, NULL, __ATOMIC_ACQUIRE);
    size_t count = 0;
    while (block != NULL) {
        struct weir_block *next = block->next;
        struct weir__class *class = block->slab->class;
        assert(block->refs == 0 && block->slab->pool == pool);
        add(&class->remote_releases, 1);
        if (class == &pool->large)
            large_release(pool, block);
        else
            class_release(pool, class, block);
        block = next;
        count++;
    }
    return count;
}

struct weir_pool *weir_block_pool(const struct weir_block *block)
{
    return block->slab->pool;
}

/* --- create and destroy ---------------------------------------------------------------------- */

/* What the options come to. */
struct plan {
    const struct weir_source *source;
    const uint32_t *class_bytes;
    uint32_t class_count;
    size_t page_bytes;
    size_t slab_bytes;
    size_t segment_bytes;
    size_t limit_bytes;
    size_t large_retain_bytes;
    size_t pool_bytes;
};

static int plan_classes(struct plan *plan, const uint32_t *class_bytes)
{
    static const uint32_t none[WEIR_POOL_CLASSES_MAX];
    if (memcmp(class_bytes, none, sizeof none) == 0)
        class_bytes = default_class_bytes;

    uint32_t count = 0;
    uint32_t last = 0;
    while (count < WEIR_POOL_CLASSES_MAX && class_bytes[count] != 0) {
        uint32_t bytes = class_bytes[count];
        if (bytes <= last || bytes > CLASS_MAX_BYTES ||
            (bytes & (((uint32_t)1 << WEIR__POOL_GRAIN_SHIFT) - 1)) != 0)
            return -EINVAL;
        last = bytes;
        count++;
    }
    for (uint32_t i = count; i < WEIR_POOL_CLASSES_MAX; i++)
        if (class_bytes[i] != 0)
            return -EINVAL;
    plan->class_bytes = class_bytes;
    plan->class_count = count;
    plan->slab_bytes = SLAB_MIN_BYTES;
    while (plan->slab_bytes < last)
        plan->slab_bytes *= 2;
    return 0;
}

static int plan_make(struct plan *plan, const struct weir_pool_options *options)
{
    static const struct weir_pool_options defaults;
    if (options == NULL)
        options = &defaults;
    plan->source = options->source != NULL ? options->source : weir_source_mmap();
    if (plan->source->obtain == NULL || plan->source->release == NULL)
        return -EINVAL;
    int rc = plan_classes(plan, options->class_bytes);
    if (rc < 0)
        return rc;

    size_t segment_min = SEGMENT_MIN_SLABS * plan->slab_bytes;
    plan->segment_bytes = options->segment_bytes;
    if (plan->segment_bytes == 0)
        plan->segment_bytes =
            segment_min > SEGMENT_DEFAULT_BYTES ? segment_min : SEGMENT_DEFAULT_BYTES;
    if (!weir_is_pow2(plan->segment_bytes) || plan->segment_bytes < segment_min ||
        plan->segment_bytes > SEGMENT_MAX_BYTES)
        return -EINVAL;

    long page_bytes = sysconf(_SC_PAGESIZE);
    plan->page_bytes = page_bytes > (long)PAGE_MIN_BYTES ? (size_t)page_bytes : PAGE_MIN_BYTES;
    plan->limit_bytes = options->limit_bytes != 0 ? options->limit_bytes : SIZE_MAX;
    plan->large_retain_bytes =
        options->large_retain_bytes != 0 ? options->large_retain_bytes : LARGE_RETAIN_DEFAULT_BYTES;
    uint32_t largest = plan->class_bytes[plan->class_count - 1];
    size_t bytes = sizeof(struct weir_pool) + (largest >> WEIR__POOL_GRAIN_SHIFT);
    plan->pool_bytes = (bytes + DESKS_FIRST_BYTES + plan->page_bytes - 1) & ~(plan->page_bytes - 1);
    return plan->pool_bytes <= plan->limit_bytes ? 0 : -ENOBUFS;
}

static void classes_init(struct weir_pool *pool, const struct plan *plan)
{
    uint32_t largest = plan->class_bytes[plan->class_count - 1];
    uint32_t index = 0;
    for (uint32_t grain = 0; grain < largest >> WEIR__POOL_GRAIN_SHIFT; grain++) {
        if (grain << WEIR__POOL_GRAIN_SHIFT == plan->class_bytes[index])
            index++;
        pool->lookup[grain] = (uint8_t)index;
    }
    for (uint32_t i = 0; i < plan->class_count; i++) {
        pool->classes[i].block_bytes = plan->class_bytes[i];
        pool->classes[i].slab_blocks = (uint32_t)(plan->slab_bytes / plan->class_bytes[i]);
    }
    pool->class_count = plan->class_count;
    pool->class_max_bytes = largest;

    size_t used = sizeof *pool + (largest >> WEIR__POOL_GRAIN_SHIFT);
    used = (used + WEIR__CACHE_LINE - 1) & ~(size_t)(WEIR__CACHE_LINE - 1);
    pool->desk_next = (struct weir__large *)(void *)((uint8_t *)pool + used);
    pool->desk_end = pool->desk_next + (plan->pool_bytes - used) / sizeof *pool->desk_next;
}

int weir_pool_create(const struct weir_pool_options *options, struct weir_pool **ret)
{
    struct plan plan;
    int rc = plan_make(&plan, options);
    if (rc < 0)
        return rc;
    struct weir_pool *pool =
        plan.source->obtain(plan.source->context, plan.pool_bytes, plan.page_bytes);
    if (pool == NULL)
        return -ENOMEM;

    pool->owner = &thread_mark;
    pool->source = *plan.source;
    pool->page_bytes = plan.page_bytes;
    pool->slab_bytes = plan.slab_bytes;
    pool->segment_bytes = plan.segment_bytes;
    pool->limit_bytes = plan.limit_bytes;
    pool->large_retain_bytes = plan.large_retain_bytes;
    pool->pool_bytes = plan.pool_bytes;
    pool->bytes_held = plan.pool_bytes;
    pool->bytes_held_peak = plan.pool_bytes;
    pool->source_calls = 1;
    classes_init(pool, &plan);
    *ret = pool;
    return 0;
}

int weir_pool_destroy(struct weir_pool *pool)
{
    if (pool == NULL)
        return 0;
    assert(pool->owner == &thread_mark);
    (void)weir_pool_reclaim(pool);
    if (pool->bytes_in_use != 0)
        return -EBUSY;

    while (pool->cached_oldest != NULL)
        cache_evict(pool);
    while (pool->desk_chunks != NULL) {
        struct weir__desks *chunk = pool->desk_chunks;
        pool->desk_chunks = chunk->next;
        release(pool, chunk, desks_chunk_bytes(pool));
    }
    while (pool->segments != NULL) {
        struct weir__segment *segment = pool->segments;
        pool->segments = segment->older;
        release(pool, segment, pool->segment_bytes);
    }
    assert(pool->bytes_held == pool->pool_bytes);
    struct weir_source source = pool->source;
    source.release(source.context, pool, pool->pool_bytes);
    return 0;
}

/* --- statistics ------------------------------------------------------------------------------ */

static void class_stats(const struct weir__class *class, struct weir_pool_class_stats *ret)
{
    uint64_t misses = read_counter(&class->misses);
    uint64_t releases = read_counter(&class->releases);
    ret->block_bytes = class->block_bytes;
    ret->allocations = read_counter(&class->allocations);
    ret->misses = misses;
    ret->hits = ret->allocations - misses;
    ret->releases = releases;
    ret->remote_releases = read_counter(&class->remote_releases);
    ret->blocks_in_use = ret->allocations - releases;
    ret->bytes_in_use = ret->blocks_in_use * class->block_bytes;
}

static void total_add(struct weir_pool_class_stats *total, const struct weir_pool_class_stats *part)
{
    total->allocations += part->allocations;
    total->hits += part->hits;
    total->misses += part->misses;
    total->releases += part->releases;
    total->remote_releases += part->remote_releases;
    total->blocks_in_use += part->blocks_in_use;
    total->bytes_in_use += part->bytes_in_use;
}

void weir_pool_stats(const struct weir_pool *pool, struct weir_pool_stats *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->class_count = pool->class_count;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        class_stats(&pool->classes[i], &ret->classes[i]);
        total_add(&ret->total, &ret->classes[i]);
    }
    class_stats(&pool->large, &ret->large);
    ret->large.bytes_in_use = read_counter(&pool->large_bytes_in_use);
    total_add(&ret->total, &ret->large);
    ret->segment_count = __atomic_load_n(&pool->segment_count, __ATOMIC_RELAXED);
    ret->bytes_held = read_counter(&pool->bytes_held);
    ret->bytes_held_peak = read_counter(&pool->bytes_held_peak);
    ret->bytes_in_use_peak = read_counter(&pool->bytes_in_use_peak);
    ret->source_calls = read_counter(&pool->source_calls);
}

/* --- invariants ------------------------------------------------------------------------------ */

static bool holds(bool condition)
{
    assert(condition);
    return condition;
}

/* Whether a descriptor says what its place says. */
static bool block_agrees(const struct weir_slab *slab, uint32_t index)
{
    const struct weir_block *block = &slab->blocks[index];
    return holds(block->slab == slab) && holds(block->size == slab->class->block_bytes) &&
           holds(block->data == slab->base + (size_t)index * block->size);
}

/* The slabs of a class: where they lie, what is carved, and how many blocks are in use, free or
 * on their way home; free ones have no holder. */
static bool slabs_agree(const struct weir_pool *pool, const struct weir__class *class,
                        uint64_t *carved, uint64_t *held)
{
    bool ok = true;
    for (const struct weir_slab *slab = class->slabs; slab != NULL; slab = slab->next) {
        ok &= holds(slab->owner == pool->owner && slab->pool == pool && slab->class == class);
        ok &= holds(((uintptr_t)slab->base & (pool->slab_bytes - 1)) == 0);
        ok &= holds(slab->count == class->slab_blocks && slab->carved <= slab->count);
        ok &= holds(slab == class->slabs || slab->carved == slab->count);
        ok &= holds((uint32_t)slab->segment < pool->segment_count);
        for (uint32_t i = 0; i < slab->carved; i++) {
            ok &= block_agrees(slab, i);
            *held += __atomic_load_n(&slab->blocks[i].refs, __ATOMIC_RELAXED) != 0;
        }
        *carved += slab->carved;
    }
    return ok;
}

static bool class_agrees(const struct weir_pool *pool, const struct weir__class *class)
{
    uint64_t carved = 0, held = 0, unused = 0;
    bool ok = slabs_agree(pool, class, &carved, &held);
    for (const struct weir_block *block = class->free; block != NULL; block = block->next) {
        ok &= holds(block->slab->class == class);
        ok &= holds(__atomic_load_n(&block->refs, __ATOMIC_RELAXED) == 0);
        if (!holds(++unused <= carved))
            return false; /* a circle */
    }
    uint64_t in_use = class->allocations - class->releases;
    ok &= holds(carved == unused + in_use);
    /* What other threads have just dropped has no holder and is still in use. */
    ok &= holds(held <= in_use);
    ok &= holds(class->remote_releases <= class->releases);
    ok &= holds(class->misses <= class->allocations);
    return ok;
}

static bool segments_agree(const struct weir_pool *pool)
{
    bool ok = true;
    uint32_t expected = pool->segment_count;
    for (const struct weir__segment *segment = pool->segments; segment != NULL;
         segment = segment->older) {
        ok &= holds(expected != 0 && segment->index == (int32_t)--expected);
        ok &= holds(segment->pool == pool && segment->slab_from <= segment->slab_count);
        ok &= holds(segment->used_bytes <= segment->slab_from * pool->slab_bytes);
        size_t bytes = sizeof *segment + segment->slab_count * sizeof segment->slabs[0];
        for (uint32_t i = segment->slab_from; i < segment->slab_count; i++)
            bytes += descriptor_bytes(segment->slabs[i].class);
        ok &= holds(bytes == segment->used_bytes);
    }
    return ok & holds(expected == 0);
}

static bool cache_agrees(const struct weir_pool *pool)
{
    bool ok = true;
    size_t bytes = 0, binned_bytes = 0;
    const struct weir__large *newer = NULL;
    for (const struct weir__large *large = pool->cached_newest; large != NULL;
         large = large->older) {
        ok &= holds(large->newer == newer && large->block.refs == 0);
        bytes += large->mapped_bytes;
        newer = large;
    }
    ok &= holds(pool->cached_oldest == newer);
    for (unsigned bin = 0; bin < WEIR__POOL_BINS; bin++) {
        for (const struct weir__large *large = pool->bins[bin]; large != NULL;
             large = large->bin_next) {
            ok &= holds(bin_of(pool, large->mapped_bytes) == bin);
            binned_bytes += large->mapped_bytes;
        }
    }
    ok &= holds(bytes == pool->cached_bytes && binned_bytes == bytes);
    return ok & holds(bytes <= pool->large_retain_bytes);
}

bool weir__pool_check(const struct weir_pool *pool)
{
    bool ok = true;
    uint64_t in_use = pool->large_bytes_in_use;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        const struct weir__class *class = &pool->classes[i];
        ok &= class_agrees(pool, class);
        in_use += (class->allocations - class->releases) * class->block_bytes;
    }
    ok &= segments_agree(pool);
    ok &= cache_agrees(pool);
    ok &= holds(in_use == pool->bytes_in_use && in_use <= pool->bytes_in_use_peak);

    /* Large blocks in use may have mappings larger than they are, hence no equality. */
    uint64_t held = pool->pool_bytes + pool->segment_count * pool->segment_bytes;
    for (const struct weir__desks *chunk = pool->desk_chunks; chunk != NULL; chunk = chunk->next)
        held += desks_chunk_bytes(pool);
    held += pool->cached_bytes + pool->large_bytes_in_use;
    ok &= holds(held <= pool->bytes_held && pool->bytes_held <= pool->bytes_held_peak);
    return ok & holds(pool->bytes_held_peak <= pool->limit_bytes);
}
