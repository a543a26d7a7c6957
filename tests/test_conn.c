/* SPDX-License-Identifier: MIT */
#include "documents.h"
#include "io.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weir/conn.h>
#include <weir/pack.h>

#define MS 1000000

/* --- a connection under test, and the socket at its other end --------------------------------- */

struct host {
    struct weir_conn *conn; /* on the heap, freed from closed(): a late access is found */
    struct io *io;
    int peer;
    unsigned messages;
    unsigned ended;
    unsigned closed;
    struct weir_fault why;
    struct weir_conn_stats stats;
    void (*act)(struct host *host, const struct weir_slice *message); /* NULL: nothing */
    void (*act_ended)(struct host *host);
    unsigned pack_errors;
    struct host *other;
    size_t most_pending;
    uint64_t outside; /* messages that did not lie within their block */
    uint8_t *seen;    /* all messages, one after the other; NULL: not kept */
    size_t seen_size;
    size_t seen_room;
    uint8_t *got; /* what the peer received */
    size_t got_size;
    size_t got_room;
    bool got_end;
    int got_error;
};

static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    struct host *host = conn->user;
    const struct weir_block *block = message->block;

    assert_int_equal(host->closed, 0);
    assert_int_equal(host->ended, 0);
    host->messages++;
    host->outside += block == NULL || message->view.data < block->data ||
                     message->view.size > block->size ||
                     (size_t)(message->view.data - block->data) > block->size - message->view.size;
    if (host->seen_size + message->view.size > host->seen_room) {
        host->seen_room = 2 * (host->seen_size + message->view.size);
        host->seen = realloc(host->seen, host->seen_room);
    }
    memcpy(host->seen + host->seen_size, message->view.data, message->view.size);
    host->seen_size += message->view.size;
    if (host->act != NULL)
        host->act(host, message);
    /* Valid for the whole call, whatever was done in it. */
    assert_memory_equal(
        host->seen + host->seen_size - message->view.size, message->view.data, message->view.size);
    if (weir_conn_pending_bytes(conn) > host->most_pending)
        host->most_pending = weir_conn_pending_bytes(conn);
}

static void on_ended(struct weir_conn *conn)
{
    struct host *host = conn->user;
    assert_int_equal(host->closed, 0);
    host->ended++;
    if (host->act_ended != NULL)
        host->act_ended(host);
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct host *host = conn->user;
    host->closed++;
    host->why = *why;
    host->stats = weir_conn_stats(conn);
    assert_non_null(why->reason);
    free(conn);
    host->conn = NULL;
}

static const struct weir_conn_handlers handlers = {on_message, NULL, on_closed};
static const struct weir_conn_handlers handlers_ended = {on_message, on_ended, on_closed};

static void host_open(struct host *host, struct io *io, bool tcp,
                      const struct weir_conn_options *options)
{
    int fds[2];
    void (*act)(struct host *, const struct weir_slice *) = host->act;
    void (*act_ended)(struct host *) = host->act_ended;

    memset(host, 0, sizeof *host);
    host->act = act;
    host->act_ended = act_ended;
    host->io = io;
    io_pair(fds, tcp);
    host->peer = fds[1];
    host->conn = malloc(sizeof *host->conn);
    memset(host->conn, 0xa5, sizeof *host->conn);
    assert_int_equal(weir_conn_init(host->conn,
                                    io->ring,
                                    fds[0],
                                    act_ended != NULL ? &handlers_ended : &handlers,
                                    options,
                                    host),
                     0);
}

/* Let the peer take what has arrived, without waiting. */
static void host_read(struct host *host, size_t most)
{
    while (host->peer >= 0 && !host->got_end && most != 0) {
        if (host->got_room - host->got_size < 65536) {
            host->got_room = 2 * host->got_room + 65536;
            host->got = realloc(host->got, host->got_room);
        }
        size_t room = host->got_room - host->got_size;
        ssize_t n =
            recv(host->peer, host->got + host->got_size, room < most ? room : most, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        host->got_end = n <= 0;
        host->got_error = n < 0 ? errno : 0;
        if (n > 0) {
            host->got_size += (size_t)n;
            most -= (size_t)n;
        }
    }
}

static void host_until_closed(struct host *host)
{
    while (host->closed == 0) {
        io_turn(host->io);
        host_read(host, SIZE_MAX);
    }
    assert_int_equal(host->closed, 1);
    host_read(host, SIZE_MAX);
}

static void host_fini(struct host *host)
{
    if (host->closed == 0) {
        weir_conn_abort(host->conn, 0, NULL);
        assert_int_equal(host->closed, 0);
        host_until_closed(host);
    }
    assert_int_equal(host->outside, 0);
    if (host->peer >= 0)
        close(host->peer);
    host->peer = -1;
    free(host->seen);
    free(host->got);
    host->seen = NULL;
    host->got = NULL;
}

/* The peer sends all of it while the connection runs, and takes what comes. */
static void host_send(struct host *host, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size != 0) {
        ssize_t n = send(host->peer, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        } else {
            assert_int_equal(errno, EAGAIN);
        }
        if (size != 0) {
            io_turn(host->io);
            host_read(host, SIZE_MAX);
        }
    }
}

static void echo(struct host *host, const struct weir_slice *message)
{
    struct weir_packer p;
    weir_pack_begin(&p, weir_conn_out(host->conn), message->view.size);
    weir_pack_raw(&p, message->view);
    if (weir_pack_end(&p, NULL) == 0)
        weir_conn_flush(host->conn);
    else
        host->pack_errors++;
}

/* The same by reference: the message leaves from where it was received. */
static void echo_linked(struct host *host, const struct weir_slice *message)
{
    struct weir_packer p;
    weir_pack_begin(&p, weir_conn_out(host->conn), 0);
    weir_pack_raw_slice(&p, message);
    if (weir_pack_end(&p, NULL) == 0)
        weir_conn_flush(host->conn);
    else
        host->pack_errors++;
}

/* A bin of @size bytes in all, at least 5. */
static void make_bin(uint8_t *at, size_t size, uint64_t tag)
{
    size_t payload = size - 5;
    at[0] = 0xc6;
    at[1] = (uint8_t)(payload >> 24);
    at[2] = (uint8_t)(payload >> 16);
    at[3] = (uint8_t)(payload >> 8);
    at[4] = (uint8_t)payload;
    test_fill(at + 5, payload, tag);
}

/* --- in --------------------------------------------------------------------------------------- */

