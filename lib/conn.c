/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn_private.h"

/* --- ends ------------------------------------------------------------------------------------- */

const char *weir_conn_end_text(enum weir_conn_end end)
{
    static const char *const texts[] = {
        [WEIR_CONN_END_NONE] = "it is open",
        [WEIR_CONN_END_ORDERLY] = "both sides ended",
        [WEIR_CONN_END_MALFORMED] = "the peer sent malformed bytes",
        [WEIR_CONN_END_TOO_LARGE] = "the peer sent too large a message",
        [WEIR_CONN_END_CUT] = "the peer ended within a message",
        [WEIR_CONN_END_MEMORY] = "no memory",
        [WEIR_CONN_END_IDLE] = "silence",
        [WEIR_CONN_END_MESSAGE] = "a message took too long",
        [WEIR_CONN_END_LINGER] = "the peer did not end its side",
        [WEIR_CONN_END_RECEIVE] = "receiving failed",
        [WEIR_CONN_END_SEND] = "sending failed",
        [WEIR_CONN_END_ABORTED] = "aborted by its owner",
        [WEIR_CONN_END_RING] = "the ring was destroyed",
    };
    if ((size_t)end >= sizeof texts / sizeof texts[0])
        return "there is no such end";
    return texts[end];
}

enum weir_conn_end weir_conn_end(const struct weir_conn *conn)
{
    return (enum weir_conn_end)conn->end;
}

void weir__conn_set_why(struct weir_conn *conn, enum weir_conn_end end, int error, uint64_t offset,
                        const char *reason)
{
    if (conn->why.error != 0)
        return;
    conn->end = (uint8_t)end;
    conn->why.error = error;
    conn->why.offset = offset;
    conn->why.reason = reason;
}

