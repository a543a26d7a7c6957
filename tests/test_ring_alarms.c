/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <stddef.h>
#include <string.h>

#include "../lib/ring_backend.h"

#define MS INT64_C(1000000)
#define TICK (WEIR_ALARM_TICK_MS * MS)

/* --- the wheel, with a clock that the test moves ---------------------------------------------- */

struct bell {
    struct weir_alarm alarm; /* first */
    int64_t due_ns;
    unsigned rings;
    void (*act)(struct bell *bell);
};

static struct weir__alarms wheel;
static int64_t now_ns;

static void ring_bell(struct weir_alarm *alarm)
{
    struct bell *bell = (struct bell *)alarm;
    assert_false(weir_alarm_is_set(alarm));
    bell->rings++;
    if (now_ns < bell->due_ns)
        fail_msg("%lld ns early", (long long)(bell->due_ns - now_ns));
    if (bell->act != NULL)
        bell->act(bell);
}

static void set(struct bell *bell, uint64_t delay_ms)
{
    bell->alarm.run = ring_bell;
    bell->due_ns = now_ns + (int64_t)delay_ms * MS;
    weir__alarms_set(&wheel, &bell->alarm, now_ns, delay_ms);
}

static void begin(int64_t at_ns)
{
    memset(&wheel, 0, sizeof wheel);
    now_ns = at_ns;
}

static void an_alarm_runs_once_in_its_tick_whatever_the_delay(void **state)
{
    static const uint64_t delays_ms[] = {
        0, 1, 3, 4, 5, 8, 1019, 1020, 1021, 1023, 1024, 1025, 2048, 5000, 60000, 3600000};
    static const int64_t begins[] = {1, TICK - 1, TICK, TICK + 1, 255 * TICK, INT64_C(1) << 60};

    (void)state;
    for (size_t b = 0; b < sizeof begins / sizeof begins[0]; b++) {
        for (size_t i = 0; i < sizeof delays_ms / sizeof delays_ms[0]; i++) {
            struct bell bell = {.rings = 0};
            begin(begins[b]);
            set(&bell, delays_ms[i]);
            assert_int_equal(wheel.count, 1);
            while (bell.rings == 0) {
                /* As a turn does: to the time that it says, and no look before is of use. */
                int64_t next = weir__alarms_next_ns(&wheel);
                assert_true(next > now_ns - TICK);
                weir__alarms_run(&wheel, next - 1);
                assert_int_equal(bell.rings, 0);
                now_ns = next;
                weir__alarms_run(&wheel, now_ns);
            }
            assert_true(now_ns - bell.due_ns < 2 * TICK);
            assert_int_equal(wheel.count, 0);
            weir__alarms_run(&wheel, now_ns + 10000 * TICK);
            assert_int_equal(bell.rings, 1);
        }
    }
}

static void the_longest_delay_is_no_delay_of_another_kind(void **state)
{
    struct bell bell = {.rings = 0};

    (void)state;
    begin(INT64_C(1) << 60);
    bell.alarm.run = ring_bell;
    weir__alarms_set(&wheel, &bell.alarm, now_ns, UINT64_MAX);
    weir__alarms_run(&wheel, INT64_MAX);
    assert_int_equal(bell.rings, 0);
    assert_true(weir_alarm_is_set(&bell.alarm));
    weir__alarms_clear(&wheel, &bell.alarm);
    assert_int_equal(wheel.count, 0);
}

static void after_a_long_absence_all_that_is_due_runs_at_once(void **state)
{
    struct bell bells[2000];

    (void)state;
    begin(7 * TICK + 3);
    memset(bells, 0, sizeof bells);
    for (unsigned i = 0; i < 2000; i++)
        set(&bells[i], (uint64_t)i * 7);
    now_ns += 7 * 1000 * MS + 2 * TICK;
    weir__alarms_run(&wheel, now_ns);
    for (unsigned i = 0; i <= 1000; i++)
        assert_int_equal(bells[i].rings, 1);
    for (unsigned i = 1002; i < 2000; i++)
        assert_int_equal(bells[i].rings, 0);
    weir__alarms_forget(&wheel);
    assert_int_equal(wheel.count, 0);
    for (unsigned i = 0; i < 2000; i++)
        assert_false(weir_alarm_is_set(&bells[i].alarm));
}

static struct bell *other;

static void set_again(struct bell *bell)
{
    if (bell->rings < 5)
        set(bell, bell->rings == 3 ? 0 : 1020);
}

static void clear_other(struct bell *bell)
{
    (void)bell;
    weir__alarms_clear(&wheel, &other->alarm);
}

static void alarms_set_and_clear_alarms(void **state)
{
    (void)state;
    begin(1);
    struct bell again = {.act = set_again};
    set(&again, 10);
    while (wheel.count != 0) {
        now_ns = weir__alarms_next_ns(&wheel);
        weir__alarms_run(&wheel, now_ns);
    }
    assert_int_equal(again.rings, 5);

    /* Two of the same tick, whichever runs first clears the other one. */
    struct bell a = {.act = clear_other}, b = {.act = NULL};
    other = &b;
    set(&b, 10);
    set(&a, 10); /* runs first */
    now_ns += 10 * TICK;
    weir__alarms_run(&wheel, now_ns);
    assert_int_equal(a.rings + b.rings, 1);
    assert_int_equal(wheel.count, 0);

    /* Setting one that is set moves it. */
    set(&a, 10);
    set(&a, 1000);
    assert_int_equal(wheel.count, 1);
    now_ns += 20 * TICK;
    weir__alarms_run(&wheel, now_ns);
    assert_int_equal(a.rings, 1);
    weir__alarms_clear(&wheel, &a.alarm);
    weir__alarms_clear(&wheel, &a.alarm);
    assert_int_equal(wheel.count, 0);
}

