/* SPDX-License-Identifier: MIT */
/*
 * How long the ring holds what requests name, whatever the kernel does: its completions are made by
 * the test here, short, late, out of order, or never until the end; its calls fail.
 */
#include "fake_kernel.h"
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOR_EVER (3600 * (int64_t)1000000000)

static struct io open_ring(uint32_t entries, uint32_t receive_blocks)
{
    const struct weir_ring_options options = {.entries = entries,
                                              .receive_blocks = receive_blocks,
                                              .receive_block_bytes = 1024,
                                              .spin_us = WEIR_RING_NO_SPIN};
    /* Small segments, so that they come and go. */
    const struct weir_pool_options pool = {.segment_bytes = 256 << 10};
    struct io io;
    io_open(&io, &pool, &options);
    return io;
}

/* One turn that does not wait. */
static int look(struct io *io)
{
    return weir_ring_run(io->ring, 0);
}

static struct fake_request *taken(struct io *io, const struct io_call *call)
{
    (void)look(io);
    struct fake_request *request = fake_find(&call->op);
    assert_non_null(request);
    return request;
}

/* A send of a block that nobody but the ring holds; the block's address, to look at. */
static struct weir_block *send_block(struct io *io, struct io_call *call, size_t size)
{
    struct weir_slice slice = io_slice(io, size, size);
    struct weir_block *block = slice.block;
    io_call_init(call);
    assert_int_equal(weir_sock_send(io->ring, &call->op, 5, &slice), 0);
    weir_slice_drop(&slice);
    return block;
}

/* --- one request at a time -------------------------------------------------------------------- */

static void a_block_is_held_until_the_last_completion(void **state)
{
    static const int results[] = {1000, 10, 0, -EPIPE, -ECANCELED, -ENOBUFS};
    struct io_call call;

    (void)state;
    fake_reset();
    struct io io = open_ring(8, 4);
    uint64_t idle = io_blocks_in_use(&io);
    for (unsigned i = 0; i < sizeof results / sizeof results[0]; i++) {
        struct weir_block *block = send_block(&io, &call, 1000);
        struct fake_request *request = taken(&io, &call);
        assert_int_equal(look(&io), 0);
        assert_int_equal(io_blocks_in_use(&io), idle + 1);
        assert_true(weir_block_is_exclusive(block));
        fake_complete(request, results[i], 0);
        assert_int_equal(call.completions, 0);
        assert_int_equal(look(&io), 1);
        assert_int_equal(call.completions, 1);
        assert_int_equal(call.result, results[i]);
        assert_int_equal(io_blocks_in_use(&io), idle);
    }
    assert_int_equal(weir_ring_stats(io.ring).sent_bytes, 1010);
    io_close(&io);
}

/* Bytes that the kernel sends from where they lie have a result first, and later a notification:
 * the block stays held whatever the result is. */
static void a_result_with_more_to_come_lets_nothing_go(void **state)
{
    static const int results[] = {1000, 10, -ENOMEM, -EOPNOTSUPP};
    /* What follows: a notification, one with a report of use, an error in its place. */
    static const struct fake_completion ends[] = {
        {.result = 0, .flags = IORING_CQE_F_NOTIF},
        {.result = INT32_MIN, .flags = IORING_CQE_F_NOTIF},
        {.result = -ECANCELED},
    };
    struct io_call call;

    (void)state;
    fake_reset();
    struct io io = open_ring(8, 4);
    uint64_t idle = io_blocks_in_use(&io);
    for (unsigned i = 0; i < 12; i++) {
        const struct fake_completion *end = &ends[i % 3];
        send_block(&io, &call, 1000);
        struct fake_request *request = taken(&io, &call);
        fake_complete(request, results[i / 3], IORING_CQE_F_MORE);
        assert_int_equal(look(&io), 1);
        assert_int_equal(call.completions, 1);
        assert_int_equal(call.ended, 0);
        assert_int_equal(call.result, results[i / 3]);
        assert_true(weir_op_is_active(&call.op));
        assert_int_equal(io_blocks_in_use(&io), idle + 1);
        fake_complete(request, end->result, end->flags);
        assert_int_equal(look(&io), 1);
        assert_int_equal(call.completions, 2);
        assert_int_equal(call.ended, 1);
        assert_int_equal(call.result, results[i / 3]);
        assert_int_equal(io_blocks_in_use(&io), idle);
    }
    assert_int_equal(weir_ring_stats(io.ring).sent_bytes, 3 * 1010);
    io_close(&io);
}

static unsigned waits_left;
static struct weir_op *notified;

/* The notification comes only after many waits, and cancelling does not help. */
static void notify_late(void *context)
{
    (void)context;
    if (waits_left != 0 && --waits_left == 0)
        fake_complete(fake_find(notified), 0, IORING_CQE_F_NOTIF);
}

