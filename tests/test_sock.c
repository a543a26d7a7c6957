/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- addresses -------------------------------------------------------------------------------- */

static void addresses_round_trip(void **state)
{
    static const struct {
        const char *text;
        const char *formatted; /* NULL: the same */
        int family;
    } rows[] = {
        {"tcp:127.0.0.1:7000", NULL, AF_INET},
        {"tcp:0.0.0.0:0", NULL, AF_INET},
        {"tcp:255.255.255.255:65535", NULL, AF_INET},
        {"tcp:1.2.3.4:00080", "tcp:1.2.3.4:80", AF_INET},
        {"tcp::8080", "tcp:[::]:8080", AF_INET6},
        {"tcp:[::]:1", NULL, AF_INET6},
        {"tcp:[::1]:7000", NULL, AF_INET6},
        {"tcp:[2001:db8:0:0:0:0:0:1]:9", "tcp:[2001:db8::1]:9", AF_INET6},
        {"tcp:[::ffff:10.1.2.3]:443", NULL, AF_INET6},
        {"tcp:[1111:2222:3333:4444:5555:6666:7777:8888]:65535", NULL, AF_INET6},
        {"tcp:[abcd:abcd:abcd:abcd:abcd:abcd:192.168.100.200]:65535",
         "tcp:[abcd:abcd:abcd:abcd:abcd:abcd:c0a8:64c8]:65535",
         AF_INET6},
        {"unix:a", NULL, AF_UNIX},
        {"unix:/tmp/some where/x.sock", NULL, AF_UNIX},
        {"unix:x@y", NULL, AF_UNIX},
        {"unix:tcp:1.2.3.4:5", NULL, AF_UNIX},
        {"unix:@name", NULL, AF_UNIX},
        {"unix:@@", NULL, AF_UNIX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_addr addr;
        char text[WEIR_ADDR_TEXT_BYTES];
        if (weir_addr_parse(rows[i].text, &addr) != 0)
            fail_msg("not parsed: %s", rows[i].text);
        assert_int_equal(addr.storage.ss_family, rows[i].family);
        weir_addr_format(&addr, text);
        assert_string_equal(text, rows[i].formatted != NULL ? rows[i].formatted : rows[i].text);
    }
}

static void malformed_addresses_are_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "t",
        "tcp",
        "tcp:",
        "tcp::",
        "tcp:80",
        "tcp:1.2.3.4",
        "tcp:1.2.3.4:",
        "udp:1.2.3.4:5",
        "TCP:1.2.3.4:5",
        " tcp:1.2.3.4:5",
        "tcp: 1.2.3.4:5",
        "tcp:1.2.3.4:5 ",
        "tcp:1.2.3.4:-1",
        "tcp:1.2.3.4:+1",
        "tcp:1.2.3.4:65536",
        "tcp:1.2.3.4:99999999999999999999",
        "tcp:1.2.3.4:4294967296",
        "tcp:1.2.3.4:0x50",
        "tcp:1.2.3.4:8a",
        "tcp:1.2.3.4:80\n",
        "tcp:1.2.3:5",
        "tcp:1.2.3.4.5:6",
        "tcp:256.1.1.1:1",
        "tcp:01.2.3.4.:1",
        "tcp:localhost:80",
        "tcp:*:80",
        "tcp:::80",
        "tcp:::1:80",
        "tcp:[]:80",
        "tcp:[:80",
        "tcp:]:80",
        "tcp:[::1:80",
        "tcp:::1]:80",
        "tcp:[::1]",
        "tcp:[::1]80",
        "tcp:[::1]:",
        "tcp:[1.2.3.4]:80",
        "tcp:[::1]x:80",
        "tcp:x[::1]:80",
        "tcp:[[::1]]:80",
        "tcp:[::g]:80",
        "tcp:[fe80::1%lo]:80",
        "tcp:[1:2:3:4:5:6:7]:8",
        "tcp:[1:2:3:4:5:6:7:8:9]:1",
        "tcp:[abcd:abcd:abcd:abcd:abcd:abcd:192.168.100.2000]:65535",
        "tcp:[0000000000000000000000000000000000000000000000000000000]:1",
        "unix",
        "unix:",
        "unix:@",
        "unixx:/tmp/x",
    };
    struct weir_addr addr, before;

    (void)state;
    memset(&addr, 0x5a, sizeof addr);
    before = addr;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (weir_addr_parse(rows[i], &addr) != -EINVAL)
            fail_msg("not refused: %s", rows[i]);
        assert_memory_equal(&addr, &before, sizeof addr);
    }
}

