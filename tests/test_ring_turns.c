/* SPDX-License-Identifier: MIT */
/* Turns in a row, times that requests are bound to, cancels of many, and the end of a ring. */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../lib/ring_backend.h"

#define MS 1000000

/* --- times ------------------------------------------------------------------------------------ */

static void a_timeout_may_be_at_a_time(void **state)
{
    struct io io;
    struct io_call calls[4];
    int64_t now = weir__now_ns();

    (void)state;
    io_open(&io, NULL, NULL);
    for (unsigned i = 0; i < 4; i++)
        io_call_init(&calls[i]);
    assert_int_equal(weir_ring_timeout_at(io.ring, &calls[0].op, now + 20 * MS), 0);
    assert_int_equal(weir_ring_timeout_at(io.ring, &calls[1].op, now - 5000 * (int64_t)MS), 0);
    assert_int_equal(weir_ring_timeout_at(io.ring, &calls[2].op, INT64_MIN), 0);
    assert_int_equal(weir_ring_timeout_at(io.ring, &calls[3].op, INT64_MAX), 0);
    assert_int_equal(io_call_wait(&io, &calls[1]), 0);
    assert_int_equal(io_call_wait(&io, &calls[2]), 0);
    assert_int_equal(io_call_wait(&io, &calls[0]), 0);
    assert_true(weir__now_ns() - now >= 20 * MS);
    assert_int_equal(calls[3].completions, 0);
    assert_int_equal(weir_op_cancel(&calls[3].op), 0);
    assert_int_equal(io_call_wait(&io, &calls[3]), -ECANCELED);
    /* The next one of the same op is relative again. */
    assert_int_equal(weir_ring_timeout(io.ring, &calls[3].op, 3600 * (int64_t)1000 * MS), 0);
    io_turns_for(&io, 5);
    assert_int_equal(calls[3].completions, 1);
    io_close(&io);
}

static void a_request_that_takes_too_long_is_ended(void **state)
{
    struct io io;
    struct io_call receive, timer, slow;
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    for (unsigned round = 0; round < 2; round++) {
        io_call_init(&receive);
        io_call_init(&timer);
        assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
        assert_int_equal(weir_op_limit(&receive.op, &timer.op, (int64_t)round * 5 * MS), 0);
        assert_int_equal(io_call_wait(&io, &receive), -ETIMEDOUT);
        assert_int_equal(io_call_wait(&io, &timer), 0);
        assert_int_equal(receive.completions, 1);
        assert_int_equal(timer.completions, 1);
    }
    /* Any kind, a timeout too. */
    io_call_init(&slow);
    assert_int_equal(weir_ring_timeout(io.ring, &slow.op, INT64_MAX), 0);
    assert_int_equal(weir_op_limit(&slow.op, &timer.op, MS), 0);
    timer.ended = 0;
    assert_int_equal(io_call_wait(&io, &slow), -ETIMEDOUT);
    assert_int_equal(io_call_wait(&io, &timer), 0);
    /* Cancelled by hand it is cancelled, then as before. */
    assert_int_equal(weir_ring_timeout(io.ring, &slow.op, INT64_MAX), 0);
    slow.ended = 0;
    assert_int_equal(weir_op_cancel(&slow.op), 0);
    assert_int_equal(io_call_wait(&io, &slow), -ECANCELED);
    close(fds[0]);
    close(fds[1]);
    io_close(&io);
}

static void a_request_that_is_in_time_ends_its_bound(void **state)
{
    struct io io;
    struct io_call receive, timer, second;
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_call_init(&receive);
    io_call_init(&timer);
    io_call_init(&second);
    assert_int_equal(weir_op_limit(&receive.op, &timer.op, MS), -ENOENT);
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
    assert_int_equal(weir_op_limit(&receive.op, &timer.op, INT64_MAX), 0);
    assert_int_equal(weir_op_limit(&receive.op, &second.op, MS), -EBUSY);
    assert_false(weir_op_is_active(&second.op));
    /* What counts is its end, not what it brings. */
    io_write_all(fds[1], "x", 1);
    io_until(&io, &receive.completions, 1);
    assert_int_equal(timer.completions, 0);
    /* Without its timer it goes on, and may have another. */
    assert_int_equal(weir_op_cancel(&timer.op), 0);
    assert_int_equal(io_call_wait(&io, &timer), -ECANCELED);
    assert_int_equal(receive.ended, 0);
    assert_int_equal(weir_op_limit(&receive.op, &second.op, INT64_MAX), 0);
    close(fds[1]);
    assert_int_equal(io_call_wait(&io, &receive), 0);
    assert_int_equal(io_call_wait(&io, &second), -ECANCELED);
    assert_int_equal(receive.completions, 2);
    assert_int_equal(second.completions, 1);
    assert_int_equal(weir_ring_active(io.ring), 0);
    close(fds[0]);
    io_close(&io);
}

