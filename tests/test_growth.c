/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <errno.h>

#include <weir/growth.h>

static struct weir_growth plan(size_t initial, size_t step_max, size_t limit, uint32_t percent)
{
    struct weir_growth growth = {initial, step_max, limit, percent};

    assert_int_equal(weir_growth_init(&growth, 64, 1024), 0);
    return growth;
}

static void assert_same_plan(const struct weir_growth *a, const struct weir_growth *b)
{
    assert_true(a->initial == b->initial && a->step_max == b->step_max);
    assert_true(a->limit == b->limit && a->percent == b->percent);
}

static void a_zeroed_plan_gets_the_defaults(void **state)
{
    const struct weir_growth growth = plan(0, 0, 0, 0);

    (void)state;
    assert_int_equal(growth.initial, 64);
    assert_int_equal(growth.step_max, 1024);
    assert_int_equal(growth.limit, 0);
    assert_int_equal(growth.percent, 150);
}

static void a_default_gives_way_to_what_is_set(void **state)
{
    (void)state;
    assert_int_equal(plan(2000, 0, 0, 0).step_max, 2000);
    assert_int_equal(plan(10, 0, 0, 0).step_max, 1024);
    assert_int_equal(plan(0, 10, 0, 0).initial, 10);
    assert_int_equal(plan(0, 65, 0, 0).initial, 64);
    /* The limit is no default and moves none: it cuts each step. */
    assert_int_equal(plan(0, 0, 1, 0).initial, 64);
}

static void a_plan_that_contradicts_itself_is_refused_and_left_alone(void **state)
{
    static const struct {
        struct weir_growth growth;
        int rc;
    } cases[] = {
        {{0, 0, 0, 99}, -EINVAL},
        {{0, 0, 0, 1}, -EINVAL},
        {{0, 0, 0, 1001}, -EINVAL},
        {{0, 0, 0, UINT32_MAX}, -EINVAL},
        {{65, 64, 0, 0}, -EINVAL},
        {{SIZE_MAX, 1, 0, 0}, -EINVAL},
        {{64, 64, 0, 100}, 0},
        {{1, SIZE_MAX, SIZE_MAX, 1000}, 0},
        {{SIZE_MAX, SIZE_MAX, 1, 1000}, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_growth growth = cases[i].growth;
        assert_int_equal(weir_growth_init(&growth, 64, 1024), cases[i].rc);
        if (cases[i].rc != 0)
            assert_same_plan(&growth, &cases[i].growth);
    }
}

static void a_completed_plan_stays_as_it_is(void **state)
{
    struct weir_growth growth = plan(3, 5, 7, 110);
    const struct weir_growth before = growth;

    (void)state;
    assert_int_equal(weir_growth_init(&growth, 1, 1), 0);
    assert_same_plan(&growth, &before);
}

static void steps_grow_by_percent_up_to_the_largest(void **state)
{
    static const size_t steps[] = {64, 96, 144, 216, 324, 486, 729, 1024, 1024, 1024};
    const struct weir_growth growth = plan(0, 0, 0, 0);
    size_t last = 0, capacity = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        last = weir_growth_next(&growth, last, capacity);
        capacity += last;
        assert_int_equal(last, steps[i]);
    }
}

static void the_limit_cuts_the_last_step_and_then_there_is_none(void **state)
{
    static const size_t steps[] = {64, 96, 144, 216, 256, 224, 0, 0};
    const struct weir_growth growth = plan(64, 256, 1000, 0);
    size_t last = 0, capacity = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        size_t step = weir_growth_next(&growth, last, capacity);
        assert_int_equal(step, steps[i]);
        last = step != 0 ? step : last;
        capacity += step;
    }
    assert_int_equal(capacity, 1000);
    assert_int_equal(weir_growth_next(&growth, last, SIZE_MAX), 0);
    assert_int_equal(weir_growth_next(&growth, 0, 999), 1);
    assert_int_equal(weir_growth_next(&growth, 0, 0), 64);
}

static void a_hundred_percent_means_steps_of_one_size(void **state)
{
    const struct weir_growth growth = plan(70, 1000, 0, 100);

    (void)state;
    assert_int_equal(weir_growth_next(&growth, 0, 0), 70);
    assert_int_equal(weir_growth_next(&growth, 70, 70), 70);
    /* A step that came out larger than planned is what the next one follows. */
    assert_int_equal(weir_growth_next(&growth, 128, 128), 128);
    assert_int_equal(weir_growth_next(&growth, 4096, 4096), 1000);
}

