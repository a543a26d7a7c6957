/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000

/* --- the pool --------------------------------------------------------------------------------- */

#define LOAN_BLOCKS 64

/* Blocks of a pool in the hands of another thread. */
struct loan {
    struct weir_pool *pool;
    struct weir_block *blocks[LOAN_BLOCKS];
    bool trims;
};

static void *give_back(void *argument)
{
    struct loan *loan = argument;
    for (unsigned i = 0; i < LOAN_BLOCKS; i++)
        weir_block_drop(loan->blocks[i]);
    /* 0 is what it returns elsewhere than on the owner's thread. */
    return loan->trims && weir_pool_trim(loan->pool, 0) != 0 ? loan : NULL;
}

/* The owner takes nothing, it only runs its ring: one turn, which has a timeout to wait for. */
static struct weir_pool_stats after_a_turn(struct loan *loan,
                                           const struct weir_pool_options *options)
{
    struct weir_pool_stats stats;
    struct io_call call;
    struct weir_ring *ring;
    pthread_t thread;
    void *result;

    assert_int_equal(weir_pool_create(options, &loan->pool), 0);
    assert_int_equal(io_ring_create(loan->pool, NULL, &ring), 0);
    for (unsigned i = 0; i < LOAN_BLOCKS; i++)
        assert_int_equal(weir_pool_alloc(loan->pool, 65536, &loan->blocks[i]), 0);
    assert_int_equal(pthread_create(&thread, NULL, give_back, loan), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    weir_pool_stats(loan->pool, &stats);
    assert_int_equal(stats.total.remote_releases, 0);
    assert_true(stats.bytes_in_use_peak >= LOAN_BLOCKS * 65536);

    io_call_init(&call);
    assert_int_equal(weir_ring_timeout(ring, &call.op, 0), 0);
    uint64_t allocations = stats.total.allocations;
    assert_int_not_equal(weir_ring_run(ring, -1), 0);
    weir_pool_stats(loan->pool, &stats);
    assert_int_equal(stats.total.allocations, allocations);
    assert_int_equal(stats.total.remote_releases, LOAN_BLOCKS);
    weir_ring_destroy(ring);
    test_pool_destroy(loan->pool);
    return stats;
}

static void a_turn_takes_back_what_other_threads_dropped(void **state)
{
    struct loan loan = {.trims = false};
    struct weir_pool_stats stats = after_a_turn(&loan, NULL);

    (void)state;
    assert_true(stats.bytes_held >= LOAN_BLOCKS * 65536); /* nobody asked for a trim */
    assert_int_equal(stats.source_bytes_returned, 0);
}

static void a_turn_does_the_trim_that_another_thread_asked_for(void **state)
{
    struct loan loan = {.trims = true};
    struct weir_pool_stats stats = after_a_turn(&loan, NULL);

    (void)state;
    assert_true(stats.source_bytes_returned >= LOAN_BLOCKS * 65536 / 2);
    assert_int_equal(stats.bytes_free, 0);
}

static void a_turn_keeps_the_retention_limit(void **state)
{
    const struct weir_pool_options options = {.retain_bytes = 1};
    struct loan loan = {.trims = false};
    struct weir_pool_stats stats = after_a_turn(&loan, &options);

    (void)state;
    assert_true(stats.source_bytes_returned >= LOAN_BLOCKS * 65536 / 2);
    assert_int_equal(stats.bytes_free, 0);
}

/* --- timeouts and cancelling ------------------------------------------------------------------ */

struct ordered {
    struct weir_op op;
    unsigned delay_ms;
    uint64_t started_ms;
    unsigned *fired; /* how many before */
    unsigned place;
};

static void ordered_done(struct weir_op *op)
{
    struct ordered *timer = op->user;
    assert_int_equal(op->result, 0);
    assert_true(io_now_ms() - timer->started_ms + 1 >= timer->delay_ms);
    timer->place = (*timer->fired)++;
}

static void timeouts_fire_in_the_order_of_their_times(void **state)
{
    struct io io;
    struct ordered timers[16];
    unsigned fired = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    for (unsigned i = 0; i < 16; i++) {
        timers[i].delay_ms = 4 + (i * 7 % 16) * 4;
        timers[i].fired = &fired;
        timers[i].started_ms = io_now_ms();
        weir_op_init(&timers[i].op, ordered_done, &timers[i]);
        assert_int_equal(
            weir_ring_timeout(io.ring, &timers[i].op, (int64_t)timers[i].delay_ms * MS), 0);
    }
    assert_int_equal(weir_ring_active(io.ring), 16);
    io_until(&io, &fired, 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(timers[i].place, i * 7 % 16);
    assert_int_equal(weir_ring_active(io.ring), 0);
    io_close(&io);
}

static void a_cancelled_timeout_ends_at_once(void **state)
{
    struct io io;
    struct io_call call;

    (void)state;
    io_open(&io, NULL, NULL);
    io_call_init(&call);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, INT64_MAX), 0);
    io_turn(&io);
    assert_int_equal(weir_op_cancel(&call.op), 0);
    assert_int_equal(weir_op_cancel(&call.op), 0);
    assert_int_equal(io_call_wait(&io, &call), -ECANCELED);
    /* And one that was not even handed to the kernel, and the same op again. */
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, INT64_MAX), 0);
    assert_int_equal(weir_op_cancel(&call.op), 0);
    call.ended = 0;
    assert_int_equal(io_call_wait(&io, &call), -ECANCELED);
    call.ended = 0;
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, MS), 0);
    assert_int_equal(io_call_wait(&io, &call), 0);
    assert_int_equal(call.completions, 3);
    io_close(&io);
}

static void cancelling_an_idle_op_is_enoent(void **state)
{
    struct io io;
    struct io_call call;

    (void)state;
    io_open(&io, NULL, NULL);
    io_call_init(&call);
    assert_int_equal(weir_op_cancel(&call.op), -ENOENT);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, 0), 0);
    assert_int_equal(io_call_wait(&io, &call), 0);
    assert_int_equal(weir_op_cancel(&call.op), -ENOENT);
    io_turn(&io);
    assert_int_equal(call.completions, 1);
    io_close(&io);
}

struct keeper {
    struct weir_op op;
    struct weir_slice kept;
    unsigned kept_count;
    unsigned ended;
};

static void keep_first(struct weir_op *op)
{
    struct keeper *keeper = op->user;
    keeper->ended += !op->more;
    if (op->result > 0 && keeper->kept_count++ == 0)
        keeper->kept = weir_slice_hold(&op->received);
}

