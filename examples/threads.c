/* SPDX-License-Identifier: MIT */
/* Blocks that other threads drop, a trim that one asks for, a block that outlives its thread. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <weir.h>

#define COUNT 100

struct work {
    struct weir_pool *pool; // the main thread's
    struct weir_block *blocks[COUNT];
    struct weir_block *answer;
};

/* On a thread that owns no pool but its own. */
static void *consume(void *argument)
{
    struct work *work = argument;
    struct weir_pool *own;
    unsigned sum = 0;

    for (int i = 0; i < COUNT; i++) {
        sum += work->blocks[i]->data[0];
        weir_block_drop(work->blocks[i]); // onto a list that the owner takes back as a whole
    }
    weir_pool_trim(work->pool, 0); // only the owner can: this asks for it
    if (weir_pool_default(&own) == 0 && weir_pool_alloc(own, 64, &work->answer) == 0)
        snprintf((char *)work->answer->data, 64, "the sum is %u", sum);
    return NULL; // its pool is abandoned, and goes with its last block
}

static struct weir_pool_stats show(const struct weir_pool *pool, const char *when)
{
    struct weir_pool_stats stats;
    weir_pool_stats(pool, &stats); // on any thread
    printf("%s: %" PRIu64 " in use, %" PRIu64 " releases, %" PRIu64 " of them remote\n", when,
           stats.total.blocks_in_use, stats.total.releases, stats.total.remote_releases);
    return stats;
}

int main(void)
{
    /* Free segments above this go back by themselves, with a reclaim. */
    const struct weir_pool_options options = {.retain_bytes = 16 << 20};
    struct work work = {.answer = NULL};
    pthread_t thread;

    if (weir_pool_create(&options, &work.pool) != 0)
        return 1;
    for (int i = 0; i < COUNT; i++) {
        if (weir_pool_alloc(work.pool, 1000, &work.blocks[i]) != 0)
            return 1;
        memset(work.blocks[i]->data, 1, work.blocks[i]->size);
    }
    if (pthread_create(&thread, NULL, consume, &work) != 0 || pthread_join(thread, NULL) != 0)
        return 1;

    show(work.pool, "dropped elsewhere");
    size_t count = weir_pool_reclaim(work.pool); // a ring does it once a turn
    struct weir_pool_stats stats = show(work.pool, "taken back");
    printf("%zu blocks; %" PRIu64 " bytes went back to the system, as was asked for\n", count,
           stats.source_bytes_returned);
    if (work.answer == NULL)
        return 1;
    printf("%s, says a thread that has ended\n", (const char *)work.answer->data);
    weir_block_drop(work.answer); // and with it the pool of that thread
    return weir_pool_destroy(work.pool) != 0;
}
