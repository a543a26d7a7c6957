/* SPDX-License-Identifier: MIT */
/**
 * arena: many small allocations that die together.
 *
 * Allocation moves a cursor through pool blocks, or through memory that the caller gives; nothing
 * is freed one by one. A mark remembers a position, rewind goes back to it, reset goes back to the
 * start and keeps the memory.
 *
 *     struct weir_arena arena;
 *     struct weir_view name;
 *     weir_arena_init(&arena, pool, NULL);
 *     struct node *nodes = WEIR_ARENA_ARRAY(&arena, struct node, count);
 *     if (nodes == NULL)
 *         return weir_arena_error(&arena);
 *     int rc = weir_arena_format(&arena, &name, "node %zu of %zu", i, count);
 *     ...
 *     weir_arena_reset(&arena);     // every pointer from it is dead, its blocks are kept
 *     weir_arena_fini(&arena);      // the blocks go back to the pool
 *
 * Invariants   What was handed out does not move. start <= cursor <= end within the current chunk;
 *              used_bytes counts what was asked for plus padding, never above limit_bytes. What
 *              is left at the end of a chunk that was too short for a request is not counted.
 * Threads      one thread, the owner of the pool. Without a pool: one thread at a time.
 * Errors       weir_arena_alloc() returns NULL and the arena is as before; weir_arena_error()
 *              says why: -ENOMEM, -ENOBUFS (limit of the pool or of the arena), -EOVERFLOW (no
 *              such size), -EINVAL (an alignment that is no power of two).
 */
#ifndef WEIR_ARENA_H
#define WEIR_ARENA_H

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/pool.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** How an arena grows. Zeroed: the defaults. */
struct weir_arena_options {
    /** What is taken from the pool at a time, at least: the block that the pool has for it. Above
     * the pool's largest class each chunk is a mapping of its own, if a cached one. 0: 4096. */
    size_t chunk_bytes;
    size_t limit_bytes; /**< most bytes handed out, padding included; 0: no limit */
};

struct weir_arena_chunk;