static void documents_of_all_kinds_and_sizes_are_echoed(void **state)
{
    struct test_random random;
    msgpack_sbuffer bytes;
    msgpack_packer packer;
    static uint8_t large[200 << 10];

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 6; round++) {
        struct weir_ring_options options = {.entries = 16};
        struct host host = {.act = round % 3 == 0 ? echo : echo_linked};
        struct io io;
        unsigned count = 0;
        if (round % 2 == 1)
            options.without = WEIR_RING_RECEIVE_BY_PARTS;
        if (round >= 4) {
            options.receive_block_bytes = 300;
            options.receive_blocks = 4;
        }
        io_open(&io, NULL, &options);
        host_open(&host, &io, round / 2 == 1, NULL);
        msgpack_sbuffer_init(&bytes);
        msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
        for (size_t size = 5; size <= sizeof large; size = size * 3 / 2 + 1, count++) {
            make_bin(large, size, size);
            msgpack_sbuffer_write(&bytes, (const char *)large, size);
        }
        make_bin(large, sizeof large, 1);
        msgpack_sbuffer_write(&bytes, (const char *)large, sizeof large);
        count++;
        for (unsigned i = 0; i < 500; i++, count++)
            random_document(&packer, &random, 5);
        size_t at = 0;
        while (at < bytes.size) {
            size_t size = 1 + test_random_size(&random, 30000);
            size = size < bytes.size - at ? size : bytes.size - at;
            host_send(&host, bytes.data + at, size);
            at += size;
        }
        while (host.got_size < bytes.size) {
            io_turn(&io);
            host_read(&host, SIZE_MAX);
        }
        assert_int_equal(host.messages, count);
        assert_int_equal(host.seen_size, bytes.size);
        assert_memory_equal(host.seen, bytes.data, bytes.size);
        assert_memory_equal(host.got, bytes.data, bytes.size);
        shutdown(host.peer, SHUT_WR);
        host_until_closed(&host);
        assert_int_equal(host.why.error, 0);
        assert_int_equal(host.got_size, bytes.size);
        assert_int_equal(host.stats.in.messages, count);
        assert_int_equal(host.stats.in.bytes, bytes.size);
        assert_int_equal(host.stats.sent_bytes, bytes.size);
        assert_true(host.got_end && host.got_error == 0);
        msgpack_sbuffer_destroy(&bytes);
        host_fini(&host);
        io_close(&io);
    }
}

static const uint8_t some[] = {
    0x93, 0x01, 0xa3, 'a',  'b',  'c',  0xc0,                   /* [1, "abc", nil] */
    0x07,                                                       /* 7 */
    0x82, 0xa1, 'k',  0xcd, 0x12, 0x34, 0xa1, 'l',  0x91, 0x90, /* {k: 0x1234, l: [[]]} */
    0xcb, 0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18,       /* pi */
    0xc4, 0x03, 0xc1, 0xc1, 0xc1,                               /* bin: c1 is no tag here */
    0xd6, 0xff, 0x00, 0x00, 0x00, 0x2a,                         /* a timestamp */
    0x90,                                                       /* [] */
};
#define SOME_MESSAGES 7

static void messages_may_be_cut_at_every_byte(void **state)
{
    (void)state;
    for (uint32_t by_parts = 0; by_parts < 2; by_parts++) {
        struct weir_ring_options options = {.without = by_parts ? 0 : WEIR_RING_RECEIVE_BY_PARTS};
        struct io io;
        io_open(&io, NULL, &options);
        for (size_t cut = 0; cut <= sizeof some; cut++) {
            struct host host = {.act = NULL};
            host_open(&host, &io, false, NULL);
            io_write_all(host.peer, some, cut);
            io_turn(&io);
            io_write_all(host.peer, some + cut, sizeof some - cut);
            io_until(&io, &host.messages, SOME_MESSAGES);
            assert_int_equal(host.seen_size, sizeof some);
            assert_memory_equal(host.seen, some, sizeof some);
            host_fini(&host);
        }
        struct host host = {.act = NULL};
        host_open(&host, &io, false, NULL);
        for (size_t i = 0; i < sizeof some; i++) {
            io_write_all(host.peer, some + i, 1);
            while (weir_ring_stats(io.ring).received_bytes % sizeof some != (i + 1) % sizeof some)
                io_turn(&io);
        }
        assert_int_equal(host.messages, SOME_MESSAGES);
        assert_memory_equal(host.seen, some, sizeof some);
        host_fini(&host);
        io_close(&io);
    }
}

static void messages_within_a_block_are_handed_out_without_a_copy(void **state)
{
    static uint8_t bytes[4000];
    struct host host = {.act = NULL};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    memset(bytes, 0xc0, 1000);
    for (size_t at = 1000; at < sizeof bytes; at += 100)
        make_bin(bytes + at, 100, at);
    io_write_all(host.peer, bytes, sizeof bytes);
    io_until(&io, &host.messages, 1030);
    assert_memory_equal(host.seen, bytes, sizeof bytes);
    assert_int_equal(weir_conn_stats(host.conn).bytes_copied, 0);
    assert_int_equal(weir_conn_stats(host.conn).in.gathered, 0);
    host_fini(&host);
    assert_int_equal(host.stats.bytes_copied, 0);
    io_close(&io);
}

/* Arrivals that lie one behind the other in a block are joined, those in two blocks are copied. */
static void messages_that_straddle_blocks_are_counted_exactly(void **state)
{
    static uint8_t bytes[10000];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        /* A few bytes that wait are copied so as not to pin a block, many are joined in place. */
        bool few = i % 2 != 0;
        size_t size = few ? 1000 : sizeof bytes;
        size_t first = few ? 300 : 6000;
        struct weir_ring_options options = {.receive_block_bytes = 65536};
        struct host host = {.act = NULL};
        struct io io;
        if (i / 2 != 0)
            options.without = WEIR_RING_RECEIVE_BY_PARTS;
        io_open(&io, NULL, &options);
        bool joined = !few && (weir_ring_features(io.ring) & WEIR_RING_RECEIVE_BY_PARTS) != 0;
        host_open(&host, &io, false, NULL);
        make_bin(bytes, size, 1);
        for (unsigned sent = 0; sent < 3; sent++) {
            io_write_all(host.peer, bytes, first);
            while (weir_ring_stats(io.ring).received_bytes < sent * size + first)
                io_turn(&io);
            io_write_all(host.peer, bytes + first, size - first);
            io_until(&io, &host.messages, sent + 1);
        }
        assert_int_equal(weir_conn_stats(host.conn).in.gathered, joined ? 0 : 3);
        assert_int_equal(weir_conn_stats(host.conn).bytes_copied, joined ? 0 : 3 * size);
        host_fini(&host);
        io_close(&io);
    }
}

