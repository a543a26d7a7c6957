/* SPDX-License-Identifier: MIT */
/*
 * A shard's counter has two kinds of values.
 *
 *   Up to the shard's size it is the sum of what was handed out: everything below is taken,
 *   everything above is free.
 *
 *   Beyond the shard's size the shard is closed. The thread whose addition led from the first kind
 *   to this one is refused, and it alone knows the true sum, which is what it found: it stores that
 *   again. Additions of others meanwhile find a value beyond the size; they are refused and do not
 *   take anything back, for that store drops them all.
 *
 * So nothing is handed out of a closed shard, and only one thread at a time may open it. Taking
 * one's own addition back with a subtraction instead, each for itself, is wrong: with 2000 added in
 * vain to a shard of 1000, then 500 by another thread, then the 2000 taken back, a third thread is
 * given what lies behind the 500, and after these are taken back as well a fourth is given the
 * same bytes.
 */
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include <weir/shared_arena.h>

#include "shared_arena_private.h"

#define GRAIN_BYTES ((size_t)WEIR_SHARED_ARENA_GRAIN_BYTES)

/* Shards are multiples of this, so that no two of them share a cache line. */
#define SHARD_GRAIN_BYTES ((size_t)64)

#define LINE_BYTES 64

/* Two cache lines, for processors fetch lines in pairs. Aligned to one: blocks are no more. */
struct shard {
    /* 64 bits everywhere: above the shard's size, additions of as many threads as there may be
     * must not wrap. Each thread looks before it adds, so each does so once at most. */
    uint64_t used_bytes;
    uint8_t apart[2 * LINE_BYTES - sizeof(uint64_t)];
} __attribute__((aligned(LINE_BYTES)));

/* At the start of the memory; then come the bytes of shard 0, 1 and so on. */
struct weir_shared_arena {
    /* Constant from the creation on. */
    uint8_t *data;
    size_t shard_bytes;
    uint32_t shard_mask; /* their number, less one */
    struct weir_block *block;
    struct weir_source source; /* if there is no block */
    size_t memory_bytes;
    uint8_t apart[LINE_BYTES];
    struct shard shards[];
};

_Static_assert(sizeof(struct weir_shared_arena) == 2 * LINE_BYTES, "and so has what is constant");

/* Bytes of each shard and of all the memory, header included. */
static int plan(const struct weir_shared_arena_options *options, uint32_t shards,
                size_t *ret_shard_bytes, size_t *ret_memory_bytes)
{
    size_t share_bytes = options->capacity_bytes / shards;
    share_bytes += options->capacity_bytes % shards != 0;
    size_t shard_bytes, data_bytes, memory_bytes;
    if (weir_align_up(share_bytes, SHARD_GRAIN_BYTES, &shard_bytes) ||
        weir_mul_overflows(shard_bytes, shards, &data_bytes) ||
        weir_add_overflows(data_bytes, sizeof(struct weir_shared_arena), &memory_bytes) ||
        weir_add_overflows(memory_bytes, shards * sizeof(struct shard), &memory_bytes))
        return -EOVERFLOW;
    *ret_shard_bytes = shard_bytes;
    *ret_memory_bytes = memory_bytes;
    return 0;
}

/* One block or one mapping. */
static int obtain(const struct weir_shared_arena_options *options, size_t memory_bytes,
                  struct weir_shared_arena **ret)
{
    if (options->pool != NULL) {
        struct weir_block *block;
        int rc = weir_pool_alloc(options->pool, memory_bytes, &block);
        if (rc < 0)
            return rc;
        *ret = (struct weir_shared_arena *)(void *)block->data;
        (*ret)->block = block;
        return 0;
    }
    const struct weir_source *source = options->source;
    if (source == NULL)
        source = weir_source_mmap();
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (weir_align_up(memory_bytes, page_bytes, &memory_bytes))
        return -EOVERFLOW;
    struct weir_shared_arena *arena = source->obtain(source->context, memory_bytes, page_bytes);
    if (arena == NULL)
        return -ENOMEM;
    arena->block = NULL;
    arena->source = *source;
    arena->memory_bytes = memory_bytes;
    *ret = arena;
    return 0;
}

int weir_shared_arena_create(const struct weir_shared_arena_options *options,
                             struct weir_shared_arena **ret)
{
    uint32_t shards = options->shards != 0 ? options->shards : WEIR_SHARED_ARENA_SHARDS_DEFAULT;
    if (options->capacity_bytes == 0 || !weir_is_pow2(shards) ||
        shards > WEIR_SHARED_ARENA_SHARDS_MAX || (options->pool != NULL && options->source != NULL))
        return -EINVAL;
    size_t shard_bytes, memory_bytes;
    struct weir_shared_arena *arena = NULL; /* gcc -O1 does not see that it is set where rc is 0 */
    int rc = plan(options, shards, &shard_bytes, &memory_bytes);
    if (rc == 0)
        rc = obtain(options, memory_bytes, &arena);
    if (rc < 0)
        return rc;
    arena->data = (uint8_t *)&arena->shards[shards];
    arena->shard_bytes = shard_bytes;
    arena->shard_mask = shards - 1;
    weir_shared_arena_reset(arena);
    *ret = arena;
    return 0;
}