/* A receive that found no block waits in the queue, and what is started then queues behind it. */
static void a_request_that_waits_in_the_queue_can_be_cancelled(void **state)
{
    struct weir_pool_options pool = {.limit_bytes = 8u << 20};
    struct weir_ring_options options = {
        .receive_blocks = 1, .receive_block_bytes = 4096, .without = WEIR_RING_RECEIVE_BY_PARTS};
    struct io io;
    struct keeper receive = {.ended = 0};
    struct io_call timer, late;
    static struct io_hoard hoard;
    int fds[2];

    (void)state;
    io_open(&io, &pool, &options);
    io_pair(fds, false);
    weir_op_init(&receive.op, keep_first, &receive);
    io_call_init(&timer);
    io_call_init(&late);
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
    io_hoard_take(&io, &hoard, 4096);
    io_write_all(fds[1], "one", 3);
    io_until(&io, &receive.kept_count, 1);
    io_write_all(fds[1], "two", 3);
    while (weir_ring_stats(io.ring).receive_starved == 0)
        io_turn(&io);
    assert_int_equal(weir_ring_timeout(io.ring, &timer.op, INT64_MAX), 0);
    assert_int_equal(weir_op_cancel(&timer.op), 0);
    assert_int_equal(weir_ring_timeout(io.ring, &late.op, MS), 0);
    assert_int_equal(weir_op_cancel(&receive.op), 0);
    assert_int_equal(io_call_wait(&io, &timer), -ECANCELED);
    io_until(&io, &receive.ended, 1);
    assert_int_equal(receive.op.result, -ECANCELED);
    assert_int_equal(receive.kept_count, 1);
    assert_int_equal(io_call_wait(&io, &late), 0);
    assert_memory_equal(receive.kept.view.data, "one", 3);
    weir_slice_drop(&receive.kept);
    io_hoard_drop(&hoard);
    /* What was not received is still there. */
    receive.ended = 0;
    assert_int_equal(weir_sock_receive(io.ring, &receive.op, fds[0]), 0);
    io_until(&io, &receive.kept_count, 2);
    assert_int_equal(weir_ring_stats(io.ring).received_bytes, 6);
    close(fds[1]);
    io_until(&io, &receive.ended, 1);
    assert_int_equal(receive.op.result, 0);
    close(fds[0]);
    io_close(&io);
}

/* --- many requests ---------------------------------------------------------------------------- */

static void more_requests_than_entries_each_complete_once(void **state)
{
    enum { MANY = 5000 };
    static struct io_call calls[MANY];
    struct weir_ring_options options = {.entries = 4};
    struct io io;

    (void)state;
    io_open(&io, NULL, &options);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            io_call_init(&calls[i]);
            assert_int_equal(weir_ring_timeout(io.ring, &calls[i].op, i % 3 * MS), 0);
        }
        assert_int_equal(weir_ring_active(io.ring), MANY);
        assert_int_equal(weir_ring_stats(io.ring).active, MANY);
        while (weir_ring_active(io.ring) != 0)
            io_turn(&io);
        for (unsigned i = 0; i < MANY; i++) {
            assert_int_equal(calls[i].completions, 1);
            assert_int_equal(calls[i].ended, 1);
            assert_int_equal(calls[i].result, 0);
        }
    }
    assert_int_equal(weir_ring_stats(io.ring).completions, 3 * MANY);
    assert_int_equal(weir_ring_stats(io.ring).requests, 3 * MANY);
    io_close(&io);
}

/* All fall due in one moment, while nobody looks: 160 times the completion queue. */
static void a_burst_larger_than_the_completion_queue_loses_nothing(void **state)
{
    enum { MANY = 5120 };
    static struct io_call calls[MANY];
    struct weir_ring_options options = {.entries = 4};
    struct io io;

    (void)state;
    io_open(&io, NULL, &options);
    for (unsigned i = 0; i < MANY; i++) {
        io_call_init(&calls[i]);
        assert_int_equal(weir_ring_timeout(io.ring, &calls[i].op, 20 * MS), 0);
    }
    weir_ring_run(io.ring, 0);
    usleep(60000);
    while (weir_ring_active(io.ring) != 0)
        io_turn(&io);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(calls[i].completions, 1);
    io_close(&io);
}

/* Cancels too need entries; each must reach its request. */
static void more_cancels_than_entries_all_arrive(void **state)
{
    enum { MANY = 1000 };
    static struct io_call calls[MANY];
    struct weir_ring_options options = {.entries = 2};
    struct io io;

    (void)state;
    io_open(&io, NULL, &options);
    for (unsigned i = 0; i < MANY; i++) {
        io_call_init(&calls[i]);
        assert_int_equal(weir_ring_timeout(io.ring, &calls[i].op, INT64_MAX), 0);
    }
    for (unsigned i = MANY; i-- > 0;)
        assert_int_equal(weir_op_cancel(&calls[i].op), 0);
    while (weir_ring_active(io.ring) != 0)
        io_turn(&io);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(calls[i].completions, 1);
        assert_int_equal(calls[i].result, -ECANCELED);
    }
    io_close(&io);
}

/* The peer's end wakes a blocked send, the kernel moves it to a worker thread, and a cancel that
 * only interrupts it there after a part has left makes it try the rest again. */
static void a_cancel_that_the_kernel_loses_is_asked_again(void **state)
{
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    for (unsigned destroy = 0; destroy < 2; destroy++) {
        io_open(&io, NULL, NULL);
        io_pair(fds, false);
        io_shrink(fds[0]);
        io_shrink(fds[1]);
        struct weir_slice slice = io_slice(&io, 200000, 1);
        io_call_init(&call);
        assert_int_equal(weir_sock_send(io.ring, &call.op, fds[0], &slice), 0);
        weir_slice_drop(&slice);
        for (unsigned i = 0; i < 10; i++)
            weir_ring_run(io.ring, MS / 10);
        shutdown(fds[1], SHUT_WR);
        weir_ring_run(io.ring, 0);
        assert_int_equal(weir_op_cancel(&call.op), 0);
        if (destroy) {
            weir_ring_destroy(io.ring);
            io.ring = NULL;
        } else {
            while (call.ended == 0)
                assert_true(io_wait(&io, -1) >= 0);
        }
        assert_int_equal(call.completions, 1);
        assert_true(call.result < 200000);
        close(fds[0]);
        close(fds[1]);
        io_close(&io);
    }
}

/* --- done functions --------------------------------------------------------------------------- */

struct repeat {
    struct weir_op op;
    struct weir_ring *ring;
    unsigned left;
    unsigned rounds;
};

static void repeat_done(struct weir_op *op)
{
    struct repeat *repeat = op->user;
    repeat->rounds++;
    if (--repeat->left != 0)
        assert_int_equal(weir_ring_timeout(repeat->ring, op, 0), 0);
}