static void half_messages_do_not_pin_receive_blocks(void **state)
{
    enum { PEERS = 20 };
    static struct host hosts[PEERS];
    struct weir_pool_stats stats;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    weir_pool_stats(io.pool, &stats);
    uint64_t before = stats.total.bytes_in_use;
    for (unsigned i = 0; i < PEERS; i++) {
        memset(&hosts[i], 0, sizeof hosts[i]);
        host_open(&hosts[i], &io, false, NULL);
        io_write_all(hosts[i].peer, "\xc6\x01\x00\x00\x00x", 6);
        while (weir_ring_stats(io.ring).received_bytes < (i + 1) * 6)
            io_turn(&io);
    }
    weir_pool_stats(io.pool, &stats);
    /* What there is of the message, and what a connection needs to receive. */
    assert_true(stats.total.bytes_in_use - before <= PEERS * (4096 + 1024));
    for (unsigned i = 0; i < PEERS; i++)
        host_fini(&hosts[i]);
    io_close(&io);
}

static void answers_to_what_came_before_malformed_bytes_arrive(void **state)
{
    struct weir_conn_options options = {.linger_ms = 20};
    struct host host = {.act = echo};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, true, &options);
    io_write_all(host.peer, "\x01\x02\x03\xc1\x04", 5);
    host_until_closed(&host);
    assert_int_equal(host.why.error, -EBADMSG);
    assert_int_equal(host.why.offset, 3);
    assert_int_equal(host.messages, 3);
    assert_int_equal(host.got_size, 3);
    assert_memory_equal(host.got, "\x01\x02\x03", 3);
    assert_true(host.got_end && host.got_error == 0);
    host_fini(&host);
    io_close(&io);
}

static void a_peer_that_never_takes_what_is_sent_is_given_up_in_time(void **state)
{
    struct weir_conn_options options = {.linger_ms = 50};
    static uint8_t bytes[1 << 20];
    struct host host = {.act = NULL};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, true, &options);
    assert_int_equal(weir_buf_append(weir_conn_out(host.conn), weir_view_of(bytes, sizeof bytes)),
                     0);
    weir_conn_finish(host.conn);
    uint64_t begin = io_now_ms();
    while (host.closed == 0)
        io_turn(&io); /* the peer does not read */
    assert_in_range(io_now_ms() - begin, 49, 5000);
    assert_int_equal(host.why.error, -ETIME);
    host_fini(&host);
    io_close(&io);
}

static void what_a_peer_sent_before_it_went_is_handed_out(void **state)
{
    struct host host = {.act = echo};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    io_write_all(host.peer, "\x01\x02\x03", 3);
    weir_conn_pause(host.conn);
    io_turn(&io);
    /* The first answer cannot be sent any more; the other messages are still to come. */
    weir_buf_append(weir_conn_out(host.conn), weir_view_of("\xc0", 1));
    close(host.peer);
    host.peer = -1;
    weir_conn_flush(host.conn);
    for (int i = 0; i < 3; i++)
        io_turn(&io);
    weir_conn_resume(host.conn);
    while (host.closed == 0)
        io_turn(&io);
    assert_int_equal(host.messages, 3);
    assert_int_equal(host.why.error, -EPIPE);
    host_fini(&host);
    io_close(&io);
}

static void malformed_bytes_close_with_their_place(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        struct weir_limits limits;
        bool end;
        int error;
        size_t offset;
        unsigned messages;
    } rows[] = {
        {"\xc1", 1, {0}, false, -EBADMSG, 0, 0},
        {"\x01\x02\xc1\x03", 4, {0}, false, -EBADMSG, 2, 2},
        {"\x01\x93\x01\xc1\x03", 5, {0}, false, -EBADMSG, 3, 1},
        {"\x01\xa3\xc1\xc1\xc1\x82\xc0\xc1", 8, {0}, false, -EBADMSG, 7, 2},
        {"\xc0\xdd\xff\xff\xff\xff", 6, {0}, false, -EMSGSIZE, 1, 1},
        {"\xc0\xdf\xff\xff\xff\xff", 6, {0}, false, -EMSGSIZE, 1, 1},
        {"\xc0\xdf\x80\x00\x00\x00", 6, {0}, false, -EMSGSIZE, 1, 1},
        {"\xc0\xc6\xff\xff\xff\xff", 6, {0}, false, -EMSGSIZE, 1, 1},
        {"\xc0\xa3"
         "abc\xa4"
         "abcd\xc0",
         11,
         {.bytes = 4},
         false,
         -EMSGSIZE,
         5,
         2},
        {"\x93\x01\x02\x03\x94\x01\x02\x03\x04", 9, {.elements = 4}, false, -EMSGSIZE, 4, 1},
        {"\x01\x93\x01", 3, {0}, true, -EAGAIN, 1, 1},
        {"\x01\xcd\x01", 3, {0}, true, -EAGAIN, 1, 1},
        {"\xd9", 1, {0}, true, -EAGAIN, 0, 0},
        {"\x01\x02\x03", 3, {0}, true, 0, 0, 3},
        {"", 0, {0}, true, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned bytewise = 0; bytewise < 2; bytewise++) {
            struct weir_conn_options options = {.limits = rows[i].limits, .linger_ms = 5};
            struct host host = {.act = NULL};
            struct io io;
            io_open(&io, NULL, NULL);
            host_open(&host, &io, true, &options);
            for (size_t at = 0; at < rows[i].size && host.closed == 0;) {
                size_t size = bytewise ? 1 : rows[i].size;
                if (send(host.peer, rows[i].bytes + at, size, MSG_NOSIGNAL) < 0)
                    break;
                at += size;
                io_turn(&io);
            }
            if (rows[i].end)
                shutdown(host.peer, SHUT_WR);
            host_until_closed(&host);
            assert_int_equal(host.why.error, rows[i].error);
            assert_int_equal(host.why.offset, rows[i].offset);
            assert_int_equal(host.messages, rows[i].messages);
            assert_true(strlen(host.why.reason) > 5 || host.why.error == 0);
            host_fini(&host);
            io_close(&io);
        }
    }
}

static void messages_behind_their_length_are_handed_out_without_it(void **state)
{
    static const char bytes[] = "\0\0\0\5hello\0\0\0\0\0\0\0\1x\0\0\0\6";
    struct weir_conn_options options = {.limits = {.bytes = 5}, .framing = WEIR_FRAMING_LENGTH32};
    struct host host = {.act = NULL};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, true, &options);
    host_send(&host, bytes, sizeof bytes - 1);
    shutdown(host.peer, SHUT_WR); /* else the connection lingers for its end */
    host_until_closed(&host);
    assert_int_equal(host.messages, 3);
    assert_int_equal(host.seen_size, 6);
    assert_memory_equal(host.seen, "hellox", 6);
    assert_int_equal(host.why.error, -EMSGSIZE);
    assert_int_equal(host.why.offset, 18);
    host_fini(&host);
    io_close(&io);
}