void weir_shared_arena_destroy(struct weir_shared_arena *arena)
{
    if (arena == NULL)
        return;
    if (arena->block != NULL) {
        weir_block_drop(arena->block);
        return;
    }
    struct weir_source source = arena->source;
    source.release(source.context, arena, arena->memory_bytes);
}

static int take(struct shard *shard, size_t shard_bytes, size_t size_bytes, size_t *ret_offset)
{
    if (!weir__shard_fits(&shard->used_bytes, shard_bytes, size_bytes))
        return -ENOBUFS;
    uint64_t found = weir__shard_add(&shard->used_bytes, size_bytes);
    int rc = weir__shard_settle(&shard->used_bytes, found, shard_bytes, size_bytes);
    if (rc == 0)
        *ret_offset = (size_t)found;
    return rc;
}

/*
 * The same where padding may be needed, which depends on the position. Adding enough for any
 * position would waste nearly @align_bytes each time; an exchange takes what is needed, and a
 * refusal leaves nothing to take back.
 */
static int take_aligned(struct shard *shard, uintptr_t base, size_t shard_bytes, size_t size_bytes,
                        size_t align_bytes, size_t *ret_offset)
{
    uint64_t used = __atomic_load_n(&shard->used_bytes, __ATOMIC_RELAXED);
    size_t padding;
    do {
        if (used > shard_bytes)
            return -ENOBUFS;
        padding = (size_t)(-(base + (uintptr_t)used) & ((uintptr_t)align_bytes - 1));
        size_t left = shard_bytes - (size_t)used;
        if (padding > left || size_bytes > left - padding)
            return -ENOBUFS;
    } while (!__atomic_compare_exchange_n(&shard->used_bytes, &used, used + padding + size_bytes,
                                          true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    *ret_offset = (size_t)used + padding;
    return 0;
}

int weir_shared_arena_alloc_at(struct weir_shared_arena *arena, uint32_t shard, size_t size_bytes,
                               size_t align_bytes, void **ret)
{
    size_t shard_bytes = arena->shard_bytes;
    if (!weir_is_pow2(align_bytes))
        return -EINVAL;
    if (weir_align_up(size_bytes, GRAIN_BYTES, &size_bytes))
        return -EOVERFLOW;
    for (uint32_t i = 0; i <= arena->shard_mask; i++) {
        uint32_t index = (shard + i) & arena->shard_mask;
        uint8_t *base = arena->data + index * shard_bytes;
        size_t offset;
        int rc = align_bytes <= GRAIN_BYTES
                     ? take(&arena->shards[index], shard_bytes, size_bytes, &offset)
                     : take_aligned(&arena->shards[index], (uintptr_t)base, shard_bytes, size_bytes,
                                    align_bytes, &offset);
        if (rc == 0) {
            *ret = base + offset;
            return 0;
        }
    }
    return -ENOBUFS;
}

int weir_shared_arena_alloc(struct weir_shared_arena *arena, size_t size_bytes, size_t align_bytes,
                            void **ret)
{
    /*
     * By processor, not by thread: two threads that run at the same time are on two processors,
     * nothing needs to be kept per thread, and the C library knows the number without asking the
     * kernel. That a thread may be moved before it adds costs time, at worst. An error, -1, is a
     * number like any other.
     */
    return weir_shared_arena_alloc_at(arena, (uint32_t)sched_getcpu(), size_bytes, align_bytes,
                                      ret);
}

void weir_shared_arena_reset(struct weir_shared_arena *arena)
{
    for (uint32_t i = 0; i <= arena->shard_mask; i++)
        __atomic_store_n(&arena->shards[i].used_bytes, 0, __ATOMIC_RELAXED);
}

size_t weir_shared_arena_used_bytes(const struct weir_shared_arena *arena)
{
    size_t used_bytes = 0;
    for (uint32_t i = 0; i <= arena->shard_mask; i++)
        used_bytes += weir_shared_arena_shard_used_bytes(arena, i);
    return used_bytes;
}

unsigned weir_shared_arena_used_percent(const struct weir_shared_arena *arena)
{
    return weir_percent(weir_shared_arena_used_bytes(arena),
                        weir_shared_arena_capacity_bytes(arena));
}

size_t weir_shared_arena_capacity_bytes(const struct weir_shared_arena *arena)
{
    return weir_shared_arena_shard_count(arena) * arena->shard_bytes;
}

uint32_t weir_shared_arena_shard_count(const struct weir_shared_arena *arena)
{
    return arena->shard_mask + 1;
}

size_t weir_shared_arena_shard_bytes(const struct weir_shared_arena *arena)
{
    return arena->shard_bytes;
}

size_t weir_shared_arena_shard_used_bytes(const struct weir_shared_arena *arena, uint32_t shard)
{
    assert(shard <= arena->shard_mask);
    uint64_t used = __atomic_load_n(&arena->shards[shard].used_bytes, __ATOMIC_RELAXED);
    return used < arena->shard_bytes ? (size_t)used : arena->shard_bytes; /* closed: nearly full */
}