static void alarms_agree_with_a_plain_list_of_them(void **state)
{
    struct test_random random;
    static struct bell bells[64];

    (void)state;
    test_random_init(&random);
    for (unsigned round = 0; round < 20; round++) {
        begin((int64_t)test_random_below(&random, 1u << 30) * 1000);
        memset(bells, 0, sizeof bells);
        for (unsigned step = 0; step < 3000; step++) {
            struct bell *bell = &bells[test_random_below(&random, 64)];
            switch (test_random_below(&random, 4)) {
            case 0:
                weir__alarms_clear(&wheel, &bell->alarm);
                bell->due_ns = 0;
                break;
            case 1:
                now_ns += (int64_t)test_random_size(&random, 3000) * MS / 7;
                weir__alarms_run(&wheel, now_ns);
                break;
            default:
                set(bell, test_random_size(&random, 4000));
                bell->rings = 0;
                break;
            }
            size_t count = 0;
            for (unsigned i = 0; i < 64; i++) {
                bool is_set = weir_alarm_is_set(&bells[i].alarm);
                count += is_set;
                if (bells[i].rings == 0 && bells[i].due_ns != 0)
                    assert_true(is_set);
            }
            assert_int_equal(wheel.count, count);
        }
    }
}

/* --- of a ring -------------------------------------------------------------------------------- */

struct timed {
    struct weir_alarm alarm; /* first */
    unsigned rings;
    uint64_t at_ms;
};

static void note_time(struct weir_alarm *alarm)
{
    struct timed *timed = (struct timed *)alarm;
    timed->rings++;
    timed->at_ms = io_now_ms();
}

static void a_turn_waits_for_an_alarm_and_no_longer(void **state)
{
    struct timed timed = {.alarm = {.run = note_time}};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    assert_int_equal(weir_ring_run(io.ring, -1), 0); /* nothing to wait for */
    uint64_t begin_ms = io_now_ms();
    weir_alarm_set(io.ring, &timed.alarm, 20);
    assert_int_equal(weir_ring_active(io.ring), 0);
    while (timed.rings == 0)
        assert_int_equal(io_wait(&io, -1), 0);
    assert_true(timed.at_ms - begin_ms >= 19); /* of a clock that is cut to milliseconds */
    assert_int_equal(weir_ring_run(io.ring, -1), 0);
    /* One that a request comes before leaves the request alone, and the other way about. */
    struct io_call call;
    io_call_init(&call);
    weir_alarm_set(io.ring, &timed.alarm, 3600000);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, 5 * MS), 0);
    assert_int_equal(io_call_wait(&io, &call), 0);
    assert_int_equal(timed.rings, 1);
    weir_alarm_set(io.ring, &timed.alarm, 0);
    io_call_init(&call);
    assert_int_equal(weir_ring_timeout(io.ring, &call.op, 3600000 * MS), 0);
    io_until(&io, &timed.rings, 2);
    assert_int_equal(call.completions, 0);
    /* Set when the ring ends: forgotten. */
    weir_alarm_set(io.ring, &timed.alarm, 1);
    io_close(&io);
    assert_false(weir_alarm_is_set(&timed.alarm));
    assert_int_equal(timed.rings, 2);
}

/* Whoever subtracts two of its times must not get a negative one. */
static void the_turns_clock_never_goes_back(void **state)
{
    struct timed timed = {.alarm = {.run = note_time}};
    struct io io;

    (void)state;
    io_open(&io, NULL, NULL);
    int64_t last_ns = 0;
    for (unsigned i = 0; i < 2000; i++) {
        /* By the exact clock, which mostly is ahead of the one that turns look at. */
        weir_alarm_set(io.ring, &timed.alarm, 3600000);
        assert_true(io.ring->now_ns >= last_ns);
        last_ns = io.ring->now_ns;
        weir_ring_run(io.ring, 0);
        assert_true(io.ring->now_ns >= last_ns);
        last_ns = io.ring->now_ns;
    }
    weir_alarm_clear(io.ring, &timed.alarm);
    io_close(&io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST_ONCE(an_alarm_runs_once_in_its_tick_whatever_the_delay),
        IO_TEST_ONCE(the_longest_delay_is_no_delay_of_another_kind),
        IO_TEST_ONCE(after_a_long_absence_all_that_is_due_runs_at_once),
        IO_TEST_ONCE(alarms_set_and_clear_alarms),
        IO_TEST_ONCE(alarms_agree_with_a_plain_list_of_them),
        IO_TEST(a_turn_waits_for_an_alarm_and_no_longer),
        IO_TEST(the_turns_clock_never_goes_back),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