/* --- pausing ---------------------------------------------------------------------------------- */

static void pause_after(struct host *host, const struct weir_slice *message)
{
    (void)message;
    weir_conn_pause(host->conn);
}

static void pausing_from_each_message_hands_them_out_one_by_one(void **state)
{
    struct host host = {.act = pause_after};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    for (unsigned round = 0; round < 3; round++)
        io_write_all(host.peer, some, sizeof some);
    shutdown(host.peer, SHUT_WR);
    for (unsigned i = 1; i <= 3 * SOME_MESSAGES; i++) {
        io_until(&io, &host.messages, i);
        io_turn(&io);
        io_turn(&io);
        assert_int_equal(host.messages, i);
        assert_int_equal(host.closed, 0);
        weir_conn_resume(host.conn);
    }
    host_until_closed(&host);
    assert_int_equal(host.why.error, 0);
    assert_int_equal(host.seen_size, 3 * sizeof some);
    host_fini(&host);
    io_close(&io);
}

static void pause_and_resume(struct host *host, const struct weir_slice *message)
{
    (void)message;
    weir_conn_pause(host->conn);
    weir_conn_resume(host->conn);
    weir_conn_resume(host->conn);
}

static void pausing_and_resuming_at_once_changes_nothing(void **state)
{
    struct host host = {.act = pause_and_resume};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    for (unsigned round = 0; round < 100; round++)
        io_write_all(host.peer, some, sizeof some);
    io_until(&io, &host.messages, 100 * SOME_MESSAGES);
    host_fini(&host);
    io_close(&io);
}

static void resume_done(struct weir_op *op)
{
    struct host *host = op->user;
    weir_conn_resume(host->conn);
}

/* Between resuming and the turn's end more arrives, while messages of before still wait. */
static void what_arrives_right_after_resuming_comes_in_order(void **state)
{
    struct host host = {.act = pause_after};
    struct weir_op timer;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    weir_op_init(&timer, resume_done, &host);
    io_write_all(host.peer, some, sizeof some);
    io_until(&io, &host.messages, 1);
    host.act = NULL;
    assert_int_equal(weir_ring_timeout(io.ring, &timer, MS), 0);
    weir_ring_run(io.ring, 0);
    usleep(5000);
    io_write_all(host.peer, some, sizeof some);
    io_until(&io, &host.messages, 2 * SOME_MESSAGES);
    assert_int_equal(host.closed, 0);
    assert_memory_equal(host.seen, some, sizeof some);
    assert_memory_equal(host.seen + sizeof some, some, sizeof some);
    host_fini(&host);
    io_close(&io);
}

static void resume_other(struct host *host, const struct weir_slice *message)
{
    (void)message;
    weir_conn_resume(host->other->conn);
}

static void one_connection_may_resume_another(void **state)
{
    struct host a = {.act = resume_other}, b = {.act = pause_after};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&a, &io, false, NULL);
    host_open(&b, &io, false, NULL);
    a.other = &b;
    io_write_all(b.peer, "\x01\x02", 2);
    io_until(&io, &b.messages, 1);
    for (unsigned i = 1; i <= 200; i++) {
        io_write_all(a.peer, "\x01", 1);
        io_write_all(b.peer, "\x03\x04", 2);
        io_until(&io, &b.messages, i + 1);
        assert_int_equal(b.closed, 0);
    }
    assert_memory_equal(b.seen, "\x01\x02\x03\x04\x03\x04\x03\x04", 8);
    host_fini(&a);
    host_fini(&b);
    io_close(&io);
}

static void a_paused_connection_takes_little_and_loses_nothing(void **state)
{
    enum { SIZE = 8 << 20 };
    struct weir_ring_options options = {.receive_block_bytes = 16384};
    struct host host = {.act = pause_after};
    struct io io;
    uint8_t *bytes = malloc(SIZE);

    (void)state;
    for (size_t at = 0; at < SIZE; at += 1024)
        make_bin(bytes + at, 1024, at);
    io_open(&io, NULL, &options);
    host_open(&host, &io, false, NULL);
    size_t sent = 0;
    for (unsigned idle = 0; idle < 20;) {
        ssize_t n = send(host.peer, bytes + sent, SIZE - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        weir_ring_run(io.ring, n > 0 ? 0 : MS);
    }
    assert_true(sent < SIZE / 2);
    assert_int_equal(host.messages, 1);
    assert_true(weir_ring_stats(io.ring).received_bytes < 1 << 20);
    host.act = NULL;
    weir_conn_resume(host.conn);
    host_send(&host, bytes + sent, SIZE - sent);
    io_until(&io, &host.messages, SIZE / 1024);
    assert_memory_equal(host.seen, bytes, SIZE);
    host_fini(&host);
    io_close(&io);
    free(bytes);
}

/* A hostile peer of a paused connection sends byte by byte, each byte into a block that others
 * fill: it must not pin one block for each. */
static void a_paused_connection_does_not_pin_a_block_for_each_byte(void **state)
{
    enum { DRIPS = 300 };
    struct weir_ring_options options = {.receive_blocks = 4, .receive_block_bytes = 65536};
    struct host busy = {.act = NULL}, slow = {.act = pause_after};
    static uint8_t filler[65536];
    struct io io;

    (void)state;
    make_bin(filler, sizeof filler, 3);
    io_open(&io, NULL, &options);
    host_open(&busy, &io, false, NULL);
    host_open(&slow, &io, false, NULL);
    io_write_all(slow.peer, "\x00", 1);
    io_until(&io, &slow.messages, 1);
    uint64_t before = io_blocks_in_use(&io);
    for (unsigned i = 0; i < DRIPS; i++) {
        uint64_t received = weir_ring_stats(io.ring).received_bytes;
        io_write_all(slow.peer, "\x01", 1);
        while (weir_ring_stats(io.ring).received_bytes < received + 1)
            io_turn(&io);
        host_send(&busy, filler, sizeof filler);
        io_until(&io, &busy.messages, i + 1);
    }
    assert_true(io_blocks_in_use(&io) < before + 10);
    slow.act = NULL;
    weir_conn_resume(slow.conn);
    io_until(&io, &slow.messages, 1 + DRIPS);
    host_fini(&busy);
    host_fini(&slow);
    io_close(&io);
}

/* --- out -------------------------------------------------------------------------------------- */

static void a_peer_that_does_not_read_is_not_answered_without_bound(void **state)
{
    enum { COUNT = 2000, SIZE = 4096 };
    struct weir_conn_options options = {.out_high_bytes = 100000};
    uint8_t *bytes = malloc(COUNT * SIZE);

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        make_bin(bytes + i * SIZE, SIZE, i);
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        struct host host = {.act = echo};
        struct io io;
        size_t sent = 0;
        io_open(&io, NULL, NULL);
        host_open(&host, &io, tcp, &options);
        io_shrink(host.peer);
        io_shrink(host.conn->fd);
        for (unsigned idle = 0; idle < 30;) {
            ssize_t n =
                send(host.peer, bytes + sent, COUNT * SIZE - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n > 0)
                sent += (size_t)n;
            idle = n > 0 ? 0 : idle + 1;
            weir_ring_run(io.ring, n > 0 ? 0 : MS);
        }
        assert_true(sent < COUNT * SIZE);
        assert_true(host.most_pending <= 100000 + SIZE);
        assert_true(weir_conn_pending_bytes(host.conn) > 50000);
        /* Now it reads: everything comes, in order. */
        host_send(&host, bytes + sent, COUNT * SIZE - sent);
        shutdown(host.peer, SHUT_WR);
        host_until_closed(&host);
        assert_int_equal(host.why.error, 0);
        assert_true(host.most_pending <= 100000 + SIZE);
        assert_int_equal(host.got_size, COUNT * SIZE);
        assert_memory_equal(host.got, bytes, COUNT * SIZE);
        host_fini(&host);
        io_close(&io);
    }
    free(bytes);
}