static void a_wanted_step_is_cut_as_a_planned_one_is(void **state)
{
    const struct weir_growth growth = plan(1, 100, 250, 0);

    (void)state;
    assert_int_equal(weir_growth_bound(&growth, 50, 0), 50);
    assert_int_equal(weir_growth_bound(&growth, SIZE_MAX, 0), 100);
    assert_int_equal(weir_growth_bound(&growth, 100, 200), 50);
    assert_int_equal(weir_growth_bound(&growth, 1, 250), 0);
    assert_int_equal(weir_growth_bound(&growth, 0, 0), 0);
}

static void scaling_is_exact_and_does_not_wrap(void **state)
{
    struct test_random random;

    (void)state;
    assert_int_equal(weir_growth_scale(0, 1000), 0);
    assert_int_equal(weir_growth_scale(1, 150), 1);
    assert_int_equal(weir_growth_scale(99, 199), 197);
    assert_int_equal(weir_growth_scale(101, 199), 200);
    assert_true(weir_growth_scale(SIZE_MAX, 100) == SIZE_MAX);
    assert_true(weir_growth_scale(SIZE_MAX, 101) == SIZE_MAX);
    assert_true(weir_growth_scale(SIZE_MAX - 1, 100) == SIZE_MAX - 1);
    assert_true(weir_growth_scale(SIZE_MAX, 1000) == SIZE_MAX);
    assert_true(weir_growth_scale(SIZE_MAX / 10 + 2, 1000) == SIZE_MAX);
    assert_true(weir_growth_scale(SIZE_MAX / 10, 1000) == SIZE_MAX / 10 * 10);
    test_random_init(&random);
    for (int i = 0; i < 10000; i++) {
        size_t size = test_random_size(&random, SIZE_MAX / 2);
        uint32_t percent = 100 + (uint32_t)test_random_below(&random, 901);
        __extension__ unsigned __int128 exact = (unsigned __int128)size * percent / 100;
        size_t wanted = exact > SIZE_MAX ? SIZE_MAX : (size_t)exact;
        if (weir_growth_scale(size, percent) != wanted)
            fail_msg("%zu by %u percent", size, percent);
    }
}

/* Whatever the plan: a step is within every bound, and 0 only at the limit. */
static void no_plan_steps_out_of_its_bounds(void **state)
{
    struct test_random random;

    (void)state;
    test_random_init(&random);
    for (int i = 0; i < 2000; i++) {
        struct weir_growth growth = {
            .initial = test_random_size(&random, SIZE_MAX / 2),
            .step_max = test_random_size(&random, SIZE_MAX / 2),
            .limit = test_random_size(&random, SIZE_MAX / 2),
            .percent = 100 + (uint32_t)test_random_below(&random, 901),
        };
        size_t last = 0, capacity = 0;
        if (weir_growth_init(&growth, 64, 4096) != 0)
            continue;
        for (int j = 0; j < 100; j++) {
            size_t step = weir_growth_next(&growth, last, capacity);
            assert_true(step <= growth.step_max);
            if (growth.limit != 0)
                assert_true(step <= growth.limit - capacity);
            assert_true((step == 0) == (growth.limit != 0 && capacity == growth.limit));
            if (step == 0 || step > SIZE_MAX - capacity)
                break;
            if (step < last)
                assert_true(growth.limit != 0 && step == growth.limit - capacity);
            capacity += step;
            last = step;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_plan_gets_the_defaults),
        cmocka_unit_test(a_default_gives_way_to_what_is_set),
        cmocka_unit_test(a_plan_that_contradicts_itself_is_refused_and_left_alone),
        cmocka_unit_test(a_completed_plan_stays_as_it_is),
        cmocka_unit_test(steps_grow_by_percent_up_to_the_largest),
        cmocka_unit_test(the_limit_cuts_the_last_step_and_then_there_is_none),
        cmocka_unit_test(a_hundred_percent_means_steps_of_one_size),
        cmocka_unit_test(a_wanted_step_is_cut_as_a_planned_one_is),
        cmocka_unit_test(scaling_is_exact_and_does_not_wrap),
        cmocka_unit_test(no_plan_steps_out_of_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