static void destroying_waits_for_a_notification_that_is_missing(void **state)
{
    struct io_call call;

    (void)state;
    fake_reset();
    struct io io = open_ring(8, 4);
    send_block(&io, &call, 1000);
    fake_complete(taken(&io, &call), 1000, IORING_CQE_F_MORE);
    assert_int_equal(look(&io), 1);
    waits_left = 50;
    notified = &call.op;
    fake.idle = notify_late;
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(waits_left, 0);
    assert_int_equal(call.completions, 2);
    assert_int_equal(call.ended, 1);
    assert_int_equal(call.result, 1000);
    io_close(&io);
}

static int too_late(struct fake_request *request)
{
    (void)request;
    return -EALREADY;
}

static void a_request_that_cannot_be_cancelled_keeps_its_block(void **state)
{
    struct io_call call;

    (void)state;
    fake_reset();
    struct io io = open_ring(8, 4);
    uint64_t idle = io_blocks_in_use(&io);
    send_block(&io, &call, 1000);
    struct fake_request *request = taken(&io, &call);
    fake.cancel = too_late;
    assert_int_equal(weir_op_cancel(&call.op), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_true(look(&io) >= 0);
    assert_int_equal(call.completions, 0);
    assert_int_equal(io_blocks_in_use(&io), idle + 1);
    fake_complete(request, 1000, 0);
    while (call.ended == 0)
        assert_true(look(&io) >= 0);
    assert_int_equal(call.result, 1000);
    assert_int_equal(io_blocks_in_use(&io), idle);
    io_close(&io);
}

/* --- calls that fail -------------------------------------------------------------------------- */

static void a_call_that_fails_loses_and_doubles_nothing(void **state)
{
    static const int errors[] = {-EAGAIN, -EBUSY, -EINTR, -ENOMEM};
    enum { MANY = 40 };
    static struct io_call calls[MANY];

    (void)state;
    for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        fake_reset();
        struct io io = open_ring(4, 4);
        fake.error = errors[e];
        fake.errors_left = 60;
        for (unsigned i = 0; i < MANY; i++)
            send_block(&io, &calls[i], 100 + i);
        /* Two are told; the others are what the next turn sees to. */
        bool told = errors[e] == -EINTR || errors[e] == -ENOMEM;
        unsigned turns = 0, tellings = 0;
        while (fake.errors_left != 0) {
            int rc = look(&io);
            assert_true(rc == 0 || (told && rc == errors[e]));
            tellings += rc != 0;
            turns++;
        }
        assert_int_equal(tellings != 0, told);
        assert_true(turns >= 10); /* the queue does not ask for each of its requests */
        for (unsigned i = 0; i < MANY; i++)
            assert_int_equal(calls[i].completions, 0);
        fake.take_max = 3;
        for (unsigned i = 0; i < MANY; i++) {
            while (fake_find(&calls[i].op) == NULL)
                assert_int_equal(look(&io), 0);
            assert_int_equal(fake_find(&calls[i].op)->sqe.len, 100 + i);
        }
        assert_int_equal(fake.count, MANY + 1); /* and that of the mailbox */
        for (unsigned i = MANY; i-- > 0;)
            fake_complete(fake_find(&calls[i].op), (int)(100 + i), 0);
        while (weir_ring_active(io.ring) != 0)
            assert_true(look(&io) > 0);
        for (unsigned i = 0; i < MANY; i++) {
            assert_int_equal(calls[i].completions, 1);
            assert_int_equal(calls[i].result, 100 + i);
        }
        assert_int_equal(fake.overflows, MANY - 32);
        io_close(&io);
    }
}

/* --- everything at once ----------------------------------------------------------------------- */

enum { OPS = 48, STEPS = 6000, KEPT = 8 };

struct chaos_op {
    struct weir_op op;
    struct iovec iov[3];
    struct weir_block *blocks[3];
    unsigned started;
    unsigned ended;
    unsigned first; /* results of sends that had more */
    uint64_t tag;   /* of a read: what the kernel puts there */
    struct weir_block *read;
};

static struct chaos {
    struct io io;
    struct test_random random;
    struct chaos_op ops[OPS];
    struct weir_slice kept[KEPT];
    uint64_t kept_tags[KEPT];
    uint64_t received; /* bytes that the kernel delivered, less those that were handed out */
    uint64_t tag;      /* of the last receive, in order */
    uint64_t tag_seen;
    bool calm; /* completions only, nothing more goes wrong */
} chaos;

static bool chance(unsigned in)
{
    return test_random_below(&chaos.random, in) == 0;
}