static void echo_without_flush(struct host *host, const struct weir_slice *message)
{
    struct weir_packer p;
    weir_pack_begin(&p, weir_conn_out(host->conn), message->view.size);
    weir_pack_raw(&p, message->view);
    assert_int_equal(weir_pack_end(&p, NULL), 0);
}

/* Above the mark nothing is handed out any more: then what is packed must leave by itself. */
static void above_the_high_mark_a_forgotten_flush_does_not_stall(void **state)
{
    struct weir_conn_options options = {.out_high_bytes = 1000};
    struct host host = {.act = echo_without_flush};
    static uint8_t bytes[100000];
    struct io io;

    (void)state;
    for (size_t at = 0; at < sizeof bytes; at += 500)
        make_bin(bytes + at, 500, at);
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, &options);
    io_write_all(host.peer, bytes, sizeof bytes);
    while (host.messages < sizeof bytes / 500) {
        io_turn(&io);
        host_read(&host, SIZE_MAX);
    }
    assert_true(host.most_pending <= 1500);
    host_fini(&host);
    io_close(&io);
}

static void what_is_packed_from_elsewhere_holds_messages_back_too(void **state)
{
    struct weir_conn_options options = {.out_high_bytes = 100000};
    struct host host = {.act = NULL};
    static uint8_t bytes[200000];
    struct weir_packer p;
    struct io io;

    (void)state;
    make_bin(bytes, sizeof bytes, 1);
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, &options);
    io_shrink(host.conn->fd);
    io_stuff(host.conn->fd);
    for (unsigned i = 0; i < 3; i++) {
        weir_pack_begin(&p, weir_conn_out(host.conn), 0);
        weir_pack_raw(&p, weir_view_of(bytes, sizeof bytes));
        assert_int_equal(weir_pack_end(&p, NULL), 0);
    }
    weir_conn_flush(host.conn);
    io_write_all(host.peer, some, sizeof some);
    io_turns_for(&io, 20);
    assert_int_equal(host.messages, 0);
    while (host.messages < SOME_MESSAGES) {
        io_turn(&io);
        host_read(&host, SIZE_MAX);
    }
    assert_true(weir_conn_pending_bytes(host.conn) <= 50000 || host.messages == SOME_MESSAGES);
    host_fini(&host);
    io_close(&io);
}

static void at_the_out_limit_packing_fails_and_the_connection_lives(void **state)
{
    struct weir_conn_options options = {.out_limit_bytes = 65536};
    struct host host = {.act = echo};
    static uint8_t bytes[30000];
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, &options);
    io_shrink(host.conn->fd);
    size_t before = io_stuff(host.conn->fd);
    make_bin(bytes, sizeof bytes, 5);
    for (unsigned i = 0; i < 5; i++) {
        io_write_all(host.peer, bytes, sizeof bytes);
        io_until(&io, &host.messages, i + 1);
    }
    assert_int_equal(host.pack_errors, 3);
    assert_int_equal(weir_conn_pending_bytes(host.conn), 60000);
    while (host.got_size < before + 60000) {
        io_turn(&io);
        host_read(&host, SIZE_MAX);
    }
    assert_memory_equal(host.got + before, bytes, sizeof bytes);
    assert_memory_equal(host.got + before + sizeof bytes, bytes, sizeof bytes);
    host_send(&host, some, sizeof some);
    while (host.got_size < before + 60000 + sizeof some) {
        io_turn(&io);
        host_read(&host, SIZE_MAX);
    }
    assert_memory_equal(host.got + before + 60000, some, sizeof some);
    host_fini(&host);
    io_close(&io);
}

/* --- ending ----------------------------------------------------------------------------------- */

static void nothing(struct host *host)
{
    (void)host;
}

static void answers_still_arrive_after_the_peer_has_ended(void **state)
{
    (void)state;
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        struct host host = {.act = echo, .act_ended = nothing};
        struct weir_packer p;
        struct io io;
        io_open(&io, NULL, NULL);
        host_open(&host, &io, tcp, NULL);
        io_write_all(host.peer, some, sizeof some);
        shutdown(host.peer, SHUT_WR);
        io_until(&io, &host.ended, 1);
        io_turns_for(&io, 10);
        host_read(&host, SIZE_MAX);
        assert_int_equal(host.got_size, sizeof some);
        assert_false(host.got_end);
        for (unsigned i = 0; i < 3; i++) {
            weir_pack_begin(&p, weir_conn_out(host.conn), 0);
            weir_pack_uint(&p, i);
            assert_int_equal(weir_pack_end(&p, NULL), 0);
            weir_conn_flush(host.conn);
            io_turns_for(&io, 3);
        }
        weir_conn_finish(host.conn);
        host_until_closed(&host);
        assert_int_equal(host.ended, 1);
        assert_int_equal(host.why.error, 0);
        assert_int_equal(host.got_size, sizeof some + 3);
        assert_true(host.got_end && host.got_error == 0);
        host_fini(&host);
        io_close(&io);
    }
}

static void ended_waits_for_a_paused_connection(void **state)
{
    struct host host = {.act = pause_after, .act_ended = nothing};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    io_write_all(host.peer, "\x01\x02", 2);
    shutdown(host.peer, SHUT_WR);
    io_turns_for(&io, 20);
    assert_int_equal(host.messages, 1);
    assert_int_equal(host.ended, 0);
    weir_conn_resume(host.conn);
    io_until(&io, &host.messages, 2);
    io_turns_for(&io, 5);
    assert_int_equal(host.ended, 0);
    weir_conn_resume(host.conn);
    io_until(&io, &host.ended, 1);
    weir_conn_finish(host.conn);
    weir_conn_finish(host.conn);
    host_until_closed(&host);
    assert_int_equal(host.why.error, 0);
    host_fini(&host);
    io_close(&io);
}

