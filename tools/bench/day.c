/* SPDX-License-Identifier: MIT */
#include "day.h"

#include <errno.h>
#include <stdlib.h>

#define PHASES 40
#define LOOK_EVERY 4096

static uint64_t draw_any(struct day *day)
{
    uint64_t mixed = day->random += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* 17 to 65536 where the phase does not decide. */
static size_t draw_size(struct day *day)
{
    uint64_t drawn = draw_any(day);
    unsigned bits = 5 + (unsigned)(drawn >> 8) % 12;

    if (drawn % 100 >= day->odd_percent)
        bits = day->low_bits + (unsigned)(drawn >> 8) % (day->high_bits - day->low_bits + 1);
    return ((size_t)1 << bits) - (size_t)(drawn >> 32) % ((size_t)1 << (bits - 1));
}

static void phase(struct day *day)
{
    size_t permille = 400 + draw_any(day) % 600;

    day->target_bytes = DAY_BYTES / 1000 * permille;
    day->low_bits = 6 + (unsigned)(draw_any(day) % 8);
    day->high_bits = day->low_bits + 1 + (unsigned)(draw_any(day) % 3);
}

static int step(struct day *day, struct weir_pool *pool)
{
    uint64_t one_in_four = draw_any(day) % 4;
    bool grow = day->in_use_bytes < day->target_bytes ? one_in_four != 0 : one_in_four == 0;

    if (day->count == 0 || (grow && day->count < DAY_BLOCKS)) {
        struct weir_block *block;
        int rc = weir_pool_alloc(pool, draw_size(day), &block);
        if (rc < 0)
            return rc;
        day->live[day->count++] = block;
        day->in_use_bytes += block->size;
        if (day->in_use_bytes > day->peak_bytes)
            day->peak_bytes = day->in_use_bytes;
    } else {
        size_t at = draw_any(day) % day->count;
        day->in_use_bytes -= day->live[at]->size;
        weir_block_drop(day->live[at]);
        day->live[at] = day->live[--day->count];
    }
    return 0;
}

static void look(struct day *day, struct weir_pool *pool)
{
    struct weir_pool_stats stats;

    (void)weir_pool_reclaim(pool);
    weir_pool_stats(pool, &stats);
    double held = (double)stats.bytes_held - (double)DAY_RETAIN_BYTES;
    if (held / (double)day->peak_bytes > day->worst)
        day->worst = held / (double)day->peak_bytes;
}

int day_run(struct day *day, struct weir_pool *pool)
{
    day->random = day->seed;
    day->worst = 0;
    day->peak_bytes = day->in_use_bytes = day->count = 0;
    day->live = calloc(DAY_BLOCKS, sizeof(struct weir_block *));
    if (day->live == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < day->operations; i++) {
        if (i % (day->operations / PHASES) == 0)
            phase(day);
        int rc = step(day, pool);
        if (rc < 0)
            return rc;
        if (i % LOOK_EVERY == 0)
            look(day, pool);
    }
    return 0;
}

void day_end(struct day *day)
{
    while (day->count > 0)
        weir_block_drop(day->live[--day->count]);
    free(day->live);
    day->live = NULL;
}