/* A path needs a NUL behind it, an abstract name does not. */
static void unix_addresses_have_a_longest_form(void **state)
{
    char text[WEIR_ADDR_TEXT_BYTES], back[WEIR_ADDR_TEXT_BYTES];
    struct weir_addr addr, before;
    const size_t most = sizeof((struct sockaddr_un *)0)->sun_path;

    (void)state;
    memset(&addr, 0x5a, sizeof addr);
    before = addr;
    for (int abstract = 0; abstract < 2; abstract++) {
        size_t longest = abstract ? most : most - 1;
        memset(text, 'x', sizeof text);
        memcpy(text, abstract ? "unix:@" : "unix:/", 6);
        text[5 + longest + 1] = '\0';
        assert_int_equal(weir_addr_parse(text, &addr), -ENAMETOOLONG);
        if (!abstract)
            assert_memory_equal(&addr, &before, sizeof addr);
        text[5 + longest] = '\0';
        assert_int_equal(weir_addr_parse(text, &addr), 0);
        weir_addr_format(&addr, back);
        assert_string_equal(back, text);
    }
    /* The longest abstract name is one that the kernel takes and gives back. */
    int fd = -1;
    assert_int_equal(weir_sock_listen(&addr, 1, &fd), 0);
    assert_int_equal(weir_sock_local(fd, &addr), 0);
    weir_addr_format(&addr, back);
    assert_string_equal(back, text);
    close(fd);
}

/* The kernel binds a path that fills sun_path without a NUL, and tells a size of one more. */
static void a_foreign_path_without_a_nul_is_formatted_within_bounds(void **state)
{
    char dir[64], text[WEIR_ADDR_TEXT_BYTES];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct weir_addr addr;

    (void)state;
    io_make_dir(dir);
    memset(un.sun_path, 'x', sizeof un.sun_path);
    memcpy(un.sun_path, dir, strlen(dir));
    un.sun_path[strlen(dir)] = '/';
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(weir_sock_local(fd, &addr), 0);
    /* What lies behind must not show. */
    memset((char *)&addr.storage + sizeof un, 'y', sizeof addr.storage - sizeof un);
    weir_addr_format(&addr, text);
    assert_int_equal(strlen(text), 5 + sizeof un.sun_path);
    assert_memory_equal(text, "unix:", 5);
    assert_memory_equal(text + 5, un.sun_path, sizeof un.sun_path);
    close(fd);
    io_remove_dir(dir);
}

static void other_addresses_are_formatted_too(void **state)
{
    struct weir_addr addr;
    char text[WEIR_ADDR_TEXT_BYTES];
    int fds[2];

    (void)state;
    io_pair(fds, false);
    assert_int_equal(weir_sock_local(fds[0], &addr), 0);
    weir_addr_format(&addr, text);
    assert_string_equal(text, "unix:");
    close(fds[0]);
    close(fds[1]);
    memset(&addr, 0, sizeof addr);
    addr.storage.ss_family = AF_PACKET;
    weir_addr_format(&addr, text);
    assert_string_equal(text, "unknown:");
    assert_int_equal(weir_sock_local(-1, &addr), -EBADF);
}

/* --- receiving -------------------------------------------------------------------------------- */

/* A peer that sends what a seed decides, in pieces that another decides. */
struct sender {
    pthread_t thread;
    int fd;
    uint64_t seed;
    size_t size_bytes;
    size_t piece_max;
};

static void *send_stream(void *context)
{
    struct sender *sender = context;
    struct test_random bytes, sizes;
    uint8_t *piece = malloc(sender->piece_max);
    uint64_t word = 0;
    size_t sent = 0;

    test_random_seed(&bytes, sender->seed);
    test_random_seed(&sizes, ~sender->seed);
    while (sent < sender->size_bytes) {
        size_t size = 1 + test_random_size(&sizes, sender->piece_max - 1);
        if (size > sender->size_bytes - sent)
            size = sender->size_bytes - sent;
        for (size_t i = 0; i < size; i++, sent++) {
            if (sent % 8 == 0)
                word = test_random(&bytes);
            piece[i] = (uint8_t)(word >> (sent % 8 * 8));
        }
        size_t done = 0;
        while (done < size) {
            ssize_t rc = send(sender->fd, piece + done, size - done, MSG_NOSIGNAL);
            if (rc <= 0)
                abort();
            done += (size_t)rc;
        }
    }
    free(piece);
    shutdown(sender->fd, SHUT_WR);
    return NULL;
}

static void sender_start(struct sender *sender)
{
    assert_int_equal(pthread_create(&sender->thread, NULL, send_stream, sender), 0);
}

/* Compares what arrives with what the seed says, now and again when it is dropped. */
struct kept {
    struct weir_slice slice;
    size_t offset;
};

#define KEPT_MAX 512

struct receiver {
    struct weir_op op;
    uint64_t seed;
    uint8_t *expected;
    size_t received;
    unsigned completions;
    unsigned ended;
    int result;
    struct kept kept[KEPT_MAX]; /* a ring of the last keep ones */
    size_t keep;
    size_t kept_first;
    size_t kept_count;
    unsigned bad;
};

/* Whether its bytes had become others. Another thread may be the one that drops, while the done
 * function keeps nothing: 'bad' is not touched here. */