/* A close with something unread resets a TCP connection, and the peer may lose the last bytes. */
static void finishing_delivers_everything_though_the_peer_still_sends(void **state)
{
    enum { SIZE = 3 << 20 };
    static uint8_t chunk[65536];

    (void)state;
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        struct host host = {.act = NULL};
        struct weir_packer p;
        struct io io;
        uint8_t *bytes = malloc(SIZE);
        io_open(&io, NULL, NULL);
        host_open(&host, &io, tcp, NULL);
        make_bin(bytes, SIZE, 8);
        weir_pack_begin(&p, weir_conn_out(host.conn), 0);
        weir_pack_raw(&p, weir_view_of(bytes, SIZE));
        assert_int_equal(weir_pack_end(&p, NULL), 0);
        weir_conn_finish(host.conn); /* no flush: finishing sends */
        /* The peer sends all the while, what it sends is no message even, and reads slowly. */
        memset(chunk, 0xc1, sizeof chunk);
        for (unsigned i = 0; !host.got_end; i++) {
            send(host.peer, chunk, sizeof chunk, MSG_DONTWAIT | MSG_NOSIGNAL);
            weir_ring_run(io.ring, i % 8 == 0 ? MS : 0);
            host_read(&host, 50000);
            assert_int_equal(host.closed, 0);
        }
        assert_int_equal(host.got_error, 0);
        assert_int_equal(host.got_size, SIZE);
        assert_memory_equal(host.got, bytes, SIZE);
        shutdown(host.peer, SHUT_WR);
        host_until_closed(&host);
        assert_int_equal(host.why.error, 0);
        assert_int_equal(host.messages, 0);
        host_fini(&host);
        io_close(&io);
        free(bytes);
    }
}

static void a_peer_that_does_not_end_is_given_up_in_time(void **state)
{
    struct weir_conn_options options = {.linger_ms = 50};
    struct host host = {.act = echo};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, true, &options);
    io_write_all(host.peer, some, sizeof some);
    io_until(&io, &host.messages, SOME_MESSAGES);
    uint64_t begin = io_now_ms();
    weir_conn_finish(host.conn);
    host_until_closed(&host);
    assert_true(io_now_ms() - begin >= 49);
    assert_int_equal(host.why.error, -ETIME);
    assert_int_equal(host.got_size, sizeof some);
    assert_true(host.got_end && host.got_error == 0);
    host_fini(&host);
    io_close(&io);
}

static void aborting_closes_now_with_the_first_reason(void **state)
{
    struct host host = {.act = NULL};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    host_open(&host, &io, false, NULL);
    weir_conn_abort(host.conn, -EPROTO, "no good");
    weir_conn_abort(host.conn, -EIO, "later");
    weir_conn_finish(host.conn);
    weir_conn_resume(host.conn);
    weir_conn_flush(host.conn);
    host_until_closed(&host);
    assert_int_equal(host.why.error, -EPROTO);
    assert_string_equal(host.why.reason, "no good");
    host_fini(&host);
    host_open(&host, &io, false, NULL);
    weir_conn_abort(host.conn, 0, NULL);
    host_until_closed(&host);
    assert_int_equal(host.why.error, -ECANCELED);
    host_fini(&host);
    io_close(&io);
}

static void abort_now(struct host *host, const struct weir_slice *message)
{
    echo(host, message);
    weir_conn_abort(host->conn, -EPROTO, "from within message()");
}

static void finish_now(struct host *host, const struct weir_slice *message)
{
    echo(host, message);
    weir_conn_finish(host->conn);
}

static void pause_and_finish(struct host *host, const struct weir_slice *message)
{
    weir_conn_pause(host->conn);
    finish_now(host, message);
}

static void finish_and_abort(struct host *host, const struct weir_slice *message)
{
    finish_now(host, message);
    abort_now(host, message);
}

static void abort_ended(struct host *host)
{
    weir_conn_abort(host->conn, -EPROTO, "from within ended()");
}

static void finish_ended(struct host *host)
{
    weir_conn_finish(host->conn);
}

static void every_handler_may_close_its_connection(void **state)
{
    static const struct {
        void (*act)(struct host *, const struct weir_slice *);
        void (*act_ended)(struct host *);
        int error;
        unsigned messages;
        size_t echoed;
    } rows[] = {
        {abort_now, NULL, -EPROTO, 1, 0},
        {finish_now, NULL, 0, 1, 7},
        {pause_and_finish, NULL, 0, 1, 7},
        {finish_and_abort, NULL, -EPROTO, 1, 0},
        {echo, abort_ended, -EPROTO, SOME_MESSAGES, SIZE_MAX},
        {echo, finish_ended, 0, SOME_MESSAGES, sizeof some},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned paused = 0; paused < 2; paused++) {
            struct host host = {.act = rows[i].act, .act_ended = rows[i].act_ended};
            struct io io;
            io_open(&io, NULL, NULL);
            host_open(&host, &io, false, NULL);
            if (paused) {
                weir_conn_pause(host.conn);
                io_turn(&io);
            }
            io_write_all(host.peer, some, sizeof some);
            if (paused) {
                io_turns_for(&io, 3);
                assert_int_equal(host.messages, 0);
                weir_conn_resume(host.conn);
            }
            shutdown(host.peer, SHUT_WR);
            host_until_closed(&host);
            assert_int_equal(host.why.error, rows[i].error);
            assert_int_equal(host.messages, rows[i].messages);
            if (rows[i].echoed != SIZE_MAX)
                assert_int_equal(host.got_size, rows[i].echoed);
            host_fini(&host);
            io_close(&io);
        }
    }
}

/* What may be done to a connection, or by its peer, from outside. */
enum deed { ABORT, FINISH, FINISH_AND_ABORT, RESET, CLOSE, HALF_CLOSE, DESTROY, DEEDS };

