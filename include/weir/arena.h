/* SPDX-License-Identifier: MIT */
/**
 * arena: many small allocations that die together.
 *
 * Allocation moves a cursor through pool blocks; nothing is freed one by one. A mark remembers a
 * position, rewind goes back to it, reset goes back to the start and keeps the memory.
 *
 *     struct weir_arena arena;
 *     weir_arena_init(&arena, pool, NULL);
 *     struct node *node = weir_arena_alloc(&arena, sizeof *node, alignof(struct node));
 *     if (node == NULL)
 *         return weir_arena_error(&arena);
 *     ...
 *     weir_arena_reset(&arena);     // every pointer from it is dead, its blocks are kept
 *     weir_arena_fini(&arena);      // the blocks go back to the pool
 *
 * Invariants   What was handed out does not move. cursor <= end within the current chunk;
 *              used_bytes counts what was asked for plus padding, never above limit_bytes. What
 *              is left at the end of a chunk that was too short for a request is not counted.
 * Threads      one thread, the owner of the pool.
 * Errors       weir_arena_alloc() returns NULL and the arena is as before; weir_arena_error()
 *              says why: -ENOMEM, -ENOBUFS (limit of the pool or of the arena), -EOVERFLOW.
 */
#ifndef WEIR_ARENA_H
#define WEIR_ARENA_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/pool.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** How an arena grows. Zeroed: the defaults. */
struct weir_arena_options {
    size_t chunk_bytes; /**< what is taken from the pool at a time, at least; 0: 4096 */
    size_t limit_bytes; /**< most bytes handed out, padding included; 0: no limit */
};

struct weir_arena_chunk;

/** The caller's storage for an arena. Zeroed, weir_arena_fini() takes it. Fields are private. */
struct weir_arena {
    uint8_t *cursor;                /* next free byte of the current chunk */
    uint8_t *end;                   /* where the current chunk or the limit ends */
    struct weir_arena_chunk *chunk; /* current; NULL: none is in use */
    struct weir_arena_chunk *first; /* oldest; those after the current one are spare, kept by
                                        reset and rewind and used before the pool is asked */
    struct weir_pool *pool;
    size_t chunk_bytes;
    size_t limit_bytes;
    size_t full_bytes; /* used in all chunks but the current one */
    int error;         /* why the last allocation failed */
};

/** A position in an arena, from weir_arena_mark(). A value; keep as many as you like. */
struct weir_arena_mark {
    struct weir_arena_chunk *chunk;
    uint8_t *cursor;
    size_t full_bytes;
};

/**
 * Prepare an arena over @pool. Allocates nothing yet.
 *
 * @arena    the caller's storage, any content
 * @pool     must outlive the arena
 * @options  NULL or zeroed: the defaults
 * Threads   the owner of @pool.
 */
WEIR_API void weir_arena_init(struct weir_arena *arena, struct weir_pool *pool,
                              const struct weir_arena_options *options);

/** Give all blocks back to the pool and zero the arena. Takes a zeroed arena. */
WEIR_API void weir_arena_fini(struct weir_arena *arena);

/**
 * Allocate @size_bytes aligned to @align_bytes.
 *
 * @size_bytes   any; 0 gives a valid pointer that may not be dereferenced
 * @align_bytes  a power of two (asserted), at most 4096
 * Returns       the memory, contents unspecified; NULL on failure, see weir_arena_error().
 * Valid until   reset, fini, or a rewind to a mark made before.
 * Cost          inline: an addition and a comparison; may take one pool block.
 */
WEIR_INLINE void *weir_arena_alloc(struct weir_arena *arena, size_t size_bytes, size_t align_bytes);

/**
 * Copy bytes into the arena, followed by a NUL that is not counted, so that text is a C string.
 *
 * @ret      written on success only; valid as what weir_arena_alloc() returns
 * Returns   0, or weir_arena_error().
 */
WEIR_API int weir_arena_copy(struct weir_arena *arena, struct weir_view bytes,
                             struct weir_view *ret);

/** Why the last failed weir_arena_alloc() failed: a negative errno; 0 if none failed yet. */
WEIR_INLINE int weir_arena_error(const struct weir_arena *arena);

/** The present position, to come back to with weir_arena_rewind(). */
WEIR_INLINE struct weir_arena_mark weir_arena_mark(const struct weir_arena *arena);

/**
 * Free everything allocated since @mark, keeping the memory for what comes next.
 *
 * @mark     from weir_arena_mark() on this arena, not older than the last reset and not freed by
 *           an earlier rewind to an older mark
 * Cost      none per chunk or allocation.
 */
WEIR_API void weir_arena_rewind(struct weir_arena *arena, struct weir_arena_mark mark);

/** Free everything allocated, keeping the memory for what comes next. Cost: none per chunk. */
WEIR_API void weir_arena_reset(struct weir_arena *arena);

/** Bytes handed out since the last reset, padding included. */
WEIR_API size_t weir_arena_used_bytes(const struct weir_arena *arena);

/** Bytes that the arena holds from its pool, in use or spare. */
WEIR_API size_t weir_arena_held_bytes(const struct weir_arena *arena);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the cold half of weir_arena_alloc(). */
WEIR_API void *weir_arena_alloc_slow(struct weir_arena *arena, size_t size_bytes,
                                     size_t align_bytes);

WEIR_INLINE void *weir_arena_alloc(struct weir_arena *arena, size_t size_bytes, size_t align_bytes)
{
    assert(weir_is_pow2(align_bytes) && align_bytes <= 4096);
    size_t padding = (size_t)(-(uintptr_t)arena->cursor & (align_bytes - 1));
    size_t left = (size_t)(arena->end - arena->cursor);
    /* An exact fit goes the slow way too: with >= an empty arena (all NULL) needs no test here. */
    if (WEIR_UNLIKELY(padding > left || size_bytes >= left - padding))
        return weir_arena_alloc_slow(arena, size_bytes, align_bytes);
    uint8_t *memory = arena->cursor + padding;
    arena->cursor = memory + size_bytes;
    return memory;
}

WEIR_INLINE int weir_arena_error(const struct weir_arena *arena)
{
    return arena->error;
}

WEIR_INLINE struct weir_arena_mark weir_arena_mark(const struct weir_arena *arena)
{
    struct weir_arena_mark mark = {arena->chunk, arena->cursor, arena->full_bytes};
    return mark;
}

WEIR_END_DECLS

#endif /* WEIR_ARENA_H */