/** The caller's storage for an arena. Zeroed, weir_arena_fini() takes it. Fields are private. */
struct weir_arena {
    uint8_t *cursor;                /* next free byte of the current chunk */
    uint8_t *end;                   /* where the current chunk or the limit ends */
    uint8_t *start;                 /* where the current chunk's bytes begin */
    struct weir_arena_chunk *chunk; /* current; NULL: none is in use, or there is no pool */
    struct weir_arena_chunk *first; /* oldest; those after the current one are spare, kept by
                                       reset and rewind and used before the pool is asked */
    struct weir_pool *pool;         /* NULL: the caller's memory, start to end, is all there is */
    size_t chunk_bytes;
    size_t limit_bytes; /* SIZE_MAX: none */
    size_t full_bytes;  /* used in all chunks but the current one */
    int error;          /* why the last allocation failed */
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

/**
 * Prepare an arena over memory of the caller's, with no pool: it never grows.
 *
 * All of the memory is used; the limit is its size.
 *
 * @arena       the caller's storage, any content; not within @memory
 * @memory      not NULL, of any alignment; must outlive the arena
 * @size_bytes  any; 0 is an arena that is full
 */
WEIR_API void weir_arena_init_fixed(struct weir_arena *arena, void *memory, size_t size_bytes);

/** Give all blocks back to the pool and zero the arena. Takes a zeroed arena. */
WEIR_API void weir_arena_fini(struct weir_arena *arena);

/**
 * Allocate @size_bytes aligned to @align_bytes.
 *
 * @size_bytes   any; 0 gives a valid pointer that may not be dereferenced
 * @align_bytes  any power of two; above 32 a fresh block is taken large enough for the worst
 *               padding. A constant costs nothing to check.
 * Returns       the memory, contents unspecified; NULL on failure, see weir_arena_error().
 * Valid until   reset, fini, or a rewind to a mark made before.
 * Cost          inline: two additions, a mask and a comparison; may take one pool block.
 */
WEIR_INLINE void *weir_arena_alloc(struct weir_arena *arena, size_t size_bytes, size_t align_bytes);

/**
 * Allocate @count items of @item_bytes, one after the other, the first aligned to @align_bytes.
 *
 * As weir_arena_alloc(); fails with -EOVERFLOW where the product does not fit a size_t.
 */
WEIR_INLINE void *weir_arena_alloc_array(struct weir_arena *arena, size_t count, size_t item_bytes,
                                         size_t align_bytes);

#ifdef __cplusplus
#define WEIR__ALIGNOF(type) alignof(type)
#else
#define WEIR__ALIGNOF(type) _Alignof(type)
#endif

/** An uninitialised object of @type in @arena, as a `type *`; NULL as weir_arena_alloc(). */
#define WEIR_ARENA_NEW(arena, type) \
    ((type *)weir_arena_alloc((arena), sizeof(type), WEIR__ALIGNOF(type)))

/** @count uninitialised objects of @type in @arena, as a `type *`; NULL as
 * weir_arena_alloc_array(). Each argument is evaluated once. */
#define WEIR_ARENA_ARRAY(arena, type, count) \
    ((type *)weir_arena_alloc_array((arena), (count), sizeof(type), WEIR__ALIGNOF(type)))

/**
 * Copy bytes into the arena, followed by a NUL that is not counted, so that text is a C string.
 *
 * @ret      written on success only; valid as what weir_arena_alloc() returns
 * Returns   0, or weir_arena_error().
 */
WEIR_API int weir_arena_copy(struct weir_arena *arena, struct weir_view bytes,
                             struct weir_view *ret);

/**
 * Copy @count views into the arena, one after the other without gaps, followed by a NUL that is
 * not counted. It always copies; weir_text_join() has a separator, and copies only if it must.
 *
 * @parts    may be NULL if @count is 0
 * @ret      written on success only, may be one of @parts; valid as what weir_arena_alloc() returns
 * Returns   0, or weir_arena_error(); -EOVERFLOW the sum of the sizes does not fit.
 * Cost      two passes over @parts, one over the bytes.
 */
WEIR_API int weir_arena_concat(struct weir_arena *arena, const struct weir_view *parts,
                               size_t count, struct weir_view *ret);

/**
 * Write formatted text into the arena, as printf(3) does, followed by a NUL that is not counted.
 *
 * The text is bounded by the arena's limit and by INT_MAX bytes. It is formatted once where it fits
 * the current chunk, otherwise a second time in a new one. The conversions are the C library's:
 * the locale applies, and it may allocate for some of them (wide strings, huge precisions).
 *
 * @ret      written on success only; valid as what weir_arena_alloc() returns
 * @format   not NULL; no argument may point to @ret
 * Returns   0, or weir_arena_error(); -EOVERFLOW the text is longer than INT_MAX; -EILSEQ a wide
 *           character that has no bytes. errno is left alone.
 */
WEIR_API int weir_arena_format(struct weir_arena *arena, struct weir_view *ret, const char *format,
                               ...) __attribute__((format(printf, 3, 4)));

/** As weir_arena_format(); @arguments is undefined afterwards, as after vprintf(3). */
WEIR_API int weir_arena_vformat(struct weir_arena *arena, struct weir_view *ret, const char *format,
                                va_list arguments) __attribute__((format(printf, 3, 0)));

/** Why the last call that failed did so: a negative errno; 0 if none failed yet. */
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
WEIR_INLINE size_t weir_arena_used_bytes(const struct weir_arena *arena);

/** The same in percent of the limit, rounded down; 0 where there is no limit. */
WEIR_INLINE unsigned weir_arena_used_percent(const struct weir_arena *arena);

/** The most bytes that the arena hands out; SIZE_MAX: no limit. */
WEIR_INLINE size_t weir_arena_limit_bytes(const struct weir_arena *arena);

/** Bytes that the arena holds from its pool, in use or spare; 0 without a pool. */
WEIR_API size_t weir_arena_held_bytes(const struct weir_arena *arena);

/* --- inline bodies ------------------------------------------------------------------------- */

/** Private: the cold half of weir_arena_alloc(). */
WEIR_API void *weir_arena_alloc_slow(struct weir_arena *arena, size_t size_bytes,
                                     size_t align_bytes);

WEIR_INLINE void *weir_arena_alloc(struct weir_arena *arena, size_t size_bytes, size_t align_bytes)
{
    uintptr_t mask = (uintptr_t)align_bytes - 1;
    uintptr_t at = ((uintptr_t)arena->cursor + mask) & ~mask;
    /*
     * Signed, because padding may lead past the end. It also may wrap, to 0 and from the upper
     * half of all addresses; then the end lies there too, and the difference is negative again.
     * An exact fit goes the slow way: with > an empty arena (all NULL) needs no test here.
     */
    ptrdiff_t left = (ptrdiff_t)((uintptr_t)arena->end - at);
    if (WEIR_UNLIKELY(left <= (ptrdiff_t)size_bytes || (ptrdiff_t)size_bytes < 0 ||
                      !weir_is_pow2(align_bytes)))
        return weir_arena_alloc_slow(arena, size_bytes, align_bytes);
    uint8_t *memory = arena->cursor + (at - (uintptr_t)arena->cursor);
    arena->cursor = memory + size_bytes;
    return memory;
}

WEIR_INLINE void *weir_arena_alloc_array(struct weir_arena *arena, size_t count, size_t item_bytes,
                                         size_t align_bytes)
{
    size_t size_bytes;
    if (weir_mul_overflows(count, item_bytes, &size_bytes))
        size_bytes = SIZE_MAX; /* refused as -EOVERFLOW */
    return weir_arena_alloc(arena, size_bytes, align_bytes);
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

WEIR_INLINE size_t weir_arena_used_bytes(const struct weir_arena *arena)
{
    return arena->full_bytes + (size_t)((uintptr_t)arena->cursor - (uintptr_t)arena->start);
}

WEIR_INLINE unsigned weir_arena_used_percent(const struct weir_arena *arena)
{
    size_t limit_bytes = arena->limit_bytes;
    return limit_bytes == SIZE_MAX ? 0 : weir_percent(weir_arena_used_bytes(arena), limit_bytes);
}

WEIR_INLINE size_t weir_arena_limit_bytes(const struct weir_arena *arena)
{
    return arena->limit_bytes;
}

WEIR_END_DECLS

#endif /* WEIR_ARENA_H */
