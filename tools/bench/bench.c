/* SPDX-License-Identifier: MIT */
/* The frame: calibration, interleaved rounds, and what is computed from them. */
#include "bench.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct bench_group *const bench_groups[] = {
    &bench_group_bytes,  &bench_group_codec,
    &bench_group_record, &bench_group_record_fixed,
    &bench_group_batch,  &bench_group_mem,
    &bench_group_values, &bench_group_arrays,
    &bench_group_io,     NULL,
};

uint64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void bench_complain(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("weir-bench: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static int compare_doubles(const void *left, const void *right)
{
    const double *a = left;
    const double *b = right;

    return (*a > *b) - (*a < *b);
}

double bench_quantile(double *values, size_t count, double part)
{
    assert(count > 0 && part >= 0.0 && part <= 1.0);
    qsort(values, count, sizeof *values, compare_doubles);
    double place = part * (double)(count - 1);
    size_t below = (size_t)place;
    if (below == count - 1)
        return values[below];
    return values[below] + (place - (double)below) * (values[below + 1] - values[below]);
}

/* Nanoseconds that @contender takes for @ops operations, at least 1. @ret_figures may be NULL. */
static int run_once(const struct bench_case *item, const struct bench_contender *contender,
                    void *context, uint64_t ops, uint64_t *ret_ns, double *ret_figures)
{
    struct bench_round round = {
        .context = context, .item = item, .contender = contender, .ops = ops};
    for (size_t i = 0; i < BENCH_FIGURES_MAX; i++)
        round.figures[i] = (double)NAN;

    uint64_t begin = bench_now_ns();
    int rc = contender->run(&round);
    uint64_t elapsed = bench_now_ns() - begin;
    if (rc < 0) {
        bench_complain("%s: %s", contender->name, strerror(-rc));
        return rc;
    }
    if (round.elapsed_ns != 0)
        elapsed = round.elapsed_ns;
    *ret_ns = elapsed != 0 ? elapsed : 1;
    if (ret_figures != NULL)
        memcpy(ret_figures, round.figures, sizeof round.figures);
    return 0;
}

/*
 * Find how many operations take about the time asked for. What is run on the way warms up. The
 * count grows by at most 8 from try to try, since the first ones are cold and misleading.
 */
static int calibrate(const struct bench_case *item, const struct bench_contender *contender,
                     void *context, uint64_t target_ns, uint64_t *ret_ops)
{
    uint64_t step_ops = item->step_ops != 0 ? item->step_ops : 1;
    uint64_t steps = 1;

    for (;;) {
        uint64_t ns;
        int rc = run_once(item, contender, context, steps * step_ops, &ns, NULL);
        if (rc < 0)
            return rc;
        /* Within a tenth it is good enough: rounds need not be of equal length. */
        if (ns >= target_ns - target_ns / 10)
            break;
        uint64_t wanted = (uint64_t)((double)steps * (double)target_ns / (double)ns) + 1;
        steps = wanted < 8 * steps ? wanted : 8 * steps;
    }
    *ret_ops = steps * step_ops;
    return 0;
}

static bool is_there(const struct bench_contender *contender)
{
    return contender->missing == NULL;
}

static int calibrate_all(const struct bench_case *item, void *context,
                         const struct bench_options *options, struct bench_result *results)
{
    uint64_t target_ns = (uint64_t)options->time_ms * 1000000;

    for (size_t i = 0; i < item->contender_count; i++) {
        const struct bench_contender *contender = &item->contenders[i];
        struct bench_result *result = &results[i];
        memset(result, 0, sizeof *result);
        result->contender = contender;
        if (!is_there(contender))
            continue;
        result->rounds_ns = calloc(options->rounds, sizeof *result->rounds_ns);
        result->rounds_figures =
            calloc(options->rounds * (size_t)BENCH_FIGURES_MAX, sizeof *result->rounds_figures);
        if (result->rounds_ns == NULL || result->rounds_figures == NULL)
            return -ENOMEM;
        int rc = calibrate(item, contender, context, target_ns, &result->ops);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Round 0 is the warm-up, which leaves no figure. */
static int run_rounds(const struct bench_case *item, void *context, unsigned rounds,
                      struct bench_result *results)
{
    for (unsigned round = 0; round <= rounds; round++) {
        for (size_t turn = 0; turn < item->contender_count; turn++) {
            struct bench_result *result = &results[(turn + round) % item->contender_count];
            uint64_t ns;
            if (!is_there(result->contender))
                continue;
            double *figures =
                round > 0 ? result->rounds_figures + (round - 1) * BENCH_FIGURES_MAX : NULL;
            int rc = run_once(item, result->contender, context, result->ops, &ns, figures);
            if (rc < 0)
                return rc;
            if (round > 0)
                result->rounds_ns[round - 1] = (double)ns / (double)result->ops;
        }
    }
    return 0;
}

/* The medians of what the rounds reported beside time, of those that did. */
static void evaluate_figures(struct bench_result *result, unsigned rounds, double *scratch)
{
    for (size_t figure = 0; figure < BENCH_FIGURES_MAX; figure++) {
        size_t count = 0;
        for (unsigned i = 0; i < rounds; i++) {
            double value = result->rounds_figures[i * BENCH_FIGURES_MAX + figure];
            if (!isnan(value))
                scratch[count++] = value;
        }
        result->figures[figure] = count != 0 ? bench_quantile(scratch, count, 0.5) : (double)NAN;
    }
}

/* Fill in what follows from rounds_ns, which stays in the order of the rounds. */
static void evaluate(struct bench_result *result, const struct bench_result *base, unsigned rounds,
                     double bytes_per_op, double *scratch)
{
    if (!is_there(result->contender))
        return;
    evaluate_figures(result, rounds, scratch);
    memcpy(scratch, result->rounds_ns, rounds * sizeof *scratch);
    result->median_ns = bench_quantile(scratch, rounds, 0.5);
    result->min_ns = scratch[0];
    result->max_ns = scratch[rounds - 1];
    result->spread =
        (bench_quantile(scratch, rounds, 0.75) - bench_quantile(scratch, rounds, 0.25)) /
        result->median_ns;
    result->mb_per_s = bytes_per_op * 1000.0 / result->median_ns;
    if (!is_there(base->contender))
        return;
    for (unsigned i = 0; i < rounds; i++)
        scratch[i] = result->rounds_ns[i] / base->rounds_ns[i];
    result->ratio = bench_quantile(scratch, rounds, 0.5);
}

int bench_run_case(const struct bench_case *item, void *context,
                   const struct bench_options *options, struct bench_result *results)
{
    assert(options->rounds >= BENCH_ROUNDS_MIN && options->rounds <= BENCH_ROUNDS_MAX);
    assert(options->time_ms >= 1 && options->time_ms <= BENCH_TIME_MS_MAX);
    double bytes_per_op = item->bytes_per_op != NULL ? item->bytes_per_op(context) : 0.0;
    double *scratch = calloc(options->rounds, sizeof *scratch);
    int rc = scratch != NULL ? 0 : -ENOMEM;
    memset(results, 0, item->contender_count * sizeof *results);
    if (rc == 0)
        rc = calibrate_all(item, context, options, results);
    if (rc == 0)
        rc = run_rounds(item, context, options->rounds, results);
    for (size_t i = 0; rc == 0 && i < item->contender_count; i++)
        evaluate(&results[i], &results[0], options->rounds, bytes_per_op, scratch);
    free(scratch);
    if (rc == -ENOMEM)
        bench_complain("%s: out of memory", item->name);
    if (rc < 0)
        bench_results_free(results, item->contender_count);
    return rc;
}

void bench_results_free(struct bench_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(results[i].rounds_ns);
        free(results[i].rounds_figures);
        results[i].rounds_ns = NULL;
        results[i].rounds_figures = NULL;
    }
}
