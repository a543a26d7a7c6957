/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

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
