/* SPDX-License-Identifier: MIT */
#include "pool_private.h"

static bool holds(bool condition)
{
    assert(condition);
    return condition;
}

/* Whether a descriptor says what its place says. */
static bool block_agrees(const struct weir__slab *slab, uint32_t index)
{
    const struct weir_block *block = &slab->blocks[index];
    return holds(block->home == slab->home) &&
           holds(block->data == slab->base + (size_t)index * slab->home->block_bytes) &&
           holds(weir__block_slab(block) == slab);
}

/* One slab of a class: where it lies, its descriptors, and how many blocks have a holder. */
static bool slab_agrees(const struct weir_pool *pool, const struct weir_pool_class *home,
                        const struct weir__slab *slab, uint64_t *held)
{
    size_t slab_bytes = (size_t)1 << pool->slab_shift;
    size_t offset = (uintptr_t)slab & (pool->segment_bytes - 1);
    const struct weir__segment *segment =
        (const struct weir__segment *)(const void *)((const uint8_t *)slab - offset);
    const uint8_t *start = (const uint8_t *)segment + (size_t)(slab - segment->slabs) * slab_bytes;
    bool ok = holds(segment->pool == pool && slab->home == home);
    ok &= holds(slab->count != 0 && slab->carved <= slab->count);
    ok &= holds(slab->base >= start);
    ok &= holds((size_t)(slab->base - start) + slab->count * home->block_bytes <= slab_bytes);
    if (slab->blocks != slab->own && (const uint8_t *)slab->blocks < slab->base)
        ok &= holds((const uint8_t *)slab->blocks >= start &&
                    (const uint8_t *)&slab->blocks[slab->count] <= slab->base);
    else if (slab->blocks != slab->own)
        ok &= holds((const uint8_t *)slab->blocks >= slab->base + slab->count * home->block_bytes &&
                    (const uint8_t *)&slab->blocks[slab->count] <= start + slab_bytes);
    for (uint32_t i = 0; i < slab->carved; i++) {
        ok &= block_agrees(slab, i);
        *held += __atomic_load_n(&slab->blocks[i].refs, __ATOMIC_RELAXED) != 0;
    }
    return ok;
}

static bool class_agrees(const struct weir_pool *pool, const struct weir_pool_class *home,
                         const struct weir__class *info)
{
    uint64_t carved = 0, held = 0, unused = 0, slabs = 0;
    bool ok = true;
    for (const struct weir__slab *slab = info->slabs; slab != NULL; slab = slab->next, slabs++) {
        ok &= slab_agrees(pool, home, slab, &held);
        ok &= holds(slab == info->slabs || slab->carved == slab->count);
        carved += slab->carved;
    }
    for (const struct weir__slab *slab = info->spare; slab != NULL; slab = slab->next, slabs++)
        ok &= holds(slab->home == home && slab->carved == 0 && slab->pinned);
    for (const struct weir_block *block = *weir__class_free(home); block != NULL;
         block = block->next) {
        ok &= holds(block->home == home);
        ok &= holds(__atomic_load_n(&block->refs, __ATOMIC_RELAXED) == 0);
        if (!holds(++unused <= carved))
            return false; /* a circle */
    }
    uint64_t in_use = home->allocations - home->releases;
    ok &= holds(home->owner == (pool->careful ? NULL : pool->owner));
    ok &= holds(carved == info->carved && carved == unused + in_use);
    ok &= holds(slabs == info->slab_count && carved <= info->carved_peak);
    /* What other threads have just dropped has no holder and is still in use. */
    ok &= holds(held <= in_use);
    ok &= holds(info->remote_releases <= home->releases);
    return ok & holds(info->misses <= home->allocations);
}

static bool segment_agrees(const struct weir_pool *pool, const struct weir__segment *segment)
{
    uint32_t used = 0, unused = segment->slabs[0].home == NULL;
    for (uint32_t i = 0; i < segment->fresh; i++)
        used += segment->slabs[i].home != NULL;
    for (const struct weir__slab *slab = segment->free_slabs; slab != NULL; slab = slab->next) {
        if (!holds(slab->home == NULL && ++unused <= segment->slab_count))
            return false;
    }
    bool ok = holds(segment->pool == pool && segment->fresh <= segment->slab_count);
    ok &= holds(used == segment->used && used + unused == segment->fresh);
    ok &= holds((segment->state == WEIR__SEGMENT_FULL) == (used == segment->slab_count));
    return ok & holds((segment->state == WEIR__SEGMENT_VACANT) == (used == 0 && !segment->pinned));
}

