/* SPDX-License-Identifier: MIT */
/*
 * libweir-malloc: the whole program's allocator, to be preloaded.
 *
 *     LD_PRELOAD=/usr/local/lib/libweir-malloc.so program
 *
 * Provides malloc, calloc, realloc, reallocarray, free, free_sized, free_aligned_sized, cfree,
 * aligned_alloc, posix_memalign, memalign, valloc, pvalloc, malloc_usable_size, malloc_trim,
 * mallopt, mallinfo and mallinfo2, and no other name. How memory is kept is described in heap.h.
 *
 * Results      As glibc's: every block is aligned to 16 bytes; malloc(0) returns a block,
 *              realloc(p, 0) frees p and returns NULL; ENOMEM when there is no memory, or more
 *              than PTRDIFF_MAX bytes are asked for; memalign() rounds an odd alignment up; free()
 *              leaves errno alone.
 * Foreign      What other allocators handed out is known by its address: free() ignores it,
 *              malloc_usable_size() is 0, realloc() fails with ENOMEM.
 * Threads      Any. A thread's first allocation gets it a heap, its end leaves that to others.
 * fork         The child may allocate and free, see heap.h. Not to be called from signal handlers.
 * Start        It works before the C library has run its constructors, and when the dynamic loader
 *              allocates. It cannot be unloaded.
 * Environment  Nothing is read, nothing can be set: mallopt() refuses everything.
 * System       Memory is obtained by mmap in weir's default source. Empty slabs are given back by
 *              madvise when there are many and some time has passed, empty segments and large
 *              blocks by munmap but for a few that are kept for the next who needs one.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <weir/base.h>

#include "heap.h"
#include "segment.h"

#define EXPORT __attribute__((visibility("default")))

static pthread_key_t end_key;
static bool end_key_is_made;

static void thread_ends(void *heap)
{
    if (heap == weir__heap_mine)
        weir__heap_abandon(heap);
}

/* Where a destructor of another key allocates after ours has run, ours runs once more. */
static void watch_thread(struct weir__heap *heap)
{
    if (end_key_is_made)
        (void)pthread_setspecific(end_key, heap);
}

__attribute__((constructor)) static void start(void)
{
    end_key_is_made = pthread_key_create(&end_key, thread_ends) == 0;
    weir__heap_on_acquire = watch_thread;
    if (weir__heap_mine != NULL)
        watch_thread(weir__heap_mine);
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* --- C --------------------------------------------------------------------------------------- */

EXPORT void *malloc(size_t size)
{
    return weir__heap_alloc(size);
}

EXPORT void free(void *memory)
{
    weir__heap_free(memory);
}

EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (WEIR_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return no_memory();
    if (bytes <= WEIR__HEAP_DIRECT_MAX_BYTES / 2) {
        void *memory = weir__heap_alloc(bytes);
        return WEIR_LIKELY(memory != NULL) ? memset(memory, 0, bytes) : NULL;
    }
    return weir__heap_alloc_slow(bytes, true);
}

EXPORT void *realloc(void *memory, size_t size)
{
    if (memory == NULL)
        return malloc(size);
    if (size == 0) {
        weir__heap_free(memory);
        return NULL;
    }
    size_t had = weir__heap_usable(memory);
    if (WEIR_UNLIKELY(had == 0))
        return no_memory(); /* not ours: nobody knows how much there is to be copied */
    void *resized = weir__heap_resize(memory, size);
    if (resized != NULL)
        return resized;
    resized = weir__heap_alloc(size);
    if (WEIR_UNLIKELY(resized == NULL))
        return NULL;
    memcpy(resized, memory, had < size ? had : size);
    weir__heap_free(memory);
    return resized;
}

EXPORT void *reallocarray(void *memory, size_t count, size_t size)
{
    size_t bytes;
    if (WEIR_UNLIKELY(__builtin_mul_overflow(count, size, &bytes)))
        return no_memory();
    return realloc(memory, bytes);
}

/* --- C23 ------------------------------------------------------------------------------------- */

EXPORT void free_sized(void *memory, size_t size);
EXPORT void free_sized(void *memory, size_t size)
{
    (void)size;
    weir__heap_free(memory);
}

EXPORT void free_aligned_sized(void *memory, size_t align, size_t size);
EXPORT void free_aligned_sized(void *memory, size_t align, size_t size)
{
    (void)align;
    (void)size;
    weir__heap_free(memory);
}

/* --- alignment ------------------------------------------------------------------------------- */

static void *aligned(size_t align, size_t size)
{
    return align <= 16 ? weir__heap_alloc(size) : weir__heap_alloc_aligned(align, size);
}

EXPORT void *memalign(size_t align, size_t size)
{
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    if ((align & (align - 1)) != 0)
        align = (size_t)1 << (64 - __builtin_clzll(align));
    return aligned(align, size);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    if (align == 0 || (align & (align - 1)) != 0) {
        errno = EINVAL;
        return NULL;
    }
    return aligned(align, size);
}

EXPORT int posix_memalign(void **ret, size_t align, size_t size)
{
    if (align < sizeof(void *) || (align & (align - 1)) != 0)
        return EINVAL;
    int saved = errno;
    void *memory = aligned(align, size);
    errno = saved;
    if (memory == NULL)
        return ENOMEM;
    *ret = memory;
    return 0;
}

EXPORT void *valloc(size_t size)
{
    return aligned(weir__heap_page_bytes(), size);
}

EXPORT void *pvalloc(size_t size)
{
    size_t bytes;
    if (__builtin_add_overflow(size, weir__heap_page_bytes() - 1, &bytes))
        return no_memory();
    bytes &= ~(weir__heap_page_bytes() - 1);
    return aligned(weir__heap_page_bytes(), bytes == 0 ? weir__heap_page_bytes() : bytes);
}

/* --- GNU ------------------------------------------------------------------------------------- */

EXPORT void cfree(void *memory);
EXPORT void cfree(void *memory)
{
    weir__heap_free(memory);
}

EXPORT size_t malloc_usable_size(void *memory)
{
    return memory == NULL ? 0 : weir__heap_usable(memory);
}

EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return weir__heap_trim();
}

EXPORT int mallopt(int parameter, int value)
{
    (void)parameter;
    (void)value;
    return 0;
}

/* What is held from the system is all that can be said without walking other threads' heaps. */
EXPORT struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 info = {0};
    info.arena = __atomic_load_n(&weir__heap_segment_totals.segment_bytes, __ATOMIC_RELAXED);
    info.hblks = __atomic_load_n(&weir__heap_segment_totals.large_count, __ATOMIC_RELAXED);
    info.hblkhd = __atomic_load_n(&weir__heap_segment_totals.large_bytes, __ATOMIC_RELAXED);
    return info;
}

EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 large = mallinfo2();
    struct mallinfo info = {0};
    info.arena = (int)large.arena;
    info.hblks = (int)large.hblks;
    info.hblkhd = (int)large.hblkhd;
    return info;
}
