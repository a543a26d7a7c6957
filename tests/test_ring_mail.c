/* SPDX-License-Identifier: MIT */
/* What other threads may do with a ring: wake it, and post messages to it. */
#include "io.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define MS 1000000
#define FOR_EVER (3600 * (int64_t)1000 * MS)

static struct io open_ring(uint32_t spin_us)
{
    const struct weir_ring_options options = {.spin_us = spin_us};
    struct io io;
    io_open(&io, NULL, &options);
    return io;
}

/* --- waking ----------------------------------------------------------------------------------- */

static void *wake_soon(void *argument)
{
    usleep(2000);
    weir_ring_wake(argument);
    return NULL;
}

/* With and without requests, asleep and while it spins. */
static void another_thread_ends_a_wait(void **state)
{
    static const uint32_t spins[] = {WEIR_RING_NO_SPIN, WEIR_RING_SPIN_MAX_US};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct io io = open_ring(spins[i % 2]);
        struct io_call call;
        pthread_t thread;
        io_call_init(&call);
        if (i < 2)
            weir_ring_await_messages(io.ring, true);
        else
            assert_int_equal(weir_ring_timeout(io.ring, &call.op, FOR_EVER), 0);
        for (unsigned round = 1; round <= 3; round++) {
            assert_int_equal(pthread_create(&thread, NULL, wake_soon, io.ring), 0);
            assert_int_equal(io_wait(&io, round == 1 ? FOR_EVER : -1), 0);
            assert_int_equal(pthread_join(thread, NULL), 0);
            assert_int_equal(weir_ring_stats(io.ring).wakes, round);
        }
        assert_int_equal(weir_ring_stats(io.ring).requests, i / 2); /* none of ours */
        assert_int_equal(weir_ring_stats(io.ring).completions, 0);
        assert_int_equal(weir_ring_active(io.ring), i / 2);
        io_close(&io);
    }
}

static void wakes_before_a_wait_count_once(void **state)
{
    struct io io = open_ring(WEIR_RING_NO_SPIN);

    (void)state;
    weir_ring_await_messages(io.ring, true);
    for (unsigned i = 0; i < 100; i++)
        weir_ring_wake(io.ring);
    assert_int_equal(io_wait(&io, -1), 0);
    assert_int_equal(weir_ring_stats(io.ring).wakes, 1);
    /* Nothing is left of them. */
    uint64_t begin = io_now_ms();
    assert_int_equal(io_wait(&io, 20 * MS), 0);
    assert_true(io_now_ms() - begin >= 19);
    assert_int_equal(weir_ring_stats(io.ring).wakes, 1);
    io_close(&io);
}

static void without_requests_a_turn_waits_only_if_told_to(void **state)
{
    struct io io = open_ring(0);

    (void)state;
    assert_int_equal(io_wait(&io, -1), 0);
    weir_ring_await_messages(io.ring, true);
    uint64_t begin = io_now_ms();
    assert_int_equal(io_wait(&io, 20 * MS), 0);
    assert_true(io_now_ms() - begin >= 19);
    weir_ring_await_messages(io.ring, false);
    assert_int_equal(io_wait(&io, -1), 0);
    io_close(&io);
}

static struct weir_ring *signalled;

static void wake_from_handler(int number)
{
    (void)number;
    weir_ring_wake(signalled);
}

/* Wherever the signal comes, within the wait or just before it. */
static void a_signal_handler_may_wake(void **state)
{
    static const struct itimerval soon = {.it_value = {.tv_usec = 3000}};
    struct sigaction action = {.sa_handler = wake_from_handler};
    struct sigaction before;
    struct io io = open_ring(WEIR_RING_NO_SPIN);

    (void)state;
    weir_ring_await_messages(io.ring, true);
    signalled = io.ring;
    alarm(0); /* the same timer */
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    for (uint64_t round = 1; round <= 5; round++) {
        assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
        if (round % 2 != 0)
            usleep(10000);
        while (weir_ring_stats(io.ring).wakes < round) {
            int rc = weir_ring_run(io.ring, -1);
            assert_true(rc == 0 || rc == -EINTR);
        }
        assert_int_equal(weir_ring_stats(io.ring).wakes, round);
    }
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    alarm(60);
    io_close(&io);
}