static void enter_closing(struct weir_conn *conn)
{
    if (conn->state >= WEIR__CONN_CLOSING)
        return;
    conn->state = WEIR__CONN_CLOSING;
    weir_alarm_clear(conn->ring, &conn->alarm);
    /* Shutting down ends what a cancel cannot, and sends the FIN that close(2) would not send while
     * the kernel still has requests. */
    shutdown(conn->fd, SHUT_RDWR);
    weir_op_cancel(&conn->receive);
    if (conn->sending != NULL)
        weir_op_cancel(conn->sending);
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir__conn_fail(struct weir_conn *conn, enum weir_conn_end end, int error, uint64_t offset,
                     const char *reason)
{
    if (conn->state >= WEIR__CONN_CLOSING)
        return;
    weir__conn_set_why(conn, end, error, offset, reason);
    enter_closing(conn);
}

void weir__conn_fail_ring(struct weir_conn *conn, int error)
{
    weir__conn_fail(conn, WEIR_CONN_END_RING, error, 0, "the ring is being destroyed");
}

/* --- the turn --------------------------------------------------------------------------------- */

static void turn_open(struct weir_conn *conn)
{
    if ((conn->paused & WEIR__PAUSED_BY_OUT) != 0 &&
        weir_buf_size(&conn->out) <= conn->out_low_bytes) {
        conn->paused &= (uint8_t)~WEIR__PAUSED_BY_OUT;
        if (conn->out_low != NULL)
            conn->out_low(conn);
    }
    weir__conn_pump(conn);
    if (conn->state == WEIR__CONN_OPEN && conn->paused == 0)
        weir__conn_start_receive(conn);
}

/* Give the peer time: to take what is sent, then to end its side. */
static void start_linger(struct weir_conn *conn)
{
    conn->sent_lately = false;
    weir_alarm_set(conn->ring, &conn->alarm, conn->linger_ms);
    conn->linger_since_ms = weir__conn_now_ms(conn);
}

/* Everything has left: end our side, and wait for the peer to end its own. */
static void enter_lingering(struct weir_conn *conn)
{
    if (conn->peer_ended) {
        enter_closing(conn);
        return;
    }
    conn->state = WEIR__CONN_LINGERING;
    shutdown(conn->fd, SHUT_WR);
}

/* The kernel has let go of all: give everything back. The owner may free the connection. */
static void end_closing(struct weir_conn *conn)
{
    struct weir_fault why = conn->why;
    if (weir_op_is_active(&conn->receive) || conn->sending != NULL)
        return;
    weir__conn_end_input(conn);
    weir__conn_end_out(conn);
    conn->state = WEIR__CONN_CLOSED;
    if (conn->end == WEIR_CONN_END_NONE)
        conn->end = WEIR_CONN_END_ORDERLY;
    close(conn->fd);
    conn->fd = -1;
    weir_alarm_clear(conn->ring, &conn->alarm);
    weir_ring_undefer(conn->ring, &conn->turn);
    conn->handlers->closed(conn, &why);
}

static void on_turn(struct weir_task *task)
{
    struct weir_conn *conn = (struct weir_conn *)task->user;
    if (conn->out_broken)
        weir_buf_reset(&conn->out);
    if (conn->state == WEIR__CONN_OPEN)
        turn_open(conn);
    else
        weir__conn_end_input(conn);
    if (conn->state == WEIR__CONN_OPEN || conn->state == WEIR__CONN_FINISHING)
        weir__conn_start_send(conn);
    if (conn->state == WEIR__CONN_FINISHING && weir_buf_size(&conn->out) == 0)
        enter_lingering(conn);
    if (conn->state == WEIR__CONN_FINISHING || conn->state == WEIR__CONN_LINGERING)
        weir__conn_start_receive(conn);
    if (conn->state == WEIR__CONN_LINGERING && conn->peer_ended)
        enter_closing(conn);
    if (conn->state == WEIR__CONN_CLOSING)
        end_closing(conn);
}

/* --- the owner's side ------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* A mark is kept in 32 bits: what is larger is out of reach of any sensible limit. */
static uint32_t mark_of(size_t bytes)
{
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

static void set_options(struct weir_conn *conn, const struct weir_conn_options *options)
{
    conn->framing = (uint8_t)options->framing;
    conn->limits = options->limits;
    conn->out_high_bytes = or_default(mark_of(options->out_high_bytes), 1 << 20);
    conn->out_low_bytes = or_default(mark_of(options->out_low_bytes), conn->out_high_bytes / 2);
    if (conn->out_low_bytes > conn->out_high_bytes)
        conn->out_low_bytes = conn->out_high_bytes;
    conn->out_high = options->out_high;
    conn->out_low = options->out_low;
    conn->linger_ms = or_default(options->linger_ms, 5000);
    conn->idle_ms = options->idle_ms;
    conn->message_ms = options->message_ms;
    conn->rate_bytes_per_s = options->rate_bytes_per_s;
    conn->backlog_bytes = or_default(options->backlog_bytes, 65536);
}

int weir_conn_init(struct weir_conn *conn, struct weir_ring *ring, int fd,
                   const struct weir_conn_handlers *handlers,
                   const struct weir_conn_options *options, void *user)
{
    static const struct weir_conn_options defaults;
    const int on = 1;
    if (options == NULL)
        options = &defaults;
    memset(conn, 0, sizeof *conn);
    conn->user = user;
    conn->handlers = handlers;
    conn->ring = ring;
    conn->fd = fd;
    conn->why.reason = "";
    conn->turn.run = on_turn;
    conn->turn.user = conn;
    conn->alarm.run = weir__conn_on_alarm;
    set_options(conn, options);
    weir_op_init(&conn->receive, weir__conn_on_receive, conn);
    weir_op_init(&conn->send, weir__conn_on_send, conn);
    size_t limit_bytes = options->out_limit_bytes;
    weir__conn_init_out(conn, limit_bytes != 0 ? limit_bytes : (size_t)64 << 20, 0);
    int rc = weir_sock_receive(ring, &conn->receive, fd);
    if (rc != 0)
        return rc;
    if (conn->idle_ms != 0) {
        weir_alarm_set(ring, &conn->alarm, conn->idle_ms);
        conn->active_ms = weir__conn_now_ms(conn);
    }
    /* Replies leave once per turn: waiting for more to come only delays them. Not for unix
     * sockets, which refuse the option. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return 0;
}

void weir_conn_flush(struct weir_conn *conn)
{
    bool above = weir_buf_size(&conn->out) > conn->out_high_bytes &&
                 (conn->paused & WEIR__PAUSED_BY_OUT) == 0;
    if (conn->sending == NULL || above)
        weir_ring_defer(conn->ring, &conn->turn);
}

void weir_conn_pause(struct weir_conn *conn)
{
    conn->paused |= WEIR__PAUSED_BY_OWNER;
}

void weir_conn_resume(struct weir_conn *conn)
{
    conn->paused &= (uint8_t)~WEIR__PAUSED_BY_OWNER;
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir_conn_finish(struct weir_conn *conn)
{
    if (conn->state != WEIR__CONN_OPEN)
        return;
    conn->state = WEIR__CONN_FINISHING;
    weir__conn_drop_input(conn);
    start_linger(conn);
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir_conn_abort(struct weir_conn *conn, int error, const char *reason)
{
    weir__conn_fail(conn, WEIR_CONN_END_ABORTED, error != 0 ? error : -ECANCELED, 0,
                    reason != NULL ? reason : "closed on request");
}

struct weir_conn_stats weir_conn_stats(const struct weir_conn *conn)
{
    struct weir_conn_stats stats = conn->stats;
    if (conn->state == WEIR__CONN_CLOSED)
        return stats;
    stats.bytes_copied += weir_buf_bytes_copied(&conn->out);
    if (conn->in == NULL)
        return stats;
    struct weir_stream_stats in = weir_stream_stats(&conn->in->stream);
    stats.in.messages += in.messages;
    stats.in.bytes += in.bytes;
    stats.in.gathered += in.gathered;
    stats.in.bytes_copied += in.bytes_copied;
    stats.bytes_copied += in.bytes_copied + weir_buf_bytes_copied(&conn->in->backlog);
    return stats;
}
