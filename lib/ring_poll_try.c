/* SPDX-License-Identifier: MIT */
/*
 * The poll backend's requests as system calls that do not wait.
 *
 * Descriptors are the user's, and mostly blocking. Their O_NONBLOCK belongs to whoever else has the
 * same file, other processes included, so it is left alone: sends and receives say so call by call
 * (MSG_DONTWAIT), reads and writes as well where the kernel can (RWF_NOWAIT). What has no such flag
 * is called only when epoll has just reported the descriptor, for as much as that promises.
 */
#include "ring_poll_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* One sendmsg(2) that goes on in the middle takes so many iovecs at most. */
#define REST_IOVECS 64

#define AT_POSITION UINT64_MAX /* WEIR_FILE_POSITION */

static enum weir__tried done(struct weir_op *op, int result)
{
    op->result = result;
    return WEIR__TRIED_DONE;
}

static bool must_wait(int error)
{
    return error == EAGAIN || error == EINTR;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static enum weir__tried try_receive(struct weir_ring *ring, struct weir_op *op, bool first)
{
    struct weir__poll *p = weir__poll_of(ring);
    size_t room;
    uint8_t *at = weir__poll_room(p, &room);
    if (at == NULL)
        return first ? WEIR__TRIED_WAITS : WEIR__TRIED_STARVED;
    ring->stats.enters++;
    ssize_t got = recv(op->fd, at, room, MSG_DONTWAIT);
    if (got < 0 && must_wait(errno))
        return WEIR__TRIED_WAITS;
    if (got <= 0)
        return done(op, got < 0 ? -errno : 0);
    op->received = weir_slice_adopt(weir_view_of(at, (size_t)got), weir_block_hold(p->block));
    op->result = (int)got;
    p->block_offset += (size_t)got;
    return WEIR__TRIED_BROUGHT;
}

/* accept(2) has no flag for not waiting: never on the first try. */
static enum weir__tried try_accept(struct weir_ring *ring, struct weir_op *op, bool first)
{
    int listens = 0;
    socklen_t size = sizeof listens;
    ring->stats.enters++;
    if (first) {
        if (getsockopt(op->fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0)
            return done(op, -errno);
        return listens != 0 ? WEIR__TRIED_WAITS : done(op, -EINVAL);
    }
    int fd = accept4(op->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        op->result = fd;
        return WEIR__TRIED_BROUGHT;
    }
    /* Aborted: a peer that left while it waited. */
    return must_wait(errno) || errno == ECONNABORTED ? WEIR__TRIED_WAITS : done(op, -errno);
}

/* Start connecting. Nor has connect(2) such a flag; O_NONBLOCK is on for this one call. */
static int connect_now(struct weir_ring *ring, const struct weir_op *op)
{
    ring->stats.enters += 2;
    int flags = fcntl(op->fd, F_GETFL);
    if (flags < 0)
        return -errno;
    bool blocking = (flags & O_NONBLOCK) == 0;
    if (blocking) {
        ring->stats.enters += 2;
        if (fcntl(op->fd, F_SETFL, flags | O_NONBLOCK) != 0)
            return -errno;
    }
    int rc = connect(op->fd, op->args.addr.addr, op->args.addr.size) == 0 ? 0 : -errno;
    if (blocking)
        (void)fcntl(op->fd, F_SETFL, flags);
    return rc;
}

static enum weir__tried try_connect(struct weir_ring *ring, struct weir_op *op, bool first)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (first) {
        int rc = connect_now(ring, op);
        if (rc == -EINPROGRESS || rc == -EINTR)
            return WEIR__TRIED_WAITS;
        /* The listener's queue is full, and nothing tells when it is not. */
        if (rc == -EAGAIN && op->args.addr.addr->sa_family == AF_UNIX)
            return WEIR__TRIED_RETRY;
        return done(op, rc);
    }
    ring->stats.enters++;
    if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    return done(op, -error);
}

/* What a sendmsg(2) of a request that has @total bytes returned. */
static enum weir__tried after_send(struct weir_op *op, ssize_t sent, size_t total)
{
    if (sent < 0 && must_wait(errno))
        return WEIR__TRIED_WAITS;
    /* What has left counts more than why the rest did not. */
    if (sent < 0)
        return done(op, op->result > 0 ? op->result : -errno);
    op->result += (int)sent;
    return (size_t)op->result >= total ? WEIR__TRIED_DONE : WEIR__TRIED_WAITS;
}

static enum weir__tried try_send(struct weir_ring *ring, struct weir_op *op)
{
    size_t total = weir__transfer_size(op->args.io.size);
    size_t sent = (size_t)op->result;
    ring->stats.enters++;
    ssize_t rc = send(op->fd, (const uint8_t *)op->args.io.data + sent, total - sent,
                      MSG_DONTWAIT | MSG_NOSIGNAL);
    return after_send(op, rc, total);
}

/* The bytes of an iovec array, as far as one request moves them. */
static size_t total_bytes(const struct iovec *iov, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (iov[i].iov_len > WEIR__TRANSFER_MAX - total)
            return WEIR__TRANSFER_MAX;
        total += iov[i].iov_len;
    }
    return total;
}

