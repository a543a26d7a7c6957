/* SPDX-License-Identifier: MIT */
/* What the poll backend alone has to see to. What both promise is in test_ring.c and its like. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/ring_timers.h"

/* --- the heap of timeouts --------------------------------------------------------------------- */

static void timers_come_out_in_order_whatever_is_taken_out(void **state)
{
    enum { MANY = 300, STEPS = 20000 };
    static struct weir_op ops[MANY];
    struct weir__timers timers = {.root = NULL};
    struct test_random random;
    bool in[MANY] = {false};

    (void)state;
    test_random_init(&random);
    for (unsigned step = 0; step < STEPS; step++) {
        size_t i = test_random_size(&random, MANY - 1);
        if (!in[i]) {
            weir__timers_add(&timers, &ops[i], (int64_t)test_random_size(&random, 50));
        } else {
            /* The first by time, and of these the first by start, or any. */
            if (step % 2 == 0)
                i = (size_t)(timers.root - ops);
            for (size_t k = 0; k < MANY && timers.root == &ops[i]; k++)
                if (in[k] && k != i)
                    assert_true(ops[k].args.timer.deadline_ns > ops[i].args.timer.deadline_ns ||
                                (ops[k].args.timer.deadline_ns == ops[i].args.timer.deadline_ns &&
                                 ops[k].args.timer.number > ops[i].args.timer.number));
            weir__timers_remove(&timers, &ops[i]);
        }
        in[i] = !in[i];
    }
    for (size_t left = 0; left < MANY; left++) {
        if (timers.root == NULL)
            break;
        in[timers.root - ops] = false;
        weir__timers_remove(&timers, timers.root);
    }
    assert_null(timers.root);
    for (size_t i = 0; i < MANY; i++)
        assert_false(in[i]);
}

/* --- descriptors ------------------------------------------------------------------------------ */

struct doorman {
    struct weir_op op;
    unsigned accepted;
    unsigned ended;
    int fds[8];
};

static void doorman_done(struct weir_op *op)
{
    struct doorman *doorman = op->user;
    if (op->result >= 0)
        doorman->fds[doorman->accepted++] = op->result;
    doorman->ended += !op->more;
}

static void doorman_end(struct io *io, struct doorman *doorman)
{
    assert_int_equal(weir_op_cancel(&doorman->op), 0);
    io_until(io, &doorman->ended, 1);
    assert_int_equal(doorman->op.result, -ECANCELED);
    while (doorman->accepted > 0)
        close(doorman->fds[--doorman->accepted]);
}

/* Descriptors are also others': whether they block is not ours to change. */
static void descriptors_stay_blocking(void **state)
{
    struct io io;
    struct doorman doorman = {.accepted = 0};
    struct io_call connect, receive, send;
    struct weir_addr addr;
    int fd;

    (void)state;
    io_open(&io, NULL, NULL);
    int listener = io_listen_tcp(&addr);
    weir_op_init(&doorman.op, doorman_done, &doorman);
    io_call_init(&connect);
    io_call_init(&receive);
    io_call_init(&send);
    assert_int_equal(weir_sock_open(&addr, &fd), 0);
    assert_int_equal(weir_sock_accept(io.ring, &doorman.op, listener), 0);
    assert_int_equal(weir_sock_connect(io.ring, &connect.op, fd, &addr), 0);
    assert_int_equal(io_call_wait(&io, &connect), 0);
    io_until(&io, &doorman.accepted, 1);
    struct weir_slice slice = io_slice(&io, 1000, 1);
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, doorman.fds[0]), 0);
    assert_int_equal(weir_sock_send(io.ring, &send.op, fd, &slice), 0);
    io_until(&io, &receive.completions, 1);
    weir_slice_drop(&slice);
    const int fds[] = {listener, fd, doorman.fds[0]};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
    close(fd);
    assert_int_equal(io_call_wait(&io, &receive), 0);
    doorman_end(&io, &doorman);
    close(listener);
    io_close(&io);
}

