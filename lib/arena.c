/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <weir/arena.h>

#define CHUNK_DEFAULT_BYTES ((size_t)4096)

/* Stands at the start of its own block. The list runs from the oldest chunk to the newest and on
 * through the spare ones, so that reset and rewind only step back in it. */
struct weir_arena_chunk {
    struct weir_block *block;
    struct weir_arena_chunk *next;
    size_t reserved[2]; /* to a power of two: what follows is aligned to the header's size */
};

#define HEADER_BYTES sizeof(struct weir_arena_chunk)
_Static_assert((HEADER_BYTES & (HEADER_BYTES - 1)) == 0 && HEADER_BYTES <= 64,
               "blocks are aligned to 64 bytes, what follows the header to the header's size");

static uint8_t *chunk_start(const struct weir_arena_chunk *chunk)
{
    return chunk->block->data + HEADER_BYTES;
}

static size_t chunk_room_bytes(const struct weir_arena_chunk *chunk)
{
    return chunk->block->size - HEADER_BYTES;
}

static size_t padding_bytes(const uint8_t *at, size_t align_bytes)
{
    return (size_t)(-(uintptr_t)at & (align_bytes - 1));
}

/* The link that leads to the first spare chunk. */
static struct weir_arena_chunk **spare_link(struct weir_arena *arena)
{
    return arena->chunk != NULL ? &arena->chunk->next : &arena->first;
}

/* Make @cursor in @chunk the position. The end is where the chunk or the limit ends. */
static void move_to(struct weir_arena *arena, struct weir_arena_chunk *chunk, uint8_t *cursor,
                    size_t full_bytes)
{
    arena->chunk = chunk;
    arena->cursor = cursor;
    arena->full_bytes = full_bytes;
    if (chunk == NULL) {
        arena->start = arena->end = NULL;
        return;
    }
    size_t room = chunk_room_bytes(chunk);
    size_t allowed = arena->limit_bytes - full_bytes;
    arena->start = chunk_start(chunk);
    arena->end = arena->start + (room < allowed ? room : allowed);
    assert(cursor >= arena->start && cursor <= arena->end);
}

void weir_arena_init(struct weir_arena *arena, struct weir_pool *pool,
                     const struct weir_arena_options *options)
{
    static const struct weir_arena_options defaults;
    if (options == NULL)
        options = &defaults;
    memset(arena, 0, sizeof *arena);
    arena->pool = pool;
    /* Whole blocks: else each chunk would look like one that was made for a larger request. What
     * cannot be rounded up cannot be had either, and the pool will say so. */
    arena->chunk_bytes = weir_pool_block_bytes(
        pool, options->chunk_bytes != 0 ? options->chunk_bytes : CHUNK_DEFAULT_BYTES);
    arena->limit_bytes = options->limit_bytes != 0 ? options->limit_bytes : SIZE_MAX;
}

void weir_arena_init_fixed(struct weir_arena *arena, void *memory, size_t size_bytes)
{
    assert(memory != NULL && size_bytes <= PTRDIFF_MAX);
    memset(arena, 0, sizeof *arena);
    arena->start = memory;
    arena->cursor = arena->start;
    arena->end = arena->start + size_bytes;
    arena->limit_bytes = size_bytes;
}

void weir_arena_fini(struct weir_arena *arena)
{
    struct weir_arena_chunk *chunk = arena->first;
    while (chunk != NULL) {
        struct weir_arena_chunk *next = chunk->next;
        weir_block_drop(chunk->block);
        chunk = next;
    }
    memset(arena, 0, sizeof *arena);
}

/* Find a spare chunk with room for @need_bytes, header included, and make it the first spare one.
 * The sequence of a former round fits at the first look. */
static struct weir_arena_chunk *spare_take(struct weir_arena *arena, size_t need_bytes)
{
    struct weir_arena_chunk **head = spare_link(arena);
    struct weir_arena_chunk **link = head;
    while (*link != NULL && (*link)->block->size < need_bytes)
        link = &(*link)->next;
    struct weir_arena_chunk *chunk = *link;
    if (chunk != NULL && link != head) {
        *link = chunk->next;
        chunk->next = *head;
        *head = chunk;
    }
    return chunk;
}

