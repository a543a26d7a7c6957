/* SPDX-License-Identifier: MIT */
/**
 * file: reading, writing, syncing and preallocating files from pool blocks; mapping them; O_DIRECT.
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

/** What direct reads and writes of a file ask for. */
struct weir_file_direct {
    uint32_t memory_align_bytes; /**< of addresses and of each iovec's size; 0: it is not direct */
    uint32_t offset_align_bytes; /**< of offsets and sizes; 0: it is not direct */
    const char *text;            /**< "on", or why it is not: a constant string */
};

/**
 * Open a file for reading and writing past the page cache, O_DIRECT; where its file system does not
 * take that, as ever.
 *
 * @flags       as of weir_file_open(), without O_DIRECT
 * @ret         written on success only: the descriptor
 * @ret_direct  written on success only: what it asks for, and if it is not direct, why
 * Returns      as weir_file_open(). That it cannot be direct is no error.
 * Source       open(2), "O_DIRECT"; statx(2), STATX_DIOALIGN. Where the kernel does not say what
 *              it asks for, 4096 is taken, which is enough for any device that is known.
 */
WEIR_API int weir_file_open_direct(const char *path, int flags, mode_t mode, int *ret,
                                   struct weir_file_direct *ret_direct);

/**
 * Whether a direct read or write of such iovecs at @offset is aligned as @direct asks. Blocks of a
 * pool that are as large as a page are aligned. False where the file is not direct.
 */
WEIR_API bool weir_file_direct_takes(const struct weir_file_direct *direct, const struct iovec *iov,
                                     unsigned count, uint64_t offset);

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

/**
 * Read into @count iovecs, at most UIO_MAXIOV (1024, asserted).
 *
 * @iov      stable until the read is over
 * @blocks   as of weir_file_writev(): whose memory it is
 * Result    bytes read, 0 at the end of the file; it may be less than asked for.
 */
WEIR_API int weir_file_readv(struct weir_ring *ring, struct weir_op *op, int fd,
                             const struct iovec *iov, struct weir_block *const *blocks,
                             unsigned count, uint64_t offset);

/**
 * Give a file space, so that writing there cannot fail for want of it, and takes less time.
 *
 * @offset, @size_bytes  of the part; what was written there stays, what was not reads as zeros
 * @keep_size            the file's size stays although the part lies behind it
 * Result                0; -EOPNOTSUPP the file system cannot; -ENOSPC, -EFBIG, ...
 * Source                fallocate(2), with mode 0 or FALLOC_FL_KEEP_SIZE
 */
WEIR_API int weir_file_allocate(struct weir_ring *ring, struct weir_op *op, int fd, uint64_t offset,
                                uint64_t size_bytes, bool keep_size);

/**
 * Cut a file off at @size_bytes, or make it that long with zeros, at once. Space that was given to
 * it behind its end goes back as well.
 *
 * Returns   0 or the error of ftruncate(2).
 * Cost      a blocking system call.
 */
WEIR_API int weir_file_truncate(int fd, uint64_t size_bytes);

/** Make what was written durable: fdatasync(2) if @data_only, else fsync(2). Result 0. */
WEIR_API int weir_file_sync(struct weir_ring *ring, struct weir_op *op, int fd, bool data_only);

/**
 * Map a part of a file, at once, to read it where it lies.
 *
 * The mapping is a block of @pool's that is foreign memory (weir_block_adopt()): the slice, and
 * what is cut out of it, is held, kept and sent like any other; the last drop unmaps it. The
 * descriptor may be closed at once. What is written to the file later is seen in it, too. Reading
 * where the file was truncated meanwhile, or where the device fails, raises SIGBUS: map files that
 * only grow.
 *
 * @offset      of the part, any
 * @size_bytes  of the part; 0: up to the present end of the file
 * @ret         written on success only; a slice of nobody's if the part is empty
 * Returns      0; -EOVERFLOW the part does not lie within the file; -EINVAL no regular file;
 *              -ENOMEM, -ENOBUFS; or an error of fstat(2) or mmap(2).
 * Threads      the owner of @pool; the last reference may be dropped by any.
 * Cost         two system calls; then a page fault for each page that is not in memory.
 */
WEIR_API int weir_file_map(struct weir_pool *pool, int fd, uint64_t offset, size_t size_bytes,
                           struct weir_slice *ret);

/** Close a descriptor, of a file or a socket. Result 0. */
WEIR_API int weir_file_close(struct weir_ring *ring, struct weir_op *op, int fd);

WEIR_END_DECLS

#endif /* WEIR_FILE_H */
