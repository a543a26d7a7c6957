/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weir/conn.h>
#include <weir/sock.h>

/*
 * A connection goes through these states in this order, and may skip some:
 *
 *   OPEN       messages are handed out, replies are sent
 *   FINISHING  what is packed still leaves; what arrives is dropped
 *   LINGERING  our side has ended; waiting for the peer's end or the linger timer
 *   CLOSING    requests are cancelled; waiting until the kernel has let go of all
 *   CLOSED     closed() was called
 *
 * Handlers run from received bytes (on_receive) and from the turn task. The turn task alone moves
 * the state on, so no handler finds its connection gone under it.
 */
enum state { OPEN, FINISHING, LINGERING, CLOSING, CLOSED };

/* Reasons for handing out no messages, a set. */
enum { PAUSED_BY_OWNER = 1, PAUSED_BY_OUT = 2, PAUSED_BY_FAULT = 4 };

/* While paused, what the kernel had received already is kept; beyond this it is told to stop. */
#define BACKLOG_BYTES 65536

/* A part of a message that is smaller is copied: it would pin the block that it lies in. */
#define PART_MIN_BYTES 4096

static void set_why(struct weir_conn *conn, int error, uint64_t offset, const char *reason)
{
    if (conn->why.error != 0)
        return;
    conn->why.error = error;
    conn->why.offset = offset;
    conn->why.reason = reason;
}

static void enter_closing(struct weir_conn *conn)
{
    if (conn->state >= CLOSING)
        return;
    conn->state = CLOSING;
    /* Shutting down ends what a cancel cannot, and sends the FIN that close(2) would not send while
     * the kernel still has requests. */
    shutdown(conn->fd, SHUT_RDWR);
    weir_op_cancel(&conn->receive);
    weir_op_cancel(&conn->send);
    weir_op_cancel(&conn->linger);
    weir_ring_defer(conn->ring, &conn->turn);
}

static void fail(struct weir_conn *conn, int error, uint64_t offset, const char *reason)
{
    if (conn->state >= CLOSING)
        return;
    set_why(conn, error, offset, reason);
    enter_closing(conn);
}

/* --- in --------------------------------------------------------------------------------------- */

/* Feed the stream from what was received while paused. False: there is nothing. */
static bool feed_backlog(struct weir_conn *conn)
{
    struct weir_slice slice;
    if (weir_buf_front(&conn->backlog, &slice) != 0)
        return false;
    int rc = weir_stream_feed(&conn->stream, &slice);
    if (rc == 0)
        weir_buf_consume(&conn->backlog, slice.view.size);
    else
        fail(conn, rc, weir_stream_offset(&conn->stream), "no memory to gather a message");
    weir_slice_drop(&slice);
    return true;
}

/* There will be no more messages. The owner may still have answers to pack. */
static void end_input(struct weir_conn *conn)
{
    conn->told_ended = true;
    if (conn->handlers->ended != NULL)
        conn->handlers->ended(conn);
    else
        weir_conn_finish(conn);
}

/* What the peer sent is at fault: no more of it is looked at, but answers to what came before it
 * still leave. */
static void refuse(struct weir_conn *conn, int error, uint64_t offset, const char *reason)
{
    set_why(conn, error, offset, reason);
    conn->paused |= PAUSED_BY_FAULT;
    weir_buf_reset(&conn->backlog);
    end_input(conn);
}

static void tell_ended(struct weir_conn *conn)
{
    if (weir_stream_is_partial(&conn->stream)) {
        refuse(conn, -EAGAIN, weir_stream_offset(&conn->stream), "the peer ended within a message");
        return;
    }
    end_input(conn);
}

/* Whether so much waits to leave that no more is handed out. */
static bool is_full(struct weir_conn *conn)
{
    if (weir_buf_size(&conn->out) <= conn->out_high_bytes)
        return false;
    conn->paused |= PAUSED_BY_OUT;
    /* Its leaving is what ends this: it must not depend on a flush by the owner. */
    weir_ring_defer(conn->ring, &conn->turn);
    return true;
}

/* The next message as a slice that borrows the stream's own reference, until the stream goes on:
 * one of its own would cost an atomic operation per message, more than all else that is done. */
static int borrow_next(struct weir_conn *conn, struct weir_slice *ret)
{
    struct weir_stream *stream = &conn->stream;
    int rc = weir_stream_next_view(stream, &ret->view);
    if (rc == 0)
        ret->block = stream->lent != NULL ? stream->lent : stream->input.block;
    return rc;
}

/* Hand out messages until there are none, or somebody says stop. */
static void pump(struct weir_conn *conn)
{
    if (conn->pumping)
        return;
    conn->pumping = true;
    while (conn->state == OPEN && conn->paused == 0 && !is_full(conn)) {
        struct weir_slice message;
        int rc = borrow_next(conn, &message);
        if (rc == 0) {
            conn->handlers->message(conn, &message);
        } else if (rc != -EAGAIN) {
            struct weir_fault fault = weir_stream_fault(&conn->stream);
            if (fault.error != 0)
                refuse(conn, fault.error, fault.offset, fault.reason);
            else
                fail(conn, rc, weir_stream_offset(&conn->stream), "no memory to gather a message");
        } else if (!feed_backlog(conn)) {
            break;
        }
    }
    conn->pumping = false;
    /* Without memory the bytes stay where they are, and nothing is lost. */
    (void)weir_stream_compact(&conn->stream, PART_MIN_BYTES);
    if (conn->state == OPEN && conn->paused == 0 && conn->peer_ended && !conn->told_ended)
        tell_ended(conn);
}

