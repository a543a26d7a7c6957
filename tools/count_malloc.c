/* SPDX-License-Identifier: MIT */
/*
 * count_malloc: a library to be preloaded that counts the allocations of a program.
 *
 *     COUNT_MALLOC_FILE=count LD_PRELOAD=.libs/count_malloc.so program
 *
 * The file holds one 64-bit counter in the machine's byte order, which others may read at any
 * time: calls of malloc and its family, free not included. For the tests and tools/demo, not for
 * the library; for glibc, whose functions under these names it stands in front of.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static uint64_t unseen;
static uint64_t *counter = &unseen;

static void count(void)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void map_counter(void)
{
    const char *path = getenv("COUNT_MALLOC_FILE");
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *counter) < 0)
        _exit(127);
    void *page = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        _exit(127);
    close(fd);
    *(uint64_t *)page = unseen;
    counter = page;
}

EXPORT void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

EXPORT void *calloc(size_t number, size_t size)
{
    count();
    return __libc_calloc(number, size);
}

EXPORT void *realloc(void *memory, size_t size)
{
    count();
    return __libc_realloc(memory, size);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

EXPORT int posix_memalign(void **memory, size_t alignment, size_t size)
{
    count();
    void *made = __libc_memalign(alignment, size);
    if (made == NULL)
        return ENOMEM;
    *memory = made;
    return 0;
}
