/* SPDX-License-Identifier: MIT */
/**
 * file: reading, writing and syncing files from pool blocks.
 *
 *     int rc = weir_file_open("log", O_WRONLY | O_CREAT | O_APPEND, 0644, &fd);
 *     rc = weir_file_write(ring, &op, fd, &slice, WEIR_FILE_POSITION);
 *     ...op.result bytes were written; then
 *     rc = weir_file_sync(ring, &op, fd, true);     // durable once op.result is 0
 *
 * Each start returns 0, or -ECANCELED when the ring is being destroyed, and then the op is still
 * the caller's. What the operation came to is op->result. For lifetimes see ring.h.
 *
 * Threads      the ring's.
 */
#ifndef WEIR_FILE_H
#define WEIR_FILE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <weir/base.h>
#include <weir/ring.h>
#include <weir/slice.h>

WEIR_BEGIN_DECLS

/**
 * As an offset: the file's own position, which advances; with O_APPEND, the end.
 *
 * After a short write the kernel may leave the position where it was: go on with an offset, or open
 * with O_APPEND. One request at a time: two would use the same position.
 */
#define WEIR_FILE_POSITION UINT64_MAX

/**
 * Open a file, at once, with O_CLOEXEC.
 *
 * @ret      written on success only: the descriptor
 * Returns   0 or the error of open(2).
 * Cost      a blocking system call: for set-up.
 */
WEIR_API int weir_file_open(const char *path, int flags, mode_t mode, int *ret);

/**
 * Read up to @size_bytes into @block.
 *
 * @block        held by the ring until the read is over
 * @block_offset where in the block, so that short reads can share one
 * @size_bytes   must fit behind that (asserted)
 * @offset       in the file, or WEIR_FILE_POSITION
 * Result        bytes read, 0 at the end of the file; it may be less than asked for.
 */
WEIR_API int weir_file_read(struct weir_ring *ring, struct weir_op *op, int fd,
                            struct weir_block *block, size_t block_offset, size_t size_bytes,
                            uint64_t offset);

/**
 * Write the bytes of @slice.
 *
 * @slice    stays the caller's; the ring takes a reference of its own
 * Result    bytes written; it may be less than asked for.
 */
WEIR_API int weir_file_write(struct weir_ring *ring, struct weir_op *op, int fd,
                             const struct weir_slice *slice, uint64_t offset);

/**
 * Write @count iovecs, at most UIO_MAXIOV (1024, asserted).
 *
 * @iov      with what it points to, stable until the write is over
 * @blocks   NULL, or @count blocks (NULL entries allowed), stable as well: the ring holds each
 * Result    bytes written; it may be less than asked for.
 */
WEIR_API int weir_file_writev(struct weir_ring *ring, struct weir_op *op, int fd,
                              const struct iovec *iov, struct weir_block *const *blocks,
                              unsigned count, uint64_t offset);

/** Make what was written durable: fdatasync(2) if @data_only, else fsync(2). Result 0. */
WEIR_API int weir_file_sync(struct weir_ring *ring, struct weir_op *op, int fd, bool data_only);

/** Close a descriptor, of a file or a socket. Result 0. */
WEIR_API int weir_file_close(struct weir_ring *ring, struct weir_op *op, int fd);

WEIR_END_DECLS

#endif /* WEIR_FILE_H */
