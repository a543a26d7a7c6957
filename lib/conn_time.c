/* SPDX-License-Identifier: MIT */
/*
 * One alarm per connection, which nobody moves: it looks what is due, and when to look again.
 */
#include "conn_private.h"

#include <errno.h>
#include <stddef.h>

#define NEVER UINT32_MAX

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* What is left of @whole_ms that began at @since_ms; 0: it is over. */
static uint32_t left_of(const struct weir_conn *conn, uint32_t since_ms, uint32_t whole_ms)
{
    uint32_t passed = weir__conn_now_ms(conn) - since_ms;
    return passed < whole_ms ? whole_ms - passed : 0;
}

static uint32_t look_at_linger(struct weir_conn *conn)
{
    uint32_t left = left_of(conn, conn->linger_since_ms, conn->linger_ms);
    if (left != 0)
        return left;
    if (!conn->sent_lately) {
        weir__conn_fail(conn, WEIR_CONN_END_LINGER, -ETIME, conn->stats.sent_bytes,
                        "the peer did not end its side in time");
        return NEVER;
    }
    conn->sent_lately = false;
    conn->linger_since_ms = weir__conn_now_ms(conn);
    return conn->linger_ms;
}

static uint32_t look_at_idle(struct weir_conn *conn)
{
    if (conn->idle_ms == 0)
        return NEVER;
    /* Who does not read cannot say that nothing came. */
    if ((conn->paused & WEIR__PAUSED_BY_OWNER) != 0)
        conn->active_ms = weir__conn_now_ms(conn);
    uint32_t left = left_of(conn, conn->active_ms, conn->idle_ms);
    if (left == 0)
        weir__conn_fail(conn, WEIR_CONN_END_IDLE, -ETIMEDOUT, 0, "nothing came or left in time");
    return left != 0 ? left : NEVER;
}

static uint32_t look_at_message(struct weir_conn *conn)
{
    struct weir__conn_in *in = conn->in;
    if (in == NULL || !in->partial)
        return NEVER;
    if (conn->paused != 0)
        in->partial_ms = weir__conn_now_ms(conn);
    uint32_t left = left_of(conn, in->partial_ms, conn->message_ms);
    if (left == 0)
        weir__conn_fail(conn, WEIR_CONN_END_MESSAGE, -ETIMEDOUT,
                        conn->in_offset + weir_stream_offset(&in->stream),
                        "a message was not complete in time");
    return left != 0 ? left : NEVER;
}

static uint32_t look_at_rate(struct weir_conn *conn)
{
    if (conn->rate_bytes_per_s == 0 || conn->in == NULL || weir_op_is_active(&conn->receive))
        return NEVER;
    uint32_t wait = weir__conn_rate_wait_ms(conn);
    if (wait != 0)
        return wait;
    weir_ring_defer(conn->ring, &conn->turn);
    return NEVER;
}

/* Give up what only a busy connection needs. */
static uint32_t look_at_memory(struct weir_conn *conn)
{
    bool input = conn->in != NULL && weir__conn_input_is_idle(conn);
    bool output = conn->out.segments != NULL && conn->out.count != 0 &&
                  weir_buf_size(&conn->out) == 0 && conn->out.message == NULL;
    if (!input && !output)
        return NEVER;
    uint32_t left = left_of(conn, conn->active_ms, WEIR__CONN_PARK_MS);
    if (left != 0)
        return left;
    if (input)
        weir__conn_end_input(conn);
    if (output) {
        size_t limit_bytes = conn->out.growth.limit;
        size_t headroom_bytes = conn->out.headroom_bytes;
        weir__conn_end_out(conn);
        weir__conn_init_out(conn, limit_bytes, headroom_bytes);
    }
    return NEVER;
}

void weir__conn_on_alarm(struct weir_alarm *alarm)
{
    struct weir_conn *conn =
        (struct weir_conn *)(void *)((uint8_t *)alarm - offsetof(struct weir_conn, alarm));
    uint32_t delay = NEVER;
    if (conn->state == WEIR__CONN_FINISHING || conn->state == WEIR__CONN_LINGERING)
        delay = look_at_linger(conn);
    if (conn->state == WEIR__CONN_OPEN)
        delay = look_at_idle(conn);
    if (conn->state == WEIR__CONN_OPEN)
        delay = least(delay, look_at_message(conn));
    if (conn->state == WEIR__CONN_OPEN)
        delay = least(delay, look_at_rate(conn));
    if (conn->state < WEIR__CONN_CLOSING)
        delay = least(delay, look_at_memory(conn));
    if (conn->state < WEIR__CONN_CLOSING && delay != NEVER)
        weir_alarm_set(conn->ring, &conn->alarm, delay);
}

void weir__conn_look_within(struct weir_conn *conn, uint32_t delay_ms)
{
    uint64_t tick = (uint64_t)(weir__now_ns() / 1000000) + delay_ms;
    if (!weir_alarm_is_set(&conn->alarm) || conn->alarm.tick > tick / WEIR_ALARM_TICK_MS)
        weir_alarm_set(conn->ring, &conn->alarm, delay_ms);
}