static void a_done_function_may_start_its_own_op_again(void **state)
{
    struct io io;
    struct repeat repeat = {.left = 1000};

    (void)state;
    io_open(&io, NULL, NULL);
    repeat.ring = io.ring;
    weir_op_init(&repeat.op, repeat_done, &repeat);
    assert_int_equal(weir_ring_timeout(io.ring, &repeat.op, 0), 0);
    io_until(&io, &repeat.rounds, 1000);
    assert_int_equal(weir_ring_active(io.ring), 0);
    io_close(&io);
}

static unsigned freed;

static void free_done(struct weir_op *op)
{
    freed++;
    memset(op, 0xa5, sizeof *op);
    free(op);
}

static void a_done_function_may_free_its_op(void **state)
{
    struct io io;
    struct weir_ring_options options = {.entries = 8};

    (void)state;
    io_open(&io, NULL, &options);
    freed = 0;
    for (unsigned i = 0; i < 500; i++) {
        struct weir_op *op = malloc(sizeof *op);
        weir_op_init(op, free_done, NULL);
        assert_int_equal(weir_ring_timeout(io.ring, op, i % 4 * MS), 0);
        if (i % 5 == 0)
            assert_int_equal(weir_op_cancel(op), 0);
    }
    io_until(&io, &freed, 300);
    weir_ring_destroy(io.ring); /* frees the others */
    assert_int_equal(freed, 500);
    io.ring = NULL;
    io_close(&io);
}

struct pack {
    struct io_call calls[40];
    struct weir_op first;
};

static void cancel_others(struct weir_op *op)
{
    struct pack *pack = op->user;
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(weir_op_cancel(&pack->calls[i].op), 0);
}

static void a_done_function_may_cancel_others(void **state)
{
    struct io io;
    struct weir_ring_options options = {.entries = 4};
    static struct pack pack;

    (void)state;
    io_open(&io, NULL, &options);
    for (unsigned i = 0; i < 40; i++) {
        io_call_init(&pack.calls[i]);
        assert_int_equal(weir_ring_timeout(io.ring, &pack.calls[i].op, INT64_MAX), 0);
    }
    weir_op_init(&pack.first, cancel_others, &pack);
    assert_int_equal(weir_ring_timeout(io.ring, &pack.first, MS), 0);
    while (weir_ring_active(io.ring) != 0)
        io_turn(&io);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(pack.calls[i].result, -ECANCELED);
    io_close(&io);
}

static void an_op_without_a_done_function_keeps_its_result(void **state)
{
    struct io io;
    struct weir_op op;

    (void)state;
    io_open(&io, NULL, NULL);
    weir_op_init(&op, NULL, NULL);
    assert_false(weir_op_is_active(&op));
    assert_int_equal(weir_file_close(io.ring, &op, 99999), 0);
    assert_true(weir_op_is_active(&op));
    while (weir_op_is_active(&op))
        io_turn(&io);
    assert_int_equal(op.result, -EBADF);
    io_close(&io);
}

/* Requests that complete within the submit, and are started again from the done function, must
 * not keep a turn from ending: others wait for their turn's end. */
struct grinder {
    struct weir_op op;
    struct weir_ring *ring;
    struct weir_block *block;
    int fd;
    bool *stop;
};

static void grind(struct weir_op *op)
{
    struct grinder *grinder = op->user;
    if (op->ring == NULL || *grinder->stop)
        return;
    weir_file_read(grinder->ring, op, grinder->fd, grinder->block, 0, 64, 0);
}

static void stop_task(struct weir_task *task)
{
    *(bool *)task->user = true;
}

static void a_turn_ends_though_done_functions_start_ever_more(void **state)
{
    enum { MANY = 300 };
    static struct grinder grinders[MANY];
    struct weir_ring_options options = {.entries = 16}; /* a submit per 16, 128 completions */
    struct weir_task task = {.run = stop_task};
    struct weir_block *block;
    struct io io;
    bool stop = false;
    int fd;

    (void)state;
    io_open(&io, NULL, &options);
    assert_int_equal(weir_file_open("/dev/zero", O_RDONLY, 0, &fd), 0);
    assert_int_equal(weir_pool_alloc(io.pool, 64, &block), 0);
    for (unsigned i = 0; i < MANY; i++) {
        struct grinder grinder = {.ring = io.ring, .block = block, .fd = fd, .stop = &stop};
        grinders[i] = grinder;
        weir_op_init(&grinders[i].op, grind, &grinders[i]);
        assert_int_equal(weir_file_read(io.ring, &grinders[i].op, fd, block, 0, 64, 0), 0);
    }
    for (unsigned i = 0; i < 10; i++)
        assert_true(io_turn(&io) > 0);
    task.user = &stop;
    weir_ring_defer(io.ring, &task);
    while (weir_ring_active(io.ring) != 0)
        io_turn(&io);
    assert_true(stop);
    weir_block_drop(block);
    close(fd);
    io_close(&io);
}

/* --- tasks ------------------------------------------------------------------------------------ */

struct chore {
    struct weir_task task;
    struct weir_ring *ring;
    struct weir_task *other;
    unsigned runs;
    unsigned again;
    unsigned place;
    unsigned *clock;
};

static void run_chore(struct weir_task *task)
{
    struct chore *chore = task->user;
    chore->runs++;
    chore->place = (*chore->clock)++;
    if (chore->again != 0) {
        chore->again--;
        weir_ring_defer(chore->ring, task);
    }
    if (chore->other != NULL)
        weir_ring_undefer(chore->ring, chore->other);
}

static void chores_init(struct chore *chores, unsigned count, struct weir_ring *ring,
                        unsigned *clock)
{
    for (unsigned i = 0; i < count; i++) {
        memset(&chores[i], 0, sizeof chores[i]);
        chores[i].task.run = run_chore;
        chores[i].task.user = &chores[i];
        chores[i].ring = ring;
        chores[i].clock = clock;
    }
}

static void deferred_tasks_run_once_in_order(void **state)
{
    struct io io;
    struct chore chores[3];
    unsigned clock = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    chores_init(chores, 3, io.ring, &clock);
    for (unsigned i = 0; i < 9; i++)
        weir_ring_defer(io.ring, &chores[i % 3].task);
    assert_int_equal(clock, 0);
    assert_int_equal(io_wait(&io, -1), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(chores[i].runs, 1);
        assert_int_equal(chores[i].place, i);
    }
    assert_int_equal(io_wait(&io, -1), 0);
    assert_int_equal(clock, 3);
    io_close(&io);
}