/* A new chunk before the spare ones. The spare chunk whose turn it was goes back to the pool if it
 * was made for a large request and is too small for this one: else every larger request would
 * leave another behind. */
static int chunk_add(struct weir_arena *arena, size_t need_bytes, struct weir_arena_chunk **ret)
{
    size_t want_bytes = need_bytes > arena->chunk_bytes ? need_bytes : arena->chunk_bytes;
    struct weir_arena_chunk **head = spare_link(arena);
    struct weir_block *block;
    int rc = weir_pool_alloc(arena->pool, want_bytes, &block);
    if (rc < 0)
        return rc;

    struct weir_arena_chunk *chunk = (struct weir_arena_chunk *)(void *)block->data;
    chunk->block = block;
    chunk->next = *head;
    if (chunk->next != NULL && chunk->next->block->size > arena->chunk_bytes &&
        chunk->next->block->size < block->size) {
        struct weir_block *small = chunk->next->block;
        chunk->next = chunk->next->next;
        weir_block_drop(small);
    }
    *head = chunk;
    *ret = chunk;
    return 0;
}

/* Give the first spare chunk back if it was made for a large request. */
static void spare_drop_large(struct weir_arena *arena)
{
    struct weir_arena_chunk **head = spare_link(arena);
    struct weir_block *block = (*head)->block;
    if (block->size <= arena->chunk_bytes)
        return;
    *head = (*head)->next;
    weir_block_drop(block);
}

/* Go on in another chunk. */
static int alloc_beyond(struct weir_arena *arena, size_t size_bytes, size_t align_bytes,
                        size_t used_bytes, void **ret)
{
    /* Blocks are aligned to the header's size, so that much of the alignment is there already. */
    size_t padding_max = align_bytes > HEADER_BYTES ? align_bytes - HEADER_BYTES : 0;
    size_t need_bytes;
    if (weir_add_overflows(size_bytes, HEADER_BYTES, &need_bytes) ||
        weir_add_overflows(need_bytes, padding_max, &need_bytes))
        return -EOVERFLOW;
    if (arena->pool == NULL || size_bytes > arena->limit_bytes - used_bytes)
        return -ENOBUFS;

    struct weir_arena_chunk *chunk = spare_take(arena, need_bytes);
    if (chunk == NULL) {
        int rc = chunk_add(arena, need_bytes, &chunk);
        if (rc < 0)
            return rc;
    }
    size_t padding = padding_bytes(chunk_start(chunk), align_bytes);
    if (padding > arena->limit_bytes - used_bytes - size_bytes) {
        spare_drop_large(arena); /* a chunk of the usual size stays as a spare one */
        return -ENOBUFS;
    }
    uint8_t *memory = chunk_start(chunk) + padding;
    move_to(arena, chunk, chunk_start(chunk), used_bytes);
    arena->cursor = memory + size_bytes;
    *ret = memory;
    return 0;
}

static int alloc_slow(struct weir_arena *arena, size_t size_bytes, size_t align_bytes, void **ret)
{
    size_t used_bytes = weir_arena_used_bytes(arena);
    if (!weir_is_pow2(align_bytes))
        return -EINVAL;
    if (arena->start != NULL) {
        size_t padding = padding_bytes(arena->cursor, align_bytes);
        size_t left = (size_t)(arena->end - arena->cursor);
        if (padding <= left && size_bytes <= left - padding) {
            *ret = arena->cursor + padding;
            arena->cursor += padding + size_bytes;
            return 0;
        }
    }
    if (arena->chunk != NULL) {
        size_t padding = padding_bytes(arena->cursor, align_bytes);
        size_t left = chunk_room_bytes(arena->chunk) - (size_t)(arena->cursor - arena->start);
        if (padding <= left && size_bytes <= left - padding)
            return -ENOBUFS; /* it is the limit that is in the way */
    }
    return alloc_beyond(arena, size_bytes, align_bytes, used_bytes, ret);
}

void *weir_arena_alloc_slow(struct weir_arena *arena, size_t size_bytes, size_t align_bytes)
{
    void *memory = NULL;
    int rc = alloc_slow(arena, size_bytes, align_bytes, &memory);
    if (rc < 0)
        arena->error = rc;
    return memory;
}