static void requests_may_share_a_descriptor(void **state)
{
    struct io io;
    struct doorman doormen[2];
    struct io_call reads[2];
    struct weir_addr addr;
    struct weir_block *block;
    int pipes[2], clients[3];

    (void)state;
    io_open(&io, NULL, NULL);
    int listener = io_listen_tcp(&addr);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(weir_pool_alloc(io.pool, 64, &block), 0);
    memset(doormen, 0, sizeof doormen);
    for (unsigned i = 0; i < 2; i++) {
        io_call_init(&reads[i]);
        weir_op_init(&doormen[i].op, doorman_done, &doormen[i]);
        assert_int_equal(weir_sock_accept(io.ring, &doormen[i].op, listener), 0);
        assert_int_equal(
            weir_file_read(io.ring, &reads[i].op, pipes[0], block, 8 * i, 8, WEIR_FILE_POSITION),
            0);
    }
    io_turns_for(&io, 5);
    for (unsigned i = 0; i < 3; i++)
        clients[i] = io_connect(&addr);
    /* Were the second one tried for the same report, it would block for ever. */
    while (doormen[0].accepted + doormen[1].accepted < 3)
        io_turn(&io);
    assert_int_equal(write(pipes[1], "12345678", 8), 8);
    assert_int_equal(io_call_wait(&io, &reads[0]), 8);
    assert_memory_equal(block->data, "12345678", 8);
    io_turns_for(&io, 5);
    assert_int_equal(reads[1].completions, 0);
    assert_int_equal(write(pipes[1], "abc", 3), 3);
    assert_int_equal(io_call_wait(&io, &reads[1]), 3);
    assert_memory_equal(block->data + 8, "abc", 3);
    for (unsigned i = 0; i < 2; i++)
        doorman_end(&io, &doormen[i]);
    for (unsigned i = 0; i < 3; i++)
        close(clients[i]);
    weir_block_drop(block);
    close(pipes[0]);
    close(pipes[1]);
    close(listener);
    io_close(&io);
}

/* More descriptors than the table has buckets; both directions of each at once. */
static void many_descriptors_share_few_buckets(void **state)
{
    enum { PAIRS = 100, SIZE = 100000 };
    static struct io_call receives[2 * PAIRS], sends[2 * PAIRS];
    static int fds[2 * PAIRS];
    struct weir_ring_options options = {.entries = 1};
    struct io io;

    (void)state;
    io_open(&io, NULL, &options);
    struct weir_slice slice = io_slice(&io, SIZE, 1);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        if (i % 2 == 0) {
            io_pair(fds + i, false);
            io_shrink(fds[i]);
            io_shrink(fds[i + 1]);
        }
        io_call_init(&receives[i]);
        io_call_init(&sends[i]);
        assert_int_equal(weir_sock_receive(io.ring, &receives[i].op, fds[i]), 0);
        assert_int_equal(weir_sock_send(io.ring, &sends[i].op, fds[i], &slice), 0);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        assert_int_equal(io_call_wait(&io, &sends[i]), SIZE);
    while (weir_ring_stats(io.ring).received_bytes < (uint64_t)2 * PAIRS * SIZE)
        io_turn(&io);
    assert_int_equal(weir_ring_stats(io.ring).sent_bytes, (uint64_t)2 * PAIRS * SIZE);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        assert_int_equal(weir_op_cancel(&receives[i].op), 0);
        assert_int_equal(io_call_wait(&io, &receives[i]), -ECANCELED);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        close(fds[i]);
    weir_slice_drop(&slice);
    io_close(&io);
}