static void a_deferred_task_can_be_forgotten(void **state)
{
    struct io io;
    struct chore chores[4];
    unsigned clock = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    for (unsigned forgotten = 0; forgotten < 4; forgotten++) {
        chores_init(chores, 4, io.ring, &clock);
        clock = 0;
        for (unsigned i = 0; i < 4; i++)
            weir_ring_defer(io.ring, &chores[i].task);
        weir_ring_undefer(io.ring, &chores[forgotten].task);
        weir_ring_undefer(io.ring, &chores[forgotten].task);
        weir_ring_run(io.ring, -1);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(chores[i].runs, i != forgotten);
        /* The list is in order: what is deferred now still runs. */
        weir_ring_defer(io.ring, &chores[forgotten].task);
        weir_ring_run(io.ring, -1);
        assert_int_equal(chores[forgotten].runs, 1);
    }
    io_close(&io);
}

static void a_task_may_defer_itself_and_forget_others(void **state)
{
    struct io io;
    struct chore chores[3];
    unsigned clock = 0;

    (void)state;
    io_open(&io, NULL, NULL);
    chores_init(chores, 3, io.ring, &clock);
    chores[0].again = 5;
    chores[0].other = &chores[2].task;
    for (unsigned i = 0; i < 3; i++)
        weir_ring_defer(io.ring, &chores[i].task);
    /* Nothing is in flight, and yet a wait without bound must not hang while a task is queued. */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(io_wait(&io, -1), 0);
    assert_int_equal(chores[0].runs, 6);
    assert_int_equal(chores[1].runs, 1);
    assert_int_equal(chores[2].runs, 0);
    io_close(&io);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void a_turn_with_nothing_to_wait_for_returns_at_once(void **state)
{
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(io_wait(&io, -1), 0);
    assert_int_equal(io_wait(&io, INT64_MAX), 0);
    assert_int_equal(io_wait(&io, 0), 0);
    io_close(&io);
}

static void a_turn_ends_when_its_time_is_over(void **state)
{
    struct io io;
    struct io_call call;

    (void)state;
    io_open(&io, NULL, NULL);
    io_call_init(&call);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, INT64_MAX), 0);
    uint64_t begin = io_now_ms();
    assert_int_equal(io_wait(&io, 30 * MS), 0);
    uint64_t took = io_now_ms() - begin;
    assert_true(took >= 29 && took < 5000);
    begin = io_now_ms();
    assert_int_equal(io_wait(&io, 0), 0);
    assert_true(io_now_ms() - begin < 1000);
    io_close(&io);
    assert_int_equal(call.result, -ECANCELED);
}

/* --- spinning --------------------------------------------------------------------------------- */

static long sleeps(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

static void *write_soon(void *argument)
{
    usleep(1000);
    io_write_all(*(const int *)argument, "soon", 4);
    return NULL;
}

static void a_wait_that_spins_finds_what_comes_meanwhile(void **state)
{
    struct weir_ring_options options = {.spin_us = WEIR_RING_SPIN_MAX_US};
    struct io io;
    struct io_call call;
    pthread_t thread;
    unsigned rounds = 0;
    int fds[2];

    (void)state;
    io_open(&io, NULL, &options);
    io_pair(fds, false);
    io_call_init(&call);
    assert_int_equal(weir_sock_receive(io.ring, &call.op, fds[0]), 0);
    assert_int_equal(io_wait(&io, 0), 0);
    assert_int_equal(weir_ring_stats(io.ring).spins, 0); /* it did not wait */
    /* A writer that the machine keeps from running for a second is given another chance. */
    while (weir_ring_stats(io.ring).spins_found == 0) {
        assert_int_equal(pthread_create(&thread, NULL, write_soon, &fds[1]), 0);
        assert_int_equal(io_wait(&io, -1), 1);
        assert_int_equal(call.completions, ++rounds);
        assert_int_equal(call.result, 4);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(weir_ring_stats(io.ring).spins, rounds);
    }
    close(fds[1]);
    assert_int_equal(io_call_wait(&io, &call), 0);
    close(fds[0]);
    io_close(&io);
}

static void a_spin_that_finds_nothing_ends_in_sleep(void **state)
{
    struct weir_ring_options options = {.spin_us = 100};
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    io_open(&io, NULL, &options);
    io_pair(fds, false);
    io_call_init(&call);
    assert_int_equal(weir_sock_receive(io.ring, &call.op, fds[0]), 0);
    /* The more often it was in vain, the longer it is left. */
    for (unsigned i = 1; i <= 46; i++) {
        long before = sleeps();
        uint64_t begin = io_now_ms();
        int rc = weir_ring_run(io.ring, i == 1 ? 20 * MS : MS / 100);
        assert_true(rc == 0 || rc == -EINTR); /* see io_wait() */
        assert_int_equal(weir_ring_stats(io.ring).spins,
                         1 + (i >= 3) + (i >= 7) + (i >= 15) + (i >= 31));
        if (i == 1 && rc == 0)
            assert_true(io_now_ms() - begin >= 19 && sleeps() > before);
    }
    assert_int_equal(weir_ring_stats(io.ring).spins_found, 0);
    assert_int_equal(call.completions, 0);
    close(fds[1]);
    assert_int_equal(io_call_wait(&io, &call), 0);
    close(fds[0]);
    io_close(&io);
}

static void spinning_is_the_default_where_there_are_processors_for_it(void **state)
{
    const bool many = sysconf(_SC_NPROCESSORS_ONLN) > 1;
    struct weir_ring_options options = {.spin_us = WEIR_RING_NO_SPIN};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct io io;
        struct io_call call;
        int fds[2];
        io_open(&io, NULL, i == 0 ? &options : NULL);
        io_pair(fds, false);
        io_call_init(&call);
        assert_int_equal(weir_sock_receive(io.ring, &call.op, fds[0]), 0);
        assert_int_equal(io_wait(&io, MS), 0);
        assert_int_equal(weir_ring_stats(io.ring).spins, many && i != 0);
        close(fds[1]);
        assert_int_equal(io_call_wait(&io, &call), 0);
        close(fds[0]);
        io_close(&io);
    }
}

/* --- signals ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

/* ThreadSanitizer runs handlers late, at the next call that it knows to wait. */
static int signals_handled(void)
{
    usleep(1);
    return signals;
}

static void a_signal_ends_the_wait_and_loses_nothing(void **state)
{
    static const struct itimerval soon = {.it_value = {.tv_usec = 30000}};
    struct sigaction action = {.sa_handler = count_signal};
    struct sigaction before;
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    alarm(0); /* the same timer */
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    io_call_init(&call);
    assert_int_equal(weir_sock_receive(io.ring, &call.op, fds[0]), 0);
    assert_int_equal(io_wait(&io, 0), 0);
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    signals = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
        do
            assert_int_equal(weir_ring_run(io.ring, i == 0 ? -1 : 60000 * (int64_t)MS), -EINTR);
        while (signals_handled() == i); /* see io_wait() */
        assert_int_equal(signals, i + 1);
    }
    /* With requests to hand over in the same call, these count first; the turn still ends. */
    struct io_call timer;
    io_call_init(&timer);
    assert_int_equal(weir_ring_timeout(io.ring, &timer.op, 5000 * (int64_t)MS), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    do {
        int rc = weir_ring_run(io.ring, -1);
        assert_true(rc == 0 || rc == -EINTR);
    } while (signals_handled() == 2);
    assert_int_equal(signals, 3);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    alarm(60);
    io_write_all(fds[1], "still there", 11);
    io_until(&io, &call.completions, 1);
    assert_int_equal(call.result, 11);
    close(fds[1]);
    assert_int_equal(io_call_wait(&io, &call), 0);
    close(fds[0]);
    io_close(&io);
}