static bool receiver_drop_first(struct receiver *receiver)
{
    struct kept *kept = &receiver->kept[receiver->kept_first];
    bool bad =
        memcmp(kept->slice.view.data, receiver->expected + kept->offset, kept->slice.view.size) !=
        0;
    weir_slice_drop(&kept->slice);
    receiver->kept_first = (receiver->kept_first + 1) % KEPT_MAX;
    receiver->kept_count--;
    return bad;
}

static void receiver_done(struct weir_op *op)
{
    struct receiver *receiver = op->user;
    receiver->completions++;
    receiver->result = op->result;
    if (!op->more)
        receiver->ended++;
    if (op->result <= 0)
        return;
    assert_true(op->more);
    assert_int_equal(op->received.view.size, op->result);
    assert_non_null(op->received.block);
    receiver->bad += memcmp(op->received.view.data,
                            receiver->expected + receiver->received,
                            op->received.view.size) != 0;
    if (receiver->keep != 0) {
        if (receiver->kept_count == receiver->keep)
            receiver->bad += receiver_drop_first(receiver);
        struct kept *kept =
            &receiver->kept[(receiver->kept_first + receiver->kept_count) % KEPT_MAX];
        kept->slice = weir_slice_hold(&op->received);
        kept->offset = receiver->received;
        receiver->kept_count++;
    }
    receiver->received += (size_t)op->result;
}

static void receiver_init(struct receiver *receiver, uint64_t seed, size_t size_bytes, size_t keep)
{
    struct test_random bytes;
    uint64_t word = 0;

    memset(receiver, 0, sizeof *receiver);
    receiver->seed = seed;
    receiver->keep = keep;
    receiver->expected = malloc(size_bytes);
    test_random_seed(&bytes, seed);
    for (size_t i = 0; i < size_bytes; i++) {
        if (i % 8 == 0)
            word = test_random(&bytes);
        receiver->expected[i] = (uint8_t)(word >> (i % 8 * 8));
    }
    weir_op_init(&receiver->op, receiver_done, receiver);
}

static void receiver_fini(struct receiver *receiver)
{
    while (receiver->kept_count != 0)
        receiver->bad += receiver_drop_first(receiver);
    assert_int_equal(receiver->bad, 0);
    free(receiver->expected);
}

static void streams_arrive_unchanged_however_they_are_kept(void **state)
{
    static const struct {
        bool tcp;
        uint32_t without;
        uint32_t blocks, block_bytes;
        size_t piece_max, keep;
    } rows[] = {
        {false, 0, 0, 0, 70000, 0},
        {true, 0, 0, 0, 70000, 100},
        {false, WEIR_RING_RECEIVE_BY_PARTS, 0, 0, 70000, 0},
        {true, WEIR_RING_RECEIVE_BY_PARTS, 0, 0, 70000, 100},
        {false, 0, 4, 4096, 5000, 200},
        {true, 0, 2, 65536, 100, 500},
        {true, WEIR_RING_RECEIVE_BY_PARTS, 1, 64, 1000, 300},
        {false, 0, 1, 1000, 3000, 7},
        {true, WEIR_RING_DEFER_TASKRUN, 8, 1024, 3000, 50},
    };
    static struct receiver receiver;
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_ring_options options = {.entries = 8,
                                            .without = rows[i].without,
                                            .receive_blocks = rows[i].blocks,
                                            .receive_block_bytes = rows[i].block_bytes};
        struct sender sender = {.seed = test_random(&random),
                                .size_bytes = rows[i].piece_max >= 5000 ? 4u << 20 : 300000,
                                .piece_max = rows[i].piece_max};
        struct io io;
        int fds[2];
        io_open(&io, NULL, &options);
        io_pair(fds, rows[i].tcp);
        receiver_init(&receiver, sender.seed, sender.size_bytes, rows[i].keep);
        assert_int_equal(weir_sock_receive(io.ring, &receiver.op, fds[0]), 0);
        sender.fd = fds[1];
        sender_start(&sender);
        io_until(&io, &receiver.ended, 1);
        pthread_join(sender.thread, NULL);
        assert_int_equal(receiver.result, 0);
        assert_int_equal(receiver.received, sender.size_bytes);
        assert_int_equal(weir_ring_stats(io.ring).received_bytes, sender.size_bytes);
        receiver_fini(&receiver);
        close(fds[0]);
        close(fds[1]);
        io_close(&io);
    }
}

