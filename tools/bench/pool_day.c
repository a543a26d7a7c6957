/* SPDX-License-Identifier: MIT */
/*
 * pool-day: what a pool holds, and takes, in a long day of changing sizes.
 *
 *     pool-day [OPERATIONS [SEED [ODD-PERCENT]]]        1000000000, 1, 50 if not given
 *
 * prints the most that was ever held beyond the retention limit, as a share of the peak in use, and
 * nanoseconds per operation. Of the sizes ODD-PERCENT are of all kinds; the others are decided by
 * the phase, so that 0 is a day of abrupt changes. The exit status is 1 if after the day a trim
 * leaves more than the retention limit and the pool's own bookkeeping.
 */
#include "day.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    struct weir_pool_options options = {.retain_bytes = DAY_RETAIN_BYTES};
    struct weir_pool_stats before, after;
    struct weir_pool *pool;
    struct day day = {.operations = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000000,
                      .seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
                      .odd_percent = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 50};

    if (argc > 4 || day.operations < 1000 || day.odd_percent > 100) {
        fputs("usage: pool-day [OPERATIONS [SEED [ODD-PERCENT]]]\n", stderr);
        return 64;
    }
    if (weir_pool_create(&options, &pool) < 0)
        return 71;
    weir_pool_stats(pool, &before);
    double begin = now_ns();
    int rc = day_run(&day, pool);
    double elapsed = now_ns() - begin;
    day_end(&day);
    (void)weir_pool_trim(pool, DAY_RETAIN_BYTES);
    weir_pool_stats(pool, &after);
    (void)weir_pool_destroy(pool);
    if (rc < 0) {
        fprintf(stderr, "pool-day: %s\n", weir_error_text(rc));
        return 71;
    }
    printf("%" PRIu64 " operations, seed %" PRIu64 ", %u%% odd sizes: held at most %.3f of the "
           "%zu bytes in use at the peak, and %zu; %.1f ns per operation\n",
           day.operations, day.seed, day.odd_percent, day.worst, day.peak_bytes, DAY_RETAIN_BYTES,
           elapsed / (double)day.operations);
    return after.bytes_held > before.bytes_held + DAY_RETAIN_BYTES;
}