/* --- destroying ------------------------------------------------------------------------------- */

static void destroying_ends_requests_of_every_kind(void **state)
{
    struct weir_addr addr;
    struct io_call calls[10];
    struct iovec iov[2];
    struct weir_block *blocks[2];
    struct weir_block *block;
    struct io io;
    int pair[2], blocked[2], pipes[2];

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(pair, false);
    io_pair(blocked, false);
    io_stuff(blocked[0]);
    assert_int_equal(pipe(pipes), 0);
    int listener = io_listen_tcp(&addr);
    /* TEST-NET-1: nobody answers, or the network says so at once; both must end. */
    struct weir_addr nowhere;
    assert_int_equal(weir_addr_parse("tcp:192.0.2.1:9", &nowhere), 0);
    int connecting;
    assert_int_equal(weir_sock_open(&nowhere, &connecting), 0);
    for (unsigned i = 0; i < 10; i++)
        io_call_init(&calls[i]);
    struct weir_slice slice = io_slice(&io, 100000, 1);
    assert_int_equal(weir_pool_alloc(io.pool, 4096, &block), 0);
    iov[0].iov_base = slice.block->data;
    iov[0].iov_len = 50000;
    iov[1].iov_base = block->data;
    iov[1].iov_len = 4096;
    blocks[0] = slice.block;
    blocks[1] = block;
    struct weir_ring *ring = io.ring;
    assert_int_equal(weir_sock_receive(ring, &calls[0].op, pair[0]), 0);
    assert_int_equal(weir_sock_accept(ring, &calls[1].op, listener), 0);
    assert_int_equal(weir_ring_timeout(ring, &calls[2].op, INT64_MAX), 0);
    assert_int_equal(weir_sock_connect(ring, &calls[3].op, connecting, &nowhere), 0);
    assert_int_equal(
        weir_file_read(ring, &calls[4].op, pipes[0], block, 0, 4096, WEIR_FILE_POSITION), 0);
    assert_int_equal(weir_sock_send(ring, &calls[5].op, blocked[0], &slice), 0);
    /* In another direction: a second send on the same socket would be a misuse. */
    io_stuff(blocked[1]);
    assert_int_equal(weir_sock_sendv(ring, &calls[6].op, blocked[1], iov, blocks, 2), 0);
    assert_int_equal(weir_file_write(ring, &calls[7].op, 99999, &slice, 0), 0);
    assert_int_equal(weir_file_sync(ring, &calls[8].op, 99999, true), 0);
    assert_int_equal(weir_file_close(ring, &calls[9].op, 99999), 0);
    weir_slice_drop(&slice);
    weir_block_drop(block);
    io_turn(&io);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    for (unsigned i = 0; i < 10; i++) {
        if (calls[i].ended != 1 || calls[i].completions != 1)
            fail_msg("request %u: %u completions", i, calls[i].completions);
        assert_false(weir_op_is_active(&calls[i].op));
    }
    static const unsigned cancelled[] = {0, 1, 2, 4, 5, 6};
    for (unsigned i = 0; i < sizeof cancelled / sizeof cancelled[0]; i++)
        assert_int_equal(calls[cancelled[i]].result, -ECANCELED);
    assert_true(calls[3].result < 0);
    for (unsigned i = 7; i < 10; i++)
        assert_true(calls[i].result == -EBADF || calls[i].result == -ECANCELED);
    int all[] = {
        pair[0], pair[1], blocked[0], blocked[1], pipes[0], pipes[1], listener, connecting};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(close(all[i]), 0);
    io_close(&io);
}

struct stubborn {
    struct weir_op op;
    struct io *io;
    struct weir_slice slice;
    int fds[2];
    unsigned calls;
};

static void start_all_again(struct weir_op *op)
{
    struct stubborn *s = op->user;
    struct weir_addr addr;
    struct iovec iov = {(void *)(uintptr_t)s->slice.view.data, s->slice.view.size};
    struct weir_block *blocks[] = {s->slice.block};
    struct weir_ring *ring = s->io->ring;

    s->calls++;
    assert_int_equal(op->result, -ECANCELED);
    assert_true(weir_block_is_exclusive(s->slice.block));
    assert_int_equal(weir_addr_parse("tcp:127.0.0.1:9", &addr), 0);
    assert_int_equal(weir_ring_timeout(ring, op, 0), -ECANCELED);
    assert_int_equal(weir_sock_receive(ring, op, s->fds[0]), -ECANCELED);
    assert_int_equal(weir_sock_accept(ring, op, s->fds[0]), -ECANCELED);
    assert_int_equal(weir_sock_connect(ring, op, s->fds[0], &addr), -ECANCELED);
    assert_int_equal(weir_sock_send(ring, op, s->fds[0], &s->slice), -ECANCELED);
    assert_int_equal(weir_sock_sendv(ring, op, s->fds[0], &iov, blocks, 1), -ECANCELED);
    assert_int_equal(weir_file_read(ring, op, s->fds[0], s->slice.block, 0, 1, 0), -ECANCELED);
    assert_int_equal(weir_file_write(ring, op, s->fds[0], &s->slice, 0), -ECANCELED);
    assert_int_equal(weir_file_writev(ring, op, s->fds[0], &iov, blocks, 1, 0), -ECANCELED);
    assert_int_equal(weir_file_sync(ring, op, s->fds[0], false), -ECANCELED);
    assert_int_equal(weir_file_close(ring, op, s->fds[0]), -ECANCELED);
    assert_false(weir_op_is_active(op));
    assert_true(weir_block_is_exclusive(s->slice.block));
    assert_int_equal(weir_op_cancel(op), -ENOENT);
}

static void what_is_started_while_destroying_is_refused(void **state)
{
    struct stubborn s = {.calls = 0};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    io_pair(s.fds, false);
    s.io = &io;
    s.slice = io_slice(&io, 1000, 3);
    weir_op_init(&s.op, start_all_again, &s);
    assert_int_equal(weir_ring_timeout(io.ring, &s.op, INT64_MAX), 0);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(s.calls, 1);
    weir_slice_drop(&s.slice);
    close(s.fds[0]);
    close(s.fds[1]);
    io_close(&io);
}