static void destroying_ends_a_request_and_its_bound(void **state)
{
    struct io io;
    struct io_call calls[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_call_init(&calls[0]);
    io_call_init(&calls[1]);
    assert_int_equal(weir_ring_timeout(io.ring, &calls[0].op, INT64_MAX), 0);
    assert_int_equal(weir_op_limit(&calls[0].op, &calls[1].op, INT64_MAX), 0);
    io_close(&io);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(calls[i].completions, 1);
        assert_int_equal(calls[i].result, -ECANCELED);
    }
}

/* --- cancels of many -------------------------------------------------------------------------- */

static void all_requests_on_a_descriptor_are_cancelled(void **state)
{
    struct io io;
    struct io_call receive, send, other, timer;
    int fds[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_stuff(fds[0]);
    io_call_init(&receive);
    io_call_init(&send);
    io_call_init(&other);
    io_call_init(&timer);
    struct weir_slice slice = io_slice(&io, 1000, 1);
    assert_int_equal(weir_ring_cancel_fd(io.ring, fds[0]), 0);
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
    assert_int_equal(weir_sock_send(io.ring, &send.op, fds[0], &slice), 0);
    assert_int_equal(weir_ring_timeout(io.ring, &timer.op, INT64_MAX), 0);
    int pair[2];
    io_pair(pair, false);
    assert_int_equal(weir_sock_receive(io.ring, &other.op, pair[0]), 0);
    io_turns_for(&io, 2);
    assert_int_equal(weir_ring_cancel_fd(io.ring, fds[0]), 2);
    assert_int_equal(io_call_wait(&io, &receive), -ECANCELED);
    assert_int_equal(io_call_wait(&io, &send), -ECANCELED);
    assert_true(weir_block_is_exclusive(slice.block));
    assert_int_equal(other.completions + timer.completions, 0);
    assert_int_equal(weir_ring_cancel_all(io.ring), 2);
    assert_int_equal(io_call_wait(&io, &other), -ECANCELED);
    assert_int_equal(io_call_wait(&io, &timer), -ECANCELED);
    assert_int_equal(weir_ring_cancel_all(io.ring), 0);
    weir_slice_drop(&slice);
    for (unsigned i = 0; i < 2; i++) {
        close(fds[i]);
        close(pair[i]);
    }
    io_close(&io);
}

/* --- turns in a row --------------------------------------------------------------------------- */

static int run_for(struct io *io, int64_t time_ns)
{
    int rc;
    while ((rc = weir_ring_run_for(io->ring, time_ns)) == -EINTR) {
    }
    return rc;
}

static void turns_go_on_for_a_time(void **state)
{
    struct io io;
    struct io_call calls[3];

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(run_for(&io, 3600 * (int64_t)1000 * MS), 0); /* nothing to wait for */
    for (unsigned i = 0; i < 3; i++) {
        io_call_init(&calls[i]);
        assert_int_equal(weir_ring_timeout(io.ring, &calls[i].op, (i + 1) * MS), 0);
    }
    assert_int_equal(run_for(&io, 3600 * (int64_t)1000 * MS), 3);
    assert_int_equal(weir_ring_timeout(io.ring, &calls[0].op, INT64_MAX), 0);
    uint64_t begin = io_now_ms();
    assert_int_equal(run_for(&io, 10 * MS), 0);
    assert_true(io_now_ms() - begin >= 9);
    assert_int_equal(run_for(&io, 0), 0);
    assert_int_equal(calls[0].completions, 1);
    io_close(&io);
}

static void set_flag(struct weir_op *op)
{
    *(bool *)op->user = true;
}

static int run_until(struct io *io, const bool *flag, int64_t timeout_ns)
{
    int rc;
    while ((rc = weir_ring_run_until(io->ring, flag, timeout_ns)) == -EINTR) {
    }
    return rc;
}

static int op_wait(struct weir_op *op, int64_t timeout_ns)
{
    int rc;
    while ((rc = weir_op_wait(op, timeout_ns)) == -EINTR) {
    }
    return rc;
}

static void turns_go_on_until_something_has_happened(void **state)
{
    struct weir_op op, polled;
    struct io io;
    bool flag = false;

    (void)state;
    io_open(&io, NULL, NULL);
    weir_op_init(&op, set_flag, &flag);
    weir_op_init(&polled, NULL, NULL);
    assert_int_equal(run_until(&io, &flag, -1), -EDEADLK);
    assert_int_equal(op_wait(&polled, -1), 0); /* was never started */
    assert_int_equal(weir_ring_timeout(io.ring, &op, 5 * MS), 0);
    assert_int_equal(weir_ring_timeout(io.ring, &polled, 30 * MS), 0);
    assert_int_equal(run_until(&io, &flag, 0), -ETIME);
    assert_int_equal(run_until(&io, &flag, -1), 0);
    assert_int_equal(run_until(&io, &flag, 0), 0);
    assert_int_equal(op_wait(&op, -1), 0);
    assert_int_equal(op_wait(&polled, -1), 0);
    assert_int_equal(polled.result, 0);
    assert_int_equal(weir_ring_timeout(io.ring, &polled, INT64_MAX), 0);
    assert_int_equal(op_wait(&polled, 3 * MS), -ETIME);
    assert_int_equal(weir_op_cancel(&polled), 0);
    assert_int_equal(op_wait(&polled, 3600 * (int64_t)1000 * MS), 0);
    assert_int_equal(polled.result, -ECANCELED);
    io_close(&io);
}

/* --- calls from callbacks --------------------------------------------------------------------- */

static struct weir_ring *nested_ring;

static void run_from_done(struct weir_op *op)
{
    (void)op;
    weir_ring_run(nested_ring, 0);
}

static void destroy_from_task(struct weir_task *task)
{
    (void)task;
    weir_ring_destroy(nested_ring);
}

static void nest(void *context)
{
    struct weir_pool *pool = NULL;
    struct weir_op op;
    struct weir_task task = {.run = destroy_from_task};
    const struct weir_ring_options options = {.backend = io_backend};
    if (weir_pool_create(NULL, &pool) != 0 || weir_ring_create(pool, &options, &nested_ring) != 0)
        return;
    weir_op_init(&op, run_from_done, NULL);
    if (*(const bool *)context)
        weir_ring_defer(nested_ring, &task);
    else if (weir_ring_timeout(nested_ring, &op, 0) != 0)
        return;
    for (unsigned i = 0; i < 1000; i++)
        weir_ring_run(nested_ring, MS);
}

static void a_ring_is_not_run_from_within(void **state)
{
    bool destroys[] = {false, true};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL); /* skips where there is no io_uring */
    io_close(&io);
    for (unsigned i = 0; i < 2; i++)
        assert_true(test_dies(nest, &destroys[i]));
}

