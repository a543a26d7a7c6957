/* SPDX-License-Identifier: MIT */
/**
 * shared_arena: bump allocation by many threads from memory of a fixed size.
 *
 * The memory is obtained once and cut into shards, each with a counter on a cache line of its own.
 * An allocation adds to the counter of the shard that belongs to the processor it runs on; only
 * when that shard is full it looks at the others. Nothing is freed but everything at once.
 *
 *     const struct weir_shared_arena_options options = {.capacity_bytes = 64 << 20};
 *     struct weir_shared_arena *arena;
 *     int rc = weir_shared_arena_create(&options, &arena);
 *     ...
 *     void *memory;                                            // on any thread
 *     rc = weir_shared_arena_alloc(arena, 100, 8, &memory);    // -ENOBUFS: all shards are full
 *     ...
 *     pthread_join(...);                                       // nobody allocates any more
 *     weir_shared_arena_reset(arena);
 *     weir_shared_arena_destroy(arena);
 *
 * Invariants   What was handed out does not move, and no two allocations overlap. A shard's usage
 *              is the sum of its allocations in whole grains, with the padding that alignments
 *              above a grain needed, and never above its size. A refused call changes nothing.
 * Threads      Any thread may allocate and ask for the usage at any time. Create, reset and
 *              destroy belong to one thread, while no other uses the arena. Handing memory from
 *              thread to thread is the caller's to order, as with any memory.
 * Errors       0 or a negative errno: -ENOBUFS no shard has room, -EOVERFLOW no such size, -EINVAL
 *              a bad configuration or alignment; at creation -ENOMEM too.
 */
#ifndef WEIR_SHARED_ARENA_H
#define WEIR_SHARED_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/pool.h>

WEIR_BEGIN_DECLS

/** Sizes are rounded up to this, so that what follows is aligned to it without padding. */
#define WEIR_SHARED_ARENA_GRAIN_BYTES 16

#define WEIR_SHARED_ARENA_SHARDS_MAX 1024
#define WEIR_SHARED_ARENA_SHARDS_DEFAULT 8

/** How a shared arena is made. All but capacity_bytes may be zero. */
struct weir_shared_arena_options {
    /** Of all shards together, at least 1. A shard gets an equal part, rounded up to 64 bytes. */
    size_t capacity_bytes;
    /**
     * A power of two up to WEIR_SHARED_ARENA_SHARDS_MAX; 0: WEIR_SHARED_ARENA_SHARDS_DEFAULT. As
     * many as processors avoid all contention; more only make the largest request smaller.
     */
    uint32_t shards;
    struct weir_pool *pool;           /**< take a block of it, for its owner to create the arena */
    const struct weir_source *source; /**< without a pool; NULL: weir_source_mmap() */
};

struct weir_shared_arena;

/**
 * Obtain the memory and make an empty arena.
 *
 * @ret       written on success only
 * Returns    0; -EINVAL no capacity, a number of shards that is no power of two or too large, or
 *            both a pool and a source; -EOVERFLOW no such capacity; -ENOMEM the source failed;
 *            -ENOBUFS the pool's limit is reached.
 * Ownership  the caller's, until weir_shared_arena_destroy().
 * Threads    the owner of the pool if there is one.
 * Cost       one block of the pool, or one call of the source, which must outlive the arena.
 */
WEIR_API int weir_shared_arena_create(const struct weir_shared_arena_options *options,
                                      struct weir_shared_arena **ret);

/** Give the memory back; every pointer from @arena is dead. NULL is allowed and does nothing. */
WEIR_API void weir_shared_arena_destroy(struct weir_shared_arena *arena);

/**
 * Allocate @size_bytes aligned to @align_bytes, beginning with the shard of the processor that the
 * thread runs on, which is its number modulo the number of shards.
 *
 * A request may be refused although it just fits if, at that moment, a larger one of another
 * thread is being refused by the same shard.
 *
 * @size_bytes   any, but only what a single shard holds can be had; 0 gives a valid pointer that
 *               may not be dereferenced
 * @align_bytes  any power of two
 * @ret          written on success only; contents unspecified
 * Returns       0; -ENOBUFS no shard has room; -EOVERFLOW the size cannot be rounded up to a
 *               grain; -EINVAL @align_bytes is no power of two.
 * Valid until   weir_shared_arena_reset() or weir_shared_arena_destroy().
 * Threads       any.
 * Cost          one atomic addition, or a compare and exchange for alignments above a grain; no
 *               lock, no system call where sched_getcpu(3) makes none (Linux on x86, and anywhere
 *               with glibc 2.35 or later). Each full shard on the way costs a load.
 */
WEIR_NODISCARD WEIR_API int weir_shared_arena_alloc(struct weir_shared_arena *arena,
                                                    size_t size_bytes, size_t align_bytes,
                                                    void **ret);

/**
 * As weir_shared_arena_alloc(), but beginning with shard @shard modulo the number of shards.
 *
 * For threads that know a number of their own: threads of different numbers never touch the same
 * cache line, unless a shard is full.
 */
WEIR_NODISCARD WEIR_API int weir_shared_arena_alloc_at(struct weir_shared_arena *arena,
                                                       uint32_t shard, size_t size_bytes,
                                                       size_t align_bytes, void **ret);

/**
 * Free everything allocated and keep the memory.
 *
 * Threads   The caller sees to it that no thread allocates meanwhile or uses what it got before,
 *           and that what others do next is ordered after this call (by a join, a lock, a queue).
 * Cost      one store per shard.
 */
WEIR_API void weir_shared_arena_reset(struct weir_shared_arena *arena);

/** Bytes handed out, whole grains and padding included. Exact while nobody allocates. */
WEIR_API size_t weir_shared_arena_used_bytes(const struct weir_shared_arena *arena);

/** The same in percent of the capacity, rounded down. */
WEIR_API unsigned weir_shared_arena_used_percent(const struct weir_shared_arena *arena);

/** The size of all shards together, at least what was asked for. */
WEIR_API size_t weir_shared_arena_capacity_bytes(const struct weir_shared_arena *arena);

/** How many shards there are. */
WEIR_API uint32_t weir_shared_arena_shard_count(const struct weir_shared_arena *arena);

/** The size of each shard. */
WEIR_API size_t weir_shared_arena_shard_bytes(const struct weir_shared_arena *arena);

/** As weir_shared_arena_used_bytes(), of one shard. @shard is below the count (asserted). */
WEIR_API size_t weir_shared_arena_shard_used_bytes(const struct weir_shared_arena *arena,
                                                   uint32_t shard);

WEIR_END_DECLS

#endif /* WEIR_SHARED_ARENA_H */
