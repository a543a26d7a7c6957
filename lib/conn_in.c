/* SPDX-License-Identifier: MIT */
#include "conn_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A part of a message that is smaller is copied: it would pin the block that it lies in. */
#define PART_MIN_BYTES 4096

/* --- the memory ------------------------------------------------------------------------------- */

static uint64_t offset_of(const struct weir_conn *conn)
{
    return conn->in_offset + (conn->in != NULL ? weir_stream_offset(&conn->in->stream) : 0);
}

/* Have the memory to receive with. False: there is none, and that is the end. */
static bool begin_input(struct weir_conn *conn)
{
    struct weir_pool *pool = weir_ring_pool(conn->ring);
    struct weir_buf_options backlog = {.link_min_bytes = 1};
    struct weir_block *home;
    if (conn->in != NULL)
        return true;
    int rc = weir_pool_alloc(pool, sizeof(struct weir__conn_in), &home);
    if (rc != 0) {
        weir__conn_fail(conn, WEIR_CONN_END_MEMORY, rc, offset_of(conn), "no memory to receive");
        return false;
    }
    struct weir__conn_in *in = (struct weir__conn_in *)(void *)home->data;
    memset(in, 0, sizeof *in);
    in->home = home;
    weir_stream_init_framed(&in->stream, pool, (enum weir_framing)conn->framing, &conn->limits);
    rc = weir_buf_init(&in->backlog, pool, &backlog);
    assert(rc == 0);
    in->allowance_bytes = conn->rate_bytes_per_s;
    in->allowance_ms = weir__conn_now_ms(conn);
    conn->in = in;
    return true;
}

void weir__conn_end_input(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    if (in == NULL)
        return;
    conn->stats = weir_conn_stats(conn);
    /* Of what is being sent the buffer itself still tells. */
    conn->stats.bytes_copied -= weir_buf_bytes_copied(&conn->out);
    conn->in_offset += weir_stream_offset(&in->stream);
    conn->in = NULL;
    weir_stream_fini(&in->stream);
    weir_buf_fini(&in->backlog);
    weir_block_drop(in->home);
}

void weir__conn_drop_input(struct weir_conn *conn)
{
    if (conn->in != NULL)
        weir_buf_reset(&conn->in->backlog);
}

bool weir__conn_input_is_idle(const struct weir_conn *conn)
{
    const struct weir__conn_in *in = conn->in;
    /* Not paused and no turn to come: all that was fed has been handed out. What was received in
     * the last second still counts where there is a rate. */
    return conn->paused == 0 && !conn->turn.queued && !conn->pumping &&
           weir_buf_size(&in->backlog) == 0 && !weir_stream_is_partial(&in->stream) &&
           in->allowance_bytes == conn->rate_bytes_per_s;
}

/* --- the rate --------------------------------------------------------------------------------- */

/* Count what was allowed since it was counted last. */
static void count_allowance(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    uint32_t now_ms = weir__conn_now_ms(conn);
    uint64_t passed_ms = now_ms - in->allowance_ms;
    int64_t most = conn->rate_bytes_per_s;
    /* No overflow: both factors have 32 bits. Time that is worth no byte has not gone by. */
    int64_t more = (int64_t)(passed_ms * conn->rate_bytes_per_s / 1000);
    if (more == 0)
        return;
    in->allowance_ms = now_ms;
    in->allowance_bytes = more >= most - in->allowance_bytes ? most : in->allowance_bytes + more;
}

uint32_t weir__conn_rate_wait_ms(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    if (conn->rate_bytes_per_s == 0 || in == NULL || in->allowance_bytes >= 0)
        return 0;
    count_allowance(conn);
    if (in->allowance_bytes >= 0)
        return 0;
    uint64_t wait_ms = (uint64_t)-in->allowance_bytes * 1000 / conn->rate_bytes_per_s + 1;
    return wait_ms < 1000000 ? (uint32_t)wait_ms : 1000000;
}

/* Who has received more than is allowed is not read from for a while. */
static void spend_allowance(struct weir_conn *conn, size_t size)
{
    struct weir__conn_in *in = conn->in;
    count_allowance(conn);
    in->allowance_bytes -= (int64_t)size;
    if (in->allowance_bytes >= 0)
        return;
    weir_op_cancel(&conn->receive);
    weir__conn_look_within(conn, weir__conn_rate_wait_ms(conn));
}

/* --- messages --------------------------------------------------------------------------------- */

static void fail_gather(struct weir_conn *conn, int error)
{
    weir__conn_fail(conn, WEIR_CONN_END_MEMORY, error, offset_of(conn),
                    "no memory to gather a message");
}

/* Feed the stream from what was received while paused. False: there is nothing. */
static bool feed_backlog(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    struct weir_slice slice;
    if (weir_buf_front(&in->backlog, &slice) != 0)
        return false;
    int rc = weir_stream_feed(&in->stream, &slice);
    if (rc == 0)
        weir_buf_consume(&in->backlog, slice.view.size);
    else
        fail_gather(conn, rc);
    weir_slice_drop(&slice);
    return true;
}

/* There will be no more messages. The owner may still have answers to pack. */
static void end_messages(struct weir_conn *conn)
{
    conn->told_ended = true;
    if (conn->handlers->ended != NULL)
        conn->handlers->ended(conn);
    else
        weir_conn_finish(conn);
}

/* What the peer sent is at fault: no more of it is looked at, but answers to what came before it
 * still leave. */