static void chaos_received(struct weir_op *op)
{
    unsigned at = (unsigned)test_random_below(&chaos.random, KEPT);
    assert_true(test_is_filled(op->received.view.data, op->received.view.size, ++chaos.tag_seen));
    assert_int_equal(op->received.view.size, op->result);
    chaos.received -= (uint64_t)op->result;
    if (chance(3)) {
        weir_slice_drop(&chaos.kept[at]);
        chaos.kept[at] = weir_slice_hold(&op->received);
        chaos.kept_tags[at] = chaos.tag_seen;
    }
}

static void chaos_done(struct weir_op *op)
{
    struct chaos_op *at = op->user;
    assert_int_equal(weir_op_is_active(op), op->more);
    if (op->kind == WEIR_OP_RECEIVE && op->result > 0)
        chaos_received(op);
    if (op->more)
        return;
    at->ended++;
    assert_int_equal(at->ended, at->started);
    assert_null(fake_find(op));
    if (at->read != NULL) {
        if (op->result > 0)
            assert_true(test_is_filled(at->read->data, (size_t)op->result, at->tag));
        weir_block_drop(at->read);
        at->read = NULL;
    }
}

static size_t some_size(void)
{
    return 1 + test_random_size(&chaos.random, 5000);
}

static int start_vector(struct chaos_op *at, bool sends)
{
    unsigned count = 1 + (unsigned)test_random_below(&chaos.random, 3);
    for (unsigned i = 0; i < count; i++) {
        size_t size = some_size();
        struct weir_slice slice = io_slice(&chaos.io, size, size);
        at->blocks[i] = slice.block;
        at->iov[i].iov_base = slice.block->data;
        at->iov[i].iov_len = size;
    }
    int rc = sends ? weir_sock_sendv(chaos.io.ring, &at->op, 7, at->iov, at->blocks, count)
                   : weir_file_writev(chaos.io.ring, &at->op, 8, at->iov, at->blocks, count, 0);
    /* From now on it is the ring alone that holds them. */
    struct weir_block *mine[3];
    memcpy(mine, at->blocks, sizeof mine);
    for (unsigned i = 0; i < count; i++)
        weir_block_drop(mine[i]);
    return rc;
}

static int start_some(struct chaos_op *at)
{
    struct weir_ring *ring = chaos.io.ring;
    struct weir_slice slice;
    int rc;
    switch (test_random_below(&chaos.random, 7)) {
    case 0:
    case 1:
        slice = io_slice(&chaos.io, some_size(), 9);
        rc = chance(2) ? weir_sock_send(ring, &at->op, 6, &slice)
                       : weir_file_write(ring, &at->op, 8, &slice, 0);
        weir_slice_drop(&slice);
        return rc;
    case 2:
        return start_vector(at, true);
    case 3:
        return start_vector(at, false);
    case 4:
        slice = io_slice(&chaos.io, some_size(), 10);
        at->read = slice.block;
        at->tag = test_random(&chaos.random);
        return weir_file_read(ring, &at->op, 9, at->read, 0, slice.view.size, 0);
    case 5:
        return weir_ring_timeout(ring, &at->op, FOR_EVER);
    default:
        return weir_file_sync(ring, &at->op, 8, chance(2));
    }
}

/* What the kernel may say to a request that it has. */
static void complete_some(struct fake_request *request)
{
    static const int errors[] = {-EIO, -ECANCELED, -EINTR, -EAGAIN, -ENOMEM, -EPIPE};
    const struct io_uring_sqe *sqe = &request->sqe;
    struct weir_op *op = (struct weir_op *)(uintptr_t)sqe->user_data;
    int error = errors[test_random_below(&chaos.random, 6)];
    switch (sqe->opcode) {
    case IORING_OP_POLL_ADD:
        break; /* the mailbox */
    case IORING_OP_RECV:
        chaos.tag++;
        int got = fake_receive(request, some_size(), chaos.tag, !chance(4));
        if (got > 0)
            chaos.received += (uint64_t)got;
        else
            chaos.tag--;
        break;
    case IORING_OP_READ:
    case IORING_OP_READ_FIXED: {
        struct chaos_op *at = op->user;
        size_t size = test_random_size(&chaos.random, sqe->len);
        test_fill((uint8_t *)(uintptr_t)sqe->addr, size, at->tag);
        fake_complete(request, chance(4) ? error : (int)size, 0);
        break;
    }
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
        if (request->notifies)
            fake_complete(request, chance(3) ? error : 0, chance(3) ? 0 : IORING_CQE_F_NOTIF);
        else
            fake_complete(request, chance(4) ? error : 1, chance(3) ? IORING_CQE_F_MORE : 0);
        break;
    case IORING_OP_TIMEOUT:
        fake_complete(request, -ETIME, 0);
        break;
    default:
        fake_complete(request, chance(4) ? error : 0, 0);
        break;
    }
}