static void receive_bytes(struct weir_conn *conn, const struct weir_slice *bytes)
{
    int rc;
    if (conn->state != OPEN || (conn->paused & PAUSED_BY_FAULT) != 0)
        return;
    if (conn->paused == 0 && weir_buf_size(&conn->backlog) == 0) {
        rc = weir_stream_feed(&conn->stream, bytes);
        if (rc == 0)
            pump(conn);
        else if (rc != -EBUSY)
            fail(conn, rc, weir_stream_offset(&conn->stream), "no memory to gather a message");
        /* Busy: resumed, and the turn that hands out what came before is still to come. */
        if (rc != -EBUSY)
            return;
    }
    rc = weir_buf_keep(&conn->backlog, bytes);
    if (rc != 0)
        fail(conn, rc, weir_stream_offset(&conn->stream), "no memory to keep what is received");
    else if (weir_buf_size(&conn->backlog) > BACKLOG_BYTES)
        weir_op_cancel(&conn->receive);
}

static void on_receive(struct weir_op *op)
{
    struct weir_conn *conn = (struct weir_conn *)op->user;
    if (op->result > 0) {
        receive_bytes(conn, &op->received);
        return;
    }
    if (op->more)
        return;
    if (op->result == 0) {
        conn->peer_ended = true;
        if (conn->state == OPEN)
            pump(conn);
    } else if (op->result != -ECANCELED) {
        conn->peer_ended = true;
        fail(conn, op->result, 0, "receiving failed");
    }
    weir_ring_defer(conn->ring, &conn->turn);
}

/* --- out -------------------------------------------------------------------------------------- */

static void start_send(struct weir_conn *conn)
{
    if (weir_op_is_active(&conn->send) || weir_buf_size(&conn->out) == 0)
        return;
    unsigned count = weir_buf_iovecs(&conn->out, 0, conn->iov, conn->iov_blocks, WEIR_CONN_IOVECS);
    struct weir_view first = weir_view_of(conn->iov[0].iov_base, conn->iov[0].iov_len);
    struct weir_slice alone = weir_slice_adopt(first, conn->iov_blocks[0]);
    /* Mostly it is one piece: then there is no vector for the kernel to fetch. */
    int rc = count == 1 ? weir_sock_send(conn->ring, &conn->send, conn->fd, &alone)
                        : weir_sock_sendv(conn->ring, &conn->send, conn->fd, conn->iov,
                                          conn->iov_blocks, count);
    if (rc != 0)
        fail(conn, rc, 0, "the ring is being destroyed");
    else
        conn->stats.sends++;
}

static void on_send(struct weir_op *op)
{
    struct weir_conn *conn = (struct weir_conn *)op->user;
    if (op->result > 0) {
        conn->stats.sent_bytes += (uint64_t)op->result;
        weir_buf_consume(&conn->out, (size_t)op->result);
    } else {
        /* Nothing more can leave. What the peer sent before it went is still handed out; the end of
         * the receive is what closes. */
        set_why(conn, op->result != 0 ? op->result : -EPIPE, conn->stats.sent_bytes,
                "sending failed");
        conn->out_broken = true;
    }
    weir_ring_defer(conn->ring, &conn->turn);
}

/* --- the turn --------------------------------------------------------------------------------- */

static void start_receive(struct weir_conn *conn)
{
    if (conn->peer_ended || weir_op_is_active(&conn->receive))
        return;
    int rc = weir_sock_receive(conn->ring, &conn->receive, conn->fd);
    if (rc != 0)
        fail(conn, rc, 0, "the ring is being destroyed");
}

static void turn_open(struct weir_conn *conn)
{
    if (weir_buf_size(&conn->out) <= conn->out_high_bytes / 2)
        conn->paused &= (uint8_t)~PAUSED_BY_OUT;
    pump(conn);
    if (conn->state == OPEN && conn->paused == 0)
        start_receive(conn);
}

/* Give the peer time: to take what is sent, then to end its side. */
static void start_linger(struct weir_conn *conn)
{
    if (weir_op_is_active(&conn->linger))
        return;
    conn->linger_sent_bytes = conn->stats.sent_bytes;
    int64_t delay_ns = (int64_t)conn->linger_ms * 1000000;
    int rc = weir_ring_timeout(conn->ring, &conn->linger, delay_ns);
    if (rc != 0)
        fail(conn, rc, 0, "the ring is being destroyed");
}