static void two_receivers_share_the_blocks(void **state)
{
    enum { SIZE = 1 << 20 };
    static struct receiver receivers[2];
    struct weir_ring_options options = {.receive_blocks = 4, .receive_block_bytes = 4096};
    struct sender senders[2];
    struct io io;
    int fds[4];

    (void)state;
    for (uint32_t by_parts = 0; by_parts < 2; by_parts++) {
        options.without = by_parts ? 0 : WEIR_RING_RECEIVE_BY_PARTS;
        io_open(&io, NULL, &options);
        for (unsigned i = 0; i < 2; i++) {
            io_pair(fds + 2 * i, i == 1);
            receiver_init(&receivers[i], 100 + i, SIZE, 60);
            assert_int_equal(weir_sock_receive(io.ring, &receivers[i].op, fds[2 * i]), 0);
            struct sender sender = {
                .fd = fds[2 * i + 1], .seed = 100 + i, .size_bytes = SIZE, .piece_max = 3000};
            senders[i] = sender;
            sender_start(&senders[i]);
        }
        io_until(&io, &receivers[0].ended, 1);
        io_until(&io, &receivers[1].ended, 1);
        for (unsigned i = 0; i < 2; i++) {
            pthread_join(senders[i].thread, NULL);
            assert_int_equal(receivers[i].received, SIZE);
            receiver_fini(&receivers[i]);
            close(fds[2 * i]);
            close(fds[2 * i + 1]);
        }
        io_close(&io);
    }
}

/* A pool that has nothing but the receive blocks. */
struct scarce {
    struct io io;
    struct io_hoard hoard;
    int fds[2];
};

static void scarce_open(struct scarce *scarce, uint32_t without, uint32_t blocks)
{
    struct weir_pool_options pool = {.limit_bytes = 6u << 20};
    struct weir_ring_options options = {
        .receive_blocks = blocks, .receive_block_bytes = 4096, .without = without};
    io_open(&scarce->io, &pool, &options);
    io_hoard_take(&scarce->io, &scarce->hoard, 4096);
    io_pair(scarce->fds, false);
}

static void scarce_close(struct scarce *scarce)
{
    io_hoard_drop(&scarce->hoard);
    close(scarce->fds[0]);
    close(scarce->fds[1]);
    io_close(&scarce->io);
}

static void a_receive_without_blocks_pauses_and_goes_on(void **state)
{
    enum { SIZE = 200000 };
    static struct receiver receiver;
    static struct scarce scarce;
    struct io *io = &scarce.io;

    (void)state;
    for (uint32_t by_parts = 0; by_parts < 2; by_parts++) {
        struct sender sender = {.seed = 9, .size_bytes = SIZE, .piece_max = 4096};
        scarce_open(&scarce, by_parts ? 0 : WEIR_RING_RECEIVE_BY_PARTS, 8);
        receiver_init(&receiver, sender.seed, SIZE, KEPT_MAX);
        assert_int_equal(weir_sock_receive(io->ring, &receiver.op, scarce.fds[0]), 0);
        sender.fd = scarce.fds[1];
        sender_start(&sender);
        while (receiver.received < SIZE) {
            uint64_t starved = weir_ring_stats(io->ring).receive_starved;
            while (weir_ring_stats(io->ring).receive_starved == starved && receiver.received < SIZE)
                io_turn(io);
            /* It rests: one look a millisecond, and not one attempt of the kernel. */
            size_t received = receiver.received;
            struct weir_ring_stats before = weir_ring_stats(io->ring);
            io_turns_for(io, 20);
            struct weir_ring_stats after = weir_ring_stats(io->ring);
            if (received < SIZE) {
                assert_int_equal(receiver.received, received);
                assert_true(after.enters - before.enters <= 60);
                assert_int_equal(after.receive_starved, before.receive_starved);
                assert_int_equal(after.blocks_lent, 0);
            }
            while (receiver.kept_count != 0)
                receiver.bad += receiver_drop_first(&receiver);
        }
        io_until(io, &receiver.ended, 1);
        assert_int_equal(receiver.result, 0);
        pthread_join(sender.thread, NULL);
        assert_true(weir_ring_stats(io->ring).receive_starved > 2);
        receiver_fini(&receiver);
        scarce_close(&scarce);
    }
}

/* All blocks but one are kept for ever: what comes back is used, however little it is. */
static void one_block_that_returns_is_enough_to_go_on(void **state)
{
    static struct receiver receiver;
    static struct scarce scarce;
    struct io *io = &scarce.io;
    static uint8_t bytes[4096];

    (void)state;
    scarce_open(&scarce, WEIR_RING_RECEIVE_BY_PARTS, 8);
    receiver_init(&receiver, 5, 8 * sizeof bytes + 20 * sizeof bytes, KEPT_MAX);
    assert_int_equal(weir_sock_receive(io->ring, &receiver.op, scarce.fds[0]), 0);
    for (unsigned i = 0; i < 28; i++) {
        memcpy(bytes, receiver.expected + i * sizeof bytes, sizeof bytes);
        io_write_all(scarce.fds[1], bytes, sizeof bytes);
        if (i >= 8) {
            assert_int_equal(receiver.kept_count, 8);
            while (weir_ring_stats(io->ring).receive_starved < i - 7)
                io_turn(io);
            receiver.bad += receiver_drop_first(&receiver);
        }
        while (receiver.received < (i + 1) * sizeof bytes)
            io_turn(io);
    }
    /* And without anything that returns it rests. */
    io_write_all(scarce.fds[1], bytes, 10);
    io_turns_for(io, 5);
    struct weir_ring_stats before = weir_ring_stats(io->ring);
    io_turns_for(io, 30);
    assert_true(weir_ring_stats(io->ring).enters - before.enters <= 90);
    assert_int_equal(weir_op_cancel(&receiver.op), 0);
    io_until(io, &receiver.ended, 1);
    assert_int_equal(receiver.result, -ECANCELED);
    receiver_fini(&receiver);
    scarce_close(&scarce);
}