/* What is left of an iovec array behind the first @skip bytes, up to @total, in REST_IOVECS. */
static size_t rest_of(const struct iovec *iov, size_t skip, size_t total, struct iovec *rest)
{
    size_t left = total - skip;
    size_t count = 0;
    for (; skip >= iov->iov_len && left != 0; iov++)
        skip -= iov->iov_len;
    for (; left != 0 && count < REST_IOVECS; iov++, skip = 0) {
        size_t size = iov->iov_len - skip < left ? iov->iov_len - skip : left;
        rest[count].iov_base = (uint8_t *)iov->iov_base + skip;
        rest[count++].iov_len = size;
        left -= size;
    }
    return count;
}

static enum weir__tried try_sendv(struct weir_ring *ring, struct weir_op *op)
{
    const struct msghdr *msg = &op->args.msg;
    struct iovec rest[REST_IOVECS];
    size_t total = total_bytes(msg->msg_iov, msg->msg_iovlen);
    for (;;) {
        size_t asked = total;
        struct msghdr part = *msg;
        if (op->result != 0) {
            part.msg_iov = rest;
            part.msg_iovlen = rest_of(msg->msg_iov, (size_t)op->result, total, rest);
            asked = total_bytes(rest, part.msg_iovlen);
        }
        ring->stats.enters++;
        ssize_t sent = sendmsg(op->fd, &part, MSG_DONTWAIT | MSG_NOSIGNAL);
        enum weir__tried tried = after_send(op, sent, total);
        /* The socket took all that it was offered: there is more. */
        if (tried != WEIR__TRIED_WAITS || sent < 0 || (size_t)sent != asked)
            return tried;
    }
}

/* --- files ------------------------------------------------------------------------------------ */

/* A read or write as its vector and offset. A value. */
struct transfer {
    struct iovec one;
    const struct iovec *iov; /* NULL: one */
    int count;
    uint64_t offset;
    bool writes;
};

static struct transfer transfer_of(const struct weir_op *op)
{
    struct transfer t = {.writes = !weir__op_reads(op), .count = 1};
    if (op->kind == WEIR_OP_WRITEV || op->kind == WEIR_OP_READV) {
        t.iov = op->args.iov.iov;
        t.count = (int)op->args.iov.count;
        t.offset = op->args.iov.offset;
        return t;
    }
    t.one.iov_base = op->args.io.data;
    t.one.iov_len = weir__transfer_size(op->args.io.size);
    t.offset = op->args.io.offset;
    return t;
}

/* One that may wait. */
static ssize_t transfer_waiting(const struct weir_op *op, const struct transfer *t,
                                const struct iovec *iov)
{
    if (t->offset == AT_POSITION)
        return t->writes ? writev(op->fd, iov, t->count) : readv(op->fd, iov, t->count);
    off_t offset = (off_t)t->offset;
    return t->writes ? pwritev(op->fd, iov, t->count, offset)
                     : preadv(op->fd, iov, t->count, offset);
}

