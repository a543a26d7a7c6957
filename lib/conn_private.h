/* SPDX-License-Identifier: MIT */
/*
 * What the sources of a connection share: conn.c moves it from state to state, conn_in.c cuts what
 * is received into messages, conn_out.c sends, conn_time.c looks at the clock.
 *
 * A connection goes through these states in this order, and may skip some:
 *
 *   OPEN       messages are handed out, replies are sent
 *   FINISHING  what is packed still leaves; what arrives is dropped
 *   LINGERING  our side has ended; waiting for the peer's end or until its time is over
 *   CLOSING    requests are cancelled; waiting until the kernel has let go of all
 *   CLOSED     closed() was called
 *
 * Handlers run from received bytes and from the turn task. The turn task alone moves the state on,
 * so no handler finds its connection gone under it.
 */
#ifndef WEIR_CONN_PRIVATE_H
#define WEIR_CONN_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/conn.h>
#include <weir/sock.h>

#include "ring_backend.h"

enum weir__conn_state {
    WEIR__CONN_OPEN,
    WEIR__CONN_FINISHING,
    WEIR__CONN_LINGERING,
    WEIR__CONN_CLOSING,
    WEIR__CONN_CLOSED
};

/* Reasons for handing out no messages, a set. */
enum { WEIR__PAUSED_BY_OWNER = 1, WEIR__PAUSED_BY_OUT = 2, WEIR__PAUSED_BY_FAULT = 4 };

/*
 * What a connection has only while something comes in, in a block of the pool: a silent one does
 * without.
 */
struct weir__conn_in {
    struct weir_block *home;
    struct weir_stream stream;
    struct weir_buf backlog; /* received while paused */
    int64_t allowance_bytes; /* that may still be received at once, see rate_bytes_per_s */
    uint32_t allowance_ms;   /* when it was counted */
    uint32_t partial_ms;     /* since when the message is begun that is not complete */
    uint32_t partial_at;     /* its offset, cut to 32 bits */
    bool partial;            /* there is one, and message_ms counts */
};

/* A send that has memory of its own in a block of the pool: one of several iovecs. */
struct weir__conn_send {
    struct weir_op op;
    struct weir_block *home;
    struct weir_conn *conn;
    struct iovec *iov;
    struct weir_block **blocks;
};

/* --- conn.c ----------------------------------------------------------------------------------- */

/* Keep why the connection will be closed; the first one counts. */
void weir__conn_set_why(struct weir_conn *conn, enum weir_conn_end end, int error, uint64_t offset,
                        const char *reason);

/* The same, and close. */
void weir__conn_fail(struct weir_conn *conn, enum weir_conn_end end, int error, uint64_t offset,
                     const char *reason);

/* For a start that was refused. */
void weir__conn_fail_ring(struct weir_conn *conn, int error);

/* --- conn_in.c -------------------------------------------------------------------------------- */

/* The done function of conn->receive. */
void weir__conn_on_receive(struct weir_op *op);

/* Hand out messages until there are none, or somebody says stop. */
void weir__conn_pump(struct weir_conn *conn);

/* Receive unless that is done already or must not be. */
void weir__conn_start_receive(struct weir_conn *conn);

/* Drop what was received and not handed out. */
void weir__conn_drop_input(struct weir_conn *conn);

/* Add what the present input has counted to conn->stats, and free it. */
void weir__conn_end_input(struct weir_conn *conn);

/* Whether it is at a place where its memory can be given up. */
bool weir__conn_input_is_idle(const struct weir_conn *conn);

/* How long until more may be received, in ms; 0: it may now. */
uint32_t weir__conn_rate_wait_ms(struct weir_conn *conn);

/* --- conn_out.c ------------------------------------------------------------------------------- */

/* The done function of conn->send. */
void weir__conn_on_send(struct weir_op *op);

/* Send what is packed unless a send is in flight. */
void weir__conn_start_send(struct weir_conn *conn);

/* Prepare conn->out, and give it up with what it counted. */
void weir__conn_init_out(struct weir_conn *conn, size_t limit_bytes, size_t headroom_bytes);
void weir__conn_end_out(struct weir_conn *conn);

/* --- conn_time.c ------------------------------------------------------------------------------ */

/* The function of conn->alarm. */
void weir__conn_on_alarm(struct weir_alarm *alarm);

/* Something came or left. */
static inline void weir__conn_touch(struct weir_conn *conn);

/* Have the alarm run within @delay_ms. */
void weir__conn_look_within(struct weir_conn *conn, uint32_t delay_ms);

/* A silent connection gives up what it does not need after so long. */
#define WEIR__CONN_PARK_MS 100

/* Of this turn; wraps, so only differences count. */
static inline uint32_t weir__conn_now_ms(const struct weir_conn *conn)
{
    return (uint32_t)(conn->ring->now_ns / 1000000);
}

static inline void weir__conn_touch(struct weir_conn *conn)
{
    /* The ring's clock only goes while there are alarms. */
    if (!weir_alarm_is_set(&conn->alarm))
        weir_alarm_set(conn->ring, &conn->alarm, WEIR__CONN_PARK_MS);
    conn->active_ms = weir__conn_now_ms(conn);
}

#endif /* WEIR_CONN_PRIVATE_H */