/* Epoll forgets a closed descriptor, and the next file has its number. */
static void closing_by_request_ends_what_waits(void **state)
{
    struct io io;
    struct io_call receive, send, end, again;
    int fds[2], others[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_stuff(fds[0]);
    io_call_init(&receive);
    io_call_init(&send);
    io_call_init(&end);
    io_call_init(&again);
    struct weir_slice slice = io_slice(&io, 1000, 1);
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
    assert_int_equal(weir_sock_send(io.ring, &send.op, fds[0], &slice), 0);
    io_turn(&io);
    assert_int_equal(weir_file_close(io.ring, &end.op, fds[0]), 0);
    assert_int_equal(io_call_wait(&io, &end), 0);
    assert_int_equal(io_call_wait(&io, &receive), -EBADF);
    assert_int_equal(io_call_wait(&io, &send), -EBADF);
    assert_true(weir_block_is_exclusive(slice.block));
    io_pair(others, false);
    assert_int_equal(others[0], fds[0]);
    assert_int_equal(weir_sock_receive(io.ring, &again.op, others[0]), 0);
    io_write_all(others[1], "new", 3);
    io_until(&io, &again.completions, 1);
    assert_int_equal(again.result, 3);
    close(others[1]);
    assert_int_equal(io_call_wait(&io, &again), 0);
    weir_slice_drop(&slice);
    close(others[0]);
    close(fds[1]);
    io_close(&io);
}

/* A unix socket does not tell when there is room in the queue of the one it connects to. */
static void a_connect_waits_for_room_in_the_backlog(void **state)
{
    char name[64];
    struct weir_addr addr;
    struct io_call calls[4];
    struct io io;
    int listener, fds[4];
    unsigned connected = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    /* Others may run this test at the same time. */
    snprintf(name, sizeof name, "unix:@weir-test-backlog-%ld", (long)getpid());
    assert_int_equal(weir_addr_parse(name, &addr), 0);
    assert_int_equal(weir_sock_listen(&addr, 0, &listener), 0);
    for (unsigned i = 0; i < 4; i++) {
        io_call_init(&calls[i]);
        assert_int_equal(weir_sock_open(&addr, &fds[i]), 0);
        assert_int_equal(weir_sock_connect(io.ring, &calls[i].op, fds[i], &addr), 0);
    }
    io_turns_for(&io, 20);
    for (unsigned i = 0; i < 4; i++)
        connected += calls[i].ended;
    assert_int_equal(connected, 1);
    /* It rests in between. */
    struct weir_ring_stats before = weir_ring_stats(io.ring);
    io_turns_for(&io, 20);
    assert_true(weir_ring_stats(io.ring).enters - before.enters <= 30 * 3 * 4);
    assert_int_equal(weir_op_cancel(&calls[3].op), 0);
    assert_int_equal(io_call_wait(&io, &calls[3]), -ECANCELED);
    for (unsigned i = 0; i < 3; i++) {
        int fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
        close(fd);
        if (i < 2)
            assert_int_equal(io_call_wait(&io, &calls[i + 1]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
    close(listener);
    io_close(&io);
}

/* --- flows ------------------------------------------------------------------------------------ */

/* Read and write through a pipe of one page what is much larger. The descriptors block. */
static int through_a_pipe(struct io *io, bool vector)
{
    enum { SIZE = 50000 };
    struct weir_op read_op, write_op;
    struct weir_block *block = NULL;
    size_t sent = 0, got = 0;
    int pipes[2];

    if (pipe(pipes) != 0 || fcntl(pipes[1], F_SETPIPE_SZ, 4096) < 0 ||
        weir_pool_alloc(io->pool, SIZE, &block) != 0)
        return 1;
    struct weir_slice slice = io_slice(io, SIZE, 7);
    weir_op_init(&read_op, NULL, NULL);
    weir_op_init(&write_op, NULL, NULL);
    while (got < SIZE) {
        struct weir_slice rest;
        if (weir_slice_sub(&slice, sent, SIZE - sent, &rest) != 0)
            return 1;
        struct iovec iov[3] = {{NULL, 0}, {(void *)(uintptr_t)rest.view.data, rest.view.size / 2}};
        iov[2].iov_base = (uint8_t *)iov[1].iov_base + iov[1].iov_len;
        iov[2].iov_len = rest.view.size - iov[1].iov_len;
        if (sent < SIZE && vector)
            weir_file_writev(io->ring, &write_op, pipes[1], iov, NULL, 3, WEIR_FILE_POSITION);
        else if (sent < SIZE)
            weir_file_write(io->ring, &write_op, pipes[1], &rest, WEIR_FILE_POSITION);
        weir_file_read(io->ring, &read_op, pipes[0], block, got, SIZE - got, WEIR_FILE_POSITION);
        while (weir_op_is_active(&read_op) || weir_op_is_active(&write_op))
            if (io_wait(io, -1) < 0)
                return 2;
        weir_slice_drop(&rest);
        if ((sent < SIZE && write_op.result <= 0) || read_op.result <= 0)
            return 3;
        sent += sent < SIZE ? (size_t)write_op.result : 0;
        got += (size_t)read_op.result;
    }
    int rc = sent == SIZE && test_is_filled(block->data, SIZE, 7) ? 0 : 4;
    /* A write to a full pipe ends when it is cancelled. */
    for (;;) {
        weir_file_write(io->ring, &write_op, pipes[1], &slice, WEIR_FILE_POSITION);
        for (unsigned i = 0; i < 10 && weir_op_is_active(&write_op); i++)
            if (io_wait(io, 1000000) < 0)
                return 5;
        if (weir_op_is_active(&write_op))
            break;
    }
    weir_op_cancel(&write_op);
    while (weir_op_is_active(&write_op))
        if (io_wait(io, -1) < 0)
            return 6;
    if (write_op.result != -ECANCELED)
        rc = 7;
    weir_slice_drop(&slice);
    weir_block_drop(block);
    close(pipes[0]);
    close(pipes[1]);
    return rc;
}

static void blocking_pipes_never_hold_a_turn_up(void **state)
{
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(through_a_pipe(&io, false), 0);
    assert_int_equal(through_a_pipe(&io, true), 0);
    io_close(&io);
}

/* Older kernels have no way to say for one read or write of a pipe that it must not wait. */
static void nor_do_they_where_the_kernel_has_no_flag_for_that(void **state)
{
    static const int errors[] = {EOPNOTSUPP, ENOSYS, EPERM};

    (void)state;
    for (unsigned i = 0; i < 2 * sizeof errors / sizeof errors[0]; i++) {
        int status = 0;
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct io io = {.pool = NULL};
            io_forbid(SYS_preadv2, errors[i / 2]);
            io_forbid(SYS_pwritev2, errors[i / 2]);
            if (weir_pool_create(NULL, &io.pool) != 0 ||
                io_ring_create(io.pool, NULL, &io.ring) != 0)
                _exit(100);
            int rc = through_a_pipe(&io, i % 2 != 0);
            weir_ring_destroy(io.ring);
            _exit(weir_pool_destroy(io.pool) != 0 ? 101 : rc);
        }
        while (waitpid(child, &status, 0) < 0)
            assert_int_equal(errno, EINTR);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void what_is_always_ready_is_read_and_written_at_once(void **state)
{
    static const char *const paths[] = {"/dev/zero", "/dev/null"};
    struct weir_block *block;
    struct io_call call;
    struct io io;
    int fd;

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(weir_pool_alloc(io.pool, 4096, &block), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(weir_file_open(paths[i], O_RDWR, 0, &fd), 0);
        for (unsigned k = 0; k < 2; k++) {
            uint64_t offset = k == 0 ? WEIR_FILE_POSITION : 10;
            struct weir_slice slice =
                weir_slice_adopt(weir_view_of(block->data, 4096), weir_block_hold(block));
            io_call_init(&call);
            assert_int_equal(weir_file_read(io.ring, &call.op, fd, block, 0, 4096, offset), 0);
            assert_int_equal(io_call_wait(&io, &call), i == 0 ? 4096 : 0);
            io_call_init(&call);
            assert_int_equal(weir_file_write(io.ring, &call.op, fd, &slice, offset), 0);
            assert_int_equal(io_call_wait(&io, &call), 4096);
            weir_slice_drop(&slice);
        }
        close(fd);
    }
    weir_block_drop(block);
    io_close(&io);
}

/* --- counting --------------------------------------------------------------------------------- */

static void every_system_call_is_counted(void **state)
{
    struct io io;
    struct io_call receive, send;
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(weir_ring_stats(io.ring).enters, 0);
    io_pair(fds, false);
    io_call_init(&receive);
    io_call_init(&send);
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
    assert_int_equal(weir_ring_stats(io.ring).enters, 0); /* nothing before the turn */
    assert_int_equal(io_wait(&io, 0), 0);
    assert_int_equal(weir_ring_stats(io.ring).enters, 3); /* recv, epoll_ctl, epoll_wait */
    assert_int_equal(io_wait(&io, 0), 0);
    assert_int_equal(weir_ring_stats(io.ring).enters, 4);
    struct weir_slice slice = io_slice(&io, 1000, 1);
    for (uint64_t i = 0; i < 100; i++) {
        /* A message costs a send, a look and a receive. */
        send.ended = 0;
        assert_int_equal(weir_sock_send(io.ring, &send.op, fds[1], &slice), 0);
        assert_int_equal(io_wait(&io, -1), 1);
        assert_int_equal(send.ended, 1);
        assert_int_equal(io_wait(&io, -1), 1);
        assert_int_equal(receive.completions, i + 1);
        assert_int_equal(weir_ring_stats(io.ring).enters, 4 + 3 * (i + 1));
    }
    struct weir_ring_stats stats = weir_ring_stats(io.ring);
    assert_int_equal(stats.requests, 101);
    assert_int_equal(stats.completions, 200);
    assert_int_equal(stats.receives, 100);
    assert_int_equal(stats.received_bytes, 100000);
    assert_int_equal(stats.sent_bytes, 100000);
    assert_int_equal(stats.blocks_lent, 32);
    assert_int_equal(stats.active, 1);
    weir_slice_drop(&slice);
    close(fds[0]);
    close(fds[1]);
    io_close(&io);
}

/* Send a MiB to a peer that takes none of it, and end that in one of three ways. */
enum ending { CANCELLED, CLOSED, PEER_GONE };

static void send_until(enum ending ending)
{
    static uint8_t got[1 << 20];
    struct io io;
    struct io_call call, end;
    int fds[2], queued = 0;

    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_shrink(fds[0]);
    struct weir_slice slice = io_slice(&io, sizeof got, 1);
    io_call_init(&call);
    io_call_init(&end);
    assert_int_equal(weir_sock_send(io.ring, &call.op, fds[0], &slice), 0);
    weir_slice_drop(&slice);
    io_turns_for(&io, 5);
    assert_int_equal(ioctl(fds[1], FIONREAD, &queued), 0);
    if (ending == CANCELLED)
        assert_int_equal(weir_op_cancel(&call.op), 0);
    else if (ending == CLOSED)
        assert_int_equal(weir_file_close(io.ring, &end.op, fds[0]), 0);
    else
        close(fds[1]);
    assert_int_equal(io_call_wait(&io, &call), queued);
    assert_true(queued > 0 && queued < (int)sizeof got);
    assert_int_equal(weir_ring_stats(io.ring).sent_bytes, queued);
    if (ending == CLOSED)
        assert_int_equal(io_call_wait(&io, &end), 0);
    else
        close(fds[0]);
    if (ending != PEER_GONE) {
        assert_int_equal(io_read_all(fds[1], got, sizeof got), queued);
        assert_true(test_is_filled(got, (size_t)queued, 1));
        close(fds[1]);
    }
    io_close(&io);
}

static void a_send_that_ends_early_says_how_much_has_left(void **state)
{
    (void)state;
    send_until(CANCELLED);
    send_until(CLOSED);
    send_until(PEER_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST_POLL(timers_come_out_in_order_whatever_is_taken_out),
        IO_TEST_POLL(descriptors_stay_blocking),
        IO_TEST_POLL(requests_may_share_a_descriptor),
        IO_TEST_POLL(many_descriptors_share_few_buckets),
        IO_TEST_POLL(closing_by_request_ends_what_waits),
        IO_TEST(a_connect_waits_for_room_in_the_backlog),
        IO_TEST_POLL(blocking_pipes_never_hold_a_turn_up),
        IO_TEST_POLL(nor_do_they_where_the_kernel_has_no_flag_for_that),
        IO_TEST(what_is_always_ready_is_read_and_written_at_once),
        IO_TEST_POLL(every_system_call_is_counted),
        IO_TEST_POLL(a_send_that_ends_early_says_how_much_has_left),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