static void refuse(struct weir_conn *conn, enum weir_conn_end end, int error, uint64_t offset,
                   const char *reason)
{
    weir__conn_set_why(conn, end, error, offset, reason);
    conn->paused |= WEIR__PAUSED_BY_FAULT;
    weir__conn_drop_input(conn);
    end_messages(conn);
}

static void tell_ended(struct weir_conn *conn)
{
    if (conn->in != NULL && weir_stream_is_partial(&conn->in->stream))
        refuse(conn, WEIR_CONN_END_CUT, -EAGAIN, offset_of(conn),
               "the peer ended within a message");
    else
        end_messages(conn);
}

/* Whether so much waits to leave that no more is handed out. */
static bool is_full(struct weir_conn *conn)
{
    if (weir_buf_size(&conn->out) <= conn->out_high_bytes)
        return false;
    conn->paused |= WEIR__PAUSED_BY_OUT;
    /* Its leaving is what ends this: it must not depend on a flush by the owner. */
    weir_ring_defer(conn->ring, &conn->turn);
    if (conn->out_high != NULL)
        conn->out_high(conn);
    return true;
}

/* The next message as a slice that borrows the stream's own reference, until the stream goes on:
 * one of its own would cost an atomic operation per message, more than all else that is done. */
static int borrow_next(struct weir_stream *stream, struct weir_slice *ret)
{
    int rc = weir_stream_next_view(stream, &ret->view);
    if (rc == 0)
        ret->block = stream->lent != NULL ? stream->lent : stream->input.block;
    return rc;
}

/* The next message, or bytes that it may be in. False: there is none. */
static bool pump_one(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    struct weir_slice message;
    int rc = borrow_next(&in->stream, &message);
    if (rc == 0) {
        conn->handlers->message(conn, &message);
        return true;
    }
    if (rc == -EAGAIN)
        return feed_backlog(conn);
    struct weir_fault fault = weir_stream_fault(&in->stream);
    if (fault.error == 0)
        fail_gather(conn, rc);
    else
        refuse(conn, rc == -EMSGSIZE ? WEIR_CONN_END_TOO_LARGE : WEIR_CONN_END_MALFORMED,
               fault.error, conn->in_offset + fault.offset, fault.reason);
    return true;
}

/* After messages were handed out: what is begun and not complete. */
static void see_to_part(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    if (in == NULL)
        return;
    /* Without memory the bytes stay where they are, and nothing is lost. */
    (void)weir_stream_compact(&in->stream, PART_MIN_BYTES);
    if (conn->message_ms == 0)
        return;
    uint32_t at = (uint32_t)weir_stream_offset(&in->stream);
    bool partial = weir_stream_is_partial(&in->stream);
    if (partial && (!in->partial || in->partial_at != at)) {
        in->partial_ms = weir__conn_now_ms(conn);
        in->partial_at = at;
        weir__conn_look_within(conn, conn->message_ms);
    }
    in->partial = partial;
}

void weir__conn_pump(struct weir_conn *conn)
{
    if (conn->pumping)
        return;
    conn->pumping = true;
    bool more = true;
    while (more && conn->state == WEIR__CONN_OPEN && conn->paused == 0 && !is_full(conn))
        more = conn->in != NULL && pump_one(conn);
    conn->pumping = false;
    see_to_part(conn);
    if (conn->state == WEIR__CONN_OPEN && conn->paused == 0 && conn->peer_ended &&
        !conn->told_ended)
        tell_ended(conn);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void receive_bytes(struct weir_conn *conn, const struct weir_slice *bytes)
{
    int rc;
    if (conn->state != WEIR__CONN_OPEN || (conn->paused & WEIR__PAUSED_BY_FAULT) != 0)
        return;
    weir__conn_touch(conn);
    if (!begin_input(conn))
        return;
    struct weir__conn_in *in = conn->in;
    if (conn->rate_bytes_per_s != 0)
        spend_allowance(conn, bytes->view.size);
    if (conn->paused == 0 && weir_buf_size(&in->backlog) == 0) {
        rc = weir_stream_feed(&in->stream, bytes);
        if (rc == 0)
            weir__conn_pump(conn);
        else if (rc != -EBUSY)
            fail_gather(conn, rc);
        /* Busy: resumed, and the turn that hands out what came before is still to come. */
        if (rc != -EBUSY)
            return;
    }
    rc = weir_buf_keep(&in->backlog, bytes);
    if (rc != 0)
        weir__conn_fail(conn, WEIR_CONN_END_MEMORY, rc, offset_of(conn),
                        "no memory to keep what is received");
    else if (weir_buf_size(&in->backlog) > conn->backlog_bytes)
        weir_op_cancel(&conn->receive);
}

void weir__conn_on_receive(struct weir_op *op)
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
        if (conn->state == WEIR__CONN_OPEN)
            weir__conn_pump(conn);
    } else if (op->result != -ECANCELED) {
        conn->peer_ended = true;
        weir__conn_fail(conn, WEIR_CONN_END_RECEIVE, op->result, 0, "receiving failed");
    }
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir__conn_start_receive(struct weir_conn *conn)
{
    if (conn->peer_ended || weir_op_is_active(&conn->receive))
        return;
    if (conn->state == WEIR__CONN_OPEN && weir__conn_rate_wait_ms(conn) != 0)
        return;
    int rc = weir_sock_receive(conn->ring, &conn->receive, conn->fd);
    if (rc != 0)
        weir__conn_fail_ring(conn, rc);
}