/* What the kernel is given is held, whoever drops it. */
static void a_block_that_is_being_sent_is_held_until_it_has_left(void **state)
{
    enum { SIZE = 300000 };
    static uint8_t got[4 << 20];
    struct io io;
    struct io_call call;
    int fds[2];

    (void)state;
    for (unsigned how = 0; how < 2; how++) {
        io_open(&io, NULL, NULL);
        io_pair(fds, how == 1);
        io_shrink(fds[0]);
        io_shrink(fds[1]);
        size_t before = io_stuff(fds[0]);
        uint64_t idle = io_blocks_in_use(&io);
        struct weir_slice slice = io_slice(&io, SIZE, 77);
        struct weir_block *block = slice.block;
        io_call_init(&call);
        assert_int_equal(weir_sock_send(io.ring, &call.op, fds[0], &slice), 0);
        assert_false(weir_block_is_exclusive(block));
        weir_slice_drop(&slice);
        io_turns_for(&io, 20);
        assert_int_equal(call.completions, 0);
        assert_int_equal(io_blocks_in_use(&io), idle + 1);
        /* Nobody else is given the same memory. */
        struct weir_slice other = io_slice(&io, SIZE, 78);
        assert_ptr_not_equal(other.block, block);
        assert_true(test_is_filled(block->data, SIZE, 77));
        size_t total = 0;
        while (call.ended == 0 || total < before + SIZE) {
            ssize_t n = recv(fds[1], got + total, sizeof got - total, MSG_DONTWAIT);
            if (n > 0)
                total += (size_t)n;
            weir_ring_run(io.ring, n > 0 ? 0 : MS);
        }
        /* WAITALL: one completion for all of it, however it was cut. */
        assert_int_equal(call.completions, 1);
        assert_int_equal(call.result, SIZE);
        assert_int_equal(total, before + SIZE);
        assert_true(test_is_filled(got + before, SIZE, 77));
        weir_slice_drop(&other);
        assert_int_equal(io_blocks_in_use(&io), idle);
        close(fds[0]);
        close(fds[1]);
        io_close(&io);
    }
}

/* --- set-up ----------------------------------------------------------------------------------- */

/* A little of everything. */
static void use(struct io *io)
{
    struct io_call receive, send, timer, forever;
    int fds[2];

    io_pair(fds, false);
    io_call_init(&receive);
    io_call_init(&send);
    io_call_init(&timer);
    io_call_init(&forever);
    struct weir_slice slice = io_slice(io, 5000, 5);
    assert_int_equal(weir_sock_receive(io->ring, &receive.op, fds[0]), 0);
    assert_int_equal(weir_ring_timeout(io->ring, &timer.op, MS), 0);
    assert_int_equal(weir_ring_timeout(io->ring, &forever.op, INT64_MAX), 0);
    for (unsigned i = 1; i <= 50; i++) {
        assert_int_equal(weir_sock_send(io->ring, &send.op, fds[1], &slice), 0);
        io_until(io, &send.ended, i);
        assert_int_equal(send.result, 5000);
    }
    assert_int_equal(io_call_wait(io, &timer), 0);
    while (weir_ring_stats(io->ring).received_bytes < 50 * 5000)
        io_turn(io);
    assert_int_equal(weir_op_cancel(&forever.op), 0);
    assert_int_equal(io_call_wait(io, &forever), -ECANCELED);
    assert_int_equal(weir_op_cancel(&receive.op), 0);
    assert_int_equal(io_call_wait(io, &receive), -ECANCELED);
    weir_slice_drop(&slice);
    close(fds[0]);
    close(fds[1]);
}

static void everything_works_without_any_of_the_features(void **state)
{
    (void)state;
    for (uint32_t each = 0; each < 18; each++) {
        /* Those that touch each other in every combination, the others with all or nothing. */
        uint32_t others = WEIR_RING_BUFFERS | WEIR_RING_MIN_WAIT;
        uint32_t without = each < 16 ? each : each == 16 ? others : others | 15;
        struct weir_ring_options options = {.without = without, .entries = 8};
        struct io io;
        io_open(&io, NULL, &options);
        uint32_t features = weir_ring_features(io.ring);
        assert_int_equal(features & without, 0);
        if (without & WEIR_RING_SINGLE_ISSUER)
            assert_int_equal(features & WEIR_RING_DEFER_TASKRUN, 0);
        assert_ptr_equal(weir_ring_pool(io.ring), io.pool);
        use(&io);
        io_close(&io);
    }
}