static void reset_peer(struct host *host)
{
    static const struct linger at_once = {1, 0};
    setsockopt(host->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(host->peer);
    host->peer = -1;
}

static void do_deed(struct host *host, enum deed deed)
{
    switch (deed) {
    case ABORT:
        weir_conn_abort(host->conn, 0, NULL);
        break;
    case FINISH:
        weir_conn_finish(host->conn);
        break;
    case FINISH_AND_ABORT:
        weir_conn_finish(host->conn);
        weir_conn_abort(host->conn, 0, NULL);
        break;
    case RESET:
        reset_peer(host);
        break;
    case CLOSE:
        close(host->peer);
        host->peer = -1;
        break;
    case HALF_CLOSE:
        shutdown(host->peer, SHUT_WR);
        break;
    case DESTROY:
    case DEEDS:
        break;
    }
}

/* Send what the kernel takes, until nothing more moves on either side. */
static void stuff(struct host *host, const uint8_t *bytes, size_t size)
{
    size_t sent = 0;
    size_t pending = 0;
    for (unsigned idle = 0; idle < 8; idle++) {
        ssize_t n = send(host->peer, bytes + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0 || weir_conn_pending_bytes(host->conn) != pending)
            idle = 0;
        sent = (sent + (n > 0 ? (size_t)n : 0)) % size;
        pending = weir_conn_pending_bytes(host->conn);
        weir_ring_run(host->io->ring, MS / 10);
    }
}

/* Bring a connection into a state: 0 fresh; 1 answering a peer that reads nothing; 2 paused with
 * messages; 3 paused and no longer receiving; 4 finishing; 5 lingering; 6 a message half received;
 * 7 ended by the peer, answer to come. */
#define SITUATIONS 8

static void bring_into(struct host *host, unsigned situation)
{
    static uint8_t bytes[50000];

    make_bin(bytes, sizeof bytes, 4);
    switch (situation) {
    case 1:
    case 4:
        host->act = echo;
        stuff(host, bytes, sizeof bytes);
        assert_true(weir_conn_pending_bytes(host->conn) > 0);
        if (situation == 4)
            weir_conn_finish(host->conn);
        break;
    case 2:
        host->act = pause_after;
        io_write_all(host->peer, some, sizeof some);
        io_until(host->io, &host->messages, 1);
        break;
    case 3:
        weir_conn_pause(host->conn);
        stuff(host, bytes, sizeof bytes);
        break;
    case 5:
        weir_conn_finish(host->conn);
        io_turns_for(host->io, 2);
        break;
    case 6:
        io_write_all(host->peer, bytes, 10);
        io_turns_for(host->io, 2);
        break;
    case 7:
        shutdown(host->peer, SHUT_WR);
        io_until(host->io, &host->ended, 1);
        break;
    default:
        break;
    }
}

static void connections_close_cleanly_from_every_state(void **state)
{
    (void)state;
    for (unsigned situation = 0; situation < SITUATIONS; situation++) {
        for (unsigned deed = 0; deed < DEEDS; deed++) {
            /* Nothing comes after the ring's end; twice, for both kinds of socket. */
            for (unsigned again = 0; again < (deed == DESTROY ? 2 : DEEDS); again++) {
                /* It lingers longer than the test takes: what closes is the deed. */
                struct weir_conn_options options = {.out_high_bytes = 200000};
                struct host host = {.act = NULL, .act_ended = NULL};
                struct io io;
                if (situation == 7)
                    host.act_ended = nothing;
                io_open(&io, NULL, NULL);
                host_open(&host, &io, (deed + again) % 2 == 0, &options);
                io_shrink(host.conn->fd);
                io_shrink(host.peer);
                bring_into(&host, situation);
                do_deed(&host, (enum deed)deed);
                if (deed != DESTROY) {
                    weir_ring_run(io.ring, again % 2 == 0 ? 0 : MS);
                    if (host.closed == 0 && host.peer >= 0)
                        do_deed(&host, (enum deed)again);
                }
                if (deed == DESTROY || again == DESTROY) {
                    /* As promised: closed before the ring, or while the ring is destroyed where
                     * the connection has something in flight. */
                    if (host.closed == 0 && (situation == 3 || situation == 7 || situation == 2))
                        weir_conn_abort(host.conn, 0, NULL);
                    weir_ring_destroy(io.ring);
                    io.ring = NULL;
                }
                /* Some deeds leave it open: a finish waits for a peer that reads. */
                if (host.closed == 0)
                    io_turns_for(&io, 2);
                if (host.closed == 0)
                    weir_conn_abort(host.conn, 0, NULL);
                if (host.closed == 0)
                    host_until_closed(&host);
                assert_int_equal(host.closed, 1);
                host_fini(&host);
                io_close(&io);
            }
        }
    }
}

static void destroying_the_ring_closes_what_is_in_flight(void **state)
{
    enum { MANY = 50 };
    static struct host hosts[MANY];
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        hosts[i].act = echo;
        hosts[i].act_ended = NULL;
        host_open(&hosts[i], &io, i % 2 == 0, NULL);
        io_write_all(hosts[i].peer, some, i % sizeof some);
    }
    io_turn(&io);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(hosts[i].closed, 1);
        assert_int_equal(hosts[i].why.error, -ECANCELED);
        host_fini(&hosts[i]);
    }
    io_close(&io);
}

static void initialising_while_the_ring_ends_is_refused(void **state);

static struct late {
    struct weir_conn conn;
    struct io *io;
    int fds[2];
    int rc;
} late;

static void init_late(struct weir_op *op)
{
    (void)op;
    late.rc = weir_conn_init(&late.conn, late.io->ring, late.fds[0], &handlers, NULL, NULL);
}

static void initialising_while_the_ring_ends_is_refused(void **state)
{
    struct weir_op timer;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    late.io = &io;
    io_pair(late.fds, false);
    weir_op_init(&timer, init_late, NULL);
    assert_int_equal(weir_ring_timeout(io.ring, &timer, INT64_MAX), 0);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(late.rc, -ECANCELED);
    assert_true(io_is_open(late.fds[0]));
    close(late.fds[0]);
    close(late.fds[1]);
    io_close(&io);
}

static void hundreds_of_connections_come_and_go_without_a_trace(void **state)
{
    enum { MANY = 300 };
    static struct host hosts[MANY];
    struct io io;
    uint64_t blocks = 0;
    uint64_t held = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    int descriptors = io_descriptors();
    for (unsigned round = 0; round < 8; round++) {
        struct weir_pool_stats stats;
        for (unsigned i = 0; i < MANY; i++) {
            hosts[i].act = echo;
            hosts[i].act_ended = NULL;
            host_open(&hosts[i], &io, i % 2 == 0, NULL);
            io_write_all(hosts[i].peer, some, sizeof some);
        }
        for (unsigned i = 0; i < MANY; i++) {
            while (hosts[i].got_size < sizeof some) {
                io_turn(&io);
                host_read(&hosts[i], SIZE_MAX);
            }
            assert_memory_equal(hosts[i].got, some, sizeof some);
            if (i % 3 == 0)
                weir_conn_finish(hosts[i].conn);
            if (i % 3 == 1 && i % 2 == 0)
                reset_peer(&hosts[i]);
            else
                shutdown(hosts[i].peer, SHUT_WR);
        }
        for (unsigned i = 0; i < MANY; i++) {
            host_until_closed(&hosts[i]);
            host_fini(&hosts[i]);
        }
        assert_int_equal(io_descriptors(), descriptors);
        assert_int_equal(weir_ring_active(io.ring), 0);
        weir_pool_stats(io.pool, &stats);
        if (round >= 2) {
            assert_int_equal(io_blocks_in_use(&io), blocks);
            assert_int_equal(stats.bytes_held, held);
        }
        blocks = io_blocks_in_use(&io);
        held = stats.bytes_held;
    }
    io_close(&io);
}