struct dropper {
    struct receiver *receiver;
    unsigned bad;
};

static void *drop_later(void *context)
{
    struct dropper *dropper = context;
    usleep(30000);
    while (dropper->receiver->kept_count != 0)
        dropper->bad += receiver_drop_first(dropper->receiver);
    return NULL;
}

static void a_starved_receive_goes_on_when_another_thread_drops(void **state)
{
    static struct receiver receiver;
    static struct scarce scarce;
    struct io *io = &scarce.io;
    pthread_t thread;
    static uint8_t bytes[4096];

    (void)state;
    scarce_open(&scarce, WEIR_RING_RECEIVE_BY_PARTS, 4);
    receiver_init(&receiver, 6, 6 * sizeof bytes, KEPT_MAX);
    assert_int_equal(weir_sock_receive(io->ring, &receiver.op, scarce.fds[0]), 0);
    for (unsigned i = 0; i < 5; i++) {
        memcpy(bytes, receiver.expected + i * sizeof bytes, sizeof bytes);
        io_write_all(scarce.fds[1], bytes, sizeof bytes);
        while (i < 4 && receiver.received < (i + 1) * sizeof bytes)
            io_turn(io);
    }
    while (weir_ring_stats(io->ring).receive_starved == 0)
        io_turn(io);
    assert_int_equal(receiver.kept_count, 4);
    /* The done function must not touch what the thread works on. */
    struct dropper dropper = {.receiver = &receiver};
    receiver.keep = 0;
    assert_int_equal(pthread_create(&thread, NULL, drop_later, &dropper), 0);
    /* A wait without bound: nothing but the ring itself can wake it. */
    while (receiver.received < 5 * sizeof bytes)
        assert_true(io_wait(io, -1) >= 0);
    pthread_join(thread, NULL);
    assert_int_equal(dropper.bad, 0);
    close(scarce.fds[1]);
    scarce.fds[1] = -1;
    io_until(io, &receiver.ended, 1);
    receiver_fini(&receiver);
    scarce_close(&scarce);
}

/* A multishot request ends without a word when its completions overflow. */
static void receives_outlive_an_overflowing_completion_queue(void **state)
{
    enum { PAIRS = 40, ROUNDS = 30 };
    static struct io_call calls[PAIRS];
    struct weir_ring_options options = {.entries = 1,
                                        .receive_blocks = 256,
                                        .receive_block_bytes = 64,
                                        .without = WEIR_RING_RECEIVE_BY_PARTS};
    struct io io;
    int fds[2 * PAIRS];

    (void)state;
    io_open(&io, NULL, &options);
    for (unsigned i = 0; i < PAIRS; i++) {
        io_pair(fds + 2 * i, false);
        io_call_init(&calls[i]);
        assert_int_equal(weir_sock_receive(io.ring, &calls[i].op, fds[2 * i]), 0);
    }
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (unsigned i = 0; i < PAIRS; i++)
            io_write_all(fds[2 * i + 1],
                         "0123456789012345678901234567890123456789012345678901234"
                         "56789012345678901234567890123456789012345678901234567",
                         100);
        while (weir_ring_stats(io.ring).received_bytes < round * PAIRS * 100)
            io_turn(&io);
    }
    for (unsigned i = 0; i < PAIRS; i++)
        close(fds[2 * i + 1]);
    for (unsigned i = 0; i < PAIRS; i++) {
        assert_int_equal(io_call_wait(&io, &calls[i]), 0);
        assert_int_equal(calls[i].ended, 1);
        close(fds[2 * i]);
    }
    io_close(&io);
}

static void a_reset_ends_a_receive(void **state)
{
    static const struct linger at_once = {1, 0};
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, true);
    io_call_init(&call);
    assert_int_equal(weir_sock_receive(io.ring, &call.op, fds[0]), 0);
    io_turn(&io);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fds[1]);
    assert_int_equal(io_call_wait(&io, &call), -ECONNRESET);
    close(fds[0]);
    io_close(&io);
}

static void receiving_from_what_is_no_socket_fails(void **state)
{
    struct io io;
    struct io_call call;
    int pipes[2];

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(pipe(pipes), 0);
    io_call_init(&call);
    assert_int_equal(weir_sock_receive(io.ring, &call.op, pipes[0]), 0);
    assert_int_equal(io_call_wait(&io, &call), -ENOTSOCK);
    call.ended = 0;
    assert_int_equal(weir_sock_receive(io.ring, &call.op, 99999), 0);
    assert_int_equal(io_call_wait(&io, &call), -EBADF);
    close(pipes[0]);
    close(pipes[1]);
    io_close(&io);
}

