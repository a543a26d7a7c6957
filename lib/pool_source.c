/* SPDX-License-Identifier: MIT */
#include <sys/mman.h>
#include <unistd.h>

#include <weir/pool.h>

/* Map @size_bytes aligned to @align_bytes; NULL on failure. */
static void *map_aligned(size_t size_bytes, size_t align_bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped_bytes = size_bytes;

    /* The kernel aligns to pages. For more, map more and cut off what sticks out. */
    if (align_bytes > page_bytes &&
        weir_add_overflows(size_bytes, align_bytes - page_bytes, &mapped_bytes))
        return NULL;
    void *memory =
        mmap(NULL, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (align_bytes <= page_bytes)
        return memory;

    uint8_t *start = memory;
    size_t before = (size_t)(-(uintptr_t)start & (align_bytes - 1));
    size_t after = mapped_bytes - size_bytes - before;
    if (before != 0)
        (void)munmap(start, before);
    if (after != 0)
        (void)munmap(start + before + size_bytes, after);
    return start + before;
}

static void *mmap_obtain(void *context, size_t size_bytes, size_t align_bytes)
{
    (void)context;
    return map_aligned(size_bytes, align_bytes);
}

static void mmap_release(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    int rc = munmap(memory, size_bytes);
    assert(rc == 0);
    (void)rc;
}

const struct weir_source *weir_source_mmap(void)
{
    static const struct weir_source source = {mmap_obtain, mmap_release, NULL};
    return &source;
}