static void on_linger(struct weir_op *op)
{
    struct weir_conn *conn = (struct weir_conn *)op->user;
    if (op->result == 0 && conn->state < CLOSING) {
        if (conn->stats.sent_bytes != conn->linger_sent_bytes)
            start_linger(conn);
        else
            fail(conn, -ETIME, conn->stats.sent_bytes, "the peer did not end its side in time");
    }
    weir_ring_defer(conn->ring, &conn->turn);
}

/* Everything has left: end our side, and wait for the peer to end its own. */
static void enter_lingering(struct weir_conn *conn)
{
    if (conn->peer_ended) {
        enter_closing(conn);
        return;
    }
    conn->state = LINGERING;
    shutdown(conn->fd, SHUT_WR);
}

/* The kernel has let go of all: give everything back. The owner may free the connection. */
static void end_closing(struct weir_conn *conn)
{
    struct weir_fault why = conn->why;
    if (weir_op_is_active(&conn->receive) || weir_op_is_active(&conn->send) ||
        weir_op_is_active(&conn->linger))
        return;
    conn->stats = weir_conn_stats(conn);
    conn->state = CLOSED;
    close(conn->fd);
    conn->fd = -1;
    weir_ring_undefer(conn->ring, &conn->turn);
    weir_stream_fini(&conn->stream);
    weir_buf_fini(&conn->backlog);
    weir_buf_fini(&conn->out);
    conn->handlers->closed(conn, &why);
}

static void on_turn(struct weir_task *task)
{
    struct weir_conn *conn = (struct weir_conn *)task->user;
    if (conn->out_broken)
        weir_buf_reset(&conn->out);
    if (conn->state == OPEN)
        turn_open(conn);
    if (conn->state == OPEN || conn->state == FINISHING)
        start_send(conn);
    if (conn->state == FINISHING && weir_buf_size(&conn->out) == 0)
        enter_lingering(conn);
    if (conn->state == FINISHING || conn->state == LINGERING)
        start_receive(conn);
    if (conn->state == LINGERING && conn->peer_ended)
        enter_closing(conn);
    if (conn->state == CLOSING)
        end_closing(conn);
}

/* --- the owner's side ------------------------------------------------------------------------- */

int weir_conn_init(struct weir_conn *conn, struct weir_ring *ring, int fd,
                   const struct weir_conn_handlers *handlers,
                   const struct weir_conn_options *options, void *user)
{
    static const struct weir_conn_options defaults;
    const int on = 1;
    struct weir_pool *pool = weir_ring_pool(ring);
    if (options == NULL)
        options = &defaults;
    struct weir_buf_options out = {.limit_bytes = options->out_limit_bytes};
    struct weir_buf_options backlog = {.link_min_bytes = 1};
    if (out.limit_bytes == 0)
        out.limit_bytes = (size_t)64 << 20;
    memset(conn, 0, sizeof *conn);
    conn->user = user;
    conn->handlers = handlers;
    conn->ring = ring;
    conn->fd = fd;
    conn->why.reason = "";
    conn->out_high_bytes = options->out_high_bytes != 0 ? options->out_high_bytes : 1 << 20;
    conn->linger_ms = options->linger_ms != 0 ? options->linger_ms : 5000;
    conn->turn.run = on_turn;
    conn->turn.user = conn;
    weir_op_init(&conn->receive, on_receive, conn);
    weir_op_init(&conn->send, on_send, conn);
    weir_op_init(&conn->linger, on_linger, conn);
    weir_stream_init_framed(&conn->stream, pool, options->framing, &options->limits);
    int rc = weir_buf_init(&conn->out, pool, &out);
    assert(rc == 0);
    rc = weir_buf_init(&conn->backlog, pool, &backlog);
    assert(rc == 0);
    rc = weir_sock_receive(ring, &conn->receive, fd);
    if (rc != 0)
        return rc;
    /* Replies leave once per turn: waiting for more to come only delays them. Not for unix
     * sockets, which refuse the option. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return 0;
}

void weir_conn_flush(struct weir_conn *conn)
{
    if (!weir_op_is_active(&conn->send))
        weir_ring_defer(conn->ring, &conn->turn);
}

void weir_conn_pause(struct weir_conn *conn)
{
    conn->paused |= PAUSED_BY_OWNER;
}

void weir_conn_resume(struct weir_conn *conn)
{
    conn->paused &= (uint8_t)~PAUSED_BY_OWNER;
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir_conn_finish(struct weir_conn *conn)
{
    if (conn->state != OPEN)
        return;
    conn->state = FINISHING;
    weir_buf_reset(&conn->backlog);
    start_linger(conn);
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir_conn_abort(struct weir_conn *conn, int error, const char *reason)
{
    fail(conn, error != 0 ? error : -ECANCELED, 0, reason != NULL ? reason : "closed on request");
}

struct weir_conn_stats weir_conn_stats(const struct weir_conn *conn)
{
    struct weir_conn_stats stats = conn->stats;
    if (conn->state == CLOSED)
        return stats;
    stats.in = weir_stream_stats(&conn->stream);
    stats.bytes_copied = stats.in.bytes_copied + weir_buf_bytes_copied(&conn->out) +
                         weir_buf_bytes_copied(&conn->backlog);
    return stats;
}