/* --- sending ---------------------------------------------------------------------------------- */

struct reader {
    pthread_t thread;
    int fd;
    uint8_t *bytes;
    size_t size_bytes;
    size_t got;
};

static void *read_stream(void *context)
{
    struct reader *reader = context;
    usleep(20000);
    reader->got = io_read_all(reader->fd, reader->bytes, reader->size_bytes);
    return NULL;
}

static void many_iovecs_arrive_whole_and_in_order(void **state)
{
    enum { COUNT = 1024 };
    static struct iovec iov[COUNT];
    static struct weir_block *blocks[COUNT];
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 6; round++) {
        struct io io;
        struct io_call call;
        struct reader reader = {.got = 0};
        int fds[2];
        size_t total = 0;
        io_open(&io, NULL, NULL);
        io_pair(fds, round % 2 == 0);
        if (round >= 4)
            io_shrink(fds[0]);
        uint64_t idle = io_blocks_in_use(&io);
        for (unsigned i = 0; i < COUNT; i++) {
            size_t size = test_random_size(&random, 9000);
            struct weir_slice slice = io_slice(&io, size, i + round);
            iov[i].iov_base = slice.block->data;
            iov[i].iov_len = size;
            blocks[i] = slice.block;
            total += size;
        }
        reader.fd = fds[1];
        reader.size_bytes = total + 1;
        reader.bytes = malloc(total + 1);
        io_call_init(&call);
        assert_int_equal(weir_sock_sendv(io.ring, &call.op, fds[0], iov, blocks, COUNT), 0);
        for (unsigned i = 0; i < COUNT; i++)
            weir_block_drop(blocks[i]);
        assert_int_equal(io_blocks_in_use(&io), idle + COUNT);
        assert_int_equal(pthread_create(&reader.thread, NULL, read_stream, &reader), 0);
        assert_int_equal(io_call_wait(&io, &call), (int)total);
        assert_int_equal(call.completions, 1);
        assert_int_equal(io_blocks_in_use(&io), idle);
        assert_int_equal(weir_ring_stats(io.ring).sent_bytes, total);
        close(fds[0]);
        pthread_join(reader.thread, NULL);
        assert_int_equal(reader.got, total);
        size_t at = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            assert_true(test_is_filled(reader.bytes + at, iov[i].iov_len, i + round));
            at += iov[i].iov_len;
        }
        free(reader.bytes);
        close(fds[1]);
        io_close(&io);
    }
}

/* Entries without a block, and no blocks at all: bytes that belong to nobody. */
static void iovecs_may_belong_to_nobody(void **state)
{
    struct io io;
    struct io_call call;
    char text[] = "hello, world";
    struct iovec iov[2] = {{text, 5}, {text + 5, 7}};
    struct weir_block *blocks[2] = {NULL, NULL};
    char got[24];
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_call_init(&call);
    assert_int_equal(weir_sock_sendv(io.ring, &call.op, fds[0], iov, blocks, 2), 0);
    assert_int_equal(io_call_wait(&io, &call), 12);
    call.ended = 0;
    assert_int_equal(weir_sock_sendv(io.ring, &call.op, fds[0], iov, NULL, 2), 0);
    assert_int_equal(io_call_wait(&io, &call), 12);
    call.ended = 0;
    assert_int_equal(weir_sock_sendv(io.ring, &call.op, fds[0], iov, NULL, 0), 0);
    assert_int_equal(io_call_wait(&io, &call), 0);
    assert_int_equal(io_read_all(fds[1], got, 24), 24);
    assert_memory_equal(got, "hello, worldhello, world", 24);
    close(fds[0]);
    close(fds[1]);
    io_close(&io);
}

static void sending_to_a_dead_peer_fails_without_a_signal(void **state)
{
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        io_open(&io, NULL, NULL);
        io_pair(fds, tcp);
        close(fds[1]);
        struct weir_slice slice = io_slice(&io, 1000, 1);
        struct iovec iov = {slice.block->data, 1000};
        int result = 0;
        for (unsigned i = 0; i < 10 && result >= 0; i++) {
            io_call_init(&call);
            assert_int_equal(
                i % 2 == 0 ? weir_sock_send(io.ring, &call.op, fds[0], &slice)
                           : weir_sock_sendv(io.ring, &call.op, fds[0], &iov, &slice.block, 1),
                0);
            result = io_call_wait(&io, &call);
            usleep(2000);
        }
        assert_true(result == -EPIPE || result == -ECONNRESET);
        weir_slice_drop(&slice);
        close(fds[0]);
        io_close(&io);
    }
}

