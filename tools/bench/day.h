/* SPDX-License-Identifier: MIT */
/**
 * day: a pool's day of changing sizes, and how much memory it held meanwhile.
 *
 *     struct weir_pool_options options = {.retain_bytes = DAY_RETAIN_BYTES};
 *     struct day day = {.operations = 1000000000, .seed = 1, .odd_percent = 50};
 *     rc = weir_pool_create(&options, &pool);
 *     rc = day_run(&day, pool);                      // 0, or what an allocation returned
 *     printf("%.3f\n", day.worst);                   // of the peak in use, beyond retention
 *
 * Each phase, a fortieth of the day, has a number of bytes that it holds in blocks and sizes that
 * it prefers, both drawn anew; blocks come and go at random. What a phase before has left is
 * dropped block by block, and pins what lies around it. The same day for the same seed, always.
 */
#ifndef DAY_H
#define DAY_H

#include <stddef.h>
#include <stdint.h>

#include <weir/pool.h>

/** The most bytes that a phase wants in blocks; large ones can make it more. */
#define DAY_BYTES ((size_t)32 << 20)

/** What the pool is to be allowed to retain. */
#define DAY_RETAIN_BYTES ((size_t)8 << 20)

/** Blocks in use at most. */
#define DAY_BLOCKS 1000000

struct day {
    uint64_t operations;
    uint64_t seed;
    unsigned odd_percent; /**< sizes of all kinds; the others are as the phase prefers */

    double worst;        /**< result: held beyond DAY_RETAIN_BYTES, as a share of the peak in use */
    size_t peak_bytes;   /**< result: the most in use */
    size_t in_use_bytes; /**< result: in use at the end */
    size_t count;        /**< result: blocks in use at the end, to be dropped by day_end() */

    struct weir_block **live; /**< private */
    uint64_t random;          /**< private */
    size_t target_bytes;      /**< private */
    unsigned low_bits;        /**< private */
    unsigned high_bits;       /**< private */
};

/** Live through the day. Looks at the pool every 4096 operations. Returns 0 or a negative errno. */
int day_run(struct day *day, struct weir_pool *pool);

/** Drop what is left. */
void day_end(struct day *day);

#endif /* DAY_H */