static int transfer(struct weir_ring *ring, const struct weir_op *op, const struct transfer *t)
{
    ssize_t rc;
    do {
        ring->stats.enters++;
        rc = transfer_waiting(op, t, t->iov != NULL ? t->iov : &t->one);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : (int)rc;
}

/* One at the position that does not wait, if the kernel can; -EOPNOTSUPP, -ENOSYS, -EPERM: not. */
static int transfer_nowait(struct weir_ring *ring, const struct weir_op *op,
                           const struct transfer *t)
{
    const struct iovec *iov = t->iov != NULL ? t->iov : &t->one;
    ring->stats.enters++;
    ssize_t rc = t->writes ? pwritev2(op->fd, iov, t->count, -1, RWF_NOWAIT)
                           : preadv2(op->fd, iov, t->count, -1, RWF_NOWAIT);
    return rc < 0 ? -errno : (int)rc;
}

/* Cut a write to what a pipe or terminal that is ready takes without waiting. */
static void cut(struct transfer *t)
{
    if (!t->writes)
        return;
    while (t->iov != NULL && t->count > 1 && t->iov->iov_len == 0) {
        t->iov++;
        t->count--;
    }
    if (t->iov != NULL && t->count != 0)
        t->one = *t->iov;
    t->iov = NULL;
    t->count = t->count != 0;
    if (t->one.iov_len > PIPE_BUF)
        t->one.iov_len = PIPE_BUF;
}

/* Of what has no position: a pipe, a socket, a terminal. */
static enum weir__tried try_flow(struct weir_ring *ring, struct weir_op *op, bool first)
{
    struct transfer t = transfer_of(op);
    t.offset = AT_POSITION;
    int rc = transfer_nowait(ring, op, &t);
    if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EPERM) {
        if (first)
            return WEIR__TRIED_WAITS;
        cut(&t);
        rc = transfer(ring, op, &t);
    }
    return rc < 0 && must_wait(-rc) ? WEIR__TRIED_WAITS : done(op, rc);
}

static enum weir__tried try_file(struct weir_ring *ring, struct weir_op *op, bool first)
{
    struct transfer t = transfer_of(op);
    struct stat status;
    if (!first)
        return try_flow(ring, op, false);
    if (t.offset == AT_POSITION) {
        ring->stats.enters++;
        if (fstat(op->fd, &status) != 0)
            return done(op, -errno);
        if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode) && !S_ISDIR(status.st_mode))
            return try_flow(ring, op, true);
    }
    int rc = transfer(ring, op, &t);
    /* With an offset, what has no position says so without waiting. */
    return rc == -ESPIPE ? try_flow(ring, op, true) : done(op, rc);
}

static enum weir__tried try_sync(struct weir_ring *ring, struct weir_op *op)
{
    ring->stats.enters++;
    int rc = op->flags != 0 ? fdatasync(op->fd) : fsync(op->fd);
    return done(op, rc == 0 ? 0 : -errno);
}

static enum weir__tried try_allocate(struct weir_ring *ring, struct weir_op *op)
{
    ring->stats.enters++;
    int rc = fallocate(op->fd, (int)op->flags, (off_t)op->args.io.offset, (off_t)op->args.io.size);
    return done(op, rc == 0 ? 0 : -errno);
}

static enum weir__tried try_close(struct weir_ring *ring, struct weir_op *op)
{
    ring->stats.enters++;
    return done(op, close(op->fd) == 0 ? 0 : -errno);
}

/* --- all of them ------------------------------------------------------------------------------ */

enum weir__tried weir__poll_try(struct weir_ring *ring, struct weir_op *op, bool first)
{
    switch ((enum weir_op_kind)op->kind) {
    case WEIR_OP_ACCEPT:
        return try_accept(ring, op, first);
    case WEIR_OP_CONNECT:
        return try_connect(ring, op, first);
    case WEIR_OP_RECEIVE:
        return try_receive(ring, op, first);
    case WEIR_OP_SEND:
        return try_send(ring, op);
    case WEIR_OP_SENDV:
        return try_sendv(ring, op);
    case WEIR_OP_READ:
    case WEIR_OP_WRITE:
    case WEIR_OP_WRITEV:
    case WEIR_OP_READV:
        return try_file(ring, op, first);
    case WEIR_OP_SYNC:
        return try_sync(ring, op);
    case WEIR_OP_ALLOCATE:
        return try_allocate(ring, op);
    case WEIR_OP_CLOSE:
        return try_close(ring, op);
    case WEIR_OP_NONE:
    case WEIR_OP_TIMEOUT:
        break;
    }
    assert(false);
    return done(op, -EINVAL);
}

void weir__poll_try_unwatched(struct weir_ring *ring, struct weir_op *op, int error)
{
    struct transfer t;
    bool is_file = weir__op_reads(op) || op->kind == WEIR_OP_WRITE || op->kind == WEIR_OP_WRITEV;
    if (error == -EPERM && is_file) {
        /* /dev/zero and its like, which are always ready. */
        t = transfer_of(op);
        t.offset = AT_POSITION;
        op->result = transfer(ring, op, &t);
    } else if ((op->kind == WEIR_OP_SEND || op->kind == WEIR_OP_SENDV) && op->result > 0) {
        /* What has left counts more than why the rest cannot. */
    } else {
        /* Epoll takes any socket. */
        op->result = error == -EPERM ? -ENOTSOCK : error;
    }
}
