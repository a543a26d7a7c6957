/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "pool_poison.h"
#include "pool_private.h"

#define DESKS_CHUNK_BYTES ((size_t)16384)

/* Bounds a search that in practice ends at its first step. */
#define BIN_TRIED_MAX 64

static struct weir__large *large_of(struct weir_block *block)
{
    return (struct weir__large *)(void *)block; /* its first member */
}

/* --- mappings kept for reuse ----------------------------------------------------------------- */

unsigned weir__large_bin(const struct weir_pool *pool, size_t bytes)
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
        pool->bins[weir__large_bin(pool, large->mapped_bytes)] = large->bin_next;
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
    weir__subtract(&pool->bytes_free, large->mapped_bytes);
}

static void cache_insert(struct weir_pool *pool, struct weir__large *large)
{
    struct weir__large **bin = &pool->bins[weir__large_bin(pool, large->mapped_bytes)];
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
    weir__add(&pool->bytes_free, large->mapped_bytes);
}

static void desk_put_back(struct weir_pool *pool, struct weir__large *large)
{
    large->older = pool->desk_free;
    pool->desk_free = large;
}

static void large_unmap(struct weir_pool *pool, struct weir__large *large)
{
    weir__pool_release(pool, large->block.data, large->mapped_bytes);
    desk_put_back(pool, large);
}

void weir__large_evict(struct weir_pool *pool)
{
    struct weir__large *oldest = pool->cached_oldest;
    assert(oldest != NULL);
    cache_remove(pool, oldest);
    weir__add(&pool->bytes_returned, oldest->mapped_bytes);
    large_unmap(pool, oldest);
}

/* The smallest cached mapping of at least @bytes that wastes no more than a quarter. */
static struct weir__large *cache_take(struct weir_pool *pool, size_t bytes)
{
    struct weir__large *best = NULL;
    unsigned first = weir__large_bin(pool, bytes);
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

/* --- descriptors ----------------------------------------------------------------------------- */

size_t weir__desks_chunk_bytes(const struct weir_pool *pool)
{
    return DESKS_CHUNK_BYTES > pool->page_bytes ? DESKS_CHUNK_BYTES : pool->page_bytes;
}

static int desk_take(struct weir_pool *pool, struct weir__large **ret)
{
    if (pool->desk_free != NULL) {
        *ret = pool->desk_free;
        pool->desk_free = pool->desk_free->older;
    } else {
        if (pool->desk_next == pool->desk_end) {
            void *memory;
            size_t chunk_bytes = weir__desks_chunk_bytes(pool);
            int rc = weir__pool_obtain(pool, chunk_bytes, pool->page_bytes, &memory);
            if (rc < 0)
                return rc;
            struct weir__desks *chunk = memory;
            chunk->next = pool->desk_chunks;
            pool->desk_chunks = chunk;
            pool->desk_next = chunk->desks;
            pool->desk_end = chunk->desks + (chunk_bytes - sizeof *chunk) / sizeof chunk->desks[0];
        }
        *ret = pool->desk_next++;
    }
    memset(*ret, 0, sizeof **ret);
    return 0;
}

/* --- large blocks ---------------------------------------------------------------------------- */

static int large_map(struct weir_pool *pool, size_t bytes, struct weir__large **ret)
{
    void *memory;
    struct weir__large *large;
    int rc = weir__pool_obtain(pool, bytes, pool->page_bytes, &memory);
    if (rc < 0)
        return rc;
    rc = desk_take(pool, &large);
    if (rc < 0) {
        weir__pool_release(pool, memory, bytes);
        return rc;
    }
    large->mapped_bytes = bytes;
    large->block.home = &pool->large;
    large->block.data = memory;
    weir__poison(memory, bytes);
    *ret = large;
    return 0;
}

int weir__large_alloc(struct weir_pool *pool, size_t size_bytes, struct weir_block **ret)
{
    size_t bytes;
    if (weir_align_up(size_bytes, pool->page_bytes, &bytes))
        return -EOVERFLOW;
    /* What other threads have dropped may be just what is wanted. */
    if (__atomic_load_n(&pool->remote, __ATOMIC_RELAXED) != 0)
        (void)weir__pool_reclaim(pool);

    struct weir__large *large = cache_take(pool, bytes);
    if (large == NULL) {
        int rc = large_map(pool, bytes, &large);
        if (rc < 0)
            return rc;
        weir__add(&pool->large_info.misses, 1);
    }
    struct weir_block *block = &large->block;
    large->size_bytes = bytes;
    block->size = bytes;
    __atomic_store_n(&block->refs, 1, __ATOMIC_RELAXED);
    weir__unpoison(block->data, bytes);
    weir__add(&pool->large.allocations, 1);
    weir__raise(&pool->large_info.carved_peak, weir__class_in_use(&pool->large));
    weir__add(&pool->large_bytes_in_use, bytes);
    weir__raise(&pool->bytes_in_use_peak, weir__pool_in_use(pool));
    *ret = block;
    return 0;
}

void weir__large_release(struct weir_pool *pool, struct weir_block *block)
{
    struct weir__large *large = large_of(block);
    weir__add(&pool->large.releases, 1);
    weir__subtract(&pool->large_bytes_in_use, large->size_bytes);
    if (large->mapped_bytes > pool->large_retain_bytes) {
        large_unmap(pool, large);
        return;
    }
    cache_insert(pool, large);
    while (pool->cached_bytes > pool->large_retain_bytes)
        weir__large_evict(pool);
}

/* --- foreign memory -------------------------------------------------------------------------- */

int weir_block_adopt(struct weir_pool *pool, void *data, size_t size_bytes,
                     void (*release)(void *context, void *data, size_t size_bytes), void *context,
                     struct weir_block **ret)
{
    struct weir__large *desk;
    assert(weir__pool_is_mine(pool));
    assert(data != NULL);
    if (size_bytes > PTRDIFF_MAX)
        return -EOVERFLOW;
    if (pool->desk_free == NULL && __atomic_load_n(&pool->remote, __ATOMIC_RELAXED) != 0)
        (void)weir__pool_reclaim(pool);
    if (WEIR_DEBUG && weir__debug_reserve(pool) < 0)
        return -ENOMEM;
    uint64_t calls_before = pool->source_calls;
    int rc = desk_take(pool, &desk);
    if (rc < 0)
        return rc;
    if (pool->source_calls != calls_before)
        weir__add(&pool->adopted_info.misses, 1);
    desk->release = release;
    desk->context = context;
    desk->size_bytes = size_bytes;
    desk->block.data = data;
    desk->block.size = size_bytes;
    desk->block.home = &pool->adopted;
    __atomic_store_n(&desk->block.refs, 1, __ATOMIC_RELAXED);
    weir__add(&pool->adopted.allocations, 1);
    weir__add(&pool->adopted_bytes_in_use, size_bytes);
    struct weir_block *block = &desk->block;
    if (WEIR_DEBUG)
        block = weir__debug_take(pool, block, size_bytes, __builtin_return_address(0));
    if (pool->tracks != NULL)
        weir__track_add(pool, block, size_bytes, __builtin_return_address(0));
    *ret = block;
    return 0;
}

void weir__adopted_release(struct weir_pool *pool, struct weir_block *block)
{
    struct weir__large *desk = large_of(block);
    weir__add(&pool->adopted.releases, 1);
    weir__subtract(&pool->adopted_bytes_in_use, desk->size_bytes);
    desk_put_back(pool, desk);
}
