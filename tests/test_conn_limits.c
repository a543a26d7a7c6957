/* SPDX-License-Identifier: MIT */
/* What bounds a connection: its time, its rate, what waits to leave, its memory when silent. */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weir/conn.h>
#include <weir/pack.h>

#define MS INT64_C(1000000)

struct side {
    struct weir_conn conn;
    int peer;
    bool echoes;
    unsigned messages;
    unsigned closed;
    unsigned highs;
    unsigned lows;
    struct weir_fault why;
    enum weir_conn_end end;
    struct weir_conn_stats stats;
    uint64_t closed_ms;
};

static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    struct side *side = conn->user;
    side->messages++;
    if (!side->echoes)
        return;
    assert_int_equal(weir_buf_append_slice(weir_conn_out(conn), message), 0);
    weir_conn_flush(conn);
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct side *side = conn->user;
    side->closed++;
    side->why = *why;
    side->end = weir_conn_end(conn);
    side->stats = weir_conn_stats(conn);
    side->closed_ms = io_now_ms();
}

static void on_high(struct weir_conn *conn)
{
    struct side *side = conn->user;
    assert_int_equal(side->highs, side->lows);
    side->highs++;
}

static void on_low(struct weir_conn *conn)
{
    struct side *side = conn->user;
    side->lows++;
    assert_int_equal(side->highs, side->lows);
}

static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};

static void side_open(struct side *side, struct io *io, const struct weir_conn_options *options)
{
    int fds[2];
    memset(side, 0, sizeof *side);
    io_pair(fds, false);
    side->peer = fds[1];
    assert_int_equal(weir_conn_init(&side->conn, io->ring, fds[0], &handlers, options, side), 0);
}

static void side_close(struct side *side, struct io *io)
{
    if (side->closed == 0)
        weir_conn_abort(&side->conn, 0, NULL);
    io_until(io, &side->closed, 1);
    close(side->peer);
}