/* Complete any of the requests that the kernel has. */
static void progress(void *context)
{
    unsigned at = (unsigned)test_random_below(&chaos.random, FAKE_REQUESTS);
    (void)context;
    for (unsigned i = 0; i < FAKE_REQUESTS; i++) {
        struct fake_request *request = &fake.requests[(at + i) % FAKE_REQUESTS];
        if (!request->used || request->sqe.opcode == IORING_OP_POLL_ADD)
            continue;
        complete_some(request);
        return;
    }
}

static int cancel_some(struct fake_request *request)
{
    if (request == NULL || request->notifies)
        return -ENOENT;
    if (!chaos.calm && chance(3))
        return chance(2) ? -EALREADY : -ENOENT;
    fake_complete(request, chance(4) ? -EINTR : -ECANCELED, 0);
    return 0;
}

static void spoil(void)
{
    static const int errors[] = {-EAGAIN, -EBUSY, -EINTR, -ENOMEM};
    fake.take_max = chance(3) ? (unsigned)test_random_below(&chaos.random, 4) : UINT32_MAX;
    if (chance(10)) {
        fake.error = errors[test_random_below(&chaos.random, 4)];
        fake.errors_left = 1 + (unsigned)test_random_below(&chaos.random, 3);
    }
}

/* Whatever was freed is somebody else's at once. */
static void churn(void)
{
    struct weir_slice slice = io_slice(&chaos.io, some_size(), test_random(&chaos.random));
    weir_slice_drop(&slice);
}

static void start_all(struct weir_ring *ring)
{
    for (unsigned i = 0; i < OPS; i++)
        weir_op_init(&chaos.ops[i].op, chaos_done, &chaos.ops[i]);
    assert_int_equal(weir_sock_receive(ring, &chaos.ops[0].op, 4), 0);
    chaos.ops[0].started = 1;
}

static void step(void)
{
    struct chaos_op *at = &chaos.ops[test_random_below(&chaos.random, OPS)];
    if (!weir_op_is_active(&at->op)) {
        at->started++;
        int rc = at == chaos.ops ? weir_sock_receive(chaos.io.ring, &at->op, 4) : start_some(at);
        assert_int_equal(rc, 0);
    } else if (chance(6)) {
        assert_int_equal(weir_op_cancel(&at->op), 0);
    }
    churn();
    if (chance(20))
        weir_pool_trim(chaos.io.pool, 0);
    spoil();
    uint64_t most = chance(12) ? 64 : 4;
    for (uint64_t some = test_random_below(&chaos.random, most); some != 0; some--)
        progress(NULL);
    if (chance(2)) {
        int rc = weir_ring_run(chaos.io.ring, chance(3) ? 1000000 : 0);
        assert_true(rc >= 0 || rc == -EINTR || rc == -ENOMEM);
    }
    unsigned kept = (unsigned)test_random_below(&chaos.random, KEPT);
    if (chaos.kept[kept].block != NULL && chance(4)) {
        struct weir_view bytes = chaos.kept[kept].view;
        assert_true(test_is_filled(bytes.data, bytes.size, chaos.kept_tags[kept]));
        weir_slice_drop(&chaos.kept[kept]);
    }
}

static void whatever_the_kernel_does_blocks_are_held_and_nothing_is_lost(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        fake_reset();
        memset(&chaos, 0, sizeof chaos);
        test_random_init(&chaos.random);
        fake.by_parts = round % 2;
        chaos.io = open_ring(round < 2 ? 1 : 16, 4);
        fake.idle = progress;
        fake.cancel = cancel_some;
        start_all(chaos.io.ring);
        for (unsigned i = 0; i < STEPS; i++)
            step();
        assert_true(round >= 2 || fake.overflows != 0);
        assert_true(fake.fixed != 0 && fake.unregistered != 0);
        fake.take_max = UINT32_MAX;
        fake.errors_left = 0;
        chaos.calm = true;
        weir_ring_destroy(chaos.io.ring);
        chaos.io.ring = NULL;
        for (unsigned i = 0; i < OPS; i++)
            assert_int_equal(chaos.ops[i].ended, chaos.ops[i].started);
        assert_int_equal(chaos.tag_seen, chaos.tag);
        assert_int_equal(chaos.received, 0);
        for (unsigned i = 0; i < KEPT; i++)
            weir_slice_drop(&chaos.kept[i]);
        io_close(&chaos.io);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST_ONCE(a_block_is_held_until_the_last_completion),
        IO_TEST_ONCE(a_result_with_more_to_come_lets_nothing_go),
        IO_TEST_ONCE(destroying_waits_for_a_notification_that_is_missing),
        IO_TEST_ONCE(a_request_that_cannot_be_cancelled_keeps_its_block),
        IO_TEST_ONCE(a_call_that_fails_loses_and_doubles_nothing),
        IO_TEST_ONCE(whatever_the_kernel_does_blocks_are_held_and_nothing_is_lost),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
