/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <weir/pool.h>

/* The size that explicit huge pages are asked for in, whatever the system's default is. */
#define HUGE_BYTES ((size_t)2 << 20)
#define HUGE_SHIFT 21
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

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
    if (munmap(memory, size_bytes) == 0)
        return;
    /* In the middle of others it takes one more mapping, and the process may have no more: then the
     * addresses are lost, and the memory is not. */
    assert(errno == ENOMEM);
    (void)madvise(memory, size_bytes, MADV_DONTNEED);
}

const struct weir_source *weir_source_mmap(void)
{
    static const struct weir_source source = {mmap_obtain, mmap_release, NULL};
    return &source;
}

/* --- huge pages ------------------------------------------------------------------------------ */

/* Whether the kernel makes huge pages where madvise() asks for them. */
static bool transparent_offered(void)
{
    char text[64];
    int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    return strstr(text, "[never]") == NULL;
}

static void *map_explicit(size_t size_bytes)
{
    void *memory =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_SHIFT << MAP_HUGE_SHIFT, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* The best that is to be had; *@kind says what it is. */
static void *map_best(const struct weir_huge_source *huge, size_t size_bytes, size_t align_bytes,
                      enum weir_pages *kind)
{
    bool whole = size_bytes != 0 && size_bytes % HUGE_BYTES == 0;
    *kind = WEIR_PAGES_PLAIN;
    /* The kernel aligns them to their size and no further. */
    if (whole && huge->best == WEIR_PAGES_EXPLICIT && align_bytes <= HUGE_BYTES) {
        void *memory = map_explicit(size_bytes);
        if (memory != NULL) {
            *kind = WEIR_PAGES_EXPLICIT;
            return memory;
        }
    }
    if (!whole || huge->best == WEIR_PAGES_PLAIN)
        return map_aligned(size_bytes, align_bytes);
    void *memory = map_aligned(size_bytes, align_bytes > HUGE_BYTES ? align_bytes : HUGE_BYTES);
    if (memory != NULL && transparent_offered() && madvise(memory, size_bytes, MADV_HUGEPAGE) == 0)
        *kind = WEIR_PAGES_TRANSPARENT;
    return memory;
}

static void *huge_obtain(void *context, size_t size_bytes, size_t align_bytes)
{
    struct weir_huge_source *huge = context;
    enum weir_pages kind;
    void *memory = map_best(huge, size_bytes, align_bytes, &kind);
    if (memory != NULL)
        (void)__atomic_fetch_add(&huge->obtained_bytes[kind], size_bytes, __ATOMIC_RELAXED);
    return memory;
}

void weir_huge_source_init(struct weir_huge_source *huge, enum weir_pages best)
{
    assert(best < WEIR_PAGES_KINDS);
    memset(huge, 0, sizeof *huge);
    huge->source.obtain = huge_obtain;
    huge->source.release = mmap_release;
    huge->source.context = huge;
    huge->best = best;
}

enum weir_pages weir_huge_source_kind(const struct weir_huge_source *huge)
{
    enum weir_pages kind;
    void *memory = map_best(huge, HUGE_BYTES, HUGE_BYTES, &kind);
    if (memory == NULL)
        return WEIR_PAGES_PLAIN;
    mmap_release(NULL, memory, HUGE_BYTES);
    return kind;
}