/* Turns until @bytes have come back to the peer, which takes them without looking. */
static void take(struct side *side, struct io *io, size_t bytes)
{
    static uint8_t room[65536];
    while (bytes != 0) {
        ssize_t got =
            recv(side->peer, room, bytes < sizeof room ? bytes : sizeof room, MSG_DONTWAIT);
        assert_true(got > 0 || (got < 0 && errno == EAGAIN));
        if (got > 0)
            bytes -= (size_t)got;
        else
            io_turn(io);
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static void silence_ends_a_connection_and_traffic_keeps_it(void **state)
{
    struct weir_conn_options options = {.idle_ms = 60};
    struct side silent, busy, paused;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    uint64_t begin_ms = io_now_ms();
    side_open(&silent, &io, &options);
    options.idle_ms = 10000;
    side_open(&busy, &io, &options);
    options.idle_ms = 4;
    side_open(&paused, &io, &options);
    weir_conn_pause(&paused.conn);
    io_until(&io, &silent.closed, 1);
    assert_true(silent.closed_ms - begin_ms >= 59);
    assert_int_equal(silent.why.error, -ETIMEDOUT);
    assert_string_equal(silent.why.reason, "nothing came or left in time");
    assert_int_equal(silent.end, WEIR_CONN_END_IDLE);
    io_write_all(busy.peer, "\x07", 1);
    io_until(&io, &busy.messages, 1);
    assert_int_equal(busy.closed, 0);
    /* Who does not read is not told that nothing came; once it does, it is. */
    assert_int_equal(paused.closed, 0);
    weir_conn_resume(&paused.conn);
    io_until(&io, &paused.closed, 1);
    assert_int_equal(paused.end, WEIR_CONN_END_IDLE);
    side_close(&silent, &io);
    side_close(&busy, &io);
    side_close(&paused, &io);
    io_close(&io);
}

static void a_message_that_takes_too_long_ends_a_connection(void **state)
{
    struct weir_conn_options options = {.message_ms = 40};
    struct side side;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    side_open(&side, &io, &options);
    /* Between messages there is all the time, however much of it has passed. */
    for (unsigned i = 0; i < 3; i++) {
        io_write_all(side.peer, "\x92\x01\x02", 3);
        io_until(&io, &side.messages, i + 1);
        io_turns_for(&io, 30);
    }
    assert_int_equal(side.closed, 0);
    uint64_t begin_ms = io_now_ms();
    /* A byte at a time does not help: it is the message that counts. */
    io_write_all(side.peer, "\x07\x9f", 2);
    while (side.closed == 0) {
        (void)send(side.peer, "\x01", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        io_turns_for(&io, 10);
    }
    assert_true(side.closed_ms - begin_ms >= 39);
    assert_int_equal(side.messages, 4);
    assert_int_equal(side.why.error, -ETIMEDOUT);
    assert_int_equal(side.why.offset, 10);
    assert_string_equal(side.why.reason, "a message was not complete in time");
    assert_int_equal(side.end, WEIR_CONN_END_MESSAGE);
    side_close(&side, &io);
    io_close(&io);
}

static void a_peer_that_sends_too_much_is_slowed_down_and_loses_nothing(void **state)
{
    enum { RATE = 4000000, TOTAL = 4800000 };
    struct weir_conn_options options = {.rate_bytes_per_s = RATE};
    static uint8_t bytes[65536];
    struct side side;
    struct io io;

    (void)state;
    memset(bytes, 0x07, sizeof bytes);
    io_open(&io, NULL, NULL);
    uint64_t begin_ms = io_now_ms();
    side_open(&side, &io, &options);
    io_shrink(side.peer);
    for (size_t sent = 0; side.messages < TOTAL; io_turn(&io)) {
        size_t size = TOTAL - sent < sizeof bytes ? TOTAL - sent : sizeof bytes;
        ssize_t rc = size != 0 ? send(side.peer, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        sent += rc > 0 ? (size_t)rc : 0;
    }
    /* A second's worth at once, and one receive that is there when it is used up. */
    uint64_t least_ms = (TOTAL - RATE - 4 * 65536) / (RATE / 1000);
    assert_true(io_now_ms() - begin_ms >= least_ms);
    assert_int_equal(side.messages, TOTAL);
    assert_int_equal(side.closed, 0);
    side_close(&side, &io);
    io_close(&io);
}

/* --- what waits to leave ---------------------------------------------------------------------- */

static void marks_are_told_in_turns(void **state)
{
    struct weir_conn_options options = {
        .out_high_bytes = 300000, .out_low_bytes = 1000, .out_high = on_high, .out_low = on_low};
    static uint8_t bytes[50000];
    struct side side;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    side_open(&side, &io, &options);
    for (unsigned round = 1; round <= 3; round++) {
        size_t total = 0;
        /* Without a message that would be held back: flushing is enough to be told. */
        while (side.highs < round) {
            assert_int_equal(
                weir_buf_append(weir_conn_out(&side.conn), weir_view_of(bytes, sizeof bytes)), 0);
            total += sizeof bytes;
            weir_conn_flush(&side.conn);
            assert_int_equal(weir_ring_run(io.ring, 0) >= 0, 1);
        }
        assert_int_equal(side.lows, round - 1);
        assert_true(weir_conn_pending_bytes(&side.conn) > 300000);
        take(&side, &io, total);
        io_until(&io, &side.lows, round);
        assert_true(weir_conn_pending_bytes(&side.conn) <= 1000);
    }
    side_close(&side, &io);
    io_close(&io);
}

/* Pack @count slices of @size each. */
static void pack_slices(struct side *side, struct io *io, unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++) {
        struct weir_slice slice = io_slice(io, size, i);
        assert_int_equal(weir_buf_append_slice(weir_conn_out(&side->conn), &slice), 0);
        weir_slice_drop(&slice);
    }
    weir_conn_flush(&side->conn);
}

static void all_of_a_turn_leaves_in_one_send(void **state)
{
    static const struct {
        unsigned count;
        size_t size;
        unsigned sends;
    } rows[] = {
        {1, 10, 1},
        {300, 256, 1},  /* copied together */
        {100, 4095, 1}, /* as well */
        {2, 4096, 1},   /* linked: two iovecs */
        {128, 4096, 1}, /* as many as one send has */
        {129, 4096, 2},
        {8, 65536, 1}, /* as many bytes */
        {9, 65536, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static uint8_t got[1 << 20], expected[65536];
        size_t total = rows[i].count * rows[i].size;
        size_t have = 0;
        struct side side;
        struct io io;
        io_open(&io, NULL, NULL);
        side_open(&side, &io, NULL);
        pack_slices(&side, &io, rows[i].count, rows[i].size);
        while (have < total) {
            ssize_t n = recv(side.peer, got + have, sizeof got - have, MSG_DONTWAIT);
            if (n > 0)
                have += (size_t)n;
            else
                io_turn(&io);
        }
        for (unsigned k = 0; k < rows[i].count; k++) {
            test_fill(expected, rows[i].size, k);
            assert_memory_equal(got + k * rows[i].size, expected, rows[i].size);
        }
        while (weir_conn_pending_bytes(&side.conn) != 0)
            io_turn(&io);
        assert_int_equal(weir_conn_stats(&side.conn).sends, rows[i].sends);
        assert_int_equal(weir_conn_stats(&side.conn).sent_bytes, total);
        side_close(&side, &io);
        io_close(&io);
    }
}

static void without_memory_for_many_iovecs_the_first_leaves_alone(void **state)
{
    struct weir_pool_options options = {.limit_bytes = 8 << 20};
    static struct io_hoard hoards[2];
    struct side side;
    struct io io;

    (void)state;
    io_open(&io, &options, NULL);
    side_open(&side, &io, NULL);
    pack_slices(&side, &io, 40, 4096);
    io_hoard_take(&io, &hoards[0], 4096);
    io_hoard_take(&io, &hoards[1], 1024);
    take(&side, &io, 40 * 4096);
    while (weir_conn_pending_bytes(&side.conn) != 0)
        io_turn(&io);
    /* The first leaves alone, and makes room for the rest. */
    assert_int_equal(weir_conn_stats(&side.conn).sends, 2);
    assert_int_equal(side.closed, 0);
    io_hoard_drop(&hoards[0]);
    io_hoard_drop(&hoards[1]);
    side_close(&side, &io);
    io_close(&io);
}

static void without_memory_to_receive_a_connection_ends_and_says_so(void **state)
{
    struct weir_pool_options options = {.limit_bytes = 8 << 20};
    static struct io_hoard hoard;
    struct side side;
    struct io io;

    (void)state;
    io_open(&io, &options, NULL);
    side_open(&side, &io, NULL);
    io_hoard_take(&io, &hoard, 1024);
    io_write_all(side.peer, "\x07", 1);
    io_until(&io, &side.closed, 1);
    assert_int_equal(side.why.error, -ENOBUFS);
    assert_string_equal(side.why.reason, "no memory to receive");
    assert_int_equal(side.end, WEIR_CONN_END_MEMORY);
    assert_int_equal(side.messages, 0);
    io_hoard_drop(&hoard);
    side_close(&side, &io);
    io_close(&io);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void every_end_is_a_value_with_a_text(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        size_t limit_bytes;
        enum weir_conn_end end;
        int error;
    } rows[] = {
        {"", 0, 0, WEIR_CONN_END_ORDERLY, 0},
        {"\xc1", 1, 0, WEIR_CONN_END_MALFORMED, -EBADMSG},
        {"\xa5world", 6, 5, WEIR_CONN_END_TOO_LARGE, -EMSGSIZE},
        {"\x92\x01", 2, 0, WEIR_CONN_END_CUT, -EAGAIN},
    };
    struct side side;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_conn_options options = {.limits = {.bytes = rows[i].limit_bytes}};
        side_open(&side, &io, &options);
        assert_int_equal(weir_conn_end(&side.conn), WEIR_CONN_END_NONE);
        io_write_all(side.peer, rows[i].bytes, rows[i].size);
        shutdown(side.peer, SHUT_WR);
        io_until(&io, &side.closed, 1);
        assert_int_equal(side.end, rows[i].end);
        assert_int_equal(side.why.error, rows[i].error);
        assert_int_equal(weir_conn_end(&side.conn), rows[i].end);
        side_close(&side, &io);
    }
    struct weir_conn_options brief = {.linger_ms = 4};
    side_open(&side, &io, &brief);
    weir_conn_finish(&side.conn);
    io_until(&io, &side.closed, 1);
    assert_int_equal(side.end, WEIR_CONN_END_LINGER);
    side_close(&side, &io);
    side_open(&side, &io, NULL);
    weir_conn_abort(&side.conn, -EPROTO, NULL);
    io_until(&io, &side.closed, 1);
    assert_int_equal(side.end, WEIR_CONN_END_ABORTED);
    side_close(&side, &io);
    io_close(&io);
    assert_string_equal(weir_conn_end_text(WEIR_CONN_END_NONE), "it is open");
    assert_string_equal(weir_conn_end_text(WEIR_CONN_END_RING), "the ring was destroyed");
    assert_string_equal(weir_conn_end_text(WEIR_CONN_END_RING + 1), "there is no such end");
}

/* --- silence ---------------------------------------------------------------------------------- */

/* How many connections this process may have, both ends of each. */
static unsigned room_for(unsigned wanted)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t needed = 2 * (rlim_t)wanted + 100;
    struct rlimit raised = {.rlim_cur = needed, .rlim_max = needed};
    if (limit.rlim_max >= needed)
        raised.rlim_max = limit.rlim_max;
    if (limit.rlim_cur < needed && setrlimit(RLIMIT_NOFILE, &raised) != 0) {
        raised.rlim_cur = raised.rlim_max = limit.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &raised), 0);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur >= needed ? wanted : (unsigned)(limit.rlim_cur - 100) / 2;
}

static uint64_t bytes_in_use(const struct io *io)
{
    struct weir_pool_stats stats;
    weir_pool_reclaim(io->pool);
    weir_pool_stats(io->pool, &stats);
    return stats.total.bytes_in_use;
}

static void silent_connections_hold_nothing_but_their_struct(void **state)
{
    unsigned count = room_for(10000);
    struct side *sides = calloc(count, sizeof *sides);
    struct io io;

    (void)state;
    assert_non_null(sides);
    assert_true(sizeof(struct weir_conn) <= 1024);
    io_open(&io, NULL, NULL);
    uint64_t before = bytes_in_use(&io);
    for (unsigned i = 0; i < count; i++)
        side_open(&sides[i], &io, NULL);
    assert_int_equal(bytes_in_use(&io), before);
    /* Each has answered once, and is used again after its silence. */
    uint64_t busy = 0;
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < count; i++) {
            sides[i].echoes = true;
            io_write_all(sides[i].peer, "\x92\x01\x02", 3);
            if (i % 64 == 63)
                io_turn(&io);
        }
        for (unsigned i = 0; i < count; i++)
            io_until(&io, &sides[i].messages, round);
        busy = bytes_in_use(&io);
        while (bytes_in_use(&io) > before)
            io_turn(&io);
        assert_int_equal(bytes_in_use(&io), before);
    }
    printf("# %u connections: %zu bytes each, %llu of the pool when silent, at most %llu busy\n",
           count,
           sizeof(struct weir_conn),
           (unsigned long long)((bytes_in_use(&io) - before) / count),
           (unsigned long long)((busy - before) / count));
    for (unsigned i = 0; i < count; i++) {
        char back[7];
        assert_int_equal(recv(sides[i].peer, back, sizeof back, MSG_DONTWAIT), 6);
        assert_memory_equal(back, "\x92\x01\x02\x92\x01\x02", 6);
        weir_conn_abort(&sides[i].conn, 0, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        side_close(&sides[i], &io);
        /* What was counted before the silence still counts. */
        assert_int_equal(sides[i].stats.in.messages, 2);
        assert_int_equal(sides[i].stats.in.bytes, 6);
        assert_int_equal(sides[i].stats.sent_bytes, 6);
        assert_int_equal(sides[i].stats.sends, 2);
    }
    free(sides);
    io_close(&io);
}

