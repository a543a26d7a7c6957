/* SPDX-License-Identifier: MIT */
/**
 * sock: stream sockets over TCP and unix domain.
 *
 *     struct weir_addr addr;
 *     int fd, rc = weir_addr_parse("tcp:127.0.0.1:7000", &addr);
 *     rc = weir_sock_listen(&addr, 128, &fd);
 *     weir_op_init(&accept_op, accepted, server);
 *     rc = weir_sock_accept(ring, &accept_op, fd);      // done is called for each connection
 *
 * Each start returns 0, or -ECANCELED when the ring is being destroyed, and then the op is still
 * the caller's. What the operation came to is op->result. For lifetimes see ring.h.
 *
 * Threads      the ring's; the functions on addresses: any.
 * Source       socket(7), tcp(7), unix(7), io_uring_prep_recv_multishot(3).
 */
#ifndef WEIR_SOCK_H
#define WEIR_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <weir/base.h>
#include <weir/ring.h>
#include <weir/slice.h>

WEIR_BEGIN_DECLS

/** An address of the families that weir speaks. A value. */
struct weir_addr {
    struct sockaddr_storage storage;
    socklen_t size;
};

/** Room for any formatted address, its NUL included. */
#define WEIR_ADDR_TEXT_BYTES 128

/**
 * Parse "tcp:HOST:PORT" or "unix:PATH".
 *
 * HOST is an IPv4 address, an IPv6 address in brackets, or empty for any address (IPv6 and IPv4).
 * Names are not looked up: that would block. PORT is 0..65535. PATH starting with '@' is a name in
 * the abstract namespace.
 *
 * @ret      written on success only
 * Returns   0; -EINVAL no such form; -ENAMETOOLONG PATH does not fit a unix address.
 */
WEIR_API int weir_addr_parse(const char *text, struct weir_addr *ret);

/** Write the address in the form that weir_addr_parse() reads. @text: WEIR_ADDR_TEXT_BYTES. */
WEIR_API void weir_addr_format(const struct weir_addr *addr, char *text);

/** The address that a socket is bound to: with port 0 given, the port that was chosen. */
WEIR_API int weir_sock_local(int fd, struct weir_addr *ret);

/**
 * Make a socket that listens on @addr, at once. TCP: with SO_REUSEADDR.
 *
 * @backlog  as in listen(2)
 * @ret      written on success only: the descriptor, close-on-exec
 * Returns   0 or the error of socket(2), bind(2), listen(2).
 */
WEIR_API int weir_sock_listen(const struct weir_addr *addr, int backlog, int *ret);

/** Make a socket to connect to @addr with, at once. Returns 0 or the error of socket(2). */
WEIR_API int weir_sock_open(const struct weir_addr *addr, int *ret);

/**
 * Connect @fd to @addr, which must stay stable until the op is done. Result 0.
 */
WEIR_API int weir_sock_connect(struct weir_ring *ring, struct weir_op *op, int fd,
                               const struct weir_addr *addr);

/**
 * Accept connections until cancelled.
 *
 * Result    for each connection its descriptor, close-on-exec, more true; at the end an error,
 *           more false: -ECANCELED, or what accept(2) says, -EMFILE for example.
 */
WEIR_API int weir_sock_accept(struct weir_ring *ring, struct weir_op *op, int fd);

/**
 * Receive until the peer ends or the op is cancelled.
 *
 * Result    for each arrival its size, the bytes in op->received, which lie in a pool block; at
 *           the end 0 (the peer will send no more) or an error, more false.
 * Blocks    When all receive blocks are in the hands of holders the receive pauses; it goes on by
 *           itself as soon as the pool has blocks again. Nothing is lost.
 */
WEIR_API int weir_sock_receive(struct weir_ring *ring, struct weir_op *op, int fd);

/**
 * Send the bytes of @slice, all of them (MSG_WAITALL | MSG_NOSIGNAL).
 *
 * At most one send may be in flight on a stream socket: two would interleave.
 *
 * @slice    stays the caller's; the ring takes a reference of its own
 * Result    bytes sent; less than all only when the peer is gone, or after 2 GiB - 4 KiB.
 */
WEIR_API int weir_sock_send(struct weir_ring *ring, struct weir_op *op, int fd,
                            const struct weir_slice *slice);

/**
 * Send @count iovecs, at most UIO_MAXIOV (1024, asserted), as weir_sock_send() does.
 *
 * @iov      with what it points to, stable until the send is over
 * @blocks   NULL, or @count blocks (NULL entries allowed), stable as well: the ring holds each
 */
WEIR_API int weir_sock_sendv(struct weir_ring *ring, struct weir_op *op, int fd,
                             const struct iovec *iov, struct weir_block *const *blocks,
                             unsigned count);

WEIR_END_DECLS

#endif /* WEIR_SOCK_H */
