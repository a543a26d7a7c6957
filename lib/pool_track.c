/* SPDX-License-Identifier: MIT */
#include <time.h>

#include "pool_private.h"

#define TRACK_DEFAULT_BLOCKS 4096

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int weir__track_begin(struct weir_pool *pool, const struct weir_pool_options *options)
{
    void *memory;
    size_t count =
        options->track_blocks_max != 0 ? options->track_blocks_max : TRACK_DEFAULT_BLOCKS;
    if (options->track_every == 0 && options->track_every_bytes == 0)
        return 0;
    /* 2^32 of them fit a size_t. */
    size_t bytes = count * sizeof(struct weir__track);
    bytes = (bytes + pool->page_bytes - 1) & ~(pool->page_bytes - 1);
    int rc = weir__pool_obtain(pool, bytes, pool->page_bytes, &memory);
    if (rc < 0)
        return rc;
    pool->tracks = memory;
    pool->track_bytes = bytes;
    pool->track_max = (uint32_t)count;
    pool->track_every = options->track_every;
    pool->track_every_bytes = options->track_every_bytes;
    pool->track_bytes_to_next = options->track_every_bytes;
    return 0;
}

void weir__track_end(struct weir_pool *pool)
{
    if (pool->tracks != NULL)
        weir__pool_release(pool, pool->tracks, pool->track_bytes);
    pool->tracks = NULL;
}

/* Whether it is this block's turn. */
static bool is_due(struct weir_pool *pool, size_t size_bytes)
{
    bool by_number = pool->track_every != 0 && pool->track_seen++ % pool->track_every == 0;
    if (pool->track_every_bytes == 0)
        return by_number;
    if (size_bytes < pool->track_bytes_to_next) {
        pool->track_bytes_to_next -= size_bytes;
        return by_number;
    }
    size_t beyond = size_bytes - pool->track_bytes_to_next;
    pool->track_bytes_to_next = pool->track_every_bytes - beyond % pool->track_every_bytes;
    return true;
}

void weir__track_add(struct weir_pool *pool, struct weir_block *block, size_t size_bytes,
                     const void *site)
{
    if (!is_due(pool, size_bytes))
        return;
    uint32_t index = pool->track_free; /* number, from 1 */
    if (index != 0) {
        pool->track_free = pool->tracks[index - 1].next_free;
    } else if (pool->track_used < pool->track_max) {
        index = ++pool->track_used;
    } else {
        weir__add(&pool->track_lost, 1);
        return;
    }
    struct weir__track *track = &pool->tracks[index - 1];
    track->block = block;
    track->tag = pool->tag;
    track->site = site;
    track->size_bytes = size_bytes;
    track->taken_ns = now_ns();
    block->track = index;
    weir__add(&pool->track_live, 1);
}

void weir__track_remove(struct weir_pool *pool, struct weir_block *block)
{
    struct weir__track *track = &pool->tracks[block->track - 1];
    assert(track->block == block);
    track->block = NULL;
    track->next_free = pool->track_free;
    pool->track_free = block->track;
    block->track = 0;
    weir__subtract(&pool->track_live, 1);
}

const char *weir_pool_set_tag(struct weir_pool *pool, const char *tag)
{
    const char *before = pool->tag;
    assert(weir__pool_is_mine(pool));
    pool->tag = tag;
    return before;
}

size_t weir_pool_tracked(const struct weir_pool *pool,
                         void (*visit)(void *context, const struct weir_pool_tracked *tracked),
                         void *context)
{
    size_t count = 0;
    uint64_t now = now_ns();
    assert(weir__pool_is_mine(pool));
    for (uint32_t i = 0; i < pool->track_used; i++) {
        const struct weir__track *track = &pool->tracks[i];
        if (track->block == NULL)
            continue;
        const struct weir_pool_tracked tracked = {.block = track->block,
                                                  .tag = track->tag,
                                                  .site = track->site,
                                                  .size_bytes = track->size_bytes,
                                                  .age_ns = now - track->taken_ns};
        if (visit != NULL)
            visit(context, &tracked);
        count++;
    }
    return count;
}

size_t weir_pool_tags(const struct weir_pool *pool, struct weir_pool_tag_stats *ret, size_t max)
{
    size_t tags = 0;
    uint64_t now = now_ns();
    assert(weir__pool_is_mine(pool));
    for (uint32_t i = 0; i < pool->track_used; i++) {
        const struct weir__track *track = &pool->tracks[i];
        size_t at = 0;
        if (track->block == NULL)
            continue;
        while (at < tags && ret[at].tag != track->tag)
            at++;
        if (at == max)
            continue;
        if (at == tags)
            ret[tags++] = (struct weir_pool_tag_stats){.tag = track->tag};
        ret[at].blocks++;
        ret[at].bytes += track->size_bytes;
        if (now - track->taken_ns > ret[at].oldest_ns)
            ret[at].oldest_ns = now - track->taken_ns;
    }
    return tags;
}
