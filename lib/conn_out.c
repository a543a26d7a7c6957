/* SPDX-License-Identifier: MIT */
/*
 * Sending: what is packed leaves in one send at a time. Mostly it is one range of memory, for bytes
 * that touch are one iovec and small ones were copied together when they were packed; then the send
 * needs no memory of its own. More than one iovec lie, with the request, in a block of the pool.
 */
#include "conn_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/*
 * What one send is made of at most. The bytes bound how long what has left already is still held
 * and counted as waiting; more iovecs than these many bytes have at 4 KiB, from where on they are
 * linked instead of copied, would be of no use, and never as many as IOV_MAX.
 */
#define SEND_BYTES ((size_t)512 << 10)
#define SEND_IOVECS 128

void weir__conn_init_out(struct weir_conn *conn, size_t limit_bytes, size_t headroom_bytes)
{
    struct weir_buf_options options = {.limit_bytes = limit_bytes,
                                       .headroom_bytes = headroom_bytes};
    int rc = weir_buf_init(&conn->out, weir_ring_pool(conn->ring), &options);
    assert(rc == 0);
    (void)rc;
}

void weir__conn_end_out(struct weir_conn *conn)
{
    conn->stats.bytes_copied += weir_buf_bytes_copied(&conn->out);
    weir_buf_fini(&conn->out);
}

/* What a send came to. */
static void settle(struct weir_conn *conn, int result)
{
    conn->sending = NULL;
    if (result > 0) {
        conn->stats.sent_bytes += (uint64_t)result;
        conn->sent_lately = true;
        weir__conn_touch(conn);
        weir_buf_consume(&conn->out, (size_t)result);
    } else {
        /* Nothing more can leave. What the peer sent before it went is still handed out; the end of
         * the receive is what closes. */
        weir__conn_set_why(conn, WEIR_CONN_END_SEND, result != 0 ? result : -EPIPE,
                           conn->stats.sent_bytes, "sending failed");
        conn->out_broken = true;
    }
    weir_ring_defer(conn->ring, &conn->turn);
}

void weir__conn_on_send(struct weir_op *op)
{
    settle((struct weir_conn *)op->user, op->result);
}

/* --- several iovecs --------------------------------------------------------------------------- */

static void on_vector(struct weir_op *op)
{
    struct weir__conn_send *send = (struct weir__conn_send *)op->user;
    settle(send->conn, op->result);
    weir_block_drop(send->home);
}

/* Memory for a send of @count iovecs; NULL: none. */
static struct weir__conn_send *make_send(struct weir_conn *conn, size_t count)
{
    struct weir_block *home;
    size_t bytes = sizeof(struct weir__conn_send) +
                   count * (sizeof(struct iovec) + sizeof(struct weir_block *));
    if (weir_pool_alloc(weir_ring_pool(conn->ring), bytes, &home) != 0)
        return NULL;
    struct weir__conn_send *send = (struct weir__conn_send *)(void *)home->data;
    send->home = home;
    send->conn = conn;
    send->iov = (struct iovec *)(void *)(send + 1);
    send->blocks = (struct weir_block **)(void *)(send->iov + count);
    weir_op_init(&send->op, on_vector, send);
    return send;
}

/* False: no memory for it, or nobody to do it. */
static bool start_vector(struct weir_conn *conn)
{
    size_t most = conn->out.count < SEND_IOVECS ? conn->out.count : SEND_IOVECS;
    struct weir__conn_send *send = make_send(conn, most);
    if (send == NULL)
        return false;
    unsigned count =
        weir_buf_iovecs_part(&conn->out, 0, SEND_BYTES, send->iov, send->blocks, (unsigned)most);
    int rc = weir_sock_sendv(conn->ring, &send->op, conn->fd, send->iov, send->blocks, count);
    if (rc != 0) {
        weir_block_drop(send->home);
        return false;
    }
    conn->sending = &send->op;
    return true;
}

/* --- all -------------------------------------------------------------------------------------- */

void weir__conn_start_send(struct weir_conn *conn)
{
    struct iovec iov[2];
    struct weir_block *blocks[2];
    if (conn->sending != NULL)
        return;
    size_t size = weir_buf_size(&conn->out);
    size = size < SEND_BYTES ? size : SEND_BYTES;
    unsigned count = weir_buf_iovecs_part(&conn->out, 0, size, iov, blocks, 2);
    if (count == 0)
        return;
    conn->stats.sends++;
    /* Without memory for all of it the first part leaves alone. */
    if (count > 1 && start_vector(conn))
        return;
    struct weir_slice one =
        weir_slice_adopt(weir_view_of(iov[0].iov_base, iov[0].iov_len), blocks[0]);
    int rc = weir_sock_send(conn->ring, &conn->send, conn->fd, &one);
    if (rc == 0)
        conn->sending = &conn->send;
    else
        weir__conn_fail_ring(conn, rc);
}