/* The peer dies in the middle: a short send, which says how much the socket took. */
static void a_send_that_the_peers_death_cuts_is_short(void **state)
{
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_shrink(fds[0]);
    struct weir_slice slice = io_slice(&io, 1 << 20, 1);
    io_call_init(&call);
    assert_int_equal(weir_sock_send(io.ring, &call.op, fds[0], &slice), 0);
    weir_slice_drop(&slice);
    io_turns_for(&io, 10);
    assert_int_equal(call.completions, 0);
    close(fds[1]);
    int result = io_call_wait(&io, &call);
    assert_true(result < 1 << 20 && (result > 0 || result == -EPIPE || result == -ECONNRESET));
    close(fds[0]);
    io_close(&io);
}

/* --- accepting -------------------------------------------------------------------------------- */

struct doorman {
    struct weir_op op;
    unsigned accepted;
    unsigned ended;
    int result;
    int fds[400];
};

static void doorman_done(struct weir_op *op)
{
    struct doorman *doorman = op->user;
    doorman->result = op->result;
    if (op->result >= 0) {
        assert_true(op->more);
        assert_true(doorman->accepted < 400);
        doorman->fds[doorman->accepted++] = op->result;
    }
    doorman->ended += !op->more;
}

static void doorman_init(struct doorman *doorman)
{
    memset(doorman, 0, sizeof *doorman);
    weir_op_init(&doorman->op, doorman_done, doorman);
}

static void doorman_close_all(struct doorman *doorman)
{
    while (doorman->accepted > 0)
        close(doorman->fds[--doorman->accepted]);
}