static bool segments_agree(const struct weir_pool *pool, uint64_t *vacant_bytes)
{
    bool ok = true;
    uint32_t count = 0, listed = 0;
    uint64_t used = 0, owned = 0;
    const struct weir__segment *newer = NULL;
    for (const struct weir__segment *segment = pool->segments; segment != NULL;
         segment = segment->older) {
        ok &= segment_agrees(pool, segment);
        ok &= holds(segment->newer == newer);
        ok &= holds((uint32_t)segment->index < pool->segment_index_end);
        *vacant_bytes += segment->state == WEIR__SEGMENT_VACANT ? pool->segment_bytes : 0;
        used += segment->used;
        newer = segment;
        count++;
    }
    for (int state = 0; state < WEIR__SEGMENT_STATES; state++)
        for (const struct weir__segment *segment = pool->by_state[state]; segment != NULL;
             segment = segment->next, listed++)
            ok &= holds((int)segment->state == state && listed < count);
    for (uint32_t i = 0; i < pool->class_count; i++)
        owned += pool->infos[i].slab_count;
    ok &= holds(count == pool->segment_count && count == listed);
    return ok & holds(owned == used);
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
            ok &= holds(weir__large_bin(pool, large->mapped_bytes) == bin);
            binned_bytes += large->mapped_bytes;
        }
    }
    ok &= holds(bytes == pool->cached_bytes && binned_bytes == bytes);
    return ok & holds(bytes <= pool->large_retain_bytes);
}

/* Large and adopted blocks, counted in their descriptors. */
struct census {
    uint64_t large_blocks;
    uint64_t large_bytes;
    uint64_t mapped_bytes;
    uint64_t adopted_blocks;
    uint64_t adopted_bytes;
};

static void census_add(const struct weir_pool *pool, struct census *census,
                       const struct weir__large *desk, uint64_t sign)
{
    if (desk->block.home == &pool->large) {
        census->large_blocks += sign;
        census->large_bytes += sign * desk->size_bytes;
        census->mapped_bytes += sign * desk->mapped_bytes;
    } else {
        census->adopted_blocks += sign;
        census->adopted_bytes += sign * desk->size_bytes;
    }
}

/* Those in use: all that there ever were, less the free and the cached ones. */
static struct census census_take(const struct weir_pool *pool)
{
    struct census census = {0};
    const struct weir__large *desk = weir__desks_first(pool);
    const struct weir__large *end =
        desk +
        (size_t)((const uint8_t *)pool + pool->pool_bytes - (const uint8_t *)desk) / sizeof *desk;
    const struct weir__desks *chunk = pool->desk_chunks;
    size_t room = (weir__desks_chunk_bytes(pool) - sizeof *chunk) / sizeof *desk;
    for (; desk < end && desk != pool->desk_next; desk++)
        census_add(pool, &census, desk, 1);
    for (; chunk != NULL; chunk = chunk->next)
        for (desk = chunk->desks; desk < chunk->desks + room && desk != pool->desk_next; desk++)
            census_add(pool, &census, desk, 1);
    for (desk = pool->desk_free; desk != NULL; desk = desk->older)
        census_add(pool, &census, desk, (uint64_t)-1);
    for (desk = pool->cached_newest; desk != NULL; desk = desk->older)
        census_add(pool, &census, desk, (uint64_t)-1);
    return census;
}

static bool desks_agree(const struct weir_pool *pool, const struct census *census)
{
    bool ok = holds(census->large_blocks == weir__class_in_use(&pool->large));
    ok &= holds(census->large_bytes == pool->large_bytes_in_use);
    ok &= holds(census->adopted_blocks == weir__class_in_use(&pool->adopted));
    return ok & holds(census->adopted_bytes == pool->adopted_bytes_in_use);
}

bool weir__pool_check(const struct weir_pool *pool)
{
    bool ok = true;
    uint64_t in_use = pool->large_bytes_in_use;
    uint64_t peak_bound = 0, vacant_bytes = 0;
    for (uint32_t i = 0; i < pool->class_count; i++) {
        const struct weir_pool_class *home = &pool->head.classes[i];
        ok &= class_agrees(pool, home, &pool->infos[i]);
        in_use += (home->allocations - home->releases) * home->block_bytes;
        peak_bound += pool->infos[i].carved_peak * home->block_bytes;
    }
    ok &= segments_agree(pool, &vacant_bytes);
    ok &= cache_agrees(pool);
    ok &= holds(in_use == weir__pool_in_use(pool));
    ok &= holds(pool->large.allocations != 0 || pool->bytes_in_use_peak <= peak_bound);
    ok &= holds(pool->bytes_free == vacant_bytes + pool->cached_bytes);

    uint64_t tracked = 0;
    for (uint32_t i = 0; i < pool->track_used; i++) {
        const struct weir_block *block = pool->tracks[i].block;
        tracked += block != NULL;
        ok &= holds(block == NULL || block->track == i + 1);
    }
    ok &= holds(tracked == pool->track_live);

    const struct census census = census_take(pool);
    ok &= desks_agree(pool, &census);
    uint64_t held = pool->pool_bytes + pool->segment_count * pool->segment_bytes;
    for (const struct weir__desks *chunk = pool->desk_chunks; chunk != NULL; chunk = chunk->next)
        held += weir__desks_chunk_bytes(pool);
    held += pool->cached_bytes + census.mapped_bytes + pool->track_bytes;
    ok &= holds(held == pool->bytes_held && held <= pool->bytes_held_peak);
    ok &= holds(pool->quota == NULL || weir_quota_used_bytes(pool->quota) >= pool->bytes_held);
    return ok & holds(pool->bytes_held_peak <= pool->limit_bytes);
}