/* --- the end ---------------------------------------------------------------------------------- */

struct last_will {
    struct weir_ending ending;
    struct weir_ending *removes;
    struct weir_ring *ring;
    struct weir_op *op; /* still active then */
    unsigned runs;
    unsigned place;
    unsigned *clock;
};

static void will_run(struct weir_ending *ending)
{
    struct last_will *will = ending->user;
    struct weir_op op;
    will->runs++;
    will->place = (*will->clock)++;
    weir_op_init(&op, NULL, NULL);
    assert_int_equal(weir_ring_timeout(will->ring, &op, 0), -ECANCELED);
    assert_true(weir_op_is_active(will->op));
    if (will->removes != NULL)
        weir_ring_remove_ending(will->removes);
}

static void endings_run_once_before_requests_are_cancelled(void **state)
{
    struct last_will wills[4];
    struct io_call call;
    struct io io;
    unsigned clock = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    io_call_init(&call);
    memset(wills, 0, sizeof wills);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, INT64_MAX), 0);
    for (unsigned i = 0; i < 4; i++) {
        wills[i].ending.run = will_run;
        wills[i].ending.user = &wills[i];
        wills[i].ring = io.ring;
        wills[i].op = &call.op;
        wills[i].clock = &clock;
        weir_ring_add_ending(io.ring, &wills[i].ending);
    }
    wills[3].removes = &wills[1].ending;
    weir_ring_remove_ending(&wills[2].ending);
    weir_ring_remove_ending(&wills[2].ending);
    io_turn(&io);
    assert_int_equal(clock, 0);
    io_close(&io);
    assert_int_equal(clock, 2);
    assert_int_equal(wills[3].place, 0); /* the last added is the first */
    assert_int_equal(wills[0].place, 1);
    assert_int_equal(wills[1].runs + wills[2].runs, 0);
    assert_int_equal(call.result, -ECANCELED);
}

/* --- reasons ---------------------------------------------------------------------------------- */

static void why_io_uring_is_not_allowed_is_told_as_far_as_it_is_known(void **state)
{
    static const struct {
        int disabled;
        bool filtered;
        const char *text;
    } all[] = {
        {2, false, "io_uring is not allowed here (sysctl kernel.io_uring_disabled)"},
        {1, true, "io_uring is not allowed here (sysctl kernel.io_uring_disabled)"},
        {0, true, "io_uring is not allowed here (a seccomp filter)"},
        {-1, true, "io_uring is not allowed here (a seccomp filter)"},
        {0, false, "io_uring is not allowed here (a security module or the like)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_string_equal(weir__uring_forbidden(all[i].disabled, all[i].filtered), all[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_timeout_may_be_at_a_time),
        IO_TEST(a_request_that_takes_too_long_is_ended),
        IO_TEST(a_request_that_is_in_time_ends_its_bound),
        IO_TEST(destroying_ends_a_request_and_its_bound),
        IO_TEST(all_requests_on_a_descriptor_are_cancelled),
        IO_TEST(turns_go_on_for_a_time),
        IO_TEST(turns_go_on_until_something_has_happened),
        IO_TEST(a_ring_is_not_run_from_within),
        IO_TEST(endings_run_once_before_requests_are_cancelled),
        IO_TEST_ONCE(why_io_uring_is_not_allowed_is_told_as_far_as_it_is_known),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