static void one_accept_takes_many_connections(void **state)
{
    enum { MANY = 300 };
    static struct doorman doorman;
    struct weir_ring_options options = {.entries = 1}; /* 8 completions: the accept ends often */
    struct weir_addr addr;
    struct io io;
    int clients[MANY];

    (void)state;
    io_open(&io, NULL, &options);
    int listener = io_listen_tcp(&addr);
    doorman_init(&doorman);
    assert_int_equal(weir_sock_accept(io.ring, &doorman.op, listener), 0);
    for (unsigned i = 0; i < MANY; i++)
        clients[i] = io_connect(&addr);
    io_until(&io, &doorman.accepted, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(io_is_open(doorman.fds[i]));
        assert_int_equal(fcntl(doorman.fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        close(clients[i]);
    }
    doorman_close_all(&doorman);
    assert_int_equal(doorman.ended, 0);
    assert_int_equal(weir_op_cancel(&doorman.op), 0);
    io_until(&io, &doorman.ended, 1);
    assert_int_equal(doorman.result, -ECANCELED);
    close(listener);
    io_close(&io);
}

static bool doorman_let_in(const struct doorman *doorman, const struct weir_addr *peer)
{
    struct weir_addr accepted;
    for (unsigned i = 0; i < doorman->accepted; i++) {
        accepted.size = sizeof accepted.storage;
        if (getpeername(doorman->fds[i], (struct sockaddr *)&accepted.storage, &accepted.size) ==
                0 &&
            memcmp(&accepted.storage, &peer->storage, peer->size) == 0)
            return true;
    }
    return false;
}

static void peers_that_leave_at_once_do_no_harm(void **state)
{
    static const struct linger at_once = {1, 0};
    static struct doorman doorman;
    struct weir_addr addr;
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    int listener = io_listen_tcp(&addr);
    doorman_init(&doorman);
    assert_int_equal(weir_sock_accept(io.ring, &doorman.op, listener), 0);
    for (unsigned i = 0; i < 200; i++) {
        int fd = io_connect(&addr);
        if (i % 2 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    int last = io_connect(&addr);
    struct weir_addr mine;
    assert_int_equal(weir_sock_local(last, &mine), 0);
    while (!doorman_let_in(&doorman, &mine))
        io_turn(&io);
    assert_int_equal(doorman.ended, 0);
    close(last);
    doorman_close_all(&doorman);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(doorman.ended, 1);
    doorman_close_all(&doorman);
    close(listener);
    io_close(&io);
}

static void running_out_of_descriptors_is_reported_and_passes(void **state)
{
    static struct doorman doorman;
    struct rlimit limit, before;
    struct weir_addr addr;
    struct io io;
    int clients[4];

    (void)state;
    io_open(&io, NULL, NULL);
    int listener = io_listen_tcp(&addr);
    doorman_init(&doorman);
    for (unsigned i = 0; i < 4; i++)
        clients[i] = io_connect(&addr);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    /* Room for two more: descriptors are given out from below. */
    int next = dup(0);
    int after = dup(0);
    close(next);
    close(after);
    limit.rlim_cur = (rlim_t)(after > next ? after : next) + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(weir_sock_accept(io.ring, &doorman.op, listener), 0);
    io_until(&io, &doorman.ended, 1);
    assert_int_equal(doorman.result, -EMFILE);
    assert_int_equal(doorman.accepted, 2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(weir_sock_accept(io.ring, &doorman.op, listener), 0);
    io_until(&io, &doorman.accepted, 4);
    doorman_close_all(&doorman);
    for (unsigned i = 0; i < 4; i++)
        close(clients[i]);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(doorman.ended, 2);
    close(listener);
    io_close(&io);
}

/* --- connecting ------------------------------------------------------------------------------- */

static int connect_to(struct io *io, const char *text)
{
    struct weir_addr addr;
    struct io_call call;
    int fd = -1;
    assert_int_equal(weir_addr_parse(text, &addr), 0);
    assert_int_equal(weir_sock_open(&addr, &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    io_call_init(&call);
    assert_int_equal(weir_sock_connect(io->ring, &call.op, fd, &addr), 0);
    int result = io_call_wait(io, &call);
    close(fd);
    return result;
}

static void connecting_works_or_says_why_not(void **state)
{
    char dir[64], path[128], nobody[64], name[64], text[WEIR_ADDR_TEXT_BYTES];
    struct weir_addr addr;
    struct io io;
    int fd = -1;

    (void)state;
    io_open(&io, NULL, NULL);
    io_make_dir(dir);
    snprintf(path, sizeof path, "unix:%s/socket", dir);
    snprintf(nobody, sizeof nobody, "unix:@weir-test-nobody-%ld", (long)getpid());
    snprintf(name, sizeof name, "unix:@weir-test-connect-%ld", (long)getpid());
    assert_int_equal(connect_to(&io, path), -ENOENT);
    assert_int_equal(connect_to(&io, nobody), -ECONNREFUSED);
    assert_int_equal(connect_to(&io, "unix:/dev/null"), -ECONNREFUSED);
    assert_int_equal(connect_to(&io, "unix:/dev/null/x"), -ENOTDIR);
    const char *const places[] = {"tcp:127.0.0.1:0", "tcp:[::1]:0", "tcp::0", name, path};
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        assert_int_equal(weir_addr_parse(places[i], &addr), 0);
        int rc = weir_sock_listen(&addr, 8, &fd);
        if (rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL)
            continue; /* a machine without IPv6 */
        assert_int_equal(rc, 0);
        assert_int_equal(weir_sock_local(fd, &addr), 0);
        weir_addr_format(&addr, text);
        assert_int_equal(connect_to(&io, text), 0);
        if (i == 2) {
            /* Any address: IPv4 as well. */
            char four[WEIR_ADDR_TEXT_BYTES];
            snprintf(four, sizeof four, "tcp:127.0.0.1%s", strrchr(text, ':'));
            assert_int_equal(connect_to(&io, four), 0);
        }
        int second = -7;
        assert_int_equal(weir_sock_listen(&addr, 8, &second), -EADDRINUSE);
        assert_int_equal(second, -7);
        close(fd);
        assert_int_equal(connect_to(&io, text), -ECONNREFUSED);
    }
    io_remove_dir(dir);
    io_close(&io);
}

static void a_listening_address_can_be_bound_again_at_once(void **state)
{
    struct weir_addr addr;
    int fd = -1;

    (void)state;
    int listener = io_listen_tcp(&addr);
    int client = io_connect(&addr);
    int server = accept(listener, NULL, NULL);
    close(server); /* the side that ends first waits in TIME_WAIT */
    close(client);
    close(listener);
    assert_int_equal(weir_sock_listen(&addr, 8, &fd), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST_ONCE(addresses_round_trip),
        IO_TEST_ONCE(malformed_addresses_are_refused),
        IO_TEST_ONCE(unix_addresses_have_a_longest_form),
        IO_TEST_ONCE(a_foreign_path_without_a_nul_is_formatted_within_bounds),
        IO_TEST_ONCE(other_addresses_are_formatted_too),
        IO_TEST(streams_arrive_unchanged_however_they_are_kept),
        IO_TEST(two_receivers_share_the_blocks),
        IO_TEST(a_receive_without_blocks_pauses_and_goes_on),
        IO_TEST(one_block_that_returns_is_enough_to_go_on),
        IO_TEST(a_starved_receive_goes_on_when_another_thread_drops),
        IO_TEST(receives_outlive_an_overflowing_completion_queue),
        IO_TEST(a_reset_ends_a_receive),
        IO_TEST(receiving_from_what_is_no_socket_fails),
        IO_TEST(many_iovecs_arrive_whole_and_in_order),
        IO_TEST(iovecs_may_belong_to_nobody),
        IO_TEST(sending_to_a_dead_peer_fails_without_a_signal),
        IO_TEST(a_send_that_the_peers_death_cuts_is_short),
        IO_TEST(one_accept_takes_many_connections),
        IO_TEST(peers_that_leave_at_once_do_no_harm),
        IO_TEST(running_out_of_descriptors_is_reported_and_passes),
        IO_TEST(connecting_works_or_says_why_not),
        IO_TEST_ONCE(a_listening_address_can_be_bound_again_at_once),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