/* --- messages --------------------------------------------------------------------------------- */

struct letter {
    struct weir_message message;
    struct weir_ring *back; /* where it goes next, NULL: nowhere */
    void *owner;
    unsigned from;
    unsigned number;
    unsigned delivered;
    unsigned *count;
};

static void letter_deliver(struct weir_message *message)
{
    struct letter *letter = message->user;
    letter->delivered++;
    letter->number = (*letter->count)++;
}

static void letter_init(struct letter *letter, unsigned *count)
{
    memset(letter, 0, sizeof *letter);
    letter->message.deliver = letter_deliver;
    letter->message.user = letter;
    letter->message.result = 77;
    letter->count = count;
}

static void messages_are_delivered_in_order_once(void **state)
{
    struct letter letters[20];
    struct io io = open_ring(0);
    unsigned count = 0;

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        letter_init(&letters[i], &count);
        assert_int_equal(weir_ring_post(io.ring, &letters[i].message), 0);
    }
    assert_int_equal(count, 0); /* not within the call */
    assert_int_equal(io_wait(&io, -1), 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(letters[i].delivered, 1);
        assert_int_equal(letters[i].number, i);
        assert_int_equal(letters[i].message.result, 0);
    }
    assert_int_equal(io_wait(&io, -1), 0);
    assert_int_equal(weir_ring_stats(io.ring).messages, 20);
    assert_int_equal(weir_ring_stats(io.ring).wakes, 1);
    io_close(&io);
}

static void deliver_again(struct weir_message *message)
{
    struct letter *letter = message->user;
    letter_deliver(message);
    if (letter->back != NULL)
        assert_int_equal(weir_ring_post(letter->back, message), 0);
}

static void a_message_that_is_posted_on_waits_for_the_next_turn(void **state)
{
    struct io io = open_ring(0);
    struct letter letter;
    unsigned count = 0;

    (void)state;
    letter_init(&letter, &count);
    letter.message.deliver = deliver_again;
    letter.back = io.ring;
    assert_int_equal(weir_ring_post(io.ring, &letter.message), 0);
    for (unsigned turn = 1; turn <= 5; turn++) {
        assert_int_equal(io_wait(&io, -1), 1);
        assert_int_equal(count, turn);
    }
    letter.back = NULL;
    assert_int_equal(io_wait(&io, -1), 1);
    assert_int_equal(io_wait(&io, -1), 0);
    assert_int_equal(count, 6);
    io_close(&io);
}

static void free_letter(struct weir_message *message)
{
    unsigned *count = message->user;
    ++*count;
    weir_slice_drop(&message->slice);
    memset(message, 0xa5, sizeof *message);
    free(message);
}

static void a_message_may_be_freed_when_it_is_delivered(void **state)
{
    struct io io = open_ring(0);
    unsigned count = 0;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct weir_message *message = calloc(1, sizeof *message);
        message->deliver = free_letter;
        message->user = &count;
        message->slice = io_slice(&io, 100, i);
        assert_int_equal(weir_ring_post(io.ring, message), 0);
    }
    assert_int_equal(io_wait(&io, 0), 10);
    assert_int_equal(count, 10);
    io_close(&io);
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { SENDERS = 3, EACH = 2000 };

struct sender {
    pthread_t thread;
    struct weir_ring *ring;
    struct letter *letters;
};

static unsigned next_of[SENDERS];
static unsigned arrived;

static void in_order(struct weir_message *message)
{
    struct letter *letter = message->user;
    assert_int_equal(letter->number, next_of[letter->from]);
    assert_int_equal(message->result, 0);
    next_of[letter->from]++;
    letter->delivered++;
    arrived++;
}

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    for (unsigned i = 0; i < EACH; i++) {
        if (i % 64 == 0)
            usleep(10); /* so that the receiver goes to sleep now and then */
        if (weir_ring_post(sender->ring, &sender->letters[i].message) != 0)
            return sender;
        if (i % 7 == 0)
            weir_ring_wake(sender->ring);
    }
    return NULL;
}