/* --- everything at once ----------------------------------------------------------------------- */

#define CROWD 24

struct crowd {
    struct host hosts[CROWD];
    struct test_random random;
    unsigned kept;
    struct weir_slice slices[64];
};

static struct crowd crowd;

/* Anything that the header allows, to this connection or to another one. */
static void mischief(struct host *host, const struct weir_slice *message)
{
    struct host *other = &crowd.hosts[test_random_below(&crowd.random, CROWD)];
    if (other->closed != 0)
        other = host;
    switch (test_random_below(&crowd.random, 40)) {
    case 0:
        weir_conn_pause(other->conn);
        break;
    case 1:
        weir_conn_abort(other->conn, -EPROTO, "mischief");
        break;
    case 2:
        weir_conn_finish(other->conn);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        weir_conn_resume(other->conn);
        break;
    case 7:
        weir_slice_drop(&crowd.slices[crowd.kept % 64]);
        crowd.slices[crowd.kept++ % 64] = weir_slice_hold(message);
        break;
    case 8:
        weir_conn_flush(other->conn);
        break;
    case 9:
        break;
    default:
        echo(host, message);
        break;
    }
}

static void mischief_ended(struct host *host)
{
    if (test_random_below(&crowd.random, 3) == 0)
        weir_conn_abort(host->conn, 0, NULL);
    else
        weir_conn_finish(host->conn);
}

static void poke_from_outside(struct host *host)
{
    static uint8_t bytes[20000];
    size_t size = 5 + test_random_size(&crowd.random, sizeof bytes - 5);

    switch (test_random_below(&crowd.random, 60)) {
    case 0:
        do_deed(host, (enum deed)test_random_below(&crowd.random, DESTROY));
        break;
    case 1:
        if (host->closed == 0)
            weir_conn_pause(host->conn);
        break;
    case 2:
    case 3:
    case 4:
        if (host->closed == 0)
            weir_conn_resume(host->conn);
        break;
    case 5:
        if (host->peer >= 0)
            send(host->peer, "\xc1", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
    default:
        make_bin(bytes, size, size);
        if (host->peer >= 0) {
            send(host->peer, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
            host_read(host, 10000);
        }
        break;
    }
}

static void a_crowd_with_every_mischief_ends_clean(void **state)
{
    (void)state;
    test_random_init(&crowd.random);
    for (unsigned round = 0; round < 12; round++) {
        struct weir_ring_options options = {.entries = 1u << (round % 7),
                                            .receive_blocks = 1u << (round % 5),
                                            .receive_block_bytes = round % 2 ? 500 : 20000,
                                            .without = round % 16};
        struct weir_pool_options pool = {.limit_bytes = round % 3 == 0 ? 16u << 20 : 0};
        struct weir_conn_options conn = {
            .out_high_bytes = 30000, .out_limit_bytes = 100000, .linger_ms = 3};
        struct io io;
        io_open(&io, &pool, &options);
        for (unsigned i = 0; i < CROWD; i++) {
            crowd.hosts[i].act = mischief;
            crowd.hosts[i].act_ended = i % 2 ? mischief_ended : NULL;
            host_open(&crowd.hosts[i], &io, i % 3 == 0, &conn);
        }
        for (unsigned step = 0; step < 2500; step++) {
            struct host *host = &crowd.hosts[test_random_below(&crowd.random, CROWD)];
            if (host->closed == 0)
                poke_from_outside(host);
            if (step % 3 == 0)
                weir_ring_run(io.ring, 0);
            if (host->closed == 1 && step < 2000) {
                host_fini(host);
                host_open(host, &io, step % 2 == 0, &conn);
            }
        }
        for (unsigned i = 0; i < CROWD; i++)
            host_fini(&crowd.hosts[i]);
        for (unsigned i = 0; i < 64; i++)
            weir_slice_drop(&crowd.slices[i]);
        assert_int_equal(weir_ring_active(io.ring), 0);
        io_close(&io);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(documents_of_all_kinds_and_sizes_are_echoed),
        IO_TEST(messages_may_be_cut_at_every_byte),
        IO_TEST(messages_within_a_block_are_handed_out_without_a_copy),
        IO_TEST(messages_that_straddle_blocks_are_counted_exactly),
        IO_TEST(half_messages_do_not_pin_receive_blocks),
        IO_TEST(malformed_bytes_close_with_their_place),
        IO_TEST(messages_behind_their_length_are_handed_out_without_it),
        IO_TEST(answers_to_what_came_before_malformed_bytes_arrive),
        IO_TEST(a_peer_that_never_takes_what_is_sent_is_given_up_in_time),
        IO_TEST(what_a_peer_sent_before_it_went_is_handed_out),
        IO_TEST(pausing_from_each_message_hands_them_out_one_by_one),
        IO_TEST(pausing_and_resuming_at_once_changes_nothing),
        IO_TEST(what_arrives_right_after_resuming_comes_in_order),
        IO_TEST(one_connection_may_resume_another),
        IO_TEST(a_paused_connection_takes_little_and_loses_nothing),
        IO_TEST(a_paused_connection_does_not_pin_a_block_for_each_byte),
        IO_TEST(a_peer_that_does_not_read_is_not_answered_without_bound),
        IO_TEST(above_the_high_mark_a_forgotten_flush_does_not_stall),
        IO_TEST(what_is_packed_from_elsewhere_holds_messages_back_too),
        IO_TEST(at_the_out_limit_packing_fails_and_the_connection_lives),
        IO_TEST(answers_still_arrive_after_the_peer_has_ended),
        IO_TEST(ended_waits_for_a_paused_connection),
        IO_TEST(finishing_delivers_everything_though_the_peer_still_sends),
        IO_TEST(a_peer_that_does_not_end_is_given_up_in_time),
        IO_TEST(aborting_closes_now_with_the_first_reason),
        IO_TEST(every_handler_may_close_its_connection),
        IO_TEST(connections_close_cleanly_from_every_state),
        IO_TEST(destroying_the_ring_closes_what_is_in_flight),
        IO_TEST(initialising_while_the_ring_ends_is_refused),
        IO_TEST(hundreds_of_connections_come_and_go_without_a_trace),
        IO_TEST(a_crowd_with_every_mischief_ends_clean),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