static void offsets_go_on_after_a_silence(void **state)
{
    struct side side;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    uint64_t before = bytes_in_use(&io);
    side_open(&side, &io, NULL);
    weir_buf_set_headroom(weir_conn_out(&side.conn), 4);
    side.echoes = true;
    io_write_all(side.peer, "\x92\x01\x02", 3);
    take(&side, &io, 3);
    while (bytes_in_use(&io) > before)
        io_turn(&io);
    io_write_all(side.peer, "\x01\xc1", 2);
    take(&side, &io, 1);
    shutdown(side.peer, SHUT_WR);
    io_until(&io, &side.closed, 1);
    assert_int_equal(side.why.error, -EBADMSG);
    assert_int_equal(side.why.offset, 4);
    side_close(&side, &io);
    io_close(&io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(silence_ends_a_connection_and_traffic_keeps_it),
        IO_TEST(a_message_that_takes_too_long_ends_a_connection),
        IO_TEST(a_peer_that_sends_too_much_is_slowed_down_and_loses_nothing),
        IO_TEST(marks_are_told_in_turns),
        IO_TEST(all_of_a_turn_leaves_in_one_send),
        IO_TEST(without_memory_for_many_iovecs_the_first_leaves_alone),
        IO_TEST(without_memory_to_receive_a_connection_ends_and_says_so),
        IO_TEST(every_end_is_a_value_with_a_text),
        IO_TEST(silent_connections_hold_nothing_but_their_struct),
        IO_TEST(offsets_go_on_after_a_silence),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