static void many_threads_post_to_one_ring(void **state)
{
    static struct letter letters[SENDERS][EACH];
    struct sender senders[SENDERS];
    void *result;

    (void)state;
    for (unsigned spins = 0; spins < 2; spins++) {
        struct io io = open_ring(spins ? 50 : WEIR_RING_NO_SPIN);
        weir_ring_await_messages(io.ring, true);
        arrived = 0;
        memset(next_of, 0, sizeof next_of);
        for (unsigned i = 0; i < SENDERS; i++) {
            for (unsigned k = 0; k < EACH; k++) {
                letter_init(&letters[i][k], NULL);
                letters[i][k].message.deliver = in_order;
                letters[i][k].from = i;
                letters[i][k].number = k;
            }
            senders[i].ring = io.ring;
            senders[i].letters = letters[i];
            assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
        }
        while (arrived < SENDERS * EACH) {
            int rc = weir_ring_run(io.ring, -1);
            assert_true(rc >= 0 || rc == -EINTR);
        }
        for (unsigned i = 0; i < SENDERS; i++) {
            assert_int_equal(pthread_join(senders[i].thread, &result), 0);
            assert_null(result);
            for (unsigned k = 0; k < EACH; k++)
                assert_int_equal(letters[i][k].delivered, 1);
        }
        assert_int_equal(weir_ring_stats(io.ring).messages, SENDERS * EACH);
        io_close(&io);
    }
}

/* Two threads with a ring and a pool each. What one allocates and fills, the other reads and drops;
 * the message comes back empty, is filled anew, and so on. */
enum { TRIPS = 500, BALLS = 4 };

struct player {
    struct io io;
    struct player *peer;
    pthread_t thread;
    pthread_barrier_t *barrier;
    struct letter balls[BALLS];
    enum weir_backend backend;
    unsigned served;
    unsigned home; /* atomic: how many balls are done */
    unsigned bad;
};

static void serve(struct player *player, struct letter *ball);

static void returned(struct weir_message *message)
{
    struct letter *ball = message->user;
    struct player *owner = ball->owner;
    owner->bad += message->slice.block != NULL || message->result != 0;
    serve(owner, ball);
}

/* On the thread of the other player. */
static void hit(struct weir_message *message)
{
    struct letter *ball = message->user;
    struct player *owner = ball->owner;
    struct weir_view bytes = message->slice.view;
    owner->peer->bad += !test_is_filled(bytes.data, bytes.size, ball->number);
    weir_slice_drop(&message->slice);
    message->deliver = returned;
    if (weir_ring_post(owner->io.ring, message) != 0)
        owner->peer->bad++;
}

static void serve(struct player *player, struct letter *ball)
{
    if (player->served >= TRIPS) {
        if (__atomic_add_fetch(&player->home, 1, __ATOMIC_RELEASE) == BALLS)
            weir_ring_wake(player->peer->io.ring);
        return;
    }
    ball->number = player->served++;
    ball->message.deliver = hit;
    ball->message.slice = io_slice(&player->io, 100 + ball->number % 300, ball->number);
    player->bad += weir_ring_post(player->peer->io.ring, &ball->message) != 0;
}

static bool is_over(const struct player *player)
{
    return __atomic_load_n(&player->home, __ATOMIC_ACQUIRE) >= BALLS;
}

static void *play(void *argument)
{
    struct player *player = argument;
    const struct weir_ring_options options = {.backend = player->backend};
    player->bad += weir_pool_create(NULL, &player->io.pool) != 0 ||
                   weir_ring_create(player->io.pool, &options, &player->io.ring) != 0;
    weir_ring_await_messages(player->io.ring, true);
    pthread_barrier_wait(player->barrier);
    for (unsigned i = 0; i < BALLS; i++) {
        letter_init(&player->balls[i], NULL);
        player->balls[i].owner = player;
        serve(player, &player->balls[i]);
    }
    /* Its own are home; the peer's may still be under way, and the peer tells when not. */
    while (!is_over(player) || !is_over(player->peer)) {
        int rc = weir_ring_run(player->io.ring, -1);
        player->bad += rc < 0 && rc != -EINTR;
    }
    pthread_barrier_wait(player->barrier);
    weir_ring_destroy(player->io.ring);
    player->bad += weir_pool_destroy(player->io.pool) != 0;
    return NULL;
}

