/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "pool_poison.h"
#include "pool_private.h"

#define COLD __attribute__((noinline, cold))

#define SLAB_MIN_BYTES ((size_t)64 << 10)
#define SEGMENT_MIN_SLABS 2
#define SEGMENT_DEFAULT_SLABS 8
#define SEGMENT_DEFAULT_BYTES ((size_t)2 << 20)
#define SEGMENT_MAX_BYTES ((size_t)1 << 30)
#define LIMIT_SEGMENTS 8
#define CLASS_MAX_BYTES ((uint32_t)1 << 20)
#define LARGE_RETAIN_DEFAULT_BYTES ((size_t)16 << 20)
#define PAGE_MIN_BYTES ((size_t)4096)
#define DESKS_FIRST_BYTES ((size_t)2048)

/* In pool->remote: the pool is abandoned, and who puts the last block there frees everything. */
#define ABANDONED ((uintptr_t)1)

static const uint32_t default_class_bytes[WEIR_POOL_CLASSES_MAX] = {64,   256,   1024,
                                                                    4096, 16384, 65536};

const void *weir_pool_thread(void)
{
#if (defined(__x86_64__) && defined(__LP64__)) || defined(__aarch64__)
    return weir__pool_thread();
#else
    static _Thread_local char mark;
    return &mark;
#endif
}

/* --- memory from the source ------------------------------------------------------------------ */

