/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <weir/file.h>

#include "ring_backend.h"

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

int weir_file_writev(struct weir_ring *ring, struct weir_op *op, int fd, const struct iovec *iov,
                     struct weir_block *const *blocks, unsigned count, uint64_t offset)
{
    assert(count <= UIO_MAXIOV);
    weir__op_set(op, WEIR_OP_WRITEV, fd);
    op->blocks = blocks;
    op->block_count = blocks != NULL ? count : 0;
    op->args.iov.iov = iov;
    op->args.iov.count = count;
    op->args.iov.offset = offset;
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
