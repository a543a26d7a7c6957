/* SPDX-License-Identifier: MIT */
/**
 * growth: how a container gets more room: in planned steps, up to a limit.
 *
 * A container that never moves what it holds grows by whole pieces. This plan says how large the
 * next piece is: the first has the initial size, each further one so many percent of the one
 * before, none is larger than the largest step, and together they stay within the limit. What the
 * sizes count (bytes, items) is the container's to say.
 *
 *     struct weir_growth growth = {.limit = 1000};
 *     size_t capacity = 0, step = 0;
 *     if (weir_growth_init(&growth, 64, 256) != 0)     // the defaults for what is 0
 *         return -EINVAL;
 *     while ((step = weir_growth_next(&growth, step, capacity)) != 0)
 *         capacity += step;                            // 64, 96, 144, 216, 256, 224: 1000 in all
 *
 * Invariants   Of a plan that was completed: 1 <= initial <= step_max; 100 <= percent <= 1000.
 *              A step is 0 only where the limit leaves nothing.
 * Threads      any: a plan is a value, its functions are pure.
 * Errors       -EINVAL from weir_growth_init(); nothing else fails.
 */
#ifndef WEIR_GROWTH_H
#define WEIR_GROWTH_H

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/base.h>

WEIR_BEGIN_DECLS

#define WEIR_GROWTH_PERCENT 150u     /**< the default */
#define WEIR_GROWTH_PERCENT_MIN 100u /**< steps of one size */
#define WEIR_GROWTH_PERCENT_MAX 1000u

/** A plan. Zeroed: the defaults of the container that it is given to. */
struct weir_growth {
    size_t initial;   /**< the first step; 0: the default */
    size_t step_max;  /**< the largest step; 0: the default */
    size_t limit;     /**< most of all steps together; 0: no limit */
    uint32_t percent; /**< a step in percent of the one before, 100..1000; 0: 150 */
};

/**
 * Complete a plan: put the defaults where it has 0. A default gives way to what is set: a set
 * step_max lowers the default of initial, a set initial raises that of step_max.
 *
 * @initial   the default of initial, not 0 (asserted)
 * @step_max  the default of step_max, at least @initial (asserted)
 * Returns    0; -EINVAL percent is out of range or initial above step_max: @growth is as before.
 */
WEIR_NODISCARD WEIR_INLINE int weir_growth_init(struct weir_growth *growth, size_t initial,
                                                size_t step_max);

/**
 * The next step.
 *
 * @growth    a completed plan
 * @last      the step before, which may have come out larger or smaller than planned; 0: none
 * @capacity  what all steps so far gave, which the limit is compared with
 * Returns    the size of the next step; 0: the limit is reached.
 * Cost       inline: a few divisions by a constant, no loop.
 */
WEIR_INLINE size_t weir_growth_next(const struct weir_growth *growth, size_t last, size_t capacity);

/** A step of @wanted as the plan allows it after @capacity: at most step_max, within the limit. */
WEIR_INLINE size_t weir_growth_bound(const struct weir_growth *growth, size_t wanted,
                                     size_t capacity);

/** @percent (0..1000, asserted) percent of @size, rounded down; SIZE_MAX if it does not fit. */
WEIR_INLINE size_t weir_growth_scale(size_t size, uint32_t percent);

/* --- inline bodies ------------------------------------------------------------------------- */

WEIR_INLINE int weir_growth_init(struct weir_growth *growth, size_t initial, size_t step_max)
{
    struct weir_growth plan = *growth;

    assert(initial != 0 && initial <= step_max);
    if (plan.step_max == 0)
        plan.step_max = plan.initial > step_max ? plan.initial : step_max;
    if (plan.initial == 0)
        plan.initial = plan.step_max < initial ? plan.step_max : initial;
    if (plan.percent == 0)
        plan.percent = WEIR_GROWTH_PERCENT;
    if (plan.initial > plan.step_max || plan.percent < WEIR_GROWTH_PERCENT_MIN ||
        plan.percent > WEIR_GROWTH_PERCENT_MAX)
        return -EINVAL;
    *growth = plan;
    return 0;
}

WEIR_INLINE size_t weir_growth_scale(size_t size, uint32_t percent)
{
    size_t hundreds;

    assert(percent <= WEIR_GROWTH_PERCENT_MAX);
    /* The second term is at most 990, the sum is therefore at most size * percent / 100. */
    if (weir_mul_overflows(size / 100, percent, &hundreds) ||
        weir_add_overflows(hundreds, size % 100 * percent / 100, &hundreds))
        return SIZE_MAX;
    return hundreds;
}

WEIR_INLINE size_t weir_growth_bound(const struct weir_growth *growth, size_t wanted,
                                     size_t capacity)
{
    size_t step = wanted < growth->step_max ? wanted : growth->step_max;

    if (growth->limit == 0)
        return step;
    if (capacity >= growth->limit)
        return 0;
    return step < growth->limit - capacity ? step : growth->limit - capacity;
}

WEIR_INLINE size_t weir_growth_next(const struct weir_growth *growth, size_t last, size_t capacity)
{
    assert(growth->initial != 0 && growth->initial <= growth->step_max);
    size_t wanted = last != 0 ? weir_growth_scale(last, growth->percent) : growth->initial;
    return weir_growth_bound(growth, wanted, capacity);
}

WEIR_END_DECLS

#endif /* WEIR_GROWTH_H */