int weir__quota_take(struct weir_quota *quota, size_t bytes)
{
    if (quota == NULL)
        return 0;
    size_t used = __atomic_load_n(&quota->used_bytes, __ATOMIC_RELAXED);
    do {
        size_t limit = __atomic_load_n(&quota->limit_bytes, __ATOMIC_RELAXED);
        if (used > limit || bytes > limit - used)
            return -ENOBUFS;
    } while (!__atomic_compare_exchange_n(&quota->used_bytes, &used, used + bytes, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return 0;
}

void weir__quota_return(struct weir_quota *quota, size_t bytes)
{
    if (quota == NULL)
        return;
    size_t before = __atomic_fetch_sub(&quota->used_bytes, bytes, __ATOMIC_RELAXED);
    assert(before >= bytes);
    (void)before;
}

void weir__pool_release(struct weir_pool *pool, void *memory, size_t bytes)
{
    weir__unpoison(memory, bytes);
    weir__subtract(&pool->bytes_held, bytes);
    pool->source.release(pool->source.context, memory, bytes);
    weir__quota_return(pool->quota, bytes);
}

bool weir__pool_evict(struct weir_pool *pool)
{
    struct weir__segment *vacant = weir__pool_vacant(pool);
    if (pool->cached_oldest != NULL) {
        weir__large_evict(pool);
    } else if (vacant != NULL) {
        weir__add(&pool->bytes_returned, pool->segment_bytes);
        weir__segment_remove(pool, vacant);
    } else {
        return false;
    }
    return true;
}

static bool limit_allows(const struct weir_pool *pool, size_t bytes)
{
    return bytes <= pool->limit_bytes - (pool->bytes_held - pool->bytes_free);
}

/* Whether the quota would allow it if all were given back that this pool keeps for reuse. */
static bool quota_may_allow(const struct weir_pool *pool, size_t bytes)
{
    size_t limit = __atomic_load_n(&pool->quota->limit_bytes, __ATOMIC_RELAXED);
    size_t used = weir_quota_used_bytes(pool->quota);
    uint64_t others = used > pool->bytes_free ? used - pool->bytes_free : 0;
    return bytes <= limit && others <= limit - bytes;
}

int weir__pool_obtain(struct weir_pool *pool, size_t bytes, size_t align_bytes, void **ret)
{
    /* Without a limit this says that no address space is that large. */
    if (!limit_allows(pool, bytes) && pool->limit_bytes != SIZE_MAX &&
        weir__pool_sweep_may_help(pool))
        (void)weir__pool_sweep(pool);
    if (!limit_allows(pool, bytes))
        return pool->limit_bytes == SIZE_MAX ? -ENOMEM : -ENOBUFS;
    while (bytes > pool->limit_bytes - pool->bytes_held)
        (void)weir__pool_evict(pool);
    while (weir__quota_take(pool->quota, bytes) < 0) {
        /* Nothing is given back in vain. */
        if (quota_may_allow(pool, bytes) && weir__pool_evict(pool))
            continue;
        if (!weir__pool_sweep_may_help(pool) || weir__pool_sweep(pool) == 0)
            return -ENOBUFS;
    }

    weir__add(&pool->source_calls, 1);
    void *memory = pool->source.obtain(pool->source.context, bytes, align_bytes);
    if (memory == NULL) {
        weir__quota_return(pool->quota, bytes);
        return -ENOMEM;
    }
    assert(((uintptr_t)memory & (align_bytes - 1)) == 0);
    weir__add(&pool->bytes_held, bytes);
    weir__raise(&pool->bytes_held_peak, pool->bytes_held);
    *ret = memory;
    return 0;
}

uint64_t weir__pool_in_use(const struct weir_pool *pool)
{
    uint64_t bytes = weir__read(&pool->large_bytes_in_use);
    for (uint32_t i = 0; i < pool->class_count; i++)
        bytes += weir__class_in_use(&pool->head.classes[i]) * pool->head.classes[i].block_bytes;
    return bytes;
}

/* --- allocation ------------------------------------------------------------------------------ */

/* The free list is empty. */
static int class_fill(struct weir_pool *pool, struct weir_pool_class *home)
{
    uint64_t calls_before = pool->source_calls;
    if (__atomic_load_n(&pool->remote, __ATOMIC_RELAXED) != 0)
        (void)weir__pool_reclaim(pool);
    if (*weir__class_free(home) == NULL) {
        int rc = weir__class_refill(pool, home);
        if (rc < 0)
            return rc;
    }
    if (pool->source_calls != calls_before)
        weir__add(&weir__class_info(home)->misses, 1);
    return 0;
}

static int class_alloc(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    struct weir_pool_class *home = weir__pool_class(pool, size_bytes);
    struct weir_block **list = weir__class_free(home);
    bool first_use = *list == NULL;
    if (first_use) {
        int rc = class_fill(pool, home);
        if (rc < 0)
            return rc;
    }
    struct weir_block *block = *list;
    assert(block->refs == 0);
    *list = block->next;
    block->size = home->block_bytes;
    __atomic_store_n(&block->refs, 1, __ATOMIC_RELAXED);
    weir__pool_count(&home->allocations);
    weir__unpoison(block->data, block->size);
    if (first_use)
        weir__raise(&pool->bytes_in_use_peak, weir__pool_in_use(pool));
    *ret = block;
    return 0;
}

COLD int weir_pool_alloc_slow(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    assert(weir__pool_is_mine(pool));
    if (WEIR_UNLIKELY(__atomic_load_n(&pool->trim_request, __ATOMIC_RELAXED) != 0))
        weir__pool_tend(pool);
    size_t bytes = size_bytes != 0 ? size_bytes : 1;
    if (WEIR_DEBUG && weir__debug_reserve(pool) < 0)
        return -ENOMEM;
    int rc = bytes > pool->head.class_max_bytes ? weir__large_alloc(pool, bytes, ret)
                                                : class_alloc(pool, bytes, ret);
    if (rc < 0)
        return rc;
    /* The caller is where the inline half was compiled. */
    if (WEIR_DEBUG)
        *ret = weir__debug_take(pool, *ret, size_bytes, __builtin_return_address(0));
    if (pool->tracks != NULL)
        weir__track_add(pool, *ret, size_bytes, __builtin_return_address(0));
    return 0;
}

size_t weir_pool_block_bytes(const struct weir_pool *pool, size_t size_bytes)
{
    size_t bytes;
    if (size_bytes == 0)
        size_bytes = 1;
    if (size_bytes <= pool->head.class_max_bytes) {
        return weir__pool_class((struct weir_pool *)(uintptr_t)pool, size_bytes)->block_bytes;
    }
    return weir_align_up(size_bytes, pool->page_bytes, &bytes) ? SIZE_MAX : bytes;
}

/* --- release --------------------------------------------------------------------------------- */

static void release_here(struct weir_pool *pool, struct weir_block *block)
{
    struct weir_pool_class *home = block->home;
    if (block->track != 0)
        weir__track_remove(pool, block);
    if (WEIR_DEBUG)
        block = weir__debug_retire(pool, block);
    if (home == &pool->large) {
        weir__large_release(pool, block);
    } else if (home == &pool->adopted) {
        weir__adopted_release(pool, block);
    } else {
        struct weir_block **list = weir__class_free(home);
        block->next = *list;
        *list = block;
        weir__pool_count(&home->releases);
    }
}

static void pool_free(struct weir_pool *pool);

/* On another thread than the owner's. */
static void release_elsewhere(struct weir_pool *pool, struct weir_block *block)
{
    uintptr_t head = __atomic_load_n(&pool->remote, __ATOMIC_RELAXED);
    do {
        block->next = (struct weir_block *)(head & ~ABANDONED);
        /* Release: with the block go the writes of its former holders. The owner takes the whole
         * list and never a single block, so a head that comes back is no danger. From the moment
         * of success the pool may be gone, unless it is abandoned. */
    } while (!__atomic_compare_exchange_n(&pool->remote, &head,
                                          (uintptr_t)block | (head & ABANDONED), true,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    /* Who counts the last block is alone with the pool. Acquire and release: all that the others
     * did comes before its end. */
    if (WEIR_UNLIKELY((head & ABANDONED) != 0) &&
        __atomic_sub_fetch(&pool->orphans, 1, __ATOMIC_ACQ_REL) == 0)
        pool_free(pool);
}

/* With --enable-debug: what the last drop finds must be a block in use, in its own place. */
static void debug_block(const struct weir_block *handle)
{
    const struct weir_block *block = weir__debug_under(handle);
    const struct weir_pool_class *home = block->home;
    if (home == &home->pool->large || home == &home->pool->adopted)
        return;
    const struct weir__slab *slab = weir__block_slab(block);
    (void)slab;
    assert(slab->home == home && block->size == home->block_bytes);
    assert(block >= slab->blocks && block < slab->blocks + slab->count);
    assert(block->data == slab->base + (size_t)(block - slab->blocks) * block->size);
}

COLD void weir_block_stale(const struct weir_block *block)
{
    const bool used_after_its_release = true;
    if (WEIR_DEBUG)
        weir__debug_stale(block, "used after its release", __builtin_return_address(0));
    assert(!used_after_its_release);
    (void)used_after_its_release;
}

COLD void weir_block_drop_slow(struct weir_block *block)
{
    uint32_t refs = __atomic_load_n(&block->refs, __ATOMIC_ACQUIRE);
    if (WEIR_DEBUG && refs == 0)
        weir__debug_stale(block, "released twice", __builtin_return_address(0));
    assert(refs != 0);
    if (refs != 1 && __atomic_fetch_sub(&block->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    if (WEIR_DEBUG) {
        debug_block(block);
        weir__debug_released(block, __builtin_return_address(0));
    }
    struct weir_pool *pool = block->home->pool;
    __atomic_store_n(&block->refs, 0, __ATOMIC_RELAXED);
    if (block->home == &pool->adopted) {
        const struct weir_block *own = WEIR_DEBUG ? weir__debug_under(block) : block;
        const struct weir__large *desk = (const struct weir__large *)(const void *)own;
        if (desk->release != NULL)
            desk->release(desk->context, block->data, block->size);
    } else {
        weir__poison(block->data, block->size);
    }
    if (weir__pool_is_mine(pool))
        release_here(pool, block);
    else
        release_elsewhere(pool, block);
}

/* What is on a list that was taken from pool->remote. */
static size_t release_list(struct weir_pool *pool, uintptr_t list)
{
    struct weir_block *block = (struct weir_block *)(list & ~ABANDONED);
    size_t count = 0;
    while (block != NULL) {
        struct weir_block *next = block->next;
        struct weir_pool_class *home = block->home;
        struct weir__class *info = home == &pool->large     ? &pool->large_info
                                   : home == &pool->adopted ? &pool->adopted_info
                                                            : weir__class_info(home);
        assert(block->refs == 0 && home->pool == pool);
        weir__add(&info->remote_releases, 1);
        release_here(pool, block);
        block = next;
        count++;
    }
    return count;
}

size_t weir__pool_reclaim(struct weir_pool *pool)
{
    weir__raise(&pool->bytes_in_use_peak, weir__pool_in_use(pool));
    return release_list(pool, __atomic_exchange_n(&pool->remote, 0, __ATOMIC_ACQUIRE));
}

size_t weir_pool_reclaim(struct weir_pool *pool)
{
    assert(weir__pool_is_mine(pool));
    size_t count = 0;
    if (__atomic_load_n(&pool->remote, __ATOMIC_RELAXED) != 0)
        count = weir__pool_reclaim(pool);
    weir__pool_tend(pool);
    return count;
}

size_t weir_pool_trim(struct weir_pool *pool, size_t keep_bytes)
{
    if (!weir__pool_is_mine(pool)) {
        size_t request = keep_bytes == SIZE_MAX ? SIZE_MAX : keep_bytes + 1;
        __atomic_store_n(&pool->trim_request, request, __ATOMIC_RELEASE);
        return 0;
    }
    uint64_t before = pool->bytes_held;
    (void)weir__pool_reclaim(pool);
    if (weir__pool_sweep_may_help(pool))
        (void)weir__pool_sweep(pool);
    weir__pool_shrink(pool, keep_bytes);
    return (size_t)(before - pool->bytes_held);
}

struct weir_pool *weir_block_pool(const struct weir_block *block)
{
    return block->home->pool;
}

/* --- create ---------------------------------------------------------------------------------- */

/* What the options come to. */
struct plan {
    const struct weir_source *source;
    const uint32_t *class_bytes;
    uint32_t class_count;
    size_t page_bytes;
    unsigned slab_shift;
    size_t segment_bytes;
    size_t limit_bytes;
    size_t pool_bytes;
};

static int plan_classes(struct plan *plan, const struct weir_pool_options *options)
{
    static const uint32_t none[WEIR_POOL_CLASSES_MAX];
    const uint32_t *class_bytes = options->class_bytes;
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
        if (class_bytes[i] != 0 || options->class_retain_bytes[i] != 0 ||
            options->class_prealloc_blocks[i] != 0)
            return -EINVAL;
    plan->class_bytes = class_bytes;
    plan->class_count = count;
    plan->slab_shift = 0;
    while ((size_t)1 << plan->slab_shift < SLAB_MIN_BYTES || (size_t)1 << plan->slab_shift < last)
        plan->slab_shift++;
    return 0;
}

static int plan_segment(struct plan *plan, size_t segment_bytes)
{
    size_t slab_bytes = (size_t)1 << plan->slab_shift;
    size_t least = SEGMENT_MIN_SLABS * slab_bytes;
    if (segment_bytes == 0) {
        segment_bytes = SEGMENT_DEFAULT_SLABS * slab_bytes;
        if (segment_bytes < SEGMENT_DEFAULT_BYTES)
            segment_bytes = SEGMENT_DEFAULT_BYTES;
        /* A small limit is not spent on a single segment. */
        if (plan->limit_bytes < 2 * segment_bytes)
            while (segment_bytes > least && segment_bytes > plan->limit_bytes / LIMIT_SEGMENTS)
                segment_bytes /= 2;
    }
    if (!weir_is_pow2(segment_bytes) || segment_bytes < least || segment_bytes > SEGMENT_MAX_BYTES)
        return -EINVAL;
    plan->segment_bytes = segment_bytes;
    return 0;
}

static int plan_make(struct plan *plan, const struct weir_pool_options *options)
{
    plan->source = options->source != NULL ? options->source : weir_source_mmap();
    if (plan->source->obtain == NULL || plan->source->release == NULL)
        return -EINVAL;
    plan->limit_bytes = options->limit_bytes != 0 ? options->limit_bytes : SIZE_MAX;
    int rc = plan_classes(plan, options);
    if (rc == 0)
        rc = plan_segment(plan, options->segment_bytes);
    if (rc < 0)
        return rc;

    long page_bytes = sysconf(_SC_PAGESIZE);
    plan->page_bytes = page_bytes > (long)PAGE_MIN_BYTES ? (size_t)page_bytes : PAGE_MIN_BYTES;
    uint32_t largest = plan->class_bytes[plan->class_count - 1];
    size_t bytes = WEIR__POOL_LOOKUP + weir__pool_grains(largest) * sizeof(uint16_t);
    plan->pool_bytes = (bytes + DESKS_FIRST_BYTES + plan->page_bytes - 1) & ~(plan->page_bytes - 1);
    return plan->pool_bytes <= plan->limit_bytes ? 0 : -ENOBUFS;
}

static void class_init(struct weir_pool *pool, struct weir_pool_class *home, size_t block_bytes)
{
    home->pool = pool;
    home->block_bytes = block_bytes;
}

static void classes_init(struct weir_pool *pool, const struct plan *plan,
                         const struct weir_pool_options *options)
{
    uint32_t largest = plan->class_bytes[plan->class_count - 1];
    uint32_t index = 0;
    uint16_t *lookup = (uint16_t *)(void *)((uint8_t *)pool + WEIR__POOL_LOOKUP);
    for (uint32_t grain = 0; grain < largest >> WEIR__POOL_GRAIN_SHIFT; grain++) {
        if (grain << WEIR__POOL_GRAIN_SHIFT == plan->class_bytes[index])
            index++;
        lookup[grain] = (uint16_t)((uint8_t *)&pool->head.classes[index] - (uint8_t *)pool);
    }
    /* Never has a free block. */
    for (size_t grain = largest >> WEIR__POOL_GRAIN_SHIFT; grain < weir__pool_grains(largest);
         grain++)
        lookup[grain] = (uint16_t)((uint8_t *)&pool->large - (uint8_t *)pool);
    pool->head.class_max_bytes = largest;
    pool->class_count = plan->class_count;
    for (uint32_t i = 0; i < plan->class_count; i++) {
        struct weir_pool_class *home = &pool->head.classes[i];
        class_init(pool, home, plan->class_bytes[i]);
        home->owner = pool->careful ? NULL : pool->owner;
        weir__class_plan(pool, home, &pool->infos[i]);
        pool->infos[i].retain_bytes = options->class_retain_bytes[i];
    }
    /* These have no owner: their drops go out of line. */
    class_init(pool, &pool->large, 0);
    class_init(pool, &pool->adopted, 0);

    pool->desk_next = weir__desks_first(pool);
    size_t used = (size_t)((uint8_t *)pool->desk_next - (uint8_t *)pool);
    pool->desk_end = pool->desk_next + (plan->pool_bytes - used) / sizeof *pool->desk_next;
}

int weir_pool_create(const struct weir_pool_options *options, struct weir_pool **ret)
{
    static const struct weir_pool_options defaults;
    struct plan plan;
    if (options == NULL)
        options = &defaults;
    int rc = plan_make(&plan, options);
    if (rc == 0)
        rc = weir__quota_take(options->quota, plan.pool_bytes);
    if (rc < 0)
        return rc;
    struct weir_pool *pool =
        plan.source->obtain(plan.source->context, plan.pool_bytes, plan.page_bytes);
    if (pool == NULL) {
        weir__quota_return(options->quota, plan.pool_bytes);
        return -ENOMEM;
    }

    pool->owner = weir__pool_thread();
    pool->careful = WEIR_DEBUG || weir__is_watched() || options->track_every != 0 ||
                    options->track_every_bytes != 0;
    pool->source = *plan.source;
    pool->quota = options->quota;
    pool->page_bytes = plan.page_bytes;
    pool->slab_shift = plan.slab_shift;
    pool->segment_bytes = plan.segment_bytes;
    pool->limit_bytes = plan.limit_bytes;
    pool->large_retain_bytes =
        options->large_retain_bytes != 0 ? options->large_retain_bytes : LARGE_RETAIN_DEFAULT_BYTES;
    pool->retain_bytes = options->retain_bytes != 0 ? options->retain_bytes : SIZE_MAX;
    pool->pool_bytes = plan.pool_bytes;
    pool->bytes_held = plan.pool_bytes;
    pool->bytes_held_peak = plan.pool_bytes;
    pool->source_calls = 1;
    classes_init(pool, &plan, options);
    rc = weir__track_begin(pool, options);
    if (rc == 0)
        rc = weir__pool_prealloc(pool, options);
    if (rc < 0) {
        pool_free(pool);
        return rc;
    }
    *ret = pool;
    return 0;
}

/* --- end ------------------------------------------------------------------------------------- */

/* Nothing is in use. The owner, or who dropped the last block of an abandoned pool. */
static void pool_free(struct weir_pool *pool)
{
    (void)release_list(pool, __atomic_exchange_n(&pool->remote, 0, __ATOMIC_ACQUIRE));
    assert(weir__pool_in_use(pool) == 0);
    while (pool->cached_oldest != NULL)
        weir__large_evict(pool);
    while (pool->desk_chunks != NULL) {
        struct weir__desks *chunk = pool->desk_chunks;
        pool->desk_chunks = chunk->next;
        weir__pool_release(pool, chunk, weir__desks_chunk_bytes(pool));
    }
    weir__track_end(pool);
    weir__debug_end(pool);
    while (pool->segments != NULL)
        weir__segment_remove(pool, pool->segments);
    assert(pool->bytes_held == pool->pool_bytes);
    struct weir_source source = pool->source;
    struct weir_quota *quota = pool->quota;
    size_t bytes = pool->pool_bytes;
    source.release(source.context, pool, bytes);
    weir__quota_return(quota, bytes);
}

static uint64_t blocks_out(const struct weir_pool *pool)
{
    uint64_t blocks = weir__class_in_use(&pool->large) + weir__class_in_use(&pool->adopted);
    for (uint32_t i = 0; i < pool->class_count; i++)
        blocks += weir__class_in_use(&pool->head.classes[i]);
    return blocks;
}

int weir_pool_destroy(struct weir_pool *pool)
{
    if (pool == NULL)
        return 0;
    assert(weir__pool_is_mine(pool));
    (void)weir__pool_reclaim(pool);
    if (blocks_out(pool) != 0)
        return -EBUSY;
    pool_free(pool);
    return 0;
}

void weir_pool_abandon(struct weir_pool *pool)
{
    if (pool == NULL)
        return;
    (void)weir_pool_trim(pool, 0);
    if (blocks_out(pool) == 0) {
        pool_free(pool);
        return;
    }
    /* From here on this thread is one of the others. */
    for (uint32_t i = 0; i < pool->class_count; i++)
        __atomic_store_n(&pool->head.classes[i].owner, NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&pool->owner, NULL, __ATOMIC_RELAXED);

    /* What was dropped until now is ours to take; whoever drops later sees the mark and counts
     * down, maybe from 0 to below it, until the rest is added here. */
    (void)release_list(pool, __atomic_exchange_n(&pool->remote, ABANDONED, __ATOMIC_ACQ_REL));
    int64_t left = (int64_t)blocks_out(pool);
    if (__atomic_add_fetch(&pool->orphans, left, __ATOMIC_ACQ_REL) == 0)
        pool_free(pool);
}

/* --- the calling thread's own pool ----------------------------------------------------------- */

static pthread_once_t default_once = PTHREAD_ONCE_INIT;
static pthread_key_t default_key;
static int default_error;
static _Thread_local struct weir_pool *default_pool;

static void default_end(void *pool)
{
    default_pool = NULL;
    weir_pool_abandon(pool);
}

static void default_begin(void)
{
    default_error = pthread_key_create(&default_key, default_end);
}

int weir_pool_default(struct weir_pool **ret)
{
    if (WEIR_LIKELY(default_pool != NULL)) {
        *ret = default_pool;
        return 0;
    }
    struct weir_pool *pool;
    if (pthread_once(&default_once, default_begin) != 0 || default_error != 0)
        return -ENOMEM;
    int rc = weir_pool_create(NULL, &pool);
    if (rc < 0)
        return rc;
    if (pthread_setspecific(default_key, pool) != 0) {
        (void)weir_pool_destroy(pool);
        return -ENOMEM;
    }
    default_pool = pool;
    *ret = pool;
    return 0;
}