static void slices_go_back_and_forth_between_two_rings(void **state)
{
    static struct player players[2];
    pthread_barrier_t barrier;
    int descriptors = io_descriptors();

    (void)state;
    memset(players, 0, sizeof players);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        players[i].peer = &players[1 - i];
        players[i].barrier = &barrier;
        players[i].backend = io_backend;
        assert_int_equal(pthread_create(&players[i].thread, NULL, play, &players[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(players[i].thread, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(players[i].bad, 0);
        assert_int_equal(players[i].served, TRIPS);
        assert_int_equal(players[i].home, BALLS);
    }
    pthread_barrier_destroy(&barrier);
    assert_int_equal(io_descriptors(), descriptors);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void come_back(struct weir_message *message)
{
    struct letter *letter = message->user;
    struct io_call call;
    letter_deliver(message);
    assert_int_equal(message->result, -ECANCELED);
    assert_int_equal(weir_ring_post(letter->back, message), -ECANCELED);
    io_call_init(&call);
    assert_int_equal(weir_ring_timeout(letter->back, &call.op, 0), -ECANCELED);
    weir_ring_wake(letter->back);
    weir_slice_drop(&message->slice);
}

static void messages_that_are_left_come_back_when_the_ring_ends(void **state)
{
    struct letter letters[5];
    struct io io = open_ring(0);
    struct io_call call;
    unsigned count = 0;

    (void)state;
    io_call_init(&call);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, FOR_EVER), 0);
    for (unsigned i = 0; i < 5; i++) {
        letter_init(&letters[i], &count);
        letters[i].back = io.ring;
        letters[i].message.deliver = come_back;
        letters[i].message.slice = io_slice(&io, 1000, i);
        assert_int_equal(weir_ring_post(io.ring, &letters[i].message), 0);
    }
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(letters[i].number, i);
    assert_int_equal(call.result, -ECANCELED);
    io_close(&io);
}

static struct letter late;
static int late_result;

static void *post_late(void *argument)
{
    late_result = weir_ring_post(argument, &late.message);
    weir_ring_wake(argument);
    return NULL;
}

static void let_another_post(struct weir_op *op)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_late, op->user), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void posting_to_a_ring_that_ends_is_refused(void **state)
{
    struct io io = open_ring(0);
    struct weir_op op;
    unsigned count = 0;

    (void)state;
    letter_init(&late, &count);
    late_result = 0;
    weir_op_init(&op, let_another_post, io.ring);
    assert_int_equal(weir_ring_timeout(io.ring, &op, FOR_EVER), 0);
    weir_ring_await_messages(io.ring, true);
    weir_ring_destroy(io.ring);
    io.ring = NULL;
    assert_int_equal(late_result, -ECANCELED);
    assert_int_equal(count, 0);
    assert_int_equal(late.message.result, 77);
    io_close(&io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(another_thread_ends_a_wait),
        IO_TEST(wakes_before_a_wait_count_once),
        IO_TEST(without_requests_a_turn_waits_only_if_told_to),
        IO_TEST(a_signal_handler_may_wake),
        IO_TEST(messages_are_delivered_in_order_once),
        IO_TEST(a_message_that_is_posted_on_waits_for_the_next_turn),
        IO_TEST(a_message_may_be_freed_when_it_is_delivered),
        IO_TEST(many_threads_post_to_one_ring),
        IO_TEST(slices_go_back_and_forth_between_two_rings),
        IO_TEST(messages_that_are_left_come_back_when_the_ring_ends),
        IO_TEST(posting_to_a_ring_that_ends_is_refused),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
