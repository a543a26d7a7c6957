/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "pool_private.h"

static void class_stats(const struct weir_pool_class *home, const struct weir__class *info,
                        struct weir_pool_class_stats *ret)
{
    /* What is counted earlier is read later, so that no difference is below zero. */
    uint64_t misses = weir__read(&info->misses);
    uint64_t remote_releases = weir__read(&info->remote_releases);
    uint64_t releases = weir__read(&home->releases);
    uint64_t allocations = weir__read(&home->allocations);
    ret->block_bytes = home->block_bytes;
    ret->allocations = allocations;
    ret->misses = misses;
    ret->hits = allocations > misses ? allocations - misses : 0;
    ret->releases = releases;
    ret->remote_releases = remote_releases;
    ret->blocks_in_use = allocations > releases ? allocations - releases : 0;
    ret->bytes_in_use = ret->blocks_in_use * home->block_bytes;
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
        class_stats(&pool->head.classes[i], &pool->infos[i], &ret->classes[i]);
        total_add(&ret->total, &ret->classes[i]);
        ret->class_peak_blocks[i] = weir__read(&pool->infos[i].carved_peak);
    }
    class_stats(&pool->large, &pool->large_info, &ret->large);
    ret->large.bytes_in_use = weir__read(&pool->large_bytes_in_use);
    total_add(&ret->total, &ret->large);
    class_stats(&pool->adopted, &pool->adopted_info, &ret->adopted);
    ret->adopted.bytes_in_use = weir__read(&pool->adopted_bytes_in_use);

    /* A pool is never a constant object: it is only lent to this function as one. */
    if (weir__pool_is_mine(pool))
        weir__raise(&((struct weir_pool *)(uintptr_t)pool)->bytes_in_use_peak,
                    ret->total.bytes_in_use);
    ret->segment_count = __atomic_load_n(&pool->segment_count, __ATOMIC_RELAXED);
    ret->bytes_held = weir__read(&pool->bytes_held);
    ret->bytes_held_peak = weir__read(&pool->bytes_held_peak);
    ret->bytes_in_use_peak = weir__read(&pool->bytes_in_use_peak);
    ret->bytes_free = weir__read(&pool->bytes_free);
    ret->source_calls = weir__read(&pool->source_calls);
    ret->source_bytes_returned = weir__read(&pool->bytes_returned);
    ret->sweeps = weir__read(&pool->sweeps);
    ret->tracked = weir__read(&pool->track_live);
    ret->tracked_lost = weir__read(&pool->track_lost);
    ret->slabs_emptied = weir__read(&pool->slabs_emptied);
}
