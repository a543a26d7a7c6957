/* SPDX-License-Identifier: MIT */
#include <errno.h>
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
        arena->end = NULL;
        return;
    }
    size_t room = chunk_room_bytes(chunk);
    size_t allowed = arena->limit_bytes - full_bytes;
    arena->end = chunk_start(chunk) + (room < allowed ? room : allowed);
    assert(cursor >= chunk_start(chunk) && cursor <= arena->end);
}

void weir_arena_init(struct weir_arena *arena, struct weir_pool *pool,
                     const struct weir_arena_options *options)
{
    static const struct weir_arena_options defaults;
    if (options == NULL)
        options = &defaults;
    memset(arena, 0, sizeof *arena);
    arena->pool = pool;
    arena->chunk_bytes = options->chunk_bytes != 0 ? options->chunk_bytes : CHUNK_DEFAULT_BYTES;
    arena->limit_bytes = options->limit_bytes != 0 ? options->limit_bytes : SIZE_MAX;
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

static int alloc_slow(struct weir_arena *arena, size_t size_bytes, size_t align_bytes, void **ret)
{
    size_t used_bytes = weir_arena_used_bytes(arena);
    if (arena->chunk != NULL) {
        size_t padding = padding_bytes(arena->cursor, align_bytes);
        size_t left = (size_t)(arena->end - arena->cursor);
        if (padding <= left && size_bytes <= left - padding) {
            *ret = arena->cursor + padding;
            arena->cursor += padding + size_bytes;
            return 0;
        }
        size_t chunk_left = chunk_room_bytes(arena->chunk) - (used_bytes - arena->full_bytes);
        if (padding <= chunk_left && size_bytes <= chunk_left - padding)
            return -ENOBUFS; /* it is the limit that is in the way */
    }

    /* Blocks are aligned to the header's size, so that much of the alignment is there already. */
    size_t padding_max = align_bytes > HEADER_BYTES ? align_bytes - HEADER_BYTES : 0;
    size_t need_bytes;
    if (weir_add_overflows(size_bytes, HEADER_BYTES + padding_max, &need_bytes))
        return -EOVERFLOW;
    if (size_bytes > arena->limit_bytes - used_bytes)
        return -ENOBUFS;

    struct weir_arena_chunk *chunk = spare_take(arena, need_bytes);
    if (chunk == NULL) {
        int rc = chunk_add(arena, need_bytes, &chunk);
        if (rc < 0)
            return rc;
    }
    size_t padding = padding_bytes(chunk_start(chunk), align_bytes);
    if (padding > arena->limit_bytes - used_bytes - size_bytes)
        return -ENOBUFS; /* the chunk stays as a spare one */
    uint8_t *memory = chunk_start(chunk) + padding;
    move_to(arena, chunk, chunk_start(chunk), used_bytes);
    arena->cursor = memory + size_bytes;
    *ret = memory;
    return 0;
}

void *weir_arena_alloc_slow(struct weir_arena *arena, size_t size_bytes, size_t align_bytes)
{
    void *memory = NULL;
    int rc = alloc_slow(arena, size_bytes, align_bytes, &memory);
    if (rc < 0)
        arena->error = rc;
    return memory;
}

int weir_arena_copy(struct weir_arena *arena, struct weir_view bytes, struct weir_view *ret)
{
    size_t size_bytes;
    if (weir_add_overflows(bytes.size, 1, &size_bytes)) {
        arena->error = -EOVERFLOW;
        return -EOVERFLOW;
    }
    uint8_t *memory = weir_arena_alloc(arena, size_bytes, 1);
    if (memory == NULL)
        return arena->error;
    if (bytes.size != 0)
        memcpy(memory, bytes.data, bytes.size);
    memory[bytes.size] = '\0';
    *ret = weir_view_of(memory, bytes.size);
    return 0;
}

void weir_arena_rewind(struct weir_arena *arena, struct weir_arena_mark mark)
{
    assert(mark.full_bytes <= arena->full_bytes);
    assert(mark.chunk != arena->chunk || mark.cursor <= arena->cursor);
    move_to(arena, mark.chunk, mark.cursor, mark.full_bytes);
}

void weir_arena_reset(struct weir_arena *arena)
{
    move_to(arena, NULL, NULL, 0);
}

size_t weir_arena_used_bytes(const struct weir_arena *arena)
{
    if (arena->chunk == NULL)
        return 0;
    return arena->full_bytes + (size_t)(arena->cursor - chunk_start(arena->chunk));
}

size_t weir_arena_held_bytes(const struct weir_arena *arena)
{
    size_t held_bytes = 0;
    for (const struct weir_arena_chunk *chunk = arena->first; chunk != NULL; chunk = chunk->next)
        held_bytes += chunk->block->size;
    return held_bytes;
}
