/* SPDX-License-Identifier: MIT */
/*
 * What --enable-debug adds to the pool: a handle of its own for each allocation.
 *
 * A block's descriptor serves one allocation after the other, so who holds on to it for too long
 * has his hands on somebody else's block, and nobody can tell. Here every allocation gets another
 * descriptor, a generation of the block, to be handed out in its stead. After the last reference is
 * dropped it stays as it is, without holders, and is not used again before
 * WEIR__DEBUG_RETIRED others have been retired. So long whoever holds, drops or slices it ends the
 * program, which says where the block was taken and where it was released.
 *
 * Bytes, and when their memory is used again, are the same as without. The handles' memory comes
 * from mmap(2), not from the pool's source: all that can be counted is the same as well.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool_private.h"

#if defined(__has_include)
#if __has_include(<execinfo.h>)
#include <execinfo.h>
#define HAVE_SYMBOLS 1
#endif
#endif
#ifndef HAVE_SYMBOLS
#define HAVE_SYMBOLS 0
#endif

/* Room for all that are retired, and for as many in use as most programs have: mapped once. */
#define CHUNK_BYTES ((size_t)2 << 20)
#define LINE_BYTES 256

struct weir__handle {
    struct weir_block block; /* what is handed out */
    struct weir_block *under;
    struct weir__handle *next; /* retired after this one */
    const void *taken;         /* call sites */
    const void *released;
    const char *tag;
    size_t asked_bytes;
    size_t block_bytes; /* block.size, which a list overwrites */
    bool elsewhere;     /* released on another thread than the owner's */
};

struct weir__handles {
    struct weir__handles *next;
    struct weir__handle handles[];
};

#define CHUNK_HANDLES ((CHUNK_BYTES - sizeof(struct weir__handles)) / sizeof(struct weir__handle))

static struct weir__handle *handle_of(const struct weir_block *block)
{
    return (struct weir__handle *)(uintptr_t)block; /* its first member */
}

static int chunk_add(struct weir_pool *pool)
{
    const struct weir_source *source = weir_source_mmap();
    struct weir__handles *chunk = source->obtain(source->context, CHUNK_BYTES, pool->page_bytes);
    if (chunk == NULL)
        return -ENOMEM;
    chunk->next = pool->debug.chunks;
    pool->debug.chunks = chunk;
    pool->debug.fresh = CHUNK_HANDLES;
    return 0;
}

int weir__debug_reserve(struct weir_pool *pool)
{
    if (pool->debug.retired_count > WEIR__DEBUG_RETIRED || pool->debug.fresh != 0)
        return 0;
    return chunk_add(pool);
}

struct weir_block *weir__debug_take(struct weir_pool *pool, struct weir_block *under,
                                    size_t asked_bytes, const void *site)
{
    struct weir__handle *handle;
    if (pool->debug.retired_count > WEIR__DEBUG_RETIRED) {
        handle = pool->debug.retired_first;
        pool->debug.retired_first = handle->next;
        pool->debug.retired_count--;
    } else {
        assert(pool->debug.fresh != 0); /* reserved */
        handle = &pool->debug.chunks->handles[--pool->debug.fresh];
    }
    memset(handle, 0, sizeof *handle);
    handle->block.data = under->data;
    handle->block.size = under->size;
    handle->block.home = under->home;
    __atomic_store_n(&handle->block.refs, 1, __ATOMIC_RELAXED);
    handle->under = under;
    handle->taken = site;
    handle->tag = pool->tag;
    handle->asked_bytes = asked_bytes;
    handle->block_bytes = under->size;
    return &handle->block;
}

void weir__debug_released(struct weir_block *block, const void *site)
{
    struct weir__handle *handle = handle_of(block);
    handle->released = site;
    handle->elsewhere = !weir__pool_is_mine(block->home->pool);
}

struct weir_block *weir__debug_under(const struct weir_block *block)
{
    return handle_of(block)->under;
}

struct weir_block *weir__debug_retire(struct weir_pool *pool, struct weir_block *block)
{
    struct weir__handle *handle = handle_of(block);
    block->size = handle->block_bytes;
    handle->next = NULL;
    if (pool->debug.retired_count == 0)
        pool->debug.retired_first = handle;
    else
        pool->debug.retired_last->next = handle;
    pool->debug.retired_last = handle;
    pool->debug.retired_count++;
    __atomic_store_n(&handle->under->refs, 0, __ATOMIC_RELAXED);
    return handle->under;
}

void weir__debug_end(struct weir_pool *pool)
{
    const struct weir_source *source = weir_source_mmap();
    while (pool->debug.chunks != NULL) {
        struct weir__handles *chunk = pool->debug.chunks;
        pool->debug.chunks = chunk->next;
        source->release(source->context, chunk, CHUNK_BYTES);
    }
}

/* --- the last words -------------------------------------------------------------------------- */

static void say(const char *text, size_t size)
{
    while (size != 0) {
        ssize_t written = write(STDERR_FILENO, text, size);
        if (written < 0 && errno != EINTR)
            return;
        text += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
}

static void say_text(const char *text)
{
    say(text, strlen(text));
}

/* A call site: the function is not known by name everywhere, its place for addr2line(1) is. */
static void say_site(const char *what, const void *site)
{
    say_text(what);
#if HAVE_SYMBOLS
    void *address = (void *)(uintptr_t)site;
    backtrace_symbols_fd(&address, 1, STDERR_FILENO);
#else
    char line[LINE_BYTES];
    int size = snprintf(line, sizeof line, "%p\n", site);
    if (size > 0 && (size_t)size < sizeof line)
        say(line, (size_t)size);
#endif
}

void weir__debug_stale(const struct weir_block *block, const char *what, const void *site)
{
    const struct weir__handle *handle = handle_of(block);
    char line[LINE_BYTES];
    int size = snprintf(line, sizeof line,
                        "weir: %s: block of %zu bytes at %p, %zu asked for, tag %.64s\n", what,
                        handle->block_bytes, (const void *)block->data, handle->asked_bytes,
                        handle->tag != NULL ? handle->tag : "(none)");
    if (size > 0)
        say(line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1);
    say_site("  now in      ", site);
    say_site("  taken in    ", handle->taken);
    say_site(handle->elsewhere ? "  released by another thread in " : "  released in ",
             handle->released);
    abort();
}
