/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <weir/file.h>

#include "ring_backend.h"

/* Where the kernel does not tell what it asks for. */
#define DIRECT_ALIGN_BYTES 4096

int weir_file_open(const char *path, int flags, mode_t mode, int *ret)
{
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    *ret = fd;
    return 0;
}

/* What the kernel says of direct access. @ret as it was: it does not say. */
static void ask_alignment(int fd, struct weir_file_direct *ret)
{
#ifdef STATX_DIOALIGN
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0 ||
        (status.stx_mask & STATX_DIOALIGN) == 0)
        return;
    ret->memory_align_bytes = status.stx_dio_mem_align;
    ret->offset_align_bytes = status.stx_dio_offset_align;
#else
    (void)fd;
    (void)ret;
#endif
}

/* A file in memory is opened with O_DIRECT by newer kernels, which changes nothing. */
static bool lies_in_memory(int fd)
{
    struct statfs status;
    return fstatfs(fd, &status) == 0 &&
           (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

int weir_file_open_direct(const char *path, int flags, mode_t mode, int *ret,
                          struct weir_file_direct *ret_direct)
{
    struct weir_file_direct direct = {DIRECT_ALIGN_BYTES, DIRECT_ALIGN_BYTES, "on"};
    static const struct weir_file_direct none = {0, 0, "the file system does not take O_DIRECT"};
    static const struct weir_file_direct memory = {0, 0, "the file system lies in memory"};
    int fd = -1;
    /* Never with O_CREAT or O_TRUNC at once: what is refused may have been made all the same. */
    int rc = weir_file_open(path, flags, mode, &fd);
    if (rc != 0)
        return rc;
    if (lies_in_memory(fd)) {
        direct = memory;
    } else {
        ask_alignment(fd, &direct);
        int now = fcntl(fd, F_GETFL);
        if (direct.offset_align_bytes == 0 || now < 0 || fcntl(fd, F_SETFL, now | O_DIRECT) != 0)
            direct = none;
    }
    *ret = fd;
    *ret_direct = direct;
    return 0;
}

bool weir_file_direct_takes(const struct weir_file_direct *direct, const struct iovec *iov,
                            unsigned count, uint64_t offset)
{
    if (direct->offset_align_bytes == 0 || offset % direct->offset_align_bytes != 0)
        return false;
    for (unsigned i = 0; i < count; i++)
        if ((uintptr_t)iov[i].iov_base % direct->memory_align_bytes != 0 ||
            iov[i].iov_len % direct->offset_align_bytes != 0)
            return false;
    return true;
}

int weir_file_truncate(int fd, uint64_t size_bytes)
{
    if (size_bytes > INT64_MAX)
        return -EFBIG;
    return ftruncate(fd, (off_t)size_bytes) < 0 ? -errno : 0;
}

static void unmap(void *context, void *data, size_t size_bytes)
{
    (void)context;
    munmap(data, size_bytes);
}

int weir_file_map(struct weir_pool *pool, int fd, uint64_t offset, size_t size_bytes,
                  struct weir_slice *ret)
{
    struct stat status;
    struct weir_block *block;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    uint64_t end = (uint64_t)status.st_size;
    if (offset > end || size_bytes > end - offset)
        return -EOVERFLOW;
    uint64_t size = size_bytes != 0 ? size_bytes : end - offset;
    if (size == 0) {
        *ret = weir_slice_adopt(weir_view_of(NULL, 0), NULL);
        return 0;
    }
    size_t before = (size_t)(offset & ((uint64_t)sysconf(_SC_PAGESIZE) - 1));
    if (size > PTRDIFF_MAX - before)
        return -EOVERFLOW;
    size_t mapped = (size_t)size + before;
    uint8_t *data = mmap(NULL, mapped, PROT_READ, MAP_SHARED, fd, (off_t)(offset - before));
    if (data == MAP_FAILED)
        return -errno;
    int rc = weir_block_adopt(pool, data, mapped, unmap, NULL, &block);
    if (rc != 0) {
        munmap(data, mapped);
        return rc;
    }
    *ret = weir_slice_adopt(weir_view_of(data + before, (size_t)size), block);
    return 0;
}

int weir_file_read(struct weir_ring *ring, struct weir_op *op, int fd, struct weir_block *block,
                   size_t block_offset, size_t size_bytes, uint64_t offset)
{
    assert(block_offset <= block->size && size_bytes <= block->size - block_offset);
    weir__op_set(op, WEIR_OP_READ, fd);
    op->block = block;
    op->args.io.data = block->data + block_offset;
    op->args.io.size = size_bytes;
    op->args.io.offset = offset;
    return weir__ring_start(ring, op);
}

int weir_file_write(struct weir_ring *ring, struct weir_op *op, int fd,
                    const struct weir_slice *slice, uint64_t offset)
{
    weir__op_set(op, WEIR_OP_WRITE, fd);
    op->block = slice->block;
    op->args.io.data = (void *)(uintptr_t)slice->view.data;
    op->args.io.size = slice->view.size;
    op->args.io.offset = offset;
    return weir__ring_start(ring, op);
}

static void set_vector(struct weir_op *op, enum weir_op_kind kind, int fd, const struct iovec *iov,
                       struct weir_block *const *blocks, unsigned count, uint64_t offset)
{
    weir__op_set(op, kind, fd);
    op->blocks = blocks;
    op->block_count = blocks != NULL ? count : 0;
    op->args.iov.iov = iov;
    op->args.iov.count = count;
    op->args.iov.offset = offset;
}

int weir_file_writev(struct weir_ring *ring, struct weir_op *op, int fd, const struct iovec *iov,
                     struct weir_block *const *blocks, unsigned count, uint64_t offset)
{
    assert(count <= UIO_MAXIOV);
    set_vector(op, WEIR_OP_WRITEV, fd, iov, blocks, count, offset);
    return weir__ring_start(ring, op);
}

int weir_file_readv(struct weir_ring *ring, struct weir_op *op, int fd, const struct iovec *iov,
                    struct weir_block *const *blocks, unsigned count, uint64_t offset)
{
    assert(count <= UIO_MAXIOV);
    set_vector(op, WEIR_OP_READV, fd, iov, blocks, count, offset);
    return weir__ring_start(ring, op);
}

int weir_file_allocate(struct weir_ring *ring, struct weir_op *op, int fd, uint64_t offset,
                       uint64_t size_bytes, bool keep_size)
{
    weir__op_set(op, WEIR_OP_ALLOCATE, fd);
    op->flags = keep_size ? FALLOC_FL_KEEP_SIZE : 0;
    op->args.io.data = NULL;
    op->args.io.size = size_bytes;
    op->args.io.offset = offset;
    return weir__ring_start(ring, op);
}

int weir_file_sync(struct weir_ring *ring, struct weir_op *op, int fd, bool data_only)
{
    weir__op_set(op, WEIR_OP_SYNC, fd);
    op->flags = data_only;
    return weir__ring_start(ring, op);
}

int weir_file_close(struct weir_ring *ring, struct weir_op *op, int fd)
{
    weir__op_set(op, WEIR_OP_CLOSE, fd);
    return weir__ring_start(ring, op);
}