/* Where the kernel refuses the thread it does without. */
static void a_thread_of_the_kernel_may_take_what_is_submitted(void **state)
{
    enum { MANY = 500 };
    static struct io_call calls[MANY];
    const struct weir_ring_options options = {.with = WEIR_RING_SQPOLL, .entries = 4};
    struct io io;

    (void)state;
    io_open(&io, NULL, &options);
    bool on = (weir_ring_features(io.ring) & WEIR_RING_SQPOLL) != 0;
    const char *text = weir_ring_feature_text(io.ring, WEIR_RING_SQPOLL);
    if (io_backend == WEIR_BACKEND_POLL)
        assert_string_equal(text, "io_uring only");
    else
        assert_string_equal(text, on ? "on" : "the kernel refuses it");
    if (on)
        assert_int_equal(weir_ring_features(io.ring) & WEIR_RING_DEFER_TASKRUN, 0);
    use(&io);
    for (unsigned i = 0; i < MANY; i++) {
        io_call_init(&calls[i]);
        assert_int_equal(weir_ring_timeout(io.ring, &calls[i].op, i % 2 * MS), 0);
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(io_call_wait(&io, &calls[i]), 0);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(calls[i].completions, 1);
    io_close(&io);
}

static void *write_slowly(void *argument)
{
    const int *fds = argument;
    for (unsigned i = 0; i < 4; i++) {
        usleep(3000);
        io_write_all(fds[2 * i + 1], "x", 1);
    }
    return NULL;
}

static void a_wait_may_be_for_several_completions(void **state)
{
    const struct weir_ring_options options = {
        .batch = 4, .batch_wait_us = 200000, .spin_us = WEIR_RING_NO_SPIN};
    struct io_call calls[4];
    struct io io;
    pthread_t thread;
    int fds[8];
    int rc = 0;

    (void)state;
    io_open(&io, NULL, &options);
    bool on = (weir_ring_features(io.ring) & WEIR_RING_MIN_WAIT) != 0;
    for (unsigned i = 0; i < 4; i++) {
        io_pair(&fds[2 * i], false);
        io_call_init(&calls[i]);
        assert_int_equal(weir_sock_receive(io.ring, &calls[i].op, fds[2 * i]), 0);
    }
    assert_int_equal(weir_ring_run(io.ring, 0), 0);
    /* A writer that the machine keeps from running is given another chance. */
    for (unsigned round = 1; rc != 4; round++) {
        assert_int_equal(pthread_create(&thread, NULL, write_slowly, fds), 0);
        rc = io_wait(&io, -1);
        for (unsigned i = 0; i < 4; i++)
            io_until(&io, &calls[i].completions, round);
        assert_int_equal(pthread_join(thread, NULL), 0);
        if (!on)
            break;
    }
    /* Fewer end it when the time for that is over, none when all of it is. */
    uint64_t begin = io_now_ms();
    assert_int_equal(io_wait(&io, MS), 0);
    io_write_all(fds[1], "x", 1);
    assert_int_equal(io_wait(&io, -1), 1);
    if (on)
        assert_true(io_now_ms() - begin >= 200);
    for (unsigned i = 0; i < 4; i++) {
        close(fds[2 * i + 1]);
        assert_int_equal(io_call_wait(&io, &calls[i]), 0);
        close(fds[2 * i]);
    }
    io_close(&io);
}

static void options_out_of_range_are_refused(void **state)
{
    static const struct weir_ring_options wrong[] = {
        {.entries = 3},
        {.entries = 65536},
        {.entries = UINT32_MAX},
        {.receive_blocks = 3},
        {.receive_blocks = 65536},
        {.receive_block_bytes = (1u << 30) + 1},
        {.receive_block_bytes = UINT32_MAX},
        {.spin_us = WEIR_RING_SPIN_MAX_US + 1},
        {.spin_us = WEIR_RING_NO_SPIN - 1},
        {.with = WEIR_RING_BUFFERS},
        {.batch = 4097},
        {.batch_wait_us = 1000001},
        {.backend = (enum weir_backend)3},
    };
    struct weir_pool *pool = test_pool_create(NULL);
    int marker;
    struct weir_ring *ring = (struct weir_ring *)(void *)&marker;
    int before = io_descriptors();

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(io_ring_create(pool, &wrong[i], &ring), -EINVAL);
    assert_ptr_equal(ring, &marker);
    assert_int_equal(io_descriptors(), before);
    test_pool_destroy(pool);
}

static void options_at_their_bounds_work(void **state)
{
    static const struct weir_ring_options right[] = {
        {.entries = 1, .receive_blocks = 1, .receive_block_bytes = 1},
        {.entries = 2, .receive_blocks = 2, .receive_block_bytes = 100},
        {.entries = 4096, .receive_blocks = 4096, .receive_block_bytes = 256},
        {.receive_blocks = 1, .receive_block_bytes = 1u << 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        struct io io;
        io_open(&io, NULL, &right[i]);
        use(&io);
        io_close(&io);
    }
}

static void creating_fails_cleanly_wherever_memory_ends(void **state)
{
    static struct test_source source;
    int before = io_descriptors();
    struct weir_ring *ring = NULL;
    struct weir_ring_options options = {.receive_blocks = 64};

    (void)state;
    for (uint64_t n = 1;; n++) {
        test_source_init(&source);
        struct weir_pool *pool = test_pool_create(&source);
        test_source_fail(&source, n);
        int rc = io_ring_create(pool, &options, &ring);
        uint64_t failures = source.failures;
        assert_int_equal(rc, failures == 0 ? 0 : -ENOMEM);
        if (rc == 0)
            weir_ring_destroy(ring);
        test_pool_destroy(pool);
        test_source_fini(&source);
        assert_int_equal(io_descriptors(), before);
        if (failures == 0) {
            assert_true(n > 2);
            break;
        }
    }
}

static void creating_fails_cleanly_at_every_limit_of_the_pool(void **state)
{
    int before = io_descriptors();
    struct weir_ring *ring = NULL;
    unsigned refused = 0;
    int rc = -ENOBUFS;

    (void)state;
    for (size_t limit = 256 << 10; rc != 0; limit += 256 << 10) {
        struct weir_pool_options options = {.limit_bytes = limit, .segment_bytes = 1 << 20};
        struct weir_pool *pool = NULL;
        if (weir_pool_create(&options, &pool) != 0)
            continue;
        rc = io_ring_create(pool, NULL, &ring);
        assert_true(rc == 0 || rc == -ENOBUFS);
        refused += rc != 0;
        if (rc == 0)
            weir_ring_destroy(ring);
        test_pool_destroy(pool);
        assert_int_equal(io_descriptors(), before);
    }
    assert_true(refused > 2);
}

/* What a ring does where system calls fail; the exit status of a child that had it. */
struct refusal {
    long number; /* of the system call */
    int error;
    const char *text; /* why it is another backend, NULL: it is none */
};

static int work(struct weir_pool *pool, struct weir_ring *ring)
{
    static struct io_call timer, receive; /* until the ring is destroyed */
    static struct weir_op send;
    struct io io = {.pool = pool, .ring = ring};
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return 203;
    struct weir_slice slice = io_slice(&io, 1000, 1);
    io_call_init(&timer);
    io_call_init(&receive);
    weir_op_init(&send, NULL, NULL);
    weir_ring_timeout(ring, &timer.op, 3 * MS);
    weir_sock_receive(ring, &receive.op, fds[0]);
    weir_sock_send(ring, &send, fds[1], &slice);
    weir_slice_drop(&slice);
    while (timer.ended == 0 || receive.completions == 0 || weir_op_is_active(&send)) {
        int rc = weir_ring_run(ring, -1);
        if (rc < 0 && rc != -EINTR)
            return 204;
    }
    return timer.result == 0 && receive.result == 1000 && send.result == 1000 ? 0 : 205;
}

static int work_refused(const struct refusal *refusal, const struct weir_ring_options *options)
{
    struct weir_pool *pool = NULL;
    struct weir_ring *ring = NULL;
    io_forbid(refusal->number, refusal->error);
    if (weir_pool_create(NULL, &pool) != 0)
        return 200;
    int rc = weir_ring_create(pool, options, &ring);
    if (rc == 0) {
        const char *text = weir_ring_backend_text(ring);
        if (weir_ring_backend(ring) != WEIR_BACKEND_POLL)
            rc = 206;
        else if (options->backend == WEIR_BACKEND_AUTO && strstr(text, refusal->text) == NULL)
            rc = 207;
        else if (options->backend == WEIR_BACKEND_POLL && strcmp(text, "chosen by option") != 0)
            rc = 208;
        else
            rc = work(pool, ring);
        weir_ring_destroy(ring);
    }
    return weir_pool_destroy(pool) != 0 ? 201 : rc;
}

static int in_child(const struct refusal *refusal, enum weir_backend backend)
{
    const struct weir_ring_options options = {.backend = backend};
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int rc = work_refused(refusal, &options);
        _exit(rc < 0 ? -rc : rc);
    }
    while (waitpid(child, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Skips the test where the machine refuses it already. */
static void need_io_uring(void)
{
    struct io io;
    io_open(&io, NULL, NULL);
    io_close(&io);
}

static void where_io_uring_is_not_allowed_a_ring_polls(void **state)
{
    static const struct refusal refusals[] = {
        {SYS_io_uring_setup, EPERM, "not allowed"}, /* so does kernel.io_uring_disabled */
        {SYS_io_uring_setup, EACCES, "not allowed"},
        {SYS_io_uring_setup, ENOSYS, "no io_uring"},
        {SYS_io_uring_setup, ENOMEM, "RLIMIT_MEMLOCK"},
        {SYS_io_uring_setup, EINVAL, "older than 6.0"},
        {SYS_io_uring_enter, EPERM, "not allowed"},
        {SYS_io_uring_register, EPERM, "not allowed"},
        {SYS_io_uring_register, ENOMEM, "RLIMIT_MEMLOCK"},
        {SYS_io_uring_register, EINVAL, "lends no buffers"},
    };

    (void)state;
    need_io_uring();
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        assert_int_equal(in_child(&refusals[i], WEIR_BACKEND_AUTO), 0);
        assert_int_equal(in_child(&refusals[i], WEIR_BACKEND_POLL), 0);
        /* Who insists on it is told. */
        assert_int_equal(in_child(&refusals[i], WEIR_BACKEND_URING), refusals[i].error);
    }
}

/* What is no answer of the kernel about io_uring is no reason to do without it. */
static void other_errors_are_not_hidden_by_the_other_backend(void **state)
{
    static const struct refusal refusal = {SYS_io_uring_setup, EMFILE, NULL};

    (void)state;
    need_io_uring();
    assert_int_equal(in_child(&refusal, WEIR_BACKEND_AUTO), EMFILE);
    assert_int_equal(in_child(&refusal, WEIR_BACKEND_URING), EMFILE);
}

/* Old filters answer EPERM to every system call that they do not know. */
static void polling_works_without_the_newest_system_calls(void **state)
{
    static const struct refusal refusals[] = {
        {SYS_epoll_pwait2, ENOSYS, NULL},
        {SYS_epoll_pwait2, EPERM, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_int_equal(in_child(&refusals[i], WEIR_BACKEND_POLL), 0);
}

static void a_ring_says_what_it_has_and_why(void **state)
{
    struct weir_ring_options options = {.without = WEIR_RING_RECEIVE_BY_PARTS};
    bool polls = io_backend == WEIR_BACKEND_POLL;
    struct io io;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        io_open(&io, NULL, i == 0 ? &options : NULL);
        assert_string_equal(weir_ring_backend_text(io.ring), "chosen by option");
        for (uint32_t bit = 1; bit <= WEIR_RING_SQPOLL; bit <<= 1) {
            const char *text = weir_ring_feature_text(io.ring, bit);
            bool on = (weir_ring_features(io.ring) & bit) != 0;
            assert_int_equal(strcmp(text, "on") == 0, on);
            if (polls && bit != WEIR_RING_RECEIVE_BY_PARTS)
                assert_string_equal(text, "io_uring only");
        }
        if (!polls)
            assert_string_equal(weir_ring_feature_text(io.ring, WEIR_RING_SQPOLL),
                                "not asked for by option");
        if (i == 0)
            assert_string_equal(weir_ring_feature_text(io.ring, WEIR_RING_RECEIVE_BY_PARTS),
                                "switched off by option");
        else if (polls)
            assert_int_equal(weir_ring_features(io.ring), WEIR_RING_RECEIVE_BY_PARTS);
        assert_string_equal(weir_ring_feature_text(io.ring, 0), "there is no such feature");
        assert_string_equal(weir_ring_feature_text(io.ring, 1u << 31), "there is no such feature");
        io_close(&io);
    }
}

static void destroying_no_ring_does_nothing(void **state)
{
    (void)state;
    weir_ring_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_turn_takes_back_what_other_threads_dropped),
        IO_TEST(a_turn_does_the_trim_that_another_thread_asked_for),
        IO_TEST(a_turn_keeps_the_retention_limit),
        IO_TEST(timeouts_fire_in_the_order_of_their_times),
        IO_TEST(a_cancelled_timeout_ends_at_once),
        IO_TEST(cancelling_an_idle_op_is_enoent),
        IO_TEST(a_request_that_waits_in_the_queue_can_be_cancelled),
        IO_TEST(more_requests_than_entries_each_complete_once),
        IO_TEST(a_burst_larger_than_the_completion_queue_loses_nothing),
        IO_TEST(more_cancels_than_entries_all_arrive),
        IO_TEST(a_cancel_that_the_kernel_loses_is_asked_again),
        IO_TEST(a_done_function_may_start_its_own_op_again),
        IO_TEST(a_done_function_may_free_its_op),
        IO_TEST(a_done_function_may_cancel_others),
        IO_TEST(an_op_without_a_done_function_keeps_its_result),
        IO_TEST(a_turn_ends_though_done_functions_start_ever_more),
        IO_TEST(deferred_tasks_run_once_in_order),
        IO_TEST(a_deferred_task_can_be_forgotten),
        IO_TEST(a_task_may_defer_itself_and_forget_others),
        IO_TEST(a_turn_with_nothing_to_wait_for_returns_at_once),
        IO_TEST(a_turn_ends_when_its_time_is_over),
        IO_TEST(a_wait_that_spins_finds_what_comes_meanwhile),
        IO_TEST(a_spin_that_finds_nothing_ends_in_sleep),
        IO_TEST(spinning_is_the_default_where_there_are_processors_for_it),
        IO_TEST(a_signal_ends_the_wait_and_loses_nothing),
        IO_TEST(destroying_ends_requests_of_every_kind),
        IO_TEST(what_is_started_while_destroying_is_refused),
        IO_TEST(a_block_that_is_being_sent_is_held_until_it_has_left),
        IO_TEST(everything_works_without_any_of_the_features),
        IO_TEST(a_thread_of_the_kernel_may_take_what_is_submitted),
        IO_TEST(a_wait_may_be_for_several_completions),
        IO_TEST(options_out_of_range_are_refused),
        IO_TEST(options_at_their_bounds_work),
        IO_TEST(creating_fails_cleanly_wherever_memory_ends),
        IO_TEST(creating_fails_cleanly_at_every_limit_of_the_pool),
        IO_TEST_ONCE(where_io_uring_is_not_allowed_a_ring_polls),
        IO_TEST_ONCE(other_errors_are_not_hidden_by_the_other_backend),
        IO_TEST_ONCE(polling_works_without_the_newest_system_calls),
        IO_TEST(a_ring_says_what_it_has_and_why),
        IO_TEST_ONCE(destroying_no_ring_does_nothing),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