/* Why a call failed, to be found by weir_arena_error() too. */
static int fail(struct weir_arena *arena, int rc)
{
    arena->error = rc;
    return rc;
}

/* Room for @size_bytes of text and its NUL, which is stored. NULL on failure. */
static uint8_t *text_alloc(struct weir_arena *arena, size_t size_bytes)
{
    size_t full_bytes;
    if (weir_add_overflows(size_bytes, 1, &full_bytes))
        full_bytes = SIZE_MAX; /* refused as -EOVERFLOW */
    uint8_t *memory = weir_arena_alloc(arena, full_bytes, 1);
    if (memory != NULL)
        memory[size_bytes] = '\0';
    return memory;
}

int weir_arena_copy(struct weir_arena *arena, struct weir_view bytes, struct weir_view *ret)
{
    uint8_t *memory = text_alloc(arena, bytes.size);
    if (memory == NULL)
        return arena->error;
    if (bytes.size != 0)
        memcpy(memory, bytes.data, bytes.size);
    *ret = weir_view_of(memory, bytes.size);
    return 0;
}

int weir_arena_concat(struct weir_arena *arena, const struct weir_view *parts, size_t count,
                      struct weir_view *ret)
{
    size_t size_bytes;
    int rc = weir_view_join_bytes(parts, count, 0, &size_bytes);
    if (rc != 0)
        return fail(arena, rc);
    uint8_t *memory = text_alloc(arena, size_bytes);
    if (memory == NULL)
        return arena->error;
    (void)weir_view_join_write(parts, count, weir_view_of(NULL, 0), memory);
    *ret = weir_view_of(memory, size_bytes);
    return 0;
}

/* vsnprintf(3) with its error as a return value; errno stays as it is. */
static __attribute__((format(printf, 3, 0))) int format_into(uint8_t *memory, size_t room_bytes,
                                                             const char *format, va_list arguments)
{
    int before = errno;
    errno = 0;
    int length =
        vsnprintf((char *)memory, room_bytes < INT_MAX ? room_bytes : INT_MAX, format, arguments);
    int error = errno != 0 ? errno : EINVAL;
    errno = before;
    return length >= 0 ? length : -error;
}

int weir_arena_vformat(struct weir_arena *arena, struct weir_view *ret, const char *format,
                       va_list arguments)
{
    /* The room behind the cursor is nobody's yet: what does not fit may have written there. */
    size_t room_bytes = (size_t)((uintptr_t)arena->end - (uintptr_t)arena->cursor);
    va_list again;
    va_copy(again, arguments);
    int length = format_into(arena->cursor, room_bytes, format, arguments);
    uint8_t *memory = length < 0 ? NULL : text_alloc(arena, (size_t)length);
    if (memory != NULL && (size_t)length >= room_bytes)
        format_into(memory, (size_t)length + 1, format, again);
    va_end(again);
    if (length < 0)
        return fail(arena, length);
    if (memory == NULL)
        return arena->error;
    *ret = weir_view_of(memory, (size_t)length);
    return 0;
}

int weir_arena_format(struct weir_arena *arena, struct weir_view *ret, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int rc = weir_arena_vformat(arena, ret, format, arguments);
    va_end(arguments);
    return rc;
}

void weir_arena_rewind(struct weir_arena *arena, struct weir_arena_mark mark)
{
    assert(mark.full_bytes <= arena->full_bytes);
    assert(mark.chunk != arena->chunk || mark.cursor <= arena->cursor);
    if (arena->pool == NULL)
        arena->cursor = mark.cursor;
    else
        move_to(arena, mark.chunk, mark.cursor, mark.full_bytes);
}

void weir_arena_reset(struct weir_arena *arena)
{
    if (arena->pool == NULL)
        arena->cursor = arena->start;
    else
        move_to(arena, NULL, NULL, 0);
}

size_t weir_arena_held_bytes(const struct weir_arena *arena)
{
    size_t held_bytes = 0;
    for (const struct weir_arena_chunk *chunk = arena->first; chunk != NULL; chunk = chunk->next)
        held_bytes += chunk->block->size;
    return held_bytes;
}
